/* SPDX-License-Identifier: Apache-2.0 */
#include "http2_stream.h"

#include "http2_head.h"

#include <stdlib.h>
#include <utlist.h>

/* Clients have the odd numbers (RFC 9113 5.1.1). */
static struct http2_stream **bucket_of(struct http2_streams *streams, uint32_t id)
{
	return &streams->buckets[id / 2 % HTTP2_BUCKETS];
}

static void stream_free(struct http2_stream *stream)
{
	if (stream == NULL)
		return;
	http_message_free(stream->messages[HTTP2_REQUEST]);
	http_message_free(stream->messages[HTTP2_RESPONSE]);
	stream_reader_free(stream->reader);
	free(stream);
}

static size_t stream_memory(const struct http2_stream *stream)
{
	size_t bytes = sizeof(*stream) + (stream->reader != NULL ? stream_reader_memory(stream->reader) : 0);

	for (int part = 0; part < 2; part++)
		if (stream->messages[part] != NULL)
			bytes += http_message_memory(stream->messages[part]);
	return bytes;
}

void http2_stream_drop_handed_out(struct http2_streams *streams)
{
	stream_free(streams->handed_out);
	streams->handed_out = NULL;
}

void http2_streams_free(struct http2_streams *streams)
{
	struct http2_stream *stream, *next;

	DL_FOREACH_SAFE(streams->open, stream, next)
	stream_free(stream);
	DL_FOREACH_SAFE(streams->ready, stream, next)
	stream_free(stream);
	http2_stream_drop_handed_out(streams);
	*streams = (struct http2_streams){.count = 0};
}

size_t http2_streams_memory(const struct http2_streams *streams)
{
	size_t bytes = streams->handed_out ? stream_memory(streams->handed_out) : 0;
	const struct http2_stream *stream;

	DL_FOREACH(streams->open, stream)
	bytes += stream_memory(stream);
	DL_FOREACH(streams->ready, stream)
	bytes += stream_memory(stream);
	return bytes;
}

struct http2_stream *http2_stream_find(const struct http2_streams *streams, uint32_t id)
{
	struct http2_stream *stream = streams->buckets[id / 2 % HTTP2_BUCKETS];

	while (stream != NULL && stream->id != id)
		stream = stream->next_in_bucket;
	return stream;
}

struct http2_stream *http2_stream_open(struct http2_streams *streams, uint32_t id, uint32_t flags)
{
	struct http2_stream *stream = calloc(1, sizeof(*stream)), **bucket = bucket_of(streams, id);

	if (stream == NULL)
		return NULL;
	stream->id = id;
	stream->pub.stream_id = id;
	stream->pub.flags = flags;
	stream->next_in_bucket = *bucket;
	*bucket = stream;
	DL_APPEND(streams->open, stream);
	streams->count++;
	return stream;
}

void http2_stream_begin(struct http2_stream *stream, enum http2_part part, struct http_message *message)
{
	stream->messages[part] = message;
	stream->progress[part] = HTTP2_OPEN;
	stream->pub.flags |= part == HTTP2_REQUEST ? PS_EXCHANGE_REQUEST : PS_EXCHANGE_RESPONSE;
}

/* Take it out of everything. */
static void stream_close(struct http2_streams *streams, struct http2_stream *stream)
{
	struct http2_stream **at = bucket_of(streams, stream->id);

	while (*at != stream)
		at = &(*at)->next_in_bucket;
	*at = stream->next_in_bucket;
	DL_DELETE(streams->open, stream);
	streams->count--;
}

/* The stream ends; what is known of its exchange, if anything, is handed over. */
static void stream_settle(struct http2_streams *streams, struct http2_stream *stream)
{
	stream_close(streams, stream);
	if (!(stream->pub.flags & (PS_EXCHANGE_REQUEST | PS_EXCHANGE_RESPONSE)))
		stream_free(stream);
	else
		DL_APPEND(streams->ready, stream);
}

/*
 * Content of the length that was announced is all of it (RFC 9113 8.1.1): many clients leave then, and neither wait
 * for the frame that ends the stream, often an empty one, nor let the server send it.
 */
static bool has_whole_content(const struct http_message *message)
{
	uint64_t length;

	return message != NULL && http2_head_content_length(&message->pub, &length) &&
	       length == message->pub.body.size_bytes;
}

static void part_end(struct http2_stream *stream, int part, uint32_t flag)
{
	if (stream->progress[part] == HTTP2_OVER)
		return;
	stream->progress[part] = HTTP2_OVER;
	if (stream->reader != NULL)
		stream_reader_end(stream->reader, (enum stream_part)part);
	if (stream->is_tunnel) {
		stream->messages[part]->pub.flags |= flag & PS_MESSAGE_UNFINISHED;
		return;
	}
	if (!(flag & PS_MESSAGE_COMPLETE) && has_whole_content(stream->messages[part]))
		flag = PS_MESSAGE_COMPLETE;
	if (stream->lost[part] && !(flag & PS_MESSAGE_COMPLETE))
		flag |= PS_MESSAGE_LOST_TAIL;
	if (stream->messages[part] != NULL)
		stream->messages[part]->pub.flags |= flag;
	else if (part == HTTP2_RESPONSE)
		stream->pub.response.flags = flag & ~(uint32_t)PS_MESSAGE_COMPLETE;
}

void http2_stream_end(struct http2_streams *streams, struct http2_stream *stream, enum http2_part part, uint32_t flag)
{
	part_end(stream, part, flag);
	/* the response is whole: if the end of the request may be among what was lost, nobody can wait for it */
	if (part == HTTP2_RESPONSE && stream->lost[HTTP2_REQUEST])
		part_end(stream, HTTP2_REQUEST, 0);
	if (stream->progress[!part] == HTTP2_OVER)
		stream_settle(streams, stream);
}

void http2_stream_finish(struct http2_streams *streams, struct http2_stream *stream, uint32_t flag)
{
	part_end(stream, HTTP2_REQUEST, flag);
	part_end(stream, HTTP2_RESPONSE, flag);
	stream_settle(streams, stream);
}

void http2_stream_tunnel(struct http2_stream *stream)
{
	stream->pub.flags |= PS_EXCHANGE_TUNNEL;
	stream->is_tunnel = true;
	for (int part = 0; part < 2; part++)
		stream->messages[part]->pub.flags |= PS_MESSAGE_COMPLETE;
}

void http2_stream_publish(struct http2_stream *stream)
{
	if (stream->messages[HTTP2_REQUEST] != NULL)
		stream->pub.request = stream->messages[HTTP2_REQUEST]->pub;
	if (stream->messages[HTTP2_RESPONSE] != NULL)
		stream->pub.response = stream->messages[HTTP2_RESPONSE]->pub;
}

struct ps_exchange *http2_stream_next(struct http2_streams *streams)
{
	struct http2_stream *stream = streams->ready;

	http2_stream_drop_handed_out(streams);
	if (stream == NULL)
		return NULL;
	DL_DELETE(streams->ready, stream);
	streams->handed_out = stream;
	http2_stream_publish(stream);
	return &stream->pub;
}
