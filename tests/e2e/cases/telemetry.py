# SPDX-License-Identifier: Apache-2.0
"""--otlp and --metrics, against a receiver with OpenTelemetry's own definitions and Debian's Prometheus."""

import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter

from harness import need, read_log
from servers import free_port
from tap import case, check, equal
from telemetry import ApiServer, OtlpReceiver, Prometheus, curls
from tls import Certificate

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = ["-H", f"traceparent:00-{TRACE}-{PARENT}-01"]
SERVER, CLIENT = 2, 3  # enum SpanKind
RSS_MIB_MAX = 128


def traced(t, server, argv, *options, pids=(), **more):
    """Run argv, traced together with server and pids; returns the tool, which has ended."""
    client = t.gated(argv)
    tool = t.snoop(*options, pids=[server, client, *pids], **more)
    client.release()
    client.done()
    tool.stop()
    return tool


def outputs(tool):
    """What the summary says of a collector."""
    return tool.summary()["outputs"]["otlp"]


def check_counts(tool, sent, **dropped):
    """Every exchange became a span that was sent, or dropped for a cause that is counted."""
    counts = outputs(tool)
    causes = {cause: n for cause, n in counts["spans_dropped"].items() if n}
    equal((counts["spans_sent"], causes), (sent, dropped), f"spans sent and dropped, of {counts}")
    own = counts["own_exchanges"]
    equal(sent + sum(dropped.values()) + own, len(tool.exchanges()), "spans and exchanges")


