-- SPDX-License-Identifier: Apache-2.0
--- What the output formats tell about a message within an exchange: of a
-- WebSocket, an event stream, gRPC.
local ffi = require "ffi"
local fields = require "plainsight.output.fields"
require "plainsight.contract"

local _M = {}

local C = ffi.C
local has = fields.has

--- Names of enum ps_stream_protocol: in JSON, and as a word of a line.
_M.protocols = {
  [C.PS_STREAM_WEBSOCKET] = "websocket", [C.PS_STREAM_SSE] = "sse", [C.PS_STREAM_GRPC] = "grpc",
  [C.PS_STREAM_GRPC_WEB] = "grpc-web",
}
_M.protocol_words = {
  [C.PS_STREAM_WEBSOCKET] = "WS", [C.PS_STREAM_SSE] = "SSE", [C.PS_STREAM_GRPC] = "GRPC",
  [C.PS_STREAM_GRPC_WEB] = "GRPC",
}

--- Names of enum ps_stream_type.
_M.types = {
  [C.PS_STREAM_CONTINUATION] = "continuation", [C.PS_STREAM_TEXT] = "text", [C.PS_STREAM_BINARY] = "binary",
  [C.PS_STREAM_CLOSE] = "close", [C.PS_STREAM_PING] = "ping", [C.PS_STREAM_PONG] = "pong",
  [C.PS_STREAM_EVENT] = "event", [C.PS_STREAM_MESSAGE] = "message", [C.PS_STREAM_TRAILERS] = "trailers",
}

local flags = {
  { C.PS_STREAM_COMPRESSED, "compressed" }, { C.PS_STREAM_UNDECODED, "undecoded" },
  { C.PS_STREAM_AFTER_GAP, "after-gap" }, { C.PS_STREAM_UNFINISHED, "unfinished" },
  { C.PS_STREAM_REDACTED, "redacted" },
}

--- Names of the flags of a message.
-- @param message const struct ps_stream_message *
-- @return list of strings, maybe empty
function _M.flags(message)
  local names = {}
  for _, entry in ipairs(flags) do
    if has(message.flags, entry[1]) then names[#names + 1] = entry[2] end
  end
  return names
end

--- Whether it was sent by the client.
-- @param ex const struct ps_exchange *
-- @param message const struct ps_stream_message *
-- @return boolean
function _M.is_from_client(ex, message)
  return (message.direction == C.PS_OUT) == (ex.side == C.PS_SIDE_CLIENT)
end

--- The arrow between LOCAL and REMOTE: the way that the message took.
-- @param message const struct ps_stream_message *
-- @return string
function _M.arrow(message)
  return message.direction == C.PS_OUT and " -> " or " <- "
end

--- Append a space and a mark in brackets: how many messages the client and the server sent.
-- @param buf string.buffer
-- @param ex const struct ps_exchange *
function _M.put_counts(buf, ex)
  if ex.request_messages + ex.response_messages == 0 then return end
  buf:putf(" [messages %u/%u]", ex.request_messages, ex.response_messages)
end

--- Append a space and a mark in brackets for each thing to know about a message, its exchange last.
-- @param buf string.buffer
-- @param ex const struct ps_exchange *
-- @param message const struct ps_stream_message *
function _M.put_marks(buf, ex, message)
  if message.close_code > 0 then buf:putf(" [code %d]", message.close_code) end
  fields.put_body_marks(buf, message.body)
  for _, name in ipairs(_M.flags(message)) do buf:put(" [", name, "]") end
  buf:putf(" [#%u]", ex.id)
end

return _M
