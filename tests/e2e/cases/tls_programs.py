# SPDX-License-Identifier: Apache-2.0
"""Everyday clients and servers that speak TLS."""

import re
import subprocess
import sys

from harness import need, read_log
from pattern import pattern
from scenario import client_log, of_side, python_client
from servers import Apache, Caddy, GoServer, Haproxy, Nginx, NodeServer, OpensslServer, PythonServer
from tap import Skip, case, check, equal
from tls import Certificate, both_sides, compare_tls, program, seen_by, sniffed, system_library, waiting_peer
from truth import compare, flatten, mirror
from unpacked import Debian13

from cases.programs import WGET, check_curl_log, curl_transfers

MIB = 1 << 20
OPENSSL_BOTH = ("openssl", "openssl")


def upload_file(t):
    path = t.path("upload")
    with open(path, "wb") as f:
        f.write(pattern(MIB))
    return path


def get(server, certificate, targets, *options):
    """A curl command for targets, on one connection."""
    out = [word for target in targets for word in ("-o", "/dev/null", server.url + target)]
    return ["curl", "-s", "--http1.1", "--cacert", certificate.path, *options, *out]


# ---- curl -----------------------------------------------------------------------------------------------------------


@case
def tls_curl_command(t):
    """curl GET, POST, HEAD, chunked upload, 100-continue and more as COMMAND"""
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    argv, count = curl_transfers(t, server, "--cacert", certificate.path)
    pid_file, log = t.path("pid"), t.path("curl.log")
    shell = 'echo $$ >"$0"; log=$1; shift; exec "$@" >"$log"'
    exchanges = t.sslsniff("--show-secrets", command=["/bin/sh", "-c", shell, pid_file, log, *argv]).finish()
    with open(pid_file, encoding="ascii") as f:
        pid = int(f.read())
    compare_tls(t, seen_by(server.mirrored(count, pid=pid, comm="curl"), "openssl"), exchanges)
    check_curl_log(read_log(log), exchanges)


@case
def tls_curl_both_sides(t):
    """the same transfers of curl and a Python server, both traced"""
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    argv, count = curl_transfers(t, server, "--cacert", certificate.path)
    client, exchanges = both_sides(t, server, argv, OPENSSL_BOTH, count, options=["--show-secrets"])
    check_curl_log(client_log(client), of_side(exchanges, "client"))


@case
def tls_curl_mebibyte(t):
    """curl: 1 MiB up and down; a body that ends with the connection"""
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    argv = get(server, certificate, ["/echo", "/close/300000"], "--data-binary", "@" + upload_file(t))
    both_sides(t, server, argv, OPENSSL_BOTH, 2)


def through_libcurl(t, name, library):
    """1 MiB up and down by a libcurl that the program loads."""
    system_library(name)
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    urls = [server.url + target for target in ("/echo", f"/bytes/{MIB}", "/chunked/5000", "/status/404")]
    argv = [t.program("curl_lib"), name, certificate.path, upload_file(t), *urls]
    both_sides(t, server, argv, ("openssl", library), len(urls))


@case
def tls_libcurl_openssl(t):
    """libcurl of OpenSSL, loaded by dlopen() after the start"""
    through_libcurl(t, "libcurl.so.4", "openssl")


@case
def tls_libcurl_gnutls(t):
    """libcurl of GnuTLS, loaded by dlopen() after the start"""
    through_libcurl(t, "libcurl-gnutls.so.4", "gnutls")


@case
def tls_libcurl_nss(t):
    """libcurl of NSS, loaded by dlopen() after the start"""
    through_libcurl(t, "libcurl-nss.so.4", "nss")


@case
def tls_wget(t):
    """wget (GnuTLS): three files over keep-alive, and a POST of 1 MiB"""
    need("wget")
    certificate = Certificate(t)
    server, post = (PythonServer(t, certificate=certificate) for _ in range(2))
    wget = [*WGET, "--ca-certificate", certificate.path]
    gets = [server.url + target for target in ("/bytes/100", "/chunks/30000", f"/close/{MIB}")]
    both_sides(t, server, [*wget, *gets], ("openssl", "gnutls"), 3)
    both_sides(t, post, [*wget, "--post-file", upload_file(t), post.url + "/echo"], ("openssl", "gnutls"), 1)


# ---- Python, node, Go -----------------------------------------------------------------------------------------------


