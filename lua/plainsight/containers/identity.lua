-- SPDX-License-Identifier: Apache-2.0
--- Which container a cgroup belongs to, by the names that runtimes give to cgroups.
--
-- With the systemd driver a container is a scope (docker-ID.scope, cri-containerd-ID.scope, crio-ID.scope,
-- libpod-ID.scope), with cgroupfs a directory (docker/ID, kubepods/burstable/podUID/ID, libpod_parent/libpod-ID).
-- Below it may be more cgroups, of an init in it or of containers in the container; the innermost container counts.
local _M = {}

local ID_DIGITS = 64

-- Prefix of a scope or directory, runtime. The longest comes first where one begins another.
local PREFIXES = {
  { "cri-containerd-", "containerd" }, { "nerdctl-", "containerd" }, { "docker-", "docker" }, { "crio-", "cri-o" },
  { "libpod-", "podman" },
}

-- Runtimes whose containers have names that people choose: pattern of the whole name.
local NAMED = {
  { "^lxc%.payload%.(.+)$", "lxc" }, { "^crun%-(.+)%.scope$", "crun" }, { "^runc%-(.+)%.scope$", "runc" },
  { "^machine%-(.+)%.scope$", "systemd-nspawn" }, { "^systemd%-nspawn@(.+)%.service$", "systemd-nspawn" },
}

-- In names of directories that hold containers without a prefix.
local PARENTS = { docker = "docker", ["docker.slice"] = "docker", ecs = "docker", lxc = "lxc" }

-- What kubelet's systemd driver makes of a container whose runtime has the cgroupfs driver.
local COLON_RUNTIMES = { ["cri-containerd"] = "containerd", docker = "docker", crio = "cri-o" }

local function is_id(text) return #text == ID_DIGITS and text:find("^%x+$") ~= nil end

-- systemd.unit(5): "\x2d" stands for "-" in what a name is made of.
local function unescape(name)
  return (name:gsub("\\x(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

local function by_prefix(name)
  local bare = name:gsub("%.scope$", "")
  for _, prefix in ipairs(PREFIXES) do
    local id = bare:sub(1, #prefix[1]) == prefix[1] and bare:sub(#prefix[1] + 1)
    if id and is_id(id) then return id, prefix[2] end
  end
end

local function by_name(name)
  for _, named in ipairs(NAMED) do
    local id = name:match(named[1])
    -- Virtual machines are registered in the same way.
    if id and not unescape(id):find("^qemu%-") then return unescape(id), named[2] end
  end
end

--- What a single directory name says.
-- @param name of the directory
-- @param parent name of the one above it, or nil
-- @return id and runtime (nil when the name does not tell it), or nil
function _M.of_name(name, parent)
  local id, runtime = by_prefix(name)
  if id then return id, runtime end
  local colon_runtime, colon_id = name:match(":([%a-]+):(%x+)$")
  if colon_id and is_id(colon_id) then return colon_id, COLON_RUNTIMES[colon_runtime] end
  if is_id(name) then return name, PARENTS[parent or ""] end
  id, runtime = by_name(name)
  if id then return id, runtime end
  if parent == "lxc" then return name, "lxc" end
end

--- Uid of the pod that a directory name stands for, or nil.
function _M.pod_uid(name)
  local uid = name:match("^kubepods.*%-pod([%x_]+)%.slice") or name:match("^pod([%x-]+)$")
  if not uid or #uid < 32 then return nil end -- static pods have 32 digits without dashes
  return (uid:gsub("_", "-"))
end

--- The innermost container on the way to a cgroup.
-- @param path of the cgroup below the mount point, such as "/docker/ID"
-- @param is_container function(name, parent) -> runtime or nil: asked about names that no pattern fits, for
--   containers whose names people choose; may be nil
-- @return nil when it is none of a container; else { id, runtime (or nil), pod_uid (or nil), path (its own cgroup) }
function _M.of_path(path, is_container)
  local names, ends = {}, {}
  for name, after in path:gmatch("([^/]+)()") do
    names[#names + 1], ends[#ends + 1] = name, after - 1
  end
  for i = #names, 1, -1 do
    local id, runtime = _M.of_name(names[i], names[i - 1])
    if not id and is_container then
      runtime = is_container(names[i], names[i - 1])
      id = runtime and names[i]
    end
    if id then
      local above = names[i - 1]
      return {
        id = id, runtime = runtime, path = path:sub(1, ends[i]),
        pod_uid = _M.pod_uid(names[i]) or above and _M.pod_uid(above),
      }
    end
  end
end

return _M
