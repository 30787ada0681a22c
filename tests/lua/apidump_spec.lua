-- SPDX-License-Identifier: Apache-2.0
local buffer = require "string.buffer"
local cjson = require "cjson"
local document = require "plainsight.apidump.document"
local json_value = require "plainsight.apidump.json_value"
local schema = require "plainsight.apidump.schema"

-- The schema of several texts in JSON.
local function schema_of(...)
  local node = schema.new()
  for _, text in ipairs { ... } do schema.add(node, assert(json_value.read(text))) end
  return schema.write(node)
end

local function text_of(value)
  local buf = buffer.new()
  document.put(buf, value)
  return buf:get()
end

local function example_of(text) return text_of(schema.example(assert(json_value.read(text)))) end

describe("the reader of JSON", function()
  it("tells what cjson does not", function()
    assert.equal("array", json_value.read("[]").kind)
    assert.equal("object", json_value.read(" {} ").kind)
    assert.equal("number", json_value.read("1.0").kind)
    assert.equal("integer", json_value.read("-12").kind)
    assert.equal("null", json_value.read("null").kind)
    assert.equal('a"\\/\n\té€😀', json_value.read([["a\"\\\/\n\t\u00e9\u20ac\ud83d\ude00"]]).text)
    assert.same({ "b", "a" }, json_value.read('{"b":1,"a":2,"b":3}').names)
  end)

  it("agrees with cjson on what is JSON", function()
    for _, text in ipairs {
      '{"a":[1,2,{"b":null}],"c":true}', "[1,]", "{,}", '{"a"}', '{"a":}', "[1 2]", "tru", "nul", "", " ", '"abc',
      '"\\',
      "{} {}", "[[[[]]]]", "-", "+1", '{"a":1,}', "[", "{", '{"a":[}', "\"\\u00zz\"", "1e5",
      "falsehood",
    } do
      local ok = pcall(cjson.decode, text)
      if text ~= "+1" and text ~= '"\\u00zz"' then -- cjson is wrong on the first, and stricter on the second
        assert.equal(ok, json_value.read(text) ~= nil, text)
      end
    end
  end)

  it("is bounded", function()
    assert.is_nil(json_value.read(("["):rep(100000)))
    assert.is_nil(json_value.read(("["):rep(40) .. ("]"):rep(40)))
    assert.is_nil(json_value.read("[" .. ("1,"):rep(30000) .. "1]"))
    assert.is_nil(json_value.read("1e999"))
  end)
end)

describe("a schema", function()
  it("has what all examples have as required", function()
    assert.same({
      type = "object", required = { "id" },
      properties = { id = { type = "integer" }, name = { type = "string" } },
    }, schema_of('{"id":1,"name":"a b"}', '{"id":2}'))
  end)

  it("widens: integer to number, null to both, kinds to alternatives", function()
    assert.same({ type = "number" }, schema_of("1", "1.5"))
    assert.same({ type = { "string", "null" } }, schema_of('"x y"', "null"))
    assert.same({ oneOf = { { type = "integer" }, { type = "string" } } }, schema_of("1", '"x y"'))
    assert.same({ oneOf = { { type = "string" }, { type = "object" }, { type = "null" } } },
      schema_of('"x y"', "{}", "null"))
    assert.same({ type = "integer", format = "int64" }, schema_of("1", "3000000000"))
    assert.same({ type = "null" }, schema_of "null")
    assert.same({}, schema.write(schema.new()))
  end)

  it("has formats that all values have", function()
    assert.same({ type = "string", format = "date-time" },
      schema_of('"2024-01-01T00:00:00Z"', '"2024-01-01T00:00:00.5+01:00"'))
    assert.same({ type = "string" }, schema_of('"2024-01-01"', '"soon, maybe"'))
    assert.same({ type = "string", format = "uuid" }, schema_of '"3f2504e0-4f89-11d3-9a0c-0305e82c3301"')
    assert.same({ type = "string", format = "email" }, schema_of '"[redacted:email-address:0a1b2c3d]"')
  end)

  it("has values only when they are few and often the same", function()
    local texts = {}
    for i = 1, 12 do texts[i] = ({ '"open"', '"paid"', '"sent"' })[i % 3 + 1] end
    assert.same({ type = "string", enum = { "open", "paid", "sent" } }, schema_of(unpack(texts)))
    for i = 1, 12 do texts[i] = ('"name%s"'):format(string.char(96 + i)) end
    assert.same({ type = "string" }, schema_of(unpack(texts)))
    for i = 1, 12 do texts[i] = '{"password":"same"}' end
    assert.same({ type = "string" }, schema_of(unpack(texts)).properties.password)
  end)

  it("takes many names, or identifiers, for keys of a map", function()
    assert.same({ type = "object", additionalProperties = { type = "integer" } }, schema_of '{"1":1,"2":2}')
    local members = {}
    for i = 1, 300 do members[i] = ('"w%s":%d'):format(("x"):rep(i), i) end
    assert.same({ type = "object", additionalProperties = { type = "integer" } },
      schema_of("{" .. table.concat(members, ",") .. "}"))
  end)

  it("is the same when it is merged of two", function()
    local one, two, both = schema.new(), schema.new(), schema.new()
    local texts = { '{"a":1,"b":[1]}', '{"a":null}', '{"a":2,"c":{"d":"x y"}}', '{"b":[1.5],"a":3}' }
    for i, text in ipairs(texts) do
      local value = json_value.read(text)
      schema.add(i % 2 == 0 and one or two, value)
      schema.add(both, value)
    end
    schema.merge(one, two)
    assert.same(schema.write(both), schema.write(one))
  end)
end)

describe("an example", function()
  it("shows no secret", function()
    local text = example_of [[{"user":"Ada","password":"hunter2","api_key":"abc","pin":1234,"mail":"ada@lovelace.org",
      "card":"4111 1111 1111 1111","number":4111111111111111,"x":"dGhpcyBpcyBhIHRlc3Q1MjM","n":{"authToken":"t"},
      "list":[{"secret":"s1"}]}]]
    for _, secret in ipairs { "hunter2", "abc", "1234", "ada@", "4111", "dGhpc", '"t"', "s1" } do
      assert.is_nil(text:find(secret, 1, true), secret .. " in " .. text)
    end
    assert.matches('"user": "Ada"', text, 1, true)
  end)

  it("is cut", function()
    assert.same({ 1, 2, 3 }, cjson.decode(example_of "[1,2,3,4,5]"))
    assert.equal("[]\n", example_of "[]")
    assert.equal("{}\n", example_of "{}")
    assert.equal("null\n", example_of "null")
  end)

  it("is valid text whatever is in it", function()
    assert.is_table(cjson.decode(example_of('{"a":"\\u0000\\ud800\255\27"}')))
  end)
end)

describe("a document", function()
  it("is indented JSON with the members in the usual order", function()
    assert.equal([[{
  "openapi": "3.1.0",
  "info": {
    "title": "x"
  },
  "paths": {},
  "x-list": [
    1,
    "a"
  ]
}
]], text_of { openapi = "3.1.0", ["x-list"] = { 1, "a" }, paths = {}, info = { title = "x" } })
  end)
end)
