/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: how a TLS connection begins.
 *
 * Input: steps of a head and its bytes. The head is a byte, bit 7 the direction
 * and bits 0 to 6 the number of bytes; of 127 the number is in the two bytes
 * after it (big endian).
 *
 * Besides what the sanitizers see it checks that what comes out is safe to
 * print, that it only grows, and that it does not depend on how the bytes are
 * cut into calls.
 */
#include "../../src/tls_hello.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONG_STEP = 127 };

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

struct step {
	int direction;
	const uint8_t *data;
	size_t len;
};

/* The next step of the input; false at its end. */
static bool step_next(const uint8_t **at, const uint8_t *end, struct step *step)
{
	if (*at == end)
		return false;
	step->direction = **at >> 7;
	step->len = **at & 0x7f;
	(*at)++;
	if (step->len == LONG_STEP && end - *at >= 2) {
		step->len = (size_t)(*at)[0] << 8 | (*at)[1];
		*at += 2;
	}
	if (step->len > (size_t)(end - *at))
		step->len = (size_t)(end - *at);
	step->data = *at;
	*at += step->len;
	return true;
}

static void check_text(const char *field, size_t size)
{
	size_t len = strnlen(field, size);

	CHECK(len < size);
	for (size_t i = 0; i < len; i++)
		CHECK(field[i] > ' ' && field[i] <= '~');
}

/* What was told stays. */
static void check_info(const struct ps_tls_info *info, const struct ps_tls_info *before)
{
	check_text(info->server_name, sizeof(info->server_name));
	check_text(info->alpn, sizeof(info->alpn));
	check_text(info->alpn_offered, sizeof(info->alpn_offered));
	CHECK(before->protocol == 0 || info->protocol == before->protocol);
	CHECK(before->cipher == 0 || info->cipher == before->cipher);
	CHECK(before->alpn[0] == '\0' || strcmp(info->alpn, before->alpn) == 0);
	CHECK(before->server_name[0] == '\0' || strcmp(info->server_name, before->server_name) == 0);
	CHECK(before->alpn_offered[0] == '\0' || strcmp(info->alpn_offered, before->alpn_offered) == 0);
}

/* From memory of just that size. */
static void feed(struct tls_hello *hello, int direction, const uint8_t *data, size_t len)
{
	struct ps_tls_info before = {.protocol = 0};
	bool was_done = tls_hello_is_done(hello);
	bool was_known = tls_hello_info(hello) != NULL;
	uint8_t *copy = malloc(len);

	CHECK(copy != NULL || len == 0);
	if (was_known)
		before = *tls_hello_info(hello);
	if (len > 0)
		memcpy(copy, data, len);
	tls_hello_data(hello, direction, copy, len);
	free(copy);
	CHECK(!was_done || tls_hello_is_done(hello));
	if (tls_hello_info(hello) != NULL)
		check_info(tls_hello_info(hello), &before);
	else
		CHECK(!was_known);
}

static void check_same(const struct tls_hello *one, const struct tls_hello *other)
{
	const struct ps_tls_info *info = tls_hello_info(one), *same = tls_hello_info(other);

	CHECK(tls_hello_is_done(one) == tls_hello_is_done(other));
	CHECK((info == NULL) == (same == NULL));
	CHECK(info == NULL || memcmp(info, same, sizeof(*info)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tls_hello *hello = tls_hello_new(), *bytewise = tls_hello_new();
	const uint8_t *at = data;
	struct step step;

	CHECK(hello != NULL && bytewise != NULL);
	while (step_next(&at, data + size, &step)) {
		feed(hello, step.direction, step.data, step.len);
		for (size_t i = 0; i < step.len; i++)
			feed(bytewise, step.direction, step.data + i, 1);
	}
	check_same(hello, bytewise);
	tls_hello_free(hello);
	tls_hello_free(bytewise);
	return 0;
}
