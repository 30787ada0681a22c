-- SPDX-License-Identifier: Apache-2.0
--- An exchange in the terms of OpenTelemetry's semantic conventions for HTTP (version 1.36): what spans, metrics and
-- descriptions of APIs have in common.
local buffer = require "string.buffer"
local ffi = require "ffi"
local fields = require "plainsight.output.fields"
local recent = require "plainsight.recent"
local routes = require "plainsight.routes"
local workload = require "plainsight.telemetry.workload"

local _M = {}
local C = ffi.C
local has = fields.has

local HOST_BYTES_MAX = 255
local KEPT_MAX = 2048
local NS_PER_S = 1e9

-- RFC 9110 9.3 and RFC 5789; others are "_OTHER", so that nobody can make up series.
local known_methods = {}
for name in ("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE"):gmatch("%S+") do known_methods[name] = name end

local side_names = {
  [C.PS_SIDE_CLIENT] = "client", [C.PS_SIDE_SERVER] = "server", [C.PS_SIDE_UNKNOWN] = "unknown",
}

local Observer = {}
Observer.__index = Observer

--- @param opts see plainsight.telemetry.workload
-- @return object
function _M.new(opts)
  return setmetatable({
    routes = routes.new(), workloads = workload.new(opts), text = buffer.new(),
    last = {}, authorities = recent.new(KEPT_MAX), addresses = recent.new(KEPT_MAX),
  }, Observer)
end

--- The observer that all outputs of a run share, so that they have the same routes and look once.
-- @param opts of the run
-- @return object
function _M.shared(opts)
  opts.observer = opts.observer or _M.new(opts)
  return opts.observer
end

local function text_of(slice) return ffi.string(slice.data, slice.len) end

-- Scheme, authority, path and query of a target (RFC 9112 3.2). Of CONNECT and "*" there is no path.
local function split_target(target)
  if target:byte(1) == 0x2f and not target:find("#", 1, true) then -- "/", as most
    local mark = target:find("?", 1, true)
    if not mark then return nil, nil, target, nil end
    return nil, nil, target:sub(1, mark - 1), mark < #target and target:sub(mark + 1) or nil
  end
  local scheme, authority, rest = target:match("^(%a[%w+.-]*)://([^/?#]*)(.*)$")
  local at = rest or target
  if at == "" and scheme then at = "/" end
  if at:sub(1, 1) == "?" and scheme then at = "/" .. at end
  if at:sub(1, 1) ~= "/" then return scheme, authority, nil, nil end
  local path, query = at:match("^([^?#]*)%??([^#]*)")
  return scheme, authority, path, query ~= "" and query or nil
end
_M.split_target = split_target

-- Host and port of an authority (RFC 3986 3.2), without user information; nil when it is none.
local function split_authority(authority)
  if #authority > HOST_BYTES_MAX then return nil end
  local bare = authority:gsub("^[^@]*@", "")
  local host, port = bare:match("^%[([%x:.]+)%]:?(%d*)$")
  if not host then host, port = bare:match("^([%w._~-]+):?(%d*)$") end
  if not host then return nil end
  return host:lower(), tonumber(port)
end
_M.split_authority = split_authority

-- Host and port, found out once for the authorities that come often.
function Observer:authority(authority)
  local known = self.authorities:get(authority)
  if not known then
    local host, port = split_authority(authority)
    known = { host = host, port = port }
    self.authorities:set(authority, known)
  end
  return known.host, known.port
end

function Observer:address(endpoint)
  if endpoint.family ~= C.PS_FAMILY_INET and endpoint.family ~= C.PS_FAMILY_INET6 then return nil end
  local bytes = ffi.string(endpoint.addr, endpoint.family == C.PS_FAMILY_INET and 4 or 16)
  local known = self.addresses:get(bytes)
  if known then return known end
  local buf = self.text:reset()
  fields.put_address(buf, endpoint)
  local text = buf:get()
  -- RFC 4291 2.5.5.2: the same address, as a socket for both families has it.
  text = text:match("^::ffff:(%d+%.%d+%.%d+%.%d+)$") or text
  self.addresses:set(bytes, text)
  return text
end

local default_ports = { http = 80, https = 443 }

-- Where the request goes, as the client names it, else as the socket has it.
function Observer:set_server(seen, ex, authority)
  local host, port
  if authority then host, port = self:authority(authority) end
  local endpoint_host, endpoint_port
  if seen.side == "server" then
    endpoint_host, endpoint_port = seen.local_address, seen.local_port
  elseif seen.side == "client" then
    endpoint_host, endpoint_port = seen.remote_address, seen.remote_port
  end
  seen.endpoint = endpoint_host and endpoint_host .. ":" .. endpoint_port
    or fields.is_unix(ex) and fields.unix_name(ex) or host or ""
  seen.host = host or endpoint_host or (fields.is_unix(ex) and fields.unix_name(ex):sub(6)) or nil
  seen.port = port or not host and endpoint_port or default_ports[seen.scheme]
