-- SPDX-License-Identifier: Apache-2.0
--- How requests say who they are from: the security schemes of OpenAPI. Of the values nothing is kept.
local fields = require "plainsight.output.fields"
local mask = require "plainsight.secrets.mask"

local _M = {}

local KEY_HEADERS = { "x-api-key", "api-key", "apikey", "x-auth-token", "x-access-token", "x-apikey" }
local KEY_QUERIES = { api_key = true, apikey = true, ["api-key"] = true, access_token = true, key = true, token = true }
local COOKIE_NAMES = { "sess", "^sid$", "token", "auth", "jwt" }

local function of_authorization(value, found)
  local scheme, credentials = value:match("^(%S+)%s*(.*)$")
  scheme = scheme and scheme:lower()
  if scheme == "bearer" then
    -- Masked, its kind is what is left of it.
    local is_jwt = mask.rule_of(credentials) == "jwt" or credentials:find("^ey[%w_-]+%.[%w_-]+%.[%w_-]*$")
    found.bearer = { type = "http", scheme = "bearer", bearerFormat = is_jwt and "JWT" or nil }
  elseif scheme == "basic" or scheme == "digest" or scheme == "negotiate" or scheme == "hoba" then
    found[scheme] = { type = "http", scheme = scheme }
  elseif scheme then
    found.authorization = { type = "apiKey", ["in"] = "header", name = "Authorization" }
  end
end

local function of_cookies(text, found)
  for name in text:gmatch("([^=;%s]+)=") do
    for _, pattern in ipairs(COOKIE_NAMES) do
      if name:lower():find(pattern) then
        found["cookie_" .. name:gsub("[^%w._-]", "_")] = { type = "apiKey", ["in"] = "cookie", name = name }
      end
    end
  end
end

--- Whether a name in a query is that of a key.
function _M.is_key(name) return KEY_QUERIES[name:lower()] or false end

--- Whether a header says who a request is from.
function _M.is_header(name)
  if name == "authorization" or name == "cookie" then return true end
  for _, header in ipairs(KEY_HEADERS) do
    if header == name then return true end
  end
  return false
end

--- The schemes that a request uses.
-- @param request const struct ps_message *
-- @param query list of { name, value } of its query
-- @return table from names to Security Scheme Objects, maybe empty
function _M.of(request, query)
  local found = {}
  local authorization, cookies = fields.header(request, "authorization"), fields.header(request, "cookie")
  if authorization then of_authorization(authorization, found) end
  if cookies then of_cookies(cookies, found) end
  for _, header in ipairs(KEY_HEADERS) do
    if fields.header(request, header) then
      found[header:gsub("-", "_")] = { type = "apiKey", ["in"] = "header", name = header }
    end
  end
  for _, pair in ipairs(query) do
    if _M.is_key(pair.name) then
      found["query_" .. pair.name:gsub("[^%w._-]", "_")] = { type = "apiKey", ["in"] = "query", name = pair.name }
    end
  end
  return found
end

--- A set of schemes as one word, to tell sets apart.
-- @return string, and the names in order
function _M.key(found)
  local names = {}
  for name in pairs(found) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, " "), names
end

return _M
