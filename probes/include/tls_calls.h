/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What processes hand to TLS libraries and get from them, seen where library
 * functions are entered and where they return.
 *
 * Two programs serve all functions of all libraries: the attach cookie tells
 * what a function does with which argument (struct ps_tls_function; made from
 * lua/plainsight/tls/, one file per library).
 *
 * Nothing is kept per CPU: newer kernels (6.13) can preempt a program on a uprobe. They themselves do keep something:
 * the stack of a program that makes no tail call, see preempt_disable() in kernel.h.
 */
#ifndef PLAINSIGHT_TLS_CALLS_H
#define PLAINSIGHT_TLS_CALLS_H

enum { CALL_FLAG_PEEK = 2 }; /* MSG_PEEK; PR_MSG_PEEK is the same */

union tls_cookie {
	u64 raw;
	struct ps_tls_function function;
};

/* Kernels before 5.15 have no cookies: the loader puts the value in the marker's place, a program for each function. */
static __always_inline struct ps_tls_function function_of_probe(struct pt_regs *ctx)
{
	union tls_cookie cookie;

#ifdef HAVE_ATTACH_COOKIE
	cookie.raw = bpf_get_attach_cookie(ctx);
#else
	asm volatile("%0 = 0x7fff010000000000 ll" : "=r"(cookie.raw));
#endif
	return cookie.function;
}

/* The integer arguments of a function just entered. */
struct tls_arguments {
	u64 first, second, third, fourth, fifth, sixth;
};

/* Loaded at once and held: the verifier allows no load from a chosen place of the context, which clang would make of
 * it. */
static __always_inline u64 register_of(bool is_go, u64 go, u64 other)
{
	asm volatile("" : "+r"(go), "+r"(other));
	return is_go ? go : other;
}

/* System V's ABI for x86-64, or Go's own (ABIInternal, since Go 1.17: abi-internal.md in its sources). */
static __always_inline struct tls_arguments arguments_of(struct pt_regs *ctx, bool is_go)
{
	struct tls_arguments arguments = {
	    .first = register_of(is_go, ctx->ax, ctx->di),
	    .second = register_of(is_go, ctx->bx, ctx->si),
	    .third = register_of(is_go, ctx->cx, ctx->dx),
	    .fourth = register_of(is_go, ctx->di, ctx->cx),
	    .fifth = register_of(is_go, ctx->si, ctx->r8),
	    .sixth = register_of(is_go, ctx->r8, ctx->r9),
	};

	return arguments;
}

/* Number n, counted from 1; 0 when there is none. */
static __always_inline u64 argument(const struct tls_arguments *arguments, u32 n)
{
	u64 value = n == 1 ? arguments->first : 0;

	value = n == 2 ? arguments->second : value;
	value = n == 3 ? arguments->third : value;
	value = n == 4 ? arguments->fourth : value;
	value = n == 5 ? arguments->fifth : value;
	return n == 6 ? arguments->sixth : value;
}

/* Go keeps the current goroutine in r14. */
static __always_inline struct tls_thread tls_thread_of(struct pt_regs *ctx, bool is_go)
{
	u64 id = bpf_get_current_pid_tgid();
	struct tls_thread thread = {.id = register_of(is_go, ctx->r14, id), .tgid = id >> 32};

	return thread;
}

/*
 * How far up the stack the function is that is entered or left; what it calls is further down. Go moves a stack when it
 * grows, but not from its upper end, which is the second word of a goroutine (g.stack.hi in runtime/runtime2.go; cgo
 * relies on it as well).
 */
static __always_inline u64 stack_place(struct pt_regs *ctx, bool is_go)
{
	u64 end = 0;

	if (is_go)
		bpf_probe_read_user(&end, sizeof(end), (const void *)(ctx->r14 + sizeof(u64)));
	return ctx->sp - end;
}

/* --- entering ----------------------------------------------------------- */

/* The entry of a thread in tls_calls; NULL when the table has no room. */
static __always_inline struct tls_call *tls_call_of(struct tls_thread *thread)
{
	struct tls_call *call = tls_calls.lookup(thread), none = {};

	if (call)
		return call;
	tls_calls.update(thread, &none);
	call = tls_calls.lookup(thread);
	if (!call)
		count_loss(PS_LOSS_TABLE_FULL, 0);
	return call;
}

