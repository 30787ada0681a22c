/* SPDX-License-Identifier: Apache-2.0 */
/* See http2_frames.h. Section numbers are those of RFC 9113. */
#include "http2_frames.h"

#include "hpack.h"

#include <string.h>

enum {
	PING_LEN = 8,
	WINDOW_UPDATE_LEN = 4,
	RST_STREAM_LEN = 4,
	PRIORITY_LEN = 5,
	GOAWAY_LEN_MIN = 8,
	SETTING_LEN = 6,
	SETTINGS_USUAL = 16 /* parameters in one frame */
};

uint32_t http2_number(const uint8_t b[4])
{
	return (uint32_t)(b[0] & 0x7f) << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static struct http2_frame frame_of(const uint8_t head[HTTP2_HEAD_LEN])
{
	return (struct http2_frame){.length = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2],
				    .type = head[3],
				    .flags = head[4],
				    .stream = http2_number(head + 5)};
}

/* Bytes of the payload before its content, or of a control frame those that matter. */
static uint8_t prefix_len(const struct http2_frame *frame)
{
	uint8_t pad = frame->flags & HTTP2_PADDED ? 1 : 0;

	switch (frame->type) {
	case HTTP2_DATA:
		return pad;
	case HTTP2_HEADERS:
		return (uint8_t)(pad + (frame->flags & HTTP2_HAS_PRIORITY ? 5 : 0));
	case HTTP2_PUSH_PROMISE:
		return (uint8_t)(pad + 4);
	case HTTP2_RST_STREAM:
		return RST_STREAM_LEN;
	case HTTP2_GOAWAY:
		return GOAWAY_LEN_MIN;
	}
	return 0;
}

/* Length and stream as section 6 demands for the type. Unknown types are to be ignored (4.1, 5.5). */
static bool is_sound(const struct http2_frame *frame)
{
	switch (frame->type) {
	case HTTP2_DATA:
	case HTTP2_HEADERS:
	case HTTP2_PUSH_PROMISE:
		return frame->stream != 0 && frame->length >= prefix_len(frame);
	case HTTP2_CONTINUATION:
		return frame->stream != 0;
	case HTTP2_PRIORITY:
		return frame->stream != 0 && frame->length == PRIORITY_LEN;
	case HTTP2_RST_STREAM:
		return frame->stream != 0 && frame->length == RST_STREAM_LEN;
	case HTTP2_SETTINGS:
		return frame->stream == 0 && frame->length % SETTING_LEN == 0 &&
		       (!(frame->flags & HTTP2_ACK) || frame->length == 0);
	case HTTP2_PING:
		return frame->stream == 0 && frame->length == PING_LEN;
	case HTTP2_GOAWAY:
		return frame->stream == 0 && frame->length >= GOAWAY_LEN_MIN;
	case HTTP2_WINDOW_UPDATE:
		return frame->length == WINDOW_UPDATE_LEN;
	}
	return true;
}

/* --- reading --- */

static struct http2_result result(size_t taken, enum http2_event event, size_t content)
{
	return (struct http2_result){.taken = taken, .event = event, .content = content};
}

static bool has_content(const struct http2_frame *frame)
{
	return frame->type == HTTP2_DATA || frame->type == HTTP2_HEADERS || frame->type == HTTP2_PUSH_PROMISE ||
	       frame->type == HTTP2_CONTINUATION;
}

static size_t take_head(struct http2_reader *reader, const uint8_t *data, size_t len)
{
	size_t want = HTTP2_HEAD_LEN - reader->head_len, n = len < want ? len : want;

	if (n > 0)
		memcpy(reader->head + reader->head_len, data, n);
	reader->head_len = (uint8_t)(reader->head_len + n);
	return n;
}

/* Returns whether the head is one. */
static bool begin_payload(struct http2_reader *reader)
{
	reader->frame = frame_of(reader->head);
	reader->left = reader->frame.length;
	reader->padding = 0;
	reader->prefix_len = 0;
	reader->prefix_want = prefix_len(&reader->frame);
	reader->in_payload = true;
	return is_sound(&reader->frame);
}

