-- SPDX-License-Identifier: Apache-2.0
--- --har DIR/: an archive for each host that requests name, with every exchange once (docs/export.md).
local archive = require "plainsight.output.har_archive"
local files = require "plainsight.files"
local observation = require "plainsight.telemetry.observation"
local views = require "plainsight.telemetry.views"

local _M = {}

-- A Host header costs nothing to make up; an archive, a file and a process (see plainsight.output.whole_file).
local HOSTS_MAX = 64
local NAME_BYTES_MAX = 200 -- NAME_MAX without what rotation and endings add
-- No host has a name with a space.
local REST, UNKNOWN = "other hosts", "unknown host"

local Hosts = {}
Hosts.__index = Hosts

local default_ports = { http = 80, https = 443 }

--- The name of the API that an exchange is with, as clients name it.
-- @param seen see plainsight.telemetry.observation
-- @return string
function _M.host(seen)
  if not seen.host then return UNKNOWN end
  local has_port = seen.port and seen.port ~= 0 and seen.port ~= default_ports[seen.scheme]
  return has_port and ("%s:%d"):format(seen.host, seen.port) or seen.host
end

--- A name as part of a path, of this directory whatever it is: letters, digits, ".", "-" and "_", none hidden.
-- @param host string
-- @return string
function _M.safe_name(host)
  return (host:gsub("[^%w.-]", "_"):gsub("^[.-]", "_"):sub(1, NAME_BYTES_MAX))
end

--- The directory that the argument of --har means: one that is there, or the name ends in "/" and it is made.
-- @param path string
-- @return string that ends in "/"; false when it means a file; nil and a message
function _M.directory(path)
  local status = files.status(path)
  if status and files.is_directory(status) then return (path:gsub("/*$", "/")) end
  if path:sub(-1) ~= "/" then return false end
  local ok, err = files.make_directory(path)
  if not ok then return nil, err end
  return path
end

--- @param directory string that ends in "/"
-- @param opts see plainsight.output.har_archive; observer and views are shared with other sinks
-- @param say function(message): one line on standard error
-- @return hosts; archives: list of plainsight.output.har_archive
function _M.new(directory, opts, say)
  -- In the name of a file that is rotated by time "%" has a meaning; the directory is there already, as it is named.
  if opts.rotate_s then directory = directory:gsub("%%", "%%%%") end
  return setmetatable({
    directory = directory, opts = opts, say = say, observer = observation.shared(opts), views = views.shared(opts),
    by_host = {}, taken = {}, archives = {},
  }, Hosts)
end

-- A name that no other host has. Two of them may be the same once they are safe.
local function free_name(self, host)
  local name, number = _M.safe_name(host), 1
  local free = name
  while self.taken[free] do
    number = number + 1
    free = ("%s-%d"):format(name, number)
  end
  self.taken[free] = true
  return free
end

local function add_host(self, host)
  local path = self.directory .. free_name(self, host) .. ".har"
  local one = archive.new(path, self.opts, self.say)
  one:begin() -- if that fails it is tried again with the first entries, which then says so
  self.by_host[host] = one
  table.insert(self.archives, one)
  return one, path
end

-- The archive of all hosts for which there is no room.
local function rest(self)
  if self.by_host[REST] then return self.by_host[REST] end
  local one, path = add_host(self, REST)
  self.say(("--har: more than %d hosts: exchanges with others are in %s"):format(HOSTS_MAX, path))
  return one
end

--- The archive that an exchange belongs to.
-- @param ex const struct ps_exchange *
-- @return archive, or nil: the exchange has been seen from its other side
function Hosts:archive_of(ex)
  local seen = self.observer:of(ex)
  if self.views:is_second(ex, seen) then return nil end
  local host = _M.host(seen)
  local known = self.by_host[host]
  if known then return known end
  if #self.archives >= HOSTS_MAX then return rest(self) end
  return (add_host(self, host))
end

return _M
