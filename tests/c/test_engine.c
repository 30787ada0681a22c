/* SPDX-License-Identifier: Apache-2.0 */
/*
 * src/engine.c and src/conn.c: records built by hand, in every order.
 *
 * Exchanges are compared as text, "GET /a>200 GET /b>-": the request or "-",
 * the response or "-". After a message: A aborted, U unfinished, L lost tail,
 * +N a body with N bytes missing; after an exchange: M midstream, G after a
 * gap, T tunnel. The identity of struct ps_capture_stats is checked after each
 * record.
 */
#include "../../src/engine.h"
#include "tap.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MS         1000000ULL
#define REQUEST_A  "GET /a HTTP/1.1\r\n\r\n"
#define REQUEST_B  "GET /b HTTP/1.1\r\n\r\n"
#define RESPONSE   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define RESPONSE_2 "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"

enum {
	REQUEST_LEN = sizeof(REQUEST_A) - 1,
	RESPONSE_LEN = sizeof(RESPONSE) - 1,
	RESPONSE_2_LEN = sizeof(RESPONSE_2) - 1
};
enum { TCP = PS_EVENT_KERNEL_POS, MID = PS_EVENT_MIDSTREAM };

/* One record. Zero means: data, received, in full, AF_INET, connection 1 of process 1, at the present time. */
struct record {
	int type;
	int direction;
	uint64_t pos, other_pos;
	const char *data;
	uint32_t len; /* when it is not that of data */
	int flags;
	uint64_t id;
	uint64_t sock;
	uint32_t tgid;
	uint16_t library;    /* TLS */
	uint64_t elapsed_ms; /* TLS: since its call was entered */
	bool is_unix;
};

static struct engine *engine;
static uint64_t now_ns;
static bool sums_hold;
static bool asked_to_stop; /* by the last record */
static char seen[8192];    /* exchanges so far */
static size_t seen_len;
static struct ps_body last_body; /* of the last response; what it keeps is gone */

static void begin_with(struct engine_options options)
{
	options.http = (struct http_limits){.head_bytes_max = 4096, .body_bytes_max = 4096, .pipeline_max = 16};
	engine = engine_new(&options);
	now_ns = 1000 * MS;
	sums_hold = true;
	seen_len = 0;
	seen[0] = '\0';
}

static void begin(void)
{
	begin_with((struct engine_options){.conns_max = 100, .held_bytes_max = 1 << 20});
}

__attribute__((format(printf, 1, 2))) static void see(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	seen_len += (size_t)vsnprintf(seen + seen_len, sizeof(seen) - seen_len, format, args);
	va_end(args);
	if (seen_len >= sizeof(seen))
		seen_len = sizeof(seen) - 1;
}

static void see_end(const struct ps_message *message)
{
	see("%s%s%s", message->flags & PS_MESSAGE_ABORTED ? "A" : "", message->flags & PS_MESSAGE_UNFINISHED ? "U" : "",
	    message->flags & PS_MESSAGE_LOST_TAIL ? "L" : "");
	if (message->body.gap_bytes > 0)
		see("+%llu", (unsigned long long)message->body.gap_bytes);
}

static void see_exchange(const struct ps_exchange *ex)
{
	see("%s", seen_len > 0 ? " " : "");
	if (ex->flags & PS_EXCHANGE_REQUEST) {
		see("%.*s %.*s", (int)ex->request.method.len, ex->request.method.data, (int)ex->request.target.len,
		    ex->request.target.data);
		see_end(&ex->request);
	} else {
		see("-");
	}
	see(">");
	if (ex->flags & PS_EXCHANGE_RESPONSE) {
		see("%d", ex->response.status);
		last_body = ex->response.body;
		see_end(&ex->response);
		sums_hold &= ex->response.last_ts_ns >= ex->response.first_ts_ns;
	} else {
		see("-");
	}
	see("%s%s%s", ex->flags & PS_EXCHANGE_MIDSTREAM ? "M" : "", ex->flags & PS_EXCHANGE_AFTER_GAP ? "G" : "",
	    ex->flags & PS_EXCHANGE_TUNNEL ? "T" : "");
	if (ex->unix_path.len > 0)
		see("@%.*s", (int)ex->unix_path.len, ex->unix_path.data);
}

static void see_item(const struct ps_item *item)
{
	if (item->kind == PS_ITEM_EXCHANGE) {
		see_exchange(item->exchange);
		return;
	}
	see("%s#%llu", seen_len > 0 ? " " : "", (unsigned long long)item->exchange->id);
	if (item->kind == PS_ITEM_STARTED)
		see("started");
	else
		see("%s%.*s", item->message->direction == PS_OUT ? ">" : "<", (int)item->message->body.kept.len,
		    item->message->body.kept.data);
}

static void drain(void)
{
	const struct ps_item *item;
	struct ps_capture_stats s;

	while ((item = engine_next(engine)) != NULL)
		see_item(item);
	s = engine_stats(engine);
	sums_hold &= s.data_bytes == s.message_bytes + s.tunnel_bytes + s.skipped_bytes + s.uncaptured_bytes +
					 s.overlap_bytes + s.waiting_bytes + s.dropped_bytes;
	sums_hold &= engine_waiting(engine) || s.waiting_bytes == 0;
}

static void raw(const struct ps_event *header, const char *data, size_t size)
{
	uint8_t *record = malloc(size); /* of this size exactly: the sanitizer sees an over-read */
	size_t head = size < sizeof(*header) ? size : sizeof(*header);

	if (!record)
		abort();
	memcpy(record, header, head);
	if (size > head)
		memcpy(record + head, data, size - head);
	asked_to_stop = engine_record(engine, record, size) != NULL;
	free(record);
	drain();
}

static struct ps_event header_of(const struct record *r)
{
	uint32_t captured = r->data ? (uint32_t)strlen(r->data) : 0;
	uint16_t family = r->is_unix ? PS_FAMILY_UNIX : PS_FAMILY_INET;

	return (struct ps_event){
	    .ts_ns = now_ns,
	    .conn_id = r->id ? r->id : 1,
	    .sock = r->sock ? r->sock : 0xffff888000000000ULL + 2048 * (r->id ? r->id : 1),
	    .pos = r->pos,
	    .other_pos = r->other_pos,
	    .len = r->len ? r->len : captured,
	    .captured_len = captured,
	    .type = (uint8_t)(r->type ? r->type : PS_EVENT_DATA),
	    .direction = (uint8_t)r->direction,
	    .flags = (uint16_t)r->flags,
	    .process = {.tgid = r->tgid ? r->tgid : 1},
	    .library = r->library,
	    .elapsed_ns = r->elapsed_ms * MS,
	    .local = {.family = family},
	    .remote = {.family = family},
	};
}

