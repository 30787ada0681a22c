/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a recording (recording_format.h), of which nothing is trusted: each chunk that comes out has the size that its
 * type demands, and no more memory is taken than two frames.
 */
#ifndef PLAINSIGHT_RECORDING_H
#define PLAINSIGHT_RECORDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plainsight.h"
#include "recording_format.h"

/* An event and its payload, as the probes made it; the key of the connection is not that of the kernel. */
struct recording_event {
	struct ps_event event;
	uint8_t payload[RECORDING_CHUNK_MAX];
};

/* What the reader is at. */
struct recording_chunk_view {
	enum recording_type type;
	const uint8_t *data;
	size_t len;
};

/* The next chunk without going behind it, NULL at the end: see ps_recording_state(). Valid until recording_advance().
 */
const struct recording_chunk_view *recording_peek(struct ps_recording *recording);
void recording_advance(struct ps_recording *recording);

/* What is in the present chunk cannot be believed. */
void recording_set_damaged(struct ps_recording *recording);

/* The event of a chunk of a type that has one, its payload behind it; valid until the next call. */
const struct ps_event *recording_event(struct ps_recording *recording, const struct recording_chunk_view *chunk);

/* The note of a chunk of a type that is one; valid as long as the chunk. */
struct ps_note recording_note(const struct recording_chunk_view *chunk);

/* How many items had been handed out before the chunk; of types that do not say so, 0. */
uint64_t recording_items(const struct recording_chunk_view *chunk);

#endif
