/* SPDX-License-Identifier: Apache-2.0 */
/* The streams of an HTTP/2 connection (RFC 9113 5) and the exchanges on them. */
#ifndef PLAINSIGHT_HTTP2_STREAM_H
#define PLAINSIGHT_HTTP2_STREAM_H

#include "message.h"

enum { HTTP2_BUCKETS = 32 };

/* The two messages of an exchange. */
enum http2_part { HTTP2_REQUEST = 0, HTTP2_RESPONSE = 1 };

enum http2_progress {
	HTTP2_AWAITED = 0, /* not begun */
	HTTP2_OPEN,        /* its head was read */
	HTTP2_OVER         /* nothing more of it will come */
};

struct http2_stream {
	struct http2_stream *prev, *next; /* open ones in the order in which they began; finished ones as they ended */
	struct http2_stream *next_in_bucket;
	struct http_message *messages[2]; /* by part; NULL when its head was not seen */
	uint8_t progress[2];              /* enum http2_progress */
	bool lost[2];                     /* frames of the part may be among bytes that were lost */
	bool is_tunnel;                   /* what DATA frames carry is no body */
	struct stream_reader *reader;     /* reads the messages of its exchange; or NULL */
	uint64_t head_ts_ns;              /* when the head of the response was read */
	uint32_t id;
	struct ps_exchange pub;
};

struct http2_streams {
	struct http2_stream *buckets[HTTP2_BUCKETS];
	struct http2_stream *open; /* all of the buckets */
	struct http2_stream *ready;
	struct http2_stream *handed_out;
	uint32_t count; /* open ones */
};

void http2_streams_free(struct http2_streams *streams);
size_t http2_streams_memory(const struct http2_streams *streams);

/* The open stream of that number, or NULL. */
struct http2_stream *http2_stream_find(const struct http2_streams *streams, uint32_t id);

/* A new one, or NULL when memory is short. flags: enum ps_exchange_flags. */
struct http2_stream *http2_stream_open(struct http2_streams *streams, uint32_t id, uint32_t flags);

/* The head of a part was read; the message becomes the stream's. */
void http2_stream_begin(struct http2_stream *stream, enum http2_part part, struct http_message *message);

/*
 * A part ended as it should, or with one of enum ps_message_flags instead.
 * When the other part is over, too, the stream is finished and no longer valid.
 */
void http2_stream_end(struct http2_streams *streams, struct http2_stream *stream, enum http2_part part, uint32_t flag);

/* End what is open of a stream, flagged so; it is finished and no longer valid. */
void http2_stream_finish(struct http2_streams *streams, struct http2_stream *stream, uint32_t flag);

/* 2xx to CONNECT: both messages are over, what follows belongs to another protocol, until the stream ends. */
void http2_stream_tunnel(struct http2_stream *stream);

/* Make what is known of the messages part of the exchange. */
void http2_stream_publish(struct http2_stream *stream);

/* The next finished exchange, or NULL; valid until the next call. The side is left for the caller to fill in. */
struct ps_exchange *http2_stream_next(struct http2_streams *streams);
void http2_stream_drop_handed_out(struct http2_streams *streams);

#endif
