-- SPDX-License-Identifier: Apache-2.0
--- usage: luajit exports_fixture.lua ROOT FORMAT FILE
--
-- Writes exchanges that real traffic seldom has, as --FORMAT (har or pcapng) does: lost bytes, messages without end,
-- promised requests, unknown header fields, connections without address.
local root, format, path = arg[1], arg[2], arg[3]
package.path = root .. "/lua/?.lua;" .. root .. "/tests/lua/?.lua;" .. package.path
local ffi = require "ffi"
local fixture = require "exchange_fixture"

local C = ffi.C
local opts = {
  [format] = path, clock_offset_ns = fixture.CLOCK_OFFSET_NS, max_body_bytes = 65536, tool_name = "httpsnoop",
  container_of = function(process) return process.tgid == 77 and { id = "0123abcd", name = "web" } or nil end,
  library_of = function() return { type = "openssl", path = "/lib/libssl.so.3", version = "3.0.19" } end,
}
local sink = assert(require("plainsight.output." .. format).open(opts, print))

local number = 0
local function show(exchange, kind)
  number = number + 1
  exchange.id = number
  sink:item(ffi.new("struct ps_item", { kind = kind or C.PS_ITEM_EXCHANGE, exchange = exchange }))
end

local function on_port(port, spec)
  spec.local_end, spec.conn_id = { port = port }, port
  return fixture.exchange(spec)
end

local function length(bytes) return { { "Content-Length", tostring(bytes) } } end
local function request(target) return fixture.request { target = target } end

-- Lost: 300 bytes within a body, whose end is known; the connection goes on.
show(on_port(40001, { request = request "/gap", response = fixture.response {
  headers = length(1000), body = ("a"):rep(500), size_bytes = 1000, state = C.PS_BODY_GAP, gap_offset = 500,
  gap_bytes = 300,
} }))
show(on_port(40001, { request = request "/after-gap", flags = C.PS_EXCHANGE_AFTER_GAP }))
-- A body of 10 GiB that was counted.
show(on_port(40002, { request = request "/huge", response = fixture.response {
  headers = length(10737418240), body = ("b"):rep(100), size_bytes = 10737418240ULL, state = C.PS_BODY_TRUNCATED,
} }))
show(on_port(40002, { request = request "/after-huge" }))
-- The connection ended before the message did, chunked and with a length.
show(on_port(40003, { request = request "/aborted", response = fixture.response {
  headers = length(1000), body = "half", flags = C.PS_MESSAGE_ABORTED,
} }))
show(on_port(40004, { request = request "/aborted-chunks", response = fixture.response {
  headers = { { "Transfer-Encoding", "chunked" } }, framing = C.PS_FRAMING_CHUNKED, body = "half",
  flags = C.PS_MESSAGE_ABORTED,
} }))
-- Only one of the two was seen.
show(on_port(40005, { request = request "/no-response", response = false, missing_flags = C.PS_MESSAGE_UNFINISHED }))
show(on_port(40006, { request = false }))
-- A process in a container, over TLS on port 443 of IPv6, with hostile bytes in its name, target and header.
local tls = on_port(40007, { request = fixture.request { target = "/tls\27[31m",
  process = { tgid = 77, comm = "a\27b" }, headers = { { "X", "\255\0\r\n" } } } })
tls["local"].family, tls.remote.family, tls.remote.port, tls.library = C.PS_FAMILY_INET6, C.PS_FAMILY_INET6, 443, 1
show(tls)
-- IPv4 on sockets of IPv6; both ends, the server's later.
local mapped = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1 }
for i, side in ipairs { C.PS_SIDE_CLIENT, C.PS_SIDE_SERVER } do
  local ends = { { family = C.PS_FAMILY_INET6, addr = mapped, port = 40008 },
    { family = C.PS_FAMILY_INET6, addr = mapped, port = 8080 } }
  show(fixture.exchange { side = side, conn_id = 1000 + i, local_end = ends[i], remote_end = ends[3 - i],
    request = request "/mapped" })
