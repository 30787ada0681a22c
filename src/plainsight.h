/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user of libplainsight.so sees of HTTP exchanges and of the messages of long-lived ones.
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

/* HTTP/2: what a header block only refers to, in a table that was filled before the capture saw the connection. */
enum ps_header_flags { PS_HEADER_NAME_UNKNOWN = 1, PS_HEADER_VALUE_UNKNOWN = 2 };

struct ps_header {
	struct ps_slice name;
	struct ps_slice value; /* without surrounding white space; obs-fold replaced by a space (RFC 9112 5.2) */
	uint32_t flags;        /* enum ps_header_flags */
	uint32_t pad;
};

enum ps_framing {
	PS_FRAMING_NONE = 0,    /* no body by rule (RFC 9112 6.3) */
	PS_FRAMING_LENGTH = 1,  /* Content-Length */
	PS_FRAMING_CHUNKED = 2, /* Transfer-Encoding: chunked */
	PS_FRAMING_CLOSE = 3,   /* until the connection ends */
	PS_FRAMING_H2 = 4       /* DATA frames of an HTTP/2 stream (RFC 9113 8.1) */
};

enum ps_body_state {
	PS_BODY_COMPLETE = 0,  /* kept holds the whole body that was moved */
	PS_BODY_TRUNCATED = 1, /* every byte was counted, those after kept.len were not kept (limit) */
	PS_BODY_GAP = 2        /* bytes are missing from gap_offset on; kept is the part before the first gap */
};

/* What is found in a body as it arrives, see plainsight_secrets.h. */
struct ps_body_scan;
struct ps_secrets;

/* A message body without its framing (chunks, DATA frames, padding); content codings untouched. */
struct ps_body {
	struct ps_slice kept;      /* the first bytes */
	uint64_t size_bytes;       /* true size of what was moved, lost bytes included */
	uint64_t gap_offset;       /* of the first missing byte; meaningful when gap_bytes > 0 */
	uint64_t gap_bytes;        /* how many bytes are missing in all */
	uint32_t state;            /* enum ps_body_state */
	uint32_t framing;          /* enum ps_framing */
	struct ps_body_scan *scan; /* for ps_secret_scan_item(); NULL: only what is kept can be looked at */
};

enum ps_message_flags {
	PS_MESSAGE_COMPLETE = 1,    /* its framing says that it ended */
	PS_MESSAGE_ABORTED = 2,     /* the connection ended first */
	PS_MESSAGE_UNFINISHED = 4,  /* the capture ended first */
	PS_MESSAGE_LOST_TAIL = 8,   /* bytes were lost where its end must have been */
	PS_MESSAGE_HEAD_CUT = 16,   /* head over the limit: headers are those that fitted */
	PS_MESSAGE_AMBIGUOUS = 32,  /* conflicting or malformed framing headers (RFC 9112 6.1, 6.3) */
	PS_MESSAGE_FROM_FILE = 128, /* sendfile: body bytes were read afterwards from the file that was sent */
	PS_MESSAGE_BAD_CHUNK = 64,  /* chunked framing broke; the rest was read as body until the end */
	PS_MESSAGE_UNKNOWN = 256,   /* HTTP/2: some header names or values are unknown, see enum ps_header_flags */
	PS_MESSAGE_REDACTED = 512,  /* values were masked, see ps_redact() in plainsight_secrets.h */
	PS_MESSAGE_WITHHELD = 1024  /* and its body left out: a coded one with such a value in it */
};

/*
 * Of HTTP/2 the pseudo-headers (RFC 9113 8.3) are here and not among the
 * headers: :path is the target. One that is unknown is empty, and status 0.
 */