@case
def tls_python_keepalive(t):
    """python http.client: 50 requests on one connection"""
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    client, exchanges = both_sides(t, server, python_client(server, "keepalive", 50, certificate), OPENSSL_BOTH, 50)
    compare_tls(t, seen_by(client_log(client), "openssl"), of_side(exchanges, "client"))


@case
def tls_python_pipelined(t):
    """20 requests in one write, and what follows CONNECT and 101"""
    certificate = Certificate(t)
    for kind, count in (("pipelined", 20), ("tunnels", 2)):
        server = PythonServer(t, certificate=certificate)
        both_sides(t, server, python_client(server, kind, count, certificate), OPENSSL_BOTH, count)


@case
def tls_python_requests(t):
    """python requests: 20 requests of a session"""
    if subprocess.run([sys.executable, "-c", "import requests"], stderr=subprocess.DEVNULL, check=False).returncode:
        raise Skip("the requests library is not installed")
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    client, exchanges = both_sides(t, server, python_client(server, "requests", 20, certificate), OPENSSL_BOTH, 20)
    compare_tls(t, seen_by(client_log(client), "openssl"), of_side(exchanges, "client"))


@case
def tls_python_asyncio(t):
    """python asyncio and a server over memory BIOs: the library never sees a socket"""
    certificate = Certificate(t)
    server = PythonServer(t, mode="memory", certificate=certificate)
    argv = python_client(server, "aio", 25, certificate)
    both_sides(t, server, argv, OPENSSL_BOTH, 100, addresses=False, options=["--ring-size", 64])


@case
def tls_node(t):
    """node as client and server, over memory BIOs, with its own copy of OpenSSL or Debian's"""
    certificate = Certificate(t)
    server = NodeServer(t, certificate)
    argv = ["node", t.source("client.js"), str(server.port), "40", certificate.path]
    client, exchanges = both_sides(t, server, argv, OPENSSL_BOTH, 40, addresses=False)
    compare_tls(t, seen_by(client_log(client), "openssl"), of_side(exchanges, "client"), addresses=False)


def go_both_sides(t, name, way="", count=10, connections=3):
    """Ten requests, the last of 1 MiB, on each of three connections."""
    certificate = Certificate(t)
    server = GoServer(t, program(t, name), certificate, way)
    argv = [program(t, name), "client", server.port, count, connections, *([way] if way else [])]
    client, exchanges = both_sides(t, server, argv, ("go", "go"), count * connections, options=["--ring-size", 64])
    compare_tls(t, seen_by(client_log(client), "go"), of_side(exchanges, "client"))


@case
def tls_go(t):
    """Go's crypto/tls, client and server, with symbols"""
    go_both_sides(t, "gotls")


@case
def tls_go_stripped(t):
    """Go's crypto/tls, client and server, stripped"""
    go_both_sides(t, "gotls_stripped")


@case
def tls_go_handshake_inside(t):
    """Go: nobody asks for the handshake, so that the first Read or Write makes it"""
    go_both_sides(t, "gotls", "inside")


@case
def tls_go_twice(t):
    """Go: TLS in TLS, where a Read calls another one"""
    go_both_sides(t, "gotls", "twice")


@case
def tls_go_closed_inside(t):
    """Go: another goroutine closes the session before the Write of the response returns"""
    go_both_sides(t, "gotls", "closed", 1, 20)


@case
def tls_go_caddy(t):
    """Caddy of Debian 13, built with Go 1.24 and stripped: HTTP/1.1 and HTTP/2, sizes of its access log"""
    certificate = Certificate(t)
    server = Caddy(t, Debian13().caddy, certificate, SIZES)
    # The empty one last: curl leaves when it has a body of the length it expects, without the frame that ends it.
    argv = get(server, certificate, FILES[::-1])
    clients = [t.gated([*argv, protocol]) for protocol in ("--http1.1", "--http2")]
    tool = t.sslsniff(pids=[server, *clients])
    for client in clients:
        client.release()
        client.done()
    served = server.served(2 * len(FILES))
    at_client = [mirror(truth, pid=clients[i >= len(FILES)].pid) for i, truth in enumerate(served)]
    compare_tls(t, seen_by(served, "go") + seen_by(at_client, "openssl"), tool.interrupt())


# ---- servers --------------------------------------------------------------------------------------------------------

SIZES = (0, 1, 1000, 100_000, MIB)
FILES = [f"/{size}.bin" for size in SIZES]


