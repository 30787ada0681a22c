/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user of libplainsight.so sees of one HTTP exchange.
 *
 * Lua passes the text between the marker lines to ffi.cdef (after that of
 * probes/include/event.h), so it holds no preprocessor line.
 */
#ifndef PLAINSIGHT_H
#define PLAINSIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../probes/include/event.h"

/* cdef begin */
/* Bytes owned by somebody else; not NUL-terminated, may hold any byte. data is NULL when len is 0. */
struct ps_slice {
	const char *data;
	size_t len;
};

struct ps_header {
	struct ps_slice name;
	struct ps_slice value; /* without surrounding white space; obs-fold replaced by a space (RFC 9112 5.2) */
};

enum ps_framing {
	PS_FRAMING_NONE = 0,    /* no body by rule (RFC 9112 6.3) */
	PS_FRAMING_LENGTH = 1,  /* Content-Length */
	PS_FRAMING_CHUNKED = 2, /* Transfer-Encoding: chunked */
	PS_FRAMING_CLOSE = 3    /* until the connection ends */
};

enum ps_body_state {
	PS_BODY_COMPLETE = 0,  /* kept holds the whole body that was moved */
	PS_BODY_TRUNCATED = 1, /* every byte was counted, those after kept.len were not kept (limit) */
	PS_BODY_GAP = 2        /* bytes are missing from gap_offset on; kept is the part before the first gap */
};

/* A message body with its transfer coding removed (chunk framing); content codings untouched. */
struct ps_body {
	struct ps_slice kept; /* the first bytes */
	uint64_t size_bytes;  /* true size of what was moved, lost bytes included */
	uint64_t gap_offset;  /* of the first missing byte; meaningful when gap_bytes > 0 */
	uint64_t gap_bytes;   /* how many bytes are missing in all */
	uint32_t state;       /* enum ps_body_state */
	uint32_t framing;     /* enum ps_framing */
};

enum ps_message_flags {
	PS_MESSAGE_COMPLETE = 1,    /* its framing says that it ended */
	PS_MESSAGE_ABORTED = 2,     /* the connection ended first */
	PS_MESSAGE_UNFINISHED = 4,  /* the capture ended first */
	PS_MESSAGE_LOST_TAIL = 8,   /* bytes were lost where its end must have been */
	PS_MESSAGE_HEAD_CUT = 16,   /* head over the limit: headers are those that fitted */
	PS_MESSAGE_AMBIGUOUS = 32,  /* conflicting or malformed framing headers (RFC 9112 6.1, 6.3) */
	PS_MESSAGE_FROM_FILE = 128, /* sendfile: body bytes were read afterwards from the file that was sent */
	PS_MESSAGE_BAD_CHUNK = 64   /* chunked framing broke; the rest was read as body until the end */
};

struct ps_message {
	struct ps_slice method; /* request only */
	struct ps_slice target; /* request only, as on the wire */
	struct ps_slice reason; /* response only, may be empty */
	const struct ps_header *headers;
	const struct ps_header *trailers;
	uint32_t header_count;
	uint32_t trailer_count;
	uint16_t status; /* response only */
	uint8_t version_major;
	uint8_t version_minor;
	uint32_t flags; /* enum ps_message_flags */
	struct ps_body body;
	uint64_t head_bytes;       /* start line to the empty line, on the wire */
	uint64_t wire_bytes;       /* the whole message on the wire; a response counts its 1xx too */
	uint64_t first_ts_ns;      /* CLOCK_MONOTONIC of the call that moved the first byte */
	uint64_t last_ts_ns;       /* and the last */
	struct ps_process process; /* who moved the first byte */
};

enum ps_exchange_flags {
	PS_EXCHANGE_REQUEST = 1,   /* request is present */
	PS_EXCHANGE_RESPONSE = 2,  /* response is present */
	PS_EXCHANGE_MIDSTREAM = 4, /* the connection was open before the capture saw it */
	PS_EXCHANGE_AFTER_GAP = 8, /* bytes lost between messages or parsing lost its place before this exchange:
				      messages may be missing before it */
	PS_EXCHANGE_TUNNEL = 16    /* 101 or CONNECT 2xx: what follows on the connection is not HTTP/1 */
};

enum ps_side { PS_SIDE_UNKNOWN = 0, PS_SIDE_CLIENT = 1, PS_SIDE_SERVER = 2 };

enum { PS_INTERIM_MAX = 8 };

