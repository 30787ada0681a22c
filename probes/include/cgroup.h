/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Cgroups of the current task, by id: the inode number of the directory. They are
 * those of cgroup v2 or, where controllers are mounted as cgroup v1, of one of
 * these hierarchies, as containers have no cgroup of their own in v2 there.
 * Which one is fixed for a host: lua/plainsight/containers/hierarchy.lua.
 */
#ifndef PLAINSIGHT_CGROUP_H
#define PLAINSIGHT_CGROUP_H

/* Containers are at level 2 to 6; in a container in a container at twice that. */
enum { CGROUP_LEVELS_MAX = 16 };

static __always_inline u64 id_of_cgroup(u64 cgroup)
{
	return READ_FIELD(u64, READ_FIELD(u64, cgroup, CGROUP, KN), KERNFS_NODE, ID);
}

/* The cgroup above; 0 above the root. (bpf_get_current_ancestor_cgroup_id() is not for our programs before 5.15.) */
static __always_inline u64 parent_of_cgroup(u64 cgroup)
{
	u64 css = READ_FIELD(u64, cgroup, CGROUP, PARENT_CSS);

	return css ? READ_FIELD(u64, css, CSS, CGROUP) : 0;
}

static __always_inline u64 current_cgroup(void)
{
	u64 css_set = READ_FIELD(u64, bpf_get_current_task(), TASK, CGROUPS);

#ifdef CGROUP_V1_SUBSYS
	/* Offset in struct css_set of the pointer to the state that leads to the hierarchy. */
	return READ_FIELD(u64, read_pointer(css_set + CGROUP_V1_SUBSYS), CSS, CGROUP);
#else
	return READ_FIELD(u64, css_set, CSS_SET, DFL_CGRP);
#endif
}

static __always_inline u64 current_cgroup_id(void)
{
#if defined(HAVE_RDONLY_CAST) || defined(CGROUP_V1_SUBSYS)
	return id_of_cgroup(current_cgroup());
#else
	return bpf_get_current_cgroup_id();
#endif
}

#endif
