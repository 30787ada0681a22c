-- SPDX-License-Identifier: Apache-2.0
--- What HAR wants taken apart: URLs, queries, forms, cookies.
local ffi = require "ffi"
local lib = require("plainsight.library").lib

local _M = {}

-- Of a captured string, all that may be in a URI (RFC 3986 2) passes, "%" as well; the rest is encoded.
local NOT_OF_URI = "[^%w%-._~:/?#%[%]@!$&'()*+,;=%%]"

local of_uri, not_question_mark = ffi.new("uint8_t[256]"), ffi.new("uint8_t[256]")
for byte = 0, 255 do
  of_uri[byte] = string.char(byte):find(NOT_OF_URI) and 0 or 1
  not_question_mark[byte] = byte == 0x3f and 0 or 1
end

--- Whether bytes need no encoding, as most do not.
-- @param data const char *, len bytes
-- @return boolean
function _M.is_of_uri(data, len)
  return lib.ps_span(data, len, of_uri) == len
end

--- Whether a target has no query.
-- @param target const struct ps_slice
-- @return boolean
function _M.has_no_query(target)
  return lib.ps_span(target.data, target.len, not_question_mark) == target.len
end

--- Bytes as they may stand in a URI.
-- @param text string of raw bytes
-- @return string of ASCII
function _M.encoded(text)
  return (text:gsub(NOT_OF_URI, function(c) return ("%%%02X"):format(c:byte()) end))
end

local function decoded(text)
  return (text:gsub("%+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

--- The pairs of a query or form (WHATWG URL, 5.1: application/x-www-form-urlencoded).
-- @param text string
-- @return list of { name, value }, decoded, in order
function _M.pairs(text)
  local list = {}
  for item in text:gmatch("[^&]+") do
    local name, value = item:match("^([^=]*)=?(.*)$")
    list[#list + 1] = { decoded(name), decoded(value) }
  end
  return list
end

--- The query of a request target or URL.
-- @param target string
-- @return string without "?", empty when there is none
function _M.query(target)
  return target:match("^[^?#]*%?([^#]*)") or ""
end

local function trimmed(text)
  return text:match("^[ \t]*(.-)[ \t]*$")
end

--- The cookies of a Cookie header (RFC 6265 5.4).
-- @param value string
-- @param list of { name, value }, to which they are added
function _M.add_cookies(value, list)
  for item in value:gmatch("[^;]+") do
    local name, content = item:match("^([^=]*)=(.*)$")
    if name and trimmed(name) ~= "" then list[#list + 1] = { trimmed(name), trimmed(content) } end
  end
end

local months = {
  jan = 1, feb = 2, mar = 3, apr = 4, may = 5, jun = 6, jul = 7, aug = 8, sep = 9, oct = 10, nov = 11, dec = 12,
}

--- A date of HTTP, in any of its three forms (RFC 9110 5.6.7) or with dashes as cookies have it, as ISO 8601.
-- @param text string
-- @return string such as "2026-11-26T20:01:33Z", or nil when it is none
function _M.iso_date(text)
  local day, month, year = text:match("(%d%d?)[ -](%a%a%a)%a*[ -](%d%d%d?%d?)")
  if not day then month, day, year = text:match("(%a%a%a) +(%d%d?) %d%d:%d%d:%d%d (%d%d%d%d)") end
  local hour, minute, second = text:match("(%d%d):(%d%d):(%d%d)")
  local number = month and months[month:lower()]
  day, year = tonumber(day), tonumber(year)
  if not number or not hour or day < 1 or day > 31 or tonumber(hour) > 23 or tonumber(minute) > 59
    or tonumber(second) > 60 then
    return nil
  end
  if year < 100 then year = year + (year < 70 and 2000 or 1900) end -- RFC 6265 5.1.1
  return ("%04d-%02d-%02dT%s:%s:%sZ"):format(year, number, day, hour, minute, second)
end

--- A Set-Cookie header (RFC 6265 5.2).
-- @param value string
-- @return table: name, value, and where they were given path, domain, expires (ISO 8601), same_site (strings),
--   http_only, secure (true); nil when it is malformed
function _M.set_cookie(value)
  local pair, attributes = value:match("^([^;]*);?(.*)$")
  local name, content = pair:match("^([^=]*)=(.*)$")
  if not name then return nil end
  local cookie = { name = trimmed(name), value = trimmed(content) }
  for item in attributes:gmatch("[^;]+") do
    local key, text = item:match("^([^=]*)=?(.*)$")
    key, text = trimmed(key):lower(), trimmed(text)
    if key == "httponly" then
      cookie.http_only = true
    elseif key == "secure" then
      cookie.secure = true
    elseif key == "expires" then
      cookie.expires = _M.iso_date(text)
    elseif key == "samesite" then
      cookie.same_site = text
    elseif key == "path" or key == "domain" then
      cookie[key] = text
    end
  end
  return cookie
end

return _M
