# SPDX-License-Identifier: Apache-2.0
"""TLS connections: open before the tool, shared by threads, objects used again, processes that fork."""

import time

from pattern import sha
from scenario import client_log, of_side, python_client
from servers import PythonServer
from tap import case, check, equal
from tls import Certificate, PeerServer, both_sides, compare_tls, peer_log, seen_by, waiting_peer
from truth import flatten

from cases.tls_calls import calls_seen, run_pairs

CALLS = {
    "openssl": "write_ex read_ex",
    "gnutls": "send recv",
    "nss": "write read",
    "wolfssl": "write read",
    "mbedtls": "write read",
}


def request_not_seen(truth):
    """What is left of an exchange whose request came out of a call that had begun before the tool did."""
    gone = {"method": None, "target": None, "request_bytes": 0, "request_sha": sha(b"")}
    truth = {key: value for key, value in truth.items() if key != "tid"}
    return {**truth, **gone, "complete": False}


def open_before(t, library):
    """A connection of both sides that has had an exchange when the tool comes; returns (truths, exchanges).

    The server sits in a read then, whose beginning nobody saw: what it returns is lost, but not what follows.
    """
    certificate = Certificate(t)
    server = PeerServer(t, library, CALLS[library], certificate=certificate)
    client = waiting_peer(t, library, CALLS[library], server, "-n", "4", "-w", "1")
    time.sleep(0.1)  # the server is in its read again
    tool = t.sslsniff(pids=[server, client])
    client.release()
    client.done()
    server.process.done()
    _, first, *served = server.served(4)
    log = [request_not_seen(first), *served, *peer_log(client, 4)[1:]]
    return seen_by(log, library, midstream=True), tool.interrupt()


@case
def tls_midstream_openssl(t):
    """OpenSSL: a connection that was open before; its descriptor is found by the system calls inside"""
    compare_tls(t, *open_before(t, "openssl"))


@case
def tls_midstream_gnutls(t):
    """GnuTLS: a connection that was open before"""
    compare_tls(t, *open_before(t, "gnutls"))


@case
def tls_midstream_nss(t):
    """NSS: a connection that was open before"""
    compare_tls(t, *open_before(t, "nss"))


@case
def tls_midstream_wolfssl(t):
    """wolfSSL: a connection that was open before"""
    compare_tls(t, *open_before(t, "wolfssl"))


@case
def tls_midstream_mbedtls(t):
    """Mbed TLS: a connection that was open before"""
    compare_tls(t, *open_before(t, "mbedtls"))


@case
def tls_midstream_server(t):
    """Python: the server alone, which sat in a read when the probes came"""
    certificate = Certificate(t)
    server = PythonServer(t, mode="single", certificate=certificate)
    client = t.gated(python_client(server, "midstream", 3, certificate))
    client.tell()
    client.wait_ready()
    time.sleep(0.1)
    tool = t.sslsniff(pids=[server])
    client.release()
    client.done()
    _, first, *after = server.served(4)
    compare_tls(t, seen_by([request_not_seen(first), *after], "openssl", midstream=True), tool.interrupt())


@case
def tls_reader_and_writer(t):
    """a thread sends 20 requests, another receives the responses: thread ids of both"""
    exchanges = calls_seen(t, "openssl", ("write_ex read_ex", ("-N", "-D", "-n", 20, "-b", 50_000)))
    for exchange in of_side(exchanges, "client"):
        response_tid = (exchange["response"].get("process") or exchange["process"])["tid"]
        check(response_tid != exchange["process"]["tid"], f"one thread for both: {flatten(exchange)}")


@case
def tls_threads_take_turns(t):
    """16 threads take turns on one connection, of every library"""
    for library, calls in CALLS.items():
        if library != "nss":  # whose descriptors belong to no thread; the plain way is enough
            exchanges = calls_seen(t, library, (calls, ("-S", 16, "-n", 10)))
            equal(len({e["process"]["tid"] for e in of_side(exchanges, "client")}), 16, f"threads with {library}")


@case
def tls_many_connections_at_once(t):
    """50 connections of 50 threads at once"""
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    client, exchanges = both_sides(
        t, server, python_client(server, "threads", 50, certificate), ("openssl", "openssl"), 50
    )
    compare_tls(t, seen_by(client_log(client), "openssl"), of_side(exchanges, "client"))


@case
def tls_objects_used_again(t):
    """SSL_clear and SSL_free: one address for ten connections, each with ports of its own"""
    for options in (("-R",), ()):
        exchanges = calls_seen(t, "openssl", ("write read", ("-k", 10, "-n", 2, *options)))
        ports = {flatten(e)["local_port"] for e in of_side(exchanges, "client")}
        equal(len(ports), 10, "ports of ten connections")


@case
def tls_sessions_of_all_freed(t):
    """ten connections, one after the other, of every other library"""
    for library, calls in CALLS.items():
        calls_seen(t, library, (calls, ("-k", 10, "-n", 2)))


def forked(t, library, when):
    """A child per connection; the child's pid, not its parent's."""
    _, exchanges = run_and_compare(t, library, ("-k", "4", "-n", "3", "-F", when))
    pids = {e["process"]["pid"] for e in of_side(exchanges, "server")}
    equal(len(pids), 4, f"children of {library}")


def run_and_compare(t, library, options):
    truths, exchanges = run_pairs(t, library, [(CALLS[library], options)])
    compare_tls(t, truths, exchanges)
    return truths, exchanges


@case
def tls_fork_after_accept(t):
    """a child per connection that makes the handshake"""
    for library in ("openssl", "gnutls", "wolfssl", "mbedtls"):
        forked(t, library, "accept")


@case
def tls_fork_after_handshake(t):
    """a child per connection that goes on with the object of its parent, at the same address"""
    for library in ("openssl", "gnutls", "wolfssl", "mbedtls"):
        forked(t, library, "handshake")


@case
def tls_many_exchanges(t):
    """4,000 exchanges of both sides: none missing, none twice, nothing lost"""
    certificate = Certificate(t)
    servers = [PeerServer(t, "openssl", "write read", certificate=certificate) for _ in range(2)]
    many = ("-n", "2000", "-b", "500", "-w", "0")
    clients = [waiting_peer(t, "openssl", "write_ex read_ex", server, *many) for server in servers]
    tool = t.sslsniff("--ring-size", 64, pids=[*servers, *clients])
    for client in clients:
        client.release()
    truths = []
    for server, client in zip(servers, clients):
        client.done()
        server.process.done()
        truths += server.served(2000) + peer_log(client, 2000)
    compare_tls(t, seen_by(truths, "openssl"), tool.interrupt())
    summary = tool.summary()
    equal((summary["stats"]["gaps"], summary["stats"]["parse_errors"]), (0, 0), "gaps and parse errors")
    equal({cause: lost["events"] for cause, lost in summary["lost"].items() if lost["events"]}, {}, "lost")
