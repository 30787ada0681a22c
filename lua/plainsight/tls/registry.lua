-- SPDX-License-Identifier: Apache-2.0
--- The TLS libraries that Plainsight knows: every file in lua/plainsight/tls/library/ is one, and nothing else has
-- to be changed for another one. Such a file returns a table:
--
--   name        the type, as --extra-lib and JSON have it: "openssl"
--   title       one word for people: "OpenSSL"
--   sonames     Lua patterns of the names of its file (soname or file name): a file with such a name is this library
--   not_sonames names of files that are not, although they have its functions
--   marker      function that says, where an image defines it, that the library is inside
--   absent      function that must not be defined (for what strings find)
--   strings     texts in read-only data that say, when all are there, that the library is inside; looked for, in this
--               order, where no symbol says more
--   detect      function(image) -> nil, or { version, reason }: replaces marker and strings
--   version     function(image) -> version or nil, title if it is another one's; with image as of plainsight.elf
--   companion   another file of the same library that a process has mapped: sonames, marker, and required when without
--               it there is no TLS. Its version counts when the first file does not tell
--   reason      why it cannot be traced, if that is never possible
--   fallback    true: looked for only where no other library was found; one library has it
--   functions   what to hook
local paths = require "plainsight.paths"
local files = require "plainsight.files"

local _M = {}

local DIRECTORY = "lua/plainsight/tls/library"

local function load_all()
  local names = assert(files.list(paths.file(DIRECTORY)))
  table.sort(names)
  local list, by_name, fallback = {}, {}, nil
  for _, file in ipairs(names) do
    local module = file:match("^([%w_]+)%.lua$")
    if module then
      local library = require("plainsight.tls.library." .. module)
      assert(library.name == module, file .. ": a library has the name of its file")
      by_name[library.name] = library
      if library.fallback then fallback = library else list[#list + 1] = library end
    end
  end
  return list, by_name, fallback
end

local libraries, by_name, fallback = load_all()

--- Every library but the fallback, sorted by name.
_M.libraries = libraries
--- The library that stands for one that is not known.
_M.fallback = fallback

--- A library by its name, or nil.
function _M.get(name) return by_name[name] end

--- Names of all libraries, sorted.
function _M.names()
  local names = {}
  for i, library in ipairs(libraries) do names[i] = library.name end
  return names
end

--- Whether one of the names matches one of the patterns.
-- @param patterns list of Lua patterns, or nil
-- @param names list of strings
function _M.matches(patterns, names)
  for _, pattern in ipairs(patterns or {}) do
    for _, name in ipairs(names) do
      if name:find(pattern) then return true end
    end
  end
  return false
end

local function markers_of_all()
  local set, list = {}, {}
  local function add(name)
    if name and not set[name] then
      set[name] = true
      list[#list + 1] = name
    end
  end
  for _, library in ipairs(libraries) do
    add(library.marker)
    add(library.absent)
    add(library.companion and library.companion.marker)
  end
  return list
end

--- Names of all functions that say something, for one look into an image.
_M.markers = markers_of_all()

return _M
