-- SPDX-License-Identifier: Apache-2.0
--- All that the compilation of a probe depends on, as one text. Sizes stand before what may hold any byte, so that no
-- two compilations have the same.
local bcc = require "plainsight.bcc"
local files = require "plainsight.files"
local paths = require "plainsight.paths"

local _M = {}

-- Variables that change what libbcc and clang do, or which of them are loaded.
local ENVIRONMENT = {
  "ARCH", "CPATH", "C_INCLUDE_PATH", "CCC_OVERRIDE_OPTIONS", "COMPILER_PATH", "LD_LIBRARY_PATH", "LD_PRELOAD",
}

local LINKER_CACHE = "/etc/ld.so.cache"
local LINKER_DIRECTORIES = { "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64" }
local DEPTH_MAX = 16

--- Every place where the dynamic linker may find libbcc (ld.so(8)). Loading it to ask would take longer than all
-- the rest of the start.
local function candidates()
  local list = {}
  for directory in (os.getenv("LD_LIBRARY_PATH") or ""):gmatch("[^:;]+") do
    list[#list + 1] = directory .. "/" .. bcc.SONAME
  end
  -- NUL-terminated strings, among others the paths.
  local name = bcc.SONAME:gsub("%.", "%%.")
  for path in (paths.read(LINKER_CACHE) or ""):gmatch("(/[^%z]*/" .. name .. ")%z") do list[#list + 1] = path end
  for _, directory in ipairs(LINKER_DIRECTORIES) do list[#list + 1] = directory .. "/" .. bcc.SONAME end
  return list
end

--- Which libbcc this is: a line for each file that it can be. Returns nil when there is none.
local function compiler_identity()
  local lines, seen = {}, {}
  for _, candidate in ipairs(candidates()) do
    local path = files.real_path(candidate)
    local status = path and not seen[path] and files.status(path)
    if status then
      seen[path] = true
      lines[#lines + 1] = ("compiler %s %d %d.%09d"):format(path, tonumber(status.size), tonumber(status.mtime_s),
        tonumber(status.mtime_ns))
    end
  end
  if #lines == 0 then return nil end
  return table.concat(lines, "\n")
end

--- Append name, size and content of all files below a directory. Returns true, or nil and a message.
local function append_tree(parts, path, name, depth)
  local status, err = files.status(path)
  if not status then return nil, err end
  if not files.is_directory(status) then
    local text
    text, err = paths.read(path)
    if not text then return nil, err end
    parts[#parts + 1] = ("header %s %d\n%s"):format(name, #text, text)
    return true
  end
  local names
  names, err = files.list(path)
  if not names then return nil, err end
  if depth == DEPTH_MAX then return nil, path .. ": too deep" end
  for _, entry in ipairs(names) do
    local ok
    ok, err = append_tree(parts, path .. "/" .. entry, name .. "/" .. entry, depth + 1)
    if not ok then return nil, err end
  end
  return true
end

--- The key of a compilation.
-- @param text the probe, flattened (plainsight.source)
-- @param options all compiler options
-- @param headers directory of the kernel headers, below the root
-- @return string, or nil and the reason why there can be none
function _M.of(text, options, headers)
  local compiler = compiler_identity()
  if not compiler then return nil, bcc.SONAME .. " is not where the dynamic linker looks" end
  local parts = { compiler }
  -- libbcc looks at the running kernel for what it can do.
  parts[#parts + 1] = "kernel " .. (paths.read("/proc/sys/kernel/osrelease") or "")
  for _, name in ipairs(ENVIRONMENT) do
    local value = os.getenv(name) or ""
    parts[#parts + 1] = ("environment %s %d %s"):format(name, #value, value)
  end
  for _, option in ipairs(options) do parts[#parts + 1] = ("option %d %s"):format(#option, option) end
  local ok, err = append_tree(parts, paths.file(headers), "", 0)
  if not ok then return nil, err end
  parts[#parts + 1] = "text\n" .. text
  return table.concat(parts, "\n")
end

return _M
