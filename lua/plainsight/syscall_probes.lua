-- SPDX-License-Identifier: Apache-2.0
--- The probes on system calls (probes/syscalls.c): which programs there are, and
-- where each is attached.
local ffi = require "ffi"
local bpf = require "plainsight.bpf"
local compiler = require "plainsight.compiler"
local hierarchy = require "plainsight.containers.hierarchy"
local kprobes = require "plainsight.kprobes"
local loader = require "plainsight.loader"
local offsets = require "plainsight.offsets"
local settings = require "plainsight.settings"
local tls_probes = require "plainsight.tls.probes"
require "plainsight.contract"

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

-- What tells that a process has loaded something to attach to (probes/include/notice.h).
local PROCESS_CALLS = { "__x64_sys_mmap" }

-- 32-bit system calls, to count them. Which of them exist depends on the kernel's configuration and version.
local COMPAT_CALLS = {
  "__ia32_sys_read", "__ia32_sys_write", "__ia32_sys_sendto", "__ia32_compat_sys_recvfrom",
  "__ia32_compat_sys_sendmsg", "__ia32_compat_sys_recvmsg", "__ia32_compat_sys_socketcall",
}

-- Where io_uring takes a request: 6.4 and newer, 5.19 to 6.3.
local URING_TRACEPOINTS = { "io_uring_submit_req", "io_uring_submit_sqe" }
local URING_KERNEL_MIN = 5019

-- Whose programs have their names.
local RAW_TRACEPOINTS = {
  "sched_process_fork", "sched_process_exec", "sched_process_exit", "tcp_destroy_sock", "inet_sock_set_state",
}

local COMMON_PROGRAMS = {
  { name = "tcp_destroy_sock", type = "raw_tracepoint" },
  { name = "inet_sock_set_state", type = "raw_tracepoint" },
  { name = "sched_process_exit", type = "raw_tracepoint" },
}

local CONTINUATIONS = { "copy_more", "judge", "copy_messages", "copy_file" } -- enum continuation

