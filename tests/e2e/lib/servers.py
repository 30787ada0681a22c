# SPDX-License-Identifier: Apache-2.0
"""Servers with a log of their own, on ephemeral loopback ports."""

import os
import socket
import sys
import time

from harness import PROGRAMS, need, read_log
from pattern import pattern
from tap import Failure
from truth import mirror


def wait_port(process, seconds=30):
    """The port number that a server prints when it listens."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        line = process.stdout().partition("\n")
        if line[1]:
            return int(line[0])
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise Failure(f"server did not start: {process.argv}\n{process.stderr()}")


class Server:
    """What all servers have: process, pid, port, url, log."""

    scheme, address = "http", "127.0.0.1"

    def start(self, t, argv, cgroup=None):
        self.process = t.gated(argv, cgroup=cgroup) if cgroup else t.spawn(argv)
        if cgroup:
            self.process.release()
        self.port = wait_port(self.process)
        self.pid = self.process.pid
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"

    def served(self, count=None):
        """What it says it served."""
        return read_log(self.log, count)

    def mirrored(self, count=None, **changes):
        """What its clients must have seen."""
        return [mirror(truth, **changes) for truth in self.served(count)]


def _files(certificate):
    return [certificate.path, certificate.key] if certificate else []


class PythonServer(Server):
    """programs/server.py, behind the words of prefix when there are any; over TLS with a certificate (lib/tls.py).

    python: the start of the command line of an interpreter, if not that of the tests.
    """

    def __init__(
        self, t, address="127.0.0.1", mode="threads", prefix=(), cgroup=None, certificate=None, python=(sys.executable,)
    ):
        self.address, self.log = address, t.path("server.log")
        self.scheme = "https" if certificate else "http"
        argv = [*prefix, *python, os.path.join(PROGRAMS, "server.py"), address, mode, self.log]
        self.start(t, [*argv, *_files(certificate)], cgroup)


class PoolServer(Server):
    """programs/pool.c, which checks what it gets and logs nothing."""

    def __init__(self, t):
        self.start(t, [t.program("pool"), "server"])


class TlsPoolServer(Server):
    """programs/tls_pool.c, likewise."""

    def __init__(self, t, certificate):
        self.start(t, [t.program("tls_pool"), "server", certificate.path, certificate.key])


class NodeServer(Server):
    """programs/server.js."""

    SCRIPT = "server.js"

    def __init__(self, t, certificate=None):
        need("node")
        self.log, self.scheme = t.path("node.log"), "https" if certificate else "http"
        self.start(t, ["node", os.path.join(PROGRAMS, self.SCRIPT), self.log, *_files(certificate)])


_NGINX_CONF = """
daemon off; user root; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 256; }}
http {{
  log_format truth '{{"pid":$pid,"remote_port":$remote_port,"local_port":$server_port,"method":"$request_method",'
    '"target":"$request_uri","status":$status,"response_bytes":$body_bytes_sent,'
    '"response_wire_bytes":$bytes_sent,"request_wire_bytes":$request_length,"side":"server"}}';
  access_log {log} truth;
  sendfile {sendfile}; keepalive_timeout 30; gzip off;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
  uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  server {{
    listen 127.0.0.1:{port}{tls}; root {dir};
    location /proxy/ {{ proxy_pass {upstream}/; }}
    location /gzip/ {{ alias {dir}/; gzip on; gzip_types *; }}
  }}
}}
"""


def free_port():
    """A loopback port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_listening(server, also=lambda: True, seconds=30):
    """Wait until the server accepts connections and also() holds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", server.port)):
                if also():
                    return
        except OSError:
            pass
        time.sleep(0.01)
    raise Failure(f"does not listen: {server.process.argv}\n{server.process.stderr()}")


def make_files(t, sizes):
    """Files with the pattern in the scratch directory, named by their size."""
    for size in sizes:
        with open(os.path.join(t.dir, f"{size}.bin"), "wb") as f:
            f.write(pattern(size))


class Nginx(Server):
    """nginx with one worker; files are named by their size; /proxy/ goes to upstream, a URL;
    /gzip/ has the files with gzip.

    tls: words behind the port of its listen directive, such as "ssl"; needs a certificate (lib/tls.py).
    listen: such words without one.
    """

    def __init__(self, t, sendfile, sizes=(), upstream="http://127.0.0.1:9", certificate=None, tls="ssl", listen=""):
        need("nginx")
        self.log, self.port = t.path("access.log"), free_port()
        make_files(t, sizes)
        words = f" {listen}" if listen else ""
        if certificate:
            self.scheme = "https"
            words = f" {tls}; ssl_certificate {certificate.path}; ssl_certificate_key {certificate.key}"
        settings = {"dir": t.dir, "log": self.log, "sendfile": sendfile, "port": self.port, "upstream": upstream}
        conf = t.path("nginx.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(_NGINX_CONF.format(tls=words, **settings))
        self.process = t.spawn(["nginx", "-c", conf, "-e", os.path.join(t.dir, "error.log")])
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        wait_listening(self, self.process.children)
        self.pid = self.process.children()[0]


_APACHE_CONF = """
ServerRoot {dir}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {dir}/apache.pid
Mutex file:{dir}
ErrorLog {dir}/apache-error.log
{modules}
StartServers 1
ServerLimit 1
ThreadsPerChild 8
MaxRequestWorkers 8
DocumentRoot {dir}
KeepAlive On
{more}
LogFormat "{{\\"side\\":\\"server\\",\\"remote_port\\":%{{remote}}p,\\"local_port\\":%{{local}}p,\\"method\\":\\"%m\\",\
\\"target\\":\\"%U%q\\",\\"status\\":%>s,\\"response_bytes\\":%B,\\"pid\\":%P}}" truth
CustomLog {log} truth
SSLEngine on
SSLCertificateFile {certificate}
SSLCertificateKeyFile {key}
"""
_APACHE_MODULES = "/usr/lib/apache2/modules"


class Apache(Server):
    """Apache httpd over TLS, event model with one child; files are named by their size.

    tunnel_to: as a proxy, it lets clients CONNECT to this port.
    """

    scheme = "https"

    def __init__(self, t, certificate, sizes=(), tunnel_to=None):
        need("apache2")
        self.log, self.port = t.path("apache.log"), free_port()
        make_files(t, sizes)
        names, more = ["mpm_event", "authz_core", "ssl"], ""  # logging is built in
        if tunnel_to:
            names += ["proxy", "proxy_connect"]
            more = f"ProxyRequests On\nAllowCONNECT {tunnel_to}"
        modules = "\n".join(f"LoadModule {name}_module {_APACHE_MODULES}/mod_{name}.so" for name in names)
        conf = t.path("apache.conf")
        with open(conf, "w", encoding="utf-8") as f:
            settings = {"dir": t.dir, "log": self.log, "port": self.port, "modules": modules, "more": more}
            f.write(_APACHE_CONF.format(certificate=certificate.path, key=certificate.key, **settings))
        self.process = t.spawn(["apache2", "-f", conf, "-D", "FOREGROUND"])
        self.url = f"https://127.0.0.1:{self.port}"
        wait_listening(self, self.process.children)
        (self.pid,) = self.process.children()


_HAPROXY_CONF = """
global
  nbthread 2
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
frontend front
  bind 127.0.0.1:{port} ssl crt {bundle}
  default_backend back
