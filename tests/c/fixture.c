/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 65536, BODY_SHOWN = 64 };

/* --- strings --- */

static void text_reserve(struct text *text, size_t more)
{
	if (text->len + more + 1 <= text->cap)
		return;
	text->cap = (text->len + more + 1) * 2;
	text->data = realloc(text->data, text->cap);
	if (text->data == NULL)
		abort();
}

void text_add(struct text *text, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	text_reserve(text, (size_t)len);
	va_start(args, format);
	vsnprintf(text->data + text->len, (size_t)len + 1, format, args);
	va_end(args);
	text->len += (size_t)len;
}

static void text_byte(struct text *text, char byte)
{
	text_reserve(text, 1);
	text->data[text->len++] = byte;
	text->data[text->len] = '\0';
}

/* Printable ASCII as it is, the rest as the escapes that the fixtures use. */
static void text_escaped(struct text *text, struct ps_slice slice, size_t max)
{
	for (size_t i = 0; i < slice.len && i < max; i++) {
		uint8_t c = (uint8_t)slice.data[i];

		if (c == '\r')
			text_add(text, "\\r");
		else if (c == '\n')
			text_add(text, "\\n");
		else if (c == '\t')
			text_add(text, "\\t");
		else if (c == '\\')
			text_add(text, "\\\\");
		else if (c < ' ' || c > '~')
			text_add(text, "\\x%02x", c);
		else
			text_byte(text, (char)c);
	}
	if (slice.len > max)
		text_add(text, "...");
}

/* --- exchanges as text --- */

struct flag_name {
	uint32_t flag;
	const char *name;
};

static void text_flags(struct text *text, uint32_t flags, const struct flag_name *names)
{
	for (; names->name != NULL; names++)
		if (flags & names->flag)
			text_add(text, " %s", names->name);
}

static const struct flag_name exchange_flags[] = {
    {PS_EXCHANGE_MIDSTREAM, "midstream"},
    {PS_EXCHANGE_AFTER_GAP, "after-gap"},
    {PS_EXCHANGE_TUNNEL, "tunnel"},
    {PS_EXCHANGE_PUSHED, "pushed"},
    {PS_EXCHANGE_RESET, "reset"},
    {PS_EXCHANGE_UNDECODED, "undecoded"},
    {0, NULL},
};

static const struct flag_name message_flags[] = {
    {PS_MESSAGE_COMPLETE, "complete"},   {PS_MESSAGE_ABORTED, "aborted"},   {PS_MESSAGE_UNFINISHED, "unfinished"},
    {PS_MESSAGE_LOST_TAIL, "lost-tail"}, {PS_MESSAGE_HEAD_CUT, "head-cut"}, {PS_MESSAGE_AMBIGUOUS, "ambiguous"},
    {PS_MESSAGE_BAD_CHUNK, "bad-chunk"}, {PS_MESSAGE_UNKNOWN, "unknown"},   {0, NULL},
};

static void text_kept(struct text *text, const struct ps_body *body)
{
	if (body->state == PS_BODY_GAP)
		text_add(text, " gap %ju at %ju", (uintmax_t)body->gap_bytes, (uintmax_t)body->gap_offset);
	if (body->state == PS_BODY_TRUNCATED)
		text_add(text, " truncated to %zu", body->kept.len);
	if (body->kept.len > 0) {
		text_add(text, " \"");
		text_escaped(text, body->kept, BODY_SHOWN);
		text_add(text, "\"");
	}
}

static void text_body(struct text *text, const struct ps_body *body)
{
	static const char *const framings[] = {"none", "length", "chunked", "close", "h2"};

	text_add(text, " %s", framings[body->framing]);
	if (body->framing != PS_FRAMING_NONE)
		text_add(text, " %ju", (uintmax_t)body->size_bytes);
	text_kept(text, body);
	text_add(text, "\n");
}

static void text_part(struct text *text, struct ps_slice slice, bool is_unknown)
{
	if (is_unknown)
		text_add(text, "?");
	else
		text_escaped(text, slice, BODY_SHOWN);
}

