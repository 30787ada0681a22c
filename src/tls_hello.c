/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reader of the first TLS flights; see tls_hello.h. Section numbers are those of
 * RFC 8446 unless another is named; what it says of hellos holds for older TLS
 * as well, but for supported_versions and HelloRetryRequest.
 */
#include "tls_hello.h"

#include <stdlib.h>
#include <string.h>

enum {
	FLIGHT_BYTES_MAX = 8192,
	RECORD_HEADER = 5,
	RECORD_BYTES_MAX = 16384, /* 5.1 */
	MESSAGE_HEADER = 4,
	RANDOM_BYTES = 32,
	SESSION_ID_MAX = 32
};

enum record_type { RECORD_CHANGE_CIPHER_SPEC = 20, RECORD_ALERT = 21, RECORD_HANDSHAKE = 22 };
enum message_type { CLIENT_HELLO = 1, SERVER_HELLO = 2 };
enum extension_type { EXTENSION_SERVER_NAME = 0, EXTENSION_ALPN = 16, EXTENSION_SUPPORTED_VERSIONS = 43 };

enum { ALERT_BYTES = 2, ALERT_WARNING = 1, NAME_IS_HOST = 0, TLS_1_3 = 0x0304 };

/* What is left to read of some bytes. */
struct reader {
	const uint8_t *at;
	size_t left;
};

/* One direction: records, and in them messages, of which one is collected at a time. */
struct flight {
	size_t seen;                     /* bytes of the direction that were read */
	uint8_t record[RECORD_HEADER];   /* header of the record that is being read */
	uint8_t message[MESSAGE_HEADER]; /* header of the message that is being read */
	size_t record_len;               /* how much of the headers is there */
	size_t message_len;
	size_t record_left; /* of the record's body */
	uint8_t *body;      /* of the message; NULL before its header is there */
	size_t body_len;
	size_t body_size;
	bool done;
};

struct tls_hello {
	struct flight flights[2];
	struct ps_tls_info info;
	unsigned int known; /* bit 1 << enum message_type: that hello is in info */
};

struct tls_hello *tls_hello_new(void)
{
	return calloc(1, sizeof(struct tls_hello));
}

void tls_hello_free(struct tls_hello *hello)
{
	if (hello == NULL)
		return;
	free(hello->flights[0].body);
	free(hello->flights[1].body);
	free(hello);
}

/* --- bytes --- */

static uint32_t number_of(const uint8_t *bytes, size_t size)
{
	uint32_t number = 0;

	for (size_t i = 0; i < size; i++)
		number = number << 8 | bytes[i];
	return number;
}

/* The next len bytes; false when there are fewer. */
static bool read_bytes(struct reader *from, size_t len, struct reader *bytes)
{
	if (from->left < len)
		return false;
	*bytes = (struct reader){from->at, len};
	from->at += len;
	from->left -= len;
	return true;
}

/* A number of up to four bytes, big endian (3.3). */
static bool read_number(struct reader *from, size_t size, uint32_t *number)
{
	struct reader bytes;

	if (!read_bytes(from, size, &bytes))
		return false;
	*number = number_of(bytes.at, size);
	return true;
}

/* A vector (3.4) of min to max bytes, whose length takes length_size bytes. */
static bool read_vector(struct reader *from, size_t length_size, size_t min, size_t max, struct reader *vector)
{
	uint32_t len;

	return read_number(from, length_size, &len) && len >= min && len <= max && read_bytes(from, len, vector);
}

/* Move bytes from a piece to a buffer until it holds `size` of them; whether it does. */
static bool fill(uint8_t *buffer, size_t *len, size_t size, struct reader *piece)
{
	size_t take = size - *len < piece->left ? size - *len : piece->left;

	if (take > 0)
		memcpy(buffer + *len, piece->at, take);
	*len += take;
	piece->at += take;
	piece->left -= take;
	return *len == size;
}

/* --- names --- */

/* A field of struct ps_tls_info that is being written, with its NUL. */
struct text {
	char *data;
	size_t size;
	size_t len;
};

#define TEXT_OF(field) ((struct text){.data = (field), .size = sizeof(field)})

/* The field was cleared before: its end needs no writing. */
static void text_add(struct text *text, char byte)
{
	static const char mark[] = "...";

	if (text->len + 1 < text->size)
		text->data[text->len++] = byte;
	else
		memcpy(text->data + text->size - sizeof(mark), mark, sizeof(mark));
}

/* Nothing that could be taken for something else: see tls_hello_info(). */
static void text_name(struct text *text, struct reader name, char separator)
{
	for (size_t i = 0; i < name.left; i++) {
		char byte = (char)name.at[i];
		bool shown = byte > ' ' && byte <= '~' && byte != separator;

		text_add(text, shown ? byte : '?');
	}
}

/* --- extensions --- */

enum found { FOUND, ABSENT, MALFORMED };

/* Looks at all of them, so that MALFORMED does not depend on the type asked for (but for one that is there twice: 4.2).
 */
static enum found extension_find(struct reader extensions, enum extension_type wanted, struct reader *value)
{
	enum found found = ABSENT;

