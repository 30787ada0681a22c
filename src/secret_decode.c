/* SPDX-License-Identifier: Apache-2.0 */
#include "secret_decode.h"

#include <string.h>

/* Value of each byte plus one; 0: not of the alphabet. */
const uint8_t secret_base64_alphabet[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,  ['I'] = 9,
    ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18,
    ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27,
    ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36,
    ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45,
    ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54,
    ['2'] = 55, ['3'] = 56, ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63,
    ['-'] = 63, ['/'] = 64, ['_'] = 64,
};

size_t secret_base64(const char *data, size_t len, char *out, size_t cap)
{
	uint32_t bits = 0;
	int count = 0;
	size_t done = 0;

	for (size_t i = 0; i < len && done < cap; i++) {
		uint8_t value = secret_base64_alphabet[(unsigned char)data[i]];

		if (value == 0)
			break;
		bits = bits << 6 | (uint32_t)(value - 1);
		count += 6;
		if (count >= 8) {
			count -= 8;
			out[done++] = (char)(bits >> count);
		}
	}
	return done;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int hex_byte(const char *at)
{
	int high = hex_value(at[0]), low = hex_value(at[1]);

	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static void set_origin(uint32_t *origins, size_t at, size_t value)
{
	if (origins)
		origins[at] = (uint32_t)value;
}

size_t secret_unpercent(const char *data, size_t len, enum secret_plus plus, char *out, uint32_t *origins)
{
	size_t done = 0, at = 0;
	bool is_value = plus == SECRET_PLUS_IS_SPACE;

	while (at < len) {
		int byte = data[at] == '%' && len - at >= 3 ? hex_byte(data + at + 1) : -1;
		bool is_code = byte >= 0;

		is_value |= data[at] == '=' && plus == SECRET_PLUS_BY_PLACE;
		if (byte < 0)
			byte = data[at] == '+' && is_value ? ' ' : data[at];
		set_origin(origins, done, at);
		out[done++] = (char)byte;
		at += is_code ? 3 : 1;
	}
	set_origin(origins, done, len);
	return done;
}

/* A code point of four hexadecimal digits; -1: there are none. */
static int32_t code_unit(const char *data, size_t left)
{
	int high, low;

	if (left < 6 || data[0] != '\\' || data[1] != 'u')
		return -1;
	high = hex_byte(data + 2);
	low = hex_byte(data + 4);
	return high < 0 || low < 0 ? -1 : high * 256 + low;
}

static size_t put_utf8(char *out, uint32_t code)
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

/* One escape: the bytes it stands for, and how long it is. Not an escape: the byte itself. */
static size_t unescape_one(const char *data, size_t left, char *out, size_t *used)
{
	static const char from[] = "bfnrt\"\\/", to[] = "\b\f\n\r\t\"\\/";
	const char *place;
	int32_t unit = code_unit(data, left), low;

	*used = 1;
	out[0] = data[0];
	if (data[0] != '\\' || left < 2)
		return 1;
	if (unit >= 0) {
		*used = 6;
		low = unit >= 0xd800 && unit < 0xdc00 ? code_unit(data + 6, left - 6) : -1;
		if (low < 0xdc00 || low > 0xdfff)
			return put_utf8(out, (uint32_t)unit);
		*used = 12;
		return put_utf8(out, 0x10000 + ((uint32_t)(unit - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
	}
	place = data[1] ? strchr(from, data[1]) : NULL;
	if (!place)
		return 1;
	out[0] = to[place - from];
	*used = 2;
	return 1;
}

size_t secret_unescape(const char *data, size_t len, char *out, uint32_t *origins)
{
	size_t done = 0, at = 0, used;

	while (at < len) {
		size_t count = unescape_one(data + at, len - at, out + done, &used);

		for (size_t i = 0; i < count; i++)
			set_origin(origins, done + i, at);
		done += count;
		at += used;
	}
	set_origin(origins, done, len);
	return done;
}
