-- SPDX-License-Identifier: Apache-2.0
local cjson = require "cjson"
local escape = require "plainsight.output.escape"
local ffi = require "ffi"
local fixture = require "exchange_fixture"
local json = require "plainsight.output.json"
local paths = require "plainsight.paths"

local C = ffi.C

local function format(spec)
  return fixture.text_of(json.put, fixture.exchange(spec), { clock_offset_ns = fixture.CLOCK_OFFSET_NS })
end

local function decoded(spec)
  return cjson.decode(format(spec))
end

local function response_body(changes)
  return decoded({ response = fixture.response(changes) }).response.body
end

-- What coreutils make of our base64.
local function from_base64(text)
  local name = os.tmpname()
  local file = assert(io.open(name, "wb"))
  file:write(text)
  file:close()
  local pipe = io.popen("base64 -d " .. name)
  local bytes = pipe:read("*a")
  pipe:close()
  os.remove(name)
  return bytes
end

describe("json.format", function()
  it("is the documented line, keys in their order", function()
    local process = { tgid = 999999999, tid = 5 } -- no such process: no "exe"
    local line = format { request = fixture.request { process = process },
      response = fixture.response { process = process } }
    assert.equal('{"type":"exchange","schema":2,"id":0,"time":"2023-11-14T22:13:20.123456Z",'
      .. '"side":"client","complete":true,'
      .. '"process":{"pid":999999999,"tid":5,"uid":1000,"comm":"curl","cgroup_id":77},'
      .. '"connection":{"id":31337,"transport":"tcp","family":"ipv4","local":{"address":"127.0.0.1","port":40002},'
      .. '"remote":{"address":"127.0.0.1","port":8080},"midstream":false},'
      .. '"request":{"method":"GET","target":"/x?q=1","url":"http://localhost:8080/x?q=1","version":"1.1",'
      .. '"headers":[{"name":"Host","value":"localhost:8080"}],"trailers":[],"head_bytes":40,"wire_bytes":40,'
      .. '"first_byte_unix_ns":1700000000123456789,"last_byte_unix_ns":1700000000123456789,'
      .. '"body":{"size_bytes":0,"captured_bytes":0,"state":"complete","framing":"none"},"flags":[]},'
      .. '"response":{"status":200,"reason":"OK","interim":[],"version":"1.1",'
      .. '"headers":[{"name":"Content-Length","value":"6"}],"trailers":[],"head_bytes":38,"wire_bytes":44,'
      .. '"first_byte_unix_ns":1700000000124456789,"last_byte_unix_ns":1700000000124656789,'
      .. '"body":{"size_bytes":6,"captured_bytes":6,"state":"complete","framing":"length","text":"hello\\n"},'
      .. '"flags":[]},'
      .. '"duration_ns":1200000,"time_to_first_byte_ns":1000000,"flags":[]}\n', line)
  end)

  describe("of a process in a container", function()
    local function of(container, ns_tgid)
      local process = { tgid = 999999999, tid = 5, ns_tgid = ns_tgid }
      local ex = fixture.exchange { request = fixture.request { process = process } }
      return fixture.text_of(json.put, ex, { clock_offset_ns = fixture.CLOCK_OFFSET_NS,
        container_of = function() return container end })
    end

    it("tells it, and the process id there", function()
      local line = of({ id = "ab", name = "web", image = "web:1", runtime = "docker", labels = { app = "x" } }, 7)
      assert.matches('"cgroup_id":77,"ns_pid":7},"container":{"id":"ab","image":"web:1","labels":{"app":"x"},'
        .. '"name":"web","runtime":"docker"},"connection":{', line, 1, true)
    end)

    it("tells the pod, with its labels", function()
      local line = of({ id = "ab", pod = "web-0", namespace = "shop", pod_uid = "u", labels = { app = "x" } })
      assert.matches('"container":{"id":"ab","pod":{"labels":{"app":"x"},"name":"web-0","namespace":"shop",'
        .. '"uid":"u"}},', line, 1, true)
    end)

    it("tells what is learnt later", function()
      local container = { id = "ab", generation = 1 }
      assert.matches('"container":{"id":"ab"},', of(container), 1, true)
      container.generation, container.name = 2, "web"
      assert.matches('"container":{"id":"ab","name":"web"},', of(container), 1, true)
    end)

    it("tells none of a process that is in none, and no id that is the same", function()
      local line = of(nil, 999999999)
      assert.is_nil(line:find("container", 1, true))
      assert.is_nil(line:find("ns_pid", 1, true))
    end)
  end)

  -- An exchange of a TLS session. changes: fields of struct ps_exchange.
  local function of_session(spec, changes)
    local library = { type = "openssl", title = "OpenSSL", version = "3.0.19", path = "/lib/libssl.so.3" }
    local opts = {
      clock_offset_ns = fixture.CLOCK_OFFSET_NS,
      library_of = function(number) return number == 7 and library or { type = "go", path = '/opt/"x"' } end,
    }
    local ex = fixture.exchange(spec)
    ex.library, ex.resolved, ex.socket_id = 7, C.PS_RESOLVED_NESTED, 4711
    for name, value in pairs(changes or {}) do ex[name] = value end
    return fixture.text_of(json.put, ex, opts)
  end

  it("tells the TLS session, and the socket below it", function()
    local info = ffi.new("struct ps_tls_info[1]", { {
      protocol = 0x0303, cipher = 0xc02f, server_name = "localhost", alpn = "http/1.1", alpn_offered = "h2,http/1.1",
    } })
    local line = of_session({}, { tls = info, handshake_ns = 1500000 })
    assert.matches('"connection":{"id":4711,"transport":"tcp","family":"ipv4",', line, 1, true)
    assert.matches('"midstream":false},"tls":{"library":"openssl","version":"3.0.19","path":"/lib/libssl.so.3",'
      .. '"session":31337,"resolved":"nested","protocol":"TLSv1.2","cipher":"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",'
      .. '"server_name":"localhost","alpn":"http/1.1","alpn_offered":"h2,http/1.1","handshake_ns":1500000},'
      .. '"request":{', line, 1, true)
    assert.matches('"url":"https://localhost:8080/x?q=1"', line, 1, true)
    assert.is_nil(decoded({}).tls)
  end)

  it("leaves out what is not known of a session", function()
    local nowhere = { family = C.PS_FAMILY_NONE, addr = { 0, 0, 0, 0 } }
    local line = of_session({ local_end = nowhere, remote_end = nowhere },
      { library = 8, resolved = C.PS_RESOLVED_NONE, socket_id = 0 })
    assert.matches('"connection":{"id":0,"transport":"unknown","family":"unknown","midstream":false},'
      .. '"tls":{"library":"go","path":"/opt/\\"x\\"","session":31337,"resolved":"none"},"request"', line, 1, true)
  end)

  it("keeps all digits of 64-bit integers", function()
    local line = format { conn_id = 0xffffffffffffffffULL,
      response = fixture.response { wire_bytes = 9007199254740993ULL, size_bytes = 0x8000000000000001ULL } }
    assert.matches('"id":18446744073709551615,', line, 1, true)
    assert.matches('"wire_bytes":9007199254740993,', line, 1, true)
    assert.matches('"size_bytes":9223372036854775809,', line, 1, true)
  end)

  it("gives the executable of a process that runs, and of one that has gone since", function()
    local pid = tonumber(io.open("/proc/self/stat"):read("*n"))
    local spec = { request = fixture.request { process = { tgid = pid, comm = "itself" } } }
    assert.matches("luajit", decoded(spec).process.exe, 1, true)
    local pipe = io.popen("echo $$; exec sleep 0.3")
    local child = tonumber(pipe:read("*l"))
    spec = { request = fixture.request { process = { tgid = child, comm = "sleep" } } }
    local exe = decoded(spec).process.exe
    pipe:close()
    assert.matches("^/", exe)
    assert.equal(exe, decoded(spec).process.exe)
    spec.request.first_ts_ns = fixture.FIRST_TS_NS + 1000000000ULL -- late enough for another look
    assert.equal(exe, decoded(spec).process.exe)
    spec.request.process.comm = "other" -- the id may have been used again
    assert.is_nil(decoded(spec).process.exe)
  end)

  it("knows no executable of a process that was never there", function()
    local process = { tgid = 999999997, comm = "nobody" }
    for _ = 1, 2 do assert.is_nil(decoded({ request = fixture.request { process = process } }).process.exe) end
  end)

  it("sees the executable change with a later call", function()
    local pipe = io.popen("echo $$; sleep 0.2; exec sleep 0.3")
    local process = { tgid = tonumber(pipe:read("*l")), comm = "either" }
    local before = decoded({ request = fixture.request { process = process } }).process.exe
    os.execute "sleep 0.35"
    local later = { process = process, first_ts_ns = fixture.FIRST_TS_NS + 1000000000ULL }
    local after = decoded({ request = fixture.request(later) }).process.exe
    pipe:close()
    assert.matches("sh$", before)
    assert.matches("sleep$", after)
  end)

  it("names the process that answered when it is another one", function()
    assert.is_nil(decoded().response.process)
    local other = decoded { response = fixture.response { process = { tgid = 999999998, comm = "worker" } } }
    assert.equal(999999998, other.response.process.pid)
    assert.equal("worker", other.response.process.comm)
    assert.equal(4242, other.process.pid)
  end)

  it("describes every kind of connection", function()
    local six = { family = C.PS_FAMILY_INET6, port = 80, addr = { 0xfe, 0x80, [16] = 1 } }
    for i = 3, 15 do six.addr[i] = 0 end
    local connection = decoded({ local_end = six, remote_end = six }).connection
    assert.same({ address = "fe80::1", port = 80 }, connection["local"])
    assert.equal("ipv6", connection.family)
    assert.same({ id = 31337, transport = "unix", family = "unix", path = "/run/a b.sock", midstream = true },
      decoded({ unix_path = "/run/a b.sock", flags = C.PS_EXCHANGE_MIDSTREAM }).connection)
    assert.same({ id = 31337, transport = "unix", family = "unix", midstream = false },
      decoded({ unix_path = "" }).connection)
    assert.equal("http://unix:/run/a b.sock:/x?q=1",
      decoded({ unix_path = "/run/a b.sock", request = fixture.request { headers = {} } }).request.url)
  end)

  it("tells text from bytes", function()
    assert.equal(fixture.printable, response_body({ body = fixture.printable }).text)
    assert.equal("\0\1\127/\\\"", response_body({ body = "\0\1\127/\\\"" }).text)
    local body = response_body { body = "\255\254" }
    assert.is_nil(body.text)
    assert.equal("//4=", body.base64)
    assert.equal("/w==", response_body({ body = "\255" }).base64)
    assert.equal("////", response_body({ body = "\255\255\255" }).base64)
    assert.is_nil(response_body({ body = "" }).text)
    assert.is_nil(response_body({ body = "" }).base64)
  end)

  it("writes base64 that another reader decodes", function()
    local bytes = {}
    for i = 0, 255 do bytes[#bytes + 1] = string.char(255 - i) end
    local all = table.concat(bytes)
    for len = 250, 256 do
      local body = response_body { body = all:sub(1, len) }
      assert.equal(all:sub(1, len), from_base64(body.base64))
    end
  end)

  it("takes a text that was cut inside a character for text, and only then", function()
    local body = response_body { body = "abc\226\130", size_bytes = 100, state = C.PS_BODY_TRUNCATED }
    assert.equal("abc", body.text)
    assert.equal(3, body.captured_bytes)
    assert.equal(100, body.size_bytes)
    assert.equal("truncated", body.state)
    assert.equal("YWJj4oI=", response_body({ body = "abc\226\130" }).base64)
    assert.equal("gGFi", response_body({ body = "\128ab", size_bytes = 9, state = C.PS_BODY_TRUNCATED }).base64)
  end)

  it("tells where bytes are missing", function()
    local body = response_body {
      body = "abc", size_bytes = 100, state = C.PS_BODY_GAP, gap_offset = 3, gap_bytes = 50,
    }
    assert.same({ size_bytes = 100, captured_bytes = 3, state = "gap", framing = "length", gap_offset_bytes = 3,
      gap_bytes = 50, text = "abc" }, body)
    assert.is_nil(response_body({}).gap_bytes)
  end)

  it("says whether everything is there", function()
    local function is_complete(spec) return decoded(spec).complete end
    local function with_response(changes) return { response = fixture.response(changes) } end
    assert.is_true(is_complete())
    assert.is_true(is_complete(with_response { state = C.PS_BODY_TRUNCATED, size_bytes = 10 }))
    assert.is_true(is_complete { response = fixture.response { flags = 0 }, flags = C.PS_EXCHANGE_TUNNEL })
    assert.is_false(is_complete { request = false })
    assert.is_false(is_complete { response = false })
    assert.is_false(is_complete(with_response { flags = 0 }))
    assert.is_false(is_complete(with_response { flags = C.PS_MESSAGE_ABORTED }))
    assert.is_false(is_complete(with_response { flags = C.PS_MESSAGE_COMPLETE + C.PS_MESSAGE_LOST_TAIL }))
    assert.is_false(is_complete(with_response { state = C.PS_BODY_GAP }))
    assert.is_false(is_complete { request = fixture.request { gap_bytes = 1 } })
  end)

  it("says why there is no response, and null is null", function()
    local exchange = decoded { response = false, missing_flags = C.PS_MESSAGE_UNFINISHED }
    assert.equal(cjson.null, exchange.response)
    assert.equal("unfinished", exchange.missing_response)
    assert.is_nil(exchange.duration_ns)
    assert.is_nil(exchange.interim)
    assert.equal("unknown", decoded({ response = false }).missing_response)
    assert.same({ 100 }, decoded({ response = false, interim = { 100 } }).interim)
    exchange = decoded { request = false }
    assert.equal(cjson.null, exchange.request)
    assert.equal("2023-11-14T22:13:20.124456Z", exchange.time)
    assert.is_nil(exchange.missing_response)
  end)

  it("lists flags, interim statuses and trailers", function()
    local exchange = decoded {
      flags = C.PS_EXCHANGE_MIDSTREAM + C.PS_EXCHANGE_AFTER_GAP + C.PS_EXCHANGE_TUNNEL, interim = { 100, 103 },
      request = fixture.request { trailers = { { "A", "b" } }, flags = 127 },
    }
    assert.same({ "midstream", "after-gap", "tunnel" }, exchange.flags)
    assert.same({ 100, 103 }, exchange.response.interim)
    assert.same({ { name = "A", value = "b" } }, exchange.request.trailers)
    assert.same({ "aborted", "unfinished", "lost-tail", "head-cut", "ambiguous-framing", "bad-chunk" },
      exchange.request.flags)
  end)

  it("tells HTTP/2 with its stream and pseudo-headers", function()
    local request = fixture.request_h2 { method = "CONNECT", protocol = "websocket" }
    local exchange = decoded { request = request, response = fixture.response_h2(), stream_id = 7 }
    assert.equal(7, exchange.stream_id)
    assert.equal("2", exchange.request.version)
    assert.equal("https://a.test/x", exchange.request.url)
    assert.same({ "/x", "https", "a.test", "websocket" }, { exchange.request.target, exchange.request.scheme,
      exchange.request.authority, exchange.request.protocol })
    assert.equal("h2", exchange.response.body.framing)
    assert.is_nil(exchange.error_code)
    assert.is_nil(decoded().stream_id)
  end)

  it("tells why a stream was reset", function()
    local exchange = decoded { request = fixture.request_h2(), response = false, stream_id = 1,
      flags = C.PS_EXCHANGE_RESET + C.PS_EXCHANGE_PUSHED, error_code = 0xffffffff }
    assert.equal(0xffffffff, exchange.error_code)
    assert.same({ "pushed", "reset" }, exchange.flags)
  end)

  it("has null for what is unknown", function()
    local flags = C.PS_MESSAGE_COMPLETE + C.PS_MESSAGE_UNKNOWN
    local known_value = { "", "v", flags = C.PS_HEADER_NAME_UNKNOWN }
    local exchange = decoded {
      request = fixture.request_h2 { method = "", target = "", flags = flags,
        headers = { fixture.UNKNOWN_HEADER, known_value } },
      response = fixture.response_h2 { status = 0, flags = flags }, stream_id = 1,
    }
    local request = exchange.request
    assert.same({ cjson.null, cjson.null, cjson.null }, { request.method, request.target, request.url })
    assert.same({ { name = cjson.null, value = cjson.null }, { name = cjson.null, value = "v" } }, request.headers)
    assert.same({ "unknown-headers" }, request.flags)
    assert.equal(cjson.null, exchange.response.status)
  end)

  it("gives the authority of a CONNECT as URL", function()
    local request = fixture.request_h2 { method = "CONNECT", target = "", scheme = "", authority = "b.test:443" }
    local exchange = decoded { request = request, response = fixture.response_h2(), stream_id = 1 }
    assert.same({ cjson.null, "b.test:443" }, { exchange.request.target, exchange.request.url })
  end)

  it("reads heads as ISO 8859-1 when they are not UTF-8", function()
    local headers = decoded({ response = fixture.response {
      reason = "d\233j\224", headers = { { "A", "caf\233 \255" }, { "B", "caf\195\169" } },
    } }).response
    assert.equal("déjà", headers.reason)
    assert.equal("café ÿ", headers.headers[1].value)
    assert.equal("café", headers.headers[2].value)
  end)

  for _, pair in ipairs(fixture.hostile) do
    it("writes " .. pair[2] .. " so that neither a reader nor a terminal is fooled", function()
      local bytes = "a" .. pair[1] .. "z"
      local line = format {
        unix_path = bytes,
        request = fixture.request { method = bytes, target = bytes, headers = { { bytes, bytes } }, body = bytes,
          process = { comm = bytes } },
        response = fixture.response { reason = bytes, trailers = { { bytes, bytes } }, body = bytes },
      }
      assert.is_nil(line:sub(1, -2):find("[%z\1-\31\127]"))
      assert.is_nil(line:find("\194[\128-\159]"))
      assert.is_nil(line:find("\226\128[\139\142\143\168-\174]"))
      assert.is_nil(line:find("\239\187\191"))
      assert.is_nil(line:find("\226\129[\166-\169]"))
      assert.is_nil(line:find("\216\156"))
      assert.equal(#line, (escape.utf8_prefix(line, #line)))
      local response = cjson.decode(line).response
      local captured = response.body.text
      if captured then
        assert.equal(bytes, captured)
        assert.equal(bytes, response.reason)
      else
        assert.equal(bytes, from_base64(response.body.base64))
      end
    end)
  end

  it("escapes a deceptive character among others, and only that", function()
    local line = format { response = fixture.response { body = fixture.printable .. "\226\128\174" } }
    assert.matches('"text":"' .. fixture.printable .. '\\u202e"', line, 1, true)
  end)

  it("leaves slashes as they are, and backslashes before them", function()
    for _, text in ipairs { "/", "\\/", "\\\\/", "//\\//", "\\" } do
      assert.equal(text, response_body({ body = text }).text)
    end
    assert.matches('"url":"http://localhost:8080/x?q=1"', format(), 1, true)
  end)

  it("reads no byte beyond a slice", function()
    local line = format { unix_path = "/p", request = fixture.request { body = "\255" } }
    assert.is_nil(line:find(fixture.CANARY, 1, true))
  end)
end)

describe("json.report", function()
  it("writes sorted keys after type and schema", function()
    assert.equal('{"type":"summary","schema":2,"a":{"x":18446744073709551615,"y":-5},"b":1.5,'
      .. '"c":[1,"q\\"",true],"z":0}\n',
      json.report("summary", { z = 0, b = 1.5, a = { y = -5LL, x = 0xffffffffffffffffULL }, c = { 1, 'q"', true } }))
    assert.equal('{"type":"summary","schema":2}\n', json.report("summary", {}))
    assert.equal('{"type":"summary","schema":2,"n":9007199254740991}\n', json.report("summary", { n = 2 ^ 53 - 1 }))
  end)

  it("refuses what JSON cannot say", function()
    assert.has_error(function() json.report("summary", { x = 0 / 0 }) end)
    assert.has_error(function() json.report("summary", { x = math.huge }) end)
    assert.has_error(function() json.report("summary", { x = print }) end)
  end)
end)

describe("docs/json.md", function()
  local text = assert(paths.read(paths.file("docs/json.md")))

  -- Every key of an object and of what is in it.
  local function keys_of(object, found)
    for key, value in pairs(object) do
      if type(key) == "string" then found[key] = true end
      if type(value) == "table" then keys_of(value, found) end
    end
    return found
  end

  it("describes every field and the schema's version", function()
    local full = decoded {
      request = fixture.request { process = { tgid = tonumber(io.open("/proc/self/stat"):read("*n")) } },
      response = fixture.response { state = C.PS_BODY_GAP, gap_bytes = 1, body = "\255", trailers = { { "A", "b" } } },
    }
    local found = keys_of(full, {})
    keys_of(decoded { unix_path = "/p", response = false }, found)
    keys_of(decoded { request = fixture.request_h2 { protocol = "p" }, stream_id = 1, flags = C.PS_EXCHANGE_RESET },
      found)
    keys_of(decoded { response = fixture.response { headers = {
      { "Content-Encoding", "br" }, { "Content-Type", "text/plain; charset=utf-16be" },
    }, body = "\139\1\128\0h\0i\3" } }, found)
    local call = fixture.exchange {
      request = fixture.request { target = "/a.Service/Get" },
      response = fixture.response { trailers = { { "grpc-status", "5" }, { "grpc-message", "no" } } },
    }
    call.protocol = C.PS_STREAM_GRPC
    keys_of(cjson.decode(fixture.text_of(json.put_started, call, { clock_offset_ns = 0 })), found)
    local message = fixture.message { protocol = C.PS_STREAM_GRPC, type = C.PS_STREAM_MESSAGE, payload = "\8\1",
      name = "n", event_id = "1", close_code = 1000 }
    keys_of(cjson.decode(fixture.text_of(json.put_message, fixture.message_item(call, message),
      { clock_offset_ns = 0 })), found)
    assert.is_true(found.decoded_size_bytes and found.charset and found.status_name and found.fields)
    for key in pairs(found) do
      assert.matches("`" .. key .. "`", text, 1, true)
    end
    assert.matches(("`schema`[^\n]*%d"):format(json.SCHEMA), text)
  end)
end)
