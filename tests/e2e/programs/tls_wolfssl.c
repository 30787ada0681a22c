/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 over wolfSSL: every call that moves application data. See tls_peer.c for the command line. */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include <err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "tls_peer.h"

struct session {
	WOLFSSL *tls;
	int fd;
};

static WOLFSSL_CTX *context;

/* ---- transport of our own ---------------------------------------------------------------------------------------- */

static int push(WOLFSSL *tls, char *data, int len, void *session)
{
	ssize_t n = send(((struct session *)session)->fd, data, (size_t)len, MSG_NOSIGNAL);

	(void)tls;
	return n >= 0 ? (int)n : WOLFSSL_CBIO_ERR_WANT_WRITE;
}

static int pull(WOLFSSL *tls, char *data, int room, void *session)
{
	ssize_t n = recv(((struct session *)session)->fd, data, (size_t)room, 0);

	(void)tls;
	if (n == 0)
		return WOLFSSL_CBIO_ERR_CONN_CLOSE;
	return n > 0 ? (int)n : WOLFSSL_CBIO_ERR_WANT_READ;
}

static WOLFSSL_METHOD *method(void)
{
	if (opt.version && !strcmp(opt.version, "1.2"))
		return opt.server ? wolfTLSv1_2_server_method() : wolfTLSv1_2_client_method();
	return opt.server ? wolfSSLv23_server_method() : wolfSSLv23_client_method();
}

static void set_up(void)
{
	wolfSSL_Init();
	context = wolfSSL_CTX_new(method());
	if (!context)
		errx(1, "context");
	wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_NONE, NULL);
	if (opt.partial_writes)
		wolfSSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE);
	if (opt.own_transport) {
		wolfSSL_CTX_SetIOSend(context, push);
		wolfSSL_CTX_SetIORecv(context, pull);
	}
	if (opt.server &&
	    (wolfSSL_CTX_use_certificate_file(context, opt.certificate, WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS ||
	     wolfSSL_CTX_use_PrivateKey_file(context, opt.key, WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS))
		errx(1, "certificate");
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

/* What a call that moved nothing means to tls_peer.c. */
static ssize_t nothing_moved(struct session *s, int result)
{
	char text[WOLFSSL_MAX_ERROR_SZ];
	int error = wolfSSL_get_error(s->tls, result);

	switch (error) {
	case WOLFSSL_ERROR_WANT_READ:
		return -POLLIN;
	case WOLFSSL_ERROR_WANT_WRITE:
		return -POLLOUT;
	case WOLFSSL_ERROR_NONE:
	case WOLFSSL_ERROR_ZERO_RETURN:
	case SOCKET_PEER_CLOSED_E: /* the other end is gone, with no close_notify */
	case SOCKET_ERROR_E:
		return 0;
	default:
		errx(1, "%s", wolfSSL_ERR_error_string((unsigned long)error, text));
	}
}

static int send_vectors(struct session *s, const uint8_t *data, size_t len)
{
	uint8_t *at = (uint8_t *)(uintptr_t)data; /* iovec has no const */
	struct iovec iov[] = {{at, len / 3}, {at + len / 3, 0}, {at + len / 3, len - len / 3}};

	return wolfSSL_writev(s->tls, iov, 3);
}

static int send_once(struct session *s, const uint8_t *data, size_t len)
{
	if (sends_by("writev"))
		return send_vectors(s, data, len);
	if (sends_by("send"))
		return wolfSSL_send(s->tls, data, (int)len, MSG_NOSIGNAL);
	return wolfSSL_write(s->tls, data, (int)len);
}

static ssize_t tls_send(void *session, const uint8_t *data, size_t len)
{
	int result = send_once(session, data, len);
	ssize_t n = result > 0 ? result : nothing_moved(session, result);

	if (n == 0 && len > 0)
		errx(1, "connection ended while sending");
	return n;
}

static ssize_t tls_receive(void *session, uint8_t *data, size_t room)
{
	struct session *s = session;
	int n = receives_by("recv") ? wolfSSL_recv(s->tls, data, (int)room, 0) : wolfSSL_read(s->tls, data, (int)room);

	return n > 0 ? n : nothing_moved(s, n);
}

static ssize_t tls_peek(void *session, uint8_t *data, size_t room)
{
	struct session *s = session;
	int n = wolfSSL_peek(s->tls, data, (int)room);

	return n > 0 ? n : nothing_moved(s, n);
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

static void shake_hands(struct session *s)
{
	for (int n; (n = wolfSSL_negotiate(s->tls)) != WOLFSSL_SUCCESS;) {
		ssize_t events = nothing_moved(s, n);

		if (events == 0)
			errx(1, "connection ended in the handshake");
		wait_for(s->fd, events);
	}
}

static void *tls_open(int fd, struct early *early, bool plain)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s || plain || early)
		errx(1, "no such session");
	s->fd = fd;
	s->tls = wolfSSL_new(context);
	if (!s->tls)
		errx(1, "session");
	wolfSSL_set_fd(s->tls, fd);
	if (opt.own_transport) {
		wolfSSL_SetIOReadCtx(s->tls, s);
		wolfSSL_SetIOWriteCtx(s->tls, s);
	}
	shake_hands(s);
	return s;
}

static void tls_close(void *session, bool tell)
{
	struct session *s = session;

	if (tell)
		wolfSSL_shutdown(s->tls);
	wolfSSL_free(s->tls);
	free(s);
}

int main(int argc, char **argv)
{
	static const struct tls_library wolfssl = {
	    .send_calls = " write send writev ",
	    .receive_calls = " read recv ",
	    .set_up = set_up,
	    .open = tls_open,
	    .send = tls_send,
	    .receive = tls_receive,
	    .peek = tls_peek,
	    .close = tls_close,
	};

	return peer_main(&wolfssl, argc, argv);
}
