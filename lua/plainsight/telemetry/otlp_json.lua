-- SPDX-License-Identifier: Apache-2.0
--- OTLP in its JSON encoding (OpenTelemetry Protocol 1.7): spans, metrics and resources as text.
local bit = require "bit"
local buffer = require "string.buffer"
local ffi = require "ffi"
local cli = require "plainsight.cli"
local fields = require "plainsight.output.fields"
local grpc = require "plainsight.output.grpc"
local json = require "plainsight.output.json"

local _M = {}
local C = ffi.C
local put_string = json.put_string

_M.SCHEMA_URL = "https://opentelemetry.io/schemas/1.36.0"
local SCOPE = ('"scope":{"name":"plainsight","version":"%s"}'):format(cli.version)
local KINDS = { unknown = 1, server = 2, client = 3 } -- SpanKind: INTERNAL, SERVER, CLIENT
local STATUS_ERROR = 2
local CUMULATIVE = 2

-- Appends attributes with commas between them.
local Attributes = {}
Attributes.__index = Attributes

local function attributes(buf) return setmetatable({ buf = buf, separator = "" }, Attributes) end

function Attributes:key(name)
  self.buf:put(self.separator, '{"key":"', name, '","value":{')
  self.separator = ","
end

--- A string; nil is left out.
function Attributes:text(name, value)
  if value == nil then return end
  self:key(name)
  self.buf:put('"stringValue":')
  put_string(self.buf, value)
  self.buf:put("}}")
end

--- An integer; nil is left out. 64-bit integers are strings in the JSON encoding of Protocol Buffers.
function Attributes:int(name, value)
  if value == nil then return end
  self:key(name)
  self.buf:putf('"intValue":"%d"}}', value)
end

function Attributes:bool(name, value)
  self:key(name)
  self.buf:put('"boolValue":', value and "true" or "false", "}}")
end

--- The attributes of a resource, without brackets.
-- @param workload see plainsight.telemetry.workload
-- @param extra list of { name, value }: of the environment
-- @param host string: name of this machine; nil in a replay, whose recording does not tell that of its own
-- @param has_process boolean: this very process, else all of the same name
-- @return string
function _M.resource(workload, extra, host, has_process)
  local buf = buffer.new()
  local list, container = attributes(buf), workload.container or {}
  local where = host or "replay"
  list:text("service.name", workload.name)
  list:text("service.instance.id", has_process and ("%s:%d"):format(where, workload.pid) or
    ("%s:%s"):format(where, container.id or workload.exe or workload.name))
  list:text("host.name", host)
  list:text("os.type", "linux")
  if has_process then list:int("process.pid", workload.pid) end
  list:text("process.executable.name", workload.exe and workload.exe:match("([^/]+)$"))
  list:text("process.executable.path", workload.exe)
  list:text("container.id", container.id)
  list:text("container.name", container.name)
  list:text("container.image.name", container.image)
  list:text("container.runtime", container.runtime)
  list:text("k8s.container.name", container.pod and container.name)
  list:text("k8s.namespace.name", container.namespace)
  list:text("k8s.pod.name", container.pod)
  list:text("k8s.pod.uid", container.pod_uid)
  list:text("telemetry.distro.name", "plainsight")
  list:text("telemetry.distro.version", cli.version)
  for _, pair in ipairs(extra) do list:text(pair.name, pair.value) end
  return buf:get()
end

-- RFC 7239 and X-Forwarded-For: who asked the first proxy.
local function forwarded_for(request)
  local forwarded = fields.header(request, "forwarded")
  local first = forwarded and forwarded:match("[Ff][Oo][Rr]=\"?%[?([%x.:]+)")
  if first then return first end
  local list = fields.header(request, "x-forwarded-for")
  return list and list:match("^%s*([%x.:]+)")
end

local url_text = buffer.new()

-- Semantic conventions: credentials in a URL are not told.
local function full_url(ex)
  url_text:reset()
  fields.put_url(url_text, ex, url_text.putcdata)
  return (url_text:get():gsub("^(%a[%w+.-]*://)[^/@]*@", "%1REDACTED:REDACTED@"))
end

local function put_client(list, seen, ex)
  if seen.target then list:text("url.full", full_url(ex)) end
  list:text("url.template", seen.route)
end

local function put_server(list, seen, request)
  list:text("http.route", seen.route)
  list:text("url.path", seen.path)
  list:text("url.query", seen.query)
  list:text("client.address", request and forwarded_for(request) or seen.remote_address)
end

local function put_rpc(list, ex)
  local call = grpc.call(ex)
  list:text("rpc.system", "grpc")
  list:text("rpc.service", call.service)
  list:text("rpc.method", call.method)
  list:int("rpc.grpc.status_code", call.status)
end

local function put_network(list, seen, ex)
  list:text("server.address", seen.host)
  list:int("server.port", seen.port)
  list:text("network.protocol.name", "http")
  list:text("network.protocol.version", seen.version)
  list:text("network.transport", fields.is_unix(ex) and "unix" or seen.remote_address and "tcp" or nil)
  list:text("network.peer.address", seen.remote_address)
  list:int("network.peer.port", seen.remote_address and seen.remote_port)
end

-- Whether both messages were seen to their ends, with no byte missing.
local function is_whole(request, response)
  local function whole(message)
    return message and bit.band(message.flags, C.PS_MESSAGE_COMPLETE) ~= 0 and message.body.state ~= C.PS_BODY_GAP
  end
  return whole(request) and whole(response)
end

