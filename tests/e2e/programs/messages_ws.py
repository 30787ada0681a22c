# SPDX-License-Identifier: Apache-2.0
"""usage: messages_ws.py COMPRESSION [CERTIFICATE KEY]

A WebSocket server and a client of it, in one process; COMPRESSION: deflate or none. Prints the messages that the
client sends and that come back, as JSON lines in their order.
"""

import asyncio
import hashlib
import json
import ssl
import sys

import websockets

LARGE = 70_000
SENT = ["hello", b"\x00\x01\xff", ["in ", "three ", "pieces"], "x" * LARGE, "", "hello"]


def tell(kind, data):
    data = data.encode() if isinstance(data, str) else data
    print(json.dumps({"type": kind, "size": len(data), "sha": hashlib.sha256(data).hexdigest()}), flush=True)


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def talk(socket):
    for message in SENT:
        whole = "".join(message) if isinstance(message, list) else message
        await socket.send(message)
        assert await socket.recv() == whole
        tell("text" if isinstance(whole, str) else "binary", whole)
    await (await socket.ping(b"are you there"))
    tell("ping", b"are you there")
    await socket.close(1001, "enough")
    tell("close", "enough")


async def main(compression, certificate=None, key=None):
    compression = None if compression == "none" else compression
    theirs = ours = None
    if certificate:
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        theirs.load_cert_chain(certificate, key)
        ours = ssl.create_default_context(cafile=certificate)
    options = {"compression": compression, "max_size": None}
    async with websockets.serve(echo, "127.0.0.1", 0, ssl=theirs, **options) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"{'wss' if certificate else 'ws'}://127.0.0.1:{port}/chat"
        async with websockets.connect(url, ssl=ours, **options) as socket:
            await talk(socket)


asyncio.run(main(*sys.argv[1:]))
