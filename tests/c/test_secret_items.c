/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets in items: where they are said to be, and what is left of them in what
 * may be shown.
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "../../src/secret_place.h"
#include "secret_fixture.h"
#include "tap.h"

static const uint8_t hash_key[PS_SECRET_KEY_BYTES] = {1, 2, 3};

static struct ps_slice text(const char *string)
{
	return (struct ps_slice){string[0] ? string : NULL, strlen(string)};
}

static bool is_text(struct ps_slice slice, const char *expected)
{
	bool same = slice.len == strlen(expected) && (slice.len == 0 || memcmp(slice.data, expected, slice.len) == 0);

	if (!same)
		printf("# got '%.*s'\n# not '%s'\n", (int)slice.len, slice.data ? slice.data : "", expected);
	return same;
}

/* --- places --------------------------------------------------------------- */

/* Where "KEY" is in the text; type: Content-Type, "cookie" or "target". */
static const struct {
	const char *type;
	const char *text;
	enum ps_secret_where where;
	const char *name;
} places[] = {
    {"target", "/a/KEY?x=y", PS_WHERE_PATH, ""},
    {"target", "/a?x=y&key=KEY&z", PS_WHERE_QUERY, "key"},
    {"target", "/a?KEY", PS_WHERE_QUERY, ""},
    {"cookie", "a=b; sid=KEY; c=d", PS_WHERE_COOKIE, "sid"},
    {"application/x-www-form-urlencoded", "a=1&user%5Bpw%5D=KEY", PS_WHERE_FORM, "user%5Bpw%5D"},
    {"application/json", "{\"a\":1,\"b\":{\"c d\":[{},{\"t\":\"KEY\"}]}}", PS_WHERE_JSON, "$.b[\"c d\"][1].t"},
    {"application/json", "{\"KEY\":1}", PS_WHERE_JSON, "$.KEY"},
    {"application/json", "[[1],[2,KEY]]", PS_WHERE_JSON, "$[1][1]"},
    {"application/json", "{\"a\":\"x\\\"y,{\",\"b\":\"KEY\"", PS_WHERE_JSON, "$.b"},
    {"application/json", "}}]{\"a\":KEY", PS_WHERE_JSON, "$.a"},
    {NULL, " \n{\"a\":\"KEY\"}", PS_WHERE_JSON, "$.a"},
    {NULL, "hello KEY", PS_WHERE_BODY, ""},
    {"multipart/form-data; boundary=b",
     "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--b\r\n"
     "Content-Disposition: form-data; filename=\"f\"; name=\"pw\"\r\n\r\nKEY\r\n--b--",
     PS_WHERE_MULTIPART, "pw"},
    {"multipart/form-data", "KEY", PS_WHERE_MULTIPART, ""},
    {"text/xml", "<a><b>x</b><pw type=\"t\">KEY</pw></a>", PS_WHERE_MARKUP, "pw"},
    {"text/html", "<p><input name=\"x\" value=\"KEY\">", PS_WHERE_MARKUP, "value"},
    {"text/html", "KEY", PS_WHERE_MARKUP, ""},
};

static void test_places(void)
{
	char title[128];

	for (size_t i = 0; i < COUNT(places); i++) {
		const char *data = places[i].text;
		size_t len = strlen(data), offset = (size_t)(strstr(data, "KEY") - data);
		struct ps_slice type = text(places[i].type ? places[i].type : "");
		struct secret_place place;

		if (places[i].type && strcmp(places[i].type, "target") == 0)
			place = secret_place_target(data, len, offset);
		else if (places[i].type && strcmp(places[i].type, "cookie") == 0)
			place = secret_place_cookie(data, len, offset);
		else
			place = secret_place_body(places[i].type ? &type : NULL, data, len, offset);
		snprintf(title, sizeof(title), "place %zu: %s of %s", i, places[i].name,
			 places[i].type ? places[i].type : "-");
		tap_ok(place.where == places[i].where &&
			   is_text((struct ps_slice){place.name, place.len}, places[i].name),
		       title);
	}
}

/* --- an exchange ----------------------------------------------------------- */

