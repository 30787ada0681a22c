-- SPDX-License-Identifier: Apache-2.0
local ffi = require "ffi"
local fixture = require "exchange_fixture"
local observation = require "plainsight.telemetry.observation"
local trace = require "plainsight.telemetry.trace"

local C = ffi.C
local T, P = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
local TRACEPARENT = ("00-%s-%s-01"):format(T, P)

local next_id = 0

-- One view of an exchange between port 40002 (client) and 8080 (server).
local function view(side, changes)
  next_id = next_id + 1
  local spec = { id = next_id, side = side == "client" and C.PS_SIDE_CLIENT or C.PS_SIDE_SERVER, conn_id = next_id }
  spec.local_end = { port = side == "client" and 40002 or 8080 }
  spec.remote_end = { port = side == "client" and 8080 or 40002 }
  for key, value in pairs(changes or {}) do spec[key] = value end
  return fixture.exchange(spec)
end

local function with_headers(...) return fixture.request { headers = { { "Host", "a" }, ... } } end

local function context_of(...) return trace.context(fixture.exchange { request = with_headers(...) }.request) end

describe("trace context", function()
  it("is read from traceparent", function()
    assert.same({ trace = T, span = P, flags = 1 }, context_of({ "Traceparent", TRACEPARENT }))
    assert.same({ trace = T, span = P, flags = 0 }, context_of({ "traceparent", ("00-%s-%s-00"):format(T, P) }))
    assert.same({ trace = T, span = P, flags = 1 }, context_of({ "traceparent", ("cc-%s-%s-01-more"):format(T, P) }))
  end)

  it("is none when it is not valid", function()
    for _, value in ipairs {
      "", "00", ("ff-%s-%s-01"):format(T, P), ("00-%s-%s-01-more"):format(T, P), ("00-%s-%s"):format(T, P),
      ("00-%s-%s-01"):format(T:upper(), P), ("00-%s-%s-01"):format(("0"):rep(32), P), ("cc-%s-%s-01x"):format(T, P),
      ("00-%s-%s-01"):format(T, ("0"):rep(16)), ("00-%s-%s-01"):format(T:sub(2), P .. "0"), ("x"):rep(100000),
    } do
      assert.is_nil(context_of({ "traceparent", value }))
    end
  end)

  it("is read from both forms of B3", function()
    assert.same({ trace = T, span = P, flags = 1 }, context_of({ "b3", T .. "-" .. P .. "-1" }))
    assert.same({ trace = T, span = P, flags = 0 }, context_of({ "b3", T .. "-" .. P .. "-0-" .. P }))
    assert.same({ trace = T, span = P, flags = 1 }, context_of({ "b3", T .. "-" .. P }))
    assert.same({ trace = ("0"):rep(16) .. P, span = P, flags = 1 },
      context_of({ "X-B3-TraceId", P }, { "X-B3-SpanId", P }, { "X-B3-Sampled", "1" }))
    assert.is_nil(context_of({ "b3", "0" }))
    assert.is_nil(context_of({ "x-b3-traceid", P }))
    assert.is_nil(context_of({ "b3", "zz" .. T:sub(3) .. "-" .. P }))
  end)
end)

describe("spans", function()
  local tracer, observer

  before_each(function() tracer, observer = trace.new(), observation.new {} end)

  local function begin(ex) return tracer:begin(ex, observer:of(ex)) end

  local function resolved(ids)
    local trace_id, span, parent, flags = tracer:resolve(ids)
    return { trace = trace_id, span = span, parent = parent, flags = flags }
  end

  it("of both views of an exchange form a tree, whichever ends first", function()
    for _, order in ipairs { { "client", "server" }, { "server", "client" } } do
      tracer = trace.new()
      local ids = {}
      for _, side in ipairs(order) do ids[side] = begin(view(side)) end
      local client, server = resolved(ids.client), resolved(ids.server)
      assert.equal(client.trace, server.trace)
      assert.is_nil(client.parent)
      assert.equal(client.span, server.parent)
      assert.not_equal(client.span, server.span)
      assert.equal(32, #client.trace)
      assert.equal(16, #client.span)
    end
  end)

  it("are the same in another run", function()
    local first = resolved(begin(view "client"))
    tracer = trace.new()
    assert.same(first, resolved(begin(view "client")))
  end)

  it("of a server alone are roots", function()
    assert.is_nil(resolved(begin(view "server")).parent)
  end)

  it("have the span of the trace context as their parent", function()
    local request = with_headers { "traceparent", TRACEPARENT }
    local client, server = begin(view("client", { request = request })), begin(view("server", { request = request }))
    client, server = resolved(client), resolved(server)
    assert.same({ T, P, T, P }, { client.trace, client.parent, server.trace, server.parent })
    assert.not_equal(client.span, server.span)
    assert.not_equal(P, client.span)
    assert.equal(0x301, server.flags)
  end)

  it("of a process that passes a context on are children of what it received", function()
    local function of_process(tgid)
      return fixture.request { headers = { { "traceparent", TRACEPARENT } }, process = { tgid = tgid } }
    end
    local sent = begin(view("client", { request = of_process(7), remote_end = { port = 9090 } }))
    local received = begin(view("server", { request = of_process(7) }))
    local other = begin(view("client", { request = of_process(8) }))
    assert.equal(resolved(received).span, resolved(sent).parent)
    assert.equal(P, resolved(received).parent)
    assert.equal(P, resolved(other).parent)
    assert.equal(0x101, resolved(sent).flags)
  end)

  it("of requests that are the same again on a connection differ, alike on both sides", function()
    local seen, pairs_of = {}, {}
    for i = 1, 3 do pairs_of[i] = { client = begin(view "client") } end
    for i = 1, 3 do pairs_of[i].server = begin(view "server") end
    for i = 1, 3 do
      local client, server = resolved(pairs_of[i].client), resolved(pairs_of[i].server)
      assert.equal(client.trace, server.trace)
      assert.equal(client.span, server.parent)
      assert.is_nil(seen[client.trace])
      seen[client.trace] = true
    end
  end)

  it("know an address of IPv4 in a socket for both families", function()
    local mapped = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1 }
    local client = begin(view "client")
    local server = begin(view("server", {
      local_end = { family = C.PS_FAMILY_INET6, addr = mapped, port = 8080 },
      remote_end = { family = C.PS_FAMILY_INET6, addr = mapped, port = 40002 },
    }))
    assert.equal(resolved(client).span, resolved(server).parent)
  end)

  it("of unix sockets are not matched: their ends have no address of their own", function()
    local client, server = begin(view("client", { unix_path = "/s" })), begin(view("server", { unix_path = "/s" }))
    assert.not_equal(resolved(client).trace, resolved(server).trace)
    assert.is_nil(resolved(server).parent)
  end)
end)
