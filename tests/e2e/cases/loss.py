# SPDX-License-Identifier: Apache-2.0
"""What was lost is said, and nothing is invented."""

import re
import signal
import time
from collections import Counter

from pattern import pattern
from scenario import python_client
from servers import PoolServer, PythonServer
from tap import case, check, equal
from truth import check_kept_prefix, compare, flatten

COUNT = 12  # responses of 2 MiB, through a ring of 1 MiB that nobody reads meanwhile


def happened(server, client):
    """All exchanges of both sides, with the pids of both."""
    return server.served() + server.mirrored(pid=client.pid)


def marks(exchange):
    """What an exchange says of bytes that were lost, or of its missing response."""
    found = {"lost-tail", "after-gap"} & {*exchange["flags"]}
    for which in ("request", "response"):
        message = exchange[which] or {"flags": [], "body": {}}
        found |= {"lost-tail"} & {*message["flags"]}
        found |= {"gap"} & {message["body"].get("state")}
    return found | ({"lost", "unknown"} & {exchange.get("missing_response")})


def check_nothing_invented(truths, exchanges):
    """Every reported exchange happened, at most once; what was kept of its body was sent."""
    keys = ("side", "pid", "local_port", "remote_port", "target", "status")
    real = {tuple(truth[key] for key in keys) for truth in truths}
    reported = Counter()
    for exchange in exchanges:
        flat = flatten(exchange)
        if exchange["request"] and exchange["response"]:
            key = tuple(flat[key] for key in keys)
            check(key in real, f"never happened: {flat}")
            reported[key] += 1
            size = int(flat["target"].split("/")[2].partition("?")[0])
            check_kept_prefix(exchange, "response", pattern(size))
        elif exchange["response"]:
            check_kept_prefix(exchange, "response", pattern(flat["response_bytes"]))
    check(max(reported.values(), default=0) <= 1, f"reported twice: {reported.most_common(1)}")


def check_losses(t, tool, truths, exchanges):
    """The summary counts what was lost; exchanges that are not whole say why; none is invented."""
    check_nothing_invented(truths, exchanges)
    silent = [e for e in exchanges if not e["complete"] and not marks(e)]
    t.diag(f"{len(exchanges)} of {len(truths)} exchanges reported, {sum(map(bool, map(marks, exchanges)))} with a mark")
    t.diag(tool.stderr().splitlines()[-2])
    lost = re.search(r"(\d+) calls \((\d+) bytes\) lost", tool.stderr())
    check(lost, f"the summary does not say how much was lost: {tool.stderr()}")
    check(int(lost.group(2)) > COUNT << 20, f"only {lost.group(2)} bytes lost?")
    check(any(map(marks, exchanges)), "no exchange has a mark of loss")
    shown = [f"{e['side']} {flatten(e)} {(e['response'] or {}).get('flags')}" for e in silent[:2]]
    check(not silent, f"{len(silent)} are not complete and do not say that bytes were lost:\n" + "\n".join(shown))


def while_stopped(tool, action):
    """Run action while the tool does not read its ring; give it time to catch up afterwards."""
    tool.process.send_signal(signal.SIGSTOP)
    action()
    tool.process.send_signal(signal.SIGCONT)
    time.sleep(1)


@case
def ring_overflow(t):
    """a tiny ring and a stopped reader: losses counted and marked, the next connection whole"""
    server = PythonServer(t)
    urls = [word for i in range(COUNT) for word in ("-o", "/dev/null", f"{server.url}/bytes/{2 << 20}?{i}")]
    client = t.gated(["curl", "-s", *urls])
    after = t.gated(["curl", "-s", "-o", "/dev/null", server.url + "/bytes/777"])
    tool = t.snoop("--ring-size", 1, pids=[server, client, after])

    def download():
        client.release()
        client.done()

    while_stopped(tool, download)
    truths = happened(server, client)
    after.release()
    after.done()
    exchanges = tool.interrupt()
    late = [e for e in exchanges if flatten(e)["target"] == "/bytes/777"]
    compare(server.served()[-1:] + server.mirrored(pid=after.pid)[-1:], late)
    check_losses(t, tool, truths, [e for e in exchanges if e not in late])


@case
def overflow_within_connection(t):
    """the same, and the connection goes on: whole exchanges again, one later at the latest"""
    server = PythonServer(t)
    client = t.gated(python_client(server, "flood", COUNT))
    tool = t.snoop("--ring-size", 1, pids=[server, client])

    def download():
        client.tell()
        client.wait_ready()

    while_stopped(tool, download)
    client.release()
    client.done()
    exchanges, truths = tool.interrupt(), happened(server, client)
    late = [e for e in exchanges if (flatten(e)["target"] or "").startswith("/bytes/11?")]
    compare([truth for truth in truths if truth["target"].startswith("/bytes/11?")], late)
    check_losses(t, tool, truths, [e for e in exchanges if e not in late])


@case
def overflow_of_ends(t):
    """ends of connections are lost, and other sockets take their addresses: no gap that nothing was lost from"""
    server = PoolServer(t)
    churn = [t.program("pool"), "churn", str(server.port), "20", "100"]
    tool = t.snoop("--ring-size", 1, pids=[server])
    while_stopped(tool, lambda: t.spawn(churn).done())
    t.spawn(churn).done()
    exchanges = tool.interrupt()
    summary = tool.summary()
    gaps, lost = summary["stats"]["gap_bytes"], summary["lost"]["ring_full"]["bytes"]
    t.diag(f"{len(exchanges)} exchanges, {lost} bytes lost, {gaps} bytes of gaps")
    check(lost > 0, "nothing was lost")
    check(gaps <= lost, f"gaps of {gaps} bytes, but only {lost} were lost")


@case
def no_loss_is_claimed(t):
    """without losses the summary counts the exchanges and says that nothing was lost"""
    server = PythonServer(t)
    client = t.gated(["curl", "-s", "-o", "/dev/null", server.url + "/bytes/10"])
    tool = t.snoop(pids=[server, client])
    client.release()
    client.done()
    equal(len(tool.interrupt()), 2, "exchanges")
    summary = tool.stderr().splitlines()[-1]
    check(re.search(r"\b2 exchanges; nothing lost", summary), f"summary: {summary}")
