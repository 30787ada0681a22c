-- SPDX-License-Identifier: Apache-2.0
-- TLS libraries of processes, in a procfs that the specs make: its files are real, its processes are not.
local cjson = require "cjson"
local discover = require "plainsight.tls.discover"
local filesystem = require "plainsight.files"
local identify = require "plainsight.tls.identify"
local json = require "plainsight.output.json"
local maps = require "plainsight.tls.maps"
local output = require "plainsight.output.tls"
local paths = require "plainsight.paths"
local registry = require "plainsight.tls.registry"
local sys = require "plainsight.sys"

local directory

local function run(command, ...) assert(os.execute(command:format(...)) == 0, command) end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

setup(function()
  directory = os.tmpname()
  os.remove(directory)
  run("mkdir -p '%s/proc'", directory)
end)

teardown(function() run("rm -rf '%s'", directory) end)

-- A shared library with this C source; returns its path.
local function build(name, source, options)
  local path = ("%s/%s"):format(directory, name)
  write(path .. ".c", source)
  run("gcc -shared -fPIC -o '%s' %s '%s.c'", path, options or "", path)
  return path
end

local RANGE = "7f0000001000-7f0000002000"

local function map_line(path, given)
  given = given or {}
  local major, minor, inode = assert(maps.key_of(path)):match("^(%d+):(%d+):(%d+)$")
  return ("%s r-xp 00001000 %02x:%02x %s                     %s\n"):format(given.range or RANGE, major, minor,
    given.inode or inode, given.path or path)
end

-- A process in our procfs; given: maps (text), comm, links ({ ["FROM-TO"] = path } in map_files), exe, stat.
local function process(pid, given)
  local base = ("%s/proc/%d"):format(directory, pid)
  run("rm -rf '%s' && mkdir -p '%s/map_files'", base, base)
  write(base .. "/maps", given.maps or "")
  write(base .. "/comm", (given.comm or "thing") .. "\n")
  run("ln -s / '%s/root' && ln -s '%s' '%s/exe'", base, given.exe or "/usr/bin/thing", base)
  for range, path in pairs(given.links or {}) do run("ln -s '%s' '%s/map_files/%s'", path, base, range) end
  if given.stat then write(base .. "/stat", given.stat) end
  return base
end

local function files_of(pid) return maps.files_of(pid, directory .. "/proc") end

