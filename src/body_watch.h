/* SPDX-License-Identifier: Apache-2.0 */
/* Who reads a body, or a message within an exchange, as it arrives when not all of it is kept. */
#ifndef PLAINSIGHT_BODY_WATCH_H
#define PLAINSIGHT_BODY_WATCH_H

#include "plainsight.h"

struct body_watch {
	/* A body is longer than what is kept of it, which is in message->body.kept. NULL: it is not read. */
	struct ps_body_scan *(*begin)(void *context, const struct ps_message *message);
	/* The same of a message of a WebSocket or the like; its bytes are decompressed. */
	struct ps_body_scan *(*begin_message)(void *context, const struct ps_stream_message *message);
	/* The next bytes. */
	void (*data)(struct ps_body_scan *scan, const uint8_t *data, size_t len);
	/* Bytes are missing here: nothing more is read. */
	void (*gap)(struct ps_body_scan *scan);
	void (*free)(struct ps_body_scan *scan);
	void *context;
};

#endif
