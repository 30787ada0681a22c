-- SPDX-License-Identifier: Apache-2.0
local cjson = require "cjson"
local ffi = require "ffi"
local entry = require "plainsight.output.har_entry"
local fixture = require "exchange_fixture"
local parts = require "plainsight.output.har_url"

local C = ffi.C

local function decoded(spec, changes, opts, is_first, messages)
  local ex = fixture.exchange(spec)
  for name, value in pairs(changes or {}) do ex[name] = value end
  opts = opts or {}
  opts.clock_offset_ns = fixture.CLOCK_OFFSET_NS
  return cjson.decode(fixture.text_of(entry.put, ex, opts, is_first, messages))
end

local function posted(content_type, body, changes)
  local spec = { method = "POST", headers = { { "Content-Type", content_type } }, body = body }
  for name, value in pairs(changes or {}) do spec[name] = value end
  return decoded({ request = fixture.request(spec) }).request.postData
end

describe("har_url", function()
  it("encodes what is not of a URI, and nothing else", function()
    local fine = "http://[::1]:80/a-b._~:/?#[]@!$&'()*+,;=%20"
    assert.equal(fine, parts.encoded(fine))
    assert.equal("/%20%22%3C%C3%A9%0A%5C%7B%7C%7D%5E%60", parts.encoded('/ "<\195\169\n\\{|}^`'))
  end)

  it("takes queries and forms apart", function()
    assert.same({ { "a", "1" }, { "b", "x y" }, { "c", "" }, { "é", "=" }, { "", "v" }, { "bad", "%zz" } },
      parts.pairs("a=1&b=x+y&c&&%C3%A9=%3D&=v&bad=%zz"))
    assert.equal("a=?&b", parts.query("/p?a=?&b#c?d"))
    assert.equal("", parts.query("/p#a?b"))
    assert.equal("", parts.query("*"))
  end)

  it("takes cookies apart", function()
    local list = {}
    parts.add_cookies("a=1; b=x=y ;c; =d;e=", list)
    assert.same({ { "a", "1" }, { "b", "x=y" }, { "e", "" } }, list)
    assert.same({
      name = "id", value = "a3f=", path = "/x", domain = "a.test", expires = "2026-10-21T07:28:00Z", http_only = true,
      secure = true, same_site = "Lax",
    }, parts.set_cookie("id = a3f= ; Expires=Wed, 21 Oct 2026 07:28:00 GMT; PATH=/x; Domain=a.test; Secure; HttpOnly; "
      .. "SameSite=Lax; Max-Age=5"))
    assert.is_nil(parts.set_cookie("nothing; Path=/"))
    assert.same({ name = "a", value = "" }, parts.set_cookie("a=; Expires=soon"))
  end)

  it("reads the dates of HTTP", function()
    for text, iso in pairs {
      ["Sun, 06 Nov 1994 08:49:37 GMT"] = "1994-11-06T08:49:37Z",
      ["Sunday, 06-Nov-94 08:49:37 GMT"] = "1994-11-06T08:49:37Z",
      ["Sun Nov  6 08:49:37 1994"] = "1994-11-06T08:49:37Z",
      ["Thu, 01-Jan-2070 00:00:00 GMT"] = "2070-01-01T00:00:00Z",
      ["Thu, 01-Jan-69 00:00:00 GMT"] = "2069-01-01T00:00:00Z",
    } do assert.equal(iso, parts.iso_date(text)) end
    for _, text in ipairs { "", "0", "-1", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 32 Nov 1994 08:49:37 GMT",
      "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994" } do
      assert.is_nil(parts.iso_date(text))
    end
  end)
end)

