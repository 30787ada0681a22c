-- SPDX-License-Identifier: Apache-2.0
--- A server of HTTP/1.1 for a few small pages, that never waits for a client: its descriptor belongs into the epoll of
-- the event loop. One request for each connection; their number, size and time are bounded, and when there are too
-- many, the oldest connection gives way.
local ffi = require "ffi"
local bit = require "bit"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

ffi.cdef [[
struct ps_sockaddr_in { uint16_t family, port; uint8_t addr[4]; uint8_t zero[8]; };
struct ps_sockaddr_in6 { uint16_t family, port; uint32_t flow; uint8_t addr[16]; uint32_t scope; };
int socket(int domain, int type, int protocol);
int setsockopt(int fd, int level, int name, const void *value, uint32_t size);
int bind(int fd, const void *address, uint32_t size);
int listen(int fd, int backlog);
int getsockname(int fd, void *address, uint32_t *size);
int accept4(int fd, void *address, uint32_t *size, int flags);
ssize_t recv(int fd, void *data, size_t size, int flags);
ssize_t send(int fd, const void *data, size_t size, int flags);
int inet_pton(int family, const char *text, void *address);
]]

local AF_INET, AF_INET6, SOCK_STREAM_FLAGS = 2, 10, 1 + 0x80000 + 0x800 -- SOCK_CLOEXEC, SOCK_NONBLOCK
local SOL_SOCKET, SO_REUSEADDR, IPPROTO_IPV6, IPV6_V6ONLY = 1, 2, 41, 26
local MSG_NOSIGNAL, EAGAIN = 0x4000, 11
local EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP = 1, 4, 8, 16
local EPOLL_ADD, EPOLL_MOD = 1, 3

local BACKLOG, CONNECTIONS_MAX, REQUEST_BYTES_MAX = 16, 32, 8192
local REQUEST_NS, ANSWER_NS = 5000000000ULL, 15000000000ULL
local EVENTS_MAX, READ_BYTES = 16, 4096

local Server = {}
Server.__index = Server

local function swapped(port) return bit.bor(bit.lshift(bit.band(port, 0xff), 8), bit.rshift(port, 8)) end

-- No host means all addresses of both families.
local function address_of(host, port)
  local is_inet = host:find("^[%d.]+$") ~= nil
  local address = ffi.new(is_inet and "struct ps_sockaddr_in" or "struct ps_sockaddr_in6")
  address.family, address.port = is_inet and AF_INET or AF_INET6, swapped(port)
  if host ~= "" and C.inet_pton(address.family, host, address.addr) ~= 1 then return nil end
  return address
end

local function listening_socket(host, port)
  local address = address_of(host, port)
  if not address then return nil, ("%s is no IP address"):format(host) end
  local fd = C.socket(address.family, SOCK_STREAM_FLAGS, 0)
  if fd < 0 then return sys.failed("socket") end
  C.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, ffi.new("int[1]", 1), 4)
  if host == "" then C.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, ffi.new("int[1]", 0), 4) end
  if C.bind(fd, address, ffi.sizeof(address)) == 0 and C.listen(fd, BACKLOG) == 0 then return fd end
  local _, err = sys.failed(("cannot listen on port %d"):format(port))
  C.close(fd)
  return nil, err
end

local function port_of(fd)
  local address, size = ffi.new("struct ps_sockaddr_in6"), ffi.new("uint32_t[1]", 28)
  C.getsockname(fd, address, size)
  return swapped(address.port)
end

function Server:watch(operation, fd, events)
  local event = ffi.new("struct ps_epoll_event")
  event.events, event.data.fd = events, fd
  return C.epoll_ctl(self.fd, operation, fd, event) == 0
end

--- Listen.
-- @param host string: an IP address; "": all
-- @param port number; 0: any that is free
-- @param answer function(method, path, headers) -> status (number), content type (string), body (string); path is
--   without query; headers: the lines behind the first as one string, in lower case
-- @return server with the fields fd (epoll descriptor) and port; or nil and a message
function _M.new(host, port, answer)
  local listener, err = listening_socket(host, port)
  if not listener then return nil, err end
  local epfd = C.epoll_create1(0x80000)
  if epfd < 0 then return sys.failed("epoll_create") end
  local self = setmetatable({
    fd = epfd, listener = listener, port = port_of(listener), answer = answer, connections = {}, count = 0, served = 0,
    events = ffi.new("struct ps_epoll_event[?]", EVENTS_MAX), bytes = ffi.new("char[?]", READ_BYTES),
  }, Server)
  if not self:watch(EPOLL_ADD, listener, EPOLLIN) then return sys.failed("epoll_ctl") end
  return self
