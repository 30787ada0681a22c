/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.1 client that makes one exchange with plain system calls, COUNT
 * with io_uring, then one more with plain ones, all on one connection.
 * Logs to stdout a JSON line per plain exchange, then the number of requests
 * that it submitted to io_uring. Status 77: the kernel offers no io_uring.
 *
 * usage: uring PORT COUNT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ENTRIES = 4, TEXT_BYTES_MAX = 4096, NOT_OFFERED = 77, RESPONSE_BODY_BYTES = 10 };

static struct {
	int fd;
	uint32_t *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	unsigned submitted;
} ring;

static char *map_ring(size_t bytes, off_t offset)
{
	char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, offset);

	if (at == MAP_FAILED)
		err(1, "mmap");
	return at;
}

static void open_ring(void)
{
	struct io_uring_params params = {0};
	char *sq, *cq;

	ring.fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &params);
	if (ring.fd < 0 && (errno == ENOSYS || errno == EPERM))
		exit(NOT_OFFERED);
	if (ring.fd < 0)
		err(1, "io_uring_setup");
	sq = map_ring(params.sq_off.array + params.sq_entries * sizeof(uint32_t), IORING_OFF_SQ_RING);
	cq = map_ring(params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
	ring.sqes = (void *)map_ring(params.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	ring.sq_tail = (uint32_t *)(sq + params.sq_off.tail);
	ring.sq_mask = (uint32_t *)(sq + params.sq_off.ring_mask);
	ring.sq_array = (uint32_t *)(sq + params.sq_off.array);
	ring.cq_head = (uint32_t *)(cq + params.cq_off.head);
	ring.cq_mask = (uint32_t *)(cq + params.cq_off.ring_mask);
	ring.cqes = (void *)(cq + params.cq_off.cqes);
}

/* One request, and its result. */
static int submit(uint8_t opcode, int fd, void *data, size_t len)
{
	uint32_t tail = *ring.sq_tail, slot = tail & *ring.sq_mask, head = *ring.cq_head;

	ring.sqes[slot] =
	    (struct io_uring_sqe){.opcode = opcode, .fd = fd, .addr = (uintptr_t)data, .len = (uint32_t)len};
	ring.sq_array[slot] = slot;
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		err(1, "io_uring_enter");
	ring.submitted++;
	int result = ring.cqes[head & *ring.cq_mask].res;

	__atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
	return result;
}

static ssize_t plain(uint8_t opcode, int fd, void *data, size_t len)
{
	return opcode == IORING_OP_SEND ? send(fd, data, len, 0) : recv(fd, data, len, 0);
}

static ssize_t through_ring(uint8_t opcode, int fd, void *data, size_t len)
{
	return submit(opcode, fd, data, len);
}

/* One exchange; the server answers in one call, so what comes is received to the end of a body of known size. */
static void exchange(int fd, const char *target, ssize_t (*move)(uint8_t, int, void *, size_t))
{
	char text[TEXT_BYTES_MAX], *body = NULL;
	int head = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: e2e\r\n\r\n", target);
	size_t have = 0;

	if (move(IORING_OP_SEND, fd, text, (size_t)head) != head)
		errx(1, "sending");
	while (!body || text + have < body + 4 + RESPONSE_BODY_BYTES) {
		ssize_t n = move(IORING_OP_RECV, fd, text + have, sizeof(text) - have);

		if (n <= 0)
			errx(1, "receiving");
		have += (size_t)n;
		body = memmem(text, have, "\r\n\r\n", 4);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (argc != 3)
		errx(2, "usage: uring PORT COUNT");
	open_ring();
	address.sin_port = htons((uint16_t)atoi(argv[1]));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		err(1, "connect");
	exchange(fd, "/bytes/10?before", plain);
	for (int i = 0; i < atoi(argv[2]); i++)
		exchange(fd, "/bytes/10?ring", through_ring);
	exchange(fd, "/bytes/10?after", plain);
	printf("%u\n", ring.submitted);
	return 0;
}
