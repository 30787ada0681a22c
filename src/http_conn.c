/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which version of HTTP is it?
 *
 * A new connection is HTTP/2 when its client begins with the preface, or its
 * server with a SETTINGS frame (RFC 9113 3.4), and else HTTP/1, which 101 may
 * upgrade (RFC 7540 3.2). One that was met in its middle, or whose beginning was
 * lost, is what the first call with a start line of HTTP/1 or the first header
 * block of HTTP/2 says; until then every call is given to the reader that it
 * looks like. It may also be a WebSocket whose handshake was not seen. A header of the PROXY protocol before all that
 * is skipped.
 */
#include "http_conn.h"

#include "http1_conn.h"
#include "http2_conn.h"
#include "http2_frames.h"
#include "proxy_header.h"
#include "websocket_conn.h"

#include <stdlib.h>
#include <string.h>

enum version {
	VERSION_BEGINNING = 0, /* the first bytes do not tell yet */
	VERSION_UNCERTAIN,     /* met in the middle */
	VERSION_1,
	VERSION_2,
	VERSION_WEBSOCKET
};

struct http_conn {
	struct http_limits limits;
	struct http1_conn *http1;
	struct http2_conn *http2;            /* NULL until there is reason for it */
	struct websocket_conn *websocket;    /* VERSION_WEBSOCKET */
	struct websocket_search search;      /* VERSION_UNCERTAIN */
	uint64_t proxy_bytes;                /* in headers of the PROXY protocol */
	uint64_t proxy_gap_bytes;            /* lost in them */
	uint8_t first[2][HTTP2_PREFACE_LEN]; /* of a direction: bytes that no reader has had */
	uint8_t first_len[2];
	struct proxy_header proxy[2];
	uint8_t version; /* enum version */
	bool midstream;
	bool has_ended[2];
};

struct http_conn *http_conn_new(const struct http_limits *limits, bool midstream)
{
	struct http_conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL)
		return NULL;
	conn->limits = *limits;
	conn->midstream = midstream;
	conn->version = midstream ? VERSION_UNCERTAIN : VERSION_BEGINNING;
	if (midstream)
		conn->proxy[0].place = conn->proxy[1].place = PROXY_PAST;
	conn->http1 = http1_conn_new(limits, midstream);
	if (conn->http1 == NULL) {
		free(conn);
		return NULL;
	}
	return conn;
}

void http_conn_free(struct http_conn *conn)
{
	if (conn == NULL)
		return;
	http1_conn_free(conn->http1);
	http2_conn_free(conn->http2);
	websocket_conn_free(conn->websocket);
	free(conn);
}

/* Returns whether there is a reader of HTTP/2: memory may be short. */
static bool make_http2(struct http_conn *conn, enum http2_beginning beginning)
{
	if (conn->http2 != NULL)
		return true;
	conn->http2 = http2_conn_new(&conn->limits, beginning);
	for (int d = 0; conn->http2 != NULL && d < 2; d++)
		if (conn->has_ended[d])
			http2_conn_end(conn->http2, d);
	return conn->http2 != NULL;
}

/* The 101 that HTTP/1 has read leads to HTTP/2. */
static void upgrade(struct http_conn *conn)
{
	int client;
	const struct ps_exchange *exchange = http1_conn_upgrade(conn->http1, &client);

	if (make_http2(conn, HTTP2_FROM_START))
		http2_conn_upgrade(conn->http2, client, exchange);
	conn->version = VERSION_2;
}

static size_t feed_http1(struct http_conn *conn, int d, const struct http_context *ctx, const uint8_t *data, size_t len)
{
	size_t taken = http1_conn_data(conn->http1, d, ctx, data, len);

	if (http1_conn_mode(conn->http1) != HTTP_MODE_H2C)
		return taken;
	upgrade(conn);
	return taken + http_conn_data(conn, d, ctx, data + taken, len - taken);
}

/* --- the beginning of a connection --- */

/* What the first bytes of a direction say. BEGINNING: no more than that it may be HTTP/2. */
static enum version version_of(const uint8_t *data, size_t len)
{
	size_t n = len < HTTP2_PREFACE_LEN ? len : HTTP2_PREFACE_LEN;
	enum http2_scan settings = http2_scan_settings(data, len);

