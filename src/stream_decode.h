/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Undoing the codings of a body (see coding_list.h) while it comes, for those
 * who read messages in it. What was flushed comes out at once.
 */
#ifndef PLAINSIGHT_STREAM_DECODE_H
#define PLAINSIGHT_STREAM_DECODE_H

#include "coding_list.h"

/*
 * Memory of all decoders of a thread together: what would exceed it is not
 * decoded. One takes 44 KiB for gzip and deflate, up to 9 MiB for zstd and up to
 * 16 MiB for br, of which it takes as much as has been decoded, at most the
 * window that the encoder has chosen.
 */
enum { STREAM_DECODE_BYTES_MAX = 256 << 20 };

struct stream_decode;

/* NULL when memory is short, or a coding of the list is not known. Free with stream_decode_free(). */
struct stream_decode *stream_decode_new(const struct coding_list *list);
void stream_decode_free(struct stream_decode *decode);
size_t stream_decode_memory(const struct stream_decode *decode);

/* Gets decoded bytes: at least one, valid during the call. */
typedef void (*stream_decode_sink)(void *to, const uint8_t *data, size_t len);

/*
 * The next len bytes; what they decode to goes to the sink, in pieces. False
 * when nothing that follows can be decoded: malformed, more than
 * coding_total_max() allows, or memory is short.
 */
bool stream_decode_add(struct stream_decode *decode, const uint8_t *data, size_t len, stream_decode_sink sink,
		       void *to);

#endif
