# SPDX-License-Identifier: Apache-2.0
"""usage: messages_grpc.py COMPRESSION [CERTIFICATE KEY]

A gRPC server and a client of it, in one process; COMPRESSION: gzip or none.
"""

import concurrent.futures
import sys

import grpc

ANSWER = b"\x0a\x05hello\x12\x03\x08\x96\x01\x18\x2a"  # 1: "hello", 2 { 1: 150 }, 3: 42


def unary(request, context):
    if b"missing" in request:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing, 50%")
    return ANSWER


def stream(_, __):
    yield from (bytes([8, i]) for i in range(3))


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method.endswith("/Stream"):
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(unary)


def read(path):
    with open(path, "rb") as f:
        return f.read()


certificate = sys.argv[2] if len(sys.argv) > 2 else None
server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
server.add_generic_rpc_handlers((Handler(),))
if certificate:
    credentials = grpc.ssl_server_credentials([(read(sys.argv[3]), read(certificate))])
    port = server.add_secure_port("127.0.0.1:0", credentials)
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
compression = grpc.Compression.Gzip if sys.argv[1] == "gzip" else grpc.Compression.NoCompression
if certificate:
    credentials = grpc.ssl_channel_credentials(read(certificate))
    opened = grpc.secure_channel(f"localhost:{port}", credentials, compression=compression)
else:
    opened = grpc.insecure_channel(f"127.0.0.1:{port}", compression=compression)
with opened as channel:
    assert channel.unary_unary("/a.test.Service/Get")(b"\x0a\x64" + b"y" * 100) == ANSWER
    try:
        channel.unary_unary("/a.test.Service/Get")(b"\x0a\x07missing")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND
    assert len(list(channel.unary_stream("/a.test.Service/Stream")(b""))) == 3
server.stop(None).wait()
