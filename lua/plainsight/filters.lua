-- SPDX-License-Identifier: Apache-2.0
--- Which exchanges are shown: --method, --status, --host, --path, --min-ms,
-- --side. Values of one option are alternatives; different options must all
-- hold. (What is captured at all is decided in the kernel: probes/include/filter.h.)
local ffi = require "ffi"
local fields = require "plainsight.output.fields"
local glob = require "plainsight.glob"
require "plainsight.contract"

local _M = {}
local C = ffi.C

local NS_PER_MS = 1e6

--- Read --status.
-- @param text "404", "5xx", "none" (no response), or several with commas
-- @return function(status or nil) -> boolean; or nil and what is wrong
function _M.parse_status(text)
  local codes, classes = {}, {}
  for item in (text .. ","):gmatch("([^,]*),") do
    if item == "none" then
      codes.none = true
    elseif item:find("^[1-9]%d%d$") then
      codes[tonumber(item)] = true
    elseif item:find("^[1-9][xX][xX]$") then
      classes[tonumber(item:sub(1, 1))] = true
    else
      return nil, "is not a list of status codes such as 404, 5xx or none"
    end
  end
  return function(status)
    if not status then return codes.none == true end
    return codes[status] or classes[math.floor(status / 100)] or false
  end
end

local function method_test(methods)
  local wanted = {}
  for method in methods:gmatch("[^,]+") do wanted[method] = true end
  return function(ex)
    local request = fields.request(ex)
    return request ~= nil and wanted[ffi.string(request.method.data, request.method.len)] == true
  end
end

local function status_test(matches)
  return function(ex)
    local response = fields.response(ex)
    return matches(response and response.status)
  end
end

--- The Host header, of HTTP/2 the authority, with and without its port (RFC 9110 7.2); names are case-insensitive.
local function host_test(pattern)
  pattern = glob.pattern(pattern:lower())
  return function(ex)
    local request = fields.request(ex)
    local slice = request and fields.host_slice(request)
    if not slice then return false end
    local host = ffi.string(slice.data, slice.len):lower()
    return host:find(pattern) ~= nil or host:gsub(":%d+$", ""):find(pattern) ~= nil
  end
end

--- The path of the target, without the query; of a target in absolute form as well (RFC 9112 3.2).
local function path_test(pattern)
  pattern = glob.pattern(pattern)
  return function(ex)
    local request = fields.request(ex)
    if not request then return false end
    local target = ffi.string(request.target.data, request.target.len)
    local path = target:gsub("^%a[%w+.-]*://[^/?#]*", ""):gsub("[?#].*$", "")
    return path:find(pattern) ~= nil
  end
end

--- From the first byte of the request to the last of the response.
local function duration_test(min_ms)
  return function(ex)
    local request, response = fields.request(ex), fields.response(ex)
    if not request or not response then return false end
    return fields.elapsed_ns(request.first_ts_ns, response.last_ts_ns) >= min_ms * NS_PER_MS
  end
end

local function side_test(side)
  local wanted = side == "client" and C.PS_SIDE_CLIENT or C.PS_SIDE_SERVER
  return function(ex) return ex.side == wanted end
end

--- The test that the options ask for.
-- @param opts method, status (a function), host, path, min_ms, side; each may be nil
-- @return function(const struct ps_exchange *) -> boolean; nil when all are shown
function _M.new(opts)
  local tests = {}
  local function add(value, make)
    if value then tests[#tests + 1] = make(value) end
  end
  add(opts.side, side_test)
  add(opts.method, method_test)
  add(opts.status, status_test)
  add(opts.min_ms, duration_test)
  add(opts.path, path_test)
  add(opts.host, host_test)
  if #tests == 0 then return nil end
  return function(ex)
    for _, test in ipairs(tests) do
      if not test(ex) then return false end
    end
    return true
  end
end

return _M