static void send_record(struct record r)
{
	struct ps_event header = header_of(&r);

	raw(&header, r.data, sizeof(header) + header.captured_len);
}

#define SEND(...) send_record((struct record){__VA_ARGS__})

/* On a TCP connection, positions as TCP tells them. */
#define IN(at, after, text)  SEND(.direction = PS_IN, .pos = (at), .other_pos = (after), .data = (text), .flags = TCP)
#define OUT(at, after, text) SEND(.direction = PS_OUT, .pos = (at), .other_pos = (after), .data = (text), .flags = TCP)

static void tick(uint64_t later_ms)
{
	now_ns += later_ms * MS;
	engine_tick(engine, now_ns);
	drain();
}

static void expect(const char *name, const char *exchanges)
{
	if (!tap_ok(strcmp(seen, exchanges) == 0, name))
		printf("# got      \"%s\"\n# expected \"%s\"\n", seen, exchanges);
}

static void expect_number(const char *name, uint64_t got, uint64_t expected)
{
	if (!tap_ok(got == expected, name))
		printf("# got %llu, expected %llu\n", (unsigned long long)got, (unsigned long long)expected);
}

/* The end of a case: everything is handed out and adds up. */
static struct ps_capture_stats end(const char *name)
{
	struct ps_capture_stats stats;
	char title[128];

	engine_finish(engine);
	drain();
	stats = engine_stats(engine);
	snprintf(title, sizeof(title), "%s: sums hold", name);
	tap_ok(sums_hold && stats.waiting_bytes == 0 && stats.conns == 0 && !engine_waiting(engine), title);
	engine_free(engine);
	return stats;
}

/* --- order --- */

static void test_in_order(void)
{
	struct ps_capture_stats stats;

	begin();
	IN(0, 0, REQUEST_A);
	OUT(0, REQUEST_LEN, RESPONSE);
	IN(REQUEST_LEN, RESPONSE_LEN, REQUEST_B);
	OUT(RESPONSE_LEN, 2 * REQUEST_LEN, RESPONSE_2);
	expect("in order", "GET /a>200 GET /b>404");
	stats = end("in order");
	expect_number("in order: every byte is in a message", stats.message_bytes, stats.data_bytes);
	expect_number("in order: no wait was forced", stats.forced + stats.gaps + stats.overlaps, 0);
}

static void test_swapped(void)
{
	begin();
	IN(REQUEST_LEN, 0, REQUEST_B);
	expect("swapped: the second record waits", "");
	tap_ok(engine_waiting(engine), "swapped: the engine says so");
	IN(0, 0, REQUEST_A);
	tap_ok(!engine_waiting(engine), "swapped: the first one ends the wait at once");
	OUT(0, 2 * REQUEST_LEN, RESPONSE RESPONSE_2);
	expect("swapped: in order again", "GET /a>200 GET /b>404");
	expect_number("swapped: nothing forced", end("swapped").forced, 0);
}

static void test_response_first(void)
{
	begin();
	IN(0, REQUEST_LEN, RESPONSE);
	expect("response before its request: waits", "");
	OUT(0, 0, REQUEST_A);
	expect("response before its request: paired", "GET /a>200");
	expect_number("response before its request: nothing forced", end("response first").forced, 0);

	begin();
	IN(0, REQUEST_LEN + 1, RESPONSE);
	OUT(0, 0, REQUEST_A);
	expect("one byte more was sent (a FIN)", "GET /a>200");
	expect_number("one byte more was sent: nothing forced", end("FIN").forced, 0);
}

static void test_reversed(void)
{
	const char *text =
	    "POST /a HTTP/1.1\r\nContent-Length: 50\r\n\r\n01234567890123456789012345678901234567890123456789";
	size_t len = strlen(text);

	begin();
	for (size_t i = len; i-- > 0;) {
		char byte[2] = {text[i]};

		IN(i, 0, byte);
	}
	OUT(0, len, RESPONSE_2);
	expect("byte by byte in reverse", "POST /a>404");
	expect_number("byte by byte in reverse: no gap", end("reverse").gaps, 0);
}

/*
 * The answer to an Upgrade and, in the same record, the one to the request
 * after it: taking a part of it lets the other direction go on, which lets the
 * rest go on.
 */
static void test_mutual(void)
{
	const char *requests = "GET /u HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" REQUEST_B;

	begin();
	SEND(.direction = PS_IN, .data = RESPONSE RESPONSE_2, .is_unix = true);
	SEND(.direction = PS_OUT, .data = requests, .is_unix = true);
	expect("two directions that wait for each other in turn", "GET /u>200 GET /b>404");
	tap_ok(!engine_waiting(engine), "two directions that wait for each other in turn: done");
	expect_number("two directions in turn: nothing forced", end("in turn").forced, 0);
}

/* --- loss --- */

static void test_hole(void)
{
	struct ps_capture_stats stats;

	begin();
	IN(0, 0, "POST /a HTTP/1.1\r\nContent-Length: 20\r\n\r\n01234");
	IN(55, 0, "56789");
	tick(99);
	expect_number("hole: waits 100 ms", engine_stats(engine).gaps, 0);
	IN(45, 0, "abcdefghij");
	tap_ok(!engine_waiting(engine), "hole: filled in time");
	OUT(0, 60, RESPONSE_2);
	expect("hole: filled, no gap", "POST /a>404");
	expect_number("hole: filled, nothing forced", end("hole filled").forced, 0);

	begin();
	IN(0, 0, "POST /a HTTP/1.1\r\nContent-Length: 20\r\n\r\n01234");
	IN(55, 0, "56789");
	tick(100);
	tap_ok(!engine_waiting(engine), "hole: not filled, the wait ends after 100 ms");
	OUT(0, 60, RESPONSE_2);
	expect("hole: becomes a gap", "POST /a+10>404");
	IN(45, 0, "abcdefghij");
	stats = end("hole not filled");
	expect_number("hole: bytes that come too late are counted", stats.overlap_bytes, 10);
	expect_number("hole: gap bytes", stats.gap_bytes, 10);
	expect_number("hole: they had no record", stats.uncaptured_bytes, 0);
	expect_number("hole: one wait was forced", stats.forced, 1);
}

