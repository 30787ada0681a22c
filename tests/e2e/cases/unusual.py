# SPDX-License-Identifier: Apache-2.0
"""System calls used in unusual ways (programs/ends.py): the very bytes, or a gap that is marked."""

import signal
import sys
import time

from pattern import pattern, sha
from scenario import client_log, of_side
from tap import case, check, equal
from truth import compare

MIB = 1 << 20
HOLE = {"response_state": "gap", "complete": False, "response_captured": 0, "response_sha": sha(b"")}
REQUEST_HOLE = {"request_state": "gap", "complete": False, "request_captured": 0, "request_sha": sha(b"")}


def ends(t, kind, *arguments, changes=None, options=()):
    """Run one kind of ends.py; its exchanges must be what it logged. Returns (exchanges, the tool).

    changes: from (side, target) to what must differ there from what was moved.
    """
    process = t.gated([sys.executable, t.source("ends.py"), kind, *map(str, arguments)])
    tool = t.snoop(*options, pids=[process])
    process.release()
    process.done()
    exchanges = tool.interrupt()
    compare_changed(process, changes or {}, exchanges)
    return exchanges, tool


def compare_changed(process, changes, exchanges):
    log = client_log(process)
    unknown = set(changes) - {(truth["side"], truth["target"]) for truth in log}
    check(not unknown, f"never logged: {unknown}")
    compare([{**truth, **changes.get((truth["side"], truth["target"]), {})} for truth in log], exchanges)


def lost(tool, cause):
    """(events, bytes) of one cause in the summary."""
    loss = tool.summary()["lost"][cause]
    return loss["events"], loss["bytes"]


@case
def sendfile(t):
    """sendfile: whole, pieces at offsets, offset NULL: read from the file, byte for byte, and marked"""
    marked = {("server", f"/{kind}"): {"response_flags": ["from-file"]} for kind in ("whole", "pieces", "position")}
    _, tool = ends(t, "sendfile", t.dir, changes=marked)
    equal(tool.summary()["stats"]["file_lost_calls"], 0, "calls whose file could not be read")


@case
def sendfile_changed(t):
    """sendfile, and the file is changed before it can be read: a gap, never other bytes"""
    process = t.gated([sys.executable, t.source("ends.py"), "sendfile_then", t.dir])
    tool = t.snoop(pids=[process])
    tool.process.send_signal(signal.SIGSTOP)
    process.tell()
    deadline = time.monotonic() + 20
    while len(process.stdout().splitlines()) < 24 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.05)  # the last change comes after the last line
    tool.process.send_signal(signal.SIGCONT)
    time.sleep(0.5)
    process.release()
    process.done()
    exchanges = tool.interrupt()
    changes = {(e["side"], e["target"]): HOLE for e in client_log(process) if e["side"] == "server"}
    for target in ("/nothing/open", "/nothing/closed"):
        changes["server", target] = {"response_flags": ["from-file"]}
    compare_changed(process, changes, exchanges)
    stats = tool.summary()["stats"]
    equal((stats["file_lost_calls"], stats["file_lost_bytes"]), (10, 10 * 30_000), "lost calls and bytes of sendfile")


@case
def splice_from_pipe(t):
    """splice from a pipe to the socket: length right, body a gap at the sender; what follows is whole"""
    _, tool = ends(t, "splice_out", changes={("server", "/spliced"): {**HOLE, "response_gap": (0, 30_000)}})
    equal(lost(tool, "no_buffer")[1], 30_000, "bytes that were said to be not visible")


@case
def splice_to_pipe(t):
    """splice from the socket to a pipe: length right, body a gap at the receiver; what follows is whole"""
    changes = {("server", "/spliced"): REQUEST_HOLE, ("client", "/spliced"): HOLE}
    _, tool = ends(t, "splice_in", changes=changes)
    equal(lost(tool, "no_buffer")[1], 60_000, "bytes that were said to be not visible")


@case
def truncating_receive(t):
    """MSG_TRUNC: TCP throws the bytes away, a gap; AF_UNIX gives them, no gap"""
    _, tool = ends(t, "truncating", "tcp", changes={("client", "/truncated"): {**HOLE, "response_gap": (0, 20_000)}})
    equal(lost(tool, "no_buffer")[1], 20_000, "bytes that were said to be not visible")
    ends(t, "truncating", "unix")


@case
def peeking(t):
    """MSG_PEEK of little, much, more and nothing, mixed with reads, MSG_TRUNC and MSG_WAITALL"""
    ends(t, "peeking", "tcp")
    ends(t, "peeking", "unix")


@case
def nothing_moved(t):
    """calls that move nothing, and vectors with up to 100 empty buffers before each full one"""
    ends(t, "nothing_moved")


@case
def error_queue(t):
    """MSG_ERRQUEUE: copies of what was sent do not count as received"""
    ends(t, "error_queue")


@case
def urgent_byte(t):
    """MSG_OOB between two exchanges: a byte of the stream for the sender only; what follows is whole"""
    ends(t, "urgent")


@case
def one_write_of_64_mebibytes(t):
    """64 MiB in one call: true size; what was over the limit of one call is a gap, and said"""
    size = 64 * MIB
    exchanges, tool = ends_of_large_write(t, size)
    (at_server,) = [e for e in of_side(exchanges, "server") if e["request"]["target"] == "/large"]
    body = at_server["response"]["body"]
    equal((body["size_bytes"], body["state"]), (size, "gap"), "size and state at the sender")
    check(body["gap_offset_bytes"] >= 32 * MIB, f"gap from {body['gap_offset_bytes']} on")
    equal(body["gap_offset_bytes"] + body["gap_bytes"], size, "end of the gap")
    equal(lost(tool, "cut"), (1, body["gap_bytes"]), "calls and bytes that were said to be cut")


def ends_of_large_write(t, size):
    kept = {"response_captured": 1000, "response_sha": sha(pattern(1000)), "response_state": "truncated"}
    at_server = {**kept, "response_state": "gap", "complete": False}
    changes = {("client", "/large"): kept, ("server", "/large"): at_server}
    return ends(t, "one_write", size, changes=changes, options=["--max-body", 1000, "--ring-size", 256])


@case
def resets(t):
    """a close with SO_LINGER 0 on either side in the middle of a body: aborted, on both sides"""
    response = {"response_flags": ["aborted"], "complete": False}
    request = {"request_flags": ["aborted"], "complete": False, "missing_response": "aborted"}
    sides = ("client", "server")
    for side in sides:
        ends(t, "reset_by", side, changes={(s, "/reset"): response for s in sides})
        ends(t, "reset_in_request", side, changes={(s, "/reset"): request for s in sides})
    ends(t, "reset_unread", changes={(s, "/reset"): response for s in sides})


@case
def closed_under_a_call(t):
    """a socket is closed while another thread waits in read, which then gets the response: lost, and said"""
    hole = {"status": None, "response_bytes": 0, "response_sha": sha(b""), "missing_response": "lost"}
    _, tool = ends(t, "closed_inside", changes={("client", "/closed"): {**hole, "complete": False}})
    stats = tool.summary()["stats"]
    equal((stats["gaps"], stats["gap_bytes"] > 700), (1, True), "one gap, of the response")
