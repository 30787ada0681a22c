/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of HTTP/2 (RFC 9113 4, 6) in one direction of one connection, and
 * where they begin in a stream of bytes that was not seen from its start.
 */
#ifndef PLAINSIGHT_HTTP2_FRAMES_H
#define PLAINSIGHT_HTTP2_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" /* RFC 9113 3.4 */

enum {
	HTTP2_PREFACE_LEN = sizeof(HTTP2_PREFACE) - 1,
	HTTP2_HEAD_LEN = 9,
	HTTP2_PREFIX_MAX = 8,     /* of a payload: what stands before its content, or all that matters of it */
	HTTP2_FRAME_USUAL = 16384 /* longest payload unless SETTINGS_MAX_FRAME_SIZE allows more (RFC 9113 4.2) */
};

enum http2_type {
	HTTP2_DATA = 0,
	HTTP2_HEADERS = 1,
	HTTP2_PRIORITY = 2,
	HTTP2_RST_STREAM = 3,
	HTTP2_SETTINGS = 4,
	HTTP2_PUSH_PROMISE = 5,
	HTTP2_PING = 6,
	HTTP2_GOAWAY = 7,
	HTTP2_WINDOW_UPDATE = 8,
	HTTP2_CONTINUATION = 9
};

enum http2_flags {
	HTTP2_ACK = 1, /* SETTINGS, PING */
	HTTP2_END_STREAM = 1,
	HTTP2_END_HEADERS = 4,
	HTTP2_PADDED = 8,
	HTTP2_HAS_PRIORITY = 32
};

struct http2_frame {
	uint32_t length; /* of the payload */
	uint32_t stream; /* 0: the connection */
	uint8_t type;    /* enum http2_type, or one that is not known here */
	uint8_t flags;
};

/* Zeroed, it waits for the first byte of a frame. */
struct http2_reader {
	struct http2_frame frame; /* being read */
	uint32_t left;            /* payload bytes to come */
	uint32_t padding;         /* so many of them at the end are padding */
	uint8_t head[HTTP2_HEAD_LEN];
	uint8_t head_len;
	uint8_t prefix[HTTP2_PREFIX_MAX]; /* first bytes of the payload */
	uint8_t prefix_len;
	uint8_t prefix_want;
	bool in_payload;
};

enum http2_event {
	HTTP2_MORE = 0, /* everything taken, the frame goes on */
	HTTP2_HEAD,     /* its first nine bytes were read: reader->frame is set */
	HTTP2_CONTENT,  /* part of a DATA, or of a header block */
	HTTP2_END,      /* the frame is over */
	HTTP2_BAD       /* that is no frame */
};

struct http2_result {
	size_t taken;
	enum http2_event event;
	size_t content; /* HTTP2_CONTENT: the last so many bytes of those taken */
};

/*
 * Read up to len bytes, at most to the next event. To be called until it
 * returns HTTP2_MORE or HTTP2_BAD: a frame may end without a byte to read.
 */
struct http2_result http2_read(struct http2_reader *reader, const uint8_t *data, size_t len);

/*
 * len bytes of the payload are missing. Returns how many of them were content;
 * -1 when they are more than there are left, or some of them mattered: then the
 * place is lost.
 */
int64_t http2_skip(struct http2_reader *reader, uint64_t len);

/* The number in the four bytes, without its reserved bit. */
uint32_t http2_number(const uint8_t bytes[4]);

/* The promised stream of PUSH_PROMISE, once its prefix was read. */
uint32_t http2_promised(const struct http2_reader *reader);

/* Do frames begin with the first of these bytes? */
enum http2_scan {
	HTTP2_SCAN_NO,
	HTTP2_SCAN_MAYBE, /* so far as they go; more would tell */
	HTTP2_SCAN_YES
};

/*
 * Three frames in a row; or two of them that are the whole data, which begins a
 * call of the application; or one that is, when its length or a header block in
 * it proves it.
 */
enum http2_scan http2_scan(const uint8_t *data, size_t len, bool begins_call);

/* Is that the first frame of a server (RFC 9113 3.4)? len may be less than HTTP2_HEAD_LEN. */
enum http2_scan http2_scan_settings(const uint8_t *data, size_t len);

#endif
