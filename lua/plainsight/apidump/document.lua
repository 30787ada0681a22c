-- SPDX-License-Identifier: Apache-2.0
--- JSON for people to read: indented, members in the order that OpenAPI's documents usually have.
local json = require "plainsight.output.json"
local schema = require "plainsight.apidump.schema"

local _M = {}

local ORDER = {}
for i, name in ipairs {
  "openapi", "info", "title", "version", "summary", "operationId", "description", "tags", "name", "in", "required",
  "servers", "url", "security", "parameters", "requestBody", "type", "format", "enum", "properties", "items",
  "responses", "headers", "content", "schema", "example", "paths", "components",
} do
  ORDER[name] = i
end

local function sorted_keys(object)
  local keys = {}
  for key in pairs(object) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    local first, second = ORDER[a] or 1000, ORDER[b] or 1000
    if first ~= second then return first < second end
    return a < b
  end)
  return keys
end

local put

local function put_list(buf, list, indent)
  buf:put("[")
  for i, item in ipairs(list) do
    buf:put(i > 1 and "," or "", "\n", indent, "  ")
    put(buf, item, indent .. "  ")
  end
  buf:put(#list > 0 and "\n" .. indent or "", "]")
end

local function put_object(buf, object, indent)
  local keys = sorted_keys(object)
  buf:put("{")
  for i, key in ipairs(keys) do
    buf:put(i > 1 and "," or "", "\n", indent, "  ")
    json.put_string(buf, key)
    buf:put(": ")
    put(buf, object[key], indent .. "  ")
  end
  buf:put(#keys > 0 and "\n" .. indent or "", "}")
end

function put(buf, value, indent)
  if value == schema.NULL then
    buf:put("null")
  elseif type(value) == "table" then
    if value[1] ~= nil or value == schema.EMPTY_LIST then
      put_list(buf, value, indent)
    else
      put_object(buf, value, indent)
    end
  elseif type(value) == "string" then
    json.put_string(buf, value)
  elseif type(value) == "number" then
    local is_integer = value == math.floor(value) and math.abs(value) < 2 ^ 53
    buf:put((is_integer and "%d" or "%.17g"):format(value))
  else
    buf:put(tostring(value))
  end
end

--- Append a document.
-- @param buf string.buffer
-- @param value tables, strings, numbers, booleans, schema.NULL, schema.EMPTY_LIST; a table with a first element is an
--   array
function _M.put(buf, value)
  put(buf, value, "")
  buf:put("\n")
end

return _M
