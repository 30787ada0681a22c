/* SPDX-License-Identifier: Apache-2.0 */
/* Test Anything Protocol, as little of it as the C tests need. */
#ifndef PLAINSIGHT_TAP_H
#define PLAINSIGHT_TAP_H

#include <stdbool.h>
#include <stdio.h>

static int tap_count;
static int tap_failed;

static inline bool tap_ok(bool passed, const char *name)
{
	tap_count++;
	tap_failed += !passed;
	printf("%s %d - %s\n", passed ? "ok" : "not ok", tap_count, name);
	return passed;
}

/* Prints the plan; the exit status of the program. */
static inline int tap_end(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed != 0 || tap_count == 0;
}

#endif
