/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Symbols and texts of ELF files: of small ones that the test builds, of the
 * system's TLS libraries, and of files that are cut short or broken.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create() */
#endif
#include "elf_build.h"
#include "tap.h"

#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Two wrappers and the function that they call, a version text, a function that two files have. */
static const char LIBRARY[] =
    "typedef unsigned long size_t;\n"
    "extern int other_library(void *);\n"
    "const char version[] = \"SomeSSL 1.2.3 of today\";\n"
    "const char *about(void) { return \"about SomeSSL 1.9\"; }\n"
    "static int __attribute__((noinline)) inner(void *s, void *b, size_t n, size_t *moved)\n"
    "{ volatile char frame[64]; frame[0] = n; *moved = n; return other_library(s) + *(char *)b; }\n"
    "int api_read(void *s, void *b, int n)\n"
    "{ size_t m; int r; if (n < 0) return -1; r = inner(s, b, n, &m); return r > 0 ? (int)m : r; }\n"
    "int api_read_ex(void *s, void *b, size_t n, size_t *moved)\n"
    "{ int r = inner(s, b, n, moved); return r > 0 ? 1 : 0; }\n"
    "int data_not_code = 1;\n";

static bool is_text(bool found, const struct ps_elf_text *text, const char *expected)
{
	if (found && strcmp(text->text, expected) == 0)
		return true;
	printf("# %s instead of %s\n", found ? text->text : "nothing", expected);
	return false;
}

/* Address of a function by nm(1). */
static uint64_t nm_address(const char *path, const char *flags, const char *name)
{
	return strtoull(line_of("nm %s --defined-only %s | grep -E ' [TtW] %s(@@.*)?$'", flags, path, name), NULL, 16);
}

static bool is_where_nm_says(const char *path, const char *flags, const char *name)
{
	struct ps_elf *elf = open_image(path);
	struct ps_elf_function function = find_function(elf, name);
	uint64_t address = nm_address(path, flags, name);

	ps_elf_close(elf);
	if (function.found && function.address == address && address != 0 && function.size > 0)
		return true;
	printf("# %s: %s at %#lx, nm: %#lx\n", path, name, function.address, address);
	return false;
}

static void test_library(void)
{
	const char *path = build("libsome.so", "-O2 -shared -fPIC -Wl,--no-as-needed,-soname,libsome.so.7", LIBRARY);
	struct ps_elf *elf = open_image(path);
	struct ps_elf_text text;

	tap_ok(is_where_nm_says(path, "", "api_read"), "exported function is where nm says");
	tap_ok(is_where_nm_says(path, "", "inner"), "static function is where nm says");
	tap_ok(!find_function(elf, "other_library").found, "undefined function is not found");
	tap_ok(!find_function(elf, "data_not_code").found, "variable is not found");
	tap_ok(!find_function(elf, "pi_read").found && !find_function(elf, "").found, "end of a name is not a name");
	tap_ok(is_text(ps_elf_soname(elf, &text), &text, "libsome.so.7"), "soname");
	tap_ok(is_text(ps_elf_needed(elf, 0, &text), &text, "libc.so.6") && !ps_elf_needed(elf, 1, &text), "needed");
	tap_ok(!ps_elf_is_executable(elf), "library is not executable");
	tap_ok(is_text(ps_elf_find_text(elf, "SomeSSL 1.", &text), &text, "SomeSSL 1.2.3 of today"),
	       "text that begins with a prefix, not one that has it in the middle");
	tap_ok(!ps_elf_find_text(elf, "SomeSSL 2.", &text) && !ps_elf_find_text(elf, "", &text),
	       "text that is not there");
	ps_elf_close(elf);
	run("strip -o %s/stripped.so %s", build_dir(), path);
	elf = open_image(line_of("echo %s/stripped.so", build_dir()));
	tap_ok(find_function(elf, "api_read").found && !find_function(elf, "inner").found,
	       "stripped: exported functions only");
	ps_elf_close(elf);
}

static void test_hash_tables(void)
{
	tap_ok(is_where_nm_says(build("sysv.so", "-O2 -shared -fPIC -s -Wl,--hash-style=sysv", LIBRARY), "-D",
				"api_read_ex"),
	       "DT_HASH only");
	tap_ok(is_where_nm_says(build("gnu.so", "-O2 -shared -fPIC -s -Wl,--hash-style=gnu", LIBRARY), "-D",
				"api_read_ex"),
	       "DT_GNU_HASH only");
}

