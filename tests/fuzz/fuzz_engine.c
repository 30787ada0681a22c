/* SPDX-License-Identifier: Apache-2.0 */
/*
 * src/engine.c under libFuzzer: records of a few connections in any order,
 * with holes, overlaps, short captures and lies about positions.
 *
 * The input is a list of steps, see step(). Whatever it is, nothing may crash,
 * memory stays within its limits, and struct ps_capture_stats adds up.
 */
#include "../../src/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNS = 4, CONNS_MAX = 3, HELD_BYTES_MAX = 4096, HEAD_MAX = 512, BODY_MAX = 256, PIPELINE_MAX = 4 };
/* What one connection may take: two heads or bodies per exchange, as many exchanges as may wait. */
enum { MEMORY_MAX = 1 << 20 };

static const char *const pieces[] = {
    "GET / HTTP/1.1\r\n",
    "HEAD /h HTTP/1.1\r\n\r\n",
    "POST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
    "PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "CONNECT h:1 HTTP/1.1\r\n\r\n",
    "GET /u HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.0 200 OK\r\n\r\n",
    "Content-Length: 7\r\n",
    "\r\n",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "hello",
    "\x16\x03\x01\x02",
};

enum { PIECES = sizeof(pieces) / sizeof(*pieces) };

/* The input, read from its beginning; zeros after its end. */
struct input {
	const uint8_t *data;
	size_t len;
};

struct source {
	struct engine *engine;
	uint64_t now_ns;
	uint64_t pos[CONNS][2]; /* end of what was sent so far */
	uint64_t generation[CONNS];
};

static uint8_t take(struct input *input)
{
	if (input->len == 0)
		return 0;
	input->len--;
	return *input->data++;
}

extern volatile uint8_t touched;
volatile uint8_t touched;

/* Read all of it, for the sanitizer's sake. */
static void touch(struct ps_slice slice)
{
	for (size_t i = 0; i < slice.len; i++)
		touched ^= (uint8_t)slice.data[i];
}

static void touch_message(const struct ps_message *message)
{
	touch(message->method);
	touch(message->target);
	touch(message->reason);
	touch(message->body.kept);
	for (uint32_t i = 0; i < message->header_count; i++) {
		touch(message->headers[i].name);
		touch(message->headers[i].value);
	}
}

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}

static void check(struct engine *engine)
{
	const struct ps_item *item;
	struct ps_capture_stats s;

	while ((item = engine_next(engine)) != NULL) {
		touch(item->exchange->unix_path);
		touch_message(&item->exchange->request);
		touch_message(&item->exchange->response);
		if (item->message != NULL)
			touch(item->message->body.kept);
		must((item->message != NULL) == (item->kind == PS_ITEM_MESSAGE), "kind of item");
	}
	s = engine_stats(engine);
	must(s.data_bytes == s.message_bytes + s.tunnel_bytes + s.skipped_bytes + s.uncaptured_bytes + s.overlap_bytes +
				 s.waiting_bytes + s.dropped_bytes,
	     "sum of data_bytes");
	must(engine_waiting(engine) || s.waiting_bytes == 0, "waiting_bytes");
	must(s.conns <= CONNS_MAX, "conns_max");
	must(engine_memory(engine) <= MEMORY_MAX, "memory");
}

static void submit(struct source *source, const struct ps_event *event, const void *payload, size_t size)
{
	uint8_t *record = malloc(sizeof(*event) + size);

	if (!record)
		abort();
	memcpy(record, event, sizeof(*event));
	if (size > 0)
		memcpy(record + sizeof(*event), payload, size);
	engine_record(source->engine, record, sizeof(*event) + size);
	free(record);
	check(source->engine);
}

/* Connections 0 and 3 are TCP, 1 is TCP met in its middle, 2 is AF_UNIX. */
static struct ps_event event_of(const struct source *source, int c, int d)
{
	static const uint16_t flags[CONNS] = {PS_EVENT_KERNEL_POS, PS_EVENT_KERNEL_POS | PS_EVENT_MIDSTREAM, 0,
					      PS_EVENT_KERNEL_POS};

	return (struct ps_event){
	    .ts_ns = source->now_ns,
	    .conn_id = source->generation[c],
	    .sock = (uint64_t)c + 1,
	    .pos = source->pos[c][d],
	    .other_pos = source->pos[c][!d],
	    .type = PS_EVENT_DATA,
	    .direction = (uint8_t)d,
	    .flags = flags[c],
	    .process = {.tgid = (uint32_t)c / 2},
	    .local = {.family = c == 2 ? PS_FAMILY_UNIX : PS_FAMILY_INET},
	};
}

