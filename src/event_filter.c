/* SPDX-License-Identifier: Apache-2.0 */
#include "event_filter.h"

#include <string.h>

static bool has_pid(const struct ps_event_filter *filter, uint32_t pid)
{
	for (uint32_t i = 0; i < filter->pid_count; i++) {
		if (filter->pids[i] == pid)
			return true;
	}
	return false;
}

static bool has_port(const struct ps_event_filter *filter, uint16_t port)
{
	for (uint32_t i = 0; i < filter->port_count; i++) {
		if (filter->ports[i] == port)
			return true;
	}
	return false;
}

/* As long as the socket below a TLS session is not known, its events pass, as in the kernel. */
static bool is_on_port(const struct ps_event_filter *filter, const struct ps_endpoint *local,
		       const struct ps_endpoint *remote)
{
	if (!(filter->filters & PS_FILTER_PORT) || local->family == PS_FAMILY_NONE)
		return true;
	return has_port(filter, local->port) || has_port(filter, remote->port);
}

static bool is_of_process(const struct ps_event_filter *filter, const struct ps_process *process)
{
	if ((filter->filters & PS_FILTER_TGID) && !has_pid(filter, process->tgid))
		return false;
	if ((filter->filters & PS_FILTER_UID) && process->uid != filter->uid)
		return false;
	return !(filter->filters & PS_FILTER_COMM) || strncmp(process->comm, filter->comm, PS_COMM_LEN) == 0;
}

bool event_filter_passes(const struct ps_event_filter *filter, const struct ps_event *event)
{
	if (!filter || event->type == PS_EVENT_EXIT)
		return true;
	if (!(filter->capture & (event->library ? PS_CAPTURE_TLS : PS_CAPTURE_PLAIN)))
		return false;
	if (event->type == PS_EVENT_CLOSE)
		return true;
	return is_on_port(filter, &event->local, &event->remote) && is_of_process(filter, &event->process);
}

bool event_filter_passes_item(const struct ps_event_filter *filter, const struct ps_item *item)
{
	const struct ps_exchange *exchange = item->exchange;
	const struct ps_process *process = &exchange->response.process;

	if (!filter)
		return true;
	if (item->message)
		process = &item->message->process;
	else if (exchange->flags & PS_EXCHANGE_REQUEST)
		process = &exchange->request.process;
	if (!(filter->capture & (exchange->library ? PS_CAPTURE_TLS : PS_CAPTURE_PLAIN)))
		return false;
	return is_on_port(filter, &exchange->local, &exchange->remote) && is_of_process(filter, process);
}