static void text_pseudo(struct text *text, const char *name, struct ps_slice value)
{
	if (value.len == 0)
		return;
	text_add(text, "  %s ", name);
	text_escaped(text, value, BODY_SHOWN);
	text_add(text, "\n");
}

static void text_fields(struct text *text, const char *title, const struct ps_header *fields, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		text_add(text, "  %s ", title);
		text_part(text, fields[i].name, fields[i].flags & PS_HEADER_NAME_UNKNOWN);
		text_add(text, ": ");
		text_part(text, fields[i].value, fields[i].flags & PS_HEADER_VALUE_UNKNOWN);
		text_add(text, "\n");
	}
}

static void text_details(struct text *text, const struct ps_message *m, const struct fixture *fixture)
{
	text_body(text, &m->body);
	if (fixture->show_headers) {
		text_pseudo(text, "scheme", m->scheme);
		text_pseudo(text, "authority", m->authority);
		text_pseudo(text, "protocol", m->protocol);
	}
	if (fixture->show_headers)
		text_fields(text, "header", m->headers, m->header_count);
	if (fixture->show_headers)
		text_fields(text, "trailer", m->trailers, m->trailer_count);
	if (fixture->show_sizes)
		text_add(text, "  head %ju wire %ju fields %u target %zu\n", (uintmax_t)m->head_bytes,
			 (uintmax_t)m->wire_bytes, m->header_count, m->target.len);
	if (fixture->show_times)
		text_add(text, "  step %ju to %ju by %u\n", (uintmax_t)m->first_ts_ns - 1000,
			 (uintmax_t)m->last_ts_ns - 1000, m->process.tgid - 100);
}

static void text_exchange(struct text *text, const struct ps_exchange *ex, const struct fixture *fixture)
{
	text_add(text, "exchange");
	if (ex->stream_id != 0)
		text_add(text, " %u", ex->stream_id);
	text_flags(text, ex->flags, exchange_flags);
	if (ex->flags & PS_EXCHANGE_RESET)
		text_add(text, " %u", ex->error_code);
	text_add(text, "\n");
	if (ex->flags & PS_EXCHANGE_REQUEST) {
		text_add(text, "request ");
		text_part(text, ex->request.method, ex->request.method.len == 0);
		text_add(text, " ");
		text_part(text, ex->request.target, ex->request.target.len == 0);
		text_add(text, " %u.%u", ex->request.version_major, ex->request.version_minor);
		text_flags(text, ex->request.flags, message_flags);
		text_details(text, &ex->request, fixture);
	}
	if (ex->interim_count > 0) {
		text_add(text, "interim");
		for (uint32_t i = 0; i < ex->interim_count && i < PS_INTERIM_MAX; i++)
			text_add(text, " %u", ex->interim[i]);
		text_add(text, " of %u\n", ex->interim_count);
	}
	if (ex->flags & PS_EXCHANGE_RESPONSE) {
		text_add(text, "response %u (", ex->response.status);
		text_escaped(text, ex->response.reason, BODY_SHOWN);
		text_add(text, ") %u.%u", ex->response.version_major, ex->response.version_minor);
		text_flags(text, ex->response.flags, message_flags);
		text_details(text, &ex->response, fixture);
	}
}

static const struct {
	uint32_t type;
	const char *name;
} stream_types[] = {
    {PS_STREAM_CONTINUATION, "continuation"},
    {PS_STREAM_TEXT, "text"},
    {PS_STREAM_BINARY, "binary"},
    {PS_STREAM_CLOSE, "close"},
    {PS_STREAM_PING, "ping"},
    {PS_STREAM_PONG, "pong"},
    {PS_STREAM_EVENT, "event"},
    {PS_STREAM_MESSAGE, "message"},
    {PS_STREAM_TRAILERS, "trailers"},
};

static const struct flag_name stream_flags[] = {{PS_STREAM_COMPRESSED, "compressed"},
						{PS_STREAM_UNDECODED, "undecoded"},
						{PS_STREAM_AFTER_GAP, "after-gap"},
						{PS_STREAM_UNFINISHED, "unfinished"},
						{0, NULL}};

