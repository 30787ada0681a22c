/* SPDX-License-Identifier: GPL-2.0 */
/*
 * From a file descriptor to its connection: identity, addresses, byte positions,
 * all read from the kernel's own socket.
 */
#ifndef PLAINSIGHT_SOCKET_H
#define PLAINSIGHT_SOCKET_H

enum { MODE_FORMAT = 0170000, MODE_SOCKET = 0140000 }; /* S_IFMT, S_IFSOCK */
enum { SOCKET_STREAM = 1 };                            /* SOCK_STREAM */
enum { PROTOCOL_TCP = 6 };
enum { TCP_STATE_CLOSE = 7 };
enum { FLAG_SOCK_DONE = 2, SHUTDOWN_BOTH = 3 }; /* 1 << SOCK_DONE: a FIN came; SHUTDOWN_MASK */

/*
 * From sock address to connection. Made at the first call on the connection;
 * deleted when TCP destroys the sock or the last reference to an AF_UNIX
 * socket is closed, else least recently used goes first. A TCP entry that was
 * evicted loses nothing but its verdict: positions come from the sock.
 */
BPF_TABLE("lru_hash", u64, struct ps_conn, conns, 65536);

/* Entry 0 stays zero: the value that new entries of `conns` begin with (too large for the stack). */
BPF_ARRAY(zero_conn, struct ps_conn, 1);

struct socket_ref {
	u64 sock; /* 0: not a connected stream socket */
	u64 file;
	u64 inode;
	u16 family;
};

/* The file behind a descriptor of the current task; 0 when there is none. */
static __always_inline u64 file_of_fd(u32 fd)
{
	u64 files = READ_FIELD(u64, bpf_get_current_task(), TASK, FILES);
	u64 table = READ_FIELD(u64, files, FILES, FDT);

	if (!table || fd >= READ_FIELD(u32, table, FDTABLE, MAX_FDS))
		return 0;
	/* A struct with a pointer at its beginning, to load an element of an array of pointers. */
	return READ_AT(u64, READ_FIELD(u64, table, FDTABLE, FD) + (u64)fd * 8, TYPE_LIST_HEAD, 0);
}

/* Regular files, pipes and terminals leave at the inode's mode, before anything else is read. */
static __always_inline struct socket_ref socket_of_fd(u32 fd)
{
	struct socket_ref ref = {};
	u64 file = file_of_fd(fd), inode, socket, sock;

	if (!file)
		return ref;
	inode = READ_FIELD(u64, file, FILE, INODE);
	if ((READ_FIELD(u16, inode, INODE, MODE) & MODE_FORMAT) != MODE_SOCKET)
		return ref;
	socket = READ_FIELD(u64, file, FILE, PRIVATE);
	if (READ_FIELD(u16, socket, SOCKET, TYPE) != SOCKET_STREAM)
		return ref;
	sock = READ_FIELD(u64, socket, SOCKET, SK);
	ref.family = READ_FIELD(u16, sock, SOCK, FAMILY);
	if (ref.family != PS_FAMILY_UNIX && ref.family != PS_FAMILY_INET && ref.family != PS_FAMILY_INET6)
		return ref;
	ref.file = file;
	ref.inode = inode;
	ref.sock = sock;
	return ref;
}

/*
 * The TCP sequence number up to which the application has received or sent.
 * Only its own calls move copied_seq and write_seq, so that reading them at the
 * end of a call is no race with the network. A FIN takes a number of its own:
 * one that was read is subtracted. (One that was sent only counts after the
 * direction has ended.)
 */
static __always_inline u32 tcp_sequence(u64 sock, int direction)
{
	bool fin_came;
	u32 seq;

	if (direction == PS_OUT)
		return READ_FIELD(u32, sock, TCP, WRITE_SEQ);
	fin_came = READ_FIELD(u64, sock, SOCK, FLAGS) & FLAG_SOCK_DONE;
	seq = READ_FIELD(u32, sock, TCP, COPIED_SEQ);
	return fin_came && seq == READ_FIELD(u32, sock, TCP, RCV_NXT) ? seq - 1 : seq;
}

/* The end position of a direction: what is known of it, and what has moved since. */
static __always_inline u64 end_position(const struct ps_conn *conn, u64 sock, int direction)
{
	int d = direction & 1;

	if (!conn->kernel_pos)
		return conn->pos[d];
	if (conn->seen[d])
		return conn->pos[d] + (u32)(tcp_sequence(sock, d) - conn->seq[d]);
	/* Nothing of it has been seen: a request that is just being sent while its response is already read. */
	if (d == PS_OUT && !conn->midstream)
		return READ_FIELD(u64, sock, TCP, BYTES_ACKED) +
		       (u32)(READ_FIELD(u32, sock, TCP, WRITE_SEQ) - READ_FIELD(u32, sock, TCP, SND_UNA));
	return 0;
}

