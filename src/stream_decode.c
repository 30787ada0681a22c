/* SPDX-License-Identifier: Apache-2.0 */
#include "stream_decode.h"

#include <stdlib.h>
#include <string.h>

#include <brotli/decode.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

enum {
	AT_ONCE = 4096,          /* decoded bytes between two stages, on the stack */
	HEADER_BYTES = 16,       /* before each allocation: its size; keeps it aligned */
	GZIP_ID1 = 0x1f,         /* RFC 1952 2.3.1 */
	ONE_BYTES_MAX = 33 << 20 /* br with the largest window (RFC 7932 9.1), and half of it while it grows */
};

/* One coding. */
struct stage {
	enum coding coding;
	z_stream *zlib; /* NULL until the first byte says in which format */
	BrotliDecoderState *brotli;
	ZSTD_DCtx *zstd;
	size_t zstd_bytes; /* counted of it */
	uint8_t held;      /* deflate: the first byte, which does not tell the format alone */
	bool has_held;
	bool is_over; /* the coding has ended: nothing but padding may follow, or with gzip a next member */
};

struct stream_decode {
	struct stage stages[PS_CODINGS_MAX]; /* the first is that of the bytes on the wire */
	uint32_t count;
	size_t bytes; /* that the libraries hold */
	uint64_t coded_bytes;
	uint64_t decoded_bytes[PS_CODINGS_MAX]; /* by stage */
	stream_decode_sink sink;
	void *to;
};

static _Thread_local size_t all_bytes; /* of all decoders */

/* --- memory of the libraries --------------------------------------------- */

static bool may_take(const struct stream_decode *decode, size_t size)
{
	return size <= ONE_BYTES_MAX - decode->bytes && size <= STREAM_DECODE_BYTES_MAX - all_bytes;
}

static void *take(void *opaque, size_t size)
{
	struct stream_decode *decode = opaque;
	size_t *memory;

	if (size > ONE_BYTES_MAX || !may_take(decode, size + HEADER_BYTES))
		return NULL;
	size += HEADER_BYTES;
	memory = malloc(size);
	if (memory == NULL)
		return NULL;
	*memory = size;
	decode->bytes += size;
	all_bytes += size;
	return (uint8_t *)memory + HEADER_BYTES;
}

static void give_back(void *opaque, void *address)
{
	struct stream_decode *decode = opaque;
	size_t *memory = address == NULL ? NULL : (size_t *)(void *)((uint8_t *)address - HEADER_BYTES);

	if (memory == NULL)
		return;
	decode->bytes -= *memory;
	all_bytes -= *memory;
	free(memory);
}

static void *take_items(void *opaque, unsigned int items, unsigned int size)
{
	return take(opaque, (size_t)items * size);
}

/* libzstd's allocator cannot be chosen with its stable functions: its memory is counted after it was taken. */
static bool count_zstd(struct stream_decode *decode, struct stage *stage)
{
	size_t now = stage->zstd != NULL ? ZSTD_sizeof_DCtx(stage->zstd) : 0;
	bool fits = now <= stage->zstd_bytes || may_take(decode, now - stage->zstd_bytes);

	decode->bytes += now - stage->zstd_bytes;
	all_bytes += now - stage->zstd_bytes;
	stage->zstd_bytes = now;
	return fits;
}

/* --- life ------------------------------------------------------------------ */

static bool stage_begin(struct stream_decode *decode, struct stage *stage)
{
	switch (stage->coding) {
	case CODING_GZIP:
	case CODING_DEFLATE: /* begins with its first bytes */
		return true;
	case CODING_BROTLI:
		stage->brotli = BrotliDecoderCreateInstance(take, give_back, decode);
		return stage->brotli != NULL;
	case CODING_ZSTD:
		stage->zstd = ZSTD_createDCtx();
		if (stage->zstd == NULL)
			return false;
		ZSTD_DCtx_setParameter(stage->zstd, ZSTD_d_windowLogMax, CODING_ZSTD_WINDOW_LOG_MAX);
		return count_zstd(decode, stage);
	default:
		return false;
	}
}

