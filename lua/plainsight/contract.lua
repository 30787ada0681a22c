-- SPDX-License-Identifier: Apache-2.0
--- The structs that C and Lua share, read from the C headers themselves:
-- the text between "cdef begin" and "cdef end" of each header.
-- Loading this module declares struct ps_event, struct ps_exchange and their
-- enums in ffi.C.
local ffi = require "ffi"
local paths = require "plainsight.paths"

local _M = {}

--- Headers in the order in which they depend on each other.
_M.headers = {
  "probes/include/event.h", "src/plainsight.h", "src/plainsight_elf.h", "src/plainsight_secrets.h",
}

for _, header in ipairs(_M.headers) do
  local text = assert(paths.read(paths.file(header)))
  local cdef = text:match("/%* cdef begin %*/(.-)/%* cdef end %*/")
  assert(cdef, header .. ": marker comments missing")
  ffi.cdef(cdef)
end

return _M
