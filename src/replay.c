/* SPDX-License-Identifier: Apache-2.0 */
#include "replay.h"

#include <stdlib.h>
#include <string.h>

#include "event_filter.h"
#include "executables.h"
#include "file_feed.h"
#include "recorded_item.h"
#include "recording.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* So many chunks without an item, and the caller gets a turn. */
enum { TURN_CHUNKS = 65536 };

/* What the probes knew of a connection. */
struct lookup {
	uint64_t conn_key;
	uint64_t conn_id;
	struct conn_end end;
	UT_hash_handle hh;
};

struct replay {
	struct ps_recording *recording;
	const struct ps_event_filter *filter;
	struct engine *engine;
	struct executables *executables;
	struct lookup *lookups; /* for the next question */
	struct file_feed file;
	bool is_in_file;
	struct item_bytes parts;   /* of an item whose other parts come */
	struct recorded_item item; /* the last one */
	bool is_item_given;        /* it is that of the present chunk, and was handed out */
	bool is_finished;          /* the engine has */
	bool is_over;              /* nothing more is read: the end, damage, or the time of filter */
	uint64_t body_bytes_max;
	uint64_t body_bytes_now; /* of these, what the run that was recorded kept at that time */
	uint64_t items;          /* handed out */
	uint64_t now_ns;
	bool is_note_due;   /* the present chunk is a note that the caller has to take first */
	bool is_note_given; /* and has taken */
	struct ps_note note;
};

struct replay *replay_new(struct ps_recording *recording, const struct ps_event_filter *filter, struct engine *engine,
			  uint64_t body_bytes_max)
{
	struct replay *replay = calloc(1, sizeof(*replay));

	if (!replay)
		return NULL;
	replay->executables = executables_new();
	if (!replay->executables) {
		free(replay);
		return NULL;
	}
	replay->recording = recording;
	replay->filter = filter;
	replay->engine = engine;
	replay->body_bytes_max = body_bytes_max;
	replay->body_bytes_now = body_bytes_max;
	return replay;
}

/* --- answers about connections ------------------------------------------ */

static void clear_lookups(struct replay *replay)
{
	struct lookup *lookup = replay->lookups, *next;

	HASH_CLEAR(hh, replay->lookups); /* they stay linked */
	for (; lookup; lookup = next) {
		next = lookup->hh.next;
		free(lookup);
	}
}

void replay_free(struct replay *replay)
{
	if (!replay)
		return;
	clear_lookups(replay);
	executables_free(replay->executables);
	item_bytes_free(&replay->parts);
	recorded_item_free(&replay->item);
	free(replay);
}

/* When memory is short, the answer is that nothing is known. */
static void on_lookup(struct replay *replay, const uint8_t *data)
{
	struct recorded_lookup recorded;
	struct lookup *lookup;

	memcpy(&recorded, data, sizeof(recorded));
	HASH_FIND(hh, replay->lookups, &recorded.conn_key, sizeof(recorded.conn_key), lookup);
	if (lookup || HASH_COUNT(replay->lookups) >= RECORDING_LOOKUPS_MAX)
		return;
	lookup = calloc(1, sizeof(*lookup));
	if (!lookup)
		return;
	lookup->conn_key = recorded.conn_key;
	lookup->conn_id = recorded.conn_id;
	lookup->end.pos[PS_IN] = recorded.pos[0];
	lookup->end.pos[PS_OUT] = recorded.pos[1];
	lookup->end.closed = recorded.closed != 0;
	HASH_ADD(hh, replay->lookups, conn_key, sizeof(lookup->conn_key), lookup);
	if (!lookup->hh.tbl)
		free(lookup);
}

static bool look_up(const void *source, const struct conn *conn, struct conn_end *end)
{
	const struct replay *replay = source;
	const struct lookup *lookup;

	*end = (struct conn_end){.closed = false};
	HASH_FIND(hh, replay->lookups, &conn->sock, sizeof(conn->sock), lookup);
	if (!lookup || lookup->conn_id != conn->id)
		return false;
	*end = lookup->end;
	return true;
}

static void settle(struct replay *replay)
{
	engine_settle(replay->engine, look_up, replay);
	clear_lookups(replay);
}

void replay_finish(struct replay *replay)
{
	replay->is_over = true;
	if (replay->is_finished)
		return;
	replay->is_finished = true;
	settle(replay);
	engine_finish(replay->engine);
}

/* --- chunks ------------------------------------------------------------- */

/* Whether the event is of the part and kind that is wanted; the first one behind that part ends the replay. */
static bool is_wanted(struct replay *replay, const struct ps_event *event)
{
	if (event->ts_ns > replay->now_ns)
		replay->now_ns = event->ts_ns;
	if (replay->filter && replay->filter->until_ns != 0 && event->ts_ns > replay->filter->until_ns)
		replay->is_over = true;
	return !replay->is_over && event_filter_passes(replay->filter, event);
}

