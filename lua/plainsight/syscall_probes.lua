-- SPDX-License-Identifier: Apache-2.0
--- The probes on system calls (probes/syscalls.c): options to compiler flags and
-- filter maps, and where each program is attached.
local ffi = require "ffi"
local bit = require "bit"
local bpf = require "plainsight.bpf"
local compiler = require "plainsight.compiler"
local contract = require "plainsight.contract" -- luacheck: ignore (declares the structs)
local kprobes = require "plainsight.kprobes"
local offsets = require "plainsight.offsets"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

local FILE = "probes/syscalls.c"

-- System calls that move data, as far as the kprobe side is concerned; the tracepoint side sees all
-- and chooses by number (probes/syscalls.c).
local IO_CALLS = {
  "__x64_sys_read", "__x64_sys_write", "__x64_sys_readv", "__x64_sys_writev", "__x64_sys_preadv2",
  "__x64_sys_pwritev2", "__x64_sys_recvfrom", "__x64_sys_sendto", "__x64_sys_recvmsg", "__x64_sys_sendmsg",
  "__x64_sys_recvmmsg", "__x64_sys_sendmmsg", "__x64_sys_sendfile64", "__x64_sys_splice", "__x64_sys_shutdown",
}

-- 32-bit system calls, to count them. Which of them exist depends on the kernel's configuration and version.
local COMPAT_CALLS = {
  "__ia32_sys_read", "__ia32_sys_write", "__ia32_sys_sendto", "__ia32_compat_sys_recvfrom",
  "__ia32_compat_sys_sendmsg", "__ia32_compat_sys_recvmsg", "__ia32_compat_sys_socketcall",
}

-- Where io_uring takes a request: 6.4 and newer, 5.19 to 6.3.
local URING_TRACEPOINTS = { "io_uring_submit_req", "io_uring_submit_sqe" }
local URING_KERNEL_MIN = 5019

local COMMON_PROGRAMS = {
  { name = "tcp_destroy_sock", type = "raw_tracepoint" },
  { name = "inet_sock_set_state", type = "raw_tracepoint" },
  { name = "sched_process_exit", type = "raw_tracepoint" },
}

local CONTINUATIONS = { "copy_more", "judge", "copy_messages", "copy_file" } -- enum continuation