	if (memcmp(data, HTTP2_PREFACE, n) == 0)
		return n == HTTP2_PREFACE_LEN ? VERSION_2 : VERSION_BEGINNING;
	if (settings == HTTP2_SCAN_NO)
		return VERSION_1;
	return settings == HTTP2_SCAN_YES ? VERSION_2 : VERSION_BEGINNING;
}

/*
 * What was kept goes to the reader of the version, or to that of HTTP/1 while
 * none is certain; but not what may be a header of the PROXY protocol.
 */
static void feed_first(struct http_conn *conn, const struct http_context *ctx)
{
	for (int d = 0; d < 2; d++) {
		size_t len = conn->first_len[d];

		if (len == 0 || conn->proxy[d].place != PROXY_PAST)
			continue;
		conn->first_len[d] = 0;
		if (conn->version == VERSION_2)
			http2_conn_data(conn->http2, d, ctx, conn->first[d], len);
		else
			http1_conn_data(conn->http1, d, ctx, conn->first[d], len);
	}
}

/* Returns how much was taken; nothing when the version is decided and the bytes are for its reader. */
static size_t feed_beginning(struct http_conn *conn, int d, const struct http_context *ctx, const uint8_t *data,
			     size_t len)
{
	size_t have = conn->first_len[d], room = HTTP2_PREFACE_LEN - have, n = len < room ? len : room;
	enum version version;

	memcpy(conn->first[d] + have, data, n);
	version = version_of(conn->first[d], have + n);
	if (version == VERSION_BEGINNING) {
		conn->first_len[d] = (uint8_t)(have + n);
		return n;
	}
	if (version == VERSION_2 && !make_http2(conn, HTTP2_FROM_START))
		version = VERSION_1;
	conn->version = (uint8_t)version;
	feed_first(conn, ctx);
	return 0;
}

/* What the first bytes would say is among what is missing, or will not come. */
static void give_up_beginning(struct http_conn *conn, const struct http_context *ctx, enum version version)
{
	if (conn->version != VERSION_BEGINNING)
		return;
	conn->version = (uint8_t)version;
	feed_first(conn, ctx);
}

/* --- the middle of a connection --- */

static bool looks_like_http2(const uint8_t *data, size_t len)
{
	size_t n = len < HTTP2_PREFACE_LEN ? len : HTTP2_PREFACE_LEN;

	return memcmp(data, HTTP2_PREFACE, n) == 0 || http2_scan(data, len, true) != HTTP2_SCAN_NO;
}

/* Do frames of a WebSocket follow this call, which is given to nobody then but the reader of HTTP/1 that skips it? */
static void look_for_websocket(struct http_conn *conn, int d, const struct http_context *ctx, const uint8_t *data,
			       size_t len)
{
	int client;

	if (!conn->midstream || conn->http2 != NULL || http1_conn_mode(conn->http1) != HTTP_MODE_HTTP ||
	    conn->has_ended[0] || conn->has_ended[1] || !websocket_search_call(&conn->search, d, data, len, &client))
		return;
	conn->websocket = websocket_conn_new(&conn->limits, client, ctx);
	if (conn->websocket != NULL)
		conn->version = VERSION_WEBSOCKET;
}

static size_t feed_uncertain(struct http_conn *conn, int d, const struct http_context *ctx, const uint8_t *data,
			     size_t len)
{
	enum http2_beginning beginning = conn->midstream ? HTTP2_MIDSTREAM : HTTP2_AFTER_GAP;
	bool in_frame = conn->http2 != NULL && !http2_conn_is_lost(conn->http2, d);
	size_t taken;

	if (!in_frame && http1_begins(data, len)) {
		if (conn->http2 != NULL)
			http2_conn_finish(conn->http2, PS_MESSAGE_UNFINISHED);
		conn->version = VERSION_1;
		return feed_http1(conn, d, ctx, data, len);
	}
	if (conn->http2 == NULL && !(looks_like_http2(data, len) && make_http2(conn, beginning))) {
		taken = http1_conn_data(conn->http1, d, ctx, data, len);
		look_for_websocket(conn, d, ctx, data, len);
		return taken;
	}
	taken = http2_conn_data(conn->http2, d, ctx, data, len);
	if (http2_conn_is_certain(conn->http2))
		conn->version = VERSION_2;
	return taken;
}