static const struct ps_header request_headers[] = {
    {.name = {"Host", 4}, .value = {"a.test", 6}},
    {.name = {"X-Token", 7}, .value = {"key_aaaa1111, key_aaaa2222", 26}},
    {.name = {"Cookie", 6}, .value = {"a=b; sid=key_aaaa3333; c=d", 26}},
    {.name = {"Content-Type", 12}, .value = {"application/x-www-form-urlencoded", 33}},
};
static const struct ps_header response_headers[] = {
    {.name = {"Content-Type", 12}, .value = {"application/json", 16}},
};
static const struct ps_header coded_headers[] = {
    {.name = {"Content-Type", 12}, .value = {"application/json", 16}},
    {.name = {"Content-Encoding", 16}, .value = {"gzip", 4}},
};
static const struct ps_header response_trailers[] = {
    {.name = {"X-Sum", 5}, .value = {"key_aaaa4444", 12}},
};

static void set_body(struct ps_message *message, struct ps_slice body)
{
	message->body.kept = body;
	message->body.size_bytes = body.len;
}

static struct ps_exchange an_exchange(void)
{
	struct ps_exchange exchange = {.flags = PS_EXCHANGE_REQUEST | PS_EXCHANGE_RESPONSE};

	exchange.request.method = text("POST");
	exchange.request.target = text("/x?k=key_aaaa5555&l=1");
	exchange.request.headers = request_headers;
	exchange.request.header_count = COUNT(request_headers);
	set_body(&exchange.request, text("user=alice&password=hunter22"));
	exchange.response.status = 200;
	exchange.response.headers = response_headers;
	exchange.response.header_count = COUNT(response_headers);
	exchange.response.trailers = response_trailers;
	exchange.response.trailer_count = COUNT(response_trailers);
	set_body(&exchange.response, text("{\"a\":[{\"t\":\"key_aaaa6666\"}],\"echo\":\"hunter22!\"}"));
	return exchange;
}

/* PART WHERE NAME BEGIN, one a line. Free it. */
static char *findings_text(struct ps_secret_findings findings)
{
	static const char *const parts[] = {"request", "response", "message"};
	char *out = NULL;
	size_t size;
	FILE *file = open_memstream(&out, &size);

	for (uint32_t i = 0; i < findings.count; i++) {
		const struct ps_secret_finding *finding = &findings.list[i];

		fprintf(file, "%s %u %.*s %lu\n", parts[finding->part], finding->where, (int)finding->name.len,
			finding->name.data ? finding->name.data : "", finding->match.begin);
	}
	fclose(file);
	return out;
}

static bool has_findings(struct ps_secret_scanner *scanner, const struct ps_item *item, const char *expected,
			 uint64_t unscanned_bytes)
{
	struct ps_secret_findings findings = ps_secret_scan_item(scanner, item);
	char *got = findings_text(findings);
	bool same = strcmp(got, expected) == 0 && findings.unscanned_bytes == unscanned_bytes && !findings.dropped;

	if (!same)
		printf("# got %lu and\n# %s\n", findings.unscanned_bytes, got);
	free(got);
	return same;
}

static const char head_findings[] = "request 1 k 5\nrequest 2 X-Token 0\nrequest 2 X-Token 14\nrequest 3 sid 9\n";

static void test_findings(struct ps_secrets *secrets)
{
	struct ps_secret_scanner *scanner = ps_secret_scanner_new(secrets);
	struct ps_exchange exchange = an_exchange();
	struct ps_item item = {.kind = PS_ITEM_EXCHANGE, .exchange = &exchange};
	struct ps_stream_message message = {.protocol = PS_STREAM_WEBSOCKET, .type = PS_STREAM_TEXT};
	char expected[512];

	snprintf(expected, sizeof(expected), "%srequest 6 password 20\nresponse 5 $.a[0].t 12\nresponse 4 X-Sum 0\n",
		 head_findings);
	tap_ok(has_findings(scanner, &item, expected, 0), "a finished exchange, all of it");
	exchange.response.body.size_bytes += 100;
	tap_ok(has_findings(scanner, &item, expected, 100), "bytes that were not kept are counted");
	item.kind = PS_ITEM_STARTED;
	tap_ok(has_findings(scanner, &item, head_findings, 0), "one that has started, its heads");
	item.kind = PS_ITEM_EXCHANGE;
	exchange.flags |= PS_EXCHANGE_STARTED | PS_EXCHANGE_ANNOUNCED;
	tap_ok(has_findings(scanner, &item, expected + strlen(head_findings), 100), "and what is new at its end");
	exchange.protocol = PS_STREAM_SSE;
	tap_ok(has_findings(scanner, &item, "request 6 password 20\nresponse 4 X-Sum 0\n", 0),
	       "the body of an event stream comes as messages");
	message.body.kept = text("{\"password\":\"hunter22\"}");
	message.body.size_bytes = message.body.kept.len;
	item = (struct ps_item){.kind = PS_ITEM_MESSAGE, .exchange = &exchange, .message = &message};
	tap_ok(has_findings(scanner, &item, "message 5 $.password 13\n", 0), "a message");
	ps_secret_scanner_free(scanner);
}

