/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing as in WHATWG HTML 9.2.5 and 9.2.6, with this difference: an event that
 * the end of the stream cuts off is not discarded but marked.
 *
 * Values are read as they come: of data as much is kept as of a body, of other
 * fields FIELD_MAX bytes.
 */
#include "sse.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_LEN = 5, FIELD_MAX = 1024 }; /* no field that counts has a longer name */

enum field { FIELD_OTHER = 0, FIELD_DATA, FIELD_EVENT, FIELD_ID };

enum place {
	PLACE_NAME = 0, /* in the name of a field */
	PLACE_SPACE,    /* after the colon: one space is not part of the value */
	PLACE_VALUE
};

struct value {
	char bytes[FIELD_MAX];
	size_t len;
	bool has_nul;
};

struct sse {
	struct http_limits limits;
	struct stream_message *event; /* being read; NULL: no line of it was read */
	struct value name;            /* the event's */
	struct value id;              /* being read */
	struct value last_id;
	char field_name[NAME_MAX_LEN];
	uint8_t field_name_len; /* NAME_MAX_LEN + 1: longer */
	uint8_t place;          /* enum place */
	uint8_t field;          /* enum field, from PLACE_SPACE on */
	uint8_t bom_len;        /* bytes of a byte order mark at the beginning; UINT8_MAX: past it */
	bool has_data;          /* the event has a line of data */
	bool after_cr;          /* an LF belongs to the line end before */
	bool is_line_begun;
	bool is_lost; /* in a line, or an event, whose beginning is missing */
	bool has_gap; /* events may be missing before the next one */
	bool is_compressed;
};

struct sse *sse_new(const struct http_limits *limits)
{
	struct sse *sse = calloc(1, sizeof(*sse));

	if (sse != NULL)
		sse->limits = *limits;
	return sse;
}

void sse_free(struct sse *sse)
{
	if (sse == NULL)
		return;
	stream_message_free(sse->event);
	free(sse);
}

void sse_set_compressed(struct sse *sse)
{
	sse->is_compressed = true;
}

size_t sse_memory(const struct sse *sse)
{
	return sizeof(*sse) + (sse->event != NULL ? stream_message_memory(sse->event) : 0);
}

/* --- events --- */

/* Name and id, in memory of the event. */
static void set_texts(struct stream_message *event, const struct value *name, const struct value *id)
{
	if (name->len + id->len == 0)
		return;
	event->text = malloc(name->len + id->len);
	if (event->text == NULL)
		return;
	memcpy(event->text, name->bytes, name->len);
	memcpy(event->text + name->len, id->bytes, id->len);
	if (name->len > 0)
		event->pub.name = (struct ps_slice){event->text, name->len};
	if (id->len > 0)
		event->pub.event_id = (struct ps_slice){event->text + name->len, id->len};
}

/* The event is over. One without data is none (9.2.6). */
static void dispatch(struct sse *sse, uint32_t flags, struct stream_queue *queue)
{
	struct stream_message *event = sse->event;

	sse->event = NULL;
	if (event != NULL && sse->has_data) {
		set_texts(event, &sse->name, &sse->last_id);
		event->pub.flags |=
		    flags | (sse->has_gap ? PS_STREAM_AFTER_GAP : 0) | (sse->is_compressed ? PS_STREAM_COMPRESSED : 0);
		sse->has_gap = false;
		stream_queue_push(queue, event);
	} else {
		stream_message_free(event);
	}
	sse->has_data = false;
	sse->name.len = 0;
}

/* --- lines --- */

static void value_add(struct value *value, const uint8_t *data, size_t len)
{
	size_t room = sizeof(value->bytes) - value->len, fit = len < room ? len : room;

	value->has_nul |= memchr(data, '\0', len) != NULL;
	memcpy(value->bytes + value->len, data, fit);
	value->len += fit;
}

static enum field field_of(const struct sse *sse)
{
	static const struct {
		enum field field;
		const char *name;
	} fields[] = {{FIELD_DATA, "data"}, {FIELD_EVENT, "event"}, {FIELD_ID, "id"}};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (sse->field_name_len == strlen(fields[i].name) &&
		    memcmp(sse->field_name, fields[i].name, sse->field_name_len) == 0)
			return fields[i].field;
	return FIELD_OTHER;
}

/* The name is over; a line without a colon is a name with an empty value. */
static void begin_value(struct sse *sse)
{
	sse->field = (uint8_t)field_of(sse);
	sse->place = PLACE_SPACE;
	if (sse->field == FIELD_EVENT)
		sse->name.len = 0;
	if (sse->field == FIELD_ID)
		sse->id = (struct value){.len = 0};
	if (sse->field != FIELD_DATA)
		return;
	if (sse->has_data && sse->event != NULL)
		stream_message_add(sse->event, &sse->limits, (const uint8_t *)"\n", 1);
	sse->has_data = true;
}

