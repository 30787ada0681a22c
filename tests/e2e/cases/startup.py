# SPDX-License-Identifier: Apache-2.0
"""The first start, and starting again: from the cache of compiled probes, and what is done when it cannot be used."""

import os
import signal
import time

from servers import PythonServer
from tap import Failure, case, check, equal
from tool import Httpsnoop, Secretscan

TRUE = ["/bin/true"]
WARM_STARTS = 3
PROBE = "plainsight: probes/syscalls.c: cache: "


class Cache:
    """A cache directory of its own."""

    def __init__(self, t):
        self.t, self.home = t, t.path("cache")
        self.path = os.path.join(self.home, "plainsight")

    def start(self, *args, command=TRUE):
        """Run the tool until its COMMAND has ended. Returns it, with what it says of the cache as `cache`."""
        env = {"XDG_CACHE_HOME": self.home, "PLAINSIGHT_DEBUG": "1"}
        tool = Httpsnoop(self.t, ["-j", *args], command=command, env=env)
        tool.finish()
        tool.cache = [line[len(PROBE):] for line in tool.stderr().splitlines() if line.startswith(PROBE)]
        return tool

    def begin(self, kind=Httpsnoop, args=()):
        """Start a tool, and do not wait for it."""
        return kind(self.t, args, command=TRUE, ready=False, env={"XDG_CACHE_HOME": self.home})

    def entries(self, directory=""):
        """Those of probes: what else is kept is in directories below."""
        path = os.path.join(self.path, directory)
        paths = [os.path.join(path, name) for name in sorted(os.listdir(path))] if os.path.isdir(path) else []
        return [path for path in paths if not os.path.isdir(path)]


def was_found(tool):
    return len(tool.cache) == 1 and tool.cache[0].startswith("found ")


def was_kept(tool):
    return tool.cache[-1].startswith("kept as ")


