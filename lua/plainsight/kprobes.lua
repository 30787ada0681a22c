-- SPDX-License-Identifier: Apache-2.0
--- Kprobes through tracefs, with nothing left behind.
--
-- A kretprobe keeps one instance for each call that is under way, and loses the
-- returns of calls for which it had none. perf_event_open(2) alone gives a
-- handful of them; tracefs gives as many as are asked for, and counts what was
-- missed. But a definition in tracefs outlives the process that made it. So a
-- child, the reaper, waits for the end of this process, however it comes, and
-- deletes the definitions then.
--
-- All functions of one kind are probes of one event: one descriptor each to
-- attach and to detach.
local ffi = require "ffi"
local bit = require "bit"
local bpf = require "plainsight.bpf"
local guardian = require "plainsight.guardian"
local paths = require "plainsight.paths"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

--- Calls of one function that can be under way at once, the most that the kernel allows.
_M.MAXACTIVE = 4096

local PREFIX = "plainsight_" -- of groups; the pid follows
local O_WRONLY, O_APPEND, O_CLOEXEC = 1, 0x400, 0x80000
local DELETE_S_MAX = 6

--- Have the kernel take a line for kprobe_events.
-- @return true, or nil, message, errno
local function define(root, line)
  -- O_APPEND: to open it for writing otherwise deletes what others have defined.
  local fd = C.open(root .. "/kprobe_events", bit.bor(O_WRONLY, O_APPEND, O_CLOEXEC))
  if fd < 0 then return sys.failed(root .. "/kprobe_events") end
  local ok, _, errno = sys.write_all(fd, line .. "\n")
  C.close(fd)
  if ok then return true end
  return nil, ("kprobe %s: %s"):format(line, sys.strerror(errno)), errno
end

--- Our events that are defined now.
-- @return { [group .. "/" .. name] = pid }
local function defined(root)
  local found = {}
  for group, pid, name in (paths.read(root .. "/kprobe_events") or ""):gmatch(":(" .. PREFIX .. "(%d+))/(%S+)") do
    found[group .. "/" .. name] = tonumber(pid)
  end
  return found
end

--- Delete the events for which is_wanted(pid) holds.
-- @return true when none of them is left; one that is in use cannot be deleted
local function delete(root, is_wanted)
  local done = true
  for event, pid in pairs(defined(root)) do
    if is_wanted(pid) then
      local ok, _, errno = define(root, "-:" .. event)
      done = done and (ok or errno == sys.errno.ENOENT)
    end
  end
  return done
end

--- Whether a process is gone, or was one that had our pid.
local function is_stale(pid)
  return pid == C.getpid() or (C.kill(pid, 0) ~= 0 and ffi.errno() == sys.errno.ESRCH)
end

--- Start the reaper of this process's definitions.
-- @return descriptor: the reaper acts once it is closed; or nil and a message
local function start_reaper(root)
  local owner = C.getpid()
  local function is_owner(pid) return pid == owner end
  -- A dead process's probes are detached a little after its end of the pipe is closed.
  return guardian.start("kprobe-reaper", function()
    guardian.retry(DELETE_S_MAX, function() return delete(root, is_owner) end)
  end)
end

local Kprobes = {}
Kprobes.__index = Kprobes

--- Name of an event; the pid is in it because kprobe_profile leaves out the group.
function Kprobes:event(name)
  return ("%s_%d"):format(name, self.pid)
end

--- Put functions under an event, made when it is the first.
-- @param name of the event
-- @param symbols list of functions; all must exist, or with optional set any of them
-- @param maxactive nil: where they are entered; else where they return, for so many calls at once
-- @return how many were found, or nil and a message
function Kprobes:define(name, symbols, maxactive, optional)
  local kind, count = maxactive and "r" .. maxactive or "p", 0
  for _, symbol in ipairs(symbols) do
    local ok, err, errno = define(self.root, ("%s:%s/%s %s"):format(kind, self.group, self:event(name), symbol))
    if ok then
      count = count + 1
    elseif not optional or errno ~= sys.errno.ENOENT then
      return nil, err
    end
  end
  return count
end

--- Attach a program (of type "kprobe") to all functions of an event. Returns true, or nil and a message.
function Kprobes:attach(prog_fd, name)
  local fd, err = bpf.attach_tracepoint(prog_fd, self.group, self:event(name))
  if not fd then return nil, err end
  self.links[#self.links + 1] = fd
  return true
end

--- Runs that the kernel has missed so far, of any process: no instance was free, or it was in a probe already.
function Kprobes:missed()
  if self.missed_finally then return self.missed_finally end
  local sum, suffix = 0, "_" .. self.pid
  for name, count in (paths.read(self.root .. "/kprobe_profile") or ""):gmatch("(%S+)%s+%d+%s+(%d+)\n") do
    if name:sub(-#suffix) == suffix then sum = sum + tonumber(count) end
  end
  return sum
end

--- Detach, and have the definitions deleted. The kernel takes a while for the latter (an RCU grace
-- period for each function): nobody has to wait for it.
function Kprobes:close()
  for _, fd in ipairs(self.links) do C.close(fd) end
  self.links = {}
  self.missed_finally = self:missed()
  if self.reaper then C.close(self.reaper) end
  self.reaper = nil
end

--- Probes of this process, none yet. Removes what killed processes may have left.
-- @return object, or nil and a message with the remedy
function _M.new()
  local root = bpf.tracefs("kprobe_events")
  if not root then return nil, "kprobes need tracefs: mount -t tracefs tracefs /sys/kernel/tracing" end
  delete(root, is_stale)
  local reaper, err = start_reaper(root)
  if not reaper then return nil, err end
  local pid = C.getpid()
  return setmetatable({ root = root, pid = pid, group = PREFIX .. pid, reaper = reaper, links = {} }, Kprobes)
end

return _M
