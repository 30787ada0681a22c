-- SPDX-License-Identifier: Apache-2.0
--- One line per exchange, made for grep:
--
-- TIME COMM:PID LOCAL -> REMOTE METHOD URL STATUS REQUEST-SIZE RESPONSE-SIZE DURATION [MARK]... > "BODY" < "BODY"
--
-- The first eleven words are always there, so awk can count them; no captured
-- byte can add a word or a line. Sizes are those of the bodies.
local buffer = require "string.buffer"
local ffi = require "ffi"
local escape = require "plainsight.output.escape"
local fields = require "plainsight.output.fields"

local _M = {}

local C = ffi.C

local function put_process(buf, process)
  local comm, len = fields.comm(process)
  escape.put(buf, comm, len, escape.WORD)
  buf:put(":", process.tgid)
end

local function put_request_line(buf, ex, request, colors)
  if not request then
    buf:put("? ?")
    return
  end
  buf:put(colors.method)
  escape.put(buf, request.method.data, request.method.len, escape.WORD)
  buf:put(colors.off, " ")
  local url = fields.url(ex)
  escape.put(buf, url, #url, escape.WORD)
end

local function put_status(buf, response, colors)
  if not response then
    buf:put("-")
    return
  end
  buf:put(fields.status_color(colors, response.status), ("%03d"):format(response.status), colors.off)
end

-- Start of a body and the marks of its message, or nothing when there is nothing to tell.
local function put_body(buf, sign, message, preview_bytes, colors)
  local kept = message.body.kept
  local shows = kept.len > 0 and preview_bytes > 0
  local is_marked = fields.is_marked(message)
  if not shows and not is_marked then return end
  buf:put(sign)
  if shows then
    buf:put(' "')
    local shown = escape.put(buf, kept.data, tonumber(kept.len), escape.QUOTED, preview_bytes)
    buf:put(shown < kept.len and '"...' or '"')
  end
  if is_marked then
    buf:put(colors.mark)
    fields.put_message_marks(buf, message)
    buf:put(colors.off)
  end
end

local function put_measures(buf, request, response)
  buf:put(" ", request and fields.size(request.body.size_bytes) or "-")
  buf:put(" ", response and fields.size(response.body.size_bytes) or "-")
  if request and response then
    buf:put(" ", fields.duration(fields.elapsed_ns(request.first_ts_ns, response.last_ts_ns)))
  else
    buf:put(" -")
  end
end

--- One line for one exchange.
-- @param ex const struct ps_exchange *
-- @param opts table: preview_bytes (number), color (boolean), clock_offset_ns
--   (number or 64-bit integer to add to CLOCK_MONOTONIC to get Unix time)
-- @return string that ends in a line feed
function _M.format(ex, opts)
  local buf = buffer.new()
  local request, response = fields.request(ex), fields.response(ex)
  local colors = fields.palette(opts.color)

  buf:put(colors.faint, fields.time_of_day(fields.first_ts_ns(ex), opts.clock_offset_ns), colors.off, " ")
  put_process(buf, fields.process(ex))
  buf:put(" ")
  fields.put_connection(buf, ex)
  buf:put(" ")
  put_request_line(buf, ex, request, colors)
  buf:put(" ")
  put_status(buf, response, colors)
  put_measures(buf, request, response)
  if ex.flags ~= C.PS_EXCHANGE_REQUEST + C.PS_EXCHANGE_RESPONSE or ex.interim_count > 0 then
    buf:put(colors.mark)
    fields.put_exchange_marks(buf, ex)
    buf:put(colors.off)
  end
  if request then put_body(buf, " >", request, opts.preview_bytes, colors) end
  if response then put_body(buf, " <", response, opts.preview_bytes, colors) end
  buf:put("\n")
  return buf:get()
end

return _M
