-- SPDX-License-Identifier: Apache-2.0
--- One connection in a pcapng file: its exchanges and messages, as HTTP/1 or HTTP/2, in a TCP stream.
local bit = require "bit"
local buffer = require "string.buffer"
local comment = require "plainsight.output.pcapng_comment"
local fields = require "plainsight.output.fields"
local ffi = require "ffi"
local http1 = require "plainsight.output.wire_http1"
local http2 = require "plainsight.output.wire_http2"
local json = require "plainsight.output.json"
local tcp_stream = require "plainsight.output.tcp_stream"
local websocket = require "plainsight.output.wire_websocket"

local _M = {}

local C = ffi.C
local has = fields.has

local Conn = {}
Conn.__index = Conn

-- A message, before it is cut into segments.
local wire = buffer.new()

-- ---- addresses ------------------------------------------------------------------------------------------------------

-- TCP ports that tshark takes for TLS whatever is on them ("tshark -G decodes").
local tls_ports = {}
for _, port in ipairs {
  324, 443, 465, 636, 802, 853, 993, 995, 1300, 2221, 2443, 3249, 3250, 3251, 3252, 3496, 5061, 5671, 5684, 5868, 8883,
  11207, 19999, 27017,
} do tls_ports[port] = true end

-- And those on which it looks for HTTP/2, by the preface: on no other one.
local http_ports = {}
for _, port in ipairs { 80, 1900, 2710, 2869, 3128, 3132, 5985, 8080, 8088, 11371 } do http_ports[port] = true end

local HTTP_PORT = 80

-- Whether tshark would not find on that port what the exchange is.
local function is_port_hidden(ex, port)
  if ex.stream_id ~= 0 then return not http_ports[port] end
  return ex.library ~= 0 and tls_ports[port]
end

-- For what has no address: 192.0.2.0/24 stands for unix sockets, 198.51.100.0/24 for sockets that are not known
-- (both for documentation, RFC 5737). The client's port tells connections apart.
local next_port = 1024

local function stand_ins(is_unix)
  local a, b, c = 192, 0, 2
  if not is_unix then a, b, c = 198, 51, 100 end
  next_port = next_port < 65535 and next_port + 1 or 1024
  local function endpoint(host, port)
    local addr = ffi.new("uint8_t[16]")
    addr[0], addr[1], addr[2], addr[3] = a, b, c, host
    return { addr = addr, port = port, family = C.PS_FAMILY_INET }
  end
  return endpoint(1, next_port), endpoint(2, HTTP_PORT)
end

local function is_mapped(addr)
  for i = 0, 9 do
    if addr[i] ~= 0 then return false end
  end
  return addr[10] == 0xff and addr[11] == 0xff
end

-- IPv4 on a socket of IPv6 is IPv4 on the wire (RFC 4291 2.5.5.2).
local function as_ipv4(endpoint)
  local addr = ffi.new("uint8_t[16]")
  ffi.copy(addr, endpoint.addr + 12, 4)
  return { addr = addr, port = endpoint.port, family = C.PS_FAMILY_INET }
end

--- Client and server of an exchange, as they are on the wire.
-- @param ex const struct ps_exchange *
-- @return two of struct ps_endpoint or tables like it; nil when the exchange has no addresses
function _M.ends(ex)
  local client, server = ex["local"], ex.remote
  if client.family ~= C.PS_FAMILY_INET and client.family ~= C.PS_FAMILY_INET6 then return nil end
  if ex.side == C.PS_SIDE_SERVER then client, server = server, client end
  if client.family == C.PS_FAMILY_INET6 and is_mapped(client.addr) and is_mapped(server.addr) then
    return as_ipv4(client), as_ipv4(server)
  end
  return client, server
end

--- @param ex const struct ps_exchange *: the first of the connection
-- @param opts see plainsight.output.pcapng_comment
-- @return connection
function _M.new(ex, opts)
  local client, server = _M.ends(ex)
  if not client then client, server = stand_ins(fields.is_unix(ex)) end
  local is_hidden = is_port_hidden(ex, server.port)
  return setmetatable({
    opts = opts, shown_port = is_hidden and server.port or nil, last_stream_id = 1,
    tcp = tcp_stream.new(client, server, is_hidden and HTTP_PORT, ex.side ~= C.PS_SIDE_SERVER),
  }, Conn)
