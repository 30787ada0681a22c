-- SPDX-License-Identifier: Apache-2.0
-- Entries are code that root loads into the kernel: only the very same key finds one, and only in safe places.
local bit = require "bit"
local cache = require "plainsight.cache"
local ffi = require "ffi"
local files = require "plainsight.files"
local sys = require "plainsight.sys"

ffi.cdef [[
int chmod(const char *path, unsigned mode);
int chown(const char *path, unsigned uid, unsigned gid);
int symlink(const char *target, const char *path);
int utimes(const char *path, const void *times);
]]
local C = ffi.C
local NOBODY = 65534

local function write(path, content)
  local file = assert(io.open(path, "wb"))
  file:write(content)
  file:close()
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local content = file:read("*a")
  file:close()
  return content
end

local function set_age(path, seconds)
  local times = ffi.new("int64_t[4]", { os.time() - seconds, 0, os.time() - seconds, 0 }) -- struct timeval[2]
  assert(C.utimes(path, times) == 0)
end

describe("cache", function()
  local root, kept

  before_each(function()
    local pipe = assert(io.popen("mktemp -d"))
    root = pipe:read("*l")
    pipe:close()
    kept = assert(cache.open(root .. "/a/b"))
  end)
  after_each(function() os.execute("rm -rf '" .. root .. "'") end)

  local function refuses(key, pattern)
    local value, why = kept:get(key)
    assert.is_nil(value)
    assert.matches(pattern, why)
  end

  it("gives back what was put in, whatever its bytes", function()
    local key, value = "key\n\0 \255%d", ("\0\1\n\255"):rep(10000)
    local path = assert(kept:put(key, value))
    assert.equal(root .. "/a/b/", path:match("^.*/"))
    assert.equal(value, (kept:get(key)))
  end)

  it("replaces an entry of the same key", function()
    assert(kept:put("key", "one"))
    assert(kept:put("key", "two"))
    assert.equal("two", (kept:get("key")))
    assert.equal(1, #files.list(root .. "/a/b"))
  end)

  it("has nothing in the beginning", function()
    refuses("key", "No such file")
    assert(kept:put("another key", "value"))
    refuses("key", "no entry")
  end)

  it("makes directories and files for this user alone", function()
    local path = assert(kept:put("key", "value"))
    for file, mode in pairs { [root .. "/a"] = 0x1c0, [root .. "/a/b"] = 0x1c0, [path] = 0x180 } do
      assert.equal(mode, files.status(file).mode % 0x1000)
    end
  end)

  -- As if two keys had the same hash.
  it("takes no entry of another key", function()
    local path, other = assert(kept:put("key one", "value")), assert(kept:put("key two", "value"))
    write(path, read(other))
    refuses("key one", "something else")
    write(path, (read(other):gsub("7 5", "3 9", 1)))
    refuses("key one", "something else")
  end)

  it("takes no entry that was cut anywhere", function()
    local path = assert(kept:put("key", "value"))
    local whole = read(path)
    for length = 0, #whole - 1 do
      write(path, whole:sub(1, length))
      refuses("key", "damaged")
    end
    write(path, whole .. "x")
    refuses("key", "damaged")
  end)

  it("takes no entry in which a bit was changed", function()
    local path = assert(kept:put("key", "value"))
    local whole = read(path)
    for at = 1, #whole do
      write(path, whole:sub(1, at - 1) .. string.char(bit.bxor(whole:byte(at), 4)) .. whole:sub(at + 1))
      refuses("key", "")
    end
    write(path, whole)
    assert.equal("value", (kept:get("key")))
  end)

  it("takes no entry that is too large, a link or no file", function()
    local path = assert(kept:put("key", "value"))
    assert.is_nil((kept:put("key", ("x"):rep(8 * 1024 * 1024))))
    assert(os.rename(path, root .. "/elsewhere"))
    assert(C.symlink(root .. "/elsewhere", path) == 0)
    refuses("key", "symbolic links")
    assert(os.remove(path))
    assert(os.execute(("mkfifo -m 600 '%s'"):format(path)) == 0)
    refuses("key", "no regular file")
    assert(os.remove(path))
    write(path, ("x"):rep(8 * 1024 * 1024 + 1))
    refuses("key", "too large")
  end)

  it("takes nothing that others can write to", function()
    local path = assert(kept:put("key", "value"))
    for file, mode in pairs { [path] = 0x190, [root .. "/a/b"] = 0x1f8, [root .. "/a"] = 0x1c7 } do -- 0620, 0770, 0707
      local before = files.status(file).mode % 0x1000
      C.chmod(file, mode)
      refuses("key", "can be written to by others")
      C.chmod(file, before)
      assert.equal("value", (kept:get("key")))
    end
    C.chmod(root .. "/a/b", 0x1ff)
    local stored, why = kept:put("key", "value")
    assert.is_nil(stored)
    assert.matches("can be written to by others", why)
  end)

  it("takes nothing that belongs to others", function()
    if C.geteuid() ~= 0 then return pending("not root") end
    local path = assert(kept:put("key", "value"))
    for _, file in ipairs { path, root .. "/a/b", root .. "/a" } do
      assert(C.chown(file, NOBODY, NOBODY) == 0)
      refuses("key", "belongs to user 65534")
      assert(C.chown(file, 0, 0) == 0)
      assert.equal("value", (kept:get("key")))
    end
  end)

  it("leaves nothing behind where it cannot write", function()
    write(root .. "/a", "")
    local path, why = kept:put("key", "value")
    assert.is_nil(path)
    assert.matches("Not a directory", why)
    refuses("key", "Not a directory")
  end)

  it("keeps a bounded number and size of entries, the newest", function()
    local entries_max, bytes_max = cache.ENTRIES_MAX, cache.BYTES_MAX
    finally(function() cache.ENTRIES_MAX, cache.BYTES_MAX = entries_max, bytes_max end)
    cache.ENTRIES_MAX = 3
    for i = 1, 5 do set_age(assert(kept:put("key " .. i, "value")), 100 - i) end
    assert.equal(3, #files.list(root .. "/a/b"))
    for i = 3, 5 do assert.equal("value", (kept:get("key " .. i))) end
    cache.BYTES_MAX = 1000
    assert(kept:put("large", ("x"):rep(940)))
    assert.equal(1, #files.list(root .. "/a/b"))
    assert.equal(940, #kept:get("large"))
  end)

  it("deletes what writers that died have left, and nothing that is not its own", function()
    local path = assert(kept:put("key", "value"))
    for _, suffix in ipairs { ".1.2.tmp", ".3.4.tmp" } do write(path .. suffix, "half") end
    set_age(path .. ".1.2.tmp", 7200)
    write(root .. "/a/b/README", "")
    set_age(root .. "/a/b/README", 7200)
    assert(kept:put("key", "value"))
    local name = path:match("[^/]+$")
    local expected = { "README", name, name .. ".3.4.tmp" }
    table.sort(expected)
    assert.same(expected, files.list(root .. "/a/b"))
  end)

  it("shows readers whole entries only while others write", function()
    local values = { ("a"):rep(300000), ("b"):rep(300000) }
    local pids = {}
    assert(kept:put("key", values[1]))
    for i, value in ipairs(values) do
      local pid = C.fork()
      if pid == 0 then
        for _ = 1, 50 do kept:put("key", value) end
        C._exit(0)
      end
      pids[i] = pid
    end
    local reads, running = 0, true
    while running do
      local value, why = kept:get("key")
      assert(value, why)
      assert.is_true(value == values[1] or value == values[2])
      reads = reads + 1
      running = false
      for i, pid in pairs(pids) do
        if sys.wait(pid, true) then pids[i] = nil else running = true end
      end
    end
    assert.is_true(reads > 5)
    assert.equal(1, #files.list(root .. "/a/b"))
  end)
end)

describe("the cache's directory", function()
  local function directory_with(xdg, home)
    local getenv = os.getenv
    finally(function() os.getenv = getenv end) -- luacheck: ignore
    os.getenv = function(name) return ({ XDG_CACHE_HOME = xdg, HOME = home })[name] end -- luacheck: ignore
    return cache.default_directory()
  end

  it("is the one of the XDG Base Directory Specification when that is set", function()
    assert.equal("/x/plainsight", directory_with("/x", "/home"))
  end)

  it("is not a relative one", function() assert.is_nil((directory_with("x", "/home") or ""):match("^x")) end)

  it("is the system's for root", function()
    local expected = C.geteuid() == 0 and "/var/cache/plainsight" or "/home/.cache/plainsight"
    assert.equal(expected, directory_with(nil, "/home"))
    assert.equal(expected, directory_with("", "/home"))
  end)
end)
