-- SPDX-License-Identifier: Apache-2.0
--- What all tools have in common: command line, messages, exit status.
local cli = require "plainsight.cli"
local library = require "plainsight.library"

local _M = {}

--- Exit statuses.
_M.OK, _M.FAILURE, _M.USAGE = 0, 1, 2

--- One line on standard error, with the tool's name.
function _M.say(tool, message) io.stderr:write(tool.name, ": ", message, "\n") end

--- A mistake of ours is one line too; the trace is for those who look for it.
local function on_mistake(message)
  if os.getenv("PLAINSIGHT_DEBUG") then io.stderr:write(debug.traceback(message, 2), "\n") end
  return "internal error, please report it: " .. tostring(message)
end

--- Run a tool.
-- @param tool see plainsight.cli.parse
-- @param argv list of strings
-- @param run function(tool, opts) -> exit status; or nil, message, exit status (default FAILURE)
-- @return exit status: USAGE when the command line is wrong, else what run says
function _M.main(tool, argv, run)
  local opts, err = cli.parse(tool, argv)
  if not opts then
    _M.say(tool, ("%s (see %s --help)"):format(err, tool.name))
    return _M.USAGE
  end
  if opts.help_text or opts.version_text then
    io.stdout:write(opts.help_text or opts.version_text)
    return _M.OK
  end
  if not library.lib then
    _M.say(tool, library.err)
    return _M.FAILURE
  end
  local ok, status, message, failure = xpcall(run, on_mistake, tool, opts)
  if ok and status then return status end
  _M.say(tool, ok and message or status)
  return failure or _M.FAILURE
end

return _M
