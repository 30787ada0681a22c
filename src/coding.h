/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Undoing one content or transfer coding (RFC 9110 8.4.1, RFC 7932, RFC 8878)
 * of the part of a body that is there.
 */
#ifndef PLAINSIGHT_CODING_H
#define PLAINSIGHT_CODING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum coding {
	CODING_UNKNOWN = 0,
	CODING_IDENTITY = 1,
	CODING_GZIP = 2,
	CODING_DEFLATE = 3, /* zlib format, or what some send in its place: raw */
	CODING_BROTLI = 4,
	CODING_ZSTD = 5
};

enum coding_state {
	CODING_COMPLETE = 0,  /* all is decoded */
	CODING_TRUNCATED = 1, /* the input ends before the coding does */
	CODING_LIMIT = 2,     /* stopped: more would come out than total_max */
	CODING_ERROR = 3      /* malformed from some point on, or no memory */
};

/* Memory that grows and is used again. */
struct coding_buffer {
	uint8_t *data;
	size_t cap;
};

/* Room for need bytes; what is there stays. False when memory is short. */
bool coding_buffer_grow(struct coding_buffer *buffer, size_t need);

/* Where decoded bytes go: the first kept_max into the buffer, up to total_max are counted. */
struct coding_output {
	struct coding_buffer *buffer;
	size_t kept_max;
	uint64_t total_max;
	uint64_t total;
};

/* Bytes that are decoded at once. */
enum { CODING_STEP = 16384 };

/* What the libraries need, made when first used and used again; all zero at first. Free with coding_free(). */
struct coding_tools {
	void *zlib; /* z_stream */
	void *zstd; /* ZSTD_DCtx */
	uint8_t spare[CODING_STEP];
};

/* What a name in Content-Encoding or Transfer-Encoding stands for, whatever its case. */
enum coding coding_by_name(const char *name, size_t len);

/* Decode len bytes, at least one, of a coding other than CODING_UNKNOWN and CODING_IDENTITY. output->total is 0 at
 * first. Whatever the result, the bytes that came out before it are in output. */
enum coding_state coding_undo(struct coding_tools *tools, enum coding coding, const uint8_t *data, size_t len,
			      struct coding_output *output);

/* How many of the bytes that came out are in the buffer. */
size_t coding_kept(const struct coding_output *output);

void coding_free(struct coding_tools *tools);

/* windowBits of inflateInit2(): the largest window, and which header to expect. */
enum { CODING_WINDOW_RAW = -15, CODING_WINDOW_ZLIB = 15, CODING_WINDOW_GZIP = 15 + 16 };

/* RFC 9659 3: an encoder for HTTP asks for no larger window than 8 MiB. */
enum { CODING_ZSTD_WINDOW_LOG_MAX = 23 };

/* Whether deflated data that begins so is in zlib format (RFC 1950 2.2); two bytes tell, one may not. */
bool coding_is_zlib(const uint8_t *data, size_t len);

#endif
