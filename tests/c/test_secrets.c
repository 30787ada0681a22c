/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner of secrets: what is found where, whole and cut at every byte.
 * Numbers are published examples or were made to have the right check digits;
 * patterns are this test's own, so that nothing here looks like a live secret.
 */
#include "secret_fixture.h"
#include "tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- checks --------------------------------------------------------------- */

static const struct {
	const char *check;
	const char *good;
	const char *bad;
} numbers[] = {
    {"luhn", "4111 1111 1111 1111", "4111 1111 1111 1112"},
    {"luhn", "79927398713", "00000000000"},
    {"payment-card", "5555-5555-5555-4444", "7955-5555-5555-4442"},
    {"payment-card", "378282246310005", "3782822463100050"},
    {"iban", "GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 33"},
    {"iban", "DE89370400440532013000", "DE8937040044053201300"},
    {"iban", "NO9386011117947", "XX9386011117947"},
    {"es-dni", "12345678Z", "12345678A"},
    {"es-dni", "X1234567L", "X1234567M"},
    {"fr-nir", "2 55 08 14 168 025 38", "2 55 08 14 168 025 39"},
    {"de-tax", "86095742719", "86095742718"},
    {"nl-bsn", "111222333", "111222334"},
    {"pl-pesel", "44051401359", "44051401358"},
    {"be-national", "85.07.30-033.28", "85.07.30-033.29"},
    {"uk-nhs", "943 476 5919", "943 476 5918"},
    {"br-cpf", "529.982.247-25", "529.982.247-26"},
    {"br-cnpj", "11.222.333/0001-81", "11.222.333/0001-82"},
    {"fi-hetu", "131052-308T", "131052-308U"},
    {"se-person", "811218-9876", "811218-9875"},
    {"se-person", "198112189876", "198132189876"},
    {"no-fnr", "01010750160", "01010750161"},
    {"dk-cpr", "070761-4285", "070761-4286"},
    {"it-cf", "RSSMRA85T10A562S", "RSSMRA85T10A562T"},
    {"in-aadhaar", "2341 2341 2346", "2341 2341 2347"},
    {"cn-id", "11010519491231002X", "110105194912310021"},
    {"us-ssn", "536-22-1234", "666-22-1234"},
    {"ca-sin", "130 692 544", "130 692 545"},
    {"au-tfn", "123 456 782", "123 456 783"},
    {"pt-nif", "123456789", "123456780"},
    {"ch-ahv", "756.9217.0769.85", "756.9217.0769.84"},
    {"us-aba", "111000025", "111000026"},
    {"tr-id", "10000000146", "10000000147"},
    {"crc32-base62", "abc_0000000000000000000000000000002C8GjS", "abc_0000000000000000000000000000002C8Gj1"},
    {"jwt", "eyJhbGciOiJub25lIn0.e30.", "eyJ0eXAiOiJKV1QifQ.e30."},
    {"basic", "dXNlcjpwYXNz", "dXNlcnBhc3M="},
};

static void test_checks(void)
{
	char title[128];

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		int32_t check = ps_secret_check_by_name(numbers[i].check);

		snprintf(title, sizeof(title), "%s takes %s and not %s", numbers[i].check, numbers[i].good,
			 numbers[i].bad);
		tap_ok(check > 0 && ps_secret_check((uint32_t)check, numbers[i].good, strlen(numbers[i].good)) &&
			   !ps_secret_check((uint32_t)check, numbers[i].bad, strlen(numbers[i].bad)),
		       title);
	}
}

static void test_check_names(void)
{
	bool round = true, empty = true, damaged = true;

	for (uint32_t i = 0; i < PS_CHECK_COUNT; i++) {
		const char *name = ps_secret_check_name(i);

		round &= name && ps_secret_check_by_name(name) == (int32_t)i;
		empty &= i == PS_CHECK_NONE || !ps_secret_check(i, "", 0);
		damaged &= i == PS_CHECK_NONE || !ps_secret_check(i, "\xff\0 \xfe", 4);
	}
	tap_ok(round && ps_secret_check_by_name("nothing") == -1 && !ps_secret_check_name(PS_CHECK_COUNT),
	       "every check has a name of its own");
	tap_ok(empty && damaged, "no check takes an empty text or other bytes");
}

static void test_entropy(void)
{
	tap_ok(ps_secret_entropy("aaaa", 4) == 0 && fabs(ps_secret_entropy("abcd", 4) - 2) < 1e-9 &&
		   ps_secret_entropy("", 0) == 0,
	       "entropy in bits per byte");
}

