-- SPDX-License-Identifier: Apache-2.0
--- gRPC: how a call ended, and the fields of its messages, whose schema nobody
-- has told us, as protoc --decode_raw shows them.
local ffi = require "ffi"
local escape = require "plainsight.output.escape"
local fields = require "plainsight.output.fields"
local library = require "plainsight.library"

local _M = {}

local C = ffi.C
local lib = library.lib

local FIELDS_MAX = 1024
local list = ffi.new("struct ps_protobuf_field[?]", FIELDS_MAX)

-- "Status codes and their use in gRPC".
local status_names = {
  [0] = "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
  "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

--- Name of a status, such as "NOT_FOUND"; its number when it has none.
-- @param status number
-- @return string
function _M.status_name(status) return status_names[status] or tostring(status) end

--- True when the exchange is a call of gRPC or gRPC-Web.
-- @param ex const struct ps_exchange *
-- @return boolean
function _M.is_call(ex)
  return ex.protocol == C.PS_STREAM_GRPC or ex.protocol == C.PS_STREAM_GRPC_WEB
end

local function trailer(response, name)
  for i = 0, response.trailer_count - 1 do
    local field = response.trailers[i]
    if ffi.string(field.name.data, field.name.len):lower() == name then
      return ffi.string(field.value.data, field.value.len)
    end
  end
  return nil
end

-- gRPC-Web: lines in the last frame of the body.
local function web_trailer(ex, name)
  local slice = ex.web_trailers
  if slice.len == 0 then return nil end
  for line in ffi.string(slice.data, slice.len):gmatch("[^\r\n]+") do
    local key, value = line:match("^([^:]+):%s*(.-)%s*$")
    if key and key:lower() == name then return value end
  end
  return nil
end

local function find(ex, name)
  local response = fields.response(ex)
  if not response then return nil end
  return trailer(response, name) or web_trailer(ex, name) or fields.header(response, name)
end

local function percent_decoded(text)
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

--- What the call was and how it ended. Strings are raw bytes.
-- @param ex const struct ps_exchange *
-- @return table: service, method (strings, nil when the path is not of that form), status (number, nil when it was not
--   seen), message (string or nil)
function _M.call(ex)
  local request, call = fields.request(ex), {}
  if request then
    local target = ffi.string(request.target.data, request.target.len)
    call.service, call.method = target:match("^/(.+)/([^/]+)$")
  end
  local status, message = find(ex, "grpc-status"), find(ex, "grpc-message")
  call.status = status and status:find("^%d%d?%d?$") and tonumber(status) or nil
  call.message = message and percent_decoded(message)
  return call
end

--- Append a space and a mark in brackets: how the call ended.
-- @param buf string.buffer
-- @param ex const struct ps_exchange * that is a call
function _M.put_mark(buf, ex)
  local call = _M.call(ex)
  if not call.status then return end
  buf:put(" [grpc ", _M.status_name(call.status))
  if call.message and call.message ~= "" then
    buf:put(': "')
    escape.put(buf, call.message, #call.message, escape.QUOTED)
    buf:put('"')
  end
  buf:put("]")
end

--- The fields of a message.
-- @param message const struct ps_stream_message *
-- @return array of struct ps_protobuf_field, valid until the next call, and how many there are; 0: it is no message of
--   Protocol Buffers, or an empty one
function _M.fields(message)
  if message.type ~= C.PS_STREAM_MESSAGE or fields.has(message.flags, C.PS_STREAM_UNDECODED) then return list, 0 end
  local kept = message.body.kept
  local is_part = message.body.state ~= C.PS_BODY_COMPLETE or fields.has(message.flags, C.PS_STREAM_UNFINISHED)
  return list, lib.ps_protobuf_read(kept.data, kept.len, is_part, list, FIELDS_MAX)
end

local function put_value(buf, field)
  if field.kind == C.PS_PROTOBUF_BYTES then
    buf:put(': "')
    escape.put(buf, field.bytes.data, tonumber(field.bytes.len), escape.QUOTED)
    buf:put('"\n')
  elseif field.kind == C.PS_PROTOBUF_VARINT then
    buf:putf(": %u\n", field.value)
  else
    buf:putf(field.kind == C.PS_PROTOBUF_FIXED32 and ": 0x%08x\n" or ": 0x%016x\n", field.value)
  end
end

--- Append the fields of a message, a line each.
-- @param buf string.buffer
-- @param message const struct ps_stream_message *
-- @return boolean: whether there were any
function _M.put_fields(buf, message)
  local items, count = _M.fields(message)
  local depth = 0
  for i = 0, count - 1 do
    local field = items[i]
    if field.kind == C.PS_PROTOBUF_END then depth = depth - 1 end
    buf:put(("  "):rep(depth))
    if field.kind == C.PS_PROTOBUF_END then
      buf:put("}\n")
    else
      buf:putf("%u", field.number)
      if field.kind == C.PS_PROTOBUF_MESSAGE then
        buf:put(" {\n")
        depth = depth + 1
      else
        put_value(buf, field)
      end
    end
  end
  return count > 0
end

return _M
