#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A small JSON API, for what is told of routes, traces and descriptions.

usage: server_api.py LOG
Prints the port once it listens. LOG gets a line of JSON for each request, before the last byte of its answer.

/users?limit=N, /users/ID (404 above 1000), POST /users, PUT and DELETE /users/ID (401 without Authorization: Bearer),
/orders/UUID (API key in X-Api-Key), /search?q=TEXT, /slow?ms=N, /fail (500), /form (POST, urlencoded),
/proxy/PORT/PATH: passes on the request with its headers.
"""

import http.client
import http.server
import json
import sys
import threading
import time
import urllib.parse
import uuid

STATES = ("open", "paid", "sent")
log_lock = threading.Lock()


def user(number):
    return {
        "id": number, "name": f"User {number}", "email": f"user{number}@example.org",
        "created": f"2024-01-{number % 28 + 1:02}T10:00:00Z", "nickname": None if number % 2 else f"nick{number}",
        "score": number * 1.5, "tags": ["a", "b"][: number % 3], **({"admin": True} if number == 1 else {}),
    }


def order(number):
    return {
        "id": number, "state": STATES[int(uuid.UUID(number).int % 3)], "total": 12.5,
        "lines": [{"sku": "A-1", "count": 2}, {"sku": "B-2", "count": 1, "note": "gift"}],
    }


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        pass

    def answer(self, status, value=None, headers=()):
        body = b"" if value is None else json.dumps(value).encode()
        with log_lock, open(sys.argv[1], "a", encoding="utf-8") as log:
            log.write(json.dumps({"method": self.command, "target": self.path, "status": status}) + "\n")
        self.send_response(status)
        for name, text in headers:
            self.send_header(name, text)
        if value is not None:
            self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def users(self, words, query):
        if len(words) == 1 and self.command == "GET":
            return self.answer(200, [user(n + 1) for n in range(int(query.get("limit", ["2"])[0]))])
        if len(words) == 1 and self.command == "POST":
            return self.answer(201, {**json.loads(self.body()), "id": 7}, [("Location", "/users/7")])
        if int(words[1]) > 1000:
            return self.answer(404, {"error": "no such user", "code": 4})
        if self.command == "DELETE":
            if not self.headers.get("Authorization", "").startswith("Bearer "):
                return self.answer(401, {"error": "who are you?", "code": 1}, [("WWW-Authenticate", "Bearer")])
            return self.answer(204)
        if self.command == "PUT":
            return self.answer(200, {**user(int(words[1])), **json.loads(self.body())})
        return self.answer(200, user(int(words[1])))

    def proxy(self, port, path):
        upstream = http.client.HTTPConnection("127.0.0.1", int(port))
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
        upstream.request(self.command, "/" + path, headers=headers)
        response = upstream.getresponse()
        value = json.loads(response.read())
        upstream.close()
        return self.answer(response.status, value)

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        words, query = url.path.strip("/").split("/"), urllib.parse.parse_qs(url.query)
        if words[0] == "users":
            return self.users(words, query)
        if words[0] == "orders":
            return self.answer(200, order(words[1]))
        if words[0] == "search":
            return self.answer(200, {"hits": [], "q": query["q"][0]})
        if words[0] == "slow":
            time.sleep(int(query["ms"][0]) / 1000)
            return self.answer(200, {})
        if words[0] == "form":
            return self.answer(200, {"fields": sorted(urllib.parse.parse_qs(self.body().decode()))})
        if words[0] == "proxy":
            return self.proxy(words[1], url.path.split("/", 3)[3])
        self.body()
        return self.answer(500 if words[0] == "fail" else 404, {"error": words[0], "code": 5})

    do_GET = do_POST = do_PUT = do_DELETE = handle_any


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
