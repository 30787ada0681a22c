/* SPDX-License-Identifier: Apache-2.0 */
/* src/tls_hello.c: hellos of real libraries (tests/fixtures/tls_hello/) and hellos that no library would send. */
#include "../../src/tls_hello.h"
#include "tap.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENT, SERVER };
enum { BYTES_MAX = 20000, TEXT_MAX = 512, LIMIT = 8192 };

struct bytes {
	uint8_t data[BYTES_MAX];
	size_t len;
};

/* --- what comes out --- */

static const char *or_dash(const char *text)
{
	return *text ? text : "-";
}

static void describe(const struct tls_hello *hello, char text[TEXT_MAX])
{
	const struct ps_tls_info *info = tls_hello_info(hello);

	if (info == NULL)
		snprintf(text, TEXT_MAX, "nothing");
	else
		snprintf(text, TEXT_MAX, "protocol %04x cipher %04x server_name %s alpn %s alpn_offered %s",
			 info->protocol, info->cipher, or_dash(info->server_name), or_dash(info->alpn),
			 or_dash(info->alpn_offered));
}

static bool is_safe(const char *field, size_t size)
{
	size_t len = strnlen(field, size);

	for (size_t i = 0; i < len; i++)
		if (field[i] <= ' ' || field[i] > '~')
			return false;
	return len < size;
}

static bool info_is_safe(const struct tls_hello *hello)
{
	const struct ps_tls_info *info = tls_hello_info(hello);

	return info == NULL ||
	       (is_safe(info->server_name, sizeof(info->server_name)) && is_safe(info->alpn, sizeof(info->alpn)) &&
		is_safe(info->alpn_offered, sizeof(info->alpn_offered)));
}

static struct tls_hello *hello_new(void)
{
	struct tls_hello *hello = tls_hello_new();

	if (hello == NULL)
		abort();
	return hello;
}

/* From memory of just that size, so that the sanitizers see what is read beyond it. */
static void feed(struct tls_hello *hello, int direction, const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (copy == NULL)
		abort();
	memcpy(copy, data, len);
	tls_hello_data(hello, direction, copy, len);
	free(copy);
}

static bool differs(const struct tls_hello *hello, const char *expected)
{
	char text[TEXT_MAX];

	describe(hello, text);
	if (strcmp(text, expected) == 0)
		return false;
	printf("# expected %s\n# but got  %s\n", expected, text);
	return true;
}

/* --- recorded hellos --- */

struct fixture {
	char name[128];
	struct bytes sent[2]; /* by CLIENT and SERVER */
	char expected[TEXT_MAX];
	bool alone; /* the server sends no hello */
};

/* The client's direction and then the server's, each in pieces of so many bytes; sides 1: directions swapped. */
static bool runs_in_pieces(const struct fixture *f, size_t piece, int sides)
{
	struct tls_hello *hello = hello_new();
	bool right;

	for (int side = CLIENT; side <= SERVER; side++)
		for (size_t at = 0; at < f->sent[side].len; at += piece) {
			size_t rest = f->sent[side].len - at;

			feed(hello, side ^ sides, f->sent[side].data + at, rest < piece ? rest : piece);
		}
	right = !differs(hello, f->expected) && tls_hello_is_done(hello);
	tls_hello_free(hello);
	return right;
}

/* Both directions, the server's first, one of them in two pieces. */
static bool runs_cut(const struct fixture *f, int side, size_t at)
{
	const struct bytes *cut = &f->sent[side], *whole = &f->sent[!side];
	struct tls_hello *hello = hello_new();
	bool right;

	feed(hello, side, cut->data, at);
	feed(hello, !side, whole->data, whole->len);
	feed(hello, side, cut->data + at, cut->len - at);
	right = !differs(hello, f->expected) && tls_hello_is_done(hello);
	tls_hello_free(hello);
	return right;
}

static bool runs_cut_everywhere(const struct fixture *f)
{
	for (int side = CLIENT; side <= SERVER; side++)
		for (size_t at = 0; at <= f->sent[side].len; at++)
			if (!runs_cut(f, side, at)) {
				printf("# side %d cut at %zu\n", side, at);
				return false;
			}
	return true;
}

