/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Go programs: files with the tables of all versions, written by hand, and,
 * where Go is installed, what its compiler makes.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create() */
#endif
#include "elf_build.h"
#include "tap.h"

#include <elf.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* As Go 1.21 and newer begin a function; it has two returns. */
static const uint8_t PUSH_FIRST[] = {
    0x49, 0x3b, 0x66, 0x10,       /*  0 cmp 16(%r14), %rsp */
    0x76, 0x12,                   /*  4 jbe 24 */
    0x55,                         /*  6 push %rbp */
    0x48, 0x89, 0xe5,             /*  7 mov %rsp, %rbp */
    0x48, 0x83, 0xec, 0x08,       /* 10 sub $8, %rsp */
    0x48, 0x85, 0xc0,             /* 14 test %rax, %rax */
    0x75, 0x02,                   /* 17 jne 21 */
    0x5d,                         /* 19 pop %rbp */
    0xc3,                         /* 20 ret */
    0x31, 0xc0,                   /* 21 xor %eax, %eax */
    0xc3,                         /* 23 ret */
    0xe8, 0x00, 0x00, 0x00, 0x00, /* 24 call 29 */
    0xeb, 0xe1,                   /* 29 jmp 0 */
    0xcc,                         /* 31 int3 */
};

/* As Go 1.17 to 1.20 do; a large frame, and nothing that is emulated before an argument is overwritten. */
static const uint8_t SUB_FIRST[] = {
    0x4c, 0x8d, 0x64, 0x24, 0x98,             /*  0 lea -104(%rsp), %r12 */
    0x4d, 0x3b, 0x66, 0x10,                   /*  5 cmp 16(%r14), %r12 */
    0x0f, 0x86, 0x0d, 0x00, 0x00, 0x00,       /*  9 jbe 28 */
    0x48, 0x81, 0xec, 0xe8, 0x00, 0x00, 0x00, /* 15 sub $232, %rsp */
    0x48, 0x31, 0xdb,                         /* 22 xor %rbx, %rbx */
    0x90,                                     /* 25 nop */
    0x5d,                                     /* 26 pop %rbp */
    0xc3,                                     /* 27 ret */
    0xe8, 0x00, 0x00, 0x00, 0x00,             /* 28 call 33 */
    0xeb, 0xdd,                               /* 33 jmp 0 */
};

/* nosplit: no check. A loop leads back to its first instruction that is emulated. */
static const uint8_t NO_CHECK[] = {
    0x48, 0xff, 0xc9, /* 0 dec %rcx; writes an argument */
    0x75, 0xfb,       /* 3 jne 0 */
    0xc3,             /* 5 ret */
};

static const uint8_t LOOP[] = {
    0x49, 0x3b, 0x66, 0x10,                   /*  0 cmp 16(%r14), %rsp */
    0x76, 0x06,                               /*  4 jbe 12 */
    0x48, 0x85, 0xd2,                         /*  6 test %rdx, %rdx */
    0x75, 0xfb,                               /*  9 jne 6 */
    0xc3,                                     /* 11 ret */
    0xe8, 0x00, 0x00, 0x00, 0x00, 0xeb, 0xed, /* 17 jmp 0 */
};

static const uint8_t TAIL_JUMP[] = {0x90, 0xe9, 0x00, 0x10, 0x00, 0x00, 0xc3};
static const uint8_t NO_RETURN[] = {0x90, 0xeb, 0xfd};

static const char READ[] = "crypto/tls.(*Conn).Read";
static const char WRITE[] = "crypto/tls.(*Conn).Write";

#define CODE(bytes)                                                                                                    \
	{bytes, PUSH_FIRST},                                                                                           \
	{                                                                                                              \
		sizeof(bytes), sizeof(PUSH_FIRST)                                                                      \
	}

static struct ps_elf *open_go(const struct go_image *image, char *path)
{
	static uint8_t bytes[GO_IMAGE_BYTES];
	size_t size = go_image_write(image, bytes);
	int fd = memfd_create("go", 0);

	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
		abort();
	snprintf(path, 64, "/proc/self/fd/%d", fd); /* stays open: there are few */
	return open_image(path);
}

