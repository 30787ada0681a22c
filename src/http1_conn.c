/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pairing of the two directions of one connection; see http1_conn.h.
 *
 * Without loss the rule is simple: the next response belongs to the oldest
 * unanswered request (RFC 9112 9.3.2).
 *
 * After loss (a gap that hides the end of a message, a gap between messages,
 * a parse error, the unseen beginning of a midstream connection) any number of
 * messages may be missing. `requests_lost` and `responses_lost` say in which
 * direction. A response that begins then is paired only when
 *
 *  (a) only requests were lost, and the oldest unanswered request began before
 *      the loss: responses keep their order, so it comes first; or
 *  (b) one request is unanswered, it began while nothing was unanswered and no
 *      response was open, the client was never seen to pipeline on this
 *      connection, and since the request began not both requests and responses
 *      were lost: a client that sends one request at a time has seen every
 *      earlier response end; or
 *  (c) one request is unanswered, only responses were lost, and no request was
 *      given up since: no other request can have a response to come.
 *
 * (b) and (c) end the doubt. In every other case all unanswered requests are
 * reported without response and the response without request. When responses
 * were lost and a client that never pipelined sends its next request, the
 * older ones are given up at once: their responses were among what was lost.
 * All that is reported while in doubt is flagged PS_EXCHANGE_AFTER_GAP
 * (midstream: PS_EXCHANGE_MIDSTREAM).
 *
 * A response whose request did not come in time although nothing was lost goes
 * without one. The request that begins next, if its call was entered before the
 * response began, is the one that was late: it is given to that response while
 * that goes on, and else reported without one, so that those after it are paired
 * right. What cannot be told apart (entered later; or bytes may be missing
 * unnoticed) is loss.
 *
 * Bytes that follow a CONNECT or an Upgrade request are not taken until the
 * answer says which protocol they belong to (RFC 9110 9.3.6, 7.8): the caller
 * keeps them, as it does with a response that waits for its request.
 *
 * A response with no request may answer a HEAD: see response_without_body().
 *
 * When bytes were lost between chunks nobody knows how many of the body are
 * missing: PS_BODY_GAP with gap_bytes 0, and PS_MESSAGE_LOST_TAIL.
 *
 * Times of a response are those of the final one; its wire_bytes count the 1xx
 * before it. Empty lines before a start line (RFC 9112 2.2) count as skipped.
 */
#include "http1.h"
#include "stream_reader.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#ifndef HTTP_POOL_MAX
#define HTTP_POOL_MAX 64
#endif

enum { SKIP_MAX = 65536 }; /* skipped without finding a start line: not HTTP after all */

enum answer {
	ANSWER_AWAITED = 0,
	ANSWER_OPEN, /* the response has begun */
	ANSWER_DONE,
	ANSWER_NEVER /* given up */
};

struct exchange {
	struct exchange *next;
	struct http_message *request;
	struct http_message *response;
	struct stream_reader *reader; /* reads its messages; or NULL */
	struct ps_exchange pub;
	uint64_t head_ts_ns; /* when the head of the response was read */
	uint8_t answer;      /* enum answer */
	bool queued;         /* in conn->queue or beyond; a response with no request is in no list while it is open */
	bool request_open;
	bool began_alone;     /* nothing was unanswered or open when the request began */
	bool before_requests; /* the request began before requests were lost */
	bool before_responses;
};

/* Exchanges in order, linked by next. */
struct exchange_list {
	struct exchange *first;
	struct exchange *last;
};

enum place {
	PLACE_BETWEEN = 0, /* between messages */
	PLACE_MESSAGE,
	PLACE_WAITING, /* a status line was read but its request is not known yet */
	PLACE_LOST,    /* looks for a start line at the beginning of a call */
	PLACE_TUNNEL,
	PLACE_ENDED
};

struct direction {
	struct http1_parser parser;
	struct exchange *exchange; /* that the message belongs to; NULL before its start line is read */
	uint64_t skipped;          /* since the place was lost */
	uint64_t begin_ns;         /* when the call was entered in which the message begins; 0: not known */
	uint8_t place;             /* enum place */
	bool skip_limited;         /* SKIP_MAX applies */
	bool body_at_call;         /* the body of a response with no request has not begun */
};

struct http1_conn {
	struct http_limits limits;
	struct direction dir[2];
	struct exchange_list queue;  /* with a request, in its order; the first is not finished */
	struct exchange_list ready;  /* finished */
	struct exchange *handed_out; /* by the last http1_conn_next() */
	struct exchange *tunnel;     /* 101 or CONNECT, until the connection ends; in queue */
	struct stream_queue messages;
	struct stream_message *message_out; /* by the last http1_conn_next() */
	struct exchange *hold;              /* CONNECT or Upgrade whose answer is not known */
	struct exchange *awaiting;          /* the oldest unanswered of queue */
	struct http_stats stats;
	uint32_t unanswered;
	uint32_t abandoned;  /* responses to come for requests given up because of pipeline_max */
	uint32_t late;       /* requests to come whose responses have begun without them */
	uint64_t late_ts_ns; /* when the last of these responses began */
	uint8_t tunnel_ends; /* bits of the directions that have ended */
	int8_t request_dir;  /* -1 until a start line tells */
	uint8_t mode;        /* enum http_mode */
	bool midstream;
	bool seen_start; /* a start line was read in either direction */
	bool pipelined;
	bool requests_lost;
	bool responses_lost;
	bool gave_up;   /* requests were given up since responses were lost */
	bool after_gap; /* the doubt comes from a gap or a parse error */
};

