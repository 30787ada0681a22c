/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The event contract: what a probe puts into the ring buffer and src/ reads.
 *
 * One definition, three readers: BCC compiles it into the probes, the C module
 * includes it, and Lua passes the text between the two marker lines to
 * ffi.cdef. Between the markers there is therefore no preprocessor line, only
 * fixed-width types, enum constants and explicit padding. tests/c/test_layout.c
 * and tests/lua/layout_spec.lua compare sizes and offsets on all sides.
 */
#ifndef PLAINSIGHT_EVENT_H
#define PLAINSIGHT_EVENT_H

#ifndef PS_BPF
#include <stdint.h>
#endif

/* cdef begin */
enum ps_event_type {
	PS_EVENT_DATA = 1,  /* bytes moved on a connection; payload follows */
	PS_EVENT_END = 2,   /* one direction has ended: no byte after pos */
	PS_EVENT_CLOSE = 3, /* the connection is gone; pos and other_pos are the ends of in and out */
	PS_EVENT_PATH = 4,  /* AF_UNIX: the payload is the address of the listening socket (sun_path) */
	PS_EVENT_EXIT = 5,  /* a traced process has ended; only ts_ns and process are set */
	PS_EVENT_FILE = 6   /* sendfile: len bytes moved from a file; the payload is a struct ps_file_ref */
};

enum ps_direction { PS_IN = 0, PS_OUT = 1 }; /* received / sent by the traced process */

enum ps_family { PS_FAMILY_UNIX = 1, PS_FAMILY_INET = 2, PS_FAMILY_INET6 = 10 }; /* values of AF_* */

enum ps_event_flags {
	PS_EVENT_MIDSTREAM = 1,  /* bytes of this direction moved before the probes saw the connection */
	PS_EVENT_KERNEL_POS = 2, /* pos and other_pos come from the TCP socket: a jump means unseen bytes */
	PS_EVENT_FAULT = 4,      /* user memory could not be read: captured_len falls short */
	PS_EVENT_NO_BUFFER = 8,  /* sendfile, splice: the bytes were never in user memory */
	PS_EVENT_CUT = 16,       /* more of this call than one call may copy: the rest is a gap */
	PS_EVENT_FROM_FILE = 64, /* set by user space: the payload was read from the file that was sent */
	PS_EVENT_UNNEEDED = 128, /* not copied, and of no use: see struct ps_skip */
	PS_EVENT_DISCARDED = 32  /* TCP, MSG_TRUNC: the bytes were received and thrown away (tcp(7)) */
};

enum { PS_COMM_LEN = 16, PS_UNIX_PATH_LEN = 108 };

/* Why an event or its bytes did not arrive; index of the `losses` map. */
enum ps_loss {
	PS_LOSS_RING_FULL = 0,  /* no room in the ring buffer */
	PS_LOSS_FAULT = 1,      /* user memory could not be read */
	PS_LOSS_TABLE_FULL = 2, /* a kernel map had no room for the connection or call */
	PS_LOSS_CUT = 3,        /* call larger than what one call may copy */
	PS_LOSS_NO_BUFFER = 4,  /* sendfile, splice: length known, bytes not */
	PS_LOSS_CAUSES = 5
};

/* Ways to move data on a socket that the probes cannot follow; key of the `invisible` map. */
enum ps_invisible {
	PS_INVISIBLE_IO_URING = 0, /* io_uring requests that send or receive */
	PS_INVISIBLE_COMPAT = 1,   /* 32-bit system calls that send or receive */
	PS_INVISIBLE_KINDS = 2
};

struct ps_invisible_key {
	uint32_t tgid;
	uint32_t kind; /* enum ps_invisible */
};

struct ps_invisible_calls {
	uint64_t calls;
	char comm[16];
};

/* One end of a connection. For AF_UNIX, addr and port are zero and the path is in ps_event.unix_path. */
struct ps_endpoint {
	uint8_t addr[16]; /* network byte order; IPv4 in the first four bytes */
	uint16_t port;    /* host byte order */
	uint16_t family;  /* enum ps_family */
};

/* The process and thread that made the call. Ids are those of the initial pid namespace. */
struct ps_process {
	uint64_t cgroup_id; /* cgroup v2 id, 1 for the root */
	uint32_t tgid;
	uint32_t tid;
	uint32_t uid;
	uint32_t pad;
	char comm[16]; /* thread name, NUL-terminated */
};

/*
 * Header of every record in the ring; captured_len payload bytes follow.
 * A record of a data call stands for `len` bytes of the stream from `pos` on;
 * the payload is the first captured_len of them.
 */
struct ps_event {
	uint64_t ts_ns;     /* CLOCK_MONOTONIC when the call returned */
	uint64_t conn_id;   /* socket inode number: unique among the sockets that are open */
	uint64_t sock;      /* key of the connection in the kernel's `conns` map */
	uint64_t pos;       /* byte position in its direction, 0 = first byte of the connection */
	uint64_t other_pos; /* end position of the other direction when this was taken */
	uint32_t len;
	uint32_t captured_len;
	uint8_t type;      /* enum ps_event_type */
	uint8_t direction; /* enum ps_direction */
	uint16_t flags;    /* enum ps_event_flags */
	uint32_t fd;       /* file descriptor the call used, -1 when there was none */
	struct ps_process process;
	struct ps_endpoint local;
	struct ps_endpoint remote;
};

enum { PS_FILE_NAME_LEN = 256, PS_FILE_NAMES_MAX = 24 };

/* Which bytes of which file sendfile sent, so that user space can read them from there. */
struct ps_file_ref {
	uint64_t inode;
	uint64_t file_bytes; /* size of the file */
	uint64_t offset;     /* of the first byte that was sent */
	uint32_t fd;         /* of the file in the process, if it is still open */
	uint32_t names;      /* how many of name are set; PS_FILE_NAMES_MAX: the path may be longer */
	char name[24][256];  /* path components, the last one first */
};

/*
 * Value of the `skips` map, by sock: large calls that lie wholly before `until`
 * need not be copied, because no body would keep them. Written by user space.
 */
struct ps_skip {
	uint64_t id;       /* of the connection, as in struct ps_conn */
	uint64_t until[2]; /* position, by direction */
};

/* What the probes have made of a connection's first bytes. */
enum ps_verdict {
	PS_VERDICT_UNDECIDED = 0,
	PS_VERDICT_HTTP = 1,
	PS_VERDICT_IGNORE = 2 /* not HTTP/1, or no longer: nothing is copied */
};

/* Value of the `conns` map; user space writes it only to set the verdict to PS_VERDICT_IGNORE. */
struct ps_conn {
	uint64_t id;     /* socket inode number; another id means that the sock was reused */
	uint64_t pos[2]; /* end of what moved, by direction */
	struct ps_endpoint local;
	struct ps_endpoint remote;
	uint8_t verdict;    /* enum ps_verdict */
	uint8_t kernel_pos; /* positions come from the TCP socket */
	uint8_t midstream;  /* bytes moved before the probes saw it */
	uint8_t reported;   /* user space has had an event of it */
	uint8_t seen[2];    /* the direction has had its first call */
	uint8_t prefix_len[2];
	uint8_t prefix[2][64]; /* first bytes by direction, while undecided; filled in steps of at most 32 */
	uint32_t undecided_calls;
	uint32_t seq[2]; /* TCP: the sequence number at pos, by direction */
	uint32_t closed; /* the connection is gone, but the ring had no room to say so */
};
/* cdef end */

#endif