/* Some pieces of HTTP, or bytes of the input. */
static size_t payload_of(struct input *input, uint8_t *payload, size_t max)
{
	size_t len = 0;

	for (int count = 1 + take(input) % 4; count > 0; count--) {
		uint8_t choice = take(input);

		if (choice < 0xf0) {
			const char *piece = pieces[choice % PIECES];
			size_t n = strlen(piece) < max - len ? strlen(piece) : max - len;

			memcpy(payload + len, piece, n);
			len += n;
			continue;
		}
		for (int n = choice & 15; n >= 0 && len < max; n--)
			payload[len++] = take(input);
	}
	return len;
}

enum step {
	STEP_DATA = 0, /* to 7: in order */
	STEP_SHIFTED = 8,
	STEP_SHORT = 9,
	STEP_UNSEEN = 10,
	STEP_END = 11,
	STEP_CLOSE = 12,
	STEP_OTHER = 13,
	STEP_TIME = 14,
	STEP_RAW = 15
};

static void step_data(struct source *source, struct input *input, int c, int d, enum step kind)
{
	uint8_t payload[1024];
	struct ps_event event = event_of(source, c, d);
	size_t size = payload_of(input, payload, sizeof(payload));

	event.len = event.captured_len = (uint32_t)size;
	if (kind == STEP_SHIFTED)
		event.pos += (uint64_t)(int64_t)(int8_t)take(input);
	if (kind == STEP_SHORT) {
		event.captured_len = (uint32_t)size * take(input) / 256;
		size = event.captured_len;
	}
	if (kind == STEP_UNSEEN)
		event.other_pos += take(input);
	/* Also when shifted, so that a later record can fill the hole. */
	if (kind != STEP_SHIFTED || (take(input) & 1))
		source->pos[c][d] += event.len;
	submit(source, &event, payload, size);
}

static void step_other(struct source *source, struct input *input, struct ps_event event, int c)
{
	uint8_t choice = take(input);

	if (choice & 1) {
		event.type = PS_EVENT_EXIT;
		submit(source, &event, NULL, 0);
	} else if (choice & 2) {
		event.type = PS_EVENT_PATH;
		event.captured_len = 4;
		submit(source, &event, choice & 4 ? "\0abc" : "/a\0b", 4);
	} else {
		source->generation[c]++; /* the kernel reuses the sock */
		source->pos[c][0] = source->pos[c][1] = 0;
	}
}

/* A header with bytes of the input in it. */
static void step_raw(struct source *source, struct input *input, struct ps_event event)
{
	uint8_t *bytes = (uint8_t *)&event;
	uint8_t payload[64] = {0};
	size_t size;

	for (int count = take(input) % 8; count >= 0; count--) {
		size_t at = take(input) % 60; /* up to flags and fd */

		bytes[at] = take(input);
	}
	event.ts_ns = source->now_ns;
	size = take(input) % sizeof(payload);
	submit(source, &event, payload, size);
}

static void step(struct source *source, struct input *input)
{
	uint8_t op = take(input);
	int c = op & 3, d = op >> 2 & 1;
	enum step kind = (enum step)(op >> 3 & 15);
	struct ps_event event = event_of(source, c, d);

	source->now_ns += 1000000;
	switch (kind) {
	case STEP_END:
	case STEP_CLOSE:
		event.type = kind == STEP_END ? PS_EVENT_END : PS_EVENT_CLOSE;
		if (kind == STEP_CLOSE) {
			event.pos = source->pos[c][PS_IN];
			event.other_pos = source->pos[c][PS_OUT];
		}
		event.pos += take(input) & 15;
		submit(source, &event, NULL, 0);
		break;
	case STEP_OTHER:
		step_other(source, input, event, c);
		break;
	case STEP_TIME:
		source->now_ns += take(input) * 1000000ULL;
		engine_tick(source->engine, source->now_ns);
		check(source->engine);
		break;
	case STEP_RAW:
		step_raw(source, input, event);
		break;
	default:
		step_data(source, input, c, d, kind);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct engine_options options = {
	    .http = {.head_bytes_max = HEAD_MAX, .body_bytes_max = BODY_MAX, .pipeline_max = PIPELINE_MAX},
	    .conns_max = CONNS_MAX,
	    .held_bytes_max = HELD_BYTES_MAX,
	};
	struct source source = {.engine = engine_new(&options), .now_ns = 1000000000};
	struct input input = {data, size};
	struct ps_capture_stats stats;

	if (!source.engine)
		abort();
	while (input.len > 0)
		step(&source, &input);
	engine_finish(source.engine);
	check(source.engine);
	stats = engine_stats(source.engine);
	must(stats.waiting_bytes == 0 && stats.conns == 0 && !engine_waiting(source.engine), "end");
	engine_free(source.engine);
	return 0;
}