static void on_event(struct replay *replay, const struct recording_chunk_view *chunk)
{
	const struct ps_event *event = recording_event(replay->recording, chunk);
	bool is_used = is_wanted(replay, event);

	if (is_used && event->type == PS_EVENT_EXIT)
		engine_settle_process(replay->engine, event->process.tgid, look_up, replay);
	clear_lookups(replay);
	if (is_used)
		engine_record(replay->engine, event, sizeof(*event) + event->captured_len);
}

static void on_file(struct replay *replay, const struct recording_chunk_view *chunk)
{
	const struct ps_event *event = recording_event(replay->recording, chunk);

	replay->is_in_file = is_wanted(replay, event);
	if (replay->is_in_file)
		file_feed_begin(&replay->file, event, replay->body_bytes_now);
}

/* A body may be kept to a smaller part than in the run that was recorded. */
static void on_file_data(struct replay *replay, const struct recording_chunk_view *chunk)
{
	size_t room = replay->is_in_file ? file_feed_room(&replay->file) : 0;
	size_t len = chunk->len < room ? chunk->len : room;

	if (len == 0)
		return;
	memcpy(replay->file.record.data, chunk->data, len);
	file_feed_piece(&replay->file, replay->engine, len);
}

static void on_file_end(struct replay *replay, struct ps_capture_stats *own)
{
	if (replay->is_in_file)
		file_feed_end(&replay->file, replay->engine, own);
	replay->is_in_file = false;
}

static void on_tick(struct replay *replay, const uint8_t *data)
{
	struct recorded_tick tick;

	memcpy(&tick, data, sizeof(tick));
	if (tick.now_ns > replay->now_ns)
		replay->now_ns = tick.now_ns;
	engine_tick(replay->engine, tick.now_ns);
}

static void on_limit(struct replay *replay, const uint8_t *data)
{
	struct recorded_limit limit;

	memcpy(&limit, data, sizeof(limit));
	if (limit.body_bytes_max > replay->body_bytes_max)
		limit.body_bytes_max = replay->body_bytes_max;
	replay->body_bytes_now = limit.body_bytes_max;
	engine_limit_bodies(replay->engine, limit.body_bytes_max);
}

static void on_executable(struct replay *replay, const struct recording_chunk_view *chunk)
{
	struct recorded_executable recorded;

	memcpy(&recorded, chunk->data, sizeof(recorded));
	executables_set(replay->executables, recorded.tgid, (const char *)chunk->data + sizeof(recorded),
			recorded.path_len);
}

/* Do what a chunk tells of, in which there is no note. */
static void apply(struct replay *replay, const struct recording_chunk_view *chunk, struct ps_capture_stats *own)
{
	switch (chunk->type) {
	case RECORDING_EVENT:
		on_event(replay, chunk);
		break;
	case RECORDING_MALFORMED:
		engine_record(replay->engine, chunk->data, 0);
		break;
	case RECORDING_FILE:
		on_file(replay, chunk);
		break;
	case RECORDING_FILE_DATA:
		on_file_data(replay, chunk);
		break;
	case RECORDING_FILE_END:
		on_file_end(replay, own);
		break;
	case RECORDING_TICK:
		on_tick(replay, chunk->data);
		break;
	case RECORDING_LOOKUP:
		on_lookup(replay, chunk->data);
		break;
	case RECORDING_SETTLE:
		settle(replay);
		break;
	case RECORDING_FINISH:
		replay_finish(replay);
		replay->is_over = false; /* what was reported then follows */
		break;
	case RECORDING_LIMIT:
		on_limit(replay, chunk->data);
		break;
	case RECORDING_EXECUTABLE:
		on_executable(replay, chunk);
		break;
	case RECORDING_ITEM_PART:
		item_bytes_put(&replay->parts, chunk->data, chunk->len);
		break;
	default:
		break;
	}
}

/* --- items --------------------------------------------------------------- */

static void keep_less(struct ps_body *body, uint64_t max)
{
	if (body->kept.len <= max)
		return;
	body->kept.len = (size_t)max;
	if (body->state == PS_BODY_COMPLETE)
		body->state = PS_BODY_TRUNCATED;
}

/* When the item began: of a message, itself. */
static uint64_t start_of(const struct ps_item *item)
{
	const struct ps_exchange *exchange = item->exchange;

	if (item->message)
		return item->message->first_ts_ns;
	return exchange->flags & PS_EXCHANGE_REQUEST ? exchange->request.first_ts_ns : exchange->response.first_ts_ns;
}

/* An item that was read, if it is of the part and kind that is wanted; else NULL. */
static const struct ps_item *item_to_show(struct replay *replay)
{
	struct recorded_item *recorded = &replay->item;
	uint64_t ts_ns = start_of(&recorded->item), until_ns = replay->filter ? replay->filter->until_ns : 0;

	if (ts_ns > replay->now_ns && ts_ns <= INT64_MAX)
		replay->now_ns = ts_ns;
	if (until_ns != 0 && ts_ns > until_ns)
		return NULL;
	if (!event_filter_passes_item(replay->filter, &recorded->item))
		return NULL;
	keep_less(&recorded->exchange.request.body, replay->body_bytes_max);
	keep_less(&recorded->exchange.response.body, replay->body_bytes_max);
	if (recorded->item.message)
		keep_less(&recorded->message.body, replay->body_bytes_max);
	return &recorded->item;
}

