/* SPDX-License-Identifier: Apache-2.0 */
/*
 * src/ring.c and src/capture.c over a ring made by hand.
 */
#include "fake_ring.h"
#include "../../src/plainsight.h"
#include "../../src/ring.h"
#include "tap.h"

#include <errno.h>

/* --- ring.c --- */

static void test_open(void)
{
	struct fake fake = fake_new();
	struct ring ring;

	tap_ok(ring_open(&ring, fake.fd, RING_BYTES - 1) == -1 && errno == EINVAL, "size that is no power of two");
	tap_ok(ring_open(&ring, fake.fd, 0) == -1 && errno == EINVAL, "size of nothing");
	tap_ok(ring_open(&ring, fake.fd, fake.page / 2) == -1 && errno == EINVAL, "size of less than a page");
	ring_close(&ring);
	tap_ok(ring_open(&ring, -1, RING_BYTES) == -1 && errno == EBADF, "no descriptor");
	ring_close(&ring);
	tap_ok(ring_open(&ring, fake.fd, RING_BYTES) == 0, "open");
	ring_close(&ring);
	ring_close(&ring);
	tap_ok(ring.data == NULL, "closed twice");
	fake_free(&fake);
}

static void test_order(void)
{
	struct fake fake = fake_new();
	struct ring ring;
	unsigned long busy;
	const char *record;
	size_t len = 0;

	if (ring_open(&ring, fake.fd, RING_BYTES) != 0)
		abort();
	tap_ok(ring_peek(&ring, &len) == NULL, "empty");
	fake_submit(&fake, "first", 5, 0);
	fake_submit(&fake, "gone", 4, BPF_RINGBUF_DISCARD_BIT);
	fake_submit(&fake, "gone too", 8, BPF_RINGBUF_DISCARD_BIT);
	busy = fake_submit(&fake, "busy", 4, BPF_RINGBUF_BUSY_BIT);
	fake_submit(&fake, "last", 4, 0);
	record = ring_peek(&ring, &len);
	tap_ok(record && len == 5 && memcmp(record, "first", 5) == 0, "record");
	tap_ok(ring_peek(&ring, &len) == record, "stays until it is given back");
	ring_advance(&ring);
	tap_ok(*fake.consumer == 0, "a little is not given back at once");
	tap_ok(ring_peek(&ring, &len) == NULL,
	       "a record that is being written ends the reading, discarded ones do not");
	tap_ok(*fake.consumer == busy, "then all is given back: headers, payload rounded up to 8, discarded records");
	fake_header(&fake, busy, 4, 0);
	record = ring_peek(&ring, &len);
	tap_ok(record && len == 4 && memcmp(record, "busy", 4) == 0, "read once it is written");
	ring_advance(&ring);
	fake_header(&fake, busy + 16, 4, BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
	tap_ok(ring_peek(&ring, &len) == NULL, "busy and discarded is busy");
	fake_header(&fake, busy + 16, 4, BPF_RINGBUF_DISCARD_BIT);
	tap_ok(ring_peek(&ring, &len) == NULL && *fake.consumer == *fake.producer, "discarded at the end");
	ring_close(&ring);
	fake_free(&fake);
}

/* While there is always one more record to read, too. */
static void test_much_is_given_back(void)
{
	struct fake fake = fake_new();
	struct ring ring;
	unsigned long unpublished = 0;
	size_t len;

	if (ring_open(&ring, fake.fd, RING_BYTES) != 0)
		abort();
	fake_submit(&fake, "first", 5, 0);
	for (int i = 0; i < 10000; i++) {
		fake_submit(&fake, "more", 4, 0);
		if (!ring_peek(&ring, &len))
			break;
		ring_advance(&ring);
		if (*fake.producer - *fake.consumer > unpublished)
			unpublished = *fake.producer - *fake.consumer;
	}
	tap_ok(ring_peek(&ring, &len) != NULL && unpublished < RING_BYTES / 32, "much is given back at once");
	ring_close(&ring);
	fake_free(&fake);
}

/* Every record length, so that headers and payloads lie across the end of the ring in every way. */
static void test_wrap(void)
{
	struct fake fake = fake_new();
	struct ring ring;
	uint8_t bytes[701];
	bool same = true;

	if (ring_open(&ring, fake.fd, RING_BYTES) != 0)
		abort();
	for (uint32_t i = 0; i < 5000; i++) {
		uint32_t len = i % sizeof(bytes);
		size_t got = 0;
		const void *record;

		memset(bytes, (int)i, len);
		fake_submit(&fake, bytes, len, 0);
		record = ring_peek(&ring, &got);
		same &= record && got == len && memcmp(record, bytes, len) == 0;
		ring_advance(&ring);
	}
	tap_ok(same && *fake.consumer > 50UL * RING_BYTES, "5000 records around the end of the ring");
	ring_close(&ring);
	fake_free(&fake);
}

static void test_full(void)
{
	struct fake fake = fake_new();
	struct ring ring;
	uint8_t bytes[RING_BYTES - BPF_RINGBUF_HDR_SZ];
	const uint8_t *record;
	size_t len = 0;

	memset(bytes, 'x', sizeof(bytes));
	*fake.consumer = *fake.producer = 5 * RING_BYTES - 8;
	if (ring_open(&ring, fake.fd, RING_BYTES) != 0)
		abort();
	fake_submit(&fake, bytes, sizeof(bytes), 0);
	record = ring_peek(&ring, &len);
	tap_ok(record && len == sizeof(bytes) && memcmp(record, bytes, len) == 0, "a record as large as the ring");
	ring_close(&ring);
	fake_free(&fake);
}

/* --- capture.c --- */

static struct ps_event event_of(uint8_t type, uint8_t direction, uint64_t pos, uint64_t other_pos, uint32_t len)
{
	return (struct ps_event){.ts_ns = 1,
				 .conn_id = 1,
				 .sock = 4096,
				 .type = type,
				 .direction = direction,
				 .pos = pos,
				 .other_pos = other_pos,
				 .len = len,
				 .captured_len = len,
				 .flags = PS_EVENT_KERNEL_POS};
}

static void submit_text(struct fake *fake, uint8_t direction, uint64_t pos, uint64_t other_pos, const char *text)
{
	struct {
		struct ps_event event;
		char text[256];
	} record = {.event = event_of(PS_EVENT_DATA, direction, pos, other_pos, (uint32_t)strlen(text))};

	snprintf(record.text, sizeof(record.text), "%s", text);
	fake_submit(fake, &record, (uint32_t)(sizeof(record.event) + strlen(text)), 0);
}

static struct ps_capture *capture_new(const struct fake *fake)
{
	struct ps_capture_options options = {.events_fd = fake->fd,
					     .conns_fd = -1,
					     .skips_fd = -1,
					     .ring_bytes = RING_BYTES,
					     .head_bytes_max = 4096,
					     .body_bytes_max = 4096,
					     .pipeline_max = 16,
					     .conns_max = 16,
					     .held_bytes_max = 1 << 20};

	return ps_capture_new(&options);
}

static void test_capture(void)
{
	struct fake fake = fake_new();
	struct ps_capture *capture = capture_new(&fake);
	const struct ps_item *item;
	struct {
		struct ps_event event;
		char text[100];
	} record = {.event = event_of(PS_EVENT_DATA, PS_IN, 18, 0, 100)};

	submit_text(&fake, PS_IN, 0, 0, "GET / HTTP/1.1\r\n\r\n");
	fake_submit(&fake, &record, sizeof(record.event) + 99, 0); /* says that it carries more than the record has */
	fake_submit(&fake, &record, sizeof(record.event) - 1, 0);
	submit_text(&fake, PS_OUT, 0, 18, "HTTP/1.1 204 No\r\n\r\n");
	item = ps_capture_next(capture);
	tap_ok(item && item->exchange->response.status == 204, "capture: an exchange, malformed records around it");
	tap_ok(ps_capture_next(capture) == NULL, "capture: no more");
	tap_ok(ps_capture_stats(capture).malformed == 2, "capture: malformed records are counted");
	tap_ok(*fake.consumer == *fake.producer, "capture: all records are given back");
	submit_text(&fake, PS_IN, 50, 19, "behind a hole");
	submit_text(&fake, PS_IN, 18, 19, "GET /open HTTP/1.1\r\n\r\n");
	/* The records are as old as the machine, so their wait is over by its clock. */
	tap_ok(ps_capture_next(capture) == NULL && !ps_capture_waiting(capture), "capture: the clock ends waits");
	tap_ok(ps_capture_stats(capture).gap_bytes == 10, "capture: gap");
	ps_capture_finish(capture);
	submit_text(&fake, PS_IN, 63, 19, "GET /late HTTP/1.1\r\n\r\n");
	item = ps_capture_next(capture);
	tap_ok(item && item->exchange->request.target.len == 5, "capture: what is open comes out at the end");
	tap_ok(ps_capture_next(capture) == NULL && *fake.consumer < *fake.producer,
	       "capture: nothing is read after it");
	ps_capture_free(capture);
	ps_capture_free(NULL);
	fake.fd = (close(fake.fd), -1);
	tap_ok(capture_new(&fake) == NULL && errno == EBADF, "capture: no ring");
	munmap(fake.map, 2 * fake.page + 2 * RING_BYTES);
}

/* A producer that never pauses must not keep the caller from its other work. */
static void test_turn(void)
{
	struct fake fake = fake_new();
	struct ps_capture *capture = capture_new(&fake);
	const char *body = "0123456789012345678901234567890123456789012345678901234567890123";
	uint64_t pos = 0;

	for (int round = 0; round < 3; round++) {
		while (*fake.producer - *fake.consumer + 512 <= RING_BYTES) {
			submit_text(&fake, PS_IN, pos, 0, body);
			pos += strlen(body);
		}
		ps_capture_next(capture);
	}
	tap_ok(*fake.consumer == *fake.producer, "capture: one turn reads a whole ring");
	*fake.producer += 3 * (unsigned long)RING_BYTES; /* the same records over and over */
	ps_capture_next(capture);
	tap_ok(*fake.producer - *fake.consumer >= 2UL * RING_BYTES - 512, "capture: and not more");
	ps_capture_free(capture);
	fake_free(&fake);
}

int main(void)
{
	test_open();
	test_order();
	test_much_is_given_back();
	test_wrap();
	test_full();
	test_capture();
	test_turn();
	return tap_end();
}
