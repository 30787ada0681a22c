/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets in messages of a WebSocket, of an event stream and of gRPC that are
 * longer than what is kept of them, in pieces of several sizes.
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "../../src/grpc.h"
#include "../../src/secret_body.h"
#include "../../src/sse.h"
#include "../../src/websocket.h"
#include "tap.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

enum { TEXT_LEN = 200000, KEPT = 500, LINE = 1000, WIRE_MAX = 2 * TEXT_LEN, OPEN_MAX = 256 };

static const struct ps_secret_rule rules[] = {
    {.id = "body", .pattern = "\\bkey_[a-z0-9]{8}\\b", .scope = PS_SCOPE_BODY, .priority = 9},
    {.id = "message", .pattern = "\\bkey_[a-z0-9]{8}\\b", .scope = PS_SCOPE_MESSAGE},
};
static const struct ps_secret_config config = {.rules = rules, .rule_count = COUNT(rules)};
static const struct http_context context = {.ts_ns = 1};

/* One of them is at the end of what is kept. */
static const size_t key_places[] = {10, 495, 1010, 50000, 199980};

/* Lines of text, with a key at each of the places. */
static char *make_text(void)
{
	char *text = malloc(TEXT_LEN);
	uint32_t seed = 1;

	for (size_t i = 0; i < TEXT_LEN; i++) {
		seed = seed * 1103515245 + 12345;
		text[i] = i % LINE == LINE - 1 ? '\n' : "lorem ipsum, dolor. "[seed >> 16 & 15];
	}
	for (size_t i = 0; i < COUNT(key_places); i++)
		memcpy(text + key_places[i], " key_abcd1234 ", 14);
	return text;
}

/* What reads the messages of one exchange. */
struct reader {
	struct websocket *websocket; /* one of these */
	struct sse *sse;
	struct grpc *grpc;
	enum stream_part part;
	struct stream_queue queue;
	struct ps_exchange exchange;
};

static void feed(struct reader *reader, const uint8_t *data, size_t len, size_t piece)
{
	reader->queue.exchange = &reader->exchange;
	for (size_t at = 0; at < len; at += piece) {
		size_t n = len - at < piece ? len - at : piece;
		uint8_t *copy = malloc(n);

		memcpy(copy, data + at, n);
		if (reader->websocket)
			websocket_data(reader->websocket, reader->part, &context, copy, n, at == 0, &reader->queue);
		else if (reader->sse)
			sse_data(reader->sse, &context, copy, n, &reader->queue);
		else
			grpc_data(reader->grpc, reader->part, &context, copy, n, at == 0, &reader->queue);
		free(copy);
	}
}

static void gap(struct reader *reader, uint64_t len)
{
	if (reader->websocket)
		websocket_gap(reader->websocket, reader->part, &context, len, &reader->queue);
	else if (reader->sse)
		sse_gap(reader->sse, len, &reader->queue);
	else
		grpc_gap(reader->grpc, reader->part, len, &reader->queue);
}

static void close_reader(struct reader *reader)
{
	websocket_free(reader->websocket);
	sse_free(reader->sse);
	grpc_free(reader->grpc);
	stream_queue_free(&reader->queue);
}

/* --- messages on the wire --------------------------------------------------- */

/* Returns how long it is. raw: deflated data with nothing around it, without the end that RFC 7692 7.2.1 leaves out. */
static size_t compress_text(const char *text, bool raw, uint8_t *out)
{
	z_stream z = {.next_in = (unsigned char *)text, .avail_in = TEXT_LEN, .next_out = out, .avail_out = WIRE_MAX};

	deflateInit2(&z, 6, Z_DEFLATED, raw ? -15 : 31, 8, Z_DEFAULT_STRATEGY);
	deflate(&z, raw ? Z_SYNC_FLUSH : Z_FINISH);
	deflateEnd(&z);
	return raw ? z.total_out - 4 : z.total_out;
}

/* A frame of a WebSocket (RFC 6455 5.2), its length in eight bytes, its mask four bytes of 7. */
static size_t put_frame(uint8_t first, bool is_masked, const void *data, size_t len, uint8_t *out)
{
	uint8_t *at = out;

	*at++ = first;
	*at++ = (uint8_t)(is_masked << 7 | 127);
	for (int shift = 56; shift >= 0; shift -= 8)
		*at++ = (uint8_t)((uint64_t)len >> shift);
	if (is_masked) {
		memset(at, 7, 4);
		at += 4;
	}
	for (size_t i = 0; i < len; i++)
		*at++ = ((const uint8_t *)data)[i] ^ (is_masked ? 7 : 0);
	return (size_t)(at - out);
}

static size_t websocket_whole(const char *text, uint8_t *out)
{
	return put_frame(0x81, false, text, TEXT_LEN, out);
}

/* From the client, in two frames. */
static size_t websocket_fragments(const char *text, uint8_t *out)
{
	size_t half = TEXT_LEN / 2, len = put_frame(0x01, true, text, half, out);

	return len + put_frame(0x80, true, text + half, TEXT_LEN - half, out + len);
}