static void text_message(struct text *text, const struct http_item *item, const struct fixture *fixture)
{
	const struct ps_stream_message *message = item->message;
	bool is_request = (message->direction == PS_OUT) == (item->exchange->side == PS_SIDE_CLIENT);
	const char *type = "?";

	for (size_t i = 0; i < sizeof(stream_types) / sizeof(stream_types[0]); i++)
		if (stream_types[i].type == message->type)
			type = stream_types[i].name;
	text_add(text, "%s %s", is_request ? "client" : "server", type);
	if (message->close_code > 0)
		text_add(text, " %u", message->close_code);
	if (message->name.len > 0) {
		text_add(text, " ");
		text_escaped(text, message->name, BODY_SHOWN);
	}
	if (message->event_id.len > 0) {
		text_add(text, " #");
		text_escaped(text, message->event_id, BODY_SHOWN);
	}
	text_flags(text, message->flags, stream_flags);
	text_add(text, " %ju", (uintmax_t)message->body.size_bytes);
	text_kept(text, &message->body);
	if (fixture->show_sizes)
		text_add(text, " frames %u wire %ju", message->frames, (uintmax_t)message->wire_bytes);
	text_add(text, "\n");
}

void text_item(struct text *text, const struct http_item *item, const struct fixture *fixture)
{
	if (item->kind == PS_ITEM_MESSAGE)
		text_message(text, item, fixture);
	else if (item->kind == PS_ITEM_STARTED)
		text_add(text, "started\n");
	else
		text_exchange(text, item->exchange, fixture);
}

void text_state(struct text *text, const struct http_conn *conn)
{
	static const char *const modes[] = {"http", "tunnel", "not-http"};
	struct http_stats s = http_conn_stats(conn);

	if (http_conn_mode(conn) != HTTP_MODE_HTTP)
		text_add(text, "mode %s\n", modes[http_conn_mode(conn)]);
	if (s.tunnel_bytes > 0)
		text_add(text, "tunnel %ju\n", (uintmax_t)s.tunnel_bytes);
	if (s.skipped_bytes > 0)
		text_add(text, "skipped %ju\n", (uintmax_t)s.skipped_bytes);
	if (s.gap_bytes > 0)
		text_add(text, "gaps %ju\n", (uintmax_t)s.gap_bytes);
	if (s.parse_errors > 0)
		text_add(text, "errors %ju\n", (uintmax_t)s.parse_errors);
	text_add(text, "end\n");
}

/* --- fixtures --- */

static void malformed(const struct fixture_file *file, const char *why)
{
	fprintf(stderr, "%s:%d: %s\n", file->name, file->line, why);
	exit(2);
}

static int is_text_file(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 4 && strcmp(entry->d_name + len - 4, ".txt") == 0;
}

size_t fixture_files(const char *dir, struct fixture_file files[FIXTURE_FILES_MAX])
{
	struct dirent **entries;
	int count = scandir(dir, &entries, is_text_file, alphasort);

	if (count <= 0 || count > FIXTURE_FILES_MAX) {
		fprintf(stderr, "%s: no fixtures, or too many\n", dir);
		exit(2);
	}
	for (int i = 0; i < count; i++) {
		char path[PATH_MAX];

		files[i] = (struct fixture_file){.line = 0};
		snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
		snprintf(files[i].name, sizeof(files[i].name), "%.63s", entries[i]->d_name);
		files[i].file = fopen(path, "r");
		if (files[i].file == NULL) {
			perror(path);
			exit(2);
		}
		free(entries[i]);
	}
	free(entries);
	return (size_t)count;
}

void fixture_file_close(struct fixture_file *file)
{
	fclose(file->file);
}

static void unescape(struct text *bytes, const char *at, const char *end, const struct fixture_file *file);

/* \COUNT{text} */
static const char *repeated(struct text *bytes, const char *at, const char *end, const struct fixture_file *file)
{
	char *open;
	unsigned long count = strtoul(at, &open, 10);
	const char *close = memchr(at, '}', (size_t)(end - at));

	if (open == at || *open != '{' || close == NULL)
		malformed(file, "unknown escape");
	while (count-- > 0)
		unescape(bytes, open + 1, close, file);
	return close + 1;
}

