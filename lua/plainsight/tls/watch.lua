-- SPDX-License-Identifier: Apache-2.0
--- Keeps the probes on TLS libraries attached where they have to be: in processes that run, that start, and that load
-- a library later.
--
-- Without a filter on processes every library file is attached to once, for all processes; with one on containers
-- those that their processes have. With one on processes or a cgroup, each process is attached to by itself, so that
-- others with the same library pay nothing.
local ffi = require "ffi"
local bpf = require "plainsight.bpf"
local cgroup = require "plainsight.cgroup"
local discover = require "plainsight.tls.discover"
local elf = require "plainsight.elf"
local functions = require "plainsight.tls.functions"
local hold = require "plainsight.tls.hold"
local maps = require "plainsight.tls.maps"
local notices = require "plainsight.notices"
local settings = require "plainsight.settings"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

local LIBRARIES_MAX = 65535 -- what fits into the cookie of a probe
local WARNED_MAX = 4096 -- remembered; then all may be said again

local Watch = {}
Watch.__index = Watch

--- @param probes of plainsight.syscall_probes, loaded with opts.tls
-- @param opts see plainsight.cli; used: pids, cgroup, extra_libs, and container_pids (function() -> list of
--   process ids: of the containers asked for)
-- @param warn function(message), for what cannot be seen
-- @return object, or nil and a message
function _M.new(probes, opts, warn)
  local reader, err = notices.new(probes.maps.notices)
  if not reader then return nil, err end
  local guardian
  if settings.is_holding(opts) then
    guardian, err = hold.guard(probes)
    if not guardian then return nil, err end
  end
  return setmetatable({
    library_module = reader.library, probes = probes, opts = opts, warn = warn, notices = reader,
    fd = probes.maps.notices, -- readable when there is one
    guardian = guardian, -- acts when this is closed
    discover = discover.new({ extra_libs = opts.extra_libs, is_quick = true }),
    versions = discover.new({ extra_libs = opts.extra_libs }),
    by_process = settings.is_by_process(opts),
    libraries = {}, -- by number: what exchanges tell of the library
    revision = 0, -- of libraries: how often they have changed
    files = {}, -- by key of the file: number, places
    links = {}, -- by process id (0: all processes), by key of the file: list of descriptors
    nameless = {}, -- ids of processes with a library whose version has not been looked for
    warned = {}, warned_count = 0,
    attached = 0, -- how often
    late = {}, -- set of ids of processes that did not wait for it
    late_processes = 0, late_ns_max = 0, -- how many, and for how long
  }, Watch)
end

--- Where to attach in a library file, worked out once.
-- @return table with number and places; or nil and a message
function Watch:file_of(library, path)
  local known = self.files[library.inode_key]
  if known then return known end
  if #self.libraries == LIBRARIES_MAX then return nil, "too many library files" end
  local image, err = elf.open(path)
  if not image then return nil, err end
  local number = #self.libraries + 1
  known = { number = number, places = functions.places(library.library, image, number) }
  image:close()
  if #known.places.leave == 0 then return nil, known.places.refused or "it has none of the functions that move data" end
  self.libraries[number] = {
    type = library.type, title = library.title, version = library.version, path = library.path,
  }
  self.files[library.inode_key] = known
  self.revision = self.revision + 1
  return known
end

--- Look for the versions of libraries, when there is time: they are texts somewhere in large files.
function Watch:name_libraries()
  for pid in pairs(self.nameless) do
    local process = self.versions:process(pid)
    for _, library in ipairs(process and process.libraries or {}) do
      local known = self.files[library.inode_key]
      local entry = known and self.libraries[known.number]
      if entry then
        entry.title, entry.version, entry.is_named = library.title, library.version, true
        self.revision = self.revision + 1
      end
    end
  end
  self.nameless = {}
end

--- Attach to a library, in the process that has it or in all. Returns true, or nil and a message.
function Watch:attach(pid, library)
  local scope = self.by_process and pid or 0
  local links = self.links[scope] or {}
  if links[library.inode_key] then return true end
  local fd, err = maps.open(library.file)
  if not fd then return nil, err end
  local path = ("/proc/self/fd/%d"):format(fd)
  local file, fds, errno
  file, err = self:file_of(library, path)
  if file then fds, err, errno = self.probes.tls:attach(path, self.by_process and pid or nil, file.places) end
  C.close(fd)
  if not fds then
    if errno == sys.errno.ESRCH then return true end -- has ended meanwhile
    return nil, err
  end
  if not self.libraries[file.number].is_named then self.nameless[pid] = true end
  self.attached = self.attached + 1
  links[library.inode_key] = fds
  self.links[scope] = links
  return true
end

local function process_name(process)
  return ("%s (pid %d)"):format(process.comm, process.pid)
end

local GONE = sys.strerror(sys.errno.ESRCH)

