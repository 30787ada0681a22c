-- SPDX-License-Identifier: Apache-2.0
local cjson = require "cjson"
local ffi = require "ffi"
local paths = require "plainsight.paths"
local whole_file = require "plainsight.output.whole_file"

local C = ffi.C
local OPENING, CLOSING = '{"list":[1', "]}\n"

local function list_in(path)
  local text = paths.read(path)
  return cjson.decode(text).list
end

-- Run Lua in a process of its own, which kills itself with SIGKILL.
local function killed(script)
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(([[
    package.path = %q
    local ffi, whole_file = require "ffi", require "plainsight.output.whole_file"
    %s
    ffi.C.kill(ffi.C.getpid(), 9)
  ]]):format(package.path, script))
  file:close()
  local status = os.execute("exec luajit " .. name .. " 2>/dev/null")
  os.remove(name)
  assert.equal(137 * 256, status < 256 and 137 * 256 or status) -- by signal 9, or as a shell tells it
end

-- What becomes of a file once its guardian has acted: it has 5 s.
local function list_in_the_end(path, expected)
  local got
  for _ = 1, 500 do
    local ok, list = pcall(list_in, path)
    got = ok and list or nil
    if got and #got == expected then return got end
    os.execute "sleep 0.01"
  end
  return got
end

describe("whole_file", function()
  local path

  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  it("is whole after each addition", function()
    local file = assert(whole_file.open(path, OPENING, CLOSING))
    assert.same({ 1 }, list_in(path))
    assert.is_true(file:add(",2"))
    assert.same({ 1, 2 }, list_in(path))
    assert.is_true(file:add(",3,4"))
    assert.same({ 1, 2, 3, 4 }, list_in(path))
    assert.equal(#paths.read(path), file:bytes())
    assert.is_true(file:finish('],"end":true}\n'))
    file:close()
    assert.same({ list = { 1, 2, 3, 4 }, ["end"] = true }, cjson.decode((paths.read(path))))
  end)

  it("is its owner's only, and new", function()
    os.remove(path)
    whole_file.open(path, OPENING, CLOSING):close()
    local mode = io.popen("stat -c %a " .. path)
    assert.equal("600", mode:read("*l"))
    mode:close()
    local again = whole_file.open(path, '{"list":[7', CLOSING)
    again:close()
    assert.same({ 7 }, list_in(path))
  end)

  it("refuses what is no regular file", function()
    local file, message = whole_file.open("/dev/null", OPENING, CLOSING)
    assert.is_nil(file)
    assert.matches("/dev/null: is not a regular file", message, 1, true)
    assert.is_nil((whole_file.open("/nowhere/at/all", OPENING, CLOSING)))
  end)

  it("is put right when its writer is killed in the middle of an addition", function()
    killed(([[
      local file = whole_file.open(%q, '{"list":[1', "]}\n")
      file:add(",2")
      -- What the kernel may leave of a write of many pages: its first ones.
      local torn = "," .. ("3,"):rep(5000)
      file.state.wanted_bytes = file.state.whole_bytes + 2 * #torn
      ffi.C.pwrite(file.fd, torn, #torn, tonumber(file.state.whole_bytes))
    ]]):format(path))
    assert.same({ 1, 2 }, list_in_the_end(path, 2))
    assert.equal('{"list":[1,2]}\n', paths.read(path))
  end)

  it("keeps an addition that was whole when its writer was killed", function()
    killed(([[
      local file = whole_file.open(%q, '{"list":[1', "]}\n")
      file:add(",2")
      local text = ",3]}\n"
      file.state.wanted_bytes = file.state.whole_bytes + #text
      ffi.C.pwrite(file.fd, text, #text, tonumber(file.state.whole_bytes))
    ]]):format(path))
    os.execute "sleep 0.1" -- for the guardian, which has nothing to do
    assert.same({ 1, 2, 3 }, list_in(path))
  end)

  it("is what it was when an addition fails", function()
    local file = assert(whole_file.open(path, OPENING, CLOSING))
    assert.is_true(file:add(",2"))
    local fd = file.fd
    file.fd = C.open(path, 0) -- to read only
    local ok, message = file:add(",3")
    C.close(file.fd)
    file.fd = fd
    assert.is_nil(ok)
    assert.matches(path, message, 1, true)
    assert.is_true(file:add(",4"))
    assert.same({ 1, 2, 4 }, list_in(path))
    file:close()
  end)
end)
