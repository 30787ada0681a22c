-- SPDX-License-Identifier: Apache-2.0
--- What the probes tell of processes (struct ps_notice in probes/include/event.h), through libplainsight.so.
local ffi = require "ffi"
local capture = require "plainsight.capture"
local sys = require "plainsight.sys"
require "plainsight.contract"

local _M = {}

--- Size of the ring, as probes/include/notice.h has it.
_M.RING_BYTES = 64 * 4096

local Notices = {}
Notices.__index = Notices

--- Begin to read.
-- @param map_fd of the map `notices`
-- @return object, or nil and a message
function _M.new(map_fd)
  local library, err = capture.library()
  if not library then return nil, err end
  local handle = library.ps_notices_new(map_fd, _M.RING_BYTES)
  if handle == nil then return sys.failed("mapping the ring buffer of notices") end
  return setmetatable({
    library = library, handle = ffi.gc(handle, library.ps_notices_free), notice = ffi.new("struct ps_notice"),
  }, Notices)
end

--- The next notice: a struct ps_notice that is valid until the next call; nil when there is none for now.
function Notices:next()
  return self.library.ps_notices_next(self.handle, self.notice) and self.notice or nil
end

return _M
