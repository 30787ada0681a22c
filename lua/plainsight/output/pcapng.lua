-- SPDX-License-Identifier: Apache-2.0
--- --pcapng: exchanges as packets of the TCP connections that they would have been in clear text.
local bit = require "bit"
local buffer = require "string.buffer"
local blocks = require "plainsight.output.pcapng_blocks"
local cli = require "plainsight.cli"
local clock = require "plainsight.clock"
local connection = require "plainsight.output.pcapng_conn"
local fields = require "plainsight.output.fields"
local ffi = require "ffi"
local files = require "plainsight.files"
local json = require "plainsight.output.json"
local paths = require "plainsight.paths"
local series = require "plainsight.output.series"
local stream = require "plainsight.output.stream"
local summary = require "plainsight.output.summary"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

ffi.cdef [[
int ftruncate(int fd, long size);
long lseek(int fd, long offset, int whence);
]]

-- For its owner alone: what is captured holds passwords. A file that is there keeps its mode.
local MODE = tonumber("600", 8)
local O_WRONLY, O_CREAT, O_TRUNC, O_CLOEXEC = 1, 0x40, 0x200, 0x80000

-- What is gathered before it is written, if no tick() comes first.
local BATCH_BYTES = 262144
-- How often a file that could not be begun is tried again.
local RETRY_NS = 1000000000ULL
-- Connections that are remembered: in two generations, the older one forgotten when the younger is full.
local GENERATION_MAX = 32768

local Pcapng = {}
Pcapng.__index = Pcapng

local function system_name(opts)
  local kernel = opts.kernel or (paths.read("/proc/sys/kernel/osrelease") or ""):match("%S+") or ""
  return "Linux " .. kernel
end

--- See plainsight.output.sinks.
function _M.open(opts, say)
  opts.application = ("%s %s (Plainsight)"):format(opts.tool_name or "Plainsight", cli.version)
  local self = setmetatable({
    opts = opts, say = say, series = series.new(opts.pcapng, opts), is_stdout = opts.pcapng == "-",
    opening = blocks.opening(opts.application, system_name(opts)), batch = buffer.new(), batched = 0, dropped = 0,
    seen_twice = 0, young = {}, old = {}, young_count = 0, owners = {}, now_ns = clock.now_ns(),
    retry_ns = 0ULL,
  }, Pcapng)
  local ok, err = self:begin_file()
  return ok and self, err
end

-- Returns a descriptor, or nil and a message.
local function open_file(self)
  if self.is_stdout then return 1 end
  self.path = self.path or self.series:begin()
  local fd = C.open(self.path, bit.bor(O_WRONLY, O_CREAT, O_TRUNC, O_CLOEXEC), ffi.cast("int", MODE))
  if fd < 0 then return sys.failed(self.path) end
  self.name, self.path = self.path, nil
  return fd
end

-- A file could not be begun, or not written to: what is gathered is left out.
local function drop(self, message)
  if not self.failure then self.say(message .. ": what comes now is not in the file until that is over") end
  self.failure, self.dropped = message, self.dropped + self.batched
end

-- Write a string or len bytes; after a failure a regular file is what it was before.
-- Returns true, or nil and a message.
local function write(self, data, len)
  local ok, _, errno = sys.write_all(self.fd, data, len)
  if ok then
    self.bytes = self.bytes + len
    return true
  end
  if errno == sys.errno.EPIPE then
    self.is_ended = true -- the reader has gone, which is no error
    return true
  end
  if self.is_regular then
    C.ftruncate(self.fd, self.bytes)
    C.lseek(self.fd, self.bytes, 0)
  end
  return nil, ("%s: %s"):format(self.name or "standard output", sys.strerror(errno))
end

