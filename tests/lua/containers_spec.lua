-- SPDX-License-Identifier: Apache-2.0
-- Names of cgroups, what is written about containers, and which are chosen.
local annotations = require "plainsight.containers.annotations"
local buffer = require "string.buffer"
local cri = require "plainsight.containers.cri"
local docker = require "plainsight.containers.docker"
local ffi = require "ffi"
local host = require "plainsight.containers.host"
local identity = require "plainsight.containers.identity"
local inotify = require "plainsight.containers.inotify"
local oci = require "plainsight.containers.oci"
local output = require "plainsight.output.container"
local pod_logs = require "plainsight.containers.pod_logs"
local selection = require "plainsight.containers.selection"
local sources = require "plainsight.containers.sources"
require "plainsight.contract"

local ID = ("0123456789abcdef"):rep(4)
local INNER = ("fedcba9876543210"):rep(4)
local UID = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
local UID_IN_SLICE = UID:gsub("-", "_")

describe("the path of a cgroup", function()
  -- Path, runtime, uid of the pod (false: none), id when it is another than ID.
  local containers = {
    { "/docker/" .. ID, "docker", false },
    { "/system.slice/docker-" .. ID .. ".scope", "docker", false },
    { "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" .. ID .. ".scope", "podman", false },
    { "/libpod_parent/libpod-" .. ID, "podman", false },
    { "/machine.slice/libpod-" .. ID .. ".scope/container", "podman", false },
    { "/system.slice/nerdctl-" .. ID .. ".scope", "containerd", false },
    { "/kubepods/burstable/pod" .. UID .. "/" .. ID, nil, UID },
    { "/kubepods/besteffort/pod" .. UID .. "/crio-" .. ID, "cri-o", UID },
    { "/kubepods/pod" .. UID .. "/" .. ID, nil, UID },
    { "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" .. UID_IN_SLICE .. ".slice/cri-containerd-"
      .. ID .. ".scope", "containerd", UID },
    { "/kubepods.slice/kubepods-pod" .. UID_IN_SLICE .. ".slice/crio-" .. ID .. ".scope", "cri-o", UID },
    { "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" .. UID_IN_SLICE .. ".slice/docker-" .. ID
      .. ".scope", "docker", UID },
    { "/system.slice/containerd.service/kubepods-burstable-pod" .. UID_IN_SLICE .. ".slice:cri-containerd:" .. ID,
      "containerd", UID },
    -- A static pod: the uid is a hash.
    { "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" .. ("0a"):rep(16) .. ".slice/cri-containerd-"
      .. ID .. ".scope", "containerd", ("0a"):rep(16) },
    { "/ecs/4082180c-63d5/" .. ID, nil, false },
    -- An init in it, a container in it.
    { "/docker/" .. ID .. "/init.scope", "docker", false },
    { "/docker/" .. INNER .. "/kubelet/kubepods/burstable/pod" .. UID .. "/" .. ID, nil, UID },
    { "/lxc.payload.web/init.scope", "lxc", false, "web" },
    { "/lxc/web", "lxc", false, "web" },
    { "/machine.slice/machine-web\\x2d1.scope/payload", "systemd-nspawn", false, "web-1" },
    { "/machine.slice/systemd-nspawn@web.service/payload", "systemd-nspawn", false, "web" },
    { "/system.slice/crun-web.scope", "crun", false, "web" },
  }
  for _, case in ipairs(containers) do
    it("tells the container: " .. case[1], function()
      local found = identity.of_path(case[1])
      assert.equal(case[4] or ID, found.id)
      assert.equal(case[2], found.runtime)
      assert.equal(case[3] or nil, found.pod_uid)
      assert.equal(case[1]:sub(1, #found.path), found.path)
    end)
  end

  local others = {
    "", "/", "/init.scope", "/system.slice/nginx.service", "/user.slice/user-1000.slice/session-2.scope",
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" .. UID_IN_SLICE .. ".slice",
    "/kubepods/burstable/pod" .. UID,
    "/machine.slice/libpod-conmon-" .. ID .. ".scope", "/system.slice/crio-conmon-" .. ID .. ".scope",
    "/libpod_parent/conmon", "/docker", "/docker/" .. ID:sub(2), "/docker/" .. ID .. "0",
    "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
  }
  for _, path in ipairs(others) do
    it("tells that there is none: " .. path, function() assert.is_nil(identity.of_path(path)) end)
  end

  it("leaves names that people choose to the runtimes' own notes", function()
    local asked = {}
    local found = identity.of_path("/a/web/inner", function(name, parent)
      asked[#asked + 1] = name .. "<" .. tostring(parent)
      return name == "web" and "runc" or nil
    end)
    assert.same({ "inner<web", "web<a" }, asked)
    assert.same({ id = "web", runtime = "runc", path = "/a/web" }, found)
  end)
end)

describe("what is written about a container", function()
  local files, directories, original

  before_each(function()
    files, directories = {}, {}
    original = { read = host.read, exists = host.exists, directories = host.directories }
    host.read = function(path) return files[path] end
    host.exists = function(path) return files[path] ~= nil end
    host.directories = function(path) return directories[path] or {} end
  end)
  after_each(function()
    for name, value in pairs(original) do host[name] = value end
  end)

  it("comes from the bundle that containerd has", function()
    local root = "/run/containerd/io.containerd.runtime.v2.task"
    directories[root] = { "moby", "k8s.io" }
    files[root .. "/k8s.io/" .. ID .. "/config.json"] = [[{"annotations":{
      "io.kubernetes.cri.container-name":"nginx","io.kubernetes.cri.container-type":"container",
      "io.kubernetes.cri.image-name":"docker.io/library/nginx:1","io.kubernetes.cri.sandbox-name":"web-0",
      "io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.sandbox-uid":"]] .. UID .. [["}}]]
    local fields = oci.lookup { id = ID }
    assert.same({ name = "nginx", image = "docker.io/library/nginx:1", pod = "web-0", namespace = "shop", pod_uid = UID,
      runtime = "containerd" }, fields)
  end)

  it("comes from the bundles of CRI-O, labels from that of the sandbox", function()
    local root = "/run/containers/storage"
    directories[root] = { "overlay-containers", "overlay-layers" }
    files[root .. "/overlay-containers/" .. ID .. "/userdata/config.json"] = [[{"annotations":{
      "io.container.manager":"cri-o","io.kubernetes.container.name":"nginx","io.kubernetes.pod.name":"web-0",
      "io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"]] .. UID .. [[",
      "io.kubernetes.cri-o.ImageName":"nginx:1","io.kubernetes.cri-o.SandboxID":"]] .. INNER .. [["}}]]
    files[root .. "/overlay-containers/" .. INNER .. "/userdata/config.json"] = [[{"annotations":{
      "io.kubernetes.cri-o.Labels":"{\"app\":\"web\",\"io.kubernetes.pod.name\":\"web-0\"}"}}]]
    local fields = oci.lookup { id = ID }
    fields.sandbox_id = nil
    assert.same({ name = "nginx", image = "nginx:1", pod = "web-0", namespace = "shop", pod_uid = UID,
      runtime = "cri-o", labels = { app = "web" } }, fields)
  end)

  it("comes from podman's storage, found by crun's state", function()
    local directory = "/var/lib/containers/storage/overlay-containers"
    files["/run/crun/" .. ID .. "/status"] = '{"pid":1,"bundle":"' .. directory .. "/" .. ID .. '/userdata"}'
    files[directory .. "/" .. ID .. "/userdata/config.json"] = '{"annotations":{"io.container.manager":"libpod"}}'
    files[directory .. "/containers.json"] = '[{"id":"x"},{"id":"' .. ID .. '","names":["web"],"metadata":' ..
      '"{\\"image-name\\":\\"localhost/web:1\\",\\"name\\":\\"web\\"}"}]'
    assert.same({ name = "web", image = "localhost/web:1", runtime = "podman" }, oci.lookup { id = ID })
  end)

  it("comes from Docker's files", function()
    files["/etc/docker/daemon.json"] = '{"data-root":"/srv/docker"}'
    files["/srv/docker/containers/" .. ID .. "/config.v2.json"] =
      '{"Name":"/web","Config":{"Image":"nginx:1","Labels":{"app":"web"}}}'
    assert.same({ name = "web", image = "nginx:1", labels = { app = "web" }, runtime = "docker" },
      docker.lookup { id = ID })
  end)

  it("comes from what dockershim has put into labels", function()
    files["/var/lib/docker/containers/" .. ID .. "/config.v2.json"] = [[{"Name":"/k8s_nginx_web-0_shop_x_0","Config":{
      "Image":"sha256:00","Labels":{"io.kubernetes.container.name":"nginx","io.kubernetes.pod.name":"web-0",
      "io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"]] .. UID .. [["}}}]]
    assert.same({ name = "nginx", image = "sha256:00", pod = "web-0", namespace = "shop", pod_uid = UID,
      runtime = "docker" }, docker.lookup { id = ID })
  end)

  it("is nothing when it is malformed or about something else", function()
    files["/run/crun/" .. ID .. "/status"] = "{"
    files["/var/lib/docker/containers/" .. ID .. "/config.v2.json"] = '"text"'
    assert.is_nil(oci.lookup { id = ID })
    assert.is_nil(docker.lookup { id = ID })
    assert.is_nil(oci.lookup { id = "../../etc" })
    assert.is_nil(docker.lookup { id = "../../etc" })
    files["/run/crun/" .. ID .. "/status"] = '{"bundle":"/b"}'
    files["/b/config.json"] = '{"annotations":{"io.kubernetes.cri.container-name":["x"],"nginx":null}}'
    assert.same({}, oci.lookup { id = ID })
  end)

  it("comes from the names of the kubelet's log files, the later ones too", function()
    local on_event, changes = {}, 0
    local watcher = { watch = function(_, path, call) on_event[path] = call end }
    directories["/var/log/containers"] = { "web-0_shop_nginx-" .. ID .. ".log", "x", "a_b_c-12.log" }
    directories["/var/log/pods"] = { "shop_web-0_" .. UID }
    pod_logs.watch(watcher, function() changes = changes + 1 end)
    local whole = { name = "nginx", pod = "web-0", namespace = "shop", pod_uid = UID }
    assert.same(whole, pod_logs.lookup { id = ID, pod_uid = UID })
    assert.is_nil(pod_logs.lookup { id = INNER })
    on_event[host.path("/var/log/containers")](nil, "db_bank_side-car-" .. INNER .. ".log", true)
    assert.equal(1, changes)
    assert.same({ name = "side-car", pod = "db", namespace = "bank" }, pod_logs.lookup { id = INNER })
    on_event[host.path("/var/log/containers")](nil, "db_bank_side-car-" .. INNER .. ".log", false)
    assert.is_nil(pod_logs.lookup { id = INNER })
    -- By the pod alone: the name of its only container.
    directories["/var/log/pods/shop_web-0_" .. UID] = { "nginx" }
    assert.same(whole, pod_logs.lookup { id = INNER, pod_uid = UID })
    directories["/var/log/pods/shop_web-0_" .. UID] = { "nginx", "other" }
    assert.is_nil(pod_logs.lookup({ id = INNER, pod_uid = UID }).name)
  end)

  it("is merged, the first source first, and daemons are not asked for what files say", function()
    local asked = 0
    local kept = { cri.lookup, oci.lookup, docker.lookup, pod_logs.lookup }
    oci.lookup = function() return { name = "a", image = "i", pod = "p", namespace = "n" } end
    docker.lookup = function() return { name = "b" } end
    pod_logs.lookup = function() return { name = "c", pod_uid = UID } end
    cri.lookup = function()
      asked = asked + 1
      return { name = "d", labels = asked > 1 and { x = "y" } or nil }
    end
    local container = { id = ID }
    sources.fill(container)
    assert.is_false(sources.is_complete(container)) -- labels are missing
    sources.fill(container)
    assert.is_true(sources.is_complete(container))
    sources.fill(container)
    assert.equal(2, asked)
    assert.same({ "a", "i", "p", "n", UID, { x = "y" } }, { container.name, container.image, container.pod,
      container.namespace, container.pod_uid, container.labels })
    -- One that does not answer is not waited for again.
    asked, cri.lookup = 0, function()
      asked = asked + 1
      return nil, true
    end
    container = { id = INNER }
    for _ = 1, 5 do sources.fill(container) end
    assert.equal(1, asked)
    cri.lookup, oci.lookup, docker.lookup, pod_logs.lookup = unpack(kept)
  end)
end)

describe("labels", function()
  it("are those that people have given", function()
    assert.same({ app = "web" }, annotations.own_labels { app = "web", ["io.kubernetes.pod.name"] = "x", n = 1 })
    assert.is_nil(annotations.own_labels { ["io.kubernetes.pod.name"] = "x" })
    assert.is_nil(annotations.own_labels("text"))
  end)
end)

describe("messages of the CRI", function()
  it("are read by field number", function()
    -- 1: "ab", 2: varint 300, 1: "", 3: fixed32, 4: fixed64
    local bytes = "\10\2ab\16\172\2\10\0\29abcd\33abcdefgh"
    assert.same({ [1] = { "ab", "" } }, cri.fields(bytes))
    assert.same({}, cri.fields(""))
  end)

  it("are refused when they end too early or are of no known kind", function()
    for _, bytes in ipairs { "\10\3ab", "\10", "\16\255", "\29abc", "\33abc", "\11", "\255", "\10\255\255\255\255\15a",
      ("\255"):rep(20) } do
      assert.is_nil(cri.fields(bytes))
    end
  end)
end)

describe("a choice of containers", function()
  local web = { id = ID, name = "nginx", pod = "web-7d4", namespace = "shop" }
  local plain = { id = INNER, name = "db" }

  local function chosen(opts)
    local test = selection.new(opts)
    return { test(web), test(plain) }
  end

  it("is all when nothing is asked for", function() assert.is_nil(selection.new {}) end)

  it("goes by name, with stars, or by the beginning of the id", function()
    assert.same({ true, false }, chosen { containers = { "nginx" } })
    assert.same({ true, true }, chosen { containers = { "ng*x", "db" } })
    assert.same({ false, false }, chosen { containers = { "ngin" } })
    assert.same({ true, false }, chosen { containers = { ID:sub(1, 6):upper() } })
    assert.same({ false, false }, chosen { containers = { ID:sub(1, 5) } })
    assert.same({ false, true }, chosen { containers = { INNER } })
    assert.same({ false, false }, chosen { containers = { "d." } })
  end)

  it("goes by pod and namespace", function()
    assert.same({ true, false }, chosen { pods = { "web-*" } })
    assert.same({ true, false }, chosen { pods = { "shop/web-7d4" } })
    assert.same({ true, false }, chosen { pods = { "bank/*", "sh*/*" } })
    assert.same({ false, false }, chosen { pods = { "bank/web-7d4" } })
    assert.same({ true, false }, chosen { namespaces = { "shop" } })
    assert.same({ true, false }, chosen { namespaces = { "*" } })
  end)

  it("holds for every option at once", function()
    assert.same({ true, false }, chosen { containers = { "*" }, pods = { "web-*" }, namespaces = { "shop" } })
    assert.same({ false, false }, chosen { containers = { "db" }, pods = { "web-*" } })
  end)
end)

describe("the container of a process", function()
  local process = ffi.new("struct ps_process")

  local function text(put, container)
    local buf = buffer.new()
    put(buf, process, { container_of = container and function() return container end })
    return buf:get()
  end

  before_each(function() process.tgid, process.ns_tgid = 4242, 4242 end)

  it("is told behind its name, as one word", function()
    assert.equal("", text(output.put_suffix))
    assert.equal("@web", text(output.put_suffix, { id = ID, name = "web" }))
    assert.equal("@0123456789ab", text(output.put_suffix, { id = ID }))
    assert.equal("@shop/web-0/nginx", text(output.put_suffix, { id = ID, name = "nginx", pod = "web-0",
      namespace = "shop" }))
    assert.equal("@?/web-0/0123456789ab", text(output.put_suffix, { id = ID, pod = "web-0" }))
    assert.is_nil(text(output.put_suffix, { id = ID, name = "a b\27[31m" }):find("[ \27]"))
  end)

  it("is told with its image and the other id of the process", function()
    assert.equal("", text(output.put_facts))
    process.ns_tgid = 7
    assert.equal(", pid 7 there, container web of web:1", text(output.put_facts, { id = ID, name = "web",
      image = "web:1" }))
  end)
end)

describe("a directory that is watched", function()
  it("tells what is made and removed in it", function()
    local directory = os.tmpname()
    os.remove(directory)
    assert(os.execute("mkdir " .. directory) == 0)
    local watcher, seen = assert(inotify.new()), {}
    assert(watcher:watch(directory, function(path, name, is_made, is_directory)
      seen[#seen + 1] = { path == directory, name, is_made, is_directory }
    end))
    os.execute(("mkdir %s/a; touch %s/b; mv %s/b %s/c; rmdir %s/a"):gsub("%%s", directory))
    assert.is_false(watcher:read())
    assert.same({ { true, "a", true, true }, { true, "b", true, false }, { true, "b", false, false },
      { true, "c", true, false }, { true, "a", false, true } }, seen)
    os.execute("rm -r " .. directory)
    watcher:read()
    assert.equal(0, watcher.count)
    local ok, message = watcher:watch(directory, print)
    assert.is_nil(ok)
    assert.matches("No such file", message)
    watcher:close()
  end)
end)
