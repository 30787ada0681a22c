/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Items as they may be shown. First all texts of an item are looked through;
 * then each is written anew in which something was found, or in which a value
 * that was found elsewhere in the item stands as it is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "content.h"
#include "secret_item.h"
#include "secret_rules.h"

enum {
	TEXTS_MAX = 16,               /* of one item */
	SPANS_MAX = 4096,             /* of one item */
	CHOSEN_MAX = 16,              /* headers that are looked at though they are not shown */
	VALUES_MAX = 64,              /* that are looked for in the other texts of the item */
	VALUE_LEN_MIN = 8,            /* shorter ones are common words */
	MASK_HASH_LEN = 8,            /* digits of it */
	MASK_MAX = 160,               /* bytes of a mask */
	END_BYTES = 4096,             /* of a text that ends early, where a value may have begun */
	TAIL_MAX = 256,               /* hidden at the end of a text that is cut there */
	CODED_MAX = 4 * 1024 * 1024,  /* decoded of a body that may be withheld */
	KNOWN_BYTES_MAX = 1024 * 1024 /* of values */
};

/* What is to be replaced in a text. */
struct span {
	uint32_t text; /* index */
	uint32_t rule;
	uint64_t begin;
	uint64_t end;
	char hash[PS_SECRET_HASH_LEN + 1];
};

/* A value that was found in the item. */
struct value {
	uint32_t rule;
	struct ps_slice secret;
	char hash[PS_SECRET_HASH_LEN + 1];
};

struct text {
	struct ps_slice bytes;
	uint64_t cut;    /* what is shown of it */
	bool keeps_len;  /* lengths within it count: it is binary */
	bool hides_tail; /* it ends early, perhaps within a value */
	bool is_all;     /* there is too much in it to be masked one by one */
};

/* Memory for one item: blocks that do not move. */
struct block {
	struct block *next;
	size_t used;
	size_t cap;
	char data[];
};

struct ps_redactor {
	struct ps_secrets *secrets;
	struct ps_redact_options options;
	struct ps_secret_stream *stream;
	struct ps_decoder *decoder; /* without a filter, for bodies that are shown coded */
	struct ps_redact_stats stats;
	struct ps_item item; /* the copy */
	struct ps_exchange exchange;
	struct ps_stream_message message;
	struct secret_lines lines[TEXTS_MAX];
	struct text texts[TEXTS_MAX];
	uint32_t text_count;
	struct span *spans;
	uint32_t span_count;
	uint32_t span_cap;
	struct value values[VALUES_MAX];
	uint32_t value_count;
	size_t value_bytes;
	struct block *blocks;
	struct block *content_blocks; /* of what was decoded last */
	bool is_changed;
	bool is_failed; /* memory was short */
};

/* --- memory --------------------------------------------------------------- */

enum { BLOCK_BYTES = 16384 };

static void free_blocks(struct block **blocks)
{
	while (*blocks) {
		struct block *next = (*blocks)->next;

		free(*blocks);
		*blocks = next;
	}
}

/* All but one of modest size are freed: most items need no more. */
static void reset_blocks(struct block **blocks)
{
	struct block *first = *blocks;

	if (!first)
		return;
	free_blocks(&first->next);
	first->used = 0;
	if (first->cap > BLOCK_BYTES)
		free_blocks(blocks);
}

/* Aligned for structs. NULL when memory is short, which the redactor notes. */
static char *take(struct ps_redactor *redactor, struct block **blocks, size_t len)
{
	struct block *block = *blocks;
	char *at;

	len = (len + 7) & ~(size_t)7;
	if (!block || block->cap - block->used < len) {
		size_t cap = len > BLOCK_BYTES ? len : BLOCK_BYTES;

		block = malloc(sizeof(*block) + cap);
		if (!block) {
			redactor->is_failed = true;
			return NULL;
		}
		*block = (struct block){.next = *blocks, .cap = cap};
		*blocks = block;
	}
	at = block->data + block->used;
	block->used += len;
	return at;
}

struct ps_redactor *ps_redactor_new(const struct ps_secrets *secrets, const struct ps_redact_options *options)
{
	struct ps_redactor *redactor = calloc(1, sizeof(*redactor));

	if (!redactor)
		return NULL;
	redactor->secrets = (struct ps_secrets *)secrets;
	redactor->options = *options;
	redactor->stream = ps_secret_stream_new(secrets);
	redactor->decoder = ps_decoder_new();
	if (!redactor->stream || !redactor->decoder) {
		ps_redactor_free(redactor);
		return NULL;
	}
	return redactor;
}

void ps_redactor_free(struct ps_redactor *redactor)
{
	if (!redactor)
		return;
	ps_secret_stream_free(redactor->stream);
	ps_decoder_free(redactor->decoder);
	for (int i = 0; i < TEXTS_MAX; i++)
		secret_lines_free(&redactor->lines[i]);
	free(redactor->spans);
	free_blocks(&redactor->blocks);
	free_blocks(&redactor->content_blocks);
	free(redactor);
}

struct ps_redact_stats ps_redactor_stats(const struct ps_redactor *redactor)
{
	struct ps_redact_stats stats = redactor->stats;

