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
	PS_EVENT_DATA = 1,     /* bytes moved on a connection; payload follows */
	PS_EVENT_END = 2,      /* one direction has ended: no byte after pos */
	PS_EVENT_CLOSE = 3,    /* the connection is gone; pos and other_pos are the ends of in and out */
	PS_EVENT_PATH = 4,     /* AF_UNIX: the payload is the address of the listening socket (sun_path) */
	PS_EVENT_EXIT = 5,     /* a traced process has ended; only ts_ns and process are set */
	PS_EVENT_FILE = 6,     /* sendfile: len bytes moved from a file; the payload is a struct ps_file_ref */
	PS_EVENT_BIND = 7,     /* TLS: local, remote, socket_id and resolved are known by now */
	PS_EVENT_HELLO = 8,    /* TLS: bytes of a handshake on the wire; payload follows, positions do not count them */
	PS_EVENT_HANDSHAKE = 9 /* TLS: the handshake has ended; elapsed_ns from its first call on */
};

enum ps_direction { PS_IN = 0, PS_OUT = 1 }; /* received / sent by the traced process */

/* Values of AF_*; none: the socket below a TLS session is not known. */
enum ps_family { PS_FAMILY_NONE = 0, PS_FAMILY_UNIX = 1, PS_FAMILY_INET = 2, PS_FAMILY_INET6 = 10 };

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
	PS_LOSS_NOTICES = 5,    /* no room to tell user space of a process or its files */
	PS_LOSS_CAUSES = 6
};

/* Which filters are in use; bits of ps_settings.filters. */
enum ps_filter {
	PS_FILTER_TGID = 1,      /* -p, COMMAND: the processes in the map `traced_tgids` */
	PS_FILTER_UID = 2,       /* -u */
	PS_FILTER_COMM = 4,      /* -c */
	PS_FILTER_CGROUP = 8,    /* --cgroup: the one in the map `traced_cgroup` */
	PS_FILTER_PORT = 16,     /* --port: those in the map `traced_ports` */
	PS_FILTER_CONTAINER = 32 /* --container, --pod, --namespace: those in the map `traced_containers` */
};

/* What is captured; bits of ps_settings.capture. */
enum ps_capture_bits {
	PS_CAPTURE_PLAIN = 1, /* what system calls move on sockets */
	PS_CAPTURE_TLS = 2,   /* what TLS libraries move on sessions */
	PS_CAPTURE_RAW = 4,   /* of sessions everything, HTTP or not */
	PS_CAPTURE_STOP = 8,  /* processes wait (SIGSTOP) until user space has attached to what they load */
	PS_CAPTURE_BY_PROCESS =
	    16 /* library functions are attached to in each process that is traced, and in no other */
};

/*
 * What differs from run to run, so that the probes need not be compiled again:
 * entry 0 of the map `settings`, written before the programs are loaded and
 * never after.
 */
