/* SPDX-License-Identifier: Apache-2.0 */
/* The ring buffer's records into the engine: the part that knows of BPF. */
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"
#include "file_body.h"
#include "plainsight.h"
#include "ring.h"

struct ps_capture {
	struct ring ring;
	struct engine *engine;
	int conns_fd;
	int skips_fd;
	bool finished;
	uint64_t body_bytes_max;
	uint64_t clock_offset_ns;      /* CLOCK_REALTIME minus CLOCK_MONOTONIC */
	struct ps_capture_stats files; /* the file_ counters only */
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

struct ps_capture *ps_capture_new(const struct ps_capture_options *options)
{
	struct ps_capture *capture = calloc(1, sizeof(*capture));
	struct engine_options engine_options = {
	    .http1 = {.head_bytes_max = options->head_bytes_max,
		      .body_bytes_max = options->body_bytes_max,
		      .pipeline_max = options->pipeline_max},
	    .conns_max = options->conns_max,
	    .held_bytes_max = options->held_bytes_max,
	};

	if (!capture)
		return NULL;
	capture->conns_fd = options->conns_fd;
	capture->skips_fd = options->skips_fd;
	capture->body_bytes_max = options->body_bytes_max;
	capture->clock_offset_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);
	capture->engine = engine_new(&engine_options);
	if (!capture->engine || ring_open(&capture->ring, options->events_fd, options->ring_bytes) != 0) {
		int saved = errno;

		ps_capture_free(capture);
		errno = saved;
		return NULL;
	}
	return capture;
}

void ps_capture_free(struct ps_capture *capture)
{
	if (!capture)
		return;
	if (capture->engine)
		engine_free(capture->engine);
	ring_close(&capture->ring);
	free(capture);
}

static long bpf_map_call(int command, int map_fd, uint64_t key, void *value, uint64_t flags)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)map_fd;
	attr.key = (uint64_t)(uintptr_t)&key;
	attr.value = (uint64_t)(uintptr_t)value;
	attr.flags = flags;
	return syscall(SYS_bpf, command, &attr, sizeof(attr));
}

/* What the probes know of a connection. Returns false when they know nothing of it any more. */
static bool look_up_conn(const struct ps_capture *capture, const struct conn *conn, struct ps_conn *value)
{
	if (capture->conns_fd < 0)
		return false;
	return bpf_map_call(BPF_MAP_LOOKUP_ELEM, capture->conns_fd, conn->sock, value, 0) == 0 && value->id == conn->id;
}

/* Tell the kernel to leave the connection alone. If this fails, its records go on being dropped here. */
static void ignore_in_kernel(const struct ps_capture *capture, const struct conn *conn)
{
	struct ps_conn value;

	if (!look_up_conn(capture, conn, &value) || value.verdict == PS_VERDICT_IGNORE)
		return;
	value.verdict = PS_VERDICT_IGNORE;
	bpf_map_call(BPF_MAP_UPDATE_ELEM, capture->conns_fd, conn->sock, &value, BPF_EXIST);
}

/* Records of calls that the probes look up in `skips` (SKIP_MIN in probes/syscalls.c). */
#define LARGE_RECORD_BYTES 4096
/* From so many bytes on it is worth a system call to spare the probes the copying. */
#define SKIP_BYTES_MIN 131072

/* After a record of a large call: tell the kernel which bytes that follow would only be counted. */
static void skip_in_kernel(const struct ps_capture *capture, const struct ps_event *event)
{
	struct conn *conn = engine_conn(capture->engine, event);
	int d = event->direction;
	uint64_t unneeded = conn ? http1_conn_unneeded(conn->http, d) : 0, until;
	struct ps_skip skip;

	if (capture->skips_fd < 0 || unneeded < SKIP_BYTES_MIN)
		return;
	until = unneeded == UINT64_MAX ? UINT64_MAX : conn->directions[d].next + unneeded;
	if (conn->skip_until[d] == until)
		return;
	conn->skip_until[d] = until;
	skip.id = conn->id;
	memcpy(skip.until, conn->skip_until, sizeof(skip.until));
	bpf_map_call(BPF_MAP_UPDATE_ELEM, capture->skips_fd, conn->sock, &skip, BPF_ANY);
}

/* --- what sendfile sent ------------------------------------------------- */

#define FILE_PIECE_BYTES 32768

/* A data record as the probes would have made it, had the bytes been in memory. */
struct file_record {
	struct ps_event event;
	uint8_t data[FILE_PIECE_BYTES];
};

/* Feed what can be read of the file, piece by piece. Returns how many bytes that was. */
static uint64_t feed_file_bytes(struct ps_capture *capture, struct file_record *record, int fd, uint64_t offset,
				uint64_t len)
{
	uint64_t done = 0;

	while (done < len) {
		size_t want = len - done < FILE_PIECE_BYTES ? (size_t)(len - done) : FILE_PIECE_BYTES;
		ssize_t got = pread(fd, record->data, want, (off_t)(offset + done));

		if (got <= 0)
			break;
		record->event.len = record->event.captured_len = (uint32_t)got;
		engine_record(capture->engine, record, sizeof(record->event) + (size_t)got);
		record->event.pos += (uint64_t)got;
		done += (uint64_t)got;
	}
	return done;
}

