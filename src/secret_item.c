/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The texts of an item, scanned one after the other: a request target, all
 * headers as lines, a decoded body. Where in its structure something is, is
 * looked up only for what was found.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "secret_body.h"
#include "secret_item.h"
#include "secret_place.h"

enum {
	DECODED_MAX = 4 * 1024 * 1024, /* of a coded body */
	FINDINGS_MAX = 4 * PS_SECRET_MATCHES_MAX
};

struct ps_secret_scanner {
	struct ps_secret_stream *stream;
	struct ps_decoder *decoder;
	struct secret_lines lines;
	struct ps_secret_finding *list;
	uint32_t count;
	uint32_t cap;
	uint32_t dropped;
	uint64_t unscanned_bytes;
	struct name_block *names; /* of findings, which point into them */
};

/* Names do not move: they are in blocks, the last one first. */
struct name_block {
	struct name_block *next;
	size_t used;
	char text[4096];
};

struct ps_secret_scanner *ps_secret_scanner_new(const struct ps_secrets *secrets)
{
	struct ps_secret_scanner *scanner = calloc(1, sizeof(*scanner));

	if (!scanner)
		return NULL;
	scanner->stream = ps_secret_stream_new(secrets);
	scanner->decoder = ps_decoder_new();
	if (!scanner->stream || !scanner->decoder) {
		ps_secret_scanner_free(scanner);
		return NULL;
	}
	return scanner;
}

static void free_names(struct ps_secret_scanner *scanner)
{
	while (scanner->names) {
		struct name_block *next = scanner->names->next;

		free(scanner->names);
		scanner->names = next;
	}
}

void ps_secret_scanner_free(struct ps_secret_scanner *scanner)
{
	if (!scanner)
		return;
	for (uint32_t i = 0; i < scanner->count; i++)
		free((char *)scanner->list[i].match.secret.data);
	ps_secret_stream_free(scanner->stream);
	ps_decoder_free(scanner->decoder);
	secret_lines_free(&scanner->lines);
	free_names(scanner);
	free(scanner->list);
	free(scanner);
}

struct ps_secret_stats ps_secret_scanner_stats(const struct ps_secret_scanner *scanner)
{
	return ps_secret_stream_stats(scanner->stream);
}

/* --- headers as lines ------------------------------------------------------ */

static bool lines_reserve(struct secret_lines *lines, size_t text_len, uint32_t count)
{
	if (text_len > lines->text_cap) {
		char *text = realloc(lines->text, 2 * text_len);

		if (!text)
			return false;
		lines->text = text;
		lines->text_cap = 2 * text_len;
	}
	if (count > lines->value_cap) {
		size_t *values = realloc(lines->values, 2 * (size_t)count * sizeof(*values));

		if (!values)
			return false;
		lines->values = values;
		lines->value_cap = 2 * count;
	}
	return true;
}

bool secret_lines_put(struct secret_lines *lines, const struct ps_header *headers, uint32_t count)
{
	size_t need = 0;

	for (uint32_t i = 0; i < count; i++)
		need += headers[i].name.len + headers[i].value.len + 4;
	lines->text_len = 0;
	lines->count = 0;
	if (!lines_reserve(lines, need, count))
		return false;
	for (uint32_t i = 0; i < count; i++) {
		char *at = lines->text + lines->text_len;

		if (headers[i].name.len > 0)
			memcpy(at, headers[i].name.data, headers[i].name.len);
		at += headers[i].name.len;
		*at++ = ':';
		*at++ = ' ';
		lines->values[lines->count++] = (size_t)(at - lines->text);
		if (headers[i].value.len > 0)
			memcpy(at, headers[i].value.data, headers[i].value.len);
		at += headers[i].value.len;
		*at++ = '\r';
		*at++ = '\n';
		lines->text_len = (size_t)(at - lines->text);
	}
	return true;
}

uint32_t secret_lines_find(const struct secret_lines *lines, uint64_t offset)
{
	uint32_t low = 0, high = lines->count;

	while (high - low > 1) {
		uint32_t middle = (low + high) / 2;

		if (lines->values[middle] <= offset)
			low = middle;
		else
			high = middle;
	}
	return low;
}

void secret_lines_free(struct secret_lines *lines)
{
	free(lines->text);
	free(lines->values);
}

/* --- findings -------------------------------------------------------------- */

/* A name that stays until the next item. Empty when there is no room. */
static struct ps_slice keep_name(struct ps_secret_scanner *scanner, const char *name, size_t len)
{
	struct name_block *block = scanner->names;
	char *at;

