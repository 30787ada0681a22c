/* SPDX-License-Identifier: Apache-2.0 */
/* Wire format of Protocol Buffers (protobuf.dev, "Encoding"), read without a schema. */
#include <string.h>

#include "plainsight.h"

enum { DEPTH_MAX = 10, FIELD_NUMBER_MAX = (1 << 29) - 1 };

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LENGTH = 2, WIRE_GROUP = 3, WIRE_GROUP_END = 4, WIRE_FIXED32 = 5 };

struct output {
	struct ps_protobuf_field *fields;
	uint32_t count;
	uint32_t max;
};

struct input {
	const uint8_t *at;
	const uint8_t *end;
};

static bool read_varint(struct input *in, uint64_t *value)
{
	*value = 0;
	for (int shift = 0; shift < 64 && in->at < in->end; shift += 7) {
		uint8_t byte = *in->at++;

		*value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

static bool read_fixed(struct input *in, size_t size, uint64_t *value)
{
	*value = 0;
	if ((size_t)(in->end - in->at) < size)
		return false;
	for (size_t i = 0; i < size; i++)
		*value |= (uint64_t)in->at[i] << (8 * i);
	in->at += size;
	return true;
}

static void put(struct output *out, struct ps_protobuf_field field)
{
	if (out->count < out->max)
		out->fields[out->count++] = field;
}

static bool read_fields(struct input *in, uint32_t group, int depth, struct output *out);

/* Bytes: a message when they can be one. */
static bool read_length(struct input *in, uint32_t number, int depth, struct output *out)
{
	uint64_t len;
	uint32_t count = out->count;
	struct input inner;

	if (!read_varint(in, &len) || len > (uint64_t)(in->end - in->at))
		return false;
	inner = (struct input){in->at, in->at + len};
	in->at += len;
	put(out, (struct ps_protobuf_field){.number = number, .kind = PS_PROTOBUF_MESSAGE});
	if (len > 0 && depth < DEPTH_MAX && read_fields(&inner, 0, depth + 1, out)) {
		put(out, (struct ps_protobuf_field){.number = number, .kind = PS_PROTOBUF_END});
		return true;
	}
	out->count = count;
	put(out, (struct ps_protobuf_field){
		     .number = number,
		     .kind = PS_PROTOBUF_BYTES,
		     .bytes = {len > 0 ? (const char *)in->at - len : NULL, (size_t)len},
		 });
	return true;
}

static bool read_group(struct input *in, uint32_t number, int depth, struct output *out)
{
	if (depth >= DEPTH_MAX)
		return false;
	put(out, (struct ps_protobuf_field){.number = number, .kind = PS_PROTOBUF_MESSAGE});
	if (!read_fields(in, number, depth + 1, out))
		return false;
	put(out, (struct ps_protobuf_field){.number = number, .kind = PS_PROTOBUF_END});
	return true;
}

static bool read_value(struct input *in, enum wire wire, uint32_t number, int depth, struct output *out)
{
	struct ps_protobuf_field field = {.number = number};
	bool is_read = false;

	switch (wire) {
	case WIRE_LENGTH:
		return read_length(in, number, depth, out);
	case WIRE_GROUP:
		return read_group(in, number, depth, out);
	case WIRE_VARINT:
		field.kind = PS_PROTOBUF_VARINT;
		is_read = read_varint(in, &field.value);
		break;
	case WIRE_FIXED64:
		field.kind = PS_PROTOBUF_FIXED64;
		is_read = read_fixed(in, 8, &field.value);
		break;
	case WIRE_FIXED32:
		field.kind = PS_PROTOBUF_FIXED32;
		is_read = read_fixed(in, 4, &field.value);
		break;
	case WIRE_GROUP_END:
		break;
	}
	if (is_read)
		put(out, field);
	return is_read;
}

/* Fields to the end, or to that of the group when it is not 0. False when they are malformed. */
static bool read_fields(struct input *in, uint32_t group, int depth, struct output *out)
{
	while (in->at < in->end) {
		uint64_t tag;
		uint32_t number;

		if (!read_varint(in, &tag) || tag >> 3 == 0 || tag >> 3 > FIELD_NUMBER_MAX)
			return false;
		number = (uint32_t)(tag >> 3);
		if ((tag & 7) == WIRE_GROUP_END)
			return number == group;
		if (!read_value(in, (enum wire)(tag & 7), number, depth, out))
			return false;
	}
	return group == 0;
}

/* What was begun and cut off is closed, so that the fields can be shown. */
static uint32_t close_all(struct output *out)
{
	uint32_t open = 0;

	for (uint32_t i = 0; i < out->count; i++) {
		open += out->fields[i].kind == PS_PROTOBUF_MESSAGE;
		open -= out->fields[i].kind == PS_PROTOBUF_END;
	}
	while (open > 0 && out->count + open > out->max) {
		out->count--;
		open -= out->fields[out->count].kind == PS_PROTOBUF_MESSAGE;
		open += out->fields[out->count].kind == PS_PROTOBUF_END;
	}
	for (; open > 0; open--)
		out->fields[out->count++] = (struct ps_protobuf_field){.kind = PS_PROTOBUF_END};
	return out->count;
}

uint32_t ps_protobuf_read(const char *data, size_t len, bool is_part, struct ps_protobuf_field *fields, uint32_t max)
{
	struct output out = {.fields = fields, .max = max};
	struct input in;

	if (len == 0)
		return 0;
	in = (struct input){(const uint8_t *)data, (const uint8_t *)data + len};
	if (!read_fields(&in, 0, 0, &out) && !is_part)
		return 0;
	return close_all(&out);
}