/* The connection of the session that a call is for. Often it is that of the thread's last call. */
static __always_inline struct ps_conn *conn_of_call(struct tls_call *call, u64 session, struct ps_tls_function function)
{
	struct ps_conn *conn = call->session == session ? conns.lookup(&call->key) : 0;

	if (conn && !conn->closed && !conn->over)
		return conn;
	call->session = session;
	return conn_of_session(session, function.library, function.action == PS_TLS_HANDSHAKE, &call->key);
}

/* Returns whether there is something to learn of the session when the function returns. */
static __always_inline bool find_session(struct tls_call *call, const struct tls_thread *thread, u64 session,
					 struct ps_tls_function function)
{
	struct ps_conn *conn;

	if (function.action == PS_TLS_ACCEPT)
		return true;
	if (function.action == PS_TLS_PACKET_DATA && !is_known_session(session))
		return false; /* looked at before, or received before the probes were there */
	conn = conn_of_call(call, session, function);
	if (!conn || conn->verdict == PS_VERDICT_IGNORE)
		return false;
	if (function.action == PS_TLS_HANDSHAKE && !conn->handshake_ts_ns && !conn->midstream)
		conn->handshake_ts_ns = bpf_ktime_get_ns();
	conn->callers[function.flags & PS_TLS_OUT ? PS_OUT : PS_IN] = thread->id;
	conn->tgid = thread->tgid;
	return true;
}

/*
 * A function that another one calls: the outermost call counts, its result is what the program gets. But a handshake in
 * the first call on a session tells that this is its beginning. (A later one begins when the peer has asked for it.)
 */
static __always_inline void enter_inner_call(const struct tls_call *outer, u64 session, struct ps_tls_function function)
{
	struct ps_conn *conn;
	u64 key = outer->key;

	if (function.action != PS_TLS_HANDSHAKE || outer->session != session || outer->socket_call)
		return;
	conn = conns.lookup(&key);
	if (conn && !conn->pos[PS_IN] && !conn->pos[PS_OUT])
		conn->midstream = 0;
}

static __always_inline void enter_call(struct pt_regs *ctx, struct ps_tls_function function)
{
	bool is_go = function.flags & PS_TLS_GO;
	struct tls_thread thread = tls_thread_of(ctx, is_go);
	struct tls_arguments arguments = arguments_of(ctx, is_go);
	u64 session = argument(&arguments, function.session), sp = stack_place(ctx, is_go);
	struct tls_call *call = tls_call_of(&thread);

	if (!call)
		return;
	if (call->is_active && sp < call->sp) {
		enter_inner_call(call, session, function);
		return;
	}
	call->is_active = 0;
	if (!find_session(call, &thread, session, function))
		return;
	call->function = function;
	call->sp = sp;
	call->started_ns = captures(PS_CAPTURE_RAW) ? bpf_ktime_get_ns() : 0;
	call->buffer = argument(&arguments, function.buffer);
	call->third = argument(&arguments, function.third);
	call->socket_call = call->is_plain = call->is_end = 0;
	call->is_active = 1;
	/* What is looked at only will be received later; but the library may ask the socket for it now. */
	if ((function.flags & PS_TLS_CALL_FLAGS) && (call->third & CALL_FLAG_PEEK))
		call->function.action = PS_TLS_COVER;
}

/* int SSL_set_fd(SSL *ssl, int fd) and the like. The socket need not be connected yet. */
static __always_inline void enter_set_fd(struct pt_regs *ctx, struct ps_tls_function function)
{
	struct tls_arguments arguments = arguments_of(ctx, false);
	u32 fd = argument(&arguments, function.buffer);
	struct socket_ref ref = socket_of_fd(fd);
	struct ps_conn *conn;
	u64 key;

	conn = ref.sock ? conn_of_session(argument(&arguments, function.session), function.library, true, &key) : 0;
	if (conn)
		bind_session(conn, key, &ref, fd, PS_RESOLVED_SET_FD);
}

/* A function that is entered further up the stack than the thread's call: that one was left by a jump (longjmp). */
static __always_inline void leave_abandoned_call(struct pt_regs *ctx, bool is_go)
{
	struct tls_thread thread = tls_thread_of(ctx, is_go);
	struct tls_call *call = tls_calls.lookup(&thread);

	if (call && call->is_active && stack_place(ctx, is_go) >= call->sp)
		call->is_active = 0;
}

