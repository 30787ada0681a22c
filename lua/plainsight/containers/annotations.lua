-- SPDX-License-Identifier: Apache-2.0
--- What the annotations and labels that CRI runtimes, dockershim and nerdctl put on a container say about it.
local host = require "plainsight.containers.host"

local _M = {}

-- Field, names of annotations or labels: the first that is there counts.
local NAMES = {
  name = { "io.kubernetes.cri.container-name", "io.kubernetes.container.name", "nerdctl/name" },
  image = { "io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName" },
  pod = { "io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name" },
  namespace = { "io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace" },
  pod_uid = { "io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid" },
  sandbox_id = { "io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID" },
}
local KIND = { "io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType", "io.kubernetes.docker.type" }
local SANDBOX_KINDS = { sandbox = true, podsandbox = true }
local MANAGERS = { ["cri-o"] = "cri-o", libpod = "podman" }

local function first(annotations, names)
  for _, name in ipairs(names) do
    local text = host.text(annotations[name])
    if text then return text end
  end
end

--- Name of the container that holds a pod's namespaces, as Kubernetes has it in names of cgroups and files.
_M.SANDBOX_NAME = "POD"

--- @param annotations table as in JSON, or nil
-- @return table with those known of name, image, pod, namespace, pod_uid, sandbox_id, runtime, image
function _M.read(annotations)
  if type(annotations) ~= "table" then return {} end
  local fields = {}
  for field, names in pairs(NAMES) do fields[field] = first(annotations, names) end
  fields.runtime = MANAGERS[annotations["io.container.manager"]]
  if SANDBOX_KINDS[first(annotations, KIND)] then fields.name = _M.SANDBOX_NAME end
  return fields
end

--- Labels that people have given, without those that Kubernetes adds to tell its own objects apart.
-- @param labels table from strings to strings, or nil
-- @return table; nil when there are none
function _M.own_labels(labels)
  local own
  for name, value in pairs(host.labels(labels) or {}) do
    if name:sub(1, 14) ~= "io.kubernetes." then
      own = own or {}
      own[name] = value
    end
  end
  return own
end

return _M