end

function Server:drop(connection)
  C.close(connection.fd) -- which takes it out of the epoll
  self.connections[connection.fd], self.count = nil, self.count - 1
end

function Server:drop_oldest()
  local oldest
  for _, connection in pairs(self.connections) do
    if not oldest or connection.number < oldest.number then oldest = connection end
  end
  self:drop(oldest)
end

function Server:accept(now)
  local fd = C.accept4(self.listener, nil, nil, 0x80000 + 0x800)
  if fd < 0 then return false end
  if self.count >= CONNECTIONS_MAX then self:drop_oldest() end
  self.accepted = (self.accepted or 0) + 1
  self.connections[fd] = { fd = fd, number = self.accepted, input = "", until_ns = now + REQUEST_NS }
  self.count = self.count + 1
  if not self:watch(EPOLL_ADD, fd, EPOLLIN) then self:drop(self.connections[fd]) end
  return true
end

local reasons = {
  [200] = "OK", [400] = "Bad Request", [404] = "Not Found", [405] = "Method Not Allowed",
  [431] = "Request Header Fields Too Large", [503] = "Service Unavailable",
}

local function response(method, status, content_type, body)
  local lines = {
    ("HTTP/1.1 %d %s"):format(status, reasons[status] or "Unknown"), "Content-Type: " .. content_type,
    ("Content-Length: %d"):format(#body), "Connection: close",
  }
  if status == 405 then lines[#lines + 1] = "Allow: GET, HEAD" end
  local head = table.concat(lines, "\r\n") .. "\r\n\r\n"
  return method == "HEAD" and head or head .. body
end

local TEXT = "text/plain; charset=utf-8"

function Server:response_to(input)
  local method, target, rest = input:match("^(%u+) (/[^%s]*) HTTP/1%.[01]\r\n(.*)$")
  if not method then return response("GET", 400, TEXT, "not a request of HTTP/1.1\n") end
  if method ~= "GET" and method ~= "HEAD" then return response(method, 405, TEXT, "only GET and HEAD\n") end
  self.served = self.served + 1
  return response(method, self.answer(method, target:match("^[^?]*"), rest:lower()))
end

function Server:start_answer(connection, output, now)
  connection.output, connection.sent, connection.until_ns = output, 0, now + ANSWER_NS
  self:write(connection)
end

--- As much of the answer as the client takes now.
function Server:write(connection)
  local output = connection.output
  while connection.sent < #output do
    local from = ffi.cast("const char *", output) + connection.sent
    local n = tonumber(C.send(connection.fd, from, #output - connection.sent, MSG_NOSIGNAL))
    if n < 0 then
      if ffi.errno() ~= EAGAIN then return self:drop(connection) end
      if not connection.waits then self:watch(EPOLL_MOD, connection.fd, EPOLLOUT) end
      connection.waits = true
      return
    end
    connection.sent = connection.sent + n
  end
  self:drop(connection)
end

function Server:read(connection, now)
  local n = tonumber(C.recv(connection.fd, self.bytes, READ_BYTES, 0))
  if n < 0 and ffi.errno() == EAGAIN then return end
  if n <= 0 then return self:drop(connection) end
  connection.input = connection.input .. ffi.string(self.bytes, n)
  if connection.input:find("\r\n\r\n", 1, true) then
    self:start_answer(connection, self:response_to(connection.input), now)
  elseif #connection.input > REQUEST_BYTES_MAX then
    self:start_answer(connection, response("GET", 431, TEXT, "the request is too large\n"), now)
  end
end

function Server:on_event(event, now)
  if event.data.fd == self.listener then return self:accept(now) end
  local connection = self.connections[event.data.fd]
  if not connection then return end
  if connection.output then return self:write(connection) end
  if bit.band(event.events, bit.bor(EPOLLIN, EPOLLERR, EPOLLHUP)) ~= 0 then self:read(connection, now) end
end

--- Do what can be done without waiting.
-- @param now uint64_t CLOCK_MONOTONIC ns
function Server:tick(now)
  local count = C.epoll_wait(self.fd, self.events, EVENTS_MAX, 0)
  for i = 0, count - 1 do self:on_event(self.events[i], now) end
  if self.count == 0 then return end
  for _, connection in pairs(self.connections) do
    if now >= connection.until_ns then self:drop(connection) end
  end
end

--- End: connections are cut.
function Server:close()
  for _, connection in pairs(self.connections) do self:drop(connection) end
  C.close(self.listener)
  C.close(self.fd)
end

return _M
