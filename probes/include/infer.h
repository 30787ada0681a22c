/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Is it HTTP? Decided from the first bytes of a direction, or of a call when the
 * connection was met in its middle.
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

/*
 * How an HTTP/2 server begins: a SETTINGS frame, no acknowledgement, of at most
 * 16 parameters (RFC 9113 3.4, 6.5). A client begins with "PRI * HTTP/2.0", which
 * has the shape of a request.
 */
static __always_inline enum infer_result infer_http2_settings(const unsigned char *p, unsigned int len)
{
	int wrong = (len > 0 && p[0]) | (len > 1 && p[1]) | (len > 2 && (p[2] % 6 || p[2] > 96)) |
		    (len > 3 && p[3] != 4) | (len > 4 && p[4]) | (len > 5 && p[5]) | (len > 6 && p[6]) |
		    (len > 7 && p[7]) | (len > 8 && p[8]);

	if (wrong)
		return INFER_NO;
	return len < 9 ? INFER_MAYBE : INFER_YES;
}

/* The flags that RFC 9113 6 defines, a byte for each type of frame, the lowest type in the lowest byte. */
#define INFER_H2_FLAGS_0_TO_7 0x00010c0100002d09ULL
#define INFER_H2_FLAGS_8_TO_9 0x0400ULL

/*
 * A frame of HTTP/2 (RFC 9113 4.1, 6) of the default size at most, with the
 * length, the flags and the stream that its type demands. Whether frames follow
 * each other is for user space to see.
 */
static __always_inline enum infer_result infer_http2_frame(const unsigned char *p, unsigned int len)
{
	unsigned int length = (unsigned int)p[1] << 8 | p[2], type = p[3], flags = p[4];
	unsigned int stream = (unsigned int)p[5] << 24 | (unsigned int)p[6] << 16 | (unsigned int)p[7] << 8 | p[8];
	unsigned long long defined = type < 8 ? INFER_H2_FLAGS_0_TO_7 : INFER_H2_FLAGS_8_TO_9;
	int is_sound;

	if (len < 9 || p[0] || length > 16384 || type > 9 || stream >> 31)
		return INFER_NO;
	if (flags & ~(unsigned int)(defined >> (type & 7) * 8 & 0xff))
		return INFER_NO;
	if (type == 4) /* SETTINGS */
		is_sound = !stream && length % 6 == 0 && length <= 96 && (!flags || !length);
	else if (type == 6 || type == 7) /* PING, GOAWAY */
		is_sound = !stream && (type == 6 ? length == 8 : length >= 8);
	else if (type == 8) /* WINDOW_UPDATE */
		is_sound = length == 4;
	else if (type == 2 || type == 3) /* PRIORITY, RST_STREAM */
		is_sound = stream && length == (type == 2 ? 5 : 4);
	else /* DATA, which may be empty at its end only, or part of a header block */
		is_sound = stream && (length || (type == 0 && (flags & 1)));
	return is_sound ? INFER_YES : INFER_NO;
}

/*
 * A call of total bytes that is one frame of a WebSocket (RFC 6455 5.2), of a
 * message that is no more than that: of text, of bytes, or a control frame, which
 * is never long nor compressed (RSV1). Whether such calls follow each other in
 * both directions is for user space to see.
 */
static __always_inline enum infer_result infer_websocket(const unsigned char *p, unsigned int len,
							 unsigned long long total)
{
	unsigned int opcode = p[0] & 0x0f, length = p[1] & 0x7f, head = 2 + (p[1] & 0x80 ? 4 : 0);
	int is_data = (p[0] & 0xb0) == 0x80 && (opcode == 1 || opcode == 2);
	int is_control = (p[0] & 0xf0) == 0x80 && opcode >= 8 && opcode <= 10 && length < 126;

	if (len < 2 || (!is_data && !is_control) || length == 127)
		return INFER_NO;
	if (length == 126) {
		length = (unsigned int)p[2] << 8 | p[3];
		head += 2;
		if (length < 126)
			return INFER_NO;
	}
	return len >= 4 || length < 126 ? (total == head + length ? INFER_YES : INFER_NO) : INFER_NO;
}

/* p as in infer_http1(). midstream: what came before is not known. total: bytes that the call moves. */
static __always_inline enum infer_result infer_http(const unsigned char *p, unsigned int len, int midstream,
						    unsigned long long total)
{
	enum infer_result result = infer_http1(p, len);

	if (result != INFER_NO)
		return result;
	if (!midstream)
		return infer_http2_settings(p, len);
	result = infer_http2_frame(p, len);
	return result != INFER_NO ? result : infer_websocket(p, len, total);
}

#endif
