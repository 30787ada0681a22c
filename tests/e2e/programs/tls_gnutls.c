/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 over GnuTLS: every call that moves application data. See tls_peer.c for the command line. */
#include <err.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls_peer.h"

enum { EARLY_BYTES_MAX = 1 << 20, PAD_BYTES = 16, CORK_BYTES_MAX = 1 << 14 };

struct session {
	gnutls_session_t tls;
	int fd;
	bool unsent;            /* the call before said EAGAIN: it goes on with (NULL, 0) */
	size_t corked;          /* bytes that wait for uncork */
	gnutls_packet_t packet; /* of which packet_at bytes have been taken */
	size_t packet_at;
};

static gnutls_certificate_credentials_t credentials;
static gnutls_datum_t ticket_key;
static gnutls_anti_replay_t anti_replay;
static gnutls_datum_t resumed; /* the client's, of the connection before */

static void check(int result, const char *what)
{
	if (result < 0)
		errx(1, "%s: %s", what, gnutls_strerror(result));
}

static int remember(void *store, time_t expires, const gnutls_datum_t *key, const gnutls_datum_t *data)
{
	(void)store, (void)expires, (void)key, (void)data;
	return 0; /* never seen before: each connection resumes another one */
}

static void set_up(void)
{
	check(gnutls_certificate_allocate_credentials(&credentials), "credentials");
	if (!opt.server)
		return;
	check(gnutls_certificate_set_x509_key_file(credentials, opt.certificate, opt.key, GNUTLS_X509_FMT_PEM),
	      "certificate");
	check(gnutls_session_ticket_key_generate(&ticket_key), "ticket key");
	check(gnutls_anti_replay_init(&anti_replay), "anti-replay");
	gnutls_anti_replay_set_add_function(anti_replay, remember);
}

/* ---- transport of our own ---------------------------------------------------------------------------------------- */

static ssize_t push(gnutls_transport_ptr_t session, const void *data, size_t len)
{
	return send(((struct session *)session)->fd, data, len, MSG_NOSIGNAL);
}

static ssize_t pull(gnutls_transport_ptr_t session, void *data, size_t room)
{
	return recv(((struct session *)session)->fd, data, room, 0);
}

