/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text in pieces in, matches out. Hyperscan tells of each rule where matches
 * end; PCRE2 then looks for the match itself, in the text around that place.
 * That happens when as much of the text is there as such a match can need, so
 * that nothing depends on where pieces end. Encoded text within the text is
 * found by its alphabet, decoded and scanned as a text of its own.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "secret_decode.h"
#include "secret_rules.h"
#include "secret_value.h"

enum {
	CHUNK_BYTES = 16384, /* scanned at once, from a multiple of it on: so nothing depends on where pieces end */
	CONTEXT = PS_SECRET_CONTEXT_MAX,
	AHEAD = PS_SECRET_WINDOW + CONTEXT, /* behind a candidate, before it is looked at */
	LOOK_BEHIND = 64,                   /* bytes before the first place where a match may begin */
	KEEP_BYTES = 2 * AHEAD + CONTEXT + LOOK_BEHIND + CHUNK_BYTES,
	PIECE_BYTES =
	    2 * PS_SECRET_WINDOW, /* of encoded text that is decoded at once; of more, pieces overlap by half */
	FORM_VALUE_MAX = 64,      /* between "=" and the first "+" of a value */
	BASE64_MIN = 20,          /* characters */
	BASE64_PROBE = 24,        /* whose decoded bytes must be ASCII text */
	NEAR_BYTES = 256,         /* before a candidate that are searched first */
	NEAR_FACTOR = 8,          /* and then so many times as many */
	ENDS_MAX = 16384,         /* candidates of one chunk */
	ARENA_MAX = 1024 * 1024,  /* of secrets of one text */
	NESTED_FACTOR = 3         /* so many times what is decoded at the first level may be decoded within it */
};

/* A rule's pattern ends at each of these offsets. */
struct ends {
	uint32_t rule;
	uint32_t pad;
	uint64_t first;
	uint64_t last;
};

/* How far the text was looked through for one encoding. */
struct run {
	uint64_t at;      /* what is encoded so before is done */
	uint64_t done;    /* the end of what was decoded last */
	bool goes_on;     /* at is within a run that is longer than one piece */
	uint64_t seen;    /* how far these were looked for */
	uint64_t next[2]; /* of two bytes that are looked for, where the next one is; before at: not known */
};

/* Text of one level: as given, or decoded from that of the level above. */
struct level {
	hs_stream_t *stream;
	const char *data; /* of text[base, end) */
	uint64_t base;
	uint64_t end;
	bool is_over;      /* nothing comes behind end */
	bool is_dirty;     /* its Hyperscan stream has seen something */
	bool is_failed;    /* memory was short: nothing more is scanned */
	uint32_t scope;    /* 0: any */
	uint64_t *resumes; /* by rule: matches that begin before are known, or known not to be there */
	struct ends *ends;
	uint32_t end_count;
	uint32_t end_cap;
	struct run base64;
	struct run percent;
	struct run escapes;
	struct ps_secret_match *matches;
	uint32_t match_count;
	uint32_t match_cap;
	bool is_dropped;
	char *arena; /* secrets of matches */
	size_t arena_len;
	size_t arena_cap;
	char *decoded; /* of this level, what the next one reads */
	uint32_t *origins;
};

struct ps_secret_stream {
	struct ps_secrets *secrets;
	struct level levels[PS_SECRET_DEPTH_MAX + 1];
	char *buffer; /* what is kept of a text in pieces */
	size_t buffer_cap;
	uint64_t budget; /* bytes that may yet be decoded below the first level */
	struct ps_secret_stats stats;
};

struct ps_secret_stream *ps_secret_stream_new(const struct ps_secrets *secrets)
{
	struct ps_secret_stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->secrets = (struct ps_secrets *)secrets;
	stream->secrets->users++;
	return stream;
}

void ps_secret_stream_free(struct ps_secret_stream *stream)
{
	if (!stream)
		return;
	for (int i = 0; i <= PS_SECRET_DEPTH_MAX; i++) {
		struct level *level = &stream->levels[i];

		if (level->stream)
			hs_close_stream(level->stream, stream->secrets->scratch, NULL, NULL);
		free(level->resumes);
		free(level->ends);
		free(level->matches);
		free(level->arena);
		free(level->decoded);
		free(level->origins);
	}
	free(stream->buffer);
	ps_secrets_free(stream->secrets);
	free(stream);
}

struct ps_secret_stats ps_secret_stream_stats(const struct ps_secret_stream *stream)
{
	return stream->stats;
}

/* --- matches ------------------------------------------------------------- */

