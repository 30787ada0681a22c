-- SPDX-License-Identifier: Apache-2.0
--- One text out of a probe and the headers that it includes.
--
-- BCC rewrites map accesses in its main file only, so a header with such code
-- has to become part of it. #line keeps clang's messages at the right place.
local paths = require "plainsight.paths"

local _M = {}

local function append(file, parts, included)
  local text, err = paths.read(paths.file(file))
  if not text then return nil, err end
  local directory = file:match("^(.*)/[^/]+$")
  parts[#parts + 1] = ('#line 1 "%s"'):format(file)
  local number = 0
  for line in text:gmatch("([^\n]*)\n") do
    number = number + 1
    local name = line:match('^#include "([^"]+)"')
    if not name then
      parts[#parts + 1] = line
    else
      local path = directory .. "/" .. name
      if not included[path] then
        included[path] = true
        local ok, why = append(path, parts, included)
        if not ok then return nil, ("%s:%d: %s"):format(file, number, why) end
      end
      parts[#parts + 1] = ('#line %d "%s"'):format(number + 1, file)
    end
  end
  return true
end

--- Text of a probe with its #include "..." lines replaced by the files, each once.
-- @param file path below the root: "probes/syscalls.c"
-- @return string, or nil and a message
function _M.flatten(file)
  local parts = {}
  local ok, err = append(file, parts, {})
  if not ok then return nil, err end
  return table.concat(parts, "\n") .. "\n"
end

return _M
