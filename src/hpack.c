/* SPDX-License-Identifier: Apache-2.0 */
/* See hpack.h. Section numbers are those of RFC 7541. */
#include "hpack.h"

#include <stdlib.h>
#include <string.h>

/* --- static table (Appendix A) --- */

static const struct {
	const char *name;
	const char *value;
} static_table[] = {
    {":authority", ""},
    {":method", "GET"},
    {":method", "POST"},
    {":path", "/"},
    {":path", "/index.html"},
    {":scheme", "http"},
    {":scheme", "https"},
    {":status", "200"},
    {":status", "204"},
    {":status", "206"},
    {":status", "304"},
    {":status", "400"},
    {":status", "404"},
    {":status", "500"},
    {"accept-charset", ""},
    {"accept-encoding", "gzip, deflate"},
    {"accept-language", ""},
    {"accept-ranges", ""},
    {"accept", ""},
    {"access-control-allow-origin", ""},
    {"age", ""},
    {"allow", ""},
    {"authorization", ""},
    {"cache-control", ""},
    {"content-disposition", ""},
    {"content-encoding", ""},
    {"content-language", ""},
    {"content-length", ""},
    {"content-location", ""},
    {"content-range", ""},
    {"content-type", ""},
    {"cookie", ""},
    {"date", ""},
    {"etag", ""},
    {"expect", ""},
    {"expires", ""},
    {"from", ""},
    {"host", ""},
    {"if-match", ""},
    {"if-modified-since", ""},
    {"if-none-match", ""},
    {"if-range", ""},
    {"if-unmodified-since", ""},
    {"last-modified", ""},
    {"link", ""},
    {"location", ""},
    {"max-forwards", ""},
    {"proxy-authenticate", ""},
    {"proxy-authorization", ""},
    {"range", ""},
    {"referer", ""},
    {"refresh", ""},
    {"retry-after", ""},
    {"server", ""},
    {"set-cookie", ""},
    {"strict-transport-security", ""},
    {"transfer-encoding", ""},
    {"user-agent", ""},
    {"vary", ""},
    {"via", ""},
    {"www-authenticate", ""},
};

enum { STATIC_COUNT = sizeof(static_table) / sizeof(static_table[0]) };

/* --- Huffman code (Appendix B) --- */

enum { HUFFMAN_EOS = 256 };

/* The code is canonical: codes of one length are consecutive numbers, in the order of their symbols. */
static const uint16_t huffman_symbols[] = {
    48,  49,  50,  97,  99,  101, 105, 111, 115, 116, 32,  37,  45,  46,  47,  51,  52,  53,  54,  55,  56,  57,
    61,  65,  95,  98,  100, 102, 103, 104, 108, 109, 110, 112, 114, 117, 58,  66,  67,  68,  69,  70,  71,  72,
    73,  74,  75,  76,  77,  78,  79,  80,  81,  82,  83,  84,  85,  86,  87,  89,  106, 107, 113, 118, 119, 120,
    121, 122, 38,  42,  44,  59,  88,  90,  33,  34,  40,  41,  63,  39,  43,  124, 35,  62,  0,   36,  64,  91,
    93,  126, 94,  125, 60,  96,  123, 92,  195, 208, 128, 130, 131, 162, 184, 194, 224, 226, 153, 161, 167, 172,
    176, 177, 179, 209, 216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170,
    173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232, 233, 1,   135, 137, 138, 139, 140, 141, 143, 147,
    149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180, 182, 183, 188, 191, 197, 231, 239, 9,   142,
    144, 145, 148, 159, 171, 206, 215, 225, 236, 237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205, 210, 213,
    218, 219, 238, 240, 242, 243, 255, 203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250,
    251, 252, 253, 254, 2,   3,   4,   5,   6,   7,   8,   11,  12,  14,  15,  16,  17,  18,  19,  20,  21,  23,
    24,  25,  26,  27,  28,  29,  30,  31,  127, 220, 249, 10,  13,  22,  256};

