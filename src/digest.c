/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012), with the key of its test vectors. */
#include <string.h>

#include "plainsight.h"

struct state {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t x, int bits)
{
	return (x << bits) | (x >> (64 - bits));
}

static inline void round_once(struct state *s)
{
	s->v0 += s->v1;
	s->v1 = rotate(s->v1, 13) ^ s->v0;
	s->v0 = rotate(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate(s->v1, 17) ^ s->v2;
	s->v2 = rotate(s->v2, 32);
}

static inline void rounds(struct state *s, int count)
{
	for (int i = 0; i < count; i++)
		round_once(s);
}

static inline void compress(struct state *s, uint64_t word)
{
	s->v3 ^= word;
	rounds(s, 2);
	s->v0 ^= word;
}

/* Little endian, as this machine is (x86-64). */
static inline uint64_t word_at(const char *data)
{
	uint64_t word;

	memcpy(&word, data, sizeof(word));
	return word;
}

static uint64_t squeeze(struct state *s)
{
	rounds(s, 4);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

void ps_digest(const char *data, size_t len, uint8_t digest[16])
{
	const uint64_t k0 = 0x0706050403020100, k1 = 0x0f0e0d0c0b0a0908;
	struct state s = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d ^ 0xee, k0 ^ 0x6c7967656e657261,
			  k1 ^ 0x7465646279746573};
	uint64_t last = (uint64_t)(len & 0xff) << 56, half;
	size_t whole = len & ~(size_t)7;

	for (size_t i = 0; i < whole; i += 8)
		compress(&s, word_at(data + i));
	for (size_t i = whole; i < len; i++)
		last |= (uint64_t)(uint8_t)data[i] << (8 * (i - whole));
	compress(&s, last);
	s.v2 ^= 0xee;
	half = squeeze(&s);
	memcpy(digest, &half, 8);
	s.v1 ^= 0xdd;
	half = squeeze(&s);
	memcpy(digest + 8, &half, 8);
}
