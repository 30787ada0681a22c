-- SPDX-License-Identifier: Apache-2.0
--- Regular expressions of Go (https://github.com/google/re2/wiki/Syntax), as rule files have them, for PCRE2, which
-- matches bytes here, with $ at the very end. Most of the syntax is the same; what is not:
--
--   \s \v      without VT; in PCRE2 \s has it, and \v is a class
--   {,3}       these characters; a quantifier from PCRE2 10.43 on
--   [[:word:]] likewise
--
-- A character beyond ASCII is several bytes: refused where it would be taken as one (a class, before a quantifier).
local _M = {}

local SPACE = "\\t\\n\\f\\r "

-- What a backslash and the byte behind it become, outside of a class.
local outside = { s = "[" .. SPACE .. "]", S = "[^" .. SPACE .. "]", v = "\\x0b" }
local inside = { s = SPACE, v = "\\x0b" }

local quantifiers = { ["*"] = true, ["+"] = true, ["?"] = true, ["{"] = true }

-- The escape at pos, which is a backslash. Returns what it becomes, and the position behind it; nil and what is wrong.
local function escape(source, pos, special)
  local kind = source:sub(pos + 1, pos + 1)
  if kind == "" then return nil, "ends in a backslash" end
  if kind == "p" or kind == "P" then return nil, "has \\" .. kind .. ": classes of Unicode are not supported" end
  if kind == "Q" then
    local last = select(2, source:find("\\E", pos + 2, true)) or #source
    return source:sub(pos, last), last + 1
  end
  if kind == "x" then
    local braced = source:match("^{(%x+)}", pos + 2)
    if braced and tonumber(braced, 16) > 0x7f then return nil, "has a character beyond ASCII" end
    local last = braced and pos + 3 + #braced or pos + 3
    return source:sub(pos, last), last + 1
  end
  return special[kind] or "\\" .. kind, pos + 2
end

-- The class that begins at pos. Returns as escape().
local function class(source, pos)
  local parts, from = { "[" }, pos + 1
  if source:sub(from, from) == "^" then parts[2], from = "^", from + 1 end
  local first = from
  while true do
    local byte = source:sub(from, from)
    if byte == "" then return nil, "has a class that does not end" end
    if byte == "]" and from > first then return table.concat(parts) .. "]", from + 1 end
    if byte:byte() > 127 then return nil, "has a character beyond ASCII in a class" end
    local posix = source:match("^%[:%^?%a+:%]", from)
    if posix then
      parts[#parts + 1], from = posix, from + #posix
    elseif byte == "\\" then
      if source:sub(from + 1, from + 1) == "S" then return nil, "has \\S in a class of more: not supported" end
      parts[#parts + 1], from = escape(source, from, inside)
      if not parts[#parts] then return nil, from end
    else
      parts[#parts + 1], from = byte == "[" and "\\[" or byte, from + 1
    end
  end
end

-- \S and \s together, as in [\s\S-], are all bytes.
local function any_byte_class(source, pos)
  local body = source:match("^%[\\s\\S[^%]\\%[]*%]", pos) or source:match("^%[\\S\\s[^%]\\%[]*%]", pos)
  return body and "(?s:.)", body and pos + #body
end

-- How a group begins at pos, a parenthesis. Returns what it becomes, the position behind it, and whether it captures;
-- nil and what is wrong.
local function group(source, pos)
  if source:sub(pos + 1, pos + 1) ~= "?" then return "(", pos + 1, true end
  local name = source:match("^%(%?P?<([%w_]+)>", pos)
  if name then return "(", source:find(">", pos, true) + 1, true end -- names are of no use to us
  local flags = source:match("^%(%?[imsU-]*[:)]", pos)
  if not flags then return nil, "has a kind of group that Go does not have" end
  return flags, pos + #flags, false
end

local function literal(source, pos)
  local byte = source:sub(pos, pos)
  if byte == "{" and not source:find("^{%d+,?%d*}", pos) then return "\\{", pos + 1 end
  if byte:byte() > 127 then
    local char = source:match("^[\192-\255][\128-\191]*", pos) or byte
    if quantifiers[source:sub(pos + #char, pos + #char)] then return nil, "repeats a character beyond ASCII" end
    return char, pos + #char
  end
  return byte, pos + 1
end

--- Translate one.
-- @param source string
-- @return string for PCRE2, and the number of its capture groups; or nil and what is wrong, to be put behind "it"
function _M.to_pcre(source)
  local parts, pos, groups = {}, 1, 0
  while pos <= #source do
    local byte = source:sub(pos, pos)
    local part, after, captures
    if byte == "\\" then
      part, after = escape(source, pos, outside)
    elseif byte == "[" then
      part, after = any_byte_class(source, pos)
      if not part then part, after = class(source, pos) end
    elseif byte == "(" then
      part, after, captures = group(source, pos)
    else
      part, after = literal(source, pos)
    end
    if not part then return nil, after end
    parts[#parts + 1], pos = part, after
    if captures then groups = groups + 1 end
  end
  return table.concat(parts), groups
end

return _M
