/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that Go has built. The runtime needs to know where its functions are
 * (runtime.pclntab), so a stripped program tells, too. The layouts are those of
 * Go 1.16, 1.18 and 1.20 (src/runtime/symtab.go, src/debug/gosym/pclntab.go,
 * src/debug/buildinfo/buildinfo.go).
 */
#include "elf_names.h"

#include <stdlib.h>
#include <string.h>

enum {
	BUILD_INFO_BYTES = 32, /* its header */
	BUILD_INFO_INLINE = 2, /* flag: strings follow the header, from Go 1.18 on */
	PCLNTAB_WORDS = 8,     /* of its header, behind the first 8 bytes */
	FUNCTIONS_MAX = 1 << 22,
};

/* What a header that has no section to name it is searched in. */
static const uint64_t SEARCH_BYTES_MAX = 512ULL * 1024 * 1024;

/* Looks at a place where the bytes that were searched for stand; true: this is it. */
typedef bool look_at(struct ps_elf *elf, uint64_t offset, void *result);

struct pattern {
	const void *bytes;
	size_t len;
	look_at *look;
	void *result;
};

static bool search_segment(struct ps_elf *elf, uint64_t offset, uint64_t size, const struct pattern *p)
{
	struct elf_window window;
	bool found = false;

	if (!elf_window_open(&window, elf, offset, size))
		return false;
	for (uint64_t at = offset; !found;) {
		size_t len = elf_window_can(&window, at, ELF_WINDOW_BYTES);
		const uint8_t *piece = len >= p->len ? elf_window_get(&window, at, len) : NULL;
		const uint8_t *hit = piece;

		if (!piece)
			break;
		while (!found && (hit = memmem(hit, (size_t)(piece + len - hit), p->bytes, p->len)) != NULL) {
			found = p->look(elf, at + (uint64_t)(hit - piece), p->result);
			hit++;
		}
		at += len - (p->len - 1);
	}
	elf_window_close(&window);
	return found;
}

static bool search_data(struct ps_elf *elf, const struct pattern *pattern)
{
	uint64_t budget = SEARCH_BYTES_MAX;

	for (uint32_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *s = &elf->segments[i];
		uint64_t size = s->p_filesz < budget ? s->p_filesz : budget;

		if (s->p_type != PT_LOAD || (s->p_flags & PF_X))
			continue;
		if (search_segment(elf, s->p_offset, size, pattern))
			return true;
		budget -= size;
	}
	return false;
}

/* Address of an offset in the file; 0: it is not loaded. */
static uint64_t address_of(struct ps_elf *elf, uint64_t offset)
{
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *s = &elf->segments[i];

		if (s->p_type == PT_LOAD && offset >= s->p_offset && offset - s->p_offset < s->p_filesz)
			return offset - s->p_offset + s->p_vaddr;
	}
	return 0;
}

/* ---- build info ---- */

static const char BUILD_INFO_MAGIC[] = "\xff Go buildinf:";

/* A version as Go writes it: "go1.19.8", "devel go1.27-..." */
static bool take_version(struct ps_elf_text *version, const uint8_t *bytes, uint64_t len)
{
	if (len == 0 || len >= PS_ELF_TEXT_MAX)
		return false;
	for (uint64_t i = 0; i < len; i++) {
		if (bytes[i] < 0x20 || bytes[i] > 0x7e)
			return false;
	}
	memcpy(version->text, bytes, len);
	version->text[len] = '\0';
	return strncmp(version->text, "go1.", 4) == 0 || strncmp(version->text, "devel ", 6) == 0;
}

/* From Go 1.18 on: a length (varint), the text. */
static bool inline_version(struct ps_elf *elf, uint64_t offset, struct ps_elf_text *version)
{
	uint8_t bytes[PS_ELF_TEXT_MAX + 2];
	uint64_t len;
	size_t at = 1;

	memset(bytes, 0, sizeof(bytes));
	for (size_t room = sizeof(bytes); !elf_read(elf, offset, bytes, room); room /= 2) {
		if (room == 1)
			return false;
	}
	len = bytes[0];
	if (len & 0x80)
		len = (len & 0x7f) | (uint64_t)bytes[at++] << 7;
	return len <= sizeof(bytes) - at && take_version(version, bytes + at, len);
}

