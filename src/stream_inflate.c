/* SPDX-License-Identifier: Apache-2.0 */
#include "stream_inflate.h"

#include <stdlib.h>
#define ZLIB_CONST
#include <zlib.h>

enum { AT_ONCE = 16384 };

struct z_stream_s *stream_inflate_new(int window_bits)
{
	z_stream *z = calloc(1, sizeof(*z));

	if (z != NULL && inflateInit2(z, window_bits) == Z_OK)
		return z;
	free(z);
	return NULL;
}

void stream_inflate_free(struct z_stream_s *z)
{
	if (z != NULL)
		inflateEnd(z);
	free(z);
}

bool stream_inflate_add(struct z_stream_s *z, struct stream_message *message, const struct http_limits *limits,
			const uint8_t *data, size_t len)
{
	uint8_t out[AT_ONCE];
	int result;

	z->next_in = data;
	z->avail_in = (uInt)len;
	do {
		z->next_out = out;
		z->avail_out = sizeof(out);
		result = inflate(z, Z_SYNC_FLUSH);
		stream_message_add(message, limits, out, sizeof(out) - z->avail_out);
		/* RFC 7692 7.2.3.4: a block may be the last one; RFC 1952 2.2: members may follow each other */
		if (result == Z_STREAM_END)
			result = inflateReset(z);
	} while (result == Z_OK && (z->avail_in > 0 || z->avail_out == 0));
	return result == Z_OK || result == Z_BUF_ERROR;
}

void stream_inflate_reset(struct z_stream_s *z)
{
	inflateReset(z);
}
