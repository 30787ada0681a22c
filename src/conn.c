/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include "tls_hello.h"

#include <stdlib.h>
#include <string.h>

struct segment {
	struct segment *prev, *next;
	struct ps_event event;
	uint64_t since_ns; /* engine time; never later than that of the next, which has to wait for this one */
	uint32_t taken;    /* bytes of data that the parser has had */
	uint8_t data[];    /* event.captured_len */
};

/* Whose addresses the connection has: of a TLS session that may become known later, and change. */
static void bind_socket(struct conn *conn, const struct ps_event *event)
{
	conn->socket_id = event->socket_id;
	conn->resolved = event->resolved;
	conn->local = event->local;
	conn->remote = event->remote;
	if (event->type != PS_EVENT_CLOSE && event->type != PS_EVENT_END)
		conn->fd = event->fd;
}

/*
 * Whether a jump in positions means bytes that no record told of: TCP's counters, and what the probes have counted of
 * a TLS session. Of AF_UNIX the probes begin to count anywhere.
 */
static bool has_exact_pos(const struct ps_event *event)
{
	return (event->flags & PS_EVENT_KERNEL_POS) || event->library;
}

bool conn_init(struct conn *conn, const struct ps_event *event, const struct http_limits *limits)
{
	*conn = (struct conn){
	    .id = event->conn_id,
	    .sock = event->sock,
	    .fd = event->fd,
	    .library = event->library,
	    .kernel_pos = event->flags & PS_EVENT_KERNEL_POS,
	    .has_exact_pos = has_exact_pos(event),
	    .midstream = event->flags & PS_EVENT_MIDSTREAM,
	    .http = http_conn_new(limits, event->flags & PS_EVENT_MIDSTREAM),
	};
	bind_socket(conn, event);
	return conn->http != NULL;
}

void conn_fini(struct conn *conn)
{
	for (int d = 0; d < 2; d++) {
		struct segment *next;

		for (struct segment *segment = conn->directions[d].first; segment; segment = next) {
			next = segment->next;
			free(segment);
		}
	}
	http_conn_free(conn->http);
	tls_hello_free(conn->hello);
	free(conn->unix_path);
}

/* The name of the listening socket: a path ends at its NUL, an abstract name begins with one (unix(7)). */
static void set_unix_path(struct conn *conn, const uint8_t *payload, size_t len)
{
	if (len == 0 || conn->unix_path)
		return;
	if (payload[0] != '\0')
		len = strnlen((const char *)payload, len);
	conn->unix_path = malloc(len);
	if (!conn->unix_path)
		return;
	memcpy(conn->unix_path, payload, len);
	if (conn->unix_path[0] == '\0')
		conn->unix_path[0] = '@';
	conn->unix_path_len = len;
}

/* --- feeding the parser ------------------------------------------------- */

static bool is_http(const struct conn *conn)
{
	return http_conn_mode(conn->http) == HTTP_MODE_HTTP;
}

static struct http_context context_of(const struct ps_event *event)
{
	return (struct http_context){.ts_ns = event->ts_ns,
				     .begin_ns = event->elapsed_ns > 0 && event->elapsed_ns < event->ts_ns
						     ? event->ts_ns - event->elapsed_ns
						     : 0,
				     .process = &event->process,
				     .from_file = event->flags & PS_EVENT_FROM_FILE,
				     .unneeded = event->flags & PS_EVENT_UNNEEDED};
}

static void feed_gap(struct conn *conn, const struct ps_event *event, uint64_t len, struct ps_capture_stats *stats)
{
	struct http_context ctx = context_of(event);

	ctx.unneeded = ctx.unneeded && len <= http_conn_unneeded(conn->http, event->direction);
	if (!ctx.unneeded) {
		stats->gaps++;
		stats->gap_bytes += len;
	}
	conn->directions[event->direction].next += len;
	http_conn_gap(conn->http, event->direction, &ctx, len);
}

