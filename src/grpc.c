/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message is a byte of flags, four of length, and so many bytes. When more is
 * missing than is left of one, the next is looked for where a call or a frame of
 * HTTP/2 begins: it must end with that, or be followed by another.
 */
#include "grpc.h"

#include "stream_inflate.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD_LEN = 5, FLAG_COMPRESSED = 1, FLAG_TRAILERS = 0x80, TRAILERS_MAX = 4096 };

struct direction {
	struct grpc_coding coding;
	struct stream_message *message;
	struct z_stream_s *inflate; /* of the message */
	uint64_t left;              /* of it */
	uint8_t head[HEAD_LEN];
	uint8_t head_len;
	uint8_t sextets; /* base64: that wait for the rest of their group */
	uint32_t group;
	bool in_message;
	bool is_cut;  /* of the message only the beginning could be decompressed */
	bool is_lost; /* looks for a message */
	bool has_gap;
};

struct grpc {
	struct direction dir[2]; /* by enum stream_part */
	enum ps_stream_protocol protocol;
	struct http_limits limits;
	char *trailers; /* gRPC-Web: a copy for the exchange */
};

struct grpc *grpc_new(enum ps_stream_protocol protocol, const struct http_limits *limits)
{
	struct grpc *grpc = calloc(1, sizeof(*grpc));

	if (grpc == NULL)
		return NULL;
	grpc->protocol = protocol;
	grpc->limits = *limits;
	return grpc;
}

void grpc_free(struct grpc *grpc)
{
	if (grpc == NULL)
		return;
	for (int part = 0; part < 2; part++) {
		stream_message_free(grpc->dir[part].message);
		stream_inflate_free(grpc->dir[part].inflate);
	}
	free(grpc->trailers);
	free(grpc);
}

size_t grpc_memory(const struct grpc *grpc)
{
	size_t bytes = sizeof(*grpc) + (grpc->trailers != NULL ? TRAILERS_MAX : 0);

	for (int part = 0; part < 2; part++) {
		const struct direction *dir = &grpc->dir[part];

		bytes += dir->message != NULL ? stream_message_memory(dir->message) : 0;
		bytes += dir->inflate != NULL ? 40960 : 0;
	}
	return bytes;
}

void grpc_set_coding(struct grpc *grpc, enum stream_part part, struct grpc_coding coding)
{
	grpc->dir[part].coding = coding;
}

/* --- payload --- */

/* The message cannot be decompressed from here on. */
static void give_up_inflating(struct direction *dir)
{
	stream_inflate_free(dir->inflate);
	dir->inflate = NULL;
	dir->is_cut = true;
	if (dir->message->pub.body.size_bytes == 0)
		dir->message->pub.flags |= PS_STREAM_UNDECODED;
	stream_message_gap(dir->message, 0);
}

static void add_payload(const struct grpc *grpc, struct direction *dir, const uint8_t *data, size_t len)
{
	struct stream_message *message = dir->message;

	if (dir->is_cut)
		return;
	if (dir->inflate == NULL)
		stream_message_add(message, &grpc->limits, data, len);
	else if (!stream_inflate_add(dir->inflate, message, &grpc->limits, data, len))
		give_up_inflating(dir);
}

/* The exchange is to know how the call ended. */
static void keep_trailers(struct grpc *grpc, const struct stream_message *message, struct ps_exchange *exchange)
{
	struct ps_slice kept = message->pub.body.kept;
	size_t len = kept.len < TRAILERS_MAX ? kept.len : TRAILERS_MAX;

	if (grpc->trailers != NULL || len == 0)
		return;
	grpc->trailers = malloc(TRAILERS_MAX);
	if (grpc->trailers == NULL)
		return;
	memcpy(grpc->trailers, kept.data, len);
	exchange->web_trailers = (struct ps_slice){grpc->trailers, len};
}

static void push(struct grpc *grpc, struct direction *dir, uint32_t flags, struct stream_queue *queue)
{
	struct stream_message *message = dir->message;

	stream_inflate_free(dir->inflate);
	dir->inflate = NULL;
	dir->message = NULL;
	dir->in_message = false;
	dir->head_len = 0;
	if (message == NULL)
		return;
	message->pub.flags |= flags | (dir->has_gap ? PS_STREAM_AFTER_GAP : 0);
	dir->has_gap = false;
	if (message->pub.type == PS_STREAM_TRAILERS)
		keep_trailers(grpc, message, queue->exchange);
	stream_queue_push(queue, message);
}

/* --- messages --- */

static bool is_head(const struct grpc *grpc, const uint8_t *head)
{
	return head[0] <= FLAG_COMPRESSED ||
	       (grpc->protocol == PS_STREAM_GRPC_WEB && (head[0] & ~FLAG_COMPRESSED) == FLAG_TRAILERS);
}

static uint32_t length_of(const uint8_t *head)
{
	return (uint32_t)head[1] << 24 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 8 | head[4];
}

/* Does a message begin with the first of these bytes, with which a call begins? */
static bool is_message(const struct grpc *grpc, const uint8_t *data, size_t len)
{
	uint32_t length;

	if (len < HEAD_LEN || !is_head(grpc, data))
		return false;
	length = length_of(data);
	if (length >= len - HEAD_LEN)
		return length == len - HEAD_LEN;
	return is_head(grpc, data + HEAD_LEN + length);
}

static void place_lost(struct grpc *grpc, struct direction *dir, struct stream_queue *queue)
{
	push(grpc, dir, PS_STREAM_UNFINISHED, queue);
	dir->is_lost = true;
	dir->has_gap = true;
	dir->sextets = 0;
}

