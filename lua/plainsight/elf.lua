-- SPDX-License-Identifier: Apache-2.0
--- Executables and libraries as files: where their functions are, and where a
-- uprobe on them is best put (src/plainsight_elf.h).
local ffi = require "ffi"
local library = require "plainsight.library"
require "plainsight.contract"

local _M = {}

local NAMES_MAX = ffi.C.PS_ELF_NAMES_MAX

local lib = library.lib

local Image = {}
Image.__index = Image

--- Open a file, which may be that of another process.
-- @param path string; /proc/PID/map_files/FROM-TO and /proc/PID/root/... are fine
-- @return object, or nil and a message
function _M.open(path)
  if not lib then return nil, library.err end
  local reason = ffi.new("const char *[1]")
  local handle = lib.ps_elf_open(path, reason)
  if handle == nil then return nil, path .. ": " .. ffi.string(reason[0]) end
  return setmetatable({ handle = ffi.gc(handle, lib.ps_elf_close), text = ffi.new("struct ps_elf_text") }, Image)
end

--- Close the file; the object cannot be used any more.
function Image:close()
  lib.ps_elf_close(ffi.gc(self.handle, nil))
  self.handle = nil
end

local function function_of(found)
  if found.found == 0 then return nil end
  return { address = tonumber(found.address), offset = tonumber(found.offset), size = tonumber(found.size) }
end

-- Room for the answers on names, and the names as C strings, which are valid as long as names is.
local function arrays(names)
  if #names > NAMES_MAX then error("more than " .. NAMES_MAX .. " names", 3) end
  return ffi.new("struct ps_elf_function[?]", #names), ffi.new("const char *[?]", #names, names)
end

local function by_name(names, found)
  local functions = {}
  for i, name in ipairs(names) do functions[name] = functions[name] or function_of(found[i - 1]) end
  return functions
end

--- Defined functions by name. Of several versions it is the default one; of
-- several static functions with one name it is none.
-- @param names list of at most 256 strings; one pass over the tables finds all
-- @return { [name] = { address = , offset = in the file, size = bytes, 0 when not known } }
function Image:symbols(names)
  local found, strings = arrays(names)
  lib.ps_elf_functions(self.handle, strings, #names, found)
  return by_name(names, found)
end

--- One function by name, like symbols(); nil when there is none.
function Image:symbol(name) return self:symbols({ name })[name] end

local function text_of(self, found) return found and ffi.string(self.text.text) or nil end

--- DT_SONAME, or nil.
function Image:soname() return text_of(self, lib.ps_elf_soname(self.handle, self.text)) end

--- DT_NEEDED: list of strings.
function Image:needed()
  local list = {}
  while lib.ps_elf_needed(self.handle, #list, self.text) do list[#list + 1] = ffi.string(self.text.text) end
  return list
end

--- The GNU build id in hexadecimal, or nil.
function Image:build_id() return text_of(self, lib.ps_elf_build_id(self.handle, self.text)) end

--- Whether the file is a program and not a library.
function Image:is_executable() return lib.ps_elf_is_executable(self.handle) end

--- The first text in read-only data that begins with prefix and ends with NUL, or nil. Looks at 128 MiB at most.
function Image:find_string(prefix) return text_of(self, lib.ps_elf_find_text(self.handle, prefix, self.text)) end

--- Where read-only data has a text, at whatever place: it and what follows, at most 255 printable bytes; or nil.
function Image:find_inside(part) return text_of(self, lib.ps_elf_find_inside(self.handle, part, self.text)) end

local function site_of(reason, site)
  if reason ~= nil then return nil, ffi.string(reason) end
  local moved = site.moved_argument ~= 0 and site.moved_argument or nil
  return {
    address = tonumber(site.address), entry = tonumber(site.entry), emulated = site.emulated ~= 0,
    moved_argument = moved,
  }
end

--- Where a uprobe and a uretprobe on a function are put.
-- @return { entry = offset in the file, emulated = whether a hit is cheap, address = of the function }, or nil and
-- the reason
function Image:site(name)
  local site = ffi.new("struct ps_elf_site")
  return site_of(lib.ps_elf_site(self.handle, name, site), site)
end

--- The start of the function that does the work for several exported ones
-- (ps_elf_inner_site() says what is proved of it).
-- @param names such as { "SSL_read", "SSL_read_ex" }
-- @return like site(), with moved_argument: 4 or 5, which of its arguments points to the size_t where it stores the
-- number of bytes moved; or nil and the reason
function Image:inner_site(names)
  local site, _, strings = ffi.new("struct ps_elf_site"), arrays(names)
  return site_of(lib.ps_elf_inner_site(self.handle, strings, #names, site), site)
end

--- The version of Go that the program was built with ("go1.19.8"), or nil.
function Image:go_version() return text_of(self, lib.ps_elf_go_version(self.handle, self.text)) end

--- Functions of a Go program, stripped or not, by their full names.
-- @param names list of strings such as "crypto/tls.(*Conn).Read"
-- @return like symbols(), or nil and the reason
function Image:go_functions(names)
  local found, strings = arrays(names)
  local reason = lib.ps_elf_go_functions(self.handle, strings, #names, found)
  if reason ~= nil then return nil, ffi.string(reason) end
  return by_name(names, found)
end

--- Where uprobes on a Go function are put; a uretprobe on it would break the program.
-- @param where what go_functions() has found of it
-- @return { entry = offset in the file, skip_flags = bits, emulated = whether a hit of entry is cheap,
-- returns = list of the offsets of every ret, address = of the function }, or nil and the reason. A hit of entry that
-- has one of skip_flags in its flags register is not a call yet: the function starts again when its stack has grown.
function Image:go_site(where)
  local site = ffi.new("struct ps_elf_go_site")
  local reason = lib.ps_elf_go_site(self.handle, ffi.new("struct ps_elf_function", where), site)
  if reason ~= nil then return nil, ffi.string(reason) end
  local returns = {}
  for i = 1, site.return_count do returns[i] = tonumber(site.returns[i - 1]) end
  return {
    address = tonumber(site.address), entry = tonumber(site.entry), skip_flags = tonumber(site.skip_flags),
    emulated = site.emulated ~= 0, returns = returns,
  }
end

return _M
