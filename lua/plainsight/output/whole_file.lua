-- SPDX-License-Identifier: Apache-2.0
--- A file that is a whole document while it grows: each addition replaces the closing of the document by more of it
-- and the closing again, in one pwrite(2).
--
-- A process that SIGKILL ends within a pwrite of several pages may leave the first of them (the kernel looks for a
-- fatal signal between pages). For that there is a guardian, a process of its own, which puts the closing back.
local bit = require "bit"
local ffi = require "ffi"
local files = require "plainsight.files"
local guardian = require "plainsight.guardian"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

ffi.cdef [[
long pwrite(int fd, const void *data, size_t count, long offset);
int ftruncate(int fd, long size);
/* What the guardian has to know: it shares the memory. */
struct ps_file_state {
  uint64_t whole_bytes;  /* where the closing is, as of the last addition that is done */
  uint64_t wanted_bytes; /* size of the file after the addition that is under way, or done */
};
]]

-- For its owner alone: what is captured holds passwords. A file that is there keeps its mode.
local MODE = tonumber("600", 8)
local O_RDWR, O_CREAT, O_TRUNC, O_CLOEXEC = 2, 0x40, 0x200, 0x80000

local WholeFile = {}
WholeFile.__index = WholeFile

-- Returns true, or nil, message, errno.
local function write_at(fd, data, len, offset)
  local from = ffi.cast("const char *", data)
  while len > 0 do
    local n = tonumber(C.pwrite(fd, from, len, offset))
    if n > 0 then
      from, len, offset = from + n, len - n, offset + n
    elseif n == 0 or ffi.errno() ~= sys.errno.EINTR then
      return sys.failed("pwrite")
    end
  end
  return true
end

-- Whether the addition that was begun is there to its end: pages are written in their order, and the file grows.
local function is_done(fd, state)
  local status = files.status(fd)
  return status ~= nil and tonumber(status.size) == tonumber(state.wanted_bytes)
end

-- Back to what the file was before the addition that failed.
local function restore(fd, state, closing)
  local at = tonumber(state.whole_bytes)
  if write_at(fd, closing, #closing, at) then C.ftruncate(fd, at + #closing) end
end

local function shared_state()
  local PROT_READ_WRITE, MAP_SHARED_ANONYMOUS, PAGE_SIZE = 3, 0x21, 4096
  local page = C.mmap(nil, PAGE_SIZE, PROT_READ_WRITE, MAP_SHARED_ANONYMOUS, -1, 0)
  if ffi.cast("intptr_t", page) == -1 then return sys.failed("mmap") end
  return ffi.cast("struct ps_file_state *", page)
end

-- Start the guardian of a file that is whole. Returns true, or nil and a message.
local function guard(self)
  local state, err = shared_state()
  if not state then return nil, err end
  self.state = state
  state.whole_bytes, state.wanted_bytes = self.opening_bytes, self.opening_bytes + #self.closing
  self.guard_fd, err = guardian.start("file-guardian", function(fd)
    if not is_done(fd, state) then restore(fd, state, self.closing) end
  end, self.fd)
  return self.guard_fd ~= nil, err
end

-- Returns true, or nil and a message.
local function begin(self, opening)
  local status = files.status(self.fd)
  if not status or not files.is_regular(status) then
    return nil, self.path .. ": is not a regular file, which this format needs: it is written again at its end"
  end
  local ok, _, errno = write_at(self.fd, opening .. self.closing, #opening + #self.closing, 0)
  if not ok then return nil, ("%s: %s"):format(self.path, sys.strerror(errno)) end
  return guard(self)
end

--- Begin a file.
-- @param path string
-- @param opening string: what the document begins with
-- @param closing string: what makes it whole, the same after each addition
-- @return file, or nil and a message
function _M.open(path, opening, closing)
  local fd = C.open(path, bit.bor(O_RDWR, O_CREAT, O_TRUNC, O_CLOEXEC), ffi.cast("int", MODE))
  if fd < 0 then return sys.failed(path) end
  local self = setmetatable({ fd = fd, path = path, opening_bytes = #opening, closing = closing }, WholeFile)
  local ok, err = begin(self, opening)
  if ok then return self end
  self:close()
  return nil, err
end

--- Size of the file in bytes.
function WholeFile:bytes()
  return tonumber(self.state.whole_bytes) + #self.closing
end

-- Replace the closing by text, of which kept bytes are not closing. Returns true, or nil and a message.
local function replace_closing(self, text, kept)
  local state = self.state
  local at = tonumber(state.whole_bytes)
  state.wanted_bytes = at + #text
  local ok, _, errno = write_at(self.fd, text, #text, at)
  if not ok then
    restore(self.fd, state, self.closing)
    state.wanted_bytes = at + #self.closing
    return nil, ("%s: %s"):format(self.path, sys.strerror(errno))
  end
  state.whole_bytes = at + kept
  return true
end

--- Replace the closing by more of the document and the closing.
-- @param text string
-- @return true; or nil and a message: then the file is what it was before
function WholeFile:add(text)
  return replace_closing(self, text .. self.closing, #text)
end

--- Replace the closing by another one, which is longer, for good. Returns as add().
function WholeFile:finish(closing)
  return replace_closing(self, closing, #closing)
end

--- End it.
function WholeFile:close()
  if self.guard_fd then C.close(self.guard_fd) end -- it finds the file whole
  if self.state then C.munmap(self.state, 4096) end
  C.close(self.fd)
end

return _M
