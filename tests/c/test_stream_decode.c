/* SPDX-License-Identifier: Apache-2.0 */
/* src/stream_decode.c: bodies decoded while they come, cut anywhere, malformed, and made to fill memory. */
#include <stdlib.h>
#include <string.h>

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include "../../src/stream_decode.h"
#include "tap.h"

enum { EVENTS = 8, CODED_MAX = 1 << 16, BOMB_BYTES = 64 << 20, ROUND = 4 << 20 };

struct bytes {
	uint8_t *data;
	size_t len, cap;
};

static void add(struct bytes *bytes, const void *data, size_t len)
{
	if (len == 0)
		return;
	if (bytes->len + len > bytes->cap) {
		bytes->cap = 2 * (bytes->len + len);
		bytes->data = realloc(bytes->data, bytes->cap);
		if (bytes->data == NULL)
			abort();
	}
	memcpy(bytes->data + bytes->len, data, len);
	bytes->len += len;
}

/* A flushed event stream: where each event ends, plain and coded. */
struct sample {
	struct bytes plain, coded;
	size_t plain_end[EVENTS], coded_end[EVENTS];
};

/* ---- encoders that flush ---- */

struct encoder {
	const char *name;
	enum coding coding;
	int window_bits; /* of zlib */
	z_stream zlib;
	BrotliEncoderState *brotli;
	ZSTD_CCtx *zstd;
};

static void encoder_begin(struct encoder *encoder)
{
	if (encoder->coding == CODING_BROTLI)
		encoder->brotli = BrotliEncoderCreateInstance(NULL, NULL, NULL);
	else if (encoder->coding == CODING_ZSTD)
		encoder->zstd = ZSTD_createCCtx();
	else
		deflateInit2(&encoder->zlib, 6, Z_DEFLATED, encoder->window_bits, 8, Z_DEFAULT_STRATEGY);
}

static void encoder_end(struct encoder *encoder)
{
	if (encoder->coding == CODING_BROTLI)
		BrotliEncoderDestroyInstance(encoder->brotli);
	else if (encoder->coding == CODING_ZSTD)
		ZSTD_freeCCtx(encoder->zstd);
	else
		deflateEnd(&encoder->zlib);
}

/* Code and flush, or finish. */
static void encode(struct encoder *encoder, const void *data, size_t len, bool ends, struct bytes *coded)
{
	static uint8_t out[CODED_MAX];
	size_t room = sizeof(out);

	if (encoder->coding == CODING_BROTLI) {
		const uint8_t *in = data;
		uint8_t *at = out;

		BrotliEncoderCompressStream(encoder->brotli, ends ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_FLUSH,
					    &len, &in, &room, &at, NULL);
	} else if (encoder->coding == CODING_ZSTD) {
		ZSTD_inBuffer in = {data, len, 0};
		ZSTD_outBuffer at = {out, sizeof(out), 0};

		ZSTD_compressStream2(encoder->zstd, &at, &in, ends ? ZSTD_e_end : ZSTD_e_flush);
		room -= at.pos;
	} else {
		encoder->zlib.next_in = (Bytef *)(uintptr_t)data;
		encoder->zlib.avail_in = (uInt)len;
		encoder->zlib.next_out = out;
		encoder->zlib.avail_out = (uInt)room;
		deflate(&encoder->zlib, ends ? Z_FINISH : Z_SYNC_FLUSH);
		room = encoder->zlib.avail_out;
	}
	add(coded, out, sizeof(out) - room);
}

static struct encoder encoders[] = {
    {.name = "gzip", .coding = CODING_GZIP, .window_bits = 15 + 16},
    {.name = "deflate, zlib format", .coding = CODING_DEFLATE, .window_bits = 15},
    {.name = "deflate, raw", .coding = CODING_DEFLATE, .window_bits = -15},
    {.name = "br", .coding = CODING_BROTLI},
    {.name = "zstd", .coding = CODING_ZSTD},
};
enum { ENCODERS = sizeof(encoders) / sizeof(encoders[0]) };

/* Events through encoders[first] and then, unless that is NULL, another one. */
static struct sample sample_new(struct encoder first, struct encoder *second)
{
	struct sample sample = {.coded = {.data = NULL}};
	struct encoder last = second ? *second : first;

	encoder_begin(&first);
	if (second)
		encoder_begin(&last);
	for (int i = 0; i <= EVENTS; i++) {
		struct bytes once = {.data = NULL};
		char event[256];
		int len = snprintf(event, sizeof(event), "id: %d\ndata: %0*d event %d\n\n", i, 20 * i + 1, i, i);

		encode(&first, event, i < EVENTS ? (size_t)len : 0, i == EVENTS, second ? &once : &sample.coded);
		if (second)
			encode(&last, once.data, once.len, i == EVENTS, &sample.coded);
		free(once.data);
		if (i == EVENTS)
			break;
		add(&sample.plain, event, (size_t)len);
		sample.plain_end[i] = sample.plain.len;
		sample.coded_end[i] = sample.coded.len;
	}
	encoder_end(&first);
	if (second)
		encoder_end(&last);
	return sample;
}

