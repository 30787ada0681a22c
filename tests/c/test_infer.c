/* SPDX-License-Identifier: Apache-2.0 */
/* probes/include/infer.h: is it HTTP, judged by the first bytes? */
#include "../../probes/include/infer.h"
#include "../../src/http1.h"
#include "tap.h"

#include <string.h>

/* As the kernel calls it: INFER_BYTES readable bytes, of which those after len are left from something else. */
static enum infer_result infer(const char *data, size_t len, int rest)
{
	unsigned char bytes[INFER_BYTES];

	memset(bytes, rest, sizeof(bytes));
	if (len > sizeof(bytes))
		len = sizeof(bytes);
	memcpy(bytes, data, len);
	return infer_http1(bytes, (unsigned int)len);
}

static bool all_are(const char *data, size_t len, enum infer_result expected)
{
	static const int rests[] = {0, ' ', '/', 'A', 0xff};

	for (size_t i = 0; i < sizeof(rests) / sizeof(*rests); i++)
		if (infer(data, len, rests[i]) != expected)
			return false;
	return true;
}

/* HTTP/1: yes from `enough` bytes on, maybe before, never no. */
static void expect_http_bytes(const char *what, const char *data, size_t data_len, size_t enough)
{
	char name[128];
	bool right = true;

	for (size_t len = 0; len <= data_len; len++) {
		enum infer_result expected = len < enough ? INFER_MAYBE : INFER_YES;

		if (all_are(data, len, expected))
			continue;
		printf("# \"%s\" cut to %zu bytes: %d, expected %d\n", what, len, infer(data, len, 0), expected);
		right = false;
	}
	snprintf(name, sizeof(name), "HTTP: %s", what);
	tap_ok(right, name);
}

static void expect_http(const char *line, size_t enough)
{
	expect_http_bytes(line, line, strlen(line), enough);
}

/* Not HTTP/1: no from `enough` bytes on, and never yes. */
static void expect_other(const char *name, const char *data, size_t data_len, size_t enough)
{
	bool right = true;

	for (size_t len = 0; len <= data_len; len++) {
		if (all_are(data, len, len < enough ? INFER_MAYBE : INFER_NO))
			continue;
		printf("# %s cut to %zu bytes: %d\n", name, len, infer(data, len, 0));
		right = false;
	}
	tap_ok(right, name);
}

static void test_requests(void)
{
	static const char *const methods[] = {
	    /* IANA HTTP Method Registry */
	    "ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "COPY", "DELETE", "GET", "HEAD", "LABEL", "LINK",
	    "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "OPTIONS",
	    "ORDERPATCH", "PATCH", "POST", "PROPFIND", "PROPPATCH", "PUT", "REBIND", "REPORT", "SEARCH", "TRACE",
	    "UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL",
	    /* and what else a token can be */
	    "x", "M-SEARCH", "get", "!#$%&'*+-.^_`|~09az", "ABCDEFGHIJKLMNOPQRSTUVW", "HTTP"};
	char line[128];

	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
		size_t method = strlen(methods[i]);

		snprintf(line, sizeof(line), "%s /index.html HTTP/1.1", methods[i]);
		expect_http(line, method + 2);
	}
	expect_http("OPTIONS * HTTP/1.1", 9);
	expect_http("GET http://h/ HTTP/1.1", 8);
	expect_http("GET https://h/ HTTP/1.1", 8);
	expect_http("GET HTTP://h/ HTTP/1.1", 8);
	expect_http("UPDATEREDIRECTREF http://h/ HTTP/1.1", 22);
	expect_http("CONNECT example.test:443 HTTP/1.1", 9);
	expect_http("CONNECT [::1]:443 HTTP/1.1", 9);
	expect_http("PRI * HTTP/2.0", 5); /* HTTP/2: left to src/, which can say so */
}

static void test_responses(void)
{
	expect_http("HTTP/1.1 200 OK", 7);
	expect_http("HTTP/1.0 404 Not Found", 7);
}

