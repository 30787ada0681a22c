/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes that bodies are made of; lib/pattern.py makes the same ones. */
#ifndef E2E_PATTERN_H
#define E2E_PATTERN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { PATTERN_BLOCK_BYTES = 65521 };

/* Fill out with the first len bytes of the endless test pattern. */
static inline void pattern_fill(uint8_t *out, size_t len)
{
	uint32_t state = 1;
	size_t first = len < PATTERN_BLOCK_BYTES ? len : PATTERN_BLOCK_BYTES;

	for (size_t i = 0; i < first; i++) {
		state = (state * 1103515245u + 12345u) & 0x7fffffffu;
		out[i] = (uint8_t)(state >> 16);
	}
	for (size_t i = first; i < len; i++)
		out[i] = out[i - PATTERN_BLOCK_BYTES];
}

#endif