static void test_layouts(void)
{
	static const struct {
		const char *title;
		struct go_image image;
	} CASES[] = {
	    {"Go 1.16", {GO_LAYOUT_1_16, "go1.16.15", true, true, {READ, WRITE}, CODE(SUB_FIRST)}},
	    {"Go 1.18", {GO_LAYOUT_1_18, "go1.18.1", false, true, {READ, WRITE}, CODE(SUB_FIRST)}},
	    {"Go 1.20", {GO_LAYOUT_1_20, "go1.20.14 X:boringcrypto", false, true, {READ, WRITE}, CODE(SUB_FIRST)}},
	    {"Go 1.26", {GO_LAYOUT_1_26, "go1.26", false, true, {READ, WRITE}, CODE(SUB_FIRST)}},
	    {"Go 1.16, no sections", {GO_LAYOUT_1_16, "go1.16", true, false, {READ, WRITE}, CODE(SUB_FIRST)}},
	    {"Go 1.26, no sections", {GO_LAYOUT_1_26, "devel go1.27-1", false, false, {READ, WRITE}, CODE(SUB_FIRST)}},
	};
	static const char *const NAMES[] = {WRITE, "Conn).Read", READ, ""};

	for (size_t i = 0; i < sizeof(CASES) / sizeof(*CASES); i++) {
		char path[64];
		struct ps_elf *elf = open_go(&CASES[i].image, path);
		struct ps_elf_text version = {""};
		struct ps_elf_function found[4];
		const char *reason;

		ps_elf_go_version(elf, &version);
		tap_ok(strcmp(version.text, CASES[i].image.version) == 0, CASES[i].title);
		reason = ps_elf_go_functions(elf, NAMES, 4, found);
		if (!tap_ok(!reason && found[0].found && !found[1].found && found[2].found && !found[3].found &&
				found[2].address == GO_IMAGE_TEXT && found[2].size == sizeof(SUB_FIRST) &&
				found[0].address == GO_IMAGE_TEXT + sizeof(SUB_FIRST) &&
				found[0].offset == found[0].address - GO_IMAGE_TEXT + 0x1000,
			    "  its functions"))
			printf("# %s, %#lx %lu\n", reason ? reason : "", found[2].address, found[2].size);
		ps_elf_close(elf);
	}
}

static void test_sites(void)
{
	static const struct {
		const char *title;
		struct go_image image;
		const char *reason;
		uint64_t entry; /* this and what follows: distance from the function's start */
		uint64_t skip_flags;
		bool emulated;
		uint64_t returns[3];
	} CASES[] = {
	    {"push behind the check",
	     {GO_LAYOUT_1_20, "go1.21.0", false, true, {READ, WRITE}, CODE(PUSH_FIRST)},
	     NULL,
	     6,
	     0,
	     true,
	     {20, 23}},
	    {"nothing emulated in time: the check itself, with the flags that say that it starts again",
	     {GO_LAYOUT_1_18, "go1.19.8", false, true, {READ, WRITE}, CODE(SUB_FIRST)},
	     NULL,
	     9,
	     0x41,
	     true,
	     {27}},
	    {"no check",
	     {GO_LAYOUT_1_20, "go1.21.0", false, true, {READ, WRITE}, CODE(NO_CHECK)},
	     NULL,
	     0,
	     0,
	     false,
	     {5}},
	    {"what is emulated is part of a loop",
	     {GO_LAYOUT_1_20, "go1.21.0", false, true, {READ, WRITE}, CODE(LOOP)},
	     NULL,
	     4,
	     0x41,
	     true,
	     {11}},
	    {"a jump to another function",
	     {GO_LAYOUT_1_20, "go1.21.0", false, true, {READ, WRITE}, CODE(TAIL_JUMP)},
	     "it ends with a jump to another function",
	     0,
	     0,
	     false,
	     {0}},
	    {"no return",
	     {GO_LAYOUT_1_20, "go1.21.0", false, true, {READ, WRITE}, CODE(NO_RETURN)},
	     "it does not return",
	     0,
	     0,
	     false,
	     {0}},
	    {"arguments on the stack",
	     {GO_LAYOUT_1_16, "go1.16.1", true, true, {READ, WRITE}, CODE(PUSH_FIRST)},
	     "built with a Go older than 1.17, whose arguments are on the stack",
	     0,
	     0,
	     false,
	     {0}},
	};
	const char *name = READ;

	for (size_t i = 0; i < sizeof(CASES) / sizeof(*CASES); i++) {
		char path[64];
		struct ps_elf *elf = open_go(&CASES[i].image, path);
		struct ps_elf_function function;
		struct ps_elf_go_site site;
		const char *reason = ps_elf_go_functions(elf, &name, 1, &function);
		bool passed;

		if (!reason)
			reason = ps_elf_go_site(elf, &function, &site);
		if (CASES[i].reason) {
			passed = reason && strcmp(reason, CASES[i].reason) == 0;
		} else {
			passed = !reason && site.entry - function.offset == CASES[i].entry &&
				 site.skip_flags == CASES[i].skip_flags && site.emulated == CASES[i].emulated;
			for (uint32_t k = 0; passed && k < site.return_count; k++)
				passed = site.returns[k] - function.offset == CASES[i].returns[k];
			passed = passed && CASES[i].returns[site.return_count] == 0;
		}
		if (!tap_ok(passed, CASES[i].title))
			printf("# %s\n", reason ? reason : "found");
		ps_elf_close(elf);
	}
}