	if (len > SECRET_NAME_MAX)
		len = SECRET_NAME_MAX;
	if (!block || sizeof(block->text) - block->used < len) {
		block = malloc(sizeof(*block));
		if (!block)
			return (struct ps_slice){.len = 0};
		block->next = scanner->names;
		block->used = 0;
		scanner->names = block;
	}
	at = block->text + block->used;
	if (len > 0)
		memcpy(at, name, len);
	block->used += len;
	return (struct ps_slice){len ? at : NULL, len};
}

static void add_finding(struct ps_secret_scanner *scanner, const struct ps_secret_match *match,
			enum ps_secret_part part, const struct secret_place *place)
{
	struct ps_secret_finding *finding;
	char *secret = malloc(match->secret.len ? match->secret.len : 1);

	if (scanner->count == scanner->cap) {
		uint32_t cap = scanner->cap ? scanner->cap * 2 : 16;
		struct ps_secret_finding *list =
		    cap <= FINDINGS_MAX ? realloc(scanner->list, cap * sizeof(*list)) : NULL;

		if (list) {
			scanner->list = list;
			scanner->cap = cap;
		}
	}
	if (!secret || scanner->count == scanner->cap) {
		free(secret);
		scanner->dropped = 1;
		return;
	}
	memcpy(secret, match->secret.data, match->secret.len);
	finding = &scanner->list[scanner->count++];
	*finding = (struct ps_secret_finding){.match = *match, .part = part, .where = place->where};
	finding->match.secret.data = secret;
	finding->name = keep_name(scanner, place->name, place->len);
}

static struct ps_secret_matches scan(struct ps_secret_scanner *scanner, enum ps_secret_scope scope,
				     const struct ps_slice *text)
{
	struct ps_secret_matches matches = ps_secrets_scan(scanner->stream, scope, text->data, text->len);

	scanner->dropped |= matches.dropped;
	return matches;
}

static void scan_target(struct ps_secret_scanner *scanner, const struct ps_slice *target)
{
	struct ps_secret_matches matches = scan(scanner, PS_SCOPE_TARGET, target);

	for (uint32_t i = 0; i < matches.count; i++) {
		struct secret_place place = secret_place_target(target->data, target->len, matches.list[i].begin);

		add_finding(scanner, &matches.list[i], PS_PART_REQUEST, &place);
	}
}

static bool name_is(const struct ps_slice *name, const char *lower)
{
	return name->len == strlen(lower) && strncasecmp(name->data, lower, name->len) == 0;
}

static struct secret_place header_place(const struct ps_header *header, uint64_t offset, bool is_trailer)
{
	struct secret_place place = {.where = is_trailer ? PS_WHERE_TRAILER : PS_WHERE_HEADER};

	if (name_is(&header->name, "cookie") || name_is(&header->name, "set-cookie"))
		return secret_place_cookie(header->value.data, header->value.len, offset);
	place.len = header->name.len < SECRET_NAME_MAX ? header->name.len : SECRET_NAME_MAX;
	if (place.len > 0)
		memcpy(place.name, header->name.data, place.len);
	return place;
}

static void scan_headers(struct ps_secret_scanner *scanner, enum ps_secret_part part, const struct ps_header *headers,
			 uint32_t count, bool is_trailer)
{
	struct ps_secret_matches matches;

	if (count == 0 || !secret_lines_put(&scanner->lines, headers, count))
		return;
	matches = scan(scanner, PS_SCOPE_HEADERS, &(struct ps_slice){scanner->lines.text, scanner->lines.text_len});
	for (uint32_t i = 0; i < matches.count; i++) {
		struct ps_secret_match match = matches.list[i];
		uint32_t line = secret_lines_find(&scanner->lines, match.begin);
		size_t value = scanner->lines.values[line];
		struct secret_place place;

		match.begin = match.begin > value ? match.begin - value : 0;
		match.end = match.end > value ? match.end - value : 0;
		if (match.end > headers[line].value.len) /* it goes on in the next line */
			match.end = headers[line].value.len;
		match.match_begin = match.match_begin > value ? match.match_begin - value : 0;
		match.match_end = match.match_end > value ? match.match_end - value : 0;
		place = header_place(&headers[line], match.begin, is_trailer);
		add_finding(scanner, &match, part, &place);
	}
}

static void scan_body(struct ps_secret_scanner *scanner, enum ps_secret_part part, const struct ps_slice *type,
		      const struct ps_slice *body)
{
	enum ps_secret_scope scope = part == PS_PART_MESSAGE ? PS_SCOPE_MESSAGE : PS_SCOPE_BODY;
	struct ps_secret_matches matches = scan(scanner, scope, body);

	for (uint32_t i = 0; i < matches.count; i++) {
		struct secret_place place = secret_place_body(type, body->data, body->len, matches.list[i].begin);

		add_finding(scanner, &matches.list[i], part, &place);
	}
}

