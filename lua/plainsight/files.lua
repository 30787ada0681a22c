-- SPDX-License-Identifier: Apache-2.0
--- Files and directories beyond what Lua's io has: status, lists, whether they can be trusted.
local ffi = require "ffi"
local bit = require "bit"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

ffi.cdef [[
struct ps_file_status { /* struct stat of the x86-64 kernel (arch/x86/include/uapi/asm/stat.h) */
  uint64_t dev, ino, nlink; uint32_t mode, uid, gid, pad0; uint64_t rdev; int64_t size, blksize, blocks;
  uint64_t atime_s, atime_ns, mtime_s, mtime_ns, ctime_s, ctime_ns; int64_t unused[3];
};
struct ps_dirent { uint64_t ino; int64_t off; uint16_t reclen; uint8_t type; char name[256]; }; /* readdir(3) */
struct ps_dir;
struct ps_dir *opendir(const char *path);
struct ps_dirent *readdir(struct ps_dir *dir);
int closedir(struct ps_dir *dir);
char *realpath(const char *path, char *resolved);
void free(void *pointer);
int mkdir(const char *path, unsigned mode);
int rename(const char *from, const char *to);
int unlink(const char *path);
]]

local NR_STAT, NR_FSTAT = 4, 5 -- x86-64
local S_IFMT, S_IFDIR, S_IFREG = 0xf000, 0x4000, 0x8000
local O_CLOEXEC = 0x80000
local S_ISVTX, WRITABLE_BY_OTHERS = 0x200, 0x12 -- S_IWGRP | S_IWOTH

--- Status of a file, links followed.
-- @param file path (string) or descriptor (number)
-- @return struct ps_file_status, or nil, message, errno
function _M.status(file)
  local status = ffi.new("struct ps_file_status")
  local number = type(file) == "number" and NR_FSTAT or NR_STAT
  local argument = type(file) == "number" and ffi.cast("int", file) or ffi.cast("const char *", file)
  if C.syscall(number, argument, status) ~= 0 then return sys.failed(tostring(file)) end
  return status
end

function _M.is_directory(status) return bit.band(status.mode, S_IFMT) == S_IFDIR end
function _M.is_regular(status) return bit.band(status.mode, S_IFMT) == S_IFREG end

--- Absolute path without links. Returns nil and a message when there is no such file.
function _M.real_path(path)
  local resolved = C.realpath(path, nil)
  if resolved == nil then return sys.failed(path) end
  local result = ffi.string(resolved)
  C.free(resolved)
  return result
end

--- Content of a large file, faster than through Lua's buffers.
-- @return uint8_t[] and its size, or nil and a message
function _M.read_bytes(path)
  local fd = C.open(path, O_CLOEXEC)
  if fd < 0 then return sys.failed(path) end
  local status, err = _M.status(fd)
  local wanted, got, count = status and tonumber(status.size) or 0, 0, 1
  local bytes = ffi.new("uint8_t[?]", wanted)
  while got < wanted and count > 0 do
    count = tonumber(C.read(fd, bytes + got, wanted - got))
    got = got + math.max(count, 0)
  end
  if count < 0 then status, err = sys.failed(path) end
  C.close(fd)
  if not status then return nil, err end
  return bytes, got
end

--- Names in a directory, without "." and "..", sorted. Returns nil and a message when it cannot be read.
function _M.list(path)
  local dir = C.opendir(path)
  if dir == nil then return sys.failed(path) end
  local names = {}
  while true do
    local entry = C.readdir(dir)
    if entry == nil then break end
    local name = ffi.string(entry.name)
    if name ~= "." and name ~= ".." then names[#names + 1] = name end
  end
  C.closedir(dir)
  table.sort(names)
  return names
end

--- Make a directory for this user alone. Returns true, or nil and a message.
function _M.make_directory(path)
  if C.mkdir(path, 448) ~= 0 then return sys.failed(path) end -- 0700
  return true
end

--- Make a directory, and those above it that are missing, for this user alone. No result: look whether it is there.
function _M.make_directories(path)
  for at in path:gmatch("()/") do
    if at > 1 then C.mkdir(path:sub(1, at - 1), 448) end -- 0700
  end
  C.mkdir(path, 448)
end

--- Whether only this user and root can change a file.
-- @param status of the file
-- @param path its name, for the message
-- @return true, or nil and what is wrong
function _M.is_private(status, path)
  if status.uid ~= 0 and status.uid ~= C.geteuid() then
    return nil, ("%s belongs to user %d"):format(path, status.uid)
  end
  if bit.band(status.mode, WRITABLE_BY_OTHERS) ~= 0 then return nil, path .. " can be written to by others" end
  return true
end

--- Whether only this user and root decide what a directory holds: it is private, and nobody else can put another in
-- its place, which anyone could who may write to a directory above (with the sticky bit only its owner).
-- @return path without links, or nil and what is wrong
function _M.trusted_directory(directory)
  local path, err = _M.real_path(directory)
  if not path then return nil, err end
  local at = path
  while true do
    local status, ok
    status, err = _M.status(at)
    if not status then return nil, err end
    if not _M.is_directory(status) then return nil, at .. " is no directory" end
    ok, err = _M.is_private(status, at)
    local is_sticky = at ~= path and status.uid == 0 and bit.band(status.mode, S_ISVTX) ~= 0
    if not ok and not is_sticky then return nil, err end
    if at == "/" then return path end
    at = at:match("^(/.*)/[^/]+$") or "/"
  end
end

return _M
