/* SPDX-License-Identifier: GPL-2.0 */
/* Saved user registers: part of the kernel's stable ABI with debuggers (arch/x86/include/uapi/asm/ptrace.h). */
#pragma once
#if !defined(__x86_64__)
#error "Plainsight runs on x86-64 only so far"
#endif
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
