/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules made ready: one Hyperscan database for all of them, PCRE2 for each.
 *
 * Hyperscan tells where a match of a pattern ends. What it cannot take as it is
 * it gets as a wider pattern (HS_FLAG_PREFILTER), or, when even that fails, as
 * the keywords of the rule.
 */
#include "secret_rules.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

enum {
	MATCH_LIMIT = 200000, /* of PCRE2: some milliseconds */
	JIT_STACK_FIRST = 32 * 1024,
	JIT_STACK_MAX = 512 * 1024,
	GROUPS_MAX = 64,
	REPEAT_MAX = 32,    /* that Hyperscan has to count to */
	KEYWORDS_MAX = 4096 /* of all rules that are looked for by theirs */
};

static size_t text_size(const char *text)
{
	return strlen(text) + 1;
}

/* --- patterns ------------------------------------------------------------ */

static const uint32_t pattern_options =
    PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT | PCRE2_NO_UTF_CHECK;

static pcre2_code *compile_pattern(struct ps_secrets *secrets, const char *text, int *number, size_t *offset)
{
	return pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, pattern_options, number, offset,
			     secrets->compile_context);
}

const pcre2_code *secret_pattern_code(struct ps_secrets *secrets, struct secret_pattern *pattern)
{
	size_t offset;
	int number;

	if (!pattern->code) {
		pattern->code = compile_pattern(secrets, pattern->text, &number, &offset);
		if (pattern->code)
			pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE);
	}
	return pattern->code;
}

int secret_pattern_search(struct ps_secrets *secrets, struct secret_pattern *pattern, const char *data, size_t len,
			  size_t from, size_t start_end)
{
	const pcre2_code *code = secret_pattern_code(secrets, pattern);
	int result;

	if (!code)
		return -1;
	if (from >= start_end)
		return 0;
	pcre2_set_offset_limit(secrets->match_context, start_end - 1);
	result = pcre2_match(code, (PCRE2_SPTR)data, len, from, 0, secrets->match_data, secrets->match_context);
	if (result == 0) /* more groups than there is room for */
		return GROUPS_MAX;
	if (result == PCRE2_ERROR_NOMATCH)
		return 0;
	return result < 0 ? -1 : result;
}

static bool pattern_is_valid(struct ps_secrets *secrets, const char *id, const char *text, char *error)
{
	size_t offset;
	int number;
	pcre2_code *code = compile_pattern(secrets, text, &number, &offset);
	PCRE2_UCHAR reason[128];

	if (code) {
		pcre2_code_free(code);
		return true;
	}
	pcre2_get_error_message(number, reason, sizeof(reason));
	snprintf(error, PS_SECRET_ERROR_MAX, "%s: character %zu of the pattern: %s", id, offset + 1, (char *)reason);
	return false;
}

/* --- words --------------------------------------------------------------- */

static int compare_words(const void *a, const void *b)
{
	const unsigned char *one = *(const unsigned char *const *)a, *other = *(const unsigned char *const *)b;

	return one[0] - other[0];
}

static void index_words(struct secret_words *words)
{
	uint32_t at = 0;

	qsort(words->words, words->count, sizeof(*words->words), compare_words);
	for (int byte = 0; byte <= 256; byte++) {
		while (at < words->count && (unsigned char)words->words[at][0] < byte)
			at++;
		words->first[byte] = at;
	}
}

bool secret_words_match(const struct secret_words *words, const char *text, size_t len)
{
	for (size_t i = 0; i < len && words->count > 0; i++) {
		int byte = tolower((unsigned char)text[i]);

		for (uint32_t w = words->first[byte]; w < words->first[byte + 1]; w++) {
			size_t word_len = strlen(words->words[w]);

			if (word_len <= len - i && strncasecmp(words->words[w], text + i, word_len) == 0)
				return true;
		}
	}
	return false;
}

/* --- the core of a pattern ----------------------------------------------- */

