/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: messages within an exchange; built once for each protocol
 * (FUZZ_PROTOCOL: WEBSOCKET, SSE or GRPC).
 *
 * Input: a byte of options (bits 0 and 1: what is kept; bit 2: compression was
 * agreed upon; bit 3: each message on its own; bit 4: gRPC-Web; bit 5: in
 * base64; of SSE, bits 5 to 7: 1 to 4 for a content coding, gzip, deflate, br or
 * zstd), then steps of a head and its bytes. The head is a byte, bit 7 the
 * part, bit 6: so many bytes are missing, bits 0 to 5 how many; of 63 the number
 * is in the two bytes after it (big endian).
 *
 * Besides what the sanitizers see it checks sizes, bounds, that who watches gets
 * all of a message that is not kept whole, and that what comes out does not
 * depend on how the bytes are cut into calls, as long as none are missing and all
 * can be read: else it matters where calls begin.
 */
/* The Makefile builds it once for each protocol. */
#ifndef FUZZ_PROTOCOL
#define FUZZ_PROTOCOL WEBSOCKET
#endif

#include "../../src/grpc.h"
#include "../../src/sse.h"
#include "../../src/stream_decode.h"
#include "../../src/websocket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONG_STEP = 63, FIELDS_MAX = 64, MEMORY_MAX = 512 * 1024 };
enum { OPTION_COMPRESSED = 4, OPTION_RESET = 8, OPTION_WEB = 16, OPTION_BASE64 = 32 };
enum { WEBSOCKET, SSE, GRPC };

#ifndef FUZZ_PROTOCOL
#define FUZZ_PROTOCOL WEBSOCKET
#endif

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

struct run {
	struct websocket *websocket;
	struct sse *sse;
	struct stream_decode *decode; /* SSE; NULL: no coding */
	struct grpc *grpc;
	struct stream_queue queue;
	struct ps_exchange exchange;
	size_t body_bytes_max;
	uint64_t digest;
	bool has_gap;
};

static const struct http_context context = {.ts_ns = 1};

/* A message that is read as it arrives. */
struct ps_body_scan {
	uint64_t len;
	uint64_t digest;
	bool has_gap;
};

static uint32_t scans_open;

static void scan_data(struct ps_body_scan *scan, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len && !scan->has_gap; i++)
		scan->digest = (scan->digest ^ data[i]) * 0x100000001b3ULL;
	scan->len += scan->has_gap ? 0 : len;
}

/* One that begins with 'n' is not read. */
static struct ps_body_scan *scan_begin(void *to, const struct ps_stream_message *message)
{
	const struct ps_slice kept = message->body.kept;
	struct ps_body_scan *scan;

	CHECK(to == &scans_open && message->body.size_bytes > kept.len);
	if (kept.len > 0 && kept.data[0] == 'n')
		return NULL;
	scan = calloc(1, sizeof(*scan));
	CHECK(scan != NULL);
	scans_open++;
	scan_data(scan, (const uint8_t *)kept.data, kept.len);
	return scan;
}

static void scan_gap(struct ps_body_scan *scan)
{
	scan->has_gap = true;
}

static void scan_free(struct ps_body_scan *scan)
{
	scans_open--;
	free(scan);
}

static const struct body_watch watch = {
    .begin_message = scan_begin, .data = scan_data, .gap = scan_gap, .free = scan_free, .context = &scans_open};

