/* SPDX-License-Identifier: Apache-2.0 */
#include "secret_value.h"

#include <ctype.h>
#include <string.h>

#include "secret_decode.h"

static bool is_name(unsigned char c)
{
	return isalnum(c) || (c && strchr("_.-%[]", c));
}

/* Whether "NAME=" stands before, where a pair of a query or a form begins (WHATWG URL 5.1). */
static bool is_form_value(const struct secret_place_in_text *place)
{
	const struct ps_slice *before = &place->before;
	size_t at = before->len;

	if (at == 0 || before->data[at - 1] != '=')
		return false;
	at--;
	while (at > 0 && is_name((unsigned char)before->data[at - 1]))
		at--;
	return at > 0 ? strchr("?&#", before->data[at - 1]) && before->data[at - 1] : place->is_start;
}

/* Whether a coder may have written it: of what must be coded nothing is there. In such text a "+" is a space. */
static bool is_coded(struct ps_slice bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		unsigned char c = (unsigned char)bytes.data[i];

		if (!isalnum(c) && !(c && strchr("*-._~!'()%+", c)))
			return false;
	}
	return bytes.len > 0 && bytes.data[0] != '+'; /* of a phone number it stands for itself */
}

/* Whether it stands in a URL, or behind the "=" of a pair. */
static bool is_in_url(struct ps_slice before)
{
	size_t at = before.len;

	while (at > 0 && (unsigned char)before.data[at - 1] > ' ' && !strchr("\"<>\\`", before.data[at - 1]))
		at--;
	if (at == before.len)
		return false;
	return strchr("=/", before.data[before.len - 1]) || memmem(before.data + at, before.len - at, "://", 3);
}

static enum ps_secret_encoding password_of(struct ps_slice pair, char *room, struct ps_slice *value)
{
	size_t len = secret_base64(pair.data, pair.len, room, pair.len);
	const char *colon = memchr(room, ':', len);

	if (!colon)
		return PS_ENCODING_NONE;
	*value = (struct ps_slice){colon + 1, len - (size_t)(colon + 1 - room)};
	return PS_ENCODING_BASE64;
}

enum ps_secret_encoding secret_value(const struct secret_place_in_text *place, uint32_t check, char *room,
				     struct ps_slice *value)
{
	struct ps_slice before = place->before, bytes = place->bytes;
	enum ps_secret_encoding encoding = PS_ENCODING_NONE;
	enum secret_plus plus;
	size_t len = 0;

	if (check == PS_CHECK_BASIC)
		return password_of(bytes, room, value);
	if (before.len > 0 && before.data[before.len - 1] == '"' && memchr(bytes.data, '\\', bytes.len)) {
		encoding = PS_ENCODING_JSON;
		len = secret_unescape(bytes.data, bytes.len, room, NULL);
	} else if ((memchr(bytes.data, '%', bytes.len) || memchr(bytes.data, '+', bytes.len)) && is_in_url(before)) {
		encoding = PS_ENCODING_PERCENT;
		plus = is_form_value(place) && is_coded(bytes) ? SECRET_PLUS_IS_SPACE : SECRET_PLUS_STAYS;
		len = secret_unpercent(bytes.data, bytes.len, plus, room, NULL);
	}
	if (encoding == PS_ENCODING_NONE || (len == bytes.len && memcmp(room, bytes.data, len) == 0))
		return PS_ENCODING_NONE;
	*value = (struct ps_slice){room, len};
	return encoding;
}