/* The end of a character class, an escape or a "." at text; NULL: it is something else. */
static const char *skip_one(const char *text)
{
	if (text[0] == '.')
		return text + 1;
	if (text[0] == '\\' && text[1] && strchr("wWdDsS", text[1]))
		return text + 2;
	if (text[0] != '[')
		return NULL;
	text += text[1] == '^' ? 2 : 1;
	if (*text == ']')
		text++;
	while (*text && *text != ']') {
		if (text[0] == '[' && text[1] == ':') {
			text = strstr(text, ":]");
			if (!text)
				return NULL;
			text += 2;
		} else {
			text += text[0] == '\\' && text[1] ? 2 : 1;
		}
	}
	return *text ? text + 1 : NULL;
}

/*
 * Behind a repeat that may be none: "*", "?" or "{0,N}", greedy or lazy; *max
 * is how many it can be. NULL: it is none.
 */
static const char *skip_optional(const char *text, unsigned long *max)
{
	char *end;

	*max = *text == '?' ? 1 : PS_SECRET_CONTEXT_MAX;
	if (*text == '*' || *text == '?') {
		text++;
	} else if (strncmp(text, "{0,", 3) == 0) {
		if (text[3] != '}')
			*max = strtoul(text + 3, &end, 10);
		else
			end = (char *)text + 3;
		if (*end != '}')
			return NULL;
		text = end + 1;
	} else {
		return NULL;
	}
	return *text == '?' ? text + 1 : text;
}

/* Whether the group that begins here is repeated: the start of its second turn is not that of the pattern. */
static bool is_group_repeated(const char *pattern)
{
	int depth = 0;

	for (const char *at = pattern; *at; at++) {
		const char *end = *at == '[' ? skip_one(at) : NULL;

		if (end)
			at = end - 1;
		else if (*at == '\\' && at[1])
			at++;
		else if (*at == '(')
			depth++;
		else if (*at == ')' && --depth == 0)
			return at[1] && strchr("*+?{", at[1]) != NULL;
	}
	return true; /* it is malformed */
}

/*
 * A pattern without what it may begin with but need not, such as
 * "[\w.-]{0,50}?": where matches end is the same, and nobody need follow each of
 * their beginnings. *out has room for the pattern. Returns how many bytes a
 * match can begin earlier.
 */
static uint32_t without_optional_start(const char *pattern, char *out)
{
	unsigned long lead = 0, max;

	for (;;) {
		const char *end = skip_one(pattern), *rest = end ? skip_optional(end, &max) : NULL;
		size_t len = 0;

		if (rest) {
			pattern = rest;
			lead += max < PS_SECRET_CONTEXT_MAX ? max : PS_SECRET_CONTEXT_MAX;
			continue;
		}
		/* Into groups: what is optional where a group begins is so where the pattern begins. */
		if (pattern[0] == '(' && pattern[1] == '?') {
			len = 2 + strspn(pattern + 2, "ims-");
			if (pattern[len] == ')' || (pattern[len] == ':' && !is_group_repeated(pattern)))
				len++;
			else
				len = 0;
		}
		if (len == 0)
			break;
		memcpy(out, pattern, len);
		out += len;
		pattern += len;
	}
	memcpy(out, pattern, text_size(pattern)); /* it is no longer than what came before */
	return lead < PS_SECRET_CONTEXT_MAX ? (uint32_t)lead : PS_SECRET_CONTEXT_MAX;
}

/* --- copying of the config ----------------------------------------------- */

static size_t texts_size(const char **texts, uint32_t count)
{
	size_t size = 0;

	for (uint32_t i = 0; i < count; i++)
		size += text_size(texts[i]);
	return size;
}

static size_t allows_size(const struct ps_secret_allow *allows, uint32_t count)
{
	size_t size = 0;

	for (uint32_t i = 0; i < count; i++)
		size += texts_size(allows[i].patterns, allows[i].pattern_count) +
			texts_size(allows[i].stopwords, allows[i].stopword_count);
	return size;
}

static size_t config_size(const struct ps_secret_config *config)
{
	size_t size = allows_size(config->allows, config->allow_count) + 1;

	for (uint32_t i = 0; i < config->rule_count; i++) {
		const struct ps_secret_rule *rule = &config->rules[i];

		size += text_size(rule->id) + 2 * text_size(rule->pattern) +
			texts_size(rule->keywords, rule->keyword_count) + allows_size(rule->allows, rule->allow_count);
	}
	return size;
}

