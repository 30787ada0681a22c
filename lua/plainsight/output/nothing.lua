-- SPDX-License-Identifier: Apache-2.0
--- The format of tools whose output is not one text for each exchange.
local _M = {}

local function nothing() end

_M.put, _M.put_started, _M.put_message = nothing, nothing, nothing

return _M
