/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: what src/http1*.c reads is what http_parser reads, unless
 * docs/http1-differences.md names the reason.
 *
 * Input: a letter, then the bytes of one direction. Q: requests, none of them
 * answered. R: responses, each to a GET. S: responses, each to a HEAD. (Any
 * byte will do, see mode_of().)
 *
 * Messages are compared one by one: start line, header fields, body, trailers,
 * sizes on the wire, and whether the message has ended. Where they differ, the
 * bytes of that message must show one of the differences below, otherwise the
 * target aborts; what follows is not compared then. With PS_EXPLAIN set in the
 * environment it names them.
 *
 * Ours gets a copy that lies right before an unmapped page and is overwritten
 * before anything is compared.
 */
#include "../../src/http1_conn.h"

#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

enum { INPUT_MAX = 8192, MESSAGES_MAX = INPUT_MAX / 8, FIELDS_MAX = INPUT_MAX / 2 };

enum mode { MODE_REQUESTS, MODE_GET, MODE_HEAD };

/* Why a message may be read differently. The names are those of docs/http1-differences.md. */
enum difference {
	START_METHOD = 1 << 0,
	START_TARGET = 1 << 1,
	START_VERSION = 1 << 2,
	START_STATUS = 1 << 3,
	START_CONTROL = 1 << 4,
	STRAY_CR = 1 << 5,
	FIELD_NAME = 1 << 6,
	FIELD_FIRST_BLANK = 1 << 7,
	FIELD_CONTROL = 1 << 8,
	FRAMING_FOLDED = 1 << 9,
	LENGTH_FORM = 1 << 10,
	CODING_FORM = 1 << 11,
	CONNECT_BODY = 1 << 12,
	CHUNK_LINE = 1 << 13,
	CHUNK_END = 1 << 14,
	CHUNK_HUGE = 1 << 15,
	TRAILER_LENGTH = 1 << 16,
	NO_BODY_FRAMING = 1 << 17,
	START_BLANK = 1 << 18
};

/* Those that are nothing but a refusal by http_parser. */
enum {
	REFUSALS =
	    START_METHOD | START_TARGET | FIELD_CONTROL | LENGTH_FORM | CHUNK_HUGE | TRAILER_LENGTH | NO_BODY_FRAMING
};

static const char *const difference_names[] = {
    "start-method", "start-target",   "start-version",     "start-status",  "start-control",
    "stray-cr",     "field-name",     "field-first-blank", "field-control", "framing-folded",
    "length-form",  "coding-form",    "connect-body",      "chunk-line",    "chunk-end",
    "chunk-huge",   "trailer-length", "no-body-framing",   "start-blank",
};

/* --- http_parser's reading --- */

struct field {
	struct ps_slice name, value;
};

struct reading {
	const uint8_t *begin; /* of its bytes */
	size_t len;           /* up to where the next message may begin */
	struct ps_slice target, reason, body;
	size_t fields_at, field_count, trailer_count;
	unsigned int method, status, major, minor;
	bool head_done, complete;
};

static struct {
	struct reading messages[MESSAGES_MAX];
	struct field fields[FIELDS_MAX];
	char text[2 * INPUT_MAX]; /* field values */
	char body[INPUT_MAX];     /* of all messages */
	size_t count, field_count, text_len, body_len;
	bool value_begun, in_trailers;
	enum http_errno error;
	enum mode mode;
	const uint8_t *at; /* what the parser is given now */
} ref;

static struct reading *ref_message(void)
{
	return &ref.messages[ref.count - 1];
}

static int on_message_begin(http_parser *parser)
{
	(void)parser;
	if (ref.count == MESSAGES_MAX)
		abort();
	ref.messages[ref.count++] = (struct reading){.fields_at = ref.field_count};
	ref.in_trailers = false;
	return 0;
}

static int on_url(http_parser *parser, const char *at, size_t len)
{
	(void)parser;
	ref_message()->target = (struct ps_slice){at, len};
	return 0;
}

static int on_status(http_parser *parser, const char *at, size_t len)
{
	(void)parser;
	ref_message()->reason = (struct ps_slice){at, len};
	return 0;
}

static int on_header_field(http_parser *parser, const char *at, size_t len)
{
	(void)parser;
	if (ref.field_count == FIELDS_MAX)
		abort();
	ref.fields[ref.field_count++] = (struct field){.name = {at, len}};
	ref.value_begun = false;
	if (ref.in_trailers)
		ref_message()->trailer_count++;
	else
		ref_message()->field_count++;
	return 0;
}

