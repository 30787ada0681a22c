/* SPDX-License-Identifier: Apache-2.0 */
#include "coding_list.h"

#include <string.h>
#include <strings.h>

/* A body may decode to so many bytes in any case, and beyond it to so many times its size. */
enum { CODING_BYTES_ALWAYS = 1024 * 1024, CODING_RATIO_MAX = 1000 };

static void add_coding(struct coding_list *list, struct ps_slice name, bool is_transfer)
{
	enum coding coding = coding_by_name(name.data, name.len);

	if (name.len == 0 || coding == CODING_IDENTITY)
		return;
	if (list->count == PS_CODINGS_MAX) {
		list->is_unknown = true;
		return;
	}
	/* RFC 9112 7.1: chunked comes last, and is undone where the message is read. */
	if (is_transfer && name.len == 7 && strncasecmp(name.data, "chunked", 7) == 0)
		return;
	list->names[list->count] = name;
	list->codings[list->count++] = coding;
	list->is_unknown |= coding == CODING_UNKNOWN;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static struct ps_slice trimmed(const char *begin, const char *end)
{
	while (begin < end && is_space(*begin))
		begin++;
	while (begin < end && is_space(end[-1]))
		end--;
	return (struct ps_slice){begin, (size_t)(end - begin)};
}

/* A list with commas between its items (RFC 9110 5.6.1). */
static void add_value(struct coding_list *list, struct ps_slice value, bool is_transfer)
{
	const char *at = value.data;
	const char *end = value.data + value.len;

	while (at < end) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		const char *stop = comma ? comma : end;

		add_coding(list, trimmed(at, stop), is_transfer);
		at = stop + 1;
	}
}

static bool name_is(const struct ps_slice *name, const char *lower, size_t len)
{
	return name->len == len && strncasecmp(name->data, lower, len) == 0;
}

static void add_fields(struct coding_list *list, const struct ps_message *message, const char *name, size_t len)
{
	for (uint32_t i = 0; i < message->header_count; i++) {
		const struct ps_header *header = &message->headers[i];

		if (name_is(&header->name, name, len) && header->value.len > 0)
			add_value(list, header->value, name[0] == 't');
	}
}

/* RFC 9110 15.3.7: a part that does not begin where the content does, or several parts, each of the coded content. */
static bool is_later_part(const struct ps_message *message)
{
	static const char first[] = "bytes 0-";
	const struct ps_slice *range;

	if (message->status != 206)
		return false;
	range = ps_header_value(message, "content-range");
	return !range || range->len < strlen(first) || strncasecmp(range->data, first, strlen(first)) != 0;
}

struct coding_list coding_list_read(const struct ps_message *message)
{
	struct coding_list list = {.count = 0};

	add_fields(&list, message, "content-encoding", 16);
	if (list.count > 0 && is_later_part(message))
		list.is_unknown = true;
	if (message->version_major < 2) /* RFC 9113 8.2.2 */
		add_fields(&list, message, "transfer-encoding", 17);
	return list;
}

uint64_t coding_total_max(uint64_t coded_bytes)
{
	uint64_t max = coded_bytes > UINT64_MAX / CODING_RATIO_MAX ? UINT64_MAX : CODING_RATIO_MAX * coded_bytes;

	return max < CODING_BYTES_ALWAYS ? CODING_BYTES_ALWAYS : max;
}
