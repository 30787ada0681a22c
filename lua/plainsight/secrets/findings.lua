-- SPDX-License-Identifier: Apache-2.0
--- From what the scanner finds in an item to a finding as a table, in which the value itself is no longer: only its
-- masked form and its keyed hash.
local ffi = require "ffi"
local fields = require "plainsight.output.fields"
local jwt = require "plainsight.secrets.jwt"
local library = require "plainsight.library"
local sent = require "plainsight.secrets.sent"
local stream = require "plainsight.output.stream"

local _M = {}

local C = ffi.C
local lib = library.lib

-- Shown of a name, and looked at before that; values that names are compared with.
local NAME_MAX, TEXT_MAX = 128, 8192
local VALUES_MAX, VALUE_MIN_BYTES = 64, 6
local REDACTED = "[redacted]"

local parts = { [C.PS_PART_REQUEST] = "request", [C.PS_PART_RESPONSE] = "response", [C.PS_PART_MESSAGE] = "message" }
local wheres = {
  [C.PS_WHERE_PATH] = "path", [C.PS_WHERE_QUERY] = "query", [C.PS_WHERE_HEADER] = "header",
  [C.PS_WHERE_COOKIE] = "cookie", [C.PS_WHERE_TRAILER] = "trailer", [C.PS_WHERE_JSON] = "json",
  [C.PS_WHERE_FORM] = "form", [C.PS_WHERE_MULTIPART] = "multipart", [C.PS_WHERE_MARKUP] = "markup",
  [C.PS_WHERE_BODY] = "body",
}
local encodings = {
  [C.PS_ENCODING_BASE64] = "base64", [C.PS_ENCODING_PERCENT] = "percent", [C.PS_ENCODING_JSON] = "json",
}

local Finder = {}
Finder.__index = Finder

--- Begin.
-- @param engine see plainsight.secrets.engine
-- @param key uint8_t[PS_SECRET_KEY_BYTES], of hashes
-- @return object, or nil and a message
function _M.new(engine, key)
  local scanner = lib.ps_secret_scanner_new(engine.handle)
  if scanner == nil then return nil, "out of memory" end
  return setmetatable({
    engine = engine, scanner = ffi.gc(scanner, lib.ps_secret_scanner_free), key = key, text = ffi.new("char[32]"),
    unscanned_bytes = 0, dropped = 0,
  }, Finder)
end

local function text_of(slice) return ffi.string(slice.data, slice.len) end

-- Whether a text holds one of the values that were found, whatever its case. Shorter ones are in any word.
local function holds_value(text, found)
  for i = 0, math.min(found.count, VALUES_MAX) - 1 do
    local secret = found.list[i].match.secret
    if secret.len >= VALUE_MIN_BYTES and secret.len <= #text and
      text:find(text_of(secret):lower(), 1, true) then
      return true
    end
  end
  return false
end

-- Text that the other side chose, without anything that is itself a secret: one that a rule knows by its form, or one
-- of those that were found in the item.
function Finder:clean(text, found)
  if text == "" then return text end
  local is_secret = #text > TEXT_MAX or holds_value(text:lower(), found) or #self.engine:scan(text) > 0
  if is_secret then return REDACTED end
  return #text > NAME_MAX and text:sub(1, NAME_MAX) .. "..." or text
end

local endpoint_text = require("string.buffer").new()

-- The server of an exchange, by the name that the client has for it, in lower case, else by its address.
local function server_of(ex)
  local request = fields.request(ex)
  local host = request and fields.host_slice(request)
  if host then return (text_of(host):lower():gsub("^.*@", "")) end -- RFC 9110 4.2.3 and 4.2.4
  if fields.is_unix(ex) then return fields.unix_name(ex) end
  endpoint_text:reset()
  fields.put_endpoint(endpoint_text, ex.side == C.PS_SIDE_SERVER and ex["local"] or ex.remote)
  return endpoint_text:get()
end

