-- SPDX-License-Identifier: Apache-2.0
--- Route templates: paths that differ in an identifier only become one, such as "/users/{id}".
--
-- A segment becomes a parameter by its form (number, UUID, date, token ...), or because a position has had too many
-- different ones: a trie of the segments seen keeps at most so many at each, and makes one of them when there are
-- more. So the number of routes is bounded, whatever is asked for.
local mask = require "plainsight.secrets.mask"

local _M = {}

local Routes = {}
Routes.__index = Routes

-- Different literal segments at a position before they become one parameter; and of those that were only ever asked
-- for in vain: a scanner's guesses are no routes.
local CHILDREN_MAX, CHILDREN_MISSING_MAX = 32, 8
local NODES_MAX, SCOPES_MAX = 20000, 256
-- Different endings of parameters at a position, as in "{id}.json".
local EXTENSIONS_MAX = 8
local DEPTH_MAX = 16
local CACHE_MAX = 8192
-- A longer segment is no word that somebody has chosen.
local LITERAL_BYTES_MAX = 64
local TOKEN_BYTES_MIN, HEX_BYTES_MIN = 16, 8

local UUID = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"

-- How often letters of one case, of the other, and digits alternate: often in what a machine made up.
local function alternations(text)
  local count, last = 0, nil
  for i = 1, #text do
    local byte = text:byte(i)
    local class = byte >= 0x30 and byte <= 0x39 and 1 or byte >= 0x61 and 2 or byte >= 0x41 and byte <= 0x5a and 3 or 4
    if last and class ~= last then count = count + 1 end
    last = class
  end
  return count
end

local function is_token(text)
  if #text < TOKEN_BYTES_MIN or not text:find("^[%w_.=~+-]+$") or not text:find("%d") then return false end
  return alternations(text) * 4 >= #text
end

local function is_hexadecimal(text)
  if #text < HEX_BYTES_MIN or not text:find("^%x+$") then return false end
  return #text >= 32 or (text:find("%d") ~= nil and text:find("%a") ~= nil)
end

local function is_prefixed_id(text)
  if text:find("^%a+[-_]%d+$") then return true end -- order-17
  local rest = text:match("^%a[%a_]*_(%w+)$") -- cus_9s6XKzkNRiz8i3
  return rest ~= nil and #rest >= 8 and rest:find("%d") ~= nil and alternations(rest) * 4 >= #rest
end

local function is_date(text)
  return text:find("^%d%d%d%d%-[01]%d%-[0-3]%d$") ~= nil or text:find("^%d%d%d%d%-[01]%d%-[0-3]%dT[%d:.Z+-]+$") ~= nil
end

--- What the form of a path segment says that it is.
-- @param segment string of raw bytes
-- @return nil for a word; else the name of a parameter ("id", "date", "email", "token") and what it holds: "integer",
--   "uuid", "date", "date-time", or "string"
function _M.kind(segment)
  if segment:find("^%-?%d+$") then return "id", "integer" end
  if is_date(segment) then return "date", #segment == 10 and "date" or "date-time" end
  if segment:find(UUID) then return "id", "uuid" end
  if is_hexadecimal(segment) or is_prefixed_id(segment) then return "id", "string" end
  if segment:find("^[%w._+-]+@[%w-]+%.[%w.-]+$") or mask.rule_of(segment) == "email-address" then
    return "email", "string"
  end
  if #segment > LITERAL_BYTES_MAX or is_token(segment) then return "token", "string" end
  -- RFC 3986 3.3: pchar; without "%", what it stands for is data.
  if not segment:find("^[%w._~!$&'()*+,;=:@-]*$") then return "token", "string" end
  return nil
end

-- The placeholder of a segment, such as "{id}", or "{id}.json" for "17.json"; nil for a word.
local function placeholder(segment)
  local base, extension = segment:match("^(.+)(%.%a%w?%w?%w?)$")
  local name = base and _M.kind(base)
  if name then return ("{%s}%s"):format(name, extension) end
  name = _M.kind(segment)
  return name and ("{%s}"):format(name)
end

local function new_node() return { children = {}, literals = 0, extensions = 0 } end

--- Start with no routes known.
-- @param limits nil, or a table: children_max, scopes_max, nodes_max (numbers)
-- @return object
function _M.new(limits)
  limits = limits or {}
  return setmetatable({
    scopes = {}, scope_count = 0, node_count = 0, cache = {}, cache_count = 0, -- of routes, by scope and path
    children_max = limits.children_max or CHILDREN_MAX, scopes_max = limits.scopes_max or SCOPES_MAX,
    nodes_max = limits.nodes_max or NODES_MAX,
  }, Routes)
end

local SLUG = "{slug}"

