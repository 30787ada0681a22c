# SPDX-License-Identifier: Apache-2.0
"""secretscan: real clients and servers, and what it reports of them: all of it, and never a value."""

import base64
import collections
import json
import os
import random
import string
import subprocess
import sys

from harness import need
from servers import PythonServer
from tap import Skip, case, check, equal
from tls import Certificate
from tool import Secretscan

from cases.http2 import NodeServer2
from cases.messages import need_module

ALNUM = string.ascii_letters + string.digits
# Made anew in each run: no source and no log has them.
MADE = random.Random()


def made(prefix, length, alphabet=ALNUM):
    return prefix + "".join(MADE.choice(alphabet) for _ in range(length))


class Secrets:
    """Values of several kinds."""

    def __init__(self):
        self.github = made("gh" + "p_", 36)
        self.stripe = made("sk" + "_live_", 24)
        self.password = made("", 14)
        self.api_key = made("", 28)
        self.basic = made("", 12)

    def values(self):
        basic = base64.b64encode(f"alice:{self.basic}".encode()).decode()
        return [self.github, self.stripe, self.password, self.api_key, self.basic, basic]


def brief(finding):
    """Kind, rule, place and direction of a finding."""
    name = f":{finding['name']}" if "name" in finding else ""
    return finding["finding"], finding["rule"], f"{finding['part']}.{finding['where']}{name}", finding["direction"]


def check_findings(findings, expected):
    got = collections.Counter(brief(finding) for finding in findings)
    wanted = collections.Counter(expected)
    check(got == wanted, f"missing {list((wanted - got).elements())}, too many {list((got - wanted).elements())}")


def check_hidden(tool, values):
    """None of the values is in anything that the tool has written."""
    written = tool.text() + tool.stderr().encode()
    for value in values:
        check(value.encode() not in written, f"a value was written: {tool.output}")


def requests_of(server, secrets, *options):
    """A curl with secrets in the query, in headers, and in a JSON body, which the server sends back; then Basic."""
    body = {"user": "alice", "password": secrets.password, "deep": [{"note": f"key {secrets.stripe} here"}]}
    return [
        "curl",
        "-s",
        *options,
        "-o",
        "/dev/null",
        "-H",
        f"X-Token: {secrets.github}",
        "-H",
        "Content-Type: application/json",
        "--data-binary",
        json.dumps(body),
        f"{server.url}/echo?api_key={secrets.api_key}&page=2",
        "--next",
        "-s",
        *options,
        "-o",
        "/dev/null",
        "-u",
        f"alice:{secrets.basic}",
        f"{server.url}/status/204",
    ]


# What of them is told; x-token is written in lower case by HTTP/2.
def expected_of(token="X-Token", authorization="Authorization", answer="json"):
    place = "response.json:$" if answer == "json" else "response.body"
    return [
        ("secret", "api-key-field", "request.query:api_key", "out"),
        ("in-url", "api-key-field", "request.query:api_key", "out"),
        ("secret", "github-token", f"request.header:{token}", "out"),
        ("other-provider", "github-token", f"request.header:{token}", "out"),
        ("secret", "password-field", "request.json:$.password", "out"),
        ("secret", "stripe-live-key", "request.json:$.deep[0].note", "out"),
        ("other-provider", "stripe-live-key", "request.json:$.deep[0].note", "out"),
        ("secret", "password-field", place + (".password" if answer == "json" else ""), "in"),
        ("secret", "stripe-live-key", place + (".deep[0].note" if answer == "json" else ""), "in"),
        ("secret", "basic-auth", f"request.header:{authorization}", "out"),
    ]


def scanned(t, server, secrets, *options, expected):
    tool = t.secretscan(command=requests_of(server, secrets, *options))
    tool.wait()
    findings = tool.findings()
    check_findings(findings, expected)
    check_hidden(tool, secrets.values())
    host = f"127.0.0.1:{server.port}"
    for finding in findings:
        equal((finding["host"], finding["process"]["comm"]), (host, "curl"), "host and process")
    equal(tool.records("secrets")[0]["totals"]["findings"], len(findings), "findings in the summary")
    return findings


@case
def secretscan_http(t):
    """curl over HTTP: query, headers, JSON both ways, Basic; every finding and no other"""
    findings = scanned(t, PythonServer(t), Secrets(), expected=expected_of())
    check(not any(finding["encrypted"] for finding in findings), "clear text")


