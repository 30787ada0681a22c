-- SPDX-License-Identifier: Apache-2.0
--- What tools that print exchanges have in common: from the command line to
-- the summary.
local ffi = require "ffi"
local bit = require "bit"
local budget = require "plainsight.budget"
local capture = require "plainsight.capture"
local clock = require "plainsight.clock"
local command = require "plainsight.command"
local containers = require "plainsight.containers.watch"
local fields = require "plainsight.output.fields"
local filters = require "plainsight.filters"
local recorded_containers = require "plainsight.containers.recorded"
local recording = require "plainsight.recording"
local redact = require "plainsight.secrets.redact"
local selection = require "plainsight.containers.selection"
local settings = require "plainsight.settings"
local sinks = require "plainsight.output.sinks"
local sys = require "plainsight.sys"
local common = require "plainsight.tool"
local writer = require "plainsight.output.writer"

local _M = {}
local C = ffi.C

-- 127: what a shell gives for a command that it does not find.
local EXIT_NOT_FOUND = 127
local EPOLLIN, EPOLLET, EPOLL_CTL_ADD = 1, 0x80000000, 1

-- How long to sleep after a drain, so that the kernel need not wake us for every record. Longer
-- sleeps save little more, and a burst on loopback (2 GB/s) would fill the ring meanwhile.
local SLEEP_MS = 2
-- On a host whose CPUs are all busy the reader would otherwise come too late, and the ring overflow: a
-- fair share of the time is enough, but not if it comes after the others'.
local NICE = -10
-- How often to look for what ended unheard while records were lost.
local SETTLE_NS = 1000000000ULL
-- Exchanges between two looks at signals.
local DRAIN_MAX = 1000
-- While nothing happens, while records wait for others, and while a recording waits to be written.
local IDLE_MS, WAITING_MS, UNWRITTEN_MS = 1000, 20, 500
-- What COMMAND has after Ctrl-C before it is left alone.
local COMMAND_END_NS = 300000000ULL

local Session = {}
Session.__index = Session

for _, topic in ipairs { "account", "masking", "recording", "replay" } do
  for name, method in pairs(require("plainsight.session." .. topic)) do Session[name] = method end
end

local say = common.say

local function open_epoll(fds)
  local epfd = C.epoll_create1(0x80000)
  if epfd < 0 then return sys.failed("epoll_create") end
  for fd, events in pairs(fds) do
    local event = ffi.new("struct ps_epoll_event")
    event.events, event.data.fd = events, fd
    if C.epoll_ctl(epfd, EPOLL_CTL_ADD, fd, event) ~= 0 then return sys.failed("epoll_ctl") end
  end
  return epfd
end

--- What to wait for: epfd while nothing happens, sleep_epfd for the short sleeps between drains.
-- @return true, or nil and a message
function Session:open_epolls()
  local always, err = { [self.signal_fd] = EPOLLIN }
  if self.watch then always[self.watch.fd] = EPOLLIN end
  if self.containers then always[self.containers.fd] = EPOLLIN end
  for _, fd in ipairs(self.sinks:fds()) do always[fd] = EPOLLIN end
  self.sleep_epfd, err = open_epoll(always)
  if not self.sleep_epfd then return nil, err end
  always[self.probes.maps.events] = bit.bor(EPOLLIN, EPOLLET)
  self.epfd, err = open_epoll(always)
  return self.epfd ~= nil, err
end

--- What cannot be seen: said now, and when a recording is replayed.
function Session:warn(message)
  say(self.tool, message)
  if self.recorder then self.recorder:note(self.capture, "fact", "warning", message) end
end

