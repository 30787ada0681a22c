/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Records into the ring buffer: what moved in one call, cut into pieces.
 *
 * A record is reserved in the ring and filled there, so there is no scratch
 * memory that another program could overwrite. The ring wants sizes known when
 * the program is verified, hence a few size classes.
 */
#ifndef PLAINSIGHT_EMIT_H
#define PLAINSIGHT_EMIT_H

/* One page here; the loader makes it as large as asked for. */
BPF_RINGBUF_OUTPUT(events, 1);

struct loss {
	u64 events;
	u64 bytes;
};
/* Index: enum ps_loss. Read by user space at exit. */
BPF_ARRAY(losses, struct loss, PS_LOSS_CAUSES);

static __always_inline void count_loss(u32 cause, u64 bytes)
{
	struct loss *loss = losses.lookup(&cause);

	if (!loss)
		return;
	__sync_fetch_and_add(&loss->events, 1);
	/* clang makes an atomic OR of adding a constant 0, which kernels before 5.12 refuse. */
	asm volatile("" : "+r"(bytes));
	__sync_fetch_and_add(&loss->bytes, bytes);
}

/*
 * Entry 0: bytes of all calls that were to be reported, counted where the call is
 * seen. User space compares it with what records told and what was lost.
 */
BPF_PERCPU_ARRAY(seen_bytes, u64, 1);

static __always_inline void count_seen(u64 bytes)
{
	u32 zero = 0;
	u64 *seen = seen_bytes.lookup(&zero);

	if (seen)
		*seen += bytes;
}

/* What is left to copy of one call. */
struct io_call {
	u64 ts_ns;
	u64 sock;
	u64 pos;        /* of the next byte to copy */
	u64 other_pos;  /* see struct ps_event */
	u64 elapsed_ns; /* likewise */
	u64 remaining;  /* bytes of the call that are not copied yet */
	u64 in_message; /* and of the current message: the same, but for sendmmsg and recvmmsg */
	u64 messages;   /* user address of the next struct mmsghdr */
	u64 iov;        /* user address of the next struct iovec */
	u64 base;       /* user address of the next byte of the current buffer */
	u64 left;       /* bytes left in the current buffer */
	u32 iov_left;
	u32 messages_left;
	u32 fd;
	u16 flags;
	u8 direction;
	u8 from_file; /* sendfile: base is the descriptor of the file, iov the user address of the offset */
};

struct user_iovec {
	u64 base;
	u64 len;
};

/* Sizes of records, header included. */
enum { RECORD_SMALL = 512, RECORD_MEDIUM = 2048, RECORD_LARGE = 8192, RECORD_HUGE = 32768 };
enum { PIECE_MAX = RECORD_HUGE - sizeof(struct ps_event) };

/* Room in the ring; size must be a constant. NULL is counted as a loss of len bytes. */
static __always_inline void *reserve(u64 size, u64 len)
{
	void *record = events.ringbuf_reserve(size);

	if (!record)
		count_loss(PS_LOSS_RING_FULL, len);
	return record;
}

/*
 * The kernel wakes the reader only if it had read everything before this
 * record, and the reader sleeps a few milliseconds after it has: so it wakes
 * some hundred times a second at most, and not at all while nothing happens.
 */
static __always_inline void submit(void *record)
{
	events.ringbuf_submit(record, 0);
}

/*
 * The current process's id in its own pid namespace. Almost every process is in
 * the initial one (level 0), where that is tgid.
 */
static __always_inline u32 current_ns_tgid(u32 tgid)
{
	enum { UPID_SIZE = 16, LEVEL_MAX = 32 }; /* sizeof(struct upid), MAX_PID_NS_LEVEL */
	u64 leader = READ_FIELD(u64, bpf_get_current_task(), TASK, GROUP_LEADER);
	u32 level = READ_FIELD(u32, READ_FIELD(u64, leader, TASK, THREAD_PID), PID, LEVEL);
	u64 task, pid;

	if (level == 0 || level > LEVEL_MAX)
		return tgid;
	task = read_pointer(bpf_get_current_task() + OFF_TASK_GROUP_LEADER);
	pid = read_pointer(task + OFF_TASK_THREAD_PID);
	return read_u32(pid + OFF_PID_NUMBERS + level * UPID_SIZE); /* its member nr comes first */
}

/* The process of the current call. The members are what the helpers give, for less than half the price. */
static __always_inline void fill_process(struct ps_process *process)
{
#ifdef HAVE_RDONLY_CAST
	u64 task = bpf_get_current_task();
	u64 *comm = (u64 *)process->comm;

	process->cgroup_id = current_cgroup_id();
	process->tgid = READ_FIELD(u32, task, TASK, TGID);
	process->tid = READ_FIELD(u32, task, TASK, PID);
	process->uid = READ_FIELD(u32, READ_FIELD(u64, task, TASK, CRED), CRED, UID);
	comm[0] = READ_FIELD(u64, task, TASK, COMM);
	comm[1] = READ_AT(u64, task, TYPE_TASK, OFF_TASK_COMM + 8);
#else
	u64 id = bpf_get_current_pid_tgid();

	process->cgroup_id = current_cgroup_id();
	process->tgid = id >> 32;
	process->tid = id;
	process->uid = bpf_get_current_uid_gid();
	bpf_get_current_comm(&process->comm, sizeof(process->comm));
#endif
	process->ns_tgid = current_ns_tgid(process->tgid);
}

