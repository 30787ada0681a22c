-- SPDX-License-Identifier: Apache-2.0
--- Can this machine and this user run the probes? One line with the remedy when not.
local ffi = require "ffi"
local bit = require "bit"
local bpf = require "plainsight.bpf"
local btf = require "plainsight.btf"
local paths = require "plainsight.paths"
local settings = require "plainsight.settings"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

-- Bit numbers: include/uapi/linux/capability.h. CAP_SYS_ADMIN stands for both of the others.
local CAPABILITIES = { { name = "CAP_PERFMON", number = 38 }, { name = "CAP_BPF", number = 39 } }
local CAP_SYS_ADMIN = 21
-- To let processes of other users go on that wait.
local CAP_KILL = { name = "CAP_KILL", number = 5 }
local R_OK = 4

-- BPF ring buffers came with 5.8.
local KERNEL_MIN, KERNEL_MIN_TEXT = 5008, "5.8"

local function has_capability(mask, number)
  local hex = mask:sub(-(math.floor(number / 4) + 1), -(math.floor(number / 4) + 1))
  return bit.band(tonumber(hex, 16), bit.lshift(1, number % 4)) ~= 0
end

local function check_capabilities(opts)
  local status = paths.read("/proc/self/status") or ""
  local mask = status:match("CapEff:%s*(%x+)")
  if not mask then return true end
  local needed, missing = {}, {}
  if not has_capability(mask, CAP_SYS_ADMIN) then needed = { unpack(CAPABILITIES) } end
  if settings.is_holding(opts) then needed[#needed + 1] = CAP_KILL end
  for _, capability in ipairs(needed) do
    if not has_capability(mask, capability.number) then missing[#missing + 1] = capability.name end
  end
  if #missing == 0 then return true end
  return nil, ("needs %s: run it with sudo"):format(table.concat(missing, " and "))
end

-- The smallest map there is: a container may be without bpf(2) whatever capabilities it has (seccomp).
local PROBE_MAP = { type = 2, key_size = 4, value_size = 4, max_entries = 1, flags = 0 } -- BPF_MAP_TYPE_ARRAY

local function check_bpf()
  sys.unlimit_memlock()
  local fd, _, errno = bpf.map_create("preflight", PROBE_MAP)
  if fd then return C.close(fd) == 0 end
  return nil, ("BPF is not allowed here (bpf(2): %s): run it on the host, not in this container"):format(
    sys.strerror(errno))
end

-- Mounted for root alone, as is usual; in containers and on small systems not at all.
local function check_tracefs()
  local root, errno = bpf.tracefs("events")
  if root then return true end
  if errno == sys.errno.EACCES then
    return nil, "needs CAP_DAC_READ_SEARCH, to read /sys/kernel/tracing: run it with sudo"
  end
  if bpf.mount_tracefs() and bpf.tracefs("events") then return true end
  return nil, "tracefs is not mounted, and cannot be: mount -t tracefs tracefs /sys/kernel/tracing"
end

local function check_kernel()
  local version, release = bpf.kernel_version()
  if version < KERNEL_MIN then
    return nil, ("Linux %s is too old: %s or newer is needed"):format(release, KERNEL_MIN_TEXT)
  end
  if C.access(btf.VMLINUX, R_OK) ~= 0 then
    return nil, ("no %s: this kernel was built without BTF (CONFIG_DEBUG_INFO_BTF=y is needed)"):format(btf.VMLINUX)
  end
  local lockdown = paths.read("/sys/kernel/security/lockdown") or ""
  if lockdown:find("[confidentiality]", 1, true) then
    return nil, "kernel lockdown in confidentiality mode keeps BPF from reading memory: boot with lockdown=integrity"
  end
  return true
end

-- Of /proc/self/ns/pid, for the namespace that the kernel started with (include/linux/proc_ns.h).
local INITIAL_PID_NAMESPACE = "pid:[4026531836]"

--- The kernel tells the probes process ids of its initial namespace; others would be taken for those.
local function check_pids(opts)
  local namespace = (opts.pids or opts.command or opts.hold) and sys.readlink("/proc/self/ns/pid")
  if namespace and namespace ~= INITIAL_PID_NAMESPACE then
    return nil, "process ids mean others in this pid namespace: run it in that of the host (docker run --pid=host)"
  end
  for _, pid in ipairs(opts.pids or {}) do
    if C.kill(pid, 0) ~= 0 and ffi.errno() == sys.errno.ESRCH then
      return nil, ("there is no process %d"):format(pid)
    end
  end
  return true
end

--- Everything that can be known before the probes are compiled.
-- @param opts see plainsight.cli
-- @return true, or nil and a message
function _M.check(opts)
  local ok, err = check_kernel()
  if ok then ok, err = check_capabilities(opts) end
  if ok then ok, err = check_bpf() end
  if ok then ok, err = check_tracefs() end
  if ok then ok, err = check_pids(opts) end
  if not ok then return nil, err end
  return true
end

return _M
