#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients and servers in one process that send made-up secrets in more ways than secrets_peer.py, which it runs too.

usage: secrets_everywhere.py CERTIFICATE KEY

Codings, trailers, parts, paths, gRPC, events, WebSockets with compression, TLS. Prints {"values": [...], "coded":
[...]} once all is over: what was sent, and in base64 the compressed bytes with one of these values in them.
"""

import asyncio
import base64
import gzip
import json
import random
import socket
import ssl
import string
import sys
import threading
import time
import zlib
from urllib.parse import quote, urlencode

import brotli
import h2.config
import h2.connection
import websockets
from secrets_peer import read_message, request, response, run_http1, run_http2, value, values

coded = []
BASE64URL = string.ascii_letters + string.digits


def compressed(data):
    coded.append(base64.b64encode(data).decode())
    return data


def digits(count):
    return "".join(random.SystemRandom().choice(string.digits) for _ in range(count))


def token(prefix, length):
    """A value that is known by its form."""
    made = prefix + "".join(random.SystemRandom().choice(BASE64URL) for _ in range(length))
    values.append(made)
    return made


def weak():
    """A value that looks like words, and is known by its field alone."""
    words = ["correct", "horse", "battery", "staple", "orange", "window", "paper", "garden"]
    values.append("-".join(random.SystemRandom().choice(words) for _ in range(4)) + f"-{len(values)}")
    return values[-1]


def card():
    """A card number with its check digit (ISO/IEC 7812)."""
    number = "4" + digits(14)
    total = sum(sum(divmod(int(d) * (2 - i % 2), 10)) for i, d in enumerate(number))
    values.append(number + str(-total % 10))
    return values[-1]


def mail():
    """An address of which no part is a word that is in what else is sent."""
    values.append(f"{token('', 14)}@mail.{token('', 6).lower()}.net")
    return values[-1]


def personal():
    """What says less of a person than a card does: addresses, phone numbers, a bank's routing number (ABA)."""
    made = {"email": mail(), "phone": "+4930" + digits(8), "mobile": "(415) 86" + digits(1) + "-" + digits(4)}
    first = "1210" + digits(4)
    total = sum(int(digit) * weight for digit, weight in zip(first, (3, 7, 1, 3, 7, 1, 3, 7)))
    made["routing_number"] = first + str(-total % 10)
    values.extend(value for name, value in made.items() if name != "email")
    return made


def jwt():
    parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": digits(10), "iat": 1700000000})
    coded_parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    values.append(".".join([*coded_parts, token("", 43)]))
    return values[-1]


def chunked(parts, headers=(), trailers=()):
    """The parts of a message with a body in chunks, each to be written by itself."""
    lines = [*headers, "Transfer-Encoding: chunked", "Trailer: X-Api-Key"]
    yield "\r\n".join(lines).encode() + b"\r\n\r\n"
    for part in parts:
        yield b"%x\r\n%s\r\n" % (len(part), part)
    yield b"0\r\n" + "".join(f"{line}\r\n" for line in trailers).encode() + b"\r\n"


def form_data():
    """A multipart body with a field, and a file with a token in it."""
    part = '--limit\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    file = '--limit\r\nContent-Disposition: form-data; name="f"; filename="ci.env"\r\n\r\nCI_TOKEN={}\r\n'
    return (part.format("username", "alice") + part.format("password", value()) + file.format(token("glpat-", 20))
            + "--limit--\r\n").encode()


def pairs():
    """Requests, in the parts that are written one by one, and their responses, likewise."""
    plain = [response(["Content-Type: text/plain"], b"ok\n")]
    as_json = ["Content-Type: application/json"]
    yield [request("GET", f"/hooks/{token('glpat-', 20)}/run")], plain
    yield [request("GET", f"/callback?state=x&id_token={jwt()}")], plain
    yield ([request("GET", "/cookies", [f"Cookie: theme=dark; sessionid={value()}; auth_token={value()}; sid={value(8)}",
                                        f'Authorization: Digest username="alice", response="{value(32)}"'])],
           [response([f"Set-Cookie: sid={value(8)}", f"Location: /cb?access_token={value(12)}&state=1"], b"ok\n")])
    yield ([request("POST", "/weak", [*as_json, "X-Auth-Token: " + weak()], json.dumps({"apiKey": weak()}).encode())],
           plain)
    made = json.dumps({"username": "alice", "password": value(), "card": {"number": card()}}).encode()
    yield [request("POST", "/deflate", [*as_json, "Content-Encoding: deflate"], compressed(zlib.compress(made)))], plain
    made = json.dumps({"username": "alice", "client_secret": value(32)}).encode() * 3
    yield [request("GET", "/br")], [response([*as_json, "Content-Encoding: br"], compressed(brotli.compress(made)))]
    password = value()
    yield ([request("POST", "/echo-gzip", as_json, json.dumps({"password": password}).encode())],
           [response(["Content-Type: text/plain", "Content-Encoding: gzip"],
                     compressed(gzip.compress(f"hello, {password}".encode())))])
    half = json.dumps({"username": "alice", "password": value()}).encode()
    at = len(half) - 12
    head = ["POST /chunks HTTP/1.1", "Host: localhost", *as_json]
    yield (list(chunked([half[:at], half[at:]], head, [f"X-Api-Key: {value(32)}"])),
           list(chunked([b"ok"], ["HTTP/1.1 200 OK"], [f"X-Api-Key: {value(32)}"])))
    made = personal()
    yield ([request("POST", f"/users/{mail()}/contact?to={quote(mail())}", as_json, json.dumps(made).encode())],
           [response(["Content-Type: application/x-www-form-urlencoded", f"X-Contact: {mail()}"],
                     urlencode(personal()).encode())])
    body = form_data()
    yield [request("POST", "/parts", ["Content-Type: multipart/form-data; boundary=limit"], body)], plain
    events = f'event: login\ndata: {{"username":"alice","password":"{value()}"}}\n\ndata: {token("glpat-", 20)}\n\n'
    yield [request("GET", "/events")], [response(["Content-Type: text/event-stream"], events.encode())]
    yield ([request("POST", "/utf-16", ["Content-Type: text/plain; charset=utf-16le"],
                    f"password = {value()}\n".encode("utf-16le"))], plain)


