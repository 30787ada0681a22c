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
enum { TCP_STATE_CLOSE = 7, TCP_STATE_LISTEN = 10 };
enum { FLAG_SOCK_DONE = 2, SHUTDOWN_SEND = 2 }; /* 1 << SOCK_DONE: a FIN came; SEND_SHUTDOWN */

/*
 * From sock address to connection. Made at the first call on the connection;
 * deleted when TCP destroys the sock or the last reference to an AF_UNIX
 * socket is closed, else least recently used goes first. A TCP entry that was
 * evicted loses nothing but its verdict: positions come from the sock.
 */
BPF_TABLE("lru_hash", u64, struct ps_conn, conns, 65536);

struct socket_ref {
	u64 sock; /* 0: not a connected stream socket */
	u64 file;
	u64 inode;
	u16 family;
};

/* The file behind a descriptor of the current task; 0 when there is none. */
static __always_inline u64 file_of_fd(u32 fd)
{
	u64 files = read_pointer(bpf_get_current_task() + OFF_TASK_FILES);
	u64 table = read_pointer(files + OFF_FILES_FDT);

	if (!table || fd >= read_u32(table + OFF_FDTABLE_MAX_FDS))
		return 0;
	return read_pointer(read_pointer(table + OFF_FDTABLE_FD) + (u64)fd * 8);
}

/* Regular files, pipes and terminals leave at the inode's mode, before anything else is read. */
static __always_inline struct socket_ref socket_of_fd(u32 fd)
{
	struct socket_ref ref = {};
	u64 file = file_of_fd(fd), inode, socket, sock;

	if (!file)
		return ref;
	inode = read_pointer(file + OFF_FILE_INODE);
	if ((read_u16(inode + OFF_INODE_MODE) & MODE_FORMAT) != MODE_SOCKET)
		return ref;
	socket = read_pointer(file + OFF_FILE_PRIVATE);
	if (read_u16(socket + OFF_SOCKET_TYPE) != SOCKET_STREAM)
		return ref;
	sock = read_pointer(socket + OFF_SOCKET_SK);
	ref.family = read_u16(sock + OFF_SOCK_FAMILY);
	if (ref.family != PS_FAMILY_UNIX && ref.family != PS_FAMILY_INET && ref.family != PS_FAMILY_INET6)
		return ref;
	ref.file = file;
	ref.inode = inode;
	ref.sock = sock;
	return ref;
}

/*
 * How many bytes the application has received and sent since the connection
 * began, from TCP's own counters. bytes_received counts what the kernel took
 * in, rcv_nxt - copied_seq of which the application has not read; a FIN takes
 * one number. bytes_acked + (write_seq - snd_una) may hold one for the SYN.
 */
static __always_inline u64 tcp_received(u64 sock)
{
	u64 received = read_pointer(sock + OFF_TCP_BYTES_RECEIVED);
	u32 unread = read_u32(sock + OFF_TCP_RCV_NXT) - read_u32(sock + OFF_TCP_COPIED_SEQ);
	bool fin_read = unread == 0 && (read_pointer(sock + OFF_SOCK_FLAGS) & FLAG_SOCK_DONE);

	return received - unread - fin_read;
}

static __always_inline u64 tcp_sent(u64 sock)
{
	return read_pointer(sock + OFF_TCP_BYTES_ACKED) +
	       (u32)(read_u32(sock + OFF_TCP_WRITE_SEQ) - read_u32(sock + OFF_TCP_SND_UNA));
}

static __always_inline u64 tcp_end(u64 sock, int direction)
{
	return direction == PS_IN ? tcp_received(sock) : tcp_sent(sock);
}

/* Subtract what the counters held before the first byte; never below zero. */
static __always_inline u64 relative_end(const struct ps_conn *conn, u64 sock, int direction)
{
	u64 end;

	if (!conn->kernel_pos)
		return conn->pos[direction & 1];
	end = tcp_end(sock, direction);
	return end > conn->base[direction & 1] ? end - conn->base[direction & 1] : 0;
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

/*
 * First call of a direction: did bytes move before it? TCP's counters tell
 * exactly. One byte too many in the sending direction is the SYN.
 */
static __always_inline void conn_first_call(struct ps_conn *conn, u64 sock, int direction, u32 len)
{
	int d = direction & 1;
	u64 before;

	conn->seen[d] = 1;
	if (!conn->kernel_pos)
		return;
	before = tcp_end(sock, direction);
	before = before > len ? before - len : 0;
	if (before <= 1)
		conn->base[d] = before;
	else
		conn->midstream = 1;
}

#endif
