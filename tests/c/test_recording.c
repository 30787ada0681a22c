/* SPDX-License-Identifier: Apache-2.0 */
/*
 * src/recorder.c, recording.c, replay.c and what goes with them: what a capture
 * over a ring made by hand gives, its recording gives again; recordings that
 * end early, are damaged or lie.
 */
#include "fake_ring.h"
#include "../../src/event_filter.h"
#include "../../src/plainsight.h"
#include "../../src/recorded_item.h"
#include "../../src/recorder.h"
#include "../../src/recording.h"
#include "tap.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <zstd.h>

#define START "{\"tool\":\"test\"}"
enum { TEXT_MAX = 1 << 16, BODY_MAX = 100000 };

/* --- what comes out, as text --------------------------------------------- */

struct text {
	size_t len;
	char data[TEXT_MAX];
};

__attribute__((format(printf, 2, 3))) static void put(struct text *text, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text->len += (size_t)vsnprintf(text->data + text->len, sizeof(text->data) - text->len, format, args);
	va_end(args);
	if (text->len >= sizeof(text->data))
		abort();
}

static void put_slice(struct text *text, const struct ps_slice *slice)
{
	put(text, " %.*s", (int)slice->len, slice->data ? slice->data : "");
}

static void put_message(struct text *text, const struct ps_capture *capture, const struct ps_message *message)
{
	const char *executable = ps_capture_executable(capture, message->process.tgid);

	put_slice(text, &message->method);
	put_slice(text, &message->target);
	put(text, " %u flags %x body %llu gap %llu state %u ts %llu %llu", message->status, message->flags,
	    (unsigned long long)message->body.size_bytes, (unsigned long long)message->body.gap_bytes,
	    message->body.state, (unsigned long long)message->first_ts_ns, (unsigned long long)message->last_ts_ns);
	put(text, " by %u %s %s\n", message->process.tgid, message->process.comm, executable ? executable : "-");
}

static void put_item(struct text *text, const struct ps_capture *capture, const struct ps_item *item)
{
	const struct ps_exchange *ex = item->exchange;

	put(text, "%u exchange %llu conn %llu flags %x library %u port %u", item->kind, (unsigned long long)ex->id,
	    (unsigned long long)ex->conn_id, ex->flags, ex->library, ex->local.port);
	put_slice(text, &ex->unix_path);
	put(text, "\n");
	put_message(text, capture, &ex->request);
	put_message(text, capture, &ex->response);
}

/* All items that there are for now, up to count. */
static void put_items(struct text *text, struct ps_capture *capture, int count)
{
	const struct ps_item *item;

	while (count-- > 0 && (item = ps_capture_next(capture)) != NULL)
		put_item(text, capture, item);
}

static void put_note(struct text *text, const struct ps_note *note)
{
	put(text, "%s", note->is_report ? "report" : "fact");
	put_slice(text, &note->key);
	put_slice(text, &note->value);
	put(text, "\n");
}

static void put_stats(struct text *text, const struct ps_capture *capture)
{
	struct ps_capture_stats stats = ps_capture_stats(capture);
	const uint64_t *counters = (const uint64_t *)&stats;

	for (size_t i = 0; i < sizeof(stats) / sizeof(*counters); i++)
		put(text, "%llu ", (unsigned long long)counters[i]);
	put(text, "\n");
}

/* --- recordings ----------------------------------------------------------- */

static int new_file(void)
{
	int fd = memfd_create("recording", 0);

	if (fd < 0)
		abort();
	return fd;
}

static struct ps_recorder *new_recorder(int fd)
{
	struct ps_recorder *recorder = ps_recorder_new(fd, false, START, sizeof(START) - 1);

	if (!recorder)
		abort();
	return recorder;
}

static struct ps_capture_options options_with_limits(void)
{
	return (struct ps_capture_options){.events_fd = -1,
					   .conns_fd = -1,
					   .skips_fd = -1,
					   .ring_bytes = RING_BYTES,
					   .head_bytes_max = 4096,
					   .body_bytes_max = BODY_MAX,
					   .pipeline_max = 16,
					   .conns_max = 16,
					   .held_bytes_max = 1 << 20};
}

/* From its beginning. NULL with errno when it cannot be opened. */
static struct ps_recording *open_recording(int fd)
{
	lseek(fd, 0, SEEK_SET);
	return ps_recording_open(fd);
}

/* A replay of what is in fd, as text: items and notes in their order, then the counters; returns the state at its end.
 */
static enum ps_recording_state replay_with(struct text *text, int fd, const struct ps_event_filter *filter,
					   uint64_t body_bytes_max)
{
	struct ps_recording *recording = open_recording(fd);
	struct ps_capture_options options = options_with_limits();
	struct ps_capture *capture;
	const struct ps_note *note;
	enum ps_recording_state state;

	text->len = 0;
	text->data[0] = '\0';
	if (!recording)
		return PS_RECORDING_DAMAGED;
	options.recording = recording;
	options.filter = filter;
	options.body_bytes_max = body_bytes_max;
	capture = ps_capture_new(&options);
	do {
		put_items(text, capture, INT32_MAX);
		while ((note = ps_capture_note(capture)) != NULL)
			put_note(text, note);
	} while (ps_capture_pending(capture));
	ps_capture_finish(capture);
	put_items(text, capture, INT32_MAX);
	put_stats(text, capture);
	ps_capture_free(capture);
	state = ps_recording_state(recording);
	ps_recording_free(recording);
	return state;
}

