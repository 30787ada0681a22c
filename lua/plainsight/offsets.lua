-- SPDX-License-Identifier: Apache-2.0
--- The kernel struct offsets that the probes use, as -D options for the compiler.
local bpf = require "plainsight.bpf"
local btf = require "plainsight.btf"

local _M = {}

-- Macro, struct, member; further members are other kernels' names for the same thing.
local NEEDED = {
  { "OFF_TASK_FILES", "task_struct", "files" },
  { "OFF_TASK_TGID", "task_struct", "tgid" },
  { "OFF_TASK_SIGNAL", "task_struct", "signal" },
  { "OFF_TASK_STACK", "task_struct", "stack" },
  { "OFF_TASK_STATUS", "task_struct", "thread_info.status" },
  { "OFF_SIGNAL_LIVE", "signal_struct", "live" },
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

-- Kernel functions that probes/include/kernel.h calls by these numbers, from the kernel on where
-- programs on system calls can be preempted. In that order: -DPREEMPTION_KFUNCS stands for all.
local KFUNCS = { { 0x7fff0001, "bpf_preempt_disable" }, { 0x7fff0002, "bpf_preempt_enable" } }
local KFUNCS_KERNEL_MIN = 6013

local function wanted_names()
  local wanted = {}
  for _, kfunc in ipairs(KFUNCS) do wanted[kfunc[2]] = true end
  for _, list in ipairs({ NEEDED, OPTIONAL }) do
    for _, need in ipairs(list) do wanted[need[2]] = true end
  end
  return wanted
end

--- BTF ids of the kfuncs by the numbers that the probes call; nil when they are not needed or not there.
local function kfunc_ids(types)
  if bpf.kernel_version() < KFUNCS_KERNEL_MIN then return nil end
  local ids = {}
  for _, kfunc in ipairs(KFUNCS) do
    ids[kfunc[1]] = types:function_id(kfunc[2])
    if not ids[kfunc[1]] then return nil end
  end
  return ids
end

--- Compiler options with every offset.
-- @param path BTF file; default: the running kernel's
-- @return list of "-DOFF_...=N" and BTF ids of kfuncs by number (or nil); or nil and a message
function _M.cflags(path)
  local types, err = btf.load(wanted_names(), path)
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
  local kfuncs = kfunc_ids(types)
  if kfuncs then flags[#flags + 1] = "-DPREEMPTION_KFUNCS" end
  return flags, kfuncs
end

return _M
