/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many threads that talk HTTPS at once, through OpenSSL. The number in a target, /N, decides both bodies of the
 * exchange (lib/pattern.py: tls_numbered_bodies()), the calls, and how much each moves. Both ends check every byte,
 * and end with status 3 when one is wrong.
 *
 * usage: tls_pool server CERTIFICATE KEY
 *            prints its port; a thread per connection, until it is killed
 *        tls_pool client PORT THREADS COUNT
 *            each thread makes COUNT exchanges, EXCHANGES_PER_SESSION on a connection
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pattern.h"

enum { SMALL_BYTES_MAX = 3000, LARGE_BYTES_MAX = 100000, HEAD_BYTES_MAX = 512, WRONG_BYTES = 3, THREADS_MAX = 256 };
enum { EXCHANGES_PER_SESSION = 20, PAUSE_US = 100000 }; /* a pause lets a reader of two busy processors catch up */

static uint8_t bytes[PATTERN_BLOCK_BYTES + LARGE_BYTES_MAX];
static SSL_CTX *context;

struct body {
	const uint8_t *data;
	size_t len;
};

static struct body request_body(unsigned number)
{
	size_t len = number % 8 == 1 ? number * 7919u % LARGE_BYTES_MAX : number * 977u % (SMALL_BYTES_MAX / 2);

	return (struct body){bytes + number * 31 % PATTERN_BLOCK_BYTES, len};
}

static struct body response_body(unsigned number)
{
	size_t len = number % 8 == 5 ? number * 7927u % LARGE_BYTES_MAX : number * 1009u % SMALL_BYTES_MAX;

	return (struct body){bytes + (number * 37 + 5) % PATTERN_BLOCK_BYTES, len};
}

/* A connection, and what was received on it and not taken yet. */
struct session {
	SSL *ssl;
	int fd;
	size_t have;
	uint8_t data[HEAD_BYTES_MAX + LARGE_BYTES_MAX];
};

static void fail(const char *what)
{
	ERR_print_errors_fp(stderr);
	errx(1, "%s", what);
}

/* How much a call moves at most. */
static size_t step(unsigned number)
{
	static const size_t steps[] = {HEAD_BYTES_MAX + LARGE_BYTES_MAX, 700, 16384, 5000};

	return steps[number % 4];
}

static void send_bytes(struct session *s, unsigned number, const uint8_t *data, size_t len)
{
	for (size_t at = 0, moved = 0; at < len; at += moved) {
		size_t next = len - at < step(number) ? len - at : step(number);
		int n = number % 2 ? SSL_write_ex(s->ssl, data + at, next, &moved)
				   : SSL_write(s->ssl, data + at, (int)next);

		if (n <= 0)
			fail("sending");
		if (number % 2 == 0)
			moved = (size_t)n;
	}
}

/* Head and body in one piece, or one after the other. */
static void send_message(struct session *s, unsigned number, const char *start_line, struct body body)
{
	uint8_t message[HEAD_BYTES_MAX + LARGE_BYTES_MAX];
	size_t head = (size_t)snprintf((char *)message, HEAD_BYTES_MAX,
				       "%s\r\nHost: e2e\r\nContent-Length: %zu\r\n\r\n", start_line, body.len);

	if (number % 3) {
		memcpy(message + head, body.data, body.len);
		send_bytes(s, number, message, head + body.len);
		return;
	}
	send_bytes(s, number, message, head);
	send_bytes(s, number, body.data, body.len);
}

/* Returns false at the end of the connection. */
static bool receive_more(struct session *s, unsigned number)
{
	size_t room = sizeof(s->data) - s->have, moved = 0;
	int n;

	room = room < step(number) ? room : step(number);
	if (number % 2) {
		n = SSL_read_ex(s->ssl, s->data + s->have, room, &moved);
	} else {
		n = SSL_read(s->ssl, s->data + s->have, (int)room);
		moved = n > 0 ? (size_t)n : 0;
	}
	s->have += moved;
	return n > 0;
}

/* The length of the next message's head, 0 at the end of the connection. */
static size_t await_head(struct session *s, unsigned number)
{
	for (;;) {
		uint8_t *end = memmem(s->data, s->have, "\r\n\r\n", 4);

		if (end)
			return (size_t)(end - s->data) + 4;
		if (!receive_more(s, number))
			return 0;
	}
}

