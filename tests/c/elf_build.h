/* SPDX-License-Identifier: Apache-2.0 */
/* ELF files for tests: built with the compiler when the test runs, or written byte by byte. */
#ifndef PLAINSIGHT_TEST_ELF_BUILD_H
#define PLAINSIGHT_TEST_ELF_BUILD_H

#include "../../src/plainsight_elf.h"

/* A directory of this process, which is removed at its end. */
const char *build_dir(void);

/*
 * Path of NAME in build_dir(), built from source (C, or assembly when flags have
 * "-x assembler") with gcc and flags. Valid until the next call but seven. Ends
 * the test program when it cannot be built.
 */
const char *build(const char *name, const char *flags, const char *source);

/* Runs a shell command; returns whether it succeeded. */
bool run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* First line of what a shell command prints, "" when there is none; valid until the next call. */
const char *line_of(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Opens a file that must be one that can be used. */
struct ps_elf *open_image(const char *path);

struct ps_elf_function find_function(struct ps_elf *elf, const char *name);

/* The layouts of Go's table of functions, see struct go_image. */
enum go_layout { GO_LAYOUT_1_16, GO_LAYOUT_1_18, GO_LAYOUT_1_20, GO_LAYOUT_1_26 };

/* A Go program with one or two functions, as far as its file shows. */
struct go_image {
	enum go_layout layout;
	const char *version;
	bool pointed_version; /* build info of before Go 1.18 */
	bool sections;        /* with section headers */
	const char *names[2];
	const uint8_t *code[2];
	size_t code_bytes[2]; /* 0: there is no such function */
};

enum { GO_IMAGE_BYTES = 8192, GO_IMAGE_TEXT = 0x401000 };

/* Writes the file into bytes, which have GO_IMAGE_BYTES. Returns its size. */
size_t go_image_write(const struct go_image *image, uint8_t *bytes);

/* Calls every function of plainsight_elf.h on a file, which may be anything; returns a number made of the answers. */
uint64_t ask_everything(const char *path);

#endif
