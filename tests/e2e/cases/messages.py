# SPDX-License-Identifier: Apache-2.0
"""Messages within exchanges: WebSocket, server-sent events, gRPC; exchanges that go on."""

import base64
import hashlib
import subprocess
import time

from harness import need
from scenario import client_log, of_side
from tap import Skip, case, check, equal
from tls import Certificate
from tool import Httpsnoop

PYTHON = "/usr/bin/python3"
SSE_EVENTS = 10


def need_module(name):
    """Skip the case when Debian's Python does not have the module."""
    if subprocess.run([PYTHON, "-c", f"import {name}"], capture_output=True, check=False).returncode != 0:
        raise Skip(f"python3-{name} is not installed")


def payload(message):
    return base64.b64decode(message["base64"]) if "base64" in message else message.get("text", "").encode()


def run(t, program, *arguments, attach=None):
    """Run a program, traced; returns (its process, the tool)."""
    client = t.gated([PYTHON, t.source(program), *arguments])
    tool = (attach or t.snoop)("--max-body", "1M", pids=[client])
    client.release()
    client.done()
    tool.stop()
    return client, tool


def messages_of(tool, exchange):
    return [m for m in tool.records("message") if m["exchange_id"] == exchange["id"]]


def check_one_start(tool, exchange):
    starts = [record for record in tool.records("started") if record["id"] == exchange["id"]]
    equal(len(starts), 1, "started records")


def check_websocket(t, compression, *certificate, attach=None):
    client, tool = run(t, "messages_ws.py", compression, *certificate, attach=attach)
    told = client_log(client)
    exchanges = tool.exchanges()
    equal(sorted(e["side"] for e in exchanges), ["client", "server"], "sides")
    for exchange in exchanges:
        check_one_start(tool, exchange)
        check("tunnel" in exchange["flags"], "101 is not flagged")
        for sender in ("client", "server"):
            mine = [m for m in messages_of(tool, exchange) if m["from"] == sender]
            seen = [{"type": m["message_type"], "size": m["size_bytes"],
                     "sha": hashlib.sha256(payload(m)).hexdigest()} for m in mine]
            wanted = [{**m, "type": "pong"} if m["type"] == "ping" and sender == "server" else m for m in told]
            if sender == "server":
                wanted[-1] = {**wanted[-1], **{key: seen[-1][key] for key in ("size", "sha")}}  # its own reason
            equal(seen, wanted, f"messages of the {sender}, seen by the {exchange['side']}")
            equal(mine[-1]["close_code"], 1001, "code of the close")
            data = [m for m in mine if m["message_type"] in ("text", "binary")]
            is_deflated = compression == "deflate"
            equal({"compressed" in m["flags"] for m in data}, {is_deflated}, "compressed")
            check(sender == "server" or data[2]["frames"] >= 3, "fragments")
    stats = tool.summary()["stats"]
    check(stats["gaps"] == 0 and stats["messages"] == len(tool.records("message")), f"{stats}")


@case
def messages_websocket(t):
    """python-websockets, both sides: text, binary, fragments, 70 kB, ping, close"""
    need_module("websockets")
    check_websocket(t, "none")


@case
def messages_websocket_deflate(t):
    """the same with permessage-deflate"""
    need_module("websockets")
    check_websocket(t, "deflate")


@case
def messages_websocket_tls(t):
    """the same over TLS"""
    need_module("websockets")
    certificate = Certificate(t)
    check_websocket(t, "deflate", certificate.path, certificate.key, attach=t.sslsniff)


def check_events(tool, exchange, flags):
    check_one_start(tool, exchange)
    events = messages_of(tool, exchange)
    wanted = [("tick", str(i), f"event {i}\nof {SSE_EVENTS}", flags) for i in range(SSE_EVENTS)]
    equal([(e["event"], e["event_id"], e["text"], e["flags"]) for e in events], wanted, "events")
    span_ns = events[-1]["last_byte_unix_ns"] - events[0]["first_byte_unix_ns"]
    check(span_ns > 1e9, f"all events within {span_ns} ns")
    equal((exchange["stream"]["response_messages"], exchange["stream"]["decoded"]), (SSE_EVENTS, True), "counted")


@case
def messages_sse(t):
    """ten events, chunked and to the end of the connection: each is told of when it arrives"""
    _, tool = run(t, "messages_sse.py")
    equal(len(tool.exchanges()), 4, "exchanges")
    for exchange in tool.exchanges():
        check_events(tool, exchange, [])


@case
def messages_sse_coded(t):
    """the same with content codings that are flushed after each event"""
    need_module("brotli")
    need("zstd")
    codings = ["gzip", "deflate", "br", "zstd"]
    _, tool = run(t, "messages_sse.py", *codings)
    equal(sorted(e["request"]["target"] for e in tool.exchanges()), sorted(2 * [f"/{c}" for c in codings]), "exchanges")
    for exchange in tool.exchanges():
        check_events(tool, exchange, ["compressed"])


