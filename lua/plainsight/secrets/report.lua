-- SPDX-License-Identifier: Apache-2.0
--- Findings as lines, as JSON, and as a table at the end.
--
-- TIME SEVERITY FINDING RULE PLACE MASKED #HASH COMM:PID -> HOST tls xCOUNT [NOTE]...
--
-- The first twelve words are always there. The arrow is <- for what the process received; "clear" stands for what was
-- not encrypted. COUNT is how often this value has been seen so far.
local ffi = require "ffi"
local buffer = require "string.buffer"
local escape = require "plainsight.output.escape"
local fields = require "plainsight.output.fields"
local json = require "plainsight.output.json"
local jwt = require "plainsight.secrets.jwt"
local rules = require "plainsight.secrets.rules"

local _M = {}

local severity_status = { critical = 5, high = 4, medium = 3, low = 2 }

local function put_word(buf, text)
  escape.put(buf, text, #text, escape.WORD)
end

local function word(text)
  local buf = buffer.new()
  put_word(buf, text)
  return buf:get()
end

--- Where in the exchange, as one word: "request.header:authorization", "response.json:$.user.token".
function _M.place(finding)
  local place = finding.part .. "." .. finding.where
  if finding.name ~= "" then return place .. ":" .. finding.name end
  return finding.where == "body" and ("%s@%d"):format(place, finding.offset) or place
end

local function put_notes(buf, finding, colors)
  if finding.reason then buf:put(" ", colors.mark, "[", finding.reason, "]", colors.off) end
  if finding.jwt then buf:put(" [", jwt.text(finding.jwt), "]") end
  if finding.encodings[1] then buf:put(" [in ", table.concat(finding.encodings, ", "), "]") end
end

--- Append a line.
-- @param buf string.buffer
-- @param finding see plainsight.secrets.findings, with count, and for one of plainsight.secrets.sent its reason
-- @param opts color, clock_offset_ns
function _M.put_line(buf, finding, opts)
  local colors = fields.palette(opts.color)
  local comm, comm_len = fields.comm(finding.process)
  buf:put(colors.faint)
  fields.put_time_of_day(buf, finding.ts_ns, opts.clock_offset_ns)
  buf:put(colors.off, " ", colors.status[severity_status[finding.severity]], finding.severity, colors.off, " ",
    finding.finding, " ", finding.rule.id, " ")
  put_word(buf, _M.place(finding))
  buf:put(" ")
  put_word(buf, finding.masked)
  buf:put(" #", finding.hash, " ")
  escape.put(buf, comm, comm_len, escape.WORD)
  buf:putf(":%d %s ", finding.process.tgid, finding.direction == "out" and "->" or "<-")
  put_word(buf, finding.host)
  buf:putf(" %s x%d", finding.encrypted and "tls" or "clear", finding.count)
  put_notes(buf, finding, colors)
  buf:put("\n")
end

local NS_PER_S = 1000000000LL

local function utc_time(ts_ns, opts)
  local unix_ns = ffi.cast("int64_t", ts_ns) + ffi.cast("int64_t", opts.clock_offset_ns)
  return ("%s.%06dZ"):format(os.date("!%Y-%m-%dT%H:%M:%S", tonumber(unix_ns / NS_PER_S)),
    tonumber(unix_ns % NS_PER_S) / 1000)
end

local function process_object(process)
  local comm, len = fields.comm(process)
  return {
    pid = process.tgid, tid = process.tid, uid = process.uid, comm = ffi.string(comm, len),
    cgroup_id = process.cgroup_id,
  }
end

local function jwt_object(info)
  return info and {
    algorithm = info.algorithm, type = info.type, encryption = info.encryption, weak = info.weak,
    expires_unix_s = info.expires, expired = info.expired,
  }
end

--- Append a finding as a line of JSON: docs/json.md, finding.
function _M.put_json(buf, finding, opts)
  buf:put(json.report("finding", {
    time = utc_time(finding.ts_ns, opts), finding = finding.finding, severity = finding.severity,
    rule = finding.rule.id, description = finding.rule.description, kind = finding.rule.kind,
    part = finding.part, where = finding.where, name = finding.name ~= "" and finding.name or nil,
    offset_bytes = finding.offset, encodings = finding.encodings[1] and finding.encodings or nil,
    masked = finding.masked, hash = finding.hash,
    process = process_object(finding.process), direction = finding.direction, host = finding.host,
    encrypted = finding.encrypted, count = finding.count, reason = finding.reason, jwt = jwt_object(finding.jwt),
    exchange_id = finding.exchange_id, connection = finding.connection,
  }))
end

local function by_weight(a, b)
  local x, y = rules.rank[a.severity], rules.rank[b.severity]
  if x ~= y then return x > y end
  if a.count ~= b.count then return a.count > b.count end
  return a.key < b.key
end

-- Rows as lists of words, the heading first.
local function cells_of(rows)
  local cells = { { "COUNT", "VALUES", "SEVERITY", "FINDING", "RULE", "PROCESS", "", "HOST", "" } }
  for _, row in ipairs(rows) do
    cells[#cells + 1] = {
      ("%d"):format(row.count), ("%d"):format(row.values), row.severity, row.finding, row.rule, word(row.comm),
      row.direction == "out" and "->" or "<-", word(row.host), row.encrypted and "tls" or "clear",
    }
  end
  return cells
end

--- The table at the end.
-- @param rows list of { count, values (different ones), severity, finding, rule (id), comm, direction, host, encrypted,
--   key }; sorted
-- @return text, empty when there is no row
function _M.table_of(rows)
  if #rows == 0 then return "" end
  local cells, widths, lines = cells_of(rows), {}, {}
  for _, row in ipairs(cells) do
    for i, text in ipairs(row) do widths[i] = math.max(widths[i] or 0, #text) end
  end
  for i, row in ipairs(cells) do
    for column, text in ipairs(row) do
      local padding = (" "):rep(widths[column] - #text)
      row[column] = column <= 2 and padding .. text or text .. padding
    end
    lines[i] = table.concat(row, "  "):gsub(" +$", "")
  end
  return "\n" .. table.concat(lines, "\n") .. "\n"
end

--- The same as a line of JSON.
-- @param rows as for table_of()
-- @param totals table of numbers
function _M.json_summary(rows, totals)
  local list = {}
  for i, row in ipairs(rows) do
    list[i] = {
      count = row.count, values = row.values, severity = row.severity, finding = row.finding, rule = row.rule,
      comm = row.comm, direction = row.direction, host = row.host, encrypted = row.encrypted,
    }
  end
  return json.report("secrets", { by = list[1] and list or json.EMPTY_LIST, totals = totals })
end

--- Sort rows: the gravest first.
function _M.sort(rows) table.sort(rows, by_weight) end

return _M
