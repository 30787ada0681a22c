-- SPDX-License-Identifier: Apache-2.0
--- What a run was asked for, as the probes read it: struct ps_settings, and the maps of filters.
local ffi = require "ffi"
local bit = require "bit"
local bpf = require "plainsight.bpf"
local sys = require "plainsight.sys"
require "plainsight.contract"

local _M = {}
local C = ffi.C

local O_CLOEXEC, O_DIRECTORY = 0x80000, 0x10000
local PORTS_PER_ENTRY = 64 -- probes/include/filter.h

--- Whether only some containers are traced: those that plainsight.containers.watch puts into a map.
function _M.has_containers(opts)
  return (opts.containers or opts.pods or opts.namespaces) ~= nil
end

--- Which filters are in use: enum ps_filter.
local function filters_of(opts)
  local filters = 0
  if opts.pids then filters = bit.bor(filters, C.PS_FILTER_TGID) end
  if opts.uid then filters = bit.bor(filters, C.PS_FILTER_UID) end
  if opts.comm then filters = bit.bor(filters, C.PS_FILTER_COMM) end
  if opts.cgroup then filters = bit.bor(filters, C.PS_FILTER_CGROUP) end
  if opts.ports then filters = bit.bor(filters, C.PS_FILTER_PORT) end
  if _M.has_containers(opts) then filters = bit.bor(filters, C.PS_FILTER_CONTAINER) end
  return filters
end

--- Whether TLS libraries are attached to in each process by itself. Who asks for processes of a user or with a name
-- gets all, and the probes choose: those can change at any time. In containers processes come and go, and what is
-- attached to in each of them by itself comes too late for the short ones: a library that one of them has is attached
-- to in all processes, and the probes choose.
function _M.is_by_process(opts)
  return (opts.pids ~= nil or opts.cgroup ~= nil) and not opts.uid and not opts.comm
end

--- Whether processes that load a library or fork wait until they have been attached to.
function _M.is_holding(opts)
  return opts.tls and (opts.command ~= nil or opts.hold) or false
end

--- What is captured: enum ps_capture_bits.
local function capture_of(opts)
  local capture = 0
  if opts.plain ~= false then capture = bit.bor(capture, C.PS_CAPTURE_PLAIN) end
  if opts.tls then capture = bit.bor(capture, C.PS_CAPTURE_TLS) end
  if opts.raw then capture = bit.bor(capture, C.PS_CAPTURE_RAW) end
  if _M.is_holding(opts) then capture = bit.bor(capture, C.PS_CAPTURE_STOP) end
  if _M.is_by_process(opts) then capture = bit.bor(capture, C.PS_CAPTURE_BY_PROCESS) end
  return capture
end

--- The content of the map of settings.
-- @param opts see plainsight.cli; used: pids, uid, comm, cgroup, ports, containers, pods,
--   namespaces, command, hold, plain, tls, raw
-- @return string: a struct ps_settings
function _M.of(opts)
  local settings = ffi.new("struct ps_settings")
  settings.self_tgid, settings.filters = C.getpid(), filters_of(opts)
  settings.uid, settings.capture = opts.uid or 0, capture_of(opts)
  if opts.comm then ffi.copy(settings.comm, opts.comm:sub(1, C.PS_COMM_LEN - 1)) end
  return ffi.string(settings, ffi.sizeof(settings))
end

local function set_pids(map, pids)
  for _, pid in ipairs(pids) do
    local ok, err = bpf.map_update(map, ffi.new("uint32_t[1]", pid), ffi.new("uint8_t[1]", 1))
    if not ok then return nil, err end
  end
  return true
end

local function set_cgroup(map, path)
  local fd = C.open(path, bit.bor(O_CLOEXEC, O_DIRECTORY))
  if fd < 0 then return sys.failed("--cgroup " .. path) end
  local ok = bpf.map_update(map, ffi.new("uint32_t[1]"), ffi.new("uint32_t[1]", fd))
  C.close(fd)
  if not ok then return nil, ("--cgroup %s: not a cgroup v2 directory"):format(path) end
  return true
end

local function set_ports(map, ports)
  local entries = {}
  for _, port in ipairs(ports) do
    local index = math.floor(port / PORTS_PER_ENTRY)
    entries[index] = bit.bor(entries[index] or 0ULL, bit.lshift(1ULL, port % PORTS_PER_ENTRY))
  end
  for index, bits in pairs(entries) do
    local ok, err = bpf.map_update(map, ffi.new("uint32_t[1]", index), ffi.new("uint64_t[1]", bits))
    if not ok then return nil, err end
  end
  return true
end

--- Fill the maps of the filters in use.
-- @param maps { traced_tgids = fd, traced_cgroup = fd, traced_ports = fd }
-- @param opts as above
-- @return true, or nil and a message
function _M.fill(maps, opts)
  local ok, err = true, nil
  if opts.pids then ok, err = set_pids(maps.traced_tgids, opts.pids) end
  if ok and opts.cgroup then ok, err = set_cgroup(maps.traced_cgroup, opts.cgroup) end
  if ok and opts.ports then ok, err = set_ports(maps.traced_ports, opts.ports) end
  return ok, err
end

return _M