--- Begin the next file, or try again to. Returns true, or nil and a message.
function Pcapng:begin_file()
  local fd, err = open_file(self)
  if not fd then return nil, err end
  local status = files.status(fd)
  self.fd, self.bytes, self.is_regular = fd, 0, status ~= nil and files.is_regular(status)
  local ok
  ok, err = write(self, self.opening, #self.opening)
  self.is_begun = ok
  self.series:prune()
  return ok, err
end

--- Begin the file if that failed before, once a second. Returns true, or nil and a message.
local function is_writable(self)
  if self.is_begun then return true end
  if self.now_ns < self.retry_ns then return nil, self.failure end
  self.retry_ns = self.now_ns + RETRY_NS
  if not self.fd then return self:begin_file() end
  local err
  self.is_begun, err = write(self, self.opening, #self.opening)
  return self.is_begun, err
end

--- Write what is gathered.
function Pcapng:flush()
  if #self.batch == 0 then return end
  local ok, err = is_writable(self)
  if ok then ok, err = write(self, self.batch:ref()) end
  if not ok then drop(self, err) end
  self.batch:reset()
  self.batched = 0
end

-- ---- connections ----------------------------------------------------------------------------------------------------

-- The same for both ends of a connection; nil when it has no addresses.
local function key_of(ex)
  local client, server = connection.ends(ex)
  if not client then return nil end
  return ("%s:%d %s:%d"):format(ffi.string(client.addr, 16), client.port, ffi.string(server.addr, 16), server.port)
end

local function forget(self, record)
  record.is_forgotten = true
  if record.conn then record.conn:close(self.batch) end
  if record.key and self.owners[record.key] == record then self.owners[record.key] = nil end
end

local function remember(self, id, record)
  if self.young_count >= GENERATION_MAX then
    for _, each in pairs(self.old) do forget(self, each) end
    self.old, self.young, self.young_count = self.young, {}, 0
  end
  self.young[id], self.young_count = record, self.young_count + 1
end

-- Whether an exchange was on the connection of which owner is the other end.
local function is_other_end(self, owner, ex)
  if owner.is_server == (ex.side == C.PS_SIDE_SERVER) then return false end
  return not owner.conn.is_over or json.wall_ns(fields.first_ts_ns(ex), self.opts) <= owner.conn.tcp.last_ts
end

-- What is remembered of a connection: conn; or owner, the record of its other end, whose exchanges are written.
local function new_record(self, ex)
  local record = {
    port = ex["local"].port, remote_port = ex.remote.port, is_server = ex.side == C.PS_SIDE_SERVER, key = key_of(ex),
  }
  local owner = record.key and self.owners[record.key]
  if owner and is_other_end(self, owner, ex) then
    record.owner, record.key = owner, nil
    return record
  end
  if owner then owner.conn:close(self.batch) end -- its ports were used again
  record.conn = connection.new(ex, self.opts)
  if record.key then self.owners[record.key] = record end
  return record
end

-- Whether a record is that of the exchange's connection: a number may be used again, but not with the same ports.
local function is_record_of(record, ex)
  return record.port == ex["local"].port and record.remote_port == ex.remote.port
    and not (record.owner and record.owner.is_forgotten)
end

local function record_of(self, ex)
  local id = tonumber(ex.conn_id)
  local record = self.young[id]
  if record and is_record_of(record, ex) then return record end
  local kept = not record and self.old[id]
  if kept then
    self.old[id] = nil
    remember(self, id, kept)
    if is_record_of(kept, ex) then return kept end
  end
  if record or kept then
    forget(self, record or kept)
    self.young[id], self.young_count = nil, self.young_count - 1
  end
  record = new_record(self, ex)
  remember(self, id, record)
  return record
end

-- Call visit(record, self.batch) for every one.
local function each_record(self, visit)
  for _, generation in ipairs { self.old, self.young } do
    for _, record in pairs(generation) do visit(record, self.batch) end
  end
end

-- ---- the sink -------------------------------------------------------------------------------------------------------

local function begin_anew(record, buf)
  if record.conn then record.conn:begin_anew(buf) end
end

--- Go on in the next file. Connections begin anew in it, so that each file can be read.
function Pcapng:next_file()
  each_record(self, begin_anew)
  self:flush()
  C.close(self.fd)
  self.fd, self.is_begun = nil, nil
  local ok, err = self:begin_file()
  if not ok then drop(self, err) end
  self.series:is_due(0) -- what comes is the first of it
end

function Pcapng:item(item)
  if self.is_ended then return end
  local is_file = self.is_begun and not self.is_stdout
  if is_file and self.series:is_due(self.bytes + #self.batch) then self:next_file() end
  local ex, kind = item.exchange, item.kind
  local conn = record_of(self, ex).conn
  local is_exchange = kind == C.PS_ITEM_EXCHANGE
  if not conn then
    if is_exchange then self.seen_twice = self.seen_twice + 1 end
    return
  end
  if is_exchange then
    conn:put_exchange(self.batch, ex)
    self.batched = self.batched + 1
  elseif kind == C.PS_ITEM_STARTED then
    conn:put_started(self.batch, ex)
  else
    conn:put_message(self.batch, ex, item.message, stream.is_from_client(ex, item.message))
  end
  if #self.batch >= BATCH_BYTES then self:flush() end
end

--- Returns true when the reader of standard output has gone.
function Pcapng:tick(now_ns)
  self.now_ns = now_ns
  self:flush()
  return self.is_ended
end

function Pcapng:report(kind, stats, losses, invisible)
  if kind ~= "summary" then return end
  local lines, lost = summary.lines(stats, losses, invisible), 0
  for _, loss in pairs(losses) do lost = lost + loss.events end
  if self.seen_twice > 0 then
    lines[#lines + 1] = ("%d exchanges were seen at both ends of their connections and are here once"):format(
      self.seen_twice)
  end
  self.summary, self.lost = table.concat(lines, "; "), lost
end

local function close_connection(record, buf)
  if record.conn then record.conn:close(buf) end
end

function Pcapng:close()
  each_record(self, close_connection)
  if self.summary then
    local now = json.wall_ns(clock.now_ns(), self.opts)
    self.batch:put(blocks.statistics(now, self.summary, self.lost))
  end
  if not self.is_ended then self:flush() end
  if self.fd and not self.is_stdout then C.close(self.fd) end
  if self.dropped == 0 then return nil end
  return ("--pcapng: %d exchanges could not be written (%s)"):format(self.dropped, self.failure)
end

return _M