local function endpoint_of(endpoint)
  endpoint_text:reset()
  fields.put_address(endpoint_text, endpoint)
  return { address = endpoint_text:get(), port = endpoint.port }
end

-- Both ends of the connection, or nil when they have no addresses.
local function connection_of(ex)
  if fields.is_unix(ex) or not fields.has_address(ex) then return nil end
  return { ["local"] = endpoint_of(ex["local"]), remote = endpoint_of(ex.remote) }
end

-- The path of a request without its query; empty when it is not known.
local function path_of(ex)
  local request = fields.request(ex)
  if not request then return "" end
  local target = text_of(request.target):gsub("^%a[%w+.-]*://[^/?#]*", "")
  return target:match("^[^?#]*")
end

-- What all findings of an item have in common: who, when, to whom, for each part.
local function facts_of(item)
  local ex, message = item.exchange, item.message
  local is_client = ex.side ~= C.PS_SIDE_SERVER
  local common = {
    host = server_of(ex), path = path_of(ex), encrypted = ex.library ~= 0, leaves_host = sent.leaves_host(ex),
    exchange_id = ex.id, connection = connection_of(ex),
  }
  local function facts(source, is_from_client)
    return {
      direction = (is_from_client == is_client) and "out" or "in", is_from_client = is_from_client,
      process = source.process, ts_ns = source.first_ts_ns, common = common,
    }
  end
  return {
    request = facts(ex.request, true), response = facts(ex.response, false),
    message = message ~= nil and facts(message, stream.is_from_client(ex, message)) or nil,
  }
end

local function encodings_of(match)
  local list = {}
  for i = 0, 3 do list[#list + 1] = encodings[match.encodings[i]] end
  return list
end

function Finder:masked(secret)
  lib.ps_secret_masked(secret.data, secret.len, self.text)
  return ffi.string(self.text)
end

function Finder:hash(secret)
  lib.ps_secret_hash(self.key, secret.data, secret.len, self.text)
  return ffi.string(self.text)
end

-- The table of the finding i.
function Finder:table_of(found, i, facts, now_s)
  local finding, common = found.list[i], facts.common
  local match = finding.match
  local rule = self.engine.rules[match.rule + 1]
  local is_token = rule.check == "jwt"
  return {
    finding = "secret", rule = rule, severity = rule.severity,
    part = parts[finding.part], where = wheres[finding.where], name = self:clean(text_of(finding.name), found),
    offset = tonumber(match.begin), encodings = encodings_of(match),
    masked = self:masked(match.secret), hash = self:hash(match.secret),
    jwt = is_token and jwt.describe(text_of(match.secret), now_s) or nil,
    process = facts.process, ts_ns = facts.ts_ns, direction = facts.direction, is_from_client = facts.is_from_client,
    host = self:clean(common.host, found), path = common.path, encrypted = common.encrypted,
    leaves_host = common.leaves_host, exchange_id = common.exchange_id, connection = common.connection,
  }
end

--- What is found in an item.
-- @param item const struct ps_item *
-- @param now_s Unix time in seconds
-- @return list of { finding ("secret"), rule, severity, part, where, name, offset (bytes), encodings (list),
--   masked, hash (strings), jwt (see plainsight.secrets.jwt, or nil), process (const struct ps_process *, of the item),
--   ts_ns, direction ("out", "in"), is_from_client, host, path, encrypted, leaves_host,
--   exchange_id, connection ({ local, remote }, or nil) }
function Finder:scan(item, now_s)
  local found = lib.ps_secret_scan_item(self.scanner, item)
  self.unscanned_bytes = self.unscanned_bytes + tonumber(found.unscanned_bytes)
  self.dropped = self.dropped + found.dropped
  local list = {}
  if found.count == 0 then return list end
  local facts = facts_of(item)
  for i = 0, found.count - 1 do
    list[i + 1] = self:table_of(found, i, facts[parts[found.list[i].part]], now_s)
  end
  return list
end

return _M
