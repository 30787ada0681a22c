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
#include "plainsight.h"
#include "ring.h"

struct ps_capture {
	struct ring ring;
	struct engine *engine;
	int conns_fd;
	bool finished;
};

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

static long bpf_map_call(int command, int map_fd, uint64_t key, struct ps_conn *value, uint64_t flags)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)map_fd;
	attr.key = (uint64_t)(uintptr_t)&key;
	attr.value = (uint64_t)(uintptr_t)value;
	attr.flags = flags;
	return syscall(SYS_bpf, command, &attr, sizeof(attr));
}

/* Tell the kernel to leave the connection alone. If this fails, its records go on being dropped here. */
static void ignore_in_kernel(const struct ps_capture *capture, const struct conn *conn)
{
	struct ps_conn value;

	if (capture->conns_fd < 0 || bpf_map_call(BPF_MAP_LOOKUP_ELEM, capture->conns_fd, conn->sock, &value, 0) != 0)
		return;
	if (value.id != conn->id || value.verdict == PS_VERDICT_IGNORE)
		return;
	value.verdict = PS_VERDICT_IGNORE;
	bpf_map_call(BPF_MAP_UPDATE_ELEM, capture->conns_fd, conn->sock, &value, BPF_EXIST);
}

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* Feed the next record. Returns its size, 0 when the ring is empty. */
static size_t read_record(struct ps_capture *capture)
{
	size_t len;
	const void *record = ring_peek(&capture->ring, &len);
	const struct conn *stop;

	if (!record)
		return 0;
	stop = engine_record(capture->engine, record, len);
	if (stop)
		ignore_in_kernel(capture, stop);
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
		engine_tick(capture->engine, monotonic_ns());
	return engine_next(capture->engine);
}

void ps_capture_finish(struct ps_capture *capture)
{
	capture->finished = true;
	engine_finish(capture->engine);
}

struct ps_capture_stats ps_capture_stats(const struct ps_capture *capture)
{
	return engine_stats(capture->engine);
}

bool ps_capture_waiting(const struct ps_capture *capture)
{
	return engine_waiting(capture->engine);
}
