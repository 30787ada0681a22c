# SPDX-License-Identifier: Apache-2.0
"""usage: messages_ws_h2.py COMPRESSION [CERTIFICATE KEY]

A WebSocket over HTTP/2 (RFC 8441): hypercorn as the server, h2 and wsproto as the client, in one process; COMPRESSION:
deflate or none. Prints the messages that the client sends and that come back, as messages_ws.py does.
"""

import asyncio
import hashlib
import json
import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.events
import h2.settings
import hypercorn.asyncio
import hypercorn.config
import wsproto.connection
import wsproto.events
import wsproto.extensions

LARGE = 70_000
SENT = ["hello", b"\x00\x01\xff", ["in ", "three ", "pieces"], "x" * LARGE, "", "hello"]


def tell(kind, data):
    data = data.encode() if isinstance(data, str) else data
    print(json.dumps({"type": kind, "size": len(data), "sha": hashlib.sha256(data).hexdigest()}), flush=True)


async def echo(scope, receive, send):
    """An ASGI application."""
    if scope["type"] == "lifespan":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        name = "text" if event.get("text") is not None else "bytes"
        await send({"type": "websocket.send", name: event[name]})


class Client:
    """One WebSocket on one stream of a connection of its own."""

    def __init__(self, reader, writer, compression):
        self.reader, self.writer = reader, writer
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.extension = wsproto.extensions.PerMessageDeflate() if compression == "deflate" else None
        self.socket = None

    async def flush(self):
        self.writer.write(self.http.data_to_send())
        await self.writer.drain()

    async def events(self):
        """What comes next on the connection."""
        events = self.http.receive_data(await self.reader.read(65536))
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        await self.flush()
        return events

    async def connect(self):
        self.http.initiate_connection()
        await self.flush()
        while not self.http.remote_settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL):
            await self.events()
        self.stream = self.http.get_next_available_stream_id()
        heads = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/chat"),
                 (":authority", "localhost"), ("sec-websocket-version", "13")]
        if self.extension:
            heads.append(("sec-websocket-extensions", f"permessage-deflate; {self.extension.offer()}".rstrip("; ")))
        self.http.send_headers(self.stream, heads)
        await self.flush()
        while not self.socket:
            for event in await self.events():
                if isinstance(event, h2.events.ResponseReceived):
                    self.accept(dict(event.headers))

    def accept(self, heads):
        assert heads[":status"] == "200", heads
        assert ("sec-websocket-extensions" in heads) == bool(self.extension), heads
        if self.extension:
            self.extension.finalize(heads["sec-websocket-extensions"])
        self.socket = wsproto.connection.Connection(wsproto.connection.ConnectionType.CLIENT,
                                                    [self.extension] if self.extension else [])

    async def send(self, event):
        """One WebSocket event, in frames of DATA as large as flow control allows."""
        data = self.socket.send(event)
        while data:
            while not (room := min(self.http.local_flow_control_window(self.stream), 16_000)):
                await self.events()
            self.http.send_data(self.stream, data[:room])
            await self.flush()
            data = data[room:]

    async def receive(self):
        """The next whole message, pong or close."""
        parts = []
        while True:
            for event in self.socket.events():
                if not isinstance(event, wsproto.events.Message):
                    return event
                parts.append(event.data)
                if event.message_finished:
                    return type(event)(data=parts[0][:0].join(parts))
            for event in await self.events():
                if isinstance(event, h2.events.DataReceived):
                    self.socket.receive_data(event.data)

    async def talk(self):
        for message in SENT:
            parts = message if isinstance(message, list) else [message]
            kind = wsproto.events.TextMessage if isinstance(parts[0], str) else wsproto.events.BytesMessage
            for i, part in enumerate(parts):
                await self.send(kind(data=part, message_finished=i == len(parts) - 1))
            whole = parts[0][:0].join(parts)
            assert (await self.receive()).data == whole
            tell("text" if isinstance(whole, str) else "binary", whole)
        await self.send(wsproto.events.Ping(payload=b"are you there"))
        assert isinstance(await self.receive(), wsproto.events.Pong)
        tell("ping", b"are you there")
        await self.send(wsproto.events.CloseConnection(code=1001, reason="enough"))
        assert isinstance(await self.receive(), wsproto.events.CloseConnection)
        tell("close", "enough")


async def main(compression, certificate=None, key=None):
    listening = socket.create_server(("127.0.0.1", 0))
    config = hypercorn.config.Config()
    config.bind, config.certfile, config.keyfile = [f"fd://{listening.fileno()}"], certificate, key
    over = asyncio.Event()
    server = asyncio.create_task(hypercorn.asyncio.serve(echo, config, shutdown_trigger=over.wait))
    tls = None
    if certificate:
        tls = ssl.create_default_context(cafile=certificate)
        tls.set_alpn_protocols(["h2"])
    streams = await asyncio.open_connection(*listening.getsockname(), ssl=tls,
                                            server_hostname="localhost" if tls else None)
    client = Client(*streams, compression)
    await client.connect()
    await client.talk()
    streams[1].close()
    over.set()
    await server


asyncio.run(main(*sys.argv[1:]))
