-- SPDX-License-Identifier: Apache-2.0
--- One request to a daemon on a Unix socket. Everything is bounded: how long it may take, and how much may come.
local ffi = require "ffi"
local bit = require "bit"
local host = require "plainsight.containers.host"
local filesystem = require "plainsight.files"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

ffi.cdef [[
struct ps_sockaddr_un { uint16_t family; char path[108]; };
int socket(int domain, int type, int protocol);
int connect(int fd, const struct ps_sockaddr_un *address, unsigned size);
int setsockopt(int fd, int level, int option, const void *value, unsigned size);
ssize_t send(int fd, const void *bytes, size_t size, int flags);
]]

local AF_UNIX, SOCK_STREAM_CLOEXEC = 1, 0x80001
local SOL_SOCKET, SO_RCVTIMEO, SO_SNDTIMEO, MSG_NOSIGNAL = 1, 20, 21, 0x4000
local S_IFMT, S_IFSOCK = 0xf000, 0xc000
local WAIT_US, TOTAL_NS = 250000, 500000000ULL
local RESPONSE_BYTES_MAX = 4 * 1024 * 1024
local CHUNK_BYTES = 65536

local Connection = {}
Connection.__index = Connection

--- Whether there is a socket of root.
-- @param path as on the host
function _M.is_there(path)
  local status = filesystem.status(host.path(path))
  return status ~= nil and status.uid == 0 and bit.band(status.mode, S_IFMT) == S_IFSOCK
end

local function timeout(fd, option)
  local value = ffi.new("long[2]", 0, WAIT_US) -- struct timeval
  return C.setsockopt(fd, SOL_SOCKET, option, value, ffi.sizeof(value)) == 0
end

--- Connect.
-- @param path of the socket, as on the host
-- @return object, to be closed; or nil and a message
function _M.connect(path)
  local whole = host.path(path)
  local address = ffi.new("struct ps_sockaddr_un")
  if #whole >= ffi.sizeof(address.path) then return nil, path .. ": too long for a socket" end
  local fd = C.socket(AF_UNIX, SOCK_STREAM_CLOEXEC, 0)
  if fd < 0 then return sys.failed("socket") end
  address.family = AF_UNIX
  ffi.copy(address.path, whole)
  if not timeout(fd, SO_RCVTIMEO) or not timeout(fd, SO_SNDTIMEO) or
    C.connect(fd, address, ffi.sizeof(address)) ~= 0 then
    local _, message = sys.failed(path)
    C.close(fd)
    return nil, message
  end
  return setmetatable({ fd = fd, deadline_ns = sys.monotonic_ns() + TOTAL_NS, taken = 0,
    buffer = ffi.new("char[?]", CHUNK_BYTES) }, Connection)
end

--- Send bytes. Returns whether all were taken in time.
function Connection:send(bytes)
  return C.send(self.fd, bytes, #bytes, MSG_NOSIGNAL) == #bytes
end

--- The next bytes that come.
-- @return string, "" at the end; nil when there are none in time, or too many
function Connection:receive()
  if sys.monotonic_ns() > self.deadline_ns or self.taken > RESPONSE_BYTES_MAX then return nil end
  local got = tonumber(C.read(self.fd, self.buffer, CHUNK_BYTES))
  if got < 0 then return nil end
  self.taken = self.taken + got
  return ffi.string(self.buffer, got)
end

function Connection:close() C.close(self.fd) end

return _M
