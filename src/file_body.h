/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes that sendfile sent, read afterwards from the file they came from.
 *
 * They never were in the memory of the process. The file is opened through the
 * process, or by its path in the process's root, and used only if it is the
 * same inode and has not changed since.
 */
#ifndef PLAINSIGHT_FILE_BODY_H
#define PLAINSIGHT_FILE_BODY_H

#include <stddef.h>
#include <stdint.h>

#include "plainsight.h"

/*
 * Open the file of a PS_EVENT_FILE. clock_offset_ns: CLOCK_REALTIME minus
 * CLOCK_MONOTONIC. Returns a descriptor to close, or -1 when the file is gone,
 * is another one, or was changed after it was sent.
 */
int file_body_open(const struct ps_event *event, const struct ps_file_ref *ref, uint64_t clock_offset_ns);

#endif
