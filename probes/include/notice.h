/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Notices to user space, so that it can attach to the TLS libraries of
 * processes: programs that start, files that are mapped to be executed, forks,
 * ends. A ring buffer of its own: a full `events` must not delay them.
 */
#ifndef PLAINSIGHT_NOTICE_H
#define PLAINSIGHT_NOTICE_H

enum { NOTICE_PAGES = 64, SIGNAL_STOP = 19, PROTECTION_EXEC = 4, PAGE_MASK = 4095 };

/* System calls that notices come from (x86-64, as in syscalls.c). */
enum { NR_MMAP = 9, NR_CLONE = 56, NR_FORK = 57, NR_CLONE3 = 435 };

BPF_RINGBUF_OUTPUT(notices, NOTICE_PAGES);

/*
 * Files that user space has looked at: 1, it need not hear of them again. It puts
 * them in; the least recently used goes.
 */
BPF_TABLE("lru_hash", struct ps_file_key, u8, known_files, 16384);

/*
 * Processes that are attached to one by one: their children need that too. User
 * space puts in those that it has attached to (1), a fork their children (2, to
 * be told of when they begin to run). Who ends is taken out by user space.
 */
BPF_HASH(tls_tgids, u32, u8, 16384);

enum { TLS_FORKED = 2 };

static __always_inline bool is_known_file(u64 device, u64 inode)
{
	struct ps_file_key key = {.device = device, .inode = inode};

	return known_files.lookup(&key) != 0;
}

/*
 * Whether an interactive shell waits for the process: it has put it into a process group of its own (setpgid(2)), in
 * the same session. It would take a stop for Ctrl-Z, and the process for a job in the background.
 */
static __always_inline bool is_job_of_shell(void)
{
	enum { PGID = 2, SID = 3 }; /* enum pid_type */
	u64 task = bpf_get_current_task();
	u64 own = read_pointer(task + OFF_TASK_SIGNAL) + OFF_SIGNAL_PIDS;
	u64 parent = read_pointer(read_pointer(task + OFF_TASK_REAL_PARENT) + OFF_TASK_SIGNAL) + OFF_SIGNAL_PIDS;

	return read_pointer(own + PGID * sizeof(u64)) != read_pointer(parent + PGID * sizeof(u64)) &&
	       read_pointer(own + SID * sizeof(u64)) == read_pointer(parent + SID * sizeof(u64));
}

static __always_inline void send_notice(const struct ps_notice *notice)
{
	struct ps_notice *record = notices.ringbuf_reserve(sizeof(*record));

	if (!record) {
		count_loss(PS_LOSS_NOTICES, 0);
		return;
	}
	*record = *notice;
	record->ts_ns = bpf_ktime_get_ns();
	record->stopped = 0;
	/*
	 * Where user space asks for it (COMMAND), the process waits until it has been
	 * attached to: the signal is delivered before it runs one more instruction.
	 */
	if (captures(PS_CAPTURE_STOP) && notice->type != PS_NOTICE_EXIT && !is_job_of_shell())
		record->stopped = bpf_send_signal(SIGNAL_STOP) == 0;
	notices.ringbuf_submit(record, 0);
}

/* start, end: addresses of the mapping, if it is one. */
static __always_inline void notice_file(u32 type, u64 file, u64 start, u64 end)
{
	struct ps_notice notice = {.type = type, .tgid = bpf_get_current_pid_tgid() >> 32, .start = start, .end = end};
	u64 inode = read_pointer(file + OFF_FILE_INODE);

	notice.inode = read_pointer(inode + OFF_INODE_INO);
	notice.device = read_u32(read_pointer(inode + OFF_INODE_SB) + OFF_SUPER_BLOCK_DEV);
	if (!is_known_file(notice.device, notice.inode))
		send_notice(&notice);
}

/*
 * In the parent: a child is made. The child could not find out later whose it is,
 * as a daemon's parent may have ended before it runs.
 */
static __always_inline void on_fork(u32 parent, u32 child)
{
	u8 forked = TLS_FORKED;

	if (tls_tgids.lookup(&parent) && tls_tgids.update(&child, &forked))
		count_loss(PS_LOSS_NOTICES, 0);
}

/* A child begins to run. What its parent was attached to by its process id has to be again. */
static __always_inline void on_forked(void)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 tgid = id >> 32;
	u8 *state = tls_tgids.lookup(&tgid);
	struct ps_notice notice = {.type = PS_NOTICE_FORK, .tgid = tgid};

	if (tgid != (u32)id || !state || *state != TLS_FORKED)
		return;
	notice.parent = read_u32(read_pointer(bpf_get_current_task() + OFF_TASK_REAL_PARENT) + OFF_TASK_TGID);
	send_notice(&notice);
}

/*
 * void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
 * pid_t fork(void), clone and clone3 return 0 in the child. (That of vfork is about to execute something else.)
 * With kprobes the child's return cannot be seen: there is child_starts().
 * Returns false when the call is another one.
 */
static __always_inline bool on_process_call(const struct call_regs *regs, long ret)
{
	u64 nr = regs->orig_ax, file;

	if (nr == NR_MMAP) {
		file = regs->dx & PROTECTION_EXEC ? file_of_fd(regs->r8) : 0;
		if (file)
			notice_file(PS_NOTICE_MAP, file, ret, (ret + regs->si + PAGE_MASK) & ~(u64)PAGE_MASK);
		return true;
	}
	if (nr != NR_CLONE && nr != NR_FORK && nr != NR_CLONE3)
		return false;
	if (ret == 0)
		on_forked();
	return true;
}

#ifdef ATTACH_KPROBE
/* kretprobe on schedule_tail(struct task_struct *prev): what a new task calls first, in place of a return from fork */
int child_starts(struct pt_regs *ctx)
{
	if (!is_traced())
		return 0;
	preempt_disable();
	on_forked();
	preempt_enable();
	return 0;
}
#endif

/* raw tracepoint sched_process_exec(struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm) */
int sched_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
	if (!is_traced())
		return 0;
	preempt_disable();
	notice_file(PS_NOTICE_EXEC, read_pointer(ctx->args[2] + OFF_BINPRM_FILE), 0, 0);
	preempt_enable();
	return 0;
}

#endif
