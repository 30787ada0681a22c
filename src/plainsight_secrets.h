/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding secrets in text and in HTTP exchanges: what a user of libplainsight.so
 * sees of it. docs/secrets.md tells how it works.
 *
 * Lua passes the text between the marker lines to ffi.cdef (after that of
 * plainsight.h), so it holds no preprocessor line.
 */
#ifndef PLAINSIGHT_SECRETS_H
#define PLAINSIGHT_SECRETS_H

#include "plainsight.h"

/* cdef begin */
/* What a secret must pass beyond its pattern. Separators (spaces, dashes, dots, slashes) in numbers do not count. */
enum ps_secret_check {
	PS_CHECK_NONE = 0,
	PS_CHECK_LUHN = 1,          /* ISO/IEC 7812-1 */
	PS_CHECK_IBAN = 2,          /* ISO 13616: length of the country, mod 97 */
	PS_CHECK_JWT = 3,           /* RFC 7519: the first part is base64url of a JSON object with "alg" */
	PS_CHECK_CRC32_BASE62 = 4,  /* GitHub, npm: the last 6 characters are the CRC-32 of those behind the last "_" */
	PS_CHECK_ES_DNI = 5,        /* Spain, DNI and NIE */
	PS_CHECK_FR_NIR = 6,        /* France, social security */
	PS_CHECK_DE_TAX = 7,        /* Germany, Steuer-IdNr: ISO 7064 mod 11,10 and the rule of repeated digits */
	PS_CHECK_NL_BSN = 8,        /* Netherlands */
	PS_CHECK_PL_PESEL = 9,      /* Poland */
	PS_CHECK_BE_NATIONAL = 10,  /* Belgium, Rijksregisternummer */
	PS_CHECK_UK_NHS = 11,       /* United Kingdom, NHS number */
	PS_CHECK_BR_CPF = 12,       /* Brazil, persons */
	PS_CHECK_BR_CNPJ = 13,      /* Brazil, companies */
	PS_CHECK_FI_HETU = 14,      /* Finland */
	PS_CHECK_SE_PERSON = 15,    /* Sweden, personnummer: date, Luhn of ten digits */
	PS_CHECK_NO_FNR = 16,       /* Norway */
	PS_CHECK_DK_CPR = 17,       /* Denmark: date, mod 11 (numbers before 2007) */
	PS_CHECK_IT_CF = 18,        /* Italy, codice fiscale */
	PS_CHECK_IN_AADHAAR = 19,   /* India: Verhoeff */
	PS_CHECK_CN_ID = 20,        /* China: ISO 7064 mod 11-2 */
	PS_CHECK_US_SSN = 21,       /* United States: areas and numbers that are never given out */
	PS_CHECK_CA_SIN = 22,       /* Canada: Luhn, first digit */
	PS_CHECK_AU_TFN = 23,       /* Australia, tax file number */
	PS_CHECK_PT_NIF = 24,       /* Portugal */
	PS_CHECK_CH_AHV = 25,       /* Switzerland: 756, EAN-13 */
	PS_CHECK_US_ABA = 26,       /* United States, bank routing number */
	PS_CHECK_TR_ID = 27,        /* Turkey, TC kimlik */
	PS_CHECK_PAYMENT_CARD = 28, /* Luhn, and a length and first digits that a network of cards has */
	PS_CHECK_BASIC = 29,        /* RFC 7617: base64 of "user:password" with a password */
	PS_CHECK_COUNT = 30
};

/* What an allow list looks at. */
enum ps_secret_target {
	PS_TARGET_SECRET = 0,
	PS_TARGET_MATCH = 1, /* all that the pattern matched */
	PS_TARGET_LINE = 2   /* the line that it is in, as far as PS_SECRET_CONTEXT_MAX on both sides */
};

/* Matches that are none: as gitleaks' allowlists without paths and commits. */
struct ps_secret_allow {
	const char **patterns;  /* searched for in the target */
	const char **stopwords; /* lower case; found anywhere in the secret, whatever its case */
	uint32_t pattern_count;
	uint32_t stopword_count;
	uint32_t target; /* enum ps_secret_target: of patterns */
	uint32_t is_and; /* 1: one of patterns and one of stopwords, where there are both; 0: one of all */
};

