/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions by name. .dynsym is searched through its hash table, which takes a
 * few reads for a name. .symtab has none, and is large in executables (node:
 * 10 MB with its names): one pass over its strings finds where the wanted names
 * stand, one over its symbols who has one of these positions as its name.
 */
#include "elf_names.h"

#include <stdlib.h>
#include <string.h>

enum { CHAIN_MAX = 4096 /* symbols of one hash bucket */ };

/* node has 8 MB of symbols' names. */
static const uint64_t TABLE_BYTES_MAX = 256ULL << 20;

/* A function that can have a uprobe: one whose address is that of code, not of an IFUNC's resolver. */
static bool take_function(struct ps_elf *elf, const Elf64_Sym *symbol, struct ps_elf_function *function)
{
	const Elf64_Phdr *segment;

	if (symbol->st_shndx == SHN_UNDEF || ELF64_ST_TYPE(symbol->st_info) != STT_FUNC)
		return false;
	segment = elf_segment_at(elf, symbol->st_value, PF_X);
	if (!segment)
		return false;
	*function = (struct ps_elf_function){
	    .address = symbol->st_value,
	    .offset = elf_offset_in(segment, symbol->st_value),
	    .size = symbol->st_size,
	    .found = 1,
	};
	return true;
}

/* ---- .dynsym ---- */

struct dynsym {
	struct ps_elf *elf;
	uint64_t symbols; /* addresses of the tables */
	uint64_t strings;
	uint64_t versions; /* 0: no versions */
	uint64_t gnu_hash; /* 0: none */
	uint64_t hash;     /* 0: none */
};

static bool dynsym_open(struct dynsym *d, struct ps_elf *elf)
{
	*d = (struct dynsym){.elf = elf};
	if (!elf_dynamic(elf, DT_SYMTAB, &d->symbols) || !elf_dynamic(elf, DT_STRTAB, &d->strings))
		return false;
	elf_dynamic(elf, DT_VERSYM, &d->versions);
	elf_dynamic(elf, DT_GNU_HASH, &d->gnu_hash);
	elf_dynamic(elf, DT_HASH, &d->hash);
	return d->gnu_hash || d->hash;
}

static bool has_name(const struct dynsym *d, const Elf64_Sym *symbol, const char *name)
{
	char text[ELF_NAME_BYTES_MAX];
	size_t len = strlen(name) + 1;

	return len <= sizeof(text) && elf_read_address(d->elf, d->strings + symbol->st_name, text, len) &&
	       memcmp(text, name, len) == 0;
}

/* Symbols that only programs linked against an older version of the library use are hidden. */
static bool is_default_version(const struct dynsym *d, uint32_t index)
{
	uint16_t version;

	return !d->versions ||
	       (elf_read_address(d->elf, d->versions + 2ULL * index, &version, sizeof(version)) && !(version & 0x8000));
}

/* Takes symbol index if it is the function that is wanted. Returns whether the search is over. */
static bool take_symbol(const struct dynsym *d, uint32_t index, const char *name, struct ps_elf_function *function)
{
	struct ps_elf_function candidate;
	Elf64_Sym symbol;

	if (!elf_read_address(d->elf, d->symbols + sizeof(symbol) * (uint64_t)index, &symbol, sizeof(symbol)) ||
	    !has_name(d, &symbol, name) || !take_function(d->elf, &symbol, &candidate))
		return false;
	if (is_default_version(d, index)) {
		*function = candidate;
		return true;
	}
	if (!function->found)
		*function = candidate;
	return false;
}

/* The layout of DT_GNU_HASH is that of binutils: header, Bloom filter, buckets, hashes with an end bit. */
static void search_gnu_hash(const struct dynsym *d, const char *name, struct ps_elf_function *function)
{
	struct {
		uint32_t bucket_count, first_symbol, bloom_words, bloom_shift;
	} header;
	uint32_t wanted = 5381, index, hash;
	uint64_t bloom, buckets, word;

	for (const char *c = name; *c; c++)
		wanted = wanted * 33 + (uint8_t)*c;
	if (!elf_read_address(d->elf, d->gnu_hash, &header, sizeof(header)) || header.bucket_count == 0 ||
	    header.bloom_words == 0)
		return;
	bloom = d->gnu_hash + sizeof(header);
	buckets = bloom + 8ULL * header.bloom_words;
	if (!elf_read_address(d->elf, bloom + 8ULL * (wanted / 64 % header.bloom_words), &word, sizeof(word)) ||
	    !(word >> (wanted % 64) & word >> ((wanted >> (header.bloom_shift & 31)) % 64) & 1))
		return;
	if (!elf_read_address(d->elf, buckets + 4ULL * (wanted % header.bucket_count), &index, sizeof(index)) ||
	    index < header.first_symbol)
		return;
	for (uint32_t i = 0; i < CHAIN_MAX; i++, index++) {
		uint64_t at = buckets + 4ULL * header.bucket_count + 4ULL * (index - header.first_symbol);

		if (!elf_read_address(d->elf, at, &hash, sizeof(hash)))
			return;
		if ((hash | 1) == (wanted | 1) && take_symbol(d, index, name, function))
			return;
		if (hash & 1)
			return;
	}
}

