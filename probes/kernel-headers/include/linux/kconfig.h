/* SPDX-License-Identifier: GPL-2.0 */
/* BCC includes this file first, and its presence is how BCC finds a header tree. */
#pragma once
#define CONFIG_BPF_SYSCALL              1
#define CONFIG_ARCH_HAS_SYSCALL_WRAPPER 1
