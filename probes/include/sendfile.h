/* SPDX-License-Identifier: GPL-2.0 */
/* sendfile: which bytes of which file, for user space to read there. */
#ifndef PLAINSIGHT_SENDFILE_H
#define PLAINSIGHT_SENDFILE_H

/* Where the bytes began that sendfile took: it has moved *offset, or the file's own position, behind them. */
static __always_inline u64 file_offset(const struct io_call *call, u64 file)
{
	u64 end = 0;

	if (call->iov)
		bpf_probe_read_user(&end, sizeof(end), (const void *)call->iov);
	else
		end = read_pointer(file + OFF_FILE_POS);
	return end - call->remaining;
}

/* The path of a file up to the root of its mount namespace, last component first. */
static __always_inline void fill_path(struct ps_file_ref *ref, u64 file)
{
	u64 dentry = read_pointer(file + OFF_FILE_DENTRY), mnt = read_pointer(file + OFF_FILE_MNT);
	u64 mount, parent;
	u32 at;

	ref->names = 0; /* counted there: see copy_more() for why */

#pragma clang loop unroll(disable)
	for (int i = 0; i < 2 * PS_FILE_NAMES_MAX; i++) {
		parent = read_pointer(dentry + OFF_DENTRY_PARENT);
		if (dentry == read_pointer(mnt + OFF_VFSMOUNT_ROOT)) { /* go on where it is mounted */
			mount = mnt - OFF_MOUNT_MNT;
			parent = read_pointer(mount + OFF_MOUNT_PARENT);
			if (!parent || parent == mount)
				break;
			dentry = read_pointer(mount + OFF_MOUNT_MOUNTPOINT);
			mnt = parent + OFF_MOUNT_MNT;
			continue;
		}
		if (!parent || parent == dentry) /* not below any mount: unlinked from the tree */
			break;
		at = ref->names;
		if (at >= PS_FILE_NAMES_MAX)
			break;
		bpf_probe_read_kernel_str(ref->name[at], PS_FILE_NAME_LEN,
					  (const void *)read_pointer(dentry + OFF_DENTRY_NAME));
		ref->names = at + 1;
		dentry = parent;
	}
}

/* sendfile returned: tell user space where it can read what was sent. */
int copy_file(struct pt_regs *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	struct io_call *call = active_calls.lookup(&id);
	struct ps_conn *conn = call ? conns.lookup(&call->sock) : 0;
	struct ps_event *event;
	struct ps_file_ref *ref;
	u64 file, inode;

	preempt_disable();
	if (!conn)
		goto done;
	file = file_of_fd(call->base);
	event = file ? reserve(RECORD_LARGE, call->remaining) : 0;
	if (!event) {
		if (!file)
			give_up(call, conn, PS_LOSS_NO_BUFFER, 0);
		goto done;
	}
	fill_event(event, call, conn, PS_EVENT_FILE, call->remaining);
	event->captured_len = sizeof(*ref);
	ref = (struct ps_file_ref *)(event + 1);
	inode = read_pointer(file + OFF_FILE_INODE);
	ref->inode = read_pointer(inode + OFF_INODE_INO);
	ref->file_bytes = read_pointer(inode + OFF_INODE_SIZE);
	ref->offset = file_offset(call, file);
	ref->fd = call->base;
	fill_path(ref, file);
	submit(event);
done:
	active_calls.delete(&id);
	preempt_enable();
	return 0;
}

#endif