static enum ps_recording_state replay(struct text *text, int fd)
{
	return replay_with(text, fd, NULL, BODY_MAX);
}

/* --- events --------------------------------------------------------------- */

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* An event of connection id of this process; the payload follows. */
static struct ps_event event_of(uint64_t id, uint8_t type, uint8_t direction, uint64_t pos, uint64_t other_pos,
				size_t len)
{
	return (struct ps_event){
	    .ts_ns = monotonic_ns(),
	    .conn_id = id,
	    .socket_id = id,
	    .sock = 0xffff888000000000ULL + id * 64,
	    .type = type,
	    .direction = direction,
	    .pos = pos,
	    .other_pos = other_pos,
	    .len = (uint32_t)len,
	    .captured_len = (uint32_t)len,
	    .flags = PS_EVENT_KERNEL_POS,
	    .process = {.tgid = (uint32_t)getpid(), .tid = (uint32_t)getpid(), .uid = 7, .comm = "test"},
	    .local = {.port = (uint16_t)(8000 + id), .family = PS_FAMILY_INET},
	    .remote = {.port = 40000, .family = PS_FAMILY_INET},
	};
}

enum { RECORD_REST = 24 }; /* a record has more room than it needs */

struct record {
	struct ps_event event;
	uint8_t payload[sizeof(struct ps_file_ref) + RECORD_REST];
};

static struct record record_of(struct ps_event event, const void *payload)
{
	struct record record = {.event = event};

	memcpy(record.payload, payload, event.captured_len);
	return record;
}

static void submit(struct fake *fake, const struct record *record)
{
	fake_submit(fake, record, (uint32_t)sizeof(record->event) + record->event.captured_len + RECORD_REST, 0);
}

static void submit_text(struct fake *fake, uint64_t id, uint8_t direction, uint64_t pos, uint64_t other,
			const char *text)
{
	struct record record = record_of(event_of(id, PS_EVENT_DATA, direction, pos, other, strlen(text)), text);

	submit(fake, &record);
}

static void submit_bare(struct fake *fake, uint64_t id, uint8_t type, uint64_t pos, uint64_t other)
{
	struct record record = {.event = event_of(id, type, PS_IN, pos, other, 0)};

	submit(fake, &record);
}

#define GET "GET /%s HTTP/1.1\r\n\r\n"
#define OK  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* One exchange, of which the connection has had before[2] bytes. */
static void submit_exchange(struct fake *fake, uint64_t id, uint64_t before[2], const char *target)
{
	char request[64];

	snprintf(request, sizeof(request), GET, target);
	submit_text(fake, id, PS_IN, before[PS_IN], before[PS_OUT], request);
	before[PS_IN] += strlen(request);
	submit_text(fake, id, PS_OUT, before[PS_OUT], before[PS_IN], OK);
	before[PS_OUT] += strlen(OK);
}

/* sendfile sends the content of fd, which is file_bytes long, from offset 0. */
static void submit_file(struct fake *fake, uint64_t id, int fd, uint64_t pos, uint64_t other, uint32_t file_bytes,
			uint64_t inode)
{
	struct ps_file_ref ref = {.inode = inode, .file_bytes = file_bytes, .fd = (uint32_t)fd};
	struct record record = record_of(event_of(id, PS_EVENT_FILE, PS_OUT, pos, other, sizeof(ref)), &ref);

	record.event.len = file_bytes;
	record.event.ts_ns += 1000000000ULL; /* long after the file has changed */
	submit(fake, &record);
}

/* --- the same again ------------------------------------------------------- */

struct live {
	struct fake fake;
	struct ps_recorder *recorder;
	struct ps_capture *capture;
	int fd;
	struct text text;
};

static struct live *begin(void)
{
	struct live *live = calloc(1, sizeof(*live));
	struct ps_capture_options options = options_with_limits();

	live->fake = fake_new();
	live->fd = new_file();
	live->recorder = new_recorder(live->fd);
	options.events_fd = live->fake.fd;
	options.recorder = live->recorder;
	live->capture = ps_capture_new(&options);
	if (!live->capture)
		abort();
	return live;
}

static void note(struct live *live, bool is_report, const char *key, const char *value)
{
	struct ps_note note = {.key = {key, strlen(key)}, .value = {value, strlen(value)}, .is_report = is_report};

	ps_capture_record_note(live->capture, is_report, note.key, note.value);
	put_note(&live->text, &note);
}

static void items(struct live *live, int count)
{
	put_items(&live->text, live->capture, count);
}

