-- SPDX-License-Identifier: Apache-2.0
--- struct ps_exchange built from plain tables, for the specs of the output formats.
local buffer = require "string.buffer"
local ffi = require "ffi"
require "plainsight.contract"

local _M = {}

-- A slice does not keep its bytes alive, so the exchange they belong to does.
local anchors = setmetatable({}, { __mode = "k" })

-- Bytes that end right where the slice says, with a canary behind them: what
-- reads on shows it in its output.
local CANARY = "BEYOND-THE-SLICE"

local function slice(keep, text)
  if #text == 0 then return ffi.new("struct ps_slice") end
  local bytes = ffi.new("char[?]", #text + #CANARY)
  ffi.copy(bytes, text, #text)
  ffi.copy(bytes + #text, CANARY, #CANARY)
  keep[#keep + 1] = bytes
  return ffi.new("struct ps_slice", bytes, #text)
end
_M.CANARY = CANARY

local function headers(keep, list)
  local array = ffi.new("struct ps_header[?]", math.max(#list, 1))
  for i, pair in ipairs(list) do
    array[i - 1].name, array[i - 1].value = slice(keep, pair[1]), slice(keep, pair[2])
    array[i - 1].flags = pair.flags or 0
  end
  keep[#keep + 1] = array
  return array, #list
end

local function fill_process(process, spec)
  process.tgid, process.tid = spec.tgid or 4242, spec.tid or spec.tgid or 4242
  process.ns_tgid = spec.ns_tgid or 0
  process.uid, process.cgroup_id = spec.uid or 1000, spec.cgroup_id or 77
  local comm = spec.comm or "curl"
  ffi.copy(process.comm, comm, math.min(#comm, 16))
end

local function fill_message(keep, message, spec)
  for _, name in ipairs { "method", "target", "reason", "scheme", "authority", "protocol" } do
    if spec[name] then message[name] = slice(keep, spec[name]) end
  end
  message.headers, message.header_count = headers(keep, spec.headers or {})
  message.trailers, message.trailer_count = headers(keep, spec.trailers or {})
  message.status = spec.status or 0
  message.version_major, message.version_minor = spec.version_major or 1, spec.version_minor or 1
  message.flags = spec.flags or ffi.C.PS_MESSAGE_COMPLETE
  message.head_bytes, message.wire_bytes = spec.head_bytes or 0, spec.wire_bytes or 0
  message.first_ts_ns = spec.first_ts_ns
  message.last_ts_ns = spec.last_ts_ns or spec.first_ts_ns
  fill_process(message.process, spec.process or {})
  local body = spec.body or ""
  message.body.kept = slice(keep, body)
  message.body.size_bytes = spec.size_bytes or #body
  message.body.state = spec.state or ffi.C.PS_BODY_COMPLETE
  message.body.framing = spec.framing or ffi.C.PS_FRAMING_LENGTH
  message.body.gap_offset, message.body.gap_bytes = spec.gap_offset or 0, spec.gap_bytes or 0
end

local function fill_endpoint(endpoint, spec)
  endpoint.family, endpoint.port = spec.family or ffi.C.PS_FAMILY_INET, spec.port or 0
  for i, byte in ipairs(spec.addr or { 127, 0, 0, 1 }) do endpoint.addr[i - 1] = byte end
end

--- Offset that makes the fixture's first byte fall on 2023-11-14 22:13:20.123456789 UTC.
_M.CLOCK_OFFSET_NS = 1699999000000000000LL
--- CLOCK_MONOTONIC of the first byte of a request.
_M.FIRST_TS_NS = 1000123456789ULL
--- The same instant in Unix time.
_M.FIRST_UNIX_NS = "1700000000123456789"
_M.FIRST_UNIX_S = 1700000000

--- Request of a GET, with the given fields replaced.
function _M.request(changes)
  local spec = {
    method = "GET", target = "/x?q=1", headers = { { "Host", "localhost:8080" } },
    head_bytes = 40, wire_bytes = 40, first_ts_ns = _M.FIRST_TS_NS, framing = ffi.C.PS_FRAMING_NONE,
  }
  for key, value in pairs(changes or {}) do spec[key] = value end
  return spec
end

--- Request of HTTP/2, with the given fields replaced.
function _M.request_h2(changes)
  local spec = {
    version_major = 2, version_minor = 0, target = "/x", scheme = "https", authority = "a.test", headers = {},
  }
  for key, value in pairs(changes or {}) do spec[key] = value end
  return _M.request(spec)
end

--- Response of HTTP/2, with the given fields replaced.
function _M.response_h2(changes)
  local spec = { version_major = 2, version_minor = 0, reason = "", headers = {}, framing = ffi.C.PS_FRAMING_H2 }
  for key, value in pairs(changes or {}) do spec[key] = value end
  return _M.response(spec)
end

--- A header of which nothing is known.
_M.UNKNOWN_HEADER = { "", "", flags = ffi.C.PS_HEADER_NAME_UNKNOWN + ffi.C.PS_HEADER_VALUE_UNKNOWN }

--- Its response, 1 ms later and 0.2 ms long.
function _M.response(changes)
  local spec = {
    status = 200, reason = "OK", headers = { { "Content-Length", "6" } }, body = "hello\n",
    head_bytes = 38, wire_bytes = 44,
    first_ts_ns = _M.FIRST_TS_NS + 1000000, last_ts_ns = _M.FIRST_TS_NS + 1200000,
  }
  for key, value in pairs(changes or {}) do spec[key] = value end
  return spec
end

--- An exchange. false for request or response leaves it out.
-- @param spec table: request, response (of the functions above), side, flags
--   (added to those of the parts), id, library, local_end, remote_end, unix_path, conn_id,
--   interim (list), interim_count, missing (fields of the part left out)
-- @return struct ps_exchange
function _M.exchange(spec)
  spec = spec or {}
  local ex, keep = ffi.new("struct ps_exchange"), {}
  anchors[ex] = keep
  ex.stream_id, ex.error_code = spec.stream_id or 0, spec.error_code or 0
  ex.id, ex.library = spec.id or 0, spec.library or 0
  ex.conn_id, ex.side = spec.conn_id or 31337, spec.side or ffi.C.PS_SIDE_CLIENT
  ex.flags = spec.flags or 0
  if spec.request ~= false then
    ex.flags = ex.flags + ffi.C.PS_EXCHANGE_REQUEST
    fill_message(keep, ex.request, spec.request or _M.request())
  else
    ex.request.flags = spec.missing_flags or 0
  end
  if spec.response ~= false then
    ex.flags = ex.flags + ffi.C.PS_EXCHANGE_RESPONSE
    fill_message(keep, ex.response, spec.response or _M.response())
  else
    ex.response.flags = spec.missing_flags or 0
  end
  fill_endpoint(ex["local"], spec.local_end or { port = 40002 })
  fill_endpoint(ex.remote, spec.remote_end or { port = 8080 })
  if spec.unix_path then
    ex.unix_path = slice(keep, spec.unix_path)
    ex["local"].family, ex.remote.family = ffi.C.PS_FAMILY_UNIX, ffi.C.PS_FAMILY_UNIX
  end
  for i, status in ipairs(spec.interim or {}) do ex.interim[i - 1] = status end
  ex.interim_count = spec.interim_count or #(spec.interim or {})
  return ex
end

--- A message within an exchange.
-- @param spec table: protocol, type, direction, flags, payload (string), size_bytes, state, name, event_id, frames,
--   close_code
-- @return struct ps_stream_message
function _M.message(spec)
  local message, keep = ffi.new("struct ps_stream_message"), {}
  anchors[message] = keep
  message.protocol = spec.protocol or ffi.C.PS_STREAM_WEBSOCKET
  message.type, message.direction = spec.type or ffi.C.PS_STREAM_TEXT, spec.direction or ffi.C.PS_OUT
  message.flags, message.frames, message.close_code = spec.flags or 0, spec.frames or 1, spec.close_code or 0
  local payload = spec.payload or ""
  message.body.kept, message.body.size_bytes = slice(keep, payload), spec.size_bytes or #payload
  message.body.state = spec.state or ffi.C.PS_BODY_COMPLETE
  message.name, message.event_id = slice(keep, spec.name or ""), slice(keep, spec.event_id or "")
  message.wire_bytes = #payload + 2
  message.first_ts_ns, message.last_ts_ns = _M.FIRST_TS_NS, _M.FIRST_TS_NS
  fill_process(message.process, spec.process or {})
  return message
end

--- The item that hands out a message of an exchange.
-- @return struct ps_item; the two must outlive it
function _M.message_item(exchange, message)
  return ffi.new("struct ps_item", { kind = ffi.C.PS_ITEM_MESSAGE, exchange = exchange, message = message })
end

--- What a function appends to a string.buffer, as a string. Further arguments are its own.
function _M.text_of(put, ...)
  local buf = buffer.new()
  put(buf, ...)
  return buf:get()
end

--- Bytes that must not reach a terminal as they are, with their escaped form.
_M.hostile = {
  { "\0", "\\x00" }, { "\27[31m", "\\x1b[31m" }, { "\7", "\\x07" }, { "\127", "\\x7f" }, { "\8", "\\x08" },
  { "\194\155\51\49m", "\\xc2\\x9b31m" }, -- CSI as a C1 control
  { "\155\51\49m", "\\x9b31m" }, -- and as a lone byte
  { "\192\175", "\\xc0\\xaf" }, -- overlong "/"
  { "\224\128\175", "\\xe0\\x80\\xaf" }, -- overlong "/"
  { "\237\160\128", "\\xed\\xa0\\x80" }, -- surrogate
  { "\244\144\128\128", "\\xf4\\x90\\x80\\x80" }, -- above U+10FFFF
  { "\195(", "\\xc3(" }, { "\226\130", "\\xe2\\x82" }, -- broken off
  { "\226\128\174evil", "\\u{202e}evil" }, { "\226\129\167", "\\u{2067}" }, { "\226\128\143", "\\u{200f}" },
  { "\226\128\168", "\\u{2028}" }, { "\216\156", "\\u{061c}" }, { "\226\128\139", "\\u{200b}" },
  { "\239\187\191", "\\u{feff}" },
}

--- Printable UTF-8 that must pass unchanged.
_M.printable = "Grüße, 東京 €5 \240\159\153\130 naïve"

return _M
