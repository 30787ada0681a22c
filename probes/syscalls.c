// SPDX-License-Identifier: GPL-2.0
/*
 * What processes receive and send on stream sockets, seen where system calls
 * return to user space.
 *
 * One handler, on_syscall_exit(), serves two ways to attach: the tracepoint
 * raw_syscalls:sys_exit, and a kretprobe on each system call. At its return a call still has
 * its arguments in the saved user registers, so nothing has to be remembered
 * from its entry, and a call that was already waiting when the probes were
 * attached is seen as well.
 *
 * lua/plainsight/loader.lua pastes the includes into one text (BCC rewrites the
 * main file only) and defines OFF_*, FILTER_*, RING_PAGES, SELF_TGID and,
 * to attach as kprobes, ATTACH_KPROBE.
 */
#include <uapi/linux/ptrace.h>
#include "include/event.h"
#include "include/kernel.h"
#include "include/infer.h"
#include "include/filter.h"
#include "include/socket.h"
#include "include/emit.h"

/* x86-64 system call numbers (arch/x86/entry/syscalls/syscall_64.tbl). */
enum {
	NR_READ = 0,
	NR_WRITE = 1,
	NR_CLOSE = 3,
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

enum { MESSAGE_OOB = 1, MESSAGE_PEEK = 2, MESSAGE_TRUNC = 0x20, MESSAGE_ERRQUEUE = 0x2000, SHUT_READ_ONLY = 0 };
enum { MESSAGE_NOT_STREAM = MESSAGE_OOB | MESSAGE_PEEK | MESSAGE_ERRQUEUE };
enum { STATUS_COMPAT = 2 };    /* TS_COMPAT in thread_info.status: the task is in a 32-bit system call */
enum { IOV_MAX_COUNT = 1024 }; /* UIO_MAXIOV */

/* Where struct user_msghdr, a user-space ABI, has its vector (include/linux/socket.h). */
enum { MSGHDR_IOV = 16, MSGHDR_IOVLEN = 24, MMSGHDR_LEN = 56, MMSGHDR_SIZE = 64 };

enum { PIECES_FIRST = 2, PIECES_MORE = 32, PREFIX_BUFFERS = 8, UNDECIDED_CALLS_MAX = 64, SKIP_MIN = 4096 };

/* From pid_tgid to the rest of a call that has more pieces than one program copies; copy_more() deletes it. */
BPF_HASH(active_calls, u64, struct io_call, 4096);

/* The programs that go on with a call in active_calls, by enum continuation. */
BPF_PROG_ARRAY(continuations, 4);
enum continuation {
	CONTINUE_NONE = -1,
	CONTINUE_COPY = 0,
	CONTINUE_JUDGE = 1,
	CONTINUE_MESSAGES = 2,
	CONTINUE_FILE = 3
};

/* From process and kind to how often it did what the probes cannot follow. Read by user space at exit. */
BPF_HASH(invisible, struct ps_invisible_key, struct ps_invisible_calls, 1024);

/* From sock to what of it need not be copied; user space writes it, the least recently used entry goes first. */
BPF_TABLE("lru_hash", u64, struct ps_skip, skips, 4096);

/* Entry 0 stays zero: the value that new entries of `conns` begin with (too large for the stack). */
BPF_ARRAY(zero_conn, struct ps_conn, 1);

/* --- where the bytes of a call are --------------------------------------- */

/* ssize_t read(int fd, void *buf, size_t count), write, recvfrom, sendto: one buffer. */
static __always_inline void one_buffer(struct io_call *call, u64 base, u64 len)
{
	call->base = base;
	call->left = len;
}

/* ssize_t readv(int fd, const struct iovec *iov, int count), writev */
static __always_inline void vector(struct io_call *call, u64 iov, u64 count)
{
	call->iov = iov;
	call->iov_left = count > IOV_MAX_COUNT ? IOV_MAX_COUNT : count;
}

/* ssize_t recvmsg(int fd, struct msghdr *msg, int flags), sendmsg */
static __always_inline void vector_of_message(struct io_call *call, u64 msghdr)
{
	u64 iov = 0, count = 0;

	bpf_probe_read_user(&iov, sizeof(iov), (const void *)(msghdr + MSGHDR_IOV));
	bpf_probe_read_user(&count, sizeof(count), (const void *)(msghdr + MSGHDR_IOVLEN));
	vector(call, iov, count);
}

/* --- copying ------------------------------------------------------------ */

/* Step to the next buffer of the vector when the current one is used up. Returns false when there is none. */
static __always_inline bool next_buffer(struct io_call *call)
{
	struct user_iovec iovec = {};

	if (call->left)
		return true;
	if (!call->iov_left)
		return false;
	if (bpf_probe_read_user(&iovec, sizeof(iovec), (const void *)call->iov))
		return false;
	call->iov += sizeof(iovec);
	call->iov_left--;
	call->base = iovec.base;
	call->left = iovec.len;
	return true;
}

/* Report one piece. Returns false when the call is done with. */
static __always_inline bool copy_piece(struct io_call *call, struct ps_conn *conn)
{
	u64 len;

	if (!next_buffer(call))
		return false;
	len = call->left < call->in_message ? call->left : call->in_message;
	if (len > PIECE_MAX)
		len = PIECE_MAX;
	if (len == 0)
		return call->remaining > 0; /* an empty buffer in the vector */
	emit_data(call, conn, len);
	call->pos += len;
	call->base += len;
	call->left -= len;
	call->in_message -= len;
	call->remaining -= len;
	return call->remaining > 0;
}

/* The rest of a call that will not be copied. */
static __always_inline void give_up(struct io_call *call, struct ps_conn *conn, u32 cause, u16 flag)
{
	call->flags |= flag;
	count_loss(cause, call->remaining);
	emit_bare(call, conn, PS_EVENT_DATA, call->remaining);
}

/*
 * Step to the next message of sendmmsg or recvmmsg when the current one is used
 * up. Returns false when there is none. struct mmsghdr { struct msghdr; u32 len; }
 */
static __always_inline bool next_message(struct io_call *call)
{
	u32 len = 0;

	if (call->in_message)
		return true;
	if (!call->messages_left)
		return false;
	vector_of_message(call, call->messages);
	bpf_probe_read_user(&len, sizeof(len), (const void *)(call->messages + MMSGHDR_LEN));
	call->messages += MMSGHDR_SIZE;
	call->messages_left--;
	call->in_message = len;
	call->left = 0;
	return true;
}

/* Keep the call for the program that continues it. Returns false, the rest counted as lost, when there is no room. */
static __always_inline bool remember(struct io_call *call, struct ps_conn *conn)
{
	u64 id = bpf_get_current_pid_tgid();

	if (!active_calls.update(&id, call))
		return true;
	give_up(call, conn, PS_LOSS_TABLE_FULL, PS_EVENT_CUT);
	return false;
}

/* The next pieces of a large call; runs itself again up to 32 times (the kernel's limit). */
int copy_more(struct pt_regs *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	/*
	 * Worked on where it is: what is read back from a map is unknown to the
	 * verifier, so that the paths through the loop meet again and are checked once.
	 */
	struct io_call *call = active_calls.lookup(&id);
	struct ps_conn *conn = call ? conns.lookup(&call->sock) : 0;
	int i;

	if (!conn)
		goto done;
#pragma clang loop unroll(disable)
	for (i = 0; i < PIECES_MORE; i++) {
		if (!next_message(call) || !copy_piece(call, conn))
			break;
	}
	if (i == PIECES_MORE)
		continuations.call(ctx, CONTINUE_COPY);
	if (call->remaining)
		give_up(call, conn, PS_LOSS_CUT, PS_EVENT_CUT);
done:
	active_calls.delete(&id);
	return 0;
}

/* Copy the first pieces. Returns whether copy_more() has to go on. */
static __always_inline bool copy_call(struct io_call *call, struct ps_conn *conn)
{
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < PIECES_FIRST; i++) {
		if (!copy_piece(call, conn))
			break;
	}
	if (!call->remaining)
		return false;
	if (i < PIECES_FIRST)
		give_up(call, conn, PS_LOSS_FAULT, PS_EVENT_FAULT);
	return i == PIECES_FIRST && remember(call, conn);
}

