/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events (WHATWG HTML 9.2) of one response. Fed with bytes in any pieces. */
#ifndef PLAINSIGHT_SSE_H
#define PLAINSIGHT_SSE_H

#include "stream_message.h"

struct sse;

/* limits: how much of an event's data is kept, and who reads the rest; copied. NULL when memory is short. */
struct sse *sse_new(const struct http_limits *limits);
void sse_free(struct sse *sse);
size_t sse_memory(const struct sse *sse);

/* The body has a content coding: its events are marked so. */
void sse_set_compressed(struct sse *sse);

/* The next len bytes of the body, without its codings; finished events go to queue. */
void sse_data(struct sse *sse, const struct http_context *ctx, const uint8_t *data, size_t len,
	      struct stream_queue *queue);

/* len bytes are missing; 0: nobody knows how many. */
void sse_gap(struct sse *sse, uint64_t len, struct stream_queue *queue);

/* The body is over: an event that has not ended comes out as PS_STREAM_UNFINISHED. */
void sse_end(struct sse *sse, struct stream_queue *queue);

#endif
