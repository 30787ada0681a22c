# SPDX-License-Identifier: Apache-2.0
"""--record and --replay: without root or BPF a recording gives, byte for byte, what the run that made it printed."""

import json
import os
import re
import signal
import stat
import subprocess
import time

from harness import need
from cases.loss import while_stopped
from cases.messages import need_module
from scenario import python_client
from servers import Nginx, NodeServer, PythonServer
from tap import Skip, case, check, equal
from telemetry import ApiServer, OtlpReceiver, curls
from tls import Certificate
from tool import TREE, Httpsnoop, Sslsniff

PYTHON = "/usr/bin/python3"
SHOWN = ["--show-secrets"]  # the recording is one of events; else it is one of items, with secrets masked
TEXT, VERBOSE, JSON = [], ["-v"], ["-j"]
FORMATS = (TEXT, VERBOSE, JSON, [*TEXT, *SHOWN], [*VERBOSE, *SHOWN], [*JSON, *SHOWN])
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]


class Replay:
    """A replay that has ended: status, stdout, stderr."""

    def __init__(self, tool, recording, *options, prefix=NOBODY):
        argv = [*prefix, os.path.join(TREE, "tools", tool), *map(str, options), "--replay", "-"]
        with open(recording, "rb") as file:
            done = subprocess.run(argv, stdin=file, capture_output=True, check=False)
        self.status, self.stdout, self.stderr = done.returncode, done.stdout, done.stderr.decode()

    def records(self):
        return [json.loads(line) for line in self.stdout.splitlines()]


def replayed(tool, recording, *options, **more):
    """A replay that ended as it should, and its self-check found nothing."""
    replay = Replay(tool, recording, *options, **more)
    check(replay.status == 0 and "internal error" not in replay.stderr, f"replay: {replay.status} {replay.stderr}")
    return replay


class Recorded:
    """A run that is recorded, of processes that wait until it traces; check_same() when it has ended."""

    def __init__(self, t, tool, options, pids, *capturing):
        """capturing: options that a replay cannot have."""
        self.name, self.options, self.path, self.out = tool.NAME, options, t.path("recording"), t.path("live")
        chosen = ["-p", ",".join(str(getattr(pid, "pid", pid)) for pid in pids)]
        if "--tls" in options or tool is Sslsniff:
            capturing = (*capturing, "--hold")  # nothing is missed of what starts
        self.tool = tool(t, [*chosen, *options, *capturing, "--record", self.path, "-o", self.out])

    def printed(self):
        with open(self.out, "rb") as file:
            return file.read()

    def summary(self):
        """The lines at the end of standard error, without those of the start."""
        return self.tool.stderr().partition("Ctrl-C ends\n")[2]

    def check_same(self):
        """The tool has ended: replay, and compare."""
        live = self.printed()
        replay = replayed(self.name, self.path, *self.options)
        check(live, f"nothing was printed with {self.options}")
        if live != replay.stdout:
            pairs = zip(live.splitlines(), replay.stdout.splitlines())
            first = next(((a, b) for a, b in pairs if a != b), (len(live), len(replay.stdout)))
            check(False, f"{self.name} {self.options}: live and replay differ: {first[0]!r}\n{first[1]!r}")
        said = replay.stderr.partition(": replaying ")[2].partition("\n")[2].replace("recorded: ", "")
        equal(said, self.summary(), f"what {self.name} {self.options} says at its end")
        return replay


def check_all(t, tool, traffic, formats=FORMATS):
    """Record traffic(t) -> (pids, go) in each format, each time anew, and compare."""
    for options in formats:
        pids, go = traffic(t)
        run = Recorded(t, tool, options, pids)
        go()
        run.tool.stop()
        run.check_same()


def gated(t, argv, *others):
    """What check_all() wants, of one program and processes that run."""
    client = t.gated(argv)

    def go():
        client.release()
        client.done()

    return [client, *others], go


