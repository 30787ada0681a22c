/* SPDX-License-Identifier: Apache-2.0 */
#include "secret_body.h"

#include <brotli/decode.h>
#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#include "coding.h"

enum {
	OPEN_MAX = 256, /* bodies and messages that are read at once: some 60 KiB each */
	STEP_BYTES = 16384,
	DECODED_ALWAYS = 1024 * 1024, /* decoded in any case, and so many times the coded bytes */
	DECODED_RATIO_MAX = 1000,
	WINDOW_AUTO = 47 /* of zlib: gzip or zlib format, by the header */
};

struct secret_body_watch {
	struct body_watch pub;
	const struct ps_secrets *secrets;
	uint32_t open;
};

struct ps_body_scan {
	struct secret_body_watch *owner;
	struct ps_secret_stream *stream;
	struct ps_secret_matches matches;
	enum coding coding;
	z_stream zlib;
	BrotliDecoderState *brotli;
	ZSTD_DCtx *zstd;
	uint64_t wire_bytes;
	uint64_t decoded_bytes;
	bool is_stopped; /* nothing more is read */
	bool is_ended;
};

static void free_scan(struct ps_body_scan *scan)
{
	ps_secret_stream_free(scan->stream);
	if (scan->coding == CODING_GZIP || scan->coding == CODING_DEFLATE)
		inflateEnd(&scan->zlib);
	BrotliDecoderDestroyInstance(scan->brotli);
	ZSTD_freeDCtx(scan->zstd);
	scan->owner->open--;
	free(scan);
}

/* The coding of a body; CODING_UNKNOWN also when there are several. */
static enum coding coding_of(const struct ps_message *message)
{
	const struct ps_slice *transfer = ps_header_value(message, "transfer-encoding");
	const struct ps_slice *content = ps_header_value(message, "content-encoding");

	if (transfer && !(transfer->len == 7 && (transfer->data[0] | 0x20) == 'c'))
		return CODING_UNKNOWN;
	return content ? coding_by_name(content->data, content->len) : CODING_IDENTITY;
}

static bool prepare(struct ps_body_scan *scan)
{
	switch (scan->coding) {
	case CODING_IDENTITY:
		return true;
	case CODING_GZIP:
	case CODING_DEFLATE:
		return inflateInit2(&scan->zlib, WINDOW_AUTO) == Z_OK;
	case CODING_BROTLI:
		scan->brotli = BrotliDecoderCreateInstance(NULL, NULL, NULL);
		return scan->brotli != NULL;
	case CODING_ZSTD:
		scan->zstd = ZSTD_createDCtx();
		return scan->zstd != NULL;
	default:
		return false;
	}
}

static void scan_data(struct ps_body_scan *scan, const uint8_t *data, size_t len);

static struct ps_body_scan *begin(struct secret_body_watch *owner, enum ps_secret_scope scope, enum coding coding,
				  const struct ps_body *body)
{
	struct ps_body_scan *scan;

	if (owner->open == OPEN_MAX || coding == CODING_UNKNOWN)
		return NULL;
	scan = calloc(1, sizeof(*scan));
	if (!scan)
		return NULL;
	owner->open++;
	scan->owner = owner;
	scan->stream = ps_secret_stream_new(owner->secrets);
	scan->coding = coding;
	if (!prepare(scan))
		scan->coding = CODING_UNKNOWN; /* there is nothing of it to be freed */
	if (!scan->stream || scan->coding == CODING_UNKNOWN) {
		free_scan(scan);
		return NULL;
	}
	ps_secret_stream_begin(scan->stream, scope);
	scan_data(scan, (const uint8_t *)body->kept.data, body->kept.len);
	return scan;
}

static struct ps_body_scan *begin_body(void *context, const struct ps_message *message)
{
	return begin(context, PS_SCOPE_BODY, coding_of(message), &message->body);
}

static struct ps_body_scan *begin_message(void *context, const struct ps_stream_message *message)
{
	return begin(context, PS_SCOPE_MESSAGE, CODING_IDENTITY, &message->body);
}

