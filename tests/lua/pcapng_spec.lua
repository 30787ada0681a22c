-- SPDX-License-Identifier: Apache-2.0
local bit = require "bit"
local ffi = require "ffi"
local fixture = require "exchange_fixture"
local http1 = require "plainsight.output.wire_http1"
local http2 = require "plainsight.output.wire_http2"
local paths = require "plainsight.paths"
local pcapng = require "plainsight.output.pcapng"
local websocket = require "plainsight.output.wire_websocket"

local C = ffi.C

local function u16(text, at) return text:byte(at) + text:byte(at + 1) * 256 end
local function u32(text, at) return u16(text, at) + u16(text, at + 2) * 65536 end
local function be16(text, at) return text:byte(at) * 256 + text:byte(at + 1) end
local function be32(text, at) return be16(text, at) * 65536 + be16(text, at + 2) end

-- Options of a block, by code.
local function options(text, at)
  local found = {}
  while u16(text, at) ~= 0 do
    local len = u16(text, at + 2)
    found[u16(text, at)] = text:sub(at + 4, at + 3 + len)
    at = at + 4 + math.ceil(len / 4) * 4
  end
  return found
end

-- The one's complement sum of RFC 1071, in the plainest way.
local function is_checksum_right(text)
  local sum = 0
  for i = 1, #text, 2 do sum = sum + text:byte(i) * 256 + (text:byte(i + 1) or 0) end
  while sum > 65535 do sum = bit.rshift(sum, 16) + bit.band(sum, 65535) end
  return sum == 65535
end

local function packet_of(block)
  local captured, original = u32(block, 21), u32(block, 25)
  local data = block:sub(29, 28 + captured)
  local is_ipv6 = bit.rshift(data:byte(1), 4) == 6
  local ip_bytes = is_ipv6 and 40 or 20
  local tcp = data:sub(ip_bytes + 1)
  local addresses = is_ipv6 and data:sub(9, 40) or data:sub(13, 20)
  local size = original - ip_bytes
  local pseudo = addresses .. "\0\6" .. string.char(math.floor(size / 256), size % 256)
  local head_bytes = bit.rshift(tcp:byte(13), 4) * 4
  return {
    is_ipv6 = is_ipv6, from = be16(tcp, 1), to = be16(tcp, 3), seq = be32(tcp, 5), ack = be32(tcp, 9),
    flags = tcp:byte(14), payload = tcp:sub(head_bytes + 1), size = size - head_bytes,
    is_right = is_checksum_right(pseudo .. tcp) and (is_ipv6 or is_checksum_right(data:sub(1, 20))),
    ip_length = is_ipv6 and be16(data, 5) + 40 or be16(data, 3), original = original,
    ns = u32(block, 13) * 4294967296ULL + u32(block, 17),
    options = options(block, 29 + math.ceil(captured / 4) * 4),
  }
end