static int pull_timeout(gnutls_transport_ptr_t session, unsigned int ms)
{
	struct pollfd poll_fd = {.fd = ((struct session *)session)->fd, .events = POLLIN};

	return poll(&poll_fd, 1, (int)ms);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

/* What the result of a call means to tls_peer.c. */
static ssize_t moved(struct session *s, ssize_t result)
{
	if (result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED)
		return gnutls_record_get_direction(s->tls) ? -POLLOUT : -POLLIN;
	if (result == GNUTLS_E_PREMATURE_TERMINATION || result == GNUTLS_E_PULL_ERROR)
		return 0; /* the other end is gone, with no close_notify */
	check((int)result, opt.send);
	return result;
}

/* Padding, which hides a length, is for TLS 1.3 and for ciphers that nobody uses any more. */
static size_t padding(struct session *s)
{
	return gnutls_record_can_use_length_hiding(s->tls) ? PAD_BYTES : 0;
}

static ssize_t send_range(struct session *s, const uint8_t *data, size_t len)
{
	const gnutls_range_st range = {.low = len, .high = len + padding(s)};

	return gnutls_record_send_range(s->tls, data, len, &range);
}

static ssize_t send_once(struct session *s, const uint8_t *data, size_t len)
{
	if (sends_by("send2")) { /* which does not cut the record for what it pads */
		size_t pad = padding(s), most = gnutls_record_get_max_size(s->tls) - pad;

		return gnutls_record_send2(s->tls, data, len < most ? len : most, pad, 0);
	}
	if (sends_by("range"))
		return send_range(s, data, len);
	if (s->unsent)
		return gnutls_record_send(s->tls, NULL, 0);
	return gnutls_record_send(s->tls, data, len);
}

/* Collects until there is enough, or until flush. */
static ssize_t send_corked(struct session *s, const uint8_t *data, size_t len)
{
	if (s->corked >= CORK_BYTES_MAX) {
		int n = gnutls_record_uncork(s->tls, 0);

		if (n < 0)
			return moved(s, n);
		s->corked = 0;
	}
	if (!s->corked)
		gnutls_record_cork(s->tls);
	ssize_t n = moved(s, gnutls_record_send(s->tls, data, len < CORK_BYTES_MAX / 4 ? len : CORK_BYTES_MAX / 4));

	if (n > 0)
		s->corked += (size_t)n;
	return n;
}

static ssize_t tls_send(void *session, const uint8_t *data, size_t len)
{
	struct session *s = session;

	if (len == 0) {
		gnutls_record_send(s->tls, data, 0); /* an error: nothing is left to be sent */
		return 0;
	}
	if (sends_by("cork"))
		return send_corked(s, data, len);
	ssize_t n = moved(s, send_once(s, data, len));

	s->unsent = n < 0;
	if (n == 0)
		errx(1, "connection ended while sending");
	return n;
}

static ssize_t tls_flush(void *session)
{
	struct session *s = session;
	int n = s->corked ? gnutls_record_uncork(s->tls, 0) : 0;

	if (n < 0)
		return moved(s, n);
	s->corked = 0;
	return 0;
}

/* What is left of the packet before, else a new one. */
static ssize_t receive_packet(struct session *s, uint8_t *data, size_t room)
{
	gnutls_datum_t datum = {0};

	if (!s->packet) {
		ssize_t n = moved(s, gnutls_record_recv_packet(s->tls, &s->packet));

		if (n <= 0)
			return n;
		s->packet_at = 0;
	}
	gnutls_packet_get(s->packet, &datum, NULL);
	size_t rest = datum.size - s->packet_at, len = rest < room ? rest : room;

	memcpy(data, datum.data + s->packet_at, len);
	s->packet_at += len;
	if (len == rest) {
		gnutls_packet_deinit(s->packet);
		s->packet = NULL;
	}
	return (ssize_t)len;
}

static ssize_t tls_receive(void *session, uint8_t *data, size_t room)
{
	struct session *s = session;
	unsigned char sequence[8];

	if (receives_by("packet"))
		return receive_packet(s, data, room);
	if (receives_by("recv_seq"))
		return moved(s, gnutls_record_recv_seq(s->tls, data, room, sequence));
	return moved(s, gnutls_record_recv(s->tls, data, room));
}

static ssize_t tls_send_file(void *session, int file, size_t offset, size_t len)
{
	struct session *s = session;
	off_t at = (off_t)offset;
	ssize_t n = moved(s, gnutls_record_send_file(s->tls, file, &at, len));

	if (n == 0)
		errx(1, "connection ended while sending a file");
	return n;
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

static void set_transport(struct session *s)
{
	if (!opt.own_transport) {
		gnutls_transport_set_int(s->tls, s->fd);
		return;
	}
	gnutls_transport_set_ptr(s->tls, s);
	gnutls_transport_set_push_function(s->tls, push);
	gnutls_transport_set_pull_function(s->tls, pull);
	gnutls_transport_set_pull_timeout_function(s->tls, pull_timeout);
}

static void allow_early_data(struct session *s)
{
	if (!opt.server) {
		if (resumed.data)
			check(gnutls_session_set_data(s->tls, resumed.data, resumed.size), "resumption");
		return;
	}
	check(gnutls_session_ticket_enable_server(s->tls, &ticket_key), "tickets");
	gnutls_anti_replay_enable(s->tls, anti_replay);
	check(gnutls_record_set_max_early_data_size(s->tls, EARLY_BYTES_MAX), "early data");
}

static void shake_hands(struct session *s)
{
	for (int n; (n = gnutls_handshake(s->tls)) < 0;) {
		if (n == GNUTLS_E_AGAIN)
			wait_for(s->fd, moved(s, n));
		else if (gnutls_error_is_fatal(n))
			check(n, "handshake");
	}
}

static void receive_early(struct session *s, struct early *early)
{
	if (!(gnutls_session_get_flags(s->tls) & GNUTLS_SFLAGS_EARLY_DATA))
		return;
	for (ssize_t n; early->len < early->room; early->len += (size_t)n) {
		n = gnutls_record_recv_early_data(s->tls, early->data + early->len, early->room - early->len);
		if (n == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE || n == 0)
			return;
		check((int)n, "early data");
	}
}

static void *tls_open(int fd, struct early *early, bool plain)
{
	struct session *s = calloc(1, sizeof(*s));
	unsigned int flags = opt.server ? GNUTLS_SERVER : GNUTLS_CLIENT;

	if (!s || plain)
		errx(1, "no such session");
	if (opt.nonblocking)
		flags |= GNUTLS_NONBLOCK;
	if (opt.early_data)
		flags |= GNUTLS_ENABLE_EARLY_DATA;
	s->fd = fd;
	check(gnutls_init(&s->tls, flags | GNUTLS_NO_SIGNAL), "session");
	check(
	    gnutls_priority_set_direct(
		s->tls, opt.version && !strcmp(opt.version, "1.2") ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL", NULL),
	    "priority");
	check(gnutls_credentials_set(s->tls, GNUTLS_CRD_CERTIFICATE, credentials), "credentials");
	set_transport(s);
	if (opt.early_data)
		allow_early_data(s);
	if (early && !opt.server)
		check((int)gnutls_record_send_early_data(s->tls, early->data, early->len), "early data");
	shake_hands(s);
	if (early && !opt.server && !(gnutls_session_get_flags(s->tls) & GNUTLS_SFLAGS_EARLY_DATA))
		errx(1, "the server took no early data");
	if (early && opt.server)
		receive_early(s, early);
	return s;
}

static void tls_close(void *session, bool tell)
{
	struct session *s = session;

	if (tell)
		gnutls_bye(s->tls, GNUTLS_SHUT_WR);
	if (opt.early_data && !opt.server) {
		gnutls_free(resumed.data);
		check(gnutls_session_get_data2(s->tls, &resumed), "session ticket");
	}
	if (s->packet)
		gnutls_packet_deinit(s->packet);
	gnutls_deinit(s->tls);
	free(s);
}

int main(int argc, char **argv)
{
	static const struct tls_library gnutls = {
	    .send_calls = " send send2 range cork sendfile ",
	    .receive_calls = " recv recv_seq packet ",
	    .set_up = set_up,
	    .open = tls_open,
	    .send = tls_send,
	    .receive = tls_receive,
	    .send_file = tls_send_file,
	    .flush = tls_flush,
	    .close = tls_close,
	};

	return peer_main(&gnutls, argc, argv);
}