struct ps_message {
	struct ps_slice method;    /* request only */
	struct ps_slice target;    /* request only, as on the wire */
	struct ps_slice reason;    /* response only, may be empty */
	struct ps_slice scheme;    /* request of HTTP/2 only */
	struct ps_slice authority; /* request of HTTP/2 only, in the place of Host; may be empty */
	struct ps_slice protocol;  /* :protocol of an extended CONNECT (RFC 8441) */
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
	PS_EXCHANGE_REQUEST = 1,     /* request is present */
	PS_EXCHANGE_RESPONSE = 2,    /* response is present */
	PS_EXCHANGE_MIDSTREAM = 4,   /* the connection was open before the capture saw it */
	PS_EXCHANGE_AFTER_GAP = 8,   /* bytes lost between messages or parsing lost its place before this exchange:
					messages may be missing before it */
	PS_EXCHANGE_TUNNEL = 16,     /* 101 or CONNECT 2xx: what follows on the connection or stream is not HTTP */
	PS_EXCHANGE_RESET = 32,      /* HTTP/2: RST_STREAM or GOAWAY ended the stream: error_code says why */
	PS_EXCHANGE_PUSHED = 64,     /* HTTP/2: the server promised the request (PUSH_PROMISE) */
	PS_EXCHANGE_STARTED = 128,   /* items of it were handed out before its end */
	PS_EXCHANGE_ANNOUNCED = 256, /* and PS_ITEM_STARTED is among them */
	PS_EXCHANGE_UNDECODED = 512  /* some messages could not be read: framing, coding, no memory */
};

/* What the messages of an exchange are, beyond a body each way. */
enum ps_stream_protocol {
	PS_STREAM_NONE = 0,
	PS_STREAM_WEBSOCKET = 1, /* RFC 6455, after 101 or an extended CONNECT (RFC 8441) */
	PS_STREAM_SSE = 2,       /* server-sent events: text/event-stream (WHATWG HTML 9.2) */
	PS_STREAM_GRPC = 3,
	PS_STREAM_GRPC_WEB = 4
};

/* What a TLS handshake shows in the clear (RFC 8446 4.1, RFC 5246 7.4.1). */
struct ps_tls_info {
	uint16_t protocol;     /* that the server chose: 0x0303 is TLS 1.2, 0x0304 TLS 1.3; 0: not known */
	uint16_t cipher;       /* cipher suite that the server chose, its number at IANA; 0: not known */
	char server_name[256]; /* that the client asked for (RFC 6066 3); empty: none, or not known */
	char alpn[32]; /* protocol that the server chose (RFC 7301), in the clear up to TLS 1.2 only; or empty */
	char alpn_offered[96]; /* protocols that the client offered, with commas between them; or empty */
};

enum ps_side { PS_SIDE_UNKNOWN = 0, PS_SIDE_CLIENT = 1, PS_SIDE_SERVER = 2 };

enum { PS_INTERIM_MAX = 8 };

struct ps_exchange {
	uint64_t id;      /* unique in the run, the same for all items of the exchange */
	uint64_t conn_id; /* of the connection or TLS session: unique among those that are open */
	uint32_t flags;   /* enum ps_exchange_flags */
	uint32_t side;    /* enum ps_side: what the traced process is in this exchange */
	struct ps_endpoint local;
	struct ps_endpoint remote;
	struct ps_slice unix_path;     /* of the listening socket, "@name" when abstract; empty for TCP or unnamed */
	uint64_t socket_id;            /* inode number of the socket; 0: not known (TLS only) */
	uint32_t fd;                   /* descriptor of the socket in the process, -1: not known */
	uint16_t library;              /* TLS: number of the library file, as the probe was told; 0: clear text */
	uint16_t resolved;             /* TLS: enum ps_resolved */
	const struct ps_tls_info *tls; /* NULL when nothing of the handshake was seen */
	uint64_t handshake_ns;         /* TLS: from the first call of the handshake to its end; 0: not seen */
	struct ps_message request;
	struct ps_message response;   /* not present: its flags say why, as far as that is known */
	uint16_t interim[8];          /* statuses of the 1xx responses before the final one, in order */
	uint32_t interim_count;       /* may be larger than what interim holds */
	uint32_t stream_id;           /* HTTP/2; 0: HTTP/1 */
	uint32_t error_code;          /* RFC 9113 7; meaningful with PS_EXCHANGE_RESET */
	uint32_t protocol;            /* enum ps_stream_protocol */
	uint64_t request_messages;    /* of that protocol, that the client sent so far */
	uint64_t response_messages;   /* and the server */
	struct ps_slice web_trailers; /* gRPC-Web: the lines of its last frame */
};

