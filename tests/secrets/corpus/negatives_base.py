# SPDX-License-Identifier: Apache-2.0
"""What look-alikes have in common."""

from . import carriers as c

PER_EXCHANGE = 5


def served(rng, text, kind, count, suffix=""):
    body = text if isinstance(text, bytes) else text.encode()
    return {
        "request": c.request(rng, target=f"/static/f{rng.randrange(999)}{suffix}"),
        "response": c.response(rng, body=body, kind=kind),
    }, count
