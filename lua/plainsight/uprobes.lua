-- SPDX-License-Identifier: Apache-2.0
--- Attach programs to places in executables and libraries (uprobes).
--
-- A uprobe belongs to a file. With a process id it is put into that process only, and others that use the file pay
-- nothing. Descriptors are all there is: nothing stays behind when the tool is killed. Many places in one file are
-- one link where the kernel has uprobe_multi: perf events take the kernel 0.2 s each to detach.
local ffi = require "ffi"
local bpf = require "plainsight.bpf"

local _M = {}
local C = ffi.C

-- uprobe_multi is there from 6.6 on, but took a process id for that of a thread until 6.10.
local MULTI_KERNEL_MIN = 6010
-- bpf_get_attach_cookie() for perf events.
local COOKIE_KERNEL_MIN = 5015

--- enum bpf_attach_type that programs have to be loaded with: BPF_TRACE_UPROBE_MULTI, or none.
_M.ATTACH_TYPE = bpf.kernel_version() >= MULTI_KERNEL_MIN and 48 or nil

--- Whether a program learns by a cookie which place it was called at; without, each place needs a program.
_M.has_cookies = bpf.kernel_version() >= COOKIE_KERNEL_MIN

local function close_all(fds)
  for _, fd in ipairs(fds) do C.close(fd) end
end

local function attach_each(prog_fd_of, path, pid, places, is_return)
  local fds = {}
  for _, place in ipairs(places) do
    local prog_fd, err = prog_fd_of(place.cookie)
    local new
    if prog_fd then new, err = bpf.attach_uprobe(prog_fd, path, pid, place, is_return, _M.has_cookies) end
    if not new then
      close_all(fds)
      return nil, err
    end
    for _, fd in ipairs(new) do fds[#fds + 1] = fd end
  end
  return fds
end

--- Attach a program to places in a file.
-- @param prog_fd_of function(cookie) -> descriptor of the program, or nil and a message; it matters for kernels without
--   cookies only
-- @param path of the file, as this process can open it
-- @param pid the process, or nil: every one
-- @param places list of { offset = in the file, cookie = uint64_t }
-- @param is_return where the function that begins at the place returns
-- @return list of descriptors, to close by the caller; or nil, message, errno
function _M.attach(prog_fd_of, path, pid, places, is_return)
  if #places == 0 then return {} end
  if not _M.ATTACH_TYPE then return attach_each(prog_fd_of, path, pid, places, is_return) end
  local prog_fd, err = prog_fd_of(places[1].cookie)
  if not prog_fd then return nil, err end
  local fd, why, errno = bpf.attach_uprobe_multi(prog_fd, path, pid, places, is_return)
  if not fd then return nil, why, errno end
  return { fd }
end

return _M
