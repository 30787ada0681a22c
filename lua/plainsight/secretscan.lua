-- SPDX-License-Identifier: Apache-2.0
--- secretscan: what plainsight.snoop does with items in the place of printing them, and how the run ends.
local ffi = require "ffi"
local bit = require "bit"
local allow = require "plainsight.secrets.allow"
local clock = require "plainsight.clock"
local engine = require "plainsight.secrets.engine"
local fields = require "plainsight.output.fields"
local files = require "plainsight.files"
local findings = require "plainsight.secrets.findings"
local gitleaks = require "plainsight.secrets.gitleaks"
local library = require "plainsight.library"
local list = require "plainsight.secrets.list"
local redact = require "plainsight.secrets.redact"
local report = require "plainsight.secrets.report"
local rules = require "plainsight.secrets.rules"
local sent = require "plainsight.secrets.sent"

local _M = {}

local C = ffi.C

--- Exit status when --fail-on is reached.
_M.FOUND = 3

-- Places, values and rows of the table that are kept apart; what comes beyond is shown, but not counted as the same.
local TABLE_MAX = 65536
local KEY_FILE_MIN_BYTES = 16
local READABLE_BY_OTHERS = 0x3f -- S_IRWXG | S_IRWXO

local View = {}
View.__index = View

-- A count of something, in tables with a bound.
local Tally = {}
Tally.__index = Tally

local function new_tally() return setmetatable({ size = 0, refused = 0, items = {} }, Tally) end

-- The item of a key, made by make() when it is new; nil when there is no more room.
function Tally:get(key, make)
  local item = self.items[key]
  if item then return item end
  if self.size >= TABLE_MAX then
    self.refused = self.refused + 1
    return nil
  end
  self.size = self.size + 1
  item = make()
  self.items[key] = item
  return item
end

local function read_file(path)
  local bytes, size = files.read_bytes(path)
  if not bytes then return nil, size end
  return ffi.string(bytes, size)
end