local function merge(into, from)
  into.collapsed = into.collapsed or from.collapsed
  for key, child in pairs(from.children) do
    local known = into.children[key]
    if known then
      merge(known, child)
    else
      into.children[key] = child
      if key:sub(1, 1) ~= "{" then into.literals = into.literals + 1 end
      if key:find("}.", 1, true) then into.extensions = into.extensions + 1 end
    end
  end
end

-- All words at a position become one parameter, and what follows them one subtree.
local function collapse(node, limit)
  local slug = node.children[SLUG] or new_node()
  local kept = {}
  for key, child in pairs(node.children) do
    if key:sub(1, 1) == "{" then kept[key] = child else merge(slug, child) end
  end
  kept[SLUG] = slug
  node.children, node.literals, node.collapsed = kept, 0, true
  if slug.literals > limit then collapse(slug, limit) end
end

function Routes:forget_cache()
  self.cache, self.cache_count = {}, 0
end

function Routes:add(node, key)
  local child = new_node()
  node.children[key] = child
  self.node_count = self.node_count + 1
  return child
end

-- The child for a word: known, new, or that of all words. nil: not known, and not to be learned.
function Routes:word_child(node, word, is_missing)
  if node.collapsed then return node.children[SLUG], SLUG end
  local child = node.children[word]
  if child then return child, word end
  if is_missing and node.literals >= math.min(CHILDREN_MISSING_MAX, self.children_max) then return nil end
  if node.literals >= self.children_max then
    collapse(node, self.children_max)
    self:forget_cache()
    return node.children[SLUG], SLUG
  end
  node.literals = node.literals + 1
  return self:add(node, word), word
end

function Routes:parameter_child(node, key)
  local child = node.children[key]
  if child then return child, key end
  local bare = key:match("^{%a+}")
  if key ~= bare then
    if node.extensions >= EXTENSIONS_MAX then return self:parameter_child(node, bare) end
    node.extensions = node.extensions + 1
  end
  return self:add(node, key), key
end

function Routes:child(node, segment, parameter, is_missing)
  if parameter then return self:parameter_child(node, parameter) end
  return self:word_child(node, segment, is_missing)
end

-- "{id}" for the first parameter of the name, then "{id2}" and so on.
local function numbered(key, seen)
  local name, extension = key:match("^{(%a+)}(.*)$")
  if not name then return key end
  seen[name] = (seen[name] or 0) + 1
  return ("{%s%s}%s"):format(name, seen[name] > 1 and seen[name] or "", extension)
end

function Routes:walk(root, path, is_missing)
  local node, seen, parts = root, {}, {}
  for segment in path:gmatch("/([^/]*)") do
    if #parts >= DEPTH_MAX or self.node_count >= self.nodes_max and not node.children[segment] then
      parts[#parts + 1] = "{rest}"
      break
    end
    local parameter = placeholder(segment)
    local child, key = self:child(node, segment, parameter, is_missing)
    if not child then return nil end
    node, parts[#parts + 1] = child, numbered(key, seen)
  end
  return "/" .. table.concat(parts, "/")
end

function Routes:scope(name)
  local scope = self.scopes[name]
  if scope then return scope end
  if self.scope_count >= self.scopes_max then name = "" end
  scope = self.scopes[name]
  if not scope then
    scope = { root = new_node() }
    self.scopes[name], self.scope_count = scope, self.scope_count + 1
  end
  return scope
end

--- The route that a path belongs to.
-- @param scope string: what the routes are those of, such as the server's address
-- @param path string of raw bytes that begins with "/", without query
-- @param is_missing true: the server says that there is no such thing (404), so that it hardly is a route
-- @return string of printable ASCII; nil for a missing path beyond the first few
function Routes:route(scope, path, is_missing)
  local of_scope = self.cache[scope]
  local known = of_scope and of_scope[path]
  if known then return known end
  local route = self:walk(self:scope(scope).root, path, is_missing)
  if not route then return nil end
  if self.cache_count >= CACHE_MAX then self:forget_cache() end
  if not self.cache[scope] then self.cache[scope] = {} end
  self.cache[scope][path], self.cache_count = route, self.cache_count + 1
  return route
end

--- The parameters of a path, by its route.
-- @param route string, of Routes:route()
-- @param path string: one of its paths
-- @return list of { name, value } in order
function _M.parameters(route, path)
  local values, list, i = {}, {}, 0
  for segment in path:gmatch("/([^/]*)") do values[#values + 1] = segment end
  for segment in route:gmatch("/([^/]*)") do
    i = i + 1
    local name, extension = segment:match("^{(%w+)}(.*)$")
    if name then
      local value = values[i] or ""
      list[#list + 1] = { name = name, value = value:sub(1, #value - #extension) }
    end
  end
  return list
end

return _M