/* What is there of a direction is a prefix: nothing is told before the end of the hello, all after it. */
static bool runs_truncated(const struct fixture *f, int side)
{
	struct tls_hello *hello = hello_new();
	bool known = false, right = true;

	for (size_t at = 0; at < f->sent[side].len; at++) {
		char before[TEXT_MAX], after[TEXT_MAX];

		describe(hello, before);
		feed(hello, side, f->sent[side].data + at, 1);
		describe(hello, after);
		if (strcmp(before, after) != 0)
			right = right && !known;
		known = known || strcmp(before, after) != 0;
	}
	tls_hello_free(hello);
	return right && known == !(side == SERVER && f->alone);
}

/* No byte, whatever it becomes, does harm. */
static bool runs_flipped(const struct fixture *f, int side)
{
	static const uint8_t flips[] = {0x01, 0x02, 0x80, 0xff};
	struct bytes *bytes = malloc(sizeof(*bytes));
	bool right = bytes != NULL;

	for (size_t i = 0; right && i < f->sent[side].len * sizeof(flips); i++) {
		struct tls_hello *hello = hello_new();

		*bytes = f->sent[side];
		bytes->data[i / sizeof(flips)] ^= flips[i % sizeof(flips)];
		feed(hello, side, bytes->data, bytes->len);
		right = info_is_safe(hello);
		tls_hello_free(hello);
	}
	free(bytes);
	return right;
}

static void check_that(bool right, const char *name, const char *what)
{
	char title[256];

	snprintf(title, sizeof(title), "%s: %s", name, what);
	tap_ok(right, title);
}

static void run_fixture(const struct fixture *f)
{
	check_that(runs_in_pieces(f, SIZE_MAX / 2, 0), f->name, "whole");
	check_that(runs_in_pieces(f, SIZE_MAX / 2, 1), f->name, "whole, directions swapped");
	check_that(runs_in_pieces(f, 1, 0) && runs_in_pieces(f, 5, 0) && runs_in_pieces(f, 7, 0), f->name, "in pieces");
	check_that(runs_cut_everywhere(f), f->name, "cut at every byte");
	check_that(runs_truncated(f, CLIENT) && runs_truncated(f, SERVER), f->name, "told at once, when it is whole");
	check_that(runs_flipped(f, CLIENT) && runs_flipped(f, SERVER), f->name, "every byte flipped");
}

static void malformed(const char *path, const char *line)
{
	fprintf(stderr, "%s: not a line of a case: %s\n", path, line);
	exit(2);
}

static void hex_add(struct bytes *bytes, const char *path, const char *line)
{
	const char *at = line + 2;
	unsigned int byte;

	while (sscanf(at, "%2x", &byte) == 1) {
		if (bytes->len == BYTES_MAX)
			malformed(path, line);
		bytes->data[bytes->len++] = (uint8_t)byte;
		at += 2;
	}
	if (*at != '\0')
		malformed(path, line);
}

/* "### name" begins a case, "> hex" and "< hex" are what client and server sent, "= expected" ends it. */
static void fixture_line(struct fixture *f, const char *path, const char *line)
{
	if (strncmp(line, "### ", 4) == 0) {
		memset(f, 0, sizeof(*f));
		snprintf(f->name, sizeof(f->name), "%.120s", line + 4);
	} else if (strncmp(line, "> ", 2) == 0 || strncmp(line, "< ", 2) == 0) {
		hex_add(&f->sent[line[0] == '<'], path, line);
	} else if (strncmp(line, "= ", 2) == 0) {
		snprintf(f->expected, sizeof(f->expected), "%.500s", line + 2);
		f->alone = strncmp(line, "= protocol 0000", 15) == 0;
		run_fixture(f);
	} else if (line[0] != '#' && line[0] != '\0') {
		malformed(path, line);
	}
}

