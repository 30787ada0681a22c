# SPDX-License-Identifier: Apache-2.0
"""Which of the captured exchanges are shown, and --stats."""

import re
import time

from scenario import of_side
from servers import PythonServer
from tap import case, check, equal
from tool import Httpsnoop
from truth import compare

SLOW_MS = 300
# (method, target, host); the last is slow
REQUESTS = [
    ("GET", "/bytes/10", "one.example"),
    ("GET", "/status/404?a=/b", "two.example:81"),
    ("POST", "/echo", "ONE.example"),
    ("DELETE", "/status/500", "two.example"),
    ("PUT", "/status/503", "three.example"),
    ("GET", f"/sleep/{SLOW_MS}", "one.example"),
]
# options, and which of REQUESTS they choose; both sides unless there is a third
CHOICES = [
    ("--method PUT,DELETE", (3, 4)),
    ("--status 5xx,404", (1, 3, 4)),
    ("--host two.example", (1, 3)),
    ("--path /s*", (1, 3, 4, 5)),
    (f"--min-ms {SLOW_MS}", (5,)),
    ("--side client", range(6), "client"),
    ("--method GET --status 2xx --host *.example --path /* --min-ms 0 --side server", (0, 5), "server"),
    ("--method GET --status 5xx", ()),
]


def curl_of_all(server):
    """One curl that makes REQUESTS in this order."""
    argv = ["curl"]
    for method, target, host in REQUESTS:
        argv += ["--next"] if len(argv) > 1 else []
        argv += ["-s", "-o", "/dev/null", "-X", method, "-H", f"Host: {host}", server.url + target]
    return argv


def run_choice(t, words, *options):
    """Run the tool with these words on curl_of_all(); returns (client pid, server, tool)."""
    server = PythonServer(t)
    client = t.gated(curl_of_all(server))
    tool = t.snoop(*words.split(), *options, pids=[server, client])
    client.release()
    client.done()
    return client.pid, server, tool


@case
def shown_by_filters(t):
    """--method, --status, --host, --path, --min-ms, --side, alone and together; the summary counts both"""
    for words, wanted, *side in CHOICES:
        pid, server, tool = run_choice(t, words)
        exchanges = tool.interrupt()
        log, mirrored = server.served(6), server.mirrored(6, pid=pid)
        truths = [truth for of_one in (log, mirrored) for i, truth in enumerate(of_one) if i in wanted]
        compare(of_side_or_all(truths, side), exchanges)
        summary = tool.summary()["stats"]
        equal((summary["exchanges"], summary["shown"]), (12, len(exchanges)), f"{words}: captured and shown")
        shown = f"12 exchanges, {len(exchanges)} shown; nothing lost"
        check(shown in tool.stderr(), f"{words}: not '{shown}' in {tool.stderr()}")


def of_side_or_all(truths, side):
    return of_side(truths, side[0]) if side else truths


@case
def shown_and_counted(t):
    """-n counts what is shown only"""
    _, server, tool = run_choice(t, "--status 5xx --side server", "-n", 2)
    exchanges = tool.finish()
    equal([e["request"]["target"] for e in exchanges], ["/status/500", "/status/503"], "shown")
    equal(tool.summary()["stats"]["shown"], 2, "shown, in the summary")
    server.served(6)


@case
def shown_without_response(t):
    """--status none: what has no response"""
    server = PythonServer(t)
    client = t.gated(["curl", "-s", "-m", "0.3", f"{server.url}/bytes/1", f"{server.url}/sleep/5000"])
    tool = t.snoop("--status", "none", pids=[client])
    client.release()
    equal(client.wait(), 28, "status of curl, which gives up")
    exchanges = tool.interrupt()
    equal([e["request"]["target"] for e in exchanges], ["/sleep/5000"], "shown")
    equal(exchanges[0]["missing_response"], "aborted", "why there is none")


@case
def stats_as_text(t):
    """--stats: a line on stderr every so often"""
    server = PythonServer(t)
    client = t.gated(["curl", "-s", "-o", "/dev/null", server.url + "/bytes/1"])
    tool = Httpsnoop(t, ["--stats", "0.2", "-p", client.pid])
    client.release()
    client.done()
    time.sleep(1.1)
    tool.stop()
    lines = tool.stderr().splitlines()
    interim, last = lines[1:-1], lines[-1]
    check(2 <= len(interim) <= 6, f"{len(interim)} lines in 1.1 s, every 0.2 s: {lines}")
    for line in (*interim[1:], last):
        check(re.fullmatch(r"httpsnoop: 1 exchange; nothing lost", line), line)


@case
def stats_as_json(t):
    """--stats with -j: objects among the others, with counters that never fall, and nothing on stderr"""
    server = PythonServer(t)
    client = t.gated(["curl", "-s", "-o", "/dev/null", server.url + "/bytes/1"])
    tool = t.snoop("--stats", "0.2", pids=[client])
    client.release()
    client.done()
    time.sleep(1.1)
    tool.stop()
    reports = tool.records("stats")
    check(2 <= len(reports) <= 6, f"{len(reports)} objects in 1.1 s, every 0.2 s")
    equal(len(tool.stderr().splitlines()), 2, "lines on stderr")
    summary = tool.summary()
    equal({tuple(r) for r in reports}, {tuple(summary)}, "names in stats and summary")
    equal(reports[-1]["stats"]["exchanges"], 1, "exchanges")
    for earlier, later in zip(reports, [*reports[1:], summary]):
        for name, value in earlier["stats"].items():
            falls = name in ("conns", "waiting_bytes")
            check(falls or later["stats"][name] >= value, f"{name} falls from {value} to {later['stats'][name]}")
