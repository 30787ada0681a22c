/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From frames to exchanges; see http2_conn.h. Section numbers are those of
 * RFC 9113.
 *
 * Request and response of a stream belong together by its number, so nothing is
 * ever paired in doubt. What loss does (a gap that hides more than part of one
 * DATA frame, a broken frame, the unseen beginning of a midstream connection):
 *
 *  - the direction's frames are looked for (http2_scan()); bytes from the first
 *    candidate on are kept meanwhile, so that nothing is lost once it is proved;
 *  - its HPACK table is unknown: fields that refer to it are marked, not guessed;
 *  - messages that were open there may lack bytes: PS_BODY_GAP with gap_bytes 0,
 *    and if their end does not come, PS_MESSAGE_LOST_TAIL;
 *  - a response whose request was not seen is reported as such. A request that
 *    comes later than its response joins it while that goes on, and is reported
 *    alone when it is over.
 *
 * Streams only begin with higher numbers than before (5.1.1). So the response
 * on a stream between the first and the last request that were seen, when there
 * is no such stream any more, belongs to one that was reset: it is dropped.
 *
 * All bytes of frames count as bytes of messages, those of the connection
 * itself (SETTINGS and so on) too, but for what DATA frames carry after CONNECT.
 */
#include "http2_conn.h"

#include "http2_frames.h"
#include "http2_head.h"
#include "http2_stream.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
	SCAN_MAX = 65536,  /* kept while it is not certain that frames begin there */
	SCAN_EACH = 1024,  /* so few are looked through with each call */
	SCAN_GROWTH = 8,   /* more when an eighth has come */
	SKIP_MAX = 262144, /* skipped without finding one on a connection that had none so far: not HTTP/2 after all */
	BLOCK_KEPT = 4096, /* a larger buffer is not kept for the next header block */
	LATE_MAX = 16      /* responses that are remembered because their requests may yet come */
};

enum place {
	PLACE_START = 0, /* the preface of the client or the first frame of the server comes next */
	PLACE_FRAMES,
	PLACE_LOST,
	PLACE_ENDED
};

/* A header block: HEADERS or PUSH_PROMISE, and the CONTINUATION frames after it. */
struct block {
	uint8_t *data;
	size_t len;
	size_t cap;
	uint64_t wire_bytes; /* of the frames */
	uint64_t first_ts_ns;
	struct ps_process process; /* who moved the first byte */
	uint32_t stream;
	uint32_t promised;
	uint8_t type; /* enum http2_type */
	uint8_t flags;
	bool is_open;
	bool is_cut;
};

/* Bytes that may begin with a frame. */
struct candidate {
	uint8_t *data; /* SCAN_MAX, or NULL */
	size_t len;
	size_t scanned; /* len when all of them were looked through last */
	bool begins_call;
	uint64_t ts_ns; /* of the call in which it begins, as the process */
	struct ps_process process;
};

struct direction {
	struct http2_reader reader;
	struct hpack_decoder hpack;
	struct block block;
	struct candidate candidate;
	uint64_t frame_ts_ns; /* of the first byte of the frame */
	uint64_t skipped;     /* since the place was lost */
	uint8_t place;        /* enum place */
	uint8_t preface_len;  /* PLACE_START: bytes of it that were read */
	bool is_waiting;      /* the head of a response's HEADERS was read, but not the request */
	bool has_loss;        /* frames may be missing */
	bool has_blocks;      /* header blocks were read */
};

struct http2_conn {
	struct http_limits limits;
	struct direction dir[2];
	struct http2_streams streams;
	struct http_stats stats;
	struct stream_queue messages;
	struct stream_message *message_out; /* by the last http2_conn_next() */
	uint32_t first_stream;              /* lowest request since requests may have been lost; 0: none */
	uint32_t last_stream;               /* highest request */
	uint32_t late[LATE_MAX];            /* streams whose responses have begun before their requests; 0: none */
	uint32_t late_next;                 /* place in it for the next one */
	int8_t client_dir;                  /* -1: not known */
	uint8_t mode;                       /* enum http_mode */
	bool midstream;
	bool after_gap; /* frames were lost since the last stream began */
};

/* --- life of a connection --- */

struct http2_conn *http2_conn_new(const struct http_limits *limits, enum http2_beginning beginning)
{
	struct http2_conn *conn = calloc(1, sizeof(*conn));
	bool is_whole = beginning == HTTP2_FROM_START;

	if (conn == NULL)
		return NULL;
	conn->limits = *limits;
	conn->client_dir = -1;
	conn->midstream = beginning == HTTP2_MIDSTREAM;
	conn->after_gap = beginning == HTTP2_AFTER_GAP;
	if (conn->limits.pipeline_max == 0)
		conn->limits.pipeline_max = 1;
	for (int d = 0; d < 2; d++) {
		hpack_init(&conn->dir[d].hpack, is_whole);
		conn->dir[d].place = is_whole ? PLACE_START : PLACE_LOST;
		conn->dir[d].has_loss = !is_whole;
	}
	return conn;
}

/* What was read of the direction but belongs to nothing yet. */
static void drop_pieces(struct direction *dir)
{
	free(dir->block.data);
	dir->block = (struct block){.data = NULL};
	free(dir->candidate.data);
	dir->candidate = (struct candidate){.data = NULL};
	dir->reader = (struct http2_reader){.head_len = 0};
	dir->is_waiting = false;
}