enum ps_stream_type {
	PS_STREAM_CONTINUATION = 0, /* WebSocket: the end of a message whose beginning was lost */
	PS_STREAM_TEXT = 1,         /* WebSocket: the numbers are its opcodes (RFC 6455 5.2) */
	PS_STREAM_BINARY = 2,
	PS_STREAM_CLOSE = 8,
	PS_STREAM_PING = 9,
	PS_STREAM_PONG = 10,
	PS_STREAM_EVENT = 16,   /* of SSE */
	PS_STREAM_MESSAGE = 17, /* of gRPC */
	PS_STREAM_TRAILERS = 18 /* of gRPC-Web, in its last frame */
};

enum ps_stream_flags {
	PS_STREAM_COMPRESSED = 1, /* it was sent compressed */
	PS_STREAM_UNDECODED = 2,  /* and could not be decompressed: kept is what was sent; nothing, if malformed */
	PS_STREAM_AFTER_GAP = 4,  /* messages in this direction may be missing before it */
	PS_STREAM_UNFINISHED = 8, /* its end was not seen */
	PS_STREAM_REDACTED = 16   /* values were masked, see ps_redact() in plainsight_secrets.h */
};

/* One message within an exchange. */
struct ps_stream_message {
	uint32_t protocol;         /* enum ps_stream_protocol */
	uint32_t type;             /* enum ps_stream_type */
	uint32_t direction;        /* enum ps_direction */
	uint32_t flags;            /* enum ps_stream_flags */
	struct ps_body body;       /* decompressed, unless PS_STREAM_UNDECODED; of SSE its data */
	struct ps_slice name;      /* SSE: the event's name; empty: "message" */
	struct ps_slice event_id;  /* SSE: the last id that was sent */
	uint64_t wire_bytes;       /* its frames with their heads; of SSE the lines of the event, without codings */
	uint64_t first_ts_ns;      /* CLOCK_MONOTONIC of the call that moved the first byte */
	uint64_t last_ts_ns;       /* and the last */
	struct ps_process process; /* who moved the first byte */
	uint32_t frames;           /* WebSocket: how many it came in */
	uint32_t close_code;       /* WebSocket, close: its status code (RFC 6455 7.4); 0: it has none */
};

enum ps_item_kind {
	PS_ITEM_EXCHANGE = 0, /* finished */
	PS_ITEM_STARTED = 1,  /* its response head is there, and it goes on */
	PS_ITEM_MESSAGE = 2
};

struct ps_item {
	uint32_t kind; /* enum ps_item_kind */
	uint32_t pad;
	const struct ps_exchange *exchange;      /* of a message: that it belongs to, as far as it has got */
	const struct ps_stream_message *message; /* PS_ITEM_MESSAGE; else NULL */
};

/* A recording that is written: docs/recording.md. */
struct ps_recorder;

/*
 * Begin one in fd, which stays the caller's, with the JSON that tells what the run is. It gets the events that a
 * capture reads; with has_items instead what ps_capture_record_item() is given. NULL with errno set when that cannot be
 * written or memory is short.
 */
struct ps_recorder *ps_recorder_new(int32_t fd, bool has_items, const char *start, uint64_t start_len);
void ps_recorder_free(struct ps_recorder *recorder);

/*
 * Have written what has waited for half a second; a thread does it. Returns whether something still waits: call it
 * again by then. When writing failed, nothing is written any more.
 */
bool ps_recorder_flush(struct ps_recorder *recorder);

/* The run ends by itself: write everything. */
void ps_recorder_end(struct ps_recorder *recorder);

/* errno of the write that failed; 0: all is well. */
int32_t ps_recorder_error(const struct ps_recorder *recorder);

/* Size of the file so far. */
uint64_t ps_recorder_bytes(struct ps_recorder *recorder);

enum ps_recording_state {
	PS_RECORDING_READING = 0,
	PS_RECORDING_ENDED = 1,     /* all was read */
	PS_RECORDING_CUT = 2,       /* the file ends before the recording does: its tool was killed, or it still runs */
	PS_RECORDING_DAMAGED = 3,   /* nothing behind this point can be relied on */
	PS_RECORDING_UNREADABLE = 4 /* read(2) failed */
};

/* A recording that is read. */
struct ps_recording;

/*
 * Begin to read fd, which stays the caller's and may be a pipe. NULL with errno set: EINVAL when it is no recording,
 * EPROTO when it is one of another version, EBADMSG when it is damaged at its beginning.
 */