/* Each thread keeps some exchanges for its next connections. */
static _Thread_local struct exchange *pool;
static _Thread_local int pool_len;

static struct exchange *exchange_new(void)
{
	struct exchange *ex = pool;

	if (ex == NULL)
		return calloc(1, sizeof(*ex));
	pool = ex->next;
	pool_len--;
	memset(ex, 0, sizeof(*ex));
	return ex;
}

static void exchange_free(struct exchange *ex)
{
	if (ex == NULL)
		return;
	http_message_free(ex->request);
	http_message_free(ex->response);
	stream_reader_free(ex->reader);
	if (pool_len >= HTTP_POOL_MAX) {
		free(ex);
		return;
	}
	ex->next = pool;
	pool = ex;
	pool_len++;
}

static void list_append(struct exchange_list *list, struct exchange *ex)
{
	ex->next = NULL;
	if (list->last != NULL)
		list->last->next = ex;
	else
		list->first = ex;
	list->last = ex;
	ex->queued = true;
}

static struct exchange *list_pop(struct exchange_list *list)
{
	struct exchange *ex = list->first;

	if (ex == NULL)
		return NULL;
	list->first = ex->next;
	if (list->first == NULL)
		list->last = NULL;
	ex->next = NULL;
	return ex;
}

static void list_free(struct exchange_list *list)
{
	struct exchange *ex;

	while ((ex = list_pop(list)) != NULL)
		exchange_free(ex);
}

/* --- life of a connection --- */

struct http1_conn *http1_conn_new(const struct http_limits *limits, bool midstream)
{
	struct http1_conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL)
		return NULL;
	conn->limits = *limits;
	conn->request_dir = -1;
	conn->midstream = midstream;
	if (conn->limits.pipeline_max == 0)
		conn->limits.pipeline_max = 1;
	if (midstream) {
		conn->requests_lost = true;
		conn->responses_lost = true;
		for (int d = 0; d < 2; d++) {
			conn->dir[d].place = PLACE_LOST;
			conn->dir[d].skip_limited = true;
		}
	}
	return conn;
}

/* The message being read in a direction when no exchange owns it yet. */
static void drop_unowned(struct direction *dir)
{
	if (dir->exchange == NULL)
		http_message_free(dir->parser.message);
	dir->parser.message = NULL;
	dir->exchange = NULL;
}

void http1_conn_free(struct http1_conn *conn)
{
	if (conn == NULL)
		return;
	for (int d = 0; d < 2; d++) {
		struct exchange *ex = conn->dir[d].exchange;

		drop_unowned(&conn->dir[d]);
		if (ex != NULL && !ex->queued)
			exchange_free(ex);
	}
	list_free(&conn->queue);
	list_free(&conn->ready);
	exchange_free(conn->handed_out);
	stream_queue_free(&conn->messages);
	stream_message_free(conn->message_out);
	free(conn);
}

static bool in_doubt(const struct http1_conn *conn)
{
	return conn->requests_lost || conn->responses_lost;
}

static void doubt_end(struct http1_conn *conn)
{
	conn->responses_lost = false;
	conn->gave_up = false;
	if (!conn->requests_lost)
		conn->after_gap = false;
}

static uint32_t base_flags(const struct http1_conn *conn)
{
	return (conn->midstream ? PS_EXCHANGE_MIDSTREAM : 0) | (conn->after_gap ? PS_EXCHANGE_AFTER_GAP : 0);
}

/* --- the queue --- */

static bool is_finished(const struct http1_conn *conn, const struct exchange *ex)
{
	return ex != conn->tunnel && !ex->request_open && (ex->answer == ANSWER_DONE || ex->answer == ANSWER_NEVER);
}

/* After anything that may have finished an exchange. */
static void queue_settle(struct http1_conn *conn)
{
	while (conn->queue.first != NULL && is_finished(conn, conn->queue.first)) {
		struct exchange *ex = list_pop(&conn->queue);

		if (conn->hold == ex)
			conn->hold = NULL;
		list_append(&conn->ready, ex);
	}
}

/* The oldest unanswered request gets a response or none. */
static void awaiting_next(struct http1_conn *conn, enum answer answer)
{
	struct exchange *ex = conn->awaiting;

	ex->answer = (uint8_t)answer;
	conn->unanswered--;
	do
		ex = ex->next;
	while (ex != NULL && ex->answer != ANSWER_AWAITED);
	conn->awaiting = ex;
}

/* why: the enum ps_message_flags that say it of the response that is missing; 0 when nothing is known. */
static void give_up_oldest(struct http1_conn *conn, uint32_t why)
{
	conn->awaiting->pub.response.flags = why;
	if (conn->hold == conn->awaiting)
		conn->hold = NULL;
	conn->gave_up = true;
	awaiting_next(conn, ANSWER_NEVER);
}

static void give_up_all(struct http1_conn *conn, uint32_t why)
{
	while (conn->awaiting != NULL)
		give_up_oldest(conn, why);
	queue_settle(conn);
}

/* --- losing the place --- */

static void not_http(struct http1_conn *conn);

/* Messages of this direction may be missing from here on. */
static void messages_lost(struct http1_conn *conn, int d)
{
	bool requests = conn->request_dir != !d;
	bool responses = conn->request_dir != d;

	for (struct exchange *ex = conn->queue.first; ex != NULL; ex = ex->next) {
		ex->before_requests |= requests;
		ex->before_responses |= responses;
	}
	if (requests)
		conn->late = 0;
	conn->requests_lost |= requests;
	conn->responses_lost |= responses;
	conn->after_gap = true;
	/* the answer to an Upgrade may be among what was lost; bytes of another protocol would be told from requests */
	if (responses && conn->hold != NULL && !http_method_is(conn->hold->request, "CONNECT"))
		conn->hold = NULL;
}

