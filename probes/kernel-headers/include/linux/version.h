/* SPDX-License-Identifier: GPL-2.0 */
/* BCC compares versions only to choose between helpers that every kernel from 5.8 on has. */
#pragma once
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#define LINUX_VERSION_CODE      KERNEL_VERSION(5, 8, 0)
