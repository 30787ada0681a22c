-- SPDX-License-Identifier: Apache-2.0
--- Messages of WebSockets, which a HAR has in the entry of their exchange: they are kept, as JSON, until it is over.
local buffer = require "string.buffer"
local entry = require "plainsight.output.har_entry"
local ffi = require "ffi"
local stream = require "plainsight.output.stream"
require "plainsight.contract"

local _M = {}
local C = ffi.C

local BYTES_MAX = 67108864

local Messages = {}
Messages.__index = Messages

--- @param opts see plainsight.output.har_entry
-- @return object
function _M.new(opts) return setmetatable({ opts = opts, kept = {}, bytes = 0 }, Messages) end

--- Keep a message until its exchange is over.
-- @param item const struct ps_item * of a message
function Messages:keep(item)
  local ex, message = item.exchange, item.message
  if message.protocol ~= C.PS_STREAM_WEBSOCKET then return end
  local id = tonumber(ex.id)
  local kept = self.kept[id] or { buf = buffer.new(), dropped = 0 }
  self.kept[id] = kept
  if self.bytes > BYTES_MAX then
    kept.dropped = kept.dropped + 1
    return
  end
  local before = #kept.buf
  kept.buf:put(before > 0 and ",\n" or "\n")
  entry.put_message(kept.buf, message, stream.is_from_client(ex, message), self.opts)
  self.bytes = self.bytes + #kept.buf - before
end

--- The messages of an exchange that is over, which are then no longer kept.
-- @param ex const struct ps_exchange *
-- @return what plainsight.output.har_entry takes, or nil
function Messages:take(ex)
  local id = tonumber(ex.id)
  local kept = self.kept[id]
  if not kept then return nil end
  self.kept[id] = nil
  self.bytes = self.bytes - #kept.buf
  return { text = kept.buf, dropped = kept.dropped }
end

return _M
