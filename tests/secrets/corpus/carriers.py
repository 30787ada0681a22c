# SPDX-License-Identifier: Apache-2.0
"""HTTP exchanges that a value is put into, with what real ones have besides.

An exchange is {"request": message, "response": message}; a message has `headers` (list of pairs), `body` (bytes), and
`method` and `target`, or `status`.
"""

import base64
import json
import re
import urllib.parse

from .tokens import ALNUM, DIGITS, HEX, LOWER, chars, uuid

HOSTS = [
    "api.northwind-shop.net",
    "backend.svc:8080",
    "portal.city-library.org",
    "10.20.3.17:9000",
    "cdn.assets-west.io",
    "app.fleet-metrics.com",
    "localhost:3000",
]
AGENTS = [
    "curl/7.88.1",
    "python-requests/2.31.0",
    "okhttp/4.12.0",
    "Go-http-client/2.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
]
WORDS = (
    "the order was sent to our warehouse in the north and will arrive on monday unless rain stops all trucks "
    "near "
    "river bridges while staff count boxes of green paper cups for next week"
).split()


def words(rng, count):
    return " ".join(rng.choice(WORDS) for _ in range(count))


def request(rng, target=None, headers=(), body=b"", kind=None, method=None):
    lines = [
        ("Host", rng.choice(HOSTS)),
        ("User-Agent", rng.choice(AGENTS)),
        ("Accept", "*/*"),
        ("X-Request-Id", uuid(rng)),
    ]
    rng.shuffle(lines)
    if kind:
        lines.append(("Content-Type", kind))
    if body:
        lines.append(("Content-Length", str(len(body))))
    lines[2:2] = headers
    return {
        "method": method or ("POST" if body else "GET"),
        "target": target or path(rng),
        "headers": lines,
        "body": body,
    }


def response(rng, headers=(), body=None, kind="application/json", status=200):
    body = body if body is not None else json.dumps({"ok": True, "id": rng.randrange(10**6)}).encode()
    lines = [
        ("Server", "nginx/1.22.1"),
        ("Date", "Tue, 12 Mar 2024 10:11:12 GMT"),
        ("Content-Type", kind),
        ("ETag", f'"{chars(rng, HEX, 32)}"'),
        ("Content-Length", str(len(body))),
    ]
    lines[1:1] = headers
    return {"status": status, "headers": lines, "body": body}


def path(rng):
    return "/" + "/".join(
        rng.choice(["v1", "api", "users", "orders", "items", "search", "reports", str(rng.randrange(9999))])
        for _ in range(rng.randrange(1, 4))
    )


def noise(rng):
    """Members of a JSON object beside the one that matters."""
    return dict(
        rng.sample(
            [
                ("id", rng.randrange(10**9)),
                ("uuid", uuid(rng)),
                ("created_at", "2024-03-12T10:11:12.345Z"),
                ("name", rng.choice(WORDS)),
                ("count", rng.randrange(100)),
                ("enabled", True),
                ("note", words(rng, 8)),
                ("etag", chars(rng, HEX, 40)),
                ("tags", ["a", "b"]),
                ("price", 12.5),
                ("parent", None),
                ("version", f"{rng.randrange(9)}.{rng.randrange(20)}.{rng.randrange(50)}"),
            ],
            4,
        )
    )


def with_member(rng, name, value):
    """A JSON object with a member somewhere in it, at some depth."""
    members = [*noise(rng).items(), (name, value)]
    rng.shuffle(members)
    data = dict(members)
    for key in rng.sample(["data", "result", "config", "item", "settings"], rng.randrange(0, 3)):
        data = {**noise(rng), key: data} if rng.random() < 0.7 else {key: [data]}
    return data


def dumps(rng, data):
    style = rng.random()
    if style < 0.5:
        return json.dumps(data, separators=(",", ":"))
    return json.dumps(data) if style < 0.75 else json.dumps(data, indent=2)


def both_ways(rng, text, kind):
    """A body that is either sent or received."""
    body = text if isinstance(text, bytes) else text.encode()
    if rng.random() < 0.5:
        return {"request": request(rng, body=body, kind=kind), "response": response(rng)}
    return {"request": request(rng), "response": response(rng, body=body, kind=kind)}


def in_json(rng, name, value):
    return both_ways(rng, dumps(rng, with_member(rng, name, value)), "application/json")


def in_json_in_json(rng, name, value):
    inner = dumps(rng, with_member(rng, name, value))
    return both_ways(rng, dumps(rng, {**noise(rng), "payload": inner}), "application/json")


def in_base64_in_json(rng, name, value):
    inner = base64.b64encode(dumps(rng, with_member(rng, name, value)).encode()).decode()
    return both_ways(
        rng, dumps(rng, {**noise(rng), rng.choice(["blob", "data", "content"]): inner}), "application/json"
    )


def in_form(rng, name, value):
    fields = [("page", "2"), ("lang", "en"), ("id", str(rng.randrange(9999))), (name, value), ("submit", "Go")]
    rng.shuffle(fields)
    return {
        "request": request(rng, body=urllib.parse.urlencode(fields).encode(), kind="application/x-www-form-urlencoded"),
        "response": response(rng),
    }


