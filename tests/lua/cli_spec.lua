-- SPDX-License-Identifier: Apache-2.0
local cli = require "plainsight.cli"
local paths = require "plainsight.paths"
local filesystem = require "plainsight.files"

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

  it("reads the options of exports, and refuses what cannot be", function()
    local opts = parsed("--har", "a.har", "--pcapng", "a.pcapng", "--rotate-size", "5", "--rotate-secs", "1.5",
      "--rotate-keep", "3")
    assert.same({ "a.har", "a.pcapng", 5, 1.5, 3 },
      { opts.har, opts.pcapng, opts.rotate_mib, opts.rotate_s, opts.rotate_keep })
    assert.equal("-", parsed("--pcapng", "-", "-o", "/dev/null").pcapng)
    for _, case in ipairs {
      { "--har cannot go to standard output", "--har", "-" },
      { "--pcapng - takes standard output: send", "--pcapng", "-" },
      { "--pcapng - takes standard output: send", "--pcapng", "-", "-o", "-" },
      { "--pcapng - takes standard output, which COMMAND has", "--pcapng", "-", "-o", "x", "--", "true" },
      { "which cannot be rotated", "--pcapng", "-", "-o", "x", "--rotate-size", "1" },
      { "cannot be the same file", "--har", "x", "--pcapng", "x" },
      { "cannot be the same file", "--har", "x", "-o", "x" },
      { "cannot be the same file", "--pcapng", "x", "-o", "x" },
      { "are about --har and --pcapng", "--rotate-size", "1" },
      { "are about --har and --pcapng", "--rotate-keep", "1", "-j" },
      { "--rotate-keep counts the files", "--har", "x", "--rotate-keep", "1" },
      { "--har is about HTTP and cannot be used with --raw", "--raw", "--show-secrets", "--har", "x" },
      { "--pcapng is about HTTP and cannot be used with --raw", "-x", "--show-secrets", "--pcapng", "x" },
      { "--rotate-size: '0' is not", "--har", "x", "--rotate-size", "0" },
      { "--rotate-secs: '0' is not", "--har", "x", "--rotate-secs", "0" },
      { "--rotate-keep: 'x' is not", "--har", "x", "--rotate-size", "1", "--rotate-keep", "x" },
      { "--har: '' is empty", "--har", "" },
    } do
      assert.matches(case[1], refused(unpack(case, 2)), 1, true)
    end
  end)

  it("reads names of containers, pods and namespaces", function()
    local opts = parsed("--container", "web,db-*", "--container=0123456789ab", "--pod", "shop/web-*,db", "--namespace",
      "shop")
    assert.same({ "web", "db-*", "0123456789ab" }, opts.containers)
    assert.same({ "shop/web-*", "db" }, opts.pods)
    assert.same({ "shop" }, opts.namespaces)
    assert.is_nil(parsed().containers)
  end)

  it("reads what collectors, sampling and a budget need", function()
    local opts = parsed("--otlp", "https://c.test:4318/x", "--otlp-header", "a=b=c", "--otlp-header", "d=",
      "--metrics", "[::1]:9464", "--max-cpu", "150", "--max-memory", "64", "--sample", "10", "--rate", "5")
    assert.equal("https://c.test:4318/x", opts.otlp)
    assert.same({ { name = "a", value = "b=c" }, { name = "d", value = "" } }, opts.otlp_headers)
    assert.same({ host = "::1", port = 9464 }, opts.metrics)
    assert.same({ 150, 64, 10, 5 }, { opts.max_cpu, opts.max_memory, opts.sample, opts.rate })
    assert.same({ host = "", port = 9464 }, parsed("--metrics", ":9464").metrics)
    assert.equal("-", parsed("--otlp", "-").otlp)
  end)

  it("refuses collectors, sampling and budgets that make no sense", function()
    for _, case in ipairs {
      { "--otlp: 'c:4318' is not a URL", "--otlp", "c:4318" },
      { "--otlp: 'ftp://c' is not a URL", "--otlp", "ftp://c" },
      { "--otlp: 'http://' is not a URL", "--otlp", "http://" }, { "is not a URL", "--otlp", "http://c/\nX: y" },
      { "--otlp-header: 'a' is not NAME=VALUE", "--otlp", "-", "--otlp-header", "a" },
      { "--otlp-header is for --otlp", "--otlp-header", "a=b" },
      { "--metrics: '9464' is not ADDRESS:PORT", "--metrics", "9464" },
      { "--metrics: 'localhost:9464' is not ADDRESS:PORT", "--metrics", "localhost:9464" },
      { "is not ADDRESS:PORT", "--metrics", "127.0.0.1:70000" },
      { "--otlp is about HTTP and cannot be used with --raw", "--raw", "--show-secrets", "--otlp", "-" },
      { "--metrics is about HTTP and cannot be used with --raw", "-x", "--show-secrets", "--metrics", ":1" },
      { "--max-cpu: '0' is not", "--max-cpu", "0" }, { "--max-memory: '31' is not", "--max-memory", "31" },
      { "--sample: '0' is not", "--sample", "0" }, { "--rate: '-1' is not", "--rate=-1" },
    } do
      assert.matches(case[1], refused(unpack(case, 2)), 1, true)
    end
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
    assert.equal("unknown option '-Z'", refused("-Z"))
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
    ["--container"] = { "", "a,", "a b", "-x", "a,,b" },
    ["--pod"] = { "", "shop/", "/web", "a/b/c", "a b" },
    ["--namespace"] = { "", "a b" },
    ["--output"] = { "" },
    ["--attach"] = { "uprobe", "", "Kprobe" },
    ["--color"] = { "yes", "" },
    ["--extra-lib"] = { "", "openssl", "openssl:", ":/x", "OpenSSL:/x", "openssl:x.so" },
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

  it("takes TLS libraries at odd places", function()
    assert.same({ { type = "openssl", path = "/opt/a:b.so" }, { type = "nss", path = "/x" } },
      parsed("--tls", "--extra-lib", "openssl:/opt/a:b.so", "--extra-lib=nss:/x").extra_libs)
    assert.matches("boringssl, gnutls, go,", refused("--extra-lib=ssl:/x"), 1, true)
    assert.matches("use it with --tls", refused("--extra-lib=nss:/x"), 1, true)
    assert.matches("use it with --tls", refused("--hold"), 1, true)
  end)

  it("keeps --raw apart from what is about HTTP", function()
    assert.is_true(parsed("-x", "--show-secrets").raw)
    assert.equal("--verbose cannot be used with --raw", refused("--raw", "-v", "--show-secrets"))
    assert.matches("--status is about HTTP", refused("-l", "--status", "5xx", "--show-secrets"), 1, true)
    assert.matches("--min-ms is about HTTP", refused("--raw", "--min-ms", "5", "--show-secrets"), 1, true)
  end)

  it("shows bytes as they pass only to those who want the secrets in them", function()
    for _, flag in ipairs { "--raw", "-x", "-l", "--handshake" } do
      assert.matches("give --show-secrets too", refused(flag), 1, true)
    end
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
        if flag ~= "--colour" and not option.opt_in then assert.matches(flag, text, 1, true) end
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

  -- Every flag that a manual page explains.
  local function flags_of_page(name)
    local page, found = assert(paths.read(paths.file(("man/%s.8"):format(name)))), {}
    for item in page:gmatch("\n%.It (Fl [^\n]*)") do
      for flag in item:gmatch("Fl (%S+)") do found["-" .. flag] = true end
    end
    for flag in page:gmatch("\n%.Fl (%-%S+)\nis the same") do found["-" .. flag] = true end
    return found
  end

  -- Every flag of the options that a tool's --help lists: it leaves out second spellings.
  local function flags_of_tool(name)
    local pipe = assert(io.popen(("%s --help"):format(paths.file("tools/" .. name))))
    local listed, found = {}, {}
    for line in pipe:lines() do
      local flag = line:match("^  %-%w, (%-%-%S+)") or line:match("^      (%-%-%S+)")
      if flag then listed[flag] = true end
    end
    pipe:close()
    for _, option in ipairs(cli.options) do
      if listed[option.flags:match("%S+$")] then
        for flag in option.flags:gmatch("%S+") do found[flag] = true end
      end
    end
    return found
  end

  for _, name in ipairs(assert(filesystem.list(paths.file("tools")))) do
    it("is what the man page of " .. name .. " says", function()
      local of_tool = flags_of_tool(name)
      assert.is_true(of_tool["--help"] and of_tool["--version"])
      assert.same(of_tool, flags_of_page(name))
    end)
  end

  it("has every option in a tool", function()
    local found = {}
    for _, name in ipairs(assert(filesystem.list(paths.file("tools")))) do
      for flag in pairs(flags_of_tool(name)) do found[flag] = true end
    end
    for _, option in ipairs(cli.options) do
      for flag in option.flags:gmatch("%S+") do assert.is_true(found[flag], flag) end
    end
  end)

  it("leaves out the command where a tool runs none", function()
    local map = { name = "map", summary = "Looks.", options = { "pid" }, no_command = true, help = { pid = "just it" } }
    local help = cli.parse(map, { "-h" }).help_text
    assert.equal("Usage: map [OPTION...]\nLooks.\n", help:sub(1, 30))
    assert.is_nil(help:find("COMMAND", 1, true))
    assert.matches("%-%-pid PID%[,PID%.%.%.%]   just it\n", help)
    for _, argv in ipairs { { "--", "ls" }, { "--" }, { "ls" } } do
      local opts, message = cli.parse(map, argv)
      assert.is_nil(opts)
      assert.is_nil(message:find("goes after", 1, true))
    end
  end)

  it("has not what a tool is without", function()
    local less = { name = "less", summary = "Less.", without = { "all", "json" } }
    assert.is_nil(cli.parse(less, { "-h" }).help_text:find("--json", 1, true))
    assert.is_nil((cli.parse(less, { "-a" })))
    assert.is_true(cli.parse(less, { "-v" }).verbose)
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
