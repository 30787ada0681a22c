/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a structured text an offset is. Texts may be malformed, and may be parts. */
#ifndef PLAINSIGHT_SECRET_PLACE_H
#define PLAINSIGHT_SECRET_PLACE_H

#include "plainsight_secrets.h"

enum { SECRET_NAME_MAX = 256 };

struct secret_place {
	enum ps_secret_where where;
	size_t len;
	char name[SECRET_NAME_MAX]; /* cut when it is longer */
};

/* In "name=value&name=value"; where is PS_WHERE_FORM. */
struct secret_place secret_place_form(const char *data, size_t len, size_t offset);

/* In a request target: path or query. */
struct secret_place secret_place_target(const char *data, size_t len, size_t offset);

/* In the value of Cookie, or of Set-Cookie, which has one cookie and its attributes. */
struct secret_place secret_place_cookie(const char *data, size_t len, size_t offset);

/* In a body of that Content-Type, or without one (NULL): what it looks like. */
struct secret_place secret_place_body(const struct ps_slice *type, const char *data, size_t len, size_t offset);

#endif