struct stream_decode *stream_decode_new(const struct coding_list *list)
{
	struct stream_decode *decode = list->is_unknown ? NULL : calloc(1, sizeof(*decode));

	if (decode == NULL)
		return NULL;
	for (uint32_t i = list->count; i-- > 0;) {
		struct stage *stage = &decode->stages[decode->count++];

		stage->coding = list->codings[i];
		if (!stage_begin(decode, stage)) {
			stream_decode_free(decode);
			return NULL;
		}
	}
	return decode;
}

void stream_decode_free(struct stream_decode *decode)
{
	if (decode == NULL)
		return;
	for (uint32_t i = 0; i < decode->count; i++) {
		struct stage *stage = &decode->stages[i];

		if (stage->zlib != NULL)
			inflateEnd(stage->zlib);
		free(stage->zlib);
		BrotliDecoderDestroyInstance(stage->brotli);
		ZSTD_freeDCtx(stage->zstd);
		stage->zstd = NULL;
		count_zstd(decode, stage);
	}
	free(decode);
}

size_t stream_decode_memory(const struct stream_decode *decode)
{
	return sizeof(*decode) + decode->bytes;
}

/* --- one stage ---------------------------------------------------------------- */

/* Bytes on their way through a stage. */
struct step {
	const uint8_t *in;
	size_t in_len;
	uint8_t out[AT_ONCE];
	size_t out_len;
};

enum progress {
	PROGRESS_MORE, /* all of in is taken, and all that it gives is in out */
	PROGRESS_AGAIN,
	PROGRESS_BAD
};

static bool zlib_begin(struct stream_decode *decode, struct stage *stage, int window_bits)
{
	stage->zlib = calloc(1, sizeof(*stage->zlib));
	if (stage->zlib == NULL)
		return false;
	stage->zlib->zalloc = take_items;
	stage->zlib->zfree = give_back;
	stage->zlib->opaque = decode;
	if (inflateInit2(stage->zlib, window_bits) == Z_OK)
		return true;
	free(stage->zlib);
	stage->zlib = NULL;
	return false;
}

static enum progress run_zlib(struct stage *stage, struct step *step)
{
	z_stream *z = stage->zlib;
	int status;

	z->next_in = step->in;
	z->avail_in = step->in_len < UINT32_MAX ? (uInt)step->in_len : UINT32_MAX;
	z->next_out = step->out + step->out_len;
	z->avail_out = (uInt)(AT_ONCE - step->out_len);
	status = inflate(z, Z_SYNC_FLUSH);
	step->in_len -= (size_t)(z->next_in - step->in);
	step->in = z->next_in;
	step->out_len = AT_ONCE - z->avail_out;
	if (status == Z_STREAM_END)
		stage->is_over = true;
	if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
		return PROGRESS_BAD;
	return step->in_len > 0 || (z->avail_out == 0 && status == Z_OK) ? PROGRESS_AGAIN : PROGRESS_MORE;
}

/* Two bytes tell in which format deflated data comes. */
static enum progress run_deflate(struct stream_decode *decode, struct stage *stage, struct step *step)
{
	uint8_t first[2] = {stage->held, step->in[0]};
	struct step held = {.in = first, .in_len = 1};
	enum progress progress;
	int window_bits;

	if (!stage->has_held) {
		stage->held = step->in[0];
		stage->has_held = true;
		step->in++;
		step->in_len--;
		return step->in_len > 0 ? PROGRESS_AGAIN : PROGRESS_MORE;
	}
	window_bits = coding_is_zlib(first, sizeof(first)) ? CODING_WINDOW_ZLIB : CODING_WINDOW_RAW;
	if (!zlib_begin(decode, stage, window_bits))
		return PROGRESS_BAD;
	progress = run_zlib(stage, &held); /* one byte gives none */
	return progress == PROGRESS_BAD ? PROGRESS_BAD : PROGRESS_AGAIN;
}

