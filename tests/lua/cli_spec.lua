-- SPDX-License-Identifier: Apache-2.0
local cli = require "plainsight.cli"
local paths = require "plainsight.paths"

local tool = { name = "sometool", summary = "Does something." }

local function parse(...)
  return cli.parse(tool, { ... })
end

local function parsed(...)
  local opts, message = parse(...)
  assert.is_nil(message)
  return opts
end

local function refused(...)
  local opts, message = parse(...)
  assert.is_nil(opts)
  assert.is_string(message)
  assert.is_nil(message:find("\n"), "one line: " .. message)
  return message
end

describe("cli.parse", function()
  it("has defaults", function()
    assert.same({
      follow = true, max_body_bytes = 65536, ring_mib = 16, preview_bytes = 96,
      verbose = false, json = false, color = false,
    }, parsed("--color", "never"))
  end)

  it("reads every option, short and long", function()
    local opts = parsed("-p", "12,13", "--pid=14", "-p13", "--no-follow", "-u", "0", "-c", "nginx", "--cgroup",
      "/sys/fs/cgroup/x", "--port", "80,8080", "--port", "81", "--attach", "tracepoint", "--max-body", "1M",
      "--ring-size", "64", "-j", "-n", "5", "-d", "1.5", "-o", "out.json", "--color", "always", "--preview", "0")
    assert.same({
      pids = { 12, 13, 14 }, follow = false, uid = 0, comm = "nginx", cgroup = "/sys/fs/cgroup/x",
      ports = { 80, 8080, 81 }, attach = "tracepoint", max_body_bytes = 1048576, ring_mib = 64, json = true,
      verbose = false, count = 5, duration_s = 1.5, output = "out.json", color = true, preview_bytes = 0,
    }, opts)
    local long = parsed("--uid", "7", "--comm", "x", "--count", "1", "--duration", ".25", "--output", "f",
      "--verbose", "--colour", "never", "--attach=kprobe", "--max-body=64k")
    assert.same({
      follow = true, uid = 7, comm = "x", count = 1, duration_s = 0.25, output = "f", verbose = true, json = false,
      color = false, attach = "kprobe", max_body_bytes = 65536, ring_mib = 16, preview_bytes = 96,
    }, long)
  end)

  it("does not carry values over from one parse to the next", function()
    parsed("-p", "12")
    assert.is_nil(parsed().pids)
    assert.same({ 3 }, parsed("-p", "3").pids)
  end)

  it("finds users by name", function()
    assert.equal(0, parsed("-u", "root").uid)
    assert.equal("--uid: 'no-such-user-here' is not a user of this system", refused("-u", "no-such-user-here"))
  end)

  it("leaves everything after -- to the command", function()
    local opts = parsed("-v", "--", "curl", "-j", "--", "--help", "")
    assert.same({ "curl", "-j", "--", "--help", "" }, opts.command)
    assert.is_true(opts.verbose)
    assert.is_false(opts.json)
    assert.is_nil(parsed("-v").command)
    assert.equal("a command is missing after --", refused("-v", "--"))
  end)

  it("says where a command goes", function()
    assert.equal("unexpected argument 'curl'; a command to run goes after --", refused("curl", "http://localhost/"))
  end)

  it("takes -o - for standard output", function()
    assert.is_nil(parsed("-o", "-").output)
  end)

  it("refuses -v with -j", function()
    assert.equal("--verbose and --json cannot be used together", refused("-vj"))
  end)

  it("names unknown options", function()
    assert.matches("--bogus", refused("--bogus"), 1, true)
    assert.equal("unknown option '-x'", refused("-x"))
    assert.equal("unknown option '--prot'; did you mean '--port'?", refused("--prot"))
    assert.matches("--pids", refused("--pids=3"), 1, true)
    assert.matches("--no-follow", refused("--no-follow=1"), 1, true)
  end)

  it("asks for missing arguments", function()
    assert.equal("option '-p' requires an argument", refused("-p"))
    assert.equal("option '--port' requires an argument", refused("-v", "--port", "-j"))
  end)

  it("never exits or writes by itself", function()
    assert.is_string(parsed("--help").help_text)
    assert.is_string(parsed("-h").help_text)
    assert.equal("sometool " .. cli.version .. " (Plainsight, " .. jit.version .. ")\n", parsed("-V").version_text)
    assert.is_string(parsed("--version").version_text)
  end)

  local wrong = {
    ["--pid"] = { "12x", "0", "-", "", ",", "1,", "1,,2", "1, 2", "0x10", "1e3", "+1", "1.5", "4194305",
      "99999999999999999999" },
    ["--port"] = { "70000", "0", "65536", "http", "80-90", "" },
    ["--count"] = { "0", "x", "1.5", "", "1e3", "1000000000001" },
    ["--duration"] = { "0", "0.0", "x", "1s", "", ".", "1e3", "0x10", "inf", "nan", "1000000001" },
    ["--max-body"] = { "x", "1G", "k", "", "1.5k", "1025M", "0x10", "99999999999999999999" },
    ["--preview"] = { "x", "" },
    ["--ring-size"] = { "0", "3", "513", "1024", "16M", "" },
    ["--uid"] = { "", "4294967295", "99999999999999999999" },
    ["--comm"] = { "", "sixteen-bytes-xx" },
    ["--cgroup"] = { "" },
    ["--output"] = { "" },
    ["--attach"] = { "uprobe", "", "Kprobe" },
    ["--color"] = { "yes", "" },
  }
  for option, values in pairs(wrong) do
    for _, value in ipairs(values) do
      it(("refuses %s=%s and names both"):format(option, value), function()
        local message = refused(option .. "=" .. value)
        assert.equal(("%s: '%s' "):format(option, value), message:sub(1, #option + #value + 5))
      end)
    end
  end

  it("keeps terminal escapes in arguments out of its messages", function()
    assert.is_nil(refused("-p", "\27[31m1\n2"):find("%c"))
    assert.is_nil(refused("--\27[31m"):find("%c"))
  end)

  it("takes the limits themselves", function()
    assert.same({ 4194304 }, parsed("-p", "4194304").pids)
    assert.same({ 1, 65535 }, parsed("--port", "1,65535").ports)
    assert.equal(0, parsed("--max-body", "0").max_body_bytes)
    assert.equal(2 ^ 30, parsed("--max-body", "1024M").max_body_bytes)
    assert.equal(512, parsed("--ring-size", "512").ring_mib)
    assert.equal(1, parsed("--ring-size", "1").ring_mib)
    assert.equal("fifteen-bytes-x", parsed("-c", "fifteen-bytes-x").comm)
    assert.equal(4294967294, parsed("-u", "4294967294").uid)
  end)

  it("has colour in a file only when asked", function()
    assert.is_false(parsed("-o", "f").color)
    assert.is_true(parsed("-o", "f", "--color=always").color)
  end)

  -- What a child with this environment decides, with or without a terminal.
  local function color_of(environment, is_terminal)
    local script = "io.write(tostring(require('plainsight.cli').parse({name='x',summary='y'},{}).color))"
    local command = ('env %s LUA_PATH="%s" luajit -e "%s"'):format(environment, package.path, script)
    local pipe = io.popen(is_terminal and ("script -qec '%s' /dev/null"):format(command:gsub("'", "'\\''")) or command)
    local answer = pipe:read("*a")
    pipe:close()
    return answer
  end

  it("has colour on a terminal unless NO_COLOR or TERM says otherwise", function()
    assert.equal("true", color_of("-u NO_COLOR TERM=xterm", true))
    assert.equal("true", color_of("NO_COLOR= TERM=xterm", true))
    assert.equal("false", color_of("NO_COLOR=1 TERM=xterm", true))
    assert.equal("false", color_of("-u NO_COLOR TERM=dumb", true))
    assert.equal("false", color_of("-u NO_COLOR TERM=xterm", false))
  end)
end)

describe("cli help", function()
  local text = parse("--help").help_text

  it("has usage, every option, and examples with the tool's name", function()
    assert.equal("Usage: sometool [OPTION...] [-- COMMAND [ARG...]]\nDoes something.\n", text:sub(1, 66))
    for _, option in ipairs(cli.options) do
      for flag in option.flags:gmatch("%S+") do
        if flag ~= "--colour" then assert.matches(flag, text, 1, true) end
      end
    end
    for _, example in ipairs { "-p ", "-- curl", "| grep", "-j | jq" } do
      assert.matches("\n  sometool " .. example, text, 1, true)
    end
  end)

  it("fits 80 columns", function()
    for line in text:gmatch("[^\n]+") do
      assert.is_true(#line <= 80, line)
    end
  end)

  it("shows only what the tool has, and its own examples", function()
    local small = { name = "small", summary = "Less.", options = { "pid" }, examples = { { "%s -p 1", "init" } } }
    local help = cli.parse(small, { "-h" }).help_text
    assert.is_nil(help:find("--json", 1, true))
    assert.matches("  small -p 1   init\n", help, 1, true)
    local opts, message = cli.parse(small, { "-j" })
    assert.is_nil(opts)
    assert.matches("'-j'", message, 1, true)
  end)

  it("is what the man page says", function()
    local page = assert(paths.read(paths.file("man/httpsnoop.8")))
    local in_page = {}
    for item in page:gmatch("\n%.It (Fl [^\n]*)") do
      for flag in item:gmatch("Fl (%S+)") do in_page["-" .. flag] = true end
    end
    for flag in page:gmatch("\n%.Fl (%-%S+)\nis the same") do in_page["-" .. flag] = true end
    for _, option in ipairs(cli.options) do
      for flag in option.flags:gmatch("%S+") do
        assert.is_true(in_page[flag], flag .. " is not in the man page")
        in_page[flag] = nil
      end
    end
    assert.same({}, in_page)
  end)

  it("gives a letter one meaning", function()
    local seen = {}
    for _, option in ipairs(cli.options) do
      for flag in option.flags:gmatch("%S+") do
        assert.is_nil(seen[flag])
        seen[flag] = true
      end
    end
  end)
end)
