# SPDX-License-Identifier: Apache-2.0
"""--har and --pcapng: what they write of known traffic, as validators and tshark read it."""

import base64
import glob
import os
import random
import signal
import subprocess
import time

from cases.http2 import MANY, NodeServer2, curl
from cases.messages import PYTHON, need_module
from cases.programs import curl_transfers
from exports import (
    check_packets, checked_hars, comments, filtered, har_entries, in_chromium, need_npm, tshark, whole_har,
)  # fmt: skip
from harness import need
from pattern import pattern
from scenario import of_side, python_client
from servers import Nginx, PythonServer
from tap import Skip, case, check, equal
from tls import Certificate
from tool import TREE, Httpsnoop

KILLS = 6
MIB = 1 << 20


def exported(t, pids, client, *options, kind="har", attach=None):
    """Run a gated client, traced with pids, with an export; returns (path of the export, the tool)."""
    path = t.path(f"trace.{kind}")
    tool = (attach or t.snoop)(f"--{kind}", path, *options, pids=[*pids, client])
    client.release()
    client.done()
    tool.stop()
    return path, tool


# ---- HAR ------------------------------------------------------------------------------------------------------------


def body_of(part, encoding):
    """Bytes of content or postData."""
    text = part.get("text", "")
    return base64.b64decode(text) if part.get(encoding) == "base64" else text.encode()


def json_body(body):
    return base64.b64decode(body["base64"]) if "base64" in body else body.get("text", "").encode()


def pairs(headers):
    return [(h["name"], h["value"]) for h in headers]


def check_message(told, message, what):
    """What request and response of an entry have in common with those of -j."""
    equal(told["httpVersion"], f"HTTP/{message['version']}", f"{what}: version")
    equal(pairs(told["headers"]), pairs(message["headers"]), f"{what}: headers")
    sizes = (told["headersSize"], told["bodySize"], told["_transferSize"])
    equal(sizes, (message["head_bytes"], message["body"]["size_bytes"], message["wire_bytes"]), f"{what}: sizes")


def check_times(entry, exchange, what):
    """Durations in ms, from the same timestamps; the sum of the phases is the whole."""
    timings = entry["timings"]
    phases = [timings[name] for name in ("blocked", "dns", "connect", "send", "wait", "receive")]
    whole = sum(phase for phase in phases if phase >= 0)
    check(abs(entry["time"] - whole) < 1e-5, f"{what}: {timings} is not {entry['time']}")
    wanted = exchange["duration_ns"] / 1e6 + max(timings["connect"], 0)
    check(abs(whole - wanted) < 1e-5, f"{what}: {whole} ms, {wanted} in -j")


def check_entry(entry, exchange):
    request, response = exchange["request"], exchange["response"]
    what = f"entry of exchange {exchange['id']}"
    told = entry["request"]
    equal((told["method"], told["url"]), (request["method"], request["url"]), what)
    check_message(told, request, what)
    content = entry["response"]["content"]
    equal((entry["response"]["status"], entry["response"]["statusText"]), (response["status"], response["reason"]), what)
    check_message(entry["response"], response, what)
    equal(body_of(content, "encoding"), json_body(response["body"]), f"{what}: content")
    if "params" not in told.get("postData", {}):
        equal(body_of(told.get("postData", {}), "_encoding"), json_body(request["body"]), f"{what}: postData")
    process = {key: value for key, value in exchange["process"].items() if key != "cgroup_id"}
    equal((entry["_process"], entry["_side"]), (process, exchange["side"]), f"{what}: who")
    check_times(entry, exchange, what)


def check_entries(path, exchanges):
    """The entries of an archive are the exchanges that -j showed, in their order."""
    (checked,) = checked_hars(path)
    entries = har_entries(path)
    equal([e["_exchangeId"] for e in entries], [e["id"] for e in exchanges], "exchanges in the archive")
    equal(checked["entries"], len(exchanges), "entries that the validator saw")
    for entry, exchange in zip(entries, exchanges):
        check_entry(entry, exchange)
    return checked, entries


