-- SPDX-License-Identifier: Apache-2.0
-- Bodies with codings and charsets in the three output formats. What the decoder does with bytes of any kind is
-- tested in tests/c/test_content.c.
local cjson = require "cjson"
local ffi = require "ffi"
local fixture = require "exchange_fixture"
local image = require "plainsight.output.image"
local json = require "plainsight.output.json"
local text = require "plainsight.output.text"
local verbose = require "plainsight.output.verbose"

local C = ffi.C

-- {"greeting": "hello"}
local PLAIN = '{"greeting": "hello"}'
local GZIP = "\031\139\008\000\000\000\000\000\002\003\171VJ/JM-\201\204KW\178RP\202H\205\201\201W\170\005\000"
  .. "s\193bW\021\000\000\000"
local BROTLI = "\011\010\128" .. PLAIN .. "\003"
local ZSTD = "(\181/\253\004X\169\000\000" .. PLAIN .. "-\235\254\221"

local THREE_MILLION_ZEROS = "\155\191\198-\248%`\226\177@ \207\183\005"

local function response(body, headers, changes)
  local spec = { body = body, headers = headers }
  for key, value in pairs(changes or {}) do spec[key] = value end
  return fixture.exchange { response = fixture.response(spec) }
end

local function coded(name, body, changes)
  return response(body, { { "Content-Type", "application/json" }, { "Content-Encoding", name } }, changes)
end

local function opts_with(changes)
  local opts = { clock_offset_ns = fixture.CLOCK_OFFSET_NS, preview_bytes = 96, max_body_bytes = 65536 }
  for key, value in pairs(changes or {}) do opts[key] = value end
  return opts
end

local function line_of(ex, opts)
  return fixture.text_of(text.put, ex, opts_with(opts))
end

local function page_of(ex, opts)
  return fixture.text_of(verbose.put, ex, opts_with(opts))
end

local function body_of(ex, opts)
  return cjson.decode(fixture.text_of(json.put, ex, opts_with(opts))).response.body
end

