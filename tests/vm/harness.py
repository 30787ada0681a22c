# SPDX-License-Identifier: Apache-2.0
"""What the tests in a VM have in common: TAP, the tool under test, what is attached, comparisons."""
import base64
import ctypes
import json
import re
import signal
import struct
import subprocess
import time
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
READY_TIMEOUT_S = 900  # of a clock that may run several times too fast when the host is busy
EXIT_TIMEOUT_S = 60
SYS_BPF = 321  # x86-64
GET_NEXT_ID = {"prog": 11, "map": 12, "link": 31}  # enum bpf_cmd
KPROBE_EVENTS = "/sys/kernel/tracing/kprobe_events"


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

    def skip(self, name, reason):
        """Of what cannot be tested on this kernel."""
        self.count += 1
        print(f"ok {self.count} - {name} # SKIP {reason}", flush=True)

    def end(self):
        print(f"1..{self.count}", flush=True)
        return 1 if self.failed else 0


def note(text):
    for line in str(text).splitlines():
        print(f"# {line[:400]}", flush=True)


# ---- the tool under test --------------------------------------------------------------------------------------------

class Tool:
    """A tool, started and all probes attached; use as a context so that none is left running."""

    def __init__(self, run, kind, *options, name="httpsnoop"):
        self.out, self.err = run / f"out-{len(list(run.glob('out-*')))}", run / f"err-{len(list(run.glob('err-*')))}"
        command = [TOOLS / name, "-j", "--max-body", "2M", "--attach", kind, *map(str, options)]
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

    def records(self, kind):
        records = [json.loads(line) for line in self.out.read_bytes().splitlines()]
        return [record for record in records if record["type"] == kind]

    def exchanges(self):
        """What it has reported."""
        return self.records("exchange")

    def summary(self):
        """The record at its end."""
        return self.records("summary")[-1]

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


def check_summary(tap, kind, status, messages, exchanges):
    tap.check(f"{kind}: SIGINT ends it with status 0 and a summary: all exchanges, nothing lost",
              [] if status == 0 and f" {2 * len(exchanges)} exchanges; nothing lost\n" in messages else
              [f"status {status}, {2 * len(exchanges)} exchanges", messages])


def stop(servers):
    for server in servers:
        server.terminate()
    for server in servers:
        server.wait()