/* No section headers: what is found must come from the program headers. */
static void test_without_sections(void)
{
	const char *path =
	    build("bare.so", "-O2 -shared -fPIC -Wl,-soname,bare.so,--build-id=0x0123456789abcdef", LIBRARY);
	uint64_t address = nm_address(path, "-D", "api_read");
	struct ps_elf *elf;
	struct ps_elf_text text;
	Elf64_Ehdr header;
	int fd = open(path, O_RDWR);

	if (fd < 0 || pread(fd, &header, sizeof(header), 0) != sizeof(header))
		abort();
	header.e_shoff = 0;
	header.e_shnum = header.e_shstrndx = 0;
	if (pwrite(fd, &header, sizeof(header), 0) != sizeof(header))
		abort();
	close(fd);
	elf = open_image(path);
	tap_ok(find_function(elf, "api_read").address == address, "without section headers: function");
	tap_ok(is_text(ps_elf_soname(elf, &text), &text, "bare.so"), "without section headers: soname");
	tap_ok(is_text(ps_elf_build_id(elf, &text), &text, "0123456789abcdef"), "without section headers: build id");
	tap_ok(is_text(ps_elf_find_text(elf, "SomeSSL 1.", &text), &text, "SomeSSL 1.2.3 of today"),
	       "without section headers: text");
	ps_elf_close(elf);
}

static void test_versions(void)
{
	static const char SOURCE[] = "__asm__(\".symver old, call@ONE\\n.symver new, call@@TWO\");\n"
				     "int old(int x) { return x; }\n"
				     "int new(int x) { return x + 1; }\n";
	const char *path;

	run("printf 'ONE { global: call; local: *; };\\nTWO { global: call; } ONE;\\n' >%s/versions.map", build_dir());
	path = build("versions.so", line_of("echo -O2 -shared -fPIC -Wl,--version-script=%s/versions.map", build_dir()),
		     SOURCE);
	tap_ok(is_where_nm_says(path, "-D", "call"), "of two versions the default one");
}

static void test_static_names(void)
{
	static const char SOURCE[] = ".text\n.type twice,@function\ntwice: ret\n.size twice,.-twice\n"
				     ".type once,@function\nonce: ret\n.size once,.-once\n"
				     /* a second symbol of the same name, as a static function of another file */
				     ".type second,@function\nsecond: ret\n.size second,.-second\n";
	const char *path = build("static.so", "-x assembler -shared -nostdlib", SOURCE);
	struct ps_elf *elf;

	run("objcopy --redefine-sym second=twice %s", path);
	elf = open_image(path);
	tap_ok(find_function(elf, "once").found, "static function of assembly");
	tap_ok(!find_function(elf, "twice").found, "two static functions of one name are not guessed at");
	ps_elf_close(elf);
}

static void test_many_names(void)
{
	struct ps_elf *elf = open_image(build("many.so", "-O2 -shared -fPIC", LIBRARY));
	static char absent[PS_ELF_NAMES_MAX][16];
	const char *names[PS_ELF_NAMES_MAX];
	struct ps_elf_function found[PS_ELF_NAMES_MAX];
	uint32_t count = 0;

	for (int i = 0; i < PS_ELF_NAMES_MAX; i++) {
		snprintf(absent[i], sizeof(absent[i]), "absent_%d", i);
		names[i] = absent[i];
	}
	names[0] = "inner"; /* .symtab */
	names[100] = "api_read";
	names[PS_ELF_NAMES_MAX - 1] = "api_read_ex";
	ps_elf_functions(elf, names, PS_ELF_NAMES_MAX, found);
	for (int i = 0; i < PS_ELF_NAMES_MAX; i++)
		count += found[i].found;
	tap_ok(count == 3 && found[0].found && found[100].found && found[PS_ELF_NAMES_MAX - 1].found, "many names");
	ps_elf_close(elf);
}

static void test_executables(void)
{
	static const char SOURCE[] = "int main(void) { return 0; }\n";
	static const char *const FLAGS[] = {"-pie -fPIE", "-no-pie", "-static", "-static-pie -fPIE"};

	for (size_t i = 0; i < sizeof(FLAGS) / sizeof(*FLAGS); i++) {
		struct ps_elf *elf = open_image(build("program", FLAGS[i], SOURCE));

		tap_ok(ps_elf_is_executable(elf) && find_function(elf, "main").found, FLAGS[i]);
		ps_elf_close(elf);
	}
}

