-- SPDX-License-Identifier: Apache-2.0
--- libplainsight.so (src/plainsight.h), opened once.
local ffi = require "ffi"
local paths = require "plainsight.paths"
require "plainsight.contract"

local _M = {}

local ok, result = pcall(ffi.load, paths.file("build/libplainsight.so"))

--- Its functions; nil when it cannot be loaded.
_M.lib = ok and result or nil
--- Why not.
_M.err = not ok and ("libplainsight.so cannot be loaded: %s (run make deps all)"):format(
  tostring(result):gsub("%c.*", "")) or nil

return _M
