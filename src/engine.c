/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"
#include "tls_hello.h"

#include <stdlib.h>
#include <string.h>

/* Keys are addresses of kernel objects: their low bits are all alike, a multiplication spreads the others. */
#define HASH_FUNCTION(key, len, hash) ((hash) = (unsigned int)((*(const uint64_t *)(key)*0x9e3779b97f4a7c15ULL) >> 32))
#define HASH_KEYCMP(a, b, len)        (*(const uint64_t *)(a) != *(const uint64_t *)(b))
#define HASH_NONFATAL_OOM             1
#include <uthash.h>
#include <utlist.h>

enum { OWNER_BUCKETS = 1024 };

/* An exchange that goes on so long after the head of its response is handed out as started: short ones stay one item.
 */
#define OPEN_NS 1000000000ULL

/* A connection with its places in the engine's lists. */
struct entry {
	struct conn conn;                      /* conn.sock is the key */
	struct entry *prev, *next;             /* all, the least recently used first */
	struct entry *ready_prev, *ready_next; /* may have finished exchanges */
	struct entry *held_prev, *held_next;   /* records wait, looked at longest ago first */
	struct entry *owner_prev, *owner_next; /* ends with its process */
	struct entry *open_prev, *open_next;   /* has a response that goes on, looked at longest ago first */
	uint64_t open_at_ns;                   /* engine time at which it was looked at */
	uint64_t looked_at_ns;                 /* engine time at which waiting began or was looked at last */
	uint32_t owner_tgid;
	bool ready, held, owned, open, finished;
	UT_hash_handle hh;
};

struct engine {
	struct engine_options options;
	struct entry *by_sock, *all, *ready, *held, *open;
	struct entry *owned[OWNER_BUCKETS];
	uint64_t now_ns; /* engine time: of the latest record, or as told by engine_tick() */
	uint64_t held_bytes;
	uint64_t last_id; /* of an exchange */
	struct ps_item item;
	struct ps_capture_stats stats;
};

struct engine *engine_new(const struct engine_options *options)
{
	struct engine *engine = calloc(1, sizeof(*engine));

	if (!engine)
		return NULL;
	engine->options = *options;
	if (engine->options.conns_max == 0)
		engine->options.conns_max = 1;
	return engine;
}

/* --- lists -------------------------------------------------------------- */

static void set_ready(struct engine *engine, struct entry *entry)
{
	if (entry->ready)
		return;
	entry->ready = true;
	DL_APPEND2(engine->ready, entry, ready_prev, ready_next);
}

static void set_held(struct engine *engine, struct entry *entry)
{
	bool held = conn_is_waiting(&entry->conn);

	if (held == entry->held)
		return;
	entry->held = held;
	if (held) {
		entry->looked_at_ns = engine->now_ns;
		DL_APPEND2(engine->held, entry, held_prev, held_next);
	} else {
		DL_DELETE2(engine->held, entry, held_prev, held_next);
	}
}

static void clear_open(struct engine *engine, struct entry *entry)
{
	if (entry->open)
		DL_DELETE2(engine->open, entry, open_prev, open_next);
	entry->open = false;
}

/* Look at the connection OPEN_NS after the response that goes on began, not each time that something comes of it. */
static void set_open(struct engine *engine, struct entry *entry)
{
	if (entry->open || entry->finished || http_conn_start(entry->conn.http, 0) == 0)
		return;
	entry->open = true;
	entry->open_at_ns = engine->now_ns;
	DL_APPEND2(engine->open, entry, open_prev, open_next);
}

static struct entry **owner_bucket(struct engine *engine, uint32_t tgid)
{
	return &engine->owned[tgid % OWNER_BUCKETS];
}

static void clear_owner(struct engine *engine, struct entry *entry)
{
	struct entry **bucket = owner_bucket(engine, entry->owner_tgid);

	if (entry->owned)
		DL_DELETE2(*bucket, entry, owner_prev, owner_next);
	entry->owned = false;
}

/* Nothing but TCP tells of the close that comes with the end of a process. */
static void set_owner(struct engine *engine, struct entry *entry)
{
	uint32_t tgid = entry->conn.last_tgid;
	struct entry **bucket = owner_bucket(engine, tgid);

	if (entry->conn.kernel_pos || (entry->owned && entry->owner_tgid == tgid))
		return;
	clear_owner(engine, entry);
	entry->owned = true;
	entry->owner_tgid = tgid;
	DL_APPEND2(*bucket, entry, owner_prev, owner_next);
}

