-- SPDX-License-Identifier: Apache-2.0
--- From a probe's text to instructions (plainsight.description), in a child process:
-- clang and LLVM would otherwise stay in the tool's memory (over 100 MB). The tool does other things meanwhile.
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

local PR_SET_PDEATHSIG, SIGKILL = 1, 9

local Compilation = {}
Compilation.__index = Compilation

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

--- The child's life: one reply, "ok" and the encoded description or "error" and a message. Signals are for the tool,
-- and the child ends with it.
local function child(reply, ...)
  sys.block_signals({ sys.signals.HUP, sys.signals.INT, sys.signals.TERM })
  C.prctl(PR_SET_PDEATHSIG, ffi.cast("unsigned long", SIGKILL))
  local ok, result, err = pcall(compile, ...)
  if ok and result then
    sys.write_all(reply, "ok\n" .. description.encode(result))
  else
    sys.write_all(reply, "error\n" .. tostring(ok and err or result))
  end
  C.close(reply) -- before all the compiler's memory is given back
  C._exit(0)
end

--- @return pid and the descriptor to read the reply from, or nil and a message
local function start_child(file, text, options)
  local mine, theirs = sys.pipe()
  if not mine then return nil, theirs end
  local pid = C.fork()
  if pid < 0 then return sys.failed("fork") end
  if pid == 0 then child(theirs, file, text, options) end
  C.close(theirs)
  return pid, mine
end

--- @return encoded description, or nil and a message
function Compilation:wait()
  local reply = sys.read_all(self.reply)
  C.close(self.reply)
  sys.wait(self.pid)
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
function Compilation:into_cache(encoded)
  local file = self.file
  if self.key ~= self.make_key() then
    return debug_line("%s: cache: not kept, something has changed meanwhile", file)
  end
  local path, why = self.kept:put(self.key, encoded)
  debug_line("%s: cache: %s %s", file, path and "kept as" or "not kept:", path or why)
end

--- Wait until it is done.
-- @return see plainsight.description; or nil and a message, clang's own messages have then gone to stderr
function Compilation:finish()
  if self.found then return self.found end
  local encoded, err = self:wait()
  if not encoded then return nil, err end
  local result = description.decode(encoded)
  if not result then return nil, "the compiler process died" end
  if self.kept then self:into_cache(encoded) end
  return result
end

--- Begin to compile a probe, unless an earlier run has.
-- @param file path below the root: "probes/syscalls.c"
-- @param cflags list of -D options
-- @return object to finish(), once; or nil and a message
function _M.begin(file, cflags)
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
  local self = setmetatable({ file = file, key = key, make_key = make_key, kept = kept }, Compilation)
  self.found = kept and from_cache(file, key, kept)
  if self.found then return self end
  self.pid, self.reply = start_child(file, text, options)
  if not self.pid then return nil, self.reply end
  return self
end

return _M