/* void SSL_free(SSL *ssl), SSL_clear, SSL_shutdown and the like: sessions begin and end */
static __always_inline void enter_change(struct pt_regs *ctx, struct ps_tls_function function)
{
	struct tls_arguments arguments = arguments_of(ctx, function.flags & PS_TLS_GO);
	struct tls_session_key id = {.session = argument(&arguments, function.session),
				     .tgid = bpf_get_current_pid_tgid() >> 32};
	u64 *known = tls_sessions.lookup(&id), key;
	struct ps_conn *conn;

	if (!known) {
		if (function.action == PS_TLS_BEGIN || function.action == PS_TLS_RESET)
			conn_of_session(id.session, function.library, true, &key);
		return;
	}
	if (function.action == PS_TLS_BEGIN)
		return;
	leave_abandoned_call(ctx, function.flags & PS_TLS_GO);
	key = *known;
	conn = conns.lookup(&key);
	if (function.action == PS_TLS_SHUTDOWN) {
		if (conn)
			report_session_end(conn, key, PS_OUT);
		return;
	}
	/* OpenSSL clears a session before its handshake: what it was told of its socket stays. */
	if (function.action == PS_TLS_RESET && conn && !conn->closed && is_unused(conn))
		return;
	free_session(&id, key);
}

static __always_inline void on_tls_enter(struct pt_regs *ctx)
{
	struct ps_tls_function function = function_of_probe(ctx);

	if (!captures(PS_CAPTURE_BY_PROCESS) && !is_traced())
		return;
	/* A Go function whose stack has to grow first starts again. */
	if ((function.flags & PS_TLS_GO) && (ctx->flags & function.third))
		return;
	if (function.action <= PS_TLS_LAST_THAT_RETURNS)
		enter_call(ctx, function);
	else if (function.action == PS_TLS_SET_FD)
		enter_set_fd(ctx, function);
	else
		enter_change(ctx, function);
}

/* uprobe where a function of a TLS library is entered */
int tls_enter(struct pt_regs *ctx)
{
	preempt_disable();
	on_tls_enter(ctx);
	preempt_enable();
	return 0;
}

/* --- returning ---------------------------------------------------------- */

/* How many bytes the call has moved, by its result. */
static __always_inline u64 moved_bytes(const struct tls_call *call, long result)
{
	u64 moved = 0;

	if (call->function.flags & PS_TLS_ALL)
		return result == 0 ? call->third : 0;
	if (!(call->function.flags & PS_TLS_MOVED))
		return result > 0 ? result : 0;
	if (result == 1)
		bpf_probe_read_user(&moved, sizeof(moved), (const void *)call->third);
	return moved;
}

/*
 * ssize_t gnutls_record_send(session, data, size): when the socket would block,
 * it fails, and the program asks again with (NULL, 0) for what it gave before.
 */
static __always_inline void find_repeated(struct tls_call *call, u64 moved)
{
	struct tls_repeat *before = tls_repeats.lookup(&call->key), now = {.buffer = call->buffer};

	if (!moved && call->buffer) {
		tls_repeats.update(&call->key, &now);
		return;
	}
	if (moved && !call->buffer && before)
		call->buffer = before->buffer;
	if (moved && before)
		tls_repeats.delete(&call->key);
}

/*
 * ssize_t gnutls_record_recv_packet(session, gnutls_packet_t *packet): the bytes
 * are told by void gnutls_packet_get(packet, gnutls_datum_t *data, sequence),
 * so the packet is another name of the session until then.
 */
static __always_inline void name_packet(const struct tls_call *call, long result)
{
	struct tls_session_key id = {.tgid = bpf_get_current_pid_tgid() >> 32};
	u64 key = call->key;

	if (result > 0 && !bpf_probe_read_user(&id.session, sizeof(id.session), (const void *)call->buffer))
		tls_sessions.update(&id, &key);
}

/* struct gnutls_datum_t { unsigned char *data; unsigned int size; } is set: it is the buffer. Returns its size. */
static __always_inline u64 open_packet(struct tls_call *call)
{
	struct user_iovec datum = {};
	struct tls_session_key id = {.session = call->session, .tgid = bpf_get_current_pid_tgid() >> 32};

	bpf_probe_read_user(&datum, sizeof(datum), (const void *)call->buffer);
	tls_sessions.delete(&id); /* a packet can be looked at again */
	call->buffer = datum.base;
	return (u32)datum.len;
}

/*
 * The library moved plaintext with no socket call of its own: it works in memory,
 * or had the bytes already. The thread's socket call before this one, or the one
 * to come, tells the socket.
 */
