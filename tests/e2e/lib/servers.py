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


def wait_port(process, seconds=10):
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


class _Server:
    def start(self, t, argv, cgroup=None):
        self.process = t.gated(argv, cgroup=cgroup) if cgroup else t.spawn(argv)
        if cgroup:
            self.process.release()
        self.port = wait_port(self.process)
        self.pid = self.process.pid
        self.url = f"http://127.0.0.1:{self.port}"

    def served(self, count=None):
        """What it says it served."""
        return read_log(self.log, count)

    def mirrored(self, count=None, **changes):
        """What its clients must have seen."""
        return [mirror(truth, **changes) for truth in self.served(count)]


class PythonServer(_Server):
    """programs/server.py, behind the words of prefix when there are any."""

    def __init__(self, t, address="127.0.0.1", mode="threads", prefix=(), cgroup=None):
        self.address, self.log = address, t.path("server.log")
        argv = [*prefix, sys.executable, os.path.join(PROGRAMS, "server.py"), address, mode, self.log]
        self.start(t, argv, cgroup)


class PoolServer(_Server):
    """programs/pool.c, which checks what it gets and logs nothing."""

    def __init__(self, t):
        self.start(t, [t.program("pool"), "server"])


class NodeServer(_Server):
    """programs/server.js."""

    def __init__(self, t):
        need("node")
        self.log = t.path("node.log")
        self.start(t, ["node", os.path.join(PROGRAMS, "server.js"), self.log])


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
    listen 127.0.0.1:{port}; root {dir};
    location /proxy/ {{ proxy_pass http://127.0.0.1:{upstream}/; }}
  }}
}}
"""


def free_port():
    """A loopback port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Nginx(_Server):
    """nginx with one worker; files are named by their size; /proxy/ goes to the upstream port."""

    def __init__(self, t, sendfile, sizes=(), upstream=9):
        need("nginx")
        self.log, self.port = t.path("access.log"), free_port()
        for size in sizes:
            with open(os.path.join(t.dir, f"{size}.bin"), "wb") as f:
                f.write(pattern(size))
        conf = t.path("nginx.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(_NGINX_CONF.format(dir=t.dir, log=self.log, sendfile=sendfile, port=self.port, upstream=upstream))
        self.process = t.spawn(["nginx", "-c", conf, "-e", os.path.join(t.dir, "error.log")])
        self.url = f"http://127.0.0.1:{self.port}"
        self._wait_listening()
        self.pid = self.process.children()[0]

    def _wait_listening(self):
        for _ in range(500):
            try:
                with socket.create_connection(("127.0.0.1", self.port)):
                    if self.process.children():
                        return
            except OSError:
                pass
            time.sleep(0.01)
        raise Failure(f"nginx does not listen:\n{self.process.stderr()}")
