#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HTTP servers and clients for the VM test, plain and over TLS.

Each says by itself what it sent and received, so that what the tool reports can be held against it.
A client's account is a list of exchanges: dicts of method, target, status, server ([address, port], or [path] of a
unix socket), sent, received (bodies, bytes), pid and comm (of the client).
A server's account is a log of "pid port method target status" lines; port is that of the client, 0 for a unix socket.
"""
import base64
import http.client
import http.server
import json
import os
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

HOST = "127.0.0.1"
NGINX, NGINX_SENDFILE, ECHO, ECHO6 = 8080, 8081, 8090, 8091
TLS, TLS_FORKING = 8443, 8444

NGINX_CONF = """
daemon off;
user root;
worker_processes 1;
pid {run}/nginx.pid;
error_log {run}/nginx.err;
events {{ }}
http {{
    log_format account '$pid $remote_port $request_method $request_uri $status';
    access_log {run}/nginx.log account;
    client_body_temp_path {run}/t1;
    proxy_temp_path {run}/t2;
    fastcgi_temp_path {run}/t3;
    uwsgi_temp_path {run}/t4;
    scgi_temp_path {run}/t5;
    root {run}/www;
    server {{ listen {host}:{plain}; sendfile off; }}
    server {{ listen {host}:{sendfile}; sendfile on; }}
}}
"""


def pattern(length):
    """Bytes of all values with no short period, so that a lost, doubled or moved block shows."""
    return bytes((i * 7 + (i >> 8) * 13 + (i >> 16)) & 0xFF for i in range(length))


def large(length):
    """The same for lengths at which pattern() is slow."""
    block = pattern(65521)
    return (block * (length // len(block) + 1))[:length]


LARGE = large(1 << 20)
FILES = {"/small.txt": b"a small file\n", "/empty": b"", "/large.bin": pattern(150000)}


# ---- servers --------------------------------------------------------------------------------------------------------

class Echo(http.server.BaseHTTPRequestHandler):
    """Answers POST, PUT and PATCH with the body received, and GET in the framing that the target asks for."""

    protocol_version = "HTTP/1.1"
    log_lock = threading.Lock()

    def read_body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, status, body, framing="length"):
        self.send_response(status)
        if framing == "length" and status != 204:
            self.send_header("Content-Length", str(len(body)))
        elif framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif framing == "close":
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD" or status == 204:
            pass
        elif framing == "chunked":
            for start in range(0, len(body), 1000):
                chunk = body[start:start + 1000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(body)
        self.account(status)

    def account(self, status):
        port = self.client_address[1] if isinstance(self.client_address, tuple) else 0
        with self.log_lock, open(self.server.log, "a", encoding="ascii") as log:
            log.write(f"{os.getpid()} {port} {self.command} {self.path} {status}\n")

    def do_GET(self):
        self.read_body()
        kind = self.path.split("/")[1]
        framing = kind if kind in ("chunked", "close") else "length"
        body = LARGE if kind == "large" else pattern(3500)
        self.answer(200, body + self.path.encode(), framing)

    def do_POST(self):
        self.answer(201, self.read_body())

    def do_DELETE(self):
        self.answer(204, b"")

    do_HEAD = do_GET
    do_PUT = do_PATCH = do_POST

    def log_message(self, *_):
        pass


class TcpServer(http.server.ThreadingHTTPServer):
    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own asks the resolver for a name


class Tcp6Server(TcpServer):
    address_family = socket.AF_INET6


class UnixServer(TcpServer):
    address_family = socket.AF_UNIX


class TlsEcho(Echo):
    """The same over TLS, with the handshake in the thread or child that serves the connection."""

    def setup(self):
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self):
        super().finish()
        self.request.close()


class ForkingServer(socketserver.ForkingMixIn, http.server.HTTPServer):
    server_bind = TcpServer.server_bind


def server_context(run):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(run / "cert.pem", run / "key.pem")
    return context


def client_context(run):
    return ssl.create_default_context(cafile=run / "cert.pem")


def make_certificate(run):
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
               "-subj", "/CN=vm", "-addext", f"subjectAltName=IP:{HOST}", "-keyout", run / "key.pem",
               "-out", run / "cert.pem"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def serve_tls(run, is_forking):
    """A server with a thread per connection on TLS, and on ECHO without TLS; or one with a child per connection."""
    if is_forking:
        servers = [ForkingServer((HOST, TLS_FORKING), TlsEcho)]
    else:
        servers = [TcpServer((HOST, TLS), TlsEcho), TcpServer((HOST, ECHO), Echo)]
    for server in servers:
        server.log, server.context = run / "echo.log", server_context(run)
        threading.Thread(target=server.serve_forever).start()
    (run / ("forking.up" if is_forking else "tls.up")).touch()


def start_tls_servers(run):
    """Returns the two processes, that with threads first."""
    processes = [subprocess.Popen([sys.executable, __file__, role, run]) for role in ("serve-tls", "serve-forking")]
    deadline = time.monotonic() + 60
    while not ((run / "tls.up").exists() and (run / "forking.up").exists()):
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            raise RuntimeError("a server did not start")
        time.sleep(0.1)
    return processes


def serve(run):
    servers = [TcpServer((HOST, ECHO), Echo), Tcp6Server(("::1", ECHO6), Echo),
               UnixServer(str(run / "echo.sock"), Echo)]
    for server in servers:
        server.log = run / "echo.log"
        threading.Thread(target=server.serve_forever).start()
    (run / "echo.up").touch()


def start_servers(run):
    """Starts nginx and the echo server; returns their processes once both answer."""
    (run / "www").mkdir(parents=True)
    for name, content in FILES.items():
        (run / "www" / name[1:]).write_bytes(content)
    conf = run / "nginx.conf"
    conf.write_text(NGINX_CONF.format(run=run, host=HOST, plain=NGINX, sendfile=NGINX_SENDFILE), encoding="ascii")
    processes = [subprocess.Popen(["nginx", "-e", run / "nginx.err", "-c", conf]),
                 subprocess.Popen([sys.executable, __file__, "serve", run])]
    # Not by connecting: that would be traffic. nginx writes its pid after it has begun to listen.
    deadline = time.monotonic() + 60
    while not ((run / "nginx.pid").exists() and (run / "echo.up").exists()):
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            raise RuntimeError("a server did not start")
        time.sleep(0.1)
    return processes


def server_account(run, count):
    """What the servers logged, by target, once there are count lines or nothing more comes."""
    deadline = time.monotonic() + 20
    while True:
        lines = [(comm, line) for comm, log in (("nginx", "nginx.log"), ("python3", "echo.log"))
                 if (run / log).exists() for line in (run / log).read_text(encoding="ascii").splitlines()]
        if len(lines) >= count or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    account = {}
    for comm, line in lines:
        pid, port, method, target, status = line.split()
        account.setdefault(target, []).append(
            {"pid": int(pid), "comm": comm, "port": int(port), "method": method, "status": int(status)})
    return account


# ---- clients --------------------------------------------------------------------------------------------------------

def exchange(method, target, status, server, sent=b"", received=b"", pid=None, comm="python3"):
    return {"method": method, "target": target, "status": status, "server": list(server), "sent": sent,
            "received": received, "pid": pid or os.getpid(), "comm": comm}


def split_url(url):
    """([address, port], target)"""
    parts = urllib.parse.urlsplit(url)
    return [parts.hostname, parts.port], url.split(parts.netloc, 1)[1]


def curl(run, url, method="GET", body=None, options=(), unix=None):
    """One request by curl, through the unix socket if there is one; returns the exchange."""
    server, target = split_url(url)
    if unix:
        server, options = [str(unix)], [*options, "--unix-socket", unix]
    command = ["curl", "-sS", "-g", "-m", "60", "-o", run / "received", "-w", "%{http_code}", *options]
    if method == "HEAD":
        command += ["-I"]
    elif method != "GET":
        command += ["-X", method]
    if body is not None:
        (run / "sent").write_bytes(body)
        command += ["--data-binary", f"@{run}/sent"]
    (run / "received").write_bytes(b"")
    with subprocess.Popen([*command, url], stdout=subprocess.PIPE) as process:
        status = int(process.communicate()[0])
    received = b"" if method == "HEAD" else (run / "received").read_bytes()
    return exchange(method, target, status, server, body or b"", received, process.pid, "curl")


def get(connection, target):
    """One GET on a connection that is open already."""
    connection.sendall(b"GET %s HTTP/1.1\r\nHost: open\r\n\r\n" % target.encode())
    response = http.client.HTTPResponse(connection)
    response.begin()
    return exchange("GET", target, response.status, connection.getpeername(), b"", response.read())


def urllib_client(urls):
    """One request per URL, each on a connection of its own; a POST when the URL says so."""
    for url in urls:
        server, target = split_url(url)
        body = pattern(2000) if "post" in url else None
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=60) as response:
            yield exchange("POST" if body else "GET", target, response.status, server, body or b"", response.read())


def keep_alive_client(port, prefix, count, certificate=None):
    """count requests on one connection; over TLS with the directory of a certificate."""
    if certificate:
        context = client_context(Path(certificate))
        connection = http.client.HTTPSConnection(HOST, port, timeout=60, context=context)
    else:
        connection = http.client.HTTPConnection(HOST, port, timeout=60)
    for i in range(count):
        method, body = ("PUT", pattern(100 * i + 1)) if i % 2 else ("GET", None)
        connection.request(method, f"{prefix}/{i}", body=body)
        response = connection.getresponse()
        yield exchange(method, f"{prefix}/{i}", response.status, [HOST, port], body or b"", response.read())
    connection.close()


def pipeline_client(port, prefix, count):
    """count requests in one go on one connection, then their responses."""
    with socket.create_connection((HOST, port), timeout=60) as connection:
        connection.sendall(b"".join(b"GET %s/%d HTTP/1.1\r\nHost: pipeline\r\n\r\n" % (prefix.encode(), i)
                                    for i in range(count)))
        stream = connection.makefile("rb")
        for i in range(count):
            status = int(stream.readline().split()[1])
            headers = http.client.parse_headers(stream)
            body = stream.read(int(headers["Content-Length"]))
            yield exchange("GET", f"{prefix}/{i}", status, [HOST, port], b"", body)


def python_client(*arguments):
    """Runs one of the clients above in a process of its own; returns its exchanges."""
    result = subprocess.run([sys.executable, __file__, *map(str, arguments)], stdout=subprocess.PIPE, check=True)
    return [read_exchange(line) for line in result.stdout.splitlines()]


def write_exchange(one):
    bodies = {key: base64.b64encode(one[key]).decode("ascii") for key in ("sent", "received")}
    print(json.dumps({**one, **bodies}), flush=True)


def read_exchange(line):
    one = json.loads(line)
    return {**one, **{key: base64.b64decode(one[key]) for key in ("sent", "received")}}


def all_clients(run):
    """Every kind of client and framing once; every target is used once only. Returns the exchanges."""
    plain, sendfile = f"http://{HOST}:{NGINX}", f"http://{HOST}:{NGINX_SENDFILE}"
    echo, echo6 = f"http://{HOST}:{ECHO}", f"http://[::1]:{ECHO6}"
    done = []
    for base, query in ((plain, "?n"), (sendfile, "?nsendfile")):
        done += [curl(run, base + name + query) for name in FILES]
    done += [
        curl(run, plain + "/small.txt?nhead", "HEAD"),
        curl(run, plain + "/none?n404"),
        curl(run, echo + "/post", "POST", pattern(256)),
        curl(run, echo + "/post-large", "POST", pattern(50000)),
        curl(run, echo + "/post-chunked", "POST", pattern(9000), ["-H", "Transfer-Encoding: chunked"]),
        curl(run, echo + "/post-expect", "POST", pattern(700), ["-H", "Expect: 100-continue"]),
        curl(run, echo + "/patch", "PATCH", b'{"a": 1}'),
        curl(run, echo + "/delete", "DELETE"),
        curl(run, echo + "/head", "HEAD"),
        curl(run, echo + "/chunked/1"),
        curl(run, echo + "/close/1"),
        curl(run, echo6 + "/v6"),
        curl(run, echo6 + "/v6-post", "POST", pattern(300)),
        curl(run, "http://unix/unix", unix=run / "echo.sock"),
        curl(run, "http://unix/unix-post", "POST", pattern(300), unix=run / "echo.sock"),
    ]
    done += python_client("urllib", echo + "/urllib", echo + "/urllib-post", plain + "/small.txt?nurllib")
    done += python_client("keep-alive", ECHO, "/keep-alive", 20)
    done += python_client("pipeline", ECHO, "/pipeline", 5)
    return done


def main():
    role, *arguments = sys.argv[1:]
    if role == "after-line":
        sys.stdin.readline()
        role, *arguments = arguments
    if role.startswith("serve"):
        run = Path(arguments[0])
        serve(run) if role == "serve" else serve_tls(run, role == "serve-forking")
        return
    if role == "urllib":
        client = urllib_client(arguments)
    else:
        client = {"keep-alive": keep_alive_client, "pipeline": pipeline_client}[role](
            int(arguments[0]), arguments[1], int(arguments[2]), *arguments[3:])
    for one in client:
        write_exchange(one)


if __name__ == "__main__":
    main()