/* Room for one more element of a list. */
static bool grow(void **list, uint32_t count, uint32_t *cap, size_t size)
{
	uint32_t wanted = *cap ? *cap * 2 : 16;
	void *grown;

	if (count < *cap)
		return true;
	grown = realloc(*list, wanted * size);
	if (!grown)
		return false;
	*list = grown;
	*cap = wanted;
	return true;
}

/* The arena becomes `grown`, which is larger; secrets follow. */
static void move_secrets(struct level *level, char *grown)
{
	if (level->arena_len > 0)
		memcpy(grown, level->arena, level->arena_len);
	for (uint32_t i = 0; i < level->match_count; i++)
		level->matches[i].secret.data = grown + (level->matches[i].secret.data - level->arena);
	free(level->arena);
	level->arena = grown;
}

/* A copy of a secret in the arena. False when it is full. */
static bool keep_secret(struct level *level, const char *data, size_t len, struct ps_slice *kept)
{
	size_t need = level->arena_len + len, cap = level->arena_cap ? level->arena_cap : 1024;

	if (need > ARENA_MAX)
		return false;
	while (cap < need)
		cap *= 2;
	if (cap > level->arena_cap) {
		char *grown = malloc(cap);

		if (!grown)
			return false;
		move_secrets(level, grown);
		level->arena_cap = cap;
	}
	memcpy(level->arena + level->arena_len, data, len);
	*kept = (struct ps_slice){.data = level->arena + level->arena_len, .len = len};
	level->arena_len = need;
	return true;
}

static void add_match(struct level *level, struct ps_secret_match match)
{
	if (level->match_count == PS_SECRET_MATCHES_MAX ||
	    !grow((void **)&level->matches, level->match_count, &level->match_cap, sizeof(*level->matches)) ||
	    !keep_secret(level, match.secret.data, match.secret.len, &match.secret)) {
		level->is_dropped = true;
		return;
	}
	level->matches[level->match_count++] = match;
}

/* Which of two matches that have bytes in common stays: negative, the first one does. */
static int compare_rank(const struct ps_secrets *secrets, const struct ps_secret_match *a,
			const struct ps_secret_match *b)
{
	int32_t one = secrets->rules[a->rule].pub.priority, other = secrets->rules[b->rule].pub.priority;

	if (one != other)
		return one > other ? -1 : 1;
	if (a->end - a->begin != b->end - b->begin)
		return a->end - a->begin > b->end - b->begin ? -1 : 1;
	if (a->rule != b->rule)
		return a->rule < b->rule ? -1 : 1;
	if (a->begin != b->begin)
		return a->begin < b->begin ? -1 : 1;
	return memcmp(a->encodings, b->encodings, sizeof(a->encodings));
}

static int by_rank(const void *a, const void *b, void *secrets)
{
	return compare_rank(secrets, a, b);
}

/* The place of a match in a list without overlaps that is sorted by begin; -1: it has a byte in common with one. */
static int64_t place_of(const struct ps_secret_match *list, uint32_t count, const struct ps_secret_match *match)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (list[middle].begin < match->begin)
			low = middle + 1;
		else
			high = middle;
	}
	if ((low < count && list[low].begin < match->end) || (low > 0 && list[low - 1].end > match->begin))
		return -1;
	return low;
}

/* Of overlapping matches the first in rank stays; then they are in order. */
static void resolve(const struct ps_secrets *secrets, struct level *level)
{
	struct ps_secret_match *list = level->matches;
	uint32_t count = 0;

	if (level->match_count > 1)
		qsort_r(list, level->match_count, sizeof(*list), by_rank, (void *)secrets);
	for (uint32_t i = 0; i < level->match_count; i++) {
		struct ps_secret_match match = list[i];
		int64_t place = place_of(list, count, &match);

		if (place < 0)
			continue;
		memmove(list + place + 1, list + place, (count - (size_t)place) * sizeof(*list));
		list[place] = match;
		count++;
	}
	level->match_count = count;
}

/* --- the exact stage ------------------------------------------------------ */

/* What PCRE2 has found, as offsets in the text of the level. */
struct found {
	uint64_t begin, end;
	uint64_t secret_begin, secret_end;
};

static const char *at(const struct level *level, uint64_t offset)
{
	return level->data + (offset - level->base);
}

/* A part of the text, as far as it is there. */
static struct ps_slice part(const struct level *level, uint64_t begin, uint64_t end)
{
	if (begin < level->base)
		begin = level->base;
	if (end > level->end)
		end = level->end;
	return (struct ps_slice){at(level, begin), (size_t)(end - begin)};
}

static struct ps_slice context_of(const struct level *level, const struct found *found)
{
	uint64_t begin = found->begin > CONTEXT ? found->begin - CONTEXT : 0;

