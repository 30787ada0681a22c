-- SPDX-License-Identifier: Apache-2.0
--- The time that outputs go by: that of this machine, or of the recording that is replayed. What waits for others,
-- such as a collector, goes by plainsight.sys.monotonic_ns.
local sys = require "plainsight.sys"

local _M = {}

local NS_PER_S = 1000000000ULL

--- CLOCK_MONOTONIC in ns, as uint64_t cdata.
function _M.now_ns() return sys.monotonic_ns() end

--- Take it from somewhere else from now on.
-- @param now_ns function as now_ns()
function _M.use(now_ns) _M.now_ns = now_ns end

--- The same as Unix time in seconds.
-- @param opts replay (string or nil), clock_offset_ns (uint64_t, with replay)
-- @return number
function _M.unix_s(opts)
  return opts.replay and tonumber((_M.now_ns() + opts.clock_offset_ns) / NS_PER_S) or os.time()
end

return _M