/* Bytes before the record are missing. Of a connection that is not HTTP the kernel stopped to report them. */
static void feed_hole(struct conn *conn, const struct ps_event *event, struct ps_capture_stats *stats)
{
	struct direction *direction = &conn->directions[event->direction];
	struct ps_event hole;

	if (event->pos <= direction->next)
		return;
	if (!is_http(conn)) {
		direction->next = event->pos;
		return;
	}
	hole = *event;
	/* the record is, what is missing before it is not */
	hole.flags &= (uint16_t) ~(PS_EVENT_FROM_FILE | PS_EVENT_UNNEEDED);
	feed_gap(conn, &hole, event->pos - direction->next, stats);
}

/* Where the direction begins to be read, at its first record. */
static void start_direction(struct direction *direction, const struct ps_event *event)
{
	if (direction->started)
		return;
	direction->started = true;
	/* What was seen from its beginning begins at 0; of others only what follows is known. */
	if ((event->flags & PS_EVENT_MIDSTREAM) || !has_exact_pos(event))
		direction->next = event->pos;
}

/* How many bytes of the record's payload are done with when those that were already there are left out. */
static uint32_t skip_overlap(const struct direction *direction, const struct ps_event *event, uint32_t taken,
			     struct ps_capture_stats *stats)
{
	uint64_t from = event->pos + taken, end = event->pos + event->len;
	uint64_t overlap_end = end < direction->next ? end : direction->next;

	if (overlap_end <= from)
		return taken;
	stats->overlaps++;
	stats->overlap_bytes += overlap_end - from;
	taken += (uint32_t)(overlap_end - from);
	return taken < event->captured_len ? taken : event->captured_len;
}

/*
 * Feed one record that is next in its direction; what is missing before it is
 * a gap. Returns how many bytes of its payload the parser took, `taken`
 * included; less than captured_len when it wants the other direction first.
 */
static uint32_t feed(struct conn *conn, const struct ps_event *event, const uint8_t *payload, uint32_t taken,
		     struct ps_capture_stats *stats)
{
	struct direction *direction = &conn->directions[event->direction];
	struct http_context ctx = context_of(event);
	uint64_t end = event->pos + event->len;

	start_direction(direction, event);
	feed_hole(conn, event, stats);
	if (event->type == PS_EVENT_END) {
		http_conn_end(conn->http, event->direction, &ctx);
		return 0;
	}
	taken = skip_overlap(direction, event, taken, stats);
	if (taken < event->captured_len) {
		uint32_t got = (uint32_t)http_conn_data(conn->http, event->direction, &ctx, payload + taken,
							event->captured_len - taken);

		direction->next += got;
		taken += got;
		if (taken < event->captured_len)
			return taken;
	}
	if (end > direction->next) {
		stats->uncaptured_bytes += end - direction->next;
		feed_gap(conn, event, end - direction->next, stats);
	}
	return taken;
}

/* --- waiting ------------------------------------------------------------ */

/* How far the other direction of a record is known to be, or need not be waited for. */
static uint64_t known_of_other(const struct conn *conn, const struct ps_event *event)
{
	int other = !event->direction;
	uint64_t next = conn->directions[other].next, waived = conn->waived[other];

	return next > waived ? next : waived;
}

/* Had more moved in the other direction by then than was fed? */
static bool is_ahead(const struct conn *conn, const struct ps_event *event)
{
	bool from_start = has_exact_pos(event) && !(event->flags & PS_EVENT_MIDSTREAM);

	if (!has_exact_pos(event) || (event->direction == PS_OUT && !event->library))
		return false;
	return (conn->directions[!event->direction].started || from_start) &&
	       event->other_pos > known_of_other(conn, event) + 1;
}

/*
 * Is the direction held up by nothing but the parser, which wants to see the other one first? It has taken the start
 * line then: what it was not even given yet says nothing, and may be the answer to a request that was lost.
 */
static bool is_blocked(const struct conn *conn, int d)
{
	const struct segment *first = conn->directions[d].first;

	return first && first->taken > 0 && first->event.pos <= conn->directions[d].next &&
	       !is_ahead(conn, &first->event);
}

