/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: one connection, driven by a small program. It is built
 * twice, for the corpora of HTTP/1 and of HTTP/2.
 *
 * Input: byte 0 is options (1 midstream, 2 small limits), then steps of one
 * command byte and its operands:
 *   bits 0-2  0..3 data, 4 gap, 5 end, 6 unblock, 7 finish
 *   bit 3     direction
 * data is followed by a two-byte length (big endian) and the bytes; gap by a
 * two-byte length.
 *
 * Besides what the sanitizers see it checks that every byte is accounted for,
 * that memory stays bounded, that what comes out is consistent in itself, and
 * that the outcome does not depend on how bytes are cut into calls.
 */
#include "../../src/http_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_MIDSTREAM = 1, OPTION_SMALL = 2 };
/* A reader of HTTP/2 at rest; and at most besides its messages: two tables of HPACK, two candidates for a frame. */
enum { HTTP2_RESTS = 1280, HTTP2_MAX = 4 * 65536 + 2 * 2048 * sizeof(void *) + 32768 };
enum { STEP_GAP = 4, STEP_END = 5, STEP_UNBLOCK = 6, STEP_FINISH = 7 };

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

struct input {
	const uint8_t *data;
	size_t len;
};

/* What a run came to, to be compared with another run of the same input. */
struct outcome {
	uint64_t digest;
	struct http_stats stats;
	uint64_t message_digest; /* messages come before exchanges that ended in the same call: each in their order */
	bool cut_matters;        /* something was lost or forced: where calls begin has a meaning */
};

struct run {
	struct http_conn *conn;
	struct http_limits limits;
	bool bytewise;
	uint64_t fed;
	struct outcome outcome;
};

static void digest_bytes(struct run *run, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++) /* FNV-1a */
		run->outcome.digest = (run->outcome.digest ^ bytes[i]) * 0x100000001b3;
}

static void digest_number(struct run *run, uint64_t number)
{
	digest_bytes(run, &number, sizeof(number));
}

static void check_slice(struct run *run, struct ps_slice slice)
{
	CHECK((slice.data == NULL) == (slice.len == 0));
	digest_number(run, slice.len);
	digest_bytes(run, slice.data, slice.len); /* reads every byte */
}

static void check_body(struct run *run, const struct ps_body *body)
{
	CHECK(body->kept.len <= run->limits.body_bytes_max);
	CHECK(body->kept.len <= body->size_bytes);
	CHECK(body->gap_bytes <= body->size_bytes);
	if (body->state == PS_BODY_COMPLETE)
		CHECK(body->kept.len == body->size_bytes && body->gap_bytes == 0);
	if (body->state == PS_BODY_TRUNCATED)
		CHECK(body->kept.len < body->size_bytes && body->gap_bytes == 0);
	if (body->state == PS_BODY_GAP)
		CHECK(body->kept.len <= body->gap_offset && body->gap_offset <= body->size_bytes);
	if (body->framing == PS_FRAMING_NONE)
		CHECK(body->size_bytes == 0);
	check_slice(run, body->kept);
	digest_number(run, body->size_bytes);
	digest_number(run, body->state);
	digest_number(run, body->framing);
}

static void check_message(struct run *run, const struct ps_message *m)
{
	uint32_t ends = m->flags & (PS_MESSAGE_COMPLETE | PS_MESSAGE_ABORTED | PS_MESSAGE_UNFINISHED |
				    PS_MESSAGE_LOST_TAIL | PS_MESSAGE_AMBIGUOUS);

	CHECK(ends != 0);
	CHECK(m->version_major == 2 ? m->version_minor == 0 : m->version_major == 1 && m->version_minor <= 9);
	CHECK(m->head_bytes <= m->wire_bytes);
	CHECK(m->first_ts_ns <= m->last_ts_ns);
	check_slice(run, m->method);
	check_slice(run, m->target);
	check_slice(run, m->reason);
	check_slice(run, m->scheme);
	check_slice(run, m->authority);
	check_slice(run, m->protocol);
	for (uint32_t i = 0; i < m->header_count; i++) {
		check_slice(run, m->headers[i].name);
		check_slice(run, m->headers[i].value);
	}
	for (uint32_t i = 0; i < m->trailer_count; i++) {
		check_slice(run, m->trailers[i].name);
		check_slice(run, m->trailers[i].value);
	}
	check_body(run, &m->body);
	digest_number(run, m->flags);
	digest_number(run, m->status);
	digest_number(run, m->wire_bytes);
}

static void check_exchange(struct run *run, const struct ps_exchange *ex)
{
	if (!(ex->flags & (PS_EXCHANGE_REQUEST | PS_EXCHANGE_RESPONSE)))
		CHECK(ex->protocol == PS_STREAM_WEBSOCKET && (ex->flags & PS_EXCHANGE_MIDSTREAM));
	CHECK(ex->side == PS_SIDE_CLIENT || ex->side == PS_SIDE_SERVER);
	if (ex->flags & PS_EXCHANGE_REQUEST)
		check_message(run, &ex->request);
	else
		run->outcome.cut_matters = true; /* a response with no request may turn out to have no body */
	if (ex->flags & PS_EXCHANGE_RESPONSE) {
		CHECK(ex->response.status >= 200 || ex->response.status == 101 || ex->response.version_major == 2);
		check_message(run, &ex->response);
	}
	if (ex->flags & PS_EXCHANGE_UNDECODED)
		run->outcome.cut_matters = true;
	digest_number(run, ex->flags);
	digest_number(run, ex->interim_count);
	digest_number(run, ex->stream_id);
}