/* Finish, and compare with the replay. */
static void end(struct live *live, const char *name)
{
	struct text *again = calloc(1, sizeof(*again));

	ps_capture_finish(live->capture);
	items(live, INT32_MAX);
	put_stats(&live->text, live->capture);
	ps_recorder_end(live->recorder);
	tap_ok(replay(again, live->fd) == PS_RECORDING_ENDED, name);
	if (!tap_ok(live->text.len > 0 && strcmp(live->text.data, again->data) == 0, name))
		printf("# live:\n%s# replay:\n%s", live->text.data, again->data);
	free(again);
}

static void free_live(struct live *live)
{
	ps_capture_free(live->capture);
	ps_recorder_free(live->recorder);
	fake_free(&live->fake);
	close(live->fd);
	free(live);
}

static void test_exchanges(void)
{
	struct live *live = begin();
	uint64_t one[2] = {0, 0}, two[2] = {0, 0};
	struct record bad = {.event = event_of(9, 99, PS_IN, 0, 0, 0)};

	note(live, false, "library 1", "{}");
	submit_exchange(&live->fake, 1, one, "a");
	submit_exchange(&live->fake, 2, two, "b");
	submit_exchange(&live->fake, 1, one, "c");
	submit(&live->fake, &bad);
	fake_submit(&live->fake, &bad, 3, 0);
	items(live, 2);
	note(live, true, "stats", "after two");
	items(live, INT32_MAX);
	submit_bare(&live->fake, 2, PS_EVENT_CLOSE, two[PS_IN], two[PS_OUT]);
	submit_text(&live->fake, 1, PS_IN, one[PS_IN], one[PS_OUT], "GET /open HTTP/1.1\r\n\r\n");
	items(live, INT32_MAX);
	submit_bare(&live->fake, 0, PS_EVENT_EXIT, 0, 0);
	items(live, INT32_MAX);
	end(live, "replay: exchanges, notes, malformed records");
	free_live(live);
}

/* What waits is ended by the clock, at a moment that no record tells of. */
static void test_waits(void)
{
	struct live *live = begin();
	uint64_t one[2] = {0, 0};
	struct timespec pause = {.tv_nsec = 150 * 1000000L};

	submit_exchange(&live->fake, 1, one, "a");
	one[PS_IN] += 50; /* lost */
	submit_exchange(&live->fake, 1, one, "behind-a-hole");
	items(live, INT32_MAX);
	nanosleep(&pause, NULL);
	items(live, INT32_MAX);
	tap_ok(strstr(live->text.data, "behind-a-hole") != NULL, "replay: the clock has ended a wait");
	submit_exchange(&live->fake, 1, one, "later");
	items(live, INT32_MAX);
	end(live, "replay: waits end where they did");
	free_live(live);
}

/* Asked about connections while items are still to be handed out. */
static void test_settle_between_items(void)
{
	struct live *live = begin();
	uint64_t one[2] = {0, 0}, two[2] = {0, 0};

	for (int i = 0; i < 3; i++) {
		submit_exchange(&live->fake, 1, one, "x");
		submit_exchange(&live->fake, 2, two, "y");
	}
	items(live, 1);
	ps_capture_settle(live->capture);
	note(live, true, "stats", "in between");
	items(live, 1);
	ps_capture_settle(live->capture);
	note(live, false, "fact", "of the next");
	items(live, INT32_MAX);
	end(live, "replay: what happened between items");
	free_live(live);
}

static void test_file(void)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 120000\r\n\r\n";
	struct live *live = begin();
	struct text *again = calloc(1, sizeof(*again));
	uint64_t pos = sizeof(head) - 1, inode;
	int fd = new_file();
	struct timespec pause = {.tv_nsec = 30 * 1000000L};
	struct stat status;

	for (int i = 0; i < 120000 / 8; i++)
		dprintf(fd, "%07d\n", i);
	if (fstat(fd, &status) != 0)
		abort();
	inode = status.st_ino;
	nanosleep(&pause, NULL);
	submit_text(&live->fake, 1, PS_IN, 0, 0, "GET /file HTTP/1.1\r\n\r\n");
	submit_text(&live->fake, 1, PS_OUT, 0, 22, head);
	submit_file(&live->fake, 1, fd, pos, 22, 120000, inode);
	items(live, INT32_MAX);
	submit_text(&live->fake, 1, PS_IN, 22, pos + 120000, "GET /gone HTTP/1.1\r\n\r\n");
	submit_text(&live->fake, 1, PS_OUT, pos + 120000, 44, head);
	submit_file(&live->fake, 1, fd, pos + 120000 + pos, 44, 120000, inode + 1);
	items(live, INT32_MAX);
	end(live, "replay: bodies from files");
	tap_ok(ps_capture_stats(live->capture).file_bytes == BODY_MAX + 1, "replay: one file was read");
	tap_ok(ps_capture_stats(live->capture).file_lost_calls == 1, "replay: the other was another one");
	replay_with(again, live->fd, NULL, 10);
	tap_ok(strstr(again->data, "body 120000 gap 0 state 1") != NULL, "replay: less of a body is kept");
	close(fd);
	free(again);
	free_live(live);
}

