-- SPDX-License-Identifier: Apache-2.0
--- The files that an export is written to, one after the other: their names, when the next one is due, how many
-- are kept (docs/export.md).
local clock = require "plainsight.clock"
local ffi = require "ffi"
require "plainsight.files" -- declares unlink()

local _M = {}
local C = ffi.C

local MIB = 1048576

local Series = {}
Series.__index = Series

-- strftime(3) conversions. One by one: to os.date() a "!" or "*t" in front would mean something.
local function with_time(pattern, unix_s)
  return (pattern:gsub("%%[%a%%]", function(conversion) return os.date(conversion, unix_s) end))
end

-- The number goes before the ending of the last part of the path, by which programs know what is in a file.
local function with_number(path, number)
  if number == 0 then return path end
  local stem, ending = path:match("^(.*[^/])(%.[^./]+)$")
  return ("%s.%d%s"):format(stem or path, number, ending or "")
end

--- @param pattern path of the first file; with opts.rotate_s, conversions of strftime(3) in it stand for the time
--   when a file is begun
-- @param opts rotate_mib, rotate_s, rotate_keep: numbers, or nil; see plainsight.clock too
-- @return series
function _M.new(pattern, opts)
  return setmetatable({
    pattern = pattern, opts = opts, is_timed = opts.rotate_s ~= nil, keep = opts.rotate_keep, paths = {}, number = -1,
    bytes_max = opts.rotate_mib and opts.rotate_mib * MIB, age_max_ns = opts.rotate_s and opts.rotate_s * 1e9,
  }, Series)
end

--- Begin the next file.
-- @return its path
function Series:begin()
  local path = self.is_timed and with_time(self.pattern, clock.unix_s(self.opts)) or self.pattern
  self.number = path == self.base and self.number + 1 or 0
  self.base, self.first_ns = path, nil
  path = with_number(path, self.number)
  self.paths[#self.paths + 1] = path
  return path
end

--- To be called before something is written: whether that is for the next file, as this one has reached its size, or
-- its age since the first call.
-- @param bytes number: its size
-- @param now_ns uint64_t CLOCK_MONOTONIC, the time when left out
-- @return boolean
function Series:is_due(bytes, now_ns)
  now_ns = self.age_max_ns and (now_ns or clock.now_ns()) or 0ULL
  if not self.first_ns then
    self.first_ns = now_ns
    return false
  end
  if self.bytes_max and bytes >= self.bytes_max then return true end
  return self.age_max_ns ~= nil and tonumber(now_ns - self.first_ns) >= self.age_max_ns
end

--- Delete the oldest files of this run beyond those that are kept. One that cannot be deleted is left.
function Series:prune()
  while self.keep and #self.paths > self.keep do
    C.unlink(table.remove(self.paths, 1))
  end
end

return _M
