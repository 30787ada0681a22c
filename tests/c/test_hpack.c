/* SPDX-License-Identifier: Apache-2.0 */
/*
 * src/hpack.c against what others encode: the vectors of tests/fixtures/hpack/
 * (made by its script `make`), and nghttp2 here. Each connection is also read
 * from every later block on: what is claimed to be known then must be right.
 */
#include "../../src/hpack.h"
#include "tap.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS_MAX = 64, FIELDS_MAX = 64, LINE_BYTES = 32768 };

struct block {
	uint8_t *data;
	size_t len;
	char *fields[FIELDS_MAX]; /* "name: value" */
	size_t count;
};

struct connection {
	struct block blocks[BLOCKS_MAX];
	size_t count;
};

/* --- vectors --- */

static struct block *block_add(struct connection *connection, const char *hex)
{
	struct block *block = &connection->blocks[connection->count++];
	size_t len = strlen(hex) / 2;

	block->data = malloc(len + 1);
	for (size_t i = 0; i < len; i++) {
		unsigned int byte = 0;

		sscanf(hex + 2 * i, "%2x", &byte);
		block->data[i] = (uint8_t)byte;
	}
	block->len = len;
	return block;
}

static struct connection *connection_read(const char *path)
{
	static char line[LINE_BYTES];
	struct connection *connection = calloc(1, sizeof(*connection));
	struct block *block = NULL;
	FILE *file = fopen(path, "r");

	if (file == NULL || connection == NULL) {
		perror(path);
		exit(2);
	}
	while (fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "block ", 6) == 0)
			block = block_add(connection, line + 6);
		else if (block != NULL)
			block->fields[block->count++] = strdup(line);
	}
	fclose(file);
	return connection;
}

static void connection_free(struct connection *connection)
{
	for (size_t i = 0; i < connection->count; i++) {
		for (size_t j = 0; j < connection->blocks[i].count; j++)
			free(connection->blocks[i].fields[j]);
		free(connection->blocks[i].data);
	}
	free(connection);
}

/* Is the field that of the line, as far as it claims to be known? */
static bool field_fits(const struct ps_header *field, const char *line)
{
	const char *colon = strstr(line + 1, ": ");
	size_t name_len = (size_t)(colon - line), value_len = strlen(colon + 2);
	bool name = field->name.len == name_len && memcmp(field->name.data, line, name_len) == 0;
	bool value =
	    field->value.len == value_len && (value_len == 0 || memcmp(field->value.data, colon + 2, value_len) == 0);

	return (name || (field->flags & PS_HEADER_NAME_UNKNOWN)) && (value || (field->flags & PS_HEADER_VALUE_UNKNOWN));
}

/* Counts unknown fields to *unknown. */
static bool block_fits(struct hpack_decoder *decoder, const struct block *block, size_t *unknown)
{
	enum hpack_result result;
	struct ps_header field;
	bool fits = true;
	size_t count = 0;

	hpack_begin(decoder, block->data, block->len);
	while ((result = hpack_next(decoder, &field)) == HPACK_FIELD) {
		fits = fits && count < block->count && field_fits(&field, block->fields[count]);
		*unknown += field.flags != 0;
		count++;
	}
	hpack_end(decoder);
	return fits && result == HPACK_END && count == block->count;
}

/* Read from block `first` on. */
static bool connection_fits(const struct connection *connection, size_t first, size_t *unknown)
{
	struct hpack_decoder decoder;
	bool fits = true;

	hpack_init(&decoder, first == 0);
	for (size_t i = first; i < connection->count; i++) {
		bool block = block_fits(&decoder, &connection->blocks[i], unknown);

		if (!block)
			printf("# block %zu, read from block %zu on\n", i, first);
		fits = fits && block;
	}
	hpack_fini(&decoder);
	return fits;
}

static void test_vectors(const char *name)
{
	char path[4096], title[256];
	struct connection *connection;
	size_t unknown = 0, late_unknown = 0;
	bool late = true;

	snprintf(path, sizeof(path), "%s/hpack/%s.txt", PS_FIXTURES, name);
	connection = connection_read(path);
	snprintf(title, sizeof(title), "%s: %zu blocks", name, connection->count);
	tap_ok(connection_fits(connection, 0, &unknown) && unknown == 0 && connection->count >= 6, title);
	for (size_t first = 1; first < connection->count; first++)
		late = connection_fits(connection, first, &late_unknown) && late;
	snprintf(title, sizeof(title), "%s: read from a later block on, unknown fields are marked", name);
	tap_ok(late && late_unknown > 0, title);
	connection_free(connection);
}

/* --- Huffman code --- */

static void test_every_byte(void)
{
	uint8_t value[256], block[2048];
	nghttp2_nv nv = {(uint8_t *)"every", value, 5, sizeof(value), NGHTTP2_NV_FLAG_NONE};
	nghttp2_hd_deflater *deflater;
	struct hpack_decoder decoder;
	struct ps_header field;
	bool right = nghttp2_hd_deflate_new(&deflater, 4096) == 0;

	/* the shorter codes repeated, so that Huffman coding is worth while */
	for (int high = 0; right && high < 256; high++) {
		ssize_t len;

		memset(value, 'e', sizeof(value));
		value[high % 200] = (uint8_t)high;
		len = nghttp2_hd_deflate_hd(deflater, block, sizeof(block), &nv, 1);
		right = len > 0 && len < 250;
		hpack_init(&decoder, false);
		hpack_begin(&decoder, block, (size_t)len);
		right = right && hpack_next(&decoder, &field) == HPACK_FIELD && field.value.len == sizeof(value) &&
			memcmp(field.value.data, value, sizeof(value)) == 0;
		hpack_end(&decoder);
		hpack_fini(&decoder);
	}
	tap_ok(right, "Huffman: every byte as nghttp2 encodes it");
	nghttp2_hd_deflate_del(deflater);
}

