# SPDX-License-Identifier: Apache-2.0
"""What is not HTTP over a stream socket is not reported."""

import ssl
import sys
import time

from harness import need
from servers import PythonServer, free_port
from tap import Failure, case, check
from truth import compare


def nothing_reported(t, kind):
    """Run programs/other.py, then a real request that proves that the trace was alive."""
    other = t.gated([sys.executable, t.source("other.py"), kind])
    server = PythonServer(t)
    curl = t.gated(["curl", "-s", "-o", "/dev/null", server.url + "/bytes/10"])
    tool = t.snoop(pids=[other, curl])
    for process in (other, curl):
        process.release()
        process.done()
    compare(server.mirrored(1, pid=curl.pid), tool.interrupt())


@case
def not_redis(t):
    """a RESP conversation with an HTTP request as a value"""
    nothing_reported(t, "redis")


@case
def not_smtp(t):
    """a protocol in which the server speaks first"""
    nothing_reported(t, "server_first")


@case
def not_datagrams(t):
    """HTTP-looking datagrams, UDP and unix"""
    nothing_reported(t, "datagrams")


@case
def not_pipes(t):
    """HTTP-looking text in pipes"""
    nothing_reported(t, "pipes")


@case
def not_files(t):
    """HTTP-looking text in files"""
    nothing_reported(t, "files")


def tls_server(t):
    """(openssl s_server -www, its port); it answers GET with a page about the session."""
    need("openssl", "curl")
    key, cert, port = t.path("key.pem"), t.path("cert.pem"), free_port()
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    t.spawn([*make, "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"]).done()
    server = t.spawn(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-key", key, "-cert", cert, "-www"])
    for _ in range(500):
        try:
            ssl.get_server_certificate(("127.0.0.1", port))
            return server, port
        except OSError:
            time.sleep(0.01)
    raise Failure(f"openssl s_server does not answer:\n{server.stderr()}")


@case
def not_tls(t):
    """the bytes of a TLS session, at curl and at openssl s_server"""
    (server, port), plain = tls_server(t), PythonServer(t)
    curl = t.gated(["curl", "-sk", "--http1.1", f"https://127.0.0.1:{port}/", plain.url + "/bytes/10"])
    tool = t.snoop(pids=[server, curl])
    curl.release()
    check("s_server" in curl.done(), "curl got no page")
    compare(plain.mirrored(1, pid=curl.pid), tool.interrupt())