--- Programs to load, for a way to attach.
local function programs_for(attach, follow)
  local entry = attach == "kprobe" and "syscall_return" or "sys_exit"
  local entry_type = attach == "kprobe" and "kprobe" or "tracepoint"
  local list = {
    { name = entry, type = entry_type },
    -- A tail call needs programs of one type.
    { name = "copy_more", type = entry_type },
    { name = "judge", type = entry_type },
    { name = "copy_messages", type = entry_type },
    { name = "copy_file", type = entry_type },
    { name = "io_uring_submit_req", type = "raw_tracepoint" },
  }
  list[#list + 1] = attach == "kprobe" and { name = "syscall_close", type = "kprobe" } or
    { name = "sys_enter_close", type = "tracepoint" }
  for _, program in ipairs(COMMON_PROGRAMS) do list[#list + 1] = program end
  if follow then list[#list + 1] = { name = "sched_process_fork", type = "raw_tracepoint" } end
  return list
end

--- "port == 80 || port == 443" from validated numbers.
local function port_test(ports)
  local tests = {}
  for i, port in ipairs(ports) do tests[i] = ("port==%d"):format(port) end
  return table.concat(tests, "||")
end

local function filter_cflags(opts)
  local flags = {}
  if opts.pids then flags[#flags + 1] = "-DFILTER_TGID" end
  if opts.uid then flags[#flags + 1] = ("-DFILTER_UID=%d"):format(opts.uid) end
  if opts.comm then flags[#flags + 1] = "-DFILTER_COMM" end
  if opts.cgroup then flags[#flags + 1] = "-DFILTER_CGROUP" end
  if opts.ports then flags[#flags + 1] = "-DFILTER_PORTS=(" .. port_test(opts.ports) .. ")" end
  return flags
end

--- How to attach: what was asked for, else tracepoints where the kernel has them.
-- Both are there on almost every kernel. The tracepoint also sees calls that were waiting when it
-- was attached, and any number of waiting calls at once; a kretprobe does not (docs/attach.md).
local function choose_attach(wanted)
  if wanted == "kprobe" and not bpf.has_kprobes() then
    return nil, "this kernel has no kprobes (CONFIG_KPROBES): use --attach tracepoint"
  end
  return wanted or (bpf.has_tracepoint("raw_syscalls", "sys_exit") and "tracepoint" or "kprobe")
end

local function set_filters(maps, opts)
  local one = ffi.new("uint8_t[1]", 1)
  for _, pid in ipairs(opts.pids or {}) do
    local ok, err = bpf.map_update(maps.traced_tgids, ffi.new("uint32_t[1]", pid), one)
    if not ok then return nil, err end
  end
  local zero = ffi.new("uint32_t[1]")
  if opts.comm then
    local ok, err = bpf.map_update(maps.traced_comm, zero, ffi.new("char[16]", opts.comm))
    if not ok then return nil, err end
  end
  if opts.cgroup then
    local fd = C.open(opts.cgroup, bit.bor(0x80000, 0x10000)) -- O_CLOEXEC | O_DIRECTORY
    if fd < 0 then return sys.failed("--cgroup " .. opts.cgroup) end
    local ok = bpf.map_update(maps.traced_cgroup, zero, ffi.new("uint32_t[1]", fd))
    C.close(fd)
    if not ok then return nil, ("--cgroup %s: not a cgroup v2 directory"):format(opts.cgroup) end
  end
  return true
end

local function set_continuations(loaded)
  for index, name in ipairs(CONTINUATIONS) do
    local ok, err = bpf.map_update(loaded.maps.continuations, ffi.new("uint32_t[1]", index - 1),
      ffi.new("uint32_t[1]", loaded.programs[name]))
    if not ok then return nil, err end
  end
  return true
end

local Probes = {}
Probes.__index = Probes

function Probes:keep(fd, err)
  if not fd then return nil, err end
  self.links[#self.links + 1] = fd
  return true
end

function Probes:attach_kprobes()
  local probes = self.kprobes
  local ok, err = probes:define("syscall_return", IO_CALLS, kprobes.MAXACTIVE)
  if ok then ok, err = probes:define("syscall_return", COMPAT_CALLS, kprobes.MAXACTIVE, true) end
  if ok then ok, err = probes:define("syscall_close", { "__x64_sys_close" }) end
  if ok then ok, err = probes:attach(self.programs.syscall_close, "syscall_close") end
  if ok then ok, err = probes:attach(self.programs.syscall_return, "syscall_return") end
  return ok, err
end

function Probes:attach_tracepoints()
  local ok, err = self:keep(bpf.attach_tracepoint(self.programs.sys_enter_close, "syscalls", "sys_enter_close"))
  if not ok then return nil, err end
  return self:keep(bpf.attach_tracepoint(self.programs.sys_exit, "raw_syscalls", "sys_exit"))
end

--- Attach everything; what data passes through comes last.
function Probes:attach()
  for _, name in ipairs({ "sched_process_fork", "sched_process_exit", "tcp_destroy_sock", "inet_sock_set_state" }) do
    if self.programs[name] then
      local ok, err = self:keep(bpf.attach_raw_tracepoint(self.programs[name], name))
      if not ok then return nil, err end
    end
  end
  if bpf.kernel_version() >= URING_KERNEL_MIN then
    for _, name in ipairs(URING_TRACEPOINTS) do
      if self:keep(bpf.attach_raw_tracepoint(self.programs.io_uring_submit_req, name)) then break end
    end
  end
  if self.attach_kind == "kprobe" then return self:attach_kprobes() end
  return self:attach_tracepoints()
end

--- Detach: closing a link ends it.
function Probes:close()
  if self.kprobes then self.kprobes:close() end
  for _, fd in ipairs(self.links) do C.close(fd) end
  self.links = {}
end

local LOSSES = { "ring_full", "fault", "table_full", "cut", "no_buffer" } -- enum ps_loss
local INVISIBLE = { [0] = "io_uring", [1] = "compat" } -- enum ps_invisible

--- Runs of all programs that the kernel skipped.
function Probes:skipped_runs()
  local sum = 0
  for _, fd in pairs(self.programs) do sum = sum + bpf.skipped_runs(fd) end
  return sum
end

--- What the probes could not deliver so far.
-- @return { cause = { events = n, bytes = n } }, causes with none left out; bytes is 0 for those of
-- which nothing is known: missed (calls that no kretprobe was free for), skipped_runs
function Probes:losses()
  local found, value = {}, ffi.new("uint64_t[2]")
  for index, cause in ipairs(LOSSES) do
    if bpf.map_lookup(self.maps.losses, ffi.new("uint32_t[1]", index - 1), value) and value[0] > 0 then
      found[cause] = { events = tonumber(value[0]), bytes = tonumber(value[1]) }
    end
  end
  local missed, skipped = self.kprobes and self.kprobes:missed() or 0, self:skipped_runs()
  if missed > 0 then found.missed = { events = missed, bytes = 0 } end
  if skipped > 0 then found.skipped_runs = { events = skipped, bytes = 0 } end
  return found
end

--- Bytes of all calls that were to be reported so far, as counted where they were seen.
function Probes:seen_bytes()
  return bpf.map_sum(self.maps.seen_bytes, ffi.new("uint32_t[1]"))
end

--- Processes that move data in ways that cannot be followed.
-- @return list of { pid, comm, kind = "io_uring" or "compat", calls }, by pid
function Probes:invisible()
  local list, key, previous = {}, ffi.new("struct ps_invisible_key[1]"), nil
  local value = ffi.new("struct ps_invisible_calls[1]")
  while bpf.map_next_key(self.maps.invisible, previous, key) do
    if bpf.map_lookup(self.maps.invisible, key, value) then
      list[#list + 1] = {
        pid = key[0].tgid, kind = INVISIBLE[key[0].kind], calls = tonumber(value[0].calls),
        comm = ffi.string(value[0].comm),
      }
    end
    previous = previous or ffi.new("struct ps_invisible_key[1]")
    ffi.copy(previous, key, ffi.sizeof(key))
  end
  table.sort(list, function(a, b) return a.pid < b.pid end)
  return list
end

--- Returns compiler options and BTF ids of kfuncs (see plainsight.offsets), or nil and a message.
local function cflags_for(opts, attach_kind)
  local cflags, kfuncs = offsets.cflags()
  if not cflags then return nil, kfuncs end
  for _, flag in ipairs(filter_cflags(opts)) do cflags[#cflags + 1] = flag end
  cflags[#cflags + 1] = ("-DSELF_TGID=%d"):format(C.getpid())
  cflags[#cflags + 1] = ("-DRING_PAGES=%d"):format(opts.ring_mib * 256)
  if attach_kind == "kprobe" then cflags[#cflags + 1] = "-DATTACH_KPROBE" end
  if bpf.kernel_version() >= 5015 then cflags[#cflags + 1] = "-DHAVE_TASK_PT_REGS" end
  return cflags, kfuncs
end

--- Compile, load and set the filters; attach with :attach().
-- @param opts see plainsight.cli; used: attach, follow, pids, uid, comm, cgroup, ports, ring_mib
-- @return object with maps, programs, attach_kind; or nil and a message
function _M.load(opts)
  local attach_kind, err = choose_attach(opts.attach)
  if not attach_kind then return nil, err end
  local reaped
  if attach_kind == "kprobe" then
    reaped, err = kprobes.new() -- first of all: its child process then shares nothing that is opened here
    if not reaped then return nil, err end
  end
  local loaded, ok
  local cflags, kfuncs = cflags_for(opts, attach_kind)
  if not cflags then return nil, kfuncs end
  loaded, err = compiler.load(FILE, cflags, programs_for(attach_kind, opts.pids and opts.follow ~= false), kfuncs)
  if not loaded then return nil, err end
  ok, err = set_continuations(loaded)
  if ok then ok, err = set_filters(loaded.maps, opts) end
  if not ok then return nil, err end
  loaded.attach_kind, loaded.kprobes, loaded.links = attach_kind, reaped, {}
  return setmetatable(loaded, Probes)
end

return _M
