-- SPDX-License-Identifier: Apache-2.0
--- Finding secrets in text: rules as tables, matches as tables (src/plainsight_secrets.h).
local ffi = require "ffi"
local bit = require "bit"
local cache = require "plainsight.cache"
local library = require "plainsight.library"
require "plainsight.contract"

local _M = {}

local C = ffi.C
local lib = library.lib

local targets = { secret = C.PS_TARGET_SECRET, match = C.PS_TARGET_MATCH, line = C.PS_TARGET_LINE }
local scopes = {
  target = C.PS_SCOPE_TARGET, headers = C.PS_SCOPE_HEADERS, body = C.PS_SCOPE_BODY, message = C.PS_SCOPE_MESSAGE,
}
local encodings = {
  [C.PS_ENCODING_BASE64] = "base64", [C.PS_ENCODING_PERCENT] = "percent", [C.PS_ENCODING_JSON] = "json",
}
local engines = { [C.PS_ENGINE_EXACT] = "exact", [C.PS_ENGINE_PREFILTER] = "prefilter",
  [C.PS_ENGINE_KEYWORD] = "keyword" }

--- The number of a check ("luhn", "iban", ...), or nil when there is none of that name.
function _M.check(name)
  local number = lib.ps_secret_check_by_name(name)
  return number >= 0 and number or nil
end

--- Names of all checks, sorted.
function _M.checks()
  local names = {}
  for i = 0, C.PS_CHECK_COUNT - 1 do names[i + 1] = ffi.string(lib.ps_secret_check_name(i)) end
  table.sort(names)
  return names
end

