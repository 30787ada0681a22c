-- SPDX-License-Identifier: Apache-2.0
local ffi = require "ffi"
local fixture = require "exchange_fixture"
local verbose = require "plainsight.output.verbose"

local C = ffi.C
local TIME = os.date("%H:%M:%S", fixture.FIRST_UNIX_S) .. ".123"

local function format(spec, color)
  local opts = { color = color, clock_offset_ns = fixture.CLOCK_OFFSET_NS }
  return fixture.text_of(verbose.put, fixture.exchange(spec), opts)
end

local function with_response(changes)
  return { response = fixture.response(changes) }
end

describe("verbose.format", function()
  it("shows the pseudo-headers of HTTP/2, and a question mark for what is unknown", function()
    local request = fixture.request_h2 { target = "", headers = { fixture.UNKNOWN_HEADER, { "a", "b" } } }
    local text = format { request = request, response = fixture.response_h2 { status = 0 }, stream_id = 1 }
    assert.matches("> GET ? HTTP/2\n> :scheme: https\n> :authority: a.test\n> ?: ?\n> a: b\n>\n< HTTP/2 ?\n<\n",
      text, 1, true)
  end)

  it("is laid out like curl -v", function()
    local spec = {
      interim = { 100 },
      request = fixture.request { method = "POST", body = "a=1", trailers = { { "X-Sum", "7" } } },
      response = fixture.response { headers = { { "Content-Length", "6" }, { "X-Empty", "" } } },
    }
    assert.equal("* " .. TIME .. [[
 curl:4242 (thread 4242, uid 1000) 127.0.0.1:40002 -> 127.0.0.1:8080
> POST /x?q=1 HTTP/1.1
> Host: localhost:8080
>
a=1
> X-Sum: 7
< HTTP/1.1 100 (interim; its headers are not kept)
< HTTP/1.1 200 OK
< Content-Length: 6
< X-Empty:
<
hello
* [interim 100]
* request body 3B, response body 6B, response began after 1.0ms, ended after 1.2ms

]], format(spec))
  end)

  it("escapes control bytes of a text body but line feed and tab", function()
    local text = format(with_response { body = 'a\tb\nc\27[31m\r\\"\194\155' })
    assert.matches('<\na\tb\nc\\x1b[31m\\r\\"\\xc2\\x9b\n*', text, 1, true)
  end)

  it("tells kind and size of a binary body and dumps its start", function()
    local text = format(with_response { body = "\31\139\8\0abcdefghijklmnop" })
    assert.matches([[
<
* binary body: application/gzip, 20 bytes
00000000  1f 8b 08 00 61 62 63 64 65 66 67 68 69 6a 6b 6c  |....abcdefghijkl|
00000010  6d 6e 6f 70                                      |mnop|
]], text, 1, true)
    text = format(with_response { body = ("\255"):rep(300), size_bytes = 5000, state = C.PS_BODY_TRUNCATED })
    assert.matches("<\n* binary body, 5000 bytes, the first 64 of them\n", text, 1, true)
    assert.matches("00000030  ", text, 1, true)
    assert.is_nil(text:find("00000040  ", 1, true))
    assert.matches("|\n* response [body cut 300B of 4.9KiB]\n", text, 1, true)
  end)

  it("takes a text that was cut inside a character for text", function()
    local text = format(with_response { body = "abc\226\130", size_bytes = 9, state = C.PS_BODY_TRUNCATED })
    assert.matches("<\nabc\\xe2\\x82\n* response [body cut 5B of 9B]\n", text, 1, true)
    assert.matches("binary body", format(with_response { body = "abc\226\130" }), 1, true)
  end)

  it("says what is missing", function()
    local text = format { response = false, missing_flags = C.PS_MESSAGE_ABORTED }
    assert.matches("\n>\n* [no response: aborted]\n* request body 0B\n\n", text, 1, true)
    text = format { request = false }
    assert.is_nil(text:find("\n>", 1, true))
    assert.matches("* [no request]\n* response body 6B\n\n", text, 1, true)
    text = format(with_response { state = C.PS_BODY_GAP, gap_offset = 6, gap_bytes = 10, size_bytes = 16 })
    assert.matches("hello\n* response [gap 10B at 6]\n", text, 1, true)
  end)

  it("names the process that answered when it is another one", function()
    local text = format(with_response { process = { comm = "worker", tgid = 7, uid = 33 } })
    assert.matches("response by worker:7 (thread 7, uid 33)\n\n", text, 1, true)
  end)

  for _, pair in ipairs(fixture.hostile) do
    it("shows " .. pair[2] .. " in a head for what it stands for", function()
      local bytes = "a" .. pair[1] .. "z"
      local text = format {
        unix_path = bytes,
        request = fixture.request { method = bytes, target = bytes, headers = { { bytes, bytes } } },
        response = fixture.response { reason = bytes, headers = {}, trailers = { { bytes, bytes } }, body = "" },
      }
      assert.is_nil(text:find("[%z\1-\9\11-\31\127]"))
      assert.is_nil(text:find("\194[\128-\159]"))
      local _, count = text:gsub(("a" .. pair[2] .. "z"):gsub("%p", "%%%0"), "")
      assert.equal(8, count)
      local _, lines = text:gsub("\n", "")
      assert.equal(9, lines)
    end)
  end

  it("lets no header end its line", function()
    local text = format(with_response { headers = { { "A", "1\r\n< B: 2\n" } } })
    assert.matches("\n< A: 1\\r\\n< B: 2\\n\n<\n", text, 1, true)
  end)

  it("reads no byte beyond a slice", function()
    local request = fixture.request { body = "x", process = { comm = ("c"):rep(16) } }
    local text = format { unix_path = "/p", request = request }
    assert.is_nil(text:find(fixture.CANARY, 1, true))
  end)

  it("colours only when asked, and the same text", function()
    local plain, colored = format(nil, false), format(nil, true)
    assert.is_nil(plain:find("\27", 1, true))
    assert.matches("HTTP/1.1 \27[32m200\27[0m OK", colored, 1, true)
    assert.equal(plain, (colored:gsub("\27%[%d*m", "")))
  end)
end)