describe("a coded body", function()
  for name, bytes in pairs { gzip = GZIP, br = BROTLI, zstd = ZSTD } do
    it("of " .. name .. " is shown decoded, its size is that on the wire", function()
      local ex = coded(name, bytes)
      assert.matches((' %dB 1.2ms < "{\\"greeting\\": \\"hello\\"}"\n'):format(#bytes), line_of(ex), 1, true)
      assert.matches(('<\n{\n  "greeting": "hello"\n}\n* %s: %dB decoded to 21B\n'):format(name, #bytes), page_of(ex),
        1, true)
      assert.same({
        size_bytes = #bytes, captured_bytes = #bytes, state = "complete", framing = "length",
        content_encoding = { name }, decoded_state = "complete", decoded_size_bytes = 21, text = PLAIN,
      }, body_of(ex))
    end)
  end

  it("stays as it is when that is asked for", function()
    local ex, opts = coded("gzip", GZIP), { no_decode = true }
    assert.matches('< "\\x1f\\x8b', line_of(ex, opts), 1, true)
    assert.matches("* binary body: application/json, 41 bytes\n00000000  1f 8b 08 ", page_of(ex, opts), 1, true)
    local body = body_of(ex, opts)
    assert.is_nil(body.content_encoding)
    assert.equal("H4sIAAAAAAA", body.base64:sub(1, 11))
    local plain = response(PLAIN, { { "Content-Type", "application/json" } })
    assert.matches('<\n{"greeting": "hello"}\n*', page_of(plain, opts), 1, true)
  end)

  it("that was kept in part is decoded as far as it goes", function()
    local ex = coded("gzip", GZIP:sub(1, 26), { size_bytes = 41, state = C.PS_BODY_TRUNCATED })
    local body = body_of(ex)
    assert.equal("truncated", body.decoded_state)
    assert.is_nil(body.decoded_size_bytes)
    assert.equal(26, body.captured_bytes)
    assert.equal(PLAIN:sub(1, #body.text), body.text)
    assert.matches('< "{.*" %[body cut 26B of 41B%]\n', line_of(ex))
    assert.matches("* gzip: 26B decoded to %d+B, the rest is missing\n", page_of(ex))
  end)

  it("that ends too early is marked", function()
    local ex = coded("gzip", GZIP:sub(1, -2))
    assert.matches(' "{\\"greeting\\": \\"hello\\"}" [gzip truncated]\n', line_of(ex), 1, true)
    assert.equal("truncated", body_of(ex).decoded_state)
  end)

  it("that is malformed is shown up to there and marked", function()
    local ex = coded("gzip", GZIP:sub(1, -2) .. "x")
    assert.matches(' "{\\"greeting\\": \\"hello\\"}" [gzip malformed]\n', line_of(ex), 1, true)
    assert.matches("* gzip: 41B decoded to 21B, what follows is malformed\n", page_of(ex), 1, true)
    local body = body_of(ex)
    assert.equal("error", body.decoded_state)
    assert.equal(PLAIN, body.text)
  end)

  it("that cannot be decoded is shown as it is", function()
    for name, bytes in pairs { gzip = PLAIN, ["aws-chunked"] = PLAIN, ["x\27y"] = PLAIN } do
      local ex = coded(name, bytes)
      assert.matches((' "{\\"greeting\\": \\"hello\\"}" [%s not decoded]\n'):format((name:gsub("\27", "\\x1b"))),
        line_of(ex), 1, true)
      assert.matches(": cannot be decoded\n", page_of(ex), 1, true)
      local body = body_of(ex)
      assert.equal("none", body.decoded_state)
      assert.same({ name }, body.content_encoding)
      assert.equal(PLAIN, body.text)
    end
  end)

  it("is decoded no further than a preview needs", function()
    local ex = coded("gzip", GZIP)
    assert.matches(' < "{\\"gr"...\n', line_of(ex, { preview_bytes = 4 }), 1, true)
    assert.is_nil(line_of(ex, { preview_bytes = 0 }):find("<"))
  end)

  it("that becomes too large is cut at the limit", function()
    local body = body_of(coded("br", THREE_MILLION_ZEROS))
    assert.equal("limit", body.decoded_state)
    assert.is_nil(body.decoded_size_bytes)
    assert.equal(("0"):rep(65536), body.text)
    body = body_of(coded("br", THREE_MILLION_ZEROS), { max_body_bytes = 200000 })
    assert.equal("limit", body.decoded_state)
    assert.equal(200000, #body.text)
    assert.matches("* br: 14B decoded to more than 1MiB, of which 64KiB are shown\n",
      page_of(coded("br", THREE_MILLION_ZEROS)), 1, true)
  end)

  it("has its codings in order, those of the transfer last", function()
    local ex = response(GZIP, { { "Transfer-Encoding", "GZIP, chunked" }, { "Content-Encoding", "identity" } })
    assert.same({ "gzip" }, body_of(ex).content_encoding)
  end)
end)

describe("a body in another charset", function()
  local latin1 = response("caf\233\n", { { "Content-Type", "text/plain; charset=ISO-8859-1" } })

  it("is shown in UTF-8", function()
    assert.matches(' < "café\\n"\n', line_of(latin1), 1, true)
    assert.matches("<\ncafé\n* text in iso-8859-1\n", page_of(latin1), 1, true)
    assert.same({
      size_bytes = 5, captured_bytes = 5, state = "complete", framing = "length", charset = "iso-8859-1",
      text = "café\n",
    }, body_of(latin1))
    assert.equal("Y2Fm6Qo=", body_of(latin1, { no_decode = true }).base64)
  end)

  it("that is not what it says is escaped, and base64 in JSON", function()
    local ex = response("a\129z", { { "Content-Type", "text/plain; charset=windows-1252" } })
    assert.matches(' < "a\\x81z"\n', line_of(ex), 1, true)
    assert.matches("<\na\\x81z\n", page_of(ex), 1, true)
    local body = body_of(ex)
    assert.is_nil(body.charset)
    assert.equal("YYF6", body.base64)
  end)

  it("can carry nothing that a terminal acts on", function()
    local ex = response("\155" .. "31m\27[0m", { { "Content-Type", "text/plain; charset=iso-8859-1" } })
    assert.matches('"\\xc2\\x9b31m\\x1b[0m"', line_of(ex), 1, true)
    assert.is_nil(page_of(ex):find("[\27\155]"))
  end)

  it("of type text is text even when it is none", function()
    assert.matches("<\ncaf\\xe9\n", page_of(response("caf\233\n", { { "Content-Type", "Text/HTML" } })), 1, true)
  end)

  it("in UTF-16 fills a preview", function()
    local wide = ("\0x"):rep(50)
    local ex = response(wide, { { "Content-Type", "text/plain; charset=utf-16be" } })
    assert.matches(' < "' .. ("x"):rep(40) .. '"...\n', line_of(ex, { preview_bytes = 40 }), 1, true)
  end)
end)

describe("a body laid out for reading", function()
  local kinds = { "application/json", "application/x-www-form-urlencoded", "multipart/x; boundary=b", "text/x" }

  local function page(kind, body, changes)
    return page_of(response(body, kind and { { "Content-Type", kind } } or {}, changes))
  end

  it("indents JSON by its type, and without one by how it begins", function()
    for _, kind in ipairs { "application/json", "Application/JSON; charset=utf-8", "application/x+json", false } do
      assert.matches('<\n{\n  "a": 1\n}\n*', page(kind, '{"a":1}'), 1, true)
    end
    assert.matches('<\n{"a":1}\n*', page("text/plain", '{"a":1}'), 1, true)
    assert.matches('<\n{"a":1}\n{}\n*', page("application/x-ndjson", '{"a":1}\n{}\n'), 1, true)
  end)

  it("splits and decodes a form", function()
    assert.matches("<\nname = Jürgen X\nempty =\nflag\na = b=c\nevil = \\x1b[31m\\n% %4\n*",
      page("application/x-www-form-urlencoded", "name=J%C3%BCrgen+X&empty=&flag&a=b=c&&evil=%1B%5b31m%0a%+%4"), 1, true)
  end)

  it("lists the parts of a multipart body", function()
    local body = table.concat({
      "preamble --b", "--b", 'Content-Disposition: form-data; name="a\\"1"', "", "x --b y\nz", "--b",
      'content-disposition: form-data; name="f"; filename="e\27.png"', "Content-Type: image/png", "",
      "\137PNG" .. ("\0"):rep(200), "--b", "", "", "--b  ", "X: y", "--b--", "epilogue",
    }, "\r\n")
    assert.matches(table.concat({
      "<",
      'part 1: name="a\\"1" 9B "x --b y\\nz"',
      'part 2: name="f" filename="e\\x1b.png" image/png 204B "\\x89PNG' .. ("\\x00"):rep(92) .. '"...',
      'part 3: 0B ""',
      'part 4: 0B ""',
      "* request body",
    }, "\n"), page('multipart/form-data; boundary="b"', body), 1, true)
  end)

  it("lists a bounded number of parts, and says when the last is not whole", function()
    local text_of_parts = page("multipart/mixed; boundary=b", ("--b\n\n"):rep(150) .. "cut",
      { state = C.PS_BODY_TRUNCATED, size_bytes = 1000 })
    assert.matches('part 100: 0B ""\nand 50 more parts\n', text_of_parts, 1, true)
    text_of_parts = page("multipart/mixed; boundary=b", "--b\n\ncut")
    assert.matches('part 1: 3B (its end is missing) "cut"\n', text_of_parts, 1, true)
  end)

  it("leaves a multipart body without its boundary as it is", function()
    for _, kind in ipairs { "multipart/mixed", "multipart/mixed; boundary=", "multipart/mixed; boundary=c" } do
      assert.matches("<\n--b\n\nx\n--b--\n", page(kind, "--b\n\nx\n--b--\n"), 1, true)
    end
  end)

  it("escapes text of any kind", function()
    for _, kind in ipairs(kinds) do
      for _, pair in ipairs(fixture.hostile) do
        local shown = page(kind, "--b\r\nContent-Type: " .. pair[1] .. "\r\n\r\n" .. pair[1])
        assert.is_nil(shown:find("[%z\1-\9\11-\31\127]"))
        assert.is_nil(shown:find("\194[\128-\159]"))
      end
    end
  end)

  it("reads no byte beyond a slice", function()
    for _, kind in ipairs(kinds) do
      assert.is_nil(page(kind, "--b\r\n\r\n"):find(fixture.CANARY, 1, true))
      assert.is_nil(page(kind, '{"a'):find(fixture.CANARY, 1, true))
    end
  end)
end)

describe("image.identify", function()
  local cases = {
    { "\137PNG\r\n\26\n\0\0\0\13IHDR\0\0\2\128\0\0\1\224", "image/png", 640, 480 },
    { "\137PNG\r\n\26\n\0\0\0\13IHDR\0\0\2\128\0\0\1", "image/png" },
    { "GIF89a\128\2\224\1", "image/gif", 640, 480 },
    { "\255\216\255\224\0\4xx\255\196\0\2\255\194\0\17\8\1\224\2\128", "image/jpeg", 640, 480 },
    { "\255\216\255\224\0\4xx\255\192\0\17\8\1\224\2", "image/jpeg" },
    { "\255\216\255\224\0\1", "image/jpeg" },
    { "RIFF\0\0\0\0WEBPVP8X\10\0\0\0\0\0\0\0\127\2\0\223\1\0", "image/webp", 640, 480 },
    { "RIFF\0\0\0\0WEBPVP8L\0\0\0\0\47\127\194\119\0", "image/webp", 640, 480 },
    { "RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\157\1\42\128\2\224\1", "image/webp", 640, 480 },
    { "RIFF\0\0\0\0WEBPVP8 ", "image/webp" },
    { "PK\3\4", "application/zip" }, { "\0asm", "application/wasm" }, { "", nil }, { "text", nil },
  }
  for i, case in ipairs(cases) do
    it(("tells %s (%d)"):format(case[2] or "nothing", i), function()
      assert.same({ case[2], case[3], case[4] }, { image.identify(case[1]) })
    end)
  end
end)
