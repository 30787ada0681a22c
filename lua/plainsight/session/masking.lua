-- SPDX-License-Identifier: Apache-2.0
--- Methods of the session of plainsight.snoop: masking secrets. Of its fields, redactor, wire_redactor and
-- recording_redactor are nil where nothing is to be masked.
local redact = require "plainsight.secrets.redact"
local common = require "plainsight.tool"

local Methods = {}

local say = common.say

--- There was no memory to mask what is in an item: it is not shown, and the first time that is said.
function Methods:on_unredacted()
  if not self.said_unredacted then say(self.tool, "out of memory: what cannot be masked is not shown") end
  self.said_unredacted = true
  return true
end

--- Items of outputs that write bodies as they were on the wire are masked in another way.
function Methods:give_wire_sinks(item)
  if not self.has_wire_sinks then return end
  local masked = item
  if self.wire_redactor then masked = self.wire_redactor:item(item) end
  if masked then self.sinks:item(masked, true) else self:on_unredacted() end
end

--- Where looking for a secret took too long, there may be one that is not masked.
function Methods:report_unsearched()
  local count = self.redactor:stats().unsearched
  if count == 0 then return end
  say(self.tool, ("%d places that may be secrets took too long to look at: not masked"):format(count))
end

--- Secrets are masked unless --show-secrets is given; not for a tool that looks for them itself and prints no value
-- of an item (prints_no_values). Returns true, or nil and a message.
function Methods:open_redactor()
  local opts, err = self.opts
  self.has_wire_sinks = self.sinks:has_wire()
  if opts.show_secrets then
    say(self.tool, "secrets are shown as they are (--show-secrets)")
    return true
  end
  if self.recording and self.recording.has_items then -- they are masked
    if self.has_wire_sinks then self.wire_redactor, err = redact.for_wire(opts) end
    return err == nil, err
  end
  -- A value that a body ends with is known by what is behind it.
  if self.recording then self.recording:leave(opts, redact.SLACK_BYTES) end
  opts.body_slack_bytes = opts.max_body_bytes > 0 and redact.SLACK_BYTES or 0
  if not self.tool.prints_no_values then
    self.redactor, err = redact.new(opts, #self.sinks.list > 0)
    if not self.redactor then return nil, err end
  end
  if self.has_wire_sinks then
    self.wire_redactor, err = redact.for_wire(opts, self.redactor)
    if not self.wire_redactor then return nil, err end
  end
  if not opts.record then return true end
  self.recording_redactor, err = redact.for_recording(opts, self.redactor)
  return self.recording_redactor ~= nil, err
end

return Methods