/* One escape after its backslash; returns where to go on. */
static const char *escape(struct text *bytes, const char *at, const char *end, const struct fixture_file *file)
{
	static const char letters[] = "rnt\\";
	static const char meanings[] = "\r\n\t\\";
	const char *letter = at < end ? strchr(letters, *at) : NULL;

	if (letter != NULL && *letter != '\0') {
		text_byte(bytes, meanings[letter - letters]);
		return at + 1;
	}
	if (end - at >= 3 && *at == 'x' && isxdigit((uint8_t)at[1]) && isxdigit((uint8_t)at[2])) {
		char hex[3] = {at[1], at[2], '\0'};

		text_byte(bytes, (char)strtoul(hex, NULL, 16));
		return at + 3;
	}
	return repeated(bytes, at, end, file);
}

static void unescape(struct text *bytes, const char *at, const char *end, const struct fixture_file *file)
{
	while (at < end) {
		if (*at == '\\')
			at = escape(bytes, at + 1, end, file);
		else
			text_byte(bytes, *at++);
	}
}

static struct op *op_new(struct fixture *fixture, const struct fixture_file *file, enum op_kind kind, bool from_client)
{
	struct op *op = &fixture->ops[fixture->op_count];

	if (fixture->op_count == FIXTURE_OPS_MAX)
		malformed(file, "too many steps");
	fixture->op_count++;
	*op = (struct op){.kind = kind, .from_client = from_client, .pos = fixture->byte_count};
	return op;
}

static void add_bytes(struct fixture *fixture, const struct fixture_file *file, bool from_client, const uint8_t *data,
		      size_t len, bool *new_call)
{
	struct op *op = fixture->op_count ? &fixture->ops[fixture->op_count - 1] : NULL;

	if (op == NULL || *new_call || op->kind != OP_DATA || op->from_client != from_client)
		op = op_new(fixture, file, OP_DATA, from_client);
	*new_call = false;
	op->data = realloc(op->data, op->len + len + 1);
	if (op->data == NULL)
		abort();
	if (len > 0)
		memcpy(op->data + op->len, data, len);
	op->len += len;
	fixture->byte_count += len;
}

/* Lines of one direction that follow each other are one call. */
static void data_line(struct fixture *fixture, const struct fixture_file *file, const char *line, bool *new_call)
{
	bool from_client = line[0] == '>';
	bool raw = line[1] == '|';
	const char *at = line + 1 + raw + (line[1 + raw] == ' ');
	struct text bytes = {.data = NULL};

	unescape(&bytes, at, at + strlen(at), file);
	if (!raw) {
		text_byte(&bytes, '\r');
		text_byte(&bytes, '\n');
	}
	add_bytes(fixture, file, from_client, (const uint8_t *)bytes.data, bytes.len, new_call);
	free(bytes.data);
}

/* A frame of HTTP/2; lines of one direction that follow each other are one call. */
static void frame_line(struct fixture *fixture, struct fixture_file *file, const char *line, bool *new_call)
{
	static uint8_t frame[FRAME_TEXT_MAX];
	bool from_client = line[0] == '>';
	struct text text = {.data = NULL};
	size_t len;

	unescape(&text, line + 3, line + strlen(line), file);
	len = text.len ? frame_from_text(text.data, text.len, &file->carry[from_client], frame) : 0;
	if (len == 0)
		malformed(file, "not a frame");
	add_bytes(fixture, file, from_client, frame, len, new_call);
	free(text.data);
}

static void options_line(struct fixture *fixture, const struct fixture_file *file, char *options)
{
	for (char *word = strtok(options, " "); word != NULL; word = strtok(NULL, " ")) {
		if (strcmp(word, "midstream") == 0)
			fixture->midstream = true;
		else if (strcmp(word, "calls") == 0)
			fixture->whole_calls = true;
		else if (strcmp(word, "headers") == 0)
			fixture->show_headers = true;
		else if (strcmp(word, "sizes") == 0)
			fixture->show_sizes = true;
		else if (strcmp(word, "times") == 0)
			fixture->show_times = true;
		else if (strncmp(word, "head=", 5) == 0)
			fixture->limits.head_bytes_max = strtoul(word + 5, NULL, 10);
		else if (strncmp(word, "body=", 5) == 0)
			fixture->limits.body_bytes_max = strtoul(word + 5, NULL, 10);
		else if (strncmp(word, "pipeline=", 9) == 0)
			fixture->limits.pipeline_max = (uint32_t)strtoul(word + 9, NULL, 10);
		else
			malformed(file, "unknown option");
	}
}

