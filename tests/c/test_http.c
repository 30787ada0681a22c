/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the cases of tests/fixtures/http1/ and http2/ (format: ../fixtures/README.md).
 *
 * Each case is fed whole, cut in two at every byte, and byte by byte, once as
 * the server and once as the client; what comes out must be the same. Every
 * piece lies right before an unmapped page, so reading past it crashes.
 */
#include "fixture.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { HTTP2_RESTS = 1280, GUARDED_MAX = 1 << 20, LARGE_CASE = 20000, LARGE_STRIDE = 997 };

static uint8_t *guard_end; /* the first byte that must not be read */

static void guard_map(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *map = mmap(NULL, GUARDED_MAX + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED || mprotect(map + GUARDED_MAX, page, PROT_NONE) != 0) {
		perror("guard page");
		exit(2);
	}
	guard_end = map + GUARDED_MAX;
}

/* How the bytes of a case are cut into calls. */
struct cut {
	size_t at;   /* position in all bytes of the case; SIZE_MAX: nowhere */
	bool single; /* every byte on its own */
};

/* What one direction has to do and has not done, because the parser waits for the other one. */
struct backlog {
	size_t ops[FIXTURE_OPS_MAX];
	size_t first, count;
	size_t offset; /* in the first one */
};

struct run {
	const struct fixture *fixture;
	struct cut cut;
	bool as_client; /* the traced process is the client */
	struct http_conn *conn;
	struct backlog backlog[2]; /* [from_client] */
	uint64_t fed;
	bool broken; /* an invariant did not hold */
	struct text out;
};

static int direction_of(const struct run *run, bool from_client)
{
	return from_client == run->as_client ? PS_OUT : PS_IN;
}

static void run_check(struct run *run)
{
	struct http_stats s = http_conn_stats(run->conn);

	if (s.message_bytes + s.tunnel_bytes + s.skipped_bytes + s.gap_bytes != run->fed) {
		text_add(&run->out, "INVARIANT message %ju tunnel %ju skipped %ju gap %ju, fed %ju\n",
			 (uintmax_t)s.message_bytes, (uintmax_t)s.tunnel_bytes, (uintmax_t)s.skipped_bytes,
			 (uintmax_t)s.gap_bytes, (uintmax_t)run->fed);
		run->broken = true;
	}
}

static void run_drain(struct run *run)
{
	struct http_item item;

	run_check(run);
	while ((item = http_conn_next(run->conn)).exchange != NULL) {
		if ((item.exchange->side == PS_SIDE_CLIENT) != run->as_client) {
			text_add(&run->out, "WRONG SIDE\n");
			run->broken = true;
		}
		text_item(&run->out, &item, run->fixture);
	}
}

/* One call of at most len bytes; returns what was taken. */
static size_t feed_piece(struct run *run, size_t index, size_t offset, size_t len)
{
	const struct op *op = &run->fixture->ops[index];
	struct ps_process process = {.tgid = 100 + (uint32_t)index};
	struct http_context ctx = {.ts_ns = 1000 + index, .process = &process};
	uint8_t *place = guard_end - len;
	size_t taken;

	memcpy(place, op->data + offset, len);
	taken = http_conn_data(run->conn, direction_of(run, op->from_client), &ctx, place, len);
	memset(place, 0xee, len); /* nobody may look at it any more */
	run->fed += taken;
	run_drain(run);
	return taken;
}

/* The next piece of a data operation that begins at offset. */
static size_t piece_len(const struct run *run, const struct op *op, size_t offset)
{
	size_t left = op->len - offset;
	size_t pos = op->pos + offset;

	if (run->cut.single)
		return 1;
	if (run->cut.at > pos && run->cut.at < pos + left)
		return run->cut.at - pos;
	return left;
}

/* Do an operation from its offset on; false when the parser waits. */
static bool op_do(struct run *run, size_t index, size_t *offset)
{
	const struct op *op = &run->fixture->ops[index];
	struct http_context ctx = {.ts_ns = 1000 + index, .process = NULL};
	int direction = direction_of(run, op->from_client);

	switch (op->kind) {
	case OP_DATA:
		while (*offset < op->len) {
			size_t len = piece_len(run, op, *offset);
			size_t taken = feed_piece(run, index, *offset, len);

			*offset += taken;
			if (taken < len)
				return false;
		}
		break;
	case OP_GAP:
		http_conn_gap(run->conn, direction, &ctx, op->count);
		run->fed += op->count;
		break;
	case OP_END:
		http_conn_end(run->conn, direction, &ctx);
		break;
	default:
		break;
	}
	run_drain(run);
	return true;
}

/* Returns whether anything was done. */
static bool backlog_work(struct run *run, bool from_client)
{
	struct backlog *b = &run->backlog[from_client];
	bool worked = false;

	while (b->first < b->count) {
		size_t before = b->offset;

		if (!op_do(run, b->ops[b->first], &b->offset))
			return worked || b->offset > before;
		b->first++;
		b->offset = 0;
		worked = true;
	}
	return worked;
}

static void backlogs_work(struct run *run)
{
	bool worked = true;

	while (worked) {
		worked = backlog_work(run, false);
		worked = backlog_work(run, true) || worked;
	}
}

static const char *held_by(const struct run *run)
{
	bool client = run->backlog[true].first < run->backlog[true].count;
	bool server = run->backlog[false].first < run->backlog[false].count;

	if (client && server)
		return "both";
	return client ? ">" : server ? "<" : "none";
}