struct ps_settings {
	uint32_t self_tgid; /* of the tool, whose own calls are not reported */
	uint32_t filters;   /* enum ps_filter */
	uint32_t uid;       /* PS_FILTER_UID */
	uint32_t capture;   /* enum ps_capture_bits */
	char comm[16];      /* PS_FILTER_COMM: thread name, padded with NUL */
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

/* How the socket below a TLS session was found, and with it the addresses. */
enum ps_resolved {
	PS_RESOLVED_NONE = 0,
	PS_RESOLVED_SET_FD = 1,  /* the program told the library (SSL_set_fd and the like) */
	PS_RESOLVED_NESTED = 2,  /* the library's own socket call inside the TLS call */
	PS_RESOLVED_ADJACENT = 3 /* the thread's socket call next to the TLS call: the library works in memory */
};

/* What a function of a TLS library does. */
enum ps_tls_action {
	PS_TLS_MOVE = 1,   /* moves plaintext */
	PS_TLS_PACKET = 2, /* receives a packet, put at the address `buffer`, of which PS_TLS_PACKET_DATA tells more */
	PS_TLS_PACKET_DATA = 3, /* `session` is a packet: puts its { data, size } at the address `buffer` */
	PS_TLS_COVER = 4,       /* calls functions that move what was told before (GnuTLS: uncork) */
	PS_TLS_HANDSHAKE = 5,   /* may take several calls; the result 1 ends it, with PS_TLS_ZERO_ENDS 0 */
	PS_TLS_ACCEPT = 6,      /* the result is a new session */
	PS_TLS_BEGIN = 7,       /* the session is a new one: nothing has moved on it yet */
	PS_TLS_RESET = 8,       /* the session becomes a new one, if it was used */
	PS_TLS_SET_FD = 9,      /* tells the session its descriptor, argument `buffer` */
	PS_TLS_SHUTDOWN = 10,   /* the session will send no more */
	PS_TLS_FREE = 11        /* the session ends here */
};
/* Of those up to this one it is wanted when they return, too. */
enum { PS_TLS_LAST_THAT_RETURNS = 6 };

enum ps_tls_flags {
	PS_TLS_OUT = 1,        /* sends; else it receives */
	PS_TLS_VECTOR = 2,     /* `buffer` is an array of { void *base; length }, `third` how many */
	PS_TLS_MOVED = 4,      /* `third` is the address of a size_t, set when the result is 1; else the result tells */
	PS_TLS_CALL_FLAGS = 8, /* `third` is flags as of recv(): with MSG_PEEK nothing moves */
	PS_TLS_NO_BUFFER = 16, /* the bytes are never in memory of the process (SSL_sendfile) */
	PS_TLS_MAYBE_PLAIN = 32, /* serves descriptors without TLS too (NSPR) */
	PS_TLS_GO = 64,          /* Go: its own registers (ABIInternal), and a call can change threads */
	PS_TLS_REPEATS = 128,    /* called with NULL it goes on with what it was given before (GnuTLS) */
	PS_TLS_INT = 256,        /* the result is an int; else 64 bits wide */
	PS_TLS_ZERO_ENDS = 512,  /* the result 0 means that the peer has ended its direction */
	PS_TLS_ALL = 1024        /* the result 0 means that all was moved: so many bytes as `third` says */
};

/*
 * A function of a TLS library, as its probe is told: exactly the 64 bits of an
 * attach cookie. Arguments are counted from 1; 0: there is none.
 */
struct ps_tls_function {
	uint16_t library; /* number of the library file */
	uint16_t flags;   /* enum ps_tls_flags */
	uint8_t action;   /* enum ps_tls_action */
	uint8_t session;  /* argument that tells the session */
	uint8_t buffer;   /* argument with the address of the bytes */
	uint8_t third;    /* argument that means what flags say; of Go: bits of the flags register that say "not yet" */
};

/* What user space is told of processes, so that it can attach to libraries that they load. */
enum ps_notice_type {
	PS_NOTICE_MAP = 1,  /* an executable mapping of a file that user space has not classified */
	PS_NOTICE_EXEC = 2, /* another program runs in the process; device and inode are those of its file */
	PS_NOTICE_FORK = 3, /* a process was made; parent is set */
	PS_NOTICE_EXIT = 4  /* a process has ended */
};

struct ps_notice {
	uint32_t type; /* enum ps_notice_type */
	uint32_t tgid;
	uint32_t parent;
	uint32_t stopped; /* the process waits for SIGCONT */
	uint64_t device;  /* of the file system, as the kernel keeps it (s_dev: major << 20 | minor) */
	uint64_t inode;
	uint64_t start; /* PS_NOTICE_MAP: addresses of the mapping */
	uint64_t end;
	uint64_t ts_ns; /* CLOCK_MONOTONIC */
};

/* Key of the `known_files` map: files of which user space need not be told. */
struct ps_file_key {
	uint64_t device;
	uint64_t inode;
};

/* The process and thread that made the call. Ids are those of the initial pid namespace. */
struct ps_process {
	uint64_t cgroup_id; /* see probes/include/cgroup.h; 1 for the root */
	uint32_t tgid;
	uint32_t tid;
	uint32_t uid;
	uint32_t ns_tgid; /* tgid in the process's own pid namespace; 0: not known */
	char comm[16];    /* thread name, NUL-terminated */
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
	uint8_t type;        /* enum ps_event_type */
	uint8_t direction;   /* enum ps_direction */
	uint16_t flags;      /* enum ps_event_flags */
	uint32_t fd;         /* file descriptor the call used, -1 when there was none */
	uint64_t socket_id;  /* inode number of the socket; 0: not known (TLS only) */
	uint64_t elapsed_ns; /* TLS: from the entry of the function to its return; 0: not measured */
	uint16_t library;    /* TLS: number of the library file, as the probe was told; 0: a system call */
	uint8_t resolved;    /* TLS: enum ps_resolved */
	uint8_t pad[5];
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

/* A session that was freed, or whose socket went away. If a call is under way on it, it ends when that has returned. */
enum ps_session_over {
	PS_SESSION_OVER = 1,
	PS_SESSION_OVER_BY_PEER = 2 /* and the peer had ended its direction */
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
	uint32_t seq[2];          /* TCP: the sequence number at pos, by direction */
	uint32_t closed;          /* the connection is gone, but the ring had no room to say so */
	uint32_t fd;              /* TLS, as the rest: the descriptor of the socket */
	uint32_t over;            /* enum ps_session_over */
	uint64_t callers[2];      /* thread or goroutine of the last call, by direction; all in the process tgid */
	uint64_t socket;          /* address of the kernel's sock below the session; 0: not known, or gone */
	uint64_t socket_id;       /* its inode number */
	uint64_t handshake_ts_ns; /* when its handshake began; 0: not seen, or told already */
	uint16_t library;         /* number of the library file; 0: this is a socket */
	uint8_t resolved;         /* enum ps_resolved */
	uint8_t http1;            /* its first bytes were HTTP/1 */
	uint16_t hello_bytes[2];  /* of the handshake that were reported, by direction */
	uint32_t tgid;
	uint32_t pad0;
};
/* cdef end */

#endif
