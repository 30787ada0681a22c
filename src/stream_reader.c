/* SPDX-License-Identifier: Apache-2.0 */
#include "stream_reader.h"

#include "grpc.h"
#include "message.h"
#include "sse.h"
#include "stream_decode.h"
#include "websocket.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct stream_reader {
	struct stream_queue *queue;
	struct ps_exchange *exchange;
	struct http_context ctx; /* of what is fed now; its process is the next */
	struct ps_process process;
	bool begins_call;
	struct websocket *websocket; /* one of these */
	struct sse *sse;
	struct grpc *grpc;
	struct stream_decode *decode[2]; /* by part; NULL: the body has no coding */
	bool is_deaf[2];                 /* by part: what its coding hides cannot be read, not any more */
};

static bool is_text(struct ps_slice slice, const char *text)
{
	return slice.len == strlen(text) && strncasecmp(slice.data, text, slice.len) == 0;
}

/* Value of the first header of that name; empty when there is none. */
static struct ps_slice header(const struct ps_message *message, const char *name)
{
	for (uint32_t i = 0; i < message->header_count; i++)
		if (is_text(message->headers[i].name, name))
			return message->headers[i].value;
	return (struct ps_slice){.data = NULL};
}

/* 101 with Upgrade: websocket (RFC 6455 4.2.2), or 2xx to an extended CONNECT with :protocol websocket (RFC 8441 5). */
static bool is_websocket(const struct ps_message *request, const struct ps_message *response)
{
	if (response->status == 101)
		return is_text(header(response, "upgrade"), "websocket");
	return request != NULL && response->status / 100 == 2 && is_text(request->method, "CONNECT") &&
	       is_text(request->protocol, "websocket");
}

/* Whatever its parameters. */
static bool is_media_type(struct ps_slice value, const char *type)
{
	size_t len = strlen(type);

	if (value.len < len || strncasecmp(value.data, type, len) != 0)
		return false;
	return value.len == len || value.data[len] == ';' || value.data[len] == ' ' || value.data[len] == '\t';
}

/* application/grpc, -web or -web-text, with the name of a message format behind a plus sign or without. */
static enum ps_stream_protocol grpc_protocol(struct ps_slice type)
{
	static const char web[] = "application/grpc-web", grpc[] = "application/grpc";

	if (type.len >= sizeof(web) - 1 && strncasecmp(type.data, web, sizeof(web) - 1) == 0)
		return PS_STREAM_GRPC_WEB;
	if (type.len < sizeof(grpc) - 1 || strncasecmp(type.data, grpc, sizeof(grpc) - 1) != 0)
		return PS_STREAM_NONE;
	return type.len == sizeof(grpc) - 1 || strchr("+; ", type.data[sizeof(grpc) - 1]) ? PS_STREAM_GRPC
											  : PS_STREAM_NONE;
}

/* What the messages of an exchange are: of a response whose head was read; of a request, with response NULL, before
 * that. */
static enum ps_stream_protocol protocol_of(const struct ps_message *request, const struct ps_message *response)
{
	if (response != NULL && is_websocket(request, response))
		return PS_STREAM_WEBSOCKET;
	if (response != NULL && is_media_type(header(response, "content-type"), "text/event-stream"))
		return PS_STREAM_SSE;
	return request != NULL ? grpc_protocol(header(request, "content-type")) : PS_STREAM_NONE;
}

/* How the body of one of them is coded. */
static struct grpc_coding grpc_coding(const struct ps_message *message)
{
	struct ps_slice type = header(message, "content-type"), encoding = header(message, "grpc-encoding");
	static const char web_text[] = "application/grpc-web-text";

	return (struct grpc_coding){
	    .is_base64 =
		type.len >= sizeof(web_text) - 1 && strncasecmp(type.data, web_text, sizeof(web_text) - 1) == 0,
	    .is_deflated = is_text(encoding, "gzip") || is_text(encoding, "deflate"),
	};
}

static struct stream_reader *reader_new(enum ps_stream_protocol protocol, const struct ps_message *response,
					const struct http_limits *limits, struct ps_exchange *exchange,
					struct stream_queue *queue)
{
	struct stream_reader *reader = calloc(1, sizeof(*reader));

	if (reader == NULL)
		return NULL;
	reader->queue = queue;
	reader->exchange = exchange;
	if (protocol == PS_STREAM_WEBSOCKET)
		reader->websocket = websocket_new(header(response, "sec-websocket-extensions"), limits);
	if (protocol == PS_STREAM_SSE)
		reader->sse = sse_new(limits);
	if (protocol == PS_STREAM_GRPC || protocol == PS_STREAM_GRPC_WEB)
		reader->grpc = grpc_new(protocol, limits);
	if (reader->websocket == NULL && reader->sse == NULL && reader->grpc == NULL) {
		free(reader);
		return NULL;
	}
	return reader;
}

/* What follows of the part cannot be read. */
static void become_deaf(struct stream_reader *reader, enum stream_part part)
{
	stream_decode_free(reader->decode[part]);
	reader->decode[part] = NULL;
	reader->is_deaf[part] = true;
	reader->exchange->flags |= PS_EXCHANGE_UNDECODED;
}

/* The head of the part was read: its body is read from its messages on. */
static void begin_part(struct stream_reader *reader, enum stream_part part, struct http_message *message)
{
	const struct coding_list list = coding_list_read(&message->pub);

	message->tap = (struct stream_tap){.reader = reader, .part = part};
	if (reader->grpc != NULL)
		grpc_set_coding(reader->grpc, part, grpc_coding(&message->pub));
	if (list.count == 0 || reader->decode[part] != NULL || reader->is_deaf[part])
		return;
	reader->decode[part] = stream_decode_new(&list);
	if (reader->decode[part] == NULL)
		become_deaf(reader, part);
	else if (reader->sse != NULL)
		sse_set_compressed(reader->sse);
}

