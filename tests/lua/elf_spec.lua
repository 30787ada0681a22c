-- SPDX-License-Identifier: Apache-2.0
-- The binding, on the module's own file. What is found in which files is tested in tests/c.
local elf = require "plainsight.elf"
local paths = require "plainsight.paths"

local SELF = paths.file("build/libplainsight.so")

local function nm(name)
  local pipe = assert(io.popen(("nm -D --defined-only '%s'"):format(SELF)))
  local text = pipe:read("*a")
  pipe:close()
  return tonumber(text:match("(%x+) T " .. name .. "\n"), 16)
end

describe("plainsight.elf", function()
  local image

  before_each(function() image = assert(elf.open(SELF)) end)
  after_each(function() image:close() end)

  it("says why a file cannot be used", function()
    assert.same({ nil, "/does/not/exist: no such file" }, { elf.open("/does/not/exist") })
    assert.same({ nil, "/dev/null: not a regular file" }, { elf.open("/dev/null") })
  end)

  it("finds functions by name", function()
    local found = image:symbols({ "ps_elf_open", "absent", "ps_elf_open", "take_text" })
    assert.equal(nm("ps_elf_open"), found.ps_elf_open.address)
    assert.is_true(found.ps_elf_open.size > 0)
    assert.is_true(found.ps_elf_open.offset > 0)
    assert.is_true(found.take_text.size > 0)
    assert.is_nil(found.absent)
    assert.same(found.ps_elf_open, image:symbol("ps_elf_open"))
    assert.is_nil(image:symbol("absent"))
    assert.same({}, image:symbols({}))
  end)

  it("refuses more names than it has room for", function()
    local names = {}
    for i = 1, 257 do names[i] = "name_" .. i end
    assert.has_error(function() image:symbols(names) end, "more than 256 names")
  end)

  it("tells libraries from programs", function()
    assert.is_false(image:is_executable())
    local program = assert(elf.open("/proc/self/exe"))
    assert.is_true(program:is_executable())
    program:close()
  end)

  it("gives the texts of a file", function()
    assert.is_nil(image:soname())
    assert.matches("libc.so.6", table.concat(image:needed(), " "), 1, true)
    assert.matches("^%x+$", image:build_id())
    assert.equal("not an ELF file", image:find_string("not an ELF f"))
    assert.is_nil(image:find_string("no such text in this file: " .. "x"))
    assert.is_nil(image:go_version())
  end)

  it("gives the site on a function", function()
    local where = image:symbol("ps_elf_soname")
    local site = image:site("ps_elf_soname")
    assert.equal(where.address, site.address)
    assert.is_true(site.entry == where.offset or site.entry == where.offset + 4)
    assert.is_boolean(site.emulated)
    assert.is_nil(site.moved_argument)
    assert.same({ nil, "no such function" }, { image:site("absent") })
  end)

  it("says why there is no inner function", function()
    local _, why = image:inner_site({ "ps_elf_soname" })
    assert.equal("what functions have in common takes two of them", why)
    _, why = image:inner_site({ "ps_elf_soname", "absent" })
    assert.equal("not all of the functions are there", why)
  end)

  it("says that a file is not of Go", function()
    assert.same({ nil, "not a Go program" }, { image:go_functions({ "main.main" }) })
    assert.same({ nil, "not a Go program" }, { image:go_site(image:symbol("ps_elf_open")) })
  end)
end)
