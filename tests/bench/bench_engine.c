/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast src/ is from record to exchange, on one core: requests of 200 bytes,
 * responses of 250, as records that lie in memory. Each line is one way in
 * which clients use connections. Then messages of a WebSocket and events of an
 * event stream, of 96 bytes each, and the memory of a connection that is idle
 * between two requests.
 *
 * With arguments, WHAT COUNT, it handles so many and prints nothing, so that the
 * CPU time of two builds, or of two kinds of work, can be compared by others:
 * WHAT is exchanges, messages, events or coded-events (gzip).
 */
#include "../../src/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

enum { SECOND_NS = 1000000000, RUN_NS = 500000000, BATCH = 256, RUNS = 5 };

static const char request[] = "GET /api/v1/items/17?fields=name,price HTTP/1.1\r\n"
			      "Host: shop.example.test\r\n"
			      "User-Agent: curl/7.88.1\r\n"
			      "Accept: application/json\r\n"
			      "Accept-Encoding: gzip\r\n"
			      "X-Request-Id: 6f1c2d3e4b5a69788796a5b4c3d2e1f0\r\n"
			      "\r\n";
static const char response[] = "HTTP/1.1 200 OK\r\n"
			       "Server: nginx\r\n"
			       "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
			       "Content-Type: application/json\r\n"
			       "Content-Length: 96\r\n"
			       "Connection: keep-alive\r\n"
			       "\r\n"
			       "{\"id\":17,\"name\":\"A thing that is sold here\",\"price\":{\"amount\":1999,"
			       "\"currency\":\"EUR\"},\"stock\":4711}";

enum { REQUEST_LEN = sizeof(request) - 1, RESPONSE_LEN = sizeof(response) - 1 };

static const struct engine_options options = {
    .http = {.head_bytes_max = 262144, .body_bytes_max = 65536, .pipeline_max = 1024},
    .conns_max = 65536,
    .held_bytes_max = 16777216,
};

struct record {
	struct ps_event event;
	char data[512];
};

/* A server's view of one connection: records in and out, and its end. */
struct traffic {
	struct record in, out;
	struct ps_event end, close;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND_NS + (uint64_t)ts.tv_nsec;
}

static void record_init(struct record *record, int direction, const char *data, size_t len)
{
	record->event = (struct ps_event){.type = PS_EVENT_DATA,
					  .direction = (uint8_t)direction,
					  .len = (uint32_t)len,
					  .captured_len = (uint32_t)len,
					  .flags = PS_EVENT_KERNEL_POS,
					  .process = {.tgid = 1},
					  .local = {.family = PS_FAMILY_INET},
					  .remote = {.family = PS_FAMILY_INET}};
	memcpy(record->data, data, len);
}

static void traffic_init(struct traffic *traffic)
{
	memset(traffic, 0, sizeof(*traffic));
	record_init(&traffic->in, PS_IN, request, REQUEST_LEN);
	record_init(&traffic->out, PS_OUT, response, RESPONSE_LEN);
	traffic->end = traffic->close = traffic->out.event;
	traffic->end.type = PS_EVENT_END;
	traffic->close.type = PS_EVENT_CLOSE;
	traffic->end.len = traffic->end.captured_len = traffic->close.len = traffic->close.captured_len = 0;
}

static void name(struct ps_event *event, uint64_t id)
{
	event->conn_id = id;
	event->sock = 0xffff888000000000ULL + 2176 * id;
	event->ts_ns += 1000;
}

/* The nth exchange of connection id. */
static void exchange(struct engine *engine, struct traffic *traffic, uint64_t id, uint64_t n)
{
	name(&traffic->in.event, id);
	name(&traffic->out.event, id);
	traffic->in.event.pos = n * REQUEST_LEN;
	traffic->in.event.other_pos = traffic->out.event.pos = n * RESPONSE_LEN;
	traffic->out.event.other_pos = (n + 1) * REQUEST_LEN;
	engine_record(engine, &traffic->in, sizeof(struct ps_event) + REQUEST_LEN);
	engine_record(engine, &traffic->out, sizeof(struct ps_event) + RESPONSE_LEN);
}

