-- SPDX-License-Identifier: Apache-2.0
--- Binding to libbcc, as far as it is used: compile C to BPF instructions. Only
-- this file declares libbcc.
--
-- Not BCC's own Lua front end: Debian's does not load, upstream's has no ring
-- buffer. Maps and programs are created by plainsight.loader, without libbcc.
local ffi = require "ffi"
local bpf = require "plainsight.bpf"
local description = require "plainsight.description"

local _M = {}

ffi.cdef [[
void *bpf_module_create_c_from_string(const char *text, unsigned flags, const char *cflags[], int ncflags,
                                      bool allow_rlimit, const char *dev_name);
void bpf_module_destroy(void *module);
size_t bpf_num_functions(void *module);
const char *bpf_function_name(void *module, size_t id);
void *bpf_function_start(void *module, const char *name);
size_t bpf_function_size(void *module, const char *name);
size_t bpf_num_tables(void *module);
const char *bpf_table_name(void *module, size_t id);
int bpf_table_fd(void *module, const char *name);
]]

--- 0.26 (Debian 12) to 0.31 (Debian 13) share this soname and these signatures.
_M.SONAME = "libbcc.so.0"

local library

--- Load libbcc.
-- @return true, or nil and a message with the remedy
function _M.open()
  if library then return true end
  local ok, result = pcall(ffi.load, _M.SONAME)
  if not ok then return nil, "libbcc is missing: apt-get install libbpfcc" end
  local has = pcall(function() return result.bpf_module_create_c_from_string end)
  if not has then return nil, "libbcc is too old (0.26 or newer is needed): apt-get install libbpfcc" end
  library = result
  return true
end

local Module = {}
Module.__index = Module

--- Compile. clang's messages go to stderr.
-- @param text C source
-- @param cflags list of compiler options
-- @return module, or nil when clang or BCC refused it
function _M.compile(text, cflags)
  local options = ffi.new("const char *[?]", #cflags)
  for i, flag in ipairs(cflags) do options[i - 1] = flag end
  local handle = library.bpf_module_create_c_from_string(text, 0, options, #cflags, true, nil)
  if handle == nil then return nil end
  return setmetatable({ handle = handle }, Module)
end

--- What was compiled. BCC has created the maps, and they go with the module: what counts here is how.
-- @return see plainsight.description; or nil and a message
function Module:describe()
  local result, places = { maps = {}, programs = {} }, {}
  for id = 0, tonumber(library.bpf_num_tables(self.handle)) - 1 do
    local name = ffi.string(library.bpf_table_name(self.handle, id))
    local fd = library.bpf_table_fd(self.handle, name)
    local map, err = bpf.map_definition(fd)
    if not map then return nil, err end
    map.name = name
    result.maps[id + 1], places[fd] = map, id
  end
  for id = 0, tonumber(library.bpf_num_functions(self.handle)) - 1 do
    local name = ffi.string(library.bpf_function_name(self.handle, id))
    local insns = ffi.string(library.bpf_function_start(self.handle, name),
      tonumber(library.bpf_function_size(self.handle, name)))
    result.programs[name] = description.with_places(insns, places)
  end
  return result
end

return _M