/*
 * The same when the socket is being closed, under its lock. What was received may all have gone by: of a call that had
 * to wait the socket is not found any more if another thread has closed it meanwhile.
 */
static __always_inline u64 last_position(const struct ps_conn *conn, u64 sock, int direction)
{
	u32 received, fin;

	if (direction == PS_OUT || !conn->kernel_pos || conn->seen[PS_IN] || conn->midstream)
		return end_position(conn, sock, direction);
	fin = read_pointer(sock + OFF_SOCK_FLAGS) & FLAG_SOCK_DONE ? 1 : 0;
	received = read_u32(sock + OFF_TCP_RCV_NXT) - fin;
	return read_pointer(sock + OFF_TCP_BYTES_RECEIVED) - (u32)(received - tcp_sequence(sock, PS_IN));
}

/* The end position of a direction after a call that has moved len bytes, remembered. */
static __always_inline u64 advance(struct ps_conn *conn, u64 sock, int direction, u32 len)
{
	int d = direction & 1;
	u32 seq;

	if (!conn->kernel_pos) {
		conn->pos[d] += len;
		return conn->pos[d];
	}
	seq = tcp_sequence(sock, d);
	conn->pos[d] += (u32)(seq - conn->seq[d]);
	conn->seq[d] = seq;
	return conn->pos[d];
}

/*
 * Did the connection begin at sequence number seq? TCP counts the bytes that it
 * has received up to rcv_nxt, and those acknowledged up to snd_una; one of the
 * latter may be the SYN. Each pair is updated within nanoseconds, but not at
 * once: a mismatch is looked at again.
 */
static __always_inline bool tcp_began_at(u64 sock, int direction, u32 seq)
{
	u32 edge, counted;

#pragma unroll
	for (int i = 0; i < 3; i++) {
		edge = read_u32(sock + (direction == PS_IN ? OFF_TCP_RCV_NXT : OFF_TCP_SND_UNA));
		counted = read_pointer(sock + (direction == PS_IN ? OFF_TCP_BYTES_RECEIVED : OFF_TCP_BYTES_ACKED));
		if (edge - seq == counted || (direction == PS_OUT && edge - seq + 1 == counted))
			return true;
	}
	return false;
}

static __always_inline void read_inet_endpoints(struct ps_conn *conn, u64 sock)
{
	conn->local.port = read_u16(sock + OFF_SOCK_NUM);
	conn->remote.port = bpf_ntohs(read_u16(sock + OFF_SOCK_DPORT));
	if (conn->local.family == PS_FAMILY_INET) {
		bpf_probe_read_kernel(conn->local.addr, 4, (const void *)(sock + OFF_SOCK_RCV_SADDR));
		bpf_probe_read_kernel(conn->remote.addr, 4, (const void *)(sock + OFF_SOCK_DADDR));
	} else {
		bpf_probe_read_kernel(conn->local.addr, 16, (const void *)(sock + OFF_SOCK_V6_RCV_SADDR));
		bpf_probe_read_kernel(conn->remote.addr, 16, (const void *)(sock + OFF_SOCK_V6_DADDR));
	}
}

/* A connection seen for the first time, at a call that moved len bytes. */
static __always_inline void conn_init(struct ps_conn *conn, const struct socket_ref *ref, u64 inode_number)
{
	conn->id = inode_number;
	conn->local.family = conn->remote.family = ref->family;
	if (ref->family == PS_FAMILY_UNIX)
		return;
	read_inet_endpoints(conn, ref->sock);
	/* Not for MPTCP and the like, whose sock is no tcp_sock. */
	conn->kernel_pos = read_u16(ref->sock + OFF_SOCK_PROTOCOL) == PROTOCOL_TCP;
}

/* First call of a direction, which moved len bytes: did others move before them? */
static __always_inline void conn_first_call(struct ps_conn *conn, u64 sock, int direction, u32 len)
{
	int d = direction & 1;

	conn->seen[d] = 1;
	if (!conn->kernel_pos)
		return;
	conn->seq[d] = tcp_sequence(sock, d) - len;
	if (!tcp_began_at(sock, d, conn->seq[d]))
		conn->midstream = 1;
}

#endif
