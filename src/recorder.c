/* SPDX-License-Identifier: Apache-2.0 */
#include "recorder.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include "engine.h"
#include "recorded_item.h"
#include "recording_format.h"

/* The fastest of zstd's normal levels: what is recorded comes at the speed of the traffic. */
enum { COMPRESSION_LEVEL = 1 };
/* What a frame waits for others at most, as far as ps_recorder_flush() is called. */
#define FLUSH_NS 500000000ULL

/* Frames that wait for the disk; when it is slower than the traffic for so long, the capture waits too. */
enum { BUFFERS = 8 };

struct buffer {
	size_t raw_bytes;
	uint8_t raw[RECORDING_FRAME_MAX];
};

/*
 * Compressing and writing is done by a thread of its own: a disk that takes its time must not keep the ring from being
 * read. Buffers go round: the caller fills buffers[filled], those before it up to written are the thread's.
 */
struct ps_recorder {
	int fd;
	int error;       /* errno of what ended it; atomic */
	bool has_items;  /* and no events */
	bool has_thread; /* else the caller writes */
	bool is_ending;  /* the thread writes what there is, and ends; under lock, as the next three */
	uint64_t filled, written;
	uint64_t written_bytes;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* filled, written, is_ending */
	pthread_t thread;
	uint64_t mask, factor; /* make sock a number that means nothing */
	uint64_t since_ns;     /* when the first chunk of the frame was seen by ps_recorder_flush(); 0: not yet */
	struct item_bytes item;
	struct executables *executables;
	ZSTD_CCtx *zstd; /* of who writes, as stored */
	uint8_t stored[sizeof(struct recording_frame) + ZSTD_COMPRESSBOUND(RECORDING_FRAME_MAX)];
	struct buffer buffers[BUFFERS];
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

int32_t ps_recorder_error(const struct ps_recorder *recorder)
{
	return __atomic_load_n(&recorder->error, __ATOMIC_RELAXED);
}

static void set_error(struct ps_recorder *recorder, int error)
{
	__atomic_store_n(&recorder->error, error, __ATOMIC_RELAXED);
}

/* --- frames ------------------------------------------------------------- */

/* All of the bytes; a device that is full or a reader that is gone ends the recording. Returns how many were written.
 */
static size_t write_all(struct ps_recorder *recorder, const void *bytes, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t written = write(recorder->fd, (const uint8_t *)bytes + done, len - done);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0) {
			set_error(recorder, written < 0 ? errno : EIO);
			break;
		}
		done += (size_t)written;
	}
	return done;
}

/* Returns how many bytes were written. */
static size_t write_buffer(struct ps_recorder *recorder, const struct buffer *buffer)
{
	struct recording_frame frame = {.raw_bytes = (uint32_t)buffer->raw_bytes};
	size_t stored;

	if (ps_recorder_error(recorder))
		return 0;
	stored = ZSTD_compress2(recorder->zstd, recorder->stored + sizeof(frame),
				sizeof(recorder->stored) - sizeof(frame), buffer->raw, buffer->raw_bytes);
	if (ZSTD_isError(stored)) {
		set_error(recorder, ENOMEM);
		return 0;
	}
	frame.stored_bytes = (uint32_t)stored;
	memcpy(recorder->stored, &frame, sizeof(frame));
	return write_all(recorder, recorder->stored, sizeof(frame) + stored);
}

/* Write the oldest buffer that is filled, with the lock held, but not while writing. */
static void write_oldest(struct ps_recorder *recorder)
{
	const struct buffer *buffer = &recorder->buffers[recorder->written % BUFFERS];
	size_t bytes;

	pthread_mutex_unlock(&recorder->lock);
	bytes = write_buffer(recorder, buffer);
	pthread_mutex_lock(&recorder->lock);
	recorder->written_bytes += bytes;
	recorder->written++;
	pthread_cond_broadcast(&recorder->changed);
}

static void *write_until_end(void *argument)
{
	struct ps_recorder *recorder = argument;

	pthread_mutex_lock(&recorder->lock);
	while (recorder->written < recorder->filled || !recorder->is_ending) {
		if (recorder->written < recorder->filled)
			write_oldest(recorder);
		else
			pthread_cond_wait(&recorder->changed, &recorder->lock);
	}
	pthread_mutex_unlock(&recorder->lock);
	return NULL;
}

/* Until no more than waiting_max buffers wait to be written. */
static void wait_written(struct ps_recorder *recorder, uint64_t waiting_max)
{
	pthread_mutex_lock(&recorder->lock);
	while (recorder->filled - recorder->written > waiting_max) {
		if (recorder->has_thread)
			pthread_cond_wait(&recorder->changed, &recorder->lock);
		else
			write_oldest(recorder);
	}
	pthread_mutex_unlock(&recorder->lock);
}

