-- SPDX-License-Identifier: Apache-2.0
--- Which TLS libraries an ELF image has inside, and whether they can be traced.
local registry = require "plainsight.tls.registry"

local _M = {}

-- Texts are looked for in files of this size or more: no TLS library that is recognised by texts is half as large.
local TEXTS_FILE_BYTES_MIN = 512 * 1024

-- Whether all of a list of texts are in the image. Each is looked for once: that is a pass over the file.
local function has_texts(image, texts, about)
  if not texts or about.size < TEXTS_FILE_BYTES_MIN then return false end
  if not about.may_search then
    about.is_unsearched = true
    return false
  end
  about.is_searched = true
  for _, text in ipairs(texts) do
    if about.texts[text] == nil then about.texts[text] = image:find_inside(text) or false end
    if not about.texts[text] then return false end
  end
  return true
end

local function stripped(marker)
  return ("no symbol %s in it: stripped, or hidden in the program"):format(marker)
end

-- The version, and the title where another library has the same functions.
local function add_version(found, library, image, about)
  if not library.version or about.is_quick then return found end
  local version, title = library.version(image)
  found.version, found.title = version, title or found.title
  return found
end

-- A library as it is in this image, or nil. See _M.image.
local function library_in(library, image, about)
  if registry.matches(library.not_sonames, about.names) then return nil end
  local named = about.type == library.name or registry.matches(library.sonames, about.names)
  local found = { library = library, title = library.title, reason = library.reason, static = not named }
  if library.detect then
    local detected = library.detect(image)
    if not detected then return nil end
    found.version, found.reason = detected.version, detected.reason
    return found
  end
  local has_marker = library.marker and about.symbols[library.marker] ~= nil
  if not has_marker and not named then
    if library.absent and about.symbols[library.absent] then return nil end
    if not has_texts(image, library.strings, about) then return nil end
  end
  if library.marker and not has_marker then found.reason = found.reason or stripped(library.marker) end
  return add_version(found, library, image, about)
end

-- What an image has for a library that is in another file, or nil.
local function companion_in(library, image, about)
  local companion = library.companion
  if not companion then return nil end
  if not registry.matches(companion.sonames, about.names) and not about.symbols[companion.marker] then return nil end
  return add_version({ library = library, is_companion = true }, library, image, about)
end

--- Look into an image.
-- @param image see plainsight.elf
-- @param about table: name (file name without directories), size (bytes), type (name of the library that a user says
--   it is, or nil), may_search (boolean: texts may be looked for, which takes passes over the file), is_quick (without
--   versions, and with the title of the library's file: to look for the text that tells takes longer than all else).
--   is_searched is set in it when texts were looked for, is_unsearched when they would have been
-- @return list of { library (of the registry), title, version (string or nil), static (boolean: it has not the
--   library's own name), reason (string, or nil when it can be traced) }, and of { library, is_companion = true,
--   version, title (or nil) }
function _M.image(image, about)
  about.names, about.texts, about.symbols = { about.name, image:soname() }, {}, image:symbols(registry.markers)
  local list = {}
  for _, library in ipairs(registry.libraries) do
    list[#list + 1] = library_in(library, image, about)
    list[#list + 1] = companion_in(library, image, about)
  end
  if #list == 0 then list[1] = library_in(registry.fallback, image, about) end
  return list
end

--- What the name alone says of a file that cannot be looked into.
-- @param about see image
-- @param reason why it cannot
-- @return list as image() gives
function _M.name(about, reason)
  local list = {}
  for _, library in ipairs(registry.libraries) do
    local named = registry.matches(library.sonames, { about.name })
      and not registry.matches(library.not_sonames, { about.name })
    if named or about.type == library.name then
      list[#list + 1] = { library = library, title = library.title, static = false, reason = library.reason or reason }
    elseif library.companion and registry.matches(library.companion.sonames, { about.name }) then
      list[#list + 1] = { library = library, is_companion = true }
    end
  end
  return list
end

return _M
