-- SPDX-License-Identifier: Apache-2.0
local cjson = require "cjson"
local ffi = require "ffi"
local fixture = require "exchange_fixture"
local reindent = require "plainsight.output.reindent"

-- From memory that ends where the text does, with a canary behind it.
local function layout(text)
  local bytes = ffi.new("char[?]", #text + #fixture.CANARY)
  ffi.copy(bytes, text, #text)
  ffi.copy(bytes + #text, fixture.CANARY, #fixture.CANARY)
  return fixture.text_of(reindent.put, bytes, #text)
end

local sample = '{"b": 1,"a":[1.50,-2e+99 ,12345678901234567890,{"x":null}],"e":{ },"f":[\n],'
  .. '"s":"q\\"\\\\{[,:]}\\u00e9"}'

describe("reindent.put", function()
  it("lays JSON out, names in their order and numbers with their digits", function()
    assert.equal([[
{
  "b": 1,
  "a": [
    1.50,
    -2e+99,
    12345678901234567890,
    {
      "x": null
    }
  ],
  "e": {},
  "f": [],
  "s": "q\"\\{[,:]}\u00e9"
}]], layout(sample))
  end)

  it("is the same a second time", function()
    assert.equal(layout(sample), layout(layout(sample)))
  end)

  it("changes nothing but white space", function()
    local function without_spaces(text) return (text:gsub("[ \n]", "")) end
    for cut = 0, #sample do
      local part = sample:sub(1, cut)
      assert.equal(without_spaces(part), without_spaces(layout(part)))
    end
    assert.same(cjson.decode(sample), cjson.decode(layout(sample)))
  end)

  for name, case in pairs {
    ["a lone value"] = { "7", "7" }, ["nothing"] = { "", "" }, ["white space"] = { " \n", "" },
    ["several values"] = { '1 "a"\n[] ', '1\n"a"\n[]' },
    ["an empty array in an array"] = { "[[]]", "[\n  []\n]" },
  } do
    it("takes " .. name, function() assert.equal(case[2], layout(case[1])) end)
  end

  for name, case in pairs {
    ["a comma too many"] = { "[1,,2 , 3]", "[\n  1,\n  ,2 , 3]" },
    ["the wrong end"] = { "[1 } ]", "[\n  1\n  } ]" },
    ["an end too many"] = { "{} ] 1", "{}\n] 1" },
    ["a name without quotes"] = { "{a: 1}", "{\n  a: 1}" },
    ["a value without name"] = { '{"a", "b" : 1}', '{\n  "a"\n  , "b" : 1}' },
    ["no comma"] = { "[1 2]", "[\n  1\n  2]" },
    ["text"] = { "not JSON at all", "not JSON at all" },
    ["a word"] = { "[nul]", "[\n  nul]" },
  } do
    it("leaves the rest as it is from " .. name .. " on", function() assert.equal(case[2], layout(case[1])) end)
  end

  it("escapes what a terminal acts on", function()
    for _, pair in ipairs(fixture.hostile) do
      for _, text in ipairs { '["%s"]', "[1 %s]", "%s" } do
        local shown = layout((text:gsub("%%s", function() return pair[1] end)))
        assert.matches(pair[2], shown, 1, true)
        assert.is_nil(shown:find("[%z\1-\9\11-\31\127]"))
      end
    end
  end)

  it("does not become large by nesting", function()
    local shown = layout(("["):rep(5000) .. ("]"):rep(5000))
    assert.is_true(#shown < 5000 * 80)
    assert.matches("\n" .. (" "):rep(64) .. "[", shown, 1, true)
    assert.is_nil(shown:find((" "):rep(65), 1, true))
  end)
end)