/* The buffer that is being filled. */
static struct buffer *present(struct ps_recorder *recorder)
{
	return &recorder->buffers[recorder->filled % BUFFERS];
}

/* What is in the present buffer is a frame. */
static void end_frame(struct ps_recorder *recorder)
{
	if (present(recorder)->raw_bytes == 0)
		return;
	pthread_mutex_lock(&recorder->lock);
	recorder->filled++;
	pthread_cond_broadcast(&recorder->changed);
	pthread_mutex_unlock(&recorder->lock);
	wait_written(recorder, recorder->has_thread ? BUFFERS - 1 : 0);
	present(recorder)->raw_bytes = 0;
	recorder->since_ns = 0;
}

/* Room for a chunk of len bytes, which the caller fills; NULL after an error. */
static uint8_t *add_chunk(struct ps_recorder *recorder, enum recording_type type, size_t len)
{
	struct recording_chunk chunk = {.type = (uint8_t)type, .len = (uint32_t)len};
	size_t padded = (len + 7) & ~(size_t)7;
	struct buffer *buffer = present(recorder);
	uint8_t *at;

	if (len > RECORDING_CHUNK_MAX) /* no probe makes such a record */
		set_error(recorder, EMSGSIZE);
	if (ps_recorder_error(recorder))
		return NULL;
	if (buffer->raw_bytes >= RECORDING_FRAME_AIM ||
	    buffer->raw_bytes + sizeof(chunk) + padded > sizeof(buffer->raw)) {
		end_frame(recorder);
		buffer = present(recorder);
	}
	at = buffer->raw + buffer->raw_bytes;
	memcpy(at, &chunk, sizeof(chunk));
	at += sizeof(chunk);
	memset(at + len, 0, padded - len);
	buffer->raw_bytes += sizeof(chunk) + padded;
	return at;
}

/* A chunk of two parts; the second may be nothing. */
static void add(struct ps_recorder *recorder, enum recording_type type, const void *head, size_t head_len,
		const void *rest, size_t rest_len)
{
	uint8_t *at = add_chunk(recorder, type, head_len + rest_len);

	if (!at)
		return;
	if (head_len > 0)
		memcpy(at, head, head_len);
	if (rest_len > 0)
		memcpy(at + head_len, rest, rest_len);
}

/* --- life --------------------------------------------------------------- */

static bool prepare(struct ps_recorder *recorder)
{
	recorder->executables = executables_new();
	recorder->zstd = ZSTD_createCCtx();
	if (!recorder->executables || !recorder->zstd)
		return false;
	ZSTD_CCtx_setParameter(recorder->zstd, ZSTD_c_compressionLevel, COMPRESSION_LEVEL);
	ZSTD_CCtx_setParameter(recorder->zstd, ZSTD_c_checksumFlag, 1);
	if (getrandom(&recorder->mask, sizeof(recorder->mask), 0) < 0 ||
	    getrandom(&recorder->factor, sizeof(recorder->factor), 0) < 0)
		return false;
	recorder->factor |= 1; /* odd: no two addresses become one number */
	return true;
}

/* Header and START, so that it is known at once whether anything can be written. Returns whether it could, or errno. */
static bool write_start(struct ps_recorder *recorder, const char *start, size_t start_len)
{
	struct recording_header header = {.magic = RECORDING_MAGIC, .version = RECORDING_VERSION};

	recorder->written_bytes = write_all(recorder, &header, sizeof(header));
	add(recorder, RECORDING_START, start, start_len, NULL, 0);
	end_frame(recorder);
	if (!ps_recorder_error(recorder))
		return true;
	errno = ps_recorder_error(recorder);
	return false;
}

struct ps_recorder *ps_recorder_new(int32_t fd, bool has_items, const char *start, uint64_t start_len)
{
	struct ps_recorder *recorder = calloc(1, sizeof(*recorder));

	if (!recorder)
		return NULL;
	recorder->fd = fd;
	recorder->has_items = has_items;
	pthread_mutex_init(&recorder->lock, NULL);
	pthread_cond_init(&recorder->changed, NULL);
	errno = ENOMEM;
	if (!prepare(recorder) || !write_start(recorder, start, start_len)) {
		int error = errno;

		ps_recorder_free(recorder);
		errno = error;
		return NULL;
	}
	recorder->has_thread = pthread_create(&recorder->thread, NULL, write_until_end, recorder) == 0;
	return recorder;
}