@case
def secretscan_https(t):
    """the same over TLS"""
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    findings = scanned(t, server, Secrets(), "--cacert", certificate.path, expected=expected_of())
    check(all(finding["encrypted"] for finding in findings), "encrypted")


@case
def secretscan_http2(t):
    """the same over HTTP/2 with TLS, names of headers in lower case"""
    need("node")
    certificate = Certificate(t)
    server = NodeServer2(t, certificate=certificate)
    options = ["--http2", "--cacert", certificate.path]
    findings = scanned(t, server, Secrets(), *options, expected=expected_of("x-token", "authorization"))
    check(all(finding["encrypted"] for finding in findings), "encrypted")


@case
def secretscan_server_side(t):
    """the server is watched: what it received is "in", what it sent "out\" """
    server, secrets = PythonServer(t), Secrets()
    tool = t.secretscan(pids=[server])
    t.spawn(requests_of(server, secrets)).done()
    server.served(2)
    tool.stop()
    turned = [
        (kind, rule, place, {"in": "out", "out": "in"}[direction]) for kind, rule, place, direction in expected_of()
    ]
    check_findings(tool.findings(), turned)
    check_hidden(tool, secrets.values())


@case
def secretscan_text(t):
    """the lines and the table of text output"""
    server, secrets = PythonServer(t), Secrets()
    plain = Secretscan(t, ["--color", "never"], command=requests_of(server, secrets))
    plain.wait()
    lines = plain.text().decode().splitlines()
    shown, table = lines[: lines.index("")], lines[lines.index("") + 1 :]
    equal(len(shown), len(expected_of()), "lines")
    for line in shown:
        check(len(line.split(" ")) >= 12 and line.split(" ")[8] in ("->", "<-"), f"words of {line!r}")
    equal(table[0].split()[:4], ["COUNT", "VALUES", "SEVERITY", "FINDING"], "heading")
    equal(len(table) - 1, len(expected_of()), "rows")
    check_hidden(plain, secrets.values())


SPLIT = """
import socket, sys, time
head = sys.argv[2].encode().decode("unicode_escape").encode()
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for cut in range(0, len(head), 7):
    sock.sendall(head[cut:cut + 7])
    time.sleep(0.001)
sock.recv(65536)
"""


@case
def secretscan_split(t):
    """values over many writes and chunks, within base64 in JSON"""
    server, secrets = PythonServer(t), Secrets()
    inner = base64.b64encode(json.dumps({"auth": {"token": secrets.github}}).encode()).decode()
    body = json.dumps({"payload": inner})
    chunks = "".join(f"{len(part):x}\\r\\n{part}\\r\\n" for part in (body[i : i + 10] for i in range(0, len(body), 10)))
    head = (
        f"POST /echo HTTP/1.1\\r\\nHost: a.test\\r\\nCookie: lang=en; sessionid={secrets.api_key}\\r\\n"
        "Content-Type: application/json\\r\\nTransfer-Encoding: chunked\\r\\nConnection: close\\r\\n\\r\\n"
        f"{chunks}0\\r\\n\\r\\n"
    )
    tool = t.secretscan(command=[sys.executable, "-c", SPLIT, server.port, head])
    tool.wait()
    found = [brief(finding) for finding in tool.findings() if finding["part"] == "request"]
    equal(
        sorted(found),
        sorted(
            [
                ("secret", "session-cookie", "request.cookie:sessionid", "out"),
                ("secret", "github-token", "request.json:$.payload", "out"),
                ("other-provider", "github-token", "request.json:$.payload", "out"),
            ]
        ),
        "findings",
    )
    check("base64" in [f for f in tool.findings() if f["rule"] == "github-token"][0]["encodings"], "encodings")
    check_hidden(tool, secrets.values() + [inner])