static void end_line(struct sse *sse, struct stream_queue *queue)
{
	if (!sse->is_line_begun) {
		sse->has_data = sse->has_data && !sse->is_lost;
		sse->is_lost = false;
		dispatch(sse, 0, queue);
		return;
	}
	if (sse->place == PLACE_NAME && !sse->is_lost)
		begin_value(sse);
	if (sse->field == FIELD_ID && !sse->id.has_nul && !sse->is_lost) /* 9.2.6: with a NUL it is ignored */
		sse->last_id = sse->id;
	sse->is_line_begun = false;
	sse->place = PLACE_NAME;
	sse->field = FIELD_OTHER;
	sse->field_name_len = 0;
}

/* The first byte of a line. */
static void begin_line(struct sse *sse, const struct http_context *ctx)
{
	sse->is_line_begun = true;
	if (sse->event == NULL)
		sse->event = stream_message_new(PS_STREAM_SSE, STREAM_RESPONSE, PS_STREAM_EVENT, ctx);
}

static void feed_name(struct sse *sse, uint8_t byte)
{
	if (byte == ':')
		begin_value(sse);
	else if (sse->field_name_len < NAME_MAX_LEN)
		sse->field_name[sse->field_name_len++] = (char)byte;
	else
		sse->field_name_len = NAME_MAX_LEN + 1;
}

static void feed_value(struct sse *sse, const uint8_t *data, size_t len)
{
	if (sse->place == PLACE_SPACE && *data == ' ') {
		data++;
		len--;
	}
	sse->place = PLACE_VALUE;
	if (len == 0)
		return;
	if (sse->field == FIELD_DATA && sse->event != NULL)
		stream_message_add(sse->event, &sse->limits, data, len);
	else if (sse->field == FIELD_EVENT)
		value_add(&sse->name, data, len);
	else if (sse->field == FIELD_ID)
		value_add(&sse->id, data, len);
}

/* How many of the bytes come before a line end. */
static size_t line_span(const uint8_t *data, size_t len)
{
	const uint8_t *cr = memchr(data, '\r', len);
	const uint8_t *lf = memchr(data, '\n', cr != NULL ? (size_t)(cr - data) : len);

	return lf != NULL ? (size_t)(lf - data) : cr != NULL ? (size_t)(cr - data) : len;
}

/* Part of a line. Returns how much was taken. */
static size_t feed_line(struct sse *sse, const struct http_context *ctx, const uint8_t *data, size_t len)
{
	if (!sse->is_line_begun)
		begin_line(sse, ctx);
	if (sse->place == PLACE_NAME && !sse->is_lost) {
		feed_name(sse, *data);
		return 1;
	}
	if (!sse->is_lost)
		feed_value(sse, data, len);
	return len;
}

/* --- feeding --- */

static void feed(struct sse *sse, const struct http_context *ctx, const uint8_t *data, size_t len,
		 struct stream_queue *queue)
{
	size_t taken = 0;

	while (taken < len) {
		uint8_t byte = data[taken];
		size_t n = 1;

		if (byte == '\n' && sse->after_cr) {
			sse->after_cr = false;
			taken++;
			continue;
		}
		sse->after_cr = byte == '\r';
		if (byte != '\r' && byte != '\n')
			n = feed_line(sse, ctx, data + taken, line_span(data + taken, len - taken));
		if (sse->event != NULL) {
			sse->event->pub.wire_bytes += n;
			sse->event->pub.last_ts_ns = ctx->ts_ns;
		}
		if (byte == '\r' || byte == '\n')
			end_line(sse, queue);
		taken += n;
	}
}

/* A byte order mark that begins the stream is no part of it (9.2.5). Returns how many bytes were taken. */
static size_t skip_bom(struct sse *sse, const struct http_context *ctx, const uint8_t *data, size_t len,
		       struct stream_queue *queue)
{
	static const uint8_t bom[3] = {0xef, 0xbb, 0xbf};
	size_t taken = 0, matched;

	while (sse->bom_len < sizeof(bom) && taken < len && data[taken] == bom[sse->bom_len]) {
		sse->bom_len++;
		taken++;
	}
	matched = sse->bom_len;
	if (taken == len && matched < sizeof(bom))
		return taken;
	sse->bom_len = UINT8_MAX;
	if (matched < sizeof(bom))
		feed(sse, ctx, bom, matched, queue);
	return taken;
}

void sse_data(struct sse *sse, const struct http_context *ctx, const uint8_t *data, size_t len,
	      struct stream_queue *queue)
{
	size_t taken = sse->bom_len == UINT8_MAX ? 0 : skip_bom(sse, ctx, data, len, queue);

	feed(sse, ctx, data + taken, len - taken, queue);
}

void sse_gap(struct sse *sse, uint64_t len, struct stream_queue *queue)
{
	if (sse->event != NULL && sse->has_data) {
		stream_message_gap(sse->event, len);
		dispatch(sse, PS_STREAM_UNFINISHED, queue);
	}
	sse->is_lost = sse->is_line_begun = true; /* up to the next empty line */
	sse->has_gap = true;
	sse->after_cr = false;
	sse->bom_len = UINT8_MAX;
}

void sse_end(struct sse *sse, struct stream_queue *queue)
{
	dispatch(sse, PS_STREAM_UNFINISHED, queue);
}