/* --- HTTP or not -------------------------------------------------------- */

/* The connection does not look like HTTP. Returns whether it still may turn out to be. */
static __always_inline void not_http(struct ps_conn *conn)
{
	/* The past of an AF_UNIX connection is unknown: like one met in its middle, it gets more chances. */
	if (!conn->midstream && conn->kernel_pos) {
		conn->verdict = PS_VERDICT_IGNORE;
		return;
	}
	conn->midstream = 1;
	if (++conn->undecided_calls > UNDECIDED_CALLS_MAX)
		conn->verdict = PS_VERDICT_IGNORE;
}

/*
 * Add the first bytes of the call to what is known of the direction's beginning.
 * A connection met in its middle is judged by the beginning of each call, where
 * messages begin. Returns how many bytes are known.
 */
static __always_inline u32 gather_prefix(struct ps_conn *conn, struct io_call *call)
{
	/* Worked on where it is (see copy_more() for why), then set back. */
	u64 base = call->base, left = call->left, iov = call->iov, in_message = call->in_message, len, have;
	u32 iov_left = call->iov_left;
	int d = call->direction & 1;

	if (conn->midstream)
		conn->prefix_len[d] = 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < PREFIX_BUFFERS; i++) {
		have = conn->prefix_len[d];
		if (have >= INFER_BYTES || !next_buffer(call))
			break;
		len = call->left < call->in_message ? call->left : call->in_message;
		if (len > INFER_BYTES)
			len = INFER_BYTES;
		if (len == 0)
			continue;
		/* Both are in range; older verifiers follow paths that cannot be and find them out of it. */
		asm volatile("" : "+r"(have), "+r"(len));
		have &= INFER_BYTES - 1;
		len = ((len - 1) & (INFER_BYTES - 1)) + 1;
		if (bpf_probe_read_user(conn->prefix[d] + have, len, (const void *)call->base))
			break;
		conn->prefix_len[d] = have + len;
		call->in_message -= len;
		call->left = 0;
	}
	call->base = base;
	call->left = left;
	call->iov = iov;
	call->iov_left = iov_left;
	call->in_message = in_message;
	return conn->prefix_len[d];
}