static void feed(struct ps_body_scan *scan, const uint8_t *data, size_t len)
{
	uint64_t max = DECODED_ALWAYS > DECODED_RATIO_MAX * scan->wire_bytes ? DECODED_ALWAYS
									     : DECODED_RATIO_MAX * scan->wire_bytes;

	scan->decoded_bytes += len;
	if (scan->decoded_bytes > max)
		scan->is_stopped = true;
	else
		ps_secret_stream_feed(scan->stream, (const char *)data, len);
}

static void inflate_data(struct ps_body_scan *scan, const uint8_t *data, size_t len)
{
	uint8_t out[STEP_BYTES];
	int status = Z_OK;

	scan->zlib.next_in = data;
	scan->zlib.avail_in = (uInt)len;
	while (!scan->is_stopped && status == Z_OK) {
		scan->zlib.next_out = out;
		scan->zlib.avail_out = sizeof(out);
		status = inflate(&scan->zlib, Z_SYNC_FLUSH);
		feed(scan, out, sizeof(out) - scan->zlib.avail_out);
		if (status == Z_STREAM_END && scan->zlib.avail_in > 0) /* RFC 1952 2.2: a series of members */
			status = inflateReset(&scan->zlib);
	}
	scan->is_stopped |= status != Z_OK && status != Z_BUF_ERROR && status != Z_STREAM_END;
}

static void unbrotli_data(struct ps_body_scan *scan, const uint8_t *data, size_t len)
{
	uint8_t out[STEP_BYTES];
	BrotliDecoderResult status = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;

	while (!scan->is_stopped && status == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT) {
		uint8_t *at = out;
		size_t left = sizeof(out);

		status = BrotliDecoderDecompressStream(scan->brotli, &len, &data, &left, &at, NULL);
		feed(scan, out, sizeof(out) - left);
	}
	scan->is_stopped |= status == BROTLI_DECODER_RESULT_ERROR;
}

static void unzstd_data(struct ps_body_scan *scan, const uint8_t *data, size_t len)
{
	uint8_t out[STEP_BYTES];
	ZSTD_inBuffer input = {.src = data, .size = len};
	ZSTD_outBuffer output = {.dst = out, .size = sizeof(out), .pos = sizeof(out)};

	/* A full buffer may not have been all. */
	while (!scan->is_stopped && (input.pos < input.size || output.pos == output.size)) {
		output.pos = 0;
		scan->is_stopped |= ZSTD_isError(ZSTD_decompressStream(scan->zstd, &output, &input)) != 0;
		feed(scan, out, output.pos);
	}
}

static void scan_data(struct ps_body_scan *scan, const uint8_t *data, size_t len)
{
	if (scan->is_stopped || scan->is_ended || len == 0)
		return;
	scan->wire_bytes += len;
	if (scan->coding == CODING_IDENTITY)
		ps_secret_stream_feed(scan->stream, (const char *)data, len);
	else if (scan->coding == CODING_BROTLI)
		unbrotli_data(scan, data, len);
	else if (scan->coding == CODING_ZSTD)
		unzstd_data(scan, data, len);
	else
		inflate_data(scan, data, len);
	if (scan->is_stopped)
		scan->wire_bytes -= len;
}

static void on_gap(struct ps_body_scan *scan)
{
	scan->is_stopped = true;
}

struct ps_secret_matches secret_body_end(struct ps_body_scan *scan)
{
	if (!scan->is_ended)
		scan->matches = ps_secret_stream_end(scan->stream);
	scan->is_ended = true;
	return scan->matches;
}

uint64_t secret_body_read(const struct ps_body_scan *scan)
{
	return scan->wire_bytes;
}

bool secret_body_is_plain(const struct ps_body_scan *scan)
{
	return scan->coding == CODING_IDENTITY;
}

struct secret_body_watch *secret_body_watch_new(const struct ps_secrets *secrets)
{
	struct secret_body_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	watch->secrets = secrets;
	watch->pub = (struct body_watch){
	    .begin = begin_body,
	    .begin_message = begin_message,
	    .data = scan_data,
	    .gap = on_gap,
	    .free = free_scan,
	    .context = watch,
	};
	return watch;
}

void secret_body_watch_free(struct secret_body_watch *watch)
{
	free(watch);
}

const struct body_watch *secret_body_watch(const struct secret_body_watch *watch)
{
	return &watch->pub;
}