static void run_begin(struct run *run, uint8_t options)
{
	static const char *const extensions[] = {"permessage-deflate; client_max_window_bits=9",
						 "permessage-deflate; server_no_context_takeover; "
						 "client_no_context_takeover"};
	const char *extension = options & OPTION_COMPRESSED ? extensions[!!(options & OPTION_RESET)] : "";

	struct http_limits limits = {.body_bytes_max = options % 4 == 3 ? 0 : (size_t)64 << (4 * (options & 3)),
				     .watch = &watch};

	*run = (struct run){.body_bytes_max = limits.body_bytes_max};
	run->queue.exchange = &run->exchange;
	if (FUZZ_PROTOCOL == WEBSOCKET) {
		run->websocket = websocket_new((struct ps_slice){extension, strlen(extension)}, &limits);
		CHECK(run->websocket != NULL);
	} else if (FUZZ_PROTOCOL == SSE) {
		run->sse = sse_new(&limits);
		CHECK(run->sse != NULL);
		if (options >> 5 >= 1 && options >> 5 <= 4) {
			struct coding_list list = {.codings = {CODING_GZIP + (options >> 5) - 1}, .count = 1};

			run->decode = stream_decode_new(&list);
			CHECK(run->decode != NULL);
		}
	} else {
		struct grpc_coding coding = {.is_base64 = options & OPTION_BASE64,
					     .is_deflated = options & OPTION_COMPRESSED};

		run->grpc = grpc_new(options & OPTION_WEB ? PS_STREAM_GRPC_WEB : PS_STREAM_GRPC, &limits);
		CHECK(run->grpc != NULL);
		grpc_set_coding(run->grpc, STREAM_REQUEST, coding);
		grpc_set_coding(run->grpc, STREAM_RESPONSE, coding);
	}
}

static void digest(struct run *run, uint64_t number)
{
	run->digest = (run->digest ^ number) * 0x100000001b3ULL;
}

static void digest_slice(struct run *run, struct ps_slice slice)
{
	digest(run, slice.len);
	for (size_t i = 0; i < slice.len; i++)
		digest(run, (uint8_t)slice.data[i]);
}

/* Fields of nested messages are closed in the order in which they were opened. */
static void check_fields(const struct ps_stream_message *message)
{
	struct ps_protobuf_field fields[FIELDS_MAX];
	struct ps_slice kept = message->body.kept;
	int depth = 0;

	for (int is_part = 0; is_part < 2; is_part++) {
		uint32_t count = ps_protobuf_read(kept.data, kept.len, is_part, fields, FIELDS_MAX);

		CHECK(count <= FIELDS_MAX);
		for (uint32_t i = 0; i < count; i++) {
			depth += fields[i].kind == PS_PROTOBUF_MESSAGE;
			depth -= fields[i].kind == PS_PROTOBUF_END;
			CHECK(depth >= 0 && depth <= 10);
			CHECK(fields[i].bytes.len <= kept.len);
		}
		CHECK(depth == 0);
	}
}

static void check_scan(struct run *run, const struct ps_stream_message *message)
{
	const struct ps_body *body = &message->body;
	bool is_declined = (body->kept.len > 0 && body->kept.data[0] == 'n') || (message->flags & PS_STREAM_UNDECODED);

	if (body->state == PS_BODY_COMPLETE)
		CHECK(body->scan == NULL);
	if (body->state == PS_BODY_TRUNCATED)
		CHECK((body->scan == NULL) == is_declined);
	if (body->scan == NULL)
		return;
	CHECK(body->scan->len == (body->state == PS_BODY_GAP ? body->gap_offset : body->size_bytes));
	CHECK(body->scan->has_gap == (body->state == PS_BODY_GAP));
	digest(run, body->scan->digest);
}

static void check_message(struct run *run, const struct ps_stream_message *message)
{
	const struct ps_body *body = &message->body;

	check_scan(run, message);
	CHECK(body->kept.len <= body->size_bytes);
	CHECK(body->kept.len <= run->body_bytes_max || message->type >= PS_STREAM_CLOSE);
	CHECK(body->state != PS_BODY_COMPLETE || body->kept.len == body->size_bytes || run->body_bytes_max == 0);
	digest(run, message->direction);
	digest(run, message->type);
	digest(run, message->flags);
	digest(run, message->close_code);
	digest(run, message->wire_bytes);
	digest(run, message->frames);
	digest(run, body->size_bytes);
	digest(run, body->state);
	digest_slice(run, body->kept);
	digest_slice(run, message->name);
	digest_slice(run, message->event_id);
	if (message->type == PS_STREAM_MESSAGE)
		check_fields(message);
}

