/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of a header value: TYPE *( OWS ";" OWS [ NAME "=" ( TOKEN / QUOTED-STRING ) ] ) (RFC 9110 5.6.6). */
#include <string.h>
#include <strings.h>

#include "plainsight.h"

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && is_space(*at))
		at++;
	return at;
}

/* The closing quote of a quoted string that begins behind its opening one, or end. */
static const char *quote_end(const char *at, const char *end)
{
	while (at < end && *at != '"')
		at += *at == '\\' && end - at > 1 ? 2 : 1;
	return at;
}

/* Where the parameter that begins at `at` ends: at a semicolon outside of quotes, or at end. */
static const char *parameter_end(const char *at, const char *end)
{
	while (at < end && *at != ';') {
		if (*at == '"')
			at = quote_end(at + 1, end);
		if (at < end)
			at++;
	}
	return at;
}

static struct ps_slice slice_of(const char *begin, const char *end)
{
	return (struct ps_slice){begin, (size_t)(end - begin)};
}

/* The value that begins behind the "=", of a parameter that ends at end. */
static struct ps_slice value_of(const char *begin, const char *end)
{
	if (begin < end && *begin == '"')
		return slice_of(begin + 1, quote_end(begin + 1, end));
	while (end > begin && is_space(end[-1]))
		end--;
	return slice_of(begin, end);
}

bool ps_parameter(const struct ps_slice *value, const char *name, struct ps_slice *found)
{
	size_t name_len = strlen(name);
	const char *end, *at;

	if (value->len == 0)
		return false;
	end = value->data + value->len;
	at = parameter_end(value->data, end);
	while (at < end) {
		const char *begin = skip_space(at + 1, end);

		at = parameter_end(begin, end);
		if ((size_t)(at - begin) > name_len && begin[name_len] == '=' &&
		    strncasecmp(begin, name, name_len) == 0) {
			*found = value_of(begin + name_len + 1, at);
			return true;
		}
	}
	return false;
}
