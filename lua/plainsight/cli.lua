-- SPDX-License-Identifier: Apache-2.0
--- Command line of every Plainsight tool.
-- There is one table of options, so that a letter means the same everywhere;
-- a tool names the ones it has. Every value is checked here, so that the rest
-- of the tool can trust it.
local argparse = require "argparse"
local bit = require "bit"
local ffi = require "ffi"
local filters = require "plainsight.filters"

local _M = {}

--- Version of Plainsight.
_M.version = "0.1.0"

-- The C library's own account database: the part of struct passwd that POSIX
-- and every Linux C library agree on, as far as pw_uid.
ffi.cdef [[
struct ps_passwd { char *pw_name; char *pw_passwd; uint32_t pw_uid; };
struct ps_passwd *getpwnam(const char *name);
int isatty(int fd);
]]

local PID_MAX = 4194304 -- PID_MAX_LIMIT of a 64-bit kernel
local UID_MAX = 4294967294 -- (uid_t)-1 means "no user"
local COMM_MAX = 15 -- TASK_COMM_LEN without its NUL
local BODY_MAX = 1024 * 1024 * 1024
local COUNT_MAX = 1000000000000
local DURATION_MAX_S = 1000000000

-- Argument as it is safe to repeat in a one-line message.
local function quoted(text)
  return "'" .. text:gsub("[%c\127-\255]", function(c) return ("\\x%02x"):format(c:byte()) end) .. "'"
end

-- A decimal number without sign, space or fraction, or nil.
local function integer(text, min, max)
  if not text:find("^%d+$") or #text > 15 then return nil end
  local value = tonumber(text, 10)
  if value < min or value > max then return nil end
  return value
end

local function integer_in(min, max)
  return function(text)
    local value = integer(text, min, max)
    if not value then return nil, ("is not a number from %d to %d"):format(min, max) end
    return value
  end
end

