/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What BCC defines for a probe before clang sees it, as far as the probes use
 * it, so that clang -fsyntax-only can check them with all warnings on. Only
 * types matter here: nothing of this is ever linked or run.
 */
#pragma once
#pragma clang system_header

#include <linux/types.h>

#define BPF_MAP_OPERATIONS(key_t, leaf_t)                                                                              \
	leaf_t *(*lookup)(key_t *);                                                                                    \
	int (*update)(key_t *, leaf_t *);                                                                              \
	int (*insert)(key_t *, leaf_t *);                                                                              \
	int (*delete)(key_t *);
#define BPF_TABLE(kind, key_t, leaf_t, name, size)                                                                     \
	struct name##_table {                                                                                          \
		BPF_MAP_OPERATIONS(key_t, leaf_t)                                                                      \
	};                                                                                                             \
	extern struct name##_table name
#define BPF_HASH(name, key_t, leaf_t, size)  BPF_TABLE("hash", key_t, leaf_t, name, size)
#define BPF_ARRAY(name, leaf_t, size)        BPF_TABLE("array", u32, leaf_t, name, size)
#define BPF_PERCPU_ARRAY(name, leaf_t, size) BPF_TABLE("percpu_array", u32, leaf_t, name, size)
#define BPF_RINGBUF_OUTPUT(name, pages)                                                                                \
	struct name##_table {                                                                                          \
		void *(*ringbuf_reserve)(u64);                                                                         \
		void (*ringbuf_submit)(void *, u64);                                                                   \
	};                                                                                                             \
	extern struct name##_table name
#define BPF_PROG_ARRAY(name, size)                                                                                     \
	struct name##_table {                                                                                          \
		void (*call)(void *, int);                                                                             \
	};                                                                                                             \
	extern struct name##_table name
#define BPF_CGROUP_ARRAY(name, size)                                                                                   \
	struct name##_table {                                                                                          \
		int (*check_current_task)(int);                                                                        \
	};                                                                                                             \
	extern struct name##_table name

struct bpf_raw_tracepoint_args {
	u64 args[0];
};

struct task_struct;

long bpf_probe_read_kernel(void *dst, u32 size, const void *address);
long bpf_probe_read_kernel_str(void *dst, u32 size, const void *address);
long bpf_probe_read_user(void *dst, u32 size, const void *address);
u64 bpf_ktime_get_ns(void);
u64 bpf_get_current_pid_tgid(void);
u64 bpf_get_current_uid_gid(void);
u64 bpf_get_current_cgroup_id(void);
u64 bpf_get_current_task(void);
struct task_struct *bpf_get_current_task_btf(void);
long bpf_task_pt_regs(struct task_struct *task);
long bpf_get_current_comm(void *dst, u32 size);
u64 bpf_get_attach_cookie(void *ctx);
u32 bpf_get_smp_processor_id(void);
long bpf_send_signal(u32 signal);

#define bpf_ntohs(value)   __builtin_bswap16(value)
#define PT_REGS_RC(ctx)    ((ctx)->ax)
#define PT_REGS_PARM1(ctx) ((ctx)->di)
