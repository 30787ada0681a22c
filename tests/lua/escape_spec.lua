-- SPDX-License-Identifier: Apache-2.0
local buffer = require "string.buffer"
local escape = require "plainsight.output.escape"
local fixture = require "exchange_fixture"

local function escaped(text, style, limit)
  local buf = buffer.new()
  local shown = escape.put(buf, text, #text, style, limit)
  return buf:get(), shown
end

describe("escape.put", function()
  for _, pair in ipairs(fixture.hostile) do
    it("shows " .. pair[2] .. " for what it stands for, in every style", function()
      for _, style in ipairs { escape.QUOTED, escape.WORD, escape.LINE, escape.TEXT } do
        assert.equal(pair[2], (escaped(pair[1], style)))
        assert.equal("a" .. pair[2] .. "z", (escaped("a" .. pair[1] .. "z", style)))
      end
    end)
  end

  it("lets no control byte, C1 control or broken UTF-8 through, whatever precedes it", function()
    for first = 0, 255 do
      for second = 0, 255 do
        local text = string.char(first, second) .. "\128"
        local out = escaped(text, escape.QUOTED)
        assert.is_nil(out:find("[%z\1-\31\127]"))
        assert.is_nil(out:find("\194[\128-\159]"))
        assert.equal(#out, (escape.utf8_prefix(out, #out)))
      end
    end
  end)

  it("finds a byte wherever it stands", function()
    for len = 1, 40 do
      for at = 1, len do
        local before, after = ("a"):rep(at - 1), ("z"):rep(len - at)
        assert.equal(before .. "\\x1b" .. after, (escaped(before .. "\27" .. after, escape.TEXT)))
      end
    end
  end)

  it("passes printable UTF-8", function()
    assert.equal(fixture.printable, (escaped(fixture.printable, escape.QUOTED)))
  end)

  it("escapes per style what would end a word, a string or a line", function()
    local text = 'a b"c\\d\ne\tf\rg'
    assert.equal('a b\\"c\\\\d\\ne\\tf\\rg', (escaped(text, escape.QUOTED)))
    assert.equal('a\\x20b"c\\\\d\\ne\\tf\\rg', (escaped(text, escape.WORD)))
    assert.equal('a b"c\\d\\ne\\tf\\rg', (escaped(text, escape.LINE)))
    assert.equal('a b"c\\d\ne\tf\\rg', (escaped(text, escape.TEXT)))
  end)

  it("stops at the limit, after the whole character that begins before it", function()
    local out, shown = escaped("ab\226\130\172cd", escape.QUOTED, 3)
    assert.equal("ab\226\130\172", out)
    assert.equal(5, shown)
    out, shown = escaped("abc", escape.QUOTED, 10)
    assert.equal("abc", out)
    assert.equal(3, shown)
  end)

  it("takes NULL with length 0", function()
    local buf = buffer.new()
    assert.equal(0, escape.put(buf, nil, 0, escape.QUOTED))
    assert.equal("", buf:get())
  end)
end)

describe("escape.utf8_prefix", function()
  it("counts the bytes before the first that is no UTF-8", function()
    local function check(text, valid, only_end)
      local got, end_missing = escape.utf8_prefix(text, #text)
      assert.equal(valid, got)
      assert.equal(only_end, end_missing)
    end
    check("", 0, false)
    check("abc", 3, false)
    check(fixture.printable, #fixture.printable, false)
    check("ab\255cd", 2, false)
    check("ab\226\130", 2, true)
    check("ab\240\159\153", 2, true)
    check("ab\226\130x", 2, false)
    check("\244\143\191\191", 4, false)
    check("\237\159\191\238\128\128", 6, false)
  end)
end)
