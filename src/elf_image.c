/* SPDX-License-Identifier: Apache-2.0 */
#include "code.h"
#include "elf_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	NOTES_BYTES_MAX = 64 * 1024,
	BUILD_ID_BYTES_MAX = 64,
	TEXT_SCAN_BYTES_MAX = 128 * 1024 * 1024,
};

static bool is_within(uint64_t offset, uint64_t size, uint64_t limit)
{
	return offset <= limit && size <= limit - offset;
}

/*
 * However a file is made to cost much, with tables that lead to tables, it is
 * given up for good after this much of reading, which takes a second or two. A
 * reading of a few bytes costs as much as one of READING_BYTES.
 */
static const uint64_t BUDGET_BYTES = 2ULL << 30;
enum { READING_BYTES = 1024 };

bool elf_read(struct ps_elf *elf, uint64_t offset, void *to, size_t len)
{
	if (!is_within(offset, len, elf->file_bytes) || len + READING_BYTES > elf->budget_bytes)
		return false;
	elf->budget_bytes -= len + READING_BYTES;
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(elf->fd, (char *)to + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

const Elf64_Phdr *elf_segment_at(struct ps_elf *elf, uint64_t address, uint32_t flags)
{
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *s = &elf->segments[i];

		if (s->p_type == PT_LOAD && (s->p_flags & flags) == flags && address >= s->p_vaddr &&
		    address - s->p_vaddr < s->p_filesz)
			return s;
	}
	return NULL;
}

uint64_t elf_offset_in(const Elf64_Phdr *segment, uint64_t address)
{
	return address - segment->p_vaddr + segment->p_offset;
}

bool elf_read_address(struct ps_elf *elf, uint64_t address, void *to, size_t len)
{
	const Elf64_Phdr *segment = elf_segment_at(elf, address, 0);

	if (!segment || !is_within(address - segment->p_vaddr, len, segment->p_filesz))
		return false;
	return elf_read(elf, elf_offset_in(segment, address), to, len);
}

/* ---- sections and the dynamic section ---- */

static bool is_in_file(struct ps_elf *elf, const Elf64_Shdr *section)
{
	return section->sh_type != SHT_NOBITS && is_within(section->sh_offset, section->sh_size, elf->file_bytes);
}

const Elf64_Shdr *elf_section_of_type(struct ps_elf *elf, uint32_t type)
{
	for (uint32_t i = 0; i < elf->section_count; i++) {
		if (elf->sections[i].sh_type == type && is_in_file(elf, &elf->sections[i]))
			return &elf->sections[i];
	}
	return NULL;
}

const Elf64_Shdr *elf_usable_section(struct ps_elf *elf, uint32_t index)
{
	return index < elf->section_count && is_in_file(elf, &elf->sections[index]) ? &elf->sections[index] : NULL;
}

static bool has_name(struct ps_elf *elf, const Elf64_Shdr *names, uint32_t at, const char *name)
{
	char text[64];
	size_t len = strlen(name) + 1;

	return len <= sizeof(text) && is_within(at, len, names->sh_size) &&
	       elf_read(elf, names->sh_offset + at, text, len) && memcmp(text, name, len) == 0;
}

/* Section headers with names are few: a read for each costs less than a table. */
const Elf64_Shdr *elf_section_named(struct ps_elf *elf, const char *name)
{
	const Elf64_Shdr *names = elf->section_names;

	for (uint32_t i = 0; names && i < elf->section_count; i++) {
		const Elf64_Shdr *section = &elf->sections[i];

		if (is_in_file(elf, section) && has_name(elf, names, section->sh_name, name))
			return section;
	}
	return NULL;
}

bool elf_dynamic(struct ps_elf *elf, int64_t tag, uint64_t *value)
{
	for (uint32_t i = 0; i < elf->dynamic_count; i++) {
		if (elf->dynamic[i].d_tag == tag) {
			*value = elf->dynamic[i].d_un.d_val;
			return true;
		}
	}
	return false;
}

/* ---- windows ---- */

bool elf_window_open(struct elf_window *window, struct ps_elf *elf, uint64_t begin, uint64_t size)
{
	if (!is_within(begin, size, elf->file_bytes))
		return false;
	*window = (struct elf_window){.elf = elf, .begin = begin, .end = begin + size, .at = begin};
	window->bytes = malloc(ELF_WINDOW_BYTES);
	return window->bytes != NULL;
}

void elf_window_close(struct elf_window *window)
{
	free(window->bytes);
	window->bytes = NULL;
}

size_t elf_window_can(const struct elf_window *window, uint64_t offset, size_t want)
{
	uint64_t left;

	if (offset < window->begin || offset >= window->end)
		return 0;
	left = window->end - offset;
	want = want < ELF_WINDOW_BYTES ? want : ELF_WINDOW_BYTES;
	return want < left ? want : (size_t)left;
}

const uint8_t *elf_window_get(struct elf_window *window, uint64_t offset, size_t len)
{
	if (elf_window_can(window, offset, len) < len)
		return NULL;
	if (offset < window->at || !is_within(offset - window->at, len, window->len)) {
		window->at = offset;
		window->len = elf_window_can(window, offset, ELF_WINDOW_BYTES);
		if (!elf_read(window->elf, offset, window->bytes, window->len)) {
			window->len = 0;
			return NULL;
		}
	}
	return window->bytes + (offset - window->at);
}

/* ---- opening ---- */

static const char *check_header(struct ps_elf *elf, const Elf64_Ehdr *h)
{
	if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
		return "not an ELF file";
	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_machine != EM_X86_64)
		return "not of x86-64";
	if (h->e_type != ET_EXEC && h->e_type != ET_DYN)
		return "neither executable nor shared library";
	if (h->e_phnum == 0 || h->e_phnum > ELF_SEGMENTS_MAX || h->e_phentsize != sizeof(Elf64_Phdr) ||
	    !is_within(h->e_phoff, h->e_phnum * sizeof(Elf64_Phdr), elf->file_bytes))
		return "program headers missing or malformed";
	return NULL;
}

