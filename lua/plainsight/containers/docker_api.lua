-- SPDX-License-Identifier: Apache-2.0
--- What the daemon of Docker, or of podman, which has the same API, says about a container.
local docker = require "plainsight.containers.docker"
local host = require "plainsight.containers.host"
local unix_client = require "plainsight.containers.unix_client"

local _M = {}

local SOCKETS = { docker = "/run/docker.sock", podman = "/run/podman/podman.sock" }

-- HTTP/1.0: the response ends with the connection and has no chunks.
local REQUEST = "GET /v1.24/containers/%s/json HTTP/1.0\r\nHost: localhost\r\nUser-Agent: plainsight\r\n\r\n"

local function body_of(connection, request)
  if not connection:send(request) then return nil end
  local parts = {}
  while true do
    local bytes = connection:receive()
    if not bytes then return nil end
    if bytes == "" then break end
    parts[#parts + 1] = bytes
  end
  local status, body = table.concat(parts):match("^HTTP/1%.[01] (%d%d%d).-\r\n\r\n(.*)$")
  return status == "200" and body or nil
end

--- @param container table with id, runtime
-- @return as plainsight.containers.docker.lookup; and true when there was a daemon that did not answer
function _M.lookup(container)
  local socket = SOCKETS[container.runtime or ""]
  if not socket or container.id:find("[^%x]") or not unix_client.is_there(socket) then return nil end
  local connection = unix_client.connect(socket)
  if not connection then return nil, true end
  local body = body_of(connection, REQUEST:format(container.id))
  connection:close()
  local object = body and host.decode(body)
  if not object then return nil, true end
  return docker.fields(object)
end

return _M
