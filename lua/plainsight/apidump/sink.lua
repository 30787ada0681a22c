-- SPDX-License-Identifier: Apache-2.0
--- apidump: exchanges become a description of the API. A sink, see plainsight.output.sinks.
local ffi = require "ffi"
local clock = require "plainsight.clock"
local document = require "plainsight.apidump.document"
local model = require "plainsight.apidump.model"
local observation = require "plainsight.telemetry.observation"
local openapi = require "plainsight.apidump.openapi"
local views = require "plainsight.telemetry.views"
local writer = require "plainsight.output.writer"

local _M = {}
local C = ffi.C

local NS_PER_S = 1e9

local Sink = {}
Sink.__index = Sink

--- @param opts apidump (path, or "-": standard output), sample (number or nil: one exchange of so many), rate (number
--   or nil: exchanges a second); see plainsight.telemetry.observation and plainsight.output.content too
-- @return sink, or nil and a message
function _M.open(opts)
  local out, err = writer.open(opts.apidump ~= "-" and opts.apidump or nil)
  if not out then return nil, err end
  return setmetatable({
    opts = opts, writer = out, observer = observation.shared(opts), model = model.new(opts), views = views.shared(opts),
    merged = 0, sampled = 0, not_sampled = 0, over_rate = 0, tokens = opts.rate or 0,
    refilled_ns = clock.now_ns(),
  }, Sink)
end

-- A bucket of tokens, as many as come in a second.
function Sink:is_in_rate()
  local rate = self.opts.rate
  if not rate then return true end
  local now = clock.now_ns()
  self.tokens = math.min(rate, self.tokens + tonumber(now - self.refilled_ns) / NS_PER_S * rate)
  self.refilled_ns = now
  if self.tokens < 1 then return false end
  self.tokens = self.tokens - 1
  return true
end

-- The first exchange of every operation and status is looked into.
function Sink:is_chosen(operation, seen)
  local nth = operation.statuses[seen.status and tostring(seen.status) or "none"]
  local every = self.opts.sample or 1
  if (nth - 1) % every ~= 0 then
    self.not_sampled = self.not_sampled + 1
    return false
  end
  if not self:is_in_rate() then
    self.over_rate = self.over_rate + 1
    return false
  end
  return true
end

--- See plainsight.output.sinks.
function Sink:item(item)
  if item.kind ~= C.PS_ITEM_EXCHANGE then return end
  local ex = item.exchange
  local seen = self.observer:of(ex)
  if self.views:is_second(ex, seen) then
    self.merged = self.merged + 1
    return
  end
  local operation = self.model:count(seen)
  if not operation or not self:is_chosen(operation, seen) then return end
  self.sampled = self.sampled + 1
  self.model:add(operation, ex, seen)
end

--- See plainsight.output.sinks.
function Sink:counts()
  return {
    exchanges = self.model.counts.exchanges, merged_views = self.merged, sampled = self.sampled,
    not_sampled = self.not_sampled, over_rate = self.over_rate, unmatched = self.model.counts.unmatched,
    skipped_operations = self.model.counts.skipped_operations,
  }
end

--- See plainsight.output.sinks: the document is written.
function Sink:finish()
  local operations = self.model:finish(self.observer.routes)
  local tree, left_out = openapi.document(operations, self:counts())
  self.described, self.left_out = #operations - left_out, left_out
  self.writer:append(document.put, tree)
  if not self.writer:flush() and self.writer.err then self.err = self.writer.err end
end

--- See plainsight.output.sinks.
function Sink:lines()
  local counts = self:counts()
  return {
    ("%d operations of %d exchanges (%d seen from both sides), %d looked into"):format(self.described or 0,
      counts.exchanges, counts.merged_views, counts.sampled),
  }
end

--- See plainsight.output.sinks.
function Sink:close() return self.err end

return _M
