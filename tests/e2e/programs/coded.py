#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server of coded bodies: a file, coded as the target says. Prints its port.

usage: coded.py FILE
Targets: /gzip /members /zlib /raw /br /zstd /stacked /chunked /transfer
/latin1 /empty. HEAD has the headers of GET; Range: bytes=N- is of the coded bytes.
"""

import gzip
import subprocess
import sys
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def piped(*command):
    return lambda plain: subprocess.run(command, input=plain, stdout=subprocess.PIPE, check=True).stdout


def raw_deflate(plain):
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return coder.compress(plain) + coder.flush()


brotli, zstd = piped("brotli", "-c"), piped("zstd", "-q", "-c")

CODINGS = {  # target: (Content-Encoding, what makes it)
    "/gzip": ("gzip", gzip.compress),
    "/members": ("x-gzip", lambda plain: gzip.compress(plain[:1000]) + gzip.compress(plain[1000:])),
    "/zlib": ("deflate", zlib.compress),
    "/raw": ("deflate", raw_deflate),
    "/br": ("br", brotli),
    "/zstd": ("zstd", zstd),
    "/stacked": ("br, gzip", lambda plain: gzip.compress(brotli(plain))),
    "/chunked": ("gzip", gzip.compress),
    "/transfer": (None, gzip.compress),
    "/latin1": (None, lambda plain: plain.decode().encode("iso-8859-1")),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        if self.path == "/empty":
            self.send_response(204)
            self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            return
        encoding, body = BODIES[self.path]
        first = self.headers.get("Range")
        begin = int(first.removeprefix("bytes=").rstrip("-")) if first else 0
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.send_header("Content-Type", f"text/plain; charset={'iso-8859-1' if self.path == '/latin1' else 'utf-8'}")
        self.send_body(body[begin:], with_body)

    def send_body(self, body, with_body):
        if self.path not in ("/chunked", "/transfer"):
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "gzip, chunked" if self.path == "/transfer" else "chunked")
        self.end_headers()
        for at in range(0, len(body) if with_body else 0, 700):
            part = body[at : at + 700]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        if with_body:
            self.wfile.write(b"0\r\n\r\n")


with open(sys.argv[1], "rb") as file:
    PLAIN = file.read()
BODIES = {target: (encoding, code(PLAIN)) for target, (encoding, code) in CODINGS.items()}
SERVER = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(SERVER.server_address[1], flush=True)
SERVER.serve_forever()
