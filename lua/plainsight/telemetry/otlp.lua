-- SPDX-License-Identifier: Apache-2.0
--- --otlp: spans and metrics to a collector of OpenTelemetry, by OTLP/HTTP. A sink, see plainsight.output.sinks.
local ffi = require "ffi"
local cli = require "plainsight.cli"
local clock = require "plainsight.clock"
local curl = require "plainsight.telemetry.curl"
local delivery = require "plainsight.telemetry.delivery"
local fields = require "plainsight.output.fields"
local http_metrics = require "plainsight.telemetry.otlp_metrics"
local observation = require "plainsight.telemetry.observation"
local otlp_json = require "plainsight.telemetry.otlp_json"
local settings = require "plainsight.telemetry.otlp_settings"
local sys = require "plainsight.sys"
local trace = require "plainsight.telemetry.trace"
local buffer = require "string.buffer"

local _M = {}
local C = ffi.C

-- Spans that wait to be sent; beyond this they are dropped, and counted.
local QUEUE_SPANS_MAX, QUEUE_BYTES_MAX = 10000, 16 * 1024 * 1024
local BATCH_SPANS_MAX, BATCH_BYTES_MAX = 1000, 1024 * 1024
-- A span is sent some time after its exchange has ended: until then, the other view of it has been seen too.
local HOLD_NS = 250000000ULL
-- A batch that is not full goes this long after its first span came.
local LINGER_NS = 1000000000ULL
local UNDER_WAY_MAX = 4
-- How often libcurl is asked while requests are under way, and how long it has at the end of the run.
local POLL_MS, END_NS = 10, 2000000000ULL

local Otlp = {}
Otlp.__index = Otlp

local function random_token()
  local file = assert(io.open("/dev/urandom", "rb"))
  local bytes = file:read(8)
  file:close()
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

--- Begin.
-- @param opts otlp (URL or "-"), otlp_headers (list of { name, value }, or nil), clock_offset_ns; see
--   plainsight.telemetry.observation too
-- @param say function(message)
-- @return sink, or nil and a message
function _M.open(opts, say)
  local config, err = settings.read(opts, os.getenv)
  if not config then return nil, err end
  -- Nobody else knows the number, so that no other traffic can pass for ours.
  local user_agent = ("OTel-OTLP-Exporter-Plainsight/%s (%s)"):format(cli.version, random_token())
  local client
  client, err = curl.new { user_agent = user_agent, timeout_ms = config.timeout_ms, ca_file = config.ca_file }
  if not client then return nil, err end
  return _M.new(opts, config, client, function(message) say("otlp: " .. message) end, user_agent)
end

--- The same with its parts given.
function _M.new(opts, config, client, say, user_agent)
  local function deliver(url, what, rejected)
    return delivery.new {
      client = client, url = url, headers = config.headers, gzip = config.gzip, what = what, rejected = rejected,
      under_way_max = UNDER_WAY_MAX, say = say, clock = config.clock,
    }
  end
  local patience = config.clock or sys.monotonic_ns
  local time = opts.replay and clock.now_ns or patience
  local self = setmetatable({
    opts = opts, config = config, client = client, user_agent = user_agent, clock = time, patience = patience,
    observer = observation.shared(opts), tracer = trace.new(), text = buffer.new(), queue = {}, first = 1, last = 0,
    queued_bytes = 0, dropped_queue = 0, own_exchanges = 0, now = time(),
    spans = deliver(config.traces_url, "spans", "rejectedSpans"),
    points = deliver(config.metrics_url, "data points", "rejectedDataPoints"),
  }, Otlp)
  self.metrics = http_metrics.new(config, ffi.cast("int64_t", self.clock()) + ffi.cast("int64_t", opts.clock_offset_ns))
  self.next_metrics_ns = self.clock() + config.metrics_interval_ns
  return self
end

-- A collector on this machine is traced as any other server: what we send to it must not make more to send.
function Otlp:is_own(ex)
  local request = fields.request(ex)
  return request ~= nil and fields.header(request, "user-agent") == self.user_agent
end

function Otlp:push(ex, seen)
  if self.last - self.first + 1 >= QUEUE_SPANS_MAX or self.queued_bytes >= QUEUE_BYTES_MAX then
    self.dropped_queue = self.dropped_queue + 1
    return
  end
  local text = self.text:reset()
  otlp_json.put_span(text, ex, seen, self.opts)
  self.queued_bytes = self.queued_bytes + #text
  self.last = self.last + 1
  self.queue[self.last] = {
    ids = self.tracer:begin(ex, seen), text = text:get(), workload = seen.workload, at_ns = self.now,
  }
end

--- See plainsight.output.sinks.
function Otlp:item(item)
  if item.kind ~= C.PS_ITEM_EXCHANGE then return end
  local ex = item.exchange
  if self:is_own(ex) then
    self.own_exchanges = self.own_exchanges + 1
    return
  end
  local seen = self.observer:of(ex)
  self.metrics:count(seen)
  self:push(ex, seen)
end

-- The resource of a process, as text.
function Otlp:resource(workload)
  if not workload.span_resource then
    workload.span_resource = otlp_json.resource(workload, self.config.resource, self.config.host, true)
  end
  return workload.span_resource
end

function Otlp:pop()
  local span = self.queue[self.first]
  self.queue[self.first] = nil
  self.first, self.queued_bytes = self.first + 1, self.queued_bytes - #span.text
  local trace_id, span_id, parent, flags = self.tracer:resolve(span.ids)
  return span, { text = span.text, ids = { trace = trace_id, span = span_id, parent = parent, flags = flags } }
end

