-- SPDX-License-Identifier: Apache-2.0
--- One JSON object per line. docs/json.md describes every field; a change that
-- breaks a reader of it raises SCHEMA.
local bit = require "bit"
local buffer = require "string.buffer"
local cjson = require "cjson"
local ffi = require "ffi"
local escape = require "plainsight.output.escape"
local fields = require "plainsight.output.fields"

local _M = {}

--- Version of the schema in docs/json.md.
_M.SCHEMA = 1

local C = ffi.C
local has, digits = fields.has, fields.digits
local encode_string = cjson.encode

local NS_PER_S = 1000000000LL

ffi.cdef [[int64_t readlink(const char *path, char *text, size_t text_size);]]

--- A JSON string.
-- @param text string of valid UTF-8
-- @param is_deceptive boolean: it has characters that JSON allows but a terminal acts on
-- @return string with its quotes
local function quoted(text, is_deceptive)
  local json = encode_string(text)
  -- cjson writes every "/" as "\/", so each such pair stands for a slash.
  if json:find("\\/", 1, true) then json = json:gsub("\\/", "/") end
  return is_deceptive and escape.json_deceptive(json) or json
end

-- Every byte as the character of the same number (ISO 8859-1) in UTF-8.
local function from_latin1(text)
  return (text:gsub("[\128-\255]", function(c)
    local byte = c:byte()
    return string.char(bit.bor(0xc0, bit.rshift(byte, 6)), bit.bor(0x80, bit.band(byte, 0x3f)))
  end))
end

