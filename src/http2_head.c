/* SPDX-License-Identifier: Apache-2.0 */
/* See http2_head.h. Section numbers are those of RFC 9113. */
#include "http2_head.h"

#include <string.h>

static bool slice_is(struct ps_slice slice, const char *text)
{
	return slice.len == strlen(text) && memcmp(slice.data, text, slice.len) == 0;
}

/* Append to the message's text, for which there is room. */
static struct ps_slice text_add(struct http_message *m, struct ps_slice slice)
{
	char *at;

	if (slice.len == 0)
		return http_slice(NULL, 0);
	at = m->text + m->text_len;
	memcpy(at, slice.data, slice.len);
	m->text_len += slice.len;
	return http_slice(at, slice.len);
}

/* Room for one more field; false when there is none. */
static bool has_room(struct http_message *m, const struct ps_header *field, size_t begin, size_t max)
{
	size_t len = field->name.len + field->value.len;

	return m->text_len - begin + len <= max && http_message_reserve(m, m->text_len + len);
}

/* The field of the message that a pseudo-header of a request belongs to; NULL when it is none. */
static struct ps_slice *request_part(struct ps_message *pub, struct ps_slice name)
{
	if (slice_is(name, ":method"))
		return &pub->method;
	if (slice_is(name, ":path"))
		return &pub->target;
	if (slice_is(name, ":scheme"))
		return &pub->scheme;
	if (slice_is(name, ":authority"))
		return &pub->authority;
	if (slice_is(name, ":protocol")) /* RFC 8441 4 */
		return &pub->protocol;
	return NULL;
}

/* 0 when it is unknown or no status. */
static uint16_t status_of(const struct ps_header *field)
{
	unsigned int status = 0;

	if (field->value.len != 3)
		return 0;
	for (size_t i = 0; i < 3; i++) {
		if (field->value.data[i] < '0' || field->value.data[i] > '9')
			return 0;
		status = status * 10 + (unsigned int)(field->value.data[i] - '0');
	}
	return status < 100 ? 0 : (uint16_t)status;
}

/* 8.3: returns whether the field is a pseudo-header, which then needs no other place. */
static bool add_pseudo(struct http_message *m, const struct ps_header *field, struct http2_head *head)
{
	struct ps_slice *part;

	if (field->name.len == 0 || field->name.data[0] != ':')
		return false;
	if (slice_is(field->name, ":status")) {
		head->is_response = true;
		m->pub.status = status_of(field);
		return true;
	}
	part = request_part(&m->pub, field->name);
	if (part == NULL)
		return false;
	head->is_request = true;
	*part = text_add(m, field->value);
	return true;
}

static void add_field(struct http_message *m, const struct ps_header *field, const struct http_limits *limits,
		      struct http2_head *head)
{
	struct ps_header own = {.flags = field->flags};
	size_t before = m->text_len;

	if (field->flags)
		m->pub.flags |= PS_MESSAGE_UNKNOWN;
	if (!has_room(m, field, 0, limits->head_bytes_max)) {
		m->pub.flags |= PS_MESSAGE_HEAD_CUT;
		return;
	}
	/* 8.3: pseudo-headers stand before the others; one that comes later is shown as what it looks like */
	if (!head->has_headers && add_pseudo(m, field, head))
		return;
	head->has_headers = head->has_headers || !(field->flags & PS_HEADER_NAME_UNKNOWN);
	own.name = text_add(m, field->name);
	own.value = text_add(m, field->value);
	if (!http_message_add_field(m, false, own.name, own.value, own.flags)) {
		m->text_len = before;
		m->pub.flags |= PS_MESSAGE_HEAD_CUT;
	}
}

struct http2_head http2_head_read(struct hpack_decoder *decoder, const struct http2_block *block,
				  const struct http_limits *limits, struct http_message *m)
{
	struct http2_head head = {.is_sound = true};
	enum hpack_result result;
	struct ps_header field;

	m->pub.version_major = 2;
	hpack_begin(decoder, block->data, block->len);
	while ((result = hpack_next(decoder, &field)) == HPACK_FIELD)
		add_field(m, &field, limits, &head);
	hpack_end(decoder);
	if (block->is_cut)
		hpack_forget(decoder);
	if (block->is_cut || result == HPACK_ERROR)
		m->pub.flags |= PS_MESSAGE_HEAD_CUT;
	head.is_sound = block->is_cut || result == HPACK_END;
	return head;
}

void http2_head_add_trailers(struct http_message *m, const struct http_message *trailers,
			     const struct http_limits *limits)
{
	size_t begin = m->text_len;

	m->pub.flags |= trailers->pub.flags & (PS_MESSAGE_UNKNOWN | PS_MESSAGE_HEAD_CUT);
	for (uint32_t i = 0; i < trailers->pub.header_count; i++) {
		const struct ps_header *field = &trailers->pub.headers[i];
		struct ps_header own = {.flags = field->flags};
		size_t before = m->text_len;

		if (!has_room(m, field, begin, limits->head_bytes_max)) {
			m->pub.flags |= PS_MESSAGE_HEAD_CUT;
			continue;
		}
		own.name = text_add(m, field->name);
		own.value = text_add(m, field->value);
		if (!http_message_add_field(m, true, own.name, own.value, own.flags)) {
			m->text_len = before;
			m->pub.flags |= PS_MESSAGE_HEAD_CUT;
		}
	}
}

bool http2_head_content_length(const struct ps_message *message, uint64_t *length)
{
	for (uint32_t i = 0; i < message->header_count; i++)
		if (message->headers[i].flags == 0 && slice_is(message->headers[i].name, "content-length"))
			return http_number(message->headers[i].value, length);
	return false;
}

static void copy_body(struct http_message *m, const struct ps_body *from, const struct http_limits *limits)
{
	struct ps_slice kept;

	m->pub.body = (struct ps_body){.size_bytes = 0};
	if (from->kept.len > 0)
		http_message_body(m, limits, (const uint8_t *)from->kept.data, from->kept.len);
	kept = m->pub.body.kept;
	m->pub.body = *from;
	m->pub.body.kept = kept;
}

bool http2_head_copy(struct http_message *m, const struct ps_message *from, const struct http_limits *limits)
{
	size_t len = from->method.len + from->target.len;

	for (uint32_t i = 0; i < from->header_count; i++)
		len += from->headers[i].name.len + from->headers[i].value.len;
	if (!http_message_reserve(m, len))
		return false;
	m->pub = *from;
	m->pub.headers = m->pub.trailers = NULL;
	m->pub.header_count = m->pub.trailer_count = 0;
	copy_body(m, &from->body, limits);
	m->pub.method = text_add(m, from->method);
	m->pub.target = text_add(m, from->target);
	for (uint32_t i = 0; i < from->header_count; i++) {
		struct ps_header field = from->headers[i];

		field.name = text_add(m, field.name);
		field.value = text_add(m, field.value);
		if (!http_message_add_field(m, false, field.name, field.value, field.flags))
			return false;
	}
	return true;
}
