/* SPDX-License-Identifier: Apache-2.0 */
#include "secret_place.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { JSON_DEPTH_MAX = 64, PART_HEAD_MAX = 2048, MARKUP_BACK_MAX = 4096 };

static void append(struct secret_place *place, const char *data, size_t len)
{
	size_t room = SECRET_NAME_MAX - place->len;

	if (len > room)
		len = room;
	if (len > 0)
		memcpy(place->name + place->len, data, len);
	place->len += len;
}

static struct secret_place named(enum ps_secret_where where, const char *name, size_t len)
{
	struct secret_place place = {.where = where};

	append(&place, name, len);
	return place;
}

/* --- pairs ---------------------------------------------------------------- */

/* The name of the pair that has offset in it, between separators. */
static struct secret_place pair_name(enum ps_secret_where where, const char *data, size_t len, size_t offset,
				     const char *separators)
{
	size_t begin = offset < len ? offset : len, end;

	while (begin > 0 && !strchr(separators, data[begin - 1]))
		begin--;
	while (begin < len && data[begin] == ' ')
		begin++;
	for (end = begin; end < len && data[end] != '=' && !(data[end] && strchr(separators, data[end]));)
		end++;
	return end < len && data[end] == '=' ? named(where, data + begin, end - begin) : named(where, NULL, 0);
}

struct secret_place secret_place_form(const char *data, size_t len, size_t offset)
{
	return pair_name(PS_WHERE_FORM, data, len, offset, "&");
}

struct secret_place secret_place_target(const char *data, size_t len, size_t offset)
{
	const char *mark = memchr(data, '?', offset < len ? offset : len);
	size_t before = mark ? (size_t)(mark + 1 - data) : 0;

	if (!mark)
		return named(PS_WHERE_PATH, NULL, 0);
	return pair_name(PS_WHERE_QUERY, mark + 1, len - before, offset - before, "&");
}

struct secret_place secret_place_cookie(const char *data, size_t len, size_t offset)
{
	return pair_name(PS_WHERE_COOKIE, data, len, offset, ";");
}

/* --- JSON ----------------------------------------------------------------- */

struct json_level {
	bool is_array;
	bool is_key; /* the next string is one */
	uint32_t index;
	const char *key; /* within quotes; NULL: there is none yet */
	size_t key_len;
};

struct json_walk {
	struct json_level levels[JSON_DEPTH_MAX];
	int depth; /* may be larger than what levels holds */
};

static struct json_level *top(struct json_walk *walk)
{
	return walk->depth > 0 && walk->depth <= JSON_DEPTH_MAX ? &walk->levels[walk->depth - 1] : NULL;
}

static void enter(struct json_walk *walk, bool is_array)
{
	if (walk->depth < JSON_DEPTH_MAX)
		walk->levels[walk->depth] = (struct json_level){.is_array = is_array, .is_key = !is_array};
	walk->depth++;
}

static void next_member(struct json_walk *walk)
{
	struct json_level *level = top(walk);

	if (!level)
		return;
	level->index++;
	level->is_key = !level->is_array;
}

/* The quote that ends the string whose first character is at `at`; len: it has none. */
static size_t string_end(const char *data, size_t len, size_t at)
{
	while (at < len && data[at] != '"')
		at += data[at] == '\\' ? 2 : 1;
	return at < len ? at : len;
}

static void on_string(struct json_walk *walk, const char *data, size_t begin, size_t end)
{
	struct json_level *level = top(walk);

	if (!level || !level->is_key)
		return;
	level->key = data + begin;
	level->key_len = end - begin;
	level->is_key = false;
}

/* Walk to the value, or to the name, that has offset in it. */
static void walk_json(struct json_walk *walk, const char *data, size_t len, size_t offset)
{
	for (size_t at = 0; at < offset && at < len; at++) {
		size_t end;

		switch (data[at]) {
		case '{':
		case '[':
			enter(walk, data[at] == '[');
			break;
		case '}':
		case ']':
			walk->depth -= walk->depth > 0;
			break;
		case ',':
			next_member(walk);
			break;
		case '"':
			end = string_end(data, len, at + 1);
			on_string(walk, data, at + 1, end);
			at = end;
			break;
		default:
			break;
		}
	}
}

static bool is_plain_key(const char *key, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)key[i]) && key[i] != '_' && key[i] != '-')
			return false;
	return len > 0;
}

