# SPDX-License-Identifier: Apache-2.0
"""apidump: what it says of an API that is known, judged by a validator and by a server made from it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

from exports import checked_hars, har_entries, need_npm, whole_har
from harness import PROGRAMS, read_log
from tap import case, check, equal
from telemetry import PACKAGES, ApiServer, curls, need_packages
from tool import Httpsnoop

UUIDS = [f"3f2504e0-4f89-11d3-9a0c-0305e82c33{i:02x}" for i in range(12)]
CHECK = os.path.join(PROGRAMS, "openapi_check.js")


class Apidump(Httpsnoop):
    """One running apidump; its document goes to a file."""

    NAME = "apidump"

    def __init__(self, t, *args, **options):
        self.file = t.path("openapi.json")
        super().__init__(t, [*args, "-o", self.file], **options)

    def document(self):
        """The document; the run must have ended."""
        with open(self.file, encoding="utf-8") as f:
            return json.load(f)


def node(*args):
    """Standard output of openapi_check.js."""
    done = subprocess.run(["node", CHECK, *args], env={**os.environ, "NODE_PATH": PACKAGES}, capture_output=True,
                          text=True, check=False)
    check(done.returncode == 0, f"openapi_check.js {args}: {done.stderr[-3000:]}")
    return done.stdout


def check_valid(tool):
    """The document is valid OpenAPI 3.1."""
    need_packages()
    result = json.loads(node("validate", tool.file))
    check(result["valid"], f"not valid: {json.dumps(result.get('errors'))[:3000]}")


def requests_of(url):
    """Arguments of curl that use all of the API."""
    key = ["-H", "X-Api-Key:k3y-f0r-0rders-9f8e7d"]
    token = ["--oauth2-bearer", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"]
    body = ["-H", "Content-Type:application/json"]
    return [
        *[[f"{url}/users/{i}"] for i in range(1, 11)], [f"{url}/users/5000"],
        [f"{url}/users?limit=3"], [f"{url}/users?limit=5&sort=name"],
        [*body, "-d", '{"name":"Ada","email":"ada@example.org","password":"hunter2"}', f"{url}/users"],
        [*body, "-d", '{"name":"Bob","email":"bob@example.org","password":"tr0ub4dor","age":7}', f"{url}/users"],
        [*body, "-X", "PUT", "-d", '{"name":"Eve"}', f"{url}/users/3"],
        ["-X", "DELETE", f"{url}/users/3"], [*token, "-X", "DELETE", f"{url}/users/4"],
        *[[*key, f"{url}/orders/{number}"] for number in UUIDS],
        [f"{url}/search?q=one&page=1&api_key=s3cr3t-k3y"], [f"{url}/search?q=two&page=2"],
        ["-d", "title=x&count=3", f"{url}/form"], [f"{url}/fail"], [f"{url}/nothing-here"],
    ]


def dumped(t, server, requests, *options, both=True):
    """apidump of requests to server, seen from both sides or the server's only; ended."""
    client = t.gated(curls(*requests))
    pids = f"{server.pid},{client.pid}" if both else str(server.pid)
    tool = Apidump(t, *options, "-p", pids)
    client.release()
    client.done()
    tool.stop()
    return tool


