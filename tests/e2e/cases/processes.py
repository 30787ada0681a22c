# SPDX-License-Identifier: Apache-2.0
"""Connections shared by descriptors, threads, processes and namespaces."""

import os

from harness import need
from pattern import numbered_bodies
from scenario import both_sides, python_client
from servers import PoolServer, PythonServer
from tap import Failure, Skip, case, check, equal
from truth import body_bytes, compare, flatten

from cases.unusual import ends

THREADS, COUNT = 32, 1000


@case
def dup_and_dup2(t):
    """every call on another descriptor of the connection, the first ones closed in its middle"""
    ends(t, "dups")


@case
def descriptor_passed(t):
    """SCM_RIGHTS: one process reads the head, another the body, and answers"""
    ends(t, "passed")


@case
def descriptor_inherited(t):
    """a child (vfork, exec) goes on where its parent stopped in the middle of a request"""
    ends(t, "inherited")


@case
def prefork(t):
    """four workers that accept on one socket: each exchange with the pid of its worker"""
    server = PythonServer(t, mode="prefork")
    client = t.gated(python_client(server, "threads", 60))
    tool = t.snoop(pids=[*server.process.children(), client])
    client.release()
    client.done()
    exchanges = tool.interrupt()
    compare(server.served(60) + server.mirrored(60, pid=client.pid), exchanges)
    workers = {truth["pid"] for truth in server.served()}
    check(len(workers) > 1 and server.pid not in workers, f"served by {workers}")


def check_numbered(exchanges, count):
    """Fail unless exchanges are those of pool.c with numbers below count, once per side, every byte right."""
    seen = set()
    for exchange in exchanges:
        key = exchange["side"], int(exchange["request"]["target"][1:])
        if key in seen or key[1] >= count or not exchange["complete"] or exchange["response"]["status"] != 200:
            raise Failure(f"twice, never asked for, or not whole: {flatten(exchange)}")
        seen.add(key)
        for which, body in zip(("request", "response"), numbered_bodies(key[1])):
            if body_bytes(exchange[which]["body"]) != body:
                raise Failure(f"wrong {which} body: {flatten(exchange)}")
    for side in ("client", "server"):
        equal(sum(key[0] == side for key in seen), count, f"exchanges at the {side}")


def pooled(t, kind):
    """THREADS threads, COUNT exchanges each, whose bodies depend on their number; returns the exchanges."""
    server = PoolServer(t)
    client = t.gated([t.program("pool"), kind, str(server.port), str(THREADS), str(COUNT)])
    tool = t.snoop("--ring-size", 128, pids=[server, client])
    client.release()
    client.done()
    exchanges = tool.interrupt()
    check_numbered(exchanges, THREADS * COUNT)
    stats = tool.summary()["stats"]
    equal((stats["gaps"], stats["parse_errors"]), (0, 0), "gaps and parse errors")
    return exchanges


@case
def threads_with_own_connections(t):
    """32 threads, 1,000 exchanges each on connections of their own: none missing, every byte right"""
    exchanges = pooled(t, "own")
    equal(len({e["connection"]["id"] for e in exchanges}), 2 * THREADS, "connection ids")


@case
def threads_sharing_connections(t):
    """32 threads, 1,000 exchanges each on a pool of eight connections: none missing, every byte right"""
    exchanges = pooled(t, "shared")
    at_client = [e for e in exchanges if e["side"] == "client"]
    equal(len({e["connection"]["id"] for e in at_client}), THREADS // 4, "connection ids")
    equal(len({e["process"]["tid"] for e in at_client}), THREADS, "thread ids")


@case
def namespaces(t):
    """client and server in pid and network namespaces of their own, found by cgroup: pids as seen from outside"""
    need("unshare", "nsenter", "ip")
    group = t.cgroup()
    inside = ["unshare", "--net", "--pid", "--fork", "--kill-child", "sh", "-c"]
    if t.spawn([*inside, "ip link set lo up"]).wait():
        raise Skip("no new namespaces")
    server = PythonServer(t, prefix=[*inside, 'ip link set lo up; exec "$@"', "sh"], cgroup=group)
    (server_pid,) = server.process.children()
    enter = ["nsenter", "--target", str(server_pid), "--net", "--pid"]
    client = t.gated([*enter, *python_client(server, "midstream", 5)], cgroup=group)
    tool = t.snoop("--cgroup", group.path)
    client.tell()
    client.wait_ready()
    (client_pid,) = client.children()
    client.release()
    client.done()
    log = server.served(6)
    equal({truth["pid"] for truth in log}, {1}, "the server's pid inside")
    at_server = [{k: v for k, v in {**truth, "pid": server_pid}.items() if k != "tid"} for truth in log]
    compare(at_server + server.mirrored(6, pid=client_pid), tool.interrupt())


@case
def network_namespace_of_another(t):
    """a unix socket between two network namespaces"""
    need("unshare")
    server = PythonServer(t, address=os.path.join(t.dir, "socket"), prefix=["unshare", "--net"])
    both_sides(t, server, python_client(server, "keepalive", 6), 6)
