/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP exchanges of one observed connection, of whichever version. The
 * interface is that of http1_conn.h, which explains it.
 */
#ifndef PLAINSIGHT_HTTP_CONN_H
#define PLAINSIGHT_HTTP_CONN_H

#include "http.h"

struct http_conn;

/* NULL when memory is short. midstream: bytes moved before the first that will be fed. Free with http_conn_free(). */
struct http_conn *http_conn_new(const struct http_limits *limits, bool midstream);
void http_conn_free(struct http_conn *conn);

/*
 * Feed the next len bytes of one direction (enum ps_direction), which begin a
 * new call of the application. Returns how many were taken. Less than len (0
 * included) means that the other direction must be fed first; the caller offers
 * the rest again, or calls http_conn_unblock() when it has waited long enough.
 */
size_t http_conn_data(struct http_conn *conn, int direction, const struct http_context *ctx, const uint8_t *data,
		      size_t len);

/* See http1_conn_unblock(). */
void http_conn_unblock(struct http_conn *conn, bool is_contiguous);

/* len bytes of one direction moved but were not captured. */
void http_conn_gap(struct http_conn *conn, int direction, const struct http_context *ctx, uint64_t len);

/* How many of the next bytes of a direction need only be counted; UINT64_MAX: all until its end. */
uint64_t http_conn_unneeded(const struct http_conn *conn, int direction);

/* See http1_conn_limit_bodies(). */
void http_conn_limit_bodies(struct http_conn *conn, size_t body_bytes_max);

/* One direction has ended in order (end of file, shutdown). */
void http_conn_end(struct http_conn *conn, int direction, const struct http_context *ctx);

/* Nothing more will come: finish what is open, flagged as http1_conn_finish() says. */
void http_conn_finish(struct http_conn *conn, uint32_t flag);

/* The next item, valid until the next call with the same conn; its exchange is NULL when there is none. */
struct http_item http_conn_next(struct http_conn *conn);

/* See http1_conn_start(). */
uint64_t http_conn_start(struct http_conn *conn, uint64_t since_ns);

enum http_mode http_conn_mode(const struct http_conn *conn);
struct http_stats http_conn_stats(const struct http_conn *conn);

/* Heap bytes that the connection holds now. */
size_t http_conn_memory(const struct http_conn *conn);

#endif
