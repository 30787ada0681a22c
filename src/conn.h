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

#include "http1_conn.h"
#include "plainsight.h"

/* How long a record waits for what should come before it. */
#define CONN_HOLD_NS (100 * 1000000ULL)

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
	struct http1_conn *http;
	struct direction directions[2];
	struct ps_endpoint local;
	struct ps_endpoint remote;
	char *unix_path; /* or NULL */
	size_t unix_path_len;
	uint64_t held_bytes;   /* memory of the records that wait */
	uint64_t waived_out;   /* received data need not wait for sent data before this position any more */
	uint64_t close_pos[2]; /* ends of in and out; 0: not known */
	uint64_t close_ts_ns;
	uint64_t skip_until[2]; /* what the kernel was told not to copy, see struct ps_skip */
	uint32_t last_tgid;
	bool closing; /* nothing will come but what waits */
	bool kernel_pos;
	bool midstream;
};

/* A connection that begins with this record. Returns false when memory is short; else undo with conn_fini(). */
bool conn_init(struct conn *conn, const struct ps_event *event, const struct http1_limits *limits);
void conn_fini(struct conn *conn);

/*
 * One record of the connection: PS_EVENT_DATA, _END, _CLOSE or _PATH.
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

/* End the waits that began at since_ns of engine time or earlier: what is missing becomes a gap. */
void conn_force(struct conn *conn, uint64_t since_ns, struct ps_capture_stats *stats);

/* Nothing more will come; flag as in http1_conn_finish(). */
void conn_finish(struct conn *conn, uint32_t flag, struct ps_capture_stats *stats);

/* Add what became of the bytes that the parser has had so far. */
void conn_add_stats(const struct conn *conn, struct ps_capture_stats *stats);

/* Whether the connection was closed and nothing of it waits. */
bool conn_is_done(const struct conn *conn);

#endif