void http2_conn_free(struct http2_conn *conn)
{
	if (conn == NULL)
		return;
	for (int d = 0; d < 2; d++) {
		drop_pieces(&conn->dir[d]);
		hpack_fini(&conn->dir[d].hpack);
	}
	http2_streams_free(&conn->streams);
	stream_queue_free(&conn->messages);
	stream_message_free(conn->message_out);
	free(conn);
}

static enum http2_part part_of(const struct http2_conn *conn, int d)
{
	return d == conn->client_dir ? HTTP2_REQUEST : HTTP2_RESPONSE;
}

/* The message of the stream whose body may go on in this direction, or NULL. */
static struct http_message *open_message(const struct http2_conn *conn, const struct http2_stream *stream, int d)
{
	enum http2_part part = part_of(conn, d);

	if (stream == NULL || conn->client_dir < 0 || stream->progress[part] != HTTP2_OPEN || stream->is_tunnel)
		return NULL;
	return stream->messages[part];
}

/* --- losing the place --- */

/* The reader of what DATA frames of the stream carry when that is no body; or NULL. */
static struct stream_reader *tunnel_reader(const struct http2_stream *stream)
{
	return stream != NULL && stream->is_tunnel ? stream->reader : NULL;
}

static void drop_handed_out(struct http2_conn *conn)
{
	http2_stream_drop_handed_out(&conn->streams);
	stream_message_free(conn->message_out);
	conn->message_out = NULL;
}

/* A head was read. */
static void messages_begin(struct http2_conn *conn, struct http2_stream *stream)
{
	stream_reader_begin(&stream->reader, stream->messages[HTTP2_REQUEST], stream->messages[HTTP2_RESPONSE],
			    &conn->limits, &stream->pub, &conn->messages);
}

/* The frames that come next in this direction are not those that follow the last one. */
static void frames_lost(struct http2_conn *conn, int d)
{
	struct http2_stream *stream;

	DL_FOREACH(conn->streams.open, stream)
	{
		struct http_message *message = open_message(conn, stream, d);

		stream->lost[part_of(conn, d)] = true;
		if (message != NULL)
			http_message_body_gap(message, 0);
		if (tunnel_reader(stream) != NULL)
			stream_reader_gap(stream->reader, (enum stream_part)part_of(conn, d), 0);
	}
	if (conn->client_dir != !d)
		conn->first_stream = 0;
	conn->after_gap = true;
	conn->dir[d].has_loss = true;
	hpack_forget(&conn->dir[d].hpack);
}

static void place_lost(struct http2_conn *conn, int d, bool by_gap)
{
	struct direction *dir = &conn->dir[d];

	drop_pieces(dir);
	dir->place = PLACE_LOST;
	dir->skipped = 0;
	conn->stats.parse_errors += !by_gap;
	frames_lost(conn, d);
}

static void not_http(struct http2_conn *conn)
{
	http2_conn_finish(conn, PS_MESSAGE_UNFINISHED);
	conn->mode = HTTP_MODE_NOT_HTTP;
}

static void skip(struct http2_conn *conn, int d, size_t n)
{
	conn->stats.skipped_bytes += n;
	conn->dir[d].skipped += n;
	if (conn->dir[d].place == PLACE_LOST && conn->dir[d].skipped > SKIP_MAX && !http2_conn_is_certain(conn))
		not_http(conn);
}

/* --- streams --- */

static struct http2_stream *stream_begin(struct http2_conn *conn, uint32_t id, uint32_t flags)
{
	if (conn->midstream)
		flags |= PS_EXCHANGE_MIDSTREAM;
	if (conn->after_gap)
		flags |= PS_EXCHANGE_AFTER_GAP;
	conn->after_gap = false;
	if (conn->streams.count >= conn->limits.pipeline_max)
		http2_stream_finish(&conn->streams, conn->streams.open, PS_MESSAGE_UNFINISHED);
	return http2_stream_open(&conn->streams, id, flags);
}

/* A header block after the first one of a message (8.1). */
static void trailers_read(struct http2_conn *conn, int d, struct http2_stream *stream,
			  const struct http_message *trailers)
{
	struct http_message *message = open_message(conn, stream, d);

	if (message == NULL)
		return;
	http2_head_add_trailers(message, trailers, &conn->limits);
	message->pub.wire_bytes += trailers->pub.wire_bytes;
	message->pub.last_ts_ns = trailers->pub.last_ts_ns;
}

/* END_STREAM in this direction. */
static void part_over(struct http2_conn *conn, int d, uint32_t id, uint64_t ts_ns)
{
	struct http2_stream *stream = http2_stream_find(&conn->streams, id);
	struct http_message *message;

	if (stream == NULL || conn->client_dir < 0)
		return;
	message = open_message(conn, stream, d);
	if (message != NULL)
		message->pub.last_ts_ns = ts_ns;
	http2_stream_end(&conn->streams, stream, part_of(conn, d), PS_MESSAGE_COMPLETE);
}