static void sample_free(struct sample *sample)
{
	free(sample->plain.data);
	free(sample->coded.data);
}

/* ---- decoding ---- */

static void collect(void *to, const uint8_t *data, size_t len)
{
	add(to, data, len);
}

static void count(void *to, const uint8_t *data, size_t len)
{
	(void)data;
	*(uint64_t *)to += len;
}

static struct stream_decode *decode_new(enum coding first, enum coding second)
{
	struct coding_list list = {.codings = {first, second}, .count = second == CODING_UNKNOWN ? 1 : 2};

	return stream_decode_new(&list);
}

/* In memory of its own, so that the sanitizer sees what reads on. */
static bool feed(struct stream_decode *decode, const uint8_t *data, size_t len, struct bytes *out)
{
	uint8_t *copy = malloc(len ? len : 1);
	bool is_well;

	memcpy(copy, data, len);
	is_well = stream_decode_add(decode, copy, len, collect, out);
	free(copy);
	return is_well;
}

static bool is_same(const struct bytes *a, const uint8_t *data, size_t len)
{
	return a->len == len && (len == 0 || memcmp(a->data, data, len) == 0);
}

/* Each event is there when the bytes up to its flush are. */
static bool comes_at_once(const struct sample *sample, enum coding first, enum coding second)
{
	struct stream_decode *decode = decode_new(first, second);
	struct bytes out = {.data = NULL};
	size_t at = 0;
	bool right = decode != NULL;

	for (int i = 0; right && i < EVENTS; i++) {
		right = feed(decode, sample->coded.data + at, sample->coded_end[i] - at, &out) &&
			is_same(&out, sample->plain.data, sample->plain_end[i]);
		at = sample->coded_end[i];
	}
	right = right && feed(decode, sample->coded.data + at, sample->coded.len - at, &out);
	free(out.data);
	stream_decode_free(decode);
	return right;
}

/* Cut in two at `cut`, or with step 1 into single bytes; after the end zeros, and then what is none of it. */
static bool is_decoded(const struct sample *sample, enum coding first, enum coding second, size_t cut, size_t step)
{
	static const uint8_t zeros[3], other[1] = {'x'};
	struct stream_decode *decode = decode_new(first, second);
	struct bytes out = {.data = NULL};
	size_t at = 0;
	bool right = decode != NULL;

	while (right && at < sample->coded.len) {
		size_t len = step ? step : at < cut ? cut : sample->coded.len - at;

		right = feed(decode, sample->coded.data + at, len, &out);
		at += len;
	}
	right = right && is_same(&out, sample->plain.data, sample->plain.len);
	if (first != CODING_ZSTD && second != CODING_ZSTD)
		right = right && feed(decode, zeros, sizeof(zeros), &out);
	right =
	    right && !feed(decode, other, sizeof(other), &out) && is_same(&out, sample->plain.data, sample->plain.len);
	free(out.data);
	stream_decode_free(decode);
	return right;
}

static void test_coding(struct encoder *first, struct encoder *second)
{
	struct sample sample = sample_new(*first, second);
	enum coding outer = second ? second->coding : CODING_UNKNOWN;
	char name[128];
	bool right = is_decoded(&sample, first->coding, outer, 0, 1);

	for (size_t cut = 0; cut < sample.coded.len; cut++)
		right = is_decoded(&sample, first->coding, outer, cut, 0) && right;
	snprintf(name, sizeof(name), "%s%s%s: cut at every byte", first->name, second ? ", then " : "",
		 second ? second->name : "");
	tap_ok(right, name);
	snprintf(name, sizeof(name), "%s%s%s: each event when it was flushed", first->name, second ? ", then " : "",
		 second ? second->name : "");
	tap_ok(comes_at_once(&sample, first->coding, outer), name);
	sample_free(&sample);
}

/* Each byte changed in turn: what comes out before that was noticed, or all, is never more than could be. */
static void test_damaged(struct encoder *encoder)
{
	struct sample sample = sample_new(*encoder, NULL);
	bool right = true;
	char name[128];

	for (size_t i = 0; i < sample.coded.len; i++) {
		struct stream_decode *decode = decode_new(encoder->coding, CODING_UNKNOWN);
		struct bytes out = {.data = NULL};

		sample.coded.data[i] ^= 0xff;
		feed(decode, sample.coded.data, sample.coded.len, &out);
		right = right && out.len <= coding_total_max(sample.coded.len);
		sample.coded.data[i] ^= 0xff;
		free(out.data);
		stream_decode_free(decode);
	}
	snprintf(name, sizeof(name), "%s: damaged at every byte", encoder->name);
	tap_ok(right, name);
	sample_free(&sample);
}