@case
def recording_http1(t):
    """HTTP/1 of curl, Python and nginx: many sizes, sendfile, a unix socket, -v, -j"""
    server = PythonServer(t)
    nginx = Nginx(t, "on", (0, 1000, 300_000))
    urls = [f"{server.url}/bytes/{n}" for n in (0, 1, 5000, 200_000)]
    urls += [f"{nginx.url}/{n}.bin" for n in (0, 1000, 300_000)] + [f"{nginx.url}/missing"]
    argv = ["curl", "-s", "-d", "x=1", *[word for url in urls for word in ("-o", "/dev/null", url)]]
    check_all(t, Httpsnoop, lambda t: gated(t, argv, server, nginx))
    unix = PythonServer(t, address=t.path("socket"))
    argv = ["curl", "-s", "--unix-socket", unix.address, "-o", "/dev/null", "http://x/bytes/3000"]
    check_all(t, Httpsnoop, lambda t: gated(t, argv, unix), (JSON,))


@case
def recording_https(t):
    """HTTP/1 in TLS, of Python: sslsniff, also --raw as text, as JSON and as a hex dump"""
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    argv = ["curl", "-s", "--cacert", certificate.path, "-o", "/dev/null", f"{server.url}/bytes/70000"]
    formats = (*FORMATS, ["--raw", *SHOWN], ["--raw", "-j", *SHOWN], ["-x", "-l", "--handshake", *SHOWN])
    check_all(t, Sslsniff, lambda t: gated(t, argv, server), formats)


class NodeServer2(NodeServer):
    """programs/server_h2.js."""

    SCRIPT = "server_h2.js"


@case
def recording_http2(t):
    """HTTP/2 of curl and node, in clear text and in TLS at once"""
    need("node")
    certificate = Certificate(t)
    clear, tls = NodeServer2(t), NodeServer2(t, certificate=certificate)
    both = f"curl -s --http2-prior-knowledge {clear.url}/1 {clear.url}/2 -d x=1; " + \
        f"curl -s --http2 --cacert {certificate.path} {tls.url}/3 {tls.url}/4"
    for options in FORMATS:
        client = t.gated(["/bin/sh", "-c", both])
        run = Recorded(t, Httpsnoop, ["--tls", *options], [client, clear, tls])
        client.release()
        client.done()
        run.tool.stop()
        run.check_same()


@case
def recording_websocket(t):
    """messages of a WebSocket, deflated"""
    need_module("websockets")
    check_all(t, Httpsnoop, lambda t: gated(t, [PYTHON, t.source("messages_ws.py"), "deflate"]))


@case
def recording_sse(t):
    """server-sent events: exchanges that are told of while they go on, which only the clock decides"""
    check_all(t, Httpsnoop, lambda t: gated(t, [PYTHON, t.source("messages_sse.py")]))


@case
def recording_grpc(t):
    """gRPC in TLS, with its fields"""
    need_module("grpc")
    certificate = Certificate(t)
    argv = [PYTHON, t.source("messages_grpc.py"), "gzip", certificate.path, certificate.key]
    check_all(t, Sslsniff, lambda t: gated(t, argv), (*FORMATS, ["--raw", "-j", *SHOWN]))


@case
def recording_open(t):
    """what is still open at the end: a connection between requests, and a request of which half has come"""
    server = PythonServer(t)
    half = f"exec 3<>/dev/tcp/127.0.0.1/{server.port}; printf 'GET /half HTTP/1.1\\r\\nHo' >&3; echo ready >&2; read x"
    for options in FORMATS:
        client, other = t.gated(python_client(server, "flood", 3)), t.gated(["bash", "-c", half])
        run = Recorded(t, Httpsnoop, options, [server, client, other])
        for process in (client, other):
            process.tell()
            process.wait_ready()
        run.tool.stop()
        replay = run.check_same()
        check(b"/half" in replay.stdout, f"half a request: {replay.stdout}")
        client.release()
        client.done()


@case
def recording_loss(t):
    """records were lost in a small ring: the same gaps, the same sums, whatever was asked about connections"""
    server = PythonServer(t)
    for options in FORMATS:
        urls = [word for i in range(6) for word in ("-o", "/dev/null", f"{server.url}/bytes/{2 << 20}?{i}")]
        client = t.gated(["curl", "-s", *urls])
        run = Recorded(t, Httpsnoop, options, [server, client], "--ring-size=1")

        def download():
            client.release()
            client.done()

        while_stopped(run.tool, download)
        run.tool.stop()
        check(re.search(r"calls \(\d+ bytes\) lost", run.summary()), f"nothing was lost: {run.summary()}")
        run.check_same()


