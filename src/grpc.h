/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of gRPC ("gRPC over HTTP2", Length-Prefixed-Message) and gRPC-Web
 * ("PROTOCOL-WEB") in the bodies of one exchange. Fed with bytes in any pieces.
 */
#ifndef PLAINSIGHT_GRPC_H
#define PLAINSIGHT_GRPC_H

#include "stream_message.h"

struct grpc;

/* How a message's body is coded. */
struct grpc_coding {
	bool is_base64;   /* application/grpc-web-text */
	bool is_deflated; /* grpc-encoding: gzip or deflate; compressed messages of others are handed out as sent */
};

/* limits: how much of a message is kept, and who reads the rest; copied. NULL when memory is short. */
struct grpc *grpc_new(enum ps_stream_protocol protocol, const struct http_limits *limits);
void grpc_free(struct grpc *grpc);
size_t grpc_memory(const struct grpc *grpc);

/* From the head of a part, before its first bytes. */
void grpc_set_coding(struct grpc *grpc, enum stream_part part, struct grpc_coding coding);

/* The next len bytes; begins_call: a frame of HTTP/2, or a call of the application, begins with them. */
void grpc_data(struct grpc *grpc, enum stream_part part, const struct http_context *ctx, const uint8_t *data,
	       size_t len, bool begins_call, struct stream_queue *queue);

/* len bytes are missing; 0: nobody knows how many. */
void grpc_gap(struct grpc *grpc, enum stream_part part, uint64_t len, struct stream_queue *queue);

/* The body is over: a message that has not ended comes out as PS_STREAM_UNFINISHED. */
void grpc_end(struct grpc *grpc, enum stream_part part, struct stream_queue *queue);

#endif