	while (extensions.left > 0) {
		struct reader data;
		uint32_t type;

		if (!read_number(&extensions, 2, &type) || !read_vector(&extensions, 2, 0, UINT16_MAX, &data))
			return MALFORMED;
		if (type != (uint32_t)wanted)
			continue;
		if (found == FOUND)
			return MALFORMED;
		found = FOUND;
		*value = data;
	}
	return found;
}

/* The extension's only content is a vector with a length of two bytes. */
static enum found extension_list(struct reader extensions, enum extension_type wanted, struct reader *list)
{
	struct reader value;
	enum found found = extension_find(extensions, wanted, &value);

	if (found != FOUND)
		return found;
	return read_vector(&value, 2, 1, UINT16_MAX, list) && value.left == 0 ? FOUND : MALFORMED;
}

/* RFC 6066 3. Names of other types have the same form. */
static bool server_name_read(struct reader extensions, struct ps_tls_info *info)
{
	struct text text = TEXT_OF(info->server_name);
	struct reader list;
	enum found found = extension_list(extensions, EXTENSION_SERVER_NAME, &list);

	while (found == FOUND && list.left > 0) {
		struct reader name;
		uint32_t type;

		if (!read_number(&list, 1, &type) || !read_vector(&list, 2, 1, UINT16_MAX, &name))
			return false;
		if (type == NAME_IS_HOST && text.len == 0)
			text_name(&text, name, '\0');
	}
	return found != MALFORMED;
}

/* RFC 8701 2 */
static bool is_grease_protocol(struct reader name)
{
	return name.left == 2 && name.at[0] == name.at[1] && (name.at[0] & 0x0f) == 0x0a;
}

/* RFC 7301 3.1 */
static bool offered_protocols_read(struct reader extensions, struct ps_tls_info *info)
{
	struct text text = TEXT_OF(info->alpn_offered);
	struct reader list;
	enum found found = extension_list(extensions, EXTENSION_ALPN, &list);

	while (found == FOUND && list.left > 0) {
		struct reader name;

		if (!read_vector(&list, 1, 1, UINT8_MAX, &name))
			return false;
		if (is_grease_protocol(name))
			continue;
		if (text.len > 0)
			text_add(&text, ',');
		text_name(&text, name, ',');
	}
	return found != MALFORMED;
}

/* A server names one (RFC 7301 3.1). From TLS 1.3 on it does so later, encrypted, and here it would mean nothing (4.2).
 */
static bool chosen_protocol_read(struct reader extensions, struct ps_tls_info *info)
{
	struct text text = TEXT_OF(info->alpn);
	struct reader list, name;
	enum found found;

	if (info->protocol >= TLS_1_3)
		return true;
	found = extension_list(extensions, EXTENSION_ALPN, &list);
	if (found != FOUND)
		return found == ABSENT;
	if (!read_vector(&list, 1, 1, UINT8_MAX, &name) || list.left > 0)
		return false;
	text_name(&text, name, ',');
	return true;
}

/* 4.2.1: with it, legacy_version says nothing. */
static bool chosen_version_read(struct reader extensions, struct ps_tls_info *info)
{
	struct reader value;
	uint32_t version;
	enum found found = extension_find(extensions, EXTENSION_SUPPORTED_VERSIONS, &value);

	if (found != FOUND)
		return found == ABSENT;
	if (!read_number(&value, 2, &version) || value.left > 0)
		return false;
	info->protocol = (uint16_t)version;
	return true;
}

/* --- hellos --- */

/* How both begin: legacy_version, random, legacy_session_id. */
static bool hello_start_read(struct reader *from, uint32_t *version, struct reader *random)
{
	struct reader session_id;

	return read_number(from, 2, version) && *version >> 8 == 3 && read_bytes(from, RANDOM_BYTES, random) &&
	       read_vector(from, 1, 0, SESSION_ID_MAX, &session_id);
}

/* How both end. Before TLS 1.3 there may be no extensions, not even an empty vector of them (RFC 5246 7.4.1.2). */
static bool hello_end_read(struct reader *from, struct reader *extensions)
{
	*extensions = (struct reader){.left = 0};
	return from->left == 0 || (read_vector(from, 2, 0, UINT16_MAX, extensions) && from->left == 0);
}

/* 4.1.2. False, with info half written, when it is malformed. */
static bool client_hello_read(struct reader from, struct ps_tls_info *info)
{
	struct reader random, suites, compressions, extensions;
	uint32_t version;

	return hello_start_read(&from, &version, &random) && read_vector(&from, 2, 2, UINT16_MAX - 1, &suites) &&
	       read_vector(&from, 1, 1, UINT8_MAX, &compressions) && hello_end_read(&from, &extensions) &&
	       server_name_read(extensions, info) && offered_protocols_read(extensions, info);
}

