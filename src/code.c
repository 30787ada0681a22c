/* SPDX-License-Identifier: Apache-2.0 */
#include "code.h"

#include <capstone/capstone.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_OF(x)     #x
#define NAME_OF(major) "libcapstone.so." TEXT_OF(major)
#define CAPSTONE       NAME_OF(CS_API_MAJOR)

struct code_decoder {
	void *library;
	csh handle;
	cs_insn *insn; /* room for one */
	__typeof__(cs_open) *open;
	__typeof__(cs_close) *close;
	__typeof__(cs_option) *option;
	__typeof__(cs_malloc) *allocate;
	__typeof__(cs_free) *free;
	__typeof__(cs_disasm_iter) *decode;
	__typeof__(cs_regs_access) *registers;
};

/* ---- without capstone ---- */

bool code_is_emulated(const uint8_t *b)
{
	switch (b[0]) {
	case 0x50 ... 0x57: /* push r64 */
	case 0x70 ... 0x7f: /* jcc rel8 */
	case 0x90:          /* nop */
	case 0xe8:          /* call rel32 */
	case 0xe9:          /* jmp rel32 */
	case 0xeb:          /* jmp rel8 */
		return true;
	case 0x41: /* push r8 to r15 */
		return b[1] >= 0x50 && b[1] <= 0x57;
	case 0x0f: /* jcc rel32 */
		return b[1] >= 0x80 && b[1] <= 0x8f;
	default:
		return false;
	}
}

bool code_is_endbr64(const uint8_t *bytes)
{
	return memcmp(bytes, "\xf3\x0f\x1e\xfa", 4) == 0;
}

/* ---- capstone ---- */

static bool load_functions(struct code_decoder *d)
{
	/* It stays: to load it takes 2 ms, most of the time that a library file takes (docs/sites.md). */
	d->library = dlopen(CAPSTONE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!d->library)
		return false;
	d->open = dlsym(d->library, "cs_open");
	d->close = dlsym(d->library, "cs_close");
	d->option = dlsym(d->library, "cs_option");
	d->allocate = dlsym(d->library, "cs_malloc");
	d->free = dlsym(d->library, "cs_free");
	d->decode = dlsym(d->library, "cs_disasm_iter");
	d->registers = dlsym(d->library, "cs_regs_access");
	return d->open && d->close && d->option && d->allocate && d->free && d->decode && d->registers;
}

static void decoder_free(struct code_decoder *d)
{
	if (d->insn)
		d->free(d->insn, 1);
	if (d->handle)
		d->close(&d->handle);
	if (d->library)
		dlclose(d->library);
	free(d);
}

static const char *decoder_get(struct ps_elf *elf)
{
	struct code_decoder *d = elf->decoder;

	if (d)
		return NULL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return "out of memory";
	if (!load_functions(d)) {
		decoder_free(d);
		return CAPSTONE " cannot be loaded: run make deps, then make";
	}
	if (d->open(CS_ARCH_X86, CS_MODE_64, &d->handle) != CS_ERR_OK ||
	    d->option(d->handle, CS_OPT_DETAIL, CS_OPT_ON) != CS_ERR_OK || (d->insn = d->allocate(d->handle)) == NULL) {
		decoder_free(d);
		return CAPSTONE " cannot decode x86-64";
	}
	elf->decoder = d;
	return NULL;
}

void code_release(struct ps_elf *elf)
{
	if (elf->decoder)
		decoder_free(elf->decoder);
	elf->decoder = NULL;
}

#define REGISTER(whole, word, half, low)                                                                               \
	case X86_REG_##whole:                                                                                          \
	case X86_REG_##word:                                                                                           \
	case X86_REG_##half:                                                                                           \
	case X86_REG_##low:                                                                                            \
		return CODE_##whole

static enum code_register register_of(unsigned int reg)
{
	switch (reg) {
	case X86_REG_AH:
		return CODE_RAX;
	case X86_REG_BH:
		return CODE_RBX;
	case X86_REG_CH:
		return CODE_RCX;
	case X86_REG_DH:
		return CODE_RDX;
		REGISTER(RAX, EAX, AX, AL);
		REGISTER(RBX, EBX, BX, BL);
		REGISTER(RCX, ECX, CX, CL);
		REGISTER(RDX, EDX, DX, DL);
		REGISTER(RSP, ESP, SP, SPL);
		REGISTER(RBP, EBP, BP, BPL);
		REGISTER(RSI, ESI, SI, SIL);
		REGISTER(RDI, EDI, DI, DIL);
		REGISTER(R8, R8D, R8W, R8B);
		REGISTER(R9, R9D, R9W, R9B);
		REGISTER(R10, R10D, R10W, R10B);
		REGISTER(R11, R11D, R11W, R11B);
		REGISTER(R12, R12D, R12W, R12B);
		REGISTER(R13, R13D, R13W, R13B);
		REGISTER(R14, R14D, R14W, R14B);
		REGISTER(R15, R15D, R15W, R15B);
	default:
		return CODE_NO_REGISTER;
	}
}