static size_t websocket_compressed(const char *text, uint8_t *out)
{
	uint8_t *packed = malloc(WIRE_MAX);
	size_t len = put_frame(0xc1, false, packed, compress_text(text, true, packed), out);

	free(packed);
	return len;
}

static size_t sse_event(const char *text, uint8_t *out)
{
	uint8_t *at = out;

	for (size_t i = 0; i < TEXT_LEN; i += LINE) {
		memcpy(at, "data: ", 6);
		memcpy(at + 6, text + i, LINE);
		at += 6 + LINE;
	}
	*at++ = '\n';
	return (size_t)(at - out);
}

static size_t put_grpc(uint8_t flags, size_t len, uint8_t *out)
{
	out[0] = flags;
	for (int i = 0; i < 4; i++)
		out[1 + i] = (uint8_t)(len >> (24 - 8 * i));
	return 5 + len;
}

static size_t grpc_whole(const char *text, uint8_t *out)
{
	memcpy(out + 5, text, TEXT_LEN);
	return put_grpc(0, TEXT_LEN, out);
}

static size_t grpc_compressed(const char *text, uint8_t *out)
{
	return put_grpc(1, compress_text(text, false, out + 5), out);
}

static const struct format {
	const char *name;
	enum ps_stream_protocol protocol;
	enum stream_part part;
	size_t (*put)(const char *text, uint8_t *out);
	size_t text_len; /* of what comes of it: the last line end of an event is no part of it */
} formats[] = {
    {"WebSocket", PS_STREAM_WEBSOCKET, STREAM_RESPONSE, websocket_whole, TEXT_LEN},
    {"WebSocket, masked fragments", PS_STREAM_WEBSOCKET, STREAM_REQUEST, websocket_fragments, TEXT_LEN},
    {"WebSocket, compressed", PS_STREAM_WEBSOCKET, STREAM_RESPONSE, websocket_compressed, TEXT_LEN},
    {"event stream", PS_STREAM_SSE, STREAM_RESPONSE, sse_event, TEXT_LEN - 1},
    {"gRPC", PS_STREAM_GRPC, STREAM_REQUEST, grpc_whole, TEXT_LEN},
    {"gRPC, compressed", PS_STREAM_GRPC, STREAM_RESPONSE, grpc_compressed, TEXT_LEN},
};

static void open_reader(struct reader *reader, const struct format *format, const struct http_limits *limits)
{
	static const struct ps_slice extension = {"permessage-deflate", 18};

	*reader = (struct reader){.part = format->part};
	if (format->protocol == PS_STREAM_WEBSOCKET)
		reader->websocket = websocket_new(extension, limits);
	else if (format->protocol == PS_STREAM_SSE)
		reader->sse = sse_new(limits);
	else
		reader->grpc = grpc_new(format->protocol, limits);
	if (reader->grpc)
		grpc_set_coding(reader->grpc, format->part, (struct grpc_coding){.is_deflated = true});
}

/* --- tests -------------------------------------------------------------------- */

static struct ps_secret_findings findings_of(struct ps_secret_scanner *scanner, const struct stream_message *message)
{
	return ps_secret_scan_item(scanner, &(struct ps_item){.kind = PS_ITEM_MESSAGE, .message = &message->pub});
}

/* Whether the first keys were found, and nothing else, and so many bytes were not looked at. */
static bool is_found(struct ps_secret_findings findings, size_t keys, uint64_t unscanned_bytes)
{
	bool passed = findings.count == keys && findings.unscanned_bytes == unscanned_bytes;

	for (uint32_t i = 0; passed && i < findings.count; i++) {
		const struct ps_secret_finding *finding = &findings.list[i];

		passed = finding->match.begin == key_places[i] + 1 && finding->match.rule == 1 &&
			 finding->part == PS_PART_MESSAGE && finding->where == PS_WHERE_BODY;
	}
	if (!passed)
		printf("# %u found, %lu bytes not looked at\n", findings.count, findings.unscanned_bytes);
	return passed;
}

/* The only message of a reader, which is closed. */
static bool has_only(struct ps_secret_scanner *scanner, struct reader *reader, size_t keys, uint64_t unscanned_bytes)
{
	struct stream_message *message = stream_queue_pop(&reader->queue);
	bool passed = message && !reader->queue.first;

	passed = passed && is_found(findings_of(scanner, message), keys, unscanned_bytes);
	stream_message_free(message);
	close_reader(reader);
	return passed;
}

static void test_formats(struct ps_secret_scanner *scanner, const struct http_limits *limits, const char *text)
{
	static const size_t pieces[] = {1, 1448, 1 << 20};
	uint8_t *wire = malloc(WIRE_MAX);

	for (size_t f = 0; f < COUNT(formats); f++) {
		size_t len = formats[f].put(text, wire);
		bool passed = true;

		for (size_t p = 0; p < COUNT(pieces); p++) {
			struct reader reader;

			open_reader(&reader, &formats[f], limits);
			feed(&reader, wire, len, pieces[p]);
			passed &= reader.queue.first && reader.queue.first->pub.body.kept.len == KEPT;
			passed &= reader.queue.first->pub.body.size_bytes == formats[f].text_len;
			passed &= has_only(scanner, &reader, COUNT(key_places), 0);
		}
		tap_ok(passed, formats[f].name);
	}
	free(wire);
}

