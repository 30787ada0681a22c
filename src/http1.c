/* SPDX-License-Identifier: Apache-2.0 */
/* Reader of HTTP/1.x messages; see http1.h. Section numbers are those of RFC 9112 unless another is named. */
#include "http1.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A sanitizer build sets this to 0 so that every message is a fresh allocation. */
#ifndef HTTP1_POOL_MAX
#define HTTP1_POOL_MAX 64
#endif

enum {
	TEXT_FIRST = 1024, /* first allocation of text: most heads fit */
	FIELDS_FIRST = 16,
	POOL_TEXT_MAX = 4096, /* messages with larger buffers are not pooled */
	POOL_BODY_MAX = 4096,
	POOL_FIELDS_MAX = 64,
	CUT_TAIL = 11,      /* " HTTP/1.1" and a line end: what is kept of the end of a line over the limit */
	START_SLACK = 65536 /* a start line may be over the limit by this much */
};

/* Each thread keeps some messages, with buffers of modest size, for its next connections. */
static _Thread_local struct http1_message *pool;
static _Thread_local int pool_len;

static struct http1_message *pool_take(void)
{
	struct http1_message *m = pool;
	struct http1_message kept;

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

struct http1_message *http1_message_new(void)
{
	struct http1_message *m = pool_take();

