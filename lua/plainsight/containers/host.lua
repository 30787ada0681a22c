-- SPDX-License-Identifier: Apache-2.0
--- Files of the host, from wherever the tool runs: container runtimes and the kubelet keep theirs there.
--
-- In a container that shares the host's pid namespace, /proc/1/root is the host's root (proc_pid_root(5)), so that
-- nothing has to be mounted into it. What is read is bounded, and only root's files are believed.
local ffi = require "ffi"
local bit = require "bit"
local cjson = require "cjson"
local filesystem = require "plainsight.files"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

local FILE_BYTES_MAX = 4 * 1024 * 1024
local O_NONBLOCK, O_CLOEXEC = 0x800, 0x80000
local DIRECTORY, UNKNOWN, LINK = 4, 0, 10 -- dirent.d_type

local root

--- What to put before an absolute path of the host: "" when the tool runs in the host's mount namespace.
-- PLAINSIGHT_HOST_ROOT names another directory.
function _M.root()
  if root then return root end
  local named = os.getenv("PLAINSIGHT_HOST_ROOT")
  if named and named:sub(1, 1) == "/" then
    root = (named:gsub("/+$", ""))
    return root
  end
  local own, first = sys.readlink("/proc/self/ns/mnt"), sys.readlink("/proc/1/ns/mnt")
  root = own and first and own ~= first and sys.may("/proc/1/root/", 0) and "/proc/1/root" or ""
  return root
end

--- The mount table of the process whose root that is: path of the file, and what its mount points are preceded by.
function _M.mount_table()
  local process = _M.root():match("^(/proc/%d+)/root$")
  if process then return process .. "/mountinfo", _M.root() end
  return "/proc/self/mountinfo", ""
end

--- Path of a file of the host.
function _M.path(path) return _M.root() .. path end

--- Whether a file is there, links followed.
function _M.exists(path) return sys.may(_M.path(path), 0) == true end

--- Content of a regular file of root on the host.
-- @param path absolute, as on the host
-- @return string, or nil when there is none that can be read, it is another user's, or larger than 4 MiB
function _M.read(path)
  local fd = C.open(_M.path(path), bit.bor(O_CLOEXEC, O_NONBLOCK))
  if fd < 0 then return nil end
  local status = filesystem.status(fd)
  local text
  if status and status.uid == 0 and filesystem.is_regular(status) and status.size <= FILE_BYTES_MAX then
    text = sys.read_all(fd)
  end
  C.close(fd)
  return text
end

--- A JSON text as a table; nil when it is none. Members that are null are left out.
function _M.decode(text)
  local ok, value = pcall(cjson.decode, text)
  return ok and type(value) == "table" and value or nil
end

--- The same of a file; see read().
function _M.read_json(path)
  local text = _M.read(path)
  return text and _M.decode(text)
end

--- Names of the directories, or of what may be one, in a directory.
-- @param path absolute, as on the host or already with root()
-- @param is_whole true: path is already with root()
-- @param links true: those of symbolic links instead
-- @return list, empty when it cannot be read
function _M.directories(path, is_whole, links)
  local names = {}
  local dir = C.opendir(is_whole and path or _M.path(path))
  if dir == nil then return names end
  while true do
    local entry = C.readdir(dir)
    if entry == nil then break end
    local kind = entry.type
    if (links and kind == LINK or not links and kind == DIRECTORY or kind == UNKNOWN) and entry.name[0] ~= 0x2e then
      names[#names + 1] = ffi.string(entry.name)
    end
  end
  C.closedir(dir)
  return names
end

--- A value as a non-empty string, or nil.
function _M.text(value)
  return type(value) == "string" and value ~= "" and value or nil
end

--- A table from strings to strings, such as labels; other members are left out. nil when nothing is left.
function _M.labels(value)
  if type(value) ~= "table" then return nil end
  local labels
  for name, text in pairs(value) do
    if type(name) == "string" and type(text) == "string" then
      labels = labels or {}
      labels[name] = text
    end
  end
  return labels
end

return _M