static struct ps_slice trimmed(struct ps_slice s)
{
	while (s.len > 0 && (*s.data == ' ' || *s.data == '\t'))
		s = (struct ps_slice){s.data + 1, s.len - 1};
	while (s.len > 0 && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* Called once for each line of a folded value: joined as RFC 9112 5.2 has it, by a space. */
static int on_header_value(http_parser *parser, const char *at, size_t len)
{
	struct ps_slice *value = &ref.fields[ref.field_count - 1].value;
	struct ps_slice piece = trimmed((struct ps_slice){at, len});

	(void)parser;
	if (piece.len == 0)
		return 0;
	if (ref.text_len + piece.len + 1 > sizeof(ref.text))
		abort();
	if (!ref.value_begun)
		value->data = ref.text + ref.text_len;
	else
		ref.text[ref.text_len++] = ' ';
	memcpy(ref.text + ref.text_len, piece.data, piece.len);
	ref.text_len += piece.len;
	value->len = (size_t)(ref.text + ref.text_len - value->data);
	ref.value_begun = true;
	return 0;
}

/* Returns what http_parser is to be told: 1 there is no body, 2 and another protocol follows. */
static int on_headers_complete(http_parser *parser)
{
	struct reading *m = ref_message();

	m->head_done = true;
	m->method = parser->method;
	m->status = ref.mode == MODE_REQUESTS ? 0 : parser->status_code;
	m->major = parser->http_major;
	m->minor = parser->http_minor;
	m->body.data = ref.body + ref.body_len;
	if (m->status == 101)
		return 2;
	return ref.mode == MODE_HEAD || m->status / 100 == 1 || m->status == 204 || m->status == 304;
}

static int on_body(http_parser *parser, const char *at, size_t len)
{
	(void)parser;
	memcpy(ref.body + ref.body_len, at, len);
	ref.body_len += len;
	ref_message()->body.len += len;
	return 0;
}

static int on_chunk_header(http_parser *parser)
{
	ref.in_trailers = parser->content_length == 0;
	return 0;
}

static int on_message_complete(http_parser *parser)
{
	ref_message()->complete = true;
	http_parser_pause(parser, 1); /* to learn where it ends */
	return 0;
}

static const http_parser_settings settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_status = on_status,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
    .on_chunk_header = on_chunk_header,
};

static bool ends_http(const struct reading *m)
{
	return ref.mode == MODE_REQUESTS ? m->method == HTTP_CONNECT : m->status == 101;
}

static void skip_line_ends(const uint8_t **data, size_t *len)
{
	while (*len > 0 && (**data == '\r' || **data == '\n')) {
		(*data)++;
		(*len)--;
	}
}

/* Fills `ref`. Returns what was not read because it is no HTTP/1 any more. */
static size_t read_with_reference(enum mode mode, const uint8_t *data, size_t len)
{
	http_parser parser;

	ref.count = ref.field_count = ref.text_len = ref.body_len = 0;
	ref.mode = mode;
	ref.error = HPE_OK;
	http_parser_init(&parser, mode == MODE_REQUESTS ? HTTP_REQUEST : HTTP_RESPONSE);
	parser.allow_chunked_length = 1; /* as ours: Transfer-Encoding wins, RFC 9112 6.3 */
	while (skip_line_ends(&data, &len), len > 0) {
		size_t before = ref.count;
		size_t taken = http_parser_execute(&parser, &settings, (const char *)data, len);
		struct reading *m;

		if (ref.count == before) /* refused at its first byte */
			on_message_begin(&parser);
		m = ref_message();
		m->begin = data;
		m->len = len;
		if (HTTP_PARSER_ERRNO(&parser) != HPE_PAUSED)
			break;
		http_parser_pause(&parser, 0);
		m->len = taken;
		data += taken;
		len -= taken;
		if (ends_http(m))
			return len;
	}
	if (HTTP_PARSER_ERRNO(&parser) == HPE_OK)
		http_parser_execute(&parser, &settings, NULL, 0);
	if (HTTP_PARSER_ERRNO(&parser) != HPE_PAUSED && HTTP_PARSER_ERRNO(&parser) != HPE_INVALID_EOF_STATE)
		ref.error = HTTP_PARSER_ERRNO(&parser);
	return 0;
}

/* --- what the bytes of a message show --- */

struct lines {
	const uint8_t *at, *end;
};

/* The next line without its LF, or CR LF; false when no LF is left, with what is left of the bytes. */
static bool line_next(struct lines *lines, struct ps_slice *line)
{
	const uint8_t *lf = memchr(lines->at, '\n', (size_t)(lines->end - lines->at));
	const uint8_t *end = lf != NULL ? lf : lines->end;

	*line = (struct ps_slice){(const char *)lines->at, (size_t)(end - lines->at)};
	lines->at = lf != NULL ? lf + 1 : lines->end;
	if (line->len > 0 && line->data[line->len - 1] == '\r')
		line->len--;
	return lf != NULL;
}

static bool has_byte(struct ps_slice s, char byte)
{
	return s.len > 0 && memchr(s.data, byte, s.len) != NULL;
}

static bool has_control(struct ps_slice s, const char *allowed)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.data[i];