/* The engine's time is that of the records as well: no tick is needed while records come. */
static void test_time_of_records(void)
{
	begin();
	IN(10, 0, REQUEST_A);
	now_ns += 101 * MS;
	SEND(.id = 2, .data = REQUEST_B, .flags = TCP);
	tap_ok(!engine_waiting(engine), "another connection's record moves the time on");
	expect_number("time of records: gap at the beginning", engine_stats(engine).gap_bytes, 10);
	end("time of records");
}

/* A wait that is over does not shorten the next one, nor does one that lasts lengthen it without end. */
static void test_wait_of_its_own(void)
{
	begin();
	IN(1, 0, "B");
	now_ns += 90 * MS;
	IN(3, 0, "D"); /* behind a second hole, from now on */
	IN(0, 0, "A");
	tick(15);
	expect_number("second hole: has a wait of its own", engine_stats(engine).gaps, 0);
	IN(2, 0, "C");
	expect_number("second hole: filled", end("second hole").gaps, 0);

	begin();
	IN(1, 0, "B");
	for (uint64_t i = 0; i < 50; i++) { /* pairs of sent records swapped all the time */
		OUT(2 * i + 1, 0, "y");
		now_ns += 5 * MS;
		OUT(2 * i, 0, "x");
	}
	expect_number("a hole beside a busy direction ends too", engine_stats(engine).forced, 1);
	end("busy direction");
}

