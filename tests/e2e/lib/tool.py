# SPDX-License-Identifier: Apache-2.0
"""Starts the tools, always confined, and reads what they report."""

import json
import os
import signal
import time

from tap import Failure, check

TREE = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
TOOL = os.path.join(TREE, "tools", "httpsnoop")
START_SECONDS_MAX = 60
_CONFINING = ("-p", "--cgroup", "--container", "--pod", "--namespace", "--")


class Httpsnoop:
    """One running httpsnoop, or a tool with the same options. All times in seconds."""

    NAME = "httpsnoop"

    def __init__(self, t, args, tool=None, command=None, stdout=None, prefix=(), ready=True, env=None):
        """Start it with args (and COMMAND), env added to the environment; ready: wait until it says that it traces."""
        argv = [*prefix, tool or os.path.join(TREE, "tools", self.NAME), *map(str, args)]
        self.json, self.rest, self._records, self._parsed_bytes = "-j" in argv, b"", [], 0
        if t.attach:
            argv += ["--attach", t.attach]
        self.output = None
        if command:  # the command has the tool's stdout, so exchanges go to a file
            if stdout is None and "-o" not in args:
                self.output = t.path("exchanges")
                argv += ["-o", self.output]
            argv += ["--", *map(str, command)]
        check(any(word in argv for word in _CONFINING), f"refusing to trace the whole machine: {argv}")
        self.started = time.monotonic()
        self.process = t.spawn(argv, label=self.NAME, stdout=stdout, env=env)
        self.output = self.output or self.process.stdout_path
        if ready:
            self.wait_tracing()

    def wait_tracing(self):
        """Wait for the line that says that all probes are attached."""
        deadline, said = self.started + START_SECONDS_MAX, f"{self.NAME}: tracing"
        while time.monotonic() < deadline:
            if said in self.stderr():
                self.start_seconds = time.monotonic() - self.started
                return
            if self.process.poll() is not None:
                if said in self.stderr():
                    continue
                raise Failure(f"{self.NAME} ended with {self.process.poll()} before it traced:\n{self.stderr()}")
            time.sleep(0.01)
        raise Failure(f"no '{said}' within {START_SECONDS_MAX} s:\n{self.stderr()}")

    def stderr(self):
        return self.process.stderr()

    def text(self):
        """What it has printed so far, control bytes and all."""
        with open(self.output, "rb") as f:
            return f.read()

    def stop(self):
        """SIGINT, wait. Fails unless it leaves with status 0."""
        self.process.send_signal(signal.SIGINT)
        self.wait()

    def interrupt(self):
        """stop(); returns the exchanges."""
        self.stop()
        return self.exchanges()

    def wait(self, status=0, timeout=30):
        """Wait for its end. Fails on any other exit status, and when its own sums do not fit (docs/losses.md)."""
        got = self.process.wait(timeout)
        check(got == status, f"{self.NAME}: expected exit status {status}, got {got}\n{self.stderr()}")
        check("internal error" not in self.stderr(), f"{self.NAME} found a mistake of its own:\n{self.stderr()}")
        for summary in self.records("summary"):
            check_sums(summary)
        check(not self.json or not self.rest, f"the last line is not whole: {self.rest[:200]!r}")

    def finish(self, status=0, timeout=30):
        """wait(); returns the exchanges."""
        self.wait(status, timeout)
        return self.exchanges()

    def records(self, kind):
        """The records of a type (docs/json.md) printed so far, as dicts; none unless it runs with -j."""
        if not self.json or not os.path.exists(self.output):
            return []
        with open(self.output, "rb") as f:
            f.seek(self._parsed_bytes)
            new, end_of_line, self.rest = f.read().rpartition(b"\n")
        self._parsed_bytes += len(new + end_of_line)
        for line in new.splitlines():
            try:
                record = json.loads(line)
            except ValueError as error:
                raise Failure(f"a line is not JSON ({error}): {line[:200]!r}") from None
            self._records.append(record)
        return [record for record in self._records if record.get("type") == kind]

    def exchanges(self):
        """The exchange records printed so far, as dicts."""
        return self.records("exchange")

    def summary(self):
        """The summary record, which must be there once."""
        summaries = self.records("summary")
        check(len(summaries) == 1, f"{len(summaries)} summaries")
        return summaries[0]


class Sslsniff(Httpsnoop):
    """One running sslsniff."""

    NAME = "sslsniff"


class Secretscan(Httpsnoop):
    """One running secretscan."""

    NAME = "secretscan"

    def findings(self):
        """The findings printed so far, as dicts."""
        return self.records("finding")


def check_sums(summary):
    """Fail unless every byte of a summary is accounted for (docs/losses.md)."""
    stats, told = summary["stats"], ("message", "tunnel", "skipped", "uncaptured", "overlap", "waiting", "dropped", "raw")
    became = sum(stats[f"{name}_bytes"] for name in told)
    check(stats["data_bytes"] == became, f"records of {stats['data_bytes']} bytes, {became} accounted for: {summary}")
    heard = stats["data_bytes"] + summary["lost"]["ring_full"]["bytes"]
    check(stats["seen_bytes"] == heard, f"{stats['seen_bytes']} bytes seen, {heard} told of or lost: {summary}")
