-- SPDX-License-Identifier: Apache-2.0
local base64 = require "plainsight.secrets.base64"
local bit = require "bit"
local content = require "plainsight.output.content"
local engine = require "plainsight.secrets.engine"
local ffi = require "ffi"
local fixture = require "exchange_fixture"
local json = require "plainsight.output.json"
local library = require "plainsight.library"
local redact = require "plainsight.secrets.redact"
local builtin_rules = require "plainsight.secrets.rules"

local rules = {
  { id = "key", pattern = [[\bkey_[a-z0-9]{8}\b]], keywords = { "key_" }, priority = 2 },
  { id = "field", pattern = [[password["']?[:=]["']?([^"'&]+)]], keywords = { "password" },
    allows = { { stopwords = { "example" } } } },
}

local function found(finder, text, ...)
  local list = {}
  for i, match in ipairs(finder:scan(text, ...)) do list[i] = match.rule.id .. ":" .. match.secret end
  return list
end

local function temporary_directory()
  local name = os.tmpname()
  os.remove(name)
  assert(os.execute("mkdir -m 700 " .. name) == 0)
  return name
end

describe("secrets engine", function()
  it("finds what rules say, with places and encodings", function()
    local finder = assert(engine.new(rules, nil, { no_cache = true }))
    local list = finder:scan("a key_abcd1234 %70assword%3Dhunter2")
    assert.equal(2, #list)
    assert.same({ 3, 14, "key_abcd1234", {} }, { list[1].first, list[1].last, list[1].secret, list[1].encodings })
    assert.same({ "field", "hunter2", { "percent" } }, { list[2].rule.id, list[2].secret, list[2].encodings })
    assert.same({ "key:key_abcd1234" }, found(finder, "password=example key_abcd1234"))
    assert.equal(2, #finder:scan_pieces({ "key_ab", "cd1234 pass", "word=hunter2" }))
    assert.is_true(finder:stats().bytes > 50)
  end)

  it("says which pattern is wrong", function()
    local finder, err = engine.new({ { id = "bad", pattern = "a(b" } }, nil, { no_cache = true })
    assert.is_nil(finder)
    assert.matches("bad: ", err, 1, true)
  end)

  it("keeps compiled patterns, and trusts nobody else's", function()
    local directory = temporary_directory()
    local function new(list) return assert(engine.new(list, nil, { cache_directory = directory })) end
    assert.is_false(new(rules):is_cached())
    local again = new(rules)
    assert.is_true(again:is_cached())
    assert.same({ "key:key_abcd1234" }, found(again, "key_abcd1234"))
    assert.is_false(new({ rules[1] }):is_cached())
    assert(os.execute("chmod g+w " .. directory .. "/secrets/*") == 0)
    assert.is_false(new(rules):is_cached())
    os.execute("rm -r " .. directory)
  end)

  it("knows checks by their names", function()
    assert.is_true(engine.passes("luhn", "79927398713"))
    assert.is_false(engine.passes("luhn", "79927398714"))
    assert.is_nil(engine.check("nonsense"))
    assert.equal(2, engine.entropy("abcd"))
  end)
end)

describe("masking", function()
  after_each(function() content.attach(nil) end)

  local function shown(opts, spec)
    local ex, item = fixture.exchange(spec), ffi.new("struct ps_item")
    item.kind, item.exchange = ffi.C.PS_ITEM_EXCHANGE, ex
    local redactor = assert(redact.new(opts, false))
    return redactor:item(item), item, redactor
  end
  local opts = { json = true, max_body_bytes = 65536, preview_bytes = 96, clock_offset_ns = 0 }
  local secret = "hun" .. "ter2x!"

  it("is in what is printed, and nothing else is changed", function()
    local masked, _, redactor = shown(opts, { request = fixture.request { method = "POST",
      body = "user=alice&password=" .. secret, target = "/login", size_bytes = 29 } })
    local text = fixture.text_of(json.put, masked.exchange, opts)
    assert.is_nil(text:find(secret, 1, true))
    assert.matches("user=alice&password=%[redacted:password%-field:%x%x%x%x%x%x%x%x%]", text)
    assert.matches('"flags":["redacted"]', text, 1, true)
    assert.equal(1, redactor:stats().values)
  end)

  local function body_shown(body)
    local masked = shown(opts, { request = fixture.request { method = "POST", body = body } })
    local kept = masked.exchange.request.body.kept
    return (ffi.string(kept.data, kept.len):gsub("(%[redacted:[a-z-]+):%x+%]", "%1]"))
  end

  it("is of all that secretscan finds", function()
    for _, rule in ipairs(builtin_rules.builtin()) do
      local example = builtin_rules.samples(rule)[1]
      local name, value = example:match("^([A-Za-z-]+): ?(.*)$")
      local masked = shown(opts, { request = fixture.request { body = example,
        headers = name and { { name, value } } or nil } })
      local flags = masked.exchange.request.flags
      assert.is_true(bit.band(flags, ffi.C.PS_MESSAGE_REDACTED) ~= 0, rule.id .. ": " .. example)
    end
  end)

  it("is of personal data, and of nothing beside it", function()
    local host = "@mail." .. "corp.co.uk"
    for body, expected in pairs {
      ['{"email":"ann' .. host .. '","id":4158675309}'] = '{"email":"[redacted:email-address]","id":4158675309}',
      ["to=Ann+%3Cann%40corp.co.uk%3E&b=1"] = "to=Ann+%3C[redacted:email-address]%3E&b=1",
      ['{"phone":4158' .. '675309,"hotel":4158675310}'] = '{"phone":"[redacted:phone-number]","hotel":4158675310}',
      ["tel=%2B49+30+9018" .. "2017&x=y"] = "tel=[redacted:phone-number]&x=y",
      ['{"routing_number":"1110' .. '00025"}'] = '{"routing_number":"[redacted:us-routing-number]"}',
      ["https://ann" .. host .. "/a ssh://git" .. host .. " git" .. host .. ":a/b ann" .. host .. ":/srv/a"] = true,
      ["postgres://app:${PASSWORD}" .. host .. "/x postgres://app:password" .. host .. ":5432/x"] = true,
    } do
      assert.equal(expected == true and body or expected, body_shown(body))
    end
  end)

  it("leaves alone what has nothing in it", function()
    local masked, item = shown(opts, {})
    assert.equal(item, masked)
  end)

  it("has the same hash for a value in every place, however it is coded there", function()
    local value = "q7&R+x=\"\\é%25/" .. "z9"
    local coded = value:gsub("[^%w]", function(c) return ("%%%02X"):format(c:byte()) end)
    local quoted = value:gsub('[\\"]', "\\%0")
    local escaped = quoted:gsub("é", "\\u00e9"):gsub("&", "\\u0026"):gsub("/", "\\/")
    local pair = base64.encode("ann:" .. value)
    local spec = fixture.request {
      target = "/login?password=" .. coded .. "&x=1",
      headers = { { "Authorization", "Basic " .. pair }, { "X-Password", value }, { "Cookie", "token=" .. coded },
        { "Referer", "https://ann:" .. coded .. "@shop.corp.co.uk/?password=" .. coded } },
    }
    local bodies = {
      "password=" .. coded .. "&a=b", "a=b&password=" .. coded,
      '{"password":"' .. quoted .. '"}', '{"user":{"password": "' .. escaped .. '"}}',
      '{"body":"{\\"password\\":\\"' .. escaped:gsub('[\\"]', "\\%0") .. '\\"}"}',
      'q=%7B%22password%22%3A%22' .. coded:gsub("%%5C", "%%5C%%5C"):gsub("%%22", "%%5C%%22") .. "%22%7D",
      '--b\r\nContent-Disposition: form-data; name="password"\r\n\r\n' .. value .. "\r\n--b--\r\n",
      base64.encode('{"password":"' .. quoted .. '"}'),
    }
    local key, seen, count = redact.random_key(), {}, 0
    local function look(request)
      local masked = shown(setmetatable({ secret_key = key }, { __index = opts }), { request = request })
      local text = fixture.text_of(json.put, masked.exchange, opts)
      assert.is_nil(text:find(coded, 1, true) or text:find(pair, 1, true), text)
      for hash in text:gmatch("%[redacted:[a-z-]+:(%x+)%]") do seen[hash], count = true, count + 1 end
    end
    look(spec)
    for _, body in ipairs(bodies) do look(fixture.request { method = "POST", body = body }) end
    assert.equal(7 + #bodies, count) -- the target is in the URL, too
    local hash = next(seen)
    assert.is_nil(next(seen, hash))
    local expected = ffi.new("char[17]")
    library.lib.ps_secret_hash(key, value, #value, expected)
    assert.equal(ffi.string(expected, 8), hash)
  end)

  it("has another key in each run", function()
    local spec = { request = fixture.request { target = "/?password=" .. secret } }
    local one, other = shown(opts, spec), shown(opts, spec)
    local function target(item)
      local slice = item.exchange.request.target
      return ffi.string(slice.data, slice.len)
    end
    assert.matches("redacted", target(one), 1, true)
    assert.not_equal(target(one), target(other))
  end)
end)
