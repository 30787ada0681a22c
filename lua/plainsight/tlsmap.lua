-- SPDX-License-Identifier: Apache-2.0
--- The tool tlsmap: which processes have which TLS libraries mapped.
local ffi = require "ffi"
local common = require "plainsight.tool"
local discover = require "plainsight.tls.discover"
local elf = require "plainsight.elf"
local functions = require "plainsight.tls.functions"
local json = require "plainsight.output.json"
local maps = require "plainsight.tls.maps"
local output = require "plainsight.output.tls"
local sys = require "plainsight.sys"
local writer = require "plainsight.output.writer"

local _M = {}
local C = ffi.C

local function count_all(processes)
  local counts = { processes = 0, with_tls = 0, traceable = 0, refused = 0, unread_files = 0, unread_processes = 0 }
  local function add(name, amount) counts[name] = counts[name] + (amount == true and 1 or amount or 0) end
  for _, process in ipairs(processes) do
    local has_traceable = false
    for _, library in ipairs(process.libraries) do has_traceable = has_traceable or library.traceable end
    add("processes", not process.memoryless)
    add("with_tls", #process.libraries > 0)
    add("traceable", has_traceable)
    add("refused", process.refused ~= nil)
    add("unread_files", process.unread_count)
    add("unread_processes", process.unread_count > 0)
  end
  return counts
end

-- Where probes would sit in a library file. Returns { slow, refused } of plainsight.tls.functions, or nil.
local function places_in(library)
  local fd = maps.open(library.file)
  if not fd then return nil end
  local image = elf.open(("/proc/self/fd/%d"):format(fd))
  local places = image and functions.places(library.library, image, 1)
  if image then image:close() end
  C.close(fd)
  return places
end

-- Add to libraries which of their functions are slow to watch, and those to which nothing can be attached. A file is
-- looked into once.
local function add_places(processes)
  local known = {}
  for _, process in ipairs(processes) do
    for _, library in ipairs(process.libraries) do
      local key = library.inode_key
      if library.traceable and known[key] == nil then known[key] = places_in(library) or false end
      local places = library.traceable and known[key]
      if places then
        library.slow = places.slow
        if #places.leave == 0 then library.traceable, library.reason = false, places.refused end
      end
    end
  end
end

local function first_unread(processes)
  for _, process in ipairs(processes) do
    if process.unread[1] then return process.unread[1] end
  end
end

local function first_refused(processes)
  for _, process in ipairs(processes) do
    if process.refused then return process end
  end
end

local function number(count, one, many) return ("%d %s"):format(count, count == 1 and one or many) end

-- What this view leaves out, on standard error.
local function say_limits(tool, opts, processes, counts)
  local refused = first_refused(processes)
  if refused then
    common.say(tool, ("%s could not be looked into, %d (%s) is the first: %s%s"):format(
      number(counts.refused, "process", "processes"), refused.pid, output.word(refused.comm), refused.refused,
      sys.is_root() and "" or "; run it with sudo"))
  end
  local unread = first_unread(processes)
  if unread then
    common.say(tool, ("%s of %s could not be examined, %s is the first: %s"):format(
      number(counts.unread_files, "file", "files"), number(counts.unread_processes, "process", "processes"),
      output.word(unread.path), unread.reason))
  end
  for _, extra in ipairs(opts.extra_libs or {}) do
    if not extra.found then common.say(tool, ("no process has %s mapped"):format(output.word(extra.path))) end
  end
end

local function pid_set(processes)
  local set = {}
  for _, process in ipairs(processes) do set[process.pid] = true end
  return set
end

-- Processes that were asked for by their ids and are not there.
local function say_missing(tool, opts, processes)
  local found, is_missing = pid_set(processes), false
  for _, pid in ipairs(opts.pids or {}) do
    if not found[pid] then
      common.say(tool, ("there is no process %d"):format(pid))
      is_missing = true
    end
  end
  return is_missing
end

local function write_all(out, opts, processes, counts)
  local ok = opts.json or out:write(output.HEADING)
  for _, process in ipairs(processes) do
    local is_shown = opts.all or #process.libraries > 0
    if ok and is_shown and not process.memoryless then
      ok = out:write(opts.json and output.json(process) or output.text(process, opts))
    end
  end
  if ok and opts.json then ok = out:write(json.report("summary", counts)) end
  return ok and out:flush()
end

local function run(tool, opts)
  local out, err = writer.open(opts.output)
  if not out then return nil, err end
  local processes
  processes, err = discover.new({ extra_libs = opts.extra_libs }):scan(opts.pids)
  if not processes then return nil, err end
  add_places(processes)
  local counts = count_all(processes)
  if not write_all(out, opts, processes, counts) and out.err then return nil, out.err end
  say_limits(tool, opts, processes, counts)
  local is_missing = say_missing(tool, opts, processes)
  if opts.pids and (is_missing or counts.refused > 0) then return common.FAILURE end
  return common.OK
end

--- Run the tool.
-- @param tool see plainsight.cli.parse
-- @param argv list of strings
-- @return exit status: 0; 1 when it could not do all that was asked; 2 usage
function _M.main(tool, argv) return common.main(tool, argv, run) end

return _M
