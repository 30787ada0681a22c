/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies decoded and converted: whole, cut at every byte, malformed, and made to fill memory. */
#include <stdlib.h>
#include <string.h>

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include "../../src/plainsight.h"
#include "tap.h"

enum { TEXT_BYTES = 3000, KEEP = 65536, COUNT = 1048576, BOMB_BYTES = 64 * 1024 * 1024 };

static struct ps_decoder *decoder;

struct bytes {
	uint8_t *data;
	size_t len;
};

/* ---- making codings ---- */

static struct bytes bytes_new(size_t cap)
{
	return (struct bytes){malloc(cap), cap};
}

static struct bytes copy_of(const void *data, size_t len)
{
	struct bytes copy = bytes_new(len);

	memcpy(copy.data, data, len);
	return copy;
}

/* One stream of zlib, of a kind that windowBits chooses. */
static struct bytes with_zlib(struct bytes plain, int window_bits)
{
	struct bytes coded = bytes_new(plain.len + plain.len / 1000 + 64);
	z_stream stream = {.next_in = plain.data, .avail_in = (uInt)plain.len, .next_out = coded.data};

	stream.avail_out = (uInt)coded.len;
	deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
	deflate(&stream, Z_FINISH);
	coded.len = stream.total_out;
	deflateEnd(&stream);
	return coded;
}

static struct bytes gzip(struct bytes plain)
{
	return with_zlib(plain, 15 + 16);
}

static struct bytes deflate_zlib(struct bytes plain)
{
	return with_zlib(plain, 15);
}

static struct bytes deflate_raw(struct bytes plain)
{
	return with_zlib(plain, -15);
}

static struct bytes brotli(struct bytes plain)
{
	struct bytes coded = bytes_new(plain.len + 1024);

	BrotliEncoderCompress(5, 22, BROTLI_MODE_TEXT, plain.len, plain.data, &coded.len, coded.data);
	return coded;
}

static struct bytes zstd(struct bytes plain)
{
	struct bytes coded = bytes_new(ZSTD_compressBound(plain.len));

	coded.len = ZSTD_compress(coded.data, coded.len, plain.data, plain.len, 3);
	return coded;
}

/* Two gzip members, which are one content (RFC 1952 2.2). */
static struct bytes gzip_twice(struct bytes plain)
{
	size_t half = plain.len / 2;
	struct bytes first = gzip((struct bytes){plain.data, half});
	struct bytes second = gzip((struct bytes){plain.data + half, plain.len - half});
	struct bytes both = bytes_new(first.len + second.len);

	memcpy(both.data, first.data, first.len);
	memcpy(both.data + first.len, second.data, second.len);
	free(first.data);
	free(second.data);
	return both;
}

static struct bytes brotli_then_gzip(struct bytes plain)
{
	struct bytes inner = brotli(plain);
	struct bytes outer = gzip(inner);

	free(inner.data);
	return outer;
}

/* Text that compresses a little, so that codings have structure. */
static struct bytes sample_text(size_t len)
{
	struct bytes text = bytes_new(len);
	uint32_t random = 12345;

	for (size_t i = 0; i < len; i++) {
		random = random * 1103515245 + 12345;
		text.data[i] = (random >> 16) % 5 == 0 ? ' ' : 'a' + (random >> 20) % 16;
	}
	return text;
}

/* ---- messages ---- */

static struct ps_slice slice(const char *text)
{
	return (struct ps_slice){text, strlen(text)};
}

/* A response with up to two header fields, and a copy of the body right before memory that must not be read. */
struct message {
	struct ps_header headers[2];
	struct ps_message pub;
	char *body;
};

static void message_init(struct message *m, const char *name, const char *value, const uint8_t *data, size_t len)
{
	memset(m, 0, sizeof(*m));
	m->headers[0].name = slice(name);
	m->headers[0].value = slice(value);
	m->pub.headers = m->headers;
	m->pub.header_count = 1;
	m->pub.status = 200;
	m->pub.version_major = 1;
	m->pub.version_minor = 1;
	m->body = malloc(len ? len : 1);
	if (len)
		memcpy(m->body, data, len);
	m->pub.body.kept = (struct ps_slice){len ? m->body : NULL, len};
	m->pub.body.size_bytes = len;
}