static const char *copy_text(struct ps_secrets *secrets, const char *text)
{
	char *copy = secrets->memory + secrets->memory_used;
	size_t size = text_size(text);

	memcpy(copy, text, size);
	secrets->memory_used += size;
	return copy;
}

static bool copy_allow(struct ps_secrets *secrets, struct secret_allow *to, const struct ps_secret_allow *from)
{
	to->target = from->target;
	to->is_and = from->is_and != 0;
	to->patterns = calloc(from->pattern_count + 1, sizeof(*to->patterns));
	to->stopwords.words = calloc(from->stopword_count + 1, sizeof(*to->stopwords.words));
	if (!to->patterns || !to->stopwords.words)
		return false;
	to->pattern_count = from->pattern_count;
	for (uint32_t i = 0; i < from->pattern_count; i++)
		to->patterns[i].text = copy_text(secrets, from->patterns[i]);
	for (uint32_t i = 0; i < from->stopword_count; i++)
		if (from->stopwords[i][0])
			to->stopwords.words[to->stopwords.count++] = copy_text(secrets, from->stopwords[i]);
	index_words(&to->stopwords);
	return true;
}

/* *to becomes a list of count; what was made of it is freed by free_allows(). */
static bool copy_allows(struct ps_secrets *secrets, struct secret_allow **to, const struct ps_secret_allow *from,
			uint32_t count)
{
	*to = calloc(count + 1, sizeof(**to));
	if (!*to)
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (!copy_allow(secrets, &(*to)[i], &from[i]))
			return false;
	return true;
}

/* What is searched for first, when that is less than the pattern. */
static void find_core(struct ps_secrets *secrets, struct secret_rule *rule)
{
	char *core = secrets->memory + secrets->memory_used;

	rule->lead = without_optional_start(rule->pub.pattern, core);
	if (rule->lead == 0 || *core == 0)
		return;
	rule->core.text = core;
	secrets->memory_used += text_size(core);
}

static bool copy_rule(struct ps_secrets *secrets, struct secret_rule *to, const struct ps_secret_rule *from)
{
	const char **keywords = calloc(from->keyword_count + 1, sizeof(*keywords));

	to->pub = *from;
	to->pub.allows = NULL;
	to->pub.keywords = keywords;
	if (!keywords)
		return false;
	to->pub.id = copy_text(secrets, from->id);
	to->pub.pattern = to->pattern.text = copy_text(secrets, from->pattern);
	find_core(secrets, to);
	for (uint32_t i = 0; i < from->keyword_count; i++)
		keywords[i] = copy_text(secrets, from->keywords[i]);
	return copy_allows(secrets, &to->allows, from->allows, from->allow_count);
}

static bool copy_config(struct ps_secrets *secrets, const struct ps_secret_config *config)
{
	secrets->memory = malloc(config_size(config));
	secrets->rules = calloc(config->rule_count + 1, sizeof(*secrets->rules));
	if (!secrets->memory || !secrets->rules)
		return false;
	for (; secrets->rule_count < config->rule_count; secrets->rule_count++)
		if (!copy_rule(secrets, &secrets->rules[secrets->rule_count], &config->rules[secrets->rule_count]))
			return false;
	secrets->allow_count = config->allow_count;
	return copy_allows(secrets, &secrets->allows, config->allows, config->allow_count);
}

/* --- what Hyperscan gets ------------------------------------------------- */

/* Expressions for hs_compile_multi(), with the index of their rule as id. */
struct expressions {
	const char **texts;
	unsigned *flags;
	unsigned *ids;
	char *memory;
	unsigned count;
};

static void free_expressions(struct expressions *list)
{
	free(list->texts);
	free(list->flags);
	free(list->ids);
	free(list->memory);
}

