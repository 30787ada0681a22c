/* SPDX-License-Identifier: GPL-2.0 */
/* BCC includes this; its contents come with BCC or are not needed. */
#pragma once