static void test_hashes(void)
{
	char hash[PS_SECRET_HASH_LEN + 1], masked[PS_SECRET_MASK_LEN + 1];
	uint8_t one[PS_SECRET_KEY_BYTES], other[PS_SECRET_KEY_BYTES];
	/* RFC 4231 4.3 has a shorter key, which HMAC pads with zeros. */
	static const uint8_t jefe[PS_SECRET_KEY_BYTES] = "Jefe";

	ps_secret_hash(jefe, "what do ya want for nothing?", 28, hash);
	tap_ok(strcmp(hash, "5bdcc146bf60754e") == 0, "the hash is HMAC-SHA-256");
	ps_secret_masked("short passw", 11, masked);
	tap_ok(strcmp(masked, "***") == 0, "nothing is shown of a short value");
	ps_secret_masked("abcdefghijkl", 12, masked);
	tap_ok(strcmp(masked, "ab***l") == 0, "a quarter of a longer one");
	ps_secret_masked("abcd\x1b[2Jmnopqrstuvwxyzabcdefghijklmnopqrs\tyz", 44, masked);
	tap_ok(strcmp(masked, "abcd***s?yz") == 0, "eight characters at most, and none that is none");
	tap_ok(ps_secret_random_key(one) && ps_secret_random_key(other) && memcmp(one, other, sizeof(one)) != 0,
	       "keys are random");
}

/* --- masking --------------------------------------------------------------- */

static struct ps_redactor *redactor_new(struct ps_secrets *secrets, uint64_t body_bytes_max, uint64_t preview_bytes,
					uint32_t what)
{
	struct ps_redact_options options = {
	    .body_bytes_max = body_bytes_max, .preview_bytes = preview_bytes, .what = what};

	memcpy(options.key, hash_key, sizeof(hash_key));
	return ps_redactor_new(secrets, &options);
}

static const char *mask(const char *rule, const char *secret)
{
	static char texts[4][128];
	static int next;
	char hash[PS_SECRET_HASH_LEN + 1];
	char *out = texts[next++ % 4];

	ps_secret_hash(hash_key, secret, strlen(secret), hash);
	snprintf(out, sizeof(texts[0]), "[redacted:%s:%.8s]", rule, hash);
	return out;
}

static bool is_format(struct ps_slice slice, const char *format, const char *one, const char *other)
{
	char expected[512];

	snprintf(expected, sizeof(expected), format, one, other); /* NOLINT: formats are this test's */
	return is_text(slice, expected);
}

