-- SPDX-License-Identifier: Apache-2.0
--- What the output formats tell about an exchange, in the words of a reader:
-- addresses, times, URL, and the marks for what is not whole.
local bit = require "bit"
local ffi = require "ffi"
local escape = require "plainsight.output.escape"
local library = require "plainsight.library"

local _M = {}

local C = ffi.C
local lib = library.lib
local band, bor = bit.band, bit.bor

ffi.cdef [[const char *inet_ntop(int family, const void *address, char *text, uint32_t text_len);]]

local INET6_TEXT_MAX = 46

--- True when the flag is set.
-- @param flags number
-- @param flag enum constant
-- @return boolean
local function has(flags, flag)
  return band(flags, flag) ~= 0
end
_M.has = has

--- The request, or nil when it was not seen.
-- @param ex const struct ps_exchange *
-- @return const struct ps_message *
function _M.request(ex)
  return has(ex.flags, C.PS_EXCHANGE_REQUEST) and ex.request or nil
end

--- The response, or nil when it was not seen.
-- @param ex const struct ps_exchange *
-- @return const struct ps_message *
function _M.response(ex)
  return has(ex.flags, C.PS_EXCHANGE_RESPONSE) and ex.response or nil
end

--- The process that the exchange is told about: who moved the request, or the
-- response when no request was seen.
-- @param ex const struct ps_exchange *
-- @return const struct ps_process *
function _M.process(ex)
  return (_M.request(ex) or ex.response).process
end

-- All bytes but NUL.
local no_nul = ffi.new("uint8_t[256]")
for byte = 1, 255 do no_nul[byte] = 1 end

--- Name of a thread, up to its NUL and never beyond its field.
-- @param process const struct ps_process *
-- @return pointer to the first byte, and number of bytes
function _M.comm(process)
  return process.comm, tonumber(lib.ps_span(process.comm, C.PS_COMM_LEN, no_nul))
end

--- When the exchange began.
-- @param ex const struct ps_exchange *
-- @return uint64_t CLOCK_MONOTONIC nanoseconds
function _M.first_ts_ns(ex)
  return (_M.request(ex) or ex.response).first_ts_ns
end

--- Nanoseconds from one time to another, 0 when they are out of order (calls
-- on two CPUs may be).
-- @param from uint64_t
-- @param to uint64_t
-- @return number
function _M.elapsed_ns(from, to)
  return to > from and tonumber(to - from) or 0
end

local clock_second, clock_text

--- Append the local time of day with milliseconds, such as "21:03:01.123".
-- @param buf string.buffer
-- @param ts_ns uint64_t CLOCK_MONOTONIC
-- @param offset_ns number or 64-bit integer to add to get Unix time
function _M.put_time_of_day(buf, ts_ns, offset_ns)
  local ms = math.floor((tonumber(ts_ns) + tonumber(offset_ns)) / 1e6)
  local second = math.floor(ms / 1000)
  if second ~= clock_second then
    clock_second, clock_text = second, os.date("%H:%M:%S", second)
  end
  buf:putf("%s.%03d", clock_text, ms - second * 1000)
end

--- Append a time span for people, such as "850us", "1.2ms", "2.41s".
-- @param buf string.buffer
-- @param ns number
function _M.put_duration(buf, ns)
  if ns < 999500 then
    buf:putf("%.0fus", ns / 1e3)
  elseif ns < 999950000 then
    buf:putf("%.1fms", ns / 1e6)
  else
    buf:putf("%.2fs", ns / 1e9)
  end
end

local size_units = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" }

local function put_units(buf, value, unit)
  buf:putf(value == math.floor(value) and "%d%s" or "%.1f%s", value, size_units[unit])
end

--- Append a number of bytes for people, exact below 1 KiB and at whole units:
-- "12B", "64KiB", "1.5MiB".
-- @param buf string.buffer
-- @param bytes uint64_t or number
function _M.put_size(buf, bytes)
  local value = tonumber(bytes)
  if value < 1024 then
    buf:putf("%dB", value)
    return
  end
  local unit = 1
  value = value / 1024
  if value < 1023.95 then -- most are, and code without a loop joins the caller's trace
    put_units(buf, value, unit)
    return
  end
  repeat
    value, unit = value / 1024, unit + 1
  until value < 1023.95 or unit == #size_units
  put_units(buf, value, unit)
end

local address_text = ffi.new("char[?]", INET6_TEXT_MAX)

