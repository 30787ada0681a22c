/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content of a body: the codings of its message (RFC 9110 8.4, RFC 9112 7)
 * undone, the last one first, and text in another charset than UTF-8 converted.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "charset.h"
#include "coding_list.h"
#include "content.h"
#include "plainsight.h"

enum { SLACK_BYTES = 4096 };

struct ps_decoder {
	struct ps_content content;
	struct coding_tools tools;
	struct coding_buffer buffers[2]; /* of two codings, one reads what the other wrote */
	struct coding_list list;
	struct charset_tools charsets;
	struct coding_buffer text;
	content_filter filter; /* NULL: nobody */
	void *filter_context;
};

struct ps_decoder *ps_decoder_new(void)
{
	return calloc(1, sizeof(struct ps_decoder));
}

void ps_decoder_free(struct ps_decoder *decoder)
{
	if (!decoder)
		return;
	coding_free(&decoder->tools);
	free(decoder->buffers[0].data);
	free(decoder->buffers[1].data);
	charset_free(&decoder->charsets);
	free(decoder->text.data);
	free(decoder);
}

static bool name_is(const struct ps_slice *name, const char *lower, size_t len)
{
	return name->len == len && strncasecmp(name->data, lower, len) == 0;
}

/* What is left out by one coding is missing in the next, which then cannot know why its input ends. */
static enum coding_state joined(enum coding_state outer, enum coding_state inner)
{
	return inner == CODING_COMPLETE || inner == CODING_TRUNCATED ? (outer ? outer : inner) : inner;
}

static enum coding_state undo_all(struct ps_decoder *decoder, uint64_t keep_max, uint64_t total_max)
{
	struct ps_content *content = &decoder->content;
	enum coding_state state = CODING_COMPLETE;

	for (uint32_t i = content->coding_count; i-- > 0 && content->bytes.len > 0;) {
		struct coding_output output = {
		    .buffer = &decoder->buffers[i & 1],
		    .kept_max = i == 0 && keep_max < total_max ? keep_max : total_max,
		    .total_max = total_max,
		};

		state = joined(state, coding_undo(&decoder->tools, decoder->list.codings[i],
						  (const uint8_t *)content->bytes.data, content->bytes.len, &output));
		content->bytes.data = (const char *)output.buffer->data;
		content->bytes.len = coding_kept(&output);
		content->size_bytes = output.total;
	}
	return state;
}

static enum ps_content_state content_state(enum coding_state state, const struct ps_body *body)
{
	switch (state) {
	case CODING_COMPLETE: /* a part of several gzip members can end between two */
		return body->state == PS_BODY_COMPLETE ? PS_CONTENT_COMPLETE : PS_CONTENT_TRUNCATED;
	case CODING_TRUNCATED:
		return PS_CONTENT_TRUNCATED;
	case CODING_LIMIT:
		return PS_CONTENT_LIMIT;
	default:
		return PS_CONTENT_ERROR;
	}
}

/* Undo what can be undone of the codings of a body that is there. */
static void undo(struct ps_decoder *decoder, const struct ps_body *body, uint64_t keep_max, uint64_t total_max)
{
	struct ps_content *content = &decoder->content;
	uint64_t ratio_max = coding_total_max(body->kept.len);
	enum coding_state state;

	content->state = PS_CONTENT_NONE;
	if (decoder->list.is_unknown)
		return;
	state = undo_all(decoder, keep_max, total_max < ratio_max ? total_max : ratio_max);
	if (content->bytes.len == 0 && state != CODING_COMPLETE)
		content->bytes = body->kept;
	else
		content->state = content_state(state, body);
}

/* A parameter of these says nothing of their bytes. */
static bool is_binary_type(const struct ps_slice *type)
{
	static const char *const binary[] = {"image/", "audio/",     "video/",
					     "font/",  "multipart/", "application/octet-stream"};

	for (size_t i = 0; i < sizeof(binary) / sizeof(binary[0]); i++) {
		size_t len = strlen(binary[i]);

		if (type->len >= len && strncasecmp(type->data, binary[i], len) == 0)
			return true;
	}
	return false;
}