static void message_add(struct message *m, const char *name, const char *value)
{
	m->headers[1].name = slice(name);
	m->headers[1].value = slice(value);
	m->pub.header_count = 2;
}

static bool is_bytes(const struct ps_slice *slice, const void *data, size_t len)
{
	return slice->len == len && (len == 0 || memcmp(slice->data, data, len) == 0);
}

/* Whether a body with this Content-Encoding gives these bytes and this state. */
static bool gives(const char *encoding, struct bytes coded, enum ps_content_state state, struct bytes expected)
{
	struct message m;
	const struct ps_content *content;
	bool fits;

	message_init(&m, "Content-Encoding", encoding, coded.data, coded.len);
	content = ps_decode(decoder, &m.pub, KEEP, COUNT);
	fits = content->state == state && is_bytes(&content->bytes, expected.data, expected.len) &&
	       (state == PS_CONTENT_PLAIN || ps_is_encoded(&m.pub));
	if (!fits)
		printf("# %s: state %u, %zu bytes\n", encoding, content->state, content->bytes.len);
	free(m.body);
	return fits;
}

/* ---- tests ---- */

static const struct kind {
	const char *name;
	const char *encoding;
	struct bytes (*code)(struct bytes plain);
	bool is_by_block; /* what comes out of a part of one block is nothing */
} kinds[] = {
    {"gzip", "gzip", gzip, false},
    {"gzip, two members", "GZip", gzip_twice, false},
    {"x-gzip", "x-gzip", gzip, false},
    {"deflate in zlib format", "deflate", deflate_zlib, false},
    {"raw deflate", "deflate", deflate_raw, false},
    {"br", "br", brotli, false},
    {"zstd", "zstd", zstd, true},
    {"br, then gzip", "br, gzip", brotli_then_gzip, false},
    {"identity around", "identity,, gzip ,identity", gzip, false},
};

/* The first len bytes of a coded body: a beginning of the text, the wire bytes when nothing can be decoded. */
static bool check_prefix(const struct kind *kind, struct bytes coded, size_t len, struct bytes text, size_t *came)
{
	struct message m;
	const struct ps_content *content;
	bool fits;

	message_init(&m, "Content-Encoding", kind->encoding, coded.data, len);
	m.pub.body.state = PS_BODY_TRUNCATED;
	m.pub.body.size_bytes = coded.len;
	content = ps_decode(decoder, &m.pub, KEEP, COUNT);
	*came = 0;
	if (content->state == PS_CONTENT_NONE) {
		fits = is_bytes(&content->bytes, coded.data, len);
	} else {
		*came = content->bytes.len;
		fits = content->state == PS_CONTENT_TRUNCATED && *came <= text.len &&
		       memcmp(content->bytes.data, text.data, *came) == 0;
	}
	free(m.body);
	return fits;
}

static void test_kind(const struct kind *kind)
{
	struct bytes text = sample_text(TEXT_BYTES);
	struct bytes coded = kind->code(text);
	bool whole = gives(kind->encoding, coded, PS_CONTENT_COMPLETE, text);
	bool prefixes = true, grows = true, is_late = true;
	size_t last = 0, came;
	char name[80];

	snprintf(name, sizeof(name), "%s: whole", kind->name);
	tap_ok(whole, name);
	for (size_t len = 1; len < coded.len && prefixes; len++) {
		prefixes = check_prefix(kind, coded, len, text, &came);
		grows = grows && came >= last;
		is_late = is_late && (kind->is_by_block || len < coded.len * 3 / 4 || came > text.len / 2);
		last = came;
	}
	snprintf(name, sizeof(name), "%s: cut at every byte, what is there comes out", kind->name);
	tap_ok(prefixes && grows && is_late, name);
	free(coded.data);
	free(text.data);
}

