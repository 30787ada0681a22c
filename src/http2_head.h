/* SPDX-License-Identifier: Apache-2.0 */
/* From a header block of HTTP/2 (RFC 9113 8.2, 8.3) to a message. */
#ifndef PLAINSIGHT_HTTP2_HEAD_H
#define PLAINSIGHT_HTTP2_HEAD_H

#include "hpack.h"
#include "message.h"

struct http2_block {
	const uint8_t *data;
	size_t len;
	bool is_cut; /* its end is missing */
};

/* What a block is, by the pseudo-headers that are known. */
struct http2_head {
	bool is_request;  /* one of :method, :scheme, :authority, :path */
	bool is_response; /* :status */
	bool has_headers; /* others than pseudo-headers and unknown ones */
	bool is_sound;    /* false: it breaks HPACK, and the decoder's table is unknown now */
};

/*
 * Read a block into a message that is new: pseudo-headers and headers, as many
 * as the limits allow (PS_MESSAGE_HEAD_CUT), unknown ones marked.
 */
struct http2_head http2_head_read(struct hpack_decoder *decoder, const struct http2_block *block,
				  const struct http_limits *limits, struct http_message *message);

/* Append the headers of another message as trailers, as many as the limits allow. */
void http2_head_add_trailers(struct http_message *message, const struct http_message *trailers,
			     const struct http_limits *limits);

/* What Content-Length says (8.1.1); false: nothing that is known and a number. */
bool http2_head_content_length(const struct ps_message *message, uint64_t *length);

/* Take over a request of HTTP/1 (RFC 7540 3.2). False when memory is short. */
bool http2_head_copy(struct http_message *message, const struct ps_message *from, const struct http_limits *limits);

#endif