/* --- life of a connection ----------------------------------------------- */

/*
 * To the end of the ready list, also when it is there: whether what has been handed out was the last of an entry is
 * known only when more is asked for, and the order of what comes when all finish must not depend on that.
 */
static void set_ready_last(struct engine *engine, struct entry *entry)
{
	if (entry->ready)
		DL_DELETE2(engine->ready, entry, ready_prev, ready_next);
	entry->ready = false;
	set_ready(engine, entry);
}

/* Take the entry out of everything but the ready list: it is freed when its exchanges have been handed out. */
static void finish_entry(struct engine *engine, struct entry *entry, uint32_t flag)
{
	engine->held_bytes -= entry->conn.held_bytes;
	conn_finish(&entry->conn, flag, &engine->stats);
	conn_add_stats(&entry->conn, &engine->stats);
	set_held(engine, entry);
	clear_owner(engine, entry);
	clear_open(engine, entry);
	HASH_DEL(engine->by_sock, entry);
	DL_DELETE(engine->all, entry);
	engine->stats.conns--;
	entry->finished = true;
	set_ready_last(engine, entry);
}

static void free_entry(struct entry *entry)
{
	conn_fini(&entry->conn);
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

static void close_entry(struct engine *engine, struct entry *entry)
{
	entry->conn.closing = true;
	finish_entry(engine, entry, PS_MESSAGE_ABORTED);
}

static struct entry *find(struct engine *engine, const struct ps_event *event)
{
	struct entry *entry;

	HASH_FIND(hh, engine->by_sock, &event->sock, sizeof(event->sock), entry);
	if (!entry || entry->conn.id == event->conn_id)
		return entry;
	/* The kernel has reused the sock: the end of the earlier connection was lost, who knows with what else. */
	entry->conn.closing = true;
	finish_entry(engine, entry, PS_MESSAGE_ABORTED | PS_MESSAGE_LOST_TAIL);
	return NULL;
}

static struct entry *add(struct engine *engine, const struct ps_event *event)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	if (!conn_init(&entry->conn, event, &engine->options.http)) {
		free(entry);
		return NULL;
	}
	HASH_ADD(hh, engine->by_sock, conn.sock, sizeof(entry->conn.sock), entry);
	if (!entry->hh.tbl) { /* memory is short */
		free_entry(entry);
		return NULL;
	}
	DL_APPEND(engine->all, entry);
	engine->stats.conns++;
	if (engine->stats.conns > engine->options.conns_max) {
		engine->stats.evicted++;
		finish_entry(engine, engine->all, PS_MESSAGE_UNFINISHED);
	}
	return entry;
}

/* --- records ------------------------------------------------------------ */

static void on_exit_event(struct engine *engine, uint32_t tgid)
{
	struct entry *entry, *next;

	DL_FOREACH_SAFE2(*owner_bucket(engine, tgid), entry, next, owner_next)
	{
		if (entry->owner_tgid == tgid)
			close_entry(engine, entry);
	}
}

/* End the connection's waits that are due; all when too much waits. */
static void end_waits_of(struct engine *engine, struct entry *entry, uint64_t since_ns)
{
	struct conn *conn = &entry->conn;

	engine->held_bytes -= conn->held_bytes;
	conn_force(conn, since_ns, &engine->stats);
	engine->held_bytes += conn->held_bytes;
	set_ready(engine, entry);
	set_held(engine, entry);
	if (conn_is_done(conn))
		finish_entry(engine, entry, PS_MESSAGE_ABORTED);
}

/*
 * The list is in the order in which entries were last looked at, so only its
 * first ones can be due. What began to wait after its connection was last
 * looked at waits up to twice CONN_HOLD_NS.
 */
static void end_waits(struct engine *engine)
{
	struct entry *entry;

	while ((entry = engine->held) != NULL) {
		bool full = engine->held_bytes > engine->options.held_bytes_max;

		if (!full && engine->now_ns < entry->looked_at_ns + CONN_HOLD_NS)
			return;
		end_waits_of(engine, entry, full ? UINT64_MAX : engine->now_ns - CONN_HOLD_NS);
		if (!entry->held)
			continue;
		entry->looked_at_ns = engine->now_ns;
		if (entry->held_next) { /* it is the first: to the end */
			DL_DELETE2(engine->held, entry, held_prev, held_next);
			DL_APPEND2(engine->held, entry, held_prev, held_next);
		}
	}
}

