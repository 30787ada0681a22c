-- SPDX-License-Identifier: Apache-2.0
local ffi = require "ffi"
local fields = require "plainsight.output.fields"
local fixture = require "exchange_fixture"
local text = require "plainsight.output.text"

local C = ffi.C
local TIME = os.date("%H:%M:%S", fixture.FIRST_UNIX_S) .. ".123"

local function format(spec, changes)
  local opts = { preview_bytes = 96, color = false, clock_offset_ns = fixture.CLOCK_OFFSET_NS }
  for key, value in pairs(changes or {}) do opts[key] = value end
  return fixture.text_of(text.put, fixture.exchange(spec), opts)
end

local function with_response(changes)
  return { response = fixture.response(changes) }
end

local function with_request(changes)
  return { request = fixture.request(changes) }
end

local function words(line)
  local list = {}
  for word in line:gmatch("%S+") do list[#list + 1] = word end
  return list
end

local function url_of(spec)
  return words(format(spec))[7]
end

describe("text.format", function()
  it("is the documented line", function()
    assert.equal(TIME .. " curl:4242 127.0.0.1:40002 -> 127.0.0.1:8080 GET http://localhost:8080/x?q=1 200 0B 6B 1.2ms"
      .. ' < "hello\\n"\n', format())
  end)

  it("is the same for HTTP/2", function()
    local spec = { request = fixture.request_h2(), response = fixture.response_h2(), stream_id = 1 }
    assert.matches(' GET https://a.test/x 200 0B 6B 1.2ms < "hello\\n"\n', format(spec), 1, true)
    spec.flags, spec.error_code = C.PS_EXCHANGE_RESET, 8
    assert.matches(" 1.2ms [reset CANCEL] <", format(spec), 1, true)
    spec.flags, spec.error_code = C.PS_EXCHANGE_RESET + C.PS_EXCHANGE_PUSHED, 99
    assert.matches(" 1.2ms [pushed] [reset 99] <", format(spec), 1, true)
  end)

  it("has a question mark for what is unknown", function()
    local flags = C.PS_MESSAGE_COMPLETE + C.PS_MESSAGE_UNKNOWN
    local request = fixture.request_h2 { method = "", target = "", flags = flags }
    local line = format { request = request, response = fixture.response_h2 { status = 0 }, stream_id = 1 }
    assert.matches(" 127.0.0.1:8080 ? ? ? 0B 6B 1.2ms > [unknown-headers] <", line, 1, true)
  end)

  it("names the protocol of a stream that became a tunnel", function()
    local request = fixture.request_h2 { method = "CONNECT", protocol = "websocket" }
    local spec = { request = request, response = fixture.response_h2(), flags = C.PS_EXCHANGE_TUNNEL, stream_id = 1 }
    assert.matches(" CONNECT https://a.test/x 200 ", format(spec), 1, true)
    assert.matches(" [upgrade websocket] ", format(spec), 1, true)
  end)

  it("shows both bodies, request first", function()
    local line = format { request = fixture.request { method = "POST", body = '{"a":1}' } }
    assert.matches('200 7B 6B 1.2ms > "{\\"a\\":1}" < "hello\\n"\n', line, 1, true)
  end)

  it("turns the arrow around for a server", function()
    local spec = { side = C.PS_SIDE_SERVER, local_end = { port = 80 }, remote_end = { port = 5555 } }
    assert.matches(" 127.0.0.1:80 <- 127.0.0.1:5555 GET ", format(spec), 1, true)
    spec.side = C.PS_SIDE_UNKNOWN
    assert.matches(" 127.0.0.1:80 -- 127.0.0.1:5555 GET ", format(spec), 1, true)
  end)

  it("puts IPv6 addresses in brackets", function()
    local one = { family = C.PS_FAMILY_INET6, port = 80, addr = { [16] = 1 } }
    for i = 1, 15 do one.addr[i] = 0 end
    local other = { family = C.PS_FAMILY_INET6, port = 65535, addr = { 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0,
      0, 0, 0, 0xab } }
    local line = format { local_end = one, remote_end = other, request = fixture.request { headers = {} } }
    assert.matches(" [::1]:80 -> [2001:db8::ab]:65535 GET http://[2001:db8::ab]:65535/x?q=1 ", line, 1, true)
  end)

  it("shows unix sockets by path at the server's end", function()
    local bare = fixture.request { headers = {} }
    assert.matches(" - -> unix:/run/x.sock GET http://localhost:8080/x?q=1 ",
      format { unix_path = "/run/x.sock" }, 1, true)
    assert.matches(" - -> unix:/run/x.sock GET http://unix:/run/x.sock:/x?q=1 ",
      format { unix_path = "/run/x.sock", request = bare }, 1, true)
    assert.matches(" unix:@name <- - GET ", format { unix_path = "@name", side = C.PS_SIDE_SERVER }, 1, true)
    assert.matches(" - -> unix:- GET ", format { unix_path = "" }, 1, true)
  end)

  it("shows ends that are not known as one character each", function()
    local nowhere = { family = C.PS_FAMILY_NONE, addr = { 0, 0, 0, 0 } }
    local line = format { local_end = nowhere, remote_end = nowhere, request = fixture.request { headers = {} } }
    assert.matches(" ? -> ? GET http://?/x?q=1 200 ", line, 1, true)
  end)

  it("makes a URL of every form of target", function()
    local function url(target, headers)
      return url_of(with_request { target = target, headers = headers or { { "hOST", "h:1" } } })
    end
    assert.equal("http://h:1/a", url("/a"))
    assert.equal("http://other/b?c", url("http://other/b?c"))
    assert.equal("example.org:443", url("example.org:443"))
    assert.equal("http://h:1", url("*"))
    assert.equal("http://127.0.0.1:8080/a", url("/a", {}))
    assert.equal("http://127.0.0.1:8080/a", url("/a", { { "Host", "" } }))
    assert.equal("http://127.0.0.1:8080/a", url("/a", { { "Hostx", "h" }, { "Hos", "h" }, { "X-Host", "h" } }))
    assert.equal("http://first/a", url("/a", { { "Accept", "*/*" }, { "host", "first" }, { "Host", "second" } }))
    assert.equal("http://127.0.0.1:40002/x?q=1",
      url_of { side = C.PS_SIDE_SERVER, request = fixture.request { headers = {} } })
  end)

  it("says why there is no response", function()
    for flag, word in pairs {
      [C.PS_MESSAGE_ABORTED] = "aborted", [C.PS_MESSAGE_UNFINISHED] = "unfinished",
      [C.PS_MESSAGE_LOST_TAIL] = "lost",
    } do
      local line = format { response = false, missing_flags = flag }
      assert.matches(("/x?q=1 - 0B - - [no response: %s]\n"):format(word), line, 1, true)
    end
    assert.matches("/x?q=1 - 0B - - [no response]\n", format { response = false }, 1, true)
  end)

  it("keeps its columns when the request is missing", function()
    local response = fixture.response { process = { comm = "nginx", tgid = 9 } }
    assert.matches(' nginx:9 127.0.0.1:40002 -> 127.0.0.1:8080 ? ? 200 - 6B - [no request] < "hello\\n"\n',
      format { request = false, response = response }, 1, true)
  end)

  it("marks what is not whole", function()
    local function marked(mark, spec)
      assert.matches(mark, format(spec), 1, true)
    end
    marked(' < "hel" [gap 1024B at 4096]\n', with_response { body = "hel", state = C.PS_BODY_GAP, size_bytes = 9000,
      gap_offset = 4096, gap_bytes = 1024 })
    marked(' < "hel" [body cut 3B of 1MiB]\n', with_response { body = "hel", state = C.PS_BODY_TRUNCATED,
      size_bytes = 1048576 })
    marked(" < [body cut 0B of 6B]\n", with_response { body = "", state = C.PS_BODY_TRUNCATED, size_bytes = 6 })
    marked(" [aborted]\n", with_response { flags = C.PS_MESSAGE_ABORTED })
    marked(" [unfinished]\n", with_response { flags = C.PS_MESSAGE_UNFINISHED })
    marked(" [lost-tail]\n", with_response { flags = C.PS_MESSAGE_LOST_TAIL })
    marked(" [bad-chunk]\n", with_response { flags = C.PS_MESSAGE_BAD_CHUNK })
    marked(' > [head-cut] [ambiguous-framing] < "hello', with_request {
      flags = C.PS_MESSAGE_COMPLETE + C.PS_MESSAGE_HEAD_CUT + C.PS_MESSAGE_AMBIGUOUS })
    marked(" 1.2ms [midstream] <", { flags = C.PS_EXCHANGE_MIDSTREAM })
    marked(" 1.2ms [after-gap] <", { flags = C.PS_EXCHANGE_AFTER_GAP })
    marked(" 1.2ms [interim 100,103] <", { interim = { 100, 103 } })
    marked(" [interim 100,100,100,100,100,100,100,100,...] <",
      { interim = { 100, 100, 100, 100, 100, 100, 100, 100 }, interim_count = 9 })
    marked(" 200 0B 6B 1.2ms [tunnel] <", { flags = C.PS_EXCHANGE_TUNNEL })
    marked(" 101 0B 0B 1.2ms [upgrade websocket]\n", { flags = C.PS_EXCHANGE_TUNNEL,
      response = fixture.response { status = 101, body = "", headers = { { "Upgrade", "websocket" } } } })
    marked(" [upgrade a\\x20b\\x1b]\n", { flags = C.PS_EXCHANGE_TUNNEL,
      response = fixture.response { status = 101, body = "", headers = { { "Upgrade", "a b\27" } } } })
  end)

  it("keeps marks when there is no preview", function()
    local line = format(with_response { flags = C.PS_MESSAGE_ABORTED }, { preview_bytes = 0 })
    assert.matches(" 1.2ms < [aborted]\n", line, 1, true)
    assert.matches(" 6B 1.2ms\n", format(nil, { preview_bytes = 0 }), 1, true)
  end)

  it("cuts previews between characters and says so", function()
    local spec = with_response { body = "ab€cd" }
    assert.matches('< "ab€"...\n', format(spec, { preview_bytes = 3 }), 1, true)
    assert.matches('< "ab€cd"\n', format(spec, { preview_bytes = 7 }), 1, true)
  end)

  for _, pair in ipairs(fixture.hostile) do
    it("shows " .. pair[2] .. " wherever it was captured", function()
      local bytes = "a" .. pair[1] .. "z"
      local line = format {
        unix_path = bytes,
        request = fixture.request { method = bytes, target = "/" .. bytes, headers = { { "Host", bytes } },
          body = bytes, process = { comm = bytes } },
        response = fixture.response { body = bytes },
      }
      assert.is_nil(line:sub(1, -2):find("[%z\1-\31\127]"))
      assert.is_nil(line:find("\194[\128-\159]"))
      local _, count = line:gsub(("a" .. pair[2] .. "z"):gsub("%p", "%%%0"), "")
      -- Thread name (which ends at a NUL), path, method, Host and target in the URL, two bodies.
      assert.equal(pair[1] == "\0" and 6 or 7, count)
    end)
  end

  it("lets no captured byte add a word or a line", function()
    local evil = "a b\nc\td\194\160e"
    local line = format {
      unix_path = evil, response = fixture.response { body = "" },
      request = fixture.request { method = evil, target = "/" .. evil, headers = { { "Host", evil } },
        process = { comm = evil } },
    }
    assert.equal(11, #words(line))
    local _, lines = line:gsub("\n", "")
    assert.equal(1, lines)
  end)

  it("reads no byte beyond a slice or a thread name", function()
    local line = format {
      unix_path = "/p", request = fixture.request { process = { comm = "sixteen-bytes-xx" }, body = "x" },
    }
    assert.is_nil(line:find(fixture.CANARY, 1, true))
    assert.matches(" sixteen-bytes-xx:4242 ", line, 1, true)
  end)

  it("colours only when asked, and the same words", function()
    local plain, colored = format(), format(nil, { color = true })
    assert.is_nil(plain:find("\27", 1, true))
    assert.matches("\27[32m200\27[0m", colored, 1, true)
    assert.equal(plain, (colored:gsub("\27%[%d*m", "")))
    assert.matches("\27[31m503\27[0m", format(with_response { status = 503 }, { color = true }), 1, true)
    assert.matches("\27[35m999\27[0m", format(with_response { status = 999 }, { color = true }), 1, true)
  end)

  it("takes the clock offset as a plain number too", function()
    assert.equal(TIME, format(nil, { clock_offset_ns = tonumber(fixture.CLOCK_OFFSET_NS) }):sub(1, 12))
  end)
end)

describe("fields", function()
  it("writes sizes", function()
    local cases = {
      { 0, "0B" }, { 1023, "1023B" }, { 1024, "1KiB" }, { 1025, "1.0KiB" }, { 1536, "1.5KiB" }, { 65536, "64KiB" },
      { 1048575, "1.0MiB" }, { 1048576, "1MiB" }, { 5ULL * 2 ^ 40, "5TiB" }, { 0xffffffffffffffffULL, "16EiB" },
    }
    for _, case in ipairs(cases) do assert.equal(case[2], fixture.text_of(fields.put_size, case[1])) end
  end)

  it("writes durations", function()
    local cases = {
      { 0, "0us" }, { 850400, "850us" }, { 999499, "999us" }, { 999500, "1.0ms" }, { 1200000, "1.2ms" },
      { 999949999, "999.9ms" }, { 999950000, "1.00s" }, { 2.41e9, "2.41s" }, { 3600e9, "3600.00s" },
    }
    for _, case in ipairs(cases) do assert.equal(case[2], fixture.text_of(fields.put_duration, case[1])) end
  end)

  it("has no negative time spans", function()
    assert.equal(0, fields.elapsed_ns(5ULL, 3ULL))
    assert.equal(2, fields.elapsed_ns(3ULL, 5ULL))
  end)
end)
