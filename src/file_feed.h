/* SPDX-License-Identifier: Apache-2.0 */
/* What sendfile sent, as records of the bytes that could be read from the file: from the file itself or a recording. */
#ifndef PLAINSIGHT_FILE_FEED_H
#define PLAINSIGHT_FILE_FEED_H

#include "engine.h"
#include "recording_format.h"

enum { FILE_PIECE_BYTES = RECORDING_FILE_PIECE };

/* A data record as the probes would have made it, had the bytes been in memory. */
struct file_record {
	struct ps_event event;
	uint8_t data[FILE_PIECE_BYTES];
};

struct file_feed {
	uint64_t len;    /* that the call moved */
	uint64_t wanted; /* of these, what could become part of a body that is kept */
	uint64_t done;   /* fed */
	uint16_t flags;  /* of the call */
	struct file_record record;
};

/* sendfile moved event->len bytes. */
void file_feed_begin(struct file_feed *feed, const struct ps_event *event, uint64_t body_bytes_max);

/* How many bytes may be put into feed->record.data; 0: no more are wanted. */
size_t file_feed_room(const struct file_feed *feed);

/* Feed len of them. */
void file_feed_piece(struct file_feed *feed, struct engine *engine, size_t len);

/* No more can be had: the rest is a gap. Counts file_* of stats. */
void file_feed_end(struct file_feed *feed, struct engine *engine, struct ps_capture_stats *stats);

#endif
