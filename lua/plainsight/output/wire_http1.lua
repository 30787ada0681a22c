-- SPDX-License-Identifier: Apache-2.0
--- HTTP/1 messages as they are on the wire (RFC 9112), put together again from what was parsed: with white space and
-- chunks of our own.
local bit = require "bit"
local fields = require "plainsight.output.fields"
local ffi = require "ffi"
require "plainsight.contract"

local _M = {}

local C = ffi.C

local function put_slice(buf, slice)
  buf:putcdata(slice.data, tonumber(slice.len))
end

local function put_fields(buf, headers, count)
  for i = 0, count - 1 do
    put_slice(buf, headers[i].name)
    buf:put(": ")
    put_slice(buf, headers[i].value)
    buf:put("\r\n")
  end
end

local function put_start_line(buf, message, is_request)
  if is_request then
    put_slice(buf, message.method)
    buf:put(" ")
    put_slice(buf, message.target)
    buf:putf(" HTTP/%d.%d\r\n", message.version_major, message.version_minor)
  else
    buf:putf("HTTP/%d.%d %d ", message.version_major, message.version_minor, message.status)
    put_slice(buf, message.reason)
    buf:put("\r\n")
  end
end

--- Append start line and header.
-- @param buf string.buffer
-- @param message const struct ps_message *
-- @param is_request boolean
function _M.put_head(buf, message, is_request)
  put_start_line(buf, message, is_request)
  put_fields(buf, message.headers, message.header_count)
  buf:put("\r\n")
end

local BROKEN = bit.bor(C.PS_MESSAGE_BAD_CHUNK, C.PS_MESSAGE_LOST_TAIL)

-- Whether its end was seen.
local function has_end(message)
  return fields.has(message.flags, C.PS_MESSAGE_COMPLETE) and not fields.has(message.flags, BROKEN)
end

-- As one chunk. Returns how many bytes are missing behind it.
local function put_chunked(buf, message)
  local body = message.body
  local missing = tonumber(body.size_bytes - body.kept.len)
  local is_whole = has_end(message)
  if body.size_bytes > 0 then
    buf:putf("%x\r\n", tonumber(body.size_bytes))
    put_slice(buf, body.kept)
  end
  if missing > 0 then return missing + (is_whole and #"\r\n0\r\n\r\n" or 0) end
  if body.size_bytes > 0 then buf:put("\r\n") end
  if not is_whole then return 1 end
  buf:put("0\r\n")
  put_fields(buf, message.trailers, message.trailer_count)
  buf:put("\r\n")
  return 0
end

--- Append the body.
-- @return number of bytes that are missing behind what was appended: 1 when the end of the message was not seen and
--   nobody knows how many
function _M.put_body(buf, message)
  local body = message.body
  if body.framing == C.PS_FRAMING_CHUNKED then return put_chunked(buf, message) end
  put_slice(buf, body.kept)
  local missing = tonumber(body.size_bytes - body.kept.len)
  if missing == 0 and body.framing == C.PS_FRAMING_LENGTH and not has_end(message) then return 1 end
  return missing
end

return _M