/* ---- bounds ---- */

/* Zeros, coded in rounds with no flush between them. */
static struct bytes bomb_new(struct encoder encoder)
{
	struct bytes coded = {.data = NULL};
	uint8_t *zeros = calloc(1, ROUND);

	if (zeros == NULL)
		abort();
	encoder_begin(&encoder);
	for (size_t at = 0; at < BOMB_BYTES; at += ROUND)
		encode(&encoder, zeros, ROUND, false, &coded);
	encode(&encoder, "", 0, true, &coded);
	encoder_end(&encoder);
	free(zeros);
	return coded;
}

/* What decodes to more than 1000 times its size is given up there, with no more memory than a window. */
static void test_bomb(struct encoder *encoder, size_t memory_max)
{
	struct bytes bomb = bomb_new(*encoder);
	struct stream_decode *decode = decode_new(encoder->coding, CODING_UNKNOWN);
	uint64_t decoded = 0;
	size_t at = 0, memory = 0;
	bool goes_on = true;
	char name[128];

	while (goes_on && at < bomb.len) {
		size_t len = bomb.len - at < 64 ? bomb.len - at : 64;

		goes_on = stream_decode_add(decode, bomb.data + at, len, count, &decoded);
		at += len;
		memory = stream_decode_memory(decode) > memory ? stream_decode_memory(decode) : memory;
	}
	snprintf(name, sizeof(name), "%s: a bomb is stopped", encoder->name);
	tap_ok(!goes_on && decoded <= coding_total_max(at), name);
	printf("# %zu bytes of %zu read, %llu decoded, %zu KiB at most\n", at, bomb.len, (unsigned long long)decoded,
	       memory / 1024);
	snprintf(name, sizeof(name), "%s: in no more than %zu KiB", encoder->name, memory_max / 1024);
	tap_ok(memory <= memory_max, name);
	stream_decode_free(decode);
	free(bomb.data);
}

/* So many streams with the largest window that the memory for all of them is used up: the others are not decoded. */
static void test_many(void)
{
	enum { MANY = 40 };
	struct encoder encoder = {.coding = CODING_BROTLI};
	struct stream_decode *all[MANY];
	struct bytes coded = {.data = NULL};
	uint8_t *noise = malloc(ROUND);
	uint32_t state = 1, refused = 0;
	uint64_t decoded = 0;
	size_t memory = 0;

	for (size_t i = 0; i < ROUND; i++) {
		state = state * 1664525 + 1013904223;
		noise[i] = (uint8_t)(state >> 24);
	}
	encoder.brotli = BrotliEncoderCreateInstance(NULL, NULL, NULL);
	BrotliEncoderSetParameter(encoder.brotli, BROTLI_PARAM_LGWIN, 24);
	BrotliEncoderSetParameter(encoder.brotli, BROTLI_PARAM_QUALITY, 1);
	for (size_t at = 0; at < 5 * (size_t)ROUND; at += CODED_MAX / 2)
		encode(&encoder, noise + at % ROUND, CODED_MAX / 2, false, &coded);
	encoder_end(&encoder);
	for (int i = 0; i < MANY; i++) {
		all[i] = decode_new(CODING_BROTLI, CODING_UNKNOWN);
		if (all[i] == NULL || !stream_decode_add(all[i], coded.data, coded.len, count, &decoded))
			refused++;
		memory += all[i] != NULL ? stream_decode_memory(all[i]) : 0;
	}
	printf("# %u of %d refused, %zu MiB\n", refused, MANY, memory >> 20);
	tap_ok(refused > 0 && refused < MANY && memory <= STREAM_DECODE_BYTES_MAX + (1 << 20),
	       "memory of all streams has a bound");
	for (int i = 0; i < MANY; i++)
		stream_decode_free(all[i]);
	all[0] = decode_new(CODING_BROTLI, CODING_UNKNOWN);
	tap_ok(all[0] != NULL && stream_decode_add(all[0], coded.data, coded.len, count, &decoded),
	       "and what is given back can be used");
	stream_decode_free(all[0]);
	free(coded.data);
	free(noise);
}

static void test_unknown(void)
{
	struct coding_list list = {.codings = {CODING_UNKNOWN}, .count = 1, .is_unknown = true};

	tap_ok(stream_decode_new(&list) == NULL, "an unknown coding has no decoder");
}

int main(void)
{
	for (int i = 0; i < ENCODERS; i++) {
		test_coding(&encoders[i], NULL);
		test_damaged(&encoders[i]);
	}
	for (int i = 0; i < ENCODERS; i++)
		test_coding(&encoders[i], &encoders[(i + 3) % ENCODERS]);
	test_bomb(&encoders[3], 17 << 20);
	test_bomb(&encoders[4], 9 << 20);
	test_many();
	test_unknown();
	return tap_end();
}
