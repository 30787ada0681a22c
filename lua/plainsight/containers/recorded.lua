-- SPDX-License-Identifier: Apache-2.0
--- Containers in recordings: a recording keeps what output looked up of them, a replay has them from there
-- (plainsight.facts).
local cjson = require "cjson"
local facts = require "plainsight.facts"
local host = require "plainsight.containers.host"

local _M = {}

local FIELDS = { "id", "name", "image", "runtime", "pod", "namespace", "pod_uid" }
local TEXTS_MAX = 4096 -- remembered; then all are read again

-- Of a container, made once as long as nothing more is learnt of it.
local texts = setmetatable({}, { __mode = "k" })

local function text_of(container)
  if not container then return nil end
  local known = texts[container]
  if known and known.generation == container.generation then return known.text end
  local fields = { labels = container.labels }
  for _, name in ipairs(FIELDS) do fields[name] = container[name] end
  known = { generation = container.generation, text = cjson.encode(fields) }
  texts[container] = known
  return known.text
end

local function key_of(process) return ("container %d"):format(tonumber(process.cgroup_id)) end

--- Have what is told of containers recorded.
-- @param container_of function(process), see plainsight.containers.watch
-- @return function that gives the same
function _M.recording(container_of)
  return function(process)
    local container = container_of(process)
    facts.get(key_of(process), text_of, container)
    return container
  end
end

local function read(text)
  local object = host.decode(text)
  if not object or not host.text(object.id) then return false end
  local container = { labels = host.labels(object.labels) }
  for _, name in ipairs(FIELDS) do container[name] = host.text(object[name]) end
  return container
end

--- Containers as a recording has them.
-- @return function(process) as Watch:container_of()
function _M.replaying()
  local known, count = {}, 0
  return function(process)
    local text = facts.get(key_of(process))
    if not text then return nil end
    if known[text] == nil then
      if count == TEXTS_MAX then known, count = {}, 0 end
      known[text], count = read(text), count + 1
    end
    return known[text] or nil
  end
end

return _M
