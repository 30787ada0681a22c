/* SPDX-License-Identifier: Apache-2.0 */
#include "recorded_item.h"

#include <stdlib.h>
#include <string.h>

/* --- bytes -------------------------------------------------------------- */

void item_bytes_free(struct item_bytes *bytes)
{
	free(bytes->data);
	*bytes = (struct item_bytes){.data = NULL};
}

/* Returns whether len more bytes fit. */
static bool make_room(struct item_bytes *bytes, size_t len)
{
	size_t wanted = bytes->len + len;
	uint8_t *larger;

	if (bytes->is_short || len > RECORDED_ITEM_MAX || wanted > RECORDED_ITEM_MAX)
		return false;
	if (wanted <= bytes->room)
		return true;
	wanted += wanted / 2 + 4096;
	larger = realloc(bytes->data, wanted);
	if (!larger)
		return false;
	bytes->data = larger;
	bytes->room = wanted;
	return true;
}

void item_bytes_put(struct item_bytes *bytes, const void *data, size_t len)
{
	if (!make_room(bytes, len)) {
		bytes->is_short = true;
		return;
	}
	if (len > 0)
		memcpy(bytes->data + bytes->len, data, len);
	bytes->len += len;
}

static void put64(struct item_bytes *bytes, uint64_t value)
{
	item_bytes_put(bytes, &value, sizeof(value));
}

static void put32(struct item_bytes *bytes, uint32_t value)
{
	item_bytes_put(bytes, &value, sizeof(value));
}

static void put_slice(struct item_bytes *bytes, const struct ps_slice *slice)
{
	if (slice->len > RECORDED_ITEM_MAX) {
		bytes->is_short = true;
		return;
	}
	put32(bytes, (uint32_t)slice->len);
	item_bytes_put(bytes, slice->data, slice->len);
}

/* --- writing ------------------------------------------------------------ */

static void put_process(struct item_bytes *bytes, const struct ps_process *process)
{
	put64(bytes, process->cgroup_id);
	put32(bytes, process->tgid);
	put32(bytes, process->tid);
	put32(bytes, process->uid);
	put32(bytes, process->ns_tgid);
	item_bytes_put(bytes, process->comm, sizeof(process->comm));
}

static void put_endpoint(struct item_bytes *bytes, const struct ps_endpoint *endpoint)
{
	item_bytes_put(bytes, endpoint->addr, sizeof(endpoint->addr));
	put32(bytes, endpoint->port);
	put32(bytes, endpoint->family);
}

static void put_headers(struct item_bytes *bytes, const struct ps_header *headers, uint32_t count)
{
	put32(bytes, count);
	for (uint32_t i = 0; i < count; i++) {
		put_slice(bytes, &headers[i].name);
		put_slice(bytes, &headers[i].value);
		put32(bytes, headers[i].flags);
	}
}

static void put_body(struct item_bytes *bytes, const struct ps_body *body)
{
	put_slice(bytes, &body->kept);
	put64(bytes, body->size_bytes);
	put64(bytes, body->gap_offset);
	put64(bytes, body->gap_bytes);
	put32(bytes, body->state);
	put32(bytes, body->framing);
}

static void put_message(struct item_bytes *bytes, const struct ps_message *message)
{
	put_slice(bytes, &message->method);
	put_slice(bytes, &message->target);
	put_slice(bytes, &message->reason);
	put_slice(bytes, &message->scheme);
	put_slice(bytes, &message->authority);
	put_slice(bytes, &message->protocol);
	put_headers(bytes, message->headers, message->header_count);
	put_headers(bytes, message->trailers, message->trailer_count);
	put32(bytes, message->status);
	put32(bytes, message->version_major);
	put32(bytes, message->version_minor);
	put32(bytes, message->flags);
	put_body(bytes, &message->body);
	put64(bytes, message->head_bytes);
	put64(bytes, message->wire_bytes);
	put64(bytes, message->first_ts_ns);
	put64(bytes, message->last_ts_ns);
	put_process(bytes, &message->process);
}

static void put_tls(struct item_bytes *bytes, const struct ps_tls_info *tls)
{
	put32(bytes, tls != NULL);
	if (!tls)
		return;
	put32(bytes, tls->protocol);
	put32(bytes, tls->cipher);
	item_bytes_put(bytes, tls->server_name, sizeof(tls->server_name));
	item_bytes_put(bytes, tls->alpn, sizeof(tls->alpn));
	item_bytes_put(bytes, tls->alpn_offered, sizeof(tls->alpn_offered));
}

static void put_exchange(struct item_bytes *bytes, const struct ps_exchange *exchange)
{
	put64(bytes, exchange->id);
	put64(bytes, exchange->conn_id);
	put32(bytes, exchange->flags);
	put32(bytes, exchange->side);
	put_endpoint(bytes, &exchange->local);
	put_endpoint(bytes, &exchange->remote);
	put_slice(bytes, &exchange->unix_path);
	put64(bytes, exchange->socket_id);
	put32(bytes, exchange->fd);
	put32(bytes, exchange->library);
	put32(bytes, exchange->resolved);
	put_tls(bytes, exchange->tls);
	put64(bytes, exchange->handshake_ns);
	put_message(bytes, &exchange->request);
	put_message(bytes, &exchange->response);
	item_bytes_put(bytes, exchange->interim, sizeof(exchange->interim));
	put32(bytes, exchange->interim_count);
	put32(bytes, exchange->stream_id);
	put32(bytes, exchange->error_code);
	put32(bytes, exchange->protocol);
	put64(bytes, exchange->request_messages);
	put64(bytes, exchange->response_messages);
	put_slice(bytes, &exchange->web_trailers);
}

