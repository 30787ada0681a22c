-- SPDX-License-Identifier: Apache-2.0
--- One JSON object per line. docs/json.md describes every field; a change that
-- breaks a reader of it raises SCHEMA.
local bit = require "bit"
local buffer = require "string.buffer"
local cjson = require "cjson"
local ffi = require "ffi"
local ciphers = require "plainsight.output.ciphers"
local content = require "plainsight.output.content"
local escape = require "plainsight.output.escape"
local executables = require "plainsight.executables"
local fields = require "plainsight.output.fields"
local grpc = require "plainsight.output.grpc"
local stream = require "plainsight.output.stream"

local _M = {}

--- Version of the schema in docs/json.md.
_M.SCHEMA = 2

local C = ffi.C
local has = fields.has
local lib = require("plainsight.library").lib
local encode_string = cjson.encode

local NS_PER_S = 1000000000LL

-- Bytes that are themselves in a JSON string: ASCII without controls, quote and backslash.
local plain = ffi.new("uint8_t[256]")
for byte = 0x20, 0x7e do plain[byte] = 1 end
plain[0x22], plain[0x5c] = 0, 0

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

local function quoted_bytes(text)
  local valid, _, is_deceptive = escape.utf8_prefix(text, #text)
  if valid == #text then return quoted(text, is_deceptive) end
  return quoted(from_latin1(text), true)
end

-- Append a JSON string when all bytes are plain ones, as most are. Returns whether they were.
local function put_plain(buf, data, len)
  if lib.ps_span(data, len, plain) < len then return false end
  buf:put('"')
  buf:putcdata(data, len)
  buf:put('"')
  return true
end

--- Append a JSON string from bytes of a message head: UTF-8 when they are that,
-- else ISO 8859-1, what RFC 9110 5.5 says they may be.
local function put_bytes(buf, data, len)
  if not put_plain(buf, data, len) then buf:put(quoted_bytes(ffi.string(data, len))) end
end

--- The same of a Lua string.
function _M.put_string(buf, text) put_bytes(buf, ffi.cast("const char *", text), #text) end

local function put_slice(buf, slice)
  put_bytes(buf, slice.data, tonumber(slice.len))
end

-- The same, or null for what is unknown.
local function put_slice_or_null(buf, slice, is_unknown)
  if is_unknown then buf:put("null") else put_slice(buf, slice) end
end

local function quoted_list(names)
  if not names or #names == 0 then return "[]" end
  return '["' .. table.concat(names, '","') .. '"]'
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

-- Whether bytes are in a JSON string as they are.
local function is_plain(slice)
  return lib.ps_span(slice.data, slice.len, plain) == slice.len
end

local clock_second, clock_text

local function wall_ns(ts_ns, opts)
  return ffi.cast("int64_t", ts_ns) + ffi.cast("int64_t", opts.clock_offset_ns)
end

local function put_utc_time(buf, unix_ns)
  local second = tonumber(unix_ns / NS_PER_S)
  if second ~= clock_second then
    clock_second, clock_text = second, os.date("!%Y-%m-%dT%H:%M:%S", second)
  end
  buf:putf("%s.%06dZ", clock_text, tonumber(unix_ns % NS_PER_S) / 1000)
end

local EXES_MAX = 4096
-- How long an executable is taken for the same without another look.
local EXE_FRESH_NS = 2000000ULL

-- The last known executable of each process id, as { comm, exe (JSON), seen_ns }; also for what is
-- told of a process after its end. The thread name guards against a reused id.
local exes, exe_count = {}, 0

local function remember_executable(pid, comm, exe, ts_ns)
  if not exes[pid] then
    if exe_count == EXES_MAX then exes, exe_count = {}, 0 end
    exe_count = exe_count + 1
  end
  exes[pid] = { comm = comm, exe = exe, seen_ns = ts_ns }
end

-- The executable of a process as a JSON string, nil when it is not known. ts_ns: when it made its call.
local function executable(pid, comm, ts_ns)
  local known = exes[pid]
  if known and known.comm ~= comm then known = nil end
  if known and ts_ns - known.seen_ns < EXE_FRESH_NS then return known.exe end
  local path = executables.path_of(pid)
  local exe = path and quoted_bytes(path) or known and known.exe
  -- Another thread of a process that is gone may have told its executable.
  if exe or not exes[pid] then remember_executable(pid, comm, exe, ts_ns) end
  return exe
end

local put_object

-- The member "container", made once for each container.
local container_texts = setmetatable({}, { __mode = "k" })

local function container_text(container)
  local text = container_texts[container]
  if text and text.generation == container.generation then return text.json end
  local is_in_pod = container.pod or container.pod_uid
  local labels = container.labels and next(container.labels) and container.labels
  local pod = is_in_pod and { name = container.pod, namespace = container.namespace, uid = container.pod_uid,
    labels = labels or nil }
  local buf = buffer.new()
  buf:put('"container":')
  put_object(buf, { id = container.id, name = container.name, image = container.image, runtime = container.runtime,
    pod = pod or nil, labels = not is_in_pod and labels or nil })
  buf:put(",")
  text = { generation = container.generation, json = buf:get() }
  container_texts[container] = text
  return text.json
end

-- The container of a process, when it is in one.
local function put_container(buf, process, opts)
  local container = opts.container_of and opts.container_of(process)
  if container then buf:put(container_text(container)) end
end

local function put_process(buf, process, ts_ns)
  local comm, comm_len = fields.comm(process)
  buf:putf('"process":{"pid":%d,"tid":%d,"uid":%d,"comm":', process.tgid, process.tid, process.uid)
  put_bytes(buf, comm, comm_len)
  buf:putf(',"cgroup_id":%u', process.cgroup_id)
  local exe = executable(process.tgid, ffi.string(comm, comm_len), ts_ns)
  if exe then buf:put(',"exe":', exe) end
  if process.ns_tgid ~= 0 and process.ns_tgid ~= process.tgid then buf:putf(',"ns_pid":%d', process.ns_tgid) end
  buf:put("}")
end

local function put_endpoint(buf, name, endpoint)
  buf:put(',"', name, '":{"address":"')
  fields.put_address(buf, endpoint)
  buf:putf('","port":%d}', endpoint.port)
end

local family_names = { [C.PS_FAMILY_INET] = "ipv4", [C.PS_FAMILY_INET6] = "ipv6", [C.PS_FAMILY_UNIX] = "unix" }

local transport_names = { [C.PS_FAMILY_UNIX] = "unix", [C.PS_FAMILY_NONE] = "unknown" }

local function put_connection(buf, ex)
  local family = ex["local"].family
  local is_unix = fields.is_unix(ex)
  buf:putf('"connection":{"id":%u,"transport":"%s","family":"%s"', ex.library == 0 and ex.conn_id or ex.socket_id,
    transport_names[family] or "tcp", family_names[family] or "unknown")
  if not is_unix and fields.has_address(ex) then
    put_endpoint(buf, "local", ex["local"])
    put_endpoint(buf, "remote", ex.remote)
  elseif ex.unix_path.len > 0 then
    buf:put(',"path":')
    put_slice(buf, ex.unix_path)
  end
  buf:put(',"midstream":', tostring(has(ex.flags, C.PS_EXCHANGE_MIDSTREAM)), "}")
end

local resolved_names = {
  [C.PS_RESOLVED_NONE] = "none", [C.PS_RESOLVED_SET_FD] = "set_fd", [C.PS_RESOLVED_NESTED] = "nested",
  [C.PS_RESOLVED_ADJACENT] = "adjacent",
}

-- What the handshake showed in the clear. Its names are printable ASCII (src/tls_hello.h).
local function put_hello(buf, info)
  local protocol, cipher = ciphers.protocol(info.protocol), ciphers.cipher(info.cipher)
  local server_name, alpn, offered = ffi.string(info.server_name), ffi.string(info.alpn), ffi.string(info.alpn_offered)
  if protocol then buf:put(',"protocol":"', protocol, '"') end
  if cipher then buf:put(',"cipher":"', cipher, '"') end
  if server_name ~= "" then buf:put(',"server_name":', quoted_bytes(server_name)) end
  if alpn ~= "" then buf:put(',"alpn":', quoted_bytes(alpn)) end
  if offered ~= "" then buf:put(',"alpn_offered":', quoted_bytes(offered)) end
end

-- The library that encrypts it, of an exchange that was seen there.
local function put_tls(buf, ex, opts)
  if ex.library == 0 then return end
  local library = opts.library_of(ex.library)
  buf:put('"tls":{"library":', quoted_bytes(library.type))
  if library.version then buf:put(',"version":', quoted_bytes(library.version)) end
  buf:putf(',"path":%s,"session":%u,"resolved":"%s"', quoted_bytes(library.path), ex.conn_id,
    resolved_names[ex.resolved])
  if ex.tls ~= nil then put_hello(buf, ex.tls) end
  if ex.handshake_ns > 0 then buf:putf(',"handshake_ns":%u', ex.handshake_ns) end
  buf:put("},")
end

local function put_headers(buf, name, headers, count)
  buf:put(',"', name, '":[')
  for i = 0, count - 1 do
    local flags = headers[i].flags
    buf:put(i > 0 and "," or "", '{"name":')
    put_slice_or_null(buf, headers[i].name, has(flags, C.PS_HEADER_NAME_UNKNOWN))
    buf:put(',"value":')
    put_slice_or_null(buf, headers[i].value, has(flags, C.PS_HEADER_VALUE_UNKNOWN))
    buf:put("}")
  end
  buf:put("]")
end

local state_names = {
  [C.PS_BODY_COMPLETE] = "complete", [C.PS_BODY_TRUNCATED] = "truncated", [C.PS_BODY_GAP] = "gap",
}
local framing_names = {
  [C.PS_FRAMING_NONE] = "none", [C.PS_FRAMING_LENGTH] = "length",
  [C.PS_FRAMING_CHUNKED] = "chunked", [C.PS_FRAMING_CLOSE] = "close", [C.PS_FRAMING_H2] = "h2",
}

-- Text when it is UTF-8. A part that ends inside a character is text too,
-- without the character's beginning: the rest of it is not here.
-- Returns how many bytes are text and whether they are deceptive, or nil when they are no text.
local function text_bytes(bytes, is_part)
  local len = tonumber(bytes.len)
  local valid, only_end_is_missing, is_deceptive = escape.utf8_prefix(bytes.data, len)
  if valid == len or (only_end_is_missing and is_part) then return valid, is_deceptive end
  return nil
end

local function put_body_facts(buf, body, captured_bytes)
  buf:putf('"size_bytes":%u,"captured_bytes":%u,"state":"%s","framing":"%s"', body.size_bytes, captured_bytes,
    state_names[body.state], framing_names[body.framing])
  if body.gap_bytes > 0 then
    buf:putf(',"gap_offset_bytes":%u,"gap_bytes":%u', body.gap_offset, body.gap_bytes)
  end
end

local function put_content_facts(buf, decoded, charset)
  if decoded.state ~= C.PS_CONTENT_PLAIN then
    buf:put(',"content_encoding":[')
    for i, name in ipairs(content.codings(decoded)) do buf:put(i > 1 and "," or "", quoted_bytes(name)) end
    buf:put('],"decoded_state":"', content.state(decoded), '"')
    if decoded.state == C.PS_CONTENT_COMPLETE then buf:putf(',"decoded_size_bytes":%u', decoded.size_bytes) end
  end
  if charset then buf:put(',"charset":"', charset, '"') end
end

-- Append the body's text, plain bytes all of them. Returns whether they were.
local function put_plain_body(buf, body)
  local len = tonumber(body.kept.len)
  if lib.ps_span(body.kept.data, len, plain) < len then return false end
  put_body_facts(buf, body, body.kept.len)
  if len > 0 then
    buf:put(',"text":"')
    buf:putcdata(body.kept.data, len)
    buf:put('"')
  end
  return true
end

local function put_body_bytes(buf, bytes, text_len, is_deceptive)
  if not text_len then
    buf:put(',"base64":"')
    put_base64(buf, bytes.data, tonumber(bytes.len))
    buf:put('"')
  elseif text_len > 0 then
    buf:put(',"text":', quoted(ffi.string(bytes.data, text_len), is_deceptive))
  end
end

-- A body that had to be decoded or converted.
local function put_decoded_body(buf, body, bytes, decoded)
  local charset = decoded.charset ~= nil and decoded.is_text_invalid == 0 and ffi.string(decoded.charset)
  if decoded.is_text_invalid ~= 0 then bytes = decoded.bytes end
  put_body_facts(buf, body, body.kept.len)
  put_content_facts(buf, decoded, charset)
  put_body_bytes(buf, bytes, text_bytes(bytes, content.is_part(body, decoded)))
end

local function put_body(buf, message, opts)
  local body = message.body
  local bytes, decoded = content.whole(message, opts)
  buf:put(',"body":{')
  if decoded then
    put_decoded_body(buf, body, bytes, decoded)
  elseif not put_plain_body(buf, body) then
    local text_len, is_deceptive = text_bytes(bytes, body.state ~= C.PS_BODY_COMPLETE)
    put_body_facts(buf, body, text_len or bytes.len)
    put_body_bytes(buf, bytes, text_len, is_deceptive)
  end
  buf:put("}")
end

-- What request and response have in common, after their start lines.
local function put_message(buf, message, opts)
  buf:put(',"version":"')
  fields.put_version(buf, message)
  buf:put('"')
  put_headers(buf, "headers", message.headers, message.header_count)
  put_headers(buf, "trailers", message.trailers, message.trailer_count)
  buf:putf(',"head_bytes":%u,"wire_bytes":%u,"first_byte_unix_ns":%d,"last_byte_unix_ns":%d', message.head_bytes,
    message.wire_bytes, wall_ns(message.first_ts_ns, opts), wall_ns(message.last_ts_ns, opts))
  put_body(buf, message, opts)
  buf:put(',"flags":', quoted_list(fields.message_flags(message)), "}")
end

local url = buffer.new()

-- Of HTTP/2 (RFC 9113 8.3), when it is there.
local function put_pseudo_header(buf, name, value)
  if value.len == 0 then return end
  buf:put(',"', name, '":')
  put_slice(buf, value)
end

local function put_request(buf, ex, request, opts)
  buf:put('"request":')
  if not request then
    buf:put("null")
    return
  end
  local is_target_unknown = fields.is_target_unknown(request)
  buf:put('{"method":')
  put_slice_or_null(buf, request.method, request.method.len == 0)
  buf:put(',"target":')
  put_slice_or_null(buf, request.target, request.target.len == 0)
  put_pseudo_header(buf, "scheme", request.scheme)
  put_pseudo_header(buf, "authority", request.authority)
  put_pseudo_header(buf, "protocol", request.protocol)
  buf:put(',"url":')
  if is_target_unknown then
    buf:put("null")
  else
    url:reset()
    fields.put_url(url, ex, url.putcdata)
    put_bytes(buf, url:ref())
  end
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
  if response.status == 0 then
    buf:put('{"status":null,"reason":')
  else
    buf:putf('{"status":%d,"reason":', response.status)
  end
  put_slice(buf, response.reason)
  put_interim(buf, ex)
  if request and not is_same_process(request.process, response.process) then
    buf:put(",")
    put_process(buf, response.process, response.first_ts_ns)
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
  if has(ex.flags, C.PS_EXCHANGE_PUSHED) then names[#names + 1] = "pushed" end
  if has(ex.flags, C.PS_EXCHANGE_RESET) then names[#names + 1] = "reset" end
  return names
end

local side_names = {
  [C.PS_SIDE_CLIENT] = "client", [C.PS_SIDE_SERVER] = "server", [C.PS_SIDE_UNKNOWN] = "unknown",
}

local function put_durations(buf, request, response)
  if not (request and response) then return end
  buf:putf(',"duration_ns":%d,"time_to_first_byte_ns":%d', fields.elapsed_ns(request.first_ts_ns, response.last_ts_ns),
    fields.elapsed_ns(request.first_ts_ns, response.first_ts_ns))
end

-- What the messages of the exchange are, and how many there were.
local function put_stream(buf, ex)
  if ex.protocol == C.PS_STREAM_NONE then return end
  buf:putf(',"stream":{"protocol":"%s","decoded":%s,"request_messages":%u,"response_messages":%u}',
    stream.protocols[ex.protocol], tostring(not has(ex.flags, C.PS_EXCHANGE_UNDECODED)), ex.request_messages,
    ex.response_messages)
end

-- A call of gRPC: what, how it ended, how many messages.
local function put_grpc(buf, ex)
  if not grpc.is_call(ex) then return end
  local call = grpc.call(ex)
  buf:put(',"grpc":{')
  for _, name in ipairs { "service", "method", "message" } do
    if call[name] then buf:put('"', name, '":', quoted_bytes(call[name]), ",") end
  end
  if call.status then
    buf:putf('"status":%d,"status_name":%s,', call.status, quoted_bytes(grpc.status_name(call.status)))
  end
  buf:putf('"request_messages":%u,"response_messages":%u}', ex.request_messages, ex.response_messages)
end

local field_types = {
  [C.PS_PROTOBUF_VARINT] = "varint", [C.PS_PROTOBUF_FIXED64] = "fixed64", [C.PS_PROTOBUF_FIXED32] = "fixed32",
  [C.PS_PROTOBUF_BYTES] = "bytes", [C.PS_PROTOBUF_MESSAGE] = "message",
}

local function put_field(buf, field)
  buf:putf('{"field":%u,"type":"%s"', field.number, field_types[field.kind])
  if field.kind == C.PS_PROTOBUF_BYTES then
    put_body_bytes(buf, field.bytes, text_bytes(field.bytes, false))
  elseif field.kind == C.PS_PROTOBUF_MESSAGE then
    buf:put(',"fields":[')
    return
  else
    buf:putf(',"value":%u', field.value)
  end
  buf:put("}")
end

-- The fields of a message of gRPC.
local function put_fields(buf, message)
  local items, count = grpc.fields(message)
  if count == 0 then return end
  buf:put(',"fields":[')
  local is_first = true
  for i = 0, count - 1 do
    if items[i].kind == C.PS_PROTOBUF_END then
      buf:put("]}")
      is_first = false
    else
      if not is_first then buf:put(",") end
      put_field(buf, items[i])
      is_first = items[i].kind == C.PS_PROTOBUF_MESSAGE
    end
  end
  buf:put("]")
end

local function put_exchange(buf, kind, ex, opts)
  local request, response = fields.request(ex), fields.response(ex)
  local is_tunnel = has(ex.flags, C.PS_EXCHANGE_TUNNEL)
  local is_complete = is_message_whole(request, is_tunnel) and is_message_whole(response, is_tunnel)
  local first_ts_ns = fields.first_ts_ns(ex)

  buf:putf('{"type":"%s","schema":%d,"id":%u,"time":"', kind, _M.SCHEMA, ex.id)
  put_utc_time(buf, wall_ns(first_ts_ns, opts))
  buf:putf('","side":"%s","complete":%s,', side_names[ex.side], tostring(is_complete))
  put_process(buf, fields.process(ex), first_ts_ns)
  buf:put(",")
  put_container(buf, fields.process(ex), opts)
  put_connection(buf, ex)
  buf:put(",")
  put_tls(buf, ex, opts)
  if ex.stream_id ~= 0 then buf:putf('"stream_id":%d,', ex.stream_id) end
  put_request(buf, ex, request, opts)
  buf:put(",")
  put_response(buf, ex, request, response, opts)
  put_durations(buf, request, response)
  if request and not response then
    buf:put(',"missing_response":"', fields.missing_reason(ex) or "unknown", '"')
  end
  if has(ex.flags, C.PS_EXCHANGE_RESET) then buf:putf(',"error_code":%u', ex.error_code) end
  put_stream(buf, ex)
  put_grpc(buf, ex)
  buf:put(',"flags":', quoted_list(exchange_flags(ex)), "}\n")
end

--- Append one exchange as one line of JSON.
-- @param buf string.buffer
-- @param ex const struct ps_exchange *
-- @param opts table: clock_offset_ns (number or 64-bit integer to add to
--   CLOCK_MONOTONIC to get Unix time); container_of (function, or nil: see
--   plainsight.containers.watch)
function _M.put(buf, ex, opts)
  put_exchange(buf, "exchange", ex, opts)
end

--- Append one exchange that has started and goes on, as put().
function _M.put_started(buf, ex, opts)
  put_exchange(buf, "started", ex, opts)
end

-- A name or id of an event.
local function put_optional(buf, name, slice)
  if slice.len == 0 then return end
  buf:put(',"', name, '":')
  put_slice(buf, slice)
end

--- Append one message of an exchange as one line of JSON.
-- @param buf string.buffer
-- @param item const struct ps_item *
-- @param opts as for put()
function _M.put_message(buf, item, opts)
  local ex, message = item.exchange, item.message
  local body = message.body
  buf:putf('{"type":"message","schema":%d,"exchange_id":%u,"time":"', _M.SCHEMA, ex.id)
  put_utc_time(buf, wall_ns(message.first_ts_ns, opts))
  buf:putf('","protocol":"%s","message_type":"%s","direction":"%s","from":"%s",', stream.protocols[message.protocol],
    stream.types[message.type], message.direction == C.PS_OUT and "out" or "in",
    stream.is_from_client(ex, message) and "client" or "server")
  put_process(buf, message.process, message.first_ts_ns)
  buf:put(",")
  put_container(buf, message.process, opts)
  put_connection(buf, ex)
  if ex.stream_id ~= 0 then buf:putf(',"stream_id":%d', ex.stream_id) end
  put_optional(buf, "event", message.name)
  put_optional(buf, "event_id", message.event_id)
  if message.frames > 0 then buf:putf(',"frames":%u', message.frames) end
  if message.close_code > 0 then buf:putf(',"close_code":%u', message.close_code) end
  buf:putf(',"wire_bytes":%u,"first_byte_unix_ns":%d,"last_byte_unix_ns":%d', message.wire_bytes,
    wall_ns(message.first_ts_ns, opts), wall_ns(message.last_ts_ns, opts))
  local text_len, is_deceptive = text_bytes(body.kept, body.state ~= C.PS_BODY_COMPLETE)
  buf:putf(',"size_bytes":%u,"captured_bytes":%u,"state":"%s"', body.size_bytes, text_len or body.kept.len,
    state_names[body.state])
  if body.gap_bytes > 0 then
    buf:putf(',"gap_offset_bytes":%u,"gap_bytes":%u', body.gap_offset, body.gap_bytes)
  end
  put_body_bytes(buf, body.kept, text_len, is_deceptive)
  if grpc.is_call(ex) then put_fields(buf, message) end
  buf:put(',"flags":', quoted_list(stream.flags(message)), "}\n")
end

local event_types = {
  [C.PS_EVENT_DATA] = "data", [C.PS_EVENT_END] = "end", [C.PS_EVENT_CLOSE] = "close",
  [C.PS_EVENT_HANDSHAKE] = "handshake",
}

-- Text when it is UTF-8, else base64.
local function put_payload(buf, data, len)
  local valid, _, is_deceptive = escape.utf8_prefix(data, len)
  if valid == len then
    buf:put(',"text":', quoted(ffi.string(data, len), is_deceptive))
  else
    buf:put(',"base64":"')
    put_base64(buf, data, len)
    buf:put('"')
  end
end

--- Append one event of --raw as one line of JSON.
-- @param buf string.buffer
-- @param event const struct ps_event *, with event.captured_len bytes behind it
-- @param opts as for put()
function _M.put_event(buf, event, opts)
  buf:putf('{"type":"%s","schema":%d,"time":"', event_types[event.type], _M.SCHEMA)
  put_utc_time(buf, wall_ns(event.ts_ns, opts))
  buf:put('",')
  put_process(buf, event.process, event.ts_ns)
  buf:put(",")
  put_container(buf, event.process, opts)
  buf:putf('"connection":{"id":%u', event.socket_id)
  if event["local"].port > 0 then
    put_endpoint(buf, "local", event["local"])
    put_endpoint(buf, "remote", event.remote)
  end
  buf:putf('},"session":%u,"direction":"%s"', event.conn_id, event.direction == C.PS_OUT and "out" or "in")
  if event.elapsed_ns > 0 then buf:putf(',"elapsed_ns":%u', event.elapsed_ns) end
  if event.type == C.PS_EVENT_DATA then
    buf:putf(',"position_bytes":%u,"size_bytes":%u,"captured_bytes":%u', event.pos, event.len, event.captured_len)
    put_payload(buf, ffi.cast("const char *", event + 1), tonumber(event.captured_len))
  end
  buf:put("}\n")
end

local put_value

local function sorted_keys(object)
  local keys = {}
  for key in pairs(object) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

function put_object(buf, object, first)
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

--- The list of nothing: an empty table is written as an object.
_M.EMPTY_LIST = {}

function put_value(buf, value)
  local kind = type(value)
  if kind == "table" and (#value > 0 or value == _M.EMPTY_LIST) then
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

--- An object on a line: what was seen and what was not, or one thing that was found.
-- @param kind its type: "stats" while the capture runs, "summary" as the last line, "process"
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

-- What other formats in JSON are made of; what each does is said where it is defined.
_M.put_bytes, _M.put_base64, _M.put_utc_time, _M.quoted, _M.quoted_bytes, _M.quoted_list =
  put_bytes, put_base64, put_utc_time, quoted, quoted_bytes, quoted_list
_M.put_slice, _M.put_object, _M.text_bytes, _M.is_plain, _M.wall_ns, _M.executable =
  put_slice, put_object, text_bytes, is_plain, wall_ns, executable
_M.exchange_flags, _M.state_names, _M.side_names = exchange_flags, state_names, side_names

return _M
