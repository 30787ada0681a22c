/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of HTTP/2 from the text that tests/fixtures/README.md describes. */
#ifndef PLAINSIGHT_FRAME_TEXT_H
#define PLAINSIGHT_FRAME_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FRAME_TEXT_MAX = 1 << 17 };

/* Part of a header block that the next CONTINUATION of the direction carries. */
struct frame_carry {
	uint8_t data[1024];
	size_t len;
};

/*
 * One line, without the escapes that the caller has resolved: bytes up to len
 * may be anything. Writes the frame to out, which has FRAME_TEXT_MAX bytes, and
 * returns its length; 0 when the line is malformed.
 */
size_t frame_from_text(const char *line, size_t len, struct frame_carry *carry, uint8_t *out);

#endif
