/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Is it HTTP/1? Decided from the first bytes of a direction.
 *
 * Pure code: no map, no helper. tests/c/test_infer.c compiles it for the host.
 */
#ifndef PLAINSIGHT_INFER_H
#define PLAINSIGHT_INFER_H

/* BCC's clang decides on loops unless it is told; other compilers do not know the pragmas. */
#ifdef PS_BPF
#define INFER_UNROLLED _Pragma("unroll")
#define INFER_ROLLED   _Pragma("clang loop unroll(disable)")
#else
#define INFER_UNROLLED
#define INFER_ROLLED
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#endif

enum infer_result { INFER_NO, INFER_MAYBE, INFER_YES };

/* The longest registered method, UPDATEREDIRECTREF, has 17 characters (IANA HTTP Method Registry). */
enum { INFER_METHOD_MAX = 24, INFER_BYTES = 32 };

/*
 * RFC 9110 5.6.2: tchar, as two bitmaps: of the characters below 64 and of the
 * others below 128. Without branches, each of which would be a path to verify.
 */
static __always_inline int is_tchar(unsigned char c)
{
	const unsigned long long below_64 = 0x3ff6cfa00000000ULL, from_64 = 0x57ffffffc7fffffeULL;
	unsigned long long map = c < 64 ? below_64 : from_64;

	return c < 128 && ((map >> (c & 63)) & 1);
}

/*
 * How far p agrees with text: all of text is a YES, all of p a MAYBE. fold is
 * 0, or 0x20 to take the upper case of letters for the lower case in text.
 */
static __always_inline enum infer_result infer_prefix(const unsigned char *p, unsigned int len, const char *text,
						      unsigned int text_len, unsigned char fold)
{
	INFER_UNROLLED
	for (unsigned int i = 0; i < text_len; i++) {
		if (i >= len)
			return INFER_MAYBE;
		if ((p[i] | fold) != (unsigned char)text[i])
			return INFER_NO;
	}
	return INFER_YES;
}

/*
 * Does a target begin here? Of the four forms (RFC 9112 3.2) origin-form begins
 * with "/", asterisk-form is "*", absolute-form names a scheme, and
 * authority-form comes with CONNECT only. Text protocols with a verb and an
 * argument ("get key", "USER name") end here.
 */
static __always_inline enum infer_result infer_target(const unsigned char *p, unsigned int len, int is_connect)
{
	if (len == 0)
		return INFER_MAYBE;
	if (p[0] == '/' || p[0] == '*' || is_connect)
		return INFER_YES;
	if (p[0] == 'h' || p[0] == 'H') /* the scheme is case-insensitive */
		return infer_prefix(p + 1, len - 1, "ttp", 3, 0x20);
	return INFER_NO;
}

/*
 * The header that a proxy in TCP mode may put before everything (HAProxy's PROXY
 * protocol, 2.1 and 2.2); what follows it is for user space to see.
 */
static __always_inline enum infer_result infer_proxy_header(const unsigned char *p, unsigned int len)
{
	enum infer_result line = infer_prefix(p, len, "PROXY ", 6, 0);

	return line != INFER_NO ? line : infer_prefix(p, len, "\r\n\r\n\0\r\nQUIT\n", 12, 0);
}

/*
 * p holds INFER_BYTES readable bytes, of which the first len are data.
 * Any token can be a method (RFC 9110 9.1), so it is the shape that decides:
 * token, space, target; or a status line.
 */
static __always_inline enum infer_result infer_http1(const unsigned char *p, unsigned int len)
{
	enum infer_result status = infer_prefix(p, len, "HTTP/1.", 7, 0);

	if (status != INFER_NO)
		return status;
	status = infer_proxy_header(p, len);
	if (status == INFER_YES || (status == INFER_MAYBE && p[0] == '\r'))
		return status;
	INFER_ROLLED
	for (unsigned int i = 0; i < INFER_METHOD_MAX; i++) {
		if (i >= len)
			return INFER_MAYBE;
		if (p[i] == ' ' && i > 0)
			return infer_target(p + i + 1, len - i - 1,
					    i == 7 && infer_prefix(p, 7, "CONNECT", 7, 0) == INFER_YES);
		if (!is_tchar(p[i]))
			return INFER_NO;
	}
	return INFER_NO;
}

#endif
