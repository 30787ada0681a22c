-- SPDX-License-Identifier: Apache-2.0
local ffi = require "ffi"
local delivery = require "plainsight.telemetry.delivery"

-- A collector that answers each request as it is told, at a time that the spec sets.
local function setup()
  local now, posted, said = 1000000000ULL, {}, {}
  local client = {}
  function client:post(_, body, headers, done)
    posted[#posted + 1] = { body = body, headers = headers, done = done, at_s = tonumber(now) / 1e9 }
    return self ~= nil
  end
  local object = delivery.new {
    client = client, url = "http://c", headers = { "X: y" }, what = "spans", rejected = "rejectedSpans",
    under_way_max = 2, say = function(line) said[#said + 1] = line end, clock = function() return now end,
  }
  local function answer(i, status, body, retry_after_s)
    posted[i].done { status = status, body = body or "", retry_after_s = retry_after_s or 0 }
  end
  local function pass(seconds)
    now = now + ffi.cast("uint64_t", seconds * 1e9)
    object:tick()
  end
  return object, posted, answer, pass, said
end

describe("a delivery", function()
  it("counts what was accepted", function()
    local object, posted, answer = setup()
    object:send("body", 3)
    assert.same({ "Content-Type: application/json", "X: y" }, posted[1].headers)
    assert.equal("body", posted[1].body)
    assert.is_true(object:is_busy())
    answer(1, 200, "{}")
    assert.is_false(object:is_busy())
    assert.equal(3, object.counts.sent)
    assert.equal(0, object:dropped())
  end)

  it("does not send again what is refused", function()
    for _, status in ipairs { 400, 401, 404, 413, 500, 501, 301 } do
      local object, posted, answer, pass = setup()
      object:send("body", 3)
      answer(1, status)
      pass(1000)
      assert.equal(1, #posted)
      assert.equal(3, object.counts.dropped.refused)
    end
  end)

  it("sends again with exponential back-off, and nothing new meanwhile", function()
    for _, status in ipairs { 429, 502, 503, 504, 0 } do
      local object, posted, answer, pass = setup()
      object:send("body", 3)
      local gaps = {}
      for attempt = 1, 6 do
        answer(attempt, status)
        assert.is_false(object:is_ready())
        while #posted == attempt do pass(0.01) end
        gaps[attempt] = posted[attempt + 1].at_s - posted[attempt].at_s
        local wanted = 0.5 * 2 ^ (attempt - 1)
        assert.is_true(gaps[attempt] >= wanted * 0.8 and gaps[attempt] <= wanted * 1.2 + 0.02, gaps[attempt])
      end
      answer(7, 200)
      assert.is_true(object:is_ready())
      local counts = object.counts
      assert.same({ 3, 7, 6, 0 }, { counts.sent, counts.requests, counts.retries, object:dropped() })
    end
  end)

  it("waits as long as Retry-After says", function()
    local object, posted, answer, pass = setup()
    object:send("body", 1)
    answer(1, 503, "", 20)
    pass(19)
    assert.equal(1, #posted)
    pass(2)
    assert.equal(2, #posted)
  end)

  it("gives up after five minutes, or at once when it is to wait longer", function()
    local object, posted, answer, pass = setup()
    object:send("body", 2)
    answer(1, 503, "", 3600)
    assert.equal(2, object.counts.dropped.expired)
    object:send("body", 2)
    local attempt = 2
    while object:is_busy() do
      answer(attempt, 503)
      for _ = 1, 400 do
        if #posted > attempt then break end
        pass(0.1)
      end
      attempt = attempt + 1
    end
    assert.equal(4, object.counts.dropped.expired)
    assert.is_true(#posted > 10 and #posted < 30, #posted)
  end)

  it("counts a partial success, and what is no answer of a collector", function()
    local object, _, answer, _, said = setup()
    object:send("a", 5)
    answer(1, 200, '{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too\\nold"}}')
    object:send("b", 5)
    answer(2, 200, '{"partialSuccess":{"rejectedSpans":99}}')
    object:send("c", 5)
    answer(3, 200, "<html>")
    object:send("d", 5)
    answer(4, 200, "")
    object:send("e", 5)
    answer(5, 200, '{"partialSuccess":{}}')
    assert.same({ 13, 7, 5 }, { object.counts.sent, object.counts.dropped.rejected, object.counts.dropped.answer })
    assert.equal("http://c: spans were rejected: too old", said[1])
    for _, line in ipairs(said) do assert.is_nil(line:find "\n") end
  end)

  it("says once that the collector is away, and once that it is back", function()
    local object, posted, answer, pass, said = setup()
    object:send("a", 5)
    for attempt = 1, 5 do
      answer(attempt, 503)
      while #posted == attempt do pass(0.1) end
    end
    answer(6, 200)
    assert.same({ "http://c: status 503; trying again", "http://c: accepted again" }, said)
  end)

  it("counts what is left at the end", function()
    local object, _, answer = setup()
    object:send("a", 5)
    object:send("b", 7)
    assert.is_false(object:is_ready())
    answer(1, 503)
    object:abandon()
    assert.equal(12, object.counts.dropped.shutdown)
    assert.is_false(object:is_busy())
  end)

  it("compresses", function()
    local object, posted = setup()
    object.opts.gzip = true
    object:send(("x"):rep(10000), 1)
    assert.equal("\31\139", posted[1].body:sub(1, 2))
    assert.is_true(#posted[1].body < 200)
    assert.equal("Content-Encoding: gzip", posted[1].headers[3])
  end)
end)