end
-- A socket that is not known.
local unknown = on_port(0, { request = request "/unknown-socket", conn_id = 99 })
unknown["local"].family, unknown.remote.family, unknown.library = C.PS_FAMILY_NONE, C.PS_FAMILY_NONE, 1
show(unknown)
-- HTTP/2: a promised request, lost DATA before trailers, a block larger than a frame, unknown fields, no status.
local function on_stream(id, spec)
  spec.stream_id = id
  return on_port(40010, spec)
end
show(on_stream(1, { request = fixture.request_h2 { target = "/h2-gap" }, response = fixture.response_h2 {
  body = ("c"):rep(20000), size_bytes = 50000, state = C.PS_BODY_GAP, gap_offset = 20000, gap_bytes = 100,
  trailers = { { "grpc-status", "0" } },
} }))
show(on_stream(2, { flags = C.PS_EXCHANGE_PUSHED, request = fixture.request_h2 { target = "/pushed" },
  response = fixture.response_h2 {} }))
show(on_stream(3, { request = fixture.request_h2 { target = "/large-block",
  headers = { { "x-large", ("d"):rep(40000) }, fixture.UNKNOWN_HEADER }, flags = C.PS_MESSAGE_COMPLETE
    + C.PS_MESSAGE_UNKNOWN }, response = fixture.response_h2 { status = 0 } }))
show(on_stream(5, { request = fixture.request_h2 { target = "/last" },
  response = fixture.response_h2 { body = "end" } }))
-- A WebSocket in HTTP/1, a message of which was cut and one that could not be decompressed.
local chat = on_port(40011, { flags = C.PS_EXCHANGE_TUNNEL, request = fixture.request { target = "/chat",
  headers = { { "Host", "a.test" }, { "Upgrade", "websocket" }, { "Connection", "Upgrade" } } },
  response = fixture.response { status = 101, reason = "Switching Protocols", body = "", framing = C.PS_FRAMING_NONE,
    headers = { { "Upgrade", "websocket" }, { "Connection", "Upgrade" },
      { "Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" } } } })
chat.protocol = C.PS_STREAM_WEBSOCKET
show(chat, C.PS_ITEM_STARTED)
for _, spec in ipairs {
  { payload = ("e"):rep(1000), size_bytes = 70000, state = C.PS_BODY_TRUNCATED },
  { payload = "answer", direction = C.PS_IN },
  { payload = "\1\2\3", type = C.PS_STREAM_BINARY, flags = C.PS_STREAM_COMPRESSED + C.PS_STREAM_UNDECODED },
  { payload = "bye", type = C.PS_STREAM_CLOSE, close_code = 1000 },
} do
  local message = fixture.message(spec)
  sink:item(fixture.message_item(chat, message))
end
sink:item(ffi.new("struct ps_item", { kind = C.PS_ITEM_EXCHANGE, exchange = chat }))
-- The same over HTTP/2 (RFC 8441), on a stream among others.
local chat2 = on_stream(7, { flags = C.PS_EXCHANGE_TUNNEL, request = fixture.request_h2 { method = "CONNECT",
  target = "/chat2", protocol = "websocket" }, response = fixture.response_h2 { body = "" } })
chat2.protocol = C.PS_STREAM_WEBSOCKET
show(chat2, C.PS_ITEM_STARTED)
sink:item(fixture.message_item(chat2, fixture.message { payload = "over h2" }))
sink:item(fixture.message_item(chat2, fixture.message { payload = ("f"):rep(1000), size_bytes = 20000,
  state = C.PS_BODY_TRUNCATED }))
show(on_stream(9, { request = fixture.request_h2 { target = "/meanwhile" }, response = fixture.response_h2 {} }))
sink:item(ffi.new("struct ps_item", { kind = C.PS_ITEM_EXCHANGE, exchange = chat2 }))

sink:tick(0)
local problem = sink:close()
if problem then error(problem) end
