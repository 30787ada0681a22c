-- SPDX-License-Identifier: Apache-2.0
-- No Lua file writes a global: tools and modules share one state.
local paths = require "plainsight.paths"

local function lines_of(command)
  local pipe = assert(io.popen(command))
  local list = {}
  for line in pipe:lines() do list[#list + 1] = line end
  pipe:close()
  return list
end

local function lua_files()
  local root = paths.root
  local command = ([[find '%s/lua' '%s/tools' -type f \( -name '*.lua' -o -exec sh -c
    'head -n 1 "$1" | grep -q "^#!.*luajit"' sh {} \; \) -print | sort]]):format(root, root):gsub("\n", " ")
  return lines_of(command)
end

-- Bytecode listing, or what the compiler has against the file.
local function bytecode(file)
  return lines_of(("luajit -bl '%s' 2>&1; echo $?"):format(file))
end

describe("luajit -bl", function()
  local files = lua_files()

  it("is run on every file", function()
    assert.is_true(#files > 5)
    assert.matches("/lua/plainsight/cli.lua\n", table.concat(files, "\n") .. "\n", 1, true)
  end)

  it("shows a global write as GSET", function()
    local name = os.tmpname()
    local file = assert(io.open(name, "w"))
    file:write("local a = 1\nleak = a\n")
    file:close()
    assert.matches("GSET.*leak", table.concat(bytecode(name), "\n"))
    os.remove(name)
  end)

  for _, file in ipairs(files) do
    it("finds no global write in " .. file:sub(#paths.root + 2), function()
      local listing = bytecode(file)
      assert.equal("0", listing[#listing], table.concat(listing, "\n"))
      for _, line in ipairs(listing) do
        assert.is_nil(line:find("%sGSET%s"), line)
      end
    end)
  end
end)