	stats.scanned = ps_secret_stream_stats(redactor->stream);
	return stats;
}

/* --- finding -------------------------------------------------------------- */

/* Whether a value is to be looked for in other texts too. */
static void learn(struct ps_redactor *redactor, uint32_t rule, struct ps_slice secret, const char *hash)
{
	struct value *value;
	char *copy;

	if (secret.len < VALUE_LEN_MIN || redactor->value_count == VALUES_MAX ||
	    redactor->value_bytes + secret.len > KNOWN_BYTES_MAX)
		return;
	for (uint32_t i = 0; i < redactor->value_count; i++)
		if (redactor->values[i].secret.len == secret.len &&
		    memcmp(redactor->values[i].secret.data, secret.data, secret.len) == 0)
			return;
	copy = take(redactor, &redactor->blocks, secret.len);
	if (!copy)
		return;
	memcpy(copy, secret.data, secret.len);
	value = &redactor->values[redactor->value_count++];
	value->rule = rule;
	value->secret = (struct ps_slice){copy, secret.len};
	memcpy(value->hash, hash, sizeof(value->hash));
	redactor->value_bytes += secret.len;
}

/* NULL: there are too many, and the text is masked as a whole. */
static struct span *new_span(struct ps_redactor *redactor, uint32_t text)
{
	if (redactor->span_count == redactor->span_cap) {
		uint32_t cap = redactor->span_cap ? redactor->span_cap * 2 : 64;
		struct span *spans = cap <= SPANS_MAX ? realloc(redactor->spans, cap * sizeof(*spans)) : NULL;

		if (!spans) {
			redactor->texts[text].is_all = true;
			return NULL;
		}
		redactor->spans = spans;
		redactor->span_cap = cap;
	}
	return &redactor->spans[redactor->span_count++];
}

static const char mask_start[] = "[redacted:";

