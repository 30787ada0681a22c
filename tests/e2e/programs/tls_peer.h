/* SPDX-License-Identifier: Apache-2.0 */
/* What a program per TLS library (tls_*.c) gives to tls_peer.c, which speaks HTTP/1.1 through it. */
#ifndef E2E_TLS_PEER_H
#define E2E_TLS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { NO_KERNEL_TLS = 77 }; /* exit status: needs what this kernel does not have */

/* Of the command line; see tls_peer.c. */
struct peer_options {
	bool server;
	const char *send, *receive;            /* names of the calls */
	const char *certificate, *key;         /* paths of PEM files, of the server */
	const char *certificate_der, *key_der; /* the same in DER; the key in PKCS #8 */
	const char *version; /* "1.2" or "1.3": highest protocol version, NULL: what the library likes */
	bool nonblocking, partial_writes, own_transport, reuse_session, early_data, closes_inside, kernel_tls;
};

extern struct peer_options opt;

/* Data that goes along with the handshake (RFC 8446, 2.3): to send at the client, room for it at the server. */
struct early {
	uint8_t *data;
	size_t len;
	size_t room;
};

/*
 * Calls of a library. A session is the library's connection object. Errors that are no part of HTTP's everyday end
 * the program.
 */
struct tls_library {
	const char *send_calls, *receive_calls; /* names, each with a blank before and behind it */

	void (*set_up)(void);

	/*
	 * Handshake over a connected socket; early is NULL, or what goes along with it. A session may be opened
	 * after another one was closed. With plain, where the library has connections without TLS: one of those.
	 */
	void *(*open)(int fd, struct early *early, bool plain);

	/* Bytes moved, or -POLLIN or -POLLOUT: none now, ask again with the same arguments when poll() says so. */
	ssize_t (*send)(void *session, const uint8_t *data, size_t len);

	/* Likewise; 0 is the end of the connection. */
	ssize_t (*receive)(void *session, uint8_t *data, size_t room);

	/* Like receive, but leaves the bytes where they are. NULL: the library has no such call. */
	ssize_t (*peek)(void *session, uint8_t *data, size_t room);

	/* Sends a part of a file; NULL, or used when the call's name is sendfile. Returns as send does. */
	ssize_t (*send_file)(void *session, int file, size_t offset, size_t len);

	/* What send only collected goes out; 0, or as send. NULL: send collects nothing. */
	ssize_t (*flush)(void *session);

	/* Ends the session; with tell, the peer is told first (close_notify). The socket stays open. */
	void (*close)(void *session, bool tell);

	bool has_plain;
};

/* main() of all these programs. */
int peer_main(const struct tls_library *library, int argc, char **argv);

/* Whether the call that is asked for has this name. */
bool sends_by(const char *name);
bool receives_by(const char *name);

/* Send all of a buffer on a blocking or non-blocking socket, without TLS. */
void socket_send_all(int fd, const void *data, size_t len);

/* Wait for poll events, given as a negative number, as send and receive return them. */
void wait_for(int fd, ssize_t minus_events);

#endif