/* The first calls of a connection: is it HTTP? If so or if it may be, go on with copy_more(). */
int judge(struct pt_regs *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	struct io_call *call = active_calls.lookup(&id);
	struct ps_conn *conn = call ? conns.lookup(&call->sock) : 0;
	enum infer_result result;

	if (!conn)
		goto done;
	result = infer_http1(conn->prefix[call->direction & 1], gather_prefix(conn, call));
	if (result == INFER_NO) {
		not_http(conn);
		goto done;
	}
	if (result == INFER_YES)
		conn->verdict = PS_VERDICT_HTTP;
	if (conn->midstream)
		call->flags |= PS_EVENT_MIDSTREAM;
	if (conn->local.family == PS_FAMILY_UNIX && !conn->reported)
		emit_unix_path(call, conn);
	conn->reported = 1;
	count_seen(call->remaining);
	continuations.call(ctx, CONTINUE_COPY);
	give_up(call, conn, PS_LOSS_CUT, PS_EVENT_CUT);
done:
	active_calls.delete(&id);
	return 0;
}

/* --- connections -------------------------------------------------------- */

/* The connection of a socket, made when it is new; NULL when the table has no room or the port is not asked for. */
static __always_inline struct ps_conn *conn_of_socket(struct socket_ref *ref)
{
	u64 inode_number = read_pointer(ref->inode + OFF_INODE_INO);
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
#ifdef FILTER_PORTS
	if (!port_matches(conn->local.port) && !port_matches(conn->remote.port))
		conn->verdict = PS_VERDICT_IGNORE;
#endif
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

/* The bytes were never in a buffer of the process, or are not any more. */
static __always_inline bool has_no_buffer(const struct io_call *call, const struct ps_conn *conn)
{
	return (call->flags & PS_EVENT_NO_BUFFER) ||
	       ((call->flags & PS_EVENT_DISCARDED) && conn->local.family != PS_FAMILY_UNIX);
}

/* Whether the call lies wholly inside what user space has no use for. Only large calls are worth the look. */
static __always_inline bool is_unneeded(const struct io_call *call, const struct ps_conn *conn, u64 len)
{
	u64 sock = call->sock;
	struct ps_skip *skip = len >= SKIP_MIN ? skips.lookup(&sock) : 0;

	return skip && skip->id == conn->id && call->pos + len <= skip->until[call->direction & 1];
}

/* ret bytes moved on call->fd. Returns which program has to go on. */
static __always_inline enum continuation on_io(struct io_call *call, long ret)
{
	struct ps_conn *conn = locate(call, ret);

	if (!conn)
		return CONTINUE_NONE;
	call->in_message = ret;
	if (conn->verdict == PS_VERDICT_HTTP)
		count_seen(ret);
	if (has_no_buffer(call, conn)) {
		if (conn->verdict != PS_VERDICT_HTTP)
			return CONTINUE_NONE;
		if (call->from_file && remember(call, conn))
			return CONTINUE_FILE;
		if (!call->from_file)
			give_up(call, conn, PS_LOSS_NO_BUFFER, 0);
		return CONTINUE_NONE;
	}
	if (conn->verdict == PS_VERDICT_UNDECIDED) {
		if (remember(call, conn))
			return CONTINUE_JUDGE;
		count_seen(ret); /* remember() has reported it as lost */
		return CONTINUE_NONE;
	}
	if (is_unneeded(call, conn, ret)) {
		call->flags |= PS_EVENT_UNNEEDED;
		emit_bare(call, conn, PS_EVENT_DATA, ret);
		return CONTINUE_NONE;
	}
	if (copy_call(call, conn))
		return CONTINUE_COPY;
	return CONTINUE_NONE;
}

/* Where the bytes began that sendfile took: it has moved *offset, or the file's own position, behind them. */
static __always_inline u64 file_offset(const struct io_call *call, u64 file)
{
	u64 end = 0;

	if (call->iov)
		bpf_probe_read_user(&end, sizeof(end), (const void *)call->iov);
	else
		end = read_pointer(file + OFF_FILE_POS);
	return end - call->remaining;
}

/* The path of a file up to the root of its mount namespace, last component first. */
static __always_inline void fill_path(struct ps_file_ref *ref, u64 file)
{
	u64 dentry = read_pointer(file + OFF_FILE_DENTRY), mnt = read_pointer(file + OFF_FILE_MNT);
	u64 mount, parent;
	u32 at;

	ref->names = 0; /* counted there: see copy_more() for why */

#pragma clang loop unroll(disable)
	for (int i = 0; i < 2 * PS_FILE_NAMES_MAX; i++) {
		parent = read_pointer(dentry + OFF_DENTRY_PARENT);
		if (dentry == read_pointer(mnt + OFF_VFSMOUNT_ROOT)) { /* go on where it is mounted */
			mount = mnt - OFF_MOUNT_MNT;
			parent = read_pointer(mount + OFF_MOUNT_PARENT);
			if (!parent || parent == mount)
				break;
			dentry = read_pointer(mount + OFF_MOUNT_MOUNTPOINT);
			mnt = parent + OFF_MOUNT_MNT;
			continue;
		}
		if (!parent || parent == dentry) /* not below any mount: unlinked from the tree */
			break;
		at = ref->names;
		if (at >= PS_FILE_NAMES_MAX)
			break;
		bpf_probe_read_kernel_str(ref->name[at], PS_FILE_NAME_LEN,
					  (const void *)read_pointer(dentry + OFF_DENTRY_NAME));
		ref->names = at + 1;
		dentry = parent;
	}
}

/* sendfile returned: tell user space where it can read what was sent. */
int copy_file(struct pt_regs *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	struct io_call *call = active_calls.lookup(&id);
	struct ps_conn *conn = call ? conns.lookup(&call->sock) : 0;
	struct ps_event *event;
	struct ps_file_ref *ref;
	u64 file, inode;

	if (!conn)
		goto done;
	file = file_of_fd(call->base);
	event = file ? reserve(RECORD_LARGE, call->remaining) : 0;
	if (!event) {
		if (!file)
			give_up(call, conn, PS_LOSS_NO_BUFFER, 0);
		goto done;
	}
	fill_event(event, call, conn, PS_EVENT_FILE, call->remaining);
	event->captured_len = sizeof(*ref);
	ref = (struct ps_file_ref *)(event + 1);
	inode = read_pointer(file + OFF_FILE_INODE);
	ref->inode = read_pointer(inode + OFF_INODE_INO);
	ref->file_bytes = read_pointer(inode + OFF_INODE_SIZE);
	ref->offset = file_offset(call, file);
	ref->fd = call->base;
	fill_path(ref, file);
	submit(event);
done:
	active_calls.delete(&id);
	return 0;
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
		continuations.call(ctx, conn->verdict == PS_VERDICT_HTTP ? CONTINUE_COPY : CONTINUE_JUDGE);
	}
	active_calls.delete(&id);
	return 0;
}

