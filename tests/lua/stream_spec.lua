-- SPDX-License-Identifier: Apache-2.0
local cjson = require "cjson"
local ffi = require "ffi"
local fixture = require "exchange_fixture"
local json = require "plainsight.output.json"
local text = require "plainsight.output.text"
local verbose = require "plainsight.output.verbose"

local C = ffi.C
local PROCESS = { tgid = 999999999, comm = "node" } -- no such process: no "exe"

local function options()
  return { preview_bytes = 100, color = false, clock_offset_ns = fixture.CLOCK_OFFSET_NS }
end

local function exchange(changes)
  local ex = fixture.exchange { flags = C.PS_EXCHANGE_STARTED }
  ex.id = 7
  for name, value in pairs(changes or {}) do ex[name] = value end
  return ex
end

-- What a format makes of a message.
local function formatted(module, spec, ex)
  ex = ex or exchange()
  spec.process = PROCESS
  local message = fixture.message(spec)
  return fixture.text_of(module.put_message, fixture.message_item(ex, message), options())
end

local function line(spec, ex)
  return (formatted(text, spec, ex):gsub("^%S+ ", ""))
end

describe("text of messages", function()
  it("is a line with direction, type, size, payload and the number of the exchange", function()
    assert.equal('node:999999999 127.0.0.1:40002 -> 127.0.0.1:8080 WS text 5B "hello" [#7]\n',
      line { payload = "hello" })
    assert.equal('node:999999999 127.0.0.1:40002 <- 127.0.0.1:8080 WS ping 0B [#7]\n',
      line { type = C.PS_STREAM_PING, direction = C.PS_IN })
  end)

  it("has marks", function()
    assert.matches('WS close 3B "bye" %[code 1001%] %[#7%]\n$',
      line { type = C.PS_STREAM_CLOSE, close_code = 1001, payload = "bye" })
    assert.matches('WS binary 9B "abc" %[body cut 3B of 9B%] %[compressed%] %[after%-gap%] %[#7%]\n$',
      line { type = C.PS_STREAM_BINARY, payload = "abc", size_bytes = 9, state = C.PS_BODY_TRUNCATED,
        flags = C.PS_STREAM_COMPRESSED + C.PS_STREAM_AFTER_GAP })
    assert.matches('SSE add 1B "x" %[id 5%] %[#7%]\n$',
      line { protocol = C.PS_STREAM_SSE, type = C.PS_STREAM_EVENT, payload = "x", name = "add", event_id = "5" })
    assert.matches('SSE message 1B', line { protocol = C.PS_STREAM_SSE, type = C.PS_STREAM_EVENT, payload = "x" })
  end)

  it("cannot be broken by what was captured", function()
    for _, pair in ipairs(fixture.hostile) do
      local spec = { protocol = C.PS_STREAM_SSE, type = C.PS_STREAM_EVENT, payload = pair[1] .. "\n", name = pair[1],
        event_id = pair[1] .. " \n" }
      local _, lines = line(spec):gsub("\n", "")
      assert.equal(1, lines)
      assert.is_nil(line(spec):find(pair[1], 1, true))
      assert.is_nil(line(spec):find(fixture.CANARY, 1, true))
    end
  end)
end)

describe("an exchange that goes on", function()
  it("is marked at its start and at its end", function()
    local ex = exchange { protocol = C.PS_STREAM_WEBSOCKET }
    assert.matches(" 200 0B 6B 1.2ms %[started%] %[#7%]\n$", fixture.text_of(text.put_started, ex, options()))
    ex.request_messages, ex.response_messages = 2, 3
    assert.matches(' 1.2ms %[messages 2/3%] %[#7%] < "hello\\n"\n$', fixture.text_of(text.put, ex, options()))
  end)

  it("has a type of its own in JSON, and counts", function()
    local ex = exchange { protocol = C.PS_STREAM_SSE, response_messages = 3 }
    local started = cjson.decode(fixture.text_of(json.put_started, ex, options()))
    assert.same({ "started", 7 }, { started.type, started.id })
    assert.same({ protocol = "sse", decoded = true, request_messages = 0, response_messages = 3 }, started.stream)
    assert.equal("exchange", cjson.decode(fixture.text_of(json.put, ex, options())).type)
  end)
end)

-- Neither request nor response; the time is with the latter (src/websocket_conn.c).
describe("a WebSocket that was met in its middle", function()
  local ex = exchange {
    protocol = C.PS_STREAM_WEBSOCKET, request_messages = 1, response_messages = 2,
    flags = C.PS_EXCHANGE_STARTED + C.PS_EXCHANGE_MIDSTREAM + C.PS_EXCHANGE_TUNNEL,
  }
  ex.response.process = ex.request.process

  it("has its marks and no measures", function()
    assert.matches("%? %? %- %- %- %- %[midstream%] %[no response%] %[no request%] %[upgrade websocket%] " ..
      "%[messages 1/2%] %[#7%]\n$", fixture.text_of(text.put, ex, options()))
    local lines = fixture.text_of(verbose.put, ex, options())
    assert.matches("%[upgrade websocket%] %[messages 1/2%]\n\n$", lines)
  end)

  it("is null and null in JSON", function()
    local record = cjson.decode(fixture.text_of(json.put, ex, options()))
    assert.same({ cjson.null, cjson.null, false }, { record.request, record.response, record.complete })
    assert.same({ "midstream", "tunnel" }, record.flags)
    assert.is_nil(record.missing_response)
    assert.equal("websocket", record.stream.protocol)
  end)
end)

