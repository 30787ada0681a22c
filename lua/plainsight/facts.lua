-- SPDX-License-Identifier: Apache-2.0
--- What output needs to know of this machine, and cannot know from events: a recording keeps it, a replay has it from
-- there. Whatever a format or a sink looks up while items are shown is looked up with get().
local _M = {}

local FACTS_MAX = 65536 -- remembered; then all are recorded again

local recorded, recorded_count = {}, 0
local record, replayed

--- Have each fact that get() finds, and that has changed, recorded.
-- @param write function(key, value), both strings; nil: no more
function _M.record_with(write) record, recorded, recorded_count = write, {}, 0 end

--- Take facts from a recording, and nothing from this machine.
-- @param facts table from keys to values, which may be filled later; nil: no more
function _M.replay_from(facts) replayed = facts end

local function remember(key, value)
  if recorded[key] == value then return end
  if recorded[key] == nil then
    if recorded_count == FACTS_MAX then recorded, recorded_count = {}, 0 end
    recorded_count = recorded_count + 1
  end
  recorded[key] = value
  record(key, value)
end

--- A fact.
-- @param key string that says what it is and of what, such as "container 4711"
-- @param look_up function(...) -> string, or nil when it is not known; not called in a replay
-- @param ... for look_up
-- @return string or nil
function _M.get(key, look_up, ...)
  if replayed then
    local value = replayed[key]
    return value ~= "" and value or nil
  end
  local value = look_up(...)
  if record then remember(key, value or "") end
  return value
end

return _M
