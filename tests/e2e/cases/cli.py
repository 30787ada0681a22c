# SPDX-License-Identifier: Apache-2.0
"""The command line: statuses, messages, when it stops."""

import os
import signal
import socket
import time

from scenario import python_client
from servers import PythonServer
from tap import Skip, case, check, equal
from tool import TOOL, Httpsnoop

TRUE = ["/bin/true"]


def one_line(process, *words):
    """Fail unless its stderr is one line that begins with the tool's name and has these words."""
    lines = process.stderr().splitlines()
    equal(len(lines), 1, f"lines on stderr ({lines})")
    check(lines[0].startswith("httpsnoop: "), f"no name at the start: {lines[0]}")
    for word in words:
        check(word in lines[0], f"'{word}' is not in: {lines[0]}")


def fails(t, status, words, args, **options):
    """Fail unless the tool ends with status and one line."""
    tool = Httpsnoop(t, args, ready=False, **options)
    equal(tool.process.wait(15), status, "exit status")
    one_line(tool.process, *words)


@case
def command_status(t):
    """the status of COMMAND is passed on: 0, 7, 128 + signal"""
    for script, status in (("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)):
        t.snoop(command=["/bin/sh", "-c", script]).finish(status)


@case
def command_not_found(t):
    """COMMAND that does not exist: 127, as shells do"""
    tool = t.snoop(command=["/nonexistent/command"], ready=False)
    tool.wait(127)
    check("/nonexistent/command" in tool.stderr(), f"the message does not name it: {tool.stderr()}")


@case
def command_streams(t):
    """COMMAND keeps its output streams, environment and working directory"""
    script = 'echo "$E2E $(pwd)"; echo to-stderr >&2'
    tool = t.snoop(command=["/usr/bin/env", "E2E=kept", "/bin/sh", "-c", script])
    tool.finish()
    equal(tool.process.stdout(), f"kept {os.getcwd()}\n", "stdout")
    check("to-stderr\n" in tool.stderr(), "COMMAND's stderr is missing")


@case
def usage_errors(t):
    """unknown option, bad value: status 2 and one line"""
    fails(t, 2, ["--nonsense"], ["--nonsense"], command=TRUE)
    fails(t, 2, ["--port", "http"], ["--port", "http"], command=TRUE)
    fails(t, 2, ["stray"], ["stray"], command=TRUE)


@case
def no_such_pid(t):
    """a pid that does not exist: status 1 and one line"""
    gone = t.spawn(TRUE)
    gone.wait()
    fails(t, 1, [str(gone.pid)], ["-p", gone.pid])


@case
def no_such_cgroup(t):
    """a cgroup that does not exist: status 1 and one line"""
    fails(t, 1, ["/nonexistent"], ["--cgroup", "/nonexistent"])


@case
def not_root(t):
    """without privileges: status 1, and what is missing"""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if t.spawn([*nobody, "test", "-r", TOOL]).wait():
        raise Skip("nobody cannot read this tree")
    with open(os.devnull, "wb") as null:
        tool = Httpsnoop(t, [], prefix=nobody, command=TRUE, stdout=null, ready=False)
    equal(tool.process.wait(15), 1, "exit status")
    said = tool.stderr()
    check("root" in said or "CAP_" in said, f"does not name what is missing: {said}")
    check(len(said.splitlines()) <= 2, f"too many lines: {said}")


@case
def tracefs_not_mounted(t):
    """where tracefs is not mounted, it is, for a start; in a mount namespace of its own here"""
    script = 'umount -a -t tracefs; umount /sys/kernel/debug 2>/dev/null; ! [ -e /sys/kernel/tracing/events ] && exec "$@"'
    tool = Httpsnoop(t, ["-j"], command=TRUE, prefix=["unshare", "-m", "sh", "-c", script, "sh"])
    tool.finish()


@case
def output_mode(t):
    """-o makes a file for its owner alone, whatever the umask; one that is there keeps its mode"""
    made, kept = t.path("made"), t.path("kept")
    with open(kept, "w", encoding="ascii"):
        os.chmod(kept, 0o640)
    before = os.umask(0)
    try:
        for path, mode in ((made, 0o600), (kept, 0o640)):
            Httpsnoop(t, ["-o", path], command=TRUE).wait()
            equal(os.stat(path).st_mode & 0o777, mode, f"mode of {path}")
    finally:
        os.umask(before)


@case
def broken_pipe(t):
    """| head -1 ends it quietly"""
    server = PythonServer(t)
    client = t.gated(python_client(server, "keepalive", 30))
    r, w = os.pipe()
    head = t.spawn(["head", "-1"], stdin=r)
    tool = Httpsnoop(t, ["-p", client.pid], stdout=w)
    os.close(r)
    os.close(w)
    client.release()
    client.done()
    status = tool.process.wait(5)
    check(status in (0, -signal.SIGPIPE, 128 + signal.SIGPIPE), f"exit status {status}")
    equal(len(head.done().splitlines()), 1, "lines at head")
    noise = [line for line in tool.stderr().splitlines() if not line.startswith("httpsnoop: ")]
    check(not noise and "roken pipe" not in tool.stderr(), f"not quiet: {tool.stderr()}")


@case
def full_disk(t):
    """-o /dev/full: status 1 and a line that says so"""
    server = PythonServer(t)
    client = t.gated(python_client(server, "keepalive", 3))
    tool = Httpsnoop(t, ["-p", client.pid, "-o", "/dev/full"])
    client.release()
    client.done()
    time.sleep(0.5)  # it may stop by itself
    if tool.process.poll() is None:
        tool.process.send_signal(signal.SIGINT)
    equal(tool.process.wait(5), 1, "exit status")
    about = [line for line in tool.stderr().splitlines() if "/dev/full" in line or "No space left" in line]
    equal(len(about), 1, f"lines about it in {tool.stderr()!r}")


@case
def count(t):
    """-n 3 stops after exactly three"""
    server = PythonServer(t)
    client = t.gated(python_client(server, "keepalive", 10))
    tool = t.snoop("-n", 3, pids=[client])
    client.release()
    client.done()
    targets = [e["request"]["target"] for e in tool.finish()]
    equal(targets, [truth["target"] for truth in server.served()[:3]], "exchanges")


@case
def duration(t):
    """-d 1 stops after a second"""
    idle = t.gated(TRUE)
    tool = t.snoop("-d", 1, pids=[idle])
    traced = time.monotonic()
    tool.finish()
    seconds = time.monotonic() - traced
    check(0.5 < seconds < 2.5, f"stopped after {seconds:.2f} s")


@case
def interrupt_quickly(t):
    """SIGINT: summary on stderr, gone within a second"""
    idle = t.gated(TRUE)
    tool = t.snoop(pids=[idle])
    before, started = tool.stderr(), time.monotonic()
    tool.interrupt()
    seconds = time.monotonic() - started
    t.diag(f"left after {seconds * 1000:.0f} ms")
    check(seconds < 1, f"left after {seconds:.2f} s")
    check(len(tool.stderr()) > len(before), "no summary on stderr")


@case
def interrupt_command(t):
    """Ctrl-C with a COMMAND: both leave, status 130"""
    tool = t.snoop(command=["sleep", "60"])
    started = time.monotonic()
    os.killpg(tool.process.pid, signal.SIGINT)
    tool.finish(130)
    check(time.monotonic() - started < 1.5, "took too long")


@case
def unanswered(t):
    """a request with no answer when the capture ends is reported as such"""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = t.gated(["curl", "-s", f"http://127.0.0.1:{listener.getsockname()[1]}/waiting"])
        tool = t.snoop(pids=[client])
        client.release()
        sock, _ = listener.accept()
        check(b"\r\n\r\n" in sock.recv(65536), "no request")
        exchanges = tool.interrupt()
        sock.close()
    equal(len(exchanges), 1, "exchanges")
    equal(exchanges[0]["request"]["target"], "/waiting", "target")
    equal((exchanges[0]["response"], exchanges[0]["complete"]), (None, False), "response and complete")
    client.wait()
