/* SPDX-License-Identifier: Apache-2.0 */
#include "stream_message.h"

#include <stdlib.h>
#include <string.h>

/* The queue is emptied after each record, so that only what one record tells of waits in it. */
enum { QUEUE_MAX = 65536, QUEUE_BYTES_MAX = 64 << 20, KEPT_FIRST = 256 };

struct stream_message *stream_message_new(enum ps_stream_protocol protocol, enum stream_part part, uint32_t type,
					  const struct http_context *ctx)
{
	struct stream_message *message = calloc(1, sizeof(*message));

	if (message == NULL)
		return NULL;
	message->pub.protocol = protocol;
	message->pub.direction = part;
	message->pub.type = type;
	message->pub.first_ts_ns = message->pub.last_ts_ns = ctx->ts_ns;
	if (ctx->process != NULL)
		message->pub.process = *ctx->process;
	return message;
}

void stream_message_free(struct stream_message *message)
{
	if (message == NULL)
		return;
	if (message->pub.body.scan != NULL)
		message->watch->free(message->pub.body.scan);
	free(message->kept);
	free(message->text);
	free(message);
}

/* Returns false when memory is short. */
static bool reserve(struct stream_message *message, size_t need, size_t max)
{
	size_t cap = message->cap ? message->cap : KEPT_FIRST;
	char *kept;

	if (need <= message->cap)
		return true;
	while (cap < need)
		cap *= 2;
	if (cap > max)
		cap = max;
	kept = realloc(message->kept, cap);
	if (kept == NULL)
		return false;
	message->kept = kept;
	message->cap = cap;
	return true;
}

/* Bytes that are not kept, for who reads them. */
static void watch_body(struct stream_message *message, const struct body_watch *watch, const uint8_t *data, size_t n)
{
	struct ps_body *body = &message->pub.body;

	if (body->scan == NULL && !message->is_unwatched && !(message->pub.flags & PS_STREAM_UNDECODED)) {
		body->scan = watch->begin_message(watch->context, &message->pub);
		message->watch = watch;
		message->is_unwatched = body->scan == NULL;
	}
	if (body->scan != NULL)
		watch->data(body->scan, data, n);
}

void stream_message_add(struct stream_message *message, const struct http_limits *limits, const uint8_t *data, size_t n)
{
	struct ps_body *body = &message->pub.body;
	bool whole = body->state == PS_BODY_COMPLETE;
	size_t room = limits->body_bytes_max > body->kept.len ? limits->body_bytes_max - body->kept.len : 0;
	size_t fit = n < room ? n : room, kept_before = body->kept.len, kept;

	body->size_bytes += n;
	if (whole && fit > 0 && reserve(message, body->kept.len + fit, limits->body_bytes_max)) {
		memcpy(message->kept + body->kept.len, data, fit);
		body->kept = (struct ps_slice){.data = message->kept, .len = body->kept.len + fit};
	}
	if (whole && body->kept.len < body->size_bytes)
		body->state = PS_BODY_TRUNCATED;
	kept = body->kept.len - kept_before;
	if (limits->watch != NULL && body->state == PS_BODY_TRUNCATED && kept < n)
		watch_body(message, limits->watch, data + kept, n - kept);
}

void stream_message_gap(struct stream_message *message, uint64_t len)
{
	struct ps_body *body = &message->pub.body;

	if (body->scan != NULL)
		message->watch->gap(body->scan);
	if (body->state != PS_BODY_GAP)
		body->gap_offset = body->size_bytes;
	body->state = PS_BODY_GAP;
	body->gap_bytes += len;
	body->size_bytes += len;
	message->pub.wire_bytes += len;
}

size_t stream_message_memory(const struct stream_message *message)
{
	return sizeof(*message) + message->cap + message->pub.name.len + message->pub.event_id.len;
}

static void append(struct stream_queue *queue, struct stream_message *message)
{
	message->next = NULL;
	*(queue->last != NULL ? &queue->last->next : &queue->first) = message;
	queue->last = message;
	queue->bytes += stream_message_memory(message);
	queue->count++;
}

void stream_queue_push(struct stream_queue *queue, struct stream_message *message)
{
	bool *dropped = &queue->dropped[message->pub.direction & 1];
	struct ps_exchange *exchange = queue->exchange;
	bool is_full = queue->count >= QUEUE_MAX || queue->bytes + stream_message_memory(message) > QUEUE_BYTES_MAX;

	if (message->pub.type != PS_STREAM_TRAILERS)
		*(message->pub.direction == STREAM_REQUEST ? &exchange->request_messages
							   : &exchange->response_messages) += 1;
	if (is_full && queue->count > 0) {
		*dropped = true;
		stream_message_free(message);
		return;
	}
	if (*dropped)
		message->pub.flags |= PS_STREAM_AFTER_GAP;
	*dropped = false;
	/* more than one: a gRPC call that is a stream */
	if ((exchange->flags & PS_EXCHANGE_RESPONSE) &&
	    (exchange->request_messages > 1 || exchange->response_messages > 1))
		stream_queue_start(queue, exchange);
	exchange->flags |= PS_EXCHANGE_STARTED;
	message->exchange = exchange;
	append(queue, message);
}

void stream_queue_start(struct stream_queue *queue, struct ps_exchange *exchange)
{
	struct stream_message *message;

	if (queue->count >= QUEUE_MAX || exchange->flags & PS_EXCHANGE_ANNOUNCED)
		return;
	message = calloc(1, sizeof(*message));
	if (message == NULL)
		return;
	message->is_start = true;
	message->exchange = exchange;
	exchange->flags |= PS_EXCHANGE_STARTED | PS_EXCHANGE_ANNOUNCED;
	append(queue, message);
}

struct stream_message *stream_queue_pop(struct stream_queue *queue)
{
	struct stream_message *message = queue->first;

	if (message == NULL)
		return NULL;
	queue->first = message->next;
	if (queue->first == NULL)
		queue->last = NULL;
	queue->bytes -= stream_message_memory(message);
	queue->count--;
	message->next = NULL;
	return message;
}

void stream_queue_free(struct stream_queue *queue)
{
	struct stream_message *message;

	while ((message = stream_queue_pop(queue)) != NULL)
		stream_message_free(message);
}