@case
def recording_stats(t):
    """--stats: the reports come between the same exchanges, and only where there were any"""
    server = PythonServer(t)
    client = t.gated(python_client(server, "flood", 3))
    run = Recorded(t, Httpsnoop, ["-j", "--stats", 0.2], [server, client])
    client.tell()
    client.wait_ready()
    time.sleep(0.5)
    client.release()
    client.done()
    time.sleep(0.3)
    run.tool.stop()
    replay = run.check_same()
    check(sum(record["type"] == "stats" for record in replay.records()) >= 2, "there are reports")
    other = Replay("httpsnoop", run.path, "--stats", 1)
    check(other.status == 2 and "--stats" in other.stderr, f"{other.status} {other.stderr}")


def record_some(t, *options, tool=Httpsnoop):
    """Two servers, one with TLS, and two clients: (recording, servers, clients)."""
    certificate = Certificate(t)
    servers = PythonServer(t), PythonServer(t, certificate=certificate)
    clients = [t.gated(["curl", "-s", "--cacert", certificate.path, "-o", "/dev/null", f"{server.url}/bytes/{n}"])
               for n, server in zip((100, 200), servers)]
    run = Recorded(t, tool, list(options), [*servers, *clients])
    for client in clients:
        client.release()
        client.done()
    run.tool.stop()
    return run, servers, clients


@case
def recording_filters(t):
    """filters of the replay: processes, ports, users, names, and those on HTTP; part of its time; TLS alone"""
    for options in ([], SHOWN):
        check_filters(*record_some(t, "--tls", *options))


def check_filters(run, servers, clients):
    def seen(*options, tool="httpsnoop"):
        exchanges = [r for r in replayed(tool, run.path, "-j", *options).records() if r["type"] == "exchange"]
        return sorted((e["process"]["pid"], e["request"]["target"]) for e in exchanges)

    plain = [(servers[0].pid, "/bytes/100"), (clients[0].pid, "/bytes/100")]
    tls = [(servers[1].pid, "/bytes/200"), (clients[1].pid, "/bytes/200")]
    equal(seen("--tls"), sorted(plain + tls), "all of it")
    equal(seen(), sorted(plain), "without --tls")
    equal(seen(tool="sslsniff"), sorted(tls), "sslsniff")
    equal(seen("--tls", "-p", servers[1].pid), tls[:1], "-p")
    equal(seen("--tls", "--port", servers[0].port), sorted(plain), "--port")
    equal(seen("--tls", "-c", "curl"), sorted([plain[1], tls[1]]), "-c")
    equal(seen("--tls", "-u", 65533), [], "-u")
    equal(seen("--tls", "--path", "/bytes/2*", "--side", "client"), tls[1:], "--path, --side")
    equal(seen("--tls", "-d", "0.000001"), [], "-d")
    equal(seen("--tls", "-d", "1000"), sorted(plain + tls), "-d beyond the end")
    raw = Replay("sslsniff", run.path, "--raw", *SHOWN)
    if SHOWN[0] in run.options:
        check(b"GET /bytes/200" in raw.stdout and b"/bytes/100" not in raw.stdout, f"sslsniff --raw: {raw.stderr}")
    else:
        check(raw.status == 2 and "--raw" in raw.stderr, f"sslsniff --raw: {raw.status} {raw.stderr}")
    first = replayed("httpsnoop", run.path, "--tls", "-n", 1)
    equal((first.stdout.count(b"\n"), "1 shown" in first.stderr), (1, True), "-n")
    text, verbose = replayed("httpsnoop", run.path, "--tls"), replayed("httpsnoop", run.path, "--tls", "-v")
    equal((text.stdout.count(b" GET http"), verbose.stdout.count(b"> GET /bytes/")), (4, 4), "other formats")


