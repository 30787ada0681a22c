# SPDX-License-Identifier: Apache-2.0
"""One workload with secrets everywhere, through every output: no value is in any of them, and all are if asked for."""

import base64
import gzip
import http.server
import json
import os
import re
import struct
import subprocess
import threading
import urllib.request
import zlib

from cases.apidump import Apidump
from exports import check_packets, comments, filtered, har_entries, tshark
from cases.recording import replayed
from harness import need
from servers import free_port
from tap import Skip, case, check, equal
from tls import Certificate
from tool import Httpsnoop, Secretscan, Sslsniff

PYTHON = "/usr/bin/python3"
MODULES = "import brotli, h2, websockets"
GZIP_START = re.compile(rb"\x1f\x8b\x08")
CODED = re.compile(rb'"(?:base64|data|text|raw)": ?"([A-Za-z0-9+/]{16,}={0,2})"')

# Of outputs that have no headers and bodies. OTLP has URLs.
MASKS_MIN = {"metrics": 0, "secretscan": 0, "secretscan -j": 0, "apidump": 0, "otlp": 8}


class Collector:
    """Takes what is posted to it, and keeps the bodies as they would be without their gzip."""

    def __init__(self):
        bodies = self.bodies = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802
                body = self.rfile.read(int(self.headers["Content-Length"]))
                bodies.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Peer:
    """programs/secrets_everywhere.py, which waits for run(); then values and coded are known."""

    def __init__(self, t):
        if subprocess.run([PYTHON, "-c", MODULES], capture_output=True, check=False).returncode != 0:
            raise Skip("python3-brotli, python3-h2 or python3-websockets is not installed")
        certificate = Certificate(t)
        self.process = t.gated([PYTHON, t.source("secrets_everywhere.py"), certificate.path, certificate.key])
        self.pid = self.process.pid

    def run(self):
        self.process.release()
        sent = json.loads(self.process.done())
        self.values = [value.encode() for value in sent["values"]]
        self.coded = [base64.b64decode(blob) for blob in sent["coded"]]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def peeled(data, depth=3):
    """Bytes, and behind them what is base64 in JSON or gzip in them without that, again and again."""
    parts = [data]
    if depth > 0:
        for text in CODED.findall(data):
            parts.append(peeled(base64.b64decode(text + b"=" * (-len(text) % 4)), depth - 1))
        for start in GZIP_START.finditer(data):
            try:
                parts.append(peeled(zlib.decompressobj(31).decompress(data[start.start():]), depth - 1))
            except zlib.error:
                pass
    return b"\n".join(parts)


def leaked(peer, data):
    """Values, or bytes with a value in them, that are in data, whole or by their first 14 bytes."""
    whole = peeled(data)
    found = [value.decode() for value in peer.values if value[:14] in whole or value.decode().encode("utf-16le") in whole]
    return found + [f"coded bytes {i}" for i, blob in enumerate(peer.coded) if blob in whole]


def check_none(peer, outputs):
    """No value is in any output; {name: bytes}. Each has something in it, and masks but where there is no place for."""
    for name, data in outputs.items():
        check(len(data) > 200, f"{name}: there is nothing in it: {data!r}")
        found = leaked(peer, data)
        check(not found, f"{name}: {len(found)} of {len(peer.values)} values are in it: {found}")
        masks, least = data.count(b"[redacted"), MASKS_MIN.get(name, 20)
        check(masks >= least, f"{name}: {masks} masks, {least} expected")


def check_all(peer, name, data, least):
    found = [value for value in leaked(peer, data) if not value.startswith("coded")]
    check(len(found) >= least, f"{name}: only {len(found)} of {len(peer.values)} values are shown, {least} expected")


def decompressed(path):
    """The frames of a recording (docs/recording.md)."""
    need("zstd")
    data, at, frames = read(path), 16, b""
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        frames += data[at + 8:at + 8 + size]
        at += 8 + size
    return subprocess.run(["zstd", "-dcq"], input=frames, capture_output=True, check=True).stdout


def dissected(path):
    """All that tshark makes of a file: fields, what it decompresses and reassembles, bytes of packets and streams."""
    check_packets(path)
    shown = "\n".join(tshark(path, "-T", "pdml")).encode()
    packed = "\n".join(tshark(path, "-T", "fields", "-e", "tcp.payload")).encode().replace(b"\n", b"")
    data = read(path)
    return b"\n".join([data, shown, bytes.fromhex(packed.decode())])


def attached(t, tool, peer, *options, **more):
    return tool(t, ["-p", peer.pid, "--hold", *options], **more)