/* Has the response on this stream begun before its request? */
static bool is_late(const struct http2_conn *conn, uint32_t id)
{
	for (int i = 0; i < LATE_MAX; i++)
		if (conn->late[i] == id)
			return true;
	return false;
}

/* The stream on which a request begins; NULL when none does. */
static struct http2_stream *stream_of_request(struct http2_conn *conn, int d, uint32_t id)
{
	struct http2_stream *stream;

	if (id % 2 == 0 || id <= conn->last_stream)
		return NULL;
	stream = stream_begin(conn, id, 0);
	if (stream == NULL)
		return NULL;
	conn->last_stream = id;
	if (conn->first_stream == 0)
		conn->first_stream = id;
	if (conn->dir[!d].place == PLACE_ENDED)
		http2_stream_end(&conn->streams, stream, HTTP2_RESPONSE, PS_MESSAGE_ABORTED);
	else if (is_late(conn, id))
		http2_stream_end(&conn->streams, stream, HTTP2_RESPONSE, 0);
	return stream;
}

/* A request that comes later than the response on its stream, which goes on. */
static bool late_request_read(struct http2_conn *conn, struct http2_stream *stream, struct http_message *message)
{
	if (stream->messages[HTTP2_REQUEST] != NULL || stream->id <= conn->last_stream || stream->id % 2 == 0)
		return false;
	conn->last_stream = stream->id;
	if (conn->first_stream == 0)
		conn->first_stream = stream->id;
	http2_stream_begin(stream, HTTP2_REQUEST, message);
	return true;
}

/* Returns whether the message was taken over. */
static bool request_read(struct http2_conn *conn, int d, struct http_message *message, const struct http2_head *head)
{
	uint32_t id = conn->dir[d].block.stream;
	struct http2_stream *stream = http2_stream_find(&conn->streams, id);

	if (stream != NULL && head->is_request && late_request_read(conn, stream, message))
		return true;
	if (stream != NULL) {
		trailers_read(conn, d, stream, message);
		return false;
	}
	/* of a stream that was not seen to begin, what begins with no pseudo-header can only be trailers */
	stream = head->is_request || !head->has_headers ? stream_of_request(conn, d, id) : NULL;
	if (stream == NULL)
		return false;
	http2_stream_begin(stream, HTTP2_REQUEST, message);
	messages_begin(conn, stream);
	return true;
}

/* The stream on which a response begins; NULL when none does. */
static struct http2_stream *stream_of_response(struct http2_conn *conn, uint32_t id, const struct http2_head *head,
					       bool ends)
{
	struct http2_stream *stream;

	if (!head->is_response && ends) /* trailers */
		return NULL;
	if (conn->first_stream != 0 && id >= conn->first_stream && id <= conn->last_stream)
		return NULL;
	stream = stream_begin(conn, id, 0);
	if (stream != NULL)
		stream->progress[HTTP2_REQUEST] = HTTP2_OVER;
	if (id > conn->last_stream)
		conn->late[conn->late_next++ % LATE_MAX] = id;
	return stream;
}

static void interim_read(struct http2_stream *stream, const struct http_message *message)
{
	if (stream->pub.interim_count < PS_INTERIM_MAX)
		stream->pub.interim[stream->pub.interim_count] = message->pub.status;
	stream->pub.interim_count++;
	stream->pub.response.wire_bytes += message->pub.wire_bytes;
}

/* A 2xx to CONNECT: what follows on the stream is of another protocol (8.5). */
static bool is_tunnel(const struct http2_stream *stream, const struct http_message *response)
{
	const struct http_message *request = stream->messages[HTTP2_REQUEST];

	return request != NULL && http_method_is(request, "CONNECT") && response->pub.status / 100 == 2;
}

static bool response_read(struct http2_conn *conn, int d, struct http_message *message, const struct http2_head *head)
{
	const struct block *block = &conn->dir[d].block;
	bool ends = block->flags & HTTP2_END_STREAM;
	struct http2_stream *stream = http2_stream_find(&conn->streams, block->stream);

	if (stream != NULL && stream->progress[HTTP2_RESPONSE] != HTTP2_AWAITED) {
		trailers_read(conn, d, stream, message);
		return false;
	}
	if (stream == NULL)
		stream = stream_of_response(conn, block->stream, head, ends);
	if (stream == NULL)
		return false;
	if (message->pub.status != 0 && message->pub.status < 200 && !ends) {
		interim_read(stream, message);
		return false;
	}
	message->pub.wire_bytes += stream->pub.response.wire_bytes; /* of the interim ones */
	http2_stream_begin(stream, HTTP2_RESPONSE, message);
	stream->head_ts_ns = message->pub.last_ts_ns;
	messages_begin(conn, stream);
	if (!ends && is_tunnel(stream, message)) {
		message->pub.body.framing = PS_FRAMING_NONE;
		if (stream->messages[HTTP2_REQUEST]->pub.body.size_bytes == 0)
			stream->messages[HTTP2_REQUEST]->pub.body.framing = PS_FRAMING_NONE;
		http2_stream_tunnel(stream);
		stream_queue_start(&conn->messages, &stream->pub);
	}
	return true;
}

