-- SPDX-License-Identifier: Apache-2.0
--- The kernel struct offsets that the probes use, as -D options for the compiler.
local bpf = require "plainsight.bpf"
local btf = require "plainsight.btf"

local _M = {}

-- Macro, struct, member; further members are other kernels' names for the same thing.
local NEEDED = {
  { "OFF_TASK_FILES", "task_struct", "files" },
  { "OFF_TASK_TGID", "task_struct", "tgid" },
  { "OFF_TASK_PID", "task_struct", "pid" },
  { "OFF_TASK_COMM", "task_struct", "comm" },
  { "OFF_TASK_CRED", "task_struct", "cred" },
  { "OFF_TASK_CGROUPS", "task_struct", "cgroups" },
  { "OFF_CRED_UID", "cred", "uid.val" },
  { "OFF_CSS_SET_DFL_CGRP", "css_set", "dfl_cgrp" },
  { "OFF_CSS_CGROUP", "cgroup_subsys_state", "cgroup" },
  { "OFF_CGROUP_KN", "cgroup", "kn" },
  { "OFF_CGROUP_PARENT_CSS", "cgroup", "self.parent" },
  { "OFF_KERNFS_NODE_ID", "kernfs_node", "id" },
  { "OFF_TASK_REAL_PARENT", "task_struct", "real_parent" },
  { "OFF_TASK_GROUP_LEADER", "task_struct", "group_leader" },
  { "OFF_TASK_THREAD_PID", "task_struct", "thread_pid" },
  { "OFF_PID_LEVEL", "pid", "level" },
  { "OFF_PID_NUMBERS", "pid", "numbers" },
  { "OFF_TASK_SIGNAL", "task_struct", "signal" },
  { "OFF_TASK_STACK", "task_struct", "stack" },
  { "OFF_TASK_STATUS", "task_struct", "thread_info.status" },
  { "OFF_SIGNAL_LIVE", "signal_struct", "live" },
  { "OFF_SIGNAL_PIDS", "signal_struct", "pids" },
  { "OFF_FILES_FDT", "files_struct", "fdt" },
  { "OFF_FDTABLE_MAX_FDS", "fdtable", "max_fds" },
  { "OFF_FDTABLE_FD", "fdtable", "fd" },
  { "OFF_FILE_INODE", "file", "f_inode" },
  { "OFF_FILE_PRIVATE", "file", "private_data" },
  { "OFF_FILE_COUNT", "file", "f_ref.refcnt", "f_count" }, -- f_ref: 6.13 and newer
  { "OFF_FILE_POS", "file", "f_pos" },
  { "OFF_FILE_DENTRY", "file", "f_path.dentry" },
  { "OFF_FILE_MNT", "file", "f_path.mnt" },
  { "OFF_DENTRY_PARENT", "dentry", "d_parent" },
  { "OFF_DENTRY_NAME", "dentry", "d_name.name" },
  { "OFF_VFSMOUNT_ROOT", "vfsmount", "mnt_root" },
  { "OFF_MOUNT_MNT", "mount", "mnt" },
  { "OFF_MOUNT_PARENT", "mount", "mnt_parent" },
  { "OFF_MOUNT_MOUNTPOINT", "mount", "mnt_mountpoint" },
  { "OFF_INODE_SIZE", "inode", "i_size" },
  { "OFF_INODE_MODE", "inode", "i_mode" },
  { "OFF_INODE_INO", "inode", "i_ino" },
  { "OFF_INODE_SB", "inode", "i_sb" },
  { "OFF_SUPER_BLOCK_DEV", "super_block", "s_dev" },
  { "OFF_BINPRM_FILE", "linux_binprm", "file" },
  { "OFF_SOCKET_TYPE", "socket", "type" },
  { "OFF_SOCKET_SK", "socket", "sk" },
  { "OFF_SOCK_FAMILY", "sock", "__sk_common.skc_family" },
  { "OFF_SOCK_FLAGS", "sock", "__sk_common.skc_flags" },
  { "OFF_SOCK_NUM", "sock", "__sk_common.skc_num" },
  { "OFF_SOCK_DPORT", "sock", "__sk_common.skc_dport" },
  { "OFF_SOCK_DADDR", "sock", "__sk_common.skc_daddr" },
  { "OFF_SOCK_RCV_SADDR", "sock", "__sk_common.skc_rcv_saddr" },
  { "OFF_SOCK_V6_DADDR", "sock", "__sk_common.skc_v6_daddr" },
  { "OFF_SOCK_V6_RCV_SADDR", "sock", "__sk_common.skc_v6_rcv_saddr" },
  { "OFF_SOCK_SHUTDOWN", "sock", "sk_shutdown" },
  { "OFF_SOCK_PROTOCOL", "sock", "sk_protocol" },
  { "OFF_TCP_BYTES_RECEIVED", "tcp_sock", "bytes_received" },
  { "OFF_TCP_BYTES_ACKED", "tcp_sock", "bytes_acked" },
  { "OFF_TCP_RCV_NXT", "tcp_sock", "rcv_nxt" },
  { "OFF_TCP_COPIED_SEQ", "tcp_sock", "copied_seq" },
  { "OFF_TCP_WRITE_SEQ", "tcp_sock", "write_seq" },
  { "OFF_TCP_SND_UNA", "tcp_sock", "snd_una" },
  { "OFF_UNIX_ADDR", "unix_sock", "addr" },
  { "OFF_UNIX_PEER", "unix_sock", "peer" },
  { "OFF_UNIX_ADDRESS_LEN", "unix_address", "len" },
  { "OFF_UNIX_ADDRESS_NAME", "unix_address", "name" },
}

