/* SPDX-License-Identifier: GPL-2.0 */
/* What moves data in ways that cannot be followed, counted per process: io_uring and 32-bit system calls. */
#ifndef PLAINSIGHT_INVISIBLE_H
#define PLAINSIGHT_INVISIBLE_H

/* 32-bit system call numbers (arch/x86/entry/syscalls/syscall_32.tbl): counted only. */
enum {
	NR32_READ = 3,
	NR32_WRITE = 4,
	NR32_SOCKETCALL = 102,
	NR32_READV = 145,
	NR32_WRITEV = 146,
	NR32_SENDTO = 369,
	NR32_RECVMSG = 372
};

enum { STATUS_COMPAT = 2 }; /* TS_COMPAT in thread_info.status: the task is in a 32-bit system call */

/* From process and kind to how often it did what the probes cannot follow. Read by user space at exit. */
BPF_HASH(invisible, struct ps_invisible_key, struct ps_invisible_calls, 1024);

static __always_inline void count_invisible(u32 kind)
{
	struct ps_invisible_key key = {.tgid = bpf_get_current_pid_tgid() >> 32, .kind = kind};
	struct ps_invisible_calls *seen = invisible.lookup(&key), none = {};

	if (!seen) {
		bpf_get_current_comm(&none.comm, sizeof(none.comm));
		invisible.insert(&key, &none); /* or another thread of the process has */
		seen = invisible.lookup(&key);
	}
	if (seen)
		__sync_fetch_and_add(&seen->calls, 1);
	else
		count_loss(PS_LOSS_TABLE_FULL, 0);
}

/* A 32-bit system call: other numbers, other registers, other struct layouts. Counted when it is about a socket. */
static __always_inline void on_compat_call(u64 nr, u32 fd)
{
	if (nr != NR32_READ && nr != NR32_WRITE && nr != NR32_SOCKETCALL && nr != NR32_READV && nr != NR32_WRITEV &&
	    (nr < NR32_SENDTO || nr > NR32_RECVMSG))
		return;
	if (nr == NR32_SOCKETCALL || socket_of_fd(fd).sock)
		count_invisible(PS_INVISIBLE_COMPAT);
}

/* Operations of io_uring that are for sockets only (enum io_uring_op, a user-space ABI). */
enum {
	URING_SENDMSG = 9,
	URING_RECVMSG = 10,
	URING_SEND = 26,
	URING_RECV = 27,
	URING_SEND_ZC = 47,
	URING_SENDMSG_ZC = 48
};

static __always_inline void on_uring_request(u64 request)
{
	u8 opcode = 0;

	if (!is_traced())
		return;
	READ_KERNEL(opcode, request + OFF_IO_KIOCB_OPCODE);
	if (opcode == URING_SEND || opcode == URING_RECV || opcode == URING_SENDMSG || opcode == URING_RECVMSG ||
	    opcode == URING_SEND_ZC || opcode == URING_SENDMSG_ZC)
		count_invisible(PS_INVISIBLE_IO_URING);
}

/* raw tracepoint io_uring_submit_req(struct io_kiocb *req) */
int io_uring_submit_req(struct bpf_raw_tracepoint_args *ctx)
{
	preempt_disable();
	on_uring_request(ctx->args[0]);
	preempt_enable();
	return 0;
}

#endif
