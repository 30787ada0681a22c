// SPDX-License-Identifier: GPL-2.0
/*
 * What processes receive and send on stream sockets, seen where system calls
 * return to user space.
 *
 * One handler, on_syscall_exit(), serves two ways to attach: the tracepoint
 * raw_syscalls:sys_exit, and a kretprobe on each system call. When it returns, a
 * call still has its arguments in the saved user registers, so nothing has to be
 * remembered from its entry, and a call that was already waiting when the
 * tracepoint was attached is seen as well.
 *
 * lua/plainsight/source.lua pastes the includes into one text (BCC rewrites the
 * main file only). What depends on the kernel is defined by options: OFF_* and,
 * to attach as kprobes, ATTACH_KPROBE. What depends on the run is in SETTINGS.
 */
#include <uapi/linux/ptrace.h>
#include "include/event.h"
#include "include/kernel.h"
#include "include/infer.h"
#include "include/settings.h"
#include "include/cgroup.h"
#include "include/filter.h"
#include "include/socket.h"
#include "include/emit.h"
#include "include/copy.h"
#include "include/report.h"
#include "include/sendfile.h"
#include "include/tls_session.h"
#include "include/tls_calls.h"
#include "include/notice.h"
#include "include/invisible.h"
#include "include/lifecycle.h"

/* x86-64 system call numbers (arch/x86/entry/syscalls/syscall_64.tbl). */
enum {
	NR_READ = 0,
	NR_WRITE = 1,
	NR_READV = 19,
	NR_WRITEV = 20,
	NR_SENDFILE = 40,
	NR_SENDTO = 44,
	NR_RECVFROM = 45,
	NR_SENDMSG = 46,
	NR_RECVMSG = 47,
	NR_SHUTDOWN = 48,
	NR_SPLICE = 275,
	NR_RECVMMSG = 299,
	NR_SENDMMSG = 307,
	NR_PREADV2 = 327,
	NR_PWRITEV2 = 328
};

enum { MESSAGE_OOB = 1, MESSAGE_PEEK = 2, MESSAGE_TRUNC = 0x20, MESSAGE_ERRQUEUE = 0x2000, SHUT_READ_ONLY = 0 };
enum { MESSAGE_NOT_STREAM = MESSAGE_OOB | MESSAGE_PEEK | MESSAGE_ERRQUEUE };
/* --- connections -------------------------------------------------------- */

/* The connection of a socket, made when it is new; NULL when the table has no room or the port is not asked for. */
static __always_inline struct ps_conn *conn_of_socket(struct socket_ref *ref)
{
	u64 inode_number = READ_FIELD(u64, ref->inode, INODE, INO);
	struct ps_conn *conn = conns.lookup(&ref->sock), *zero;
	u32 first = 0;

	if (conn && conn->id == inode_number)
		return conn;
	zero = zero_conn.lookup(&first);
	if (!zero || conns.update(&ref->sock, zero))
		goto full;
	conn = conns.lookup(&ref->sock);
	if (!conn)
		goto full;
	conn_init(conn, ref, inode_number);
	if (has_filter(PS_FILTER_PORT) && !port_matches(conn->local.port) && !port_matches(conn->remote.port))
		conn->verdict = PS_VERDICT_IGNORE;
	return conn;
full:
	count_loss(PS_LOSS_TABLE_FULL, 0);
	return 0;
}

/* End of file was read, or the sending side was shut down. */
static __always_inline void on_direction_end(struct io_call *call, struct ps_conn *conn, struct socket_ref *ref)
{
	if (!conn->reported || conn->verdict == PS_VERDICT_IGNORE)
		return;
	call->pos = end_position(conn, ref->sock, call->direction);
	call->other_pos = end_position(conn, ref->sock, !call->direction);
	emit_bare(call, conn, PS_EVENT_END, 0);
}

/*
 * ret bytes moved on call->fd in call->direction: find the connection and the
 * position. Returns NULL when there is nothing to copy.
 */
