/* SPDX-License-Identifier: Apache-2.0 */
/* The codings of a message's body, as its fields say: Content-Encoding (RFC 9110 8.4), Transfer-Encoding (RFC 9112 7).
 */
#ifndef PLAINSIGHT_CODING_LIST_H
#define PLAINSIGHT_CODING_LIST_H

#include "coding.h"
#include "plainsight.h"

struct coding_list {
	enum coding codings[PS_CODINGS_MAX]; /* in the order in which they were applied; the last one is undone first */
	struct ps_slice names[PS_CODINGS_MAX]; /* as they were sent; point into the message */
	uint32_t count;                        /* without chunked and identity */
	bool is_unknown; /* one of them is, there are too many, or the body is no beginning of the coded content */
};

struct coding_list coding_list_read(const struct ps_message *message);

/* How many bytes so many coded ones may decode to: what gives more is taken for a bomb. */
uint64_t coding_total_max(uint64_t coded_bytes);

#endif
