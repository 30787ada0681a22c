# SPDX-License-Identifier: Apache-2.0
"""usage: messages_ws_late.py COMPRESSION COUNT [CERTIFICATE KEY]

A WebSocket server and a client of it, in one process; COMPRESSION: deflate or none. One message before it writes "ready"
to standard error and reads a line; then COUNT messages, each of which comes back, and a close.
"""

import asyncio
import ssl
import sys

import websockets


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def talk(socket, count):
    for i in range(count + 1):
        await socket.send(f"message {i}, {'naïve ' * 30}" if i % 2 else bytes([i] * i))
        await socket.recv()
        if i == 0:
            print("ready", file=sys.stderr, flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await socket.close(1001, "enough")


async def main(compression, count, certificate=None, key=None):
    theirs = ours = None
    if certificate:
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        theirs.load_cert_chain(certificate, key)
        ours = ssl.create_default_context(cafile=certificate)
    options = {"compression": None if compression == "none" else compression}
    async with websockets.serve(echo, "127.0.0.1", 0, ssl=theirs, **options) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"{'wss' if certificate else 'ws'}://127.0.0.1:{port}/chat"
        async with websockets.connect(url, ssl=ours, **options) as socket:
            await talk(socket, int(count))


asyncio.run(main(*sys.argv[1:]))
