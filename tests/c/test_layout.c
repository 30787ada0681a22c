/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds the shared structs to what their readers rely on: no padding that the
 * compiler chose (a probe would copy stale kernel memory to user space) and
 * sizes that change only on purpose. layout_fields.h is generated from the
 * headers.
 */
#include "../../src/plainsight.h"
#include "../../src/plainsight_elf.h"
#include "../../src/plainsight_secrets.h"
#include "tap.h"

_Static_assert(sizeof(struct ps_endpoint) == 20, "record of the ring");
_Static_assert(sizeof(struct ps_process) == 40, "record of the ring");
_Static_assert(sizeof(struct ps_event) == 160, "record of the ring");
_Static_assert(sizeof(struct ps_settings) == 32, "value of the map of settings");
_Static_assert(sizeof(struct ps_event) % 8 == 0, "the payload after it is aligned");
_Static_assert(sizeof(((struct ps_exchange *)0)->interim) == PS_INTERIM_MAX * sizeof(uint16_t), "interim statuses");
_Static_assert(sizeof(((struct ps_process *)0)->comm) == PS_COMM_LEN, "thread name");
_Static_assert(sizeof(struct ps_slice) == 16 && sizeof(struct ps_header) == 40, "64-bit only");

/* Where the next field must begin when nothing was padded. */
static size_t next_offset;
static bool gapless = true;
static int structs;

static void field_at(const char *name, size_t offset, size_t size)
{
	if (offset != next_offset)
		printf("# %zu bytes of padding before %s\n", offset - next_offset, name);
	gapless = gapless && offset == next_offset;
	next_offset = offset + size;
}

static void struct_ends(const char *name, size_t size)
{
	char title[128];

	snprintf(title, sizeof(title), "struct %s has no hidden padding", name);
	tap_ok(gapless && next_offset == size, title);
	next_offset = 0;
	gapless = true;
	structs++;
}

int main(void)
{
#define F(type, field) field_at(#type "." #field, offsetof(struct type, field), sizeof(((struct type *)0)->field));
#define S(type)        struct_ends(#type, sizeof(struct type));
#include "layout_fields.h"
	tap_ok(structs >= 8, "the structs of both headers were found");
	return tap_end();
}
