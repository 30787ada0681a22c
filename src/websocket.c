/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sections are those of RFC 6455 where no other is named.
 *
 * A direction is in a frame, whose length is known, or between two. What is
 * missing within the payload of one frame leaves the place known. When more is
 * missing, the direction looks for a frame at the beginning of each call: most
 * applications write whole frames. It must keep to all of 5.2 (bits, opcode,
 * mask, length in its shortest form) and either end with the call or be followed
 * by another such head.
 *
 * Compressed messages (RFC 7692) refer to those before them, unless the
 * extension says otherwise. So after loss they can only be handed out as they
 * were sent.
 */
#include "websocket.h"

#include "stream_inflate.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	HEAD_MAX = 14,     /* 5.2: two bytes, eight of length, four of mask */
	CONTROL_MAX = 125, /* 5.5 */
	WINDOW_BITS = 15   /* RFC 7692 7.1.2: at most */
};

enum { BIT_FIN = 0x80, BIT_RSV1 = 0x40, BITS_RSV23 = 0x30, BITS_OPCODE = 0x0f, BIT_MASK = 0x80, BITS_LENGTH = 0x7f };

struct frame {
	uint64_t length; /* of the payload */
	uint64_t left;   /* of it, to come */
	uint8_t mask[4];
	uint8_t opcode; /* enum ps_stream_type */
	bool is_final;
	bool is_compressed; /* RSV1 */
	bool is_masked;
};

struct direction {
	struct frame frame;             /* in it when in_frame */
	struct stream_message *data;    /* text or binary that is not at its end; or NULL */
	struct stream_message *control; /* between its frames */
	struct z_stream_s *inflate;     /* RFC 7692; NULL until it is needed */
	uint8_t head[HEAD_MAX];
	uint8_t head_len;
	bool in_frame;
	bool is_reset;  /* RFC 7692 7.1.1: each message is compressed on its own */
	bool is_broken; /* what compressed messages refer to is not known */
	bool is_cut;    /* of the message only the beginning could be decompressed */
	bool is_lost;   /* looks for a frame */
	bool has_gap;   /* messages may be missing before the next one */
	bool is_over;   /* 5.5.1: nothing follows a close frame */
};

/* Of a control frame all is kept. */
static const struct http_limits control_limits = {.body_bytes_max = CONTROL_MAX};

struct websocket {
	struct direction dir[2]; /* by enum stream_part */
	struct http_limits limits;
	bool is_compressed; /* permessage-deflate was agreed upon */
};

/* --- the extension -------------------------------------------------------- */

/* The next of a list of words between separators, without white space around it; false at the end. */
static bool next_word(struct ps_slice *list, char separator, struct ps_slice *word)
{
	const char *end;

	if (list->len == 0)
		return false;
	end = memchr(list->data, separator, list->len);
	*word = (struct ps_slice){list->data, end != NULL ? (size_t)(end - list->data) : list->len};
	list->data += word->len + (end != NULL);
	list->len -= word->len + (end != NULL);
	while (word->len > 0 && (*word->data == ' ' || *word->data == '\t')) {
		word->data++;
		word->len--;
	}
	while (word->len > 0 && (word->data[word->len - 1] == ' ' || word->data[word->len - 1] == '\t'))
		word->len--;
	return true;
}

static bool is_word(struct ps_slice word, const char *name)
{
	return word.len == strlen(name) && strncasecmp(word.data, name, word.len) == 0;
}

/*
 * RFC 7692 7.1. The sizes of windows are not looked at: the largest one undoes what was made with a smaller one, and
 * what goes beyond that gives the same however it comes in pieces.
 */
static void read_parameters(struct websocket *ws, struct ps_slice parameters)
{
	struct ps_slice word;

	while (next_word(&parameters, ';', &word)) {
		ws->dir[STREAM_REQUEST].is_reset |= is_word(word, "client_no_context_takeover");
		ws->dir[STREAM_RESPONSE].is_reset |= is_word(word, "server_no_context_takeover");
	}
}

struct websocket *websocket_new(struct ps_slice extensions, const struct http_limits *limits)
{
	struct websocket *ws = calloc(1, sizeof(*ws));
	struct ps_slice extension, name;