static void place_lost(struct http1_conn *conn, int d, bool by_gap)
{
	struct direction *dir = &conn->dir[d];

	if (conn->mode != HTTP_MODE_HTTP)
		return;
	dir->place = PLACE_LOST;
	dir->skip_limited = !by_gap || !conn->seen_start;
	conn->stats.parse_errors += !by_gap;
	messages_lost(conn, d);
	if (dir->skip_limited && dir->skipped > SKIP_MAX)
		not_http(conn);
}

/* Bytes that were counted as part of a message are none after all. */
static void unread(struct http1_conn *conn, struct direction *dir, uint64_t n)
{
	conn->stats.message_bytes -= n;
	conn->stats.skipped_bytes += n;
	dir->skipped += n;
}

/* The request in the queue whose head is dropped: it is the last, and may already be answered. */
static void request_dropped(struct http1_conn *conn, struct exchange *ex)
{
	ex->pub.flags &= ~(uint32_t)PS_EXCHANGE_REQUEST;
	ex->pub.request = (struct ps_message){0}; /* what an earlier item showed of it has moved since */
	ex->request_open = false;
	if (ex->answer == ANSWER_AWAITED) {
		ex->answer = ANSWER_NEVER;
		conn->unanswered--;
		if (conn->awaiting == ex)
			conn->awaiting = NULL;
	} else {
		ex->pub.flags |= PS_EXCHANGE_AFTER_GAP; /* says why its request is missing */
	}
}

static void response_dropped(struct http1_conn *conn, struct direction *dir, struct exchange *ex)
{
	ex->pub.flags &= ~(uint32_t)PS_EXCHANGE_RESPONSE;
	ex->pub.response = (struct ps_message){0};
	ex->answer = ANSWER_NEVER;
	if (!ex->queued) {
		unread(conn, dir, ex->response->pub.wire_bytes - dir->parser.head_bytes); /* its 1xx */
		exchange_free(ex);
	}
}

/* What was read of the head in this direction is given up. */
static void head_dropped(struct http1_conn *conn, int d)
{
	struct direction *dir = &conn->dir[d];
	struct exchange *ex = dir->exchange;

	unread(conn, dir, dir->parser.head_bytes);
	if (ex == NULL)
		http_message_free(dir->parser.message);
	else if (d == conn->request_dir)
		request_dropped(conn, ex);
	else
		response_dropped(conn, dir, ex);
	dir->parser.message = NULL;
	dir->exchange = NULL;
	dir->place = PLACE_BETWEEN;
	queue_settle(conn);
}

/* No start line where one must be. */
static void bad_start(struct http1_conn *conn, int d)
{
	head_dropped(conn, d);
	if (!conn->seen_start && !conn->midstream && !conn->after_gap)
		not_http(conn);
	else
		place_lost(conn, d, false);
}

/* --- ends of messages --- */

static enum stream_part part_of(const struct http1_conn *conn, int d)
{
	return d == conn->request_dir ? STREAM_REQUEST : STREAM_RESPONSE;
}

/* The message of this direction is over: forget it here and see whether its exchange is finished. */
static void message_over(struct http1_conn *conn, int d)
{
	struct direction *dir = &conn->dir[d];
	struct exchange *ex = dir->exchange;

	if (ex->reader != NULL && ex != conn->tunnel)
		stream_reader_end(ex->reader, part_of(conn, d));
	dir->parser.message = NULL;
	dir->exchange = NULL;
	dir->place = conn->mode == HTTP_MODE_TUNNEL ? PLACE_TUNNEL : PLACE_BETWEEN;
	if (d != conn->request_dir) {
		ex->answer = ANSWER_DONE;
	} else {
		ex->request_open = false;
		if (ex->answer == ANSWER_AWAITED &&
		    (ex->request->expects_upgrade || http_method_is(ex->request, "CONNECT")))
			conn->hold = ex;
	}
	if (!ex->queued)
		list_append(ex == conn->tunnel ? &conn->queue : &conn->ready, ex);
	else
		queue_settle(conn);
}

/* The exchange that led to the tunnel is over with it. */
static void tunnel_end(struct http1_conn *conn, uint32_t flag)
{
	struct exchange *ex = conn->tunnel;

	if (ex == NULL)
		return;
	if (ex->reader != NULL) {
		stream_reader_end(ex->reader, STREAM_REQUEST);
		stream_reader_end(ex->reader, STREAM_RESPONSE);
	}
	ex->response->pub.flags |= flag & PS_MESSAGE_UNFINISHED;
	conn->tunnel = NULL;
	queue_settle(conn);
}

/* Nothing more comes through the tunnel in this direction. */
static void tunnel_end_direction(struct http1_conn *conn, int d)
{
	if (conn->tunnel == NULL)
		return;
	conn->tunnel_ends |= (uint8_t)(1 << d);
	if (conn->tunnel->reader != NULL)
		stream_reader_end(conn->tunnel->reader, part_of(conn, d));
	if (conn->tunnel_ends == 3)
		tunnel_end(conn, 0);
}

