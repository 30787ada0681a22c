#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Traffic that is not HTTP over a stream socket, though some of it looks so.

usage: other.py redis|server_first|datagrams|pipes|files [CERT KEY]
Each is client and server in one process. CERT, KEY: PEM files; with them
the conversations over TCP are TLS.
"""

import os
import socket
import ssl
import sys
import tempfile
import threading

REQUEST = b"GET /looks-like-http HTTP/1.1\r\nHost: no\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"


def tls_ends(certificate, key):
    """Two functions that make TLS sockets of bare ones: the server's and the client's."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=certificate)
    return (
        lambda sock: server.wrap_socket(sock, server_side=True),
        lambda sock: client.wrap_socket(sock, server_hostname="localhost"),
    )


def plain(sock):
    return sock


WRAP_SERVER, WRAP_CLIENT = tls_ends(*sys.argv[2:]) if len(sys.argv) > 2 else (plain, plain)


def receive(sock, size):
    """Exactly size bytes; TLS sockets know no MSG_WAITALL."""
    while size > 0:
        part = sock.recv(size)
        if not part:
            raise EOFError(f"{size} bytes are missing")
        size -= len(part)


def conversation(sent, received, first_speaks_server=False):
    """Send each of sent over TCP, answered by each of received."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        sock = WRAP_SERVER(listener.accept()[0])
        for request, response in zip(sent, received):
            if first_speaks_server:
                sock.sendall(response)
                receive(sock, len(request))
            else:
                receive(sock, len(request))
                sock.sendall(response)
        sock.close()

    server = threading.Thread(target=serve)
    server.start()
    client = WRAP_CLIENT(socket.create_connection(listener.getsockname()))
    for request, response in zip(sent, received):
        if first_speaks_server:
            receive(client, len(response))
        client.sendall(request)
        if not first_speaks_server:
            receive(client, len(response))
    server.join()


def redis():
    """RESP: even a value that is a whole HTTP request is none."""
    value = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s\r\n" % (len(REQUEST), REQUEST)
    conversation([b"*1\r\n$4\r\nPING\r\n", value, b"GET k\r\n"], [b"+PONG\r\n", b"+OK\r\n", b"$2\r\nno\r\n"])


def server_first():
    """SMTP: the server greets."""
    conversation(
        [b"EHLO x\r\n", b"MAIL FROM:<a@b>\r\n", b"QUIT\r\n"],
        [b"220 mail ESMTP\r\n", b"250 hello\r\n", b"250 ok\r\n"],
        first_speaks_server=True,
    )


def datagrams():
    for family, address in ((socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_UNIX, "")):
        server, client = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
        server.bind(address)
        client.bind(address)
        for request, response in ((REQUEST, RESPONSE), (REQUEST, RESPONSE)):
            client.sendto(request, server.getsockname())
            server.recv(4096)
            server.sendto(response, client.getsockname())
            client.recv(4096)


def pipes():
    for _ in range(3):
        r, w = os.pipe()
        for text in (REQUEST, RESPONSE):
            os.write(w, text)
            os.read(r, 4096)
        os.close(r)
        os.close(w)


def files():
    with tempfile.TemporaryFile() as f:
        for text in (REQUEST, RESPONSE):
            os.write(f.fileno(), text)
        os.lseek(f.fileno(), 0, os.SEEK_SET)
        os.read(f.fileno(), len(REQUEST))
        os.pread(f.fileno(), len(RESPONSE), len(REQUEST))


if __name__ == "__main__":
    globals()[sys.argv[1]]()
