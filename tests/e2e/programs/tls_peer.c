/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 client and server over TLS that move every byte with one chosen
 * pair of a library's calls. Bodies are the test pattern, which both check;
 * each logs a JSON line per exchange on stdout. The server prints its port
 * first. Certificates are not checked: this is about bytes.
 *
 * usage: tls_LIBRARY server|client SEND-CALL RECEIVE-CALL [options]
 * The server answers POST with the same body, GET /bytes/N with N bytes.
 * The client POSTs to /echo?SEND-CALL-CONNECTION-REQUEST; it asks any server that does the same.
 */
#define _GNU_SOURCE
#include "tls_peer.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pattern.h"

enum { HEAD_BYTES_MAX = 512, BODY_BYTES_MAX = 8 << 20, THREADS_MAX = 64, POLL_MS_MAX = 20000, WRONG_BYTES = 3 };

static const char USAGE[] =
    "usage: %s server|client SEND-CALL RECEIVE-CALL [options]\n"
    "  -P PORT   client: where the server listens, on 127.0.0.1\n"
    "  -C FILE, -K FILE  server: certificate and key in PEM; FILE.der, the key in PKCS #8, in DER\n"
    "  -b BYTES  size of each body; -n COUNT requests on a connection\n"
    "  -k COUNT  connections, one after the other; server: 0 is for ever\n"
    "  -G TARGET client: GET this, once per request\n"
    "  -c BYTES  per call at most; -q BYTES  SO_SNDBUF and SO_RCVBUF\n"
    "  -N  non-blocking; -W  with writes that may be partial\n"
    "  -M  the library never sees the socket (memory BIOs, push and pull functions)\n"
    "  -R  one session object for all connections; -p  peek before every receive\n"
    "  -E  requests after the first connection's go as early data\n"
    "  -D  client: a thread sends all requests, another receives all responses\n"
    "  -S COUNT  client: threads that take turns on the connection, -n requests each\n"
    "  -F accept|handshake  server: a child per connection, forked then\n"
    "  -x  every second connection is one of the library's without TLS\n"
    "  -z  a call that sends nothing before every message\n"
    "  -L  server, OpenSSL: the socket is closed before the call that sends a response returns\n"
    "  -T  OpenSSL: the kernel encrypts; status 77 when it does not\n"
    "  -w  client: after the first exchange, \"ready\" on stderr and a line from stdin\n"
    "  -V 1.2|1.3  protocol version at most\n";

struct peer_options opt;

static struct {
	size_t bytes, chunk;
	int requests, connections, buffer, port, sharing_threads, wait_at;
	bool peek, duplex, mixed_plain, send_nothing;
	const char *get, *fork;
} run = {.bytes = 1000, .requests = 1, .connections = 1, .wait_at = -1};

static const struct tls_library *library;
static uint8_t *expected; /* the pattern, BODY_BYTES_MAX long */
static int body_file = -1;

/* A connection. The lock is of the session, which no library lets two threads use at once. */
struct connection {
	int fd, number;
	bool plain;
	void *session;
	pthread_mutex_t lock;
	uint8_t *out, *in; /* room for a head and a body, each */
	size_t in_len;
	pid_t sender_tid;
};

/* A message: start line, then what its head says of the body. */
struct message {
	char start_line[HEAD_BYTES_MAX];
	size_t body_len;
};

bool sends_by(const char *name)
{
	return !strcmp(opt.send, name);
}

bool receives_by(const char *name)
{
	return !strcmp(opt.receive, name);
}

void wait_for(int fd, ssize_t minus_events)
{
	struct pollfd poll_fd = {.fd = fd, .events = (short)-minus_events};

	if (poll(&poll_fd, 1, POLL_MS_MAX) != 1)
		errx(1, "waited %d ms for events %zd", POLL_MS_MAX, -minus_events);
}

void socket_send_all(int fd, const void *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = send(fd, (const char *)data + at, len - at, MSG_NOSIGNAL);

		if (n >= 0)
			at += (size_t)n;
		else if (errno == EAGAIN)
			wait_for(fd, -POLLOUT);
		else
			err(1, "send");
	}
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static size_t at_most(size_t len)
{
	return run.chunk && len > run.chunk ? run.chunk : len;
}

