# SPDX-License-Identifier: Apache-2.0
"""Coded bodies, compared with what curl makes of them."""

import os
import sys

from harness import PROGRAMS, need
from scenario import of_side
from servers import Nginx, wait_port
from tap import case, check, equal
from tool import Httpsnoop
from truth import body_bytes

# Text that all charsets of these tests have, and that compresses to about a third.
TEXT = "".join(f"Zeile {i}: café, {i * 7919 % 65521} Bäume\n" for i in range(3000)).encode()

CODINGS = {  # target: codings that are reported
    "/gzip": ["gzip"],
    "/zlib": ["deflate"],
    "/raw": ["deflate"],
    "/br": ["br"],
    "/zstd": ["zstd"],
    "/stacked": ["br", "gzip"],
    "/chunked": ["gzip"],
    "/transfer": ["gzip"],
}


class CodedServer:
    """programs/coded.py, with TEXT."""

    def __init__(self, t):
        need("brotli", "zstd")
        file = t.path("text")
        with open(file, "wb") as f:
            f.write(TEXT)
        self.process = t.spawn([sys.executable, os.path.join(PROGRAMS, "coded.py"), file])
        self.pid, self.port = self.process.pid, wait_port(self.process)
        self.url = f"http://127.0.0.1:{self.port}"


def curl(t, server, targets, *options):
    """Command line of a curl that gets targets, and the files that it writes."""
    files = [t.path("got") for _ in targets]
    words = [word for file, target in zip(files, targets) for word in ("-o", file, server.url + target)]
    return ["curl", "-sS", *options, *words], files


def fetch(t, server, targets, *options, snoop=()):
    """Run that curl, traced together with server; returns (exchanges of both sides by target, what curl wrote)."""
    argv, files = curl(t, server, targets, *options)
    client = t.gated(argv)
    tool = t.snoop(*snoop, pids=[server, client])
    client.release()
    client.done()
    exchanges = tool.interrupt()
    equal(len(exchanges), 2 * len(targets), "exchanges")
    found = {target: [e for e in exchanges if e["request"]["target"] == target] for target in targets}
    got = {}
    for target, file in zip(targets, files):
        with open(file, "rb") as f:
            got[target] = f.read()
    return found, got


def content_length(exchange):
    headers = exchange["response"]["headers"]
    return next((int(h["value"]) for h in headers if h["name"].lower() == "content-length"), None)


def check_decoded(exchange, codings, plain):
    body = exchange["response"]["body"]
    equal(body["content_encoding"], codings, "codings")
    equal((body["state"], body["decoded_state"]), ("complete", "complete"), "states")
    equal(body["decoded_size_bytes"], len(plain), "decoded size")
    equal(body["size_bytes"], content_length(exchange) or body["size_bytes"], "size on the wire")
    check(body["size_bytes"] < len(plain), "the size is not that on the wire")
    check(body["text"].encode() == plain, "the text is not what curl wrote")


@case
def decoded_codings(t):
    """gzip, deflate of both kinds, br, zstd, stacked, chunked and as transfer coding: what curl --compressed writes"""
    found, got = fetch(t, CodedServer(t), list(CODINGS), "--compressed", "--tr-encoding")
    for target, codings in CODINGS.items():
        check(got[target] == TEXT, f"curl wrote something else for {target}")
        equal(sorted(e["side"] for e in found[target]), ["client", "server"], target)
        for exchange in found[target]:
            check_decoded(exchange, codings, TEXT)


@case
def decoded_members(t):
    """gzip of two members, of which curl decodes the first only: the whole text"""
    found, _ = fetch(t, CodedServer(t), ["/members"])
    for exchange in found["/members"]:
        check_decoded(exchange, ["x-gzip"], TEXT)


@case
def not_decoded(t):
    """--no-decode: the bytes on the wire, and no word about decoding"""
    targets = ["/gzip", "/br", "/latin1"]
    found, got = fetch(t, CodedServer(t), targets, snoop=["--no-decode"])
    for target in targets:
        for exchange in found[target]:
            body = exchange["response"]["body"]
            check(body_bytes(body) == got[target], f"{target} is not what curl wrote")
            equal({"content_encoding", "decoded_state", "charset"} & set(body), set(), "fields")