/* --- system calls ------------------------------------------------------- */

/* The part of struct pt_regs that holds a call's number and arguments, read in one go. */
struct call_regs {
	u64 r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs;
};

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

/* --- what cannot be followed -------------------------------------------- */

static __always_inline void count_invisible(u32 kind)
{
	struct ps_invisible_key key = {.tgid = bpf_get_current_pid_tgid() >> 32, .kind = kind};
	struct ps_invisible_calls *seen = invisible.lookup(&key), first = {.calls = 1};

	if (seen) {
		__sync_fetch_and_add(&seen->calls, 1);
		return;
	}
	bpf_get_current_comm(&first.comm, sizeof(first.comm));
	if (invisible.insert(&key, &first))
		count_loss(PS_LOSS_TABLE_FULL, 0);
}

/* A 32-bit system call: other numbers, other registers, other struct layouts. Counted when it is about a socket. */
static __always_inline void on_compat_call(u64 nr, const struct pt_regs *user)
{
	u64 fd = 0;

	if (nr != NR32_READ && nr != NR32_WRITE && nr != NR32_SOCKETCALL && nr != NR32_READV && nr != NR32_WRITEV &&
	    (nr < NR32_SENDTO || nr > NR32_RECVMSG))
		return;
	READ_KERNEL(fd, (u64)user + __builtin_offsetof(struct pt_regs, bx));
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

/* raw tracepoint io_uring_submit_req(struct io_kiocb *req) */
int io_uring_submit_req(struct bpf_raw_tracepoint_args *ctx)
{
	u8 opcode = 0;

	if (!is_traced())
		return 0;
	READ_KERNEL(opcode, ctx->args[0] + OFF_IO_KIOCB_OPCODE);
	if (opcode == URING_SEND || opcode == URING_RECV || opcode == URING_SENDMSG || opcode == URING_RECVMSG ||
	    opcode == URING_SEND_ZC || opcode == URING_SENDMSG_ZC)
		count_invisible(PS_INVISIBLE_IO_URING);
	return 0;
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

/* The saved user registers of the current task. */
static __always_inline u64 saved_user_regs(void)
{
#ifdef HAVE_TASK_PT_REGS
	return bpf_task_pt_regs(bpf_get_current_task_btf());
#else /* before 5.15 they lie at the very end of the 16 KiB kernel stack (arch/x86/include/asm/processor.h) */
	return read_pointer(bpf_get_current_task() + OFF_TASK_STACK) + 16384 - sizeof(struct pt_regs);
#endif
}

static __always_inline int on_syscall_exit(void *ctx, long ret)
{
	u64 user_regs;
	struct call_regs regs = {};
	struct io_call call = {};
	enum continuation next = CONTINUE_NONE;

	if (ret < 0 || !is_traced())
		return 0;
	user_regs = saved_user_regs();
	READ_KERNEL(regs, user_regs + __builtin_offsetof(struct pt_regs, r10));
	if (read_u32(bpf_get_current_task() + OFF_TASK_STATUS) & STATUS_COMPAT)
		on_compat_call(regs.orig_ax, (const struct pt_regs *)user_regs);
	else if (regs.orig_ax == NR_SHUTDOWN)
		on_shutdown(&call, &regs, ret);
	else if (regs.orig_ax == NR_SENDMMSG || regs.orig_ax == NR_RECVMMSG)
		next = on_messages(&call, &regs, ret);
	else if (decode(&call, &regs))
		next = on_io(&call, ret);
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

	if (nr < 64)
		return (low >> nr) & 1;
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

/* --- the end of connections --------------------------------------------- */

static __always_inline void on_close(u64 sock)
{
	struct ps_conn *conn = conns.lookup(&sock);
	struct io_call call = {};

	if (!conn)
		return;
	if (conn->reported) {
		call.ts_ns = bpf_ktime_get_ns();
		call.sock = sock;
		call.fd = -1;
		call.pos = end_position(conn, sock, PS_IN);
		call.other_pos = end_position(conn, sock, PS_OUT);
		/* Of other connections bytes have moved that nobody was to be told of. */
		if (conn->kernel_pos && conn->verdict == PS_VERDICT_HTTP)
			call.flags = PS_EVENT_KERNEL_POS;
		if (!emit_bare(&call, conn, PS_EVENT_CLOSE, 0)) {
			/* Left for user space to find when it wonders what became of the connection. */
			conn->pos[PS_IN] = call.pos;
			conn->pos[PS_OUT] = call.other_pos;
			conn->closed = 1;
			return;
		}
	}
	conns.delete(&sock);
}

/* raw tracepoint tcp_destroy_sock(struct sock *sk): TCP is done with it, whoever closed it and when */
int tcp_destroy_sock(struct bpf_raw_tracepoint_args *ctx)
{
	on_close(ctx->args[0]);
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

/*
 * raw tracepoint inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)
 * The local side will send no more: shutdown() or the last close().
 */
int inet_sock_set_state(struct bpf_raw_tracepoint_args *ctx)
{
	enum { FIN_WAIT1 = 4, LAST_ACK = 9 };
	u64 sock = ctx->args[0];
	int state = ctx->args[2];
	struct ps_conn *conn;
	struct io_call call = {};

	if (state == TCP_STATE_CLOSE && is_reset_by_close(sock, ctx->args[1])) {
		on_close(sock);
		return 0;
	}
	if (state != FIN_WAIT1 && state != LAST_ACK)
		return 0;
	/* From ESTABLISHED only close() shuts down both directions at once. TCP may take minutes to end it. */
	if (state == FIN_WAIT1 && (read_u32(sock + OFF_SOCK_SHUTDOWN) & SHUTDOWN_BOTH) == SHUTDOWN_BOTH) {
		on_close(sock);
		return 0;
	}
	/* close() after shutdown(): the end has been told, and write_seq counts the FIN by now. */
	if (state == (int)ctx->args[1])
		return 0;
	conn = conns.lookup(&sock);
	if (!conn || !conn->reported || conn->verdict == PS_VERDICT_IGNORE)
		return 0;
	call.ts_ns = bpf_ktime_get_ns();
	call.sock = sock;
	call.fd = -1;
	call.direction = PS_OUT;
	call.pos = end_position(conn, sock, PS_OUT);
	call.other_pos = end_position(conn, sock, PS_IN);
	if (conn->kernel_pos)
		call.flags = PS_EVENT_KERNEL_POS;
	emit_bare(&call, conn, PS_EVENT_END, 0);
	return 0;
}

/* The last reference to an AF_UNIX socket goes away with this close(). */
static __always_inline int on_close_enter(u32 fd)
{
	struct socket_ref ref;

	if (!is_traced())
		return 0;
	ref = socket_of_fd(fd);
	if (ref.sock && ref.family == PS_FAMILY_UNIX && read_pointer(ref.file + OFF_FILE_COUNT) == FILE_COUNT_ONE)
		on_close(ref.sock);
	return 0;
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
	return on_close_enter(ctx->fd);
}
#else
/* kprobe on __x64_sys_close(const struct call_regs *regs) */
int syscall_close(struct pt_regs *ctx)
{
	return on_close_enter(read_pointer(PT_REGS_PARM1(ctx) + __builtin_offsetof(struct pt_regs, di)));
}
#endif

/* --- processes ---------------------------------------------------------- */

/* raw tracepoint sched_process_fork(struct task_struct *parent, struct task_struct *child): children are traced too */
int sched_process_fork(struct bpf_raw_tracepoint_args *ctx)
{
	u32 parent = read_u32(ctx->args[0] + OFF_TASK_TGID), child = read_u32(ctx->args[1] + OFF_TASK_TGID);
	u8 one = 1;

	if (child != parent && traced_tgids.lookup(&parent) && traced_tgids.update(&child, &one))
		count_loss(PS_LOSS_TABLE_FULL, 0);
	return 0;
}

/* raw tracepoint sched_process_exit(struct task_struct *task): the last thread of a process ends it */
int sched_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	u64 signal = read_pointer(ctx->args[0] + OFF_TASK_SIGNAL);
	u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct ps_event *event;

	if (read_u32(signal + OFF_SIGNAL_LIVE) != 0 || !is_traced())
		return 0;
	traced_tgids.delete(&tgid);
	event = reserve(sizeof(*event), 0);
	if (!event)
		return 0;
	__builtin_memset(event, 0, sizeof(*event));
	event->ts_ns = bpf_ktime_get_ns();
	event->type = PS_EVENT_EXIT;
	fill_process(&event->process);
	submit(event);
	return 0;
}
