/* SPDX-License-Identifier: Apache-2.0 */
/* Of the events of a recording those that the probes would have reported with other filters (probes/include/filter.h).
 */
#ifndef PLAINSIGHT_EVENT_FILTER_H
#define PLAINSIGHT_EVENT_FILTER_H

#include <stdbool.h>

#include "plainsight.h"

/* filter: NULL lets everything pass. What tells of an end passes always: it ends nothing that is not known. */
bool event_filter_passes(const struct ps_event_filter *filter, const struct ps_event *event);

/* The same of an item, by who moved the first byte of its message, or of its request, or of its response. */
bool event_filter_passes_item(const struct ps_event_filter *filter, const struct ps_item *item);

#endif
