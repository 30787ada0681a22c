-- SPDX-License-Identifier: Apache-2.0
--- What tools that print exchanges have in common: from the command line to
-- the summary.
local ffi = require "ffi"
local bit = require "bit"
local capture = require "plainsight.capture"
local cli = require "plainsight.cli"
local command = require "plainsight.command"
local filters = require "plainsight.filters"
local json = require "plainsight.output.json"
local preflight = require "plainsight.preflight"
local summary = require "plainsight.output.summary"
local sys = require "plainsight.sys"
local syscall_probes = require "plainsight.syscall_probes"
local writer = require "plainsight.output.writer"

local _M = {}
local C = ffi.C

-- 127: what a shell gives for a command that it does not find.
local EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_NOT_FOUND = 0, 1, 2, 127
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
-- While nothing happens, and while records wait for others.
local IDLE_MS, WAITING_MS = 1000, 20
-- What COMMAND has after Ctrl-C before it is left alone.
local COMMAND_END_NS = 300000000ULL

local Session = {}
Session.__index = Session

local function say(tool, message) io.stderr:write(tool.name, ": ", message, "\n") end


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

--- Compile, attach, let COMMAND run.
function Session:start()
  local opts, ok, err = self.opts
  self.signal_fd, err = sys.signal_fd({ sys.signals.INT, sys.signals.TERM, sys.signals.HUP, sys.signals.PIPE,
    sys.signals.CHLD })
  if not self.signal_fd then return nil, err end
  if opts.command then
    self.command, err = command.prepare(opts.command)
    if not self.command then return nil, err end
    opts.pids = opts.pids or {}
    opts.pids[#opts.pids + 1] = self.command.pid
  end
  sys.unlimit_memlock()
  self.probes, err = syscall_probes.load(opts)
  if not self.probes then return nil, err end
  self.capture, err = capture.new(self.probes.maps, opts)
  if not self.capture then return nil, err end
  self.epfd, err = open_epoll({ [self.signal_fd] = EPOLLIN, [self.probes.maps.events] = bit.bor(EPOLLIN, EPOLLET) })
  if not self.epfd then return nil, err end
  self.sleep_epfd, err = open_epoll({ [self.signal_fd] = EPOLLIN })
  if not self.sleep_epfd then return nil, err end
  sys.set_nice(NICE) -- after COMMAND was forked
  ok, err = self.probes:attach()
  if not ok then return nil, err end
  self:announce()
  if self.command then return self.command:start() end
  return true
end

function Session:announce()
  local opts = self.opts
  local what = opts.command and "a command" or opts.pids and "processes" or opts.cgroup and "a cgroup" or
    "the whole host"
  say(self.tool, ("tracing %s by %ss; Ctrl-C ends"):format(what, self.probes.attach_kind))
end

--- Print what is ready, with a pause for signals now and then. Returns how many exchanges came, or nil
-- when output ended.
-- @param all everything that is left, at the end: counted, but not printed once -n is reached
function Session:drain(all)
  local opts, count = self.opts, 0
  while all or count < DRAIN_MAX and not self:is_full() do
    local exchange = self.capture:next()
    if not exchange then break end
    count = count + 1
    if not self:is_full() and (not self.wanted or self.wanted(exchange)) then
      self.printed = self.printed + 1
      if not self.writer:write(self.format(exchange, opts)) then return nil end
    end
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

--- What was seen and lost so far; a line in text mode, an object in JSON.
-- @param kind "stats" or "summary"
-- @return true, or nil when output ended
function Session:report(kind)
  local stats = self.capture:stats()
  stats.shown, stats.seen_bytes = self.printed, self.probes:seen_bytes()
  local losses, invisible = self.probes:losses(), self.probes:invisible()
  if self.opts.json then
    self.writer:write(json.report(kind, summary.object(stats, losses, invisible)))
    if not self.writer:flush() then return nil end
  end
  local lines = summary.lines(stats, losses, invisible)
  if kind == "summary" then
    for _, line in ipairs(summary.mistakes(stats, losses)) do lines[#lines + 1] = line end
  end
  if kind == "stats" then lines = not self.opts.json and { table.concat(lines, "; ") } or {} end
  for _, line in ipairs(lines) do say(self.tool, line) end
  return true
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

--- --stats: report() every so often. Returns as report().
function Session:print_stats()
  local now = self.next_stats_ns and sys.monotonic_ns()
  if not now or now < self.next_stats_ns then return true end
  local first = not self.stats_begun
  self.stats_begun = true
  self.next_stats_ns = now + ffi.cast("uint64_t", self.opts.stats_s * 1e9)
  return first or self:report("stats")
end

--- Until something ends the run. Returns true, or nil when output ended.
function Session:loop()
  -- What is live is small and what is printed becomes garbage at once: a short pause between
  -- collections keeps memory flat and costs little.
  collectgarbage("setpause", 110)
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
    if self:is_over() then return true end
    local pending = self.capture:pending()
    if not pending then self:settle_after_loss() end
    if not pending then C.epoll_wait(self.sleep_epfd, events, 4, until_deadline(SLEEP_MS, self.deadline_ns)) end
    if printed == 0 and not pending then
      local wait_ms = self.capture:waiting() and WAITING_MS or IDLE_MS
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
    while sys.next_signal(self.signal_fd) do end -- luacheck: ignore (only to empty it)
  end
  if not self.command:poll() then
    say(self.tool, ("%s (pid %d) still runs"):format(self.command.name, self.command.pid))
  end
end

--- Detach, print what is left, report. Returns the exit status.
function Session:finish(output_open)
  self.probes:close()
  if output_open then
    repeat output_open = self:drain(true) until not output_open or not self.capture:pending()
    if output_open then
      self.capture:finish()
      output_open = self:drain(true)
    end
  end
  output_open = output_open and self:report("summary")
  if not output_open and self.writer.err then
    say(self.tool, self.writer.err)
    return EXIT_FAILURE
  end
  local ended_by_limit = not self.interrupted and not self.stop
  if self.command and self.command.status and not ended_by_limit then return self.command.status end
  return EXIT_OK
end

local function formatter(opts)
  local name = opts.json and "json" or opts.verbose and "verbose" or "text"
  local module = require("plainsight.output." .. name)
  opts.clock_offset_ns = sys.clock_offset_ns()
  return module.format
end

local function run(tool, opts)
  local ok, err = preflight.check(opts)
  if not ok then return nil, err end
  if opts.command and not command.find(opts.command[1]) then
    return nil, ("%s: command not found"):format(opts.command[1]), EXIT_NOT_FOUND
  end
  local self = setmetatable({
    tool = tool, opts = opts, printed = 0, format = formatter(opts), wanted = filters.new(opts),
  }, Session)
  self.writer, err = writer.open(opts.output)
  if not self.writer then return nil, err end
  ok, err = self:start()
  if not ok then
    if self.command then self.command:abandon() end
    return nil, err
  end
  local output_open = self:loop()
  self:end_command()
  return self:finish(output_open)
end

--- A mistake of ours is one line too; the trace is for those who look for it.
local function on_mistake(message)
  if os.getenv("PLAINSIGHT_DEBUG") then io.stderr:write(debug.traceback(message, 2), "\n") end
  return "internal error, please report it: " .. tostring(message)
end

--- Run a tool.
-- @param tool see plainsight.cli.parse
-- @param argv list of strings
-- @return exit status: 0, 1 (run-time failure), 2 (usage), or that of COMMAND
function _M.main(tool, argv)
  local opts, err = cli.parse(tool, argv)
  if not opts then
    say(tool, ("%s (see %s --help)"):format(err, tool.name))
    return EXIT_USAGE
  end
  if opts.help_text or opts.version_text then
    io.stdout:write(opts.help_text or opts.version_text)
    return EXIT_OK
  end
  local ok, status, message, failure = xpcall(run, on_mistake, tool, opts)
  if ok and status then return status end
  say(tool, ok and message or status)
  return failure or EXIT_FAILURE
end

return _M