/* Before: a pointer to a pointer and a length. */
static bool pointed_version(struct ps_elf *elf, uint64_t address, struct ps_elf_text *version)
{
	uint8_t bytes[PS_ELF_TEXT_MAX];
	uint64_t string, data, len;

	return elf_read_pointer(elf, address + 16, &string) && elf_read_pointer(elf, string, &data) &&
	       elf_read_address(elf, string + 8, &len, sizeof(len)) && len < sizeof(bytes) &&
	       elf_read_address(elf, data, bytes, len) && take_version(version, bytes, len);
}

static bool look_at_build_info(struct ps_elf *elf, uint64_t offset, void *result)
{
	uint8_t header[BUILD_INFO_BYTES];

	if (offset % 16 != 0 || !elf_read(elf, offset, header, sizeof(header)) ||
	    memcmp(header, BUILD_INFO_MAGIC, sizeof(BUILD_INFO_MAGIC) - 1) != 0)
		return false;
	if (header[15] & BUILD_INFO_INLINE)
		return inline_version(elf, offset + sizeof(header), result);
	/* 8-byte pointers, little endian */
	return header[14] == 8 && header[15] == 0 && pointed_version(elf, address_of(elf, offset), result);
}

bool ps_elf_go_version(struct ps_elf *elf, struct ps_elf_text *version)
{
	const Elf64_Shdr *section = elf_section_named(elf, ".go.buildinfo");
	const struct pattern pattern = {BUILD_INFO_MAGIC, sizeof(BUILD_INFO_MAGIC) - 1, look_at_build_info, version};

	if (section)
		return look_at_build_info(elf, section->sh_offset, version);
	return elf->section_count == 0 && search_data(elf, &pattern);
}

/* ---- pclntab ---- */

enum pclntab_magic { PCLNTAB_1_16 = 0xfffffffa, PCLNTAB_1_18 = 0xfffffff0, PCLNTAB_1_20 = 0xfffffff1 };

/* What all its layouts have in common. Offsets are in the file. */
struct pclntab {
	struct ps_elf *elf;
	const Elf64_Phdr *code; /* the segment of the functions */
	uint64_t names;         /* NUL-terminated */
	uint64_t names_bytes;
	uint64_t functions;       /* sorted pairs: where a function begins, where its struct is */
	uint64_t functions_bytes; /* and of the structs behind them */
	uint64_t text;            /* what beginnings are relative to */
	uint32_t count;
	uint32_t number_bytes; /* of both numbers of a pair */
};

/* Of struct moduledata: the pointer to the header, that to the names, 17 more words and the address of the text. */
enum { MODULE_NAMES = 8, MODULE_TEXT = 22 * 8 };

struct module {
	uint64_t header; /* address of pclntab */
	uint64_t names;  /* address of its names */
	uint64_t text;
};

static bool take_module(struct ps_elf *elf, uint64_t address, struct module *module)
{
	uint64_t names;

	return elf_read_pointer(elf, address + MODULE_NAMES, &names) && names == module->names &&
	       elf_read_pointer(elf, address + MODULE_TEXT, &module->text) &&
	       elf_segment_at(elf, module->text, PF_X) != NULL;
}

static bool look_at_module(struct ps_elf *elf, uint64_t offset, void *result)
{
	return offset % 8 == 0 && take_module(elf, address_of(elf, offset), result);
}

/* By the pointer to the header that it begins with: in the file, or in a relocation. */
static bool find_module(struct ps_elf *elf, struct module *module)
{
	const struct elf_wanted_relocation wanted = {.value = module->header, .by_value = true};
	const struct pattern pattern = {&module->header, sizeof(module->header), look_at_module, module};
	Elf64_Rela relocation;

	if (elf_find_relocation(elf, &wanted, &relocation))
		return take_module(elf, relocation.r_offset, module);
	return search_data(elf, &pattern);
}

