-- SPDX-License-Identifier: Apache-2.0
--- Directories that are watched for what is made and removed in them (inotify(7)).
local ffi = require "ffi"
local bit = require "bit"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

ffi.cdef [[
int inotify_init1(int flags);
int inotify_add_watch(int fd, const char *path, uint32_t mask);
int inotify_rm_watch(int fd, int wd);
struct ps_inotify_event { int wd; uint32_t mask, cookie, len; char name[0]; };
]]

local IN_NONBLOCK_CLOEXEC = 0x80800
local CREATE, MOVED_TO, DELETE, MOVED_FROM, ONLYDIR = 0x100, 0x80, 0x200, 0x40, 0x1000000
local OVERFLOW, IGNORED, ISDIR = 0x4000, 0x8000, 0x40000000
local BUFFER_BYTES = 65536
-- More directories are not watched: a cgroup takes a few hundred bytes here, and as much in the kernel.
local WATCHES_MAX = 32768
local ROUNDS_MAX = 64

local Inotify = {}
Inotify.__index = Inotify

--- @return object with fd (readable when something has happened), or nil and a message
function _M.new()
  local fd = C.inotify_init1(IN_NONBLOCK_CLOEXEC)
  if fd < 0 then return sys.failed("inotify") end
  return setmetatable({ fd = fd, watches = {}, count = 0, buffer = ffi.new("uint8_t[?]", BUFFER_BYTES) }, Inotify)
end

--- Watch a directory.
-- @param path of it; it may be called otherwise later
-- @param on_event function(path, name, is_made, is_directory): name was made in it (also moved there), or removed
-- @return true; or nil, message, errno: it is not there, or there are too many (ENOSPC)
function Inotify:watch(path, on_event)
  if self.count >= WATCHES_MAX then return nil, "too many directories to watch", sys.errno.ENOSPC end
  local mask = bit.bor(CREATE, MOVED_TO, DELETE, MOVED_FROM, ONLYDIR)
  local wd = C.inotify_add_watch(self.fd, path, mask)
  if wd < 0 then return sys.failed(path) end
  if not self.watches[wd] then self.count = self.count + 1 end
  self.watches[wd] = { path = path, on_event = on_event }
  return true
end

function Inotify:forget(wd)
  if self.watches[wd] then self.count = self.count - 1 end
  self.watches[wd] = nil
end

function Inotify:dispatch(event)
  local mask = event.mask
  if bit.band(mask, OVERFLOW) ~= 0 then
    self.has_overflowed = true
    return
  end
  local watch = self.watches[event.wd]
  if bit.band(mask, IGNORED) ~= 0 then
    self:forget(event.wd)
  elseif watch and event.len > 0 then
    watch.on_event(watch.path, ffi.string(event.name), bit.band(mask, CREATE + MOVED_TO) ~= 0,
      bit.band(mask, ISDIR) ~= 0)
  end
end

--- Tell the watchers what has happened.
-- @return true when events were lost, so that what is watched has to be looked through
function Inotify:read()
  self.has_overflowed = false
  for _ = 1, ROUNDS_MAX do
    local got = tonumber(C.read(self.fd, self.buffer, BUFFER_BYTES))
    if got <= 0 then break end
    local at = 0
    while at < got do
      local event = ffi.cast("struct ps_inotify_event *", self.buffer + at)
      at = at + ffi.sizeof("struct ps_inotify_event") + event.len
      self:dispatch(event)
    end
  end
  return self.has_overflowed
end

function Inotify:close()
  if self.fd >= 0 then C.close(self.fd) end
  self.fd = -1
end

return _M
