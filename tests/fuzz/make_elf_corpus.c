/* SPDX-License-Identifier: Apache-2.0 */
/* Writes seeds for fuzz_elf: usage: make_elf_corpus DIRECTORY */
#include "../c/elf_build.h"

#include <stdio.h>
#include <stdlib.h>

static const char SOURCE[] =
    "extern int other(void *);\n"
    "const char version[] = \"SomeSSL 1.2.3\";\n"
    "static int __attribute__((noinline)) inner(void *s, char *b, long n, long *moved)\n"
    "{ volatile char frame[64]; frame[0] = n; *moved = n; return other(s) + *b; }\n"
    "int api_read(void *s, char *b, int n) { long m; int r = inner(s, b, n, &m); return r > 0 ? (int)m : r; }\n"
    "int api_read_ex(void *s, char *b, long n, long *moved) { int r = inner(s, b, n, moved); return r > 0 ? 1 : 0; }\n";

static const uint8_t CODE[] = {0x49, 0x3b, 0x66, 0x10, 0x76, 0x03, 0x55, 0x5d,
			       0xc3, 0xe8, 0x00, 0x00, 0x00, 0x00, 0xeb, 0xf0};

static void write_go(const char *directory, const char *name, const struct go_image *image)
{
	static uint8_t bytes[GO_IMAGE_BYTES];
	size_t size = go_image_write(image, bytes);
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "wb");
	if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
		exit(1);
}

static void write_library(const char *directory, const char *name, const char *flags)
{
	char all[512];

	snprintf(all, sizeof(all),
		 "-O2 -shared -fPIC -nostdlib -Wl,-z,noseparate-code,-z,max-page-size=512,-soname,a.so %s", flags);
	if (!run("install -m 644 %s %s/%s", build(name, all, SOURCE), directory, name))
		exit(1);
}

int main(int argc, char **argv)
{
#define FUNCTIONS                                                                                                      \
	{"crypto/tls.(*Conn).Read", "crypto/tls.(*Conn).Write"}, {CODE, CODE},                                         \
	{                                                                                                              \
		sizeof(CODE), sizeof(CODE)                                                                             \
	}
	static const struct go_image GO[] = {
	    {GO_LAYOUT_1_16, "go1.17", true, true, FUNCTIONS},
	    {GO_LAYOUT_1_18, "go1.18", false, true, FUNCTIONS},
	    {GO_LAYOUT_1_26, "go1.26", false, false, FUNCTIONS},
	};

	if (argc != 2)
		return 2;
	write_library(argv[1], "library", "");
	write_library(argv[1], "library-stripped", "-s -fcf-protection=full");
	write_library(argv[1], "library-sysv-hash", "-s -Wl,--hash-style=sysv");
	write_go(argv[1], "go-1.17", &GO[0]);
	write_go(argv[1], "go-1.18", &GO[1]);
	write_go(argv[1], "go-1.26-no-sections", &GO[2]);
	return 0;
}
