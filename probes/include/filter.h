/* SPDX-License-Identifier: GPL-2.0 */
/* Which processes and ports are traced. A filter that is not in use costs nothing, see settings.h. */
#ifndef PLAINSIGHT_FILTER_H
#define PLAINSIGHT_FILTER_H

/* From tgid to 1. User space puts in -p and COMMAND; forks add children, exits delete. */
BPF_HASH(traced_tgids, u32, u8, 16384);

/* Entry 0: the cgroup v2 asked for with --cgroup; its descendants count as well. */
BPF_CGROUP_ARRAY(traced_cgroup, 1);

/*
 * From cgroup id (probes/include/cgroup.h) to 1, when it is that of a container asked for, or to 0. User space puts
 * cgroups in as they appear and takes them out when they are gone; one that is not there is like the one above it.
 */
BPF_HASH(traced_containers, u64, u8, 16384);

/* A bit for each port asked for with --port: port % 64 of entry port / 64. */
BPF_ARRAY(traced_ports, u64, 1024);

static __always_inline bool comm_matches(void)
{
	u64 now[2] = {};
	const volatile u64 *wanted = (const volatile u64 *)SETTINGS->comm;

	/* The kernel pads the name with NUL, too. */
	bpf_get_current_comm(now, sizeof(now));
	return now[0] == wanted[0] && now[1] == wanted[1];
}

static __always_inline bool is_in_traced_container(void)
{
	u64 cgroup = current_cgroup(), id;
	u8 *is_wanted;
	int level;

	for (level = 0; level < CGROUP_LEVELS_MAX && cgroup; level++) {
		id = id_of_cgroup(cgroup);
		is_wanted = traced_containers.lookup(&id);
		if (is_wanted)
			return *is_wanted;
		cgroup = parent_of_cgroup(cgroup);
	}
	return false;
}

static __always_inline bool is_traced(void)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32;

	if (tgid == SETTINGS->self_tgid)
		return false;
	if (has_filter(PS_FILTER_TGID) && !traced_tgids.lookup(&tgid))
		return false;
	if (has_filter(PS_FILTER_UID) && (u32)bpf_get_current_uid_gid() != SETTINGS->uid)
		return false;
	if (has_filter(PS_FILTER_CGROUP) && traced_cgroup.check_current_task(0) <= 0)
		return false;
	if (has_filter(PS_FILTER_CONTAINER) && !is_in_traced_container())
		return false;
	if (has_filter(PS_FILTER_COMM) && !comm_matches())
		return false;
	return true;
}

static __always_inline bool port_matches(u16 port)
{
	u32 index = port / 64;
	u64 *bits = traced_ports.lookup(&index);

	return bits && (*bits >> (port % 64)) & 1;
}

#endif
