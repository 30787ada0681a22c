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

/*
 * %XX is undone; a "+" behind the first "=", or anywhere with is_value, is a
 * space (WHATWG URL 5.1); everything else stays.
 */
size_t secret_unpercent(const char *data, size_t len, bool is_value, char *out, uint32_t *origins);

/* Escapes of a JSON string are undone, \u as UTF-8; everything else stays. */
size_t secret_unescape(const char *data, size_t len, char *out, uint32_t *origins);

/* Whether a byte is of the alphabets of base64, without "=". */
extern const uint8_t secret_base64_alphabet[256];

#endif