def get(url, **headers):
    """Status, headers, body of a GET."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def metrics_tool(t, *options, pids=()):
    """A tool that serves metrics; returns it and the URL."""
    port = free_port()
    return t.snoop("--metrics", f"127.0.0.1:{port}", *options, pids=pids), f"http://127.0.0.1:{port}"


def samples(text):
    """The samples of a page: {(name, labels): value}."""
    found = re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, re.M)
    return {(name, labels): float(value) for name, labels, value in found}


@case
def otlp_tree(t):
    """spans of client and server form a tree: with traceparent, with B3, and with neither"""
    server, receiver = ApiServer(t), OtlpReceiver(t)
    b3 = ["-H", f"b3:{TRACE[::-1]}-{PARENT}-1"]
    tool = traced(t, server, curls(
        [*TRACEPARENT, f"{server.url}/users/1"], [*b3, f"{server.url}/users/2"], [f"{server.url}/users/3?x=1"],
    ), "--otlp", receiver.url)
    spans = receiver.spans()
    equal(Counter((s["name"], s["kind"]) for s in spans),
          Counter({("GET /users/{id}", SERVER): 3, ("GET /users/{id}", CLIENT): 3}), "spans")
    equal(len({s["spanId"] for s in spans}), 6, "span ids")
    for trace, parents in ((TRACE, [PARENT] * 2), (TRACE[::-1], [PARENT] * 2)):
        equal([s.get("parentSpanId") for s in spans if s["traceId"] == trace], parents, f"parents in {trace}")
    rest = {s["kind"]: s for s in spans if s["traceId"] not in (TRACE, TRACE[::-1])}
    equal(rest[SERVER]["traceId"], rest[CLIENT]["traceId"], "trace of both views")
    equal(rest[SERVER].get("parentSpanId"), rest[CLIENT]["spanId"], "parent of the server's view")
    check("parentSpanId" not in rest[CLIENT], "the client's view has a parent")
    equal(rest[SERVER]["attributes"]["url.query"], "x=1", "query")
    equal(rest[CLIENT]["attributes"]["url.full"], f"{server.url}/users/3?x=1", "URL")
    equal(rest[CLIENT]["resource"]["service.name"], "curl", "service")
    equal(int(rest[SERVER]["resource"]["process.pid"]), server.pid, "pid")
    check_counts(tool, 6)


@case
def otlp_passed_on(t):
    """what a proxy sends with the context that it received is a child of what it received"""
    front, back, receiver = ApiServer(t), ApiServer(t), OtlpReceiver(t)
    tool = traced(t, front, curls([*TRACEPARENT, f"{front.url}/proxy/{back.port}/users/5"]),
                  "--otlp", receiver.url, pids=[back])
    spans = {(int(s["resource"]["process.pid"]) == front.pid, s["kind"]): s for s in receiver.spans()}
    equal(len(spans), 4, "spans")
    equal({s["traceId"] for s in spans.values()}, {TRACE}, "traces")
    equal(spans[True, CLIENT]["parentSpanId"], spans[True, SERVER]["spanId"], "parent of what the proxy sends")
    others = {s["parentSpanId"] for key, s in spans.items() if key != (True, CLIENT)}
    equal(others, {PARENT}, "parents of the others")
    check_counts(tool, 4)


@case
def otlp_metrics(t):
    """histograms have the names, units and buckets of the semantic conventions, and count every exchange"""
    server, receiver = ApiServer(t), OtlpReceiver(t)
    requests = [[f"{server.url}/users/{i}"] for i in range(1, 6)]
    requests += [[f"{server.url}/users/2000"], [f"{server.url}/fail"], ["-d", '{"a":1}', f"{server.url}/users"]]
    traced(t, server, curls(*requests), "--otlp", receiver.url)
    counts, bounds = Counter(), {}
    for point in receiver.points():
        labels = point["attributes"]
        key = point["name"], labels.get("http.route", labels.get("url.template")), labels["http.response.status_code"]
        counts[key] += int(point["count"])
        bounds[point["name"]] = point["explicitBounds"]
        equal(point["temporality"], 2, "temporality")
        equal(point["unit"], "s" if point["name"].endswith("duration") else "By", "unit")
        equal(sum(map(int, point["bucketCounts"])), int(point["count"]), "sum of the buckets")
    expected = {("/users/{id}", "200"): 5, ("/users/{id}", "404"): 1, ("/fail", "500"): 1, ("/users", "201"): 1}
    for side in ("server", "client"):
        for what in ("request.duration", "request.body.size", "response.body.size"):
            name = f"http.{side}.{what}"
            got = {key[1:]: n for key, n in counts.items() if key[0] == name}
            equal(got, expected, name)
        equal(bounds[f"http.{side}.request.duration"],
              [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10], "buckets")
    sent = [p for p in receiver.points() if p["name"] == "http.server.request.body.size" and p["sum"] > 0]
    equal([p["sum"] for p in sent], [7], "bytes of request bodies")


@case
def otlp_retry(t):
    """a collector that is busy is asked again, not before Retry-After, and every span arrives once"""
    server, receiver = ApiServer(t), OtlpReceiver(t, "reset", "503", "429:2")
    client = t.gated(curls(*[[f"{server.url}/users/{i}"] for i in range(20)]))
    tool = t.snoop("--otlp", receiver.url, pids=[server, client])
    client.release()
    client.done()
    deadline = time.monotonic() + 20
    while len(receiver.spans()) < 40 and time.monotonic() < deadline:
        time.sleep(0.1)
    tool.stop()
    requests = [r for r in receiver.requests(accepted=False) if r["path"] == "/v1/traces"]
    equal([r["answer"] for r in requests], ["reset", "503", "429:2", "ok"], "answers")
    gaps = [b["time"] - a["time"] for a, b in zip(requests, requests[1:])]
    check(0.3 < gaps[0] < 2, f"first gap {gaps[0]}")
    check(0.7 < gaps[1] < 3, f"second gap {gaps[1]}")
    check(2 <= gaps[2] < 5, f"gap after Retry-After: 2 is {gaps[2]}")
    equal(len({s["spanId"] for s in receiver.spans()}), 40, "different spans")
    equal(outputs(tool)["retries"], 3, "retries")
    check_counts(tool, 40)


@case
def otlp_wrong_answers(t):
    """refused, rejected in part, no OTLP at all: counted by cause, and said in a line"""
    for answer, sent, dropped, said in (
        ("400", 0, {"refused": 6}, "status 400: refused"), ("partial:2", 4, {"rejected": 2}, "were rejected: too old"),
        ("html", 0, {"answer": 6}, "the answer is not OTLP"), ("long", 0, {"answer": 6}, "the answer is not OTLP"),
        ("empty", 6, {}, "6 spans sent, 0 dropped"),
    ):
        server, receiver = ApiServer(t), OtlpReceiver(t, answer)
        tool = traced(t, server, curls(*[[f"{server.url}/users/{i}"] for i in range(3)]), "--otlp", receiver.url)
        check(said in tool.stderr(), f"'{said}' is not in:\n{tool.stderr()}")
        check_counts(tool, sent, **dropped)


@case
def otlp_down(t):
    """with no collector exchanges are shown as ever, the tool ends soon, and says what was dropped"""
    server, port = ApiServer(t), free_port()
    client = t.gated(curls(*[[f"{server.url}/users/{i}"] for i in range(10)]))
    tool = t.snoop("--otlp", f"http://127.0.0.1:{port}", pids=[server, client])
    client.release()
    client.done()
    time.sleep(1.5)
    equal(len(tool.exchanges()), 20, "exchanges while the collector is down")
    started = time.monotonic()
    tool.stop()
    check(time.monotonic() - started < 5, f"the end took {time.monotonic() - started:.1f} s")
    equal(tool.stderr().count("trying again"), 2, "lines on the trouble, of spans and of metrics")
    check_counts(tool, 0, shutdown=20)


@case
def otlp_slow(t):
    """a slow collector delays no exchange: each is shown within 100 ms, and all spans arrive"""
    server, receiver = ApiServer(t), OtlpReceiver(t, *["slow:700"] * 40)
    client = t.gated(curls(*[[f"{server.url}/users/{i}"] for i in range(100)]))
    tool = t.snoop("--otlp", receiver.url, "--side", "server", pids=[server, client])
    client.release()
    lags, seen = [], 0
    while client.poll() is None or seen < 100:
        now_seen = len(tool.exchanges())
        logged = len(read_log(server.log)) if os.path.exists(server.log) else 0
        lags.append(logged - now_seen)
        seen = now_seen
        if client.poll() is not None and now_seen == 100:
            break
        time.sleep(0.05)
    tool.stop()
    t.diag(f"exchanges not yet shown: at most {max(lags)}")
    check(max(lags) <= 25, f"exchanges that were not shown yet: {max(lags)}")
    equal(len(receiver.spans()), 100, "spans")
    check_counts(tool, 100)


@case
def otlp_settings(t):
    """https, headers and gzip as the environment says; the metrics URL of its own"""
    certificate = Certificate(t)
    server, receiver = ApiServer(t), OtlpReceiver(t, certificate=certificate)
    argv = curls([f"{server.url}/users/1"])
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20abc", "OTEL_EXPORTER_OTLP_CERTIFICATE": certificate.path,
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
    }
    tool = traced(t, server, argv, "--otlp", "-", "--otlp-header", "x-key=1=2", env=environment)
    for request in receiver.requests():
        headers = request["headers"]
        equal((headers.get("authorization"), headers.get("x-key"), headers.get("content-encoding")),
              ("Bearer abc", "1=2", "gzip"), "headers")
    equal(receiver.spans()[0]["resource"]["deployment.environment.name"], "test", "resource")
    check_counts(tool, 2)
    client = t.gated(argv)
    tool = t.snoop("--otlp", receiver.url, pids=[server, client])  # without the certificate it is not trusted
    client.release()
    client.done()
    tool.stop()
    check("SSL" in tool.stderr() or "certificate" in tool.stderr(), f"nothing on the certificate: {tool.stderr()}")
    check_counts(tool, 0, shutdown=2)


@case
def otlp_own_traffic(t):
    """a collector that is traced itself: what we send to it makes no spans, other traffic to it does"""
    server, receiver = ApiServer(t), OtlpReceiver(t)
    client = t.gated(curls([f"{server.url}/users/1"], ["-d", "{}", f"{receiver.url}/v1/other"]))
    tool = t.snoop("--otlp", receiver.url, pids=[server, client, receiver])
    client.release()
    client.done()
    time.sleep(4)
    tool.stop()
    counts, names = outputs(tool), Counter()
    for record in read_log(receiver.log):
        names.update(s["name"] for s in record.get("spans", []))
    equal(names, Counter({"GET /users/{id}": 2, "POST /v1/other": 2}), "spans")
    check(1 <= counts["own_exchanges"] <= 3, f"own exchanges: {counts}")
    check(not any(e["process"]["pid"] == tool.process.pid for e in tool.exchanges()), "the tool traced itself")


@case
def otlp_memory(t):
    """a collector that never answers: memory stays bounded, and what is dropped is counted exactly"""
    need("wrk", "nginx")
    from servers import Nginx
    server, receiver = Nginx(t, "on", sizes=(100,)), OtlpReceiver(t, "hang*")
    tool = t.snoop("--otlp", receiver.url, "-o", "/dev/null", pids=[server])
    subprocess.run(["wrk", "-t1", "-c8", "-d8s", f"{server.url}/100.bin"], check=True, capture_output=True)
    with open(f"/proc/{tool.process.pid}/status", encoding="ascii") as f:
        rss_mib = int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) / 1024
    tool.process.send_signal(2)
    tool.process.wait(30)
    said = re.search(r"otlp: (\d+) spans sent, (\d+) dropped \((\d+) too many waited, .*?(\d+) left at the end\)",
                     tool.stderr())
    check(said, f"no count in:\n{tool.stderr()}")
    sent, dropped, queue, left = map(int, said.groups())
    shown = int(re.search(r"(\d+) exchanges", tool.stderr())[1])
    t.diag(f"{shown} exchanges, {rss_mib:.0f} MiB, {queue} found no room")
    equal((sent, dropped, queue + left), (0, shown, shown), "spans sent, dropped, by cause")
    check(queue > 0, "the queue was never full")
    check(rss_mib < RSS_MIB_MAX, f"{rss_mib:.0f} MiB resident")


@case
def metrics_page(t):
    """/metrics is what promtool accepts and counts every exchange; OpenMetrics on demand; /healthz, 404, 405"""
    need("promtool")
    server = ApiServer(t)
    client = t.gated(curls(*[[f"{server.url}/users/{i}"] for i in range(5)], [f"{server.url}/fail"]))
    tool, url = metrics_tool(t, pids=[server, client])
    client.release()
    client.done()
    time.sleep(0.3)
    status, headers, text = get(f"{url}/metrics")
    equal((status, headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"), "answer")
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    equal((lint.returncode, lint.stderr), (0, ""), "promtool")
    got = samples(text)
    users = 'process="curl",method="GET",route="/users/{id}",status="2xx"'
    equal(got["plainsight_http_requests_total", f'side="client",{users}'], 5, "requests")
    equal(got["plainsight_http_request_duration_seconds_count", f'side="client",{users}'], 5, "durations")
    equal(sum(v for (name, _), v in got.items() if name == "plainsight_http_errors_total"), 2, "errors")
    equal(got["plainsight_exchanges_total", ""], 12, "exchanges")
    equal(got["plainsight_lost_events_total", 'cause="ring_full"'], 0, "lost")
    with open(f"/proc/{tool.process.pid}/statm", encoding="ascii") as f:
        resident = int(f.read().split()[1]) * 4096
    check(abs(got["process_resident_memory_bytes", ""] - resident) < 8 << 20, "resident memory")
    check(0 < got["process_cpu_seconds_total", ""] < 20, "CPU time")
    status, headers, text = get(f"{url}/metrics", Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    check(headers["Content-Type"].startswith("application/openmetrics-text"), f"type {headers['Content-Type']}")
    check(text.endswith("# EOF\n"), "no end")
    equal(get(f"{url}/healthz")[::2], (200, "ok\n"), "health")
    equal(get(f"{url}/x")[0], 404, "another path")
    tool.stop()
    equal(tool.summary()["outputs"]["metrics"]["scrapes"], 2, "scrapes")


@case
def metrics_prometheus(t):
    """Prometheus scrapes it: totals are exact, rates and quantiles can be asked for"""
    server = ApiServer(t)
    client = t.gated(curls(*[[f"{server.url}/users/{i}"] for i in range(30)], [f"{server.url}/fail"]))
    tool, url = metrics_tool(t, pids=[server, client])
    prometheus = Prometheus(t, url[len("http://"):])
    prometheus.wait_value("up", 1)
    client.release()
    client.done()
    prometheus.wait_value("sum(plainsight_http_requests_total)", 62)
    prometheus.wait_value('sum(plainsight_http_requests_total{side="server",route="/users/{id}",status="2xx"})', 30)
    prometheus.wait_value("sum(plainsight_http_errors_total)", 2)
    equal(len(prometheus.query("histogram_quantile(0.9, sum by (le) "
                               "(rate(plainsight_http_request_duration_seconds_bucket[5s])))")), 1, "quantile")
    check(prometheus.query("rate(process_cpu_seconds_total[5s])")[0][1] < 1, "CPU")
    prometheus.wait_value("scrape_samples_scraped > bool 50", 1)
    tool.stop()


@case
def metrics_slow_clients(t):
    """clients that say nothing, half a request or too much, or read nothing, delay neither scrapes nor exchanges"""
    server = ApiServer(t)
    client = t.gated(curls(*[[f"{server.url}/users/{i}"] for i in range(20)]))
    tool, url = metrics_tool(t, pids=[server, client])
    port = int(url.rpartition(":")[2])
    sockets = []
    for i in range(100):
        sock = socket.create_connection(("127.0.0.1", port))
        if i % 3 == 1:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost")
        if i % 3 == 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        sockets.append(sock)
    started = time.monotonic()
    equal(get(f"{url}/healthz")[0], 200, "health")
    equal(get(f"{url}/metrics")[0], 200, "metrics")
    check(time.monotonic() - started < 2, f"answers took {time.monotonic() - started:.1f} s")
    client.release()
    client.done()
    time.sleep(0.2)
    equal(len(tool.exchanges()), 40, "exchanges")
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(5)
        sock.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 20000)
        check(sock.recv(100).startswith(b"HTTP/1.1 431 "), "a request of 20 kB is not refused")
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(5)
        sock.sendall(b"\x16\x03\x01nonsense\r\n\r\n")
        check(sock.recv(100).startswith(b"HTTP/1.1 400 "), "nonsense is not refused")
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(5)
        sock.sendall(b"DELETE /metrics HTTP/1.1\r\n\r\n")
        check(sock.recv(100).startswith(b"HTTP/1.1 405 "), "DELETE is not refused")
    time.sleep(5.5)
    fds = os.listdir(f"/proc/{tool.process.pid}/fd")
    for sock in sockets:
        sock.close()
    get(f"{url}/healthz")
    check(len(fds) < 80, f"{len(fds)} descriptors open")
    tool.stop()


@case
def metrics_cannot_listen(t):
    """an address that is taken or is none of ours ends the tool with a line, before it traces"""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        from tool import Httpsnoop
        for address, said in ((f"127.0.0.1:{taken.getsockname()[1]}", "in use"), ("192.0.2.1:1", "Cannot assign")):
            tool = Httpsnoop(t, ["--metrics", address, "-p", str(os.getpid())], ready=False)
            equal(tool.process.wait(10), 1, "exit status")
            check("--metrics: cannot listen on port" in tool.stderr() and said in tool.stderr(), tool.stderr())
            equal(len(tool.stderr().splitlines()), 1, "lines")
