/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

/* A connection with its places in the engine's lists. */
struct entry {
	struct {
		uint64_t id;
		uint64_t sock;
	} key;
	struct conn *conn;
	struct entry *prev, *next;             /* all, the least recently used first */
	struct entry *ready_prev, *ready_next; /* may have finished exchanges */
	struct entry *held_prev, *held_next;   /* records wait */
	bool ready, held, finished;
	UT_hash_handle hh;
};

struct engine {
	struct engine_options options;
	struct entry *by_key, *all, *ready, *held;
	uint64_t now_ns; /* engine time: of the latest record, or as told by engine_tick() */
	uint64_t held_bytes;
	struct ps_capture_stats stats;
};

struct engine *engine_new(const struct engine_options *options)
{
	struct engine *engine = calloc(1, sizeof(*engine));

	if (engine)
		engine->options = *options;
	return engine;
}

static void set_ready(struct engine *engine, struct entry *entry)
{
	if (entry->ready)
		return;
	entry->ready = true;
	DL_APPEND2(engine->ready, entry, ready_prev, ready_next);
}

static void set_held(struct engine *engine, struct entry *entry)
{
	bool held = entry->conn->held_since_ns != 0;

	if (held == entry->held)
		return;
	entry->held = held;
	if (held)
		DL_APPEND2(engine->held, entry, held_prev, held_next);
	else
		DL_DELETE2(engine->held, entry, held_prev, held_next);
}

/* Take the entry out of everything but the ready list: it is freed when its exchanges have been handed out. */
static void finish_entry(struct engine *engine, struct entry *entry, uint32_t flag)
{
	engine->held_bytes -= entry->conn->held_bytes;
	conn_finish(entry->conn, flag, &engine->stats);
	set_held(engine, entry);
	HASH_DELETE(hh, engine->by_key, entry);
	DL_DELETE(engine->all, entry);
	engine->stats.conns--;
	entry->finished = true;
	set_ready(engine, entry);
}

static void free_entry(struct entry *entry)
{
	conn_free(entry->conn);
	free(entry);
}

void engine_free(struct engine *engine)
{
	struct entry *entry, *next;

	engine_finish(engine);
	DL_FOREACH_SAFE2(engine->ready, entry, next, ready_next)
	free_entry(entry);
	free(engine);
}

static struct entry *find(struct engine *engine, const struct ps_event *event)
{
	struct entry *entry, lookup = {.key = {.id = event->conn_id, .sock = event->sock}};

	HASH_FIND(hh, engine->by_key, &lookup.key, sizeof(lookup.key), entry);
	return entry;
}

static struct entry *add(struct engine *engine, const struct ps_event *event)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	entry->conn = conn_new(event, &engine->options.http1);
	if (!entry->conn) {
		free(entry);
		return NULL;
	}
	entry->key.id = event->conn_id;
	entry->key.sock = event->sock;
	if (engine->stats.conns >= engine->options.conns_max) {
		engine->stats.evicted++;
		finish_entry(engine, engine->all, PS_MESSAGE_UNFINISHED);
	}
	HASH_ADD(hh, engine->by_key, key, sizeof(entry->key), entry);
	DL_APPEND(engine->all, entry);
	engine->stats.conns++;
	return entry;
}

/* A process has ended: its AF_UNIX connections do not say so themselves. */
static void on_exit_event(struct engine *engine, uint32_t tgid)
{
	struct entry *entry, *next;

	DL_FOREACH_SAFE(engine->all, entry, next)
	{
		if (entry->conn->local.family == PS_FAMILY_UNIX && entry->conn->last_tgid == tgid) {
			entry->conn->closing = true;
			finish_entry(engine, entry, PS_MESSAGE_ABORTED);
		}
	}
}

static void end_waits(struct engine *engine)
{
	struct entry *entry, *next;

	DL_FOREACH_SAFE2(engine->held, entry, next, held_next)
	{
		if (engine->now_ns < entry->conn->held_since_ns + CONN_HOLD_NS &&
		    engine->held_bytes <= engine->options.held_bytes_max)
			return; /* the list is in the order in which waiting began */
		engine->held_bytes -= entry->conn->held_bytes;
		conn_force(entry->conn, &engine->stats);
		engine->held_bytes += entry->conn->held_bytes;
		set_held(engine, entry);
		set_ready(engine, entry);
		if (conn_is_done(entry->conn))
			finish_entry(engine, entry, PS_MESSAGE_ABORTED);
	}
}

const struct conn *engine_event(struct engine *engine, const struct ps_event *event, const uint8_t *payload)
{
	struct entry *entry;

	engine->stats.records++;
	if (event->ts_ns > engine->now_ns)
		engine->now_ns = event->ts_ns;
	if (event->type == PS_EVENT_EXIT) {
		on_exit_event(engine, event->process.tgid);
		return NULL;
	}
	if (event->type == PS_EVENT_DATA) {
		engine->stats.data_bytes += event->len;
		engine->stats.captured_bytes += event->captured_len;
	}
	entry = find(engine, event);
	if (!entry && event->type == PS_EVENT_CLOSE)
		return NULL;
	if (!entry)
		entry = add(engine, event);
	if (!entry)
		return NULL;
	DL_DELETE(engine->all, entry);
	DL_APPEND(engine->all, entry);
	engine->held_bytes -= entry->conn->held_bytes;
	conn_event(entry->conn, event, payload, engine->now_ns, &engine->stats);
	engine->held_bytes += entry->conn->held_bytes;
	set_held(engine, entry);
	set_ready(engine, entry);
	if (conn_is_done(entry->conn))
		finish_entry(engine, entry, PS_MESSAGE_ABORTED);
	if (engine->held)
		end_waits(engine);
	return !entry->finished && http1_conn_mode(entry->conn->http) != HTTP1_CONN_HTTP ? entry->conn : NULL;
}

void engine_tick(struct engine *engine, uint64_t now_ns)
{
	if (now_ns > engine->now_ns)
		engine->now_ns = now_ns;
	end_waits(engine);
}

void engine_finish(struct engine *engine)
{
	struct entry *entry, *next;

	DL_FOREACH_SAFE(engine->all, entry, next)
	finish_entry(engine, entry, PS_MESSAGE_UNFINISHED);
}

/* The first of the ready list has no more exchanges. */
static void pop_ready(struct engine *engine)
{
	struct entry *entry = engine->ready;

	DL_DELETE2(engine->ready, entry, ready_prev, ready_next);
	entry->ready = false;
	if (entry->finished)
		free_entry(entry);
}

const struct ps_exchange *engine_next(struct engine *engine)
{
	while (engine->ready) {
		struct conn *conn = engine->ready->conn;
		struct ps_exchange *exchange = http1_conn_next(conn->http);

		if (exchange) {
			exchange->conn_id = conn->id;
			exchange->local = conn->local;
			exchange->remote = conn->remote;
			exchange->unix_path.data = conn->unix_path;
			exchange->unix_path.len = conn->unix_path_len;
			engine->stats.exchanges++;
			return exchange;
		}
		pop_ready(engine);
	}
	return NULL;
}

bool engine_waiting(const struct engine *engine)
{
	return engine->held != NULL;
}

struct ps_capture_stats engine_stats(const struct engine *engine)
{
	return engine->stats;
}
