-- SPDX-License-Identifier: Apache-2.0
--- What is known of a container, from wherever there is something. A source that is absent is no error.
local cri = require "plainsight.containers.cri"
local docker = require "plainsight.containers.docker"
local docker_api = require "plainsight.containers.docker_api"
local oci = require "plainsight.containers.oci"
local pod_logs = require "plainsight.containers.pod_logs"

local _M = {}

local FIELDS = { "name", "image", "runtime", "pod", "namespace", "pod_uid", "labels" }

-- A daemon is asked so often about one container, should it not know all.
local QUESTIONS_MAX = 3

--- Whether it has a name, and is known to be in a pod when it is: enough for --container, --pod and --namespace.
function _M.is_named(container)
  return container.name ~= nil and (container.pod_uid == nil or container.pod ~= nil)
end

--- Whether there is nothing more to find out.
function _M.is_complete(container)
  return _M.is_named(container) and container.image ~= nil and (container.pod == nil or container.labels ~= nil)
end

local function merge(container, fields)
  for _, name in ipairs(FIELDS) do
    if fields and container[name] == nil then container[name] = fields[name] end
  end
end

local function ask(container, source)
  container.questions = container.questions or {}
  local count = container.questions[source] or 0
  if count == QUESTIONS_MAX then return end
  local fields, has_failed = source.lookup(container)
  -- A daemon that does not answer in time is not waited for again.
  container.questions[source] = has_failed and QUESTIONS_MAX or count + 1
  merge(container, fields)
end

--- Find out what is not known yet. Files come first; daemons are asked only for what these do not tell.
-- @param container table with id, and what is known of name, image, runtime, pod, namespace, pod_uid, labels
function _M.fill(container)
  merge(container, oci.lookup(container))
  if container.runtime == nil or container.runtime == "docker" then merge(container, docker.lookup(container)) end
  merge(container, pod_logs.lookup(container))
  if not (container.name and container.image) then ask(container, docker_api) end
  -- An id that somebody chose is a name.
  if not container.name and container.id:find("[^%x]") then container.name = container.id end
  if (container.pod or container.pod_uid) and not _M.is_complete(container) then ask(container, cri) end
end

return _M