	if (m == NULL)
		m = calloc(1, sizeof(*m));
	return m;
}

void http1_message_free(struct http1_message *m)
{
	if (m == NULL)
		return;
	if (pool_len < HTTP1_POOL_MAX && m->text_cap <= POOL_TEXT_MAX && m->body_cap <= POOL_BODY_MAX &&
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

size_t http1_message_memory(const struct http1_message *m)
{
	return sizeof(*m) + m->text_cap + m->body_cap + m->field_cap * sizeof(*m->fields);
}

bool http1_method_is(const struct http1_message *m, const char *method)
{
	size_t len = strlen(method);

	return m->pub.method.len == len && memcmp(m->pub.method.data, method, len) == 0;
}

/* --- memory of a message --- */

static void slice_move(struct ps_slice *slice, const char *from, char *to)
{
	if (slice->data != NULL)
		slice->data = to + (slice->data - from);
}

/* Make room for `need` bytes of text; slices follow. */
static bool text_reserve(struct http1_message *m, size_t need)
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

static struct ps_slice slice_of(const char *data, size_t len)
{
	return (struct ps_slice){.data = len ? data : NULL, .len = len};
}

static bool field_add(struct http1_message *m, bool trailer, struct ps_slice name, struct ps_slice value)
{
	uint32_t count = m->pub.header_count + m->pub.trailer_count;

	if ((trailer ? m->pub.trailer_count : m->pub.header_count) >= HTTP1_FIELDS_MAX)
		return false;
	if (count == m->field_cap) {
		uint32_t cap = count ? count * 2 : FIELDS_FIRST;
		struct ps_header *fields = realloc(m->fields, cap * sizeof(*fields));

		if (fields == NULL)
			return false;
		m->fields = fields;
		m->field_cap = cap;
	}
	m->fields[count] = (struct ps_header){.name = name, .value = value};
	if (trailer)
		m->pub.trailer_count++;
	else
		m->pub.header_count++;
	m->pub.headers = m->fields;
	m->pub.trailers = m->pub.trailer_count ? m->fields + m->pub.header_count : NULL;
	return true;
}

static bool body_reserve(struct http1_message *m, size_t need, size_t max)
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

/* Count n bytes of body and keep those within the limit, as long as none before them is missing. */
static void body_take(struct http1_message *m, const struct http1_limits *limits, const uint8_t *data, size_t n)
{
	struct ps_body *body = &m->pub.body;
	bool whole = body->state == PS_BODY_COMPLETE;

	body->size_bytes += n;
	if (whole && body->kept.len < limits->body_bytes_max) {
		size_t room = limits->body_bytes_max - body->kept.len;
		size_t fit = n < room ? n : room;

		if (body_reserve(m, body->kept.len + fit, limits->body_bytes_max)) {
			memcpy(m->body + body->kept.len, data, fit);
			body->kept = slice_of(m->body, body->kept.len + fit);
		}
	}
	if (whole && body->kept.len < body->size_bytes)
		body->state = PS_BODY_TRUNCATED;
}

/* --- start line (3, 4) --- */

struct start_line {
	struct ps_slice method;
	struct ps_slice target;
	struct ps_slice reason;
	uint16_t status;
	uint8_t minor;
};

static bool is_tchar(uint8_t c)
{
	/* RFC 9110 5.6.2, one bit per ASCII character */
	static const uint32_t token[4] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff};

	return c < 128 && (token[c >> 5] >> (c & 31) & 1);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_version(const char *text)
{
	return memcmp(text, "HTTP/1.", 7) == 0 && is_digit(text[7]);
}

/* Any run of blanks counts as the one space between the parts of a start line, as RFC 9112 3 and 4 allow. */
static bool split_status_line(const char *line, size_t len, struct start_line *s)
{
	const char *end = line + len;
	const char *code = line + 8;

	if (len < 12 || !is_version(line) || !is_blank(*code))
		return false;
	while (code < end && is_blank(*code))
		code++;
	if (end - code < 3 || code[0] < '1' || code[0] > '9' || !is_digit(code[1]) || !is_digit(code[2]))
		return false;
	if (end - code > 3 && !is_blank(code[3]))
		return false;
	s->minor = (uint8_t)(line[7] - '0');
	s->status = (uint16_t)((code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0'));
	s->reason = end - code > 4 ? slice_of(code + 4, (size_t)(end - code) - 4) : slice_of(NULL, 0);
	return true;
}

static size_t method_len(const char *line, size_t len)
{
	size_t n = 0;

	while (n < len && n <= HTTP1_METHOD_MAX && is_tchar((uint8_t)line[n]))
		n++;
	return n;
}

/* Spaces inside the target are kept: some clients send them and some servers take them. */
static bool split_request_line(const char *line, size_t len, struct start_line *s)
{
	size_t method = method_len(line, len);
	size_t begin = method;
	size_t end;

	while (len > 0 && is_blank(line[len - 1]))
		len--;
	if (method == 0 || method > HTTP1_METHOD_MAX || len < method + 11 || !is_blank(line[method]))
		return false;
	end = len - 8;
	if (!is_version(line + end) || !is_blank(line[end - 1]))
		return false;
	while (begin < end && is_blank(line[begin]))
		begin++;
	while (end > begin && is_blank(line[end - 1]))
		end--;
	for (size_t i = begin; i < end; i++)
		if ((uint8_t)line[i] < ' ' || line[i] == 0x7f)
			return false;
	s->minor = (uint8_t)(line[len - 1] - '0');
	s->method = slice_of(line, method);
	s->target = slice_of(line + begin, end - begin);
	return end > begin;
}

static enum http1_kind split_start_line(const char *line, size_t len, struct start_line *s)
{
	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0)
		return split_status_line(line, len, s) ? HTTP1_RESPONSE : HTTP1_NEITHER;
	return split_request_line(line, len, s) ? HTTP1_REQUEST : HTTP1_NEITHER;
}

static bool has_control(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((data[i] < ' ' && data[i] != '\r' && data[i] != '\n' && data[i] != '\t') || data[i] == 0x7f)
			return true;
	return false;
}

enum http1_kind http1_line_kind(const char *line, size_t len)
{
	struct start_line s;

	return has_control((const uint8_t *)line, len) ? HTTP1_NEITHER : split_start_line(line, len, &s);
}

/* May a start line begin so? Keeps binary protocols from being held as an endless line. */
static bool start_is_plausible(const char *line, size_t len)
{
	size_t method;

	if (memcmp(line, "HTTP/", len < 5 ? len : 5) == 0)
		return true;
	method = method_len(line, len);
	return method > 0 && method <= HTTP1_METHOD_MAX && (method == len || is_blank(line[method]));
}

/* --- lines (2.2: a bare LF ends a line too) --- */

static char *line_of(const struct http1_parser *p)
{
	return p->message->text + p->message->text_len + p->pending_len;
}

/* Append to the line being read; of one over the limit the beginning and the last CUT_TAIL bytes stay. */
static bool line_append(struct http1_parser *p, size_t max, const uint8_t *data, size_t n)
{
	struct http1_message *m = p->message;
	size_t fit = n < max - p->line_len ? n : max - p->line_len;
	char *tail;

	if (!text_reserve(m, m->text_len + p->pending_len + p->line_len + fit))
		return false;
	memcpy(line_of(p) + p->line_len, data, fit);
	p->line_len += fit;
	data += fit;
	n -= fit;
	if (n == 0)
		return true;
	p->line_cut = true;
	tail = line_of(p) + max - CUT_TAIL;
	if (n >= CUT_TAIL) {
		memcpy(tail, data + n - CUT_TAIL, CUT_TAIL);
	} else {
		memmove(tail, tail + n, CUT_TAIL - n);
		memcpy(tail + CUT_TAIL - n, data, n);
	}
	return true;
}

/* Length without the line end. */
static size_t line_strip(const char *line, size_t len)
{
	if (len > 0 && line[len - 1] == '\n')
		len--;
	if (len > 0 && line[len - 1] == '\r')
		len--;
	return len;
}

/* Bytes up to and including the next line end, or all. */
static size_t line_span(const uint8_t *data, size_t len, bool *ended)
{
	const uint8_t *lf = memchr(data, '\n', len);

	*ended = lf != NULL;
	return lf != NULL ? (size_t)(lf - data) + 1 : len;
}

static size_t head_max(const struct http1_limits *limits)
{
	return limits->head_bytes_max > HTTP1_HEAD_BYTES_MIN ? limits->head_bytes_max : HTTP1_HEAD_BYTES_MIN;
}

static void clip(struct ps_slice *slice, const char *end)
{
	if (slice->data != NULL && slice->data + slice->len > end)
		*slice = slice_of(slice->data, slice->data < end ? (size_t)(end - slice->data) : 0);
}

static enum http1_event start_line_end(struct http1_parser *p, size_t max)
{
	struct http1_message *m = p->message;
	struct start_line s = {.minor = 0};
	const char *line = line_of(p);
	size_t len = line_strip(line, p->line_len);

	m->kind = (uint8_t)split_start_line(line, len, &s);
	if (m->kind == HTTP1_NEITHER)
		return HTTP1_BAD_START;
	if (p->line_cut) {
		m->pub.flags |= PS_MESSAGE_HEAD_CUT;
		clip(&s.target, line + max - CUT_TAIL);
		clip(&s.reason, line + max - CUT_TAIL);
	}
	m->pub.method = s.method;
	m->pub.target = s.target;
	m->pub.reason = s.reason;
	m->pub.status = s.status;
	m->pub.version_major = 1;
	m->pub.version_minor = s.minor;
	m->text_len = len;
	p->line_len = 0;
	p->line_cut = false;
	p->state = HTTP1_AT_FIELDS;
	return HTTP1_STARTED;
}

static struct http1_result read_start_line(struct http1_parser *p, const struct http1_limits *limits,
					   const uint8_t *data, size_t len)
{
	size_t max = head_max(limits);
	bool ended;
	size_t n = line_span(data, len, &ended);
	struct http1_result r = {n, HTTP1_MORE};

	p->head_bytes += n;
	if (has_control(data, n) || !line_append(p, max, data, n) || p->head_bytes > max + START_SLACK)
		r.event = HTTP1_BAD_START;
	else if (ended)
		r.event = start_line_end(p, max);
	else if (!start_is_plausible(line_of(p), p->line_len))
		r.event = HTTP1_BAD_START;
	return r;
}

/* --- header fields (5, 6.1, 6.2) --- */

static struct ps_slice trimmed(const char *data, size_t len)
{
	while (len > 0 && is_blank(*data)) {
		data++;
		len--;
	}
	while (len > 0 && is_blank(data[len - 1]))
		len--;
	return slice_of(data, len);
}

/* The next element of a comma-separated list; false at the end. */
static bool list_next(struct ps_slice *rest, struct ps_slice *element)
{
	const char *comma;
	size_t n;

	if (rest->data == NULL)
		return false;
	comma = memchr(rest->data, ',', rest->len);
	n = comma ? (size_t)(comma - rest->data) : rest->len;
	*element = trimmed(rest->data, n);
	*rest = comma ? (struct ps_slice){comma + 1, rest->len - n - 1} : slice_of(NULL, 0);
	return true;
}

static bool number_of(struct ps_slice text, uint64_t *value)
{
	uint64_t v = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (!is_digit(text.data[i]))
			return false;
		if (v > (UINT64_MAX - 9) / 10)
			return false;
		v = v * 10 + (uint64_t)(text.data[i] - '0');
	}
	*value = v;
	return text.len > 0;
}

/* 6.3: several equal values count as one, anything else is an error. */
static void note_length(struct http1_parser *p, struct ps_slice value)
{
	struct ps_slice element;
	uint64_t length;

	if (value.len == 0)
		p->bad_length = true;
	while (list_next(&value, &element)) {
		if (!number_of(element, &length) || (p->has_length && length != p->length)) {
			p->bad_length = true;
			return;
		}
		p->length = length;
		p->has_length = true;
	}
}

/* 6.1: chunked is to be named once, as the last one. */
static void note_coding(struct http1_parser *p, struct ps_slice value)
{
	struct ps_slice element;

	p->has_coding = true;
	while (list_next(&value, &element)) {
		if (element.len == 0)
			continue;
		if (p->chunked)
			p->bad_coding = true;
		p->chunked = element.len == 7 && strncasecmp(element.data, "chunked", 7) == 0;
	}
}

static bool name_is(struct ps_slice name, const char *lower, size_t len)
{
	return name.len == len && strncasecmp(name.data, lower, len) == 0;
}

static void note_framing(struct http1_parser *p, struct ps_slice name, struct ps_slice value, bool doubtful)
{
	if (name_is(name, "content-length", 14)) {
		note_length(p, value);
		p->bad_length |= p->pending_cut;
	} else if (name_is(name, "transfer-encoding", 17)) {
		note_coding(p, value);
		p->bad_coding |= p->pending_cut;
	} else if (name_is(name, "upgrade", 7)) {
		p->message->expects_upgrade = true;
		return;
	} else {
		return;
	}
	if (doubtful)
		p->message->pub.flags |= PS_MESSAGE_AMBIGUOUS;
}

/* The pending line is whole: take it as a field. A line with no colon is shown as a name with no value. */
static void field_end(struct http1_parser *p, size_t max)
{
	struct http1_message *m = p->message;
	const char *line = m->text + m->text_len;
	size_t len = p->pending_len;
	const char *colon = memchr(line, ':', len);
	size_t name_len = colon ? (size_t)(colon - line) : len;
	struct ps_slice name = trimmed(line, name_len);
	struct ps_slice value = colon ? trimmed(colon + 1, len - name_len - 1) : slice_of(NULL, 0);
	bool trailer = p->state == HTTP1_AT_TRAILERS;

	/* 5.1: some recipients ignore a name with white space before the colon, some do not */
	if (!trailer)
		note_framing(p, name, value, name.len != name_len || colon == NULL);
	if (m->text_len - p->section_start + len <= max && !p->pending_cut && field_add(m, trailer, name, value))
		m->text_len += len;
	else
		m->pub.flags |= PS_MESSAGE_HEAD_CUT;
}

/* 5.2: the line continues the pending one; the fold becomes one space. */
static void field_fold(struct http1_parser *p, size_t len, size_t max)
{
	char *pending = p->message->text + p->message->text_len;
	struct ps_slice more = trimmed(pending + p->pending_len, len);
	size_t end = p->pending_len;

	p->pending_cut |= p->line_cut;
	while (end > 0 && is_blank(pending[end - 1]))
		end--;
	if (more.len == 0)
		return;
	if (end + 1 + more.len > max) {
		p->pending_cut = true;
		return;
	}
	memmove(pending + end + 1, more.data, more.len);
	pending[end] = ' ';
	p->pending_len = end + 1 + more.len;
}

/* A line of a header or trailer section is whole. Returns true when it was the empty line that ends the section. */
static bool field_line_end(struct http1_parser *p, size_t max)
{
	struct http1_message *m = p->message;
	size_t len = line_strip(line_of(p), p->line_len);
	char first = len ? *line_of(p) : 0;

	if (len > 0 && is_blank(first)) {
		if (p->pending_len > 0)
			field_fold(p, len, max);
		else
			m->pub.flags |= PS_MESSAGE_AMBIGUOUS; /* 2.2: ignored by some, a field to others */
	} else {
		size_t before = m->text_len + p->pending_len;

		if (p->pending_len > 0)
			field_end(p, max);
		memmove(m->text + m->text_len, m->text + before, len);
		p->pending_len = len;
		p->pending_cut = p->line_cut;
	}
	p->line_len = 0;
	p->line_cut = false;
	return len == 0;
}

static struct http1_result read_fields(struct http1_parser *p, const struct http1_limits *limits, const uint8_t *data,
				       size_t len)
{
	size_t max = head_max(limits);
	size_t taken = 0;
	bool ended;

	while (taken < len) {
		size_t n = line_span(data + taken, len - taken, &ended);

		if (!line_append(p, max, data + taken, n))
			p->message->pub.flags |= PS_MESSAGE_HEAD_CUT; /* out of memory: the line is lost */
		taken += n;
		if (ended && field_line_end(p, max))
			return (struct http1_result){taken, HTTP1_HEAD};
	}
	return (struct http1_result){taken, HTTP1_MORE};
}

/* --- body (6, 7) --- */

static void message_end(struct http1_parser *p)
{
	p->message->pub.flags |= PS_MESSAGE_COMPLETE;
	p->state = HTTP1_AT_END;
}

static struct http1_result read_counted(struct http1_parser *p, const struct http1_limits *limits, const uint8_t *data,
					size_t len)
{
	size_t n = len < p->left ? len : (size_t)p->left;

	body_take(p->message, limits, data, n);
	p->left -= n;
	return (struct http1_result){n, HTTP1_MORE};
}

/* 7.1: broken chunks. What follows has no structure any more: it is body until the end of the direction. */
static void chunk_broken(struct http1_parser *p)
{
	p->message->pub.flags |= PS_MESSAGE_BAD_CHUNK;
	p->state = HTTP1_AT_CLOSE;
}

static void chunk_size_end(struct http1_parser *p)
{
	if (p->left > 0) {
		p->state = HTTP1_AT_CHUNK_DATA;
		return;
	}
	p->state = HTTP1_AT_TRAILERS;
	p->section_start = p->message->text_len;
	p->pending_len = 0;
	p->line_len = 0;
}

static void chunk_size_begin(struct http1_parser *p)
{
	p->state = HTTP1_AT_CHUNK_SIZE;
	p->left = 0;
	p->digits = 0;
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static struct http1_result read_chunk_size(struct http1_parser *p, const uint8_t *data, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		int digit = hex_value(data[i]);

		if (digit < 0)
			break;
		if (p->left > UINT64_MAX >> 4) {
			chunk_broken(p);
			return (struct http1_result){i, HTTP1_MORE};
		}
		p->left = p->left << 4 | (unsigned int)digit;
		p->digits = 1;
	}
	if (i == len)
		return (struct http1_result){i, HTTP1_MORE};
	if (p->digits == 0 || strchr("\n\r; \t", data[i]) == NULL || data[i] == 0) {
		chunk_broken(p);
		return (struct http1_result){i, HTTP1_MORE};
	}
	if (data[i] == '\n')
		chunk_size_end(p);
	else
		p->state = HTTP1_AT_CHUNK_EXT;
	return (struct http1_result){i + 1, HTTP1_MORE};
}

static struct http1_result read_chunk_ext(struct http1_parser *p, const uint8_t *data, size_t len)
{
	bool ended;
	size_t n = line_span(data, len, &ended);

	if (ended)
		chunk_size_end(p);
	return (struct http1_result){n, HTTP1_MORE};
}

static struct http1_result read_chunk_data(struct http1_parser *p, const struct http1_limits *limits,
					   const uint8_t *data, size_t len)
{
	struct http1_result r = read_counted(p, limits, data, len);

	if (p->left == 0) {
		p->state = HTTP1_AT_CHUNK_CRLF;
		p->digits = 0;
	}
	return r;
}

/* CRLF, or a bare LF; digits says that the CR was read. */
static struct http1_result read_chunk_crlf(struct http1_parser *p, const uint8_t *data)
{
	if (data[0] == '\r' && p->digits == 0) {
		p->digits = 1;
		return (struct http1_result){1, HTTP1_MORE};
	}
	if (data[0] != '\n') {
		chunk_broken(p);
		return (struct http1_result){0, HTTP1_MORE};
	}
	chunk_size_begin(p);
	return (struct http1_result){1, HTTP1_MORE};
}

static struct http1_result read_length(struct http1_parser *p, const struct http1_limits *limits, const uint8_t *data,
				       size_t len)
{
	struct http1_result r = read_counted(p, limits, data, len);

	if (p->left == 0) {
		message_end(p);
		r.event = HTTP1_DONE;
	}
	return r;
}

static struct http1_result read_trailers(struct http1_parser *p, const struct http1_limits *limits, const uint8_t *data,
					 size_t len)
{
	struct http1_result r = read_fields(p, limits, data, len);

	if (r.event == HTTP1_HEAD) {
		message_end(p);
		r.event = HTTP1_DONE;
	}
	return r;
}

static struct http1_result read_head(struct http1_parser *p, const struct http1_limits *limits, const uint8_t *data,
				     size_t len)
{
	struct http1_result r = read_fields(p, limits, data, len);

	p->head_bytes += r.taken;
	if (r.event == HTTP1_HEAD) {
		p->message->pub.head_bytes = p->head_bytes;
		p->state = HTTP1_AT_HEAD_END;
	}
	return r;
}

static struct http1_result read_step(struct http1_parser *p, const struct http1_limits *limits, const uint8_t *data,
				     size_t len)
{
	switch ((enum http1_state)p->state) {
	case HTTP1_AT_START:
		return read_start_line(p, limits, data, len);
	case HTTP1_AT_FIELDS:
		return read_head(p, limits, data, len);
	case HTTP1_AT_LENGTH:
		return read_length(p, limits, data, len);
	case HTTP1_AT_CLOSE:
		body_take(p->message, limits, data, len);
		return (struct http1_result){len, HTTP1_MORE};
	case HTTP1_AT_CHUNK_SIZE:
		return read_chunk_size(p, data, len);
	case HTTP1_AT_CHUNK_EXT:
		return read_chunk_ext(p, data, len);
	case HTTP1_AT_CHUNK_DATA:
		return read_chunk_data(p, limits, data, len);
	case HTTP1_AT_CHUNK_CRLF:
		return read_chunk_crlf(p, data);
	case HTTP1_AT_TRAILERS:
		return read_trailers(p, limits, data, len);
	case HTTP1_AT_HEAD_END:
	case HTTP1_AT_END:
		break;
	}
	return (struct http1_result){0, HTTP1_DONE};
}

struct http1_result http1_read(struct http1_parser *p, const struct http1_limits *limits, const uint8_t *data,
			       size_t len)
{
	struct http1_result r = {0, HTTP1_MORE};

	while (r.taken < len && r.event == HTTP1_MORE) {
		struct http1_result step = read_step(p, limits, data + r.taken, len - r.taken);

		r.taken += step.taken;
		r.event = step.event;
	}
	p->message->pub.wire_bytes += r.taken;
	return r;
}

/* --- framing (6.3) --- */

void http1_begin(struct http1_parser *p, struct http1_message *m)
{
	memset(p, 0, sizeof(*p));
	p->message = m;
}

void http1_begin_again(struct http1_parser *p)
{
	struct http1_message *m = p->message;

	m->pub.header_count = 0;
	m->pub.headers = NULL;
	m->pub.status = 0;
	m->pub.flags = 0;
	m->pub.head_bytes = 0;
	m->pub.method = m->pub.target = m->pub.reason = slice_of(NULL, 0);
	m->text_len = 0;
	http1_begin(p, m);
}

static enum http1_event frame(struct http1_parser *p, enum ps_framing framing)
{
	p->message->pub.body.framing = framing;
	switch (framing) {
	case PS_FRAMING_LENGTH:
		p->left = p->length;
		p->state = HTTP1_AT_LENGTH;
		if (p->left > 0)
			return HTTP1_MORE;
		break;
	case PS_FRAMING_CHUNKED:
		chunk_size_begin(p);
		return HTTP1_MORE;
	case PS_FRAMING_CLOSE:
		p->state = HTTP1_AT_CLOSE;
		return HTTP1_MORE;
	case PS_FRAMING_NONE:
		break;
	}
	message_end(p);
	return HTTP1_DONE;
}

/* 6.1, 6.3: both fields, a coding in HTTP/1.0, or values that make no sense. */
static bool is_ambiguous(const struct http1_parser *p)
{
	return p->bad_length || p->bad_coding || (p->has_length && p->has_coding) ||
	       (p->has_coding && p->message->pub.version_minor == 0);
}

enum http1_event http1_frame_request(struct http1_parser *p)
{
	bool unknown = p->has_coding ? !p->chunked : p->bad_length;

	if (is_ambiguous(p) || unknown)
		p->message->pub.flags |= PS_MESSAGE_AMBIGUOUS;
	if (unknown) {
		p->state = HTTP1_AT_END;
		return HTTP1_LOST;
	}
	if (p->has_coding)
		return frame(p, PS_FRAMING_CHUNKED);
	return frame(p, p->has_length ? PS_FRAMING_LENGTH : PS_FRAMING_NONE);
}

enum http1_event http1_frame_response(struct http1_parser *p, bool no_body)
{
	uint16_t status = p->message->pub.status;

	if (is_ambiguous(p))
		p->message->pub.flags |= PS_MESSAGE_AMBIGUOUS;
	if (no_body || status == 204 || status == 304)
		return frame(p, PS_FRAMING_NONE);
	if (p->has_coding)
		return frame(p, p->chunked ? PS_FRAMING_CHUNKED : PS_FRAMING_CLOSE);
	if (p->has_length && !p->bad_length)
		return frame(p, PS_FRAMING_LENGTH);
	return frame(p, PS_FRAMING_CLOSE);
}

void http1_no_body(struct http1_parser *p)
{
	p->message->pub.flags |= PS_MESSAGE_AMBIGUOUS;
	frame(p, PS_FRAMING_NONE);
}

/* --- loss and end --- */

static void body_gap(struct http1_message *m, uint64_t len)
{
	struct ps_body *body = &m->pub.body;

	if (body->state != PS_BODY_GAP)
		body->gap_offset = body->size_bytes;
	body->state = PS_BODY_GAP;
	body->gap_bytes += len;
	body->size_bytes += len;
	m->pub.wire_bytes += len;
}

static enum http1_event gap_beyond_end(struct http1_parser *p)
{
	p->message->pub.flags |= PS_MESSAGE_LOST_TAIL;
	p->state = HTTP1_AT_END;
	return HTTP1_LOST;
}

static enum http1_event gap_in_counted(struct http1_parser *p, uint64_t len)
{
	uint64_t inside = len < p->left ? len : p->left;

	body_gap(p->message, inside);
	p->left -= inside;
	if (inside < len)
		return gap_beyond_end(p);
	if (p->left > 0)
		return HTTP1_MORE;
	if (p->state == HTTP1_AT_CHUNK_DATA) {
		p->state = HTTP1_AT_CHUNK_CRLF;
		p->digits = 0;
		return HTTP1_MORE;
	}
	message_end(p);
	return HTTP1_DONE;
}

uint64_t http1_unneeded(const struct http1_parser *p)
{
	if (p->message == NULL || p->message->pub.body.state != PS_BODY_TRUNCATED)
		return 0;
	if (p->state == HTTP1_AT_CLOSE)
		return UINT64_MAX;
	return p->state == HTTP1_AT_LENGTH ? p->left : 0;
}

enum http1_event http1_skip(struct http1_parser *p, uint64_t len)
{
	struct ps_message *pub = &p->message->pub;

	if (len > http1_unneeded(p))
		return http1_gap(p, len);
	pub->body.size_bytes += len;
	pub->wire_bytes += len;
	if (p->state == HTTP1_AT_CLOSE)
		return HTTP1_MORE;
	p->left -= len;
	if (p->left > 0)
		return HTTP1_MORE;
	message_end(p);
	return HTTP1_DONE;
}

enum http1_event http1_gap(struct http1_parser *p, uint64_t len)
{
	switch ((enum http1_state)p->state) {
	case HTTP1_AT_LENGTH:
	case HTTP1_AT_CHUNK_DATA:
		return gap_in_counted(p, len);
	case HTTP1_AT_CLOSE:
		body_gap(p->message, len);
		return HTTP1_MORE;
	case HTTP1_AT_CHUNK_SIZE:
	case HTTP1_AT_CHUNK_CRLF:
		body_gap(p->message, 0); /* chunks may be missing, nobody knows how many bytes */
		return gap_beyond_end(p);
	case HTTP1_AT_CHUNK_EXT:
		if (p->left > 0)
			body_gap(p->message, 0);
		return gap_beyond_end(p);
	case HTTP1_AT_TRAILERS:
		return gap_beyond_end(p);
	case HTTP1_AT_START:
	case HTTP1_AT_FIELDS:
	case HTTP1_AT_HEAD_END:
	case HTTP1_AT_END:
		break;
	}
	p->state = HTTP1_AT_END;
	return HTTP1_LOST;
}

void http1_end(struct http1_parser *p, uint32_t flag)
{
	struct ps_message *pub = &p->message->pub;

	if (p->state == HTTP1_AT_END)
		return;
	if (p->state == HTTP1_AT_FIELDS)
		pub->head_bytes = p->head_bytes;
	/* the last whole line is a field unless the cut one continues it */
	if (p->pending_len > 0 && (p->line_len == 0 || !is_blank(*line_of(p))))
		field_end(p, SIZE_MAX);
	if (p->state == HTTP1_AT_CLOSE && !(pub->flags & PS_MESSAGE_BAD_CHUNK) &&
	    !(flag & (PS_MESSAGE_UNFINISHED | PS_MESSAGE_LOST_TAIL)))
		pub->flags |= PS_MESSAGE_COMPLETE;
	else
		pub->flags |= flag;
	p->state = HTTP1_AT_END;
}
