# SPDX-License-Identifier: Apache-2.0
"""Secrets in traffic: what is masked is nowhere in any output, and all else is."""

import base64
import json
import re
import subprocess

from tap import Skip, case, check, equal
from tool import Httpsnoop

PYTHON = "/usr/bin/python3"
MASK = re.compile(r"\[redacted:[a-z0-9-]+:[0-9a-f]{8}\]")


def traced(t, *options, fill=100):
    """Run programs/secrets_peer.py, traced; returns (the values that it sent, the tool)."""
    if subprocess.run([PYTHON, "-c", "import h2, websockets"], capture_output=True, check=False).returncode != 0:
        raise Skip("python3-h2 or python3-websockets is not installed")
    peer = t.gated([PYTHON, t.source("secrets_peer.py"), fill])
    tool = Httpsnoop(t, ["-p", peer.pid, *options])
    peer.release()
    values = json.loads(peer.done())
    tool.stop()
    return values, tool


def everything(tool):
    """All that the tool has written, what is base64 in JSON once more without it."""
    text = tool.text().decode("utf-8", "replace") + tool.stderr()
    for coded in re.findall(r'"base64":"([^"]+)"', text):
        text += base64.b64decode(coded).decode("latin-1")
    return text


def check_masked(t, *options, least, fill=100):
    """No value anywhere, whole or by its first 12 characters; at least so many masks; names are there."""
    values, tool = traced(t, *options, fill=fill)
    text = everything(tool)
    leaked = [value for value in values if value[:12] in text]
    check(not leaked, f"{len(leaked)} of {len(values)} values are in the output: {leaked}")
    found = len(MASK.findall(text))
    check(found >= least, f"{found} values are masked, at least {least} were expected\n{text[:4000]}")
    return tool, text


@case
def redacted_text(t):
    """one line per exchange: URLs, forms, JSON, base64, gzip, HTTP/2, WebSocket, a value in two writes"""
    _, text = check_masked(t, "--preview", 400, least=20)
    check("username=alice&password=[redacted:" in text, "the name of a masked field")
    check('\\"username\\": \\"alice\\"' in text, "what is next to a masked value")


@case
def redacted_short_previews(t):
    """the same with previews that end before, in and behind values"""
    for preview in (0, 1, 10, 20, 30, 50, 96):
        check_masked(t, "--preview", preview, least=4)


@case
def redacted_verbose(t):
    """-v: headers and bodies"""
    _, text = check_masked(t, "-v", least=30)
    for line in (r"^> authorization: Bearer \[redacted:", r"^> Authorization: Basic \[redacted:",
                 r"^< Set-Cookie: sessionid=\[redacted:[a-z-]+:[0-9a-f]+\]; Path=/$", r"^password = \[redacted:"):
        check(re.search(line, text, re.M), f"no line like {line}\n{text}")


@case
def redacted_json(t):
    """-j: flags, names, sizes as they were; an equal value has an equal hash"""
    tool, text = check_masked(t, "-j", least=30)
    exchanges = {e["request"]["target"]: e for e in tool.exchanges() if e["side"] == "client"}
    split = exchanges["/split"]["request"]
    equal(split["flags"], ["redacted"], "flags of a request with a masked value")
    check(re.fullmatch(r"username=alice&password=\[redacted:password-field:[0-9a-f]{8}\]&x=1", split["body"]["text"]),
          split["body"]["text"])
    equal(split["body"]["size_bytes"], len("username=alice&password=&x=1") + 24, "true size")
    equal(exchanges["/gzip"]["response"]["flags"], ["redacted"], "flags of a coded response")
    equal(json.loads(exchanges["/gzip"]["response"]["body"]["text"])["username"], "alice", "JSON is still JSON")
    hashes = re.findall(r"session-cookie:([0-9a-f]{8})", json.dumps(exchanges["/bearer"]))
    equal((len(hashes), len(set(hashes))), (2, 2), "different values have different hashes")
    lines = [line for line in text.splitlines() if '"/split"' in line]
    hashes = {re.search(r":([0-9a-f]{8})\]", line).group(1) for line in lines}
    equal(len(hashes), 1, "both sides of one exchange have one value")
    messages = tool.records("message")
    check(messages and all("redacted" in m["flags"] for m in messages if m["message_type"] == "text"), f"{messages}")


@case
def redacted_coded_bodies(t):
    """--no-decode: a coded body with a value in it is withheld, and said to be"""
    tool, _ = check_masked(t, "-j", "--no-decode", least=20)
    for exchange in tool.exchanges():
        if exchange["request"]["target"] != "/gzip":
            continue
        response = exchange["response"]
        equal(response["flags"], ["redacted", "withheld"], "flags")
        check("text" not in response["body"] and "base64" not in response["body"], f"{response['body']}")


@case
def redacted_where_bodies_are_cut(t):
    """--max-body: a value at the end of what is kept does not show its beginning"""
    for fill in (900, 960, 990, 1000, 1010, 1020):
        tool, _ = check_masked(t, "-j", "--max-body", 1024, least=20, fill=fill)
        for exchange in tool.exchanges():
            if exchange["request"]["target"] != "/cut":
                continue
            body = exchange["response"]["body"]
            equal((body["state"], body["size_bytes"]), ("truncated", fill + 64 + 15 + 40000), "state and true size")
            check(len(body["text"]) <= 1024 + 60, f"{len(body['text'])} bytes are shown")


@case
def shown_when_asked_for(t):
    """--show-secrets: everything as it is, and a line that says so"""
    values, tool = traced(t, "-v", "--show-secrets")
    text = everything(tool)
    hidden = [value for value in values if value not in text and not value.startswith("eyJ")]
    check(len(hidden) <= 2, f"not in the output: {hidden}")
    check("[redacted" not in text, "something is masked")
    check("secrets are shown as they are" in tool.stderr(), tool.stderr())
