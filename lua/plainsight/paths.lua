-- SPDX-License-Identifier: Apache-2.0
--- Where Plainsight's files are. An installed tree has the layout of the
-- checkout (tools/, lua/, probes/, src/, build/), so one rule serves both.
local _M = {}

local here = debug.getinfo(1, "S").source:match("^@(.*)/lua/plainsight/paths%.lua$")

--- Root of the tree; "." when the modules were found through a relative path.
_M.root = here or "."

--- Path of a file below the root.
-- @param relative string such as "probes/syscalls.c"
-- @return string
function _M.file(relative)
  return _M.root .. "/" .. relative
end

--- Whole content of a file.
-- @param path string
-- @return string, or nil and an error message that names the file
function _M.read(path)
  local file, err = io.open(path, "rb")
  if not file then return nil, err end
  local text = file:read("*a")
  file:close()
  if not text then return nil, path .. ": cannot be read" end
  return text
end

return _M
