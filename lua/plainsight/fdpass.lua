-- SPDX-License-Identifier: Apache-2.0
--- Pass open descriptors with a text over an AF_UNIX socket (SCM_RIGHTS, unix(7)).
local ffi = require "ffi"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

ffi.cdef [[
struct ps_iovec { void *base; size_t len; };
struct ps_msghdr {
  void *name; uint32_t namelen; uint32_t pad0;
  struct ps_iovec *iov; size_t iovlen;
  void *control; size_t controllen;
  int flags; uint32_t pad1;
};
struct ps_cmsg_fds { size_t len; int level; int type; int fds[250]; }; /* SCM_MAX_FD is 253 */
long sendmsg(int fd, const struct ps_msghdr *msg, int flags);
long recvmsg(int fd, struct ps_msghdr *msg, int flags);
]]

local SOL_SOCKET, SCM_RIGHTS, MSG_CMSG_CLOEXEC = 1, 1, 0x40000000
local HEADER_LEN = ffi.offsetof("struct ps_cmsg_fds", "fds")
local FDS_MAX, TEXT_MAX = 250, 65536

local function message(buffer, len, control, control_len)
  local iov = ffi.new("struct ps_iovec", { buffer, len })
  local msg = ffi.new("struct ps_msghdr")
  msg.iov, msg.iovlen, msg.control, msg.controllen = iov, 1, control, control_len
  return msg, iov -- iov must outlive the call
end

--- Send descriptors and a non-empty text in one message.
-- @return true, or nil and a message
function _M.send(socket, text, fds)
  assert(#fds <= FDS_MAX and #text > 0 and #text <= TEXT_MAX)
  local control = ffi.new("struct ps_cmsg_fds")
  control.len, control.level, control.type = HEADER_LEN + 4 * #fds, SOL_SOCKET, SCM_RIGHTS
  for i, fd in ipairs(fds) do control.fds[i - 1] = fd end
  local buffer = ffi.new("char[?]", #text, text)
  local msg, iov = message(buffer, #text, #fds > 0 and control or nil, #fds > 0 and control.len or 0)
  local sent = C.sendmsg(socket, msg, 0)
  if sent ~= #text or not iov then return sys.failed("sendmsg") end
  return true
end

--- Receive one message.
-- @return text and list of descriptors (close-on-exec, owned by the caller); text is "" when the sender is gone
function _M.receive(socket)
  local control, buffer = ffi.new("struct ps_cmsg_fds"), ffi.new("char[?]", TEXT_MAX)
  local msg, iov = message(buffer, TEXT_MAX, control, ffi.sizeof(control))
  local n
  repeat n = tonumber(C.recvmsg(socket, msg, MSG_CMSG_CLOEXEC)) until n >= 0 or ffi.errno() ~= sys.errno.EINTR
  if n < 0 or not iov then return nil, (select(2, sys.failed("recvmsg"))) end
  local fds = {}
  if msg.controllen >= HEADER_LEN and control.type == SCM_RIGHTS then
    for i = 1, tonumber(control.len - HEADER_LEN) / 4 do fds[i] = control.fds[i - 1] end
  end
  return ffi.string(buffer, n), fds
end

return _M