/* The bound of a repeat "{M,N}" at text, when it is a large one; NULL: it is none. *end: behind the repeat. */
static const char *large_bound(const char *text, const char **end)
{
	char *comma, *stop;
	unsigned long least, most;

	if (!isdigit((unsigned char)text[1]))
		return NULL;
	least = strtoul(text + 1, &comma, 10);
	if (*comma != ',' || !isdigit((unsigned char)comma[1]))
		return NULL;
	most = strtoul(comma + 1, &stop, 10);
	if (*stop != '}' || most <= REPEAT_MAX || most == least)
		return NULL;
	*end = stop;
	return comma + 1;
}

/*
 * The pattern without the bounds of long repeats, which cost Hyperscan seconds
 * to compile and the exact stage nothing: it matches where the pattern does, and
 * more. Returns the end of what was written, which is no longer than the pattern.
 */
static char *put_widened(char *out, const char *pattern)
{
	while (*pattern) {
		const char *end = *pattern == '[' ? skip_one(pattern) : NULL, *bound = NULL;
		size_t len = 1;

		if (end)
			len = (size_t)(end - pattern);
		else if (*pattern == '\\' && pattern[1])
			len = 2;
		else if (*pattern == '{')
			bound = large_bound(pattern, &end);
		if (bound)
			len = (size_t)(bound - pattern);
		memcpy(out, pattern, len);
		out += len;
		pattern = bound ? end : pattern + len;
	}
	*out = 0;
	return out + 1;
}

/* Room for every pattern, and for every keyword as hexadecimal escapes. */
static bool new_expressions(const struct ps_secrets *secrets, struct expressions *list)
{
	size_t bytes = 1, count = 1;

	for (uint32_t i = 0; i < secrets->rule_count; i++) {
		const struct secret_rule *rule = &secrets->rules[i];

		count += 1 + rule->pub.keyword_count;
		bytes += text_size(rule->pub.pattern) + text_size(rule->pub.pattern) +
			 4 * texts_size(rule->pub.keywords, rule->pub.keyword_count);
	}
	*list = (struct expressions){
	    .texts = calloc(count, sizeof(*list->texts)),
	    .flags = calloc(count, sizeof(*list->flags)),
	    .ids = calloc(count, sizeof(*list->ids)),
	    .memory = malloc(bytes),
	};
	return list->texts && list->flags && list->ids && list->memory;
}

static char *put_literal(char *out, const char *word)
{
	for (; *word; word++)
		out += sprintf(out, "\\x%02x", (unsigned char)*word);
	*out = 0;
	return out + 1;
}

static void add_expression(struct expressions *list, const char *text, unsigned flags, unsigned id)
{
	list->texts[list->count] = text;
	list->flags[list->count] = flags;
	list->ids[list->count++] = id;
}

static void fill_expressions(const struct ps_secrets *secrets, struct expressions *list)
{
	char *out = list->memory;

	list->count = 0;
	for (uint32_t i = 0; i < secrets->rule_count; i++) {
		const struct secret_rule *rule = &secrets->rules[i];

		if (rule->engine != PS_ENGINE_KEYWORD) {
			add_expression(list, out, rule->engine == PS_ENGINE_PREFILTER ? HS_FLAG_PREFILTER : 0, i);
			out = put_widened(out, rule->core.text ? rule->core.text : rule->pub.pattern);
			continue;
		}
		for (uint32_t k = 0; k < rule->pub.keyword_count; k++) {
			char *begin = out;

			out = put_literal(out, rule->pub.keywords[k]);
			add_expression(list, begin, HS_FLAG_CASELESS, i);
		}
	}
}

/* --- the database -------------------------------------------------------- */

/* Such as "@", which Hyperscan finds faster than what is around it. */
static bool is_mark(const char *keyword)
{
	return strlen(keyword) == 1 && !isalnum((unsigned char)keyword[0]);
}

/* Whether one of a rule's keywords is what its pattern is made of, and not something that must be near by. */
static bool is_keyword_in_pattern(const struct ps_secret_rule *rule)
{
	for (uint32_t i = 0; i < rule->keyword_count; i++)
		if (strcasestr(rule->pattern, rule->keywords[i]) && !is_mark(rule->keywords[i]))
			return true;
	return false;
}