static const struct huffman_class {
	uint8_t bits;
	uint8_t offset; /* of its first symbol in huffman_symbols */
	uint32_t first; /* its first code */
} huffman_classes[] = {{5, 0, 0x0},          {6, 10, 0x14},        {7, 36, 0x5c},        {8, 68, 0xf8},
		       {10, 74, 0x3f8},      {11, 79, 0x7fa},      {12, 82, 0xffa},      {13, 84, 0x1ff8},
		       {14, 90, 0x3ffc},     {15, 92, 0x7ffc},     {19, 95, 0x7fff0},    {20, 98, 0xfffe6},
		       {21, 106, 0x1fffdc},  {22, 119, 0x3fffd2},  {23, 145, 0x7fffd8},  {24, 174, 0xffffea},
		       {25, 186, 0x1ffffec}, {26, 190, 0x3ffffe0}, {27, 205, 0x7ffffde}, {28, 224, 0xfffffe2},
		       {30, 253, 0x3ffffffc}};

enum { HUFFMAN_CLASSES = sizeof(huffman_classes) / sizeof(huffman_classes[0]) };

/* The class of the code that the window, 32 bits from the highest one on, begins with. */
static const struct huffman_class *huffman_class(uint64_t window)
{
	const struct huffman_class *class = huffman_classes;

	/* left-aligned, every code of a class is below the first code of the next one */
	while (class < huffman_classes + HUFFMAN_CLASSES - 1 && window >= (uint64_t) class[1].first
									      << (32 - class[1].bits))
		class ++;
	return class;
}

/* Returns the end of the text, or NULL when the code is broken (5.2). out has room for 8/5 of len. */
static char *huffman_decode(const uint8_t *data, size_t len, char *out)
{
	const uint8_t *end = data + len;
	uint64_t bits = 0; /* not decoded yet, from the highest one on; ones, the beginning of EOS, follow them */
	unsigned int count = 0;

	for (;;) {
		const struct huffman_class *class;
		uint64_t window;
		uint16_t symbol;

		while (count <= 56 && data < end) {
			bits |= (uint64_t)*data++ << (56 - count);
			count += 8;
		}
		window = bits >> 32 | (count < 32 ? UINT32_MAX >> count : 0);
		class = huffman_class(window);
		if (class->bits > count) /* padding: less than a byte of ones */
			return count < 8 && window == UINT32_MAX ? out : NULL;
		symbol = huffman_symbols[class->offset + (window >> (32 - class->bits)) - class->first];
		if (symbol == HUFFMAN_EOS)
			return NULL;
		*out++ = (char)symbol;
		bits <<= class->bits;
		count -= class->bits;
	}
}

/* --- dynamic table (2.3.2, 4) --- */

struct hpack_entry {
	uint32_t name_len;
	uint32_t value_len;
	uint32_t flags; /* enum ps_header_flags */
	char text[];    /* name, then value */
};

enum { RING_FIRST = 16 };

static size_t entry_bytes(const struct hpack_entry *entry)
{
	return (size_t)HPACK_ENTRY_BYTES + entry->name_len + entry->value_len;
}

static struct hpack_entry **entry_at(const struct hpack_decoder *decoder, uint32_t index)
{
	return &decoder->ring[(decoder->newest + index) & (decoder->ring_len - 1)];
}

static struct ps_slice slice_of(const char *data, size_t len)
{
	return (struct ps_slice){.data = len ? data : NULL, .len = len};
}

static void entry_field(const struct hpack_entry *entry, struct ps_header *field)
{
	field->name = slice_of(entry->text, entry->name_len);
	field->value = slice_of(entry->text + entry->name_len, entry->value_len);
	field->flags = entry->flags;
}

/* Evict from the oldest on until no more than so many bytes are left (4.3, 4.4). */
static void evict(struct hpack_decoder *decoder, size_t bytes)
{
	while (decoder->count > 0 && decoder->bytes > bytes) {
		struct hpack_entry **oldest = entry_at(decoder, decoder->count - 1);

		decoder->bytes -= entry_bytes(*oldest);
		decoder->count--;
		free(*oldest);
		*oldest = NULL;
		if (decoder->is_too_large)
			decoder->is_complete = false;
	}
}

static void forget_last(struct hpack_decoder *decoder)
{
	free(decoder->last);
	decoder->last = NULL;
}