/*
 * Must the record wait? For bytes before it in its direction; and what was
 * received waits for what had been sent by then: a thread that reads a response
 * can be ahead of the one that still returns from sending the request. One byte
 * does not count, TCP's counters may include a FIN. Sent data need not wait on
 * a socket: its probe runs after the one of the call that it answers. Of a TLS
 * session it does, as what it waits for in vain was lost.
 */
static bool must_wait(const struct conn *conn, const struct ps_event *event)
{
	const struct direction *direction = &conn->directions[event->direction];
	bool from_start = has_exact_pos(event) && !(event->flags & PS_EVENT_MIDSTREAM);

	if (!is_http(conn))
		return false;
	if ((direction->started || from_start) && event->pos > direction->next)
		return true;
	return is_ahead(conn, event) && !is_blocked(conn, !event->direction);
}

/* Into the list by position; records at the same one stay in the order in which they came. */
static void insert(struct direction *direction, struct segment *segment)
{
	struct segment *after = direction->last;

	while (after && after->event.pos > segment->event.pos)
		after = after->prev;
	segment->prev = after;
	segment->next = after ? after->next : direction->first;
	if (segment->next && segment->next->since_ns < segment->since_ns)
		segment->since_ns = segment->next->since_ns;
	*(segment->prev ? &segment->prev->next : &direction->first) = segment;
	*(segment->next ? &segment->next->prev : &direction->last) = segment;
}

/* Returns false when memory is short. */
static bool hold(struct conn *conn, const struct ps_event *event, const uint8_t *payload, uint32_t taken,
		 uint64_t now_ns, struct ps_capture_stats *stats)
{
	struct segment *segment = malloc(sizeof(*segment) + event->captured_len);

	if (!segment)
		return false;
	segment->event = *event;
	segment->taken = taken;
	segment->since_ns = now_ns;
	if (event->captured_len > 0)
		memcpy(segment->data, payload, event->captured_len);
	insert(&conn->directions[event->direction], segment);
	conn->held_bytes += sizeof(*segment) + event->captured_len;
	stats->waiting_bytes += event->len - taken;
	return true;
}

static void remove_first(struct conn *conn, int d)
{
	struct direction *direction = &conn->directions[d];
	struct segment *segment = direction->first;

	direction->first = segment->next;
	*(segment->next ? &segment->next->prev : &direction->last) = NULL;
	conn->held_bytes -= sizeof(*segment) + segment->event.captured_len;
	free(segment);
}

enum release { RELEASE_NONE, RELEASE_PART, RELEASE_WHOLE };

/* Feed the first waiting record of a direction. Returns how much of it the parser took. */
static enum release release_first(struct conn *conn, int d, struct ps_capture_stats *stats)
{
	struct segment *segment = conn->directions[d].first;
	uint32_t before = segment->taken;

	segment->taken = feed(conn, &segment->event, segment->data, before, stats);
	if (segment->taken < segment->event.captured_len) {
		stats->waiting_bytes -= segment->taken - before;
		return segment->taken > before ? RELEASE_PART : RELEASE_NONE;
	}
	stats->waiting_bytes -= segment->event.len - before;
	remove_first(conn, d);
	return RELEASE_WHOLE;
}

/* Feed what need not wait of one direction. Returns whether that was anything. */
static bool release_direction(struct conn *conn, int d, struct ps_capture_stats *stats)
{
	bool progress = false;
	enum release released;

	while (conn->directions[d].first && !must_wait(conn, &conn->directions[d].first->event)) {
		released = release_first(conn, d, stats);
		progress |= released != RELEASE_NONE;
		if (released != RELEASE_WHOLE)
			break;
	}
	return progress;
}

/* Feed everything that need not wait any longer; part of a record can be what the other direction waits for. */
static void release(struct conn *conn, struct ps_capture_stats *stats)
{
	bool progress = true;

	while (progress) {
		progress = release_direction(conn, PS_OUT, stats);
		progress |= release_direction(conn, PS_IN, stats);
	}
}

