/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an exchange carries when that is more than one body each way: the
 * messages of a WebSocket, an event stream or gRPC. Chooses the reader by the
 * heads; bytes are those of bodies without their framing, or of a tunnel.
 */
#ifndef PLAINSIGHT_STREAM_READER_H
#define PLAINSIGHT_STREAM_READER_H

#include "stream_message.h"

struct stream_reader;

/* Who reads what a message's body is made of. */
struct stream_tap {
	struct stream_reader *reader; /* NULL: nobody; not owned */
	enum stream_part part;
};

void stream_reader_free(struct stream_reader *reader);
size_t stream_reader_memory(const struct stream_reader *reader);

/*
 * A head of the exchange was read, of the response when there is one: what its
 * messages are is known from here on, and their reader made if it has any; its
 * finished messages go to queue as those of exchange, which both must outlive
 * it. Free with stream_reader_free(). That of a body gets all that the body
 * gets, and undoes its codings; tunnels are for the caller to feed.
 */
struct http_message;
void stream_reader_begin(struct stream_reader **reader, struct http_message *request, struct http_message *response,
			 const struct http_limits *limits, struct ps_exchange *exchange, struct stream_queue *queue);

/* What is fed until the next call of this function was moved so. begins_call: a call of the application begins. */
void stream_reader_set_context(struct stream_reader *reader, const struct http_context *ctx, bool begins_call);

/* The next len bytes of one way. */
void stream_reader_data(struct stream_reader *reader, enum stream_part part, const uint8_t *data, size_t len);

/* len bytes of one way are missing; 0: nobody knows how many. */
void stream_reader_gap(struct stream_reader *reader, enum stream_part part, uint64_t len);

/* Nothing more comes that way. */
void stream_reader_end(struct stream_reader *reader, enum stream_part part);

#endif