static __always_inline void look_for_adjacent(struct ps_conn *conn, const struct tls_call *call, u64 moved)
{
	bool is_out = call->function.flags & PS_TLS_OUT;
	u64 id = bpf_get_current_pid_tgid(), key = call->key, sock;
	struct tls_adjacent *adjacent = tls_adjacent.lookup(&id), none = {};
	struct socket_ref ref;

	if (!adjacent && !conn->socket) {
		tls_adjacent.update(&id, &none);
		adjacent = tls_adjacent.lookup(&id);
	}
	if (!adjacent)
		return;
	if (is_out || !moved) { /* without plaintext it may have been a handshake, which sends too */
		adjacent->written_key = conn->socket ? 0 : key;
		adjacent->written_len = moved;
	}
	if (is_out && moved)
		return;
	sock = adjacent->read_sock;
	adjacent->read_sock = 0; /* is not read from for this session and then for the next */
	if (!sock || conn->socket || tls_of_socket.lookup(&sock))
		return;
	ref = socket_of_fd(adjacent->read_fd);
	if (ref.sock == sock)
		bind_session(conn, key, &ref, adjacent->read_fd, PS_RESOLVED_ADJACENT);
}

/* moved bytes of plaintext. Returns which program has to go on. */
static __always_inline enum continuation on_plaintext(struct tls_call *call, struct ps_conn *conn, u64 moved)
{
	struct io_call io = {};
	int d = call->function.flags & PS_TLS_OUT ? PS_OUT : PS_IN;

	io.ts_ns = bpf_ktime_get_ns();
	io.sock = call->key;
	io.direction = d;
	io.fd = conn->fd;
	if (call->started_ns)
		io.elapsed_ns = io.ts_ns - call->started_ns;
	if (call->function.flags & PS_TLS_NO_BUFFER)
		io.flags = PS_EVENT_NO_BUFFER;
	if (call->function.flags & PS_TLS_VECTOR)
		vector(&io, call->buffer, call->third);
	else
		one_buffer(&io, call->buffer, moved);
	io.pos = conn->pos[d & 1];
	conn->pos[d & 1] += moved;
	io.other_pos = conn->pos[!d];
	io.remaining = moved;
	return report(&io, conn, moved);
}

static __always_inline void on_handshake_result(struct tls_call *call, struct ps_conn *conn, long result)
{
	struct io_call io = {.ts_ns = bpf_ktime_get_ns(), .sock = call->key, .fd = conn->fd};

	if (!call->socket_call)
		look_for_adjacent(conn, call, 0);
	if (!conn->handshake_ts_ns || result != !(call->function.flags & PS_TLS_ZERO_ENDS))
		return;
	io.elapsed_ns = io.ts_ns - conn->handshake_ts_ns;
	conn->handshake_ts_ns = 0;
	conn->reported = 1;
	emit_bare(&io, conn, PS_EVENT_HANDSHAKE, 0);
}

/* A function that moves plaintext has returned. Returns which program has to go on. */
static __always_inline enum continuation on_move_result(struct tls_call *call, struct ps_conn *conn, long result)
{
	bool is_in = !(call->function.flags & PS_TLS_OUT);
	u64 moved = call->function.action == PS_TLS_PACKET_DATA ? open_packet(call) : moved_bytes(call, result);

	if (call->function.flags & PS_TLS_REPEATS)
		find_repeated(call, moved);
	if (!call->socket_call)
		look_for_adjacent(conn, call, moved);
	if (!moved) {
		if (is_in && (call->is_end || (result == 0 && (call->function.flags & PS_TLS_ZERO_ENDS))))
			report_session_end(conn, call->key, PS_IN);
		return CONTINUE_NONE;
	}
	return on_plaintext(call, conn, moved);
}

/* What moved on a session that is not known any more: others took its place in the table during the call. */
static __always_inline void count_forgotten(const struct tls_call *call, long result)
{
	u64 moved = moved_bytes(call, result);

	if (moved)
		count_loss(PS_LOSS_TABLE_FULL, moved);
}

