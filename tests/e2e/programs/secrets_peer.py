#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client and a server in one process that send made-up secrets in every way that HTTP has.

usage: secrets_peer.py FILL
FILL: bytes before the value in the response of "/cut". Prints the values that it
has sent, as a JSON list, once all is over.
"""

import asyncio
import base64
import gzip
import json
import random
import socket
import string
import sys
import threading
import time
import urllib.parse

import h2.config
import h2.connection
import websockets

ALPHABET = string.ascii_letters + string.digits
values = []


def value(length=24):
    """A value that nobody has seen before; it has a digit, a small and a capital letter."""
    made = "aB3" + "".join(random.SystemRandom().choice(ALPHABET) for _ in range(length - 3))
    values.append(made)
    return made


def request(method, target, headers=(), body=b""):
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def response(headers, body):
    lines = ["HTTP/1.1 200 OK", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def read_message(stream):
    """One message, with its Content-Length; None at the end."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = stream.read(1)
        if not byte:
            return None
        head += byte
    sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + stream.read(int(sizes[0].split(b":")[1]) if sizes else 0)


def serve(listener, answers):
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as stream:
        while read_message(stream):
            connection.sendall(answers.pop(0))


def exchanges(fill):
    """Pairs of a request, in the parts that are written one by one, and its response."""
    plain = response(["Content-Type: text/plain"], b"ok\n")
    made = json.dumps({"user": {"access_token": value()}, "username": "alice"}).encode()
    nested = json.dumps({"payload": json.dumps({"username": "alice", "password": value()})}).encode()
    inner = base64.b64encode(json.dumps({"username": "alice", "password": value()}).encode()).decode()
    values.append(inner[48:78])  # the password's part of it
    quoted = urllib.parse.quote(json.dumps({"password": value()}))
    password, split = value(), value()
    basic = base64.b64encode(f"alice:{password}".encode()).decode()
    values.append(basic)
    form = ["Content-Type: application/x-www-form-urlencoded"]
    body = f"username=alice&password={split}&x=1".encode()
    whole = request("POST", "/split", form, body)
    at = whole.index(split.encode()) + 9
    yield [request("GET", f"/query?api_key={value()}&username=alice")], plain
    yield [request("GET", f"/quoted?q={quoted}")], plain
    yield [request("GET", "/basic", [f"Authorization: Basic {basic}"])], \
        response([], b"you are alice, " + password.encode())
    yield [request("GET", "/bearer", [f"Authorization: Bearer {value(40)}", f"Cookie: a=b; sessionid={value()}"])], \
        response([f"Set-Cookie: sessionid={value()}; Path=/"], b"ok\n")
    yield [whole[:at], whole[at:]], plain
    yield [request("POST", "/nested", ["Content-Type: application/json"], nested)], plain
    yield [request("POST", "/base64", ["Content-Type: application/json"], json.dumps({"data": inner}).encode())], plain
    yield [request("GET", "/gzip")], response(["Content-Type: application/json", "Content-Encoding: gzip"],
                                              gzip.compress(made))
    cut = b"x " * (fill // 2) + f'{{"password":"{value(64)}"}}'.encode() + b" y" * 20000
    yield [request("GET", "/cut")], response(["Content-Type: text/plain"], cut)
    yield [request("GET", "/cut-gzip")], response(["Content-Type: text/plain", "Content-Encoding: gzip"],
                                                  gzip.compress(cut))


def run_http1(fill):
    listener = socket.create_server(("127.0.0.1", 0))
    pairs = list(exchanges(fill))
    server = threading.Thread(target=serve, args=(listener, [answer for _, answer in pairs]))
    server.start()
    with socket.create_connection(listener.getsockname()) as client, client.makefile("rb") as stream:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for parts, _ in pairs:
            for part in parts:
                client.sendall(part)
                time.sleep(0.02 if len(parts) > 1 else 0)
            read_message(stream)
    server.join()
    listener.close()


def run_http2():
    listener = socket.create_server(("127.0.0.1", 0))
    client_socket = socket.create_connection(listener.getsockname())
    server_socket = listener.accept()[0]
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    client.initiate_connection()
    client.send_headers(1, [(":method", "GET"), (":path", f"/h2?access_token={value()}"), (":scheme", "http"),
                            (":authority", "localhost"), ("authorization", f"Bearer {value(40)}"),
                            ("cookie", f"sessionid={value()}")], end_stream=True)
    client_socket.sendall(client.data_to_send())
    server.receive_data(server_socket.recv(65536))
    server.send_headers(1, [(":status", "200"), ("set-cookie", f"sessionid={value()}")])
    server.send_data(1, json.dumps({"username": "alice", "password": value()}).encode(), end_stream=True)
    server_socket.sendall(server.data_to_send())
    client.receive_data(client_socket.recv(65536))
    client_socket.close()
    server_socket.close()
    listener.close()


async def run_websocket():
    async def handler(socket_, _path=None):
        async for message in socket_:
            await socket_.send(message)

    async with websockets.serve(handler, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with websockets.connect(f"ws://127.0.0.1:{port}/ws", compression=None) as client:
            await client.send(json.dumps({"username": "alice", "password": value()}))
            await client.recv()


def main():
    run_http1(int(sys.argv[1]))
    run_http2()
    asyncio.run(run_websocket())
    print(json.dumps(values))


if __name__ == "__main__":
    main()
