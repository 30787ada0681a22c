/* SPDX-License-Identifier: Apache-2.0 */
/* What the text cases cannot say: memory, lifetime, and counts over many exchanges. */
#include "../../src/http1_conn.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD_MAX = 4096, BODY_MAX = 8192, PIPELINE_MAX = 16, FIELDS_BYTES = 65536, MILLION = 1000000 };

static const struct http_limits limits = {
    .head_bytes_max = HEAD_MAX, .body_bytes_max = BODY_MAX, .pipeline_max = PIPELINE_MAX};
static const struct http_context context = {.ts_ns = 1, .process = NULL};

static size_t feed(struct http1_conn *conn, int direction, const char *text)
{
	return http1_conn_data(conn, direction, &context, (const uint8_t *)text, strlen(text));
}

static void feed_times(struct http1_conn *conn, int direction, const char *text, size_t times)
{
	while (times-- > 0)
		feed(conn, direction, text);
}

static uint64_t drain(struct http1_conn *conn)
{
	uint64_t count = 0;

	while (http1_conn_next(conn).exchange != NULL)
		count++;
	return count;
}

static void test_idle(void)
{
	struct http1_conn *conn = http1_conn_new(&limits, false);
	size_t fresh = http1_conn_memory(conn);
	uint64_t count = 0;

	for (int i = 0; i < 1000; i++) {
		feed(conn, PS_IN, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
		feed(conn, PS_OUT, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
		count += drain(conn);
	}
	tap_ok(count == 1000, "a thousand exchanges on one connection");
	tap_ok(http1_conn_memory(conn) == fresh, "an idle connection holds no more than a new one");
	tap_ok(fresh <= 1024, "a new connection holds at most 1 KiB");
	http1_conn_free(conn);
}

static void test_lifetime(void)
{
	struct http1_conn *conn = http1_conn_new(&limits, false);
	char request[] = "POST /x HTTP/1.1\r\nA: b\r\nContent-Length: 2\r\n\r\nhi";
	struct ps_exchange *ex;

	feed(conn, PS_OUT, request);
	memset(request, 'z', sizeof(request));
	feed(conn, PS_IN, "HTTP/1.1 204 No Content\r\n\r\n");
	ex = http1_conn_next(conn).exchange;
	tap_ok(ex != NULL && ex->side == PS_SIDE_CLIENT, "requests that go out: the client");
	tap_ok(ex != NULL && memcmp(ex->request.target.data, "/x", 2) == 0 &&
		   memcmp(ex->request.headers[0].name.data, "A", 1) == 0 &&
		   memcmp(ex->request.body.kept.data, "hi", 2) == 0,
	       "what was fed may be overwritten");
	http1_conn_free(conn);
}

/* Passes when what a case holds at most is below a bound. */
static void peak_ok(size_t peak, size_t bound, const char *name)
{
	tap_ok(peak < bound, name);
	printf("# at most %zu bytes, %zu allowed\n", peak, bound);
}

/* Feed without end what must not pile up; the memory that is held at most. */
static size_t peak_of(const char *request, const char *response, const char *rest, int rest_direction)
{
	struct http1_conn *conn = http1_conn_new(&limits, false);
	size_t peak = 0;

	feed(conn, PS_IN, request);
	feed(conn, PS_OUT, response);
	for (int i = 0; i < 20000; i++) {
		feed(conn, rest_direction, rest);
		if (http1_conn_memory(conn) > peak)
			peak = http1_conn_memory(conn);
		drain(conn);
	}
	http1_conn_free(conn);
	return peak;
}

static void test_bounds(void)
{
	const char *get = "GET / HTTP/1.1\r\n\r\n";
	const char *chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	char text[512];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	peak_ok(peak_of(get, "HTTP/1.1 200 OK\r\n\r\n", text, PS_OUT), 2 * BODY_MAX + HEAD_MAX, "an endless body");
	peak_ok(peak_of("GET / HTTP/1.1\r\n", "", "A: b\r\n", PS_IN), 8 * HEAD_MAX + FIELDS_BYTES, "an endless head");
	peak_ok(peak_of("GET / HTTP/1.1\r\nA: ", "", text, PS_IN), 8 * HEAD_MAX, "an endless header line");
	peak_ok(peak_of("GET / HTTP/1.1\r\nA: b\r\n", "", " folded and folded\r\n", PS_IN), 8 * HEAD_MAX,
		"an endless obs-fold");
	peak_ok(peak_of("GET /", "", text, PS_IN), 8 * HEAD_MAX, "an endless request line");
	peak_ok(peak_of(get, chunked, "1;ext", PS_OUT), 4 * HEAD_MAX, "an endless chunk extension");
	peak_ok(peak_of(get, chunked, "0000000", PS_OUT), 4 * HEAD_MAX, "an endless chunk size");
	peak_ok(peak_of(get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "T: v\r\n", PS_OUT),
		8 * HEAD_MAX + FIELDS_BYTES, "endless trailers");
	peak_ok(peak_of(get, "", "HTTP/1.1 102 Processing\r\nA: b\r\n\r\n", PS_OUT), 4 * HEAD_MAX,
		"endless interim responses");
	peak_ok(peak_of(get, "", get, PS_IN), (PIPELINE_MAX + 4) * HEAD_MAX, "endless unanswered requests");
}

/* Responses whose request is unknown do not pile up behind an upload that never ends. */
static void test_orphans(void)
{
	struct http1_conn *conn = http1_conn_new(&limits, true);
	size_t peak = 0;
	uint64_t count = 0;

	feed(conn, PS_IN, "POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n"); /* gets the first one */
	for (int i = 0; i < 1000; i++) {
		const char *response = "HTTP/1.1 204 No Content\r\n\r\n";
		size_t taken = feed(conn, PS_OUT, response);

		if (response[taken] != '\0') {
			http1_conn_unblock(conn, true);
			feed(conn, PS_OUT, response + taken);
		}
		if (http1_conn_memory(conn) > peak)
			peak = http1_conn_memory(conn);
		count += drain(conn);
	}
	tap_ok(count == 999, "responses with no request are handed out at once");
	tap_ok(peak < 8 * HEAD_MAX, "and do not pile up");
	http1_conn_free(conn);
}

static void test_long_pipeline(void)
{
	struct http1_conn *conn = http1_conn_new(&limits, false);
	uint64_t paired = 0, alone = 0, orphans = 0;
	const struct ps_exchange *ex;

	feed_times(conn, PS_IN, "GET / HTTP/1.1\r\n\r\n", PIPELINE_MAX + 5);
	feed_times(conn, PS_OUT, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", PIPELINE_MAX + 5);
	while ((ex = http1_conn_next(conn).exchange) != NULL) {
		bool request = ex->flags & PS_EXCHANGE_REQUEST;
		bool response = ex->flags & PS_EXCHANGE_RESPONSE;

		paired += request && response;
		alone += request && !response;
		orphans += response && !request;
	}
	tap_ok(paired == PIPELINE_MAX && alone == 5 && orphans == 5, "requests over the limit do not shift the others");
	http1_conn_free(conn);
}

/* Many connections, on each of them half a head, as a scan or a slow-loris attack leaves them. */
static void test_half_heads(void)
{
	enum { CONNS = 100000 };
	struct http1_conn **conns = calloc(CONNS, sizeof(struct http1_conn *));
	size_t memory = 0;

	for (size_t i = 0; conns != NULL && i < CONNS; i++) {
		conns[i] = http1_conn_new(&limits, false);
		feed(conns[i], PS_IN, "POST /upload HTTP/1.1\r\nHost: a.test\r\nUser-Agent: slow\r\nContent-Len");
		memory += http1_conn_memory(conns[i]);
	}
	tap_ok(memory > 0 && memory / CONNS < 4096, "100,000 connections with half a head each: below 4 KiB each");
	printf("# %zu bytes, %zu each\n", memory, memory / CONNS);
	for (size_t i = 0; conns != NULL && i < CONNS; i++)
		http1_conn_free(conns[i]);
	free(conns);
}

/* Feeds a line of 1 MiB inside a message; what was held at most. */
static size_t feed_long_line(struct http1_conn *conn, const char *before, const char *after)
{
	enum { PIECE = 4096, PIECES = 256 };
	char piece[PIECE + 1];
	size_t peak = 0;

	memset(piece, 'x', PIECE);
	piece[PIECE] = '\0';
	feed(conn, PS_IN, before);
	for (int i = 0; i < PIECES; i++) {
		feed(conn, PS_IN, piece);
		if (http1_conn_memory(conn) > peak)
			peak = http1_conn_memory(conn);
	}
	feed(conn, PS_IN, after);
	return peak;
}

static void test_long_lines(void)
{
	struct http1_conn *conn = http1_conn_new(&limits, false);
	struct ps_exchange *ex;

	peak_ok(feed_long_line(conn, "GET /1 HTTP/1.1\r\nCookie: ", "\r\nHost: a\r\n\r\n"), 4 * HEAD_MAX,
		"a header line of 1 MiB");
	feed(conn, PS_OUT, "HTTP/1.1 431 Request Header Fields Too Large\r\n\r\n");
	http1_conn_finish(conn, PS_MESSAGE_ABORTED);
	ex = http1_conn_next(conn).exchange;
	tap_ok(ex != NULL && ex->request.flags == (PS_MESSAGE_COMPLETE | PS_MESSAGE_HEAD_CUT) &&
		   ex->request.header_count == 1 && ex->request.head_bytes > 1 << 20,
	       "is left out, and the rest of the head is read");
	http1_conn_free(conn);

	conn = http1_conn_new(&limits, false);
	peak_ok(feed_long_line(conn, "GET /", " HTTP/1.1\r\n\r\n"), 4 * HEAD_MAX, "a request line of 1 MiB");
	tap_ok(http1_conn_mode(conn) == HTTP_MODE_NOT_HTTP, "is not taken for HTTP");
	http1_conn_free(conn);
}

/* A client that never reads, and one whose answers come from nowhere. */
static void test_one_sided(void)
{
	struct http1_conn *conn = http1_conn_new(&limits, false);
	size_t peak = 0;
	uint64_t count = 0;

	for (int i = 0; i < MILLION; i++) {
		feed(conn, PS_IN, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
		if (http1_conn_memory(conn) > peak)
			peak = http1_conn_memory(conn);
		count += drain(conn);
	}
	peak_ok(peak, (PIPELINE_MAX + 4) * HEAD_MAX, "a million pipelined requests without response");
	http1_conn_finish(conn, PS_MESSAGE_ABORTED);
	tap_ok(count + drain(conn) == MILLION, "are all reported");
	http1_conn_free(conn);

	conn = http1_conn_new(&limits, false);
	peak = count = 0;
	for (int i = 0; i < MILLION; i++) {
		const char *response = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
		size_t taken = feed(conn, PS_OUT, response);

		if (response[taken] != '\0') {
			http1_conn_unblock(conn, true);
			feed(conn, PS_OUT, response + taken);
		}
		if (http1_conn_memory(conn) > peak)
			peak = http1_conn_memory(conn);
		count += drain(conn);
	}
	peak_ok(peak, 4 * HEAD_MAX, "a million responses with no request");
	tap_ok(count == MILLION, "are all reported");
	http1_conn_free(conn);
}

/* 4 GiB to the end of a connection, and a length that is never reached. */
static void test_endless_body(const char *head, const char *name)
{
	enum { PIECE = 1 << 20, PIECES = 4096 };
	struct http1_conn *conn = http1_conn_new(&limits, false);
	uint8_t *piece = calloc(1, PIECE);
	struct ps_exchange *ex;
	size_t peak;

	feed(conn, PS_IN, "GET / HTTP/1.1\r\n\r\n");
	feed(conn, PS_OUT, head);
	for (int i = 0; piece != NULL && i < PIECES; i++)
		http1_conn_data(conn, PS_OUT, &context, piece, PIECE);
	peak = http1_conn_memory(conn);
	http1_conn_finish(conn, PS_MESSAGE_UNFINISHED);
	ex = http1_conn_next(conn).exchange;
	peak_ok(peak, 2 * BODY_MAX + HEAD_MAX, name);
	tap_ok(ex != NULL && ex->response.body.size_bytes == (uint64_t)PIECE * PIECES &&
		   ex->response.body.kept.len == BODY_MAX && ex->response.flags == PS_MESSAGE_UNFINISHED,
	       "is counted whole and kept up to the limit");
	http1_conn_free(conn);
	free(piece);
}

/* Freed in every state with everything open: the sanitizers watch. */
static void test_free(void)
{
	static const char *const requests[] = {"", "GE", "GET / HTTP/1.1\r\nA",
					       "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab",
					       "GET / HTTP/1.1\r\n\r\n"};
	static const char *const responses[] = {"", "HT", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP",
						"HTTP/1.1 200 OK\r\n\r\nbody"};
	bool fed = true;

	for (int midstream = 0; midstream < 2; midstream++)
		for (size_t i = 0; i < 5; i++)
			for (size_t j = 0; j < 5; j++) {
				struct http1_conn *conn = http1_conn_new(&limits, midstream);

				fed = fed && feed(conn, PS_IN, requests[i]) == strlen(requests[i]);
				feed(conn, PS_OUT, responses[j]);
				http1_conn_free(conn);
			}
	tap_ok(fed, "connections are freed with messages open");
	http1_conn_free(NULL);
}

int main(void)
{
	test_idle();
	test_lifetime();
	test_bounds();
	test_orphans();
	test_long_pipeline();
	test_half_heads();
	test_long_lines();
	test_one_sided();
	test_endless_body("HTTP/1.1 200 OK\r\n\r\n", "a body of 4 GiB that ends with the connection");
	test_endless_body("HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n", "4 GiB of a body with a length");
	test_free();
	return tap_end();
}