-- The blocks of a file, with both lengths of each checked; packets are taken apart.
local function read(path)
  local text = paths.read(path)
  local at, blocks, packets = 1, {}, {}
  while at <= #text do
    local len = u32(text, at + 4)
    assert.equal(0, len % 4)
    assert.equal(len, u32(text, at + len - 4))
    local block = text:sub(at, at + len - 1)
    blocks[#blocks + 1] = block
    if u32(block, 1) == 6 then packets[#packets + 1] = packet_of(block) end
    at = at + len
  end
  return packets, blocks
end

local function item(exchange, kind)
  return ffi.new("struct ps_item", { kind = kind or C.PS_ITEM_EXCHANGE, exchange = exchange })
end

-- What is written of exchanges. changes: of the options.
local function written(exchanges, changes)
  local path = os.tmpname()
  local opts = { pcapng = path, clock_offset_ns = fixture.CLOCK_OFFSET_NS, max_body_bytes = 65536, tool_name = "tool" }
  for name, value in pairs(changes or {}) do opts[name] = value end
  local sink = assert(pcapng.open(opts, error))
  for _, exchange in ipairs(exchanges) do sink:item(item(exchange)) end
  assert.is_nil(sink:close())
  local packets, blocks = read(path)
  os.remove(path)
  return packets, blocks, sink
end

local function payloads(packets, port)
  local parts = {}
  for _, packet in ipairs(packets) do
    if packet.from == port then parts[#parts + 1] = packet.payload end
  end
  return table.concat(parts)
end

describe("pcapng", function()
  it("begins with a section and an interface of IP packets in ns", function()
    local _, blocks = written {}
    assert.equal(2, #blocks)
    assert.same({ 0x0a0d0d0a, 0x1a2b3c4d, 1, 0 },
      { u32(blocks[1], 1), u32(blocks[1], 9), u16(blocks[1], 13), u16(blocks[1], 15) })
    assert.matches("^tool [%d.]+ %(Plainsight%)$", options(blocks[1], 25)[4])
    assert.same({ 1, 101 }, { u32(blocks[2], 1), u16(blocks[2], 9) })
    assert.equal("\9", options(blocks[2], 17)[9])
  end)

  it("is a connection, with right numbers, lengths and checksums", function()
    for _, family in ipairs { C.PS_FAMILY_INET, C.PS_FAMILY_INET6 } do
      local ends = {}
      for i = 1, 2 do ends[i] = { family = family, addr = { 1, 2, 3, 4, 5, 6, 7, 8, 9, i }, port = i * 8000 } end
      local packets = written { fixture.exchange { local_end = ends[1], remote_end = ends[2] } }
      local next_seq = { [8000] = packets[1].seq, [16000] = packets[2].seq }
      for i, packet in ipairs(packets) do
        assert.is_true(packet.is_right)
        assert.equal(family == C.PS_FAMILY_INET6, packet.is_ipv6)
        assert.same({ packet.original, next_seq[packet.from] }, { packet.ip_length, packet.seq })
        if i > 1 then assert.equal(next_seq[packet.to], packet.ack) end
        local is_counted = bit.band(packet.flags, 3) ~= 0
        next_seq[packet.from] = packet.seq + packet.size + (is_counted and 1 or 0)
      end
      assert.same({ 2, 0x12, 0x10 }, { packets[1].flags, packets[2].flags, packets[3].flags })
      assert.same({ 0x11, 0x11, 0x10 }, { packets[#packets - 2].flags, packets[#packets - 1].flags,
        packets[#packets].flags })
    end
  end)

  it("has the bytes, times and directions of an exchange", function()
    local packets = written { fixture.exchange() }
    assert.equal("GET /x?q=1 HTTP/1.1\r\nHost: localhost:8080\r\n\r\n", payloads(packets, 40002))
    assert.equal("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n", payloads(packets, 8080))
    local told = {}
    for _, packet in ipairs(packets) do
      if packet.size > 0 then
        told[#told + 1] = { tostring(packet.ns - 1700000000000000000ULL), packet.options[2]:byte(1) }
      end
    end
    assert.same({ { "123456789ULL", 2 }, { "124456789ULL", 1 }, { "124656789ULL", 1 } }, told)
    assert.matches("^exchange 0, client: curl %(pid 4242, tid 4242, uid 1000", packets[4].options[1])
  end)

  it("keeps exchanges of a connection on it until one says that it ends", function()
    local close = fixture.response { headers = { { "Connection", "Close" }, { "Content-Length", "6" } } }
    local packets = written { fixture.exchange(), fixture.exchange(), fixture.exchange { response = close } }
    local opened, ended = 0, 0
    for i, packet in ipairs(packets) do
      if packet.flags == 2 then opened = opened + 1 end
      if bit.band(packet.flags, 1) ~= 0 then
        ended = ended + 1
        assert.is_true(i > #packets - 3)
      end
    end
    assert.same({ 1, 2 }, { opened, ended })
  end)

  it("has a connection that is seen at both ends once, whichever is first, also after its end", function()
    for _, order in ipairs { { C.PS_SIDE_CLIENT, C.PS_SIDE_SERVER }, { C.PS_SIDE_SERVER, C.PS_SIDE_CLIENT } } do
      local exchanges = {}
      for i = 1, 3 do
        for _, side in ipairs(order) do
          local client, server = { port = 40002 }, { port = 8080 }
          local is_client = side == C.PS_SIDE_CLIENT
          exchanges[#exchanges + 1] = fixture.exchange { side = side, conn_id = is_client and 1 or 2,
            local_end = is_client and client or server, remote_end = is_client and server or client,
            response = fixture.response(i == 3 and { framing = C.PS_FRAMING_CLOSE, headers = {} } or nil) }
        end
      end
      local packets, _, sink = written(exchanges)
      local _, count = payloads(packets, 40002):gsub("GET ", "")
      assert.same({ 3, 3 }, { count, sink.seen_twice })
    end
  end)

  it("begins connections anew in each file", function()
    local path = os.tmpname()
    local sink = assert(pcapng.open({ pcapng = path, clock_offset_ns = 0, rotate_mib = 1, max_body_bytes = 65536 },
      error))
    local body = ("x"):rep(600000)
    local response = fixture.response { body = body, headers = { { "Content-Length", "600000" } } }
    for _ = 1, 4 do sink:item(item(fixture.exchange { response = response })) end
    sink:close()
    for _, name in ipairs { path, path .. ".1" } do
      local packets = read(name)
      assert.equal(2, packets[1].flags)
      assert.equal(0x11, packets[#packets - 2].flags)
      assert.equal(2 * 600000, #payloads(packets, 8080):gsub("HTTP.-\r\n\r\n", ""))
      os.remove(name)
    end
  end)

  it("has a cut message in one packet that is larger, and the rest as length", function()
    local packets = written { fixture.exchange { response = fixture.response { size_bytes = 100000,
      headers = { { "Content-Length", "100000" } }, state = C.PS_BODY_TRUNCATED } } }
    local sizes, bytes = {}, 0
    for _, packet in ipairs(packets) do
      if packet.from == 8080 and packet.size > 0 then
        sizes[#sizes + 1], bytes = { packet.size, #packet.payload }, bytes + packet.size
      end
    end
    local head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    assert.same({ { 65495, #head + 6 }, { #head + 100000 - 65495, 0 } }, sizes)
    assert.equal(#head + 100000, bytes)
  end)

  it("jumps over what was lost", function()
    local gap = fixture.response { size_bytes = 100, state = C.PS_BODY_GAP, gap_offset = 6, gap_bytes = 94 }
    local packets = written { fixture.exchange { response = gap }, fixture.exchange() }
    local first, second
    for _, packet in ipairs(packets) do
      if packet.from == 8080 and #packet.payload > 0 then
        if first then second = second or packet else first = packet end
      end
    end
    assert.equal(#first.payload + 1, first.size) -- so that the head is not waited for
    assert.equal(#first.payload + 94, second.seq - first.seq)
    assert.matches("lost: 94 bytes of the body, from byte 6 on", first.options[1], 1, true)
  end)

  it("says so when a file cannot be written", function()
    local sink, message = pcapng.open({ pcapng = "/nowhere/x", clock_offset_ns = 0 }, error)
    assert.is_nil(sink)
    assert.matches("^/nowhere/x: ", message)
    sink, message = pcapng.open({ pcapng = "/dev/full", clock_offset_ns = 0 }, error)
    assert.same({ nil, "/dev/full: No space left on device" }, { sink, message })
  end)

  it("goes on when a file could not be written for a while, and says what is not there", function()
    local path, said = os.tmpname(), {}
    local sink = assert(pcapng.open({ pcapng = path, clock_offset_ns = fixture.CLOCK_OFFSET_NS },
      function(text) said[#said + 1] = text end))
    local fd = sink.fd
    for i = 1, 5 do
      sink.fd = (i == 2 or i == 3) and C.open(path, 0) or fd -- to read only
      sink:item(item(fixture.exchange()))
      sink:tick(0ULL)
      if sink.fd ~= fd then C.close(sink.fd) end
    end
    assert.equal(("--pcapng: 2 exchanges could not be written (%s: Bad file descriptor)"):format(path), sink:close())
    assert.equal(1, #said)
    local _, count = payloads((read(path)), 40002):gsub("GET ", "")
    assert.equal(3, count)
    os.remove(path)
  end)
end)

describe("wire_http1", function()
  local function body_of(spec)
    local missing
    local text = fixture.text_of(function(buf, message) missing = http1.put_body(buf, message) end,
      fixture.exchange({ response = fixture.response(spec) }).response)
    return text, missing
  end

  it("has bodies in their framing, and says how much is missing", function()
    local chunked = { framing = C.PS_FRAMING_CHUNKED, trailers = { { "X", "y" } } }
    assert.same({ "6\r\nhello\n\r\n0\r\nX: y\r\n\r\n", 0 }, { body_of(chunked) })
    assert.same({ "0\r\n\r\n", 0 }, { body_of { framing = C.PS_FRAMING_CHUNKED, body = "" } })
    assert.same({ "64\r\nhello\n", 94 + 7 }, { body_of { framing = C.PS_FRAMING_CHUNKED, size_bytes = 100 } })
    assert.same({ "6\r\nhello\n\r\n", 1 }, { body_of { framing = C.PS_FRAMING_CHUNKED, flags = C.PS_MESSAGE_ABORTED } })
    assert.same({ "hello\n", 4 }, { body_of { size_bytes = 10 } })
    assert.same({ "hello\n", 1 }, { body_of { flags = C.PS_MESSAGE_ABORTED } })
    assert.same({ "hello\n", 0 }, { body_of { framing = C.PS_FRAMING_CLOSE, flags = C.PS_MESSAGE_ABORTED } })
  end)
end)

describe("wire_http2", function()
  local function frames(text)
    local list, at = {}, 1
    while at <= #text do
      local len = text:byte(at) * 65536 + be16(text, at + 1)
      list[#list + 1] = { kind = text:byte(at + 3), flags = text:byte(at + 4), stream = be32(text, at + 5),
        payload = text:sub(at + 9, at + 8 + len) }
      assert.equal(len, #list[#list].payload)
      at = at + 9 + len
    end
    return list
  end

  -- Fields of a block of literals without index and Huffman coding.
  local function fields(block)
    local list, at = {}, 1
    local function text()
      local len = block:byte(at)
      at = at + 1
      if len == 127 then
        local shift = 1
        repeat
          local byte = block:byte(at)
          at, len, shift = at + 1, len + byte % 128 * shift, shift * 128
        until byte < 128
      end
      at = at + len
      return block:sub(at - len, at - 1)
    end
    while at <= #block do
      assert.equal(0, block:byte(at))
      at = at + 1
      list[#list + 1] = { text(), text() }
    end
    return list
  end

  it("has heads as literals of any length, in as many frames as they take", function()
    for _, len in ipairs { 0, 1, 126, 127, 128, 254, 255, 16383, 16384, 50000 } do
      local value = ("v"):rep(len)
      local request = fixture.request_h2 { headers = { { "X-Y", value } } }
      local ex = fixture.exchange { stream_id = 0x123457, request = request }
      local list = frames(fixture.text_of(http2.put_head, ex, true, true))
      local block = ""
      for i, frame in ipairs(list) do
        assert.same({ i == 1 and 1 or 9, 0x123457 }, { frame.kind, frame.stream })
        assert.equal((i == 1 and 1 or 0) + (i == #list and 4 or 0), frame.flags)
        assert.is_true(#frame.payload <= 16384)
        block = block .. frame.payload
      end
      assert.same({ { ":method", "GET" }, { ":scheme", "https" }, { ":authority", "a.test" }, { ":path", "/x" },
        { "x-y", value } }, fields(block))
    end
  end)

  it("has a request that Upgrade brought there with the pseudo-headers of its Host", function()
    local list = frames(fixture.text_of(http2.put_head, fixture.exchange { stream_id = 1 }, true, false))
    assert.same({ { ":method", "GET" }, { ":scheme", "http" }, { ":authority", "localhost:8080" },
      { ":path", "/x?q=1" }, { "host", "localhost:8080" } }, fields(list[1].payload))
  end)

  it("has DATA in frames, the last of which ends the stream", function()
    for len, sizes in pairs { [0] = { 0 }, [1] = { 1 }, [16384] = { 16384 }, [40000] = { 16384, 16384, 7232 } } do
      local data = ("d"):rep(len)
      local list = frames(fixture.text_of(http2.put_data, data, len, 5, true))
      local got = {}
      for i, frame in ipairs(list) do
        got[i] = #frame.payload
        assert.same({ 0, i == #list and 1 or 0, 5 }, { frame.kind, frame.flags, frame.stream })
      end
      assert.same(sizes, got)
      if len > 0 then assert.equal(#fixture.text_of(http2.put_data, data, len, 5, true), http2.data_bytes(len)) end
    end
  end)

  it("promises requests of the server", function()
    local ex = fixture.exchange { stream_id = 2, request = fixture.request_h2() }
    local list = frames(fixture.text_of(http2.put_promise, ex, 7))
    assert.same({ 5, 4, 7, "\0\0\0\2" }, { list[1].kind, list[1].flags, list[1].stream, list[1].payload:sub(1, 4) })
    assert.equal(":path", fields(list[1].payload:sub(5))[4][1])
  end)
end)

describe("wire_websocket", function()
  local function frame(spec, is_from_client)
    local missing
    local text = fixture.text_of(function(buf, message) missing = websocket.put(buf, message, is_from_client) end,
      fixture.message(spec))
    return text, missing
  end

  it("has lengths in their shortest form, and a mask from the client", function()
    for len, head in pairs {
      [0] = "\129\0", [125] = "\129\125", [126] = "\129\126\0\126", [65535] = "\129\126\255\255",
      [65536] = "\129\127\0\0\0\0\0\1\0\0",
    } do
      local payload = ("p"):rep(len)
      assert.equal(head .. payload, (frame({ payload = payload }, false)))
    end
    assert.equal("\129\131\0\0\0\0abc", (frame({ payload = "abc" }, true)))
    assert.equal("\136\5\3\232bye", (frame({ payload = "bye", type = C.PS_STREAM_CLOSE, close_code = 1000 }, false)))
    assert.equal("\194\1\7", (frame({ payload = "\7", type = C.PS_STREAM_BINARY,
      flags = C.PS_STREAM_COMPRESSED + C.PS_STREAM_UNDECODED }, false)))
  end)

  it("is a first fragment when it is not whole", function()
    local cut = { payload = "abc", size_bytes = 203, state = C.PS_BODY_TRUNCATED }
    assert.same({ "\1\3abc", 200 + 4 }, { frame(cut, false) })
    assert.same({ "\1\131\0\0\0\0abc", 200 + 8 }, { frame(cut, true) })
  end)
end)

