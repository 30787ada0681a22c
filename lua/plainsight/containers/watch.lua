-- SPDX-License-Identifier: Apache-2.0
--- Which container each process is in, and which containers are traced.
--
-- The probes tell the cgroup id of every event. Cgroups are directories: those that are there are listed once, then
-- their parents are watched, so that a container is known when it starts and still after its end. What a watch cannot
-- see, such as cgroups that a container makes in itself, is looked up by id when the first event comes from there.
local bpf = require "plainsight.bpf"
local ffi = require "ffi"
local hierarchy = require "plainsight.containers.hierarchy"
local host = require "plainsight.containers.host"
local identity = require "plainsight.containers.identity"
local inotify = require "plainsight.containers.inotify"
local oci = require "plainsight.containers.oci"
local pod_logs = require "plainsight.containers.pod_logs"
local selection = require "plainsight.containers.selection"
local sources = require "plainsight.containers.sources"
local sys = require "plainsight.sys"

local _M = {}

-- Cgroups that are remembered, of containers or not; then all but the running containers are forgotten.
local CGROUPS_MAX = 16384
-- Below any real hierarchy; names are others' choice.
local DEPTH_MAX = 64

local Watch = {}
Watch.__index = Watch

local one, zero = ffi.new("uint8_t[1]", 1), ffi.new("uint8_t[1]", 0)

local function basename(path) return path:match("[^/]*$") end

local function parent_name(path) return path:match("([^/]+)/[^/]*$") end

-- ---- containers -----------------------------------------------------------------------------------------------------

function Watch:remember(id, container)
  if self.by_id[id] == nil then
    if self.id_count == CGROUPS_MAX then
      self.by_id, self.id_count = {}, 0
      for _, live in pairs(self.live) do self.by_id[live.cgroup_id] = live end
    end
    self.id_count = self.id_count + 1
  end
  self.by_id[id] = container
end

function Watch:fill(container)
  container.generation = self.generation
  sources.fill(container)
end

--- Tell the probes about a cgroup that is no container's, or not of one that is wanted (so far): they need not look
-- further. If the map is full, they do.
function Watch:leave_out(path, cgroup_id)
  if not self.is_wanted or not cgroup_id then return end
  self.told[path] = cgroup_id
  bpf.map_update(self.map, ffi.new("uint64_t[1]", cgroup_id), zero)
end

--- Let the probes see a container.
function Watch:trace(container)
  local ok, err = bpf.map_update(self.map, ffi.new("uint64_t[1]", container.cgroup_id), one)
  if not ok then
    self.say(("container %s cannot be traced: %s"):format(container.name or container.id, err))
    return
  end
  container.is_traced, self.told[container.path] = true, container.cgroup_id
  if self.on_traced then self.on_traced(self.hierarchy:pids(container.path)) end
end

--- The probes need not know a cgroup any longer.
function Watch:forget(path)
  local cgroup_id = self.told[path]
  if not cgroup_id then return end
  self.told[path] = nil
  bpf.map_delete(self.map, ffi.new("uint64_t[1]", cgroup_id))
end

function Watch:decide(container)
  if not self.is_wanted then return end
  if self.is_wanted(container) then
    self:trace(container)
  else
    self:leave_out(container.path, container.cgroup_id)
  end
end

local function parent_path(path) return path:match("^(.*)/[^/]*$") end

--- Whether a cgroup is below that of a container: a part of it, whatever it is called.
function Watch:is_inside(path)
  local above = parent_path(path)
  while above and above ~= "" do
    if self.live[above] then return true end
    above = parent_path(above)
  end
  return false
end