/* Finish what is open in a direction. */
static void direction_close(struct http1_conn *conn, int d, uint32_t flag)
{
	struct direction *dir = &conn->dir[d];

	if (dir->place == PLACE_WAITING)
		http1_conn_unblock(conn, true);
	if (dir->place == PLACE_MESSAGE) {
		if (dir->parser.state == HTTP1_AT_START) {
			head_dropped(conn, d);
		} else {
			http1_end(&dir->parser, flag);
			message_over(conn, d);
		}
	}
	if (dir->place != PLACE_TUNNEL)
		dir->place = PLACE_ENDED;
}

static void not_http(struct http1_conn *conn)
{
	direction_close(conn, 0, PS_MESSAGE_UNFINISHED);
	direction_close(conn, 1, PS_MESSAGE_UNFINISHED);
	give_up_all(conn, PS_MESSAGE_UNFINISHED);
	conn->mode = HTTP_MODE_NOT_HTTP;
}

/* 101, or 2xx to CONNECT: what follows is not HTTP/1, in the request direction once a request still open has ended. */
static void tunnel_begin(struct http1_conn *conn, struct exchange *ex)
{
	conn->mode = HTTP_MODE_TUNNEL;
	conn->hold = NULL;
	conn->tunnel = ex;
	for (int d = 0; d < 2; d++) {
		struct direction *dir = &conn->dir[d];

		if ((ex != NULL && dir->exchange == ex) || dir->place == PLACE_ENDED)
			continue;
		direction_close(conn, d, PS_MESSAGE_ABORTED);
		dir->place = PLACE_TUNNEL;
	}
	give_up_all(conn, 0);
	if (ex == NULL)
		return;
	stream_queue_start(&conn->messages, &ex->pub);
}

/* --- requests --- */

/* A client that sends one request at a time has seen the responses to the earlier ones: they were lost. */
static void give_up_lost(struct http1_conn *conn)
{
	if (!conn->responses_lost || conn->pipelined)
		return;
	while (conn->awaiting != NULL && conn->awaiting->before_responses)
		give_up_oldest(conn, PS_MESSAGE_LOST_TAIL);
	queue_settle(conn);
}

/* Is the request that begins one that was late? If it cannot be, that one was lost. */
static bool is_late(struct http1_conn *conn, const struct direction *dir)
{
	if (conn->late == 0)
		return false;
	if (dir->begin_ns == 0 || dir->begin_ns < conn->late_ts_ns)
		return true;
	conn->late = 0;
	conn->requests_lost = conn->after_gap = true;
	return false;
}

/* Its response has begun: the exchange of that goes on with it, or it is over and the request is reported alone. */
static bool late_request_begin(struct http1_conn *conn, int d)
{
	struct direction *dir = &conn->dir[d];
	struct exchange *ex = conn->dir[!d].exchange;
	bool is_open = --conn->late == 0 && ex != NULL && !ex->queued;

	if (!is_open)
		ex = exchange_new();
	if (ex == NULL)
		return false;
	ex->request = dir->parser.message;
	ex->request_open = true;
	ex->pub.flags |= base_flags(conn) | PS_EXCHANGE_REQUEST;
	ex->answer = is_open ? ex->answer : ANSWER_NEVER;
	dir->exchange = ex;
	list_append(&conn->queue, ex);
	if (is_open && conn->dir[!d].body_at_call && http_method_is(ex->request, "HEAD")) {
		http1_no_body(&conn->dir[!d].parser);
		message_over(conn, !d);
	}
	return true;
}

/* A request line was read. */
static bool request_begin(struct http1_conn *conn, int d)
{
	struct direction *dir = &conn->dir[d];
	struct exchange *ex;

	if (is_late(conn, dir))
		return late_request_begin(conn, d);
	ex = exchange_new();
	if (ex == NULL)
		return false;
	give_up_lost(conn);
	ex->request = dir->parser.message;
	ex->request_open = true;
	ex->began_alone = conn->unanswered == 0 && conn->dir[!d].exchange == NULL;
	ex->pub.flags = base_flags(conn) | PS_EXCHANGE_REQUEST;
	dir->exchange = ex;
	list_append(&conn->queue, ex);
	if (conn->dir[!d].place == PLACE_ENDED) {
		ex->answer = ANSWER_NEVER;
		ex->pub.response.flags = PS_MESSAGE_ABORTED;
		return true;
	}
	if (conn->awaiting == NULL)
		conn->awaiting = ex;
	conn->unanswered++;
	if (conn->unanswered > conn->limits.pipeline_max) {
		conn->abandoned++;
		give_up_oldest(conn, 0);
		queue_settle(conn);
	}
	return true;
}

/* --- responses --- */

/* The rule for the time after loss, see the top of this file: does the response that begins answer the oldest one? */
static bool pairs_in_doubt(struct http1_conn *conn)
{
	const struct exchange *ex = conn->awaiting;

	if (ex == NULL)
		return false;
	if (!conn->responses_lost && ex->before_requests)
		return true; /* (a) */
	if (conn->unanswered > 1)
		return false;
	if (ex->began_alone && !conn->pipelined && !(ex->before_requests && ex->before_responses)) {
		if (!ex->before_requests)
			conn->requests_lost = false;
	} else if (!conn->responses_lost || conn->requests_lost || conn->gave_up) {
		return false;
	}
	conn->awaiting->pub.flags |= base_flags(conn);
	doubt_end(conn);
	return true; /* (b), (c) */
}

enum pairing { PAIR_WAIT, PAIR_OLDEST, PAIR_NONE };

