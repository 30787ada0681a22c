-- SPDX-License-Identifier: Apache-2.0
--- What this process itself uses, from /proc.
local files = require "plainsight.files"

local _M = {}

local TICKS_PER_S, PAGE_BYTES = 100, 4096 -- USER_HZ and pages of x86-64

local function read(path)
  local file = io.open(path)
  if not file then return "" end
  local text = file:read("*a")
  file:close()
  return text
end

local boot_s

local function boot_time_s()
  boot_s = boot_s or tonumber(read("/proc/stat"):match("btime (%d+)")) or 0
  return boot_s
end

--- CPU time and memory (proc(5), /proc/PID/stat).
-- @return table: cpu_s, resident_bytes, virtual_bytes, start_s (Unix time), numbers
function _M.usage()
  local values = {}
  for word in read("/proc/self/stat"):gsub("^.*%) ", ""):gmatch("%S+") do
    values[#values + 1] = tonumber(word) or 0
  end
  -- The first one here is its third field.
  return {
    cpu_s = ((values[12] or 0) + (values[13] or 0)) / TICKS_PER_S, virtual_bytes = values[21] or 0,
    resident_bytes = (values[22] or 0) * PAGE_BYTES, start_s = boot_time_s() + (values[20] or 0) / TICKS_PER_S,
  }
end

--- Memory of its own, without what it shares with the kernel as the ring buffer (RssAnon in /proc/PID/status).
-- @return bytes
function _M.anonymous_bytes()
  return (tonumber(read("/proc/self/status"):match("RssAnon:%s*(%d+) kB")) or 0) * 1024
end

--- How many descriptors are open.
function _M.open_fds()
  return #(files.list("/proc/self/fd") or {})
end

return _M