/* Where a rule applies. */
enum ps_secret_scope {
	PS_SCOPE_TARGET = 1,    /* request line, URL */
	PS_SCOPE_HEADERS = 2,   /* with cookies and trailers, each as a line "name: value" */
	PS_SCOPE_BODY = 4,      /* decoded */
	PS_SCOPE_MESSAGE = 8,   /* of a WebSocket, an event stream, gRPC */
	PS_SCOPE_NO_DECODE = 16 /* not in what was base64, percent-encoded, or escaped within these */
};

/*
 * One kind of secret. Patterns are those that RE2 and PCRE2 agree on, over
 * bytes: "^" is the beginning of the text unless (?m), "$" its very end, "." no
 * newline. The secret is the group secret_group; 0: the first group that is not
 * empty, without groups the whole match.
 */
struct ps_secret_rule {
	const char *id;
	const char *pattern;
	const char **keywords; /* lower case; one must occur, whatever its case, in the match or within
					PS_SECRET_CONTEXT_MAX bytes of it; none: nothing must */
	const struct ps_secret_allow *allows;
	uint32_t keyword_count;
	uint32_t allow_count;
	uint32_t secret_group;
	uint32_t check;     /* enum ps_secret_check */
	uint32_t scope;     /* enum ps_secret_scope, bits; 0: everywhere */
	int32_t priority;   /* of matches with a byte in common the one with the highest stays; then the longer
			       secret, the rule that comes first, the place that comes first */
	double entropy_min; /* of the secret, Shannon's over its bytes, bits per character; 0: any */
};

struct ps_secret_config {
	const struct ps_secret_rule *rules;
	const struct ps_secret_allow *allows; /* for all rules */
	uint32_t rule_count;
	uint32_t allow_count;
};

enum {
	PS_SECRET_WINDOW = 8192,      /* a match that is longer may be missed */
	PS_SECRET_CONTEXT_MAX = 1024, /* bytes before and behind a match that are looked at */
	PS_SECRET_DEPTH_MAX = 3,      /* encodings within encodings */
	PS_SECRET_MATCHES_MAX = 1024, /* kept of one text */
	PS_SECRET_ERROR_MAX = 512     /* of a message, with its terminating NUL */
};

/* Rules, ready for use, with what scanning needs: one thread only. */
struct ps_secrets;

/*
 * config is copied. image: what ps_secrets_image() gave for the very same
 * config, with the same libraries on the same machine (anything else is found
 * out, and it is ignored), or empty; it must come from a place that
 * only this user can write to. NULL when a pattern is malformed or memory is
 * short: error (PS_SECRET_ERROR_MAX bytes) then says which and why.
 */
struct ps_secrets *ps_secrets_new(const struct ps_secret_config *config, struct ps_slice image, char *error);
void ps_secrets_free(struct ps_secrets *secrets);

/* Whether the image was used. */
bool ps_secrets_is_cached(const struct ps_secrets *secrets);

/* The compiled patterns, for the next ps_secrets_new(). Empty when memory is short. Valid as long as secrets. */
struct ps_slice ps_secrets_image(struct ps_secrets *secrets);

/* What an image depends on besides the config: versions and the kind of CPU. A constant string. */
const char *ps_secrets_platform(void);

/* How a rule is looked for. */
enum ps_secret_engine {
	PS_ENGINE_EXACT = 0,     /* Hyperscan has its pattern */
	PS_ENGINE_PREFILTER = 1, /* Hyperscan has a wider one */
	PS_ENGINE_KEYWORD = 2    /* Hyperscan has its keywords */
};
uint32_t ps_secrets_engine(const struct ps_secrets *secrets, uint32_t rule);

/* The check of that name, such as "luhn" or "es-dni"; -1: there is none. */
int32_t ps_secret_check_by_name(const char *name);
/* Names by number, for messages; NULL: there is none. */
const char *ps_secret_check_name(uint32_t check);
/* Whether text passes. */
bool ps_secret_check(uint32_t check, const char *text, size_t len);
/* Shannon's entropy of the bytes, bits per byte. */
double ps_secret_entropy(const char *text, size_t len);

