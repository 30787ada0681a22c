-- SPDX-License-Identifier: Apache-2.0
--- What --otlp, --otlp-header and the variables of the OpenTelemetry specification say ("OpenTelemetry Protocol
-- Exporter", "Environment Variable Specification").
local ffi = require "ffi"
local sys = require "plainsight.sys"

local _M = {}

local DEFAULT_URL = "http://localhost:4318"
local TIMEOUT_MS, METRICS_INTERVAL_MS = 10000, 60000

local function percent_decoded(text)
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

--- Read "name=value,name=value", values percent-encoded (W3C Baggage).
-- @return list of { name, value }, or nil when it is not of that form
function _M.pairs_of(text)
  local list = {}
  for item in text:gmatch("[^,]+") do
    local name, value = item:match("^%s*([^=%s]+)%s*=%s*(.-)%s*$")
    if not name then return nil end
    list[#list + 1] = { name = name, value = percent_decoded(value) }
  end
  return list
end

local function pairs_in(environment, name)
  local text = environment(name)
  if not text or text == "" then return {} end
  local list = _M.pairs_of(text)
  if not list then return nil, ("%s is not a list of NAME=VALUE with commas between them"):format(name) end
  return list
end

-- RFC 9110 5.1 and 5.5.
local function header_line(pair)
  if not pair.name:find("^[!#$%%&'*+%-.^_`|~%w]+$") or pair.value:find("[%c]") then return nil end
  return pair.name .. ": " .. pair.value
end

local function headers_of(opts, environment)
  local lines = {}
  local list, err = pairs_in(environment, "OTEL_EXPORTER_OTLP_HEADERS")
  if not list then return nil, err end
  for _, pair in ipairs(opts.otlp_headers or {}) do list[#list + 1] = pair end
  for _, pair in ipairs(list) do
    local line = header_line(pair)
    if not line then return nil, ("a header %s cannot be sent"):format(pair.name:gsub("%c", "?")) end
    lines[#lines + 1] = line
  end
  return lines
end

local function milliseconds(environment, name, default)
  local text = environment(name)
  if not text or text == "" then return default end
  local value = text:find("^%d+$") and tonumber(text)
  if not value or value < 1 or value > 1e9 then return nil, name .. " is not a number of milliseconds" end
  return value
end

-- Of the variable for one signal the URL is used as it is; to the one for all a path is added.
local function urls_of(opts, environment)
  local function variable(name)
    local value = environment(name)
    return value ~= "" and value or nil
  end
  local is_from_environment = opts.otlp == "-"
  local base = is_from_environment and (variable "OTEL_EXPORTER_OTLP_ENDPOINT" or DEFAULT_URL) or opts.otlp
  base = base:gsub("/+$", "")
  local traces, metrics = base .. "/v1/traces", base .. "/v1/metrics"
  if is_from_environment then
    traces = variable "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" or traces
    metrics = variable "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT" or metrics
  end
  for _, url in ipairs { traces, metrics } do
    if not url:find("^https?://[^/]") then return nil, ("--otlp: %s is no URL of http or https"):format(url) end
  end
  return traces, metrics
end

local function host_name()
  local file = io.open("/proc/sys/kernel/hostname")
  local name = file and file:read("*l")
  if file then file:close() end
  return name or "localhost"
end

--- Read the settings of an exporter.
-- @param opts otlp (string: URL, "-": that of the environment), otlp_headers (list of { name, value }, or nil), replay
-- @param environment function(name) -> string or nil
-- @return table: traces_url, metrics_url, headers (list of lines), resource (list of { name, value }), timeout_ms,
--   metrics_interval_ns (uint64_t), gzip (boolean), ca_file (string or nil), host (string; nil in a replay:
--   not known); or nil and a message
function _M.read(opts, environment)
  local traces_url, metrics_url = urls_of(opts, environment)
  if not traces_url then return nil, metrics_url end
  local headers, err = headers_of(opts, environment)
  if not headers then return nil, err end
  local resource, timeout, interval
  resource, err = pairs_in(environment, "OTEL_RESOURCE_ATTRIBUTES")
  if not resource then return nil, err end
  timeout, err = milliseconds(environment, "OTEL_EXPORTER_OTLP_TIMEOUT", TIMEOUT_MS)
  if not timeout then return nil, err end
  interval, err = milliseconds(environment, "OTEL_METRIC_EXPORT_INTERVAL", METRICS_INTERVAL_MS)
  if not interval then return nil, err end
  return {
    traces_url = traces_url, metrics_url = metrics_url, headers = headers, resource = resource, timeout_ms = timeout,
    metrics_interval_ns = ffi.cast("uint64_t", interval) * 1000000ULL, host = not opts.replay and host_name() or nil,
    gzip = environment "OTEL_EXPORTER_OTLP_COMPRESSION" == "gzip", clock = sys.monotonic_ns,
    ca_file = environment "OTEL_EXPORTER_OTLP_CERTIFICATE",
  }
end

return _M
