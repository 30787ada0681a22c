/* SPDX-License-Identifier: GPL-2.0 */
/* How connections and processes end, and that children of traced processes are traced. */
#ifndef PLAINSIGHT_LIFECYCLE_H
#define PLAINSIGHT_LIFECYCLE_H

/* --- the end of connections --------------------------------------------- */

/* The socket is gone, and with it the session on it. */
static __always_inline void on_close(u64 sock)
{
	if (captures(PS_CAPTURE_TLS))
		end_session_of_socket(sock);
	close_connection(sock);
}

/* raw tracepoint tcp_destroy_sock(struct sock *sk): TCP is done with it, whoever closed it and when */
int tcp_destroy_sock(struct bpf_raw_tracepoint_args *ctx)
{
	preempt_disable();
	on_close(ctx->args[0]);
	preempt_enable();
	return 0;
}

/*
 * TCP_CLOSE is set by a close() that sends a reset (SO_LINGER 0), which then takes
 * for read what was not and moves write_seq far ahead. When a FIN ends the
 * connection both directions are shut down too, but there may be bytes to read yet.
 */
static __always_inline bool is_reset_by_close(u64 sock, int old_state)
{
	enum { ESTABLISHED = 1, CLOSE_WAIT = 8 };

	if ((read_u32(sock + OFF_SOCK_SHUTDOWN) & SHUTDOWN_BOTH) != SHUTDOWN_BOTH)
		return false;
	return old_state == ESTABLISHED || old_state == CLOSE_WAIT ||
	       !(read_pointer(sock + OFF_SOCK_FLAGS) & FLAG_SOCK_DONE);
}

/* The local side will send no more: shutdown() or the last close(). */
static __always_inline void on_state(u64 sock, int old_state, int state)
{
	enum { FIN_WAIT1 = 4, LAST_ACK = 9 };
	struct ps_conn *conn;
	struct io_call call = {};

	if (state == TCP_STATE_CLOSE && is_reset_by_close(sock, old_state)) {
		on_close(sock);
		return;
	}
	if (state != FIN_WAIT1 && state != LAST_ACK)
		return;
	/* From ESTABLISHED only close() shuts down both directions at once. TCP may take minutes to end it. */
	if (state == FIN_WAIT1 && (read_u32(sock + OFF_SOCK_SHUTDOWN) & SHUTDOWN_BOTH) == SHUTDOWN_BOTH) {
		on_close(sock);
		return;
	}
	/* close() after shutdown(): the end has been told, and write_seq counts the FIN by now. */
	if (state == old_state)
		return;
	conn = conns.lookup(&sock);
	if (!conn || !conn->reported || conn->closed || conn->verdict == PS_VERDICT_IGNORE)
		return;
	call.ts_ns = bpf_ktime_get_ns();
	call.sock = sock;
	call.fd = -1;
	call.direction = PS_OUT;
	call.pos = end_position(conn, sock, PS_OUT);
	call.other_pos = end_position(conn, sock, PS_IN);
	if (conn->kernel_pos)
		call.flags = PS_EVENT_KERNEL_POS;
	emit_bare(&call, conn, PS_EVENT_END, 0);
}

/* raw tracepoint inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate) */
int inet_sock_set_state(struct bpf_raw_tracepoint_args *ctx)
{
	preempt_disable();
	on_state(ctx->args[0], ctx->args[1], ctx->args[2]);
	preempt_enable();
	return 0;
}

/* The last reference to an AF_UNIX socket goes away with this close(). */
static __always_inline void on_close_enter(u32 fd)
{
	struct socket_ref ref;

	if (!is_traced())
		return;
	ref = socket_of_fd(fd);
	if (ref.sock && ref.family == PS_FAMILY_UNIX && read_pointer(ref.file + OFF_FILE_COUNT) == FILE_COUNT_ONE)
		on_close(ref.sock);
}

#ifndef ATTACH_KPROBE
/* tracepoint syscalls:sys_enter_close */
struct sys_enter_close_args {
	u64 common;
	u64 nr;
	u64 fd;
};

int sys_enter_close(struct sys_enter_close_args *ctx)
{
	preempt_disable();
	on_close_enter(ctx->fd);
	preempt_enable();
	return 0;
}
#else
/* kprobe on __x64_sys_close(const struct call_regs *regs) */
int syscall_close(struct pt_regs *ctx)
{
	preempt_disable();
	on_close_enter(read_pointer(PT_REGS_PARM1(ctx) + __builtin_offsetof(struct pt_regs, di)));
	preempt_enable();
	return 0;
}
#endif

/* --- processes ---------------------------------------------------------- */

/* Children are traced, and attached to, like their parents. */
static __always_inline void on_process_fork(u64 parent_task, u64 child_task)
{
	u32 parent = read_u32(parent_task + OFF_TASK_TGID), child = read_u32(child_task + OFF_TASK_TGID);
	u8 one = 1;

	if (child != parent && traced_tgids.lookup(&parent) && traced_tgids.update(&child, &one))
		count_loss(PS_LOSS_TABLE_FULL, 0);
	if (captures(PS_CAPTURE_TLS) && child != parent)
		on_fork(parent, child);
}

/* raw tracepoint sched_process_fork(struct task_struct *parent, struct task_struct *child) */
int sched_process_fork(struct bpf_raw_tracepoint_args *ctx)
{
	preempt_disable();
	on_process_fork(ctx->args[0], ctx->args[1]);
	preempt_enable();
	return 0;
}

/* The last thread of a process ends it. */
static __always_inline void on_thread_exit(u64 task)
{
	u64 signal = read_pointer(task + OFF_TASK_SIGNAL);
	u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct ps_notice notice = {.type = PS_NOTICE_EXIT, .tgid = tgid};
	struct ps_event *event;

	if (captures(PS_CAPTURE_TLS))
		forget_tls_call();
	if (read_u32(signal + OFF_SIGNAL_LIVE) != 0 || !is_traced())
		return;
	traced_tgids.delete(&tgid);
	if (captures(PS_CAPTURE_TLS) && tls_tgids.lookup(&tgid))
		send_notice(&notice);
	event = reserve(sizeof(*event), 0);
	if (!event)
		return;
	__builtin_memset(event, 0, sizeof(*event));
	event->ts_ns = bpf_ktime_get_ns();
	event->type = PS_EVENT_EXIT;
	fill_process(&event->process);
	submit(event);
}

/* raw tracepoint sched_process_exit(struct task_struct *task) */
int sched_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	preempt_disable();
	on_thread_exit(ctx->args[0]);
	preempt_enable();
	return 0;
}

#endif