static void step_line(struct fixture *fixture, struct fixture_file *file, char *line, bool *new_call)
{
	bool from_client = line[0] == '>';
	const char *word = line + 1;

	if (strcmp(line, "--") == 0)
		*new_call = true;
	else if (strcmp(line, "unblock") == 0)
		op_new(fixture, file, OP_UNBLOCK, false);
	else if (strcmp(line, "held?") == 0)
		op_new(fixture, file, OP_HELD, false);
	else if (strcmp(line, "finish aborted") == 0)
		op_new(fixture, file, OP_FINISH, false)->count = PS_MESSAGE_ABORTED;
	else if (strcmp(line, "finish unfinished") == 0)
		op_new(fixture, file, OP_FINISH, false)->count = PS_MESSAGE_UNFINISHED;
	else if (strncmp(line, "options ", 8) == 0)
		options_line(fixture, file, line + 8);
	else if (line[0] == '=' && line[1] == ' ')
		text_add(&fixture->expected, "%s\n", line + 2);
	else if (line[0] != '>' && line[0] != '<')
		malformed(file, "not a step");
	else if (word[0] == line[0] && word[1] == ' ')
		frame_line(fixture, file, line, new_call);
	else if (strncmp(word, "gap ", 4) == 0)
		op_new(fixture, file, OP_GAP, from_client)->count = strtoull(word + 4, NULL, 10);
	else if (strcmp(word, "end") == 0)
		op_new(fixture, file, OP_END, from_client);
	else if (*word == '\0' || *word == ' ' || *word == '|')
		data_line(fixture, file, line, new_call);
	else
		malformed(file, "not a step");
}

static bool title_of(struct fixture_file *file, const char *line)
{
	if (strncmp(line, "### ", 4) != 0)
		return false;
	snprintf(file->title, sizeof(file->title), "%.127s", line + 4);
	return true;
}

static bool line_read(struct fixture_file *file, char *line)
{
	if (fgets(line, LINE_MAX_BYTES, file->file) == NULL)
		return false;
	file->line++;
	line[strcspn(line, "\n")] = '\0';
	return true;
}

static void fixture_check(const struct fixture *fixture, const struct fixture_file *file)
{
	if (fixture->op_count == 0 || fixture->ops[fixture->op_count - 1].kind != OP_FINISH)
		malformed(file, "a case ends with `finish`");
	if (fixture->expected.data == NULL)
		malformed(file, "a case needs expectations");
}

struct fixture *fixture_next(struct fixture_file *file)
{
	static char line[LINE_MAX_BYTES];
	struct fixture *fixture;
	bool new_call = false;

	while (file->title[0] == '\0')
		if (!line_read(file, line))
			return NULL;
		else
			title_of(file, line);
	fixture = calloc(1, sizeof(*fixture));
	if (fixture == NULL)
		abort();
	fixture->file = file->name;
	fixture->line = file->line;
	fixture->limits = (struct http_limits){.head_bytes_max = 65536, .body_bytes_max = 4096, .pipeline_max = 64};
	memcpy(fixture->name, file->title, sizeof(fixture->name));
	file->title[0] = '\0';
	while (line_read(file, line) && !title_of(file, line))
		if (line[0] != '\0' && line[0] != '#')
			step_line(fixture, file, line, &new_call);
	fixture_check(fixture, file);
	return fixture;
}

void fixture_free(struct fixture *fixture)
{
	for (size_t i = 0; i < fixture->op_count; i++)
		free(fixture->ops[i].data);
	free(fixture->expected.data);
	free(fixture);
}
