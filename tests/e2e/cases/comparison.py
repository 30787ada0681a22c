# SPDX-License-Identifier: Apache-2.0
"""The comparison itself must be able to fail."""

import base64
import copy

from pattern import sha
from tap import Failure, case
from truth import check_kept_prefix, compare, mirror

_TRUTH = {
    "side": "server", "pid": 7, "local_port": 80, "remote_port": 5000, "method": "GET", "target": "/a",
    "status": 200, "response_bytes": 3, "response_sha": sha(b"a\0b"), "interim": [],
}  # fmt: skip
_EXCHANGE = {
    "side": "server", "complete": True, "process": {"pid": 7},
    "connection": {"local": {"port": 80}, "remote": {"port": 5000}, "midstream": False},
    "request": {"method": "GET", "target": "/a", "body": {"size_bytes": 0, "captured_bytes": 0, "state": "complete"}},
    "response": {
        "status": 200,
        "body": {"size_bytes": 3, "state": "complete", "base64": base64.b64encode(b"a\0b").decode()},
    },
}  # fmt: skip


def changed(path, value):
    """The exchange with one value replaced."""
    exchange = copy.deepcopy(_EXCHANGE)
    at = exchange
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return exchange


def must_fail(what, function, *arguments):
    try:
        function(*arguments)
    except Failure:
        return
    raise Failure(f"was accepted: {what}")


@case
def comparison(_t):
    """missing, doubled, extra and wrong exchanges and bodies are all found"""
    compare([_TRUTH, _TRUTH], [_EXCHANGE, _EXCHANGE])
    must_fail("missing", compare, [_TRUTH], [])
    must_fail("extra", compare, [], [_EXCHANGE])
    must_fail("doubled", compare, [_TRUTH], [_EXCHANGE, _EXCHANGE])
    must_fail("other side", compare, [mirror(_TRUTH)], [_EXCHANGE])
    wrong = [
        (("complete",), False),
        (("process", "pid"), 8),
        (("connection", "remote", "port"), 5001),
        (("connection", "midstream"), True),
        (("request", "target"), "/b"),
        (("response", "status"), 404),
        (("response", "body", "base64"), base64.b64encode(b"a\0c").decode()),
        (("response", "body", "size_bytes"), 4),
        (("response", "body", "state"), "gap"),
        (("response",), None),
    ]
    for path, value in wrong:
        must_fail(f"{path} {value}", compare, [_TRUTH], [changed(path, value)])
    check_kept_prefix(changed(("response", "body", "state"), "gap"), "response", b"a\0bcd")
    must_fail("short but complete", check_kept_prefix, _EXCHANGE, "response", b"a\0bcd")
    must_fail("invented byte", check_kept_prefix, _EXCHANGE, "response", b"a\0xcd")
