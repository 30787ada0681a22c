/* SPDX-License-Identifier: Apache-2.0 */
/* What the output formats ask of captured bytes for every exchange: loops that Lua is slow at. */
#include <string.h>
#include <strings.h>

#include "plainsight.h"

size_t ps_span(const char *data, size_t len, const uint8_t *passes)
{
	const uint8_t *bytes = (const uint8_t *)data;
	size_t i = 0;

	while (len - i >= 4 && (passes[bytes[i]] & passes[bytes[i + 1]] & passes[bytes[i + 2]] & passes[bytes[i + 3]]))
		i += 4;
	while (i < len && passes[bytes[i]])
		i++;
	return i;
}

const struct ps_slice *ps_header_value(const struct ps_message *message, const char *name)
{
	size_t len = strlen(name);

	for (uint32_t i = 0; i < message->header_count; i++) {
		const struct ps_header *header = &message->headers[i];

		if (header->name.len == len && strncasecmp(header->name.data, name, len) == 0)
			return header->value.len > 0 ? &header->value : NULL;
	}
	return NULL;
}