static size_t take_prefix(struct http2_reader *reader, const uint8_t *data, size_t len)
{
	size_t want = (size_t)reader->prefix_want - reader->prefix_len, n = len < want ? len : want;

	memcpy(reader->prefix + reader->prefix_len, data, n);
	reader->prefix_len = (uint8_t)(reader->prefix_len + n);
	reader->left -= (uint32_t)n;
	if (reader->prefix_len == reader->prefix_want && has_content(&reader->frame) &&
	    reader->frame.type != HTTP2_CONTINUATION && (reader->frame.flags & HTTP2_PADDED))
		reader->padding = reader->prefix[0];
	return n;
}

static struct http2_result read_payload(struct http2_reader *reader, const uint8_t *data, size_t len, size_t taken)
{
	while (reader->left > 0 && taken < len) {
		size_t n = len - taken;

		if (reader->prefix_len < reader->prefix_want) {
			taken += take_prefix(reader, data + taken, n);
			if (reader->padding > reader->left) /* 6.1: as long as the payload or longer */
				return result(taken, HTTP2_BAD, 0);
			continue;
		}
		if (has_content(&reader->frame) && reader->left > reader->padding) {
			uint32_t content = reader->left - reader->padding;

			n = n < content ? n : content;
			reader->left -= (uint32_t)n;
			return result(taken + n, HTTP2_CONTENT, n);
		}
		n = n < reader->left ? n : reader->left;
		reader->left -= (uint32_t)n;
		taken += n;
	}
	if (reader->left > 0)
		return result(taken, HTTP2_MORE, 0);
	reader->in_payload = false;
	reader->head_len = 0;
	return result(taken, HTTP2_END, 0);
}

struct http2_result http2_read(struct http2_reader *reader, const uint8_t *data, size_t len)
{
	size_t taken;

	if (reader->in_payload)
		return read_payload(reader, data, len, 0);
	taken = take_head(reader, data, len);
	if (reader->head_len < HTTP2_HEAD_LEN)
		return result(taken, HTTP2_MORE, 0);
	return result(taken, begin_payload(reader) ? HTTP2_HEAD : HTTP2_BAD, 0);
}

int64_t http2_skip(struct http2_reader *reader, uint64_t len)
{
	uint32_t content, n = (uint32_t)len;
	bool is_block = has_content(&reader->frame) && reader->frame.type != HTTP2_DATA;

	if (!reader->in_payload || len > reader->left || reader->prefix_len < reader->prefix_want)
		return -1;
	content = has_content(&reader->frame) ? reader->left - reader->padding : 0;
	if (is_block && content > 0)
		return -1;
	reader->left -= n;
	return n < content ? n : content;
}

uint32_t http2_promised(const struct http2_reader *reader)
{
	return http2_number(reader->prefix + reader->prefix_want - 4);
}

/* --- finding the place --- */

/* The flags that section 6 defines for the type; -1 for a type that it does not define. */
static int flags_defined(uint8_t type)
{
	switch (type) {
	case HTTP2_DATA:
		return HTTP2_END_STREAM | HTTP2_PADDED;
	case HTTP2_HEADERS:
		return HTTP2_END_STREAM | HTTP2_END_HEADERS | HTTP2_PADDED | HTTP2_HAS_PRIORITY;
	case HTTP2_PUSH_PROMISE:
		return HTTP2_END_HEADERS | HTTP2_PADDED;
	case HTTP2_CONTINUATION:
		return HTTP2_END_HEADERS;
	case HTTP2_SETTINGS:
	case HTTP2_PING:
		return HTTP2_ACK;
	case HTTP2_PRIORITY:
	case HTTP2_RST_STREAM:
	case HTTP2_GOAWAY:
	case HTTP2_WINDOW_UPDATE:
		return 0;
	}
	return -1;
}

/* Not only allowed, but what programs send: a place found by such frames is no accident. */
static bool is_usual(const uint8_t *head, const struct http2_frame *frame)
{
	int defined = flags_defined(frame->type);

	if (defined < 0 || (frame->flags & ~defined) || (head[5] & 0x80) || frame->length > HTTP2_FRAME_USUAL)
		return false;
	if (frame->type == HTTP2_SETTINGS && frame->length > SETTINGS_USUAL * SETTING_LEN)
		return false;
	if (frame->length == 0 && frame->type == HTTP2_DATA && !(frame->flags & HTTP2_END_STREAM))
		return false;
	if (frame->length == 0 && (frame->type == HTTP2_HEADERS || frame->type == HTTP2_CONTINUATION))
		return false;
	return is_sound(frame);
}

