/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where uprobes are put: functions of known shapes that the test builds, and
 * those of the system's libssl.
 */
#include "elf_build.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the start of a function ---- */

/* Where the site on function "f" of some assembly is: distance from its start, or -1. */
static long site_distance(const char *body, bool *emulated)
{
	char source[512];
	struct ps_elf *elf;
	struct ps_elf_site site;
	struct ps_elf_function function;
	const char *reason;
	long distance;

	snprintf(source, sizeof(source), ".text\nnop\n.globl f\n.type f,@function\nf: %s\n.size f,.-f\n", body);
	elf = open_image(build("start.so", "-x assembler -shared -nostdlib", source));
	function = find_function(elf, "f");
	reason = ps_elf_site(elf, "f", &site);
	if (reason)
		printf("# %s\n", reason);
	distance = reason || site.address != function.address ? -1 : (long)(site.entry - function.offset);
	*emulated = site.emulated;
	ps_elf_close(elf);
	return distance;
}

static void test_starts(void)
{
	static const struct {
		const char *body;
		long distance;
		bool emulated;
	} CASES[] = {
	    {"push %rbp; pop %rbp; ret", 0, true},
	    {"push %r15; pop %r15; ret", 0, true},
	    {"endbr64; push %rbx; pop %rbx; ret", 4, true},
	    {"endbr64; push %r12; pop %r12; ret", 4, true},
	    {"nop; ret", 0, true},
	    {"call g; ret; .globl g; g: ret", 0, true},
	    {"jmp g; .globl g; g: ret", 0, true},
	    {"jne 1f; ret; .fill 200; 1: ret", 0, true},
	    {"jne 1f; 1: ret", 0, true},
	    {"sub $8, %rsp; add $8, %rsp; ret", 0, false},
	    {"endbr64; sub $8, %rsp; add $8, %rsp; ret", 0, false},
	    {"mov %rdi, %rax; ret", 0, false},
	    {"ret", 0, false},
	    {"push $1; pop %rax; ret", 0, false},
	    {"jmp *%rax", 0, false},
	    {"call *%rax; ret", 0, false},
	};

	for (size_t i = 0; i < sizeof(CASES) / sizeof(*CASES); i++) {
		bool emulated;
		long distance = site_distance(CASES[i].body, &emulated);

		if (!tap_ok(distance == CASES[i].distance && emulated == CASES[i].emulated, CASES[i].body))
			printf("# at %ld, %s\n", distance, emulated ? "emulated" : "not emulated");
	}
}

/* ---- inner functions ---- */

#define HEAD                                                                                                           \
	"typedef unsigned long size_t;\n"                                                                              \
	"void report(void);\n"                                                                                         \
	"extern volatile int somewhere;\n"                                                                             \
	"#define WORK(n) do { volatile char frame[64]; frame[0] = n; somewhere += frame[0]; report(); } while (0)\n"   \
	"#define FAR __attribute__((noinline, noclone))\n"

#define INNER                                                                                                          \
	"static FAR int inner(void *s, char *b, size_t n, size_t *moved)\n"                                            \
	"{ WORK(n); *moved = n; report(); return s && *b; }\n"

#define READ                                                                                                           \
	"int api_read(void *s, void *b, int n)\n"                                                                      \
	"{ size_t m; int r; if (n < 0) { report(); return -1; } r = inner(s, b, n, &m); return r > 0 ? (int)m : r; "   \
	"}\n"

#define READ_EX                                                                                                        \
	"int api_read_ex(void *s, void *b, size_t n, size_t *moved)\n"                                                 \
	"{ int r = inner(s, b, n, moved); return r < 0 ? 0 : r; }\n"

struct shape {
	const char *name;
	const char *source;
	const char *reason; /* NULL: the function inner is found */
	uint32_t moved_argument;
};