/*
 * Has it waited long enough at since_ns? What no byte is missing before waits
 * for the parser, which wants to see the other direction first: that is not lost
 * but late. UINT64_MAX: nothing waits any longer.
 */
static bool is_due(const struct conn *conn, const struct segment *segment, uint64_t since_ns)
{
	uint64_t more_ns = CONN_BLOCKED_NS - CONN_HOLD_NS;

	if (since_ns == UINT64_MAX || must_wait(conn, &segment->event))
		return segment->since_ns <= since_ns;
	return since_ns >= more_ns && segment->since_ns <= since_ns - more_ns;
}

/* The first segment that is due; when both directions have one, that of the earlier call. */
static struct segment *first_due(const struct conn *conn, uint64_t since_ns)
{
	struct segment *in = conn->directions[PS_IN].first, *out = conn->directions[PS_OUT].first;

	if (in && !is_due(conn, in, since_ns))
		in = NULL;
	if (out && !is_due(conn, out, since_ns))
		out = NULL;
	if (!in || !out)
		return in ? in : out;
	return in->event.ts_ns <= out->event.ts_ns ? in : out;
}

/*
 * What moved unseen in the other direction would otherwise be waited for again with every record to come. Of a TLS
 * session it is a gap: messages that may have been in it would else be paired with others.
 */
static void waive_other(struct conn *conn, const struct ps_event *event, struct ps_capture_stats *stats)
{
	struct direction *other = &conn->directions[!event->direction];
	struct ps_event hole = *event;
	uint64_t end = event->other_pos;

	if (!has_exact_pos(event) || end <= known_of_other(conn, event))
		return;
	conn->waived[!event->direction] = end;
	if (other->first && other->first->event.pos < end)
		end = other->first->event.pos;
	if (!event->library || (event->flags & PS_EVENT_MIDSTREAM) || !is_http(conn) || end <= other->next)
		return;
	hole.direction = !event->direction;
	hole.flags &= (uint16_t) ~(PS_EVENT_FROM_FILE | PS_EVENT_UNNEEDED);
	other->started = true;
	feed_gap(conn, &hole, end - other->next, stats);
}

void conn_force(struct conn *conn, uint64_t since_ns, struct ps_capture_stats *stats)
{
	struct segment *segment;

	while ((segment = first_due(conn, since_ns)) != NULL) {
		const struct ps_event *event = &segment->event;
		bool by_parser = !must_wait(conn, event);

		stats->forced++;
		waive_other(conn, event, stats);
		if (release_first(conn, event->direction, stats) != RELEASE_WHOLE &&
		    (by_parser || since_ns == UINT64_MAX))
			http_conn_unblock(conn->http, conn->has_exact_pos);
		release(conn, stats);
	}
}

bool conn_is_waiting(const struct conn *conn)
{
	return conn->directions[PS_IN].first || conn->directions[PS_OUT].first;
}

/* --- records ------------------------------------------------------------ */

/* There is no memory to wait in: everything at once, whatever is missing. */
static void feed_without_waiting(struct conn *conn, const struct ps_event *event, const uint8_t *payload,
				 uint32_t taken, struct ps_capture_stats *stats)
{
	conn_force(conn, UINT64_MAX, stats);
	stats->forced++;
	while ((taken = feed(conn, event, payload, taken, stats)) < event->captured_len)
		http_conn_unblock(conn->http, conn->has_exact_pos);
}

static void on_stream_event(struct conn *conn, const struct ps_event *event, const uint8_t *payload, uint64_t now_ns,
			    struct ps_capture_stats *stats)
{
	bool wait = conn->directions[event->direction].first || must_wait(conn, event);
	uint32_t taken = wait ? 0 : feed(conn, event, payload, 0, stats);

	if ((wait || taken < event->captured_len) && !hold(conn, event, payload, taken, now_ns, stats))
		feed_without_waiting(conn, event, payload, taken, stats);
	if (conn_is_waiting(conn))
		release(conn, stats);
}

