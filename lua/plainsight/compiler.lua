-- SPDX-License-Identifier: Apache-2.0
--- Compile and load probes in a child process and take the descriptors over:
-- clang and LLVM would otherwise stay in the tool's memory (over 100 MB).
local ffi = require "ffi"
local fdpass = require "plainsight.fdpass"
local paths = require "plainsight.paths"
local source = require "plainsight.source"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

ffi.cdef "int setenv(const char *name, const char *value, int overwrite);"

-- BCC adds "-w"-less warnings of its own headers; ours are checked by tests/lint.
local FIXED_CFLAGS = { "-DPS_BPF", "-w" }

--- In the child: compile, load the programs that are asked for.
-- @return reply text and list of descriptors; the text is one "map NAME" or
-- "prog NAME" line per descriptor, or "error MESSAGE"
local function compile_and_load(file, cflags, programs, kfuncs)
  local bcc = require "plainsight.bcc"
  local bpf = require "plainsight.bpf"
  local text, err = source.flatten(file)
  if not text then return "error " .. err, {} end
  local _, ksyms = pcall(ffi.load, paths.file("build/libplainsight.so"), true) -- src/bcc_ksyms.c
  local ok
  ok, err = bcc.open()
  if not ok then return "error " .. err, {} end
  C.setenv("BCC_KERNEL_SOURCE", paths.file("probes/kernel-headers"), 1)
  local options = {}
  for _, list in ipairs({ FIXED_CFLAGS, cflags }) do
    for _, flag in ipairs(list) do options[#options + 1] = flag end
  end
  local module = bcc.compile(text, options)
  assert(ksyms) -- until here: a collected handle would be closed before libbcc binds to it
  if not module then return ("error %s does not compile (see above)"):format(file), {} end
  local lines, fds = {}, {}
  for name, fd in pairs(module:maps()) do
    lines[#lines + 1], fds[#fds + 1] = "map " .. name, fd
  end
  local insns = module:programs()
  for _, program in ipairs(programs) do
    if not insns[program.name] then return ("error %s: no function %s"):format(file, program.name), {} end
    local fd, why, _, log = bpf.load(program.name, bpf.bind_kfuncs(insns[program.name], kfuncs), program.type)
    if not fd then
      if log and os.getenv("PLAINSIGHT_DEBUG") then io.stderr:write(log) end
      local reason = log and log:match("([^\n]+)\n[^\n]*processed") or ""
      if reason ~= "" then why = why .. ": " .. reason end
      return ("error %s (PLAINSIGHT_DEBUG=1 shows the verifier's log)"):format(why), {}
    end
    lines[#lines + 1], fds[#fds + 1] = "prog " .. program.name, fd
  end
  return table.concat(lines, "\n"), fds
end

local function child(socket, ...)
  local ok, text, fds = pcall(compile_and_load, ...)
  if not ok then text, fds = "error " .. tostring(text), {} end
  fdpass.send(socket, text, fds)
  C._exit(0)
end

--- Compile a probe and load its programs.
-- @param file path below the root: "probes/syscalls.c"
-- @param cflags list of -D options
-- @param programs list of { name = function, type = see plainsight.bpf }
-- @param kfuncs see plainsight.bpf.bind_kfuncs
-- @return { maps = { name = fd }, programs = { name = fd } }, or nil and a
-- message; clang's own messages have then gone to stderr
function _M.load(file, cflags, programs, kfuncs)
  local mine, theirs = sys.socketpair()
  if not mine then return nil, theirs end
  local pid = C.fork()
  if pid < 0 then return sys.failed("fork") end
  if pid == 0 then child(theirs, file, cflags, programs, kfuncs) end
  C.close(theirs)
  local text, fds = fdpass.receive(mine)
  C.close(mine)
  C.kill(pid, 9) -- its work is done; unwinding LLVM takes longer than the compilation of a small probe
  sys.wait(pid)
  if not text or text == "" then return nil, "the compiler process died" end
  local err = text:match("^error (.*)")
  if err then return nil, err end
  local result, i = { map = {}, prog = {} }, 0
  for kind, name in text:gmatch("(%a+) ([^\n]+)") do
    i = i + 1
    result[kind][name] = fds[i]
  end
  return { maps = result.map, programs = result.prog }
end

return _M
