/* SPDX-License-Identifier: Apache-2.0 */
#include "frame_text.h"

#include "../../src/http2_frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes being put together. */
struct bytes {
	uint8_t *data;
	size_t len;
	bool overflow;
};

static void put(struct bytes *to, const void *data, size_t len)
{
	if (to->len + len > FRAME_TEXT_MAX) {
		to->overflow = true;
		return;
	}
	if (len > 0)
		memcpy(to->data + to->len, data, len);
	to->len += len;
}

static void put_number(struct bytes *to, uint32_t number, int count)
{
	while (count-- > 0) {
		uint8_t byte = (uint8_t)(number >> (8 * count));

		put(to, &byte, 1);
	}
}

/* --- options --- */

struct options {
	const char *text; /* from the name of the frame to the bar, NUL-terminated */
};

static bool has_word(const struct options *options, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = options->text; (at = strstr(at, word)) != NULL; at += len)
		if (at[-1] == ' ' && (at[len] == ' ' || at[len] == '\0'))
			return true;
	return false;
}

static bool number_of(const struct options *options, const char *name, uint32_t *number)
{
	char pattern[32];
	const char *at;

	snprintf(pattern, sizeof(pattern), " %s=", name);
	at = strstr(options->text, pattern);
	if (at != NULL)
		*number = (uint32_t)strtoul(at + strlen(pattern), NULL, 0);
	return at != NULL;
}

static uint32_t number_or(const struct options *options, const char *name, uint32_t otherwise)
{
	uint32_t number;

	return number_of(options, name, &number) ? number : otherwise;
}

/* --- header blocks: fields with " ; " between them --- */

/* RFC 7541 5.1 */
static void put_integer(struct bytes *to, uint8_t first, unsigned int bits, uint32_t value)
{
	uint32_t max = (1U << bits) - 1;

	if (value < max) {
		put_number(to, first | value, 1);
		return;
	}
	put_number(to, first | max, 1);
	for (value -= max; value >= 128; value /= 128)
		put_number(to, value % 128 | 128, 1);
	put_number(to, value, 1);
}

static void put_string(struct bytes *to, const char *text, size_t len)
{
	put_integer(to, 0, 7, (uint32_t)len);
	put(to, text, len);
}

static const char *find(const char *at, const char *end, const char *what)
{
	return memmem(at, (size_t)(end - at), what, strlen(what));
}

/* "@N" an entry of the table, "@N=value" its name, "name: value" neither; "+" before one adds it to the table. */
static bool put_field(struct bytes *to, const char *at, const char *end)
{
	bool adds = at < end && *at == '+';
	const char *colon = find(at + adds + 1, end, ": ");
	uint8_t first = adds ? 0x40 : 0;
	unsigned int bits = adds ? 6 : 4;
	char *after;
	uint32_t index;

	at += adds;
	if (*at != '@') {
		if (colon == NULL)
			return false;
		put_integer(to, first, bits, 0);
		put_string(to, at, (size_t)(colon - at));
		put_string(to, colon + 2, (size_t)(end - colon) - 2);
		return true;
	}
	index = (uint32_t)strtoul(at + 1, &after, 10);
	if (after < end && *after == '=') {
		put_integer(to, first, bits, index);
		put_string(to, after + 1, (size_t)(end - after) - 1);
		return true;
	}
	put_integer(to, 0x80, 7, index);
	return after == end && !adds;
}

static bool put_block(struct bytes *to, const char *at, const char *end)
{
	while (at < end) {
		const char *separator = find(at, end, " ; "), *field_end = separator ? separator : end;

		if (field_end - at > 5 && memcmp(at, "size ", 5) == 0)
			put_integer(to, 0x20, 5, (uint32_t)strtoul(at + 5, NULL, 10));
		else if (field_end - at > 4 && memcmp(at, "raw ", 4) == 0)
			put(to, at + 4, (size_t)(field_end - at) - 4);
		else if (!put_field(to, at, field_end))
			return false;
		at = separator ? separator + 3 : end;
	}
	return true;
}

/* --- frames --- */

static const char *const names[] = {"DATA",         "HEADERS", "PRIORITY", "RST_STREAM",    "SETTINGS",
				    "PUSH_PROMISE", "PING",    "GOAWAY",   "WINDOW_UPDATE", "CONTINUATION"};

static int type_of(const struct options *options)
{
	size_t len = strcspn(options->text, " ");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == len && memcmp(names[i], options->text, len) == 0)
			return (int)i;
	return strncmp(options->text, "FRAME", len) == 0 ? (int)number_or(options, "type", 255) : -1;
}