--- Say once per process and library what cannot be seen of it. Nothing is wrong with the libraries of a process that
-- has ended meanwhile.
function Watch:warn_once(process, library, reason)
  if reason:sub(-#GONE) == GONE then return end
  local key = ("%d %s"):format(process.pid, library.inode_key)
  if self.warned[key] then return end
  if self.warned_count == WARNED_MAX then self.warned, self.warned_count = {}, 0 end
  self.warned[key], self.warned_count = true, self.warned_count + 1
  self.warn(("%s: not visible: %s in %s: %s"):format(process_name(process), library.title, library.path, reason))
end

local one = ffi.new("uint8_t[1]", 1)

--- Have children of the process told of, because each has to be attached to.
function Watch:expect_children(pid)
  bpf.map_update(self.probes.maps.tls_tgids, ffi.new("uint32_t[1]", pid), one)
end

--- Attach to what a process has. Returns the process as plainsight.tls.discover gives it, or nil.
function Watch:look_at(pid)
  local process = self.discover:process(pid)
  if not process then return nil end
  for _, library in ipairs(process.libraries) do
    if not library.traceable then
      self:warn_once(process, library, library.reason)
    else
      local ok, err = self:attach(pid, library)
      if not ok then self:warn_once(process, library, err) end
    end
  end
  if self.by_process and self.links[pid] then self:expect_children(pid) end
  return process
end

--- Attach to processes that run.
function Watch:begin()
  local pids = self.opts.pids
  if self.opts.cgroup and not pids then pids = cgroup.pids(self.opts.cgroup) end
  if self.opts.container_pids and not pids then pids = self.opts.container_pids() end
  for _, pid in ipairs(pids or discover.pids()) do self:look_at(pid) end
end

--- Attach to processes that are to be watched from now on.
function Watch:add(pids)
  if self.opts.pids then return end
  for _, pid in ipairs(pids) do self:look_at(pid) end
end

--- A file that no process needs to be asked about again.
function Watch:forget_file(notice)
  local key = ffi.new("struct ps_file_key[1]", { { notice.device, notice.inode } })
  bpf.map_update(self.probes.maps.known_files, key, one)
end

local function has_file(process, inode)
  for _, library in ipairs(process.libraries) do
    if library.traceable and library.file.inode == inode then return true end
  end
  return false
end

--- Where procfs has the file that a notice is about.
local function path_of(notice)
  if notice.type == C.PS_NOTICE_EXEC then return ("/proc/%d/exe"):format(notice.tgid) end
  return ("/proc/%d/map_files/%x-%x"):format(notice.tgid, tonumber(notice.start), tonumber(notice["end"]))
end

function Watch:on_file(notice)
  if self.discover:has_tls(path_of(notice)) == false then
    self:forget_file(notice)
    return
  end
  local process = self:look_at(notice.tgid)
  -- Once attached to in all processes there is nothing more to do. Of one process it is to be told of whenever another
  -- one loads it; and what is no library here may be one there, next to another file (NSPR and NSS).
  local inode = tostring(notice.inode):gsub("ULL$", "")
  if process and not self.by_process and has_file(process, inode) then self:forget_file(notice) end
end

--- Detach from a process, or from all (0).
function Watch:detach(scope)
  for _, fds in pairs(self.links[scope] or {}) do
    for _, fd in ipairs(fds) do self.library_module.ps_close_later(ffi.new("int32_t[1]", fd), 1) end
  end
  self.links[scope] = nil
end

function Watch:on_exit(pid)
  self:detach(pid)
  self.late[pid] = nil
  bpf.map_delete(self.probes.maps.tls_tgids, ffi.new("uint32_t[1]", pid))
end

function Watch:on_notice(notice)
  if notice.type == C.PS_NOTICE_EXIT then
    self:on_exit(notice.tgid)
  elseif notice.type == C.PS_NOTICE_FORK then
    self:look_at(notice.tgid)
  else
    self:on_file(notice)
  end
end

--- A process went on while it was attached to: what it moved first may be missing.
function Watch:count_late(notice)
  local delay_ns = tonumber(sys.monotonic_ns() - notice.ts_ns)
  if not self.late[notice.tgid] then
    self.late[notice.tgid] = true
    self.late_processes = self.late_processes + 1
  end
  self.late_ns_max = math.max(self.late_ns_max, delay_ns)
end

--- Act on what the probes have told meanwhile.
function Watch:on_notices()
  for notice in function() return self.notices:next() end do
    local before = self.attached
    local ok, err = pcall(self.on_notice, self, notice)
    hold.release(notice) -- whatever went wrong
    if notice.stopped == 0 and self.attached > before then self:count_late(notice) end
    if not ok then error(err, 0) end
  end
  if next(self.nameless) then self:name_libraries() end
end

--- What exchanges tell of a library.
-- @param number as in struct ps_exchange
-- @return table: type, title, version (or nil), path; nil when there is no such library
function Watch:library(number) return self.libraries[number] end

--- Detach everything.
function Watch:close()
  for scope in pairs(self.links) do self:detach(scope) end
  self.library_module.ps_close_wait()
end

--- When the probes on system calls are detached, too: nobody is left waiting.
function Watch:release()
  for notice in function() return self.notices:next() end do hold.release(notice) end
end

return _M
