/* SPDX-License-Identifier: Apache-2.0 */
#include "code.h"

#include <stdlib.h>
#include <string.h>

enum {
	WRAPPER_BYTES_MAX = 4096, /* SSL_write and the like have 130 to 500 */
	CALLEES_MAX = 32,         /* of one function */
};

/* ---- the start of a function ---- */

/* Reads what is there of CODE_EMULATED_BYTES, zeros behind it. */
static bool read_insn(struct ps_elf *elf, uint64_t address, uint8_t *bytes)
{
	memset(bytes, 0, CODE_EMULATED_BYTES);
	for (size_t len = CODE_EMULATED_BYTES; len > 0; len /= 2) {
		if (elf_read_address(elf, address, bytes, len))
			return true;
	}
	return false;
}

static const char *site_at(struct ps_elf *elf, uint64_t address, struct ps_elf_site *site)
{
	const Elf64_Phdr *segment = elf_segment_at(elf, address, PF_X);
	uint8_t bytes[CODE_EMULATED_BYTES];
	uint64_t at = address;

	if (!segment || !read_insn(elf, address, bytes))
		return "its code is not in the file";
	site->emulated = code_is_emulated(bytes);
	if (!site->emulated && code_is_endbr64(bytes) && read_insn(elf, address + 4, bytes) &&
	    code_is_emulated(bytes)) {
		site->emulated = true;
		at += 4;
	}
	site->address = address;
	site->entry = elf_offset_in(segment, at);
	return NULL;
}

const char *ps_elf_site(struct ps_elf *elf, const char *name, struct ps_elf_site *site)
{
	struct ps_elf_function function;

	memset(site, 0, sizeof(*site));
	ps_elf_functions(elf, &name, 1, &function);
	if (!function.found)
		return "no such function";
	return site_at(elf, function.address, site);
}

/* ---- what registers hold ---- */

/* What is known of the value of a register. */
enum value {
	VALUE_UNKNOWN,
	VALUE_STACK, /* an address in the frame of a wrapper */
	VALUE_ARG1,  /* what the function that was called by name got */
	VALUE_ARG2,
	VALUE_ARG3,
	VALUE_ARG4,
	VALUE_ARG5,
	VALUE_ARG6,
};

struct state {
	uint8_t values[CODE_REGISTERS]; /* enum value */
	bool reached;
};

/* A direct call, or jump out of the function, that takes ARG1 and ARG2 along as its first arguments. */
struct callee {
	uint64_t address;
	struct state state;
	bool spoilt; /* it is called with other arguments as well */
};

struct callees {
	uint32_t count;
	bool overflow; /* there were more than list can take: nothing is proved */
	struct callee list[CALLEES_MAX];
};

static const uint16_t CALL_CLOBBERS = 1 << CODE_RAX | 1 << CODE_RCX | 1 << CODE_RDX | 1 << CODE_RSI | 1 << CODE_RDI |
				      1 << CODE_R8 | 1 << CODE_R9 | 1 << CODE_R10 | 1 << CODE_R11;

static struct state initial_state(void)
{
	struct state s = {.reached = true};

	s.values[CODE_RDI] = VALUE_ARG1; /* x86-64 psABI 3.2.3 */
	s.values[CODE_RSI] = VALUE_ARG2;
	s.values[CODE_RDX] = VALUE_ARG3;
	s.values[CODE_RCX] = VALUE_ARG4;
	s.values[CODE_R8] = VALUE_ARG5;
	s.values[CODE_R9] = VALUE_ARG6;
	s.values[CODE_RSP] = VALUE_STACK;
	return s;
}

/* The state behind an instruction, from that before it. */
static struct state step(struct state s, const struct code_insn *insn)
{
	uint8_t copied = VALUE_UNKNOWN;
	uint16_t writes = insn->writes;

	if (insn->copy_to != CODE_NO_REGISTER) {
		copied = s.values[insn->copy_from];
		if (insn->is_lea && copied != VALUE_STACK)
			copied = VALUE_UNKNOWN;
	}
	if (insn->kind == CODE_CALL)
		writes |= CALL_CLOBBERS;
	for (int r = 0; r < CODE_REGISTERS; r++) {
		if (writes >> r & 1)
			s.values[r] = VALUE_UNKNOWN;
	}
	if (insn->copy_to != CODE_NO_REGISTER)
		s.values[insn->copy_to] = copied;
	s.values[CODE_RSP] = VALUE_STACK;
	return s;
}