/*
 * The engine that a rule needs at least, and how wide its matches are. What is
 * only a number of so many digits, with words near by that tell what it is, is
 * looked for where these words are: there are far fewer of them.
 */
static void find_engine(struct secret_rule *rule)
{
	hs_expr_info_t *info = NULL;
	hs_compile_error_t *error = NULL;
	unsigned flags = 0;

	rule->engine = PS_ENGINE_EXACT;
	rule->width = PS_SECRET_WINDOW;
	if (hs_expression_info(rule->pub.pattern, 0, &info, &error) != HS_SUCCESS) {
		hs_free_compile_error(error);
		flags = HS_FLAG_PREFILTER;
		rule->engine = PS_ENGINE_PREFILTER;
		if (hs_expression_info(rule->pub.pattern, flags, &info, &error) != HS_SUCCESS) {
			hs_free_compile_error(error);
			rule->engine = PS_ENGINE_KEYWORD;
			return;
		}
	}
	/* A wider pattern may leave out what limits the width. */
	if (flags == 0 && info->max_width < rule->width)
		rule->width = info->max_width;
	free(info);
	if (rule->pub.keyword_count > 0 && !is_keyword_in_pattern(&rule->pub))
		rule->engine = PS_ENGINE_KEYWORD;
}

/* The next engine for a rule whose pattern is too much for this one. False: there is none. */
static bool lower_engine(struct secret_rule *rule, const char *why, char *error)
{
	if (rule->engine == PS_ENGINE_EXACT) {
		rule->engine = PS_ENGINE_PREFILTER;
		return true;
	}
	if (rule->engine == PS_ENGINE_PREFILTER && rule->pub.keyword_count > 0) {
		rule->engine = PS_ENGINE_KEYWORD;
		return true;
	}
	snprintf(error, PS_SECRET_ERROR_MAX, "%s: Hyperscan cannot take the pattern (%s): give the rule keywords",
		 rule->pub.id, why);
	return false;
}

static bool compile_database(struct ps_secrets *secrets, struct expressions *list, char *error)
{
	hs_compile_error_t *failure = NULL;

	for (;;) {
		bool goes_on;

		fill_expressions(secrets, list);
		if (list->count == 0)
			add_expression(list, "\\x00\\x00never\\x00\\x00", 0, 0); /* there must be one */
		if (hs_compile_multi(list->texts, list->flags, list->ids, list->count, HS_MODE_STREAM, NULL,
				     &secrets->database, &failure) == HS_SUCCESS)
			return true;
		if (failure->expression < 0) {
			snprintf(error, PS_SECRET_ERROR_MAX, "Hyperscan: %s", failure->message);
			hs_free_compile_error(failure);
			return false;
		}
		goes_on = lower_engine(&secrets->rules[list->ids[failure->expression]], failure->message, error);
		hs_free_compile_error(failure);
		if (!goes_on)
			return false;
	}
}

static bool validate(struct ps_secrets *secrets, char *error)
{
	for (uint32_t i = 0; i < secrets->allow_count; i++)
		for (uint32_t p = 0; p < secrets->allows[i].pattern_count; p++)
			if (!pattern_is_valid(secrets, "allowlist", secrets->allows[i].patterns[p].text, error))
				return false;
	for (uint32_t i = 0; i < secrets->rule_count; i++) {
		struct secret_rule *rule = &secrets->rules[i];

		if (!pattern_is_valid(secrets, rule->pub.id, rule->pub.pattern, error))
			return false;
		for (uint32_t a = 0; a < rule->pub.allow_count; a++)
			for (uint32_t p = 0; p < rule->allows[a].pattern_count; p++)
				if (!pattern_is_valid(secrets, rule->pub.id, rule->allows[a].patterns[p].text, error))
					return false;
	}
	return true;
}

static bool compile(struct ps_secrets *secrets, char *error)
{
	struct expressions list;
	bool is_done;

	if (!validate(secrets, error))
		return false;
	for (uint32_t i = 0; i < secrets->rule_count; i++) {
		find_engine(&secrets->rules[i]);
		if (secrets->rules[i].engine == PS_ENGINE_KEYWORD && secrets->rules[i].pub.keyword_count == 0)
			return lower_engine(&secrets->rules[i], "unsupported", error);
	}
	is_done = new_expressions(secrets, &list) && compile_database(secrets, &list, error);
	free_expressions(&list);
	return is_done;
}