/* PUSH_PROMISE: the server says which request it answers unasked (8.4). */
static bool promise_read(struct http2_conn *conn, struct http_message *message, uint32_t promised)
{
	struct http2_stream *stream;

	if (promised % 2 != 0 || http2_stream_find(&conn->streams, promised) != NULL)
		return false;
	stream = stream_begin(conn, promised, PS_EXCHANGE_PUSHED);
	if (stream == NULL)
		return false;
	http2_stream_begin(stream, HTTP2_REQUEST, message);
	http2_stream_end(&conn->streams, stream, HTTP2_REQUEST, PS_MESSAGE_COMPLETE);
	return true;
}

/* --- header blocks --- */

static void block_begin(struct http2_conn *conn, int d, const struct http_context *ctx)
{
	struct direction *dir = &conn->dir[d];
	struct block *block = &dir->block;

	block->len = 0;
	block->wire_bytes = 0;
	block->first_ts_ns = dir->frame_ts_ns;
	block->process = ctx->process != NULL ? *ctx->process : (struct ps_process){.tgid = 0};
	block->stream = dir->reader.frame.stream;
	block->type = dir->reader.frame.type;
	block->flags = dir->reader.frame.flags;
	block->is_open = true;
	block->is_cut = false;
}

static void block_append(struct http2_conn *conn, int d, const uint8_t *data, size_t len)
{
	struct block *block = &conn->dir[d].block;
	size_t room = conn->limits.head_bytes_max - block->len, fit = len < room ? len : room;

	if (block->len + fit > block->cap) {
		size_t cap = block->cap ? block->cap : 256;
		uint8_t *grown;

		while (cap < block->len + fit)
			cap *= 2;
		grown = realloc(block->data, cap);
		if (grown == NULL) {
			block->is_cut = true;
			return;
		}
		block->data = grown;
		block->cap = cap;
	}
	if (fit > 0 && !block->is_cut)
		memcpy(block->data + block->len, data, fit);
	block->is_cut |= fit < len;
	block->len += block->is_cut && fit == 0 ? 0 : fit;
}

/* Who is the client, as far as a block tells. */
static void learn_client(struct http2_conn *conn, int d, const struct http2_head *head)
{
	if (conn->client_dir >= 0)
		return;
	if (conn->dir[d].block.type == HTTP2_PUSH_PROMISE || (head->is_response && !head->is_request))
		conn->client_dir = (int8_t)!d;
	else if (head->is_request)
		conn->client_dir = (int8_t)d;
}

/* Returns whether the message was taken over. */
static bool head_read(struct http2_conn *conn, int d, struct http_message *message, const struct http2_head *head)
{
	const struct block *block = &conn->dir[d].block;

	learn_client(conn, d, head);
	if (conn->client_dir < 0)
		return false;
	if (block->type == HTTP2_PUSH_PROMISE)
		return conn->client_dir == !d && promise_read(conn, message, block->promised);
	return d == conn->client_dir ? request_read(conn, d, message, head) : response_read(conn, d, message, head);
}

/* The block is over. */
static void block_end(struct http2_conn *conn, int d, const struct http_context *ctx)
{
	struct direction *dir = &conn->dir[d];
	struct block *block = &dir->block;
	struct http_message *message = http_message_new();
	bool ends = block->type == HTTP2_HEADERS && (block->flags & HTTP2_END_STREAM);
	struct http2_head head;

	block->is_open = false;
	if (message == NULL) {
		hpack_forget(&dir->hpack);
		return;
	}
	head = http2_head_read(&dir->hpack, &(struct http2_block){block->data, block->len, block->is_cut},
			       &conn->limits, message);
	conn->stats.parse_errors += !head.is_sound;
	dir->has_blocks |= head.is_sound;
	message->pub.first_ts_ns = block->first_ts_ns;
	message->pub.last_ts_ns = ctx->ts_ns;
	message->pub.process = block->process;
	message->pub.head_bytes = message->pub.wire_bytes = block->wire_bytes;
	message->pub.body.framing = ends || block->type == HTTP2_PUSH_PROMISE ? PS_FRAMING_NONE : PS_FRAMING_H2;
	if (!head_read(conn, d, message, &head))
		http_message_free(message);
	if (ends)
		part_over(conn, d, block->stream, ctx->ts_ns);
	if (block->cap > BLOCK_KEPT) {
		free(block->data);
		block->data = NULL;
		block->cap = 0;
	}
}

/* --- frames --- */

/* Has a response begun whose request was not seen, although nothing is missing? */
static bool must_wait(const struct http2_conn *conn, int d)
{
	const struct http2_frame *frame = &conn->dir[d].reader.frame;
	const struct direction *client = &conn->dir[!d];

	return frame->type == HTTP2_HEADERS && conn->client_dir == !d && frame->stream % 2 == 1 &&
	       frame->stream > conn->last_stream && !client->has_loss && client->place != PLACE_ENDED;
}

/* Returns whether the frame may come here (4.3). */
static bool frame_begin(struct http2_conn *conn, int d, const struct http_context *ctx)
{
	struct direction *dir = &conn->dir[d];
	const struct http2_frame *frame = &dir->reader.frame;
	bool is_continuation = frame->type == HTTP2_CONTINUATION;

	if (dir->block.is_open != is_continuation || (is_continuation && frame->stream != dir->block.stream))
		return false;
	if (frame->type == HTTP2_HEADERS || frame->type == HTTP2_PUSH_PROMISE)
		block_begin(conn, d, ctx);
	if (is_continuation)
		dir->block.flags |= frame->flags & HTTP2_END_HEADERS;
	dir->is_waiting = must_wait(conn, d);
	return true;
}

