-- SPDX-License-Identifier: Apache-2.0
--- Rule files in the format of gitleaks (https://github.com/gitleaks/gitleaks, its README and config/), read into
-- rules of ours (lua/plainsight/secrets/rules.lua). What a file uses and traffic has no meaning for, or we do not
-- support, is told with its line; a rule that would match something else without it is left out.
local ffi = require "ffi"
local files = require "plainsight.files"
local go_regex = require "plainsight.secrets.go_regex"
local toml = require "plainsight.toml"

local _M = {}

-- As in gitleaks: a file that is extended may extend another one.
local EXTEND_DEPTH_MAX = 2

--- What stands for the severity and kind that these files do not have.
_M.SEVERITY, _M.KIND = "high", "credential"

local Reader = {}
Reader.__index = Reader

function Reader:note(line, message)
  self.notes[#self.notes + 1] = ("%s:%d: %s"):format(self.name, line, message)
end

function Reader:fail(line, message)
  error({ refused = ("%s:%d: %s"):format(self.name, line, message) }, 0)
end

local function is_list_of_strings(value)
  if type(value) ~= "table" then return false end
  local count = 0
  for key, item in pairs(value) do
    if type(key) ~= "number" or type(item) ~= "string" then return false end
    count = count + 1
  end
  return count == #value
end

local kinds = {
  string = function(value) return type(value) == "string" end,
  number = function(value) return type(value) == "number" end,
  boolean = function(value) return type(value) == "boolean" end,
  table = function(value) return type(value) == "table" end,
  ["list of strings"] = is_list_of_strings,
}

-- object[key], which must be of that kind when it is there.
function Reader:get(object, key, kind)
  local value = object[key]
  if value == nil then return nil end
  if not kinds[kind](value) then self:fail(self.lines[object][key], ("%s is no %s"):format(key, kind)) end
  return value
end

-- object[key], a list of tables; of one table a list with it.
function Reader:tables(object, key)
  local value = self:get(object, key, "table") or {}
  if next(value) ~= nil and value[1] == nil then return { value }, {} end
  for i, item in ipairs(value) do
    if type(item) ~= "table" then self:fail(self.lines[value][i], ("%s is no array of tables"):format(key)) end
  end
  return value, self.lines[value] or {}
end

-- Keys of a table, in the order of their lines.
function Reader:keys(object)
  local keys, lines = {}, self.lines[object]
  for key in pairs(object) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return lines[a] == lines[b] and a < b or lines[a] < lines[b] end)
  return keys
end

-- Tell of keys that we do not know, or know not to support: reasons[key] is a text, or false for those that are used.
function Reader:check_keys(object, what, reasons)
  for _, key in ipairs(self:keys(object)) do
    local reason = reasons[key]
    if reason == nil then
      self:note(self.lines[object][key], ("%s of %s is not known, and not used"):format(key, what))
    elseif reason then
      self:note(self.lines[object][key], ("%s of %s is not supported: %s"):format(key, what, reason))
    end
  end
end

-- Expressions of a list; those that cannot be used are told of. Returns a list, and whether it holds all of them.
function Reader:expressions(object, key, what)
  local list, is_whole = {}, true
  local sources = self:get(object, key, "list of strings") or {}
  for i, source in ipairs(sources) do
    local pattern, wrong = go_regex.to_pcre(source)
    if pattern then
      list[#list + 1] = pattern
    else
      is_whole = false
      self:note(self.lines[sources][i], ("an expression of %s is not used: %s"):format(what, wrong))
    end
  end
  return list, is_whole
end

local no_files = "traffic has no files"
local allow_keys = {
  description = false, condition = false, regexes = false, regexTarget = false, stopwords = false, targetRules = false,
  paths = no_files, commits = "traffic has no commits",
}
local targets = { secret = "secret", match = "match", line = "line", [""] = "secret" }

local function lower_all(list)
  local lowered = {}
  for i, text in ipairs(list or {}) do lowered[i] = text:lower() end
  return lowered
end

-- One allowlist, as those of rules (plainsight.secrets.rules), or nil when nothing of it can be used.
function Reader:allowlist(object, what)
  self:check_keys(object, what, allow_keys)
  local first_line = self.lines[object][self:keys(object)[1]] or 1
  local condition = (self:get(object, "condition", "string") or "OR"):upper()
  if condition ~= "OR" and condition ~= "||" and condition ~= "AND" and condition ~= "&&" then
    self:fail(self.lines[object].condition, ("condition %s is not one of OR, AND"):format(condition))
  end
  local target = targets[self:get(object, "regexTarget", "string") or ""]
  if not target then self:fail(self.lines[object].regexTarget, "regexTarget is not one of secret, match, line") end
  local regexes, is_whole = self:expressions(object, "regexes", what)
  local stopwords = lower_all(self:get(object, "stopwords", "list of strings"))
  local needs_all = condition == "AND" or condition == "&&"
  if needs_all and (object.paths or object.commits or not is_whole) then
    self:note(first_line, ("%s is not used: not all of what it wants (condition AND) can be found"):format(what))
    return nil
  end
  if #regexes == 0 and #stopwords == 0 then return nil end
  return {
    patterns = regexes, target = target, stopwords = stopwords,
    condition = needs_all and "and" or "or",
    target_rules = self:get(object, "targetRules", "list of strings"),
  }
end

-- A table of its own, or an array of tables; both are in use.
function Reader:allowlists(object, what)
  local list = {}
  for _, key in ipairs { "allowlist", "allowlists" } do
    for _, entry in ipairs((self:tables(object, key))) do
      local allow = self:allowlist(entry, ("an allowlist of %s"):format(what))
      if allow then list[#list + 1] = allow end
    end
  end
  return list
end

local rule_keys = {
  id = false, description = false, regex = false, entropy = false, keywords = false, secretGroup = false, tags = false,
  allowlist = false, allowlists = false,
  path = no_files .. "; the rule is left out",
  required = "it depends on other findings nearby; the rule is left out",
  skipReport = "the rule is left out",
}

-- Whether a rule would match something else if we did not look at a part of it.
local function is_unusable(object)
  return object.path ~= nil or object.required ~= nil or object.skipReport == true
end

-- Number of capture groups, to check secretGroup against.
function Reader:secret_group(object, groups)
  local group = self:get(object, "secretGroup", "number")
  if not group or group == 0 then return nil end
  if group < 0 or group ~= math.floor(group) or group > groups then
    self:fail(self.lines[object].secretGroup, ("secretGroup %s: the regex has %d groups"):format(group, groups))
  end
  return group
end

-- The rule of a table, or nil when it cannot be used, which was told. extends: a rule of the same id that this one
-- changes.
function Reader:rule(object, line, extends)
  local id = self:get(object, "id", "string")
  if not id or id == "" then self:fail(line, "a rule has no id") end
  local what = ("rule %s"):format(id)
  self:check_keys(object, what, rule_keys)
  if is_unusable(object) then return nil end
  local source, pattern, groups = self:get(object, "regex", "string"), nil, nil
  if source then
    pattern, groups = go_regex.to_pcre(source)
    if not pattern then
      self:note(self.lines[object].regex, ("%s is left out: its regex %s"):format(what, groups))
      return nil
    end
  elseif not extends then
    self:fail(line, ("%s has no regex"):format(what))
  end
  local base = extends or {}
  local rule = {
    id = id, severity = _M.SEVERITY, kind = _M.KIND, source = self.name, line = line,
    description = self:get(object, "description", "string") or base.description or "",
    pattern = pattern or base.pattern, groups = groups or base.groups,
    entropy = self:get(object, "entropy", "number") or base.entropy,
    keywords = lower_all(self:get(object, "keywords", "list of strings") or base.keywords),
    tags = self:get(object, "tags", "list of strings") or base.tags,
    allows = self:allowlists(object, what),
  }
  rule.secret_group = self:secret_group(object, rule.groups) or base.secret_group
  if rule.entropy and rule.entropy <= 0 then rule.entropy = nil end
  for _, allow in ipairs(base.allows or {}) do rule.allows[#rule.allows + 1] = allow end
  return rule
end

local file_keys = {
  title = false, description = false, rules = false, allowlist = false, allowlists = false, extend = false,
  minVersion = "it is about gitleaks",
}
local extend_keys = {
  path = false, disabledRules = false,
  useDefault = "gitleaks' own rules are not part of Plainsight: give their file with --rules as well",
  url = "nothing is fetched: save the file and give it with path",
}

-- The rules that a file builds on, by their ids, and in order.
function Reader:extended(root, depth)
  local extend = self:get(root, "extend", "table")
  if not extend then return {}, {} end
  self:check_keys(extend, "extend", extend_keys)
  local path = self:get(extend, "path", "string")
  local disabled, by_id, order = {}, {}, {}
  for _, id in ipairs(self:get(extend, "disabledRules", "list of strings") or {}) do disabled[id] = true end
  if not path then return by_id, order end
  if depth >= EXTEND_DEPTH_MAX then self:fail(self.lines[extend].path, "files are extended too deeply") end
  local inner, err = _M.read(path, depth + 1)
  if not inner then self:fail(self.lines[extend].path, err) end
  for _, note in ipairs(inner.notes) do self.notes[#self.notes + 1] = note end
  for _, rule in ipairs(inner.rules) do
    if not disabled[rule.id] then
      by_id[rule.id], order[#order + 1] = rule, rule.id
    end
  end
  return by_id, order
end

-- A list of the file goes for all of its rules, or for those that it names.
local function add_global(allow, rules)
  local wanted
  if allow.target_rules and #allow.target_rules > 0 then
    wanted = {}
    for _, id in ipairs(allow.target_rules) do wanted[id] = true end
  end
  for _, rule in ipairs(rules) do
    if not wanted or wanted[rule.id] then rule.allows[#rule.allows + 1] = allow end
  end
end

function Reader:document(root, depth)
  self:check_keys(root, "the file", file_keys)
  local by_id, order = self:extended(root, depth)
  local tables, lines = self:tables(root, "rules")
  local seen = {}
  for i, object in ipairs(tables) do
    local line = lines[i] or self.lines[root].rules
    local rule = self:rule(object, line, by_id[object.id])
    if rule and seen[rule.id] then self:fail(line, ("rule %s is already there"):format(rule.id)) end
    if rule then
      if not by_id[rule.id] then order[#order + 1] = rule.id end
      by_id[rule.id], seen[rule.id] = rule, true
    end
  end
  local rules = {}
  for i, id in ipairs(order) do rules[i] = by_id[id] end
  for _, allow in ipairs(self:allowlists(root, "the file")) do add_global(allow, rules) end
  return rules
end

--- Read rules from the text of a file.
-- @param text string
-- @param name the file's name, for messages
-- @param depth how many files extend this one (default 0)
-- @return { rules = list, notes = list of lines about what is not used }; or nil and a message
function _M.parse(text, name, depth)
  local root, lines, line = toml.parse(text)
  if not root then return nil, ("%s:%d: %s"):format(name, line, lines) end
  local reader = setmetatable({ name = name, lines = lines, notes = {} }, Reader)
  local ok, result = pcall(reader.document, reader, root, depth or 0)
  if ok then return { rules = result, notes = reader.notes } end
  if type(result) == "table" and result.refused then return nil, result.refused end
  error(result, 0)
end

--- Read a file. As parse().
function _M.read(path, depth)
  local bytes, size = files.read_bytes(path)
  if not bytes then return nil, size end
  return _M.parse(ffi.string(bytes, size), path, depth)
end

return _M
