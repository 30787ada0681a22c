/* SPDX-License-Identifier: Apache-2.0 */
/* What may be shown of a value: a keyed hash, and a few of its characters. */
#include <nettle/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "plainsight_secrets.h"

enum { MASK_LEN_MIN = 12, MASK_SHOWN_MAX = 8 };

void ps_secret_hash(const uint8_t *key, const char *secret, size_t len, char *hash)
{
	struct hmac_sha256_ctx context;
	uint8_t digest[PS_SECRET_HASH_LEN / 2];

	hmac_sha256_set_key(&context, PS_SECRET_KEY_BYTES, key);
	hmac_sha256_update(&context, len, (const uint8_t *)secret);
	hmac_sha256_digest(&context, sizeof(digest), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		sprintf(hash + 2 * i, "%02x", digest[i]);
}

bool ps_secret_random_key(uint8_t *key)
{
	return getrandom(key, PS_SECRET_KEY_BYTES, 0) == PS_SECRET_KEY_BYTES;
}

static char shown(char c)
{
	return c > ' ' && c < 0x7f ? c : '?';
}

void ps_secret_masked(const char *secret, size_t len, char *masked)
{
	size_t count = len < MASK_LEN_MIN ? 0 : len / 4, at = 0;

	if (count > MASK_SHOWN_MAX)
		count = MASK_SHOWN_MAX;
	for (size_t i = 0; i < (count + 1) / 2; i++)
		masked[at++] = shown(secret[i]);
	memset(masked + at, '*', 3);
	at += 3;
	for (size_t i = len - count / 2; i < len; i++)
		masked[at++] = shown(secret[i]);
	masked[at] = 0;
}