/* Only what is in the file counts: a segment that ends behind it ends with it. */
static const char *load_segments(struct ps_elf *elf, const Elf64_Ehdr *header)
{
	elf->segments = calloc(header->e_phnum, sizeof(*elf->segments));
	if (!elf->segments)
		return "out of memory";
	if (!elf_read(elf, header->e_phoff, elf->segments, header->e_phnum * sizeof(*elf->segments)))
		return "cannot be read";
	elf->segment_count = header->e_phnum;
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		Elf64_Phdr *s = &elf->segments[i];

		if (s->p_offset > elf->file_bytes)
			s->p_filesz = 0;
		else if (s->p_filesz > elf->file_bytes - s->p_offset)
			s->p_filesz = elf->file_bytes - s->p_offset;
		if (s->p_filesz > UINT64_MAX - s->p_vaddr)
			s->p_filesz = 0;
	}
	return NULL;
}

/* A file can do without section headers; with malformed ones it is treated as if it did. */
static void load_sections(struct ps_elf *elf, const Elf64_Ehdr *header)
{
	size_t bytes = header->e_shnum * sizeof(*elf->sections);

	if (header->e_shnum == 0 || header->e_shnum > ELF_SECTIONS_MAX || header->e_shentsize != sizeof(Elf64_Shdr) ||
	    !is_within(header->e_shoff, bytes, elf->file_bytes))
		return;
	elf->sections = malloc(bytes);
	if (!elf->sections || !elf_read(elf, header->e_shoff, elf->sections, bytes))
		return;
	elf->section_count = header->e_shnum;
	if (header->e_shstrndx < elf->section_count && is_in_file(elf, &elf->sections[header->e_shstrndx]))
		elf->section_names = &elf->sections[header->e_shstrndx];
}

