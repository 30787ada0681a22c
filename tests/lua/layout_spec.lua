-- SPDX-License-Identifier: Apache-2.0
-- The structs that C and Lua share have one layout. build/layout is a C
-- program that prints "STRUCT.FIELD OFFSET SIZE" for every field and
-- "STRUCT SIZE" for every struct, as its compiler sees them.
local contract = require "plainsight.contract"
local ffi = require "ffi"
local paths = require "plainsight.paths"

local program = paths.file("build/layout")

local function c_layout()
  local pipe = assert(io.popen(program .. " 2>/dev/null"))
  local fields, sizes, unread = {}, {}, {}
  for line in pipe:lines() do
    local struct, field, offset, size = line:match("^([%w_]+)%.([%w_]+) (%d+) (%d+)$")
    local whole, whole_size = line:match("^([%w_]+) (%d+)$")
    if struct then
      fields[#fields + 1] = { struct = struct, field = field, offset = tonumber(offset), size = tonumber(size) }
    elseif whole then
      sizes[whole] = tonumber(whole_size)
    else
      unread[#unread + 1] = line
    end
  end
  pipe:close()
  return fields, sizes, unread
end

-- Names of the fields of each struct, from the headers' own text.
local function declared_fields()
  local declared = {}
  for _, header in ipairs(contract.headers) do
    local cdef = assert(paths.read(paths.file(header))):match("/%* cdef begin %*/(.-)/%* cdef end %*/")
    for struct, body in cdef:gsub("/%*.-%*/", ""):gmatch("struct ([%w_]+) (%b{});") do
      for declaration in body:sub(2, -2):gmatch("%S[^;]*;") do
        local field = declaration:gsub("%[[%w_]+%]", ""):match("^[%w_ ]+[ *]+([%w_]+);$")
        assert(field, header .. ": one field per declaration, not: " .. declaration)
        declared[#declared + 1] = { struct = struct, field = field }
      end
    end
  end
  return declared
end

-- LuaJIT hands out small integers as numbers: their size shows in their value when every byte is 0x7f.
local function size_of_field(struct, field)
  local whole = ffi.new("struct " .. struct)
  ffi.fill(whole, ffi.sizeof(whole), 0x7f)
  local value = whole[field]
  if type(value) == "cdata" then return ffi.sizeof(value) end
  if type(value) == "boolean" then return ffi.sizeof("bool") end
  for size, pattern in pairs { [1] = 0x7f, [2] = 0x7f7f, [4] = 0x7f7f7f7f } do
    if value == pattern then return size end
  end
  if value == ffi.cast("double *", ffi.new("uint8_t[8]", (("\127"):rep(8)):byte(1, 8)))[0] then return 8 end
  error(struct .. "." .. field .. " is of a type that this spec cannot measure")
end

describe("layout", function()
  local file = io.open(program, "rb")
  if not file then
    it("is compared with " .. program, function() error(program .. " is missing: run make") end)
    return
  end
  file:close()

  local fields, sizes, unread = c_layout()
  local printed = {}
  for _, entry in ipairs(fields) do printed[entry.struct .. "." .. entry.field] = true end

  it("is printed in the form that this spec reads", function()
    assert.same({}, unread)
    assert.is_true(#fields > 0)
  end)

  it("has the same offsets and sizes in C and in Lua", function()
    for _, entry in ipairs(fields) do
      local name = entry.struct .. "." .. entry.field
      assert.equal(name .. " " .. entry.offset,
        name .. " " .. tostring(ffi.offsetof("struct " .. entry.struct, entry.field)))
      assert.equal(name .. " size " .. entry.size, name .. " size " .. size_of_field(entry.struct, entry.field))
    end
    for struct, size in pairs(sizes) do
      assert.equal(struct .. " " .. size, struct .. " " .. ffi.sizeof("struct " .. struct))
    end
  end)

  local declared = declared_fields()
  it("covers every field of every struct", function()
    assert.is_true(#declared > 50)
    for _, entry in ipairs(declared) do
      local name = entry.struct .. "." .. entry.field
      assert.is_true(printed[name], name .. " is not printed by " .. program)
    end
  end)
end)
