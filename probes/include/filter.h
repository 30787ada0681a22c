/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which processes are traced. The loader defines FILTER_* for the options in
 * use, so that a filter that is not asked for costs nothing.
 */
#ifndef PLAINSIGHT_FILTER_H
#define PLAINSIGHT_FILTER_H

/* From tgid to 1. User space puts in -p and COMMAND; forks add children, exits delete. */
BPF_HASH(traced_tgids, u32, u8, 16384);

#ifdef FILTER_COMM
struct comm_filter {
	char comm[PS_COMM_LEN];
};
/* Entry 0: the name asked for with -c, padded with NUL. */
BPF_ARRAY(traced_comm, struct comm_filter, 1);
#endif

#ifdef FILTER_CGROUP
/* Entry 0: the cgroup v2 asked for with --cgroup; its descendants count as well. */
BPF_CGROUP_ARRAY(traced_cgroup, 1);
#endif

#ifdef FILTER_COMM
static __always_inline bool comm_matches(void)
{
	struct comm_filter now = {};
	u32 zero = 0;
	struct comm_filter *wanted = traced_comm.lookup(&zero);

	if (!wanted)
		return false;
	bpf_get_current_comm(&now.comm, sizeof(now.comm));
#pragma unroll
	for (int i = 0; i < PS_COMM_LEN; i++) {
		if (now.comm[i] != wanted->comm[i])
			return false;
		if (!now.comm[i])
			return true; /* what follows the NUL is not part of the name */
	}
	return true;
}
#endif

static __always_inline bool is_traced(void)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32;

	if (tgid == SELF_TGID)
		return false;
#ifdef FILTER_TGID
	if (!traced_tgids.lookup(&tgid))
		return false;
#endif
#ifdef FILTER_UID
	if ((u32)bpf_get_current_uid_gid() != FILTER_UID)
		return false;
#endif
#ifdef FILTER_CGROUP
	if (traced_cgroup.check_current_task(0) <= 0)
		return false;
#endif
#ifdef FILTER_COMM
	if (!comm_matches())
		return false;
#endif
	return true;
}

#ifdef FILTER_PORTS
/* The loader defines FILTER_PORTS as a test over `port`, made of validated numbers: port == 80 || port == 443 */
static __always_inline bool port_matches(u16 port)
{
	return FILTER_PORTS;
}
#endif

#endif
