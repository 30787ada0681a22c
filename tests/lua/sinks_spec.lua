-- SPDX-License-Identifier: Apache-2.0
local sinks = require "plainsight.output.sinks"

local kinds = { har = "plainsight.output.har", pcapng = "plainsight.output.pcapng" }

describe("sinks", function()
  local loaded, got = {}, {}

  setup(function()
    for target, name in pairs(kinds) do
      loaded[name] = package.loaded[name]
      package.loaded[name] = {
        open = function() return { item = function(_, item) got[target] = item end } end,
      }
    end
  end)

  teardown(function()
    for _, name in pairs(kinds) do package.loaded[name] = loaded[name] end
  end)

  it("give each the items that are masked for it", function()
    local all = assert(sinks.open { har = "x", pcapng = "y" })
    assert.is_true(all:has_wire())
    all:item("decoded", false)
    all:item("wire", true)
    assert.same({ har = "decoded", pcapng = "wire" }, got)
  end)

  it("say whether there is one for bytes as on the wire", function()
    assert.is_false(assert(sinks.open { har = "x" }):has_wire())
    assert.is_false(assert(sinks.open {}):has_wire())
  end)
end)
