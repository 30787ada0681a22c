-- SPDX-License-Identifier: Apache-2.0
--- The parts of a multipart body (RFC 2046 5.1, RFC 7578), one line each.
local ffi = require "ffi"
local escape = require "plainsight.output.escape"
local fields = require "plainsight.output.fields"
local library = require "plainsight.library"

local _M = {}

local lib = library.lib

local PARTS_MAX = 100
local START_BYTES = 96

local found = ffi.new("struct ps_slice[1]")
local whole = ffi.new("struct ps_slice[1]")

--- A parameter of a header value, such as the boundary of a content type.
-- @param value string
-- @param name string
-- @return string, or nil when there is none
function _M.parameter(value, name)
  whole[0].data, whole[0].len = value, #value
  if not lib.ps_parameter(whole, name, found) then return nil end
  return (ffi.string(found[0].data, found[0].len):gsub('\\(["\\])', "%1")) -- RFC 9110 5.6.4
end

local function put_quoted(buf, name, text)
  if not text then return end
  buf:put(" ", name, '="')
  escape.put(buf, text, #text, escape.QUOTED)
  buf:put('"')
end

-- Fields of a part's head by their names in lower case, those that are shown.
local function part_fields(head)
  local values = {}
  for name, value in head:gmatch("([%w-]+):[ \t]*([^\r\n]*)") do
    name = name:lower()
    if name:sub(1, 8) == "content-" and not values[name] then values[name] = value end
  end
  return values
end

local function put_part(buf, number, head, body, is_whole)
  local values = part_fields(head)
  local disposition, kind = values["content-disposition"], values["content-type"]
  buf:put("part ", number, ":")
  if disposition then
    put_quoted(buf, "name", _M.parameter(disposition, "name"))
    put_quoted(buf, "filename", _M.parameter(disposition, "filename"))
  end
  if kind then
    buf:put(" ")
    escape.put(buf, kind, #kind, escape.LINE)
  end
  put_quoted(buf, "range", values["content-range"])
  buf:put(" ")
  fields.put_size(buf, #body)
  buf:put(is_whole and "" or " (its end is missing)", ' "')
  local shown = escape.put(buf, body, #body, escape.QUOTED, START_BYTES)
  buf:put(shown < #body and '"...\n' or '"\n')
end

-- The first delimiter from position `from` on that begins a line.
-- Returns where it begins, where the line feed before it begins, and where it ends; nil when there is none.
local function find_delimiter(text, delimiter, from)
  while true do
    local first, last = text:find(delimiter, from, true)
    if not first then return nil end
    local before = text:sub(math.max(first - 2, 1), first - 1)
    if first == 1 or before:sub(-1) == "\n" then
      return first, first - (before == "\r\n" and 2 or first > 1 and 1 or 0), last
    end
    from = last + 1
  end
end

-- Head and body of a part: its bytes from the line feed of the delimiter's line on.
local function split_part(part)
  local from = part:match("^[ \t]*\r?\n()")
  if not from then return nil end
  local empty = part:match("^\r?\n()", from)
  if empty then return "", part:sub(empty) end
  local head_end, body_from = part:match("()\r?\n\r?\n()", from)
  if not head_end then return part:sub(from), "" end
  return part:sub(from, head_end - 1), part:sub(body_from)
end

--- Append a line for each part.
-- @param buf string.buffer
-- @param text string: the body
-- @param boundary string, see RFC 2046 5.1.1
-- @return boolean: false, and nothing appended, when there is no part
function _M.put(buf, text, boundary)
  local delimiter = "--" .. boundary
  local first, _, last = find_delimiter(text, delimiter, 1)
  if boundary == "" or not first then return false end
  local number = 0
  while last and text:sub(last + 1, last + 2) ~= "--" do
    local next_first, before, next_last = find_delimiter(text, delimiter, last + 1)
    local head, body = split_part(text:sub(last + 1, next_first and before - 1 or -1))
    if head then
      number = number + 1
      if number <= PARTS_MAX then put_part(buf, number, head, body, next_first ~= nil) end
    end
    last = next_last
  end
  if number > PARTS_MAX then buf:put("and ", number - PARTS_MAX, " more parts\n") end
  return true
end

return _M
