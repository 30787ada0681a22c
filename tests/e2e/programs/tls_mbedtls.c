/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 over Mbed TLS: every call that moves application data. See tls_peer.c for the command line. */
#include <err.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tls_peer.h"

struct session {
	mbedtls_ssl_context tls;
	mbedtls_net_context net;
};

static mbedtls_ssl_config config;
static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context random_numbers;
static mbedtls_x509_crt certificate;
static mbedtls_pk_context key;

static void check(int result, const char *what)
{
	char text[128];

	if (result < 0) {
		mbedtls_strerror(result, text, sizeof(text));
		errx(1, "%s: %s", what, text);
	}
}

static int read_key(void)
{
#if MBEDTLS_VERSION_MAJOR >= 3
	return mbedtls_pk_parse_keyfile(&key, opt.key, NULL, mbedtls_ctr_drbg_random, &random_numbers);
#else
	return mbedtls_pk_parse_keyfile(&key, opt.key, NULL);
#endif
}

static void set_up(void)
{
	mbedtls_entropy_init(&entropy);
	mbedtls_ctr_drbg_init(&random_numbers);
	check(mbedtls_ctr_drbg_seed(&random_numbers, mbedtls_entropy_func, &entropy, NULL, 0), "random numbers");
	mbedtls_ssl_config_init(&config);
	check(mbedtls_ssl_config_defaults(&config, opt.server ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
					  MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT),
	      "configuration");
	mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random_numbers);
	mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_NONE);
	mbedtls_x509_crt_init(&certificate);
	mbedtls_pk_init(&key);
	if (opt.server) {
		check(mbedtls_x509_crt_parse_file(&certificate, opt.certificate), "certificate");
		check(read_key(), "key");
		check(mbedtls_ssl_conf_own_cert(&config, &certificate, &key), "certificate");
	}
}

/* ---- transport of our own ---------------------------------------------------------------------------------------- */

static int push(void *session, const unsigned char *data, size_t len)
{
	ssize_t n = send(((struct session *)session)->net.fd, data, len, MSG_NOSIGNAL);

	return n >= 0 ? (int)n : MBEDTLS_ERR_SSL_WANT_WRITE;
}

static int pull(void *session, unsigned char *data, size_t room)
{
	ssize_t n = recv(((struct session *)session)->net.fd, data, room, 0);

	return n >= 0 ? (int)n : MBEDTLS_ERR_SSL_WANT_READ;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

/* What the result of a call means to tls_peer.c. */
static ssize_t moved(int result)
{
	switch (result) {
	case MBEDTLS_ERR_SSL_WANT_READ:
		return -POLLIN;
	case MBEDTLS_ERR_SSL_WANT_WRITE:
		return -POLLOUT;
	case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
	case MBEDTLS_ERR_NET_CONN_RESET:
	case MBEDTLS_ERR_SSL_CONN_EOF:
		return 0;
	default:
		check(result, opt.send);
		return result;
	}
}

static ssize_t tls_send(void *session, const uint8_t *data, size_t len)
{
	struct session *s = session;
	ssize_t n = moved(mbedtls_ssl_write(&s->tls, data, len));

	if (n == 0 && len > 0)
		errx(1, "connection ended while sending");
	return n;
}

static ssize_t tls_receive(void *session, uint8_t *data, size_t room)
{
	struct session *s = session;

	return moved(mbedtls_ssl_read(&s->tls, data, room));
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

static void *tls_open(int fd, struct early *early, bool plain)
{
	struct session *s = calloc(1, sizeof(*s));
	ssize_t events;

	if (!s || plain || early)
		errx(1, "no such session");
	s->net.fd = fd;
	mbedtls_ssl_init(&s->tls);
	check(mbedtls_ssl_setup(&s->tls, &config), "session");
	if (opt.own_transport)
		mbedtls_ssl_set_bio(&s->tls, s, push, pull, NULL);
	else
		mbedtls_ssl_set_bio(&s->tls, &s->net, mbedtls_net_send, mbedtls_net_recv, NULL);
	while ((events = moved(mbedtls_ssl_handshake(&s->tls))) < 0)
		wait_for(fd, events);
	return s;
}

static void tls_close(void *session, bool tell)
{
	struct session *s = session;

	if (tell)
		mbedtls_ssl_close_notify(&s->tls);
	mbedtls_ssl_free(&s->tls);
	free(s);
}

int main(int argc, char **argv)
{
	static const struct tls_library mbedtls = {
	    .send_calls = " write ",
	    .receive_calls = " read ",
	    .set_up = set_up,
	    .open = tls_open,
	    .send = tls_send,
	    .receive = tls_receive,
	    .close = tls_close,
	};

	return peer_main(&mbedtls, argc, argv);
}
