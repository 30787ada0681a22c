/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast src/http1*.c is: exchanges and bytes per second on one core.
 * Each line is one shape of traffic, fed in calls as applications make them.
 * Usage: bench_http1 [NAME], where NAME is the beginning of a shape's name.
 */
#include "../../src/http1_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SECONDS_NS = 1000000000, RUN_NS = 700000000, BATCH = 256 };

struct shape {
	const char *name;
	const char *request;
	const char *response_head;
	size_t body_bytes; /* of the response, after its head */
	size_t chunk_len;  /* the body comes in chunks of so many bytes; 0: it has a length */
	size_t call_bytes; /* largest call */
};

static const char small_request[] = "GET /index.html HTTP/1.1\r\nHost: example.test\r\n\r\n";
static const char small_response[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";

static const char browser_request[] =
    "GET /static/js/app.4f2a.js HTTP/1.1\r\n"
    "Host: www.example.test\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: */*\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Referer: https://www.example.test/account/orders?page=3\r\n"
    "Connection: keep-alive\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes\r\n"
    "Sec-Fetch-Dest: script\r\n"
    "Sec-Fetch-Mode: no-cors\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "\r\n";
static const char browser_response[] = "HTTP/1.1 200 OK\r\n"
				       "Server: nginx\r\n"
				       "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
				       "Content-Type: application/javascript\r\n"
				       "Content-Length: 1024\r\n"
				       "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
				       "Connection: keep-alive\r\n"
				       "ETag: \"65920080-400\"\r\n"
				       "Cache-Control: max-age=3600\r\n"
				       "Accept-Ranges: bytes\r\n"
				       "\r\n";
static const char unmodified_response[] = "HTTP/1.1 304 Not Modified\r\n"
					  "Server: nginx\r\n"
					  "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
					  "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
					  "Connection: keep-alive\r\n"
					  "ETag: \"65920080-400\"\r\n"
					  "\r\n";
static const char chunked_response[] = "HTTP/1.1 200 OK\r\n"
				       "Content-Type: application/json\r\n"
				       "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
				       "Transfer-Encoding: chunked\r\n"
				       "\r\n";
static const char large_response[] = "HTTP/1.1 200 OK\r\nContent-Length: 16777216\r\n\r\n";

static const struct shape shapes[] = {
    {"small", small_request, small_response, 2, 0, 65536},
    {"heads only", browser_request, unmodified_response, 0, 0, 65536},
    {"browser, 1 KiB", browser_request, browser_response, 1024, 0, 65536},
    {"8 chunks of 1 KiB", browser_request, chunked_response, 8192, 1024, 65536},
    {"download, 16 MiB", small_request, large_response, 16777216, 0, 65536},
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECONDS_NS + (uint64_t)ts.tv_nsec;
}

static void feed(struct http1_conn *conn, int direction, const uint8_t *data, size_t len, size_t call_bytes)
{
	static const struct ps_process process = {.tgid = 1};
	const struct http_context ctx = {.ts_ns = 1, .process = &process};

	for (size_t i = 0; i < len; i += call_bytes) {
		size_t piece = len - i < call_bytes ? len - i : call_bytes;

		if (http1_conn_data(conn, direction, &ctx, data + i, piece) != piece)
			abort();
	}
}

/* The response as it is on the wire, to be freed by the caller. */
static uint8_t *response_new(const struct shape *shape, size_t *len)
{
	size_t head = strlen(shape->response_head);
	size_t chunks = shape->chunk_len ? shape->body_bytes / shape->chunk_len : 0;
	uint8_t *response = malloc(head + shape->body_bytes + 32 * (chunks + 1));
	uint8_t *at = response + head;

	if (response == NULL)
		abort();
	memcpy(response, shape->response_head, head);
	if (chunks == 0) {
		memset(at, 'x', shape->body_bytes);
		at += shape->body_bytes;
	}
	for (size_t i = 0; i < chunks; i++) {
		at += sprintf((char *)at, "%zx\r\n", shape->chunk_len);
		memset(at, 'x', shape->chunk_len);
		at = mempcpy(at + shape->chunk_len, "\r\n", 2);
	}
	if (chunks > 0)
		at = mempcpy(at, "0\r\n\r\n", 5);
	*len = (size_t)(at - response);
	return response;
}

static void run(const struct shape *shape)
{
	const struct http_limits limits = {.head_bytes_max = 65536, .body_bytes_max = 4096, .pipeline_max = 64};
	struct http1_conn *conn = http1_conn_new(&limits, false);
	size_t request_len = strlen(shape->request);
	size_t response_len;
	uint8_t *response = response_new(shape, &response_len);
	uint64_t batch = shape->body_bytes > 65536 ? 1 : BATCH;
	uint64_t begin, elapsed, exchanges = 0, paired = 0;
	const struct ps_exchange *ex;

	if (conn == NULL)
		abort();
	begin = now_ns();
	do {
		for (uint64_t i = 0; i < batch; i++) {
			feed(conn, PS_IN, (const uint8_t *)shape->request, request_len, shape->call_bytes);
			feed(conn, PS_OUT, response, response_len, shape->call_bytes);
			while ((ex = http1_conn_next(conn).exchange) != NULL)
				paired += ex->response.flags == PS_MESSAGE_COMPLETE;
			exchanges++;
		}
		elapsed = now_ns() - begin;
	} while (elapsed < RUN_NS);
	if (paired != exchanges)
		abort();
	printf("%-18s %10.0f exchanges/s %10.1f MB/s\n", shape->name, (double)exchanges * 1e9 / (double)elapsed,
	       (double)(exchanges * (request_len + response_len)) * 1e3 / (double)elapsed);
	http1_conn_free(conn);
	free(response);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (argc < 2 || strncmp(shapes[i].name, argv[1], strlen(argv[1])) == 0)
			run(&shapes[i]);
	return 0;
}
