/* SPDX-License-Identifier: Apache-2.0 */
#include "elf_build.h"

#include <elf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATHS = 8, PATH_BYTES = 256, COMMAND_BYTES = 4096 };

static char directory[] = "/tmp/plainsight-elf-XXXXXX";
static bool made;

static void remove_directory(void)
{
	run("rm -rf %s", directory);
}

const char *build_dir(void)
{
	if (!made) {
		if (!mkdtemp(directory))
			abort();
		made = true;
		atexit(remove_directory);
	}
	return directory;
}

bool run(const char *format, ...)
{
	char command[COMMAND_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	return system(command) == 0;
}

const char *line_of(const char *format, ...)
{
	static char line[512];
	char command[COMMAND_BYTES];
	va_list args;
	FILE *pipe;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	line[0] = '\0';
	pipe = popen(command, "r");
	if (!pipe)
		return line;
	if (!fgets(line, sizeof(line), pipe))
		line[0] = '\0';
	pclose(pipe);
	line[strcspn(line, "\n")] = '\0';
	return line;
}

const char *build(const char *name, const char *flags, const char *source)
{
	static char paths[PATHS][PATH_BYTES];
	static unsigned int next;
	char *path = paths[next++ % PATHS];
	char command[COMMAND_BYTES];
	bool assembly = strstr(flags, "assembler") != NULL;
	FILE *compiler;

	snprintf(path, PATH_BYTES, "%s/%s", build_dir(), name);
	snprintf(command, sizeof(command), "gcc -w %s %s -o %s - -x none", assembly ? "" : "-x c", flags, path);
	compiler = popen(command, "w");
	if (!compiler || fputs(source, compiler) < 0 || pclose(compiler) != 0) {
		printf("# cannot be built: %s\n", command);
		exit(1);
	}
	return path;
}

struct ps_elf *open_image(const char *path)
{
	const char *reason = NULL;
	struct ps_elf *elf = ps_elf_open(path, &reason);

	if (!elf) {
		printf("# %s: %s\n", path, reason);
		exit(1);
	}
	return elf;
}

struct ps_elf_function find_function(struct ps_elf *elf, const char *name)
{
	struct ps_elf_function function;

	ps_elf_functions(elf, &name, 1, &function);
	return function;
}

uint64_t ask_everything(const char *path)
{
	static const char *const names[] = {"api_read", "api_read_ex", "crypto/tls.(*Conn).Read", "absent"};
	const char *reason;
	struct ps_elf *elf = ps_elf_open(path, &reason);
	struct ps_elf_function found[4], go[4];
	struct ps_elf_site site, inner;
	struct ps_elf_go_site go_site;
	struct ps_elf_text text;
	uint64_t answers;

	if (!elf)
		return reason == NULL;
	answers = ps_elf_is_executable(elf);
	answers = answers * 2 + ps_elf_soname(elf, &text);
	for (uint32_t i = 0; i < 4; i++)
		answers = answers * 2 + ps_elf_needed(elf, i, &text);
	answers = answers * 2 + ps_elf_build_id(elf, &text);
	answers = answers * 2 + ps_elf_find_text(elf, "SomeSSL 1.", &text);
	answers = answers * 2 + ps_elf_go_version(elf, &text);
	ps_elf_functions(elf, names, 4, found);
	answers = answers * 2 + found[0].found;
	answers = answers * 2 + (ps_elf_site(elf, names[0], &site) == NULL);
	answers = answers * 2 + (ps_elf_inner_site(elf, names, 2, &inner) == NULL);
	if (ps_elf_go_functions(elf, names, 4, go) == NULL && go[2].found)
		answers = answers * 2 + (ps_elf_go_site(elf, &go[2], &go_site) == NULL);
	ps_elf_close(elf);
	return answers;
}

/* ---- a Go program ---- */

/*
 * The file is loaded as it is in two segments: all of it to read, and its
 * second page, the code, to run. Offsets of the other parts:
 */
enum {
	AT_CODE = 0x1000,
	AT_PCLNTAB = 0x400,
	AT_MODULE = 0x800,
	AT_BUILD_INFO = 0xa00,
	AT_STRINGS = 0xb00,
	AT_SECTIONS = 0xc00,
	BASE = GO_IMAGE_TEXT - AT_CODE,
};

static void put(uint8_t *bytes, size_t at, uint64_t number, size_t size)
{
	memcpy(bytes + at, &number, size);
}

static void put_header(uint8_t *bytes, size_t size)
{
	Elf64_Ehdr header = {
	    .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
	    .e_type = ET_EXEC,
	    .e_machine = EM_X86_64,
	    .e_version = EV_CURRENT,
	    .e_entry = GO_IMAGE_TEXT,
	    .e_phoff = sizeof(header),
	    .e_ehsize = sizeof(header),
	    .e_phentsize = sizeof(Elf64_Phdr),
	    .e_phnum = 2,
	};
	Elf64_Phdr segments[2] = {
	    {.p_type = PT_LOAD, .p_flags = PF_R, .p_vaddr = BASE, .p_filesz = AT_CODE, .p_memsz = AT_CODE},
	    {.p_type = PT_LOAD,
	     .p_flags = PF_R | PF_X,
	     .p_offset = AT_CODE,
	     .p_vaddr = GO_IMAGE_TEXT,
	     .p_filesz = size - AT_CODE,
	     .p_memsz = size - AT_CODE},
	};

	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), segments, sizeof(segments));
}