static __always_inline void fill_event(struct ps_event *event, const struct io_call *call, const struct ps_conn *conn,
				       u8 type, u32 len)
{
	event->ts_ns = call->ts_ns;
	event->conn_id = conn->id;
	event->sock = call->sock;
	event->pos = call->pos;
	event->other_pos = call->other_pos;
	event->len = len;
	event->captured_len = 0;
	event->type = type;
	event->direction = call->direction;
	event->flags = call->flags;
	event->fd = call->fd;
	event->socket_id = conn->library ? conn->socket_id : conn->id;
	event->elapsed_ns = call->elapsed_ns;
	event->library = conn->library;
	event->resolved = conn->resolved;
	__builtin_memset(event->pad, 0, sizeof(event->pad));
	fill_process(&event->process);
	event->local = conn->local;
	event->remote = conn->remote;
}

/*
 * A record of this size, a constant, with the next len bytes of the current
 * buffer as its payload; when there is no room, loss bytes are counted as lost.
 */
static __always_inline struct ps_event *reserve_copy(u64 size, const struct io_call *call, u64 len, u64 loss,
						     bool *copied)
{
	struct ps_event *event = reserve(size, loss);
	u64 copy = len;

	if (!event)
		return 0;
	/*
	 * Never more than fits, see emit_data(); but older verifiers must see it on the
	 * very number, and follow paths that cannot be, on which it would be negative.
	 */
	asm volatile("" : "+r"(copy));
	copy &= 0xffff;
	if (copy > size - sizeof(*event))
		copy = size - sizeof(*event);
	*copied = !bpf_probe_read_user(event + 1, copy, (const void *)call->base);
	return event;
}

/* len bytes of the current buffer as one record, of the smallest class that holds them. */
static __always_inline void emit_data(const struct io_call *call, const struct ps_conn *conn, u64 len)
{
	struct ps_event *event;
	bool copied = false;

	if (len <= RECORD_SMALL - sizeof(*event))
		event = reserve_copy(RECORD_SMALL, call, len, len, &copied);
	else if (len <= RECORD_MEDIUM - sizeof(*event))
		event = reserve_copy(RECORD_MEDIUM, call, len, len, &copied);
	else if (len <= RECORD_LARGE - sizeof(*event))
		event = reserve_copy(RECORD_LARGE, call, len, len, &copied);
	else
		event = reserve_copy(RECORD_HUGE, call, len, len, &copied);
	if (!event)
		return;
	fill_event(event, call, conn, PS_EVENT_DATA, len);
	if (copied) {
		event->captured_len = len;
	} else {
		event->flags |= PS_EVENT_FAULT;
		count_loss(PS_LOSS_FAULT, len);
	}
	submit(event);
}

/* A record with no payload. Returns false when the ring is full. */
static __always_inline bool emit_bare(const struct io_call *call, const struct ps_conn *conn, u8 type, u32 len)
{
	struct ps_event *event = reserve(sizeof(struct ps_event), len);

	if (!event)
		return false;
	fill_event(event, call, conn, type, len);
	submit(event);
	return true;
}

/* AF_UNIX: the address that the listening side is bound to, once per connection. */
static __always_inline void emit_unix_path(const struct io_call *call, const struct ps_conn *conn)
{
	u64 address = read_pointer(call->sock + OFF_UNIX_ADDR);
	struct ps_event *event;
	u64 len;

	if (!address) /* the client side is unbound: the name is its peer's */
		address = read_pointer(read_pointer(call->sock + OFF_UNIX_PEER) + OFF_UNIX_ADDR);
	if (!address)
		return;
	len = read_u32(address + OFF_UNIX_ADDRESS_LEN) - 2; /* of sockaddr_un, with the family in front */
	if (len == 0)
		return;
	/* Two checks: joined into one they are about len - 1, from which older verifiers learn nothing of len. */
	asm volatile("" : "+r"(len));
	if (len > PS_UNIX_PATH_LEN)
		return;
	event = reserve(RECORD_SMALL, 0);
	if (!event)
		return;
	fill_event(event, call, conn, PS_EVENT_PATH, 0);
	if (!bpf_probe_read_kernel(event + 1, len, (const void *)(address + OFF_UNIX_ADDRESS_NAME + 2)))
		event->captured_len = len;
	submit(event);
}

#endif
