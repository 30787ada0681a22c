/* SPDX-License-Identifier: Apache-2.0 */
#include "executables.h"

#include <stdlib.h>
#include <string.h>

#include "recording_format.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* How long an executable is taken for the same without another look. */
#define FRESH_NS 2000000ULL

struct process {
	uint32_t tgid;
	char comm[PS_COMM_LEN]; /* of the last event */
	uint64_t ts_ns;         /* likewise */
	bool is_seen;           /* there was one */
	bool has_ended;         /* since its executable was known: the id can be that of another process by now */
	char *path;             /* or NULL */
	UT_hash_handle hh;
};

struct executables {
	struct process *by_tgid;
};

struct executables *executables_new(void)
{
	return calloc(1, sizeof(struct executables));
}

static void clear(struct executables *executables)
{
	struct process *process = executables->by_tgid, *next;

	HASH_CLEAR(hh, executables->by_tgid); /* they stay linked */
	for (; process; process = next) {
		next = process->hh.next;
		free(process->path);
		free(process);
	}
}

void executables_free(struct executables *executables)
{
	if (!executables)
		return;
	clear(executables);
	free(executables);
}

static struct process *find(const struct executables *executables, uint32_t tgid)
{
	struct process *process;

	HASH_FIND(hh, executables->by_tgid, &tgid, sizeof(tgid), process);
	return process;
}

/* NULL when memory is short. */
static struct process *find_or_add(struct executables *executables, uint32_t tgid)
{
	struct process *process = find(executables, tgid);

	if (process)
		return process;
	if (HASH_COUNT(executables->by_tgid) >= RECORDING_EXECUTABLES_MAX)
		clear(executables);
	process = calloc(1, sizeof(*process));
	if (!process)
		return NULL;
	process->tgid = tgid;
	HASH_ADD(hh, executables->by_tgid, tgid, sizeof(process->tgid), process);
	if (process->hh.tbl)
		return process;
	free(process);
	return NULL;
}

void executables_set(struct executables *executables, uint32_t tgid, const char *path, size_t len)
{
	struct process *process = find_or_add(executables, tgid);

	if (!process)
		return;
	free(process->path);
	process->path = len > 0 ? strndup(path, len) : NULL;
}

const char *executables_get(const struct executables *executables, uint32_t tgid)
{
	const struct process *process = find(executables, tgid);

	return process ? process->path : NULL;
}

bool executables_is_stale(struct executables *executables, const struct ps_event *event)
{
	struct process *process = find(executables, event->process.tgid);
	bool is_same;

	if (process && event->type == PS_EVENT_EXIT)
		process->has_ended = true;
	if (event->type == PS_EVENT_EXIT)
		return false;
	if (!process)
		return true;
	is_same = process->is_seen && memcmp(process->comm, event->process.comm, PS_COMM_LEN) == 0;
	memcpy(process->comm, event->process.comm, PS_COMM_LEN);
	if (is_same && !process->has_ended && event->ts_ns - process->ts_ns < FRESH_NS)
		return false;
	process->is_seen = true;
	process->ts_ns = event->ts_ns;
	return true;
}

bool executables_is_change(struct executables *executables, uint32_t tgid, const char *path, size_t len)
{
	struct process *process = find(executables, tgid);
	bool has_ended = process && process->has_ended;

	if (!process)
		return true;
	process->has_ended = false;
	if (len == 0)
		return process->path && has_ended;
	return !process->path || strlen(process->path) != len || memcmp(process->path, path, len) != 0;
}
