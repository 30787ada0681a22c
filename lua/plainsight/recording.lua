-- SPDX-License-Identifier: Apache-2.0
--- --replay: a recording in the place of probes (docs/recording.md). Nothing in it is trusted.
local bit = require "bit"
local cjson = require("cjson").new()
local ffi = require "ffi"
local library = require "plainsight.library"
local recorder = require "plainsight.recorder"
local redact = require "plainsight.secrets.redact"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

--- What is told of a budget, see plainsight.budget and plainsight.syscall_probes.
_M.BUDGET_COUNTS = {
  "budget_level", "budget_steps_down", "budget_steps_up", "budget_degraded_ms", "left_out_calls", "left_out_bytes",
}

local NS_PER_S = 1000000000ULL
local BODY_MAX = 1024 * 1024 * 1024 -- what --max-body can be
local UTC_OFFSET_MAX_S = 26 * 3600
local WARNINGS_MAX = 1000 -- that are repeated

-- What a recording says about itself: types, and whether it may be missing.
local START_FIELDS = {
  tool = "string", version = "string", kernel = "string", clock_offset_ns = "string", utc_offset_s = "number",
  started_ns = "string", plain = "boolean", tls = "boolean", raw = "boolean", has_command = "boolean",
  max_body_bytes = "number", start_version = "number", form = "string",
}
local START_OPTIONAL = {
  pids = "table", uid = "number", comm = "string", cgroup = "string", ports = "table", stats_s = "number",
  duration_s = "number", hash_key = "string", containers = "table", pods = "table", namespaces = "table",
}

local OPEN_ERRORS = {
  [sys.errno.EINVAL] = "not a recording of Plainsight",
  [sys.errno.EPROTO] = "a recording of another version of Plainsight: replay it with that",
  [sys.errno.EBADMSG] = "damaged at its beginning: nothing can be replayed",
}

cjson.decode_invalid_numbers(false)

local Recording = {}
Recording.__index = Recording

--- A message part from a file that somebody else may have written.
local function printable(text) return (tostring(text):gsub("[%c\127-\255]", "?")) end

--- A JSON object, or nil.
local function decode(text)
  local ok, value = pcall(cjson.decode, text)
  return ok and type(value) == "table" and value or nil
end

local function is_start(start)
  for name, kind in pairs(START_FIELDS) do
    if type(start[name]) ~= kind then return false end
  end
  for name, kind in pairs(START_OPTIONAL) do
    if start[name] ~= nil and type(start[name]) ~= kind then return false end
  end
  if start.form ~= "events" and start.form ~= "items" then return false end
  return start.clock_offset_ns:find("^%d+$") and start.started_ns:find("^%d+$")
    and math.abs(start.utc_offset_s) <= UTC_OFFSET_MAX_S and start.max_body_bytes >= 0
    and start.max_body_bytes <= BODY_MAX
end

-- A decimal number of 64 bits; what is more wraps.
local function integer64(text)
  local value = 0ULL
  for digit in text:gmatch("%d") do value = value * 10ULL + tonumber(digit) end
  return value
end

local function text_of(slice) return ffi.string(slice.data, slice.len) end

local function open_file(path)
  if path == "-" then return 0 end
  local fd, err = sys.open(path)
  return fd, err
end

--- Open a recording.
-- @param path string; "-": standard input
-- @param say function(message), for what the run that was recorded warned of
-- @return object with start (see plainsight.recorder); or nil and a message
function _M.open(path, say)
  if not library.lib then return nil, library.err end
  local fd, err = open_file(path)
  if not fd then return nil, err end
  local name = path == "-" and "standard input" or path
  local handle = library.lib.ps_recording_open(fd)
  if handle == nil then
    local errno = ffi.errno()
    return nil, ("%s: %s"):format(name, OPEN_ERRORS[errno] or sys.strerror(errno))
  end
  handle = ffi.gc(handle, library.lib.ps_recording_free)
  local start = decode(text_of(library.lib.ps_recording_start(handle)))
  if start and type(start.start_version) == "number" and start.start_version ~= recorder.START_VERSION then
    return nil, ("%s: %s"):format(name, OPEN_ERRORS[sys.errno.EPROTO])
  end
  if not start or not is_start(start) then return nil, ("%s: %s"):format(name, OPEN_ERRORS[sys.errno.EBADMSG]) end
  return setmetatable({
    handle = handle, name = name, start = start, say = say, libraries = {}, facts = {}, warnings = 0,
    started_ns = integer64(start.started_ns), told = { losses = {}, invisible = {} }, has_items = start.form == "items",
  }, Recording)
end

--- How far it has been read, at least its start.
-- @param replayed_ns uint64_t, see plainsight.capture
-- @return CLOCK_MONOTONIC in ns of the machine that made it, as uint64_t cdata
function Recording:now_ns(replayed_ns)
  return replayed_ns > self.started_ns and replayed_ns or self.started_ns
