/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of HTTP/1 and of HTTP/2 have in common: limits, context of a call, modes, counters. */
#ifndef PLAINSIGHT_HTTP_H
#define PLAINSIGHT_HTTP_H

#include "body_watch.h"
#include "plainsight.h"

struct http_limits {
	size_t head_bytes_max; /* of one message head and of one trailer section */
	size_t body_bytes_max; /* kept of one body; 0 keeps none; true sizes are counted anyway */
	uint32_t pipeline_max; /* HTTP/1: requests that wait for their response; HTTP/2: streams that are open. The
				  oldest is given up beyond it */
	const struct body_watch *watch; /* reads bodies that are longer than what is kept; NULL: nobody */
};

/* One thing that a connection hands out. */
struct http_item {
	enum ps_item_kind kind;
	struct ps_exchange *exchange;            /* NULL: there is nothing */
	const struct ps_stream_message *message; /* PS_ITEM_MESSAGE */
};

/* Progress of the connection as a whole. */
enum http_mode {
	HTTP_MODE_HTTP = 0,    /* messages are being read, of HTTP or of a WebSocket */
	HTTP_MODE_TUNNEL = 1,  /* 101 or CONNECT handed it over to something else; data is counted and dropped */
	HTTP_MODE_H2C = 3,     /* http1_conn.h only: 101 handed it over to HTTP/2, see http1_conn_upgrade() */
	HTTP_MODE_NOT_HTTP = 2 /* the first bytes were no HTTP, or too much was skipped without finding any */
};

/* Who moved the bytes and when. */
struct http_context {
	uint64_t ts_ns;
	uint64_t begin_ns;                /* when the call was entered; 0: not known */
	const struct ps_process *process; /* copied when needed */
	bool from_file;                   /* the bytes were read from the file that sendfile sent */
	bool unneeded;                    /* of a gap: not captured because no body would keep them */
};

/* Bytes fed or declared lost, by what became of them. The sum of the first four is what was fed. */
struct http_stats {
	uint64_t
	    message_bytes; /* in heads, bodies, trailers of reported or still open messages; all frames of HTTP/2 */
	uint64_t tunnel_bytes;
	uint64_t skipped_bytes; /* no part of a message that could be told: mid-stream, after a parse error */
	uint64_t gap_bytes;     /* declared lost */
	uint64_t parse_errors;  /* times that a direction lost its place */
};

#endif