static ssize_t locked_send(struct connection *conn, const uint8_t *data, size_t len)
{
	pthread_mutex_lock(&conn->lock);
	ssize_t n = library->send(conn->session, data, len);
	pthread_mutex_unlock(&conn->lock);
	return n;
}

static void flush(struct connection *conn)
{
	for (ssize_t n = -1; library->flush && n;) {
		pthread_mutex_lock(&conn->lock);
		n = library->flush(conn->session);
		pthread_mutex_unlock(&conn->lock);
		if (n < 0)
			wait_for(conn->fd, n);
	}
}

static void send_all(struct connection *conn, const uint8_t *data, size_t len)
{
	if (run.send_nothing)
		locked_send(conn, data, 0);
	for (size_t at = 0; at < len;) {
		ssize_t n = locked_send(conn, data + at, at_most(len - at));

		if (n < 0)
			wait_for(conn->fd, n);
		else
			at += (size_t)n;
	}
	flush(conn);
}

static void send_body_file(struct connection *conn, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = library->send_file(conn->session, body_file, at, at_most(len - at));

		if (n < 0)
			wait_for(conn->fd, n);
		else
			at += (size_t)n;
	}
}

static size_t write_head(uint8_t *out, const char *start_line, size_t body_len)
{
	return (size_t)snprintf((char *)out, HEAD_BYTES_MAX, "%s\r\nHost: e2e\r\nContent-Length: %zu\r\n\r\n",
				start_line, body_len);
}

static void send_message(struct connection *conn, const char *start_line, size_t body_len)
{
	size_t head = write_head(conn->out, start_line, body_len);
	bool by_file = sends_by("sendfile") && body_len > 0;

	memcpy(conn->out + head, expected, body_len);
	send_all(conn, conn->out, by_file ? head : head + body_len);
	if (by_file)
		send_body_file(conn, body_len);
}

static ssize_t locked_receive(struct connection *conn, uint8_t *data, size_t room)
{
	pthread_mutex_lock(&conn->lock);
	ssize_t n = run.peek ? library->peek(conn->session, data, room) : 1;

	if (n > 0)
		n = library->receive(conn->session, data, room);
	pthread_mutex_unlock(&conn->lock);
	return n;
}

/* More bytes of the connection; false at its end. */
static bool receive_more(struct connection *conn, size_t room)
{
	for (;;) {
		ssize_t n = locked_receive(conn, conn->in + conn->in_len, at_most(room));

		if (n < 0) {
			wait_for(conn->fd, n);
			continue;
		}
		conn->in_len += (size_t)n;
		return n > 0;
	}
}

static uint8_t *end_of_head(const struct connection *conn)
{
	uint8_t *end = memmem(conn->in, conn->in_len, "\r\n\r\n", 4);

	return end ? end + 4 : NULL;
}

static size_t content_length(char *head)
{
	const char *field = strcasestr(head, "\r\ncontent-length:");
	size_t len = field ? strtoul(field + strlen("\r\ncontent-length:"), NULL, 10) : 0;

	if (len > BODY_BYTES_MAX)
		errx(1, "Content-Length of %zu", len);
	return len;
}