@case
def apidump_document(t):
    """paths, methods, statuses, parameters, schemas, security: as the API is; every exchange counted once"""
    server = ApiServer(t)
    requests = requests_of(server.url)
    tool = dumped(t, server, requests)
    check_valid(tool)
    document = tool.document()
    paths = document["paths"]
    equal({(path, method) for path, item in paths.items() for method in item},
          {("/users/{id}", "get"), ("/users/{id}", "put"), ("/users/{id}", "delete"), ("/users", "get"),
           ("/users", "post"), ("/orders/{id}", "get"), ("/search", "get"), ("/form", "post"), ("/fail", "get")},
          "operations")
    about = document["x-plainsight"]
    count = len(requests)
    equal((about["exchanges"], about["merged_views"], about["sampled"]), (count, count, count), "counts")
    equal(sum(op["x-plainsight"]["exchanges"] for item in paths.values() for op in item.values()), count - 1, "sum")
    equal(paths["/users/{id}"]["get"]["x-plainsight"]["statuses"], {"200": 10, "404": 1}, "statuses")
    equal(set(paths["/users/{id}"]["delete"]["responses"]), {"204", "401"}, "responses")
    equal(document["servers"], [{"url": server.url}], "servers")
    user = paths["/users/{id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    equal(user["properties"]["nickname"]["type"], ["string", "null"], "nullable")
    equal(user["properties"]["created"], {"type": "string", "format": "date-time"}, "date-time")
    equal(user["properties"]["score"], {"type": "number"}, "number")
    equal(user["properties"]["id"], {"type": "integer"}, "integer")
    equal(user["properties"]["tags"], {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}, "array")
    equal(set(user["properties"]) - set(user["required"]), {"admin"}, "optional")
    order = paths["/orders/{id}"]["get"]
    equal(order["parameters"][0]["schema"], {"type": "string", "format": "uuid"}, "uuid")
    state = order["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["state"]
    check(set(state["enum"]) <= {"open", "paid", "sent"} and len(state["enum"]) > 1, f"enum {state}")
    equal(order["security"], [{"x_api_key": []}], "key in a header")
    equal(paths["/users/{id}"]["delete"]["security"], [{"bearer": []}], "bearer")
    schemes = document["components"]["securitySchemes"]
    equal(schemes["bearer"], {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}, "scheme")
    query = {p["name"]: p["required"] for p in paths["/search"]["get"]["parameters"]}
    equal(query, {"q": True, "page": True}, "query of /search")
    equal({p["name"]: p["required"] for p in paths["/users"]["get"]["parameters"]}, {"limit": True, "sort": False},
          "query of /users")
    equal(paths["/search"]["get"]["security"], [{}, {"query_api_key": []}], "key in the query")
    body = paths["/users"]["post"]["requestBody"]
    equal(set(body["content"]["application/json"]["schema"]["required"]), {"name", "email", "password"}, "required")
    form = paths["/form"]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    equal(form["properties"], {"title": {"type": "string"}, "count": {"type": "integer"}}, "form")


@case
def apidump_secrets(t):
    """no password, key, token or address of a person that was sent is in the document"""
    server = ApiServer(t)
    tool = dumped(t, server, requests_of(server.url))
    with open(tool.file, encoding="utf-8") as f:
        text = f.read()
    for secret in ("hunter2", "tr0ub4dor", "k3y-f0r-0rders", "s3cr3t-k3y", "eyJhbGci", "ada@", "bob@"):
        check(secret not in text, f"'{secret}' is in the document")
    check("REDACTED" in text, "nothing is marked as redacted")
    equal(os.stat(tool.file).st_mode & 0o777, 0o600, "mode of the file")


@case
def apidump_mock(t):
    """a server made from the document answers the same requests, and the real answers fit it"""
    need_packages()
    server = ApiServer(t)
    tool = dumped(t, server, requests_of(server.url))
    mock = t.spawn(["node", CHECK, "mock", tool.file], env={"NODE_PATH": PACKAGES})
    deadline = time.monotonic() + 30
    while not mock.stdout().strip() and time.monotonic() < deadline:
        time.sleep(0.05)
    url = f"http://127.0.0.1:{int(mock.stdout())}"
    key, uuid = {"X-Api-Key": "k"}, UUIDS[3]
    made = []
    for method, path, headers, body, status in (
        ("GET", "/users/9", {}, None, 200), ("GET", "/users?limit=2", {}, None, 200), ("GET", "/users", {}, None, 400),
        ("GET", "/users/nobody", {}, None, 400), ("GET", f"/orders/{uuid}", key, None, 200),
        ("GET", f"/orders/{uuid}", {}, None, 401), ("POST", "/users", {}, {"name": "A", "email": "a@b.c",
                                                                          "password": "x"}, 201),
        ("POST", "/users", {}, {"name": 5, "email": "a@b.c"}, 400), ("PATCH", "/users/9", {}, None, 405),
        ("GET", "/other", {}, None, 404), ("DELETE", "/users/9", {"Authorization": "Bearer x"}, None, 204),
    ):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(url + path, data, {**headers, "Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                got = answer.status
                made.append(answer.read())
        except urllib.error.HTTPError as error:
            got = error.code
        equal(got, status, f"status of the made-up server for {method} {path}")
    check(b'"name"' in made[0], f"the first answer has no name: {made[0][:200]}")
    log = t.path("real.log")
    with open(log, "w", encoding="utf-8") as f:
        for path in ("/users/11", "/users/12", "/users/2001", "/users?limit=4", f"/orders/{uuid}", "/fail"):
            try:
                with urllib.request.urlopen(server.url + path, timeout=5) as answer:
                    status, body = answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                status, body = error.code, json.load(error)
            f.write(json.dumps({"method": "GET", "target": path, "status": status, "body": body}) + "\n")
    for line in node("responses", tool.file, log).splitlines():
        result = json.loads(line)
        check(result["known"] and not result["errors"], f"a real answer does not fit the document: {line}")


@case
def apidump_sampling(t):
    """--sample and --rate look into fewer exchanges and count all of them; one side alone is enough"""
    server = ApiServer(t)
    requests = [[f"{server.url}/users/{i}"] for i in range(1, 41)] + [[f"{server.url}/fail"]]
    tool = dumped(t, server, requests, "--sample", "10", both=False)
    check_valid(tool)
    document = tool.document()
    get = document["paths"]["/users/{id}"]["get"]["x-plainsight"]
    equal((get["exchanges"], get["sampled"]), (40, 4), "exchanges and sampled ones")
    about = document["x-plainsight"]
    equal((about["exchanges"], about["sampled"], about["not_sampled"], about["merged_views"]), (41, 5, 36, 0), "counts")
    tool = dumped(t, server, requests, "--rate", "1", both=False)
    about = tool.document()["x-plainsight"]
    equal(about["sampled"] + about["over_rate"], 41, "looked into, and over the rate")
    check(1 <= about["sampled"] <= 15, f"looked into at 1 a second: {about}")


@case
def apidump_har(t):
    """--har has the same exchanges beside the document; -n ends it; standard output has the document without -o"""
    server = ApiServer(t)
    har = t.path("api.har")
    client = t.gated(curls(*[[f"{server.url}/users/{i}"] for i in range(5)]))
    tool = Httpsnoop(t, ["--har", har, "-n", "4", "-p", str(server.pid)],
                     tool=os.path.join(os.path.dirname(PROGRAMS), "..", "..", "tools", "apidump"), ready=False)
    deadline = time.monotonic() + 30
    while "apidump: tracing" not in tool.stderr() and time.monotonic() < deadline:
        time.sleep(0.02)
    client.release()
    client.done()
    equal(tool.process.wait(15), 0, "exit status")
    document = json.loads(tool.process.stdout())
    equal(document["paths"]["/users/{id}"]["get"]["x-plainsight"]["exchanges"], 4, "exchanges")
    with open(har, encoding="utf-8") as f:
        equal(len(json.load(f)["log"]["entries"]), 4, "entries")


def asked_of(entries):
    """What entries say was asked for, and with which result."""
    return [(e["request"]["method"], e["request"]["url"], e["response"]["status"]) for e in entries]


@case
def apidump_har_directory(t):
    """--har DIR/: a valid archive for each host, with the entries that it was asked for, once each, and no secret"""
    need_npm()
    first, second = ApiServer(t), ApiServer(t)
    named = f"http://localhost:{second.port}"
    requests = requests_of(first.url) + [[f"{second.url}/users/{i}"] for i in range(3)]
    requests += [["--ipv4", f"{named}/users/7"], [f"{first.url}/users/8"]]
    client = t.gated(curls(*requests))
    directory = t.path("apis") + "/"
    tool = Apidump(t, "--har", directory, "-p", f"{first.pid},{second.pid},{client.pid}")
    client.release()
    client.done()
    tool.stop()
    logs = {server: [(r["method"], server.url + r["target"], r["status"]) for r in read_log(server.log)]
            for server in (first, second)}
    by_name = logs[second].pop()
    wanted = {f"127.0.0.1_{first.port}.har": logs[first], f"127.0.0.1_{second.port}.har": logs[second],
              f"localhost_{second.port}.har": [(by_name[0], f"{named}/users/7", by_name[2])]}
    equal(set(os.listdir(directory)), set(wanted), "files")
    paths = {name: directory + name for name in wanted}
    equal([c["entries"] for c in checked_hars(*paths.values())], [len(list_) for list_ in wanted.values()], "entries")
    for name, path in paths.items():
        got = asked_of(har_entries(path))
        # Values that look like secrets are masked in URLs, too.
        masked = [one for one in wanted[name] if "api_key" not in one[1]]
        equal([one for one in got if "api_key" not in one[1]], masked, f"what is in {name}")
        with open(path, encoding="utf-8") as f:
            text = f.read()
        for secret in ("hunter2", "tr0ub4dor", "s3cr3t-k3y", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"):
            check(secret not in text, f"'{secret}' is in {name}")
    about = tool.document()["x-plainsight"]
    equal(about["exchanges"], len(requests), "exchanges in the document")
    equal(os.stat(directory).st_mode & 0o777, 0o700, "mode of the directory")


@case
def apidump_har_directory_kill(t):
    """kill -9 at random moments: every archive in the directory loads, and all in it happened, once"""
    need_npm()
    for round_ in range(3):
        servers = [ApiServer(t), ApiServer(t)]
        urls = [f"{server.url}/users?limit=300" for _ in range(150) for server in servers]
        client = t.gated(curls(*[[url] for url in urls]))
        directory = t.path(f"killed-{round_}")
        os.mkdir(directory)
        pids = ",".join(str(process.pid) for process in (*servers, client))
        tool = Apidump(t, "--har", directory, "--max-body", "1M", "-p", pids)
        client.release()
        deadline = time.monotonic() + 30
        while len(os.listdir(directory)) < 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.8))
        tool.process.send_signal(signal.SIGKILL)
        tool.process.wait()
        client.end()
        for server in servers:
            server.process.end()
        paths = [os.path.join(directory, name) for name in sorted(os.listdir(directory))]
        counts = [len(whole_har(path)) for path in paths]
        served = [len(read_log(server.log)) for server in sorted(servers, key=lambda s: str(s.port))]
        check(all(count <= most for count, most in zip(counts, served)), f"{counts} entries of {served} exchanges")
        equal(len(counts), 2, "archives")
        equal([c["entries"] for c in checked_hars(*paths)], counts, "entries")
        t.diag(f"entries: {counts} of {served}")


@case
def apidump_hostile(t):
    """whatever is asked for, the document is valid JSON and OpenAPI, and small"""
    server = ApiServer(t)
    script = (
        "import http.client,os,sys\n"
        "c=http.client.HTTPConnection('127.0.0.1',int(sys.argv[1]))\n"
        "def ask(m,p,h={},b=None):\n"
        "    global c\n"
        "    try:\n"
        "        c.putrequest(m,p,skip_host=True,skip_accept_encoding=True)\n"
        "        c.putheader('Host', h.get('Host','x'))\n"
        "        for k,v in h.items():\n"
        "            if k!='Host': c.putheader(k,v)\n"
        "        if b is not None: c.putheader('Content-Length',str(len(b)))\n"
        "        c.endheaders(b); c.getresponse().read()\n"
        "    except Exception:\n"
        "        c=http.client.HTTPConnection('127.0.0.1',int(sys.argv[1]))\n"
        "c._validate_path=lambda p: None\n"
        "for i in range(60):\n"
        "    ask('GET','/search?q=%s&%s=%s'%(os.urandom(5).hex(),'n%d'%i,'%ff%00%1b[31m'))\n"
        "    ask('POST','/users',{'Content-Type':'application/json','Host':'h%d'%i},b'{\"k%d\":{\"a\":[%d]}}'%(i,i))\n"
        "ask('POST','/users',{'Content-Type':'application/json'},b'['*5000+b']'*5000)\n"
        "ask('POST','/users',{'Content-Type':'application/json'},b'{\"a\":1e999,\"b\":\"\\xff\\xfe\\\\ud800\"}')\n"
        "ask('POST','/users',{'Content-Type':'a\"/b'},b'x')\n"
        "ask('GET','/search?q=1',{'X-\\xe4':'1','X-A\"b':'2'})\n"
    )
    client = t.gated([sys.executable, "-c", script, str(server.port)])
    tool = Apidump(t, "-p", f"{server.pid},{client.pid}")
    client.release()
    client.done()
    tool.stop()
    check_valid(tool)
    check(os.stat(tool.file).st_size < 200_000, f"{os.stat(tool.file).st_size} bytes")
    equal(sum(tool.document()["paths"]["/search"]["get"]["x-plainsight"]["statuses"].values()) >= 60, True, "searches")
    check(len(read_log(server.log)) > 60, "requests that the server has seen")
