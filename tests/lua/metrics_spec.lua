-- SPDX-License-Identifier: Apache-2.0
local prometheus = require "plainsight.telemetry.prometheus"
local recent = require "plainsight.recent"
local series = require "plainsight.telemetry.series"

describe("series", function()
  local function setup(max)
    return series.new(2, max, function(labels) return { labels = labels or "rest", count = 0 } end)
  end

  it("are told apart by all labels", function()
    local all = setup(10)
    local one = all:get { "a", "b" }
    assert.equal(one, all:get { "a", "b" })
    assert.not_equal(one, all:get { "b", "a" })
    assert.not_equal(one, all:get { "a", false })
    assert.same({ "a", false }, all:get({ "a", false }).labels)
  end)

  it("are bounded: the rest is counted in one", function()
    local all, visited = setup(5), {}
    for i = 1, 100 do
      local one = all:get { "x" .. i, "y" .. i }
      one.count = one.count + 1
    end
    all:each(function(one) visited[#visited + 1] = one.count end)
    assert.same({ 1, 1, 1, 1, 1, 95 }, visited)
    assert.equal(95, all.overflows)
    assert.equal("rest", all:get({ "new", "one" }).labels)
    assert.same({ "x1", "y1" }, all:get({ "x1", "y1" }).labels)
  end)

  it("have histograms with bounds that belong to their buckets", function()
    local histogram = series.histogram { 1, 10 }
    for _, value in ipairs { 0, 1, 1.5, 10, 11, 1e9 } do series.observe(histogram, value) end
    assert.same({ 2, 2, 2 }, histogram.counts)
    assert.same({ 6, 1000000023.5 }, { histogram.count, histogram.sum })
  end)
end)

describe("the text for Prometheus", function()
  local function text_of(is_openmetrics)
    local text = prometheus.new(is_openmetrics)
    local labels = prometheus.labels { { "a", 'q"\\\n\27\255' }, { "b", "Grüße" } }
    text:family("x", "counter", "An x.")
    text:sample(labels, 3)
    text:sample("", 0.25)
    text:family("d_seconds", "histogram", "A d.")
    local histogram = series.histogram { 0.5, 1 }
    series.observe(histogram, 0.7)
    series.observe(histogram, 2)
    text:histogram('a="b"', histogram)
    return text:finish()
  end

  it("is of version 0.0.4", function()
    assert.equal(table.concat({
      "# HELP x_total An x.", "# TYPE x_total counter", 'x_total{a="q\\"\\\\\\n??",b="Grüße"} 3', "x_total 0.25",
      "# HELP d_seconds A d.", "# TYPE d_seconds histogram", 'd_seconds_bucket{a="b",le="0.5"} 0',
      'd_seconds_bucket{a="b",le="1.0"} 1', 'd_seconds_bucket{a="b",le="+Inf"} 2',
      'd_seconds_sum{a="b"} 2.7',
      'd_seconds_count{a="b"} 2', "",
    }, "\n"), text_of(false))
  end)

  it("is OpenMetrics when asked for", function()
    local text = text_of(true)
    assert.matches("# TYPE x counter\n", text, 1, true)
    assert.matches('x_total{a=', text, 1, true)
    assert.matches("\n# EOF\n$", text)
  end)
end)

describe("a table of what was used last", function()
  it("forgets what was not used", function()
    local kept = recent.new(100)
    kept:set("a", 1)
    for i = 1, 10000 do
      kept:set(i, i)
      if i % 50 == 0 then assert.equal(1, kept:get "a") end
    end
    assert.is_nil(kept:get(1))
    assert.equal(10000, kept:get(10000))
    assert.is_true(kept.count <= 100)
  end)
end)
