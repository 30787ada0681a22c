# SPDX-License-Identifier: Apache-2.0
"""sslsniff --raw: every byte of plaintext, whatever the protocol is."""

import base64
import re
import sys

from harness import need
from servers import PythonServer
from tap import case, check, equal
from tls import Certificate, PeerServer, peer_log, waiting_peer
from tool import Sslsniff


def payload(record):
    return base64.b64decode(record["base64"]) if "base64" in record else record["text"].encode()


def streams(records):
    """The bytes of each session and direction, which must have no hole: {(session, direction): bytes}."""
    found = {}
    for record in records:
        key = (record["session"], record["direction"])
        stream = found.setdefault(key, bytearray())
        equal(record["position_bytes"], len(stream), f"position of a record of {key}")
        equal(record["size_bytes"], record["captured_bytes"], "bytes captured")
        stream += payload(record)
    return found


@case
def tls_raw_not_http(t):
    """--raw -j: a protocol in which the server speaks first, byte for byte on both sides"""
    certificate = Certificate(t)
    argv = [sys.executable, t.source("other.py"), "server_first", certificate.path, certificate.key]
    process = t.gated(argv)
    tool = t.sslsniff("--raw", "--show-secrets", pids=[process])
    process.release()
    process.done()
    tool.stop()
    said = {direction: [] for direction in ("in", "out")}
    for (_, direction), stream in streams(tool.records("data")).items():
        said[direction].append(bytes(stream))
    client = b"EHLO x\r\nMAIL FROM:<a@b>\r\nQUIT\r\n"
    server = b"220 mail ESMTP\r\n250 hello\r\n250 ok\r\n"
    equal((sorted(said["out"]), sorted(said["in"])), (sorted([client, server]), sorted([client, server])), "streams")
    equal(tool.exchanges(), [], "exchanges")


@case
def tls_raw_bodies(t):
    """--raw -j --handshake --latency: 1 MiB each way as it was told to the library; one handshake a session"""
    server = PeerServer(t, "openssl", "write read")
    client = waiting_peer(t, "openssl", "write_ex read_ex", server, "-n", "2", "-b", "1048576", "-w", "0")
    tool = t.sslsniff("--handshake", "--latency", "--show-secrets", "--ring-size", 64, pids=[server, client])
    client.release()
    client.done()
    tool.stop()
    found = streams(tool.records("data"))
    log = peer_log(client, 2)
    equal(len(found), 4, "streams")
    sent = [bytes(stream) for (_, direction), stream in found.items() if direction == "out"]
    received = [bytes(stream) for (_, direction), stream in found.items() if direction == "in"]
    check(sorted(sent) == sorted(received), "what one side sent is what the other received")
    check(all(len(stream) > 2 * 1048576 for stream in sent), "two bodies of 1 MiB in each stream")
    equal(len(log), 2, "exchanges of the client's log")
    handshakes = tool.records("handshake")
    equal(len(handshakes), 2, "handshakes")
    check(all(0 < record["elapsed_ns"] < 60e9 for record in handshakes), "their times")
    check(all(record["elapsed_ns"] > 0 for record in tool.records("data")), "times of calls")


def text_of(t, *options):
    """What sslsniff prints, as text, of curl and a server that is not traced."""
    need("curl")
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    argv = ["curl", "-s", "--http1.1", "--cacert", certificate.path, "-d", "A\x01B", "-o", "/dev/null"]
    argv.append(server.url + "/echo")
    tool = Sslsniff(t, options, command=argv)
    tool.wait()
    return tool.text().decode()


@case
def tls_raw_text(t):
    """--raw as text: a line about each call, lines of what was moved, control bytes escaped"""
    text = text_of(t, "--raw", "--show-secrets")
    check(re.search(r"^\d\d:\d\d:\d\d\.\d{3} curl:\d+ \S+:\d+ -> \S+:\d+ SEND \d+B at 0$", text, re.M), text)
    check(re.search(r"^> POST /echo HTTP/1\.1$", text, re.M), text)
    check(re.search(r"^< HTTP/1\.1 200 ", text, re.M), text)
    check("\x01" not in text and "A\\x01B" in text, text)


@case
def tls_raw_hexdump(t):
    """--hexdump --latency: the layout of hexdump -C with positions in the stream, times of calls"""
    text = text_of(t, "-x", "-l", "--show-secrets")
    check(re.search(r"^00000000  50 4f 53 54 20 2f 65 63 .*  \|POST /echo HTTP/\|$", text, re.M), text)
    check(re.search(r" SEND \d+B at 0 in [\d.]+(us|ms|s)$", text, re.M), text)