		if ((c < ' ' || c == 0x7f) && (c == 0 || strchr(allowed, c) == NULL))
			return true;
	}
	return false;
}

static bool is_token(struct ps_slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.data[i];

		if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c) != NULL)
			return false;
	}
	return s.len > 0;
}

static bool is_number(struct ps_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.data[i] < '0' || s.data[i] > '9')
			return false;
	return s.len > 0;
}

/* Without regard to case. */
static bool equals(struct ps_slice s, const char *text)
{
	return s.len == strlen(text) && strncasecmp(s.data, text, s.len) == 0;
}

static bool is_known_method(struct ps_slice method)
{
	for (int i = 0; i <= HTTP_SOURCE; i++) {
		const char *name = http_method_str((enum http_method)i);

		if (method.len == strlen(name) && memcmp(method.data, name, method.len) == 0)
			return true;
	}
	return false;
}

/* As far as http_parser looks at it while it reads a request line: host and port are not judged. */
static bool is_known_target(struct ps_slice target, bool connect)
{
	http_parser parser;
	char line[INPUT_MAX + 32];
	int len = snprintf(line, sizeof(line), "%s %.*s HTTP/1.1\r\n", connect ? "CONNECT" : "GET", (int)target.len,
			   target.data);

	http_parser_init(&parser, HTTP_REQUEST);
	return http_parser_execute(&parser, &(http_parser_settings){0}, line, (size_t)len) == (size_t)len;
}

static bool is_version(struct ps_slice s)
{
	return s.len == 8 && memcmp(s.data, "HTTP/1.", 7) == 0 && s.data[7] >= '0' && s.data[7] <= '9';
}

/* METHOD SP TARGET SP VERSION is what both take. */
static unsigned int request_line_shows(struct ps_slice line)
{
	const char *end = line.data + line.len;
	const char *space = memchr(line.data, ' ', line.len);
	struct ps_slice method = {line.data, space ? (size_t)(space - line.data) : line.len};
	struct ps_slice target, version;
	unsigned int shown = 0;

	if (has_byte(line, '\t'))
		shown |= START_BLANK;
	if (!is_known_method(method))
		shown |= START_METHOD;
	while (space != NULL && space < end && *space == ' ')
		space++;
	target = space ? (struct ps_slice){space, (size_t)(end - space)} : (struct ps_slice){0};
	space = target.len > 0 ? memrchr(target.data, ' ', target.len) : NULL;
	version = space ? (struct ps_slice){space + 1, (size_t)(end - space - 1)} : (struct ps_slice){0};
	target.len -= version.len;
	while (target.len > 0 && target.data[target.len - 1] == ' ')
		target.len--;
	if (!is_version(version))
		shown |= START_VERSION;
	if (has_byte(target, ' ') || !is_known_target(target, equals(method, "CONNECT")))
		shown |= START_TARGET;
	return shown;
}