--- Programs to load, for a way to attach.
local function programs_for(attach, opts)
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
  local is_following = opts.pids and opts.follow ~= false
  if is_following or opts.tls and not opts.pids and settings.is_by_process(opts) then
    list[#list + 1] = { name = "sched_process_fork", type = "raw_tracepoint" }
  end
  if opts.tls then list[#list + 1] = { name = "sched_process_exec", type = "raw_tracepoint" } end
  if opts.tls and attach == "kprobe" then list[#list + 1] = { name = "child_starts", type = "kprobe" } end
  return list
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

function Probes:attach_process_kprobes()
  local probes = self.kprobes
  local ok, err = probes:define("syscall_return", PROCESS_CALLS, kprobes.MAXACTIVE)
  if ok then ok, err = probes:define("child_starts", { "schedule_tail" }, kprobes.MAXACTIVE) end
  if ok then ok, err = probes:attach(self.programs.child_starts, "child_starts") end
  return ok, err
end

function Probes:attach_kprobes()
  local probes = self.kprobes
  local ok, err = probes:define("syscall_return", IO_CALLS, kprobes.MAXACTIVE)
  if ok then ok, err = probes:define("syscall_return", COMPAT_CALLS, kprobes.MAXACTIVE, true) end
  if ok and self.tls then ok, err = self:attach_process_kprobes() end
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
  for _, name in ipairs(RAW_TRACEPOINTS) do
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

local LOSSES = { "ring_full", "fault", "table_full", "cut", "no_buffer", "notices" } -- enum ps_loss
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

--- Capture less: probes/include/report.h.
-- @param share number from 0 to 256: of so many of 256 connections nothing
-- @param is_without_bodies boolean: of large calls of HTTP/1 only heads
-- @return true, or nil and a message
function Probes:leave_out(share, is_without_bodies)
  local function set(index, value)
    return bpf.map_update(self.maps.budget, ffi.new("uint32_t[1]", index), ffi.new("uint32_t[1]", value))
  end
  local ok, err = set(1, is_without_bodies and 1 or 0)
  if ok then ok, err = set(0, share) end
  return ok, err
end

--- What moved on connections while they were left out.
-- @return calls, bytes
function Probes:left_out()
  local calls, bytes = ffi.new("uint32_t[1]", 0), ffi.new("uint32_t[1]", 1)
  return bpf.map_sum(self.maps.left_out, calls), bpf.map_sum(self.maps.left_out, bytes)
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

--- What depends on the kernel and the way to attach, and on nothing else: the cache of compiled probes
-- (plainsight.cache) has an entry for each.
-- @return compiler options and BTF ids of kfuncs (see plainsight.offsets), or nil and a message
local function cflags_for(attach_kind, without)
  local cgroups = hierarchy.find()
  local cflags, kfuncs = offsets.cflags(without, cgroups and cgroups.controller)
  if not cflags then return nil, kfuncs end
  if attach_kind == "kprobe" then cflags[#cflags + 1] = "-DATTACH_KPROBE" end
  if bpf.kernel_version() >= 5015 then
    cflags[#cflags + 1] = "-DHAVE_TASK_PT_REGS"
    cflags[#cflags + 1] = "-DHAVE_ATTACH_COOKIE"
  end
  return cflags, kfuncs
end

--- Begin to compile.
-- @param without see plainsight.offsets
-- @return table for load_programs(), or nil and a message
local function begin(attach_kind, without)
  local cflags, kfuncs = cflags_for(attach_kind, without)
  if not cflags then return nil, kfuncs end
  local compilation, err = compiler.begin(FILE, cflags)
  return compilation and { attach_kind = attach_kind, kfuncs = kfuncs, compilation = compilation }, err
end

--- Maps and programs in the kernel, with filters set.
-- @param begun see begin()
-- @return plainsight.loader object; or nil, message, and whether the kernel refused a program
local function load_programs(opts, begun)
  local description, err = begun.compilation:finish()
  if not description then return nil, err end
  local loaded = loader.new(description, {
    settings = settings.of(opts), kfuncs = begun.kfuncs, max_entries = { events = opts.ring_mib * 1024 * 1024 },
  })
  local accepted, ok
  accepted, err = loaded:load(programs_for(begun.attach_kind, opts))
  ok = accepted
  if ok then ok, err = set_continuations(loaded) end
  if ok then ok, err = settings.fill(loaded.maps, opts) end
  if ok then return loaded end
  loaded:close()
  return nil, err, not accepted
end

--- The same, whatever the verifier thinks of plain loads of kernel memory: it compares them with the kernel's
-- types, and those of the next kernel are not known.
local function load_either(opts, begun)
  local loaded, err, refused = load_programs(opts, begun)
  local other = refused and begin(begun.attach_kind, "HAVE_RDONLY_CAST")
  if other then loaded = load_programs(opts, other) end
  return loaded, err
end

--- Begin to compile, in another process; with load() it has to be done.
-- @param opts see plainsight.cli; used: attach
-- @return table for load(), or nil and a message
function _M.begin(opts)
  local attach_kind, err = choose_attach(opts.attach)
  if not attach_kind then return nil, err end
  return begin(attach_kind)
end

--- Load and set the filters; attach with :attach().
-- @param opts see plainsight.cli; used: follow, pids, uid, comm, cgroup, ports, ring_mib
-- @param begun see begin()
-- @return object with maps, programs, attach_kind; or nil and a message
function _M.load(opts, begun)
  local attach_kind, reaped, err = begun.attach_kind
  if attach_kind == "kprobe" then
    reaped, err = kprobes.new() -- first of all: its child process then shares nothing that is opened here
    if not reaped then return nil, err end
  end
  local loaded
  loaded, err = load_either(opts, begun)
  if not loaded then return nil, err end
  local tls
  if opts.tls then
    tls, err = tls_probes.load(loaded)
    if not tls then return nil, err end
  end
  return setmetatable({
    tls = tls, maps = loaded.maps, programs = loaded.programs, attach_kind = attach_kind, kprobes = reaped,
    links = {},
  }, Probes)
end

return _M
