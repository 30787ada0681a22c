-- SPDX-License-Identifier: Apache-2.0
--- From a probe's text to instructions (plainsight.description), in a child process:
-- clang and LLVM would otherwise stay in the tool's memory (over 100 MB).
local ffi = require "ffi"
local cache = require "plainsight.cache"
local cache_key = require "plainsight.cache_key"
local description = require "plainsight.description"
local paths = require "plainsight.paths"
local source = require "plainsight.source"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

ffi.cdef "int setenv(const char *name, const char *value, int overwrite);"

-- BCC adds "-w"-less warnings of its own headers; ours are checked by tests/lint. It asks for debug information,
-- which nobody reads and which takes a fifth of the time; the instructions are the same without.
local FIXED_CFLAGS = { "-DPS_BPF", "-w", "-g0" }
local KERNEL_HEADERS = "probes/kernel-headers"

--- In the child.
-- @return description, or nil and a message
local function compile(file, text, options)
  local bcc = require "plainsight.bcc"
  local _, ksyms = pcall(ffi.load, paths.file("build/libplainsight.so"), true) -- src/bcc_ksyms.c
  local ok, err = bcc.open()
  if not ok then return nil, err end
  C.setenv("BCC_KERNEL_SOURCE", paths.file(KERNEL_HEADERS), 1)
  local module = bcc.compile(text, options)
  assert(ksyms) -- until here: a collected handle would be closed before libbcc binds to it
  if not module then return nil, ("%s does not compile (see above)"):format(file) end
  return module:describe()
end

--- The child's life: one reply, "ok" and the encoded description or "error" and a message.
local function child(reply, ...)
  local ok, result, err = pcall(compile, ...)
  if ok and result then
    sys.write_all(reply, "ok\n" .. description.encode(result))
  else
    sys.write_all(reply, "error\n" .. tostring(ok and err or result))
  end
  C.close(reply) -- before all the compiler's memory is given back
  C._exit(0)
end

--- @return encoded description, or nil and a message
local function compile_in_child(file, text, options)
  local mine, theirs = sys.pipe()
  if not mine then return nil, theirs end
  local pid = C.fork()
  if pid < 0 then return sys.failed("fork") end
  if pid == 0 then child(theirs, file, text, options) end
  C.close(theirs)
  local reply = sys.read_all(mine)
  C.close(mine)
  sys.wait(pid)
  local status, result = reply:match("^(%l+)\n(.*)")
  if status == "ok" then return result end
  return nil, status == "error" and result or "the compiler process died"
end

--- For those who look for it: where the instructions came from.
local function debug_line(...)
  if os.getenv("PLAINSIGHT_DEBUG") then io.stderr:write("plainsight: ", string.format(...), "\n") end
end

--- What an earlier run has kept. Returns description, or nil.
local function from_cache(file, key, kept)
  local encoded, where = kept:get(key)
  if not encoded then
    debug_line("%s: cache: %s", file, where)
    return nil
  end
  local result = description.decode(encoded)
  debug_line("%s: cache: %s %s", file, result and "found" or "cannot read", where)
  return result
end

--- Keep what was compiled, unless the headers or the compiler have changed meanwhile.
local function into_cache(file, key, kept, encoded, same_key)
  if key ~= same_key() then return debug_line("%s: cache: not kept, something has changed meanwhile", file) end
  local path, why = kept:put(key, encoded)
  debug_line("%s: cache: %s %s", file, path and "kept as" or "not kept:", path or why)
end

--- The instructions and maps of a probe: from the cache, else compiled.
-- @param file path below the root: "probes/syscalls.c"
-- @param cflags list of -D options
-- @return see plainsight.description; or nil and a message, clang's own messages have then gone to stderr
function _M.describe(file, cflags)
  local text, err = source.flatten(file)
  if not text then return nil, err end
  local options = {}
  for _, list in ipairs({ FIXED_CFLAGS, cflags }) do
    for _, flag in ipairs(list) do options[#options + 1] = flag end
  end
  local function make_key() return cache_key.of(text, options, KERNEL_HEADERS) end
  local key, why = make_key()
  local kept
  if key then kept, why = cache.open() end
  if not kept then debug_line("%s: cache: %s", file, why) end
  local found = kept and from_cache(file, key, kept)
  if found then return found end
  local encoded
  encoded, err = compile_in_child(file, text, options)
  if not encoded then return nil, err end
  local result = description.decode(encoded)
  if not result then return nil, "the compiler process died" end
  if kept then into_cache(file, key, kept, encoded, make_key) end
  return result
end

return _M