static void put_sections(uint8_t *bytes)
{
	static const char names[] = "\0.gopclntab\0.go.buildinfo\0.shstrtab";
	Elf64_Shdr sections[4] = {
	    {.sh_type = SHT_NULL},
	    {.sh_name = 1,
	     .sh_type = SHT_PROGBITS,
	     .sh_flags = SHF_ALLOC,
	     .sh_addr = BASE + AT_PCLNTAB,
	     .sh_offset = AT_PCLNTAB,
	     .sh_size = AT_MODULE - AT_PCLNTAB},
	    {.sh_name = 12,
	     .sh_type = SHT_PROGBITS,
	     .sh_flags = SHF_ALLOC,
	     .sh_addr = BASE + AT_BUILD_INFO,
	     .sh_offset = AT_BUILD_INFO,
	     .sh_size = 0x100},
	    {.sh_name = 26, .sh_type = SHT_STRTAB, .sh_offset = AT_STRINGS, .sh_size = sizeof(names)},
	};
	Elf64_Ehdr header;

	memcpy(bytes + AT_STRINGS, names, sizeof(names));
	memcpy(bytes + AT_SECTIONS, sections, sizeof(sections));
	memcpy(&header, bytes, sizeof(header));
	header.e_shoff = AT_SECTIONS;
	header.e_shentsize = sizeof(Elf64_Shdr);
	header.e_shnum = 4;
	header.e_shstrndx = 3;
	memcpy(bytes, &header, sizeof(header));
}

static void put_build_info(const struct go_image *image, uint8_t *bytes)
{
	uint8_t *info = bytes + AT_BUILD_INFO;
	size_t len = strlen(image->version);

	memcpy(info, "\xff Go buildinf:", 14);
	info[14] = 8;
	if (image->pointed_version) {
		put(info, 16, BASE + AT_BUILD_INFO + 32, 8); /* -> pointer and length -> text */
		put(info, 32, BASE + AT_BUILD_INFO + 64, 8);
		put(info, 40, len, 8);
		memcpy(info + 64, image->version, len);
	} else {
		info[15] = 2;
		info[32] = (uint8_t)len;
		memcpy(info + 33, image->version, len);
	}
}

/* Header, names, pairs of (where a function is, where its struct is), structs. */
static void put_pclntab(const struct go_image *image, uint8_t *bytes)
{
	static const uint32_t magics[] = {0xfffffffa, 0xfffffff0, 0xfffffff1, 0xfffffff1};
	enum { NAMES = 0x80, PAIRS = 0x180 };
	size_t number = image->layout == GO_LAYOUT_1_16 ? 8 : 4, parts = image->layout == GO_LAYOUT_1_16 ? 24 : 32;
	uint8_t *table = bytes + AT_PCLNTAB;
	uint64_t text = image->layout == GO_LAYOUT_1_16 ? GO_IMAGE_TEXT : 0, name_at = 0, code_at = 0;
	uint32_t count = image->code_bytes[1] > 0 ? 2 : 1;
	size_t struct_at = number * (2 * (size_t)count + 1);

	put(table, 0, magics[image->layout], 4);
	put(table, 4, 0x08010000, 4);
	put(table, 8, count, 8);
	if (image->layout == GO_LAYOUT_1_18 || image->layout == GO_LAYOUT_1_20)
		put(table, 24, GO_IMAGE_TEXT, 8);
	put(table, parts, NAMES, 8);
	for (size_t i = 1; i < 5; i++)
		put(table, parts + 8 * i, PAIRS, 8);
	for (uint32_t i = 0; i < count; i++) {
		put(table + PAIRS, 2 * number * i, text + code_at, number);
		put(table + PAIRS, 2 * number * i + number, struct_at, number);
		put(table + PAIRS, struct_at, text + code_at, number);
		put(table + PAIRS, struct_at + number, name_at, 4);
		memcpy(table + NAMES + name_at, image->names[i], strlen(image->names[i]) + 1);
		memcpy(bytes + AT_CODE + code_at, image->code[i], image->code_bytes[i]);
		name_at += strlen(image->names[i]) + 1;
		code_at += image->code_bytes[i];
		struct_at += 40;
	}
	put(table + PAIRS, 2 * number * count, text + code_at, number);
	put(bytes, AT_MODULE, BASE + AT_PCLNTAB, 8);
	put(bytes, AT_MODULE + 8, BASE + AT_PCLNTAB + NAMES, 8);
	put(bytes, AT_MODULE + 22 * 8, GO_IMAGE_TEXT, 8);
}

size_t go_image_write(const struct go_image *image, uint8_t *bytes)
{
	size_t size = AT_CODE + image->code_bytes[0] + image->code_bytes[1];

	memset(bytes, 0, GO_IMAGE_BYTES);
	put_header(bytes, size);
	if (image->sections)
		put_sections(bytes);
	put_build_info(image, bytes);
	put_pclntab(image, bytes);
	return size;
}