/* Other than at first is kept of bodies while items wait, and again later. */
static void test_limit_bodies(void)
{
	struct live *live = begin();
	struct text *again = calloc(1, sizeof(*again));
	uint64_t one[2] = {0, 0};

	submit_exchange(&live->fake, 1, one, "whole");
	submit_exchange(&live->fake, 1, one, "whole-too");
	items(live, 1);
	ps_capture_limit_bodies(live->capture, 0);
	items(live, INT32_MAX);
	submit_exchange(&live->fake, 1, one, "without");
	items(live, INT32_MAX);
	ps_capture_limit_bodies(live->capture, BODY_MAX);
	submit_exchange(&live->fake, 1, one, "again");
	items(live, INT32_MAX);
	tap_ok(strstr(live->text.data, "body 2 gap 0 state 0") && strstr(live->text.data, "body 2 gap 0 state 1"),
	       "limit: bodies with and without bytes");
	end(live, "replay: what is kept of bodies changes where it did");
	replay_with(again, live->fd, NULL, 1);
	tap_ok(!strstr(again->data, "body 2 gap 0 state 0"), "limit: a smaller one of the replay holds");
	free(again);
	free_live(live);
}

/* --- events by themselves -------------------------------------------------- */

/* An event of which every byte has a value of its own. */
static struct record patterned(uint8_t type)
{
	struct record record;

	for (size_t i = 0; i < sizeof(record); i++)
		((uint8_t *)&record)[i] = (uint8_t)(i * 7 + 1);
	record.event.type = type;
	record.event.direction = PS_OUT;
	record.event.captured_len = 5;
	record.event.len = 77;
	record.event.pos = 0x0123456789abcdef;
	record.event.other_pos = 0x0fedcba987654321;
	memset(record.event.pad, 0, sizeof(record.event.pad));
	record.event.process.tgid = 0; /* no executable is looked for */
	record.event.process.comm[15] = '\0';
	return record;
}

/* Whoever gives struct ps_event another field has to record it (RECORDING_VERSION), or this fails. */
static void test_every_field(void)
{
	struct record record = patterned(PS_EVENT_DATA);
	int fd = new_file();
	struct ps_recorder *recorder = new_recorder(fd);
	struct ps_recording *recording;
	const struct recording_chunk_view *chunk;
	struct ps_event got = {.sock = 0};
	uint64_t sock = record.event.sock;

	recorder_record(recorder, &record, sizeof(record));
	recorder_record(recorder, &record, sizeof(record));
	ps_recorder_end(recorder);
	recording = open_recording(fd);
	chunk = recording ? recording_peek(recording) : NULL;
	if (tap_ok(chunk && chunk->type == RECORDING_EVENT, "event: recorded")) {
		const struct ps_event *event = recording_event(recording, chunk);

		memcpy(&got, event, sizeof(got));
		tap_ok(memcmp(event + 1, record.payload, 5) == 0, "event: payload");
		tap_ok(got.sock != sock && got.sock != 0, "event: no kernel address");
		record.event.sock = got.sock;
		tap_ok(memcmp(&got, &record.event, sizeof(got)) == 0, "event: every other byte");
		recording_advance(recording);
		chunk = recording_peek(recording);
		tap_ok(recording_event(recording, chunk)->sock == got.sock, "event: the same connection again");
	}
	ps_recording_free(recording);
	ps_recorder_free(recorder);
	close(fd);
}

/* What the probes knew of a connection, when they were asked after a loss. */
static void test_lookups(void)
{
	static const char request[] = "GET /open HTTP/1.1\r\n\r\n";
	struct record record = record_of(event_of(3, PS_EVENT_DATA, PS_IN, 0, 0, sizeof(request) - 1), request);
	struct conn conn = {.sock = record.event.sock, .id = 3};
	struct conn_end closed = {.pos = {sizeof(request) - 1, 41}, .closed = true};
	struct text *text = calloc(1, sizeof(*text));
	int fd = new_file();
	struct ps_recorder *recorder = new_recorder(fd);

	recorder_record(recorder, &record, sizeof(record));
	conn.id = 4;
	recorder_lookup(recorder, &conn, &closed);
	recorder_settle(recorder, 0);
	conn.id = 3;
	recorder_tick(recorder, record.event.ts_ns + 1);
	recorder_lookup(recorder, &conn, &closed);
	recorder_settle(recorder, 0);
	recorder_note(recorder, true, 1, (struct ps_slice){"after", 5}, (struct ps_slice){NULL, 0});
	ps_recorder_end(recorder);
	tap_ok(replay(text, fd) == PS_RECORDING_ENDED, "lookup: replayed");
	tap_ok(strstr(text->data, "/open") && strstr(text->data, "/open") < strstr(text->data, "report after"),
	       "lookup: what was known to be closed ends there");
	free(text);
	ps_recorder_free(recorder);
	close(fd);
}

