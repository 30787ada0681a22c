-- SPDX-License-Identifier: Apache-2.0
--- The programs on TLS libraries (probes/include/tls_calls.h), and attaching them to a library file.
local ffi = require "ffi"
local bpf = require "plainsight.bpf"
local uprobes = require "plainsight.uprobes"

local _M = {}
local C = ffi.C

-- In probes/include/tls_calls.h: stands for the cookie where the kernel has none.
local COOKIE_MARKER = 0x7fff0100 * 2 ^ 32

-- A tail call needs programs of one type, so these have a map of continuations, and copies of them, of their own.
local MAPS = { continuations = "tls_continuations" }
local CONTINUATIONS = { [0] = "copy_more", [1] = "judge" } -- enum continuation

local Probes = {}
Probes.__index = Probes

local function program(name, as, constants)
  return {
    name = name, as = as, type = "kprobe", expected_attach_type = uprobes.ATTACH_TYPE, maps = MAPS,
    constants = constants,
  }
end

--- Load what all libraries have in common.
-- @param loader of plainsight.loader, with the probes on system calls
-- @return object, or nil and a message
function _M.load(loader)
  local list = {}
  for _, name in pairs(CONTINUATIONS) do list[#list + 1] = program(name, "tls_" .. name) end
  if uprobes.has_cookies then
    list[#list + 1] = program("tls_enter")
    list[#list + 1] = program("tls_return")
  end
  local ok, err = loader:load(list)
  if not ok then return nil, err end
  for index, name in pairs(CONTINUATIONS) do
    ok, err = bpf.map_update(loader.maps.tls_continuations, ffi.new("uint32_t[1]", index),
      ffi.new("uint32_t[1]", loader.programs["tls_" .. name]))
    if not ok then return nil, err end
  end
  return setmetatable({ loader = loader }, Probes)
end

--- The program for a place: one for all where there are cookies, else one with the cookie built in.
function Probes:program_for(name)
  return function(cookie)
    if uprobes.has_cookies then return self.loader.programs[name] end
    local as = ("%s_%s"):format(name, tostring(cookie))
    if not self.loader.programs[as] then
      local ok, err = self.loader:load({ program(name, as, { [COOKIE_MARKER] = cookie }) })
      if not ok then return nil, err end
    end
    return self.loader.programs[as]
  end
end

--- Attach to a library file.
-- @param path of the file, as this process can open it
-- @param pid process to watch in it, or nil: all that have it
-- @param places see plainsight.tls.functions
-- @return list of descriptors, to close by the caller; or nil, message, errno
function Probes:attach(path, pid, places)
  -- Where functions return first: no call is seen to begin and not to end.
  local fds, err, errno = uprobes.attach(self:program_for("tls_return"), path, pid, places.leave,
    places.leave_by_return)
  if not fds then return nil, err, errno end
  local more
  more, err, errno = uprobes.attach(self:program_for("tls_enter"), path, pid, places.enter, false)
  if not more then
    for _, fd in ipairs(fds) do C.close(fd) end
    return nil, err, errno
  end
  for _, fd in ipairs(more) do fds[#fds + 1] = fd end
  return fds
end

return _M
