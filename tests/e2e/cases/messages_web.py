# SPDX-License-Identifier: Apache-2.0
"""Messages as the web carries them: WebSockets over HTTP/2, gRPC-Web, WebSockets that were open before."""

import hashlib
import os
import subprocess

from cases.messages import PYTHON, check_one_start, messages_of, need_module, payload
from harness import need
from scenario import client_log, of_side
from tap import Skip, case, check, equal
from tls import Certificate

NODE_SOCKETS, NODE_MESSAGES = 3, 20


def run(t, argv, attach):
    """Run a program, traced; returns (what it logged, the tool)."""
    client = t.gated(argv)
    tool = attach("--max-body", "1M", pids=[client])
    client.release()
    client.done()
    tool.stop()
    return client_log(client), tool


def check_stats(tool):
    stats = tool.summary()["stats"]
    check(stats["gaps"] == 0 and stats["parse_errors"] == 0, f"{stats}")
    equal(stats["messages"], len(tool.records("message")), "messages counted")


def check_connect(exchange, scheme):
    """The head of an extended CONNECT (RFC 8441, 4)."""
    request = exchange["request"]
    equal((request["method"], request["protocol"], request["scheme"], request["version"]),
          ("CONNECT", "websocket", scheme, "2"), "request")
    equal((exchange["response"]["status"], exchange["stream"]["protocol"]), (200, "websocket"), "response")
    check("tunnel" in exchange["flags"], "the tunnel is not flagged")


# ---- WebSocket over HTTP/2 ------------------------------------------------------------------------------------------


def check_hypercorn(t, compression, *certificate, attach=None):
    for module in ("hypercorn", "h2", "wsproto"):
        need_module(module)
    told, tool = run(t, [PYTHON, t.source("messages_ws_h2.py"), compression, *certificate], attach or t.snoop)
    exchanges = tool.exchanges()
    equal(sorted(e["side"] for e in exchanges), ["client", "server"], "sides")
    for exchange in exchanges:
        check_connect(exchange, "https")
        check_one_start(tool, exchange)
        for sender in ("client", "server"):
            mine = [m for m in messages_of(tool, exchange) if m["from"] == sender]
            seen = [{"type": m["message_type"], "size": m["size_bytes"],
                     "sha": hashlib.sha256(payload(m)).hexdigest()} for m in mine]
            wanted = [{**m, "type": "pong"} if m["type"] == "ping" and sender == "server" else m for m in told]
            equal(seen, wanted, f"messages of the {sender}, seen by the {exchange['side']}")
            equal(mine[-1]["close_code"], 1001, "code of the close")
            data = [m for m in mine if m["message_type"] in ("text", "binary")]
            equal({"compressed" in m["flags"] for m in data}, {compression == "deflate"}, "compressed")
            check(sender == "server" or data[2]["frames"] == 3, "fragments")
    check_stats(tool)


@case
def messages_websocket_h2(t):
    """RFC 8441 in clear text, hypercorn and wsproto: text, binary, fragments, 70 kB, ping, close"""
    check_hypercorn(t, "none")


@case
def messages_websocket_h2_deflate(t):
    """the same with permessage-deflate over TLS"""
    certificate = Certificate(t)
    check_hypercorn(t, "deflate", certificate.path, certificate.key, attach=t.sslsniff)


def check_node_sockets(t, *certificate, attach=None):
    need("node")
    if not os.path.isdir("/usr/share/nodejs/ws"):
        raise Skip("node-ws is not installed")
    argv = ["node", t.source("messages_ws_h2.js"), NODE_SOCKETS, *certificate]
    told, tool = run(t, [str(word) for word in argv], attach or t.snoop)
    equal(len(told), NODE_SOCKETS * NODE_MESSAGES, "messages that were sent")
    for side in ("client", "server"):
        mine = of_side(tool.exchanges(), side)
        equal(sorted(e["request"]["target"] for e in mine), ["/between", *(f"/chat/{i}" for i in range(NODE_SOCKETS))],
              f"exchanges of the {side}")
        equal(len({e["connection"]["id"] for e in mine}), 1, "connections")
        for exchange in (e for e in mine if e["request"]["method"] == "CONNECT"):
            check_connect(exchange, "https" if certificate else "http")
            number = int(exchange["request"]["target"].rpartition("/")[2])
            wanted = [{key: m[key] for key in ("type", "size", "sha")} for m in told if m["socket"] == number]
            for sender in ("client", "server"):
                messages = [m for m in messages_of(tool, exchange) if m["from"] == sender]
                seen = [{"type": m["message_type"], "size": m["size_bytes"],
                         "sha": hashlib.sha256(payload(m)).hexdigest()} for m in messages]
                equal(seen[:-1], wanted, f"messages of the {sender} on socket {number}, seen by the {side}")
                equal((seen[-1]["type"], messages[-1]["close_code"]), ("close", 1000 + number), "close")
            counted = (exchange["stream"]["request_messages"], exchange["stream"]["response_messages"])
            equal(counted, (NODE_MESSAGES + 1, NODE_MESSAGES + 1), "counted")
    check_stats(tool)


@case
def messages_websocket_h2_node(t):
    """node with enableConnectProtocol: three WebSockets at once and a request on one connection in clear text"""
    check_node_sockets(t)


@case
def messages_websocket_h2_node_tls(t):
    """the same over TLS"""
    certificate = Certificate(t)
    check_node_sockets(t, certificate.path, certificate.key, attach=t.sslsniff)


# ---- gRPC-Web -------------------------------------------------------------------------------------------------------