def read_chunked(stream):
    """The rest of a message in chunks."""
    while True:
        size = int(stream.readline(), 16)
        if size == 0:
            break
        stream.read(size + 2)
    while stream.readline() not in (b"\r\n", b""):
        pass


def read_any(stream):
    head = read_message(stream)
    if head and b"transfer-encoding: chunked" in head.lower():
        read_chunked(stream)
    return head


def write(connection, parts):
    for part in parts:
        connection.sendall(part)
        time.sleep(0.02 if len(parts) > 1 else 0)


def serve(listener, answers, context):
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context:
        connection = context.wrap_socket(connection, server_side=True)
    with connection, connection.makefile("rb") as stream:
        while read_any(stream):
            write(connection, answers.pop(0))


def run_pairs(context=None, trusted=None):
    listener = socket.create_server(("127.0.0.1", 0))
    all_pairs = list(pairs())
    server = threading.Thread(target=serve, args=(listener, [answer for _, answer in all_pairs], context))
    server.start()
    client = socket.create_connection(listener.getsockname())
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if trusted:
        client = trusted.wrap_socket(client, server_hostname="localhost")
    with client, client.makefile("rb") as stream:
        for parts, _ in all_pairs:
            write(client, parts)
            read_any(stream)
    server.join()
    listener.close()


def run_tls(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    run_pairs(context, ssl.create_default_context(cafile=certificate))


def grpc_message(is_compressed):
    """A message with strings, as of message Login { string user = 1; string token = 2; }, length-prefixed."""
    secret = token("glpat-", 20).encode()
    data = b"\x0a\x05alice\x12" + bytes([len(secret)]) + secret + b"\x1a\x40" + b"x" * 64
    data = compressed(gzip.compress(data)) if is_compressed else data
    return bytes([is_compressed]) + len(data).to_bytes(4, "big") + data


def run_grpc():
    """Two calls, the second one with compression, in HTTP/2 with prior knowledge."""
    listener = socket.create_server(("127.0.0.1", 0))
    client_socket = socket.create_connection(listener.getsockname())
    server_socket = listener.accept()[0]
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    client.initiate_connection()
    for stream_id, is_compressed in ((1, False), (3, True)):
        encoding = [("grpc-encoding", "gzip")] if is_compressed else []
        client.send_headers(stream_id, [
            (":method", "POST"), (":path", "/a.test.Login/Login"), (":scheme", "http"), (":authority", "localhost"),
            ("content-type", "application/grpc"), ("te", "trailers"), ("x-api-key", value(32)), *encoding])
        client.send_data(stream_id, grpc_message(is_compressed), end_stream=True)
        client_socket.sendall(client.data_to_send())
        server.receive_data(server_socket.recv(65536))
        server.send_headers(stream_id, [(":status", "200"), ("content-type", "application/grpc"), *encoding])
        server.send_data(stream_id, grpc_message(is_compressed))
        server.send_headers(stream_id, [("grpc-status", "0"), ("x-api-key", value(32))], end_stream=True)
        server_socket.sendall(server.data_to_send())
        client.receive_data(client_socket.recv(65536))
    client_socket.close()
    server_socket.close()
    listener.close()


async def run_websocket():
    async def handler(socket_, _path=None):
        async for message in socket_:
            await socket_.send(message)

    for compression in (None, "deflate"):
        async with websockets.serve(handler, "127.0.0.1", 0, compression=compression) as server:
            port = server.sockets[0].getsockname()[1]
            url = f"ws://127.0.0.1:{port}/ws?access_token={value(32)}"
            async with websockets.connect(url, compression=compression) as client:
                for message in (json.dumps({"username": "alice", "password": value()}), f"CI {token('glpat-', 20)}",
                                b"\0\1" + token("glpat-", 20).encode()):
                    await client.send(message)
                    await client.recv()


def main():
    run_http1(100)
    run_http2()
    run_pairs()
    run_tls(sys.argv[1], sys.argv[2])
    run_grpc()
    asyncio.run(run_websocket())
    print(json.dumps({"values": values, "coded": coded}))


if __name__ == "__main__":
    main()
