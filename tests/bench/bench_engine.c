/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast src/ is from record to exchange, on one core: requests of 200 bytes,
 * responses of 250, as records that lie in memory. Each line is one way in
 * which clients use connections. Then the memory of a connection that is idle
 * between two requests.
 */
#include "../../src/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
    .http1 = {.head_bytes_max = 262144, .body_bytes_max = 65536, .pipeline_max = 1024},
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
	const struct ps_exchange *ex;
	uint64_t count = 0;

	while ((ex = engine_next(engine)) != NULL)
		count += ex->response.status == 200;
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

int main(void)
{
	report("one keep-alive connection", 1);
	report("1,000 keep-alive connections", 1000);
	report("50,000 keep-alive connections", 50000);
	report("a connection for each exchange", 0);
	report_memory();
	return 0;
}