/* --- the image ----------------------------------------------------------- */

struct image_head {
	char magic[8];
	uint64_t config_hash;
	uint64_t platform_hash;
	uint64_t database_len;
	uint32_t rule_count;
	uint32_t checksum; /* CRC-32 of all behind the head */
};

struct image_rule {
	uint32_t engine;
	uint32_t width;
};

static const char image_magic[8] = "pssecr2";

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
	return hash;
}

const char *ps_secrets_platform(void)
{
	static char text[128];
	hs_platform_info_t platform = {0};

	if (hs_populate_platform(&platform) != HS_SUCCESS)
		return "unknown";
	snprintf(text, sizeof(text), "hyperscan %s tune %u features %llx", hs_version(), platform.tune,
		 (unsigned long long)platform.cpu_features);
	return text;
}

/* Of what the image depends on: patterns and keywords. */
static uint64_t config_hash(const struct ps_secrets *secrets)
{
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (uint32_t i = 0; i < secrets->rule_count; i++) {
		const struct ps_secret_rule *rule = &secrets->rules[i].pub;

		hash = hash_bytes(hash, rule->pattern, text_size(rule->pattern));
		hash = hash_bytes(hash, &rule->keyword_count, sizeof(rule->keyword_count));
		for (uint32_t k = 0; k < rule->keyword_count; k++)
			hash = hash_bytes(hash, rule->keywords[k], text_size(rule->keywords[k]));
	}
	return hash;
}

static uint32_t checksum(const char *data, size_t len)
{
	return (uint32_t)crc32(0, (const unsigned char *)data, (unsigned)len);
}

static struct image_head image_head(const struct ps_secrets *secrets)
{
	struct image_head head = {.rule_count = secrets->rule_count, .config_hash = config_hash(secrets)};
	const char *platform = ps_secrets_platform();

	memcpy(head.magic, image_magic, sizeof(head.magic));
	head.platform_hash = hash_bytes(0xcbf29ce484222325ULL, platform, strlen(platform));
	return head;
}

static bool use_image(struct ps_secrets *secrets, struct ps_slice image)
{
	struct image_head head, wanted = image_head(secrets);
	size_t rules_len = secrets->rule_count * sizeof(struct image_rule);

	if (image.len < sizeof(head) + rules_len)
		return false;
	memcpy(&head, image.data, sizeof(head));
	wanted.database_len = head.database_len;
	wanted.checksum = checksum(image.data + sizeof(head), image.len - sizeof(head));
	if (memcmp(&head, &wanted, sizeof(head)) != 0 || head.database_len != image.len - sizeof(head) - rules_len)
		return false;
	for (uint32_t i = 0; i < secrets->rule_count; i++) {
		struct image_rule rule;

		memcpy(&rule, image.data + sizeof(head) + i * sizeof(rule), sizeof(rule));
		if (rule.engine > PS_ENGINE_KEYWORD || rule.width > PS_SECRET_WINDOW)
			return false;
		secrets->rules[i].engine = rule.engine;
		secrets->rules[i].width = rule.width;
	}
	return hs_deserialize_database(image.data + sizeof(head) + rules_len, head.database_len, &secrets->database) ==
	       HS_SUCCESS;
}

struct ps_slice ps_secrets_image(struct ps_secrets *secrets)
{
	struct image_head head = image_head(secrets);
	size_t rules_len = secrets->rule_count * sizeof(struct image_rule), database_len;
	char *database, *at;

