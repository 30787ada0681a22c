# SPDX-License-Identifier: Apache-2.0
"""Collectors that tools send to, and an API that is worth telling of."""

import json
import os
import sys
import time
import urllib.parse
import urllib.request

from harness import PROGRAMS, need, read_log
from servers import Server, free_port
from tap import Failure, Skip, check
from tool import TREE

PACKAGES = os.path.join(TREE, "build", "npm", "node_modules")


def need_packages():
    """Skip the case unless scripts/npm-install was run."""
    need("node")
    if not os.path.isdir(PACKAGES):
        raise Skip("the npm packages of the tests are not installed: make deps-test")


class ApiServer(Server):
    """programs/server_api.py"""

    def __init__(self, t):
        self.log = t.path("api.log")
        self.start(t, [sys.executable, os.path.join(PROGRAMS, "server_api.py"), self.log])


class OtlpReceiver(Server):
    """programs/otlp_receiver.js; answers: how it is to answer the first requests."""

    def __init__(self, t, *answers, port=0, certificate=None):
        need_packages()
        self.scheme = "https" if certificate else "http"
        self.log = t.path("otlp.log")
        argv = ["node", os.path.join(PROGRAMS, "otlp_receiver.js"), self.log, *answers]
        files = {"CERT": certificate.path, "KEY": certificate.key} if certificate else {}
        self.process = t.spawn(argv, env={"NODE_PATH": PACKAGES, "PORT": str(port), **files})
        self._wait()
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"

    def _wait(self):
        deadline = time.monotonic() + 30
        while not self.process.stdout().endswith("\n"):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise Failure(f"the receiver does not start: {self.process.stderr()}")
            time.sleep(0.02)
        self.port, self.pid = int(self.process.stdout()), self.process.pid

    def requests(self, accepted=True):
        """What it got; accepted: only what it said yes to. Fails on what is not OTLP."""
        records = read_log(self.log)
        for record in records:
            check("error" not in record, f"not OTLP: {record.get('error')}")
        yes = ("ok", "empty", "slow")
        return [r for r in records if not accepted or r["answer"].partition(":")[0] in yes]

    def spans(self, **options):
        """All spans that it has accepted."""
        return [span for request in self.requests(**options) for span in request.get("spans", [])]

    def points(self):
        """The data points of the last request with metrics."""
        with_points = [r["points"] for r in self.requests() if r.get("points")]
        return with_points[-1] if with_points else []


class Prometheus(Server):
    """Debian's Prometheus server, that scrapes one page every 200 ms."""

    def __init__(self, t, target):
        need("prometheus")
        self.port = free_port()
        config = t.path("prometheus.yml")
        with open(config, "w", encoding="utf-8") as f:
            f.write("global:\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\nscrape_configs:\n"
                    f"  - job_name: plainsight\n    static_configs: [{{targets: ['{target}']}}]\n")
        self.process = t.spawn([
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={t.path('tsdb')}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ])
        self.pid, self.url = self.process.pid, f"http://127.0.0.1:{self.port}"

    def query(self, expression):
        """Result of an instant query: list of (labels, value)."""
        url = f"{self.url}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(url, timeout=5) as answer:
            result = json.load(answer)["data"]["result"]
        return [(entry["metric"], float(entry["value"][1])) for entry in result]

    def wait_value(self, expression, wanted, seconds=20):
        """Wait until a query has one result with this value."""
        deadline, got = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            try:
                got = self.query(expression)
            except OSError as error:
                got = error
            if isinstance(got, list) and len(got) == 1 and got[0][1] == wanted:
                return
            time.sleep(0.1)
        raise Failure(f"{expression}: expected {wanted}, got {got}\n{self.process.stderr()[-1500:]}")


def curls(*requests):
    """Command line of a shell that runs curl for each list of arguments, one after the other."""
    script = "for line in \"$@\"; do curl -s -o /dev/null $line || exit 1; done"
    return ["/bin/sh", "-c", script, "curls", *[" ".join(map(str, request)) for request in requests]]
