# SPDX-License-Identifier: Apache-2.0
"""What guest.py tests of TLS that the kernel does (kTLS): a program of OpenSSL, on both ends of its connections."""
import ctypes
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path

import traffic
from harness import Tool, attached, left_behind, note, skipped_runs

PROJECT = Path(__file__).resolve().parents[2]
sys.path.append(str(PROJECT / "tests/e2e/lib"))
from pattern import pattern, sha  # noqa: E402
from tap import Failure  # noqa: E402
from truth import compare  # noqa: E402

PROGRAM, MODULES = PROJECT / "build/vm/tls_openssl", PROJECT.parent / "modules"
SYS_INIT_MODULE = 175  # x86-64
REQUESTS, BODY_BYTES = 2, 100_000
CALLS = ("sendfile read", "write read", "write_ex read_ex")
PAIRS = [(calls, version) for calls in CALLS for version in ("1.2", "1.3")]


def load_modules():
    """Those that tests/vm/vm chose, in their order."""
    libc = ctypes.CDLL(None, use_errno=True)
    for path in sorted(MODULES.iterdir()):
        image = path.read_bytes()
        if image.startswith(b"\xfd7zXZ"):
            image = lzma.decompress(image)
        if libc.syscall(SYS_INIT_MODULE, image, ctypes.c_size_t(len(image)), b"") != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))


def has_kernel_tls():
    return "tls" in Path("/proc/sys/net/ipv4/tcp_available_ulp").read_text(encoding="ascii").split()


def kernel_sessions():
    """How many ends of connections have had the kernel (encrypt, decrypt) so far."""
    lines = Path("/proc/net/tls_stat").read_text(encoding="ascii").splitlines()
    counters = dict(line.split() for line in lines)
    return int(counters["TlsTxSw"]), int(counters["TlsRxSw"])


def run_peers(run, calls, version):
    """A client and a server that use these calls. Returns what both say they did."""
    options = ["-T", "-V", version, "-n", str(REQUESTS), "-b", str(BODY_BYTES)]
    command = [PROGRAM, "server", *calls.split(), "-C", run / "cert.pem", "-K", run / "key.pem", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        port = server.stdout.readline().strip()
        client = subprocess.run([PROGRAM, "client", *calls.split(), "-P", port, *options], stdout=subprocess.PIPE,
                                text=True, check=False)
        if client.returncode:
            server.kill()
        lines = (server.communicate()[0] + client.stdout).splitlines()
    statuses = client.returncode, server.returncode
    if any(statuses):
        raise RuntimeError(f"{calls}, TLS {version}: statuses of client and server {statuses}")
    return [json.loads(line) for line in lines]


def truth_of(done, calls):
    """What must be reported of an exchange: all of it, but for what the kernel took from a file."""
    truth = {**done, "tls_library": "openssl"}
    truth.update({f"{message}_sha": sha(pattern(done[f"{message}_bytes"])) for message in ("request", "response")})
    if calls.startswith("sendfile"):
        sent = "request" if done["side"] == "client" else "response"
        truth.update({"complete": False, f"{sent}_state": "gap", f"{sent}_gap": (0, done[f"{sent}_bytes"]),
                      f"{sent}_sha": sha(b"")})
    return truth


def differences(truths, exchanges):
    try:
        compare(truths, exchanges)
    except Failure as failure:
        return [failure]
    return []


def check_losses(tap, what, summary, status, file_bytes):
    """What was sent from files is all that is not there."""
    lost = {cause: count["bytes"] or count["events"] for cause, count in summary["lost"].items() if count["events"]}
    expected = {"no_buffer": file_bytes} if file_bytes else {}
    problems = [] if lost == expected else [f"lost: {lost} instead of {expected}"]
    gap_bytes = summary["stats"]["gap_bytes"]
    problems += [] if gap_bytes == file_bytes else [f"{gap_bytes} bytes of gaps instead of {file_bytes}"]
    tap.check(f"{what}: ends with status 0 and a summary: what was sent from files is missing, nothing else",
              problems + ([] if status == 0 else [f"status {status}"]))


def test_kind(tap, run, kind, *options, name):
    before, what = attached(), f"{kind}: kernel TLS: {name} {' '.join(options)}".rstrip()
    with Tool(run, kind, *options, name=name) as tool:
        if not tool.is_ready():
            tap.check(f"{what}: attaches", tool.problems())
            return
        sessions = kernel_sessions()
        done = [(one, calls) for calls, version in PAIRS for one in run_peers(run, calls, version)]
        sessions = tuple(now - then for now, then in zip(kernel_sessions(), sessions))
        skipped = skipped_runs()
        status, _ = tool.interrupt()
        note(tool.messages())
        # Before 3.2, OpenSSL has the kernel decrypt TLS 1.2 only.
        encrypted, decrypted = 2 * len(PAIRS), 2 * sum(version == "1.2" for _, version in PAIRS)
        tap.check(f"{what}: the kernel encrypts and decrypts",
                  [] if sessions[0] == encrypted and sessions[1] >= decrypted else
                  [f"{sessions} sessions instead of {(encrypted, decrypted)}"])
        tap.check(f"{what}: the kernel ran the probes every time", skipped)
        tap.check(f"{what}: every exchange once on either side, byte for byte, a gap for what came from a file",
                  differences([truth_of(one, calls) for one, calls in done], tool.exchanges()))
        file_bytes = sum(BODY_BYTES for _, calls in done if calls.startswith("sendfile"))
        check_losses(tap, what, tool.summary(), status, file_bytes)
    tap.check(f"{what}: nothing stays attached", left_behind(before))


def why_not():
    """Why this cannot be tested here, or None."""
    load_modules()
    if not has_kernel_tls():
        return "this kernel was built without TLS"
    return None if PROGRAM.exists() else "tls_openssl is not built: gcc or OpenSSL's header is not installed"


def test(tap, directory, kinds):
    reason = why_not()
    if reason:
        tap.skip("kernel TLS", reason)
        return
    run = directory / "kernel-tls"
    run.mkdir()
    traffic.make_certificate(run)
    # The kernel composes a cipher when it is first asked for it, in threads of its own. These end at another priority
    # than ours, and a probe that is interrupted there may be skipped for one of ours.
    try:
        run_peers(run, *PAIRS[0])
    except RuntimeError as failure:
        tap.check("kernel TLS: a client and a server use it", [failure])
        return
    # None of ours interrupts another inside a probe: see guest.py.
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    for kind in kinds:
        test_kind(tap, run, kind, name="sslsniff")
    # What the library hands to its socket is plain text here: not one more exchange.
    test_kind(tap, run, "tracepoint", "--tls", name="httpsnoop")
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