/* The charset of the text that begins with these bytes: a byte order mark counts more than what the type says. */
static int charset_of(const struct ps_slice *type, const struct ps_slice *bytes, size_t *mark_bytes)
{
	const uint8_t *first = (const uint8_t *)bytes->data;
	struct ps_slice name;

	*mark_bytes = 0;
	if (!type || is_binary_type(type))
		return CHARSET_NONE;
	if (bytes->len >= 2 && ((first[0] == 0xff && first[1] == 0xfe) || (first[0] == 0xfe && first[1] == 0xff))) {
		*mark_bytes = 2;
		return first[0] == 0xff ? CHARSET_UTF16LE : CHARSET_UTF16BE;
	}
	return ps_parameter(type, "charset", &name) ? charset_by_name(name.data, name.len) : CHARSET_NONE;
}

static void convert(struct ps_decoder *decoder, const struct ps_message *message, uint64_t keep_max)
{
	struct ps_content *content = &decoder->content;
	size_t mark_bytes;
	int charset = charset_of(ps_header_value(message, "content-type"), &content->bytes, &mark_bytes);
	size_t len = content->bytes.len - mark_bytes;
	struct charset_result result;

	if (charset == CHARSET_NONE || len == 0)
		return;
	if (len > keep_max)
		len = (size_t)keep_max;
	result = charset_to_utf8(&decoder->charsets, charset, content->bytes.data + mark_bytes, len, &decoder->text);
	if (result.is_failure)
		return;
	content->charset = charset_name(charset);
	content->text = (struct ps_slice){(const char *)decoder->text.data, result.len};
	content->is_text_invalid = !result.is_valid;
}

/* Whether a content type has a charset to convert from; of UTF-8, which most have, quickly. */
static bool has_charset(const struct ps_slice *type)
{
	struct ps_slice name;

	if (!memchr(type->data, ';', type->len) || !ps_parameter(type, "charset", &name))
		return false;
	return !name_is(&name, "utf-8", 5) && charset_by_name(name.data, name.len) != CHARSET_NONE;
}

bool ps_is_encoded(const struct ps_message *message)
{
	const struct ps_slice *kept = &message->body.kept;

	if (kept->len == 0)
		return false;
	if ((uint8_t)kept->data[0] >= 0xfe) /* it may be a byte order mark */
		return true;
	for (uint32_t i = 0; i < message->header_count; i++) {
		const struct ps_header *header = &message->headers[i];

		if (header->value.len == 0)
			continue;
		switch (header->name.len) {
		case 12:
			if (name_is(&header->name, "content-type", 12) && has_charset(&header->value))
				return true;
			break;
		case 16:
			if (name_is(&header->name, "content-encoding", 16))
				return true;
			break;
		case 17:
			if (name_is(&header->name, "transfer-encoding", 17) && !name_is(&header->value, "chunked", 7))
				return true;
			break;
		default:
			break;
		}
	}
	return false;
}

void content_set_filter(struct ps_decoder *decoder, content_filter filter, void *context)
{
	decoder->filter = filter;
	decoder->filter_context = context;
}

/* A preview need not know of values that are as long as those that a whole body may end with. */
uint64_t content_slack(uint64_t keep_max)
{
	return keep_max < SLACK_BYTES ? SLACK_BYTES / 4 : SLACK_BYTES;
}

const struct ps_content *ps_decode(struct ps_decoder *decoder, const struct ps_message *message, uint64_t keep_max,
				   uint64_t total_max)
{
	struct ps_content *content = &decoder->content;
	const struct ps_body *body = &message->body;
	uint64_t slack = 0;

	content->bytes = body->kept;
	content->size_bytes = body->size_bytes;
	content->coding_count = 0;
	content->state = PS_CONTENT_PLAIN;
	content->charset = NULL;
	content->is_text_invalid = 0;
	content->redacted = 0;
	if (body->kept.len == 0)
		return content;
	if (decoder->filter)
		slack = content_slack(keep_max);
	decoder->list = coding_list_read(message);
	content->coding_count = decoder->list.count;
	memcpy(content->codings, decoder->list.names, sizeof(content->codings));
	if (content->coding_count > 0)
		undo(decoder, body, keep_max + slack, total_max + slack);
	if (content->state != PS_CONTENT_NONE)
		convert(decoder, message, keep_max + slack);
	if (decoder->filter)
		decoder->filter(decoder->filter_context, message, content, keep_max);
	return content;
}
