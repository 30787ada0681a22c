/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.x exchanges of one observed connection.
 *
 * Feed both directions in byte order; take finished exchanges with
 * http1_conn_next(). No callback, no I/O, no knowledge of where bytes come
 * from. Memory per connection is bounded by struct http1_limits.
 */
#ifndef PLAINSIGHT_HTTP1_CONN_H
#define PLAINSIGHT_HTTP1_CONN_H

#include "plainsight.h"

struct http1_conn;

struct http1_limits {
	size_t head_bytes_max; /* of one message head and of one trailer section */
	size_t body_bytes_max; /* kept of one body; 0 keeps none; true sizes are counted anyway */
	uint32_t pipeline_max; /* requests that wait for their response; the oldest is given up beyond it */
};

/* Progress of the connection as a whole. */
enum http1_conn_mode {
	HTTP1_CONN_HTTP = 0,   /* messages are being read */
	HTTP1_CONN_TUNNEL = 1, /* 101 or CONNECT handed it over; data is counted and dropped */
	HTTP1_CONN_NOT_HTTP =
	    2 /* the first bytes were no HTTP/1 message, or too much was skipped without finding one */
};

/* Who moved the bytes and when. */
struct http1_context {
	uint64_t ts_ns;
	const struct ps_process *process; /* copied when needed */
	bool from_file;                   /* the bytes were read from the file that sendfile sent */
	bool unneeded;                    /* http1_conn_gap(): not captured because no body would keep them */
};

/*
 * A new connection, or NULL when memory is short.
 * midstream: bytes moved before the first that will be fed; reading then
 * begins at the first start line that begins a call (a data call begins at a
 * message far more often than not), and a response with no request is
 * reported as such.
 * The caller owns it and frees it with http1_conn_free().
 */
struct http1_conn *http1_conn_new(const struct http1_limits *limits, bool midstream);
void http1_conn_free(struct http1_conn *conn);

/*
 * Feed the next len bytes of one direction (enum ps_direction), which begin a
 * new call of the application.
 * Returns how many were taken. Less than len (0 included) means that the other
 * direction must be fed first: a response began but its request, which decides
 * how it is framed, has not been seen. The caller keeps the rest and offers it
 * again, or calls http1_conn_unblock() when it has waited long enough.
 * data is not kept after the call.
 */
size_t http1_conn_data(struct http1_conn *conn, int direction, const struct http1_context *ctx, const uint8_t *data,
		       size_t len);

/* Give up waiting for the request of the response that waits: it is read as a response with no request. */
void http1_conn_unblock(struct http1_conn *conn);

/* len bytes of one direction moved but were not captured. */
void http1_conn_gap(struct http1_conn *conn, int direction, const struct http1_context *ctx, uint64_t len);

/* How many of the next bytes of a direction need only be counted; UINT64_MAX: all until its end. */
uint64_t http1_conn_unneeded(const struct http1_conn *conn, int direction);

/* One direction has ended in order (end of file, shutdown). Completes bodies that end with the connection. */
void http1_conn_end(struct http1_conn *conn, int direction, const struct http1_context *ctx);

/*
 * Nothing more will come, in either direction: finish what is open.
 * flag: PS_MESSAGE_ABORTED (the connection closed) or PS_MESSAGE_UNFINISHED
 * (the capture stopped) marks messages that had not ended; with
 * PS_MESSAGE_LOST_TAIL when it is not known what moved before that.
 */
void http1_conn_finish(struct http1_conn *conn, uint32_t flag);

/*
 * The next finished exchange in order, or NULL. Everything in it stays valid
 * until the next call with the same conn. conn_id, local, remote and unix_path
 * are left zero for the caller to fill in; side is set.
 */
struct ps_exchange *http1_conn_next(struct http1_conn *conn);

enum http1_conn_mode http1_conn_mode(const struct http1_conn *conn);

/* Bytes fed or declared lost, by what became of them. The sum of all is what was fed. */
struct http1_conn_stats {
	uint64_t message_bytes; /* in heads, bodies, trailers of reported or still open messages */
	uint64_t tunnel_bytes;
	uint64_t skipped_bytes; /* no part of a message that could be told: mid-stream, after a parse error */
	uint64_t gap_bytes;     /* declared lost with http1_conn_gap() */
	uint64_t parse_errors;  /* times that a direction lost its place */
};
struct http1_conn_stats http1_conn_stats(const struct http1_conn *conn);

/* Heap bytes that the connection holds now. */
size_t http1_conn_memory(const struct http1_conn *conn);

#endif
