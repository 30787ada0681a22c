-- SPDX-License-Identifier: Apache-2.0
--- The few system calls that a tracer needs and LuaJIT does not have.
-- Every function returns its result, or nil and an error message; numbers are
-- plain Lua numbers. Only this file declares libc functions.
local ffi = require "ffi"
local bit = require "bit"

local _M = {}
local C = ffi.C

ffi.cdef [[
typedef int pid_t;
long syscall(long number, ...);
char *strerror(int errnum);
int close(int fd);
int open(const char *path, int flags, ...);
int dup2(int from, int to);
pid_t fork(void);
pid_t getpid(void);
unsigned geteuid(void);
void _exit(int status);
int execvp(const char *file, char *const argv[]);
int kill(pid_t pid, int sig);
int access(const char *path, int mode);
int faccessat(int dirfd, const char *path, int mode, int flags);
int setpriority(int which, unsigned who, int nice);
pid_t waitpid(pid_t pid, int *status, int options);
int prctl(int option, ...);
int pipe2(int fds[2], int flags);
int socketpair(int domain, int type, int protocol, int fds[2]);
long read(int fd, void *buf, size_t count);
long pread(int fd, void *buf, size_t count, long offset);
long write(int fd, const void *buf, size_t count);

struct ps_rlimit { uint64_t soft, hard; };
int setrlimit(int resource, const struct ps_rlimit *limit);

typedef struct { unsigned long words[16]; } ps_sigset;
int sigemptyset(ps_sigset *set);
int sigaddset(ps_sigset *set, int sig);
int sigprocmask(int how, const ps_sigset *set, ps_sigset *old);
void *signal(int number, void *handler);
int signalfd(int fd, const ps_sigset *set, int flags);

typedef union { void *ptr; int fd; uint32_t u32; uint64_t u64; } ps_epoll_data;
struct ps_epoll_event { uint32_t events; ps_epoll_data data; } __attribute__((packed));
int epoll_create1(int flags);
int epoll_ctl(int epfd, int op, int fd, struct ps_epoll_event *event);
int epoll_wait(int epfd, struct ps_epoll_event *events, int maxevents, int timeout_ms);

struct ps_timespec { long sec, nsec; };
int clock_gettime(int clock, struct ps_timespec *ts);
int setenv(const char *name, const char *value, int overwrite);
void tzset(void);
int fchmod(int fd, unsigned mode);

void *mmap(void *addr, size_t size, int prot, int flags, int fd, long offset);
int munmap(void *addr, size_t size);
ssize_t readlink(const char *path, char *text, size_t text_size);

struct ps_statx_timestamp { int64_t sec; uint32_t nsec; int32_t reserved; };
struct ps_statx {
  uint32_t mask, blksize;
  uint64_t attributes;
  uint32_t nlink, uid, gid;
  uint16_t mode, spare;
  uint64_t ino, size, blocks, attributes_mask;
  struct ps_statx_timestamp atime, btime, ctime, mtime;
  uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
  uint64_t later[14];
};
int statx(int dirfd, const char *path, int flags, unsigned mask, struct ps_statx *result);

struct ps_file_handle { unsigned size; int type; uint8_t bytes[128]; };
int name_to_handle_at(int dirfd, const char *path, struct ps_file_handle *handle, int *mount_id, int flags);
]]

_M.signals = { HUP = 1, INT = 2, PIPE = 13, TERM = 15, CHLD = 17 }
_M.errno = { ENOENT = 2, ESRCH = 3, EINTR = 4, EPERM = 1, EACCES = 13, EINVAL = 22, EPIPE = 32, ENOSPC = 28,
  EPROTO = 71, EBADMSG = 74 }

local CLOCK_REALTIME, CLOCK_MONOTONIC = 0, 1
local O_CLOEXEC = 0x80000

--- Text for an errno value; of the last call when none is given.
function _M.strerror(errno)
  return ffi.string(C.strerror(errno or ffi.errno()))
end

--- nil, "WHAT: reason", errno of the last call.
local function failed(what)
  local errno = ffi.errno()
  return nil, what .. ": " .. _M.strerror(errno), errno
end
_M.failed = failed

--- Raw system call with int or pointer arguments (cdata of the right width).
function _M.syscall(number, ...)
  return tonumber(C.syscall(number, ...))
end

