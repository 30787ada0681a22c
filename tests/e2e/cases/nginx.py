# SPDX-License-Identifier: Apache-2.0
"""nginx, checked against its access log."""

from harness import read_log
from pattern import pattern
from scenario import of_side
from servers import Nginx, PythonServer
from tap import case, check, equal
from truth import check_kept_prefix, compare, flatten, mirror

SIZES = (0, 1, 1000, 100_000, 3_000_000)


def fetch(t, server, paths, *traced):
    """One curl gets all paths; returns (its pid, the access log, exchanges of it and the traced processes)."""
    client = t.gated(["curl", "-s", *[word for path in paths for word in ("-o", "/dev/null", server.url + path)]])
    tool = t.snoop(pids=[*traced, client])
    client.release()
    client.done()
    log = read_log(server.log, len(paths))
    return client.pid, log, tool.interrupt()


@case
def nginx_static(t):
    """nginx without sendfile: sizes, statuses and wire bytes of its access log, on both sides"""
    server = Nginx(t, "off", SIZES)
    paths = [f"/{size}.bin" for size in SIZES] + ["/missing"]
    pid, log, exchanges = fetch(t, server, paths, server)
    compare(log + [mirror(truth, pid=pid) for truth in log], exchanges)
    for exchange in exchanges:
        size = exchange["response"]["body"]["size_bytes"]
        if exchange["response"]["status"] == 200:
            check_kept_prefix(exchange, "response", pattern(size))


@case
def nginx_sendfile(t):
    """nginx with sendfile: whole bodies at the client; at the server true sizes, and a gap or the very bytes"""
    server = Nginx(t, "on", SIZES)
    pid, log, exchanges = fetch(t, server, [f"/{size}.bin" for size in SIZES], server)
    at_client = [mirror(truth, pid=pid, response_captured=truth["response_bytes"]) for truth in log]
    # A tool that can read the file that was sent may show it; one that cannot must say so.
    blind = {flatten(e)["target"] for e in of_side(exchanges, "server") if flatten(e)["response_state"] == "gap"}
    hole = {"response_state": "gap", "complete": False}
    at_server = [{**truth, **(hole if truth["target"] in blind else {})} for truth in log]
    compare(at_client, of_side(exchanges, "client"))
    compare(at_server, of_side(exchanges, "server"))
    for exchange in exchanges:
        check_kept_prefix(exchange, "response", pattern(exchange["response"]["body"]["size_bytes"]))


@case
def nginx_proxy(t):
    """nginx as a proxy: one process that is server on one connection and client on another"""
    upstream = PythonServer(t)
    server = Nginx(t, "off", upstream=upstream.url)
    _, log, exchanges = fetch(t, server, [f"/proxy/bytes/{n}" for n in (10, 50_000, 400_000)], server)
    of_nginx = [e for e in exchanges if e["process"]["pid"] == server.pid]
    compare(log, of_side(of_nginx, "server"))
    compare(upstream.mirrored(3, pid=server.pid), of_side(of_nginx, "client"))
    equal(len(exchanges), 9, "exchanges of curl and of both sides of nginx")
    check(all(e["complete"] for e in exchanges), "an exchange is not complete")
