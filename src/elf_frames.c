/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where functions begin and end, from the table that exceptions are unwound
 * with (LSB 5.0 Core, "Exception Frames"). It is there in stripped files too,
 * static functions included.
 */
#include "elf_image.h"

#include <stddef.h>

/* DW_EH_PE_* */
enum { PE_UDATA4 = 0x03, PE_PCREL_SDATA4 = 0x1b, PE_DATAREL_SDATA4 = 0x3b };

struct frame_header {
	uint8_t version, frame_pointer_encoding, count_encoding, table_encoding;
	int32_t frame_pointer;
	uint32_t count;
};

/* Both relative to the address of the header. */
struct frame_entry {
	int32_t function;
	int32_t description;
};

static const Elf64_Phdr *frame_segment(struct ps_elf *elf)
{
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		if (elf->segments[i].p_type == PT_GNU_EH_FRAME)
			return &elf->segments[i];
	}
	return NULL;
}

/* The last entry whose function is not behind address; the table is sorted. */
static bool find_entry(struct ps_elf *elf, const Elf64_Phdr *segment, uint64_t address, struct frame_entry *entry)
{
	struct frame_header header;
	uint64_t table = segment->p_vaddr + sizeof(header);
	uint32_t low = 0, high;

	if (!elf_read_address(elf, segment->p_vaddr, &header, sizeof(header)) || header.version != 1 ||
	    header.frame_pointer_encoding != PE_PCREL_SDATA4 || header.count_encoding != PE_UDATA4 ||
	    header.table_encoding != PE_DATAREL_SDATA4 || header.count == 0)
		return false;
	high = header.count;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (!elf_read_address(elf, table + sizeof(*entry) * (uint64_t)middle, entry, sizeof(*entry)))
			return false;
		if (segment->p_vaddr + (uint64_t)(int64_t)entry->function <= address)
			low = middle;
		else
			high = middle;
	}
	return elf_read_address(elf, table + sizeof(*entry) * (uint64_t)low, entry, sizeof(*entry));
}

uint64_t elf_function_size(struct ps_elf *elf, uint64_t address)
{
	const Elf64_Phdr *segment = frame_segment(elf);
	struct frame_entry entry;
	struct {
		uint32_t len, cie;
		int32_t function; /* relative to its own address, as compilers write it for x86-64 */
		uint32_t size;
	} description;
	uint64_t at;

	if (!segment || !find_entry(elf, segment, address, &entry) ||
	    segment->p_vaddr + (uint64_t)(int64_t)entry.function != address)
		return 0;
	at = segment->p_vaddr + (uint64_t)(int64_t)entry.description;
	if (!elf_read_address(elf, at, &description, sizeof(description)) || description.cie == 0 ||
	    at + offsetof(__typeof__(description), function) + (uint64_t)(int64_t)description.function != address)
		return 0;
	return description.size;
}