static void tunnel_read(struct http2_conn *conn, struct http2_stream *stream, int d, const struct http_context *ctx,
			const uint8_t *data, size_t len)
{
	enum http2_part part = part_of(conn, d);

	conn->stats.message_bytes -= len;
	conn->stats.tunnel_bytes += len;
	stream->messages[part]->pub.last_ts_ns = ctx->ts_ns;
	if (stream->reader != NULL)
		stream_reader_data(stream->reader, (enum stream_part)part, data, len);
}

static void data_read(struct http2_conn *conn, int d, const struct http_context *ctx, const uint8_t *data, size_t len)
{
	const struct http2_reader *reader = &conn->dir[d].reader;
	struct http2_stream *stream = http2_stream_find(&conn->streams, reader->frame.stream);
	struct http_message *message = open_message(conn, stream, d);

	/* before the content only the length of a padding may stand */
	if (stream != NULL && stream->reader != NULL)
		stream_reader_set_context(stream->reader, ctx, reader->frame.length - reader->left - len <= 1);
	if (stream != NULL && stream->is_tunnel)
		tunnel_read(conn, stream, d, ctx, data, len);
	if (message == NULL)
		return;
	http_message_body(message, &conn->limits, data, len);
	if (ctx->from_file)
		message->pub.flags |= PS_MESSAGE_FROM_FILE;
}

static uint32_t error_code(const uint8_t b[4])
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void reset(struct http2_conn *conn, struct http2_stream *stream, uint32_t code)
{
	stream->pub.flags |= PS_EXCHANGE_RESET;
	stream->pub.error_code = code;
	http2_stream_finish(&conn->streams, stream, PS_MESSAGE_ABORTED);
}

/* 6.8: the sender will not answer what its peer began after the last stream that it names. */
static void goaway_read(struct http2_conn *conn, int d)
{
	const uint8_t *payload = conn->dir[d].reader.prefix;
	uint32_t last = http2_number(payload), peer_parity = d == conn->client_dir ? 0 : 1;
	struct http2_stream *stream, *next;

	if (conn->client_dir < 0)
		return;
	DL_FOREACH_SAFE(conn->streams.open, stream, next)
	{
		if (stream->id > last && stream->id % 2 == peer_parity)
			reset(conn, stream, error_code(payload + 4));
	}
}

static void frame_end(struct http2_conn *conn, int d, const struct http_context *ctx)
{
	struct direction *dir = &conn->dir[d];
	const struct http2_frame *frame = &dir->reader.frame;
	struct http2_stream *stream;

	switch (frame->type) {
	case HTTP2_DATA:
		if (frame->flags & HTTP2_END_STREAM)
			part_over(conn, d, frame->stream, ctx->ts_ns);
		break;
	case HTTP2_PUSH_PROMISE:
		dir->block.promised = http2_promised(&dir->reader);
		/* fall through */
	case HTTP2_HEADERS:
	case HTTP2_CONTINUATION:
		if (dir->block.flags & HTTP2_END_HEADERS)
			block_end(conn, d, ctx);
		break;
	case HTTP2_RST_STREAM:
		stream = http2_stream_find(&conn->streams, frame->stream);
		if (stream != NULL)
			reset(conn, stream, error_code(dir->reader.prefix));
		break;
	case HTTP2_GOAWAY:
		goaway_read(conn, d);
		break;
	}
}

/* Bytes of a frame belong to the message that it is part of. */
static void count_wire(struct http2_conn *conn, int d, const struct http_context *ctx, size_t bytes)
{
	struct direction *dir = &conn->dir[d];
	const struct http2_frame *frame = &dir->reader.frame;
	struct http_message *message;

	if (dir->block.is_open) {
		dir->block.wire_bytes += bytes;
		return;
	}
	if (frame->type != HTTP2_DATA)
		return;
	message = open_message(conn, http2_stream_find(&conn->streams, frame->stream), d);
	if (message == NULL)
		return;
	message->pub.wire_bytes += bytes;
	message->pub.last_ts_ns = ctx->ts_ns;
}

static size_t feed_frames(struct http2_conn *conn, int d, const struct http_context *ctx, const uint8_t *data,
			  size_t len)
{
	struct direction *dir = &conn->dir[d];
	struct http2_result r;
	size_t taken = 0;

	do {
		if (dir->reader.head_len == 0)
			dir->frame_ts_ns = ctx->ts_ns;
		r = http2_read(&dir->reader, data + taken, len - taken);
		taken += r.taken;
		conn->stats.message_bytes += r.taken;
		if (r.event == HTTP2_HEAD && !frame_begin(conn, d, ctx))
			r.event = HTTP2_BAD;
		if (r.event == HTTP2_BAD) {
			conn->stats.message_bytes -= r.taken;
			skip(conn, d, r.taken);
			place_lost(conn, d, false);
			break;
		}
		if (r.taken > 0 && (dir->reader.in_payload || r.event == HTTP2_END))
			count_wire(conn, d, ctx, r.event == HTTP2_HEAD ? HTTP2_HEAD_LEN : r.taken);
		if (r.event == HTTP2_CONTENT && dir->reader.frame.type == HTTP2_DATA)
			data_read(conn, d, ctx, data + taken - r.content, r.content);
		else if (r.event == HTTP2_CONTENT)
			block_append(conn, d, data + taken - r.content, r.content);
		else if (r.event == HTTP2_END)
			frame_end(conn, d, ctx);
	} while (r.event != HTTP2_MORE && !dir->is_waiting);
	return taken;
}