def files_served(t, server, certificate, targets, also=()):
    """curl gets targets; returns the records of its side (from also, or the access log) and the exchanges."""
    client, exchanges = sniffed(t, server, get(server, certificate, targets))
    log = also or read_log(server.log, len(targets))
    return client, log, exchanges


@case
def tls_nginx_static(t):
    """nginx: sizes, statuses and wire bytes of its access log, whole bodies on both sides, with sendfile on too"""
    certificate = Certificate(t)
    for sendfile in ("off", "on"):
        server = Nginx(t, sendfile, SIZES, certificate=certificate)
        client, log, exchanges = files_served(t, server, certificate, [*FILES, "/missing"])
        whole = [{**truth, "response_captured": truth["response_bytes"]} for truth in log]
        at_client = [mirror(truth, pid=client.pid) for truth in whole]
        compare_tls(t, seen_by(whole, "openssl") + seen_by(at_client, "openssl"), exchanges)


@case
def tls_nginx_both_hops(t):
    """nginx as a proxy that ends TLS and goes on over TLS: both hops, each once"""
    certificate = Certificate(t)
    upstream = PythonServer(t, certificate=certificate)
    server = Nginx(t, "off", upstream=upstream.url, certificate=certificate)
    targets = [f"/proxy/bytes/{n}" for n in (10, 50_000, MIB)]
    _, log, exchanges = files_served(t, server, certificate, targets)
    of_nginx = [e for e in exchanges if e["process"]["pid"] == server.pid]
    compare_tls(t, seen_by(log, "openssl"), of_side(of_nginx, "server"))
    compare_tls(t, seen_by(upstream.mirrored(3, pid=server.pid), "openssl"), of_side(of_nginx, "client"))
    equal(len(exchanges), 9, "exchanges of curl and of both sides of nginx")


@case
def tls_apache(t):
    """Apache: sizes and statuses of its access log, whole bodies on both sides"""
    certificate = Certificate(t)
    server = Apache(t, certificate, SIZES)
    client, log, exchanges = files_served(t, server, certificate, [*FILES, "/missing"])
    at_client = [mirror(truth, pid=client.pid) for truth in log]
    compare_tls(t, seen_by(log, "openssl") + seen_by(at_client, "openssl"), exchanges)


def haproxy_hops(t, upstream, certificate):
    """A client behind whom HAProxy goes on to upstream; returns (truths of HAProxy's front, of its back, exchanges)."""
    front = Haproxy(t, certificate, upstream)
    client = t.gated(python_client(front, "keepalive", 30, certificate))
    tool = t.sslsniff(pids=[front])
    client.release()
    client.done()
    at_front = [mirror(record, pid=front.pid) for record in client_log(client)]
    return at_front, upstream.mirrored(30, pid=front.pid), tool.interrupt()


@case
def tls_haproxy_both_hops(t):
    """HAProxy that ends TLS and goes on over TLS: both hops, each once"""
    certificate = Certificate(t)
    at_front, at_back, exchanges = haproxy_hops(t, PythonServer(t, certificate=certificate), certificate)
    compare_tls(t, seen_by(at_front, "openssl"), of_side(exchanges, "server"))
    compare_tls(t, seen_by(at_back, "openssl"), of_side(exchanges, "client"))


@case
def tls_haproxy_ends_tls(t):
    """HAProxy with a plain hop behind it: that one is not reported as TLS"""
    certificate = Certificate(t)
    at_front, _, exchanges = haproxy_hops(t, PythonServer(t), certificate)
    compare_tls(t, seen_by(at_front, "openssl"), exchanges)


@case
def tls_inside_tls(t):
    """curl through an HTTPS proxy: the CONNECT of the outer session, the exchanges of the inner one, each once"""
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    proxy = Apache(t, certificate, tunnel_to=server.port)
    through = ["--proxy", proxy.url, "--proxy-cacert", certificate.path]
    client = t.gated(get(server, certificate, ["/bytes/10", f"/bytes/{MIB}"], *through))
    tool = t.sslsniff(pids=[proxy, client])
    client.release()
    client.done()
    (log,) = read_log(proxy.log, 1)
    ends = {"local_port": log["remote_port"], "remote_port": proxy.port}  # of both sessions, at curl
    connect = {"method": "CONNECT", "target": f"127.0.0.1:{server.port}", "status": 200}
    outer = {**connect, "side": "client", "pid": client.pid, **ends}
    truths = [outer, mirror(outer, pid=proxy.pid), *server.mirrored(2, pid=client.pid, **ends)]
    compare_tls(t, seen_by(truths, "openssl"), tool.interrupt())


