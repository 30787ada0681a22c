/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 over OpenSSL from 1.1.1 on: every call that moves application data. See tls_peer.c for the command line. */
#include <err.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls_peer.h"

#if OPENSSL_VERSION_NUMBER < 0x30000000L /* what 1.1.1 does not have: openssl_open() ends before it is called */
#define SSL_OP_ENABLE_KTLS                          0
#define SSL_R_UNEXPECTED_EOF_WHILE_READING          (-1)
#define BIO_get_ktls_send(bio)                      ((void)(bio), 0)
#define SSL_sendfile(ssl, file, offset, len, flags) ((void)(ssl), (void)(file), (void)(offset), (void)(len), -1)
#endif

enum { EARLY_BYTES_MAX = 1 << 20, TRANSFER_BYTES = 1 << 14 };
#define STALE ((size_t)0x5eed) /* in an out-parameter before the call: nothing may take it for a length */

struct session {
	SSL *ssl;
	BIO *bio; /* BIO_f_ssl, when the calls are those of a BIO */
	int fd;
	size_t sending, sent; /* with -L: bytes of the call that is under way, and of its records so far */
};

static SSL_CTX *context;
static SSL_SESSION *resumed; /* the client's, of the connection before */
static SSL *kept;            /* the object of the connection before, to be used again */

static void fail(const char *what)
{
	ERR_print_errors_fp(stderr);
	errx(1, "%s", what);
}

static void set_up(void)
{
	context = SSL_CTX_new(opt.server ? TLS_server_method() : TLS_client_method());
	if (opt.version)
		SSL_CTX_set_max_proto_version(context, strcmp(opt.version, "1.2") ? TLS1_3_VERSION : TLS1_2_VERSION);
	SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (opt.partial_writes)
		SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE);
	opt.kernel_tls |= sends_by("sendfile"); /* which needs it */
	if (opt.kernel_tls)
		SSL_CTX_set_options(context, SSL_OP_ENABLE_KTLS);
	if (opt.server && (SSL_CTX_use_certificate_file(context, opt.certificate, SSL_FILETYPE_PEM) != 1 ||
			   SSL_CTX_use_PrivateKey_file(context, opt.key, SSL_FILETYPE_PEM) != 1))
		fail("certificate");
	SSL_CTX_set_session_id_context(context, (const unsigned char *)"e2e", 3);
	SSL_CTX_set_max_early_data(context, EARLY_BYTES_MAX);
	SSL_CTX_set_recv_max_early_data(context, EARLY_BYTES_MAX);
}

/* ---- transport of our own: two memory BIOs ----------------------------------------------------------------------- */

static void put_out(struct session *s)
{
	char data[TRANSFER_BYTES];

	for (int n; (n = BIO_read(SSL_get_wbio(s->ssl), data, sizeof(data))) > 0;)
		socket_send_all(s->fd, data, (size_t)n);
}

/* Returns false at the end of the connection. */
static bool take_in(struct session *s)
{
	char data[TRANSFER_BYTES];
	ssize_t n;

	while ((n = recv(s->fd, data, sizeof(data), 0)) < 0 && errno == EAGAIN)
		wait_for(s->fd, -POLLIN);
	if (n > 0)
		BIO_write(SSL_get_rbio(s->ssl), data, (int)n);
	return n > 0;
}

/* ---- a socket that is closed under a call ------------------------------------------------------------------------ */

/*
 * As if another thread had closed it: all records of the call are out, and the call has not returned. What the
 * session still wants to do with the descriptor fails.
 */