-- For probes that are not attached where the kernel lacks what they watch.
local OPTIONAL = {
  { "OFF_IO_KIOCB_OPCODE", "io_kiocb", "opcode" },
}

-- Structs that probes/include/kernel.h reads members of with plain loads: READ_FIELD().
local TYPES = {
  { "TYPE_TASK", "task_struct" }, { "TYPE_FILES", "files_struct" }, { "TYPE_FDTABLE", "fdtable" },
  { "TYPE_FILE", "file" }, { "TYPE_INODE", "inode" }, { "TYPE_SOCKET", "socket" }, { "TYPE_SOCK", "sock" },
  { "TYPE_TCP", "tcp_sock" }, { "TYPE_LIST_HEAD", "list_head" }, { "TYPE_USER_REGS", "pt_regs" },
  { "TYPE_PID", "pid" }, { "TYPE_CRED", "cred" },
  { "TYPE_CSS", "cgroup_subsys_state" }, { "TYPE_CSS_SET", "css_set" }, { "TYPE_CGROUP", "cgroup" },
  { "TYPE_KERNFS_NODE", "kernfs_node" },
}

-- Kernel functions that probes/include/kernel.h calls by these numbers: all of a group or none of it.
local KFUNCS = {
  -- From the kernel on where programs on system calls can be preempted.
  { flag = "PREEMPTION_KFUNCS", kernel_min = 6013,
    { 0x7fff0001, "bpf_preempt_disable" }, { 0x7fff0002, "bpf_preempt_enable" } },
  { flag = "HAVE_RDONLY_CAST", kernel_min = 6002, { 0x7fff0003, "bpf_rdonly_cast" } },
}

local SUBSYSTEMS = "cgroup_subsys_id"
local POINTER_BYTES = 8

local function wanted_names()
  local wanted = { [SUBSYSTEMS] = true }
  for _, list in ipairs({ NEEDED, OPTIONAL, TYPES, unpack(KFUNCS) }) do
    for _, need in ipairs(list) do wanted[need[2]] = true end
  end
  return wanted
end

--- BTF ids of a group of kfuncs into ids, by the numbers that the probes call. Returns whether all are there.
local function add_kfuncs(types, group, ids)
  if bpf.kernel_version() < group.kernel_min then return false end
  for _, kfunc in ipairs(group) do
    if not types:id(kfunc[2]) then return false end
  end
  for _, kfunc in ipairs(group) do ids[kfunc[1]] = types:id(kfunc[2]) end
  return true
end

--- Compiler options for what goes by BTF ids; ids is filled with those of kfuncs.
local function add_ids(types, flags, ids, without)
  for _, group in ipairs(KFUNCS) do
    if group.flag ~= without and add_kfuncs(types, group, ids) then flags[#flags + 1] = "-D" .. group.flag end
  end
  for _, need in ipairs(TYPES) do flags[#flags + 1] = ("-D%s=%d"):format(need[1], types:id(need[2]) or 0) end
end

--- Where in a css_set the way to the cgroup v1 hierarchy of a controller begins (probes/include/cgroup.h).
-- @return a compiler option, or nil and a message
local function v1_option(types, controller)
  local first = types:offset("css_set", "subsys")
  local index = types:enumerator(SUBSYSTEMS, (controller == "blkio" and "io" or controller) .. "_cgrp_id")
  if not first or not index then return nil, ("the kernel's BTF has no cgroup controller %s"):format(controller) end
  return ("-DCGROUP_V1_SUBSYS=%d"):format(first + index * POINTER_BYTES)
end

--- Compiler options with every offset.
-- @param without a flag of KFUNCS to do without, or nil
-- @param v1_controller cgroup ids are those of the v1 hierarchy of this controller; nil: of cgroup v2
-- @return list of "-DOFF_...=N" and the like, and BTF ids of kfuncs by number; or nil and a message
function _M.cflags(without, v1_controller)
  local types, err = btf.load(wanted_names())
  if not types then return nil, err end
  local flags = {}
  for _, need in ipairs(NEEDED) do
    local offset
    for i = 3, #need do offset = offset or types:offset(need[2], need[i]) end
    if not offset then
      return nil, ("the kernel's BTF has no struct %s with member %s"):format(need[2], need[3])
    end
    flags[#flags + 1] = ("-D%s=%d"):format(need[1], offset)
  end
  for _, need in ipairs(OPTIONAL) do
    flags[#flags + 1] = ("-D%s=%d"):format(need[1], types:offset(need[2], need[3]) or 0)
  end
  -- file_ref_t counts from 0 for one reference, the older f_count from 1.
  flags[#flags + 1] = "-DFILE_COUNT_ONE=" .. (types:offset("file", "f_ref.refcnt") and 0 or 1)
  if v1_controller then
    flags[#flags + 1], err = v1_option(types, v1_controller)
    if err then return nil, err end
  end
  local kfuncs = {}
  add_ids(types, flags, kfuncs, without)
  return flags, kfuncs
end

return _M
