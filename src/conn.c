/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include <stdlib.h>
#include <string.h>

struct segment {
	struct segment *next;
	struct ps_event event;
	uint32_t taken; /* bytes of data that the parser has had */
	bool blocked;   /* the parser wants the other direction first */
	uint8_t data[]; /* event.captured_len */
};

struct conn *conn_new(const struct ps_event *event, const struct http1_limits *limits)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->id = event->conn_id;
	conn->sock = event->sock;
	conn->local = event->local;
	conn->remote = event->remote;
	conn->kernel_pos = event->flags & PS_EVENT_KERNEL_POS;
	conn->http = http1_conn_new(limits, event->flags & PS_EVENT_MIDSTREAM);
	if (!conn->http) {
		free(conn);
		return NULL;
	}
	return conn;
}

void conn_free(struct conn *conn)
{
	for (int d = 0; d < 2; d++) {
		struct segment *next;

		for (struct segment *segment = conn->directions[d].held; segment; segment = next) {
			next = segment->next;
			free(segment);
		}
	}
	http1_conn_free(conn->http);
	free(conn->unix_path);
	free(conn);
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

static struct http1_context context_of(const struct ps_event *event)
{
	return (struct http1_context){.ts_ns = event->ts_ns, .process = &event->process};
}

static void feed_gap(struct conn *conn, const struct ps_event *event, uint64_t len, struct ps_capture_stats *stats)
{
	struct http1_context ctx = context_of(event);

	if (len == 0)
		return;
	stats->gaps++;
	stats->gap_bytes += len;
	conn->directions[event->direction].next += len;
	http1_conn_gap(conn->http, event->direction, &ctx, len);
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

/*
 * Feed one record that is next in its direction; what is missing before it is
 * a gap. Returns how many bytes of its payload the parser took, *taken
 * included; less than captured_len when it wants the other direction first.
 */
static uint32_t feed(struct conn *conn, const struct ps_event *event, const uint8_t *payload, uint32_t taken,
		     struct ps_capture_stats *stats)
{
	struct direction *direction = &conn->directions[event->direction];
	struct http1_context ctx = context_of(event);
	uint32_t got;

	start_direction(direction, event);
	if (event->pos > direction->next)
		feed_gap(conn, event, event->pos - direction->next, stats);
	if (event->type == PS_EVENT_END) {
		http1_conn_end(conn->http, event->direction, &ctx);
		return 0;
	}
	if (event->pos + taken < direction->next) { /* bytes that were already there */
		uint64_t overlap = direction->next - event->pos - taken;

		stats->overlaps++;
		taken = overlap < event->captured_len - taken ? taken + (uint32_t)overlap : event->captured_len;
	}
	got =
	    (uint32_t)http1_conn_data(conn->http, event->direction, &ctx, payload + taken, event->captured_len - taken);
	taken += got;
	direction->next += got;
	if (taken < event->captured_len)
		return taken;
	if (event->pos + event->len > direction->next)
		feed_gap(conn, event, event->pos + event->len - direction->next, stats);
	return taken;
}

/* --- waiting ------------------------------------------------------------ */

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
	const struct direction *out = &conn->directions[PS_OUT];
	bool from_start = (event->flags & PS_EVENT_KERNEL_POS) && !(event->flags & PS_EVENT_MIDSTREAM);

	if ((direction->started || from_start) && event->pos > direction->next)
		return true;
	if (event->direction != PS_IN || !(event->flags & PS_EVENT_KERNEL_POS))
		return false;
	return (out->started || from_start) && event->other_pos > out->next + 1;
}

static bool hold(struct conn *conn, const struct ps_event *event, const uint8_t *payload, uint32_t taken, bool blocked,
		 uint64_t now_ns)
{
	struct segment **at = &conn->directions[event->direction].held;
	struct segment *segment = malloc(sizeof(*segment) + event->captured_len);

	if (!segment)
		return false;
	segment->event = *event;
	segment->taken = taken;
	segment->blocked = blocked;
	memcpy(segment->data, payload, event->captured_len);
	/* After those at the same position: an END stands behind the data that led to it. */
	while (*at && (*at)->event.pos <= event->pos)
		at = &(*at)->next;
	segment->next = *at;
	*at = segment;
	conn->held_bytes += sizeof(*segment) + event->captured_len;
	if (!conn->held_since_ns)
		conn->held_since_ns = now_ns;
	return true;
}

/* Feed the first held segment of a direction. Returns whether it is done with. */
static bool release_first(struct conn *conn, int d, struct ps_capture_stats *stats)
{
	struct segment *segment = conn->directions[d].held;

	segment->taken = feed(conn, &segment->event, segment->data, segment->taken, stats);
	segment->blocked = segment->taken < segment->event.captured_len;
	if (segment->blocked)
		return false;
	conn->directions[d].held = segment->next;
	conn->held_bytes -= sizeof(*segment) + segment->event.captured_len;
	free(segment);
	return true;
}

/* Feed everything that need not wait any longer. */
static void release(struct conn *conn, struct ps_capture_stats *stats)
{
	bool progress = true;

	while (progress) {
		progress = false;
		for (int d = PS_OUT; d >= PS_IN; d--) {
			while (conn->directions[d].held && !must_wait(conn, &conn->directions[d].held->event) &&
			       release_first(conn, d, stats))
				progress = true;
		}
	}
	if (!conn->directions[PS_IN].held && !conn->directions[PS_OUT].held)
		conn->held_since_ns = 0;
}

/* Which held segment goes first when waiting has ended: the earlier call. */
static int earlier_direction(const struct conn *conn)
{
	const struct segment *in = conn->directions[PS_IN].held, *out = conn->directions[PS_OUT].held;

	if (!in || !out)
		return in ? PS_IN : PS_OUT;
	return in->event.ts_ns <= out->event.ts_ns ? PS_IN : PS_OUT;
}

void conn_force(struct conn *conn, struct ps_capture_stats *stats)
{
	while (conn->held_since_ns) {
		int d = earlier_direction(conn);

		stats->forced++;
		if (!release_first(conn, d, stats))
			http1_conn_unblock(conn->http);
		release(conn, stats);
	}
}

/* --- records ------------------------------------------------------------ */

static bool on_stream_event(struct conn *conn, const struct ps_event *event, const uint8_t *payload, uint64_t now_ns,
			    struct ps_capture_stats *stats)
{
	uint32_t taken = 0;

	if (conn->directions[event->direction].held || must_wait(conn, event))
		return hold(conn, event, payload, 0, false, now_ns);
	taken = feed(conn, event, payload, 0, stats);
	if (taken < event->captured_len && !hold(conn, event, payload, taken, true, now_ns))
		return false;
	if (conn->held_since_ns)
		release(conn, stats);
	return true;
}

bool conn_event(struct conn *conn, const struct ps_event *event, const uint8_t *payload, uint64_t now_ns,
		struct ps_capture_stats *stats)
{
	switch (event->type) {
	case PS_EVENT_PATH:
		set_unix_path(conn, payload, event->captured_len);
		return true;
	case PS_EVENT_CLOSE:
		conn->closing = true;
		conn->close_pos[PS_IN] = event->pos;
		conn->close_pos[PS_OUT] = event->other_pos;
		return true;
	default:
		conn->last_tgid = event->process.tgid;
		return on_stream_event(conn, event, payload, now_ns, stats);
	}
}

bool conn_is_done(const struct conn *conn)
{
	return conn->closing && !conn->held_since_ns;
}

/* Bytes that moved before the close and that no record told of. */
static void gap_before_close(struct conn *conn, int d, struct ps_capture_stats *stats)
{
	struct direction *direction = &conn->directions[d];
	struct ps_event event = {.direction = (uint8_t)d};

	/* One byte in the sending direction is the FIN. */
	if (!direction->started || !conn->kernel_pos || conn->close_pos[d] <= direction->next + (d == PS_OUT))
		return;
	feed_gap(conn, &event, conn->close_pos[d] - direction->next - (d == PS_OUT), stats);
}

void conn_finish(struct conn *conn, uint32_t flag, struct ps_capture_stats *stats)
{
	struct http1_context ctx = {0};
	struct http1_conn_stats http;

	conn_force(conn, stats);
	if (conn->closing) {
		gap_before_close(conn, PS_IN, stats);
		gap_before_close(conn, PS_OUT, stats);
		/* TCP tells the end of what is sent by itself; for AF_UNIX it is the close. */
		if (!conn->kernel_pos)
			http1_conn_end(conn->http, PS_OUT, &ctx);
	}
	http1_conn_finish(conn->http, flag);
	http = http1_conn_stats(conn->http);
	stats->message_bytes += http.message_bytes;
	stats->tunnel_bytes += http.tunnel_bytes;
	stats->skipped_bytes += http.skipped_bytes;
	stats->parse_errors += http.parse_errors;
}
