# SPDX-License-Identifier: Apache-2.0
"""Many threads in TLS calls at once: probes on them interrupt each other, on new kernels (6.13) anywhere."""

import glob
import os
import re
import signal
import subprocess
import time

from harness import need
from pattern import tls_numbered_bodies
from servers import TlsPoolServer
from tap import Failure, Skip, case, check, equal
from tls import Certificate, program
from truth import body_bytes, check_kept_prefix, flatten

from cases.loss import marks

THREADS, COUNT = 32, 100
LOSSY_COUNT = 40


def number_of(exchange):
    return int(exchange["request"]["target"][1:])


def check_all(exchanges, count):
    """Fail unless these are the exchanges of tls_pool.c with numbers below count, once per side, every byte right."""
    seen = set()
    for exchange in exchanges:
        key = exchange["side"], number_of(exchange)
        if key in seen or key[1] >= count or not exchange["complete"] or exchange["response"]["status"] != 200:
            raise Failure(f"twice, never asked for, or not whole: {flatten(exchange)}")
        seen.add(key)
        for which, body in zip(("request", "response"), tls_numbered_bodies(key[1])):
            if body_bytes(exchange[which]["body"]) != body:
                raise Failure(f"wrong {which} body: {flatten(exchange)}")
    for side in ("client", "server"):
        equal(sum(key[0] == side for key in seen), count, f"exchanges at the {side}")


def pool(t, count, *options):
    """sslsniff on a server and a client of THREADS threads, which waits; count exchanges each."""
    program(t, "tls_pool")
    server = TlsPoolServer(t, Certificate(t))
    client = t.gated([t.program("tls_pool"), "client", str(server.port), str(THREADS), str(count)])
    tool = t.sslsniff(*options, pids=[server, client])
    return client, tool


@case
def tls_stress(t):
    """32 threads, 100 exchanges each, of sizes up to 100 KB: none missing, none doubled, every byte right"""
    # What is tested are the probes; the reader, which gets its share of two busy CPUs only, need not keep up.
    client, tool = pool(t, COUNT, "--ring-size", 512, "--show-secrets")
    client.release()
    client.done()
    exchanges = tool.interrupt()
    check_all(exchanges, THREADS * COUNT)
    stats = tool.summary()["stats"]
    equal((stats["gaps"], stats["parse_errors"], stats["forced"]), (0, 0, 0), "gaps, parse errors, forced")
    equal({e["tls"]["resolved"] for e in exchanges}, {"set_fd"}, "how addresses were found")


def kept(exchange, which):
    return body_bytes((exchange[which] or {}).get("body"))


def check_what_is_left(t, exchanges, count):
    """
    Nothing is invented: what was kept of a body is its beginning, and what is not whole says so. Only where messages
    may be missing, and that is said, a response can be that of another request.
    """
    seen, whole = set(), 0
    starts = {tls_numbered_bodies(number)[1][:32] for number in range(count)}
    for exchange in exchanges:
        doubtful = "after-gap" in exchange["flags"]
        if exchange["request"]:
            key = exchange["side"], number_of(exchange)
            check(key not in seen and key[1] < count, f"twice or never asked for: {flatten(exchange)}")
            seen.add(key)
            whole += exchange["complete"]
            check_kept_prefix(exchange, "request", tls_numbered_bodies(key[1])[0])
            if not doubtful:
                check_kept_prefix(exchange, "response", tls_numbered_bodies(key[1])[1])
        has_reason = exchange["complete"] or not exchange["request"] or doubtful or marks(exchange)
        check(has_reason, f"not whole, with no reason: {flatten(exchange)}")
        start = kept(exchange, "response")[:32]
        check(len(start) < 32 or start in starts, f"nobody sent this response: {flatten(exchange)}")
    t.diag(f"{len(exchanges)} of {2 * count} exchanges, {whole} of them whole")


@case
def tls_stress_small_ring(t):
    """the same with a ring of 1 MiB and a reader that stops: every lost byte is accounted for, no body is wrong"""
    client, tool = pool(t, LOSSY_COUNT, "--ring-size", 1)
    client.release()
    while client.poll() is None:
        tool.process.send_signal(signal.SIGSTOP)
        time.sleep(0.4)
        tool.process.send_signal(signal.SIGCONT)
        time.sleep(0.2)
    client.done()
    exchanges = tool.interrupt()  # which holds the ledger's sums against each other
    lost = tool.summary()["lost"]["ring_full"]
    check(lost["bytes"] > 0, "nothing was lost: this shows nothing")
    t.diag(f"{lost['events']} calls ({lost['bytes']} bytes) lost")
    check_what_is_left(t, exchanges, THREADS * LOSSY_COUNT)


def programs_of(tool):
    """The BPF programs that the tool holds: type, name, instructions as the verifier has left them."""
    ids = set()
    for path in glob.glob(f"/proc/{tool.process.pid}/fdinfo/*"):
        try:
            with open(path, encoding="utf-8") as file:
                ids.update(re.findall(r"^prog_id:\s*(\d+)$", file.read(), re.MULTILINE))
        except OSError:  # closed meanwhile
            continue
    for number in sorted(ids, key=int):
        show, dump = (subprocess.run(["bpftool", "prog", *words, "id", number], capture_output=True, text=True,
                                     check=True).stdout for words in (["show"], ["dump", "xlated"]))
        kind, name = re.match(r"\d+: (\w+)\s+name (\w+)", show).groups()
        yield kind, name, dump


@case
def tls_stress_own_stack(t):
    """a program on a uprobe that has its stack per CPU, being without tail calls, forbids preemption before it uses it"""
    need("bpftool")
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 13):
        raise Skip("on kernels before 6.13 the stack is that of the task")
    client, tool = pool(t, 1)
    programs = list(programs_of(tool))
    client.release()
    client.done()
    tool.interrupt()
    of_uprobes = {name: re.findall(r"\bcall (\w+)", dump) for kind, name, dump in programs if kind == "kprobe"}
    t.diag(f"programs on uprobes: {' '.join(sorted(of_uprobes))}")
    check({"tls_enter", "tls_return"} <= set(of_uprobes), "those are not all programs on uprobes")
    for name, calls in of_uprobes.items():
        check("bpf_tail_call" in calls or calls[0] == "bpf_preempt_disable", f"{name} begins with {calls[0]}")