static void test_filter(void)
{
	uint16_t port = 8001;
	uint32_t pid = (uint32_t)getpid(), other = pid + 1;
	struct ps_event event = event_of(1, PS_EVENT_DATA, PS_IN, 0, 0, 0);
	struct ps_event_filter filter = {.capture = PS_CAPTURE_PLAIN};

	tap_ok(event_filter_passes(NULL, &event) && event_filter_passes(&filter, &event), "filter: nothing asked for");
	event.library = 1;
	tap_ok(!event_filter_passes(&filter, &event), "filter: no TLS");
	filter.capture = PS_CAPTURE_TLS;
	tap_ok(event_filter_passes(&filter, &event), "filter: TLS");
	event.library = 0;
	tap_ok(!event_filter_passes(&filter, &event), "filter: TLS alone");
	filter = (struct ps_event_filter){
	    .capture = PS_CAPTURE_PLAIN, .filters = PS_FILTER_TGID, .pids = &other, .pid_count = 1};
	tap_ok(!event_filter_passes(&filter, &event), "filter: another process");
	event.type = PS_EVENT_CLOSE;
	tap_ok(event_filter_passes(&filter, &event), "filter: whoever closes it");
	event.type = PS_EVENT_DATA;
	filter.pids = &pid;
	tap_ok(event_filter_passes(&filter, &event), "filter: process");
	filter = (struct ps_event_filter){
	    .capture = PS_CAPTURE_PLAIN, .filters = PS_FILTER_PORT, .ports = &port, .port_count = 1};
	tap_ok(event_filter_passes(&filter, &event), "filter: port");
	port = 40000;
	tap_ok(event_filter_passes(&filter, &event), "filter: port of the peer");
	port = 1;
	tap_ok(!event_filter_passes(&filter, &event), "filter: another port");
	filter = (struct ps_event_filter){.capture = PS_CAPTURE_PLAIN, .filters = PS_FILTER_UID, .uid = 8};
	tap_ok(!event_filter_passes(&filter, &event), "filter: another user");
	filter = (struct ps_event_filter){.capture = PS_CAPTURE_PLAIN, .filters = PS_FILTER_COMM, .comm = "tes"};
	tap_ok(!event_filter_passes(&filter, &event), "filter: another name");
	memcpy(filter.comm, "test", 4);
	tap_ok(event_filter_passes(&filter, &event), "filter: name");
}

/* --- recordings of items ---------------------------------------------------- */

#define SLICE(text) ((struct ps_slice){text, sizeof(text) - 1})

/* An exchange of which every field has a value of its own. */
static struct ps_exchange full_exchange(const struct ps_header *headers, const struct ps_tls_info *tls)
{
	struct ps_message request = {
	    .method = SLICE("PUT"),
	    .target = SLICE("/t"),
	    .reason = SLICE("r"),
	    .scheme = SLICE("https"),
	    .authority = SLICE("a:1"),
	    .protocol = SLICE("p"),
	    .headers = headers,
	    .trailers = headers + 2,
	    .header_count = 2,
	    .trailer_count = 1,
	    .status = 201,
	    .version_major = 2,
	    .version_minor = 3,
	    .flags = PS_MESSAGE_COMPLETE | 1U << 31,
	    .body = {.kept = SLICE("body"),
		     .size_bytes = 1ULL << 40,
		     .gap_offset = 5,
		     .gap_bytes = 6,
		     .state = PS_BODY_GAP,
		     .framing = PS_FRAMING_H2},
	    .head_bytes = 7,
	    .wire_bytes = 8,
	    .first_ts_ns = 9,
	    .last_ts_ns = 10,
	    .process = {.cgroup_id = 11, .tgid = 12, .tid = 13, .uid = 14, .ns_tgid = 42, .comm = "comm"},
	};
	struct ps_exchange exchange = {
	    .id = 15,
	    .conn_id = UINT64_MAX,
	    .flags = PS_EXCHANGE_REQUEST | PS_EXCHANGE_RESPONSE,
	    .side = PS_SIDE_SERVER,
	    .local = {.addr = "0123456789abcde", .port = 16, .family = PS_FAMILY_INET6},
	    .remote = {.addr = "fedcba987654321", .port = 17, .family = PS_FAMILY_INET6},
	    .unix_path = SLICE("/socket"),
	    .socket_id = 18,
	    .fd = 19,
	    .library = 20,
	    .resolved = PS_RESOLVED_ADJACENT,
	    .tls = tls,
	    .handshake_ns = 21,
	    .request = request,
	    .response = request,
	    .interim = {100, 103},
	    .interim_count = 2,
	    .stream_id = 22,
	    .error_code = 23,
	    .protocol = PS_STREAM_GRPC,
	    .request_messages = 24,
	    .response_messages = 25,
	    .web_trailers = SLICE("grpc-status: 0"),
	};

	exchange.response.headers = headers + 1;
	exchange.response.header_count = 1;
	exchange.response.trailer_count = 0;
	return exchange;
}

static const struct ps_header headers[] = {{SLICE("one"), SLICE("1"), 0, 0},
					   {SLICE("two"), {NULL, 0}, PS_HEADER_VALUE_UNKNOWN, 0},
					   {SLICE("three"), SLICE("3"), 0, 0}};
static const struct ps_tls_info tls = {
    .protocol = 0x304, .cipher = 1, .server_name = "s", .alpn = "h2", .alpn_offered = "h2,x"};

