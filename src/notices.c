/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "plainsight.h"
#include "ring.h"

struct ps_notices {
	struct ring ring;
	bool is_given; /* the caller has the record at the ring's position */
};

struct ps_notices *ps_notices_new(int32_t map_fd, uint64_t ring_bytes)
{
	struct ps_notices *notices = calloc(1, sizeof(*notices));

	if (!notices)
		return NULL;
	if (ring_open(&notices->ring, map_fd, ring_bytes) != 0) {
		int saved = errno;

		free(notices);
		errno = saved;
		return NULL;
	}
	return notices;
}

void ps_notices_free(struct ps_notices *notices)
{
	if (!notices)
		return;
	ring_close(&notices->ring);
	free(notices);
}

bool ps_notices_next(struct ps_notices *notices, struct ps_notice *notice)
{
	size_t len;
	const void *record;

	/* Not before: should the caller be killed, the record is still there for another reader. */
	if (notices->is_given)
		ring_advance(&notices->ring);
	notices->is_given = false;
	while ((record = ring_peek(&notices->ring, &len)) != NULL) {
		if (len >= sizeof(*notice)) {
			memcpy(notice, record, sizeof(*notice));
			notices->is_given = true;
			return true;
		}
		ring_advance(&notices->ring);
	}
	return false;
}
