-- SPDX-License-Identifier: Apache-2.0
--- --metrics: /metrics for Prometheus, and /healthz. A sink, see plainsight.output.sinks.
local ffi = require "ffi"
local cli = require "plainsight.cli"
local http_server = require "plainsight.telemetry.http_server"
local observation = require "plainsight.telemetry.observation"
local own_process = require "plainsight.telemetry.own_process"
local prometheus = require "plainsight.telemetry.prometheus"
local series = require "plainsight.telemetry.series"
local summary = require "plainsight.output.summary"

local _M = {}
local C = ffi.C

local SERIES_MAX = 1000
local WIDTH, SIDE, PROCESS, METHOD, ROUTE, STATUS = 5, 1, 2, 3, 4, 5
local NAMES = { "side", "process", "method", "route", "status" }

local Metrics = {}
Metrics.__index = Metrics

local function new_series(labels)
  local list = {}
  for i, name in ipairs(NAMES) do
    list[i] = { name, not labels and "other" or labels[i] or "" }
  end
  return {
    labels = prometheus.labels(list), duration = series.histogram(series.DURATION_BOUNDS), requests = 0, errors = 0,
    request_bytes = 0, response_bytes = 0,
  }
end

--- Begin to listen.
-- @param opts metrics ({ host, port }); see plainsight.telemetry.observation too
-- @param say function(message)
-- @return sink, or nil and a message
function _M.open(opts, say)
  local self = setmetatable({
    observer = observation.shared(opts), labels = {}, series = series.new(WIDTH, SERIES_MAX, new_series),
  }, Metrics)
  local server, err = http_server.new(opts.metrics.host, opts.metrics.port, function(_, path, headers)
    return self:answer(path, headers)
  end)
  if not server then return nil, "--metrics: " .. err end
  self.server, self.poll_fd = server, server.fd
  if opts.metrics.port == 0 then say(("metrics: port %d"):format(server.port)) end
  return self
end

--- See plainsight.output.sinks.
function Metrics:begin(account, sinks) self.account, self.sinks = account, sinks end

local classes = { "1xx", "2xx", "3xx", "4xx", "5xx" }

--- See plainsight.output.sinks.
function Metrics:item(item)
  if item.kind ~= C.PS_ITEM_EXCHANGE then return end
  local seen, labels = self.observer:of(item.exchange), self.labels
  labels[SIDE], labels[PROCESS], labels[METHOD], labels[ROUTE] = seen.side, seen.workload.name, seen.method,
    seen.route or false
  labels[STATUS] = seen.status and (classes[math.floor(seen.status / 100)] or "other") or "none"
  local one = self.series:get(labels)
  one.requests = one.requests + 1
  if seen.error_type then one.errors = one.errors + 1 end
  one.request_bytes = one.request_bytes + seen.request_bytes
  one.response_bytes = one.response_bytes + seen.response_bytes
  if seen.duration_s then series.observe(one.duration, seen.duration_s) end
end

--- See plainsight.output.sinks.
function Metrics:tick(now) self.server:tick(now) end

--- See plainsight.output.sinks.
function Metrics:close() self.server:close() end

