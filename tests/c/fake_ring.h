/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A BPF ring buffer made by hand: a memfd laid out as the kernel maps one, with
 * the page of the consumer's position, that of the producer's, and the data
 * twice in a row. A file cannot show the same pages twice, so what is written
 * goes to both places.
 */
#ifndef PLAINSIGHT_FAKE_RING_H
#define PLAINSIGHT_FAKE_RING_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create() */
#endif
#include <linux/bpf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RING_BYTES = 16384 };

struct fake {
	int fd;
	size_t page;
	uint8_t *map;
	unsigned long *consumer, *producer;
	uint8_t *data;
};

static inline struct fake fake_new(void)
{
	struct fake fake = {.fd = memfd_create("ring", 0), .page = (size_t)sysconf(_SC_PAGESIZE)};
	size_t size = 2 * fake.page + 2 * RING_BYTES;

	if (fake.fd < 0 || ftruncate(fake.fd, (off_t)size) != 0)
		abort();
	fake.map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fake.fd, 0);
	if (fake.map == MAP_FAILED)
		abort();
	fake.consumer = (unsigned long *)fake.map;
	fake.producer = (unsigned long *)(fake.map + fake.page);
	fake.data = fake.map + 2 * fake.page;
	return fake;
}

static inline void fake_free(struct fake *fake)
{
	munmap(fake->map, 2 * fake->page + 2 * RING_BYTES);
	close(fake->fd);
}

static inline void fake_write(struct fake *fake, unsigned long pos, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		size_t at = (pos + i) & (RING_BYTES - 1);

		fake->data[at] = fake->data[at + RING_BYTES] = ((const uint8_t *)bytes)[i];
	}
}

static inline void fake_header(struct fake *fake, unsigned long pos, uint32_t len, uint32_t bits)
{
	uint32_t header[2] = {len | bits, 0};

	fake_write(fake, pos, header, sizeof(header));
}

/* As bpf_ringbuf_reserve() and _submit() do. Returns where the record is; false when there is no room is a bug here. */
static inline unsigned long fake_submit(struct fake *fake, const void *bytes, uint32_t len, uint32_t bits)
{
	unsigned long pos = *fake->producer;
	unsigned long size = (len + BPF_RINGBUF_HDR_SZ + 7UL) & ~7UL;

	if (pos + size - *fake->consumer > RING_BYTES)
		abort();
	fake_header(fake, pos, len, bits);
	fake_write(fake, pos + BPF_RINGBUF_HDR_SZ, bytes, len);
	__atomic_store_n(fake->producer, pos + size, __ATOMIC_RELEASE);
	return pos;
}

#endif