struct ps_recording *ps_recording_open(int32_t fd);
void ps_recording_free(struct ps_recording *recording);

/* What ps_recorder_new() was given. Valid as long as the recording. */
struct ps_slice ps_recording_start(const struct ps_recording *recording);

enum ps_recording_state ps_recording_state(const struct ps_recording *recording);

/* Bytes of the file up to the last whole frame that was read. */
uint64_t ps_recording_bytes(const struct ps_recording *recording);

/* Of a replay: which events are used, as the probes would choose. */
struct ps_event_filter {
	uint32_t filters; /* enum ps_filter; that of a cgroup cannot be had */
	uint32_t capture; /* PS_CAPTURE_PLAIN, PS_CAPTURE_TLS */
	uint32_t uid;
	uint32_t pid_count;
	uint32_t port_count;
	uint32_t pad;
	const uint32_t *pids;
	const uint16_t *ports;
	char comm[16];     /* padded with NUL */
	uint64_t until_ns; /* the recording ends with the first event after this; 0: with its last */
};

struct ps_capture_options {
	int32_t events_fd; /* the `events` ring buffer map */
	int32_t conns_fd;  /* the `conns` map, to tell the kernel which connections to leave alone; -1: none */
	int32_t skips_fd;  /* the `skips` map, to spare it copying what no body would keep; -1: none */
	uint32_t pad;
	uint64_t ring_bytes;
	uint64_t head_bytes_max; /* see struct http_limits */
	uint64_t body_bytes_max;
	uint32_t pipeline_max;
	uint32_t conns_max;      /* connections followed at once; beyond it the least recently used is given up */
	uint64_t held_bytes_max; /* of records that wait for earlier ones */
	/* What follows stays the caller's and has to live as long as the capture; NULL: none. */
	struct ps_recorder *recorder;         /* gets what is read from the ring */
	struct ps_recording *recording;       /* instead of the maps */
	const struct ps_event_filter *filter; /* of a recording */
	const struct ps_secrets *secrets; /* looked for in what is not kept of bodies, all of which the probes copy */
};

/* What a run told apart from events. */
struct ps_note {
	struct ps_slice key;
	struct ps_slice value;
	uint32_t is_report; /* 1: of this moment, between two items; 0: holds for the items from here on */
	uint32_t pad;
};

/*
 * What became of the records, in total since ps_capture_new(). At any moment
 *
 *	data_bytes == message_bytes + tunnel_bytes + skipped_bytes + uncaptured_bytes +
 *		      overlap_bytes + waiting_bytes + dropped_bytes + raw_bytes
 *
 * gap_bytes is what moved with no record of it at all, and uncaptured_bytes
 * but for the part of a file that sendfile sent beyond what is kept of a body.
 */
struct ps_capture_stats {
	uint64_t records;        /* read from the ring */
	uint64_t data_bytes;     /* that they stand for */
	uint64_t captured_bytes; /* that they carried */
	uint64_t message_bytes;  /* became part of HTTP messages, of HTTP/2 of any frame */
	uint64_t tunnel_bytes;   /* after 101 or CONNECT, those of WebSockets included */
	uint64_t skipped_bytes;  /* before the first message or after a parse error, or on ignored connections */
	uint64_t gap_bytes;      /* known to be missing */
	uint64_t gaps;
	uint64_t overlaps; /* records for bytes that were already there, or already given up as a gap */
	uint64_t forced;   /* waits that ended without what was waited for */
	uint64_t parse_errors;
	uint64_t evicted;          /* connections given up for want of room */
	uint64_t conns;            /* followed now */
	uint64_t exchanges;        /* handed out, finished */
	uint64_t uncaptured_bytes; /* that records stand for but could not carry */
	uint64_t overlap_bytes;    /* in overlaps, not used */
	uint64_t waiting_bytes;    /* in records that wait now */
	uint64_t dropped_bytes;    /* in records of connections that there was no memory for */
	uint64_t malformed;        /* records that break the event contract, dropped and counted nowhere else */
	uint64_t file_calls;       /* of sendfile whose bytes could be read from the file */
	uint64_t file_bytes;       /* that were */
	uint64_t file_lost_calls;  /* of sendfile whose bytes could not be read any more */
	uint64_t file_lost_bytes;  /* that were not */
	uint64_t raw_bytes;        /* handed out by ps_capture_next_event() */
	uint64_t messages;         /* of WebSocket, SSE, gRPC: handed out */
};

