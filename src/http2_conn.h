/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 exchanges of one observed connection (RFC 9113); the interface is that
 * of http1_conn.h, which explains it.
 */
#ifndef PLAINSIGHT_HTTP2_CONN_H
#define PLAINSIGHT_HTTP2_CONN_H

#include "http.h"

struct http2_conn;

enum http2_beginning {
	HTTP2_FROM_START,
	HTTP2_MIDSTREAM, /* bytes moved before the first that will be fed: reading begins where frames are found */
	HTTP2_AFTER_GAP  /* they were lost: likewise */
};

/* A new connection, or NULL when memory is short. */
struct http2_conn *http2_conn_new(const struct http_limits *limits, enum http2_beginning beginning);
void http2_conn_free(struct http2_conn *conn);

/* The connection began as HTTP/1 and 101 upgraded it: the request becomes that of stream 1 (RFC 7540 3.2). */
void http2_conn_upgrade(struct http2_conn *conn, int client_direction, const struct ps_exchange *upgrade);

/*
 * Feed bytes. Less than len are taken when a response begins whose request has
 * not been seen: the two directions came in the wrong order.
 */
size_t http2_conn_data(struct http2_conn *conn, int direction, const struct http_context *ctx, const uint8_t *data,
		       size_t len);
void http2_conn_unblock(struct http2_conn *conn);
void http2_conn_gap(struct http2_conn *conn, int direction, const struct http_context *ctx, uint64_t len);
/* See http1_conn_limit_bodies(). */
void http2_conn_limit_bodies(struct http2_conn *conn, size_t body_bytes_max);

void http2_conn_end(struct http2_conn *conn, int direction);
void http2_conn_finish(struct http2_conn *conn, uint32_t flag);

/* Exchanges come out in the order in which they were completed. */
struct http_item http2_conn_next(struct http2_conn *conn);
uint64_t http2_conn_start(struct http2_conn *conn, uint64_t since_ns);

enum http_mode http2_conn_mode(const struct http2_conn *conn);
struct http_stats http2_conn_stats(const struct http2_conn *conn);
size_t http2_conn_memory(const struct http2_conn *conn);

/* Whether a header block proved that this is HTTP/2. */
bool http2_conn_is_certain(const struct http2_conn *conn);

/* Whether the direction's bytes are looked through for a frame. */
bool http2_conn_is_lost(const struct http2_conn *conn, int direction);

#endif