/* What follows is left to src/, which skips the header. */
static void test_proxy_headers(void)
{
	static const char version_2[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";

	expect_http("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", 6);
	expect_http_bytes("PROXY protocol version 2", version_2, sizeof(version_2) - 1, 12);
}

#define OTHER(name, text, enough) expect_other(name, text, sizeof(text) - 1, enough)

static void test_others(void)
{
	OTHER("TLS client hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 1);
	OTHER("SSH banner", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", 23);
	OTHER("SSH banner without comment", "SSH-2.0-dropbear\r\n", 17);
	OTHER("redis array", "*3\r\n$3\r\nSET\r\n", 3);
	OTHER("redis inline", "PING\r\n", 5);
	OTHER("redis inline with an argument", "GET counter\r\n", 5);
	OTHER("redis answer", "+OK\r\n", 4);
	OTHER("redis bulk answer", "$-1\r\n", 4);
	OTHER("memcached get", "get user:17\r\n", 5);
	OTHER("memcached set", "set key 0 60 5\r\nvalue\r\n", 5);
	OTHER("memcached answer", "VALUE key 0 5\r\n", 7);
	OTHER("memcached binary", "\x80\x00\x00\x03", 1);
	OTHER("SMTP greeting", "220 mail.example.test ESMTP\r\n", 5);
	OTHER("SMTP multi-line answer", "250-mail.example.test\r\n", 22);
	OTHER("SMTP client", "EHLO client.example.test\r\n", 6);
	OTHER("IMAP greeting", "* OK IMAP4rev1\r\n", 3);
	OTHER("POP3 greeting", "+OK ready\r\n", 5);
	OTHER("FTP client", "USER anonymous\r\n", 6);
	OTHER("PostgreSQL startup", "\x00\x00\x00\x54\x00\x03\x00\x00user", 1);
	OTHER("MySQL greeting",
	      "\x4a\x00\x00\x00\x0a"
	      "8.0.1",
	      2);
	OTHER("HTTP/2 SETTINGS", "\x00\x00\x12\x04\x00\x00\x00\x00\x00", 1);
	OTHER("HTTP/2 status line", "HTTP/2.0 200\r\n", 6);
	OTHER("D-Bus", "\0AUTH EXTERNAL 31303030\r\n", 1);
	OTHER("D-Bus authentication", "AUTH EXTERNAL 31303030\r\n", 6);
	OTHER("JSON", "{\"jsonrpc\":\"2.0\"}", 1);
	OTHER("space first", " GET / HTTP/1.1", 1);
	OTHER("two spaces", "GET  / HTTP/1.1", 5);
	OTHER("UTF-8 in the method", "G\xc3\x89T / HTTP/1.1", 2);
	OTHER("token that does not end", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF", 24);
}

/* The two files that say what a token is must agree. */
static void test_tchar(void)
{
	bool same = true;

	for (int c = 1; c < 256; c++) {
		char line[] = "x / HTTP/1.1";

		line[0] = (char)c;
		if (is_tchar((unsigned char)c) != (http1_line_kind(line, strlen(line)) == HTTP1_REQUEST)) {
			printf("# character %d\n", c);
			same = false;
		}
	}
	tap_ok(same && !is_tchar(0), "token characters are those of src/http1.c");
}

/* --- HTTP/2 --- */

static enum infer_result infer_any(const char *data, size_t len, int midstream)
{
	unsigned char bytes[INFER_BYTES] = {0};

	memcpy(bytes, data, len);
	return infer_http(bytes, (unsigned int)len, midstream, len);
}

/* The first len bytes of a call of total ones, in the middle of a connection. */
static enum infer_result infer_part(const char *data, size_t len, size_t total)
{
	unsigned char bytes[INFER_BYTES] = {0};

	memcpy(bytes, data, len);
	return infer_http(bytes, (unsigned int)len, 1, total);
}

/* The first frame of a server; cut, it may be one. */
static void test_settings(void)
{
	static const char settings[] = "\x00\x00\x12\x04\x00\x00\x00\x00\x00";
	bool right = infer_any(settings, 9, 0) == INFER_YES;

	for (size_t len = 0; len < 9; len++)
		right = right && infer_any(settings, len, 0) == INFER_MAYBE;
	tap_ok(right, "SETTINGS, whole and cut");
	tap_ok(infer_any("\x00\x00\x00\x04\x01\x00\x00\x00\x00", 9, 0) == INFER_NO, "an acknowledgement comes later");
	tap_ok(infer_any("\x00\x00\x13\x04\x00\x00\x00\x00\x00", 9, 0) == INFER_NO, "SETTINGS of 19 bytes");
	tap_ok(infer_any("\x00\x00\x04\x08\x00\x00\x00\x00\x00", 9, 0) == INFER_NO, "no other frame comes first");
	tap_ok(infer_any("GET / HTTP/1.1", 14, 1) == INFER_YES, "HTTP/1 is one all the same");
}

#define FRAME(head)     (infer_any(head, 9, 1) == INFER_YES)
#define NOT_FRAME(head) (infer_any(head, 9, 1) == INFER_NO)

/* In the middle of a connection: length, flags and stream as the type demands. */
static void test_frames(void)
{
	tap_ok(FRAME("\x00\x40\x00\x00\x00\x00\x00\x00\x01"), "DATA of 16384 bytes");
	tap_ok(FRAME("\x00\x00\x00\x00\x01\x00\x00\x00\x01"), "DATA, empty, END_STREAM");
	tap_ok(FRAME("\x00\x00\x05\x01\x25\x00\x00\x00\x03"), "HEADERS");
	tap_ok(FRAME("\x00\x00\x05\x02\x00\x00\x00\x00\x03"), "PRIORITY");
	tap_ok(FRAME("\x00\x00\x04\x03\x00\x00\x00\x00\x03"), "RST_STREAM");
	tap_ok(FRAME("\x00\x00\x00\x04\x01\x00\x00\x00\x00"), "SETTINGS, acknowledged");
	tap_ok(FRAME("\x00\x00\x09\x05\x04\x00\x00\x00\x01"), "PUSH_PROMISE");
	tap_ok(FRAME("\x00\x00\x08\x06\x00\x00\x00\x00\x00"), "PING");
	tap_ok(FRAME("\x00\x00\x0b\x07\x00\x00\x00\x00\x00"), "GOAWAY");
	tap_ok(FRAME("\x00\x00\x04\x08\x00\x00\x00\x00\x00"), "WINDOW_UPDATE");
	tap_ok(FRAME("\x00\x00\x10\x09\x04\x00\x00\x00\x01"), "CONTINUATION");
	tap_ok(infer_any("\x00\x00\x08\x06\x00\x00\x00\x00", 8, 1) == INFER_NO, "eight bytes are no frame");
	tap_ok(NOT_FRAME("\x00\x00\x00\x00\x00\x00\x00\x00\x00"), "zeros");
	tap_ok(NOT_FRAME("\x00\x00\x00\x05\x00\x00\x00\x01\x00"), "numbers of 32 bits");
	tap_ok(NOT_FRAME("\x01\x00\x00\x00\x00\x00\x00\x00\x01"), "a payload of 64 KiB");
	tap_ok(NOT_FRAME("\x00\x40\x01\x00\x00\x00\x00\x00\x01"), "one of more than 16384 bytes");
	tap_ok(NOT_FRAME("\x00\x00\x05\x01\x25\x80\x00\x00\x03"), "the reserved bit");
	tap_ok(NOT_FRAME("\x00\x00\x05\x01\x25\x00\x00\x00\x00"), "HEADERS of no stream");
	tap_ok(NOT_FRAME("\x00\x00\x05\x01\x02\x00\x00\x00\x03"), "a flag that is not defined");
	tap_ok(NOT_FRAME("\x00\x00\x09\x06\x00\x00\x00\x00\x00"), "a PING of nine bytes");
	tap_ok(NOT_FRAME("\x00\x00\x05\x0a\x00\x00\x00\x00\x00"), "a type that is not defined");
}

/* A call that is one frame of a WebSocket. */
static void test_websocket(void)
{
	tap_ok(infer_any("\x81\x02hi", 4, 1) == INFER_YES, "WebSocket: text");
	tap_ok(infer_any("\x82\x82\x01\x02\x03\x04hi", 8, 1) == INFER_YES, "WebSocket: masked bytes");
	tap_ok(infer_any("\xc1\x02hi", 4, 1) == INFER_YES, "WebSocket: compressed text");
	tap_ok(infer_any("\x89\x00", 2, 1) == INFER_YES, "WebSocket: an empty ping");
	tap_ok(infer_any("\x8a\x80\x01\x02\x03\x04", 6, 1) == INFER_YES, "WebSocket: a masked pong");
	tap_ok(infer_any("\x88\x02\x03\xe8", 4, 1) == INFER_YES, "WebSocket: a close");
	tap_ok(infer_part("\x81\x7e\x03\xe8xxxx", 8, 1004) == INFER_YES, "WebSocket: text of 1000 bytes");
	tap_ok(infer_part("\x81\x7e\x03\xe8xxxx", 8, 1005) == INFER_NO, "and a byte after it");
	tap_ok(infer_part("\x81\xfe\x03\xe8xxxx", 8, 1008) == INFER_YES, "masked");
	tap_ok(infer_part("\x81\x7e\x00\x02hi", 6, 6) == INFER_NO, "a length in more bytes than it takes");
	tap_ok(infer_part("\x89\x7e\x03\xe8xxxx", 8, 1004) == INFER_NO, "a long ping");
	tap_ok(infer_any("\x01\x02hi", 4, 1) == INFER_NO, "part of a message");
	tap_ok(infer_any("\x80\x02hi", 4, 1) == INFER_NO, "the rest of a message");
	tap_ok(infer_any("\xc9\x02hi", 4, 1) == INFER_NO, "a compressed ping");
	tap_ok(infer_any("\xa1\x02hi", 4, 1) == INFER_NO, "a reserved bit");
	tap_ok(infer_any("\x83\x02hi", 4, 1) == INFER_NO, "an opcode that is not defined");
	tap_ok(infer_any("\x81", 1, 1) == INFER_NO, "one byte");
	tap_ok(infer_any("\x81\x02hi", 4, 0) == INFER_NO, "not at the beginning of a connection");
}

int main(void)
{
	test_requests();
	test_responses();
	test_proxy_headers();
	test_others();
	test_tchar();
	test_settings();
	test_frames();
	test_websocket();
	return tap_end();
}
