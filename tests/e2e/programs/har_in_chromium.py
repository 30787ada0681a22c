#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Loads archives into the network panel of Chromium's developer tools, as its "Import HAR file" does.

usage: har_in_chromium.py DIRECTORY HAR...
Prints a line of JSON for each archive: a list of what the panel shows. DIRECTORY is for Chromium's files. Exit status
77: this Chromium has no such panel where it is looked for.
"""

import fcntl
import itertools
import json
import os
import subprocess
import sys
import time

NO_PANEL = 77
START_SECONDS_MAX = 20
FRONTEND = "devtools://devtools/bundled/"
# chrome/browser/devtools: with --remote-debugging-pipe commands are read from 3, and answers written to 4.
COMMANDS_FD, ANSWERS_FD = 3, 4

MODULES = f"""
Promise.all(["panels/network/network.js", "models/logs/logs.js"].map(name => import("{FRONTEND}" + name)))
  .then(([network, logs]) => {{
    globalThis.panel = network.NetworkPanel.NetworkPanel.instance({{forceNew: true, displayScreenshotIcon: false}});
    globalThis.networkLog = logs.NetworkLog.NetworkLog.instance();
    return typeof panel.networkLogView.onLoadFromFile;
  }})
"""

LOAD = """
(async text => {
  networkLog.reset();
  await panel.networkLogView.onLoadFromFile(new File([text], "trace.har"));
  return Promise.all(networkLog.requests().map(async request => {
    const content = await request.requestContentData();
    return {
      method: request.requestMethod, url: request.url(), status: request.statusCode, protocol: request.protocol,
      type: request.resourceType().name(), mime: request.mimeType, address: request.remoteAddress(),
      request_headers: request.requestHeaders().map(h => [h.name, h.value]),
      response_headers: request.responseHeaders.map(h => [h.name, h.value]),
      posted: await request.requestFormData(), response_ms: request.timing.receiveHeadersEnd,
      size: request.resourceSize, error: content.error || null,
      text: content.error || !content.isTextContent ? null : content.text,
      base64: content.error || content.isTextContent ? null : content.base64,
      frames: request.frames().map(f => ({type: f.type, opcode: f.opCode, text: f.text, time_s: f.time})),
    };
  }));
})
"""


class Browser:
    """A headless Chromium, spoken to over a pipe (https://chromedevtools.github.io/devtools-protocol/)."""

    def __init__(self, directory):
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (*os.pipe(), *os.pipe())]
        os.dup2(ends[0], COMMANDS_FD)
        os.dup2(ends[3], ANSWERS_FD)
        self.write_fd, self.answers = ends[1], os.fdopen(ends[2], "rb", buffering=0)
        self.numbers, self.unread, self.session = itertools.count(1), b"", None
        with open(os.path.join(directory, "chromium.log"), "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe",
                 f"--user-data-dir={directory}/profile", "about:blank"],
                stdout=log, stderr=log, pass_fds=(COMMANDS_FD, ANSWERS_FD))
        for fd in (COMMANDS_FD, ANSWERS_FD, ends[0], ends[3]):
            os.close(fd)

    def _answer(self):
        while b"\0" not in self.unread:
            more = self.answers.read(1 << 16)
            if not more:
                sys.exit("Chromium has ended")
            self.unread += more
        message, _, self.unread = self.unread.partition(b"\0")
        return json.loads(message)

    def call(self, method, **params):
        """The result of a method of the protocol."""
        number = next(self.numbers)
        command = {"id": number, "method": method, "params": params}
        if self.session:
            command["sessionId"] = self.session
        data = json.dumps(command).encode() + b"\0"
        while data:
            data = data[os.write(self.write_fd, data):]
        while True:
            message = self._answer()
            if message.get("id") == number:
                return message["result"] if "result" in message else sys.exit(f"{method}: {message['error']}")

    def open(self, url):
        target = self.call("Target.createTarget", url=url)["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def evaluate(self, expression):
        """(value of an expression of JavaScript, whether it was thrown)."""
        got = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        thrown = got.get("exceptionDetails")
        return (thrown["exception"].get("description"), True) if thrown else (got["result"].get("value"), False)

    def make_panel(self):
        """Make the panel, once the developer tools have started. Returns None, or what is wrong."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            kind, is_thrown = self.evaluate(MODULES)
            if not is_thrown:
                return None if kind == "function" else "the panel loads no files"
            if time.monotonic() > deadline:
                return kind
            time.sleep(0.1)

    def close(self):
        self.session = None
        self.call("Browser.close")
        self.process.wait()


def main():
    browser = Browser(sys.argv[1])
    try:
        browser.open(FRONTEND + "devtools_app.html")
        wrong = browser.make_panel()
        if wrong:
            print(wrong, file=sys.stderr)
            return NO_PANEL
        for path in sys.argv[2:]:
            with open(path, encoding="utf-8") as archive:
                shown, is_thrown = browser.evaluate(f"{LOAD}({json.dumps(archive.read())})")
            if is_thrown:
                sys.exit(f"{path}: {shown}")
            print(json.dumps(shown), flush=True)
        browser.close()
    finally:
        if browser.process.poll() is None:
            browser.process.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
