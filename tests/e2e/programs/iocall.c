/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 client and server that move every byte with one chosen pair of
 * system calls. Both check each body against the test pattern and log a JSON
 * line per exchange on stdout; the server prints its port first.
 *
 * usage: iocall server|client CALLS [options]
 * CALLS: rw (write, read), v (writev, readv), v2 (pwritev2, preadv2),
 *        to (sendto, recvfrom), msg (sendmsg, recvmsg), mmsg (sendmmsg, recvmmsg)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pattern.h"

enum { IOVECS_MAX = 1024, MESSAGES_MAX = 64, HEAD_BYTES_MAX = 512, WRONG_BYTES = 3 };

static struct {
	const char *calls;
	int iovecs;       /* -v: vectors per call */
	int messages;     /* -m: messages per call of mmsg */
	size_t bytes;     /* -b: size of each body */
	int requests;     /* -n: per connection */
	int connections;  /* -k: one after the other, so with the same descriptor number */
	size_t chunk;     /* -c: bytes per call at most, 0: as many as there are */
	int buffer;       /* -q: SO_SNDBUF and SO_RCVBUF */
	bool nonblocking; /* -N */
	bool peek;        /* -p: MSG_PEEK before every receive */
	bool whole;       /* -w: MSG_WAITALL */
	int port;         /* -P */
} opt = {.iovecs = 1, .messages = 2, .bytes = 1000, .requests = 1, .connections = 1};

static uint8_t *expected; /* the pattern, opt.bytes long */
static uint8_t *message;  /* room for a head and a body */

/* Cut len bytes at buf into at most opt.iovecs pieces; returns how many. */
static int cut(struct iovec *iov, uint8_t *buf, size_t len)
{
	size_t count = len < (size_t)opt.iovecs ? len : (size_t)opt.iovecs, at = 0;

	for (size_t i = 0; i < count; i++) {
		size_t end = len * (i + 1) / count;

		iov[i] = (struct iovec){.iov_base = buf + at, .iov_len = end - at};
		at = end;
	}
	return (int)count;
}

/* Deal the vectors out to at most opt.messages messages; returns to how many. */
static unsigned deal(struct mmsghdr *messages, struct iovec *iov, int count)
{
	int used = count < opt.messages ? count : opt.messages, at = 0;

	for (int i = 0; i < used; i++) {
		int end = count * (i + 1) / used;

		messages[i].msg_hdr = (struct msghdr){.msg_iov = iov + at, .msg_iovlen = (size_t)(end - at)};
		at = end;
	}
	return (unsigned)used;
}

static ssize_t sum(const struct mmsghdr *messages, int count)
{
	ssize_t total = 0;

	for (int i = 0; i < count; i++)
		total += messages[i].msg_len;
	return count < 0 ? -1 : total;
}

static ssize_t send_once(int fd, uint8_t *buf, size_t len)
{
	struct iovec iov[IOVECS_MAX];
	struct mmsghdr several[MESSAGES_MAX];
	int count = cut(iov, buf, len);
	struct msghdr one = {.msg_iov = iov, .msg_iovlen = (size_t)count};

	if (!strcmp(opt.calls, "rw"))
		return write(fd, buf, len);
	if (!strcmp(opt.calls, "v"))
		return writev(fd, iov, count);
	if (!strcmp(opt.calls, "v2"))
		return pwritev2(fd, iov, count, -1, 0);
	if (!strcmp(opt.calls, "to"))
		return sendto(fd, buf, len, MSG_NOSIGNAL, NULL, 0);
	if (!strcmp(opt.calls, "msg"))
		return sendmsg(fd, &one, MSG_NOSIGNAL);
	return sum(several, sendmmsg(fd, several, deal(several, iov, count), MSG_NOSIGNAL));
}

static ssize_t receive_once(int fd, uint8_t *buf, size_t len, int flags)
{
	struct iovec iov[IOVECS_MAX];
	struct mmsghdr several[MESSAGES_MAX];
	int count = cut(iov, buf, len);
	struct msghdr one = {.msg_iov = iov, .msg_iovlen = (size_t)count};

	if (!strcmp(opt.calls, "rw"))
		return read(fd, buf, len);
	if (!strcmp(opt.calls, "v"))
		return readv(fd, iov, count);
	if (!strcmp(opt.calls, "v2"))
		return preadv2(fd, iov, count, -1, 0);
	if (!strcmp(opt.calls, "to"))
		return recvfrom(fd, buf, len, flags, NULL, NULL);
	if (!strcmp(opt.calls, "msg"))
		return recvmsg(fd, &one, flags);
	/* Further messages only when the ones before will be full: else there would be a hole in the buffer. */
	unsigned messages = deal(several, iov, count);

	return sum(several, recvmmsg(fd, several, flags & MSG_WAITALL ? messages : 1, flags, NULL));
}

static void wait_for(int fd, short events)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};

	if (errno != EAGAIN || poll(&poll_fd, 1, 20000) != 1)
		err(1, "%s", opt.calls);
}

static size_t at_most(size_t len)
{
	return opt.chunk && len > opt.chunk ? opt.chunk : len;
}

static void send_all(int fd, uint8_t *buf, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = send_once(fd, buf + at, at_most(len - at));

		if (n < 0)
			wait_for(fd, POLLOUT);
		else
			at += (size_t)n;
	}
}

/* Some bytes into buf, 0 at the end of the connection. */
static size_t receive_some(int fd, uint8_t *buf, size_t len, int flags)
{
	for (;;) {
		if (opt.peek && receive_once(fd, buf, at_most(len), MSG_PEEK) < 0)
			wait_for(fd, POLLIN);
		ssize_t n = receive_once(fd, buf, at_most(len), flags);

		if (n >= 0)
			return (size_t)n;
		wait_for(fd, POLLIN);
	}
}

