-- SPDX-License-Identifier: Apache-2.0
--- The last lines of a run: how much was seen, and everything that was not.
local buffer = require "string.buffer"
local escape = require "plainsight.output.escape"

local _M = {}

-- What to say of each cause, and what can be done about it. With a unit, the bytes are not known.
local LOSS_TEXT = {
  { "ring_full", "lost, ring buffer full (larger: --ring-size)" },
  { "fault", "lost, memory of the process could not be read" },
  { "table_full", "lost, kernel table full" },
  { "cut", "lost, calls larger than what one call may copy" },
  { "no_buffer", "not visible, moved by splice or SSL_sendfile or thrown away by MSG_TRUNC: sizes known, content not" },
  { "notices", "of processes lost: TLS that they have loaded since may not have been seen", unit = "notice" },
  { "missed", "not seen, more under way at once than kretprobes can follow (try --attach tracepoint)", unit = "call" },
  { "skipped_runs", "skipped by the kernel: calls or ends of connections may be missing", unit = "probe run" },
}

local INVISIBLE_TEXT = {
  io_uring = "sends and receives through io_uring",
  compat = "32-bit system calls on sockets",
}

--- A process chooses its own name.
local function printable(text)
  local buf = buffer.new()
  escape.put(buf, text, #text, escape.WORD)
  return buf:get()
end

local function count(n, what) return ("%d %s%s"):format(n, what, n == 1 and "" or "s") end

local function loss_line(entry, loss)
  if entry.unit then return ("%s %s"):format(count(loss.events, entry.unit), entry[2]) end
  return ("%s (%s) %s"):format(count(loss.events, "call"), count(loss.bytes, "byte"), entry[2])
end

--- The self-check, at the end of a run (docs/losses.md): every byte that the probes saw came in a
-- record or was lost for want of room, and of every byte in a record it is known what became.
-- @return list of strings, empty when the sums fit
function _M.mistakes(stats, losses)
  local lines = {}
  local function check(what, difference)
    if difference ~= 0 then
      lines[#lines + 1] = ("internal error, please report it: %d bytes %s"):format(difference, what)
    end
  end
  check("that the probes saw are missing", stats.seen_bytes - stats.data_bytes
    - (losses.ring_full and losses.ring_full.bytes or 0))
  check("of records are not accounted for", stats.data_bytes - stats.message_bytes - stats.tunnel_bytes
    - stats.skipped_bytes - stats.raw_bytes - stats.uncaptured_bytes - stats.overlap_bytes - stats.waiting_bytes
    - stats.dropped_bytes)
  return lines
end

--- Human-readable lines.
-- @param stats see plainsight.capture; and shown, how many exchanges were printed
-- @param losses see plainsight.syscall_probes
-- @param invisible list, see plainsight.syscall_probes
-- @return list of strings without newline
function _M.lines(stats, losses, invisible)
  local lines, lost = {}, false
  for _, entry in ipairs(LOSS_TEXT) do
    local loss = losses[entry[1]]
    if loss then
      lost = true
      lines[#lines + 1] = loss_line(entry, loss)
    end
  end
  for _, process in ipairs(invisible) do
    lost = true
    lines[#lines + 1] = ("not visible: %s (pid %d): %d %s"):format(printable(process.comm), process.pid,
      process.calls, INVISIBLE_TEXT[process.kind])
  end
  if stats.file_lost_calls > 0 then
    lost = true
    lines[#lines + 1] = ("%s of sendfile (%s) not visible: the file was gone or changed when it was read"):format(
      count(stats.file_lost_calls, "call"), count(stats.file_lost_bytes, "byte"))
  end
  if stats.gaps > 0 then
    lines[#lines + 1] = ("%s (%s) in the exchanges above, marked there"):format(count(stats.gaps, "gap"),
      count(stats.gap_bytes, "byte"))
  end
  if stats.parse_errors > 0 then
    lines[#lines + 1] = ("%s where HTTP could not be understood"):format(count(stats.parse_errors, "place"))
  end
  if stats.evicted > 0 then
    lines[#lines + 1] = ("%s given up, too many at once"):format(count(stats.evicted, "connection"))
  end
  if stats.budget_steps_down and stats.budget_steps_down > 0 then
    lost = lost or stats.left_out_calls > 0
    lines[#lines + 1] = ("budget: less captured for %.0f s, %s down, %d up; %s (%s) left out"):format(
      stats.budget_degraded_ms / 1000, count(stats.budget_steps_down, "step"), stats.budget_steps_up,
      count(stats.left_out_calls, "call"), count(stats.left_out_bytes, "byte"))
  end
  if stats.late_processes and stats.late_processes > 0 then
    lines[#lines + 1] = ("%s ran up to %.0f ms before TLS in it was watched (--hold: it waits)"):format(
      stats.late_processes == 1 and "1 process" or ("each of %d processes"):format(stats.late_processes),
      stats.late_ns_max / 1e6)
  end
  local first = count(stats.events or stats.exchanges, stats.events and "event" or "exchange")
  if stats.events then
    stats.shown = stats.events
  elseif stats.shown < stats.exchanges then first = ("%s, %d shown"):format(first, stats.shown) end
  if stats.messages > 0 then first = ("%s, %s"):format(first, count(stats.messages, "message")) end
  if #lines == 0 then first = first .. "; nothing lost" elseif not lost then first = first .. "; no event lost" end
  table.insert(lines, 1, first)
  return lines
end

--- The same as one table for JSON; invisible is left out when there is none.
function _M.object(stats, losses, invisible)
  local lost = {}
  for _, entry in ipairs(LOSS_TEXT) do lost[entry[1]] = losses[entry[1]] or { events = 0, bytes = 0 } end
  return { stats = stats, lost = lost, invisible = invisible[1] and invisible }
end

return _M