end

--- When it was made and by what, for people.
function Recording:title()
  local start = self.start
  local seconds = tonumber((integer64(start.started_ns) + integer64(start.clock_offset_ns)) / NS_PER_S)
  return ("%s: %s, %s %s, Linux %s"):format(self.name, os.date("!%Y-%m-%d %H:%M:%S UTC", seconds),
    printable(start.tool), printable(start.version), printable(start.kernel))
end

local function same_list(one, other)
  if not one or not other or #one ~= #other then return false end
  local has = {}
  for _, value in ipairs(one) do has[value] = true end
  for _, value in ipairs(other) do
    if not has[value] then return false end
  end
  return true
end

--- What cannot be had from this recording, as a message; nil when there is nothing of that kind.
function Recording:conflict(opts)
  local start = self.start
  if opts.cgroup and opts.cgroup ~= start.cgroup then
    return "--cgroup: a recording does not know which processes are in it"
  end
  if opts.stats_s and opts.stats_s ~= start.stats_s then
    return start.stats_s and ("--stats: what was lost by then is known every %g s"):format(start.stats_s)
      or "--stats: it was recorded without, and what was lost by then is not known"
  end
  if opts.max_body_bytes and opts.max_body_bytes > start.max_body_bytes then
    return ("--max-body: no more than %d bytes of a body were recorded"):format(start.max_body_bytes)
  end
  if opts.plain and not start.plain and not opts.tls then
    return "it holds TLS only: use it with --tls"
  end
  if opts.prints_no_values and self.has_items then
    return "secrets in it are masked: record with --show-secrets what is to be scanned"
  end
  if opts.raw and self.has_items then
    return "--raw: it holds what was shown, and not all that passed (recorded without --show-secrets)"
  end
  if not opts.plain and not start.tls then return "it holds no TLS: it was recorded without --tls" end
end

