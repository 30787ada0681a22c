/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP message being read, of any version, with the memory that its slices point into. */
#ifndef PLAINSIGHT_MESSAGE_H
#define PLAINSIGHT_MESSAGE_H

#include "http.h"
#include "stream_reader.h"

enum { HTTP_FIELDS_MAX = 1024 }; /* kept header lines of one message, and as many trailer lines */

/* Allocate and free with the two functions below. */
struct http_message {
	struct ps_message pub;
	struct http_message *next_free; /* in the pool */
	char *text;                     /* kept lines without line ends, then what is being read */
	size_t text_len;                /* of the kept lines */
	size_t text_cap;
	char *body;
	size_t body_cap; /* the length is pub.body.kept.len */
	struct ps_header *fields;
	uint32_t field_cap;
	uint8_t kind;                   /* HTTP/1: enum http1_kind */
	bool expects_upgrade;           /* HTTP/1: an Upgrade field was seen (RFC 9110 7.8) */
	struct stream_tap tap;          /* reads the body as well */
	const struct body_watch *watch; /* whose pub.body.scan is; NULL: it is nobody's, or was not asked */
	bool is_unwatched;              /* it was asked, and does not read the body */
};

/* NULL when memory is short. */
struct http_message *http_message_new(void);
void http_message_free(struct http_message *message);
/* Heap bytes held. */
size_t http_message_memory(const struct http_message *message);
bool http_method_is(const struct http_message *request, const char *method);

/* Read a number in decimal, as in Content-Length; false when it is none, or too large. */
bool http_number(struct ps_slice text, uint64_t *value);

/* Make room for `need` bytes of text; slices follow. False when memory is short. */
bool http_message_reserve(struct http_message *message, size_t need);

/* Append a header or trailer whose slices point into text; flags: enum ps_header_flags. False when there are too many,
 * or memory is short. */
bool http_message_add_field(struct http_message *message, bool trailer, struct ps_slice name, struct ps_slice value,
			    uint32_t flags);

/* Count n bytes of body and keep those within the limit, as long as none before them is missing. */
void http_message_body(struct http_message *message, const struct http_limits *limits, const uint8_t *data, size_t n);

/* len bytes of the body are missing here; 0: nobody knows how many. */
void http_message_body_gap(struct http_message *message, uint64_t len);

static inline struct ps_slice http_slice(const char *data, size_t len)
{
	return (struct ps_slice){.data = len ? data : NULL, .len = len};
}

#endif
