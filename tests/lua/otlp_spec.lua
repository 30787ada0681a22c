-- SPDX-License-Identifier: Apache-2.0
local cjson = require "cjson"
local ffi = require "ffi"
local fixture = require "exchange_fixture"
local otlp = require "plainsight.telemetry.otlp"
local settings = require "plainsight.telemetry.otlp_settings"

local C = ffi.C

local function plain(attributes)
  local result = {}
  for _, attribute in ipairs(attributes) do
    local _, value = next(attribute.value)
    result[attribute.key] = value
  end
  return result
end

-- A sink whose collector accepts all; returns it, what was posted, and a function that lets time pass.
local function setup(answers, replay)
  local now, posted = ffi.cast("uint64_t", 5000000000), {}
  local client = { active = 0 }
  function client.post(_, url, body, _, done)
    posted[#posted + 1] = { url = url, body = cjson.decode(body) }
    local answer = answers and table.remove(answers, 1) or { status = 200, body = "{}", retry_after_s = 0 }
    if answer ~= "none" then done(answer) end
    return true
  end
  for _, name in ipairs { "perform", "close" } do client[name] = function() end end
  function client.wait(_, ms) now = now + ms * 1000000ULL end
  local config = settings.read({ otlp = "http://c:4318" }, function() end)
  config.clock, config.host = function() return now end, not replay and "box" or nil
  local opts = { clock_offset_ns = fixture.CLOCK_OFFSET_NS, replay = replay }
  local sink = otlp.new(opts, config, client, function() end, "agent (1)")
  local function pass(seconds)
    now = now + ffi.cast("uint64_t", seconds * 1e9)
    sink:tick(now)
  end
  return sink, posted, pass
end

local next_id = 0

local function item(spec)
  next_id = next_id + 1
  spec.id = next_id
  local ex = fixture.exchange(spec)
  return ffi.new("struct ps_item", { kind = C.PS_ITEM_EXCHANGE, exchange = ex }), ex
end

local function give(sink, spec)
  local one, ex = item(spec or {})
  sink:item(one)
  return ex
end

local function spans_of(posted)
  local spans = {}
  for _, request in ipairs(posted) do
    for _, resource in ipairs(request.body.resourceSpans or {}) do
      for _, span in ipairs(resource.scopeSpans[1].spans) do
        span.resource, span.attributes = plain(resource.resource.attributes), plain(span.attributes)
        spans[#spans + 1] = span
      end
    end
  end
  return spans
end

describe("the sink of --otlp", function()
  it("is waited for in a replay, unless its collector is in trouble", function()
    local sink, posted = setup(nil, "recording")
    for _ = 1, 5000 do give(sink) end
    assert.is_true(sink:catch_up())
    assert.equal(0, #posted)
    give(sink)
    assert.is_false(sink:catch_up())
    assert.is_true(sink:catch_up())
    assert.equal(5001, #spans_of(posted))
    assert.is_nil(spans_of(posted)[1].resource["host.name"])
    for _ = 1, 5001 do give(sink) end
    sink.spans.trouble = "refused"
    assert.is_true(sink:catch_up())
  end)

  it("sends a span with the names of the semantic conventions", function()
    local sink, posted, pass = setup()
    give(sink, {
      side = C.PS_SIDE_SERVER, local_end = { port = 8080 }, remote_end = { port = 40002 },
      request = fixture.request {
        method = "POST", target = "/users/42?a=b", body = "12345", headers = {
          { "Host", "api.test:8080" }, { "User-Agent", "curl/8" }, { "X-Forwarded-For", "192.0.2.7, 10.0.0.1" },
        },
      },
      response = fixture.response { status = 503 },
    })
    pass(0.5)
    assert.equal(0, #posted)
    pass(1)
    assert.equal("http://c:4318/v1/traces", posted[1].url)
    local span = spans_of(posted)[1]
    assert.equal("POST /users/{id}", span.name)
    assert.same({ 2, 2 }, { span.kind, span.status.code })
    assert.same({ fixture.FIRST_UNIX_NS, "1700000000124656789" }, { span.startTimeUnixNano, span.endTimeUnixNano })
    assert.same({
      ["http.request.method"] = "POST", ["http.response.status_code"] = "503", ["error.type"] = "503",
      ["url.scheme"] = "http", ["http.route"] = "/users/{id}", ["url.path"] = "/users/42", ["url.query"] = "a=b",
      ["client.address"] = "192.0.2.7", ["server.address"] = "api.test", ["server.port"] = "8080",
      ["network.protocol.name"] = "http", ["network.protocol.version"] = "1.1", ["network.transport"] = "tcp",
      ["network.peer.address"] = "127.0.0.1", ["network.peer.port"] = "40002", ["user_agent.original"] = "curl/8",
      ["http.request.body.size"] = "5", ["http.response.body.size"] = "6",
      ["plainsight.exchange.id"] = tostring(next_id),
    }, span.attributes)
    assert.same({ "box", "4242", "box:4242", "linux" }, { span.resource["host.name"], span.resource["process.pid"],
      span.resource["service.instance.id"], span.resource["os.type"] })
  end)

  it("tells a client's URL without credentials", function()
    local sink, posted, pass = setup()
    give(sink, { request = fixture.request { target = "http://ada:secret@a.test/users/1" } })
    give(sink, { request = fixture.request { target = "/x?q=1" }, response = fixture.response { status = 404 } })
    pass(2)
    local spans = spans_of(posted)
    assert.equal("http://REDACTED:REDACTED@a.test/users/1", spans[1].attributes["url.full"])
    assert.equal("/users/{id}", spans[1].attributes["url.template"])
    assert.equal(3, spans[1].kind)
    assert.is_nil(spans[1].status)
    assert.equal("http://localhost:8080/x?q=1", spans[2].attributes["url.full"])
    assert.same({ "404", 2 }, { spans[2].attributes["error.type"], spans[2].status.code })
  end)

  it("sends text that is valid whatever was captured", function()
    local sink, posted, pass = setup()
    for _, hostile in ipairs(fixture.hostile) do
      local text = hostile[1]
      give(sink, { request = fixture.request {
        method = text, target = "/" .. text, headers = { { "User-Agent", text }, { "Host", text } },
      } })
    end
    pass(2)
    assert.equal(#fixture.hostile, #spans_of(posted))
  end)

  it("counts in histograms, cumulatively", function()
    local sink, posted, pass = setup()
    for i = 1, 3 do give(sink, { side = C.PS_SIDE_SERVER, request = fixture.request { target = "/users/" .. i } }) end
    give(sink, { side = C.PS_SIDE_CLIENT })
    give(sink, { side = C.PS_SIDE_SERVER, response = false })
    pass(61)
    give(sink, { side = C.PS_SIDE_SERVER, request = fixture.request { target = "/users/9" } })
    pass(61)
    local totals = {}
    for _, request in ipairs(posted) do
      for _, resource in ipairs(request.body.resourceMetrics or {}) do
        for _, metric in ipairs(resource.scopeMetrics[1].metrics) do
          assert.equal(2, metric.histogram.aggregationTemporality)
          for _, point in ipairs(metric.histogram.dataPoints) do
            local name = metric.name .. (plain(point.attributes)["http.route"] or "")
            totals[name] = totals[name] or {}
            table.insert(totals[name], tonumber(point.count))
            assert.equal(#point.explicitBounds + 1, #point.bucketCounts)
            local sum = 0
            for _, count in ipairs(point.bucketCounts) do sum = sum + count end
            assert.equal(tonumber(point.count), sum)
          end
        end
      end
    end
    assert.same({ 3, 4 }, totals["http.server.request.duration/users/{id}"])
    assert.same({ 3, 4 }, totals["http.server.response.body.size/users/{id}"])
    assert.same({ 1, 1 }, totals["http.server.request.body.size/x"])
    assert.is_nil(totals["http.server.request.duration/x"])
    assert.same({ 1, 1 }, totals["http.client.request.duration"])
  end)

  it("does not tell of its own traffic", function()
    local sink, posted, pass = setup()
    give(sink, { request = fixture.request { headers = { { "User-Agent", "agent (1)" } } } })
    give(sink, { request = fixture.request { headers = { { "User-Agent", "agent (2)" } } } })
    pass(2)
    assert.equal(1, #spans_of(posted))
    assert.equal(1, sink:counts().own_exchanges)
  end)

  it("drops and counts what does not fit into the queue", function()
    local answers = {}
    for i = 1, 100 do answers[i] = "none" end
    local sink, _, pass = setup(answers)
    local one, ex = item {}
    for i = 1, 40000 do
      ex.id = 100000 + i
      sink:item(one)
      if i % 1000 == 0 then pass(0.001) end
    end
    pass(2)
    sink:finish()
    local counts = sink:counts()
    local dropped = 0
    for _, count in pairs(counts.spans_dropped) do dropped = dropped + count end
    assert.equal(0, counts.spans_sent)
    assert.equal(40000, dropped)
    assert.is_true(counts.spans_dropped.queue > 0)
    assert.is_true(counts.spans_dropped.shutdown >= 10000)
    assert.matches("^otlp: 0 spans sent, 40000 dropped %(%d+ too many waited, %d+ left at the end%)$", sink:lines()[1])
  end)
end)

describe("the settings of --otlp", function()
  local function read(opts, variables)
    return settings.read(opts, function(name) return (variables or {})[name] end)
  end

  it("are those of the option and of the environment", function()
    local config = read { otlp = "https://c.test/base/" }
    assert.same({ "https://c.test/base/v1/traces", "https://c.test/base/v1/metrics", 10000, false },
      { config.traces_url, config.metrics_url, config.timeout_ms, config.gzip })
    assert.equal("http://localhost:4318/v1/traces", read({ otlp = "-" }).traces_url)
    config = read({ otlp = "-", otlp_headers = { { name = "x-key", value = "1=2" } } }, {
      OTEL_EXPORTER_OTLP_ENDPOINT = "http://e:1", OTEL_EXPORTER_OTLP_METRICS_ENDPOINT = "http://m:2/x",
      OTEL_EXPORTER_OTLP_HEADERS = "authorization=Bearer%20abc, a=b", OTEL_EXPORTER_OTLP_COMPRESSION = "gzip",
      OTEL_EXPORTER_OTLP_TIMEOUT = "500", OTEL_METRIC_EXPORT_INTERVAL = "1000",
      OTEL_RESOURCE_ATTRIBUTES = "deployment.environment.name=test", OTEL_EXPORTER_OTLP_CERTIFICATE = "/ca.pem",
    })
    assert.same({ "http://e:1/v1/traces", "http://m:2/x", 500, true, "/ca.pem" },
      { config.traces_url, config.metrics_url, config.timeout_ms, config.gzip, config.ca_file })
    assert.same({ "authorization: Bearer abc", "a: b", "x-key: 1=2" }, config.headers)
    assert.same({ { name = "deployment.environment.name", value = "test" } }, config.resource)
  end)

  it("are refused when they make no sense", function()
    for _, case in ipairs {
      { { otlp = "-" }, { OTEL_EXPORTER_OTLP_ENDPOINT = "c:4317" }, "no URL" },
      { { otlp = "http://c" }, { OTEL_EXPORTER_OTLP_HEADERS = "nonsense" }, "NAME=VALUE" },
      { { otlp = "http://c" }, { OTEL_EXPORTER_OTLP_HEADERS = "a=b%0d%0aX: y" }, "header" },
      { { otlp = "http://c" }, { OTEL_EXPORTER_OTLP_TIMEOUT = "soon" }, "milliseconds" },
      { { otlp = "http://c", otlp_headers = { { name = "a b", value = "" } } }, {}, "header" },
    } do
      local config, err = read(case[1], case[2])
      assert.is_nil(config)
      assert.matches(case[3], err)
    end
  end)
end)
