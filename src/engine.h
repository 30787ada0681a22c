/* SPDX-License-Identifier: Apache-2.0 */
/* All connections: records in, exchanges out. Knows nothing of BPF. */
#ifndef PLAINSIGHT_ENGINE_H
#define PLAINSIGHT_ENGINE_H

#include "conn.h"
#include "plainsight.h"

struct engine;

struct engine_options {
	struct http_limits http;
	uint32_t conns_max; /* at least 1 */
	uint64_t held_bytes_max;
};

/* NULL when memory is short. */
struct engine *engine_new(const struct engine_options *options);
void engine_free(struct engine *engine);

/*
 * One record of size bytes: a struct ps_event, aligned as such, and its
 * payload. Not kept. One that breaks the event contract is counted and dropped.
 * Returns the connection if it is not HTTP (any more), so that its source may
 * stop sending; else NULL.
 */
const struct conn *engine_record(struct engine *engine, const void *record, size_t size);

/* Whether a record of size bytes keeps to the event contract: the probes are ours, but they can be edited. */
bool engine_is_well_formed(const void *record, size_t size);

/* The connection of a record, or NULL. Valid until the next call of any function of the engine. */
struct conn *engine_conn(struct engine *engine, const struct ps_event *event);

/* The source has nothing more for now and it is now_ns: end waits that took too long, tell of what has been open long.
 */
void engine_tick(struct engine *engine, uint64_t now_ns);

/* What source knows of a connection apart from its records. Returns false when it knows nothing. */
typedef bool (*engine_lookup)(const void *source, const struct conn *conn, struct conn_end *end);

/*
 * Records were lost: ask about every connection. Those that are closed finish as
 * by PS_EVENT_CLOSE; what moved on the others and no record tells of becomes a
 * gap when they finish.
 */
void engine_settle(struct engine *engine, engine_lookup lookup, const void *source);

/* A process ends, as the next record will say: the same for connections that end with it, but none is finished. */
void engine_settle_process(struct engine *engine, uint32_t tgid, engine_lookup lookup, const void *source);

/* Keep other than so far of bodies, on all connections. Takes time in proportion to their number. */
void engine_limit_bodies(struct engine *engine, size_t body_bytes_max);

/* No more records: finish every connection. */
void engine_finish(struct engine *engine);

/* The next item, or NULL. Valid until the next call of any function of the engine. */
const struct ps_item *engine_next(struct engine *engine);

/* Whether some record waits for earlier ones. */
bool engine_waiting(const struct engine *engine);

/* Whether some exchange may have to be handed out as started, so that engine_tick() has something to do. */
bool engine_has_open(const struct engine *engine);

/* Takes time in proportion to the number of connections. */
struct ps_capture_stats engine_stats(const struct engine *engine);

/* Heap bytes of the connections, those of the hash table apart. As slow as engine_stats(). */
size_t engine_memory(const struct engine *engine);

#endif
