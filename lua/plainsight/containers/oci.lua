-- SPDX-License-Identifier: Apache-2.0
--- What the OCI bundle of a container says: the config.json (OCI runtime specification) that crun or runc was given by
-- containerd, CRI-O, podman or whoever runs it. Where the bundle is, the runtime has written down for itself.
local annotations = require "plainsight.containers.annotations"
local host = require "plainsight.containers.host"

local _M = {}

-- State of a runtime: where, and whose. Its name for a container is that in the path.
local CRUN, RUNC = "/run/crun", "/run/runc"
local DOCKER_RUNC = "/run/docker/runtime-runc/moby"
local CONTAINERD = { "/run/containerd", "/run/k3s/containerd" }
local STORAGE = { "/run/containers/storage", "/var/lib/containers/storage" }
-- Of a path that a state file names.
local PATH_MAX = 4096

local function bundle_of_crun(id)
  local status = host.read_json(("%s/%s/status"):format(CRUN, id))
  return status and host.text(status.bundle)
end

-- runc keeps the annotations and the bundle in one list, of NAME=VALUE.
local function bundle_of_runc(directory, id)
  local state = host.read_json(("%s/%s/state.json"):format(directory, id))
  local labels = state and type(state.config) == "table" and state.config.labels
  if type(labels) ~= "table" then return nil end
  for _, label in ipairs(labels) do
    local bundle = type(label) == "string" and label:match("^bundle=(/.*)$")
    if bundle then return bundle end
  end
end

-- containerd has a directory for each of its namespaces ("k8s.io", "moby", "default").
local function bundle_of_containerd(id)
  for _, root in ipairs(CONTAINERD) do
    local tasks = root .. "/io.containerd.runtime.v2.task"
    for _, namespace in ipairs(host.directories(tasks)) do
      local bundle = ("%s/%s/%s"):format(tasks, namespace, id)
      local runtime = namespace == "moby" and "docker" or "containerd"
      if host.exists(bundle .. "/config.json") then return bundle, runtime end
    end
  end
end

-- podman and CRI-O keep theirs with the layers, in a directory that is named after the storage driver.
local function bundle_of_storage(id)
  for _, root in ipairs(STORAGE) do
    for _, name in ipairs(host.directories(root)) do
      local bundle = ("%s/%s/%s/userdata"):format(root, name, id)
      if name:find("%-containers$") and host.exists(bundle .. "/config.json") then return bundle end
    end
  end
end

-- The bundle, and the runtime when it is known by where that is.
local function bundle_of(id)
  local bundle, runtime = bundle_of_containerd(id)
  bundle = bundle or bundle_of_crun(id) or bundle_of_runc(RUNC, id) or bundle_of_storage(id) or
    bundle_of_runc(DOCKER_RUNC, id)
  if not bundle or #bundle >= PATH_MAX or bundle:sub(1, 1) ~= "/" then return nil end
  return bundle, runtime
end

-- What containers/storage (podman, CRI-O) has noted about a container, next to its bundle.
local function storage_fields(bundle, id)
  local directory = bundle:match("^(.*%-containers)/[^/]+/userdata$")
  for _, entry in ipairs(directory and host.read_json(directory .. "/containers.json") or {}) do
    if type(entry) == "table" and entry.id == id then
      local metadata = host.decode(host.text(entry.metadata) or "") or {}
      local names = type(entry.names) == "table" and entry.names or {}
      return { name = host.text(metadata["metadata-name"]) or host.text(names[1]),
        image = host.text(metadata["image-name"]), runtime = "podman" }
    end
  end
  return {}
end

-- Labels of the pod, which CRI-O writes into the bundle of the pod's sandbox.
local function pod_labels(bundle, id, sandbox_id)
  local directory = bundle:match("^(.*)/[^/]+/userdata$")
  if not directory or not sandbox_id or sandbox_id:find("[^%x]") then return nil end
  local of_sandbox = sandbox_id ~= id and ("%s/%s/userdata"):format(directory, sandbox_id) or bundle
  local config = host.read_json(of_sandbox .. "/config.json")
  local written = config and type(config.annotations) == "table" and
    host.text(config.annotations["io.kubernetes.cri-o.Labels"])
  return written and annotations.own_labels(host.decode(written))
end

--- A container whose name people choose (crun run NAME, ctr run IMAGE NAME), by what runtimes have written down.
-- @param name of a cgroup
-- @param parent name of the cgroup above it, or nil
-- @return runtime, or nil when it is none
function _M.is_container(name, parent)
  if name:find("%.slice$") or name:find("%.service$") or name == ".." then return nil end
  if host.exists(("%s/%s/status"):format(CRUN, name)) then return "crun" end
  if host.exists(("%s/%s/state.json"):format(RUNC, name)) then return "runc" end
  local bundle = parent and ("/run/containerd/io.containerd.runtime.v2.task/%s/%s"):format(parent, name)
  if bundle and host.exists(bundle .. "/config.json") then return "containerd" end
end

--- Directories in which the state of a new container appears.
_M.STATE_DIRECTORIES = { CRUN, RUNC }

--- @param container table with id
-- @return table with those known of name, image, runtime, pod, namespace, pod_uid, labels; nil when there is no bundle
function _M.lookup(container)
  local id = container.id
  if id:find("/", 1, true) then return nil end
  local bundle, runtime = bundle_of(id)
  local config = bundle and host.read_json(bundle .. "/config.json")
  if not config then return nil end
  local fields = annotations.read(config.annotations)
  fields.runtime = fields.runtime or runtime
  local stored = storage_fields(bundle, id)
  for field, value in pairs(stored) do fields[field] = fields[field] or value end
  fields.labels = pod_labels(bundle, id, fields.sandbox_id)
  return fields
end

return _M
