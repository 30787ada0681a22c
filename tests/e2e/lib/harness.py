# SPDX-License-Identifier: Apache-2.0
"""What a case has at hand: a scratch directory, processes, servers, the tool."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from cgroup import Cgroup
from tap import Failure, Skip, check
from tool import TREE, Httpsnoop, Secretscan, Sslsniff

PROGRAMS = os.path.join(TREE, "tests", "e2e", "programs")
BUILD = os.path.join(TREE, "build", "e2e")
# A gated process has its pid before it does anything: the tool can be told of it.
_GATE = 'if [ -n "$1" ]; then echo $$ >"$1/cgroup.procs"; fi; shift; read go; exec "$@"'


class Process:
    """A child process with its output in files. It leads a session of its own."""

    def __init__(self, argv, name, base, stdin=subprocess.DEVNULL, stdout=None, env=None):
        self.argv, self.name = argv, name
        self.stdout_path, self._stderr_path = base + ".out", base + ".err"
        out = stdout if stdout is not None else open(self.stdout_path, "wb")
        with open(self._stderr_path, "wb") as err:
            self._popen = subprocess.Popen(
                argv, stdin=stdin, stdout=out, stderr=err, start_new_session=True, env={**os.environ, **(env or {})}
            )
        if stdout is None:
            out.close()
        self.pid = self._popen.pid
        self.poll, self.send_signal = self._popen.poll, self._popen.send_signal

    def tell(self, line="go"):
        """Write a line to its standard input; the first one opens the gate of a gated process."""
        self._popen.stdin.write(line.encode() + b"\n")
        self._popen.stdin.flush()

    def release(self):
        """Open the gate, or say go once more, and close its standard input."""
        self.tell()
        self._popen.stdin.close()

    def wait_ready(self, count=1, seconds=60):
        """Wait until it has written "ready" to stderr so many times."""
        deadline = time.monotonic() + seconds
        while self.stderr().count("ready\n") < count:
            if self.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"not ready: {self.argv}\n{self.stderr()}")
            time.sleep(0.01)

    def wait(self, timeout=60):
        """Exit status, -n after signal n. A process that does not end fails the case."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"still running after {timeout} s: {self.argv}") from None

    def done(self, status=0):
        """Wait; fail the case unless it ends with status. Returns its stdout as text."""
        got = self.wait()
        check(got == status, f"{self.argv} ended with {got}:\n{self.stderr()[-2000:]}")
        return self.stdout()

    def stdout(self):
        with open(self.stdout_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stderr(self):
        with open(self._stderr_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def children(self):
        """Pids of its child processes."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as f:
            return [int(word) for word in f.read().split()]

    def end(self):
        """Kill it and what it left in its session's process group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if self._popen.stdin:
            self._popen.stdin.close()
        self._popen.wait()


def _json_options(pids):
    """-j with whole bodies, and -p with these processes when there are any."""
    options = ["-j", "--max-body", 32 << 20]
    return ["-p", ",".join(str(getattr(p, "pid", p)) for p in pids), *options] if pids else options


class Case:
    """Context of one running case; everything it started ends with close()."""

    def __init__(self, name, attach=None):
        self.name, self.attach = name, attach
        self.dir = tempfile.mkdtemp(prefix="plainsight-e2e-")
        os.chmod(self.dir, 0o755)  # some programs run as nobody
        self.diagnostics = []
        self._processes, self._cgroups, self._paths = [], [], 0

    def path(self, label):
        """A fresh path in the scratch directory."""
        self._paths += 1
        return os.path.join(self.dir, f"{self._paths}-{label}")

    def diag(self, text):
        self.diagnostics.append(text)

    def spawn(self, argv, label=None, **options):
        """Start a process now."""
        argv = [str(word) for word in argv]
        name = label or os.path.basename(argv[0])
        process = Process(argv, name, self.path(name), **options)
        self._processes.append(process)
        return process

    def gated(self, argv, cgroup=None, env=None):
        """Start a process that waits for release() before it becomes argv, under the pid it has."""
        gate = ["/bin/sh", "-c", _GATE, "gate", cgroup.path if cgroup else "", *argv]
        return self.spawn(gate, label=os.path.basename(str(argv[0])), stdin=subprocess.PIPE, env=env)

    def cgroup(self):
        """A fresh cgroup (version 2)."""
        self._cgroups.append(Cgroup())
        return self._cgroups[-1]

    def snoop(self, *args, pids=(), **options):
        """httpsnoop -j on the given processes."""
        return Httpsnoop(self, [*_json_options(pids), *args], **options)

    def sslsniff(self, *args, pids=(), hold=True, **options):
        """sslsniff -j on the given processes. hold: programs that they execute and children wait to be watched."""
        if not os.path.exists(os.path.join(TREE, "tools", Sslsniff.NAME)):
            raise Skip("there is no tools/sslsniff")
        return Sslsniff(self, [*_json_options(pids), *(["--hold"] if hold else []), *args], **options)

    def secretscan(self, *args, pids=(), **options):
        """secretscan -j on the given processes."""
        options_of_pids = ["-p", ",".join(str(getattr(p, "pid", p)) for p in pids)] if pids else []
        return Secretscan(self, ["-j", *options_of_pids, *args], **options)

    def program(self, name):
        """Path of a C program of programs/, built by its Makefile."""
        return os.path.join(BUILD, name)

    def source(self, name):
        """Path of a script of programs/."""
        return os.path.join(PROGRAMS, name)

    def evidence(self):
        """Diagnostic lines for a failed case."""
        lines = []
        for process in self._processes:
            for line in process.stderr().splitlines()[-6:]:
                lines.append(f"stderr of {process.name} {process.pid}: {line[:300]}")
        return lines

    def close(self):
        for process in self._processes:
            process.end()
        for cgroup in self._cgroups:
            cgroup.remove()
        shutil.rmtree(self.dir)


def read_log(path, count=None, timeout=30):
    """JSON lines of a file; waits until there are count of them when count is given."""
    deadline = time.monotonic() + timeout
    while True:
        lines = []
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                lines = f.read().splitlines()
        if count is None or len(lines) >= count:
            return [json.loads(line) for line in lines]
        if time.monotonic() > deadline:
            raise Failure(f"{path}: {len(lines)} lines, {count} expected")
        time.sleep(0.01)


def need(*commands):
    """Skip the case unless these commands are installed."""
    for command in commands:
        if not shutil.which(command):
            raise Skip(f"{command} is not installed")