/* VERSION 1*SP 3DIGIT, then SP and a reason, or nothing. */
static unsigned int status_line_shows(struct ps_slice line)
{
	struct ps_slice code = {line.data + 8, line.len - 8};
	unsigned int shown = 0;

	if (line.len < 8 || !is_version((struct ps_slice){line.data, 8}))
		return START_VERSION;
	while (code.len > 0 && (*code.data == ' ' || *code.data == '\t'))
		code = (struct ps_slice){code.data + 1, code.len - 1};
	if (code.len > 4)
		code.len = 4;
	if (has_byte((struct ps_slice){line.data, (size_t)(code.data + code.len - line.data)}, '\t'))
		shown |= START_BLANK;
	if (code.data == line.data + 8 || code.len < 3 || !is_number((struct ps_slice){code.data, 3}) ||
	    code.data[0] == '0' || (code.len > 3 && code.data[3] != ' ' && code.data[3] != '\t'))
		shown |= START_STATUS;
	return shown;
}

/* Of a header section. */
struct section {
	unsigned int shown;
	unsigned int lengths, codings;
	bool chunked;
};

/* Content-Length: both take one field that is a number below 2^64 - 6, no tab next to it. */
static void length_shows(struct section *section, struct ps_slice text)
{
	struct ps_slice value = trimmed(text);
	bool fits = is_number(value) && !has_byte(text, '\t');
	char digits[24];

	while (fits && value.len > 1 && *value.data == '0')
		value = (struct ps_slice){value.data + 1, value.len - 1};
	snprintf(digits, sizeof(digits), "%.*s", (int)(value.len < 21 ? value.len : 21), value.data);
	fits = fits && (value.len < 20 || (value.len == 20 && strcmp(digits, "18446744073709551610") < 0));
	if (++section->lengths > 1 || !fits)
		section->shown |= LENGTH_FORM;
}

/* Transfer-Encoding: both take one field, a list without empty elements or tabs, chunked at most once. */
static void coding_shows(struct section *section, struct ps_slice text)
{
	struct ps_slice rest = trimmed(text);
	unsigned int chunked = 0;

	if (++section->codings > 1 || has_byte(text, '\t'))
		section->shown |= CODING_FORM;
	while (rest.len > 0) {
		const char *comma = memchr(rest.data, ',', rest.len);
		size_t n = comma ? (size_t)(comma - rest.data) : rest.len;
		struct ps_slice element = trimmed((struct ps_slice){rest.data, n});

		section->chunked = equals(element, "chunked");
		chunked += section->chunked;
		if (element.len == 0 || chunked > 1 || (comma && n + 1 == rest.len))
			section->shown |= CODING_FORM;
		n += comma != NULL;
		rest = (struct ps_slice){rest.data + n, rest.len - n};
	}
}

static bool is_framing(struct ps_slice name)
{
	return equals(name, "content-length") || equals(name, "transfer-encoding");
}

static void field_shows(struct section *section, struct ps_slice line)
{
	const char *colon = memchr(line.data, ':', line.len);
	struct ps_slice name = {line.data, colon ? (size_t)(colon - line.data) : line.len};
	struct ps_slice value = colon ? (struct ps_slice){colon + 1, line.len - name.len - 1} : (struct ps_slice){0};

	if (colon == NULL || !is_token(name))
		section->shown |= FIELD_NAME;
	/* http_parser takes Transfer-Encodings for Transfer-Encoding in one place */
	if (name.len > 17 && equals((struct ps_slice){name.data, 17}, "transfer-encoding"))
		section->shown |= CODING_FORM;
	if (equals(trimmed(name), "content-length"))
		length_shows(section, value);
	if (equals(trimmed(name), "transfer-encoding"))
		coding_shows(section, value);
}

/* Header fields or trailers, to the empty line. Returns whether that was found. */
static bool section_shows(struct lines *lines, struct section *section)
{
	struct ps_slice line, name = {0};
	bool first = true;

	for (bool whole = true; whole; first = false) {
		whole = line_next(lines, &line);
		if (whole && line.len == 0)
			return true;
		if (has_byte(line, '\r'))
			section->shown |= STRAY_CR;
		if (has_control(line, "\t\r"))
			section->shown |= FIELD_CONTROL;
		if (line.len > 0 && (*line.data == ' ' || *line.data == '\t')) {
			section->shown |= first ? FIELD_FIRST_BLANK : is_framing(name) ? FRAMING_FOLDED : 0;
			continue;
		}
		name.data = line.data;
		name.len = has_byte(line, ':') ? (size_t)((char *)memchr(line.data, ':', line.len) - line.data) : 0;
		if (line.len > 0)
			field_shows(section, line);
	}
	return false;
}

