-- SPDX-License-Identifier: Apache-2.0
--- Messages of a WebSocket as frames (RFC 6455 5.2): each in one, not compressed, of the client with a mask of zeros.
-- One that is not whole is a first fragment, and what is missing another one.
local bit = require "bit"
local fields = require "plainsight.output.fields"
local ffi = require "ffi"
require "plainsight.contract"

local _M = {}

local C = ffi.C
local band, rshift = bit.band, bit.rshift

local FIN, COMPRESSED, MASKED = 0x80, 0x40, 0x80
local MASK = "\0\0\0\0"

-- Bytes of the head of a frame behind the first.
local function put_length(buf, len, mask)
  if len < 126 then
    buf:put(string.char(mask + len))
  elseif len < 65536 then
    buf:put(string.char(mask + 126, rshift(len, 8), band(len, 255)))
  else
    buf:put(string.char(mask + 127))
    for shift = 56, 0, -8 do buf:put(string.char(math.floor(len / 2 ^ shift) % 256)) end
  end
end

-- Size of a frame on the wire.
local function frame_bytes(len, is_from_client)
  return len + 2 + (len < 126 and 0 or len < 65536 and 2 or 8) + (is_from_client and #MASK or 0)
end

--- Append a message.
-- @param buf string.buffer
-- @param message const struct ps_stream_message *
-- @param is_from_client boolean
-- @return number of bytes on the wire that are missing behind what was appended
function _M.put(buf, message, is_from_client)
  local body, flags = message.body, message.flags
  local missing = tonumber(body.size_bytes - body.kept.len)
  -- What could not be decompressed is what was sent (RFC 7692 6).
  local first = (missing == 0 and FIN or 0) + message.type
    + (fields.has(flags, C.PS_STREAM_UNDECODED) and COMPRESSED or 0)
  local code = message.type == C.PS_STREAM_CLOSE and message.close_code or 0
  buf:put(string.char(first))
  put_length(buf, tonumber(body.kept.len) + (code > 0 and 2 or 0), is_from_client and MASKED or 0)
  if is_from_client then buf:put(MASK) end
  if code > 0 then buf:put(string.char(rshift(code, 8), band(code, 255))) end
  buf:putcdata(body.kept.data, tonumber(body.kept.len))
  return missing > 0 and frame_bytes(missing, is_from_client) or 0
end

return _M