static enum progress run_brotli(struct stage *stage, struct step *step)
{
	uint8_t *out = step->out + step->out_len;
	size_t room = AT_ONCE - step->out_len;
	BrotliDecoderResult status =
	    BrotliDecoderDecompressStream(stage->brotli, &step->in_len, &step->in, &room, &out, NULL);

	step->out_len = AT_ONCE - room;
	switch (status) {
	case BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT:
		return PROGRESS_MORE;
	case BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT:
		return PROGRESS_AGAIN;
	case BROTLI_DECODER_RESULT_SUCCESS:
		stage->is_over = true;
		return step->in_len > 0 ? PROGRESS_AGAIN : PROGRESS_MORE;
	default:
		return PROGRESS_BAD;
	}
}

static enum progress run_zstd(struct stream_decode *decode, struct stage *stage, struct step *step)
{
	ZSTD_inBuffer in = {step->in, step->in_len, 0};
	ZSTD_outBuffer out = {step->out, AT_ONCE, step->out_len};
	size_t status = ZSTD_decompressStream(stage->zstd, &out, &in);

	step->in += in.pos;
	step->in_len -= in.pos;
	step->out_len = out.pos;
	if (!count_zstd(decode, stage) || ZSTD_isError(status))
		return PROGRESS_BAD;
	return step->in_len > 0 || (status != 0 && out.pos == AT_ONCE) ? PROGRESS_AGAIN : PROGRESS_MORE;
}

/* After the end: another member (RFC 1952 2.2), or zeros, with which some programs fill up a block. */
static enum progress run_over(struct stage *stage, struct step *step)
{
	while (step->in_len > 0 && *step->in == 0) {
		step->in++;
		step->in_len--;
	}
	if (step->in_len == 0)
		return PROGRESS_MORE;
	if (stage->coding != CODING_GZIP || *step->in != GZIP_ID1 || inflateReset(stage->zlib) != Z_OK)
		return PROGRESS_BAD;
	stage->is_over = false;
	return PROGRESS_AGAIN;
}

static enum progress run(struct stream_decode *decode, struct stage *stage, struct step *step)
{
	if (stage->is_over)
		return run_over(stage, step);
	switch (stage->coding) {
	case CODING_GZIP:
		if (stage->zlib == NULL && !zlib_begin(decode, stage, CODING_WINDOW_GZIP))
			return PROGRESS_BAD;
		return run_zlib(stage, step);
	case CODING_DEFLATE:
		return stage->zlib != NULL ? run_zlib(stage, step) : run_deflate(decode, stage, step);
	case CODING_BROTLI:
		return run_brotli(stage, step);
	default:
		return run_zstd(decode, stage, step);
	}
}

/* --- all of them ---------------------------------------------------------------- */

/* What comes out of stage i - 1 goes through stage i and all after it. */
static bool feed(struct stream_decode *decode, uint32_t i, const uint8_t *data, size_t len)
{
	struct step step = {.in = data, .in_len = len};
	enum progress progress = PROGRESS_AGAIN;

	if (len == 0)
		return true;
	if (i == decode->count) {
		decode->sink(decode->to, data, len);
		return true;
	}
	while (progress == PROGRESS_AGAIN) {
		step.out_len = 0;
		progress = run(decode, &decode->stages[i], &step);
		decode->decoded_bytes[i] += step.out_len;
		if (decode->decoded_bytes[i] > coding_total_max(decode->coded_bytes))
			return false;
		if (!feed(decode, i + 1, step.out, step.out_len))
			return false;
	}
	return progress != PROGRESS_BAD;
}

bool stream_decode_add(struct stream_decode *decode, const uint8_t *data, size_t len, stream_decode_sink sink, void *to)
{
	decode->coded_bytes += len;
	decode->sink = sink;
	decode->to = to;
	return feed(decode, 0, data, len);
}