local function clock_ns(clock)
  local ts = ffi.new("struct ps_timespec")
  C.clock_gettime(clock, ts)
  return ffi.cast("uint64_t", ts.sec) * 1000000000ULL + ffi.cast("uint64_t", ts.nsec)
end

--- CLOCK_MONOTONIC in ns, as uint64_t cdata.
function _M.monotonic_ns() return clock_ns(CLOCK_MONOTONIC) end

--- What to add to CLOCK_MONOTONIC ns to get Unix time in ns, as uint64_t cdata.
function _M.clock_offset_ns() return clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC) end

--- Local time is so many seconds ahead of UTC, from now on and in this process.
function _M.set_utc_offset(offset_s)
  local sign, abs = offset_s < 0 and "+" or "-", math.abs(offset_s) -- POSIX counts to the west
  C.setenv("TZ", ("<local>%s%d:%02d:%02d"):format(sign, math.floor(abs / 3600), math.floor(abs / 60) % 60, abs % 60), 1)
  C.tzset()
end

--- Whether this is root's process (in its user namespace).
function _M.is_root() return C.geteuid() == 0 end

--- Lift the limit on locked memory: before Linux 5.11 BPF maps count against it.
function _M.unlimit_memlock()
  local RLIMIT_MEMLOCK, infinity = 8, ffi.cast("uint64_t", -1)
  C.setrlimit(RLIMIT_MEMLOCK, ffi.new("struct ps_rlimit", { infinity, infinity }))
end

local AT_FDCWD, AT_EACCESS = -100, 0x200

--- Whether this process may do that with a file. access(2) would ask for what its user may do without capabilities.
-- @param mode 0: it is there; 4: read it
-- @return true; or nil, message, errno
function _M.may(path, mode)
  if C.faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0 then return true end
  return failed(path)
end

--- Run this process before others, as far as it may (CAP_SYS_NICE).
-- @param nice from -20, the most urgent, to 19
function _M.set_nice(nice) C.setpriority(0, 0, nice) end

--- Block signals.
-- @param signals list of signal numbers
-- @return the set of them
function _M.block_signals(signals)
  local set = ffi.new("ps_sigset")
  C.sigemptyset(set)
  for _, sig in ipairs(signals) do C.sigaddset(set, sig) end
  C.sigprocmask(0, set, nil)
  return set
end

--- Block signals and return a descriptor that delivers them.
-- @param signals list of signal numbers
function _M.signal_fd(signals)
  local fd = C.signalfd(-1, _M.block_signals(signals), bit.bor(O_CLOEXEC, 0x800))
  if fd < 0 then return failed("signalfd") end
  return fd
end

--- Unblock all signals (in a child, before exec). LuaJIT's own handler of SIGINT would make an error of one that
-- comes in between.
function _M.unblock_signals()
  local set = ffi.new("ps_sigset")
  C.signal(_M.signals.INT, nil) -- SIG_DFL
  C.sigemptyset(set)
  C.sigprocmask(2, set, nil)
end

--- The next signal number of a signal_fd, or nil when none waits.
function _M.next_signal(fd)
  local info = ffi.new("uint32_t[32]") -- struct signalfd_siginfo: 128 bytes, the first u32 is ssi_signo
  if C.read(fd, info, 128) ~= 128 then return nil end
  return info[0]
end

--- Two close-on-exec pipe ends: read, write.
function _M.pipe()
  local fds = ffi.new("int[2]")
  if C.pipe2(fds, O_CLOEXEC) ~= 0 then return failed("pipe") end
  return fds[0], fds[1]
end

--- Two connected AF_UNIX stream sockets, close-on-exec.
function _M.socketpair()
  local fds = ffi.new("int[2]")
  if C.socketpair(1, bit.bor(1, O_CLOEXEC), 0, fds) ~= 0 then return failed("socketpair") end
  return fds[0], fds[1]
end

local PATH_MAX = 4096
local link_text = ffi.new("char[?]", PATH_MAX)

--- What a symbolic link says, or nil, message, errno.
function _M.readlink(path)
  local len = tonumber(C.readlink(path, link_text, PATH_MAX))
  if len < 0 then return failed(path) end
  return ffi.string(link_text, len)
end

--- Open a file to read.
-- @return descriptor, or nil, message, errno
function _M.open(path)
  local fd = C.open(path, O_CLOEXEC)
  if fd < 0 then return failed(path) end
  return fd