static void append_level(struct secret_place *place, const struct json_level *level)
{
	char index[16];

	if (level->is_array) {
		append(place, index, (size_t)snprintf(index, sizeof(index), "[%u]", level->index));
	} else if (level->key && is_plain_key(level->key, level->key_len)) {
		append(place, ".", 1);
		append(place, level->key, level->key_len);
	} else if (level->key) {
		append(place, "[\"", 2);
		append(place, level->key, level->key_len);
		append(place, "\"]", 2);
	}
}

static struct secret_place place_json(const char *data, size_t len, size_t offset)
{
	struct json_walk walk = {.depth = 0};
	struct secret_place place = named(PS_WHERE_JSON, "$", 1);

	walk_json(&walk, data, len, offset);
	for (int i = 0; i < walk.depth && i < JSON_DEPTH_MAX; i++)
		append_level(&place, &walk.levels[i]);
	return place;
}

/* --- parts and markup ----------------------------------------------------- */

/* The value of the parameter "name" of Content-Disposition in a part's head (RFC 7578 4.2). */
static struct secret_place part_name(const char *head, size_t len)
{
	static const char parameter[] = "name=\"";
	const char *at = head, *end = head + len, *quote;

	while ((at = memmem(at, (size_t)(end - at), parameter, sizeof(parameter) - 1)) != NULL) {
		bool is_own = at == head || at[-1] == ' ' || at[-1] == ';';

		at += sizeof(parameter) - 1;
		quote = memchr(at, '"', (size_t)(end - at));
		if (is_own && quote)
			return named(PS_WHERE_MULTIPART, at, (size_t)(quote - at));
	}
	return named(PS_WHERE_MULTIPART, NULL, 0);
}

/* The last "form-data" before offset is that of the part, or of text in it that looks like one. */
static struct secret_place place_multipart(const char *data, size_t len, size_t offset)
{
	static const char header[] = "content-disposition:";
	size_t at = offset < len ? offset : len;

	while (at-- > 0) {
		const char *line = data + at;
		size_t left = len - at;

		if (left < sizeof(header) - 1 || strncasecmp(line, header, sizeof(header) - 1) != 0)
			continue;
		return part_name(line, left < PART_HEAD_MAX ? left : PART_HEAD_MAX);
	}
	return named(PS_WHERE_MULTIPART, NULL, 0);
}

static size_t name_len(const char *data, size_t len)
{
	size_t count = 0;

	while (count < len && (isalnum((unsigned char)data[count]) || strchr("_-.:", data[count])) && data[count])
		count++;
	return count;
}

/* Within a tag the attribute, else the element that begins last. */
static struct secret_place place_markup(const char *data, size_t len, size_t offset)
{
	size_t earliest = offset > MARKUP_BACK_MAX ? offset - MARKUP_BACK_MAX : 0, at = offset < len ? offset : len;
	const char *equals = NULL;

	while (at-- > earliest && data[at] != '>') {
		if (data[at] == '=' && !equals)
			equals = data + at;
		if (data[at] != '<')
			continue;
		if (equals) { /* within a tag */
			const char *begin = equals;

			while (begin > data + at + 1 && name_len(begin - 1, 1) == 1)
				begin--;
			return named(PS_WHERE_MARKUP, begin, (size_t)(equals - begin));
		}
		return named(PS_WHERE_MARKUP, data + at + 1, name_len(data + at + 1, len - at - 1));
	}
	for (; at != (size_t)-1 && at > earliest && data[at] != '<';)
		at--;
	if (at == (size_t)-1 || data[at] != '<')
		return named(PS_WHERE_MARKUP, NULL, 0);
	return named(PS_WHERE_MARKUP, data + at + 1, name_len(data + at + 1, len - at - 1));
}

/* --- bodies --------------------------------------------------------------- */

static bool has(const struct ps_slice *type, const char *part)
{
	size_t len = strlen(part);

	for (size_t i = 0; type && i + len <= type->len; i++)
		if (strncasecmp(type->data + i, part, len) == 0)
			return true;
	return false;
}

struct secret_place secret_place_body(const struct ps_slice *type, const char *data, size_t len, size_t offset)
{
	size_t first = 0;

	while (first < len && first < offset && isspace((unsigned char)data[first]))
		first++;
	if (has(type, "multipart/"))
		return place_multipart(data, len, offset);
	if (has(type, "x-www-form-urlencoded"))
		return secret_place_form(data, len, offset);
	if (has(type, "json") || (first < len && (data[first] == '{' || data[first] == '[')))
		return place_json(data, len, offset);
	if (has(type, "xml") || has(type, "html") || (first < len && data[first] == '<'))
		return place_markup(data, len, offset);
	return named(PS_WHERE_BODY, NULL, 0);
}
