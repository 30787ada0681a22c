/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of a connection that was met when it was a WebSocket already;
 * the interface is that of http1_conn.h. They belong to an exchange of which
 * neither request nor response is known.
 */
#ifndef PLAINSIGHT_WEBSOCKET_CONN_H
#define PLAINSIGHT_WEBSOCKET_CONN_H

#include "http.h"
#include "websocket.h"

struct websocket_conn;

/* Frames begin with the next byte of either direction; ctx: of what was seen last. NULL when memory is short. */
struct websocket_conn *websocket_conn_new(const struct http_limits *limits, int client_direction,
					  const struct http_context *ctx);
void websocket_conn_free(struct websocket_conn *conn);

void websocket_conn_data(struct websocket_conn *conn, int direction, const struct http_context *ctx,
			 const uint8_t *data, size_t len);
void websocket_conn_gap(struct websocket_conn *conn, int direction, const struct http_context *ctx, uint64_t len);
void websocket_conn_end(struct websocket_conn *conn, int direction);
void websocket_conn_finish(struct websocket_conn *conn, uint32_t flag);
struct http_item websocket_conn_next(struct websocket_conn *conn);
struct http_stats websocket_conn_stats(const struct websocket_conn *conn);
size_t websocket_conn_memory(const struct websocket_conn *conn);

#endif
