-- SPDX-License-Identifier: Apache-2.0
--- An API as it was observed: for each path and method what was asked and answered. Bounded in the number of
-- operations, parameters, media types and examples.
local ffi = require "ffi"
local content = require "plainsight.output.content"
local fields = require "plainsight.output.fields"
local json_value = require "plainsight.apidump.json_value"
local routes = require "plainsight.routes"
local schema = require "plainsight.apidump.schema"
local security = require "plainsight.apidump.security"

local _M = {}

local OPERATIONS_MAX, PARAMETERS_MAX, MEDIA_MAX, STATUSES_MAX, SERVERS_MAX, ALTERNATIVES_MAX = 2000, 64, 8, 32, 64, 8
local EXAMPLE_BYTES_MAX = 4096

local Model = {}
Model.__index = Model

-- OpenAPI 3.1, Path Item Object.
local METHODS = {
  GET = true, PUT = true, POST = true, DELETE = true, OPTIONS = true, HEAD = true, PATCH = true, TRACE = true,
}

-- Headers of requests that are no parameters of an API: those of HTTP, of proxies, of tracing.
local PLAIN_HEADERS = {}
for name in ([[accept accept-charset accept-encoding accept-language access-control-request-headers
  access-control-request-method authorization cache-control connection content-encoding content-length content-type
  cookie date dnt expect forwarded host if-match if-modified-since if-none-match if-range if-unmodified-since
  keep-alive origin pragma priority proxy-authorization proxy-connection range referer te trailer transfer-encoding
  upgrade upgrade-insecure-requests user-agent via x-real-ip x-request-id x-correlation-id traceparent tracestate
  baggage b3 uber-trace-id x-amzn-trace-id x-cloud-trace-context]]):gmatch("%S+") do
  PLAIN_HEADERS[name] = true
end

-- Headers of responses that are worth telling.
local RESPONSE_HEADERS = {
  ["location"] = true, ["etag"] = true, ["last-modified"] = true, ["retry-after"] = true, ["link"] = true,
  ["www-authenticate"] = true, ["content-disposition"] = true, ["deprecation"] = true, ["sunset"] = true,
}

--- @param opts see plainsight.output.content
-- @return object
function _M.new(opts)
  return setmetatable({
    opts = opts, operations = {}, operation_count = 0,
    counts = { exchanges = 0, unmatched = 0, skipped_operations = 0 },
  }, Model)
end

