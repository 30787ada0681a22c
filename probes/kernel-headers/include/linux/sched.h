/* SPDX-License-Identifier: GPL-2.0 */
#pragma once
#define TASK_COMM_LEN 16
