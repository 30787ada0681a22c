-- SPDX-License-Identifier: Apache-2.0
--- Names of pods and their containers, from the names that the kubelet gives to log files:
--
--   /var/log/containers/POD_NAMESPACE_CONTAINER-CONTAINERID.log (a link)
--   /var/log/pods/NAMESPACE_POD_UID/CONTAINER/RESTARTS.log
--
-- Both directories are listed once and then watched.
local host = require "plainsight.containers.host"

local _M = {}

local CONTAINERS, PODS = "/var/log/containers", "/var/log/pods"
local ENTRIES_MAX = 16384

local by_id, by_uid, entries = {}, {}, 0

local function take_log(name, is_made)
  local pod, namespace, container, id = name:match("^([^_]+)_([^_]+)_(.+)%-(%x+)%.log$")
  if not id or #id ~= 64 then return end
  by_id[id] = is_made and { name = container, pod = pod, namespace = namespace } or nil
end

local function take_pod(name, is_made)
  local namespace, pod, uid = name:match("^([^_]+)_([^_]+)_([%x-]+)$")
  if uid then by_uid[uid] = is_made and { pod = pod, namespace = namespace, pod_uid = uid } or nil end
end

local function take(directory, name, is_made)
  if is_made then
    if entries == ENTRIES_MAX then by_id, by_uid, entries = {}, {}, 0 end
    entries = entries + 1
  end
  if directory == CONTAINERS then take_log(name, is_made) else take_pod(name, is_made) end
end

local function list(directory)
  for _, name in ipairs(host.directories(directory, false, directory == CONTAINERS)) do take(directory, name, true) end
end

--- Read both directories, and go on to watch them.
-- @param inotify of plainsight.containers.inotify
-- @param on_change function(), called when a name has come
function _M.watch(inotify, on_change)
  by_id, by_uid, entries = {}, {}, 0
  for _, directory in ipairs { CONTAINERS, PODS } do
    inotify:watch(host.path(directory), function(_, name, is_made)
      take(directory, name, is_made)
      if is_made then on_change() end
    end)
    list(directory)
  end
end

-- The only container of a pod has its name, whatever its id.
local function only_container(pod)
  local names = host.directories(("%s/%s_%s_%s"):format(PODS, pod.namespace, pod.pod, pod.pod_uid))
  return #names == 1 and names[1] or nil
end

--- @param container table with id, pod_uid
-- @return table with those known of name, pod, namespace, pod_uid; or nil
function _M.lookup(container)
  local named, pod = by_id[container.id], by_uid[container.pod_uid or ""]
  if named then
    return { name = named.name, pod = named.pod, namespace = named.namespace, pod_uid = pod and pod.pod_uid }
  end
  if not pod then return nil end
  return { pod = pod.pod, namespace = pod.namespace, pod_uid = pod.pod_uid,
    name = not container.name and only_container(pod) or nil }
end

return _M
