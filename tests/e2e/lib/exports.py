# SPDX-License-Identifier: Apache-2.0
"""Reads what --har and --pcapng write, with programs that are not ours."""

import json
import os
import subprocess
import sys
import time

from harness import PROGRAMS, need
from tap import Failure, Skip, check, equal
from tool import TREE

# What tshark looks for on ports that the kernel may give to a client or server of a test.
OTHER_PROTOCOLS = ("ams", "cbsp", "ecatf", "enip", "irc", "pcp", "pmproxy")
PACKAGES = os.path.join(TREE, "build", "npm")


def need_npm():
    """Skip the case unless scripts/npm-install was run."""
    need("node")
    if not os.path.exists(os.path.join(PACKAGES, ".installed")):
        raise Skip("the npm packages of the tests are not installed: make deps-test")


def checked_hars(*paths):
    """Validate archives; returns for each what har-to-openapi finds: {"entries": N, "operations": [...]}."""
    argv = ["node", os.path.join(PROGRAMS, "har_check.js"), PACKAGES, *paths]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"not a valid HAR: {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def har_entries(path):
    """The entries of an archive."""
    with open(path, encoding="utf-8") as f:
        return json.load(f)["log"]["entries"]


def whole_har(path, seconds=20):
    """The entries of an archive whose writer was killed: its guardian needs a moment."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return har_entries(path)
        except ValueError as error:
            if time.monotonic() > deadline:
                raise Failure(f"{path} does not load {seconds} s after its writer's end: {error}") from None
        time.sleep(0.005)


def in_chromium(t, *paths):
    """What the network panel of Chromium shows of each archive: lists of what har_in_chromium.py tells."""
    need("chromium")
    argv = [sys.executable, os.path.join(PROGRAMS, "har_in_chromium.py"), t.dir, *paths]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=90)
    if done.returncode == 77:
        raise Skip(f"this Chromium has its network panel elsewhere: {done.stderr.splitlines()[:1]}")
    check(done.returncode == 0, f"Chromium does not load it: {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def tshark(path, *options, fields=(), cut_ok=False):
    """What tshark prints of a file, as a list of lines, or of lists of fields."""
    need("tshark")
    argv = ["tshark", "-r", path, *(f"--disable-protocol={name}" for name in OTHER_PROTOCOLS), *options]
    if fields:
        argv += ["-T", "fields", "-E", "separator=|", *(word for field in fields for word in ("-e", field))]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    is_cut = cut_ok and "cut short" in done.stderr
    check(done.returncode == 0 or is_cut, f"{argv}: {done.stderr[-1000:]}")
    lines = done.stdout.splitlines()
    return [line.split("|") for line in lines] if fields else lines


def check_packets(path):
    """Nothing in the file is malformed, no checksum is wrong, and no segment is missing or there twice."""
    verify = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    bad = "_ws.malformed || tcp.analysis.flags || tcp.checksum.status == 0 || ip.checksum.status == 0"
    equal(tshark(path, *verify, "-Y", bad), [], "packets that tshark finds fault with")


def filtered(path, display_filter, *fields):
    """Fields of the packets that pass a display filter."""
    return tshark(path, "-Y", display_filter, fields=fields)


def comments(path):
    """All comments of packets."""
    return [line[0] for line in filtered(path, "frame.comment", "frame.comment")]
