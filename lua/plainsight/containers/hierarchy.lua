-- SPDX-License-Identifier: Apache-2.0
--- The cgroup hierarchy in which containers are told apart, and its directories by id.
--
-- With cgroup v2 alone that is the one there is. Where controllers are mounted as cgroup v1 (also beside v2, what
-- systemd calls hybrid), runtimes make a cgroup for each container in every one of these hierarchies, and none in v2
-- that could be relied on. The id of a cgroup is the inode number of its directory in either version.
local ffi = require "ffi"
local bit = require "bit"
local host = require "plainsight.containers.host"
local paths = require "plainsight.paths"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

ffi.cdef [[
int open_by_handle_at(int mount_fd, struct ps_file_handle *handle, int flags);
]]

local O_CLOEXEC, O_DIRECTORY = 0x80000, 0x10000
local FILEID_KERNFS = 0xfe -- include/linux/exportfs.h
local ID_BYTES = 8

-- Those that every container runtime uses come first.
local CONTROLLERS = { "pids", "memory", "cpu", "devices", "freezer", "blkio", "cpuset", "perf_event" }

local Hierarchy = {}
Hierarchy.__index = Hierarchy

local function unescape(path)
  return (path:gsub("\\(%d%d%d)", function(digits) return string.char(tonumber(digits, 8)) end))
end

--- Mounts of cgroup file systems that are not hidden by others: list of { kind, path, inner, options }.
local function mounts()
  local file, prefix = host.mount_table()
  local list = {}
  for line in (paths.read(file) or ""):gmatch("[^\n]+") do -- proc_pid_mountinfo(5)
    local device, point, kind, options = line:match("^%d+ %d+ (%d+:%d+) %S+ (%S+) .* %- (cgroup2?) %S+ (%S+)$")
    local inner = point and unescape(point)
    if inner and (prefix ~= "" or inner:sub(1, #host.root()) == host.root()) then
      local status = sys.stat(prefix .. inner)
      if status and ("%d:%d"):format(status.dev_major, status.dev_minor) == device then
        list[#list + 1] = { kind = kind, path = prefix .. inner, inner = inner, options = "," .. options .. "," }
      end
    end
  end
  return list
end

local function choose(list)
  for _, controller in ipairs(CONTROLLERS) do
    for _, mount in ipairs(list) do
      if mount.kind == "cgroup" and mount.options:find("," .. controller .. ",", 1, true) then
        return mount, controller
      end
    end
  end
  for _, mount in ipairs(list) do
    if mount.kind == "cgroup2" then return mount end
  end
end

local found

--- The hierarchy of this host.
-- @return object: path (where it is mounted), controller (cgroup v1: which; nil: cgroup v2); or nil and a message
function _M.find()
  if found then return found end
  local mount, controller = choose(mounts())
  if not mount then return nil, "no cgroup file system is mounted: containers cannot be told apart" end
  found = setmetatable({ path = mount.path, inner = mount.inner, controller = controller }, Hierarchy)
  return found
end

--- Forget what was found.
function _M.reset() found = nil end

--- Id of a cgroup.
-- @param path of its directory below the mount point, such as "/system.slice"
-- @return number; nil when there is none
function Hierarchy:id(path)
  local status = sys.stat(self.path .. path)
  return status and tonumber(status.inode)
end

--- Where below a mount point a path is. Seen from another mount namespace it begins as it does there.
local function below(mount_point, path)
  if path:sub(1, #mount_point) == mount_point then return path:sub(#mount_point + 1) end
end

--- Path of a cgroup by its id, without a search: its file handle is its id. Takes CAP_DAC_READ_SEARCH.
-- @param id uint64_t or number
-- @return path below the mount point, "" for the root; nil when there is no such cgroup
function Hierarchy:path_of(id)
  if not self.fd then
    self.fd = C.open(self.path, bit.bor(O_CLOEXEC, O_DIRECTORY))
    if self.fd < 0 then return nil end
  end
  local handle = ffi.new("struct ps_file_handle")
  handle.size, handle.type = ID_BYTES, FILEID_KERNFS
  ffi.cast("uint64_t *", handle.bytes)[0] = id
  local fd = C.open_by_handle_at(self.fd, handle, bit.bor(O_CLOEXEC, O_DIRECTORY))
  if fd < 0 then return nil end
  local path = sys.readlink(("/proc/self/fd/%d"):format(fd))
  C.close(fd)
  path = path and (below(self.path, path) or below(self.inner, path))
  return path and (path:gsub(" %(deleted%)$", ""))
end

--- Processes in a cgroup and below it, as plainsight.cgroup.
function Hierarchy:pids(path)
  return require("plainsight.cgroup").pids(self.path .. path)
end

return _M