@case
def messages_sse_coded_shown_at_once(t):
    """each event of a compressed stream is printed before the next one is sent"""
    client = t.gated([PYTHON, t.source("messages_sse.py"), "gzip"])
    tool = t.snoop("--side", "client", pids=[client])
    client.release()
    times = []
    while client.poll() is None:
        times += [time.monotonic()] * (len(tool.records("message")) - len(times))
        time.sleep(0.01)
    client.done()
    tool.stop()
    equal(len(times), SSE_EVENTS, "events that were there before the client had ended")
    check(all(later - earlier > 0.05 for earlier, later in zip(times, times[1:])), f"printed at {times}")


def check_grpc(t, compression, *certificate, attach=None):
    _, tool = run(t, "messages_grpc.py", compression, *certificate, attach=attach)
    exchanges = tool.exchanges()
    for side in ("client", "server"):
        calls = [e["grpc"] for e in sorted(of_side(exchanges, side), key=lambda e: e["stream_id"])]
        equal([(c["service"], c["method"], c["status"], c["request_messages"], c["response_messages"]) for c in calls],
              [("a.test.Service", "Get", 0, 1, 1), ("a.test.Service", "Get", 5, 1, 0), ("a.test.Service", "Stream", 0, 1, 3)],
              f"calls of the {side}")
        equal((calls[1]["message"], calls[1]["status_name"]), ("no such thing, 50%", "NOT_FOUND"), "status")
    first = messages_of(tool, of_side(exchanges, "client")[0])
    equal([m["size_bytes"] for m in first], [102, 14], "sizes")
    equal("compressed" in first[0]["flags"], compression == "gzip", "compressed")
    equal(first[1]["fields"], [
        {"field": 1, "type": "bytes", "text": "hello"},
        {"field": 2, "type": "message", "fields": [{"field": 1, "type": "varint", "value": 150}]},
        {"field": 3, "type": "varint", "value": 42},
    ], "fields")


@case
def messages_grpc(t):
    """grpcio, both sides: unary, an error, server streaming; fields of the messages"""
    need_module("grpc")
    check_grpc(t, "none")


@case
def messages_grpc_gzip(t):
    """the same with compressed requests"""
    need_module("grpc")
    check_grpc(t, "gzip")


@case
def messages_grpc_tls(t):
    """the same over TLS, where grpcio has it from OpenSSL"""
    need_module("grpc")
    certificate = Certificate(t)
    check_grpc(t, "none", certificate.path, certificate.key, attach=t.sslsniff)


@case
def messages_long_response(t):
    """a response that goes on is told of a second after its head, and again at its end"""
    script = ("import http.server, threading, time, urllib.request\n"
              "class H(http.server.BaseHTTPRequestHandler):\n"
              "    def do_GET(self):\n"
              "        self.send_response(200); self.end_headers(); self.wfile.write(b'a')\n"
              "        time.sleep(2.5 if self.path == '/long' else 0.1); self.wfile.write(b'b')\n"
              "    def log_message(self, *_): pass\n"
              "s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), H)\n"
              "threading.Thread(target=s.serve_forever, daemon=True).start()\n"
              "for path in ('/short', '/long'):\n"
              "    urllib.request.urlopen(f'http://127.0.0.1:{s.server_port}{path}').read()\n")
    client = t.gated([PYTHON, "-c", script])
    tool = t.snoop(pids=[client])
    client.release()
    client.done()
    exchanges = tool.interrupt()
    long = [e["id"] for e in exchanges if e["request"]["target"] == "/long"]
    equal((len(exchanges), len(long)), (4, 2), "exchanges")
    equal(sorted(r["id"] for r in tool.records("started")), sorted(long), "started")
    equal(len({e["id"] for e in exchanges}), 4, "ids")


@case
def messages_as_text(t):
    """lines of a WebSocket: start, messages, end, all with the number of their exchange; filters choose by exchange"""
    need_module("websockets")
    command = [PYTHON, t.source("messages_ws.py"), "none"]
    tool = Httpsnoop(t, ["--side", "client", "--path", "/chat"], command=command)
    tool.wait()
    lines = tool.text().decode().splitlines()
    number = lines[0].split()[-1]
    check("[started]" in lines[0] and all(line.split()[-1] == number for line in lines), "\n".join(lines))
    words = lines[1].split()
    equal(words[2:8][1] + " " + " ".join(words[5:9]), '-> WS text 5B "hello"', "a message")
    check("[messages 8/8]" in lines[-1] and "[started]" not in lines[-1], lines[-1])
    hidden = Httpsnoop(t, ["--path", "/other"], command=command)
    hidden.wait()
    equal(hidden.text(), b"", "what was not asked for")
