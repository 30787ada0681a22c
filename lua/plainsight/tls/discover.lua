-- SPDX-License-Identifier: Apache-2.0
--- Which processes have which TLS libraries mapped. To map a library is not to use it: what is found here may be
-- used at any time. Needs no BPF, and no privileges for processes of the same user.
local ffi = require "ffi"
local elf = require "plainsight.elf"
local identify = require "plainsight.tls.identify"
local maps = require "plainsight.tls.maps"
local filesystem = require "plainsight.files"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

-- Files that are remembered from one scan to the next.
local FILES_MAX = 16384
-- Of what cannot be examined in a process, so much is told one by one.
local UNREAD_MAX = 16
-- Files of one process in which texts are looked for, in bytes. Chromium has 300 MiB; a process may also have mapped
-- thousands of files only to keep us busy.
local SEARCH_BYTES_MAX = 4 * 1024 * 1024 * 1024

local Discover = {}
Discover.__index = Discover

--- @param opts table, all optional: proc (where procfs is mounted, default /proc), extra_libs (list of { type = name of
--   a library, path = string }: this file is one, whatever it is called; found = true is set once a process has it),
--   is_quick (see plainsight.tls.identify)
-- @return object that remembers each file it has looked into
function _M.new(opts)
  opts = opts or {}
  return setmetatable({
    proc = opts.proc or "/proc", extra_libs = opts.extra_libs or {}, is_quick = opts.is_quick,
    files = {}, file_count = 0, scan_number = 0, extra_keys = {},
  }, Discover)
end

-- Begin to trust nothing that is remembered until it has been seen to be unchanged: once a scan.
function Discover:begin()
  self.scan_number = self.scan_number + 1
  self.extra_keys = {}
  for _, extra in ipairs(self.extra_libs) do
    local key = maps.key_of(extra.path)
    if key then self.extra_keys[key] = extra end
  end
end

-- The library that a user has named with --extra-lib, or nil. Its path may be one of another mount namespace.
function Discover:extra_lib(file)
  local named = self.extra_keys[file.key]
  if not named then
    for _, extra in ipairs(self.extra_libs) do
      if extra.path == file.path then named = extra end
    end
  end
  if named then named.found = true end
  return named and named.type
end

local ELF_MAGIC = "\127ELF"

local function is_elf(fd)
  local magic = ffi.new("char[4]")
  return C.pread(fd, magic, 4, 0) == 4 and ffi.string(magic, 4) == ELF_MAGIC
end

