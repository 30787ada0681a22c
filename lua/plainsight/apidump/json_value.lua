-- SPDX-License-Identifier: Apache-2.0
--- A reader of JSON (RFC 8259) that keeps what a schema wants to know and cjson does not tell: an empty array from an
-- empty object, 1.0 from 1, null from nothing. Bounded in depth and number of values.
local _M = {}

local DEPTH_MAX, VALUES_MAX = 32, 20000

local escapes = {
  ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}

local function utf8_of(code)
  if code < 0x80 then return string.char(code) end
  if code < 0x800 then return string.char(0xc0 + math.floor(code / 64), 0x80 + code % 64) end
  if code < 0x10000 then
    return string.char(0xe0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
  end
  return string.char(0xf0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64,
    0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
end

local function unescaped(text)
  if not text:find("\\", 1, true) then return text end
  -- Surrogates first, of which two stand for one character.
  text = text:gsub("\\u([dD][89abAB]%x%x)\\u([dD][c-fC-F]%x%x)", function(high, low)
    return utf8_of(0x10000 + (tonumber(high, 16) - 0xd800) * 1024 + tonumber(low, 16) - 0xdc00)
  end)
  return (text:gsub("\\(.)(%x?%x?%x?%x?)", function(mark, digits)
    if mark ~= "u" then return (escapes[mark] or mark) .. digits end
    return #digits == 4 and utf8_of(tonumber(digits, 16)) or "?" .. digits
  end))
end

local read_value

local function fail() error("not JSON", 0) end

local function skip_space(state) state.at = state.text:find("[^ \t\r\n]", state.at) or #state.text + 1 end

local function read_string(state)
  local from = state.at + 1
  local at = from
  while true do
    local stop = state.text:find('["\\]', at)
    if not stop then fail() end
    if state.text:byte(stop) == 0x22 then
      state.at = stop + 1
      return unescaped(state.text:sub(from, stop - 1))
    end
    at = stop + 2
  end
end

local function read_number(state)
  local text = state.text:match("^-?%d+%.?%d*[eE]?[+-]?%d*", state.at)
  local number = text and tonumber(text)
  if not number or math.abs(number) == math.huge or text:find("^-?0%d") then fail() end
  state.at = state.at + #text
  return { kind = text:find("[.eE]") and "number" or "integer", number = number, text = text }
end

local function read_array(state, depth)
  local items = {}
  state.at = state.at + 1
  skip_space(state)
  if state.text:sub(state.at, state.at) == "]" then
    state.at = state.at + 1
    return { kind = "array", items = items }
  end
  while true do
    items[#items + 1] = read_value(state, depth + 1)
    skip_space(state)
    local mark = state.text:sub(state.at, state.at)
    state.at = state.at + 1
    if mark == "]" then return { kind = "array", items = items } end
    if mark ~= "," then fail() end
  end
end

local function read_member(state, object, depth)
  skip_space(state)
  if state.text:sub(state.at, state.at) ~= '"' then fail() end
  local name = read_string(state)
  skip_space(state)
  if state.text:sub(state.at, state.at) ~= ":" then fail() end
  state.at = state.at + 1
  if not object.members[name] then object.names[#object.names + 1] = name end
  object.members[name] = read_value(state, depth + 1)
end

local function read_object(state, depth)
  local object = { kind = "object", names = {}, members = {} }
  state.at = state.at + 1
  skip_space(state)
  if state.text:sub(state.at, state.at) == "}" then
    state.at = state.at + 1
    return object
  end
  while true do
    read_member(state, object, depth)
    skip_space(state)
    local mark = state.text:sub(state.at, state.at)
    state.at = state.at + 1
    if mark == "}" then return object end
    if mark ~= "," then fail() end
  end
end

local words = { t = { "true", true }, f = { "false", false } }

local function read_word(state, first)
  if first == "n" and state.text:sub(state.at, state.at + 3) == "null" then
    state.at = state.at + 4
    return { kind = "null" }
  end
  local word = words[first]
  if not word or state.text:sub(state.at, state.at + #word[1] - 1) ~= word[1] then fail() end
  state.at = state.at + #word[1]
  return { kind = "boolean", value = word[2] }
end

function read_value(state, depth)
  state.count = state.count + 1
  if depth > DEPTH_MAX or state.count > VALUES_MAX then error("too deep or too many values", 0) end
  skip_space(state)
  local first = state.text:sub(state.at, state.at)
  if first == "{" then return read_object(state, depth) end
  if first == "[" then return read_array(state, depth) end
  if first == '"' then return { kind = "string", text = read_string(state) } end
  if first:find("[%d-]") then return read_number(state) end
  return read_word(state, first)
end

--- Read a text.
-- @param text string
-- @return value: kind ("null", "boolean", "integer", "number", "string", "array", "object") with value (boolean),
--   number and text, text (string), items (list of values), or names (list) and members (table from names to values);
--   nil and a message when it is not JSON or beyond the bounds
function _M.read(text)
  local state = { text = text, at = 1, count = 0 }
  local ok, value = pcall(read_value, state, 1)
  if not ok then return nil, value end
  skip_space(state)
  if state.at <= #text then return nil, "not JSON" end
  return value
end

return _M
