-- SPDX-License-Identifier: Apache-2.0
-- From a description to instructions as the kernel gets them. The kernel's part is played by plainsight.bpf's
-- functions, replaced here.
local bpf = require "plainsight.bpf"
local description = require "plainsight.description"
local ffi = require "ffi"
local loader = require "plainsight.loader"

-- struct bpf_insn in hexadecimal: opcode, registers (source, destination), offset, immediate; little endian.
local function insns(...)
  local bytes = {}
  for _, insn in ipairs { ... } do
    insn:gsub("%s+", ""):gsub("%x%x", function(hex) bytes[#bytes + 1] = string.char(tonumber(hex, 16)) end)
  end
  return table.concat(bytes)
end

local EXIT = "95 00 0000 00000000"
local function load_map(place) return ("18 11 0000 %02x000000"):format(place), "00 00 0000 00000000" end

local MAPS = {
  { name = "calls", type = 3, key_size = 4, value_size = 4, max_entries = 4, flags = 0 },
  { name = "events", type = 27, key_size = 0, value_size = 0, max_entries = 4096, flags = 0 },
  { name = "unused", type = 1, key_size = 8, value_size = 8, max_entries = 8, flags = 1 },
}

local function a_description(programs) return { maps = MAPS, programs = programs } end

describe("description", function()
  it("is the same when encoded and decoded", function()
    local a, b = load_map(1)
    local whole = a_description({ one = insns(a, b, EXIT), two = insns(EXIT, "0a 0a 0a0a 0a0a0a0a") })
    assert.same(whole, description.decode(description.encode(whole)))
    assert.same(a_description({}), description.decode(description.encode(a_description({}))))
  end)

  it("is refused when it is not whole", function()
    local text = description.encode(a_description({ one = insns(EXIT), two = insns(EXIT) }))
    for length = 0, #text - 1 do assert.is_nil(description.decode(text:sub(1, length))) end
    assert.is_nil(description.decode(text .. "x"))
    for _, line in ipairs { "map a 1 2 3 4\nend\n", "map a-b 1 2 3 4 5\nend\n", "program a 7\n1234567\nend\n",
      "program a 99999999999\nend\n", "what\nend\n" } do
      assert.is_nil(description.decode(line))
    end
  end)

  it("names maps by their places", function()
    -- The second half of a 64-bit load looks like one of a map; a 64-bit constant is none.
    local code = insns("18 11 0000 07000000", "18 11 0000 09000000", "18 01 0000 07000000", "00 00 0000 00000000", EXIT)
    local expected =
      insns("18 11 0000 02000000", "18 11 0000 09000000", "18 01 0000 07000000", "00 00 0000 00000000", EXIT)
    assert.equal(expected, description.with_places(code, { [7] = 2 }))
  end)
end)

describe("loader", function()
  local created, loaded, frozen, updated, originals

  before_each(function()
    created, loaded, frozen, updated, originals = {}, {}, {}, {}, {}
    local replacements = {
      map_create = function(name, definition)
        created[#created + 1] = { name = name, definition = definition }
        return 1000 + #created -- no descriptor that is open
      end,
      map_freeze = function(fd) frozen[#frozen + 1] = fd; return true end,
      map_update = function(fd, key, value)
        updated[#updated + 1] = { fd, key[0], ffi.string(value, 4) }
        return true
      end,
      load = function(name, code, kind, attach_type)
        loaded[#loaded + 1] = { name = name, code = code, kind = kind, attach_type = attach_type }
        return 2000 + #loaded
      end,
    }
    for name, replacement in pairs(replacements) do originals[name], bpf[name] = bpf[name], replacement end
  end)
  after_each(function()
    for name, original in pairs(originals) do bpf[name] = original end
  end)

  local function names_created()
    local names = {}
    for i, map in ipairs(created) do names[i] = map.name end
    return names
  end

  it("creates the maps of the programs that are asked for, once", function()
    local a, b = load_map(0)
    local c, d = load_map(1)
    local object = loader.new(a_description({ one = insns(a, b, EXIT), two = insns(c, d, a, b, EXIT) }))
    assert(object:load { { name = "one", type = "kprobe" } })
    assert.same({ "calls" }, names_created())
    assert(object:load { { name = "two", type = "raw_tracepoint" } })
    assert.same({ "calls", "events" }, names_created())
    assert.same({ calls = 1001, events = 1002 }, object.maps)
    assert.same({ one = 2001, two = 2002 }, object.programs)
    assert.same({ name = "one", kind = "kprobe", code = insns("18 11 0000 e9030000", "00 00 0000 00000000", EXIT) },
      loaded[1])
    assert.equal(insns("18 11 0000 ea030000 00 00 0000 00000000", "18 11 0000 e9030000 00 00 0000 00000000", EXIT),
      loaded[2].code)
    assert.equal("raw_tracepoint", loaded[2].kind)
  end)

  it("creates maps as they are described, with another size where that is asked for", function()
    local a, b = load_map(1)
    local c, d = load_map(2)
    local object = loader.new(a_description({ one = insns(a, b, c, d, EXIT) }), { max_entries = { events = 65536 } })
    assert(object:load { { name = "one", type = "kprobe" } })
    assert.equal(65536, created[1].definition.max_entries)
    assert.equal(27, created[1].definition.type)
    assert.equal(4096, MAPS[2].max_entries)
    local map = created[2].definition
    assert.same({ 1, 8, 8, 8, 1 }, { map.type, map.key_size, map.value_size, map.max_entries, map.flags })
  end)

  it("takes maps that exist", function()
    local a, b = load_map(1)
    local object = loader.new(a_description({ one = insns(a, b, EXIT) }), { maps = { events = 0x77 } })
    assert(object:load { { name = "one", type = "kprobe" } })
    assert.same({}, created)
    assert.equal(insns("18 11 0000 77000000", "00 00 0000 00000000", EXIT), loaded[1].code)
  end)

  it("makes copies that use other maps", function()
    local a, b = load_map(0)
    local c, d = load_map(1)
    local object = loader.new(a_description({ one = insns(a, b, c, d, EXIT) }))
    assert(object:load {
      { name = "one", type = "tracepoint" },
      { name = "one", as = "copy", type = "kprobe", expected_attach_type = 48, maps = { calls = "other_calls" } },
    })
    assert.same({ "calls", "events", "other_calls" }, names_created())
    assert.equal(3, created[3].definition.type)
    assert.same({ one = 2001, copy = 2002 }, object.programs)
    assert.same({ "copy", "kprobe", 48 }, { loaded[2].name, loaded[2].kind, loaded[2].attach_type })
    assert.equal(insns("18 11 0000 eb030000 00 00 0000 00000000", "18 11 0000 ea030000 00 00 0000 00000000", EXIT),
      loaded[2].code)
  end)

  it("makes reads of settings reads of the map, which is frozen before", function()
    local program = insns("18 03 0000 08000000", "00 00 0000 0002ff7f", EXIT)
    local object = loader.new(a_description({ one = program }), { settings = "wxyz" })
    assert(object:load { { name = "one", type = "kprobe" } })
    assert.equal(insns("18 23 0000 e9030000", "00 00 0000 08000000", EXIT), loaded[1].code)
    local map = created[1].definition
    assert.same({ 2, 4, 4, 1, 128 }, { map.type, map.key_size, map.value_size, map.max_entries, map.flags })
    assert.same({ { 1001, 0, "wxyz" } }, updated)
    assert.same({ 1001 }, frozen)
    local without = loader.new(a_description({ one = program }))
    local ok, why = without:load { { name = "one", type = "kprobe" } }
    assert.is_nil(ok)
    assert.matches("settings", why)
  end)

  it("makes calls of made-up numbers calls of kernel functions", function()
    local program = insns("85 00 0000 0100ff7f", "85 00 0000 0e000000", EXIT)
    local object = loader.new(a_description({ one = program }), { kfuncs = { [0x7fff0001] = 0x1234 } })
    assert(object:load { { name = "one", type = "kprobe" } })
    assert.equal(insns("85 20 0000 34120000", "85 00 0000 0e000000", EXIT), loaded[1].code)
  end)

  describe("puts constants in the place of markers:", function()
    local MARKER = 0x7fff0100
    local MOV64, MOV32 = "b7 01 0000 0001ff7f", "b4 01 0000 0001ff7f"

    local function with_constant(code, value, marker)
      loaded = {}
      local object = loader.new(a_description({ one = insns(code, EXIT) }))
      local ok, why = object:load { { name = "one", type = "kprobe", constants = { [marker or MARKER] = value } } }
      return ok and loaded[1].code, why
    end

    it("64-bit loads", function()
      local load = "18 01 0000 0001ff7f 00 00 0000 00000000"
      assert.equal(insns("18 01 0000 05000000 00 00 0000 00000000", EXIT), with_constant(load, 5))
      assert.equal(insns("18 01 0000 ffffffff 00 00 0000 ffffffff", EXIT), with_constant(load, -1))
      assert.equal(insns("18 01 0000 ffffffff 00 00 0000 ffffffff", EXIT),
        with_constant(load, 0xffffffffffffffffULL))
      assert.equal(insns("18 01 0000 f0debc9a 00 00 0000 78563412", EXIT),
        with_constant(load, 0x123456789abcdef0ULL))
      assert.equal(insns("18 01 0000 f0debc9a 00 00 0000 01000000", EXIT),
        with_constant("18 01 0000 78563412 00 00 0000 07000000", 0x19abcdef0, 0x712345678))
      assert.equal(insns("18 01 0000 05000000 00 00 0000 00000000", EXIT),
        with_constant("18 01 0000 ffffff8f 00 00 0000 01000000", 5, 0x18fffffff))
    end)

    it("moves", function()
      assert.equal(insns("b7 01 0000 05000000", EXIT), with_constant(MOV64, 5))
      assert.equal(insns("b7 01 0000 ffffffff", EXIT), with_constant(MOV64, -1))
      assert.equal(insns("b4 01 0000 ffffffff", EXIT), with_constant(MOV32, 0xffffffff))
    end)

    it("but not where they do not fit", function()
      for _, case in ipairs { { MOV64, 0x80000000 }, { MOV64, 0x100000000 }, { MOV32, 0x100000000 }, { MOV32, -1 } } do
        local code, why = with_constant(case[1], case[2])
        assert.is_falsy(code)
        assert.matches("0x7fff0100 needs a marker of 64 bits", why)
      end
    end)

    it("and nowhere else", function()
      for _, other in ipairs { "07 01 0000 0001ff7f", "b7 01 0000 0101ff7f", "18 11 0000 00000000 00 00 0000 00000000",
        "85 00 0000 0001ff7f" } do
        local code, why = with_constant(other, 5)
        assert.is_falsy(code)
        assert.matches("no constant 0x7fff0100", why)
      end
    end)
  end)

  it("says which function is missing", function()
    local ok, why = loader.new(a_description({})):load { { name = "one", type = "kprobe" } }
    assert.is_nil(ok)
    assert.matches("no function one", why)
  end)

  it("passes on why a map was not created", function()
    local a, b = load_map(0)
    bpf.map_create = function() return nil, "creating map calls: Out of memory" end
    local ok, why = loader.new(a_description({ one = insns(a, b, EXIT) })):load { { name = "one", type = "kprobe" } }
    assert.is_nil(ok)
    assert.matches("Out of memory", why)
  end)
end)
