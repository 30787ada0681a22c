-- SPDX-License-Identifier: Apache-2.0
--- Batches to a collector by OTLP/HTTP (OpenTelemetry Protocol 1.7, "OTLP/HTTP"): sent, tried again with exponential
-- back-off where the protocol says so, and counted.
local ffi = require "ffi"
local cjson = require "cjson.safe"
local gzip = require "plainsight.telemetry.gzip"
local sys = require "plainsight.sys"

local _M = {}

local NS_PER_S = 1e9
local BACKOFF_FIRST_S, BACKOFF_MAX_S, JITTER = 0.5, 30, 0.2
-- How long a batch is tried again before it is given up.
local KEEP_S = 300
-- "Retryable response codes".
local retryable = { [429] = true, [502] = true, [503] = true, [504] = true }

local Delivery = {}
Delivery.__index = Delivery

--- @param opts table: client (plainsight.telemetry.curl), url, headers (list of "Name: value"), gzip (boolean),
--   what ("spans": in messages), rejected (name of the count in a partial success), under_way_max (number),
--   say (function(message)), clock (function() -> uint64_t ns, CLOCK_MONOTONIC; for tests)
-- @return object with counts: sent, dropped = { answer, expired, refused, rejected, shutdown }, requests, retries
function _M.new(opts)
  return setmetatable({
    opts = opts, clock = opts.clock or sys.monotonic_ns, under_way = 0, under_way_things = 0,
    waiting = {},
    counts = {
      sent = 0, requests = 0, retries = 0,
      dropped = { answer = 0, expired = 0, refused = 0, rejected = 0, shutdown = 0 },
    },
  }, Delivery)
end

function Delivery:drop(batch, cause) self.counts.dropped[cause] = self.counts.dropped[cause] + batch.count end

-- Once per trouble, not per batch.
function Delivery:complain(message)
  if self.trouble == message then return end
  self.trouble = message
  self.opts.say(("%s: %s"):format(self.opts.url, message))
end

-- What a 2xx says: all accepted, some rejected, or that nobody there speaks OTLP.
function Delivery:on_accepted(batch, result)
  local answer = result.body == "" and {} or cjson.decode(result.body)
  if type(answer) ~= "table" then
    self:complain("the answer is not OTLP in JSON: is it the URL of a collector?")
    return self:drop(batch, "answer")
  end
  local partial = type(answer.partialSuccess) == "table" and answer.partialSuccess or {}
  local rejected = math.max(0, math.min(tonumber(partial[self.opts.rejected]) or 0, batch.count))
  self.counts.sent = self.counts.sent + batch.count - rejected
  self.counts.dropped.rejected = self.counts.dropped.rejected + rejected
  if rejected > 0 then
    self:complain(("%s were rejected: %s"):format(self.opts.what, tostring(partial.errorMessage):gsub("%c", " ")))
  elseif self.trouble then
    self.trouble = nil
    self.opts.say(self.opts.url .. ": accepted again")
  end
end

local function backoff_s(attempts)
  local seconds = math.min(BACKOFF_FIRST_S * 2 ^ (attempts - 1), BACKOFF_MAX_S)
  return seconds * (1 + JITTER * (2 * math.random() - 1))
end

function Delivery:try_again(batch, result)
  local wait_s = math.max(backoff_s(batch.attempts), result.retry_after_s)
  local now = self.clock()
  batch.next_ns = now + ffi.cast("uint64_t", wait_s * NS_PER_S)
  if batch.next_ns > batch.until_ns then return self:drop(batch, "expired") end
  self.waiting[#self.waiting + 1] = batch
end

function Delivery:on_done(batch, result)
  self.under_way, self.under_way_things = self.under_way - 1, self.under_way_things - batch.count
  local status = result.status
  if status >= 200 and status < 300 then return self:on_accepted(batch, result) end
  if status == 0 or retryable[status] then
    self:complain((result.err or ("status %d"):format(status)) .. "; trying again")
    return self:try_again(batch, result)
  end
  self:complain(("status %d: refused"):format(status))
  self:drop(batch, "refused")
end

function Delivery:post(batch)
  batch.attempts = batch.attempts + 1
  self.counts.requests = self.counts.requests + 1
  if batch.attempts > 1 then self.counts.retries = self.counts.retries + 1 end
  self.under_way, self.under_way_things = self.under_way + 1, self.under_way_things + batch.count
  local ok, err = self.opts.client:post(self.opts.url, batch.body, batch.headers, function(result)
    self:on_done(batch, result)
  end)
  if not ok then self:on_done(batch, { status = 0, retry_after_s = 0, err = err }) end
end

--- Whether a batch may be sent now: none waits to be tried again, and not too many are under way.
function Delivery:is_ready()
  return #self.waiting == 0 and self.under_way < self.opts.under_way_max
end

--- Send a batch.
-- @param body string
-- @param count number of things in it
function Delivery:send(body, count)
  local coded = self.opts.gzip and gzip.compress(body)
  local headers = { "Content-Type: application/json", unpack(self.opts.headers) }
  if coded then headers[#headers + 1] = "Content-Encoding: gzip" end
  local until_ns = self.clock() + ffi.cast("uint64_t", KEEP_S * NS_PER_S)
  self:post { body = coded or body, headers = headers, count = count, attempts = 0, until_ns = until_ns }
end

--- Send again what has waited long enough.
function Delivery:tick()
  if #self.waiting == 0 then return end
  local now, still, due = self.clock(), {}, {}
  for _, batch in ipairs(self.waiting) do
    if batch.next_ns <= now and #due + self.under_way < self.opts.under_way_max then
      due[#due + 1] = batch
    else
      still[#still + 1] = batch
    end
  end
  self.waiting = still
  for _, batch in ipairs(due) do self:post(batch) end
end

--- Whether something is under way or waits.
function Delivery:is_busy() return self.under_way > 0 or #self.waiting > 0 end

--- Forget what has waited to be tried again, uncounted: something newer takes its place.
function Delivery:supersede() self.waiting = {} end

--- Count what is under way or waits as dropped: the run ends.
function Delivery:abandon()
  for _, batch in ipairs(self.waiting) do self:drop(batch, "shutdown") end
  self.counts.dropped.shutdown = self.counts.dropped.shutdown + self.under_way_things
  self.waiting, self.under_way, self.under_way_things = {}, 0, 0
end

--- How many things it has dropped, in all.
function Delivery:dropped()
  local total = 0
  for _, count in pairs(self.counts.dropped) do total = total + count end
  return total
end

return _M