/* Every byte of the tables, in a program with and in one without section headers. */
static void test_flipped_bytes(void)
{
	static const uint8_t VALUES[] = {0, 1, 0x7f, 0x80, 0xff};
	static const struct go_image IMAGES[] = {
	    {GO_LAYOUT_1_16, "go1.17", true, true, {READ, WRITE}, CODE(SUB_FIRST)},
	    {GO_LAYOUT_1_26, "go1.27", false, false, {READ, WRITE}, CODE(PUSH_FIRST)},
	};
	static uint8_t bytes[GO_IMAGE_BYTES];

	for (size_t i = 0; i < 2; i++) {
		char path[64];
		struct ps_elf *elf = open_go(&IMAGES[i], path);
		int fd = atoi(strrchr(path, '/') + 1);
		size_t size = go_image_write(&IMAGES[i], bytes);
		uint64_t whole = ask_everything(path);

		for (size_t at = 0; at < size; at++) {
			for (size_t k = 0; k < sizeof(VALUES) && (bytes[at] != 0 || at % 8 == 0); k++) {
				if (pwrite(fd, &VALUES[k], 1, (off_t)at) != 1)
					abort();
				ask_everything(path);
			}
			if (pwrite(fd, &bytes[at], 1, (off_t)at) != 1)
				abort();
		}
		tap_ok(ask_everything(path) == whole, "bytes flipped, one by one");
		ps_elf_close(elf);
	}
}

/*
 * Header after header of a table, each of which sends the search for its module
 * data through all of the file: what a file may cost is bounded.
 */
static void test_costly(void)
{
	static const struct go_image IMAGE = {GO_LAYOUT_1_26, "go1.27", false, false, {READ, WRITE}, CODE(PUSH_FIRST)};
	enum { BYTES = 64 << 20, STRIDE = 80, AT = 0x10000 };
	const uint64_t header[9] = {0x08010000fffffff1, 1, 0, 0, 72, 80, 80, 80, 72};
	Elf64_Phdr segment = {
	    .p_type = PT_LOAD, .p_flags = PF_R, .p_offset = AT, .p_vaddr = 1 << 28, .p_filesz = BYTES};
	static uint8_t bytes[GO_IMAGE_BYTES];
	uint8_t *headers = calloc(1, BYTES);
	char path[64];
	struct ps_elf *elf = open_go(&IMAGE, path);
	int fd = atoi(strrchr(path, '/') + 1);
	const char *name = READ;
	struct ps_elf_function found;
	time_t begin = time(NULL);

	ps_elf_close(elf);
	for (size_t at = 0; at + STRIDE <= BYTES; at += STRIDE)
		memcpy(headers + at, header, sizeof(header));
	go_image_write(&IMAGE, bytes);
	bytes[offsetof(Elf64_Ehdr, e_phnum)] = 3;
	memcpy(bytes + sizeof(Elf64_Ehdr) + 2 * sizeof(segment), &segment, sizeof(segment));
	memset(bytes + 0x400, 0, 8); /* its own table */
	if (pwrite(fd, bytes, sizeof(bytes), 0) != sizeof(bytes) || pwrite(fd, headers, BYTES, AT) != BYTES)
		abort();
	free(headers);
	elf = open_image(path);
	tap_ok(ps_elf_go_functions(elf, &name, 1, &found) != NULL && !found.found && time(NULL) - begin < 60,
	       "a file that is made to be searched for long");
	ps_elf_close(elf);
	close(fd);
}