/* gABI, "Hash Table" */
static uint32_t hash_of(const char *name)
{
	uint32_t hash = 0;

	for (; *name; name++) {
		hash = (hash << 4) + (uint8_t)*name;
		hash ^= (hash & 0xf0000000) >> 24;
		hash &= 0x0fffffff;
	}
	return hash;
}

static void search_hash(const struct dynsym *d, const char *name, struct ps_elf_function *function)
{
	uint32_t counts[2]; /* of buckets, of chains */
	uint32_t index;
	uint64_t chains;

	if (!elf_read_address(d->elf, d->hash, counts, sizeof(counts)) || counts[0] == 0)
		return;
	if (!elf_read_address(d->elf, d->hash + 8 + 4ULL * (hash_of(name) % counts[0]), &index, sizeof(index)))
		return;
	chains = d->hash + 8 + 4ULL * counts[0];
	for (uint32_t i = 0; index != STN_UNDEF && i < CHAIN_MAX; i++) {
		if (take_symbol(d, index, name, function) ||
		    !elf_read_address(d->elf, chains + 4ULL * index, &index, sizeof(index)))
			return;
	}
}

/* ---- .symtab ---- */

struct search {
	struct ps_elf *elf;
	struct elf_names *names;
	struct ps_elf_function *found;
	bool ambiguous[PS_ELF_NAMES_MAX]; /* several static functions have the name */
	bool global[PS_ELF_NAMES_MAX];    /* the one that was found is not static */
};

static void take_match(struct search *s, const Elf64_Sym *symbol, int i)
{
	bool global = ELF64_ST_BIND(symbol->st_info) != STB_LOCAL;
	struct ps_elf_function function;

	if ((s->global[i] && !global) || !take_function(s->elf, symbol, &function))
		return;
	if (!global && s->found[i].found && s->found[i].address != function.address)
		s->ambiguous[i] = true;
	if (global)
		s->ambiguous[i] = false;
	s->global[i] = global;
	s->found[i] = function;
}

static void find_symbols(struct search *s, const Elf64_Shdr *table)
{
	struct elf_window window;
	uint64_t end = table->sh_offset + table->sh_size / sizeof(Elf64_Sym) * sizeof(Elf64_Sym);
	size_t step = ELF_WINDOW_BYTES / sizeof(Elf64_Sym) * sizeof(Elf64_Sym), len;

	if (!elf_window_open(&window, s->elf, table->sh_offset, table->sh_size))
		return;
	for (uint64_t at = table->sh_offset; at < end; at += len) {
		const uint8_t *piece;

		len = end - at < step ? (size_t)(end - at) : step;
		piece = elf_window_get(&window, at, len);
		for (size_t i = 0; piece && i < len; i += sizeof(Elf64_Sym)) {
			Elf64_Sym symbol;
			int name;

			memcpy(&symbol, piece + i, sizeof(symbol));
			name = elf_names_at(s->names, symbol.st_name);
			if (name >= 0)
				take_match(s, &symbol, name);
		}
		if (!piece)
			break;
	}
	elf_window_close(&window);
}

/* Searches .symtab, if there is one, for those of names that are not found yet. */
static void search_symtab(struct search *s, const char *const *names, uint32_t count)
{
	const Elf64_Shdr *table = elf_section_of_type(s->elf, SHT_SYMTAB), *strings;

	strings = table ? elf_usable_section(s->elf, table->sh_link) : NULL;
	if (!strings || table->sh_entsize != sizeof(Elf64_Sym) || strings->sh_size > TABLE_BYTES_MAX ||
	    table->sh_size > TABLE_BYTES_MAX)
		return;
	s->names = elf_names_new(names);
	if (!s->names)
		return;
	for (uint32_t i = 0; i < count; i++) {
		if (!s->found[i].found)
			elf_names_want(s->names, i);
	}
	elf_names_search(s->names, s->elf, strings->sh_offset, strings->sh_size);
	if (s->names->position_count > 0)
		find_symbols(s, table);
	free(s->names);
	for (uint32_t i = 0; i < count; i++) {
		if (s->ambiguous[i])
			s->found[i] = (struct ps_elf_function){.found = 0};
	}
}

void ps_elf_functions(struct ps_elf *elf, const char *const *names, uint32_t count, struct ps_elf_function *found)
{
	struct search search = {.elf = elf, .found = found};
	struct dynsym dynsym;

	memset(found, 0, count * sizeof(*found));
	if (count > PS_ELF_NAMES_MAX)
		return;
	if (dynsym_open(&dynsym, elf)) {
		for (uint32_t i = 0; i < count; i++) {
			if (dynsym.gnu_hash)
				search_gnu_hash(&dynsym, names[i], &found[i]);
			else
				search_hash(&dynsym, names[i], &found[i]);
		}
	}
	search_symtab(&search, names, count);
}
