-- SPDX-License-Identifier: Apache-2.0
--- Series of measurements, told apart by labels, in a bounded number: what comes when there are too many is counted in
-- one for the rest.
local _M = {}

local Series = {}
Series.__index = Series

--- @param width number of labels of a series
-- @param max number of series, besides that of the rest
-- @param make function(labels) -> table: a new series; labels is a list of width values, or nil for that of the rest
-- @return object
function _M.new(width, max, make)
  return setmetatable({ width = width, max = max, make = make, tree = {}, list = {}, overflows = 0 }, Series)
end

-- What makes no series is counted in that of the rest.
function Series:overflow()
  self.overflows = self.overflows + 1
  self.rest = self.rest or self.make(nil)
  return self.rest
end

--- The series with these labels. No table and no string is made for a look.
-- @param labels list of width values that are not nil; false stands for none. It stays the caller's.
-- @return what make() gave
function Series:get(labels)
  local node, width, is_full = self.tree, self.width, #self.list >= self.max
  for i = 1, width - 1 do
    local child = node[labels[i]]
    if not child then
      if is_full then return self:overflow() end
      child = {}
      node[labels[i]] = child
    end
    node = child
  end
  local series = node[labels[width]]
  if series then return series end
  if is_full then return self:overflow() end
  local kept = {}
  for i = 1, width do kept[i] = labels[i] end
  series = self.make(kept)
  node[labels[width]], self.list[#self.list + 1] = series, series
  return series
end

--- Call a function with each series, that of the rest last.
function Series:each(visit)
  for _, series in ipairs(self.list) do visit(series) end
  if self.rest then visit(self.rest) end
end

--- A histogram.
-- @param bounds list of numbers: upper bounds of the buckets, ascending; what is above the last has one too
-- @return table: bounds, counts (per bucket, not cumulative), count, sum
function _M.histogram(bounds)
  local counts = {}
  for i = 1, #bounds + 1 do counts[i] = 0 end
  return { bounds = bounds, counts = counts, count = 0, sum = 0 }
end

--- Count a value in a histogram.
function _M.observe(histogram, value)
  local bounds, i = histogram.bounds, 1
  while i <= #bounds and value > bounds[i] do i = i + 1 end
  histogram.counts[i] = histogram.counts[i] + 1
  histogram.count, histogram.sum = histogram.count + 1, histogram.sum + value
end

--- Upper bounds in seconds that the semantic conventions advise for durations of HTTP.
_M.DURATION_BOUNDS = { 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10 }

--- In bytes, for bodies, for which they advise none: 0, then powers of four from 256 B to 1 GiB.
_M.SIZE_BOUNDS = {
  0, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864, 268435456, 1073741824,
}

return _M