/* The body behind a head of this length, which must be this one; then forget the message. */
static void take_body(struct session *s, size_t head, struct body body, unsigned number)
{
	while (s->have < head + body.len) {
		if (!receive_more(s, number))
			errx(1, "connection ended in a body");
	}
	if (memcmp(s->data + head, body.data, body.len) != 0)
		exit(WRONG_BYTES);
	s->have -= head + body.len;
	memmove(s->data, s->data + head + body.len, s->have);
}

static struct session *session_of(int fd)
{
	struct session *s = malloc(sizeof(*s));
	int one = 1;

	if (!s || fd < 0)
		err(1, "connection");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	s->fd = fd;
	s->have = 0;
	s->ssl = SSL_new(context);
	SSL_set_fd(s->ssl, fd);
	return s;
}

static void end_session(struct session *s)
{
	SSL_shutdown(s->ssl);
	SSL_free(s->ssl);
	close(s->fd);
	free(s);
	ERR_clear_error();
}

static void *serve(void *argument)
{
	struct session *s = argument;
	unsigned number = 0;
	size_t head;

	if (SSL_accept(s->ssl) != 1)
		fail("handshake");
	while ((head = await_head(s, number)) != 0) {
		if (sscanf((char *)s->data, "POST /%u ", &number) != 1)
			errx(1, "no number");
		take_body(s, head, request_body(number), number + 1);
		send_message(s, number + 1, "HTTP/1.1 200 OK", response_body(number));
	}
	end_session(s);
	return NULL;
}

static void run_server(const char *certificate, const char *key)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	context = SSL_CTX_new(TLS_server_method());
	if (SSL_CTX_use_certificate_file(context, certificate, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
		fail("certificate");
	if (bind(listener, (struct sockaddr *)&address, len) || listen(listener, THREADS_MAX))
		err(1, "listen");
	getsockname(listener, (struct sockaddr *)&address, &len);
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	for (;;) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, serve, session_of(accept(listener, NULL, NULL))))
			errx(1, "thread");
		pthread_detach(thread);
	}
}

static unsigned port, threads, count;
static atomic_uint next_number;

static struct session *connected(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		err(1, "connect");
	struct session *s = session_of(fd);

	if (SSL_connect(s->ssl) != 1)
		fail("handshake");
	return s;
}

static void exchange(struct session *s, unsigned number)
{
	char line[64];

	snprintf(line, sizeof(line), "POST /%u HTTP/1.1", number);
	send_message(s, number, line, request_body(number));
	size_t head = await_head(s, number);

	if (!head)
		errx(1, "no response");
	take_body(s, head, response_body(number), number);
}

static void *request_all(void *argument)
{
	struct session *s = NULL;

	for (unsigned i = 0; i < count; i++) {
		if (i % EXCHANGES_PER_SESSION == 0) {
			if (s)
				end_session(s);
			usleep(i ? PAUSE_US : 0);
			s = connected();
		}
		exchange(s, atomic_fetch_add(&next_number, 1));
	}
	if (s)
		end_session(s);
	return argument;
}

static void run_client(void)
{
	pthread_t running[THREADS_MAX];

	if (threads < 1 || threads > THREADS_MAX)
		errx(2, "1 to %d threads", THREADS_MAX);
	context = SSL_CTX_new(TLS_client_method());
	for (unsigned i = 0; i < threads; i++) {
		if (pthread_create(&running[i], NULL, request_all, NULL))
			errx(1, "thread");
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(running[i], NULL);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	pattern_fill(bytes, sizeof(bytes));
	if (argc == 4 && !strcmp(argv[1], "server"))
		run_server(argv[2], argv[3]);
	if (argc != 5 || strcmp(argv[1], "client"))
		errx(2, "usage: tls_pool server CERTIFICATE KEY | client PORT THREADS COUNT");
	port = (unsigned)atoi(argv[2]);
	threads = (unsigned)atoi(argv[3]);
	count = (unsigned)atoi(argv[4]);
	run_client();
	return 0;
}
