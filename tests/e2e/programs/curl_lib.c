/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetches URLs with a libcurl that it loads at run time, in turn, over one
 * handle. libcurl is there for several TLS libraries, the curl command for one.
 *
 * usage: curl_lib LIBRARY CA UPLOAD URL...
 * UPLOAD: a file that is posted to each URL that ends in /echo. Bodies that
 * come back are counted; a line per URL says status and size.
 * When E2E_WAIT is set: before it loads the library and again before it uses it, "ready" on stderr and a line from
 * stdin.
 */
#include <dlfcn.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of curl/curl.h, which never change (libcurl's ABI). */
enum {
	CURLOPT_WRITEDATA = 10001,
	CURLOPT_URL = 10002,
	CURLOPT_POSTFIELDS = 10015,
	CURLOPT_CAINFO = 10065,
	CURLOPT_HTTPGET = 80,
	CURLOPT_HTTP_VERSION = 84,
	CURLOPT_POSTFIELDSIZE = 60,
	CURLOPT_WRITEFUNCTION = 20011,
	CURLINFO_RESPONSE_CODE = 0x200002,
	CURL_HTTP_VERSION_1_1 = 2,
	UPLOAD_BYTES_MAX = 2 << 20,
};

static void *library;
static void *(*easy_init)(void);
static int (*easy_setopt)(void *handle, int option, ...);
static int (*easy_perform)(void *handle);
static int (*easy_getinfo)(void *handle, int info, ...);
static const char *(*easy_strerror)(int result);
static void (*easy_cleanup)(void *handle);

static char upload[UPLOAD_BYTES_MAX];
static size_t upload_len;

static void *symbol(const char *name)
{
	void *found = dlsym(library, name);

	if (!found)
		errx(1, "%s", dlerror());
	return found;
}

static void load(const char *name)
{
	library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		errx(1, "%s", dlerror());
	easy_init = symbol("curl_easy_init");
	easy_setopt = symbol("curl_easy_setopt");
	easy_perform = symbol("curl_easy_perform");
	easy_getinfo = symbol("curl_easy_getinfo");
	easy_strerror = symbol("curl_easy_strerror");
	easy_cleanup = symbol("curl_easy_cleanup");
}

static size_t count_bytes(const char *data, size_t size, size_t count, void *total)
{
	(void)data;
	*(size_t *)total += size * count;
	return size * count;
}

static void fetch(void *handle, const char *url)
{
	size_t len = strlen(url), received = 0;
	long status = 0;

	easy_setopt(handle, CURLOPT_URL, url);
	easy_setopt(handle, CURLOPT_WRITEDATA, &received);
	if (len > 5 && !strcmp(url + len - 5, "/echo")) {
		easy_setopt(handle, CURLOPT_POSTFIELDSIZE, (long)upload_len);
		easy_setopt(handle, CURLOPT_POSTFIELDS, upload);
	} else {
		easy_setopt(handle, CURLOPT_HTTPGET, 1L);
	}
	int result = easy_perform(handle);

	if (result)
		errx(1, "%s: %s", url, easy_strerror(result));
	easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
	printf("%ld %zu\n", status, received);
}

static void wait_for_line(void)
{
	fputs("ready\n", stderr);
	while (getchar() != '\n')
		if (feof(stdin))
			errx(1, "no line on standard input");
}

int main(int argc, char **argv)
{
	if (argc < 5)
		errx(2, "usage: curl_lib LIBRARY CA UPLOAD URL...");
	FILE *file = fopen(argv[3], "rb");

	if (!file)
		err(1, "%s", argv[3]);
	upload_len = fread(upload, 1, sizeof(upload), file);
	fclose(file);
	if (getenv("E2E_WAIT"))
		wait_for_line();
	load(argv[1]);
	if (getenv("E2E_WAIT"))
		wait_for_line();
	void *handle = easy_init();

	easy_setopt(handle, CURLOPT_CAINFO, argv[2]);
	easy_setopt(handle, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	easy_setopt(handle, CURLOPT_WRITEFUNCTION, count_bytes);
	for (int i = 4; i < argc; i++)
		fetch(handle, argv[i]);
	easy_cleanup(handle);
	return 0;
}
