/* SPDX-License-Identifier: Apache-2.0 */
/* Who looks at content before ps_decode() hands it out. */
#ifndef PLAINSIGHT_CONTENT_H
#define PLAINSIGHT_CONTENT_H

#include "plainsight.h"

/*
 * May replace bytes, text and what tells of them in content, by what is valid
 * until the next call. At most keep_max bytes are to be left; so many as
 * content_slack() says may be there beyond them.
 */
typedef void (*content_filter)(void *context, const struct ps_message *message, struct ps_content *content,
			       uint64_t keep_max);

/* NULL: nobody. */
void content_set_filter(struct ps_decoder *decoder, content_filter filter, void *context);

/* Bytes behind the first keep_max that are decoded for the filter. */
uint64_t content_slack(uint64_t keep_max);

#endif