static __always_inline struct ps_conn *locate(struct io_call *call, long ret)
{
	struct socket_ref ref = socket_of_fd(call->fd);
	struct ps_conn *conn;
	int d = call->direction & 1;
	u64 end;

	if (!ref.sock)
		return 0;
	conn = conn_of_socket(&ref);
	if (!conn || conn->verdict == PS_VERDICT_IGNORE)
		return 0;
	call->ts_ns = bpf_ktime_get_ns();
	call->sock = ref.sock;
	if (ret != 0 && !conn->seen[d])
		conn_first_call(conn, ref.sock, call->direction, ret);
	call->flags |= (conn->kernel_pos ? PS_EVENT_KERNEL_POS : 0) | (conn->midstream ? PS_EVENT_MIDSTREAM : 0);
	if (ret == 0) {
		if (call->direction == PS_IN && call->left + call->iov_left > 0)
			on_direction_end(call, conn, &ref);
		return 0;
	}
	end = advance(conn, ref.sock, d, ret);
	call->pos = end > (u64)ret ? end - ret : 0;
	call->other_pos = end_position(conn, ref.sock, !d);
	call->remaining = ret;
	return conn;
}

/* ret bytes moved on call->fd. Returns which program has to go on. */
static __always_inline enum continuation on_io(struct io_call *call, long ret)
{
	struct ps_conn *conn = locate(call, ret);

	return conn ? report(call, conn, ret) : CONTINUE_NONE;
}

/*
 * sendmmsg or recvmmsg returned: messages_left messages moved. How many bytes
 * that were has to be added up first.
 */
int copy_messages(struct pt_regs *ctx)
{
	u64 id = bpf_get_current_pid_tgid(), total = 0;
	struct io_call *call = active_calls.lookup(&id);
	struct ps_conn *conn;
	u32 len;

	if (!call)
		return 0;
	preempt_disable();
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < IOV_MAX_COUNT; i++) {
		if (i >= call->messages_left)
			break;
		len = 0;
		bpf_probe_read_user(&len, sizeof(len), (const void *)(call->messages + i * MMSGHDR_SIZE + MMSGHDR_LEN));
		total += len;
	}
	conn = total ? locate(call, total) : 0;
	if (conn) {
		if (conn->verdict == PS_VERDICT_HTTP)
			count_seen(total);
		next_message(call);
	}
	preempt_enable();
	if (conn)
		continuations.call(ctx, conn->verdict == PS_VERDICT_HTTP ? CONTINUE_COPY : CONTINUE_JUDGE);
	active_calls.delete(&id);
	return 0;
}

/* --- system calls ------------------------------------------------------- */

/* What the flags of a receiving call mean for the copy. Returns false when it moves nothing of the stream. */
static __always_inline bool receive_flags(struct io_call *call, u64 flags)
{
	if (call->direction == PS_IN && (flags & MESSAGE_TRUNC))
		call->flags = PS_EVENT_DISCARDED;
	return call->direction == PS_OUT || !(flags & MESSAGE_NOT_STREAM);
}