/* Every byte of a coded body wrong in turn: bounded, no error of memory, and the decoder works afterwards. */
static void test_damaged(const struct kind *kind)
{
	struct bytes text = sample_text(300);
	struct bytes coded = kind->code(text);
	bool is_bounded = true;
	char name[80];

	for (size_t i = 0; i < coded.len; i++) {
		struct message m;

		message_init(&m, "Content-Encoding", kind->encoding, coded.data, coded.len);
		m.body[i] ^= 0x55;
		is_bounded = is_bounded && ps_decode(decoder, &m.pub, KEEP, COUNT)->bytes.len <= KEEP;
		free(m.body);
	}
	snprintf(name, sizeof(name), "%s: damaged at every byte", kind->name);
	tap_ok(is_bounded && gives(kind->encoding, coded, PS_CONTENT_COMPLETE, text), name);
	free(coded.data);
	free(text.data);
}

static void test_bomb(const struct kind *kind)
{
	struct bytes zeros = {calloc(1, BOMB_BYTES), BOMB_BYTES};
	struct bytes coded = kind->code(zeros);
	struct message m;
	const struct ps_content *content;
	char name[80];

	message_init(&m, "Content-Encoding", kind->encoding, coded.data, coded.len);
	content = ps_decode(decoder, &m.pub, KEEP, COUNT);
	snprintf(name, sizeof(name), "%s: 64 MiB of zeros from %zu bytes stop at the limit", kind->name, coded.len);
	tap_ok(content->state == PS_CONTENT_LIMIT && content->bytes.len == KEEP && content->size_bytes == COUNT + 1,
	       name);
	content = ps_decode(decoder, &m.pub, BOMB_BYTES, BOMB_BYTES);
	if (coded.len * 1000 < BOMB_BYTES) {
		snprintf(name, sizeof(name), "%s: and at the ratio limit", kind->name);
		tap_ok(content->state == PS_CONTENT_LIMIT &&
			   content->bytes.len == (coded.len < 1049 ? 1048576 : coded.len * 1000),
		       name);
	} else {
		snprintf(name, sizeof(name), "%s: whole when that was asked for", kind->name);
		tap_ok(content->state == PS_CONTENT_COMPLETE && is_bytes(&content->bytes, zeros.data, zeros.len), name);
	}
	free(m.body);
	free(coded.data);
	free(zeros.data);
}

static void test_limits(void)
{
	struct bytes text = sample_text(TEXT_BYTES);
	struct bytes coded = gzip(text);
	struct message m;
	const struct ps_content *content;

	message_init(&m, "content-encoding", "gzip", coded.data, coded.len);
	content = ps_decode(decoder, &m.pub, 100, 100);
	tap_ok(content->state == PS_CONTENT_LIMIT && is_bytes(&content->bytes, text.data, 100), "only the beginning");
	content = ps_decode(decoder, &m.pub, 100, TEXT_BYTES);
	tap_ok(content->state == PS_CONTENT_COMPLETE && content->size_bytes == TEXT_BYTES &&
		   is_bytes(&content->bytes, text.data, 100),
	       "the beginning, and the size of the whole");
	content = ps_decode(decoder, &m.pub, TEXT_BYTES, TEXT_BYTES);
	tap_ok(content->state == PS_CONTENT_COMPLETE && is_bytes(&content->bytes, text.data, text.len),
	       "an end right at the limit");
	content = ps_decode(decoder, &m.pub, TEXT_BYTES - 1, TEXT_BYTES - 1);
	tap_ok(content->state == PS_CONTENT_LIMIT && content->bytes.len == TEXT_BYTES - 1, "an end behind it");
	content = ps_decode(decoder, &m.pub, 0, 0);
	tap_ok(content->state == PS_CONTENT_NONE || content->bytes.len == 0, "nothing is asked for");
	free(m.body);
	free(coded.data);
	free(text.data);
}