void hpack_init(struct hpack_decoder *decoder, bool is_complete)
{
	*decoder = (struct hpack_decoder){.is_complete = is_complete,
					  .is_too_large = !is_complete,
					  .bytes_max = is_complete ? HPACK_TABLE_DEFAULT : HPACK_TABLE_MAX};
}

void hpack_fini(struct hpack_decoder *decoder)
{
	evict(decoder, 0);
	hpack_end(decoder);
	free(decoder->ring);
	decoder->ring = NULL;
	decoder->ring_len = 0;
}

void hpack_forget(struct hpack_decoder *decoder)
{
	evict(decoder, 0);
	decoder->is_complete = false;
	/* how large the encoder's table is may be among what was lost; to keep too much does no harm */
	decoder->is_too_large = true;
	decoder->bytes_max = HPACK_TABLE_MAX;
}

size_t hpack_memory(const struct hpack_decoder *decoder)
{
	/* an entry's own header is smaller than what HPACK counts for it */
	return decoder->bytes + decoder->ring_len * sizeof(struct hpack_entry *);
}

static bool ring_grow(struct hpack_decoder *decoder)
{
	uint32_t len = decoder->ring_len ? decoder->ring_len * 2 : RING_FIRST;
	struct hpack_entry **ring = calloc(len, sizeof(struct hpack_entry *));

	if (ring == NULL)
		return false;
	for (uint32_t i = 0; i < decoder->count; i++)
		ring[i] = *entry_at(decoder, i);
	free(decoder->ring);
	decoder->ring = ring;
	decoder->ring_len = len;
	decoder->newest = 0;
	return true;
}

/* Add the field to the table, copied; its slices then point into the copy. False when memory is short. */
static bool insert(struct hpack_decoder *decoder, struct ps_header *field)
{
	struct hpack_entry *entry = malloc(sizeof(*entry) + field->name.len + field->value.len);

	if (entry == NULL)
		return false;
	entry->name_len = (uint32_t)field->name.len;
	entry->value_len = (uint32_t)field->value.len;
	entry->flags = field->flags;
	if (field->name.len > 0)
		memcpy(entry->text, field->name.data, field->name.len);
	if (field->value.len > 0)
		memcpy(entry->text + field->name.len, field->value.data, field->value.len);
	entry_field(entry, field); /* the name may be that of an entry which goes now (4.4) */
	if (entry_bytes(entry) > decoder->bytes_max) {
		evict(decoder, 0);
		decoder->last = entry;
		return true;
	}
	evict(decoder, decoder->bytes_max - entry_bytes(entry));
	if (decoder->count == decoder->ring_len && !ring_grow(decoder)) {
		free(entry);
		return false;
	}
	decoder->newest = (decoder->newest - 1) & (decoder->ring_len - 1);
	decoder->count++;
	decoder->bytes += entry_bytes(entry);
	*entry_at(decoder, 0) = entry;
	return true;
}

/* Index address space (2.3.3). Returns false when there is no such entry. */
static bool look_up(const struct hpack_decoder *decoder, uint32_t index, struct ps_header *field)
{
	if (index == 0)
		return false;
	if (index <= STATIC_COUNT) {
		const char *name = static_table[index - 1].name, *value = static_table[index - 1].value;

		*field =
		    (struct ps_header){.name = slice_of(name, strlen(name)), .value = slice_of(value, strlen(value))};
		return true;
	}
	*field = (struct ps_header){.flags = PS_HEADER_NAME_UNKNOWN | PS_HEADER_VALUE_UNKNOWN};
	index -= STATIC_COUNT + 1;
	if (index >= decoder->count)
		return !decoder->is_complete;
	entry_field(*entry_at(decoder, index), field);
	return true;
}

/* --- representations (5, 6) --- */

