-- SPDX-License-Identifier: Apache-2.0
local series = require "plainsight.output.series"

local S = 1000000000ULL

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

describe("series", function()
  it("has one file without rotation, whatever is in its name", function()
    local one = series.new("/tmp/a%Y.har", {})
    assert.equal("/tmp/a%Y.har", one:begin())
    assert.is_false(one:is_due(1e12, 1ULL))
    assert.is_false(one:is_due(1e12, 1000 * S))
  end)

  it("numbers files before the ending of their name", function()
    for name, second in pairs {
      ["/x.y/trace.har"] = "/x.y/trace.1.har", ["trace"] = "trace.1", ["/x.y/trace"] = "/x.y/trace.1",
      ["a.b.pcapng"] = "a.b.1.pcapng", ["/x/.hidden"] = "/x/.hidden.1",
    } do
      local one = series.new(name, { rotate_mib = 1 })
      assert.equal(name, one:begin())
      assert.equal(second, one:begin())
    end
  end)

  it("is due by size, not before something is in the file", function()
    local one = series.new("x", { rotate_mib = 2 })
    one:begin()
    assert.is_false(one:is_due(2097152, 1ULL))
    assert.is_false(one:is_due(2097151, 1ULL))
    assert.is_true(one:is_due(2097152, 1ULL))
  end)

  it("is due by the age of what came first", function()
    local one = series.new("x", { rotate_s = 1.5 })
    one:begin()
    assert.is_false(one:is_due(0, 100 * S))
    assert.is_false(one:is_due(0, 101 * S))
    assert.is_true(one:is_due(0, 102 * S))
    one:begin()
    assert.is_false(one:is_due(0, 200 * S))
  end)

  it("puts the time into names, and a number when it is the same", function()
    local one = series.new("!a-%Y-%%-%q", { rotate_s = 1 })
    local name = "!a-" .. os.date("%Y") .. "-%-"
    local first = one:begin()
    assert.equal(name, first:sub(1, #name))
    assert.equal(first .. ".1", one:begin())
  end)

  it("keeps the last files of this run, and no other", function()
    local base = os.tmpname()
    local one = series.new(base, { rotate_mib = 1, rotate_keep = 2 })
    local other = base .. ".9"
    for _, path in ipairs { one:begin(), one:begin(), one:begin(), other } do io.open(path, "w"):close() end
    one:prune()
    assert.same({ false, true, true, true },
      { exists(base), exists(base .. ".1"), exists(base .. ".2"), exists(other) })
    for _, ending in ipairs { ".1", ".2", ".9" } do os.remove(base .. ending) end
  end)
end)
