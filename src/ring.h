/* SPDX-License-Identifier: Apache-2.0 */
/* Reader of a BPF ring buffer map (Documentation/bpf/ringbuf.rst in Linux). */
#ifndef PLAINSIGHT_RING_H
#define PLAINSIGHT_RING_H

#include <stddef.h>
#include <stdint.h>

struct ring {
	unsigned long *consumer_pos; /* ours to write */
	const unsigned long *producer_pos;
	const uint8_t *data; /* mapped twice in a row: a record is contiguous even where the ring wraps */
	size_t size;         /* bytes, a power of two */
	unsigned long pos;   /* up to which records have been read; *consumer_pos follows in larger steps */
	size_t record_size;  /* of the record that ring_peek() gave last */
};

/* Map the ring of size bytes behind map_fd. 0, or -1 with errno; ring_close() does nothing then. */
int ring_open(struct ring *ring, int map_fd, size_t size);
void ring_close(struct ring *ring);

/*
 * The oldest record and its length, or NULL when there is none that is
 * complete. It stays valid until ring_advance().
 */
const void *ring_peek(struct ring *ring, size_t *len);

/*
 * Be done with the record of the last ring_peek(). The kernel gets the room back
 * with the next ring_peek() that gives NULL, or when it is much: the probes read
 * that position at every record, from a cache line that each write takes away
 * from them.
 */
void ring_advance(struct ring *ring);

#endif