	return part(level, begin, found->end + CONTEXT);
}

static struct ps_slice line_of(const struct level *level, const struct found *found)
{
	struct ps_slice context = context_of(level, found);
	const char *begin = at(level, found->begin), *end = at(level, found->end);
	const char *stop = context.data + context.len;
	const char *newline = memrchr(context.data, '\n', (size_t)(begin - context.data));

	if (newline)
		context.data = newline + 1;
	newline = memchr(end, '\n', (size_t)(stop - end));
	context.len = (size_t)((newline ? newline : stop) - context.data);
	return context;
}

/* Whether the word, in lower case, is in the text, whatever the case there. */
static bool has_word(struct ps_slice text, const char *word)
{
	size_t len = strlen(word);

	for (size_t i = 0; i + len <= text.len; i++)
		if (tolower((unsigned char)text.data[i]) == (unsigned char)word[0] &&
		    strncasecmp(text.data + i, word, len) == 0)
			return true;
	return false;
}

static bool has_keyword(const struct level *level, const struct ps_secret_rule *rule, const struct found *found)
{
	struct ps_slice match = part(level, found->begin, found->end), context = context_of(level, found);

	if (rule->keyword_count == 0)
		return true;
	for (uint32_t i = 0; i < rule->keyword_count; i++)
		if (has_word(match, rule->keywords[i]))
			return true;
	for (uint32_t i = 0; i < rule->keyword_count; i++)
		if (has_word(context, rule->keywords[i]))
			return true;
	return false;
}

static bool is_allowed_by(struct ps_secrets *secrets, struct secret_allow *allow, const struct level *level,
			  const struct found *found)
{
	struct ps_slice secret = part(level, found->secret_begin, found->secret_end), target = secret;
	bool by_word, by_pattern = false;

	if (allow->target == PS_TARGET_MATCH)
		target = part(level, found->begin, found->end);
	if (allow->target == PS_TARGET_LINE)
		target = line_of(level, found);
	by_word = secret_words_match(&allow->stopwords, secret.data, secret.len);
	if (by_word && (!allow->is_and || allow->pattern_count == 0))
		return true;
	if (allow->is_and && allow->stopwords.count > 0 && !by_word)
		return false;
	for (uint32_t i = 0; i < allow->pattern_count && !by_pattern; i++)
		by_pattern =
		    secret_pattern_search(secrets, &allow->patterns[i], target.data, target.len, 0, target.len + 1) > 0;
	return by_pattern;
}

static bool is_allowed(struct ps_secrets *secrets, const struct secret_rule *rule, const struct level *level,
		       const struct found *found)
{
	for (uint32_t i = 0; i < rule->pub.allow_count; i++)
		if (is_allowed_by(secrets, &rule->allows[i], level, found))
			return true;
	for (uint32_t i = 0; i < secrets->allow_count; i++)
		if (is_allowed_by(secrets, &secrets->allows[i], level, found))
			return true;
	return false;
}

static bool have_decoding_room(struct level *level)
{
	if (!level->decoded)
		level->decoded = malloc(PIECE_BYTES);
	if (!level->origins)
		level->origins = malloc((PIECE_BYTES + 1) * sizeof(*level->origins));
	return level->decoded && level->origins;
}

/* The secret of a match as it is meant; how it was coded is noted. What is decoded lasts until the next call. */
static void find_value(struct level *level, uint32_t check, const struct found *found, struct ps_secret_match *match)
{
	uint64_t begin = found->begin > LOOK_BEHIND ? found->begin - LOOK_BEHIND : 0;
	struct secret_place_in_text place = {
	    .before = part(level, begin, found->secret_begin), .bytes = match->secret, .is_start = begin == 0};

	if (match->secret.len <= PIECE_BYTES && have_decoding_room(level))
		match->encodings[0] = (uint8_t)secret_value(&place, check, level->decoded, &match->secret);
}

/* All that a match must pass, the cheap first. */
static void judge(struct ps_secrets *secrets, struct level *level, uint32_t index, const struct found *found)
{
	const struct secret_rule *rule = &secrets->rules[index];
	struct ps_slice secret = part(level, found->secret_begin, found->secret_end);
	struct ps_secret_match match;

	if (secret.len == 0)
		return;
	if (rule->pub.entropy_min > 0 && ps_secret_entropy(secret.data, secret.len) < rule->pub.entropy_min)
		return;
	if (!ps_secret_check(rule->pub.check, secret.data, secret.len))
		return;
	if (!has_keyword(level, &rule->pub, found) || is_allowed(secrets, rule, level, found))
		return;
	match = (struct ps_secret_match){
	    .rule = index,
	    .begin = found->secret_begin,
	    .end = found->secret_end,
	    .match_begin = found->begin,
	    .match_end = found->end,
	    .secret = secret,
	};
	find_value(level, rule->pub.check, found, &match);
	add_match(level, match);
}