/* --- where frames begin --- */

/* The preface of the client, if it is one (3.4); a server begins with a frame. */
static size_t feed_start(struct http2_conn *conn, int d, const uint8_t *data, size_t len)
{
	struct direction *dir = &conn->dir[d];
	size_t left = HTTP2_PREFACE_LEN - dir->preface_len, n = len < left ? len : left;

	if (dir->preface_len == 0 && data[0] != HTTP2_PREFACE[0]) {
		dir->place = PLACE_FRAMES;
		return 0;
	}
	if (memcmp(data, &HTTP2_PREFACE[dir->preface_len], n) != 0) {
		place_lost(conn, d, false);
		return 0;
	}
	conn->stats.message_bytes += n;
	dir->preface_len = (uint8_t)(dir->preface_len + n);
	if (dir->preface_len == HTTP2_PREFACE_LEN) {
		dir->place = PLACE_FRAMES;
		if (conn->client_dir < 0)
			conn->client_dir = (int8_t)d;
	}
	return n;
}

/* What was taken for the middle of a connection is its beginning: nothing is missing. */
static void begin_anew(struct http2_conn *conn)
{
	conn->midstream = conn->after_gap = false;
	for (int d = 0; d < 2; d++) {
		struct direction *dir = &conn->dir[d];

		if (dir->has_blocks || dir->place == PLACE_ENDED)
			continue;
		hpack_fini(&dir->hpack);
		hpack_init(&dir->hpack, true);
		dir->has_loss = false;
		if (dir->place == PLACE_LOST)
			dir->place = PLACE_START;
		free(dir->candidate.data);
		dir->candidate = (struct candidate){.data = NULL};
	}
}

static bool is_preface(const struct http2_conn *conn, int d, const uint8_t *data, size_t len)
{
	return len >= HTTP2_PREFACE_LEN && memcmp(data, HTTP2_PREFACE, HTTP2_PREFACE_LEN) == 0 &&
	       conn->client_dir != !d && !conn->dir[d].has_blocks;
}

/*
 * Where frames begin, from *at on; else where they may begin first. NO: nowhere.
 * call: where a call begins, besides the first byte if that does.
 */
static enum http2_scan find_frame(const struct candidate *in, size_t call, size_t *at)
{
	size_t maybe = SIZE_MAX;

	for (; *at < in->len; (*at)++) {
		bool begins_call = *at == 0 ? in->begins_call : *at == call;
		enum http2_scan scan = http2_scan(in->data + *at, in->len - *at, begins_call);

		if (scan == HTTP2_SCAN_YES)
			return scan;
		if (scan == HTTP2_SCAN_MAYBE && maybe == SIZE_MAX && in->len - *at < SCAN_MAX)
			maybe = *at;
	}
	if (maybe == SIZE_MAX)
		return HTTP2_SCAN_NO;
	*at = maybe;
	return HTTP2_SCAN_MAYBE;
}

/* Give up the bytes before `at`. */
static void candidate_cut(struct candidate *candidate, size_t at)
{
	candidate->len -= at;
	candidate->scanned = candidate->len;
	if (at > 0)
		memmove(candidate->data, candidate->data + at, candidate->len);
	if (candidate->len == 0) {
		free(candidate->data);
		candidate->data = NULL;
	}
}

/* Frames begin `at` there: read them, as if they came now. What follows a frame that is broken is looked through. */
static void replay(struct http2_conn *conn, int d, size_t at)
{
	struct direction *dir = &conn->dir[d];
	struct candidate kept = dir->candidate;
	struct http_context ctx = {.ts_ns = kept.ts_ns, .process = &kept.process};
	enum http2_scan scan = HTTP2_SCAN_YES;

	dir->candidate = (struct candidate){.data = NULL};
	conn->stats.skipped_bytes -= kept.len - at;
	while (scan == HTTP2_SCAN_YES && at < kept.len && conn->mode == HTTP_MODE_HTTP) {
		dir->place = PLACE_FRAMES;
		at += feed_frames(conn, d, &ctx, kept.data + at, kept.len - at);
		dir->is_waiting = false;
		if (dir->place == PLACE_LOST) {
			size_t from = at;

			scan = find_frame(&kept, SIZE_MAX, &at);
			skip(conn, d, (scan == HTTP2_SCAN_YES ? at : kept.len) - from);
		}
	}
	if (scan == HTTP2_SCAN_MAYBE && conn->mode == HTTP_MODE_HTTP) {
		candidate_cut(&kept, at);
		kept.begins_call = false;
		dir->candidate = kept;
	} else {
		free(kept.data);
	}
}

/*
 * Need the bytes that are kept not be looked through now? Time must not go with
 * the square of their number when they come in small calls. Where the first of
 * them may begin a frame still, and the call that begins with the last ones
 * proves nothing, that can wait: nothing is lost meanwhile.
 */
