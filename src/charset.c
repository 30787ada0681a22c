/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "charset.h"

/* Room in the buffer that one character needs in any case. */
enum { CHARACTER_BYTES_MAX = 16 };

/* Names for iconv. Where a charset is often sent under the name of one that it extends, it is the larger one. */
static const char *const charsets[CHARSET_COUNT] = {
    "utf-16le",     "utf-16be",     "iso-8859-1",   "iso-8859-2",   "iso-8859-3",   "iso-8859-4",   "iso-8859-5",
    "iso-8859-6",   "iso-8859-7",   "iso-8859-8",   "iso-8859-9",   "iso-8859-10",  "iso-8859-11",  "iso-8859-13",
    "iso-8859-14",  "iso-8859-15",  "iso-8859-16",  "windows-1250", "windows-1251", "windows-1252", "windows-1253",
    "windows-1254", "windows-1255", "windows-1256", "windows-1257", "windows-1258", "koi8-r",       "koi8-u",
    "cp866",        "cp874",        "macintosh",    "gb18030",      "big5",         "big5-hkscs",   "euc-jp",
    "iso-2022-jp",  "cp932",        "uhc",
};

static const struct {
	const char *alias;
	const char *name;
} aliases[] = {
    {"utf-16", "utf-16le"}, /* without a byte order mark, as the Encoding Standard has it */
    {"latin1", "iso-8859-1"},
    {"iso8859-1", "iso-8859-1"},
    {"iso-8859-8-i", "iso-8859-8"},
    {"latin2", "iso-8859-2"},
    {"latin9", "iso-8859-15"},
    {"cp1250", "windows-1250"},
    {"cp1251", "windows-1251"},
    {"cp1252", "windows-1252"},
    {"x-cp1252", "windows-1252"},
    {"cp1253", "windows-1253"},
    {"cp1254", "windows-1254"},
    {"cp1255", "windows-1255"},
    {"cp1256", "windows-1256"},
    {"cp1257", "windows-1257"},
    {"cp1258", "windows-1258"},
    {"koi8", "koi8-r"},
    {"ibm866", "cp866"},
    {"windows-874", "cp874"},
    {"tis-620", "cp874"},
    {"x-mac-roman", "macintosh"},
    {"gbk", "gb18030"},
    {"gb2312", "gb18030"},
    {"x-gbk", "gb18030"},
    {"shift_jis", "cp932"},
    {"shift-jis", "cp932"},
    {"sjis", "cp932"},
    {"x-sjis", "cp932"},
    {"windows-31j", "cp932"},
    {"euc-kr", "uhc"},
    {"ks_c_5601-1987", "uhc"},
};

static bool is_name(const char *known, const char *name, size_t len)
{
	return strlen(known) == len && strncasecmp(known, name, len) == 0;
}

int charset_by_name(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
		if (is_name(aliases[i].alias, name, len)) {
			name = aliases[i].name;
			len = strlen(name);
			break;
		}
	}
	for (int i = 0; i < CHARSET_COUNT; i++) {
		if (is_name(charsets[i], name, len))
			return i;
	}
	return CHARSET_NONE;
}

const char *charset_name(int charset)
{
	return charsets[charset];
}

/* The converter in its first state, or NULL. */
static iconv_t converter(struct charset_tools *tools, int charset)
{
	if (!tools->is_open[charset]) {
		iconv_t made = iconv_open("utf-8", charsets[charset]);

		if ((intptr_t)made == -1)
			return NULL;
		tools->open[charset] = made;
		tools->is_open[charset] = true;
	}
	iconv(tools->open[charset], NULL, NULL, NULL, NULL);
	return tools->open[charset];
}

/* What is being converted, as iconv() moves on. */
struct conversion {
	char *in; /* iconv() takes it so, and does not write to it */
	size_t left;
	struct coding_buffer *buffer;
	struct charset_result result;
};

/* What iconv() had to say: 0, or an error number. */
static int convert_some(iconv_t to_utf8, struct conversion *c)
{
	char *out;
	size_t room;
	size_t status;

	if (!coding_buffer_grow(c->buffer, c->result.len + CHARACTER_BYTES_MAX))
		return ENOMEM;
	out = (char *)c->buffer->data + c->result.len;
	room = c->buffer->cap - c->result.len;
	/* With no input left it hands out a character that it has held back, as one that combines could follow. */
	status = iconv(to_utf8, c->left > 0 ? &c->in : NULL, c->left > 0 ? &c->left : NULL, &out, &room);
	c->result.len = c->buffer->cap - room;
	return status == (size_t)-1 ? errno : 0;
}

/* Bytes that stand for nothing in this charset. */
static void take_invalid(struct conversion *c, int charset)
{
	static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
	bool is_utf16 = charset == CHARSET_UTF16LE || charset == CHARSET_UTF16BE;
	size_t used = is_utf16 && c->left > 1 ? 2 : 1;
	const char *shown = is_utf16 ? replacement : c->in;
	size_t shown_len = is_utf16 ? strlen(replacement) : 1;

	if (!coding_buffer_grow(c->buffer, c->result.len + CHARACTER_BYTES_MAX)) {
		c->result.is_failure = true;
		return;
	}
	memcpy(c->buffer->data + c->result.len, shown, shown_len);
	c->result.len += shown_len;
	c->result.is_valid = false;
	c->in += used;
	c->left -= used;
}

struct charset_result charset_to_utf8(struct charset_tools *tools, int charset, const char *data, size_t len,
				      struct coding_buffer *buffer)
{
	iconv_t to_utf8 = converter(tools, charset);
	struct conversion c = {
	    .in = (char *)data,
	    .left = len,
	    .buffer = buffer,
	    .result = {.is_valid = true, .is_failure = !to_utf8},
	};

	while (c.left > 0 && !c.result.is_failure) {
		size_t before = c.left + c.result.len;
		int error = convert_some(to_utf8, &c);

		if (error == EINVAL)
			break;
		if (error == EILSEQ)
			take_invalid(&c, charset);
		else if (error != 0 && (error != E2BIG || c.left + c.result.len == before))
			c.result.is_failure = true;
	}
	if (!c.result.is_failure && c.left == 0)
		convert_some(to_utf8, &c);
	c.result.used = len - c.left;
	return c.result;
}

void charset_free(struct charset_tools *tools)
{
	for (int i = 0; i < CHARSET_COUNT; i++) {
		if (tools->is_open[i])
			iconv_close(tools->open[i]);
	}
}
