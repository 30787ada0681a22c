#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HTTP clients that log to stdout, a JSON record per exchange, what they sent and received.

usage: client.py [--tls CA] KIND ADDRESS PORT [COUNT]
  keepalive   COUNT requests on one connection of http.client
  threads     COUNT threads, a connection and one POST each
  pipelined   COUNT requests written in one go, then the responses
  midstream   one request, "ready" on stderr, a line from stdin, COUNT more on the same connection
  flood       COUNT large responses, "ready" on stderr, a line from stdin, then on the same
              connection a small one, a second's rest, and three more
  trailers    one chunked request with trailers, written a byte a time
  tunnels     CONNECT, and an upgrade on another connection; HTTP-looking bytes follow that are none
  half_close  one HTTP/1.0 request, shutdown of the sending side, then the response to its end
  gives_up    reads a part of a large response and closes
  escapes     control bytes in the process name, a request header and the body
  requests    COUNT requests of a session of the requests library (needs --tls)
  aio         COUNT requests on each of four connections of asyncio
ADDRESS: an IP address, a path or @name (PORT is then ignored). CA: PEM file with what the server's certificate is
checked against; with it, connections are TLS.
"""

import http.client
import json
import os
import socket
import ssl
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from pattern import pattern, sha  # noqa: E402

_print_lock = threading.Lock()
_ca = None  # path, when connections are TLS


def tls_context():
    return ssl.create_default_context(cafile=_ca) if _ca else None


def connect(address, port):
    """A connected http.client connection."""
    connection = http.client.HTTPConnection("localhost")
    if address.startswith(("/", "@")):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect("\0" + address[1:] if address.startswith("@") else address)
    else:
        connection.sock = socket.create_connection((address, port))
    if _ca:
        connection.sock = tls_context().wrap_socket(connection.sock, server_hostname="localhost")
    return connection


def log(sock, method, target, request, status, response):
    record = {
        "side": "client",
        "pid": os.getpid(),
        "tid": threading.get_native_id(),
        "method": method,
        "target": target,
        "request_bytes": len(request),
        "request_sha": sha(request),
        "status": status,
        "response_bytes": len(response),
        "response_sha": sha(response),
    }
    if sock.family != socket.AF_UNIX:
        # Not getpeername(): a connection that was shut down both ways has no peer any more.
        record.update(local_port=sock.getsockname()[1], remote_port=int(sys.argv[3]))
    with _print_lock:
        print(json.dumps(record), flush=True)


def exchange(connection, method, target, body=b"", headers=None):
    """One request and its response through http.client, logged."""
    sock = connection.sock  # http.client drops it when the server ends the connection
    connection.request(method, target, body=body or None, headers=headers or {})
    response = connection.getresponse()
    data = response.read()
    log(sock, method, target, body, response.status, data)


def keepalive(address, port, count):
    connection = connect(address, port)
    for i in range(count):
        if i % 3 == 0:
            exchange(connection, "POST", f"/echo?{i}", pattern(i * 17))
        elif i % 3 == 1:
            exchange(connection, "GET", f"/bytes/{i * 31}")
        else:
            exchange(connection, "GET", f"/chunked/{i * 101}")


def threads(address, port, count):
    def one(i):
        exchange(connect(address, port), "POST", f"/echo?{i}", pattern(1000 + i))

    running = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def pipelined(address, port, count):
    connection = connect(address, port)
    targets = [f"/bytes/{i * 100}" for i in range(count)]
    connection.sock.sendall(b"".join(f"GET {t} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for t in targets))
    stream = connection.sock.makefile("rb")
    for target in targets:
        status = int(stream.readline().split()[1])
        headers = http.client.parse_headers(stream)
        log(connection.sock, "GET", target, b"", status, stream.read(int(headers["Content-Length"])))


def midstream(address, port, count):
    connection = connect(address, port)
    exchange(connection, "POST", "/echo?before", b"before")
    print("ready", file=sys.stderr, flush=True)
    sys.stdin.readline()
    for i in range(count):
        exchange(connection, "POST", f"/echo?after{i}", b"after %d" % i)


def flood(address, port, count):
    connection = connect(address, port)
    for i in range(count):
        exchange(connection, "GET", f"/bytes/2097152?{i}")
    print("ready", file=sys.stderr, flush=True)
    sys.stdin.readline()
    exchange(connection, "GET", "/bytes/10")
    time.sleep(1)
    for i in range(3):
        exchange(connection, "GET", f"/bytes/11?{i}")


def trailers(address, port, _count):
    connection = connect(address, port)
    head = b"POST /chunked/5000 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    for byte in head + b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 42\r\n\r\n":
        connection.sock.sendall(bytes([byte]))
    response = http.client.HTTPResponse(connection.sock, method="POST")
    response.begin()
    log(connection.sock, "POST", "/chunked/5000", b"hello world", response.status, response.read())


def tunnels(address, port, _count):
    for method, target, status in (("CONNECT", "inner:80", 200), ("GET", "/upgrade", 101)):
        sock = connect(address, port).sock
        sock.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n".encode())
        stream = sock.makefile("rb")
        while stream.readline() != b"\r\n":
            pass
        for inner in (b"GET /inside HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"):
            sock.sendall(inner)
            stream.read(len(inner))
        log(sock, method, target, b"", status, b"")


def half_close(address, port, _count):
    sock = connect(address, port).sock
    sock.sendall(b"GET /close/30000 HTTP/1.0\r\n\r\n")
    sock.shutdown(socket.SHUT_WR)
    data = b""
    while part := sock.recv(65536):
        data += part
    log(sock, "GET", "/close/30000", b"", 200, data.partition(b"\r\n\r\n")[2])


def gives_up(address, port, _count):
    sock = connect(address, port).sock
    sock.sendall(b"GET /bytes/8000000 HTTP/1.1\r\nHost: x\r\n\r\n")
    data = b""
    while len(data) < 10000:
        data += sock.recv(10000 - len(data))
    log(sock, "GET", "/bytes/8000000", b"", 200, data.partition(b"\r\n\r\n")[2])
    sock.close()


def escapes(address, port, _count):
    with open("/proc/self/comm", "wb") as f:
        f.write(b"e\x1b[31mvil\x9b\n")
    body = b"esc \x1b[2J \x9b1m \x07 del \x7f \xc2\x9b3J \x00 end"
    exchange(connect(address, port), "POST", "/escapes", body, {"X-Sent": "\x1b]0;owned\x07 \x9b2J"})


def requests(address, port, count):
    import requests as library  # here: a package that may be missing

    with library.Session() as session:
        for i in range(count):
            method, target, body = (("POST", f"/echo?{i}", pattern(i * 19)), ("GET", f"/chunked/{i * 997}", b""))[i % 2]
            url = f"https://{address}:{port}{target}"
            response = session.request(method, url, data=body or None, verify=_ca, stream=True)
            sock = response.raw.connection.sock  # until the body has been read
            log(sock, method, target, body, response.status_code, response.content)


def aio(address, port, count):
    import asyncio  # here: a tenth of a second that the other kinds need not wait

    async def one(reader, writer, target, body):
        writer.write(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].split()[0])
        data = await reader.readexactly(size)
        log(writer.get_extra_info("socket"), "POST", target, body, int(head.split()[1]), data)

    async def connection(number):
        name = "localhost" if _ca else None
        reader, writer = await asyncio.open_connection(address, port, ssl=tls_context(), server_hostname=name)
        for i in range(count):
            await one(reader, writer, f"/echo?aio-{number}-{i}", pattern(i * 4001))
        writer.close()

    async def all_connections():
        await asyncio.gather(*map(connection, range(4)))

    asyncio.run(all_connections())


def main():
    global _ca
    if sys.argv[1] == "--tls":
        _ca = sys.argv[2]
        del sys.argv[1:3]
    kind, address, port = sys.argv[1:4]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    globals()[kind](address, int(port), count)


if __name__ == "__main__":
    main()
