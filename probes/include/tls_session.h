/* SPDX-License-Identifier: GPL-2.0 */
/*
 * TLS sessions: the plaintext side of a connection. A session is a connection of
 * its own in `conns`, with a made-up key, and bound to the socket below it as
 * soon as that is known.
 *
 * No offset into a struct of a TLS library is needed for that. The program tells
 * the library a descriptor (SSL_set_fd), or the library's own socket call comes
 * inside the TLS call, or, where it works in memory, the thread's socket call
 * stands next to the TLS call.
 */
#ifndef PLAINSIGHT_TLS_SESSION_H
#define PLAINSIGHT_TLS_SESSION_H

struct tls_session_key {
	u64 session; /* what the program hands to the library: the address of an SSL, say */
	u32 tgid;
	u32 pad;
};

/* From session to its key in `conns`. Made at its first call; deleted when it is freed, or the least recently used. */
BPF_TABLE("lru_hash", struct tls_session_key, u64, tls_sessions, 65536);

/* From the sock below a session to the session's key in `conns`; deleted with either. */
BPF_TABLE("lru_hash", u64, u64, tls_of_socket, 65536);

/* A thread, or for Go a goroutine: what a call can begin and end on. */
struct tls_thread {
	u64 id;
	u32 tgid;
	u32 pad;
};

/* The call of a TLS library that a thread is in, or was in last. */
struct tls_call {
	struct ps_tls_function function;
	u64 session;
	u64 key;         /* of the session in `conns` */
	u64 buffer;      /* address of the bytes, or of the vector */
	u64 third;       /* see struct ps_tls_function */
	u64 sp;          /* where on the user stack the function was entered: stack_place() */
	u64 started_ns;  /* when; 0: not measured */
	u32 is_active;   /* it has not returned */
	u32 socket_call; /* the library made a socket call meanwhile */
	u32 is_plain;    /* which moved the very bytes of this call: no TLS on this descriptor */
	u32 is_end;      /* or read the end of the file */
};

/*
 * From thread to its call. Stays for the next call, which spares the kernel to
 * make and delete an entry each time; deleted when the thread ends, else the
 * least recently used goes (goroutines).
 */
BPF_TABLE("lru_hash", struct tls_thread, struct tls_call, tls_calls, 32768);

/* What a thread that moves plaintext in memory did last on sockets, and on sessions with no socket. */
struct tls_adjacent {
	u64 read_sock; /* the socket that it read from last */
	u32 read_fd;
	u32 pad;
	u64 written_key; /* of a session to which it has written since its last socket write */
	u64 written_len;
};

/* What a session was given to send when the library could not yet: it is asked again with no buffer. */
struct tls_repeat {
	u64 buffer;
};

/* From key of the session; deleted when the library has sent it, the least recently used goes. */
BPF_TABLE("lru_hash", u64, struct tls_repeat, tls_repeats, 4096);

/* From pid_tgid. Made when a call is found with no socket; the least recently used goes. */
BPF_TABLE("lru_hash", u64, struct tls_adjacent, tls_adjacent, 4096);

/* The socket below the session is known: whose addresses it has from now on. */
static __always_inline void bind_session(struct ps_conn *conn, u64 key, const struct socket_ref *ref, u32 fd,
					 u8 resolved)
{
	u64 sock = ref->sock;

	conn->socket = sock;
	conn->socket_id = read_pointer(ref->inode + OFF_INODE_INO);
	conn->fd = fd;
	conn->resolved = resolved;
	conn->local.family = conn->remote.family = ref->family;
	if (ref->family != PS_FAMILY_UNIX)
		read_inet_endpoints(conn, sock);
	tls_of_socket.update(&sock, &key);
	if (has_filter(PS_FILTER_PORT) && !port_matches(conn->local.port) && !port_matches(conn->remote.port))
		conn->verdict = PS_VERDICT_IGNORE;
}

/* A session that was reported before its socket was known: tell of that now. */
static __always_inline void report_binding(struct ps_conn *conn, u64 key)
{
	struct io_call call = {.ts_ns = bpf_ktime_get_ns(), .sock = key, .fd = conn->fd};

	if (!conn->reported || conn->verdict == PS_VERDICT_IGNORE)
		return;
	call.pos = conn->pos[PS_IN];
	call.other_pos = conn->pos[PS_OUT];
	emit_bare(&call, conn, PS_EVENT_BIND, 0);
}

/* Keys of sessions: no two CPUs make one in the same nanosecond; kernel addresses have their highest bit set. */
static __always_inline u64 new_session_key(void)
{
	return (bpf_ktime_get_ns() << 8 | (bpf_get_smp_processor_id() & 0xff)) & ~(1ULL << 63);
}

static __always_inline bool is_known_session(u64 session)
{
	struct tls_session_key id = {.session = session, .tgid = bpf_get_current_pid_tgid() >> 32};

	return tls_sessions.lookup(&id) != 0;
}

/*
 * A child that goes on with a session of its parent, at the same address. What
 * is known of the socket holds for it too. Returns whether it is the parent's,
 * and nothing had moved on it.
 */
static __always_inline bool inherit_session(struct ps_conn *conn, u64 key, u64 session)
{
	struct tls_session_key id = {.session = session};
	struct ps_conn *parent;
	u64 *known, sock;

	id.tgid = read_u32(read_pointer(bpf_get_current_task() + OFF_TASK_REAL_PARENT) + OFF_TASK_TGID);
	known = tls_sessions.lookup(&id);
	parent = known ? conns.lookup(known) : 0;
	if (!parent || parent->library != conn->library)
		return false;
	conn->local = parent->local;
	conn->remote = parent->remote;
	conn->socket = sock = parent->socket;
	conn->socket_id = parent->socket_id;
	conn->fd = parent->fd;
	conn->resolved = parent->resolved;
	if (sock)
		tls_of_socket.update(&sock, &key);
	return !parent->midstream && !parent->pos[PS_IN] && !parent->pos[PS_OUT];
}