/* The item that ends with this chunk, NULL when it is not to be shown or none at all. */
static const struct ps_item *on_item(struct replay *replay, const struct recording_chunk_view *chunk)
{
	const uint8_t *data = chunk->data;
	size_t len = chunk->len;

	if (replay->parts.len > 0) {
		item_bytes_put(&replay->parts, data, len);
		data = replay->parts.data;
		len = replay->parts.len;
	}
	if (replay->parts.is_short || !recorded_item_read(&replay->item, data, len)) {
		recording_set_damaged(replay->recording);
		return NULL;
	}
	return item_to_show(replay);
}

/* Be done with the item that was handed out from the present chunk. */
static void end_item(struct replay *replay)
{
	if (!replay->is_item_given)
		return;
	replay->is_item_given = false;
	replay->parts.len = 0;
	recording_advance(replay->recording);
}

/* --- reading ------------------------------------------------------------ */

/* The present chunk; NULL at the end, and while a note waits for the caller. */
static const struct recording_chunk_view *peek(struct replay *replay)
{
	const struct recording_chunk_view *chunk;

	if (replay->is_over || replay->is_note_due)
		return NULL;
	chunk = recording_peek(replay->recording);
	replay->is_over = chunk == NULL;
	return chunk;
}

static bool is_note(const struct recording_chunk_view *chunk)
{
	return chunk->type == RECORDING_FACT || chunk->type == RECORDING_REPORT;
}

/*
 * Whether the chunk comes before items that wait: what was asked or reported when no more had been handed out, what
 * those who print them have to know, and the rest of a file.
 */
static bool comes_first(const struct replay *replay, const struct recording_chunk_view *chunk)
{
	switch (chunk->type) {
	case RECORDING_FACT:
	case RECORDING_LOOKUP:
	case RECORDING_FILE_DATA:
	case RECORDING_FILE_END:
		return true;
	case RECORDING_REPORT:
	case RECORDING_SETTLE:
	case RECORDING_FINISH:
	case RECORDING_LIMIT:
		return recording_items(chunk) <= replay->items;
	default:
		return false;
	}
}

/* Apply the chunk, or have the caller take its note. */
static void step(struct replay *replay, const struct recording_chunk_view *chunk, struct ps_capture_stats *own)
{
	if (is_note(chunk)) {
		replay->is_note_due = true;
		return;
	}
	/* Once the engine has finished, events would begin connections that nothing ends. */
	if (!replay->is_finished)
		apply(replay, chunk, own);
	recording_advance(replay->recording);
}

const struct ps_item *replay_next(struct replay *replay, struct ps_capture_stats *own)
{
	end_item(replay);
	for (int turn = 0; turn < TURN_CHUNKS; turn++) {
		const struct recording_chunk_view *chunk = peek(replay);
		const struct ps_item *item = NULL;

		if (replay->is_note_due)
			return NULL;
		if (!chunk || !comes_first(replay, chunk)) {
			item = engine_next(replay->engine);
			replay->items += item != NULL;
			if (item || !chunk)
				return item;
		}
		if (chunk->type != RECORDING_ITEM) {
			step(replay, chunk, own);
			continue;
		}
		item = on_item(replay, chunk);
		replay->is_item_given = true;
		if (item)
			return item;
		end_item(replay);
	}
	return NULL;
}

/* The event of a chunk, if it is one to hand out. */
static const struct ps_event *event_to_show(struct replay *replay, const struct recording_chunk_view *chunk)
{
	const struct ps_event *event;

	if (chunk->type != RECORDING_EVENT)
		return NULL;
	event = recording_event(replay->recording, chunk);
	if (!is_wanted(replay, event) || !engine_is_well_formed(event, sizeof(*event) + event->captured_len))
		return NULL;
	return event;
}

const struct ps_event *replay_next_event(struct replay *replay, struct ps_capture_stats *own)
{
	const struct recording_chunk_view *chunk;

	while ((chunk = peek(replay)) != NULL) {
		const struct ps_event *event = event_to_show(replay, chunk);

		own->malformed += chunk->type == RECORDING_MALFORMED;
		if (is_note(chunk)) {
			replay->is_note_due = true;
			break;
		}
		if (chunk->type == RECORDING_EXECUTABLE)
			on_executable(replay, chunk);
		recording_advance(replay->recording);
		replay->items += event != NULL;
		if (event)
			return event;
	}
	return NULL;
}

const struct ps_note *replay_note(struct replay *replay)
{
	if (!replay->is_note_due)
		return NULL;
	if (replay->is_note_given) {
		recording_advance(replay->recording);
		replay->is_note_due = replay->is_note_given = false;
		return NULL;
	}
	replay->is_note_given = true;
	replay->note = recording_note(recording_peek(replay->recording));
	return &replay->note;
}

bool replay_is_pending(const struct replay *replay)
{
	return !replay->is_over;
}

const char *replay_executable(const struct replay *replay, uint32_t tgid)
{
	return executables_get(replay->executables, tgid);
}

uint64_t replay_now_ns(const struct replay *replay)
{
	return replay->now_ns;
}