static const struct shape SHAPES[] = {
    {"two wrappers", HEAD INNER READ READ_EX, NULL, 4},
    {"a wrapper that is a tail call",
     HEAD INNER READ "int api_read_ex(void *s, void *b, size_t n, size_t *moved) { return inner(s, b, n, moved); }\n",
     NULL, 4},
    {"flags before the place for the length",
     HEAD "static FAR int inner(void *s, char *b, size_t n, long flags, size_t *moved)\n"
	  "{ WORK(n); *moved = n + flags; report(); return s && *b; }\n"
	  "int api_read(void *s, void *b, int n) { size_t m; int r = inner(s, b, n, 0, &m); return r ? (int)m : 0; }\n"
	  "int api_read_ex(void *s, void *b, size_t n, size_t *moved)\n"
	  "{ int r = inner(s, b, n, 0, moved); return r < 0 ? 0 : r; }\n",
     NULL, 5},
    {"through one other exported function",
     HEAD "static FAR int inner(void *s, char *b, size_t n, long flags, size_t *moved)\n"
	  "{ WORK(n); *moved = n + flags; report(); return s && *b; }\n"
	  "int api_read(void *s, void *b, int n) { size_t m; int r = inner(s, b, n, 0, &m); return r ? (int)m : 0; }\n"
	  "int api_read_ex2(void *s, void *b, size_t n, long flags, size_t *moved)\n"
	  "{ int r = inner(s, b, n, flags, moved); return r < 0 ? 0 : r; }\n"
	  "int api_read_ex(void *s, void *b, size_t n, size_t *moved) { return api_read_ex2(s, b, n, 0, moved); }\n",
     NULL, 5},
    {"arguments kept in other registers meanwhile",
     HEAD INNER READ "int api_read_ex(void *s, void *b, size_t n, size_t *moved)\n"
		     "{ int r; report(); r = inner(s, b, n, moved); return r < 0 ? 0 : r; }\n",
     NULL, 4},
    {"another buffer",
     HEAD INNER READ "int api_read_ex(void *s, char *b, size_t n, size_t *moved)\n"
		     "{ int r = inner(s, b + 1, n, moved); return r < 0 ? 0 : r; }\n",
     "they call no function with the same arguments", 0},
    {"another object",
     HEAD INNER READ "int api_read_ex(void **s, char *b, size_t n, size_t *moved)\n"
		     "{ int r = inner(*s, b, n, moved); return r < 0 ? 0 : r; }\n",
     "they call no function with the same arguments", 0},
    {"another buffer on one of two ways",
     HEAD INNER READ "int api_read_ex(void *s, char *b, size_t n, size_t *moved)\n"
		     "{ int r; if (n > 9) { report(); b = (char *)&somewhere; } r = inner(s, b, n, moved);\n"
		     "return r < 0 ? 0 : r; }\n",
     "they call no function with the same arguments", 0},
    {"called a second time, with another buffer",
     HEAD INNER READ
     "int api_read_ex(void *s, char *b, size_t n, size_t *moved)\n"
     "{ int r = inner(s, b, n, moved); r += inner(s, (char *)&somewhere, n, moved); return r < 0 ? 0 : r; }\n",
     "they call no function with the same arguments", 0},
    {"a function that other files can replace, called through the PLT",
     HEAD "FAR int inner(void *s, char *b, size_t n, size_t *moved)\n"
	  "{ WORK(n); *moved = n; report(); return s && *b; }\n" READ READ_EX,
     "they call no function with the same arguments", 0},
    {"two functions that both call",
     HEAD INNER "static FAR int second(void *s, char *b, size_t n, size_t *moved)\n"
		"{ WORK(n + 1); *moved += n; report(); return s && *b; }\n"
		"int api_read(void *s, void *b, int n)\n"
		"{ size_t m; int r = inner(s, b, n, &m); r += second(s, b, n, &m); return r > 0 ? (int)m : r; }\n"
		"int api_read_ex(void *s, void *b, size_t n, size_t *moved)\n"
		"{ int r = inner(s, b, n, moved); r += second(s, b, n, moved); return r < 0 ? 0 : r; }\n",
     "they call several functions with the same arguments", 0},
    /* as in node: the inner function is copied into both, which have nothing but the reporting of errors in common */
    {"only reporting of errors",
     HEAD "static FAR void failed(void) { WORK(1); report(); }\n"
	  "int api_read(void *s, char *b, int n)\n"
	  "{ if (n < 0) { failed(); return -1; } report(); return *b + n; }\n"
	  "int api_read_ex(void *s, char *b, size_t n, size_t *moved)\n"
	  "{ if (!s) { failed(); return 0; } report(); *moved = n; return *b; }\n",
     "they call no function with the same arguments", 0},
    {"a way that is not known: a jump through a table",
     HEAD INNER READ "int api_read_ex(void *s, char *b, size_t n, size_t *moved)\n"
		     "{ static void *const ways[] = {&&one, &&two}; int r; goto *ways[somewhere]; one: report(); two:\n"
		     "r = inner(s, b, n, moved); return r < 0 ? 0 : r; }\n",
     "too complex for a function that only calls another one", 0},
    {"one of them is missing", HEAD INNER READ, "not all of the functions are there", 0},
};

static const char *const NAMES[] = {"api_read", "api_read_ex"};