def s_server_seen(t, **options):
    """openssl s_server -WWW (options: OpensslServer) and curl, both sides; sizes that curl says. Returns exchanges."""
    certificate = Certificate(t)
    server = OpensslServer(t, certificate, SIZES[1:], **options)
    argv = get(server, certificate, FILES[1:], "-w", "%{stderr}%{json}\\n")
    client = t.gated(argv)
    tool = t.sslsniff(pids=[server, client])
    client.release()
    client.done()
    said = [line for line in client.stderr().splitlines() if line.startswith("{")]
    check(len(said) == len(FILES) - 1, f"curl said {said}")
    ports = [int(re.search(r'"local_port":(\d+)', line)[1]) for line in said]
    at_client = [
        {"side": "client", "pid": client.pid, "local_port": port, "remote_port": server.port, "method": "GET",
         "target": target, "status": 200, "response_bytes": size, "response_captured": size}
        for port, target, size in zip(ports, FILES[1:], SIZES[1:])
    ]  # fmt: skip
    at_server = [mirror(truth, pid=server.pid) for truth in at_client]
    exchanges = tool.interrupt()
    compare_tls(t, seen_by(at_client, "openssl") + seen_by(at_server, "openssl"), exchanges)
    return exchanges


@case
def tls_openssl_s_server(t):
    """openssl s_server -WWW: BIO_f_buffer on BIO_f_ssl"""
    s_server_seen(t)


# ---- the record itself ----------------------------------------------------------------------------------------------


@case
def tls_record(t):
    """the tls object: library, version, path as mapped, how the address was found; addresses, https in the URL"""
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    with open(f"/proc/{server.pid}/maps", encoding="utf-8") as f:
        mapped = re.search(r"\S+libssl\.so\S*", f.read())
    if not mapped:
        raise Skip(f"{sys.executable} does not use a shared libssl")
    _, exchanges = both_sides(t, server, get(server, certificate, ["/bytes/10"]), OPENSSL_BOTH, 1)
    for exchange in exchanges:
        told, connection = flatten(exchange), exchange["connection"]
        equal(told["tls_path"], mapped[0], "path of the library")
        check(re.fullmatch(r"\d+\.\d+\.\d+\S*", told["tls_version"] or ""), f"version: {told['tls_version']}")
        equal(exchange["request"]["url"], server.url + "/bytes/10", "URL")
        ends = [connection[end]["address"] for end in ("local", "remote")]
        equal((connection["transport"], connection["family"], ends), ("tcp", "ipv4", ["127.0.0.1"] * 2), "connection")
    at_server = flatten(of_side(exchanges, "server")[0])
    equal(at_server["tls_resolved"], "set_fd", "how the address of a Python server was found")


@case
def tls_options(t):
    """--max-body keeps so much and counts all; -n ends the tool after so many exchanges"""
    server = PythonServer(t, certificate=Certificate(t))
    client = waiting_peer(t, "openssl", "write read", server, "-n", "3", "-b", "5000", "-w", "0")
    tool = t.sslsniff("--max-body", 1000, "-n", 2, pids=[client])
    client.release()
    client.done()
    tool.wait()
    bodies = [e[which]["body"] for e in tool.exchanges() for which in ("request", "response")]
    got = [(body["size_bytes"], body["captured_bytes"], body["state"]) for body in bodies]
    equal(got, [(5000, 1000, "truncated")] * 4, "size, kept bytes and state of two exchanges")


@case
def tls_curl_headers(t):
    """curl -v prints the same request and response headers, in the same order"""
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    argv = get(server, certificate, ["/bytes/10"], "-v", "-H", "X-Two: 1", "-H", "X-Two: 2")
    client, exchanges = sniffed(t, server, argv)
    compare(seen_by(server.served(1) + server.mirrored(1, pid=client.pid), "openssl"), exchanges)
    for mark, which in ((">", "request"), ("<", "response")):
        said = [line[2:] for line in client.stderr().splitlines() if line.startswith(mark) and ": " in line]
        got = [f"{h['name']}: {h['value']}" for h in of_side(exchanges, "client")[0][which]["headers"]]
        equal(got, said, f"{which} headers")