static void op_run(struct run *run, size_t index)
{
	const struct op *op = &run->fixture->ops[index];
	struct backlog *b = &run->backlog[op->from_client];

	switch (op->kind) {
	case OP_UNBLOCK:
		http_conn_unblock(run->conn, true);
		break;
	case OP_HELD:
		text_add(&run->out, "held %s\n", held_by(run));
		break;
	case OP_FINISH:
		while (strcmp(held_by(run), "none") != 0) { /* the caller gives up waiting, as it would in life */
			http_conn_unblock(run->conn, true);
			backlogs_work(run);
		}
		http_conn_finish(run->conn, (uint32_t)op->count);
		break;
	default:
		b->ops[b->count++] = index;
		break;
	}
	run_drain(run);
	backlogs_work(run);
}

/* The outcome as text, to be freed by the caller. */
static struct text fixture_run(const struct fixture *fixture, struct cut cut, bool as_client, bool *broken)
{
	struct run *run = calloc(1, sizeof(*run));
	struct text out;
	size_t fresh;

	run->fixture = fixture;
	run->cut = cut;
	run->as_client = as_client;
	run->conn = http_conn_new(&fixture->limits, fixture->midstream);
	fresh = http_conn_memory(run->conn);
	for (size_t i = 0; i < fixture->op_count; i++)
		op_run(run, i);
	text_state(&run->out, run->conn);
	/* a reader of HTTP/2 that was made stays */
	if (http_conn_memory(run->conn) != fresh && http_conn_memory(run->conn) > fresh + HTTP2_RESTS) {
		text_add(&run->out, "MEMORY of a connection at rest: %zu instead of %zu\n", http_conn_memory(run->conn),
			 fresh);
		run->broken = true;
	}
	http_conn_free(run->conn);
	*broken |= run->broken;
	out = run->out;
	free(run);
	return out;
}

static void print_block(const char *title, const char *block)
{
	printf("# %s\n", title);
	for (const char *line = block; *line != '\0';) {
		size_t len = strcspn(line, "\n");

		printf("#   %.*s\n", (int)len, line);
		line += len + (line[len] == '\n');
	}
}

static bool run_matches(const struct fixture *fixture, struct cut cut, bool as_client)
{
	bool broken = false;
	struct text out = fixture_run(fixture, cut, as_client, &broken);
	bool same = strcmp(out.data, fixture->expected.data) == 0;

	if (!same || broken) {
		printf("# %s, line %d of %s, as %s, %s %zd\n", fixture->name, fixture->line, fixture->file,
		       as_client ? "client" : "server", cut.single ? "byte by byte" : "cut at", (ssize_t)cut.at);
		print_block("expected", fixture->expected.data);
		print_block("got", out.data);
	}
	free(out.data);
	return same && !broken;
}

static bool fixture_passes(const struct fixture *fixture)
{
	size_t stride = fixture->byte_count > LARGE_CASE ? LARGE_STRIDE : 1;

	for (int as_client = 0; as_client < 2; as_client++) {
		if (!run_matches(fixture, (struct cut){.at = SIZE_MAX}, as_client))
			return false;
		if (fixture->whole_calls)
			continue;
		if (!run_matches(fixture, (struct cut){.at = SIZE_MAX, .single = true}, as_client))
			return false;
		for (size_t at = 1; at < fixture->byte_count; at += stride)
			if (!run_matches(fixture, (struct cut){.at = at}, as_client))
				return false;
	}
	return true;
}

static void run_directory(const char *dir)
{
	struct fixture_file files[FIXTURE_FILES_MAX];
	size_t count = fixture_files(dir, files);

	for (size_t i = 0; i < count; i++) {
		struct fixture *fixture;

		while ((fixture = fixture_next(&files[i])) != NULL) {
			char name[512];

			snprintf(name, sizeof(name), "%s: %s", files[i].name, fixture->name);
			tap_ok(fixture_passes(fixture), name);
			fixture_free(fixture);
		}
		fixture_file_close(&files[i]);
	}
}

/*
 * In the middle of HTTP/2, bytes that may begin a frame are kept and looked
 * through, whose number goes up with each call of one byte. CPU time: 0.03 s
 * alone, 5 s when all are looked through with each call.
 */
static void test_small_calls(void)
{
	static const struct http_limits limits = {.head_bytes_max = 4096, .body_bytes_max = 4096, .pipeline_max = 16};
	static const uint8_t head[] = {0, 0x3f, 0xff, 0, 0, 0, 0, 0, 1}; /* DATA of 16383 bytes */
	struct http_conn *conn = http_conn_new(&limits, true);
	struct http_context ctx = {.ts_ns = 1};
	clock_t begin = clock();

	for (size_t i = 0; i < 64000; i++) {
		size_t at = i % 16384;
		uint8_t byte = at < sizeof(head) ? head[at] : i % 97 == 0 ? 7 : 0;

		http_conn_data(conn, PS_IN, &ctx, &byte, 1);
	}
	tap_ok(clock() - begin < 2 * CLOCKS_PER_SEC, "64000 calls of one byte where a frame may begin");
	http_conn_free(conn);
}

int main(int argc, char **argv)
{
	guard_map();
	if (argc > 1) {
		run_directory(argv[1]);
	} else {
		run_directory(PS_FIXTURES "/http1");
		run_directory(PS_FIXTURES "/http2");
		test_small_calls();
	}
	return tap_end();
}
