/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many threads and connections at once. The number in a target, /N, decides both
 * bodies of the exchange (lib/pattern.py: numbered_bodies()); both ends check
 * every byte, and end with status 3 when one is wrong.
 *
 * usage: pool server
 *            prints its port; a thread per connection, until it is killed
 *        pool own PORT THREADS COUNT
 *            each thread makes COUNT exchanges on a connection of its own
 *        pool shared PORT THREADS COUNT
 *            the same, on whichever of THREADS / 4 connections is free
 *        pool churn PORT THREADS COUNT
 *            the same, on a new connection each
 *        pool half PORT COUNT
 *            COUNT connections with half a head each; "ready" on stderr, a line
 *            from stdin, then it ends
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pattern.h"

enum { BODY_BYTES_MAX = 3000, HEAD_BYTES_MAX = 512, THREADS_MAX = 256, STACK_BYTES = 128 * 1024, WRONG_BYTES = 3 };
/* As fast as can be in between: a reader that is slower than two processors full of writers gets time to catch up. */
enum { BURST_EXCHANGES = 100, PAUSE_US = 500000 };

static uint8_t bytes[PATTERN_BLOCK_BYTES + BODY_BYTES_MAX];

struct body {
	const uint8_t *data;
	size_t len;
};

static struct body request_body(unsigned number)
{
	return (struct body){bytes + number * 31 % PATTERN_BLOCK_BYTES, number * 977 % 1500};
}

static struct body response_body(unsigned number)
{
	return (struct body){bytes + (number * 37 + 5) % PATTERN_BLOCK_BYTES, number * 1009 % 3000};
}

/* A stream, received with some calls and taken apart by messages. */
struct reader {
	int fd;
	size_t have;
	uint8_t data[HEAD_BYTES_MAX + BODY_BYTES_MAX];
};

/* The call depends on the number, so that threads are in different ones at the same time. */
static bool receive_more(struct reader *reader, unsigned salt)
{
	uint8_t *at = reader->data + reader->have;
	size_t room = sizeof(reader->data) - reader->have;
	struct iovec iov[2] = {{at, room / 2}, {at + room / 2, room - room / 2}};
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n = salt % 3 == 0   ? read(reader->fd, at, room)
		    : salt % 3 == 1 ? recvmsg(reader->fd, &message, 0)
				    : readv(reader->fd, iov, 2);

	if (n > 0)
		reader->have += (size_t)n;
	return n > 0;
}

/* Head and body in one or two calls. */
static void send_message(int fd, unsigned number, const char *start_line, struct body body)
{
	char head[HEAD_BYTES_MAX];
	int len = snprintf(head, sizeof(head), "%s\r\nHost: e2e\r\nContent-Length: %zu\r\n\r\n", start_line, body.len);
	struct iovec iov[2] = {{head, (size_t)len}, {(void *)body.data, body.len}};
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;

	if (number % 3 == 0)
		n = writev(fd, iov, 2);
	else if (number % 3 == 1)
		n = sendmsg(fd, &message, MSG_NOSIGNAL);
	else
		n = send(fd, head, (size_t)len, MSG_MORE) + write(fd, body.data, body.len);
	if (n != len + (ssize_t)body.len)
		err(1, "sending");
}

/* The length of the next message's head, 0 at the end of the connection. */
static size_t await_head(struct reader *reader, unsigned salt)
{
	for (;;) {
		uint8_t *end = memmem(reader->data, reader->have, "\r\n\r\n", 4);

		if (end)
			return (size_t)(end - reader->data) + 4;
		if (!receive_more(reader, salt))
			return 0;
	}
}

/* The body behind a head of this length, which must be this one; then forget the message. */
static void take_body(struct reader *reader, size_t head, struct body body, unsigned salt)
{
	while (reader->have < head + body.len) {
		if (!receive_more(reader, salt))
			errx(1, "connection ended in a body");
	}
	if (memcmp(reader->data + head, body.data, body.len) != 0)
		exit(WRONG_BYTES);
	reader->have -= head + body.len;
	memmove(reader->data, reader->data + head + body.len, reader->have);
}

static void exchange(struct reader *reader, unsigned number)
{
	char line[64];

	snprintf(line, sizeof(line), "POST /%u HTTP/1.1", number);
	send_message(reader->fd, number, line, request_body(number));
	size_t head = await_head(reader, number);

	if (!head)
		errx(1, "no response");
	take_body(reader, head, response_body(number), number);
}