--- See plainsight.output.sinks.
function Metrics:counts()
  return { series = #self.series.list, series_overflows = self.series.overflows, scrapes = self.scrapes or 0 }
end

local COUNTERS = {
  { "requests", "plainsight_http_requests", "Exchanges that have ended." },
  { "errors", "plainsight_http_errors", "Of these, status 5xx, of clients also 4xx, and no whole response." },
  { "request_bytes", "plainsight_http_request_body_bytes", "Bytes of request bodies." },
  { "response_bytes", "plainsight_http_response_body_bytes", "Bytes of response bodies." },
}

function Metrics:put_exchanges(text)
  for _, counter in ipairs(COUNTERS) do
    text:family(counter[2], "counter", counter[3])
    self.series:each(function(one) text:sample(one.labels, one[counter[1]]) end)
  end
  text:family("plainsight_http_request_duration_seconds", "histogram",
    "From the first byte of the request to the last of the response.")
  self.series:each(function(one) text:histogram(one.labels, one.duration) end)
end

-- Fields of the statistics, see docs/json.md.
local LEDGER = {
  { "exchanges", "Exchanges that were handed out." }, { "messages", "Messages of WebSockets, event streams and gRPC." },
  { "records", "Records read from the ring buffer." },
  { "seen_bytes", "Bytes of calls that the probes were to report." },
  { "captured_bytes", "Bytes that records carried." }, { "gap_bytes", "Bytes known to be missing." },
  { "gaps", "Places where bytes are missing." }, { "parse_errors", "Places where HTTP could not be understood." },
  { "evicted", "Connections given up for want of room." }, { "malformed", "Records that break the event contract." },
  { "dropped_bytes", "Bytes of connections that there was no memory for." },
  { "file_lost_calls", "Calls of sendfile whose bytes could not be read any more." },
}

local function put_losses(text, lost)
  local causes = {}
  for cause in pairs(lost) do causes[#causes + 1] = cause end
  table.sort(causes)
  for _, unit in ipairs { "events", "bytes" } do
    text:family("plainsight_lost_" .. unit, "counter", "Lost or not visible, by cause: " .. unit .. ".")
    for _, cause in ipairs(causes) do
      text:sample(prometheus.labels { { "cause", cause } }, tonumber(lost[cause][unit]))
    end
  end
end

local function put_invisible(text, invisible)
  local calls = { io_uring = 0, compat = 0 }
  for _, process in ipairs(invisible) do calls[process.kind] = (calls[process.kind] or 0) + tonumber(process.calls) end
  text:family("plainsight_invisible_calls", "counter", "Calls that move data in ways that cannot be followed.")
  for _, kind in ipairs { "compat", "io_uring" } do
    text:sample(prometheus.labels { { "kind", kind } }, calls[kind])
  end
end

local BUDGET = {
  { "budget_steps_down", "Steps to capturing less, to stay in the budget." },
  { "budget_steps_up", "Steps back." }, { "left_out_calls", "Calls on connections that were left out for the budget." },
  { "left_out_bytes", "Bytes of these." },
}

local function put_budget(text, stats)
  text:family("plainsight_budget_level", "gauge", "0: everything is captured, 1: no bodies, more: fewer connections.")
  text:sample("", stats.budget_level)
  for _, entry in ipairs(BUDGET) do
    text:family("plainsight_" .. entry[1], "counter", entry[2])
    text:sample("", stats[entry[1]])
  end
end

function Metrics:put_ledger(text)
  local stats, losses, invisible = self.account()
  for _, entry in ipairs(LEDGER) do
    text:family("plainsight_" .. entry[1], "counter", entry[2])
    text:sample("", tonumber(stats[entry[1]] or 0))
  end
  if stats.budget_level then put_budget(text, stats) end
  text:family("plainsight_connections", "gauge", "Connections that are followed now.")
  text:sample("", stats.conns)
  put_losses(text, summary.object(stats, losses, invisible).lost)
  put_invisible(text, invisible)
end

local OTLP = {
  { "spans_sent", "plainsight_otlp_spans_sent", "Spans that the collector has accepted." },
  { "points_sent", "plainsight_otlp_points_sent", "Data points that the collector has accepted." },
  { "points_dropped", "plainsight_otlp_points_dropped", "Data points that were given up." },
  { "requests", "plainsight_otlp_requests", "Requests to the collector." },
  { "retries", "plainsight_otlp_retries", "Of these, those that were sent again." },
}

local function put_otlp(text, counts)
  for _, entry in ipairs(OTLP) do
    text:family(entry[2], "counter", entry[3])
    text:sample("", counts[entry[1]])
  end
  text:family("plainsight_otlp_spans_dropped", "counter", "Spans that were given up, by cause.")
  local causes = {}
  for cause in pairs(counts.spans_dropped) do causes[#causes + 1] = cause end
  table.sort(causes)
  for _, cause in ipairs(causes) do
    text:sample(prometheus.labels { { "cause", cause } }, counts.spans_dropped[cause])
  end
  text:family("plainsight_otlp_spans_waiting", "gauge", "Spans that wait to be sent.")
  text:sample("", counts.spans_waiting)
end

function Metrics:put_own(text)
  local usage = own_process.usage()
  text:family("process_cpu_seconds", "counter", "CPU time of this process, user and system.")
  text:sample("", usage.cpu_s)
  text:family("process_resident_memory_bytes", "gauge", "Resident memory of this process.")
  text:sample("", usage.resident_bytes)
  text:family("process_virtual_memory_bytes", "gauge", "Virtual memory of this process.")
  text:sample("", usage.virtual_bytes)
  text:family("process_start_time_seconds", "gauge", "Unix time at which this process began.")
  text:sample("", usage.start_s)
  text:family("process_open_fds", "gauge", "Open descriptors of this process.")
  text:sample("", own_process.open_fds())
  text:family("plainsight_series", "gauge", "Series of exchanges in use; the limit is " .. SERIES_MAX .. ".")
  text:sample("", #self.series.list)
  text:family("plainsight_series_overflows", "counter", "Exchanges that were counted as \"other\" for want of series.")
  text:sample("", self.series.overflows)
  text:family("plainsight_build_info", "gauge", "Always 1; the version is a label.")
  text:sample(prometheus.labels { { "version", cli.version } }, 1)
end

--- All metrics as text.
-- @param is_openmetrics boolean
-- @return string
function Metrics:text(is_openmetrics)
  local text = prometheus.new(is_openmetrics)
  self:put_exchanges(text)
  self:put_ledger(text)
  local others = self.sinks and self.sinks:counts() or {}
  if others.otlp then put_otlp(text, others.otlp) end
  self:put_own(text)
  return text:finish()
end

-- Whoever names OpenMetrics wants it: Prometheus gives it the highest quality, others do not name it.
local function wants_openmetrics(headers)
  local accept = ("\r\n" .. headers):match("\r\naccept:([^\r]*)") or ""
  return accept:find("application/openmetrics-text", 1, true) ~= nil
end

function Metrics:answer(path, headers)
  local plain = "text/plain; charset=utf-8"
  if path == "/healthz" then
    if not self.account then return 503, plain, "starting\n" end
    return 200, plain, "ok\n"
  end
  if path ~= "/metrics" then return 404, plain, "there are /metrics and /healthz\n" end
  if not self.account then return 503, plain, "starting\n" end
  self.scrapes = (self.scrapes or 0) + 1
  local is_openmetrics = wants_openmetrics(headers)
  return 200, is_openmetrics and prometheus.OPENMETRICS_TYPE or prometheus.CONTENT_TYPE, self:text(is_openmetrics)
end

return _M