	if (!secrets->image && hs_serialize_database(secrets->database, &database, &database_len) == HS_SUCCESS) {
		head.database_len = database_len;
		secrets->image_len = sizeof(head) + rules_len + database_len;
		secrets->image = at = malloc(secrets->image_len);
		if (at) {
			at += sizeof(head);
			for (uint32_t i = 0; i < secrets->rule_count; i++, at += sizeof(struct image_rule))
				memcpy(at, &(struct image_rule){secrets->rules[i].engine, secrets->rules[i].width},
				       sizeof(struct image_rule));
			memcpy(at, database, database_len);
			head.checksum = checksum(secrets->image + sizeof(head), secrets->image_len - sizeof(head));
			memcpy(secrets->image, &head, sizeof(head));
		}
		free(database);
	}
	return (struct ps_slice){secrets->image, secrets->image ? secrets->image_len : 0};
}

bool ps_secrets_is_cached(const struct ps_secrets *secrets)
{
	return secrets->is_cached;
}

uint32_t ps_secrets_engine(const struct ps_secrets *secrets, uint32_t rule)
{
	return secrets->rules[rule].engine;
}

/* --- the whole ----------------------------------------------------------- */

static bool prepare_matching(struct ps_secrets *secrets)
{
	secrets->compile_context = pcre2_compile_context_create(NULL);
	secrets->match_context = pcre2_match_context_create(NULL);
	secrets->match_data = pcre2_match_data_create(GROUPS_MAX, NULL);
	secrets->jit_stack = pcre2_jit_stack_create(JIT_STACK_FIRST, JIT_STACK_MAX, NULL);
	if (!secrets->compile_context || !secrets->match_context || !secrets->match_data)
		return false;
	pcre2_set_newline(secrets->compile_context, PCRE2_NEWLINE_LF);
	pcre2_set_match_limit(secrets->match_context, MATCH_LIMIT);
	if (secrets->jit_stack)
		pcre2_jit_stack_assign(secrets->match_context, NULL, secrets->jit_stack);
	return true;
}

struct ps_secrets *ps_secrets_new(const struct ps_secret_config *config, struct ps_slice image, char *error)
{
	struct ps_secrets *secrets = calloc(1, sizeof(*secrets));

	snprintf(error, PS_SECRET_ERROR_MAX, "out of memory");
	if (secrets)
		secrets->users = 1;
	if (!secrets || !copy_config(secrets, config) || !prepare_matching(secrets))
		goto failed;
	if (hs_valid_platform() != HS_SUCCESS) {
		snprintf(
		    error, PS_SECRET_ERROR_MAX,
		    "secrets cannot be looked for: Hyperscan needs a CPU with SSSE3 (--show-secrets does without)");
		goto failed;
	}
	secrets->is_cached = image.len > 0 && use_image(secrets, image);
	if (!secrets->is_cached && !compile(secrets, error))
		goto failed;
	if (hs_alloc_scratch(secrets->database, &secrets->scratch) != HS_SUCCESS)
		goto failed;
	return secrets;
failed:
	ps_secrets_free(secrets);
	return NULL;
}

static void free_allows(struct secret_allow *allows, uint32_t count)
{
	for (uint32_t i = 0; allows && i < count; i++) {
		for (uint32_t p = 0; p < allows[i].pattern_count; p++)
			pcre2_code_free(allows[i].patterns[p].code);
		free(allows[i].patterns);
		free(allows[i].stopwords.words);
	}
	free(allows);
}

void ps_secrets_free(struct ps_secrets *secrets)
{
	if (!secrets || --secrets->users > 0)
		return;
	for (uint32_t i = 0; secrets->rules && i <= secrets->rule_count; i++) { /* the last may be half made */
		struct secret_rule *rule = &secrets->rules[i];

		pcre2_code_free(rule->pattern.code);
		pcre2_code_free(rule->core.code);
		free_allows(rule->allows, rule->pub.allow_count);
		free(rule->pub.keywords);
	}
	free_allows(secrets->allows, secrets->allow_count);
	hs_free_scratch(secrets->scratch);
	hs_free_database(secrets->database);
	pcre2_match_data_free(secrets->match_data);
	pcre2_match_context_free(secrets->match_context);
	pcre2_compile_context_free(secrets->compile_context);
	pcre2_jit_stack_free(secrets->jit_stack);
	free(secrets->rules);
	free(secrets->memory);
	free(secrets->image);
	free(secrets);
}