static void test_short_records(void)
{
	struct ps_capture_stats stats;

	begin();
	IN(0, 0, REQUEST_A);
	OUT(0, REQUEST_LEN, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
	SEND(.direction = PS_OUT, .pos = 41, .len = 1000, .flags = TCP | PS_EVENT_NO_BUFFER);
	expect("sendfile: length known, bytes not", "GET /a>200+1000");
	SEND(.pos = REQUEST_LEN, .data = "POST /b HTTP/1.1\r\nContent-Length: 9\r\n\r\n12345", .len = 48,
	     .flags = TCP | PS_EVENT_CUT);
	OUT(1041, REQUEST_LEN + 48, RESPONSE_2);
	expect("less captured than moved", "GET /a>200+1000 POST /b+4>404");
	stats = end("short records");
	expect_number("short records: uncaptured bytes", stats.uncaptured_bytes, 1004);
	expect_number("short records: are gap bytes", stats.gap_bytes, 1004);

	begin();
	SEND(.pos = 5, .len = 1000, .flags = TCP | PS_EVENT_NO_BUFFER);
	SEND(.pos = 0, .data = "ab", .len = 7, .flags = TCP | PS_EVENT_CUT);
	stats = end("overlap of what was not captured");
	expect_number("overlap of what was not captured: counted once", stats.uncaptured_bytes, 1003);
	expect_number("overlap of what was not captured: overlap", stats.overlap_bytes, 2);
}

/* What no body would keep is no gap; what is missing before it is one, and so is what a body would have kept. */
static void test_unneeded(void)
{
	struct ps_capture_stats stats;
	char kept[4200];

	memset(kept, 'x', sizeof(kept));
	kept[sizeof(kept) - 1] = '\0';
	begin();
	IN(0, 0, REQUEST_A);
	OUT(0, REQUEST_LEN, "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n");
	SEND(.direction = PS_OUT, .pos = 41, .data = kept, .flags = TCP | PS_EVENT_FROM_FILE);
	SEND(.direction = PS_OUT, .pos = 4240, .len = 5800, .flags = TCP | PS_EVENT_FROM_FILE | PS_EVENT_UNNEEDED);
	stats = end("bytes that no body would keep");
	expect_number("bytes that no body would keep: no gap", stats.gap_bytes, 0);
	expect_number("bytes that no body would keep: uncaptured", stats.uncaptured_bytes, 5800);

	begin();
	IN(0, 0, REQUEST_A);
	OUT(0, REQUEST_LEN, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
	SEND(.direction = PS_OUT, .pos = 51, .data = "from a file", .flags = TCP | PS_EVENT_FROM_FILE);
	SEND(.direction = PS_OUT, .pos = 62, .len = 979, .flags = TCP | PS_EVENT_UNNEEDED);
	tick(100);
	stats = end("bytes wrongly held to be unneeded");
	expect_number("hole before the bytes of a file, bytes wrongly held to be unneeded: gaps", stats.gap_bytes, 989);
}

static void expect_body(const char *name, size_t kept, uint32_t state)
{
	expect_number(name, last_body.kept.len, kept);
	expect_number("its state", last_body.state, state);
	expect_number("its size", last_body.size_bytes, 2);
}

/* The limit changes on a connection between its messages, and within one. */
static void test_limit_bodies(void)
{
	struct ps_capture_stats stats;
	uint64_t in = 0, out = 0;

	begin();
	for (int i = 0; i < 4; i++) {
		static const size_t limits[] = {4096, 0, 4096, 1};

		engine_limit_bodies(engine, limits[i]);
		IN(in, out, REQUEST_A);
		in += REQUEST_LEN;
		OUT(out, in, RESPONSE);
		out += RESPONSE_LEN;
		expect_body("a body with a limit of its own", limits[i] < 2 ? limits[i] : 2,
			    limits[i] < 2 ? PS_BODY_TRUNCATED : PS_BODY_COMPLETE);
	}
	engine_limit_bodies(engine, 0);
	IN(in, out, REQUEST_A);
	OUT(out, in + REQUEST_LEN, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
	engine_limit_bodies(engine, 4096);
	OUT(out + RESPONSE_LEN - 1, in + REQUEST_LEN, "k");
	expect_body("a limit that is raised within a body: nothing is kept behind a hole", 0, PS_BODY_TRUNCATED);
	stats = end("limits of bodies");
	expect_number("limits of bodies: no gap", stats.gap_bytes, 0);
}

static void test_overlap(void)
{
	struct ps_capture_stats stats;

	begin();
	IN(0, 0, REQUEST_A);
	IN(0, 0, REQUEST_A);
	expect_number("duplicate: dropped", engine_stats(engine).overlap_bytes, REQUEST_LEN);
	IN(5, 0, &REQUEST_A[5]);
	OUT(0, REQUEST_LEN, RESPONSE);
	IN(REQUEST_LEN - 4, RESPONSE_LEN, "\r\n\r\n" REQUEST_B);
	OUT(RESPONSE_LEN, 2 * REQUEST_LEN, RESPONSE_2);
	expect("overlaps: only new bytes are read", "GET /a>200 GET /b>404");
	stats = end("overlaps");
	expect_number("overlaps: three", stats.overlaps, 3);
	expect_number("overlaps: bytes", stats.overlap_bytes, 2 * REQUEST_LEN - 5 + 4);
}

/* What went out by ways that are not seen holds up what comes in once, not with every record. */
static void test_unseen_sent(void)
{
	begin();
	IN(0, 0, REQUEST_A);
	IN(REQUEST_LEN, 5000, "POST /b HTTP/1.1\r\nContent-Length: 4\r\n\r\n");
	tick(100);
	tap_ok(!engine_waiting(engine), "unseen bytes sent: the wait ends");
	IN(REQUEST_LEN + 39, 5000, "12");
	IN(REQUEST_LEN + 41, 5000, "34");
	tap_ok(!engine_waiting(engine), "unseen bytes sent: waited for once only");
	expect_number("unseen bytes sent: forced once", end("unseen sent").forced, 1);
}

/* On a TLS session, positions as the probes count them. */
#define TLS_IN(at, after, text)                                                                                        \
	SEND(.direction = PS_IN, .pos = (at), .other_pos = (after), .data = (text), .library = 1)
#define TLS_OUT(at, after, text)                                                                                       \
	SEND(.direction = PS_OUT, .pos = (at), .other_pos = (after), .data = (text), .library = 1)

/* At the server, the first response and the second request are lost: the second response is not the first one's. */
static void test_lost_at_server(void)
{
	struct ps_capture_stats stats;

	begin();
	TLS_IN(0, 0, REQUEST_A);
	TLS_OUT(RESPONSE_LEN, 2 * REQUEST_LEN, RESPONSE);
	tap_ok(engine_waiting(engine), "session, lost at the server: what was sent waits for what was received");
	tick(100);
	TLS_IN(2 * REQUEST_LEN, 2 * RESPONSE_LEN, REQUEST_B);
	TLS_OUT(2 * RESPONSE_LEN, 3 * REQUEST_LEN, RESPONSE_2);
	expect("session, lost at the server", "GET /a>- ->200G GET /b>404G");
	stats = end("session, lost at the server");
	expect_number("session, lost at the server: gaps", stats.gap_bytes, REQUEST_LEN + RESPONSE_LEN);
}

/* At the client, the first request is lost: the next one does not get its response. */
static void test_lost_at_client(void)
{
	struct ps_capture_stats stats;

	begin();
	TLS_IN(0, REQUEST_LEN, RESPONSE);
	tick(100);
	TLS_OUT(REQUEST_LEN, RESPONSE_LEN, REQUEST_B);
	TLS_IN(RESPONSE_LEN, 2 * REQUEST_LEN, RESPONSE_2);
	expect("session, lost at the client", "->200G GET /b>404G");
	stats = end("session, lost at the client");
	expect_number("session, lost at the client: gaps", stats.gap_bytes, REQUEST_LEN);
}

/*
 * At a client, the probe on the return of the call that sent a request can run
 * after that of the call that received its response, because another thread
 * reads. However late it is, what follows is paired right.
 */
static void test_late_request(void)
{
	begin();
	TLS_IN(0, 0, RESPONSE);
	tick(500);
	TLS_OUT(0, RESPONSE_LEN, REQUEST_A);
	TLS_OUT(REQUEST_LEN, RESPONSE_LEN, REQUEST_B);
	TLS_IN(RESPONSE_LEN, 2 * REQUEST_LEN, RESPONSE_2);
	expect("session, a request half a second late", "GET /a>200 GET /b>404");
	expect_number("session, a request half a second late: nothing forced", end("late").forced, 0);

	begin();
	TLS_IN(0, 0, RESPONSE);
	tick(1500);
	TLS_OUT(0, RESPONSE_LEN, REQUEST_A);
	TLS_OUT(REQUEST_LEN, RESPONSE_LEN, REQUEST_B);
	TLS_IN(RESPONSE_LEN, 2 * REQUEST_LEN, RESPONSE_2);
	TLS_OUT(2 * REQUEST_LEN, RESPONSE_LEN + RESPONSE_2_LEN, REQUEST_A);
	TLS_IN(RESPONSE_LEN + RESPONSE_2_LEN, 3 * REQUEST_LEN, RESPONSE);
	expect("session, a request too late", "->200 GET /a>- GET /b>404 GET /a>200");
	end("session, a request too late");

	begin();
	IN(0, REQUEST_LEN, RESPONSE);
	tick(500);
	OUT(0, RESPONSE_LEN, REQUEST_A);
	OUT(REQUEST_LEN, RESPONSE_LEN, REQUEST_B);
	IN(RESPONSE_LEN, 2 * REQUEST_LEN, RESPONSE_2);
	expect("socket, a request half a second late", "GET /a>200 GET /b>404");
	end("socket, late");

	begin();
	IN(0, REQUEST_LEN, RESPONSE);
	tick(1500);
	OUT(0, RESPONSE_LEN, REQUEST_A);
	OUT(REQUEST_LEN, RESPONSE_LEN, REQUEST_B);
	IN(RESPONSE_LEN, 2 * REQUEST_LEN, RESPONSE_2);
	expect("socket, a request too late", "->200 GET /a>- GET /b>404");
	end("socket, too late");
}

/* The response goes on when its request comes: it is that of no other. */
static void test_late_request_of_open(void)
{
	begin();
	TLS_IN(0, 0, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
	tick(1500);
	TLS_OUT(0, 40, REQUEST_A);
	TLS_IN(40, REQUEST_LEN, "cd");
	TLS_OUT(REQUEST_LEN, 42, REQUEST_B);
	TLS_IN(42, 2 * REQUEST_LEN, RESPONSE_2);
	expect("a response that goes on when its request comes", "GET /a>200 GET /b>404");
	end("late request of an open response");
}

/* An answer and the next request are lost: the response to that, which waits, is not overtaken by the request after. */
static void test_lost_turn(void)
{
	begin();
	TLS_OUT(0, 0, REQUEST_A);
	TLS_IN(RESPONSE_LEN, 2 * REQUEST_LEN, RESPONSE);
	TLS_OUT(2 * REQUEST_LEN, 2 * RESPONSE_LEN, REQUEST_B);
	tick(150);
	TLS_IN(2 * RESPONSE_LEN, 3 * REQUEST_LEN, RESPONSE_2);
	tick(150);
	expect("session, an answer and the next request lost", "GET /a>- ->200G GET /b>404G");
	end("session, lost turn");

	begin();
	TLS_OUT(0, 0, REQUEST_A);
	TLS_IN(RESPONSE_LEN, 2 * REQUEST_LEN, RESPONSE);
	TLS_OUT(2 * REQUEST_LEN, 2 * RESPONSE_LEN, REQUEST_B);
	TLS_IN(2 * RESPONSE_LEN, 3 * REQUEST_LEN, RESPONSE_2);
	TLS_OUT(3 * REQUEST_LEN, 3 * RESPONSE_LEN, REQUEST_A);
	tick(1500);
	expect("session, the same in one go", "GET /a>- ->200G GET /b>404G");
	end("session, lost turn in one go");
}

/* Its request never comes: the next one was sent after it, and is not taken for it. */
static void test_unseen_request(void)
{
	begin();
	TLS_IN(0, 0, RESPONSE);
	tick(1500);
	SEND(.direction = PS_OUT, .other_pos = RESPONSE_LEN, .data = REQUEST_B, .library = 1, .elapsed_ms = 1);
	TLS_IN(RESPONSE_LEN, REQUEST_LEN, RESPONSE_2);
	expect("session, a request that was not seen", "->200 GET /b>404G");
	end("session, a request that was not seen");

	begin();
	TLS_IN(0, 0, RESPONSE);
	tick(1500);
	SEND(.direction = PS_OUT, .other_pos = RESPONSE_LEN, .data = REQUEST_A, .library = 1, .elapsed_ms = 1600);
	TLS_OUT(REQUEST_LEN, RESPONSE_LEN, REQUEST_B);
	TLS_IN(RESPONSE_LEN, 2 * REQUEST_LEN, RESPONSE_2);
	expect("session, a call that took long", "->200 GET /a>- GET /b>404");
	end("session, a call that took long");

	begin();
	IN(0, REQUEST_LEN, RESPONSE);
	tick(1500);
	OUT(REQUEST_LEN, RESPONSE_LEN, REQUEST_B);
	IN(RESPONSE_LEN, 2 * REQUEST_LEN, RESPONSE_2);
	tick(100);
	expect("socket, a request that was not seen", "->200 GET /b>404G");
	end("socket, a request that was not seen");
}

/* Of AF_UNIX nobody knows whether bytes are missing: it is in doubt what belongs together, for one exchange. */
static void test_late_request_unix(void)
{
	begin();
	SEND(.direction = PS_IN, .data = RESPONSE, .is_unix = true);
	tick(1500);
	SEND(.direction = PS_OUT, .data = REQUEST_A, .is_unix = true);
	SEND(.direction = PS_OUT, .pos = REQUEST_LEN, .data = REQUEST_B, .is_unix = true);
	SEND(.direction = PS_IN, .pos = RESPONSE_LEN, .data = RESPONSE_2, .is_unix = true);
	SEND(.direction = PS_OUT, .pos = 2 * REQUEST_LEN, .data = REQUEST_A, .is_unix = true);
	SEND(.direction = PS_IN, .pos = RESPONSE_LEN + RESPONSE_2_LEN, .data = RESPONSE, .is_unix = true);
	expect("AF_UNIX, a request too late", "->200G GET /a>-G GET /b>-G ->404G GET /a>200G");
	end("AF_UNIX, a request too late");
}

/* --- beginnings and ends --- */

static void test_midstream(void)
{
	begin();
	IN(5000, 7000, "rest of a body\r\n");
	IN(5016, 7000, "");
	expect_number("not flagged as midstream: a gap", engine_stats(engine).gaps, 0);
	end("from the middle, unflagged");

	begin();
	SEND(.pos = 5000, .other_pos = 7000, .data = "rest of a body\r\n", .flags = TCP | MID);
	SEND(.pos = 5016, .other_pos = 7000, .data = REQUEST_A, .flags = TCP | MID);
	SEND(.direction = PS_OUT, .pos = 7000, .other_pos = 5016 + REQUEST_LEN, .data = RESPONSE, .flags = TCP | MID);
	expect("midstream", "GET /a>200M");
	tap_ok(!engine_waiting(engine), "midstream: nothing to wait for");
	expect_number("midstream: no gap", end("midstream").gaps, 0);
}

static void test_unix(void)
{
	begin();
	SEND(.type = PS_EVENT_PATH, .data = "/run/app.sock", .is_unix = true);
	SEND(.data = REQUEST_A, .is_unix = true);
	SEND(.direction = PS_OUT, .data = RESPONSE, .is_unix = true);
	expect("AF_UNIX", "GET /a>200@/run/app.sock");
	SEND(.pos = REQUEST_LEN, .data = REQUEST_B, .is_unix = true);
	SEND(.direction = PS_OUT, .pos = RESPONSE_LEN, .data = "HTTP/1.1 200 OK\r\n\r\nuntil the close",
	     .is_unix = true);
	SEND(.type = PS_EVENT_CLOSE, .is_unix = true);
	expect("AF_UNIX: the close ends what is sent", "GET /a>200@/run/app.sock GET /b>200@/run/app.sock");
	expect_number("AF_UNIX: closed", engine_stats(engine).conns, 0);
	end("AF_UNIX");

	begin();
	SEND(.pos = 100, .data = REQUEST_A, .is_unix = true);
	expect_number("AF_UNIX: the first record is the beginning", engine_stats(engine).message_bytes, REQUEST_LEN);
	SEND(.type = PS_EVENT_EXIT, .tgid = 1025); /* same bucket as process 1 */
	expect_number("AF_UNIX: goes on when another process ends", engine_stats(engine).conns, 1);
	SEND(.pos = 100 + REQUEST_LEN, .data = "GET", .tgid = 7, .is_unix = true);
	SEND(.type = PS_EVENT_EXIT, .tgid = 1);
	expect_number("AF_UNIX: goes on with its last process", engine_stats(engine).conns, 1);
	SEND(.id = 9, .data = "GET", .flags = TCP, .tgid = 7);
	SEND(.type = PS_EVENT_EXIT, .tgid = 7);
	expect_number("AF_UNIX: ends with its process, TCP does not", engine_stats(engine).conns, 1);
	expect("AF_UNIX: what was open comes out", "GET /a>-");
	end("AF_UNIX exit");
}

static void test_abstract_path(void)
{
	struct ps_event header;

	begin();
	header = header_of(&(struct record){.type = PS_EVENT_PATH, .is_unix = true});
	header.captured_len = 5;
	raw(&header, "\0name", sizeof(header) + 5);
	SEND(.data = REQUEST_A, .is_unix = true);
	SEND(.direction = PS_OUT, .data = RESPONSE, .is_unix = true);
	expect("AF_UNIX: abstract name", "GET /a>200@@name");
	end("AF_UNIX abstract");
}

static void test_end(void)
{
	begin();
	OUT(0, 0, REQUEST_A);
	IN(0, REQUEST_LEN, "HTTP/1.1 200 OK\r\n\r\nuntil");
	SEND(.type = PS_EVENT_END, .pos = 28, .other_pos = REQUEST_LEN, .flags = TCP);
	expect("END before the last data: waits", "");
	IN(24, REQUEST_LEN, " end");
	expect("END completes a body", "GET /a>200");
	expect_number("END: nothing forced", end("END").forced, 0);

	begin();
	OUT(0, 0, REQUEST_A);
	IN(0, REQUEST_LEN, "HTTP/1.1 200 OK\r\n\r\nuntil");
	SEND(.type = PS_EVENT_END, .pos = 24, .other_pos = REQUEST_LEN, .flags = TCP);
	expect("END right after the data", "GET /a>200");
	end("END in order");

	begin();
	SEND(.type = PS_EVENT_END, .pos = 24, .other_pos = REQUEST_LEN, .flags = TCP);
	SEND(.type = PS_EVENT_CLOSE, .pos = 24, .other_pos = REQUEST_LEN, .flags = TCP);
	expect_number("END and CLOSE of an unknown connection: no entry", engine_stats(engine).conns, 0);
	end("END of unknown");
}

static void test_close(void)
{
	struct ps_capture_stats stats;

	begin();
	IN(0, 0, REQUEST_A);
	OUT(0, REQUEST_LEN, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
	SEND(.type = PS_EVENT_CLOSE, .pos = REQUEST_LEN, .other_pos = 41, .flags = TCP);
	expect("CLOSE: aborted", "GET /a>200A");
	stats = end("CLOSE");
	expect_number("CLOSE: the FIN is no gap", stats.gap_bytes, 0);

	begin();
	now_ns = 50 * MS;
	IN(0, 0, REQUEST_A);
	OUT(0, REQUEST_LEN, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
	SEND(.type = PS_EVENT_CLOSE, .pos = REQUEST_LEN, .other_pos = 44, .flags = TCP);
	expect("CLOSE: bytes that no record told of", "GET /a>200+3");
	stats = end("CLOSE with a gap");
	expect_number("CLOSE: they are a gap", stats.gap_bytes, 3);

	begin();
	IN(0, 0, REQUEST_A);
	SEND(.type = PS_EVENT_CLOSE, .pos = REQUEST_LEN, .other_pos = 502, .flags = TCP);
	expect("CLOSE: of one direction nothing was seen", "GET /a>-");
	stats = end("CLOSE, direction unseen");
	expect_number("CLOSE: of one direction nothing was seen, FIN and SYN apart", stats.gap_bytes, 500);

	begin();
	IN(0, 0, REQUEST_A);
	IN(REQUEST_LEN + 5, 0, "xyz");
	SEND(.type = PS_EVENT_CLOSE, .pos = REQUEST_LEN + 8, .flags = TCP);
	expect_number("CLOSE while a record waits: goes on", engine_stats(engine).conns, 1);
	tick(100);
	expect_number("CLOSE while a record waits: ends with the wait", engine_stats(engine).conns, 0);
	expect("CLOSE while a record waits: exchange", "GET /a>-");
	end("CLOSE while waiting");
}

/* What the kernel was told to leave alone is not missing. */
static void test_tunnel(void)
{
	struct ps_capture_stats stats;

	begin();
	IN(0, 0, "CONNECT h:1 HTTP/1.1\r\n\r\n");
	OUT(0, 24, "HTTP/1.1 200 OK\r\n\r\n");
	tap_ok(asked_to_stop, "tunnel: the source may stop");
	IN(24, 19, "\x16\x03\x01");
	IN(1000, 19, "later");
	tap_ok(!engine_waiting(engine), "tunnel: nothing waits");
	SEND(.type = PS_EVENT_CLOSE, .pos = 1000000, .other_pos = 1000000, .flags = TCP);
	expect("tunnel", "#1started CONNECT h:1>200T");
	stats = end("tunnel");
	expect_number("tunnel: what was not copied is no gap", stats.gap_bytes, 0);
	expect_number("tunnel: bytes", stats.tunnel_bytes, 8);

	begin();
	IN(0, 0, "SSH-2.0-x\r\n");
	tap_ok(asked_to_stop, "not HTTP: the source may stop");
	SEND(.type = PS_EVENT_CLOSE, .pos = 1000000, .other_pos = 1000000, .flags = TCP);
	stats = end("not HTTP");
	expect_number("not HTTP: what was not copied is no gap", stats.gap_bytes, 0);
	expect_number("not HTTP: skipped bytes", stats.skipped_bytes, 11);

	begin(); /* the kernel has seen that it is not HTTP and says so by leaving the positions out */
	IN(0, 0, "SSH-2.0");
	SEND(.type = PS_EVENT_CLOSE, .pos = 1000000, .other_pos = 1000000);
	expect_number("positions of a CLOSE that do not come from TCP say nothing",
		      end("CLOSE, no positions").gap_bytes, 0);
}

#define HEAD_OF_100  "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
#define WS_REQUEST   "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
#define WS_RESPONSE  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
#define WS_HI        "\x81\x02hi"
#define WS_MASKED_HI "\x81\x82\x01\x01\x01\x01hi" /* comes out as "ih": each byte has its last bit changed */

/* What goes on for a second after the head of its response is handed out as started, once. */
static void test_started(void)
{
	begin();
	OUT(0, 0, REQUEST_A);
	IN(0, REQUEST_LEN, HEAD_OF_100);
	tick(999);
	expect("open for less than a second", "");
	tick(1);
	expect("open for a second", "#1started");
	tick(5000);
	expect("started once", "#1started");
	end("started");
	expect("the end of what was started", "#1started GET /a>200U");

	begin();
	OUT(0, 0, REQUEST_A);
	IN(0, REQUEST_LEN, RESPONSE);
	tick(5000);
	OUT(REQUEST_LEN, RESPONSE_LEN, REQUEST_B);
	IN(RESPONSE_LEN, 2 * REQUEST_LEN, HEAD_OF_100);
	tick(700);
	expect("a new exchange on an old connection", "GET /a>200");
	tick(300);
	expect("is started by its own time", "GET /a>200 #2started");
	expect_number("started ones are not counted", engine_stats(engine).exchanges, 1);
	end("started later");
}

/* A WebSocket is not left alone by the kernel; its records wait for what is missing, and gaps are told of. */
static void test_websocket(void)
{
	uint64_t request = strlen(WS_REQUEST), response = strlen(WS_RESPONSE);

	begin();
	OUT(0, 0, WS_REQUEST);
	IN(0, request, WS_RESPONSE);
	expect("101", "#1started");
	tap_ok(!asked_to_stop, "a WebSocket goes on being copied");
	OUT(request, response, WS_MASKED_HI);
	IN(response + 4, request + 8, WS_HI);
	expect("a record waits for the one before", "#1started #1>ih");
	IN(response, request + 8, WS_HI);
	expect("both in their order", "#1started #1>ih #1<hi #1<hi");
	IN(response + 12, request + 8, WS_HI);
	tick(200);
	expect("after a gap", "#1started #1>ih #1<hi #1<hi #1<hi");
	expect_number("gap bytes", engine_stats(engine).gap_bytes, 4);
	SEND(.type = PS_EVENT_CLOSE, .pos = response + 16, .other_pos = request + 8, .flags = TCP);
	expect("its end", "#1started #1>ih #1<hi #1<hi #1<hi GET /ws>101T");
	expect_number("tunnel bytes", engine_stats(engine).tunnel_bytes, 20);
	expect_number("messages", end("WebSocket").messages, 4);
}

static void test_sock_reuse(void)
{
	begin();
	SEND(.id = 5, .sock = 64, .data = REQUEST_A, .is_unix = true);
	SEND(.id = 6, .sock = 64, .data = REQUEST_B, .is_unix = true);
	expect("sock reused: the earlier connection ends", "GET /a>-");
	expect_number("sock reused: one connection", engine_stats(engine).conns, 1);
	SEND(.id = 6, .sock = 64, .direction = PS_OUT, .data = RESPONSE, .is_unix = true);
	expect("sock reused: not mixed up", "GET /a>- GET /b>200");
	end("sock reuse");
}

static void test_finish(void)
{
	begin();
	IN(0, 0, REQUEST_A);
	OUT(0, REQUEST_LEN, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
	IN(REQUEST_LEN + 1, 41, "waits");
	engine_finish(engine);
	drain();
	expect("end of capture: unfinished", "GET /a>200U");
	expect_number("end of capture: what waited was skipped", end("end of capture").skipped_bytes, 5);
}

/* A response of which the head goes on waits for lost bytes before it, in vain: its entry is ready, with nothing. */
static void finish_two(bool is_asked_in_between)
{
	begin();
	SEND(.id = 1, .data = REQUEST_A, .flags = TCP);
	SEND(.id = 2, .data = REQUEST_B, .flags = TCP);
	SEND(.id = 2, .direction = PS_OUT, .pos = 1000, .data = "HTTP/1.1 20", .flags = TCP);
	now_ns += 150 * MS;
	engine_tick(engine, now_ns);
	if (is_asked_in_between)
		drain();
	engine_finish(engine);
	drain();
}

/* A replay asks for items when it must, a capture when it likes: the order is the same. */
static void test_finish_order(void)
{
	for (int is_asked = 0; is_asked < 2; is_asked++) {
		finish_two(is_asked);
		expect(is_asked ? "end of capture: order, asked before" : "end of capture: order, not asked before",
		       "GET /a>- GET /b>-");
		end("order at the end of capture");
	}
}

/* --- bounds --- */

static bool connection_1_has_closed(const void *source, const struct conn *conn, struct conn_end *conn_end)
{
	*conn_end = (struct conn_end){.pos = {REQUEST_LEN + 30, 0}, .closed = conn->id == 1};
	return source == seen && conn->id <= 2;
}

/* What its source knows of connections whose last records were lost. */
static void test_settle(void)
{
	begin();
	for (uint64_t id = 1; id <= 3; id++)
		SEND(.id = id, .data = REQUEST_A, .flags = TCP);
	engine_settle(engine, connection_1_has_closed, seen);
	drain();
	expect("settle: a connection that closed unheard", "GET /a>-");
	expect_number("settle: its last bytes are a gap", engine_stats(engine).gap_bytes, 30);
	expect_number("settle: the others go on", engine_stats(engine).conns, 2);
	SEND(.id = 2, .pos = REQUEST_LEN, .data = "GET /late", .flags = TCP);
	expect_number("settle: and so do their bytes", engine_stats(engine).gap_bytes, 30);
	expect_number("settle: what does not come is a gap in the end", end("settle").gap_bytes, 30 + 21);
}

static void test_eviction(void)
{
	struct ps_capture_stats stats;

	begin_with((struct engine_options){.conns_max = 3, .held_bytes_max = 1 << 20});
	for (uint64_t id = 1; id <= 3; id++)
		SEND(.id = id, .data = REQUEST_A, .flags = TCP);
	SEND(.id = 1, .direction = PS_OUT, .other_pos = REQUEST_LEN,
	     .data = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", .flags = TCP);
	SEND(.id = 4, .data = REQUEST_B, .flags = TCP);
	expect("too many connections: the least recently used one is given up", "GET /a>-");
	SEND(.id = 5, .data = REQUEST_B, .flags = TCP);
	SEND(.id = 6, .data = REQUEST_B, .flags = TCP);
	expect("too many connections: what was open is marked", "GET /a>- GET /a>- GET /a>200U");
	SEND(.id = 1, .type = PS_EVENT_END, .pos = REQUEST_LEN, .flags = TCP);
	SEND(.id = 1, .type = PS_EVENT_CLOSE, .pos = REQUEST_LEN, .flags = TCP);
	stats = engine_stats(engine);
	expect_number("too many connections: the end of one given up takes no place", stats.evicted, 3);
	expect_number("too many connections: the limit holds", stats.conns, 3);
	end("eviction");

	begin_with((struct engine_options){.conns_max = 0});
	SEND(.id = 1, .data = REQUEST_A, .flags = TCP);
	SEND(.id = 2, .data = REQUEST_A, .flags = TCP);
	expect_number("a limit of no connections: one", engine_stats(engine).conns, 1);
	end("no connections");
}

static void test_held_bytes(void)
{
	uint64_t most = 0;

	begin_with((struct engine_options){.conns_max = 10, .held_bytes_max = 64 * 1024});
	for (uint64_t i = 0; i < 10000; i++) {
		uint64_t waiting;

		SEND(.pos = 1 + i, .data = "x", .flags = TCP);
		waiting = engine_stats(engine).waiting_bytes;
		most = waiting > most ? waiting : most;
	}
	tap_ok(most > 50 && most <= 64 * 1024 / sizeof(struct ps_event), "records that wait: memory is bounded");
	expect_number("records that wait: too many end the wait", engine_stats(engine).gap_bytes, 1);
	end("held bytes");
}

/* In the time that a quadratic list would take, the test would be killed: 200,000 records behind one hole. */
static void test_many_waiting(void)
{
	begin_with((struct engine_options){.conns_max = 10, .held_bytes_max = 1ULL << 30});
	for (uint64_t i = 0; i < 200000; i++) {
		struct ps_event header = header_of(&(struct record){.pos = 1 + i, .data = "x", .flags = TCP});
		struct {
			struct ps_event event;
			char data[8];
		} record = {header, "x"};

		engine_record(engine, &record, sizeof(header) + 1);
	}
	expect_number("200,000 records wait", engine_stats(engine).waiting_bytes, 200000);
	IN(0, 0, "G");
	tap_ok(!engine_waiting(engine), "200,000 records: freed by the first");
	end("many waiting");
}

static void test_half_heads(void)
{
	enum { CONNS = 100000, CONNS_MAX = 65536 };
	size_t memory;

	begin_with((struct engine_options){.conns_max = CONNS_MAX, .held_bytes_max = 1 << 20});
	for (uint64_t id = 1; id <= CONNS; id++) {
		struct ps_event header = header_of(
		    &(struct record){.id = id, .data = "GET /half HTTP/1.1\r\nHost: a.example\r\nAcc", .flags = TCP});
		struct {
			struct ps_event event;
			char data[64];
		} record = {.event = header, .data = "GET /half HTTP/1.1\r\nHost: a.example\r\nAcc"};

		engine_record(engine, &record, sizeof(header) + header.captured_len);
		while (engine_next(engine))
			;
	}
	memory = engine_memory(engine);
	printf("# %d connections with half a head each: %zu bytes, %zu each\n", CONNS_MAX, memory, memory / CONNS_MAX);
	expect_number("half heads: limit of connections holds", engine_stats(engine).conns, CONNS_MAX);
	expect_number("half heads: the others were given up", engine_stats(engine).evicted, CONNS - CONNS_MAX);
	tap_ok(memory / CONNS_MAX < 4096, "half heads: less than 4 KiB each");
	seen_len = sizeof(seen) - 1; /* the exchanges are not looked at */
	end("half heads");
}

/* --- records that the probes would not make --- */

static void expect_malformed(const char *name, struct ps_event header, size_t size)
{
	static const char payload[512];
	uint64_t before = engine_stats(engine).malformed;

	raw(&header, payload, size);
	expect_number(name, engine_stats(engine).malformed - before, 1);
}

static void test_malformed(void)
{
	struct ps_event good, bad;
	struct ps_capture_stats stats;

	begin();
	good = header_of(&(struct record){.data = "0123456789", .flags = TCP});
	expect_malformed("malformed: empty", good, 0);
	expect_malformed("malformed: shorter than a header", good, sizeof(good) - 1);
	expect_malformed("malformed: payload longer than the record", good, sizeof(good) + 9);
	bad = good;
	bad.captured_len = UINT32_MAX;
	expect_malformed("malformed: captured_len of 4 GiB", bad, sizeof(good) + 10);
	bad = good;
	bad.len = 9;
	expect_malformed("malformed: more captured than moved", bad, sizeof(good) + 10);
	bad = good;
	bad.direction = 2;
	expect_malformed("malformed: direction", bad, sizeof(good) + 10);
	bad = good;
	bad.pos = UINT64_MAX;
	expect_malformed("malformed: position", bad, sizeof(good) + 10);
	bad = good;
	bad.other_pos = UINT64_MAX;
	expect_malformed("malformed: other position", bad, sizeof(good) + 10);
	bad = good;
	bad.type = PS_EVENT_END;
	bad.captured_len = 0;
	expect_malformed("malformed: an end that has bytes", bad, sizeof(good) + 10);
	for (int type = 0; type < 256; type++) {
		if (type == PS_EVENT_DATA || type == PS_EVENT_PATH || type == PS_EVENT_HELLO)
			continue;
		bad = good;
		bad.type = (uint8_t)type;
		raw(&bad, "0123456789", sizeof(bad) + 10);
	}
	expect_number("malformed: payload of other types", engine_stats(engine).malformed, 9 + 253);
	bad = good;
	bad.type = PS_EVENT_PATH;
	bad.captured_len = PS_UNIX_PATH_LEN + 1;
	expect_malformed("malformed: path too long", bad, sizeof(good) + 200);
	raw(&good, "0123456789\0\0\0", sizeof(good) + 13);
	stats = end("malformed");
	expect_number("malformed: the one good record is read", stats.data_bytes, 10);
}

int main(void)
{
	test_in_order();
	test_swapped();
	test_response_first();
	test_reversed();
	test_mutual();
	test_hole();
	test_time_of_records();
	test_wait_of_its_own();
	test_short_records();
	test_unneeded();
	test_limit_bodies();
	test_overlap();
	test_unseen_sent();
	test_lost_at_server();
	test_lost_at_client();
	test_late_request();
	test_late_request_of_open();
	test_lost_turn();
	test_unseen_request();
	test_late_request_unix();
	test_midstream();
	test_unix();
	test_abstract_path();
	test_end();
	test_close();
	test_tunnel();
	test_started();
	test_websocket();
	test_sock_reuse();
	test_finish();
	test_finish_order();
	test_settle();
	test_eviction();
	test_held_bytes();
	test_many_waiting();
	test_half_heads();
	test_malformed();
	return tap_end();
}
