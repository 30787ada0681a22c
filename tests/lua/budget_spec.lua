-- SPDX-License-Identifier: Apache-2.0
local ffi = require "ffi"
local budget = require "plainsight.budget"

-- A tool whose use of CPU depends on what it does: load is what everything would take, in percent.
local function setup(opts)
  local state = { load = 0, memory_mib = 10, cpu_s = 0, bodies = 65536, share = 0, said = {}, now_s = 100 }
  opts.max_body_bytes = 65536
  local object = budget.new(opts, {
    limit_bodies = function(bytes) state.bodies = bytes end,
    leave_out = function(share) state.share = share end,
    say = function(line) state.said[#state.said + 1] = line end,
  }, function() return { cpu_s = state.cpu_s, memory_mib = state.memory_mib } end)
  local function used() return state.load * (state.bodies > 0 and 1 or 0.8) * (256 - state.share) / 256 end
  local function pass(seconds)
    for _ = 1, seconds do
      state.now_s, state.cpu_s = state.now_s + 1, state.cpu_s + used() / 100
      object:tick(ffi.cast("uint64_t", state.now_s * 1e9))
    end
  end
  return object, state, pass, used
end

describe("a budget", function()
  it("is none when none is asked for", function()
    assert.is_nil(budget.new({}, {}))
  end)

  it("changes nothing while it holds", function()
    local object, state, pass = setup { max_cpu = 50, max_memory = 100 }
    state.load = 49
    pass(100)
    assert.same({}, state.said)
    assert.same({ level = 0, steps_down = 0, steps_up = 0, degraded_ms = 0 }, object:counts())
  end)

  it("gives up bodies first, then connections, until it holds", function()
    local object, state, pass, used = setup { max_cpu = 20 }
    state.load = 24
    pass(6)
    assert.same({ 0, 0 }, { state.bodies, state.share })
    assert.same({ "budget: CPU 24 % of 20: bodies are not captured" }, state.said)
    state.load = 100
    pass(20)
    assert.is_true(used() <= 20)
    assert.equal(192 + 32, state.share) -- 80 % of 1/8 is 10, of 1/4 is 20: at the limit, not above
    assert.equal(4, object:counts().level)
    assert.matches("of 3 connections in 4 nothing is captured$", state.said[3])
  end)

  it("takes steps back when there is room for them, one by one", function()
    local object, state, pass = setup { max_cpu = 20 }
    state.load = 100
    pass(20)
    state.load = 0
    pass(60)
    assert.same({ 65536, 0 }, { state.bodies, state.share })
    local counts = object:counts()
    assert.same({ 0, counts.steps_down }, { counts.level, counts.steps_up })
    assert.is_true(counts.degraded_ms > 10000)
    assert.equal("budget: CPU 0 %: everything is captured again", state.said[#state.said])
  end)

  it("does not go to and fro at a load that stays", function()
    local object, state, pass = setup { max_cpu = 20 }
    for _, load in ipairs { 21, 30, 45, 80, 300, 2000 } do
      state.load = load
      pass(30)
      local before = #state.said
      pass(300)
      assert.is_true(#state.said - before <= 4, load .. ": " .. (#state.said - before) .. " steps")
    end
    assert.is_true(object:counts().steps_down < 30)
  end)

  it("says once that there is nothing left to leave out", function()
    local _, state, pass = setup { max_cpu = 1 }
    state.load = 10000
    pass(100)
    assert.equal(252, state.share)
    assert.equal(8, #state.said)
    assert.matches("nothing left to leave out$", state.said[8])
  end)

  it("is one of memory, too", function()
    local object, state, pass = setup { max_memory = 100 }
    state.memory_mib = 101
    pass(2)
    assert.equal("budget: memory 101 MiB of 100: bodies are not captured", state.said[1])
    state.memory_mib = 90 -- not below 85
    pass(100)
    assert.equal(1, object:counts().level)
    state.memory_mib = 80
    pass(20)
    assert.equal(0, object:counts().level)
  end)
end)