--- What is below a container was taken for cgroups of others.
function Watch:forget_below(path)
  local prefix, below = path .. "/", {}
  for inner in pairs(self.told) do
    if inner:sub(1, #prefix) == prefix then below[#below + 1] = inner end
  end
  for _, inner in ipairs(below) do self:forget(inner) end
end

--- A cgroup that is a container's own. Returns the container.
function Watch:add(path, id, runtime)
  local cgroup_id = self.hierarchy:id(path)
  local known = self.live[path]
  if known and known.cgroup_id == cgroup_id then return known end
  if not cgroup_id then return nil end -- is gone already
  local above = parent_name(path)
  local container = {
    id = id, runtime = runtime, path = path, cgroup_id = cgroup_id,
    pod_uid = identity.pod_uid(basename(path)) or above and identity.pod_uid(above),
  }
  self.live[path] = container
  self:forget_below(path)
  self.candidates[basename(path)] = nil
  self:remember(cgroup_id, container)
  self:fill(container)
  self:decide(container)
  return container
end

function Watch:on_gone(path)
  self.candidates[basename(path)] = nil
  self.live[path] = nil
  self:forget(path)
end

-- ---- the tree of cgroups --------------------------------------------------------------------------------------------

--- Look at a directory that is there, and below it. A container's own are not looked at: they are part of it.
function Watch:visit(path, depth)
  if self:is_inside(path) then return end
  local name, above = basename(path), parent_name(path)
  local id, runtime = identity.of_name(name, above)
  if not id then
    runtime = oci.is_container(name, above)
    id = runtime and name
  end
  if id then
    self:add(path, id, runtime)
    return
  end
  if path ~= "" then self.candidates[name] = path end
  if self.is_wanted then self:leave_out(path, self.hierarchy:id(path)) end
  self:watch_below(path, depth)
end

function Watch:watch_below(path, depth)
  if depth == DEPTH_MAX then return end
  local directory = self.hierarchy.path .. path
  local ok, err, errno = self.inotify:watch(directory, function(_, name, is_made, is_directory)
    if not is_directory then return end
    local child = path .. "/" .. name
    if is_made then self:visit(child, depth + 1) else self:on_gone(child) end
  end)
  if not ok and errno == sys.errno.ENOSPC and not self.has_warned and self.is_wanted then
    self.has_warned = true
    self.say(("containers that start later may not be seen: %s (sysctl fs.inotify.max_user_watches)"):format(err))
  end
  -- After the watch has begun: nothing comes in between.
  for _, name in ipairs(host.directories(directory, true)) do self:visit(path .. "/" .. name, depth + 1) end
end

-- ---- the state of runtimes ------------------------------------------------------------------------------------------

--- Something has been written about containers: those that were not fully known can be now.
function Watch:on_news() self.generation = self.generation + 1 end

--- A runtime has begun to write about a container with this name.
function Watch:on_state(name)
  self:on_news()
  local path = self.candidates[name]
  local runtime = path and oci.is_container(name, parent_name(path))
  if runtime then self:add(path, name, runtime) end
end

function Watch:watch_state(directory)
  local is_there = self.inotify:watch(host.path(directory), function(_, name, is_made)
    if not is_made then return end
    -- What is written into it comes later.
    self.inotify:watch(host.path(directory .. "/" .. name), function() self:on_state(name) end)
    self:on_state(name)
  end)
  if not is_there then return false end
  for _, name in ipairs(host.directories(directory)) do self:on_state(name) end
  return true
end

function Watch:watch_sources()
  local missing = {}
  for _, directory in ipairs(oci.STATE_DIRECTORIES) do
    if not self:watch_state(directory) then missing[basename(directory)] = directory end
  end
  if next(missing) then
    self.inotify:watch(host.path("/run"), function(_, name, is_made)
      if is_made and missing[name] then self:watch_state(missing[name]) end
    end)
  end
  pod_logs.watch(self.inotify, function() self:on_news() end)
end

-- ---- from outside ---------------------------------------------------------------------------------------------------

--- Begin.
-- @param opts see plainsight.cli; used: containers, pods, namespaces
-- @param map_fd of the map `traced_containers`; needed when opts ask for some
-- @param say function(message): one line on standard error
-- @param on_traced function(list of process ids): a container that runs is traced from now on; or nil
-- @return object with fd, readable when on_events() is to be called; or nil and a message when containers cannot be
--   told apart on this host
function _M.new(opts, map_fd, say, on_traced)
  local tree, err = hierarchy.find()
  if not tree then return nil, err end
  local watcher
  watcher, err = inotify.new()
  if not watcher then return nil, err end
  local self = setmetatable({
    hierarchy = tree, inotify = watcher, fd = watcher.fd, map = map_fd, say = say, on_traced = on_traced,
    is_wanted = selection.new(opts), generation = 0,
    by_id = {}, id_count = 0, -- by cgroup id: container, or false
    live = {}, -- by path of the container's own cgroup
    told = {}, -- by path: id of a cgroup that is in the map
    candidates = {}, -- by name: path of a cgroup that may turn out to be a container's
  }, Watch)
  self:watch_sources()
  self:visit("", 0)
  return self
end

--- More is known, so that more containers may be wanted.
function Watch:decide_again()
  local open = {}
  for _, container in pairs(self.live) do
    if not container.is_traced and not sources.is_named(container) and container.generation ~= self.generation then
      open[#open + 1] = container
    end
  end
  for _, container in ipairs(open) do
    self:fill(container)
    self:decide(container)
  end
end

--- Events were lost: look at everything again.
function Watch:look_again()
  local ids, gone = {}, {}
  for path, container in pairs(self.live) do ids[path] = container.cgroup_id end
  for path, id in pairs(self.told) do ids[path] = id end
  for path, id in pairs(ids) do
    if self.hierarchy:id(path) ~= id then gone[#gone + 1] = path end
  end
  for _, path in ipairs(gone) do self:on_gone(path) end
  self:on_news()
  self:visit("", 0)
end

--- Act on what has happened to cgroups and files.
function Watch:on_events()
  local before = self.generation
  if self.inotify:read() then self:look_again() end
  if self.is_wanted and self.generation ~= before then self:decide_again() end
end

--- A cgroup from which the first event comes.
function Watch:first_sight(cgroup_id)
  local path = self.hierarchy:path_of(cgroup_id)
  local found = path and identity.of_path(path, oci.is_container)
  local container = found and (self.live[found.path] or self:add(found.path, found.id, found.runtime)) or false
  self:remember(cgroup_id, container)
  return container
end

--- The container that a process is in.
-- @param process struct ps_process
-- @return table, not to be changed: id (string), and when they are known name, image, runtime, pod, namespace, pod_uid
--   (strings), labels (of the pod, if it is in one: table from strings to strings); nil when it is in none
function Watch:container_of(process)
  local cgroup_id = tonumber(process.cgroup_id)
  local container = self.by_id[cgroup_id]
  if container == nil then container = self:first_sight(cgroup_id) end
  if not container then return nil end
  if container.generation ~= self.generation and not sources.is_complete(container) then self:fill(container) end
  return container
end

--- Processes in the containers that are traced.
-- @return list of ids, and of how many containers they are
function Watch:traced_pids()
  local pids, count = {}, 0
  for path, container in pairs(self.live) do
    if container.is_traced then
      count = count + 1
      for _, pid in ipairs(self.hierarchy:pids(path)) do pids[#pids + 1] = pid end
    end
  end
  return pids, count
end

function Watch:close() self.inotify:close() end

return _M