@case
def har_curl(t):
    """curl's transfers on both sides: valid, each entry as -j has it; forms, queries, modes of files, summary"""
    need_npm()
    server = PythonServer(t)
    argv, count = curl_transfers(t, server)
    client = t.gated(argv)
    path, tool = exported(t, [server], client)
    exchanges = tool.exchanges()
    equal(len(exchanges), 2 * count, "exchanges")
    checked, entries = check_entries(path, exchanges)
    check("post /echo" in checked["operations"], f"har-to-openapi found {checked['operations']}")
    form = next(e for e in entries if "alice" in e["request"]["url"])["request"]
    equal(form["queryString"], [{"name": "username", "value": "alice"}], "query")
    mask = form["postData"]["params"][0].pop("value")
    check(mask.startswith("[redacted:password-field:"), f"value of the form: {mask}")
    equal(form["postData"], {"mimeType": "application/x-www-form-urlencoded", "params": [{"name": "password"}]}, "form")
    equal({e["serverIPAddress"] for e in entries}, {"127.0.0.1"}, "server")
    equal(os.stat(path).st_mode & 0o777, 0o600, "mode")


@case
def har_cookies_and_coding(t):
    """cookies both ways, a gzip body as text with its size and compression, a body cut by --max-body"""
    need_npm()
    need("nginx")
    server = Nginx(t, "off", (3, 50_000))
    with open(os.path.join(t.dir, "page.html"), "w", encoding="ascii") as f:
        f.write("<p>hello</p>\n" * 500)
    cookie = ["-b", "a=1; b=two"]
    client = t.gated(["curl", "-s", *cookie, "--compressed", "-o", "/dev/null", server.url + "/gzip/page.html",
                      "-o", "/dev/null", server.url + "/50000.bin"])
    path, tool = exported(t, [], client, "--max-body", 2000)
    check_entries(path, tool.exchanges())
    page, cut = har_entries(path)
    equal(page["request"]["cookies"], [{"name": "a", "value": "1"}, {"name": "b", "value": "two"}], "cookies")
    content = page["response"]["content"]
    equal((content["text"], content["size"]), ("<p>hello</p>\n" * 500, 6500), "decoded content")
    equal(content["compression"], 6500 - page["response"]["bodySize"], "compression")
    check("_loss" not in page, f"a loss of what is whole: {page.get('_loss')}")
    equal(cut["_loss"], {"response": {"body": "truncated", "size_bytes": 50_000, "kept_bytes": 2000}}, "loss")


@case
def har_tls(t):
    """TLS: the handshake is in the times of the first exchange of its session only; HTTP/2"""
    need_npm()
    certificate = Certificate(t)
    server = NodeServer2(t, certificate=certificate)
    client = t.gated(curl(server, ["/1", "/2"], "--http2", "--cacert", certificate.path))
    path, tool = exported(t, [server], client, attach=t.sslsniff)
    _, entries = check_entries(path, tool.exchanges())
    of_client = [e for e in entries if e["_side"] == "client"]
    ssl_ms = [e["timings"]["ssl"] for e in of_client]
    handshake_ns = of_side(tool.exchanges(), "client")[0]["tls"]["handshake_ns"]
    check(abs(ssl_ms[0] - handshake_ns / 1e6) < 1e-5 and ssl_ms[1] == -1, f"ssl: {ssl_ms}, handshake {handshake_ns}")
    equal([e["timings"]["connect"] for e in of_client], ssl_ms, "connect, which has ssl in it")
    equal({(e["_tls"]["library"], e["_tls"]["protocol"]) for e in of_client}, {("openssl", "TLSv1.3")}, "_tls")
    equal({e["response"]["_trailers"][0]["name"] for e in entries}, {"x-checksum"}, "trailers")