static long close_when_sent(BIO *bio, int operation, const char *data, size_t len, int argi, long argl, int result,
			    size_t *processed)
{
	struct session *s = (struct session *)BIO_get_callback_arg(bio);

	(void)data, (void)len, (void)argi, (void)argl;
	if (operation == (BIO_CB_WRITE | BIO_CB_RETURN) && result > 0 && s->sending) {
		s->sent += *processed;
		if (s->sent >= s->sending)
			close(s->fd);
	}
	return result;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

/* What a call that moved nothing means to tls_peer.c. */
static ssize_t nothing_moved(struct session *s, int result)
{
	switch (SSL_get_error(s->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return -POLLIN;
	case SSL_ERROR_WANT_WRITE:
		return -POLLOUT;
	case SSL_ERROR_ZERO_RETURN:
	case SSL_ERROR_SYSCALL: /* the other end is gone, with no close_notify */
		return 0;
	default:
		if (ERR_GET_REASON(ERR_peek_error()) != SSL_R_UNEXPECTED_EOF_WHILE_READING)
			fail(opt.send);
		return 0;
	}
}

static ssize_t bio_moved(struct session *s, int result)
{
	if (result > 0)
		return result;
	if (BIO_should_retry(s->bio))
		return BIO_should_read(s->bio) ? -POLLIN : -POLLOUT;
	return nothing_moved(s, result);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static ssize_t send_once(struct session *s, const uint8_t *data, size_t len)
{
	size_t moved = STALE;
	int n;

	if (sends_by("bio"))
		return bio_moved(s, BIO_write(s->bio, data, (int)len));
	if (sends_by("write_ex")) {
		n = SSL_write_ex(s->ssl, data, len, &moved);
		return n == 1 ? (ssize_t)moved : nothing_moved(s, n);
	}
	n = SSL_write(s->ssl, data, (int)len);
	return n > 0 ? n : nothing_moved(s, n);
}

static ssize_t openssl_send(void *session, const uint8_t *data, size_t len)
{
	struct session *s = session;

	s->sending = opt.closes_inside ? len : 0;
	ssize_t n = send_once(s, data, len);

	if (opt.own_transport)
		put_out(session);
	if (n == 0 && len > 0)
		errx(1, "connection ended while sending");
	return n;
}

static ssize_t receive_once(struct session *s, uint8_t *data, size_t room)
{
	size_t moved = STALE;
	int n;

	if (receives_by("bio"))
		return bio_moved(s, BIO_read(s->bio, data, (int)room));
	if (receives_by("read_ex")) {
		n = SSL_read_ex(s->ssl, data, room, &moved);
		return n == 1 ? (ssize_t)moved : nothing_moved(s, n);
	}
	n = SSL_read(s->ssl, data, (int)room);
	return n > 0 ? n : nothing_moved(s, n);
}

static ssize_t openssl_receive(void *session, uint8_t *data, size_t room)
{
	for (;;) {
		ssize_t n = receive_once(session, data, room);

		if (!opt.own_transport || n != -POLLIN)
			return n;
		if (!take_in(session))
			return 0;
	}
}

static ssize_t peek_once(struct session *s, uint8_t *data, size_t room)
{
	size_t moved = STALE;
	int n;

	if (receives_by("read_ex")) {
		n = SSL_peek_ex(s->ssl, data, room, &moved);
		return n == 1 ? (ssize_t)moved : nothing_moved(s, n);
	}
	n = SSL_peek(s->ssl, data, (int)room);
	return n > 0 ? n : nothing_moved(s, n);
}

static ssize_t openssl_peek(void *session, uint8_t *data, size_t room)
{
	for (;;) {
		ssize_t n = peek_once(session, data, room);

		if (!opt.own_transport || n != -POLLIN)
			return n;
		if (!take_in(session))
			return 0;
	}
}

static ssize_t openssl_send_file(void *session, int file, size_t offset, size_t len)
{
	struct session *s = session;

	ssize_t n = SSL_sendfile(s->ssl, file, (off_t)offset, len, 0);

	return n > 0 ? n : nothing_moved(s, (int)n);
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

/* The client sends; with SSL_write_early_data. */
static void send_early(struct session *s, const struct early *early)
{
	for (size_t at = 0, moved = STALE; at < early->len;) {
		if (SSL_write_early_data(s->ssl, early->data + at, early->len - at, &moved) == 1) {
			at += moved;
			continue;
		}
		ssize_t n = nothing_moved(s, 0);

		if (n == 0)
			errx(1, "connection ended in early data");
		wait_for(s->fd, n);
	}
}

static void receive_early(struct session *s, struct early *early)
{
	for (int result = SSL_READ_EARLY_DATA_ERROR; result != SSL_READ_EARLY_DATA_FINISH;) {
		size_t moved = STALE;

		result = SSL_read_early_data(s->ssl, early->data + early->len, early->room - early->len, &moved);
		if (result == SSL_READ_EARLY_DATA_SUCCESS)
			early->len += moved;
		else if (result == SSL_READ_EARLY_DATA_ERROR)
			wait_for(s->fd, nothing_moved(s, 0));
	}
}

static void shake_hands(struct session *s)
{
	for (int n; (n = SSL_do_handshake(s->ssl)) != 1;) {
		int error = SSL_get_error(s->ssl, n);

		if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
			fail("handshake");
		if (!opt.own_transport) {
			wait_for(s->fd, error == SSL_ERROR_WANT_READ ? -POLLIN : -POLLOUT);
			continue;
		}
		put_out(s);
		if (!take_in(s))
			errx(1, "connection ended in the handshake");
	}
	if (opt.own_transport)
		put_out(s);
}

static SSL *take_object(void)
{
	SSL *ssl = kept;

	kept = NULL;
	if (ssl && SSL_clear(ssl) != 1)
		fail("SSL_clear");
	return ssl ? ssl : SSL_new(context);
}

static void *openssl_open(int fd, struct early *early, bool plain)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s || plain)
		errx(1, "no such session");
	s->fd = fd;
	s->ssl = take_object();
	if (opt.own_transport)
		SSL_set_bio(s->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	else
		SSL_set_fd(s->ssl, fd);
	if (opt.server && opt.closes_inside) {
		BIO_set_callback_arg(SSL_get_wbio(s->ssl), (char *)s);
		BIO_set_callback_ex(SSL_get_wbio(s->ssl), close_when_sent);
	}
	if (opt.server)
		SSL_set_accept_state(s->ssl);
	else
		SSL_set_connect_state(s->ssl);
	if (resumed)
		SSL_set_session(s->ssl, resumed);
	if (early && !opt.server)
		send_early(s, early);
	if (early && opt.server)
		receive_early(s, early);
	shake_hands(s);
	if (opt.kernel_tls && !BIO_get_ktls_send(SSL_get_wbio(s->ssl)))
		errx(NO_KERNEL_TLS, "no kernel TLS");
	if (early && !opt.server && SSL_get_early_data_status(s->ssl) != SSL_EARLY_DATA_ACCEPTED)
		errx(1, "the server took no early data");
	if (sends_by("bio") || receives_by("bio")) {
		s->bio = BIO_new(BIO_f_ssl());
		BIO_set_ssl(s->bio, s->ssl, BIO_NOCLOSE);
	}
	return s;
}

static void openssl_close(void *session, bool tell)
{
	struct session *s = session;

	if (tell) {
		SSL_shutdown(s->ssl);
		if (opt.own_transport)
			put_out(s);
	}
	if (opt.early_data && !opt.server) {
		SSL_SESSION_free(resumed);
		resumed = SSL_get1_session(s->ssl);
	}
	BIO_free(s->bio);
	if (opt.reuse_session)
		kept = s->ssl;
	else
		SSL_free(s->ssl);
	free(s);
	ERR_clear_error();
}

int main(int argc, char **argv)
{
	static const struct tls_library openssl = {
	    .send_calls = " write write_ex bio sendfile ",
	    .receive_calls = " read read_ex bio ",
	    .set_up = set_up,
	    .open = openssl_open,
	    .send = openssl_send,
	    .receive = openssl_receive,
	    .peek = openssl_peek,
	    .send_file = openssl_send_file,
	    .close = openssl_close,
	};

	return peer_main(&openssl, argc, argv);
}