describe("har_entry", function()
  it("has every field that HAR 1.2 wants, and says who it was", function()
    local process = { tgid = 999999999, tid = 5 } -- no such process: no "exe"
    assert.same({
      startedDateTime = "2023-11-14T22:13:20.123456Z", time = 1.2,
      request = {
        method = "GET", url = "http://localhost:8080/x?q=1", httpVersion = "HTTP/1.1", cookies = {},
        headers = { { name = "Host", value = "localhost:8080" } }, queryString = { { name = "q", value = "1" } },
        headersSize = 40, bodySize = 0, _transferSize = 40,
      },
      response = {
        status = 200, statusText = "OK", httpVersion = "HTTP/1.1", cookies = {},
        headers = { { name = "Content-Length", value = "6" } },
        content = { size = 6, mimeType = "x-unknown", text = "hello\n" }, redirectURL = "", headersSize = 38,
        bodySize = 6, _transferSize = 44,
      },
      cache = {},
      timings = { blocked = -1, dns = -1, connect = -1, ssl = -1, send = 0, wait = 1, receive = 0.2 },
      serverIPAddress = "127.0.0.1", connection = "8080", _connectionId = 31337,
      _process = { pid = 999999999, tid = 5, uid = 1000, comm = "curl" }, _side = "client", _exchangeId = 0,
    }, decoded { request = fixture.request { process = process }, response = fixture.response { process = process } })
  end)

  it("has phases that add up, also when the response begins before the request ends", function()
    local first = fixture.FIRST_TS_NS
    local overlapping = decoded {
      request = fixture.request { last_ts_ns = first + 5000000 },
      response = fixture.response { first_ts_ns = first + 2000000, last_ts_ns = first + 9000000 },
    }
    assert.same({ blocked = -1, dns = -1, connect = -1, ssl = -1, send = 2, wait = 0, receive = 7 },
      overlapping.timings)
    assert.equal(9, overlapping.time)
    local alone = decoded { request = fixture.request { last_ts_ns = first + 5000000 }, response = false }
    assert.equal(5, alone.time)
    assert.equal(5, alone.timings.send)
  end)

  it("gives the handshake to the first exchange of a session, which starts with it", function()
    local opts = { library_of = function() return { type = "openssl", version = "3.0.19", path = "/x" } end }
    local changes = { library = 1, handshake_ns = 2000000 }
    local first = decoded({}, changes, opts, true)
    assert.equal("2023-11-14T22:13:20.121456Z", first.startedDateTime)
    assert.same({ 2, 2, 3.2 }, { first.timings.ssl, first.timings.connect, first.time })
    assert.same({ library = "openssl", version = "3.0.19" }, first._tls)
    local later = decoded({}, changes, opts, false)
    assert.same({ -1, 1.2, "2023-11-14T22:13:20.123456Z" },
      { later.timings.ssl, later.time, later.startedDateTime })
  end)

  it("has forms as parameters, other bodies as text or in base64", function()
    assert.same({ mimeType = "application/x-www-form-urlencoded; charset=utf-8",
      params = { { name = "a", value = "b c" } } },
      posted("application/x-www-form-urlencoded; charset=utf-8", "a=b+c"))
    assert.same({ mimeType = "application/json", text = "{}" }, posted("application/json", "{}"))
    assert.same({ mimeType = "x/y", text = "AP8=", _encoding = "base64" }, posted("x/y", "\0\255"))
    assert.same({ mimeType = "application/x-www-form-urlencoded", text = "a=b&c" }, -- cut: what c is is not known
      posted("application/x-www-form-urlencoded", "a=b&c",
        { size_bytes = 100, state = C.PS_BODY_TRUNCATED }))
    assert.is_nil(posted("application/json", ""))
  end)

  it("says what is missing", function()
    local loss = decoded { response = fixture.response { size_bytes = 100, state = C.PS_BODY_GAP, gap_offset = 6,
      gap_bytes = 90, flags = C.PS_MESSAGE_LOST_TAIL }, flags = C.PS_EXCHANGE_MIDSTREAM }._loss
    assert.same({ flags = { "midstream" }, response = { body = "gap", flags = { "lost-tail" }, gap_bytes = 90,
      gap_offset_bytes = 6, kept_bytes = 6, size_bytes = 100 } }, loss)
    assert.is_nil(decoded()._loss)
    assert.is_nil(decoded({ response = fixture.response { flags = C.PS_MESSAGE_COMPLETE + C.PS_MESSAGE_FROM_FILE } })
      ._loss)
  end)

  it("has a status of 0 and a reason without response", function()
    for flags, reason in pairs { [C.PS_MESSAGE_ABORTED] = "aborted", [C.PS_MESSAGE_UNFINISHED] = "unfinished", [0] =
      "unknown" } do
      local response = decoded({ response = false, missing_flags = flags }).response
      assert.same({ 0, reason }, { response.status, response._error })
    end
    assert.equal("unknown status", decoded({ response = fixture.response { status = 0 } }).response._error)
  end)

  it("has a URI in any case", function()
    local function url(spec, changes) return decoded(spec, changes).request.url end
    assert.equal("http://a.test:443", url { request = fixture.request { method = "CONNECT", target = "a.test:443" } })
    assert.equal("http://localhost:8080", url { request = fixture.request { method = "OPTIONS", target = "*" } })
    assert.equal("https://a.test", url { request = fixture.request_h2 { target = "" } })
    assert.equal("http://127.0.0.1:8080", url { request = false })
    assert.equal("http://localhost:8080/%C3%A9%FF%20", url { request = fixture.request { target = "/é\255 " } })
  end)

  it("leaves out names and values that are unknown", function()
    local request = fixture.request_h2 { headers = { fixture.UNKNOWN_HEADER, { "a", "b" } },
      flags = C.PS_MESSAGE_COMPLETE + C.PS_MESSAGE_UNKNOWN }
    local told = decoded { request = request, stream_id = 1 }
    assert.same({ { name = "a", value = "b" } }, told.request.headers)
    assert.same({ request = { flags = { "unknown-headers" } } }, told._loss)
    assert.equal("HTTP/2", told.request.httpVersion)
    assert.equal(1, told._streamId)
  end)

  it("names the container when it is known, and a unix socket", function()
    local opts = { container_of = function(process)
      return { id = tostring(process.tgid), labels = { a = "b" }, live = true, path = "/x" }
    end }
    assert.same({ id = "4242", labels = { a = "b" } }, decoded({}, nil, opts)._container)
    assert.is_nil(decoded({}, nil, { container_of = function() return nil end })._container)
    local unix = decoded { unix_path = "/run/x.sock", request = fixture.request { headers = {} } }
    assert.same({ "/run/x.sock", "http://unix:/run/x.sock:/x?q=1" }, { unix._unixSocket, unix.request.url })
    assert.is_nil(unix.serverIPAddress)
  end)

  it("has bytes of a head that are no UTF-8 as ISO 8859-1", function()
    local told = decoded { response = fixture.response { reason = "\233", headers = { { "X", "\"\255\1" } } } }
    assert.equal("é", told.response.statusText)
    assert.equal("\"ÿ\1", told.response.headers[1].value)
  end)

  it("is JSON whatever was captured", function()
    local hostile = {}
    for _, pair in ipairs(fixture.hostile) do hostile[#hostile + 1] = pair[1] end
    for byte = 0, 255 do hostile[#hostile + 1] = string.char(byte) .. '"\\' end
    for _, bytes in ipairs(hostile) do
      local headers = { { bytes, bytes }, { "Cookie", bytes .. "=" .. bytes }, { "Content-Type", bytes },
        { "Set-Cookie", bytes .. "=" .. bytes .. ";path=" .. bytes .. ";expires=" .. bytes }, { "Location", bytes } }
      local target = "/" .. bytes .. "?" .. bytes .. "=%zz&"
      local request = fixture.request { method = bytes, target = target, headers = headers, body = bytes,
        process = { comm = bytes, tgid = 999999999 } }
      local told = decoded { request = request, response = fixture.response { reason = bytes, headers = headers,
        body = bytes }, unix_path = bytes }
      assert.matches("^[%w%-._~:/?#%[%]@!$&'()*+,;=%%]+$", told.request.url)
      assert.equal(#headers, #told.response.headers)
    end
  end)

  it("has messages of a WebSocket as Chromium writes them", function()
    local opts = { clock_offset_ns = fixture.CLOCK_OFFSET_NS }
    local function message(spec, is_from_client)
      return cjson.decode(fixture.text_of(entry.put_message, fixture.message(spec), is_from_client, opts))
    end
    assert.same({ type = "send", time = 1700000000.123457, opcode = 1, data = 'a"b' },
      message({ payload = 'a"b' }, true))
    assert.same({ type = "receive", time = 1700000000.123457, opcode = 2, data = "AP8=" },
      message({ payload = "\0\255", type = C.PS_STREAM_BINARY }, false))
    assert.same({ type = "send", time = 1700000000.123457, opcode = 1, data = "ab", _state = "truncated",
      _size_bytes = 9, _flags = { "after-gap" } }, message({ payload = "ab", size_bytes = 9,
        state = C.PS_BODY_TRUNCATED, flags = C.PS_STREAM_AFTER_GAP }, true))
    local messages = { text = '{"type":"send"}', dropped = 2 }
    local told = decoded({}, { protocol = C.PS_STREAM_WEBSOCKET }, nil, false, messages)
    assert.same({ "websocket", { { type = "send" } }, { messages_dropped = 2 } },
      { told._resourceType, told._webSocketMessages, told._loss })
  end)
end)
