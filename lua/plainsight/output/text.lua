-- SPDX-License-Identifier: Apache-2.0
--- One line per exchange, and one per message of a WebSocket, an event stream
-- or gRPC, made for grep:
--
-- TIME COMM:PID LOCAL -> REMOTE METHOD URL STATUS REQUEST-SIZE RESPONSE-SIZE DURATION [MARK]... > "BODY" < "BODY"
--
-- COMM:PID has @NAME behind it when the process is in a container, of one in a
-- pod @NAMESPACE/POD/NAME.
--
-- The first eleven words are always there, so awk can count them; no captured
-- byte can add a word or a line. Sizes are those of the bodies. An exchange that
-- goes on has a line when it has started, and one when it ends, both with its
-- number, as have its messages:
--
-- TIME COMM:PID LOCAL -> REMOTE PROTOCOL TYPE SIZE "PAYLOAD" [MARK]... [#NUMBER]
local ffi = require "ffi"
local container = require "plainsight.output.container"
local content = require "plainsight.output.content"
local escape = require "plainsight.output.escape"
local fields = require "plainsight.output.fields"
local grpc = require "plainsight.output.grpc"
local stream = require "plainsight.output.stream"

local _M = {}

local C = ffi.C

local function put_word(buf, data, len)
  escape.put(buf, data, len, escape.WORD)
end

local function put_process(buf, process, opts)
  local comm, len = fields.comm(process)
  put_word(buf, comm, len)
  buf:putf(":%d", process.tgid)
  container.put_suffix(buf, process, opts)
end

local function put_request_line(buf, ex, request, colors)
  if not request then
    buf:put("? ?")
    return
  end
  buf:put(colors.method)
  if request.method.len > 0 then
    put_word(buf, request.method.data, tonumber(request.method.len))
  else
    buf:put("?")
  end
  buf:put(colors.off, " ")
  fields.put_url(buf, ex, put_word)
end

local function put_status(buf, response, colors)
  if not response then
    buf:put("-")
    return
  end
  if response.status == 0 then
    buf:put("?")
    return
  end
  buf:putf("%s%03d%s", fields.status_color(colors, response.status), response.status, colors.off)
end

-- Start of a body and the marks of its message, or nothing when there is nothing to tell.
local function put_body(buf, sign, message, opts, colors)
  local preview_bytes, decoded = opts.preview_bytes, nil
  local shows = message.body.kept.len > 0 and preview_bytes > 0
  if not shows and not fields.is_marked(message) then return end
  buf:put(sign)
  if shows then
    local bytes
    bytes, decoded = content.start(message, preview_bytes, opts)
    buf:put(' "')
    local shown = escape.put(buf, bytes.data, tonumber(bytes.len), escape.QUOTED, preview_bytes)
    buf:put(shown < bytes.len and '"...' or '"')
  end
  if fields.is_marked(message) or content.is_marked(message.body, decoded) then
    buf:put(colors.mark)
    fields.put_message_marks(buf, message)
    content.put_marks(buf, message.body, decoded)
    buf:put(colors.off)
  end
end

local function put_measures(buf, request, response)
  buf:put(" ")
  if request then fields.put_size(buf, request.body.size_bytes) else buf:put("-") end
  buf:put(" ")
  if response then fields.put_size(buf, response.body.size_bytes) else buf:put("-") end
  buf:put(" ")
  if request and response then
    fields.put_duration(buf, fields.elapsed_ns(request.first_ts_ns, response.last_ts_ns))
  else
    buf:put("-")
  end
end

local function put_opening(buf, ts_ns, process, ex, arrow, opts, colors)
  buf:put(colors.faint)
  fields.put_time_of_day(buf, ts_ns, opts.clock_offset_ns)
  buf:put(colors.off, " ")
  put_process(buf, process, opts)
  buf:put(" ")
  fields.put_connection(buf, ex, arrow)
  buf:put(" ")
end

local function put_exchange(buf, ex, request, response, mark, opts, colors)
  put_opening(buf, fields.first_ts_ns(ex), fields.process(ex), ex, nil, opts, colors)
  put_request_line(buf, ex, request, colors)
  buf:put(" ")
  put_status(buf, response, colors)
  put_measures(buf, request, response)
  if ex.flags ~= C.PS_EXCHANGE_REQUEST + C.PS_EXCHANGE_RESPONSE or ex.interim_count > 0
    or ex.protocol ~= C.PS_STREAM_NONE then
    buf:put(colors.mark)
    fields.put_exchange_marks(buf, ex)
    if grpc.is_call(ex) then grpc.put_mark(buf, ex) end
    stream.put_counts(buf, ex)
    buf:put(mark)
    if fields.has(ex.flags, C.PS_EXCHANGE_STARTED) then buf:putf(" [#%u]", ex.id) end
    buf:put(colors.off)
  end
end

--- Append one line for one exchange.
-- @param buf string.buffer
-- @param ex const struct ps_exchange *
-- @param opts table: preview_bytes (number), color (boolean), clock_offset_ns
--   (number or 64-bit integer to add to CLOCK_MONOTONIC to get Unix time)
function _M.put(buf, ex, opts)
  local request, response = fields.request(ex), fields.response(ex)
  local colors = fields.palette(opts.color)

  put_exchange(buf, ex, request, response, "", opts, colors)
  if request then put_body(buf, " >", request, opts, colors) end
  if response then put_body(buf, " <", response, opts, colors) end
  buf:put("\n")
end

--- Append one line for an exchange that has started and goes on.
-- @param buf, ex, opts see put()
function _M.put_started(buf, ex, opts)
  local colors = fields.palette(opts.color)

  put_exchange(buf, ex, fields.request(ex), fields.response(ex), " [started]", opts, colors)
  buf:put("\n")
end

-- An event has a name of its own.
local function put_type(buf, message)
  local name = message.name
  if message.type == C.PS_STREAM_EVENT then
    if name.len > 0 then put_word(buf, name.data, tonumber(name.len)) else buf:put("message") end
  else
    buf:put(stream.types[message.type])
  end
end

--- Append one line for a message of an exchange.
-- @param buf string.buffer
-- @param item const struct ps_item *
-- @param opts see put()
function _M.put_message(buf, item, opts)
  local ex, message = item.exchange, item.message
  local colors, kept = fields.palette(opts.color), message.body.kept

  put_opening(buf, message.first_ts_ns, message.process, ex, stream.arrow(message), opts, colors)
  buf:put(colors.method, stream.protocol_words[message.protocol], " ")
  put_type(buf, message)
  buf:put(colors.off, " ")
  fields.put_size(buf, message.body.size_bytes)
  if kept.len > 0 and opts.preview_bytes > 0 then
    buf:put(' "')
    local shown = escape.put(buf, kept.data, tonumber(kept.len), escape.QUOTED, opts.preview_bytes)
    buf:put(shown < kept.len and '"...' or '"')
  end
  buf:put(colors.mark)
  if message.event_id.len > 0 then
    buf:put(" [id ")
    put_word(buf, message.event_id.data, tonumber(message.event_id.len))
    buf:put("]")
  end
  stream.put_marks(buf, ex, message)
  buf:put(colors.off, "\n")
end

return _M