static enum pairing pairing_choose(struct http1_conn *conn)
{
	if (conn->abandoned > 0 && !conn->responses_lost) {
		conn->abandoned--;
		return PAIR_NONE;
	}
	if (in_doubt(conn)) {
		if (pairs_in_doubt(conn))
			return PAIR_OLDEST;
		give_up_all(conn, PS_MESSAGE_LOST_TAIL);
		return PAIR_NONE;
	}
	if (conn->awaiting != NULL) {
		conn->pipelined |= conn->unanswered > 1;
		return PAIR_OLDEST;
	}
	if (conn->dir[(int)conn->request_dir].place == PLACE_ENDED)
		return PAIR_NONE;
	return PAIR_WAIT;
}

static void response_final(struct exchange *ex)
{
	uint16_t status = ex->response->pub.status;

	if (status >= 200 || status == 101)
		ex->pub.flags |= PS_EXCHANGE_RESPONSE;
}

/* Give the response whose status line was read to an exchange. */
static void response_attach(struct http1_conn *conn, struct direction *dir, enum pairing pairing)
{
	struct exchange *ex = conn->awaiting;

	if (pairing == PAIR_OLDEST) {
		awaiting_next(conn, ANSWER_OPEN);
	} else {
		ex = exchange_new();
		if (ex == NULL) {
			head_dropped(conn, dir == &conn->dir[1]);
			place_lost(conn, dir == &conn->dir[1], false);
			return;
		}
		ex->answer = ANSWER_OPEN;
		ex->pub.flags = base_flags(conn);
	}
	ex->response = dir->parser.message;
	dir->exchange = ex;
	dir->place = PLACE_MESSAGE;
	response_final(ex);
}

/* Returns false when the response has to wait. */
static bool response_begin(struct http1_conn *conn, struct direction *dir)
{
	enum pairing pairing;

	if (dir->exchange != NULL) { /* after a 1xx */
		response_final(dir->exchange);
		return true;
	}
	dir->place = PLACE_WAITING;
	pairing = pairing_choose(conn);
	if (pairing == PAIR_WAIT)
		return false;
	response_attach(conn, dir, pairing);
	return true;
}

/* 101 that goes on as HTTP/2 (RFC 7540 3.2), once all of the request, the last one, has been read. */
static bool is_h2c(const struct exchange *ex)
{
	const struct ps_message *response = &ex->response->pub;

	if (response->status != 101 || ex->request == NULL || ex->request_open || ex->next != NULL)
		return false;
	for (uint32_t i = 0; i < response->header_count; i++) {
		const struct ps_header *field = &response->headers[i];

		if (field->name.len == 7 && strncasecmp(field->name.data, "upgrade", 7) == 0)
			return field->value.len == 3 && strncasecmp(field->value.data, "h2c", 3) == 0;
	}
	return false;
}

static void response_head(struct http1_conn *conn, int d)
{
	struct direction *dir = &conn->dir[d];
	struct exchange *ex = dir->exchange;
	uint16_t status = ex->response->pub.status;
	bool asked = ex->request != NULL; /* even if the rest of the request's head was lost */
	bool tunnel = status == 101 || (asked && status / 100 == 2 && http_method_is(ex->request, "CONNECT"));

	if (status < 200 && !tunnel) {
		if (ex->pub.interim_count < PS_INTERIM_MAX)
			ex->pub.interim[ex->pub.interim_count] = status;
		ex->pub.interim_count++;
		http1_begin_again(&dir->parser);
		return;
	}
	if (conn->hold == ex)
		conn->hold = NULL;
	ex->head_ts_ns = ex->response->pub.last_ts_ns;
	stream_reader_begin(&ex->reader, ex->request, ex->response, &conn->limits, &ex->pub, &conn->messages);
	if (tunnel)
		ex->pub.flags |= PS_EXCHANGE_TUNNEL;
	dir->body_at_call = !asked;
	if (http1_frame_response(&dir->parser, tunnel || (asked && http_method_is(ex->request, "HEAD"))) == HTTP1_MORE)
		return;
	if (tunnel && is_h2c(ex)) {
		message_over(conn, d);
		conn->mode = HTTP_MODE_H2C;
		return;
	}
	if (tunnel)
		tunnel_begin(conn, ex);
	message_over(conn, d);
}

/* What begins with the first byte of data, when a whole line of it is there. */
static enum http1_kind start_line_kind(const uint8_t *data, size_t len)
{
	const uint8_t *lf = memchr(data, '\n', len);
	size_t line = lf != NULL ? (size_t)(lf - data) : 0;

	if (line > 0 && data[line - 1] == '\r')
		line--;
	return line > 0 ? http1_line_kind((const char *)data, line) : HTTP1_NEITHER;
}

/*
 * A response with no request may answer a HEAD. When the first byte of what
 * its fields announce as body begins a call and is a status line, there was no
 * body.
 */
static void response_without_body(struct http1_conn *conn, int d, const uint8_t *data, size_t len)
{
	struct direction *dir = &conn->dir[d];

	dir->body_at_call = false;
	if (len < 7 || memcmp(data, "HTTP/1.", 7) != 0 || start_line_kind(data, len) != HTTP1_RESPONSE)
		return;
	dir->parser.message->pub.flags |= PS_MESSAGE_AMBIGUOUS; /* a guess */
	http1_no_body(&dir->parser);
	message_over(conn, d);
	if (conn->unanswered == 1)
		conn->awaiting->began_alone = true; /* what seemed open when it began was not */
}

/* --- feeding --- */

static void head_read(struct http1_conn *conn, int d)
{
	struct exchange *ex = conn->dir[d].exchange;

	if (d != conn->request_dir) {
		response_head(conn, d);
		return;
	}
	stream_reader_begin(&ex->reader, ex->request, NULL, &conn->limits, &ex->pub, &conn->messages);
	switch (http1_frame_request(&conn->dir[d].parser)) {
	case HTTP1_DONE:
		message_over(conn, d);
		break;
	case HTTP1_LOST:
		message_over(conn, d);
		place_lost(conn, d, false);
		break;
	default:
		break;
	}
}

