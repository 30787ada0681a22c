-- SPDX-License-Identifier: Apache-2.0
--- Which files a process has mapped to run code from them, and how to open
-- them: they may be deleted, replaced, or in another mount namespace. What a
-- process maps and how its files are called is its own choice: every length is
-- bounded, and a file that is opened by its path is held against the mapping.
local ffi = require "ffi"
local filesystem = require "plainsight.files"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

-- A line has at most 73 bytes and a path, of which every byte may be escaped as four (fs/seq_file.c, mangle_path).
local BUFFER_BYTES = 65536
--- Distinct files that are looked at in one process.
_M.FILES_MAX = 8192

local buffer = ffi.new("char[?]", BUFFER_BYTES)

ffi.cdef [[void *memchr(const void *bytes, int byte, size_t count);]]

local NEWLINE, SPACE, EXECUTABLE = 10, 32, 0x78
local ADDRESSES_MAX = 34

-- "START-END PERMS ": whether it is a mapping that code is run from.
local function is_executable(line, len)
  for i = 0, math.min(len - 5, ADDRESSES_MAX) do
    if line[i] == SPACE then return line[i + 3] == EXECUTABLE end
  end
  return false
end

-- proc_pid_maps(5). The kernel escapes line feeds in a path, and nothing else.
local LINE = "^(%x+)%-(%x+) %S+ %x+ (%x+):(%x+) (%d+) +(/.*)$"
local DELETED = " (deleted)"

