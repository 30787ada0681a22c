/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reading kernel structs. Addresses are u64, so that BCC's rewriter leaves them
 * alone. The OFF_ constants come from the running kernel's BTF
 * (lua/plainsight/offsets.lua), never from headers.
 */
#ifndef PLAINSIGHT_KERNEL_H
#define PLAINSIGHT_KERNEL_H

#define READ_KERNEL(dst, addr) bpf_probe_read_kernel(&(dst), sizeof(dst), (const void *)(addr))

static __always_inline u64 read_pointer(u64 addr)
{
	u64 value = 0;

	READ_KERNEL(value, addr);
	return value;
}

static __always_inline u32 read_u32(u64 addr)
{
	u32 value = 0;

	READ_KERNEL(value, addr);
	return value;
}

static __always_inline u16 read_u16(u64 addr)
{
	u16 value = 0;

	READ_KERNEL(value, addr);
	return value;
}

/* The part of struct pt_regs that holds a call's number and arguments, read in one go. */
struct call_regs {
	u64 r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs;
};

/*
 * READ_FIELD(u32, tcp, TCP, WRITE_SEQ): member OFF_TCP_WRITE_SEQ of the struct
 * TYPE_TCP at address tcp. From 6.2 on that is a plain load, on every call some
 * twenty: bpf_rdonly_cast tells the verifier the type (it becomes a move), and
 * the verifier wants the size of the load to be that of the member. The load of a
 * bad address gives 0, as with bpf_probe_read_kernel(). Volatile: what
 * is read twice may have changed.
 */
#ifdef HAVE_RDONLY_CAST
static void *(*rdonly_cast)(u64 address, u32 type_id) = (void *)0x7fff0003;
#define READ_AT(type, address, type_id, offset) (*(const volatile type *)(rdonly_cast(address, type_id) + (offset)))
#else
#define READ_AT(type, address, type_id, offset)                                                                        \
	({                                                                                                             \
		type value_ = 0;                                                                                       \
		READ_KERNEL(value_, (address) + (offset));                                                             \
		value_;                                                                                                \
	})
#endif
#define READ_FIELD(type, address, STRUCT, MEMBER) READ_AT(type, address, TYPE_##STRUCT, OFF_##STRUCT##_##MEMBER)

/*
 * Newer kernels can preempt a program on a system call's way out, and skip the
 * runs of all other tasks on that CPU meanwhile. On a uprobe they skip nothing,
 * although programs without tail calls have their stack per CPU there: two runs
 * would write over each other's. kfuncs forbid it, called before anything is on
 * the stack; BCC cannot call those, so lua/plainsight/bpf.lua replaces the numbers
 * by their BTF ids. A tail call must stand outside.
 */
#ifdef PREEMPTION_KFUNCS
static void (*preempt_disable)(void) = (void *)0x7fff0001;
static void (*preempt_enable)(void) = (void *)0x7fff0002;
#else
#define preempt_disable()                                                                                              \
	do {                                                                                                           \
	} while (0)
#define preempt_enable()                                                                                               \
	do {                                                                                                           \
	} while (0)
#endif

#endif
