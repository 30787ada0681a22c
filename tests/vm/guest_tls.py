# SPDX-License-Identifier: Apache-2.0
"""What guest.py tests of TLS: sslsniff, and httpsnoop --tls, on the whole machine and on parts of it."""
import os
import shutil
import subprocess
import sys
import time

import traffic
from harness import Tool, attached, check_records, counts, left_behind, note, skipped_runs, stop

HTTPS, PLAIN = f"https://{traffic.HOST}:{traffic.TLS}", f"http://{traffic.HOST}:{traffic.ECHO}"
FORKING = f"https://{traffic.HOST}:{traffic.TLS_FORKING}"
HELD_PROCESSES = 15
HELD_SECONDS_MAX = 60


def client(port, target, count, run, *words):
    """Command line of a client that makes count requests on a connection."""
    return [sys.executable, traffic.__file__, *words, "keep-alive", str(port), target, str(count), str(run)]


def curl(run, url, *arguments):
    return traffic.curl(run, url, *arguments, options=["--cacert", run / "cert.pem"])


def read_exchanges(output):
    return [traffic.read_exchange(line) for line in output.splitlines()]


def tls_clients(run):
    """Clients of both servers, each process started now. Returns the exchanges."""
    done = [
        curl(run, HTTPS + "/small"), curl(run, HTTPS + "/large/down"), curl(run, HTTPS + "/up", "POST", traffic.LARGE),
        curl(run, HTTPS + "/chunked/1"), curl(run, HTTPS + "/close/1"), curl(run, HTTPS + "/head", "HEAD"),
        curl(run, FORKING + "/forking"), curl(run, FORKING + "/forking-up", "POST", traffic.pattern(40000)),
    ]
    done += traffic.python_client("keep-alive", traffic.TLS, "/keep-alive", 8, run)
    done += traffic.python_client("keep-alive", traffic.TLS_FORKING, "/forking-keep-alive", 3, run)
    return done


def mixed_clients(run):
    """TLS and plain at the same time."""
    command = client(traffic.TLS, "/tls-meanwhile", 6, run)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tls:
        done = traffic.python_client("keep-alive", traffic.ECHO, "/plain-meanwhile", 6)
        done += [curl(run, PLAIN + "/plain"), curl(run, HTTPS + "/tls"), curl(run, FORKING + "/tls-forking")]
        return done + read_exchanges(tls.communicate()[0])


def losses(summary):
    """What is lost by a summary record, and what does not add up in it (docs/losses.md)."""
    stats = summary["stats"]
    lines = [f"{count} {cause}" for cause, count in summary["lost"].items() if count["events"]]
    return lines + [f"{stats[name]} {name}" for name in ("gaps", "parse_errors", "waiting_bytes") if stats[name]]


def test_system_wide(tap, run, kind, clients, *options, name):
    """Every exchange of clients once on both sides, byte for byte; nothing is left in the end."""
    before, what = attached(), f"{kind}: {name} {' '.join(options)}".rstrip()
    (run / "echo.log").unlink(missing_ok=True)
    with Tool(run, kind, *options, name=name) as tool:
        tap.check(f"{what}: attaches", tool.problems())
        if not tool.is_ready():
            return
        exchanges = clients(run)
        account = traffic.server_account(run, len(exchanges))
        skipped = skipped_runs()
        status, exit_s = tool.interrupt()
        note(f"{what}: {tool.start_s:.1f} s from start to attached, {exit_s:.2f} s from SIGINT to exit")
        note(tool.messages())
        tap.check(f"{what}: SIGINT ends it with status 0 and a summary: nothing lost",
                  losses(tool.summary()) + ([] if status == 0 else [f"status {status}"]))
        tap.check(f"{what}: the kernel ran the probes every time", skipped)
        check_records(tap, what, tool.exchanges(), exchanges, account)
    tap.check(f"{what}: nothing stays attached", left_behind(before))


def test_command(tap, run, kind):
    """-- COMMAND waits for its first TLS library, and reports nothing that others do at the same time."""
    script = f"curl -sS --cacert {run}/cert.pem {HTTPS}/command -o /dev/null & curl -sS --cacert {run}/cert.pem " \
             f"{HTTPS}/command-too -o /dev/null & wait"
    with Tool(run, kind, "--", "sh", "-c", script, name="sslsniff") as tool:
        curl(run, HTTPS + "/others")
        status = tool.wait()
        done = [{"method": "GET", "target": target} for target in ("/command", "/command-too")]
        tap.check(f"{kind}: sslsniff -- COMMAND reports the command only, and ends with it",
                  counts(tool.exchanges(), done, ("client",)) +
                  ([] if status == 0 else [f"exit status {status}", tool.messages()]))


def test_children_and_kill(tap, run, kind, server):
    """-p of a server that forks after accept, whose children wait to be watched; then SIGKILL."""
    before = attached()
    with Tool(run, kind, "--hold", "-p", server.pid, name="sslsniff") as tool:
        done = [curl(run, f"{FORKING}/child-{i}") for i in range(3)]
        curl(run, HTTPS + "/other-server")
        tool.wait_for(len(done))
        seen = attached() - before
        tool.process.kill()
        tool.process.wait()
        tap.check(f"{kind}: sslsniff -p reports the children that a server forks, and nothing else",
                  counts(tool.exchanges(), done, ("server",)) + ([] if seen else ["nothing was attached"]))
        tap.check(f"{kind}: sslsniff -p: nothing stays attached after SIGKILL", left_behind(before))


def test_killed_while_holding(tap, run, kind):
    """SIGKILL while a command starts processes that wait: all go on."""
    end = run / f"end-{kind}"
    script = f"i=0; while [ $i -lt {HELD_PROCESSES} ]; do curl -s https://127.0.0.1:1/; i=$((i+1)); done; touch {end}"
    before = attached()
    with Tool(run, kind, "--", "sh", "-c", script, name="sslsniff") as tool:
        time.sleep(0.3)
        is_early = not end.exists()
        tool.process.kill()
        tool.process.wait()
        deadline = time.monotonic() + HELD_SECONDS_MAX
        while not end.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        problems = [] if end.exists() else ["a process is stopped for good"]
        tap.check(f"{kind}: sslsniff -- COMMAND: the command goes on after SIGKILL of the tool",
                  problems + ([] if is_early else ["the command had ended before"]) + left_behind(before))


def test_kind(tap, run, kind, servers):
    # None of ours interrupts another inside a probe: see guest.py.
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    test_system_wide(tap, run, kind, tls_clients, name="sslsniff")
    if kind == "tracepoint":  # one of them: the way to attach makes no difference to it
        test_system_wide(tap, run, kind, mixed_clients, "--tls", name="httpsnoop")
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    test_command(tap, run, kind)
    test_children_and_kill(tap, run, kind, servers[1])
    if kind == "tracepoint":
        test_killed_while_holding(tap, run, kind)


def test(tap, directory, kinds):
    """All of it. The probes have been compiled by now."""
    started, run = time.monotonic(), directory / "tls"
    run.mkdir()
    traffic.make_certificate(run)
    servers = traffic.start_tls_servers(run)
    try:
        for kind in kinds:
            test_kind(tap, run, kind, servers)
    finally:
        stop(servers)
        shutil.rmtree(run)
    note(f"TLS: {time.monotonic() - started:.0f} s")
