-- SPDX-License-Identifier: Apache-2.0
--- A model of an API as a document of OpenAPI 3.1.
local cli = require "plainsight.cli"
local schema = require "plainsight.apidump.schema"

local _M = {}

local reasons = { -- RFC 9110 15
  ["200"] = "OK", ["201"] = "Created", ["202"] = "Accepted", ["204"] = "No Content", ["206"] = "Partial Content",
  ["301"] = "Moved Permanently", ["302"] = "Found", ["303"] = "See Other", ["304"] = "Not Modified",
  ["307"] = "Temporary Redirect", ["308"] = "Permanent Redirect", ["400"] = "Bad Request", ["401"] = "Unauthorized",
  ["403"] = "Forbidden", ["404"] = "Not Found", ["405"] = "Method Not Allowed", ["406"] = "Not Acceptable",
  ["409"] = "Conflict", ["410"] = "Gone", ["413"] = "Content Too Large", ["415"] = "Unsupported Media Type",
  ["422"] = "Unprocessable Content", ["429"] = "Too Many Requests", ["500"] = "Internal Server Error",
  ["501"] = "Not Implemented", ["502"] = "Bad Gateway", ["503"] = "Service Unavailable", ["504"] = "Gateway Timeout",
}

local function sorted_keys(object)
  local keys = {}
  for key in pairs(object) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

local function media_object(entry)
  local object = { schema = schema.write(entry.schema) }
  if entry.example ~= nil then object.example = entry.example end
  return object
end

local function content_of(place)
  if place.media_count == 0 and not next(place.media) then return nil end
  local content = {}
  for media, entry in pairs(place.media) do content[media] = media_object(entry) end
  return content
end

local function headers_of(place)
  if not next(place.headers) then return nil end
  local headers = {}
  for name, node in pairs(place.headers) do headers[name] = { schema = schema.write(node, name) } end
  return headers
end

local function response_object(status, place)
  return {
    description = reasons[status] or "Status " .. status, content = content_of(place), headers = headers_of(place),
  }
end

local function responses_of(operation)
  local responses = {}
  for status, place in pairs(operation.responses) do
    if status:find("^[1-5]%d%d$") then responses[status] = response_object(status, place) end
  end
  for status in pairs(operation.statuses) do -- of what was only counted
    if not responses[status] and status:find("^[1-5]%d%d$") then
      responses[status] = { description = reasons[status] or "Status " .. status }
    end
  end
  if not next(responses) then responses.default = { description = "No response was seen." } end
  return responses
end

local function parameter_object(parameter, accepted)
  local is_path = parameter.place == "path"
  local object = {
    name = parameter.name, ["in"] = parameter.place, schema = schema.write(parameter.schema, parameter.name),
    required = is_path or parameter.count >= accepted,
  }
  if parameter.example ~= nil then object.example = parameter.example end
  return object
end

local function parameters_of(operation)
  local list = {}
  for _, key in ipairs(sorted_keys(operation.parameters)) do
    list[#list + 1] = parameter_object(operation.parameters[key], operation.accepted or 0)
  end
  return list[1] and list or nil
end

local function request_body(operation)
  local content = content_of(operation.request)
  if not content then return nil end
  return { content = content, required = operation.request.with_body >= (operation.accepted or 0) }
end

-- Each set of schemes that went together is an alternative; the empty one: it went without.
local function security_of(operation, schemes)
  local list, is_needed = {}, false
  for _, key in ipairs(sorted_keys(operation.security)) do
    local requirement = {}
    for name, scheme in pairs(operation.security[key]) do
      requirement[name], schemes[name], is_needed = schema.EMPTY_LIST, scheme, true
    end
    list[#list + 1] = requirement
  end
  return is_needed and list or nil
end

local function camel(text) return (text:gsub("^%l", string.upper)) end

local function operation_id(operation, used)
  local id = operation.method:lower()
  for word in operation.route:gmatch("[%w{]+") do
    id = id .. (word:sub(1, 1) == "{" and "By" .. camel(word:sub(2)) or camel(word))
  end
  local unique, number = id, 1
  while used[unique] do
    number = number + 1
    unique = id .. "_" .. number
  end
  used[unique] = true
  return unique
end

local function operation_object(operation, used, schemes)
  local tag = operation.route:match("^/([%w._-]+)")
  return {
    operationId = operation_id(operation, used), summary = operation.method .. " " .. operation.route,
    tags = tag and { tag } or nil, parameters = parameters_of(operation), requestBody = request_body(operation),
    responses = responses_of(operation), security = security_of(operation, schemes),
    ["x-plainsight"] = { exchanges = operation.count, sampled = operation.sampled, statuses = operation.statuses },
  }
end

local function url_list(urls)
  local list = {}
  for i, url in ipairs(sorted_keys(urls)) do list[i] = { url = url } end
  return list
end

-- Whether a server knows the path at all.
local function is_known(operation)
  for status in pairs(operation.statuses) do
    if status ~= "404" and status ~= "none" then return true end
  end
  return operation.statuses.none ~= nil and operation.statuses["404"] == nil
end

local function same_servers(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do
    if a[i].url ~= b[i].url then return false end
  end
  return true
end

-- Paths and their servers; a path has servers of its own when they are not those of the document.
local function paths_of(operations, schemes)
  local paths, by_path, all, used, left_out = {}, {}, {}, {}, 0
  for _, operation in ipairs(operations) do
    if is_known(operation) then
      local item = paths[operation.route] or {}
      paths[operation.route] = item
      item[operation.method:lower()] = operation_object(operation, used, schemes)
      by_path[operation.route] = by_path[operation.route] or {}
      for url in pairs(operation.servers) do by_path[operation.route][url], all[url] = true, true end
    else
      left_out = left_out + 1
    end
  end
  local servers = url_list(all)
  for path, urls in pairs(by_path) do
    local own = url_list(urls)
    if own[1] and not same_servers(own, servers) then paths[path].servers = own end
  end
  return paths, servers, left_out
end

--- The document.
-- @param operations of Model:finish()
-- @param about table of numbers: what was observed, for x-plainsight
-- @return table for plainsight.apidump.document; number of operations that were left out because no server knows them
function _M.document(operations, about)
  local schemes = {}
  local paths, servers, left_out = paths_of(operations, schemes)
  about.unknown_operations = left_out
  return {
    openapi = "3.1.0",
    info = {
      title = servers[1] and "API of " .. servers[1].url:gsub("^%w+://", "") or "Observed API", version = "1",
      description = "Inferred by Plainsight " .. cli.version .. " from exchanges that were observed: what was not " ..
        "asked for is not here, and more may be optional or possible than it seems.",
    },
    servers = servers[1] and servers or nil, paths = paths,
    components = next(schemes) and { securitySchemes = schemes } or nil, ["x-plainsight"] = about,
  }, left_out
end

return _M
