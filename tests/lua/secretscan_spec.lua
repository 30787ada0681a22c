-- SPDX-License-Identifier: Apache-2.0
--- secretscan without the capture: items in, lines out.
local buffer = require "string.buffer"
local cjson = require "cjson"
local ffi = require "ffi"
local allow = require "plainsight.secrets.allow"
local base64 = require "plainsight.secrets.base64"
local fixture = require "exchange_fixture"
local jwt = require "plainsight.secrets.jwt"
local paths = require "plainsight.paths"
local samples = require "plainsight.secrets.samples"
local secretscan = require "plainsight.secretscan"
local sent = require "plainsight.secrets.sent"

local C = ffi.C

local TOKEN = samples.expand "gh<>p_<alnum:36>"
local PASSWORD = samples.expand "<alnum:14>"

local function item_of(spec)
  local ex = fixture.exchange(spec)
  return ffi.new("struct ps_item", { kind = C.PS_ITEM_EXCHANGE, exchange = ex }), ex
end

-- A view with these options, and a list of what it says.
local function open(opts)
  local said = {}
  opts = opts or {}
  opts.clock_offset_ns, opts.color = fixture.CLOCK_OFFSET_NS, false
  local view, err = secretscan.open(opts, function(line) said[#said + 1] = line end)
  return view or err, said
end

-- What a view writes of exchanges, line by line; and the table at the end.
local function lines_of(view, ...)
  local buf, tail = buffer.new(), buffer.new()
  for _, spec in ipairs { ... } do
    local item, ex = item_of(spec)
    view.put_item(buf, item)
    assert(ex)
  end
  view:finish { write = function(_, text) tail:put(text) end, flush = function() return true end }
  local lines = {}
  for line in buf:get():gmatch("[^\n]+") do lines[#lines + 1] = line end
  return lines, tail:get()
end

local function authorized(changes)
  local spec = {
    request = fixture.request { headers = { { "Host", "build.test" }, { "Authorization", "token " .. TOKEN } } },
    remote_end = { port = 80, addr = { 192, 0, 2, 7 } }, local_end = { port = 40002, addr = { 192, 0, 2, 1 } },
  }
  for key, value in pairs(changes or {}) do spec[key] = value end
  return spec
end

describe("secretscan", function()
  it("tells what, where, who, to whom, and what is wrong with it", function()
    local lines, tail = lines_of((open()), authorized())
    local hash = lines[1]:match("#(%x+)")
    local rest = (" #%s curl:4242 -> build.test clear x1"):format(hash)
    assert.equal(3, #lines)
    assert.matches("^%d%d:%d%d:%d%d%.%d%d%d critical secret github%-token request%.header:Authorization %S+ #"
      .. ("%x"):rep(16) .. " curl:4242 %-> build%.test clear x1$", lines[1])
    assert.matches(rest .. " [sent without TLS to another host]", lines[2], 1, true)
    assert.matches(" critical cleartext ", lines[2], 1, true)
    assert.matches(" critical other-provider ", lines[3], 1, true)
    assert.matches(rest .. " [a credential for github.com, sent to another host]", lines[3], 1, true)
    assert.matches("COUNT  VALUES  SEVERITY  FINDING", tail, 1, true)
    assert.equal(4, select(2, tail:gsub("[^\n]+", "")))
  end)

  it("shows a value once at a place, and counts", function()
    local other = authorized { request = fixture.request { headers = { { "Host", "api.github.com" },
      { "X-Key", TOKEN } } } }
    local lines, tail = lines_of((open()), authorized(), authorized(), other)
    assert.equal(5, #lines)
    assert.matches("request.header:X-Key", lines[4], 1, true)
    assert.matches(" -> api.github.com clear x3$", lines[4])
    assert.matches("\n    2       1  critical  secret          github-token  curl     ->  build.test      clear\n",
      tail, 1,
      true)
  end)

  it("knows what was encrypted, local, sent to the provider, received", function()
    local view = open()
    local function findings(spec)
      local list = {}
      for i, line in ipairs((lines_of(view, spec))) do list[i] = line:match("^%S+ %S+ (%S+)") end
      return list
    end
    assert.same({ "secret" }, findings {
      request = fixture.request { headers = { { "Host", "API.GitHub.com:443" }, { "A", TOKEN } } },
    })
    assert.same({}, findings { request = fixture.request { headers = { { "Host", "api.github.com:443" }, { "A",
      TOKEN } } } })
    -- received: nobody sent it to the wrong provider
    assert.same({ "secret" }, findings { response = fixture.response { body = TOKEN } })
    assert.same({ "secret", "other-provider", "in-url" }, findings {
      request = fixture.request { target = "/a?b=" .. TOKEN },
    })
  end)

  it("tells of cards in clear text to another host, not of addresses", function()
    local lines = lines_of((open()), authorized {
      request = fixture.request { headers = { { "Host", "build.test" } } },
      response = fixture.response {
        body = samples.expand '{"card":"4111<>111111111111","mail":"ann.lee<>@firm-mail.de"}',
      },
    })
    local kinds = {}
    for i, line in ipairs(lines) do kinds[i] = line:match("^%S+ %S+ (%S+ %S+)") end
    assert.same({ "secret payment-card", "cleartext payment-card", "secret email-address" }, kinds)
  end)

  it("never shows the value, wherever it is", function()
    local view, said = open { json = true }
    local lines, tail = lines_of(view,
      { request = fixture.request { target = "/x/" .. TOKEN .. "?" .. TOKEN .. "=1", headers = {
        { "Host", "u:" .. PASSWORD .. "@h.test" }, { TOKEN, "1" }, { "Cookie", TOKEN .. "=" .. TOKEN } } },
        response = fixture.response { headers = { { "Content-Type", "application/json" } },
          body = ('{"%s":{"password":"%s"},"a":"%s","%s":{"token":"%s"}}'):format(TOKEN, PASSWORD,
            base64.encode("t=" .. TOKEN), PASSWORD, samples.expand "<alnum:40>") } })
    assert.is_true(#lines >= 5)
    local all = table.concat(lines, "\n") .. tail .. table.concat(said, "\n")
    assert.is_nil(all:lower():find(TOKEN:lower(), 1, true))
    assert.is_nil(all:lower():find(PASSWORD:lower(), 1, true))
    assert.matches("[redacted]", all, 1, true)
    for _, line in ipairs(lines) do assert.equal("finding", cjson.decode(line).type) end
  end)

  it("writes JSON", function()
    local lines, tail = lines_of((open { json = true }), authorized())
    local finding = cjson.decode(lines[1])
    assert.same({
      "finding", 2, "secret", "critical", "github-token", "credential", "request", "header", "Authorization", "out",
      "build.test", false, 1, 4242, "curl", 6,
    }, {
      finding.type, finding.schema, finding.finding, finding.severity, finding.rule, finding.kind, finding.part,
      finding.where, finding.name, finding.direction, finding.host, finding.encrypted, finding.count,
      finding.process.pid, finding.process.comm, finding.offset_bytes,
    })
    assert.equal("2023-11-14T22:13:20.123456Z", finding.time)
    local summary = cjson.decode(tail)
    assert.equal("secrets", summary.type)
    assert.equal(3, #summary.by)
    assert.same({ allowed = 0, findings = 3, occurrences = 3, values = 1 }, summary.totals)
    assert.same({}, cjson.decode(select(2, lines_of((open { json = true })))).by)
  end)

  it("writes the fields that docs/json.md has", function()
    local section = assert(paths.read(paths.file("docs/json.md"))):match("\n## finding\n(.-)\n## ")
    local documented, needed, seen = {}, {}, {}
    for name, kind in section:gmatch("\n| `([%w_]+)` | ([^|]+) |") do
      documented[name] = true
      needed[name] = not kind:find("optional", 1, true) or nil
    end
    local token = samples.expand '<b64url:{"alg":"none"}>.<b64url:{"exp":1700000000,"sub":"123"}>.'
    for _, line in ipairs((lines_of((open { json = true }), authorized {
      response = fixture.response { body = '{"x":"' .. base64.encode(token) .. '"}' },
    }))) do
      local finding = cjson.decode(line)
      for name in pairs(finding) do
        assert.is_true(documented[name], name)
        seen[name] = true
      end
      for name in pairs(needed) do assert.is_not_nil(finding[name], name) end
    end
    assert.same(documented, seen)
  end)

  it("has the status of --fail-on", function()
    local function status(limit, spec)
      local view = open { fail_on = limit }
      lines_of(view, spec)
      return view:exit_status(7)
    end
    local password = { request = fixture.request { target = "/?password=" .. PASSWORD } }
    assert.equal(3, status("critical", authorized()))
    assert.equal(3, status("high", password))
    assert.equal(7, status("critical", password))
    assert.equal(7, status("low", {}))
    assert.equal(7, status(nil, authorized()))
  end)

  it("tells what a token says of itself", function()
    local token = samples.expand '<b64url:{"alg":"none"}>.<b64url:{"exp":1700000000,"sub":"123"}>.'
    local lines = lines_of((open()), { request = fixture.request { headers = { { "Authorization",
      "Bearer " .. token } } } })
    assert.matches("[none, WEAK: not signed, expired 2023-11-14]", lines[1], 1, true)
  end)
end)

-- A file with this text and mode; its path.
local function file_with(text, mode)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  assert.equal(0, os.execute(("chmod %s %s"):format(mode, path)))
  return path
end

describe("--hash-key-file", function()
  local function hash_with(path)
    local view = open { hash_key_file = path }
    if type(view) == "string" then return nil, view end
    return (lines_of(view, authorized()))[1]:match("#(%x+)")
  end

  it("makes hashes the same in every run, and others with another key", function()
    local a, b = file_with(("a"):rep(16), "600"), file_with(("b"):rep(16), "400")
    assert.equal(hash_with(a), hash_with(a))
    assert.not_equal(hash_with(a), hash_with(b))
    local random = open()
    assert.not_equal(hash_with(a), (lines_of(random, authorized()))[1]:match("#(%x+)"))
    os.remove(a)
    os.remove(b)
  end)

  it("is refused when others can read it, it is short, or not there", function()
    local open_to_all, short = file_with(("a"):rep(16), "644"), file_with("a", "600")
    assert.equal(open_to_all .. " can be read by others: chmod 600 " .. open_to_all, select(2, hash_with(open_to_all)))
    assert.equal(("%s has less than 16 bytes: head -c 32 /dev/urandom >%s"):format(short, short),
      select(2, hash_with(short)))
    assert.matches("^/no/such/key: ", (select(2, hash_with("/no/such/key"))))
    os.remove(open_to_all)
    os.remove(short)
  end)
end)

describe("--allow", function()
  local finding = { hash = "9f3a04c2d1b07e55", rule = { id = "github-token" }, host = "Build.test:8080", path = "/a/b" }

  local function allows(text)
    local list, err = allow.parse(text, "known.txt", true)
    return list and list:allows(finding), err, list
  end

  it("takes conditions, of which all must hold", function()
    for text, expected in pairs {
      ["hash=9F3A04C2D1B07E55"] = true, ["hash=9f3a04c2d1b07e56"] = false, ["rule=github-*"] = true,
      ["rule=github"] = false, ["host=*.test"] = true, ["host=build.test:8080"] = true, ["host=*.test:80"] = false,
      ["path=/a/*"] = true, ["path=/a"] = false, ["rule=github-token host=x"] = false,
      ["rule=* host=build.test path=/a/b"] = true, ["# rule=*"] = false, [""] = false,
      ["rule=x\n\n  # y\n rule=github-token\r"] = true,
    } do
      assert.equal(expected, allows(text), text)
    end
  end)

  it("names what is wrong, and what was of no use", function()
    for text, message in pairs {
      ["x"] = "known.txt:1: x is not one of hash=, rule=, host=, path=",
      ["\nhash=12"] = "known.txt:2: hash=12 is not 16 hexadecimal digits",
      ["path=a"] = "known.txt:1: path=a does not begin with / or *",
      ["rule=a rule=b"] = "known.txt:1: rule is there twice",
    } do
      assert.equal(message, select(2, allows(text)))
    end
    assert.equal("k:1: hashes differ from run to run without --hash-key-file",
      select(2, allow.parse("hash=9f3a04c2d1b07e55", "k", false)))
    local _, _, list = allows("rule=x\nrule=github-token")
    assert.same({ "known.txt:1: not used: rule=x" }, list:unused())
  end)

  it("keeps findings out of everything", function()
    local path = file_with("rule=github-token\nrule=nothing\n", "644")
    local view, said = open { allow = path, fail_on = "low" }
    local lines, tail = lines_of(view, authorized())
    assert.same({}, lines)
    assert.equal("", tail)
    assert.equal(0, view:exit_status(0))
    assert.same({ path .. ":2: not used: rule=nothing", "1 findings were allowed by --allow" }, said)
    os.remove(path)
  end)
end)

describe("--rules", function()
  it("adds rules, alone with --no-builtin", function()
    local path = file_with("[[rules]]\nid = 'mine'\nregex = '''mine-\\d+'''\npath = 'x'\n[[rules]]\nid = 'own'\n"
      .. "regex = '''own-\\d{4}'''\n", "644")
    local view, said = open { rule_files = { path }, no_builtin = true }
    local spec = authorized { response = fixture.response { body = "own-1234 mine-1" } }
    local lines = lines_of(view, spec)
    assert.equal(2, #lines) -- the value, and that it is not encrypted
    assert.matches(" high secret own response.body@0 ", lines[1], 1, true)
    assert.same({ path .. ":4: path of rule mine is not supported: traffic has no files; the rule is left out" }, said)
    assert.equal(5, #(lines_of((open { rule_files = { path } }), spec)))
    os.remove(path)
    assert.equal("there is no rule: --no-builtin leaves those of --rules FILE", (open { no_builtin = true }))
  end)
end)

describe("--rules with a mistake", function()
  it("names file, line and rule", function()
    local path = file_with("[[rules]]\nid = 'good'\nregex = 'a'\n[[rules]]\nid = 'bad'\nregex = '(a'\n", "644")
    assert.matches("^" .. path:gsub("%p", "%%%0") .. ":4: rule bad: ", (open { rule_files = { path } }))
    os.remove(path)
    assert.matches("^/no/such/file: ", (open { rule_files = { "/no/such/file" } }))
  end)
end)

describe("where a credential goes", function()
  it("is judged by the names of the provider's hosts", function()
    local providers = { "github.com", "*.aws.test" }
    for host, expected in pairs {
      ["github.com"] = true, ["GITHUB.COM:443"] = true, ["api.github.com"] = false, ["x.github.com.evil.test"] = false,
      ["aws.test"] = true, ["s3.eu.aws.test:443"] = true, ["evilaws.test"] = false, ["aws.test.evil.test"] = false,
    } do
      assert.equal(expected, sent.is_provider(host, providers), host)
    end
  end)

  it("is on this host for loopback, own addresses and unix sockets", function()
    local function leaves(own, remote, family)
      return sent.leaves_host(fixture.exchange {
        local_end = { addr = own, port = 1, family = family }, remote_end = { addr = remote, port = 2,
          family = family },
      })
    end
    assert.is_false(leaves({ 127, 0, 0, 1 }, { 127, 0, 0, 1 }))
    assert.is_false(leaves({ 127, 0, 0, 1 }, { 127, 1, 2, 3 }))
    assert.is_false(leaves({ 192, 0, 2, 1 }, { 192, 0, 2, 1 }))
    assert.is_true(leaves({ 192, 0, 2, 1 }, { 192, 0, 2, 2 }))
    local loopback6 = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 }
    assert.is_false(leaves(loopback6, loopback6, C.PS_FAMILY_INET6))
    assert.is_true(leaves({ 0x20, 1 }, { 0x20, 2 }, C.PS_FAMILY_INET6))
    assert.is_false(sent.leaves_host(fixture.exchange { unix_path = "/run/x" }))
  end)
end)

describe("JSON Web Tokens", function()
  local function describe_token(header, claims)
    return jwt.describe(samples.expand(("<b64url:%s>.<b64url:%s>.c2ln"):format(header, claims)), 1700000000)
  end

  it("tell algorithm, type and expiry", function()
    assert.same({ algorithm = "HS256", type = "JWT", expires = 1600000000, expired = true },
      describe_token('{"alg":"HS256","typ":"JWT"}', '{"exp":1600000000}'))
    assert.same({ algorithm = "ES256", expires = 1800000000, expired = false },
      describe_token('{"alg":"ES256"}', '{"exp":1800000000.5}'))
    assert.equal("not signed", describe_token('{"alg":"NonE"}', "{}").weak)
    assert.equal("RSA1_5 key transport", describe_token('{"alg":"RSA1_5","enc":"A128GCM"}', "{}").weak)
  end)

  it("may hold anything", function()
    assert.same({}, describe_token('{"alg":"a b\\u001b[0m","typ":1}', '{"exp":"soon"}'))
    assert.same({}, describe_token("[[[", '{"exp":1e300}'))
    assert.same({}, jwt.describe("x", 0))
    assert.same({}, jwt.describe("", 0))
    assert.same({}, describe_token("null", "12"))
    assert.equal("algorithm unknown", jwt.text({}))
  end)
end)
