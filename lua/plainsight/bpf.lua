-- SPDX-License-Identifier: Apache-2.0
--- The bpf(2) and perf_event_open(2) system calls: load and attach programs,
-- read and write maps.
--
-- Every attachment is a descriptor and ends with it, so nothing stays behind
-- when the tool is killed. For kprobes see plainsight.kprobes.
local ffi = require "ffi"
local paths = require "plainsight.paths"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

ffi.cdef [[
struct ps_bpf_map_create {
  uint32_t type, key_size, value_size, max_entries, flags, inner_map_fd, numa_node; char name[16];
};
struct ps_bpf_map_elem { uint32_t map_fd, pad; uint64_t key, value, flags; };
struct ps_bpf_map_freeze { uint32_t map_fd; };
struct ps_bpf_map_info { /* the start of struct bpf_map_info */
  uint32_t type, id, key_size, value_size, max_entries, flags;
};
struct ps_bpf_prog_load {
  uint32_t type, insn_count; uint64_t insns, license; uint32_t log_level, log_size; uint64_t log_buf;
  uint32_t kernel_version, flags; char name[16]; uint32_t ifindex, attach_type;
};
struct ps_bpf_link_create { /* of union bpf_attr, for BPF_LINK_CREATE */
  uint32_t prog_fd, target_fd, attach_type, flags;
  union {
    struct { uint64_t cookie; } perf_event;
    struct { uint64_t path, offsets, ref_ctr_offsets, cookies; uint32_t count, flags, pid, pad; } uprobe_multi;
  };
};
struct ps_bpf_raw_tracepoint { uint64_t name; uint32_t prog_fd, pad; };
struct ps_bpf_obj_info { uint32_t fd, info_size; uint64_t info; };
struct ps_bpf_prog_info { /* the start of struct bpf_prog_info */
  uint32_t type, id; uint8_t between[200]; uint64_t recursion_misses;
};
struct ps_bpf_id { uint32_t start_id, next_id, flags; };
struct ps_perf_event_attr {
  uint32_t type, size; uint64_t config, sample_period, sample_type, read_format, flags;
  uint32_t wakeup_events, bp_type; uint64_t config1, config2, rest[5];
};
int ioctl(int fd, unsigned long request, ...);
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
]]

local NR_PERF_EVENT_OPEN, NR_BPF = 298, 321 -- x86-64
-- enum bpf_cmd
local MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, MAP_DELETE, MAP_GET_NEXT_KEY, PROG_LOAD = 0, 1, 2, 3, 4, 5
local PROG_GET_NEXT_ID, OBJ_GET_INFO, RAW_TRACEPOINT_OPEN, MAP_FREEZE, LINK_CREATE = 11, 15, 17, 22, 28
local PERF_EVENT, TRACE_UPROBE_MULTI = 41, 48 -- enum bpf_attach_type
local F_UPROBE_MULTI_RETURN = 1
local PERF_TYPE_TRACEPOINT, PERF_FLAG_FD_CLOEXEC = 2, 8
local IOC_ENABLE, IOC_SET_BPF = 0x2400, 0x40042408
local LOG_SIZE = 4 * 1024 * 1024

--- Program types (enum bpf_prog_type).
_M.types = { kprobe = 2, tracepoint = 5, raw_tracepoint = 17 }

local function int(n) return ffi.cast("int", n) end
local function address(pointer) return ffi.cast("uint64_t", ffi.cast("uintptr_t", pointer)) end

local function bpf(command, attr)
  return tonumber(C.syscall(NR_BPF, int(command), attr, ffi.cast("unsigned", ffi.sizeof(attr))))
end