local function percent_decoded(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

-- The pairs of a query, and of a form (WHATWG URL, application/x-www-form-urlencoded).
local function pairs_of(text)
  local list = {}
  for item in (text or ""):gmatch("[^&]+") do
    local name, value = item:match("^([^=]*)=?(.*)$")
    if name ~= "" then list[#list + 1] = { name = percent_decoded(name), value = percent_decoded(value) } end
    if #list >= PARAMETERS_MAX then break end
  end
  return list
end

-- What a text in a path, query, form or header stands for.
local function scalar(text)
  if text:find("^%-?%d+$") and #text < 19 and not text:find("^%-?0%d") then
    return { kind = "integer", number = tonumber(text), text = text }
  end
  if text:find("^%-?%d+%.%d+$") then return { kind = "number", number = tonumber(text), text = text } end
  if text == "true" or text == "false" then return { kind = "boolean", value = text == "true" } end
  return { kind = "string", text = text }
end

-- Of one name several values are an array.
local function values_of(list)
  local order, by_name = {}, {}
  for _, pair in ipairs(list) do
    local values = by_name[pair.name]
    if not values then
      values = {}
      by_name[pair.name], order[#order + 1] = values, pair.name
    end
    values[#values + 1] = scalar(pair.value)
  end
  return order, by_name
end

local function add_parameter(operation, place, name, value)
  local key = place .. ":" .. name
  local parameter = operation.parameters[key]
  if not parameter then
    if operation.parameter_count >= PARAMETERS_MAX then return end
    parameter = { place = place, name = name, schema = schema.new(), count = 0 }
    operation.parameters[key], operation.parameter_count = parameter, operation.parameter_count + 1
    parameter.example = schema.example(value, name)
  end
  parameter.count = parameter.count + 1
  schema.add(parameter.schema, value)
end

local function add_query(operation, list)
  local order, by_name = values_of(list)
  for _, name in ipairs(order) do
    local values = by_name[name]
    if not security.is_key(name) then
      add_parameter(operation, "query", name, #values == 1 and values[1] or { kind = "array", items = values })
    end
  end
end

local function is_parameter_header(name)
  return not PLAIN_HEADERS[name] and not security.is_header(name) and not name:find("^x%-forwarded%-")
    and not name:find("^x%-b3%-") and not name:find("^sec%-") and name:find("^[%w-]+$") ~= nil
end

local function add_headers(operation, request)
  for i = 0, request.header_count - 1 do
    local header = request.headers[i]
    local name = ffi.string(header.name.data, header.name.len):lower()
    if is_parameter_header(name) then
      add_parameter(operation, "header", name, scalar(ffi.string(header.value.data, header.value.len)))
    end
  end
end

local function media_type(message)
  local value = fields.header(message, "content-type")
  local media = value and value:match("^%s*([%w!#$&^_.+-]+/[%w!#$&^_.+-]+)")
  return media and media:lower()
end

local function is_json(media) return media:find("[/+]json$") ~= nil end

local function form_value(bytes)
  local object = { kind = "object", names = {}, members = {} }
  local order, by_name = values_of(pairs_of(bytes))
  for _, name in ipairs(order) do
    local values = by_name[name]
    object.names[#object.names + 1] = name
    object.members[name] = #values == 1 and values[1] or { kind = "array", items = values }
  end
  return object
end

-- The value of a body, when all of it is here and it is of a kind that has one.
local function value_of(message, media, opts)
  if not is_json(media) and media ~= "application/x-www-form-urlencoded" then return nil end
  local slice, decoded = content.whole(message, opts)
  if content.is_part(message.body, decoded) then return nil end
  local text = ffi.string(slice.data, slice.len)
  if is_json(media) then return (json_value.read(text)) end
  return form_value(text)
end

-- What bodies of a message look like, by media type.
function Model:add_body(place, message)
  if message.body.size_bytes == 0 then return end
  place.with_body = (place.with_body or 0) + 1
  local media = media_type(message) or "application/octet-stream"
  local entry = place.media[media]
  if not entry then
    if place.media_count >= MEDIA_MAX then return end
    entry = { schema = schema.new(), count = 0 }
    place.media[media], place.media_count = entry, place.media_count + 1
  end
  entry.count = entry.count + 1
  local value = value_of(message, media, self.opts)
  if not value then return end
  schema.add(entry.schema, value)
  if entry.example ~= nil or message.body.size_bytes > EXAMPLE_BYTES_MAX then return end
  entry.example = schema.example(value)
end

local function add_response_headers(place, response)
  for i = 0, response.header_count - 1 do
    local header = response.headers[i]
    local name = ffi.string(header.name.data, header.name.len):lower()
    if RESPONSE_HEADERS[name] or name:find("^x%-ratelimit") or name:find("^ratelimit") then
      local node = place.headers[name] or schema.new()
      place.headers[name] = node
      schema.add(node, scalar(ffi.string(header.value.data, header.value.len)))
    end
  end
end

local function new_place() return { count = 0, media = {}, media_count = 0, headers = {} } end

local function response_place(operation, status)
  local place = operation.responses[status]
  if not place then
    if operation.status_count >= STATUSES_MAX then return nil end
    place = new_place()
    operation.responses[status], operation.status_count = place, operation.status_count + 1
  end
  return place
end

local function add_security(operation, found, status)
  -- Who was turned away says nothing on what is needed.
  if status == 401 or status == 403 then return end
  local key = security.key(found)
  if operation.security[key] then return end
  if operation.alternatives >= ALTERNATIVES_MAX then return end
  operation.security[key], operation.alternatives = found, operation.alternatives + 1
end

local default_ports = { http = 80, https = 443 }

-- scheme://host:port, as the clients name it.
local function server_url(seen)
  if not seen.host or not seen.host:find("^[%w.:_-]+$") then return nil end
  local host = seen.host:find(":", 1, true) and "[" .. seen.host .. "]" or seen.host
  local is_default = not seen.port or seen.port == default_ports[seen.scheme]
  return seen.scheme .. "://" .. host .. (is_default and "" or ":" .. seen.port)
end

local function add_server(operation, seen)
  local url = server_url(seen)
  if not url or operation.servers[url] or operation.server_count >= SERVERS_MAX then return end
  operation.servers[url], operation.server_count = true, operation.server_count + 1
end

local function new_operation(seen)
  return {
    method = seen.method, route = seen.route, scope = seen.endpoint, path = seen.path, count = 0, sampled = 0,
    statuses = {}, servers = {}, server_count = 0, parameters = {}, parameter_count = 0, request = new_place(),
    responses = {}, status_count = 0, security = {}, alternatives = 0,
  }
end

--- The operation of an exchange, which is counted in it.
-- @param seen see plainsight.telemetry.observation
-- @return table, or nil when it belongs to none that can be described
function Model:count(seen)
  self.counts.exchanges = self.counts.exchanges + 1
  if not seen.route or not METHODS[seen.method] then
    self.counts.unmatched = self.counts.unmatched + 1
    return nil
  end
  local key = seen.method .. " " .. seen.endpoint .. " " .. seen.route
  local operation = self.operations[key]
  if not operation then
    if self.operation_count >= OPERATIONS_MAX then
      self.counts.skipped_operations = self.counts.skipped_operations + 1
      return nil
    end
    operation = new_operation(seen)
    self.operations[key], self.operation_count = operation, self.operation_count + 1
  end
  operation.count = operation.count + 1
  local status = seen.status and tostring(seen.status) or "none"
  operation.statuses[status] = (operation.statuses[status] or 0) + 1
  add_server(operation, seen)
  return operation
end

--- Look into an exchange.
-- @param operation of count()
-- @param ex const struct ps_exchange * with a request
-- @param seen see plainsight.telemetry.observation
function Model:add(operation, ex, seen)
  local request, response = fields.request(ex), fields.response(ex)
  operation.sampled = operation.sampled + 1
  for _, pair in ipairs(routes.parameters(seen.route, seen.path)) do
    add_parameter(operation, "path", pair.name, scalar(pair.value))
  end
  local query = pairs_of(seen.query)
  add_security(operation, security.of(request, query), seen.status)
  -- What was refused is no example of what is asked.
  if not seen.status or seen.status < 400 then
    operation.accepted = (operation.accepted or 0) + 1
    add_query(operation, query)
    add_headers(operation, request)
    self:add_body(operation.request, request)
  end
  local place = response and seen.status and response_place(operation, tostring(seen.status))
  if not place then return end
  place.count = place.count + 1
  self:add_body(place, response)
  add_response_headers(place, response)
end

local function merge_place(into, from)
  into.count, into.with_body = into.count + from.count, (into.with_body or 0) + (from.with_body or 0)
  for media, entry in pairs(from.media) do
    local known = into.media[media]
    if known then
      known.count = known.count + entry.count
      schema.merge(known.schema, entry.schema)
      if known.example == nil then known.example = entry.example end
    else
      into.media[media] = entry
    end
  end
  for name, node in pairs(from.headers) do
    if into.headers[name] then schema.merge(into.headers[name], node) else into.headers[name] = node end
  end
end

local function merge_parameters(into, from)
  for key, parameter in pairs(from.parameters) do
    local known = into.parameters[key]
    if known then
      known.count = known.count + parameter.count
      schema.merge(known.schema, parameter.schema)
    else
      into.parameters[key] = parameter
    end
  end
end

local function merge_operations(into, from)
  into.count, into.sampled = into.count + from.count, into.sampled + from.sampled
  into.accepted = (into.accepted or 0) + (from.accepted or 0)
  for status, count in pairs(from.statuses) do into.statuses[status] = (into.statuses[status] or 0) + count end
  for url in pairs(from.servers) do into.servers[url] = true end
  for key, found in pairs(from.security) do into.security[key] = found end
  merge_parameters(into, from)
  merge_place(into.request, from.request)
  for status, place in pairs(from.responses) do
    if into.responses[status] then merge_place(into.responses[status], place) else into.responses[status] = place end
  end
end

-- Path parameters under the names of the route as it is now: more segments may be parameters than at first.
local function rename_parameters(operation, route)
  if operation.route == route then return end
  local renamed = {}
  for key, parameter in pairs(operation.parameters) do
    if parameter.place ~= "path" then renamed[key] = parameter end
  end
  for _, pair in ipairs(routes.parameters(route, operation.path)) do
    local value = scalar(pair.value)
    local parameter = {
      place = "path", name = pair.name, count = operation.sampled, schema = schema.new(),
      example = schema.example(value, pair.name),
    }
    schema.add(parameter.schema, value)
    renamed["path:" .. pair.name] = parameter
  end
  operation.parameters, operation.route = renamed, route
end

-- OpenAPI 3.1, 4.8.8.2: templated paths that differ in names only are identical.
local function shape_of(route) return (route:gsub("{%w+}", "{}")) end

--- What was observed, by path and method, with the routes as they are in the end.
-- @param all plainsight.routes, with which the exchanges were observed
-- @return list of operations, in the order of paths and methods
function Model:finish(all)
  local by_shape, names, list = {}, {}, {}
  local keys = {}
  for key in pairs(self.operations) do keys[#keys + 1] = key end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local operation = self.operations[key]
    local route = all:route(operation.scope, operation.path) or operation.route
    local shape = shape_of(route)
    names[shape] = names[shape] or route -- the same names for all methods of a path
    rename_parameters(operation, names[shape])
    local known = by_shape[operation.method .. shape]
    if known then
      merge_operations(known, operation)
    else
      by_shape[operation.method .. shape], list[#list + 1] = operation, operation
    end
  end
  table.sort(list, function(a, b)
    if a.route ~= b.route then return a.route < b.route end
    return a.method < b.method
  end)
  return list
end

return _M