@case
def secretscan_large_body(t):
    """3 MiB up and down, with a value near the end, where nothing of a body is kept"""
    server, secrets, path = PythonServer(t), Secrets(), t.path("large")
    with open(path, "wb") as f:
        f.write(b"lorem ipsum dolor " * ((3 << 20) // 18) + b" " + secrets.github.encode() + b" the end\n")
    tool = t.secretscan(
        "--max-body",
        "64k",
        command=["curl", "-s", "-o", "/dev/null", "--data-binary", "@" + path, f"{server.url}/echo"],
    )
    tool.wait()
    found = [(finding["finding"], finding["rule"], finding["part"]) for finding in tool.findings()]
    equal(
        sorted(found),
        [
            ("other-provider", "github-token", "request"),
            ("secret", "github-token", "request"),
            ("secret", "github-token", "response"),
        ],
        "findings",
    )
    check_hidden(tool, secrets.values())


@case
def secretscan_repeats(t):
    """the same value fifty times: shown once, counted"""
    server, secrets = PythonServer(t), Secrets()
    urls = [f"{server.url}/bytes/10" for _ in range(50)]
    argv = [
        "curl",
        "-s",
        "-H",
        f"Private-Token: {secrets.github}",
        *[word for url in urls for word in ("-o", "/dev/null", url)],
    ]
    tool = t.secretscan(command=argv)
    tool.wait()
    check_findings(
        tool.findings(),
        [
            ("secret", "github-token", "request.header:Private-Token", "out"),
            ("other-provider", "github-token", "request.header:Private-Token", "out"),
        ],
    )
    rows = {row["finding"]: (row["count"], row["values"]) for row in tool.records("secrets")[0]["by"]}
    equal(rows, {"secret": (50, 1), "other-provider": (50, 1)}, "rows")


@case
def secretscan_fail_on(t):
    """exit status: 3 at that severity, else that of COMMAND"""
    server, secrets = PythonServer(t), Secrets()
    sends = f"curl -s -o /dev/null '{server.url}/?password={secrets.password}'"
    for options, script, status in (
        (["--fail-on", "high"], sends, 3),
        (["--fail-on", "high"], sends + "; exit 5", 3),
        (["--fail-on", "critical"], sends + "; exit 5", 5),
        ([], sends, 0),
        (["--fail-on", "low"], "exit 4", 4),
        (["--fail-on", "low"], "exit 0", 0),
    ):
        tool = t.secretscan(*options, command=["/bin/sh", "-c", script])
        tool.wait(status)
        check_hidden(tool, secrets.values())


@case
def secretscan_allow(t):
    """--allow by hash with --hash-key-file, in another run; entries of no use are named"""
    server, secrets = PythonServer(t), Secrets()
    key, known = t.path("key"), t.path("known")
    with open(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as f:
        f.write(os.urandom(32))
    argv = requests_of(server, secrets)
    first = t.secretscan("--hash-key-file", key, command=argv)
    first.wait()
    hashes = {finding["rule"]: finding["hash"] for finding in first.findings()}
    with open(known, "w", encoding="ascii") as f:
        f.write(f"hash={hashes['github-token']}\nrule=password-field path=/echo host=127.0.0.1\nrule=jwt\n")
    second = t.secretscan("--hash-key-file", key, "--allow", known, command=argv)
    second.wait()
    check_findings(
        second.findings(), [entry for entry in expected_of() if entry[1] not in ("github-token", "password-field")]
    )
    check(f"{known}:3: not used: rule=jwt" in second.stderr(), second.stderr())
    os.chmod(key, 0o644)
    third = t.secretscan("--hash-key-file", key, command=["/bin/true"], ready=False)
    third.wait(1)
    check(f"{key} can be read by others" in third.stderr(), third.stderr())


@case
def secretscan_rules(t):
    """--rules: a file in the format of gitleaks, alone and besides; what it has and is not supported is named"""
    server, rules = PythonServer(t), t.path("rules.toml")
    with open(rules, "w", encoding="ascii") as f:
        f.write(
            "[[rules]]\nid = \"ours\"\nregex = '''ours-([a-z]{6})'''\nkeywords = [\"ours\"]\n[[rules]]\nid = "
            "\"files\"\nregex = '''x'''\npath = '''y'''\n"
        )
    argv = ["curl", "-s", "-o", "/dev/null", f"{server.url}/a?x=ours-abcdef&password=hid{MADE.randrange(10**9)}"]
    own = ("secret", "ours", "request.query:x", "out"), ("in-url", "ours", "request.query:x", "out")
    builtin = ("secret", "password-field", "request.query:password", "out"), (
        "in-url",
        "password-field",
        "request.query:password",
        "out",
    )
    for options, expected in ((["--no-builtin"], own), ([], own + builtin)):
        tool = t.secretscan("--rules", rules, *options, command=argv)
        tool.wait()
        check_findings(tool.findings(), expected)
        check(f"{rules}:8: path of rule files is not supported" in tool.stderr(), tool.stderr())


@case
def secretscan_list_rules(t):
    """--list-rules: no root, no probes"""
    tool = t.spawn(
        [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            os.path.join(os.path.dirname(__file__), "..", "..", "..", "tools", "secretscan"),
            "--list-rules",
        ]
    )
    lines = tool.done().splitlines()
    check(len(lines) > 100 and any(line.startswith("github-token ") for line in lines), f"{len(lines)} rules")


WEBSOCKET = """
import asyncio, sys, websockets

async def echo(socket):
    async for message in socket:
        await socket.send(message)

async def main():
    token = sys.argv[1]
    compression = sys.argv[2] if sys.argv[2] != "none" else None
    padding = "lorem ipsum " * int(sys.argv[3])
    async with websockets.serve(echo, "127.0.0.1", 0, compression=compression) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/chat"
        async with websockets.connect(url) as socket:
            await socket.send(['{"padding":"', padding, '","login":{"access_', 'token":"', token[:9], token[9:], '"}}'])
            await socket.recv()

asyncio.run(main())
"""


def websocket(t, compression, padding=0, place="message.json:$.login.access_token"):
    need_module("websockets")
    token = made("", 30)
    client = t.gated(["/usr/bin/python3", "-c", WEBSOCKET, token, compression, str(padding)])
    tool = t.secretscan(pids=[client])
    client.release()
    client.done()
    tool.stop()
    # the client sends and receives it, and so does the server, in the same process
    expected = [("secret", "access-token-field", place, direction) for direction in ("out", "in")]
    check_findings(tool.findings(), expected)
    equal(sum(row["count"] for row in tool.records("secrets")[0]["by"]), 4, "occurrences")
    check("not scanned" not in tool.stderr(), f"bytes were not scanned: {tool.stderr()}")
    check_hidden(tool, [token])


@case
def secretscan_websocket(t):
    """a value in a message that comes in fragments"""
    websocket(t, "none")


@case
def secretscan_websocket_deflate(t):
    """the same, compressed"""
    websocket(t, "deflate")


@case
def secretscan_websocket_large(t):
    """a value near the end of a message of 600 KB, of which 64 KiB are kept"""
    websocket(t, "none", padding=50000, place="message.body")


@case
def secretscan_websocket_large_deflate(t):
    """the same, compressed"""
    websocket(t, "deflate", padding=50000, place="message.body")


class Namespaces:
    """Two network namespaces with a cable between them, 192.0.2.1 and 192.0.2.2."""

    def __init__(self, t):
        need("ip")
        self.names = [f"plainsight-{os.getpid()}-{side}" for side in "ab"]
        self.made = []
        for name in self.names:
            if subprocess.run(["ip", "netns", "add", name], stderr=subprocess.DEVNULL).returncode:
                self.close()
                raise Skip("no network namespaces")
            self.made.append(name)
        a, b = self.names
        ends = [f"ps{os.getpid() % 10000}a", f"ps{os.getpid() % 10000}b"]
        made = subprocess.run(
            ["ip", "-n", a, "link", "add", ends[0], "type", "veth", "peer", "name", ends[1], "netns", b],
            stderr=subprocess.DEVNULL,
        )
        if made.returncode:
            self.close()
            raise Skip("no veth")
        for name, end, address in ((a, ends[0], "192.0.2.1"), (b, ends[1], "192.0.2.2")):
            subprocess.run(["ip", "-n", name, "address", "add", f"{address}/24", "dev", end], check=True)
            subprocess.run(["ip", "-n", name, "link", "set", end, "up"], check=True)

    def within(self, side, argv):
        return ["ip", "netns", "exec", self.names[side], *argv]

    def close(self):
        for name in self.made:
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)


@case
def secretscan_other_host(t):
    """in clear text to another host: that is a finding of its own"""
    secrets, namespaces = Secrets(), Namespaces(t)
    try:
        server = PythonServer(t, address="192.0.2.2", prefix=namespaces.within(1, []))
        url = f"http://192.0.2.2:{server.port}/bytes/10"
        argv = namespaces.within(
            0, ["curl", "-s", "-o", "/dev/null", "-u", f"alice:{secrets.basic}", "-A", "someone.real@firm-mail.de", url]
        )
        tool = t.secretscan(command=argv)
        tool.wait()
        check_findings(
            tool.findings(),
            [
                ("secret", "basic-auth", "request.header:Authorization", "out"),
                ("cleartext", "basic-auth", "request.header:Authorization", "out"),
                ("secret", "email-address", "request.header:User-Agent", "out"),
            ],
        )
        check_hidden(tool, secrets.values())
    finally:
        namespaces.close()