static bool scan_can_wait(const struct candidate *candidate, size_t call, bool begins_call)
{
	if (candidate->len < SCAN_EACH || call == 0 || candidate->len == SCAN_MAX ||
	    candidate->len - candidate->scanned >= candidate->scanned / SCAN_GROWTH)
		return false;
	if (begins_call && http2_scan(candidate->data + call, candidate->len - call, true) == HTTP2_SCAN_YES)
		return false;
	return http2_scan(candidate->data, candidate->len, candidate->begins_call) == HTTP2_SCAN_MAYBE;
}

static size_t feed_lost(struct http2_conn *conn, int d, const struct http_context *ctx, const uint8_t *data, size_t len,
			bool begins_call)
{
	struct direction *dir = &conn->dir[d];
	struct candidate *candidate = &dir->candidate;
	size_t call = candidate->len, at = 0, n = len < SCAN_MAX - call ? len : SCAN_MAX - call;
	enum http2_scan scan;

	if (begins_call && is_preface(conn, d, data, len)) {
		begin_anew(conn);
		dir->place = PLACE_START;
		return 0;
	}
	if (candidate->data == NULL)
		candidate->data = malloc(SCAN_MAX);
	if (candidate->data == NULL) {
		skip(conn, d, len);
		return len;
	}
	if (call == 0)
		candidate->begins_call = begins_call;
	memcpy(candidate->data + call, data, n);
	candidate->len += n;
	if (scan_can_wait(candidate, call, begins_call)) {
		skip(conn, d, n);
		return n;
	}
	scan = find_frame(candidate, begins_call ? call : SIZE_MAX, &at);
	if (at >= call) {
		candidate->ts_ns = ctx->ts_ns;
		candidate->process = ctx->process != NULL ? *ctx->process : (struct ps_process){.tgid = 0};
	}
	skip(conn, d, n);
	if (conn->mode != HTTP_MODE_HTTP)
		return n;
	if (scan == HTTP2_SCAN_YES) {
		replay(conn, d, at);
		return n;
	}
	if (at > 0)
		candidate->begins_call = begins_call && at == call;
	candidate_cut(candidate, at);
	return n;
}

/* --- feeding --- */

static size_t feed_step(struct http2_conn *conn, int d, const struct http_context *ctx, const uint8_t *data, size_t len,
			bool begins_call)
{
	switch ((enum place)conn->dir[d].place) {
	case PLACE_START:
		return feed_start(conn, d, data, len);
	case PLACE_FRAMES:
		return feed_frames(conn, d, ctx, data, len);
	case PLACE_LOST:
		return feed_lost(conn, d, ctx, data, len, begins_call);
	case PLACE_ENDED:
		break;
	}
	conn->stats.skipped_bytes += len;
	return len;
}

size_t http2_conn_data(struct http2_conn *conn, int d, const struct http_context *ctx, const uint8_t *data, size_t len)
{
	struct direction *dir = &conn->dir[d];
	size_t taken = 0;

	drop_handed_out(conn);
	dir->is_waiting = dir->is_waiting && must_wait(conn, d);
	while (taken < len && !dir->is_waiting)
		taken += feed_step(conn, d, ctx, data + taken, len - taken, taken == 0);
	return taken;
}

void http2_conn_unblock(struct http2_conn *conn)
{
	conn->dir[0].is_waiting = conn->dir[1].is_waiting = false;
}

static void gap_in_frames(struct http2_conn *conn, int d, const struct http_context *ctx, uint64_t len)
{
	struct direction *dir = &conn->dir[d];
	struct http2_stream *stream = http2_stream_find(&conn->streams, dir->reader.frame.stream);
	struct http_message *message = open_message(conn, stream, d);
	const uint8_t none = 0;
	int64_t content;

	if (!dir->reader.in_payload || dir->reader.frame.type != HTTP2_DATA)
		message = NULL;
	if (stream != NULL && stream->reader != NULL)
		stream_reader_set_context(stream->reader, ctx, false);
	content = http2_skip(&dir->reader, len);
	if (content < 0) {
		/* the rest of the frame's data is among what is missing, whatever else is */
		if (message != NULL && dir->reader.left > dir->reader.padding)
			http_message_body_gap(message, dir->reader.left - dir->reader.padding);
		place_lost(conn, d, true);
		return;
	}
	if (content > 0 && tunnel_reader(stream) != NULL && dir->reader.frame.type == HTTP2_DATA)
		stream_reader_gap(stream->reader, (enum stream_part)part_of(conn, d), (uint64_t)content);
	if (message != NULL && content > 0) {
		http_message_body_gap(message, (uint64_t)content);
		message->pub.last_ts_ns = ctx->ts_ns;
	}
	dir->is_waiting = false;
	feed_frames(conn, d, ctx, &none, 0); /* the frame may be over */
}

void http2_conn_gap(struct http2_conn *conn, int d, const struct http_context *ctx, uint64_t len)
{
	drop_handed_out(conn);
	conn->stats.gap_bytes += len;
	if (len == 0 || conn->mode != HTTP_MODE_HTTP)
		return;
	switch ((enum place)conn->dir[d].place) {
	case PLACE_FRAMES:
		gap_in_frames(conn, d, ctx, len);
		break;
	case PLACE_START:
	case PLACE_LOST:
		place_lost(conn, d, true);
		break;
	case PLACE_ENDED:
		break;
	}
}