/* Keeps of *into what holds on the new way, too. Returns whether something has changed. */
static bool meet(struct state *into, const struct state *from)
{
	bool changed = !into->reached;

	if (!into->reached) {
		*into = *from;
		return true;
	}
	for (int r = 0; r < CODE_REGISTERS; r++) {
		if (into->values[r] != from->values[r] && into->values[r] != VALUE_UNKNOWN) {
			into->values[r] = VALUE_UNKNOWN;
			changed = true;
		}
	}
	return changed;
}

/* Instructions whose state has changed, each at most once. */
struct pending {
	bool lost; /* there is a way that is not followed */
	uint32_t count;
	uint32_t *stack;
	bool *is_in;
};

static void reach(const struct code *code, struct state *states, struct pending *pending, uint64_t address,
		  const struct state *state)
{
	const struct code_insn *insn = code_at(code, address);
	uint32_t i;

	if (!insn) { /* out of the function, or into the middle of an instruction */
		pending->lost |= address - code->address < code->bytes;
		return;
	}
	i = (uint32_t)(insn - code->insns);
	if (meet(&states[i], state) && !pending->is_in[i]) {
		pending->is_in[i] = true;
		pending->stack[pending->count++] = i;
	}
}

/* The state before each instruction, on all ways that lead to it. */
static void flow(const struct code *code, const struct state *initial, struct state *states, struct pending *pending)
{
	reach(code, states, pending, code->address, initial);
	while (pending->count > 0) {
		uint32_t i = pending->stack[--pending->count];
		const struct code_insn *insn = &code->insns[i];
		struct state after = step(states[i], insn);

		pending->is_in[i] = false;
		pending->lost |= insn->kind == CODE_JUMP && insn->target == 0;
		if (insn->kind == CODE_JUMP || insn->kind == CODE_BRANCH)
			reach(code, states, pending, insn->target, &after);
		if (insn->kind == CODE_OTHER || insn->kind == CODE_CALL || insn->kind == CODE_BRANCH)
			reach(code, states, pending, insn->address + insn->size, &after);
	}
}

static void note_callee(struct callees *callees, uint64_t address, const struct state *state)
{
	bool intact = state->values[CODE_RDI] == VALUE_ARG1 && state->values[CODE_RSI] == VALUE_ARG2;
	struct callee *callee = callees->list;

	while (callee < callees->list + callees->count && callee->address != address)
		callee++;
	if (callee == callees->list + callees->count) {
		if (callees->count == CALLEES_MAX) {
			callees->overflow = true;
			return;
		}
		callees->count++;
		*callee = (struct callee){.address = address, .state = *state, .spoilt = !intact};
	} else {
		callee->spoilt |= !intact;
		meet(&callee->state, state);
	}
}

/* Code at an address outside the function is called; jumps within it are not calls. */
static void note_callees(const struct code *code, const struct state *states, struct callees *callees)
{
	for (uint32_t i = 0; i < code->count; i++) {
		const struct code_insn *insn = &code->insns[i];
		bool leaves =
		    insn->kind == CODE_CALL || (insn->kind == CODE_JUMP && insn->target - code->address >= code->bytes);

		if (leaves && insn->target != 0 && states[i].reached)
			note_callee(callees, insn->target, &states[i]);
	}
}

static const char *collect_callees(struct ps_elf *elf, uint64_t address, uint64_t size, const struct state *initial,
				   struct callees *callees)
{
	struct code code;
	struct pending pending = {.count = 0};
	struct state *states;
	const char *reason;

	if (size > WRAPPER_BYTES_MAX)
		return "too large for a function that only calls another one";
	reason = code_decode(elf, address, size, &code);
	if (reason)
		return reason;
	states = calloc(code.count, sizeof(*states));
	pending.stack = calloc(code.count, sizeof(*pending.stack));
	pending.is_in = calloc(code.count, sizeof(*pending.is_in));
	if (states && pending.stack && pending.is_in) {
		flow(&code, initial, states, &pending);
		note_callees(&code, states, callees);
		if (pending.lost || callees->overflow)
			reason = "too complex for a function that only calls another one";
	} else {
		reason = "out of memory";
	}
	free(states);
	free(pending.stack);
	free(pending.is_in);
	code_free(&code);
	return reason;
}

/* ---- the inner function ---- */

/*
 * A PLT entry is jmp *slot(%rip), with an endbr64 or a bnd before it. Returns
 * the address of the slot, or 0 when there is other code at address.
 */
static uint64_t plt_slot(struct ps_elf *elf, uint64_t address)
{
	uint8_t b[CODE_EMULATED_BYTES];
	int32_t displacement;
	size_t at;

	if (!read_insn(elf, address, b))
		return 0;
	at = code_is_endbr64(b) ? 4 : 0;
	at += b[at] == 0xf2;
	if (b[at] != 0xff || b[at + 1] != 0x25)
		return 0;
	memcpy(&displacement, b + at + 2, sizeof(displacement));
	return address + at + 6 + (uint64_t)(int64_t)displacement;
}

