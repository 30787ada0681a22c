-- SPDX-License-Identifier: Apache-2.0
--- Methods of the session of plainsight.snoop: what was seen, lost and left out, and telling of it.
local ffi = require "ffi"
local json = require "plainsight.output.json"
local summary = require "plainsight.output.summary"
local recording = require "plainsight.recording"
local sys = require "plainsight.sys"
local common = require "plainsight.tool"

local Methods = {}

local say = common.say

--- What the budget has cost so far: table of numbers, see plainsight.recording.BUDGET_COUNTS.
function Methods:budget_counts()
  local counts = {}
  counts.left_out_calls, counts.left_out_bytes = self.probes:left_out()
  for name, count in pairs(self.budget:counts()) do counts["budget_" .. name] = count end
  return counts
end

--- What the probes have counted.
-- @param kind see account()
-- @param stats see plainsight.capture
-- @return table: losses, invisible (see plainsight.syscall_probes), seen_bytes; late_processes and late_ns_max with
--   TLS; budget, with one
function Methods:counted(kind, stats)
  if self.recording then return self.recording:report(stats) end
  local probes, watch = self.probes, self.watch
  local counted = {
    losses = probes:losses(), invisible = probes:invisible(), seen_bytes = probes:seen_bytes(),
    late_processes = watch and watch.late_processes, late_ns_max = watch and watch.late_ns_max,
    budget = self.budget and self:budget_counts(),
  }
  if self.recorder and self.recorder.has_items then counted.stats = stats end
  if self.recorder and kind then self.recorder:report(self.capture, kind, counted) end
  return counted
end

--- What was seen and lost so far.
-- @param kind "stats" or "summary" when it is told to the user, and so recorded; nil: for a sink
-- @return stats, losses, invisible: see plainsight.output.summary
function Methods:account(kind)
  local stats = self.capture:stats()
  if self.recording then stats = self.recording:stats(stats, self.exchanges, self.messages) end
  local counted = self:counted(kind, stats)
  local losses, invisible = counted.losses, counted.invisible
  stats.shown, stats.seen_bytes = self.printed, counted.seen_bytes
  if self.opts.raw then stats.events = self.printed end
  stats.late_processes, stats.late_ns_max = counted.late_processes, counted.late_ns_max
  for _, name in ipairs(recording.BUDGET_COUNTS) do stats[name] = counted.budget and counted.budget[name] end
  return stats, losses, invisible
end

--- The same told: a line in text mode, an object in JSON.
-- @param kind "stats" or "summary"
-- @return true, or nil when output ended
function Methods:report(kind)
  local stats, losses, invisible = self:account(kind)
  self.sinks:report(kind, stats, losses, invisible)
  if self.opts.json then
    local object = summary.object(stats, losses, invisible)
    object.outputs = self.sinks:counts()
    self.writer:write(json.report(kind, object))
    if not self.writer:flush() then return nil end
  end
  local lines = summary.lines(stats, losses, invisible)
  for _, line in ipairs(self.sinks:lines()) do lines[#lines + 1] = line end
  if kind == "summary" then
    for _, line in ipairs(summary.mistakes(stats, losses)) do lines[#lines + 1] = line end
  end
  if kind == "stats" then lines = not self.opts.json and { table.concat(lines, "; ") } or {} end
  for _, line in ipairs(lines) do say(self.tool, line) end
  if kind == "summary" and self.redactor then self:report_unsearched() end
  return true
end

--- --stats: report() every so often. Returns as report().
function Methods:print_stats()
  local now = self.next_stats_ns and sys.monotonic_ns()
  if not now or now < self.next_stats_ns then return true end
  local first = not self.stats_begun
  self.stats_begun = true
  self.next_stats_ns = now + ffi.cast("uint64_t", self.opts.stats_s * 1e9)
  return first or self:report("stats")
end

return Methods