/* chunk-size *SP [";" ...] CRLF chunk-data CRLF, up to the trailers; the first thing that is not so. */
static unsigned int chunks_show(struct lines *lines)
{
	for (;;) {
		struct ps_slice line, digits;
		uint64_t size = 0;
		bool whole = line_next(lines, &line);
		bool crlf = whole && lines->at[-2] == '\r' && line.data + line.len < (const char *)lines->at - 1;

		digits = (struct ps_slice){line.data, 0};
		while (digits.len < line.len && strchr("0123456789abcdefABCDEF", line.data[digits.len]) != NULL &&
		       line.data[digits.len] != '\0') {
			char digit[2] = {line.data[digits.len++], '\0'};

			if (size >= UINT64_MAX >> 4)
				return CHUNK_HUGE;
			size = size << 4 | strtoul(digit, NULL, 16);
		}
		if (has_byte(line, '\r') || (whole && !crlf) ||
		    (digits.len < line.len && strchr("; ", line.data[digits.len]) == NULL))
			return CHUNK_LINE;
		if (!whole || digits.len == 0 || size == 0)
			return 0;
		if (size >= (uint64_t)(lines->end - lines->at))
			return 0;
		lines->at += size;
		if (lines->at[0] != '\r' || (lines->end - lines->at > 1 && lines->at[1] != '\n'))
			return CHUNK_END;
		lines->at += lines->end - lines->at > 1 ? 2 : 1;
	}
}

/* 1xx, 204, 304, or the answer to HEAD. */
static bool has_no_body(struct ps_slice line)
{
	return line.len >= 12 && (ref.mode == MODE_HEAD || line.data[9] == '1' ||
				  memcmp(line.data + 9, "204", 3) == 0 || memcmp(line.data + 9, "304", 3) == 0);
}

static unsigned int message_shows(const struct reading *m)
{
	struct lines lines = {m->begin, m->begin + m->len};
	struct section section = {0}, trailers = {0};
	struct ps_slice line;
	bool whole = line_next(&lines, &line);
	unsigned int shown = ref.mode == MODE_REQUESTS ? request_line_shows(line) : status_line_shows(line);

	if (has_byte(line, '\r'))
		shown |= STRAY_CR;
	if (has_control(line, "\t\r"))
		shown |= START_CONTROL;
	if (!whole || !section_shows(&lines, &section))
		return shown | section.shown;
	shown |= section.shown;
	if (ref.mode == MODE_REQUESTS && m->method == HTTP_CONNECT && section.lengths + section.codings > 0)
		shown |= CONNECT_BODY;
	if (ref.mode != MODE_REQUESTS && has_no_body(line) && section.lengths > 0 && section.codings > 0)
		shown |= NO_BODY_FRAMING;
	if (!section.chunked || (ref.mode != MODE_REQUESTS && has_no_body(line)))
		return shown;
	shown |= chunks_show(&lines);
	if (shown & (CHUNK_LINE | CHUNK_END | CHUNK_HUGE))
		return shown;
	section_shows(&lines, &trailers);
	if (trailers.lengths > 0)
		shown |= TRAILER_LENGTH;
	/* framing fields are no more than fields there */
	return shown | (trailers.shown & ~(unsigned int)(LENGTH_FORM | CODING_FORM | FRAMING_FOLDED));
}

/* The mismatch is at message `index`, or at the 1xx before it: the bytes must show why. */
static void explain(size_t index, const char *what)
{
	unsigned int shown = 0;

	while (index > 0 && ref.messages[index - 1].status / 100 == 1)
		index--;
	do
		shown |= message_shows(&ref.messages[index]);
	while (ref.messages[index].status / 100 == 1 && ++index < ref.count);
	if (ref.error == HPE_OK || index + 1 < ref.count)
		shown &= ~(unsigned int)REFUSALS;
	if (getenv("PS_EXPLAIN") != NULL)
		for (size_t i = 0; i < sizeof(difference_names) / sizeof(difference_names[0]); i++)
			if (shown & 1U << i)
				fprintf(stderr, "difference %s\n", difference_names[i]);
	if (shown != 0)
		return;
	fprintf(stderr, "message %zu, unexplained: %s; http_parser: %s\n", index, what, http_errno_name(ref.error));
	abort();
}

/* --- the comparison --- */

