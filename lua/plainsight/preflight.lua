-- SPDX-License-Identifier: Apache-2.0
--- Can this machine and this user run the probes? One line with the remedy when not.
local ffi = require "ffi"
local bit = require "bit"
local bpf = require "plainsight.bpf"
local btf = require "plainsight.btf"
local paths = require "plainsight.paths"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

-- Bit numbers: include/uapi/linux/capability.h. CAP_SYS_ADMIN stands for both of the others.
local CAPABILITIES = { { name = "CAP_PERFMON", number = 38 }, { name = "CAP_BPF", number = 39 } }
local CAP_SYS_ADMIN = 21

-- BPF ring buffers came with 5.8.
local KERNEL_MIN, KERNEL_MIN_TEXT = 5008, "5.8"

local function has_capability(mask, number)
  local hex = mask:sub(-(math.floor(number / 4) + 1), -(math.floor(number / 4) + 1))
  return bit.band(tonumber(hex, 16), bit.lshift(1, number % 4)) ~= 0
end

local function check_capabilities()
  local status = paths.read("/proc/self/status") or ""
  local mask = status:match("CapEff:%s*(%x+)")
  if not mask or has_capability(mask, CAP_SYS_ADMIN) then return true end
  local missing = {}
  for _, capability in ipairs(CAPABILITIES) do
    if not has_capability(mask, capability.number) then missing[#missing + 1] = capability.name end
  end
  if #missing == 0 then return true end
  return nil, ("needs %s: run it with sudo"):format(table.concat(missing, " and "))
end

local function check_kernel()
  local version, release = bpf.kernel_version()
  if version < KERNEL_MIN then
    return nil, ("Linux %s is too old: %s or newer is needed"):format(release, KERNEL_MIN_TEXT)
  end
  if not paths.read(btf.VMLINUX) then
    return nil, ("no %s: this kernel was built without BTF (CONFIG_DEBUG_INFO_BTF=y is needed)"):format(btf.VMLINUX)
  end
  local lockdown = paths.read("/sys/kernel/security/lockdown") or ""
  if lockdown:find("[confidentiality]", 1, true) then
    return nil, "kernel lockdown in confidentiality mode keeps BPF from reading memory: boot with lockdown=integrity"
  end
  return true
end

local function check_pids(pids)
  for _, pid in ipairs(pids or {}) do
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
  if ok then ok, err = check_capabilities() end
  if ok then ok, err = check_pids(opts.pids) end
  if not ok then return nil, err end
  if not paths.read(paths.file("build/libplainsight.so")) then
    return nil, ("%s is missing: run make"):format(paths.file("build/libplainsight.so"))
  end
  return true
end

return _M
