/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <brotli/decode.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#include "coding.h"

enum { BUFFER_BYTES_MIN = 16384, BROTLI_STEP = 4096 };

/* RFC 1952 2.3.1 */
enum { GZIP_ID1 = 0x1f, GZIP_ID2 = 0x8b };

static const struct {
	const char *name;
	enum coding coding;
} codings[] = {
    {"gzip", CODING_GZIP}, {"x-gzip", CODING_GZIP}, /* RFC 9110 8.4.1.3 */
    {"br", CODING_BROTLI}, {"deflate", CODING_DEFLATE}, {"zstd", CODING_ZSTD}, {"identity", CODING_IDENTITY},
};

enum coding coding_by_name(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(codings) / sizeof(codings[0]); i++) {
		if (strlen(codings[i].name) == len && strncasecmp(codings[i].name, name, len) == 0)
			return codings[i].coding;
	}
	return CODING_UNKNOWN;
}

size_t coding_kept(const struct coding_output *output)
{
	return output->total < output->kept_max ? (size_t)output->total : output->kept_max;
}

bool coding_buffer_grow(struct coding_buffer *buffer, size_t need)
{
	size_t cap = buffer->cap < BUFFER_BYTES_MIN ? BUFFER_BYTES_MIN : buffer->cap;
	uint8_t *data;

	if (need <= buffer->cap)
		return true;
	while (cap < need)
		cap *= 2;
	data = realloc(buffer->data, cap);
	if (!data)
		return false;
	buffer->data = data;
	buffer->cap = cap;
	return true;
}

/*
 * Where the next decoded bytes go, and how many at most: into the buffer, then
 * into spare memory, where they are only counted. One byte more than total_max
 * may come, so that an end right at the limit is seen as one. No more than
 * CODING_STEP at once, however large the buffer is: how much comes out before
 * an error depends on it. 0 when memory is short.
 */
static size_t output_room(struct coding_tools *tools, struct coding_output *output, uint8_t **at)
{
	uint64_t left = output->total_max + 1 - output->total;
	size_t kept = coding_kept(output);
	size_t room = CODING_STEP;

	*at = tools->spare;
	if (kept < output->kept_max) {
		if (room > output->kept_max - kept)
			room = output->kept_max - kept;
		if (!coding_buffer_grow(output->buffer, kept + room))
			return 0;
		*at = output->buffer->data + kept;
	}
	return room < left ? room : (size_t)left;
}

static bool output_is_over(const struct coding_output *output)
{
	return output->total > output->total_max;
}

static z_stream *zlib_stream(struct coding_tools *tools, int window_bits)
{
	z_stream *stream = tools->zlib;

	if (stream)
		return inflateReset2(stream, window_bits) == Z_OK ? stream : NULL;
	stream = calloc(1, sizeof(*stream));
	if (!stream)
		return NULL;
	if (inflateInit2(stream, window_bits) != Z_OK) {
		free(stream);
		return NULL;
	}
	tools->zlib = stream;
	return stream;
}

/* What follows the end: nothing, or zeros, with which some programs fill up a block. */
static enum coding_state after_end(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] != 0)
			return CODING_ERROR;
	}
	return CODING_COMPLETE;
}

/* RFC 1952 2.2: a gzip file is a series of members. */
static bool is_next_member(const z_stream *stream, int window_bits)
{
	return window_bits == CODING_WINDOW_GZIP && stream->avail_in > 0 && stream->next_in[0] == GZIP_ID1 &&
	       (stream->avail_in == 1 || stream->next_in[1] == GZIP_ID2);
}

/* avail_in of zlib is 32 bits wide, and no body that is kept is larger: --max-body ends at 1 GiB. */
static enum coding_state undo_zlib(struct coding_tools *tools, int window_bits, const uint8_t *data, size_t len,
				   struct coding_output *output)
{
	z_stream *stream = zlib_stream(tools, window_bits);
	int status = Z_OK;

	if (!stream || len > UINT32_MAX)
		return CODING_ERROR;
	stream->next_in = data;
	stream->avail_in = (uInt)len;
	while (status == Z_OK) {
		uint8_t *at;
		size_t room = output_room(tools, output, &at);

		if (room == 0)
			return CODING_ERROR;
		stream->next_out = at;
		stream->avail_out = (uInt)room;
		status = inflate(stream, Z_SYNC_FLUSH);
		output->total += room - stream->avail_out;
		if (output_is_over(output))
			return CODING_LIMIT;
		if (status == Z_STREAM_END && is_next_member(stream, window_bits))
			status = inflateReset(stream);
	}
	if (status == Z_STREAM_END)
		return after_end(stream->next_in, stream->avail_in);
	return status == Z_BUF_ERROR && stream->avail_in == 0 ? CODING_TRUNCATED : CODING_ERROR;
}

