/* SPDX-License-Identifier: Apache-2.0 */
/* Decompression (RFC 1950 to 1952) of what a message within an exchange carries. */
#ifndef PLAINSIGHT_STREAM_INFLATE_H
#define PLAINSIGHT_STREAM_INFLATE_H

#include "stream_message.h"

enum { STREAM_INFLATE_WRAPPED = 15 + 32 }; /* gzip or zlib format, as it says itself */

struct z_stream_s;

/*
 * window_bits: 9 to 15, negated, for deflated data with nothing around it; or
 * STREAM_INFLATE_WRAPPED. NULL when memory is short. Free with stream_inflate_free().
 */
struct z_stream_s *stream_inflate_new(int window_bits);
void stream_inflate_free(struct z_stream_s *z);

/* Append what the bytes decompress to; false when they are malformed, or memory is short. */
bool stream_inflate_add(struct z_stream_s *z, struct stream_message *message, const struct http_limits *limits,
			const uint8_t *data, size_t len);

/* What follows does not refer to what was decompressed so far. */
void stream_inflate_reset(struct z_stream_s *z);

#endif