/* --- rules ---------------------------------------------------------------- */

static const struct ps_slice no_image;

/* --- texts ---------------------------------------------------------------- */

/* Expected matches: RULE BEGIN-END SECRET [ENCODING...], one a line. */
struct text {
	const char *title;
	const char *text;
	const char *expected;
	uint32_t scope;
};

static const struct text texts[] = {
    {"an empty text", "", "", 0},
    {"a key", "a key_abcd1234 b", "key 2-14 key_abcd1234\n", 0},
    {"no key within a word", "a key_abcd12345 monkey_abcd1234", "", 0},
    {"two of them, side by side", "key_abcd1234 key_abcd1235", "key 0-12 key_abcd1234\nkey 13-25 key_abcd1235\n", 0},
    {"two with one byte between, which both need", ",f1;f2,f3", "framed 1-3 f1\nframed 4-6 f2\n", 0},
    {"at the very end", "x=key_abcd1234", "key 2-14 key_abcd1234\n", 0},
    {"a field of JSON", "{\"password\" : \"hunter22\"}", "field 15-23 hunter22\n", 0},
    {"a field of a form", "user=me&password=hunter22&x=1", "field 17-25 hunter22\n", 0},
    {"what a field's name begins with", "my.db_password=hunter22", "field 15-23 hunter22\n", 0},
    {"an allowed secret", "password=${SECRET_1} password=MyExample1 PASSWORD=changeme", "", 0},
    {"an allowed match", "reset_password=hunter22", "", 0},
    {"an allowed line", "x\n# password=hunter22\npassword=hunter22", "field 31-39 hunter22\n", 0},
    {"allowed if both are there", "password=aabbcc password=aabbzz password=bbzzcc",
     "field 9-15 aabbcc\nfield 41-47 bbzzcc\n", 0},
    {"allowed everywhere", "two:nosecret1", "", 0},
    {"a look-behind", "tok=0123456789abcdef ", "behind 4-20 0123456789abcdef\n", 0},
    {"no look-behind", "took=0123456789abcdef ", "", 0},
    {"the first group that is not empty", "one:abc two:def", "two 4-7 abc\ntwo 12-15 def\n", 0},
    {"a checksum", "4111111111111111 4111111111111112", "card 0-16 4111111111111111\n", 0},
    {"a block", "-----BEGIN X-----\nabcdefghij\n-----END X-----",
     "block 0-44 -----BEGIN X-----\nabcdefghij\n-----END X-----\n", 0},
    {"of two in one place the one with priority", "-----BEGIN X-----key_abcd1234 -----END X-----",
     "block 0-45 -----BEGIN X-----key_abcd1234 -----END X-----\n", 0},
    {"the longer of two", "password=one:abcdef", "field 9-19 one:abcdef\n", 0},
    {"a header, among headers", "Host: a\r\nx-key: abc\n", "header 16-19 abc\n", PS_SCOPE_HEADERS},
    {"no header in a body", "x-key: abc\n", "", PS_SCOPE_BODY},
    {"enough entropy", "r=abcdefghij r=aaaaaaaaaa", "random 2-12 abcdefghij\n", 0},
    {"a keyword near by", "acme 0123456789AB", "near 5-17 0123456789AB\n", 0},
    {"no keyword", "0123456789AB", "", 0},
    {"base64", "x=\"eyJwYXNzd29yZCI6Imh1bnRlcjIyIn0=\"", "field 20-31 hunter22 base64\n", 0},
    {"base64 at the end", "eyJwYXNzd29yZCI6Imh1bnRlcjIyIn0", "field 17-28 hunter22 base64\n", 0},
    {"base64 in a path", "/api/v1/eyJwYXNzd29yZCI6Imh1bnRlcjIyIn0", "field 25-36 hunter22 base64\n", 0},
    {"base64 of something else", "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ", "", 0},
    {"percent-encoded", "q=%7B%22password%22%3A%22hunter%2022%22%7D ", "field 25-31 hunter percent\n", 0},
    {"a form with spaces", "card=4111+1111+1111+1111&x=1", "spaced 5-24 4111 1111 1111 1111 percent\n", 0},
    {"a form, percent-encoded with spaces", "a=b%20c&card=4111+1111+1111+1111&x=1",
     "spaced 13-32 4111 1111 1111 1111 percent\n", 0},
    {"a plus sign that is one", "/4111+1111+1111+1111", "", 0},
    {"percent-encoded, with a percent sign", "q=100%&s=100%25&password%3Dhunter22", "field 27-35 hunter22 percent\n",
     0},
    {"JSON in JSON", "{\"a\":\"{\\\"password\\\":\\\"hunt\\u0065r\\/2\\\"}\"}", "field 22-36 hunter/2 json\n", 0},
    {"JSON in JSON in JSON", "{\"a\":\"{\\\"b\\\":\\\"{\\\\\\\"password\\\\\\\":\\\\\\\"hunter22\\\\\\\"}\\\"}\"}",
     "field 37-45 hunter22 json json\n", 0},
    {"JSON in base64 in JSON", "{\"a\":\"{\\\"t\\\":\\\"eyJwYXNzd29yZCI6Imh1bnRlcjIyIn0\\\"}\"}",
     "field 32-43 hunter22 base64\n", 0},
    {"a form's value, which is decoded", "password=hunt%26er%3D2+2&x=1", "field 9-24 hunt&er=2 2 percent\n", 0},
    {"one with a plus sign that nobody coded", "a=b&password=hunt+er/2%21", "field 13-25 hunt+er/2! percent\n", 0},
    {"a cookie's", "Cookie: a=b; password=hunt%2Ber+2", "field 22-33 hunt+er+2 percent\n", 0},
    {"a percent sign that stands for itself", "{\"password\":\"hunt%26er\"}", "field 13-22 hunt%26er\n", 0},
    {"a value of JSON, which is decoded", "{\"password\":\"hunt\\u0026er\\\\2\"}", "field 13-28 hunt&er\\2 json\n", 0},
    {"the password of Basic credentials", "Basic dXNlcjpodW50ZXI6MjI=", "basic 6-26 hunter:22 base64\n", 0},
    {"not within encodings", "cGxhaW5fdGV4dCBwbGFpbl90ZXh0 plain_text", "plain 29-39 plain_text\n", 0},
    {"a rule that is lost in the middle", "key_abcd123 4key_abcd1234", "", 0},
};

