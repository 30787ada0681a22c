-- SPDX-License-Identifier: Apache-2.0
--- An exchange in full, for readers of curl -v: "*" tells about it, ">" is the
-- request, "<" the response, bodies stand between them, laid out for reading.
local buffer = require "string.buffer"
local ffi = require "ffi"
local body = require "plainsight.output.body"
local container = require "plainsight.output.container"
local escape = require "plainsight.output.escape"
local fields = require "plainsight.output.fields"
local grpc = require "plainsight.output.grpc"
local stream = require "plainsight.output.stream"

local _M = {}

local C = ffi.C

local function begin_note(buf, colors) buf:put(colors.faint, "* ") end
local function end_note(buf, colors) buf:put(colors.off, "\n") end

local function put_process(buf, process, opts)
  local comm, len = fields.comm(process)
  escape.put(buf, comm, len, escape.WORD)
  buf:putf(":%d (thread %d, uid %d", process.tgid, process.tid, process.uid)
  container.put_facts(buf, process, opts)
  buf:put(")")
end

local function put_slice(buf, slice)
  escape.put(buf, slice.data, tonumber(slice.len), escape.LINE)
end

-- A part of a head, or "?" for what is unknown.
local function put_part(buf, slice, is_unknown)
  if is_unknown then buf:put("?") else put_slice(buf, slice) end
end

local function put_headers(buf, sign, headers, count)
  for i = 0, count - 1 do
    local name, value, flags = headers[i].name, headers[i].value, headers[i].flags
    local is_value_unknown = fields.has(flags, C.PS_HEADER_VALUE_UNKNOWN)
    buf:put(sign, " ")
    put_part(buf, name, fields.has(flags, C.PS_HEADER_NAME_UNKNOWN))
    buf:put((value.len > 0 or is_value_unknown) and ": " or ":")
    put_part(buf, value, is_value_unknown)
    buf:put("\n")
  end
end

-- The pseudo-headers of HTTP/2 (RFC 9113 8.3) that are not in the start line.
local function put_pseudo_headers(buf, request)
  for _, name in ipairs { "scheme", "authority", "protocol" } do
    if request[name].len > 0 then
      buf:put("> :", name, ": ")
      put_slice(buf, request[name])
      buf:put("\n")
    end
  end
end

-- What follows a start line: headers, body, trailers, and what is wrong with them.
local function put_message(buf, sign, name, message, opts, colors)
  put_headers(buf, sign, message.headers, message.header_count)
  buf:put(sign, "\n")
  body.put(buf, message, opts, colors)
  put_headers(buf, sign, message.trailers, message.trailer_count)
  if fields.is_marked(message) then
    buf:put(colors.mark, "* ", name)
    fields.put_message_marks(buf, message)
    buf:put(colors.off, "\n")
  end
end

local function put_request(buf, request, opts, colors)
  buf:put("> ", colors.method)
  put_part(buf, request.method, request.method.len == 0)
  buf:put(colors.off, " ")
  if request.target.len > 0 or fields.is_target_unknown(request) then
    put_part(buf, request.target, request.target.len == 0)
    buf:put(" ")
  end
  buf:put("HTTP/")
  fields.put_version(buf, request)
  buf:put("\n")
  put_pseudo_headers(buf, request)
  put_message(buf, ">", "request", request, opts, colors)
end

local function put_status_version(buf, response)
  buf:put("< HTTP/")
  fields.put_version(buf, response)
  buf:put(" ")
end

local function put_response(buf, ex, response, opts, colors)
  for _, status in ipairs(fields.interim(ex)) do
    put_status_version(buf, response)
    buf:putf("%03d (interim; its headers are not kept)\n", status)
  end
  put_status_version(buf, response)
  buf:put(fields.status_color(colors, response.status))
  if response.status == 0 then buf:put("?") else buf:putf("%03d", response.status) end
  buf:put(colors.off)
  if response.reason.len > 0 then
    buf:put(" ")
    put_slice(buf, response.reason)
  end
  buf:put("\n")
  put_message(buf, "<", "response", response, opts, colors)