static void put_stream_message(struct item_bytes *bytes, const struct ps_stream_message *message)
{
	put32(bytes, message->protocol);
	put32(bytes, message->type);
	put32(bytes, message->direction);
	put32(bytes, message->flags);
	put_body(bytes, &message->body);
	put_slice(bytes, &message->name);
	put_slice(bytes, &message->event_id);
	put64(bytes, message->wire_bytes);
	put64(bytes, message->first_ts_ns);
	put64(bytes, message->last_ts_ns);
	put_process(bytes, &message->process);
	put32(bytes, message->frames);
	put32(bytes, message->close_code);
}

void recorded_item_write(struct item_bytes *bytes, const struct ps_item *item)
{
	put32(bytes, item->kind);
	put_exchange(bytes, item->exchange);
	if (item->kind == PS_ITEM_MESSAGE)
		put_stream_message(bytes, item->message);
}

/* --- reading ------------------------------------------------------------ */

/* Bytes that are read from their beginning; after what is not there only zeros are. */
struct input {
	const uint8_t *data;
	size_t len;
	bool is_short;
};

static void get(struct input *input, void *to, size_t len)
{
	if (len > input->len) {
		input->is_short = true;
		input->len = 0;
		memset(to, 0, len);
		return;
	}
	memcpy(to, input->data, len);
	input->data += len;
	input->len -= len;
}

static uint64_t get64(struct input *input)
{
	uint64_t value;

	get(input, &value, sizeof(value));
	return value;
}

static uint32_t get32(struct input *input)
{
	uint32_t value;

	get(input, &value, sizeof(value));
	return value;
}

/* A number up to max; a larger one is none. */
static uint32_t get_up_to(struct input *input, uint32_t max)
{
	uint32_t value = get32(input);

	input->is_short |= value > max;
	return value > max ? 0 : value;
}

/* Of the input, not a copy. */
static struct ps_slice get_slice(struct input *input)
{
	uint32_t len = get32(input);
	struct ps_slice slice = {.data = (const char *)input->data, .len = len};

	if (len > input->len) {
		input->is_short = true;
		input->len = 0;
	}
	if (len == 0 || input->is_short)
		return (struct ps_slice){.data = NULL};
	input->data += len;
	input->len -= len;
	return slice;
}

/* Text in a field of its own ends within it. */
static void get_text(struct input *input, char *to, size_t len)
{
	get(input, to, len);
	to[len - 1] = '\0';
}

static struct ps_process get_process(struct input *input)
{
	struct ps_process process = {.cgroup_id = get64(input)};

	process.tgid = get32(input);
	process.tid = get32(input);
	process.uid = get32(input);
	process.ns_tgid = get32(input);
	get_text(input, process.comm, sizeof(process.comm));
	return process;
}

static struct ps_endpoint get_endpoint(struct input *input)
{
	struct ps_endpoint endpoint;

	get(input, endpoint.addr, sizeof(endpoint.addr));
	endpoint.port = (uint16_t)get_up_to(input, UINT16_MAX);
	endpoint.family = (uint16_t)get_up_to(input, UINT16_MAX);
	return endpoint;
}

/* What a header takes at least; and more of them than a head of 256 KiB can have, whatever compresses it. */
enum { HEADER_BYTES_MIN = 12, HEADERS_MAX = 300000 };

/*
 * How many headers come; they are read to headers + *used when there is such a place. The first pass only counts, as
 * they must not move any more once somebody points to them.
 */
static uint32_t get_headers(struct input *input, struct ps_header *headers, size_t *used)
{
	uint32_t count = get32(input);

	if (count > HEADERS_MAX || count > input->len / HEADER_BYTES_MIN) {
		input->is_short = true;
		return 0;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct ps_header header = {.name = get_slice(input)};

		header.value = get_slice(input);
		header.flags = get32(input);
		if (headers)
			headers[*used + i] = header;
	}
	*used += count;
	return count;
}

static struct ps_body get_body(struct input *input, uint32_t framing_max)
{
	struct ps_body body = {.kept = get_slice(input)};

	body.size_bytes = get64(input);
	body.gap_offset = get64(input);
	body.gap_bytes = get64(input);
	body.state = get_up_to(input, PS_BODY_GAP);
	body.framing = get_up_to(input, framing_max);
	return body;
}

