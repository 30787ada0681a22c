/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection: puts the records of its two directions into order and feeds
 * them to the HTTP parser.
 *
 * Records come nearly in order. Two threads on two CPUs can swap them; a record
 * can be lost; bytes can move by ways that the probes do not see. Each record
 * has its byte position, so a record that comes too early waits for what is
 * missing before it, and when that does not come, the hole becomes a gap.
 */
#ifndef PLAINSIGHT_CONN_H
#define PLAINSIGHT_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "http_conn.h"
#include "plainsight.h"

/* How long a record waits for what should come before it. */
#define CONN_HOLD_NS (100 * 1000000ULL)

/* How long it waits when no byte is missing before it, but the parser wants to see the other direction first. */
#define CONN_BLOCKED_NS (1000 * 1000000ULL)

struct segment; /* a record that waits */

struct direction {
	uint64_t next;         /* position of the next byte to feed */
	struct segment *first; /* of those that wait, by position */
	struct segment *last;
	bool started;
};

struct conn {
	uint64_t id;
	uint64_t sock;
	struct http_conn *http;
	struct direction directions[2];
	struct ps_endpoint local;
	struct ps_endpoint remote;
	uint64_t socket_id; /* see struct ps_event, as the next three */
	uint32_t fd;
	uint16_t library;
	uint8_t resolved;
	struct tls_hello *hello; /* TLS: NULL when nothing of the handshake was seen */
	uint64_t handshake_ns;   /* TLS: 0 when it was not seen */
	char *unix_path;         /* or NULL */
	size_t unix_path_len;
	uint64_t held_bytes;   /* memory of the records that wait */
	uint64_t waived[2];    /* the other direction need not wait for data before this position any more */
	uint64_t close_pos[2]; /* ends of in and out; 0: not known */
	uint64_t close_ts_ns;
	uint64_t skip_until[2]; /* what the kernel was told not to copy, see struct ps_skip */
	uint32_t last_tgid;
	bool closing; /* nothing will come but what waits */
	bool kernel_pos;
	bool has_exact_pos; /* a jump in positions means bytes that no record told of, and no jump that none are missing
			     */
	bool midstream;
};

/* A connection that begins with this record. Returns false when memory is short; else undo with conn_fini(). */
bool conn_init(struct conn *conn, const struct ps_event *event, const struct http_limits *limits);
void conn_fini(struct conn *conn);

/*
 * One record of the connection: PS_EVENT_DATA, _END, _CLOSE, _PATH or _BIND.
 * payload has event->captured_len bytes and is not kept. now_ns: engine time.
 * Counters go to stats. When memory is short, waits end early.
 */
void conn_event(struct conn *conn, const struct ps_event *event, const uint8_t *payload, uint64_t now_ns,
		struct ps_capture_stats *stats);

/* How far a connection is known to have got, apart from what its records told. */
struct conn_end {
	uint64_t pos[2]; /* end of what moved, by direction */
	bool closed;     /* nothing more will come */
};

/* Record that: what no record tells of until the connection finishes becomes a gap then. now_ns: engine time. */
void conn_set_end(struct conn *conn, const struct conn_end *end, uint64_t now_ns);

/* Whether records wait. */
bool conn_is_waiting(const struct conn *conn);

/*
 * End the waits that began at since_ns of engine time or earlier, those that
 * CONN_BLOCKED_NS is for when they began so much earlier: what is missing becomes
 * a gap. UINT64_MAX: all.
 */
void conn_force(struct conn *conn, uint64_t since_ns, struct ps_capture_stats *stats);

/* Nothing more will come; flag as in http_conn_finish(). */
void conn_finish(struct conn *conn, uint32_t flag, struct ps_capture_stats *stats);

/* Add what became of the bytes that the parser has had so far. */
void conn_add_stats(const struct conn *conn, struct ps_capture_stats *stats);

/* Whether the connection was closed and nothing of it waits. */
bool conn_is_done(const struct conn *conn);

#endif