/*
 * The connection of a session, made when it is new; NULL when the table has no
 * room. Its key goes to *key. is_begin: nothing can have moved on it before;
 * else there may be a request on its way of which nothing was seen.
 */
static __always_inline struct ps_conn *conn_of_session(u64 session, u16 library, bool is_begin, u64 *key)
{
	struct tls_session_key id = {.session = session, .tgid = bpf_get_current_pid_tgid() >> 32};
	u64 *known = tls_sessions.lookup(&id), made;
	struct ps_conn *conn = 0, *zero;
	u32 first = 0;

	if (known) {
		*key = *known;
		conn = conns.lookup(known);
	}
	if (conn && !conn->closed)
		return conn;
	made = new_session_key();
	zero = zero_conn.lookup(&first);
	if (!zero || conns.update(&made, zero) || tls_sessions.update(&id, &made))
		goto full;
	conn = conns.lookup(&made);
	if (!conn)
		goto full;
	conn->id = made >> 8;
	conn->library = library;
	conn->midstream = !is_begin && !inherit_session(conn, made, session);
	if (captures(PS_CAPTURE_RAW)) {
		conn->verdict = PS_VERDICT_HTTP;
		conn->reported = 1;
	}
	*key = made;
	return conn;
full:
	count_loss(PS_LOSS_TABLE_FULL, 0);
	return 0;
}

/* The peer has ended its direction, or this side has. */
static __always_inline void report_session_end(struct ps_conn *conn, u64 key, u8 direction)
{
	struct io_call call = {.ts_ns = bpf_ktime_get_ns(), .sock = key, .direction = direction, .fd = conn->fd};

	if (!conn->reported || conn->verdict == PS_VERDICT_IGNORE)
		return;
	call.pos = conn->pos[direction & 1];
	call.other_pos = conn->pos[!direction];
	emit_bare(&call, conn, PS_EVENT_END, 0);
}

/* TCP's end of file has come. */
static __always_inline bool peer_has_ended(const struct ps_conn *conn)
{
	return conn->socket && conn->local.family != PS_FAMILY_UNIX &&
	       (read_pointer(conn->socket + OFF_SOCK_FLAGS) & FLAG_SOCK_DONE);
}

/* Has a call on the session been entered that has not returned? */
static __always_inline bool is_in_call(const struct ps_conn *conn, u64 key)
{
	struct tls_thread thread = {.id = conn->callers[PS_IN], .tgid = conn->tgid};
	struct tls_call *call = tls_calls.lookup(&thread);

	if (call && call->is_active && call->key == key)
		return true;
	thread.id = conn->callers[PS_OUT];
	call = tls_calls.lookup(&thread);
	return call && call->is_active && call->key == key;
}

/* A call on the session has returned, and what it moved is reported; or there is none. */
static __always_inline void end_session_that_is_over(struct ps_conn *conn, u64 key)
{
	if (!conn->over || is_in_call(conn, key))
		return;
	if (conn->over == PS_SESSION_OVER_BY_PEER)
		report_session_end(conn, key, PS_IN);
	close_connection(key);
}

/*
 * The session is over: the library freed it, or its socket is closed. What was
 * received is whole when TCP's end of file has come: the library has then read
 * it, or the program did not wait for it.
 *
 * It ends once no call is under way any more. Of one that is, only the result
 * tells what it has moved, and its thread may come to that after another one has
 * closed the socket or the session: in Go a server's goroutine that reads the
 * client's end of file, while the one that wrote the response waits for its turn.
 */
static __always_inline void end_session(u64 key)
{
	struct ps_conn *conn = conns.lookup(&key);
	u64 sock, *known;

	if (!conn || conn->over)
		return;
	sock = conn->socket;
	known = sock ? tls_of_socket.lookup(&sock) : 0;
	/* A barrier, too: see leave_call(). */
	__sync_fetch_and_add(&conn->over, peer_has_ended(conn) ? PS_SESSION_OVER_BY_PEER : PS_SESSION_OVER);
	conn->socket = 0;
	if (known && *known == key) /* a child may go on with it */
		tls_of_socket.delete(&sock);
	end_session_that_is_over(conn, key);
}

static __always_inline bool is_unused(const struct ps_conn *conn)
{
	return !conn->midstream && !conn->pos[PS_IN] && !conn->pos[PS_OUT];
}

/*
 * The library freed a session. One on which nothing has moved may go on in a
 * child, as where a server forks after the handshake: it stays to be inherited,
 * and goes as the least recently used one, or when its address is used again.
 */
static __always_inline void free_session(struct tls_session_key *id, u64 key)
{
	struct io_call call = {.ts_ns = bpf_ktime_get_ns(), .sock = key, .fd = -1};
	struct ps_conn *conn = conns.lookup(&key);

	if (conn && is_unused(conn) && !is_in_call(conn, key)) {
		if (conn->reported)
			emit_bare(&call, conn, PS_EVENT_CLOSE, 0);
		conn->closed = 1;
		conn->reported = 0;
		return;
	}
	end_session(key);
	tls_sessions.delete(id);
}

/* A socket is closed for good: so is the session on it. */
static __always_inline void end_session_of_socket(u64 sock)
{
	u64 *known = tls_of_socket.lookup(&sock);

	if (!known)
		return;
	end_session(*known);
	tls_of_socket.delete(&sock); /* of a session that was over before */
}

#endif