void ps_recorder_free(struct ps_recorder *recorder)
{
	if (!recorder)
		return;
	pthread_mutex_lock(&recorder->lock);
	recorder->is_ending = true;
	pthread_cond_broadcast(&recorder->changed);
	pthread_mutex_unlock(&recorder->lock);
	if (recorder->has_thread)
		pthread_join(recorder->thread, NULL);
	pthread_cond_destroy(&recorder->changed);
	pthread_mutex_destroy(&recorder->lock);
	ZSTD_freeCCtx(recorder->zstd);
	executables_free(recorder->executables);
	item_bytes_free(&recorder->item);
	free(recorder);
}

uint64_t ps_recorder_bytes(struct ps_recorder *recorder)
{
	uint64_t bytes;

	pthread_mutex_lock(&recorder->lock);
	bytes = recorder->written_bytes;
	pthread_mutex_unlock(&recorder->lock);
	return bytes;
}

bool ps_recorder_flush(struct ps_recorder *recorder)
{
	uint64_t now;

	if (present(recorder)->raw_bytes == 0)
		return false;
	now = now_ns();
	if (recorder->since_ns == 0)
		recorder->since_ns = now;
	if (now - recorder->since_ns < FLUSH_NS)
		return true;
	end_frame(recorder);
	return false;
}

void ps_recorder_end(struct ps_recorder *recorder)
{
	add(recorder, RECORDING_END, NULL, 0, NULL, 0);
	end_frame(recorder);
	wait_written(recorder, 0);
}

/* --- chunks ------------------------------------------------------------- */

static uint64_t key_of(const struct ps_recorder *recorder, uint64_t sock)
{
	return (sock ^ recorder->mask) * recorder->factor;
}

static struct recorded_endpoint endpoint_of(const struct ps_endpoint *endpoint)
{
	struct recorded_endpoint recorded = {.port = endpoint->port, .family = endpoint->family};

	memcpy(recorded.addr, endpoint->addr, sizeof(recorded.addr));
	return recorded;
}

static struct recorded_event event_of(const struct ps_recorder *recorder, const struct ps_event *event)
{
	struct recorded_event recorded = {
	    .ts_ns = event->ts_ns,
	    .conn_id = event->conn_id,
	    .conn_key = key_of(recorder, event->sock),
	    .pos = event->pos,
	    .other_pos = event->other_pos,
	    .len = event->len,
	    .payload_len = event->captured_len,
	    .type = event->type,
	    .direction = event->direction,
	    .flags = event->flags,
	    .fd = event->fd,
	    .socket_id = event->socket_id,
	    .elapsed_ns = event->elapsed_ns,
	    .library = event->library,
	    .resolved = event->resolved,
	    .cgroup_id = event->process.cgroup_id,
	    .tgid = event->process.tgid,
	    .tid = event->process.tid,
	    .uid = event->process.uid,
	    .ns_tgid = event->process.ns_tgid,
	    .local = endpoint_of(&event->local),
	    .remote = endpoint_of(&event->remote),
	};

	memcpy(recorded.comm, event->process.comm, sizeof(recorded.comm));
	return recorded;
}

/* The executable of the process of an event, if it is another one than was recorded last. */
static void look_up_executable(struct ps_recorder *recorder, const struct ps_event *event)
{
	struct recorded_executable recorded = {.tgid = event->process.tgid};
	char link[32], path[4096];
	ssize_t len;

	if (recorded.tgid == 0 || !executables_is_stale(recorder->executables, event))
		return;
	snprintf(link, sizeof(link), "/proc/%u/exe", recorded.tgid);
	len = readlink(link, path, sizeof(path));
	recorded.path_len = len > 0 ? (uint32_t)len : 0;
	if (!executables_is_change(recorder->executables, recorded.tgid, path, recorded.path_len))
		return;
	executables_set(recorder->executables, recorded.tgid, path, recorded.path_len);
	add(recorder, RECORDING_EXECUTABLE, &recorded, sizeof(recorded), path, recorded.path_len);
}

void recorder_record(struct ps_recorder *recorder, const void *record, size_t size)
{
	const struct ps_event *event = record;
	struct recorded_event recorded;

	if (!engine_is_well_formed(record, size)) {
		add(recorder, RECORDING_MALFORMED, NULL, 0, NULL, 0);
		return;
	}
	look_up_executable(recorder, event);
	recorded = event_of(recorder, event);
	add(recorder, RECORDING_EVENT, &recorded, sizeof(recorded), event + 1, event->captured_len);
}

