-- SPDX-License-Identifier: Apache-2.0
--- What a CRI runtime (containerd, CRI-O, cri-dockerd) says about a container and its pod: the two calls of
-- runtime.v1.RuntimeService that are needed, over gRPC on its Unix socket.
--
-- A gRPC call is a request of HTTP/2 (RFC 9113) on a connection of its own. Of the response only DATA is read: what
-- its headers say, the message itself says as well by being there.
local annotations = require "plainsight.containers.annotations"
local bit = require "bit"
local unix_client = require "plainsight.containers.unix_client"

local _M = {}

-- Path, runtime whose containers it knows.
local SOCKETS = {
  { "/run/containerd/containerd.sock", "containerd" }, { "/run/k3s/containerd/containerd.sock", "containerd" },
  { "/run/crio/crio.sock", "cri-o" }, { "/run/cri-dockerd.sock", "docker" },
}
-- containerd before 1.6 and CRI-O before 1.23 have the older name only.
local VERSIONS = { "v1", "v1alpha2" }

local PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" -- RFC 9113 3.4
local DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 7, 8
local END_STREAM, END_HEADERS, ACK = 1, 4, 1
local WINDOW_BYTES = 4 * 1024 * 1024
local FRAME_BYTES_MAX = 16384 -- as we have announced no other
local LENGTH_DELIMITED = 2

