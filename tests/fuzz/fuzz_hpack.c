/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: header blocks through src/hpack.c and through nghttp2, which
 * must agree as long as nghttp2 accepts them; and through a decoder that missed
 * the first block, which must never be wrong about what it claims to know.
 *
 * Input: blocks, each after its length in two bytes (big endian).
 */
#include "../../src/hpack.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELDS_MAX = 8192, INPUT_MAX = 8192 };

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* Fields of one block, copied. */
struct fields {
	struct field {
		char *name, *value;
		size_t name_len, value_len;
		uint32_t flags;
	} list[FIELDS_MAX];
	size_t count;
	bool sound;
};

static char *copy_of(const void *data, size_t len)
{
	char *copy = malloc(len + 1);

	CHECK(copy != NULL);
	if (len > 0)
		memcpy(copy, data, len);
	return copy;
}

static void add(struct fields *fields, const void *name, size_t name_len, const void *value, size_t value_len,
		uint32_t flags)
{
	CHECK(fields->count < FIELDS_MAX);
	fields->list[fields->count++] = (struct field){
	    .name = copy_of(name, name_len),
	    .value = copy_of(value, value_len),
	    .name_len = name_len,
	    .value_len = value_len,
	    .flags = flags,
	};
}

static void clear(struct fields *fields)
{
	for (size_t i = 0; i < fields->count; i++) {
		free(fields->list[i].name);
		free(fields->list[i].value);
	}
	fields->count = 0;
}

static void decode(struct hpack_decoder *decoder, const uint8_t *data, size_t len, struct fields *fields)
{
	uint8_t *block = malloc(len ? len : 1); /* reading past the end is seen */
	enum hpack_result result;
	struct ps_header field;

	CHECK(block != NULL);
	clear(fields);
	if (len > 0)
		memcpy(block, data, len);
	hpack_begin(decoder, block, len);
	while ((result = hpack_next(decoder, &field)) == HPACK_FIELD) {
		CHECK((field.name.data == NULL) == (field.name.len == 0));
		CHECK(!(field.flags & PS_HEADER_NAME_UNKNOWN) || field.name.len == 0);
		CHECK(!(field.flags & PS_HEADER_VALUE_UNKNOWN) || field.value.len == 0);
		add(fields, field.name.data, field.name.len, field.value.data, field.value.len, field.flags);
	}
	hpack_end(decoder);
	fields->sound = result == HPACK_END;
	CHECK(decoder->bytes <= HPACK_TABLE_MAX);
	free(block);
}

static void decode_with_nghttp2(nghttp2_hd_inflater *inflater, const uint8_t *data, size_t len, struct fields *fields)
{
	int flags = 0;

	clear(fields);
	fields->sound = false;
	do {
		nghttp2_nv nv;
		ssize_t used = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, data, len, 1);

		if (used < 0)
			return;
		data += used;
		len -= (size_t)used;
		if (flags & NGHTTP2_HD_INFLATE_EMIT)
			add(fields, nv.name, nv.namelen, nv.value, nv.valuelen, 0);
	} while (!(flags & NGHTTP2_HD_INFLATE_FINAL) && (len > 0 || (flags & NGHTTP2_HD_INFLATE_EMIT)));
	nghttp2_hd_inflate_end_headers(inflater);
	fields->sound = flags & NGHTTP2_HD_INFLATE_FINAL;
}

static bool same(const char *a, size_t a_len, const char *b, size_t b_len)
{
	return a_len == b_len && memcmp(a, b, a_len) == 0;
}

static void check_equal(const struct fields *ours, const struct fields *theirs)
{
	CHECK(ours->sound && ours->count == theirs->count);
	for (size_t i = 0; i < ours->count; i++) {
		const struct field *a = &ours->list[i], *b = &theirs->list[i];

		CHECK(a->flags == 0);
		CHECK(same(a->name, a->name_len, b->name, b->name_len));
		CHECK(same(a->value, a->value_len, b->value, b->value_len));
	}
}

/* What the late decoder does not mark is right. */
static void check_known(const struct fields *late, const struct fields *whole)
{
	CHECK(late->sound && late->count == whole->count);
	for (size_t i = 0; i < late->count; i++) {
		const struct field *a = &late->list[i], *b = &whole->list[i];

		CHECK((a->flags & PS_HEADER_NAME_UNKNOWN) || same(a->name, a->name_len, b->name, b->name_len));
		CHECK((a->flags & PS_HEADER_VALUE_UNKNOWN) || same(a->value, a->value_len, b->value, b->value_len));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct fields ours, late, theirs;
	struct hpack_decoder decoder, late_decoder;
	nghttp2_hd_inflater *inflater;
	bool agreed = true;

	if (len > INPUT_MAX)
		return 0;
	CHECK(nghttp2_hd_inflate_new(&inflater) == 0);
	hpack_init(&decoder, true);
	hpack_init(&late_decoder, false);
	for (size_t at = 0, block = 0; at + 2 <= len; block++) {
		size_t size = (size_t)data[at] << 8 | data[at + 1];

		at += 2;
		if (size > len - at)
			size = len - at;
		decode(&decoder, data + at, size, &ours);
		if (agreed)
			decode_with_nghttp2(inflater, data + at, size, &theirs);
		agreed = agreed && theirs.sound; /* after an error its decoder is of no use */
		if (agreed)
			check_equal(&ours, &theirs);
		if (block > 0)
			decode(&late_decoder, data + at, size, &late);
		if (block > 0 && agreed)
			check_known(&late, &ours);
		at += size;
	}
	clear(&ours);
	clear(&late);
	clear(&theirs);
	hpack_fini(&decoder);
	hpack_fini(&late_decoder);
	nghttp2_hd_inflate_del(inflater);
	return 0;
}
