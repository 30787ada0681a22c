-- SPDX-License-Identifier: Apache-2.0
--- A reader of TOML 1.0 (https://toml.io/en/v1.0.0), but for dates and times, which it refuses by name.
--
-- Tables become Lua tables with string keys, arrays become lists. Integers from 2^53 on are refused, as a Lua number
-- would not hold them. Every key and list element keeps the line on which it stands, for messages about it.
local _M = {}

local Parser = {}
Parser.__index = Parser

-- Deeper nesting is a mistake or an attack on the stack.
local DEPTH_MAX = 100

-- What parse() throws for mistakes in the text.
local Mistake = {}

local function utf8_char(code)
  if code < 0x80 then return string.char(code) end
  if code < 0x800 then return string.char(0xc0 + math.floor(code / 64), 0x80 + code % 64) end
  local tail = string.char(0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
  if code < 0x10000 then return string.char(0xe0 + math.floor(code / 4096)) .. tail end
  return string.char(0xf0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64) .. tail
end

-- What stands for a byte in a message.
local function shown(text)
  if text == "" then return "the end of the file" end
  if text:find("^%c") then return ("byte 0x%02x"):format(text:byte()) end
  return "'" .. text .. "'"
end

function Parser:fail(message, line)
  error(setmetatable({ line = line or self.line, message = message }, Mistake), 0)
end

-- The bytes of a pattern at the position, which moves behind them; nil when it does not match.
function Parser:take(pattern)
  local first, last = self.text:find("^" .. pattern, self.pos)
  if not first then return nil end
  self.pos = last + 1
  return self.text:sub(first, last)
end

function Parser:peek(count)
  return self.text:sub(self.pos, self.pos + (count or 1) - 1)
end

-- A line feed, with the carriage return before it.
function Parser:newline()
  if not self:take("\r?\n") then return false end
  self.line = self.line + 1
  return true
end

function Parser:comment()
  if not self:take("#") then return end
  self:take("[^%z\1-\8\10-\31\127]*")
  local next_byte = self:peek()
  if next_byte ~= "" and not self.text:find("^\r?\n", self.pos) then
    self:fail(("%s cannot stand in a comment"):format(shown(next_byte)))
  end
end

function Parser:blank()
  self:take("[ \t]*")
end

-- White space, comments and line ends.
function Parser:blank_lines()
  repeat
    self:blank()
    self:comment()
  until not self:newline()
end

-- What may follow a header or a pair on its line.
function Parser:end_of_line(after)
  self:blank()
  self:comment()
  if self:peek() ~= "" and not self:newline() then
    self:fail(("%s is followed by %s on the same line"):format(after, shown(self:peek())))
  end
end

local escapes = { b = "\b", t = "\t", n = "\n", f = "\f", r = "\r", ['"'] = '"', ["\\"] = "\\" }

-- What stands behind a backslash.
function Parser:escape()
  local kind = self:take(".") or ""
  if escapes[kind] then return escapes[kind] end
  if kind ~= "u" and kind ~= "U" then self:fail(("no escape begins with \\ and %s"):format(shown(kind))) end
  local digits = self:take(("%x"):rep(kind == "u" and 4 or 8))
  if not digits then self:fail(("\\%s wants %d hexadecimal digits"):format(kind, kind == "u" and 4 or 8)) end
  local code = tonumber(digits, 16)
  if code > 0x10ffff or code >= 0xd800 and code <= 0xdfff then
    self:fail(("\\%s%s is no Unicode scalar value"):format(kind, digits))
  end
  return utf8_char(code)
end

-- A string on one line, behind its opening quote.
function Parser:line_string(quote)
  local parts, plain = {}, quote == '"' and '[^"\\%z\1-\8\10-\31\127]+' or "[^'%z\1-\8\10-\31\127]+"
  while true do
    parts[#parts + 1] = self:take(plain)
    local byte = self:take("[\"'\\]")
    if byte == quote then return table.concat(parts) end
    if byte ~= "\\" then
      local found = self:peek()
      if found == "" or found == "\n" or found == "\r" then self:fail("a string does not end on its line") end
      self:fail(("%s cannot stand in a string"):format(shown(found)))
    end
    parts[#parts + 1] = self:escape()
  end
end

-- Up to two quotes may stand right before the closing three.
local function closing_quotes(parser, quote)
  local quotes = parser:take(quote .. quote .. quote .. quote .. "?" .. quote .. "?")
  return quotes and quotes:sub(4)
end

-- A backslash at the end of a line takes away all white space up to the next character.
function Parser:folds_line()
  if not self.text:find("^\\[ \t]*\r?\n", self.pos) then return false end
  self:take("\\[ \t]*")
  while self:newline() do self:blank() end
  return true
end

-- A string of several lines, behind its three opening quotes.
function Parser:long_string(quote)
  local begun = self.line
  local parts, plain = {}, quote == '"' and '[^"\\%z\1-\8\10-\31\127]+' or "[^'%z\1-\8\10-\31\127]+"
  self:newline()
  while true do
    parts[#parts + 1] = self:take(plain)
    local extra = closing_quotes(self, quote)
    if extra then return table.concat(parts) .. extra end
    if self:newline() then
      parts[#parts + 1] = "\n"
    elseif self:peek() == "" then
      self:fail("a string that begins here does not end", begun)
    elseif self:take(quote) then
      parts[#parts + 1] = quote
    elseif quote == "'" or self:peek() ~= "\\" then
      self:fail(("%s cannot stand in a string"):format(shown(self:peek())))
    elseif not self:folds_line() then
      self:take("\\")
      parts[#parts + 1] = self:escape()
    end
  end
end

function Parser:string()
  local quote = self:take("[\"']")
  if self:take(quote .. quote) then return self:long_string(quote) end
  return self:line_string(quote)
end

-- A key that is one name.
function Parser:name()
  local bare = self:take("[%w_-]+")
  if bare then return bare end
  local quote = self:take("[\"']")
  if not quote then self:fail(("a key was expected, not %s"):format(shown(self:peek()))) end
  return self:line_string(quote)
end

-- A key with its dots, as a list of names.
function Parser:key()
  local names = {}
  repeat
    self:blank()
    names[#names + 1] = self:name()
    self:blank()
  until not self:take("%.")
  if #names > DEPTH_MAX then self:fail("a key has too many parts") end
  return names
end

-- Underscores stand between digits only.
local function without_underscores(text)
  if text:find("^_") or text:find("_$") or text:find("__") or text:find("[^%x]_") or text:find("_[^%x]") then
    return nil
  end
  return (text:gsub("_", ""))
end

local bases = { ["0x"] = { 16, "^%x+$" }, ["0o"] = { 8, "^[0-7]+$" }, ["0b"] = { 2, "^[01]+$" } }

local function based_integer(word)
  local base = bases[word:sub(1, 2)]
  if not base then return nil end
  local digits = without_underscores(word:sub(3))
  return digits and digits:find(base[2]) and tonumber(digits, base[1])
end

local function decimal(word)
  local sign, rest = word:match("^([+-]?)(.*)$")
  local factor = sign == "-" and -1 or 1
  if rest == "inf" then return factor * math.huge end
  if rest == "nan" then return 0 / 0 end
  local digits = rest:find("^%d") and without_underscores(rest)
  if not digits or digits:find("^0%d") then return nil end
  local is_number = digits:find("^%d+$") or digits:find("^%d+%.%d+$") or digits:find("^%d+[eE][+-]?%d+$")
    or digits:find("^%d+%.%d+[eE][+-]?%d+$")
  if not is_number then return nil end
  return factor * tonumber(digits), digits:find("^%d+$") ~= nil
end

function Parser:bare_value()
  local word = self:take("[%w_+.:-]+")
  if not word then self:fail(("a value was expected, not %s"):format(shown(self:peek()))) end
  if word == "true" or word == "false" then return word == "true" end
  if word:find("^%d%d%d%d%-%d%d%-%d%d") or word:find("^%d%d:%d%d") then
    self:fail(("%s: dates and times are not supported; write a string"):format(word))
  end
  local value, is_integer = based_integer(word), true
  if not value then value, is_integer = decimal(word) end
  if not value then self:fail(("%s is no value; a string needs quotes"):format(word)) end
  if is_integer and math.abs(value) >= 2 ^ 53 then self:fail(("%s is too large (2^53 or over)"):format(word)) end
  return value
end

function Parser:array(depth)
  local begun, list, lines = self.line, {}, {}
  self.lines[list], self.fixed[list] = lines, true
  self:blank_lines()
  while not self:take("%]") do
    if self:peek() == "" then self:fail("an array that begins here does not end", begun) end
    lines[#list + 1] = self.line
    list[#list + 1] = self:value(depth + 1)
    self:blank_lines()
    if not self:take(",") and self:peek() ~= "]" then
      self:fail(("',' or ']' was expected in an array, not %s"):format(shown(self:peek())))
    end
    self:blank_lines()
  end
  return list
end

function Parser:inline_table(depth)
  local object = self:new_table()
  self:blank()
  if not self:take("}") then
    repeat
      self:pair(object, depth + 1)
      self:blank()
    until not self:take(",")
    if not self:take("}") then
      self:fail(("',' or '}' was expected in an inline table, not %s"):format(shown(self:peek())))
    end
  end
  self:fix(object)
  return object
end

function Parser:value(depth)
  if depth > DEPTH_MAX then self:fail("values are nested too deeply") end
  local byte = self:peek()
  if byte == '"' or byte == "'" then return self:string() end
  if self:take("%[") then return self:array(depth) end
  if self:take("{") then return self:inline_table(depth) end
  return self:bare_value()
end

function Parser:new_table()
  local object = {}
  self.lines[object] = {}
  return object
end

-- An inline table is closed: nothing is added to it, nor to the tables in it.
function Parser:fix(object)
  self.fixed[object] = true
  for _, value in pairs(object) do
    if type(value) == "table" and not self.fixed[value] then self:fix(value) end
  end
end

function Parser:set(object, name, value)
  if object[name] ~= nil then
    self:fail(("%s is already there, on line %d"):format(name, self.lines[object][name]))
  end
  object[name] = value
  self.lines[object][name] = self.line
end

-- The table of a dotted key: made of keys only, never one with a header of its own.
function Parser:dotted_step(object, name)
  local inner = object[name]
  if inner == nil then
    inner = self:new_table()
    self.dotted[inner] = true
    self:set(object, name, inner)
  elseif type(inner) ~= "table" or not self.dotted[inner] or self.fixed[inner] then
    self:fail(("%s is already there, on line %d"):format(name, self.lines[object][name]))
  end
  return inner
end

function Parser:pair(object, depth)
  local line, names = self.line, self:key()
  if not self:take("=") then
    self:fail(("'=' was expected after %s, not %s"):format(table.concat(names, "."), shown(self:peek())))
  end
  self:blank()
  for i = 1, #names - 1 do object = self:dotted_step(object, names[i]) end
  local value = self:value(depth)
  local name = names[#names]
  if object[name] ~= nil then
    self:fail(("%s is already there, on line %d"):format(name, self.lines[object][name]), line)
  end
  object[name] = value
  self.lines[object][name] = line
end

-- One part of a header that is not its last: the table, or the last table of an array of tables.
function Parser:header_step(object, name)
  local inner = object[name]
  if inner == nil then
    inner = self:new_table()
    self:set(object, name, inner)
  elseif type(inner) ~= "table" or self.fixed[inner] then
    self:fail(("%s is no table: line %d"):format(name, self.lines[object][name]))
  end
  return self.arrays[inner] and inner[#inner] or inner
end

function Parser:table_header(names)
  local object, name = self.root, names[#names]
  for i = 1, #names - 1 do object = self:header_step(object, names[i]) end
  local own = object[name]
  if own == nil then
    own = self:new_table()
    self:set(object, name, own)
  elseif type(own) ~= "table" or self.headed[own] or self.dotted[own] or self.arrays[own] or self.fixed[own] then
    self:fail(("[%s] is already there, on line %d"):format(table.concat(names, "."), self.lines[object][name]))
  end
  self.headed[own] = true
  return own
end

function Parser:array_header(names)
  local object, name = self.root, names[#names]
  for i = 1, #names - 1 do object = self:header_step(object, names[i]) end
  local list = object[name]
  if list == nil then
    list = {}
    self.lines[list], self.arrays[list] = {}, true
    self:set(object, name, list)
  elseif type(list) ~= "table" or not self.arrays[list] then
    self:fail(("%s is no array of tables: line %d"):format(table.concat(names, "."), self.lines[object][name]))
  end
  local own = self:new_table()
  self.headed[own] = true
  list[#list + 1] = own
  self.lines[list][#list] = self.line
  return own
end

function Parser:header()
  local is_array = self:take("%[%[") ~= nil
  if not is_array then self:take("%[") end
  local names = self:key()
  if not self:take(is_array and "%]%]" or "%]") then
    self:fail(("'%s' was expected, not %s"):format(is_array and "]]" or "]", shown(self:peek())))
  end
  local object = is_array and self:array_header(names) or self:table_header(names)
  self:end_of_line("a header")
  return object
end

function Parser:document()
  local object = self.root
  self.pos = self:take("\239\187\191") and 4 or 1 -- a byte order mark
  while true do
    self:blank_lines()
    local byte = self:peek()
    if byte == "" then return self.root end
    if byte == "[" then
      object = self:header()
    else
      self:pair(object, 1)
      self:end_of_line("a value")
    end
  end
end

-- The first byte that is not valid UTF-8 (RFC 3629), or nil.
local function bad_utf8(text)
  local pos = 1
  while pos <= #text do
    local _, last = text:find("^[%z\1-\127]+", pos)
    if not last then
      last = select(2, text:find("^[\194-\223][\128-\191]", pos))
        or select(2, text:find("^\224[\160-\191][\128-\191]", pos))
        or select(2, text:find("^[\225-\236\238\239][\128-\191][\128-\191]", pos))
        or select(2, text:find("^\237[\128-\159][\128-\191]", pos))
        or select(2, text:find("^\240[\144-\191][\128-\191][\128-\191]", pos))
        or select(2, text:find("^[\241-\243][\128-\191][\128-\191][\128-\191]", pos))
        or select(2, text:find("^\244[\128-\143][\128-\191][\128-\191]", pos))
    end
    if not last then return pos end
    pos = last + 1
  end
end

local function line_of(text, pos)
  return select(2, text:sub(1, pos - 1):gsub("\n", "")) + 1
end

--- Read a document.
-- @param text string: UTF-8
-- @return table, and a table of lines: lines[t][key] is the number of the line on which that key of the table t, or
--   that element of the list t, begins; or nil, a message, and the number of the line that it is about
function _M.parse(text)
  local bad = bad_utf8(text)
  if bad then return nil, "bytes that are not UTF-8", line_of(text, bad) end
  local parser = setmetatable({
    text = text, pos = 1, line = 1,
    lines = {}, -- by table
    dotted = {}, -- tables that dotted keys made
    headed = {}, -- tables that have a header
    arrays = {}, -- arrays of tables
    fixed = {}, -- inline tables and arrays: nothing is added to them
  }, Parser)
  parser.root = parser:new_table()
  local ok, result = pcall(parser.document, parser)
  if ok then return result, parser.lines end
  if getmetatable(result) ~= Mistake then error(result, 0) end
  return nil, result.message, result.line
end

return _M
