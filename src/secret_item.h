/* SPDX-License-Identifier: Apache-2.0 */
/* Headers as the text that rules for them are written for. */
#ifndef PLAINSIGHT_SECRET_ITEM_H
#define PLAINSIGHT_SECRET_ITEM_H

#include "plainsight_secrets.h"

/* "name: value" and a line end for each. Zeroed, it is empty; free with secret_lines_free(). */
struct secret_lines {
	char *text;
	size_t text_len;
	size_t text_cap;
	size_t *values; /* where the value of each begins */
	uint32_t count;
	uint32_t value_cap;
};

/* False when memory is short. */
bool secret_lines_put(struct secret_lines *lines, const struct ps_header *headers, uint32_t count);

/* The line whose value begins last before offset; of an offset within a name, the one before. */
uint32_t secret_lines_find(const struct secret_lines *lines, uint64_t offset);

void secret_lines_free(struct secret_lines *lines);

#endif