/*
 * The address that the beginnings of functions are relative to. Up to Go 1.25
 * it is in the header, where the dynamic linker puts it in position-independent
 * programs; then only the module data have it.
 */
static bool find_text(struct ps_elf *elf, uint64_t header, uint64_t names, uint64_t *text)
{
	struct module module = {.header = header, .names = names};

	if (elf_read_address(elf, header + 24, text, sizeof(*text)) && elf_segment_at(elf, *text, PF_X))
		return true;
	if (elf_read_pointer(elf, header + 24, text) && elf_segment_at(elf, *text, PF_X))
		return true;
	if (!find_module(elf, &module))
		return false;
	*text = module.text;
	return true;
}

struct pclntab_header {
	uint32_t magic;
	uint8_t zero[2], pc_quantum, pointer_bytes;
	uint64_t words[PCLNTAB_WORDS];
};

static bool is_header(const struct pclntab_header *h)
{
	return (h->magic == PCLNTAB_1_16 || h->magic == PCLNTAB_1_18 || h->magic == PCLNTAB_1_20) && h->zero[0] == 0 &&
	       h->zero[1] == 0 && h->pc_quantum == 1 && h->pointer_bytes == 8 && h->words[0] > 0 &&
	       h->words[0] <= FUNCTIONS_MAX;
}

/* The parts of the table, which ends with its segment at the latest. */
static bool take_parts(struct pclntab *t, uint64_t offset, uint64_t limit, const uint64_t *words)
{
	uint64_t names = words[0], end_of_names = words[1], functions = words[4];
	uint64_t pairs_bytes = 2ULL * t->number_bytes * t->count + t->number_bytes;

	if (names >= end_of_names || end_of_names > limit || functions > limit || limit - functions < pairs_bytes)
		return false;
	t->names = offset + names;
	t->names_bytes = end_of_names - names;
	t->functions = offset + functions;
	t->functions_bytes = limit - functions;
	return true;
}

static bool look_at_pclntab(struct ps_elf *elf, uint64_t offset, void *result)
{
	struct pclntab *t = result;
	struct pclntab_header header;
	uint64_t address = address_of(elf, offset);
	const Elf64_Phdr *segment = elf_segment_at(elf, address, 0);
	const uint64_t *parts;

	if (!segment || offset % 8 != 0 || !elf_read(elf, offset, &header, sizeof(header)) || !is_header(&header))
		return false;
	*t = (struct pclntab){.elf = elf, .count = (uint32_t)header.words[0], .number_bytes = 8};
	parts = header.words + 2;
	if (header.magic != PCLNTAB_1_16) {
		t->number_bytes = 4;
		parts++;
	}
	if (!take_parts(t, offset, segment->p_filesz - (address - segment->p_vaddr), parts))
		return false;
	return header.magic == PCLNTAB_1_16 || find_text(elf, address, address + parts[0], &t->text);
}

/* The first byte of the magic number is one of three; the others and what follows do not differ. */
static bool look_before(struct ps_elf *elf, uint64_t offset, void *result)
{
	return offset > 0 && look_at_pclntab(elf, offset - 1, result);
}

static bool find_pclntab(struct ps_elf *elf, struct pclntab *table)
{
	static const char *const names[] = {".gopclntab", ".data.rel.ro.gopclntab"};
	static const uint8_t behind_first[] = {0xff, 0xff, 0xff, 0, 0, 1, 8};
	const struct pattern pattern = {behind_first, sizeof(behind_first), look_before, table};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const Elf64_Shdr *section = elf_section_named(elf, names[i]);

		if (section)
			return look_at_pclntab(elf, section->sh_offset, table);
	}
	return search_data(elf, &pattern);
}

/* ---- functions ---- */