/* inner is looked up with its symbol, then the same must come out of a stripped file. */
static bool has_shape(const struct shape *shape, const char *flags)
{
	const char *path = build("shape.so", flags, shape->source);
	struct ps_elf *whole = open_image(path), *stripped;
	struct ps_elf_function inner = find_function(whole, "inner");
	struct ps_elf_site site;
	const char *reason;
	bool passed;

	run("strip -o %s/stripped.so %s", build_dir(), path);
	stripped = open_image(line_of("echo %s/stripped.so", build_dir()));
	reason = ps_elf_inner_site(stripped, NAMES, 2, &site);
	if (shape->reason)
		passed = reason && strcmp(reason, shape->reason) == 0;
	else
		passed = !reason && inner.found && site.address == inner.address && site.entry - inner.offset <= 4 &&
			 site.moved_argument == shape->moved_argument;
	if (!passed)
		printf("# %s: %s, at %#lx instead of %#lx, argument %u\n", flags, reason ? reason : "found",
		       site.address, inner.address, site.moved_argument);
	ps_elf_close(whole);
	ps_elf_close(stripped);
	return passed;
}

static void test_shapes(void)
{
	static const char *const FLAGS[] = {
	    "-O2 -shared -fPIC -fcf-protection=none",
	    "-O2 -shared -fPIC -fcf-protection=full",
	    "-O2 -shared -fPIC -fstack-protector-all -Wl,-z,now",
	    "-O1 -shared -fPIC -fno-omit-frame-pointer",
	    "-O3 -shared -fPIC -Wl,-z,lazy",
	};

	for (size_t i = 0; i < sizeof(SHAPES) / sizeof(*SHAPES); i++) {
		bool passed = true;

		for (size_t k = 0; k < sizeof(FLAGS) / sizeof(*FLAGS); k++)
			passed &= has_shape(&SHAPES[i], FLAGS[k]);
		tap_ok(passed, SHAPES[i].name);
	}
}

static void test_names(void)
{
	struct ps_elf *elf = open_image(build("names.so", "-O2 -shared -fPIC", HEAD INNER READ READ_EX));
	const char *many[PS_ELF_WRAPPERS_MAX + 1];
	struct ps_elf_site site;

	for (size_t i = 0; i < sizeof(many) / sizeof(*many); i++)
		many[i] = "api_read";
	tap_ok(ps_elf_inner_site(elf, NAMES, 1, &site) != NULL, "one name has nothing in common with another");
	tap_ok(ps_elf_inner_site(elf, many, PS_ELF_WRAPPERS_MAX + 1, &site) != NULL, "too many names");
	tap_ok(strcmp(ps_elf_site(elf, "absent", &site), "no such function") == 0,
	       "site on a function that is not there");
	ps_elf_close(elf);
}

/* ---- OpenSSL ---- */

/* The address that a function's call instruction leads to, by objdump(1): the first that is not through the PLT. */
static uint64_t called_by(const char *path, const struct ps_elf_function *function)
{
	return strtoull(line_of("objdump -d --no-show-raw-insn --start-address=%lu --stop-address=%lu %s |"
				" grep -E '\\scall\\s' | grep -v '@plt' | sed -E 's/.*call *([0-9a-f]+).*/\\1/'",
				function->address, function->address + function->size, path),
			NULL, 16);
}

static void test_openssl(void)
{
	static const char *const CASES[][2] = {{"SSL_read", "SSL_read_ex"}, {"SSL_write", "SSL_write_ex"}};
	char path[512];
	struct ps_elf *elf;

	strcpy(path, line_of("gcc -print-file-name=libssl.so"));
	elf = open_image(path);
	for (size_t i = 0; i < 2; i++) {
		struct ps_elf_function wrapper = find_function(elf, CASES[i][0]);
		uint64_t called = called_by(path, &wrapper);
		struct ps_elf_site site;
		const char *reason = ps_elf_inner_site(elf, CASES[i], 2, &site);

		if (!tap_ok(!reason && called != 0 && site.address == called, CASES[i][0]))
			printf("# %s: %#lx instead of %#lx\n", reason ? reason : "found", site.address, called);
	}
	ps_elf_close(elf);
}

/* With every image closed: the next one that is opened must not pay for it again. */
static void test_disassembler_stays(void)
{
	tap_ok(line_of("grep -c 'r-xp.*/libcapstone' /proc/%d/maps", (int)getpid())[0] == '1',
	       "the disassembler stays loaded");
}

int main(void)
{
	test_starts();
	test_shapes();
	test_names();
	test_openssl();
	test_disassembler_stays();
	return tap_end();
}