static bool same_slice(struct ps_slice one, struct ps_slice other)
{
	return one.len == other.len && (one.len == 0 || memcmp(one.data, other.data, one.len) == 0);
}

static bool same_headers(const struct ps_header *one, const struct ps_header *other, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (!same_slice(one[i].name, other[i].name) || !same_slice(one[i].value, other[i].value) ||
		    one[i].flags != other[i].flags)
			return false;
	}
	return true;
}

/* Structs without pointers are compared as they are: all of their bytes but the slices and lists, which are replaced.
 */
static bool same_message(struct ps_message got, const struct ps_message *wanted)
{
	struct ps_slice *slices[] = {&got.method,    &got.target,   &got.reason,   &got.scheme,
				     &got.authority, &got.protocol, &got.body.kept};
	const struct ps_slice *others[] = {&wanted->method,    &wanted->target,   &wanted->reason,   &wanted->scheme,
					   &wanted->authority, &wanted->protocol, &wanted->body.kept};

	for (size_t i = 0; i < sizeof(slices) / sizeof(*slices); i++) {
		if (!same_slice(*slices[i], *others[i]))
			return false;
		*slices[i] = *others[i];
	}
	if (got.header_count != wanted->header_count || got.trailer_count != wanted->trailer_count ||
	    !same_headers(got.headers, wanted->headers, got.header_count) ||
	    !same_headers(got.trailers, wanted->trailers, got.trailer_count))
		return false;
	got.headers = wanted->headers;
	got.trailers = wanted->trailers;
	return memcmp(&got, wanted, sizeof(got)) == 0;
}

/* Whoever gives one of the structs another field has to write and read it, or this fails. */
static bool same_exchange(struct ps_exchange got, const struct ps_exchange *wanted)
{
	if (!same_message(got.request, &wanted->request) || !same_message(got.response, &wanted->response) ||
	    !same_slice(got.unix_path, wanted->unix_path) || !same_slice(got.web_trailers, wanted->web_trailers) ||
	    memcmp(got.tls, wanted->tls, sizeof(*got.tls)) != 0)
		return false;
	got.request = wanted->request;
	got.response = wanted->response;
	got.unix_path = wanted->unix_path;
	got.web_trailers = wanted->web_trailers;
	got.tls = wanted->tls;
	return memcmp(&got, wanted, sizeof(got)) == 0;
}

static void test_item_fields(void)
{
	struct ps_exchange exchange = full_exchange(headers, &tls);
	struct ps_stream_message message = {
	    .protocol = PS_STREAM_SSE,
	    .type = PS_STREAM_EVENT,
	    .direction = PS_OUT,
	    .flags = PS_STREAM_UNFINISHED,
	    .body = {.kept = SLICE("data"),
		     .size_bytes = 30,
		     .gap_offset = 31,
		     .gap_bytes = 32,
		     .state = PS_BODY_TRUNCATED,
		     .framing = 0},
	    .name = SLICE("name"),
	    .event_id = SLICE("id"),
	    .wire_bytes = 33,
	    .first_ts_ns = 34,
	    .last_ts_ns = 35,
	    .process = {.cgroup_id = 36, .tgid = 37, .tid = 38, .uid = 39, .ns_tgid = 43, .comm = "other"},
	    .frames = 40,
	    .close_code = 41,
	};
	struct ps_item item = {.kind = PS_ITEM_MESSAGE, .exchange = &exchange, .message = &message};
	struct item_bytes bytes = {.data = NULL};
	struct recorded_item read = {.headers = NULL};
	bool is_refused = true;

	recorded_item_write(&bytes, &item);
	tap_ok(recorded_item_read(&read, bytes.data, bytes.len) && read.item.kind == PS_ITEM_MESSAGE, "item: read");
	tap_ok(same_exchange(*read.item.exchange, &exchange), "item: every field of an exchange");
	tap_ok(same_slice(read.message.name, message.name) && same_slice(read.message.event_id, message.event_id) &&
		   same_slice(read.message.body.kept, message.body.kept),
	       "item: slices of a message");
	read.message.name = message.name;
	read.message.event_id = message.event_id;
	read.message.body.kept = message.body.kept;
	tap_ok(memcmp(&read.message, &message, sizeof(message)) == 0, "item: every field of a message");
	for (size_t len = 0; len < bytes.len; len++) {
		uint8_t *part = malloc(len + 1); /* what is behind it is noticed by sanitizers */

		memcpy(part, bytes.data, len);
		is_refused &= !recorded_item_read(&read, part, len);
		free(part);
	}
	tap_ok(is_refused, "item: any beginning of it is none");
	item_bytes_put(&bytes, "", 1);
	tap_ok(!recorded_item_read(&read, bytes.data, bytes.len), "item: nor is it with something behind it");
	recorded_item_free(&read);
	item_bytes_free(&bytes);
}

