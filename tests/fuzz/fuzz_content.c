/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: the content of a body.
 *
 * Input: a line that is the value of Content-Encoding, one of Transfer-Encoding,
 * one of Content-Type, and the body.
 *
 * Besides what the sanitizers see it checks that limits hold, that the result is
 * the same a second time, and that a part of a body that can be decoded gives a
 * part of its content.
 */
#include "../../src/plainsight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP_MAX = 5000, TOTAL_MAX = 50000 };

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* A copy of its own, so that reading beyond it is seen; NULL when it is empty. */
static struct ps_slice copy_of(const uint8_t *data, size_t len)
{
	char *copy = len ? malloc(len) : NULL;

	if (copy)
		memcpy(copy, data, len);
	return (struct ps_slice){copy, len};
}

static struct ps_slice next_line(const uint8_t **at, const uint8_t *end)
{
	const uint8_t *begin = *at;
	const uint8_t *stop = memchr(begin, '\n', (size_t)(end - begin));

	if (!stop)
		stop = end;
	*at = stop < end ? stop + 1 : end;
	return copy_of(begin, (size_t)(stop - begin));
}

static void check_limits(const struct ps_content *content, const struct ps_body *body)
{
	bool is_decoded = content->state != PS_CONTENT_PLAIN && content->state != PS_CONTENT_NONE;

	CHECK(content->coding_count <= PS_CODINGS_MAX);
	CHECK(content->state <= PS_CONTENT_NONE);
	CHECK(content->bytes.len == 0 || content->bytes.data);
	if (is_decoded) {
		CHECK(content->bytes.len <= KEEP_MAX);
		CHECK(content->size_bytes <= TOTAL_MAX + 1);
		CHECK(content->bytes.len == content->size_bytes || content->bytes.len == KEEP_MAX);
	} else {
		CHECK(content->bytes.data == body->kept.data && content->bytes.len == body->kept.len);
	}
	if (content->charset)
		CHECK(content->text.len <= 6 * content->bytes.len);
}

/* The same again, and the beginning from a part of the body. */
static void check_again(struct ps_decoder *decoder, struct ps_message *message, const struct ps_content *content)
{
	struct ps_slice bytes = copy_of((const uint8_t *)content->bytes.data, content->bytes.len);
	uint32_t state = content->state;
	size_t len = message->body.kept.len;

	content = ps_decode(decoder, message, KEEP_MAX, TOTAL_MAX);
	CHECK(content->state == state && content->bytes.len == bytes.len);
	CHECK(bytes.len == 0 || memcmp(content->bytes.data, bytes.data, bytes.len) == 0);
	for (int i = 1; i < 4 && state == PS_CONTENT_COMPLETE; i++) {
		message->body.kept.len = len * (size_t)i / 4;
		message->body.state = PS_BODY_TRUNCATED;
		content = ps_decode(decoder, message, KEEP_MAX, TOTAL_MAX);
		if (content->state != PS_CONTENT_TRUNCATED)
			continue;
		CHECK(content->bytes.len <= bytes.len);
		CHECK(content->bytes.len == 0 || memcmp(content->bytes.data, bytes.data, content->bytes.len) == 0);
	}
	free((char *)bytes.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *at = data;
	const uint8_t *end = data + size;
	struct ps_header headers[] = {
	    {.name = {"content-encoding", 16}, .value = next_line(&at, end)},
	    {.name = {"transfer-encoding", 17}, .value = next_line(&at, end)},
	    {.name = {"content-type", 12}, .value = next_line(&at, end)},
	};
	struct ps_message message = {.headers = headers, .header_count = 3, .version_major = 1};
	struct ps_slice body = copy_of(at, (size_t)(end - at));
	struct ps_decoder *decoder = ps_decoder_new();
	const struct ps_content *content;

	message.body.kept = body;
	message.body.size_bytes = body.len;
	content = ps_decode(decoder, &message, KEEP_MAX, TOTAL_MAX);
	check_limits(content, &message.body);
	CHECK(ps_is_encoded(&message) || (content->state == PS_CONTENT_PLAIN && !content->charset));
	check_again(decoder, &message, content);
	ps_decoder_free(decoder);
	free((char *)body.data);
	for (int i = 0; i < 3; i++)
		free((char *)headers[i].value.data);
	return 0;
}
