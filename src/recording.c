/* SPDX-License-Identifier: Apache-2.0 */
#include "recording.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

struct ps_recording {
	int fd;
	enum ps_recording_state state;
	ZSTD_DCtx *zstd;
	uint64_t file_bytes; /* read, of whole frames */
	char *start;
	size_t start_len;
	size_t raw_bytes, at; /* of the present frame, and how far it has been read */
	bool is_peeked;
	struct recording_chunk_view chunk; /* at `at`, when is_peeked */
	struct recording_event event;
	_Alignas(8) uint8_t raw[RECORDING_FRAME_MAX];
	uint8_t stored[ZSTD_COMPRESSBOUND(RECORDING_FRAME_MAX)];
};

/* --- frames ------------------------------------------------------------- */

/* Read len bytes; returns how many there were until the end of the file, or -1. */
static ssize_t read_all(int fd, void *bytes, size_t len)
{
	uint8_t *to = bytes;
	size_t done = 0;

	while (done < len) {
		ssize_t got = read(fd, to + done, len - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

/* Returns whether all len bytes were there. If not, the file ends within them or cannot be read. */
static bool read_exactly(struct ps_recording *recording, void *bytes, size_t len)
{
	ssize_t got = read_all(recording->fd, bytes, len);

	if (got == (ssize_t)len)
		return true;
	recording->state = got < 0 ? PS_RECORDING_UNREADABLE : PS_RECORDING_CUT;
	return false;
}

/* Returns false when there is no frame: the state says why. */
static bool read_frame(struct ps_recording *recording)
{
	struct recording_frame frame;
	size_t raw;

	recording->raw_bytes = recording->at = 0;
	if (!read_exactly(recording, &frame, sizeof(frame)))
		return false;
	if (frame.raw_bytes == 0 || frame.raw_bytes > RECORDING_FRAME_MAX || frame.raw_bytes % 8 != 0 ||
	    frame.stored_bytes > sizeof(recording->stored)) {
		recording->state = PS_RECORDING_DAMAGED;
		return false;
	}
	if (!read_exactly(recording, recording->stored, frame.stored_bytes))
		return false;
	raw = ZSTD_decompressDCtx(recording->zstd, recording->raw, frame.raw_bytes, recording->stored,
				  frame.stored_bytes);
	if (ZSTD_isError(raw) || raw != frame.raw_bytes) {
		recording->state = PS_RECORDING_DAMAGED;
		return false;
	}
	recording->raw_bytes = raw;
	recording->file_bytes += sizeof(frame) + frame.stored_bytes;
	return true;
}

/* --- chunks ------------------------------------------------------------- */

/* The engine adds to times. */
static bool is_time(uint64_t ts_ns)
{
	return ts_ns <= INT64_MAX;
}

static bool has_event(const struct recording_chunk_view *chunk, bool is_exact)
{
	struct recorded_event event;

	if (chunk->len < sizeof(event))
		return false;
	memcpy(&event, chunk->data, sizeof(event));
	if (!is_time(event.ts_ns))
		return false;
	return is_exact ? event.payload_len == chunk->len - sizeof(event) : chunk->len == sizeof(event);
}

static bool has_tick(const struct recording_chunk_view *chunk)
{
	struct recorded_tick tick;

	if (chunk->len != sizeof(tick))
		return false;
	memcpy(&tick, chunk->data, sizeof(tick));
	return is_time(tick.now_ns);
}

static bool has_note(const struct recording_chunk_view *chunk)
{
	struct recorded_note note;

	if (chunk->len < sizeof(note))
		return false;
	memcpy(&note, chunk->data, sizeof(note));
	return note.key_len <= chunk->len - sizeof(note);
}

static bool has_executable(const struct recording_chunk_view *chunk)
{
	struct recorded_executable executable;

	if (chunk->len < sizeof(executable))
		return false;
	memcpy(&executable, chunk->data, sizeof(executable));
	return executable.path_len == chunk->len - sizeof(executable);
}

/* Whether the chunk has what its type demands. */
static bool is_well_formed(const struct recording_chunk_view *chunk)
{
	switch (chunk->type) {
	case RECORDING_EVENT:
		return has_event(chunk, true);
	case RECORDING_FILE:
		return has_event(chunk, false);
	case RECORDING_FILE_DATA:
		return chunk->len <= RECORDING_FILE_PIECE;
	case RECORDING_TICK:
		return has_tick(chunk);
	case RECORDING_LOOKUP:
		return chunk->len == sizeof(struct recorded_lookup);
	case RECORDING_SETTLE:
	case RECORDING_FINISH:
		return chunk->len == sizeof(struct recorded_point);
	case RECORDING_LIMIT:
		return chunk->len == sizeof(struct recorded_limit);
	case RECORDING_EXECUTABLE:
		return has_executable(chunk);
	case RECORDING_FACT:
	case RECORDING_REPORT:
		return has_note(chunk);
	case RECORDING_START:
		return true;
	case RECORDING_ITEM_PART:
	case RECORDING_ITEM:
		return chunk->len <= RECORDING_ITEM_PIECE;
	case RECORDING_MALFORMED:
	case RECORDING_FILE_END:
	case RECORDING_END:
		return chunk->len == 0;
	}
	return (chunk->type & RECORDING_TYPE_CAN_BE_SKIPPED) != 0;
}

/* Look at the chunk at the position, which is before the end of the frame. Returns false when it is damaged. */
static bool look(struct ps_recording *recording)
{
	size_t left = recording->raw_bytes - recording->at;
	struct recording_chunk head;

	if (left < sizeof(head))
		return false;
	memcpy(&head, recording->raw + recording->at, sizeof(head));
	left -= sizeof(head);
	if (head.len > RECORDING_CHUNK_MAX || ((head.len + 7U) & ~7U) > left)
		return false;
	recording->chunk = (struct recording_chunk_view){
	    .type = (enum recording_type)head.type,
	    .data = recording->raw + recording->at + sizeof(head),
	    .len = head.len,
	};
	return is_well_formed(&recording->chunk);
}

const struct recording_chunk_view *recording_peek(struct ps_recording *recording)
{
	while (!recording->is_peeked && recording->state == PS_RECORDING_READING) {
		if (recording->at == recording->raw_bytes && !read_frame(recording))
			break;
		if (!look(recording)) {
			recording->state = PS_RECORDING_DAMAGED;
			break;
		}
		recording->is_peeked = true;
		if (recording->chunk.type & RECORDING_TYPE_CAN_BE_SKIPPED)
			recording_advance(recording);
		else if (recording->chunk.type == RECORDING_END)
			recording->state = PS_RECORDING_ENDED;
	}
	return recording->state == PS_RECORDING_READING ? &recording->chunk : NULL;
}

void recording_advance(struct ps_recording *recording)
{
	if (!recording->is_peeked)
		return;
	recording->is_peeked = false;
	recording->at += sizeof(struct recording_chunk) + ((recording->chunk.len + 7) & ~(size_t)7);
}

/* --- life --------------------------------------------------------------- */

/* Read what comes before the first event. 0 or an errno. */
static int read_start(struct ps_recording *recording)
{
	struct recording_header header;
	const struct recording_chunk_view *chunk;

	if (!read_exactly(recording, &header, sizeof(header)))
		return recording->state == PS_RECORDING_CUT ? EINVAL : errno;
	if (memcmp(header.magic, RECORDING_MAGIC, sizeof(header.magic)) != 0)
		return EINVAL;
	if (header.version != RECORDING_VERSION)
		return EPROTO;
	recording->file_bytes = sizeof(header);
	chunk = recording_peek(recording);
	if (!chunk || chunk->type != RECORDING_START)
		return EBADMSG;
	recording->start = malloc(chunk->len + 1);
	if (!recording->start)
		return ENOMEM;
	memcpy(recording->start, chunk->data, chunk->len);
	recording->start_len = chunk->len;
	recording_advance(recording);
	return 0;
}

struct ps_recording *ps_recording_open(int fd)
{
	struct ps_recording *recording = calloc(1, sizeof(*recording));
	int error;

	if (!recording)
		return NULL;
	recording->fd = fd;
	recording->zstd = ZSTD_createDCtx();
	error = recording->zstd ? read_start(recording) : ENOMEM;
	if (error == 0)
		return recording;
	ps_recording_free(recording);
	errno = error;
	return NULL;
}

void ps_recording_free(struct ps_recording *recording)
{
	if (!recording)
		return;
	ZSTD_freeDCtx(recording->zstd);
	free(recording->start);
	free(recording);
}

void recording_set_damaged(struct ps_recording *recording)
{
	recording->state = PS_RECORDING_DAMAGED;
}

enum ps_recording_state ps_recording_state(const struct ps_recording *recording)
{
	return recording->state;
}

struct ps_slice ps_recording_start(const struct ps_recording *recording)
{
	return (struct ps_slice){.data = recording->start, .len = recording->start_len};
}

uint64_t ps_recording_bytes(const struct ps_recording *recording)
{
	return recording->file_bytes;
}

/* --- what is in them ---------------------------------------------------- */

static struct ps_endpoint endpoint_of(const struct recorded_endpoint *recorded)
{
	struct ps_endpoint endpoint = {.port = recorded->port, .family = recorded->family};

	memcpy(endpoint.addr, recorded->addr, sizeof(endpoint.addr));
	return endpoint;
}

const struct ps_event *recording_event(struct ps_recording *recording, const struct recording_chunk_view *chunk)
{
	struct recorded_event recorded;

	memcpy(&recorded, chunk->data, sizeof(recorded));
	recording->event.event = (struct ps_event){
	    .ts_ns = recorded.ts_ns,
	    .conn_id = recorded.conn_id,
	    .sock = recorded.conn_key,
	    .pos = recorded.pos,
	    .other_pos = recorded.other_pos,
	    .len = recorded.len,
	    .captured_len = (uint32_t)(chunk->len - sizeof(recorded)),
	    .type = recorded.type,
	    .direction = recorded.direction,
	    .flags = recorded.flags,
	    .fd = recorded.fd,
	    .socket_id = recorded.socket_id,
	    .elapsed_ns = recorded.elapsed_ns,
	    .library = recorded.library,
	    .resolved = recorded.resolved,
	    .process = {.cgroup_id = recorded.cgroup_id,
			.tgid = recorded.tgid,
			.tid = recorded.tid,
			.uid = recorded.uid,
			.ns_tgid = recorded.ns_tgid},
	    .local = endpoint_of(&recorded.local),
	    .remote = endpoint_of(&recorded.remote),
	};
	memcpy(recording->event.event.process.comm, recorded.comm, sizeof(recorded.comm));
	recording->event.event.process.comm[sizeof(recorded.comm) - 1] = '\0';
	memcpy(recording->event.payload, chunk->data + sizeof(recorded), chunk->len - sizeof(recorded));
	return &recording->event.event;
}

struct ps_note recording_note(const struct recording_chunk_view *chunk)
{
	struct recorded_note recorded;
	const char *key = (const char *)chunk->data + sizeof(recorded);

	memcpy(&recorded, chunk->data, sizeof(recorded));
	return (struct ps_note){
	    .key = {.data = key, .len = recorded.key_len},
	    .value = {.data = key + recorded.key_len, .len = chunk->len - sizeof(recorded) - recorded.key_len},
	    .is_report = chunk->type == RECORDING_REPORT,
	};
}

uint64_t recording_items(const struct recording_chunk_view *chunk)
{
	uint64_t items = 0;

	/* The first field of their structs. */
	if (chunk->type == RECORDING_REPORT || chunk->type == RECORDING_SETTLE || chunk->type == RECORDING_FINISH ||
	    chunk->type == RECORDING_LIMIT)
		memcpy(&items, chunk->data, sizeof(items));
	return items;
}
