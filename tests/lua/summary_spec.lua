-- SPDX-License-Identifier: Apache-2.0
local summary = require "plainsight.output.summary"

-- Counters of a run in which nothing went wrong, with the given ones replaced.
local function stats(changes)
  local all = {
    exchanges = 2, shown = 2, file_lost_calls = 0, file_lost_bytes = 0, gaps = 0, gap_bytes = 0, parse_errors = 0,
    evicted = 0, messages = 0,
  }
  for name, value in pairs(changes or {}) do all[name] = value end
  return all
end

describe("summary", function()
  it("says that nothing is lost only when nothing is", function()
    assert.same({ "2 exchanges; nothing lost" }, summary.lines(stats(), {}, {}))
    assert.same({ "2 exchanges; nothing lost" }, summary.lines(stats { late_processes = 0, late_ns_max = 0 }, {}, {}))
  end)

  it("counts messages", function()
    assert.same({ "2 exchanges, 1 message; nothing lost" }, summary.lines(stats { messages = 1 }, {}, {}))
  end)

  it("tells of notices that were lost", function()
    local losses = { notices = { events = 3, bytes = 0 } }
    assert.same({
      "2 exchanges", "3 notices of processes lost: TLS that they have loaded since may not have been seen",
    }, summary.lines(stats(), losses, {}))
    assert.same(losses.notices, summary.object(stats(), losses, {}).lost.notices)
    assert.same({ events = 0, bytes = 0 }, summary.object(stats(), {}, {}).lost.notices)
  end)

  it("tells what was left out for the budget", function()
    local changes = {
      budget_level = 0, budget_steps_down = 3, budget_steps_up = 3, budget_degraded_ms = 12400, left_out_calls = 7,
      left_out_bytes = 700,
    }
    assert.same({ "2 exchanges", "budget: less captured for 12 s, 3 steps down, 3 up; 7 calls (700 bytes) left out" },
      summary.lines(stats(changes), {}, {}))
    changes.budget_steps_down, changes.left_out_calls = 0, 0
    assert.same({ "2 exchanges; nothing lost" }, summary.lines(stats(changes), {}, {}))
  end)

  it("tells of processes that were attached to late", function()
    assert.same({
      "2 exchanges; no event lost", "1 process ran up to 12 ms before TLS in it was watched (--hold: it waits)",
    }, summary.lines(stats { late_processes = 1, late_ns_max = 12.4e6 }, {}, {}))
    assert.matches("^each of 4 processes ran up to 3 ms before ",
      summary.lines(stats { late_processes = 4, late_ns_max = 3e6 }, {}, {})[2])
  end)
end)
