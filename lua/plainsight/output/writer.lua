-- SPDX-License-Identifier: Apache-2.0
--- Standard output or a file, written with whole lines and no stdio buffer in between.
local bit = require "bit"
local buffer = require "string.buffer"
local ffi = require "ffi"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

local FLUSH_BYTES = 65536
-- For its owner alone: what is captured holds passwords. A file that is there keeps its mode.
local MODE = tonumber("600", 8)
local O_WRONLY, O_CREAT, O_TRUNC, O_CLOEXEC = 1, 0x40, 0x200, 0x80000

local Writer = {}
Writer.__index = Writer

--- @param path file to write, or nil for standard output
-- @return writer, or nil and a message
function _M.open(path)
  local fd = 1
  if path then
    fd = C.open(path, bit.bor(O_WRONLY, O_CREAT, O_TRUNC, O_CLOEXEC), ffi.cast("int", MODE))
    if fd < 0 then return sys.failed(path) end
  end
  return setmetatable({ fd = fd, name = path or "standard output", buffer = buffer.new() }, Writer)
end

--- Add text; it goes out with flush() at the latest.
-- @return true, or nil when output has ended: self.err says why, and is nil
--   when the reader went away (a closed pipe is no error)
function Writer:write(text)
  self.buffer:put(text)
  if #self.buffer < FLUSH_BYTES then return true end
  return self:flush()
end

--- The same without a string in between: put(buffer, a, b) appends to a string.buffer.
function Writer:append(put, a, b)
  put(self.buffer, a, b)
  if #self.buffer < FLUSH_BYTES then return true end
  return self:flush()
end

--- Write everything out. Returns as write().
function Writer:flush()
  if #self.buffer == 0 then return true end
  local ok, _, errno = sys.write_all(self.fd, self.buffer:ref())
  self.buffer:reset()
  if ok then return true end
  if errno ~= sys.errno.EPIPE then self.err = ("%s: %s"):format(self.name, sys.strerror(errno)) end
  return nil
end

return _M