/* The secret is one group of the match, see struct ps_secret_rule. */
static struct found found_of(const struct ps_secrets *secrets, const struct ps_secret_rule *rule, int groups,
			     uint64_t subject)
{
	const size_t *offsets = pcre2_get_ovector_pointer(secrets->match_data);
	size_t group = 0;

	if (rule->secret_group > 0 && rule->secret_group < (uint32_t)groups)
		group = rule->secret_group;
	for (size_t i = 1; i < (size_t)groups && group == 0 && rule->secret_group == 0; i++)
		if (offsets[2 * i] != PCRE2_UNSET && offsets[2 * i + 1] > offsets[2 * i])
			group = i;
	if (offsets[2 * group] == PCRE2_UNSET)
		group = 0;
	return (struct found){
	    .begin = subject + offsets[0],
	    .end = subject + offsets[1],
	    .secret_begin = subject + offsets[2 * group],
	    .secret_end = subject + offsets[2 * group + 1],
	};
}

/* Where a pattern is searched for: in text, whose first byte is at `begin` of the level's. */
struct subject {
	struct ps_slice text;
	uint64_t begin;
};

/* The first match that begins in [from, end). Returns as secret_pattern_search(). */
static int search_range(struct ps_secrets *secrets, struct secret_rule *rule, const struct subject *subject,
			uint64_t from, uint64_t end)
{
	size_t start = (size_t)(from - subject->begin), stop = (size_t)(end - subject->begin), core;
	int groups;

	if (!rule->core.text)
		return secret_pattern_search(secrets, &rule->pattern, subject->text.data, subject->text.len, start,
					     stop);
	groups = secret_pattern_search(secrets, &rule->core, subject->text.data, subject->text.len, start, stop);
	if (groups <= 0)
		return groups;
	core = pcre2_get_ovector_pointer(secrets->match_data)[0];
	if (core - start > rule->lead)
		start = core - rule->lead;
	return secret_pattern_search(secrets, &rule->pattern, subject->text.data, subject->text.len, start, core + 1);
}

/*
 * The first match that begins in [from, end), near the end if there is one: of a
 * pattern without a bound most matches are short, and few begin far back.
 */
static int search_back(struct ps_secrets *secrets, struct secret_rule *rule, const struct subject *subject,
		       uint64_t from, uint64_t end)
{
	uint64_t stop = end;
	int groups = 0;

	for (uint64_t back = NEAR_BYTES; groups == 0 && stop > from; back *= NEAR_FACTOR) {
		uint64_t start = end > back && end - back > from ? end - back : from;

		groups = search_range(secrets, rule, subject, start, stop);
		stop = start;
	}
	return groups;
}

/*
 * A rule's matches that begin before `end`, where its pattern can end, and not
 * before what is known. Where one of its keywords ends they may be on both sides.
 */
static void search(struct ps_secret_stream *stream, struct level *level, uint32_t index, uint64_t end)
{
	struct ps_secrets *secrets = stream->secrets;
	struct secret_rule *rule = &secrets->rules[index];
	bool is_keyword = rule->engine == PS_ENGINE_KEYWORD;
	uint64_t back = rule->width + (is_keyword ? CONTEXT : 0), from = end > back ? end - back : 0;
	struct subject subject;

	if (is_keyword)
		end = end + CONTEXT < level->end ? end + CONTEXT : level->end;
	if (from < level->resumes[index])
		from = level->resumes[index];
	subject.begin = from > LOOK_BEHIND ? from - LOOK_BEHIND : 0;
	subject.text = part(level, subject.begin, end + rule->width);
	while (from < end) {
		int groups = is_keyword ? search_range(secrets, rule, &subject, from, end)
					: search_back(secrets, rule, &subject, from, end);
		struct found found;

		if (groups <= 0) {
			stream->stats.unsearched += groups < 0;
			from = end;
			break;
		}
		found = found_of(secrets, &rule->pub, groups, subject.begin);
		/* What ends one secret may be what another one begins behind. */
		from = found.secret_end > found.begin ? found.secret_end : found.begin + 1;
		judge(secrets, level, index, &found);
	}
	level->resumes[index] = from;
}