static void test_recorded(void)
{
	static struct fixture fixture;
	glob_t files;

	if (glob(PS_FIXTURES "/tls_hello/*.txt", 0, NULL, &files) != 0) {
		tap_ok(false, "recorded hellos are found");
		return;
	}
	for (size_t i = 0; i < files.gl_pathc; i++) {
		FILE *file = fopen(files.gl_pathv[i], "r");
		char line[512];

		if (file == NULL)
			abort();
		while (fgets(line, sizeof(line), file) != NULL) {
			line[strcspn(line, "\n")] = '\0';
			fixture_line(&fixture, files.gl_pathv[i], line);
		}
		fclose(file);
	}
	globfree(&files);
}

/* --- hellos made here --- */

static void put(struct bytes *to, const void *data, size_t len)
{
	if (to->len + len > BYTES_MAX)
		abort();
	memcpy(to->data + to->len, data, len);
	to->len += len;
}

static void put_number(struct bytes *to, size_t size, size_t number)
{
	for (size_t i = size; i-- > 0;) {
		uint8_t byte = (uint8_t)(number >> (8 * i));

		put(to, &byte, 1);
	}
}

/* Begin a vector with a length of so many bytes; end it with close_vector(). */
static size_t open_vector(struct bytes *to, size_t size)
{
	put_number(to, size, 0);
	return to->len;
}

static void close_vector(struct bytes *to, size_t size, size_t start)
{
	size_t end = to->len;

	to->len = start - size;
	put_number(to, size, end - start);
	to->len = end;
}

static void put_vector(struct bytes *to, size_t size, const void *data, size_t len)
{
	put_number(to, size, len);
	put(to, data, len);
}

/* What varies from one hello made here to another. */
struct shape {
	size_t type;           /* of the message */
	size_t version;        /* legacy_version */
	size_t session_id;     /* length */
	const uint8_t *random; /* or NULL */
	const void *extensions;
	size_t extensions_len;
	size_t trailing; /* bytes after the extensions */
	bool bare;       /* no vector of extensions */
};

static void put_hello(struct bytes *to, struct shape shape)
{
	static const uint8_t zeros[256];
	size_t message;

	put_number(to, 1, shape.type);
	message = open_vector(to, 3);
	put_number(to, 2, shape.version);
	put(to, shape.random ? shape.random : zeros, 32);
	put_vector(to, 1, zeros, shape.session_id);
	if (shape.type == 1) {
		put_vector(to, 2, "\x13\x01\xc0\x2f", 4);
		put_vector(to, 1, zeros, 1);
	} else {
		put_number(to, 2, 0xc02f);
		put_number(to, 1, 0);
	}
	if (!shape.bare)
		put_vector(to, 2, shape.extensions, shape.extensions_len);
	put(to, zeros, shape.trailing);
	close_vector(to, 3, message);
}

/* Messages as records of at most so many bytes. */
static void put_records(struct bytes *to, const struct bytes *messages, size_t record_bytes)
{
	for (size_t at = 0; at < messages->len; at += record_bytes) {
		size_t rest = messages->len - at;

		put(to, "\x16\x03\x01", 3);
		put_vector(to, 2, messages->data + at, rest < record_bytes ? rest : record_bytes);
	}
}

/* One direction alone, whole and byte by byte. */
static void expect_bytes(const char *name, const struct bytes *bytes, const char *expected)
{
	struct tls_hello *whole = hello_new(), *bytewise = hello_new();

	feed(whole, 0, bytes->data, bytes->len);
	for (size_t i = 0; i < bytes->len; i++)
		feed(bytewise, 1, bytes->data + i, 1);
	tap_ok(!differs(whole, expected) && !differs(bytewise, expected) && info_is_safe(whole), name);
	tls_hello_free(whole);
	tls_hello_free(bytewise);
}

static void expect_messages(const char *name, const struct bytes *messages, size_t record_bytes, const char *expected)
{
	static struct bytes records;

	records.len = 0;
	put_records(&records, messages, record_bytes);
	expect_bytes(name, &records, expected);
}

