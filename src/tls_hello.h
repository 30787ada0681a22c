/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The beginning of a TLS connection on the wire: what ClientHello and
 * ServerHello say in the clear. No knowledge of BPF.
 *
 * Up to 8 KiB of each direction are looked at, and of them no more than one
 * message is kept, until it is whole. A hello that is malformed tells nothing;
 * nor does one of SSLv2, or anything that is not TLS.
 */
#ifndef PLAINSIGHT_TLS_HELLO_H
#define PLAINSIGHT_TLS_HELLO_H

#include <stdbool.h>

#include "plainsight.h"

struct tls_hello;

/* NULL when memory is short. Free with tls_hello_free(). */
struct tls_hello *tls_hello_new(void);
void tls_hello_free(struct tls_hello *hello);

/*
 * The next len bytes of one direction (0 or 1; which of them is the client's is
 * found out), cut anywhere. data is not kept. Bytes after the hello of the
 * direction, or after what cannot be one, are ignored; so is what memory is
 * short for. HelloRetryRequest is not the hello: ServerHello comes after it
 * (RFC 8446 4.1.4).
 */
void tls_hello_data(struct tls_hello *hello, int direction, const uint8_t *data, size_t len);

/*
 * Whether both directions have told what they can: no more data is of use. A
 * direction in which nothing moves any more never comes to that.
 */
bool tls_hello_is_done(const struct tls_hello *hello);

/*
 * What is known so far, or NULL while no hello was read. It changes with
 * tls_hello_data() and lives as long as hello.
 *
 * Its texts are what the peers say, made safe to print: printable ASCII without
 * spaces, "?" for each other byte and, in names of protocols, for a comma. A
 * text that its field has no room for fills the field and ends in "...".
 * alpn_offered is without the values of GREASE (RFC 8701 2). With Encrypted
 * ClientHello server_name is that of the outer hello.
 */
const struct ps_tls_info *tls_hello_info(const struct tls_hello *hello);

#endif