/* Fill call from the arguments. Returns false for calls that do not move data of interest. */
static __always_inline bool decode(struct io_call *call, const struct call_regs *regs)
{
	call->fd = regs->di;
	switch (regs->orig_ax) {
	case NR_WRITE:
		call->direction = PS_OUT; /* fallthrough */
	case NR_READ:
		one_buffer(call, regs->si, regs->dx);
		return true;
	case NR_SENDTO:
		call->direction = PS_OUT; /* fallthrough */
	case NR_RECVFROM:
		one_buffer(call, regs->si, regs->dx);
		return receive_flags(call, regs->r10);
	case NR_WRITEV:
	case NR_PWRITEV2:                 /* sockets take it with offset -1 only, which means: like writev */
		call->direction = PS_OUT; /* fallthrough */
	case NR_READV:
	case NR_PREADV2:
		vector(call, regs->si, regs->dx);
		return true;
	case NR_SENDMSG:
		call->direction = PS_OUT; /* fallthrough */
	case NR_RECVMSG:
		vector_of_message(call, regs->si);
		return receive_flags(call, regs->dx);
	case NR_SENDFILE: /* ssize_t sendfile(int out_fd, int in_fd, off_t *offset, size_t count) */
		call->direction = PS_OUT;
		call->flags = PS_EVENT_NO_BUFFER;
		call->from_file = 1;
		call->base = regs->si;
		call->iov = regs->dx;
		return true;
	case NR_SPLICE: /* ssize_t splice(int fd_in, off_t *off_in, int fd_out, off_t *off_out, size_t len, ...) */
		call->flags = PS_EVENT_NO_BUFFER;
		if (socket_of_fd(call->fd).sock)
			return true; /* the other one is a pipe */
		call->fd = regs->dx;
		call->direction = PS_OUT;
		return true;
	}
	return false;
}

/* int sendmmsg(int fd, struct mmsghdr *msgvec, unsigned int vlen, int flags), recvmmsg: ret messages moved */
static __always_inline enum continuation on_messages(struct io_call *call, const struct call_regs *regs, long ret)
{
	u64 id = bpf_get_current_pid_tgid();

	call->fd = regs->di;
	call->direction = regs->orig_ax == NR_SENDMMSG ? PS_OUT : PS_IN;
	call->messages = regs->si;
	call->messages_left = ret;
	if (ret == 0 || !receive_flags(call, regs->r10))
		return CONTINUE_NONE;
	if (!active_calls.update(&id, call))
		return CONTINUE_MESSAGES;
	count_loss(PS_LOSS_TABLE_FULL, 0);
	return CONTINUE_NONE;
}

/* --- where system calls return ------------------------------------------ */

/* int shutdown(int fd, int how). TCP says so itself (inet_sock_set_state); AF_UNIX does not. */
static __always_inline void on_shutdown(struct io_call *call, const struct call_regs *regs, long ret)
{
	struct socket_ref ref;
	struct ps_conn *conn;

	if (ret != 0 || regs->si == SHUT_READ_ONLY)
		return;
	call->fd = regs->di;
	ref = socket_of_fd(call->fd);
	if (!ref.sock || ref.family != PS_FAMILY_UNIX)
		return;
	conn = conns.lookup(&ref.sock);
	if (!conn)
		return;
	call->ts_ns = bpf_ktime_get_ns();
	call->sock = ref.sock;
	call->direction = PS_OUT;
	on_direction_end(call, conn, &ref);
}

/* A call of x86-64 has returned. Returns which program has to go on. */
static __always_inline enum continuation on_call(const struct call_regs *regs, long ret)
{
	struct io_call call = {};

	if (captures(PS_CAPTURE_PLAIN) && regs->orig_ax == NR_SHUTDOWN) {
		on_shutdown(&call, regs, ret);
		return CONTINUE_NONE;
	}
	if (captures(PS_CAPTURE_PLAIN) && (regs->orig_ax == NR_SENDMMSG || regs->orig_ax == NR_RECVMMSG))
		return on_messages(&call, regs, ret);
	if (!decode(&call, regs) || (captures(PS_CAPTURE_TLS) && on_tls_socket_call(&call, regs->r14, ret)) ||
	    !captures(PS_CAPTURE_PLAIN))
		return CONTINUE_NONE;
	return on_io(&call, ret);
}

/* The saved user registers of the current task. */
static __always_inline u64 saved_user_regs(void)
{
#ifdef HAVE_TASK_PT_REGS
	return bpf_task_pt_regs(bpf_get_current_task_btf());
#else /* before 5.15 they lie at the very end of the 16 KiB kernel stack (arch/x86/include/asm/processor.h) */
	return read_pointer(bpf_get_current_task() + OFF_TASK_STACK) + 16384 - sizeof(struct pt_regs);
#endif
}