/* Look at the candidates for which enough of the text is there. */
static void search_ends(struct ps_secret_stream *stream, struct level *level)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < level->end_count; i++) {
		struct ends *ends = &level->ends[i];

		for (; ends->first <= ends->last; ends->first++) {
			if (!level->is_over && ends->first + AHEAD > level->end)
				break;
			if (ends->first > level->resumes[ends->rule])
				search(stream, level, ends->rule, ends->first);
		}
		if (ends->first <= ends->last)
			level->ends[kept++] = *ends;
	}
	level->end_count = kept;
}

/* --- candidates ----------------------------------------------------------- */

struct scanning {
	struct ps_secret_stream *stream;
	struct level *level;
};

/* Hyperscan tells of every end of a repeat; those in a row become one entry. */
static int on_end(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *context)
{
	struct scanning *scanning = context;
	struct level *level = scanning->level;
	const struct secret_rule *rule = &scanning->stream->secrets->rules[id];
	uint32_t back = level->end_count < 4 ? level->end_count : 4;

	(void)from;
	(void)flags;
	if (to <= level->resumes[id])
		return 0;
	if (level->scope && rule->pub.scope & ~PS_SCOPE_NO_DECODE && !(rule->pub.scope & level->scope))
		return 0;
	if (rule->pub.scope & PS_SCOPE_NO_DECODE && level != scanning->stream->levels)
		return 0;
	for (uint32_t i = 1; i <= back; i++) {
		struct ends *ends = &level->ends[level->end_count - i];

		if (ends->rule == id && (ends->last == to || ends->last + 1 == to)) {
			ends->last = to;
			return 0;
		}
	}
	if (level->end_count == ENDS_MAX ||
	    !grow((void **)&level->ends, level->end_count, &level->end_cap, sizeof(*level->ends))) {
		scanning->stream->stats.unsearched++;
		return 0;
	}
	level->ends[level->end_count++] = (struct ends){.rule = id, .first = to, .last = to};
	return 0;
}

/* --- encodings ------------------------------------------------------------ */

static void scan_level(struct ps_secret_stream *stream, int depth, const char *data, size_t len);

/* Where a decoded match begins, and where it ends, in what it was decoded from. */
struct encoded {
	uint64_t begin; /* of the encoded text, in that of its level */
	enum ps_secret_encoding encoding;
	size_t len;
	const uint32_t *origins; /* NULL: base64 */
};

static uint64_t origin_begin(const struct encoded *encoded, uint64_t offset)
{
	return encoded->begin + (encoded->origins ? encoded->origins[offset] : offset * 4 / 3);
}

static uint64_t origin_end(const struct encoded *encoded, uint64_t offset)
{
	uint64_t end = encoded->origins ? encoded->origins[offset] : (offset * 4 + 2) / 3;

	return encoded->begin + (end < encoded->len ? end : encoded->len);
}

/* What was found in decoded text, at its place in this level. */
static void take_over(struct level *level, const struct level *inner, const struct encoded *encoded)
{
	level->is_dropped |= inner->is_dropped;
	for (uint32_t i = 0; i < inner->match_count; i++) {
		struct ps_secret_match match = inner->matches[i];

		memmove(match.encodings + 1, match.encodings, sizeof(match.encodings) - 1);
		match.encodings[0] = (uint8_t)encoded->encoding;
		match.begin = origin_begin(encoded, match.begin);
		match.end = origin_end(encoded, match.end);
		match.match_begin = origin_begin(encoded, match.match_begin);
		match.match_end = origin_end(encoded, match.match_end);
		add_match(level, match);
	}
}

/* Decode text[begin, end), at most PIECE_BYTES of it, and scan that. */
static void scan_encoded(struct ps_secret_stream *stream, int depth, enum ps_secret_encoding encoding, uint64_t begin,
			 uint64_t end)
{
	struct level *level = &stream->levels[depth];
	size_t len = (size_t)(end - begin), got;
	struct encoded encoded = {.begin = begin, .encoding = encoding, .len = len, .origins = level->origins};

	if (depth == 0)
		stream->budget = NESTED_FACTOR * len;
	if (depth == PS_SECRET_DEPTH_MAX || (depth > 0 && stream->budget < len) || !have_decoding_room(level)) {
		stream->stats.undecoded_bytes += len;
		return;
	}
	if (depth > 0)
		stream->budget -= len;
	encoded.origins = level->origins;
	if (encoding == PS_ENCODING_PERCENT) {
		got = secret_unpercent(at(level, begin), len, SECRET_PLUS_BY_PLACE, level->decoded, level->origins);
	} else if (encoding == PS_ENCODING_JSON) {
		got = secret_unescape(at(level, begin), len, level->decoded, level->origins);
	} else {
		got = secret_base64(at(level, begin), len, level->decoded, PIECE_BYTES);
		encoded.origins = NULL;
	}
	stream->stats.nested_bytes += got;
	scan_level(stream, depth + 1, level->decoded, got);
	take_over(level, &stream->levels[depth + 1], &encoded);
}

