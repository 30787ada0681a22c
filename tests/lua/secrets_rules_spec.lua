-- SPDX-License-Identifier: Apache-2.0
local engine = require "plainsight.secrets.engine"
local files = require "plainsight.files"
local list = require "plainsight.secrets.list"
local paths = require "plainsight.paths"
local rules = require "plainsight.secrets.rules"
local samples = require "plainsight.secrets.samples"

local builtin = rules.builtin()
local compiled = assert(engine.new(builtin))

-- Ids of the rules that find something in a text, as a set, and as text.
local function found_in(text)
  local set, names = {}, {}
  for _, match in ipairs(compiled:scan(text)) do
    set[match.rule.id] = true
    names[#names + 1] = match.rule.id
  end
  return set, table.concat(names, " ")
end

describe("rules for masking alone", function()
  local masking = rules.masking()
  local finder = assert(engine.new(masking))

  local function finds(rule, text)
    for _, match in ipairs(finder:scan(text)) do
      if match.rule.id == rule.id then return true end
    end
    return false
  end

  it("have ids that no other rule has", function()
    local ids = {}
    for _, rule in ipairs(builtin) do ids[rule.id] = true end
    for _, rule in ipairs(masking) do assert.is_nil(ids[rule.id], rule.id) end
  end)

  for _, rule in ipairs(masking) do
    it(rule.id .. " finds its examples and nothing else", function()
      local examples, lookalikes = rules.samples(rule)
      assert.is_true(#examples > 0 and #lookalikes > 0)
      for _, text in ipairs(examples) do assert.is_true(finds(rule, text), text) end
      for _, text in ipairs(lookalikes) do assert.is_false(finds(rule, text), text) end
    end)
  end
end)

describe("built-in rules", function()
  it("are of all families, in their order", function()
    local order, seen = {}, {}
    for _, rule in ipairs(builtin) do
      if not seen[rule.family] then order[#order + 1] = rule.family end
      seen[rule.family] = true
    end
    assert.same(rules.families, order)
    for _, family in ipairs(rules.families) do assert.is_string(rules.titles[family]) end
  end)

  it("are the same when they are read again", function()
    assert.equal(#builtin, #rules.builtin())
    assert.equal(builtin[1], rules.builtin()[1])
  end)

  it("have keywords in lower case, checks that exist, and samples of both kinds", function()
    for _, rule in ipairs(builtin) do
      for _, keyword in ipairs(rule.keywords or {}) do assert.equal(keyword:lower(), keyword, rule.id) end
      for _, provider in ipairs(rule.providers or {}) do assert.equal(provider:lower(), provider, rule.id) end
      if rule.check then assert.is_number(engine.check(rule.check), rule.id) end
      assert.is_true(#rule.examples > 0 and #rule.lookalikes > 0, rule.id)
    end
  end)

  for _, rule in ipairs(builtin) do
    local examples, lookalikes = rules.samples(rule)
    it(rule.id .. " finds its examples and nothing else", function()
      for _, text in ipairs(examples) do
        local set, names = found_in(text)
        assert.is_true(set[rule.id], ("%s is found by: %s"):format(text, names))
      end
      for _, text in ipairs(lookalikes) do assert.is_nil((found_in(text))[rule.id], text) end
    end)
  end

  it("find no token in the sources of the project", function()
    local sources = { "lua/plainsight/secrets/patterns.lua", "lua/plainsight/secrets/samples.lua" }
    for _, directory in ipairs { "lua/plainsight/secrets/rules", "tests/secrets/corpus" } do
      for _, name in ipairs(assert(files.list(paths.file(directory)))) do
        if name:find("%.lua$") or name:find("%.py$") then sources[#sources + 1] = directory .. "/" .. name end
      end
    end
    assert.is_true(#sources > 10)
    for _, name in ipairs(sources) do
      for _, match in ipairs(compiled:scan(assert(paths.read(paths.file(name))))) do
        local is_by_name = match.rule.family == "fields" or match.rule.family == "generic" -- also words of code
        assert.is_true(match.rule.kind == "personal" or is_by_name, ("%s: %s"):format(name, match.rule.id))
      end
    end
  end)
end)

describe("samples", function()
  it("are always the same, of the length that is asked for", function()
    assert.equal(samples.expand "x<alnum:36>y", samples.expand "x<alnum:36>y")
    assert.matches("^x%w+y$", samples.expand "x<alnum:36>y")
    assert.equal(38, #samples.expand "x<alnum:36>y")
    assert.matches("^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-a%x%x%x%-%x+$", samples.expand "<uuid>")
    assert.equal("aGk= aGk ab", samples.expand "<b64:hi> <b64url:hi> a<>b")
    assert.equal("<nothing:3>", samples.expand "<nothing:3>")
  end)
end)

describe("list of rules", function()
  it("has a line for each", function()
    local _, lines = list.text(builtin):gsub("\n", "")
    assert.equal(#builtin, lines)
    assert.matches("jwt +high +credential +JSON Web Token", list.text(builtin))
  end)

  it("of the manual page is up to date (scripts/man-rules writes it)", function()
    local page = assert(paths.read(paths.file("man/secretscan.8")))
    assert.is_true(list.with_rules(page, builtin) == page)
  end)
end)

describe("merge", function()
  it("puts a rule in the place of the one with its id", function()
    local all = { { id = "a" }, { id = "b" } }
    rules.merge(all, { { id = "b", new = true }, { id = "c" } })
    assert.same({ { id = "a" }, { id = "b", new = true }, { id = "c" } }, all)
  end)
end)
