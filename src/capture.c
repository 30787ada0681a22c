/* SPDX-License-Identifier: Apache-2.0 */
/* The ring buffer's records, or those of a recording, into the engine: the part that knows of BPF. */
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"
#include "file_body.h"
#include "file_feed.h"
#include "plainsight.h"
#include "recorder.h"
#include "replay.h"
#include "ring.h"
#include "secret_body.h"

/* Records of calls that the probes look up in `skips` (SKIP_MIN in probes/include/report.h). */
#define LARGE_RECORD_BYTES 4096
/* From so many bytes on it is worth a system call to spare the probes the copying; and when they are to be spared. */
#define SKIP_BYTES_MIN     131072
#define SKIP_BYTES_SPARING 16384

struct ps_capture {
	struct ring ring;
	struct engine *engine;
	struct replay *replay;        /* in place of the ring; or NULL */
	struct ps_recorder *recorder; /* of events, or NULL */
	struct ps_recorder *notes;    /* the same, or one of items */
	uint64_t items;               /* handed out, of the ring */
	int conns_fd;
	int skips_fd;
	bool finished;
	uint64_t body_bytes_max;
	struct secret_body_watch *watch; /* NULL: nobody looks at what is not kept of bodies */
	uint64_t skip_bytes_min;         /* see skip_in_kernel() */
	uint64_t clock_offset_ns;        /* CLOCK_REALTIME minus CLOCK_MONOTONIC */
	struct ps_capture_stats own;     /* what the engine does not count: files, records that are handed out */
	bool handed_out;                 /* the first record of the ring, by ps_capture_next_event() */
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* Returns whether there is something to read from, errno when not. */
static bool open_source(struct ps_capture *capture, const struct ps_capture_options *options)
{
	if (!options->recording)
		return ring_open(&capture->ring, options->events_fd, options->ring_bytes) == 0;
	capture->replay = replay_new(options->recording, options->filter, capture->engine, options->body_bytes_max);
	return capture->replay != NULL;
}

struct ps_capture *ps_capture_new(const struct ps_capture_options *options)
{
	struct ps_capture *capture = calloc(1, sizeof(*capture));
	struct engine_options engine_options = {
	    .http = {.head_bytes_max = options->head_bytes_max,
		     .body_bytes_max = options->body_bytes_max,
		     .pipeline_max = options->pipeline_max},
	    .conns_max = options->conns_max,
	    .held_bytes_max = options->held_bytes_max,
	};

