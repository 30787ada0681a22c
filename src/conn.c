/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include <stdlib.h>
#include <string.h>

struct segment {
	struct segment *prev, *next;
	struct ps_event event;
	uint64_t since_ns; /* engine time; never later than that of the next, which has to wait for this one */
	uint32_t taken;    /* bytes of data that the parser has had */
	uint8_t data[];    /* event.captured_len */
};

bool conn_init(struct conn *conn, const struct ps_event *event, const struct http1_limits *limits)
{
	*conn = (struct conn){
	    .id = event->conn_id,
	    .sock = event->sock,
	    .local = event->local,
	    .remote = event->remote,
	    .kernel_pos = event->flags & PS_EVENT_KERNEL_POS,
	    .midstream = event->flags & PS_EVENT_MIDSTREAM,
	    .http = http1_conn_new(limits, event->flags & PS_EVENT_MIDSTREAM),
	};
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
	http1_conn_free(conn->http);
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
	return http1_conn_mode(conn->http) == HTTP1_CONN_HTTP;
}

static struct http1_context context_of(const struct ps_event *event)
{
	return (struct http1_context){.ts_ns = event->ts_ns,
				      .process = &event->process,
				      .from_file = event->flags & PS_EVENT_FROM_FILE,
				      .unneeded = event->flags & PS_EVENT_UNNEEDED};
}

static void feed_gap(struct conn *conn, const struct ps_event *event, uint64_t len, struct ps_capture_stats *stats)
{
	struct http1_context ctx = context_of(event);

	ctx.unneeded = ctx.unneeded && len <= http1_conn_unneeded(conn->http, event->direction);
	if (!ctx.unneeded) {
		stats->gaps++;
		stats->gap_bytes += len;
	}
	conn->directions[event->direction].next += len;
	http1_conn_gap(conn->http, event->direction, &ctx, len);
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
	/* A connection that TCP says is new begins at 0; of others only what follows is known. */
	if ((event->flags & PS_EVENT_MIDSTREAM) || !(event->flags & PS_EVENT_KERNEL_POS))
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
	struct http1_context ctx = context_of(event);
	uint64_t end = event->pos + event->len;

	start_direction(direction, event);
	feed_hole(conn, event, stats);
	if (event->type == PS_EVENT_END) {
		http1_conn_end(conn->http, event->direction, &ctx);
		return 0;
	}
	taken = skip_overlap(direction, event, taken, stats);
	if (taken < event->captured_len) {
		uint32_t got = (uint32_t)http1_conn_data(conn->http, event->direction, &ctx, payload + taken,
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

/* Whether what was received has to wait for what had been sent by then. */
static bool waits_for_sent(const struct conn *conn, const struct ps_event *event, bool from_start)
{
	const struct direction *out = &conn->directions[PS_OUT];
	uint64_t known = out->next > conn->waived_out ? out->next : conn->waived_out;

	if (event->direction != PS_IN || !(event->flags & PS_EVENT_KERNEL_POS))
		return false;
	return (out->started || from_start) && event->other_pos > known + 1;
}

/*
 * Must the record wait? For bytes before it in its direction; and what was
 * received waits for what had been sent by then: a thread that reads a response
 * can be ahead of the one that still returns from sending the request. One byte
 * does not count, TCP's counters may include a FIN. Sent data need not wait:
 * its probe runs after the one of the call that it answers.
 */
static bool must_wait(const struct conn *conn, const struct ps_event *event)
{
	const struct direction *direction = &conn->directions[event->direction];
	bool from_start = (event->flags & PS_EVENT_KERNEL_POS) && !(event->flags & PS_EVENT_MIDSTREAM);

	if (!is_http(conn))
		return false;
	if ((direction->started || from_start) && event->pos > direction->next)
		return true;
	return waits_for_sent(conn, event, from_start);
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

/* The first segment that has waited since since_ns; when both directions have one, that of the earlier call. */
static struct segment *first_due(const struct conn *conn, uint64_t since_ns)
{
	struct segment *in = conn->directions[PS_IN].first, *out = conn->directions[PS_OUT].first;

	if (in && in->since_ns > since_ns)
		in = NULL;
	if (out && out->since_ns > since_ns)
		out = NULL;
	if (!in || !out)
		return in ? in : out;
	return in->event.ts_ns <= out->event.ts_ns ? in : out;
}

void conn_force(struct conn *conn, uint64_t since_ns, struct ps_capture_stats *stats)
{
	struct segment *segment;

	while ((segment = first_due(conn, since_ns)) != NULL) {
		const struct ps_event *event = &segment->event;

		stats->forced++;
		/* What was sent unseen would otherwise be waited for again with every record to come. */
		if (event->direction == PS_IN && event->other_pos > conn->waived_out)
			conn->waived_out = event->other_pos;
		if (release_first(conn, event->direction, stats) != RELEASE_WHOLE)
			http1_conn_unblock(conn->http);
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
		http1_conn_unblock(conn->http);
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
	switch (event->type) {
	case PS_EVENT_PATH:
		conn->last_tgid = event->process.tgid;
		set_unix_path(conn, payload, event->captured_len);
		break;
	case PS_EVENT_CLOSE:
		on_close_event(conn, event);
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
 * direction one byte is the FIN; where no call was seen, one may be the SYN.
 */
static void gap_before_close(struct conn *conn, int d, struct ps_capture_stats *stats)
{
	struct direction *direction = &conn->directions[d];
	struct ps_event event = {.direction = (uint8_t)d, .ts_ns = conn->close_ts_ns};
	uint64_t known = direction->next + (d == PS_OUT) + !direction->started;

	if (!is_http(conn) || (!direction->started && conn->midstream) || conn->close_pos[d] <= known)
		return;
	feed_gap(conn, &event, conn->close_pos[d] - known, stats);
}

void conn_finish(struct conn *conn, uint32_t flag, struct ps_capture_stats *stats)
{
	struct http1_context ctx = {.ts_ns = conn->close_ts_ns};

	conn_force(conn, UINT64_MAX, stats);
	gap_before_close(conn, PS_IN, stats);
	gap_before_close(conn, PS_OUT, stats);
	/* TCP tells the end of what is sent by itself; for AF_UNIX it is the close. */
	if (conn->closing && !conn->kernel_pos)
		http1_conn_end(conn->http, PS_OUT, &ctx);
	http1_conn_finish(conn->http, flag);
}

void conn_add_stats(const struct conn *conn, struct ps_capture_stats *stats)
{
	struct http1_conn_stats http = http1_conn_stats(conn->http);

	stats->message_bytes += http.message_bytes;
	stats->tunnel_bytes += http.tunnel_bytes;
	stats->skipped_bytes += http.skipped_bytes;
	stats->parse_errors += http.parse_errors;
}
