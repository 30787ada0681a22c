/* SPDX-License-Identifier: GPL-2.0 */
/* What to do with the bytes of a call whose connection and position are known: copy, judge, or only count them. */
#ifndef PLAINSIGHT_REPORT_H
#define PLAINSIGHT_REPORT_H

enum { SKIP_MIN = 4096 }; /* bytes of a call that are worth a look into `skips` */

/* From sock to what of it need not be copied; user space writes it, the least recently used entry goes first. */
BPF_TABLE("lru_hash", u64, struct ps_skip, skips, 4096);

enum { BUDGET_LEFT_OUT = 0, BUDGET_NO_BODIES = 1 };
/*
 * What to do less of, because the tool has to spend less: how many of 256 connections are left out, and whether bodies
 * are. User space writes it at any time (lua/plainsight/budget.lua). The same connections come back last that went
 * first.
 */
BPF_ARRAY(budget, u32, 2);

enum { LEFT_OUT_CALLS = 0, LEFT_OUT_BYTES = 1 };
/* What moved on them meanwhile. */
BPF_PERCPU_ARRAY(left_out, u64, 2);

static __always_inline void count_left_out(u32 what, u64 n)
{
	u64 *sum = left_out.lookup(&what);

	if (sum)
		*sum += n;
}

/*
 * Whether the connection is left out now. It is decided by its id, so that all of its calls are or none; when it
 * comes back it is like one that is met in its middle: what moved meanwhile is a gap.
 */
static __always_inline bool is_left_out(struct ps_conn *conn, u64 len)
{
	u32 which = BUDGET_LEFT_OUT;
	u32 *share = budget.lookup(&which);

	if (!share || *share == 0)
		return false;
	if ((u32)((conn->id * 0x9e3779b97f4a7c15ULL) >> 56) >= *share)
		return false;
	count_left_out(LEFT_OUT_CALLS, 1);
	count_left_out(LEFT_OUT_BYTES, len);
	if (conn->verdict == PS_VERDICT_UNDECIDED)
		conn->midstream = 1;
	return true;
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

/* Of calls that are larger it is worth to leave out the rest; a head has this much room. */
enum { HEAD_ROOM = RECORD_LARGE - sizeof(struct ps_event) };

static __always_inline bool is_without_bodies(const struct ps_conn *conn, u64 len)
{
	u32 which = BUDGET_NO_BODIES;
	u32 *wanted = len > HEAD_ROOM && conn->http1 ? budget.lookup(&which) : 0;

	return wanted && *wanted;
}

/*
 * A large call of HTTP/1 without the bodies in it: the beginning when it may be that of a message, which has a capital
 * there, and the rest only as a length. User space knows by Content-Length what it belongs to; with chunks it does not,
 * and goes on at the next message.
 */
static __always_inline void report_head(struct io_call *call, struct ps_conn *conn, u64 len)
{
	struct ps_event *event;
	bool copied = false;
	unsigned char first = 0;
	u64 n;

	if (!next_buffer(call) || bpf_probe_read_user(&first, 1, (const void *)call->base) || !is_capital(first))
		goto rest;
	n = call->left < HEAD_ROOM ? call->left : HEAD_ROOM;
	event = reserve_copy(RECORD_LARGE, call, n, n, &copied);
	if (event) {
		fill_event(event, call, conn, PS_EVENT_DATA, n);
		event->captured_len = copied ? n : 0;
		event->flags |= copied ? 0 : PS_EVENT_FAULT;
		if (!copied)
			count_loss(PS_LOSS_FAULT, n);
		submit(event);
	}
	call->pos += n;
	len -= n;
rest:
	call->flags |= PS_EVENT_UNNEEDED;
	emit_bare(call, conn, PS_EVENT_DATA, len);
}

/* len bytes moved on conn. Returns which program has to go on. */
static __always_inline enum continuation report(struct io_call *call, struct ps_conn *conn, u64 len)
{
	if (is_left_out(conn, len))
		return CONTINUE_NONE;
	call->in_message = len;
	if (conn->verdict == PS_VERDICT_HTTP)
		count_seen(len);
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
		count_seen(len); /* remember() has reported it as lost */
		return CONTINUE_NONE;
	}
	if (is_unneeded(call, conn, len)) {
		call->flags |= PS_EVENT_UNNEEDED;
		emit_bare(call, conn, PS_EVENT_DATA, len);
		return CONTINUE_NONE;
	}
	if (is_without_bodies(conn, len)) {
		report_head(call, conn, len);
		return CONTINUE_NONE;
	}
	if (copy_call(call, conn))
		return CONTINUE_COPY;
	return CONTINUE_NONE;
}

/* --- the end of connections ---------------------------------------------- */

static __always_inline void close_connection(u64 sock)
{
	struct ps_conn *conn = conns.lookup(&sock);
	struct io_call call = {};

	if (!conn)
		return;
	if (conn->reported) {
		/* Once it is closed, another socket may be at its address. */
		if (!conn->closed) {
			conn->pos[PS_IN] = last_position(conn, sock, PS_IN);
			conn->pos[PS_OUT] = last_position(conn, sock, PS_OUT);
			conn->closed = 1;
		}
		call.ts_ns = bpf_ktime_get_ns();
		call.sock = sock;
		call.fd = -1;
		call.pos = conn->pos[PS_IN];
		call.other_pos = conn->pos[PS_OUT];
		/* Of other connections bytes have moved that nobody was to be told of. */
		if ((conn->kernel_pos || conn->library) && conn->verdict == PS_VERDICT_HTTP)
			call.flags = PS_EVENT_KERNEL_POS;
		/* No room: left for user space to find when it wonders what became of the connection. */
		if (!emit_bare(&call, conn, PS_EVENT_CLOSE, 0))
			return;
	}
	conns.delete(&sock);
}

#endif