/* Whether base64 begins with text: of other bytes hardly ever the first are all ASCII. */
static bool begins_text(const char *data, size_t len)
{
	char first[BASE64_PROBE * 3 / 4];
	size_t got = secret_base64(data, len < BASE64_PROBE ? len : BASE64_PROBE, first, sizeof(first));

	for (size_t i = 0; i < got; i++)
		if (((unsigned char)first[i] < 0x20 && first[i] != '\t' && first[i] != '\r' && first[i] != '\n') ||
		    (unsigned char)first[i] > 0x7e)
			return false;
	return got > 0;
}

/* A run of characters of base64: what is encoded begins with it, or behind its last slash, as in a path. */
static void scan_base64(struct ps_secret_stream *stream, int depth, uint64_t begin, uint64_t end)
{
	const struct level *level = &stream->levels[depth];
	const char *slash;

	if (!begins_text(at(level, begin), (size_t)(end - begin))) {
		slash = memrchr(at(level, begin), '/', (size_t)(end - begin));
		if (!slash)
			return;
		begin += (uint64_t)(slash + 1 - at(level, begin));
		if (end - begin < BASE64_MIN || !begins_text(slash + 1, (size_t)(end - begin)))
			return;
	}
	scan_encoded(stream, depth, PS_ENCODING_BASE64, begin, end);
}

/*
 * A run of encoded text goes from begin to end, as far as the text is there.
 * False: more is needed to know its end. *end becomes that of the piece that
 * can be decoded now, and the run's state that behind it.
 */
static bool take_piece(const struct level *level, struct run *run, uint64_t begin, uint64_t end)
{
	bool is_full = end - begin >= PIECE_BYTES - 1;

	if (end == level->end && !level->is_over && !is_full)
		return false;
	run->goes_on = is_full;
	run->at = is_full ? begin + PIECE_BYTES / 2 : end;
	run->done = end;
	return true;
}

static bool is_base64(const struct level *level, uint64_t offset)
{
	return secret_base64_alphabet[(unsigned char)*at(level, offset)] != 0;
}

/* The end of the run that goes on at `from`, as far as it is there and at most at `max`. */
static uint64_t base64_end(const struct level *level, uint64_t from, uint64_t max)
{
	if (max > level->end)
		max = level->end;
	while (from < max && is_base64(level, from))
		from++;
	return from;
}

/* The next run that is long enough begins at run->at. False: there is none so far. */
static bool find_base64(const struct level *level, struct run *run)
{
	uint64_t from = run->at;

	while (from + BASE64_MIN <= level->end) {
		uint64_t begin = from + BASE64_MIN - 1;

		/* From the back: a byte of another kind rules out all before it. */
		while (begin > from && is_base64(level, begin))
			begin--;
		if (begin == from && is_base64(level, begin)) {
			run->at = from;
			return true;
		}
		from = begin + 1;
	}
	run->at = from;
	return false;
}

static void look_for_base64(struct ps_secret_stream *stream, int depth)
{
	struct level *level = &stream->levels[depth];
	struct run *run = &level->base64;

	while (run->goes_on || find_base64(level, run)) {
		uint64_t begin = run->at, end = base64_end(level, begin, begin + PIECE_BYTES);

		if (!take_piece(level, run, begin, end))
			return;
		if (end - begin >= BASE64_MIN)
			scan_base64(stream, depth, begin, end);
	}
}

/* Bytes that end what is percent-encoded. */
static bool ends_url(unsigned char c)
{
	return c <= ' ' || c == '"' || c == '<' || c == '>' || c == '\\' || c == '`' || c == 0x7f;
}

/* Where a run can begin that has offset in it, and was not decoded before. */
static uint64_t earliest_begin(const struct run *run, uint64_t offset)
{
	uint64_t earliest = offset > PS_SECRET_WINDOW ? offset - PS_SECRET_WINDOW : 0;

	return earliest > run->done ? earliest : run->done;
}

static uint64_t url_begin(const struct level *level, const struct run *run, uint64_t offset)
{
	uint64_t earliest = earliest_begin(run, offset);

	while (offset > earliest && !ends_url((unsigned char)*at(level, offset - 1)))
		offset--;
	return offset;
}

static uint64_t url_end(const struct level *level, uint64_t from, uint64_t max)
{
	if (max > level->end)
		max = level->end;
	while (from < max && !ends_url((unsigned char)*at(level, from)))
		from++;
	return from;
}