/* The call has returned with result. Returns which program has to go on. */
static __always_inline enum continuation on_tls_result(struct tls_call *call, struct ps_conn *conn, long result)
{
	struct ps_tls_function function = call->function;

	if (function.flags & PS_TLS_INT)
		result = (int)result;
	if (function.action == PS_TLS_ACCEPT && result)
		conn_of_session(result, function.library, true, &call->key);
	if (!conn && function.action == PS_TLS_MOVE)
		count_forgotten(call, result);
	/* User space may have lost interest meanwhile. */
	if (!conn || conn->verdict == PS_VERDICT_IGNORE || call->is_plain ||
	    ((function.flags & PS_TLS_MAYBE_PLAIN) && conn->resolved == PS_RESOLVED_NONE))
		return CONTINUE_NONE;
	if (function.action == PS_TLS_HANDSHAKE)
		on_handshake_result(call, conn, result);
	else if (function.action == PS_TLS_PACKET)
		name_packet(call, result);
	else if (function.action != PS_TLS_COVER)
		return on_move_result(call, conn, result);
	return CONTINUE_NONE;
}

/*
 * The call is over and reported, but for what a continuation copies. Either end_session() on another CPU sees
 * that, or what it has written is seen here: the addition is a barrier, which a plain store is not.
 */
static __always_inline void leave_call(struct tls_call *call, struct ps_conn *conn, bool is_reported)
{
	__sync_fetch_and_add(&call->is_active, -1);
	if (conn && is_reported)
		end_session_that_is_over(conn, call->key);
}

/*
 * Does the call return that was entered there? On the way out the return address is off the stack. In Go the probe on
 * the entry may be behind the instruction that makes room on the stack; what the function calls is further down still.
 */
static __always_inline bool is_its_return(struct pt_regs *ctx, const struct tls_call *call, bool is_go)
{
	u64 place = stack_place(ctx, is_go);

	return is_go ? place >= call->sp : place == call->sp + sizeof(u64);
}

/* uretprobe, or for Go uprobes on every RET, of a function of a TLS library that moves plaintext */
int tls_return(struct pt_regs *ctx)
{
	struct ps_tls_function function = function_of_probe(ctx);
	bool is_go = function.flags & PS_TLS_GO;
	struct tls_thread thread = tls_thread_of(ctx, is_go);
	struct tls_call *call = tls_calls.lookup(&thread);
	enum continuation next;
	struct ps_conn *conn;

	if (!call || !call->is_active || !is_its_return(ctx, call, is_go))
		return 0;
	conn = function.action == PS_TLS_ACCEPT ? 0 : conns.lookup(&call->key);
	next = on_tls_result(call, conn, ctx->ax);
	leave_call(call, conn, next == CONTINUE_NONE);
	if (next != CONTINUE_NONE)
		continuations.call(ctx, next);
	return 0;
}

/* --- socket calls inside and next to TLS calls --------------------------- */

/* The TLS call that the current thread is in, or NULL. user_r14: for Go, where the goroutine counts. */
static __always_inline struct tls_call *tls_call_under_way(u64 user_r14)
{
	u64 id = bpf_get_current_pid_tgid();
	struct tls_thread thread = {.id = id, .tgid = id >> 32};
	struct tls_call *call = tls_calls.lookup(&thread);

	if (!call && user_r14 && !(user_r14 >> 47)) {
		thread.id = user_r14;
		call = tls_calls.lookup(&thread);
	}
	return call && call->is_active ? call : 0;
}

/* The first buffer of a call. */
static __always_inline struct user_iovec first_buffer(const struct io_call *call)
{
	struct user_iovec first = {.base = call->base, .len = call->left};

	if (call->iov_left)
		bpf_probe_read_user(&first, sizeof(first), (const void *)call->iov);
	return first;
}

static __always_inline u64 first_byte(const struct io_call *call)
{
	return first_buffer(call).base;
}

/* The same of a TLS call, whose vector is like that of a system call. */
static __always_inline u64 first_byte_of_tls_call(const struct tls_call *tls)
{
	u64 base = tls->buffer;

	if (tls->function.flags & PS_TLS_VECTOR)
		bpf_probe_read_user(&base, sizeof(base), (const void *)tls->buffer);
	return base;
}

enum { HELLO_BYTES_MAX = 8192 };

/*
 * What both sides say first is in the clear: user space looks for ClientHello and
 * ServerHello in it. Of a call with several buffers the first one has it.
 */
