-- SPDX-License-Identifier: Apache-2.0
--- HTTP/2 messages as frames (RFC 9113), put together again from what was parsed. Header fields are literals that no
-- table keeps (RFC 7541 6.2.2), so that each block can be read without the ones before it.
local bit = require "bit"
local buffer = require "string.buffer"
local fields = require "plainsight.output.fields"
local ffi = require "ffi"
require "plainsight.contract"

local _M = {}

local band, rshift = bit.band, bit.rshift

local DATA, HEADERS, SETTINGS, PUSH_PROMISE, CONTINUATION = 0, 1, 4, 5, 9
local END_STREAM, END_HEADERS, ACKNOWLEDGED = 0x1, 0x4, 0x1

--- Largest payload of a frame, until the peers agree on more (RFC 9113 6.5.2).
_M.FRAME_MAX = 16384
--- Head of a frame.
_M.HEAD_BYTES = 9

local block = buffer.new()

local function put_frame_head(buf, len, kind, flags, stream_id)
  buf:put(string.char(rshift(len, 16), band(rshift(len, 8), 255), band(len, 255), kind, flags,
    band(rshift(stream_id, 24), 127), band(rshift(stream_id, 16), 255), band(rshift(stream_id, 8), 255),
    band(stream_id, 255)))
end

-- A length without Huffman coding (RFC 7541 5.1 and 5.2).
local function put_length(len)
  if len < 127 then
    block:put(string.char(len))
    return
  end
  block:put("\127")
  len = len - 127
  while len >= 128 do
    block:put(string.char(len % 128 + 128))
    len = math.floor(len / 128)
  end
  block:put(string.char(len))
end

local function put_field(name, name_len, value, value_len)
  block:put("\0")
  put_length(name_len)
  block:putcdata(name, name_len)
  put_length(value_len)
  block:putcdata(value, value_len)
end

local function put_pseudo(name, slice)
  if slice.len > 0 then put_field(ffi.cast("const char *", name), #name, slice.data, tonumber(slice.len)) end
end

-- Field names of HTTP/2 are in lower case (RFC 9113 8.2); what is unknown is left out.
local function put_fields(headers, count)
  for i = 0, count - 1 do
    if headers[i].flags == 0 then
      local name = ffi.string(headers[i].name.data, headers[i].name.len):lower()
      put_field(ffi.cast("const char *", name), #name, headers[i].value.data, tonumber(headers[i].value.len))
    end
  end
end

-- Append what is in block as one frame of a kind and as many CONTINUATION as it takes.
local function put_block(buf, kind, flags, stream_id, prefix)
  local data, len = block:ref()
  local at, room = 0, _M.FRAME_MAX - #prefix
  repeat
    local size = math.min(len - at, room)
    local is_end = at + size == len
    put_frame_head(buf, #prefix + size, kind, flags + (is_end and END_HEADERS or 0), stream_id)
    buf:put(prefix)
    buf:putcdata(data + at, size)
    at, kind, flags, prefix, room = at + size, CONTINUATION, 0, "", _M.FRAME_MAX
  until is_end
  block:reset()
end

--- Append what each end says first (RFC 9113 3.4): the preface of the client, and settings.
function _M.put_opening(buf, is_client)
  if is_client then buf:put("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") end
  put_frame_head(buf, 0, SETTINGS, 0, 0)
end

--- Append that the settings of the other end were heard.
function _M.put_opening_heard(buf)
  put_frame_head(buf, 0, SETTINGS, ACKNOWLEDGED, 0)
end

local function as_slice(text)
  return { data = ffi.cast("const char *", text), len = #text, anchor = text }
end

-- The pseudo-headers (RFC 9113 8.3). A request that Upgrade brought to HTTP/2 has a Host instead.
local function put_request_fields(ex)
  local request = ex.request
  local is_upgraded = request.version_major ~= 2
  put_pseudo(":method", request.method)
  put_pseudo(":scheme", is_upgraded and as_slice(ex.library ~= 0 and "https" or "http") or request.scheme)
  local host = fields.host_slice(request)
  if host then put_pseudo(":authority", host) end
  put_pseudo(":path", request.target)
  put_pseudo(":protocol", request.protocol)
  put_fields(request.headers, request.header_count)
end

local function put_status_fields(response)
  if response.status > 0 then put_pseudo(":status", as_slice(tostring(response.status))) end
  put_fields(response.headers, response.header_count)
end

--- Append the head of a message.
-- @param buf string.buffer
-- @param ex const struct ps_exchange *
-- @param is_request boolean
-- @param is_end boolean: nothing follows on the stream in this direction
function _M.put_head(buf, ex, is_request, is_end)
  if is_request then put_request_fields(ex) else put_status_fields(ex.response) end
  put_block(buf, HEADERS, is_end and END_STREAM or 0, ex.stream_id, "")
end

--- Append the promise of a request, which the server sends on another stream (RFC 9113 6.6).
-- @param on_stream number
function _M.put_promise(buf, ex, on_stream)
  local id = ex.stream_id
  put_request_fields(ex)
  put_block(buf, PUSH_PROMISE, 0, on_stream, string.char(band(rshift(id, 24), 127), band(rshift(id, 16), 255),
    band(rshift(id, 8), 255), band(id, 255)))
end

--- Append bytes as DATA frames.
-- @param bytes const char * or string, len bytes; none: one empty frame
-- @param is_end boolean: the stream ends with them
function _M.put_data(buf, bytes, len, stream_id, is_end)
  local data, at = ffi.cast("const char *", bytes), 0
  repeat
    local size = math.min(len - at, _M.FRAME_MAX)
    put_frame_head(buf, size, DATA, is_end and at + size == len and END_STREAM or 0, stream_id)
    buf:putcdata(data + at, size)
    at = at + size
  until at == len
end

--- Append trailers, which end the stream.
function _M.put_trailers(buf, message, stream_id)
  put_fields(message.trailers, message.trailer_count)
  put_block(buf, HEADERS, END_STREAM, stream_id, "")
end

--- How many bytes on the wire so many bytes of body take, in whole frames.
function _M.data_bytes(len)
  return len + math.ceil(len / _M.FRAME_MAX) * _M.HEAD_BYTES
end

return _M