enum ps_secret_encoding {
	PS_ENCODING_NONE = 0,
	PS_ENCODING_BASE64 = 1,  /* standard or URL-safe (RFC 4648 4, 5) */
	PS_ENCODING_PERCENT = 2, /* RFC 3986 2.1, "+" as it is */
	PS_ENCODING_JSON = 3     /* escapes of a JSON string (RFC 8259 7) */
};

struct ps_secret_match {
	uint32_t rule;        /* index in the config */
	uint8_t encodings[4]; /* enum ps_secret_encoding, the outermost first; then zeros */
	uint64_t begin;       /* of the secret in the text; in encoded text, what must be replaced to be rid of it */
	uint64_t end;         /* behind it */
	uint64_t match_begin; /* likewise of all that the pattern matched */
	uint64_t match_end;
	struct ps_slice secret; /* decoded; of PS_CHECK_BASIC the password */
};

/* Sorted by begin; no two have a byte in common. */
struct ps_secret_matches {
	const struct ps_secret_match *list;
	uint32_t count;
	uint32_t dropped; /* 1: there were more, or memory was short */
};

/*
 * One text, given in pieces: what is found does not depend on where they are
 * cut. Used again for the next text.
 */
struct ps_secret_stream;

/* NULL when memory is short. secrets stays as long as it has streams. */
struct ps_secret_stream *ps_secret_stream_new(const struct ps_secrets *secrets);
void ps_secret_stream_free(struct ps_secret_stream *stream);

/* A text begins; the last one, and its matches, are forgotten. scope: enum ps_secret_scope, one bit, or 0: any. */
void ps_secret_stream_begin(struct ps_secret_stream *stream, uint32_t scope);

/* Its next len bytes. Nothing of them is kept by reference. */
void ps_secret_stream_feed(struct ps_secret_stream *stream, const char *data, size_t len);

/* It ends. Valid until the stream is used for the next one. */
struct ps_secret_matches ps_secret_stream_end(struct ps_secret_stream *stream);

/* The three of them for a text that is there as a whole. Valid likewise. */
struct ps_secret_matches ps_secrets_scan(struct ps_secret_stream *stream, uint32_t scope, const char *data, size_t len);

/* In total since ps_secret_stream_new(). */
struct ps_secret_stats {
	uint64_t bytes;           /* scanned */
	uint64_t nested_bytes;    /* of these within encodings */
	uint64_t unsearched;      /* candidates that were given up: the pattern took too long (bounded), or no memory */
	uint64_t undecoded_bytes; /* in encodings too deep or too many to be looked into */
};
struct ps_secret_stats ps_secret_stream_stats(const struct ps_secret_stream *stream);

/* --- hashes and masks --- */

enum {
	PS_SECRET_KEY_BYTES = 32,
	PS_SECRET_HASH_LEN = 16, /* hexadecimal digits of a hash: its first 64 bits */
	PS_SECRET_MASK_LEN = 16  /* at most, of a masked form */
};

/* HMAC-SHA-256 (RFC 2104) of a value, its first 64 bits in hexadecimal, NUL-terminated: room for 17 bytes. */
void ps_secret_hash(const uint8_t *key, const char *secret, size_t len, char *hash);

/* PS_SECRET_KEY_BYTES random bytes. False: there are none. */
bool ps_secret_random_key(uint8_t *key);

/*
 * The form in which a value may be shown, NUL-terminated: room for 17 bytes. Of
 * 12 characters and more its first and last ones, a quarter of it at most and
 * eight in all; else none.
 */
void ps_secret_masked(const char *secret, size_t len, char *masked);

/* --- items --- */

enum ps_secret_part { PS_PART_REQUEST = 0, PS_PART_RESPONSE = 1, PS_PART_MESSAGE = 2 };

enum ps_secret_where {
	PS_WHERE_PATH = 0,
	PS_WHERE_QUERY = 1,  /* name: of the parameter */
	PS_WHERE_HEADER = 2, /* name: of the header; of HTTP/2 also ":authority" */
	PS_WHERE_COOKIE = 3, /* name: of the cookie, of Cookie and of Set-Cookie */
	PS_WHERE_TRAILER = 4,
	PS_WHERE_JSON = 5,      /* name: its path (RFC 9535 2.7), such as "$.user.tokens[0]" */
	PS_WHERE_FORM = 6,      /* name: of the field, as it was sent */
	PS_WHERE_MULTIPART = 7, /* name: of the part */
	PS_WHERE_MARKUP = 8,    /* XML, HTML: name: of the element or attribute */
	PS_WHERE_BODY = 9,      /* or the payload of a message; no name */
	PS_WHERE_COUNT = 10
};

