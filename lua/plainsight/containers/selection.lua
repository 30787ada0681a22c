-- SPDX-License-Identifier: Apache-2.0
--- Which containers --container, --pod and --namespace ask for. Values of one option are alternatives; different
-- options must all hold.
local glob = require "plainsight.glob"

local _M = {}

-- So much of an id is one, as docker and crictl show it.
local ID_PREFIX_MIN = 6

local function matcher(patterns, matches)
  return function(container)
    for _, pattern in ipairs(patterns) do
      if matches(container, pattern) then return true end
    end
    return false
  end
end

local function fits(text, pattern) return text ~= nil and text:find(glob.pattern(pattern)) ~= nil end

local function is_container(container, wanted)
  if fits(container.name, wanted) or container.id == wanted then return true end
  return #wanted >= ID_PREFIX_MIN and not wanted:find("%X") and container.id:sub(1, #wanted) == wanted:lower()
end

local function is_pod(container, wanted)
  local namespace, pod = wanted:match("^([^/]*)/(.*)$")
  if namespace and not fits(container.namespace, namespace) then return false end
  return fits(container.pod, pod or wanted)
end

local function is_namespace(container, wanted) return fits(container.namespace, wanted) end

--- @param opts containers, pods, namespaces: lists of strings, or nil
-- @return function(container) -> boolean; nil when all are asked for
function _M.new(opts)
  local tests = {}
  local function add(patterns, matches)
    if patterns then tests[#tests + 1] = matcher(patterns, matches) end
  end
  add(opts.containers, is_container)
  add(opts.pods, is_pod)
  add(opts.namespaces, is_namespace)
  if #tests == 0 then return nil end
  return function(container)
    for _, test in ipairs(tests) do
      if not test(container) then return false end
    end
    return true
  end
end

return _M
