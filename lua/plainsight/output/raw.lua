-- SPDX-License-Identifier: Apache-2.0
--- Plaintext of any protocol as it passes: a line about each call of the TLS library, then what it moved.
--
-- TIME COMM:PID LOCAL -> REMOTE SEND 78B at 0
-- > GET / HTTP/1.1
local ffi = require "ffi"
local container = require "plainsight.output.container"
local escape = require "plainsight.output.escape"
local fields = require "plainsight.output.fields"
local hexdump = require "plainsight.output.hexdump"
local json = require "plainsight.output.json"

local _M = {}

local C = ffi.C

local LINE_FEED = 10

ffi.cdef [[void *memchr(const void *bytes, int byte, size_t count);]]

local names = {
  [C.PS_EVENT_END] = "END", [C.PS_EVENT_CLOSE] = "CLOSE", [C.PS_EVENT_HANDSHAKE] = "HANDSHAKE",
}

local function put_endpoint(buf, endpoint)
  if endpoint.family == C.PS_FAMILY_UNIX then
    buf:put("unix")
  else
    fields.put_endpoint(buf, endpoint)
  end
end

local function put_head(buf, event, opts, colors)
  local comm, len = fields.comm(event.process)
  local is_out = event.direction == C.PS_OUT
  buf:put(colors.faint)
  fields.put_time_of_day(buf, event.ts_ns, opts.clock_offset_ns)
  buf:put(colors.off, " ")
  escape.put(buf, comm, len, escape.WORD)
  buf:putf(":%d", event.process.tgid)
  container.put_suffix(buf, event.process, opts)
  buf:put(" ")
  put_endpoint(buf, event["local"])
  local has_direction = event.type == C.PS_EVENT_DATA or event.type == C.PS_EVENT_END
  buf:put(has_direction and (is_out and " -> " or " <- ") or " -- ")
  put_endpoint(buf, event.remote)
  buf:put(" ", colors.method, names[event.type] or is_out and "SEND" or "RECV", colors.off)
end

local function put_elapsed(buf, event)
  buf:put(" in ")
  fields.put_duration(buf, tonumber(event.elapsed_ns))
end

-- Text a line at a time, each with the sign of its direction.
local function put_lines(buf, data, len, sign)
  local from, left = data, len
  while left > 0 do
    local feed = ffi.cast("const char *", C.memchr(from, LINE_FEED, left))
    local line = feed == nil and left or tonumber(feed - from)
    local shown = line > 0 and from[line - 1] == 13 and line - 1 or line -- CR LF ends a line too
    buf:put(sign, " ")
    escape.put(buf, from, shown, escape.LINE)
    buf:put("\n")
    local used = feed == nil and left or line + 1
    from, left = from + used, left - used
  end
end

local function put_data(buf, event, opts, colors)
  local data, captured = ffi.cast("const char *", event + 1), tonumber(event.captured_len)
  buf:putf(" %dB at %d", event.len, tonumber(event.pos))
  if opts.latency then put_elapsed(buf, event) end
  if captured < event.len then
    buf:put(colors.mark)
    buf:putf(" [%dB not captured]", event.len - captured)
    buf:put(colors.off)
  end
  buf:put("\n")
  if opts.hexdump then
    hexdump.put(buf, data, captured, tonumber(event.pos))
  else
    put_lines(buf, data, captured, event.direction == C.PS_OUT and ">" or "<")
  end
end

local function put_text(buf, event, opts)
  local colors = fields.palette(opts.color)
  put_head(buf, event, opts, colors)
  if event.type == C.PS_EVENT_DATA then
    put_data(buf, event, opts, colors)
    return
  end
  if event.type == C.PS_EVENT_HANDSHAKE then put_elapsed(buf, event) end
  buf:put("\n")
end

--- Whether an event is to be shown.
-- @param event const struct ps_event *
-- @param opts handshake (boolean)
function _M.is_wanted(event, opts)
  if event.type == C.PS_EVENT_HANDSHAKE then return opts.handshake == true end
  return event.type == C.PS_EVENT_DATA or event.type == C.PS_EVENT_END or event.type == C.PS_EVENT_CLOSE
end

--- Append one event, as text or as a line of JSON.
-- @param buf string.buffer
-- @param event const struct ps_event *, with event.captured_len bytes behind it
-- @param opts table: json, hexdump, latency, color (booleans), clock_offset_ns, library_of
function _M.put(buf, event, opts)
  if opts.json then return json.put_event(buf, event, opts) end
  return put_text(buf, event, opts)
end

return _M
