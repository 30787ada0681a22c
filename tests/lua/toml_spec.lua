-- SPDX-License-Identifier: Apache-2.0
local toml = require "plainsight.toml"

-- The message with its line.
local function mistake(text)
  local root, message, line = toml.parse(text)
  assert.is_nil(root)
  return ("%d: %s"):format(line, message)
end

describe("toml", function()
  it("reads strings of all kinds", function()
    local root = assert(toml.parse([==[
basic = "a\tb \"q\" \\ \u00e9 \U0001F600"
literal = 'C:\no\escape'
long = """
first
second \
    folded "" quotes"""""
raw = '''
\d+'s "x"'''
empty = ""
]==]))
    assert.equal('a\tb "q" \\ \195\169 \240\159\152\128', root.basic)
    assert.equal("C:\\no\\escape", root.literal)
    assert.equal('first\nsecond folded "" quotes""', root.long)
    assert.equal("\\d+'s \"x\"", root.raw)
    assert.equal("", root.empty)
  end)

  it("reads numbers and booleans", function()
    local root = assert(toml.parse([[
a = 1_000
b = -17
c = 0xdead_beef
d = 0o755
e = 0b1101
f = 3.14
g = -2.5e-3
h = inf
i = nan
j = true
k = +0
l = 5e+2]]))
    assert.same({ 1000, -17, 0xdeadbeef, 493, 13, 3.14, -0.0025, math.huge },
      { root.a, root.b, root.c, root.d, root.e, root.f, root.g, root.h })
    assert.is_true(root.i ~= root.i)
    assert.is_true(root.j)
    assert.equal(0, root.k)
    assert.equal(500, root.l)
  end)

  it("reads arrays, inline tables, tables and arrays of tables", function()
    local root, lines = toml.parse([==[
# comment
list = [ 1, "two", # comment
  [3, 4],
  { a.b = 1, 'c d' = 2 },
]
[one.two]
x = 1 # comment
"quoted key" = 2
[one]
y.z = 3
[[rules]]
id = "a"
[rules.sub]
k = 1
[[rules]]
id = "b"
[[rules.allow]]
w = [
  "p",
  "q"]
]==])
    assert.same({ 1, "two", { 3, 4 }, { a = { b = 1 }, ["c d"] = 2 } }, root.list)
    assert.same({ two = { x = 1, ["quoted key"] = 2 }, y = { z = 3 } }, root.one)
    assert.same({ { id = "a", sub = { k = 1 } }, { id = "b", allow = { { w = { "p", "q" } } } } }, root.rules)
    assert.equal(7, lines[root.one.two].x)
    assert.equal(11, lines[root.rules][1])
    assert.equal(16, lines[root.rules[2]].id)
    assert.equal(20, lines[root.rules[2].allow[1].w][2])
    assert.equal(3, lines[root.list][3])
  end)

  it("takes CRLF, a byte order mark, and a file without a last line feed", function()
    local root = assert(toml.parse("\239\187\191a = 1\r\nb = '''\r\nx\r\ny'''\r\n# end"))
    assert.same({ a = 1, b = "x\ny" }, root)
    assert.same({}, (toml.parse("")))
  end)

  it("refuses what is defined twice", function()
    assert.equal("2: a is already there, on line 1", mistake("a = 1\na = 2"))
    assert.equal("2: [t] is already there, on line 1", mistake("[t]\n[t]"))
    assert.equal("3: t is no array of tables: line 1", mistake("[t]\nx=1\n[[t]]"))
    assert.equal("2: [t] is already there, on line 1", mistake("[[t]]\n[t]"))
    assert.equal("2: a is no table: line 1", mistake("a = 1\n[a.b]"))
    assert.equal("2: a is already there, on line 1", mistake("a = { b = 1 }\na.c = 2"))
    assert.equal("2: a is no table: line 1", mistake("a = { b = 1 }\n[a.c]"))
    assert.equal("2: a is no array of tables: line 1", mistake("a = []\n[[a]]"))
    assert.equal("4: b is already there, on line 1", mistake("[a.b.c]\n[a.b]\n[a]\nb.x = 1"))
  end)

  it("refuses what TOML does not have, with the line", function()
    local cases = {
      { "a = ", "1: a value was expected, not the end of the file" },
      { "a = yes", "1: yes is no value; a string needs quotes" },
      { "a = 01", "1: 01 is no value; a string needs quotes" },
      { "a = 1__0", "1: 1__0 is no value; a string needs quotes" },
      { "a = .5", "1: .5 is no value; a string needs quotes" },
      { "a = 5.", "1: 5. is no value; a string needs quotes" },
      { "a = 0x", "1: 0x is no value; a string needs quotes" },
      { "a = 9007199254740992", "1: 9007199254740992 is too large (2^53 or over)" },
      { "a = 90071992547409930", "1: 90071992547409930 is too large (2^53 or over)" },
      { "\na = 1979-05-27", "2: 1979-05-27: dates and times are not supported; write a string" },
      { "a = 07:32:00", "1: 07:32:00: dates and times are not supported; write a string" },
      { "a = 1979-05-27T07:32:00Z", "1: 1979-05-27T07:32:00Z: dates and times are not supported; write a string" },
      { "a = 'x\ny'", "1: a string does not end on its line" },
      { 'a = "\\x"', "1: no escape begins with \\ and 'x'" },
      { 'a = "\\ud800"', "1: \\ud800 is no Unicode scalar value" },
      { 'a = "\\u12"', "1: \\u wants 4 hexadecimal digits" },
      { 'a = "\1"', "1: byte 0x01 cannot stand in a string" },
      { "a = '''\nx\n", "1: a string that begins here does not end" },
      { "a = [1\n2]", "2: ',' or ']' was expected in an array, not '2'" },
      { "a = [1,\n", "1: an array that begins here does not end" },
      { "a = { b = 1, }", "1: a key was expected, not '}'" },
      { "a = { b = 1\n}", "1: ',' or '}' was expected in an inline table, not byte 0x0a" },
      { "a 1", "1: '=' was expected after a, not '1'" },
      { "a = 1 b = 2", "1: a value is followed by 'b' on the same line" },
      { "[a] b = 1", "1: a header is followed by 'b' on the same line" },
      { "[a", "1: ']' was expected, not the end of the file" },
      { "[[a]", "1: ']]' was expected, not ']'" },
      { "[]", "1: a key was expected, not ']'" },
      { "= 1", "1: a key was expected, not '='" },
      { "a = 1 # \1", "1: byte 0x01 cannot stand in a comment" },
      { "a = '\255'", "1: bytes that are not UTF-8" },
      { "a = '\237\160\128'", "1: bytes that are not UTF-8" },
      { ("a = %s"):format(("["):rep(200)), "1: values are nested too deeply" },
    }
    for _, case in ipairs(cases) do
      assert.equal(case[2], mistake(case[1]))
    end
  end)

  it("never fails otherwise, whatever is cut or changed", function()
    local text = 'a = "x\\n"\n[b.c]\nd = [1, { e = 2 }] # c\n[[f]]\ng = """\nh\\\n i"""\n'
    for i = 1, #text do
      toml.parse(text:sub(1, i))
      for _, byte in ipairs { "\0", '"', "[", "\n", "\255", "=" } do
        toml.parse(text:sub(1, i - 1) .. byte .. text:sub(i + 1))
      end
    end
  end)
end)