/* One message, whose body must be the pattern; false at the end of the connection. */
static bool receive_message(struct connection *conn, struct message *message)
{
	uint8_t *body;

	while (!(body = end_of_head(conn))) {
		if (conn->in_len >= HEAD_BYTES_MAX)
			errx(1, "a head of more than %d bytes", HEAD_BYTES_MAX);
		if (!receive_more(conn, HEAD_BYTES_MAX + run.bytes))
			return false;
	}
	body[-1] = '\0';
	message->body_len = content_length((char *)conn->in);
	size_t whole = (size_t)(body - conn->in) + message->body_len;

	while (conn->in_len < whole)
		if (!receive_more(conn, whole - conn->in_len))
			errx(1, "connection ended in a body");
	if (memcmp(body, expected, message->body_len) != 0)
		exit(WRONG_BYTES);
	*(char *)memchr(conn->in, '\r', conn->in_len) = '\0';
	snprintf(message->start_line, sizeof(message->start_line), "%s", (char *)conn->in);
	memmove(conn->in, conn->in + whole, conn->in_len - whole);
	conn->in_len -= whole;
	return true;
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static int port_of(int fd, int (*name)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_in address = {0};
	socklen_t len = sizeof(address);

	name(fd, (struct sockaddr *)&address, &len);
	return ntohs(address.sin_port);
}

static void log_exchange(const struct connection *conn, const char *request_line, int status, size_t request_bytes,
			 size_t response_bytes)
{
	char method[16], target[HEAD_BYTES_MAX], line[2 * HEAD_BYTES_MAX];

	sscanf(request_line, "%15s %511s", method, target);
	int len =
	    snprintf(line, sizeof(line),
		     "{\"side\":\"%s\",\"pid\":%d,\"tid\":%d,\"local_port\":%d,\"remote_port\":%d,\"method\":\"%s\","
		     "\"target\":\"%s\",\"status\":%d,\"request_bytes\":%zu,\"response_bytes\":%zu%s}\n",
		     opt.server ? "server" : "client", getpid(), conn->sender_tid, port_of(conn->fd, getsockname),
		     port_of(conn->fd, getpeername), method, target, status, request_bytes, response_bytes,
		     conn->plain ? ",\"plain\":true" : "");

	if (write(STDOUT_FILENO, line, (size_t)len) != len) /* one call: children and threads write here too */
		err(1, "log");
}

static void prepare(int fd)
{
	if (run.buffer) {
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &run.buffer, sizeof(run.buffer));
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &run.buffer, sizeof(run.buffer));
	}
}

/* The server's end of early data arrives in conn->in. */
static void open_connection(struct connection *conn, int fd, int number, struct early *early)
{
	conn->fd = fd;
	conn->number = number;
	conn->in_len = 0;
	conn->sender_tid = gettid();
	conn->plain = run.mixed_plain && number % 2;
	if (opt.nonblocking)
		fcntl(fd, F_SETFL, O_NONBLOCK);
	conn->session = library->open(fd, early, conn->plain);
	if (early && opt.server)
		conn->in_len = early->len;
}

static void close_connection(struct connection *conn)
{
	library->close(conn->session, true);
	close(conn->fd);
}

static void *allocate(size_t len)
{
	void *p = malloc(len);

	if (!p)
		err(1, "malloc");
	return p;
}

static struct connection *new_connection(void)
{
	struct connection *conn = allocate(sizeof(*conn));

	*conn = (struct connection){.lock = PTHREAD_MUTEX_INITIALIZER};
	conn->out = allocate(2 * HEAD_BYTES_MAX + BODY_BYTES_MAX);
	conn->in = allocate(2 * HEAD_BYTES_MAX + BODY_BYTES_MAX);
	return conn;
}

/* ---- server ------------------------------------------------------------------------------------------------------ */

static void answer_all(struct connection *conn)
{
	struct message request;

	while (receive_message(conn, &request)) {
		size_t body_len = request.body_len;

		sscanf(request.start_line, "GET /bytes/%zu", &body_len);
		if (body_len > BODY_BYTES_MAX)
			errx(1, "asked for %zu bytes", body_len);
		log_exchange(conn, request.start_line, 200, request.body_len, body_len);
		send_message(conn, "HTTP/1.1 200 OK", body_len);
	}
	close_connection(conn);
}

static void serve_one(struct connection *conn, int fd, int number)
{
	struct early early = {.data = conn->in, .room = HEAD_BYTES_MAX + BODY_BYTES_MAX};
	pid_t child = run.fork && !strcmp(run.fork, "accept") ? fork() : 0;

	if (child == 0) {
		open_connection(conn, fd, number, opt.early_data ? &early : NULL);
		if (run.fork && !strcmp(run.fork, "handshake") && (child = fork()) > 0)
			library->close(conn->session, false);
	}
	if (child > 0) {
		close(fd);
		return;
	}
	conn->sender_tid = gettid();
	answer_all(conn);
	if (run.fork)
		exit(0);
}

