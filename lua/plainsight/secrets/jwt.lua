-- SPDX-License-Identifier: Apache-2.0
--- What a JSON Web Token says of itself: header (RFC 7515 4.1) and expiry (RFC 7519 4.1.4), nothing else of its claims.
local base64 = require "plainsight.secrets.base64"
local cjson = require "cjson"

local _M = {}

-- No signature at all (RFC 7518 3.6), or a key transport that leaks (RFC 8017 7.2, Bleichenbacher's attack).
local weak_algorithms = { none = "not signed", RSA1_5 = "RSA1_5 key transport" }

local function object_of(part)
  local ok, value = pcall(cjson.decode, base64.decode(part))
  return ok and type(value) == "table" and value or {}
end

-- Names in a header are short words; anything else is not shown, as it may be anything.
local function word(value)
  return type(value) == "string" and value:match("^[%w+_.-]+$") and #value <= 24 and value or nil
end

--- Read one.
-- @param token string: the token as it was sent
-- @param now Unix time in seconds
-- @return { algorithm, type, encryption (words, or nil), expires (Unix time, or nil), expired (boolean, or nil),
--   weak (text, or nil) }
function _M.describe(token, now)
  local header = object_of(token:match("^([^.]*)"))
  local claims = object_of(token:match("^[^.]*%.([^.]*)%.[^.]*$") or "")
  local expires = type(claims.exp) == "numbe"
    .. "r" and claims.exp > 0 and claims.exp < 1e11 and math.floor(claims.exp) or nil
  local algorithm = word(header.alg)
  local weak = algorithm and weak_algorithms[algorithm:lower() == "none" and "none" or algorithm]
  local expired
  if expires then expired = expires <= now end
  return {
    algorithm = algorithm, type = word(header.typ), encryption = word(header.enc), expires = expires, weak = weak,
    expired = expired,
  }
end

--- The same for people, such as "HS256, expired 2024-03-12".
function _M.text(info)
  local words = { info.algorithm or "algorithm unknown" }
  if info.encryption then words[#words + 1] = info.encryption end
  if info.weak then words[#words + 1] = "WEAK: " .. info.weak end
  if info.expires then
    words[#words + 1] = (info.expired and "expired " or "expires ") .. os.date("!%Y-%m-%d", info.expires)
  end
  return table.concat(words, ", ")
end

return _M