/* Small items and one that no chunk can hold, with notes between them. */
static void test_item_recording(void)
{
	struct ps_exchange exchange = full_exchange(headers, &tls);
	struct ps_item item = {.kind = PS_ITEM_EXCHANGE, .exchange = &exchange};
	struct text *text = calloc(1, sizeof(*text));
	size_t large_len = 1000000;
	char *large = calloc(1, large_len);
	int fd = new_file();
	struct ps_recorder *recorder = ps_recorder_new(fd, true, START, sizeof(START) - 1);
	struct ps_event_filter filter = {.capture = PS_CAPTURE_PLAIN};

	recorder_before_item(recorder, &item);
	recorder_item(recorder, &item);
	recorder_note(recorder, false, 1, SLICE("fact"), SLICE("x"));
	exchange.request.target = SLICE("/large");
	exchange.request.body =
	    (struct ps_body){.kept = {large, large_len}, .size_bytes = large_len, .framing = PS_FRAMING_LENGTH};
	recorder_item(recorder, &item);
	recorder_note(recorder, true, 2, SLICE("stats"), SLICE("y"));
	exchange.request.target = SLICE("/last");
	recorder_item(recorder, &item);
	ps_recorder_end(recorder);
	tap_ok(replay(text, fd) == PS_RECORDING_ENDED && text->len > 0, "items: replayed");
	tap_ok(strstr(text->data, "/t") < strstr(text->data, "fact fact x") &&
		   strstr(text->data, "fact fact x") < strstr(text->data, "/large") &&
		   strstr(text->data, "/large 201 flags 80000001 body 1000000 gap 0 state 0") <
		       strstr(text->data, "report stats y") &&
		   strstr(text->data, "report stats y") < strstr(text->data, "/last"),
	       "items: in their order, with notes between them");
	replay_with(text, fd, NULL, 1000);
	tap_ok(strstr(text->data, "/large 201 flags 80000001 body 1000000 gap 0 state 1") != NULL,
	       "items: less of a body");
	replay_with(text, fd, &filter, 1000);
	tap_ok(!strstr(text->data, "exchange") && strstr(text->data, "report"), "items: none of them is wanted");
	ps_recorder_free(recorder);
	free(large);
	free(text);
	close(fd);
}

/* --- files that are not whole ---------------------------------------------- */

static size_t size_of(int fd)
{
	return (size_t)lseek(fd, 0, SEEK_END);
}

/* A recording of two exchanges, each in a frame of its own. */
static int two_frames(size_t *first_end)
{
	struct live *live = begin();
	uint64_t one[2] = {0, 0};
	struct timespec pause = {.tv_nsec = 600 * 1000000L};
	int fd;

	submit_exchange(&live->fake, 1, one, "first");
	items(live, INT32_MAX);
	tap_ok(ps_recorder_flush(live->recorder), "flush: waits a little");
	nanosleep(&pause, NULL);
	*first_end = size_of(live->fd);
	tap_ok(!ps_recorder_flush(live->recorder), "flush: then it is written");
	for (int i = 0; i < 500 && ps_recorder_bytes(live->recorder) == *first_end; i++)
		nanosleep(&(struct timespec){.tv_nsec = 10 * 1000000L}, NULL);
	*first_end = size_of(live->fd);
	tap_ok(ps_recorder_bytes(live->recorder) == *first_end, "flush: size of the file");
	tap_ok(!ps_recorder_flush(live->recorder) && size_of(live->fd) == *first_end, "flush: nothing new");
	submit_exchange(&live->fake, 1, one, "second");
	items(live, INT32_MAX);
	ps_recorder_end(live->recorder);
	fd = dup(live->fd);
	free_live(live);
	return fd;
}

static int copy_of(int fd, size_t len)
{
	int copy = new_file();
	uint8_t *bytes = malloc(len);

	if (pread(fd, bytes, len, 0) != (ssize_t)len || write(copy, bytes, len) != (ssize_t)len)
		abort();
	free(bytes);
	return copy;
}

static void test_cut(void)
{
	struct text *text = calloc(1, sizeof(*text));
	size_t first_end, size;
	int whole = two_frames(&first_end);
	bool opens = true, replays = true, states = true;

	size = size_of(whole);
	for (size_t len = 0; len < size; len++) {
		int fd = copy_of(whole, len);
		enum ps_recording_state state = replay(text, fd);
		bool has_first = strstr(text->data, "/first") != NULL;

		opens &= text->len > 0 || len < first_end;
		replays &= has_first == (len >= first_end);
		replays &= strstr(text->data, "/second") == NULL;
		states &= text->len == 0 || state == PS_RECORDING_CUT;
		close(fd);
	}
	tap_ok(opens, "cut: at any length behind the first frame it can be opened");
	tap_ok(replays, "cut: what is in whole frames is replayed");
	tap_ok(states, "cut: and it is told");
	tap_ok(replay(text, whole) == PS_RECORDING_ENDED && strstr(text->data, "/second"), "cut: not at all");
	free(text);
	close(whole);
}

