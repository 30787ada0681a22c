-- SPDX-License-Identifier: Apache-2.0
--- --har: exchanges as an HTTP Archive, or one for each host.
local archive = require "plainsight.output.har_archive"
local buffer = require "string.buffer"
local ffi = require "ffi"
local hosts = require "plainsight.output.har_hosts"
local json = require "plainsight.output.json"
local messages = require "plainsight.output.har_messages"
local summary = require "plainsight.output.summary"

local _M = {}
local C = ffi.C

-- TLS sessions of which it is remembered that their handshake has been told.
local SESSIONS_MAX = 65536

-- One file for all, in the form of plainsight.output.har_hosts.
local One = {}
One.__index = One
function One:archive_of() return self.archives[1] end

local function open_one(opts, say)
  local one = archive.new(opts.har, opts, say)
  local ok, err = one:begin()
  if not ok then return nil, err end
  return setmetatable({ archives = { one } }, One)
end

local Har = {}
Har.__index = Har

--- See plainsight.output.sinks.
function _M.open(opts, say)
  local directory, err = hosts.directory(opts.har)
  if directory == nil then return nil, err end
  local places
  if directory then places = hosts.new(directory, opts, say) else places, err = open_one(opts, say) end
  if not places then return nil, err end
  return setmetatable({ places = places, messages = messages.new(opts), sessions = {}, session_count = 0 }, Har)
end

-- Whether this is the first exchange that is told of a TLS session.
local function is_first_of_session(self, ex)
  if ex.handshake_ns == 0 then return false end
  local id = tonumber(ex.conn_id)
  if self.sessions[id] then return false end
  if self.session_count == SESSIONS_MAX then self.sessions, self.session_count = {}, 0 end
  self.sessions[id], self.session_count = true, self.session_count + 1
  return true
end

--- See plainsight.output.sinks.
function Har:item(item)
  if item.kind == C.PS_ITEM_MESSAGE then self.messages:keep(item) end
  if item.kind ~= C.PS_ITEM_EXCHANGE then return end
  local ex = item.exchange
  local is_first, kept = is_first_of_session(self, ex), self.messages:take(ex)
  local one = self.places:archive_of(ex)
  if one then one:add(ex, is_first, kept) end
end

--- See plainsight.output.sinks.
function Har:tick(now_ns)
  for _, one in ipairs(self.places.archives) do one:flush(now_ns) end
end

--- See plainsight.output.sinks.
function Har:report(kind, stats, losses, invisible)
  if kind ~= "summary" then return end
  local buf = buffer.new()
  buf:put('\n],"_summary":')
  json.put_object(buf, summary.object(stats, losses, invisible))
  buf:put("}}\n")
  self.summary = buf:get()
end

--- See plainsight.output.sinks.
function Har:close()
  local dropped, why = 0, nil
  for _, one in ipairs(self.places.archives) do
    local count, failure = one:close(self.summary)
    dropped, why = dropped + count, why or failure
  end
  if dropped == 0 then return nil end
  return ("--har: %d exchanges could not be written (%s)"):format(dropped, why)
end

return _M
