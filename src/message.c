/* SPDX-License-Identifier: Apache-2.0 */
#include "message.h"

#include <stdlib.h>
#include <string.h>

/* A sanitizer build sets this to 0 so that every message is a fresh allocation. */
#ifndef HTTP_POOL_MAX
#define HTTP_POOL_MAX 64
#endif

enum {
	TEXT_FIRST = 1024, /* first allocation of text: most heads fit */
	FIELDS_FIRST = 16,
	POOL_TEXT_MAX = 4096, /* messages with larger buffers are not pooled */
	POOL_BODY_MAX = 4096,
	POOL_FIELDS_MAX = 64
};

/* Each thread keeps some messages, with buffers of modest size, for its next connections. */
static _Thread_local struct http_message *pool;
static _Thread_local int pool_len;

static struct http_message *pool_take(void)
{
	struct http_message *m = pool;
	struct http_message kept;

	if (m == NULL)
		return NULL;
	pool = m->next_free;
	pool_len--;
	kept = *m;
	memset(m, 0, sizeof(*m));
	m->text = kept.text;
	m->text_cap = kept.text_cap;
	m->body = kept.body;
	m->body_cap = kept.body_cap;
	m->fields = kept.fields;
	m->field_cap = kept.field_cap;
	return m;
}

struct http_message *http_message_new(void)
{
	struct http_message *m = pool_take();

	if (m == NULL)
		m = calloc(1, sizeof(*m));
	return m;
}

void http_message_free(struct http_message *m)
{
	if (m == NULL)
		return;
	if (m->pub.body.scan != NULL)
		m->watch->free(m->pub.body.scan);
	if (pool_len < HTTP_POOL_MAX && m->text_cap <= POOL_TEXT_MAX && m->body_cap <= POOL_BODY_MAX &&
	    m->field_cap <= POOL_FIELDS_MAX) {
		m->next_free = pool;
		pool = m;
		pool_len++;
		return;
	}
	free(m->text);
	free(m->body);
	free(m->fields);
	free(m);
}

size_t http_message_memory(const struct http_message *m)
{
	return sizeof(*m) + m->text_cap + m->body_cap + m->field_cap * sizeof(*m->fields);
}

bool http_method_is(const struct http_message *m, const char *method)
{
	size_t len = strlen(method);

	return m->pub.method.len == len && memcmp(m->pub.method.data, method, len) == 0;
}

bool http_number(struct ps_slice text, uint64_t *value)
{
	uint64_t v = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
		if (v > (UINT64_MAX - 9) / 10)
			return false;
		v = v * 10 + (uint64_t)(text.data[i] - '0');
	}
	*value = v;
	return text.len > 0;
}

/* --- memory of a message --- */

static void slice_move(struct ps_slice *slice, const char *from, char *to)
{
	if (slice->data != NULL)
		slice->data = to + (slice->data - from);
}

bool http_message_reserve(struct http_message *m, size_t need)
{
	size_t cap = m->text_cap ? m->text_cap : TEXT_FIRST;
	char *text;

	if (need <= m->text_cap)
		return true;
	while (cap < need)
		cap *= 2;
	text = malloc(cap);
	if (text == NULL)
		return false;
	if (m->text != NULL) {
		memcpy(text, m->text, m->text_cap);
		slice_move(&m->pub.method, m->text, text);
		slice_move(&m->pub.target, m->text, text);
		slice_move(&m->pub.reason, m->text, text);
		slice_move(&m->pub.scheme, m->text, text);
		slice_move(&m->pub.authority, m->text, text);
		slice_move(&m->pub.protocol, m->text, text);
		for (uint32_t i = 0; i < m->pub.header_count + m->pub.trailer_count; i++) {
			slice_move(&m->fields[i].name, m->text, text);
			slice_move(&m->fields[i].value, m->text, text);
		}
		free(m->text);
	}
	m->text = text;
	m->text_cap = cap;
	return true;
}

bool http_message_add_field(struct http_message *m, bool trailer, struct ps_slice name, struct ps_slice value,
			    uint32_t flags)
{
	uint32_t count = m->pub.header_count + m->pub.trailer_count;

	if ((trailer ? m->pub.trailer_count : m->pub.header_count) >= HTTP_FIELDS_MAX)
		return false;
	if (count == m->field_cap) {
		uint32_t cap = count ? count * 2 : FIELDS_FIRST;
		struct ps_header *fields = realloc(m->fields, cap * sizeof(*fields));

		if (fields == NULL)
			return false;
		m->fields = fields;
		m->field_cap = cap;
	}
	/* member by member: what was just written in parts is slow to copy in one piece */
	m->fields[count].name = name;
	m->fields[count].value = value;
	m->fields[count].flags = flags;
	if (trailer)
		m->pub.trailer_count++;
	else
		m->pub.header_count++;
	m->pub.headers = m->fields;
	m->pub.trailers = m->pub.trailer_count ? m->fields + m->pub.header_count : NULL;
	return true;
}

static bool body_reserve(struct http_message *m, size_t need, size_t max)
{
	size_t cap = m->body_cap ? m->body_cap : 1024;
	char *body;

	if (need <= m->body_cap)
		return true;
	while (cap < need)
		cap *= 2;
	if (cap > max)
		cap = max;
	body = realloc(m->body, cap);
	if (body == NULL)
		return false;
	m->body = body;
	m->body_cap = cap;
	return true;
}

/*
 * Bytes of a body that are not kept, for who reads them. What is handed out as
 * messages is read there.
 */
static void watch_body(struct http_message *m, const struct body_watch *watch, const uint8_t *data, size_t n)
{
	struct ps_body *body = &m->pub.body;

	if (body->scan == NULL && !m->is_unwatched && m->tap.reader == NULL) {
		body->scan = watch->begin(watch->context, &m->pub);
		m->watch = watch;
		m->is_unwatched = body->scan == NULL;
	}
	if (body->scan != NULL)
		watch->data(body->scan, data, n);
}

void http_message_body(struct http_message *m, const struct http_limits *limits, const uint8_t *data, size_t n)
{
	struct ps_body *body = &m->pub.body;
	bool whole = body->state == PS_BODY_COMPLETE;
	size_t kept_before = body->kept.len, kept;

	if (m->tap.reader != NULL)
		stream_reader_data(m->tap.reader, m->tap.part, data, n);
	body->size_bytes += n;
	if (whole && body->kept.len < limits->body_bytes_max) {
		size_t room = limits->body_bytes_max - body->kept.len;
		size_t fit = n < room ? n : room;

		if (body_reserve(m, body->kept.len + fit, limits->body_bytes_max)) {
			memcpy(m->body + body->kept.len, data, fit);
			body->kept = http_slice(m->body, body->kept.len + fit);
		}
	}
	if (whole && body->kept.len < body->size_bytes)
		body->state = PS_BODY_TRUNCATED;
	kept = body->kept.len - kept_before;
	if (limits->watch != NULL && body->state == PS_BODY_TRUNCATED && kept < n)
		watch_body(m, limits->watch, data + kept, n - kept);
}

void http_message_body_gap(struct http_message *m, uint64_t len)
{
	struct ps_body *body = &m->pub.body;

	if (m->tap.reader != NULL)
		stream_reader_gap(m->tap.reader, m->tap.part, len);
	if (body->scan != NULL)
		m->watch->gap(body->scan);
	m->is_unwatched = true;
	if (body->state != PS_BODY_GAP)
		body->gap_offset = body->size_bytes;
	body->state = PS_BODY_GAP;
	body->gap_bytes += len;
	body->size_bytes += len;
	m->pub.wire_bytes += len;
}