@case
def recording_misuse(t):
    """options that a recording cannot serve are usage errors of one line; so is what is no recording"""
    run, _, _ = record_some(t, "--max-body", 1000)
    wrong = {
        ("--max-body", "2000"): "--max-body", ("--cgroup", "/sys/fs/cgroup"): "--cgroup", ("--stats", "1"): "--stats",
        ("--ring-size", "1"): "--ring-size", ("--attach", "kprobe"): "--attach", ("--no-follow",): "--no-follow",
        ("--max-cpu", "5"): "--max-cpu", ("--max-memory", "64"): "--max-memory",
        ("--metrics", "127.0.0.1:0"): "--metrics", ("--record", "/dev/null"): "--record", ("--tls", "--hold"): "--hold",
    }
    for options, named in wrong.items():
        replay = Replay("httpsnoop", run.path, *options)
        equal((replay.status, replay.stdout, replay.stderr.count("\n")), (2, b"", 1), f"{options}: {replay.stderr}")
        check(named in replay.stderr, f"{options}: {replay.stderr}")
    no_tls = Replay("sslsniff", run.path)
    check(no_tls.status == 2 and "--tls" in no_tls.stderr, f"no TLS in it: {no_tls.stderr}")
    nothing = Replay("httpsnoop", "/dev/null")
    equal((nothing.status, nothing.stderr), (1, "httpsnoop: standard input: not a recording of Plainsight\n"), "empty")
    text = Replay("httpsnoop", os.path.join(TREE, "README.md"))
    equal((text.status, text.stderr.count("\n")), (1, 1), f"a text: {text.stderr}")


def contents(path):
    """What is in a recording, decompressed: tests/c knows its structs."""
    with open(path, "rb") as file:
        data = file.read()
    at, parts = 16, []
    while at < len(data):
        stored = int.from_bytes(data[at:at + 4], "little")
        frame = data[at + 8:at + 8 + stored]
        parts.append(subprocess.run(["zstd", "-dc"], input=frame, stdout=subprocess.PIPE, check=True).stdout)
        at += 8 + stored
    return b"".join(parts)


@case
def recording_masked(t):
    """without --show-secrets no secret gets into the file; a replay shows what was shown, and says that it is masked"""
    need("zstd")
    token, password = "ghp_" + "A1b2C3d4" * 4 + "E5f6", "correct-horse-battery"
    server = PythonServer(t)
    body = json.dumps({"password": password, "name": "Ada"})
    argv = ["curl", "-s", "-o", "/dev/null", "-H", f"Authorization: Bearer {token}", "-d", body, f"{server.url}/echo"]
    for options in (TEXT, VERBOSE, JSON):
        client = t.gated(argv)
        run = Recorded(t, Httpsnoop, options, [server, client])
        client.release()
        client.done()
        run.tool.stop()
        run.check_same()
        inside = contents(run.path)
        check(b"Ada" in inside and b"[redacted:" in inside, "the rest is there, and marks")
        for secret in (token, password):
            check(secret.encode() not in inside + run.printed(), f"{secret} is in the file or was shown")
    scan = Replay("secretscan", run.path)
    check(scan.status == 2 and "masked" in scan.stderr, f"secretscan: {scan.status} {scan.stderr}")
    client = t.gated(argv)
    run = Recorded(t, Httpsnoop, SHOWN, [server, client])
    client.release()
    client.done()
    run.tool.stop()
    scan = replayed("secretscan", run.path)
    check(b"github" in scan.stdout and token.encode() not in scan.stdout, f"secretscan: {scan.stdout}")
    check(token.encode() not in replayed("httpsnoop", run.path, "-v").stdout, "masked when it is replayed")


class Apidump(Httpsnoop):
    """tools/apidump"""

    NAME = "apidump"


def read(path):
    with open(path, "rb") as file:
        return file.read()


def packets(path):
    """A pcapng file without its first block, which has the whole name of the kernel, and its last, which has the time
    at which the run ended."""
    data = read(path)
    return data[int.from_bytes(data[4:8], "little"):-int.from_bytes(data[-4:], "little")]