--- A JSON string from bytes of a message head: UTF-8 when they are that, else
-- ISO 8859-1, what RFC 9110 5.5 says they may be.
local function quoted_bytes(text)
  local valid, _, is_deceptive = escape.utf8_prefix(text, #text)
  if valid == #text then return quoted(text, is_deceptive) end
  return quoted(from_latin1(text), true)
end

local function quoted_slice(slice)
  return quoted_bytes(ffi.string(slice.data, slice.len))
end

local base64_digits = ffi.new("uint8_t[64]")
ffi.copy(base64_digits, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 64)

-- Append bytes in base64 (RFC 4648 4).
local function put_base64(buf, data, len)
  local bytes = ffi.cast("const uint8_t *", data)
  local text, _ = buf:reserve(math.ceil(len / 3) * 4)
  local out = 0
  for i = 0, len - 1, 3 do
    local group = bytes[i] * 0x10000 + (i + 1 < len and bytes[i + 1] or 0) * 0x100 + (i + 2 < len and bytes[i + 2] or 0)
    text[out] = base64_digits[bit.rshift(group, 18)]
    text[out + 1] = base64_digits[bit.band(bit.rshift(group, 12), 63)]
    text[out + 2] = i + 1 < len and base64_digits[bit.band(bit.rshift(group, 6), 63)] or 0x3d
    text[out + 3] = i + 2 < len and base64_digits[bit.band(group, 63)] or 0x3d
    out = out + 4
  end
  buf:commit(out)
end

local function quoted_list(names)
  if not names or #names == 0 then return "[]" end
  return '["' .. table.concat(names, '","') .. '"]'
end

local clock_second, clock_text

local function wall_ns(ts_ns, opts)
  return ffi.cast("int64_t", ts_ns) + ffi.cast("int64_t", opts.clock_offset_ns)
end

local function utc_time(unix_ns)
  local second = tonumber(unix_ns / NS_PER_S)
  if second ~= clock_second then
    clock_second, clock_text = second, os.date("!%Y-%m-%dT%H:%M:%S", second)
  end
  return ("%s.%06dZ"):format(clock_text, tonumber(unix_ns % NS_PER_S) / 1000)
end

local EXE_PATH_MAX = 4096
local EXES_MAX = 4096
local exe_text = ffi.new("char[?]", EXE_PATH_MAX)

-- The last known executable and thread name of each process id, for what is
-- told of a process after its end. The name guards against a reused id.
local exes, exe_comms, exe_count = {}, {}, 0

local function remember_executable(pid, comm, exe)
  if not exes[pid] then
    if exe_count == EXES_MAX then exes, exe_comms, exe_count = {}, {}, 0 end
    exe_count = exe_count + 1
  end
  exes[pid], exe_comms[pid] = exe, comm
end

local function executable(process, comm)
  local pid = process.tgid
  local len = C.readlink(("/proc/%d/exe"):format(pid), exe_text, EXE_PATH_MAX)
  if len <= 0 then return exe_comms[pid] == comm and exes[pid] or nil end
  local exe = ffi.string(exe_text, len)
  remember_executable(pid, comm, exe)
  return exe
end

local function put_process(buf, process)
  local comm = ffi.string(fields.comm(process))
  buf:put('"process":{"pid":', process.tgid, ',"tid":', process.tid, ',"uid":', process.uid)
  buf:put(',"comm":', quoted_bytes(comm), ',"cgroup_id":', digits(process.cgroup_id))
  local exe = executable(process, comm)
  if exe then buf:put(',"exe":', quoted_bytes(exe)) end
  buf:put("}")
end

local function put_endpoint(buf, name, endpoint)
  buf:put(',"', name, '":{"address":"', fields.address(endpoint), '","port":', endpoint.port, "}")
end

local family_names = { [C.PS_FAMILY_INET] = "ipv4", [C.PS_FAMILY_INET6] = "ipv6", [C.PS_FAMILY_UNIX] = "unix" }

local function put_connection(buf, ex)
  local is_unix = fields.is_unix(ex)
  buf:put('"connection":{"id":', digits(ex.conn_id), ',"transport":"', is_unix and "unix" or "tcp")
  buf:put('","family":"', family_names[ex["local"].family] or "unknown", '"')
  if not is_unix then
    put_endpoint(buf, "local", ex["local"])
    put_endpoint(buf, "remote", ex.remote)
  elseif ex.unix_path.len > 0 then
    buf:put(',"path":', quoted_slice(ex.unix_path))
  end
  buf:put(',"midstream":', tostring(has(ex.flags, C.PS_EXCHANGE_MIDSTREAM)), "}")
end

local function put_headers(buf, name, headers, count)
  buf:put(',"', name, '":[')
  for i = 0, count - 1 do
    buf:put(i > 0 and "," or "", '{"name":', quoted_slice(headers[i].name))
    buf:put(',"value":', quoted_slice(headers[i].value), "}")
  end
  buf:put("]")
end

local state_names = {
  [C.PS_BODY_COMPLETE] = "complete", [C.PS_BODY_TRUNCATED] = "truncated", [C.PS_BODY_GAP] = "gap",
}
local framing_names = {
  [C.PS_FRAMING_NONE] = "none", [C.PS_FRAMING_LENGTH] = "length",
  [C.PS_FRAMING_CHUNKED] = "chunked", [C.PS_FRAMING_CLOSE] = "close",
}

-- Text when it is UTF-8. A kept part that ends inside a character is text too,
-- without the character's beginning: the rest of it was not kept.
-- Returns how many bytes are text and whether they are deceptive, or nil when they are no text.
local function text_bytes(body)
  local len = tonumber(body.kept.len)
  local valid, only_end_is_missing, is_deceptive = escape.utf8_prefix(body.kept.data, len)
  if valid == len or (only_end_is_missing and body.state ~= C.PS_BODY_COMPLETE) then return valid, is_deceptive end
  return nil
end

local function put_body(buf, body)
  local text_len, is_deceptive = text_bytes(body)
  buf:put(',"body":{"size_bytes":', digits(body.size_bytes))
  buf:put(',"captured_bytes":', digits(text_len or body.kept.len))
  buf:put(',"state":"', state_names[body.state], '","framing":"', framing_names[body.framing], '"')
  if body.gap_bytes > 0 then
    buf:put(',"gap_offset_bytes":', digits(body.gap_offset), ',"gap_bytes":', digits(body.gap_bytes))
  end
  if not text_len then
    buf:put(',"base64":"')
    put_base64(buf, body.kept.data, tonumber(body.kept.len))
    buf:put('"')
  elseif text_len > 0 then
    buf:put(',"text":', quoted(ffi.string(body.kept.data, text_len), is_deceptive))
  end
  buf:put("}")
end

-- What request and response have in common, after their start lines.
local function put_message(buf, message, opts)
  buf:put(',"version":"', message.version_major, ".", message.version_minor, '"')
  put_headers(buf, "headers", message.headers, message.header_count)
  put_headers(buf, "trailers", message.trailers, message.trailer_count)
  buf:put(',"head_bytes":', digits(message.head_bytes), ',"wire_bytes":', digits(message.wire_bytes))
  buf:put(',"first_byte_unix_ns":', digits(wall_ns(message.first_ts_ns, opts)))
  buf:put(',"last_byte_unix_ns":', digits(wall_ns(message.last_ts_ns, opts)))
  put_body(buf, message.body)
  buf:put(',"flags":', quoted_list(fields.message_flags(message)), "}")
end

local function put_request(buf, ex, request, opts)
  buf:put('"request":')
  if not request then
    buf:put("null")
    return
  end
  buf:put('{"method":', quoted_slice(request.method), ',"target":', quoted_slice(request.target))
  buf:put(',"url":', quoted_bytes(fields.url(ex)))
  put_message(buf, request, opts)
end

local function is_same_process(a, b)
  return a.tgid == b.tgid and a.tid == b.tid
end

local function put_interim(buf, ex)
  buf:put(',"interim":[', table.concat(fields.interim(ex), ","), "]")
end

local function put_response(buf, ex, request, response, opts)
  buf:put('"response":')
  if not response then
    buf:put("null")
    if ex.interim_count > 0 then put_interim(buf, ex) end
    return
  end
  buf:put('{"status":', response.status, ',"reason":', quoted_slice(response.reason))
  put_interim(buf, ex)
  if request and not is_same_process(request.process, response.process) then
    buf:put(",")
    put_process(buf, response.process)
  end
  put_message(buf, response, opts)
end

local function is_message_whole(message, is_tunnel)
  return message ~= nil and (is_tunnel or has(message.flags, C.PS_MESSAGE_COMPLETE))
    and not has(message.flags, C.PS_MESSAGE_LOST_TAIL)
    and message.body.state ~= C.PS_BODY_GAP and message.body.gap_bytes == 0
end

local function exchange_flags(ex)
  local names = {}
  if has(ex.flags, C.PS_EXCHANGE_MIDSTREAM) then names[#names + 1] = "midstream" end
  if has(ex.flags, C.PS_EXCHANGE_AFTER_GAP) then names[#names + 1] = "after-gap" end
  if has(ex.flags, C.PS_EXCHANGE_TUNNEL) then names[#names + 1] = "tunnel" end
  return names
end

local side_names = {
  [C.PS_SIDE_CLIENT] = "client", [C.PS_SIDE_SERVER] = "server", [C.PS_SIDE_UNKNOWN] = "unknown",
}

local function put_durations(buf, request, response)
  if not (request and response) then return end
  buf:put(',"duration_ns":', digits(fields.elapsed_ns(request.first_ts_ns, response.last_ts_ns)))
  buf:put(',"time_to_first_byte_ns":', digits(fields.elapsed_ns(request.first_ts_ns, response.first_ts_ns)))
end

--- One exchange as one line of JSON.
-- @param ex const struct ps_exchange *
-- @param opts table: clock_offset_ns (number or 64-bit integer to add to
--   CLOCK_MONOTONIC to get Unix time)
-- @return string that ends in a line feed
function _M.format(ex, opts)
  local buf = buffer.new()
  local request, response = fields.request(ex), fields.response(ex)
  local is_tunnel = has(ex.flags, C.PS_EXCHANGE_TUNNEL)
  local is_complete = is_message_whole(request, is_tunnel) and is_message_whole(response, is_tunnel)

  buf:put('{"type":"exchange","schema":', _M.SCHEMA)
  buf:put(',"time":"', utc_time(wall_ns(fields.first_ts_ns(ex), opts)), '"')
  buf:put(',"side":"', side_names[ex.side], '","complete":', tostring(is_complete), ",")
  put_process(buf, fields.process(ex))
  buf:put(",")
  put_connection(buf, ex)
  buf:put(",")
  put_request(buf, ex, request, opts)
  buf:put(",")
  put_response(buf, ex, request, response, opts)
  put_durations(buf, request, response)
  if request and not response then
    buf:put(',"missing_response":"', fields.missing_reason(ex) or "unknown", '"')
  end
  buf:put(',"flags":', quoted_list(exchange_flags(ex)), "}\n")
  return buf:get()
end

local put_value

local function sorted_keys(object)
  local keys = {}
  for key in pairs(object) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

local function put_object(buf, object, first)
  buf:put("{", first or "")
  local separator = first and "," or ""
  for _, key in ipairs(sorted_keys(object)) do
    buf:put(separator, quoted_bytes(tostring(key)), ":")
    put_value(buf, object[key])
    separator = ","
  end
  buf:put("}")
end

local function put_number(buf, value)
  assert(value == value and value ~= math.huge and value ~= -math.huge, "JSON has no such number")
  local is_integer = value == math.floor(value) and math.abs(value) < 2 ^ 53
  buf:put((is_integer and "%d" or "%.17g"):format(value))
end

function put_value(buf, value)
  local kind = type(value)
  if kind == "table" and #value > 0 then
    buf:put("[")
    for i, item in ipairs(value) do
      if i > 1 then buf:put(",") end
      put_value(buf, item)
    end
    buf:put("]")
  elseif kind == "table" then
    put_object(buf, value)
  elseif kind == "string" then
    buf:put(quoted_bytes(value))
  elseif kind == "number" then
    put_number(buf, value)
  elseif kind == "cdata" then
    buf:put((tostring(value):gsub("U?LL$", "")))
  else
    assert(kind == "boolean", "a " .. kind .. " cannot be told in JSON")
    buf:put(tostring(value))
  end
end

--- What was seen and what was not, so far or in the end.
-- @param kind "stats" while the capture runs, "summary" as its last line
-- @param stats table of numbers, 64-bit integers, strings, booleans, and
--   tables of these; keys are written in sorted order, tables with a first
--   element as arrays
-- @return string that ends in a line feed
function _M.report(kind, stats)
  local buf = buffer.new()
  put_object(buf, stats, ('"type":"%s","schema":%d'):format(kind, _M.SCHEMA))
  buf:put("\n")
  return buf:get()
end

return _M
