# SPDX-License-Identifier: Apache-2.0
"""What the tool leaves behind, and what an edit of a probe does."""

import ctypes
import glob
import os
import re
import shutil
import struct
import time

from servers import PythonServer
from tap import case, check, equal
from tool import TREE, Httpsnoop

TRUE = ["/bin/true"]
SYS_BPF = 321
GET_NEXT_ID = {"prog": 11, "map": 12, "link": 31}  # enum bpf_cmd


def copy_of_tree(t):
    """What the tool needs to run from a checkout, in the scratch directory."""
    copy = t.path("tree")
    for directory in ("lua", "probes", "src", "tools"):
        shutil.copytree(os.path.join(TREE, directory), os.path.join(copy, directory))
    os.mkdir(os.path.join(copy, "build"))
    shutil.copy(os.path.join(TREE, "build", "libplainsight.so"), os.path.join(copy, "build"))
    return copy


@case
def mistake_in_probe(t):
    """a mistake in probes/syscalls.c: clang's message with file and line, status 1"""
    tree = copy_of_tree(t)
    probe = os.path.join(tree, "probes", "syscalls.c")
    with open(probe, "a", encoding="utf-8") as f:
        f.write("\nint e2e_mistake = ;\n")
    with open(probe, encoding="utf-8") as f:
        line = len(f.readlines())
    tool = Httpsnoop(t, [], tool=os.path.join(tree, "tools", "httpsnoop"), command=TRUE, ready=False)
    tool.wait(1)
    said = tool.stderr()
    check(re.search(rf"syscalls\.c:{line}:\d+: error: ", said), f"no message for line {line} in:\n{said}")
    check("stack traceback" not in said, f"a Lua traceback:\n{said}")


def targets_seen(t, tree):
    """Targets of the requests that the httpsnoop of this tree reports for one curl."""
    server = PythonServer(t)
    curl = ["curl", "-s", "-o", "/dev/null", server.url + "/bytes/5"]
    tool = Httpsnoop(t, ["-j"], tool=os.path.join(tree, "tools", "httpsnoop"), command=curl)
    return [e["request"]["target"] for e in tool.finish() if e["request"]]


@case
def edited_probe(t):
    """an edit of probes/syscalls.c takes effect at the next start, with nothing to build"""
    tree = copy_of_tree(t)
    equal(targets_seen(t, tree), ["/bytes/5"], "before the edit")
    probe = os.path.join(tree, "probes", "syscalls.c")
    with open(probe, encoding="utf-8") as f:
        text = f.read()
    edited = text.replace("NR_SENDTO = 44", "NR_SENDTO = 4444")
    check(edited != text, "the line to edit is not in the file")
    with open(probe, "w", encoding="utf-8") as f:
        f.write(edited)
    equal(targets_seen(t, tree), [], "after it, blind for sendto, which curl uses")


def kernel_objects(pid):
    """(kind, id) of every BPF program, map and link that the process has a descriptor for."""
    found = set()
    for path in glob.glob(f"/proc/{pid}/fdinfo/*"):
        try:
            with open(path, encoding="ascii") as f:
                found |= set(re.findall(r"^(prog|map|link)_id:\s*(\d+)$", f.read(), re.M))
        except FileNotFoundError:
            pass  # closed meanwhile
    return found


def exists(kind, number):
    """Ask for the next id, as bpf(2) calls it: whoever opens an object by its id may keep it from going away."""
    attr = struct.pack("@IIII", int(number) - 1, 0, 0, 0)
    buffer = ctypes.create_string_buffer(attr)
    if ctypes.CDLL(None, use_errno=True).syscall(SYS_BPF, GET_NEXT_ID[kind], buffer, len(attr)) != 0:
        return False  # there is none with a higher id either
    return struct.unpack_from("@II", buffer)[1] == int(number)


def still_there(objects):
    return {(kind, number) for kind, number in objects if exists(kind, number)}


def trace_files():
    """Lines in the lists of kprobe and uprobe events, which would outlive a process."""
    lines = set()
    for name in ("kprobe_events", "uprobe_events"):
        for mount in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
            if os.path.exists(f"{mount}/{name}"):
                with open(f"{mount}/{name}", encoding="ascii") as f:
                    lines |= set(f.read().splitlines())
    return lines


@case
def killed(t):
    """SIGKILL leaves no program, map, link or trace event behind"""
    events = trace_files()
    tool = t.snoop(pids=[t.gated(TRUE)])
    objects = kernel_objects(tool.process.pid)
    kinds = {kind for kind, _ in objects}
    check({"prog", "map"} <= kinds, f"found only {kinds}")
    equal(still_there(objects), objects, "what the kernel has while it runs")
    tool.process.end()
    deadline = time.monotonic() + 20
    while still_there(objects) and time.monotonic() < deadline:
        time.sleep(0.05)
    equal(still_there(objects), set(), "left behind")
    equal({e for e in trace_files() - events if str(tool.process.pid) in e}, set(), "trace events left behind")


@case
def traced_process_unharmed(t):
    """a server goes on serving after the tool was killed in the middle of a request"""
    server = PythonServer(t)
    client = t.gated(["curl", "-s", "-o", "/dev/null", f"{server.url}/bytes/{64 << 20}"])
    tool = t.snoop(pids=[server, client])
    client.release()
    time.sleep(0.02)
    tool.process.end()
    client.done()
    t.spawn(["curl", "-sf", "-o", "/dev/null", server.url + "/bytes/1"]).done()