static void expect_hello(const char *name, struct shape shape, const char *expected)
{
	static struct bytes message;

	message.len = 0;
	put_hello(&message, shape);
	expect_messages(name, &message, LIMIT, expected);
}

static struct shape client_shape(const struct bytes *extensions)
{
	return (struct shape){
	    .type = 1, .version = 0x0303, .extensions = extensions->data, .extensions_len = extensions->len};
}

static struct shape server_shape(const void *extensions, size_t len)
{
	return (struct shape){.type = 2, .version = 0x0303, .extensions = extensions, .extensions_len = len};
}

#define EMPTY_CLIENT   "protocol 0000 cipher 0000 server_name - alpn - alpn_offered -"
#define EMPTY_SERVER   "protocol 0303 cipher c02f server_name - alpn - alpn_offered -"
#define TLS_1_3_SERVER "protocol 0304 cipher c02f server_name - alpn - alpn_offered -"
#define SHAPE(text)    server_shape(text, sizeof(text) - 1)

static void put_server_name(struct bytes *to, const void *name, size_t len)
{
	size_t extension, list;

	put_number(to, 2, 0);
	extension = open_vector(to, 2);
	list = open_vector(to, 2);
	put_number(to, 1, 0);
	put_vector(to, 2, name, len);
	close_vector(to, 2, list);
	close_vector(to, 2, extension);
}

static void expect_server_name(const char *name, const void *server_name, size_t len, const char *expected)
{
	static struct bytes extensions;
	char text[TEXT_MAX];

	extensions.len = 0;
	put_server_name(&extensions, server_name, len);
	snprintf(text, sizeof(text), "protocol 0000 cipher 0000 server_name %s alpn - alpn_offered -", expected);
	expect_hello(name, client_shape(&extensions), text);
}

static void test_server_name(void)
{
	char name[300], expected[256];

	memset(name, 'n', sizeof(name));
	memset(expected, 'n', sizeof(expected));
	expected[255] = '\0';
	expect_server_name("server_name that fills its field", name, 255, expected);
	memcpy(expected + 252, "...", 4);
	expect_server_name("server_name that is a byte too long", name, 256, expected);
	expect_server_name("server_name that is far too long", name, 300, expected);
	expect_server_name("server_name with bytes that are not shown", "a\0b\nc d\x1b[\x7f\xc3\xbc,~!", 15,
			   "a?b?c?d?[???,~!");
}

/* The extension with a list of names, each after its length. */
static void put_alpn(struct bytes *to, const void *names, size_t len)
{
	size_t extension;

	put_number(to, 2, 16);
	extension = open_vector(to, 2);
	put_vector(to, 2, names, len);
	close_vector(to, 2, extension);
}

static void expect_offered(const char *name, const void *names, size_t len, const char *expected)
{
	static struct bytes extensions;
	char text[TEXT_MAX];

	extensions.len = 0;
	put_alpn(&extensions, names, len);
	snprintf(text, sizeof(text), "protocol 0000 cipher 0000 server_name - alpn - alpn_offered %s", expected);
	expect_hello(name, client_shape(&extensions), text);
}

#define OFFERED(name, names, expected) expect_offered(name, names, sizeof(names) - 1, expected)

static void test_alpn_offered(void)
{
	char names[300], expected[96];

	OFFERED("GREASE is left out", "\2\x1a\x1a\2h2\2\xfa\xfa\10http/1.1\2jj", "h2,http/1.1");
	OFFERED("nothing but GREASE", "\2\x0a\x0a", "-");
	OFFERED("what only resembles GREASE", "\2\x1a\x2a\3\x1a\x1a\x1a\1\x1a\2hh", "?*,???,?,hh");
	OFFERED("protocols with bytes that are not shown", "\3h,2\2\0\n\3a b", "h?2,??,a?b");
	for (size_t i = 0; i < sizeof(names); i += 4)
		memcpy(names + i, "\3abc", 4);
	for (size_t i = 0; i < sizeof(expected); i += 4)
		memcpy(expected + i, "abc,", 4);
	expected[95] = '\0';
	expect_offered("protocols that fill their field", names, 96, expected);
	memcpy(expected + 92, "...", 4);
	expect_offered("protocols of which one is too many", names, 100, expected);
	expect_offered("far too many protocols", names, 300, expected);
}

