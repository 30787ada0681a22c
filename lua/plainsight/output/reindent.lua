-- SPDX-License-Identifier: Apache-2.0
--- JSON laid out for reading: only the white space between its tokens changes,
-- so that names keep their order and numbers their digits.
local ffi = require "ffi"
local escape = require "plainsight.output.escape"
local library = require "plainsight.library"

local _M = {}

local lib = library.lib

-- Arrays and objects in each other that are followed; what nests deeper is shown as it is.
local DEPTH_MAX = 1000
-- Levels that are indented: a few bytes of "[[[[" shall not become pages of spaces.
local INDENT_LEVELS_MAX = 32

local function set_of(text)
  local set = ffi.new("uint8_t[256]")
  for i = 1, #text do set[text:byte(i)] = 1 end
  return set
end

local spaces = set_of(" \t\r\n")
-- Bytes of numbers and words.
local literals = set_of("+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
local in_string = ffi.new("uint8_t[256]")
for byte = 0, 255 do in_string[byte] = 1 end
in_string[0x22], in_string[0x5c] = 0, 0

local newlines = {}
for level = 0, INDENT_LEVELS_MAX do newlines[level] = "\n" .. ("  "):rep(level) end

-- What may come next.
local VALUE, VALUE_OR_END, NAME, NAME_OR_END, COLON, COMMA_OR_END, DONE = 1, 2, 3, 4, 5, 6, 7

local takes_value = { [VALUE] = true, [VALUE_OR_END] = true, [DONE] = true }
local takes_string = { [VALUE] = true, [VALUE_OR_END] = true, [DONE] = true, [NAME] = true, [NAME_OR_END] = true }
local takes_end = { [VALUE_OR_END] = true, [NAME_OR_END] = true, [COMMA_OR_END] = true }

local Layout = {}
Layout.__index = Layout

function Layout:put_newline()
  self.buf:put(newlines[math.min(self.depth, INDENT_LEVELS_MAX)])
end

-- What is not on the line of a name begins a line of its own, but for the very first.
function Layout:begin_item()
  if not self.is_first and not self.is_after_colon then self:put_newline() end
  self.is_first, self.is_after_colon = false, false
end

function Layout:end_value()
  self.expected = self.depth == 0 and DONE or COMMA_OR_END
end

-- Each of these takes the token at byte i and returns where it ends, or nil when none of its kind is expected there.

function Layout:open(i, byte)
  if not takes_value[self.expected] or self.depth == DEPTH_MAX then return nil end
  self:begin_item()
  self.buf:put(byte == 0x7b and "{" or "[")
  self.depth = self.depth + 1
  self.stack[self.depth] = byte + 2 -- what closes it: in ASCII two further
  self.expected = byte == 0x7b and NAME_OR_END or VALUE_OR_END
  return i + 1
end

function Layout:close(i, byte)
  if not takes_end[self.expected] or self.stack[self.depth] ~= byte then return nil end
  self.depth = self.depth - 1
  if self.expected == COMMA_OR_END then self:put_newline() end
  self.buf:put(byte == 0x7d and "}" or "]")
  self:end_value()
  return i + 1
end

function Layout:comma(i)
  if self.expected ~= COMMA_OR_END then return nil end
  self.buf:put(",")
  self.expected = self.stack[self.depth] == 0x7d and NAME or VALUE
  return i + 1
end

function Layout:colon(i)
  if self.expected ~= COLON then return nil end
  self.buf:put(": ")
  self.expected, self.is_after_colon = VALUE, true
  return i + 1
end

-- Where the string that begins at i ends; len when its end is missing.
local function string_end(bytes, i, len)
  i = i + 1
  while i < len do
    i = i + tonumber(lib.ps_span(bytes + i, len - i, in_string))
    if i < len and bytes[i] == 0x22 then return i + 1 end
    i = i + 2 -- a backslash and what it escapes
  end
  return len
end

function Layout:string(i)
  if not takes_string[self.expected] then return nil end
  local stop = string_end(self.bytes, i, self.len)
  self:begin_item()
  escape.put(self.buf, self.bytes + i, stop - i, escape.TEXT)
  if self.expected == NAME or self.expected == NAME_OR_END then self.expected = COLON else self:end_value() end
  return stop
end

local words = { ["true"] = true, ["false"] = true, ["null"] = true }

-- Whether it begins like a number, or is one of the words.
local function is_literal(bytes, len)
  if len == 0 then return false end
  local first = bytes[0]
  return first == 0x2d or first >= 0x30 and first <= 0x39 or len <= 5 and words[ffi.string(bytes, len)] ~= nil
end

function Layout:literal(i)
  local run = tonumber(lib.ps_span(self.bytes + i, self.len - i, literals))
  if not takes_value[self.expected] or not is_literal(self.bytes + i, run) then return nil end
  self:begin_item()
  self.buf:putcdata(self.bytes + i, run)
  self:end_value()
  return i + run
end

local takers = {
  [0x7b] = Layout.open, [0x5b] = Layout.open, [0x7d] = Layout.close, [0x5d] = Layout.close,
  [0x2c] = Layout.comma, [0x3a] = Layout.colon, [0x22] = Layout.string,
}

--- Append JSON, escaped for a terminal and indented by two. From the first byte
-- on that cannot be there in JSON, bytes are appended as they are (escaped);
-- several values after each other begin a line each.
-- @param buf string.buffer
-- @param data const char *
-- @param len number of bytes
function _M.put(buf, data, len)
  local bytes = ffi.cast("const uint8_t *", data)
  local layout = setmetatable({
    buf = buf, bytes = bytes, len = len, depth = 0, stack = {}, expected = DONE,
    is_first = true, is_after_colon = false,
  }, Layout)
  local i = 0
  while true do
    i = i + tonumber(lib.ps_span(bytes + i, len - i, spaces))
    if i >= len then return end
    local take = takers[bytes[i]] or Layout.literal
    local stop = take(layout, i, bytes[i])
    if not stop then break end
    i = stop
  end
  layout:begin_item()
  escape.put(buf, bytes + i, len - i, escape.TEXT)
end

return _M
