/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where wanted names stand in a string table. Tables of executables have
 * megabytes: one pass finds all names, and no table of all strings is built.
 */
#ifndef PLAINSIGHT_ELF_NAMES_H
#define PLAINSIGHT_ELF_NAMES_H

#include "elf_image.h"

enum {
	ELF_NAME_BYTES_MAX = 256,     /* with its NUL */
	ELF_NAME_POSITIONS_MAX = 512, /* linkers need not share strings, so that a name may stand in many places */
	ELF_NAME_SLOTS = 4096,        /* of their hash table */
};

struct elf_name_position {
	uint32_t at;   /* in the string table */
	uint16_t name; /* index of the wanted name + 1; 0: slot is free */
};

struct elf_names {
	const char *const *names;
	uint32_t wanted;
	uint32_t position_count;
	/* wanted names by their last character: lists that next[] links, of index + 1 */
	uint16_t by_last[256];
	uint16_t next[PS_ELF_NAMES_MAX];
	uint16_t len[PS_ELF_NAMES_MAX];
	struct elf_name_position positions[ELF_NAME_SLOTS];
};

/* For names, which stay the caller's, none of which is wanted yet. NULL: no memory. free() when done. */
struct elf_names *elf_names_new(const char *const *names);

/* Wants names[index], index < PS_ELF_NAMES_MAX; each once. Names that are empty or too long are never found. */
void elf_names_want(struct elf_names *n, uint32_t index);

/* Searches a part of the file that has NUL-terminated strings. */
void elf_names_search(struct elf_names *n, struct ps_elf *elf, uint64_t offset, uint64_t size);

/* Index of the name that stands at a position, relative to the part that was searched; -1: none of those wanted. */
int elf_names_at(const struct elf_names *n, uint32_t position);

#endif
