/* SPDX-License-Identifier: Apache-2.0 */
/* Rules for tests of the scanner: one for each thing that a rule can have. */
#ifndef PLAINSIGHT_SECRET_FIXTURE_H
#define PLAINSIGHT_SECRET_FIXTURE_H

#include "../../src/plainsight_secrets.h"

#define WORDS(...)  ((const char *[]){__VA_ARGS__})
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static const struct ps_secret_allow field_allows[] = {
    {.patterns = WORDS("^\\$\\{"), .pattern_count = 1, .stopwords = WORDS("example", "changeme"), .stopword_count = 2},
    {.patterns = WORDS("reset_password"), .pattern_count = 1, .target = PS_TARGET_MATCH},
    {.patterns = WORDS("^# "), .pattern_count = 1, .target = PS_TARGET_LINE},
    {.patterns = WORDS("^aa"), .pattern_count = 1, .stopwords = WORDS("zz"), .stopword_count = 1, .is_and = 1},
};

enum { KEY, FIELD, BEHIND, TWO, CARD, BLOCK, HEADER, RANDOM, NEAR, PLAIN, SPACED, QUOTED, FRAMED, BASIC };

static const struct ps_secret_rule rules[] = {
    [KEY] = {.id = "key", .pattern = "\\bkey_[a-z0-9]{8}\\b", .priority = 5},
    [FIELD] = {.id = "field",
	       .pattern = "(?i)[\\w.-]{0,50}?password[\"']?\\s*[:=]\\s*[\"']?([^\"'&\\s]{6,})",
	       .keywords = WORDS("password"),
	       .keyword_count = 1,
	       .allows = field_allows,
	       .allow_count = COUNT(field_allows)},
    [BEHIND] = {.id = "behind", .pattern = "(?<=tok=)[0-9a-f]{16}", .keywords = WORDS("tok="), .keyword_count = 1},
    [TWO] = {.id = "two", .pattern = "one:(\\w+)|two:(\\w+)"},
    [CARD] = {.id = "card", .pattern = "\\b\\d{13,16}\\b", .check = PS_CHECK_LUHN},
    [BLOCK] = {.id = "block", .pattern = "-----BEGIN X-----[\\s\\S]{10,}?-----END X-----", .priority = 9},
    [HEADER] = {.id = "header", .pattern = "(?m)^x-key: (.+)$", .scope = PS_SCOPE_HEADERS},
    [RANDOM] = {.id = "random", .pattern = "r=(\\w{10})", .entropy_min = 3},
    [NEAR] = {.id = "near", .pattern = "\\b[0-9A-F]{12}\\b", .keywords = WORDS("acme"), .keyword_count = 1},
    [SPACED] = {.id = "spaced", .pattern = "\\b\\d{4} \\d{4} \\d{4} \\d{4}\\b", .check = PS_CHECK_PAYMENT_CARD},
    [QUOTED] = {.id = "quoted", .pattern = "pin=\"(\\d+)\""},
    [FRAMED] = {.id = "framed", .pattern = "[,;](f\\d+)[,;]"},
    [BASIC] = {.id = "basic", .pattern = "Basic ([A-Za-z0-9+/]+=*)", .check = PS_CHECK_BASIC},
    [PLAIN] = {.id = "plain", .pattern = "plain_\\w+", .scope = PS_SCOPE_NO_DECODE},
};

static const struct ps_secret_allow all_allows[] = {
    {.stopwords = WORDS("nosecret"), .stopword_count = 1},
};

static const struct ps_secret_config config = {
    .rules = rules, .rule_count = COUNT(rules), .allows = all_allows, .allow_count = COUNT(all_allows)};

#endif
