-- SPDX-License-Identifier: Apache-2.0
--- Exchanges that are seen from both sides, in the client and in the server: which view comes second.
local fields = require "plainsight.output.fields"
local recent = require "plainsight.recent"
local trace = require "plainsight.telemetry.trace"

local _M = {}

-- Exchanges that wait for their other view.
local VIEWS_MAX = 65536

local Views = {}
Views.__index = Views

--- @return object
function _M.new() return setmetatable({ tracer = trace.new(), sides = recent.new(VIEWS_MAX) }, Views) end

--- The one that all outputs of a run share, so that they leave out the same views and look once.
-- @param opts of the run
-- @return object
function _M.shared(opts)
  opts.views = opts.views or _M.new()
  return opts.views
end

-- Whether another side has shown this exchange.
local function has_other_side(self, ex, seen)
  local request = fields.request(ex)
  local identity = self.tracer:identity(ex, request and trace.context(request), seen.side)
  local side = self.sides:get(identity)
  if side and side ~= seen.side then return true end
  self.sides:set(identity, seen.side)
  return false
end

--- Whether the other view of an exchange, that of the peer, has been seen.
-- @param ex const struct ps_exchange * that is over
-- @param seen see plainsight.telemetry.observation
-- @return boolean, the same for each call in a row with this exchange
function Views:is_second(ex, seen)
  if self.last_id ~= ex.id then self.last_id, self.last = ex.id, has_other_side(self, ex, seen) end
  return self.last
end

return _M
