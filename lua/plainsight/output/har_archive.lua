-- SPDX-License-Identifier: Apache-2.0
--- An HTTP Archive that is a whole document at every moment, in one file or, with rotation, in several.
local buffer = require "string.buffer"
local cli = require "plainsight.cli"
local clock = require "plainsight.clock"
local entry = require "plainsight.output.har_entry"
local series = require "plainsight.output.series"
local whole_file = require "plainsight.output.whole_file"

local _M = {}

local OPENING = ('{"log":{"version":"1.2","creator":{"name":"Plainsight","version":"%s"},"entries":['):format(
  cli.version)
local CLOSING = "\n]}}\n"

-- What is gathered before it is written, if no flush() comes first.
local BATCH_BYTES = 262144
-- How often a file that could not be begun is tried again.
local RETRY_NS = 1000000000ULL

local Archive = {}
Archive.__index = Archive

--- @param path of the first file, see plainsight.output.series; it is begun by begin(), or else with the first entries
-- @param opts see plainsight.output.har_entry and plainsight.output.series
-- @param say function(message): when what comes now cannot be written
-- @return archive
function _M.new(path, opts, say)
  return setmetatable({
    opts = opts, say = say, series = series.new(path, opts), batch = buffer.new(), batched = 0, dropped = 0,
    now_ns = clock.now_ns(), retry_ns = 0ULL,
  }, Archive)
end

--- Begin the next file, or try again to. Returns true, or nil and a message.
function Archive:begin()
  local err
  self.path = self.path or self.series:begin()
  self.file, err = whole_file.open(self.path, OPENING, CLOSING)
  if not self.file then return nil, err end
  self.path, self.entries = nil, 0
  self.series:prune()
  return true
end

-- A file could not be begun, or not written to: what is gathered is left out.
local function drop(self, message)
  if not self.failure then self.say(message .. ": what comes now is not in the file until that is over") end
  self.failure, self.dropped = message, self.dropped + self.batched
end

--- Write what is gathered.
-- @param now_ns uint64_t CLOCK_MONOTONIC, that of the last call when left out
function Archive:flush(now_ns)
  self.now_ns = now_ns or self.now_ns
  if self.batched == 0 then return end
  local text = self.batch:get()
  local ok, err = self.file ~= nil, self.failure
  if not ok and self.now_ns >= self.retry_ns then
    self.retry_ns = self.now_ns + RETRY_NS
    ok, err = self:begin()
  end
  if ok then ok, err = self.file:add(self.entries == 0 and text:sub(2) or text) end
  if ok then self.entries = self.entries + self.batched else drop(self, err) end
  self.batched = 0
end

-- Before an entry: the next file, when it is due.
local function rotate(self)
  if not self.file then return end
  local bytes = self.file:bytes() + #self.batch
  if not self.series:is_due(bytes) then return end
  self:flush()
  if self.file then self.file:close() end
  self.file = nil
  local ok, err = self:begin()
  if not ok then drop(self, err) end
  self.series:is_due(0) -- what comes is the first of it
end

--- Add an entry. The parameters are those of plainsight.output.har_entry.
function Archive:add(ex, is_first, messages)
  rotate(self)
  self.batch:put(",\n")
  entry.put(self.batch, ex, self.opts, is_first, messages)
  self.batched = self.batched + 1
  if #self.batch >= BATCH_BYTES then self:flush() end
end

--- End it.
-- @param closing string, with which the document ends instead; or nil
-- @return number of entries that could not be written, and why the last of them could not
function Archive:close(closing)
  self:flush()
  if self.file then
    if closing then self.file:finish(closing) end
    self.file:close()
  end
  return self.dropped, self.failure
end

return _M
