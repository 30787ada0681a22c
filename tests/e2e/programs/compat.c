/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 64-bit HTTP/1.1 client that makes 32-bit system calls (int $0x80): one
 * exchange with plain calls, one with write and read, one with socketcall
 * (send, recv), then a plain one, all on one connection. Prints how many
 * 32-bit calls moved bytes. Status 77: the kernel refuses them.
 *
 * usage: compat PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NR32_READ = 3, NR32_WRITE = 4, NR32_GETPID = 20, NR32_SOCKETCALL = 102, SYS32_SEND = 9, SYS32_RECV = 10 };
enum { TEXT_BYTES_MAX = 4096, NOT_OFFERED = 77, RESPONSE_BODY_BYTES = 10 };

static unsigned calls;
static char *low; /* memory with a 32-bit address: text, and behind it the arguments of socketcall */

/* A 32-bit system call; pointers must be below 4 GiB. The kernel may change r8 to r11. */
static long call32(long nr, long a, long b, long c)
{
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(nr), "b"(a), "c"(b), "d"(c)
			 : "r8", "r9", "r10", "r11", "memory", "cc");
	return (int32_t)result;
}

static long plain(int sending, int fd, char *data, size_t len)
{
	return sending ? send(fd, data, len, 0) : recv(fd, data, len, 0);
}

static long read_write(int sending, int fd, char *data, size_t len)
{
	calls++;
	return call32(sending ? NR32_WRITE : NR32_READ, fd, (long)data, (long)len);
}

static long socketcall(int sending, int fd, char *data, size_t len)
{
	uint32_t *arguments = (uint32_t *)(low + TEXT_BYTES_MAX);

	arguments[0] = (uint32_t)fd;
	arguments[1] = (uint32_t)(uintptr_t)data;
	arguments[2] = (uint32_t)len;
	arguments[3] = 0;
	calls++;
	return call32(NR32_SOCKETCALL, sending ? SYS32_SEND : SYS32_RECV, (long)arguments, 0);
}

static void exchange(int fd, const char *target, long (*move)(int, int, char *, size_t))
{
	int head = snprintf(low, TEXT_BYTES_MAX, "GET %s HTTP/1.1\r\nHost: e2e\r\n\r\n", target);
	char *body = NULL;
	size_t have = 0;

	if (move(1, fd, low, (size_t)head) != head)
		errx(1, "sending");
	while (!body || low + have < body + 4 + RESPONSE_BODY_BYTES) {
		long n = move(0, fd, low + have, TEXT_BYTES_MAX - have);

		if (n <= 0)
			errx(1, "receiving");
		have += (size_t)n;
		body = memmem(low, have, "\r\n\r\n", 4);
	}
}

static void on_refused(int number)
{
	(void)number;
	_exit(NOT_OFFERED);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (argc != 2)
		errx(2, "usage: compat PORT");
	signal(SIGSEGV, on_refused);
	if (call32(NR32_GETPID, 0, 0, 0) != getpid())
		return NOT_OFFERED;
	low = mmap(NULL, 2 * TEXT_BYTES_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (low == MAP_FAILED)
		err(1, "mmap");
	address.sin_port = htons((uint16_t)atoi(argv[1]));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		err(1, "connect");
	exchange(fd, "/bytes/10?before", plain);
	exchange(fd, "/bytes/10?write", read_write);
	exchange(fd, "/bytes/10?socketcall", socketcall);
	exchange(fd, "/bytes/10?after", plain);
	printf("%u\n", calls);
	return 0;
}