/* Reads the ring buffer and yields exchanges and messages. One thread only. */
struct ps_capture;

/*
 * NULL, with errno set, when the ring cannot be mapped or memory is short. The descriptors stay the caller's. Of a
 * recording the same items come in the same order as when it was made.
 */
struct ps_capture *ps_capture_new(const struct ps_capture_options *options);
void ps_capture_free(struct ps_capture *capture);

/*
 * The next finished exchange, started exchange or message, or NULL when the ring
 * holds no more for now. Valid until the next call.
 */
const struct ps_item *ps_capture_next(struct ps_capture *capture);

/*
 * Instead of exchanges: the next record as the probes sent it, checked against
 * the event contract, with event->captured_len bytes behind it. NULL when the
 * ring holds no more for now. Valid until the next call.
 */
const struct ps_event *ps_capture_next_event(struct ps_capture *capture);

/*
 * Records were lost, and the ring holds no more: find out from the probes which
 * connections have ended meanwhile. Takes time in proportion to the connections.
 */
void ps_capture_settle(struct ps_capture *capture);

/*
 * Keep other than so far of bodies, from now on; with 0 the probes copy as little as possible of them. Takes time in
 * proportion to the connections.
 */
void ps_capture_limit_bodies(struct ps_capture *capture, uint64_t body_bytes_max);

/* The capture ends: whatever is still open comes out of ps_capture_next() marked PS_MESSAGE_UNFINISHED. */
void ps_capture_finish(struct ps_capture *capture);

struct ps_capture_stats ps_capture_stats(const struct ps_capture *capture);

/*
 * Of a recording of items: before one is shown, so that ps_capture_executable() knows of its processes; and after it
 * was, with what was looked up for it recorded before it.
 */
void ps_capture_before_item(struct ps_capture *capture, const struct ps_item *item);
void ps_capture_record_item(struct ps_capture *capture, const struct ps_item *item);

/* Record something for those who replay: see struct ps_note. At most 64 KiB of key and value. */
void ps_capture_record_note(struct ps_capture *capture, bool is_report, struct ps_slice key, struct ps_slice value);

/*
 * Of a recording: the note that is next, when ps_capture_next() or ps_capture_next_event() gave NULL; else NULL. What
 * comes behind it waits until this has been called once more, and given NULL. Valid until then.
 */
const struct ps_note *ps_capture_note(struct ps_capture *capture);

/* Of a recording, and when recording: the path of a process's executable, NULL when it is not known. */
const char *ps_capture_executable(const struct ps_capture *capture, uint32_t tgid);

/* Of a recording: how far it has been read, CLOCK_MONOTONIC of the run that made it. */
uint64_t ps_capture_replayed_ns(const struct ps_capture *capture);

/*
 * Whether the ring holds a record that ps_capture_next() has not read: it returns after reading one ring's size. Of a
 * recording: whether there may be more of it.
 */
bool ps_capture_pending(struct ps_capture *capture);

/* Whether records wait for earlier ones: call ps_capture_next() again within 100 ms. */
bool ps_capture_waiting(const struct ps_capture *capture);

/* Reads the ring buffer `notices`. */
struct ps_notices;

/* NULL, with errno set, when the ring cannot be mapped or memory is short. The descriptor stays the caller's. */
struct ps_notices *ps_notices_new(int32_t map_fd, uint64_t ring_bytes);
void ps_notices_free(struct ps_notices *notices);

/* The next notice; false when there is none for now. Until the next call it stays in the ring, for another reader. */
bool ps_notices_next(struct ps_notices *notices, struct ps_notice *notice);

/* Close count descriptors, which become the callee's, without waiting for it if threads can be had. */
void ps_close_later(const int32_t *fds, uint32_t count);

/* Wait until all of them are closed. */
void ps_close_wait(void);

enum { PS_CODINGS_MAX = 5 };