--- Whether text passes a check.
-- @param name of the check; an unknown one is an error
function _M.passes(name, text)
  return lib.ps_secret_check(assert(_M.check(name), "no such check: " .. name), text, #text)
end

--- Shannon's entropy of a text, bits per byte.
function _M.entropy(text) return lib.ps_secret_entropy(text, #text) end

-- The structs of a config are built bottom up; `kept` holds what they point to.
local function strings(list, kept)
  local array = ffi.new("const char *[?]", math.max(#list, 1))
  for i, text in ipairs(list) do array[i - 1] = text end
  kept[#kept + 1], kept[#kept + 2] = array, list
  return array, #list
end

local function allow_structs(list, kept)
  local array = ffi.new("struct ps_secret_allow[?]", math.max(#list, 1))
  for i, allow in ipairs(list) do
    local to = array[i - 1]
    to.patterns, to.pattern_count = strings(allow.patterns or {}, kept)
    to.stopwords, to.stopword_count = strings(allow.stopwords or {}, kept)
    to.target = assert(targets[allow.target or "secret"], "target of an allow list")
    to.is_and = allow.condition == "and" and 1 or 0
  end
  kept[#kept + 1] = array
  return array, #list
end

local function scope_bits(names)
  local bits = 0
  for _, name in ipairs(names or {}) do bits = bit.bor(bits, (assert(scopes[name], "scope of a rule"))) end
  return bits
end

local function rule_structs(list, kept)
  local array = ffi.new("struct ps_secret_rule[?]", math.max(#list, 1))
  for i, rule in ipairs(list) do
    local to = array[i - 1]
    to.id, to.pattern = rule.id, rule.pattern
    to.keywords, to.keyword_count = strings(rule.keywords or {}, kept)
    to.allows, to.allow_count = allow_structs(rule.allows or {}, kept)
    to.secret_group = rule.secret_group or 0
    to.check = assert(_M.check(rule.check or "none"), "check of a rule")
    to.scope = bit.bor(scope_bits(rule.scope), rule.no_decode and C.PS_SCOPE_NO_DECODE or 0)
    to.priority, to.entropy_min = rule.priority or 0, rule.entropy or 0
  end
  kept[#kept + 1] = array
  return array, #list
end

-- All that the compiled patterns depend on.
local function cache_key(rules)
  local parts = { "secrets", ffi.string(lib.ps_secrets_platform()) }
  for _, rule in ipairs(rules) do
    parts[#parts + 1] = rule.pattern
    parts[#parts + 1] = table.concat(rule.keywords or {}, "\1")
  end
  return table.concat(parts, "\n")
end

local function open_cache(directory)
  directory = directory or cache.default_directory()
  return directory and cache.open(directory .. "/secrets") or nil
end

local Engine = {}
Engine.__index = Engine

--- Make rules ready. Compiled patterns are kept for the next time (plainsight.cache).
-- @param rules list of { id, pattern } and optionally keywords (list, lower case), secret_group (number), entropy
--   (number), check (name), priority (number), scope (list of "target", "headers", "body", "message"), no_decode
--   (boolean), allows (list like the second argument); see struct ps_secret_rule for what each means
-- @param allows optional, for all rules: list of { patterns, stopwords (lower case), target ("secret", "match" or
--   "line"), condition ("and" or "or") }, all optional
-- @param opts optional: cache_directory, or no_cache = true
-- @return object, or nil and a message
function _M.new(rules, allows, opts)
  if not lib then return nil, library.err end
  opts = opts or {}
  local kept, config = {}, ffi.new("struct ps_secret_config")
  config.rules, config.rule_count = rule_structs(rules, kept)
  config.allows, config.allow_count = allow_structs(allows or {}, kept)
  local store, image = not opts.no_cache and open_cache(opts.cache_directory) or nil, ""
  local key = store and cache_key(rules)
  if store then image = store:get(key) or "" end
  local slice, err = ffi.new("struct ps_slice", { image, #image }), ffi.new("char[?]", C.PS_SECRET_ERROR_MAX)
  local handle = lib.ps_secrets_new(config, slice, err)
  if handle == nil then return nil, ffi.string(err) end
  ffi.gc(handle, lib.ps_secrets_free)
  if store and not lib.ps_secrets_is_cached(handle) then
    local made = lib.ps_secrets_image(handle)
    if made.len > 0 then store:put(key, ffi.string(made.data, made.len)) end
  end
  local self = setmetatable({ handle = handle, rules = rules }, Engine)
  self.stream = self:new_stream()
  return self
end

--- A stream of its own (struct ps_secret_stream *), for texts in pieces that are read side by side.
function Engine:new_stream()
  local stream = lib.ps_secret_stream_new(self.handle)
  assert(stream ~= nil, "out of memory")
  return ffi.gc(stream, lib.ps_secret_stream_free)
end

--- How a rule is looked for: "exact", "prefilter" or "keyword".
-- @param index of the rule in the list, from 1
function Engine:engine_of(index) return engines[lib.ps_secrets_engine(self.handle, index - 1)] end

--- Whether the patterns came from the cache.
function Engine:is_cached() return lib.ps_secrets_is_cached(self.handle) end

local function encodings_of(match)
  local list = {}
  for i = 0, 3 do list[#list + 1] = encodings[match.encodings[i]] end
  return list
end

local function tables_of(self, matches)
  local list = { dropped = matches.dropped ~= 0 }
  for i = 0, matches.count - 1 do
    local match = matches.list[i]
    list[i + 1] = {
      rule = self.rules[match.rule + 1], first = tonumber(match.begin) + 1, last = tonumber(match["end"]),
      match_first = tonumber(match.match_begin) + 1, match_last = tonumber(match.match_end),
      secret = ffi.string(match.secret.data, match.secret.len), encodings = encodings_of(match),
    }
  end
  return list
end

--- What is found in a text.
-- @param text string
-- @param scope optional: "target", "headers", "body" or "message"
-- @return list of { rule (as given), first, last (bytes of the text, as of string.sub; of encoded text those that
--   must go), match_first, match_last, secret (decoded), encodings (list of "base64", "percent", "json", the outermost
--   first) }; dropped is true when there were too many
function Engine:scan(text, scope)
  return tables_of(self, lib.ps_secrets_scan(self.stream, scopes[scope] or 0, text, #text))
end

--- The same for a text in pieces.
-- @param pieces list of strings
function Engine:scan_pieces(pieces, scope)
  lib.ps_secret_stream_begin(self.stream, scopes[scope] or 0)
  for _, piece in ipairs(pieces) do lib.ps_secret_stream_feed(self.stream, piece, #piece) end
  return tables_of(self, lib.ps_secret_stream_end(self.stream))
end

--- Counters of scan() and scan_pieces(): bytes, nested_bytes, unsearched, undecoded_bytes.
function Engine:stats()
  local stats = lib.ps_secret_stream_stats(self.stream)
  return {
    bytes = tonumber(stats.bytes), nested_bytes = tonumber(stats.nested_bytes),
    unsearched = tonumber(stats.unsearched), undecoded_bytes = tonumber(stats.undecoded_bytes),
  }
end

return _M
