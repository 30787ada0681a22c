-- SPDX-License-Identifier: Apache-2.0
--- --har: exchanges as an HTTP Archive, which is a whole document at every moment.
local buffer = require "string.buffer"
local cli = require "plainsight.cli"
local clock = require "plainsight.clock"
local entry = require "plainsight.output.har_entry"
local ffi = require "ffi"
local json = require "plainsight.output.json"
local series = require "plainsight.output.series"
local stream = require "plainsight.output.stream"
local summary = require "plainsight.output.summary"
local whole_file = require "plainsight.output.whole_file"

local _M = {}
local C = ffi.C

local OPENING = ('{"log":{"version":"1.2","creator":{"name":"Plainsight","version":"%s"},"entries":['):format(
  cli.version)
local CLOSING = "\n]}}\n"

-- What is gathered before it is written, if no tick() comes first.
local BATCH_BYTES = 262144
-- How often a file that could not be begun is tried again.
local RETRY_NS = 1000000000ULL
-- Of messages of WebSockets that are still open, as JSON.
local MESSAGES_BYTES_MAX = 67108864
-- TLS sessions of which it is remembered that their handshake has been told.
local SESSIONS_MAX = 65536

local Har = {}
Har.__index = Har

--- See plainsight.output.sinks.
function _M.open(opts, say)
  local self = setmetatable({
    opts = opts, say = say, series = series.new(opts.har, opts), batch = buffer.new(), batched = 0, dropped = 0,
    messages = {}, messages_bytes = 0, sessions = {}, session_count = 0, now_ns = clock.now_ns(), retry_ns = 0ULL,
  }, Har)
  local ok, err = self:begin_file()
  return ok and self, err
end

--- Begin the next file, or try again to. Returns true, or nil and a message.
function Har:begin_file()
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
function Har:flush()
  if self.batched == 0 then return end
  local text = self.batch:get()
  local ok, err = self.file ~= nil, self.failure
  if not ok and self.now_ns >= self.retry_ns then
    self.retry_ns = self.now_ns + RETRY_NS
    ok, err = self:begin_file()
  end
  if ok then ok, err = self.file:add(self.entries == 0 and text:sub(2) or text) end
  if ok then self.entries = self.entries + self.batched else drop(self, err) end
  self.batched = 0
end

--- Before an entry: the next file, when it is due.
function Har:rotate()
  if not self.file then return end
  local bytes = self.file:bytes() + #self.batch
  if not self.series:is_due(bytes) then return end
  self:flush()
  if self.file then self.file:close() end
  self.file = nil
  local ok, err = self:begin_file()
  if not ok then drop(self, err) end
  self.series:is_due(0) -- what comes is the first of it
end

--- Whether this is the first exchange that is told of a TLS session.
function Har:is_first_of_session(ex)
  if ex.handshake_ns == 0 then return false end
  local id = tonumber(ex.conn_id)
  if self.sessions[id] then return false end
  if self.session_count == SESSIONS_MAX then self.sessions, self.session_count = {}, 0 end
  self.sessions[id], self.session_count = true, self.session_count + 1
  return true
end

--- Keep a message until its exchange is over.
function Har:keep_message(item)
  local ex, message = item.exchange, item.message
  if message.protocol ~= C.PS_STREAM_WEBSOCKET then return end
  local id = tonumber(ex.id)
  local kept = self.messages[id] or { buf = buffer.new(), dropped = 0 }
  self.messages[id] = kept
  if self.messages_bytes > MESSAGES_BYTES_MAX then
    kept.dropped = kept.dropped + 1
    return
  end
  local before = #kept.buf
  kept.buf:put(before > 0 and ",\n" or "\n")
  entry.put_message(kept.buf, message, stream.is_from_client(ex, message), self.opts)
  self.messages_bytes = self.messages_bytes + #kept.buf - before
end

--- The messages of an exchange that is over, or nil.
function Har:take_messages(ex)
  local id = tonumber(ex.id)
  local kept = self.messages[id]
  if not kept then return nil end
  self.messages[id] = nil
  self.messages_bytes = self.messages_bytes - #kept.buf
  return { text = kept.buf, dropped = kept.dropped }
end

function Har:item(item)
  if item.kind == C.PS_ITEM_MESSAGE then self:keep_message(item) end
  if item.kind ~= C.PS_ITEM_EXCHANGE then return end
  self:rotate()
  local ex = item.exchange
  self.batch:put(",\n")
  entry.put(self.batch, ex, self.opts, self:is_first_of_session(ex), self:take_messages(ex))
  self.batched = self.batched + 1
  if #self.batch >= BATCH_BYTES then self:flush() end
end

function Har:tick(now_ns)
  self.now_ns = now_ns
  self:flush()
end

function Har:report(kind, stats, losses, invisible)
  if kind ~= "summary" then return end
  local buf = buffer.new()
  buf:put('\n],"_summary":')
  json.put_object(buf, summary.object(stats, losses, invisible))
  buf:put("}}\n")
  self.summary = buf:get()
end

function Har:close()
  self:flush()
  if self.file then
    if self.summary then self.file:finish(self.summary) end
    self.file:close()
  end
  if self.dropped == 0 then return nil end
  return ("--har: %d exchanges could not be written (%s)"):format(self.dropped, self.failure)
end

return _M