struct ps_secret_finding {
	struct ps_secret_match match; /* its offsets: in the target, a header's value, the decoded body, a payload */
	uint32_t part;                /* enum ps_secret_part */
	uint32_t where;               /* enum ps_secret_where */
	struct ps_slice name;         /* empty: there is none, or it is not known */
};

struct ps_secret_findings {
	const struct ps_secret_finding *list;
	uint32_t count;
	uint32_t dropped;         /* 1: there were more, or memory was short */
	uint64_t unscanned_bytes; /* of bodies and payloads: not read, missing, or in a coding that cannot be undone */
};

/* Looks through items, in memory that it uses again. */
struct ps_secret_scanner;

/* NULL when memory is short. secrets must outlive it. */
struct ps_secret_scanner *ps_secret_scanner_new(const struct ps_secrets *secrets);
void ps_secret_scanner_free(struct ps_secret_scanner *scanner);

/*
 * What is found in an item: of PS_ITEM_STARTED in its heads, of PS_ITEM_EXCHANGE
 * in all that was not looked at then and is not handed out as messages, of
 * PS_ITEM_MESSAGE in its payload. In the order of parts, of places, of offsets.
 * Valid until the next call, and as long as the item is.
 */
struct ps_secret_findings ps_secret_scan_item(struct ps_secret_scanner *scanner, const struct ps_item *item);

/* Likewise as ps_secret_stream_stats(). */
struct ps_secret_stats ps_secret_scanner_stats(const struct ps_secret_scanner *scanner);

/* --- redaction --- */

enum ps_redact_what {
	PS_REDACT_HEADERS = 1, /* and trailers */
	PS_REDACT_CODED = 2,   /* bodies are shown as on the wire: one with a coding is withheld if there is anything
				  in it, or if that cannot be known */
	PS_REDACT_SAME_LENGTH = 4, /* sizes of bodies and messages count: a mask is as long as what it stands for */
	PS_REDACT_AGAIN = 8        /* what comes was masked before: bodies that end early were cut where no value is */
};

struct ps_redact_options {
	uint8_t key[32];         /* PS_SECRET_KEY_BYTES: of hashes */
	uint64_t body_bytes_max; /* shown of a body; PS_REDACT_SLACK bytes behind them are looked at too */
	uint64_t preview_bytes;  /* of a body without coding only so many will be shown; UINT64_MAX: all */
	uint32_t what;           /* enum ps_redact_what: what is shown besides request lines and bodies */
	uint32_t pad;
};

/* What is kept of a body beyond what is shown of it, so that a value at the end is known for what it is. */
enum { PS_REDACT_SLACK = 4096 };

/*
 * Replaces what is found in items by "[redacted:RULE:HASH]", with the first 8 digits of the hash; where lengths count,
 * by as much of that as there is room for, and dots.
 */
struct ps_redactor;

/* NULL when memory is short. secrets must outlive it. */
struct ps_redactor *ps_redactor_new(const struct ps_secrets *secrets, const struct ps_redact_options *options);
void ps_redactor_free(struct ps_redactor *redactor);

/*
 * The item as it may be shown: itself, or a copy that is valid until the next
 * call and as long as the item is. NULL when memory is short: nothing of it may
 * be shown.
 */
const struct ps_item *ps_redact(struct ps_redactor *redactor, const struct ps_item *item);

/* From now on ps_decode() with this decoder gives redacted content, of messages of the item that was redacted last. */
void ps_redactor_attach(struct ps_redactor *redactor, struct ps_decoder *decoder);

struct ps_redact_stats {
	uint64_t values;   /* that were replaced */
	uint64_t withheld; /* bodies, or payloads */
	struct ps_secret_stats scanned;
};
struct ps_redact_stats ps_redactor_stats(const struct ps_redactor *redactor);
/* cdef end */

#endif
