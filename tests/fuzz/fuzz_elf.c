/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: the bytes of a file that Plainsight is asked to put probes
 * on. Besides what the sanitizers see it checks that no function, site or text
 * is handed out that the file cannot have.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create() */
#endif
#include "../../src/plainsight_elf.h"

#include <capstone/capstone.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static const char *const NAMES[] = {"api_read", "api_read_ex", "inner", "crypto/tls.(*Conn).Read",
				    "crypto/tls.(*Conn).Write"};
enum { NAME_COUNT = sizeof(NAMES) / sizeof(*NAMES) };

static void check_text(bool found, const struct ps_elf_text *text, const char *prefix)
{
	if (!found)
		return;
	CHECK(memchr(text->text, '\0', sizeof(text->text)) != NULL);
	CHECK(text->text[0] != '\0' && strncmp(text->text, prefix, strlen(prefix)) == 0);
	for (const char *c = text->text; *c; c++)
		CHECK(*c >= 0x20 && *c <= 0x7e);
}

static void check_functions(const struct ps_elf_function *found, size_t len)
{
	for (size_t i = 0; i < NAME_COUNT; i++)
		CHECK(!found[i].found || found[i].offset < len);
}

static void check_site(const char *reason, const struct ps_elf_site *site, size_t len)
{
	CHECK(reason || (site->entry < len && site->emulated <= 1));
	CHECK(reason || site->moved_argument == 0 || site->moved_argument == 4 || site->moved_argument == 5);
}

static void ask_go(struct ps_elf *elf, size_t len)
{
	struct ps_elf_function found[NAME_COUNT];
	struct ps_elf_go_site site;
	const char *reason = ps_elf_go_functions(elf, NAMES, NAME_COUNT, found);

	check_functions(found, len);
	for (size_t i = 0; !reason && i < NAME_COUNT; i++) {
		if (!found[i].found || ps_elf_go_site(elf, &found[i], &site))
			continue;
		CHECK(site.entry < len && site.return_count > 0 && site.return_count <= PS_ELF_RETURNS_MAX);
		for (uint32_t k = 0; k < site.return_count; k++)
			CHECK(site.returns[k] < len);
	}
}

static void ask(struct ps_elf *elf, size_t len)
{
	struct ps_elf_function found[NAME_COUNT];
	struct ps_elf_site site;
	struct ps_elf_text text;

	ps_elf_is_executable(elf);
	check_text(ps_elf_soname(elf, &text), &text, "");
	check_text(ps_elf_needed(elf, 0, &text), &text, "");
	check_text(ps_elf_build_id(elf, &text), &text, "");
	check_text(ps_elf_find_text(elf, "SomeSSL 1.", &text), &text, "SomeSSL 1.");
	check_text(ps_elf_go_version(elf, &text), &text, "");
	ps_elf_functions(elf, NAMES, NAME_COUNT, found);
	check_functions(found, len);
	check_site(ps_elf_site(elf, NAMES[0], &site), &site, len);
	check_site(ps_elf_inner_site(elf, NAMES, 2, &site), &site, len);
	ask_go(elf, len);
}

/* The module loads capstone for each file that needs it; what stays loaded takes no time then. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char name[32];

	(void)argc;
	(void)argv;
	snprintf(name, sizeof(name), "libcapstone.so.%d", CS_API_MAJOR);
	CHECK(dlopen(name, RTLD_NOW | RTLD_LOCAL) != NULL);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static int fd = -1;
	static char path[64];
	const char *reason = NULL;
	struct ps_elf *elf;

	if (fd < 0) {
		fd = memfd_create("fuzz", 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	CHECK(ftruncate(fd, (off_t)len) == 0 && pwrite(fd, data, len, 0) == (ssize_t)len);
	elf = ps_elf_open(path, &reason);
	CHECK((elf == NULL) == (reason != NULL));
	if (elf)
		ask(elf, len);
	ps_elf_close(elf);
	return 0;
}