void http2_conn_limit_bodies(struct http2_conn *conn, size_t body_bytes_max)
{
	conn->limits.body_bytes_max = body_bytes_max;
}

void http2_conn_end(struct http2_conn *conn, int d)
{
	struct direction *dir = &conn->dir[d];
	enum http2_part part = part_of(conn, d);
	struct http2_stream *stream, *next;

	drop_handed_out(conn);
	if (dir->place == PLACE_ENDED)
		return;
	drop_pieces(dir);
	dir->place = PLACE_ENDED;
	if (conn->client_dir < 0)
		return;
	DL_FOREACH_SAFE(conn->streams.open, stream, next)
	http2_stream_end(&conn->streams, stream, part, PS_MESSAGE_ABORTED);
}

void http2_conn_finish(struct http2_conn *conn, uint32_t flag)
{
	struct http2_stream *stream, *next;

	drop_handed_out(conn);
	for (int d = 0; d < 2; d++) {
		drop_pieces(&conn->dir[d]);
		hpack_fini(&conn->dir[d].hpack);
		conn->dir[d].place = PLACE_ENDED;
	}
	DL_FOREACH_SAFE(conn->streams.open, stream, next)
	http2_stream_finish(&conn->streams, stream, flag);
}

/* --- results --- */

/* A message or a started exchange. */
static struct http_item next_message(struct http2_conn *conn)
{
	struct stream_message *message = stream_queue_pop(&conn->messages);
	struct http_item item = {.kind = PS_ITEM_STARTED, .exchange = message->exchange};

	conn->message_out = message;
	http2_stream_publish((struct http2_stream *)((char *)message->exchange - offsetof(struct http2_stream, pub)));
	if (message->is_start)
		return item;
	item.kind = PS_ITEM_MESSAGE;
	item.message = &message->pub;
	message->pub.direction =
	    message->pub.direction == STREAM_REQUEST ? (uint32_t)conn->client_dir : (uint32_t)!conn->client_dir;
	return item;
}

struct http_item http2_conn_next(struct http2_conn *conn)
{
	struct http_item item = {.kind = PS_ITEM_EXCHANGE};

	drop_handed_out(conn);
	if (conn->messages.first != NULL)
		item = next_message(conn);
	else
		item.exchange = http2_stream_next(&conn->streams);
	if (item.exchange != NULL)
		item.exchange->side = conn->client_dir == PS_OUT ? PS_SIDE_CLIENT : PS_SIDE_SERVER;
	return item;
}

uint64_t http2_conn_start(struct http2_conn *conn, uint64_t since_ns)
{
	struct http2_stream *stream;
	uint64_t next = 0;

	DL_FOREACH(conn->streams.open, stream)
	{
		if (stream->head_ts_ns == 0 || (stream->pub.flags & PS_EXCHANGE_ANNOUNCED))
			continue;
		if (stream->head_ts_ns <= since_ns)
			stream_queue_start(&conn->messages, &stream->pub);
		else if (next == 0 || stream->head_ts_ns < next)
			next = stream->head_ts_ns;
	}
	return next;
}

enum http_mode http2_conn_mode(const struct http2_conn *conn)
{
	return (enum http_mode)conn->mode;
}

struct http_stats http2_conn_stats(const struct http2_conn *conn)
{
	return conn->stats;
}

bool http2_conn_is_certain(const struct http2_conn *conn)
{
	return conn->dir[0].has_blocks || conn->dir[1].has_blocks;
}

bool http2_conn_is_lost(const struct http2_conn *conn, int d)
{
	return conn->dir[d].place == PLACE_LOST;
}

size_t http2_conn_memory(const struct http2_conn *conn)
{
	size_t bytes = sizeof(*conn) + http2_streams_memory(&conn->streams) + conn->messages.bytes;

	for (int d = 0; d < 2; d++)
		bytes += hpack_memory(&conn->dir[d].hpack) + conn->dir[d].block.cap +
			 (conn->dir[d].candidate.data ? SCAN_MAX : 0);
	return bytes;
}

void http2_conn_upgrade(struct http2_conn *conn, int client_direction, const struct ps_exchange *upgrade)
{
	struct http_message *request = http_message_new();
	struct http2_stream *stream;

	conn->client_dir = (int8_t)client_direction;
	conn->first_stream = conn->last_stream = 1;
	stream = request != NULL ? http2_stream_open(&conn->streams, 1, upgrade->flags & PS_EXCHANGE_MIDSTREAM) : NULL;
	if (stream == NULL || !http2_head_copy(request, &upgrade->request, &conn->limits)) {
		http_message_free(request);
		return;
	}
	http2_stream_begin(stream, HTTP2_REQUEST, request);
	stream->progress[HTTP2_REQUEST] = HTTP2_OVER; /* it was read to its end as HTTP/1 */
	stream->pub.interim[0] = upgrade->response.status;
	stream->pub.interim_count = 1;
	stream->pub.response.wire_bytes = upgrade->response.wire_bytes;
}