--- Filters that the run that was recorded did not have.
local function filter_of(start, opts)
  local filter = ffi.new("struct ps_event_filter")
  local anchors = {}
  local filters = 0
  if opts.pids and not same_list(opts.pids, start.pids) then
    filters = bit.bor(filters, C.PS_FILTER_TGID)
    anchors.pids = ffi.new("uint32_t[?]", #opts.pids, opts.pids)
    filter.pids, filter.pid_count = anchors.pids, #opts.pids
  end
  if opts.ports and not same_list(opts.ports, start.ports) then
    filters = bit.bor(filters, C.PS_FILTER_PORT)
    anchors.ports = ffi.new("uint16_t[?]", #opts.ports, opts.ports)
    filter.ports, filter.port_count = anchors.ports, #opts.ports
  end
  if opts.uid and opts.uid ~= start.uid then
    filters = bit.bor(filters, C.PS_FILTER_UID)
    filter.uid = opts.uid
  end
  if opts.comm and opts.comm ~= start.comm then
    filters = bit.bor(filters, C.PS_FILTER_COMM)
    ffi.copy(filter.comm, opts.comm:sub(1, C.PS_COMM_LEN - 1))
  end
  filter.filters = filters
  filter.capture = bit.bor(opts.plain and C.PS_CAPTURE_PLAIN or 0, opts.tls and C.PS_CAPTURE_TLS or 0)
  return filter, anchors
end

--- -d: how far the recording is used. The run that was recorded ended a little after its own -d.
local function until_of(start, opts)
  if not opts.duration_s or start.duration_s and opts.duration_s >= start.duration_s then return 0 end
  return integer64(start.started_ns) + ffi.cast("uint64_t", opts.duration_s * 1e9)
end

--- Take options and recording together: what is left to filter, clock, time zone, libraries.
-- @param opts see plainsight.cli, with plain; clock_offset_ns, kernel, library_of, max_body_bytes and, where it is
--   known, secret_key are set
-- @return true; or nil and a message that says which option cannot be used
function Recording:prepare(opts)
  local start = self.start
  local wrong = self:conflict(opts)
  if wrong then return nil, ("%s: %s"):format(self.name, wrong) end
  self.filter, self.anchors = filter_of(start, opts)
  self.filter.until_ns = until_of(start, opts)
  self.is_part = self.filter.filters ~= 0 or self.filter.until_ns ~= 0 or start.plain and not opts.plain
    or start.tls and not opts.tls
  opts.max_body_bytes = opts.max_body_bytes or start.max_body_bytes
  opts.clock_offset_ns, opts.kernel = integer64(start.clock_offset_ns), printable(start.kernel)
  opts.masked_before = self.has_items and { max_body_bytes = start.max_body_bytes } or nil
  opts.secret_key = start.hash_key and redact.key_from_text(start.hash_key) -- each replay has the same hashes
  opts.library_of = function(number)
    return self.libraries[number] or { type = "unknown", title = "unknown", path = "" }
  end
  sys.set_utc_offset(start.utc_offset_s)
  return true
end

--- Which containers are to be chosen among those that were recorded.
-- @param opts containers, pods, namespaces: lists of strings, or nil
-- @return the same without those lists by which the kernel chose already when it was recorded
function Recording:containers_to_choose(opts)
  local rest = {}
  for _, target in ipairs { "containers", "pods", "namespaces" } do
    if not same_list(opts[target], self.start[target]) then rest[target] = opts[target] end
  end
  return rest
end

--- Show less of bodies than was recorded, by so many bytes.
function Recording:leave(opts, bytes)
  opts.max_body_bytes = math.max(0, math.min(opts.max_body_bytes, self.start.max_body_bytes - bytes))
end

local function is_library(known)
  return known and type(known.type) == "string" and type(known.path) == "string"
    and (known.version == nil or type(known.version) == "string")
end

local function is_count(value) return type(value) == "number" and value >= 0 and value < math.huge end

local function is_loss(loss) return type(loss) == "table" and is_count(loss.events) and is_count(loss.bytes) end

local function is_invisible(process)
  return type(process) == "table" and is_count(process.pid) and type(process.comm) == "string"
    and (process.kind == "io_uring" or process.kind == "compat") and is_count(process.calls)
end

local function all(list, test)
  for _, value in pairs(list) do
    if not test(value) then return false end
  end
  return true
end

local function is_budget(budget)
  if type(budget) ~= "table" then return false end
  for _, name in ipairs(_M.BUDGET_COUNTS) do
    if not is_count(budget[name]) then return false end
  end
  return true
end

local function is_told(told)
  return told and type(told.losses) == "table" and type(told.invisible) == "table" and all(told.losses, is_loss)
    and all(told.invisible, is_invisible) and is_count(told.seen_bytes)
    and (told.stats == nil or type(told.stats) == "table" and all(told.stats, is_count))
    and (told.budget == nil or is_budget(told.budget))
    and (told.late_processes == nil or is_count(told.late_processes) and is_count(told.late_ns_max))
end

function Recording:on_fact(key, text)
  local number = key:match("^library (%d+)$")
  if number then
    local known = decode(text)
    if is_library(known) then self.libraries[tonumber(number)] = known end
  elseif key == "warning" then
    self.warnings = self.warnings + 1
    if self.warnings <= WARNINGS_MAX then self.say("recorded: " .. printable(text)) end
  else
    self.facts[key] = text
  end
end

--- Something that the run told apart from events.
-- @param note const struct ps_note *
-- @return "stats" when it reported then; else nil
function Recording:on_note(note)
  local key, text = text_of(note.key), text_of(note.value)
  if note.is_report == 0 then
    self:on_fact(key, text)
    return nil
  end
  local told = decode(text)
  if not is_told(told) then return nil end
  self.told = told
  return key == "stats" and key or nil
end

--- What the probes had counted when it was last reported.
-- @param stats see plainsight.capture: of what was read since
-- @return table: losses, invisible, seen_bytes, late_processes and late_ns_max (numbers or nil), budget (numbers by
--   _M.BUDGET_COUNTS, or nil)
function Recording:report(stats)
  local told = self.told
  if told.seen_bytes and not self.is_part then return told end
  local ring_full = told.losses.ring_full
  local result = { seen_bytes = stats.data_bytes + (ring_full and ring_full.bytes or 0) }
  return setmetatable(result, { __index = told })
end

--- Counters of the capture: of a recording of items those that were reported with it.
-- @param stats see plainsight.capture: of the replay
-- @param exchanges, messages how many of them have come
-- @return the same, changed
function Recording:stats(stats, exchanges, messages)
  if not self.has_items then return stats end
  for name, value in pairs(self.told.stats or {}) do
    if stats[name] then stats[name] = value end
  end
  if self.is_part or not self.told.stats then stats.exchanges, stats.messages = exchanges, messages end
  return stats
end

--- What is wrong with the file, when it has been read.
-- @return nil; or a message, and whether that is an error
function Recording:problem()
  local state = library.lib.ps_recording_state(self.handle)
  local bytes = tonumber(library.lib.ps_recording_bytes(self.handle))
  if state == C.PS_RECORDING_CUT then
    return ("%s: ends early, after %d bytes: its tool was killed or still runs; what was lost since its last report "
      .. "is not known"):format(self.name, bytes), false
  elseif state == C.PS_RECORDING_DAMAGED then
    return ("%s: damaged after %d bytes: what comes behind is not shown"):format(self.name, bytes), true
  elseif state == C.PS_RECORDING_UNREADABLE then
    return ("%s: cannot be read behind %d bytes"):format(self.name, bytes), true
  end
end

return _M
