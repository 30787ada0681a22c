# SPDX-License-Identifier: Apache-2.0
"""HTTP/2: over TLS and in clear text, many streams, connections met in their middle."""

import subprocess

from harness import need
from pattern import pattern
from scenario import of_side
from servers import HaproxyTcp, Nginx, NodeServer, Server
from tap import case, check, equal
from tls import Certificate
from truth import compare, flatten

MANY = 400


class NodeServer2(NodeServer):
    """programs/server_h2.js."""

    SCRIPT = "server_h2.js"


class UpgradeServer(Server):
    """programs/server_upgrade.py."""

    def __init__(self, t):
        self.log = t.path("upgrade.log")
        self.start(t, ["/usr/bin/python3", t.source("server_upgrade.py"), self.log])


def curl(server, targets, *options):
    """A curl command for targets, on one connection."""
    out = [word for target in targets for word in ("-o", "/dev/null", server.url + target)]
    return ["curl", "-s", *options, *out]


def upload(t):
    path = t.path("upload")
    with open(path, "wb") as f:
        f.write(pattern(300_000))
    return path


def check_heads(exchanges):
    """What compare() does not look at: authority, scheme, URL, trailers of programs/server_h2.js."""
    for exchange in exchanges:
        request = exchange["request"]
        equal(request["url"], f"{request['scheme']}://{request['authority']}{request['target']}", "url")
        names = [field["name"] for field in request["headers"]]
        check(not any(name.startswith(":") for name in names), f"pseudo-headers among {names}")
        equal([field["name"] for field in exchange["response"]["trailers"]], ["x-checksum"], "trailers")


@case
def h2_tls_both_sides(t):
    """curl and node over TLS (ALPN): GET and an upload on one connection, seen from both sides"""
    certificate = Certificate(t)
    server = NodeServer2(t, certificate=certificate)
    options = ["--http2", "--cacert", certificate.path]
    argv = curl(server, ["/1", "/2?q=x"], *options) + ["--next", *curl(server, ["/up"], *options)[1:]]
    argv += ["--data-binary", "@" + upload(t)]
    client = t.gated(argv)
    tool = t.sslsniff(pids=[server, client])
    client.release()
    client.done()
    exchanges = tool.interrupt()
    compare(server.served(3) + server.mirrored(3, pid=client.pid), exchanges)
    check_heads(exchanges)


@case
def h2c_prior_knowledge(t):
    """curl and node in clear text, seen from both sides"""
    server = NodeServer2(t)
    options = ["--http2-prior-knowledge", "--data-binary", "@" + upload(t)]
    client = t.gated(curl(server, ["/up"], *options))
    tool = t.snoop(pids=[server, client])
    client.release()
    client.done()
    exchanges = tool.interrupt()
    compare(server.served(1) + server.mirrored(1, pid=client.pid), exchanges)
    check_heads(exchanges)


@case
def h2c_upgrade(t):
    """Upgrade: h2c, the request as that of stream 1, and a request after it"""
    server = UpgradeServer(t)
    client = t.gated(curl(server, ["/first", "/second"], "--http2"))
    tool = t.snoop(pids=[server, client])
    client.release()
    client.done()
    exchanges = tool.interrupt()
    count = len(server.served())
    check(count >= 1, "curl asked for something")
    compare(server.served(count) + server.mirrored(count, pid=client.pid), exchanges)
    equal({tuple(flatten(e)["interim"]) for e in exchanges if e["stream_id"] == 1}, {(101,)}, "interim of stream 1")


@case
def h2_nginx(t):
    """nginx with sendfile, over TLS: sizes and statuses of its log, on both sides"""
    certificate = Certificate(t)
    server = Nginx(t, "on", (0, 1000, 3_000_000), certificate=certificate, tls="ssl http2")
    targets = ["/0.bin", "/1000.bin", "/3000000.bin", "/missing"]
    client = t.gated(curl(server, targets, "--http2", "--cacert", certificate.path))
    tool = t.sslsniff(pids=[server, client])
    client.release()
    client.done()
    exchanges = tool.interrupt()
    keys = ("side", "pid", "method", "target", "status", "response_bytes", "local_port", "remote_port")
    log = [{key: truth[key] for key in keys} for truth in server.served(4)]
    compare(log, of_side(exchanges, "server"))
    equal(sorted(flatten(e)["target"] for e in of_side(exchanges, "client")), sorted(targets), "targets at the client")


def nghttp(server, targets):
    """An nghttp command for targets, at once on one connection in clear text."""
    need("nghttp")
    return ["nghttp", "-n", *[server.url + target for target in targets]]