struct ps_exchange {
	uint64_t conn_id;
	uint32_t flags; /* enum ps_exchange_flags */
	uint32_t side;  /* enum ps_side: what the traced process is in this exchange */
	struct ps_endpoint local;
	struct ps_endpoint remote;
	struct ps_slice unix_path; /* of the listening socket, "@name" when abstract; empty for TCP or unnamed */
	struct ps_message request;
	struct ps_message response; /* not present: its flags say why, as far as that is known */
	uint16_t interim[8];        /* statuses of the 1xx responses before the final one, in order */
	uint32_t interim_count;     /* may be larger than what interim holds */
	uint32_t pad;
};

struct ps_capture_options {
	int32_t events_fd; /* the `events` ring buffer map */
	int32_t conns_fd;  /* the `conns` map, to tell the kernel which connections to leave alone; -1: none */
	int32_t skips_fd;  /* the `skips` map, to spare it copying what no body would keep; -1: none */
	uint32_t pad;
	uint64_t ring_bytes;
	uint64_t head_bytes_max; /* see struct http1_limits */
	uint64_t body_bytes_max;
	uint32_t pipeline_max;
	uint32_t conns_max;      /* connections followed at once; beyond it the least recently used is given up */
	uint64_t held_bytes_max; /* of records that wait for earlier ones */
};

/*
 * What became of the records, in total since ps_capture_new(). At any moment
 *
 *	data_bytes == message_bytes + tunnel_bytes + skipped_bytes + uncaptured_bytes +
 *		      overlap_bytes + waiting_bytes + dropped_bytes
 *
 * gap_bytes is what moved with no record of it at all, and uncaptured_bytes
 * but for the part of a file that sendfile sent beyond what is kept of a body.
 */
struct ps_capture_stats {
	uint64_t records;        /* read from the ring */
	uint64_t data_bytes;     /* that they stand for */
	uint64_t captured_bytes; /* that they carried */
	uint64_t message_bytes;  /* became part of HTTP messages */
	uint64_t tunnel_bytes;   /* after 101 or CONNECT */
	uint64_t skipped_bytes;  /* before the first message or after a parse error, or on ignored connections */
	uint64_t gap_bytes;      /* known to be missing */
	uint64_t gaps;
	uint64_t overlaps; /* records for bytes that were already there, or already given up as a gap */
	uint64_t forced;   /* waits that ended without what was waited for */
	uint64_t parse_errors;
	uint64_t evicted;          /* connections given up for want of room */
	uint64_t conns;            /* followed now */
	uint64_t exchanges;        /* handed out */
	uint64_t uncaptured_bytes; /* that records stand for but could not carry */
	uint64_t overlap_bytes;    /* in overlaps, not used */
	uint64_t waiting_bytes;    /* in records that wait now */
	uint64_t dropped_bytes;    /* in records of connections that there was no memory for */
	uint64_t malformed;        /* records that break the event contract, dropped and counted nowhere else */
	uint64_t file_calls;       /* of sendfile whose bytes could be read from the file */
	uint64_t file_bytes;       /* that were */
	uint64_t file_lost_calls;  /* of sendfile whose bytes could not be read any more */
	uint64_t file_lost_bytes;  /* that were not */
};

/* Reads the ring buffer and yields exchanges. One thread only. */
struct ps_capture;

/* NULL, with errno set, when the ring cannot be mapped or memory is short. The descriptors stay the caller's. */
struct ps_capture *ps_capture_new(const struct ps_capture_options *options);
void ps_capture_free(struct ps_capture *capture);

/*
 * The next finished exchange, or NULL when the ring holds no more for now.
 * Valid until the next call.
 */
const struct ps_exchange *ps_capture_next(struct ps_capture *capture);

/*
 * Records were lost, and the ring holds no more: find out from the probes which
 * connections have ended meanwhile. Takes time in proportion to the connections.
 */
void ps_capture_settle(struct ps_capture *capture);

/* The capture ends: whatever is still open comes out of ps_capture_next() marked PS_MESSAGE_UNFINISHED. */
void ps_capture_finish(struct ps_capture *capture);

struct ps_capture_stats ps_capture_stats(const struct ps_capture *capture);

/* Whether the ring holds a record that ps_capture_next() has not read: it returns after reading one ring's size. */
bool ps_capture_pending(struct ps_capture *capture);

/* Whether records wait for earlier ones: call ps_capture_next() again within 100 ms. */
bool ps_capture_waiting(const struct ps_capture *capture);
/* cdef end */

#endif
