# SPDX-License-Identifier: Apache-2.0
"""What TLS clients and servers say of each other, with nobody watching: the other cases trust these logs."""

import json
import os
import shutil

from harness import need, read_log
from pattern import pattern
from scenario import client_log, python_client
from servers import Apache, GoServer, Haproxy, Nginx, NodeServer, OpensslServer, PythonServer
from tap import case, check, equal
from tls import Certificate, PeerServer, check_agree, peer_client, peer_log, program, system_library

from cases.programs import WGET

MIB = 1 << 20
PEERS = {
    "openssl": ("write read", "write_ex read_ex", "bio bio"),
    "gnutls": ("send recv", "send2 recv_seq", "range packet", "cork recv", "sendfile recv"),
    "nss": ("write read", "send recv", "writev recv"),
    "wolfssl": ("write read", "send recv", "writev recv"),
    "mbedtls": ("write read",),
}


def installed(t, name):
    """Whether a C or Go program is built; one that is not is named in the diagnostics."""
    if os.path.exists(t.program(name)):
        return True
    t.diag(f"{name} is not built")
    return False


def new_records(server, before):
    return server.served()[before:]


def agree(t, server, argv, log=client_log):
    """Run a client with a log of its own against server."""
    before = len(server.served())
    client = t.spawn(argv)
    client.done()
    check_agree(new_records(server, before), log(client))


def peers_agree(t, server, every_call=True):
    """The C programs, with every call or with the first pair, against server; 1 MiB both ways."""
    for library, pairs in PEERS.items():
        if installed(t, f"tls_{library}"):
            for calls in pairs if every_call else pairs[:1]:
                agree(t, server, peer_client(t, library, calls, server, "-n", 3), peer_log)
                agree(t, server, peer_client(t, library, calls, server, "-b", MIB), peer_log)


def programs_agree(t, server, certificate, kinds=("keepalive", "threads", "aio"), node=True):
    """Everyday clients against server. The bodies that node sends are not the pattern."""
    for kind in kinds:
        agree(t, server, python_client(server, kind, 6, certificate))
    if node and shutil.which("node"):
        agree(t, server, ["node", t.source("client.js"), server.port, 8, certificate.path])
    for name in ("gotls", "gotls_stripped"):
        if installed(t, name):
            agree(t, server, [program(t, name), "client", server.port, 4, 3])


@case
def tls_truth_python(t):
    """clients of all libraries and a Python server: both say the same"""
    certificate = Certificate(t)
    for mode in ("threads", "fork", "memory"):
        server = PythonServer(t, mode=mode, certificate=certificate)
        peers_agree(t, server, every_call=mode == "threads")
        programs_agree(t, server, certificate)


@case
def tls_truth_node(t):
    """clients of all libraries and node"""
    certificate = Certificate(t)
    server = NodeServer(t, certificate)
    programs_agree(t, server, certificate, ("keepalive", "threads"))


@case
def tls_truth_go(t):
    """clients of all libraries and Go"""
    certificate = Certificate(t)
    for name in ("gotls", "gotls_stripped"):
        server = GoServer(t, program(t, name), certificate)
        peers_agree(t, server, every_call=False)
        programs_agree(t, server, certificate)


@case
def tls_truth_peers(t):
    """clients of all libraries and the C servers of each"""
    certificate = Certificate(t)
    for library, pairs in PEERS.items():
        if installed(t, f"tls_{library}"):
            server = PeerServer(t, library, pairs[0], "-k", "0", "-F", "accept", certificate=certificate)
            peers_agree(t, server, every_call=False)
            programs_agree(t, server, certificate, kinds=("threads",), node=False)


def curl(server, certificate, *targets):
    """A curl command that says of each target what it got."""
    get = [word for target in targets for word in ("-o", "/dev/null", server.url + target)]
    said = '{"side":"client","method":"%{method}","status":%{http_code},"response_bytes":%{size_download}}\n'
    return ["curl", "-s", "--http1.1", "--cacert", certificate.path, "-w", said, *get]


@case
def tls_truth_files(t):
    """nginx, Apache and openssl s_server: curl and the access log agree"""
    need("curl")
    certificate = Certificate(t)
    sizes = (0, 1, 100_000, MIB)
    targets = [f"/{size}.bin" for size in sizes]
    kinds = {
        "nginx": lambda: Nginx(t, "on", sizes, certificate=certificate),
        "apache2": lambda: Apache(t, certificate, sizes),
        "openssl": lambda: OpensslServer(t, certificate, sizes),
    }
    for name, start in kinds.items():
        if not shutil.which(name):
            t.diag(f"{name} is not installed")
            continue
        server = start()
        said = t.spawn(curl(server, certificate, *targets)).done().splitlines()
        equal([json.loads(line)["response_bytes"] for line in said], list(sizes), f"sizes by {name}")
        if name != "openssl":
            check_agree(read_log(server.log, len(sizes)), [json.loads(line) for line in said])


@case
def tls_truth_libraries_of_curl(t):
    """libcurl of every TLS library, wget and requests: what the server received is what was sent"""
    need("wget")
    certificate = Certificate(t)
    server, upload = PythonServer(t, certificate=certificate), t.path("upload")
    with open(upload, "wb") as f:
        f.write(pattern(MIB))
    for name in ("libcurl.so.4", "libcurl-gnutls.so.4", "libcurl-nss.so.4"):
        system_library(name)
        urls = [server.url + "/echo", f"{server.url}/bytes/{MIB}"]
        said = t.spawn([t.program("curl_lib"), name, certificate.path, upload, *urls]).done()
        equal(said.split(), ["200", str(MIB)] * 2, name)
    t.spawn([*WGET, "--ca-certificate", certificate.path, server.url + "/bytes/9"]).done()
    equal(server.served()[-1]["target"], "/bytes/9", "what wget asked for")
    agree(t, server, python_client(server, "requests", 4, certificate))


@case
def tls_truth_haproxy(t):
    """HAProxy between client and server: both say the same but for the ports, over TLS and plain behind it"""
    certificate = Certificate(t)
    for upstream in (PythonServer(t, certificate=certificate), PythonServer(t)):
        front = Haproxy(t, certificate, upstream)
        client = t.spawn(python_client(front, "keepalive", 6, certificate))
        client.done()
        drop = ("local_port", "remote_port", "pid", "tid")
        of_server, of_client = [
            [{k: v for k, v in record.items() if k not in drop} for record in log]
            for log in (upstream.served(6), client_log(client))
        ]
        check(len(of_client) == 6, "six exchanges")
        check_agree(of_server, of_client)
