-- SPDX-License-Identifier: Apache-2.0
-- luarocks make --deps-mode none rockspec/plainsight-scm-1.rockspec
-- What it needs are Debian packages: make deps.
rockspec_format = "3.0"
package = "plainsight"
version = "scm-1"
source = {
  url = "git+file://.", -- the checkout it is built in
}
description = {
  summary = "HTTP/1 traffic of a Linux host in plain text, with eBPF",
  detailed = "httpsnoop shows the HTTP/1 requests and responses of the processes of a Linux host, without a proxy and "
    .. "without a change to any program. Needs LuaJIT, libbcc and root.",
  license = "Apache-2.0 AND GPL-2.0-only", -- the latter: probes/
}
supported_platforms = { "linux" }
dependencies = { "lua == 5.1", "argparse >= 0.7", "lua-cjson >= 2.1" }
deploy = { wrap_bin_scripts = false } -- tools run in LuaJIT and find their modules themselves
build = {
  type = "make",
  build_target = "all",
  install_target = "install-rock",
  install_variables = { PREFIX = "$(PREFIX)", TREE = "$(PREFIX)/plainsight" },
  variables = { CFLAGS = "-O2 -g" }, -- LuaRocks passes build flags of Lua modules otherwise
}
