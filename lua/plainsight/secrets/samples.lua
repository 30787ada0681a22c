-- SPDX-License-Identifier: Apache-2.0
--- Examples of rules are templates, so that no source text holds anything that looks like a secret: "ghp_<alnum:36>"
-- stands for these characters and 36 letters and digits, "<>" for nothing.
local base64 = require "plainsight.secrets.base64"

local _M = {}

local LOWER, UPPER, DIGITS = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"

local classes = {
  alnum = UPPER .. LOWER .. DIGITS, letter = UPPER .. LOWER, lower = LOWER, upper = UPPER, digit = DIGITS,
  loweralnum = LOWER .. DIGITS, upperalnum = UPPER .. DIGITS,
  hex = DIGITS .. "abcdef", HEX = DIGITS .. "ABCDEF", base32 = UPPER .. "234567", base32lower = LOWER .. "234567",
  base64 = UPPER .. LOWER .. DIGITS .. "+/", base64url = UPPER .. LOWER .. DIGITS .. "-_",
  x = "x", star = "*", a = "a",
}

-- A sequence of numbers below `below`, the same for the same seed (a linear congruential generator of Numerical
-- Recipes;
-- the high bits are used).
local function numbers(seed)
  local state = seed
  return function(below)
    state = (state * 1664525 + 1013904223) % 4294967296 -- below 2^53
    return math.floor(state / 256) % below
  end
end

local function seed_of(text)
  local seed = 5381
  for i = 1, #text do seed = (seed * 33 + text:byte(i)) % 4294967296 end
  return seed
end

local function base64url(text)
  return (base64.encode(text):gsub("[+/=]", { ["+"] = "-", ["/"] = "_", ["="] = "" }))
end

--- Text of a template. <CLASS:COUNT> is COUNT characters of a class, <uuid> a UUID, <b64:TEXT> and <b64url:TEXT> are
-- TEXT in base64, and <> is nothing; always the same for the same template.
-- @param template string
-- @return string
function _M.expand(template)
  local random = numbers(seed_of(template))
  local function characters(class, count)
    local set = classes[class] or error("no class of characters is named " .. class, 0)
    local chars = {}
    for i = 1, count do
      local at = random(#set) + 1
      chars[i] = set:sub(at, at)
    end
    return table.concat(chars)
  end
  local text = template:gsub("<uuid>", "<hex:8>-<hex:4>-4<hex:3>-a<hex:3>-<hex:12>")
  text = text:gsub("<(%a[%w]*):(%d+)>", function(class, count)
    return classes[class] and characters(class, tonumber(count))
  end)
  text = text:gsub("<b64:([^>]*)>", base64.encode):gsub("<b64url:([^>]*)>", base64url)
  return (text:gsub("<>", ""))
end

return _M
