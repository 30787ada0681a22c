/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 over NSS: every NSPR call that moves application data, on TLS
 * descriptors and (-x) on plain ones. See tls_peer.c for the command line.
 */
#include <cert.h>
#include <err.h>
#include <keyhi.h>
#include <nss/nss.h>
#include <pk11pub.h>
#include <poll.h>
#include <prerror.h>
#include <private/pprio.h>
#include <secerr.h>
#include <ssl.h>
#include <sslerr.h>
#include <sslproto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tls_peer.h"

enum { FILE_BYTES_MAX = 1 << 16 };

static CERTCertificate *certificate;
static SECKEYPrivateKey *key;

static _Noreturn void fail(const char *what)
{
	errx(1, "%s: %s", what, PR_ErrorToName(PR_GetError()));
}

static SECItem read_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	SECItem item = {.type = siBuffer, .data = malloc(FILE_BYTES_MAX)};

	if (!file || !item.data)
		err(1, "%s", path);
	item.len = (unsigned)fread(item.data, 1, FILE_BYTES_MAX, file);
	fclose(file);
	return item;
}

/* No database: both live in the memory of the internal token. */
static void take_certificate(void)
{
	SECItem certificate_der = read_file(opt.certificate_der), key_der = read_file(opt.key_der);
	SECItem nickname = {.type = siBuffer, .data = (unsigned char *)"e2e", .len = 3};
	PK11SlotInfo *slot = PK11_GetInternalSlot();

	certificate = CERT_NewTempCertificate(CERT_GetDefaultCertDB(), &certificate_der, NULL, PR_FALSE, PR_TRUE);
	if (!certificate)
		fail("certificate");
	SECKEYPublicKey *public = CERT_ExtractPublicKey(certificate);

	if (PK11_ImportDERPrivateKeyInfoAndReturnKey(slot, &key_der, &nickname, &public->u.ec.publicValue, PR_FALSE,
						     PR_TRUE, KU_ALL, &key, NULL) != SECSuccess)
		fail("key");
	SECKEY_DestroyPublicKey(public);
	PK11_FreeSlot(slot);
	free(certificate_der.data);
	free(key_der.data);
}

static void set_up(void)
{
	SSLVersionRange range = {SSL_LIBRARY_VERSION_TLS_1_2, SSL_LIBRARY_VERSION_TLS_1_3};

	if (NSS_NoDB_Init(NULL) != SECSuccess || NSS_SetDomesticPolicy() != SECSuccess)
		fail("NSS_NoDB_Init");
	if (opt.version && !strcmp(opt.version, "1.2"))
		range.max = SSL_LIBRARY_VERSION_TLS_1_2;
	if (SSL_VersionRangeSetDefault(ssl_variant_stream, &range) != SECSuccess)
		fail("protocol versions");
	if (opt.server) {
		SSL_ConfigServerSessionIDCache(0, 0, 0, NULL);
		take_certificate();
	}
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

/* What the result of a call means to tls_peer.c; events: what it waits for when it would block. */
static ssize_t moved(PRInt32 result, short events)
{
	if (result >= 0)
		return result;
	switch (PR_GetError()) {
	case PR_WOULD_BLOCK_ERROR:
		return -events;
	case PR_CONNECT_RESET_ERROR:
	case PR_END_OF_FILE_ERROR:
		return 0;
	default:
		fail(opt.send);
	}
}

static PRInt32 send_vectors(PRFileDesc *fd, const uint8_t *data, size_t len)
{
	char *at = (char *)(uintptr_t)data; /* PRIOVec has no const */
	int third = (int)(len / 3);
	PRIOVec iov[] = {{at, third}, {at + third, 0}, {at + third, (int)len - third}};

	return PR_Writev(fd, iov, 3, PR_INTERVAL_NO_TIMEOUT);
}

static PRInt32 send_once(PRFileDesc *fd, const uint8_t *data, size_t len)
{
	if (sends_by("writev"))
		return send_vectors(fd, data, len);
	if (sends_by("send"))
		return PR_Send(fd, data, (PRInt32)len, 0, PR_INTERVAL_NO_TIMEOUT);
	return PR_Write(fd, data, (PRInt32)len);
}

static ssize_t tls_send(void *session, const uint8_t *data, size_t len)
{
	ssize_t n = moved(send_once(session, data, len), POLLOUT);

	if (n == 0 && len > 0)
		errx(1, "connection ended while sending");
	return n;
}

static ssize_t tls_receive(void *session, uint8_t *data, size_t room)
{
	if (receives_by("recv"))
		return moved(PR_Recv(session, data, (PRInt32)room, 0, PR_INTERVAL_NO_TIMEOUT), POLLIN);
	return moved(PR_Read(session, data, (PRInt32)room), POLLIN);
}

static ssize_t tls_peek(void *session, uint8_t *data, size_t room)
{
	return moved(PR_Recv(session, data, (PRInt32)room, PR_MSG_PEEK, PR_INTERVAL_NO_TIMEOUT), POLLIN);
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

static SECStatus accept_any(void *arg, PRFileDesc *fd, PRBool check_signature, PRBool is_server)
{
	(void)arg, (void)fd, (void)check_signature, (void)is_server;
	return SECSuccess;
}

static void set_blocking(PRFileDesc *fd, bool blocking)
{
	PRSocketOptionData option = {.option = PR_SockOpt_Nonblocking, .value.non_blocking = !blocking};

	if (PR_SetSocketOption(fd, &option) != PR_SUCCESS)
		fail("non-blocking");
}

static PRFileDesc *with_tls(PRFileDesc *plain)
{
	PRFileDesc *fd = SSL_ImportFD(NULL, plain);

	if (!fd || SSL_OptionSet(fd, SSL_SECURITY, PR_TRUE) != SECSuccess)
		fail("SSL_ImportFD");
	SSL_OptionSet(fd, opt.server ? SSL_HANDSHAKE_AS_SERVER : SSL_HANDSHAKE_AS_CLIENT, PR_TRUE);
	SSL_AuthCertificateHook(fd, accept_any, NULL);
	SSL_SetURL(fd, "localhost");
	if (opt.server && SSL_ConfigServerCert(fd, certificate, key, NULL, 0) != SECSuccess)
		fail("SSL_ConfigServerCert");
	if (SSL_ResetHandshake(fd, opt.server) != SECSuccess || SSL_ForceHandshake(fd) != SECSuccess)
		fail("handshake");
	return fd;
}

static void *tls_open(int socket, struct early *early, bool plain)
{
	PRFileDesc *fd = PR_ImportTCPSocket(dup(socket)); /* which PR_Close() closes */

	if (!fd || early)
		errx(1, "no such session");
	set_blocking(fd, true);
	if (!plain)
		fd = with_tls(fd);
	set_blocking(fd, !opt.nonblocking);
	return fd;
}

static void tls_close(void *session, bool tell)
{
	if (tell)
		PR_Shutdown(session, PR_SHUTDOWN_SEND);
	PR_Close(session);
}

int main(int argc, char **argv)
{
	static const struct tls_library nss = {
	    .send_calls = " write send writev ",
	    .receive_calls = " read recv ",
	    .set_up = set_up,
	    .open = tls_open,
	    .send = tls_send,
	    .receive = tls_receive,
	    .peek = tls_peek,
	    .close = tls_close,
	    .has_plain = true,
	};

	return peer_main(&nss, argc, argv);
}
