/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user of libplainsight.so learns from an executable or a library (ELF,
 * x86-64): where its functions are, and where a uprobe on them is best put.
 *
 * Lua passes the text between the marker lines to ffi.cdef, so it holds no
 * preprocessor line.
 */
#ifndef PLAINSIGHT_ELF_H
#define PLAINSIGHT_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cdef begin */
/*
 * The file is of another process: everything in it may be made up. What it says
 * is checked against its size and against bounds, and it is only ever read in
 * pieces: it may be huge, and it may change meanwhile. Of a file that stays open
 * 2 GiB are read in all; then nothing more is found in it.
 *
 * Functions that can fail for a reason that a user should know return NULL when
 * they succeed and the reason otherwise: a constant string.
 */
struct ps_elf;

enum {
	PS_ELF_TEXT_MAX = 256,   /* bytes of any text that is handed out, with its terminating NUL */
	PS_ELF_NAMES_MAX = 256,  /* names that can be asked for at once */
	PS_ELF_RETURNS_MAX = 64, /* places where a Go function returns */
	PS_ELF_WRAPPERS_MAX = 8  /* names for ps_elf_inner_site() */
};

struct ps_elf_text {
	char text[256];
};

struct ps_elf_function {
	uint64_t address; /* as in the file's symbol tables */
	uint64_t offset;  /* in the file: what a uprobe is attached to */
	uint64_t size;    /* bytes; 0: not known */
	uint32_t found;   /* 0: no such function, the other fields mean nothing */
	uint32_t pad;
};

/* Opens a file, which stays open until ps_elf_close(). NULL, with *reason set, when it cannot be used. */
struct ps_elf *ps_elf_open(const char *path, const char **reason);
void ps_elf_close(struct ps_elf *elf);

/* Has an entry point of its own: ld.so and libc can be started too, but are libraries. */
bool ps_elf_is_executable(struct ps_elf *elf);

/*
 * Defined functions by name, in .dynsym (of several versions the default one)
 * and, for those that are not there, in .symtab. found has room for count, at
 * most PS_ELF_NAMES_MAX; each name is given once. Static functions that share a
 * name are not found.
 */
void ps_elf_functions(struct ps_elf *elf, const char *const *names, uint32_t count, struct ps_elf_function *found);

/* Texts; false when there is none. They are of printable ASCII. */
bool ps_elf_soname(struct ps_elf *elf, struct ps_elf_text *soname);
bool ps_elf_needed(struct ps_elf *elf, uint32_t index, struct ps_elf_text *library);
bool ps_elf_build_id(struct ps_elf *elf, struct ps_elf_text *hex);

/*
 * The first text in read-only data that begins with prefix and ends with NUL.
 * Looks at 128 MiB at most.
 */
bool ps_elf_find_text(struct ps_elf *elf, const char *prefix, struct ps_elf_text *text);

/*
 * The same, wherever part is: compilers of other languages than C put texts one
 * after the other, without NUL. text is what follows from part on, as far as it
 * is printable.
 */
bool ps_elf_find_inside(struct ps_elf *elf, const char *part, struct ps_elf_text *text);

/*
 * Where a uprobe and a uretprobe on a function are put. A uprobe on an
 * instruction that the kernel emulates costs 0.6 us, on another one, which runs
 * in single-step mode, 5 us and more; a uretprobe sits on an instruction, too.
 */
struct ps_elf_site {
	uint64_t address;        /* of the function */
	uint64_t entry;          /* offset in the file; all arguments and the return address are in their places */
	uint32_t emulated;       /* whether the kernel emulates the instruction there */
	uint32_t moved_argument; /* ps_elf_inner_site(): see there; else 0 */
};

/* The start of a function, or what is behind an endbr64 there if that is cheaper. */
const char *ps_elf_site(struct ps_elf *elf, const char *name, struct ps_elf_site *site);

/*
 * The function that does the work for several exported ones, as
 * ssl_read_internal() for SSL_read() and SSL_read_ex(): often it has the cheaper
 * start, and it is hit once for all. Their code must show that
 *
 *	all of names call or jump to it directly, themselves or through one
 *	other function, not through the PLT;
 *	each time the first two arguments are those of the caller;
 *	argument 4 or 5 is a pointer to a variable of a caller or the caller's own
 *	fourth argument: this is where it stores how many bytes it has moved, and
 *	moved_argument says which of the two it is;
 *	it is the only such function, and a function begins there.
 */
const char *ps_elf_inner_site(struct ps_elf *elf, const char *const *names, uint32_t count, struct ps_elf_site *site);

/* The version of Go that a program was built with, as "go1.19.8"; false when it was not built with Go. */
bool ps_elf_go_version(struct ps_elf *elf, struct ps_elf_text *version);

/*
 * Functions of a Go program by their full names ("crypto/tls.(*Conn).Read"),
 * stripped or not: from the table that its runtime uses. found as in
 * ps_elf_functions(). Knows the tables of Go 1.16 and newer.
 */
const char *ps_elf_go_functions(struct ps_elf *elf, const char *const *names, uint32_t count,
				struct ps_elf_function *found);

/* Where uprobes on a Go function are put; a uretprobe on it would break the program. */
struct ps_elf_go_site {
	uint64_t address; /* of the function */
	uint64_t entry;   /* offset in the file: once a call, with the arguments in rax, rbx, rcx, rdi */
	/*
	 * When a hit of entry has one of these bits in its flags register, it is
	 * not a call yet: the stack grows first, and the function starts again.
	 */
	uint64_t skip_flags;
	uint32_t emulated; /* whether the kernel emulates the instruction at entry; ret it does not */
	uint32_t return_count;
	uint64_t returns[64]; /* offsets in the file: every ret, with the results in rax, rbx, rcx, rdi */
};

/* For a function that ps_elf_go_functions() has found. Programs of Go 1.17 and newer: arguments are in registers since.
 */
const char *ps_elf_go_site(struct ps_elf *elf, const struct ps_elf_function *function, struct ps_elf_go_site *site);
/* cdef end */

#endif