	if (ws == NULL)
		return NULL;
	ws->limits = *limits;
	while (next_word(&extensions, ',', &extension)) {
		if (!next_word(&extension, ';', &name) || !is_word(name, "permessage-deflate"))
			continue;
		ws->is_compressed = true;
		read_parameters(ws, extension);
		break;
	}
	return ws;
}

static void drop_inflate(struct direction *dir)
{
	stream_inflate_free(dir->inflate);
	dir->inflate = NULL;
}

void websocket_free(struct websocket *ws)
{
	if (ws == NULL)
		return;
	for (int part = 0; part < 2; part++) {
		stream_message_free(ws->dir[part].data);
		stream_message_free(ws->dir[part].control);
		drop_inflate(&ws->dir[part]);
	}
	free(ws);
}

size_t websocket_memory(const struct websocket *ws)
{
	size_t bytes = sizeof(*ws);

	for (int part = 0; part < 2; part++) {
		const struct direction *dir = &ws->dir[part];

		bytes += dir->data != NULL ? stream_message_memory(dir->data) : 0;
		bytes += dir->control != NULL ? stream_message_memory(dir->control) : 0;
		bytes += dir->inflate != NULL ? ((size_t)1 << WINDOW_BITS) + 8192 : 0;
	}
	return bytes;
}

/* --- decompression ---------------------------------------------------------- */

static bool make_inflate(struct direction *dir)
{
	if (dir->inflate == NULL)
		dir->inflate = stream_inflate_new(-WINDOW_BITS);
	return dir->inflate != NULL;
}

/* The message cannot be decompressed from here on. */
static void give_up_inflating(struct direction *dir)
{
	drop_inflate(dir);
	dir->is_broken = !dir->is_reset;
	dir->is_cut = true;
	if (dir->data->pub.body.size_bytes == 0)
		dir->data->pub.flags |= PS_STREAM_UNDECODED;
	stream_message_gap(dir->data, 0);
}

static void add_data(const struct websocket *ws, struct direction *dir, const uint8_t *data, size_t len)
{
	struct stream_message *message = dir->data;

	if (dir->is_cut)
		return;
	if (!(message->pub.flags & PS_STREAM_COMPRESSED) || (message->pub.flags & PS_STREAM_UNDECODED))
		stream_message_add(message, &ws->limits, data, len);
	else if (!make_inflate(dir) || !stream_inflate_add(dir->inflate, message, &ws->limits, data, len))
		give_up_inflating(dir);
}

/* RFC 7692 7.2.2: the sender left these out at the end of the message. */
static void end_inflating(const struct websocket *ws, struct direction *dir)
{
	static const uint8_t tail[4] = {0x00, 0x00, 0xff, 0xff};

	if (!(dir->data->pub.flags & PS_STREAM_COMPRESSED) || (dir->data->pub.flags & PS_STREAM_UNDECODED))
		return;
	if (dir->inflate != NULL && !stream_inflate_add(dir->inflate, dir->data, &ws->limits, tail, sizeof(tail)))
		give_up_inflating(dir);
	if (dir->is_reset && dir->inflate != NULL)
		stream_inflate_reset(dir->inflate);
}

/* --- frames ------------------------------------------------------------------ */

static bool is_control(uint8_t opcode)
{
	return opcode & 8;
}

/* How long the head is that begins so; two bytes tell. */
static size_t head_size(const uint8_t *head, size_t len)
{
	size_t size = 2;

	if (len < 2)
		return 2;
	if ((head[1] & BITS_LENGTH) == 126)
		size += 2;
	else if ((head[1] & BITS_LENGTH) == 127)
		size += 8;
	return size + (head[1] & BIT_MASK ? 4 : 0);
}

