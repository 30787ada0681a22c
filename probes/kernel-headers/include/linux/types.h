/* SPDX-License-Identifier: GPL-2.0 */
/* Fixed-width and kernel integer types, as far as BCC's own headers and the probes name them. */
#pragma once
typedef signed char s8, __s8, int8_t;
typedef unsigned char u8, __u8, uint8_t, u_int8_t;
typedef short s16, __s16, int16_t;
typedef unsigned short u16, __u16, uint16_t, __be16, __le16, __sum16, umode_t;
typedef int s32, __s32, int32_t, pid_t;
typedef unsigned int u32, __u32, uint32_t, __be32, __le32, __wsum, uid_t, gid_t, dev_t;
typedef long long s64, __s64, int64_t, loff_t;
typedef unsigned long long u64, __u64, uint64_t, __be64, __le64;
typedef unsigned long size_t, uintptr_t;
typedef long ssize_t, intptr_t, ptrdiff_t;
typedef _Bool bool;
enum { false = 0, true = 1 };
#define NULL ((void *)0)
#define __bitwise
#define __user
#define __aligned_u64   __u64 __attribute__((aligned(8)))
#define __always_inline inline __attribute__((always_inline))
