-- SPDX-License-Identifier: Apache-2.0
local cjson = require "cjson"
local ffi = require "ffi"
local cli = require "plainsight.cli"
local facts = require "plainsight.facts"
local library = require "plainsight.library"
local recording = require "plainsight.recording"
local redact = require "plainsight.secrets.redact"
local sys = require "plainsight.sys"
require "plainsight.contract"

local C = ffi.C
local paths = {}

local function temporary()
  paths[#paths + 1] = os.tmpname()
  return paths[#paths]
end

-- A recording with this START, and nothing else.
local function write(start)
  local path = temporary()
  local fd = C.open(path, 1) -- O_WRONLY
  local recorder = library.lib.ps_recorder_new(fd, false, start, #start)
  assert(recorder ~= nil)
  library.lib.ps_recorder_end(recorder)
  library.lib.ps_recorder_free(recorder)
  C.close(fd)
  return path
end

local function start(changes)
  local result = {
    start_version = 1, form = "events", tool = "httpsnoop", version = "0.1.0", kernel = "6.1", clock_offset_ns = "5",
    utc_offset_s = 3600, started_ns = "7", plain = true, tls = true, raw = false, has_command = false,
    max_body_bytes = 1000, pids = { 1, 2 }, ports = { 80 }, stats_s = 2, cgroup = "/a",
  }
  for name, value in pairs(changes or {}) do result[name] = value end
  return result
end

local function open(changes)
  return recording.open(write(cjson.encode(start(changes))), function() end)
end

local function options(changes)
  local result = { plain = true, tls = true }
  for name, value in pairs(changes or {}) do result[name] = value end
  return result
end

describe("recording", function()
  -- The other specs live in their own time zone.
  setup(function() stub(sys, "set_utc_offset") end)

  teardown(function()
    sys.set_utc_offset:revert()
    for _, path in ipairs(paths) do os.remove(path) end
  end)

  it("says what it is", function()
    local file = assert(open())
    assert.matches("^.*: 1970%-01%-01 00:00:00 UTC, httpsnoop 0%.1%.0, Linux 6%.1$", file:title())
  end)

  it("does not believe its beginning", function()
    for _, text in ipairs { "", "[]", "nonsense", "{}", '"x"', "null", "[[[[" } do
      local file, err = recording.open(write(text), function() end)
      assert.is_nil(file, text)
      assert.matches("damaged at its beginning", err, 1, true)
    end
    for name, value in pairs {
      tool = 1, clock_offset_ns = 5, started_ns = "-1", max_body_bytes = -1, form = "other", pids = 3, plain = "yes",
      utc_offset_s = 1e9, stats_s = "x",
    } do
      local file, err = open { [name] = value }
      assert.is_nil(file, name)
      assert.matches("damaged at its beginning", err, 1, true)
    end
    local file, err = open { start_version = 2 }
    assert.is_nil(file)
    assert.matches("another version", err, 1, true)
  end)

  it("has no control characters in what is said of it", function()
    local file = assert(open { tool = "a\27[1mb\n", kernel = "\128" })
    assert.is_nil(file:title():find("[%c\127-\255]"))
  end)

  it("names the option that it cannot serve", function()
    local function wrong(changes, of_start)
      local file = assert(open(of_start))
      local ok, err = file:prepare(options(changes))
      assert.is_nil(ok)
      return err
    end
    assert.matches("--cgroup", wrong { cgroup = "/b" }, 1, true)
    assert.matches("--stats", wrong { stats_s = 3 }, 1, true)
    assert.matches("--max-body", wrong { max_body_bytes = 1001 }, 1, true)
    assert.matches("--raw", wrong({ raw = true }, { form = "items" }), 1, true)
    assert.matches("--tls", wrong({ plain = false }, { tls = false }), 1, true)
    assert.matches("--tls", wrong({ tls = false }, { plain = false }), 1, true)
  end)

  it("chooses no containers by what it was recorded with", function()
    for _, target in ipairs { "containers", "pods", "namespaces" } do
      local wanted = options { [target] = { "db", "web" } }
      assert(assert(open()):prepare(wanted))
      assert.same({ [target] = { "db", "web" } }, assert(open()):containers_to_choose(wanted))
      assert.same({ [target] = { "db", "web" } }, assert(open { [target] = { "web" } }):containers_to_choose(wanted))
      assert.same({}, assert(open { [target] = { "web", "db" } }):containers_to_choose(wanted))
    end
  end)

  it("has the clock of the machine that made it", function()
    local file = assert(open { started_ns = "1000" })
    assert.equal(1000ULL, file:now_ns(0ULL))
    assert.equal(1001ULL, file:now_ns(1001ULL))
  end)

  it("needs no filter for what it was recorded with", function()
    local file = assert(open())
    assert.is_true(file:prepare(options { pids = { 2, 1 }, ports = { 80 }, cgroup = "/a", stats_s = 2 }))
    assert.equal(0, file.filter.filters)
    assert.is_false(file.is_part)
    assert.equal(C.PS_CAPTURE_PLAIN + C.PS_CAPTURE_TLS, file.filter.capture)
  end)

  it("filters what it was not recorded with", function()
    local file = assert(open())
    assert.is_true(file:prepare(options { pids = { 2 }, ports = { 80, 81 }, uid = 0, comm = "curl" }))
    assert.equal(C.PS_FILTER_TGID + C.PS_FILTER_PORT + C.PS_FILTER_UID + C.PS_FILTER_COMM, file.filter.filters)
    assert.same({ 1, 2, 2 }, { file.filter.pid_count, file.filter.pids[0], file.filter.port_count })
    assert.is_true(file.is_part)
  end)

  it("ends at -d after its start, unless it was recorded with less", function()
    local file = assert(open { duration_s = 5 })
    assert.is_true(file:prepare(options { duration_s = 2 }))
    assert.equal(2000000007ULL, file.filter.until_ns)
    assert.is_true(file:prepare(options { duration_s = 5 }))
    assert.equal(0ULL, file.filter.until_ns)
  end)

  it("gives body size, clock and libraries", function()
    local file, opts = assert(open()), options()
    assert.is_true(file:prepare(opts))
    assert.same({ 1000, 5ULL }, { opts.max_body_bytes, opts.clock_offset_ns })
    assert.stub(sys.set_utc_offset).was.called_with(3600)
    assert.equal("unknown", opts.library_of(1).type)
    file:on_fact("library 1", '{"type":"openssl","path":"/x","title":"OpenSSL"}')
    assert.equal("openssl", opts.library_of(1).type)
    for _, text in ipairs { '{"type":1,"path":"/x"}', "[]", "x", '{"type":"a"}' } do
      file:on_fact("library 2", text)
      assert.equal("unknown", opts.library_of(2).type)
    end
  end)

  it("gives the key of hashes, when it has one", function()
    local key = assert(redact.random_key())
    local opts = options()
    assert(assert(open { hash_key = redact.key_text(key) }):prepare(opts))
    assert.equal(ffi.string(key, 32), ffi.string(opts.secret_key, 32))
    for _, text in ipairs { "", "00", ("0"):rep(63) .. "x", ("0"):rep(66) } do
      assert(assert(open { hash_key = text }):prepare(opts))
      assert.is_nil(opts.secret_key)
    end
    assert(assert(open()):prepare(opts))
    assert.is_nil(opts.secret_key)
  end)

  it("has nothing to scan when its secrets are masked", function()
    local ok, err = assert(open { form = "items" }):prepare(options { prints_no_values = true })
    assert.is_nil(ok)
    assert.matches("record with --show-secrets", err, 1, true)
    assert(assert(open()):prepare(options { prints_no_values = true }))
  end)

  it("does not believe reports that are none", function()
    local file = assert(open())
    local note = ffi.new("struct ps_note")
    note.is_report = 1
    local function report(text)
      note.key.data, note.key.len, note.value.data, note.value.len = "stats", 5, text, #text
      return file:on_note(note)
    end
    for _, text in ipairs {
      "", "{}", '{"losses":1,"invisible":{},"seen_bytes":1}',
      '{"losses":{"ring_full":{}},"invisible":{},"seen_bytes":1}',
      '{"losses":{},"invisible":[{"pid":1}],"seen_bytes":1}', '{"losses":{},"invisible":{},"seen_bytes":nan}',
      '{"losses":{},"invisible":{},"seen_bytes":1,"stats":{"x":{}}}',
      '{"losses":{},"invisible":{},"seen_bytes":1,"budget":{"budget_level":1}}',
    } do
      assert.is_nil(report(text), text)
    end
    assert.equal("stats", report '{"losses":{"ring_full":{"events":2,"bytes":3}},"invisible":{},"seen_bytes":9}')
    assert.equal(9, file:report({ data_bytes = 6 }).seen_bytes)
    assert.equal("stats", report('{"losses":{},"invisible":{},"seen_bytes":1,"budget":{"budget_level":1,'
      .. '"budget_steps_down":2,"budget_steps_up":1,"budget_degraded_ms":9,"left_out_calls":3,"left_out_bytes":4}}'))
    assert.equal(3, file:report({ data_bytes = 6 }).budget.left_out_calls)
  end)

  it("counts what it cannot know from what is there", function()
    local file = assert(open())
    assert.same({ seen_bytes = 6 }, { seen_bytes = file:report({ data_bytes = 6 }).seen_bytes })
    file.told = { losses = { ring_full = { events = 1, bytes = 4 } }, invisible = {}, seen_bytes = 100 }
    file.is_part = true
    assert.equal(10, file:report({ data_bytes = 6 }).seen_bytes)
  end)
end)

describe("facts", function()
  local recorded

  local function record(key, value) recorded[#recorded + 1] = key .. "=" .. value end

  before_each(function() recorded = {} end)

  after_each(function()
    facts.record_with(nil)
    facts.replay_from(nil)
  end)

  it("are looked up", function()
    assert.equal("v7", facts.get("k", function(n) return "v" .. n end, 7))
    assert.is_nil(facts.get("k", function() return nil end))
  end)

  it("are recorded when they change", function()
    facts.record_with(record)
    for _, value in ipairs { "a", "a", "b", false, false, "b" } do
      facts.get("k", function() return value or nil end)
    end
    facts.get("l", function() return "a" end)
    assert.same({ "k=a", "k=b", "k=", "k=b", "l=a" }, recorded)
  end)

  it("come from a recording alone", function()
    facts.replay_from { k = "old", gone = "" }
    local function look_up() error("asks the machine") end
    assert.equal("old", facts.get("k", look_up))
    assert.is_nil(facts.get("gone", look_up))
    assert.is_nil(facts.get("other", look_up))
  end)
end)

describe("cli of recordings", function()
  local tool = { name = "tool", summary = "Does." }

  local function wrong(...)
    local opts, err = cli.parse(tool, { ... })
    assert.is_nil(opts)
    return err
  end

  it("has --record and --replay", function()
    assert.equal("x", cli.parse(tool, { "--replay", "x" }).replay)
    assert.is_nil(cli.parse(tool, { "--replay", "x" }).max_body_bytes)
    assert.equal(5, cli.parse(tool, { "--replay", "x", "--max-body", "5" }).max_body_bytes)
  end)

  it("refuses what has no meaning", function()
    assert.matches("cannot be used together", wrong("--record", "x", "--replay", "y"), 1, true)
    assert.matches("no command", wrong("--replay", "x", "--", "true"), 1, true)
    assert.matches("standard output", wrong("--record", "-"), 1, true)
    assert.matches("use --otlp", wrong("--replay", "x", "--metrics", "127.0.0.1:9"), 1, true)
    for _, argv in ipairs {
      { "--ring-size", "1" }, { "--attach", "kprobe" }, { "--no-follow" }, { "--tls", "--hold" },
      { "--tls", "--extra-lib", "openssl:/x" }, { "--max-cpu", "5" }, { "--max-memory", "64" },
    } do
      assert.matches("cannot be used with --replay", wrong("--replay", "x", unpack(argv)), 1, true)
    end
  end)
end)
