/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where uprobes on a Go function are put (Go's src/cmd/compile/abi-internal.md,
 * src/cmd/internal/obj/x86/obj6.go).
 *
 * A function begins with a check whether its stack must grow. If so, the stack
 * is copied and the function starts again: a uprobe on the first instruction
 * sees two calls. And a uretprobe, which replaces the return address, breaks
 * the program when its stack is copied.
 */
#include "code.h"

#include <string.h>

enum {
	REGISTER_ABI_SINCE = 17,     /* Go 1.17 */
	PROLOGUE_INSNS_MAX = 8,      /* up to the branch to where the stack grows */
	ENTRY_INSNS_MAX = 24,        /* behind it, where a cheap site is looked for */
	FLAGS_BELOW_OR_EQUAL = 0x41, /* CF and ZF: jbe is taken */
};

/* The first four integer arguments. */
static const uint16_t ARGUMENTS = 1 << CODE_RAX | 1 << CODE_RBX | 1 << CODE_RCX | 1 << CODE_RDI;

static const uint8_t *bytes_of(const struct code *code, const struct code_insn *insn)
{
	return code->text + (insn->address - code->address);
}

static bool is_emulated(const struct code *code, const struct code_insn *insn)
{
	uint8_t bytes[CODE_EMULATED_BYTES] = {0};

	memcpy(bytes, bytes_of(code, insn), insn->size);
	return code_is_emulated(bytes);
}

/* N of "go1.N"; 0: not known. */
static uint32_t minor_version(const char *version)
{
	const char *text = strstr(version, "go1.");
	uint32_t minor = 0;

	for (text = text ? text + 4 : ""; *text >= '0' && *text <= '9' && minor < 10000; text++)
		minor = 10 * minor + (uint32_t)(*text - '0');
	return minor;
}

/* cmp 16(%r14), %rsp or %r12: the goroutine is in r14, and 16 bytes into it is where its stack is used up. */
static bool is_stack_check(const uint8_t *bytes, uint8_t size)
{
	return size == 4 && (memcmp(bytes, "\x49\x3b\x66\x10", 4) == 0 || memcmp(bytes, "\x4d\x3b\x66\x10", 4) == 0);
}

static bool is_jbe(const uint8_t *bytes)
{
	return bytes[0] == 0x76 || (bytes[0] == 0x0f && bytes[1] == 0x86);
}

/*
 * Index of the branch that ends the check, 0 when the function has none
 * (nosplit), -1 when its start is not understood.
 */
static int find_check(const struct code *code)
{
	uint32_t count = code->count < PROLOGUE_INSNS_MAX ? code->count : PROLOGUE_INSNS_MAX;

	for (uint32_t i = 0; i + 1 < count; i++) {
		const struct code_insn *insn = &code->insns[i], *branch = insn + 1;

		if (is_stack_check(bytes_of(code, insn), insn->size))
			return branch->kind == CODE_BRANCH && is_jbe(bytes_of(code, branch)) ? (int)i + 1 : -1;
		if (insn->reads >> CODE_R14 & 1)
			return -1;
		/* but for the branch that very large frames have before it */
		if (insn->writes & ARGUMENTS || insn->kind == CODE_CALL || insn->kind == CODE_JUMP)
			break;
	}
	return 0;
}

/* Whether a jump from elsewhere in the function leads to the instructions from first to last, as in a loop. */
static bool is_jumped_to(const struct code *code, uint64_t first, uint64_t last)
{
	for (uint32_t i = 0; i < code->count; i++) {
		const struct code_insn *insn = &code->insns[i];

		if ((insn->kind == CODE_JUMP || insn->kind == CODE_BRANCH) && insn->target >= first &&
		    insn->target <= last)
			return true;
	}
	return false;
}

/*
 * The first instruction behind the check that the kernel emulates, if it is run
 * exactly once a call and with the arguments in their registers; NULL if there
 * is none.
 */
static const struct code_insn *find_cheap(const struct code *code, uint32_t first)
{
	for (uint32_t i = first; i < code->count && i < first + ENTRY_INSNS_MAX; i++) {
		const struct code_insn *insn = &code->insns[i];

		if (is_emulated(code, insn))
			return is_jumped_to(code, code->insns[first].address, insn->address) ? NULL : insn;
		if (insn->kind != CODE_OTHER || insn->writes & ARGUMENTS)
			return NULL;
	}
	return NULL;
}

static void choose_entry(const struct code *code, uint32_t check, uint64_t offset, struct ps_elf_go_site *site)
{
	uint32_t first = check > 0 ? check + 1 : 0;
	const struct code_insn *insn = find_cheap(code, first);

	site->emulated = 1;
	if (!insn && check > 0) {
		insn = &code->insns[check];
		site->skip_flags = FLAGS_BELOW_OR_EQUAL;
	} else if (!insn) {
		insn = &code->insns[0];
		site->emulated = 0;
	}
	site->entry = offset + (insn->address - code->address);
}

static const char *find_returns(const struct code *code, uint64_t offset, struct ps_elf_go_site *site)
{
	for (uint32_t i = 0; i < code->count; i++) {
		const struct code_insn *insn = &code->insns[i];

		if (insn->kind == CODE_JUMP && insn->target != 0 && insn->target - code->address >= code->bytes)
			return "it ends with a jump to another function";
		if (insn->kind != CODE_RETURN)
			continue;
		if (site->return_count == PS_ELF_RETURNS_MAX)
			return "it returns in too many places";
		site->returns[site->return_count++] = offset + (insn->address - code->address);
	}
	return site->return_count > 0 ? NULL : "it does not return";
}

static const char *choose_sites(const struct code *code, uint64_t offset, struct ps_elf_go_site *site)
{
	int check = find_check(code);

	if (check < 0)
		return "its start is not one that is known of Go 1.17 and newer";
	choose_entry(code, (uint32_t)check, offset, site);
	return find_returns(code, offset, site);
}

const char *ps_elf_go_site(struct ps_elf *elf, const struct ps_elf_function *function, struct ps_elf_go_site *site)
{
	struct ps_elf_text version;
	struct code code;
	const char *reason;

	memset(site, 0, sizeof(*site));
	if (!ps_elf_go_version(elf, &version))
		return "not a Go program";
	if (minor_version(version.text) < REGISTER_ABI_SINCE)
		return "built with a Go older than 1.17, whose arguments are on the stack";
	reason = code_decode(elf, function->address, function->size, &code);
	if (reason)
		return reason;
	site->address = function->address;
	reason = choose_sites(&code, function->offset, site);
	code_free(&code);
	return reason;
}