/* Whether bytes are what put_mask() writes: of a recording whose secrets were masked when it was made. */
static bool is_mask(const char *bytes, size_t len)
{
	const size_t start_len = sizeof(mask_start) - 1, tail_len = MASK_HASH_LEN + 2;
	const char *tail;

	if (len <= start_len + tail_len || len > MASK_MAX || memcmp(bytes, mask_start, start_len) != 0)
		return false;
	tail = bytes + len - tail_len;
	for (const char *at = bytes + start_len; at < tail; at++)
		if (!((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') || *at == '-'))
			return false;
	for (const char *at = tail + 1; at < bytes + len - 1; at++)
		if (!((*at >= 'a' && *at <= 'f') || (*at >= '0' && *at <= '9')))
			return false;
	return *tail == ':' && bytes[len - 1] == ']';
}

/* Look through a text, at least as much as is shown of it. */
static void look_through(struct ps_redactor *redactor, uint32_t index, uint32_t scope)
{
	struct text *text = &redactor->texts[index];
	struct ps_secret_matches matches = ps_secrets_scan(redactor->stream, scope, text->bytes.data, text->bytes.len);

	text->is_all = matches.dropped != 0;
	for (uint32_t i = 0; i < matches.count; i++) {
		const struct ps_secret_match *match = &matches.list[i];
		struct span *span;

		if (is_mask(text->bytes.data + match->begin, (size_t)(match->end - match->begin)))
			continue;
		span = new_span(redactor, index);
		if (!span)
			return;
		*span = (struct span){.text = index, .rule = match->rule, .begin = match->begin, .end = match->end};
		ps_secret_hash(redactor->options.key, match->secret.data, match->secret.len, span->hash);
		learn(redactor, match->rule, match->secret, span->hash);
		if (match->encodings[0] != PS_ENCODING_NONE) /* it may be repeated as it is coded here */
			learn(redactor, match->rule,
			      (struct ps_slice){text->bytes.data + match->begin, (size_t)(match->end - match->begin)},
			      span->hash);
	}
}

static bool is_free(const struct ps_redactor *redactor, uint32_t first, uint64_t begin, uint64_t end, uint32_t text)
{
	for (uint32_t i = first; i < redactor->span_count; i++) {
		const struct span *span = &redactor->spans[i];

		if (span->text == text && span->begin < end && span->end > begin)
			return false;
	}
	return true;
}

/*
 * A text that ends before its message does: what would be found if a quote or
 * the end of a line came next is the beginning of a value.
 */
static void look_at_end(struct ps_redactor *redactor, uint32_t index, uint32_t scope)
{
	static const char closers[] = "\"\n";
	const struct text *text = &redactor->texts[index];
	size_t len = text->bytes.len < END_BYTES ? text->bytes.len : END_BYTES;
	uint64_t before = text->bytes.len - len;
	char *end = take(redactor, &redactor->blocks, len + 1);

	if (!end || len == 0)
		return;
	memcpy(end, text->bytes.data + before, len);
	for (const char *closer = closers; *closer; closer++) {
		struct ps_secret_matches matches;

		end[len] = *closer;
		matches = ps_secrets_scan(redactor->stream, scope, end, len + 1);
		for (uint32_t i = 0; i < matches.count; i++) {
			const struct ps_secret_match *match = &matches.list[i];
			uint64_t begin = before + match->begin;
			struct span *span;

			if (match->match_end < len || !is_free(redactor, 0, begin, text->bytes.len, index) ||
			    is_mask(text->bytes.data + begin, (size_t)(text->bytes.len - begin)))
				continue;
			span = new_span(redactor, index);
			if (!span)
				return;
			*span =
			    (struct span){.text = index, .rule = match->rule, .begin = begin, .end = text->bytes.len};
			ps_secret_hash(redactor->options.key, match->secret.data, match->secret.len, span->hash);
		}
	}
}

/* Values that were found anywhere in the item, where they stand in this text as they are. */
static void look_for_values(struct ps_redactor *redactor, uint32_t index)
{
	const struct text *text = &redactor->texts[index];
	const char *end = text->bytes.data + text->bytes.len;

	for (uint32_t i = 0; i < redactor->value_count; i++) {
		const struct value *value = &redactor->values[i];
		const char *at = text->bytes.data;

		while (at && (at = memmem(at, (size_t)(end - at), value->secret.data, value->secret.len)) != NULL) {
			uint64_t begin = (uint64_t)(at - text->bytes.data);
			struct span *span;

			at += value->secret.len;
			if (!is_free(redactor, 0, begin, begin + value->secret.len, index))
				continue;
			span = new_span(redactor, index);
			if (!span)
				return;
			*span = (struct span){
			    .text = index, .rule = value->rule, .begin = begin, .end = begin + value->secret.len};
			memcpy(span->hash, value->hash, sizeof(span->hash));
		}
	}
}

/* --- writing -------------------------------------------------------------- */

static size_t put_mask(const struct ps_redactor *redactor, const struct span *span, char *out)
{
	return (size_t)snprintf(out, MASK_MAX, "%s%.*s:%.*s]", mask_start, MASK_MAX - 32,
				redactor->secrets->rules[span->rule].pub.id, MASK_HASH_LEN, span->hash);
}

static uint64_t before_space(const struct ps_slice *bytes, uint64_t at)
{
	while (at > 0 && (bytes->data[at - 1] == ' ' || bytes->data[at - 1] == '\t'))
		at--;
	return at;
}

/* Whether a span is a number of JSON (RFC 8259 6) that a name stands before: its mask is to be a string. */
static bool is_json_number(const struct text *text, const struct span *span)
{
	const char *data = text->bytes.data;
	uint64_t at = before_space(&text->bytes, span->begin);

	if (at == 0 || data[at - 1] != ':' ||
	    !((data[span->begin] >= '0' && data[span->begin] <= '9') || data[span->begin] == '-'))
		return false;
	at = before_space(&text->bytes, at - 1);
	return at > 0 && data[at - 1] == '"' &&
	       (span->end == text->bytes.len || (data[span->end] != 0 && strchr(",}] \t\r\n", data[span->end])));
}

/* In a binary text as many bytes as were there. */
static size_t put_span(const struct ps_redactor *redactor, const struct text *text, const struct span *span, char *out)
{
	char mask[MASK_MAX];
	size_t len = put_mask(redactor, span, mask), wanted = text->keeps_len ? (size_t)(span->end - span->begin) : len;

	if (!text->keeps_len && is_json_number(text, span)) {
		out[0] = out[len + 1] = '"';
		memcpy(out + 1, mask, len);
		return len + 2;
	}
	for (size_t i = 0; i < wanted; i++)
		out[i] = i < len ? mask[i] : '.';
	return wanted;
}

static int by_place(const void *a, const void *b)
{
	const struct span *one = a, *other = b;

	if (one->text != other->text)
		return one->text < other->text ? -1 : 1;
	if (one->begin != other->begin)
		return one->begin < other->begin ? -1 : 1;
	return 0;
}

/* The bytes from `from` to `to` of a text, with the spans in between replaced. Spans are sorted. */
static struct ps_slice rewrite(struct ps_redactor *redactor, struct block **blocks, const struct text *text,
			       const struct span *spans, uint32_t count, uint64_t from, uint64_t to)
{
	size_t len = 0, room = (size_t)(to - from) + (size_t)count * MASK_MAX + TAIL_MAX;
	char *out = take(redactor, blocks, room);
	uint64_t at = from;

	if (!out)
		return (struct ps_slice){.len = 0};
	for (uint32_t i = 0; i < count && spans[i].begin < to; i++) {
		if (spans[i].end <= at)
			continue;
		if (spans[i].begin > at) {
			memcpy(out + len, text->bytes.data + at, (size_t)(spans[i].begin - at));
			len += (size_t)(spans[i].begin - at);
		}
		len += put_span(redactor, text, &spans[i], out + len);
		redactor->stats.values++;
		at = spans[i].end;
	}
	if (at < to) {
		memcpy(out + len, text->bytes.data + at, (size_t)(to - at));
		len += (size_t)(to - at);
	}
	return (struct ps_slice){len ? out : NULL, len};
}

/* Where the last word of a text begins that ends early, when it may be the beginning of a value. */
static uint64_t tail_of(const struct text *text)
{
	uint64_t begin = text->bytes.len;

	while (begin > 0 && text->bytes.len - begin < TAIL_MAX && (unsigned char)text->bytes.data[begin - 1] > ' ')
		begin--;
	return begin;
}

/* The spans of a text within the sorted list. */
static const struct span *spans_of(const struct ps_redactor *redactor, uint32_t text, uint32_t *count)
{
	uint32_t first = 0;

	while (first < redactor->span_count && redactor->spans[first].text < text)
		first++;
	*count = 0;
	while (first + *count < redactor->span_count && redactor->spans[first + *count].text == text)
		++*count;
	return redactor->spans ? redactor->spans + first : NULL;
}

static const char mask_of_all[] = "[redacted]";

/* In the place of the first `to` bytes of a text. */
static struct ps_slice write_mask_of_all(struct ps_redactor *redactor, struct block **blocks, const struct text *text,
					 uint64_t to)
{
	struct ps_slice whole = {mask_of_all, sizeof(mask_of_all) - 1};
	char *out;

	if (!text->keeps_len || to == 0)
		return whole;
	out = take(redactor, blocks, (size_t)to);
	if (!out)
		return (struct ps_slice){.len = 0};
	memset(out, '.', (size_t)to);
	memcpy(out, whole.data, to < whole.len ? (size_t)to : whole.len);
	return (struct ps_slice){out, (size_t)to};
}

/* A text as it is shown. *slice stays when there is nothing to change; else it becomes a copy. */
static bool write_text(struct ps_redactor *redactor, struct block **blocks, uint32_t index, struct ps_slice *slice)
{
	const struct text *text = &redactor->texts[index];
	uint32_t count;
	const struct span *spans = spans_of(redactor, index, &count);
	uint64_t to = text->cut < text->bytes.len ? text->cut : text->bytes.len;

	if (text->hides_tail && to == text->bytes.len)
		to = tail_of(text);
	if (text->is_all) {
		*slice = write_mask_of_all(redactor, blocks, text, to);
		redactor->stats.values++;
		return true;
	}
	if (count == 0) {
		*slice = (struct ps_slice){to ? text->bytes.data : NULL, (size_t)to};
		return false;
	}
	*slice = rewrite(redactor, blocks, text, spans, count, 0, to);
	return true;
}

/* --- texts of an item ------------------------------------------------------ */

static int32_t add_text(struct ps_redactor *redactor, struct ps_slice bytes, uint64_t cut, uint32_t scope)
{
	struct text *text = &redactor->texts[redactor->text_count];

	*text = (struct text){.bytes = bytes, .cut = cut};
	text->keeps_len = bytes.len > 0 && memchr(bytes.data, 0, bytes.len < 4096 ? bytes.len : 4096) != NULL;
	if (bytes.len > 0)
		look_through(redactor, redactor->text_count, scope);
	return (int32_t)redactor->text_count++;
}

/* Headers that carry credentials, by their names. */
static bool carries_credentials(const struct ps_slice *name)
{
	static const char *const parts[] = {"auth", "cookie", "token", "key", "secret"};

	for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++) {
		size_t len = strlen(parts[p]);

		for (size_t i = 0; i + len <= name->len; i++)
			if ((name->data[i] | 0x20) == parts[p][0] && strncasecmp(name->data + i, parts[p], len) == 0)
				return true;
	}
	return false;
}

/* Headers that are not shown: what is in them may stand in what is. */
static void learn_from_headers(struct ps_redactor *redactor, const struct ps_header *headers, uint32_t count)
{
	struct ps_header chosen[CHOSEN_MAX];
	struct secret_lines *lines = &redactor->lines[redactor->text_count];
	struct text *text = &redactor->texts[redactor->text_count];
	uint32_t chosen_count = 0, spans = redactor->span_count;

	for (uint32_t i = 0; i < count && chosen_count < CHOSEN_MAX; i++)
		if (headers[i].value.len >= VALUE_LEN_MIN && carries_credentials(&headers[i].name))
			chosen[chosen_count++] = headers[i];
	if (chosen_count == 0 || !secret_lines_put(lines, chosen, chosen_count))
		return;
	*text = (struct text){.bytes = {lines->text, lines->text_len}};
	look_through(redactor, redactor->text_count, PS_SCOPE_HEADERS);
	redactor->span_count = spans;
}

static int32_t add_headers(struct ps_redactor *redactor, const struct ps_header *headers, uint32_t count)
{
	struct secret_lines *lines = &redactor->lines[redactor->text_count];

	if (count == 0)
		return -1;
	if (!(redactor->options.what & PS_REDACT_HEADERS)) {
		learn_from_headers(redactor, headers, count);
		return -1;
	}
	if (!secret_lines_put(lines, headers, count)) {
		redactor->is_failed = true;
		return -1;
	}
	return add_text(redactor, (struct ps_slice){lines->text, lines->text_len}, UINT64_MAX, PS_SCOPE_HEADERS);
}

/* Whether what is kept of a body ends where bytes are missing, and not where it is cut on purpose. */
static bool ends_early(const struct ps_redactor *redactor, const struct ps_body *body)
{
	if (redactor->options.what & PS_REDACT_AGAIN)
		return false;
	return body->state == PS_BODY_GAP ||
	       (body->state == PS_BODY_TRUNCATED && body->kept.len <= redactor->options.body_bytes_max);
}

/* is_part: the body goes on, or should have. */
static int32_t add_body(struct ps_redactor *redactor, const struct ps_body *body, bool is_part, uint32_t scope)
{
	uint64_t shown = redactor->options.body_bytes_max, looked_at = body->kept.len;
	struct ps_slice bytes = body->kept;
	int32_t index;

	if (bytes.len == 0 || redactor->options.preview_bytes == 0)
		return -1;
	if (redactor->options.preview_bytes < shown)
		shown = redactor->options.preview_bytes + 1; /* so that it is seen that there is more */
	if (redactor->options.preview_bytes < UINT64_MAX)
		looked_at = shown + content_slack(shown);
	if (bytes.len > looked_at)
		bytes.len = (size_t)looked_at;
	index = add_text(redactor, bytes, shown, scope);
	redactor->texts[index].keeps_len |= (redactor->options.what & PS_REDACT_SAME_LENGTH) != 0;
	redactor->texts[index].hides_tail = bytes.len == body->kept.len && ends_early(redactor, body);
	if (is_part && bytes.len == body->kept.len)
		look_at_end(redactor, (uint32_t)index, scope);
	return index;
}

/* Whether the bytes of a body are those of a coding; text in another charset is text. */
static bool is_coded(const struct ps_message *message)
{
	const struct ps_slice *transfer;

	if (!ps_is_encoded(message))
		return false;
	transfer = ps_header_value(message, "transfer-encoding");
	return ps_header_value(message, "content-encoding") ||
	       (transfer && !(transfer->len == 7 && strncasecmp(transfer->data, "chunked", 7) == 0));
}

/* Whether bytes that can only be left out as a whole hold anything that is to be masked; it is learnt. */
static bool holds_secrets(struct ps_redactor *redactor, struct ps_slice bytes, bool is_part)
{
	uint32_t first = redactor->span_count, index = redactor->text_count;
	bool found;

	if (bytes.len == 0)
		return false;
	redactor->texts[index] = (struct text){.bytes = bytes};
	look_through(redactor, index, PS_SCOPE_BODY);
	if (is_part)
		look_at_end(redactor, index, PS_SCOPE_BODY);
	look_for_values(redactor, index);
	found = redactor->texts[index].is_all || redactor->span_count > first;
	redactor->span_count = first;
	return found;
}

/*
 * The same of the content of a message; true too when not all of it can be seen. A coding that is not known may be none
 * (such as "utf-8"), but for is_compressed.
 */
static bool holds_coded_secrets(struct ps_redactor *redactor, const struct ps_message *message, bool is_compressed)
{
	const struct ps_content *content = ps_decode(redactor->decoder, message, CODED_MAX, CODED_MAX);

	return content->state == PS_CONTENT_LIMIT || (is_compressed && content->state == PS_CONTENT_NONE) ||
	       ends_early(redactor, &message->body) ||
	       holds_secrets(redactor, content->charset ? content->text : content->bytes,
			     !(message->flags & PS_MESSAGE_COMPLETE));
}

enum { GRPC_PREFIX_LEN = 5, GRPC_COMPRESSED = 1 };

/*
 * Length-prefixed messages of gRPC (PROTOCOL-HTTP2.md), each of which may be compressed; those that are not are texts
 * as others. In base64 (gRPC-Web) lengths cannot be kept.
 */
static bool holds_grpc_secrets(struct ps_redactor *redactor, const struct ps_message *message)
{
	static const struct ps_slice content_encoding = {"content-encoding", 16};
	const struct ps_slice *type = ps_header_value(message, "content-type");
	const struct ps_slice *encoding = ps_header_value(message, "grpc-encoding");
	struct ps_slice left = message->body.kept;

	if ((type && memmem(type->data, type->len, "grpc-web-text", 13)) ||
	    (encoding && ends_early(redactor, &message->body)))
		return true;
	while (left.len > GRPC_PREFIX_LEN) {
		const unsigned char *head = (const unsigned char *)left.data;
		size_t len = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
		struct ps_header header = {.name = content_encoding};
		struct ps_message frame = {.headers = &header, .header_count = 1, .flags = message->flags};

		left = (struct ps_slice){left.data + GRPC_PREFIX_LEN, left.len - GRPC_PREFIX_LEN};
		len = len < left.len ? len : left.len;
		frame.body = (struct ps_body){.kept = {left.data, len}, .size_bytes = len};
		if (encoding)
			header.value = *encoding;
		if (head[0] & GRPC_COMPRESSED && (!encoding || holds_coded_secrets(redactor, &frame, true)))
			return true;
		left = (struct ps_slice){left.data + len, left.len - len};
	}
	return false;
}

/* Text in a charset with one byte for a character reads to the rules as ASCII does: it can be masked as it is. */
static bool is_masked_as_it_is(struct ps_redactor *redactor, const struct ps_message *message)
{
	const struct ps_content *content;

	if (is_coded(message))
		return false;
	content = ps_decode(redactor->decoder, message, CODED_MAX, CODED_MAX);
	return !content->charset || strncmp(content->charset, "utf-16", 6) != 0;
}

/* Whether a body that would be shown as it was on the wire must not be. */
static bool is_withheld(struct ps_redactor *redactor, const struct ps_exchange *exchange,
			const struct ps_message *message)
{
	if (message->body.kept.len == 0 || redactor->options.preview_bytes == 0)
		return false;
	if (exchange->protocol == PS_STREAM_GRPC || exchange->protocol == PS_STREAM_GRPC_WEB)
		return holds_grpc_secrets(redactor, message);
	return redactor->options.what & PS_REDACT_CODED && ps_is_encoded(message) &&
	       !is_masked_as_it_is(redactor, message) && holds_coded_secrets(redactor, message, false);
}

/* Texts of a message, by their index; -1: it has none. */
struct message_texts {
	int32_t target;
	int32_t headers;
	int32_t trailers;
	int32_t body;
	bool is_withheld;
};

static struct message_texts add_message(struct ps_redactor *redactor, const struct ps_message *message, bool with_body)
{
	struct message_texts texts = {.target = -1, .body = -1};

	if (message->target.len > 0)
		texts.target = add_text(redactor, message->target, UINT64_MAX, PS_SCOPE_TARGET);
	texts.headers = add_headers(redactor, message->headers, message->header_count);
	texts.trailers = add_headers(redactor, message->trailers, message->trailer_count);
	if (with_body && (!is_coded(message) || redactor->options.what & PS_REDACT_CODED))
		texts.body = add_body(redactor, &message->body, !(message->flags & PS_MESSAGE_COMPLETE), PS_SCOPE_BODY);
	return texts;
}

/* --- the copy -------------------------------------------------------------- */

static bool write_headers(struct ps_redactor *redactor, int32_t index, const struct ps_header **headers, uint32_t count)
{
	const struct secret_lines *lines;
	struct ps_header *copy;
	const struct span *spans;
	uint32_t span_count;

	if (index < 0)
		return false;
	spans = spans_of(redactor, (uint32_t)index, &span_count);
	if (span_count == 0 && !redactor->texts[index].is_all)
		return false;
	copy = (struct ps_header *)take(redactor, &redactor->blocks, count * sizeof(*copy));
	if (!copy)
		return false;
	memcpy(copy, *headers, count * sizeof(*copy));
	lines = &redactor->lines[index];
	for (uint32_t i = 0; i < count; i++) {
		uint64_t begin = lines->values[i], end = begin + copy[i].value.len;
		uint32_t first = 0, within = 0;

		while (first < span_count && spans[first].end <= begin)
			first++;
		while (first + within < span_count && spans[first + within].begin < end)
			within++;
		if (redactor->texts[index].is_all)
			copy[i].value = (struct ps_slice){mask_of_all, sizeof(mask_of_all) - 1};
		else if (within > 0)
			copy[i].value = rewrite(redactor, &redactor->blocks, &redactor->texts[index], spans + first,
						within, begin, end);
	}
	*headers = copy;
	return true;
}

/* What is kept beyond what is shown goes, whether anything was found or not. */
static void cut_body(struct ps_redactor *redactor, struct ps_body *body, uint64_t original_len)
{
	if (original_len <= redactor->options.body_bytes_max)
		return;
	if (body->kept.len > redactor->options.body_bytes_max && body->kept.len == original_len)
		body->kept.len = (size_t)redactor->options.body_bytes_max;
	if (body->state == PS_BODY_COMPLETE)
		body->state = PS_BODY_TRUNCATED;
	redactor->is_changed = true;
}

static bool write_body(struct ps_redactor *redactor, int32_t index, struct ps_body *body)
{
	uint64_t original_len = body->kept.len;
	struct ps_slice shown;
	bool is_masked = false;

	if (index >= 0) {
		is_masked = write_text(redactor, &redactor->blocks, (uint32_t)index, &shown);
		if (is_masked || redactor->texts[index].hides_tail) {
			redactor->is_changed |= shown.len != body->kept.len;
			body->kept = shown;
		}
	}
	cut_body(redactor, body, original_len);
	redactor->is_changed |= is_masked;
	return is_masked;
}

/* The mask at the beginning of so many bytes. 0: none. */
static size_t mask_len_at(const char *bytes, size_t len)
{
	const char *end = memchr(bytes, ']', len < MASK_MAX ? len : MASK_MAX);

	return end && is_mask(bytes, (size_t)(end - bytes) + 1) ? (size_t)(end - bytes) + 1 : 0;
}

/* Bytes with masks in them, as many as there were without: masks are cut, or the first one is filled up. */
static struct ps_slice fitted(struct ps_redactor *redactor, struct ps_slice bytes, size_t wanted)
{
	size_t surplus = bytes.len > wanted ? bytes.len - wanted : 0,
	       lack = wanted > bytes.len ? wanted - bytes.len : 0;
	size_t len = 0;
	char *out = take(redactor, &redactor->blocks, bytes.len + lack);

	for (size_t at = 0; out && at < bytes.len;) {
		size_t mask = bytes.data[at] == '[' ? mask_len_at(bytes.data + at, bytes.len - at) : 0;
		size_t cut = mask < surplus ? mask : surplus, copied = mask ? mask - cut : 1;

		memcpy(out + len, bytes.data + at, copied);
		len += copied;
		at += mask ? mask : 1;
		surplus -= cut;
		if (mask && lack) {
			memset(out + len, '.', lack);
			len += lack;
			lack = 0;
		}
	}
	if (out && lack)
		memset(out + len, '.', lack);
	return (struct ps_slice){out, out ? wanted : 0};
}

/* Of what was masked before without regard to lengths. */
static void fit_body(struct ps_redactor *redactor, struct ps_body *body)
{
	const uint32_t what = PS_REDACT_AGAIN | PS_REDACT_SAME_LENGTH;

	if ((redactor->options.what & what) != what || body->kept.len == 0 || body->kept.len == body->size_bytes)
		return;
	if (body->state != PS_BODY_COMPLETE && body->kept.len < body->size_bytes)
		return;
	body->kept = fitted(redactor, body->kept, (size_t)body->size_bytes);
	redactor->is_changed = true;
}

static void write_message(struct ps_redactor *redactor, const struct message_texts *texts, struct ps_message *message)
{
	bool is_masked = false;

	if (texts->target >= 0)
		is_masked |= write_text(redactor, &redactor->blocks, (uint32_t)texts->target, &message->target);
	is_masked |= write_headers(redactor, texts->headers, &message->headers, message->header_count);
	is_masked |= write_headers(redactor, texts->trailers, &message->trailers, message->trailer_count);
	if (texts->is_withheld) {
		message->body.kept = (struct ps_slice){.len = 0};
		message->body.state = PS_BODY_TRUNCATED;
		message->flags |= PS_MESSAGE_WITHHELD;
		redactor->stats.withheld++;
		is_masked = true;
	} else {
		is_masked |= write_body(redactor, texts->body, &message->body);
	}
	if (is_masked)
		message->flags |= PS_MESSAGE_REDACTED;
	if (message->flags & PS_MESSAGE_REDACTED)
		fit_body(redactor, &message->body);
	/* What is found when it is decoded is noted in the copy. */
	redactor->is_changed |= is_masked || ps_is_encoded(message);
}

static void find_all_values(struct ps_redactor *redactor)
{
	if (redactor->value_count > 0)
		for (uint32_t i = 0; i < redactor->text_count; i++)
			look_for_values(redactor, i);
	if (redactor->span_count > 1)
		qsort(redactor->spans, redactor->span_count, sizeof(*redactor->spans), by_place);
}

/* Bodies to be left out, once all else of the exchange was looked through: a value may stand in another message. */
static void withhold_bodies(struct ps_redactor *redactor, const struct ps_exchange *exchange,
			    struct message_texts *request, struct message_texts *response)
{
	if (exchange->flags & PS_EXCHANGE_REQUEST)
		request->is_withheld = is_withheld(redactor, exchange, &exchange->request);
	if (exchange->flags & PS_EXCHANGE_RESPONSE)
		response->is_withheld = is_withheld(redactor, exchange, &exchange->response);
	if (exchange->flags & PS_EXCHANGE_REQUEST && response->is_withheld && !request->is_withheld)
		request->is_withheld = is_withheld(redactor, exchange, &exchange->request);
}

/* The body of an exchange that a message belongs to, which nobody shows. */
static void leave_out_body(struct ps_redactor *redactor, struct ps_body *body)
{
	if (body->kept.len == 0)
		return;
	body->kept = (struct ps_slice){.len = 0};
	if (body->state == PS_BODY_COMPLETE)
		body->state = PS_BODY_TRUNCATED;
	redactor->is_changed = true;
}

static void redact_exchange(struct ps_redactor *redactor, const struct ps_exchange *exchange, bool with_bodies)
{
	struct message_texts request = {.target = -1}, response = {.target = -1};
	struct ps_exchange *copy = &redactor->exchange;
	int32_t web_trailers = -1, authority = -1;

	if (exchange->flags & PS_EXCHANGE_REQUEST)
		request = add_message(redactor, &exchange->request, with_bodies);
	if (exchange->flags & PS_EXCHANGE_RESPONSE)
		response = add_message(redactor, &exchange->response, with_bodies);
	if (exchange->web_trailers.len > 0)
		web_trailers = add_text(redactor, exchange->web_trailers, UINT64_MAX, PS_SCOPE_HEADERS);
	if (with_bodies)
		withhold_bodies(redactor, exchange, &request, &response);
	if (exchange->request.authority.len > 0 && redactor->value_count > 0)
		authority = add_text(redactor, exchange->request.authority, UINT64_MAX, PS_SCOPE_TARGET);
	find_all_values(redactor);
	*copy = *exchange;
	if (exchange->flags & PS_EXCHANGE_REQUEST)
		write_message(redactor, &request, &copy->request);
	if (exchange->flags & PS_EXCHANGE_RESPONSE)
		write_message(redactor, &response, &copy->response);
	if (!with_bodies) {
		leave_out_body(redactor, &copy->request.body);
		leave_out_body(redactor, &copy->response.body);
	}
	if (web_trailers >= 0)
		redactor->is_changed |=
		    write_text(redactor, &redactor->blocks, (uint32_t)web_trailers, &copy->web_trailers);
	if (authority >= 0)
		redactor->is_changed |=
		    write_text(redactor, &redactor->blocks, (uint32_t)authority, &copy->request.authority);
}

static void redact_message(struct ps_redactor *redactor, const struct ps_stream_message *message)
{
	struct ps_stream_message *copy = &redactor->message;
	bool is_masked, is_part = message->flags & PS_STREAM_UNFINISHED;
	int32_t body = add_body(redactor, &message->body, is_part, PS_SCOPE_MESSAGE), name = -1, event_id = -1;

	if (body >= 0 && (message->protocol == PS_STREAM_GRPC || message->protocol == PS_STREAM_GRPC_WEB))
		redactor->texts[body].keeps_len = true;
	if (message->name.len > 0)
		name = add_text(redactor, message->name, UINT64_MAX, PS_SCOPE_MESSAGE);
	if (message->event_id.len > 0)
		event_id = add_text(redactor, message->event_id, UINT64_MAX, PS_SCOPE_MESSAGE);
	find_all_values(redactor);
	*copy = *message;
	is_masked = write_body(redactor, body, &copy->body);
	/* Compressed, by means or with a context that are not known here, but perhaps elsewhere. */
	if (message->flags & PS_STREAM_UNDECODED && copy->body.kept.len > 0) {
		leave_out_body(redactor, &copy->body);
		redactor->stats.withheld++;
		is_masked = true;
	}
	if (name >= 0)
		is_masked |= write_text(redactor, &redactor->blocks, (uint32_t)name, &copy->name);
	if (event_id >= 0)
		is_masked |= write_text(redactor, &redactor->blocks, (uint32_t)event_id, &copy->event_id);
	if (is_masked)
		copy->flags |= PS_STREAM_REDACTED;
	if (copy->flags & PS_STREAM_REDACTED)
		fit_body(redactor, &copy->body);
	redactor->is_changed |= is_masked;
}

const struct ps_item *ps_redact(struct ps_redactor *redactor, const struct ps_item *item)
{
	redactor->text_count = redactor->span_count = redactor->value_count = 0;
	redactor->value_bytes = 0;
	redactor->is_changed = redactor->is_failed = false;
	reset_blocks(&redactor->blocks);
	redactor->item = *item;
	redact_exchange(redactor, item->exchange, item->kind != PS_ITEM_MESSAGE);
	redactor->item.exchange = &redactor->exchange;
	if (item->kind == PS_ITEM_MESSAGE) {
		redactor->text_count = redactor->span_count = 0;
		redact_message(redactor, item->message);
		redactor->item.message = &redactor->message;
	}
	if (redactor->is_failed)
		return NULL;
	return redactor->is_changed ? &redactor->item : item;
}

/* --- decoded content ------------------------------------------------------- */

static bool is_incomplete(const struct ps_content *content)
{
	return content->state == PS_CONTENT_TRUNCATED || content->state == PS_CONTENT_LIMIT ||
	       content->state == PS_CONTENT_ERROR;
}

/* content_filter: what was decoded of a message, of which keep_max bytes are shown. */
static void redact_content(void *context, const struct ps_message *message, struct ps_content *content,
			   uint64_t keep_max)
{
	struct ps_redactor *redactor = context;
	struct ps_slice *shown = content->charset ? &content->text : &content->bytes;
	uint64_t before = redactor->stats.values;
	int32_t index;

	reset_blocks(&redactor->content_blocks);
	redactor->text_count = redactor->span_count = 0;
	index = add_text(redactor, *shown, keep_max, PS_SCOPE_BODY);
	redactor->texts[index].hides_tail =
	    shown->len <= keep_max && (is_incomplete(content) || ends_early(redactor, &message->body));
	if (shown->len <= keep_max && !(message->flags & PS_MESSAGE_COMPLETE))
		look_at_end(redactor, (uint32_t)index, PS_SCOPE_BODY);
	find_all_values(redactor);
	write_text(redactor, &redactor->content_blocks, (uint32_t)index, shown);
	content->redacted = (uint32_t)(redactor->stats.values - before);
	if (content->redacted > 0 && message == &redactor->exchange.request)
		redactor->exchange.request.flags |= PS_MESSAGE_REDACTED;
	if (content->redacted > 0 && message == &redactor->exchange.response)
		redactor->exchange.response.flags |= PS_MESSAGE_REDACTED;
	if (redactor->is_failed)
		*shown = (struct ps_slice){.len = 0};
	/* The bytes before the conversion would show what is masked in the text. */
	if (content->charset && (content->redacted > 0 || redactor->is_failed))
		content->bytes = content->text;
	else if (content->bytes.len > keep_max)
		content->bytes.len = (size_t)keep_max;
}

void ps_redactor_attach(struct ps_redactor *redactor, struct ps_decoder *decoder)
{
	content_set_filter(decoder, redact_content, redactor);
}
