-- SPDX-License-Identifier: Apache-2.0
local files = require "plainsight.files"
local fixture = require "exchange_fixture"
local hosts = require "plainsight.output.har_hosts"

describe("har_hosts", function()
  local directory, said

  before_each(function()
    directory, said = os.tmpname(), {}
    os.remove(directory)
    assert.equal(directory .. "/", hosts.directory(directory .. "/"))
  end)
  after_each(function() os.execute(("rm -r '%s'"):format(directory)) end)

  local function new(opts)
    return hosts.new(directory .. "/", opts or {}, function(message) said[#said + 1] = message end)
  end

  local id = 0
  local function exchange(host, changes)
    id = id + 1
    local ex = fixture.exchange { request = fixture.request { headers = { { "Host", host } } },
      response = fixture.response {} }
    ex.id = id
    for name, value in pairs(changes or {}) do ex[name] = value end
    return ex
  end

  local function close(all)
    for _, one in ipairs(all.archives) do one:close() end
  end

  it("makes a directory when its name ends in a slash, and knows one that is there", function()
    assert.is_true(files.is_directory(assert(files.status(directory))))
    assert.equal(directory .. "/", hosts.directory(directory))
    assert.is_false(hosts.directory(directory .. "/file.har"))
    local none, message = hosts.directory(directory .. "/no/such/")
    assert.is_nil(none)
    assert.truthy(message:find("No such file", 1, true))
  end)

  it("names hosts as clients do, with a port that is not that of the scheme", function()
    for expected, seen in pairs {
      ["a.test"] = { host = "a.test", port = 443, scheme = "https" },
      ["a.test:443"] = { host = "a.test", port = 443, scheme = "http" },
      ["a.test:8080"] = { host = "a.test", port = 8080, scheme = "http" },
      ["unknown host"] = { scheme = "http" },
    } do assert.equal(expected, hosts.host(seen)) end
  end)

  it("keeps names within the directory", function()
    for host, expected in pairs {
      ["a.test:80"] = "a.test_80", ["../../etc/passwd"] = "_._.._etc_passwd", [".."] = "_.", [".hidden"] = "_hidden",
      ["-n"] = "_n", ["::1"] = "__1", ["/run/x y.sock"] = "_run_x_y.sock", ["a\0b%Y"] = "a_b_Y", ["~root"] = "_root",
    } do assert.equal(expected, hosts.safe_name(host)) end
    assert.equal(200, #hosts.safe_name(("a"):rep(300)))
  end)

  it("tells hosts apart whose names are the same when they are safe", function()
    local all = new()
    assert.not_equal(all:archive_of(exchange "a~b.test"), all:archive_of(exchange "a_b.test"))
    assert.equal(all:archive_of(exchange "A_B.test"), all:archive_of(exchange "a_b.test"))
    close(all)
    assert.same({ "a_b.test-2.har", "a_b.test.har" }, files.list(directory))
  end)

  it("has an exchange once that is seen from both sides", function()
    local ffi = require "ffi"
    local function swap(ex)
      local ends = ffi.new("struct ps_endpoint[2]", ex["local"], ex.remote)
      ex["local"], ex.remote, ex.side = ends[1], ends[0], ffi.C.PS_SIDE_SERVER
      return ex
    end
    local all = new()
    assert.truthy(all:archive_of(exchange "a.test"))
    assert.is_nil(all:archive_of(swap(exchange "a.test")))
    assert.truthy(all:archive_of(exchange "a.test"))
    close(all)
  end)

  it("has one archive for all hosts beyond 64, and says so once", function()
    local all = new { rotate_s = 3600 }
    local last
    for i = 1, 70 do last = all:archive_of(exchange(("h%d.test"):format(i))) end
    assert.equal(last, all:archive_of(exchange "another.test"))
    assert.not_equal(last, all:archive_of(exchange "h64.test"))
    assert.equal(65, #files.list(directory))
    assert.truthy(files.status(directory .. "/other_hosts.har"))
    assert.equal(1, #said)
    close(all)
  end)
end)