@case
def charset_converted(t):
    """ISO 8859-1 is shown as UTF-8"""
    found, got = fetch(t, CodedServer(t), ["/latin1"])
    for exchange in found["/latin1"]:
        body = exchange["response"]["body"]
        equal((body["charset"], body["size_bytes"]), ("iso-8859-1", len(got["/latin1"])), "charset and size")
        check(body["text"].encode() == TEXT, "the text is another")


@case
def coded_without_body(t):
    """HEAD and 204 with Content-Encoding: no body, nothing to decode"""
    server = CodedServer(t)
    for target, option in (("/gzip", "--head"), ("/chunked", "--head"), ("/empty", "--compressed")):
        found, _ = fetch(t, server, [target], option)
        for exchange in found[target]:
            body = exchange["response"]["body"]
            equal((body["size_bytes"], body["framing"]), (0, "none"), "body")
            check("content_encoding" not in body and exchange["complete"], f"{target}: {body}")


@case
def coded_ranges(t):
    """a range of a coded body: decoded from the beginning, as it is from elsewhere"""
    server = CodedServer(t)
    found, _ = fetch(t, server, ["/gzip"], "--range", "0-")
    for exchange in found["/gzip"]:
        equal(exchange["response"]["status"], 206, "status")
        check_decoded(exchange, ["gzip"], TEXT)
    found, got = fetch(t, server, ["/br"], "--range", "100-")
    for exchange in found["/br"]:
        body = exchange["response"]["body"]
        equal(body["decoded_state"], "none", "state")
        check(body_bytes(body) == got["/br"], "the bytes are not those on the wire")


@case
def coded_truncated(t):
    """a coded body of which the beginning is kept: the beginning of its text"""
    found, _ = fetch(t, CodedServer(t), ["/gzip", "/zlib", "/br"], snoop=["--max-body", "4k"])
    for exchanges in found.values():
        for exchange in exchanges:
            body = exchange["response"]["body"]
            equal((body["state"], body["decoded_state"]), ("truncated", "truncated"), "states")
            equal(body["captured_bytes"], 4096, "bytes on the wire that were kept")
            equal(body["size_bytes"], content_length(exchange), "size on the wire")
            kept = body["text"].encode()
            check(4096 < len(kept) < len(TEXT) and TEXT.startswith(kept), "not the beginning of the text")


@case
def nginx_gzip(t):
    """nginx compresses as it sends, in chunks: what curl --compressed writes"""
    server = Nginx(t, "off")
    with open(os.path.join(t.dir, "page.txt"), "wb") as f:
        f.write(TEXT)
    found, got = fetch(t, server, ["/gzip/page.txt"], "--compressed")
    check(got["/gzip/page.txt"] == TEXT, "curl wrote something else")
    for exchange in found["/gzip/page.txt"]:
        equal(exchange["response"]["body"]["framing"], "chunked", "framing")
        check_decoded(exchange, ["gzip"], TEXT)


@case
def decoded_in_text(t):
    """decoded text on a line, and with -v in full; --no-decode shows none of it"""
    server = CodedServer(t)
    shown = {(): b'< "Zeile 0: caf\xc3\xa9, 0 B', ("-v",): TEXT, ("--no-decode",): b'< "\\x1f\\x8b'}
    for options, expected in shown.items():
        argv, _ = curl(t, server, ["/gzip"])
        client = t.gated(argv)
        tool = Httpsnoop(t, [*options, "--max-body", "1M", "-p", client.pid])
        client.release()
        client.done()
        tool.stop()
        check(expected in tool.text(), f"{options} does not show {expected[:40]}")


@case
def coded_request(t):
    """a request with a coded body"""
    server, body = CodedServer(t), t.path("body.gz")
    with open(body, "wb") as out:
        out.write(b"\x1f\x8b\x08\0\0\0\0\0\0\3\xcb\x48\xcd\xc9\xc9\7\0\x86\xa6\x10\x36\5\0\0\0")  # hello
    argv = ["--request", "GET", "-H", "Content-Encoding: gzip", "--data-binary", f"@{body}"]
    found, _ = fetch(t, server, ["/empty"], *argv)
    (exchange,) = of_side(found["/empty"], "client")
    sent = exchange["request"]["body"]
    equal((sent["content_encoding"], sent["decoded_state"], sent["text"]), (["gzip"], "complete", "hello"), "request")
