/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text of other charsets as UTF-8, by iconv(3). Whoever is traced chooses the
 * name: only those of the WHATWG Encoding Standard are looked up, not all that
 * libc has, with converters that nobody has fed with hostile bytes for years.
 */
#ifndef PLAINSIGHT_CHARSET_H
#define PLAINSIGHT_CHARSET_H

#include <iconv.h>
#include <stdbool.h>
#include <stddef.h>

#include "coding.h"

enum { CHARSET_COUNT = 38 };

enum {
	CHARSET_NONE = -1, /* UTF-8, or one that is not known */
	CHARSET_UTF16LE = 0,
	CHARSET_UTF16BE = 1
};

/* Converters, opened when first used and kept; all zero at first. Free with charset_free(). */
struct charset_tools {
	iconv_t open[CHARSET_COUNT];
	bool is_open[CHARSET_COUNT];
};

/* Number of a charset by its name, whatever the name's case, or CHARSET_NONE. */
int charset_by_name(const char *name, size_t len);

/* Its name, in lower case. */
const char *charset_name(int charset);

struct charset_result {
	size_t len;      /* written to the buffer */
	size_t used;     /* bytes of data: fewer than there are when the last character is not whole */
	bool is_valid;   /* else bytes that stand for nothing were copied as they are; of UTF-16, U+FFFD stands there */
	bool is_failure; /* libc lacks this charset, or memory is short */
};

/* Convert len bytes of a charset other than CHARSET_NONE to UTF-8 in buffer. */
struct charset_result charset_to_utf8(struct charset_tools *tools, int charset, const char *data, size_t len,
				      struct coding_buffer *buffer);

void charset_free(struct charset_tools *tools);

#endif