static void test_masking(struct ps_secrets *secrets)
{
	struct ps_redactor *redactor = redactor_new(secrets, 65536, UINT64_MAX, PS_REDACT_HEADERS);
	struct ps_exchange exchange = an_exchange();
	struct ps_item item = {.kind = PS_ITEM_EXCHANGE, .exchange = &exchange};
	const struct ps_item *shown = ps_redact(redactor, &item);
	const struct ps_message *request = &shown->exchange->request, *response = &shown->exchange->response;

	tap_ok(shown != &item && exchange.request.target.len == 21, "the item stays as it is");
	tap_ok(is_format(request->target, "/x?k=%s&l=1", mask("key", "key_aaaa5555"), ""), "target");
	tap_ok(
	    is_format(request->headers[1].value, "%s, %s", mask("key", "key_aaaa1111"), mask("key", "key_aaaa2222")) &&
		is_text(request->headers[0].value, "a.test") && is_text(request->headers[1].name, "X-Token"),
	    "headers");
	tap_ok(is_format(request->headers[2].value, "a=b; sid=%s; c=d", mask("key", "key_aaaa3333"), ""), "cookies");
	tap_ok(is_format(request->body.kept, "user=alice&password=%s", mask("field", "hunter22"), ""), "form");
	tap_ok(is_format(response->body.kept, "{\"a\":[{\"t\":\"%s\"}],\"echo\":\"%s!\"}", mask("key", "key_aaaa6666"),
			 mask("field", "hunter22")),
	       "JSON, and a value that was found elsewhere");
	tap_ok(is_format(response->trailers[0].value, "%s", mask("key", "key_aaaa4444"), ""), "trailers");
	tap_ok(request->flags == PS_MESSAGE_REDACTED && response->flags == PS_MESSAGE_REDACTED &&
		   request->body.size_bytes == 28 && ps_redactor_stats(redactor).values == 8,
	       "flags, sizes, counters");
	exchange = (struct ps_exchange){.flags = PS_EXCHANGE_REQUEST};
	exchange.request.target = text("/nothing");
	tap_ok(ps_redact(redactor, &item) == &item, "an item with nothing in it is no copy");
	set_body(&exchange.request, text("password=[redacted:field:0123abcd]&x=y"));
	tap_ok(ps_redact(redactor, &item) == &item, "what was masked before stays as it is");
	set_body(&exchange.request, text("password=[redacted:field:0123abcx]&x=y"));
	tap_ok(is_format(ps_redact(redactor, &item)->exchange->request.body.kept, "password=%s&x=y",
			 mask("field", "[redacted:field:0123abcx]"), ""),
	       "but not what only begins as a mask");
	set_body(&exchange.request, text("{\"n\": 4111111111111111}"));
	tap_ok(is_format(ps_redact(redactor, &item)->exchange->request.body.kept, "{\"n\": \"%s\"}",
			 mask("card", "4111111111111111"), ""),
	       "the mask of a number of JSON is a string");
	set_body(&exchange.request, text("n: 4111111111111111,"));
	tap_ok(is_format(ps_redact(redactor, &item)->exchange->request.body.kept, "n: %s,",
			 mask("card", "4111111111111111"), ""),
	       "but of no other");
	ps_redactor_free(redactor);
}

static void test_messages(struct ps_secrets *secrets)
{
	struct ps_redactor *redactor = redactor_new(secrets, 65536, UINT64_MAX, PS_REDACT_HEADERS);
	struct ps_exchange exchange = an_exchange();
	struct ps_stream_message message = {.protocol = PS_STREAM_WEBSOCKET};
	struct ps_item item = {.kind = PS_ITEM_MESSAGE, .exchange = &exchange, .message = &message};
	const struct ps_item *shown;

	message.body.kept = text("{\"k\":\"key_aaaa5555\"}");
	message.body.size_bytes = message.body.kept.len;
	shown = ps_redact(redactor, &item);
	tap_ok(is_format(shown->message->body.kept, "{\"k\":\"%s\"}", mask("key", "key_aaaa5555"), "") &&
		   shown->message->flags == PS_STREAM_REDACTED && shown->exchange != &exchange &&
		   shown->exchange->request.body.kept.len == 0 && shown->exchange->response.body.kept.len == 0,
	       "a message, and its exchange, without bodies");
	message.protocol = PS_STREAM_GRPC;
	message.body.kept = (struct ps_slice){"\x0a\x0ckey_aaaa5555", 14};
	shown = ps_redact(redactor, &item);
	tap_ok(is_text(shown->message->body.kept, "\x0a\x0c[redacted:ke"), "of gRPC lengths stay as they are");
	message.flags = PS_STREAM_COMPRESSED | PS_STREAM_UNDECODED;
	message.body.kept = text("nobody knows");
	shown = ps_redact(redactor, &item);
	tap_ok(shown->message->body.kept.len == 0 && shown->message->flags == (message.flags | PS_STREAM_REDACTED) &&
		   shown->message->body.state == PS_BODY_TRUNCATED,
	       "what could not be decompressed is left out");
	ps_redactor_free(redactor);
}

