-- SPDX-License-Identifier: Apache-2.0
-- Whatever the compilation depends on changes the key.
local bcc = require "plainsight.bcc"
local cache_key = require "plainsight.cache_key"
local files = require "plainsight.files"
local paths = require "plainsight.paths"

local function write(path, content)
  local file = assert(io.open(path, "wb"))
  file:write(content)
  file:close()
end

describe("the key of a compilation", function()
  local directory, original_file, original_getenv, environment

  before_each(function()
    local pipe = assert(io.popen("mktemp -d"))
    directory = pipe:read("*l")
    pipe:close()
    assert(os.execute(("mkdir -p '%s/headers/linux' '%s/lib'"):format(directory, directory)) == 0)
    write(directory .. "/headers/linux/types.h", "types")
    write(directory .. "/headers/page.h", "page")
    write(directory .. "/lib/" .. bcc.SONAME, "a libbcc")
    environment = { LD_LIBRARY_PATH = directory .. "/lib" }
    original_file, original_getenv = paths.file, os.getenv
    paths.file = function(name) return directory .. "/" .. name end
    os.getenv = function(name) return environment[name] end -- luacheck: ignore
  end)
  after_each(function()
    paths.file, os.getenv = original_file, original_getenv -- luacheck: ignore
    os.execute("rm -rf '" .. directory .. "'")
  end)

  local function key(text, ...)
    return assert(cache_key.of(text or "text", { "-Done=1", "-Dtwo=2", ... }, "headers"))
  end

  local function changes_with(change)
    local before = key()
    change()
    assert.are_not.equal(before, key())
  end

  it("is the same for the same", function() assert.equal(key(), key()) end)

  it("has the text, the options, the headers and the kernel in it", function()
    local whole = key("int probe;")
    for _, part in ipairs { "int probe;", "option 7 -Done=1\n", "linux/types.h 5\ntypes", "page.h 4\npage",
      assert(paths.read("/proc/sys/kernel/osrelease")), directory .. "/lib/" .. bcc.SONAME .. " 8" } do
      assert.is_truthy(whole:find(part, 1, true), part)
    end
  end)

  it("changes with the text and the options", function()
    assert.are_not.equal(key("a"), key("b"))
    assert.are_not.equal(key("a"), key("a", "-Dthree"))
  end)

  it("changes with a header's content, name and presence", function()
    changes_with(function() write(directory .. "/headers/page.h", "PAGE") end)
    changes_with(function() os.rename(directory .. "/headers/page.h", directory .. "/headers/pages.h") end)
    changes_with(function() write(directory .. "/headers/linux/new.h", "") end)
    changes_with(function() os.remove(directory .. "/headers/linux/new.h") end)
  end)

  it("changes with the compiler's size, time and place", function()
    local library = directory .. "/lib/" .. bcc.SONAME
    changes_with(function() write(library, "another libbcc") end)
    changes_with(function() os.execute(("touch -d '2020-01-01' '%s'"):format(library)) end)
    changes_with(function()
      os.execute(("mv '%s/lib' '%s/lib2'"):format(directory, directory))
      environment.LD_LIBRARY_PATH = directory .. "/lib2"
    end)
  end)

  it("changes with what clang reads from the environment", function()
    changes_with(function() environment.CPATH = "/include" end)
    changes_with(function() environment.ARCH = "arm64" end)
    local before = key()
    environment.LANG = "C"
    assert.equal(before, key())
  end)

  it("cannot be told without headers or without a compiler", function()
    local none, why = cache_key.of("text", {}, "nowhere")
    assert.is_nil(none)
    assert.matches("nowhere", why)
    local real_path = files.real_path
    finally(function() files.real_path = real_path end)
    files.real_path = function() return nil end
    none, why = cache_key.of("text", {}, "headers")
    assert.is_nil(none)
    assert.matches(bcc.SONAME, why, 1, true)
  end)
end)