end

local S_IFMT, S_IFREG = 0xf000, 0x8000
local AT_EMPTY_PATH = 0x1000

local function time_text(time) return ("%d.%09d"):format(tonumber(time.sec), time.nsec) end

--- What a file is (statx(2)); links are followed.
-- @param path string, or the number of an open descriptor
-- @return table: is_regular (boolean), dev_major, dev_minor, size (numbers), inode (decimal string: it may exceed
--   2^53), mtime, ctime (strings, to compare); or nil, message, errno
function _M.stat(path)
  local STATX_BASIC_STATS = 0x7ff
  local is_fd = type(path) == "number"
  local st = ffi.new("struct ps_statx")
  local dirfd, flags = is_fd and path or AT_FDCWD, is_fd and AT_EMPTY_PATH or 0
  if C.statx(dirfd, is_fd and "" or path, flags, STATX_BASIC_STATS, st) ~= 0 then return failed(tostring(path)) end
  return {
    is_regular = bit.band(st.mode, S_IFMT) == S_IFREG,
    dev_major = st.dev_major, dev_minor = st.dev_minor,
    inode = (tostring(st.ino):gsub("ULL$", "")),
    size = tonumber(st.size),
    mtime = time_text(st.mtime), ctime = time_text(st.ctime),
  }
end

--- The handle of an open file, which outlives its name (name_to_handle_at(2)).
-- @return type (number) and bytes (string); nil, message, errno before Linux 6.6 and where a filesystem has none
function _M.file_handle(fd)
  local AT_HANDLE_FID = 0x200
  local handle, mount_id = ffi.new("struct ps_file_handle"), ffi.new("int[1]")
  handle.size = ffi.sizeof(handle.bytes)
  if C.name_to_handle_at(fd, "", handle, mount_id, AT_EMPTY_PATH + AT_HANDLE_FID) ~= 0 then
    return failed("name_to_handle_at")
  end
  return handle.type, ffi.string(handle.bytes, handle.size)
end

--- Map the first page of a file to read.
-- @return pointer, for unmap_page; or nil, message, errno
function _M.map_page(fd)
  local PROT_READ, MAP_PRIVATE, PAGE_SIZE = 1, 2, 4096
  local at = C.mmap(nil, PAGE_SIZE, PROT_READ, MAP_PRIVATE, fd, 0)
  if ffi.cast("intptr_t", at) == -1 then return failed("mmap") end
  return at
end

function _M.unmap_page(at) C.munmap(at, 4096) end

--- Everything that can be read from a descriptor until its end.
function _M.read_all(fd)
  local buffer, parts = ffi.new("char[4096]"), {}
  while true do
    local n = tonumber(C.read(fd, buffer, 4096))
    if n == 0 then break end
    if n > 0 then
      parts[#parts + 1] = ffi.string(buffer, n)
    elseif ffi.errno() ~= _M.errno.EINTR then
      break
    end
  end
  return table.concat(parts)
end

--- Write all of a string, or len bytes from a pointer on. Returns true, or nil, message, errno.
function _M.write_all(fd, data, len)
  local from, left = ffi.cast("const char *", data), len or #data
  while left > 0 do
    local n = tonumber(C.write(fd, from, left))
    if n < 0 then
      if ffi.errno() ~= _M.errno.EINTR then return failed("write") end
    else
      from, left = from + n, left - n
    end
  end
  return true
end

--- Wait for a child. Returns its exit status as a shell would give it
-- (128 + signal when a signal ended it), or nil while it runs (with nohang).
function _M.wait(pid, nohang)
  local status = ffi.new("int[1]")
  local got
  repeat got = C.waitpid(pid, status, nohang and 1 or 0) until got >= 0 or ffi.errno() ~= _M.errno.EINTR
  if got ~= pid then return nil end
  local sig = bit.band(status[0], 0x7f)
  if sig ~= 0 then return 128 + sig end
  return bit.band(bit.rshift(status[0], 8), 0xff)
end

--- NUL-terminated argv for execvp; keep the returned anchor alive while it is used.
function _M.argv(list)
  local strings = {}
  local argv = ffi.new("char *[?]", #list + 1)
  for i, word in ipairs(list) do
    strings[i] = ffi.new("char[?]", #word + 1, word)
    argv[i - 1] = strings[i]
  end
  return argv, strings
end

return _M
