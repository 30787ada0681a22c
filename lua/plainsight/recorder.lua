-- SPDX-License-Identifier: Apache-2.0
--- --record: the file that src/recorder.c writes (docs/recording.md).
local bit = require "bit"
local cjson = require "cjson"
local ffi = require "ffi"
local json = require "plainsight.output.json"
local library = require "plainsight.library"
local paths = require "plainsight.paths"
local redact = require "plainsight.secrets.redact"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

--- Version of what START says, raised when a reader of the earlier one would misunderstand it.
_M.START_VERSION = 1

local MODE = tonumber("600", 8)
local O_WRONLY, O_CREAT, O_TRUNC, O_CLOEXEC = 1, 0x40, 0x200, 0x80000

local Recorder = {}
Recorder.__index = Recorder

--- Seconds that local time is ahead of UTC.
local function utc_offset_s()
  local sign, hours, minutes = os.date("%z"):match("^([+-])(%d%d)(%d%d)$")
  if not sign then return 0 end
  local offset = tonumber(hours) * 3600 + tonumber(minutes) * 60
  return sign == "-" and -offset or offset
end

--- What the run is: the file's first chunk.
local function start_of(tool, opts, version, has_items)
  local kernel = (paths.read("/proc/sys/kernel/osrelease") or ""):match("^[%d.]+") or "unknown"
  return {
    start_version = _M.START_VERSION, form = has_items and "items" or "events", tool = tool.name,
    version = version, kernel = kernel,
    clock_offset_ns = (tostring(opts.clock_offset_ns):gsub("U?LL$", "")), utc_offset_s = utc_offset_s(),
    started_ns = (tostring(sys.monotonic_ns()):gsub("U?LL$", "")),
    plain = opts.plain ~= false, tls = opts.tls == true, raw = opts.raw == true,
    pids = opts.pids, has_command = opts.command ~= nil, uid = opts.uid, comm = opts.comm, cgroup = opts.cgroup,
    containers = opts.containers, pods = opts.pods, namespaces = opts.namespaces,
    -- Whoever has the values may have this too; of items, it would tell what their hashes stand for.
    hash_key = not has_items and opts.secret_key and redact.key_text(opts.secret_key) or nil,
    ports = opts.ports, max_body_bytes = opts.max_body_bytes, stats_s = opts.stats_s, duration_s = opts.duration_s,
  }
end

--- Only its owner may read it, whatever was there before.
local function create(path)
  local fd = C.open(path, bit.bor(O_WRONLY, O_CREAT, O_TRUNC, O_CLOEXEC), ffi.cast("int", MODE))
  if fd < 0 then return sys.failed(path) end
  local status = sys.stat(fd)
  if status and status.is_regular and C.fchmod(fd, MODE) ~= 0 then
    local _, err = sys.failed(path)
    C.close(fd)
    return nil, err
  end
  return fd
end

--- Begin a recording in the file opts.record.
-- @param tool see plainsight.cli.parse
-- @param opts likewise, with clock_offset_ns and secret_key (see plainsight.secrets.redact)
-- @param version of Plainsight
-- @param has_items boolean: it gets items as they are shown, with secrets masked, and no events
-- @return object; or nil and a message
function _M.open(tool, opts, version, has_items)
  local fd, err = create(opts.record)
  if not fd then return nil, err end
  local start = cjson.encode(start_of(tool, opts, version, has_items))
  local handle = library.lib.ps_recorder_new(fd, has_items, start, #start)
  if handle == nil then
    local _, failure = sys.failed(opts.record)
    C.close(fd)
    return nil, failure
  end
  return setmetatable({
    handle = ffi.gc(handle, library.lib.ps_recorder_free), fd = fd, path = opts.record, libraries = {},
    has_items = has_items,
  }, Recorder)
end

local function slice(text)
  return ffi.new("struct ps_slice", { #text > 0 and text or nil, #text })
end

--- Record something that holds from here on, or a report of this moment.
-- @param capture plainsight.capture object that records
-- @param kind "fact" or "report"
-- @param key, value strings
function Recorder.note(_, capture, kind, key, value)
  capture:record_note(kind == "report", slice(key), slice(value))
end

--- Record what the probes have counted.
-- @param kind, counted see plainsight.snoop
function Recorder:report(capture, kind, counted) self:note(capture, "report", kind, json.report(kind, counted)) end

--- Record what has changed of the TLS libraries.
-- @param capture plainsight.capture object that records
-- @param libraries table from numbers to { type, title, version, path }
function Recorder:note_libraries(capture, libraries)
  for number, known in ipairs(libraries) do
    local value = cjson.encode({ type = known.type, title = known.title, version = known.version, path = known.path })
    if self.libraries[number] ~= value then
      self.libraries[number] = value
      self:note(capture, "fact", ("library %d"):format(number), value)
    end
  end
end

--- Write what has waited long enough.
-- @return whether something waits still, for less than half a second; and a message when writing has just failed
function Recorder:flush()
  local is_waiting = library.lib.ps_recorder_flush(self.handle)
  return is_waiting, self:new_error()
end

--- A message when writing has failed and nobody was told; else nil.
function Recorder:new_error()
  local errno = library.lib.ps_recorder_error(self.handle)
  if errno == 0 or self.err then return nil end
  self.err = ("%s: %s; the recording ends here"):format(self.path, sys.strerror(errno))
  return self.err
end

--- The run has ended.
-- @return true, or nil when the file is not whole; and a message when nobody was told of that
function Recorder:close()
  library.lib.ps_recorder_end(self.handle)
  local err = self:new_error()
  if C.close(self.fd) ~= 0 and not self.err then
    self.err = ("%s: %s"):format(self.path, sys.strerror())
    err = self.err
  end
  return not self.err or nil, err
end

return _M