/* A member of struct pt_regs, whose layout is a user-space ABI. */
#define USER_REG(user_regs, name) READ_AT(u64, user_regs, TYPE_USER_REGS, __builtin_offsetof(struct pt_regs, name))

static __always_inline void read_call_regs(struct call_regs *regs, u64 user_regs)
{
#ifdef HAVE_RDONLY_CAST
	regs->r14 = USER_REG(user_regs, r14);
	regs->bx = USER_REG(user_regs, bx);
	regs->r10 = USER_REG(user_regs, r10);
	regs->r8 = USER_REG(user_regs, r8);
	regs->dx = USER_REG(user_regs, dx);
	regs->si = USER_REG(user_regs, si);
	regs->di = USER_REG(user_regs, di);
	regs->orig_ax = USER_REG(user_regs, orig_ax);
#else
	READ_KERNEL(*regs, user_regs + __builtin_offsetof(struct pt_regs, r14));
#endif
}

static __always_inline int on_syscall_exit(void *ctx, long ret)
{
	struct call_regs regs = {};
	enum continuation next = CONTINUE_NONE;

	if (ret < 0 || !is_traced())
		return 0;
	preempt_disable();
	read_call_regs(&regs, saved_user_regs());
	if (READ_FIELD(u32, bpf_get_current_task(), TASK, STATUS) & STATUS_COMPAT)
		on_compat_call(regs.orig_ax, regs.bx);
	else if (!captures(PS_CAPTURE_TLS) || !on_process_call(&regs, ret))
		next = on_call(&regs, ret);
	preempt_enable();
	if (next != CONTINUE_NONE)
		continuations.call(ctx, next);
	return 0;
}

#ifndef ATTACH_KPROBE
/* Numbers up to 63 as a bitmap, the few others one by one; 32-bit numbers as well. */
static __always_inline bool may_move_data(u64 nr)
{
	const u64 low = 1ULL << NR_READ | 1ULL << NR_WRITE | 1ULL << NR_READV | 1ULL << NR_WRITEV |
			1ULL << NR_SENDFILE | 1ULL << NR_SENDTO | 1ULL << NR_RECVFROM | 1ULL << NR_SENDMSG |
			1ULL << NR_RECVMSG | 1ULL << NR_SHUTDOWN | 1ULL << NR32_READ | 1ULL << NR32_WRITE;
	const u64 process = 1ULL << NR_MMAP | 1ULL << NR_CLONE | 1ULL << NR_FORK;

	if (nr < 64)
		return ((captures(PS_CAPTURE_TLS) ? low | process : low) >> nr) & 1;
	if (captures(PS_CAPTURE_TLS) && nr == NR_CLONE3)
		return true;
	return nr == NR_SPLICE || nr == NR_RECVMMSG || nr == NR_SENDMMSG || nr == NR_PREADV2 || nr == NR_PWRITEV2 ||
	       nr == NR32_SOCKETCALL || nr == NR32_READV || nr == NR32_WRITEV ||
	       (nr >= NR32_SENDTO && nr <= NR32_RECVMSG);
}

/*
 * tracepoint raw_syscalls:sys_exit. Not the raw tracepoint of that name: newer
 * kernels can preempt a program there and then skip its next runs on that CPU.
 */
struct sys_exit_args {
	u64 common;
	long nr;
	long ret;
};

int sys_exit(struct sys_exit_args *ctx)
{
	/* Every system call of the machine comes by here: turn away the others first. */
	if (!may_move_data(ctx->nr))
		return 0;
	return on_syscall_exit(ctx, ctx->ret);
}

#else
/* kretprobe on __x64_sys_read and the others */
int syscall_return(struct pt_regs *ctx)
{
	return on_syscall_exit(ctx, PT_REGS_RC(ctx));
}
#endif
