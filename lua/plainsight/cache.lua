-- SPDX-License-Identifier: Apache-2.0
--- Compiled probes of earlier runs.
--
-- An entry is found by the hash of its key and used only if it holds the very same key. What it holds is loaded into
-- the kernel, so neither it nor its directory may belong to, or be writable by, anybody else. Trouble of any kind is
-- no error: then the probe is compiled.
local ffi = require "ffi"
local bit = require "bit"
local files = require "plainsight.files"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

local MAGIC = "plainsight cache 1" -- another number for another format
local ENTRY_BYTES_MAX = 8 * 1024 * 1024
--- Beyond these the oldest entries are deleted.
_M.ENTRIES_MAX, _M.BYTES_MAX = 32, 32 * 1024 * 1024
local TEMPORARY_S_MAX = 3600 -- an unfinished entry that is older has nobody who writes it

local O_WRONLY, O_CREAT, O_EXCL, O_NONBLOCK, O_NOFOLLOW, O_CLOEXEC = 1, 0x40, 0x80, 0x800, 0x20000, 0x80000

local Cache = {}
Cache.__index = Cache

--- FNV-1a, 64 bits, as 16 hexadecimal digits. Tells damage and finds files; it proves nothing.
local function hash(text)
  local bytes, value = ffi.cast("const uint8_t *", text), 0xcbf29ce484222325ULL
  for i = 0, #text - 1 do value = bit.bxor(value, bytes[i]) * 0x100000001b3ULL end
  return bit.tohex(value)
end

--- Where entries are kept: $XDG_CACHE_HOME/plainsight if that is set, /var/cache/plainsight for root, else
-- ~/.cache/plainsight (XDG Base Directory Specification). Returns nil when there is no place.
function _M.default_directory()
  local xdg, home = os.getenv("XDG_CACHE_HOME"), os.getenv("HOME")
  if xdg and xdg:sub(1, 1) == "/" then return xdg .. "/plainsight" end -- a relative path is to be ignored
  if C.geteuid() == 0 then return "/var/cache/plainsight" end
  return home and home:sub(1, 1) == "/" and home .. "/.cache/plainsight" or nil
end

--- A cache in a directory, which need not exist yet.
-- @param directory default: see default_directory()
-- @return object, or nil and a reason
function _M.open(directory)
  directory = directory or _M.default_directory()
  if not directory then return nil, "neither XDG_CACHE_HOME nor HOME is set" end
  return setmetatable({ directory = directory }, Cache)
end

local function entry_name(key) return hash(key) .. ".probe" end

--- The value in an entry's content. Returns nil and a reason.
local function parse(content, key)
  local key_bytes, value_bytes, checksum, at = content:match("^" .. MAGIC .. " (%d+) (%d+) (%x+)\n()")
  if not at then return nil, "damaged" end
  key_bytes, value_bytes = tonumber(key_bytes), tonumber(value_bytes)
  if #content ~= at - 1 + key_bytes + value_bytes then return nil, "damaged" end
  if content:sub(at, at + key_bytes - 1) ~= key then return nil, "made from something else" end
  local value = content:sub(at + key_bytes)
  if hash(value) ~= checksum then return nil, "damaged" end
  return value
end

--- Content of an entry that is open. Returns nil and a reason.
local function read_entry(fd, path)
  local status, ok, err
  status, err = files.status(fd)
  if not status then return nil, err end
  if not files.is_regular(status) then return nil, path .. " is no regular file" end
  ok, err = files.is_private(status, path)
  if not ok then return nil, err end
  if status.size > ENTRY_BYTES_MAX then return nil, path .. " is too large" end
  return sys.read_all(fd)
end

--- Look something up.
-- @param key string: all that the value depends on
-- @return value (string) and the entry's path; or nil and the reason
function Cache:get(key)
  local directory, err = files.trusted_directory(self.directory)
  if not directory then return nil, err end
  local path = directory .. "/" .. entry_name(key)
  local fd = C.open(path, bit.bor(O_NONBLOCK, O_NOFOLLOW, O_CLOEXEC))
  if fd < 0 then
    if ffi.errno() == sys.errno.ENOENT then return nil, "no entry in " .. directory end
    return sys.failed(path)
  end
  local content
  content, err = read_entry(fd, path)
  C.close(fd)
  if not content then return nil, err end
  local value
  value, err = parse(content, key)
  if not value then return nil, ("%s: %s"):format(path, err) end
  return value, path
end

--- Write a file that others see only when it is whole. Returns true, or nil and a reason.
local function write_whole(directory, name, content)
  local temporary = ("%s/%s.%d.%s.tmp"):format(directory, name, C.getpid(), tostring(sys.monotonic_ns()):match("%d+"))
  local fd = C.open(temporary, bit.bor(O_WRONLY, O_CREAT, O_EXCL, O_CLOEXEC), ffi.cast("int", 384)) -- 0600
  if fd < 0 then return sys.failed(temporary) end
  local ok, err = sys.write_all(fd, content)
  C.close(fd)
  if ok and C.rename(temporary, directory .. "/" .. name) ~= 0 then ok, err = sys.failed(directory .. "/" .. name) end
  if not ok then C.unlink(temporary) end
  return ok, err
end

--- Entries in a directory: { path, bytes, time_s }, the newest first. Deletes what nobody will finish.
local function entries_in(directory)
  local entries = {}
  for _, name in ipairs(files.list(directory) or {}) do
    local path = directory .. "/" .. name
    local status = files.status(path)
    local time_s = status and tonumber(status.mtime_s) + tonumber(status.mtime_ns) / 1e9
    if time_s and name:find("^%x+%.probe$") then
      entries[#entries + 1] = { path = path, bytes = tonumber(status.size), time_s = time_s }
    elseif time_s and name:find("^%x+%.probe%.[%d.]+%.tmp$") and os.time() - time_s > TEMPORARY_S_MAX then
      C.unlink(path)
    end
  end
  table.sort(entries, function(a, b) return a.time_s > b.time_s end)
  return entries
end

local function delete_oldest(directory)
  local bytes = 0
  for i, entry in ipairs(entries_in(directory)) do
    bytes = bytes + entry.bytes
    if i > _M.ENTRIES_MAX or bytes > _M.BYTES_MAX then C.unlink(entry.path) end
  end
end

--- Keep something, in the place of what was kept under that key.
-- @return path of the entry, or nil and the reason
function Cache:put(key, value)
  local content = ("%s %d %d %s\n%s%s"):format(MAGIC, #key, #value, hash(value), key, value)
  if #content > ENTRY_BYTES_MAX then return nil, "too large" end
  files.make_directories(self.directory)
  local directory, ok, err
  directory, err = files.trusted_directory(self.directory)
  if not directory then return nil, err end
  ok, err = write_whole(directory, entry_name(key), content)
  if not ok then return nil, err end
  delete_oldest(directory)
  return directory .. "/" .. entry_name(key)
end

return _M
