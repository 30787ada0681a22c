/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Items as bytes: what a recording of items holds in place of events (docs/recording.md).
 *
 * Numbers are little-endian, a slice is its length (32 bits) and its bytes; all in the order of the structs in
 * plainsight.h.
 */
#ifndef PLAINSIGHT_RECORDED_ITEM_H
#define PLAINSIGHT_RECORDED_ITEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plainsight.h"

/* The most that an item may take. */
enum { RECORDED_ITEM_MAX = 256 * 1024 * 1024 };

/* Bytes that grow. Zero: none yet. */
struct item_bytes {
	uint8_t *data;
	size_t len;
	size_t room;
	bool is_short; /* of memory, or beyond RECORDED_ITEM_MAX: what is in it is not whole */
};

void item_bytes_free(struct item_bytes *bytes);

/* Append len bytes. */
void item_bytes_put(struct item_bytes *bytes, const void *data, size_t len);

/* Append an item; is_short of bytes tells whether it is there. */
void recorded_item_write(struct item_bytes *bytes, const struct ps_item *item);

/* An item that was read, and what it points to but for the bytes that it was read from. */
struct recorded_item {
	struct ps_item item;
	struct ps_exchange exchange;
	struct ps_stream_message message;
	struct ps_tls_info tls;
	struct ps_header *headers; /* of both messages, trailers too */
	size_t header_room;
};

void recorded_item_free(struct recorded_item *recorded);

/*
 * Read an item, which is valid as long as data and until the next call. Returns false when the bytes are no item, of
 * which nothing is believed, or memory is short.
 */
bool recorded_item_read(struct recorded_item *recorded, const uint8_t *data, size_t len);

#endif
