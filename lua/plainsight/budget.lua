-- SPDX-License-Identifier: Apache-2.0
--- --max-cpu and --max-memory: what the tool uses is held below a budget by doing less, in steps, and more again when
-- there is room. Each step is said and counted. What is saved is saved where it costs: bodies are not copied by the
-- probes, and connections that are left out cost a look into a map.
local ffi = require "ffi"
local own_process = require "plainsight.telemetry.own_process"

local _M = {}
local C = ffi.C

ffi.cdef "int malloc_trim(size_t pad);"

local NS_PER_S, MIB = 1e9, 1024 * 1024
local LOOK_NS = 1000000000ULL
-- Looks after a step until it shows.
local SETTLE_LOOKS = 2
-- So long all has to be below these parts of the budget before a step is taken back. Leaving out half as many
-- connections doubles the work, so there must be room for that.
local CALM_S, CALM_MAX_S = 5, 320
local RELAX_BODIES, RELAX_CONNECTIONS, RELAX_MEMORY = 0.6, 0.4, 0.85
-- A step that has to be taken again so soon was taken back too early: calm has to last twice as long the next time.
local RELAPSE_S = 30

--- The steps: bytes of bodies that are kept (nil: --max-body), and how many of 256 connections are left out.
_M.STEPS = {
  { left_out = 0, text = "everything is captured again" },
  { body_bytes = 0, left_out = 0, text = "bodies are not captured" },
  { body_bytes = 0, left_out = 128, text = "of 1 connection in 2 nothing is captured" },
  { body_bytes = 0, left_out = 192, text = "of 3 connections in 4 nothing is captured" },
  { body_bytes = 0, left_out = 224, text = "of 7 connections in 8 nothing is captured" },
  { body_bytes = 0, left_out = 240, text = "of 15 connections in 16 nothing is captured" },
  { body_bytes = 0, left_out = 248, text = "of 31 connections in 32 nothing is captured" },
  { body_bytes = 0, left_out = 252, text = "of 63 connections in 64 nothing is captured" },
}

local Budget = {}
Budget.__index = Budget

local function usage()
  return { cpu_s = own_process.usage().cpu_s, memory_mib = own_process.anonymous_bytes() / MIB }
end

--- @param opts max_cpu (percent of one CPU, or nil), max_memory (MiB, or nil), max_body_bytes
-- @param actions limit_bodies(bytes), leave_out(share, is_without_bodies), say(message): functions
-- @param measure function() -> { cpu_s, memory_mib }; nil: of this process
-- @return object; nil when there is no budget
function _M.new(opts, actions, measure)
  if not opts.max_cpu and not opts.max_memory then return nil end
  return setmetatable({
    opts = opts, actions = actions, measure = measure or usage, level = 1, steps_down = 0, steps_up = 0, settle = 0,
    calm_s = CALM_S, degraded_s = 0,
  }, Budget)
end

function Budget:apply(level, why)
  local step = _M.STEPS[level]
  self.level, self.settle, self.calm_since = level, SETTLE_LOOKS, nil
  self.actions.limit_bodies(step.body_bytes or self.opts.max_body_bytes)
  self.actions.leave_out(step.left_out, step.body_bytes == 0)
  self.actions.say(("budget: %s: %s"):format(why, step.text))
end

-- What is over the budget, as text; nil when nothing is.
function Budget:excess(used)
  local opts = self.opts
  if opts.max_cpu and used.cpu > opts.max_cpu then return ("CPU %.0f %% of %d"):format(used.cpu, opts.max_cpu) end
  if opts.max_memory and used.memory_mib > opts.max_memory then
    return ("memory %.0f MiB of %d"):format(used.memory_mib, opts.max_memory)
  end
  return nil
end

-- Whether there is room for what the step before this one costs.
function Budget:has_room(used)
  local opts, relax = self.opts, self.level > 2 and RELAX_CONNECTIONS or RELAX_BODIES
  return (not opts.max_cpu or used.cpu < opts.max_cpu * relax)
    and (not opts.max_memory or used.memory_mib < opts.max_memory * RELAX_MEMORY)
end

function Budget:degrade(why, now_s)
  collectgarbage()
  C.malloc_trim(0)
  if self.level == #_M.STEPS then
    if self.has_complained then return end
    self.has_complained = true
    return self.actions.say(("budget: %s, and there is nothing left to leave out"):format(why))
  end
  if self.relaxed_s and now_s - self.relaxed_s < RELAPSE_S then self.calm_s = math.min(self.calm_s * 2, CALM_MAX_S) end
  self.steps_down = self.steps_down + 1
  self:apply(self.level + 1, why)
end

function Budget:relax(now_s, used)
  self.steps_up, self.relaxed_s = self.steps_up + 1, now_s
  local why = self.opts.max_cpu and ("CPU %.0f %%"):format(used.cpu) or ("memory %.0f MiB"):format(used.memory_mib)
  self:apply(self.level - 1, why)
end

--- Look, once a second, and take a step if need be.
-- @param now_ns uint64_t CLOCK_MONOTONIC
function Budget:tick(now_ns)
  if self.next_ns and now_ns < self.next_ns then return end
  self.next_ns = now_ns + LOOK_NS
  local now_s = tonumber(now_ns) / NS_PER_S
  local measured, last = self.measure(), self.last
  self.last = { cpu_s = measured.cpu_s, now_s = now_s }
  if not last then return end
  local seconds = math.max(now_s - last.now_s, 1e-3)
  local used = { cpu = (measured.cpu_s - last.cpu_s) / seconds * 100, memory_mib = measured.memory_mib }
  if self.level > 1 then self.degraded_s = self.degraded_s + seconds end
  self:decide(used, now_s)
end

function Budget:decide(used, now_s)
  local why = self:excess(used)
  if self.settle > 0 then
    self.settle = self.settle - 1
    return
  end
  if why then return self:degrade(why, now_s) end
  if self.level == 1 or not self:has_room(used) then
    self.calm_since = nil
    return
  end
  self.calm_since = self.calm_since or now_s
  if now_s - self.calm_since >= self.calm_s then self:relax(now_s, used) end
end

--- @return table of numbers: level (0: everything is captured), steps_down, steps_up, degraded_ms
function Budget:counts()
  return {
    level = self.level - 1, steps_down = self.steps_down, steps_up = self.steps_up,
    degraded_ms = math.floor(self.degraded_s * 1000),
  }
end

return _M
