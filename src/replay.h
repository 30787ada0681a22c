/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recording into the engine, in place of the ring.
 *
 * Items come out in the order in which they did when it was made, because what happened between two of them then,
 * happens between the same two now: records, the ends of waits, the answers about connections.
 */
#ifndef PLAINSIGHT_REPLAY_H
#define PLAINSIGHT_REPLAY_H

#include "engine.h"
#include "plainsight.h"

struct replay;

/* recording, filter (or NULL) and engine stay the caller's. NULL when memory is short. */
struct replay *replay_new(struct ps_recording *recording, const struct ps_event_filter *filter, struct engine *engine,
			  uint64_t body_bytes_max);
void replay_free(struct replay *replay);

/* As ps_capture_next(), ps_capture_next_event(), ps_capture_note(). own: counts what the engine does not. */
const struct ps_item *replay_next(struct replay *replay, struct ps_capture_stats *own);
const struct ps_event *replay_next_event(struct replay *replay, struct ps_capture_stats *own);
const struct ps_note *replay_note(struct replay *replay);

/* The engine has to finish, as far as the recording did not say so. */
void replay_finish(struct replay *replay);

/* Whether there may be more. */
bool replay_is_pending(const struct replay *replay);

/* As ps_capture_executable() and ps_capture_replayed_ns(). */
const char *replay_executable(const struct replay *replay, uint32_t tgid);
uint64_t replay_now_ns(const struct replay *replay);

#endif
