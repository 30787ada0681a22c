-- SPDX-License-Identifier: Apache-2.0
local cjson = require "cjson"
local escape = require "plainsight.output.escape"
local ffi = require "ffi"
local fixture = require "exchange_fixture"
local json = require "plainsight.output.json"
local paths = require "plainsight.paths"

local C = ffi.C

local function format(spec)
  return json.format(fixture.exchange(spec), { clock_offset_ns = fixture.CLOCK_OFFSET_NS })
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
    assert.equal('{"type":"exchange","schema":1,"time":"2023-11-14T22:13:20.123456Z","side":"client","complete":true,'
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
    spec.request.process.comm = "other" -- the id may have been used again
    assert.is_nil(decoded(spec).process.exe)
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
    assert.equal('{"type":"summary","schema":1,"a":{"x":18446744073709551615,"y":-5},"b":1.5,'
      .. '"c":[1,"q\\"",true],"z":0}\n',
      json.report("summary", { z = 0, b = 1.5, a = { y = -5LL, x = 0xffffffffffffffffULL }, c = { 1, 'q"', true } }))
    assert.equal('{"type":"summary","schema":1}\n', json.report("summary", {}))
    assert.equal('{"type":"summary","schema":1,"n":9007199254740991}\n', json.report("summary", { n = 2 ^ 53 - 1 }))
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
    for key in pairs(found) do
      assert.matches("`" .. key .. "`", text, 1, true)
    end
    assert.matches(("`schema`[^\n]*%d"):format(json.SCHEMA), text)
  end)
end)
