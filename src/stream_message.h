/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages within an exchange (of a WebSocket, of an event stream, of gRPC) as
 * they are put together, and the queue in which they wait to be handed out.
 */
#ifndef PLAINSIGHT_STREAM_MESSAGE_H
#define PLAINSIGHT_STREAM_MESSAGE_H

#include "http.h"

/* Which of an exchange's two ways. */
enum stream_part { STREAM_REQUEST = 0, STREAM_RESPONSE = 1 };

struct stream_message {
	struct stream_message *next;
	struct ps_exchange *exchange; /* not owned */
	bool is_start;                /* no message: its exchange is to be handed out as started */
	struct ps_stream_message pub; /* direction: enum stream_part; the owner of the queue makes it the direction */
	char *kept;                   /* of the body */
	size_t cap;
	char *text;                     /* that name and event_id point into; or NULL */
	const struct body_watch *watch; /* whose pub.body.scan is; NULL: it is nobody's, or was not asked */
	bool is_unwatched;              /* it was asked, and does not read the message */
};

/* In order. Zeroed, it is empty. */
struct stream_queue {
	struct ps_exchange *exchange; /* that the messages pushed now belong to; not owned */
	struct stream_message *first;
	struct stream_message *last;
	size_t bytes; /* held by them */
	uint32_t count;
	bool dropped[2]; /* by part: messages were dropped, the queue was full */
};

/* A message that begins with the present call; NULL when memory is short. Free with stream_message_free(). */
struct stream_message *stream_message_new(enum ps_stream_protocol protocol, enum stream_part part, uint32_t type,
					  const struct http_context *ctx);
void stream_message_free(struct stream_message *message);

/*
 * Count n bytes of the body and keep those within the limit, as long as none before them is missing. Who watches gets
 * the others, unless they could not be decompressed.
 */
void stream_message_add(struct stream_message *message, const struct http_limits *limits, const uint8_t *data,
			size_t n);

/* len bytes of the body are missing here; 0: nobody knows how many. */
void stream_message_gap(struct stream_message *message, uint64_t len);

size_t stream_message_memory(const struct stream_message *message);

/*
 * The message is over: into the queue, which becomes its owner, and counted at
 * its exchange. A queue that nobody empties drops messages, and marks the next
 * one of the same part.
 */
void stream_queue_push(struct stream_queue *queue, struct stream_message *message);

/* The exchange is to be handed out as started, unless that was so already. */
void stream_queue_start(struct stream_queue *queue, struct ps_exchange *exchange);

/* The first message becomes the caller's; NULL when there is none. */
struct stream_message *stream_queue_pop(struct stream_queue *queue);
void stream_queue_free(struct stream_queue *queue);

#endif