static void test_not_decoded(void)
{
	struct bytes text = sample_text(400);
	struct bytes coded = gzip(text);
	struct message m;
	const struct ps_content *content;

	tap_ok(gives("compress", coded, PS_CONTENT_NONE, coded), "an unknown coding leaves the bytes");
	tap_ok(gives("br2, gzip", coded, PS_CONTENT_NONE, coded), "an unknown one below a known one too");
	tap_ok(gives("gzip,gzip,gzip,gzip,gzip,gzip", coded, PS_CONTENT_NONE, coded), "too many codings");
	tap_ok(gives("gzip", text, PS_CONTENT_NONE, text), "a body that is not coded at all");
	tap_ok(gives("zstd", text, PS_CONTENT_NONE, text), "a body that is not zstd");
	tap_ok(gives("", coded, PS_CONTENT_PLAIN, coded), "an empty list");
	tap_ok(gives(" , ,", coded, PS_CONTENT_PLAIN, coded), "a list of nothing");
	tap_ok(gives("identity", coded, PS_CONTENT_PLAIN, coded), "identity");
	tap_ok(gives("gzip", (struct bytes){NULL, 0}, PS_CONTENT_PLAIN, (struct bytes){NULL, 0}), "no body");
	message_init(&m, "Content-Encoding", "foo, BAR", coded.data, coded.len);
	content = ps_decode(decoder, &m.pub, KEEP, COUNT);
	tap_ok(content->coding_count == 2 && is_bytes(&content->codings[0], "foo", 3) &&
		   is_bytes(&content->codings[1], "BAR", 3),
	       "codings are named in their order");
	free(m.body);
	free(coded.data);
	free(text.data);
}

static void test_ends(void)
{
	struct bytes text = sample_text(400);
	struct bytes coded = gzip(text);
	struct bytes longer = bytes_new(coded.len + 4);
	struct bytes empty = gzip((struct bytes){text.data, 0});

	memcpy(longer.data, coded.data, coded.len);
	memset(longer.data + coded.len, 0, 4);
	tap_ok(gives("gzip", longer, PS_CONTENT_COMPLETE, text), "zeros behind the end");
	memcpy(longer.data + coded.len, "more", 4);
	tap_ok(gives("gzip", longer, PS_CONTENT_ERROR, text), "something behind the end");
	memcpy(longer.data + coded.len, "\x1f\x8b\x08\x00", 4);
	tap_ok(gives("gzip", longer, PS_CONTENT_TRUNCATED, text), "the beginning of another member");
	tap_ok(gives("gzip", empty, PS_CONTENT_COMPLETE, (struct bytes){NULL, 0}), "gzip of nothing");
	longer.data[coded.len - 5] ^= 1; /* its checksum */
	tap_ok(gives("gzip", longer, PS_CONTENT_ERROR, text), "a wrong checksum");
	free(empty.data);
	free(longer.data);
	free(coded.data);
	free(text.data);
}

static void test_transfer_codings(void)
{
	struct bytes text = sample_text(400);
	struct bytes inner = brotli(text);
	struct bytes coded = gzip(inner);
	struct message m;
	const struct ps_content *content;

	message_init(&m, "Transfer-Encoding", "gzip, chunked", coded.data, coded.len);
	message_add(&m, "Content-Encoding", "br");
	content = ps_decode(decoder, &m.pub, KEEP, COUNT);
	tap_ok(content->state == PS_CONTENT_COMPLETE && is_bytes(&content->bytes, text.data, text.len),
	       "a transfer coding is undone before the content coding, wherever its field stands");
	tap_ok(content->coding_count == 2 && is_bytes(&content->codings[0], "br", 2), "and named after it");
	m.pub.version_major = 2;
	tap_ok(ps_decode(decoder, &m.pub, KEEP, COUNT)->coding_count == 1, "HTTP/2 has no transfer codings");
	free(m.body);
	message_init(&m, "Transfer-Encoding", "chunked", coded.data, coded.len);
	tap_ok(ps_decode(decoder, &m.pub, KEEP, COUNT)->state == PS_CONTENT_PLAIN,
	       "chunked is no coding of the content");
	free(m.body);
	message_init(&m, "Content-Encoding", "br", coded.data, coded.len);
	message_add(&m, "content-encoding", "gzip");
	content = ps_decode(decoder, &m.pub, KEEP, COUNT);
	tap_ok(content->state == PS_CONTENT_COMPLETE && is_bytes(&content->bytes, text.data, text.len),
	       "two fields are one list");
	free(m.body);
	free(coded.data);
	free(inner.data);
	free(text.data);
}