#define LONG_ALPN "0123456789abcdef0123456789abcde"

static void test_server_hello(void)
{
	expect_hello("ServerHello without extensions", (struct shape){.type = 2, .version = 0x0303, .bare = true},
		     EMPTY_SERVER);
	expect_hello("ServerHello with no extension", SHAPE(""), EMPTY_SERVER);
	expect_hello("ServerHello with supported_versions", SHAPE("\0\x2b\0\2\x03\x04"), TLS_1_3_SERVER);
	expect_hello("ServerHello with ALPN", SHAPE("\0\x10\0\5\0\3\2h2"),
		     "protocol 0303 cipher c02f server_name - alpn h2 alpn_offered -");
	expect_hello("ServerHello with ALPN that fills its field", SHAPE("\0\x10\0\x22\0\x20\x1f" LONG_ALPN),
		     "protocol 0303 cipher c02f server_name - alpn " LONG_ALPN " alpn_offered -");
	expect_hello("ServerHello with ALPN that is too long", SHAPE("\0\x10\0\x23\0\x21\x20" LONG_ALPN "x"),
		     "protocol 0303 cipher c02f server_name - alpn 0123456789abcdef0123456789ab... alpn_offered -");
	expect_hello("ALPN means nothing in ServerHello of TLS 1.3", SHAPE("\0\x10\0\5\0\3\2h2\0\x2b\0\2\x03\x04"),
		     TLS_1_3_SERVER);
}

static void test_malformed_server_hello(void)
{
	struct shape shape = {.type = 2, .version = 0x0303, .bare = true};

	expect_hello("supported_versions too short", SHAPE("\0\x2b\0\1\x03"), "nothing");
	expect_hello("supported_versions too long", SHAPE("\0\x2b\0\3\x03\x04\x04"), "nothing");
	expect_hello("supported_versions twice", SHAPE("\0\x2b\0\2\x03\x04\0\x2b\0\2\x03\x04"), "nothing");
	expect_hello("an extension that ends after its type", SHAPE("\0\x2b"), "nothing");
	expect_hello("an extension longer than all of them", SHAPE("\0\x2b\0\2\x03"), "nothing");
	expect_hello("ALPN without a list", SHAPE("\0\x10\0\0"), "nothing");
	expect_hello("ALPN with an empty list", SHAPE("\0\x10\0\2\0\0"), "nothing");
	expect_hello("ALPN with an empty name", SHAPE("\0\x10\0\3\0\1\0"), "nothing");
	expect_hello("ALPN with two names", SHAPE("\0\x10\0\7\0\5\1a\2h2"), "nothing");
	expect_hello("ALPN with bytes after its list", SHAPE("\0\x10\0\6\0\3\2h2x"), "nothing");
	expect_hello("ALPN with a name longer than its list", SHAPE("\0\x10\0\5\0\3\3h2"), "nothing");
	shape.trailing = 1;
	expect_hello("a byte instead of extensions", shape, "nothing");
	shape = SHAPE("");
	shape.trailing = 1;
	expect_hello("a byte after the extensions", shape, "nothing");
	shape = SHAPE("");
	shape.session_id = 32;
	expect_hello("a session id of 32 bytes", shape, EMPTY_SERVER);
	shape.session_id = 33;
	expect_hello("a session id of 33 bytes", shape, "nothing");
	shape = SHAPE("");
	shape.version = 0x0203;
	expect_hello("legacy_version of something else", shape, "nothing");
}

static void expect_client_extensions(const char *name, const void *data, size_t len, const char *expected)
{
	struct bytes *extensions = calloc(1, sizeof(*extensions));

	if (extensions == NULL)
		abort();
	put(extensions, data, len);
	expect_hello(name, client_shape(extensions), expected);
	free(extensions);
}

