# SPDX-License-Identifier: Apache-2.0
"""The shape that most cases share: a server, a client, both traced, both compared."""

import json
import os
import sys

from harness import PROGRAMS
from pattern import pattern, sha
from truth import compare


def python_client(server, kind, count=1, certificate=None):
    """Command line of programs/client.py, over TLS with a certificate (lib/tls.py)."""
    tls = ["--tls", certificate.path] if certificate else []
    where = [server.address, str(server.port)]
    return [sys.executable, os.path.join(PROGRAMS, "client.py"), *tls, kind, *where, str(count)]


def traced(t, server, argv, *options):
    """Run argv, traced together with server; returns (client process, exchanges of both sides)."""
    client = t.gated(argv)
    tool = t.snoop(*options, pids=[server, client])
    client.release()
    client.done()
    return client, tool.interrupt()


def both_sides(t, server, argv, count=None, options=()):
    """Run argv against server; both sides must be reported as the server logged them. Returns (client, exchanges)."""
    client, exchanges = traced(t, server, argv, *options)
    compare(server.served(count) + server.mirrored(count, pid=client.pid), exchanges)
    return client, exchanges


def client_log(client):
    """The records of a client that logs JSON lines to stdout."""
    return [json.loads(line) for line in client.stdout().splitlines()]


def with_pattern_bodies(truth):
    """Add the digests of bodies that the logging program has checked against the pattern itself."""
    digests = {f"{which}_sha": sha(pattern(truth[f"{which}_bytes"])) for which in ("request", "response")}
    return {**truth, **digests}


def of_side(exchanges, side):
    """Those exchanges in which the traced process is client or server."""
    return [e for e in exchanges if e["side"] == side]
