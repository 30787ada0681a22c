-- SPDX-License-Identifier: Apache-2.0
--- What a collector calls the process of an exchange: a service with a name, and its attributes.
local executables = require "plainsight.executables"
local facts = require "plainsight.facts"
local ffi = require "ffi"
local fields = require "plainsight.output.fields"
local recent = require "plainsight.recent"

local _M = {}

local PROCESSES_MAX = 4096
-- How long an executable is taken for the same without another look.
local FRESH_NS = 2000000000ULL

local Workloads = {}
Workloads.__index = Workloads

--- @param opts container_of: function(const struct ps_process *) -> table or nil, see plainsight.containers.watch; nil:
--   there are no containers
-- @return object
function _M.new(opts)
  return setmetatable({ opts = opts, known = recent.new(PROCESSES_MAX) }, Workloads)
end

local function base_name(path) return path:gsub(" %(deleted%)$", ""):match("([^/]+)$") end

-- Programs that say nothing of what they run: that is in their arguments.
local INTERPRETERS = {
  "^python[%d.]*$", "^node$", "^nodejs$", "^ruby[%d.]*$", "^perl[%d.]*$", "^php[%d.]*$", "^java$", "^deno$", "^bun$",
}
-- Options that have a word behind them which is no script, and those behind which the name is.
local WITH_WORD = { ["-cp"] = true, ["-classpath"] = true, ["-W"] = true, ["-X"] = true, ["-r"] = true, ["-I"] = true }
local WITH_NAME = { ["-m"] = true, ["-jar"] = true }

local function is_interpreter(name)
  for _, pattern in ipairs(INTERPRETERS) do
    if name:find(pattern) then return true end
  end
  return false
end

-- The script, module or class that an interpreter runs; nil when its arguments do not tell.
local function script_name(cmdline)
  local words = {}
  for word in cmdline:gmatch("([^%z]*)%z") do words[#words + 1] = word end
  local i = 2
  while i <= #words do
    local word = words[i]
    if WITH_NAME[word] then return words[i + 1] and base_name(words[i + 1]) end
    if word == "-c" or word == "-e" then return nil end
    if word:sub(1, 1) ~= "-" and word ~= "run" then return base_name(word) end
    i = i + (WITH_WORD[word] and 2 or 1)
  end
  return nil
end
_M.script_name = script_name

local function script_of(pid)
  local file = io.open(("/proc/%d/cmdline"):format(pid), "rb")
  local cmdline = file and file:read(4096) or ""
  if file then file:close() end
  return script_name(cmdline)
end

local function program_name(pid, exe)
  local name = base_name(exe)
  if not name or not is_interpreter(name) then return name end
  return facts.get(("script %d"):format(pid), script_of, pid) or name
end

-- Names in the order in which they say most of what runs there; the labels are those that Kubernetes recommends and
-- what many use.
local function service_name(pid, exe, comm, container)
  local labels = container and container.labels or {}
  local name = labels["app.kubernetes.io/name"] or labels.app or container and container.name
  return name or exe and program_name(pid, exe) or comm
end

function Workloads:look(process, comm)
  local exe = executables.path_of(process.tgid)
  local container_of = self.opts.container_of -- known when capturing begins
  local container = container_of and container_of(process) or nil
  return {
    pid = process.tgid, exe = exe, comm = comm, container = container,
    name = service_name(process.tgid, exe, comm, container),
  }
end

--- The workload that a process is.
-- @param process const struct ps_process *
-- @param now_ns uint64_t CLOCK_MONOTONIC, of its call
-- @return table, the same for the same process: name (string), pid (number), comm (string), exe (string or nil),
--   container (table or nil), seen_ns
function Workloads:of(process, now_ns)
  local data, len = fields.comm(process)
  local pid = process.tgid
  local known = self.known:get(pid)
  if known and now_ns < known.seen_ns + FRESH_NS then return known end
  local found = self:look(process, ffi.string(data, len))
  -- A process that is gone has told its executable before; another program under the same id has another one.
  if known and not found.exe or known and found.exe == known.exe and found.name == known.name then
    known.seen_ns = now_ns
    return known
  end
  found.seen_ns = now_ns
  self.known:set(pid, found)
  return found
end

return _M
