#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Test of httpsnoop on the kernel of this machine, system-wide: to be run as root in a VM. Prints TAP."""
import base64
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import traffic

TOOL = Path(__file__).resolve().parents[2] / "tools" / "httpsnoop"
MISSED = Path(__file__).resolve().parent / "missed.lua"
KINDS = ("kprobe", "tracepoint")
READY_TIMEOUT_S = 90
EXIT_TIMEOUT_S = 60
SYS_BPF = 321  # x86-64
GET_NEXT_ID = {"prog": 11, "map": 12, "link": 31}  # enum bpf_cmd
KPROBE_EVENTS = "/sys/kernel/tracing/kprobe_events"
IDLE_CONNECTIONS = 16


# ---- TAP ------------------------------------------------------------------------------------------------------------

class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def check(self, name, problems):
        """Passes when there are no problems, a list of anything; shows the first ones otherwise."""
        self.count += 1
        self.failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {self.count} - {name}", flush=True)
        for problem in problems[:8]:
            note(problem)
        if len(problems) > 8:
            note(f"... {len(problems)} in all")

    def end(self):
        print(f"1..{self.count}", flush=True)
        return 1 if self.failed else 0


def note(text):
    for line in str(text).splitlines():
        print(f"# {line[:400]}", flush=True)


# ---- the tool under test --------------------------------------------------------------------------------------------