static bool kind_fits(const struct http1_conn *conn, int d, enum http1_kind kind)
{
	if (kind == HTTP1_NEITHER || conn->request_dir < 0)
		return kind != HTTP1_NEITHER;
	return (kind == HTTP1_REQUEST) == (conn->request_dir == d);
}

static void start_line_read(struct http1_conn *conn, int d)
{
	struct direction *dir = &conn->dir[d];
	enum http1_kind kind = dir->parser.message->kind;

	if (!kind_fits(conn, d, kind)) {
		bad_start(conn, d);
		return;
	}
	conn->request_dir = (int8_t)(kind == HTTP1_REQUEST ? d : !d);
	conn->seen_start = true;
	conn->dir[0].skipped = conn->dir[1].skipped = 0;
	if (kind == HTTP1_RESPONSE) {
		response_begin(conn, dir);
	} else if (!request_begin(conn, d)) {
		head_dropped(conn, d);
		place_lost(conn, d, false);
	}
}

static size_t blank_span(const uint8_t *data, size_t len)
{
	size_t n = 0;

	while (n < len && (data[n] == '\r' || data[n] == '\n'))
		n++;
	return n;
}

bool http1_begins(const uint8_t *data, size_t len)
{
	size_t blank = blank_span(data, len);

	return start_line_kind(data + blank, len - blank) != HTTP1_NEITHER;
}

/*
 * A start line turned out to be none. Of `taken` bytes of this call none is
 * consumed if the line began in an earlier call: rubbish at the end of that one
 * may hide that this one begins with a start line.
 */
static size_t bad_start_taken(struct http1_conn *conn, int d, size_t taken, bool begins_call)
{
	struct direction *dir = &conn->dir[d];
	bool look_again = begins_call && dir->parser.head_bytes > taken;

	bad_start(conn, d);
	if (!look_again || dir->place != PLACE_LOST)
		return taken;
	conn->stats.skipped_bytes -= taken;
	dir->skipped -= taken;
	return 0;
}

static size_t feed_message(struct http1_conn *conn, int d, const struct http_context *ctx, const uint8_t *data,
			   size_t len, bool begins_call)
{
	struct direction *dir = &conn->dir[d];
	struct ps_message *pub = &dir->parser.message->pub;
	struct http1_result r;

	if (dir->parser.state == HTTP1_AT_START && dir->parser.head_bytes == 0) {
		size_t blank = blank_span(data, len);

		conn->stats.skipped_bytes += blank;
		if (blank > 0)
			return blank;
		pub->first_ts_ns = ctx->ts_ns;
		dir->begin_ns = ctx->begin_ns;
		if (ctx->process != NULL)
			pub->process = *ctx->process;
	}
	if (dir->parser.message->tap.reader != NULL)
		stream_reader_set_context(dir->parser.message->tap.reader, ctx, begins_call);
	r = http1_read(&dir->parser, &conn->limits, data, len);
	pub->last_ts_ns = ctx->ts_ns;
	if (ctx->from_file)
		pub->flags |= PS_MESSAGE_FROM_FILE;
	conn->stats.message_bytes += r.taken;
	switch (r.event) {
	case HTTP1_STARTED:
		start_line_read(conn, d);
		break;
	case HTTP1_HEAD:
		head_read(conn, d);
		break;
	case HTTP1_DONE:
		message_over(conn, d);
		break;
	case HTTP1_BAD_START:
		return bad_start_taken(conn, d, r.taken, begins_call);
	case HTTP1_MORE:
	case HTTP1_LOST:
		break;
	}
	return r.taken;
}

/* What a tunnel carries belongs to the exchange that led to it. */
static void feed_tunnel(struct http1_conn *conn, int d, const struct http_context *ctx, const uint8_t *data, size_t len,
			bool begins_call)
{
	struct exchange *ex = conn->tunnel;
	struct http_message *message = ex == NULL ? NULL : d == conn->request_dir ? ex->request : ex->response;

	conn->stats.tunnel_bytes += len;
	if (message != NULL)
		message->pub.last_ts_ns = ctx->ts_ns;
	if (ex == NULL || ex->reader == NULL)
		return;
	stream_reader_set_context(ex->reader, ctx, begins_call);
	stream_reader_data(ex->reader, part_of(conn, d), data, len);
}

static size_t feed_between(struct http1_conn *conn, int d, const uint8_t *data, size_t len)
{
	struct direction *dir = &conn->dir[d];
	struct http_message *message;
	size_t blank = blank_span(data, len);

	conn->stats.skipped_bytes += blank;
	if (blank > 0)
		return blank;
	message = http_message_new();
	if (message == NULL) {
		place_lost(conn, d, false);
		return 0;
	}
	http1_begin(&dir->parser, message);
	dir->place = PLACE_MESSAGE;
	return 0;
}

/* Only the beginning of a call is looked at: inside a body anything may look like a start line. */
static size_t feed_lost(struct http1_conn *conn, int d, const uint8_t *data, size_t len, bool begins_call)
{
	struct direction *dir = &conn->dir[d];
	size_t blank = begins_call ? blank_span(data, len) : len;

	if (kind_fits(conn, d, start_line_kind(data + blank, len - blank))) {
		dir->place = PLACE_BETWEEN;
		conn->stats.skipped_bytes += blank;
		return blank;
	}
	conn->stats.skipped_bytes += len;
	dir->skipped += len;
	if (dir->skip_limited && dir->skipped > SKIP_MAX)
		not_http(conn);
	return len;
}

