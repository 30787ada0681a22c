-- SPDX-License-Identifier: Apache-2.0
--- A table that keeps what was used last, in bounded memory: two generations, of which the older is forgotten when the
-- newer is full.
local _M = {}

local Recent = {}
Recent.__index = Recent

--- @param max number of entries that are kept at least; at most twice as many are
-- @return object
function _M.new(max)
  return setmetatable({ max = max, count = 0, young = {}, old = {} }, Recent)
end

--- Keep a value.
-- @param key, value anything but nil
function Recent:set(key, value)
  if self.young[key] == nil then
    if self.count >= self.max then self.old, self.young, self.count = self.young, {}, 0 end
    self.count = self.count + 1
  end
  self.young[key] = value
end

--- The value that was kept last for a key; nil when there is none any more.
function Recent:get(key)
  local value = self.young[key]
  if value ~= nil then return value end
  value = self.old[key]
  if value ~= nil then self:set(key, value) end
  return value
end

return _M
