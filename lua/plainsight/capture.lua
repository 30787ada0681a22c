-- SPDX-License-Identifier: Apache-2.0
--- libplainsight.so: the ring buffer's records become exchanges (src/plainsight.h).
local ffi = require "ffi"
local paths = require "plainsight.paths"
local sys = require "plainsight.sys"
require "plainsight.contract"

local _M = {}

local HEAD_BYTES_MAX = 256 * 1024
local PIPELINE_MAX = 1024
local CONNS_MAX = 65536
local HELD_BYTES_MAX = 16 * 1024 * 1024

local library

local Capture = {}
Capture.__index = Capture

--- Open the helper module. Returns true, or nil and a message.
function _M.open()
  if library then return true end
  local ok, result = pcall(ffi.load, paths.file("build/libplainsight.so"))
  if not ok then return nil, "libplainsight.so cannot be loaded: run make" end
  library = result
  return true
end

--- Begin to read.
-- @param maps { events = fd, conns = fd, skips = fd } (plainsight.syscall_probes)
-- @param opts ring_mib, max_body_bytes
-- @return object, or nil and a message
function _M.new(maps, opts)
  local ok, err = _M.open()
  if not ok then return nil, err end
  local options = ffi.new("struct ps_capture_options", {
    events_fd = maps.events, conns_fd = maps.conns, skips_fd = maps.skips, ring_bytes = opts.ring_mib * 1024 * 1024,
    head_bytes_max = HEAD_BYTES_MAX, body_bytes_max = opts.max_body_bytes, pipeline_max = PIPELINE_MAX,
    conns_max = CONNS_MAX, held_bytes_max = HELD_BYTES_MAX,
  })
  local handle = library.ps_capture_new(options)
  if handle == nil then return sys.failed("mapping the ring buffer") end
  return setmetatable({ handle = ffi.gc(handle, library.ps_capture_free), fd = maps.events }, Capture)
end

--- The next finished exchange, valid until the next call; nil when there is none for now.
function Capture:next()
  local exchange = library.ps_capture_next(self.handle)
  if exchange == nil then return nil end
  return exchange
end

--- Whether next() stopped before the ring was empty.
function Capture:pending() return library.ps_capture_pending(self.handle) end

--- Whether some records wait for others: call next() again soon.
function Capture:waiting() return library.ps_capture_waiting(self.handle) end

--- Records were lost: find out which connections ended meanwhile. For when next() has given nil.
function Capture:settle() library.ps_capture_settle(self.handle) end

--- No more records will come; next() then gives what is still open.
function Capture:finish() library.ps_capture_finish(self.handle) end

--- Counters: struct ps_capture_stats as a Lua table of numbers.
function Capture:stats()
  local stats, result = library.ps_capture_stats(self.handle), {}
  for _, name in ipairs({
    "records", "data_bytes", "captured_bytes", "message_bytes", "tunnel_bytes", "skipped_bytes", "gap_bytes", "gaps",
    "overlaps", "forced", "parse_errors", "evicted", "conns", "exchanges", "uncaptured_bytes", "overlap_bytes",
    "waiting_bytes", "dropped_bytes", "malformed", "file_calls", "file_bytes",
    "file_lost_calls", "file_lost_bytes",
  }) do
    result[name] = tonumber(stats[name])
  end
  return result
end

return _M
