-- SPDX-License-Identifier: Apache-2.0
--- Start a COMMAND that waits at its very beginning until the probes are attached.
local ffi = require "ffi"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

local Command = {}
Command.__index = Command

local PR_SET_PDEATHSIG, SIGKILL, X_OK = 1, 9, 1

--- In the child: wait for the gate, then become the command.
local function run(argv, gate, report)
  local words, anchor = sys.argv(argv)
  local byte = ffi.new("char[1]")
  -- Should the tool die before the gate opens, the command is never run.
  if C.read(gate, byte, 1) ~= 1 then C._exit(1) end
  C.prctl(PR_SET_PDEATHSIG, ffi.cast("unsigned long", 0))
  sys.unblock_signals()
  C.execvp(argv[1], words)
  local errno = ffi.new("int[1]", ffi.errno())
  C.write(report, errno, 4)
  C._exit(anchor and 1 or 1)
end

--- Where execvp will find a program (environ(7), PATH); nil when it will not.
function _M.find(name)
  if name:find("/", 1, true) then return C.access(name, X_OK) == 0 and name or nil end
  for directory in ((os.getenv("PATH") or "/usr/bin:/bin") .. ":"):gmatch("([^:]*):") do
    local path = (directory == "" and "." or directory) .. "/" .. name
    if C.access(path, X_OK) == 0 then return path end
  end
  return nil
end

--- Fork the process that will run argv; it waits for start().
-- @param argv list of strings
-- @return object with pid, or nil and a message
function _M.prepare(argv)
  local gate_read, gate_write = sys.pipe()
  if not gate_read then return nil, gate_write end
  local report_read, report_write = sys.pipe()
  if not report_read then return nil, report_write end
  local pid = C.fork()
  if pid < 0 then return sys.failed("fork") end
  if pid == 0 then
    C.prctl(PR_SET_PDEATHSIG, ffi.cast("unsigned long", SIGKILL))
    C.close(gate_write)
    run(argv, gate_read, report_write)
  end
  C.close(gate_read)
  C.close(report_write)
  return setmetatable({ pid = pid, name = argv[1], gate = gate_write, report = report_read }, Command)
end

--- Let the command run. Returns true once it has been executed, or nil and a message.
function Command:start()
  C.write(self.gate, "x", 1)
  C.close(self.gate)
  local text = sys.read_all(self.report) -- closed by exec, written to when exec fails
  C.close(self.report)
  if #text < 4 then return true end
  self.status = sys.wait(self.pid)
  local errno = ffi.cast("const int *", text)[0]
  return nil, ("cannot run %s: %s"):format(self.name, sys.strerror(errno))
end

--- Exit status as a shell gives it, once the command has ended; nil while it runs.
function Command:poll()
  self.status = self.status or sys.wait(self.pid, true)
  return self.status
end

--- Send a signal unless the command has ended.
function Command:signal(number)
  if not self:poll() then C.kill(self.pid, number) end
end

--- End a command that has not been started yet.
function Command:abandon()
  self:signal(SIGKILL)
  if not self.status then self.status = sys.wait(self.pid) end
end

return _M