/* Take some bytes, or change the place. Returns what was taken. */
static size_t feed_step(struct http1_conn *conn, int d, const struct http_context *ctx, const uint8_t *data, size_t len,
			bool begins_call)
{
	struct direction *dir = &conn->dir[d];

	if (dir->body_at_call && begins_call && dir->place == PLACE_MESSAGE)
		response_without_body(conn, d, data, len);
	dir->body_at_call = false;
	switch ((enum place)dir->place) {
	case PLACE_BETWEEN:
		return feed_between(conn, d, data, len);
	case PLACE_WAITING:
		response_begin(conn, dir);
		return 0;
	case PLACE_MESSAGE:
		return feed_message(conn, d, ctx, data, len, begins_call);
	case PLACE_LOST:
		return feed_lost(conn, d, data, len, begins_call);
	case PLACE_TUNNEL:
		feed_tunnel(conn, d, ctx, data, len, begins_call);
		return len;
	case PLACE_ENDED:
		break;
	}
	conn->stats.skipped_bytes += len;
	return len;
}

/* Must the other direction be fed first? */
static bool is_blocked(struct http1_conn *conn, int d)
{
	struct direction *dir = &conn->dir[d];

	if (conn->mode == HTTP_MODE_H2C)
		return true;
	if (dir->place == PLACE_WAITING)
		return !response_begin(conn, dir);
	return dir->place == PLACE_BETWEEN && conn->hold != NULL && d == conn->request_dir;
}

static void handed_out_free(struct http1_conn *conn)
{
	exchange_free(conn->handed_out);
	conn->handed_out = NULL;
	stream_message_free(conn->message_out);
	conn->message_out = NULL;
}

size_t http1_conn_data(struct http1_conn *conn, int direction, const struct http_context *ctx, const uint8_t *data,
		       size_t len)
{
	size_t taken = 0;

	handed_out_free(conn);
	while (taken < len && !is_blocked(conn, direction))
		taken += feed_step(conn, direction, ctx, data + taken, len - taken, taken == 0);
	return taken;
}

/* The response that waits gets no request for now. */
static void response_without_request(struct http1_conn *conn, struct direction *dir, bool is_contiguous)
{
	if (is_contiguous) {
		conn->late++;
		conn->late_ts_ns = dir->parser.message->pub.first_ts_ns;
	} else {
		messages_lost(conn, conn->request_dir);
	}
	response_attach(conn, dir, PAIR_NONE);
}

void http1_conn_unblock(struct http1_conn *conn, bool is_contiguous)
{
	struct exchange *held = conn->hold;

	handed_out_free(conn);
	for (int d = 0; d < 2; d++)
		if (conn->dir[d].place == PLACE_WAITING)
			response_without_request(conn, &conn->dir[d], is_contiguous);
	if (held == NULL)
		return;
	conn->hold = NULL;
	/* a client that goes on after CONNECT without an answer would break its own tunnel if it sent HTTP */
	if (http_method_is(held->request, "CONNECT")) {
		held->pub.flags |= PS_EXCHANGE_TUNNEL;
		tunnel_begin(conn, NULL);
	}
}

static void gap_in_message(struct http1_conn *conn, int d, const struct http_context *ctx, uint64_t len)
{
	struct direction *dir = &conn->dir[d];
	bool in_head = dir->parser.state == HTTP1_AT_START || dir->parser.state == HTTP1_AT_FIELDS;
	enum http1_event event = HTTP1_LOST;

	if (!in_head)
		event = ctx->unneeded ? http1_skip(&dir->parser, conn->limits.body_bytes_max, len)
				      : http1_gap(&dir->parser, len);

	dir->body_at_call = false;
	if (in_head) {
		head_dropped(conn, d);
	} else {
		dir->parser.message->pub.last_ts_ns = ctx->ts_ns;
		if (event != HTTP1_MORE)
			message_over(conn, d);
	}
	if (event == HTTP1_LOST)
		place_lost(conn, d, true);
}

void http1_conn_limit_bodies(struct http1_conn *conn, size_t body_bytes_max)
{
	conn->limits.body_bytes_max = body_bytes_max;
}

uint64_t http1_conn_unneeded(const struct http1_conn *conn, int direction)
{
	const struct direction *dir = &conn->dir[direction];

	if (dir->place != PLACE_MESSAGE || dir->parser.message->tap.reader != NULL)
		return 0;
	return conn->limits.watch != NULL ? 0 : http1_unneeded(&dir->parser, conn->limits.body_bytes_max);
}

void http1_conn_gap(struct http1_conn *conn, int direction, const struct http_context *ctx, uint64_t len)
{
	handed_out_free(conn);
	conn->stats.gap_bytes += len;
	if (len == 0 || conn->mode == HTTP_MODE_NOT_HTTP)
		return;
	switch ((enum place)conn->dir[direction].place) {
	case PLACE_MESSAGE:
	case PLACE_WAITING:
		gap_in_message(conn, direction, ctx, len);
		break;
	case PLACE_BETWEEN:
		place_lost(conn, direction, true);
		break;
	case PLACE_LOST:
		messages_lost(conn, direction);
		break;
	case PLACE_TUNNEL:
		if (conn->tunnel != NULL && conn->tunnel->reader != NULL) {
			stream_reader_set_context(conn->tunnel->reader, ctx, false);
			stream_reader_gap(conn->tunnel->reader, part_of(conn, direction), len);
		}
		break;
	case PLACE_ENDED:
		break;
	}
}

