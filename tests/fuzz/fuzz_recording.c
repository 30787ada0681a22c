/* SPDX-License-Identifier: Apache-2.0 */
/*
 * src/recording.c and src/replay.c under libFuzzer: recordings that somebody else has made.
 *
 * The first byte of the input says how to use the rest (enum use): as a file as it is, or as the chunks of a frame in
 * a file that is otherwise right, so that the fuzzer need not find out how zstd works. Whatever it is, nothing may
 * crash, reading ends, memory stays within its limits, and struct ps_capture_stats adds up.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create() */
#endif
#include "../../src/plainsight.h"
#include "../../src/recording_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

enum use { USE_FILE = 1, USE_RAW = 2, USE_FILTER = 4, USE_SMALL_BODIES = 8 };
enum { INPUT_MAX = 1 << 16 };

static void put(int fd, const void *bytes, size_t len)
{
	if (write(fd, bytes, len) != (ssize_t)len)
		abort();
}

/* What every file begins with: its header and START. */
static void put_start(int fd)
{
	static uint8_t start[4096];
	static ssize_t len;

	if (len == 0) {
		int file = memfd_create("start", 0);

		ps_recorder_free(ps_recorder_new(file, false, "{}", 2));
		len = pread(file, start, sizeof(start), 0);
		close(file);
	}
	put(fd, start, (size_t)len);
}

/* That, then a frame of these chunks. */
static void put_frame(int fd, const uint8_t *chunks, size_t len)
{
	static uint8_t raw[INPUT_MAX + 8], stored[ZSTD_COMPRESSBOUND(INPUT_MAX + 8)];
	static ZSTD_CCtx *zstd;
	struct recording_frame frame = {.raw_bytes = (uint32_t)((len + 7) & ~(size_t)7)};

	put_start(fd);
	if (len == 0)
		return;
	if (!zstd)
		zstd = ZSTD_createCCtx();
	memset(raw, 0, frame.raw_bytes);
	memcpy(raw, chunks, len);
	frame.stored_bytes =
	    (uint32_t)ZSTD_compressCCtx(zstd, stored, sizeof(stored), raw, frame.raw_bytes, ZSTD_minCLevel() / 1000);
	put(fd, &frame, sizeof(frame));
	put(fd, stored, frame.stored_bytes);
}

static void check(const struct ps_capture *capture)
{
	struct ps_capture_stats s = ps_capture_stats(capture);

	if (s.data_bytes != s.message_bytes + s.tunnel_bytes + s.skipped_bytes + s.uncaptured_bytes + s.overlap_bytes +
				s.waiting_bytes + s.dropped_bytes + s.raw_bytes) {
		fprintf(stderr, "the sums do not fit\n");
		abort();
	}
}

/* Every byte that is handed out can be read. */
static uint64_t touch(const void *data, size_t len)
{
	const volatile uint8_t *bytes = data;
	uint64_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += bytes[i];
	return sum;
}

static bool next(struct ps_capture *capture, bool is_raw)
{
	const struct ps_event *event;
	const struct ps_item *item;

	if (is_raw) {
		event = ps_capture_next_event(capture);
		if (event)
			touch(event + 1, event->captured_len);
		return event != NULL;
	}
	item = ps_capture_next(capture);
	if (item) {
		const char *path = ps_capture_executable(capture, item->exchange->request.process.tgid);

		touch(item->exchange->request.body.kept.data, item->exchange->request.body.kept.len);
		touch(item->exchange->unix_path.data, item->exchange->unix_path.len);
		if (path)
			touch(path, strlen(path));
	}
	return item != NULL;
}

static void take_notes(struct ps_capture *capture)
{
	const struct ps_note *note;

	while ((note = ps_capture_note(capture)) != NULL) {
		touch(note->key.data, note->key.len);
		touch(note->value.data, note->value.len);
	}
}

static void replay(struct ps_recording *recording, uint8_t use)
{
	static const uint32_t pids[] = {1, 2};
	static const uint16_t ports[] = {80};
	struct ps_event_filter filter = {.filters = PS_FILTER_TGID | PS_FILTER_PORT,
					 .capture = PS_CAPTURE_PLAIN,
					 .pids = pids,
					 .pid_count = 2,
					 .ports = ports,
					 .port_count = 1,
					 .until_ns = 1ULL << 40};
	struct ps_capture_options options = {.events_fd = -1,
					     .conns_fd = -1,
					     .skips_fd = -1,
					     .head_bytes_max = 512,
					     .body_bytes_max = use & USE_SMALL_BODIES ? 16 : 65536,
					     .pipeline_max = 4,
					     .conns_max = 3,
					     .held_bytes_max = 4096,
					     .recording = recording,
					     .filter = use & USE_FILTER ? &filter : NULL};
	struct ps_capture *capture = ps_capture_new(&options);
	bool is_raw = use & USE_RAW;

	do {
		while (next(capture, is_raw))
			check(capture);
		take_notes(capture);
	} while (ps_capture_pending(capture));
	ps_capture_finish(capture);
	while (next(capture, is_raw))
		;
	check(capture);
	ps_capture_free(capture);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static int fd = -1;
	struct ps_recording *recording;

	if (fd < 0)
		fd = memfd_create("recording", 0);
	if (len < 1 || len > INPUT_MAX)
		return 0;
	if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0)
		abort();
	if (data[0] & USE_FILE)
		put(fd, data + 1, len - 1);
	else
		put_frame(fd, data + 1, len - 1);
	lseek(fd, 0, SEEK_SET);
	recording = ps_recording_open(fd);
	if (recording)
		replay(recording, data[0]);
	ps_recording_free(recording);
	return 0;
}