--- Append the address of one end, without port or brackets; "?" when the
-- family is not that of an internet address.
-- @param buf string.buffer
-- @param endpoint const struct ps_endpoint *
function _M.put_address(buf, endpoint)
  local family = endpoint.family
  if family == C.PS_FAMILY_INET then
    local a = endpoint.addr
    buf:putf("%d.%d.%d.%d", a[0], a[1], a[2], a[3])
    return
  end
  local text = family == C.PS_FAMILY_INET6 and C.inet_ntop(family, endpoint.addr, address_text, INET6_TEXT_MAX)
  buf:put(text and text ~= nil and ffi.string(text) or "?")
end

--- True when it is known where the connection goes: of a TLS session it may not be.
-- @param ex const struct ps_exchange *
-- @return boolean
function _M.has_address(ex)
  return ex["local"].family ~= C.PS_FAMILY_NONE
end

--- Append address and port of one end, such as "127.0.0.1:80" or "[::1]:80"; "?" when it is not known.
-- @param buf string.buffer
-- @param endpoint const struct ps_endpoint *
function _M.put_endpoint(buf, endpoint)
  if endpoint.family == C.PS_FAMILY_NONE then
    buf:put("?")
    return
  end
  local is_inet6 = endpoint.family == C.PS_FAMILY_INET6
  if is_inet6 then buf:put("[") end
  _M.put_address(buf, endpoint)
  buf:putf(is_inet6 and "]:%d" or ":%d", endpoint.port)
end

--- True for a unix domain socket.
-- @param ex const struct ps_exchange *
-- @return boolean
function _M.is_unix(ex)
  return ex["local"].family == C.PS_FAMILY_UNIX
end

--- Name of a unix domain socket.
-- @param ex const struct ps_exchange *
-- @return string of raw bytes: "unix:/path", "unix:@abstract", "unix:-" when it has no name
function _M.unix_name(ex)
  local path = ex.unix_path
  return path.len == 0 and "unix:-" or "unix:" .. ffi.string(path.data, path.len)
end

--- Value of the first header of a name.
-- @param message const struct ps_message *
-- @param name string
-- @return const struct ps_slice *, or nil when there is none or it is empty
function _M.header_slice(message, name)
  local value = lib.ps_header_value(message, name)
  if value == nil then return nil end
  return value
end

--- The same as a string of raw bytes.
function _M.header(message, name)
  local value = _M.header_slice(message, name)
  return value and ffi.string(value.data, value.len)
end

--- The host that a request is for, with its port when that was named: the
-- authority of HTTP/2 (RFC 9113 8.3.1), else the Host header.
-- @param request const struct ps_message *
-- @return const struct ps_slice *, or nil when there is none or it is empty
function _M.host_slice(request)
  if request.authority.len > 0 then return request.authority end
  return _M.header_slice(request, "host")
end