static void test_ranges(void)
{
	struct bytes text = sample_text(400);
	struct bytes coded = gzip(text);
	struct message m;
	const struct ps_content *content;

	message_init(&m, "Content-Encoding", "gzip", coded.data, coded.len / 2);
	m.pub.status = 206;
	message_add(&m, "Content-Range", "bytes 0-99/400");
	content = ps_decode(decoder, &m.pub, KEEP, COUNT);
	tap_ok(content->state == PS_CONTENT_TRUNCATED && content->bytes.len > 0, "the first part of a coded content");
	message_add(&m, "Content-Range", "bytes 20-99/400");
	content = ps_decode(decoder, &m.pub, KEEP, COUNT);
	tap_ok(content->state == PS_CONTENT_NONE && content->bytes.data == m.body, "another part stays as it is");
	m.pub.header_count = 1;
	content = ps_decode(decoder, &m.pub, KEEP, COUNT);
	tap_ok(content->state == PS_CONTENT_NONE, "several parts stay as they are");
	free(m.body);
	free(coded.data);
	free(text.data);
}

static void test_incomplete_bodies(void)
{
	struct bytes text = sample_text(400);
	struct bytes coded = gzip(text);
	struct message m;

	message_init(&m, "Content-Encoding", "gzip", coded.data, coded.len);
	m.pub.body.state = PS_BODY_GAP;
	tap_ok(ps_decode(decoder, &m.pub, KEEP, COUNT)->state == PS_CONTENT_TRUNCATED,
	       "a gap behind the end of a coding: more may have followed");
	free(m.body);
	free(coded.data);
	free(text.data);
}

/* ---- charsets ---- */

struct charset_case {
	const char *name;
	const char *type;
	const char *body;
	size_t len;
	const char *charset; /* NULL: not converted */
	const char *text;
	bool is_invalid;
};

static const struct charset_case charset_cases[] = {
    {"ISO 8859-1", "text/plain; charset=ISO-8859-1", "caf\xe9", 4, "iso-8859-1", "café", false},
    {"in quotes", "text/plain;charset=\"latin1\" ; x=y", "\xe9", 1, "iso-8859-1", "é", false},
    {"behind another parameter", "text/plain; a=\"; charset=utf-8\"; Charset=koi8-r", "\xc1", 1, "koi8-r", "а", false},
    {"windows-1252", "text/html; charset=windows-1252", "\x80 \x93x\x94", 5, "windows-1252", "€ “x”", false},
    {"Shift JIS", "text/html; charset=Shift_JIS", "\x93\x8c\x8b\x9e", 4, "cp932", "東京", false},
    {"GBK", "text/html; charset=gbk", "\xd6\xd0\xce\xc4", 4, "gb18030", "中文", false},
    {"Vietnamese, a character that is held back", "text/html; charset=windows-1258", "a", 1, "windows-1258", "a",
     false},
    {"UTF-16 by its mark", "text/plain", "\xff\xfeh\0i\0", 6, "utf-16le", "hi", false},
    {"UTF-16 by its mark, big endian", "text/plain; charset=utf-8", "\xfe\xff\0h\0i", 6, "utf-16be", "hi", false},
    {"UTF-16 by its name", "text/plain; charset=UTF-16", "h\0i\0", 4, "utf-16le", "hi", false},
    {"half a character at the end", "text/plain; charset=utf-16be", "\0h\0", 3, "utf-16be", "h", false},
    {"half a surrogate pair", "text/plain; charset=utf-16le", "\x00\xd8h\0", 4, "utf-16le", "\xef\xbf\xbdh", true},
    {"bytes that stand for nothing", "text/plain; charset=windows-1252", "a\x81z", 3, "windows-1252", "a\x81z", true},
    {"UTF-8", "text/plain; charset=utf-8", "caf\xc3\xa9", 5, NULL, NULL, false},
    {"US-ASCII", "text/plain; charset=us-ascii", "caf\xc3\xa9", 5, NULL, NULL, false},
    {"no charset", "text/plain", "caf\xe9", 4, NULL, NULL, false},
    {"unknown", "text/plain; charset=../../x//TRANSLIT", "caf\xe9", 4, NULL, NULL, false},
    {"empty", "text/plain; charset=", "caf\xe9", 4, NULL, NULL, false},
    {"of an image", "image/png; charset=iso-8859-1", "\xff\xfe\xe9", 3, NULL, NULL, false},
    {"only a mark", "text/plain", "\xff\xfe", 2, NULL, NULL, false},
};

