-- SPDX-License-Identifier: Apache-2.0
--- A child that acts when this process has ended, however it did: after SIGKILL, too.
local ffi = require "ffi"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

ffi.cdef [[
pid_t setsid(void);
int chdir(const char *path);
int usleep(unsigned us);
]]

local NR_CLOSE_RANGE = 436 -- x86-64
local PR_SET_NAME = 15
local O_RDWR = 2
local KEPT_FD = 3

--- In the guardian: keep nothing of the tool open but the pipe, which becomes stdin, and one descriptor.
local function let_go(name, pipe, keep)
  C.setsid()
  C.chdir("/")
  C.prctl(PR_SET_NAME, ffi.cast("const char *", name))
  C.dup2(pipe, 0)
  local null = C.open("/dev/null", O_RDWR)
  C.dup2(null, 1)
  C.dup2(null, 2)
  if keep then C.dup2(keep, KEPT_FD) end
  local first = keep and KEPT_FD + 1 or KEPT_FD
  if C.syscall(NR_CLOSE_RANGE, ffi.cast("unsigned", first), ffi.cast("unsigned", -1), ffi.cast("unsigned", 0)) ~= 0 then
    for fd = first, 1023 do C.close(fd) end -- before Linux 5.9
  end
end

--- The guardian's life. It inherits that signals for the tool are blocked.
local function wait_and_act(name, pipe, keep, act)
  let_go(name, pipe, keep)
  sys.read_all(0) -- nothing is ever written
  pcall(act, KEPT_FD)
  C._exit(0)
end

--- Start a guardian. A process in between makes it nobody's child.
-- @param name of the process, up to 15 characters
-- @param act function(fd), called in the guardian
-- @param keep descriptor that the guardian needs, or nil; act() gets its own
-- @return descriptor: the guardian acts once it is closed; or nil and a message
function _M.start(name, act, keep)
  local theirs, mine = sys.pipe()
  if not theirs then return nil, mine end
  local pid = C.fork()
  if pid < 0 then
    C.close(theirs)
    C.close(mine)
    return sys.failed("fork")
  end
  if pid == 0 then
    C.close(mine)
    if C.fork() == 0 then wait_and_act(name, theirs, keep, act) end
    C._exit(0)
  end
  C.close(theirs)
  sys.wait(pid)
  return mine
end

--- In the guardian: try until it is done, every 20 ms.
-- @param seconds after which it gives up
-- @param attempt function, returns true when it is done
function _M.retry(seconds, attempt)
  local PAUSE_US = 20000
  for _ = 1, seconds * 1e6 / PAUSE_US do
    if attempt() then return end
    C.usleep(PAUSE_US)
  end
end

return _M