static void begin_message(struct grpc *grpc, enum stream_part part, const struct http_context *ctx)
{
	struct direction *dir = &grpc->dir[part];
	uint32_t type = dir->head[0] & FLAG_TRAILERS ? PS_STREAM_TRAILERS : PS_STREAM_MESSAGE;

	dir->in_message = true;
	dir->is_cut = false;
	dir->left = length_of(dir->head);
	dir->message = stream_message_new(grpc->protocol, part, type, ctx);
	dir->has_gap |= dir->message == NULL;
	if (dir->message == NULL)
		return;
	dir->message->pub.wire_bytes = HEAD_LEN;
	if (!(dir->head[0] & FLAG_COMPRESSED))
		return;
	dir->message->pub.flags |= PS_STREAM_COMPRESSED;
	if (dir->coding.is_deflated)
		dir->inflate = stream_inflate_new(STREAM_INFLATE_WRAPPED);
	if (dir->inflate == NULL)
		dir->message->pub.flags |= PS_STREAM_UNDECODED;
}

static size_t feed_payload(struct grpc *grpc, struct direction *dir, const struct http_context *ctx,
			   const uint8_t *data, size_t len)
{
	if (len > dir->left)
		len = (size_t)dir->left;
	dir->left -= len;
	if (dir->message == NULL || len == 0)
		return len;
	dir->message->pub.wire_bytes += len;
	dir->message->pub.last_ts_ns = ctx->ts_ns;
	add_payload(grpc, dir, data, len);
	return len;
}

/* Bytes of messages. */
static void feed(struct grpc *grpc, enum stream_part part, const struct http_context *ctx, const uint8_t *data,
		 size_t len, struct stream_queue *queue)
{
	struct direction *dir = &grpc->dir[part];
	size_t taken = 0;

	while (taken < len && !dir->is_lost) {
		if (dir->in_message) {
			taken += feed_payload(grpc, dir, ctx, data + taken, len - taken);
		} else {
			dir->head[dir->head_len++] = data[taken++];
			if (!is_head(grpc, dir->head)) {
				queue->exchange->flags |= PS_EXCHANGE_UNDECODED;
				place_lost(grpc, dir, queue);
			} else if (dir->head_len == HEAD_LEN) {
				begin_message(grpc, part, ctx);
			}
		}
		if (dir->in_message && dir->left == 0)
			push(grpc, dir, 0, queue);
	}
}

/* --- base64 (RFC 4648 4), in pieces that are padded each on its own --- */

static int sextet_of(uint8_t c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c != '\0' ? strchr(digits, c) : NULL;

	return at != NULL ? (int)(at - digits) : -1;
}

/* Returns how many bytes came out; -1: that is no base64. */
static int decode_digit(struct direction *dir, uint8_t c, uint8_t out[3])
{
	int sextet = sextet_of(c), n;

	if (c == '=') { /* of a group of two or three sextets one or two bytes */
		n = dir->sextets > 1 ? dir->sextets - 1 : 0;
		for (int i = 0; i < n; i++)
			out[i] = (uint8_t)(dir->group << (6 * (4 - dir->sextets)) >> (16 - 8 * i));
		dir->sextets = 0;
		return n;
	}
	if (sextet < 0)
		return -1;
	dir->group = (dir->sextets == 0 ? 0 : dir->group << 6) | (uint32_t)sextet;
	if (++dir->sextets < 4)
		return 0;
	dir->sextets = 0;
	for (int i = 0; i < 3; i++)
		out[i] = (uint8_t)(dir->group >> (16 - 8 * i));
	return 3;
}

static void feed_base64(struct grpc *grpc, enum stream_part part, const struct http_context *ctx, const uint8_t *data,
			size_t len, struct stream_queue *queue)
{
	struct direction *dir = &grpc->dir[part];
	uint8_t out[3];

	for (size_t i = 0; i < len && !dir->is_lost; i++) {
		int n = decode_digit(dir, data[i], out);

		if (n >= 0) {
			feed(grpc, part, ctx, out, (size_t)n, queue);
			continue;
		}
		queue->exchange->flags |= PS_EXCHANGE_UNDECODED;
		place_lost(grpc, dir, queue);
	}
}

void grpc_data(struct grpc *grpc, enum stream_part part, const struct http_context *ctx, const uint8_t *data,
	       size_t len, bool begins_call, struct stream_queue *queue)
{
	struct direction *dir = &grpc->dir[part];

	if (dir->coding.is_base64) {
		feed_base64(grpc, part, ctx, data, len, queue);
		return;
	}
	if (dir->is_lost && begins_call && is_message(grpc, data, len))
		dir->is_lost = false;
	feed(grpc, part, ctx, data, len, queue);
}

void grpc_gap(struct grpc *grpc, enum stream_part part, uint64_t len, struct stream_queue *queue)
{
	struct direction *dir = &grpc->dir[part];

	if (dir->is_lost)
		return;
	if (!dir->in_message || len == 0 || len > dir->left || dir->coding.is_base64) {
		if (dir->message != NULL)
			stream_message_gap(dir->message, dir->left);
		place_lost(grpc, dir, queue);
		return;
	}
	dir->left -= len;
	if (dir->message != NULL && dir->inflate != NULL)
		give_up_inflating(dir);
	if (dir->message != NULL && !dir->is_cut)
		stream_message_gap(dir->message, len);
	if (dir->left == 0)
		push(grpc, dir, 0, queue);
}

void grpc_end(struct grpc *grpc, enum stream_part part, struct stream_queue *queue)
{
	struct direction *dir = &grpc->dir[part];

	push(grpc, dir, PS_STREAM_UNFINISHED, queue);
	dir->is_lost = true;
}
