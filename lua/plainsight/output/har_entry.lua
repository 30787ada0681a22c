-- SPDX-License-Identifier: Apache-2.0
--- One exchange as an entry of HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/). What is not in that
-- specification has a name that begins with "_"; docs/export.md explains each.
local bit = require "bit"
local buffer = require "string.buffer"
local ciphers = require "plainsight.output.ciphers"
local content = require "plainsight.output.content"
local fields = require "plainsight.output.fields"
local ffi = require "ffi"
local json = require "plainsight.output.json"
local parts = require "plainsight.output.har_url"
local stream = require "plainsight.output.stream"
require "plainsight.contract"

local _M = {}

local C = ffi.C
local lib = require("plainsight.library").lib
local has = fields.has
local quoted = json.quoted_bytes

local function text_of(slice)
  return ffi.string(slice.data, slice.len)
end

-- ---- parts that request and response share --------------------------------------------------------------------------

local function put_http_version(buf, message)
  buf:put('"httpVersion":"HTTP/')
  fields.put_version(buf, message)
  buf:put('"')
end

-- HAR has no null: a name or value that is unknown is left out, and "_loss" says so.
local function put_headers(buf, name, headers, count)
  buf:put(',"', name, '":[')
  local separator = ""
  for i = 0, count - 1 do
    if headers[i].flags == 0 then
      buf:put(separator, '{"name":')
      json.put_bytes(buf, headers[i].name.data, tonumber(headers[i].name.len))
      buf:put(',"value":')
      json.put_bytes(buf, headers[i].value.data, tonumber(headers[i].value.len))
      buf:put("}")
      separator = ","
    end
  end
  buf:put("]")
end

