/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints where the C compiler puts every field of the shared structs, as lines
 * "struct.field offset size", and "struct size" after each. The Lua tests
 * compare them with ffi.offsetof and ffi.sizeof.
 */
#include "../../src/plainsight.h"
#include "../../src/plainsight_elf.h"
#include "../../src/plainsight_secrets.h"

#include <stdio.h>

int main(void)
{
#define F(type, field)                                                                                                 \
	printf(#type "." #field " %zu %zu\n", offsetof(struct type, field), sizeof(((struct type *)0)->field));
#define S(type) printf(#type " %zu\n", sizeof(struct type));
#include "layout_fields.h"
	return 0;
}