static void send_message(int fd, const char *start_line)
{
	int head = snprintf((char *)message, HEAD_BYTES_MAX, "%s\r\nHost: e2e\r\nContent-Length: %zu\r\n\r\n",
			    start_line, opt.bytes);

	memcpy(message + head, expected, opt.bytes);
	send_all(fd, message, (size_t)head + opt.bytes);
}

/*
 * One message whose body must be the pattern. The room for the head bounds the
 * first calls, so with MSG_WAITALL only the body is asked for in one call.
 * Returns false at the end of the connection.
 */
static bool receive_message(int fd, char *start_line)
{
	size_t have = 0, n;
	uint8_t *body = NULL;

	while (!body) {
		size_t room = opt.whole ? 1 : HEAD_BYTES_MAX + opt.bytes - have;

		n = receive_some(fd, message + have, room, 0);
		if (n == 0)
			return false;
		have += n;
		body = memmem(message, have, "\r\n\r\n", 4);
	}
	body += 4;
	while (have < (size_t)(body - message) + opt.bytes) {
		size_t rest = (size_t)(body - message) + opt.bytes - have;

		n = receive_some(fd, message + have, rest, opt.whole ? MSG_WAITALL : 0);
		if (n == 0)
			errx(1, "connection ended in a body");
		have += n;
	}
	if (memcmp(body, expected, opt.bytes) != 0)
		exit(WRONG_BYTES);
	*(char *)memchr(message, '\r', have) = '\0';
	snprintf(start_line, HEAD_BYTES_MAX, "%s", (char *)message);
	return true;
}

static void log_exchange(int fd, const char *side, const char *target)
{
	struct sockaddr_in local, remote;
	socklen_t len = sizeof(local);

	getsockname(fd, (struct sockaddr *)&local, &len);
	len = sizeof(remote);
	getpeername(fd, (struct sockaddr *)&remote, &len);
	printf("{\"side\":\"%s\",\"pid\":%d,\"local_port\":%d,\"remote_port\":%d,\"method\":\"POST\",\"target\":\"%s\","
	       "\"status\":200,\"request_bytes\":%zu,\"response_bytes\":%zu}\n",
	       side, getpid(), ntohs(local.sin_port), ntohs(remote.sin_port), target, opt.bytes, opt.bytes);
	fflush(stdout);
}

static void prepare(int fd)
{
	if (opt.buffer) {
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &opt.buffer, sizeof(opt.buffer));
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &opt.buffer, sizeof(opt.buffer));
	}
}

static void go_nonblocking(int fd)
{
	if (opt.nonblocking)
		fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void serve(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	char line[HEAD_BYTES_MAX], target[HEAD_BYTES_MAX];

	prepare(listener);
	if (bind(listener, (struct sockaddr *)&address, len) || listen(listener, 16))
		err(1, "listen");
	getsockname(listener, (struct sockaddr *)&address, &len);
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	for (int i = 0; i < opt.connections; i++) {
		int fd = accept(listener, NULL, NULL);

		go_nonblocking(fd);
		while (receive_message(fd, line)) {
			sscanf(line, "%*s %511s", target);
			log_exchange(fd, "server", target);
			send_message(fd, "HTTP/1.1 200 OK");
		}
		close(fd);
	}
}

static void request_all(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char line[HEAD_BYTES_MAX], target[64];

	for (int i = 0; i < opt.connections; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		prepare(fd);
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
			err(1, "connect");
		go_nonblocking(fd);
		for (int j = 0; j < opt.requests; j++) {
			snprintf(target, sizeof(target), "/%s/%d/%d", opt.calls, i, j);
			snprintf(line, sizeof(line), "POST %s HTTP/1.1", target);
			send_message(fd, line);
			if (!receive_message(fd, line))
				errx(1, "no response");
			log_exchange(fd, "client", target);
		}
		close(fd);
	}
}

static void read_options(int argc, char **argv)
{
	for (int c; (c = getopt(argc, argv, "v:m:b:n:k:c:q:P:Npw")) != -1;) {
		switch (c) {
		case 'v':
			opt.iovecs = atoi(optarg);
			break;
		case 'm':
			opt.messages = atoi(optarg);
			break;
		case 'b':
			opt.bytes = (size_t)atol(optarg);
			break;
		case 'n':
			opt.requests = atoi(optarg);
			break;
		case 'k':
			opt.connections = atoi(optarg);
			break;
		case 'c':
			opt.chunk = (size_t)atol(optarg);
			break;
		case 'q':
			opt.buffer = atoi(optarg);
			break;
		case 'P':
			opt.port = atoi(optarg);
			break;
		case 'N':
			opt.nonblocking = true;
			break;
		case 'p':
			opt.peek = true;
			break;
		case 'w':
			opt.whole = true;
			break;
		default:
			exit(2);
		}
	}
	if (opt.iovecs < 1 || opt.iovecs > IOVECS_MAX)
		errx(2, "1 to %d vectors", IOVECS_MAX);
	if (opt.messages < 1 || opt.messages > MESSAGES_MAX)
		errx(2, "1 to %d messages", MESSAGES_MAX);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		errx(2, "usage: iocall server|client rw|v|v2|to|msg|mmsg [options]");
	opt.calls = argv[2];
	read_options(argc - 2, argv + 2);
	expected = malloc(opt.bytes);
	message = malloc(opt.bytes + HEAD_BYTES_MAX + 1);
	if (!expected || !message)
		err(1, "malloc");
	pattern_fill(expected, opt.bytes);
	if (!strcmp(argv[1], "server"))
		serve();
	else
		request_all();
	return 0;
}