-- The oldest spans, as many as go into a request and have been here for long enough.
function Otlp:take(now, hold_ns)
  local groups, by_resource, count, bytes = {}, {}, 0, 0
  while self.first <= self.last and count < BATCH_SPANS_MAX and bytes < BATCH_BYTES_MAX do
    local next_span = self.queue[self.first]
    if next_span.at_ns + hold_ns > now then break end
    local resource = self:resource(next_span.workload)
    local span, finished = self:pop()
    local group = by_resource[resource]
    if not group then
      group = { resource = resource, spans = {} }
      by_resource[resource], groups[#groups + 1] = group, group
    end
    group.spans[#group.spans + 1] = finished
    count, bytes = count + 1, bytes + #span.text
  end
  return groups, count
end

function Otlp:send_spans(now, hold_ns, linger_ns)
  while self.first <= self.last and self.spans:is_ready() do
    local is_full = self.last - self.first + 1 >= BATCH_SPANS_MAX or self.queued_bytes >= BATCH_BYTES_MAX
    if not is_full and self.queue[self.first].at_ns + linger_ns > now then return end
    local groups, count = self:take(now, hold_ns)
    if count == 0 then return end
    self.spans:send(otlp_json.traces(groups), count)
  end
end

-- Counts are cumulative: those that wait to be sent again are worth nothing when there are newer ones.
function Otlp:snapshot(now)
  self.points:supersede()
  self.next_metrics_ns = now + self.config.metrics_interval_ns
  self.parts = self.metrics:requests(ffi.cast("int64_t", now) + ffi.cast("int64_t", self.opts.clock_offset_ns))
end

function Otlp:send_points()
  while self.parts and self.parts[1] and self.points:is_ready() do
    local part = table.remove(self.parts, 1)
    self.points:send(part.body, part.count)
  end
end

--- See plainsight.output.sinks.
function Otlp:tick(now)
  self.now = now
  self.client:perform()
  self.spans:tick()
  self.points:tick()
  self:send_spans(now, HOLD_NS, LINGER_NS)
  if now >= self.next_metrics_ns then self:snapshot(now) end
  self:send_points()
  self.client:perform()
end

local function milliseconds_until(time_ns, now)
  return time_ns > now and math.ceil(tonumber(time_ns - now) / 1e6) or 0
end

--- How long the next tick() may take to come.
-- @return milliseconds
function Otlp:wait_ms(now)
  if self.client.active > 0 then return POLL_MS end
  local wait = milliseconds_until(self.next_metrics_ns, now)
  local span = self.queue[self.first]
  if span and self.spans:is_ready() then wait = math.min(wait, milliseconds_until(span.at_ns + LINGER_NS, now)) end
  for _, batch in ipairs(self.spans.waiting) do wait = math.min(wait, milliseconds_until(batch.next_ns, now)) end
  for _, batch in ipairs(self.points.waiting) do wait = math.min(wait, milliseconds_until(batch.next_ns, now)) end
  return math.max(wait, 1)
end

--- See plainsight.output.sinks. Nobody waits for a collector that is in trouble: what is too much is dropped.
function Otlp:catch_up()
  local is_behind = self.last - self.first + 1 > QUEUE_SPANS_MAX / 2 or self.queued_bytes > QUEUE_BYTES_MAX / 2
  if not is_behind or self.spans.trouble then return true end
  self.client:perform()
  self.spans:tick()
  self:send_spans(self.now, 0ULL, 0ULL)
  self.client:wait(POLL_MS)
  return false
end

function Otlp:is_done()
  return self.first > self.last and not self.spans:is_busy() and not self.points:is_busy()
    and not (self.parts and self.parts[1])
end

--- See plainsight.output.sinks: the last items have come. Sends what is left, for a short time.
function Otlp:finish()
  local deadline = self.patience() + END_NS
  self:snapshot(self.clock())
  repeat
    local now = self.clock()
    self.client:perform()
    self.spans:tick()
    self.points:tick()
    self:send_spans(now, 0ULL, 0ULL)
    self:send_points()
    self.client:wait(POLL_MS)
  until self:is_done() or self.patience() >= deadline
  self.client:perform()
  self.dropped_end = self.last - self.first + 1
  self.first, self.queue = self.last + 1, {}
  self.spans:abandon()
  self.points:abandon()
  self.client:close()
end

--- See plainsight.output.sinks.
-- @return table for JSON
function Otlp:counts()
  local spans, points = self.spans.counts, self.points.counts
  local dropped = { queue = self.dropped_queue }
  for cause, count in pairs(spans.dropped) do dropped[cause] = count end
  dropped.shutdown = dropped.shutdown + (self.dropped_end or 0)
  return {
    spans_sent = spans.sent, spans_dropped = dropped, spans_waiting = self.last - self.first + 1,
    requests = spans.requests + points.requests, retries = spans.retries + points.retries,
    points_sent = points.sent, points_dropped = self.points:dropped(), series = self.metrics:size(),
    series_overflows = self.metrics:overflows(), own_exchanges = self.own_exchanges,
  }
end

local CAUSES = {
  { "queue", "too many waited" }, { "refused", "refused" }, { "rejected", "rejected" },
  { "answer", "answered in no OTLP" }, { "expired", "tried for too long" }, { "shutdown", "left at the end" },
}

--- See plainsight.output.sinks.
-- @return list of lines for people
function Otlp:lines()
  local counts, causes, total = self:counts(), {}, 0
  for _, cause in ipairs(CAUSES) do
    local count = counts.spans_dropped[cause[1]]
    total = total + count
    if count > 0 then causes[#causes + 1] = ("%d %s"):format(count, cause[2]) end
  end
  local line = ("otlp: %d spans sent, %d dropped"):format(counts.spans_sent, total)
  if total > 0 then line = ("%s (%s)"):format(line, table.concat(causes, ", ")) end
  return { line }
end

return _M
