/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading of an ELF file of somebody else. <elf.h> and pread() only, no libelf:
 * a sparse file of 2 GiB that claims 2^25 sections makes elf_begin() ask for more
 * than 3 GiB of memory, elf_getdata() and elf_strptr() read sections whole, and a
 * mapped file that is cut short meanwhile means SIGBUS.
 */
#ifndef PLAINSIGHT_ELF_IMAGE_H
#define PLAINSIGHT_ELF_IMAGE_H

#include "plainsight_elf.h"

#include <elf.h>

enum {
	ELF_SEGMENTS_MAX = 256,
	ELF_SECTIONS_MAX = 8192,
	ELF_DYNAMIC_MAX = 4096,
	ELF_WINDOW_BYTES = 256 * 1024,
	ELF_RELOCATIONS_MAX = 4 * 1024 * 1024, /* chromium has 500,000 */
};

struct code_decoder;

struct ps_elf {
	int fd;
	uint16_t type; /* ET_EXEC or ET_DYN */
	uint64_t entry;
	uint64_t file_bytes;   /* when it was opened */
	uint64_t budget_bytes; /* that may still be read */
	Elf64_Phdr *segments;
	uint32_t segment_count;
	uint32_t section_count; /* 0: none, or none that can be used */
	Elf64_Shdr *sections;
	const Elf64_Shdr *section_names; /* one of sections, or NULL */
	Elf64_Dyn *dynamic;              /* without DT_NULL */
	uint32_t dynamic_count;
	struct code_decoder *decoder; /* of code.c, NULL until it is needed */
};

/* Reads len bytes; false when the file does not have all of them. */
bool elf_read(struct ps_elf *elf, uint64_t offset, void *to, size_t len);

/* The same by address: the bytes must be in the file, in one PT_LOAD segment. */
bool elf_read_address(struct ps_elf *elf, uint64_t address, void *to, size_t len);

/*
 * The segment whose file part holds address and that has all of flags (PF_X);
 * NULL if there is none. Its file part ends within the file.
 */
const Elf64_Phdr *elf_segment_at(struct ps_elf *elf, uint64_t address, uint32_t flags);

/* Offset in the file of an address in segment. */
uint64_t elf_offset_in(const Elf64_Phdr *segment, uint64_t address);

/* The first section of a type, that with an index, or the first with a name, whose bytes are within the file; NULL if
 * there is none. */
const Elf64_Shdr *elf_section_of_type(struct ps_elf *elf, uint32_t type);
const Elf64_Shdr *elf_usable_section(struct ps_elf *elf, uint32_t index);
const Elf64_Shdr *elf_section_named(struct ps_elf *elf, const char *name);

/* Bytes of the function that begins at address, by the table for unwinding; 0: no function is known to begin there. */
uint64_t elf_function_size(struct ps_elf *elf, uint64_t address);

/* The function of this file whose address the dynamic linker stores at slot by default; 0: of another file, or none. */
uint64_t elf_slot_function(struct ps_elf *elf, uint64_t slot);

/* A relocation by its place, or R_X86_64_RELATIVE by the value that it stores there. */
struct elf_wanted_relocation {
	uint64_t address;
	uint64_t value;
	bool by_value;
};

/* The first one, in one pass over the tables; false if there is none. */
bool elf_find_relocation(struct ps_elf *elf, const struct elf_wanted_relocation *wanted, Elf64_Rela *found);

/* What a pointer in data points to, before the file is loaded: in position-independent files relocations know. */
bool elf_read_pointer(struct ps_elf *elf, uint64_t address, uint64_t *value);

/* First value of a tag in the dynamic section. */
bool elf_dynamic(struct ps_elf *elf, int64_t tag, uint64_t *value);

/*
 * A part of the file, read in steps of ELF_WINDOW_BYTES, for passes over it in
 * ascending order.
 */
struct elf_window {
	struct ps_elf *elf;
	uint64_t begin; /* of the part */
	uint64_t end;
	uint64_t at; /* of what bytes holds */
	size_t len;
	uint8_t *bytes;
};

/* false: no memory, or the part is not within the file. */
bool elf_window_open(struct elf_window *window, struct ps_elf *elf, uint64_t begin, uint64_t size);
void elf_window_close(struct elf_window *window);

/*
 * Pointer to len bytes from offset on (an offset in the file), at most
 * ELF_WINDOW_BYTES; valid until the next call. NULL when they are not in the part.
 */
const uint8_t *elf_window_get(struct elf_window *window, uint64_t offset, size_t len);

/* How many bytes from offset on elf_window_get() can hand out at once, at most want. */
size_t elf_window_can(const struct elf_window *window, uint64_t offset, size_t want);

#endif