#define EXTENSIONS(name, text, expected) expect_client_extensions(name, text, sizeof(text) - 1, expected)

static void test_malformed_client_hello(void)
{
	expect_hello("ClientHello without extensions", (struct shape){.type = 1, .version = 0x0301, .bare = true},
		     EMPTY_CLIENT);
	EXTENSIONS("ClientHello with no extension", "", EMPTY_CLIENT);
	EXTENSIONS("a name of another type is passed over", "\0\0\0\x0a\0\x08\1\0\1x\0\0\1h",
		   "protocol 0000 cipher 0000 server_name h alpn - alpn_offered -");
	EXTENSIONS("the first of two host names counts", "\0\0\0\x0a\0\x08\0\0\1a\0\0\1b",
		   "protocol 0000 cipher 0000 server_name a alpn - alpn_offered -");
	EXTENSIONS("server_name without a list", "\0\0\0\0", "nothing");
	EXTENSIONS("server_name with an empty name", "\0\0\0\5\0\3\0\0\0", "nothing");
	EXTENSIONS("server_name longer than its list", "\0\0\0\6\0\4\0\0\2h", "nothing");
	EXTENSIONS("server_name list longer than its extension", "\0\0\0\6\0\5\0\0\1h", "nothing");
	EXTENSIONS("server_name with bytes after its list", "\0\0\0\7\0\4\0\0\1h\0", "nothing");
	EXTENSIONS("server_name twice", "\0\0\0\6\0\4\0\0\1h\0\0\0\6\0\4\0\0\1h", "nothing");
	EXTENSIONS("a name, and then a malformed extension", "\0\0\0\6\0\4\0\0\1h\0\1\0\2x", "nothing");
}

/* --- messages in records --- */

static const uint8_t retry_random[] = "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91"
				      "\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c";

static void test_splitting(void)
{
	static struct bytes messages, padded, retry;
	static const uint8_t padding[7000] = {0, 21, (sizeof(padding) - 4) >> 8, (sizeof(padding) - 4) & 0xff};
	struct shape request = SHAPE("\0\x2b\0\2\x03\x04");

	put_hello(&messages, SHAPE("\0\x2b\0\2\x03\x04"));
	put(&messages, "\x0b\0\0\x10 and so on", 14);
	for (size_t record_bytes = 1; record_bytes <= 7; record_bytes += 2) {
		char name[64];

		snprintf(name, sizeof(name), "records of %zu bytes", record_bytes);
		expect_messages(name, &messages, record_bytes, TLS_1_3_SERVER);
	}
	expect_messages("a record with another message after the hello", &messages, LIMIT, TLS_1_3_SERVER);
	request.random = retry_random;
	put_hello(&retry, request);
	expect_messages("HelloRetryRequest alone", &retry, LIMIT, "nothing");
	put(&retry, messages.data, messages.len);
	expect_messages("HelloRetryRequest and ServerHello in one record", &retry, LIMIT, TLS_1_3_SERVER);
	expect_messages("HelloRetryRequest and ServerHello in small records", &retry, 3, TLS_1_3_SERVER);
	put_hello(&padded, server_shape(padding, sizeof(padding)));
	expect_messages("a hello of 7 KiB", &padded, 1000, EMPTY_SERVER);
	expect_messages("the same in so many records that it is over the limit", &padded, 5, "nothing");
}

/* Both directions are given up at once. */
static bool ends(const void *data, size_t len)
{
	struct tls_hello *hello = hello_new();
	bool done;

	feed(hello, 0, data, len);
	feed(hello, 1, data, len);
	done = tls_hello_is_done(hello);
	tls_hello_free(hello);
	return done;
}

/* What comes before a ServerHello: it is passed over, or is the end. */
static void expect_records(const char *name, const void *before, size_t len, const char *expected)
{
	static struct bytes message, records;

	message.len = records.len = 0;
	put_hello(&message, SHAPE(""));
	put(&records, before, len);
	put_records(&records, &message, LIMIT);
	expect_bytes(name, &records, expected);
	check_that(ends(before, len) == (strcmp(expected, "nothing") == 0), name, "given up when it must be");
}