/* The next byte at or behind run->at; level->end: there is none so far. */
static uint64_t find_byte(const struct level *level, const struct run *run, char byte)
{
	const char *found =
	    run->at < level->end ? memchr(at(level, run->at), byte, (size_t)(level->end - run->at)) : NULL;

	return found ? level->base + (uint64_t)(found - level->data) : level->end;
}

/* The next of two bytes; each is looked for only once. */
static uint64_t find_either(const struct level *level, struct run *run, const char bytes[2])
{
	for (int i = 0; i < 2; i++)
		if (run->next[i] < run->at || (run->next[i] >= run->seen && level->end > run->seen))
			run->next[i] = find_byte(level, run, bytes[i]);
	run->seen = level->end;
	return run->next[0] < run->next[1] ? run->next[0] : run->next[1];
}

/* Whether the "+" at offset is a space of a form: it is in a value, and not in base64 that stands for itself. */
static bool is_space(const struct level *level, const struct run *run, uint64_t offset)
{
	uint64_t earliest = earliest_begin(run, offset);

	if (offset > FORM_VALUE_MAX && offset - FORM_VALUE_MAX > earliest)
		earliest = offset - FORM_VALUE_MAX;
	while (offset > earliest && !ends_url((unsigned char)*at(level, offset - 1)))
		if (*at(level, --offset) == '=')
			return true;
	return false;
}

/* The next code of percent-encoding, or space of a form, is at run->at. False: there is none so far. */
static bool find_percent(const struct level *level, struct run *run)
{
	char decoded[3];

	while ((run->at = find_either(level, run, "%+")) + 3 <= level->end) {
		bool is_plus = *at(level, run->at) == '+';

		if (is_plus ? is_space(level, run, run->at)
			    : secret_unpercent(at(level, run->at), 3, SECRET_PLUS_STAYS, decoded, NULL) == 1)
			return true;
		run->at++;
	}
	return false;
}

static void look_for_percent(struct ps_secret_stream *stream, int depth)
{
	struct level *level = &stream->levels[depth];
	struct run *run = &level->percent;

	while (run->goes_on || find_percent(level, run)) {
		uint64_t begin = run->goes_on ? run->at : url_begin(level, run, run->at);
		uint64_t end = url_end(level, run->at, begin + PIECE_BYTES);

		if (!take_piece(level, run, begin, end))
			return;
		scan_encoded(stream, depth, PS_ENCODING_PERCENT, begin, end);
	}
}

/* The next backslash of an escape that JSON within a JSON string has is at run->at. False: there is none so far. */
static bool find_escape(const struct level *level, struct run *run)
{
	while ((run->at = find_byte(level, run, '\\')) + 2 <= level->end) {
		char next = *at(level, run->at + 1);

		if (next == '"' || next == '/' || next == 'u')
			return true;
		run->at += 2;
	}
	return false;
}

/* Behind the quote before offset; there is no escaped one between run->at and offset. */
static uint64_t string_begin(const struct level *level, const struct run *run, uint64_t offset)
{
	uint64_t earliest = earliest_begin(run, offset);
	const char *quote = memrchr(at(level, earliest), '"', (size_t)(offset - earliest));

	return quote ? level->base + (uint64_t)(quote + 1 - level->data) : earliest;
}

/* The quote or end of line behind from, where no escape is under way. */
static uint64_t string_end(const struct level *level, uint64_t from, uint64_t max)
{
	while (from < max && from < level->end) {
		char c = *at(level, from);

		if (c == '"' || c == '\n')
			return from;
		if (c == '\\' && from + 1 >= level->end)
			return level->end;
		if (c == '\\' && from + 1 >= max)
			return from;
		from += c == '\\' ? 2 : 1;
	}
	return from;
}

static void look_for_escapes(struct ps_secret_stream *stream, int depth)
{
	struct level *level = &stream->levels[depth];
	struct run *run = &level->escapes;

	while (run->goes_on || find_escape(level, run)) {
		uint64_t begin = run->goes_on ? run->at : string_begin(level, run, run->at);
		uint64_t end = string_end(level, run->goes_on ? run->done : run->at, begin + PIECE_BYTES);

		if (!take_piece(level, run, begin, end))
			return;
		scan_encoded(stream, depth, PS_ENCODING_JSON, begin, end);
	}
}

/* --- texts ---------------------------------------------------------------- */

/* All that is there of the text up to level->end, where it was up to `before`. */
static void scan_more(struct ps_secret_stream *stream, int depth, uint64_t before)
{
	struct level *level = &stream->levels[depth];
	struct scanning scanning = {.stream = stream, .level = level};

	if (level->end > before)
		hs_scan_stream(level->stream, at(level, before), (unsigned)(level->end - before), 0,
			       stream->secrets->scratch, on_end, &scanning);
	level->is_dirty = !level->is_over;
	if (level->is_over) /* matches that end with the text */
		hs_reset_stream(level->stream, 0, stream->secrets->scratch, on_end, &scanning);
	search_ends(stream, level);
	look_for_base64(stream, depth);
	look_for_percent(stream, depth);
	look_for_escapes(stream, depth);
}