/* Of a body of `fill` dots, a key and more dots, what is shown with that limit. */
static bool shows_no_part(struct ps_redactor *redactor, size_t fill, enum ps_body_state state, size_t kept)
{
	struct ps_exchange exchange = {.flags = PS_EXCHANGE_REQUEST};
	struct ps_item item = {.kind = PS_ITEM_EXCHANGE, .exchange = &exchange};
	char body[200];
	struct ps_slice shown;

	memset(body, '.', sizeof(body));
	memcpy(body + fill, " key_abcd1234 ", 14);
	exchange.request.body = (struct ps_body){.kept = {body, kept}, .size_bytes = 200, .state = state};
	shown = ps_redact(redactor, &item)->exchange->request.body.kept;
	return memmem(shown.data, shown.len, "key_", 4) == NULL;
}

/* A message that has not ended, or was given up: what there is of a value. */
static bool is_beginning_masked(struct ps_redactor *redactor)
{
	struct ps_exchange exchange = {.flags = PS_EXCHANGE_REQUEST};
	struct ps_item item = {.kind = PS_ITEM_STARTED, .exchange = &exchange};

	set_body(&exchange.request, text("<user name=\"alice\" pin=\"1234"));
	return is_format(ps_redact(redactor, &item)->exchange->request.body.kept, "<user name=\"alice\" pin=\"%s",
			 mask("quoted", "1234"), "");
}

static void test_cuts(struct ps_secrets *secrets)
{
	struct ps_redactor *limited = redactor_new(secrets, 100, UINT64_MAX, 0);
	struct ps_redactor *previews = redactor_new(secrets, 65536, 50, 0);
	struct ps_redactor *again = redactor_new(secrets, 100, UINT64_MAX, PS_REDACT_AGAIN);
	struct ps_exchange exchange = {.flags = PS_EXCHANGE_REQUEST};
	struct ps_item item = {.kind = PS_ITEM_EXCHANGE, .exchange = &exchange};
	bool in_limit = true, in_preview = true, before_gap = true;

	for (size_t fill = 0; fill < 120; fill++) {
		in_limit &= shows_no_part(limited, fill, PS_BODY_COMPLETE, 200);
		in_preview &= shows_no_part(previews, fill, PS_BODY_COMPLETE, 200);
	}
	for (size_t kept = 75; kept <= 87; kept++)
		before_gap &= shows_no_part(limited, 70, PS_BODY_GAP, kept);
	tap_ok(is_beginning_masked(limited), "the beginning of a value in a body that has not ended");
	tap_ok(in_limit, "no part of a value at the end of what is kept");
	tap_ok(in_preview, "nor at the end of a preview");
	tap_ok(before_gap, "nor before a gap");
	exchange.request.body = (struct ps_body){.kept = text("a b"), .size_bytes = 200, .state = PS_BODY_GAP};
	tap_ok(is_text(ps_redact(limited, &item)->exchange->request.body.kept, "a ") &&
		   is_text(ps_redact(again, &item)->exchange->request.body.kept, "a b"),
	       "where the last word goes, but only once");
	ps_redactor_free(again);
	ps_redactor_free(limited);
	ps_redactor_free(previews);
}

static struct ps_slice gzipped(const char *string, char *out, size_t cap)
{
	z_stream z = {.next_in = (unsigned char *)string, .avail_in = (unsigned)strlen(string)};

	deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
	z.next_out = (unsigned char *)out;
	z.avail_out = (unsigned)cap;
	deflate(&z, Z_FINISH);
	deflateEnd(&z);
	return (struct ps_slice){out, z.total_out};
}

