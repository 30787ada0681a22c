-- SPDX-License-Identifier: Apache-2.0
--- Patterns of the command line, in which * stands for any characters.
local _M = {}

--- The Lua pattern for a whole text.
function _M.pattern(text)
  return "^" .. text:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*") .. "$"
end

return _M