/* Of each protocol the message that is not compressed, with 70 bytes missing behind what was kept, and before. */
static void test_gaps(struct ps_secret_scanner *scanner, const struct http_limits *limits, const char *text)
{
	uint8_t *wire = malloc(WIRE_MAX);
	char title[64];

	for (size_t f = 0; f < COUNT(formats); f++) {
		bool is_event = formats[f].protocol == PS_STREAM_SSE, passed = true;
		size_t len = formats[f].put(text, wire), head = len - formats[f].text_len;

		if (formats[f].put != websocket_whole && formats[f].put != grpc_whole && !is_event)
			continue;
		for (size_t part = 100; part <= 5000; part += 4900) {
			/* an event ends at the gap; each of its lines begins with "data: " */
			size_t before = is_event ? part + 6 * (part / LINE + (part % LINE > 0)) : head + part;
			struct reader reader;

			open_reader(&reader, &formats[f], limits);
			feed(&reader, wire, before, 100);
			gap(&reader, 70);
			if (!is_event)
				feed(&reader, wire + before + 70, len - before - 70, 1000);
			passed &=
			    has_only(scanner, &reader, part == 100 ? 1 : 3, is_event ? 70 : formats[f].text_len - part);
		}
		snprintf(title, sizeof(title), "%s: a gap ends it, and what follows is counted", formats[f].name);
		tap_ok(passed, title);
	}
	free(wire);
}

static void test_unread(struct ps_secret_scanner *scanner, const struct http_limits *limits, const char *text)
{
	struct reader reader;
	uint8_t wire[2048];

	open_reader(&reader, &formats[4], limits);
	memcpy(wire + 5, text, KEPT);
	feed(&reader, wire, put_grpc(0, KEPT, wire), 100);
	tap_ok(reader.queue.first && !reader.queue.first->pub.body.scan &&
		   reader.queue.first->pub.body.kept.len == KEPT,
	       "a message that is kept whole is not read twice");
	close_reader(&reader);

	/* what it refers to was not seen */
	reader = (struct reader){.websocket = websocket_new_midstream(limits), .part = STREAM_RESPONSE};
	memset(wire, 'x', sizeof(wire));
	wire[0] = 0xc1;
	wire[1] = 126;
	wire[2] = 1000 >> 8;
	wire[3] = 1000 & 255;
	feed(&reader, wire, 1004, 100);
	tap_ok(reader.queue.first && !reader.queue.first->pub.body.scan && has_only(scanner, &reader, 0, 1000),
	       "one that cannot be decompressed is counted");
}

/* Messages that wait to be handed out count, too. */
static void test_bound(struct ps_secret_scanner *scanner, const struct http_limits *limits, const char *text)
{
	enum { MANY = OPEN_MAX + 44, LEN = 2 * KEPT };
	struct stream_message *message;
	struct reader reader;
	uint8_t wire[5 + LEN];
	size_t read = 0, count = 0;
	uint64_t unscanned_bytes = 0;

	open_reader(&reader, &formats[4], limits);
	memcpy(wire + 5, text, LEN);
	put_grpc(0, LEN, wire);
	for (size_t i = 0; i < MANY; i++)
		feed(&reader, wire, sizeof(wire), sizeof(wire));
	while ((message = stream_queue_pop(&reader.queue))) {
		count++;
		read += message->pub.body.scan != NULL;
		unscanned_bytes += findings_of(scanner, message).unscanned_bytes;
		stream_message_free(message);
	}
	tap_ok(count == MANY && read == OPEN_MAX && unscanned_bytes == (MANY - OPEN_MAX) * (LEN - KEPT),
	       "no more than 256 are read at once, the others are counted");
	feed(&reader, wire, sizeof(wire), sizeof(wire));
	tap_ok(reader.queue.first && reader.queue.first->pub.body.scan, "and as many again when these are over");
	close_reader(&reader);
}

int main(void)
{
	char error[PS_SECRET_ERROR_MAX];
	struct ps_secrets *secrets = ps_secrets_new(&config, (struct ps_slice){.len = 0}, error);
	struct ps_secret_scanner *scanner = ps_secret_scanner_new(secrets);
	struct secret_body_watch *watch = secret_body_watch_new(secrets);
	const struct http_limits limits = {.body_bytes_max = KEPT, .watch = secret_body_watch(watch)};
	char *text = make_text();

	test_formats(scanner, &limits, text);
	test_gaps(scanner, &limits, text);
	test_unread(scanner, &limits, text);
	test_bound(scanner, &limits, text);
	free(text);
	secret_body_watch_free(watch);
	ps_secret_scanner_free(scanner);
	ps_secrets_free(secrets);
	return tap_end();
}
