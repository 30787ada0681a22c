# SPDX-License-Identifier: Apache-2.0
"""What guest.py tests of containers: their cgroups, by cgroup v2 and by v1, as runtimes make and describe them."""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import traffic
from harness import Tap, Tool, note, stop

ID = "c0ffee" + "0123456789" * 5 + "abcdef00"
CGROUPS = Path("/sys/fs/cgroup")
URL = f"http://{traffic.HOST}:{traffic.ECHO}"
ANNOTATIONS = {"io.kubernetes.cri.container-name": "web", "io.kubernetes.cri.image-name": "web:1",
               "io.kubernetes.cri.sandbox-name": "web-0", "io.kubernetes.cri.sandbox-namespace": "shop"}


def describe():
    """What crun and the runtime above it write about the container."""
    bundle, state = Path("/run/bundle"), Path("/run/crun") / ID
    bundle.mkdir(exist_ok=True)
    state.mkdir(parents=True, exist_ok=True)
    (bundle / "config.json").write_text(json.dumps({"annotations": ANNOTATIONS}), encoding="ascii")
    (state / "status").write_text(json.dumps({"bundle": str(bundle)}), encoding="ascii")


def mount_v1():
    """Controllers as v1 hierarchies, v2 without any beside them: what systemd calls hybrid."""
    for command in (["umount", CGROUPS], ["mount", "-t", "tmpfs", "tmpfs", CGROUPS]):
        subprocess.run(command, check=True)
    for name, options in (("pids", ["-t", "cgroup", "-o", "pids"]), ("unified", ["-t", "cgroup2"])):
        (CGROUPS / name).mkdir()
        subprocess.run(["mount", *options, "cgroup", CGROUPS / name], check=True)
    return CGROUPS / "pids"


def request(cgroup, target):
    """A request from a process in a cgroup and in a pid namespace of its own."""
    script = 'echo $$ >"$1/cgroup.procs" && exec unshare --pid --fork curl -sS -o /dev/null "$2"'
    subprocess.run(["sh", "-c", script, "sh", cgroup, URL + target], check=True)


def remove(cgroup):
    if cgroup.exists():
        cgroup.rmdir()


def wrong(exchanges, targets):
    """What is wrong with exchanges that are to be those of the container, with these targets."""
    problems = []
    if [e["request"]["target"] for e in exchanges] != targets:
        problems.append(f"{targets} expected: {exchanges}")
    for exchange in exchanges:
        container, process = exchange.get("container", {}), exchange["process"]
        if container.get("name") != "web" or container.get("pod", {}).get("namespace") != "shop":
            problems.append(f"container {container} of {exchange['request']['target']}")
        if process.get("ns_pid") != 1:
            problems.append(f"pid in the container: {process}")
    return problems


def test_filter(tap, run, kind, root, version):
    """--pod: what runs in the container and in cgroups below it, whether it comes before or after the tool."""
    name = f"containers, {version}, {kind}"
    parent = root / "kubepods" / "pod12345678-1234-1234-1234-123456789abc"
    own, below = parent / ID, parent / ID / "init"
    parent.mkdir(parents=True)
    with Tool(run, kind, "--pod", "shop/web-*") as tool:
        own.mkdir()
        below.mkdir()
        request(root, "/outside")
        request(own, "/inside")
        request(below, "/below")
        tool.wait_for(2)
        tap.check(f"{name}: those that come later", tool.problems() + wrong(tool.exchanges(), ["/inside", "/below"]))
        tool.interrupt()
        note(tool.messages())
    with Tool(run, kind, "--container", ID[:12]) as tool:
        request(own, "/again")
        below.rmdir()
        own.rmdir()  # and another one with the same name, but another id
        own.mkdir()
        request(own, "/another")
        request(parent, "/parent")
        tool.wait_for(2)
        tap.check(f"{name}: those that are there", tool.problems() + wrong(tool.exchanges(), ["/again", "/another"]))
        tool.interrupt()
    for cgroup in (own, parent, parent.parent):
        remove(cgroup)


def test(tap, run, kinds):
    """Of cgroup v2, then, with the last of kinds, of v1: the machine is left with that. Servers have to be there."""
    describe()
    for kind in kinds:
        test_filter(tap, run, kind, CGROUPS, "cgroup v2")
    test_filter(tap, run, kinds[-1], mount_v1(), "cgroup v1")


def main():
    """Alone, with servers of its own; arguments are kinds."""
    tap = Tap()
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory)
        os.environ["XDG_CACHE_HOME"] = directory
        servers = traffic.start_servers(run / "servers")
        try:
            test(tap, run, sys.argv[1:] or ["tracepoint"])
        finally:
            stop(servers)
    return tap.end()


if __name__ == "__main__":
    raise SystemExit(main())
