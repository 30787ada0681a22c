-- SPDX-License-Identifier: Apache-2.0
--- An exchange in full, for readers of curl -v: "*" tells about it, ">" is the
-- request, "<" the response, bodies stand between them as they are.
local buffer = require "string.buffer"
local ffi = require "ffi"
local escape = require "plainsight.output.escape"
local fields = require "plainsight.output.fields"

local _M = {}

local C = ffi.C

local HEXDUMP_BYTES_MAX = 256
local HEXDUMP_WIDTH = 16

local function put_note(buf, colors, ...)
  buf:put(colors.faint, "* ", ...)
  buf:put(colors.off, "\n")
end

local function process_text(process)
  local buf = buffer.new()
  local comm, len = fields.comm(process)
  escape.put(buf, comm, len, escape.WORD)
  buf:put(":", process.tgid, " (thread ", process.tid, ", uid ", process.uid, ")")
  return buf:get()
end

local function put_slice(buf, slice)
  escape.put(buf, slice.data, tonumber(slice.len), escape.LINE)
end

local function put_headers(buf, sign, headers, count)
  for i = 0, count - 1 do
    buf:put(sign, " ")
    put_slice(buf, headers[i].name)
    buf:put(headers[i].value.len > 0 and ": " or ":")
    put_slice(buf, headers[i].value)
    buf:put("\n")
  end
end

local function is_printable(byte)
  return byte >= 0x20 and byte < 0x7f
end

-- The layout of hexdump -C.
local function put_hexdump(buf, data, len)
  local bytes = ffi.cast("const uint8_t *", data)
  for start = 0, len - 1, HEXDUMP_WIDTH do
    local codes, characters = {}, {}
    for i = start, math.min(start + HEXDUMP_WIDTH, len) - 1 do
      codes[#codes + 1] = ("%02x"):format(bytes[i])
      characters[#characters + 1] = is_printable(bytes[i]) and string.char(bytes[i]) or "."
    end
    buf:put(("%08x  %-47s  |%s|\n"):format(start, table.concat(codes, " "), table.concat(characters)))
  end
end

-- Text is UTF-8 without NUL; a kept part may end inside a character.
local function is_text(bytes, len, is_part)
  local valid, only_end_is_missing = escape.utf8_prefix(bytes, len)
  if valid < len and not (is_part and only_end_is_missing) then return false end
  for i = 0, len - 1 do
    if bytes[i] == 0 then return false end
  end
  return true
end

local function put_body(buf, body, colors)
  local bytes, len = ffi.cast("const uint8_t *", body.kept.data), tonumber(body.kept.len)
  if len == 0 then return end
  if is_text(bytes, len, body.state ~= C.PS_BODY_COMPLETE) then
    escape.put(buf, bytes, len, escape.TEXT)
    if bytes[len - 1] ~= 0x0a then buf:put("\n") end
    return
  end
  local shown = math.min(len, HEXDUMP_BYTES_MAX)
  put_hexdump(buf, bytes, shown)
  put_note(buf, colors, ("binary body: %d of %s bytes shown"):format(shown, fields.digits(body.size_bytes)))
end

-- What follows a start line: headers, body, trailers, and what is wrong with them.
local function put_message(buf, sign, name, message, colors)
  put_headers(buf, sign, message.headers, message.header_count)
  buf:put(sign, "\n")
  put_body(buf, message.body, colors)
  put_headers(buf, sign, message.trailers, message.trailer_count)
  if fields.is_marked(message) then
    buf:put(colors.mark, "* ", name)
    fields.put_message_marks(buf, message)
    buf:put(colors.off, "\n")
  end
end

local function put_request(buf, request, colors)
  buf:put("> ", colors.method)
  put_slice(buf, request.method)
  buf:put(colors.off, " ")
  put_slice(buf, request.target)
  buf:put((" HTTP/%d.%d\n"):format(request.version_major, request.version_minor))
  put_message(buf, ">", "request", request, colors)
end

local function put_response(buf, ex, response, colors)
  local version = ("HTTP/%d.%d"):format(response.version_major, response.version_minor)
  for _, status in ipairs(fields.interim(ex)) do
    buf:put("< ", version, (" %03d (interim; its headers are not kept)\n"):format(status))
  end
  buf:put("< ", version, " ", fields.status_color(colors, response.status), ("%03d"):format(response.status))
  buf:put(colors.off)
  if response.reason.len > 0 then
    buf:put(" ")
    put_slice(buf, response.reason)
  end
  buf:put("\n")
  put_message(buf, "<", "response", response, colors)
end

local function put_opening(buf, ex, opts, colors)
  local line = buffer.new()
  line:put(fields.time_of_day(fields.first_ts_ns(ex), opts.clock_offset_ns), " ")
  line:put(process_text(fields.process(ex)), " ")
  fields.put_connection(line, ex)
  put_note(buf, colors, line:get())
end

local function put_summary(buf, request, response, colors)
  local parts = {}
  if request then parts[#parts + 1] = "request body " .. fields.size(request.body.size_bytes) end
  if response then parts[#parts + 1] = "response body " .. fields.size(response.body.size_bytes) end
  if request and response then
    local first = fields.elapsed_ns(request.first_ts_ns, response.first_ts_ns)
    local last = fields.elapsed_ns(request.first_ts_ns, response.last_ts_ns)
    parts[#parts + 1] = "response began after " .. fields.duration(first)
    parts[#parts + 1] = "ended after " .. fields.duration(last)
    if request.process.tgid ~= response.process.tgid then
      parts[#parts + 1] = "response by " .. process_text(response.process)
    end
  end
  put_note(buf, colors, table.concat(parts, ", "))
end

--- Several lines for one exchange, the last of them empty.
-- @param ex const struct ps_exchange *
-- @param opts table: color (boolean), clock_offset_ns (number or 64-bit
--   integer to add to CLOCK_MONOTONIC to get Unix time)
-- @return string that ends in an empty line
function _M.format(ex, opts)
  local buf = buffer.new()
  local request, response = fields.request(ex), fields.response(ex)
  local colors = fields.palette(opts.color)

  put_opening(buf, ex, opts, colors)
  if request then put_request(buf, request, colors) end
  if response then put_response(buf, ex, response, colors) end
  local marks = buffer.new()
  fields.put_exchange_marks(marks, ex)
  if #marks > 0 then buf:put(colors.mark, "*", marks:get(), colors.off, "\n") end
  put_summary(buf, request, response, colors)
  buf:put("\n")
  return buf:get()
end

return _M
