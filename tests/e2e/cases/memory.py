# SPDX-License-Identifier: Apache-2.0
"""Memory of the tool: many connections come and go, many stay open."""

import time

from servers import PoolServer
from tap import case, check, equal
from truth import flatten

from cases.output import mapped_kib, status_kib
from cases.processes import check_numbered

WITHOUT_RING_MIB_MAX = 64
CONNECTIONS, HALF_OPEN = 20_000, 2_000


def check_memory(t, tool, when):
    rss, ring = status_kib(tool.process.pid, "VmRSS"), mapped_kib(tool.process.pid, "bpf")
    t.diag(f"{when}: resident {(rss - ring) / 1024:.1f} MiB without the ring")
    check(rss - ring < WITHOUT_RING_MIB_MAX * 1024, f"{when}: {rss - ring} KiB without the ring")


def wait_for_conns(tool, count):
    """Wait until the tool follows so many connections."""
    deadline = time.monotonic() + 20
    followed = None
    while followed != count:
        reports = tool.records("stats")
        followed = reports[-1]["stats"]["conns"] if reports else None
        check(time.monotonic() < deadline, f"{followed} connections followed, {count} expected")
        time.sleep(0.05)


@case
def memory_of_many_connections(t):
    """20,000 connections opened and closed: every exchange, memory bounded"""
    server = PoolServer(t)
    client = t.gated([t.program("pool"), "churn", str(server.port), "20", str(CONNECTIONS // 20)])
    tool = t.snoop("--ring-size", 128, pids=[server, client])
    check_memory(t, tool, "before")
    client.release()
    client.done()
    check_memory(t, tool, "after 20,000 connections")
    check_numbered(tool.interrupt(), CONNECTIONS)
    summary = tool.summary()["stats"]
    equal((summary["gaps"], summary["parse_errors"], summary["evicted"]), (0, 0, 0), "gaps, parse errors, evictions")


def half_of(exchange):
    flat = flatten(exchange)
    return tuple(flat[key] for key in ("side", "target", "status", "missing_response", "request_flags"))


@case
def memory_of_half_heads(t):
    """2,000 connections with half a request head stay open, then end: each reported as aborted, memory bounded"""
    server = PoolServer(t)
    client = t.gated([t.program("pool"), "half", str(server.port), str(HALF_OPEN)])
    after = t.gated([t.program("pool"), "own", str(server.port), "4", "10"])
    tool = t.snoop("--stats", "0.1", pids=[server, client, after])
    check_memory(t, tool, "before")
    client.tell()
    client.wait_ready()
    wait_for_conns(tool, 2 * HALF_OPEN)
    check_memory(t, tool, "2,000 connections open")
    client.release()
    client.done()
    wait_for_conns(tool, 0)
    check_memory(t, tool, "all closed")
    after.release()
    after.done()
    exchanges = tool.interrupt()
    check_numbered([e for e in exchanges if e["complete"]], 40)
    halves = sorted(half_of(e) for e in exchanges if not e["complete"])
    aborted = (None, "aborted", ["aborted"])
    expected = sorted((side, f"/half/{i}", *aborted) for side in ("client", "server") for i in range(HALF_OPEN))
    check(halves == expected, f"{len(halves)} requests without their end: {halves[:3]}")
