-- SPDX-License-Identifier: Apache-2.0
-- Options as the probes read them.
local bit = require "bit"
local bpf = require "plainsight.bpf"
local ffi = require "ffi"
local settings = require "plainsight.settings"
require "plainsight.contract"

local C = ffi.C

local function settings_of(opts)
  local bytes = settings.of(opts)
  assert.equal(ffi.sizeof("struct ps_settings"), #bytes)
  local whole = ffi.new("struct ps_settings")
  ffi.copy(whole, bytes, #bytes)
  return whole
end

describe("settings", function()
  it("name this process and no filter when none is asked for", function()
    local whole = settings_of({ ring_mib = 16 })
    assert.equal(C.getpid(), whole.self_tgid)
    assert.equal(0, whole.filters)
    assert.equal(("\0"):rep(16), ffi.string(whole.comm, 16))
  end)

  it("have a bit for each filter in use", function()
    local cases = {
      [C.PS_FILTER_TGID] = { pids = { 1 } }, [C.PS_FILTER_UID] = { uid = 0 }, [C.PS_FILTER_COMM] = { comm = "x" },
      [C.PS_FILTER_CGROUP] = { cgroup = "/" }, [C.PS_FILTER_PORT] = { ports = { 80 } },
      [C.PS_FILTER_CONTAINER] = { containers = { "web" } },
    }
    local all, together = {}, 0
    for filter, opts in pairs(cases) do
      assert.equal(tonumber(filter), settings_of(opts).filters)
      for name, value in pairs(opts) do all[name] = value end
      together = together + tonumber(filter)
    end
    assert.equal(63, together)
    assert.equal(together, settings_of(all).filters)
  end)

  it("have one filter for containers, pods and namespaces", function()
    for _, name in ipairs { "containers", "pods", "namespaces" } do
      local opts = { [name] = { "web" } }
      assert.is_true(settings.has_containers(opts))
      assert.equal(C.PS_FILTER_CONTAINER, settings_of(opts).filters)
      assert.equal(0, bit.band(settings_of(opts).capture, C.PS_CAPTURE_BY_PROCESS))
    end
    assert.is_false(settings.has_containers {})
  end)

  it("hold the user, the largest id too", function()
    assert.equal(4294967294, settings_of({ uid = 4294967294 }).uid)
  end)

  it("hold the thread name, padded with NUL", function()
    assert.equal("curl" .. ("\0"):rep(12), ffi.string(settings_of({ comm = "curl" }).comm, 16))
    assert.equal("fifteen-letters\0", ffi.string(settings_of({ comm = "fifteen-letters" }).comm, 16))
  end)

  it("are the same bytes for the same options", function()
    local opts = { pids = { 1, 2 }, uid = 3, comm = "x", ports = { 4 } }
    assert.equal(settings.of(opts), settings.of(opts))
  end)
end)

describe("maps of filters", function()
  local updates, original

  before_each(function()
    updates, original = {}, bpf.map_update
    bpf.map_update = function(fd, key, value)
      updates[#updates + 1] = { fd = fd, key = tonumber(key[0]), value = value[0] }
      return true
    end
  end)
  after_each(function() bpf.map_update = original end)

  local MAPS = { traced_tgids = 10, traced_cgroup = 11, traced_ports = 12 }

  it("are left alone when no filter is asked for", function()
    assert(settings.fill(MAPS, {}))
    assert.same({}, updates)
  end)

  it("hold every process", function()
    assert(settings.fill(MAPS, { pids = { 5, 4194304 } }))
    assert.same({ { fd = 10, key = 5, value = 1 }, { fd = 10, key = 4194304, value = 1 } }, updates)
  end)

  it("hold a bit for every port, and for no other", function()
    local wanted = { [1] = true, [63] = true, [64] = true, [80] = true, [127] = true, [65535] = true }
    local ports = {}
    for port in pairs(wanted) do ports[#ports + 1] = port end
    assert(settings.fill(MAPS, { ports = ports }))
    local found, entries = {}, {}
    for _, update in ipairs(updates) do
      assert.equal(12, update.fd)
      assert.is_nil(entries[update.key])
      entries[update.key] = true
      for port = 0, 63 do
        if bit.band(bit.rshift(update.value, port), 1ULL) == 1ULL then found[update.key * 64 + port] = true end
      end
    end
    assert.same(wanted, found)
  end)

  it("say what is wrong with a cgroup", function()
    local ok, why = settings.fill(MAPS, { cgroup = "/nowhere" })
    assert.is_nil(ok)
    assert.matches("--cgroup /nowhere: No such file", why, 1, true)
    bpf.map_update = function() return nil, "map update: Bad file descriptor" end
    ok, why = settings.fill(MAPS, { cgroup = "/" })
    assert.is_nil(ok)
    assert.matches("not a cgroup v2 directory", why, 1, true)
  end)
end)