static void *serve(void *argument)
{
	struct reader *reader = argument;
	unsigned number = 0;
	size_t head;

	while ((head = await_head(reader, number)) != 0) {
		if (sscanf((char *)reader->data, "POST /%u ", &number) != 1)
			errx(1, "no number");
		take_body(reader, head, request_body(number), number + 1);
		send_message(reader->fd, number + 1, "HTTP/1.1 200 OK", response_body(number));
	}
	close(reader->fd);
	free(reader);
	return NULL;
}

static struct reader *reader_of(int fd)
{
	struct reader *reader = malloc(sizeof(*reader));
	int one = 1;

	if (!reader || fd < 0)
		err(1, "connection");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	reader->fd = fd;
	reader->have = 0;
	return reader;
}

static pthread_t start(void *(*run)(void *), void *argument)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	if (pthread_create(&thread, &attributes, run, argument))
		errx(1, "thread");
	return thread;
}

static void run_server(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(listener, (struct sockaddr *)&address, len) || listen(listener, 4096))
		err(1, "listen");
	getsockname(listener, (struct sockaddr *)&address, &len);
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	for (;;)
		pthread_detach(start(serve, reader_of(accept(listener, NULL, NULL))));
}

static unsigned port, threads, count;
static bool shared, churn;
static atomic_uint next_number;

struct pooled {
	pthread_mutex_t lock;
	struct reader *reader;
};
static struct pooled pool[THREADS_MAX];
static sem_t free_count; /* how many of pool nobody uses */

static struct reader *connected(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		err(1, "connect");
	return reader_of(fd);
}

static struct pooled *take_free(void)
{
	while (sem_wait(&free_count) != 0)
		;
	for (unsigned i = 0;; i = (i + 1) % (threads / 4)) {
		if (pthread_mutex_trylock(&pool[i].lock) == 0)
			return &pool[i];
	}
}

static void give_back(struct pooled *pooled)
{
	pthread_mutex_unlock(&pooled->lock);
	sem_post(&free_count);
}

static void *request_all(void *argument)
{
	struct reader *own = shared || churn ? NULL : connected();

	for (unsigned i = 0; i < count; i++) {
		unsigned number = atomic_fetch_add(&next_number, 1);

		if (i > 0 && i % BURST_EXCHANGES == 0)
			usleep(PAUSE_US);
		if (shared) {
			struct pooled *pooled = take_free();

			exchange(pooled->reader, number);
			give_back(pooled);
			continue;
		}
		struct reader *reader = own ? own : connected();

		exchange(reader, number);
		if (churn) {
			close(reader->fd);
			free(reader);
		}
	}
	return argument;
}

static void run_client(void)
{
	pthread_t running[THREADS_MAX];

	if (threads < 4 || threads > THREADS_MAX)
		errx(2, "4 to %d threads", THREADS_MAX);
	sem_init(&free_count, 0, threads / 4);
	for (unsigned i = 0; shared && i < threads / 4; i++) {
		pthread_mutex_init(&pool[i].lock, NULL);
		pool[i].reader = connected();
	}
	for (unsigned i = 0; i < threads; i++)
		running[i] = start(request_all, NULL);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(running[i], NULL);
}

static void run_half(void)
{
	for (unsigned i = 0; i < count; i++) {
		char text[128];
		int len = snprintf(text, sizeof(text), "GET /half/%u HTTP/1.1\r\nHost: e2e\r\nX-Half: ", i);

		if (write(connected()->fd, text, (size_t)len) != len)
			err(1, "write");
	}
	fprintf(stderr, "ready\n");
	getchar();
}

int main(int argc, char **argv)
{
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	pattern_fill(bytes, sizeof(bytes));
	if (argc == 2 && !strcmp(argv[1], "server"))
		run_server();
	if (argc < 4)
		errx(2, "usage: pool server | own|shared|churn PORT THREADS COUNT | half PORT COUNT");
	port = (unsigned)atoi(argv[2]);
	threads = (unsigned)atoi(argv[3]);
	count = (unsigned)atoi(argv[argc - 1]);
	shared = !strcmp(argv[1], "shared");
	churn = !strcmp(argv[1], "churn");
	if (!strcmp(argv[1], "half"))
		run_half();
	else
		run_client();
	return 0;
}
