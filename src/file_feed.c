/* SPDX-License-Identifier: Apache-2.0 */
#include "file_feed.h"

void file_feed_begin(struct file_feed *feed, const struct ps_event *event, uint64_t body_bytes_max)
{
	feed->len = event->len;
	/* One byte more than is kept, so that a body of that size and a longer one are told apart. */
	feed->wanted = event->len <= body_bytes_max ? event->len : body_bytes_max + 1;
	feed->done = 0;
	feed->flags = event->flags;
	feed->record.event = *event;
	feed->record.event.type = PS_EVENT_DATA;
	feed->record.event.flags |= PS_EVENT_FROM_FILE | PS_EVENT_UNNEEDED;
}

size_t file_feed_room(const struct file_feed *feed)
{
	uint64_t left = feed->wanted - feed->done;

	return left < FILE_PIECE_BYTES ? (size_t)left : FILE_PIECE_BYTES;
}

void file_feed_piece(struct file_feed *feed, struct engine *engine, size_t len)
{
	struct ps_event *event = &feed->record.event;

	event->len = event->captured_len = (uint32_t)len;
	engine_record(engine, &feed->record, sizeof(*event) + len);
	event->pos += len;
	feed->done += len;
}

void file_feed_end(struct file_feed *feed, struct engine *engine, struct ps_capture_stats *stats)
{
	struct ps_event *event = &feed->record.event;

	stats->file_calls += feed->done > 0;
	stats->file_bytes += feed->done;
	if (feed->done == feed->len)
		return;
	if (feed->done < feed->wanted) {
		event->flags = feed->flags;
		stats->file_lost_calls++;
		stats->file_lost_bytes += feed->len - feed->done;
	}
	event->len = (uint32_t)(feed->len - feed->done);
	event->captured_len = 0;
	engine_record(engine, event, sizeof(*event));
}
