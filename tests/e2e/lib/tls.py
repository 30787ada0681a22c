# SPDX-License-Identifier: Apache-2.0
"""TLS in the tests: certificates, the programs of each library, the comparison of what sslsniff reports."""

import json
import os
import re
import subprocess

from harness import need
from scenario import with_pattern_bodies
from servers import Server
from tap import Skip, check
from truth import TLS_FIELDS, compare, flatten, mirror

# Programs programs/tls_NAME.c whose library sslsniff calls otherwise.
_LIBRARY_OF = {"openssl11": "openssl"}
NO_KERNEL_TLS = 77  # exit status of programs/tls_openssl.c
RESOLVED = ("set_fd", "nested", "adjacent", "none")  # how sslsniff found the address of a connection
_ADDRESS_KEYS = ("local_port", "remote_port", "transport")


class Certificate:
    """A self-signed certificate for localhost, made now. Programs check servers against it as their CA."""

    def __init__(self, t):
        need("openssl")
        self.path, self.key = t.path("cert.pem"), t.path("key.pem")
        make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        t.spawn([*make, *names, "-days", "2", "-keyout", self.key, "-out", self.path]).done()
        t.spawn(["openssl", "x509", "-in", self.path, "-outform", "DER", "-out", self.path + ".der"]).done()
        to_der = ["openssl", "pkcs8", "-topk8", "-nocrypt", "-outform", "DER"]
        t.spawn([*to_der, "-in", self.key, "-out", self.key + ".der"]).done()


def program(t, name):
    """Path of a C or Go program of a TLS library; skips the case when it could not be built."""
    path = t.program(name)
    if not os.path.exists(path):
        raise Skip(f"{name} is not built: its library or compiler is not installed")
    return path


def system_library(name):
    """Path of a shared library of this machine's own kind, such as libssl.so.3; skips the case when there is none."""
    cache = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    found = re.search(rf"^\s{re.escape(name)} .*x86-64.* => (\S+)$", cache, re.M)
    if not found:
        raise Skip(f"{name} is not installed")
    return found[1]


class PeerServer(Server):
    """programs/tls_LIBRARY.c as a server. calls: "SEND RECEIVE"."""

    def __init__(self, t, library, calls, *options, certificate=None, prefix=(), cgroup=None):
        certificate = certificate or Certificate(t)
        files = ["-C", certificate.path, "-K", certificate.key]
        self.library = library
        argv = [*prefix, program(t, f"tls_{library}"), "server", *calls.split(), *files, *options]
        self.start(t, argv, cgroup)

    def served(self, count=None):
        """What it says it served, once it has ended or count lines are there."""
        return peer_log(self.process, count)


def peer_client(t, library, calls, server, *options):
    """Command line of programs/tls_LIBRARY.c as a client of server."""
    return [program(t, f"tls_{library}"), "client", *calls.split(), "-P", str(server.port), *options]


def waiting_peer(t, library, calls, server, *options, env=None):
    """That client, started; it waits for a line (option -w)."""
    argv = peer_client(t, library, calls, server, *options)
    client = t.spawn(argv, stdin=subprocess.PIPE, env=env)
    client.wait_ready()
    return client


def peer_log(process, count=None):
    """The records of a program of programs/tls_peer.c, with digests of their bodies; not those of plain connections."""
    lines = [line for line in process.stdout().splitlines() if line.startswith("{")]
    check(count is None or len(lines) == count, f"{len(lines)} records of {count}: {process.argv}")
    records = [with_pattern_bodies(json.loads(line)) for line in lines]
    return [record for record in records if not record.get("plain")]


def check_agree(server_log, client_log):
    """Fail unless the client logged what the server did: the same exchanges, as far as both say what they were."""
    left = [mirror(record) for record in server_log]
    for record in client_log:
        same = [one for one in left if all(one[key] == record[key] for key in one.keys() & record.keys())]
        check(same, f"only the client says so: {record}\nthe server: {left[:4]}")
        left.remove(same[0])
    check(not left, f"only the server says so: {left[:4]}")


def seen_by(truths, library, **changes):
    """These truths as sslsniff must report them of a process that uses the library."""
    return [{**truth, "tls_library": _LIBRARY_OF.get(library, library), **changes} for truth in truths]


def without_address(truth):
    return {key: value for key, value in truth.items() if key not in _ADDRESS_KEYS}


def compare_tls(t, truths, exchanges, addresses=True):
    """compare(), and that every exchange says how its address was found.

    addresses=False: a connection whose library never saw the socket may have none. One that has an address must
    have the right one.
    """
    flat = [flatten(e) for e in exchanges]
    for one in flat:
        told = {key: one[f"tls_{key}"] for key in TLS_FIELDS}
        check(told["resolved"] in RESOLVED and told["library"] and told["path"], f"tls of an exchange: {told}")
    nowhere = {(one["side"], one["target"]) for one in flat if one["tls_resolved"] == "none"}
    if nowhere:
        t.diag(f"{sum(one['tls_resolved'] == 'none' for one in flat)} of {len(flat)} exchanges without address")
    for one in flat:
        has_address = one["local_port"] is not None or one["remote_port"] is not None
        check(not has_address or one["tls_resolved"] != "none", f"an address that was not found: {one}")
    if not addresses:
        truths = [without_address(x) if (x["side"], x["target"]) in nowhere else x for x in truths]
    compare(truths, exchanges)


def sniffed(t, server, argv, *options, cgroup=None):
    """Run argv, traced by sslsniff together with server; returns (client process, exchanges of both sides)."""
    client = t.gated([str(word) for word in argv], cgroup=cgroup)
    tool = t.sslsniff(*options, **({} if cgroup else {"pids": [server, client]}))
    client.release()
    client.done()
    return client, tool.interrupt()


def both_sides(t, server, argv, libraries, count=None, addresses=True, options=()):
    """Run argv against server; libraries: (of the server, of the client). Returns (client, exchanges)."""
    client, exchanges = sniffed(t, server, argv, *options)
    at_server = seen_by(server.served(count), libraries[0])
    at_client = seen_by(server.mirrored(count, pid=client.pid), libraries[1])
    compare_tls(t, at_server + at_client, exchanges, addresses)
    return client, exchanges