describe("JSON of messages", function()
  it("is the documented line, keys in their order", function()
    local ex = exchange()
    assert.equal('{"type":"message","schema":2,"exchange_id":7,"time":"2023-11-14T22:13:20.123456Z",'
      .. '"protocol":"websocket","message_type":"text","direction":"out","from":"client",'
      .. '"process":{"pid":999999999,"tid":999999999,"uid":1000,"comm":"node","cgroup_id":77},'
      .. '"connection":{"id":31337,"transport":"tcp","family":"ipv4","local":{"address":"127.0.0.1","port":40002},'
      .. '"remote":{"address":"127.0.0.1","port":8080},"midstream":false},"frames":1,"wire_bytes":7,'
      .. '"first_byte_unix_ns":1700000000123456789,"last_byte_unix_ns":1700000000123456789,'
      .. '"size_bytes":5,"captured_bytes":5,"state":"complete","text":"hello","flags":["compressed"]}\n',
      formatted(json, { payload = "hello", flags = C.PS_STREAM_COMPRESSED }, ex))
  end)

  it("has payloads that are no text in base64", function()
    assert.equal("/wA=", cjson.decode(formatted(json, { payload = "\255\0" })).base64)
  end)
end)

-- 1: "hello", 2 { 1: 150 }, 3: 42, 4: fixed32, 5: fixed64
local FIELDS = "\10\5hello\18\3\8\150\1\24\42\37\1\0\0\0\41\2\0\0\0\0\0\0\0"
local function grpc_message(changes)
  local spec = { protocol = C.PS_STREAM_GRPC, type = C.PS_STREAM_MESSAGE, payload = FIELDS }
  for name, value in pairs(changes or {}) do spec[name] = value end
  return spec
end

describe("gRPC", function()
  local ex = exchange { protocol = C.PS_STREAM_GRPC }

  it("messages are shown by field in full", function()
    local shown = formatted(verbose, grpc_message(), ex)
    assert.matches('1: "hello"\n2 {\n  1: 150\n}\n3: 42\n4: 0x00000001\n5: 0x0000000000000002\n', shown, 1, true)
  end)

  it("messages have their fields in JSON", function()
    assert.same({
      { field = 1, type = "bytes", text = "hello" },
      { field = 2, type = "message", fields = { { field = 1, type = "varint", value = 150 } } },
      { field = 3, type = "varint", value = 42 }, { field = 4, type = "fixed32", value = 1 },
      { field = 5, type = "fixed64", value = 2 },
    }, cjson.decode(formatted(json, grpc_message(), ex)).fields)
  end)

  it("messages that are cut have the fields that are there, others none", function()
    local cut = cjson.decode(formatted(json, grpc_message { payload = FIELDS:sub(1, 10), size_bytes = #FIELDS,
      state = C.PS_BODY_TRUNCATED }, ex))
    assert.same({ { field = 1, type = "bytes", text = "hello" } }, cut.fields)
    assert.is_nil(cjson.decode(formatted(json, grpc_message { payload = "\255\255" }, ex)).fields)
    assert.is_nil(cjson.decode(formatted(json, grpc_message { flags = C.PS_STREAM_UNDECODED }, ex)).fields)
  end)

  local function call_of(response, web_trailers)
    local call = fixture.exchange { request = fixture.request { target = "/a.b.Service/Get" },
      response = fixture.response(response) }
    call.protocol = C.PS_STREAM_GRPC
    if web_trailers then call.web_trailers = ffi.new("struct ps_slice", web_trailers, #web_trailers) end
    return call
  end

  it("status comes from trailers, headers, or the last frame of gRPC-Web", function()
    for _, call in ipairs {
      call_of { trailers = { { "grpc-status", "5" }, { "grpc-message", "no%20such" } } },
      call_of { headers = { { "grpc-status", "5" }, { "grpc-message", "no such" } } },
      call_of({}, "grpc-status: 5\r\ngrpc-message: no%20such\r\n"),
    } do
      local object = cjson.decode(fixture.text_of(json.put, call, options())).grpc
      assert.same({ service = "a.b.Service", method = "Get", status = 5, status_name = "NOT_FOUND",
        message = "no such", request_messages = 0, response_messages = 0 }, object)
      assert.matches(' [grpc NOT_FOUND: "no such"]', fixture.text_of(text.put, call, options()), 1, true)
    end
  end)

  it("has no status that it did not see", function()
    local call = call_of { trailers = { { "grpc-status", "abc" } } }
    assert.is_nil(cjson.decode(fixture.text_of(json.put, call, options())).grpc.status)
    assert.is_nil(fixture.text_of(text.put, call, options()):find("[grpc", 1, true))
  end)
end)