static void test_damage(void)
{
	struct text *text = calloc(1, sizeof(*text)), *good = calloc(1, sizeof(*good));
	size_t first_end, size;
	int whole = two_frames(&first_end);
	bool is_noticed = true;

	replay(good, whole);
	size = size_of(whole);
	for (size_t at = 0; at < size; at++) {
		int fd = copy_of(whole, size);
		uint8_t byte;
		enum ps_recording_state state;

		/* Eight bytes of the header mean nothing yet. */
		if (pread(fd, &byte, 1, (off_t)at) != 1)
			abort();
		byte ^= 0x55;
		if (pwrite(fd, &byte, 1, (off_t)at) != 1)
			abort();
		state = replay(text, fd);
		is_noticed &= state != PS_RECORDING_ENDED || strcmp(text->data, good->data) == 0;
		close(fd);
	}
	tap_ok(is_noticed, "damage: of any byte is told, or means nothing");
	free(text);
	free(good);
	close(whole);
}

static void test_open(void)
{
	int fd = new_file();
	struct ps_recorder *recorder;

	errno = 0;
	tap_ok(open_recording(fd) == NULL && errno == EINVAL, "open: nothing");
	dprintf(fd, "a text that is no recording at all");
	tap_ok(open_recording(fd) == NULL && errno == EINVAL, "open: something else");
	if (ftruncate(fd, 0) != 0)
		abort();
	lseek(fd, 0, SEEK_SET);
	recorder = new_recorder(fd);
	ps_recorder_free(recorder);
	if (pwrite(fd, "\2", 1, 6) != 1)
		abort();
	tap_ok(open_recording(fd) == NULL && errno == EPROTO, "open: another version");
	tap_ok(ps_recording_open(-1) == NULL && errno == EBADF, "open: no descriptor");
	ps_recording_free(NULL);
	ps_recorder_free(NULL);
	close(fd);
}

/* A recording with one frame of these chunks behind its beginning. */
static int file_of_chunks(const void *chunks, size_t len)
{
	int fd = new_file();
	uint8_t stored[4096];
	struct recording_frame frame = {.raw_bytes = (uint32_t)len};
	size_t size = ZSTD_compress(stored, sizeof(stored), chunks, len, 1);

	ps_recorder_free(new_recorder(fd));
	frame.stored_bytes = (uint32_t)size;
	if (ZSTD_isError(size) || write(fd, &frame, sizeof(frame)) != sizeof(frame) ||
	    write(fd, stored, size) != (ssize_t)size)
		abort();
	return fd;
}

struct lie {
	const char *name;
	uint8_t type;
	uint32_t len;
	bool is_damage;
};

static void test_lies(void)
{
	static const struct lie lies[] = {
	    {"an event without an event", RECORDING_EVENT, 8, true},
	    {"a chunk longer than its frame", RECORDING_FACT, 4000, true},
	    {"a chunk longer than any", RECORDING_FACT, UINT32_MAX, true},
	    {"a tick at the end of time", RECORDING_TICK, 8, true},
	    {"a tick without a time", RECORDING_TICK, 0, true},
	    {"a point that is too long", RECORDING_SETTLE, 16, true},
	    {"a limit that is too short", RECORDING_LIMIT, 8, true},
	    {"a note whose key is longer than it", RECORDING_FACT, 24, true},
	    {"a path longer than its chunk", RECORDING_EXECUTABLE, 16, true},
	    {"an item that is none", RECORDING_ITEM, 16, true},
	    {"an unknown type", 77, 0, true},
	    {"no type", 0, 0, true},
	    {"an unknown type that may be skipped", 200, 16, false},
	};
	struct text *text = calloc(1, sizeof(*text));

	for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		uint8_t chunks[64];
		struct recording_chunk chunk = {.type = lies[i].type, .len = lies[i].len};
		struct recording_chunk last = {.type = RECORDING_END};
		int fd;
		enum ps_recording_state state;

		memset(chunks, 0xff, sizeof(chunks));
		memcpy(chunks, &chunk, sizeof(chunk));
		memcpy(chunks + 24, &last, sizeof(last));
		fd = file_of_chunks(chunks, 32);
		state = replay(text, fd);
		tap_ok(state == (lies[i].is_damage ? PS_RECORDING_DAMAGED : PS_RECORDING_ENDED), lies[i].name);
		close(fd);
	}
	free(text);
}

static void test_write_error(void)
{
	int fds[2];
	struct ps_recorder *recorder;

	if (pipe(fds) != 0)
		abort();
	recorder = new_recorder(fds[1]);
	close(fds[1]);
	close(fds[0]);
	recorder_tick(recorder, 1);
	ps_recorder_end(recorder);
	tap_ok(ps_recorder_error(recorder) == EBADF, "write: the error is told");
	recorder_tick(recorder, 1);
	tap_ok(!ps_recorder_flush(recorder), "write: and nothing more is written");
	ps_recorder_free(recorder);
	tap_ok(ps_recorder_new(-1, false, START, sizeof(START) - 1) == NULL && errno == EBADF, "write: from the start");
}

int main(void)
{
	test_exchanges();
	test_waits();
	test_settle_between_items();
	test_file();
	test_limit_bodies();
	test_every_field();
	test_lookups();
	test_filter();
	test_item_fields();
	test_item_recording();
	test_cut();
	test_damage();
	test_open();
	test_lies();
	test_write_error();
	return tap_end();
}
