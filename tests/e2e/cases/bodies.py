# SPDX-License-Identifier: Apache-2.0
"""Bodies of every size and make, byte for byte."""

from pattern import pattern, sha
from scenario import both_sides, client_log, of_side, python_client, traced
from servers import PythonServer
from tap import case, equal
from truth import compare

MIB = 1 << 20


@case
def mebibyte_up_and_down(t):
    """1 MiB in both directions"""
    server = PythonServer(t)
    upload = t.path("upload")
    with open(upload, "wb") as f:
        f.write(pattern(MIB))
    both_sides(t, server, ["curl", "-s", "-o", "/dev/null", "--data-binary", "@" + upload, server.url + "/echo"], 1)
    equal(server.served()[0]["request_sha"], sha(pattern(MIB)), "what the server received")


@case
def download_20_mebibytes(t):
    """20 MiB download, kept whole on both sides"""
    server = PythonServer(t)
    argv = ["curl", "-s", "-o", "/dev/null", f"{server.url}/bytes/{20 * MIB}"]
    # Loopback is faster than any reader: room for all of it, twice.
    both_sides(t, server, argv, 1, options=["--ring-size", 64])


@case
def download_100_mebibytes(t):
    """100 MiB at the client, most of it not kept: every byte counted, no gap where nothing was lost"""
    server, size = PythonServer(t), 100 * MIB
    client = t.gated(["curl", "-s", "-o", "/dev/null", f"{server.url}/bytes/{size}"])
    tool = t.snoop("--max-body", "64k", "--ring-size", 128, pids=[client])
    client.release()
    client.done()
    kept = {"response_captured": 65536, "response_sha": sha(pattern(65536)), "response_state": "truncated"}
    compare([{**truth, **kept} for truth in server.mirrored(1, pid=client.pid)], tool.interrupt())


@case
def chunked_4_mebibytes(t):
    """4 MiB of chunks whose frames fall anywhere in the calls"""
    server = PythonServer(t)
    both_sides(t, server, ["curl", "-s", "-o", "/dev/null", f"{server.url}/chunked/{4 * MIB}"], 1)


@case
def body_limit(t):
    """--max-body: kept bytes up to it, true size, state truncated"""
    server = PythonServer(t)
    urls = [word for size in (100000, 1000) for word in ("-o", "/dev/null", f"{server.url}/bytes/{size}")]
    _, exchanges = traced(t, server, ["curl", "-s", *urls], "--max-body", 1000)
    equal(len(exchanges), 4, "exchanges")
    for exchange in exchanges:
        body = exchange["response"]["body"]
        state = "truncated" if exchange["request"]["target"] == "/bytes/100000" else "complete"
        equal((body["captured_bytes"], body["state"]), (1000, state), exchange["request"]["target"])
        equal(body["size_bytes"], int(exchange["request"]["target"].split("/")[2]), "true size")


@case
def trickle(t):
    """a response written one byte a call"""
    server = PythonServer(t)
    both_sides(t, server, ["curl", "-s", "-o", "/dev/null", server.url + "/trickle/2000"], 1)


@case
def trailers(t):
    """chunked both ways with extensions and trailers, the request written one byte a call"""
    server = PythonServer(t)
    client, exchanges = both_sides(t, server, python_client(server, "trailers"), 1)
    equal(client_log(client)[0]["response_sha"], sha(pattern(5000)), "what the client received")
    for exchange in exchanges:
        side = exchange["side"]
        for which, name, value in (("request", "X-Sum", "42"), ("response", "X-Trailer", "end")):
            equal(exchange[which]["trailers"], [{"name": name, "value": value}], f"{which} trailers at the {side}")


@case
def binary(t):
    """bodies that hold CRLFCRLF, NUL, whole HTTP messages and bytes that are no UTF-8"""
    server = PythonServer(t)
    upload = t.path("upload")
    with open(upload, "wb") as f:
        f.write(b"\r\n\r\nPOST /no HTTP/1.1\r\nContent-Length: 1\r\n\r\n\0\xff\r\n0\r\n\r\n" * 50)
    argv = ["curl", "-s"]
    for target in ("/echo", "/binary", "/escapes"):
        argv += ["-o", "/dev/null", server.url + target]
    both_sides(t, server, argv + ["--data-binary", "@" + upload], 3)
    # A body taken for a message would have cost the rest of the connection its place.
    equal(len({truth["remote_port"] for truth in server.served()}), 1, "connections that curl used")


@case
def encodings_of_text(t):
    """a body that is UTF-8 is given as text, one that is not as base64"""
    server = PythonServer(t)
    sent = {"/echo?utf8": "h\u00e4ll\u00f6 \u2713".encode(), "/echo?latin1": b"h\xe4ll\xf6"}
    argv = ["curl", "-s"]
    for target, body in sent.items():
        path = t.path("body")
        with open(path, "wb") as f:
            f.write(body)
        argv += ["--next", "-s"] if len(argv) > 2 else []
        argv += ["-o", "/dev/null", "--data-binary", "@" + path, server.url + target]
    _, exchanges = both_sides(t, server, argv, 2)
    for exchange in of_side(exchanges, "server"):
        key = "text" if exchange["request"]["target"].endswith("utf8") else "base64"
        equal(key in exchange["request"]["body"], True, f"{key} in the body of {exchange['request']['target']}")
