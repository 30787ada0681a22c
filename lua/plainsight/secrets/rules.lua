-- SPDX-License-Identifier: Apache-2.0
--- The built-in rules: data in rules/, a file for each family, checked when they are read.
--
-- A rule is a table:
--
--   id           string, [a-z0-9-]+
--   description  string: what is found
--   severity     "low", "medium", "high" or "critical"
--   kind         "credential" or "personal"
--   pattern      string: regular expression that PCRE2 and Hyperscan agree on, over bytes
--   secret_group number of the group that is the secret; nil: the first that is not empty, or all that matched
--   keywords     list of strings in lower case: one must be near the match; nil: none has to
--   entropy      number: least entropy of the secret, bits per character; nil: any
--   check        name of a checksum or form that it must have (src/secret_check.c); nil: none
--   scope        list of "target", "headers", "body", "message"; nil: everywhere
--   priority     integer: of secrets with bytes in common the one with the highest is told; default 0
--   allows       list of { patterns = list, stopwords = list in lower case, target = "secret", "match" or "line",
--                condition = "or" or "and" }: what matches one of them is no secret. In the files `allow` is one or a
--                list
--   providers    list of globs: hosts to which this credential belongs; nil: not known
--   family       string: name of its file
--   examples, lookalikes   lists of templates (plainsight.secrets.samples): what must be found, and must not
local samples = require "plainsight.secrets.samples"

local _M = {}

--- Families, in the order in which they are listed; the one of masking() is none of them.
_M.families = {
  "cloud", "vcs_ci", "ai", "payment", "chat", "keys", "jwt", "http_auth", "fields", "generic", "personal",
}

--- Titles of families, for people.
_M.titles = {
  cloud = "Clouds and monitoring", vcs_ci = "Version control, builds, registries, tools", ai = "Model services",
  payment = "Payment and shops", chat = "Chat, mail, telephony", keys = "Private keys", jwt = "JSON Web Tokens",
  http_auth = "HTTP authentication", fields = "Fields by name", generic = "Generic", personal = "Personal data",
}

--- Severities, the least first.
_M.severities = { "low", "medium", "high", "critical" }

--- Number of a severity, from 1.
_M.rank = { low = 1, medium = 2, high = 3, critical = 4 }

local kinds = { credential = true, personal = true }

local fields = {
  id = "string", description = "string", severity = "string", kind = "string", pattern = "string",
    secret_group = "number",
  keywords = "table", entropy = "number", check = "string", scope = "table", priority = "number", allow = "table",
  providers = "table", examples = "table", lookalikes = "table",
}

-- A mistake in a rule of ours is ours.
local function check(rule, family)
  local name = ("rule %s of %s"):format(tostring(rule.id), family)
  for key, value in pairs(rule) do
    if fields[key] ~= type(value) then error(("%s: %s is not known or no %s"):format(name, key,
      tostring(fields[key]))) end
  end
  for _, key in ipairs { "id", "description", "severity", "kind", "pattern", "examples", "lookalikes" } do
    if not rule[key] then error(("%s has no %s"):format(name, key)) end
  end
  assert(rule.id:find("^[a-z0-9-]+$") and _M.rank[rule.severity] and kinds[rule.kind], name)
end

-- One allow list or several, with all fields.
local function allows_of(rule)
  local list = rule.allow or {}
  if list.patterns or list.stopwords then list = { list } end
  local allows = {}
  for i, allow in ipairs(list) do
    allows[i] = {
      patterns = allow.patterns or {}, stopwords = allow.stopwords or {}, target = allow.target or "secret",
      condition = allow.condition or "or",
    }
  end
  return allows
end

local function read_family(family, rules, seen)
  for _, rule in ipairs(require("plainsight.secrets.rules." .. family)) do
    if not rule.family then -- the module is a table that others may have read
      check(rule, family)
      rule.allows, rule.allow, rule.family = allows_of(rule), nil, family
    end
    if seen[rule.id] then error(("two rules are named %s"):format(rule.id)) end
    seen[rule.id] = true
    rules[#rules + 1] = rule
  end
end

--- All built-in rules, in order.
-- @return list of rules, which are not to be changed
function _M.builtin()
  local rules, seen = {}, {}
  for _, family in ipairs(_M.families) do read_family(family, rules, seen) end
  return rules
end

--- Rules for what is masked and not reported.
-- @return as builtin()
function _M.masking()
  local rules = {}
  read_family("masking", rules, {})
  return rules
end

--- What a rule must find, and must not, as text.
-- @return list of strings, list of strings
function _M.samples(rule)
  local examples, lookalikes = {}, {}
  for i, template in ipairs(rule.examples or {}) do examples[i] = samples.expand(template) end
  for i, template in ipairs(rule.lookalikes or {}) do lookalikes[i] = samples.expand(template) end
  return examples, lookalikes
end

--- Put rules of a user's file in the place of, and behind, others: one with the same id replaces the other.
-- @param rules list, changed
-- @param added list
function _M.merge(rules, added)
  local index = {}
  for i, rule in ipairs(rules) do index[rule.id] = i end
  for _, rule in ipairs(added) do
    if index[rule.id] then
      rules[index[rule.id]] = rule
    else
      rules[#rules + 1] = rule
      index[rule.id] = #rules
    end
  end
end

return _M
