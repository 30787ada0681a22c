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

void ring_advance(struct ring *ring)
{
	__atomic_store_n(ring->consumer_pos, *ring->consumer_pos + ring->record_size, __ATOMIC_RELEASE);
}

const void *ring_peek(struct ring *ring, size_t *len)
{
	for (;;) {
		unsigned long pos = *ring->consumer_pos;
		const uint32_t *header;
		uint32_t word;

		if (pos >= __atomic_load_n(ring->producer_pos, __ATOMIC_ACQUIRE))
			return NULL;
		header = (const uint32_t *)(ring->data + (pos & (ring->size - 1)));
		word = __atomic_load_n(header, __ATOMIC_ACQUIRE);
		if (word & BPF_RINGBUF_BUSY_BIT) /* reserved, not submitted yet */
			return NULL;
		*len = word & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		ring->record_size = (*len + BPF_RINGBUF_HDR_SZ + 7) & ~(size_t)7;
		if (!(word & BPF_RINGBUF_DISCARD_BIT))
			return (const uint8_t *)header + BPF_RINGBUF_HDR_SZ;
		ring_advance(ring);
	}
}
