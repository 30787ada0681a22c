-- SPDX-License-Identifier: Apache-2.0
--- Findings that are known and not wanted (--allow FILE). A line is an entry: conditions, of which all must hold.
--
--   # staging key, rotated with the next release
--   hash=9f3a04c2d1b07e55
--   rule=aws-* host=*.amazonaws.com
--   rule=email-address path=/newsletter/*
--
-- rule, host and path are globs (* stands for anything); the host's case does not matter and its port is left out
-- unless the pattern has one, the path is that of the request without its query.
local glob = require "plainsight.glob"

local _M = {}

local List = {}
List.__index = List

local function lower(text) return text:lower() end

local conditions = {
  hash = { check = function(text) return text:find("^%x+$") and #text == 16 end,
    wrong = "is not 16 hexadecimal digits" },
  rule = { check = function(text) return text:find("^[%w*_-]+$") end, wrong = "is not the id of a rule" },
  host = { check = function() return true end, normal = lower },
  path = { check = function(text) return text:find("^[/*]") end, wrong = "does not begin with / or *" },
}

-- An entry from a line, or nil and what is wrong.
local function entry_of(line)
  local entry, count = {}, 0
  for part in line:gmatch("%S+") do
    local name, value = part:match("^(%a+)=(.+)$")
    local condition = conditions[name]
    if not condition then return nil, ("%s is not one of hash=, rule=, host=, path="):format(part) end
    if entry[name] then return nil, name .. " is there twice" end
    if not condition.check(value) then return nil, ("%s %s"):format(part, condition.wrong) end
    entry[name] = name == "hash" and value:lower() or glob.pattern((condition.normal or tostring)(value))
    entry.host_has_port = entry.host_has_port or name == "host" and value:find(":%d+$") ~= nil
    count = count + 1
  end
  return count > 0 and entry or nil
end

--- Read entries.
-- @param text content of the file
-- @param name of the file, for messages
-- @param has_key whether the key of hashes was given; without it they differ from run to run
-- @return list, or nil and a message
function _M.parse(text, name, has_key)
  local entries, number = {}, 0
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do
    number = number + 1
    if not line:find("^%s*#") and line:find("%S") then
      local entry, wrong = entry_of(line)
      if not entry then return nil, ("%s:%d: %s"):format(name, number, wrong) end
      if entry.hash and not has_key then
        return nil, ("%s:%d: hashes differ from run to run without --hash-key-file"):format(name, number)
      end
      entry.line, entry.text, entry.used = number, line:match("^%s*(.-)%s*$"), 0
      entries[#entries + 1] = entry
    end
  end
  return setmetatable({ entries = entries, name = name }, List)
end

local function matches(entry, finding)
  if entry.hash and entry.hash ~= finding.hash then return false end
  if entry.rule and not finding.rule.id:find(entry.rule) then return false end
  if entry.host then
    local host = finding.host:lower()
    if not entry.host_has_port then host = host:gsub(":%d+$", "") end
    if not host:find(entry.host) then return false end
  end
  return not entry.path or finding.path:find(entry.path) ~= nil
end

--- Whether a finding is allowed; counts the entry that says so.
-- @param finding { hash, rule, host, path }
function List:allows(finding)
  for _, entry in ipairs(self.entries) do
    if matches(entry, finding) then
      entry.used = entry.used + 1
      return true
    end
  end
  return false
end

--- Lines about entries that allowed nothing.
function List:unused()
  local lines = {}
  for _, entry in ipairs(self.entries) do
    if entry.used == 0 then lines[#lines + 1] = ("%s:%d: not used: %s"):format(self.name, entry.line, entry.text) end
  end
  return lines
end

return _M