enum ps_content_state {
	PS_CONTENT_PLAIN = 0,     /* there is no coding, or no body */
	PS_CONTENT_COMPLETE = 1,  /* decoded to the end */
	PS_CONTENT_TRUNCATED = 2, /* what is kept of the body ends before the coding does */
	PS_CONTENT_LIMIT = 3,     /* decoding was stopped: more than total_max bytes, or too many for so small a body */
	PS_CONTENT_ERROR = 4,     /* malformed after the bytes that are here */
	PS_CONTENT_NONE = 5       /* bytes are those of the body: an unknown coding, or malformed from the start */
};

/* A body without the codings of Content-Encoding and Transfer-Encoding, and text in another charset as UTF-8. */
struct ps_content {
	struct ps_slice bytes;
	uint64_t size_bytes;        /* when it is PS_CONTENT_COMPLETE: of the whole, even when not all are in bytes */
	struct ps_slice codings[5]; /* names as they were sent, in the order in which they were applied */
	uint32_t coding_count;      /* at most PS_CODINGS_MAX; of more, none is undone */
	uint32_t state;             /* enum ps_content_state */
	const char *charset;        /* that text was converted from, in lower case; NULL: none was converted */
	struct ps_slice text;       /* bytes in UTF-8; of a last character that is not whole, nothing */
	uint32_t is_text_invalid;   /* 1: bytes that stand for nothing in the charset are in text as they are */
	uint32_t redacted;          /* how many values are masked in them, see plainsight_secrets.h */
};

/* Undoes codings and converts charsets, in memory that it uses again. */
struct ps_decoder;

/* NULL when memory is short. */
struct ps_decoder *ps_decoder_new(void);
void ps_decoder_free(struct ps_decoder *decoder);

/* False when a body has nothing that ps_decode() would undo or convert, which is quicker to find out. */
bool ps_is_encoded(const struct ps_message *message);

/*
 * The content of a message: at most keep_max bytes of it, and with total_max
 * larger than that the ones behind it counted up to there. Valid until the
 * next call, and as long as the message is.
 */
const struct ps_content *ps_decode(struct ps_decoder *decoder, const struct ps_message *message, uint64_t keep_max,
				   uint64_t total_max);

/*
 * Value of a parameter, such as charset, in a header value that ends in such (RFC 9110 5.6.6); that of a quoted
 * string is what is between its quotes. False when there is none.
 */
bool ps_parameter(const struct ps_slice *value, const char *name, struct ps_slice *found);

/* How many of the first len bytes of data pass: passes[byte] is 1 for those that do, else 0; 256 entries. */
size_t ps_span(const char *data, size_t len, const uint8_t *passes);

enum ps_protobuf_kind {
	PS_PROTOBUF_VARINT = 0,
	PS_PROTOBUF_FIXED64 = 1,
	PS_PROTOBUF_BYTES = 2,   /* a string, bytes, packed numbers: without a schema nobody knows */
	PS_PROTOBUF_MESSAGE = 3, /* the fields that follow, to PS_PROTOBUF_END, are part of this one */
	PS_PROTOBUF_END = 4,
	PS_PROTOBUF_FIXED32 = 5
};

/* One field of a message of Protocol Buffers. */
struct ps_protobuf_field {
	uint32_t number;
	uint32_t kind;         /* enum ps_protobuf_kind */
	uint64_t value;        /* of a number, its bits */
	struct ps_slice bytes; /* PS_PROTOBUF_BYTES */
};

/*
 * The fields of a message whose schema is not known, up to max of them, as
 * protoc --decode_raw reads it: what can be a message within is taken for one,
 * to a depth of ten. is_part: the bytes end before the message does. Returns how
 * many there are; 0 when the bytes are no message or an empty one.
 */
uint32_t ps_protobuf_read(const char *data, size_t len, bool is_part, struct ps_protobuf_field *fields, uint32_t max);

/* Value of the first header of that name, whatever its case; NULL when there is none or it is empty. */
const struct ps_slice *ps_header_value(const struct ps_message *message, const char *name);
/*
 * A digest of bytes that is the same on every machine, for identifiers: SipHash-2-4 of 128 bits with a fixed key. Who
 * knows the key can make collisions.
 */
void ps_digest(const char *data, size_t len, uint8_t digest[16]);
/* cdef end */

#endif
