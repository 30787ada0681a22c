-- SPDX-License-Identifier: Apache-2.0
local ffi = require "ffi"
local filters = require "plainsight.filters"
local fixture = require "tests.lua.exchange_fixture"

describe("filters", function()
  -- A GET that took 5 ms from its first byte to the last of its response.
  local function exchange(spec)
    spec = spec or {}
    return fixture.exchange {
      side = spec.side,
      request = spec.request ~= false and fixture.request {
        target = spec.target or "/api/users?page=2", headers = { { "Host", "Example.org:8080" } },
        first_ts_ns = 1000000,
      },
      response = spec.response ~= false and fixture.response {
        status = spec.status or 200, first_ts_ns = 2000000, last_ts_ns = 6000000,
      },
    }
  end

  local function shown(opts, spec)
    if opts.status then opts.status = assert(filters.parse_status(opts.status)) end
    return filters.new(opts)(exchange(spec))
  end

  it("are none without options", function() assert.is_nil(filters.new({})) end)

  it("know methods", function()
    assert.is_true(shown({ method = "GET" }))
    assert.is_true(shown({ method = "PUT,GET" }))
    assert.is_false(shown({ method = "get" }))
    assert.is_false(shown({ method = "POST" }))
    assert.is_false(shown({ method = "GET" }, { request = false }))
  end)

  it("know codes, classes and no response", function()
    assert.is_true(shown({ status = "200" }))
    assert.is_true(shown({ status = "404,2xx" }))
    assert.is_false(shown({ status = "404" }))
    assert.is_true(shown({ status = "5XX" }, { status = 503 }))
    assert.is_false(shown({ status = "5xx" }, { status = 499 }))
    assert.is_true(shown({ status = "none" }, { response = false }))
    assert.is_false(shown({ status = "2xx" }, { response = false }))
    assert.is_false(shown({ status = "none" }))
  end)

  it("refuse what is no status", function()
    for _, text in ipairs { "", "20x", "0xx", "2000", "404,", "abc", "-1" } do
      local test, wrong = filters.parse_status(text)
      assert.is_nil(test)
      assert.is_string(wrong)
    end
  end)

  it("compare hosts without regard to case, with or without the port", function()
    assert.is_true(shown({ host = "example.org" }))
    assert.is_true(shown({ host = "EXAMPLE.org:8080" }))
    assert.is_true(shown({ host = "*.org" }))
    assert.is_false(shown({ host = "example.org:80" }))
    assert.is_false(shown({ host = "ample.org" }))
    assert.is_false(shown({ host = "exampleXorg" }))
    local h2 = fixture.exchange { request = fixture.request_h2(), response = fixture.response_h2() }
    assert.is_true(filters.new({ host = "a.test" })(h2))
    assert.is_false(filters.new({ host = "b.test" })(h2))
  end)

  it("compare whole paths without the query", function()
    assert.is_true(shown({ path = "/api/users" }))
    assert.is_true(shown({ path = "/api/*" }))
    assert.is_true(shown({ path = "*users" }))
    assert.is_false(shown({ path = "/api" }))
    assert.is_true(shown({ path = "/api" }, { target = "http://example.org/api?x=/y" }))
    assert.is_true(shown({ path = "/a.b+c" }, { target = "/a.b+c" }))
    assert.is_false(shown({ path = "/a.b" }, { target = "/aXb" }))
  end)

  it("measure from the first byte of the request to the last of the response", function()
    assert.is_true(shown({ min_ms = 5 }))
    assert.is_false(shown({ min_ms = 5.1 }))
    assert.is_false(shown({ min_ms = 0 }, { response = false }))
  end)

  it("know sides", function()
    assert.is_true(shown({ side = "client" }))
    assert.is_false(shown({ side = "server" }))
    assert.is_true(shown({ side = "server" }, { side = ffi.C.PS_SIDE_SERVER }))
  end)

  it("must all hold", function()
    assert.is_true(shown({ method = "GET", status = "2xx", path = "/api/*", host = "example.org" }))
    assert.is_false(shown({ method = "GET", status = "5xx" }))
  end)
end)