class Tool:
    """httpsnoop, started and all probes attached; use as a context so that none is left running."""

    def __init__(self, run, kind, *options):
        self.out, self.err = run / f"out-{len(list(run.glob('out-*')))}", run / f"err-{len(list(run.glob('err-*')))}"
        command = [TOOL, "-j", "--max-body", "1M", "--attach", kind, *map(str, options)]
        started = time.monotonic()
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err)
        while not self.is_ready() and self.process.poll() is None and time.monotonic() - started < READY_TIMEOUT_S:
            time.sleep(0.05)
        self.start_s = time.monotonic() - started

    def is_ready(self):
        return "tracing" in self.messages()

    def messages(self):
        return self.err.read_text(encoding="utf-8", errors="replace")

    def problems(self):
        """Why the tool is not at work; empty when it is."""
        if self.is_ready():
            return []
        return [f"exit status {self.process.poll()} after {self.start_s:.1f} s", self.messages()]

    def interrupt(self):
        """Sends SIGINT as Ctrl-C would; returns the exit status and the seconds that it took."""
        asked = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        return self.wait(), time.monotonic() - asked

    def wait(self):
        try:
            return self.process.wait(EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return "still running"

    def wait_for(self, count):
        """Until it has printed count exchanges, and a little longer for any too many."""
        deadline = time.monotonic() + 10
        while self.out.read_bytes().count(b"\n") < count and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)

    def exchanges(self):
        """What it has reported."""
        records = [json.loads(line) for line in self.out.read_bytes().splitlines()]
        return [record for record in records if record["type"] == "exchange"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def bpf_ids(command):
    """
    Ids of the programs, maps or links that the kernel has. Not from bpftool: it opens each of them, and an object that
    is opened while its owner is being killed may then stay for good.
    """
    attr = struct.pack("III", 0, 0, 0)  # start_id, next_id, open_flags
    while True:
        buffer = ctypes.create_string_buffer(attr, len(attr))
        if ctypes.CDLL(None).syscall(SYS_BPF, command, buffer, len(attr)) != 0:
            return
        number = struct.unpack("III", buffer.raw)[1]
        yield number
        attr = struct.pack("III", number, 0, 0)


def attached():
    """All that is attached to this kernel or loaded into it by BPF and tracing."""
    found = set()
    for path in (KPROBE_EVENTS, "/sys/kernel/tracing/uprobe_events", "/sys/kernel/debug/kprobes/list"):
        found |= {f"{path}: {line}" for line in Path(path).read_text(encoding="ascii").splitlines()}
    for kind, command in GET_NEXT_ID.items():
        found |= {f"{kind} {number}" for number in bpf_ids(command)}
    return found


def skipped_runs():
    """Lines about programs that the kernel did not run because the last run was not over."""
    listing = subprocess.run(["bpftool", "-j", "prog", "list"], stdout=subprocess.PIPE, check=True).stdout
    return [f"{one['name']}: {one['recursion_misses']} runs skipped" for one in json.loads(listing or "[]")
            if one.get("recursion_misses")]


def left_behind(before):
    """What is attached that was not before; the kernel may take its time to free things."""
    deadline = time.monotonic() + 30
    while (left := attached() - before) and time.monotonic() < deadline:
        time.sleep(0.5)
    return sorted(left)


# ---- what was reported against what was done ------------------------------------------------------------------------

def target_of(record):
    """None when the request was not seen."""
    return (record["request"] or {}).get("target")


def by_target(records, side):
    found = {}
    for record in records:
        if record["side"] == side:
            found.setdefault(target_of(record), []).append(record)
    return found


def body_bytes(message):
    body = message.get("body") or {}
    if "base64" in body:
        return base64.b64decode(body["base64"])
    return body.get("text", "").encode("utf-8")


def message_flags(record, done):
    """Of the response: the body that a server sends with sendfile never was in its memory."""
    is_sendfile = record["side"] == "server" and "nsendfile" in done["target"] and done["received"]
    return ["from-file"] if is_sendfile else []


def pairs(records, exchanges):
    """Every (record, exchange) that belong together."""
    known = {done["target"]: done for done in exchanges}
    return [(record, known[target_of(record)]) for record in records if target_of(record) in known]


def differences(records, exchanges, reported, done):
    """Lines about all records whose reported(record) is not done(record, exchange)."""
    lines = []
    for record, one in pairs(records, exchanges):
        got, want = reported(record), done(record, one)
        if got != want:
            lines.append(f"{record['side']} {one['method']} {one['target']}: "
                         f"{str(got)[:120]!r} instead of {str(want)[:120]!r}")
    return lines


def counts(records, exchanges, sides=("client", "server")):
    """Lines about all exchanges not reported exactly once per side, and all that never were."""
    lines, targets = [], {done["target"] for done in exchanges}
    for side in sides:
        found = by_target(records, side)
        lines += [f"{side} {done['method']} {done['target']}: {len(found.get(done['target'], []))} times"
                  for done in exchanges if len(found.get(done["target"], [])) != 1]
    lines += [f"unknown: {record['side']} {target_of(record)}"
              for record in records if target_of(record) not in targets or record["side"] not in sides]
    return lines


def endpoints(record):
    """[local (address, port), remote], or [path] of a unix socket."""
    connection = record["connection"]
    if connection["transport"] == "unix":
        return [connection.get("path")]
    return [(connection[end]["address"], connection[end]["port"]) for end in ("local", "remote")]


def expected_endpoints(record, done, account):
    """The same from what client and server say; only the server's log knows the client's port."""
    if len(done["server"]) == 1:
        return done["server"]
    server = tuple(done["server"])
    client = (server[0], account[done["target"]][0]["port"])
    return [client, server] if record["side"] == "client" else [server, client]


# Fields that differ between two runs of the same traffic: times, ids, ports of clients; and the executable, which
# is found out only while the process lives.
VOLATILE_FIELD = re.compile(r"(^|[._])(pid|tid|port|id|ns|time|exe)$")
VOLATILE_HEADERS = ("date", "last-modified", "etag")


def flattened(value, path=""):
    """{"request.body.size_bytes": 5, ...} without what differs between two runs of the same traffic."""
    if isinstance(value, dict):
        if str(value.get("name")).lower() in VOLATILE_HEADERS:
            value = {"name": value["name"]}
        items = [(f"{path}.{key}" if path else key, one) for key, one in value.items()]
    elif isinstance(value, list):
        items = [(f"{path}[{i}]", one) for i, one in enumerate(value)]
    else:
        return {} if VOLATILE_FIELD.search(path) else {path: value}
    return {key: leaf for name, one in items for key, leaf in flattened(one, name).items()}


def disagreements(records, others):
    """Lines about all that two runs of the same traffic report differently."""
    lines = []
    for side in ("client", "server"):
        one, two = ({target: flattened(found[0]) for target, found in by_target(run, side).items()}
                    for run in (records, others))
        lines += [f"{side} {target}: reported by one only" for target in set(one) ^ set(two)]
        for target in sorted(set(one) & set(two), key=str):
            lines += [f"{side} {target}: {path}: {one[target].get(path)!r:.80} / {two[target].get(path)!r:.80}"
                      for path in sorted(set(one[target]) | set(two[target]))
                      if one[target].get(path) != two[target].get(path)]
    return lines


# ---- tests ----------------------------------------------------------------------------------------------------------

def check_records(tap, kind, records, exchanges, account):
    """Compares all that the tool reported with what clients and servers say."""
    tap.check(f"{kind}: every exchange once on either side, nothing else", counts(records, exchanges))
    tap.check(f"{kind}: every request has its response",
              [f"{record['side']} {target_of(record)}" for record in records if not record["response"]])
    records = [record for record in records if record["response"]]
    tap.check(f"{kind}: methods and statuses",
              differences(records, exchanges, lambda r: (r["request"]["method"], r["response"]["status"]),
                          lambda r, done: (done["method"], done["status"])))
    tap.check(f"{kind}: all are complete and seen from their first byte, bodies of sendfile too",
              differences(records, exchanges,
                          lambda r: (r["complete"], r["response"]["body"]["state"], r["flags"], r["response"]["flags"]),
                          lambda r, done: (True, "complete", [], message_flags(r, done))))
    tap.check(f"{kind}: request bodies byte for byte",
              differences(records, exchanges, lambda r: body_bytes(r["request"]), lambda r, done: done["sent"]))
    tap.check(f"{kind}: response bodies byte for byte, none invented",
              differences(records, exchanges, lambda r: body_bytes(r["response"]), lambda r, done: done["received"]))
    tap.check(f"{kind}: body sizes",
              differences(records, exchanges, lambda r: [r[m]["body"]["size_bytes"] for m in ("request", "response")],
                          lambda r, done: [len(done["sent"]), len(done["received"])]))
    logged = [done for done in exchanges if done["target"] in account]
    tap.check(f"{kind}: addresses and ports, path of a unix socket",
              differences(records, logged, endpoints, lambda r, done: expected_endpoints(r, done, account)))
    tap.check(f"{kind}: processes",
              differences(records, logged, lambda r: (r["process"]["pid"], r["process"]["comm"]),
                          lambda r, done: (done["pid"], done["comm"]) if r["side"] == "client"
                          else (account[done["target"]][0]["pid"], account[done["target"]][0]["comm"])))


def open_idle():
    """Connections that keep one thread of the server each in recv(), as idle keep-alive connections do."""
    return [socket.create_connection((traffic.HOST, traffic.ECHO)) for _ in range(IDLE_CONNECTIONS)]


def send_traffic(run, idle):
    """All clients, then one of the idle connections; returns exchanges and servers' account."""
    exchanges = traffic.all_clients(run) + [traffic.get(idle[0], "/idle")]
    return exchanges, traffic.server_account(run, len(exchanges))


def stop(servers):
    for server in servers:
        server.terminate()
    for server in servers:
        server.wait()


def check_summary(tap, kind, status, messages, exchanges):
    tap.check(f"{kind}: SIGINT ends it with status 0 and a summary: all exchanges, nothing lost",
              [] if status == 0 and f" {2 * len(exchanges)} exchanges; nothing lost\n" in messages else
              [f"status {status}, {2 * len(exchanges)} exchanges", messages])


def leave_definition():
    """As tools do that were killed together with their reaper."""
    events = os.open(KPROBE_EVENTS, os.O_WRONLY | os.O_APPEND)
    os.write(events, b"p:plainsight_999999/left __x64_sys_close\n")
    os.close(events)


def run_traffic(tap, kind, tool, run, idle):
    """Sends all traffic, ends the tool and compares; returns the records."""
    exchanges, account = send_traffic(run, idle)
    skipped = skipped_runs()
    status, exit_s = tool.interrupt()
    note(f"{kind}: {exit_s:.1f} s from SIGINT to exit")
    note(tool.messages())
    check_summary(tap, kind, status, tool.messages(), exchanges)
    tap.check(f"{kind}: the kernel ran the probes every time", skipped)
    tap.check(f"{kind}: clients and servers tell the same",
              [done["target"] for done in exchanges if len(account.get(done["target"], [])) != 1])
    check_records(tap, kind, tool.exchanges(), exchanges, account)
    return tool.exchanges()


def test_system_wide(tap, run, kind):
    """All traffic, while many threads wait in recv(). Returns the records.

    A tracepoint sees the end of calls that were waiting when it was attached; kretprobes cannot.
    """
    records, before = [], attached()
    if kind == "kprobe":
        leave_definition()
    servers = traffic.start_servers(run / "servers")
    idle = open_idle() if kind == "tracepoint" else []
    try:
        with Tool(run, kind) as tool:
            tap.check(f"{kind}: attaches", tool.problems())
            note(f"{kind}: {tool.start_s:.1f} s from start to attached")
            idle = idle or open_idle()
            if tool.is_ready():
                records = run_traffic(tap, kind, tool, run / "servers", idle)
    finally:
        for connection in idle:
            connection.close()
        stop(servers)
        shutil.rmtree(run / "servers")  # the next run has the same paths
    tap.check(f"{kind}: nothing stays attached", left_behind(before))
    return records


def test_command(tap, run, kind, servers_run):
    """-- COMMAND reports what the command does and nothing that others do at the same time."""
    url = f"http://{traffic.HOST}:{traffic.ECHO}"
    # The command waits for a request by somebody else before its own.
    script = f"while [ ! -e {run}/others-{kind} ]; do sleep 0.1; done; curl -sS {url}/command-{kind} -o /dev/null"
    with Tool(run, kind, "--", "sh", "-c", script) as tool:
        traffic.curl(servers_run, f"{url}/others-{kind}")
        (run / f"others-{kind}").touch()
        status = tool.wait()
        problems = counts(tool.exchanges(), [{"method": "GET", "target": f"/command-{kind}"}], ("client",))
        tap.check(f"{kind}: -- COMMAND reports the command only, and ends with it",
                  problems + ([] if status == 0 else [f"exit status {status}", tool.messages()]))


def test_pid_and_kill(tap, run, kind, servers_run):
    """-p reports that process and nothing that others do at the same time; even SIGKILL leaves nothing behind."""
    url = f"http://{traffic.HOST}:{traffic.ECHO}"
    waiting = [sys.executable, traffic.__file__, "after-line", "keep-alive", str(traffic.ECHO), f"/pid-{kind}", "3"]
    before = attached()
    with subprocess.Popen(waiting, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        with Tool(run, kind, "-p", client.pid) as tool:
            traffic.curl(servers_run, f"{url}/not-pid-{kind}")
            output = client.communicate(b"go\n")[0]
            done = [traffic.read_exchange(line) for line in output.splitlines()]
            traffic.curl(servers_run, f"{url}/not-pid-either-{kind}")
            tool.wait_for(len(done))
            seen = attached() - before
            tool.process.kill()
            tool.process.wait()
            tap.check(f"{kind}: -p reports that process only",
                      counts(tool.exchanges(), done, ("client",)) + ([] if len(done) == 3 else [output]))
            problems = [] if seen else ["nothing was attached: this test would show nothing", tool.messages()]
            tap.check(f"{kind}: nothing stays attached after SIGKILL", problems + left_behind(before))


def test_missed(tap):
    """Of more calls at once than a kretprobe has instances for, the others are counted as missed."""
    before = attached()
    sleepers, followed = 8, 2
    with subprocess.Popen([MISSED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as probe:
        probe.stdout.readline()  # attached
        sleeping = [subprocess.Popen(["sleep", "2"]) for _ in range(sleepers)]
        for one in sleeping:
            one.wait()
        missed = probe.communicate("go\n")[0].strip()
    tap.check("kprobe: the calls that it missed are counted",
              [] if missed == str(sleepers - followed) else [f"{missed} instead of {sleepers - followed}"])
    tap.check("kprobe: nothing stays attached after that", left_behind(before))


def kernel_complaints():
    log = subprocess.run(["dmesg"], stdout=subprocess.PIPE, check=True, text=True).stdout
    return [line for line in log.splitlines()
            if re.search(r"BUG:|WARNING:|Oops|general protection|segfault|refcount|suspicious RCU", line)]


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory)
        # None of ours interrupts another, inside a probe least of all: on Linux 7.2 the kernel then skips the other's
        # runs of it (docs/attach.md), and slow as emulation is, that would happen in every test.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        records = {kind: test_system_wide(tap, run, kind) for kind in KINDS}
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        tap.check("kprobe and tracepoint report the same, and something",
                  disagreements(*records.values()) if all(records.values()) else ["no records"])
        servers = traffic.start_servers(run / "servers")
        try:
            for kind in KINDS:
                if records[kind]:  # else the tool does not work with it, as was said already
                    test_command(tap, run, kind, run / "servers")
                    test_pid_and_kill(tap, run, kind, run / "servers")
        finally:
            stop(servers)
    test_missed(tap)
    tap.check("the kernel has no complaints", kernel_complaints())
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
