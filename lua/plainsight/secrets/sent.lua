-- SPDX-License-Identifier: Apache-2.0
--- Credentials that go where they should not: in clear text to another host, to a host that is not the provider's, in
-- a URL. Personal data of high severity, such as cards, should not go in clear text either.
local ffi = require "ffi"
local glob = require "plainsight.glob"
require "plainsight.contract"

local _M = {}

local C = ffi.C

local globs = setmetatable({}, { __mode = "k" }) -- by list of providers

-- Lua patterns for a list of globs. "*.x.com" is "x.com", too.
local function patterns_of(providers)
  local patterns = globs[providers]
  if patterns then return patterns end
  patterns = {}
  for _, host in ipairs(providers) do
    patterns[#patterns + 1] = glob.pattern(host)
    if host:sub(1, 2) == "*." then patterns[#patterns + 1] = glob.pattern(host:sub(3)) end
  end
  globs[providers] = patterns
  return patterns
end

--- Whether a host is one of those.
-- @param host string, with or without port
-- @param providers list of globs in lower case
function _M.is_provider(host, providers)
  host = host:lower():gsub(":%d+$", "")
  for _, pattern in ipairs(patterns_of(providers)) do
    if host:find(pattern) then return true end
  end
  return false
end

local function starts_with(addr, ...)
  for i, byte in ipairs { ... } do
    if addr[i - 1] ~= byte then return false end
  end
  return true
end

local function is_loopback(endpoint)
  local addr = endpoint.addr
  if endpoint.family == C.PS_FAMILY_INET then return addr[0] == 127 end
  return starts_with(addr, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
    or starts_with(addr, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127)
end

--- Whether a connection leaves the host: not a unix socket, not loopback, not to an address of its own.
-- @param ex const struct ps_exchange *
function _M.leaves_host(ex)
  local own, remote = ex["local"], ex.remote
  if own.family ~= C.PS_FAMILY_INET and own.family ~= C.PS_FAMILY_INET6 then return false end
  if is_loopback(remote) then return false end
  for i = 0, 15 do
    if own.addr[i] ~= remote.addr[i] then return true end
  end
  return false
end

--- What is wrong with where a value goes.
-- @param finding { rule, part ("request", "response", "message"), where, direction ("out", "in"), host, encrypted,
--   leaves_host, is_from_client }
-- @return list of { finding = kind, severity, reason }
function _M.judge(finding)
  local list, rule = {}, finding.rule
  local is_grave = rule.kind == "credential" or rule.severity == "high" or rule.severity == "critical"
  if is_grave and not finding.encrypted and finding.leaves_host then
    list[#list + 1] = {
      finding = "cleartext", severity = rule.severity == "critical" and "critical" or "high",
      reason = "sent without TLS to another host",
    }
  end
  if rule.kind ~= "credential" then return list end
  if rule.providers and finding.is_from_client and finding.host ~= "?" and
    not _M.is_provider(finding.host, rule.providers) then
    list[#list + 1] = {
      finding = "other-provider", severity = "critical",
      reason = ("a credential for %s, sent to another host"):format(rule.providers[1]),
    }
  end
  if finding.where == "path" or finding.where == "query" then
    list[#list + 1] = {
      finding = "in-url", severity = "medium",
      reason = "in a URL, which logs, histories and Referer headers keep",
    }
  end
  return list
end

return _M