static void test_coded(struct ps_secrets *secrets)
{
	struct ps_redactor *decoding = redactor_new(secrets, 65536, UINT64_MAX, PS_REDACT_HEADERS);
	struct ps_redactor *coded = redactor_new(secrets, 65536, UINT64_MAX, PS_REDACT_HEADERS | PS_REDACT_CODED);
	struct ps_decoder *decoder = ps_decoder_new();
	struct ps_exchange exchange = an_exchange();
	struct ps_item item = {.kind = PS_ITEM_EXCHANGE, .exchange = &exchange};
	const struct ps_item *shown;
	const struct ps_content *content;
	char buffer[512];

	exchange.response.headers = coded_headers;
	exchange.response.header_count = COUNT(coded_headers);
	set_body(&exchange.response, gzipped("{\"t\":\"key_aaaa6666\",\"e\":\"hunter22\"}", buffer, sizeof(buffer)));
	ps_redactor_attach(decoding, decoder);
	shown = ps_redact(decoding, &item);
	tap_ok(shown->exchange->response.body.kept.data == buffer, "a coded body stays coded");
	content = ps_decode(decoder, &shown->exchange->response, 1000, 1000);
	tap_ok(is_format(content->bytes, "{\"t\":\"%s\",\"e\":\"%s\"}", mask("key", "key_aaaa6666"),
			 mask("field", "hunter22")) &&
		   content->redacted == 2 && content->state == PS_CONTENT_COMPLETE,
	       "and what comes out of it is masked");
	tap_ok(shown->exchange->response.flags & PS_MESSAGE_REDACTED, "which its message says");
	content = ps_decode(decoder, &shown->exchange->response, 10, 10);
	tap_ok(content->bytes.len < 100 && memmem(content->bytes.data, content->bytes.len, "key_", 4) == NULL,
	       "also when only its beginning is asked for");
	shown = ps_redact(coded, &item);
	tap_ok(shown->exchange->response.body.kept.len == 0 && shown->exchange->response.flags & PS_MESSAGE_WITHHELD &&
		   ps_redactor_stats(coded).withheld == 1,
	       "it is withheld when it would be shown as it is");
	ps_redactor_free(decoding);
	ps_redactor_free(coded);
	ps_decoder_free(decoder);
}

static const struct ps_header latin1_headers[] = {
    {.name = {"Content-Type", 12}, .value = {"text/plain; charset=iso-8859-1", 30}},
};
static const struct ps_header utf16_headers[] = {
    {.name = {"Content-Type", 12}, .value = {"text/plain; charset=utf-16", 26}},
};

/* Bodies in other charsets, shown as they are. */
static void test_charsets(struct ps_secrets *secrets)
{
	struct ps_redactor *coded = redactor_new(secrets, 65536, UINT64_MAX, PS_REDACT_HEADERS | PS_REDACT_CODED);
	struct ps_exchange exchange = {.flags = PS_EXCHANGE_REQUEST};
	struct ps_item item = {.kind = PS_ITEM_EXCHANGE, .exchange = &exchange};
	const struct ps_message *shown;
	char wide[32] = "\xff\xfe";

	exchange.request.headers = latin1_headers;
	exchange.request.header_count = 1;
	set_body(&exchange.request, text("caf\xe9 key_aaaa6666"));
	shown = &ps_redact(coded, &item)->exchange->request;
	tap_ok(is_format(shown->body.kept, "caf\xe9 %s", mask("key", "key_aaaa6666"), "") &&
		   shown->flags == PS_MESSAGE_REDACTED,
	       "a charset with one byte for a character is masked as it is");
	for (size_t i = 0; i < 12; i++)
		wide[2 + 2 * i] = "key_aaaa6666"[i];
	exchange.request.headers = utf16_headers;
	set_body(&exchange.request, (struct ps_slice){wide, 26});
	shown = &ps_redact(coded, &item)->exchange->request;
	tap_ok(shown->body.kept.len == 0 && shown->flags & PS_MESSAGE_WITHHELD, "UTF-16 is withheld");
	ps_redactor_free(coded);
}

static void test_too_many(struct ps_secrets *secrets)
{
	struct ps_redactor *redactor = redactor_new(secrets, 1 << 20, UINT64_MAX, 0);
	struct ps_exchange exchange = {.flags = PS_EXCHANGE_REQUEST};
	struct ps_item item = {.kind = PS_ITEM_EXCHANGE, .exchange = &exchange};
	size_t count = PS_SECRET_MATCHES_MAX + 10;
	char *body = malloc(count * 13 + 1);

	for (size_t i = 0; i < count; i++)
		sprintf(body + i * 13, "key_%08zu ", i);
	set_body(&exchange.request, (struct ps_slice){body, count * 13});
	tap_ok(is_text(ps_redact(redactor, &item)->exchange->request.body.kept, "[redacted]"),
	       "a body with too many values is masked as a whole");
	free(body);
	ps_redactor_free(redactor);
}

