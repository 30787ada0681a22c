# SPDX-License-Identifier: Apache-2.0
"""usage: server_upgrade.py LOG

One connection at a time: HTTP/1.1 that asks for h2c (RFC 7540 3.2), then HTTP/2. Answers with the target.
"""

import hashlib
import json
import os
import socket
import sys

import h2.connection
import h2.events


def read_head(connection):
    """The request's method, target and HTTP2-Settings, and the bytes behind its head."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return None
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    method, target, _ = lines[0].split(" ")
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    return method, target, fields["http2-settings"].encode(), rest


class Session:
    """HTTP/2 on a connection that was upgraded."""

    def __init__(self, connection, log):
        self.connection, self.log = connection, log
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))

    def answer(self, stream_id, method, target, version):
        body = f"you asked for {target}\n".encode()
        self.log.write(json.dumps({
            "side": "server", "pid": os.getpid(), "method": method, "target": target, "status": 200,
            "local_port": self.connection.getsockname()[1], "remote_port": self.connection.getpeername()[1],
            "response_bytes": len(body), "response_sha": hashlib.sha256(body).hexdigest(), "stream_id": stream_id,
            "version": version,
        }) + "\n")
        self.log.flush()
        self.h2.send_headers(stream_id, [(":status", "200"), ("content-length", str(len(body)))])
        self.h2.send_data(stream_id, body, end_stream=True)
        self.connection.sendall(self.h2.data_to_send())

    def run(self):
        head = read_head(self.connection)
        if not head:
            return
        method, target, settings, rest = head
        self.connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        self.h2.initiate_upgrade_connection(settings)
        self.answer(1, method, target, "1.1")
        while True:
            data, rest = rest or self.connection.recv(65536), b""
            if not data:
                return
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    headers = dict(event.headers)
                    self.answer(event.stream_id, headers[":method"], headers[":path"], "2")
            self.connection.sendall(self.h2.data_to_send())


def main():
    with socket.create_server(("127.0.0.1", 0)) as listener, open(sys.argv[1], "a", encoding="utf-8") as log:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                Session(connection, log).run()


main()