@case
def recording_exports(t):
    """--har, --pcapng and apidump: a replay writes the same files"""
    server = ApiServer(t)
    for form in ([], SHOWN):
        paths = {name: t.path(name) for name in ("har", "pcapng", "har-again", "pcapng-again")}
        client = t.gated(curls([f"{server.url}/users/1"], [f"{server.url}/users/2?q=x"], [f"{server.url}/none"]))
        run = Recorded(t, Httpsnoop, form, [server, client], "--har", paths["har"], "--pcapng", paths["pcapng"])
        client.release()
        client.done()
        run.tool.stop()
        again = Replay("httpsnoop", run.path, *form, "--har", paths["har-again"], "--pcapng", paths["pcapng-again"],
                       prefix=())
        equal(again.status, 0, f"{again.stderr}")
        equal(read(paths["har-again"]), read(paths["har"]), f"archives {form}")
        check(packets(paths["pcapng-again"]) == packets(paths["pcapng"]), f"other packets {form}")
        check(b'"entries":[\n' in read(paths["har"]) and len(read(paths["pcapng"])) > 1000, "there is something in them")
        client = t.gated(curls([f"{server.url}/users/3"], [f"{server.url}/users/4"]))
        run = Recorded(t, Apidump, form, [server, client])
        client.release()
        client.done()
        run.tool.stop()
        check(b'"/users/{' in run.check_same().stdout, "an operation")


@case
def recording_otlp(t):
    """--otlp: the collector gets the spans of the run with the times, executables and names of then, and no host"""
    server, live, again = ApiServer(t), OtlpReceiver(t), OtlpReceiver(t)
    client = t.gated(curls(*[[f"{server.url}/users/{i}"] for i in range(5)]))
    run = Recorded(t, Httpsnoop, SHOWN, [server, client], "--otlp", live.url)
    client.release()
    client.done()
    time.sleep(0.5)
    server.process.send_signal(signal.SIGKILL)  # what is asked about it now has no answer
    server.process.wait()
    run.tool.stop()
    replay = replayed("httpsnoop", run.path, *SHOWN, "--otlp", again.url)
    check("otlp: 10 spans sent, 0 dropped" in replay.stderr, replay.stderr)

    def seen(receiver):
        keys = ("name", "kind", "startTimeUnixNano", "endTimeUnixNano", "attributes")
        return sorted(json.dumps({key: span.get(key) for key in keys}, sort_keys=True) for span in receiver.spans())

    def resources(receiver):
        all_of = [dict(span["resource"]) for span in receiver.spans()]
        for resource in all_of:
            resource.pop("service.instance.id")
            resource.pop("host.name", None)
        return sorted(json.dumps(resource, sort_keys=True) for resource in all_of)

    equal(len(seen(live)), 10, "spans")
    equal(seen(again), seen(live), "spans of the replay")
    equal(resources(again), resources(live), "their processes")
    check(all("host.name" not in span["resource"] for span in again.spans()), "the host is not known")


@case
def recording_budget(t):
    """--max-cpu: steps in the middle of a run, what was left out for them, and what was said, come again"""
    burn = ("import http.client,sys,time\n"
            "end=time.time()+5\n"
            "while time.time()<end:\n"
            "  c=http.client.HTTPConnection('127.0.0.1',int(sys.argv[1]))\n"
            "  for i in range(20):\n"
            "    c.request('GET','/bytes/300'); c.getresponse().read()\n"
            "  c.close()\n")
    server = PythonServer(t)
    for form in ([], SHOWN):
        client = t.gated([PYTHON, "-c", burn, str(server.port)])
        run = Recorded(t, Httpsnoop, [*JSON, *form], [server, client], "--max-cpu", 1)
        client.release()
        client.done()
        run.tool.stop()
        check("budget: CPU" in run.summary() and "bodies are not captured" in run.summary(), f"no step: {run.summary()}")
        summary = run.check_same().records()[-1]["stats"]
        check(summary["budget_steps_down"] >= 1 and "left_out_calls" in summary, f"counts: {summary}")


