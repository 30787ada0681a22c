/* SPDX-License-Identifier: Apache-2.0 */
/* Reader of HTTP/1.x messages; see http1.h. Section numbers are those of RFC 9112 unless another is named. */
#include "http1.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	CUT_TAIL = 11,      /* " HTTP/1.1" and a line end: what is kept of the end of a line over the limit */
	START_SLACK = 65536 /* a start line may be over the limit by this much */
};

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
	s->reason = end - code > 4 ? http_slice(code + 4, (size_t)(end - code) - 4) : http_slice(NULL, 0);
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
	s->method = http_slice(line, method);
	s->target = http_slice(line + begin, end - begin);
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
	struct http_message *m = p->message;
	size_t fit = n < max - p->line_len ? n : max - p->line_len;
	char *tail;

	if (!http_message_reserve(m, m->text_len + p->pending_len + p->line_len + fit))
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

static size_t head_max(const struct http_limits *limits)
{
	return limits->head_bytes_max > HTTP1_HEAD_BYTES_MIN ? limits->head_bytes_max : HTTP1_HEAD_BYTES_MIN;
}

static void clip(struct ps_slice *slice, const char *end)
{
	if (slice->data != NULL && slice->data + slice->len > end)
		*slice = http_slice(slice->data, slice->data < end ? (size_t)(end - slice->data) : 0);
}

static enum http1_event start_line_end(struct http1_parser *p, size_t max)
{
	struct http_message *m = p->message;
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

static struct http1_result read_start_line(struct http1_parser *p, const struct http_limits *limits,
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
	return http_slice(data, len);
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
	*rest = comma ? (struct ps_slice){comma + 1, rest->len - n - 1} : http_slice(NULL, 0);
	return true;
}

/* 6.3: several equal values count as one, anything else is an error. */
static void note_length(struct http1_parser *p, struct ps_slice value)
{
	struct ps_slice element;
	uint64_t length;

	if (value.len == 0)
		p->bad_length = true;
	while (list_next(&value, &element)) {
		if (!http_number(element, &length) || (p->has_length && length != p->length)) {
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
	struct http_message *m = p->message;
	const char *line = m->text + m->text_len;
	size_t len = p->pending_len;
	const char *colon = memchr(line, ':', len);
	size_t name_len = colon ? (size_t)(colon - line) : len;
	struct ps_slice name = trimmed(line, name_len);
	struct ps_slice value = colon ? trimmed(colon + 1, len - name_len - 1) : http_slice(NULL, 0);
	bool trailer = p->state == HTTP1_AT_TRAILERS;

	/* 5.1: some recipients ignore a name with white space before the colon, some do not */
	if (!trailer)
		note_framing(p, name, value, name.len != name_len || colon == NULL);
	if (m->text_len - p->section_start + len <= max && !p->pending_cut &&
	    http_message_add_field(m, trailer, name, value, 0))
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
	struct http_message *m = p->message;
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

static struct http1_result read_fields(struct http1_parser *p, const struct http_limits *limits, const uint8_t *data,
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

static struct http1_result read_counted(struct http1_parser *p, const struct http_limits *limits, const uint8_t *data,
					size_t len)
{
	size_t n = len < p->left ? len : (size_t)p->left;

	http_message_body(p->message, limits, data, n);
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

static struct http1_result read_chunk_data(struct http1_parser *p, const struct http_limits *limits,
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

static struct http1_result read_length(struct http1_parser *p, const struct http_limits *limits, const uint8_t *data,
				       size_t len)
{
	struct http1_result r = read_counted(p, limits, data, len);

	if (p->left == 0) {
		message_end(p);
		r.event = HTTP1_DONE;
	}
	return r;
}

static struct http1_result read_trailers(struct http1_parser *p, const struct http_limits *limits, const uint8_t *data,
					 size_t len)
{
	struct http1_result r = read_fields(p, limits, data, len);

	if (r.event == HTTP1_HEAD) {
		message_end(p);
		r.event = HTTP1_DONE;
	}
	return r;
}

static struct http1_result read_head(struct http1_parser *p, const struct http_limits *limits, const uint8_t *data,
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

static struct http1_result read_step(struct http1_parser *p, const struct http_limits *limits, const uint8_t *data,
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
		http_message_body(p->message, limits, data, len);
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

struct http1_result http1_read(struct http1_parser *p, const struct http_limits *limits, const uint8_t *data,
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

void http1_begin(struct http1_parser *p, struct http_message *m)
{
	memset(p, 0, sizeof(*p));
	p->message = m;
}

void http1_begin_again(struct http1_parser *p)
{
	struct http_message *m = p->message;

	m->pub.header_count = 0;
	m->pub.headers = NULL;
	m->pub.status = 0;
	m->pub.flags = 0;
	m->pub.head_bytes = 0;
	m->pub.method = m->pub.target = m->pub.reason = http_slice(NULL, 0);
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
	case PS_FRAMING_H2: /* not of this version */
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
	frame(p, PS_FRAMING_NONE);
}

/* --- loss and end --- */

static enum http1_event gap_beyond_end(struct http1_parser *p)
{
	p->message->pub.flags |= PS_MESSAGE_LOST_TAIL;
	p->state = HTTP1_AT_END;
	return HTTP1_LOST;
}

static enum http1_event gap_in_counted(struct http1_parser *p, uint64_t len)
{
	uint64_t inside = len < p->left ? len : p->left;

	http_message_body_gap(p->message, inside);
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

uint64_t http1_unneeded(const struct http1_parser *p, size_t body_bytes_max)
{
	const struct ps_body *body = p->message == NULL ? NULL : &p->message->pub.body;

	if (body == NULL || body->state == PS_BODY_GAP)
		return 0;
	if (body->state == PS_BODY_COMPLETE && body->kept.len < body_bytes_max)
		return 0;
	if (p->state == HTTP1_AT_CLOSE)
		return UINT64_MAX;
	return p->state == HTTP1_AT_LENGTH ? p->left : 0;
}

enum http1_event http1_skip(struct http1_parser *p, size_t body_bytes_max, uint64_t len)
{
	struct ps_message *pub = &p->message->pub;

	if (len > http1_unneeded(p, body_bytes_max))
		return http1_gap(p, len);
	pub->body.state = PS_BODY_TRUNCATED;
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
		http_message_body_gap(p->message, len);
		return HTTP1_MORE;
	case HTTP1_AT_CHUNK_SIZE:
	case HTTP1_AT_CHUNK_CRLF:
		http_message_body_gap(p->message, 0); /* chunks may be missing, nobody knows how many bytes */
		return gap_beyond_end(p);
	case HTTP1_AT_CHUNK_EXT:
		if (p->left > 0)
			http_message_body_gap(p->message, 0);
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