static bool is_control(const struct http2_frame *frame)
{
	return frame->type >= HTTP2_PRIORITY && frame->type <= HTTP2_WINDOW_UPDATE && frame->type != HTTP2_PUSH_PROMISE;
}

/* A whole header block that begins with a pseudo-header (8.3), as all but trailers do. */
static bool is_head_block(const struct http2_frame *frame, const uint8_t *payload)
{
	struct hpack_decoder decoder;
	struct ps_header first = {.flags = 0}, field;
	size_t prefix = prefix_len(frame), padding = frame->flags & HTTP2_PADDED ? payload[0] : 0;
	enum hpack_result result;
	bool has_pseudo;

	if (frame->type != HTTP2_HEADERS || !(frame->flags & HTTP2_END_HEADERS) || prefix + padding > frame->length)
		return false;
	hpack_init(&decoder, false);
	hpack_begin(&decoder, payload + prefix, frame->length - prefix - padding);
	result = hpack_next(&decoder, &first);
	has_pseudo = result == HPACK_FIELD && first.name.len > 1 && first.name.data[0] == ':';
	while (result == HPACK_FIELD)
		result = hpack_next(&decoder, &field);
	hpack_fini(&decoder);
	return has_pseudo && result == HPACK_END;
}

/* Frames in a row from the first byte on. */
struct chain {
	size_t end;         /* where the next one begins, maybe beyond the data */
	unsigned int count; /* whose heads are there */
	uint32_t continues; /* stream of a header block that is not over */
	bool has_head_block;
	bool has_only_control;
};

/* Returns false when the next frame does not fit. */
static bool chain_add(struct chain *chain, const uint8_t *data, size_t len)
{
	const uint8_t *head = data + chain->end;
	struct http2_frame frame = frame_of(head);
	bool is_continuation = frame.type == HTTP2_CONTINUATION;

	if (!is_usual(head, &frame))
		return false;
	if (chain->continues ? !is_continuation || frame.stream != chain->continues : is_continuation)
		return false;
	chain->count++;
	chain->has_only_control = chain->has_only_control && is_control(&frame);
	chain->end += HTTP2_HEAD_LEN + frame.length;
	if (chain->end <= len && is_head_block(&frame, head + HTTP2_HEAD_LEN))
		chain->has_head_block = true;
	chain->continues = 0;
	if ((frame.type == HTTP2_HEADERS || frame.type == HTTP2_PUSH_PROMISE || is_continuation) &&
	    !(frame.flags & HTTP2_END_HEADERS))
		chain->continues = frame.stream;
	return true;
}

enum http2_scan http2_scan(const uint8_t *data, size_t len, bool begins_call)
{
	struct chain chain = {.has_only_control = true};

	if (len > 0 && data[0] != 0) /* no usual frame has 64 KiB */
		return HTTP2_SCAN_NO;
	while (chain.count < 3 && chain.end + HTTP2_HEAD_LEN <= len)
		if (!chain_add(&chain, data, len))
			return HTTP2_SCAN_NO;
	if (chain.count >= 3 || (chain.has_head_block && (begins_call || chain.count == 2)))
		return HTTP2_SCAN_YES;
	if (begins_call && chain.end == len && (chain.count == 2 || (chain.count == 1 && chain.has_only_control)))
		return HTTP2_SCAN_YES;
	return HTTP2_SCAN_MAYBE;
}

enum http2_scan http2_scan_settings(const uint8_t *data, size_t len)
{
	static const uint8_t head[HTTP2_HEAD_LEN] = {0, 0, 0, HTTP2_SETTINGS, 0, 0, 0, 0, 0};

	for (size_t i = 0; i < len && i < HTTP2_HEAD_LEN; i++)
		if (i == 2 ? data[i] % SETTING_LEN != 0 || data[i] > SETTINGS_USUAL * SETTING_LEN : data[i] != head[i])
			return HTTP2_SCAN_NO;
	return len < HTTP2_HEAD_LEN ? HTTP2_SCAN_MAYBE : HTTP2_SCAN_YES;
}