--- Tell containers apart, and let the probes see those that are asked for.
-- @return true; or nil and a message when some are asked for and that cannot be done
function Session:open_containers()
  local opts = self.opts
  local function warn(message) self:warn(message) end
  local function on_traced(pids)
    if self.watch then self.watch:add(pids) end
  end
  local found, err = containers.new(opts, self.probes.maps.traced_containers, warn, on_traced)
  if not found then return not settings.has_containers(opts), err end
  self.containers = found
  local function container_of(process) return found:container_of(process) end
  opts.container_of = self.recorder and recorded_containers.recording(container_of) or container_of
  if settings.has_containers(opts) then opts.container_pids = function() return (found:traced_pids()) end end
  return true
end

--- Load, attach, let COMMAND run.
function Session:start()
  local syscall_probes, watch = require "plainsight.syscall_probes", require "plainsight.tls.watch"
  local opts, ok, err = self.opts
  if opts.command then
    self.command, err = command.prepare(opts.command)
    if not self.command then return nil, err end
    opts.pids = opts.pids or {}
    opts.pids[#opts.pids + 1] = self.command.pid
  end
  sys.unlimit_memlock()
  self.probes, err = syscall_probes.load(opts, self.begun)
  if not self.probes then return nil, err end
  ok, err = self:start_recording()
  if not ok then return nil, err end
  self.capture, err = capture.new(self.probes.maps, opts, self.recorder)
  if not self.capture then return nil, err end
  self:record_lookups()
  ok, err = self:open_containers()
  if not ok then return nil, err end
  self.budget = budget.new(opts, {
    limit_bodies = function(bytes) self.capture:limit_bodies(bytes) end,
    leave_out = function(share, is_without_bodies) self.probes:leave_out(share, is_without_bodies) end,
    say = function(message) self:warn(message) end,
  })
  if opts.tls then
    self.watch, err = watch.new(self.probes, opts, function(message) self:warn(message) end)
    if not self.watch then return nil, err end
    opts.library_of = function(number) return self.watch:library(number) end
  end
  ok, err = self:open_epolls()
  if not ok then return nil, err end
  sys.set_nice(NICE) -- after COMMAND was forked
  ok, err = self.probes:attach()
  if not ok then return nil, err end
  if self.watch then self.watch:begin() end -- what starts meanwhile, the probes tell of
  self:record_libraries()
  self.sinks:begin(function() return self:account() end)
  self:announce()
  if self.command then return self.command:start() end
  return true
end

function Session:announce()
  local opts = self.opts
  local what = opts.command and "a command" or opts.pids and "processes" or opts.cgroup and "a cgroup" or
    "the whole host"
  if settings.has_containers(opts) then
    local _, count = self.containers:traced_pids()
    what = ("%d container%s"):format(count, count == 1 and "" or "s") .. (count == 0 and " so far" or "")
  end
  say(self.tool, ("tracing %s by %ss; Ctrl-C ends"):format(what, self.probes.attach_kind))
end

--- The next item, with --raw the next event; nil when there is none for now.
function Session:next_item()
  local item
  repeat
    if self.opts.raw then item = self.capture:next_event() else item = self.capture:next() end
  until item or not self:on_note()
  return item
end

--- Print an event. Returns as writer:write().
function Session:print_event(event)
  self:record_container(event.process)
  if self.wanted and not self.wanted(event) then return true end
  self.printed = self.printed + 1
  return self.writer:append(self.format.put, event, self.opts)
end

--- Print an item if it is asked for. -n counts exchanges that are over. Returns as writer:write().
function Session:print_item(item)
  local format = self.format
  if item.kind == ffi.C.PS_ITEM_EXCHANGE then self.exchanges = self.exchanges + 1 end
  if item.kind == ffi.C.PS_ITEM_MESSAGE then self.messages = self.messages + 1 end
  self:record_container(fields.process(item.exchange))
  if self.wanted and not self.wanted(item.exchange) then return true end
  self:give_wire_sinks(item)
  if self.redactor then
    item = self.redactor:item(item)
    if not item then return self:on_unredacted() end
  end
  local exchange = item.exchange
  self.sinks:item(item, false)
  if format.put_item then
    if item.kind == ffi.C.PS_ITEM_EXCHANGE then self.printed = self.printed + 1 end
    return self.writer:append(format.put_item, item, self.opts)
  end
  if item.kind == ffi.C.PS_ITEM_EXCHANGE then
    self.printed = self.printed + 1
    return self.writer:append(format.put, exchange, self.opts)
  end
  if item.kind == ffi.C.PS_ITEM_STARTED then return self.writer:append(format.put_started, exchange, self.opts) end
  return self.writer:append(format.put_message, item, self.opts)
end

--- Print what is ready, with a pause for signals now and then. Returns how many items came, or nil
-- when output ended.
-- @param all everything that is left, at the end: counted, but not printed once -n is reached
function Session:drain(all)
  local count = 0
  while all or count < DRAIN_MAX and not self:is_full() do
    local item = self:next_item()
    if not item then break end
    count = count + 1
    if not self:is_full() and not self:print(item) then return nil end
  end
  if not self.writer:flush() then return nil end
  return count
end

function Session:on_signals()
  for number in function() return sys.next_signal(self.signal_fd) end do
    if number == sys.signals.CHLD then
      if self.command and self.command:poll() then self.stop = true end
    elseif number ~= sys.signals.PIPE then
      self.stop, self.interrupted = true, number
    end
  end
end

--- Whether -n is reached.
function Session:is_full()
  return self.opts.count ~= nil and self.printed >= self.opts.count
end

--- Whether one of -n, -d, a signal or the end of COMMAND ends the run.
function Session:is_over()
  if self.stop then return true end
  if self:is_full() then return true end
  return self.deadline_ns ~= nil and sys.monotonic_ns() >= self.deadline_ns
end

local function until_deadline(timeout_ms, deadline_ns)
  if not deadline_ns then return timeout_ms end
  local left_ns = ffi.cast("int64_t", deadline_ns - sys.monotonic_ns())
  return math.max(0, math.min(timeout_ms, math.ceil(tonumber(left_ns) / 1e6)))
end

--- After records were lost: whatever ended meanwhile did so unheard. Once a second at most.
function Session:settle_after_loss()
  local now = sys.monotonic_ns()
  if now < self.next_settle_ns then return end
  self.next_settle_ns = now + SETTLE_NS
  local lost = self.probes:losses().ring_full
  if not lost or lost.events == self.settled_events then return end
  self.settled_events = lost.events
  self.capture:settle()
end

local function tune(opts)
  -- What is live is small, a megabyte, and what is printed becomes garbage at once: short pauses between
  -- collections took a quarter of the time that JSON takes.
  collectgarbage("setpause", opts.otlp and 200 or 400) -- spans that wait are live
  -- The way from a record to its text is one trace of some thousand instructions: more than by default is compiled.
  jit.opt.start("maxrecord=20000", "maxirconst=4000", "maxsnap=4000")
end

--- Until something ends the run. Returns true, or nil when output ended.
function Session:loop()
  local opts = self.opts
  local events = ffi.new("struct ps_epoll_event[4]")
  if opts.duration_s then
    self.deadline_ns = sys.monotonic_ns() + ffi.cast("uint64_t", opts.duration_s * 1e9)
  end
  self.next_settle_ns = sys.monotonic_ns() + SETTLE_NS
  self.next_stats_ns = opts.stats_s and sys.monotonic_ns()
  while true do
    local printed = self:drain()
    if not printed or not self:print_stats() then return nil end
    self:on_signals()
    if self.containers then self.containers:on_events() end
    if self.watch then self.watch:on_notices() end
    if self.budget then self.budget:tick(sys.monotonic_ns()) end
    local is_ended, is_unwritten = self.sinks:tick(sys.monotonic_ns()), self:write_recording()
    if is_ended or self:is_over() then return true end
    local pending = self.capture:pending()
    if not pending then self:settle_after_loss() end
    if not pending then C.epoll_wait(self.sleep_epfd, events, 4, until_deadline(SLEEP_MS, self.deadline_ns)) end
    if printed == 0 and not pending then
      local wait_ms = self.capture:waiting() and WAITING_MS or is_unwritten and UNWRITTEN_MS or IDLE_MS
      wait_ms = math.min(wait_ms, self.sinks:wait_ms(sys.monotonic_ns()))
      C.epoll_wait(self.epfd, events, 4, until_deadline(until_deadline(wait_ms, self.deadline_ns), self.next_stats_ns))
    end
  end
end

--- COMMAND and the tool end together.
function Session:end_command()
  if not self.command or self.command:poll() then return end
  self.command:signal(self.interrupted or sys.signals.TERM)
  local deadline = sys.monotonic_ns() + COMMAND_END_NS
  local events = ffi.new("struct ps_epoll_event[4]")
  while not self.command:poll() and sys.monotonic_ns() < deadline do
    C.epoll_wait(self.sleep_epfd, events, 4, 10)
    if self.watch then self.watch:on_notices() end
    self.sinks:tick(sys.monotonic_ns())
    while sys.next_signal(self.signal_fd) do end -- luacheck: ignore (only to empty it)
  end
  if not self.command:poll() then
    say(self.tool, ("%s (pid %d) still runs"):format(self.command.name, self.command.pid))
  end
end

function Session:detach()
  if self.watch then self.watch:close() end
  if self.probes then self.probes:close() end
  if self.watch then self.watch:release() end
  if self.containers then self.containers:on_events() end
end

--- Print everything that is left, of a recording that was interrupted what had begun. Returns whether output goes on.
function Session:drain_all()
  local is_open = true
  if not (self.recording and self.interrupted) then
    repeat is_open = self:drain(true) until not is_open or not self.capture:pending()
  end
  if not is_open then return false end
  self.capture:finish()
  return self:drain(true) ~= nil
end

--- End what is written beside the main output, and say what is wrong with what was read. Returns whether all is well.
function Session:close_files()
  local message, is_whole, is_damaged = self.sinks:close(), true, false
  if message then say(self.tool, message) end
  if self.recorder then
    local err
    is_whole, err = self.recorder:close()
    if err then say(self.tool, err) end
  end
  if self.recording then
    local problem
    problem, is_damaged = self.recording:problem()
    if problem then say(self.tool, problem) end
  end
  return not message and is_whole and not is_damaged
end

--- Detach, print what is left, report. Returns the exit status.
function Session:finish(output_open)
  self:detach()
  output_open = output_open and self:drain_all()
  self.sinks:finish()
  if output_open and self.format.finish then output_open = self.format:finish(self.writer) end
  output_open = output_open and self:report("summary")
  if not self:close_files() then return common.FAILURE end
  if not output_open and self.writer.err then
    say(self.tool, self.writer.err)
    return common.FAILURE
  end
  local ended_by_limit = not self.interrupted and not self.stop
  local status = self.command and not ended_by_limit and self.command.status or common.OK
  return self.format.exit_status and self.format:exit_status(status) or status
end

-- What is done with items: a module of plainsight.output; of a tool with a view, that. Returns it, or nil and a
-- message.
local function formatter(tool, opts)
  if tool.view then return tool.view(opts, function(message) say(tool, message) end) end
  local name = opts.raw and "raw" or opts.json and "json" or opts.verbose and "verbose" or "text"
  return require("plainsight.output." .. (tool.document and "nothing" or name))
end

--- Which items are to be shown: function(item) -> boolean, or nil for all.
-- @param file plainsight.recording object that is replayed, or nil
local function chooser(opts, file)
  local is_wanted = filters.new(opts)
  if opts.raw then
    local raw = require "plainsight.output.raw"
    is_wanted = function(event) return raw.is_wanted(event, opts) end
  end
  local is_chosen = file and selection.new(file:containers_to_choose(opts)) -- else the probes choose
  if not is_chosen then return is_wanted end
  return function(item)
    local container = opts.container_of(opts.raw and item.process or fields.process(item))
    return container ~= nil and is_chosen(container) and (not is_wanted or is_wanted(item))
  end
end

--- What has to be right before anything begins.
-- @return true; or nil, a message and the exit status
local function check(opts)
  local ok, err = require("plainsight.preflight").check(opts)
  if not ok then return nil, err end
  if opts.command and not command.find(opts.command[1]) then
    return nil, ("%s: command not found"):format(opts.command[1]), EXIT_NOT_FOUND
  end
  return true
end

--- The recording that is to be replayed, as far as the options fit. Returns it; or nil, a message and the exit status.
local function open_recording(tool, opts)
  local file, err = recording.open(opts.replay, function(message) say(tool, message) end)
  if not file then return nil, err end
  local ok
  opts.prints_no_values = tool.prints_no_values
  ok, err = file:prepare(opts)
  if not ok then return nil, err, common.USAGE end
  return file
end

--- Until the end. Returns the exit status; or nil and a message.
function Session:run()
  local err
  self.signal_fd, err = sys.signal_fd({ sys.signals.INT, sys.signals.TERM, sys.signals.HUP, sys.signals.PIPE,
    sys.signals.CHLD })
  if not self.signal_fd then return nil, err end
  local ok
  if self.recording then ok, err = self:start_replay() else ok, err = self:start() end
  if not ok then
    if self.command then self.command:abandon() end
    return nil, err
  end
  tune(self.opts)
  local output_open
  if self.recording then output_open = self:replay() else output_open = self:loop() end
  self:end_command()
  return self:finish(output_open)
end

local function run(tool, opts)
  local file, begun, ok, err, status
  if tool.before then
    status, err = tool.before(opts)
    if status or err then return status, err end
  end
  opts.tool_name = tool.name
  if tool.document then opts[tool.document], opts.output = opts.output or "-", "/dev/null" end
  opts.plain, opts.tls = not tool.tls_only, tool.tls_only or tool.tls_too or opts.tls
  if opts.replay then
    file, err, status = open_recording(tool, opts)
    ok = file
  else
    ok, err, status = check(opts)
    opts.clock_offset_ns = sys.clock_offset_ns()
    if ok and opts.record and opts.show_secrets then
      opts.secret_key, err = redact.random_key()
      ok = opts.secret_key
    end
    if ok then -- with an empty cache, probes are compiled while the rules for secrets are
      begun, err = require("plainsight.syscall_probes").begin(opts)
      ok = begun
    end
  end
  if not ok then return nil, err, status end
  local self = setmetatable({
    tool = tool, opts = opts, recording = file, begun = begun, wanted = chooser(opts, file),
    printed = 0, exchanges = 0, messages = 0, -- shown; and handed out, of each kind
    print = opts.raw and Session.print_event or Session.print_item,
  }, Session)
  if file then clock.use(function() return file:now_ns(self.capture and self.capture:replayed_ns() or 0ULL) end) end
  self.format, err = formatter(tool, opts)
  if not self.format then return nil, err end
  self.writer, err = writer.open(opts.output)
  if not self.writer then return nil, err end
  self.sinks, err = sinks.open(opts, function(message) say(tool, message) end)
  if not self.sinks then return nil, err end
  ok, err = self:open_redactor()
  if not ok then return nil, err end
  return self:run()
end

--- Run a tool.
-- @param tool see plainsight.cli.parse; and document: target of the sink that its output comes from, instead of one
--   text for each exchange
-- @param argv list of strings
-- @return exit status: 0, 1 (run-time failure), 2 (usage), or that of COMMAND
function _M.main(tool, argv)
  return common.main(tool, argv, run)
end

return _M