static bool in_group(const cs_insn *insn, uint8_t group)
{
	for (uint8_t i = 0; i < insn->detail->groups_count; i++) {
		if (insn->detail->groups[i] == group)
			return true;
	}
	return false;
}

static enum code_kind kind_of(const cs_insn *insn)
{
	if (in_group(insn, X86_GRP_CALL))
		return CODE_CALL;
	if (in_group(insn, X86_GRP_RET) || in_group(insn, X86_GRP_IRET))
		return CODE_RETURN;
	if (in_group(insn, X86_GRP_JUMP))
		return insn->id == X86_INS_JMP || insn->id == X86_INS_LJMP ? CODE_JUMP : CODE_BRANCH;
	if (insn->id == X86_INS_UD2 || insn->id == X86_INS_HLT || insn->id == X86_INS_INT3)
		return CODE_STOP;
	return CODE_OTHER;
}

/* 64-bit copies only: a part of an argument is not the argument. */
static void note_copy(struct code_insn *to, const cs_insn *insn)
{
	const cs_x86 *x = &insn->detail->x86;
	const cs_x86_op *target = &x->operands[0], *source = &x->operands[1];

	to->copy_to = to->copy_from = CODE_NO_REGISTER;
	if (x->op_count != 2 || target->type != X86_OP_REG || target->size != 8)
		return;
	if (insn->id == X86_INS_MOV && source->type == X86_OP_REG && source->size == 8) {
		to->copy_from = register_of(source->reg);
	} else if (insn->id == X86_INS_LEA && x->addr_size == 8 && source->mem.index == X86_REG_INVALID) {
		to->copy_from = register_of(source->mem.base);
		to->is_lea = true;
	}
	if (to->copy_from != CODE_NO_REGISTER)
		to->copy_to = register_of(target->reg);
}

static uint16_t mask_of(const uint16_t *registers, uint8_t count)
{
	uint16_t mask = 0;

	for (uint8_t i = 0; i < count; i++) {
		enum code_register r = register_of(registers[i]);

		if (r != CODE_NO_REGISTER)
			mask |= (uint16_t)(1U << r);
	}
	return mask;
}

static bool take_insn(const struct code_decoder *d, struct code_insn *to)
{
	const cs_insn *insn = d->insn;
	const cs_x86 *x = &insn->detail->x86;
	cs_regs reads, writes;
	uint8_t read_count, write_count;

	*to = (struct code_insn){.address = insn->address, .size = (uint8_t)insn->size, .kind = (uint8_t)kind_of(insn)};
	if (d->registers(d->handle, insn, reads, &read_count, writes, &write_count) != CS_ERR_OK)
		return false;
	to->reads = mask_of(reads, read_count);
	to->writes = mask_of(writes, write_count);
	note_copy(to, insn);
	if ((to->kind == CODE_CALL || to->kind == CODE_JUMP || to->kind == CODE_BRANCH) && x->op_count == 1 &&
	    x->operands[0].type == X86_OP_IMM)
		to->target = (uint64_t)x->operands[0].imm;
	return true;
}

static const char *decode_all(const struct code_decoder *d, struct code *code)
{
	const uint8_t *text = code->text;
	uint64_t address = code->address;
	size_t left = code->bytes;

	while (left > 0) {
		uint64_t offset = address - code->address;

		if (!d->decode(d->handle, &text, &left, &address, d->insn) || !take_insn(d, &code->insns[code->count]))
			return "code that cannot be decoded";
		code->index[offset] = ++code->count;
	}
	return NULL;
}

const char *code_decode(struct ps_elf *elf, uint64_t address, uint64_t size, struct code *code)
{
	const char *reason;

	memset(code, 0, sizeof(*code));
	if (size == 0 || size > CODE_BYTES_MAX)
		return size == 0 ? "the size of a function is not known" : "a function is too large";
	reason = decoder_get(elf);
	if (reason)
		return reason;
	code->address = address;
	code->bytes = (uint32_t)size;
	code->text = malloc(size);
	code->index = calloc(size, sizeof(*code->index));
	code->insns = malloc(size * sizeof(*code->insns));
	if (!code->text || !code->index || !code->insns)
		reason = "out of memory";
	else if (!elf_segment_at(elf, address, PF_X) || !elf_read_address(elf, address, code->text, size))
		reason = "a function's code is not in the file";
	else
		reason = decode_all(elf->decoder, code);
	if (reason)
		code_free(code);
	return reason;
}

void code_free(struct code *code)
{
	free(code->text);
	free(code->index);
	free(code->insns);
	memset(code, 0, sizeof(*code));
}

const struct code_insn *code_at(const struct code *code, uint64_t address)
{
	uint64_t offset = address - code->address;

	if (address < code->address || offset >= code->bytes || code->index[offset] == 0)
		return NULL;
	return &code->insns[code->index[offset] - 1];
}
