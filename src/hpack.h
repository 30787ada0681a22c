/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header compression of HTTP/2 (HPACK, RFC 7541): one decoder for each
 * direction of a connection.
 *
 * Unlike the decoder of an endpoint it goes on when the dynamic table is not
 * known as a whole: when the connection was met in its middle or a header block
 * was lost. Indexes count from the newest entry (2.3.3), so what was added since
 * is known by the same index whatever came before, and an index beyond it is an
 * entry that is unknown: its name and value are marked, not guessed. That is why
 * this is no wrapper of nghttp2, whose decoder ends the connection there; the
 * tests hold the two against each other.
 */
#ifndef PLAINSIGHT_HPACK_H
#define PLAINSIGHT_HPACK_H

#include "plainsight.h"

enum {
	HPACK_TABLE_DEFAULT = 4096, /* bytes in use until the encoder says otherwise (RFC 9113 6.5.2) */
	HPACK_TABLE_MAX = 65536,    /* of larger tables the oldest entries are forgotten: unknown when referred to */
	HPACK_ENTRY_BYTES = 32      /* that an entry counts besides its text (RFC 7541 4.1) */
};

struct hpack_entry;

/* Make it with hpack_init(). The members are private. */
struct hpack_decoder {
	struct hpack_entry **ring; /* the newest at `newest`, older ones after it */
	uint32_t ring_len;         /* 0 or a power of two */
	uint32_t newest;
	uint32_t count;
	size_t bytes;      /* size of the entries (4.1), less the names that are unknown */
	size_t bytes_max;  /* that the encoder uses, at most HPACK_TABLE_MAX */
	bool is_complete;  /* no entry is missing: an index beyond the table is an error of the encoder */
	bool is_too_large; /* the encoder's table may be larger than HPACK_TABLE_MAX */
	const uint8_t *at; /* the block being read */
	const uint8_t *end;
	char *scratch; /* strings of the block that were Huffman-coded; allocated when the first one comes */
	size_t scratch_len;
	struct hpack_entry *last; /* added last but already evicted: the field points into it */
};

/* is_complete: from the first byte of the connection on; else the table is unknown. */
void hpack_init(struct hpack_decoder *decoder, bool is_complete);
void hpack_fini(struct hpack_decoder *decoder);

/* A header block was lost: forget the table. */
void hpack_forget(struct hpack_decoder *decoder);

/* Heap bytes held. */
size_t hpack_memory(const struct hpack_decoder *decoder);

enum hpack_result {
	HPACK_FIELD,
	HPACK_END,  /* the block is used up */
	HPACK_ERROR /* the block breaks RFC 7541, or memory is short: the table is unknown from here on */
};

/* A whole header block of len bytes, which stays the caller's and must stay until hpack_end(). */
void hpack_begin(struct hpack_decoder *decoder, const uint8_t *block, size_t len);

/* The next field. Its slices are valid until the next call; flags says which of them are unknown. */
enum hpack_result hpack_next(struct hpack_decoder *decoder, struct ps_header *field);

/* Done with the block. */
void hpack_end(struct hpack_decoder *decoder);

#endif