static void serve(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM, 0), status;
	struct connection *conn = new_connection();
	bool failed = false;

	prepare(listener);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 64))
		err(1, "listen");
	printf("%d\n", port_of(listener, getsockname));
	fflush(stdout);
	for (int i = 0; !run.connections || i < run.connections; i++)
		serve_one(conn, accept(listener, NULL, NULL), i);
	while (wait(&status) > 0)
		failed |= status != 0;
	if (failed)
		errx(1, "a child failed");
}

/* ---- client ------------------------------------------------------------------------------------------------------ */

static int connect_to_server(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons((uint16_t)run.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	prepare(fd);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		err(1, "connect");
	return fd;
}

/* Start line of a request; returns the size of its body. */
static size_t request_line(char *line, const struct connection *conn, int request)
{
	if (run.get) {
		snprintf(line, HEAD_BYTES_MAX, "GET %s HTTP/1.1", run.get);
		return 0;
	}
	snprintf(line, HEAD_BYTES_MAX, "POST /echo?%s-%d-%d HTTP/1.1", opt.send, conn->number, request);
	return run.bytes;
}

static void send_request(struct connection *conn, int request)
{
	char line[HEAD_BYTES_MAX];
	size_t body_len = request_line(line, conn, request);

	conn->sender_tid = gettid();
	send_message(conn, line, body_len);
}

static void receive_response(struct connection *conn, int request)
{
	struct message response;
	char line[HEAD_BYTES_MAX];
	size_t body_len = request_line(line, conn, request);
	int status = 0;

	if (!receive_message(conn, &response) || sscanf(response.start_line, "HTTP/1.1 %d", &status) != 1)
		errx(1, "no response");
	log_exchange(conn, line, status, body_len, response.body_len);
}

static void *send_requests(void *conn)
{
	for (int i = 0; i < run.requests; i++)
		send_request(conn, i);
	return NULL;
}

static void request_duplex(struct connection *conn)
{
	pthread_t sender;

	pthread_create(&sender, NULL, send_requests, conn);
	for (int i = 0; i < run.requests; i++)
		receive_response(conn, i);
	pthread_join(sender, NULL);
}

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void *take_turns(void *conn)
{
	static int number;

	for (int i = 0; i < run.requests; i++) {
		pthread_mutex_lock(&turn);
		send_request(conn, number);
		receive_response(conn, number++);
		pthread_mutex_unlock(&turn);
	}
	return NULL;
}

static void request_shared(struct connection *conn)
{
	pthread_t threads[THREADS_MAX];

	for (int i = 0; i < run.sharing_threads; i++)
		pthread_create(&threads[i], NULL, take_turns, conn);
	for (int i = 0; i < run.sharing_threads; i++)
		pthread_join(threads[i], NULL);
}

/* done: exchanges so far. */
static void pause_at(int done)
{
	if (done != run.wait_at)
		return;
	fputs("ready\n", stderr);
	while (getchar() != '\n')
		if (feof(stdin))
			errx(1, "no line on standard input");
	run.wait_at = -1;
}

static void request_in_turn(struct connection *conn, int first)
{
	for (int i = first; i < run.requests; i++) {
		send_request(conn, i);
		receive_response(conn, i);
		pause_at(i + 1);
	}
}

/* The first request goes along with the handshake. */
static void request_early(struct connection *conn, int number)
{
	struct early early = {.data = conn->out};
	char line[HEAD_BYTES_MAX];

	conn->number = number;
	size_t body_len = request_line(line, conn, 0), head = write_head(conn->out, line, body_len);

	memcpy(conn->out + head, expected, body_len);
	early.len = head + body_len;
	open_connection(conn, connect_to_server(), number, &early);
	receive_response(conn, 0);
	request_in_turn(conn, 1);
}

static void request_all(void)
{
	struct connection *conn = new_connection();

	pause_at(0);
	for (int i = 0; i < run.connections; i++) {
		if (opt.early_data && i > 0) {
			request_early(conn, i);
		} else {
			open_connection(conn, connect_to_server(), i, NULL);
			if (run.duplex)
				request_duplex(conn);
			else if (run.sharing_threads)
				request_shared(conn);
			else
				request_in_turn(conn, 0);
		}
		close_connection(conn);
	}
}

/* ---- command line ------------------------------------------------------------------------------------------------ */

static const char *der_of(const char *path)
{
	char *name;

	if (asprintf(&name, "%s.der", path) < 0)
		err(1, "asprintf");
	return name;
}

static bool text_option(int c)
{
	switch (c) {
	case 'C':
		opt.certificate = optarg;
		opt.certificate_der = der_of(optarg);
		return true;
	case 'K':
		opt.key = optarg;
		opt.key_der = der_of(optarg);
		return true;
	case 'V':
		opt.version = optarg;
		return true;
	case 'G':
		run.get = optarg;
		return true;
	case 'F':
		run.fork = optarg;
		return true;
	default:
		return false;
	}
}

static bool *flag_of(int c)
{
	static const char letters[] = "NWMREpDxzLT";
	bool *const flags[] = {&opt.nonblocking,  &opt.partial_writes, &opt.own_transport, &opt.reuse_session,
			       &opt.early_data,   &run.peek,           &run.duplex,        &run.mixed_plain,
			       &run.send_nothing, &opt.closes_inside,  &opt.kernel_tls};
	const char *at = strchr(letters, c);

	return at ? flags[at - letters] : NULL;
}

static bool number_option(int c)
{
	static const char letters[] = "nkqPSw";
	int *const numbers[] = {&run.requests, &run.connections,     &run.buffer,
				&run.port,     &run.sharing_threads, &run.wait_at};
	const char *at = strchr(letters, c);

	if (c == 'b')
		run.bytes = strtoul(optarg, NULL, 10);
	else if (c == 'c')
		run.chunk = strtoul(optarg, NULL, 10);
	else if (at)
		*numbers[at - letters] = atoi(optarg);
	else
		return false;
	return true;
}

static bool has_call(const char *calls, const char *name)
{
	char word[64];

	snprintf(word, sizeof(word), " %s ", name);
	return strstr(calls, word);
}

static bool read_options(int argc, char **argv)
{
	if (argc < 4 || !has_call(library->send_calls, argv[2]) || !has_call(library->receive_calls, argv[3]))
		return false;
	opt.server = !strcmp(argv[1], "server");
	opt.send = argv[2];
	opt.receive = argv[3];
	for (int c; (c = getopt(argc - 3, argv + 3, "P:C:K:b:n:k:G:c:q:NWMRpEDS:F:xzLTw:V:")) != -1;) {
		bool *flag = flag_of(c);

		if (flag)
			*flag = true;
		else if (!text_option(c) && !number_option(c))
			return false;
	}
	return (!opt.server || (opt.certificate && opt.key)) && (!run.peek || library->peek) &&
	       (!run.mixed_plain || library->has_plain) && run.bytes <= BODY_BYTES_MAX &&
	       run.sharing_threads <= THREADS_MAX;
}

static void make_body_file(void)
{
	body_file = memfd_create("body", MFD_CLOEXEC);
	if (body_file < 0 || write(body_file, expected, BODY_BYTES_MAX) != BODY_BYTES_MAX ||
	    lseek(body_file, 0, SEEK_SET))
		err(1, "body file");
}

int peer_main(const struct tls_library *of, int argc, char **argv)
{
	library = of;
	if (!read_options(argc, argv)) {
		fprintf(stderr, USAGE, argv[0]);
		fprintf(stderr, "send calls:%s\nreceive calls:%s\n", library->send_calls, library->receive_calls);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	expected = allocate(BODY_BYTES_MAX);
	pattern_fill(expected, BODY_BYTES_MAX);
	if (sends_by("sendfile"))
		make_body_file();
	library->set_up();
	if (opt.server)
		serve();
	else
		request_all();
	return 0;
}
