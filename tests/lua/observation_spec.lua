-- SPDX-License-Identifier: Apache-2.0
local ffi = require "ffi"
local fixture = require "exchange_fixture"
local observation = require "plainsight.telemetry.observation"

local C = ffi.C
local next_id = 0

local function observe(spec)
  next_id = next_id + 1
  spec.id = next_id
  return observation.new({}):of(fixture.exchange(spec))
end

local function of_target(target, changes)
  changes = changes or {}
  changes.target = target
  return observe { request = fixture.request(changes) }
end

describe("an observation", function()
  it("has the parts of a target", function()
    local seen = of_target("/users/42?limit=1#x")
    assert.same({ "/users/42", "limit=1", "/users/{id}", "http", "localhost", 8080 },
      { seen.path, seen.query, seen.route, seen.scheme, seen.host, seen.port })
    seen = of_target("https://ada:secret@Example.org:8443?q")
    assert.same({ "/", "q", "/", "https", "example.org", 8443 },
      { seen.path, seen.query, seen.route, seen.scheme, seen.host, seen.port })
    seen = of_target("*", { method = "OPTIONS" })
    assert.same({ "OPTIONS" }, { seen.method, seen.path, seen.route })
    seen = of_target("example.org:443", { method = "CONNECT" })
    assert.same({ "example.org", 443 }, { seen.host, seen.port, seen.path })
  end)

  it("has the host that the request names, else the server's address", function()
    local function host(value, changes)
      local spec = { request = fixture.request { headers = value and { { "Host", value } } or {} } }
      for key, change in pairs(changes or {}) do spec[key] = change end
      local seen = observe(spec)
      return { seen.host, seen.port }
    end
    assert.same({ "a.test", 80 }, host "A.test")
    assert.same({ "::1", 8443 }, host "[::1]:8443")
    assert.same({ "127.0.0.1", 8080 }, host(nil))
    assert.same({ "127.0.0.1", 40002 }, host(nil, { side = C.PS_SIDE_SERVER }))
    assert.same({ "127.0.0.1", 8080 }, host "no host\27[31m")
    assert.same({ "127.0.0.1", 8080 }, host(("x"):rep(300)))
    assert.same({ "a.test", 443 }, host("a.test", { library = 1 }))
  end)

  it("knows the methods of HTTP and no other", function()
    local seen = of_target("/", { method = "BREW" })
    assert.same({ "_OTHER", "BREW" }, { seen.method, seen.original_method })
    seen = of_target("/", { method = "get" })
    assert.same({ "_OTHER", "get" }, { seen.method, seen.original_method })
    assert.is_nil(of_target("/").original_method)
  end)

  it("says what kind of error it was", function()
    local function kind(side, status, changes)
      local spec = { side = side, response = status and fixture.response { status = status } or false }
      for key, value in pairs(changes or {}) do spec[key] = value end
      return observe(spec).error_type
    end
    assert.is_nil(kind(C.PS_SIDE_CLIENT, 200))
    assert.equal("404", kind(C.PS_SIDE_CLIENT, 404))
    assert.is_nil(kind(C.PS_SIDE_SERVER, 404))
    assert.equal("503", kind(C.PS_SIDE_SERVER, 503))
    assert.equal("connection_closed", kind(C.PS_SIDE_SERVER, nil, { missing_flags = C.PS_MESSAGE_ABORTED }))
    assert.is_nil(kind(C.PS_SIDE_SERVER, nil, { missing_flags = C.PS_MESSAGE_UNFINISHED }))
    assert.is_nil(kind(C.PS_SIDE_SERVER, nil, { missing_flags = C.PS_MESSAGE_LOST_TAIL }))
    assert.equal("CANCEL", kind(C.PS_SIDE_CLIENT, nil, { flags = C.PS_EXCHANGE_RESET, error_code = 8 }))
  end)

  it("has times and sizes", function()
    local seen = observe {}
    assert.near(0.0012, seen.duration_s, 1e-9)
    assert.same({ 0, 6, "1.1", 200 }, { seen.request_bytes, seen.response_bytes, seen.version, seen.status })
    seen = observe { response = false }
    assert.is_nil(seen.duration_s)
    assert.is_false(seen.has_response)
    seen = observe { request = false }
    assert.same({ "_OTHER", 200 }, { seen.method, seen.status })
  end)

  it("is made once for an exchange", function()
    local observer = observation.new {}
    local ex = fixture.exchange { id = 4711 }
    assert.equal(observer:of(ex), observer:of(ex))
  end)

  it("has no route for what a server does not know, beyond the first few", function()
    local observer, last = observation.new({}), nil
    for i = 1, 20 do
      last = observer:of(fixture.exchange {
        id = i, request = fixture.request { target = "/" .. ("a"):rep(i) },
        response = fixture.response { status = 404 },
      })
    end
    assert.is_nil(last.route)
  end)
end)
