-- SPDX-License-Identifier: Apache-2.0
local engine = require "plainsight.secrets.engine"
local gitleaks = require "plainsight.secrets.gitleaks"
local go_regex = require "plainsight.secrets.go_regex"

local function read(text)
  return assert(gitleaks.parse(text, "rules.toml"))
end

local function refused(text)
  local result, message = gitleaks.parse(text, "rules.toml")
  assert.is_nil(result)
  return message
end

describe("rule files of gitleaks", function()
  it("are read into rules", function()
    local result = read [==[
title = "mine"
[[rules]]
id = "thing"
description = "A thing"
regex = '''(?i)(thing)-([a-z0-9]{8})'''
secretGroup = 2
entropy = 2.5
keywords = ["Thing-"]
tags = ["x"]
[rules.allowlist]
regexes = ['''^0+$''']
stopwords = ["EXAMPLE"]
]==]
    assert.same({}, result.notes)
    local rule = result.rules[1]
    assert.same({ "thing", "A thing", "(?i)(thing)-([a-z0-9]{8})", 2, 2.5, "high", "credential" },
      { rule.id, rule.description, rule.pattern, rule.secret_group, rule.entropy, rule.severity, rule.kind })
    assert.same({ "thing-" }, rule.keywords)
    assert.same({ { patterns = { "^0+$" }, stopwords = { "example" }, target = "secret", condition = "or" } },
      rule.allows)
  end)

  it("find what they say, and not what they allow", function()
    local result = read [==[
[[rules]]
id = "thing"
regex = '''thing-(?P<value>[a-z0-9]{8})\b'''
keywords = ["thing"]
[[rules.allowlists]]
condition = "AND"
regexes = ['''^dead''']
stopwords = ["beef"]
[[rules.allowlists]]
regexTarget = "line"
regexes = ['''# nothing$''']
[[rules]]
id = "other"
regex = '''other-\w+'''
[allowlist]
stopwords = ["zzz"]
[[allowlists]]
targetRules = ["other"]
regexTarget = "match"
regexes = ['''^other-x''']
]==]
    assert.same({}, result.notes)
    local compiled = assert(engine.new(result.rules, nil, { no_cache = true }))
    local function secrets(text)
      local found = {}
      for i, match in ipairs(compiled:scan(text)) do found[i] = match.secret end
      return found
    end
    assert.same({ "abcd1234" }, secrets "a thing-abcd1234 b")
    assert.same({}, secrets "a thing-deadbeef b")
    assert.same({ "dead1234" }, secrets "a thing-dead1234 b")
    assert.same({}, secrets "thing-abcd1234 # nothing")
    assert.same({}, secrets "thing-abcdzzz1")
    assert.same({ "other-a" }, secrets "other-a other-x1 other-zzz")
  end)

  it("are told of, line by line, where they use what has no meaning here", function()
    local result = read [==[
minVersion = "v8.25.0"
[extend]
useDefault = true
url = "https://rules.test/"
[[rules]]
id = "in-files"
regex = '''x'''
path = '''\.tf$'''
[[rules]]
id = "with-others"
regex = '''x'''
[[rules.required]]
id = "in-files"
[[rules]]
id = "kept"
regex = '''x'''
colour = "red"
[[rules.allowlists]]
condition = "AND"
paths = ['''a''']
regexes = ['''b''']
[[rules.allowlists]]
commits = ["abc"]
regexes = ['''b''', '''\pL''']
[[rules]]
id = "unicode"
regex = '''[äö]'''
]==]
    assert.same({
      "rules.toml:1: minVersion of the file is not supported: it is about gitleaks",
      "rules.toml:3: useDefault of extend is not supported: gitleaks' own rules are not part of Plainsight: give "
        .. "their file with --rules as well",
      "rules.toml:4: url of extend is not supported: nothing is fetched: save the file and give it with path",
      "rules.toml:8: path of rule in-files is not supported: traffic has no files; the rule is left out",
      "rules.toml:12: required of rule with-others is not supported: it depends on other findings nearby; the rule "
        .. "is left out",
      "rules.toml:17: colour of rule kept is not known, and not used",
      "rules.toml:20: paths of an allowlist of rule kept is not supported: traffic has no files",
      "rules.toml:19: an allowlist of rule kept is not used: not all of what it wants (condition AND) can be found",
      "rules.toml:23: commits of an allowlist of rule kept is not supported: traffic has no commits",
      "rules.toml:24: an expression of an allowlist of rule kept is not used: has \\p: classes of Unicode are not "
        .. "supported",
      "rules.toml:27: rule unicode is left out: its regex has a character beyond ASCII in a class",
    }, result.notes)
    assert.equal(1, #result.rules)
    assert.equal(1, #result.rules[1].allows)
  end)

  it("build on each other", function()
    local base = os.tmpname()
    local file = assert(io.open(base, "w"))
    file:write [==[
[[rules]]
id = "a"
description = "first"
regex = '''a(\d)'''
keywords = ["a"]
[rules.allowlist]
stopwords = ["1"]
[[rules]]
id = "b"
regex = '''b'''
[[rules]]
id = "c"
regex = '''c'''
]==]
    file:close()
    local result = read(([==[
[extend]
path = "%s"
disabledRules = ["b"]
[[rules]]
id = "a"
entropy = 3
[rules.allowlist]
stopwords = ["2"]
[[rules]]
id = "d"
regex = '''d'''
]==]):format(base))
    os.remove(base)
    local ids = {}
    for i, rule in ipairs(result.rules) do ids[i] = rule.id end
    assert.same({ "a", "c", "d" }, ids)
    local rule = result.rules[1]
    assert.same({ "first", "a(\\d)", 3, 2 }, { rule.description, rule.pattern, rule.entropy, #rule.allows })
    assert.matches("^rules.toml:2: /no/such/file: ", refused '[extend]\npath = "/no/such/file"')
  end)

  it("may have one table where there could be several", function()
    local result = read "[rules]\nid = 'x'\nregex = 'x'\n[rules.allowlists]\nstopwords = ['y']\n"
    assert.same({ 1, 1 }, { #result.rules, #result.rules[1].allows })
  end)

  it("never fail otherwise, whatever they hold", function()
    for _, value in ipairs { "1", "'x'", "[1]", "[[]]", "{ a = 1 }", "true", "[{ a = 1 }]" } do
      for _, key in ipairs { "rules", "allowlist", "allowlists", "extend", "title", "minVersion" } do
        gitleaks.parse(key .. " = " .. value, "rules.toml")
      end
      for _, key in ipairs { "description", "regex", "entropy", "keywords", "secretGroup", "tags", "path", "required",
        "allowlist", "allowlists", "skipReport" } do
        gitleaks.parse(("[[rules]]\nid = 'x'\n%s = %s"):format(key, value), "rules.toml")
      end
    end
  end)

  it("are refused with the line when they are malformed", function()
    assert.equal("rules.toml:2: a value was expected, not the end of the file", refused "a = 1\nb =")
    assert.equal("rules.toml:1: a rule has no id", refused "[[rules]]\nregex = 'x'")
    assert.equal("rules.toml:1: rule x has no regex", refused "[[rules]]\nid = 'x'")
    assert.equal("rules.toml:3: regex is no string", refused "[[rules]]\nid = 'x'\nregex = 1")
    assert.equal("rules.toml:4: keywords is no list of strings",
      refused "[[rules]]\nid = 'x'\nregex = 'x'\nkeywords = [1]")
    assert.equal("rules.toml:4: secretGroup 2: the regex has 1 groups",
      refused "[[rules]]\nid = 'x'\nregex = '(x)'\nsecretGroup = 2")
    assert.equal("rules.toml:4: rule x is already there",
      refused "[[rules]]\nid = 'x'\nregex = 'x'\n[[rules]]\nid = 'x'\nregex = 'y'")
    assert.equal("rules.toml:5: regexTarget is not one of secret, match, line",
      refused "[[rules]]\nid = 'x'\nregex = 'x'\n[rules.allowlist]\nregexTarget = 'y'")
    assert.equal("rules.toml:5: condition XOR is not one of OR, AND",
      refused "[[rules]]\nid = 'x'\nregex = 'x'\n[rules.allowlist]\ncondition = 'xor'")
  end)
end)

describe("expressions of Go", function()
  local cases = {
    { [[(?i)a(?-i:B)c\z]], [[(?i)a(?-i:B)c\z]], 0 },
    { [[(?P<x>a)(?<y>b)(?:c)(d)]], "(a)(b)(?:c)(d)", 3 },
    { [[\s[\s\d]\S\v]], [=[[\t\n\f\r ][\t\n\f\r \d][^\t\n\f\r ]\x0b]=], 0 },
    { [[[\s\S-]{3}]], "(?s:.){3}", 0 },
    { [[a{,3}{2}{x]], [[a\{,3}{2}\{x]], 0 },
    { "[[:alnum:]_][^[:^digit:]][][a]", "[[:alnum:]_][^[:^digit:]][]\\[a]", 0 },
    { [[\Q(a.b)\E(c)]], [[\Q(a.b)\E(c)]], 1 },
    { [[\x{41}\x41\(\\]], [[\x{41}\x41\(\\]], 0 },
    { "ä(b)", "ä(b)", 1 },
  }
  for _, case in ipairs(cases) do
    it("such as " .. case[1] .. " are translated", function()
      local pattern, groups = go_regex.to_pcre(case[1])
      assert.same({ case[2], case[3] }, { pattern, groups })
    end)
  end

  it("are refused where PCRE2 would match something else", function()
    for source, wrong in pairs {
      ["[a"] = "has a class that does not end", ["a\\"] = "ends in a backslash",
      ["\\pL"] = "has \\p: classes of Unicode are not supported", ["ä+"] = "repeats a character beyond ASCII",
      ["(?=a)"] = "has a kind of group that Go does not have", ["[a\\S]"] = "has \\S in a class of more: not supported",
      ["\\x{263a}"] = "has a character beyond ASCII",
    } do
      local pattern, message = go_regex.to_pcre(source)
      assert.is_nil(pattern)
      assert.equal(wrong, message)
    end
  end)
end)