static void on_close_event(struct conn *conn, const struct ps_event *event)
{
	bool known = event->flags & PS_EVENT_KERNEL_POS;

	conn->closing = true;
	conn->close_ts_ns = event->ts_ns;
	conn->close_pos[PS_IN] = known ? event->pos : 0;
	conn->close_pos[PS_OUT] = known ? event->other_pos : 0;
}

/* When memory is short, nothing is known of the handshake. */
static void on_hello_event(struct conn *conn, const struct ps_event *event, const uint8_t *payload)
{
	conn->last_tgid = event->process.tgid;
	if (!conn->hello)
		conn->hello = tls_hello_new();
	if (conn->hello && !tls_hello_is_done(conn->hello))
		tls_hello_data(conn->hello, event->direction, payload, event->captured_len);
}

void conn_set_end(struct conn *conn, const struct conn_end *end, uint64_t now_ns)
{
	conn->closing = conn->closing || end->closed;
	conn->close_ts_ns = now_ns;
	conn->close_pos[PS_IN] = end->pos[PS_IN];
	conn->close_pos[PS_OUT] = end->pos[PS_OUT];
}

void conn_event(struct conn *conn, const struct ps_event *event, const uint8_t *payload, uint64_t now_ns,
		struct ps_capture_stats *stats)
{
	if (conn->library && event->socket_id)
		bind_socket(conn, event);
	switch (event->type) {
	case PS_EVENT_PATH:
		conn->last_tgid = event->process.tgid;
		set_unix_path(conn, payload, event->captured_len);
		break;
	case PS_EVENT_CLOSE:
		on_close_event(conn, event);
		break;
	case PS_EVENT_HELLO:
		on_hello_event(conn, event, payload);
		break;
	case PS_EVENT_HANDSHAKE:
		conn->last_tgid = event->process.tgid;
		conn->handshake_ns = event->elapsed_ns;
		break;
	case PS_EVENT_DATA:
	case PS_EVENT_END:
		conn->last_tgid = event->process.tgid;
		on_stream_event(conn, event, payload, now_ns, stats);
		break;
	}
}

bool conn_is_done(const struct conn *conn)
{
	return conn->closing && !conn_is_waiting(conn);
}

/*
 * Bytes that moved before the close and that no record told of. After a tunnel
 * has begun, or when it is not HTTP, that is as it should be. In the sending
 * direction one byte is the FIN; where no call was seen, one may be the SYN, too.
 */
static void gap_before_close(struct conn *conn, int d, struct ps_capture_stats *stats)
{
	struct direction *direction = &conn->directions[d];
	struct ps_event event = {.direction = (uint8_t)d, .ts_ns = conn->close_ts_ns};
	uint64_t known = direction->next + (d == PS_OUT ? 1 + !direction->started : 0);

	if (!is_http(conn) || (!direction->started && conn->midstream) || conn->close_pos[d] <= known)
		return;
	feed_gap(conn, &event, conn->close_pos[d] - known, stats);
}

void conn_finish(struct conn *conn, uint32_t flag, struct ps_capture_stats *stats)
{
	struct http_context ctx = {.ts_ns = conn->close_ts_ns};

	conn_force(conn, UINT64_MAX, stats);
	gap_before_close(conn, PS_IN, stats);
	gap_before_close(conn, PS_OUT, stats);
	/* TCP tells the end of what is sent by itself; for AF_UNIX it is the close. */
	if (conn->closing && !conn->kernel_pos)
		http_conn_end(conn->http, PS_OUT, &ctx);
	http_conn_finish(conn->http, flag);
}

void conn_add_stats(const struct conn *conn, struct ps_capture_stats *stats)
{
	struct http_stats http = http_conn_stats(conn->http);

	stats->message_bytes += http.message_bytes;
	stats->tunnel_bytes += http.tunnel_bytes;
	stats->skipped_bytes += http.skipped_bytes;
	stats->parse_errors += http.parse_errors;
}