/* 5.1: an integer with a prefix of so many bits. Ones that do not fit into 32 bits are refused. */
static bool read_integer(struct hpack_decoder *decoder, unsigned int prefix_bits, uint32_t *value)
{
	uint32_t prefix_max = (1U << prefix_bits) - 1;
	uint64_t sum;

	if (decoder->at == decoder->end)
		return false;
	sum = *decoder->at++ & prefix_max;
	for (unsigned int shift = 0; sum >= prefix_max; shift += 7) {
		uint8_t byte;

		if (decoder->at == decoder->end || shift > 28)
			return false;
		byte = *decoder->at++;
		sum += (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			break;
	}
	*value = (uint32_t)sum;
	return sum <= UINT32_MAX;
}

/* The part of the scratch that is free: room for all that the rest of the block can hold. */
static char *scratch(struct hpack_decoder *decoder)
{
	/* the shortest code has 5 bits */
	size_t room = (size_t)(decoder->end - decoder->at) / 5 * 8 + 8;

	if (decoder->scratch == NULL)
		decoder->scratch = malloc(room);
	return decoder->scratch ? decoder->scratch + decoder->scratch_len : NULL;
}

/* 5.2 */
static bool read_string(struct hpack_decoder *decoder, struct ps_slice *text)
{
	bool is_huffman = decoder->at < decoder->end && (*decoder->at & 0x80);
	const uint8_t *data;
	char *out, *out_end;
	uint32_t len;

	if (!read_integer(decoder, 7, &len) || len > (size_t)(decoder->end - decoder->at))
		return false;
	data = decoder->at;
	if (!is_huffman) {
		decoder->at += len;
		*text = slice_of((const char *)data, len);
		return true;
	}
	out = scratch(decoder);
	decoder->at += len;
	out_end = out ? huffman_decode(data, len, out) : NULL;
	if (out_end == NULL)
		return false;
	decoder->scratch_len += (size_t)(out_end - out);
	*text = slice_of(out, (size_t)(out_end - out));
	return true;
}

/* 6.2: the name by index or as text, the value as text. */
static bool read_literal(struct hpack_decoder *decoder, unsigned int prefix_bits, struct ps_header *field)
{
	uint32_t index;

	*field = (struct ps_header){.flags = 0};
	if (!read_integer(decoder, prefix_bits, &index))
		return false;
	if (index == 0 ? !read_string(decoder, &field->name) : !look_up(decoder, index, field))
		return false;
	field->flags &= PS_HEADER_NAME_UNKNOWN;
	return read_string(decoder, &field->value);
}

/* 6.3 */
static bool read_size_update(struct hpack_decoder *decoder)
{
	uint32_t size;

	if (!read_integer(decoder, 5, &size))
		return false;
	decoder->is_too_large = size > HPACK_TABLE_MAX;
	decoder->bytes_max = size < HPACK_TABLE_MAX ? size : HPACK_TABLE_MAX;
	evict(decoder, decoder->bytes_max);
	return true;
}

static bool read_field(struct hpack_decoder *decoder, struct ps_header *field)
{
	uint8_t first = *decoder->at;
	uint32_t index;

	if (first & 0x80) /* 6.1: indexed field */
		return read_integer(decoder, 7, &index) && look_up(decoder, index, field);
	if (first & 0x40) /* 6.2.1: literal, to be added to the table */
		return read_literal(decoder, 6, field) && insert(decoder, field);
	return read_literal(decoder, 4, field); /* 6.2.2, 6.2.3 */
}

void hpack_begin(struct hpack_decoder *decoder, const uint8_t *block, size_t len)
{
	decoder->at = block;
	decoder->end = len > 0 ? block + len : block; /* an empty block may be NULL */
}

enum hpack_result hpack_next(struct hpack_decoder *decoder, struct ps_header *field)
{
	bool is_sound = true;

	forget_last(decoder);
	while (is_sound && decoder->at < decoder->end && (*decoder->at & 0xe0) == 0x20)
		is_sound = read_size_update(decoder);
	if (is_sound && decoder->at == decoder->end)
		return HPACK_END;
	if (is_sound && read_field(decoder, field))
		return HPACK_FIELD;
	decoder->at = decoder->end;
	hpack_forget(decoder);
	return HPACK_ERROR;
}

void hpack_end(struct hpack_decoder *decoder)
{
	forget_last(decoder);
	free(decoder->scratch);
	decoder->scratch = NULL;
	decoder->scratch_len = 0;
	decoder->at = decoder->end = NULL;
}