backend back
  server one 127.0.0.1:{upstream}{tls}
"""


class Haproxy(Server):
    """HAProxy that ends TLS and goes on to upstream, a server object, over TLS again when that has it. Logs nothing."""

    scheme = "https"

    def __init__(self, t, certificate, upstream):
        need("haproxy")
        self.port = free_port()
        bundle, conf = t.path("bundle.pem"), t.path("haproxy.conf")
        with open(bundle, "w", encoding="ascii") as out:
            for path in (certificate.path, certificate.key):
                with open(path, encoding="ascii") as f:
                    out.write(f.read())
        tls = " ssl verify none" if upstream.scheme == "https" else ""
        with open(conf, "w", encoding="utf-8") as f:
            f.write(_HAPROXY_CONF.format(port=self.port, bundle=bundle, upstream=upstream.port, tls=tls))
        self.process = t.spawn(["haproxy", "-db", "-f", conf])
        self.url = f"https://127.0.0.1:{self.port}"
        wait_listening(self)
        self.pid = self.process.pid


_HAPROXY_TCP_CONF = """
defaults
  mode tcp
  timeout client 30s
  timeout server 30s
  timeout connect 5s
listen front
  bind 127.0.0.1:{port}
  server one 127.0.0.1:{upstream} {words}
"""


class HaproxyTcp(Server):
    """HAProxy that passes bytes on to upstream, a server object. words: options of its server line."""

    def __init__(self, t, upstream, words):
        need("haproxy")
        self.port, conf = free_port(), t.path("haproxy.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(_HAPROXY_TCP_CONF.format(port=self.port, upstream=upstream.port, words=words))
        self.process = t.spawn(["haproxy", "-db", "-f", conf])
        self.url = f"http://127.0.0.1:{self.port}"
        wait_listening(self)
        self.pid = self.process.pid


_CADDYFILE = """
{{
  admin off
  auto_https off
  servers {{
    protocols h1 h2
  }}
}}
https://127.0.0.1:{port} {{
  bind 127.0.0.1
  tls {certificate} {key}
  root * {dir}
  file_server
  log {{
    output file {log}
  }}
}}
"""


class Caddy(Server):
    """Caddy over TLS; files are named by their size. path: which Caddy."""

    scheme = "https"

    def __init__(self, t, path, certificate, sizes=()):
        self.log, self.port = t.path("caddy.log"), free_port()
        make_files(t, sizes)
        conf = t.path("Caddyfile")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(_CADDYFILE.format(port=self.port, dir=t.dir, log=self.log, certificate=certificate.path,
                                      key=certificate.key))
        argv = [path, "run", "--config", conf, "--adapter", "caddyfile"]
        self.process = t.spawn(argv, env={"HOME": t.dir, "XDG_DATA_HOME": t.dir})
        self.url = f"https://127.0.0.1:{self.port}"
        wait_listening(self)
        self.pid = self.process.pid

    def served(self, count=None):
        return [self._truth(said, said["request"]) for said in read_log(self.log, count)]

    def _truth(self, said, request):
        ends = {"local_port": self.port, "remote_port": int(request["remote_port"])}
        sizes = {"response_bytes": said["size"], "response_captured": said["size"]}
        version = request["proto"].removeprefix("HTTP/").removesuffix(".0")
        what = {"method": request["method"], "target": request["uri"], "version": version, "status": said["status"]}
        return {"side": "server", "pid": self.pid, **ends, **what, **sizes}


class GoServer(Server):
    """programs/gotls.go; path: which build of it, way: how it uses its connections."""

    scheme = "https"

    def __init__(self, t, path, certificate, way=""):
        self.log = t.path(f"go{way}.log")
        self.start(t, [path, "server", self.log, certificate.path, certificate.key, *([way] if way else [])])


class OpensslServer(Server):
    """openssl s_server -WWW: files, named by their size, of the scratch directory over BIO_f_ssl. Logs nothing.

    openssl: the start of its command line, if not that of this machine.
    """

    scheme = "https"

    def __init__(self, t, certificate, sizes=(), openssl=("openssl",)):
        need(openssl[0])
        self.port = free_port()
        make_files(t, sizes)
        shell = ["sh", "-c", 'cd "$0" && exec "$@"', t.dir]
        serve = [*openssl, "s_server", "-WWW", "-quiet", "-accept", f"127.0.0.1:{self.port}"]
        self.process = t.spawn([*shell, *serve, "-cert", certificate.path, "-key", certificate.key])
        self.url = f"https://127.0.0.1:{self.port}"
        wait_listening(self)
        self.pid = self.process.pid
