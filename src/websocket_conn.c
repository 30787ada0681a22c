/* SPDX-License-Identifier: Apache-2.0 */
#include "websocket_conn.h"

#include <stdlib.h>

struct websocket_conn {
	struct ps_exchange exchange;
	struct websocket *websocket; /* NULL: finished */
	struct stream_queue messages;
	struct stream_message *message_out; /* by the last websocket_conn_next() */
	struct http_stats stats;
	int client;
	uint8_t ended; /* bits of the directions */
	bool is_handed_out;
};

struct websocket_conn *websocket_conn_new(const struct http_limits *limits, int client_direction,
					  const struct http_context *ctx)
{
	struct websocket_conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL)
		return NULL;
	conn->websocket = websocket_new_midstream(limits);
	if (conn->websocket == NULL) {
		free(conn);
		return NULL;
	}
	conn->client = client_direction;
	conn->exchange.flags = PS_EXCHANGE_MIDSTREAM | PS_EXCHANGE_TUNNEL;
	conn->exchange.side = client_direction == PS_OUT ? PS_SIDE_CLIENT : PS_SIDE_SERVER;
	conn->exchange.protocol = PS_STREAM_WEBSOCKET;
	/* not present, but outputs take time and process of an exchange from its messages */
	conn->exchange.response.first_ts_ns = conn->exchange.response.last_ts_ns = ctx->ts_ns;
	if (ctx->process != NULL)
		conn->exchange.response.process = *ctx->process;
	conn->messages.exchange = &conn->exchange;
	stream_queue_start(&conn->messages, &conn->exchange);
	return conn;
}

void websocket_conn_free(struct websocket_conn *conn)
{
	if (conn == NULL)
		return;
	websocket_free(conn->websocket);
	stream_queue_free(&conn->messages);
	stream_message_free(conn->message_out);
	free(conn);
}

static enum stream_part part_of(const struct websocket_conn *conn, int direction)
{
	return direction == conn->client ? STREAM_REQUEST : STREAM_RESPONSE;
}

void websocket_conn_data(struct websocket_conn *conn, int direction, const struct http_context *ctx,
			 const uint8_t *data, size_t len)
{
	conn->stats.tunnel_bytes += len;
	conn->exchange.response.last_ts_ns = ctx->ts_ns;
	if (conn->websocket == NULL)
		return;
	websocket_data(conn->websocket, part_of(conn, direction), ctx, data, len, true, &conn->messages);
}

void websocket_conn_gap(struct websocket_conn *conn, int direction, const struct http_context *ctx, uint64_t len)
{
	conn->stats.gap_bytes += len;
	if (conn->websocket != NULL && len > 0)
		websocket_gap(conn->websocket, part_of(conn, direction), ctx, len, &conn->messages);
}

void websocket_conn_end(struct websocket_conn *conn, int direction)
{
	conn->ended |= (uint8_t)(1 << direction);
	if (conn->websocket != NULL)
		websocket_end(conn->websocket, part_of(conn, direction), &conn->messages);
	if (conn->ended == 3)
		websocket_conn_finish(conn, 0);
}

void websocket_conn_finish(struct websocket_conn *conn, uint32_t flag)
{
	if (conn->websocket == NULL)
		return;
	websocket_end(conn->websocket, STREAM_REQUEST, &conn->messages);
	websocket_end(conn->websocket, STREAM_RESPONSE, &conn->messages);
	websocket_free(conn->websocket);
	conn->websocket = NULL;
	conn->exchange.response.flags |= flag & PS_MESSAGE_UNFINISHED;
}

struct http_item websocket_conn_next(struct websocket_conn *conn)
{
	struct http_item item = {.kind = PS_ITEM_STARTED};
	struct stream_message *message = stream_queue_pop(&conn->messages);

	stream_message_free(conn->message_out);
	conn->message_out = message;
	if (message == NULL && (conn->websocket != NULL || conn->is_handed_out))
		return item;
	item.exchange = &conn->exchange;
	if (message == NULL) {
		conn->is_handed_out = true;
		item.kind = PS_ITEM_EXCHANGE;
	} else if (!message->is_start) {
		item.kind = PS_ITEM_MESSAGE;
		item.message = &message->pub;
		message->pub.direction =
		    message->pub.direction == STREAM_REQUEST ? (uint32_t)conn->client : (uint32_t)!conn->client;
	}
	return item;
}

struct http_stats websocket_conn_stats(const struct websocket_conn *conn)
{
	return conn->stats;
}

size_t websocket_conn_memory(const struct websocket_conn *conn)
{
	return sizeof(*conn) + (conn->websocket != NULL ? websocket_memory(conn->websocket) : 0) + conn->messages.bytes;
}
