# SPDX-License-Identifier: Apache-2.0
"""Everyday clients and servers."""

from harness import need, read_log
from pattern import pattern
from scenario import both_sides, client_log, of_side, python_client, traced
from servers import NodeServer, PythonServer
from tap import case, equal
from truth import compare, flatten

WGET = ["wget", "-q", "--no-hsts", "-O", "/dev/null"]


def curl_transfers(t, server, *every):
    """One curl command with a transfer of each kind, with the options every; each logs its own JSON."""
    upload = t.path("upload")
    with open(upload, "wb") as f:
        f.write(pattern(70000))
    transfers = [
        ["/bytes/2000"],
        ["/echo?username=alice", "-d", "password=secret"],
        ["/bytes/5000", "-I"],
        ["/echo?chunked", "-T", upload, "-H", "Transfer-Encoding: chunked"],
        ["/echo?expect", "--data-binary", "@" + upload, "-H", "Expect: 100-continue"],
        ["/chunked/9000", "-X", "DELETE"],
        ["/status/204", "-X", "PATCH", "-d", "x"],
        ["/status/304"],
        ["/nothing-here", "-X", "OPTIONS"],
    ]
    argv = ["curl"]
    for target, *options in transfers:
        argv += ["--next"] if len(argv) > 1 else []
        argv += ["-s", "-o", "/dev/null", "-w", "%{json}\n", *every, *options, server.url + target]
    return argv, len(transfers)


def check_curl_log(log, exchanges):
    """What curl says about its transfers must be what was reported, in this order."""
    equal(len(log), len(exchanges), "transfers that curl logged")
    for said, exchange in zip(log, exchanges):
        got = flatten(exchange)
        what = f"{said['method']} {said['url_effective']}"
        equal(got["method"], said["method"], what)
        equal(got["local_port"], said["local_port"], f"{what}: local port")
        equal(got["remote_port"], said["remote_port"], f"{what}: remote port")
        equal(got["status"], said["http_code"], f"{what}: status")
        on_wire = got["request_wire_bytes"] - got["request_head_bytes"]  # curl counts chunk framing too, but only here
        equal(on_wire, said["size_upload"], f"{what}: bytes sent")
        equal(got["response_bytes"], said["size_download"], f"{what}: bytes received")
        if "/chunked" not in what:
            equal(got["response_wire_bytes"], said["size_header"] + said["size_download"], f"{what}: bytes on the wire")


@case
def curl_command(t):
    """curl GET, POST, HEAD, chunked upload, 100-continue and more as COMMAND"""
    server = PythonServer(t)
    argv, count = curl_transfers(t, server)
    pid_file, log = t.path("pid"), t.path("curl.log")
    shell = 'echo $$ >"$0"; log=$1; shift; exec "$@" >"$log"'
    tool = t.snoop("--show-secrets", command=["/bin/sh", "-c", shell, pid_file, log, *argv])
    exchanges = tool.finish()
    with open(pid_file, encoding="ascii") as f:
        pid = int(f.read())
    compare(server.mirrored(count, pid=pid, comm="curl"), exchanges)
    check_curl_log(read_log(log), exchanges)


@case
def curl_server_side(t):
    """the same curl transfers seen from the server, found by -p"""
    server = PythonServer(t)
    argv, count = curl_transfers(t, server)
    tool = t.snoop("--show-secrets", pids=[server])
    t.spawn(argv).done()
    compare(server.served(count), tool.interrupt())


@case
def curl_both_sides(t):
    """client and server on one host: one exchange per side, not mixed up"""
    server = PythonServer(t)
    argv, count = curl_transfers(t, server)
    client, exchanges = both_sides(t, server, argv, count, ["--show-secrets"])
    check_curl_log(client_log(client), of_side(exchanges, "client"))


@case
def curl_headers(t):
    """curl -v prints the same request and response headers, in the same order"""
    server = PythonServer(t)
    argv = ["curl", "-sv", "--http1.1", "-H", "X-Two: 1", "-H", "X-Two: 2", server.url + "/bytes/10"]
    client, exchanges = traced(t, server, argv)
    for mark, which in ((">", "request"), ("<", "response")):
        said = [line[2:] for line in client.stderr().splitlines() if line.startswith(mark) and ": " in line]
        got = [f"{h['name']}: {h['value']}" for h in of_side(exchanges, "client")[0][which]["headers"]]
        equal(got, said, f"{which} headers")


@case
def wget(t):
    """wget: three files over keep-alive, and a POST"""
    need("wget")
    server = PythonServer(t)
    # No trailers for wget: it leaves the line after them unread and gives the connection up.
    gets = [server.url + target for target in ("/bytes/100", "/chunks/30000", "/close/777")]
    both_sides(t, server, [*WGET, *gets], 3)
    post = PythonServer(t)
    both_sides(t, post, [*WGET, "--post-data=a=b&c=d", post.url + "/echo"], 1)


@case
def node_client(t):
    """node: 40 requests of a keep-alive agent over four connections"""
    need("node")
    server = PythonServer(t)
    client, exchanges = both_sides(t, server, ["node", t.source("client.js"), str(server.port), "40"], 40)
    compare(client_log(client), of_side(exchanges, "client"))


@case
def node_server(t):
    """node as the server of node"""
    server = NodeServer(t)
    client, exchanges = both_sides(t, server, ["node", t.source("client.js"), str(server.port), "30"], 30)
    compare(client_log(client), of_side(exchanges, "client"))


@case
def python_keepalive(t):
    """python http.client: 50 requests on one connection"""
    server = PythonServer(t)
    client, exchanges = both_sides(t, server, python_client(server, "keepalive", 50), 50)
    compare(client_log(client), of_side(exchanges, "client"))
    ids = {e["connection"]["id"] for e in of_side(exchanges, "client")}
    equal(len(ids), 1, "connection ids of one connection")


@case
def python_threads(t):
    """python: 50 connections of 50 threads at once, with the thread ids of both sides"""
    server = PythonServer(t)
    client, exchanges = both_sides(t, server, python_client(server, "threads", 50), 50)
    compare(client_log(client), of_side(exchanges, "client"))
    ids = {e["connection"]["id"] for e in of_side(exchanges, "client")}
    equal(len(ids), 50, "connection ids of 50 connections")