static void load_dynamic(struct ps_elf *elf)
{
	const Elf64_Phdr *segment = NULL;
	size_t count;

	for (uint32_t i = 0; i < elf->segment_count && !segment; i++) {
		if (elf->segments[i].p_type == PT_DYNAMIC)
			segment = &elf->segments[i];
	}
	if (!segment)
		return;
	count = segment->p_filesz / sizeof(*elf->dynamic);
	count = count < ELF_DYNAMIC_MAX ? count : ELF_DYNAMIC_MAX;
	elf->dynamic = calloc(count + 1, sizeof(*elf->dynamic));
	if (!elf->dynamic || !elf_read(elf, segment->p_offset, elf->dynamic, count * sizeof(*elf->dynamic)))
		return;
	while (elf->dynamic_count < count && elf->dynamic[elf->dynamic_count].d_tag != DT_NULL)
		elf->dynamic_count++;
}

/*
 * A path of another process may lead to a device, whose opening can have
 * effects: O_PATH opens nothing, and what it found is opened if it is a file.
 */
static const char *open_file(struct ps_elf *elf, const char *path, struct stat *status)
{
	int found = open(path, O_PATH | O_CLOEXEC);
	char link[64];

	if (found < 0)
		return errno == ENOENT ? "no such file" : errno == EACCES ? "permission denied" : "cannot be opened";
	if (fstat(found, status) != 0 || !S_ISREG(status->st_mode)) {
		close(found);
		return "not a regular file";
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", found);
	elf->fd = open(link, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	close(found);
	return elf->fd < 0 ? "cannot be opened" : NULL;
}

static const char *load(struct ps_elf *elf, const char *path)
{
	struct stat status;
	Elf64_Ehdr header;
	const char *reason = open_file(elf, path, &status);

	if (reason)
		return reason;
	elf->file_bytes = (uint64_t)status.st_size;
	elf->budget_bytes = BUDGET_BYTES;
	if (!elf_read(elf, 0, &header, sizeof(header)))
		return "not an ELF file";
	reason = check_header(elf, &header);
	if (reason)
		return reason;
	elf->type = header.e_type;
	elf->entry = header.e_entry;
	reason = load_segments(elf, &header);
	if (reason)
		return reason;
	load_sections(elf, &header);
	load_dynamic(elf);
	return NULL;
}

struct ps_elf *ps_elf_open(const char *path, const char **reason)
{
	struct ps_elf *elf = calloc(1, sizeof(*elf));

	if (!elf) {
		*reason = "out of memory";
		return NULL;
	}
	elf->fd = -1;
	*reason = load(elf, path);
	if (*reason) {
		ps_elf_close(elf);
		return NULL;
	}
	return elf;
}

void ps_elf_close(struct ps_elf *elf)
{
	if (!elf)
		return;
	code_release(elf);
	if (elf->fd >= 0)
		close(elf->fd);
	free(elf->segments);
	free(elf->sections);
	free(elf->dynamic);
	free(elf);
}

/* ---- what kind of file it is ---- */

bool ps_elf_is_executable(struct ps_elf *elf)
{
	uint64_t flags = 0, soname;
	bool has_interpreter = false;

	if (elf->type == ET_EXEC)
		return true;
	if (elf->entry == 0)
		return false;
	if (elf_dynamic(elf, DT_FLAGS_1, &flags) && (flags & DF_1_PIE))
		return true;
	for (uint32_t i = 0; i < elf->segment_count; i++)
		has_interpreter |= elf->segments[i].p_type == PT_INTERP;
	/* linkers before 2016 did not set DF_1_PIE */
	return has_interpreter && !elf_dynamic(elf, DT_SONAME, &soname);
}

static bool is_printable(uint8_t c)
{
	return c >= 0x20 && c <= 0x7e;
}

/* Copies a NUL-terminated text of printable characters; false when it is none, or empty, or too long. */
static bool take_text(struct ps_elf_text *text, const uint8_t *from, size_t len)
{
	size_t n = 0;

	while (n < len && n < PS_ELF_TEXT_MAX - 1 && is_printable(from[n]))
		n++;
	if (n == 0 || n >= len || from[n] != '\0')
		return false;
	memcpy(text->text, from, n);
	text->text[n] = '\0';
	return true;
}

/* What is printable from a place on, whatever comes after it. */
static void take_rest(struct ps_elf_text *text, const uint8_t *from, size_t len)
{
	size_t n = 0;

	while (n < len && n < PS_ELF_TEXT_MAX - 1 && is_printable(from[n]))
		n++;
	memcpy(text->text, from, n);
	text->text[n] = '\0';
}

/* A text of the dynamic string table. */
static bool dynamic_text(struct ps_elf *elf, uint64_t at, struct ps_elf_text *text)
{
	uint64_t table, size;
	uint8_t bytes[PS_ELF_TEXT_MAX];
	size_t len = sizeof(bytes);

	if (!elf_dynamic(elf, DT_STRTAB, &table) || !elf_dynamic(elf, DT_STRSZ, &size) || at >= size ||
	    table > UINT64_MAX - size)
		return false;
	if (len > size - at)
		len = size - at;
	return elf_read_address(elf, table + at, bytes, len) && take_text(text, bytes, len);
}

bool ps_elf_soname(struct ps_elf *elf, struct ps_elf_text *soname)
{
	uint64_t at;

	return elf_dynamic(elf, DT_SONAME, &at) && dynamic_text(elf, at, soname);
}

bool ps_elf_needed(struct ps_elf *elf, uint32_t index, struct ps_elf_text *library)
{
	for (uint32_t i = 0; i < elf->dynamic_count; i++) {
		if (elf->dynamic[i].d_tag == DT_NEEDED && index-- == 0)
			return dynamic_text(elf, elf->dynamic[i].d_un.d_val, library);
	}
	return false;
}

/* ---- build id ---- */

static void write_hex(struct ps_elf_text *hex, const uint8_t *bytes, size_t count)
{
	char *to = hex->text;

	for (size_t i = 0; i < count; i++) {
		*to++ = "0123456789abcdef"[bytes[i] >> 4];
		*to++ = "0123456789abcdef"[bytes[i] & 15];
	}
	*to = '\0';
}

/* In notes (gABI, "Note Section"): 4-byte aligned name and descriptor. */
static bool find_build_id(const uint8_t *notes, size_t len, struct ps_elf_text *hex)
{
	size_t at = 0;

	while (at + sizeof(Elf64_Nhdr) <= len) {
		Elf64_Nhdr note;
		uint64_t name = at + sizeof(note), description;

		memcpy(&note, notes + at, sizeof(note));
		description = name + (((uint64_t)note.n_namesz + 3) & ~3ULL);
		if (!is_within(description, note.n_descsz, len))
			return false;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof("GNU") &&
		    memcmp(notes + name, "GNU", sizeof("GNU")) == 0 && note.n_descsz > 0 &&
		    note.n_descsz <= BUILD_ID_BYTES_MAX) {
			write_hex(hex, notes + description, note.n_descsz);
			return true;
		}
		at = description + (((uint64_t)note.n_descsz + 3) & ~3ULL);
	}
	return false;
}

bool ps_elf_build_id(struct ps_elf *elf, struct ps_elf_text *hex)
{
	bool found = false;

	for (uint32_t i = 0; i < elf->segment_count && !found; i++) {
		const Elf64_Phdr *s = &elf->segments[i];
		uint8_t *notes;

		if (s->p_type != PT_NOTE || s->p_filesz == 0 || s->p_filesz > NOTES_BYTES_MAX)
			continue;
		notes = malloc(s->p_filesz);
		found =
		    notes && elf_read(elf, s->p_offset, notes, s->p_filesz) && find_build_id(notes, s->p_filesz, hex);
		free(notes);
	}
	return found;
}

/* ---- texts in read-only data ---- */

/* Index of the character to look for: capitals are rarer in binary data than what else prefixes have. */
static size_t anchor_of(const char *prefix, size_t len)
{
	size_t anchor = len - 1;

	for (size_t i = 0; i < len; i++) {
		if (prefix[i] >= 'A' && prefix[i] <= 'Z')
			anchor = i;
	}
	return anchor;
}

/*
 * A text begins where the one before it ends; binary data may stand before it,
 * too. With memchr() the 47 MB of node's read-only data take 4 ms, with memmem()
 * 44 ms.
 */
static bool find_in_piece(const uint8_t *piece, size_t len, bool at_start, const char *prefix, bool inside,
			  struct ps_elf_text *text)
{
	size_t prefix_len = strlen(prefix), anchor = anchor_of(prefix, prefix_len);
	const uint8_t *from = piece + anchor, *end = piece + len, *hit;

	while (from < end && (hit = memchr(from, prefix[anchor], (size_t)(end - from))) != NULL) {
		const uint8_t *begin = hit - anchor;

		from = hit + 1;
		if ((size_t)(end - begin) < prefix_len || memcmp(begin, prefix, prefix_len) != 0)
			continue;
		if (inside) {
			take_rest(text, begin, (size_t)(end - begin));
			return true;
		}
		if (begin > piece ? is_printable(begin[-1]) : !at_start)
			continue;
		if (take_text(text, begin, (size_t)(end - begin)))
			return true;
	}
	return false;
}

/* Pieces overlap, so that a text that one piece cuts is whole in the next. */
static bool find_in_part(struct ps_elf *elf, uint64_t begin, uint64_t size, const char *prefix, bool inside,
			 struct ps_elf_text *text)
{
	struct elf_window window;
	uint64_t at = begin;
	bool found = false;

	if (!elf_window_open(&window, elf, begin, size))
		return false;
	while (!found) {
		size_t len = elf_window_can(&window, at, ELF_WINDOW_BYTES);
		const uint8_t *piece = len > 0 ? elf_window_get(&window, at, len) : NULL;

		if (!piece)
			break;
		found = find_in_piece(piece, len, at == begin, prefix, inside, text);
		at += at + len < begin + size ? len - PS_ELF_TEXT_MAX : len;
	}
	elf_window_close(&window);
	return found;
}

static bool find_in_data(struct ps_elf *elf, const char *prefix, bool inside, struct ps_elf_text *text)
{
	uint64_t budget = TEXT_SCAN_BYTES_MAX;

	if (*prefix == '\0' || strlen(prefix) >= PS_ELF_TEXT_MAX)
		return false;
	for (uint32_t i = 0; i < elf->section_count; i++) {
		const Elf64_Shdr *s = &elf->sections[i];
		uint64_t size = s->sh_size < budget ? s->sh_size : budget;

		if (s->sh_type != SHT_PROGBITS || (s->sh_flags & (SHF_ALLOC | SHF_WRITE | SHF_EXECINSTR)) != SHF_ALLOC)
			continue;
		if (find_in_part(elf, s->sh_offset, size, prefix, inside, text))
			return true;
		budget -= size;
	}
	for (uint32_t i = 0; elf->section_count == 0 && i < elf->segment_count; i++) {
		const Elf64_Phdr *s = &elf->segments[i];
		uint64_t size = s->p_filesz < budget ? s->p_filesz : budget;

		if (s->p_type != PT_LOAD || (s->p_flags & PF_W))
			continue;
		if (find_in_part(elf, s->p_offset, size, prefix, inside, text))
			return true;
		budget -= size;
	}
	return false;
}

bool ps_elf_find_text(struct ps_elf *elf, const char *prefix, struct ps_elf_text *text)
{
	return find_in_data(elf, prefix, false, text);
}

bool ps_elf_find_inside(struct ps_elf *elf, const char *part, struct ps_elf_text *text)
{
	return find_in_data(elf, part, true, text);
}