/* Whether the response's body is withheld by a redactor for what shows bodies as on the wire. */
static bool withholds(struct ps_redactor *redactor, struct ps_exchange *exchange)
{
	struct ps_item item = {.kind = PS_ITEM_EXCHANGE, .exchange = exchange};
	const struct ps_message *shown = &ps_redact(redactor, &item)->exchange->response;

	return shown->body.kept.len == 0 && shown->body.state == PS_BODY_TRUNCATED && shown->body.size_bytes > 0 &&
	       shown->flags & PS_MESSAGE_WITHHELD;
}

static void test_same_length(struct ps_secrets *secrets)
{
	struct ps_redactor *redactor =
	    redactor_new(secrets, 65536, UINT64_MAX, PS_REDACT_HEADERS | PS_REDACT_CODED | PS_REDACT_SAME_LENGTH);
	struct ps_exchange exchange = an_exchange();
	struct ps_stream_message message = {.protocol = PS_STREAM_WEBSOCKET};
	struct ps_item item = {.kind = PS_ITEM_EXCHANGE, .exchange = &exchange};
	const struct ps_exchange *shown = ps_redact(redactor, &item)->exchange;
	char *body = malloc((PS_SECRET_MATCHES_MAX + 10) * 13 + 1);
	struct ps_slice all;

	tap_ok(is_text(shown->request.body.kept, "user=alice&password=[redacte"), "a mask is as long as the value");
	tap_ok(is_format(shown->request.target, "/x?k=%s&l=1", mask("key", "key_aaaa5555"), ""), "but not in heads");
	set_body(&exchange.request, text("password=aZ3aZ3aZ3aZ3aZ3aZ3aZ3aZ3aZ3aZ3aZ3aZ3aZ3aZ3&x=1"));
	shown = ps_redact(redactor, &item)->exchange;
	tap_ok(shown->request.body.kept.len == exchange.request.body.kept.len &&
		   memcmp(shown->request.body.kept.data + 31, ".............", 13) != 0 &&
		   memcmp(shown->request.body.kept.data + 43, "........&x=1", 12) == 0,
	       "filled up when the value is longer");
	for (size_t i = 0; i < PS_SECRET_MATCHES_MAX + 10; i++)
		sprintf(body + i * 13, "key_%08zu ", i);
	set_body(&exchange.request, text(body));
	all = ps_redact(redactor, &item)->exchange->request.body.kept;
	tap_ok(all.len == exchange.request.body.kept.len && memmem(all.data, all.len, "key_", 4) == NULL,
	       "also when all of a body is masked");
	free(body);
	exchange = (struct ps_exchange){.flags = PS_EXCHANGE_REQUEST};
	item = (struct ps_item){.kind = PS_ITEM_MESSAGE, .exchange = &exchange, .message = &message};
	message.body.kept = text("{\"k\":\"key_aaaa5555\"}");
	tap_ok(is_text(ps_redact(redactor, &item)->message->body.kept, "{\"k\":\"[redacted:ke\"}"), "a message");
	ps_redactor_free(redactor);
}

static void test_withheld(struct ps_secrets *secrets)
{
	struct ps_redactor *redactor = redactor_new(secrets, 65536, UINT64_MAX, PS_REDACT_HEADERS | PS_REDACT_CODED);
	struct ps_exchange exchange = an_exchange();
	struct ps_item item = {.kind = PS_ITEM_EXCHANGE, .exchange = &exchange};
	char buffer[512], other[512];

	exchange.response.headers = coded_headers;
	exchange.response.header_count = COUNT(coded_headers);
	set_body(&exchange.response, gzipped("you are hunter22", buffer, sizeof(buffer)));
	tap_ok(withholds(redactor, &exchange), "a coded body with a value that was found in another message");
	set_body(&exchange.response, gzipped("{\"password\":\"hunter33\"}", buffer, sizeof(buffer)));
	exchange.request.headers = coded_headers;
	exchange.request.header_count = COUNT(coded_headers);
	set_body(&exchange.request, gzipped("I am hunter33", other, sizeof(other)));
	tap_ok(withholds(redactor, &exchange) && ps_redact(redactor, &item)->exchange->request.body.kept.len == 0,
	       "also when that is coded, and comes later");
	set_body(&exchange.response, gzipped("{\"a\":1}", buffer, sizeof(buffer)));
	tap_ok(!withholds(redactor, &exchange), "one with nothing in it is shown");
	exchange.response.body.state = PS_BODY_GAP;
	tap_ok(withholds(redactor, &exchange), "but not when a value may have begun before a gap");
	ps_redactor_free(redactor);
}