static __always_inline void report_hello(struct ps_conn *conn, u64 key, const struct io_call *call, u64 len)
{
	struct io_call io = {.ts_ns = bpf_ktime_get_ns(), .sock = key, .fd = call->fd, .direction = call->direction};
	struct user_iovec first = first_buffer(call);
	int d = call->direction & 1;
	struct ps_event *event;
	bool copied = false;

	if (conn->midstream || conn->pos[PS_IN] || conn->pos[PS_OUT] || conn->hello_bytes[d] >= HELLO_BYTES_MAX)
		return;
	io.base = first.base;
	len = len < first.len ? len : first.len;
	if (len > RECORD_LARGE - sizeof(*event))
		len = RECORD_LARGE - sizeof(*event);
	conn->hello_bytes[d] += len;
	if (len <= RECORD_SMALL - sizeof(*event))
		event = reserve_copy(RECORD_SMALL, &io, len, 0, &copied);
	else
		event = reserve_copy(RECORD_LARGE, &io, len, 0, &copied);
	if (!event)
		return;
	fill_event(event, &io, conn, PS_EVENT_HELLO, len);
	if (copied)
		event->captured_len = len;
	submit(event);
	conn->reported = 1;
}

/* The library itself sends or receives: that is the socket below the session. */
static __always_inline void on_socket_call_inside(struct tls_call *tls, const struct io_call *call, long ret)
{
	struct ps_conn *conn = conns.lookup(&tls->key);
	struct socket_ref ref;

	if (!conn)
		return;
	if ((tls->function.flags & PS_TLS_MAYBE_PLAIN) && first_byte(call) == first_byte_of_tls_call(tls)) {
		tls->is_plain = 1;
		return;
	}
	/* Known already. A socket that is closed takes its session with it, so the descriptor is still the same one. */
	if (!conn->socket || conn->fd != call->fd || !conn->remote.port) {
		ref = socket_of_fd(call->fd);
		/* A unix socket may be standard error, where programs write about their sessions (curl -v). */
		if (!ref.sock || (ref.family == PS_FAMILY_UNIX && (call->fd <= 2 || conn->socket)))
			return;
		if (conn->socket != ref.sock || !conn->remote.port)
			bind_session(conn, tls->key, &ref, call->fd,
				     conn->socket == ref.sock ? conn->resolved : PS_RESOLVED_NESTED);
	}
	tls->socket_call = 1;
	if (ret > 0)
		report_hello(conn, tls->key, call, ret);
	tls->is_end = call->direction == PS_IN && ret == 0 && call->left + call->iov_left > 0;
}

/* TLS records begin with their type, 20 to 23, and the version 3.x (RFC 8446 5.1). */
static __always_inline bool begins_tls_record(u64 base)
{
	u8 head[2] = {};

	bpf_probe_read_user(head, sizeof(head), (const void *)base);
	return head[0] >= 20 && head[0] <= 23 && head[1] == 3;
}

/* A thread that moves plaintext in memory uses a socket. */
static __always_inline void on_socket_call_outside(const struct io_call *call, long ret)
{
	u64 id = bpf_get_current_pid_tgid();
	struct tls_adjacent *adjacent = tls_adjacent.lookup(&id);
	struct socket_ref ref;
	struct ps_conn *conn;

	if (!adjacent || ret <= 0)
		return;
	ref = socket_of_fd(call->fd);
	if (!ref.sock)
		return;
	if (call->direction == PS_IN) {
		adjacent->read_sock = ref.sock;
		adjacent->read_fd = call->fd;
		return;
	}
	conn = adjacent->written_key ? conns.lookup(&adjacent->written_key) : 0;
	if (conn && !conn->socket && (u64)ret > adjacent->written_len && !tls_of_socket.lookup(&ref.sock) &&
	    begins_tls_record(first_byte(call))) {
		bind_session(conn, adjacent->written_key, &ref, call->fd, PS_RESOLVED_ADJACENT);
		report_binding(conn, adjacent->written_key);
	}
	adjacent->written_key = 0;
}

/* A call that moved data on call->fd has returned. Returns whether it belongs to a TLS call. */
static __always_inline bool on_tls_socket_call(const struct io_call *call, u64 user_r14, long ret)
{
	struct tls_call *tls = tls_call_under_way(user_r14);

	if (tls)
		on_socket_call_inside(tls, call, ret);
	else
		on_socket_call_outside(call, ret);
	return tls && !tls->is_plain;
}

/* A thread ends: a call that it never returned from ends too. */
static __always_inline void forget_tls_call(void)
{
	u64 id = bpf_get_current_pid_tgid();
	struct tls_thread thread = {.id = id, .tgid = id >> 32};

	tls_calls.delete(&thread);
}

#endif