/* Whether all functions that nm(1) lists in a library are found where it says. */
static bool all_functions(const char *path)
{
	struct ps_elf *elf = open_image(path);
	FILE *pipe = popen(line_of("echo nm -D --defined-only %s", path), "r");
	char line[1024], name[900], type;
	unsigned long address;
	int checked = 0, wrong = 0;

	while (pipe && fgets(line, sizeof(line), pipe)) {
		struct ps_elf_function function;
		char *version;

		if (sscanf(line, "%lx %c %899s", &address, &type, name) != 3 || type != 'T')
			continue;
		version = strchr(name, '@');
		if (version && version[1] != '@')
			continue;
		if (version)
			*version = '\0';
		function = find_function(elf, name);
		checked++;
		wrong += !function.found || function.address != address;
	}
	if (pipe)
		pclose(pipe);
	ps_elf_close(elf);
	printf("# %s: %d functions\n", path, checked);
	return checked > 50 && wrong == 0;
}

static void test_system_libraries(void)
{
	static const char *const LIBRARIES[] = {"libssl.so",   "libcrypto.so",  "libgnutls.so",
						"libnspr4.so", "libmbedtls.so", "libwolfssl.so"};
	struct ps_elf *elf;
	struct ps_elf_text text;
	char path[512];

	for (size_t i = 0; i < sizeof(LIBRARIES) / sizeof(*LIBRARIES); i++) {
		strcpy(path, line_of("gcc -print-file-name=%s", LIBRARIES[i]));
		tap_ok(all_functions(path), LIBRARIES[i]);
	}
	strcpy(path, line_of("gcc -print-file-name=libcrypto.so"));
	elf = open_image(path);
	tap_ok(ps_elf_find_text(elf, "OpenSSL 3.", &text), "libcrypto.so: its version");
	tap_ok(ps_elf_build_id(elf, &text) &&
		   strcmp(text.text, line_of("readelf -n %s | sed -n 's/.*Build ID: //p'", path)) == 0,
	       "libcrypto.so: its build id");
	ps_elf_close(elf);
}

static void test_refusals(void)
{
	static const struct {
		const char *path, *reason;
	} CASES[] = {
	    {"/does/not/exist", "no such file"},   {"/dev/null", "not a regular file"},
	    {"/etc/passwd/x", "cannot be opened"}, {"/etc/passwd", "not an ELF file"},
	    {"/tmp", "not a regular file"},
	};
	const char *reason;

	for (size_t i = 0; i < sizeof(CASES) / sizeof(*CASES); i++) {
		struct ps_elf *elf = ps_elf_open(CASES[i].path, &reason);

		tap_ok(!elf && strcmp(reason, CASES[i].reason) == 0, CASES[i].path);
	}
	tap_ok(!ps_elf_open(build("object.o", "-c", "int x;"), &reason) &&
		   strcmp(reason, "neither executable nor shared library") == 0,
	       "object file");
}

/* ---- broken files ---- */

/* A copy of a file in memory, under a path. */
struct copy {
	int fd;
	size_t size;
	uint8_t *bytes;
	char path[64];
};

static struct copy copy_of(const char *path)
{
	struct copy copy = {.fd = memfd_create("elf", 0)};
	int from = open(path, O_RDONLY);

	copy.size = (size_t)lseek(from, 0, SEEK_END);
	copy.bytes = malloc(copy.size);
	if (pread(from, copy.bytes, copy.size, 0) != (ssize_t)copy.size ||
	    write(copy.fd, copy.bytes, copy.size) != (ssize_t)copy.size)
		abort();
	close(from);
	snprintf(copy.path, sizeof(copy.path), "/proc/self/fd/%d", copy.fd);
	return copy;
}

static void copy_free(struct copy *copy)
{
	close(copy->fd);
	free(copy->bytes);
}

static void try_byte(const struct copy *copy, size_t at, uint8_t value)
{
	if (pwrite(copy->fd, &value, 1, (off_t)at) != 1)
		abort();
	ask_everything(copy->path);
	if (pwrite(copy->fd, copy->bytes + at, 1, (off_t)at) != 1)
		abort();
}

static void try_values(const struct copy *copy, size_t at)
{
	try_byte(copy, at, 0);
	try_byte(copy, at, 0xff);
	try_byte(copy, at, copy->bytes[at] ^ 1);
	try_byte(copy, at, copy->bytes[at] ^ 0x80);
}

