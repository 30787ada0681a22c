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

#endif