/* No encoder begins a raw stream like this: it would be a stored block with a bit set in its padding. */
bool coding_is_zlib(const uint8_t *data, size_t len)
{
	bool is_deflate = (data[0] & 0x0f) == Z_DEFLATED && data[0] >> 4 <= 7;

	return is_deflate && (len == 1 || (data[0] << 8 | data[1]) % 31 == 0);
}

/*
 * The decoder hands out nothing before its window is full or its input at an
 * end. Fed in pieces, it does not decode all for the sake of the beginning; a
 * bomb costs it one window, 16 MiB at most (RFC 7932 9.1), whatever the limits.
 */
static BrotliDecoderResult feed_brotli(struct coding_tools *tools, BrotliDecoderState *state, const uint8_t **data,
				       size_t *len, struct coding_output *output)
{
	BrotliDecoderResult status = BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT;
	size_t piece = 0; /* of *data and no more part of *len: given and not taken yet */

	while (!output_is_over(output)) {
		uint8_t *at;
		size_t room = output_room(tools, output, &at);
		size_t left = room;

		if (status == BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT) {
			size_t more = *len < BROTLI_STEP ? *len : BROTLI_STEP;

			if (more == 0)
				break;
			piece += more;
			*len -= more;
		} else if (status != BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT) {
			break;
		}
		if (room == 0)
			return BROTLI_DECODER_RESULT_ERROR;
		status = BrotliDecoderDecompressStream(state, &piece, data, &left, &at, NULL);
		output->total += room - left;
	}
	*len += piece;
	return status;
}

static enum coding_state undo_brotli(struct coding_tools *tools, const uint8_t *data, size_t len,
				     struct coding_output *output)
{
	BrotliDecoderState *state = BrotliDecoderCreateInstance(NULL, NULL, NULL);
	BrotliDecoderResult status;

	if (!state)
		return CODING_ERROR;
	status = feed_brotli(tools, state, &data, &len, output);
	BrotliDecoderDestroyInstance(state);
	if (output_is_over(output))
		return CODING_LIMIT;
	if (status == BROTLI_DECODER_RESULT_SUCCESS)
		return after_end(data, len);
	return status == BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT ? CODING_TRUNCATED : CODING_ERROR;
}

static ZSTD_DCtx *zstd_context(struct coding_tools *tools)
{
	ZSTD_DCtx *context = tools->zstd;

	if (!context) {
		context = ZSTD_createDCtx();
		if (!context)
			return NULL;
		tools->zstd = context;
		ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, CODING_ZSTD_WINDOW_LOG_MAX);
	}
	return ZSTD_isError(ZSTD_DCtx_reset(context, ZSTD_reset_session_only)) ? NULL : context;
}

/* RFC 8878 3: one or more frames. Their blocks come out as wholes, so less of a truncated one can be shown. */
static enum coding_state undo_zstd(struct coding_tools *tools, const uint8_t *data, size_t len,
				   struct coding_output *output)
{
	ZSTD_DCtx *context = zstd_context(tools);
	ZSTD_inBuffer in = {data, len, 0};
	size_t status = 1;
	bool is_full = true;

	if (!context)
		return CODING_ERROR;
	while (in.pos < in.size || is_full) {
		ZSTD_outBuffer out = {0};
		uint8_t *at;

		out.size = output_room(tools, output, &at);
		out.dst = at;
		if (out.size == 0)
			return CODING_ERROR;
		status = ZSTD_decompressStream(context, &out, &in);
		output->total += out.pos;
		if (output_is_over(output))
			return CODING_LIMIT;
		if (ZSTD_isError(status))
			return CODING_ERROR;
		is_full = status != 0 && out.pos == out.size;
	}
	return status == 0 ? CODING_COMPLETE : CODING_TRUNCATED;
}

enum coding_state coding_undo(struct coding_tools *tools, enum coding coding, const uint8_t *data, size_t len,
			      struct coding_output *output)
{
	switch (coding) {
	case CODING_GZIP:
		return undo_zlib(tools, CODING_WINDOW_GZIP, data, len, output);
	case CODING_DEFLATE:
		return undo_zlib(tools, coding_is_zlib(data, len) ? CODING_WINDOW_ZLIB : CODING_WINDOW_RAW, data, len,
				 output);
	case CODING_BROTLI:
		return undo_brotli(tools, data, len, output);
	case CODING_ZSTD:
		return undo_zstd(tools, data, len, output);
	default:
		return CODING_ERROR;
	}
}

void coding_free(struct coding_tools *tools)
{
	if (tools->zlib)
		inflateEnd(tools->zlib);
	free(tools->zlib);
	ZSTD_freeDCtx(tools->zstd);
}
