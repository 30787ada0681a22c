-- SPDX-License-Identifier: Apache-2.0
--- Captured bytes made safe to show. Whoever is traced chooses these bytes:
-- nothing here trusts them, and every read is bounded by a length.
local ffi = require "ffi"
local bit = require "bit"
local library = require "plainsight.library"

local _M = {}

local lib = library.lib

local band, bor, lshift = bit.band, bit.bor, bit.lshift
local bytes_type = ffi.typeof("const uint8_t *")

local function const_bytes(data)
  return ffi.cast(bytes_type, data)
end

-- What a byte needs.
local PLAIN, CONTROL, BREAK, BACKSLASH, QUOTE, SPACE, HIGH = 0, 1, 2, 3, 4, 5, 6

local class = ffi.new("uint8_t[256]")
for byte = 0, 255 do
  class[byte] = (byte < 0x20 or byte == 0x7f) and CONTROL or byte >= 0x80 and HIGH or PLAIN
end
class[0x0a], class[0x09] = BREAK, BREAK
class[0x5c] = BACKSLASH
class[0x22] = QUOTE
class[0x20] = SPACE

local letters = { [0x0a] = "\\n", [0x09] = "\\t", [0x0d] = "\\r", [0x5c] = "\\\\", [0x22] = '\\"', [0x20] = "\\x20" }
local hex = {}
for byte = 0, 255 do hex[byte] = ("\\x%02x"):format(byte) end

-- Which bytes pass as they are, by what the text is for: for ps_span().
local function passes(...)
  local set = ffi.new("uint8_t[256]")
  for _, kind in ipairs { PLAIN, ... } do
    for byte = 0, 255 do
      if class[byte] == kind then set[byte] = 1 end
    end
  end
  return set
end

--- Inside double quotes on one line.
_M.QUOTED = passes(SPACE)
--- One word of a line whose words are split at spaces.
_M.WORD = passes(QUOTE)
--- A whole line of its own (a header): nothing that ends it or moves the cursor.
_M.LINE = passes(SPACE, QUOTE, BACKSLASH)
--- Text of several lines: line feeds and tabs pass.
_M.TEXT = passes(SPACE, QUOTE, BACKSLASH, BREAK)

--- One character of UTF-8 (RFC 3629: no overlong forms, no surrogates).
-- @param bytes const uint8_t *
-- @param i number first byte to look at, at least 0x80
-- @param len number of bytes in all
-- @return length (2 to 4) and code point; 0 when it is not UTF-8; -1 when the
--   bytes end inside a character that is valid so far
local function utf8_char(bytes, i, len)
  local first = bytes[i]
  local size, min, max, code = 2, 0x80, 0xbf, band(first, 0x1f)
  if first < 0xc2 or first > 0xf4 then return 0 end
  if first >= 0xf0 then
    size, code = 4, band(first, 0x07)
    if first == 0xf0 then min = 0x90 elseif first == 0xf4 then max = 0x8f end
  elseif first >= 0xe0 then
    size, code = 3, band(first, 0x0f)
    if first == 0xe0 then min = 0xa0 elseif first == 0xed then max = 0x9f end
  end
  for k = 1, size - 1 do
    if i + k >= len then return -1 end
    local byte = bytes[i + k]
    if byte < min or byte > max then return 0 end
    min, max = 0x80, 0xbf
    code = bor(lshift(code, 6), band(byte, 0x3f))
  end
  return size, code
end

-- Characters that change how their neighbours are shown, or cannot be seen:
-- C1 controls, directional marks and overrides, line and paragraph separators,
-- zero-width space, byte order mark. Joiners pass: writing needs them.
local function is_deceptive(code)
  return code < 0xa0 or code == 0x61c or code == 0x200b or code == 0x200e or code == 0x200f
    or (code >= 0x2028 and code <= 0x202e) or (code >= 0x2060 and code <= 0x206f) or code == 0xfeff
end

-- C1 controls are shown by their bytes, like the other controls.
local function put_high(buf, bytes, i, len)
  local size, code = utf8_char(bytes, i, len)
  if size <= 0 then
    buf:put(hex[bytes[i]])
    return 1
  end
  if not is_deceptive(code) then
    buf:putcdata(bytes + i, size)
  elseif code < 0xa0 then
    buf:put(hex[bytes[i]], hex[bytes[i + 1]])
  else
    buf:put(("\\u{%04x}"):format(code))
  end
  return size
end

-- What is left from byte i on, the first that needs something.
local function put_rest(buf, bytes, i, len, style, limit)
  while i < limit do
    local byte = bytes[i]
    if class[byte] == HIGH then
      i = i + put_high(buf, bytes, i, len)
    else
      buf:put(letters[byte] or hex[byte])
      i = i + 1
    end
    if i < limit then
      local run = tonumber(lib.ps_span(bytes + i, limit - i, style))
      buf:putcdata(bytes + i, run)
      i = i + run
    end
  end
  return i
end

--- Append bytes to a string.buffer, escaped as \n \r \t \\ \" \xNN \u{NNNN}.
-- @param buf string.buffer
-- @param data const char *, may be NULL when len is 0
-- @param len number of bytes
-- @param style one of QUOTED, WORD, LINE, TEXT
-- @param limit number of bytes to show, len when absent; a character that
--   begins before the limit is shown whole
-- @return number of bytes shown
function _M.put(buf, data, len, style, limit)
  limit = limit and limit < len and limit or len
  local bytes = const_bytes(data)
  local run = tonumber(lib.ps_span(bytes, limit, style))
  buf:putcdata(bytes, run)
  if run == limit then return run end
  return put_rest(buf, bytes, run, len, style, limit)
end

--- How much of the bytes is UTF-8.
-- @param data const char *
-- @param len number of bytes
-- @return number of bytes before the first that is not part of a whole
--   character (len when all is well); true when only the end is missing; true
--   when a character among them needs json_deceptive
function _M.utf8_prefix(data, len)
  local bytes = const_bytes(data)
  local i, found = 0, false
  while i < len do
    if bytes[i] < 0x80 then
      i = i + 1
    else
      local size, code = utf8_char(bytes, i, len)
      if size <= 0 then return i, size < 0, found end
      if is_deceptive(code) then found = true end
      i = i + size
    end
  end
  return len, false, found
end

--- Write characters that deceive a reader's eye or act on a terminal as JSON escapes.
-- @param json string of valid UTF-8
-- @return string
function _M.json_deceptive(json)
  return (json:gsub("[\194-\239][\128-\191]+", function(char)
    local _, code = utf8_char(const_bytes(char), 0, #char)
    return is_deceptive(code) and ("\\u%04x"):format(code) or char
  end))
end

return _M