end

-- ---- HTTP -----------------------------------------------------------------------------------------------------------

local function open(self, buf, ex, ts)
  if not self.tcp:opened() then self.tcp:open(buf, ts, comment.connection(ex, self.shown_port, self.opts)) end
end

-- Send what is in wire; missing: how many bytes are behind it.
local function send_wire(self, buf, is_client, message, head_bytes, missing, text)
  local from, to = json.wall_ns(message.first_ts_ns, self.opts), json.wall_ns(message.last_ts_ns, self.opts)
  local data, len = wire:ref()
  if missing == 0 then
    self.tcp:send(buf, is_client, data, len, from < to and head_bytes or nil, from, to, text)
  else
    local is_gap = message.body.state ~= C.PS_BODY_TRUNCATED
    if len >= tcp_stream.SEGMENT_MAX then
      text = ("%s; cut: %d bytes that were captured do not fit into the packet"):format(text,
        len - tcp_stream.SEGMENT_MAX + 1)
    end
    self.tcp:send_cut(buf, is_client, data, len, missing, is_gap, from, to, text)
  end
  wire:reset()
end

local function put_http1(self, buf, message, is_request, with_body, text)
  http1.put_head(wire, message, is_request)
  local head_bytes = #wire
  local missing = with_body and http1.put_body(wire, message) or 0
  send_wire(self, buf, is_request, message, head_bytes, missing, text)
end

-- What both ends say first, when the connection turns to HTTP/2.
local function open_http2(self, buf, ts)
  if self.is_http2 then return end
  self.is_http2 = true
  for _, is_client in ipairs { true, false } do
    http2.put_opening(wire, is_client)
    local data, len = wire:ref()
    self.tcp:send(buf, is_client, data, len, nil, ts, ts)
    wire:reset()
  end
  for _, is_client in ipairs { true, false } do
    http2.put_opening_heard(wire)
    local data, len = wire:ref()
    self.tcp:send(buf, is_client, data, len, nil, ts, ts)
    wire:reset()
  end
end

-- Head of a message of HTTP/2; of a promised request as the promise. Returns whether the client sends it.
local function put_http2_head(self, ex, is_request, is_end)
  if is_request and has(ex.flags, C.PS_EXCHANGE_PUSHED) then
    http2.put_promise(wire, ex, self.last_stream_id)
    return false
  end
  if is_request then self.last_stream_id = ex.stream_id end
  http2.put_head(wire, ex, is_request, is_end)
  return is_request
end

-- The frames behind those that are missing.
local function put_http2_rest(self, buf, message, is_client, missing, stream_id)
  local to = json.wall_ns(message.last_ts_ns, self.opts)
  self.tcp:skip(buf, is_client, http2.data_bytes(missing), message.body.state ~= C.PS_BODY_TRUNCATED, to)
  if message.trailer_count == 0 then return end
  http2.put_trailers(wire, message, stream_id)
  local data, len = wire:ref()
  self.tcp:send(buf, is_client, data, len, nil, to, to)
  wire:reset()
end

local function put_http2(self, buf, ex, message, is_request, with_body, text)
  local body, stream_id = message.body, ex.stream_id
  local is_whole = with_body and has(message.flags, C.PS_MESSAGE_COMPLETE)
  local missing = with_body and tonumber(body.size_bytes - body.kept.len) or 0
  local has_trailers = message.trailer_count > 0
  local is_end = is_whole and missing == 0 and not has_trailers
  local is_client = put_http2_head(self, ex, is_request, is_end and body.size_bytes == 0)
  local head_bytes = #wire
  if with_body and body.kept.len > 0 then
    http2.put_data(wire, body.kept.data, tonumber(body.kept.len), stream_id, is_end)
  end
  if with_body and missing == 0 and has_trailers then http2.put_trailers(wire, message, stream_id) end
  send_wire(self, buf, is_client, message, head_bytes, 0, text)
  if missing > 0 then put_http2_rest(self, buf, message, is_client, missing, stream_id) end
end

