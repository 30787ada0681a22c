/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets in bodies that are longer than what is kept of them: as they are, and
 * in each coding, in pieces of several sizes.
 */
#include <brotli/encode.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "../../src/message.h"
#include "../../src/secret_body.h"
#include "secret_fixture.h"
#include "tap.h"

enum { TEXT_LEN = 200000, KEPT = 500, HEAD_MAX = 4096 };

static const size_t key_places[] = {10, 495, 1010, 50000, 199980};

/* Text with a key at each of the places. */
static char *make_text(void)
{
	char *text = malloc(TEXT_LEN);
	uint32_t seed = 1;

	for (size_t i = 0; i < TEXT_LEN; i++) {
		seed = seed * 1103515245 + 12345;
		text[i] = "lorem ipsum, dolor. "[seed >> 16 & 15];
	}
	for (size_t i = 0; i < COUNT(key_places); i++)
		memcpy(text + key_places[i], " key_abcd1234 ", 14);
	return text;
}

static size_t encode(const char *coding, const char *text, uint8_t *out, size_t cap)
{
	z_stream z = {.next_in = (unsigned char *)text, .avail_in = TEXT_LEN};
	size_t len = cap;

	if (!coding) {
		memcpy(out, text, TEXT_LEN);
		return TEXT_LEN;
	}
	if (strcmp(coding, "zstd") == 0)
		return ZSTD_compress(out, cap, text, TEXT_LEN, 3);
	if (strcmp(coding, "br") == 0) {
		BrotliEncoderCompress(5, 22, BROTLI_MODE_TEXT, TEXT_LEN, (const uint8_t *)text, &len, out);
		return len;
	}
	deflateInit2(&z, 6, Z_DEFLATED, strcmp(coding, "gzip") == 0 ? 31 : 15, 8, Z_DEFAULT_STRATEGY);
	z.next_out = out;
	z.avail_out = (unsigned)cap;
	deflate(&z, Z_FINISH);
	deflateEnd(&z);
	return z.total_out;
}

static struct http_message *new_message(const char *coding)
{
	struct http_message *message = http_message_new();

	if (coding)
		http_message_add_field(message, false, (struct ps_slice){"Content-Encoding", 16},
				       (struct ps_slice){coding, strlen(coding)}, 0);
	return message;
}

static void feed(struct http_message *message, const struct http_limits *limits, const uint8_t *data, size_t len,
		 size_t piece)
{
	for (size_t at = 0; at < len; at += piece) {
		size_t n = len - at < piece ? len - at : piece;
		uint8_t *copy = malloc(n);

		memcpy(copy, data + at, n);
		http_message_body(message, limits, copy, n);
		free(copy);
	}
}

static struct ps_secret_findings findings_of(struct ps_secret_scanner *scanner, const struct http_message *message)
{
	static struct ps_exchange exchange;

	exchange = (struct ps_exchange){.flags = PS_EXCHANGE_RESPONSE, .response = message->pub};
	return ps_secret_scan_item(scanner, &(struct ps_item){.kind = PS_ITEM_EXCHANGE, .exchange = &exchange});
}

static bool is_found(struct ps_secret_findings findings, const struct http_message *message)
{
	bool passed = findings.count == COUNT(key_places) && findings.unscanned_bytes == 0;

	for (uint32_t i = 0; passed && i < findings.count; i++)
		passed = findings.list[i].match.begin == key_places[i] + 1 && findings.list[i].where == PS_WHERE_BODY;
	if (!passed)
		printf("# %u found, %lu of %lu bytes not looked at\n", findings.count, findings.unscanned_bytes,
		       message->pub.body.size_bytes);
	return passed;
}

static void test_codings(struct ps_secret_scanner *scanner, const struct http_limits *limits, const char *text)
{
	static const char *const codings[] = {NULL, "gzip", "deflate", "br", "zstd"};
	static const size_t pieces[] = {1, 100, 1448, 65536, 1 << 20};
	uint8_t *coded = malloc(2 * TEXT_LEN);
	char title[64];

	for (size_t c = 0; c < COUNT(codings); c++) {
		size_t len = encode(codings[c], text, coded, 2UL * TEXT_LEN);
		bool passed = len > KEPT;

		for (size_t p = 0; p < COUNT(pieces); p++) {
			struct http_message *message = new_message(codings[c]);

			feed(message, limits, coded, len, pieces[p]);
			passed &=
			    message->pub.body.kept.len == KEPT && is_found(findings_of(scanner, message), message);
			http_message_free(message);
		}
		snprintf(title, sizeof(title), "%s", codings[c] ? codings[c] : "no coding");
		tap_ok(passed, title);
	}
	free(coded);
}

static void test_unread(struct ps_secret_scanner *scanner, const struct http_limits *limits, const char *text)
{
	struct http_message *message = new_message("unheard-of");
	struct ps_secret_findings findings;
	struct http_message *many[300];
	size_t without = 0;

	feed(message, limits, (const uint8_t *)text, 5000, 1000);
	findings = findings_of(scanner, message);
	tap_ok(findings.unscanned_bytes == 5000 && !message->pub.body.scan, "a coding that is not known is counted");
	http_message_free(message);

	message = new_message(NULL);
	feed(message, limits, (const uint8_t *)text, 5000, 1000);
	http_message_body_gap(message, 70);
	feed(message, limits, (const uint8_t *)text, 5000, 1000);
	findings = findings_of(scanner, message);
	tap_ok(findings.count == 3 && findings.unscanned_bytes == 5070, "a gap ends it, and what follows is counted");
	http_message_free(message);

	message = new_message(NULL);
	feed(message, limits, (const uint8_t *)text, KEPT, 100);
	tap_ok(!message->pub.body.scan, "a body that is kept whole is not read twice");
	http_message_free(message);

	message = new_message("gzip");
	feed(message, limits, (const uint8_t *)text, 5000, 1000);
	findings = findings_of(scanner, message);
	tap_ok(findings.unscanned_bytes == 5000, "malformed, counted");
	http_message_free(message);

	for (size_t i = 0; i < COUNT(many); i++) {
		many[i] = new_message(NULL);
		feed(many[i], limits, (const uint8_t *)text, 2 * KEPT, 1000);
		without += many[i]->pub.body.scan == NULL;
	}
	for (size_t i = 0; i < COUNT(many); i++)
		http_message_free(many[i]);
	tap_ok(without == COUNT(many) - 256, "no more than 256 bodies are read at once");
	message = new_message(NULL);
	feed(message, limits, (const uint8_t *)text, 2 * KEPT, 1000);
	tap_ok(message->pub.body.scan != NULL, "and as many again when these are over");
	http_message_free(message);
}

int main(void)
{
	char error[PS_SECRET_ERROR_MAX];
	struct ps_secrets *secrets = ps_secrets_new(&config, (struct ps_slice){.len = 0}, error);
	struct ps_secret_scanner *scanner = ps_secret_scanner_new(secrets);
	struct secret_body_watch *watch = secret_body_watch_new(secrets);
	const struct http_limits limits = {
	    .head_bytes_max = HEAD_MAX, .body_bytes_max = KEPT, .pipeline_max = 1, .watch = secret_body_watch(watch)};
	char *text = make_text();

	test_codings(scanner, &limits, text);
	test_unread(scanner, &limits, text);
	free(text);
	secret_body_watch_free(watch);
	ps_secret_scanner_free(scanner);
	ps_secrets_free(secrets);
	return tap_end();
}
