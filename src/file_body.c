/* SPDX-License-Identifier: Apache-2.0 */
#include "file_body.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * File systems stamp changes with a clock that ticks every few milliseconds: a
 * change stamped so shortly before the call may have come after it.
 */
#define STAMP_GRANULARITY_NS (20 * 1000000ULL)

/* The same file, and unchanged since it was sent? st_ctime moves with every change and cannot be set back. */
static bool is_unchanged(int fd, const struct ps_event *event, const struct ps_file_ref *ref, uint64_t clock_offset_ns)
{
	struct stat status;
	uint64_t changed_ns;

	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
		return false;
	if (status.st_ino != ref->inode || (uint64_t)status.st_size != ref->file_bytes)
		return false;
	changed_ns = (uint64_t)status.st_ctim.tv_sec * 1000000000ULL + (uint64_t)status.st_ctim.tv_nsec;
	return changed_ns + STAMP_GRANULARITY_NS < event->ts_ns + clock_offset_ns;
}

/* Close fd and return -1 unless it is the file that is wanted. */
static int checked(int fd, const struct ps_event *event, const struct ps_file_ref *ref, uint64_t clock_offset_ns)
{
	if (fd < 0 || is_unchanged(fd, event, ref, clock_offset_ns))
		return fd;
	close(fd);
	return -1;
}

static int open_by_fd(const struct ps_event *event, const struct ps_file_ref *ref)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/fd/%u", event->process.tgid, ref->fd);
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

/* "a/b/c" from the names, which stand in reverse order. Returns false when it is not whole. */
static bool join_names(const struct ps_file_ref *ref, char *path, size_t size)
{
	size_t used = 0;

	if (ref->names == 0 || ref->names >= PS_FILE_NAMES_MAX)
		return false;
	for (uint32_t i = ref->names; i-- > 0;) {
		size_t len = strnlen(ref->name[i], PS_FILE_NAME_LEN);

		if (len == 0 || len == PS_FILE_NAME_LEN || used + len + 2 > size)
			return false;
		if (used > 0)
			path[used++] = '/';
		memcpy(path + used, ref->name[i], len);
		used += len;
	}
	path[used] = '\0';
	return true;
}

/* In the root of the process, following no link: a path that has changed since must not lead elsewhere. */
static int open_by_path(const struct ps_event *event, const struct ps_file_ref *ref)
{
	char root_path[64], path[4096];
	struct open_how how = {
	    .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
	    .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS,
	};
	int root, fd;

	if (!join_names(ref, path, sizeof(path)))
		return -1;
	snprintf(root_path, sizeof(root_path), "/proc/%u/root", event->process.tgid);
	root = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 && errno == ENOENT) /* the process has ended: the inode tells whether ours is the same tree */
		root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -1;
	fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	close(root);
	return fd;
}

int file_body_open(const struct ps_event *event, const struct ps_file_ref *ref, uint64_t clock_offset_ns)
{
	int fd = checked(open_by_fd(event, ref), event, ref, clock_offset_ns);

	return fd >= 0 ? fd : checked(open_by_path(event, ref), event, ref, clock_offset_ns);
}