def exported(t, *options, is_recorded=True):
    """Run the workload under httpsnoop -j with all outputs; returns (peer, outputs, paths)."""
    need("tshark")
    peer, collector = Peer(t), Collector()
    port = free_port()
    paths = {name: t.path(f"all.{name}") for name in ("har", "pcapng", "psrec")}
    record = ["--record", paths["psrec"]] if is_recorded else []
    tool = attached(t, Httpsnoop, peer, "--tls", "-j", "--har", paths["har"], "--pcapng", paths["pcapng"], *record,
                    "--otlp", collector.url, "--metrics", f"127.0.0.1:{port}", *options)
    peer.run()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        metrics = answer.read()
    tool.stop()
    collector.close()
    outputs = {
        "-j": tool.text(), "stderr": tool.stderr().encode(), "har": read(paths["har"]), "metrics": metrics,
        "pcapng": dissected(paths["pcapng"]), "otlp": b"\n".join(collector.bodies),
    }
    return peer, outputs | ({"record": decompressed(paths["psrec"])} if is_recorded else {}), paths


def printed(t, tool, *options):
    """Run the workload under a tool; returns (peer, what it has written)."""
    peer = Peer(t)
    run = attached(t, tool, peer, *options)
    peer.run()
    run.stop()
    written = run.text() + run.stderr().encode()
    return peer, written + (read(run.file) if hasattr(run, "file") else b"")


@case
def redacted_exports(t):
    """-j, HAR, pcapng as tshark reads it, OTLP, metrics: no value in any of them; sizes are true, requests are all there"""
    peer, outputs, paths = exported(t, is_recorded=False)
    del outputs["stderr"]
    check_none(peer, outputs)
    entries = har_entries(paths["har"])
    check_har(entries)
    check_decoded(entries)
    check_requests(paths["pcapng"], [json.loads(line) for line in outputs["-j"].splitlines()])
    check(b'"/hooks/{token}/run"' in outputs["metrics"], "a token in a path is a parameter of the route")
    check(b"[redacted" not in outputs["metrics"], "masks would be labels without end")


@case
def redacted_recordings(t):
    """the same with --record: no value in the file, nor in replays, which are what was shown; as packets, too"""
    peer, outputs, paths = exported(t)
    del outputs["stderr"]
    check_none(peer, outputs)
    check_har(har_entries(paths["har"]))
    replays = {f"replay {' '.join(options)}": replayed("httpsnoop", paths["psrec"], "--tls", *options).stdout
               for options in ([], ["-v"], ["-j"])}
    check_none(peer, replays)
    check_replay(outputs["-j"], replays["replay -j"])
    path = t.path("replay.pcapng")
    with open(path, "wb") as file:
        file.write(replayed("httpsnoop", paths["psrec"], "--tls", "--pcapng", "-", "-o", "/dev/null").stdout)
    check_none(peer, {"pcapng of the replay": dissected(path)})
    check_requests(path, [json.loads(line) for line in outputs["-j"].splitlines()])


def check_decoded(entries):
    """Bodies with a coding are in a HAR, decoded and masked; their sizes are true."""
    gzipped = next(entry for entry in entries if entry["request"]["url"].endswith("/gzip"))["response"]
    content = gzipped["content"]
    body = json.loads(content["text"])
    check(body["username"] == "alice" and body["user"]["access_token"].startswith("[redacted:"), f"{content}")
    size = len(json.dumps({"user": {"access_token": "x" * 24}, "username": "alice"}))
    equal((content["size"], content["compression"]), (size, size - gzipped["bodySize"]), "decoded size, compression")


def check_requests(path, records):
    """tshark finds every request of HTTP/1 and HTTP/2, whatever was masked; withheld bodies are told of."""
    mine = [r for r in records if r["type"] == "exchange" and r["side"] == "client"]
    found = len(filtered(path, "http.request", "frame.number"))
    equal(found, sum(r["request"]["version"] == "1.1" for r in mine), "requests of HTTP/1")
    found = len(filtered(path, "http2.headers.method", "frame.number"))
    equal(found, sum(r["request"]["version"] == "2" for r in mine), "requests of HTTP/2")
    told = [text for text in comments(path) if "as they are coded and hold a secret" in text]
    check(len(told) >= 10, f"{len(told)} withheld bodies are told of")


def check_replay(live, replay):
    """The same lines, with the same masks; the summary alone has what the other outputs of the run have counted."""
    different = [json.loads(new) for old, new in zip(live.splitlines(), replay.splitlines()) if old != new]
    equal(len(live.splitlines()), len(replay.splitlines()), "lines of live run and replay")
    equal([record["type"] for record in different], ["summary"], "records that differ")


