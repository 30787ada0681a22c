-- SPDX-License-Identifier: Apache-2.0
--- What Docker has written down about a container: config.v2.json below its data root. Needs no socket of a daemon.
local annotations = require "plainsight.containers.annotations"
local host = require "plainsight.containers.host"

local _M = {}

local DEFAULT_ROOT = "/var/lib/docker"
local DAEMON_CONFIG = "/etc/docker/daemon.json"

local function data_root()
  local config = host.exists(DAEMON_CONFIG) and host.read_json(DAEMON_CONFIG)
  return config and host.text(config["data-root"]) or DEFAULT_ROOT
end

--- What an object of Docker says, of its files or of its API.
-- @param object table as in JSON: Name, Config
-- @return as lookup()
function _M.fields(object)
  local config = type(object.Config) == "table" and object.Config or {}
  local labels = host.labels(config.Labels)
  local fields = annotations.read(labels)
  fields.name = fields.name or (host.text(object.Name) or ""):match("^/?(.+)$")
  fields.image = fields.image or host.text(config.Image)
  if not fields.pod then fields.labels = annotations.own_labels(labels) end
  return fields
end

--- @param container table with id, runtime
-- @return table with those known of name, image, pod, namespace, pod_uid, labels; nil when Docker has no such container
function _M.lookup(container)
  if container.id:find("[^%x]") then return nil end
  local object = host.read_json(("%s/containers/%s/config.v2.json"):format(data_root(), container.id))
  if not object then return nil end
  local fields = _M.fields(object)
  fields.runtime = "docker"
  return fields
end

return _M
