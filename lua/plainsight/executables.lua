-- SPDX-License-Identifier: Apache-2.0
--- Where the paths of executables come from: procfs, or what a recording knows.
local sys = require "plainsight.sys"

local _M = {}

--- The path of a process's executable.
-- @param pid number
-- @return string; nil when it is not known
function _M.path_of(pid) return (sys.readlink(("/proc/%d/exe"):format(pid))) end

--- Take them from somewhere else from now on.
-- @param path_of function as path_of()
function _M.use(path_of) _M.path_of = path_of end

return _M