/* A pass over the table, both parts of which are in ascending order. */
struct pass {
	const struct pclntab *table;
	struct elf_window pairs;
	struct elf_window structs;
	uint64_t last_struct;
};

static uint64_t number_at(const uint8_t *bytes, uint32_t size)
{
	uint64_t number = 0;

	memcpy(&number, bytes, size);
	return number;
}

/* Where function i begins and ends, and its name's place in the names; false: the table is malformed. */
static bool read_function(struct pass *pass, uint32_t i, struct ps_elf_function *function, uint32_t *name)
{
	const struct pclntab *t = pass->table;
	uint32_t size = t->number_bytes;
	const uint8_t *pair = elf_window_get(&pass->pairs, t->functions + 2ULL * size * i, 3ULL * size), *description;
	uint64_t begin, end, at;

	if (!pair)
		return false;
	begin = number_at(pair, size);
	at = number_at(pair + size, size);
	end = number_at(pair + 2ULL * size, size);
	if (end < begin || at < pass->last_struct || at > t->functions_bytes)
		return false;
	pass->last_struct = at;
	description = elf_window_get(&pass->structs, t->functions + at, size + 4ULL);
	if (!description || number_at(description, size) != begin)
		return false;
	*name = (uint32_t)number_at(description + size, 4);
	*function = (struct ps_elf_function){.address = t->text + begin, .size = end - begin, .found = 1};
	return true;
}

/* Two functions with one name: an assembly function and its wrapper, of which nobody knows which is meant. */
static const char *take_functions(struct pass *pass, const struct elf_names *names, struct ps_elf_function *found)
{
	bool ambiguous[PS_ELF_NAMES_MAX] = {false};

	for (uint32_t i = 0; i < pass->table->count; i++) {
		const Elf64_Phdr *segment;
		struct ps_elf_function function;
		uint32_t name_at;
		int name;

		if (!read_function(pass, i, &function, &name_at))
			return "its table of functions (pclntab) is malformed";
		name = elf_names_at(names, name_at);
		segment = name >= 0 ? elf_segment_at(pass->table->elf, function.address, PF_X) : NULL;
		if (!segment)
			continue;
		function.offset = elf_offset_in(segment, function.address);
		ambiguous[name] |= found[name].found != 0;
		found[name] = function;
	}
	for (uint32_t i = 0; i < PS_ELF_NAMES_MAX; i++) {
		if (ambiguous[i])
			found[i] = (struct ps_elf_function){.found = 0};
	}
	return NULL;
}

static const char *search_table(const struct pclntab *table, const struct elf_names *names,
				struct ps_elf_function *found)
{
	struct pass pass = {.table = table};
	const char *reason = "out of memory";

	if (elf_window_open(&pass.pairs, table->elf, table->functions, table->functions_bytes) &&
	    elf_window_open(&pass.structs, table->elf, table->functions, table->functions_bytes))
		reason = take_functions(&pass, names, found);
	elf_window_close(&pass.pairs);
	elf_window_close(&pass.structs);
	return reason;
}

const char *ps_elf_go_functions(struct ps_elf *elf, const char *const *names, uint32_t count,
				struct ps_elf_function *found)
{
	struct pclntab table;
	struct ps_elf_text version;
	struct elf_names *search;
	const char *reason = NULL;

	memset(found, 0, count * sizeof(*found));
	if (count > PS_ELF_NAMES_MAX)
		return "too many names";
	if (!ps_elf_go_version(elf, &version))
		return "not a Go program";
	if (!find_pclntab(elf, &table))
		return "no table of functions (pclntab) of Go 1.16 or newer";
	search = elf_names_new(names);
	if (!search)
		return "out of memory";
	for (uint32_t i = 0; i < count; i++)
		elf_names_want(search, i);
	elf_names_search(search, elf, table.names, table.names_bytes);
	if (search->position_count > 0)
		reason = search_table(&table, search, found);
	if (reason)
		memset(found, 0, count * sizeof(*found));
	free(search);
	return reason;
}
