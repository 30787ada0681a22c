#!/usr/bin/env luajit
-- SPDX-License-Identifier: Apache-2.0
--- Runs an empty program where clock_nanosleep() returns, for two sleepers at once. When a line comes on
-- stdin, prints how many it has missed.
package.path = arg[0]:match("^(.*)/tests/vm/[^/]+$") .. "/lua/?.lua;" .. package.path
local bpf = require "plainsight.bpf"
local kprobes = require "plainsight.kprobes"

local SLEEPERS = 2
local RETURN_0 = "\183\0\0\0\0\0\0\0" .. "\149\0\0\0\0\0\0\0" -- r0 = 0; exit

local program = assert(bpf.load("return_0", RETURN_0, "kprobe"))
local probes = assert(kprobes.new())
assert(probes:define("sleeper", { "__x64_sys_clock_nanosleep" }, SLEEPERS))
assert(probes:attach(program, "sleeper"))
print("attached")
io.stdout:flush()
io.read()
probes:close()
print(probes:missed())