--- Append the origin of a target that does not name it, such as "http://HOST".
-- @param buf string.buffer
-- @param ex const struct ps_exchange *
-- @param put_bytes see put_url
local function put_origin(buf, ex, put_bytes)
  local scheme = ex.request.scheme
  if scheme.len > 0 then
    put_bytes(buf, scheme.data, tonumber(scheme.len))
    buf:put("://")
  else
    buf:put(ex.library ~= 0 and "https://" or "http://")
  end
  local host = _M.host_slice(ex.request)
  if host then
    put_bytes(buf, host.data, tonumber(host.len))
  elseif _M.is_unix(ex) then
    local name = _M.unix_name(ex) .. ":"
    put_bytes(buf, ffi.cast("const char *", name), #name)
  else
    _M.put_endpoint(buf, ex.side == C.PS_SIDE_SERVER and ex["local"] or ex.remote)
  end
end
_M.put_origin = put_origin

--- True when a request has no target: an unknown one of HTTP/2, not one of
-- CONNECT, which has an authority instead (RFC 9113 8.5).
-- @param request const struct ps_message *
-- @return boolean
function _M.is_target_unknown(request)
  if request.target.len > 0 then return false end
  local method = request.method
  return request.authority.len == 0 or method.len ~= 7 or ffi.string(method.data, 7) ~= "CONNECT"
end

local function put_no_target(buf, request, put_bytes)
  if _M.is_target_unknown(request) then
    buf:put("?")
  else
    put_bytes(buf, request.authority.data, tonumber(request.authority.len))
  end
end

--- Append what the request asks for, as one URL (RFC 9112 3.2 and 7.1).
-- A target in absolute form, or for CONNECT the authority, is shown as it is. "*"
-- stands for the server as a whole: no path. With no Host header the server's
-- own address is used, for a unix socket in the form that nginx reads,
-- "http://unix:/path:/target". "?" when the target is unknown (HTTP/2 only).
-- @param buf string.buffer
-- @param ex const struct ps_exchange * with a request
-- @param put_bytes function(buf, data, len) that appends captured bytes
function _M.put_url(buf, ex, put_bytes)
  local target = ex.request.target
  local len = tonumber(target.len)
  if len == 0 then
    put_no_target(buf, ex.request, put_bytes)
    return
  end
  local first = target.data[0]
  local is_asterisk = len == 1 and first == 0x2a -- "*"
  if first == 0x2f or is_asterisk then put_origin(buf, ex, put_bytes) end -- "/"
  if not is_asterisk then put_bytes(buf, target.data, len) end
end

--- Why a request has no response, as far as the flags of the two messages tell.
-- @param ex const struct ps_exchange *
-- @return string: "aborted" (the connection ended), "unfinished" (the capture
--   ended), "lost" (its bytes were lost); nil when nothing is known
function _M.missing_reason(ex)
  local flags = bor(ex.request.flags, ex.response.flags)
  if has(flags, C.PS_MESSAGE_LOST_TAIL) then return "lost" end
  if has(flags, C.PS_MESSAGE_ABORTED) then return "aborted" end
  if has(flags, C.PS_MESSAGE_UNFINISHED) then return "unfinished" end
  return nil
end

local message_flags = {
  { C.PS_MESSAGE_ABORTED, "aborted" },
  { C.PS_MESSAGE_UNFINISHED, "unfinished" },
  { C.PS_MESSAGE_LOST_TAIL, "lost-tail" },
  { C.PS_MESSAGE_HEAD_CUT, "head-cut" },
  { C.PS_MESSAGE_AMBIGUOUS, "ambiguous-framing" },
  { C.PS_MESSAGE_BAD_CHUNK, "bad-chunk" },
  { C.PS_MESSAGE_FROM_FILE, "from-file" },
  { C.PS_MESSAGE_UNKNOWN, "unknown-headers" },
  { C.PS_MESSAGE_REDACTED, "redacted" },
  { C.PS_MESSAGE_WITHHELD, "withheld" },
}
local MESSAGE_FLAGS_ALL = 0
for _, entry in ipairs(message_flags) do MESSAGE_FLAGS_ALL = bor(MESSAGE_FLAGS_ALL, entry[1]) end

--- Names of the flags of a message that something is to be known of.
-- @param message const struct ps_message *
-- @return list of strings, or nil when there is none
function _M.message_flags(message)
  if not has(message.flags, MESSAGE_FLAGS_ALL) then return nil end
  local names = {}
  for _, entry in ipairs(message_flags) do
    if has(message.flags, entry[1]) then names[#names + 1] = entry[2] end
  end
  return names
end

--- Append the version of a message, such as "1.1" or "2".
-- @param buf string.buffer
-- @param message const struct ps_message *
function _M.put_version(buf, message)
  if message.version_major == 2 then
    buf:put("2")
  else
    buf:putf("%d.%d", message.version_major, message.version_minor)
  end
end

--- Statuses of the 1xx responses before the final one, as far as they were kept.
-- @param ex const struct ps_exchange *
-- @return list of numbers, maybe empty
function _M.interim(ex)
  local statuses = {}
  for i = 0, math.min(ex.interim_count, C.PS_INTERIM_MAX) - 1 do
    statuses[i + 1] = ex.interim[i]
  end
  return statuses
end

--- Append a space and a mark in brackets for what is not whole of a body.
-- @param buf string.buffer
-- @param body const struct ps_body *
function _M.put_body_marks(buf, body)
  if body.gap_bytes > 0 then
    buf:putf(" [gap %uB at %u]", body.gap_bytes, body.gap_offset)
  elseif body.state == C.PS_BODY_GAP then
    buf:put(" [gap]")
  elseif body.state == C.PS_BODY_TRUNCATED then
    buf:put(" [body cut ")
    _M.put_size(buf, body.kept.len)
    buf:put(" of ")
    _M.put_size(buf, body.size_bytes)
    buf:put("]")
  end
end

--- Append a space and a mark in brackets for each thing to know about a message.
-- @param buf string.buffer
-- @param message const struct ps_message *
function _M.put_message_marks(buf, message)
  _M.put_body_marks(buf, message.body)
  local names = _M.message_flags(message)
  for i = 1, names and #names or 0 do
    buf:put(" [", names[i], "]")
  end
end

--- True when put_message_marks would append something.
-- @param message const struct ps_message *
-- @return boolean
function _M.is_marked(message)
  return message.body.state ~= C.PS_BODY_COMPLETE or message.body.gap_bytes > 0
    or has(message.flags, MESSAGE_FLAGS_ALL)
end

local function put_interim_mark(buf, ex)
  buf:put(" [interim ", table.concat(_M.interim(ex), ","))
  if ex.interim_count > C.PS_INTERIM_MAX then buf:put(",...") end
  buf:put("]")
end

-- The protocol that follows on the connection or stream: Upgrade, or of HTTP/2 :protocol (RFC 8441); what it was found
-- to be when these were not seen.
local function tunnel_protocol(ex)
  if ex.protocol == C.PS_STREAM_WEBSOCKET then return "websocket" end
  local protocol = ex.request.protocol
  if protocol.len > 0 then return ffi.string(protocol.data, protocol.len) end
  return ex.response.status == 101 and (_M.header(ex.response, "upgrade") or _M.header(ex.request, "upgrade"))
end

local function put_tunnel_mark(buf, ex)
  local upgrade = tunnel_protocol(ex)
  if upgrade then
    buf:put(" [upgrade ")
    escape.put(buf, upgrade, #upgrade, escape.WORD)
    buf:put("]")
  else
    buf:put(" [tunnel]")
  end
end

-- RFC 9113 7, by code.
local error_names = {
  [0] = "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
  "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
  "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

--- Name of an error code of HTTP/2, such as "CANCEL"; its number when it has none.
-- @param code number
-- @return string
function _M.error_name(code) return error_names[code] or tostring(code) end

--- Append a space and a mark in brackets for each thing to know about the exchange as a whole.
-- @param buf string.buffer
-- @param ex const struct ps_exchange *
function _M.put_exchange_marks(buf, ex)
  local flags = ex.flags
  if has(flags, C.PS_EXCHANGE_MIDSTREAM) then buf:put(" [midstream]") end
  if has(flags, C.PS_EXCHANGE_AFTER_GAP) then buf:put(" [after-gap]") end
  if not _M.response(ex) then
    local reason = _M.missing_reason(ex)
    buf:put(" [no response", reason and ": " .. reason or "", "]")
  end
  if not _M.request(ex) then buf:put(" [no request]") end
  if ex.interim_count > 0 then put_interim_mark(buf, ex) end
  if has(flags, C.PS_EXCHANGE_TUNNEL) then put_tunnel_mark(buf, ex) end
  if has(flags, C.PS_EXCHANGE_PUSHED) then buf:put(" [pushed]") end
  if has(flags, C.PS_EXCHANGE_RESET) then
    buf:put(" [reset ", _M.error_name(ex.error_code), "]")
  end
  if has(flags, C.PS_EXCHANGE_UNDECODED) then buf:put(" [messages not decoded]") end
end

--- Append the two ends of the connection: LOCAL, an arrow, REMOTE. The arrow
-- points from client to server; "--" when it is not known which is which.
-- @param buf string.buffer
-- @param ex const struct ps_exchange *
-- @param arrow string: in the place of this one; nil: this one
function _M.put_connection(buf, ex, arrow)
  local side = ex.side
  arrow = arrow or side == C.PS_SIDE_CLIENT and " -> " or side == C.PS_SIDE_SERVER and " <- " or " -- "
  if not _M.is_unix(ex) then
    _M.put_endpoint(buf, ex["local"])
    buf:put(arrow)
    _M.put_endpoint(buf, ex.remote)
    return
  end
  -- Only the listening socket has a name worth telling: it stands at the server's end.
  local name = _M.unix_name(ex)
  if side == C.PS_SIDE_CLIENT then buf:put("-", arrow) end
  escape.put(buf, name, #name, escape.WORD)
  if side ~= C.PS_SIDE_CLIENT then buf:put(arrow, "-") end
end

--- Terminal colours by purpose: escape sequences, or empty strings.
-- @param enabled boolean
-- @return table of strings: faint, method, mark, off, and status[1..5] by first digit
local function palette(enabled)
  local function sgr(code) return enabled and "\27[" .. code .. "m" or "" end
  return {
    faint = sgr "2", method = sgr "1", mark = sgr "35", off = sgr "0",
    status = { sgr "36", sgr "32", sgr "36", sgr "33", sgr "31" }, status_other = sgr "35",
  }
end
local with_color, without_color = palette(true), palette(false)

--- @param enabled boolean
-- @return the palette for it
function _M.palette(enabled)
  return enabled and with_color or without_color
end

--- Colour of a status.
-- @param colors palette
-- @param status number
-- @return string
function _M.status_color(colors, status)
  return colors.status[math.floor(status / 100)] or colors.status_other
end

return _M
