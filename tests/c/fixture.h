/* SPDX-License-Identifier: Apache-2.0 */
/* Reader of tests/fixtures/http1/ and http2/, and exchanges as the text that the fixtures expect. */
#ifndef PLAINSIGHT_FIXTURE_H
#define PLAINSIGHT_FIXTURE_H

#include "../../src/http_conn.h"
#include "frame_text.h"

#include <stdio.h>

enum { FIXTURE_OPS_MAX = 256, FIXTURE_FILES_MAX = 64 };

/* A growing string. */
struct text {
	char *data; /* NUL-terminated; NULL when empty */
	size_t len, cap;
};

void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

enum op_kind { OP_DATA, OP_GAP, OP_END, OP_UNBLOCK, OP_HELD, OP_FINISH };

struct op {
	enum op_kind kind;
	bool from_client;
	uint8_t *data; /* OP_DATA */
	size_t len;
	size_t pos;     /* of the first byte among all bytes of the case */
	uint64_t count; /* OP_GAP: bytes; OP_FINISH: flag */
};

struct fixture {
	const char *file;
	int line;
	char name[128];
	struct http_limits limits;
	bool midstream;
	bool whole_calls; /* where calls begin matters: not cut */
	bool show_headers, show_sizes, show_times;
	struct op ops[FIXTURE_OPS_MAX];
	size_t op_count;
	size_t byte_count;
	struct text expected;
};

struct fixture_file {
	FILE *file;
	char name[64];
	char title[128]; /* of the next case */
	int line;
	struct frame_carry carry[2]; /* [from_client] */
};

/* Opens every *.txt of a directory, sorted; exits when there is none. */
size_t fixture_files(const char *dir, struct fixture_file files[FIXTURE_FILES_MAX]);
void fixture_file_close(struct fixture_file *file);

/* The next case, or NULL. Exits with a message when the file is malformed. Free with fixture_free(). */
struct fixture *fixture_next(struct fixture_file *file);
void fixture_free(struct fixture *fixture);

/* What the fixtures expect of an item, and of a connection at its end. */
void text_item(struct text *text, const struct http_item *item, const struct fixture *fixture);
void text_state(struct text *text, const struct http_conn *conn);

#endif
