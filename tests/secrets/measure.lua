-- SPDX-License-Identifier: Apache-2.0
--- Holds rules against a corpus of tests/secrets/generate; prints one JSON object.
--
-- usage: luajit tests/secrets/measure.lua CORPUS [RULE-FILE]
-- With RULE-FILE (format of gitleaks): with these rules alone instead of the built-in ones.
--
-- A labelled secret is found when a finding is the secret, or nearly all of it and no more than a quarter beside it.
-- It is found rightly when the rule is the labelled one, or says the same. Every finding that is no labelled secret
-- is a false alarm.
local root = arg[0]:match("^(.*)/tests/secrets/[^/]+$") or "."
package.path = root .. "/lua/?.lua;" .. root .. "/tests/lua/?.lua;" .. package.path
local ffi = require "ffi"
local base64 = require "plainsight.secrets.base64"
local cjson = require "cjson"
local engine = require "plainsight.secrets.engine"
local fixture = require "exchange_fixture"
local gitleaks = require "plainsight.secrets.gitleaks"
local library = require "plainsight.library"
local rules = require "plainsight.secrets.rules"

local function load_rules(path)
  if not path then return rules.builtin() end
  local read, err = gitleaks.read(path)
  if not read then error(err, 0) end
  return read.rules
end

local function headers_of(message)
  local list = {}
  for i, pair in ipairs(message.headers) do list[i] = { pair[1], pair[2] } end
  return list
end

-- The item that the capture would hand out (struct ps_item), and what keeps its bytes.
local function item_of(exchange)
  local request, response = exchange.request, exchange.response
  local ex = fixture.exchange {
    request = fixture.request {
      method = request.method, target = request.target, headers = headers_of(request),
        body = base64.decode(request.body),
    },
    response = fixture.response {
      status = response.status, headers = headers_of(response), body = base64.decode(response.body),
    },
  }
  return ffi.new("struct ps_item", { kind = ffi.C.PS_ITEM_EXCHANGE, exchange = ex }), ex
end

-- What is found in an exchange: list of { rule, secret }.
local function scan(scanner, exchange)
  local item, ex = item_of(exchange)
  local found = library.lib.ps_secret_scan_item(scanner.handle, item)
  local list = {}
  for i = 0, found.count - 1 do
    local match = found.list[i].match
    list[i + 1] = { rule = scanner.rules[match.rule + 1], secret = ffi.string(match.secret.data, match.secret.len) }
  end
  assert(found.dropped == 0 and found.unscanned_bytes == 0, "something was not looked at")
  return list, ex.request.body.kept.len + ex.response.body.kept.len
end

-- Percent encoding and escapes undone: a finding may be as it was on the wire.
local function plain(text)
  text = text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  text = text:gsub("+", " "):gsub("\\r", "\r"):gsub("\\n", "\n"):gsub("\\(.)", "%1")
  return (text:gsub("&amp;", "&"):gsub("&lt;", "<"):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

local function is_it(secret, value)
  secret, value = plain(secret), plain(value)
  if secret == value then return true end
  if secret:find(value, 1, true) then return #secret <= #value * 1.25 + 2 end
  return value:find(secret, 1, true) ~= nil and #secret * 1.25 + 2 >= #value
end

local function is_right(rule, label)
  if rule == label.rule then return true end
  for _, other in ipairs(label.same) do
    if rule == other then return true end
  end
  return false
end

local function new_count() return { labelled = 0, right = 0, found = 0, alarms = 0 } end

local function note(list, text)
  if #list < 200 then list[#list + 1] = text end
end

-- Judge what was found in one exchange.
local function judge(result, exchange, found)
  local label = exchange.label ~= cjson.null and exchange.label or nil
  local is_found, is_rightly = false, false
  local others = {}
  for _, match in ipairs(found) do
    if label and is_it(match.secret, label.value) then
      is_found = true
      is_rightly = is_rightly or is_right(match.rule.id, label)
      others[#others + 1] = match.rule.id
    else
      local count = result.rules[match.rule.id] or new_count()
      result.rules[match.rule.id] = count
      count.alarms = count.alarms + 1
      result.alarms = result.alarms + 1
      local kind = label and "in " .. label.rule or exchange.kind
      result.kinds[kind] = (result.kinds[kind] or 0) + 1
      note(result.alarm_list, ("%s in %s: %s"):format(match.rule.id, kind, match.secret:sub(1, 100)))
    end
  end
  if not label then return end
  local count = result.rules[label.rule] or new_count()
  result.rules[label.rule] = count
  count.labelled = count.labelled + 1
  if is_found then count.found, result.found = count.found + 1, result.found + 1 end
  if is_rightly then count.right, result.right = count.right + 1, result.right + 1 end
  if not label.personal then
    result.credentials = result.credentials + 1
    if is_found then result.credentials_found = result.credentials_found + 1 end
  end
  result.labelled = result.labelled + 1
  if not is_rightly then
    note(result.missed_list, ("%s: %s (%s)"):format(label.rule, label.value:sub(1, 100), table.concat(others, " ")))
  end
end

local function main()
  local compiled, err = engine.new(load_rules(arg[2]))
  if not compiled then error(err, 0) end
  local scanner = {
    compiled = compiled, rules = compiled.rules,
    handle = ffi.gc(library.lib.ps_secret_scanner_new(compiled.handle), library.lib.ps_secret_scanner_free),
  }
  local result = {
    rules = {}, kinds = {}, labelled = 0, found = 0, right = 0, alarms = 0, credentials = 0, credentials_found = 0,
      negatives = 0, exchanges = 0, all_rules = {},
    bytes = 0, alarm_list = {}, missed_list = {},
  }
  for i, rule in ipairs(scanner.rules) do result.all_rules[i] = rule.id end
  for line in io.lines(arg[1]) do
    local exchange = cjson.decode(line)
    result.negatives, result.exchanges = result.negatives + exchange.values, result.exchanges + 1
    local found, bytes = scan(scanner, exchange)
    result.bytes = result.bytes + tonumber(bytes)
    judge(result, exchange, found)
  end
  print(cjson.encode(result))
end

main()
