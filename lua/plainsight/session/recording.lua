-- SPDX-License-Identifier: Apache-2.0
--- Methods of the session of plainsight.snoop: --record. Of its fields, recorder is the object that writes, nil without
-- --record; recording_redactor masks what is recorded as items.
local cli = require "plainsight.cli"
local executables = require "plainsight.executables"
local facts = require "plainsight.facts"
local recorder = require "plainsight.recorder"
local common = require "plainsight.tool"

local Methods = {}

local say = common.say

--- Begin the recording, if there is to be one: everything goes to a file too. Returns true, or nil and a message.
function Methods:start_recording()
  if not self.opts.record then return true end
  local err
  self.recorder, err = recorder.open(self.tool, self.opts, cli.version, self.recording_redactor ~= nil)
  if not self.recorder then return nil, err end
  if self.recorder.has_items then self.print = Methods.print_and_record end
  say(self.tool, ("recording to %s: %s"):format(self.opts.record, self.recorder.has_items and
    "what can be shown, with secrets masked" or "all of it as it was captured, passwords and tokens too"))
  return true
end

--- What was looked up for output is recorded with it.
function Methods:record_lookups()
  if not self.recorder then return end
  executables.use(function(pid) return self.capture:executable(pid) end)
  facts.record_with(function(key, value) self.recorder:note(self.capture, "fact", key, value) end)
end

--- Record what is known of TLS libraries, when that has changed.
function Methods:record_libraries()
  if not self.recorder or not self.watch or self.watch.revision == self.recorded_revision then return end
  self.recorded_revision = self.watch.revision
  self.recorder:note_libraries(self.capture, self.watch.libraries)
end

--- The container of a process is recorded whether or not an output tells of it, so that a replay can choose by it.
function Methods:record_container(process)
  if self.recorder and self.opts.container_of then self.opts.container_of(process) end
end

--- As print_item(), when items are recorded, which they are whether they are asked for or not.
function Methods:print_and_record(item)
  self.capture:before_item(item)
  local is_open = self:print_item(item)
  local masked = self.recording_redactor:item(item)
  if masked then self.capture:record_item(masked) else self:on_unredacted() end
  return is_open
end

--- Have a recording written, as far as that is due. Returns whether it has to be asked again soon.
function Methods:write_recording()
  if not self.recorder then return false end
  self:record_libraries()
  local is_waiting, err = self.recorder:flush()
  if err then say(self.tool, err) end
  return is_waiting
end

return Methods