/* --- feeding --- */

/* To the reader of the version, once there is one. */
static size_t feed_reader(struct http_conn *conn, int d, const struct http_context *ctx, const uint8_t *data,
			  size_t len)
{
	switch ((enum version)conn->version) {
	case VERSION_1:
		return feed_http1(conn, d, ctx, data, len);
	case VERSION_2:
		return conn->http2 ? http2_conn_data(conn->http2, d, ctx, data, len) : len;
	case VERSION_UNCERTAIN:
		return feed_uncertain(conn, d, ctx, data, len);
	case VERSION_WEBSOCKET:
		websocket_conn_data(conn->websocket, d, ctx, data, len);
		return len;
	case VERSION_BEGINNING:
		break;
	}
	return 0;
}

/* Returns how much was taken: kept, or part of a header of the PROXY protocol. */
static size_t feed_proxy(struct http_conn *conn, int d, const struct http_context *ctx, const uint8_t *data, size_t len)
{
	struct proxy_header *proxy = &conn->proxy[d];
	size_t have = conn->first_len[d], room = PROXY_FIXED_MAX - have, n = len < room ? len : room, used;

	if (proxy->place != PROXY_POSSIBLE) {
		used = proxy_header_read(proxy, data, len);
		conn->proxy_bytes += used;
		return used;
	}
	memcpy(conn->first[d] + have, data, n);
	used = proxy_header_begin(proxy, conn->first[d], have + n);
	if (proxy->place == PROXY_POSSIBLE) {
		conn->first_len[d] = (uint8_t)(have + n);
		return n;
	}
	if (used > 0) {
		conn->first_len[d] = 0;
		conn->proxy_bytes += used;
		return used - have;
	}
	if (have > 0 && conn->version != VERSION_BEGINNING) {
		conn->first_len[d] = 0;
		feed_reader(conn, d, ctx, conn->first[d], have);
	}
	return 0;
}

/* What may have been a header of the PROXY protocol does not go on. */
static void give_up_proxy(struct http_conn *conn, int d, const struct http_context *ctx)
{
	size_t len = conn->first_len[d];
	bool is_possible = conn->proxy[d].place == PROXY_POSSIBLE && len > 0;

	conn->proxy[d].place = PROXY_PAST;
	if (is_possible && proxy_header_is_likely(conn->first[d], len)) {
		conn->first_len[d] = 0;
		conn->proxy_bytes += len;
	} else if (is_possible && conn->version != VERSION_BEGINNING) {
		conn->first_len[d] = 0;
		feed_reader(conn, d, ctx, conn->first[d], len);
	}
}

size_t http_conn_data(struct http_conn *conn, int direction, const struct http_context *ctx, const uint8_t *data,
		      size_t len)
{
	size_t taken = 0;

	while (taken < len && conn->proxy[direction].place != PROXY_PAST)
		taken += feed_proxy(conn, direction, ctx, data + taken, len - taken);
	if (taken < len && conn->version == VERSION_BEGINNING)
		taken += feed_beginning(conn, direction, ctx, data + taken, len - taken);
	return taken < len ? taken + feed_reader(conn, direction, ctx, data + taken, len - taken) : taken;
}

void http_conn_unblock(struct http_conn *conn, bool is_contiguous)
{
	http1_conn_unblock(conn->http1, is_contiguous);
	if (conn->http2 != NULL)
		http2_conn_unblock(conn->http2);
}

void http_conn_gap(struct http_conn *conn, int direction, const struct http_context *ctx, uint64_t len)
{
	struct proxy_header *proxy = &conn->proxy[direction];

	if (proxy->place == PROXY_REST && len <= proxy->left) {
		conn->proxy_gap_bytes += len;
		proxy->left = (uint16_t)(proxy->left - len);
		if (proxy->left == 0)
			proxy->place = PROXY_PAST;
		return;
	}
	give_up_proxy(conn, direction, ctx);
	give_up_beginning(conn, ctx, VERSION_UNCERTAIN);
	conn->search = (struct websocket_search){.calls = {0}};
	if (conn->websocket != NULL)
		websocket_conn_gap(conn->websocket, direction, ctx, len);
	else if (conn->http2 != NULL)
		http2_conn_gap(conn->http2, direction, ctx, len);
	else
		http1_conn_gap(conn->http1, direction, ctx, len);
}

