-- SPDX-License-Identifier: Apache-2.0
--- Processes that the probes have stopped until they are attached to (probes/include/notice.h): they go on in any case.
-- When this process ends before it has let them, a guardian does: it reads what is left of the ring of notices, until
-- no probe is left that could stop another one.
local ffi = require "ffi"
local bpf = require "plainsight.bpf"
local guardian = require "plainsight.guardian"
local notices = require "plainsight.notices"
require "plainsight.sys"

local _M = {}
local C = ffi.C

local SIGCONT = 18
-- The kernel detaches the probes of a dead process one after the other; before uprobe_multi, that takes seconds.
local DETACH_S_MAX = 60

--- Let the process of a notice go on, if it waits.
function _M.release(notice)
  if notice.stopped ~= 0 then C.kill(notice.tgid, SIGCONT) end
end

local function release_all(reader)
  for notice in function() return reader:next() end do _M.release(notice) end
end

local function is_any_left(ids)
  for _, id in ipairs(ids) do
    if bpf.is_program(id) then return true end
  end
  return false
end

--- Start the guardian: to be done before anything is attached.
-- @param probes of plainsight.syscall_probes
-- @return descriptor: the guardian acts once it is closed; or nil and a message
function _M.guard(probes)
  local ids = {}
  for _, fd in pairs(probes.programs) do ids[#ids + 1] = bpf.program_id(fd) end
  return guardian.start("process-release", function(ring_fd)
    local reader = assert(notices.new(ring_fd))
    guardian.retry(DETACH_S_MAX, function()
      local is_last = not is_any_left(ids)
      release_all(reader)
      return is_last
    end)
  end, probes.maps.notices)
end

return _M