/* Read a whole head. Returns whether it keeps to 5.2 and 5.5. */
static bool read_head(const struct websocket *ws, enum stream_part part, const uint8_t *head, struct frame *frame)
{
	size_t at = 2, extended = (head[1] & BITS_LENGTH) == 126 ? 2 : (head[1] & BITS_LENGTH) == 127 ? 8 : 0;
	uint64_t length = extended ? 0 : head[1] & BITS_LENGTH;

	for (size_t i = 0; i < extended; i++)
		length = length << 8 | head[at++];
	*frame = (struct frame){
	    .length = length,
	    .left = length,
	    .opcode = head[0] & BITS_OPCODE,
	    .is_final = head[0] & BIT_FIN,
	    .is_compressed = head[0] & BIT_RSV1,
	    .is_masked = head[1] & BIT_MASK,
	};
	if (frame->is_masked)
		memcpy(frame->mask, head + at, sizeof(frame->mask));
	if ((head[0] & BITS_RSV23) || (frame->is_compressed && !ws->is_compressed))
		return false;
	if (frame->is_masked != (part == STREAM_REQUEST)) /* 5.1 */
		return false;
	if ((extended == 2 && length < 126) || (extended == 8 && (length <= UINT16_MAX || length > INT64_MAX)))
		return false;
	if (is_control(frame->opcode))
		return frame->opcode <= PS_STREAM_PONG && frame->is_final && length <= CONTROL_MAX &&
		       !frame->is_compressed;
	return frame->opcode <= PS_STREAM_BINARY && !(frame->is_compressed && frame->opcode == PS_STREAM_CONTINUATION);
}

/* Does a frame begin with the first of these bytes, which begin a call? */
static bool is_frame(const struct websocket *ws, enum stream_part part, const uint8_t *data, size_t len)
{
	struct frame frame;
	size_t size = head_size(data, len);

	if (len < size || !read_head(ws, part, data, &frame))
		return false;
	if (frame.length >= len - size) /* a long one may go on in the next call; a short one ends with this */
		return frame.length == len - size || frame.length > CONTROL_MAX;
	data += size + frame.length;
	len -= size + (size_t)frame.length;
	size = head_size(data, len);
	return len < size || read_head(ws, part, data, &frame);
}

/* --- met in the middle -------------------------------------------------------- */

/* The length of the UTF-8 character that begins here (RFC 3629 4); 0: none does, or not a whole one. */
static size_t utf8_length(const uint8_t *at, size_t len)
{
	size_t n = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;

	if (n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	if (n > 2 && ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
		      (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f)))
		return 0;
	return n;
}

/* 8.1: the text of a whole message, unmasked in pieces that overlap by what a character may have. */
static bool is_text(const struct frame *frame, const uint8_t *data)
{
	size_t at = 0, length = (size_t)frame->length;
	uint8_t plain[4] = {0};

	while (at < length) {
		size_t n = length - at < sizeof(plain) ? length - at : sizeof(plain);

		for (size_t i = 0; i < n; i++)
			plain[i] = data[at + i] ^ frame->mask[(at + i) & 3];
		n = utf8_length(plain, n);
		if (n == 0)
			return false;
		at += n;
	}
	return true;
}

/* 7.4: the status codes that may be sent. */
static bool is_close(const struct frame *frame, const uint8_t *data)
{
	unsigned int code;

	if (frame->length < 2)
		return frame->length == 0;
	code = (unsigned int)(data[0] ^ frame->mask[0]) << 8 | (data[1] ^ frame->mask[1]);
	return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
	       (code >= 3000 && code <= 4999);
}

/* Is that a frame of a message that is one frame, as far as its bytes tell? */
static bool is_sound(const struct frame *frame, const uint8_t *payload)
{
	if (!frame->is_final || frame->opcode == PS_STREAM_CONTINUATION)
		return false;
	if (frame->opcode == PS_STREAM_TEXT && !frame->is_compressed)
		return is_text(frame, payload);
	return frame->opcode != PS_STREAM_CLOSE || is_close(frame, payload);
}

/* Does the call consist of whole frames? */
static bool is_call_of_frames(struct websocket_search *search, int d, const uint8_t *data, size_t len)
{
	const struct websocket any = {.is_compressed = true};
	bool is_masked = len > 1 && (data[1] & BIT_MASK);
	struct frame frame;

	search->is_masked[d] = is_masked;
	while (len > 0) {
		size_t size = head_size(data, len);

		if (len < size || !read_head(&any, is_masked ? STREAM_REQUEST : STREAM_RESPONSE, data, &frame))
			return false;
		if (frame.length > len - size || !is_sound(&frame, data + size))
			return false;
		data += size + (size_t)frame.length;
		len -= size + (size_t)frame.length;
	}
	return true;
}