#define BEFORE(name, text, expected) expect_records(name, text, sizeof(text) - 1, expected)

static void test_records(void)
{
	BEFORE("nothing before the hello", "", EMPTY_SERVER);
	BEFORE("a warning before the hello", "\x15\3\3\0\2\1\x70", EMPTY_SERVER);
	BEFORE("a fatal alert before the hello", "\x15\3\3\0\2\2\x28", "nothing");
	BEFORE("an alert that is too long", "\x15\3\3\0\3\1\x70\0", "nothing");
	BEFORE("change_cipher_spec before the hello", "\x14\3\3\0\1\1", EMPTY_SERVER);
	BEFORE("change_cipher_spec that is too long", "\x14\3\3\0\2\1\1", "nothing");
	BEFORE("a record without content", "\x16\3\3\0\0", "nothing");
	BEFORE("a record of over 16 KiB", "\x16\3\3\x40\1", "nothing");
	BEFORE("application data", "\x17\3\3\0\1x", "nothing");
	BEFORE("a record of another version", "\x15\2\3\0\2\1\x70", "nothing");
	BEFORE("another message first", "\x16\3\3\0\4\x0b\0\0\0", "nothing");
	BEFORE("a warning amid a message", "\x16\3\3\0\1\2\x15\3\3\0\2\1\x70", "nothing");
	BEFORE("a hello without content", "\x16\3\3\0\4\2\0\0\0", "nothing");
	BEFORE("a hello of 16 MiB", "\x16\3\3\0\4\2\xff\xff\xff", "nothing");
	BEFORE("a hello of SSLv2", "\x80\x2e\1\3\1\0\x15\0\0\0\x10", "nothing");
	BEFORE("clear text", "GET / HTTP/1.1\r\n\r\n", "nothing");
}

static void test_limit(void)
{
	static const uint8_t warning[] = {21, 3, 3, 0, 2, 1, 112};
	static struct bytes records;

	while (records.len < LIMIT)
		put(&records, warning, sizeof(warning));
	expect_records("more than 8 KiB before the hello", records.data, records.len, "nothing");
}

/* --- directions --- */

static void test_directions(void)
{
	static struct bytes name, message, records[2];
	struct tls_hello *hello = hello_new();

	put_server_name(&name, "first", 5);
	put_hello(&message, client_shape(&name));
	put_records(&records[0], &message, LIMIT);
	name.len = message.len = 0;
	put_server_name(&name, "second", 6);
	put_hello(&message, client_shape(&name));
	put_records(&records[1], &message, LIMIT);

	tap_ok(tls_hello_info(hello) == NULL && !tls_hello_is_done(hello), "nothing is known at the start");
	tls_hello_data(hello, 0, NULL, 0);
	tap_ok(tls_hello_info(hello) == NULL && !tls_hello_is_done(hello), "no bytes change nothing");
	feed(hello, 0, records[0].data, records[0].len);
	tap_ok(tls_hello_info(hello) != NULL && !tls_hello_is_done(hello), "one direction is not all");
	tls_hello_free(hello);
	hello = hello_new();
	feed(hello, 1, records[0].data, records[0].len);
	tap_ok(tls_hello_info(hello) != NULL && !tls_hello_is_done(hello), "nor is the other");
	feed(hello, 1, records[1].data, records[1].len);
	feed(hello, 0, records[1].data, records[1].len);
	tap_ok(!differs(hello, "protocol 0000 cipher 0000 server_name first alpn - alpn_offered -"),
	       "a second ClientHello is not listened to");
	tap_ok(tls_hello_is_done(hello), "and its direction is given up");
	tls_hello_free(hello);
	tls_hello_free(NULL);
}

int main(void)
{
	test_recorded();
	test_server_name();
	test_alpn_offered();
	test_server_hello();
	test_malformed_server_hello();
	test_malformed_client_hello();
	test_splitting();
	test_records();
	test_limit();
	test_directions();
	return tap_end();
}