static bool same(struct ps_slice a, struct ps_slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static const char *fields_differ(const struct field *theirs, size_t count, const struct ps_header *ours,
				 uint32_t our_count)
{
	if (count != our_count)
		return "number of fields";
	for (size_t i = 0; i < count; i++)
		if (!same(theirs[i].name, ours[i].name) || !same(theirs[i].value, ours[i].value))
			return "a field";
	return NULL;
}

static size_t head_len(const struct reading *m)
{
	struct lines lines = {m->begin, m->begin + m->len};
	struct ps_slice line;

	while (line_next(&lines, &line) && line.len > 0)
		;
	return (size_t)(lines.at - m->begin);
}

static const char *head_differs(const struct reading *theirs, const struct ps_message *ours)
{
	const struct field *fields = ref.fields + theirs->fields_at;
	const char *method = http_method_str((enum http_method)theirs->method);

	if (ref.mode == MODE_REQUESTS && !same(ours->method, (struct ps_slice){method, strlen(method)}))
		return "method";
	if (!same(ours->target, theirs->target))
		return "target";
	if (ours->status != theirs->status || !same(ours->reason, theirs->reason))
		return "status or reason";
	if (ours->version_major != theirs->major || ours->version_minor != theirs->minor)
		return "version";
	if (ours->head_bytes != head_len(theirs))
		return "length of the head";
	return fields_differ(fields, theirs->field_count, ours->headers, ours->header_count);
}

static const char *whole_differs(const struct reading *theirs, const struct ps_message *ours, size_t wire_len)
{
	const struct field *trailers = ref.fields + theirs->fields_at + theirs->field_count;

	if (ours->wire_bytes != wire_len)
		return "length on the wire";
	return fields_differ(trailers, theirs->trailer_count, ours->trailers, ours->trailer_count);
}

/* Both agree that a message is broken when ours says so in its flags, or ends nothing after the place. */
static const char *error_differs(const struct reading *theirs, const struct ps_message *ours)
{
	bool in_body = theirs->head_done && theirs->trailer_count == 0;

	if (ours == NULL)
		return in_body ? "no message" : NULL;
	if (in_body && ref.error != HPE_INVALID_TRANSFER_ENCODING)
		return ours->flags & PS_MESSAGE_BAD_CHUNK ? NULL : "broken chunks";
	if (ours->flags & PS_MESSAGE_AMBIGUOUS)
		return NULL;
	return ours->flags & PS_MESSAGE_COMPLETE || !(ours->flags & PS_MESSAGE_ABORTED) ? "refused by http_parser"
											: NULL;
}

static bool is_start_error(enum http_errno error)
{
	return error == HPE_INVALID_METHOD || error == HPE_INVALID_URL || error == HPE_INVALID_CONSTANT ||
	       error == HPE_INVALID_VERSION || error == HPE_INVALID_STATUS;
}

static const char *message_differs(size_t index, const struct ps_message *ours, size_t wire_len)
{
	const struct reading *theirs = &ref.messages[index];
	const char *what;

	if (!theirs->complete && ref.error != HPE_OK) {
		if (is_start_error(ref.error))
			return ours != NULL ? "start line refused by http_parser" : NULL;
		return error_differs(theirs, ours);
	}
	if (!theirs->head_done)
		return ours != NULL && ours->flags & PS_MESSAGE_COMPLETE ? "complete" : NULL;
	if (ours == NULL)
		return "no message";
	if (!(ours->flags & PS_MESSAGE_COMPLETE) != !theirs->complete)
		return "complete";
	if (ours->flags & PS_MESSAGE_BAD_CHUNK)
		return "broken chunks";
	what = head_differs(theirs, ours);
	if (what == NULL && (!same(ours->body.kept, theirs->body) || ours->body.size_bytes != theirs->body.len))
		what = "body";
	if (what == NULL && theirs->complete)
		what = whole_differs(theirs, ours, wire_len);
	return what;
}

/* --- ours --- */

static uint8_t *guard_end; /* the first byte that must not be read */

static void guard_map(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *map = mmap(NULL, INPUT_MAX + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED || mprotect(map + INPUT_MAX, page, PROT_NONE) != 0)
		abort();
	guard_end = map + INPUT_MAX;
}

/* Returns false when the connection goes on as HTTP/2, which http_parser does not know: nothing to compare. */
static bool feed(struct http1_conn *conn, enum mode mode, const uint8_t *data, size_t len)
{
	static const char get[] = "GET / HTTP/1.1\r\n\r\n", head[] = "HEAD / HTTP/1.1\r\n\r\n";
	const char *request = mode == MODE_GET ? get : head;
	const struct http_context ctx = {.ts_ns = 1};
	int direction = mode == MODE_REQUESTS ? PS_IN : PS_OUT;
	size_t taken = 0;

	while (taken < len) {
		uint8_t *place = guard_end - (len - taken);

		memcpy(place, data + taken, len - taken);
		taken += http1_conn_data(conn, direction, &ctx, place, len - taken);
		if (http1_conn_mode(conn) == HTTP_MODE_H2C)
			return false;
		if (taken < len && mode == MODE_REQUESTS)
			http1_conn_unblock(conn, true);
		else if (taken < len)
			http1_conn_data(conn, PS_IN, &ctx, (const uint8_t *)request, strlen(request));
		memset(guard_end - INPUT_MAX, 0xee, INPUT_MAX);
	}
	http1_conn_end(conn, direction, &ctx);
	http1_conn_finish(conn, PS_MESSAGE_ABORTED);
	return http1_conn_mode(conn) != HTTP_MODE_H2C;
}

/* The 1xx before a final response are counted in its exchange. Returns the index of the final one. */
static size_t skip_interim(size_t index, const struct ps_exchange *ex, const char **what)
{
	uint32_t count = 0;

	while (index < ref.count && ref.messages[index].complete && ref.messages[index].status / 100 == 1 &&
	       ref.messages[index].status != 101) {
		if (count < PS_INTERIM_MAX && ex != NULL && ex->interim[count] != ref.messages[index].status)
			*what = "status of a 1xx";
		count++;
		index++;
	}
	if (count != (ex != NULL ? ex->interim_count : 0))
		*what = "number of 1xx";
	return index;
}

static size_t wire_len(size_t from, size_t to)
{
	size_t len = 0;

	for (size_t i = from; i <= to && i < ref.count; i++)
		len += ref.messages[i].len;
	return len;
}

static const struct ps_message *message_of(const struct ps_exchange *ex, enum mode mode)
{
	if (ex == NULL)
		return NULL;
	if (mode == MODE_REQUESTS)
		return ex->flags & PS_EXCHANGE_REQUEST ? &ex->request : NULL;
	return ex->flags & PS_EXCHANGE_RESPONSE ? &ex->response : NULL;
}

static const struct ps_exchange *next_exchange(struct http1_conn *conn)
{
	struct http_item item;

	do
		item = http1_conn_next(conn);
	while (item.exchange != NULL && item.kind != PS_ITEM_EXCHANGE);
	return item.exchange;
}

/* In order, to the first difference. */
static void compare(struct http1_conn *conn, enum mode mode, size_t tunnel_len)
{
	const struct ps_exchange *ex;
	size_t index = 0;

	do {
		const struct ps_message *ours;
		const char *what = NULL;
		size_t first = index;

		ex = next_exchange(conn);
		ours = message_of(ex, mode);
		index = skip_interim(index, ex, &what);
		if (what == NULL && index < ref.count)
			what = message_differs(index, ours, wire_len(first, index));
		else if (what == NULL && ours != NULL)
			what = "one message more";
		if (what != NULL) {
			explain(index < ref.count ? index : ref.count - 1, what);
			return;
		}
		index++;
	} while (index < ref.count || ex != NULL);
	if (http1_conn_stats(conn).tunnel_bytes != tunnel_len)
		explain(ref.count - 1, "bytes of another protocol");
}

static enum mode mode_of(uint8_t byte)
{
	return (enum mode)(byte % 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct http_limits limits = {
	    .head_bytes_max = 2 * INPUT_MAX, .body_bytes_max = INPUT_MAX, .pipeline_max = MESSAGES_MAX};
	struct http1_conn *conn = http1_conn_new(&limits, false);
	size_t tunnel_len;

	if (conn == NULL)
		abort();
	if (guard_end == NULL)
		guard_map();
	if (len > 1 && len <= INPUT_MAX) {
		tunnel_len = read_with_reference(mode_of(data[0]), data + 1, len - 1);
		if (feed(conn, mode_of(data[0]), data + 1, len - 1) && ref.count > 0)
			compare(conn, mode_of(data[0]), tunnel_len);
	}
	http1_conn_free(conn);
	return 0;
}
