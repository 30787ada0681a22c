-- SPDX-License-Identifier: Apache-2.0
--- JSON Schema (2020-12) inferred from values: each value that is observed widens it as little as needed. Bounded in
-- the number of properties and of different values that are kept.
local mask = require "plainsight.secrets.mask"
local routes = require "plainsight.routes"

local _M = {}

local PROPERTIES_MAX, ENUM_MAX, ENUM_SEEN_MIN, ENUM_BYTES_MAX = 128, 8, 8, 32
-- So many properties are keys of a map.
local MAP_KEYS_MIN = 40
local INT32_MAX = 2147483647

-- Values of these names are never shown.
local SECRET_NAMES = {
  "passw", "secret", "token", "api_?key", "apikey", "auth", "session", "credential", "private", "cookie", "signature",
  "ssn", "iban", "card", "cvv", "cvc", "pin$", "^otp", "passphrase",
}

--- Whether a value of this name may be a secret or somebody's private data.
function _M.is_secret_name(name)
  name = name:lower():gsub("%-", "_")
  for _, pattern in ipairs(SECRET_NAMES) do
    if name:find((pattern:gsub("_%?", "_?"))) then return true end
  end
  return false
end

--- @return an empty schema
function _M.new() return { count = 0, kinds = {} } end

local formats = {
  { "date-time", "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d" }, { "date", "^%d%d%d%d%-%d%d%-%d%d$" },
  { "uuid", "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$" },
  { "email", "^[%w._+-]+@[%w-]+%.[%w.-]+$" }, { "uri", "^%a[%w+.-]*://[^%s]+$" }, { "ipv4", "^%d+%.%d+%.%d+%.%d+$" },
}

--- The format of a text, such as "uuid", or that it had before it was masked; false when it has none that is known.
function _M.format_of(text)
  if mask.rule_of(text) == "email-address" then return "email" end
  for _, entry in ipairs(formats) do
    if text:find(entry[2]) then
      if entry[1] ~= "date-time" or text:find("[Zz]$") or text:find("[+-]%d%d:%d%d$") then return entry[1] end
    end
  end
  return false
end

local function add_string(node, text)
  local format = _M.format_of(text)
  if node.format == nil then node.format = format elseif node.format ~= format then node.format = false end
  local values = node.values
  if values == nil then
    values = { count = 0 }
    node.values = values
  end
  if values and not values[text] then
    if values.count >= ENUM_MAX or #text > ENUM_BYTES_MAX or not text:find("^%a[%w_-]*$") then
      node.values = false
      return
    end
    values[text], values.count = true, values.count + 1
  end
end

local function add_object(node, value)
  node.properties, node.property_count = node.properties or {}, node.property_count or 0
  for _, name in ipairs(value.names) do
    local property = node.properties[name]
    if not property and node.property_count < PROPERTIES_MAX then
      property = _M.new()
      node.properties[name], node.property_count = property, node.property_count + 1
    end
    if property then _M.add(property, value.members[name]) else node.is_cut = true end
  end
end

local function add_array(node, value)
  node.items = node.items or _M.new()
  for _, item in ipairs(value.items) do _M.add(node.items, item) end
end

--- Widen a schema so that a value fits.
-- @param node of new()
-- @param value see plainsight.apidump.json_value
function _M.add(node, value)
  local kind = value.kind
  node.count = node.count + 1
  node.kinds[kind] = (node.kinds[kind] or 0) + 1
  if kind == "string" then
    add_string(node, value.text)
  elseif kind == "object" then
    add_object(node, value)
  elseif kind == "array" then
    add_array(node, value)
  elseif kind == "integer" and math.abs(value.number) > INT32_MAX then
    node.is_wide = true
  end
end

local function merge_strings(into, from)
  if from.format ~= nil then
    if into.format == nil then into.format = from.format elseif into.format ~= from.format then into.format = false end
  end
  if from.values == false then into.values = false end
  if from.values and into.values ~= false then
    into.values = into.values or { count = 0 }
    for text in pairs(from.values) do
      if text ~= "count" and into.values and not into.values[text] then
        into.values[text], into.values.count = true, into.values.count + 1
        if into.values.count > ENUM_MAX then into.values = false end
      end
    end
  end
end

--- Widen a schema by another, which is used up.
function _M.merge(into, from)
  into.count = into.count + from.count
  for kind, count in pairs(from.kinds) do into.kinds[kind] = (into.kinds[kind] or 0) + count end
  merge_strings(into, from)
  into.is_wide, into.is_cut = into.is_wide or from.is_wide, into.is_cut or from.is_cut
  if from.items then
    if into.items then _M.merge(into.items, from.items) else into.items = from.items end
  end
  if not from.properties then return end
  into.properties, into.property_count = into.properties or {}, into.property_count or 0
  for name, property in pairs(from.properties) do
    if into.properties[name] then
      _M.merge(into.properties[name], property)
    elseif into.property_count < PROPERTIES_MAX then
      into.properties[name], into.property_count = property, into.property_count + 1
    end
  end
end