static void test_charset(const struct charset_case *c)
{
	struct message m;
	const struct ps_content *content;
	char name[80];
	bool fits;

	message_init(&m, "content-type", c->type, (const uint8_t *)c->body, c->len);
	content = ps_decode(decoder, &m.pub, KEEP, COUNT);
	if (c->charset)
		fits = content->charset && strcmp(content->charset, c->charset) == 0 &&
		       is_bytes(&content->text, c->text, strlen(c->text)) &&
		       content->is_text_invalid == (uint32_t)c->is_invalid;
	else
		fits = content->charset == NULL;
	fits = fits && (!c->charset || ps_is_encoded(&m.pub));
	snprintf(name, sizeof(name), "charset: %s", c->name);
	if (!tap_ok(fits && is_bytes(&content->bytes, c->body, c->len), name) && content->charset)
		printf("# %s: %.*s\n", content->charset, (int)content->text.len, content->text.data);
	free(m.body);
}

/* All bytes in all charsets: bounded, and what comes out does not depend on the memory behind the body. */
static void test_all_charsets(void)
{
	static const char *const names[] = {"iso-8859-6", "windows-1255", "windows-1258", "gb18030",
					    "big5",       "big5-hkscs",   "euc-jp",       "iso-2022-jp",
					    "shift_jis",  "euc-kr",       "utf-16le",     "utf-16be",
					    "macintosh",  "koi8-u",       "ibm866",       "windows-874"};
	uint8_t body[1024];
	bool is_bounded = true;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		for (unsigned int seed = 0; seed < 20; seed++) {
			struct message m;
			const struct ps_content *content;
			char type[64];

			srand(seed);
			for (size_t k = 0; k < sizeof(body); k++)
				body[k] = (uint8_t)(seed % 2 ? rand() | 0x80 : rand());
			snprintf(type, sizeof(type), "text/plain; charset=%s", names[i]);
			message_init(&m, "content-type", type, body, sizeof(body) - seed);
			content = ps_decode(decoder, &m.pub, KEEP, COUNT);
			is_bounded = is_bounded && content->charset && content->text.len > 0 &&
				     content->text.len <= 6 * sizeof(body);
			free(m.body);
		}
	}
	tap_ok(is_bounded, "charset: random bytes in every kind of charset");
}