local function put_message(self, buf, ex, is_request, with_body)
  local message = is_request and ex.request or ex.response
  local text = is_request and comment.request(ex, self.opts) or comment.response(ex, self.opts)
  local ts = json.wall_ns(message.first_ts_ns, self.opts)
  open(self, buf, ex, ts)
  if ex.stream_id ~= 0 then
    open_http2(self, buf, ts)
    put_http2(self, buf, ex, message, is_request, with_body, text)
  else
    put_http1(self, buf, message, is_request, with_body, text)
  end
end

local function put_both(self, buf, ex, with_body)
  if fields.request(ex) then put_message(self, buf, ex, true, with_body) end
  if fields.response(ex) then put_message(self, buf, ex, false, with_body) end
end

-- RFC 9112 9.3 and 9.6: whether a connection of HTTP/1 ends with a message.
local function is_last(message)
  local option = (fields.header(message, "connection") or ""):lower()
  if option:find("close", 1, true) or message.body.framing == C.PS_FRAMING_CLOSE then return true end
  return message.version_major == 1 and message.version_minor == 0 and not option:find("keep-alive", 1, true)
end

local function ends_connection(ex)
  if ex.stream_id ~= 0 then return false end
  if has(bit.bor(ex.request.flags, ex.response.flags), C.PS_MESSAGE_ABORTED) then return true end
  local request, response = fields.request(ex), fields.response(ex)
  return has(ex.flags, C.PS_EXCHANGE_TUNNEL) or (request and is_last(request)) or (response and is_last(response))
end

local function last_ts(self, ex)
  local request, response = fields.request(ex), fields.response(ex)
  local ts = request and request.last_ts_ns or 0ULL
  if response and response.last_ts_ns > ts then ts = response.last_ts_ns end
  local unix_ns = json.wall_ns(ts, self.opts)
  return unix_ns > self.tcp.last_ts and unix_ns or self.tcp.last_ts
end

-- Heads of an exchange whose messages follow: once.
local function put_tunnel(self, buf, ex)
  local id = tonumber(ex.id)
  self.tunnels = self.tunnels or {}
  if self.tunnels[id] then return end
  self.tunnels[id] = true
  put_both(self, buf, ex, false)
end

--- Append an exchange that is over.
-- @param buf string.buffer
-- @param ex const struct ps_exchange *
function Conn:put_exchange(buf, ex)
  if has(ex.flags, C.PS_EXCHANGE_TUNNEL) then
    put_tunnel(self, buf, ex)
    self.tunnels[tonumber(ex.id)] = nil
  else
    put_both(self, buf, ex, true)
  end
  if not ends_connection(ex) then return end
  self.is_over = true
  self.tcp:close(buf, last_ts(self, ex))
end

--- Append what there is of an exchange that goes on: its heads, when what follows are messages of another protocol.
-- Others come as a whole when they are over.
function Conn:put_started(buf, ex)
  if has(ex.flags, C.PS_EXCHANGE_TUNNEL) then put_tunnel(self, buf, ex) end
end

--- Append a message of a WebSocket.
-- @param is_from_client boolean
function Conn:put_message(buf, ex, message, is_from_client)
  if message.protocol ~= C.PS_STREAM_WEBSOCKET then return end
  put_tunnel(self, buf, ex)
  local missing = websocket.put(wire, message, is_from_client)
  if ex.stream_id ~= 0 then
    local payload = wire:get()
    http2.put_data(wire, payload, #payload, ex.stream_id, false)
  end
  send_wire(self, buf, is_from_client, message, nil, 0, comment.message(ex, message, self.opts))
  if missing == 0 then return end
  if ex.stream_id ~= 0 then missing = http2.data_bytes(missing) end
  local is_gap = message.body.state ~= C.PS_BODY_TRUNCATED
  self.tcp:skip(buf, is_from_client, missing, is_gap, json.wall_ns(message.last_ts_ns, self.opts))
end

--- End the connection in a file, to go on in the next one as if it were new.
function Conn:begin_anew(buf)
  self:close(buf)
  self.is_http2, self.tunnels = nil, nil
end

--- Append the end of the connection, when it has not ended.
function Conn:close(buf) self.tcp:close(buf, self.tcp.last_ts) end

return _M