@case
def recording_killed(t):
    """kill -9: the recording is replayed up to the last half second, and that is said; one that is damaged, too"""
    server = PythonServer(t)
    client = t.gated(["curl", "-s", "-o", "/dev/null", f"{server.url}/bytes/100"])
    path = t.path("recording")
    tool = t.snoop("--record", path, pids=[server, client])
    client.release()
    client.done()
    time.sleep(1.5)
    tool.process.send_signal(signal.SIGKILL)
    tool.process.wait()
    replay = replayed("httpsnoop", path)
    equal(replay.stdout.count(b"GET "), 2, "exchanges")
    check("ends early" in replay.stderr, f"it is not said: {replay.stderr}")
    with open(path, "rb") as file:
        whole = file.read()
    damaged = t.path("damaged")
    with open(damaged, "wb") as file:
        file.write(whole + b"\x10\x00\x00\x00\x10\x00\x00\x00" + b"no frame at all.")
    replay = Replay("httpsnoop", damaged)
    equal((replay.status, replay.stdout.count(b"GET ")), (1, 2), "damaged")
    check("damaged" in replay.stderr, f"it is not said: {replay.stderr}")


@case
def recording_file(t):
    """for its owner alone, whatever was there; said in a line; a full disk ends the recording and not the capture"""
    server = PythonServer(t)
    path = t.path("recording")
    with open(path, "wb") as file:
        file.write(b"x" * 100_000)
    os.chmod(path, 0o666)
    client = t.gated(["curl", "-s", "-o", "/dev/null", f"{server.url}/bytes/100"])
    tool = t.snoop("--record", path, *SHOWN, pids=[server, client])
    check(f"recording to {path}" in tool.stderr() and "passwords" in tool.stderr(), f"said: {tool.stderr()}")
    client.release()
    client.done()
    tool.stop()
    equal((stat.S_IMODE(os.stat(path).st_mode), os.stat(path).st_size < 100_000), (0o600, True), "mode, truncated")
    for target in ("/dev/full", "/nowhere/file"):
        done = subprocess.run([os.path.join(TREE, "tools", "httpsnoop"), "--record", target, "--", "true"],
                              capture_output=True, text=True, check=False)
        check(done.returncode == 1 and f"httpsnoop: {target}: " in done.stderr, f"{done.returncode} {done.stderr}")


@case
def recording_without_bpf(t):
    """a replay wants neither libbcc nor the files of the kernel: it runs where they are hidden"""
    run, _, _ = record_some(t, "--tls")
    libraries = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout.split()
    hidden = [word for word in libraries if word.startswith("/") and "libbcc.so" in word]
    check(hidden, "libbcc is not installed")
    commands = [f"mount --bind /dev/null {os.path.realpath(word)}" for word in hidden]
    commands += ["mount -t tmpfs none /sys", "exec \"$@\""]
    prefix = ["unshare", "--mount", "--fork", "/bin/sh", "-ec", "\n".join(commands), "sh", *NOBODY]
    replay = replayed("httpsnoop", run.path, "--tls", prefix=prefix)
    equal(replay.stdout, run.printed(), "output")


@case
def recording_demo(t):
    """the demo in a rootless container, where root has every capability and may not call bpf(2): it shows a recording"""
    inside = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode != 0:
        raise Skip("user namespaces cannot be made")
    demo = subprocess.run([*inside, os.path.join(TREE, "examples", "demo")], capture_output=True, text=True, check=False)
    check(demo.returncode == 0, f"{demo.returncode} {demo.stderr}")
    first = demo.stdout.splitlines()[0]
    check(first.startswith("demo: nothing can be traced here: BPF is not allowed here"), first)
    check("httpsnoop: 20 exchanges; nothing lost" in demo.stderr, demo.stderr)
    check("/sendfile/large.txt" in demo.stdout and "> GET /small.txt HTTP/1.1" in demo.stdout, demo.stdout)


@case
def recording_time_zone(t):
    """times are those of the machine that recorded"""
    run, _, _ = record_some(t)
    replay = replayed("httpsnoop", run.path, prefix=["env", "TZ=Asia/Kathmandu", *NOBODY])
    equal(replay.stdout, run.printed(), "output")