def check_har(entries):
    """Sizes are the true ones, masks survive where HAR takes things apart."""
    by_path = {re.sub(r"^https?://[^/]*|[?].*$", "", entry["request"]["url"]): entry for entry in entries}
    query = {pair["name"]: pair["value"] for pair in by_path["/query"]["request"]["queryString"]}
    check(re.fullmatch(r"\[redacted:[a-z-]+:[0-9a-f]{8}\]", query["api_key"]), f"{query}")
    equal(query["username"], "alice", "query")
    split = by_path["/split"]["request"]
    equal(split["bodySize"], len("username=alice&password=&x=1") + 24, "size of a form")
    params = {pair["name"]: pair["value"] for pair in split["postData"]["params"]}
    check(params["password"].startswith("[redacted:password-field:"), f"{params}")
    cookies = {pair["name"]: pair["value"] for pair in by_path["/bearer"]["request"]["cookies"]}
    check(cookies["a"] == "b" and cookies["sessionid"].startswith("[redacted:session-cookie:"), f"{cookies}")
    cookie = by_path["/bearer"]["response"]["cookies"][0]
    check(cookie["name"] == "sessionid" and cookie["value"].startswith("[redacted:"), f"{cookie}")


@case
def redacted_prints(t):
    """text, -v, -j --no-decode, sslsniff; apidump; secretscan's text and -j"""
    outputs = {
        "text": (Httpsnoop, "--tls", "--preview", 400), "-v": (Httpsnoop, "--tls", "-v"),
        "-j --no-decode": (Httpsnoop, "--tls", "-j", "--no-decode"), "sslsniff": (Sslsniff, "-v"),
        "secretscan": (Secretscan,), "secretscan -j": (Secretscan, "-j"),
    }
    for name, (tool, *options) in outputs.items():
        peer, written = printed(t, tool, *options)
        if name == "sslsniff":
            check(b"[redacted" in written and not leaked(peer, written), f"{name}: {leaked(peer, written)}")
        else:
            check_none(peer, {name: written})
    peer = Peer(t)
    tool = Apidump(t, "-p", peer.pid, "--hold", "--tls")
    peer.run()
    tool.stop()
    document = read(tool.file)
    check_none(peer, {"apidump": tool.text() + tool.stderr().encode() + document})
    check(b"/hooks/{" in document and b'"alice"' in document, "a route, and an example of what is no secret")


@case
def shown_everywhere(t):
    """--show-secrets: the values are where they were, so that the cases above can fail; secretscan finds them later"""
    peer, outputs, paths = exported(t, "--show-secrets")
    least = {"-j": 40, "har": 40, "pcapng": 40, "record": 40, "otlp": 3}
    for name, count in least.items():
        check_all(peer, name, outputs[name], count)
    check("secrets are shown as they are" in outputs["stderr"].decode(), "what is said")
    equal(len(peer.coded), len({blob for blob in peer.coded if blob in outputs["record"] + outputs["pcapng"]}), "coded")
    check_replays(peer, paths["psrec"])


def check_replays(peer, path):
    """A recording of all there was: replays are masked, each with the same hashes; secretscan finds values in it."""
    one, other = (replayed("httpsnoop", path, "--tls", "-j").stdout for _ in range(2))
    equal(one, other, "two replays")
    check_none(peer, {"replay -j": one})
    scans = [replayed("secretscan", path, "-j") for _ in range(2)]
    equal(scans[0].stdout, scans[1].stdout, "two scans")
    check_none(peer, {"secretscan -j": scans[0].stdout})
    findings = [record for record in scans[0].records() if record["type"] == "finding"]
    check(len({finding["hash"] for finding in findings}) >= 40, f"{len(findings)} findings")
    masks = {mask.decode() for mask in re.findall(rb"\[redacted:[a-z0-9-]+:([0-9a-f]{8})\]", one)}
    hashes = {finding["hash"][:8] for finding in findings}
    check(len(masks & hashes) >= 40, f"of {len(masks)} hashes in masks {len(masks & hashes)} are those of findings")


@case
def masked_recordings_are_not_scanned(t):
    """secretscan --replay of a masked recording says what to do"""
    peer = Peer(t)
    path = t.path("masked.psrec")
    tool = attached(t, Httpsnoop, peer, "--tls", "--record", path)
    peer.run()
    tool.stop()
    tree = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "tools", "secretscan")
    done = subprocess.run([tree, "--replay", path], capture_output=True, text=True, check=False)
    equal((done.returncode, done.stdout), (2, ""), "status and output")
    check("record with --show-secrets" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr)