void recorder_file(struct ps_recorder *recorder, const struct ps_event *event)
{
	struct recorded_event recorded = event_of(recorder, event);

	look_up_executable(recorder, event);
	recorded.payload_len = 0;
	add(recorder, RECORDING_FILE, &recorded, sizeof(recorded), NULL, 0);
}

void recorder_file_data(struct ps_recorder *recorder, const uint8_t *data, size_t len)
{
	add(recorder, RECORDING_FILE_DATA, data, len, NULL, 0);
}

void recorder_file_end(struct ps_recorder *recorder)
{
	add(recorder, RECORDING_FILE_END, NULL, 0, NULL, 0);
}

void recorder_tick(struct ps_recorder *recorder, uint64_t now)
{
	struct recorded_tick tick = {.now_ns = now};

	add(recorder, RECORDING_TICK, &tick, sizeof(tick), NULL, 0);
}

void recorder_lookup(struct ps_recorder *recorder, const struct conn *conn, const struct conn_end *end)
{
	struct recorded_lookup lookup = {
	    .conn_key = key_of(recorder, conn->sock),
	    .conn_id = conn->id,
	    .pos = {end->pos[PS_IN], end->pos[PS_OUT]},
	    .closed = end->closed,
	};

	add(recorder, RECORDING_LOOKUP, &lookup, sizeof(lookup), NULL, 0);
}

void recorder_settle(struct ps_recorder *recorder, uint64_t items)
{
	struct recorded_point point = {.items = items};

	add(recorder, RECORDING_SETTLE, &point, sizeof(point), NULL, 0);
}

void recorder_finish(struct ps_recorder *recorder, uint64_t items)
{
	struct recorded_point point = {.items = items};

	add(recorder, RECORDING_FINISH, &point, sizeof(point), NULL, 0);
}

void recorder_limit_bodies(struct ps_recorder *recorder, uint64_t items, uint64_t body_bytes_max)
{
	struct recorded_limit limit = {.items = items, .body_bytes_max = body_bytes_max};

	add(recorder, RECORDING_LIMIT, &limit, sizeof(limit), NULL, 0);
}

void recorder_note(struct ps_recorder *recorder, bool is_report, uint64_t items, struct ps_slice key,
		   struct ps_slice value)
{
	struct recorded_note note = {.items = items, .key_len = (uint32_t)key.len};
	uint8_t *at;

	if (key.len + value.len > RECORDING_CHUNK_MAX - sizeof(note))
		return;
	at = add_chunk(recorder, is_report ? RECORDING_REPORT : RECORDING_FACT, sizeof(note) + key.len + value.len);
	if (!at)
		return;
	memcpy(at, &note, sizeof(note));
	if (key.len > 0)
		memcpy(at + sizeof(note), key.data, key.len);
	if (value.len > 0)
		memcpy(at + sizeof(note) + key.len, value.data, value.len);
}

bool recorder_has_events(const struct ps_recorder *recorder)
{
	return !recorder->has_items;
}

/* As if the process had made a call when its message began. */
static void look_up_process(struct ps_recorder *recorder, const struct ps_process *process, uint64_t ts_ns)
{
	struct ps_event event = {.ts_ns = ts_ns, .type = PS_EVENT_DATA, .process = *process};

	look_up_executable(recorder, &event);
}

void recorder_before_item(struct ps_recorder *recorder, const struct ps_item *item)
{
	const struct ps_exchange *exchange = item->exchange;

	if (item->kind == PS_ITEM_MESSAGE) {
		look_up_process(recorder, &item->message->process, item->message->first_ts_ns);
		return;
	}
	if (exchange->flags & PS_EXCHANGE_REQUEST)
		look_up_process(recorder, &exchange->request.process, exchange->request.first_ts_ns);
	if (exchange->flags & PS_EXCHANGE_RESPONSE)
		look_up_process(recorder, &exchange->response.process, exchange->response.first_ts_ns);
}

void recorder_item(struct ps_recorder *recorder, const struct ps_item *item)
{
	struct item_bytes *bytes = &recorder->item;
	size_t done = 0;

	bytes->len = 0;
	bytes->is_short = false;
	recorded_item_write(bytes, item);
	if (bytes->is_short) {
		set_error(recorder, EMSGSIZE);
		return;
	}
	for (; bytes->len - done > RECORDING_ITEM_PIECE; done += RECORDING_ITEM_PIECE)
		add(recorder, RECORDING_ITEM_PART, bytes->data + done, RECORDING_ITEM_PIECE, NULL, 0);
	add(recorder, RECORDING_ITEM, bytes->data + done, bytes->len - done, NULL, 0);
}

const struct executables *recorder_executables(const struct ps_recorder *recorder)
{
	return recorder->executables;
}
