# SPDX-License-Identifier: Apache-2.0
"""Compares reported exchanges with what clients and servers say they did.

A truth is a dict with any of the keys that flatten() makes. Every truth must
be matched by exactly one exchange in all its keys, and no exchange may be
left over. What a truth does not say otherwise must have been seen whole.
"""

import base64
import json

from pattern import sha
from tap import Failure

TLS_FIELDS = ("library", "version", "path", "resolved")  # of the object "tls" of an exchange that sslsniff reports
_LINES_MAX = 12
_WHOLE = {"complete": True, "midstream": False, "request_state": "complete", "response_state": "complete"}


def body_bytes(body):
    """The kept bytes of a reported body."""
    if body is None:
        return b""
    if body.get("base64") is not None:
        return base64.b64decode(body["base64"], validate=True)
    return (body.get("text") or "").encode()


def _message(message, prefix):
    body = (message or {}).get("body") or {}
    kept = body_bytes(body)
    return {
        f"{prefix}_bytes": body.get("size_bytes", 0),
        f"{prefix}_captured": len(kept),
        f"{prefix}_sha": sha(kept),
        f"{prefix}_state": body.get("state", "complete"),
        f"{prefix}_wire_bytes": (message or {}).get("wire_bytes"),
        f"{prefix}_head_bytes": (message or {}).get("head_bytes"),
        f"{prefix}_flags": (message or {}).get("flags"),
        f"{prefix}_gap": (body.get("gap_offset_bytes"), body.get("gap_bytes")),
    }


def flatten(exchange):
    """A reported exchange as a flat dict, in the words of the ground truth."""
    request, response = exchange.get("request") or {}, exchange.get("response") or {}
    process, connection = exchange["process"], exchange["connection"]
    local, remote = connection.get("local") or {}, connection.get("remote") or {}
    tls = exchange.get("tls") or {}
    return {
        **{f"tls_{key}": tls.get(key) for key in TLS_FIELDS},
        **{key: process.get(key) for key in ("pid", "tid", "uid", "comm")},
        **{key: connection.get(key) for key in ("transport", "family", "path")},
        "midstream": bool(connection.get("midstream")),
        "side": exchange["side"],
        "complete": exchange["complete"],
        "local_port": local.get("port"),
        "local_address": local.get("address"),
        "remote_port": remote.get("port"),
        "remote_address": remote.get("address"),
        "method": request.get("method"),
        "target": request.get("target"),
        "version": request.get("version"),
        "stream_id": exchange.get("stream_id"),
        "status": response.get("status"),
        "interim": response.get("interim") or [],
        "response_pid": (response.get("process") or process).get("pid"),
        "missing_response": exchange.get("missing_response"),
        "flags": exchange.get("flags"),
        **_message(exchange.get("request"), "request"),
        **_message(exchange.get("response"), "response"),
    }


def mirror(truth, **changes):
    """What the other end of the connection must have seen; changes say who it was."""
    its_own = ("pid", "tid", "uid", "comm", "tls_library")
    other = {key: value for key, value in truth.items() if key not in its_own}
    other["side"] = "client" if truth["side"] == "server" else "server"
    for a, b in (("local_port", "remote_port"), ("remote_port", "local_port")):
        if a in truth:
            other[b] = truth[a]
    return {**other, **changes}


def _differences(truth, flat):
    return {key: (value, flat.get(key)) for key, value in truth.items() if flat.get(key) != value}


def _describe_missing(truth, candidates):
    line = f"not reported: {json.dumps(truth)}"
    if candidates:
        nearest = min((_differences(truth, flat) for flat in candidates), key=len)
        differences = [f"{key} (was {was!r}, reported {got!r})" for key, (was, got) in nearest.items()]
        line += "\n   nearest differs in " + ", ".join(differences)
    return line


class _Left:
    """The reported exchanges that no truth has matched so far, found by what most truths say."""

    def __init__(self, exchanges):
        self._buckets = {}
        for flat in map(flatten, exchanges):
            self._buckets.setdefault((flat["side"], flat["target"]), []).append(flat)

    def take(self, truth):
        """Take away the first one that is as truth says; returns whether there was one."""
        key = truth.get("side"), truth.get("target")
        for bucket in [self._buckets.get(key, [])] if None not in key else self._buckets.values():
            for i, flat in enumerate(bucket):
                if not _differences(truth, flat):
                    del bucket[i]
                    return True
        return False

    def all(self):
        return [flat for bucket in self._buckets.values() for flat in bucket]


def compare(truths, exchanges):
    """Fail unless exchanges are the truths, each exactly once."""
    truths = [{**_WHOLE, **truth} for truth in truths]
    left = _Left(exchanges)
    missing = [truth for truth in truths if not left.take(truth)]
    left = left.all()
    if not missing and not left:
        return
    lines = [f"{len(truths)} happened, {len(exchanges)} reported: {len(missing)} missing, {len(left)} extra or wrong"]
    lines += [_describe_missing(truth, left) for truth in missing[:_LINES_MAX]]
    lines += [f"extra: {json.dumps(flat)}" for flat in left[:_LINES_MAX]]
    raise Failure("\n".join(lines))


def check_kept_prefix(exchange, which, whole):
    """Fail unless the kept body of one message is a prefix of whole, and a shorter one is not called whole."""
    body = (exchange[which] or {}).get("body") or {}
    kept = body_bytes(body)
    if whole[: len(kept)] != kept:
        at = next(i for i, (a, b) in enumerate(zip(kept, whole + bytes(len(kept)))) if a != b)
        raise Failure(f"{which} body: byte {at} of the {len(kept)} kept ones was never sent")
    if len(kept) < len(whole) and body.get("state") == "complete" and exchange["complete"]:
        raise Failure(f"{which} body: {len(kept)} of {len(whole)} bytes kept and called complete")
