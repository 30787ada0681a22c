# SPDX-License-Identifier: Apache-2.0
"""Text output, and what running costs."""

import os
import re
import time
import unicodedata

from scenario import python_client
from servers import PythonServer
from tap import case, check, equal
from tool import Httpsnoop

START_SECONDS_MAX = 3
RSS_MIB_MAX = 32


def login(server):
    """A curl with something to grep for in its URL and body."""
    return ["curl", "-s", "-o", "/dev/null", "-d", "username=alice&password=secret", server.url + "/echo?login"]


def text_of(t, server, argv, *options):
    """Text output for one traced client; both sides are watched."""
    client = t.gated(argv)
    tool = Httpsnoop(t, [*options, "-p", f"{client.pid},{server.pid}"])
    client.release()
    client.done()
    tool.stop()
    return client, tool.text()


@case
def text_line(t):
    """one line per exchange with comm, pid, method, url, status and the start of the body"""
    server = PythonServer(t)
    client, text = text_of(t, server, login(server))
    lines = text.decode().splitlines()
    equal(len(lines), 2, f"lines {lines}")
    line = next(line for line in lines if f"curl:{client.pid}" in line)
    for word in ("POST", "/echo?login", " 200 ", "username=alice", f"127.0.0.1:{server.port}"):
        check(word in line, f"'{word}' is not in: {line}")


@case
def text_live(t):
    """a line is there at once, through | grep username"""
    server = PythonServer(t)
    client = t.gated(login(server))
    r, w = os.pipe()
    grep = t.spawn(["grep", "--line-buffered", "username"], stdin=r)
    tool = Httpsnoop(t, ["-p", client.pid], stdout=w)
    os.close(r)
    os.close(w)
    client.release()
    client.done()
    answered = time.monotonic()
    while "username=alice" not in grep.stdout() and time.monotonic() - answered < 3:
        time.sleep(0.01)
    seconds = time.monotonic() - answered
    t.diag(f"line at grep {seconds * 1000:.0f} ms after curl ended")
    check(seconds < 1, "no line at grep within a second")
    tool.stop()


@case
def verbose(t):
    """-v has every line that curl -v has for request and response, in the same order"""
    server = PythonServer(t)
    client, text = text_of(t, server, [*login(server), "-v"], "-v", "-c", "curl", "--show-secrets")
    said = [line.rstrip() for line in client.stderr().splitlines() if line[:1] in "<>" and line[:1]]
    check(len(said) > 8, f"curl -v said little: {said}")
    got = iter(line.rstrip() for line in text.decode().splitlines())
    for line in said:
        check(line in got, f"'{line}' is missing or out of order in:\n{text.decode()}")
    check("username=alice&password=secret" in text.decode(), "the body is missing")


@case
def no_raw_control_bytes(t):
    """escape sequences in names, headers and bodies never reach the terminal, in any format"""
    for options in ([], ["-v"], ["-j"], ["-v", "--colour", "never"]):
        server = PythonServer(t)
        _, output = text_of(t, server, python_client(server, "escapes"), *options)
        check(b"escapes" in output, f"{options}: the exchange is missing")
        text = output.decode()  # strict: a lone C1 byte is no UTF-8
        bad = {c for c in text if unicodedata.category(c) in ("Cc", "Cf") and c not in "\n\t"}
        check(not bad, f"{options}: {bad} in {text!r}")


def status_kib(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(rf"^{field}:\s+(\d+) kB", f.read(), re.M).group(1))


def mapped_kib(pid, name):
    """Resident KiB in mappings of this name."""
    total, inside = 0, False
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as f:
        for line in f:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                inside = name in line
            elif inside and line.startswith("Rss:"):
                total += int(line.split()[1])
    return total


@case
def start_and_memory(t):
    """ready within 3 s; resident memory without the ring below 32 MiB, also after 300 exchanges"""
    server = PythonServer(t)
    client = t.gated(python_client(server, "threads", 300))
    tool = t.snoop("--max-body", "64k", pids=[server, client])
    t.diag(f"tracing after {tool.start_seconds:.2f} s")
    check(tool.start_seconds < START_SECONDS_MAX, f"tracing only after {tool.start_seconds:.2f} s")
    for when in ("at start", "after 300 exchanges"):
        rss, ring = status_kib(tool.process.pid, "VmRSS"), mapped_kib(tool.process.pid, "bpf")
        t.diag(f"{when}: VmRSS {rss} KiB, of it the ring {ring} KiB")
        check(rss - ring < RSS_MIB_MAX * 1024, f"{when}: {rss - ring} KiB without the ring")
        if when == "at start":
            client.release()
            client.done()
    equal(len(tool.interrupt()), 600, "exchanges")