static const char *const encoding_names[] = {"", " base64", " percent", " json"};

/* Matches as in struct text. Free it. */
static char *text_of(struct ps_secret_matches matches)
{
	char *out = NULL;
	size_t size;
	FILE *file = open_memstream(&out, &size);

	for (uint32_t i = 0; i < matches.count; i++) {
		const struct ps_secret_match *match = &matches.list[i];

		fprintf(file, "%s %lu-%lu ", rules[match->rule].id, match->begin, match->end);
		fwrite(match->secret.data, 1, match->secret.len, file);
		for (int e = 0; e < 4; e++)
			fputs(encoding_names[match->encodings[e]], file);
		fputc('\n', file);
	}
	fclose(file);
	return out;
}

static bool is_result(struct ps_secret_matches matches, const char *expected)
{
	char *got = text_of(matches);
	bool same = strcmp(got, expected) == 0;

	if (!same)
		printf("# got %s# wanted %s\n", got, expected);
	free(got);
	return same;
}

/* A copy right behind which nothing may be read. */
static char *exact_copy(const char *text, size_t len)
{
	char *copy = malloc(len ? len : 1);

	memcpy(copy, text, len);
	return copy;
}

static bool is_same_in_pieces(struct ps_secret_stream *stream, const struct text *text, size_t cut)
{
	size_t len = strlen(text->text);
	char *first = exact_copy(text->text, cut), *second = exact_copy(text->text + cut, len - cut);
	bool same;

	ps_secret_stream_begin(stream, text->scope);
	ps_secret_stream_feed(stream, first, cut);
	memset(first, 'x', cut);
	ps_secret_stream_feed(stream, second, len - cut);
	free(first);
	free(second);
	same = is_result(ps_secret_stream_end(stream), text->expected);
	if (!same)
		printf("# cut at %zu\n", cut);
	return same;
}

static void test_texts(struct ps_secrets *secrets, const char *kind)
{
	struct ps_secret_stream *stream = ps_secret_stream_new(secrets);
	char title[160];

	for (size_t i = 0; i < COUNT(texts); i++) {
		size_t len = strlen(texts[i].text);
		char *copy = exact_copy(texts[i].text, len);
		bool passed = is_result(ps_secrets_scan(stream, texts[i].scope, copy, len), texts[i].expected);

		free(copy);
		for (size_t cut = 0; passed && cut <= len; cut++)
			passed = is_same_in_pieces(stream, &texts[i], cut);
		snprintf(title, sizeof(title), "%s: %s", kind, texts[i].title);
		tap_ok(passed, title);
	}
	tap_ok(ps_secret_stream_stats(stream).unsearched == 0, "no candidate was given up");
	ps_secret_stream_free(stream);
}

