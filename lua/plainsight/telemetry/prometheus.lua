-- SPDX-License-Identifier: Apache-2.0
--- The text formats of Prometheus (0.0.4) and OpenMetrics (1.0).
local buffer = require "string.buffer"
local escape = require "plainsight.output.escape"

local _M = {}

_M.CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_M.OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

local Text = {}
Text.__index = Text

--- @param is_openmetrics boolean
-- @return object
function _M.new(is_openmetrics)
  return setmetatable({ buf = buffer.new(), is_openmetrics = is_openmetrics }, Text)
end

local replacements = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

-- Names of processes are their own choice: bytes that are no text are not passed on.
local function label_value(text)
  if escape.utf8_prefix(text, #text) ~= #text then text = text:gsub("[\128-\255]", "?") end
  return (text:gsub("[%z\1-\9\11-\31\127]", "?"):gsub('[\\"\n]', replacements))
end

--- Labels as text, to be used again.
-- @param list of { name, value }
-- @return string such as 'a="b",c="d"'
function _M.labels(list)
  local parts = {}
  for i, pair in ipairs(list) do parts[i] = ('%s="%s"'):format(pair[1], label_value(tostring(pair[2]))) end
  return table.concat(parts, ",")
end

--- Begin a family.
-- @param name of its samples; of a counter without "_total"
-- @param kind "counter", "gauge" or "histogram"
-- @param help string, one line
function Text:family(name, kind, help)
  local shown = kind == "counter" and not self.is_openmetrics and name .. "_total" or name
  self.buf:put("# HELP ", shown, " ", help, "\n# TYPE ", shown, " ", kind, "\n")
  self.name, self.kind = name, kind
end

local function number(value)
  if value == math.floor(value) and math.abs(value) < 2 ^ 53 then return ("%d"):format(value) end
  local short = ("%.15g"):format(value)
  return tonumber(short) == value and short or ("%.17g"):format(value)
end

function Text:line(suffix, labels, more, value)
  local buf = self.buf
  buf:put(self.name, suffix)
  if labels ~= "" or more then
    buf:put("{", labels, more and labels ~= "" and "," or "", more or "", "}")
  end
  buf:put(" ", value, "\n")
end

--- A sample of a counter or gauge.
-- @param labels string of labels(), "" for none
-- @param value number
function Text:sample(labels, value)
  self:line(self.kind == "counter" and "_total" or "", labels, nil, number(value))
end

local function bound_text(bound)
  local text = ("%.14g"):format(bound)
  return text:find("[.e]") and text or text .. ".0" -- OpenMetrics, "Considerations: canonical numbers"
end

-- 'le="0.5"' for the bounds of a histogram, made once.
local bound_labels = setmetatable({}, { __mode = "k" })

local function labels_of_bounds(bounds)
  local list = bound_labels[bounds]
  if not list then
    list = {}
    for i, bound in ipairs(bounds) do list[i] = 'le="' .. bound_text(bound) .. '"' end
    list[#list + 1] = 'le="+Inf"'
    bound_labels[bounds] = list
  end
  return list
end

--- The samples of a histogram.
-- @param labels string of labels()
-- @param histogram see plainsight.telemetry.series
function Text:histogram(labels, histogram)
  local sum = 0
  local bounds = labels_of_bounds(histogram.bounds)
  for i, count in ipairs(histogram.counts) do
    sum = sum + count
    self:line("_bucket", labels, bounds[i], number(sum))
  end
  self:line("_sum", labels, nil, number(histogram.sum))
  self:line("_count", labels, nil, number(histogram.count))
end

--- The text; the object is used up.
function Text:finish()
  if self.is_openmetrics then self.buf:put("# EOF\n") end
  return self.buf:get()
end

return _M