static void run_check(struct run *run)
{
	struct stream_message *message;
	size_t memory = run->websocket ? websocket_memory(run->websocket)
			: run->sse     ? sse_memory(run->sse)
				       : grpc_memory(run->grpc);

	CHECK(memory <= MEMORY_MAX);
	while ((message = stream_queue_pop(&run->queue)) != NULL) {
		check_message(run, &message->pub);
		stream_message_free(message);
	}
	CHECK(run->queue.bytes == 0 && run->queue.count == 0);
}

static void decoded(void *to, const uint8_t *data, size_t len)
{
	struct run *run = to;

	sse_data(run->sse, &context, data, len, &run->queue);
}

/* As src/stream_reader.c does it. */
static void feed_coded(struct run *run, const uint8_t *data, size_t len)
{
	if ((run->exchange.flags & PS_EXCHANGE_UNDECODED) || stream_decode_add(run->decode, data, len, decoded, run))
		return;
	run->exchange.flags |= PS_EXCHANGE_UNDECODED;
	sse_gap(run->sse, 0, &run->queue);
}

/* In memory of its own, so that the sanitizer sees what reads on. */
static void feed(struct run *run, enum stream_part part, const uint8_t *data, size_t len, bool begins_call)
{
	uint8_t *copy = malloc(len);

	CHECK(copy != NULL);
	memcpy(copy, data, len);
	if (run->websocket != NULL)
		websocket_data(run->websocket, part, &context, copy, len, begins_call, &run->queue);
	else if (run->decode != NULL)
		feed_coded(run, copy, len);
	else if (run->sse != NULL)
		sse_data(run->sse, &context, copy, len, &run->queue);
	else
		grpc_data(run->grpc, part, &context, copy, len, begins_call, &run->queue);
	free(copy);
	run_check(run);
}

static void gap(struct run *run, enum stream_part part, size_t len)
{
	run->has_gap = true;
	if (run->websocket != NULL)
		websocket_gap(run->websocket, part, &context, len, &run->queue);
	else if (run->sse != NULL)
		sse_gap(run->sse, len, &run->queue);
	else
		grpc_gap(run->grpc, part, len, &run->queue);
	run_check(run);
}

static void run_end(struct run *run)
{
	for (int part = 0; part < 2; part++) {
		if (run->websocket != NULL)
			websocket_end(run->websocket, (enum stream_part)part, &run->queue);
		if (run->sse != NULL)
			sse_end(run->sse, &run->queue);
		if (run->grpc != NULL)
			grpc_end(run->grpc, (enum stream_part)part, &run->queue);
	}
	run_check(run);
	digest(run, run->exchange.request_messages);
	digest(run, run->exchange.response_messages);
	websocket_free(run->websocket);
	sse_free(run->sse);
	stream_decode_free(run->decode);
	grpc_free(run->grpc);
	stream_queue_free(&run->queue);
	CHECK(scans_open == 0);
}

/* All steps of the input; cut: byte by byte. */
static struct run run_all(const uint8_t *at, const uint8_t *end, bool cut)
{
	struct run run;

	run_begin(&run, *at++);
	while (at < end) {
		enum stream_part part = *at >> 7 ? STREAM_RESPONSE : STREAM_REQUEST;
		bool is_gap = *at & 0x40;
		size_t len = *at++ & 0x3f;

		if (len == LONG_STEP && end - at >= 2) {
			len = (size_t)at[0] << 8 | at[1];
			at += 2;
		}
		if (is_gap) {
			gap(&run, part, len);
			continue;
		}
		if (len > (size_t)(end - at))
			len = (size_t)(end - at);
		for (size_t i = 0, n = cut ? 1 : len; i < len; i += n)
			feed(&run, part, at + i, n, i == 0);
		at += len;
	}
	run_end(&run);
	return run;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run whole, cut;

	if (size == 0)
		return 0;
	whole = run_all(data, data + size, false);
	cut = run_all(data, data + size, true);
	CHECK(whole.has_gap || ((whole.exchange.flags | cut.exchange.flags) & PS_EXCHANGE_UNDECODED) ||
	      whole.digest == cut.digest);
	return 0;
}