uint64_t http_conn_unneeded(const struct http_conn *conn, int direction)
{
	return conn->http2 != NULL ? 0 : http1_conn_unneeded(conn->http1, direction);
}

void http_conn_limit_bodies(struct http_conn *conn, size_t body_bytes_max)
{
	conn->limits.body_bytes_max = body_bytes_max;
	http1_conn_limit_bodies(conn->http1, body_bytes_max);
	if (conn->http2 != NULL)
		http2_conn_limit_bodies(conn->http2, body_bytes_max);
}

void http_conn_end(struct http_conn *conn, int direction, const struct http_context *ctx)
{
	conn->has_ended[direction] = true;
	give_up_proxy(conn, direction, ctx);
	if (conn->first_len[direction] > 0)
		give_up_beginning(conn, ctx, VERSION_1);
	http1_conn_end(conn->http1, direction, ctx);
	if (conn->http2 != NULL)
		http2_conn_end(conn->http2, direction);
	if (conn->websocket != NULL)
		websocket_conn_end(conn->websocket, direction);
}

void http_conn_finish(struct http_conn *conn, uint32_t flag)
{
	const struct http_context ctx = {.ts_ns = 0};

	give_up_proxy(conn, 0, &ctx);
	give_up_proxy(conn, 1, &ctx);
	give_up_beginning(conn, &ctx, VERSION_1);
	http1_conn_finish(conn->http1, flag);
	if (conn->http2 != NULL)
		http2_conn_finish(conn->http2, flag);
	if (conn->websocket != NULL)
		websocket_conn_finish(conn->websocket, flag);
}

/* --- results --- */

struct http_item http_conn_next(struct http_conn *conn)
{
	struct http_item item = http1_conn_next(conn->http1);

	if (item.exchange == NULL && conn->http2 != NULL)
		item = http2_conn_next(conn->http2);
	if (item.exchange == NULL && conn->websocket != NULL)
		item = websocket_conn_next(conn->websocket);
	return item;
}

uint64_t http_conn_start(struct http_conn *conn, uint64_t since_ns)
{
	uint64_t http1 = http1_conn_start(conn->http1, since_ns);
	uint64_t http2 = conn->http2 != NULL ? http2_conn_start(conn->http2, since_ns) : 0;

	return http1 != 0 && (http2 == 0 || http1 < http2) ? http1 : http2;
}

enum http_mode http_conn_mode(const struct http_conn *conn)
{
	if (conn->websocket != NULL)
		return HTTP_MODE_HTTP;
	return conn->http2 != NULL && conn->version != VERSION_1 ? http2_conn_mode(conn->http2)
								 : http1_conn_mode(conn->http1);
}

static void add_stats(struct http_stats *stats, struct http_stats more)
{
	stats->message_bytes += more.message_bytes;
	stats->tunnel_bytes += more.tunnel_bytes;
	stats->skipped_bytes += more.skipped_bytes;
	stats->gap_bytes += more.gap_bytes;
	stats->parse_errors += more.parse_errors;
}

struct http_stats http_conn_stats(const struct http_conn *conn)
{
	struct http_stats stats = http1_conn_stats(conn->http1);

	stats.skipped_bytes += (uint64_t)conn->first_len[0] + conn->first_len[1] + conn->proxy_bytes;
	stats.gap_bytes += conn->proxy_gap_bytes;
	if (conn->http2 != NULL)
		add_stats(&stats, http2_conn_stats(conn->http2));
	if (conn->websocket != NULL)
		add_stats(&stats, websocket_conn_stats(conn->websocket));
	return stats;
}

size_t http_conn_memory(const struct http_conn *conn)
{
	return sizeof(*conn) + http1_conn_memory(conn->http1) +
	       (conn->http2 != NULL ? http2_conn_memory(conn->http2) : 0) +
	       (conn->websocket != NULL ? websocket_conn_memory(conn->websocket) : 0);
}
