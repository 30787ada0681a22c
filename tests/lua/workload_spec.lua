-- SPDX-License-Identifier: Apache-2.0
local ffi = require "ffi"
local workload = require "plainsight.telemetry.workload"
require "plainsight.contract"

-- The name of a program by its arguments.
local function name_of(...) return workload.script_name(table.concat({ ... }, "\0") .. "\0") end

describe("a workload", function()
  it("is named by what an interpreter runs", function()
    assert.equal("app.py", name_of("python3", "/srv/app.py", "--port", "1"))
    assert.equal("app.py", name_of("python3", "-u", "-W", "ignore", "app.py"))
    assert.equal("http.server", name_of("python3", "-m", "http.server"))
    assert.equal("shop.jar", name_of("java", "-Xmx1g", "-cp", "lib/*", "-jar", "/opt/shop.jar"))
    assert.equal("org.example.Main", name_of("java", "-cp", "x.jar", "org.example.Main"))
    assert.equal("server.js", name_of("node", "--inspect", "server.js"))
    assert.equal("main.ts", name_of("deno", "run", "main.ts"))
    assert.is_nil(name_of("python3", "-c", "print()"))
    assert.is_nil(name_of("python3"))
    assert.is_nil(workload.script_name(""))
  end)

  it("is known by its executable, and after it is gone", function()
    local all, process = workload.new {}, ffi.new("struct ps_process")
    process.tgid = ffi.C.getpid()
    process.comm = "worker"
    local one = all:of(process, 5000000000ULL)
    assert.matches("luajit", one.exe)
    assert.equal(one, all:of(process, 6000000000ULL))
    assert.equal(one, all:of(process, 60000000000ULL))
    process.tgid = 4194303 -- nobody
    assert.equal("worker", all:of(process, 5000000000ULL).name)
  end)

  it("has the name of its container, or the labels of its pod", function()
    local container = { id = "c1", name = "web" }
    local process = ffi.new("struct ps_process", { tgid = ffi.C.getpid() })
    local function name()
      return workload.new({ container_of = function() return container end }):of(process, 1ULL).name
    end
    assert.equal("web", name())
    container.labels = { app = "shop" }
    assert.equal("shop", name())
    container.labels = { ["app.kubernetes.io/name"] = "shop-frontend", app = "shop" }
    assert.equal("shop-frontend", name())
  end)
end)