static void close_conn(struct engine *engine, struct traffic *traffic, uint64_t id)
{
	name(&traffic->end, id);
	name(&traffic->close, id);
	traffic->end.pos = traffic->close.other_pos = RESPONSE_LEN;
	traffic->end.other_pos = traffic->close.pos = REQUEST_LEN;
	engine_record(engine, &traffic->end, sizeof(struct ps_event));
	engine_record(engine, &traffic->close, sizeof(struct ps_event));
}

static uint64_t drain(struct engine *engine)
{
	const struct ps_item *item;
	uint64_t count = 0;

	while ((item = engine_next(engine)) != NULL)
		count += item->exchange->response.status == 200;
	return count;
}

/* conns: connections in turn; 0: a new one for each exchange. Returns exchanges per second. */
static double run(uint64_t conns)
{
	struct engine *engine = engine_new(&options);
	struct traffic traffic;
	uint64_t begin = now_ns(), elapsed, exchanges = 0, paired = 0;

	if (!engine)
		abort();
	traffic_init(&traffic);
	do {
		for (uint64_t i = 0; i < BATCH; i++, exchanges++) {
			uint64_t id = 1 + (conns ? exchanges % conns : exchanges);

			exchange(engine, &traffic, id, conns ? exchanges / conns : 0);
			if (!conns)
				close_conn(engine, &traffic, id);
			paired += drain(engine);
		}
		elapsed = now_ns() - begin;
	} while (elapsed < RUN_NS);
	if (paired != exchanges || engine_stats(engine).forced > 0)
		abort();
	engine_free(engine);
	return (double)exchanges * SECOND_NS / (double)elapsed;
}

static void report(const char *title, uint64_t conns)
{
	double best = 0;

	for (int i = 0; i < RUNS; i++) { /* the best one: other work on the machine only takes away */
		double rate = run(conns);

		best = rate > best ? rate : best;
	}
	printf("%-36s %9.0f exchanges/s %7.1f MB/s\n", title, best, best * (REQUEST_LEN + RESPONSE_LEN) / 1e6);
}

static void report_memory(void)
{
	enum { CONNS = 10000 };
	struct engine *engine = engine_new(&options);
	struct traffic traffic;

	if (!engine)
		abort();
	traffic_init(&traffic);
	for (uint64_t id = 1; id <= CONNS; id++) {
		exchange(engine, &traffic, id, 0);
		drain(engine);
	}
	printf("%-36s %9zu bytes\n", "idle keep-alive connection", engine_memory(engine) / CONNS);
	engine_free(engine);
}

/* --- messages --------------------------------------------------------------- */

enum { PAYLOAD_LEN = 96, LONG_COUNT = 200000, STREAM_EVENTS = 5000 };

