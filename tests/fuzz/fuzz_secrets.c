/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: secrets in text, and masking of items.
 *
 * Input: two bytes, then a text. The first byte says in which scope, the other
 * one where the text is cut: into pieces of a size that goes up and down.
 *
 * Besides what the sanitizers see it checks that matches are in order, within
 * the text and apart, that pieces give the same ones, and that what was found
 * in an exchange is nowhere in what may be shown of it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/secret_place.h"
#include "../c/secret_fixture.h"

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static struct ps_secrets *secrets;
static struct ps_secret_stream *stream;
static struct ps_secret_scanner *scanner;
static struct ps_redactor *redactors[3];
static struct ps_decoder *decoder;

static const uint32_t redacts[] = {
    PS_REDACT_HEADERS,
    PS_REDACT_HEADERS | PS_REDACT_CODED | PS_REDACT_SAME_LENGTH,
    PS_REDACT_HEADERS | PS_REDACT_CODED | PS_REDACT_SAME_LENGTH | PS_REDACT_AGAIN,
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct ps_redact_options options = {.body_bytes_max = 65536, .preview_bytes = UINT64_MAX};
	char error[PS_SECRET_ERROR_MAX];

	(void)argc;
	(void)argv;
	secrets = ps_secrets_new(&config, (struct ps_slice){.len = 0}, error);
	CHECK(secrets);
	stream = ps_secret_stream_new(secrets);
	scanner = ps_secret_scanner_new(secrets);
	for (size_t i = 0; i < COUNT(redactors); i++) {
		options.what = redacts[i];
		redactors[i] = ps_redactor_new(secrets, &options);
		CHECK(redactors[i]);
	}
	decoder = ps_decoder_new();
	CHECK(stream && scanner && decoder);
	ps_redactor_attach(redactors[0], decoder);
	return 0;
}

/* Matches with copies of their secrets. */
struct result {
	uint32_t count;
	struct ps_secret_match list[PS_SECRET_MATCHES_MAX];
};

static void keep(struct result *result, struct ps_secret_matches matches, size_t len)
{
	uint64_t before = 0;

	CHECK(matches.count <= PS_SECRET_MATCHES_MAX);
	result->count = matches.count;
	for (uint32_t i = 0; i < matches.count; i++) {
		struct ps_secret_match *match = &result->list[i];
		char *copy;

		*match = matches.list[i];
		CHECK(match->rule < config.rule_count);
		CHECK(match->begin >= before && match->begin < match->end && match->end <= len);
		CHECK(match->match_begin <= match->match_end && match->match_end <= len);
		CHECK(match->secret.len > 0 && match->secret.data);
		before = match->end;
		copy = malloc(match->secret.len);
		memcpy(copy, match->secret.data, match->secret.len);
		match->secret.data = copy;
	}
}

static void forget(struct result *result)
{
	for (uint32_t i = 0; i < result->count; i++)
		free((char *)result->list[i].secret.data);
}

static void check_same(const struct result *one, const struct result *other)
{
	CHECK(one->count == other->count);
	for (uint32_t i = 0; i < one->count; i++) {
		const struct ps_secret_match *a = &one->list[i], *b = &other->list[i];

		CHECK(a->rule == b->rule && a->begin == b->begin && a->end == b->end);
		CHECK(memcmp(a->encodings, b->encodings, sizeof(a->encodings)) == 0);
		CHECK(a->secret.len == b->secret.len && memcmp(a->secret.data, b->secret.data, a->secret.len) == 0);
	}
}

static void check_pieces(const struct result *whole, uint32_t scope, const char *text, size_t len, unsigned cut)
{
	static struct result pieces;
	size_t at = 0, step = 0;

	ps_secret_stream_begin(stream, scope);
	while (at < len) {
		size_t piece = 1 + (cut + step++ * 7) % 97;
		char *copy;

		if (piece > len - at)
			piece = len - at;
		copy = malloc(piece);
		memcpy(copy, text + at, piece);
		ps_secret_stream_feed(stream, copy, piece);
		free(copy);
		at += piece;
	}
	keep(&pieces, ps_secret_stream_end(stream), len);
	check_same(whole, &pieces);
	forget(&pieces);
}