/* --- long texts ----------------------------------------------------------- */

/* len bytes of filling with `secret` at `place`. */
static char *long_text(size_t len, size_t place, const char *secret)
{
	char *text = malloc(len + 1);

	for (size_t i = 0; i < len; i++)
		text[i] = "lorem ipsum, dolor. "[i % 20];
	memcpy(text + place, secret, strlen(secret));
	text[len] = 0;
	return text;
}

static void feed_in_pieces(struct ps_secret_stream *stream, const char *text, size_t len, size_t piece)
{
	ps_secret_stream_begin(stream, 0);
	for (size_t at = 0; at < len; at += piece)
		ps_secret_stream_feed(stream, text + at, len - at < piece ? len - at : piece);
}

static void test_long_texts(struct ps_secrets *secrets)
{
	static const size_t places[] = {0, 8000, 8185, 8191, 8192, 16380, 32760, 65000, 99980};
	static const size_t pieces[] = {1, 7, 1000, 8192, 10000, 100000};
	struct ps_secret_stream *stream = ps_secret_stream_new(secrets);
	char expected[64];
	bool passed = true;

	for (size_t i = 0; i < COUNT(places); i++) {
		char *text = long_text(100000, places[i], " key_abcd1234 ");

		snprintf(expected, sizeof(expected), "key %zu-%zu key_abcd1234\n", places[i] + 1, places[i] + 13);
		passed &= is_result(ps_secrets_scan(stream, 0, text, 100000), expected);
		for (size_t p = 0; p < COUNT(pieces); p++) {
			feed_in_pieces(stream, text, 100000, pieces[p]);
			passed &= is_result(ps_secret_stream_end(stream), expected);
		}
		free(text);
	}
	tap_ok(passed, "a key anywhere in a long text, in pieces of any size");
	ps_secret_stream_free(stream);
}

/* len bytes of base64 of text with `secret` at `place` of it. */
static char *base64_text(size_t len, size_t place, const char *secret)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = long_text(len / 4 * 3, place, secret), *out = malloc(len + 1);

	for (size_t i = 0; i < len / 4; i++) {
		uint32_t bits =
		    (uint32_t)text[i * 3] << 16 | (uint32_t)text[i * 3 + 1] << 8 | (uint32_t)text[i * 3 + 2];

		for (size_t c = 0; c < 4; c++)
			out[i * 4 + c] = alphabet[bits >> (18 - 6 * c) & 63];
	}
	out[len] = 0;
	free(text);
	return out;
}

static void test_long_base64(struct ps_secrets *secrets)
{
	struct ps_secret_stream *stream = ps_secret_stream_new(secrets);
	bool passed = true;
	char *first, *other;

	for (size_t place = 0; place < 59000; place += 499) {
		char *text = base64_text(80000, place, " key_abcd1234 ");
		struct ps_secret_matches matches = ps_secrets_scan(stream, 0, text, 80000);

		passed &= matches.count == 1 && matches.list[0].begin == (place + 1) * 4 / 3;
		first = text_of(matches);
		feed_in_pieces(stream, text, 80000, 1009);
		other = text_of(ps_secret_stream_end(stream));
		passed &= strcmp(first, other) == 0;
		free(first);
		free(other);
		free(text);
	}
	tap_ok(passed, "a key anywhere in long base64");
	ps_secret_stream_free(stream);
}

static void test_limits(struct ps_secrets *secrets)
{
	struct ps_secret_stream *stream = ps_secret_stream_new(secrets);
	size_t len = (PS_SECRET_MATCHES_MAX + 10) * 13;
	char *text = malloc(len + 1);
	struct ps_secret_matches matches;

	for (size_t i = 0; i < PS_SECRET_MATCHES_MAX + 10; i++)
		sprintf(text + i * 13, "key_%08zu ", i);
	matches = ps_secrets_scan(stream, 0, text, len);
	tap_ok(matches.count == PS_SECRET_MATCHES_MAX && matches.dropped == 1, "matches are bounded, and that is said");
	matches = ps_secrets_scan(stream, 0, text, 13);
	tap_ok(matches.count == 1 && matches.dropped == 0, "and forgotten with the next text");
	ps_secret_stream_begin(stream, 0);
	ps_secret_stream_feed(stream, text, 100);
	matches = ps_secrets_scan(stream, 0, "abcd1234", 8);
	tap_ok(matches.count == 0, "a text that did not end leaves nothing behind");
	free(text);
	ps_secret_stream_free(stream);
}

