-- SPDX-License-Identifier: Apache-2.0
--- Methods of the session of plainsight.snoop: --replay. Of its fields, recording is what is read, nil without that.
local capture = require "plainsight.capture"
local clock = require "plainsight.clock"
local recorded_containers = require "plainsight.containers.recorded"
local executables = require "plainsight.executables"
local facts = require "plainsight.facts"
local common = require "plainsight.tool"

local Methods = {}

local say = common.say

--- As start(), with a recording in the place of probes. Returns true, or nil and a message.
function Methods:start_replay()
  local err
  self.capture, err = capture.replay(self.recording, self.opts)
  if not self.capture then return nil, err end
  executables.use(function(pid) return self.capture:executable(pid) end)
  facts.replay_from(self.recording.facts)
  self.opts.container_of = recorded_containers.replaying()
  self.sinks:begin(function() return self:account() end)
  say(self.tool, ("replaying %s"):format(self.recording:title()))
  return true
end

--- Take note of what a recording says next apart from events. Returns whether that was anything.
function Methods:on_note()
  local note = self.recording and self.capture:note()
  if not note then return false end
  local is_report = self.recording:on_note(note) == "stats"
  self.capture:note()
  if is_report and self.opts.stats_s then self:report("stats") end
  return true
end

--- Wait for outputs that cannot take more for now.
function Methods:wait_for_sinks()
  while not self.stop and not self.sinks:catch_up() do self:on_signals() end
end

--- As loop(), of a recording, as fast as it goes. Returns true, or nil when output ended.
function Methods:replay()
  repeat
    if not self:drain() then return nil end
    self:on_signals()
    local is_ended = self.sinks:tick(clock.now_ns())
    self:wait_for_sinks()
  until is_ended or self.stop or self:is_full() or not self.capture:pending()
  return true
end

return Methods