def check_grpc_web_call(tool, exchange, told):
    call, service_and_method = exchange["grpc"], told["path"].split("/")[1:]
    lines = dict(line.split(": ", 1) for line in told["trailers"].splitlines())
    equal([call["service"], call["method"]], service_and_method, "path")
    equal(call["status"], int(lines["grpc-status"]), "status")
    equal(call.get("message", ""), lines["grpc-message"], "message of the status")
    equal((call["request_messages"], call["response_messages"]), (1, len(told["got"])), "counted")
    messages = messages_of(tool, exchange)
    equal([m["message_type"] for m in messages], ["message"] * (1 + len(told["got"])) + ["trailers"], "types")
    equal([m["from"] for m in messages], ["client"] + ["server"] * (1 + len(told["got"])), "senders")
    text = [m["fields"][0]["text"] for m in messages[:-1]]
    numbers = [m["fields"][0]["field"] for m in messages[:-1]]
    equal(numbers, [7] + [1] * len(told["got"]), "numbers of the fields")
    equal([len(one) + 2 for one in text], [m["size_bytes"] for m in messages[:-1]], "sizes")
    return text


def check_grpc_web(t, version, encoding, *certificate, attach=None):
    need("node")
    argv = ["node", t.source("messages_grpc_web.js"), version, encoding, *certificate]
    told, tool = run(t, argv, attach or t.snoop)
    equal(len(tool.exchanges()), 6, "exchanges")
    for side in ("client", "server"):
        mine = {e["request"]["target"]: e for e in of_side(tool.exchanges(), side)}
        equal({e["request"]["version"] for e in mine.values()}, {"1.1" if version == "1" else "2"}, "version")
        equal({e["stream"]["protocol"] for e in mine.values()}, {"grpc-web"}, "protocol")
        text = [check_grpc_web_call(tool, mine[one["path"]], one) for one in told]
        equal(text, [["what is asked", "one answer"], ["for long", "a", "bb", "ccc"], ["for what is not there"]], "text")
    check_stats(tool)


@case
def messages_grpc_web(t):
    """gRPC-Web in HTTP/1.1, node on both sides: one answer, three, an error; status from the trailers in the body"""
    check_grpc_web(t, "1", "grpc-web")


@case
def messages_grpc_web_text(t):
    """the same in base64, over TLS"""
    certificate = Certificate(t)
    check_grpc_web(t, "1", "grpc-web-text", certificate.path, certificate.key, attach=t.sslsniff)


@case
def messages_grpc_web_h2(t):
    """the same over HTTP/2 in clear text"""
    check_grpc_web(t, "2", "grpc-web")


@case
def messages_grpc_web_text_h2(t):
    """in base64 over HTTP/2 and TLS"""
    certificate = Certificate(t)
    check_grpc_web(t, "2", "grpc-web-text", certificate.path, certificate.key, attach=t.sslsniff)


# ---- WebSockets met after their handshake ---------------------------------------------------------------------------

LATE_COUNT = 10
PROOF = 2  # messages each way that show that it is one, and are not shown themselves


def late(t, compression, *certificate, attach=None, options=()):
    """The tool after it has watched a WebSocket that was open before."""
    need_module("websockets")
    argv = [PYTHON, t.source("messages_ws_late.py"), compression, LATE_COUNT, *certificate]
    client = t.spawn(argv, stdin=subprocess.PIPE)
    client.wait_ready()
    tool = (attach or t.snoop)(*options, pids=[client])
    client.tell("go")
    client.done()
    tool.stop()
    equal(sorted(e["side"] for e in tool.exchanges()), ["client", "server"], "exchanges")
    for exchange in tool.exchanges():
        equal((exchange["request"], exchange["response"], exchange["flags"]), (None, None, ["midstream", "tunnel"]), "exchange")
        check_one_start(tool, exchange)
        shown = LATE_COUNT - PROOF + 1
        counted = (exchange["stream"]["request_messages"], exchange["stream"]["response_messages"])
        equal(counted, (shown, shown), "counted")
    check_stats(tool)
    return tool


def check_late_messages(tool):
    for exchange in tool.exchanges():
        for sender in ("client", "server"):
            mine = [m for m in messages_of(tool, exchange) if m["from"] == sender]
            numbers = range(1 + PROOF, 1 + LATE_COUNT)
            wanted = [f"message {i}, {'naïve ' * 30}".encode() if i % 2 else bytes([i] * i) for i in numbers]
            equal([payload(m) for m in mine[:-1]], wanted, f"messages of the {sender}, seen by the {exchange['side']}")
            equal((mine[-1]["message_type"], mine[-1]["close_code"]), ("close", 1001), "close")


@case
def messages_websocket_late(t):
    """a WebSocket that was open before, both sides: its messages, once it is certain that it is one"""
    check_late_messages(late(t, "none"))


@case
def messages_websocket_late_tls(t):
    """the same over TLS"""
    certificate = Certificate(t)
    check_late_messages(late(t, "none", certificate.path, certificate.key, attach=t.sslsniff))


@case
def messages_websocket_late_deflate(t):
    """with permessage-deflate: messages, as they were sent; without what nobody can look into, if secrets are masked"""
    for options, flags in ((["--show-secrets"], ()), ([], ("redacted",))):
        tool = late(t, "deflate", options=options)
        data = [m for m in tool.records("message") if m["message_type"] != "close"]
        equal({tuple(m["flags"]) for m in data}, {("compressed", "undecoded", *flags)}, "flags")
        equal({"text" in m or "base64" in m for m in data}, {not flags}, "whether there is a payload")