local function integer_list(min, max)
  return function(text)
    local values = {}
    for item in (text .. ","):gmatch("([^,]*),") do
      local value = integer(item, min, max)
      if not value then
        local which = item == text and "" or (": %s"):format(quoted(item))
        return nil, ("is not a list of numbers from %d to %d%s"):format(min, max, which)
      end
      values[#values + 1] = value
    end
    return values
  end
end

local function byte_count(max)
  return function(text)
    local digits, suffix = text:match("^(%d+)([kKmM]?)$")
    local unit = ({ [""] = 1, k = 1024, m = 1024 * 1024 })[(suffix or ""):lower()]
    local value = digits and integer(digits, 0, max)
    if not value or value * unit > max then
      return nil, ("is not a number of bytes (0 to %dM; suffix k or M)"):format(max / 1024 / 1024)
    end
    return value * unit
  end
end

local function seconds(text)
  local value = (text:find("^%d+%.?%d*$") or text:find("^%.%d+$")) and tonumber(text)
  if not value or value <= 0 or value > DURATION_MAX_S then return nil, "is not a number of seconds above 0" end
  return value
end

local function ring_size(text)
  local value = integer(text, 1, 512)
  if not value or bit.band(value, value - 1) ~= 0 then
    return nil, "is not a power of two from 1 to 512 (mebibytes)"
  end
  return value
end

local function user(text)
  local uid = integer(text, 0, UID_MAX)
  if uid then return uid end
  if text == "" or text:find("^%d+$") then return nil, "is not a user name or id" end
  local entry = ffi.C.getpwnam(text)
  if entry == nil then return nil, "is not a user of this system" end
  return tonumber(entry.pw_uid)
end

local function comm(text)
  if text == "" then return nil, "is empty: a process name is wanted" end
  if #text > COMM_MAX then
    return nil, ("is longer than %d bytes, to which the kernel cuts process names"):format(COMM_MAX)
  end
  return text
end

-- RFC 9110 9.1: a method is a token, and case matters.
local function methods(text)
  for item in (text .. ","):gmatch("([^,]*),") do
    if not item:find("^[!#$%%&'*+%-.^_`|~%w]+$") then return nil, "is not a list of methods such as GET,POST" end
  end
  return text
end

local function milliseconds(text)
  local value = (text:find("^%d+%.?%d*$") or text:find("^%.%d+$")) and tonumber(text)
  if not value or value > DURATION_MAX_S * 1000 then return nil, "is not a number of milliseconds" end
  return value
end

local function pattern(text)
  if text == "" then return nil, "is empty: a pattern is wanted" end
  return text
end

local function path(text)
  if text == "" then return nil, "is empty: a path is wanted" end
  return text
end

local function record_path(text)
  if text == "-" then return nil, "is standard output, where exchanges go: a path is wanted" end
  return path(text)
end

-- Names of containers, pods, namespaces. None of them has a comma or white space.
local function name_list(text)
  local names = {}
  for name in (text .. ","):gmatch("([^,]*),") do
    if not name:find("^[%w*][%w_.*/-]*$") then return nil, "is not a list of names, in which * stands for anything" end
    names[#names + 1] = name
  end
  return names
end

-- [NAMESPACE/]POD.
local function pod_list(text)
  local names, wrong = name_list(text)
  for _, name in ipairs(names or {}) do
    if not name:find("^[^/]*/?[^/]+$") then return nil, "is not a list of [NAMESPACE/]POD" end
  end
  return names, wrong
end

local function path_list(text)
  local value, wrong = path(text)
  return value and { value }, wrong
end

-- TYPE:PATH. The types are those of lua/plainsight/tls/library/.
local function typed_library(text)
  local registry = require "plainsight.tls.registry"
  local name, file = text:match("^([^:]*):(.+)$")
  if not name then return nil, "is not TYPE:PATH" end
  if not registry.get(name) then
    return nil, ("has a TYPE that is not one of %s"):format(table.concat(registry.names(), ", "))
  end
  if file:sub(1, 1) ~= "/" then return nil, "has a PATH that is not absolute" end
  return { { type = name, path = file } }
end

-- "-" stands for what the environment says.
local function collector_url(text)
  if text ~= "-" and not text:find("^https?://[^/%c%s]+[^%c%s]*$") then
    return nil, "is not a URL such as http://localhost:4318, nor -"
  end
  return text
end

local function header_pair(text)
  local name, value = text:match("^([^=]+)=(.*)$")
  if not name then return nil, "is not NAME=VALUE" end
  return { { name = name, value = value } }
end

-- HOST:PORT, [IPV6]:PORT or :PORT, which means all addresses.
local function listen_address(text)
  local host, port = text:match("^%[([%x:.]+)%]:(%d+)$")
  if not host then host, port = text:match("^([%d.]*):(%d+)$") end
  port = port and integer(port, 0, 65535)
  if not port then return nil, "is not ADDRESS:PORT such as 127.0.0.1:9464 or [::1]:9464" end
  return { host = host, port = port }
end

local function one_of(...)
  local choices = { ... }
  return function(text)
    for _, choice in ipairs(choices) do
      if text == choice then return text end
    end
    return nil, "is not one of " .. table.concat(choices, ", ")
  end
end

--- All options, in the order in which --help shows them.
-- id: name for a tool's own list · flags: as argparse takes them, the last
-- one names the option in messages · arg: name of its argument, none for a
-- flag · target: field of the result · convert: text -> value, or nil and what
-- is wrong with it · repeatable: lists of several uses are joined · opt_in: only
-- of tools that name it in a list of their own.
_M.options = {
  {
    id = "pid", group = "What to watch", flags = "-p --pid", arg = "PID[,PID...]", target = "pids",
    convert = integer_list(1, PID_MAX), repeatable = true,
    help = "these processes and the children they start later",
  },
  {
    id = "no-follow", group = "What to watch", flags = "--no-follow", target = "no_follow",
    help = "not the children that -p and COMMAND start later",
  },
  {
    id = "uid", group = "What to watch", flags = "-u --uid", arg = "UID|NAME", target = "uid", convert = user,
    help = "processes of this user",
  },
  {
    id = "comm", group = "What to watch", flags = "-c --comm", arg = "COMM", target = "comm", convert = comm,
    help = "threads of this name, at most 15 bytes",
  },
  {
    id = "cgroup", group = "What to watch", flags = "--cgroup", arg = "PATH", target = "cgroup", convert = path,
    help = "processes in this cgroup v2 directory or below it",
  },
  {
    id = "container", group = "What to watch", flags = "--container", arg = "NAME|ID", target = "containers",
    convert = name_list, repeatable = true,
    help = "containers of this name or id; * stands for anything",
  },
  {
    id = "pod", group = "What to watch", flags = "--pod", arg = "[NS/]POD", target = "pods",
    convert = pod_list, repeatable = true,
    help = "containers of these Kubernetes pods; * as above",
  },
  {
    id = "namespace", group = "What to watch", flags = "--namespace", arg = "NS", target = "namespaces",
    convert = name_list, repeatable = true,
    help = "containers of pods in this namespace; * as above",
  },
  {
    id = "port", group = "What to watch", flags = "--port", arg = "N[,N...]", target = "ports",
    convert = integer_list(1, 65535), repeatable = true,
    help = "TCP connections with this port at either end",
  },
  {
    id = "tls", group = "What to watch", flags = "--tls", target = "tls",
    help = "HTTPS too: what processes hand to TLS libraries",
  },
  {
    id = "extra-lib", group = "What to watch", flags = "--extra-lib", arg = "TYPE:PATH", target = "extra_libs",
    convert = typed_library, repeatable = true,
    help = "this file is a TLS library, such as openssl:/x.so",
  },
  {
    id = "hold", group = "What to watch", flags = "--hold", target = "hold",
    help = "programs that start wait until they are watched",
  },
  {
    id = "all", group = "What to show", flags = "-a --all", target = "all",
    help = "processes without TLS as well",
  },
  {
    id = "method", group = "What to show", flags = "--method", arg = "METHOD[,...]", target = "method",
    convert = methods,
    help = "requests with one of these methods",
  },
  {
    id = "status", group = "What to show", flags = "--status", arg = "CODE[,...]", target = "status",
    convert = filters.parse_status,
    help = "responses such as 404, 5xx, or none: no response",
  },
  {
    id = "host", group = "What to show", flags = "--host", arg = "PATTERN", target = "host", convert = pattern,
    help = "requests to this Host; * stands for anything",
  },
  {
    id = "path", group = "What to show", flags = "--path", arg = "PATTERN", target = "path", convert = pattern,
    help = "requests for this path, without query; * as above",
  },
  {
    id = "min-ms", group = "What to show", flags = "--min-ms", arg = "N", target = "min_ms", convert = milliseconds,
    help = "exchanges that took at least so long",
  },
  {
    id = "side", group = "What to show", flags = "--side", arg = "SIDE", target = "side",
    convert = one_of("client", "server"),
    help = "client or server: what the process is in them",
  },
  {
    id = "verbose", group = "Output", flags = "-v --verbose", target = "verbose",
    help = "headers and bodies, laid out like curl -v",
  },
  {
    id = "json", group = "Output", flags = "-j --json", target = "json",
    help = "one JSON object per line",
  },
  {
    id = "raw", group = "Output", flags = "--raw", target = "raw",
    help = "all plaintext, HTTP or not, as it passes",
  },
  {
    id = "hexdump", group = "Output", flags = "-x --hexdump", target = "hexdump",
    help = "the same in the layout of hexdump -C",
  },
  {
    id = "latency", group = "Output", flags = "-l --latency", target = "latency",
    help = "the same with the time of each call",
  },
  {
    id = "handshake", group = "Output", flags = "--handshake", target = "handshake",
    help = "the same with handshakes and their time",
  },
  {
    id = "preview", group = "Output", flags = "--preview", arg = "BYTES", target = "preview_bytes",
    convert = byte_count(BODY_MAX), default = 96,
    help = "start of each body to show (default 96, 0 = none)",
  },
  {
    id = "no-decode", group = "Output", flags = "--no-decode", target = "no_decode",
    help = "bodies as on the wire: no gzip undone",
  },
  {
    id = "show-secrets", group = "Output", flags = "--show-secrets", target = "show_secrets",
    help = "passwords, tokens and the like as they are",
  },
  {
    id = "color", group = "Output", flags = "--colour --color", arg = "WHEN", target = "color_when",
    convert = one_of("auto", "always", "never"), default = "auto",
    help = "auto (default), always or never",
  },
  {
    id = "output", group = "Output", flags = "-o --output", arg = "FILE", target = "output", convert = path,
    help = "write to FILE instead of standard output",
  },
  {
    id = "stats", group = "Output", flags = "--stats", arg = "SECS", target = "stats_s", convert = seconds,
    help = "print what was seen and lost every so often",
  },
  {
    id = "otlp", group = "Collectors", flags = "--otlp", arg = "URL", target = "otlp", convert = collector_url,
    help = "spans and metrics to an OpenTelemetry collector",
  },
  {
    id = "otlp-header", group = "Collectors", flags = "--otlp-header", arg = "NAME=VALUE", target = "otlp_headers",
    convert = header_pair, repeatable = true,
    help = "a header to send with them, such as a key",
  },
  {
    id = "metrics", group = "Collectors", flags = "--metrics", arg = "ADDR:PORT", target = "metrics",
    convert = listen_address,
    help = "serve /metrics for Prometheus, and /healthz",
  },
  {
    id = "har", group = "Export", flags = "--har", arg = "FILE", target = "har", convert = path,
    help = "also as HTTP Archive; in DIR/ one for each host",
  },
  {
    id = "pcapng", group = "Export", flags = "--pcapng", arg = "FILE", target = "pcapng", convert = path,
    help = "also as packets, for Wireshark; - for stdout",
  },
  {
    id = "rotate-size", group = "Export", flags = "--rotate-size", arg = "MIB", target = "rotate_mib",
    convert = integer_in(1, 1048576),
    help = "begin another file when one is so large",
  },
  {
    id = "rotate-secs", group = "Export", flags = "--rotate-secs", arg = "SECS", target = "rotate_s",
    convert = seconds,
    help = "or so old; %H and the like in FILE: the time",
  },
  {
    id = "rotate-keep", group = "Export", flags = "--rotate-keep", arg = "COUNT", target = "rotate_keep",
    convert = integer_in(1, 1000000),
    help = "keep the last COUNT of these files",
  },
  {
    id = "rules", group = "Secrets", flags = "--rules", arg = "FILE", target = "rule_files", convert = path_list,
    repeatable = true, opt_in = true,
    help = "rules in the format of gitleaks, besides our own",
  },
  {
    id = "no-builtin", group = "Secrets", flags = "--no-builtin", target = "no_builtin", opt_in = true,
    help = "only the rules of --rules",
  },
  {
    id = "list-rules", group = "Secrets", flags = "--list-rules", target = "list_rules", opt_in = true,
    help = "show the rules and end",
  },
  {
    id = "fail-on", group = "Secrets", flags = "--fail-on", arg = "SEVERITY", target = "fail_on",
    convert = one_of("low", "medium", "high", "critical"), opt_in = true,
    help = "exit status 3 for findings of at least this",
  },
  {
    id = "allow", group = "Secrets", flags = "--allow", arg = "FILE", target = "allow", convert = path, opt_in = true,
    help = "findings that are known and not reported",
  },
  {
    id = "hash-key-file", group = "Secrets", flags = "--hash-key-file", arg = "FILE", target = "hash_key_file",
    convert = path, opt_in = true,
    help = "key of the hashes, to compare runs (default random)",
  },
  {
    id = "sample", group = "How much to look into", flags = "--sample", arg = "N", target = "sample",
    convert = integer_in(1, 1000000),
    help = "one exchange of N, of each operation and status",
  },
  {
    id = "rate", group = "How much to look into", flags = "--rate", arg = "N", target = "rate",
    convert = integer_in(1, 1000000),
    help = "at most N exchanges a second",
  },
  {
    id = "count", group = "When to stop", flags = "-n --count", arg = "COUNT", target = "count",
    convert = integer_in(1, COUNT_MAX),
    help = "after this many exchanges",
  },
  {
    id = "duration", group = "When to stop", flags = "-d --duration", arg = "SECS", target = "duration_s",
    convert = seconds,
    help = "after this time; fractions are fine",
  },
  {
    id = "record", group = "Recordings", flags = "--record", arg = "FILE", target = "record", convert = record_path,
    help = "keep what was captured in FILE, for --replay",
  },
  {
    id = "replay", group = "Recordings", flags = "--replay", arg = "FILE", target = "replay", convert = path,
    help = "show a recording; needs neither root nor BPF",
  },
  {
    id = "max-body", group = "Capture", flags = "--max-body", arg = "BYTES", target = "max_body_bytes",
    convert = byte_count(BODY_MAX), default = 65536,
    help = "kept of each body, suffix k or M (default 64k)",
  },
  {
    id = "ring-size", group = "Capture", flags = "--ring-size", arg = "MIB", target = "ring_mib",
    convert = ring_size, default = 16,
    help = "ring buffer size, a power of two (default 16)",
  },
  {
    id = "attach", group = "Capture", flags = "--attach", arg = "KIND", target = "attach",
    convert = one_of("kprobe", "tracepoint"),
    help = "tracepoint (default where there are) or kprobe",
  },
  {
    id = "max-cpu", group = "Budget", flags = "--max-cpu", arg = "PERCENT", target = "max_cpu",
    convert = integer_in(1, 102400),
    help = "of one CPU: capture less rather than use more",
  },
  {
    id = "max-memory", group = "Budget", flags = "--max-memory", arg = "MIB", target = "max_memory",
    convert = integer_in(32, 1048576),
    help = "likewise; without the ring buffer",
  },
  { id = "help", group = "Other", flags = "-h --help", target = "help", help = "show this text" },
  { id = "version", group = "Other", flags = "-V --version", target = "version", help = "show the version" },
}

-- Shown by --help when a tool brings no examples of its own.
local common_examples = {
  { "%s", "the whole host" },
  { "%s -p 1234,5678", "two processes and their children" },
  { "%s -- curl -s http://localhost:8080/", "one command, from its start" },
  { "%s --container web", "one container" },
  { "%s -v --port 8080 -n 1", "one exchange in full" },
  { "%s | grep ' 50[0-9] '", "server errors" },
  { "%s -j | jq -r .request.url", "for programs" },
  { "%s --har trace.har", "for a browser, too" },
}

local opt_in = {}
for _, option in ipairs(_M.options) do opt_in[option.id] = option.opt_in end

-- True when the tool has the option; a tool without a list has all of them, but for those in its list without and
-- those that are opt_in.
local function has_option(tool, id)
  for _, name in ipairs(tool.without or {}) do
    if name == id then return false end
  end
  if id == "help" or id == "version" then return true end
  if not tool.options then return not opt_in[id] end
  for _, name in ipairs(tool.options) do
    if name == id then return true end
  end
  return false
end

local function option_label(option)
  local short, long = option.flags:match("^(%-%w) (.+)$")
  long = (long or option.flags):match("%S+$")
  local label = (short and short .. ", " or "    ") .. long
  return option.arg and label .. " " .. option.arg or label
end

local function help_text(tool)
  local lines = {
    ("Usage: %s [OPTION...]%s"):format(tool.name, tool.no_command and "" or " [-- COMMAND [ARG...]]"),
    tool.summary,
  }
  local group
  for _, option in ipairs(_M.options) do
    if has_option(tool, option.id) then
      if option.group ~= group then
        group = option.group
        lines[#lines + 1] = "\n" .. group .. ":"
      end
      lines[#lines + 1] = ("  %-24s %s"):format(option_label(option), (tool.help or {})[option.id] or option.help)
    end
  end
  if not tool.no_command then
    lines[#lines + 1] = ("  %-24s %s"):format("-- COMMAND [ARG...]", "start COMMAND, watch it, stop when it ends")
  end
  lines[#lines + 1] = "\nExamples:"
  local examples, width = {}, 0
  for i, example in ipairs(tool.examples or common_examples) do
    examples[i] = example[1]:gsub("^%%s", tool.name)
    width = math.max(width, #examples[i])
  end
  for i, example in ipairs(tool.examples or common_examples) do
    lines[#lines + 1] = ("  %s%s   %s"):format(examples[i], (" "):rep(width - #examples[i]), example[2])
  end
  return table.concat(lines, "\n") .. "\n"
end

local function append_all(result, target, values)
  local list = result[target] or {}
  for _, value in ipairs(values) do
    list[#list + 1] = value
  end
  result[target] = list
end

-- argparse's own reports exit or name no option; these values are returned.
local function new_parser(tool)
  local parser = argparse(tool.name):add_help(false)
  for _, option in ipairs(_M.options) do
    if has_option(tool, option.id) then
      local long = option.flags:match("%S+$")
      local element
      if option.arg then
        element = parser:option(option.flags):args(1):convert(function(text)
          local value, wrong = option.convert(text)
          if value == nil then return nil, ("%s: %s %s"):format(long, quoted(text), wrong) end
          return value
        end)
      else
        element = parser:flag(option.flags)
      end
      element:target(option.target)
      if option.repeatable then element:count("*"):init(nil):action(append_all) end
    end
  end
  -- Collected only to say where a command goes.
  parser:argument("stray"):args("*")
  return parser
end

-- argparse puts a guess on a line of its own; among single letters it is no help.
local function one_line(message)
  message = message:gsub("\nDid you mean one of these.*", ""):gsub("\nDid you mean", "; did you mean")
  return (message:gsub("%c+", " "))
end

local function without_duplicates(list)
  local seen, unique = {}, {}
  for _, value in ipairs(list) do
    if not seen[value] then
      seen[value] = true
      unique[#unique + 1] = value
    end
  end
  return unique
end

-- argv up to the first "--", and what follows it (nil when there is no "--").
local function split_command(argv)
  local own, command = {}, nil
  for _, argument in ipairs(argv) do
    if command then
      command[#command + 1] = argument
    elseif argument == "--" then
      command = {}
    else
      own[#own + 1] = argument
    end
  end
  return own, command
end

-- https://no-color.org: set and not empty means no.
local function wants_color(opts)
  if opts.color_when ~= "auto" then return opts.color_when == "always" end
  local no_color = os.getenv("NO_COLOR")
  if no_color and no_color ~= "" then return false end
  return not opts.output and os.getenv("TERM") ~= "dumb" and ffi.C.isatty(1) == 1
end

-- The same of the options of group "Export".
local function export_conflict(opts)
  local is_rotated = opts.rotate_mib or opts.rotate_s
  if (is_rotated or opts.rotate_keep) and not (opts.har or opts.pcapng) then
    return "--rotate-size, --rotate-secs and --rotate-keep are about --har and --pcapng: use them with one"
  end
  if opts.rotate_keep and not is_rotated then
    return "--rotate-keep counts the files of --rotate-size and --rotate-secs: use it with one"
  end
  if opts.har == "-" then return "--har cannot go to standard output, as its end is written again and again" end
  local output = opts.output ~= "-" and opts.output
  if opts.har and (opts.har == opts.pcapng or opts.har == output) or output and opts.pcapng == output then
    return "--har, --pcapng and --output cannot be the same file"
  end
  if opts.pcapng ~= "-" then return nil end
  if is_rotated then return "--pcapng - is standard output, which cannot be rotated" end
  if not opts.output or opts.output == "-" then
    return "--pcapng - takes standard output: send the exchanges elsewhere, such as -o /dev/null"
  end
end

-- What has no meaning for a recording.
local CAPTURE_ONLY = { "no_follow", "extra_libs", "hold", "ring_mib", "attach", "max_cpu", "max_memory" }

local function option_name(target)
  for _, option in ipairs(_M.options) do
    if option.target == target then return option.flags:match("%S+$") end
  end
end

-- What cannot be used with --record or --replay, or nil.
local function recording_conflict(opts, command)
  if opts.record and opts.replay then return "--record and --replay cannot be used together" end
  if not opts.replay then return nil end
  if command then return "no command can be run with --replay" end
  if opts.metrics then return "--metrics is read while a tool runs, and a replay is soon over: use --otlp" end
  for _, target in ipairs(CAPTURE_ONLY) do
    if opts[target] ~= nil then
      return ("%s is about capturing and cannot be used with --replay"):format(option_name(target))
    end
  end
end

-- What cannot be used together, or nil. --hexdump, --latency and --handshake are ways of --raw.
local function conflict(tool, opts)
  if has_option(tool, "tls") and not opts.tls then
    if opts.hold then return "--hold is about TLS: use it with --tls" end
    if opts.extra_libs then return "--extra-lib is about TLS: use it with --tls" end
  end
  if opts.otlp_headers and not opts.otlp then return "--otlp-header is for --otlp: use it with that" end
  if opts.verbose and opts.json then return "--verbose and --json cannot be used together" end
  local wrong = export_conflict(opts)
  if wrong then return wrong end
  opts.raw = opts.raw or opts.hexdump or opts.latency or opts.handshake
  if not opts.raw then return nil end
  if not opts.show_secrets then
    return "--raw shows bytes as they pass, with the secrets in them: give --show-secrets too, if that is wanted"
  end
  if opts.verbose then return "--verbose cannot be used with --raw" end
  for _, name in ipairs {
    "method", "status", "host", "path", "min_ms", "side", "no_decode", "har", "pcapng", "otlp", "metrics",
  } do
    if opts[name] then return ("--%s is about HTTP and cannot be used with --raw"):format((name:gsub("_", "-"))) end
  end
end

--- Read a command line.
-- @param tool table: name (string), summary (one line), and optionally
--   options (list of ids from _M.options; all when absent), without (list of
--   ids that it has not), no_command (true: it starts no command), help
--   ({ id = text } where a tool has to be more precise) and examples (list of
--   {command line, what it shows}; "%s" at the start stands for the name)
-- @param argv list of strings, without the program's name
-- @return table; nil and a one-line message when the command line is wrong.
--   help_text or version_text (string, to print as it is) when asked for, and
--   then nothing else. Otherwise:
--   pids, ports (lists of numbers, or nil), follow (boolean), uid (number or
--   nil), comm, cgroup, attach, output (strings or nil), max_body_bytes,
--   preview_bytes, ring_mib (numbers), count, duration_s (numbers or nil),
--   containers, pods, namespaces (lists of strings, or nil),
--   method, host, path, side (strings or nil), status (function or nil), min_ms,
--   stats_s (numbers or nil), verbose, json, color (booleans), command (list of strings or nil),
--   all (true or nil), extra_libs (list of { type, path }, or nil), record, replay (strings or nil; with replay
--   max_body_bytes is nil unless it was given)
function _M.parse(tool, argv)
  local own, command = split_command(argv)
  local ok, opts = new_parser(tool):pparse(own)
  if not ok then return nil, one_line(opts) end
  if opts.help then return { help_text = help_text(tool) } end
  if opts.version then
    return { version_text = ("%s %s (Plainsight, %s)\n"):format(tool.name, _M.version, jit.version) }
  end
  if opts.stray and opts.stray[1] then
    return nil, ("unexpected argument %s%s"):format(quoted(opts.stray[1]),
      tool.no_command and "" or "; a command to run goes after --")
  end
  if command and tool.no_command then return nil, "runs no command: nothing can follow --" end
  if command and #command == 0 then return nil, "a command is missing after --" end
  local wrong = conflict(tool, opts) or recording_conflict(opts, command)
  if wrong then return nil, wrong end
  if command and opts.pcapng == "-" then return nil, "--pcapng - takes standard output, which COMMAND has" end

  for _, option in ipairs(_M.options) do
    -- How much of a body there is, a recording knows.
    local is_of_recording = opts.replay and option.id == "max-body"
    if opts[option.target] == nil and not is_of_recording then opts[option.target] = option.default end
  end
  for _, list in ipairs { "pids", "ports" } do
    if opts[list] then opts[list] = without_duplicates(opts[list]) end
  end
  if opts.output == "-" then opts.output = nil end
  opts.follow = not opts.no_follow
  opts.verbose, opts.json = opts.verbose == true, opts.json == true
  opts.color = wants_color(opts)
  opts.command = command
  opts.no_follow, opts.color_when, opts.stray = nil, nil, nil
  return opts
end

return _M