-- What there is to know of an open file: parts (see identify.image), build_id, unread (why it could not be examined).
function Discover:look_into(fd, about, stat)
  if not is_elf(fd) then return { parts = {} } end
  local path = ("/proc/self/fd/%d"):format(fd)
  local image, err = elf.open(path)
  if not image then
    err = err:sub(1, #path + 2) == path .. ": " and err:sub(#path + 3) or err
    return { parts = identify.name(about, err), unread = err }
  end
  about.size, about.may_search = stat.size, stat.size <= self.search_bytes_left
  local known = { parts = identify.image(image, about), name = about.name }
  if about.is_searched then self.search_bytes_left = self.search_bytes_left - stat.size end
  if about.is_unsearched then known.unread = "too much code is mapped to search all of it" end
  if #known.parts > 0 then
    known.build_id, known.soname, known.needed = image:build_id(), image:soname(), image:needed()
  end
  image:close()
  return known
end

function Discover:remember(key, known)
  if not self.files[key] then
    if self.file_count == FILES_MAX then self.files, self.file_count = {}, 0 end
    self.file_count = self.file_count + 1
  end
  self.files[key] = known
end

local function stamp_of(stat) return ("%d:%s"):format(stat.size, stat.mtime) end

-- Look into an open file, unless it is unchanged since it was looked into as known.
function Discover:look(fd, stat, file, type_given, known)
  if known and known.stamp == stamp_of(stat) then return known end
  local about = { name = file.path:match("[^/]*$"), type = type_given, is_quick = self.is_quick }
  known = self:look_into(fd, about, stat)
  known.stamp, known.type_given = stamp_of(stat), type_given
  known.inode_key = maps.inode_key(fd, file.key, stat)
  if not about.is_unsearched then self:remember(file.key, known) end
  return known
end

function Discover:open_and_look(file, type_given, known)
  local fd, stat, errno = maps.open(file)
  if not fd then
    -- Not remembered: it may be open to us in another process. Gone with its mapping, it is of no interest.
    if errno == sys.errno.ENOENT then return { parts = {} } end
    local about, reason = { name = file.path:match("[^/]*$"), type = type_given }, "cannot be opened: " .. stat
    return { parts = identify.name(about, reason), unread = reason }
  end
  known = self:look(fd, stat, file, type_given, known)
  C.close(fd)
  return known
end

-- What there is to know of a file; looked into once, whatever the number of processes, as long as it stays unchanged.
function Discover:examine(file)
  local known, type_given = self.files[file.key], self:extra_lib(file)
  local is_seen = known and known.scan_number == self.scan_number
  if is_seen and (not type_given or known.type_given == type_given) then return known end
  if known and known.type_given ~= type_given then known = nil end
  local stat = known and maps.stat(file)
  if not stat or known.stamp ~= stamp_of(stat) then
    known = self:open_and_look(file, type_given, known)
  end
  known.scan_number = self.scan_number
  return known
end

--- Whether a file has anything to do with TLS: a quick look, for a process that has just mapped it.
-- @param path of the mapping in procfs: /proc/PID/map_files/FROM-TO, or /proc/PID/exe
-- @return boolean; nil when the file cannot be looked into
function Discover:has_tls(path)
  local target, stat = sys.readlink(path), sys.stat(path)
  if not target or not stat or not stat.is_regular then return nil end
  local fd = sys.open(path)
  if not fd then return nil end
  -- Where maps show another device, it is looked into again for its process.
  local file = { key = maps.key(stat), path = target }
  self:begin()
  self.search_bytes_left = SEARCH_BYTES_MAX
  local type_given = self:extra_lib(file)
  local known = self.files[file.key]
  if known and known.type_given ~= type_given then known = nil end
  known = self:look(fd, stat, file, type_given, known)
  C.close(fd)
  if known.unread then return true end
  for _, part in ipairs(known.parts) do
    if not part.is_companion or part.library.companion.required then return true end
  end
  return false
end

local function needs(known, other)
  for _, name in ipairs(known.needed or {}) do
    if name == other.soname or name == other.name then return true end
  end
  return false
end

-- How well a companion fits: it is the same file, or asked for by name, or lies in the same directory.
local function fit(companion, item)
  local is_near = companion.file.path:match("^.*/") == item.file.path:match("^.*/")
  return (companion.known == item.known and 4 or 0) + (needs(item.known, companion.known) and 2 or 0)
    + (is_near and 1 or 0)
end

local function best_companion(companions, item)
  local best
  for _, companion in ipairs(companions) do
    local fits = companion.part.library == item.part.library
      and (not item.part.static or companion.known == item.known) -- what is inside a program has all of it inside
    if fits and (not best or fit(companion, item) > fit(best, item)) then best = companion end
  end
  return best
end

-- A library of a process, as told to others; nil when it is none without another file that is not there.
local function library_of(item, companions)
  local part, file, library = item.part, item.file, item.part.library
  local companion = library.companion and best_companion(companions, item)
  if library.companion and library.companion.required and not companion then return nil end
  local other = companion and companion.part or {}
  return {
    type = library.name, library = library, title = part.title ~= library.title and part.title or other.title
      or part.title,
    version = part.version or other.version,
    path = file.path, deleted = file.deleted, file = file, build_id = item.known.build_id,
    inode_key = item.known.inode_key or file.key,
    static = part.static, traceable = part.reason == nil, reason = part.reason,
  }
end

-- All that was found in the files of a process.
local function libraries_of(found)
  local companions, libraries = {}, {}
  for _, item in ipairs(found) do
    if item.part.is_companion then companions[#companions + 1] = item end
  end
  for _, item in ipairs(found) do
    if not item.part.is_companion then
      libraries[#libraries + 1] = library_of(item, companions)
    end
  end
  return libraries
end

local function tell_unread(process, path, reason)
  process.unread_count = process.unread_count + 1
  if #process.unread < UNREAD_MAX then
    process.unread[#process.unread + 1] = { path = path, reason = reason }
  end
end

function Discover:libraries(files, process)
  local found = {}
  for _, file in ipairs(files) do
    local known = self:examine(file)
    if known.unread and #known.parts == 0 then
      tell_unread(process, file.path, known.unread)
    end
    for _, part in ipairs(known.parts) do found[#found + 1] = { part = part, file = file, known = known } end
  end
  return libraries_of(found)
end

local function read_comm(directory)
  local fd = sys.open(directory .. "/comm")
  if not fd then return nil end
  local comm = sys.read_all(fd):gsub("\n$", "")
  C.close(fd)
  return comm
end

function Discover:look_at(pid)
  local files, err, errno = maps.files_of(pid, self.proc)
  local process = {
    pid = pid, comm = read_comm(("%s/%d"):format(self.proc, pid)), libraries = {}, unread = {}, unread_count = 0,
  }
  if not process.comm or errno == sys.errno.ENOENT or errno == sys.errno.ESRCH then
    return nil, ("there is no process %d"):format(pid), sys.errno.ESRCH
  end
  if not files then
    process.refused = errno and sys.strerror(errno) or err
  elseif #files == 0 then
    process.memoryless = true
  else
    process.exe = sys.readlink(files[1].task .. "/exe")
    self.search_bytes_left = SEARCH_BYTES_MAX
    process.libraries = self:libraries(files, process)
    if files.cut then
      tell_unread(process, process.exe or "?", ("has mapped more than %d files"):format(maps.FILES_MAX))
    end
  end
  return process
end

--- Look at one process, for example after it has mapped something new.
-- @param pid process id
-- @return table:
--   pid, comm (strings of the process's own choice: escape them), exe (path, or nil),
--   libraries: list of { type, title, version (or nil), path (as the process has it: its mount namespace may be
--     another), deleted, file (for maps.open while the process has it mapped), inode_key (attach once for each: see
--     maps.inode_key), build_id (or nil), static, traceable, reason (when it is not), library (of the registry) },
--   unread, unread_count: files that could not be examined, the first of them as { path, reason },
--   refused: message, when we may not look at the process at all,
--   memoryless: true for a kernel thread or a process that has ended;
--   or nil, message, ESRCH when it is gone
function Discover:process(pid)
  self:begin()
  return self:look_at(pid)
end

--- Ids of all processes.
-- @param proc where procfs is mounted, default /proc
-- @return sorted list, or nil and a message
function _M.pids(proc)
  proc = proc or "/proc"
  local names, err = filesystem.list(proc)
  if not names then return nil, err end
  local pids = {}
  for _, name in ipairs(names) do
    if name:find("^%d+$") then pids[#pids + 1] = tonumber(name) end
  end
  table.sort(pids)
  return pids
end

--- Look at processes. Those that end meanwhile are left out.
-- @param pids list of process ids, or nil for all
-- @return list as process() gives, in the order of pids; or nil, message
function Discover:scan(pids)
  local err
  if not pids then
    pids, err = _M.pids(self.proc)
    if not pids then return nil, err end
  end
  self:begin()
  local processes = {}
  for _, pid in ipairs(pids) do
    processes[#processes + 1] = self:look_at(pid)
  end
  return processes
end

return _M
