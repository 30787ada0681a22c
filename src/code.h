/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86-64 code of a function, decoded by capstone into what the choice of probe
 * sites needs to know.
 *
 * capstone is loaded when the first function is decoded and given back with the
 * file: it takes 3.4 MB, 1.4 of them private, which tools that look at no code
 * need not have. Its ABI belongs to its version, so it is the version that this
 * was built with; a missing one is a reason like any other.
 */
#ifndef PLAINSIGHT_CODE_H
#define PLAINSIGHT_CODE_H

#include "elf_image.h"

enum {
	CODE_BYTES_MAX = 64 * 1024, /* of one function */
	CODE_EMULATED_BYTES = 16,   /* what code_is_emulated() wants to see of an instruction */
};

/* General registers, numbered as in machine code. */
enum code_register {
	CODE_RAX,
	CODE_RCX,
	CODE_RDX,
	CODE_RBX,
	CODE_RSP,
	CODE_RBP,
	CODE_RSI,
	CODE_RDI,
	CODE_R8,
	CODE_R9,
	CODE_R10,
	CODE_R11,
	CODE_R12,
	CODE_R13,
	CODE_R14,
	CODE_R15,
	CODE_REGISTERS,
	CODE_NO_REGISTER = CODE_REGISTERS,
};

enum code_kind {
	CODE_OTHER,
	CODE_CALL,   /* target: 0 when indirect */
	CODE_JUMP,   /* target: 0 when indirect */
	CODE_BRANCH, /* conditional; target */
	CODE_RETURN,
	CODE_STOP, /* ud2, hlt, int3: control does not come back */
};

struct code_insn {
	uint64_t address;
	uint64_t target;
	uint16_t reads; /* bit per enum code_register, parts of a register count as the whole */
	uint16_t writes;
	uint8_t size;
	uint8_t kind;    /* enum code_kind */
	uint8_t copy_to; /* mov r64, r64 and lea r64, [r64 + constant]: else CODE_NO_REGISTER */
	uint8_t copy_from;
	bool is_lea;
};

struct code {
	uint64_t address;
	uint32_t bytes;
	uint32_t count;
	struct code_insn *insns;
	uint8_t *text;   /* the bytes */
	uint32_t *index; /* by byte: index of the instruction that begins there + 1, or 0 */
};

/*
 * Decodes size bytes of code at address. Returns NULL, or why not; then code
 * holds nothing. code_free() when done.
 */
const char *code_decode(struct ps_elf *elf, uint64_t address, uint64_t size, struct code *code);
void code_free(struct code *code);

/* The instruction at address, or NULL when none begins there. */
const struct code_insn *code_at(const struct code *code, uint64_t address);

/*
 * Whether the kernel emulates the instruction that a uprobe sits on (0.6 us)
 * instead of running a copy of it in single-step mode (5 us and more): push of a
 * register, call, jmp and jcc to a fixed place, nop
 * (arch/x86/kernel/uprobes.c, branch_setup_xol_insn(), push_setup_xol_insn()).
 * ret is not among them. bytes has room for CODE_EMULATED_BYTES, zeros behind the code.
 */
bool code_is_emulated(const uint8_t *bytes);

bool code_is_endbr64(const uint8_t *bytes);

/* Gives capstone back; called when the file is closed. */
void code_release(struct ps_elf *elf);

#endif
