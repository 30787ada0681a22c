# SPDX-License-Identifier: Apache-2.0
"""What sslsniff must not report, and what must not confuse it."""

import socket
import sys
import threading
import time

from harness import need
from scenario import client_log, python_client
from servers import PythonServer
from tap import case, check
from tls import Certificate, both_sides, compare_tls, peer_log, seen_by, waiting_peer

from cases.tls_programs import OPENSSL_BOTH, get


def nothing_reported(t, argv, certificate, *also):
    """Run argv, then a real request that proves that the trace was alive."""
    other = t.gated([str(word) for word in argv])
    server = PythonServer(t, certificate=certificate)
    real = waiting_peer(t, "openssl", "write read", server, "-w", "0")
    tool = t.sslsniff(pids=[other, real, *also])
    for process in (other, real):
        process.release()
        process.done()
    compare_tls(t, seen_by(peer_log(real, 1), "openssl"), tool.interrupt())


@case
def tls_not_redis(t):
    """a RESP conversation over TLS with an HTTP request as a value"""
    certificate = Certificate(t)
    nothing_reported(t, [sys.executable, t.source("other.py"), "redis", certificate.path, certificate.key], certificate)


@case
def tls_not_smtp(t):
    """a protocol over TLS in which the server speaks first"""
    certificate = Certificate(t)
    argv = [sys.executable, t.source("other.py"), "server_first", certificate.path, certificate.key]
    nothing_reported(t, argv, certificate)


@case
def tls_not_plain_http(t):
    """HTTP without TLS in a process that has a TLS library"""
    certificate, plain = Certificate(t), PythonServer(t)
    nothing_reported(t, ["curl", "-s", "-o", "/dev/null", plain.url + "/bytes/10"], certificate, plain)


class Sink:
    """A listening TCP socket of the test that takes whatever comes, as a log collector does."""

    def __init__(self):
        self.listener, self.received = socket.create_server(("127.0.0.1", 0)), b""
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self):
        sock, _ = self.listener.accept()
        while data := sock.recv(65536):
            self.received += data


@case
def tls_stderr_is_a_socket(t):
    """curl -v with a TCP socket as standard error, written to inside the library's calls: addresses of the right one"""
    need("bash")
    certificate, sink = Certificate(t), Sink()
    server = PythonServer(t, certificate=certificate)
    to_socket = ["bash", "-c", f'exec "$@" 2>/dev/tcp/127.0.0.1/{sink.port}', "bash"]
    argv = [*to_socket, *get(server, certificate, ["/bytes/10", "/bytes/100000"], "-v")]
    both_sides(t, server, argv, OPENSSL_BOTH, 2)
    for _ in range(100):
        if b"/bytes/100000" in sink.received:
            break
        time.sleep(0.02)
    check(b"> GET /bytes/10 " in sink.received, f"curl wrote no headers to its standard error: {sink.received[:300]}")


@case
def tls_plain_and_tls_together(t):
    """one curl that speaks to a TLS and a plain server in turn: descriptors are used again, only TLS is reported"""
    certificate = Certificate(t)
    server, plain = PythonServer(t, certificate=certificate), PythonServer(t)
    urls = []
    for i in range(6):
        urls += ["-o", "/dev/null", f"{(server, plain)[i % 2].url}/close/{i}"]
    argv = ["curl", "-s", "--http1.1", "--cacert", certificate.path, *urls]
    both_sides(t, server, argv, OPENSSL_BOTH, 3)


@case
def tls_not_others(t):
    """a process that was not asked for, with the same libraries at the same time"""
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    other, client = (t.gated(python_client(server, "keepalive", 20, certificate)) for _ in range(2))
    tool = t.sslsniff(pids=[client])
    for process in (other, client):
        process.release()
    for process in (other, client):
        process.done()
    check(len(server.served(40)) == 40, "exchanges of both")
    compare_tls(t, seen_by(client_log(client), "openssl"), tool.interrupt())
