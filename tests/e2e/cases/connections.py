# SPDX-License-Identifier: Apache-2.0
"""How connections begin, end, and change hands."""

import os
import time

from harness import read_log
from pattern import pattern
from scenario import both_sides, client_log, of_side, python_client, traced
from servers import PythonServer, wait_port
from tap import case, check, equal
from truth import check_kept_prefix, compare, flatten


@case
def http10_close(t):
    """HTTP/1.0: bodies that end with the connection, an empty one too"""
    server = PythonServer(t)
    for target in ("/close/50000", "/close/0", "/close/1"):
        both_sides_of_new(t, server, ["curl", "-s", "-0", "-o", "/dev/null", server.url + target])


def both_sides_of_new(t, server, argv):
    """both_sides() for one more request to a server that has served some."""
    before = len(server.served())
    client, exchanges = traced(t, server, argv)
    compare(server.served()[before:] + server.mirrored(pid=client.pid)[before:], exchanges)


@case
def pipelined(t):
    """20 requests in one write: each paired with its own response"""
    server = PythonServer(t)
    client, exchanges = both_sides(t, server, python_client(server, "pipelined", 20), 20)
    compare(client_log(client), of_side(exchanges, "client"))
    got = [e["request"]["target"] for e in of_side(exchanges, "server")]
    equal(got, [f"/bytes/{i * 100}" for i in range(20)], "order")


@case
def interim_responses(t):
    """103 and 100 belong to the final response that follows them"""
    server = PythonServer(t)
    argv = ["curl", "-s", "-o", "/dev/null", "-d", "x", "-H", "Expect: 100-continue", server.url + "/hints"]
    both_sides(t, server, argv, 1)
    equal(server.served()[0]["interim"], [100, 103], "what the server sent")


@case
def tunnels(t):
    """CONNECT and 101: one exchange each, nothing of what follows on the connection"""
    server = PythonServer(t)
    client, exchanges = both_sides(t, server, python_client(server, "tunnels"), 2)
    compare(client_log(client), of_side(exchanges, "client"))


@case
def half_close(t):
    """a client that shuts its sending side down before the response, over TCP and a unix socket"""
    for address in ("127.0.0.1", t.path("socket")):
        server = PythonServer(t, address)
        client, exchanges = both_sides(t, server, python_client(server, "half_close"), 1)
        compare(client_log(client), of_side(exchanges, "client"))


@case
def client_gives_up(t):
    """a client that closes in the middle of a body: what it read, marked as not complete"""
    server = PythonServer(t)
    client, exchanges = traced(t, server, python_client(server, "gives_up"))
    compare([{**truth, "complete": False} for truth in client_log(client)], of_side(exchanges, "client"))
    at_server = of_side(exchanges, "server")
    equal(len(at_server), 1, "exchanges at the server")
    check_kept_prefix(at_server[0], "response", pattern(8_000_000))
    equal(at_server[0]["complete"], False, "complete at the server")


@case
def ipv6(t):
    """IPv6: addresses and ports"""
    server = PythonServer(t, "::1")
    _, exchanges = both_sides(t, server, python_client(server, "keepalive", 5), 5)
    for exchange in exchanges:
        flat = flatten(exchange)
        equal((flat["family"], flat["local_address"], flat["remote_address"]), ("ipv6", "::1", "::1"), "addresses")


@case
def ipv4_addresses(t):
    """IPv4: each end has its own address"""
    server = PythonServer(t)
    argv = ["curl", "-s", "-o", "/dev/null", "--interface", "127.0.0.9", server.url + "/bytes/1"]
    _, exchanges = both_sides(t, server, argv, 1)
    for exchange in exchanges:
        flat = flatten(exchange)
        ends = {"client": ("127.0.0.9", "127.0.0.1"), "server": ("127.0.0.1", "127.0.0.9")}
        equal((flat["local_address"], flat["remote_address"]), ends[flat["side"]], flat["side"])


@case
def unix_path(t):
    """unix socket with a path"""
    server = PythonServer(t, t.path("socket"))
    both_sides(t, server, python_client(server, "keepalive", 6), 6)
    curl = ["curl", "-s", "--unix-socket", server.address, "-o", "/dev/null", "http://x/bytes/3000"]
    both_sides_of_new(t, server, curl)


@case
def unix_abstract(t):
    """unix socket with an abstract name"""
    server = PythonServer(t, f"@plainsight-e2e-{os.getpid()}")
    both_sides(t, server, python_client(server, "keepalive", 6), 6)


@case
def fork_after_accept(t):
    """a child per connection: the child's pid, not its parent's"""
    server = PythonServer(t, mode="fork")
    both_sides(t, server, python_client(server, "threads", 10), 10)
    pids = {truth["pid"] for truth in server.served()}
    check(len(pids) == 10 and server.pid not in pids, "the server did not fork")


def open_early(t, server):
    """A client that has made one request before anything was traced, and waits."""
    client = t.gated(python_client(server, "midstream", 3))
    client.tell()
    client.wait_ready()
    return client


def after_start(truths, **changes):
    return [{**truth, **changes} for truth in truths if "after" in truth["target"]]


@case
def midstream(t):
    """a connection that was open before: what follows is seen, by a thread that sat in recv too"""
    server = PythonServer(t)
    client = open_early(t, server)
    tool = t.snoop(pids=[server, client])
    client.release()
    client.done()
    truths = server.served() + server.mirrored(pid=client.pid)
    compare(after_start(truths, midstream=True), tool.interrupt())


@case
def midstream_server_only(t):
    """the same with only the server traced, blocked in recv when the probes came"""
    server = PythonServer(t, mode="single")
    client = open_early(t, server)
    time.sleep(0.1)
    tool = t.snoop(pids=[server])
    client.release()
    client.done()
    compare(after_start(server.served(), midstream=True), tool.interrupt())


@case
def shortlived(t):
    """200 clients that live a millisecond each: all of them, with their ports and pids"""
    server = PythonServer(t)
    log = t.path("clients.log")
    tool = t.snoop(command=["/bin/sh", "-c", f'exec "$0" "$@" >{log}', t.program("shortlived"), server.port, 200])
    exchanges = tool.finish()
    compare(read_log(log, 200), exchanges)
    compare([{k: v for k, v in truth.items() if k != "pid"} for truth in server.mirrored(200)], exchanges)


@case
def inetd(t):
    """a socket as standard input and output of a shell script (dup2, exec)"""
    log = t.path("handler.log")
    server = t.spawn([t.program("inetd"), t.source("inetd_handler.sh"), log])
    port = wait_port(server)
    tool = t.snoop(pids=[server])
    for i in range(5):
        t.spawn(["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{port}/inetd/{i}"]).done()
    truths = [{**truth, "local_port": port} for truth in read_log(log, 5)]
    compare(truths, tool.interrupt())