bool websocket_search_call(struct websocket_search *search, int direction, const uint8_t *data, size_t len, int *client)
{
	bool was_masked = search->is_masked[direction];

	if (!is_call_of_frames(search, direction, data, len)) {
		*search = (struct websocket_search){.calls = {0}};
		return false;
	}
	if (search->calls[direction] > 0 && was_masked != search->is_masked[direction])
		search->calls[direction] = 0;
	if (search->calls[direction] < WEBSOCKET_CALLS)
		search->calls[direction]++;
	*client = search->is_masked[PS_OUT] ? PS_OUT : PS_IN;
	return search->calls[PS_IN] == WEBSOCKET_CALLS && search->calls[PS_OUT] == WEBSOCKET_CALLS &&
	       search->is_masked[PS_IN] != search->is_masked[PS_OUT];
}

struct websocket *websocket_new_midstream(const struct http_limits *limits)
{
	struct websocket *ws = websocket_new((struct ps_slice){.data = NULL}, limits);

	if (ws == NULL)
		return NULL;
	ws->is_compressed = true;                           /* it may have been agreed upon */
	ws->dir[0].is_broken = ws->dir[1].is_broken = true; /* what they refer to was not seen */
	return ws;
}

/* --- messages ------------------------------------------------------------------- */

/* The message is over. */
static void push(struct direction *dir, struct stream_message **message, struct stream_queue *queue)
{
	if (dir->has_gap)
		(*message)->pub.flags |= PS_STREAM_AFTER_GAP;
	dir->has_gap = false;
	stream_queue_push(queue, *message);
	*message = NULL;
}

/* The message ends where its end was not seen. */
static void push_part(struct direction *dir, struct stream_message **message, struct stream_queue *queue)
{
	if (*message == NULL)
		return;
	(*message)->pub.flags |= PS_STREAM_UNFINISHED;
	push(dir, message, queue);
}

static void place_lost(struct direction *dir, struct stream_queue *queue)
{
	push_part(dir, &dir->control, queue);
	push_part(dir, &dir->data, queue);
	dir->is_broken = !dir->is_reset;
	drop_inflate(dir);
	dir->in_frame = false;
	dir->head_len = 0;
	dir->is_lost = true;
	dir->has_gap = true;
}

/* The message that the payload of the frame belongs to. */
static struct stream_message **message_of(struct direction *dir)
{
	return is_control(dir->frame.opcode) ? &dir->control : &dir->data;
}

/* A head was read. */
static void begin_frame(struct direction *dir, enum stream_part part, const struct http_context *ctx,
			struct stream_queue *queue)
{
	struct stream_message **message = message_of(dir);

	dir->in_frame = true;
	if (dir->frame.opcode != PS_STREAM_CONTINUATION && !is_control(dir->frame.opcode))
		push_part(dir, &dir->data, queue); /* 5.4: it should have been finished */
	if (*message == NULL) {
		*message = stream_message_new(PS_STREAM_WEBSOCKET, part, dir->frame.opcode, ctx);
		dir->is_cut = dir->is_cut && message == &dir->control;
	}
	if (*message == NULL) {
		dir->has_gap = true;
		return;
	}
	if (dir->frame.is_compressed)
		(*message)->pub.flags |= PS_STREAM_COMPRESSED | (dir->is_broken ? PS_STREAM_UNDECODED : 0);
	(*message)->pub.frames++;
	(*message)->pub.wire_bytes += dir->head_len;
}

/* The code that a close frame begins with is not part of its reason (5.5.1). */
static void read_close(struct stream_message *message)
{
	struct ps_body *body = &message->pub.body;
	const uint8_t *code = (const uint8_t *)body->kept.data;

	if (body->kept.len < 2)
		return;
	message->pub.close_code = (uint32_t)code[0] << 8 | code[1];
	memmove(message->kept, message->kept + 2, body->kept.len - 2);
	body->kept.len -= 2;
	body->size_bytes -= 2;
}

/* The payload has ended. */
static void end_frame(struct websocket *ws, enum stream_part part, struct stream_queue *queue)
{
	struct direction *dir = &ws->dir[part];
	struct stream_message **message = message_of(dir);

	dir->in_frame = false;
	dir->head_len = 0;
	if (dir->frame.opcode == PS_STREAM_CLOSE)
		dir->is_over = true;
	if (*message == NULL || !dir->frame.is_final)
		return;
	if (dir->frame.opcode == PS_STREAM_CLOSE)
		read_close(*message);
	if (message == &dir->control && ws->limits.body_bytes_max == 0)
		(*message)->pub.body.kept = (struct ps_slice){.data = NULL};
	if (message == &dir->data)
		end_inflating(ws, dir);
	push(dir, message, queue);
}