static uint8_t flags_of(const struct options *options)
{
	uint32_t padding;

	return (uint8_t)((has_word(options, "ack") ? HTTP2_ACK : 0) |
			 (has_word(options, "end_stream") ? HTTP2_END_STREAM : 0) |
			 (has_word(options, "end_headers") ? HTTP2_END_HEADERS : 0) |
			 (has_word(options, "priority") ? HTTP2_HAS_PRIORITY : 0) |
			 (number_of(options, "padded", &padding) ? HTTP2_PADDED : 0));
}

/* The header block: what the last frame left, then this one's, of which the rest may be left again. */
static bool put_fragment(struct bytes *to, const struct options *options, const char *at, const char *end,
			 struct frame_carry *carry)
{
	size_t begin = to->len, cut;

	put(to, carry->data, carry->len);
	carry->len = 0;
	if (!put_block(to, at, end))
		return false;
	cut = begin + number_or(options, "cut", UINT32_MAX);
	if (cut >= to->len)
		return true;
	carry->len = to->len - cut;
	if (carry->len > sizeof(carry->data))
		return false;
	memcpy(carry->data, to->data + cut, carry->len);
	to->len = cut;
	return true;
}

static bool put_payload(struct bytes *to, int type, const struct options *options, const char *at, const char *end,
			struct frame_carry *carry)
{
	static const uint8_t zeros[256];
	uint32_t padding = number_or(options, "padded", 0), value;
	bool sound = true;

	if (number_of(options, "padded", &value))
		put_number(to, number_or(options, "pad_length", padding), 1);
	if (has_word(options, "priority") || type == HTTP2_PRIORITY)
		put(to, "\0\0\0\0\x0f", 5);
	switch (type) {
	case HTTP2_PUSH_PROMISE:
		put_number(to, number_or(options, "promised", 2), 4);
		sound = put_fragment(to, options, at, end, carry);
		break;
	case HTTP2_HEADERS:
	case HTTP2_CONTINUATION:
		sound = put_fragment(to, options, at, end, carry);
		break;
	case HTTP2_RST_STREAM:
		put_number(to, number_or(options, "error", 0), 4);
		break;
	case HTTP2_GOAWAY:
		put_number(to, number_or(options, "last", 0), 4);
		put_number(to, number_or(options, "error", 0), 4);
		put(to, at, (size_t)(end - at));
		break;
	case HTTP2_WINDOW_UPDATE:
		put_number(to, number_or(options, "increment", 1), 4);
		break;
	case HTTP2_PING:
		put(to, zeros, 8);
		break;
	case HTTP2_SETTINGS:
		if (number_of(options, "table_size", &value)) {
			put_number(to, 1, 2);
			put_number(to, value, 4);
		}
		break;
	default:
		put(to, at, (size_t)(end - at));
		break;
	}
	put(to, zeros, padding < sizeof(zeros) ? padding : sizeof(zeros));
	return sound;
}

size_t frame_from_text(const char *line, size_t len, struct frame_carry *carry, uint8_t *out)
{
	const char *bar = find(line, line + len, " |"), *end = line + len, *content = bar ? bar + 2 : end;
	struct bytes bytes = {.data = out}, head;
	char text[256];
	struct options options = {.text = text};
	int type;

	if ((size_t)((bar ? bar : end) - line) >= sizeof(text))
		return 0;
	snprintf(text, sizeof(text), "%.*s", (int)((bar ? bar : end) - line), line);
	if (strcmp(text, "PREFACE") == 0) {
		put(&bytes, HTTP2_PREFACE, HTTP2_PREFACE_LEN);
		return bytes.len;
	}
	type = type_of(&options);
	if (content < end && *content == ' ')
		content++;
	put(&bytes, "\0\0\0\0\0\0\0\0", HTTP2_HEAD_LEN); /* filled in at the end */
	if (type < 0 || !put_payload(&bytes, type, &options, content, end, carry) || bytes.overflow)
		return 0;
	head = (struct bytes){.data = out};
	put_number(&head, number_or(&options, "length", (uint32_t)(bytes.len - HTTP2_HEAD_LEN)), 3);
	put_number(&head, (uint32_t)type, 1);
	put_number(&head, flags_of(&options), 1);
	put_number(&head, number_or(&options, "stream", 0), 4);
	return bytes.len;
}