/* What has been open for long enough is handed out as started. The list is in the order of open_at_ns. */
static void start_open(struct engine *engine)
{
	struct entry *entry;

	while ((entry = engine->open) != NULL && engine->now_ns >= entry->open_at_ns + OPEN_NS) {
		clear_open(engine, entry);
		http_conn_start(entry->conn.http, engine->now_ns - OPEN_NS);
		set_ready(engine, entry);
		set_open(engine, entry);
	}
}

/* The connection of the record; NULL when there is none and none begins with it, or memory is short. */
static struct entry *entry_of(struct engine *engine, const struct ps_event *event)
{
	struct entry *entry = find(engine, event);

	if (!entry) {
		/* What ends a connection that is not known, or was given up, ends nothing. */
		bool begins = event->type == PS_EVENT_DATA || event->type == PS_EVENT_PATH ||
			      event->type == PS_EVENT_HELLO || event->type == PS_EVENT_HANDSHAKE;

		return begins ? add(engine, event) : NULL;
	}
	if (entry->next) { /* not the last, that is the most recently used one */
		DL_DELETE(engine->all, entry);
		DL_APPEND(engine->all, entry);
	}
	return entry;
}

static const struct conn *on_conn_event(struct engine *engine, const struct ps_event *event, const uint8_t *payload)
{
	struct entry *entry = entry_of(engine, event);
	struct conn *conn;

	if (!entry) {
		if (event->type == PS_EVENT_DATA)
			engine->stats.dropped_bytes += event->len;
		return NULL;
	}
	conn = &entry->conn;
	engine->held_bytes -= conn->held_bytes;
	conn_event(conn, event, payload, engine->now_ns, &engine->stats);
	engine->held_bytes += conn->held_bytes;
	set_held(engine, entry);
	set_owner(engine, entry);
	set_ready(engine, entry);
	set_open(engine, entry);
	if (conn_is_done(conn))
		finish_entry(engine, entry, PS_MESSAGE_ABORTED);
	return !entry->finished && http_conn_mode(conn->http) != HTTP_MODE_HTTP ? conn : NULL;
}

bool engine_is_well_formed(const void *record, size_t size)
{
	const struct ps_event *event = record;

	if (size < sizeof(*event) || event->captured_len > size - sizeof(*event))
		return false;
	if (event->direction > PS_OUT)
		return false;
	if (event->pos > INT64_MAX || event->other_pos > INT64_MAX) /* sums of it must not wrap */
		return false;
	switch (event->type) {
	case PS_EVENT_DATA:
	case PS_EVENT_HELLO:
		return event->captured_len <= event->len;
	case PS_EVENT_PATH:
		return event->captured_len <= PS_UNIX_PATH_LEN;
	case PS_EVENT_END: /* waits in the place of bytes, and stands for none */
		return event->captured_len == 0 && event->len == 0;
	case PS_EVENT_CLOSE:
	case PS_EVENT_EXIT:
	case PS_EVENT_BIND:
	case PS_EVENT_HANDSHAKE:
		return event->captured_len == 0;
	}
	return false;
}

const struct conn *engine_record(struct engine *engine, const void *record, size_t size)
{
	const struct ps_event *event = record;
	const struct conn *stop = NULL;

	engine->stats.records++;
	if (!engine_is_well_formed(record, size)) {
		engine->stats.malformed++;
		return NULL;
	}
	if (event->ts_ns > engine->now_ns)
		engine->now_ns = event->ts_ns;
	if (event->type == PS_EVENT_DATA) {
		engine->stats.data_bytes += event->len;
		engine->stats.captured_bytes += event->captured_len;
	}
	if (event->type == PS_EVENT_EXIT)
		on_exit_event(engine, event->process.tgid);
	else
		stop = on_conn_event(engine, event, (const uint8_t *)(event + 1));
	if (engine->held)
		end_waits(engine);
	start_open(engine);
	return stop;
}

struct conn *engine_conn(struct engine *engine, const struct ps_event *event)
{
	struct entry *entry;

