/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header that a proxy in TCP mode may put before everything else in a
 * direction (HAProxy's PROXY protocol, 2.1 and 2.2): where it ends.
 */
#ifndef PLAINSIGHT_PROXY_HEADER_H
#define PLAINSIGHT_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PROXY_FIXED_MAX = 16, /* bytes that say whether there is one, and how long one of version 2 is */
	PROXY_LINE_MAX = 107  /* longest line of version 1 */
};

/* Zeroed, the first bytes are awaited. */
enum proxy_place {
	PROXY_POSSIBLE = 0,
	PROXY_LINE, /* in a header of version 1 */
	PROXY_REST, /* in one of version 2 */
	PROXY_PAST  /* there was none, or it has ended */
};

struct proxy_header {
	uint16_t left; /* PROXY_LINE, PROXY_REST: bytes to its end, at most */
	uint8_t place; /* enum proxy_place */
};

/*
 * Whether a header begins with the first bytes of a direction: the place is
 * PROXY_POSSIBLE while they do not tell, which is the case of less than
 * PROXY_FIXED_MAX only. Returns how many of them are part of it.
 */
size_t proxy_header_begin(struct proxy_header *proxy, const uint8_t *first, size_t len);

/* The header goes on. Returns how many of the bytes are part of it. */
size_t proxy_header_read(struct proxy_header *proxy, const uint8_t *data, size_t len);

/* Whether bytes that leave it possible can be no beginning of anything else. */
bool proxy_header_is_likely(const uint8_t *first, size_t len);

#endif
