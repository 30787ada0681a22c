/* SPDX-License-Identifier: Apache-2.0 */
#include "elf_names.h"

#include <stdlib.h>
#include <string.h>

struct elf_names *elf_names_new(const char *const *names)
{
	struct elf_names *n = calloc(1, sizeof(*n));

	if (n)
		n->names = names;
	return n;
}

void elf_names_want(struct elf_names *n, uint32_t index)
{
	size_t len = strlen(n->names[index]);
	uint16_t *list;

	if (len == 0 || len >= ELF_NAME_BYTES_MAX)
		return;
	list = &n->by_last[(uint8_t)n->names[index][len - 1]];
	n->len[index] = (uint16_t)len;
	n->next[index] = *list;
	*list = (uint16_t)(index + 1);
	n->wanted++;
}

/* The slot that has position at, or the free one where it belongs. There are always free ones. */
static uint32_t slot_of(const struct elf_names *n, uint32_t at)
{
	uint32_t slot = at * 2654435761U / (UINT32_MAX / ELF_NAME_SLOTS + 1);

	while (n->positions[slot].name != 0 && n->positions[slot].at != at)
		slot = (slot + 1) % ELF_NAME_SLOTS;
	return slot;
}

static void add_position(struct elf_names *n, uint64_t at, uint16_t name)
{
	struct elf_name_position *position;

	if (at > UINT32_MAX || n->position_count == ELF_NAME_POSITIONS_MAX)
		return;
	position = &n->positions[slot_of(n, (uint32_t)at)];
	if (position->name != 0)
		return;
	*position = (struct elf_name_position){.at = (uint32_t)at, .name = name};
	n->position_count++;
}

int elf_names_at(const struct elf_names *n, uint32_t position)
{
	return (int)n->positions[slot_of(n, position)].name - 1;
}

/*
 * Names that end at the NUL at piece + end. A name may be the end of another
 * one: linkers share strings.
 */
static void names_ending_at(struct elf_names *n, const uint8_t *piece, size_t end, uint64_t piece_at)
{
	if (end == 0)
		return;
	for (uint16_t i = n->by_last[piece[end - 1]]; i != 0; i = n->next[i - 1]) {
		size_t len = n->len[i - 1];

		if (len <= end && memcmp(piece + end - len, n->names[i - 1], len) == 0)
			add_position(n, piece_at + end - len, i);
	}
}

/* Pieces overlap by the longest name. */
void elf_names_search(struct elf_names *n, struct ps_elf *elf, uint64_t offset, uint64_t size)
{
	struct elf_window window;
	uint64_t at = offset;

	if (n->wanted == 0 || !elf_window_open(&window, elf, offset, size))
		return;
	for (;;) {
		size_t len = elf_window_can(&window, at, ELF_WINDOW_BYTES);
		const uint8_t *piece = len > 0 ? elf_window_get(&window, at, len) : NULL;
		const uint8_t *from = piece, *nul;

		if (!piece)
			break;
		while ((nul = memchr(from, '\0', (size_t)(piece + len - from))) != NULL) {
			names_ending_at(n, piece, (size_t)(nul - piece), at - offset);
			for (from = nul + 1; from < piece + len && *from == '\0'; from++) /* a call for each is slow */
				;
		}
		at += at + len < offset + size ? len - ELF_NAME_BYTES_MAX : len;
	}
	elf_window_close(&window);
}