def wait_for(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(0.005)


def left_of(tool):
    """Processes of the session that it led."""
    left = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
                state, _, _, session = f.read().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == tool.process.pid and state not in "ZX":
            left.append(pid)
    return left


def check_nothing_left(tool):
    wait_for(lambda: not left_of(tool), f"the end of what it has started: {left_of(tool)}", 1)


@case
def warm_start(t):
    """a second start takes the instructions from the cache, and less time"""
    cache = Cache(t)
    cold = cache.start()
    check(was_kept(cold), f"cold start: {cold.cache}")
    warm = [cache.start() for _ in range(WARM_STARTS)]
    for tool in warm:
        check(was_found(tool), f"warm start: {tool.cache}")
    fastest = min(tool.start_seconds for tool in warm)
    t.diag(f"tracing after {cold.start_seconds:.2f} s, from the cache after {fastest:.2f} s")
    check(fastest < cold.start_seconds, f"{fastest:.2f} s with the cache, {cold.start_seconds:.2f} s without")


@case
def options_share_instructions(t):
    """what is to be watched is not compiled in: one entry, whatever the options"""
    cache = Cache(t)
    cache.start()
    group = t.cgroup()
    for args in (["-u", "root"], ["-c", "curl"], ["--port", "80,443"], ["--ring-size", "1"], ["--cgroup", group.path],
                 ["-u", "1", "-c", "x", "--port", "1", "--no-follow", "--max-body", "0"]):
        tool = cache.start(*args)
        check(was_found(tool), f"{args}: {tool.cache}")
    equal(len(cache.entries()), 1, "entries")


@case
def compiled_meanwhile(t):
    """on a first start the probes are compiled while the rules for secrets are"""
    cache = Cache(t)
    tool = cache.begin()
    wait_for(tool.process.children, "a process that compiles")
    equal(cache.entries("secrets"), [], "rules that are ready when the probes begin to be compiled")
    wait_for(lambda: cache.entries("secrets"), "rules that are ready")
    equal(cache.entries(), [], "probes that are compiled when the rules are ready")
    tool.wait_tracing()
    tool.wait()
    equal(len(cache.entries()), 1, "probes in the cache")


@case
def interrupted_start(t):
    """a signal while probes and rules are compiled: the tool ends without a word about it, and leaves no process"""
    for number, send, status in (
        (signal.SIGINT, os.killpg, -2), (signal.SIGTERM, os.killpg, -15), (signal.SIGKILL, os.kill, -9),
    ):
        cache = Cache(t)
        tool = cache.begin()
        wait_for(tool.process.children, "a process that compiles")
        send(tool.process.pid, number)
        equal(tool.process.wait(), status, f"status after signal {number}")
        check_nothing_left(tool)
        equal(tool.stderr(), "", f"what it says after signal {number}")
    cache = Cache(t)
    tool = cache.begin()
    wait_for(lambda: cache.entries("secrets"), "rules that are ready")
    time.sleep(0.1)
    os.killpg(tool.process.pid, signal.SIGINT)
    tool.wait(130)
    check_nothing_left(tool)
    equal(len(cache.entries()), 1, "what was compiled is kept")


@case
def failed_start(t):
    """a mistake that is found while the probes are compiled is one line, and ends that"""
    rules = t.path("rules.toml")
    with open(rules, "w", encoding="ascii") as f:
        f.write("[[rules]]\nid = 'bad'\nregex = 'a(b'\n")
    tool = Cache(t).begin(Secretscan, ["--rules", rules])
    tool.wait(1)
    check_nothing_left(tool)
    equal(len(tool.stderr().splitlines()), 1, f"lines of:\n{tool.stderr()}")
    check("rules.toml:1: rule bad" in tool.stderr(), tool.stderr())


def change_text_of_key(content):
    """Another text, with what was compiled from the right one."""
    return content.replace(b"NR_SENDTO = 44", b"NR_SENDTO = 45", 1)


DAMAGES = {
    "empty": lambda content: b"",
    "half of it": lambda content: content[:len(content) // 2],
    "a byte changed": lambda content: content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
    "another text": change_text_of_key,
    "no entry at all": lambda content: b"plainsight\n" + bytes(5000),
}


@case
def damaged_entry(t):
    """an entry that is damaged or of another text is not used, but replaced"""
    cache, server = Cache(t), PythonServer(t)
    curl = ["curl", "-s", "-o", "/dev/null", server.url + "/bytes/5"]
    check(was_kept(cache.start()), "not kept")
    entry, = cache.entries()
    with open(entry, "rb") as f:
        whole = f.read()
    for name, damage in DAMAGES.items():
        check(damage(whole) != whole, f"{name}: nothing was damaged")
        with open(entry, "wb") as f:
            f.write(damage(whole))
        tool = cache.start(command=curl)
        check(was_kept(tool), f"{name}: {tool.cache}")
        equal([e["request"]["target"] for e in tool.exchanges()], ["/bytes/5"], f"{name}: requests")
        with open(entry, "rb") as f:
            check(f.read() == whole, f"{name}: the entry is not the one that it was")
    check(was_found(cache.start()), "not found after all that")


@case
def unusable_cache(t):
    """a cache that is not private or not there: a slower start and no word about it"""
    cache = Cache(t)
    cache.start()
    entry, = cache.entries()
    os.chmod(entry, 0o620)
    check("can be written to by others" in cache.start().cache[0], "an entry that others can write to is used")
    equal(os.stat(entry).st_mode & 0o777, 0o600, "mode of the new entry")
    os.chmod(cache.path, 0o777)
    tool = cache.start()
    check(all("can be written to by others" in line for line in tool.cache), f"others can write to it: {tool.cache}")
    os.chmod(cache.path, 0o700)
    os.chown(cache.path, 65534, 65534)
    tool = cache.start()
    check(all("belongs to user 65534" in line for line in tool.cache), f"it belongs to another: {tool.cache}")
    cache.home = "/proc/nonexistent"
    tool = cache.start()
    check("not kept" in tool.cache[-1], f"it cannot be made: {tool.cache}")
    quiet = Httpsnoop(t, [], command=TRUE, env={"XDG_CACHE_HOME": cache.home})
    quiet.wait()
    check("cache" not in quiet.stderr(), f"without PLAINSIGHT_DEBUG:\n{quiet.stderr()}")
