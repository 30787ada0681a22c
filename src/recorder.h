/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a recording (recording_format.h): what the capture saw and asked, in the order in which it did.
 *
 * Chunks gather in memory and go out as one frame, with one write(2), by a thread. When that fails, nothing is written
 * any more, and ps_recorder_error() says why: the capture goes on.
 */
#ifndef PLAINSIGHT_RECORDER_H
#define PLAINSIGHT_RECORDER_H

#include "conn.h"
#include "executables.h"
#include "plainsight.h"

/* The record of size bytes: its event and payload; one that breaks the event contract is only counted. */
void recorder_record(struct ps_recorder *recorder, const void *record, size_t size);

/* sendfile moved bytes; what could be read of the file follows, piece by piece, and recorder_file_end(). */
void recorder_file(struct ps_recorder *recorder, const struct ps_event *event);
void recorder_file_data(struct ps_recorder *recorder, const uint8_t *data, size_t len);
void recorder_file_end(struct ps_recorder *recorder);

/* engine_tick() was called. */
void recorder_tick(struct ps_recorder *recorder, uint64_t now_ns);

/* Answer to a question about a connection; those who asked: recorder_settle(), recorder_finish(), an exit's record. */
void recorder_lookup(struct ps_recorder *recorder, const struct conn *conn, const struct conn_end *end);
void recorder_settle(struct ps_recorder *recorder, uint64_t items);
void recorder_finish(struct ps_recorder *recorder, uint64_t items);

/* engine_limit_bodies() was called, when so many items had been handed out. */
void recorder_limit_bodies(struct ps_recorder *recorder, uint64_t items, uint64_t body_bytes_max);

/*
 * Of a recording of items: look up the executables of the processes in it, before it is shown; and the item, after
 * that. When it is too large or memory is short, the recording ends.
 */
void recorder_before_item(struct ps_recorder *recorder, const struct ps_item *item);
void recorder_item(struct ps_recorder *recorder, const struct ps_item *item);

/* Whether it is one of events. */
bool recorder_has_events(const struct ps_recorder *recorder);

/* See ps_capture_note(). */
void recorder_note(struct ps_recorder *recorder, bool is_report, uint64_t items, struct ps_slice key,
		   struct ps_slice value);

/* The executables that were recorded so far. */
const struct executables *recorder_executables(const struct ps_recorder *recorder);

#endif
