/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns the text cases into inputs of fuzz_http.c, one file each, and of
 * fuzz_http1_diff.c, one file for each direction.
 * Usage: make_corpus FIXTURE_DIR CORPUS_DIR [HTTP1_DIFF_DIR]
 */
#include "../c/fixture.h"

#include <stdlib.h>

enum { INPUT_MAX = 4096 }; /* larger cases slow the fuzzer down */

static void put_number(FILE *out, size_t number)
{
	fputc((int)(number >> 8 & 0xff), out);
	fputc((int)(number & 0xff), out);
}

static void put_op(FILE *out, const struct op *op)
{
	int direction = op->from_client ? 0 : 8;

	switch (op->kind) {
	case OP_DATA:
		fputc(direction, out);
		put_number(out, op->len);
		fwrite(op->data, 1, op->len, out);
		break;
	case OP_GAP:
		fputc(4 | direction, out);
		put_number(out, op->count);
		break;
	case OP_END:
		fputc(5 | direction, out);
		break;
	case OP_UNBLOCK:
		fputc(6, out);
		break;
	case OP_FINISH:
		fputc(7, out);
		break;
	case OP_HELD:
		break;
	}
}

static FILE *create(const char *dir, const struct fixture *fixture, int index, const char *suffix)
{
	char path[4096];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%.2s-%03d%s", dir, fixture->file, index, suffix);
	out = fopen(path, "wb");
	if (out == NULL) {
		perror(path);
		exit(2);
	}
	return out;
}

static void put_fixture(const char *dir, const struct fixture *fixture, int index)
{
	FILE *out = create(dir, fixture, index, "");

	fputc((fixture->midstream ? 1 : 0) | (fixture->limits.head_bytes_max < 4096 ? 2 : 0), out);
	for (size_t i = 0; i < fixture->op_count; i++)
		put_op(out, &fixture->ops[i]);
	fclose(out);
}

/* What moved in one direction, calls and gaps forgotten. */
static void put_direction(const char *dir, const struct fixture *fixture, int index, bool from_client)
{
	FILE *out = create(dir, fixture, index, from_client ? "-requests" : "-responses");

	fputc(from_client ? 'Q' : 'R', out);
	for (size_t i = 0; i < fixture->op_count; i++)
		if (fixture->ops[i].kind == OP_DATA && fixture->ops[i].from_client == from_client)
			fwrite(fixture->ops[i].data, 1, fixture->ops[i].len, out);
	fclose(out);
}

int main(int argc, char **argv)
{
	struct fixture_file files[FIXTURE_FILES_MAX];
	size_t count;

	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: %s FIXTURE_DIR CORPUS_DIR [HTTP1_DIFF_DIR]\n", argv[0]);
		return 2;
	}
	count = fixture_files(argv[1], files);
	for (size_t i = 0; i < count; i++) {
		struct fixture *fixture;

		for (int index = 1; (fixture = fixture_next(&files[i])) != NULL; index++) {
			if (fixture->byte_count <= INPUT_MAX) {
				put_fixture(argv[2], fixture, index);
				if (argc == 4) {
					put_direction(argv[3], fixture, index, true);
					put_direction(argv[3], fixture, index, false);
				}
			}
			fixture_free(fixture);
		}
		fixture_file_close(&files[i]);
	}
	return 0;
}