-- Values of the headers of a name in lower case.
local function header_values(message, name)
  local values = {}
  for i = 0, message.header_count - 1 do
    local header = message.headers[i]
    if header.name.len == #name and header.flags == 0 and text_of(header.name):lower() == name then
      values[#values + 1] = text_of(header.value)
    end
  end
  return values
end

local function put_pairs(buf, name, list)
  buf:put(',"', name, '":[')
  for i, pair in ipairs(list) do
    buf:put(i > 1 and "," or "", '{"name":', quoted(pair[1]), ',"value":', quoted(pair[2]), "}")
  end
  buf:put("]")
end

-- Append a header value as a JSON string, or what stands for none.
local function put_header(buf, message, name, none)
  local value = fields.header_slice(message, name)
  if value then json.put_slice(buf, value) else buf:put(none) end
end

local function put_sizes(buf, message)
  buf:putf(',"headersSize":%u,"bodySize":%u,"_transferSize":%u', message.head_bytes, message.body.size_bytes,
    message.wire_bytes)
  if message.trailer_count > 0 then put_headers(buf, "_trailers", message.trailers, message.trailer_count) end
end

-- Append ',"text":' and the body; as base64 with the name of the field that says so.
local function put_text(buf, bytes, is_part, encoding_name)
  if bytes.len == 0 then return end
  if json.is_plain(bytes) then
    buf:put(',"text":"')
    buf:putcdata(bytes.data, bytes.len)
    buf:put('"')
    return
  end
  local text_len, is_deceptive = json.text_bytes(bytes, is_part)
  if text_len then
    buf:put(',"text":', json.quoted(ffi.string(bytes.data, text_len), is_deceptive))
    return
  end
  buf:put(',"text":"')
  json.put_base64(buf, bytes.data, tonumber(bytes.len))
  buf:put('","', encoding_name, '":"base64"')
end

-- Returns the bytes to show, whether they are a part only, and struct ps_content or nil.
local function shown_body(message, opts)
  local bytes, decoded = content.whole(message, opts)
  if decoded and decoded.is_text_invalid ~= 0 then bytes = decoded.bytes end
  return bytes, content.is_part(message.body, decoded), decoded
end

-- ---- request --------------------------------------------------------------------------------------------------------

local url = buffer.new()

-- Append a URI in any case: with nothing but the origin when the target is not known.
local function put_request_url(buf, ex, request)
  url:reset()
  if not request or fields.is_target_unknown(request) then
    fields.put_origin(url, ex, url.putcdata)
  else
    fields.put_url(url, ex, url.putcdata)
  end
  local data, len = url:ref()
  if request and request.target.len > 0 and request.target.data[0] == 0x2f and parts.is_of_uri(data, len) then -- "/"
    buf:put('"')
    buf:putcdata(data, len)
    buf:put('"')
    return
  end
  local text = url:get()
  if not text:find("^%a[%w+.-]*://") then text = (ex.library ~= 0 and "https://" or "http://") .. text end -- CONNECT
  buf:put(quoted(parts.encoded(text)))
end

local function is_form(mime)
  return mime:lower():find("^application/x%-www%-form%-urlencoded%s*$") ~= nil
    or mime:lower():find("^application/x%-www%-form%-urlencoded%s*;") ~= nil
end

-- The specification: text and params exclude each other.
local function put_post_data(buf, request, opts)
  if request.body.size_bytes == 0 then return end
  local mime = fields.header(request, "content-type") or ""
  local bytes, is_part, decoded = shown_body(request, opts)
  buf:put(',"postData":{"mimeType":', quoted(mime))
  if is_form(mime) and not is_part and (not decoded or decoded.state ~= C.PS_CONTENT_NONE) then
    put_pairs(buf, "params", parts.pairs(text_of(bytes)))
  else
    put_text(buf, bytes, is_part, "_encoding")
  end
  buf:put("}")
end

local NO_COOKIES = ',"cookies":[]'

local function put_request_cookies(buf, request)
  if not fields.header_slice(request, "cookie") then
    buf:put(NO_COOKIES)
    return
  end
  local list = {}
  for _, value in ipairs(header_values(request, "cookie")) do parts.add_cookies(value, list) end
  put_pairs(buf, "cookies", list)
end

local function put_query(buf, target)
  if parts.has_no_query(target) then
    buf:put(',"queryString":[]')
  else
    put_pairs(buf, "queryString", parts.pairs(parts.query(text_of(target))))
  end
end

local function put_request(buf, ex, request, opts)
  buf:put('"request":{"method":')
  if not request then
    buf:put('"","url":')
    put_request_url(buf, ex)
    buf:put(',"httpVersion":"","cookies":[],"headers":[],"queryString":[],"headersSize":-1,"bodySize":-1}')
    return
  end
  json.put_bytes(buf, request.method.data, tonumber(request.method.len))
  buf:put(',"url":')
  put_request_url(buf, ex, request)
  buf:put(",")
  put_http_version(buf, request)
  put_request_cookies(buf, request)
  put_headers(buf, "headers", request.headers, request.header_count)
  put_query(buf, request.target)
  put_post_data(buf, request, opts)
  put_sizes(buf, request)
  buf:put("}")
end

-- ---- response -------------------------------------------------------------------------------------------------------

local function put_set_cookie(buf, cookie)
  buf:put('{"name":', quoted(cookie.name), ',"value":', quoted(cookie.value))
  for _, name in ipairs { "path", "domain", "expires" } do
    if cookie[name] then buf:put(',"', name, '":', quoted(cookie[name])) end
  end
  buf:putf(',"httpOnly":%s,"secure":%s', tostring(cookie.http_only == true), tostring(cookie.secure == true))
  if cookie.same_site then buf:put(',"sameSite":', quoted(cookie.same_site)) end
  buf:put("}")
end

local function put_response_cookies(buf, response)
  if not fields.header_slice(response, "set-cookie") then
    buf:put(NO_COOKIES)
    return
  end
  buf:put(',"cookies":[')
  local separator = ""
  for _, value in ipairs(header_values(response, "set-cookie")) do
    local cookie = parts.set_cookie(value)
    if cookie then
      buf:put(separator)
      put_set_cookie(buf, cookie)
      separator = ","
    end
  end
  buf:put("]")
end

-- Size of the decoded content: of the whole when that is known, else of what could be decoded.
local function content_size(body, decoded)
  if not decoded or decoded.state == C.PS_CONTENT_PLAIN or decoded.state == C.PS_CONTENT_NONE then
    return body.size_bytes
  end
  return decoded.state == C.PS_CONTENT_COMPLETE and decoded.size_bytes or decoded.bytes.len
end

local function put_content(buf, response, opts)
  local bytes, is_part, decoded = shown_body(response, opts)
  local size = content_size(response.body, decoded)
  buf:putf(',"content":{"size":%u', size)
  if decoded and decoded.state == C.PS_CONTENT_COMPLETE then
    buf:putf(',"compression":%d', ffi.cast("int64_t", size - response.body.size_bytes))
  end
  buf:put(',"mimeType":')
  put_header(buf, response, "content-type", '"x-unknown"')
  put_text(buf, bytes, is_part, "encoding")
  buf:put("}")
end

local function put_response(buf, ex, request, response, opts)
  if not response then
    local reason = request and fields.missing_reason(ex) or "unknown"
    buf:put('"response":{"status":0,"statusText":"","httpVersion":"","cookies":[],"headers":[],'
      .. '"content":{"size":0,"mimeType":"x-unknown"},"redirectURL":"","headersSize":-1,"bodySize":-1,"_error":"',
      reason, '"}')
    return
  end
  buf:putf('"response":{"status":%d,"statusText":', response.status)
  json.put_bytes(buf, response.reason.data, tonumber(response.reason.len))
  buf:put(",")
  put_http_version(buf, response)
  put_response_cookies(buf, response)
  put_headers(buf, "headers", response.headers, response.header_count)
  put_content(buf, response, opts)
  buf:put(',"redirectURL":')
  put_header(buf, response, "location", '""')
  put_sizes(buf, response)
  if response.status == 0 then buf:put(',"_error":"unknown status"') end
  buf:put("}")
end

-- ---- times ----------------------------------------------------------------------------------------------------------

local function ms(ns) return ns / 1e6 end

-- Times of an entry in ns: send, wait, receive; a response may begin before its request has ended.
local function phases(request, response)
  if not (request and response) then
    local one = request or response
    local whole_ns = fields.elapsed_ns(one.first_ts_ns, one.last_ts_ns)
    return request and whole_ns or 0, 0, request and 0 or whole_ns
  end
  local sent_ts_ns = response.first_ts_ns < request.last_ts_ns and response.first_ts_ns or request.last_ts_ns
  return fields.elapsed_ns(request.first_ts_ns, sent_ts_ns), fields.elapsed_ns(sent_ts_ns, response.first_ts_ns),
    fields.elapsed_ns(response.first_ts_ns, response.last_ts_ns)
end

local function put_timings(buf, send_ns, wait_ns, receive_ns, handshake_ns)
  buf:put('"timings":{"blocked":-1,"dns":-1,')
  if handshake_ns > 0 then
    buf:putf('"connect":%.6f,"ssl":%.6f', ms(handshake_ns), ms(handshake_ns))
  else
    buf:put('"connect":-1,"ssl":-1')
  end
  buf:putf(',"send":%.6f,"wait":%.6f,"receive":%.6f}', ms(send_ns), ms(wait_ns), ms(receive_ns))
end

-- ---- what HAR has no field for --------------------------------------------------------------------------------------

local function put_process(buf, name, process, ts_ns)
  local comm, comm_len = fields.comm(process)
  buf:putf(',"%s":{"pid":%d,"tid":%d,"uid":%d,"comm":', name, process.tgid, process.tid, process.uid)
  json.put_bytes(buf, comm, comm_len)
  local exe = json.executable(process.tgid, ffi.string(comm, comm_len), ts_ns)
  if exe then buf:put(',"exe":', exe) end
  buf:put("}")
end

-- What of a container is told, as far as it is known.
local CONTAINER_FIELDS = { "id", "name", "image", "runtime", "pod", "namespace", "pod_uid", "labels" }

-- opts.container_of(const struct ps_process *) -> table with some of these, strings but for labels, a table of strings;
-- or nil: it is in none, or not known.
local function put_container(buf, process, opts)
  local container = opts.container_of and opts.container_of(process)
  if not container then return end
  local told = {}
  for _, name in ipairs(CONTAINER_FIELDS) do told[name] = container[name] end
  buf:put(',"_container":')
  json.put_object(buf, told)
end

local function put_server_address(buf, ex)
  local server = ex.side == C.PS_SIDE_SERVER and ex["local"] or ex.remote
  if fields.is_unix(ex) then
    buf:put(',"_unixSocket":', quoted(text_of(ex.unix_path)))
  elseif fields.has_address(ex) then
    buf:put(',"serverIPAddress":"')
    fields.put_address(buf, server)
    buf:putf('","connection":"%d"', server.port) -- a port, as browsers write it, and show it when they load a file
  end
end

local function put_tls(buf, ex, opts)
  if ex.library == 0 then return end
  local library = opts.library_of(ex.library)
  buf:put(',"_tls":{"library":', quoted(library.type))
  if library.version then buf:put(',"version":', quoted(library.version)) end
  if ex.tls ~= nil then
    local protocol, cipher = ciphers.protocol(ex.tls.protocol), ciphers.cipher(ex.tls.cipher)
    local server_name = ffi.string(ex.tls.server_name)
    if protocol then buf:put(',"protocol":"', protocol, '"') end
    if cipher then buf:put(',"cipher":"', cipher, '"') end
    if server_name ~= "" then buf:put(',"serverName":', quoted(server_name)) end
  end
  buf:put("}")
end

-- How decoding fell short; nil when it did not, or had nothing to do.
local function decoding_loss(message, opts)
  local _, decoded = content.whole(message, opts)
  if not decoded or decoded.state == C.PS_CONTENT_PLAIN or decoded.state == C.PS_CONTENT_COMPLETE then return nil end
  return content.state(decoded)
end

local FINE_FLAGS = bit.bor(C.PS_MESSAGE_COMPLETE, C.PS_MESSAGE_FROM_FILE)

-- Whether a quick look finds nothing missing of a message.
local function is_fine(message)
  return bit.band(message.flags, bit.bnot(FINE_FLAGS)) == 0 and message.body.state == C.PS_BODY_COMPLETE
    and message.body.gap_bytes == 0 and not lib.ps_is_encoded(message)
end

-- What is missing of a message, nil when it is whole.
local function message_loss(message, opts)
  if not message or is_fine(message) then return nil end
  local body, flags = message.body, {}
  for _, name in ipairs(fields.message_flags(message) or {}) do
    if name ~= "from-file" then flags[#flags + 1] = name end
  end
  local loss = { flags = flags[1] and flags, decoded_state = decoding_loss(message, opts) }
  if body.state ~= C.PS_BODY_COMPLETE then
    loss.body, loss.size_bytes, loss.kept_bytes = json.state_names[body.state], body.size_bytes, body.kept.len
  end
  if body.gap_bytes > 0 then loss.gap_offset_bytes, loss.gap_bytes = body.gap_offset, body.gap_bytes end
  return next(loss) and loss
end

local is_loss_flag = { midstream = true, ["after-gap"] = true, reset = true }

-- What of the exchange as a whole may be missing.
local function exchange_loss(ex, request)
  local flags = {}
  if not request then flags[1] = "no-request" end
  for _, name in ipairs(json.exchange_flags(ex)) do
    if is_loss_flag[name] then flags[#flags + 1] = name end
  end
  return flags[1] and flags
end

local LOSS_FLAGS = bit.bor(C.PS_EXCHANGE_MIDSTREAM, C.PS_EXCHANGE_AFTER_GAP, C.PS_EXCHANGE_RESET,
  C.PS_EXCHANGE_UNDECODED)

local function put_loss(buf, ex, request, response, opts, messages)
  if not messages and not has(ex.flags, LOSS_FLAGS) and request and is_fine(request)
    and (not response or is_fine(response)) then
    return
  end
  local loss = {
    flags = exchange_loss(ex, request), request = message_loss(request, opts),
    response = message_loss(response, opts), messages_undecoded = has(ex.flags, C.PS_EXCHANGE_UNDECODED) or nil,
    messages_dropped = messages and messages.dropped > 0 and messages.dropped or nil,
  }
  if not next(loss) then return end
  buf:put(',"_loss":')
  json.put_object(buf, loss)
end

local function put_messages(buf, ex, messages)
  if ex.protocol == C.PS_STREAM_SSE then buf:put(',"_resourceType":"eventsource"') end
  if ex.protocol ~= C.PS_STREAM_WEBSOCKET then return end
  buf:put(',"_resourceType":"websocket","_webSocketMessages":[')
  if messages then buf:put(messages.text) end
  buf:put("]")
end

local function put_identity(buf, ex, request, response, opts)
  local process = fields.process(ex)
  put_server_address(buf, ex)
  buf:putf(',"_connectionId":%u', ex.conn_id)
  put_process(buf, "_process", process, fields.first_ts_ns(ex))
  if request and response and response.process.tid ~= request.process.tid then
    put_process(buf, "_responseProcess", response.process, response.first_ts_ns)
  end
  put_container(buf, process, opts)
  buf:putf(',"_side":"%s","_exchangeId":%u', json.side_names[ex.side], ex.id)
  if ex.stream_id ~= 0 then buf:putf(',"_streamId":%d', ex.stream_id) end
  put_tls(buf, ex, opts)
  if ex.interim_count > 0 then buf:put(',"_interim":[', table.concat(fields.interim(ex), ","), "]") end
end

--- Append the entry of an exchange.
-- @param buf string.buffer
-- @param ex const struct ps_exchange *
-- @param opts see plainsight.cli.parse; and clock_offset_ns, library_of, container_of
-- @param is_first boolean: the first exchange of its TLS session, to whose time the handshake belongs
-- @param messages { text (JSON of put_message), dropped (number) } of a WebSocket, or nil
function _M.put(buf, ex, opts, is_first, messages)
  local request, response = fields.request(ex), fields.response(ex)
  local send_ns, wait_ns, receive_ns = phases(request, response)
  local handshake_ns = is_first and request and tonumber(ex.handshake_ns) or 0
  buf:put('{"startedDateTime":"')
  json.put_utc_time(buf, json.wall_ns(fields.first_ts_ns(ex), opts) - ffi.cast("int64_t", handshake_ns))
  buf:putf('","time":%.6f,', ms(send_ns + wait_ns + receive_ns + handshake_ns))
  put_request(buf, ex, request, opts)
  buf:put(",")
  put_response(buf, ex, request, response, opts)
  buf:put(',"cache":{},')
  put_timings(buf, send_ns, wait_ns, receive_ns, handshake_ns)
  put_identity(buf, ex, request, response, opts)
  put_loss(buf, ex, request, response, opts, messages)
  put_messages(buf, ex, messages)
  buf:put("}")
end

local STATE_WHOLE = C.PS_BODY_COMPLETE

--- Append one message of a WebSocket, as Chromium writes them: binary ones in base64.
-- @param buf string.buffer
-- @param ex const struct ps_exchange *
-- @param message const struct ps_stream_message *
-- @param is_from_client boolean
-- @param opts as above
function _M.put_message(buf, message, is_from_client, opts)
  local body = message.body
  local unix_s = tonumber(json.wall_ns(message.first_ts_ns, opts)) / 1e9
  buf:putf('{"type":"%s","time":%.6f,"opcode":%d,"data":', is_from_client and "send" or "receive", unix_s,
    message.type)
  local text_len, is_deceptive = json.text_bytes(body.kept, body.state ~= STATE_WHOLE)
  local is_text = message.type ~= C.PS_STREAM_BINARY and text_len
  if is_text then
    buf:put(json.quoted(ffi.string(body.kept.data, text_len), is_deceptive))
  else
    buf:put('"')
    json.put_base64(buf, body.kept.data, tonumber(body.kept.len))
    buf:put('"')
    if message.type ~= C.PS_STREAM_BINARY then buf:put(',"_encoding":"base64"') end
  end
  if body.state ~= STATE_WHOLE then
    buf:putf(',"_state":"%s","_size_bytes":%u', json.state_names[body.state], body.size_bytes)
  end
  if message.flags ~= 0 and message.flags ~= C.PS_STREAM_COMPRESSED then
    buf:put(',"_flags":', json.quoted_list(stream.flags(message)))
  end
  buf:put("}")
end

return _M