local function file_of_line(text)
  local first, last, major, minor, inode, path = text:match(LINE)
  if not path or inode == "0" then return nil end
  local deleted = path:sub(-#DELETED) == DELETED
  return {
    start = first:match("^0*(.*)"), ["end"] = last:match("^0*(.*)"), -- as map_files names them
    inode = inode, deleted = deleted,
    dev_major = tonumber(major, 16), dev_minor = tonumber(minor, 16),
    path = (deleted and path:sub(1, -#DELETED - 1) or path):gsub("\\012", "\n"),
  }
end

--- Which file it is, whatever its name: two files have the same key only if they are one.
-- @param file table with dev_major, dev_minor, inode
function _M.key(file)
  return ("%d:%d:%s"):format(file.dev_major, file.dev_minor, file.inode)
end

-- The files of a maps file that is open. Calls each(text) for every executable line; stops when that returns true.
local function each_executable_line(fd, each)
  local have = 0
  while true do
    local got = tonumber(C.read(fd, buffer + have, BUFFER_BYTES - have))
    if got < 0 and ffi.errno() ~= sys.errno.EINTR then return sys.failed("maps") end
    if got == 0 then return true end
    have = have + math.max(got, 0)
    local from = buffer
    while true do
      local left = buffer + have - from
      local newline = ffi.cast("char *", C.memchr(from, NEWLINE, left))
      if newline == nil then break end
      local len = newline - from
      if is_executable(from, len) and each(ffi.string(from, len)) then return true end
      from = newline + 1
    end
    have = tonumber(buffer + have - from)
    if have == BUFFER_BYTES then return nil, "maps: a line is too long" end
    ffi.copy(buffer, ffi.string(from, have), have)
  end
end

local function read_maps(path, task)
  local fd, err, errno = sys.open(path)
  if not fd then return nil, err, errno end
  local files, known = {}, {}
  local ok
  ok, err, errno = each_executable_line(fd, function(text)
    local file = file_of_line(text)
    if not file then return false end
    file.key, file.task = _M.key(file), task
    if known[file.key] then return false end
    known[file.key] = true
    files.cut = #files == _M.FILES_MAX
    if not files.cut then files[#files + 1] = file end
    return files.cut
  end)
  C.close(fd)
  if not ok then return nil, err, errno end
  return files
end

-- The thread that keeps the memory of a process whose first thread has ended, or nil.
local function living_thread(directory)
  for _, tid in ipairs(filesystem.list(directory .. "/task") or {}) do
    local task = directory .. "/task/" .. tid
    if sys.readlink(task .. "/exe") then return task end
  end
end

-- A process whose first thread has ended: state Z, with other threads (proc_pid_stat(5), fields 3 and 20).
local function has_lost_its_leader(directory)
  local fd = sys.open(directory .. "/stat")
  if not fd then return false end
  local state, rest = sys.read_all(fd):match("^.*%) (%a) (.*)$")
  C.close(fd)
  return state == "Z" and tonumber((rest:match("^" .. ("%S+ "):rep(16) .. "(%d+)"))) > 1
end

--- Files of which a process has mapped a part to run code from it, each once.
-- @param pid process id in the pid namespace of proc
-- @param proc where procfs is mounted; default /proc
-- @return list of { dev_major, dev_minor (numbers), inode (decimal string), key (string, see key()), path (as its
--   process's maps say, without their escapes), deleted (boolean), start, end (addresses in hexadecimal), task
--   (directory of the process in procfs) }, with cut = true when there are more than FILES_MAX; empty for a kernel
--   thread and for a process that has ended; or nil, message, errno: ENOENT or ESRCH when it is gone, EACCES when it
--   may not be looked at
function _M.files_of(pid, proc)
  local directory = ("%s/%d"):format(proc or "/proc", pid)
  local files, err, errno = read_maps(directory .. "/maps", directory)
  if not files then return nil, err, errno end
  if #files == 0 and has_lost_its_leader(directory) then
    local task = living_thread(directory)
    -- /proc/PID/task/TID has no map_files; /proc/TID has, although no listing shows it.
    if task then
      return read_maps(task .. "/maps", ("%s/%s"):format(proc or "/proc", task:match("%d+$")))
    end
  end
  return files
end

-- Device and inode of an open file as a maps file shows them: on overlayfs and btrfs stat says another device.
local function key_in_maps(fd)
  local page = sys.map_page(fd)
  if not page then return nil end
  local maps = sys.open("/proc/self/maps")
  local text = maps and sys.read_all(maps) or ""
  if maps then C.close(maps) end
  local address = ("%x"):format(tonumber(ffi.cast("uintptr_t", page)))
  local major, minor, inode = ("\n" .. text):match("\n0*" .. address .. "%-%x+ %S+ %x+ (%x+):(%x+) (%d+)")
  sys.unmap_page(page)
  if not inode then return nil end
  return _M.key { dev_major = tonumber(major, 16), dev_minor = tonumber(minor, 16), inode = inode }
end

-- Handles of overlayfs (fs/overlayfs/overlayfs.h).
local OVL_FILEID_V1 = 0xf8

--- Which file it is for uprobes. From Linux 6.8 on, maps show a file of a layer that several overlays have in common
-- (containers of one image) as a file of each overlay, but a uprobe on one of them fires in all.
-- @param fd descriptor, from open
-- @param key the file's key in maps
-- @param stat sys.stat() of it
-- @return string: where two files have the same, one uprobe is enough, and a second one would fire as well
function _M.inode_key(fd, key, stat)
  local kind, handle = sys.file_handle(fd)
  if kind ~= OVL_FILEID_V1 then return key end
  -- It names the file in the lowest layer, even of one that was copied up since; copying sets another ctime.
  return ("overlay:%s:%s"):format(handle:gsub(".", function(c) return ("%02x"):format(c:byte()) end), stat.ctime)
end

--- Key of a file by its path, to be found among those that processes have mapped; nil when there is none.
function _M.key_of(path)
  local stat = sys.stat(path)
  if not stat or not stat.is_regular then return nil end
  local fd = sys.open(path)
  if not fd then return nil end
  local key = key_in_maps(fd)
  C.close(fd)
  return key or _M.key(stat)
end

-- Only regular files are opened: opening a device or a pipe can do something.
local function open_verified(path, key)
  local stat, err, errno = sys.stat(path)
  if not stat then return nil, err, errno end
  if not stat.is_regular then return nil, "not a regular file" end
  local fd
  fd, err, errno = sys.open(path)
  if not fd then return nil, err, errno end
  stat = sys.stat(fd)
  if stat and stat.is_regular and (_M.key(stat) == key or key_in_maps(fd) == key) then return fd, stat end
  C.close(fd)
  return nil, "another file has its name now"
end

local function map_file(file) return ("%s/map_files/%s-%s"):format(file.task, file.start, file["end"]) end

--- Size and times of a file that a process has mapped, without opening it.
-- @param file see files_of
-- @return sys.stat() of it; nil when only open() can tell
function _M.stat(file)
  local stat = sys.stat(map_file(file))
  return stat and _M.key(stat) == file.key and stat or nil
end

-- Where the file of a mapping may be found, best first. A link in map_files always is that file, and wants
-- CAP_CHECKPOINT_RESTORE (before Linux 5.9 CAP_SYS_ADMIN). A path is seen from our root when the process
-- has changed only its root directory, and from its own in another mount namespace.
local function candidates(file)
  local root = file.task .. "/root"
  local paths = { map_file(file), root .. file.path, file.path }
  if file.deleted then -- or its name ends like that
    paths[#paths + 1] = root .. file.path .. DELETED
    paths[#paths + 1] = file.path .. DELETED
  end
  if file.path:find("\n", 1, true) then -- or its name has the kernel's escape in it
    paths[#paths + 1] = root .. file.path:gsub("\n", "\\012")
  end
  return paths
end

--- Open a file that a process has mapped, while the mapping is there.
-- @param file see files_of
-- @return descriptor (close it) and sys.stat() of it; or nil, message, errno. The file can be given to others as
--   /proc/self/fd/N.
function _M.open(file)
  local message, code
  for _, path in ipairs(candidates(file)) do
    local fd, err, errno = open_verified(path, file.key)
    if fd then return fd, err end
    -- Of all that fails, the first is what should have worked.
    if not message then message, code = errno and sys.strerror(errno) or err, errno end
  end
  return nil, message, code
end

return _M
