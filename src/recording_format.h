/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that --record writes: docs/recording.md. Little-endian, as the machines are that this runs on.
 *
 *	struct recording_header
 *	struct recording_frame, stored_bytes of zstd: raw_bytes of chunks	as often as there are frames
 *
 * A chunk is a struct recording_chunk, len bytes, and zeros up to a multiple of 8. Chunks do not cross frames.
 */
#ifndef PLAINSIGHT_RECORDING_FORMAT_H
#define PLAINSIGHT_RECORDING_FORMAT_H

#include <stdint.h>

#define RECORDING_MAGIC "PSREC" /* with its NUL: 6 bytes */

enum {
	RECORDING_VERSION = 1,
	RECORDING_FRAME_MAX = 1 << 20,       /* raw_bytes */
	RECORDING_FRAME_AIM = 256 * 1024,    /* so large a frame is written at once */
	RECORDING_CHUNK_MAX = 256 * 1024,    /* len */
	RECORDING_EXECUTABLES_MAX = 4096,    /* processes remembered; then all are forgotten */
	RECORDING_LOOKUPS_MAX = 1 << 20,     /* in a row */
	RECORDING_FILE_PIECE = 32768,        /* bytes in RECORDING_FILE_DATA */
	RECORDING_ITEM_PIECE = 128 * 1024,   /* bytes of an item in a chunk */
	RECORDING_TYPE_CAN_BE_SKIPPED = 0x80 /* a reader that does not know such a type goes on behind it */
};

enum recording_type {
	RECORDING_START = 1,     /* JSON: what the run was; the first chunk */
	RECORDING_EVENT = 2,     /* struct recorded_event and payload_len bytes */
	RECORDING_MALFORMED = 3, /* a record that broke the event contract */
	RECORDING_FILE = 4,      /* struct recorded_event: sendfile; FILE_DATA and FILE_END follow */
	RECORDING_FILE_DATA = 5, /* bytes of the file, those before that offset having come */
	RECORDING_FILE_END = 6,
	RECORDING_TICK = 7,        /* struct recorded_tick: the ring was empty, waits were ended */
	RECORDING_LOOKUP = 8,      /* struct recorded_lookup: for the next SETTLE, FINISH, or event of an exit */
	RECORDING_SETTLE = 9,      /* struct recorded_point: records had been lost, connections were asked about */
	RECORDING_FINISH = 10,     /* struct recorded_point: the capture ended */
	RECORDING_EXECUTABLE = 11, /* struct recorded_executable and its path */
	RECORDING_FACT = 12,       /* struct recorded_note, key, value: holds from here on */
	RECORDING_REPORT = 13,     /* the same, of the moment */
	RECORDING_END = 14,        /* the last chunk: the run ended by itself */
	RECORDING_ITEM_PART = 15,  /* bytes of an item that is larger than a chunk can be; RECORDING_ITEM follows */
	RECORDING_ITEM = 16,       /* an item (recorded_item.h), or its last bytes */
	RECORDING_LIMIT = 17       /* struct recorded_limit: from here on other than so far is kept of bodies */
};

struct recording_header {
	char magic[6];
	uint16_t version;
	uint8_t zero[8];
};

struct recording_frame {
	uint32_t stored_bytes; /* one frame of zstd, with its checksum */
	uint32_t raw_bytes;
};

struct recording_chunk {
	uint8_t type;
	uint8_t zero[3];
	uint32_t len;
};

struct recorded_endpoint {
	uint8_t addr[16];
	uint16_t port;
	uint16_t family;
};

/* As struct ps_event; the socket's address is replaced by a number that means nothing. */
struct recorded_event {
	uint64_t ts_ns;
	uint64_t conn_id;
	uint64_t conn_key;
	uint64_t pos;
	uint64_t other_pos;
	uint32_t len;
	uint32_t payload_len;
	uint8_t type;
	uint8_t direction;
	uint16_t flags;
	uint32_t fd;
	uint64_t socket_id;
	uint64_t elapsed_ns;
	uint16_t library;
	uint8_t resolved;
	uint8_t zero[5];
	uint64_t cgroup_id;
	uint32_t tgid;
	uint32_t tid;
	uint32_t uid;
	uint32_t ns_tgid;
	char comm[16];
	struct recorded_endpoint local;
	struct recorded_endpoint remote;
};

struct recorded_tick {
	uint64_t now_ns;
};

/* What the probes knew of a connection. */
struct recorded_lookup {
	uint64_t conn_key;
	uint64_t conn_id;
	uint64_t pos[2];
	uint32_t closed;
	uint32_t zero;
};

/* Between which items it was. */
struct recorded_point {
	uint64_t items; /* that had been handed out */
};

/* ps_capture_limit_bodies() was called. */
struct recorded_limit {
	uint64_t items; /* as in struct recorded_point */
	uint64_t body_bytes_max;
};

struct recorded_executable {
	uint32_t tgid;
	uint32_t path_len; /* 0: it could not be told any more */
};

struct recorded_note {
	uint64_t items; /* as in struct recorded_point */
	uint32_t key_len;
	uint32_t zero;
};

#endif
