/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of a WebSocket (RFC 6455), compressed ones too (RFC 7692), of one
 * connection or stream. Fed with bytes in any pieces; memory is bounded by the
 * limit for a body, and 40 KiB in each direction that is compressed. Sections
 * are those of RFC 6455.
 */
#ifndef PLAINSIGHT_WEBSOCKET_H
#define PLAINSIGHT_WEBSOCKET_H

#include "stream_message.h"

struct websocket;

/*
 * extensions: value of the response's Sec-WebSocket-Extensions, may be empty. limits: how much of a message is kept,
 * and who reads the rest; copied. NULL when memory is short.
 */
struct websocket *websocket_new(struct ps_slice extensions, const struct http_limits *limits);
void websocket_free(struct websocket *ws);
size_t websocket_memory(const struct websocket *ws);

/*
 * The next len bytes of one direction; begins_call: a call of the application
 * begins with them. Finished messages go to queue.
 */
void websocket_data(struct websocket *ws, enum stream_part part, const struct http_context *ctx, const uint8_t *data,
		    size_t len, bool begins_call, struct stream_queue *queue);

/* len bytes of one direction are missing; 0: nobody knows how many. */
void websocket_gap(struct websocket *ws, enum stream_part part, const struct http_context *ctx, uint64_t len,
		   struct stream_queue *queue);

/*
 * A WebSocket whose handshake was not seen: is that one? Told by calls of the
 * application that are whole frames each, two in a row in both directions, with
 * masks on all of one direction and none of the other (5.1 and 5.2), and sound
 * text and close codes in them. Zeroed, nothing was seen.
 */
struct websocket_search {
	uint8_t calls[2]; /* by enum ps_direction: sound ones in a row */
	bool is_masked[2];
};

enum { WEBSOCKET_CALLS = 2 };

/* The next call. Returns whether a WebSocket is certain; *client is the direction of its client then. */
bool websocket_search_call(struct websocket_search *search, int direction, const uint8_t *data, size_t len,
			   int *client);

/* Messages of it from here on; what was agreed upon on compression is not known. NULL when memory is short. */
struct websocket *websocket_new_midstream(const struct http_limits *limits);

/* Nothing more comes in that direction: what is open comes out as PS_STREAM_UNFINISHED. */
void websocket_end(struct websocket *ws, enum stream_part part, struct stream_queue *queue);

#endif
