/* SPDX-License-Identifier: Apache-2.0 */
#include "ring.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int ring_open(struct ring *ring, int map_fd, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *consumer, *producer;

	memset(ring, 0, sizeof(*ring));
	if (size < page || (size & (size - 1)) != 0) { /* positions are turned into offsets with a mask */
		errno = EINVAL;
		return -1;
	}
	consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
	if (consumer == MAP_FAILED)
		return -1;
	producer = mmap(NULL, page + 2 * size, PROT_READ, MAP_SHARED, map_fd, (off_t)page);
	if (producer == MAP_FAILED) {
		int saved = errno;

		munmap(consumer, page);
		errno = saved;
		return -1;
	}
	ring->consumer_pos = consumer;
	ring->producer_pos = producer;
	ring->data = (const uint8_t *)producer + page;
	ring->size = size;
	ring->pos = *ring->consumer_pos;
	return 0;
}

void ring_close(struct ring *ring)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (!ring->data)
		return;
	munmap(ring->consumer_pos, page);
	munmap((void *)(ring->data - page), page + 2 * ring->size);
	memset(ring, 0, sizeof(*ring));
}

/* Share of the ring that may have been read without the kernel's knowing it. */
enum { UNPUBLISHED_SHARE = 64 };

/*
 * Sequentially consistent: the look for further records that follows must not
 * come first, or the kernel could have seen the old position, not woken the
 * reader, and the record not been there yet.
 */
static void publish(struct ring *ring)
{
	__atomic_store_n(ring->consumer_pos, ring->pos, __ATOMIC_SEQ_CST);
}

void ring_advance(struct ring *ring)
{
	ring->pos += ring->record_size;
	if (ring->pos - *ring->consumer_pos >= ring->size / UNPUBLISHED_SHARE)
		publish(ring);
}

/* Header of the record at the position, NULL when it is not there or not complete yet. */
static const uint32_t *next_header(const struct ring *ring, uint32_t *word)
{
	const uint32_t *header = (const uint32_t *)(ring->data + (ring->pos & (ring->size - 1)));

	if (ring->pos >= __atomic_load_n(ring->producer_pos, __ATOMIC_ACQUIRE))
		return NULL;
	*word = __atomic_load_n(header, __ATOMIC_ACQUIRE);
	return *word & BPF_RINGBUF_BUSY_BIT ? NULL : header;
}

const void *ring_peek(struct ring *ring, size_t *len)
{
	for (;;) {
		uint32_t word;
		const uint32_t *header = next_header(ring, &word);

		if (!header) {
			if (ring->pos == *ring->consumer_pos)
				return NULL;
			publish(ring);
			continue;
		}
		*len = word & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		ring->record_size = (*len + BPF_RINGBUF_HDR_SZ + 7) & ~(size_t)7;
		if (!(word & BPF_RINGBUF_DISCARD_BIT))
			return (const uint8_t *)header + BPF_RINGBUF_HDR_SZ;
		ring_advance(ring);
	}
}