--- Load a program.
-- @param name up to 15 characters show up in bpftool
-- @param insns string of instructions
-- @param prog_type "kprobe", "tracepoint" or "raw_tracepoint"
-- @param attach_type enum bpf_attach_type, for attachments that want it named (BPF_TRACE_UPROBE_MULTI); default: 0
-- @return descriptor, or nil, message, errno, and the verifier's log when it has one
function _M.load(name, insns, prog_type, attach_type)
  local license = ffi.new("char[4]", "GPL")
  local code = ffi.new("char[?]", #insns)
  ffi.copy(code, insns, #insns)
  local attr = ffi.new("struct ps_bpf_prog_load")
  attr.type, attr.insn_count = _M.types[prog_type], #insns / 8
  attr.insns, attr.license, attr.attach_type = address(code), address(license), attach_type or 0
  ffi.copy(attr.name, name:sub(1, 15))
  local fd = bpf(PROG_LOAD, attr)
  if fd >= 0 then return fd end
  local _, message, errno = sys.failed("loading probe " .. name)
  local log = ffi.new("char[?]", LOG_SIZE)
  attr.log_level, attr.log_size, attr.log_buf = 1, LOG_SIZE, address(log)
  fd = bpf(PROG_LOAD, attr) -- again, for the verifier's reason only
  if fd >= 0 then C.close(fd) end
  return nil, message, errno, ffi.string(log)
end

--- Attach to a raw tracepoint, such as "sys_exit". Returns a descriptor, or nil, message, errno.
function _M.attach_raw_tracepoint(prog_fd, name)
  local text = ffi.new("char[?]", #name + 1, name)
  local attr = ffi.new("struct ps_bpf_raw_tracepoint")
  attr.name, attr.prog_fd = address(text), prog_fd
  local fd = bpf(RAW_TRACEPOINT_OPEN, attr)
  if fd < 0 then return sys.failed("raw tracepoint " .. name) end
  return fd
end

local function open_perf_event(attr, pid, what)
  attr.size, attr.sample_period, attr.wakeup_events = ffi.sizeof(attr), 1, 1
  local fd = tonumber(C.syscall(NR_PERF_EVENT_OPEN, attr, int(pid or -1), int(pid and -1 or 0), int(-1),
    ffi.cast("unsigned long", PERF_FLAG_FD_CLOEXEC)))
  if fd < 0 then return sys.failed(what) end
  return fd
end

local function attach_perf_event(prog_fd, attr, what, pid)
  local fd, err, errno = open_perf_event(attr, pid, what)
  if not fd then return nil, err, errno end
  if C.ioctl(fd, IOC_SET_BPF, int(prog_fd)) < 0 or C.ioctl(fd, IOC_ENABLE, int(0)) < 0 then
    local _, message, number = sys.failed(what)
    C.close(fd)
    return nil, message, number
  end
  return fd
end

--- Attach to a perf event with a cookie for the program (5.15 and newer). Returns a descriptor, or nil, message, errno.
local function link_perf_event(prog_fd, event_fd, cookie, what)
  local attr = ffi.new("struct ps_bpf_link_create")
  attr.prog_fd, attr.target_fd, attr.attach_type, attr.perf_event.cookie = prog_fd, event_fd, PERF_EVENT, cookie
  local fd = bpf(LINK_CREATE, attr)
  if fd < 0 then return sys.failed(what) end
  return fd
end

local UPROBE_PMU = "/sys/bus/event_source/devices/uprobe/type"
local UPROBE_IS_RETURN = 1 -- .../uprobe/format/retprobe

--- Attach to one place in a file, by a perf event; see plainsight.uprobes.
-- @param place { offset, cookie }
-- @param has_cookies the program asks for its cookie
-- @return list of descriptors, or nil, message, errno
function _M.attach_uprobe(prog_fd, path, pid, place, is_return, has_cookies)
  local what = ("uprobe %s+%#x"):format(path, place.offset)
  local text = ffi.new("char[?]", #path + 1, path)
  local attr = ffi.new("struct ps_perf_event_attr")
  local pmu = tonumber((paths.read(UPROBE_PMU)))
  if not pmu then return nil, "this kernel has no uprobes (CONFIG_UPROBES)" end
  attr.type, attr.config = pmu, is_return and UPROBE_IS_RETURN or 0
  attr.config1, attr.config2 = address(text), place.offset
  if not has_cookies then
    local fd, err, errno = attach_perf_event(prog_fd, attr, what, pid)
    return fd and { fd }, err, errno
  end
  local fd, err, errno = open_perf_event(attr, pid, what)
  if not fd then return nil, err, errno end
  local link, why, number = link_perf_event(prog_fd, fd, place.cookie, what)
  if not link then
    C.close(fd)
    return nil, why, number
  end
  return { link, fd }
end

--- Attach to many places in a file at once (uprobe_multi); see plainsight.uprobes.
-- @param places list of { offset, cookie }
-- @return descriptor, or nil, message, errno
function _M.attach_uprobe_multi(prog_fd, path, pid, places, is_return)
  local text = ffi.new("char[?]", #path + 1, path)
  local offsets, cookies = ffi.new("uint64_t[?]", #places), ffi.new("uint64_t[?]", #places)
  for i, place in ipairs(places) do offsets[i - 1], cookies[i - 1] = place.offset, place.cookie end
  local attr = ffi.new("struct ps_bpf_link_create")
  local multi = attr.uprobe_multi
  attr.prog_fd, attr.attach_type = prog_fd, TRACE_UPROBE_MULTI
  multi.path, multi.offsets, multi.cookies = address(text), address(offsets), address(cookies)
  multi.count, multi.pid, multi.flags = #places, pid or 0, is_return and F_UPROBE_MULTI_RETURN or 0
  local fd = bpf(LINK_CREATE, attr)
  if fd < 0 then return sys.failed("uprobes on " .. path) end
  return fd
end

--- Whether the kernel has kprobes (CONFIG_KPROBES).
function _M.has_kprobes()
  return paths.read("/sys/bus/event_source/devices/kprobe/type") ~= nil
end

local TRACEFS = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" }

--- Where tracefs is mounted, when it has the file (a path below it) there; else nil and errno.
function _M.tracefs(file)
  local errno
  for _, root in ipairs(TRACEFS) do
    local ok, _, number = sys.may(root .. "/" .. file, 0)
    if ok then return root end
    errno = errno or number
  end
  return nil, errno
end

--- Mount tracefs where it belongs, as perf and trace-cmd do. Returns true, or nil and a message.
function _M.mount_tracefs()
  if C.mount("tracefs", TRACEFS[1], "tracefs", 0, nil) ~= 0 then return sys.failed("mount " .. TRACEFS[1]) end
  return true
end

local function tracepoint_id(category, name)
  local file = ("events/%s/%s/id"):format(category, name)
  local root = _M.tracefs(file)
  return root and tonumber((paths.read(root .. "/" .. file)))
end

--- Whether the kernel has a tracepoint, and tracefs is mounted where it can be found.
function _M.has_tracepoint(category, name)
  return tracepoint_id(category, name) ~= nil
end

--- Attach to a tracepoint, such as "syscalls", "sys_enter_close".
function _M.attach_tracepoint(prog_fd, category, name)
  local id = tracepoint_id(category, name)
  if not id then
    return nil, ("tracepoint %s:%s not found: mount -t tracefs tracefs /sys/kernel/tracing"):format(category, name)
  end
  local attr = ffi.new("struct ps_perf_event_attr")
  attr.type, attr.config = PERF_TYPE_TRACEPOINT, id
  return attach_perf_event(prog_fd, attr, "tracepoint " .. name)
end

--- The kernel's number of a program. Returns nil when there is no such descriptor.
function _M.program_id(prog_fd)
  local info = ffi.new("struct ps_bpf_prog_info[1]")
  local attr = ffi.new("struct ps_bpf_obj_info", { prog_fd, ffi.sizeof(info), address(info) })
  return bpf(OBJ_GET_INFO, attr) == 0 and info[0].id or nil
end

--- Whether a program is still in use, by its number. It is not opened for that, which could keep it.
-- Without CAP_SYS_ADMIN there is no telling: true.
function _M.is_program(id)
  local attr = ffi.new("struct ps_bpf_id", { id - 1 })
  if bpf(PROG_GET_NEXT_ID, attr) == 0 then return attr.next_id == id end
  return ffi.errno() ~= sys.errno.ENOENT
end

--- Runs of a program that the kernel skipped because one was under way on that CPU.
-- Kernels before 5.12 do not count them: 0; those before 6.7 not for kprobes and tracepoints.
function _M.skipped_runs(prog_fd)
  local info = ffi.new("struct ps_bpf_prog_info[1]")
  local attr = ffi.new("struct ps_bpf_obj_info", { prog_fd, ffi.sizeof(info), address(info) })
  if bpf(OBJ_GET_INFO, attr) < 0 then return 0 end
  return tonumber(info[0].recursion_misses)
end

--- Create a map.
-- @param name up to 15 characters show up in bpftool
-- @param definition { type, key_size, value_size, max_entries, flags }: numbers, as bpf(2) takes them
-- @return descriptor, or nil, message, errno
function _M.map_create(name, definition)
  local attr = ffi.new("struct ps_bpf_map_create")
  attr.type, attr.key_size, attr.value_size = definition.type, definition.key_size, definition.value_size
  attr.max_entries, attr.flags = definition.max_entries, definition.flags
  ffi.copy(attr.name, name:sub(1, 15))
  local fd = bpf(MAP_CREATE, attr)
  if fd < 0 then return sys.failed("creating map " .. name) end
  return fd
end

--- What a map is. Returns a definition as map_create() takes it, or nil and a message.
function _M.map_definition(map_fd)
  local info = ffi.new("struct ps_bpf_map_info[1]")
  local attr = ffi.new("struct ps_bpf_obj_info", { map_fd, ffi.sizeof(info), address(info) })
  if bpf(OBJ_GET_INFO, attr) < 0 then return sys.failed("map info") end
  local map = info[0]
  return {
    type = map.type, key_size = map.key_size, value_size = map.value_size, max_entries = map.max_entries,
    flags = map.flags,
  }
end

--- Forbid all further changes of a map's entries by user space. Returns true, or nil and a message.
function _M.map_freeze(map_fd)
  if bpf(MAP_FREEZE, ffi.new("struct ps_bpf_map_freeze", { map_fd })) < 0 then return sys.failed("map freeze") end
  return true
end

local function map_elem(command, map_fd, key, value)
  local attr = ffi.new("struct ps_bpf_map_elem")
  attr.map_fd, attr.key, attr.value = map_fd, address(key), address(value)
  return bpf(command, attr)
end

--- Set a map entry; key and value are cdata arrays. Returns true, or nil and a message.
function _M.map_update(map_fd, key, value)
  if map_elem(MAP_UPDATE, map_fd, key, value) < 0 then return sys.failed("map update") end
  return true
end

--- Remove a map entry, if there is one.
function _M.map_delete(map_fd, key) map_elem(MAP_DELETE, map_fd, key, nil) end

--- Read a map entry into value. Returns true, or nil when there is none.
function _M.map_lookup(map_fd, key, value)
  return map_elem(MAP_LOOKUP, map_fd, key, value) == 0 or nil
end

local function possible_cpus()
  local text = paths.read("/sys/devices/system/cpu/possible") or "0" -- such as "0-3"
  return tonumber(text:match("(%d+)%s*$")) + 1
end

--- Sum over the CPUs of an entry of a per-CPU map of u64.
-- @return number
function _M.map_sum(map_fd, key)
  local values = ffi.new("uint64_t[?]", possible_cpus())
  local sum = 0ULL
  if not _M.map_lookup(map_fd, key, values) then return 0 end
  for cpu = 0, possible_cpus() - 1 do sum = sum + values[cpu] end
  return tonumber(sum)
end

--- The key after previous (nil: the first) into key. Returns true, or nil at the end.
function _M.map_next_key(map_fd, previous, key)
  local attr = ffi.new("struct ps_bpf_map_elem")
  attr.map_fd, attr.key, attr.value = map_fd, previous and address(previous) or 0, address(key)
  return bpf(MAP_GET_NEXT_KEY, attr) == 0 or nil
end

--- Kernel release as a comparable number: 6.1.55 is 6001.
function _M.kernel_version()
  local release = paths.read("/proc/sys/kernel/osrelease") or "0.0"
  local major, minor = release:match("^(%d+)%.(%d+)")
  return tonumber(major) * 1000 + tonumber(minor), (release:gsub("%s+$", ""))
end

return _M