/* 4.1.3. False, with info half written, when it is malformed. */
static bool server_hello_read(struct reader from, struct ps_tls_info *info)
{
	struct reader random, extensions;
	uint32_t version, cipher, compression;

	if (!hello_start_read(&from, &version, &random) || !read_number(&from, 2, &cipher) ||
	    !read_number(&from, 1, &compression) || !hello_end_read(&from, &extensions))
		return false;
	info->protocol = (uint16_t)version;
	info->cipher = (uint16_t)cipher;
	return chosen_version_read(extensions, info) && chosen_protocol_read(extensions, info);
}

/* Has the form of ServerHello, and this random (4.1.3). */
static bool is_retry_request(struct reader body)
{
	static const uint8_t retry_random[RANDOM_BYTES] = {
	    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};

	return body.left >= 2 + RANDOM_BYTES && memcmp(body.at + 2, retry_random, RANDOM_BYTES) == 0;
}

/* --- messages and records --- */

/* Forget the message, to read the next. */
static void message_forget(struct flight *flight)
{
	free(flight->body);
	flight->body = NULL;
	flight->body_len = 0;
	flight->message_len = 0;
}

static void flight_end(struct flight *flight)
{
	message_forget(flight);
	flight->done = true;
}

/* Only a hello may come; one that the other direction sent before cannot be this one's. */
static bool message_start(const struct tls_hello *hello, struct flight *flight)
{
	uint8_t type = flight->message[0];

	flight->body_size = number_of(flight->message + 1, 3);
	if ((type != CLIENT_HELLO && type != SERVER_HELLO) || (hello->known & 1U << type))
		return false;
	if (flight->body_size == 0 || flight->body_size > FLIGHT_BYTES_MAX)
		return false;
	flight->body = malloc(flight->body_size);
	return flight->body != NULL;
}

static void message_end(struct tls_hello *hello, struct flight *flight)
{
	struct reader body = {flight->body, flight->body_size};
	uint8_t type = flight->message[0];
	struct ps_tls_info info = hello->info;

	if (type == SERVER_HELLO && is_retry_request(body)) {
		message_forget(flight);
		return;
	}
	if (type == CLIENT_HELLO ? client_hello_read(body, &info) : server_hello_read(body, &info)) {
		hello->info = info;
		hello->known |= 1U << type;
	}
	flight_end(flight);
}

/* A message may be split over records, and share them with others (5.1). */
static void messages_read(struct tls_hello *hello, struct flight *flight, struct reader piece)
{
	while (piece.left > 0 && !flight->done) {
		if (flight->body == NULL) {
			if (fill(flight->message, &flight->message_len, MESSAGE_HEADER, &piece) &&
			    !message_start(hello, flight))
				flight_end(flight);
		} else if (fill(flight->body, &flight->body_len, flight->body_size, &piece)) {
			message_end(hello, flight);
		}
	}
}

/*
 * Whether what a record's header says can come before or in a hello: besides
 * handshake messages a warning (RFC 6066 3: unrecognized_name comes before
 * ServerHello) and, after HelloRetryRequest, change_cipher_spec (D.4), but not
 * amid a message (5.1).
 */
static bool record_start(struct flight *flight)
{
	flight->record_left = number_of(flight->record + 3, 2);
	if (flight->record[1] != 3 || flight->record_left == 0)
		return false;
	switch (flight->record[0]) {
	case RECORD_HANDSHAKE:
		return flight->record_left <= RECORD_BYTES_MAX;
	case RECORD_ALERT:
		return flight->record_left == ALERT_BYTES && flight->message_len == 0;
	case RECORD_CHANGE_CIPHER_SPEC:
		return flight->record_left == 1 && flight->message_len == 0;
	default:
		return false;
	}
}

static void record_body(struct tls_hello *hello, struct flight *flight, struct reader *piece)
{
	size_t len = flight->record_left < piece->left ? flight->record_left : piece->left;
	bool first = flight->record_left == ALERT_BYTES;
	uint8_t type = flight->record[0];
	struct reader part;

	if (!read_bytes(piece, len, &part))
		return;
	flight->record_left -= len;
	if (flight->record_left == 0)
		flight->record_len = 0;
	if (type == RECORD_HANDSHAKE)
		messages_read(hello, flight, part);
	else if (type == RECORD_ALERT && first && part.at[0] != ALERT_WARNING)
		flight_end(flight);
}

void tls_hello_data(struct tls_hello *hello, int direction, const uint8_t *data, size_t len)
{
	struct flight *flight = &hello->flights[direction != 0];
	size_t room = FLIGHT_BYTES_MAX - flight->seen;
	struct reader piece = {data, len < room ? len : room};

	flight->seen += piece.left;
	while (piece.left > 0 && !flight->done) {
		if (flight->record_len == RECORD_HEADER)
			record_body(hello, flight, &piece);
		else if (fill(flight->record, &flight->record_len, RECORD_HEADER, &piece) && !record_start(flight))
			flight_end(flight);
	}
	if (flight->seen == FLIGHT_BYTES_MAX)
		flight_end(flight);
}

bool tls_hello_is_done(const struct tls_hello *hello)
{
	return hello->flights[0].done && hello->flights[1].done;
}

const struct ps_tls_info *tls_hello_info(const struct tls_hello *hello)
{
	return hello->known ? &hello->info : NULL;
}
