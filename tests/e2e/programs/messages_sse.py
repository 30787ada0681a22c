# SPDX-License-Identifier: Apache-2.0
"""usage: messages_sse.py [CODING...]

A server of ten events a response, and a client of it, in one process. Without arguments one response is chunked and one
goes to the end of its connection; else there is one, chunked, for each CODING (gzip, deflate, br, zstd), flushed after
each event.
"""

import http.server
import subprocess
import sys
import threading
import time
import urllib.request
import zlib

EVENTS, PAUSE_SECONDS = 10, 0.15


class Deflate:
    def __init__(self, window_bits):
        self.coder = zlib.compressobj(wbits=window_bits)

    def add(self, data):
        return self.coder.compress(data) + self.coder.flush(zlib.Z_SYNC_FLUSH)

    def end(self):
        return self.coder.flush()


class Brotli:
    def __init__(self):
        import brotli  # only here: the other codings need no package

        self.coder = brotli.Compressor()

    def add(self, data):
        return self.coder.process(data) + self.coder.flush()

    def end(self):
        return self.coder.finish()


class Zstd:
    """A frame for each event."""

    def add(self, data):
        return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout

    def end(self):
        return b""


class Plain:
    def add(self, data):
        return data

    def end(self):
        return b""


CODERS = {"gzip": lambda: Deflate(31), "deflate": lambda: Deflate(15), "br": Brotli, "zstd": Zstd}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        chunked, coding = self.path != "/close", self.path.lstrip("/")
        coder = CODERS.get(coding, Plain)()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        if coding in CODERS:
            self.send_header("Content-Encoding", coding)
        self.send_header(*("Transfer-Encoding", "chunked") if chunked else ("Connection", "close"))
        self.end_headers()
        for i in range(EVENTS):
            self.send(coder.add(f"id: {i}\nevent: tick\ndata: event {i}\ndata: of {EVENTS}\n\n".encode()), chunked)
            time.sleep(PAUSE_SECONDS)
        self.send(coder.end(), chunked)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def send(self, data, chunked):
        if data:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)

    def log_message(self, *_):
        pass


with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for path in sys.argv[1:] or ("chunked", "close"):
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/{path}", timeout=20) as response:
            response.read()
    server.shutdown()
