/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy_header.h"

#include <string.h>

/* Version 2: signature, version and command, family, and in two bytes how many bytes follow. */
static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* Version 1. A request whose method is PROXY has another target than these (RFC 9112 3.2). */
static const char *const lines[] = {"PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN"};

static bool begins_alike(const uint8_t *first, size_t len, const char *text, size_t text_len)
{
	return memcmp(first, text, len < text_len ? len : text_len) == 0;
}

static size_t begin_line(struct proxy_header *proxy, const uint8_t *first, size_t len)
{
	proxy->place = PROXY_PAST;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		size_t line_len = strlen(lines[i]);

		if (!begins_alike(first, len, lines[i], line_len))
			continue;
		proxy->place = len < line_len ? PROXY_POSSIBLE : PROXY_LINE;
		proxy->left = (uint16_t)(PROXY_LINE_MAX - line_len);
		return len < line_len ? 0 : line_len;
	}
	return 0;
}

size_t proxy_header_begin(struct proxy_header *proxy, const uint8_t *first, size_t len)
{
	if (!begins_alike(first, len, signature, sizeof(signature)))
		return begin_line(proxy, first, len);
	if (len < PROXY_FIXED_MAX)
		return 0;
	proxy->left = (uint16_t)(first[14] << 8 | first[15]);
	proxy->place = proxy->left > 0 ? PROXY_REST : PROXY_PAST;
	return PROXY_FIXED_MAX;
}

size_t proxy_header_read(struct proxy_header *proxy, const uint8_t *data, size_t len)
{
	size_t n = len < proxy->left ? len : proxy->left;
	const uint8_t *lf = proxy->place == PROXY_LINE ? memchr(data, '\n', n) : NULL;

	if (lf != NULL)
		n = (size_t)(lf - data) + 1;
	proxy->left = (uint16_t)(proxy->left - n);
	if (lf != NULL || proxy->left == 0)
		proxy->place = PROXY_PAST;
	return n;
}

bool proxy_header_is_likely(const uint8_t *first, size_t len)
{
	return len > 4 && begins_alike(first, len, signature, sizeof(signature));
}