/* Of a recording whose secrets were masked when it was made: bodies are not as long as they were. */
static void test_fitted(struct ps_secrets *secrets)
{
	static const struct {
		const char *body;
		uint64_t size_bytes;
		const char *expected;
	} bodies[] = {
	    {"a=[redacted:field:0123abcd]&b=1", 14, "a=[redacte&b=1"},
	    {"a=[redacted:field:0123abcd]&b=[redacted:key:0123abcd]", 14, "a=&b=[redacted"},
	    {"a=[redacted:field:0123abcd]&b=[redacted:key:0123abcd]", 58,
	     "a=[redacted:field:0123abcd].....&b=[redacted:key:0123abcd]"},
	    {"[redacted]", 14, "[redacted]...."},
	    {"[redacted:x", 4, "[red"},
	};
	struct ps_redactor *redactor =
	    redactor_new(secrets, UINT64_MAX, UINT64_MAX, PS_REDACT_CODED | PS_REDACT_SAME_LENGTH | PS_REDACT_AGAIN);
	struct ps_exchange exchange = {.flags = PS_EXCHANGE_REQUEST, .request = {.flags = PS_MESSAGE_REDACTED}};
	struct ps_item item = {.kind = PS_ITEM_EXCHANGE, .exchange = &exchange};

	for (size_t i = 0; i < COUNT(bodies); i++) {
		exchange.request.body =
		    (struct ps_body){.kept = text(bodies[i].body), .size_bytes = bodies[i].size_bytes};
		tap_ok(is_text(ps_redact(redactor, &item)->exchange->request.body.kept, bodies[i].expected),
		       "a body that was masked before, as long as it was");
	}
	ps_redactor_free(redactor);
}

/* Of gRPC the messages within a body are compressed, not the body. */
static void test_grpc_body(struct ps_secrets *secrets)
{
	static const struct ps_header headers[] = {
	    {.name = {"content-type", 12}, .value = {"application/grpc", 16}},
	    {.name = {"grpc-encoding", 13}, .value = {"gzip", 4}},
	};
	static const struct ps_header web_headers[] = {
	    {.name = {"content-type", 12}, .value = {"application/grpc-web-text", 25}},
	};
	static const char *const texts[] = {"\x0a\x0ckey_aaaa5555", "\x0a\x0cnone_of_them"};
	struct ps_redactor *redactor = redactor_new(secrets, 65536, UINT64_MAX, PS_REDACT_HEADERS);
	struct ps_exchange exchange = {.flags = PS_EXCHANGE_RESPONSE, .protocol = PS_STREAM_GRPC};
	char frames[512];
	struct ps_slice second;

	exchange.response.headers = headers;
	exchange.response.header_count = COUNT(headers);
	for (int i = 0; i < 2; i++) {
		memcpy(frames, "\0\0\0\0\2\x08\1\1\0\0\0", 11);
		second = gzipped(texts[i], frames + 12, sizeof(frames) - 12);
		frames[11] = (char)second.len;
		set_body(&exchange.response, (struct ps_slice){frames, 12 + second.len});
		tap_ok(withholds(redactor, &exchange) == (i == 0), i ? "or is not" : "a compressed message is seen");
	}
	memcpy(frames, "\1\0\0\0\4none", 9);
	set_body(&exchange.response, (struct ps_slice){frames, 9});
	tap_ok(withholds(redactor, &exchange), "or cannot be decompressed");
	exchange.response.headers = web_headers;
	exchange.response.header_count = COUNT(web_headers);
	tap_ok(withholds(redactor, &exchange), "in base64 it cannot be seen");
	ps_redactor_free(redactor);
}

int main(void)
{
	char error[PS_SECRET_ERROR_MAX];
	struct ps_secrets *secrets = ps_secrets_new(&config, (struct ps_slice){.len = 0}, error);

	test_places();
	test_hashes();
	test_findings(secrets);
	test_masking(secrets);
	test_messages(secrets);
	test_cuts(secrets);
	test_coded(secrets);
	test_charsets(secrets);
	test_too_many(secrets);
	test_same_length(secrets);
	test_withheld(secrets);
	test_fitted(secrets);
	test_grpc_body(secrets);
	ps_secrets_free(secrets);
	return tap_end();
}
