-- SPDX-License-Identifier: Apache-2.0
--- Masking of secrets in everything that is shown (src/plainsight_secrets.h).
local ffi = require "ffi"
local bit = require "bit"
local content = require "plainsight.output.content"
local engine = require "plainsight.secrets.engine"
local library = require "plainsight.library"
local rules = require "plainsight.secrets.rules"

local _M = {}

local C = ffi.C
local lib = library.lib

--- Bytes that are kept of a body beyond what is shown of it.
_M.SLACK_BYTES = C.PS_REDACT_SLACK

-- Of bytes, as many as there are.
local ALL = 0xffffffffffffffffULL

local Redactor = {}
Redactor.__index = Redactor

-- All that secretscan finds, and what is not worth a report.
local function masked_rules()
  local list = {}
  for _, rule in ipairs(rules.builtin()) do list[#list + 1] = rule end
  for _, rule in ipairs(rules.masking()) do list[#list + 1] = rule end
  return list
end

--- A key for hashes.
-- @return uint8_t[32]; or nil and a message
function _M.random_key()
  local key = ffi.new("uint8_t[?]", C.PS_SECRET_KEY_BYTES)
  if not lib.ps_secret_random_key(key) then return nil, "no random numbers can be had" end
  return key
end

--- @param key uint8_t[32]
-- @return string of 64 hexadecimal digits
function _M.key_text(key)
  return (ffi.string(key, C.PS_SECRET_KEY_BYTES):gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

--- The key that key_text() gave; nil for any other string.
function _M.key_from_text(text)
  if #text ~= 2 * C.PS_SECRET_KEY_BYTES or text:find("[^%x]") then return nil end
  local bytes = text:gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end)
  local key = ffi.new("uint8_t[?]", C.PS_SECRET_KEY_BYTES)
  ffi.copy(key, bytes, #bytes)
  return key
end

local function make(finder, key, options)
  ffi.copy(options.key, key, C.PS_SECRET_KEY_BYTES)
  local handle = lib.ps_redactor_new(finder.handle, options)
  if handle == nil then return nil, "out of memory" end
  return setmetatable({ handle = ffi.gc(handle, lib.ps_redactor_free), finder = finder, key = key }, Redactor)
end

-- Of what was masked before, bodies are as long as they may be, and may have been made longer by masks.
local function new_options(opts)
  local options = ffi.new("struct ps_redact_options")
  local again = opts.masked_before
  options.body_bytes_max = again and opts.max_body_bytes >= again.max_body_bytes and ALL or opts.max_body_bytes
  options.what = again and C.PS_REDACT_AGAIN or 0
  return options
end

-- What is shown of an item; sinks may show everything.
local function options_of(opts, has_sinks)
  local is_kept = opts.record ~= nil -- for a replay that may show all of it, in any way
  local shows_all = opts.json or opts.verbose or has_sinks or is_kept
  local options = new_options(opts)
  options.preview_bytes = shows_all and ALL or opts.preview_bytes
  options.what = bit.bor(options.what, shows_all and C.PS_REDACT_HEADERS or 0,
    (opts.no_decode or is_kept) and C.PS_REDACT_CODED or 0)
  return options
end

-- Key and finder of a run: hashes of all that is masked in it can be compared.
local function begin(opts)
  local key, err = opts.secret_key
  if not key then key, err = _M.random_key() end
  if not key then return nil, err end
  local finder
  finder, err = engine.new(masked_rules())
  return finder and { finder = finder, key = key }, err
end

--- Make one that follows what the options show. Bodies that are decoded from now on are masked too.
-- @param opts see plainsight.cli.parse; and secret_key (uint8_t[32], or nil: a random one), masked_before (nil, or
--   { max_body_bytes = number } of a recording whose secrets were masked)
-- @param has_sinks boolean: outputs beside the main one show everything
-- @return object, or nil and a message
function _M.new(opts, has_sinks)
  local run, self, err
  run, err = begin(opts)
  if not run then return nil, err end
  self, err = make(run.finder, run.key, options_of(opts, has_sinks))
  if not self then return nil, err end
  content.attach(function(decoder) lib.ps_redactor_attach(self.handle, decoder) end)
  return self
end

-- One for what has all of an item, bodies as on the wire: a coded one in which a secret is found is withheld.
local function for_wire(opts, shown, what)
  local options, err = new_options(opts)
  options.preview_bytes = ALL
  options.what = bit.bor(options.what, C.PS_REDACT_HEADERS, C.PS_REDACT_CODED, what)
  if not shown then shown, err = begin(opts) end
  if not shown then return nil, err end
  return make(shown.finder, shown.key, options)
end

--- Make one for a recording of items.
-- @param opts see new()
-- @param shown the one for what is shown, whose key and rules it has; or nil
-- @return object, or nil and a message
function _M.for_recording(opts, shown) return for_wire(opts, shown, 0) end

--- Make one for sinks that write bytes as they were on the wire, where lengths are told beforehand (is_wire in
-- plainsight.output.sinks): what is masked in bodies and messages keeps its length.
-- @param opts, shown see for_recording()
-- @return object, or nil and a message
function _M.for_wire(opts, shown) return for_wire(opts, shown, C.PS_REDACT_SAME_LENGTH) end

--- An item as it may be shown: itself, or a copy that is valid until the next call; nil when memory was short.
-- @param item const struct ps_item *
function Redactor:item(item)
  local shown = lib.ps_redact(self.handle, item)
  if shown == nil then return nil end
  return shown
end

--- Counters: values that were masked, bodies that were withheld, bytes that were looked through, and what could not be.
function Redactor:stats()
  local stats = lib.ps_redactor_stats(self.handle)
  return {
    values = tonumber(stats.values), withheld = tonumber(stats.withheld), bytes = tonumber(stats.scanned.bytes),
    unsearched = tonumber(stats.scanned.unsearched),
  }
end

return _M
