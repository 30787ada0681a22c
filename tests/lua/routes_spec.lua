-- SPDX-License-Identifier: Apache-2.0
local routes = require "plainsight.routes"

local function route_of(path, is_missing) return routes.new():route("", path, is_missing) end

describe("routes", function()
  it("keep words", function()
    for _, path in ipairs {
      "/", "/users", "/users/", "/api/v1/health-check", "/a//b", "/.well-known/openid-configuration",
      "/my-great-article-of-spring", "/deadbeef", "/index.html", "/facade", "/static/app.js", "/a:batch", "/x/@me",
    } do
      assert.equal(path, route_of(path))
    end
  end)

  it("know identifiers by their form", function()
    for path, route in pairs {
      ["/users/42"] = "/users/{id}",
      ["/users/42/posts/7"] = "/users/{id}/posts/{id2}",
      ["/o/3f2504e0-4f89-11d3-9a0c-0305e82c3301"] = "/o/{id}",
      ["/c/9fceb02d0ae598e95dc970b74767f19372d61af8"] = "/c/{id}",
      ["/c/9fceb02d"] = "/c/{id}",
      ["/days/2024-02-29"] = "/days/{date}",
      ["/at/2024-02-29T10:00:00Z/x"] = "/at/{date}/x",
      ["/s/dGhpcyBpcyBhIHRlc3Q1MjM"] = "/s/{token}",
      ["/customers/cus_9s6XKzkNRiz8i3"] = "/customers/{id}",
      ["/orders/order-17"] = "/orders/{id}",
      ["/img/17.png"] = "/img/{id}.png",
      ["/u/ada@example.org"] = "/u/{email}",
      ["/u/[redacted:email-address:0a1b2c3d]/x"] = "/u/{email}/x",
      ["/u/[redacted:iban:0a1b2c3d]"] = "/u/{token}",
      ["/q/caf%C3%A9"] = "/q/{token}",
      ["/q/\27[31m"] = "/q/{token}",
      ["/" .. ("x"):rep(65)] = "/{token}",
    } do
      assert.equal(route, route_of(path))
    end
  end)

  it("make a parameter of a position with too many words, with what is below it", function()
    local all = routes.new { children_max = 3 }
    for _, name in ipairs { "ada", "bob", "eve" } do
      assert.equal("/p/" .. name .. "/posts", all:route("", "/p/" .. name .. "/posts"))
    end
    assert.equal("/p/{slug}/posts", all:route("", "/p/mallory/posts"))
    assert.equal("/p/{slug}/posts", all:route("", "/p/ada/posts")) -- also those that were known
    assert.equal("/p/{slug}", all:route("", "/p/ada"))
    assert.equal("/q", all:route("", "/q"))
    assert.equal("/p/ada", all:route("another server", "/p/ada"))
  end)

  it("are bounded whatever is asked for", function()
    local all, seen, count = routes.new(), {}, 0
    local words = { "a", "b", "c", "d", "e", "f", "g" }
    for i = 1, 20000 do
      local path = {}
      for depth = 1, 6 do path[depth] = words[(i * depth * 7919) % 7 + 1]:rep((i * depth * 104729) % 60 + 1) end
      local route = all:route("h" .. i % 400, "/" .. table.concat(path, "/"))
      if not seen[route] then seen[route], count = true, count + 1 end
    end
    assert.is_true(all.scope_count <= 257)
    assert.is_true(all.node_count <= 20000, all.node_count .. " nodes")
    assert.is_true(count < 15000, count .. " routes") -- cut by the number of nodes, not by that of paths
    assert.is_true(all.cache_count <= 8192)
  end)

  it("keep only a few endings of parameters", function()
    local all, seen, count = routes.new(), {}, 0
    for i = 1, 100 do
      local route = all:route("", "/17." .. string.char(97 + i % 26) .. i % 4)
      if not seen[route] then seen[route], count = true, count + 1 end
    end
    assert.equal(9, count)
    assert.is_true(seen["/{id}"])
  end)

  it("learn only a few of the paths that a server does not know", function()
    local all, known = routes.new(), 0
    for i = 1, 500 do
      local word = ("x"):rep(i % 20 + 1) .. ("y"):rep(i % 25 + 1)
      if all:route("", "/" .. word, true) == "/" .. word and i <= 100 then known = known + 1 end
    end
    assert.equal(8, known)
    assert.equal("/users", all:route("", "/users")) -- there is still room for those that it knows
    assert.equal("/users", all:route("", "/users", true))
    assert.is_nil(all:route("", "/wp-admin", true))
    assert.equal("/users/{id}", all:route("", "/users/1", true))
  end)

  it("have parameters with the values of a path", function()
    assert.same({ { name = "id", value = "42" }, { name = "id2", value = "7" } },
      routes.parameters("/users/{id}/posts/{id2}.json", "/users/42/posts/7.json"))
    assert.same({}, routes.parameters("/users", "/users"))
  end)
end)
