-- SPDX-License-Identifier: Apache-2.0
--- What the output formats tell about an exchange, in the words of a reader:
-- addresses, times, URL, and the marks for what is not whole.
local bit = require "bit"
local ffi = require "ffi"
local escape = require "plainsight.output.escape"
require "plainsight.contract"

local _M = {}

local C = ffi.C
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

--- Name of a thread, up to its NUL and never beyond its field.
-- @param process const struct ps_process *
-- @return pointer to the first byte, and number of bytes
function _M.comm(process)
  local len = 0
  while len < C.PS_COMM_LEN and process.comm[len] ~= 0 do len = len + 1 end
  return process.comm, len
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

--- Local time of day with milliseconds.
-- @param ts_ns uint64_t CLOCK_MONOTONIC
-- @param offset_ns number or 64-bit integer to add to get Unix time
-- @return string such as "21:03:01.123"
function _M.time_of_day(ts_ns, offset_ns)
  local ms = math.floor((tonumber(ts_ns) + tonumber(offset_ns)) / 1e6)
  local second = math.floor(ms / 1000)
  if second ~= clock_second then
    clock_second, clock_text = second, os.date("%H:%M:%S", second)
  end
  return ("%s.%03d"):format(clock_text, ms - second * 1000)
end

--- A time span for people.
-- @param ns number
-- @return string such as "850us", "1.2ms", "2.41s"
function _M.duration(ns)
  if ns < 999500 then return ("%.0fus"):format(ns / 1e3) end
  if ns < 999950000 then return ("%.1fms"):format(ns / 1e6) end
  return ("%.2fs"):format(ns / 1e9)
end

local size_units = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" }

--- A number of bytes for people: exact below 1 KiB and at whole units.
-- @param bytes uint64_t or number
-- @return string such as "12B", "64KiB", "1.5MiB"
function _M.size(bytes)
  local value = tonumber(bytes)
  if value < 1024 then return ("%dB"):format(value) end
  local unit = 0
  repeat
    value, unit = value / 1024, unit + 1
  until value < 1023.95 or unit == #size_units
  if value == math.floor(value) then return ("%d%s"):format(value, size_units[unit]) end
  return ("%.1f%s"):format(value, size_units[unit])
end

--- Decimal digits of an unsigned 64-bit integer, all of them.
-- @param value uint64_t or number
-- @return string
function _M.digits(value)
  if value < 0x20000000000000ULL then return ("%d"):format(tonumber(value)) end
  return (tostring(ffi.cast("uint64_t", value)):gsub("ULL$", ""))
end

local address_text = ffi.new("char[?]", INET6_TEXT_MAX)

--- Address of one end, without port or brackets.
-- @param endpoint const struct ps_endpoint *
-- @return string, "?" when the family is not that of an internet address
function _M.address(endpoint)
  local family = endpoint.family
  if family == C.PS_FAMILY_INET then
    local a = endpoint.addr
    return ("%d.%d.%d.%d"):format(a[0], a[1], a[2], a[3])
  end
  if family ~= C.PS_FAMILY_INET6 then return "?" end
  local text = C.inet_ntop(family, endpoint.addr, address_text, INET6_TEXT_MAX)
  return text == nil and "?" or ffi.string(text)
end

--- Address and port of one end.
-- @param endpoint const struct ps_endpoint *
-- @return string such as "127.0.0.1:80" or "[::1]:80"
function _M.endpoint(endpoint)
  local form = endpoint.family == C.PS_FAMILY_INET6 and "[%s]:%d" or "%s:%d"
  return form:format(_M.address(endpoint), endpoint.port)
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

-- True when the slice is this text, whatever the case. name: lower case.
local function is_named(slice, name)
  if slice.len ~= #name then return false end
  for i = 0, #name - 1 do
    local byte = slice.data[i]
    if byte >= 0x41 and byte <= 0x5a then byte = byte + 0x20 end
    if byte ~= name:byte(i + 1) then return false end
  end
  return true
end

--- Value of the first header of a name.
-- @param message const struct ps_message *
-- @param name string in lower case
-- @return string of raw bytes, or nil when there is none or it is empty
function _M.header(message, name)
  for i = 0, message.header_count - 1 do
    local header = message.headers[i]
    if is_named(header.name, name) then
      if header.value.len == 0 then return nil end
      return ffi.string(header.value.data, header.value.len)
    end
  end
  return nil
end

local function server_name(ex)
  if _M.is_unix(ex) then return _M.unix_name(ex) .. ":" end
  return _M.endpoint(ex.side == C.PS_SIDE_SERVER and ex["local"] or ex.remote)
end

--- What the request asks for, as one URL (RFC 9112 3.2 and 7.1).
-- A target in absolute form, or for CONNECT the authority, is shown as it is. "*"
-- stands for the server as a whole: no path. With no Host header the server's
-- own address is used, for a unix socket in the form that nginx reads,
-- "http://unix:/path:/target".
-- @param ex const struct ps_exchange * with a request
-- @return string of raw bytes
function _M.url(ex)
  local request = ex.request
  local target = ffi.string(request.target.data, request.target.len)
  if target == "" then return "-" end
  local first = target:byte(1)
  if first ~= 0x2f and target ~= "*" then return target end -- "/"
  local host = _M.header(request, "host") or server_name(ex)
  return "http://" .. host .. (target == "*" and "" or target)
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
}
local MESSAGE_FLAGS_ALL = 0
for _, entry in ipairs(message_flags) do MESSAGE_FLAGS_ALL = bor(MESSAGE_FLAGS_ALL, entry[1]) end

--- Names of the flags of a message that something is wrong with.
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

--- Append a space and a mark in brackets for each thing to know about a message.
-- @param buf string.buffer
-- @param message const struct ps_message *
function _M.put_message_marks(buf, message)
  local body = message.body
  if body.gap_bytes > 0 then
    buf:put(" [gap ", _M.digits(body.gap_bytes), "B at ", _M.digits(body.gap_offset), "]")
  elseif body.state == C.PS_BODY_GAP then
    buf:put(" [gap]")
  elseif body.state == C.PS_BODY_TRUNCATED then
    buf:put(" [body cut ", _M.size(body.kept.len), " of ", _M.size(body.size_bytes), "]")
  end
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

local function put_tunnel_mark(buf, ex)
  local upgrade = ex.response.status == 101
    and (_M.header(ex.response, "upgrade") or _M.header(ex.request, "upgrade"))
  if upgrade then
    buf:put(" [upgrade ")
    escape.put(buf, upgrade, #upgrade, escape.WORD)
    buf:put("]")
  else
    buf:put(" [tunnel]")
  end
end

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
end

--- Append the two ends of the connection: LOCAL, an arrow, REMOTE. The arrow
-- points from client to server; "--" when it is not known which is which.
-- @param buf string.buffer
-- @param ex const struct ps_exchange *
function _M.put_connection(buf, ex)
  local side = ex.side
  local arrow = side == C.PS_SIDE_CLIENT and " -> " or side == C.PS_SIDE_SERVER and " <- " or " -- "
  if not _M.is_unix(ex) then
    buf:put(_M.endpoint(ex["local"]), arrow, _M.endpoint(ex.remote))
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