@case
def har_websocket(t):
    """the messages of a WebSocket, as Chromium writes them"""
    need_npm()
    need_module("websockets")
    client = t.gated([PYTHON, t.source("messages_ws.py"), "deflate"])
    path, tool = exported(t, [], client, "--max-body", "1M")
    checked_hars(path)
    entries = har_entries(path)
    equal(sorted(e["_side"] for e in entries), ["client", "server"], "sides")
    opcodes = {"text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}
    for entry in entries:
        equal(entry["_resourceType"], "websocket", "type")
        told = [(m["type"], m["opcode"], base64.b64decode(m["data"]) if m["opcode"] == 2 else m["data"].encode())
                for m in entry["_webSocketMessages"]]
        seen = [("send" if m["from"] == "client" else "receive", opcodes[m["message_type"]], json_body(m))
                for m in tool.records("message") if m["exchange_id"] == entry["_exchangeId"]]
        equal(told, seen, f"messages of the {entry['_side']}")
        check(len(told) == 16, f"{len(told)} messages")


@case
def har_no_response(t):
    """an exchange without response: status 0, and why"""
    need_npm()
    server = PythonServer(t)
    client = t.gated(["curl", "-s", "-m", "0.5", server.url + "/sleep/5000"])
    path = t.path("trace.har")
    tool = t.snoop("--har", path, pids=[client])
    client.release()
    client.wait()
    tool.stop()
    checked_hars(path)
    (entry,) = har_entries(path)
    equal((entry["response"]["status"], entry["response"]["_error"]), (0, "aborted"), "response")


def check_shown(shown, entry):
    """What Chromium's panel shows of an entry."""
    request, response = entry["request"], entry["response"]
    what = f"{request['method']} {request['url']} in Chromium"
    equal((shown["method"], shown["url"], shown["status"]), (request["method"], request["url"], response["status"]), what)
    equal(shown["protocol"], response["httpVersion"].lower(), f"{what}: protocol")
    equal(shown["request_headers"], [list(pair) for pair in pairs(request["headers"])], f"{what}: request's headers")
    equal(shown["response_headers"], [list(pair) for pair in pairs(response["headers"])], f"{what}: response's headers")
    body = shown["text"].encode() if shown["base64"] is None else base64.b64decode(shown["base64"])
    equal((shown["error"], body), (None, body_of(response["content"], "encoding")), f"{what}: content")
    equal(shown["size"], response["content"]["size"] or shown["size"], f"{what}: size")
    equal(shown["address"], f"{entry['serverIPAddress']}:{entry['connection']}", f"{what}: the server's address")
    timings = entry["timings"]
    wanted = max(timings["connect"], 0) + timings["send"] + timings["wait"]
    check(abs(shown["response_ms"] - wanted) < 1e-3, f"{what}: {shown['response_ms']} ms to the response, not {wanted}")


@case
def har_in_browser(t):
    """Chromium's network panel loads archives of HTTP/1, HTTP/2 with TLS and WebSockets: requests, bodies, messages"""
    need("chromium")
    need_module("websockets")
    server, certificate = PythonServer(t), Certificate(t)
    argv, _ = curl_transfers(t, server)
    plain = exported(t, [server], t.gated(argv))[0]
    os.rename(plain, plain := t.path("plain.har"))
    server = NodeServer2(t, certificate=certificate)
    client = t.gated(curl(server, ["/1", "/2"], "--http2", "--cacert", certificate.path))
    tls = exported(t, [server], client, attach=t.sslsniff)[0]
    os.rename(tls, tls := t.path("tls.har"))
    messages = exported(t, [], t.gated([PYTHON, t.source("messages_ws.py"), "deflate"]), "--max-body", "1M")[0]
    paths = (plain, tls, messages)
    for path, shown in zip(paths, in_chromium(t, *paths), strict=True):
        # It sorts them by their beginning, of which it knows milliseconds.
        entries = sorted(har_entries(path), key=lambda e: e["startedDateTime"][:len("2000-01-01T00:00:00.000")])
        equal(len(shown), len(entries), f"requests in Chromium of {path}")
        for one, entry in zip(shown, entries):
            check_shown(one, entry)
            told = [(m["type"], m["opcode"], m["data"]) for m in entry.get("_webSocketMessages", [])]
            equal([(f["type"], f["opcode"], f["text"]) for f in one["frames"]], told, "messages in Chromium")
    equal({one["type"] for one in shown}, {"websocket"}, "type of a WebSocket")


def killed_at_random(t, option, path):
    """Load a server, kill -9 the tool at a random moment. Returns how many exchanges the server had answered by then."""
    server = PythonServer(t)
    client = t.gated(curl(server, ["/bytes/300000"] * 500))
    tool = Httpsnoop(t, [option, path, "-o", "/dev/null", "--max-body", "1M", "--ring-size", 128, "-p",
                         f"{server.pid},{client.pid}"])
    client.release()
    time.sleep(random.uniform(0.1, 0.8))
    tool.process.send_signal(signal.SIGKILL)
    tool.process.wait()
    served = len(server.served())
    client.end()
    server.process.end()
    return served


@case
def har_kill(t):
    """kill -9 at random moments: the archive loads, and all in it happened"""
    need_npm()
    paths, counts = [], []
    for _ in range(KILLS):
        path = t.path("killed.har")
        served = killed_at_random(t, "--har", path)
        count = len(whole_har(path))
        check(count <= 2 * served, f"{count} entries of {served} exchanges")
        paths.append(path)
        counts.append(count)
    equal([c["entries"] for c in checked_hars(*paths)], counts, "entries")
    check(any(counts), "no entry in any archive")
    t.diag(f"entries: {counts}")


@case
def har_rotation(t):
    """--rotate-size: several archives, all valid, together every exchange; --rotate-keep: the last ones"""
    need_npm()
    for keep in (None, 2):
        server = PythonServer(t)
        client = t.gated(curl(server, ["/bytes/400000"] * 12))
        path, tool = exported(t, [], client, "--rotate-size", 1, *(["--rotate-keep", keep] if keep else []))
        equal(len(tool.exchanges()), 12, "exchanges")
        paths = sorted(glob.glob(path.replace(".har", "*.har")), key=lambda p: (len(p), p))
        checked = [c["entries"] for c in checked_hars(*paths)]
        names = [path, *(path.replace(".har", f".{i}.har") for i in range(1, 6))]
        equal(paths, names[-2:] if keep else names, "files")
        equal(checked, ([2] * 6)[: keep or 6], "entries of each")


@case
def har_rotation_by_time(t):
    """--rotate-secs: the time in the name, and a number when that is the same as before"""
    server = PythonServer(t)
    one = f"curl -s -o /dev/null {server.url}/bytes/1 -o /dev/null {server.url}/bytes/2"
    client = t.gated(["sh", "-c", f"{one}; sleep 0.8; {one}; sleep 0.8; {one}"])
    path = t.path("at-%Y-%%.har")
    tool = t.snoop("--har", path, "--rotate-secs", "0.6", pids=[client])
    client.release()
    client.done()
    tool.stop()
    base = path.replace("%Y-%%.har", time.strftime("%Y-%"))
    counts = [len(har_entries(base + ending)) for ending in (".har", ".1.har", ".2.har")]
    equal(counts, [2, 2, 2], "entries of each")


@case
def har_disk_full(t):
    """no room: one line, exit status 1, and the archive still loads"""
    need_npm()
    directory = t.path("small")
    os.mkdir(directory)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", directory], check=False).returncode:
        raise Skip("cannot mount a tmpfs")
    try:
        server = PythonServer(t)
        client = t.gated(curl(server, ["/bytes/400000"] * 6))
        path = os.path.join(directory, "full.har")
        tool = t.snoop("--har", path, pids=[client])
        client.release()
        client.done()
        tool.process.send_signal(signal.SIGINT)
        equal(tool.process.wait(), 1, "exit status")
        (checked,) = checked_hars(path)
        equal(checked["entries"], 1, "entries that fitted")
        said = [line for line in tool.stderr().splitlines() if "full.har" in line]
        check(len(said) == 2 and "No space left" in said[0] and "5 exchanges" in said[1], f"said: {said}")
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


# ---- pcapng ---------------------------------------------------------------------------------------------------------


@case
def pcapng_curl(t):
    """curl's transfers, seen at both ends, once each: requests, statuses, ports, times; nothing that tshark objects to"""
    server = PythonServer(t)
    argv, count = curl_transfers(t, server)
    client = t.gated(argv)
    path, tool = exported(t, [server], client, "--max-body", "1M", kind="pcapng")
    exchanges = of_side(tool.exchanges(), "client")
    equal(len(exchanges), count, "exchanges of the client")
    check_packets(path)
    requests = filtered(path, "http.request", "http.request.method", "http.request.uri", "http.host", "tcp.dstport")
    wanted = [[e["request"]["method"], e["request"]["target"], f"127.0.0.1:{server.port}", str(server.port)]
              for e in exchanges]
    equal(requests, wanted, "requests")
    responses = filtered(path, "http.response", "http.response.code", "tcp.srcport", "frame.time_epoch")
    equal([r[:2] for r in responses], [[str(e["response"]["status"]), str(server.port)] for e in exchanges], "responses")
    streams = {line[0] for line in filtered(path, "tcp", "tcp.stream")}
    equal(len(streams), len({e["connection"]["id"] for e in exchanges}), "connections")
    equal(os.stat(path).st_mode & 0o777, 0o600, "mode")


@case
def pcapng_times_and_bodies(t):
    """packets have the times of -j, to the ns, the direction, the process; bodies are the bytes that moved"""
    server = PythonServer(t)
    client = t.gated(["curl", "-s", "-o", "/dev/null", server.url + "/chunks/150000"])
    path, tool = exported(t, [], client, "--max-body", "1M", kind="pcapng")
    (exchange,) = tool.exchanges()
    check_packets(path)
    data = filtered(path, "tcp.len > 0", "frame.time_epoch", "frame.packet_flags_direction", "tcp.srcport")
    nanos = [int(line[0].replace(".", "")) for line in data]
    request, response = exchange["request"], exchange["response"]
    equal(nanos[0], request["first_byte_unix_ns"], "time of the request")
    equal((nanos[1], nanos[-1]), (response["first_byte_unix_ns"], response["last_byte_unix_ns"]), "of the response")
    equal([int(line[1], 16) & 3 for line in data], [2] + [1] * (len(data) - 1), "directions")
    told = comments(path)
    check(any(f"curl (pid {client.pid}," in text for text in told), f"comments: {told}")
    out = t.path("objects")
    tshark(path, "--export-objects", f"http,{out}")
    (name,) = os.listdir(out)
    with open(os.path.join(out, name), "rb") as f:
        check(f.read() == pattern(150_000), "the body is another one")


@case
def pcapng_tls_443(t):
    """HTTPS on port 443: tshark -Y http finds it with no option; the comment says which port it was"""
    certificate = Certificate(t)
    server = ("import http.server, ssl, sys\n"
              "s = http.server.HTTPServer(('127.0.4.43', 443), http.server.SimpleHTTPRequestHandler)\n"
              "c = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)\n"
              "c.load_cert_chain(sys.argv[1], sys.argv[2])\n"
              "s.socket = c.wrap_socket(s.socket, server_side=True)\n"
              "sys.stderr.write('ready\\n'); sys.stderr.flush(); s.serve_forever()\n")
    process = t.spawn([PYTHON, "-c", server, certificate.path, certificate.key])
    process.wait_ready()
    client = t.gated(["curl", "-s", "-k", "-o", "/dev/null", "https://127.0.4.43/nothing?here=1"])
    path, tool = exported(t, [], client, kind="pcapng", attach=t.sslsniff)
    equal(len(tool.exchanges()), 1, "exchanges")
    check_packets(path)
    equal(filtered(path, "http.request", "http.request.uri", "ip.dst"), [["/nothing?here=1", "127.0.4.43"]], "request")
    equal(filtered(path, "http.response", "http.response.code"), [["404"]], "response")
    check(any("server port 443 is written as 80" in text for text in comments(path)), f"comments: {comments(path)}")


@case
def pcapng_h2(t):
    """HTTP/2 over TLS: paths, statuses, trailers, an upload whose end was not kept"""
    certificate = Certificate(t)
    server = NodeServer2(t, certificate=certificate)
    upload = t.path("upload")
    with open(upload, "wb") as f:
        f.write(pattern(300_000))
    argv = [*curl(server, ["/1", "/2?q=x", "/up"], "--http2", "--cacert", certificate.path), "--data-binary", "@" + upload]
    client = t.gated(argv)
    path, tool = exported(t, [], client, "--max-body", "64k", kind="pcapng", attach=t.sslsniff)
    equal(len(tool.exchanges()), 3, "exchanges")
    check_packets(path)
    requests = filtered(path, "http2.headers.path", "http2.headers.path", "http2.headers.method", "http2.streamid")
    equal(requests, [["/1", "POST", "1"], ["/2?q=x", "POST", "3"], ["/up", "POST", "5"]], "requests")
    statuses = filtered(path, "http2.headers.status", "http2.headers.status", "http2.streamid")
    equal(statuses, [["201", "1"], ["201", "3"], ["201", "5"]], "responses")
    trailers = filtered(path, 'http2.header.name == "x-checksum"', "http2.streamid")
    equal(len(trailers), 3, "trailers")
    cut = [text for text in comments(path) if "cut: 65536 of 300000 bytes" in text]
    check(len(cut) >= 3, f"comments: {comments(path)}")


@case
def pcapng_h2_many(t):
    """h2load: 400 requests on two connections, seen at both ends: each once"""
    need("h2load")
    certificate = Certificate(t)
    server = Nginx(t, "off", (1000,), certificate=certificate, tls="ssl http2")
    client = t.gated(["h2load", "-n", str(MANY), "-c", "2", "-m", "10", server.url + "/1000.bin"])
    path, tool = exported(t, [server], client, kind="pcapng", attach=t.sslsniff)
    equal(len(tool.exchanges()), 2 * MANY, "exchanges")
    check_packets(path)
    requests = filtered(path, "http2.headers.path", "tcp.stream", "http2.streamid", "http2.headers.path")
    flat = [(line[0], stream) for line in requests for stream in line[1].split(",")]
    equal((len(flat), len(set(flat))), (MANY, MANY), "requests, and different streams")
    equal(len({line[0] for line in requests}), 2, "connections")
    sizes = filtered(path, "http2.type == 0", "http2.body.reassembled.length", "http2.length")
    check(len(sizes) == MANY, f"{len(sizes)} packets with DATA")


@case
def pcapng_websocket(t):
    """WebSocket with permessage-deflate: every message, in the clear"""
    need_module("websockets")
    client = t.gated([PYTHON, t.source("messages_ws.py"), "deflate"])
    path, tool = exported(t, [], client, "--max-body", "1M", kind="pcapng")
    check_packets(path)
    told = filtered(path, "websocket", "websocket.opcode", "websocket.mask", "websocket.payload.text")
    opcodes = {"text": "1", "binary": "2", "close": "8", "ping": "9", "pong": "10"}
    one_side = [e["id"] for e in tool.exchanges()][:1]
    ids = {m["exchange_id"] for m in tool.records("message")}
    equal(len(ids), 2, "both ends are seen")
    seen = [m for m in tool.records("message") if m["exchange_id"] == max(ids, key=lambda i: i in one_side)]
    equal(len(told), len(seen), "messages")
    for sender, mask in (("client", "1"), ("server", "0")):
        mine = [(line[0], line[2]) for line in told if line[1] == mask]
        wanted = [(opcodes[m["message_type"]], m.get("text", "") if m["message_type"] == "text" else "")
                  for m in seen if m["from"] == sender]
        equal(mine, wanted, f"messages of the {sender}")


@case
def pcapng_grpc(t):
    """gRPC over HTTP/2: tshark finds calls, messages and the statuses in trailers"""
    need_module("grpc")
    client = t.gated([PYTHON, t.source("messages_grpc.py"), "none"])
    path, _ = exported(t, [], client, kind="pcapng")
    check_packets(path)
    calls = [line[0] for line in filtered(path, "http2.headers.path", "http2.headers.path")]
    equal(calls, ["/a.test.Service/Get", "/a.test.Service/Get", "/a.test.Service/Stream"], "calls")
    messages = [length for line in filtered(path, "grpc", "grpc.message_length") for length in line[0].split(",")]
    equal(len(messages), 7, f"messages {messages}")
    status = filtered(path, 'http2.header.name == "grpc-status"', "http2.header.name")
    equal(len(status), 3, "statuses")


@case
def pcapng_cut(t):
    """--max-body: heads of all messages are shown, true lengths are kept, nothing is reported lost"""
    server = PythonServer(t)
    client = t.gated(curl(server, ["/bytes/200000", "/chunks/5000", "/close/9000"]))
    path, _ = exported(t, [], client, "--max-body", 1000, kind="pcapng")
    check_packets(path)
    equal([line[0] for line in filtered(path, "http.response", "http.response.code")], ["200"] * 3, "responses")
    equal([line[0] for line in filtered(path, "http.request", "http.request.uri")],
          ["/bytes/200000", "/chunks/5000", "/close/9000"], "requests")
    sent = sum(int(line[0]) for line in filtered(path, f"tcp.srcport == {server.port} && tcp.len > 0", "tcp.len"))
    check(sent >= 214_000, f"{sent} bytes in all")
    for size in (200_000, 5000, 9000):
        check(any(f"cut: 1000 of {size} bytes" in text for text in comments(path)), f"comments: {comments(path)}")


@case
def pcapng_other_sockets(t):
    """IPv6; a unix socket, at addresses for documentation; a session whose socket is not known"""
    server = PythonServer(t, address="::1")
    client = t.gated(["curl", "-s", "-g", "-o", "/dev/null", f"http://[::1]:{server.port}/bytes/10"])
    path, _ = exported(t, [], client, kind="pcapng")
    check_packets(path)
    equal(filtered(path, "http.request", "ipv6.src", "ipv6.dst", "http.request.uri"), [["::1", "::1", "/bytes/10"]], "IPv6")
    name = t.path("socket")
    server = PythonServer(t, address=name)
    client = t.gated(["curl", "-s", "-o", "/dev/null", "--unix-socket", name, "http://localhost/bytes/10"])
    path, _ = exported(t, [], client, kind="pcapng")
    check_packets(path)
    equal(filtered(path, "http.request", "ip.src", "ip.dst", "tcp.dstport"), [["192.0.2.1", "192.0.2.2", "80"]], "unix")
    check(any(f"unix socket {name}" in text for text in comments(path)), f"comments: {comments(path)}")


@case
def pcapng_stdout(t):
    """--pcapng - | tshark -r -: packets are there while the tool runs; it ends when its reader has gone"""
    need("tshark")
    server = PythonServer(t)
    client = t.gated(python_client(server, "keepalive", 5))
    r, w = os.pipe()
    reader = t.spawn(["tshark", "-l", "-r", "-", "-Y", "http.request", "-T", "fields", "-e", "http.request.uri"], stdin=r)
    tool = Httpsnoop(t, ["--pcapng", "-", "-o", "/dev/null", "-p", f"{client.pid},{server.pid}"], stdout=w)
    os.close(r)
    os.close(w)
    client.release()
    client.done()
    deadline = time.monotonic() + 30
    while len(reader.stdout().split()) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    equal(len(reader.stdout().split()), 5, "requests that tshark has seen")
    reader.end()
    other = t.spawn(python_client(server, "keepalive", 1))
    other.done()
    tool.wait()


@case
def pcapng_kill(t):
    """kill -9 at random moments: tshark reads all but a last packet that is not whole"""
    counts = []
    for _ in range(KILLS):
        path = t.path("killed.pcapng")
        served = killed_at_random(t, "--pcapng", path)
        requests = tshark(path, "-Y", "http.request", cut_ok=True)
        bad = tshark(path, "-Y", "_ws.malformed", cut_ok=True)
        check(len(requests) <= served + 1 and not bad, f"{len(requests)} requests of {served}; {bad}")
        counts.append(len(requests))
    check(any(counts), "no request in any file")
    t.diag(f"requests: {counts}")


@case
def pcapng_rotation(t):
    """--rotate-size: each file can be read by itself, HTTP/2 as well; together every request once"""
    certificate = Certificate(t)
    server = NodeServer2(t, certificate=certificate)
    upload = t.path("upload")
    with open(upload, "wb") as f:
        f.write(pattern(300_000))
    targets = [f"/{i}" for i in range(8)]
    argv = [*curl(server, targets, "--http2", "--cacert", certificate.path), "--data-binary", "@" + upload]
    client = t.gated(argv)
    path, _ = exported(t, [server], client, "--rotate-size", 1, kind="pcapng", attach=t.sslsniff)
    paths = sorted(glob.glob(path.replace(".pcapng", "*.pcapng")), key=lambda p: (len(p), p))
    check(len(paths) >= 3, f"files: {paths}")
    got = []
    for one in paths:
        check_packets(one)
        got += [line[0] for line in filtered(one, "http2.headers.path", "http2.headers.path")]
    equal(got, targets, "requests")


@case
def exports_together(t):
    """both exports, text on standard output as without them, an option that cannot be used with --raw"""
    need_npm()
    server = PythonServer(t)
    client = t.gated(python_client(server, "keepalive", 3))
    har, pcapng = t.path("a.har"), t.path("a.pcapng")
    tool = Httpsnoop(t, ["--har", har, "--pcapng", pcapng, "-p", client.pid])
    client.release()
    client.done()
    tool.stop()
    equal(len(tool.text().splitlines()), 3, "lines")
    equal((len(har_entries(har)), len(filtered(pcapng, "http.request", "frame.number"))), (3, 3), "exported")


@case
def exports_unusual(t):
    """what real traffic seldom has (programs/exports_fixture.lua): losses as jumps, with a comment; nothing malformed"""
    need_npm()
    har, pcapng = t.path("u.har"), t.path("u.pcapng")
    for kind, path in (("har", har), ("pcapng", pcapng)):
        t.spawn(["luajit", t.source("exports_fixture.lua"), TREE, kind, path]).done()
    (checked,) = checked_hars(har)
    equal(checked["entries"], 19, "entries")
    check_unusual_entries(har_entries(har))
    equal(tshark(pcapng, "-Y", "_ws.malformed || tcp.analysis.retransmission || tcp.analysis.reused_ports"), [], "faults")
    requests = [line[0] for line in filtered(pcapng, "http.request", "http.request.uri")]
    equal(requests, ["/gap", "/after-gap", "/huge", "/after-huge", "/aborted", "/aborted-chunks", "/no-response",
                     "/tls\x1b[31m", "/mapped", "/unknown-socket", "/chat"], "requests")
    equal(len(filtered(pcapng, "http.response", "frame.number")), 11, "responses")
    paths = [line[0] for line in filtered(pcapng, "http2.headers.path", "http2.headers.path")]
    equal(paths, ["/h2-gap", "/pushed", "/large-block", "/last", "/chat2", "/meanwhile"], "requests of HTTP/2")
    lost = {line[0] for line in filtered(pcapng, "tcp.analysis.lost_segment", "tcp.stream")}
    equal(lost, {"0", "1", "9"}, "connections with segments that are missing: two gaps, and what is beyond 2 GiB")
    told = "\n".join(comments(pcapng))
    for text in ("lost: 300 bytes of the body, from byte 500 on", "cut: 100 of 10737418240 bytes", "aborted",
                 "request not seen", "no response: unfinished", "container web", "a\\x1bb", "pushed", "unknown-headers",
                 "after-gap", "cut: 1000 of 70000 bytes", "undecoded", "the socket is not known"):
        check(text in told, f"'{text}' is in no comment")
    equal(filtered(pcapng, "http2.type == 1 && http2.streamid == 1", "http2.header.name")[-1], ["grpc-status"], "trailers")


def check_unusual_entries(entries):
    by_path = {entry["request"]["url"].split("8080")[-1]: entry for entry in entries}
    gap = {"body": "gap", "size_bytes": 1000, "kept_bytes": 500, "gap_offset_bytes": 500, "gap_bytes": 300}
    equal(by_path["/gap"]["_loss"], {"response": gap}, "loss")
    equal(by_path["/after-gap"]["_loss"], {"flags": ["after-gap"]}, "loss")
    equal(by_path["/aborted"]["_loss"], {"response": {"flags": ["aborted"]}}, "loss")
    equal(by_path["/no-response"]["response"]["_error"], "unfinished", "why there is no response")
    unseen = next(entry for entry in entries if entry.get("_loss", {}).get("flags") == ["no-request"])
    equal((unseen["request"]["method"], unseen["response"]["status"]), ("", 200), "a response alone")
    contained = [entry["_container"] for entry in entries if "_container" in entry]
    equal(contained, [{"id": "0123abcd", "name": "web"}], "containers")
    chat, chat2 = [entry for entry in entries if "_webSocketMessages" in entry]
    equal([m["data"] for m in chat2["_webSocketMessages"]], ["over h2", "f" * 1000], "messages over HTTP/2")
    told = [(m["type"], m["opcode"], len(m["data"]), m.get("_state")) for m in chat["_webSocketMessages"]]
    equal(told, [("send", 1, 1000, "truncated"), ("receive", 1, 6, None), ("send", 2, 4, None), ("send", 8, 3, None)],
          "messages")