static void check_places(const char *text, size_t len, unsigned cut)
{
	static const struct ps_slice types[] = {{"application/json", 16},
						{"multipart/form-data", 19},
						{"text/html", 9},
						{"application/x-www-form-urlencoded", 33}};
	size_t offset = len ? cut * len / 256 : 0;

	for (size_t i = 0; i < COUNT(types); i++)
		CHECK(secret_place_body(&types[i], text, len, offset).len <= SECRET_NAME_MAX);
	CHECK(secret_place_body(NULL, text, len, offset).len <= SECRET_NAME_MAX);
	CHECK(secret_place_cookie(text, len, offset).len <= SECRET_NAME_MAX);
	CHECK(secret_place_target(text, len, offset).len <= SECRET_NAME_MAX);
}

static bool has(const struct ps_slice *text, const struct ps_slice *part)
{
	return text->len >= part->len && memmem(text->data, text->len, part->data, part->len) != NULL;
}

/* What was found is nowhere in what is shown, but for what is a mask already. */
static void check_none(const struct ps_secret_findings *findings, const struct ps_message *shown, size_t len)
{
	for (uint32_t i = 0; i < findings->count; i++) {
		const struct ps_secret_finding *finding = &findings->list[i];

		CHECK(finding->match.end <= len && finding->name.len <= SECRET_NAME_MAX);
		if (finding->match.secret.len < 16 || findings->dropped ||
		    memmem(finding->match.secret.data, finding->match.secret.len, "[redacted:", 10))
			continue;
		CHECK(!has(&shown->target, &finding->match.secret));
		CHECK(!has(&shown->headers[0].value, &finding->match.secret));
		CHECK(!has(&shown->body.kept, &finding->match.secret));
	}
}

/* The text as target, header and body of an exchange; odd: as messages of gRPC, and as bytes that were masked before.
 */
static void check_masked(const char *text, size_t len, bool is_odd)
{
	struct ps_slice slice = {len ? text : NULL, len};
	const struct ps_header headers[] = {{.name = {"x-key", 5}, .value = slice},
					    {.name = {"grpc-encoding", 13}, .value = {"gzip", 4}}};
	struct ps_exchange exchange = {.flags = PS_EXCHANGE_REQUEST};
	struct ps_item item = {.kind = PS_ITEM_EXCHANGE, .exchange = &exchange};
	struct ps_secret_findings findings;

	exchange.protocol = is_odd ? PS_STREAM_GRPC : PS_STREAM_NONE;
	exchange.request.target = slice;
	exchange.request.headers = headers;
	exchange.request.header_count = is_odd ? 2 : 1;
	exchange.request.body.kept = slice;
	exchange.request.body.size_bytes = len;
	findings = ps_secret_scan_item(scanner, &item);
	for (size_t i = 0; i < COUNT(redactors); i++) {
		bool is_again = redacts[i] & PS_REDACT_AGAIN && is_odd;
		const struct ps_item *masked;
		const struct ps_body *body;

		exchange.request.body.size_bytes = is_again ? len / 2 + 20 : len;
		exchange.request.flags = is_again ? PS_MESSAGE_REDACTED : 0;
		masked = ps_redact(redactors[i], &item);
		CHECK(masked);
		body = &masked->exchange->request.body;
		if (redacts[i] & PS_REDACT_SAME_LENGTH)
			CHECK(body->kept.len == body->size_bytes || body->kept.len == 0);
		if (i == 0)
			ps_decode(decoder, &masked->exchange->request, 100, 1000);
		check_none(&findings, &masked->exchange->request, len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct result whole;
	uint32_t scope;
	char *text;

	if (size < 2)
		return 0;
	scope = data[0] % 5 == 0 ? 0 : 1U << (data[0] % 5 - 1);
	size -= 2;
	text = malloc(size ? size : 1);
	memcpy(text, data + 2, size);
	keep(&whole, ps_secrets_scan(stream, scope, text, size), size);
	check_pieces(&whole, scope, text, size, data[1]);
	forget(&whole);
	check_places(text, size, data[1]);
	check_masked(text, size, data[1] & 1);
	free(text);
	return 0;
}