/*
 * sendfile moved event->len bytes of a file. As much of them as could be kept
 * of a body is read from the file, if it can still be had; the rest is a gap.
 */
static void on_file(struct ps_capture *capture, const struct ps_event *event, const struct ps_file_ref *ref)
{
	/* One byte more than is kept, so that a body of that size and a longer one are told apart. */
	uint64_t wanted = event->len <= capture->body_bytes_max ? event->len : capture->body_bytes_max + 1;
	int fd = file_body_open(event, ref, capture->clock_offset_ns);
	struct file_record record = {.event = *event};
	uint64_t done = 0;

	record.event.type = PS_EVENT_DATA;
	if (fd >= 0) {
		record.event.flags |= PS_EVENT_FROM_FILE | PS_EVENT_UNNEEDED;
		done = feed_file_bytes(capture, &record, fd, ref->offset, wanted);
		close(fd);
	}
	capture->files.file_calls += done > 0;
	capture->files.file_bytes += done;
	if (done == event->len)
		return;
	if (done < wanted) {
		record.event.flags = event->flags;
		capture->files.file_lost_calls++;
		capture->files.file_lost_bytes += event->len - done;
	}
	record.event.len = (uint32_t)(event->len - done);
	record.event.captured_len = 0;
	engine_record(capture->engine, &record, sizeof(record.event));
}

/* --- reading ------------------------------------------------------------ */

static bool is_file_record(const void *record, size_t len)
{
	const struct ps_event *event = record;

	return len >= sizeof(*event) + sizeof(struct ps_file_ref) && event->type == PS_EVENT_FILE &&
	       event->captured_len == sizeof(struct ps_file_ref);
}

/* Feed the next record. Returns its size, 0 when the ring is empty. */
static size_t read_record(struct ps_capture *capture)
{
	size_t len;
	const void *record = ring_peek(&capture->ring, &len);
	const struct conn *stop = NULL;

	if (!record)
		return 0;
	if (is_file_record(record, len)) {
		on_file(capture, record, (const struct ps_file_ref *)((const struct ps_event *)record + 1));
	} else {
		stop = engine_record(capture->engine, record, len);
		if (stop)
			ignore_in_kernel(capture, stop);
		else if (len > LARGE_RECORD_BYTES)
			skip_in_kernel(capture, record);
	}
	ring_advance(&capture->ring);
	return capture->ring.record_size;
}

/* Records of one ring's size at most, so that the caller gets a turn when much flows and little of it ends. */
const struct ps_exchange *ps_capture_next(struct ps_capture *capture)
{
	size_t size = 1;

	for (size_t done = 0; done < capture->ring.size && size > 0; done += size) {
		const struct ps_exchange *exchange = engine_next(capture->engine);

		if (exchange)
			return exchange;
		size = capture->finished ? 0 : read_record(capture);
	}
	if (size == 0 && engine_waiting(capture->engine))
		engine_tick(capture->engine, clock_ns(CLOCK_MONOTONIC));
	return engine_next(capture->engine);
}

static bool look_up_end(const void *source, const struct conn *conn, struct conn_end *end)
{
	struct ps_conn value;

	*end = (struct conn_end){.closed = false};
	if (!look_up_conn(source, conn, &value))
		return false;
	/* Of what is not HTTP, or may yet turn out to be, calls are left out on purpose. */
	if (value.verdict == PS_VERDICT_HTTP) {
		end->pos[PS_IN] = value.pos[PS_IN];
		end->pos[PS_OUT] = value.pos[PS_OUT];
	}
	end->closed = value.closed;
	return true;
}

void ps_capture_settle(struct ps_capture *capture)
{
	engine_settle(capture->engine, look_up_end, capture);
}

void ps_capture_finish(struct ps_capture *capture)
{
	ps_capture_settle(capture);
	capture->finished = true;
	engine_finish(capture->engine);
}

struct ps_capture_stats ps_capture_stats(const struct ps_capture *capture)
{
	struct ps_capture_stats stats = engine_stats(capture->engine);

	stats.file_calls = capture->files.file_calls;
	stats.file_bytes = capture->files.file_bytes;
	stats.file_lost_calls = capture->files.file_lost_calls;
	stats.file_lost_bytes = capture->files.file_lost_bytes;
	return stats;
}

bool ps_capture_pending(struct ps_capture *capture)
{
	size_t len;

	return !capture->finished && ring_peek(&capture->ring, &len) != NULL;
}

bool ps_capture_waiting(const struct ps_capture *capture)
{
	return engine_waiting(capture->engine);
}