/* Headers of file, segments, sections; then what they lead to, but for code and padding. */
static void test_flipped_bytes(const struct copy *copy)
{
	Elf64_Ehdr header;
	uint64_t whole = ask_everything(copy->path);

	memcpy(&header, copy->bytes, sizeof(header));
	for (size_t at = 0; at < header.e_phoff + header.e_phnum * sizeof(Elf64_Phdr); at++)
		try_values(copy, at);
	for (size_t at = header.e_shoff; at < copy->size; at++)
		try_values(copy, at);
	for (uint32_t i = 1; i < header.e_shnum; i++) {
		Elf64_Shdr section;
		size_t step;

		memcpy(&section, copy->bytes + header.e_shoff + i * sizeof(section), sizeof(section));
		if (section.sh_type == SHT_NOBITS)
			continue;
		step = 1 + section.sh_size / 64;
		for (size_t k = 0; k < section.sh_size; k += step)
			try_values(copy, section.sh_offset + k);
	}
	tap_ok(ask_everything(copy->path) == whole, "bytes flipped, one by one");
}

static void test_cut(const struct copy *copy)
{
	uint64_t whole = ask_everything(copy->path);

	for (size_t size = copy->size; size-- > 0;) {
		if (size > 512 && size % 61 != 0)
			continue;
		if (ftruncate(copy->fd, (off_t)size) != 0)
			abort();
		ask_everything(copy->path);
	}
	if (pwrite(copy->fd, copy->bytes, copy->size, 0) != (ssize_t)copy->size)
		abort();
	tap_ok(ask_everything(copy->path) == whole, "cut at every place of the first 512 bytes, and at others");
}

static void test_shrinking(const struct copy *copy)
{
	struct ps_elf *elf = open_image(copy->path);
	struct ps_elf_text text;
	struct ps_elf_site site;
	const char *names[] = {"api_read", "api_read_ex"};

	if (ftruncate(copy->fd, 0) != 0)
		abort();
	tap_ok(!find_function(elf, "api_read").found && !ps_elf_find_text(elf, "SomeSSL", &text) &&
		   !ps_elf_build_id(elf, &text) && ps_elf_site(elf, "api_read", &site) != NULL &&
		   ps_elf_inner_site(elf, names, 2, &site) != NULL,
	       "a file that is emptied while it is open");
	ps_elf_close(elf);
	if (pwrite(copy->fd, copy->bytes, copy->size, 0) != (ssize_t)copy->size)
		abort();
}

/* A sparse file that claims as much as it can. */
static void test_huge(const struct copy *copy)
{
	Elf64_Ehdr header;
	Elf64_Shdr section;
	int fd = memfd_create("huge", 0);
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	memcpy(&header, copy->bytes, sizeof(header));
	if (ftruncate(fd, 1L << 31) != 0 || pwrite(fd, copy->bytes, copy->size, 0) != (ssize_t)copy->size)
		abort();
	for (uint32_t i = 1; i < header.e_shnum; i++) {
		off_t at = (off_t)(header.e_shoff + i * sizeof(section));

		memcpy(&section, copy->bytes + at, sizeof(section));
		section.sh_size = (1UL << 31) - section.sh_offset;
		if (pwrite(fd, &section, sizeof(section), at) != sizeof(section))
			abort();
	}
	ask_everything(path);
	header.e_shnum = 0; /* then the first section header has the number */
	section = (Elf64_Shdr){.sh_size = 1 << 25};
	if (pwrite(fd, &header, sizeof(header), 0) != sizeof(header) ||
	    pwrite(fd, &section, sizeof(section), (off_t)header.e_shoff) != sizeof(section))
		abort();
	ask_everything(path);
	close(fd);
	tap_ok(true, "2 GiB, sparse, with sections as large as the file, or with 2^25 of them");
}

static void test_broken_files(void)
{
	struct copy copy = copy_of(build("broken.so", "-O2 -shared -fPIC -Wl,-soname,broken.so", LIBRARY));
	struct ps_elf *elf = open_image(copy.path);
	const char *names[] = {"api_read", "api_read_ex"};
	struct ps_elf_site site;

	tap_ok(ps_elf_inner_site(elf, names, 2, &site) == NULL, "a whole file has an inner function");
	ps_elf_close(elf);
	test_flipped_bytes(&copy);
	test_cut(&copy);
	test_shrinking(&copy);
	test_huge(&copy);
	copy_free(&copy);
}

int main(void)
{
	test_library();
	test_hash_tables();
	test_without_sections();
	test_versions();
	test_static_names();
	test_many_names();
	test_executables();
	test_system_libraries();
	test_refusals();
	test_broken_files();
	return tap_end();
}