static enum hpack_result first_result(const char *block, size_t len)
{
	struct hpack_decoder decoder;
	struct ps_header field;
	enum hpack_result result;

	hpack_init(&decoder, true);
	hpack_begin(&decoder, (const uint8_t *)block, len);
	result = hpack_next(&decoder, &field);
	hpack_end(&decoder);
	hpack_fini(&decoder);
	return result;
}

#define RESULT(block) first_result(block, sizeof(block) - 1)

static void test_errors(void)
{
	tap_ok(RESULT("") == HPACK_END, "an empty block");
	tap_ok(RESULT("\x00\x81\x07\x00") == HPACK_FIELD, "Huffman: padding of three ones");
	tap_ok(RESULT("\x00\x81\x00\x00") == HPACK_ERROR, "Huffman: padding that is not ones");
	tap_ok(RESULT("\x00\x82\x07\xff\x00") == HPACK_ERROR, "Huffman: padding of more than seven bits");
	tap_ok(RESULT("\x00\x84\xff\xff\xff\xff\x00") == HPACK_ERROR, "Huffman: EOS");
	tap_ok(RESULT("\x80") == HPACK_ERROR, "index 0");
	tap_ok(RESULT("\xbe") == HPACK_ERROR, "an index beyond the table");
	tap_ok(RESULT("\xff\x80\x80\x80\x80\x80\x01") == HPACK_ERROR, "an integer of more than 32 bits");
	tap_ok(RESULT("\xff\xff\xff\xff\xff\x7f") == HPACK_ERROR, "an integer over 2^32");
	tap_ok(RESULT("\x00\x05name") == HPACK_ERROR, "a string that ends with the block");
	tap_ok(RESULT("\x3f\xff\xff\xff\xff\x7f") == HPACK_ERROR, "a size over 2^32");
	tap_ok(RESULT("\x20\x3f\xe1\x1f\x82") == HPACK_FIELD, "two changes of the size, then a field");
}

/* --- the table --- */

static void put_literal(struct hpack_decoder *decoder, size_t value_len)
{
	static uint8_t block[70000];
	struct ps_header field;

	memset(block, 'v', sizeof(block));
	block[0] = 0x40;
	block[1] = 1;
	block[2] = 'k';
	block[3] = 0x7f; /* RFC 7541 5.1 */
	value_len -= 127;
	block[4] = (uint8_t)(value_len % 128 | 128);
	block[5] = (uint8_t)(value_len / 128 % 128 | 128);
	block[6] = (uint8_t)(value_len / 16384);
	hpack_begin(decoder, block, 7 + value_len + 127);
	while (hpack_next(decoder, &field) == HPACK_FIELD)
		;
	hpack_end(decoder);
}

static uint32_t flags_at(struct hpack_decoder *decoder, uint8_t index, enum hpack_result *result)
{
	uint8_t block = (uint8_t)(0x80 | (61 + index));
	struct ps_header field = {.flags = 0};

	hpack_begin(decoder, &block, 1);
	*result = hpack_next(decoder, &field);
	hpack_end(decoder);
	return field.flags;
}

static void test_table(void)
{
	const uint8_t large[] = {0x3f, 0xe1, 0xff, 0xff, 0x03}; /* size 8 MiB and more */
	struct hpack_decoder decoder;
	struct ps_header field;
	enum hpack_result result;

	hpack_init(&decoder, true);
	put_literal(&decoder, 4000);
	tap_ok(flags_at(&decoder, 1, &result) == 0 && result == HPACK_FIELD, "an entry that fits");
	put_literal(&decoder, 4096);
	tap_ok(decoder.count == 0 && hpack_memory(&decoder) < 1024, "one that is larger than the table empties it");
	hpack_begin(&decoder, large, sizeof(large));
	result = hpack_next(&decoder, &field);
	hpack_end(&decoder);
	for (int i = 0; i < 100; i++)
		put_literal(&decoder, 5000);
	tap_ok(result == HPACK_END && decoder.bytes <= HPACK_TABLE_MAX, "of a large table 64 KiB are kept");
	tap_ok(flags_at(&decoder, 1, &result) == 0 && result == HPACK_FIELD, "the newest entry is known");
	tap_ok(flags_at(&decoder, 60, &result) == 3 && result == HPACK_FIELD, "an older one is unknown, not wrong");
	hpack_forget(&decoder);
	put_literal(&decoder, 200);
	tap_ok(flags_at(&decoder, 1, &result) == 0 && flags_at(&decoder, 2, &result) == 3,
	       "after a loss, what is added is known and what was there is not");
	hpack_fini(&decoder);
}

int main(void)
{
	test_vectors("nghttp2");
	test_vectors("node");
	test_vectors("python-huffman");
	test_vectors("python-plain");
	test_every_byte();
	test_errors();
	test_table();
	return tap_end();
}