-- The key of hashes from a file: its bytes by HMAC with a number each. Returns uint8_t[32], or nil and a message.
local function key_from_file(path)
  local status, err = files.status(path)
  if not status then return nil, err end
  local ok, wrong = files.is_private(status, path)
  if not ok then return nil, wrong end
  if bit.band(status.mode, READABLE_BY_OTHERS) ~= 0 then
    return nil, path .. " can be read by others: chmod 600 " .. path
  end
  local text
  text, err = read_file(path)
  if not text then return nil, err end
  if #text < KEY_FILE_MIN_BYTES then
    return nil, ("%s has less than %d bytes: head -c 32 /dev/urandom >%s"):format(path, KEY_FILE_MIN_BYTES, path)
  end
  local key, none, hash = ffi.new("uint8_t[?]", C.PS_SECRET_KEY_BYTES), ffi.new("uint8_t[?]", C.PS_SECRET_KEY_BYTES),
    ffi.new("char[32]")
  for i = 0, C.PS_SECRET_KEY_BYTES / 8 - 1 do
    local input = string.char(i) .. text
    library.lib.ps_secret_hash(none, input, #input, hash)
    for j = 0, 7 do key[i * 8 + j] = tonumber(ffi.string(hash + 2 * j, 2), 16) end
  end
  return key
end

local function key_of(opts)
  if opts.hash_key_file then return key_from_file(opts.hash_key_file) end
  if opts.secret_key then return opts.secret_key end -- of a recording
  return redact.random_key()
end

--- The rules that the options ask for.
-- @param say function(message): for what a rule file has and we do not support
-- @return list, or nil and a message
function _M.rules(opts, say)
  local chosen = opts.no_builtin and {} or rules.builtin()
  for _, path in ipairs(opts.rule_files or {}) do
    local read, err = gitleaks.read(path)
    if not read then return nil, err end
    for _, note in ipairs(read.notes) do say(note) end
    rules.merge(chosen, read.rules)
  end
  if #chosen == 0 then return nil, "there is no rule: --no-builtin leaves those of --rules FILE" end
  return chosen
end

-- Rules made ready. A mistake in a rule of a file is told with its line.
local function engine_of(chosen)
  local finder, err = engine.new(chosen)
  if finder then return finder end
  for _, rule in ipairs(chosen) do
    if rule.source and err:sub(1, #rule.id + 1) == rule.id .. ":" then
      return nil, ("%s:%d: rule %s"):format(rule.source, rule.line, err)
    end
  end
  return nil, err
end

local function allow_list(opts)
  if not opts.allow then return allow.parse("", "none", true) end
  local text, err = read_file(opts.allow)
  if not text then return nil, err end
  return allow.parse(text, opts.allow, opts.hash_key_file ~= nil)
end

local function open(opts, say)
  local chosen, err = _M.rules(opts, say)
  if not chosen then return nil, err end
  local self = setmetatable({
    opts = opts, say = say, shown = new_tally(), values = new_tally(), rows = new_tally(), pairs = new_tally(),
    worst = 0,
    totals = { findings = 0, occurrences = 0, allowed = 0 }, put = opts.json and report.put_json or report.put_line,
  }, View)
  self.engine, err = engine_of(chosen)
  if not self.engine then return nil, err end
  opts.body_secrets = self.engine -- also in what --max-body does not keep
  local key
  key, err = key_of(opts)
  if not key then return nil, err end
  self.finder, err = findings.new(self.engine, key)
  if not self.finder then return nil, err end
  self.allow, err = allow_list(opts)
  if not self.allow then return nil, err end
  self.put_item = function(buf, item) self:take_item(buf, item) end
  return self
end

--- Open a view for plainsight.snoop: an object with put_item(buf, item), finish() and exit_status().
-- @param opts see plainsight.cli.parse
-- @param say function(message)
-- @return view, or nil and a message
_M.open = open

-- Row of the table at the end.
function View:count_row(finding)
  local comm = finding.comm
  local key = table.concat({ finding.finding, finding.severity, finding.rule.id, comm, finding.direction,
    finding.encrypted and "tls" or "clear", finding.host }, "\0")
  local row = self.rows:get(key, function()
    return {
      count = 0, values = 0, severity = finding.severity, finding = finding.finding, rule = finding.rule.id,
      comm = comm, direction = finding.direction, host = finding.host, encrypted = finding.encrypted, key = key,
    }
  end)
  if not row then return end
  row.count = row.count + 1
  self.pairs:get(key .. "\0" .. finding.hash, function()
    row.values = row.values + 1
    return true
  end)
end

-- How often the value has been seen, this time included. A finding on where it goes is not another time.
function View:count_value(finding)
  local value = self.values:get(finding.hash, function() return { count = 0 } end) or { count = 0 }
  if finding.finding == "secret" then value.count = value.count + 1 end
  return value.count
end

-- Count a finding, and show it when it is new.
function View:take(buf, finding)
  local comm, len = fields.comm(finding.process)
  finding.comm, finding.count = ffi.string(comm, len), self:count_value(finding)
  self.totals.occurrences = self.totals.occurrences + 1
  self.worst = math.max(self.worst, rules.rank[finding.severity])
  self:count_row(finding)
  local key = table.concat({ finding.finding, finding.rule.id, finding.hash, report.place(finding), finding.host,
    finding.direction, tostring(finding.encrypted), finding.comm }, "\0")
  local known = self.shown:get(key, function() return { count = 0 } end)
  if known then
    known.count = known.count + 1
    if known.count > 1 then return end
  end
  self.totals.findings = self.totals.findings + 1
  self.put(buf, finding, self.opts)
end

-- A finding of where a credential goes, from that of the credential.
local function with_verdict(finding, verdict)
  local copy = {}
  for key, value in pairs(finding) do copy[key] = value end
  copy.finding, copy.severity, copy.reason = verdict.finding, verdict.severity, verdict.reason
  return copy
end

--- Scan an item, and append what is found.
function View:take_item(buf, item)
  for _, finding in ipairs(self.finder:scan(item, clock.unix_s(self.opts))) do
    if self.allow:allows(finding) then
      self.totals.allowed = self.totals.allowed + 1
    else
      self:take(buf, finding)
      for _, verdict in ipairs(sent.judge(finding)) do self:take(buf, with_verdict(finding, verdict)) end
    end
  end
end

-- What was not looked at, for standard error.
function View:shortcomings()
  local lines, stats = self.allow:unused(), library.lib.ps_secret_scanner_stats(self.finder.scanner)
  local function add(count, text)
    if count > 0 then lines[#lines + 1] = text:format(tonumber(count)) end
  end
  add(self.totals.allowed, "%d findings were allowed by --allow")
  add(self.finder.unscanned_bytes, "%d bytes of bodies were not scanned (larger: --max-body; or lost, or not decodab"
    .. "le)")
  add(self.finder.dropped, "%d items had more findings than are kept")
  add(self.shown.refused + self.rows.refused + self.pairs.refused + self.values.refused,
    "more findings than are kept apart: what came later was shown each time, and %d times not counted")
  add(stats.unsearched, "%d candidates took too long to be searched, and were given up")
  add(stats.undecoded_bytes, "%d bytes in encodings too deep or too many were not looked into")
  return lines
end

--- The end of the run: the table.
-- @param writer see plainsight.output.writer
-- @return as writer:write()
function View:finish(writer)
  for _, line in ipairs(self:shortcomings()) do self.say(line) end
  local rows = {}
  for _, row in pairs(self.rows.items) do rows[#rows + 1] = row end
  report.sort(rows)
  self.totals.values = self.values.size
  writer:write(self.opts.json and report.json_summary(rows, self.totals) or report.table_of(rows))
  return writer:flush()
end

--- The exit status: FOUND when --fail-on was reached, else the one that is given.
function View:exit_status(status)
  local limit = self.opts.fail_on and rules.rank[self.opts.fail_on]
  return limit and self.worst >= limit and _M.FOUND or status
end

--- Run the tool.
-- @param tool see plainsight.cli.parse
-- @param argv list of strings
-- @return exit status
function _M.main(tool, argv)
  tool.view, tool.before = _M.open, function(opts)
    if not opts.list_rules then return nil end
    local chosen, err = _M.rules(opts, function(message) io.stderr:write(tool.name, ": ", message, "\n") end)
    if not chosen then return nil, err end
    io.stdout:write(list.text(chosen))
    return 0
  end
  return require("plainsight.snoop").main(tool, argv)
end

return _M
