# SPDX-License-Identifier: Apache-2.0
"""Processes that wait until they are watched: each goes on, whatever becomes of the tool."""

import os
import random
import time

from harness import need
from scenario import of_side
from servers import PythonServer
from tap import case, check, equal
from tls import Certificate, both_sides, compare_tls, peer_client, peer_log, seen_by

from cases.tls_programs import OPENSSL_BOTH, get

KILLS = 12
RELEASE_SECONDS_MAX = 5
# Starts processes with a TLS library as fast as it can; they connect to nobody.
STARTING = "while :; do curl -s https://127.0.0.1:1/; done"


def state(pid):
    """State and process group of a process, or None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            fields = f.read().rpartition(")")[2].split()
    except OSError:  # gone; also while it is read (ESRCH)
        return None
    return fields[0], int(fields[2])


def stopped(group):
    """Processes of a process group that are stopped."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if state(pid) == ("T", group)]


def check_released(group):
    """Fail if a process of the group stays stopped."""
    deadline = time.monotonic() + RELEASE_SECONDS_MAX
    while True:
        # Each starts, and is stopped, for an instant while probes are left: only one that stays is a failure.
        first = stopped(group)
        time.sleep(0.3)
        left = set(first) & set(stopped(group))
        if not left or time.monotonic() > deadline:
            break
    check(not left, f"stopped for good: {left}")


@case
def tls_hold_killed(t):
    """SIGKILL of the tool at any moment while processes are started and held: none stays stopped"""
    seen, seed = 0, random.Random(1)
    for _ in range(KILLS):
        starter = t.gated(["/bin/sh", "-c", STARTING])
        tool = t.sslsniff(pids=[starter])
        starter.release()
        deadline = time.monotonic() + 0.1 + seed.random() / 5
        while time.monotonic() < deadline:
            seen += bool(stopped(starter.pid))
        tool.process.end()
        check_released(starter.pid)
        starter.end()
    t.diag(f"{seen} looks saw a process that was held")
    check(seen > 0, "no process was held: this shows nothing")


@case
def tls_hold_interrupted(t):
    """the same with Ctrl-C, after which the processes go on by themselves"""
    starter = t.gated(["/bin/sh", "-c", STARTING])
    for i in range(4):
        tool = t.sslsniff(pids=[starter])
        if i == 0:
            starter.release()
        time.sleep(0.3)
        tool.stop()
        check_released(starter.pid)


@case
def tls_hold_setuid(t):
    """a program with the set-user-ID bit that another user executes"""
    need("setpriv", "su")
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    su = [*nobody, "sh", "-c", 'su --help >/dev/null; exec "$@"', "sh"]
    _, exchanges = both_sides(t, server, [*su, *get(server, certificate, ["/bytes/10"])], OPENSSL_BOTH, 1)
    equal(of_side(exchanges, "client")[0]["process"]["uid"], 65534, "user id")


@case
def tls_hold_pid_namespace(t):
    """processes in a pid namespace of their own, held and followed under the ids that they have outside"""
    need("unshare")
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    inside = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", '"$@"; true', "sh"]
    for options, group in (((), None), (("--cgroup",), t.cgroup())):
        calls = peer_client(t, "openssl", "write read", server, "-n", "3")
        client = t.gated([*inside, *map(str, calls)], cgroup=group)
        before = len(server.served())
        where = [*options, group.path] if group else []
        tool = t.sslsniff(*where, pids=[] if group else [client])
        client.release()
        client.done()
        exchanges = tool.interrupt()
        for record in peer_log(client, 3):
            check(record["pid"] < 10, f"a pid of the initial namespace: {record}")
        host = {e["process"]["pid"] for e in exchanges}
        equal(len(host), 1, "processes")
        check(min(host) > client.pid, f"{host} is no pid of this namespace")
        truths = [{**truth, "pid": min(host)} for truth in server.mirrored()[before:]]
        compare_tls(t, seen_by(truths, "openssl"), exchanges)


@case
def tls_no_follow(t):
    """--no-follow: the process's own exchanges and not those of its children, which are not held either"""
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    curl = get(server, certificate, ["/bytes/7"])
    shell = ["/bin/sh", "-c", '"$@"; exec "$@"', "sh", *curl]
    client = t.gated(shell)
    tool = t.sslsniff("--no-follow", pids=[client])
    client.release()
    client.done()
    truths = server.mirrored(2, pid=client.pid)[1:]
    compare_tls(t, seen_by(truths, "openssl"), tool.interrupt())


@case
def tls_hold_job_control(t):
    """a shell that waits for its jobs, as an interactive one does, is not told that they were stopped"""
    need("bash", "curl")
    tool = t.sslsniff(hold=False, command=["bash", "-c", "set -m; curl -s https://127.0.0.1:1/; echo $?"])
    tool.finish()
    equal(tool.process.stdout(), "7\n", "what curl ended with")  # 147: stopped


@case
def tool_in_pid_namespace(t):
    """a tool in a pid namespace of its own knows processes by other ids than the kernel: it says so"""
    need("unshare")
    inside = ["unshare", "--pid", "--fork", "--mount-proc"]
    tool = t.sslsniff(hold=False, command=["true"], prefix=inside, ready=False)
    tool.wait(1)
    check("run it in that of the host" in tool.stderr(), f"said: {tool.stderr()}")