end

local function put_opening(buf, ts_ns, process, ex, arrow, opts, colors)
  begin_note(buf, colors)
  fields.put_time_of_day(buf, ts_ns, opts.clock_offset_ns)
  buf:put(" ")
  put_process(buf, process, opts)
  buf:put(" ")
  fields.put_connection(buf, ex, arrow)
  if fields.has(ex.flags, C.PS_EXCHANGE_STARTED) then buf:putf(" [#%u]", ex.id) end
  end_note(buf, colors)
end

local function put_durations(buf, request, response, opts)
  buf:put(", response began after ")
  fields.put_duration(buf, fields.elapsed_ns(request.first_ts_ns, response.first_ts_ns))
  buf:put(", ended after ")
  fields.put_duration(buf, fields.elapsed_ns(request.first_ts_ns, response.last_ts_ns))
  if request.process.tgid ~= response.process.tgid then
    buf:put(", response by ")
    put_process(buf, response.process, opts)
  end
end

local function put_summary(buf, request, response, opts, colors)
  if not request and not response then return end
  begin_note(buf, colors)
  if request then
    buf:put("request body ")
    fields.put_size(buf, request.body.size_bytes)
  end
  if response then
    buf:put(request and ", " or "", "response body ")
    fields.put_size(buf, response.body.size_bytes)
  end
  if request and response then put_durations(buf, request, response, opts) end
  end_note(buf, colors)
end

--- Append several lines for one exchange, the last of them empty.
-- @param buf string.buffer
-- @param ex const struct ps_exchange *
-- @param opts table: color (boolean), clock_offset_ns (number or 64-bit
--   integer to add to CLOCK_MONOTONIC to get Unix time), no_decode (true: bodies as on the wire), max_body_bytes
function _M.put(buf, ex, opts)
  local request, response = fields.request(ex), fields.response(ex)
  local colors = fields.palette(opts.color)

  put_opening(buf, fields.first_ts_ns(ex), fields.process(ex), ex, nil, opts, colors)
  if request then put_request(buf, request, opts, colors) end
  if response then put_response(buf, ex, response, opts, colors) end
  local marks = buffer.new()
  fields.put_exchange_marks(marks, ex)
  if grpc.is_call(ex) then grpc.put_mark(marks, ex) end
  stream.put_counts(marks, ex)
  if #marks > 0 then buf:put(colors.mark, "*", marks:get(), colors.off, "\n") end
  put_summary(buf, request, response, opts, colors)
  buf:put("\n")
end

--- The same for an exchange that has started and goes on.
function _M.put_started(buf, ex, opts)
  local colors = fields.palette(opts.color)
  begin_note(buf, colors)
  buf:put("started; it goes on")
  end_note(buf, colors)
  _M.put(buf, ex, opts)
end

-- What kind of message it is, and how large.
local function put_kind(buf, message, colors)
  buf:put(message.direction == C.PS_OUT and "> " or "< ", colors.method, stream.protocol_words[message.protocol], " ",
    stream.types[message.type], colors.off, " ")
  fields.put_size(buf, message.body.size_bytes)
  for _, name in ipairs { "name", "event_id" } do
    if message[name].len > 0 then
      buf:put(name == "name" and " event: " or " id: ")
      put_slice(buf, message[name])
    end
  end
end

--- Append several lines for a message of an exchange, the last of them empty.
-- @param buf string.buffer
-- @param item const struct ps_item *
-- @param opts see put()
function _M.put_message(buf, item, opts)
  local ex, message = item.exchange, item.message
  local colors = fields.palette(opts.color)

  put_opening(buf, message.first_ts_ns, message.process, ex, stream.arrow(message), opts, colors)
  put_kind(buf, message, colors)
  buf:put(colors.mark)
  stream.put_marks(buf, ex, message)
  buf:put(colors.off, "\n")
  if not grpc.is_call(ex) or not grpc.put_fields(buf, message) then
    body.put_payload(buf, message.body, opts, colors)
  end
  buf:put("\n")
end

return _M