def check_proxy_protocol(t, words, listen, client_argv):
    """A client, HAProxy that only passes bytes on behind a header of the PROXY protocol, nginx: each of the four ends."""
    server = Nginx(t, "off", (1000, 100_000), listen=listen)
    front = HaproxyTcp(t, server, words)
    targets = ["/1000.bin", "/100000.bin", "/missing"]
    client = t.gated(client_argv(front, targets))
    tool = t.snoop(pids=[client, front, server])
    client.release()
    client.done()
    exchanges = tool.interrupt()
    log = server.served(3)
    keys = ("side", "pid", "method", "target", "status", "response_bytes")
    for pid, side in ((client.pid, "client"), (front.pid, "server"), (front.pid, "client"), (server.pid, "server")):
        mine = [e for e in of_side(exchanges, side) if e["process"]["pid"] == pid]
        compare([{**{key: truth[key] for key in keys}, "pid": pid, "side": side} for truth in log], mine)
        check(all(e["complete"] and not e["flags"] for e in mine), f"exchanges of {side} {pid}")
    equal(len(exchanges), 12, "exchanges")
    return exchanges


@case
def h2c_proxy_protocol_1(t):
    """a header of the PROXY protocol, version 1, before the preface of HTTP/2"""
    exchanges = check_proxy_protocol(t, "send-proxy", "http2 proxy_protocol", nghttp)
    equal({e["request"]["version"] for e in exchanges}, {"2"}, "version")


@case
def h2c_proxy_protocol_2(t):
    """the same of version 2"""
    exchanges = check_proxy_protocol(t, "send-proxy-v2", "http2 proxy_protocol", nghttp)
    equal({e["request"]["version"] for e in exchanges}, {"2"}, "version")


@case
def http1_proxy_protocol(t):
    """the same before HTTP/1.1"""
    exchanges = check_proxy_protocol(t, "send-proxy-v2", "proxy_protocol", curl)
    equal({e["request"]["version"] for e in exchanges}, {"1.1"}, "version")


@case
def h2_many_streams(t):
    """h2load: 2 connections with 10 streams at once over TLS, every request on both sides"""
    need("h2load")
    certificate = Certificate(t)
    server = Nginx(t, "off", (1000,), certificate=certificate, tls="ssl http2")
    client = t.gated(["h2load", "-n", str(MANY), "-c", "2", "-m", "10", server.url + "/1000.bin"])
    tool = t.sslsniff(pids=[server, client])
    client.release()
    client.done()
    exchanges = tool.interrupt()
    for side in ("client", "server"):
        mine = of_side(exchanges, side)
        equal(len(mine), MANY, f"exchanges of the {side}")
        check(all(e["complete"] and e["response"]["body"]["size_bytes"] == 1000 for e in mine), "all of them whole")
        streams = {(e["connection"]["id"], e["stream_id"]) for e in mine}
        equal(len(streams), MANY, f"streams of the {side}")


def late(t, server, attach, *arguments):
    """A node client whose first requests are not seen; returns it and the exchanges."""
    client = t.spawn(["node", t.source("client_h2.js"), server.url, "3", *arguments], stdin=subprocess.PIPE)
    client.wait_ready()
    tool = attach(pids=[server, client])
    client.tell("go")
    server.served(6)
    client.tell("end")
    client.done()
    return client, tool.interrupt()


def check_late(server, client, exchanges):
    # 201 is no entry of HPACK's static table: by now it is one of the dynamic table, from before the tool came.
    late_truth = {"midstream": True, "status": None}
    later = server.served(6)[3:] + server.mirrored(6, pid=client.pid)[3:]
    compare([{**truth, **late_truth} for truth in later], exchanges)
    for exchange in exchanges:
        names = [field["name"] for field in exchange["request"]["headers"]]
        check("x-same" not in names, "a name that was never seen")
        check(None in names and "unknown-headers" in exchange["request"]["flags"], "an unknown header is not marked")


@case
def h2c_late(t):
    """a connection in clear text met in its middle: later requests, with unknown headers marked"""
    server = NodeServer2(t)
    client, exchanges = late(t, server, t.snoop)
    check_late(server, client, exchanges)


@case
def h2_tls_late(t):
    """the same over TLS"""
    certificate = Certificate(t)
    server = NodeServer2(t, certificate=certificate)
    server.url = server.url.replace("127.0.0.1", "localhost")
    client, exchanges = late(t, server, t.sslsniff, certificate.path)
    check_late(server, client, exchanges)