local function put_attributes(buf, ex, seen)
  local list = attributes(buf)
  local request, response = fields.request(ex), fields.response(ex)
  list:text("http.request.method", seen.method)
  list:text("http.request.method_original", seen.original_method)
  list:int("http.response.status_code", seen.status)
  list:text("error.type", seen.error_type)
  list:text("url.scheme", seen.scheme)
  if seen.side == "server" then put_server(list, seen, request) else put_client(list, seen, ex) end
  put_network(list, seen, ex)
  list:text("user_agent.original", request and fields.header(request, "user-agent"))
  list:int("http.request.body.size", request and seen.request_bytes)
  list:int("http.response.body.size", response and seen.response_bytes)
  if grpc.is_call(ex) then put_rpc(list, ex) end
  list:int("plainsight.exchange.id", ex.id)
  if not is_whole(request, response) then list:bool("plainsight.exchange.complete", false) end
end

local function wall_ns(ts_ns, opts)
  return ffi.cast("int64_t", ts_ns) + ffi.cast("int64_t", opts.clock_offset_ns)
end

--- What a span says but for its identifiers, without the opening bracket.
-- @param buf string.buffer
-- @param ex const struct ps_exchange *
-- @param seen see plainsight.telemetry.observation
-- @param opts clock_offset_ns
function _M.put_span(buf, ex, seen, opts)
  buf:put(',"name":')
  local method = seen.method == "_OTHER" and "HTTP" or seen.method
  put_string(buf, seen.route and method .. " " .. seen.route or method)
  buf:putf(',"kind":%d,"startTimeUnixNano":"%d","endTimeUnixNano":"%d","attributes":[', KINDS[seen.side],
    wall_ns(seen.first_ns, opts), wall_ns(seen.last_ns, opts))
  put_attributes(buf, ex, seen)
  buf:put("]")
  local has_failed = seen.error_type and (seen.side ~= "server" or not seen.status or seen.status >= 500)
  if has_failed then buf:putf(',"status":{"code":%d}', STATUS_ERROR) end
  buf:put("}")
end

--- A request that exports spans.
-- @param groups list of { resource = string, spans = list of { ids = { trace, span, parent or nil, flags }, text } }
-- @return string
function _M.traces(groups)
  local buf = buffer.new()
  buf:put('{"resourceSpans":[')
  for i, group in ipairs(groups) do
    buf:put(i > 1 and "," or "", '{"resource":{"attributes":[', group.resource, ']},"scopeSpans":[{', SCOPE,
      ',"spans":[')
    for j, span in ipairs(group.spans) do
      local ids = span.ids
      buf:put(j > 1 and "," or "", '{"traceId":"', ids.trace, '","spanId":"', ids.span, '"')
      if ids.parent then buf:put(',"parentSpanId":"', ids.parent, '"') end
      buf:putf(',"flags":%d', ids.flags)
      buf:put(span.text)
    end
    buf:put('],"schemaUrl":"', _M.SCHEMA_URL, '"}],"schemaUrl":"', _M.SCHEMA_URL, '"}')
  end
  return buf:put("]}"):get()
end

local function put_numbers(buf, list, format)
  for i, number in ipairs(list) do buf:putf(format, i > 1 and "," or "", number) end
end

local function put_point(buf, point, start_ns, now_ns)
  local histogram = point.histogram
  buf:put('{"attributes":[', point.attributes, ']')
  buf:putf(',"startTimeUnixNano":"%d","timeUnixNano":"%d","count":"%d","sum":%.17g,"bucketCounts":[', start_ns, now_ns,
    histogram.count, histogram.sum)
  put_numbers(buf, histogram.counts, '%s"%d"')
  buf:put('],"explicitBounds":[')
  put_numbers(buf, histogram.bounds, "%s%.14g")
  buf:put("]}")
end

local function put_metric(buf, metric, start_ns, now_ns)
  buf:put('{"name":"', metric.name, '","unit":"', metric.unit, '","description":"', metric.description, '","')
  buf:putf('histogram":{"aggregationTemporality":%d,"dataPoints":[', CUMULATIVE)
  for i, point in ipairs(metric.points) do
    buf:put(i > 1 and "," or "")
    put_point(buf, point, start_ns, now_ns)
  end
  buf:put("]}}")
end

--- A request that exports histograms.
-- @param groups list of { resource = string, metrics = list of { name, unit, description, points = list of
--   { attributes = string, histogram = see plainsight.telemetry.series } } }
-- @param start_ns, now_ns 64-bit integers: Unix time, when counting began, and now
-- @return string
function _M.metrics(groups, start_ns, now_ns)
  local buf = buffer.new()
  buf:put('{"resourceMetrics":[')
  for i, group in ipairs(groups) do
    buf:put(i > 1 and "," or "", '{"resource":{"attributes":[', group.resource, ']},"scopeMetrics":[{', SCOPE,
      ',"metrics":[')
    for j, metric in ipairs(group.metrics) do
      buf:put(j > 1 and "," or "")
      put_metric(buf, metric, start_ns, now_ns)
    end
    buf:put('],"schemaUrl":"', _M.SCHEMA_URL, '"}],"schemaUrl":"', _M.SCHEMA_URL, '"}')
  end
  return buf:put("]}"):get()
end

--- Attributes as put_point() wants them.
-- @param add function(list) that calls list:text(), list:int() and list:bool()
-- @return string
function _M.attributes(add)
  local buf = buffer.new()
  add(attributes(buf))
  return buf:get()
end

return _M
