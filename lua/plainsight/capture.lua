-- SPDX-License-Identifier: Apache-2.0
--- libplainsight.so: the ring buffer's records become exchanges and messages (src/plainsight.h).
local ffi = require "ffi"
local library = require "plainsight.library"
local sys = require "plainsight.sys"

local _M = {}

local HEAD_BYTES_MAX = 256 * 1024
local PIPELINE_MAX = 1024
local CONNS_MAX = 65536
local HELD_BYTES_MAX = 16 * 1024 * 1024

local lib = library.lib

local Capture = {}
Capture.__index = Capture

--- The helper module itself, for other bindings to it; or nil and a message.
function _M.library() return lib, library.err end

local function options_of(opts)
  return ffi.new("struct ps_capture_options", {
    events_fd = -1, conns_fd = -1, skips_fd = -1, head_bytes_max = HEAD_BYTES_MAX,
    body_bytes_max = opts.max_body_bytes + (opts.body_slack_bytes or 0), pipeline_max = PIPELINE_MAX,
    conns_max = CONNS_MAX, held_bytes_max = HELD_BYTES_MAX,
    secrets = opts.body_secrets and opts.body_secrets.handle or nil,
  })
end

--- Begin to read.
-- @param maps { events = fd, conns = fd, skips = fd } (plainsight.syscall_probes)
-- @param opts ring_mib, max_body_bytes; optional: body_slack_bytes (kept of a body beyond that), body_secrets (object
--   of plainsight.secrets.engine: looked for in all of every body, as it arrives; it must outlive the result)
-- @param recorder plainsight.recorder object that gets all of it, or nil
-- @return object, or nil and a message
function _M.new(maps, opts, recorder)
  if not lib then return nil, library.err end
  local options = options_of(opts)
  options.events_fd, options.conns_fd, options.skips_fd = maps.events, maps.conns, maps.skips
  options.ring_bytes = opts.ring_mib * 1024 * 1024
  if recorder then options.recorder = recorder.handle end
  local handle = lib.ps_capture_new(options)
  if handle == nil then return sys.failed("mapping the ring buffer") end
  return setmetatable({
    handle = ffi.gc(handle, lib.ps_capture_free), fd = maps.events, recorder = recorder,
    slack_bytes = opts.body_slack_bytes or 0,
  }, Capture)
end

--- Begin to read a recording instead.
-- @param recording plainsight.recording object, prepared
-- @param opts max_body_bytes, body_slack_bytes, body_secrets
-- @return object, or nil and a message
function _M.replay(recording, opts)
  local options = options_of(opts)
  options.recording, options.filter = recording.handle, recording.filter
  local handle = lib.ps_capture_new(options)
  if handle == nil then return sys.failed("replaying") end
  return setmetatable({ handle = ffi.gc(handle, lib.ps_capture_free), recording = recording }, Capture)
end

--- The next item (const struct ps_item *), valid until the next call; nil when there is none for now.
function Capture:next()
  local item = lib.ps_capture_next(self.handle)
  if item == nil then return nil end
  return item
end

--- The next event as the probes sent it, in place of exchanges: valid until the next call, with event.captured_len
-- bytes behind it; nil when there is none for now.
function Capture:next_event()
  local event = lib.ps_capture_next_event(self.handle)
  if event == nil then return nil end
  return event
end

--- Of a recording of items: before one is shown.
-- @param item const struct ps_item *
function Capture:before_item(item) lib.ps_capture_before_item(self.handle, item) end

--- And after it was.
function Capture:record_item(item) lib.ps_capture_record_item(self.handle, item) end

--- Record something beside events.
-- @param is_report boolean: of this moment; else it holds from here on
-- @param key, value struct ps_slice
function Capture:record_note(is_report, key, value) lib.ps_capture_record_note(self.handle, is_report, key, value) end

--- Of a recording, when next() or next_event() gave nil: what is to be taken note of first (const struct ps_note *),
-- valid until the next call, with which the way is free; nil when there is nothing.
function Capture:note()
  local note = lib.ps_capture_note(self.handle)
  return note ~= nil and note or nil
end

--- The path of a process's executable as the recording has it, that is written or read; nil when it is not known.
function Capture:executable(pid)
  local path = lib.ps_capture_executable(self.handle, pid)
  return path ~= nil and ffi.string(path) or nil
end

--- How far a recording has been read: CLOCK_MONOTONIC in ns, as uint64_t cdata, of the machine that made it.
function Capture:replayed_ns() return lib.ps_capture_replayed_ns(self.handle) end

--- Whether next() stopped before the ring was empty.
function Capture:pending() return lib.ps_capture_pending(self.handle) end

--- Whether some records wait for others: call next() again soon.
function Capture:waiting() return lib.ps_capture_waiting(self.handle) end

--- Records were lost: find out which connections ended meanwhile. For when next() has given nil.
function Capture:settle() lib.ps_capture_settle(self.handle) end

--- Keep other than so far of bodies. For those of 0 bytes the probes copy as little as possible.
-- @param body_bytes_max number; when it is not 0, body_slack_bytes are kept beyond it as from the start
function Capture:limit_bodies(body_bytes_max)
  local bytes = body_bytes_max > 0 and body_bytes_max + self.slack_bytes or 0
  lib.ps_capture_limit_bodies(self.handle, bytes)
end

--- No more records will come; next() then gives what is still open.
function Capture:finish() lib.ps_capture_finish(self.handle) end

--- Counters: struct ps_capture_stats as a Lua table of numbers.
function Capture:stats()
  local stats, result = lib.ps_capture_stats(self.handle), {}
  for _, name in ipairs({
    "records", "data_bytes", "captured_bytes", "message_bytes", "tunnel_bytes", "skipped_bytes", "gap_bytes", "gaps",
    "overlaps", "forced", "parse_errors", "evicted", "conns", "exchanges", "uncaptured_bytes", "overlap_bytes",
    "waiting_bytes", "dropped_bytes", "malformed", "file_calls", "file_bytes",
    "file_lost_calls", "file_lost_bytes", "raw_bytes", "messages",
  }) do
    result[name] = tonumber(stats[name])
  end
  return result
end

return _M