	HASH_FIND(hh, engine->by_sock, &event->sock, sizeof(event->sock), entry);
	return entry && entry->conn.id == event->conn_id ? &entry->conn : NULL;
}

void engine_tick(struct engine *engine, uint64_t now_ns)
{
	if (now_ns > engine->now_ns)
		engine->now_ns = now_ns;
	end_waits(engine);
	start_open(engine);
}

void engine_settle(struct engine *engine, engine_lookup lookup, const void *source)
{
	struct entry *entry, *next;
	struct conn_end end;

	DL_FOREACH_SAFE(engine->all, entry, next)
	{
		if (!lookup(source, &entry->conn, &end))
			continue;
		conn_set_end(&entry->conn, &end, engine->now_ns);
		if (conn_is_done(&entry->conn))
			finish_entry(engine, entry, PS_MESSAGE_ABORTED);
	}
}

void engine_limit_bodies(struct engine *engine, size_t body_bytes_max)
{
	struct entry *entry;

	engine->options.http.body_bytes_max = body_bytes_max;
	DL_FOREACH(engine->all, entry)
	{
		http_conn_limit_bodies(entry->conn.http, body_bytes_max);
	}
}

void engine_settle_process(struct engine *engine, uint32_t tgid, engine_lookup lookup, const void *source)
{
	struct entry *entry;
	struct conn_end end;

	DL_FOREACH2(*owner_bucket(engine, tgid), entry, owner_next)
	{
		if (entry->owner_tgid == tgid && lookup(source, &entry->conn, &end))
			conn_set_end(&entry->conn, &end, engine->now_ns);
	}
}

void engine_finish(struct engine *engine)
{
	struct entry *entry, *next;

	DL_FOREACH_SAFE(engine->all, entry, next)
	finish_entry(engine, entry, PS_MESSAGE_UNFINISHED);
}

/* --- results ------------------------------------------------------------ */

/* The first of the ready list has no more exchanges. */
static void pop_ready(struct engine *engine)
{
	struct entry *entry = engine->ready;

	DL_DELETE2(engine->ready, entry, ready_prev, ready_next);
	entry->ready = false;
	if (entry->finished)
		free_entry(entry);
}

/* What the connection knows of an exchange on it. */
static void complete(struct engine *engine, const struct conn *conn, struct ps_exchange *exchange)
{
	if (exchange->id == 0)
		exchange->id = ++engine->last_id;
	exchange->conn_id = conn->id;
	exchange->local = conn->local;
	exchange->remote = conn->remote;
	exchange->socket_id = conn->socket_id;
	exchange->fd = conn->fd;
	exchange->library = conn->library;
	exchange->resolved = conn->resolved;
	exchange->tls = conn->hello ? tls_hello_info(conn->hello) : NULL;
	exchange->handshake_ns = conn->handshake_ns;
	exchange->unix_path.data = conn->unix_path;
	exchange->unix_path.len = conn->unix_path_len;
}

const struct ps_item *engine_next(struct engine *engine)
{
	while (engine->ready) {
		struct conn *conn = &engine->ready->conn;
		struct http_item item = http_conn_next(conn->http);

		if (item.exchange) {
			complete(engine, conn, item.exchange);
			engine->stats.exchanges += item.kind == PS_ITEM_EXCHANGE;
			engine->stats.messages += item.kind == PS_ITEM_MESSAGE;
			engine->item =
			    (struct ps_item){.kind = item.kind, .exchange = item.exchange, .message = item.message};
			return &engine->item;
		}
		pop_ready(engine);
	}
	return NULL;
}

bool engine_has_open(const struct engine *engine)
{
	return engine->open != NULL;
}

bool engine_waiting(const struct engine *engine)
{
	return engine->held != NULL;
}

struct ps_capture_stats engine_stats(const struct engine *engine)
{
	struct ps_capture_stats stats = engine->stats;

	for (const struct entry *entry = engine->all; entry; entry = entry->next)
		conn_add_stats(&entry->conn, &stats);
	return stats;
}

size_t engine_memory(const struct engine *engine)
{
	size_t bytes = 0;

	for (const struct entry *entry = engine->all; entry; entry = entry->next)
		bytes += sizeof(*entry) + entry->conn.held_bytes + entry->conn.unix_path_len +
			 http_conn_memory(entry->conn.http);
	return bytes;
}