static void check_stream_message(struct run *run, const struct ps_stream_message *message)
{
	uint64_t exchanges;

	CHECK(message->body.kept.len <= message->body.size_bytes);
	CHECK(message->body.kept.len <= run->limits.body_bytes_max || message->type >= PS_STREAM_CLOSE);
	exchanges = run->outcome.digest;
	run->outcome.digest = run->outcome.message_digest;
	digest_number(run, message->type);
	digest_number(run, message->direction);
	digest_number(run, message->body.size_bytes);
	digest_number(run, message->flags);
	run->outcome.message_digest = run->outcome.digest;
	run->outcome.digest = exchanges;
	if (message->flags & PS_STREAM_AFTER_GAP)
		run->outcome.cut_matters = true; /* where a message begins was looked for at the beginnings of calls */
}

static size_t message_bound(const struct run *run)
{
	return 1024 + 2 * (6 * run->limits.head_bytes_max + 8192) + run->limits.body_bytes_max + 8192 +
	       2 * 2048 * sizeof(struct ps_header);
}

static void check_run(struct run *run)
{
	struct http_stats s;
	struct http_item item;

	while ((item = http_conn_next(run->conn)).exchange != NULL) {
		if (item.kind == PS_ITEM_EXCHANGE)
			check_exchange(run, item.exchange);
		else if (item.kind == PS_ITEM_MESSAGE)
			check_stream_message(run, item.message);
	}
	s = http_conn_stats(run->conn);
	CHECK(s.message_bytes + s.tunnel_bytes + s.skipped_bytes + s.gap_bytes == run->fed);
	CHECK(http_conn_memory(run->conn) <= HTTP2_MAX + 2 * (run->limits.pipeline_max + 2) * message_bound(run));
}

static size_t take_number(struct input *in)
{
	size_t number = in->len >= 2 ? (size_t)in->data[0] << 8 | in->data[1] : in->len;
	size_t used = in->len >= 2 ? 2 : in->len;

	in->data += used;
	in->len -= used;
	return number;
}

/* What the parser does not take is dropped: a caller that cannot wait. */
static void step_data(struct run *run, int direction, const struct http_context *ctx, const uint8_t *data, size_t len)
{
	size_t piece = run->bytewise ? 1 : len;

	for (size_t i = 0; i < len; i += piece) {
		/* a fresh allocation: reading past the end is seen */
		uint8_t *copy = malloc(piece);
		size_t taken;

		CHECK(copy != NULL);
		memcpy(copy, data + i, piece);
		taken = http_conn_data(run->conn, direction, ctx, copy, piece);
		free(copy);
		CHECK(taken <= piece);
		run->fed += taken;
		check_run(run);
		if (taken < piece)
			return;
	}
}

static bool step(struct run *run, struct input *in, uint64_t now)
{
	uint8_t command = in->data[0];
	int direction = command >> 3 & 1;
	struct ps_process process = {.tgid = 1};
	struct http_context ctx = {.ts_ns = now, .process = &process};
	size_t len;

	in->data++;
	in->len--;
	switch (command & 7) {
	case STEP_GAP:
		len = take_number(in);
		http_conn_gap(run->conn, direction, &ctx, len);
		run->fed += len;
		run->outcome.cut_matters = true;
		break;
	case STEP_END:
		http_conn_end(run->conn, direction, &ctx);
		break;
	case STEP_UNBLOCK:
		http_conn_unblock(run->conn, true);
		break;
	case STEP_FINISH:
		return false;
	default:
		len = take_number(in);
		len = len < in->len ? len : in->len;
		step_data(run, direction, &ctx, in->data, len);
		in->data += len;
		in->len -= len;
		break;
	}
	check_run(run);
	return true;
}

static struct outcome run_input(struct input in, bool bytewise)
{
	uint8_t options = in.data[0];
	struct run run = {.bytewise = bytewise,
			  .limits = {.head_bytes_max = 4096, .body_bytes_max = 1024, .pipeline_max = 16}};
	size_t fresh;

	if (options & OPTION_SMALL)
		run.limits = (struct http_limits){.head_bytes_max = 64, .body_bytes_max = 8, .pipeline_max = 2};
	run.conn = http_conn_new(&run.limits, options & OPTION_MIDSTREAM);
	CHECK(run.conn != NULL);
	fresh = http_conn_memory(run.conn);
	in.data++;
	in.len--;
	for (uint64_t now = 1; in.len > 0 && step(&run, &in, now); now++)
		;
	http_conn_finish(run.conn, options & OPTION_MIDSTREAM ? PS_MESSAGE_UNFINISHED : PS_MESSAGE_ABORTED);
	check_run(&run);
	CHECK(http_conn_memory(run.conn) <= fresh + HTTP2_RESTS);
	run.outcome.stats = http_conn_stats(run.conn);
	run.outcome.cut_matters |= run.outcome.stats.parse_errors > 0 || (options & OPTION_MIDSTREAM);
	http_conn_free(run.conn);
	return run.outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input in = {data, len};
	struct outcome whole, bytewise;

	if (len == 0)
		return 0;
	whole = run_input(in, false);
	bytewise = run_input(in, true);
	if (!whole.cut_matters && !bytewise.cut_matters) {
		CHECK(whole.digest == bytewise.digest);
		CHECK(whole.message_digest == bytewise.message_digest);
		CHECK(memcmp(&whole.stats, &bytewise.stats, sizeof(whole.stats)) == 0);
	}
	return 0;
}