	if (!capture)
		return NULL;
	capture->conns_fd = options->conns_fd;
	capture->skips_fd = options->skips_fd;
	capture->notes = options->recorder;
	capture->recorder = options->recorder && recorder_has_events(options->recorder) ? options->recorder : NULL;
	capture->body_bytes_max = options->body_bytes_max;
	capture->skip_bytes_min = SKIP_BYTES_MIN;
	capture->clock_offset_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);
	if (options->secrets) {
		capture->watch = secret_body_watch_new(options->secrets);
		engine_options.http.watch = capture->watch ? secret_body_watch(capture->watch) : NULL;
	}
	capture->engine = engine_new(&engine_options);
	if (!capture->engine || (options->secrets && !capture->watch) || !open_source(capture, options)) {
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
	replay_free(capture->replay);
	if (capture->engine)
		engine_free(capture->engine);
	secret_body_watch_free(capture->watch);
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

/* After a record of a large call: tell the kernel which bytes that follow would only be counted. */
static void skip_in_kernel(const struct ps_capture *capture, const struct ps_event *event)
{
	struct conn *conn = engine_conn(capture->engine, event);
	int d = event->direction;
	uint64_t unneeded = conn ? http_conn_unneeded(conn->http, d) : 0, until;
	struct ps_skip skip;

	if (!conn || capture->skips_fd < 0 || unneeded < capture->skip_bytes_min)
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

/* Read of what one call sent when all of it is looked through. */
#define FILE_SCANNED_MAX 16777216

/* Feed what can be read of the file, piece by piece. */
static void feed_file_bytes(struct ps_capture *capture, struct file_feed *feed, int fd, uint64_t offset)
{
	size_t room;

	while ((room = file_feed_room(feed)) > 0) {
		ssize_t got = pread(fd, feed->record.data, room, (off_t)(offset + feed->done));

		if (got <= 0)
			break;
		if (capture->recorder)
			recorder_file_data(capture->recorder, feed->record.data, (size_t)got);
		file_feed_piece(feed, capture->engine, (size_t)got);
	}
}

/*
 * sendfile moved event->len bytes of a file. As much of them as could be kept
 * of a body is read from the file, if it can still be had; the rest is a gap.
 */
static void on_file(struct ps_capture *capture, const struct ps_event *event, const struct ps_file_ref *ref)
{
	int fd = file_body_open(event, ref, capture->clock_offset_ns);
	struct file_feed feed;

	if (capture->recorder)
		recorder_file(capture->recorder, event);
	file_feed_begin(&feed, event, capture->watch ? FILE_SCANNED_MAX : capture->body_bytes_max);
	if (fd >= 0) {
		feed_file_bytes(capture, &feed, fd, ref->offset);
		close(fd);
	}
	if (capture->recorder)
		recorder_file_end(capture->recorder);
	file_feed_end(&feed, capture->engine, &capture->own);
}

/* --- reading ------------------------------------------------------------ */

static bool is_file_record(const void *record, size_t len)
{
	const struct ps_event *event = record;

	return len >= sizeof(*event) + sizeof(struct ps_file_ref) && event->type == PS_EVENT_FILE &&
	       event->captured_len == sizeof(struct ps_file_ref);
}

static bool look_up_end(const void *source, const struct conn *conn, struct conn_end *end)
{
	const struct ps_capture *capture = source;
	struct ps_conn value;

	*end = (struct conn_end){.closed = false};
	if (!look_up_conn(capture, conn, &value))
		return false;
	/* Of what is not HTTP, or may yet turn out to be, calls are left out on purpose. */
	if (value.verdict == PS_VERDICT_HTTP) {
		end->pos[PS_IN] = value.pos[PS_IN];
		end->pos[PS_OUT] = value.pos[PS_OUT];
	}
	end->closed = value.closed;
	if (capture->recorder)
		recorder_lookup(capture->recorder, conn, end);
	return true;
}

/* The records of how its connections ended may have been lost. */
static void before_exit(struct ps_capture *capture, const struct ps_event *event, size_t len)
{
	if (len >= sizeof(*event) && event->type == PS_EVENT_EXIT)
		engine_settle_process(capture->engine, event->process.tgid, look_up_end, capture);
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
		before_exit(capture, record, len);
		if (capture->recorder)
			recorder_record(capture->recorder, record, len);
		stop = engine_record(capture->engine, record, len);
		if (stop)
			ignore_in_kernel(capture, stop);
		else if (len > LARGE_RECORD_BYTES)
			skip_in_kernel(capture, record);
	}
	ring_advance(&capture->ring);
	return capture->ring.record_size;
}

/* The ring is empty: waits may have to end. */
static void tick(struct ps_capture *capture)
{
	uint64_t now_ns;

	if (!engine_waiting(capture->engine) && !engine_has_open(capture->engine))
		return;
	now_ns = clock_ns(CLOCK_MONOTONIC);
	if (capture->recorder)
		recorder_tick(capture->recorder, now_ns);
	engine_tick(capture->engine, now_ns);
}

static const struct ps_item *next_item(struct ps_capture *capture)
{
	const struct ps_item *item = engine_next(capture->engine);

	capture->items += item != NULL;
	return item;
}

/* Records of one ring's size at most, so that the caller gets a turn when much flows and little of it ends. */
const struct ps_item *ps_capture_next(struct ps_capture *capture)
{
	size_t size = 1;

	if (capture->replay)
		return replay_next(capture->replay, &capture->own);
	for (size_t done = 0; done < capture->ring.size && size > 0; done += size) {
		const struct ps_item *item = next_item(capture);

		if (item)
			return item;
		size = capture->finished ? 0 : read_record(capture);
	}
	if (size == 0)
		tick(capture);
	return next_item(capture);
}

void ps_capture_limit_bodies(struct ps_capture *capture, uint64_t body_bytes_max)
{
	capture->skip_bytes_min = body_bytes_max == 0 ? SKIP_BYTES_SPARING : SKIP_BYTES_MIN;
	capture->body_bytes_max = body_bytes_max;
	if (capture->recorder)
		recorder_limit_bodies(capture->recorder, capture->items, body_bytes_max);
	engine_limit_bodies(capture->engine, body_bytes_max);
}

void ps_capture_settle(struct ps_capture *capture)
{
	if (capture->replay)
		return;
	engine_settle(capture->engine, look_up_end, capture);
	if (capture->recorder)
		recorder_settle(capture->recorder, capture->items);
}

void ps_capture_finish(struct ps_capture *capture)
{
	if (capture->replay) {
		replay_finish(capture->replay);
		return;
	}
	engine_settle(capture->engine, look_up_end, capture);
	if (capture->recorder)
		recorder_finish(capture->recorder, capture->items);
	capture->finished = true;
	engine_finish(capture->engine);
}

/* The next record of the ring that keeps to the event contract. */
static const struct ps_event *next_event(struct ps_capture *capture)
{
	const struct ps_event *event;
	size_t len;

	if (capture->handed_out)
		ring_advance(&capture->ring);
	capture->handed_out = false;
	while ((event = ring_peek(&capture->ring, &len)) != NULL) {
		if (capture->recorder)
			recorder_record(capture->recorder, event, len);
		if (engine_is_well_formed(event, len))
			break;
		capture->own.malformed++;
		ring_advance(&capture->ring);
	}
	capture->handed_out = event != NULL;
	capture->items += event != NULL;
	return event;
}

const struct ps_event *ps_capture_next_event(struct ps_capture *capture)
{
	const struct ps_event *event =
	    capture->replay ? replay_next_event(capture->replay, &capture->own) : next_event(capture);

	if (!event)
		return NULL;
	capture->own.records++;
	if (event->type == PS_EVENT_DATA) {
		capture->own.data_bytes += event->len;
		capture->own.captured_bytes += event->captured_len;
		capture->own.raw_bytes += event->len;
	}
	return event;
}

/* --- beside items ------------------------------------------------------- */

void ps_capture_before_item(struct ps_capture *capture, const struct ps_item *item)
{
	if (capture->notes)
		recorder_before_item(capture->notes, item);
}

void ps_capture_record_item(struct ps_capture *capture, const struct ps_item *item)
{
	if (capture->notes)
		recorder_item(capture->notes, item);
}

void ps_capture_record_note(struct ps_capture *capture, bool is_report, struct ps_slice key, struct ps_slice value)
{
	if (capture->notes)
		recorder_note(capture->notes, is_report, capture->items, key, value);
}

const struct ps_note *ps_capture_note(struct ps_capture *capture)
{
	return capture->replay ? replay_note(capture->replay) : NULL;
}

const char *ps_capture_executable(const struct ps_capture *capture, uint32_t tgid)
{
	if (capture->replay)
		return replay_executable(capture->replay, tgid);
	return capture->notes ? executables_get(recorder_executables(capture->notes), tgid) : NULL;
}

uint64_t ps_capture_replayed_ns(const struct ps_capture *capture)
{
	return capture->replay ? replay_now_ns(capture->replay) : 0;
}

struct ps_capture_stats ps_capture_stats(const struct ps_capture *capture)
{
	struct ps_capture_stats stats = engine_stats(capture->engine);

	stats.records += capture->own.records;
	stats.data_bytes += capture->own.data_bytes;
	stats.captured_bytes += capture->own.captured_bytes;
	stats.malformed += capture->own.malformed;
	stats.raw_bytes = capture->own.raw_bytes;
	stats.file_calls = capture->own.file_calls;
	stats.file_bytes = capture->own.file_bytes;
	stats.file_lost_calls = capture->own.file_lost_calls;
	stats.file_lost_bytes = capture->own.file_lost_bytes;
	return stats;
}

bool ps_capture_pending(struct ps_capture *capture)
{
	size_t len;

	if (capture->replay)
		return replay_is_pending(capture->replay);
	return !capture->finished && ring_peek(&capture->ring, &len) != NULL;
}

bool ps_capture_waiting(const struct ps_capture *capture)
{
	return engine_waiting(capture->engine);
}