static void get_message(struct input *input, struct ps_message *message, struct ps_header *headers, size_t *used)
{
	message->method = get_slice(input);
	message->target = get_slice(input);
	message->reason = get_slice(input);
	message->scheme = get_slice(input);
	message->authority = get_slice(input);
	message->protocol = get_slice(input);
	message->headers = headers ? headers + *used : NULL;
	message->header_count = get_headers(input, headers, used);
	message->trailers = headers ? headers + *used : NULL;
	message->trailer_count = get_headers(input, headers, used);
	message->status = (uint16_t)get_up_to(input, UINT16_MAX);
	message->version_major = (uint8_t)get_up_to(input, UINT8_MAX);
	message->version_minor = (uint8_t)get_up_to(input, UINT8_MAX);
	message->flags = get32(input);
	message->body = get_body(input, PS_FRAMING_H2);
	message->head_bytes = get64(input);
	message->wire_bytes = get64(input);
	message->first_ts_ns = get64(input);
	message->last_ts_ns = get64(input);
	message->process = get_process(input);
}

static void get_tls(struct input *input, struct recorded_item *recorded)
{
	recorded->exchange.tls = NULL;
	if (get_up_to(input, 1) == 0)
		return;
	recorded->tls.protocol = (uint16_t)get_up_to(input, UINT16_MAX);
	recorded->tls.cipher = (uint16_t)get_up_to(input, UINT16_MAX);
	get_text(input, recorded->tls.server_name, sizeof(recorded->tls.server_name));
	get_text(input, recorded->tls.alpn, sizeof(recorded->tls.alpn));
	get_text(input, recorded->tls.alpn_offered, sizeof(recorded->tls.alpn_offered));
	recorded->exchange.tls = &recorded->tls;
}

static void get_exchange(struct input *input, struct recorded_item *recorded, struct ps_header *headers, size_t *used)
{
	struct ps_exchange *exchange = &recorded->exchange;

	exchange->id = get64(input);
	exchange->conn_id = get64(input);
	exchange->flags = get32(input);
	exchange->side = get_up_to(input, PS_SIDE_SERVER);
	exchange->local = get_endpoint(input);
	exchange->remote = get_endpoint(input);
	exchange->unix_path = get_slice(input);
	exchange->socket_id = get64(input);
	exchange->fd = get32(input);
	exchange->library = (uint16_t)get_up_to(input, UINT16_MAX);
	exchange->resolved = (uint16_t)get_up_to(input, PS_RESOLVED_ADJACENT);
	get_tls(input, recorded);
	exchange->handshake_ns = get64(input);
	get_message(input, &exchange->request, headers, used);
	get_message(input, &exchange->response, headers, used);
	get(input, exchange->interim, sizeof(exchange->interim));
	exchange->interim_count = get32(input);
	exchange->stream_id = get32(input);
	exchange->error_code = get32(input);
	exchange->protocol = get_up_to(input, PS_STREAM_GRPC_WEB);
	exchange->request_messages = get64(input);
	exchange->response_messages = get64(input);
	exchange->web_trailers = get_slice(input);
}

static bool is_stream_type(uint32_t type)
{
	return type <= PS_STREAM_BINARY || (type >= PS_STREAM_CLOSE && type <= PS_STREAM_PONG) ||
	       (type >= PS_STREAM_EVENT && type <= PS_STREAM_TRAILERS);
}

static void get_stream_message(struct input *input, struct ps_stream_message *message)
{
	message->protocol = get_up_to(input, PS_STREAM_GRPC_WEB);
	message->type = get32(input);
	message->direction = get_up_to(input, PS_OUT);
	message->flags = get32(input);
	message->body = get_body(input, UINT32_MAX);
	message->name = get_slice(input);
	message->event_id = get_slice(input);
	message->wire_bytes = get64(input);
	message->first_ts_ns = get64(input);
	message->last_ts_ns = get64(input);
	message->process = get_process(input);
	message->frames = get32(input);
	message->close_code = get32(input);
	input->is_short |= !is_stream_type(message->type) || message->protocol == PS_STREAM_NONE;
}

/* Returns whether it is a whole item with nothing behind it; *used: how many headers it has. */
static bool get_item(struct recorded_item *recorded, const uint8_t *data, size_t len, struct ps_header *headers,
		     size_t *used)
{
	struct input input = {.data = data, .len = len};

	*used = 0;
	recorded->item = (struct ps_item){.kind = get_up_to(&input, PS_ITEM_MESSAGE), .exchange = &recorded->exchange};
	get_exchange(&input, recorded, headers, used);
	if (recorded->item.kind == PS_ITEM_MESSAGE) {
		get_stream_message(&input, &recorded->message);
		recorded->item.message = &recorded->message;
	}
	return !input.is_short && input.len == 0;
}

bool recorded_item_read(struct recorded_item *recorded, const uint8_t *data, size_t len)
{
	size_t count;

	if (!get_item(recorded, data, len, NULL, &count))
		return false;
	if (count > recorded->header_room) {
		free(recorded->headers);
		recorded->headers = calloc(count, sizeof(*recorded->headers));
		recorded->header_room = recorded->headers ? count : 0;
		if (!recorded->headers)
			return false;
	}
	return count == 0 || get_item(recorded, data, len, recorded->headers, &count);
}

void recorded_item_free(struct recorded_item *recorded)
{
	free(recorded->headers);
}