static const char upgrade_request[] = "GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
static const char upgrade_response[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
static const char events_request[] = "GET /events HTTP/1.1\r\n\r\n";
static const char events_response[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
static const char coded_response[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n";

/* A connection that is written to record by record. */
struct writer {
	struct engine *engine;
	struct record record;
	uint64_t id; /* of the connection */
	uint64_t pos[2];
	uint64_t items; /* messages that came out */
};

static void writer_send(struct writer *writer, int direction, const void *data, size_t len)
{
	struct ps_event *event = &writer->record.event;
	uint64_t ts_ns = event->ts_ns;
	const struct ps_item *item;

	record_init(&writer->record, direction, data, len);
	event->ts_ns = ts_ns;
	name(event, writer->id);
	event->pos = writer->pos[direction];
	event->other_pos = writer->pos[!direction];
	writer->pos[direction] += len;
	engine_record(writer->engine, event, sizeof(*event) + len);
	while ((item = engine_next(writer->engine)) != NULL)
		writer->items += item->kind == PS_ITEM_MESSAGE;
}

static void websocket_messages(struct writer *writer, uint64_t count)
{
	uint8_t masked[6 + PAYLOAD_LEN] = {0x81, 0x80 | PAYLOAD_LEN, 1, 2, 3, 4}, plain[2 + PAYLOAD_LEN];

	plain[0] = 0x81;
	plain[1] = PAYLOAD_LEN;
	memset(plain + 2, 'x', PAYLOAD_LEN);
	for (int i = 0; i < PAYLOAD_LEN; i++)
		masked[6 + i] = 'x' ^ masked[2 + i % 4];
	writer->id = 1;
	writer_send(writer, PS_IN, upgrade_request, sizeof(upgrade_request) - 1);
	writer_send(writer, PS_OUT, upgrade_response, sizeof(upgrade_response) - 1);
	for (uint64_t i = 0; i < count; i++)
		writer_send(writer, i % 2 ? PS_OUT : PS_IN, i % 2 ? plain : masked,
			    i % 2 ? sizeof(plain) : sizeof(masked));
}

/* Events of one stream, made before they are counted; coded: flushed after each. */
struct event_stream {
	uint8_t bytes[STREAM_EVENTS * (PAYLOAD_LEN + 32)];
	size_t end[STREAM_EVENTS];
};

static void stream_make(struct event_stream *stream, bool is_coded)
{
	z_stream z = {.next_out = stream->bytes, .avail_out = sizeof(stream->bytes)};
	char event[PAYLOAD_LEN + 16];
	size_t at = 0;

	deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
	for (uint32_t i = 0; i < STREAM_EVENTS; i++) {
		size_t len = (size_t)snprintf(event, sizeof(event), "data: %0*u\n\n", PAYLOAD_LEN, i * 2654435761U);

		z.next_in = (Bytef *)event;
		z.avail_in = (uInt)len;
		if (is_coded)
			deflate(&z, Z_SYNC_FLUSH);
		else
			memcpy(stream->bytes + at, event, len);
		at = is_coded ? z.total_out : at + len;
		stream->end[i] = at;
	}
	deflateEnd(&z);
}

static void events(struct writer *writer, uint64_t count, bool is_coded)
{
	static struct event_stream stream;
	const char *head = is_coded ? coded_response : events_response;
	size_t at = 0;

	stream_make(&stream, is_coded);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t nth = i % STREAM_EVENTS;

		if (nth == 0) {
			writer->id++;
			writer->pos[0] = writer->pos[1] = at = 0;
			writer_send(writer, PS_IN, events_request, sizeof(events_request) - 1);
			writer_send(writer, PS_OUT, head, strlen(head));
		}
		writer_send(writer, PS_OUT, stream.bytes + at, stream.end[nth] - at);
		at = stream.end[nth];
	}
}

/* Returns whether there is work of that name. */
static bool messages(const char *what, uint64_t count)
{
	struct writer writer = {.engine = engine_new(&options)};
	bool is_known = true;

	if (!writer.engine)
		abort();
	if (strcmp(what, "messages") == 0)
		websocket_messages(&writer, count);
	else if (strcmp(what, "events") == 0 || strcmp(what, "coded-events") == 0)
		events(&writer, count, what[0] == 'c');
	else
		is_known = false;
	if (is_known && writer.items != count)
		abort();
	engine_free(writer.engine);
	return is_known;
}

static void report_messages(const char *title, const char *what)
{
	uint64_t best_ns = UINT64_MAX;

	for (int i = 0; i < RUNS; i++) {
		uint64_t begin = now_ns(), elapsed;

		messages(what, LONG_COUNT);
		elapsed = now_ns() - begin;
		best_ns = elapsed < best_ns ? elapsed : best_ns;
	}
	printf("%-36s %9.0f messages/s\n", title, (double)LONG_COUNT * SECOND_NS / (double)best_ns);
}

/* One keep-alive connection. */
static void exchanges(uint64_t count)
{
	struct engine *engine = engine_new(&options);
	struct traffic traffic;
	uint64_t paired = 0;

	if (!engine)
		abort();
	traffic_init(&traffic);
	for (uint64_t i = 0; i < count; i++) {
		exchange(engine, &traffic, 1, i);
		paired += drain(engine);
	}
	if (paired != count)
		abort();
	engine_free(engine);
}

static int run_named(const char *what, uint64_t count)
{
	if (strcmp(what, "exchanges") == 0) {
		exchanges(count);
		return 0;
	}
	if (messages(what, count))
		return 0;
	fprintf(stderr, "bench_engine: %s: exchanges, messages, events or coded-events expected\n", what);
	return 2;
}

int main(int argc, char **argv)
{
	if (argc == 3)
		return run_named(argv[1], strtoull(argv[2], NULL, 10));
	report("one keep-alive connection", 1);
	report("1,000 keep-alive connections", 1000);
	report("50,000 keep-alive connections", 50000);
	report("a connection for each exchange", 0);
	report_messages("messages of a WebSocket", "messages");
	report_messages("events", "events");
	report_messages("events, gzip", "coded-events");
	report_memory();
	return 0;
}
