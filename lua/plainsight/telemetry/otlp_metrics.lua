-- SPDX-License-Identifier: Apache-2.0
--- The metrics of OpenTelemetry's semantic conventions for HTTP, counted from exchanges: histograms of durations and
-- of sizes of bodies, by service, for each side.
local otlp_json = require "plainsight.telemetry.otlp_json"
local series = require "plainsight.telemetry.series"

local _M = {}

-- For each side, as the SDKs' default limit.
local SERIES_MAX = 2000
-- Data points of one request to a collector; there are three for a series.
local REQUEST_SERIES_MAX = 300

local Metrics = {}
Metrics.__index = Metrics

local SERVICE, METHOD, STATUS, ERROR, SCHEME, VERSION, ROUTE, HOST, PORT = 1, 2, 3, 4, 5, 6, 7, 8, 9
local WIDTH = 9

local function attributes_of(labels, route_name)
  return otlp_json.attributes(function(list)
    if not labels then return list:bool("otel.metric.overflow", true) end
    local function text(name, i) list:text(name, labels[i] or nil) end
    text("http.request.method", METHOD)
    list:int("http.response.status_code", labels[STATUS] or nil)
    text("error.type", ERROR)
    text("url.scheme", SCHEME)
    text("network.protocol.version", VERSION)
    text(route_name, ROUTE)
    text("server.address", HOST)
    list:int("server.port", labels[PORT] or nil)
  end)
end

local function maker(route_name)
  return function(labels)
    return {
      service = labels and labels[SERVICE], attributes = attributes_of(labels, route_name),
      duration = series.histogram(series.DURATION_BOUNDS), request = series.histogram(series.SIZE_BOUNDS),
      response = series.histogram(series.SIZE_BOUNDS),
    }
  end
end

--- @param config host (string), resource (list of { name, value })
-- @param start_ns int64_t, Unix time: now
-- @return object
function _M.new(config, start_ns)
  return setmetatable({
    config = config, start_ns = start_ns, labels = {}, services = {},
    server = series.new(WIDTH, SERIES_MAX, maker "http.route"),
    client = series.new(WIDTH, SERIES_MAX, maker "url.template"),
  }, Metrics)
end

-- All processes of the same program, or container, are one service.
local function service_of(workload)
  if not workload.service_key then
    local container = workload.container
    workload.service_key = workload.name .. "\0" .. (container and container.id or workload.exe or "")
  end
  return workload.service_key
end

--- Count an exchange.
-- @param seen see plainsight.telemetry.observation
function Metrics:count(seen)
  local of_side = self[seen.side]
  if seen.side ~= "server" and seen.side ~= "client" then return end
  local labels, is_client = self.labels, seen.side == "client"
  labels[SERVICE], labels[METHOD], labels[STATUS] = service_of(seen.workload), seen.method, seen.status or false
  labels[ERROR], labels[SCHEME], labels[VERSION] = seen.error_type or false, seen.scheme, seen.version
  labels[ROUTE] = seen.route or false
  labels[HOST], labels[PORT] = is_client and seen.host or false, is_client and seen.port or false
  local one = of_side:get(labels)
  if not one.resource then self:set_resource(one, seen.workload) end
  if seen.duration_s then series.observe(one.duration, seen.duration_s) end
  series.observe(one.request, seen.request_bytes)
  if seen.has_response then series.observe(one.response, seen.response_bytes) end
end

function Metrics:set_resource(one, workload)
  if not one.service then workload = { name = "other" } end
  one.resource = otlp_json.resource(workload, self.config.resource, self.config.host, false)
end

local FAMILIES = {
  { field = "duration", suffix = "request.duration", unit = "s", description = "Duration of HTTP %s requests." },
  { field = "request", suffix = "request.body.size", unit = "By", description = "Size of HTTP %s request bodies." },
  { field = "response", suffix = "response.body.size", unit = "By", description = "Size of HTTP %s response bodies." },
}

local function metric_of(family, side, all)
  local points = {}
  for _, one in ipairs(all) do
    local histogram = one[family.field]
    if histogram.count > 0 then points[#points + 1] = { attributes = one.attributes, histogram = histogram } end
  end
  if #points == 0 then return nil end
  return {
    name = ("http.%s.%s"):format(side, family.suffix), unit = family.unit,
    description = family.description:format(side), points = points,
  }
end

local function metrics_of(parts)
  local metrics, count = {}, 0
  for _, part in ipairs(parts) do
    for _, family in ipairs(FAMILIES) do
      local metric = metric_of(family, part.side, part.list)
      if metric then metrics[#metrics + 1], count = metric, count + #metric.points end
    end
  end
  return metrics, count
end

-- Series by resource, and within it by side.
local function grouped(sides)
  local groups, by_resource = {}, {}
  for _, entry in ipairs(sides) do
    local group = by_resource[entry.one.resource]
    if not group then
      group = { resource = entry.one.resource, parts = {} }
      by_resource[group.resource], groups[#groups + 1] = group, group
    end
    local part = group.parts[#group.parts]
    if not part or part.side ~= entry.side then
      part = { side = entry.side, list = {} }
      group.parts[#group.parts + 1] = part
    end
    part.list[#part.list + 1] = entry.one
  end
  return groups
end

local function request_of(entries, start_ns, now_ns)
  local groups, count = grouped(entries), 0
  for _, group in ipairs(groups) do
    local points
    group.metrics, points = metrics_of(group.parts)
    count = count + points
  end
  return { body = otlp_json.metrics(groups, start_ns, now_ns), count = count }
end

--- All that was counted so far, as requests to a collector.
-- @param now_ns int64_t, Unix time
-- @return list of { body = string, count = number of data points }
function Metrics:requests(now_ns)
  local list, entries = {}, {}
  local function flush()
    if #entries > 0 then list[#list + 1] = request_of(entries, self.start_ns, now_ns) end
    entries = {}
  end
  for _, side in ipairs { "server", "client" } do
    self[side]:each(function(one)
      entries[#entries + 1] = { side = side, one = one }
      if #entries >= REQUEST_SERIES_MAX then flush() end
    end)
  end
  flush()
  return list
end

--- How many series there are.
function Metrics:size() return #self.server.list + #self.client.list end

--- How many exchanges were counted in the series of the rest.
function Metrics:overflows() return self.server.overflows + self.client.overflows end

return _M