/* A body, or message, that was read as it arrived; places are known of what is kept. */
static void scan_arrived_body(struct ps_secret_scanner *scanner, enum ps_secret_part part, const struct ps_slice *type,
			      const struct ps_body *body)
{
	struct ps_secret_matches matches = secret_body_end(body->scan);

	scanner->unscanned_bytes += body->size_bytes - secret_body_read(body->scan);
	scanner->dropped |= matches.dropped;
	for (uint32_t i = 0; i < matches.count; i++) {
		struct secret_place place = {.where = PS_WHERE_BODY};

		if (secret_body_is_plain(body->scan) && matches.list[i].begin < body->kept.len)
			place = secret_place_body(type, body->kept.data, body->kept.len, matches.list[i].begin);
		add_finding(scanner, &matches.list[i], part, &place);
	}
}

/* The body of a message, decoded as far as it can be. */
static void scan_message_body(struct ps_secret_scanner *scanner, enum ps_secret_part part,
			      const struct ps_message *message)
{
	const struct ps_slice *type = ps_header_value(message, "content-type");
	const struct ps_content *content;
	struct ps_slice bytes = message->body.kept;

	if (message->body.scan) {
		scan_arrived_body(scanner, part, type, &message->body);
		return;
	}
	scanner->unscanned_bytes += message->body.size_bytes - bytes.len;
	if (bytes.len == 0)
		return;
	if (ps_is_encoded(message)) {
		content = ps_decode(scanner->decoder, message, DECODED_MAX, DECODED_MAX);
		bytes = content->charset ? content->text : content->bytes;
		if (content->state == PS_CONTENT_NONE)
			scanner->unscanned_bytes += message->body.kept.len;
		else if (content->size_bytes > content->bytes.len)
			scanner->unscanned_bytes += content->size_bytes - content->bytes.len;
	}
	scan_body(scanner, part, type, &bytes);
}

static void scan_head(struct ps_secret_scanner *scanner, enum ps_secret_part part, const struct ps_message *message)
{
	if (part == PS_PART_REQUEST && message->target.len > 0)
		scan_target(scanner, &message->target);
	scan_headers(scanner, part, message->headers, message->header_count, false);
}

/* Whether the bytes of a body are handed out as messages too. */
static bool is_streamed(const struct ps_exchange *exchange, enum ps_secret_part part)
{
	if (exchange->flags & PS_EXCHANGE_UNDECODED)
		return false;
	return exchange->protocol == PS_STREAM_GRPC || exchange->protocol == PS_STREAM_GRPC_WEB ||
	       (exchange->protocol == PS_STREAM_SSE && part == PS_PART_RESPONSE);
}

static void scan_part(struct ps_secret_scanner *scanner, const struct ps_item *item, enum ps_secret_part part,
		      const struct ps_message *message)
{
	bool is_over = item->kind == PS_ITEM_EXCHANGE;

	if (!is_over || !(item->exchange->flags & PS_EXCHANGE_ANNOUNCED))
		scan_head(scanner, part, message);
	if (!is_over)
		return;
	if (!is_streamed(item->exchange, part))
		scan_message_body(scanner, part, message);
	scan_headers(scanner, part, message->trailers, message->trailer_count, true);
}

static void scan_message(struct ps_secret_scanner *scanner, const struct ps_stream_message *message)
{
	if (message->body.scan) {
		scan_arrived_body(scanner, PS_PART_MESSAGE, NULL, &message->body);
		return;
	}
	if (message->flags & PS_STREAM_UNDECODED)
		scanner->unscanned_bytes += message->body.size_bytes;
	else
		scanner->unscanned_bytes += message->body.size_bytes - message->body.kept.len;
	if (message->body.kept.len > 0)
		scan_body(scanner, PS_PART_MESSAGE, NULL, &message->body.kept);
}

struct ps_secret_findings ps_secret_scan_item(struct ps_secret_scanner *scanner, const struct ps_item *item)
{
	const struct ps_exchange *exchange = item->exchange;

	for (uint32_t i = 0; i < scanner->count; i++)
		free((char *)scanner->list[i].match.secret.data);
	scanner->count = 0;
	scanner->dropped = 0;
	scanner->unscanned_bytes = 0;
	free_names(scanner);
	if (item->kind == PS_ITEM_MESSAGE) {
		scan_message(scanner, item->message);
	} else {
		if (exchange->flags & PS_EXCHANGE_REQUEST)
			scan_part(scanner, item, PS_PART_REQUEST, &exchange->request);
		if (exchange->flags & PS_EXCHANGE_RESPONSE)
			scan_part(scanner, item, PS_PART_RESPONSE, &exchange->response);
	}
	return (struct ps_secret_findings){
	    .list = scanner->list,
	    .count = scanner->count,
	    .dropped = scanner->dropped,
	    .unscanned_bytes = scanner->unscanned_bytes,
	};
}
