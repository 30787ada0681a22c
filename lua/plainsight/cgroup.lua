-- SPDX-License-Identifier: Apache-2.0
--- Members of a cgroup v2 (Documentation/admin-guide/cgroup-v2.rst in Linux).
local files = require "plainsight.files"
local paths = require "plainsight.paths"

local _M = {}

-- Below any real hierarchy; a loop cannot be there, but names are others' choice.
local DEPTH_MAX = 64

local function add_pids(list, directory, depth)
  for pid in (paths.read(directory .. "/cgroup.procs") or ""):gmatch("%d+") do list[#list + 1] = tonumber(pid) end
  if depth == DEPTH_MAX then return end
  for _, name in ipairs(files.list(directory) or {}) do
    local below = directory .. "/" .. name
    local status = files.status(below)
    if status and files.is_directory(status) then add_pids(list, below, depth + 1) end
  end
end

--- Processes in a cgroup and below it.
-- @param path directory of the cgroup
-- @return list of ids; empty when there is no such cgroup
function _M.pids(path)
  local list = {}
  add_pids(list, path, 0)
  return list
end

return _M
