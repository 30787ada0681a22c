# SPDX-License-Identifier: Apache-2.0
"""What looks like a secret and is none, in exchanges as they carry it.

KINDS maps a name to a function(Random) -> (exchange, number of such values in it).
"""

import base64
import gzip
import hashlib
import json
import urllib.parse

from . import carriers as c
from .negatives_base import PER_EXCHANGE, served
from .negatives_more import MORE
from .tokens import ALNUM, B64, B64URL, DIGITS, HEX, HEXU, LOWER, UPPER, b64url, chars, uuid


def values(rng, names, make, count=PER_EXCHANGE):
    """A JSON list of objects, each with one such value beside what else there is."""
    items = [{**c.noise(rng), rng.choice(names): make(rng)} for _ in range(count)]
    return c.both_ways(rng, c.dumps(rng, {"items": items, "total": count}), "application/json"), count


def headers(rng, make, count=PER_EXCHANGE):
    lines = [make(rng) for _ in range(count)]
    return {
        "request": c.request(rng, headers=lines[: count // 2]),
        "response": c.response(rng, headers=lines[count // 2 :]),
    }, count


def digest(rng):
    return hashlib.new(rng.choice(["md5", "sha1", "sha256", "sha512"]), rng.randbytes(16)).hexdigest()


def git(rng):
    names = ["sha", "commit", "parent", "tree", "head_sha", "merge_commit_sha"]
    return values(rng, names, lambda r: chars(r, HEX, rng.choice([40, 40, 7])))


IDENTS = ["e", "t", "n", "r", "password", "token", "secret", "apiKey", "key", "user", "value", "props", "state"]


def minified(rng):
    """Code that handles secrets without having one."""
    parts = []
    for _ in range(PER_EXCHANGE * 4):
        a, b, d = (rng.choice(IDENTS) for _ in range(3))
        parts.append(
            rng.choice(
                [
                    f"{a}.{b}={d}.target.value",
                    f"this.{a}=function({b}){{return {d}.get({b})}}",
                    f'var {a}={b}.{d}||""',
                    f"{{{a}:{b},{d}:{d}.{a}}}",
                    f'if(!{a}.password)throw new Error("password is required")',
                    f'fetch("/api/{a}",{{headers:{{Authorization:"Bearer "+{b}}}}})',
                    f'{a}.setAttribute("type","password")',
                    'localStorage.getItem("access_token")',
                    f'{a}({d},{rng.randrange(9999)},"{chars(rng, LOWER, 6)}")',
                    f"const {a}=process.env.API_SECRET_KEY",
                    f"password={a}.{b};token={a}.getToken()",
                    'e.password===e.confirmPassword?t():n("passwords do not match")',
                    f"{a}.token=null,{a}.secret=void 0",
                    f'_s("{chars(rng, ALNUM, 20)}",!1,{d})',
                    f'{rng.randrange(9999)}:function({a},{b},{d}){{"use strict"}}',
                ]
            )
        )
    return served(rng, "!function(){" + ";".join(parts) + "}();", "application/javascript", len(parts), ".min.js")


def image_data(rng):
    images = [
        f"data:image/{rng.choice(['png', 'jpeg', 'gif', 'webp'])};base64,"
        + base64.b64encode(b"\x89PNG\r\n\x1a\n" + rng.randbytes(rng.randrange(100, 1500))).decode()
        for _ in range(PER_EXCHANGE)
    ]
    if rng.random() < 0.5:
        text = "".join(f".i{i}{{background:url({image})}}\n" for i, image in enumerate(images))
        return served(rng, text, "text/css", PER_EXCHANGE, ".css")
    return c.both_ways(rng, json.dumps([{"thumb": image} for image in images]), "application/json"), PER_EXCHANGE


def binary(rng):
    """Images, archives and the like as they are."""
    body = rng.choice(
        [
            lambda: b"\x89PNG\r\n\x1a\n" + rng.randbytes(3000),
            lambda: gzip.compress(rng.randbytes(2000), mtime=0),
            lambda: b"wOF2" + rng.randbytes(3000),
            lambda: b"\xff\xd8\xff\xe0" + rng.randbytes(4000),
        ]
    )()
    return served(rng, body, "application/octet-stream", 1)


def etags(rng):
    return headers(
        rng,
        lambda r: r.choice(
            [
                ("ETag", f'"{chars(r, HEX, 32)}"'),
                ("ETag", f'W/"{chars(r, HEX, 8)}-{chars(r, HEX, 11)}"'),
                ("If-None-Match", f'"{chars(r, B64, 27)}="'),
                ("Content-MD5", base64.b64encode(r.randbytes(16)).decode()),
                ("Digest", "sha-256=" + base64.b64encode(r.randbytes(32)).decode()),
                ("X-Amz-Version-Id", chars(r, ALNUM + "._", 32)),
                ("x-goog-hash", "crc32c=" + base64.b64encode(r.randbytes(4)).decode()),
                ("Last-Modified", "Tue, 05 Mar 2024 09:00:00 GMT"),
            ]
        ),
    )


def traces(rng):
    return headers(
        rng,
        lambda r: r.choice(
            [
                ("traceparent", f"00-{chars(r, HEX, 32)}-{chars(r, HEX, 16)}-01"),
                ("X-Amzn-Trace-Id", f"Root=1-{chars(r, HEX, 8)}-{chars(r, HEX, 24)}"),
                ("X-B3-TraceId", chars(r, HEX, 32)),
                ("X-Cloud-Trace-Context", f"{chars(r, HEX, 32)}/{r.randrange(10**18)};o=1"),
                ("uber-trace-id", f"{chars(r, HEX, 16)}:{chars(r, HEX, 16)}:0:1"),
                ("X-Correlation-Id", uuid(r)),
                ("CF-RAY", chars(r, HEX, 16) + "-FRA"),
                ("X-Request-Id", chars(r, ALNUM, 26)),
                ("x-amz-request-id", chars(r, UPPER + DIGITS, 16)),
                ("x-amz-id-2", base64.b64encode(r.randbytes(56)).decode()),
                ("sentry-trace", f"{chars(r, HEX, 32)}-{chars(r, HEX, 16)}-1"),
            ]
        ),
    )


def csrf(rng):
    """Tokens against forged requests: worth nothing without the session."""
    value = rng.choice(
        [chars(rng, ALNUM, 64), b64url(rng.randbytes(32)), base64.b64encode(rng.randbytes(64)).decode(), uuid(rng)]
    )
    name = rng.choice(
        [
            "csrf_token",
            "authenticity_token",
            "_csrf",
            "csrfmiddlewaretoken",
            "__RequestVerificationToken",
            "csrfToken",
            "_token_csrf",
            "xsrf_token",
        ]
    )
    return rng.choice(
        [
            lambda: (c.in_form(rng, name, value), 1),
            lambda: (c.in_json(rng, name, value), 1),
            lambda: served(
                rng,
                f'<html><head><meta name="csrf-token" content="{value}"></head><form>'
                f'<input type="hidden" name="{name}" value="{value}"></form></html>',
                "text/html",
                2,
            ),
            lambda: headers(
                rng, lambda r: (r.choice(["X-CSRF-Token", "X-XSRF-TOKEN", "X-CSRFToken"]), chars(r, ALNUM, 40)), 2
            ),
            lambda: (c.in_cookie(rng, rng.choice(["csrftoken", "XSRF-TOKEN", "_csrf"]), value), 1),
        ]
    )()


def nonces(rng):
    return headers(
        rng,
        lambda r: r.choice(
            [
                ("Content-Security-Policy", f"script-src 'self' 'nonce-{base64.b64encode(r.randbytes(16)).decode()}'"),
                ("Content-Security-Policy", f"script-src 'sha256-{base64.b64encode(r.randbytes(32)).decode()}'"),
                ("Sec-WebSocket-Key", base64.b64encode(r.randbytes(16)).decode()),
                ("Sec-WebSocket-Accept", base64.b64encode(r.randbytes(20)).decode()),
                ("WWW-Authenticate", f'Digest realm="a", nonce="{chars(r, HEX, 32)}", opaque="{chars(r, HEX, 32)}"'),
                ("Replay-Nonce", chars(r, B64URL, 43)),
                ("Public-Key-Pins", f'pin-sha256="{base64.b64encode(r.randbytes(32)).decode()}"'),
            ]
        ),
    )


def integrity(rng):
    lines = "".join(
        f'<script src="/js/{chars(rng, LOWER, 6)}.js" '
        f'integrity="sha384-{base64.b64encode(rng.randbytes(48)).decode()}" '
        f'crossorigin="anonymous"></script>\n'
        for _ in range(PER_EXCHANGE)
    )
    lock = json.dumps(
        {
            "packages": {
                f"node_modules/{chars(rng, LOWER, 7)}": {
                    "version": f"{rng.randrange(9)}.{rng.randrange(20)}.0",
                    "resolved": "https://registry.example/x/-/x.tgz",
                    "integrity": "sha512-" + base64.b64encode(rng.randbytes(64)).decode(),
                }
                for _ in range(PER_EXCHANGE)
            }
        }
    )
    return rng.choice(
        [
            lambda: served(rng, lines, "text/html", PER_EXCHANGE),
            lambda: served(rng, lock, "application/json", PER_EXCHANGE),
        ]
    )()


def versions(rng):
    return values(
        rng,
        ["version", "build", "tag", "release", "user_agent", "image"],
        lambda r: r.choice(
            [
                f"{r.randrange(20)}.{r.randrange(40)}.{r.randrange(99)}",
                f"{r.randrange(9)}.{r.randrange(9)}.{r.randrange(9)}-rc.{r.randrange(9)}+{chars(r, HEX, 7)}",
                f"v2024.{r.randrange(1, 13):02d}.{r.randrange(1, 29):02d}-{r.randrange(9999)}",
                f"registry.local/app@sha256:{chars(r, HEX, 64)}",
                f"app-{r.randrange(9)}.{r.randrange(99)}.{r.randrange(9)}-{chars(r, HEX, 12)}",
                f"10.0.{r.randrange(99999)}.{r.randrange(9999)}",
            ]
        ),
    )


def phone_like(rng):
    """Numbers with the length of phone numbers, in fields that are for other things."""
    return values(
        rng,
        [
            "order_no",
            "tracking",
            "isbn",
            "ean",
            "start",
            "timestamp",
            "offset",
            "dimensions",
            "bytes",
            "coords",
            "range",
            "part_number",
            "sku",
        ],
        lambda r: r.choice(
            [
                str(r.randrange(10**9, 10**11)),
                f"978-{r.randrange(10)}-{r.randrange(10**3):03d}-{r.randrange(10**5):05d}-{r.randrange(10)}",
                f"{r.randrange(-90, 90)}.{r.randrange(10**6):06d},{r.randrange(-180, 180)}.{r.randrange(10**6):06d}",
                f"{r.randrange(1000, 9999)}-{r.randrange(10, 99)}-{r.randrange(1000, 9999)}",
                f"+{r.randrange(1, 99)}.{r.randrange(99)}%",
                f"{r.randrange(10**6)}-{r.randrange(10**6)}/{r.randrange(10**7)}",
                f"2024-03-{r.randrange(1, 29):02d}T10:11:12+0{r.randrange(9)}:00",
                f"{r.randrange(2000)}x{r.randrange(2000)}+{r.randrange(999)}+{r.randrange(999)}",
                str(r.randrange(1_600_000_000, 1_800_000_000)),
                f"{r.randrange(100, 999)}.{r.randrange(100, 999)}.{r.randrange(1000, 9999)}.{r.randrange(10)}",
            ]
        ),
    )


def order_ids(rng):
    """Numbers as long as those of cards; one in ten has the right check digit by chance."""
    return values(
        rng,
        ["order_id", "invoice", "tracking_number", "snowflake", "message_id", "ticket", "shipment"],
        lambda r: r.choice(
            [
                chars(r, "123456789", 1) + chars(r, DIGITS, 15),
                chars(r, "123456789", 1) + chars(r, DIGITS, 17),
                "1Z" + chars(r, UPPER + DIGITS, 16),
                str(r.randrange(10**17, 2 * 10**18)),
                f"{r.randrange(10**4, 10**5)}-{r.randrange(10**7):07d}-{r.randrange(10**7):07d}",
                chars(r, UPPER, 2) + chars(r, DIGITS, 9) + chars(r, UPPER, 2),
                f"INV-{r.randrange(10**8)}",
            ]
        ),
    )


def payment_ids(rng):
    """The same near words on payment."""
    items = [
        {
            "payment_id": chars(rng, "123456789", 1) + chars(rng, DIGITS, 15),
            "card": {"brand": "visa", "last4": chars(rng, DIGITS, 4)},
            "amount": rng.randrange(10**6),
            "created": rng.randrange(1_600_000_000_000, 1_800_000_000_000),
        }
        for _ in range(PER_EXCHANGE)
    ]
    return c.both_ways(rng, json.dumps({"payments": items}), "application/json"), PER_EXCHANGE


PROSE = [
    "Use the password reset link to choose a new password.",
    "Your password must have at least 12 characters.",
    "Password: at least one number is required.",
    "The secret of good soup is time; the key is salt.",
    "Tokens are refreshed every hour, so the token of the day is kept.",
    "If you forgot your password, contact support.",
    "An API key is required: see the documentation on keys and secrets.",
    "Passwords are never sent by e-mail.",
    "Authorization: the board authorized the basic plan for bearers of the card.",
    "Please enter your PIN at the terminal.",
    "The session ID is shown at the top; the session starts at 10:30.",
    "Pass: the compass pointed north, bypassing town.",
    "Credit card payments are accepted; cards are charged monthly.",
    "Call us between 9 and 17 o'clock, phone lines are open.",
    "Secret: a novel. Token: a coin. Credentials: what you show.",
    "password, passphrase and key are synonyms here",
]


def prose(rng):
    text = " ".join(rng.choice(PROSE + [c.words(rng, 12) + "."]) for _ in range(PER_EXCHANGE * 2))
    return rng.choice(
        [
            lambda: served(rng, f"<html><body><p>{text}</p></body></html>", "text/html", PER_EXCHANGE * 2),
            lambda: (c.in_json(rng, "text", text), PER_EXCHANGE * 2),
        ]
    )()


LABELS = {
    "password": "Password",
    "new_password": "New password",
    "forgot_password": "Forgot your password?",
    "confirm_password": "Confirm password",
    "password_hint": "At least 8 characters",
    "token": "Token",
    "secret": "Secret",
    "api_key": "API key",
    "passwordMismatch": "Passwords do not match",
    "password_reset": "Reset your password",
    "login.password": "Passwort eingeben",
    "pin": "PIN",
    "otp": "Enter the code",
    "phone": "Phone number",
    "email": "E-mail address",
    "card_number": "Card number",
    "cvv": "Security code",
    "session_id": "Session",
    "access_token": "Access token",
    "client_secret": "Client secret",
    "password.placeholder": "Enter your password",
}


def labels(rng):
    picked = rng.sample(sorted(LABELS.items()), PER_EXCHANGE)
    return c.both_ways(rng, c.dumps(rng, {"locale": "en", "messages": dict(picked)}), "application/json"), PER_EXCHANGE


def forms(rng):
    text = (
        '<form method="post" action="/login"><label for="user">User</label><input id="user" name="user">'
        '<label for="password">Password</label><input type="password" id="password" name="password" '
        'autocomplete="current-password" required><input type="hidden" name="token" value="">'
        "<button>Sign in</button></form>"
    )
    return served(rng, f"<html>{text}<p>{c.words(rng, 20)}</p></html>", "text/html", 3)


PLACEHOLDERS = [
    "YOUR_API_KEY",
    "your-api-key-here",
    "<token>",
    "${API_TOKEN}",
    "{{ secret }}",
    "xxxxxxxxxxxxxxxx",
    "********",
    "changeme",
    "REPLACE_ME",
    "<your password>",
    "$PASSWORD",
    "%s",
    "[FILTERED]",
    "(redacted)",
    "null",
    "undefined",
    "TODO",
    "insert_token_here",
    "process.env.TOKEN",
    "••••••••",
    "string",
    "example-secret",
    "AKIAIOSFODNN7EXAMPLE",
    "YOUR_SECRET_TOKEN_HERE",
]


def placeholders(rng):
    names = ["api_key", "token", "secret", "client_secret", "access_token", "auth", "key"]
    make = [p for p in PLACEHOLDERS if p not in ("changeme", "TODO")]
    return rng.choice(
        [
            lambda: values(rng, names, lambda r: r.choice(make)),
            lambda: served(
                rng, "".join(f"{name.upper()}={rng.choice(make)}\n" for name in names), "text/plain", len(names)
            ),
            lambda: values(
                rng,
                ["password", "db_password"],
                lambda r: r.choice(["********", "<your password>", "${DB_PASSWORD}", "[FILTERED]", None, True, ""]),
            ),
        ]
    )()


def css(rng):
    text = "".join(
        f".{chars(rng, LOWER, 6)}__{chars(rng, ALNUM, 5)}{{color:#{chars(rng, HEX, 6)};"
        f"margin:{rng.randrange(99)}px {rng.randrange(9)}.{rng.randrange(9)}em;"
        f"transform:matrix({rng.random():.6f},0,0,{rng.random():.6f},0,0)}}"
        f"@media(min-width:{rng.randrange(300, 1900)}px){{.a{{top:0}}}}"
        for _ in range(PER_EXCHANGE * 2)
    )
    return served(rng, text, "text/css", PER_EXCHANGE * 2, ".css")


def assets(rng):
    def name(r):
        return r.choice(
            [
                f"/static/js/main.{chars(r, HEX, 8)}.chunk.js",
                f"/_next/static/{chars(r, B64URL, 21)}/_buildManifest.js",
                f"/img/logo@2x.{chars(r, HEX, 20)}.png",
                f"/fonts/{chars(r, LOWER, 8)}-{chars(r, HEX, 32)}.woff2",
                "icon@3x.svg",
                f"/npm/@scope/pkg@{r.randrange(9)}.{r.randrange(9)}.{r.randrange(9)}/dist/index.min.js",
                f"/assets/{uuid(r)}.jpg",
                f"/cache/{chars(r, HEX, 2)}/{chars(r, HEX, 40)}",
                f"/password-reset.{chars(r, HEX, 8)}.css",
                f"/token/secret/api-key.{chars(r, HEX, 8)}.js",
            ]
        )

    return rng.choice(
        [
            lambda: values(rng, ["src", "url", "path", "file", "href"], name),
            lambda: ({"request": c.request(rng, target=name(rng)), "response": c.response(rng)}, 1),
        ]
    )()


def protobuf(rng):
    def field(r):
        return b"".join(
            bytes([(r.randrange(1, 15) << 3) | 2, n])
            + (r.randbytes(n) if r.random() < 0.5 else chars(r, LOWER, n).encode())
            for n in [r.randrange(1, 40) for _ in range(6)]
        )

    return rng.choice(
        [
            lambda: served(rng, field(rng), "application/grpc", 6),
            lambda: values(
                rng, ["proto", "state", "blob", "descriptor"], lambda r: base64.b64encode(field(r)).decode()
            ),
        ]
    )()


def cursors(rng):
    """Where to go on in a list."""
    return values(
        rng,
        [
            "nextPageToken",
            "next_token",
            "NextContinuationToken",
            "page_token",
            "cursor",
            "syncToken",
            "nextToken",
            "continuationToken",
            "resume_token",
            "after",
            "etag_token",
        ],
        lambda r: r.choice(
            [
                b64url(r.randbytes(24)),
                base64.b64encode(json.dumps({"id": r.randrange(10**9), "ts": "2024-03-12"}).encode()).decode(),
                chars(r, ALNUM, 40),
                base64.b64encode(r.randbytes(40)).decode(),
            ]
        ),
    )


def plain_cookies(rng):
    jar = rng.sample(
        [
            ("_ga", f"GA1.2.{chars(rng, DIGITS, 10)}.{chars(rng, DIGITS, 10)}"),
            ("_gid", f"GA1.2.{chars(rng, DIGITS, 9)}.{chars(rng, DIGITS, 10)}"),
            ("_fbp", f"fb.1.{chars(rng, DIGITS, 13)}.{chars(rng, DIGITS, 10)}"),
            ("theme", "dark"),
            ("lang", "en-GB"),
            ("tz", "Europe/Berlin"),
            ("AWSALB", base64.b64encode(rng.randbytes(90)).decode()),
            ("consent", b64url(rng.randbytes(20))),
            ("ab_bucket", str(rng.randrange(99))),
            ("visitor_id", uuid(rng)),
            ("optimizelyEndUserId", f"oeu{chars(rng, DIGITS, 13)}r0.{chars(rng, DIGITS, 16)}"),
            ("_hjFirstSeen", "1"),
            ("cart", b64url(rng.randbytes(12))),
            ("csrftoken", chars(rng, ALNUM, 32)),
            ("i18n_redirected", "en"),
            ("_gcl_au", f"1.1.{chars(rng, DIGITS, 9)}.{chars(rng, DIGITS, 10)}"),
        ],
        PER_EXCHANGE,
    )
    return {
        "request": c.request(rng, headers=[("Cookie", "; ".join("=".join(pair) for pair in jar))]),
        "response": c.response(rng),
    }, PER_EXCHANGE


def public_keys(rng):
    body = base64.b64encode(rng.randbytes(rng.randrange(90, 600))).decode()
    lines = "\n".join(body[i : i + 64] for i in range(0, len(body), 64))
    kind = rng.choice(["CERTIFICATE", "PUBLIC KEY", "CERTIFICATE REQUEST", "RSA PUBLIC KEY"])
    text = f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----\n"
    return (
        rng.choice(
            [
                lambda: c.both_ways(rng, text, "application/x-pem-file"),
                lambda: c.in_json(rng, "certificate", text),
                lambda: c.in_json(
                    rng, "key", "ssh-ed25519 " + base64.b64encode(rng.randbytes(51)).decode() + " build@host"
                ),
            ]
        )(),
        1,
    )


def jwks(rng):
    keys = [
        {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": chars(rng, HEX, 40),
            "n": b64url(rng.randbytes(256)),
            "e": "AQAB",
            "x5c": [base64.b64encode(rng.randbytes(400)).decode()],
            "x5t": b64url(rng.randbytes(20)),
        }
        for _ in range(2)
    ]
    return c.both_ways(rng, json.dumps({"keys": keys}), "application/json"), 8


def discovery(rng):
    base = "https://login.city-library.org/" + uuid(rng)
    data = {
        "issuer": base,
        "token_endpoint": base + "/oauth2/token",
        "jwks_uri": base + "/keys",
        "authorization_endpoint": base + "/authorize",
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
        "grant_types_supported": ["password", "refresh_token", "authorization_code"],
        "id_token_signing_alg_values_supported": ["RS256", "none"],
        "tenant": uuid(rng),
    }
    return c.both_ways(rng, c.dumps(rng, data), "application/json"), 8


def schema(rng):
    data = {
        "components": {
            "schemas": {
                "Login": {
                    "type": "object",
                    "required": ["username", "password"],
                    "properties": {
                        "password": {"type": "string", "format": "password", "minLength": 12},
                        "token": {"type": "string", "description": "Token from /login"},
                        "apiKey": {"type": "string", "example": "string"},
                        "email": {"type": "string", "format": "email", "example": "user@example.com"},
                        "cardNumber": {"type": "string", "pattern": "^[0-9]{16}$"},
                        "phone": {"type": "string", "pattern": "^\\+[1-9]\\d{1,14}$"},
                    },
                }
            },
            "securitySchemes": {
                "api_key": {"type": "apiKey", "name": "X-API-Key", "in": "header"},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
        "x-id": uuid(rng),
        "note": c.words(rng, 5),
    }
    return c.both_ways(rng, c.dumps(rng, data), "application/json"), 8


def graphql(rng):
    query = (
        "mutation Login($email: String!, $password: String!) { login(email: $email, password: $password) "
        "{ token refreshToken user { id } } }"
    )
    data = {
        "operationName": "Login",
        "query": query,
        "extensions": {"persistedQuery": {"version": 1, "sha256Hash": chars(rng, HEX, 64)}},
    }
    return {
        "request": c.request(rng, body=json.dumps(data).encode(), kind="application/json"),
        "response": c.response(rng),
    }, 4


def errors(rng):
    texts = [
        "invalid password",
        "token expired",
        "missing Authorization header",
        "invalid api key",
        "password too short",
        "wrong PIN",
        "client_secret is required",
        "Bearer token is malformed",
        "session not found",
        "secret not set",
    ]
    items = [
        {
            "code": rng.choice(
                ["password_incorrect", "token_expired", "invalid_grant", "invalid_token", "password.too_short"]
            ),
            "field": rng.choice(["password", "token", "api_key", "otp"]),
            "message": rng.choice(texts),
            "trace": chars(rng, HEX, 32),
        }
        for _ in range(PER_EXCHANGE)
    ]
    lines = [
        ("WWW-Authenticate", rng.choice(['Bearer realm="api", error="invalid_token"', 'Basic realm="Restricted area"']))
    ]
    return {
        "request": c.request(rng),
        "response": c.response(rng, headers=lines, body=json.dumps({"errors": items}).encode(), status=401),
    }, PER_EXCHANGE


def source_maps(rng):
    text = json.dumps(
        {
            "version": 3,
            "file": "app.js",
            "mappings": ";".join("A" + chars(rng, "ABCDEFGHIJKLMNOPQ,gCDS", 12) for _ in range(120)),
            "sources": [
                f"webpack:///./src/{name}.ts" for name in ("password-field", "token.service", "secret", "auth")
            ],
            "names": IDENTS,
        }
    )
    return served(rng, text, "application/json", PER_EXCHANGE, ".js.map")


def metrics(rng):
    text = "".join(
        f'http_requests_total{{path="/{rng.choice(["token", "password", "keys"])}",'
        f'pod="app-{chars(rng, HEX, 10)}-{chars(rng, LOWER, 5)}"}} '
        f"{rng.randrange(10**12)}\n"
        f"process_start_time_seconds {rng.randrange(1_600_000_000, 1_800_000_000)}.{rng.randrange(99)}\n"
        f"auth_token_cache_hits {rng.randrange(10**9)}\n"
        for _ in range(PER_EXCHANGE)
    )
    return served(rng, text, "text/plain", PER_EXCHANGE * 2)


def manifests(rng):
    text = (
        f"apiVersion: v1\nkind: Pod\nmetadata:\n  name: app-{chars(rng, LOWER, 5)}\n  uid: {uuid(rng)}\nspec:\n"
        f"  containers:\n  - name: app\n    image: registry.local/app@sha256:{chars(rng, HEX, 64)}\n    env:\n"
        "    - name: DB_PASSWORD\n      valueFrom:\n        secretKeyRef:\n          name: db-credentials\n"
        "          key: password\n    - name: API_TOKEN\n      valueFrom:\n"
        "        secretKeyRef: {name: api, key: token}\n    volumeMounts:\n    - name: secret-volume\n"
        "      mountPath: /etc/secret\n  serviceAccountName: default-token-x7k2p\n"
    )
    return served(rng, text, "application/yaml", 6)


def ids(rng):
    return values(
        rng,
        [
            "id",
            "_id",
            "ref",
            "slug",
            "job",
            "resource",
            "objectId",
            "key",
            "cache_key",
            "s3_key",
            "routing_key",
            "primaryKey",
            "publicKey",
            "site_key",
            "idempotency_key",
        ],
        lambda r: r.choice(
            [
                chars(r, HEX, 24),
                "01" + chars(r, "0123456789ABCDEFGHJKMNPQRSTVWXYZ", 24),
                chars(r, B64URL, 21),
                chars(r, ALNUM, 11),
                "cus_" + chars(r, ALNUM, 14),
                "evt_" + chars(r, ALNUM, 24),
                "pk_live_" + chars(r, ALNUM, 24),
                "pi_" + chars(r, ALNUM, 24),
                "req_" + chars(r, ALNUM, 14),
                f"arn:aws:iam::{chars(r, DIGITS, 12)}:role/{chars(r, LOWER, 8)}",
                "AC" + chars(r, HEX, 32),
                f"users/{r.randrange(999)}/photo/{chars(r, HEX, 32)}",
                chars(r, HEXU, 16),
                "i-0" + chars(r, HEX, 16),
                "6L" + chars(r, B64URL, 38),
            ]
        ),
    )


def uuids(rng):
    return values(
        rng,
        [
            "id",
            "uuid",
            "request_id",
            "tenant",
            "device",
            "parent_id",
            "correlationId",
            "session_start_event",
            "user_id",
        ],
        uuid,
    )


def hashes(rng):
    return values(
        rng,
        ["md5", "sha256", "checksum", "digest", "hash", "fingerprint", "etag", "content_hash", "signature_input"],
        digest,
    )


def mail_like(rng):
    return values(
        rng,
        ["src", "remote", "ref", "package", "text", "from"],
        lambda r: r.choice(
            [
                f"icon@{r.choice('23')}x.png",
                "git@github.com:org/repo.git",
                f"@types/node@{r.randrange(9)}.{r.randrange(9)}.{r.randrange(9)}",
                "user@example.com",
                "noreply@example.org",
                f"pkg@{r.randrange(9)}.{r.randrange(99)}.{r.randrange(9)}",
                "a@b",
                f"svc@{chars(r, LOWER, 6)}",
                "@media screen",
                "john@localhost",
                f"sha256@{chars(r, HEX, 12)}",
                "name@test",
                f"{chars(r, HEX, 8)}@{r.randrange(99)}",
                "root@10.0.0.1",
                "bg@1.5x.webp",
            ]
        ),
    )


def iban_like(rng):
    return values(
        rng,
        ["reference", "code", "booking", "serial", "mrz", "account_ref", "vat_id"],
        lambda r: r.choice(
            [
                r.choice(["DE", "FR", "GB", "NL"]) + chars(r, DIGITS, 9),
                chars(r, UPPER, 2) + chars(r, DIGITS, 2) + chars(r, UPPER + DIGITS, 14),
                "DE" + chars(r, DIGITS, 20),
                chars(r, UPPER, 4) + " " + chars(r, DIGITS, 4) + " " + chars(r, DIGITS, 4),
                "P<UTO" + chars(r, UPPER, 10) + "<<" + chars(r, UPPER, 6),
            ]
        ),
    )


def id_like(rng):
    """Nine to eleven digits in fields that are for other things, beside words that name documents."""
    items = [
        {
            "customer": rng.choice(c.WORDS),
            rng.choice(["article", "branch", "meter_reading", "seq", "batch"]): chars(
                rng, DIGITS, rng.choice([9, 10, 11])
            ),
            "date": f"{rng.randrange(1, 29):02d}.{rng.randrange(1, 13):02d}.{rng.randrange(1950, 2024)}",
            "quantity": rng.randrange(10**6),
        }
        for _ in range(PER_EXCHANGE)
    ]
    return c.both_ways(rng, c.dumps(rng, {"rows": items}), "application/json"), PER_EXCHANGE * 2


def svg(rng):
    path = " ".join(f"{rng.choice('MLCQ')}{rng.random() * 999:.3f},{rng.random() * 999:.2f}" for _ in range(60))
    return served(
        rng,
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="{path}z"/></svg>',
        "image/svg+xml",
        PER_EXCHANGE,
    )


def tables(rng):
    text = "id,amount,account,time\n" + "".join(
        f"{rng.randrange(10**9)},{rng.random() * 999:.2f},"
        f"{chars(rng, DIGITS, 10)},{rng.randrange(1_600_000_000_000, 1_800_000_000_000)}\n"
        for _ in range(12)
    )
    return served(rng, text, "text/csv", 24)


def queries(rng):
    target = "/search?" + urllib.parse.urlencode(
        rng.sample(
            [
                ("q", "forgot password"),
                ("sort", "-created"),
                ("cursor", b64url(rng.randbytes(18))),
                ("fields", "id,token_type"),
                ("state", chars(rng, HEX, 32)),
                ("code_challenge", b64url(rng.randbytes(32))),
                ("client_id", uuid(rng)),
                ("utm_id", chars(rng, ALNUM, 12)),
                ("gclid", b64url(rng.randbytes(60))),
                ("v", chars(rng, HEX, 8)),
                ("nonce", chars(rng, ALNUM, 22)),
                ("response_type", "token"),
            ],
            PER_EXCHANGE,
        )
    )
    return {"request": c.request(rng, target=target), "response": c.response(rng)}, PER_EXCHANGE


def settings(rng):
    """Settings about secrets: numbers, names, switches, times."""
    members = rng.sample(
        [
            ("password_min_length", 12),
            ("passwordExpiresAt", "2024-09-01T00:00:00Z"),
            ("token_ttl", "15m"),
            ("tokenType", "bearer"),
            ("secret_name", "prod/db-credentials"),
            (
                "secretArn",
                f"arn:aws:secretsmanager:eu-west-1:{chars(rng, DIGITS, 12)}:secret:db-{chars(rng, ALNUM, 6)}",
            ),
            ("password_policy", "strong"),
            ("has_password", True),
            ("token_count", rng.randrange(99999)),
            ("max_tokens", 4096),
            ("total_tokens", rng.randrange(9999)),
            ("credential_type", "aws-iam-role"),
            ("key_id", chars(rng, HEX, 16)),
            ("password_file", "/run/secrets/db"),
            ("tokenUrl", "https://login.city-library.org/token"),
            ("session_timeout", 3600),
            ("public_key", "MCowBQYDK2VwAyEA" + chars(rng, B64, 43) + "="),
            ("secret_version", str(rng.randrange(99))),
            ("auth_method", "client_secret_post"),
            ("keyboard_layout", "de-latin1-nodeadkeys"),
            ("token_id", str(rng.randrange(10**6))),
        ],
        PER_EXCHANGE,
    )
    return c.both_ways(rng, c.dumps(rng, {**c.noise(rng), "auth": dict(members)}), "application/json"), PER_EXCHANGE


KINDS = {
    f.__name__.replace("_", "-"): f
    for f in (
        uuids,
        hashes,
        git,
        minified,
        image_data,
        binary,
        etags,
        traces,
        csrf,
        nonces,
        integrity,
        versions,
        phone_like,
        order_ids,
        payment_ids,
        prose,
        labels,
        forms,
        placeholders,
        css,
        assets,
        protobuf,
        cursors,
        plain_cookies,
        public_keys,
        jwks,
        discovery,
        schema,
        graphql,
        errors,
        source_maps,
        metrics,
        manifests,
        ids,
        mail_like,
        iban_like,
        id_like,
        svg,
        tables,
        queries,
        settings,
        *MORE,
    )
}


def negatives(rng, count):
    """Exchanges with at least count values, of each kind the same number of exchanges."""
    total, i, names = 0, 0, sorted(KINDS)
    while total < count or i % len(names):
        exchange, size = KINDS[names[i % len(names)]](rng)
        total += size
        yield {"exchange": exchange, "kind": names[i % len(names)], "values": size}
        i += 1
