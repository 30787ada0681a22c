# SPDX-License-Identifier: Apache-2.0
"""What was lost is said, and nothing is invented."""

import re
import signal
import time
from collections import Counter

from pattern import pattern
from servers import PythonServer
from tap import case, check, equal
from truth import check_kept_prefix, compare, flatten

BODY_BYTES, COUNT = 2 << 20, 12


def downloads(t, server):
    urls = [word for i in range(COUNT) for word in ("-o", "/dev/null", f"{server.url}/bytes/{BODY_BYTES}?{i}")]
    return t.gated(["curl", "-s", *urls])


def check_nothing_invented(truths, exchanges):
    """Every reported exchange happened, at most once; what was kept of its body was sent."""
    keys = ("side", "pid", "local_port", "remote_port", "target", "status")
    happened = {tuple(truth[key] for key in keys) for truth in truths}
    reported = Counter()
    for exchange in exchanges:
        flat = flatten(exchange)
        if exchange["request"] and exchange["response"]:
            key = tuple(flat[key] for key in keys)
            check(key in happened, f"never happened: {flat}")
            reported[key] += 1
        if exchange["response"]:
            check_kept_prefix(exchange, "response", pattern(BODY_BYTES))
    check(max(reported.values(), default=0) <= 1, f"reported twice: {reported.most_common(1)}")


@case
def ring_overflow(t):
    """a tiny ring and a stopped reader: losses counted, holes marked, the next connection whole"""
    server = PythonServer(t)
    client = downloads(t, server)
    after = t.gated(["curl", "-s", "-o", "/dev/null", server.url + "/bytes/777"])
    tool = t.snoop("--ring-size", 1, pids=[server, client, after])
    tool.process.send_signal(signal.SIGSTOP)
    client.release()
    client.done()
    tool.process.send_signal(signal.SIGCONT)
    time.sleep(1)  # lets it empty the ring
    after.release()
    after.done()
    exchanges = tool.interrupt()
    truths = server.served() + server.mirrored()
    pids = {"client": client.pid, "server": server.pid}
    truths = [{**truth, "pid": pids[truth["side"]]} for truth in truths]
    late = [e for e in exchanges if flatten(e)["target"] == "/bytes/777"]
    early = [e for e in exchanges if e not in late]
    compare(server.served()[-1:] + server.mirrored(pid=after.pid)[-1:], late)
    check_nothing_invented(truths, early)
    holes = [e for e in early if e["response"] and e["response"]["body"]["state"] == "gap"]
    t.diag(f"{len(early)} of {2 * COUNT} exchanges reported, {len(holes)} with a gap")
    check(holes, "no exchange has a gap, though the ring could not hold one of the bodies")
    lost = re.search(r"(\d+)[^\n]*lost|lost[^\n]*?(\d+)", tool.stderr())
    check(lost, f"the summary does not say how much was lost: {tool.stderr()}")
    check(int(lost.group(1) or lost.group(2)) > 0, f"nothing lost? {tool.stderr()}")


@case
def no_loss_is_claimed(t):
    """without losses the summary counts the exchanges and claims none lost"""
    server = PythonServer(t)
    client = t.gated(["curl", "-s", "-o", "/dev/null", server.url + "/bytes/10"])
    tool = t.snoop(pids=[server, client])
    client.release()
    client.done()
    equal(len(tool.interrupt()), 2, "exchanges")
    summary = tool.stderr().splitlines()[-1]
    check(re.search(r"\b2 exchanges", summary), f"no count in: {summary}")
    check(not re.search(r"[1-9]\d* [^,;]*lost", summary), f"a loss is claimed: {summary}")
