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

/*
 * Newer kernels can preempt a program on a system call's way out, and skip the
 * runs of all other tasks on that CPU meanwhile. kfuncs forbid it; BCC cannot
 * call those, so lua/plainsight/bpf.lua replaces the numbers by their BTF ids. A
 * tail call must stand outside.
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