void http1_conn_end(struct http1_conn *conn, int direction, const struct http_context *ctx)
{
	(void)ctx;
	handed_out_free(conn);
	direction_close(conn, direction, PS_MESSAGE_ABORTED);
	if (conn->request_dir == !direction)
		give_up_all(conn, conn->responses_lost ? PS_MESSAGE_LOST_TAIL : PS_MESSAGE_ABORTED);
	tunnel_end_direction(conn, direction);
}

void http1_conn_finish(struct http1_conn *conn, uint32_t flag)
{
	handed_out_free(conn);
	direction_close(conn, 0, flag);
	direction_close(conn, 1, flag);
	give_up_all(conn, conn->responses_lost ? flag | PS_MESSAGE_LOST_TAIL : flag);
	tunnel_end(conn, flag);
}

/* --- results --- */

static void publish(const struct http1_conn *conn, struct exchange *ex)
{
	if (ex->pub.flags & PS_EXCHANGE_REQUEST)
		ex->pub.request = ex->request->pub;
	if (ex->pub.flags & PS_EXCHANGE_RESPONSE)
		ex->pub.response = ex->response->pub;
	ex->pub.side = conn->request_dir == PS_OUT ? PS_SIDE_CLIENT : PS_SIDE_SERVER;
}

/* A message or a started exchange; exchange is NULL when there is none. */
static struct http_item next_message(struct http1_conn *conn)
{
	struct stream_message *message = stream_queue_pop(&conn->messages);
	struct http_item item = {.kind = PS_ITEM_STARTED};

	conn->message_out = message;
	if (message == NULL)
		return item;
	item.exchange = message->exchange;
	publish(conn, (struct exchange *)((char *)message->exchange - offsetof(struct exchange, pub)));
	if (message->is_start)
		return item;
	item.kind = PS_ITEM_MESSAGE;
	item.message = &message->pub;
	message->pub.direction =
	    message->pub.direction == STREAM_REQUEST ? (uint32_t)conn->request_dir : (uint32_t)!conn->request_dir;
	return item;
}

struct http_item http1_conn_next(struct http1_conn *conn)
{
	struct http_item item;
	struct exchange *ex;

	handed_out_free(conn);
	if (conn->messages.first != NULL)
		return next_message(conn);
	item = (struct http_item){.kind = PS_ITEM_EXCHANGE};
	while ((ex = list_pop(&conn->ready)) != NULL) {
		if (ex->pub.flags & (PS_EXCHANGE_REQUEST | PS_EXCHANGE_RESPONSE)) {
			publish(conn, ex);
			conn->handed_out = ex;
			item.exchange = &ex->pub;
			break;
		}
		exchange_free(ex); /* its head was dropped */
	}
	return item;
}

uint64_t http1_conn_start(struct http1_conn *conn, uint64_t since_ns)
{
	const struct direction *dir = &conn->dir[conn->request_dir == 0];
	struct exchange *ex = conn->request_dir < 0 ? NULL : dir->exchange;

	if (ex == NULL || ex->head_ts_ns == 0 || (ex->pub.flags & PS_EXCHANGE_ANNOUNCED))
		return 0;
	if (ex->head_ts_ns > since_ns)
		return ex->head_ts_ns;
	stream_queue_start(&conn->messages, &ex->pub);
	return 0;
}

const struct ps_exchange *http1_conn_upgrade(struct http1_conn *conn, int *client)
{
	struct exchange *ex = conn->ready.last, *before = conn->ready.first;

	handed_out_free(conn);
	while (before != ex && before->next != ex)
		before = before->next;
	if (before == ex)
		conn->ready.first = NULL;
	else
		before->next = NULL;
	conn->ready.last = before == ex ? NULL : before;
	publish(conn, ex);
	conn->handed_out = ex;
	*client = conn->request_dir == PS_OUT ? PS_OUT : PS_IN;
	return &ex->pub;
}

enum http_mode http1_conn_mode(const struct http1_conn *conn)
{
	bool is_read = conn->mode == HTTP_MODE_TUNNEL && conn->tunnel != NULL && conn->tunnel->reader != NULL;

	return is_read ? HTTP_MODE_HTTP : (enum http_mode)conn->mode;
}

struct http_stats http1_conn_stats(const struct http1_conn *conn)
{
	return conn->stats;
}

static size_t exchange_memory(const struct exchange *ex)
{
	return sizeof(*ex) + (ex->reader ? stream_reader_memory(ex->reader) : 0) +
	       (ex->request ? http_message_memory(ex->request) : 0) +
	       (ex->response ? http_message_memory(ex->response) : 0);
}

size_t http1_conn_memory(const struct http1_conn *conn)
{
	size_t bytes =
	    sizeof(*conn) + conn->messages.bytes + (conn->handed_out ? exchange_memory(conn->handed_out) : 0);

	for (const struct exchange *ex = conn->queue.first; ex != NULL; ex = ex->next)
		bytes += exchange_memory(ex);
	for (const struct exchange *ex = conn->ready.first; ex != NULL; ex = ex->next)
		bytes += exchange_memory(ex);
	for (int d = 0; d < 2; d++) {
		const struct direction *dir = &conn->dir[d];

		if (dir->parser.message != NULL && dir->exchange == NULL)
			bytes += http_message_memory(dir->parser.message);
		else if (dir->exchange != NULL && !dir->exchange->queued)
			bytes += exchange_memory(dir->exchange);
	}
	return bytes;
}
