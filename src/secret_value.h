/* SPDX-License-Identifier: Apache-2.0 */
/* What a value is, however it is coded where it stands: by this, equal values are known. */
#ifndef PLAINSIGHT_SECRET_VALUE_H
#define PLAINSIGHT_SECRET_VALUE_H

#include "plainsight_secrets.h"

/* A value as it stands in text. */
struct secret_place_in_text {
	struct ps_slice before; /* text right before it */
	struct ps_slice bytes;
	bool is_start; /* before begins where the text does */
};

/*
 * Undo what the place asks for: percent-encoding in a URL, a query, a form or a
 * cookie, escapes in a string of JSON; of Basic credentials (check is
 * PS_CHECK_BASIC) the value is the password. Returns which it was;
 * PS_ENCODING_NONE: it stands for itself, *value is left untouched. room has
 * space for as many bytes as there are; *value points into it.
 */
enum ps_secret_encoding secret_value(const struct secret_place_in_text *place, uint32_t check, char *room,
				     struct ps_slice *value);

#endif