/* ---- what Go makes ---- */

static const char PROGRAM[] = "package main\n"
			      "import (\"crypto/tls\"; \"os\")\n"
			      "func main() {\n"
			      "	c, err := tls.Dial(\"tcp\", os.Args[1], nil)\n"
			      "	if err == nil { c.Write([]byte(\"x\")); c.Read(make([]byte, 9)) }\n"
			      "}\n";

/* Number of ret instructions of a function, by objdump(1), which knows the whole program's symbols. */
static int returns_by_objdump(const char *path, const struct ps_elf_function *function)
{
	return atoi(
	    line_of("objdump -d --no-show-raw-insn --start-address=%lu --stop-address=%lu %s | grep -cE '\\sret'",
		    function->address, function->address + function->size, path));
}

static bool is_same(const char *path, const char *name, uint64_t address)
{
	struct ps_elf *elf = open_image(path);
	struct ps_elf_function function;
	struct ps_elf_go_site site = {.return_count = 0};
	const char *reason = ps_elf_go_functions(elf, &name, 1, &function);
	bool passed;

	if (!reason)
		reason = ps_elf_go_site(elf, &function, &site);
	passed = !reason && (address == 0 || function.address == address) && site.emulated &&
		 (int)site.return_count == returns_by_objdump(path, &function);
	if (!passed)
		printf("# %s: %s: %s, at %#lx instead of %#lx\n", path, name, reason ? reason : "found",
		       function.address, address);
	ps_elf_close(elf);
	return passed;
}

/* With symbols, nm(1) says where a function is; stripped, it is in the same place. */
static void test_compiler(void)
{
	static const char *const FLAGS[] = {"", "-buildmode=pie"};
	const char *directory = build_dir();
	char path[2][256];

	if (!run("command -v go >/dev/null")) {
		tap_ok(true, "what Go makes # SKIP go is not installed (Debian package golang-go)");
		return;
	}
	run("mkdir %s/go && printf '%%s' '%s' >%s/go/main.go", directory, PROGRAM, directory);
	for (size_t i = 0; i < 2; i++) {
		uint64_t address;

		snprintf(path[0], sizeof(path[0]), "%s/go/whole", directory);
		snprintf(path[1], sizeof(path[1]), "%s/go/stripped", directory);
		for (size_t k = 0; k < 2; k++) {
			if (!run("cd %s/go && GOCACHE=" PS_GO_CACHE " GO111MODULE=off go build %s %s -o %s main.go",
				 directory, FLAGS[i], k == 1 ? "-ldflags '-s -w'" : "", path[k]))
				tap_ok(false, "go build");
		}
		address = strtoull(line_of("nm %s | grep -F ' T %s'", path[0], READ), NULL, 16);
		tap_ok(address != 0 && is_same(path[0], READ, address), *FLAGS[i] ? "go build, PIE" : "go build");
		tap_ok(is_same(path[1], READ, address) && is_same(path[1], WRITE, 0), "  stripped");
	}
}

int main(void)
{
	test_layouts();
	test_sites();
	test_flipped_bytes();
	test_costly();
	test_compiler();
	return tap_end();
}
