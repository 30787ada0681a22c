-- SPDX-License-Identifier: Apache-2.0
--- What lines for people tell of the container of a process (plainsight.containers.watch).
local escape = require "plainsight.output.escape"

local _M = {}

-- So many digits of an id are shown in place of a name, as docker and crictl do.
local ID_DIGITS = 12

--- The name of a container: NAMESPACE/POD/NAME of one in a pod, else NAME; its id in place of a name that is not known.
-- @param container see Watch:container_of()
-- @return string
function _M.label(container)
  local name = container.name or container.id:sub(1, ID_DIGITS)
  if not container.pod then return name end
  return ("%s/%s/%s"):format(container.namespace or "?", container.pod, name)
end

local function of(process, opts) return opts.container_of and opts.container_of(process) end

--- Append "@NAME" when a process is in a container.
-- @param buf string.buffer
-- @param process const struct ps_process *
-- @param opts container_of (function, or nil)
function _M.put_suffix(buf, process, opts)
  local container = of(process, opts)
  if not container then return end
  local label = _M.label(container)
  buf:put("@")
  escape.put(buf, label, #label, escape.WORD)
end

--- Append ", pid N there" for a process that has another id in its own pid namespace, and ", container NAME of IMAGE".
-- @param buf, process, opts as put_suffix()
function _M.put_facts(buf, process, opts)
  if process.ns_tgid ~= 0 and process.ns_tgid ~= process.tgid then buf:putf(", pid %d there", process.ns_tgid) end
  local container = of(process, opts)
  if not container then return end
  local label = _M.label(container)
  buf:put(", container ")
  escape.put(buf, label, #label, escape.WORD)
  if not container.image then return end
  buf:put(" of ")
  escape.put(buf, container.image, #container.image, escape.WORD)
end

return _M