/* --- making of rules ------------------------------------------------------ */

static void test_engines(struct ps_secrets *secrets)
{
	tap_ok(ps_secrets_engine(secrets, KEY) == PS_ENGINE_EXACT &&
		   ps_secrets_engine(secrets, FIELD) == PS_ENGINE_EXACT &&
		   ps_secrets_engine(secrets, BEHIND) == PS_ENGINE_PREFILTER,
	       "a look-behind goes to Hyperscan as a wider pattern");
}

static void test_image(struct ps_secrets *secrets)
{
	char error[PS_SECRET_ERROR_MAX];
	struct ps_slice image = ps_secrets_image(secrets), damaged;
	struct ps_secrets *again = ps_secrets_new(&config, image, error), *other;
	struct ps_secret_config fewer = config;
	bool passed = true;

	fewer.rule_count--;
	tap_ok(again && ps_secrets_is_cached(again), "an image is used");
	test_texts(again, "image");
	ps_secrets_free(again);
	other = ps_secrets_new(&fewer, image, error);
	tap_ok(other && !ps_secrets_is_cached(other), "that of other rules is not");
	ps_secrets_free(other);
	for (size_t at = 0; at < image.len; at += image.len / 50) {
		char *copy = exact_copy(image.data, image.len);

		copy[at] ^= 0x55;
		other = ps_secrets_new(&config, (struct ps_slice){copy, image.len}, error);
		passed &= other != NULL && !ps_secrets_is_cached(other);
		ps_secrets_free(other);
		damaged = (struct ps_slice){copy, at};
		other = ps_secrets_new(&config, damaged, error);
		passed &= other != NULL && !ps_secrets_is_cached(other);
		ps_secrets_free(other);
		free(copy);
	}
	tap_ok(passed, "nor is a damaged one, or a part");
}

static struct ps_secrets *one_rule(struct ps_secret_rule rule, char *error)
{
	return ps_secrets_new(&(struct ps_secret_config){.rules = &rule, .rule_count = 1}, no_image, error);
}

static void test_errors(void)
{
	char error[PS_SECRET_ERROR_MAX];
	struct ps_secrets *secrets;

	tap_ok(!one_rule((struct ps_secret_rule){.id = "open", .pattern = "a(b"}, error) && strstr(error, "open: "),
	       "a malformed pattern is named");
	secrets = one_rule((struct ps_secret_rule){.id = "none", .pattern = "a*"}, error);
	tap_ok(!secrets && strstr(error, "none: "), "one that matches nothing at all cannot be looked for");
	secrets = ps_secrets_new(&(struct ps_secret_config){.rule_count = 0}, no_image, error);
	tap_ok(secrets != NULL, "no rules are no error");
	ps_secrets_free(secrets);
}

/* A pattern on which a backtracking matcher takes for ever is given up, and that is counted. */
static void test_hostile_text(void)
{
	char error[PS_SECRET_ERROR_MAX];
	struct ps_secrets *secrets =
	    one_rule((struct ps_secret_rule){.id = "slow", .pattern = "(?:x+x+)+z(?<!z)"}, error);
	struct ps_secret_stream *stream = ps_secret_stream_new(secrets);
	char text[61];

	memset(text, 'x', 60);
	text[60] = 'z';
	ps_secrets_scan(stream, 0, text, sizeof(text));
	tap_ok(ps_secret_stream_stats(stream).unsearched == 1, "what takes too long is given up, and counted");
	ps_secret_stream_free(stream);
	ps_secrets_free(secrets);
}

int main(void)
{
	char error[PS_SECRET_ERROR_MAX];
	struct ps_secrets *secrets = ps_secrets_new(&config, no_image, error);

	test_checks();
	test_check_names();
	test_entropy();
	if (!tap_ok(secrets != NULL, "rules are made ready")) {
		printf("# %s\n", error);
		return tap_end();
	}
	test_engines(secrets);
	test_texts(secrets, "compiled");
	test_long_texts(secrets);
	test_long_base64(secrets);
	test_limits(secrets);
	test_image(secrets);
	test_errors();
	test_hostile_text();
	ps_secrets_free(secrets);
	return tap_end();
}
