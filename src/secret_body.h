/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets in bodies and messages of which only the beginning is kept: read, and decoded, as they arrive. */
#ifndef PLAINSIGHT_SECRET_BODY_H
#define PLAINSIGHT_SECRET_BODY_H

#include "body_watch.h"
#include "plainsight_secrets.h"

struct secret_body_watch;

/* NULL when memory is short. Outlives all messages that it is given to. */
struct secret_body_watch *secret_body_watch_new(const struct ps_secrets *secrets);
void secret_body_watch_free(struct secret_body_watch *watch);
const struct body_watch *secret_body_watch(const struct secret_body_watch *watch);

/* The body, or message, is over. What was found, valid as long as the message is. */
struct ps_secret_matches secret_body_end(struct ps_body_scan *scan);

/* How many bytes of the body, as it was on the wire, were read. */
uint64_t secret_body_read(const struct ps_body_scan *scan);

/* Whether offsets of matches are those of the body on the wire too. */
bool secret_body_is_plain(const struct ps_body_scan *scan);

#endif
