/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reader of HTTP/1.x messages (RFC 9112) of one direction of one connection.
 *
 * Knows nothing of the other direction: http1_conn.c tells it whether a
 * response may have a body and what to do with what it finds. Incremental at
 * any byte, memory bounded by the limits. Lenient where a recipient may be,
 * because an observer reports what two others agreed upon.
 */
#ifndef PLAINSIGHT_HTTP1_H
#define PLAINSIGHT_HTTP1_H

#include "http1_conn.h"
#include "message.h"

enum {
	HTTP1_METHOD_MAX = 64,    /* longer ones are taken for something else than HTTP */
	HTTP1_HEAD_BYTES_MIN = 64 /* a smaller limit is raised to this */
};

enum http1_kind { HTTP1_NEITHER = 0, HTTP1_REQUEST = 1, HTTP1_RESPONSE = 2 };

/* Where in a message the reader is. */
enum http1_state {
	HTTP1_AT_START = 0, /* in the start line */
	HTTP1_AT_FIELDS,    /* in the header section */
	HTTP1_AT_HEAD_END,  /* waits for http1_frame_*() */
	HTTP1_AT_LENGTH,    /* in a Content-Length body */
	HTTP1_AT_CLOSE,     /* in a body that ends with the connection */
	HTTP1_AT_CHUNK_SIZE,
	HTTP1_AT_CHUNK_EXT, /* rest of a chunk-size line */
	HTTP1_AT_CHUNK_DATA,
	HTTP1_AT_CHUNK_CRLF, /* line end after chunk data */
	HTTP1_AT_TRAILERS,
	HTTP1_AT_END
};

struct http1_parser {
	struct http_message *message; /* being read, not owned */
	uint64_t left;                /* bytes to the end of the body or chunk; value of the size line being read */
	uint64_t length;              /* value of Content-Length */
	uint64_t head_bytes;          /* of the head being read */
	size_t pending_len;           /* header line that may yet be continued (obs-fold), after text_len */
	size_t line_len;              /* line being read, after the pending one */
	size_t section_start;         /* text_len where the header or trailer section began */
	uint8_t state;                /* enum http1_state */
	uint8_t digits;               /* of the chunk size */
	bool line_cut;                /* the line being read is over the limit */
	bool pending_cut;
	bool has_length;
	bool bad_length; /* not a number, or several that differ */
	bool has_coding;
	bool chunked;    /* final transfer coding */
	bool bad_coding; /* chunked named twice or not last, or a white space before the colon */
};

/* Start to read a message, which must be new. */
void http1_begin(struct http1_parser *parser, struct http_message *message);

/* Go on with the next head of the same message: what was a 1xx response is dropped except for its wire_bytes. */
void http1_begin_again(struct http1_parser *parser);

enum http1_event {
	HTTP1_MORE = 0,  /* everything taken, the message goes on */
	HTTP1_STARTED,   /* start line read: message->kind, method, target, status, reason are set */
	HTTP1_HEAD,      /* head read: call http1_frame_request() or http1_frame_response() next */
	HTTP1_DONE,      /* the message has ended */
	HTTP1_BAD_START, /* no start line of HTTP/1.x; `taken` is in pub.wire_bytes all the same */
	HTTP1_LOST       /* http1_gap(): the end of the message cannot be told */
};

struct http1_result {
	size_t taken;
	enum http1_event event;
};

/* Read up to len bytes, at most to the next event. */
struct http1_result http1_read(struct http1_parser *parser, const struct http_limits *limits, const uint8_t *data,
			       size_t len);

/*
 * After HTTP1_HEAD: choose how the body is delimited (RFC 9112 6.3).
 * Returns HTTP1_MORE, HTTP1_DONE when there is no body, or HTTP1_LOST for a
 * request whose end cannot be told (flagged PS_MESSAGE_AMBIGUOUS).
 */
enum http1_event http1_frame_request(struct http1_parser *parser);
/* no_body: 1xx, or the answer to HEAD, or 2xx to CONNECT. 204 and 304 are known here. */
enum http1_event http1_frame_response(struct http1_parser *parser, bool no_body);

/* A response with no request turned out to have no body, before any byte of it was read. */
void http1_no_body(struct http1_parser *parser);

/*
 * How many of the next bytes need only be counted, because the body that they
 * belong to has all that is kept of it and its framing does not stand in its
 * data. UINT64_MAX for a body that ends with the connection.
 */
uint64_t http1_unneeded(const struct http1_parser *parser, size_t body_bytes_max);

/*
 * len bytes were not fed because they need only be counted; where that is not
 * so, they are missing. Returns as http1_gap().
 */
enum http1_event http1_skip(struct http1_parser *parser, size_t body_bytes_max, uint64_t len);

/* len bytes are missing. HTTP1_MORE or HTTP1_DONE when the framing survives, else HTTP1_LOST. */
enum http1_event http1_gap(struct http1_parser *parser, uint64_t len);

/* The direction ended. Marks the message complete when its body ends so, otherwise with `flag`. */
void http1_end(struct http1_parser *parser, uint32_t flag);

/* What the line (without its line end) is, judged as the first line of a message. */
enum http1_kind http1_line_kind(const char *line, size_t len);

#endif