static bool is_candidate(struct ps_elf *elf, const struct callee *callee)
{
	return !callee->spoilt && plt_slot(elf, callee->address) == 0 && elf_function_size(elf, callee->address) > 0;
}

static const struct callee *callee_at(const struct callees *callees, uint64_t address)
{
	for (uint32_t i = 0; i < callees->count; i++) {
		if (callees->list[i].address == address)
			return &callees->list[i];
	}
	return NULL;
}

/*
 * Which argument of the callee is where it puts how many bytes it has moved: a
 * variable of the one caller, what the other one got as its fourth argument.
 * 0: none. That tells the function that is wanted from those that only happen
 * to be called while the arguments are still in their registers, as ERR_new().
 */
static uint32_t moved_argument(const struct callees *callees, uint32_t count, uint64_t address)
{
	static const uint8_t registers[] = {CODE_RCX, CODE_R8};

	for (uint32_t k = 0; k < 2; k++) {
		uint32_t on_stack = 0, fits = 0;

		for (uint32_t i = 0; i < count; i++) {
			uint8_t value = callee_at(&callees[i], address)->state.values[registers[k]];

			on_stack += value == VALUE_STACK;
			fits += value == VALUE_STACK || value == VALUE_ARG4;
		}
		if (fits == count && on_stack > 0)
			return 4 + k;
	}
	return 0;
}

/* The only function that all of callees have in common. */
static const char *common_callee(struct ps_elf *elf, const struct callees *callees, uint32_t count,
				 struct ps_elf_site *site)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < callees[0].count; i++) {
		uint64_t address = callees[0].list[i].address;
		bool common = true;
		uint32_t moved;

		for (uint32_t k = 0; k < count && common; k++) {
			const struct callee *callee = callee_at(&callees[k], address);

			common = callee && is_candidate(elf, callee);
		}
		moved = common ? moved_argument(callees, count, address) : 0;
		if (moved == 0)
			continue;
		found++;
		site->address = address;
		site->moved_argument = moved;
	}
	if (found == 0)
		return "they call no function with the same arguments";
	return found == 1 ? NULL : "they call several functions with the same arguments";
}

/*
 * Adds what the callees call in turn, as SSL_write_ex calls SSL_write_ex2 from
 * OpenSSL 3.3 on. Between exported functions that is through the PLT. Callees
 * that do more than to call another function are no way to it.
 */
static void descend(struct ps_elf *elf, struct callees *callees)
{
	struct callees below;
	uint32_t count = callees->count;

	for (uint32_t i = 0; i < count; i++) {
		struct callee callee = callees->list[i];
		uint64_t slot = plt_slot(elf, callee.address), address = callee.address, size;

		if (slot != 0)
			address = elf_slot_function(elf, slot);
		size = elf_function_size(elf, address);
		below = *callees;
		if (!callee.spoilt && size > 0 && !collect_callees(elf, address, size, &callee.state, &below))
			*callees = below;
	}
}

static const char *collect_all(struct ps_elf *elf, const char *const *names, uint32_t count, struct callees *callees)
{
	struct ps_elf_function functions[PS_ELF_WRAPPERS_MAX];
	struct state initial = initial_state();

	ps_elf_functions(elf, names, count, functions);
	for (uint32_t i = 0; i < count; i++) {
		const char *reason;

		if (!functions[i].found)
			return "not all of the functions are there";
		reason = collect_callees(elf, functions[i].address, functions[i].size, &initial, &callees[i]);
		if (reason)
			return reason;
	}
	return NULL;
}

static const char *find_inner(struct ps_elf *elf, const char *const *names, uint32_t count, struct callees *callees,
			      struct ps_elf_site *site)
{
	const char *reason = collect_all(elf, names, count, callees);

	if (reason)
		return reason;
	reason = common_callee(elf, callees, count, site);
	for (uint32_t i = 0; reason && i < count; i++)
		descend(elf, &callees[i]);
	return reason ? common_callee(elf, callees, count, site) : NULL;
}

const char *ps_elf_inner_site(struct ps_elf *elf, const char *const *names, uint32_t count, struct ps_elf_site *site)
{
	struct callees *callees;
	const char *reason;

	memset(site, 0, sizeof(*site));
	if (count < 2 || count > PS_ELF_WRAPPERS_MAX)
		return "what functions have in common takes two of them";
	callees = calloc(count, sizeof(*callees));
	if (!callees)
		return "out of memory";
	reason = find_inner(elf, names, count, callees, site);
	free(callees);
	return reason ? reason : site_at(elf, site->address, site);
}