/* A text begins. False when memory is short. */
static bool begin_level(struct ps_secret_stream *stream, int depth)
{
	struct level *level = &stream->levels[depth];
	size_t rules = stream->secrets->rule_count + 1;

	if (!level->resumes)
		level->resumes = malloc(rules * sizeof(*level->resumes));
	if (!level->stream && hs_open_stream(stream->secrets->database, 0, &level->stream) != HS_SUCCESS)
		level->stream = NULL;
	level->base = level->end = 0;
	level->end_count = level->match_count = 0;
	level->arena_len = 0;
	level->base64 = level->percent = level->escapes = (struct run){.at = 0};
	level->is_over = false;
	level->is_failed = level->is_dropped = !level->resumes || !level->stream;
	if (level->is_failed)
		return false;
	if (level->is_dirty)
		hs_reset_stream(level->stream, 0, stream->secrets->scratch, NULL, NULL);
	level->is_dirty = false;
	memset(level->resumes, 0, rules * sizeof(*level->resumes));
	return true;
}

/* A text that is there as a whole. */
static void scan_level(struct ps_secret_stream *stream, int depth, const char *data, size_t len)
{
	struct level *level = &stream->levels[depth];

	if (!begin_level(stream, depth))
		return;
	level->scope = stream->levels[0].scope;
	level->data = data;
	do {
		uint64_t before = level->end;

		level->end = len - before > CHUNK_BYTES ? before + CHUNK_BYTES : len;
		level->is_over = level->end == len;
		scan_more(stream, depth, before);
	} while (level->end < len);
	resolve(stream->secrets, level);
}

static struct ps_secret_matches matches_of(const struct level *level)
{
	return (struct ps_secret_matches){
	    .list = level->matches,
	    .count = level->match_count,
	    .dropped = level->is_dropped,
	};
}

struct ps_secret_matches ps_secrets_scan(struct ps_secret_stream *stream, uint32_t scope, const char *data, size_t len)
{
	stream->levels[0].scope = scope;
	stream->stats.bytes += len;
	scan_level(stream, 0, data, len);
	return matches_of(&stream->levels[0]);
}

void ps_secret_stream_begin(struct ps_secret_stream *stream, uint32_t scope)
{
	begin_level(stream, 0);
	stream->levels[0].scope = scope;
}

/* Room for len bytes behind those that are there, of which only what may yet be looked at stays. */
static bool make_room(struct ps_secret_stream *stream, size_t len)
{
	struct level *level = &stream->levels[0];
	size_t held = (size_t)(level->end - level->base), cap = stream->buffer_cap ? stream->buffer_cap : 4096;
	char *grown;

	if (held + len > KEEP_BYTES + CHUNK_BYTES) {
		size_t drop = held - KEEP_BYTES;

		memmove(stream->buffer, stream->buffer + drop, KEEP_BYTES);
		level->base += drop;
		held = KEEP_BYTES;
	}
	while (cap < held + len)
		cap *= 2;
	if (cap > stream->buffer_cap) {
		grown = realloc(stream->buffer, cap);
		if (!grown)
			return false;
		stream->buffer = grown;
		stream->buffer_cap = cap;
	}
	level->data = stream->buffer;
	return true;
}

void ps_secret_stream_feed(struct ps_secret_stream *stream, const char *data, size_t len)
{
	struct level *level = &stream->levels[0];

	stream->stats.bytes += len;
	while (len > 0 && !level->is_failed) {
		size_t piece = CHUNK_BYTES - level->end % CHUNK_BYTES;

		if (piece > len)
			piece = len;
		if (!make_room(stream, piece)) {
			level->is_failed = level->is_dropped = true;
			return;
		}
		memcpy(stream->buffer + (level->end - level->base), data, piece);
		level->end += piece;
		if (level->end % CHUNK_BYTES == 0)
			scan_more(stream, 0, level->end - CHUNK_BYTES);
		data += piece;
		len -= piece;
	}
}

struct ps_secret_matches ps_secret_stream_end(struct ps_secret_stream *stream)
{
	struct level *level = &stream->levels[0];

	level->is_over = true;
	if (!level->is_failed)
		scan_more(stream, 0, level->end - level->end % CHUNK_BYTES);
	resolve(stream->secrets, level);
	return matches_of(level);
}