void stream_reader_begin(struct stream_reader **reader, struct http_message *request, struct http_message *response,
			 const struct http_limits *limits, struct ps_exchange *exchange, struct stream_queue *queue)
{
	const struct ps_message *asked = request != NULL ? &request->pub : NULL;
	const struct ps_message *answer = response != NULL ? &response->pub : NULL;
	enum ps_stream_protocol protocol = protocol_of(asked, answer);

	if (protocol == PS_STREAM_NONE)
		return;
	exchange->protocol = protocol;
	if (*reader == NULL && !(exchange->flags & PS_EXCHANGE_UNDECODED)) {
		*reader = reader_new(protocol, answer, limits, exchange, queue);
		if (*reader == NULL)
			exchange->flags |= PS_EXCHANGE_UNDECODED;
	}
	if (*reader != NULL && protocol != PS_STREAM_WEBSOCKET && request != NULL)
		begin_part(*reader, STREAM_REQUEST, request);
	if (*reader != NULL && protocol != PS_STREAM_WEBSOCKET && response != NULL)
		begin_part(*reader, STREAM_RESPONSE, response);
	if (answer != NULL &&
	    (protocol == PS_STREAM_WEBSOCKET || protocol == PS_STREAM_SSE || exchange->request_messages > 1))
		stream_queue_start(queue, exchange);
}

void stream_reader_free(struct stream_reader *reader)
{
	if (reader == NULL)
		return;
	websocket_free(reader->websocket);
	sse_free(reader->sse);
	grpc_free(reader->grpc);
	stream_decode_free(reader->decode[STREAM_REQUEST]);
	stream_decode_free(reader->decode[STREAM_RESPONSE]);
	free(reader);
}

size_t stream_reader_memory(const struct stream_reader *reader)
{
	size_t bytes = sizeof(*reader);

	bytes += reader->websocket != NULL ? websocket_memory(reader->websocket) : 0;
	bytes += reader->sse != NULL ? sse_memory(reader->sse) : 0;
	bytes += reader->grpc != NULL ? grpc_memory(reader->grpc) : 0;
	for (int part = 0; part < 2; part++)
		bytes += reader->decode[part] != NULL ? stream_decode_memory(reader->decode[part]) : 0;
	return bytes;
}

void stream_reader_set_context(struct stream_reader *reader, const struct http_context *ctx, bool begins_call)
{
	reader->ctx = *ctx;
	reader->process = ctx->process != NULL ? *ctx->process : (struct ps_process){.tgid = 0};
	reader->ctx.process = &reader->process;
	reader->begins_call = begins_call;
}

static void feed_plain(struct stream_reader *reader, enum stream_part part, const uint8_t *data, size_t len)
{
	if (reader->websocket != NULL)
		websocket_data(reader->websocket, part, &reader->ctx, data, len, reader->begins_call, reader->queue);
	if (reader->sse != NULL && part == STREAM_RESPONSE)
		sse_data(reader->sse, &reader->ctx, data, len, reader->queue);
	if (reader->grpc != NULL)
		grpc_data(reader->grpc, part, &reader->ctx, data, len, reader->begins_call, reader->queue);
	reader->begins_call = false;
}

static void plain_gap(struct stream_reader *reader, enum stream_part part, uint64_t len)
{
	if (reader->websocket != NULL)
		websocket_gap(reader->websocket, part, &reader->ctx, len, reader->queue);
	if (reader->sse != NULL && part == STREAM_RESPONSE)
		sse_gap(reader->sse, len, reader->queue);
	if (reader->grpc != NULL)
		grpc_gap(reader->grpc, part, len, reader->queue);
}

/* Gets what the coding of a request, or of a response, has hidden. */
static void request_sink(void *to, const uint8_t *data, size_t len)
{
	feed_plain(to, STREAM_REQUEST, data, len);
}

static void response_sink(void *to, const uint8_t *data, size_t len)
{
	feed_plain(to, STREAM_RESPONSE, data, len);
}

void stream_reader_data(struct stream_reader *reader, enum stream_part part, const uint8_t *data, size_t len)
{
	struct stream_decode *decode = reader->decode[part];

	reader->queue->exchange = reader->exchange;
	if (reader->is_deaf[part])
		return;
	if (decode == NULL) {
		feed_plain(reader, part, data, len);
		return;
	}
	reader->begins_call = false; /* of no meaning to what is decoded */
	if (stream_decode_add(decode, data, len, part == STREAM_REQUEST ? request_sink : response_sink, reader))
		return;
	plain_gap(reader, part, 0);
	become_deaf(reader, part);
}

void stream_reader_gap(struct stream_reader *reader, enum stream_part part, uint64_t len)
{
	reader->queue->exchange = reader->exchange;
	if (reader->is_deaf[part])
		return;
	plain_gap(reader, part, reader->decode[part] != NULL ? 0 : len);
	if (reader->decode[part] != NULL) /* no coding can be undone from its middle on */
		become_deaf(reader, part);
}

void stream_reader_end(struct stream_reader *reader, enum stream_part part)
{
	reader->queue->exchange = reader->exchange;
	if (reader->websocket != NULL)
		websocket_end(reader->websocket, part, reader->queue);
	if (reader->sse != NULL && part == STREAM_RESPONSE)
		sse_end(reader->sse, reader->queue);
	if (reader->grpc != NULL)
		grpc_end(reader->grpc, part, reader->queue);
}
