#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Test of the tools on the kernel of this machine, system-wide: to be run as root in a VM. Prints TAP."""
import ctypes
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import guest_containers
import guest_kernel_tls
import guest_tls
import traffic
from harness import (
    GET_NEXT_ID, KPROBE_EVENTS, SYS_BPF, Tap, Tool, attached, bpf_ids, check_records, check_summary, counts,
    disagreements, left_behind, note, skipped_runs, stop,
)  # fmt: skip

MISSED = Path(__file__).resolve().parent / "missed.lua"
KINDS = ("kprobe", "tracepoint")
PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD = 13, 15  # enum bpf_cmd
IDLE_CONNECTIONS = 16


# ---- tests ----------------------------------------------------------------------------------------------------------

def open_idle():
    """Connections that keep one thread of the server each in recv(), as idle keep-alive connections do."""
    return [socket.create_connection((traffic.HOST, traffic.ECHO)) for _ in range(IDLE_CONNECTIONS)]


def send_traffic(run, idle):
    """All clients, then one of the idle connections; returns exchanges and servers' account."""
    exchanges = traffic.all_clients(run) + [traffic.get(idle[0], "/idle")]
    return exchanges, traffic.server_account(run, len(exchanges))


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


def program_sizes():
    """Bytes of instructions of the programs that are loaded, as the verifier has left them, by name."""
    bpf, sizes = ctypes.CDLL(None).syscall, {}
    for number in bpf_ids(GET_NEXT_ID["prog"]):
        fd = bpf(SYS_BPF, PROG_GET_FD_BY_ID, struct.pack("III", number, 0, 0), 12)
        info = ctypes.create_string_buffer(80)  # struct bpf_prog_info up to its name
        if fd < 0 or bpf(SYS_BPF, OBJ_GET_INFO_BY_FD, struct.pack("IIQ", fd, 80, ctypes.addressof(info)), 16) != 0:
            continue
        os.close(fd)
        sizes[info.raw[64:80].rstrip(b"\0").decode()] = struct.unpack_from("I", info.raw, 20)[0]
    return sizes


def test_settings(tap, run, kind):
    """By now the probes have been compiled once for each way to attach. What is not asked for is not in the kernel."""
    os.environ["PLAINSIGHT_DEBUG"] = "1"
    sizes, problems = [], []
    for options in ([], ["--port", 1, "-u", 1, "-c", "none", "--cgroup", "/sys/fs/cgroup"]):
        with Tool(run, kind, *options) as tool:
            sizes.append(program_sizes())
            problems += tool.problems() or ([] if "cache: found" in tool.messages() else [tool.messages()])
            tool.interrupt()
    del os.environ["PLAINSIGHT_DEBUG"]
    note(f"{kind}: ready after {tool.start_s:.1f} s from the cache")
    tap.check(f"{kind}: other options need no other compilation", problems)
    entry = "syscall_return" if kind == "kprobe" else "sys_exit"
    without, with_filters = (found.get(entry, 0) for found in sizes)
    note(f"{kind}: {without // 8} instructions without filters, {with_filters // 8} with all")
    tap.check(f"{kind}: filters that are not in use are not in the program",
              [] if 0 < without < with_filters else [sizes])


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory)
        os.environ["XDG_CACHE_HOME"] = directory  # the root disk is mounted read-only
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
        for kind in KINDS:
            test_settings(tap, run, kind)
        guest_tls.test(tap, run, KINDS)
        guest_kernel_tls.test(tap, run, KINDS)
        servers = traffic.start_servers(run / "container-servers")
        try:
            guest_containers.test(tap, run, KINDS)
        finally:
            stop(servers)
    test_missed(tap)
    tap.check("the kernel has no complaints", kernel_complaints())
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
