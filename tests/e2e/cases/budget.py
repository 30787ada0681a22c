# SPDX-License-Identifier: Apache-2.0
"""--max-cpu and --max-memory under load: the budget holds, by steps that are said and counted."""

import json
import os
import re
import sys
import time
import urllib.request

from harness import need
from servers import Nginx, PythonServer, free_port
from tap import case, check, equal

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """CPU time of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        words = f.read().rpartition(") ")[2].split()
    return (int(words[11]) + int(words[12])) / CLOCK_TICKS


def cpu_percent(pid, seconds):
    """CPU that a process uses from now on, of one CPU."""
    before, started = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - started) * 100


def anonymous_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"RssAnon:\s+(\d+)", f.read())[1]) / 1024


def load(t, url, seconds, connections=64):
    """wrk in a cgroup of its own."""
    need("wrk")
    process = t.gated(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url], cgroup=t.cgroup())
    process.release()
    return process


@case
def budget_cpu(t):
    """under a load that takes more, CPU goes below --max-cpu in steps, and all is captured again when it is over"""
    need("nginx", "wrk")
    server, port = Nginx(t, "on", sizes=(100,)), free_port()
    tool = t.snoop("-o", "/dev/null", "--metrics", f"127.0.0.1:{port}", "--max-cpu", "8", pids=[server])
    wrk = load(t, f"{server.url}/100.bin", 24)
    time.sleep(2)
    at_first = cpu_percent(tool.process.pid, 1)
    time.sleep(13)
    used = cpu_percent(tool.process.pid, 5)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        page = answer.read().decode()
    wrk.wait()
    t.diag(f"CPU of httpsnoop: {at_first:.0f} % at first, {used:.0f} % in the end, of 8")
    check(used <= 10, f"{used:.1f} % of a CPU are used, 8 allowed:\n{tool.stderr()}")
    level = int(re.search(r"^plainsight_budget_level (\d+)$", page, re.M)[1])
    check(level >= 2, f"level {level}: the load was not too much:\n{tool.stderr()}")
    check(re.search(r"^plainsight_left_out_calls_total [1-9]", page, re.M), "no call was left out")
    deadline = time.monotonic() + 150
    while "everything is captured again" not in tool.stderr() and time.monotonic() < deadline:
        time.sleep(0.5)
    steps = re.findall(r"budget: CPU \d+ %(?: of 8)?: (.*)", tool.stderr())
    equal((steps[0], steps[-1]), ("bodies are not captured", "everything is captured again"), "steps")
    tool.stop()
    check(re.search(r"budget: less captured for \d+ s, \d+ steps? down, \d+ up; \d+ calls \(\d+ bytes\) left out",
                    tool.stderr()), f"nothing in the summary:\n{tool.stderr()}")
    check("nothing lost" not in tool.stderr(), "the summary says that nothing was lost")


@case
def budget_returns(t):
    """what was left out is counted, whole connections at a time; the rest is exact, and what comes after is whole"""
    server = PythonServer(t)
    burner = t.gated([sys.executable, "-c", (
        "import http.client,sys,time\n"
        "end=time.time()+8\n"
        "while time.time()<end:\n"
        "  c=http.client.HTTPConnection('127.0.0.1',int(sys.argv[1]))\n"
        "  for i in range(20):\n"
        "    c.request('GET','/echo'); c.getresponse().read()\n"
        "  c.close()\n"), str(server.port)])
    tool = t.snoop("--max-cpu", "1", pids=[server, burner])
    burner.release()
    burner.done()
    time.sleep(0.5)
    stats_before = len(tool.exchanges())
    check(stats_before > 100, f"only {stats_before} exchanges were shown")
    deadline = time.monotonic() + 150
    while "everything is captured again" not in tool.stderr() and time.monotonic() < deadline:
        time.sleep(0.5)
    for _ in range(5):
        with urllib.request.urlopen(f"{server.url}/echo", timeout=5) as answer:
            answer.read()
    time.sleep(0.3)
    after = tool.exchanges()[stats_before:]
    equal(sum(e["complete"] and e["response"]["status"] == 200 for e in after if e["side"] == "server"), 5,
          "whole exchanges after it was over")
    tool.stop()
    stats = tool.summary()["stats"]
    check(stats["budget_steps_down"] >= 1 and stats["budget_level"] == 0, f"steps: {stats}")
    complete = sum(e["complete"] for e in tool.exchanges())
    t.diag(f"{len(tool.exchanges())} exchanges, {complete} whole, {stats['left_out_calls']} calls left out")
    check(complete > 0.9 * len(tool.exchanges()), f"{complete} of {len(tool.exchanges())} exchanges are whole")


@case
def budget_bodies(t):
    """the first step: bodies are counted, not kept, and the probes copy less"""
    need("nginx", "wrk")
    server = Nginx(t, "off", sizes=(1000000,))
    output = t.path("exchanges")
    tool = t.snoop("-o", output, "--max-cpu", "5", "--max-body", "1k", "--metrics", "127.0.0.1:0", pids=[server])
    port = int(re.search(r"metrics: port (\d+)", tool.stderr())[1])
    wrk = load(t, f"{server.url}/1000000.bin", 12, 1)

    def counters():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            page = answer.read().decode()
        return [int(re.search(rf"^plainsight_{name}_total (\d+)$", page, re.M)[1])
                for name in ("captured_bytes", "seen_bytes", "left_out_calls")]

    deadline = time.monotonic() + 8
    while "bodies are not captured" not in tool.stderr() and time.monotonic() < deadline:
        time.sleep(0.1)
    check("bodies are not captured" in tool.stderr(), f"no step:\n{tool.stderr()}")
    copied, moved = counters()[:2]
    time.sleep(2.5)
    later = counters()
    wrk.wait()
    copied, moved = later[0] - copied, later[1] - moved
    t.diag(f"{copied} of {moved} bytes were copied after the step; {later[2]} calls were left out")
    equal(later[2], 0, "calls that were left out: the first step is of bodies only")
    check(moved > 50_000_000, f"only {moved} bytes moved")
    check(copied < 0.2 * moved, f"{copied} of {moved} bytes were copied")
    tool.stop()
    with open(output, encoding="utf-8") as f:
        exchanges = [e for e in map(json.loads, f) if e["type"] == "exchange" and e["response"]]
    without = [e for e in exchanges if e["response"]["body"]["captured_bytes"] == 0]
    check(len(without) > 50, f"{len(without)} of {len(exchanges)} exchanges without body")
    broken = [e for e in without if e["response"]["body"]["size_bytes"] != 1000000 or e["response"]["status"] != 200
              or not e["complete"]]
    check(len(broken) <= 2, f"{len(broken)} of {len(without)} are not whole: {str(broken[:1])[:1500]}")


@case
def budget_memory(t):
    """--max-memory holds while bodies of many connections come in"""
    need("node")
    server = PythonServer(t)
    clients = t.gated([sys.executable, "-c", (
        "import socket,sys,time\n"
        "socks=[]\n"
        "for i in range(400):\n"
        "  s=socket.create_connection(('127.0.0.1',int(sys.argv[1])))\n"
        "  s.sendall(b'POST /echo HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 1000000\\r\\n\\r\\n'+b'x'*200000)\n"
        "  socks.append(s); time.sleep(0.03)\n"
        "time.sleep(3)\n"), str(server.port)])
    tool = t.snoop("--max-body", "256k", "--max-memory", "48", pids=[clients])
    clients.release()
    peak = 0
    while clients.poll() is None:
        peak = max(peak, anonymous_mib(tool.process.pid))
        time.sleep(0.1)
    t.diag(f"at most {peak:.0f} MiB")
    check("budget: memory" in tool.stderr(), f"no step at {peak:.0f} MiB:\n{tool.stderr()}")
    check(peak < 64, f"{peak:.0f} MiB with a budget of 48")
    tool.stop()
