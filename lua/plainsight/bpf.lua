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
struct ps_bpf_map_elem { uint32_t map_fd, pad; uint64_t key, value, flags; };
struct ps_bpf_prog_load {
  uint32_t type, insn_count; uint64_t insns, license; uint32_t log_level, log_size; uint64_t log_buf;
  uint32_t kernel_version, flags; char name[16]; uint32_t ifindex, attach_type;
};
struct ps_bpf_insn { uint8_t opcode, registers; int16_t offset; int32_t imm; };
struct ps_bpf_raw_tracepoint { uint64_t name; uint32_t prog_fd, pad; };
struct ps_bpf_obj_info { uint32_t fd, info_size; uint64_t info; };
struct ps_bpf_prog_info { uint8_t before[208]; uint64_t recursion_misses; }; /* the start of struct bpf_prog_info */
struct ps_perf_event_attr {
  uint32_t type, size; uint64_t config, sample_period, sample_type, read_format, flags;
  uint32_t wakeup_events, bp_type; uint64_t config1, config2, rest[5];
};
int ioctl(int fd, unsigned long request, ...);
]]

local NR_PERF_EVENT_OPEN, NR_BPF = 298, 321 -- x86-64
local MAP_LOOKUP, MAP_UPDATE, MAP_GET_NEXT_KEY, PROG_LOAD, OBJ_GET_INFO, RAW_TRACEPOINT_OPEN = 1, 2, 4, 5, 15, 17
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
-- @return descriptor, or nil, message, errno, and the verifier's log when it has one
function _M.load(name, insns, prog_type)
  local license = ffi.new("char[4]", "GPL")
  local code = ffi.new("char[?]", #insns)
  ffi.copy(code, insns, #insns)
  local attr = ffi.new("struct ps_bpf_prog_load")
  attr.type, attr.insn_count = _M.types[prog_type], #insns / 8
  attr.insns, attr.license = address(code), address(license)
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

-- struct bpf_insn; BPF_JMP | BPF_CALL, and BPF_PSEUDO_KFUNC_CALL as its source register.
local OPCODE_CALL, PSEUDO_KFUNC_CALL = 0x85, 0x20

--- Make calls of made-up helper numbers calls of kernel functions.
-- @param insns string of instructions
-- @param kfuncs BTF ids by number, or nil
-- @return string of instructions
function _M.bind_kfuncs(insns, kfuncs)
  if not kfuncs then return insns end
  local code = ffi.new("struct ps_bpf_insn[?]", #insns / 8)
  ffi.copy(code, insns, #insns)
  for i = 0, #insns / 8 - 1 do
    local id = code[i].opcode == OPCODE_CALL and kfuncs[code[i].imm]
    if id then code[i].registers, code[i].imm = PSEUDO_KFUNC_CALL, id end
  end
  return ffi.string(code, #insns)
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

local function attach_perf_event(prog_fd, attr, what)
  attr.size, attr.sample_period, attr.wakeup_events = ffi.sizeof(attr), 1, 1
  local fd = tonumber(C.syscall(NR_PERF_EVENT_OPEN, attr, int(-1), int(0), int(-1),
    ffi.cast("unsigned long", PERF_FLAG_FD_CLOEXEC)))
  if fd < 0 then return sys.failed(what) end
  if C.ioctl(fd, IOC_SET_BPF, int(prog_fd)) < 0 or C.ioctl(fd, IOC_ENABLE, int(0)) < 0 then
    local _, message, errno = sys.failed(what)
    C.close(fd)
    return nil, message, errno
  end
  return fd
end

--- Whether the kernel has kprobes (CONFIG_KPROBES).
function _M.has_kprobes()
  return paths.read("/sys/bus/event_source/devices/kprobe/type") ~= nil
end

local TRACEFS = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" }

--- Where tracefs is mounted, when it has the file (a path below it) there; else nil.
function _M.tracefs(file)
  for _, root in ipairs(TRACEFS) do
    if C.access(root .. "/" .. file, 0) == 0 then return root end
  end
  return nil
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

--- Runs of a program that the kernel skipped because one was under way on that CPU.
-- Kernels before 5.12 do not count them: 0; those before 6.7 not for kprobes and tracepoints.
function _M.skipped_runs(prog_fd)
  local info = ffi.new("struct ps_bpf_prog_info[1]")
  local attr = ffi.new("struct ps_bpf_obj_info", { prog_fd, ffi.sizeof(info), address(info) })
  if bpf(OBJ_GET_INFO, attr) < 0 then return 0 end
  return tonumber(info[0].recursion_misses)
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
