-- SPDX-License-Identifier: Apache-2.0
--- Outputs beside the main one, such as files of other formats and collectors: each gets every item that is shown.
local _M = {}

local Sinks = {}
Sinks.__index = Sinks

-- Each sink has an option: opts[target], when given, makes one with require(module).open(opts, say), which returns a
-- sink or nil and a message. A sink has the methods below; those that it lacks are not called.
--
-- Items come with secrets masked, but for bodies that have a coding: what plainsight.output.content decodes of them is
-- masked. A kind that writes bodies as they are (message.body.kept), or for which a body has to be as long as its
-- headers say, is_wire: of its items a coded body with a secret in it is withheld, and masks are as long as values.
--
--   sink:begin(account, sinks)   capturing begins; account() returns stats, losses, invisible as they are then
--   sink:item(item)          const struct ps_item *, valid during the call
--   sink:tick(now_ns)        several times a second while there is traffic, once a second at least; returns true when
--                            nobody reads what it writes any more, which ends the run
--   sink:wait_ms(now_ns)     returns how long the next tick may take to come, in milliseconds
--   sink:catch_up()          of a replay, which goes faster than traffic: returns true when it can take more, or false
--                            after it has waited for a moment
--   sink:finish()            the last item has come; what is done here is in the counts of the summary
--   sink:report(kind, stats, losses, invisible)   see plainsight.output.summary; kind is "stats" or "summary"
--   sink:counts()            returns a table for the summary in JSON, which has it under the name of the target
--   sink:lines()             returns a list of lines for the summary
--   sink:close()             the run ends; returns a message when something that was to be written could not be
--   sink.poll_fd             a descriptor: tick() is called when it can be read
local kinds = {
  { target = "apidump", module = "plainsight.apidump.sink" },
  { target = "har", module = "plainsight.output.har" },
  { target = "metrics", module = "plainsight.telemetry.metrics" },
  { target = "otlp", module = "plainsight.telemetry.otlp" },
  { target = "pcapng", module = "plainsight.output.pcapng", is_wire = true },
}

local function open_kind(kind, opts, say)
  if not opts[kind.target] then return nil end
  return require(kind.module).open(opts, say)
end

--- Open those that the options ask for.
-- @param opts see plainsight.cli.parse
-- @param say function(message): one line on standard error, for what happens later
-- @return sinks, or nil and a message
function _M.open(opts, say)
  local list = {}
  for _, kind in ipairs(kinds) do
    local sink, err = open_kind(kind, opts, say)
    if err then return nil, err end
    if sink then
      sink.target, sink.is_wire = kind.target, kind.is_wire
      list[#list + 1] = sink
    end
  end
  return setmetatable({ list = list }, Sinks)
end

local function each(name)
  return function(self, ...)
    for _, sink in ipairs(self.list) do
      if sink[name] then sink[name](sink, ...) end
    end
  end
end

Sinks.report, Sinks.finish = each "report", each "finish"

--- Whether one of them is_wire.
function Sinks:has_wire()
  for _, sink in ipairs(self.list) do
    if sink.is_wire then return true end
  end
  return false
end

--- An item has come.
-- @param item const struct ps_item *
-- @param is_wire boolean: it is for those that are; else for the others
function Sinks:item(item, is_wire)
  for _, sink in ipairs(self.list) do
    if sink.item and (sink.is_wire or false) == is_wire then sink:item(item) end
  end
end

--- Capturing begins.
-- @param account function() -> stats, losses, invisible, as they are then
function Sinks:begin(account) each "begin"(self, account, self) end

--- Of a replay: whether all can take more; else some have waited for a moment.
function Sinks:catch_up()
  local is_ready = true
  for _, sink in ipairs(self.list) do
    if sink.catch_up and not sink:catch_up() then is_ready = false end
  end
  return is_ready
end

--- How long the next tick may take to come.
-- @param now_ns uint64_t CLOCK_MONOTONIC
-- @return milliseconds; math.huge when nobody minds
function Sinks:wait_ms(now_ns)
  local wait = math.huge
  for _, sink in ipairs(self.list) do
    if sink.wait_ms then wait = math.min(wait, sink:wait_ms(now_ns)) end
  end
  return wait
end

--- Descriptors that are to be waited for, too.
-- @return list of numbers
function Sinks:fds()
  local list = {}
  for _, sink in ipairs(self.list) do list[#list + 1] = sink.poll_fd end
  return list
end

--- What they count.
-- @return table by target, nil when there is nothing
function Sinks:counts()
  local all
  for _, sink in ipairs(self.list) do
    if sink.counts then
      all = all or {}
      all[sink.target] = sink:counts()
    end
  end
  return all
end

--- The same for people.
-- @return list of lines
function Sinks:lines()
  local all = {}
  for _, sink in ipairs(self.list) do
    for _, line in ipairs(sink.lines and sink:lines() or {}) do all[#all + 1] = line end
  end
  return all
end

--- @return boolean: true when the reader of one has gone
function Sinks:tick(now_ns)
  local is_ended = false
  for _, sink in ipairs(self.list) do
    if sink.tick and sink:tick(now_ns) then is_ended = true end
  end
  return is_ended
end

--- End all of them.
-- @return nil, or a message of the first that failed
function Sinks:close()
  local message
  for _, sink in ipairs(self.list) do
    local err = sink.close and sink:close()
    message = message or err
  end
  return message
end

return _M
