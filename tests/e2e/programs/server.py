#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HTTP/1 server on bare sockets that logs what it received and sends.

usage: server.py ADDRESS MODE LOG [CERT KEY]
ADDRESS: an IP address, a path, or @name (abstract). MODE: threads, fork (a
child per connection), prefork (four children that accept), single (one
connection after the other), memory (threads; TLS over memory BIOs).
CERT, KEY: PEM files; with them the server speaks TLS.
Prints the port once it listens. A record is in LOG before the last byte of
its response is sent, so a client that has its answer finds the record there.
"""

import json
import os
import socket
import ssl
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from pattern import pattern, sha  # noqa: E402

# Bytes that a careless parser takes for the end of something, or for a new message.
BINARY = b"\r\n\r\n\0HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nGET /no HTTP/1.1\r\n\r\n\xff\xfe\x80" + pattern(5000)
ESCAPES = b"\x1b[31mred\x1b]0;title\x07\x08\x9b2J\xc2\x9b2J\x7f\rback\x00end"


CLOSE_SECONDS_MAX = 2


class MemoryTls:
    """TLS that the library does in memory; like asyncio, what it makes is moved by calls of our own."""

    def __init__(self, sock, context):
        self._sock, self._incoming, self._outgoing = sock, ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._call(self._tls.do_handshake)

    def _call(self, function, *args):
        while True:
            try:
                result = function(*args)
            except ssl.SSLWantReadError:
                self._sock.sendall(self._outgoing.read())
                data = self._sock.recv(65536)
                self._incoming.write(data)
                if not data:
                    self._incoming.write_eof()
                continue
            self._sock.sendall(self._outgoing.read())
            return result

    def recv(self, size):
        try:
            return self._call(self._tls.read, size)
        except ssl.SSLError:  # the end, told or not
            return b""

    def sendall(self, data):
        with memoryview(data) as view:
            at = 0
            while at < len(view):
                at += self._call(self._tls.write, view[at:])

    def unwrap(self):
        self._call(self._tls.unwrap)

    def __getattr__(self, name):
        return getattr(self._sock, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._sock.close()


class Received:
    """One request as it came in."""

    def __init__(self, start_line, headers, body, interim):
        self.method, self.target, self.version = start_line.split(" ", 2)
        self.headers, self.body, self.interim = headers, body, interim


class Connection:
    def __init__(self, sock, log, wrap=None):
        """wrap makes a socket that speaks TLS of a bare one."""
        self.sock, self.log, self.wrap, self.buffer = sock, log, wrap, b""

    def _more(self):
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def _take(self, size):
        parts, have = [self.buffer], len(self.buffer)
        while have < size:
            data = self.sock.recv(min(1 << 20, size - have))
            if not data:
                raise EOFError("connection ended in a body")
            parts.append(data)
            have += len(data)
        whole = b"".join(parts)
        self.buffer = whole[size:]
        return whole[:size]

    def _until(self, mark):
        while mark not in self.buffer:
            if not self._more():
                return None
        taken, self.buffer = self.buffer.split(mark, 1)
        return taken

    def _chunked(self):
        body = b""
        while True:
            size = int(self._until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                while self._until(b"\r\n"):
                    pass
                return body
            body += self._take(size)
            self._take(2)

    def read_request(self):
        """The next request, or None at the end of the connection."""
        head = self._until(b"\r\n\r\n")
        if head is None:
            return None
        lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        interim = []
        if headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            interim = [100]
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = self._chunked()
        else:
            body = self._take(int(headers.get("content-length", "0")))
        return Received(lines[0], headers, body, interim)

    def answer(self, request):
        """Log and send the response; returns whether the connection goes on."""
        kind, _, argument = request.target.lstrip("/").partition("?")[0].partition("/")
        status, body, headers, framing = response_for(kind, argument, request)
        if request.method == "HEAD":
            framing = "length"
        if kind == "hints":
            self.sock.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n")
            request.interim.append(103)
        self._record(request, status, b"" if request.method == "HEAD" else body)
        version = "HTTP/1.0" if framing == "close" else "HTTP/1.1"
        head = f"{version} {status} Test\r\nServer: e2e\r\n".encode() + headers
        if framing == "length":
            head += b"Content-Length: %d\r\n" % len(body)
        elif framing == "chunked":
            head += b"Transfer-Encoding: chunked\r\n"
            body = chunk(body, trailer=b"X-Trailer: end\r\n" if b"Trailer" in headers else b"")
        head += b"\r\n"
        self._send(head if request.method == "HEAD" else head + body, one_by_one=kind == "trickle")
        if framing == "tunnel":
            return self._tunnel()
        return framing != "close" and request.version == "HTTP/1.1" and request.headers.get("connection") != "close"

    def _send(self, data, one_by_one):
        if not one_by_one:
            return self.sock.sendall(data)
        for i in range(len(data)):
            self.sock.sendall(data[i : i + 1])

    def _tunnel(self):
        """Echo whatever comes, to the end of the connection."""
        while data := self.buffer or self.sock.recv(65536):
            self.sock.sendall(data)
            self.buffer = b""
        return False

    def _record(self, request, status, body):
        record = {
            "side": "server",
            "pid": os.getpid(),
            "tid": threading.get_native_id(),
            "method": request.method,
            "target": request.target,
            "request_bytes": len(request.body),
            "request_sha": sha(request.body),
            "status": status,
            "response_bytes": len(body),
            "response_sha": sha(body),
            "interim": request.interim,
        }
        if self.sock.family == socket.AF_UNIX:
            name = self.sock.getsockname()
            path = "@" + name[1:].decode() if isinstance(name, bytes) else name
            record.update(transport="unix", path=path)
        else:
            local, remote = self.sock.getsockname(), self.sock.getpeername()
            record.update(transport="tcp", local_port=local[1], remote_port=remote[1])
        os.write(self.log, json.dumps(record).encode() + b"\n")

    def serve(self):
        if self.sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self.wrap:
                self.sock = self.wrap(self.sock)
            with self.sock:
                self._serve_requests()
                if self.wrap:  # close_notify: a body that ends with the connection has an end that can be trusted
                    self.sock.settimeout(CLOSE_SECONDS_MAX)
                    self.sock.unwrap()
        except (ConnectionError, ssl.SSLError, TimeoutError):
            pass  # clients may leave as they like

    def _serve_requests(self):
        while request := self.read_request():
            if not self.answer(request):
                return


def response_for(kind, argument, request):
    """(status, body, extra header lines, framing) of a target /KIND/ARGUMENT."""
    if request.method == "CONNECT":
        return 200, b"", b"", "tunnel"
    if kind == "upgrade":
        return 101, b"", b"Connection: upgrade\r\nUpgrade: echo\r\n", "tunnel"
    if kind == "hints":
        return 200, b"hinted\n", b"", "length"
    if kind == "sleep":
        time.sleep(int(argument) / 1000)
        return 200, b"slept\n", b"", "length"
    if kind == "echo":
        return 200, request.body, b"", "length"
    if kind in ("bytes", "trickle"):
        return 200, pattern(int(argument)), b"", "length"
    if kind in ("chunked", "chunks"):
        trailer = b"Trailer: X-Trailer\r\n" if kind == "chunked" else b""
        return 200, pattern(int(argument)), trailer, "chunked"
    if kind == "close":
        return 200, pattern(int(argument)), b"", "close"
    if kind == "status":
        status = int(argument)
        return status, b"" if status in (204, 304) else b"status\n", b"", "none" if status in (204, 304) else "length"
    if kind == "binary":
        return 200, BINARY, b"", "length"
    if kind == "escapes":
        return 200, ESCAPES, b"X-Escape: \x1b[31mred\x1b[0m \x9b1m\r\n", "length"
    return 404, b"no such thing\n", b"", "length"


def chunk(body, trailer):
    """Chunked coding with an extension, in chunks of growing sizes."""
    out, at, size = [], 0, 1
    while at < len(body):
        part = body[at : at + size]
        out.append(b"%x;n=v\r\n%s\r\n" % (len(part), part))
        at, size = at + size, min(size * 3, 60000)
    return b"".join(out) + b"0\r\n" + trailer + b"\r\n"


def listen(address):
    if address.startswith(("/", "@")):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind("\0" + address[1:] if address.startswith("@") else address)
    else:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        sock.bind((address, 0))
    sock.listen(512)
    return sock


def tls_wrapper(mode, certificate, key):
    """A function that makes a TLS socket of a bare one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if mode == "memory":
        return lambda sock: MemoryTls(sock, context)
    return lambda sock: context.wrap_socket(sock, server_side=True)


def main():
    address, mode, log_path, *files = sys.argv[1:]
    wrap = tls_wrapper(mode, *files) if files else None
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    listener = listen(address)
    parent = os.getpid()
    if mode == "prefork":
        all(os.fork() for _ in range(4))  # ends early in a child
    if os.getpid() == parent:
        print(0 if address.startswith(("/", "@")) else listener.getsockname()[1], flush=True)
    if mode == "prefork" and os.getpid() == parent:
        os.wait()
    while True:
        sock, _ = listener.accept()
        connection = Connection(sock, log, wrap)
        if mode in ("threads", "memory"):
            threading.Thread(target=connection.serve, daemon=True).start()
        elif mode in ("single", "prefork"):
            connection.serve()
        elif os.fork() == 0:
            listener.close()
            connection.serve()
            os._exit(0)
        else:
            sock.close()


if __name__ == "__main__":
    main()