end

function Observer:set_request(seen, ex, request)
  local target = text_of(request.target)
  local scheme, authority, path, query = split_target(target)
  local method = text_of(request.method)
  seen.method, seen.original_method = known_methods[method] or "_OTHER", not known_methods[method] and method or nil
  seen.target, seen.path, seen.query = target, path, query
  scheme = request.scheme.len > 0 and text_of(request.scheme) or scheme
  seen.scheme = (scheme or ex.library ~= 0 and "https" or "http"):lower()
  local host = fields.host_slice(request)
  authority = authority or host and text_of(host) or nil
  if method == "CONNECT" then authority = request.authority.len > 0 and text_of(request.authority) or target end
  seen.authority = authority
  self:set_server(seen, ex, authority)
  seen.request_bytes = tonumber(request.body.size_bytes)
end

-- Semantic conventions, "HTTP spans": error.type. What the capture lost is no error of the exchange.
local function error_type(seen, ex)
  local status = seen.status
  if status then
    if status >= 500 or status >= 400 and seen.side == "client" then return tostring(status) end
  end
  if has(ex.flags, C.PS_EXCHANGE_RESET) and ex.error_code ~= 0 then return fields.error_name(ex.error_code) end
  local aborted = has(ex.response.flags, C.PS_MESSAGE_ABORTED) or has(ex.request.flags, C.PS_MESSAGE_ABORTED)
  if aborted and not has(ex.flags, C.PS_EXCHANGE_TUNNEL) then return "connection_closed" end
  return nil
end

local function set_times(seen, request, response)
  local first = request or response
  seen.first_ns = first.first_ts_ns
  seen.last_ns = request and request.last_ts_ns or response.last_ts_ns
  if response and response.last_ts_ns > seen.last_ns then seen.last_ns = response.last_ts_ns end
  seen.duration_s = nil
  if not request or not response then return end
  seen.duration_s = fields.elapsed_ns(request.first_ts_ns, response.last_ts_ns) / NS_PER_S
end

local versions = {}
local function version_of(message)
  if message.version_major == 2 then return "2" end
  local number = message.version_major * 16 + message.version_minor
  versions[number] = versions[number] or ("%d.%d"):format(message.version_major, message.version_minor)
  return versions[number]
end

function Observer:set_ends(seen, ex)
  seen.local_address, seen.local_port = self:address(ex["local"]), ex["local"].port
  seen.remote_address, seen.remote_port = self:address(ex.remote), ex.remote.port
end

--- What is known of a finished exchange.
-- @param ex const struct ps_exchange *
-- @return table, that the next call fills with another exchange: side ("client", "server" or "unknown"), method (one of
--   the known ones or "_OTHER"), original_method (string when it is another), target, path, query, scheme, authority,
--   host, endpoint (strings or nil), port, status (number or nil: not seen), route (string or nil), error_type (string
--   or nil), version, request_bytes, response_bytes (numbers), has_response (boolean), first_ns, last_ns (uint64_t,
--   CLOCK_MONOTONIC), duration_s (number, nil without a response), local_address, local_port, remote_address,
--   remote_port, workload (see plainsight.telemetry.workload)
function Observer:of(ex)
  if self.last_id == ex.id then return self.last end
  local request, response = fields.request(ex), fields.response(ex)
  local seen = self.last
  self.last_id, seen.side = ex.id, side_names[ex.side] or "unknown"
  self:set_ends(seen, ex)
  if request then
    self:set_request(seen, ex, request)
  else
    seen.method, seen.scheme, seen.request_bytes = "_OTHER", ex.library ~= 0 and "https" or "http", 0
    seen.original_method, seen.target, seen.path, seen.query, seen.authority = nil, nil, nil, nil, nil
    self:set_server(seen, ex, nil)
  end
  seen.status = response and response.status ~= 0 and response.status or nil
  seen.response_bytes = response and tonumber(response.body.size_bytes) or 0
  seen.version = version_of(request or response)
  seen.error_type = error_type(seen, ex)
  seen.has_response = response ~= nil
  set_times(seen, request, response)
  seen.route = seen.path and self.routes:route(seen.endpoint, seen.path, seen.status == 404)
  seen.workload = self.workloads:of(fields.process(ex), seen.first_ns)
  return seen
end

return _M
