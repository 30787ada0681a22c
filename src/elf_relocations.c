/* SPDX-License-Identifier: Apache-2.0 */
/* What the dynamic linker stores, found by where it stores it or by what it is (psABI x86-64, 4.4). */
#include "elf_image.h"

#include <string.h>

/* Offset and size in the file of a table, from its address and size in the dynamic section. */
static bool find_table(struct ps_elf *elf, int64_t address_tag, int64_t size_tag, uint64_t *offset, uint64_t *size)
{
	const Elf64_Phdr *segment;
	uint64_t address;

	if (!elf_dynamic(elf, address_tag, &address) || !elf_dynamic(elf, size_tag, size))
		return false;
	segment = elf_segment_at(elf, address, 0);
	if (!segment || *size > segment->p_filesz - (address - segment->p_vaddr))
		return false;
	*offset = elf_offset_in(segment, address);
	return *size / sizeof(Elf64_Rela) <= ELF_RELOCATIONS_MAX;
}

static bool is_wanted(const Elf64_Rela *relocation, const struct elf_wanted_relocation *wanted)
{
	if (wanted->by_value)
		return ELF64_R_TYPE(relocation->r_info) == R_X86_64_RELATIVE &&
		       relocation->r_addend == (int64_t)wanted->value;
	return relocation->r_offset == wanted->address;
}

static bool search_table(struct ps_elf *elf, uint64_t offset, uint64_t size, const struct elf_wanted_relocation *wanted,
			 Elf64_Rela *found)
{
	struct elf_window window;
	size_t step = ELF_WINDOW_BYTES / sizeof(*found) * sizeof(*found), len;
	uint64_t end = offset + size / sizeof(*found) * sizeof(*found);
	bool is_found = false;

	if (!elf_window_open(&window, elf, offset, size))
		return false;
	for (uint64_t at = offset; at < end && !is_found; at += len) {
		const uint8_t *piece;

		len = end - at < step ? (size_t)(end - at) : step;
		piece = elf_window_get(&window, at, len);
		if (!piece)
			break;
		for (size_t i = 0; i < len && !is_found; i += sizeof(*found)) {
			memcpy(found, piece + i, sizeof(*found));
			is_found = is_wanted(found, wanted);
		}
	}
	elf_window_close(&window);
	return is_found;
}

bool elf_find_relocation(struct ps_elf *elf, const struct elf_wanted_relocation *wanted, Elf64_Rela *found)
{
	uint64_t offset, size;

	return (find_table(elf, DT_JMPREL, DT_PLTRELSZ, &offset, &size) &&
		search_table(elf, offset, size, wanted, found)) ||
	       (find_table(elf, DT_RELA, DT_RELASZ, &offset, &size) && search_table(elf, offset, size, wanted, found));
}

uint64_t elf_slot_function(struct ps_elf *elf, uint64_t slot)
{
	Elf64_Rela relocation;
	Elf64_Sym symbol;
	uint64_t symbols;

	if (!elf_find_relocation(elf, &(struct elf_wanted_relocation){.address = slot}, &relocation) ||
	    !elf_dynamic(elf, DT_SYMTAB, &symbols) ||
	    !elf_read_address(elf, symbols + sizeof(symbol) * ELF64_R_SYM(relocation.r_info), &symbol, sizeof(symbol)))
		return 0;
	if (ELF64_R_TYPE(relocation.r_info) != R_X86_64_JUMP_SLOT &&
	    ELF64_R_TYPE(relocation.r_info) != R_X86_64_GLOB_DAT)
		return 0;
	return symbol.st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbol.st_info) == STT_FUNC ? symbol.st_value : 0;
}

bool elf_read_pointer(struct ps_elf *elf, uint64_t address, uint64_t *value)
{
	Elf64_Rela relocation;

	if (elf_find_relocation(elf, &(struct elf_wanted_relocation){.address = address}, &relocation)) {
		*value = (uint64_t)relocation.r_addend;
		return ELF64_R_TYPE(relocation.r_info) == R_X86_64_RELATIVE;
	}
	return elf_read_address(elf, address, value, sizeof(*value));
}
