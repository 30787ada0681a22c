/* SPDX-License-Identifier: Apache-2.0 */
/* Rules as the scanner uses them: struct ps_secrets of plainsight_secrets.h. */
#ifndef PLAINSIGHT_SECRET_RULES_H
#define PLAINSIGHT_SECRET_RULES_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <hs/hs.h>
#include <pcre2.h>

#include "plainsight_secrets.h"

/* A pattern that is compiled when it is needed first: of hundreds few ever are. */
struct secret_pattern {
	const char *text;
	pcre2_code *code;
};

/* Words by their first byte. */
struct secret_words {
	const char **words; /* sorted by it */
	uint32_t count;
	uint32_t first[257]; /* those that begin with byte b: words[first[b]] to before words[first[b + 1]] */
};

struct secret_allow {
	struct secret_pattern *patterns;
	uint32_t pattern_count;
	uint32_t target; /* enum ps_secret_target */
	bool is_and;
	struct secret_words stopwords;
};

struct secret_rule {
	struct ps_secret_rule pub; /* its strings are copies; allows is NULL */
	struct secret_pattern pattern;
	struct secret_allow *allows;
	uint32_t engine; /* enum ps_secret_engine */
	uint32_t width;  /* no match is longer that is looked for; at most PS_SECRET_WINDOW */
	struct secret_pattern
	    core;      /* without what the pattern may begin with but need not; text NULL: it is the same */
	uint32_t lead; /* how long that can be */
};

struct ps_secrets {
	struct secret_rule *rules;
	struct secret_allow *allows; /* for all rules */
	uint32_t rule_count;
	uint32_t allow_count;
	hs_database_t *database;
	hs_scratch_t *scratch;
	pcre2_compile_context *compile_context;
	pcre2_match_context *match_context;
	pcre2_match_data *match_data;
	pcre2_jit_stack *jit_stack;
	char *memory; /* of all strings */
	size_t memory_used;
	bool is_cached;
	uint32_t users; /* who made it, and its streams: the last one frees it */
	char *image;
	size_t image_len;
};

/* The code of a pattern; NULL when it cannot be compiled, which ps_secrets_new() has ruled out, or memory is short. */
const pcre2_code *secret_pattern_code(struct ps_secrets *secrets, struct secret_pattern *pattern);

/*
 * Searches data[from, len) for a match that begins before start_end. Returns
 * the number of groups with their offsets in secrets->match_data, 0: there is
 * none, -1: given up.
 */
int secret_pattern_search(struct ps_secrets *secrets, struct secret_pattern *pattern, const char *data, size_t len,
			  size_t from, size_t start_end);

/* Whether one of the words is in the text, whatever its case. */
bool secret_words_match(const struct secret_words *words, const char *text, size_t len);

#endif