/* 5.3, in pieces on the stack: what was fed belongs to the caller. */
static void unmask(const struct frame *frame, const uint8_t *data, size_t len, uint8_t *out)
{
	uint64_t at = frame->length - frame->left;

	for (size_t i = 0; i < len; i++)
		out[i] = data[i] ^ frame->mask[(at + i) & 3];
}

static size_t feed_payload(struct websocket *ws, enum stream_part part, const struct http_context *ctx,
			   const uint8_t *data, size_t len, struct stream_queue *queue)
{
	struct direction *dir = &ws->dir[part];
	struct stream_message **message = message_of(dir);
	uint8_t plain[4096];

	if (len > dir->frame.left)
		len = (size_t)dir->frame.left;
	if (dir->frame.is_masked) {
		len = len < sizeof(plain) ? len : sizeof(plain);
		unmask(&dir->frame, data, len, plain);
		data = plain;
	}
	if (*message != NULL && len > 0) {
		(*message)->pub.wire_bytes += len;
		(*message)->pub.last_ts_ns = ctx->ts_ns;
		if (message == &dir->data)
			add_data(ws, dir, data, len);
		else
			stream_message_add(*message, &control_limits, data, len);
	}
	dir->frame.left -= len;
	if (dir->frame.left == 0)
		end_frame(ws, part, queue);
	return len;
}

static size_t feed_head(struct websocket *ws, enum stream_part part, const struct http_context *ctx,
			const uint8_t *data, struct stream_queue *queue)
{
	struct direction *dir = &ws->dir[part];

	dir->head[dir->head_len++] = *data;
	if (dir->head_len < head_size(dir->head, dir->head_len))
		return 1;
	if (!read_head(ws, part, dir->head, &dir->frame)) {
		queue->exchange->flags |= PS_EXCHANGE_UNDECODED;
		place_lost(dir, queue);
		return 1;
	}
	begin_frame(dir, part, ctx, queue);
	if (dir->frame.left == 0)
		end_frame(ws, part, queue);
	return 1;
}

void websocket_data(struct websocket *ws, enum stream_part part, const struct http_context *ctx, const uint8_t *data,
		    size_t len, bool begins_call, struct stream_queue *queue)
{
	struct direction *dir = &ws->dir[part];
	size_t taken = 0;

	if (dir->is_lost && begins_call && is_frame(ws, part, data, len))
		dir->is_lost = dir->is_over = false;
	while (taken < len && !dir->is_lost && !dir->is_over) {
		if (dir->in_frame)
			taken += feed_payload(ws, part, ctx, data + taken, len - taken, queue);
		else
			taken += feed_head(ws, part, ctx, data + taken, queue);
	}
}

void websocket_gap(struct websocket *ws, enum stream_part part, const struct http_context *ctx, uint64_t len,
		   struct stream_queue *queue)
{
	struct direction *dir = &ws->dir[part];
	struct stream_message *message = *message_of(dir);

	if (dir->is_over || dir->is_lost)
		return;
	if (!dir->in_frame || len == 0 || len > dir->frame.left) {
		if (dir->in_frame && message != NULL)
			stream_message_gap(message, dir->frame.left);
		place_lost(dir, queue);
		return;
	}
	if (message != NULL) {
		/* how many bytes the missing ones would have been, nobody knows */
		if ((message->pub.flags & PS_STREAM_COMPRESSED) && !(message->pub.flags & PS_STREAM_UNDECODED))
			give_up_inflating(dir);
		if (!dir->is_cut || message == dir->control)
			stream_message_gap(message, len);
		message->pub.last_ts_ns = ctx->ts_ns;
	}
	dir->frame.left -= len;
	if (dir->frame.left == 0)
		end_frame(ws, part, queue);
}

void websocket_end(struct websocket *ws, enum stream_part part, struct stream_queue *queue)
{
	struct direction *dir = &ws->dir[part];

	push_part(dir, &dir->control, queue);
	push_part(dir, &dir->data, queue);
	drop_inflate(dir);
	dir->is_over = true;
}