local function sorted_names(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- Names that are identifiers, or too many of them, are keys of a map.
local function is_map(node)
  if node.is_cut or node.property_count > MAP_KEYS_MIN then return true end
  local identifiers = 0
  for name in pairs(node.properties) do
    if routes.kind(name) then identifiers = identifiers + 1 end
  end
  return identifiers > 0 and identifiers == node.property_count
end

local function write_object(node)
  if node.property_count == 0 then return { type = "object" } end
  if is_map(node) then
    local all = _M.new()
    for _, property in pairs(node.properties) do _M.merge(all, property) end
    return { type = "object", additionalProperties = _M.write(all) }
  end
  local properties, required = {}, {}
  for _, name in ipairs(sorted_names(node.properties)) do
    local property = node.properties[name]
    properties[name] = _M.write(property, name)
    if property.count >= node.kinds.object then required[#required + 1] = name end
  end
  return { type = "object", properties = properties, required = required[1] and required or nil }
end

local function write_string(node, name)
  local schema = { type = "string", format = node.format or nil }
  local values, seen = node.values, node.kinds.string
  local is_enum = values and not node.format and seen >= ENUM_SEEN_MIN and values.count * 4 <= seen
  if is_enum and not (name and _M.is_secret_name(name)) then
    values.count = nil
    schema.enum = sorted_names(values)
    values.count = #schema.enum
  end
  return schema
end

local function write_kind(node, kind, name)
  if kind == "string" then return write_string(node, name) end
  if kind == "object" then return write_object(node) end
  if kind == "array" then
    return { type = "array", items = node.items and node.items.count > 0 and _M.write(node.items, name) or nil }
  end
  if kind == "integer" then return { type = "integer", format = node.is_wide and "int64" or nil } end
  return { type = kind }
end

local ORDER = { "boolean", "integer", "number", "string", "array", "object" }

--- The schema as a table to be written as JSON.
-- @param node of new()
-- @param name string: of the property, or nil
-- @return table
function _M.write(node, name)
  local kinds, list = node.kinds, {}
  for _, kind in ipairs(ORDER) do
    local is_covered = kind == "integer" and kinds.number
    if kinds[kind] and not is_covered then list[#list + 1] = kind end
  end
  if #list == 0 then return kinds.null and { type = "null" } or {} end
  if #list == 1 then
    local schema = write_kind(node, list[1], name)
    if kinds.null then
      schema.type = { schema.type, "null" }
      if schema.enum then schema.enum[#schema.enum + 1] = _M.NULL end
    end
    return schema
  end
  local alternatives = {}
  for i, kind in ipairs(list) do alternatives[i] = write_kind(node, kind, name) end
  if kinds.null then alternatives[#alternatives + 1] = { type = "null" } end
  return { oneOf = alternatives }
end

--- Stands for null in what write() and example() give.
_M.NULL = setmetatable({}, { __tostring = function() return "null" end })
--- Likewise for an array without items.
_M.EMPTY_LIST = {}

local REDACTED = "REDACTED"

-- Luhn's sum of the digits of what may be the number of a card (ISO/IEC 7812-1, annex B).
local function is_card_number(text)
  local digits = text:gsub("[ -]", "")
  if not digits:find("^%d+$") or #digits < 13 or #digits > 19 then return false end
  local sum = 0
  for i = 1, #digits do
    local digit = tonumber(digits:sub(-i, -i))
    if i % 2 == 0 then digit = digit * 2 > 9 and digit * 2 - 9 or digit * 2 end
    sum = sum + digit
  end
  return sum % 10 == 0
end

--- A text as it may be shown in an example.
-- @param text string
-- @param name string: of the property or parameter, or nil
-- @return string
function _M.example_text(text, name)
  if name and _M.is_secret_name(name) or is_card_number(text) then return REDACTED end
  local format = _M.format_of(text)
  if format == "email" then return "user@example.org" end
  if format == "ipv4" then return "192.0.2.1" end -- RFC 5737
  if format then return format == "uri" and "https://example.org/" or text end
  if routes.kind(text) == "token" and not text:find("%s") then return REDACTED end
  return #text > 200 and text:sub(1, 200):gsub("[\128-\255]*$", "") or text
end

local ITEMS_MAX = 3

--- A value as it may be shown in an example: secrets are replaced, arrays cut.
-- @param value see plainsight.apidump.json_value
-- @param name string: of the property, or nil
-- @return anything that can be written as JSON
function _M.example(value, name)
  local kind = value.kind
  if kind == "null" then return _M.NULL end
  if kind == "boolean" then return value.value end
  if kind == "integer" or kind == "number" then
    local is_hidden = name and _M.is_secret_name(name) or is_card_number(value.text)
    return is_hidden and 0 or value.number
  end
  if kind == "string" then return _M.example_text(value.text, name) end
  if kind == "array" then
    local list = {}
    for i = 1, math.min(#value.items, ITEMS_MAX) do list[i] = _M.example(value.items[i], name) end
    return list[1] ~= nil and list or _M.EMPTY_LIST
  end
  local object = {}
  for _, member in ipairs(value.names) do object[member] = _M.example(value.members[member], member) end
  return object
end

return _M