def in_query(rng, name, value):
    fields = [("page", "2"), (name, value), ("q", rng.choice(WORDS))]
    rng.shuffle(fields)
    return {"request": request(rng, target=path(rng) + "?" + urllib.parse.urlencode(fields)), "response": response(rng)}


def in_redirect(rng, name, value):
    """In a URL within a URL."""
    inner = "https://app.fleet-metrics.com/cb?" + urllib.parse.urlencode([("s", "1"), (name, value)])
    outer = "/login?next=" + urllib.parse.quote(inner, safe="")
    return {"request": request(rng), "response": response(rng, headers=[("Location", outer)], body=b"", status=302)}


def in_multipart(rng, name, value):
    boundary = "----WebKitFormBoundary" + chars(rng, ALNUM, 16)
    parts = [("title", words(rng, 3)), (name, value), ("count", str(rng.randrange(99)))]
    rng.shuffle(parts)
    text = (
        "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{item}\r\n' for key, item in parts
        )
        + f"--{boundary}--\r\n"
    )
    return {
        "request": request(rng, body=text.encode(), kind=f"multipart/form-data; boundary={boundary}"),
        "response": response(rng),
    }


def in_xml(rng, name, value):
    value = value.replace("&", "&amp;").replace("<", "&lt;")
    name = name.replace("[", ".").replace("]", "")
    text = (
        f'<?xml version="1.0"?>\n<order id="{rng.randrange(999)}">\n  <item>{rng.choice(WORDS)}</item>\n'
        f"  <{name}>{value}</{name}>\n  <count>3</count>\n</order>\n"
    )
    return both_ways(rng, text, "application/xml")


def in_yaml(rng, name, value):
    lines = [f"app: {rng.choice(WORDS)}", f"replicas: {rng.randrange(9)}", f"{name}: {value}", "debug: false"]
    rng.shuffle(lines)
    return both_ways(rng, "\n".join(lines) + "\n", "application/yaml")


def in_env(rng, name, value):
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper().replace("-", "_")
    lines = ["APP_ENV=production", f"PORT={rng.randrange(1024, 9999)}", f"{name}={value}", "LOG_LEVEL=info"]
    rng.shuffle(lines)
    return both_ways(rng, "\n".join(lines) + "\n", "text/plain")


def in_header(rng, name, value):
    header = "X-" + "-".join(word.capitalize() for word in name.replace("_", "-").split("-"))
    return {"request": request(rng, headers=[(header, value)]), "response": response(rng)}


def in_bearer(rng, _name, value):
    return {"request": request(rng, headers=[("Authorization", "Bearer " + value)]), "response": response(rng)}


def in_cookie(rng, name, value):
    jar = [("lang", "en"), ("theme", "dark"), (name, value)]
    rng.shuffle(jar)
    return {
        "request": request(rng, headers=[("Cookie", "; ".join("=".join(pair) for pair in jar))]),
        "response": response(rng),
    }


def in_log(rng, _name, value):
    line = f'2024-03-12T10:11:12Z level=info msg="{words(rng, 4)}" using {value} for {rng.choice(WORDS)}\n'
    return both_ways(
        rng, "".join(f"2024-03-12T10:11:{i:02d}Z level=debug {words(rng, 6)}\n" for i in range(5)) + line, "text/plain"
    )


def in_script(rng, name, value):
    name = name.replace("-", "_")
    text = (
        f'!function(e,t){{var n=t.createElement(\'script\');n.async=!0;var cfg={{region:"eu",{name}:"{value}",'
        f"retries:{rng.randrange(9)}}};e.init(cfg)}}(window,document);"
    )
    return {
        "request": request(rng, target=f"/static/app.{chars(rng, HEX, 8)}.js"),
        "response": response(rng, body=text.encode(), kind="application/javascript"),
    }


def in_event(rng, name, value):
    text = "".join(
        f"event: update\ndata: {dumps_line(item)}\n\n"
        for item in [noise(rng), {name: value, "n": rng.randrange(9)}, noise(rng)]
    )
    return {"request": request(rng), "response": response(rng, body=text.encode(), kind="text/event-stream")}


def dumps_line(data):
    return json.dumps(data, separators=(",", ":"))


ANYWHERE = [
    in_json,
    in_json,
    in_json_in_json,
    in_base64_in_json,
    in_form,
    in_query,
    in_redirect,
    in_multipart,
    in_xml,
    in_yaml,
    in_env,
    in_header,
    in_bearer,
    in_cookie,
    in_log,
    in_script,
    in_event,
]
NAMED = [
    in_json,
    in_json,
    in_json_in_json,
    in_base64_in_json,
    in_form,
    in_form,
    in_query,
    in_redirect,
    in_multipart,
    in_xml,
    in_yaml,
    in_env,
    in_event,
]
# Names that say nothing of what the value is.
NEUTRAL = ["value", "data", "ref", "field1", "item", "code", "x", "config", "input", "arg"]
BODIES = [in_json, in_json_in_json, in_base64_in_json, in_multipart]

__all__ = ["ANYWHERE", "BODIES", "DIGITS", "LOWER", "NAMED", "NEUTRAL"]