static void test_decoded_charset(void)
{
	struct bytes latin1 = copy_of("caf\xe9 cr\xe8me", 10);
	struct bytes coded = gzip(latin1);
	struct message m;
	const struct ps_content *content;

	message_init(&m, "Content-Encoding", "gzip", coded.data, coded.len);
	message_add(&m, "Content-Type", "text/plain; charset=iso-8859-1");
	content = ps_decode(decoder, &m.pub, KEEP, COUNT);
	tap_ok(content->state == PS_CONTENT_COMPLETE && is_bytes(&content->bytes, latin1.data, latin1.len) &&
		   is_bytes(&content->text, "café crème", 12),
	       "decoded, then converted");
	m.pub.body.kept.len--;
	m.headers[0].value = slice("unheard-of");
	content = ps_decode(decoder, &m.pub, KEEP, COUNT);
	tap_ok(content->charset == NULL, "what could not be decoded is not converted");
	free(m.body);
	free(coded.data);
	free(latin1.data);
}

/* What most bodies are need not be looked at any further. */
static void test_not_encoded(void)
{
	struct message m;

	message_init(&m, "Transfer-Encoding", "Chunked", (const uint8_t *)"body", 4);
	message_add(&m, "Content-Type", "text/html; charset=UTF-8");
	tap_ok(!ps_is_encoded(&m.pub), "chunked text in UTF-8 has nothing to undo");
	message_add(&m, "Content-Type", "application/json");
	tap_ok(!ps_is_encoded(&m.pub), "nor has JSON");
	m.headers[0].value = slice("gzip, chunked");
	tap_ok(ps_is_encoded(&m.pub), "another transfer coding has");
	m.pub.body.kept.len = 0;
	tap_ok(!ps_is_encoded(&m.pub), "nothing to undo where there is no body");
	free(m.body);
}

/* ---- parameters ---- */

static bool has_parameter(const char *value, const char *name, const char *expected)
{
	/* No NUL behind it, so that reading on is an error of memory. */
	char *copy = (char *)copy_of(value, strlen(value)).data;
	struct ps_slice whole = {copy, strlen(value)};
	struct ps_slice found;
	bool is_there = ps_parameter(&whole, name, &found);
	bool fits = expected ? is_there && is_bytes(&found, expected, strlen(expected)) : !is_there;

	free(copy);
	return fits;
}

static void test_parameters(void)
{
	tap_ok(has_parameter("multipart/form-data; boundary=abc", "boundary", "abc"), "parameter: a token");
	tap_ok(has_parameter("form-data; name=\"a;b\\\"c\"; filename=x", "name", "a;b\\\"c"),
	       "parameter: a quoted string");
	tap_ok(has_parameter("form-data; name=\"a;b\\\"c\"; filename=x", "filename", "x"), "parameter: behind one");
	tap_ok(has_parameter("form-data; filename=x", "name", NULL), "parameter: not the end of another name");
	tap_ok(has_parameter("form-data; names=x; name = y; name=z ", "name", "z"), "parameter: no space around =");
	tap_ok(has_parameter("name=x", "name", NULL), "parameter: not in front of a semicolon");
	tap_ok(has_parameter("a; name=\"open", "name", "open"), "parameter: no closing quote");
	tap_ok(has_parameter("a; name=\"open\\", "name", "open\\"), "parameter: nothing behind a backslash");
	tap_ok(has_parameter("a;;; name=", "name", ""), "parameter: empty");
	tap_ok(has_parameter("a; name", "name", NULL), "parameter: no value");
	tap_ok(has_parameter("", "name", NULL), "parameter: an empty value");
}

int main(void)
{
	decoder = ps_decoder_new();
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		test_kind(&kinds[i]);
		test_damaged(&kinds[i]);
	}
	test_bomb(&kinds[0]);
	test_bomb(&kinds[4]);
	test_bomb(&kinds[5]);
	test_bomb(&kinds[6]);
	test_bomb(&kinds[7]);
	test_limits();
	test_not_decoded();
	test_ends();
	test_transfer_codings();
	test_ranges();
	test_incomplete_bodies();
	for (size_t i = 0; i < sizeof(charset_cases) / sizeof(charset_cases[0]); i++)
		test_charset(&charset_cases[i]);
	test_all_charsets();
	test_decoded_charset();
	test_not_encoded();
	test_parameters();
	ps_decoder_free(decoder);
	return tap_end();
}
