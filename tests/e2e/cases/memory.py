# SPDX-License-Identifier: Apache-2.0
"""Memory of the tool: many connections come and go, many stay open."""

import time

from servers import PoolServer
from tap import case, check, equal

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
    while True:
        reports = tool.records("stats")
        if reports and reports[-1]["stats"]["conns"] == count:
            return
        check(time.monotonic() < deadline, f"{reports[-1]['stats']['conns']} connections followed, {count} expected")
        time.sleep(0.1)


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


@case
def memory_of_half_heads(t):
    """2,000 connections with half a request head stay open, then end: no exchange, all accounted for, memory bounded"""
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
    check_numbered([e for e in tool.interrupt() if e["complete"]], 40)
