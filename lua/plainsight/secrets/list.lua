-- SPDX-License-Identifier: Apache-2.0
--- The list of rules: for --list-rules, and as a part of the manual page.
local rules = require "plainsight.secrets.rules"

local _M = {}

--- For --list-rules: a line for each rule, in the order of families: id, severity, kind, description.
-- @param list of rules
-- @return string
function _M.text(list)
  local width, lines = 0, {}
  for _, rule in ipairs(list) do width = math.max(width, #rule.id) end
  for i, rule in ipairs(list) do
    local from = rule.source and (" (%s:%d)"):format(rule.source, rule.line) or ""
    lines[i] = ("%s%s  %-8s  %-10s  %s%s\n"):format(rule.id, (" "):rep(width - #rule.id), rule.severity, rule.kind,
      rule.description:gsub("%c", " "), from)
  end
  return table.concat(lines)
end

-- Text for mdoc(7): nothing in it is a macro or an escape.
local function roff(text)
  return (text:gsub("\\", "\\e"):gsub("^([.'])", "\\&%1"))
end

local function rule_lines(rule, lines)
  lines[#lines + 1] = (".It Sy %s Pq %s"):format(roff(rule.id), rule.severity)
  lines[#lines + 1] = roff(rule.description) .. "."
  if rule.providers then
    lines[#lines + 1] = ("Belongs to %s."):format(roff(table.concat(rule.providers, ", ")))
  end
end

--- For the manual page: families with their rules, in mdoc(7).
-- @param list of built-in rules
-- @return string
function _M.man(list)
  local lines, family = {}, nil
  for _, rule in ipairs(list) do
    if rule.family ~= family then
      if family then lines[#lines + 1] = ".El" end
      family = rule.family
      lines[#lines + 1] = ".Ss " .. roff(rules.titles[family])
      lines[#lines + 1] = ".Bl -tag -width Ds"
    end
    rule_lines(rule, lines)
  end
  lines[#lines + 1] = ".El"
  return table.concat(lines, "\n") .. "\n"
end

local BEGIN, END = '.\\" rules: begin, written by scripts/man-rules\n', '.\\" rules: end\n'

--- A manual page with its list of rules made anew.
-- @param page string: the page, with the lines between which they stand
-- @param list of built-in rules
-- @return string, or nil when these lines are not there
function _M.with_rules(page, list)
  local first = select(2, page:find(BEGIN, 1, true))
  local last = page:find(END, 1, true)
  if not first or not last then return nil end
  return page:sub(1, first) .. _M.man(list) .. page:sub(last)
end

return _M
