/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The bytes of one call into the ring, piece by piece and buffer by buffer, and
 * the look at the first of them: is it HTTP?
 *
 * What one program cannot do is continued by another (a tail call), with the
 * call kept in active_calls meanwhile.
 */
#ifndef PLAINSIGHT_COPY_H
#define PLAINSIGHT_COPY_H

enum { IOV_MAX_COUNT = 1024 }; /* UIO_MAXIOV */

/* Where struct user_msghdr, a user-space ABI, has its vector (include/linux/socket.h). */
enum { MSGHDR_IOV = 16, MSGHDR_IOVLEN = 24, MMSGHDR_LEN = 56, MMSGHDR_SIZE = 64 };

enum { PIECES_FIRST = 2, PIECES_MORE = 32, PREFIX_BUFFERS = 8, UNDECIDED_CALLS_MAX = 64 };

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

/* Of tls_session.h: a session whose socket went away during the call ends with it. */
static __always_inline void end_session_that_is_over(struct ps_conn *conn, u64 key);

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
	call->left = (u32)iovec.len; /* of NSPR's vectors only 32 bits are set, and no call moves more */
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
	preempt_disable();
#pragma clang loop unroll(disable)
	for (i = 0; i < PIECES_MORE; i++) {
		if (!next_message(call) || !copy_piece(call, conn))
			break;
	}
	preempt_enable();
	if (i == PIECES_MORE)
		continuations.call(ctx, CONTINUE_COPY);
	if (call->remaining)
		give_up(call, conn, PS_LOSS_CUT, PS_EVENT_CUT);
	end_session_that_is_over(conn, call->sock);
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

static __always_inline bool is_capital(u8 c)
{
	return c >= 'A' && c <= 'Z';
}

/* What begins as HTTP: a message of HTTP/1, not a frame nor "PRI * HTTP/2.0" (RFC 9113 3.4). */
static __always_inline bool begins_http1(const u8 *prefix)
{
	return is_capital(prefix[0]) && !(prefix[0] == 'P' && prefix[1] == 'R' && prefix[2] == 'I');
}

/* The first calls of a connection: is it HTTP? If so or if it may be, go on with copy_more(). */
int judge(struct pt_regs *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	struct io_call *call = active_calls.lookup(&id);
	struct ps_conn *conn = call ? conns.lookup(&call->sock) : 0;
	enum infer_result result;
	u32 len;

	preempt_disable();
	if (!conn)
		goto done;
	len = gather_prefix(conn, call);
	result = infer_http(conn->prefix[call->direction & 1], len, conn->midstream, call->remaining);
	if (result == INFER_NO) {
		not_http(conn);
		goto done;
	}
	if (result == INFER_YES) {
		conn->verdict = PS_VERDICT_HTTP;
		conn->http1 = begins_http1(conn->prefix[call->direction & 1]);
	}
	if (conn->midstream)
		call->flags |= PS_EVENT_MIDSTREAM;
	if (conn->local.family == PS_FAMILY_UNIX && !conn->reported)
		emit_unix_path(call, conn);
	conn->reported = 1;
	count_seen(call->remaining);
	preempt_enable();
	continuations.call(ctx, CONTINUE_COPY);
	preempt_disable();
	give_up(call, conn, PS_LOSS_CUT, PS_EVENT_CUT);
done:
	if (conn)
		end_session_that_is_over(conn, call->sock);
	active_calls.delete(&id);
	preempt_enable();
	return 0;
}

#endif
