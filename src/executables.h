/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executables of processes, as far as events told of them: what a recording keeps, so that its output and that of
 * its replay have the same. What is remembered depends on the calls of executables_set() alone.
 */
#ifndef PLAINSIGHT_EXECUTABLES_H
#define PLAINSIGHT_EXECUTABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plainsight.h"

struct executables;

/* NULL when memory is short. */
struct executables *executables_new(void);
void executables_free(struct executables *executables);

/* A process's path of len bytes; 0: it is not known. When memory is short it is not remembered. */
void executables_set(struct executables *executables, uint32_t tgid, const char *path, size_t len);

/* NUL-terminated, valid until the next executables_set(); NULL: not known. */
const char *executables_get(const struct executables *executables, uint32_t tgid);

/*
 * Whether the process of an event has to be asked for its executable: it has another thread name than with its last
 * event, or that was some time ago. Remembers the event.
 */
bool executables_is_stale(struct executables *executables, const struct ps_event *event);

/*
 * Whether what procfs says of it now, len bytes or nothing, has to be set. A process that has just ended keeps what is
 * known of it; the next one with its id does not get it.
 */
bool executables_is_change(struct executables *executables, uint32_t tgid, const char *path, size_t len);

#endif
