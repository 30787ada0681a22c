/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.x exchanges of one observed connection.
 *
 * Feed both directions in byte order; take exchanges and messages with
 * http1_conn_next(). No callback, no I/O, no knowledge of where bytes come
 * from. Memory per connection is bounded by struct http_limits.
 */
#ifndef PLAINSIGHT_HTTP1_CONN_H
#define PLAINSIGHT_HTTP1_CONN_H

#include "http.h"

struct http1_conn;

/*
 * A new connection, or NULL when memory is short.
 * midstream: bytes moved before the first that will be fed; reading then
 * begins at the first start line that begins a call (a data call begins at a
 * message far more often than not), and a response with no request is
 * reported as such.
 * The caller owns it and frees it with http1_conn_free().
 */
struct http1_conn *http1_conn_new(const struct http_limits *limits, bool midstream);
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
size_t http1_conn_data(struct http1_conn *conn, int direction, const struct http_context *ctx, const uint8_t *data,
		       size_t len);

/* Whether data that begins a call begins with a start line of HTTP/1. */
bool http1_begins(const uint8_t *data, size_t len);

/*
 * Give up waiting for the request of the response that waits: it is read as a
 * response with no request. is_contiguous: what is fed next in the other
 * direction follows what was fed before, or http1_conn_gap() comes first.
 */
void http1_conn_unblock(struct http1_conn *conn, bool is_contiguous);

/* len bytes of one direction moved but were not captured. */
void http1_conn_gap(struct http1_conn *conn, int direction, const struct http_context *ctx, uint64_t len);

/* Keep other than so far of bodies, from the next bytes on. */
void http1_conn_limit_bodies(struct http1_conn *conn, size_t body_bytes_max);

/* How many of the next bytes of a direction need only be counted; UINT64_MAX: all until its end. */
uint64_t http1_conn_unneeded(const struct http1_conn *conn, int direction);

/* One direction has ended in order (end of file, shutdown). Completes bodies that end with the connection. */
void http1_conn_end(struct http1_conn *conn, int direction, const struct http_context *ctx);

/*
 * Nothing more will come, in either direction: finish what is open.
 * flag: PS_MESSAGE_ABORTED (the connection closed) or PS_MESSAGE_UNFINISHED
 * (the capture stopped) marks messages that had not ended; with
 * PS_MESSAGE_LOST_TAIL when it is not known what moved before that.
 */
void http1_conn_finish(struct http1_conn *conn, uint32_t flag);

/*
 * The next item: messages and started exchanges in their order, then finished
 * exchanges in theirs; exchange is NULL when there is none. Everything in it
 * stays valid until the next call with the same conn. Of the exchange id,
 * conn_id, local, remote and unix_path are zero at first and kept as the caller
 * fills them in; side is set.
 */
struct http_item http1_conn_next(struct http1_conn *conn);

/*
 * Hand out as started what has been open since since_ns or earlier: an exchange
 * whose response head was read then. Returns since when another one is open that
 * was not handed out; 0: none.
 */
uint64_t http1_conn_start(struct http1_conn *conn, uint64_t since_ns);

/*
 * In HTTP_MODE_H2C no more data is taken: the exchange that led there is taken
 * out and returned, valid until the next call with the same conn. *client: the
 * direction of requests.
 */
const struct ps_exchange *http1_conn_upgrade(struct http1_conn *conn, int *client);

enum http_mode http1_conn_mode(const struct http1_conn *conn);

struct http_stats http1_conn_stats(const struct http1_conn *conn);

/* Heap bytes that the connection holds now. */
size_t http1_conn_memory(const struct http1_conn *conn);

#endif