-- Protocol Buffers: a number as a varint.
local function varint(value)
  local bytes = {}
  while value >= 128 do
    bytes[#bytes + 1] = string.char(value % 128 + 128)
    value = math.floor(value / 128)
  end
  return table.concat(bytes) .. string.char(value)
end

local function field(number, bytes) return varint(number * 8 + LENGTH_DELIMITED) .. varint(#bytes) .. bytes end

local function read_varint(bytes, at)
  local value, scale = 0, 1
  for i = at, math.min(at + 9, #bytes) do
    local byte = bytes:byte(i)
    value, scale = value + byte % 128 * scale, scale * 128
    if byte < 128 then return value, i + 1 end
  end
end

local FIXED_BYTES = { [1] = 8, [5] = 4 } -- by wire type

--- Fields of a message of Protocol Buffers.
-- @param bytes string
-- @return { number of a field = list of its values }: those that are strings, bytes or messages, as strings; nil when
--   it is malformed
function _M.fields(bytes)
  local found, at = {}, 1
  while at <= #bytes do
    local key, size
    key, at = read_varint(bytes, at)
    if not key then return nil end
    local number, kind = math.floor(key / 8), key % 8
    if kind == 0 then
      size, at = read_varint(bytes, at)
      if not size then return nil end
    elseif FIXED_BYTES[kind] then
      at = at + FIXED_BYTES[kind]
    elseif kind == LENGTH_DELIMITED then
      size, at = read_varint(bytes, at)
      if not size or at + size - 1 > #bytes then return nil end
      found[number] = found[number] or {}
      table.insert(found[number], bytes:sub(at, at + size - 1))
      at = at + size
    else
      return nil
    end
  end
  return at == #bytes + 1 and found or nil
end

local function first(message, number)
  local value = message and message[number] and message[number][1]
  return value ~= "" and value or nil
end

local function inner(message, number) return _M.fields(first(message, number) or "") end

-- map<string, string>: messages of key and value.
local function map(message, number)
  local result
  for _, bytes in ipairs(message[number] or {}) do
    local entry = _M.fields(bytes)
    local key = first(entry, 1)
    if key then
      result = result or {}
      result[key] = first(entry, 2) or ""
    end
  end
  return result
end

local function number_bytes(value, count)
  local bytes = {}
  for i = count - 1, 0, -1 do bytes[#bytes + 1] = string.char(math.floor(value / 256 ^ i) % 256) end
  return table.concat(bytes)
end

local function frame(kind, flags, stream, payload)
  return number_bytes(#payload, 3) .. string.char(kind, flags) .. number_bytes(stream, 4) .. payload
end

-- A header field without indexing and without Huffman codes (RFC 7541 6.2.2); all of ours are shorter than 127 bytes.
local function header(name, value) return "\0" .. string.char(#name) .. name .. string.char(#value) .. value end

local function request(method, message)
  local head = header(":method", "POST") .. header(":scheme", "http") .. header(":path", method) ..
    header(":authority", "localhost") .. header("content-type", "application/grpc") .. header("te", "trailers") ..
    header("user-agent", "plainsight")
  local settings = number_bytes(4, 2) .. number_bytes(WINDOW_BYTES, 4) -- SETTINGS_INITIAL_WINDOW_SIZE
  return PREFACE .. frame(SETTINGS, 0, 0, settings) .. frame(WINDOW_UPDATE, 0, 0, number_bytes(WINDOW_BYTES, 4)) ..
    frame(HEADERS, END_HEADERS, 1, head) .. frame(DATA, END_STREAM, 1, "\0" .. number_bytes(#message, 4) .. message)
end

local function read_number(bytes, from, to)
  local value = 0
  for i = from, to do value = value * 256 + bytes:byte(i) end
  return value
end

-- The frames that come, one after the other: kind, flags, payload; nil at the end or when there is no more in time.
local function frames(connection)
  local have = ""
  return function()
    while true do
      local size = #have >= 9 and read_number(have, 1, 3)
      if size and size > FRAME_BYTES_MAX then return nil end
      if size and #have >= 9 + size then
        local kind, flags, payload = have:byte(4), have:byte(5), have:sub(10, 9 + size)
        have = have:sub(10 + size)
        return kind, flags, payload
      end
      local bytes = connection:receive()
      if not bytes or bytes == "" then return nil end
      have = have .. bytes
    end
  end
end

-- The message of the response; nil when there is none.
local function response(connection)
  local parts, is_ended = {}, false
  for kind, flags, payload in frames(connection) do
    if kind == DATA then parts[#parts + 1] = payload end
    if kind == SETTINGS and bit.band(flags, ACK) == 0 then connection:send(frame(SETTINGS, ACK, 0, "")) end
    is_ended = (kind == DATA or kind == HEADERS) and bit.band(flags, END_STREAM) ~= 0
    if is_ended or kind == RST_STREAM or kind == GOAWAY then break end
  end
  local bytes = table.concat(parts)
  -- Five bytes before the message: whether it is compressed, which we have not offered, and its length.
  if not is_ended or #bytes < 5 or bytes:byte(1) ~= 0 or read_number(bytes, 2, 5) ~= #bytes - 5 then return nil end
  return bytes:sub(6)
end

--- Make a call.
-- @param socket path, as on the host
-- @param version of the CRI API: "v1"
-- @param method name of a method of RuntimeService
-- @param message string, its request
-- @return string, its response; or nil
local function call(socket, version, method, message)
  local connection = unix_client.connect(socket)
  if not connection then return nil end
  local sent = connection:send(request(("/runtime.%s.RuntimeService/%s"):format(version, method), message))
  local answer = sent and response(connection)
  connection:close()
  return answer or nil
end

-- The only item of a list call, filtered by id: field 1 of the filter, which is field 1 of the request. nil when there
-- is none; false when the call failed.
local function item(socket, version, method, id)
  local answer = call(socket, version, method, field(1, field(1, id)))
  local list = answer and _M.fields(answer)
  if not list then return false end
  return list[1] and #list[1] == 1 and _M.fields(list[1][1]) or nil
end

-- Fields of a message PodSandbox: 2 metadata { 1 name, 2 uid, 3 namespace }, 5 labels.
local function pod_fields(sandbox)
  local metadata = inner(sandbox, 2)
  return { pod = first(metadata, 1), pod_uid = first(metadata, 2), namespace = first(metadata, 3),
    labels = annotations.own_labels(map(sandbox, 5)) or {} }
end

-- Of a message Container: 2 pod_sandbox_id, 3 metadata { 1 name }, 4 image { 1 image }, 8 labels.
local function container_fields(socket, version, container)
  local sandbox_id = first(container, 2)
  local sandbox = sandbox_id and item(socket, version, "ListPodSandbox", sandbox_id)
  local fields = sandbox and pod_fields(sandbox) or annotations.read(map(container, 8))
  fields.name, fields.image = first(inner(container, 3), 1), first(inner(container, 4), 1)
  return fields
end

local function ask(socket, version, id)
  local container = item(socket, version, "ListContainers", id)
  if container then return container_fields(socket, version, container) end
  local sandbox = container == nil and item(socket, version, "ListPodSandbox", id)
  if not sandbox then return nil, container == false or sandbox == false end
  local fields = pod_fields(sandbox)
  fields.name = annotations.SANDBOX_NAME
  return fields
end

--- @param container table with id, runtime
-- @return table with those known of name, image, pod, namespace, pod_uid, labels (maybe empty); or nil. And true when
--   there was a runtime that did not answer
function _M.lookup(container)
  if container.id:find("[^%x]") then return nil end
  local has_failed = false
  for _, socket in ipairs(SOCKETS) do
    local fits = container.runtime == nil or socket[2] == container.runtime
    if fits and unix_client.is_there(socket[1]) then
      for _, version in ipairs(VERSIONS) do
        local fields, failed = ask(socket[1], version, container.id)
        if fields then
          fields.runtime = socket[2]
          return fields
        end
        has_failed = failed
        if not failed then break end
      end
    end
  end
  return nil, has_failed
end

return _M