describe("maps.files_of", function()
  it("lists files that code is run from, each once", function()
    process(10, { maps = table.concat {
      "00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon\n",
      "00651000-00652000 r--p 00051000 08:02 173521      /usr/bin/dbus-daemon\n",
      "35b1800000-35b1820000 rwxp 00000000 103:1f 18446744073709551615      /usr/lib64/x y.so (deleted)\n",
      "35b1820000-35b1840000 --xs 00000000 103:1f 18446744073709551615      /usr/lib64/x y.so (deleted)\n",
      "7f0000000000-7f0000001000 r-xp 00000000 00:01 2049 /memfd:jit (deleted)\n",
      "7f0000001000-7f0000002000 rwxp 00000000 00:00 0 \n",
      "7f0000002000-7f0000003000 r--p 00000000 08:02 135522 /usr/lib64/data.so\n",
      "7f0000003000-7f0000004000 r-xp 00000000 08:02 135523 /tmp/a\\012b\n",
      "7fff00000000-7fff00001000 r-xp 00000000 00:00 0  [vdso]\n",
      "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n",
    } })
    local files = files_of(10)
    local shown = {}
    for i, file in ipairs(files) do
      shown[i] = ("%s %s %s %s-%s"):format(file.key, file.path, tostring(file.deleted), file.start, file["end"])
    end
    assert.same({
      "8:2:173521 /usr/bin/dbus-daemon false 400000-452000",
      "259:31:18446744073709551615 /usr/lib64/x y.so true 35b1800000-35b1820000",
      "0:1:2049 /memfd:jit true 7f0000000000-7f0000001000",
      "8:2:135523 /tmp/a\nb false 7f0000003000-7f0000004000",
    }, shown)
    assert.equal(8, files[1].dev_major)
    assert.equal(2, files[1].dev_minor)
    assert.equal("173521", files[1].inode)
  end)

  it("reads what is larger than its buffer, and a last line without an end", function()
    local lines = {}
    for i = 1, 3000 do
      local from = i * 4096
      lines[i] = ("%x-%x r-xp 00000000 08:02 %d /lib/%s.so\n"):format(from, from + 4096, i, ("x"):rep(i % 200))
    end
    process(11, { maps = table.concat(lines) .. "7f00-7f01 r-xp 0 08:02 9999 /cut" })
    local files = files_of(11)
    assert.equal(3000, #files)
    for i, file in ipairs(files) do assert.equal(tostring(i), file.inode) end
  end)

  it("bounds lines and files", function()
    process(12, { maps = "00400000-00452000 r-xp 00000000 08:02 1 /" .. ("x"):rep(70000) .. "\n" })
    local files, message = files_of(12)
    assert.is_nil(files)
    assert.equal("maps: a line is too long", message)
    local lines = {}
    for i = 1, maps.FILES_MAX + 10 do lines[i] = ("1000-2000 r-xp 0 08:02 %d /x\n"):format(i) end
    process(12, { maps = table.concat(lines) })
    files = files_of(12)
    assert.equal(maps.FILES_MAX, #files)
    assert.is_true(files.cut)
    lines[maps.FILES_MAX + 1] = nil
    process(12, { maps = table.concat(lines, "", 1, maps.FILES_MAX) })
    files = files_of(12)
    assert.equal(maps.FILES_MAX, #files)
    assert.is_falsy(files.cut)
  end)

  it("takes lines that are none", function()
    local lines = "\n \n  x\nr-xp\n1-2 r-xp\n1-2 r-xp 0 zz:2 5 /x\n--- r-xp /x\n"
    process(13, { maps = lines .. ("\0\255"):rep(40) .. "\n" })
    assert.same({}, files_of(13))
  end)

  it("knows of no process and of kernel threads", function()
    local files, _, errno = files_of(14)
    assert.is_nil(files)
    assert.equal(sys.errno.ENOENT, errno)
    process(15, { maps = "", stat = "15 (kthreadd) S 0 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1\n" })
    assert.same({}, files_of(15))
  end)

  it("finds the memory of a process whose first thread has ended", function()
    local line = "00400000-00452000 r-xp 00000000 08:02 173521 /usr/bin/x\n"
    local base = process(16, { maps = "", stat = "16 (a) b) Z 0 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 2 0 1\n" })
    run("mkdir -p '%s/task/16' '%s/task/17' && ln -s /x '%s/task/17/exe'", base, base, base)
    write(base .. "/task/17/maps", line)
    local files = files_of(16)
    assert.equal("/usr/bin/x", files[1].path)
    assert.equal(directory .. "/proc/17", files[1].task)
  end)
end)

describe("maps.open", function()
  local library, other
  setup(function()
    library, other = directory .. "/a library\\x", directory .. "/other"
    write(library, "one")
    write(other, "two")
  end)

  local function opened(given)
    process(20, given)
    local fd, found, errno = maps.open(files_of(20)[1])
    if not fd then return nil, found, errno end
    local text = sys.read_all(fd)
    require("ffi").C.close(fd)
    return text, found
  end

  it("takes the link of the mapping, whatever is called like it now", function()
    local text, stat = opened { maps = map_line(library, { path = other }), links = { [RANGE] = library } }
    assert.equal("one", text)
    assert.equal(3, stat.size)
  end)

  it("takes the path where there is no link, deleted or not", function()
    assert.equal("one", (opened { maps = map_line(library) }))
    assert.equal("one", (opened { maps = map_line(library, { path = library .. " (deleted)" }) }))
  end)

  it("takes no file that only has the name", function()
    local text, message = opened { maps = map_line(library, { path = other }) }
    assert.is_nil(text)
    assert.equal("No such file or directory", message) -- of the mapping
    text = opened { maps = map_line(library, { inode = "1" }), links = { [RANGE] = library } }
    assert.is_nil(text)
  end)

  it("opens nothing but regular files", function()
    local pipe = directory .. "/pipe"
    run("mkfifo '%s'", pipe)
    local text, message = opened { maps = map_line(library, { path = pipe }), links = { [RANGE] = pipe } }
    assert.is_nil(text)
    assert.equal("not a regular file", message)
    assert.is_nil(maps.key_of(pipe))
    assert.is_nil(maps.key_of("/dev/null"))
  end)

  it("finds names with line feeds and with the kernel's escape", function()
    for _, name in ipairs { "/line\nfeed", "/octal\\012feed", "/gone (deleted)" } do
      write(directory .. name, name)
      local path = (directory .. name):gsub("\n", "\\012")
      assert.equal(name, (opened { maps = map_line(directory .. name, { path = path }) }))
    end
  end)
end)

describe("registry", function()
  it("has the library that docs/tls.md shows as it is", function()
    local shown = assert(paths.read(paths.file("docs/tls.md"))):match("```lua\n(.-)```")
    local file = assert(paths.read(paths.file("lua/plainsight/tls/library/mbedtls.lua")))
    assert.equal(file:match("\n(return {.*)"), shown)
  end)

  it("has each file of its directory", function()
    local count = 0
    for _, file in ipairs(assert(filesystem.list(paths.file("lua/plainsight/tls/library")))) do
      local name = file:match("^(.*)%.lua$")
      local library = assert(registry.get(name))
      count = count + 1
      assert.matches("^%S+$", library.title)
      assert.is_true(library.reason ~= nil or type(library.functions) == "table", name)
      assert.is_true(library.marker ~= nil or library.strings ~= nil or library.sonames ~= nil or library.detect ~= nil)
    end
    assert.equal(count, #registry.libraries + 1)
    assert.is_true(registry.fallback.fallback)
    assert.is_nil(registry.get("nothing"))
  end)
end)

describe("a library of one's own", function()
  it("is a file in the directory and nothing else", function()
    local tree = directory .. "/tree"
    run("mkdir '%s' && cp -R '%s' '%s'", tree, paths.file("lua"), tree)
    write(tree .. "/lua/plainsight/tls/library/mytls.lua",
      'return { name = "mytls", title = "MyTLS", marker = "mytls_read", functions = {} }')
    local script = 'local r = require("plainsight.tls.registry") print(table.concat(r.names(), " "), #r.markers)'
    local pipe = assert(io.popen(("LUA_PATH='%s/lua/?.lua' luajit -e '%s'"):format(tree, script)))
    local answer = pipe:read("*l")
    pipe:close()
    local names = table.concat(registry.names(), " "):gsub(" nss", " mytls nss")
    assert.equal(("%s\t%d"):format(names, #registry.markers + 1), answer)
  end)
end)

-- An image as plainsight.elf has it. given: soname, symbols (list), texts (list), go (version), go_functions (list).
local function image(given)
  local symbols = {}
  for _, name in ipairs(given.symbols or {}) do symbols[name] = { address = 1, offset = 1, size = 1 } end
  return {
    soname = function() return given.soname end,
    symbols = function() return symbols end,
    symbol = function(_, name) return symbols[name] end,
    find_string = function(_, prefix)
      for _, text in ipairs(given.texts or {}) do
        if text:sub(1, #prefix) == prefix then return text end
      end
    end,
    find_inside = function(_, part)
      for _, text in ipairs(given.texts or {}) do
        local at = text:find(part, 1, true)
        if at then return text:sub(at) end
      end
    end,
    go_version = function() return given.go end,
    go_functions = function()
      if not given.go_functions then return nil, "no pclntab" end
      local found = {}
      for _, name in ipairs(given.go_functions) do found[name] = { address = 1, offset = 1, size = 1 } end
      return found
    end,
  }
end

local TLS13 = "TLS 1.3, server CertificateVerify"
local GO_READ, GO_WRITE = "crypto/tls.(*Conn).Read", "crypto/tls.(*Conn).Write"

describe("identify.image", function()
  -- "TITLE VERSION static|shared yes|REASON" for each library, "TYPE+" for companions.
  local function identified(given)
    local list = {}
    local about = { name = given.name or "x", size = given.size or 1e6, type = given.type, may_search = true }
    for _, part in ipairs(identify.image(image(given), about)) do
      list[#list + 1] = part.is_companion and part.library.name .. "+" or ("%s %s %s %s"):format(part.title,
        part.version or "-", part.static and "static" or "shared", part.reason or "yes")
    end
    return table.concat(list, ", ")
  end

  local cases = {
    { "OpenSSL, whose version is in libcrypto", "OpenSSL - shared yes",
      { name = "libssl.so.3", soname = "libssl.so.3", symbols = { "SSL_read" } } },
    { "libcrypto", "openssl+",
      { name = "libcrypto.so.3", symbols = { "OpenSSL_version" }, texts = { "OpenSSL 3.0.19 27 Jan 2026" } } },
    { "OpenSSL in a program", "OpenSSL 3.0.19 static yes, openssl+",
      { name = "node", symbols = { "SSL_read", "OpenSSL_version" }, texts = { "OpenSSL 3.0.19 27 Jan 2026" } } },
    { "OpenSSL under another name", "OpenSSL - shared yes",
      { name = "libodd.so", soname = "libssl.so.1.1", symbols = { "SSL_read" } } },
    { "OpenSSL in a Python wheel", "OpenSSL - shared yes",
      { name = "libssl-3e69114b.so.1.1.1k", symbols = { "SSL_read" } } },
    { "LibreSSL in a program", "LibreSSL 3.8.2 static yes",
      { symbols = { "SSL_read" }, texts = { "LibreSSL 3.8.2" } } },
    { "BoringSSL with symbols", "BoringSSL - static yes", { symbols = { "SSL_read", "BORINGSSL_self_test" } } },
    { "BoringSSL without symbols",
      "BoringSSL - static inside a stripped program: no symbol says where its functions are",
      { texts = { "X\0TICKET_ENCRYPTION_FAILED", TLS13 } } },
    { "OpenSSL without symbols", "OpenSSL 1.1.1k static no symbol SSL_read in it: stripped, or hidden in the program",
      { texts = { "tlsv1 alert unknown ca", TLS13, "OpenSSL 1.1.1k  25 Mar 2021" } } },
    { "libssl without symbols", "OpenSSL - shared no symbol SSL_read in it: stripped, or hidden in the program",
      { name = "libssl.so.3", size = 1000 } },
    { "not GnuTLS in OpenSSL's clothes", "", { name = "libgnutls-openssl.so.27", symbols = { "SSL_read" } } },
    { "not NSS's libssl3 as OpenSSL", "nss+", { name = "libssl3.so", symbols = { "SSL_ImportFD" } } },
    { "NSPR", "NSS - shared yes", { name = "libnspr4.so", symbols = { "PR_Read" } } },
    { "NSS in one file", "NSS 3.99 static yes, nss+",
      { name = "libnss3.so", symbols = { "PR_Read", "SSL_ImportFD" }, texts = { "Version: NSS 3.99 Beta" } } },
    { "GnuTLS", "GnuTLS 3.7.9 shared yes",
      { name = "libgnutls.so.30", symbols = { "gnutls_record_recv" }, texts = { "3.7.9", TLS13 } } },
    { "wolfSSL", "wolfSSL 5.5.4 shared yes",
      { name = "libwolfssl.so.35", symbols = { "wolfSSL_read" }, texts = { "wolfSSL error", "wolfSSL 5.5.4" } } },
    { "Mbed TLS", "MbedTLS - shared yes", { name = "libmbedtls.so.14", symbols = { "mbedtls_ssl_read" } } },
    { "Mbed TLS in a program", "MbedTLS 3.6.0 static yes, mbedtls+",
      { symbols = { "mbedtls_ssl_read", "mbedtls_version_get_string_full" }, texts = { "Mbed TLS 3.6.0" } } },
    { "Java", "JSSE 17.0.15+6-Debian-1deb12u1 shared Java does TLS in Java code, which has no address in a file",
      { name = "libjvm.so", texts = { "OpenJDK 64-Bit Server VM (17.0.15+6-Debian-1deb12u1) for linux-amd64 JRE" } } },
    { "Go", "Go 1.22.1 static yes", { go = "go1.22.1", go_functions = { GO_READ, GO_WRITE } } },
    { "Go at its oldest", "Go 1.17 static yes", { go = "go1.17", go_functions = { GO_READ, GO_WRITE } } },
    { "Go in development", "Go devel go1.23-a1b2 static yes",
      { go = "devel go1.23-a1b2", go_functions = { GO_READ, GO_WRITE } } },
    { "old Go", "Go 1.16.15 static built by Go older than 1.17",
      { go = "go1.16.15", go_functions = { GO_READ, GO_WRITE } } },
    { "Go that only reads", "Go 1.22 static no crypto/tls.(*Conn).Write in it",
      { go = "go1.22", go_functions = { GO_READ } } },
    { "no TLS in Go without it", "", { go = "go1.22.1", go_functions = {} } },
    { "Go without a table of functions", "Go 1.22.1 static no pclntab",
      { go = "go1.22.1" } },
    { "rustls", "rustls 0.23.36 static compiled into the program, with no function of its own that could be hooked",
      { texts = { TLS13, "x/tokio-rustls-0.26.0/src/lib.rs/crates/rustls-0.23.36/src/vecbuf.rs" } } },
    { "old rustls", "rustls 0.20.8 static compiled into the program, with no function of its own that could be hooked",
      { texts = { (" "):rep(64) .. TLS13, "/rustls-0.20.8/src/conn.rs" } } },
    { "something else", "unknown - static a TLS library that is not known, inside the program", { texts = { TLS13 } } },
    { "nothing in a small file for its texts", "", { texts = { TLS13 }, size = 1000 } },
    { "nothing", "", {} },
    { "what a user says", "OpenSSL - shared no symbol SSL_read in it: stripped, or hidden in the program",
      { type = "openssl" } },
    { "two libraries", "GnuTLS - static yes, OpenSSL - static yes",
      { symbols = { "SSL_read", "gnutls_record_recv" } } },
  }
  for _, case in ipairs(cases) do
    it("finds " .. case[1], function() assert.equal(case[2], identified(case[3])) end)
  end
end)

describe("identify.image within a limit", function()
  it("looks for no texts, and says so", function()
    local about = { name = "x", size = 1e6, may_search = false }
    assert.same({}, identify.image(image { texts = { TLS13 } }, about))
    assert.is_true(about.is_unsearched)
    about = { name = "x", size = 1e6, may_search = false }
    assert.equal("openssl", identify.image(image { symbols = { "SSL_read" } }, about)[1].library.name)
    about = { name = "x", size = 1e6, may_search = true }
    identify.image(image {}, about)
    assert.is_true(about.is_searched)
    assert.is_nil(about.is_unsearched)
  end)
end)

describe("elf.find_inside", function()
  local elf = require "plainsight.elf"

  it("finds a text wherever it is, to the last printable byte", function()
    local path = build("texts.so", [[
      const char texts[] = "before/rustls-0.1.2/src/x.rs\1after";
      const char longest[] = "Z-" "]] .. ("y"):rep(600) .. [[";
    ]])
    local file = assert(elf.open(path))
    assert.equal("/rustls-0.1.2/src/x.rs", file:find_inside("/rustls-0."))
    assert.equal("Z-" .. ("y"):rep(253), file:find_inside("Z-"))
    assert.is_nil(file:find_inside("/rustls-9"))
    assert.is_nil(file:find_inside(""))
    assert.is_nil(file:find_string("/rustls-0."))
    file:close()
  end)

  it("finds a text across the pieces that a file is read in", function()
    for _, offset in ipairs { 262140, 262143, 262144, 262145, 524280 } do
      local path = build("pieces.so", ('const char texts[600000] = { [%d] = 1, [%d] = \'N\', \'e\', \'d\', \'l\' };')
        :format(offset - 1, offset))
      local file = assert(elf.open(path))
      assert.equal("Nedl", file:find_inside("Nedl"))
      file:close()
    end
  end)
end)

describe("discover", function()
  local libssl, libcrypto, plain
  setup(function()
    libssl = build("libssl.so.3", "int SSL_read(void) { return 0; }", "-Wl,-soname,libssl.so.3")
    libcrypto = build("libcrypto.so.3", 'const char *OpenSSL_version(void) { return "OpenSSL 3.9.1 1 Jan 2030"; }')
    plain = build("libplain.so", "int plain(void) { return 0; }")
  end)

  local function scan(pids, opts)
    opts = opts or {}
    opts.proc = directory .. "/proc"
    return discover.new(opts):scan(pids)
  end

  local function with(...)
    local lines = {}
    for i, path in ipairs { ... } do
      lines[i] = map_line(path, { range = ("%x000-%x000"):format(i, i + 1) })
    end
    return table.concat(lines)
  end

  it("tells the libraries of processes", function()
    process(30, { maps = with(plain, libssl, libcrypto), comm = "app\n)", exe = "/usr/bin/app" })
    process(31, { maps = with(plain, libcrypto) })
    process(32, { maps = "" })
    run("rm '%s/maps' && mkdir '%s/maps'", process(33, {}), directory .. "/proc/33")
    local processes = assert(scan { 30, 31, 32, 33, 34 })
    assert.equal(4, #processes)
    assert.equal("Is a directory", processes[4].refused)
    assert.equal("app\n)", processes[1].comm)
    assert.equal("/usr/bin/app", processes[1].exe)
    assert.equal(1, #processes[1].libraries)
    local library = processes[1].libraries[1]
    assert.same({ "openssl", "OpenSSL", "3.9.1", libssl, false, true },
      { library.type, library.title, library.version, library.path, library.static, library.traceable })
    assert.is_nil(library.reason)
    assert.is_false(library.deleted)
    assert.equal(registry.get("openssl"), library.library)
    assert.same({}, processes[2].libraries)
    assert.is_true(processes[3].memoryless)
  end)

  it("finds all processes", function()
    run("rm -rf '%s/proc'/*", directory)
    process(41, { maps = with(plain) })
    process(40, { maps = with(libssl) })
    run("mkdir '%s/proc/sys' '%s/proc/4x'", directory, directory)
    local pids = {}
    for i, found in ipairs(assert(scan())) do pids[i] = found.pid end
    assert.same({ 40, 41 }, pids)
    local list, message = discover.new({ proc = directory .. "/none" }):scan()
    assert.is_nil(list)
    assert.matches("No such file", message)
  end)

  it("looks into a file once, and again when it has changed", function()
    local changing = build("libchange.so", "int nothing(void) { return 0; }")
    process(50, { maps = with(changing, plain) })
    process(51, { maps = with(plain) })
    local finder = discover.new { proc = directory .. "/proc" }
    assert.same({}, finder:scan({ 50, 51 })[1].libraries)
    assert.equal(2, finder.file_count)
    local known = finder.files[maps.key_of(plain)]
    -- The same inode with another content, as cp does.
    build("libnew.so", "int SSL_read(void) { return 0; }")
    run("cp '%s/libnew.so' '%s' && touch -d '2001-02-03' '%s'", directory, changing, changing)
    assert.equal("openssl", finder:process(50).libraries[1].type)
    assert.equal(known, finder.files[maps.key_of(plain)])
  end)

  it("takes the version from the libcrypto that the library asks for", function()
    run("mkdir -p '%s/a' '%s/b'", directory, directory)
    local text = 'const char *OpenSSL_version(void) { return "OpenSSL %s 1 Jan 2030"; }'
    local old = build("a/libcrypto-0a.so", text:format("1.1.1k"), "-Wl,-soname,libcrypto-0a.so")
    local new = build("b/libcrypto-0b.so", text:format("3.1.0"), "-Wl,-soname,libcrypto-0b.so")
    local wheel = build("a/libssl-0c.so", "int OpenSSL_version(void); int SSL_read(void) { return OpenSSL_version(); }",
      ("-Wl,--no-as-needed '%s'"):format(new))
    process(52, { maps = with(wheel, old, new, libcrypto) })
    assert.equal("3.1.0", scan({ 52 })[1].libraries[1].version)
    process(52, { maps = with(libssl, old, new, libcrypto) })
    assert.equal("3.9.1", scan({ 52 })[1].libraries[1].version)
  end)

  it("takes no version from a libcrypto for what is inside a program", function()
    local program = build("program", "int SSL_read(void) { return 0; }")
    process(59, { maps = with(program, libcrypto) })
    local library = scan({ 59 })[1].libraries[1]
    assert.is_true(library.static)
    assert.is_nil(library.version)
  end)

  it("takes NSPR for NSS only where NSS is", function()
    local nspr = build("libnspr4.so", "int PR_Read(void) { return 0; }")
    local nss = build("libssl3.so", 'const char *SSL_ImportFD(void) { return "Version: NSS 3.87.1"; }')
    process(53, { maps = with(nspr) })
    process(54, { maps = with(nss, nspr) })
    local processes = scan { 53, 54 }
    assert.same({}, processes[1].libraries)
    assert.same({ "nss", "3.87.1", nspr },
      { processes[2].libraries[1].type, processes[2].libraries[1].version, processes[2].libraries[1].path })
  end)

  it("says what cannot be examined, by the name where that is enough", function()
    local broken = directory .. "/libgnutls.so.30"
    write(broken, "\127ELF\1\1\1" .. ("\0"):rep(60))
    local cut = directory .. "/cut"
    write(cut, "\127ELF\2")
    write(directory .. "/text", "no ELF file")
    process(55, { maps = with(broken, cut, directory .. "/text") })
    local found = scan({ 55 })[1]
    assert.equal(1, #found.libraries)
    assert.same({ "gnutls", false }, { found.libraries[1].type, found.libraries[1].traceable })
    assert.is_string(found.libraries[1].reason)
    assert.is_nil(found.libraries[1].reason:find("/proc/self", 1, true))
    assert.equal(1, found.unread_count)
    assert.equal(cut, found.unread[1].path)
  end)

  it("leaves out a file whose mapping has gone meanwhile", function()
    process(56, { maps = map_line(plain, { path = "/nowhere/libplain.so" }) })
    local found = scan({ 56 })[1]
    assert.equal(0, found.unread_count)
  end)

  it("takes a user's word for a library, by file and by path", function()
    local odd = build("odd", "int nothing(void) { return 0; }")
    process(57, { maps = with(odd) })
    process(58, { maps = map_line(odd, { path = "/in/a/container" }), links = { [RANGE] = odd } })
    local extra = { { type = "wolfssl", path = "/in/a/container" }, { type = "wolfssl", path = "/none" } }
    local processes = scan({ 57, 58 }, { extra_libs = extra })
    assert.same({}, processes[1].libraries)
    assert.equal("wolfssl", processes[2].libraries[1].type)
    assert.is_true(extra[1].found)
    assert.is_nil(extra[2].found)
    processes = scan({ 57 }, { extra_libs = { { type = "openssl", path = odd } } })
    assert.equal("openssl", processes[1].libraries[1].type)
  end)
end)

describe("output.tls", function()
  local hostile = {
    pid = 7, comm = "a b\n\27[31m", exe = "/x y", unread_count = 17,
    unread = { { path = "/u\n", reason = "32-bit\n" } },
    libraries = {
      { type = "openssl", title = "OpenSSL", version = "3.0\n1", path = "/a b\n\226\128\174(deleted)", deleted = true,
        traceable = true, static = false, file = { dev_major = 8, dev_minor = 1, inode = "18446744073709551615" } },
      { type = "jsse", title = "JSSE", path = "/j", deleted = false, traceable = false, reason = "Java\n\27x",
        static = true, build_id = "ab", file = { dev_major = 8, dev_minor = 1, inode = "2" } },
    },
  }
  local nothing = { pid = 8, comm = "", exe = "/bin/sh", libraries = {}, unread = {}, unread_count = 0 }
  local refused = { pid = 9, comm = "x", refused = "Permission denied", libraries = {}, unread = {}, unread_count = 0 }

  local function words(text)
    local list = {}
    for line in text:gmatch("[^\n]+") do list[#list + 1] = line:gsub(" +", " "):gsub("^ ", "") end
    return list
  end

  it("has a line of seven words and remarks for each library", function()
    assert.same({ "PID COMM LIBRARY VERSION LINK TRACE PATH" }, words(output.HEADING))
    assert.same({
      "7 a\\x20b\\n\\x1b[31m OpenSSL 3.0\\n1 shared yes /a\\x20b\\n\\u{202e}(deleted) (deleted)",
      "7 a\\x20b\\n\\x1b[31m JSSE - static no /j (Java\\n\\x1bx)",
    }, words(output.text(hostile, {})))
    assert.equal("", output.text(nothing, {}))
    assert.equal("", output.text(refused, {}))
  end)

  it("shows with all what has no TLS and what is not known", function()
    assert.same("7 a\\x20b\\n\\x1b[31m ? ? ? ? /u\\n (32-bit\\n)", words(output.text(hostile, { all = true }))[3])
    assert.same({ "8 - - - - - /bin/sh" }, words(output.text(nothing, { all = true })))
    assert.same({ "9 x ? ? ? ? - (Permission denied)" }, words(output.text(refused, { all = true })))
    local kernel_thread = { pid = 2, comm = "kthreadd", memoryless = true, libraries = {}, unread = {} }
    assert.equal("", output.text(kernel_thread, { all = true }))
  end)

  it("writes a line of JSON that is what docs/json.md says", function()
    local line = output.json(hostile)
    assert.is_nil(line:sub(1, -2):find("[%z\1-\31]"))
    local object = cjson.decode(line)
    assert.equal(json.SCHEMA, object.schema)
    assert.equal("18446744073709551615", object.libraries[1].inode)
    assert.equal("8:1", object.libraries[1].device)
    assert.same({ path = "/u\n", reason = "32-bit\n" }, object.unread[1])
    assert.equal(17, object.unread_files)
    assert.matches('"libraries":[],', output.json(nothing), 1, true)
    assert.equal("Permission denied", cjson.decode(output.json(refused)).refused)
    local text = assert(paths.read(paths.file("docs/json.md"))):match("\n## process\n(.-)\n## ")
    local function keys_are_documented(value)
      for key, inner in pairs(value) do
        if type(key) == "string" then assert.matches("`" .. key .. "`", text, 1, true) end
        if type(inner) == "table" then keys_are_documented(inner) end
      end
    end
    keys_are_documented(object)
    keys_are_documented(cjson.decode(output.json(refused)))
    for _, library in ipairs(registry.libraries) do assert.matches("`" .. library.name .. "`", text, 1, true) end
  end)
end)
