/* SPDX-License-Identifier: Apache-2.0 */
/* Encodings that text carries within text: base64, percent-encoding, escapes of JSON strings. */
#ifndef PLAINSIGHT_SECRET_DECODE_H
#define PLAINSIGHT_SECRET_DECODE_H

#include "plainsight_secrets.h"

/*
 * Decoded text never has more bytes than the encoded: out needs room for len.
 * origins, when not NULL, gets for each byte the offset at which it begins in
 * data, and behind the last one the offset of the end: room for len + 1. All
 * return how many bytes came out.
 */

/* Standard or URL-safe, up to the first byte that is not of its alphabet; at most cap bytes come out. */
size_t secret_base64(const char *data, size_t len, char *out, size_t cap);

/* What a "+" is. In a value of a form it is a space (WHATWG URL 5.1). */
enum secret_plus {
	SECRET_PLUS_BY_PLACE = 0, /* behind the first "=" a space */
	SECRET_PLUS_IS_SPACE = 1,
	SECRET_PLUS_STAYS = 2
};

/* %XX is undone, and "+"; everything else stays. */
size_t secret_unpercent(const char *data, size_t len, enum secret_plus plus, char *out, uint32_t *origins);

/* Escapes of a JSON string are undone, \u as UTF-8; everything else stays. */
size_t secret_unescape(const char *data, size_t len, char *out, uint32_t *origins);

/* Whether a byte is of the alphabets of base64, without "=". */
extern const uint8_t secret_base64_alphabet[256];

#endif
