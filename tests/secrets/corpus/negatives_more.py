# SPDX-License-Identifier: Apache-2.0
"""Further look-alikes, written when the rules were done: a first measure of them was one of unseen kinds."""

import base64
import json
import uuid as uuids

from . import carriers as c
from .negatives_base import PER_EXCHANGE, served
from .tokens import ALNUM, B64URL, DIGITS, HEX, HEXU, LOWER, UPPER, chars, uuid


def lines_of(rng, make, kind="text/plain", count=PER_EXCHANGE * 2):
    return served(rng, "".join(make(rng) + "\n" for _ in range(count)), kind, count)


def stack_traces(rng):
    names = ["TokenService", "PasswordEncoder", "SecretStore", "AuthFilter", "ApiKeyResolver", "SessionManager"]
    return lines_of(
        rng,
        lambda r: r.choice(
            [
                f"\tat com.shop.security.{r.choice(names)}.resolve({r.choice(names)}.java:{r.randrange(999)})",
                f'  File "/srv/app/{r.choice(["auth", "password"])}.py", line {r.randrange(999)}, in check_password',
                f"java.lang.IllegalStateException: token: expected <Bearer> but was <null> @{chars(r, HEX, 8)}",
                f"KeyError: 'access_token' (0x7f{chars(r, HEX, 10)})",
                f"goroutine {r.randrange(999)} [running]: main.(*{r.choice(names)}).Validate(0xc{chars(r, HEX, 9)})",
            ]
        ),
    )


def sql(rng):
    return lines_of(
        rng,
        lambda r: r.choice(
            [
                "SELECT id, password, token FROM users WHERE password = ? AND token = $1",
                "ALTER TABLE users ADD COLUMN password_hash varchar(255) NOT NULL, ADD api_key_id bigint;",
                "UPDATE sessions SET token=NULL, secret=DEFAULT WHERE id=:id",
                f"INSERT INTO audit (id, hash) VALUES ({r.randrange(10**9)}, '{chars(r, HEX, 40)}'); -- {uuid(r)}",
                "GRANT SELECT ON secrets TO reader; -- password=prompt",
                "CREATE USER app WITH PASSWORD :'password';",
            ]
        ),
    )


def other_languages(rng):
    texts = {
        "de": {
            "password": "Passwort",
            "forgot": "Passwort vergessen?",
            "new_password": "Neues Passwort",
            "token": "Zugangscode",
        },
        "fr": {
            "password": "Mot de passe",
            "forgot_password": "Mot de passe oublié ?",
            "pwd": "Saisissez le mot de passe",
        },
        "es": {"password": "Contraseña", "contrasena": "Introduzca su contraseña", "secret": "Secreto"},
        "pt": {"senha": "Digite sua senha", "password": "Senha", "confirmPassword": "Confirme a senha"},
        "nl": {"password": "Wachtwoord", "newPassword": "Nieuw wachtwoord kiezen", "pin": "Pincode"},
        "pl": {"password": "Hasło", "password_repeat": "Powtórz hasło", "token": "Kod"},
        "ja": {"password": "パスワード", "password_hint": "8文字以上", "api_key": "APIキー"},
        "sv": {"password": "Lösenord", "currentPassword": "Nuvarande lösenord"},
    }
    language = rng.choice(sorted(texts))
    data = {"lang": language, "login": texts[language], "build": chars(rng, HEX, 12)}
    return c.both_ways(rng, json.dumps(data, ensure_ascii=rng.random() < 0.5), "application/json"), len(texts[language])


def configuration(rng):
    """Settings that name where secrets are."""
    return lines_of(
        rng,
        lambda r: r.choice(
            [
                "ssl_certificate_key /etc/nginx/tls/key.pem;",
                "proxy_set_header Authorization $http_authorization;",
                "password_file = /run/secrets/db-password",
                "auth_basic_user_file /etc/nginx/htpasswd;",
                "  token: !vault |",
                "secret_key_base: <%= ENV['SECRET_KEY_BASE'] %>",
                "password = ${file:/etc/app/secret.properties:password}",
                "api_key: {{ .Values.apiKey | quote }}",
                "token = var.access_token",
                'client_secret = data.vault_generic_secret.app.data["client_secret"]',
                "export TOKEN=$(cat /var/run/token)",
                "requirepass $REDIS_PASSWORD",
                "PGPASSFILE=/srv/app/.pgpass",
                "session.cookie_name = app_session",
                f"max_token_age = {r.randrange(9999)}s",
            ]
        ),
    )


def known_hosts(rng):
    return lines_of(
        rng,
        lambda r: r.choice(
            [
                f"|1|{base64.b64encode(r.randbytes(20)).decode()}|{base64.b64encode(r.randbytes(20)).decode()} "
                + "ssh-ed25519 "
                + base64.b64encode(r.randbytes(51)).decode(),
                f"SHA256:{base64.b64encode(r.randbytes(32)).decode().rstrip('=')} build (ED25519)",
                "MD5:" + ":".join(chars(r, HEX, 2) for _ in range(16)),
                "Serial Number: " + ":".join(chars(r, HEX, 2) for _ in range(18)),
                "    " + ":".join(chars(r, HEX, 2) for _ in range(15)) + ":",
            ]
        ),
    )


def feeds(rng):
    items = "".join(
        f'<item><title>How to store a password</title><guid isPermaLink="false">{uuid(rng)}</guid>'
        f"<link>https://news.city-library.org/2024/03/password-managers-{rng.randrange(10**6)}</link>"
        f"<pubDate>Tue, {rng.randrange(1, 29):02d} Mar 2024 10:11:12 +0000</pubDate></item>"
        for _ in range(PER_EXCHANGE)
    )
    return served(
        rng,
        f'<?xml version="1.0"?><rss version="2.0"><channel>{items}</channel></rss>',
        "application/rss+xml",
        PER_EXCHANGE * 3,
    )


def pages(rng):
    """State that a page is rendered from, with tokens of the page's own."""
    state = {
        "props": {"pageProps": {"csrf": chars(rng, ALNUM, 36), "locale": "en", "user": None, "isAuthenticated": False}},
        "page": "/login",
        "query": {},
        "buildId": chars(rng, B64URL, 21),
        "assetPrefix": "",
        "gssp": True,
    }
    text = (
        f'<script id="__NEXT_DATA__" type="application/json">{json.dumps(state)}</script>'
        f'<script nonce="{chars(rng, ALNUM, 22)}">'
        f'window.dataLayer=[{{"event":"view","id":"G-{chars(rng, UPPER + DIGITS, 10)}"}}];'
        'var _token=document.querySelector("[name=_token]").value;</script>'
    )
    return served(rng, f"<html><body>{text}</body></html>", "text/html", 6)


def diffs(rng):
    return lines_of(
        rng,
        lambda r: r.choice(
            [
                f"index {chars(r, HEX, 7)}..{chars(r, HEX, 7)} 100644",
                f"@@ -{r.randrange(999)},7 +{r.randrange(999)},9 @@ def login(user, password):",
                "-    if password == stored_password:",
                "+    if hmac.compare_digest(password, stored):",
                "+    token = create_token(user, expires=EXPIRES)",
                f"commit {chars(r, HEX, 40)}",
                "+  apiKey: process.env.API_KEY,",
            ]
        ),
    )


def logs(rng):
    return lines_of(
        rng,
        lambda r: r.choice(
            [
                f'10.0.0.{r.randrange(255)} - - [12/Mar/2024:10:11:12 +0000] "POST /token HTTP/1.1" 200 99',
                f'level=info ts=1710238272.{r.randrange(10**6)} msg="password changed" user_id={r.randrange(10**8)}',
                f"INFO session opened for user {r.choice(['root', 'app'])}(uid=0) by (uid=0) seq={r.randrange(10**11)}",
                f"container={chars(r, HEX, 64)} image=sha256:{chars(r, HEX, 64)} state=running",
                f"WARN token bucket empty: tokens=0 rate={r.randrange(999)} key=user:{r.randrange(10**7)}",
                f"kernel: [{r.randrange(99999)}.{r.randrange(10**6)}] key type asymmetric registered, secret ring 3",
            ]
        ),
    )


def packages(rng):
    return lines_of(
        rng,
        lambda r: r.choice(
            [
                f"requests==2.31.{r.randrange(9)} --hash=sha256:{chars(r, HEX, 64)}",
                f"h1:{base64.b64encode(r.randbytes(32)).decode()}",
                f"github.com/pkg/errors v0.9.{r.randrange(9)}/go.mod h1:{base64.b64encode(r.randbytes(32)).decode()}",
                f'checksum = "{chars(r, HEX, 64)}"',
                f"  SHA256: {chars(r, HEX, 64)}",
                f"libsecret-1-0 (0.20.5-3) password-store (1.7.4-6) pass-otp ({r.randrange(9)}.{r.randrange(9)})",
            ]
        ),
    )


def calendars(rng):
    """Identifiers of events, and numbers of meetings."""
    return lines_of(
        rng,
        lambda r: r.choice(
            [
                f"UID:{uuids.UUID(int=r.getrandbits(128), version=4)}",
                f"DTSTAMP:2024{r.randrange(10, 13)}{r.randrange(10, 29)}T{r.randrange(10, 24)}1500Z",
                f"X-MEETING-NUMBER:{r.randrange(10**9, 10**10)}",
                f"SEQUENCE:{r.randrange(99)}",
                f"X-ENTRY-ID:{chars(r, HEXU, 112)}",
                "DESCRIPTION:Bring the password book\\, tokens for the bus and a key",
            ]
        ),
        "text/calendar",
    )


def telemetry(rng):
    spans = [
        {
            "traceId": chars(rng, HEX, 32),
            "spanId": chars(rng, HEX, 16),
            "name": "POST /oauth/token",
            "startTimeUnixNano": str(rng.randrange(1_700_000_000 * 10**9, 1_800_000_000 * 10**9)),
            "attributes": [
                {"key": "http.route", "value": {"stringValue": "/oauth/token"}},
                {"key": "enduser.id", "value": {"intValue": str(rng.randrange(10**9))}},
                {"key": "messaging.message.id", "value": {"stringValue": chars(rng, ALNUM, 32)}},
            ],
        }
        for _ in range(3)
    ]
    return c.both_ways(rng, json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}), "application/json"), 15


def shops(rng):
    """Orders with numbers of all kinds, and how they were paid."""
    items = [
        {
            "sku": chars(rng, UPPER, 3) + "-" + chars(rng, DIGITS, 8),
            "ean": chars(rng, DIGITS, 13),
            "serial": chars(rng, UPPER + DIGITS, 15),
            "payment": {
                "method": "card",
                "brand": "visa",
                "last4": chars(rng, DIGITS, 4),
                "exp": "12/29",
                "reference": chars(rng, DIGITS, 12),
            },
            "shipment": {"carrier": "dhl", "code": "JD" + chars(rng, DIGITS, 18)},
            "total": rng.randrange(10**5) / 100,
        }
        for _ in range(3)
    ]
    return c.both_ways(rng, c.dumps(rng, {"orders": items}), "application/json"), 15


def maps(rng):
    points = [[round(rng.uniform(-180, 180), 7), round(rng.uniform(-90, 90), 7)] for _ in range(30)]
    data = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": rng.randrange(10**10),
                "geometry": {"type": "LineString", "coordinates": points},
            }
        ],
    }
    return c.both_ways(rng, json.dumps(data), "application/geo+json"), 61


def chat(rng):
    texts = [
        "my password does not work any more :(",
        "which token do I need?",
        "the secret is out",
        "call me at 5, or 6",
        "key: it is under the mat",
        "pin the note to the board",
        "password: you know it",
        "Token, please!",
        "send it to the usual address",
        "card or cash?",
        "he passed: 7 of 9",
    ]
    items = [
        {
            "id": str(rng.randrange(10**18)),
            "author": rng.choice(c.WORDS),
            "text": rng.choice(texts),
            "nonce": str(rng.randrange(10**18)),
        }
        for _ in range(PER_EXCHANGE)
    ]
    return c.both_ways(rng, json.dumps(items), "application/json"), PER_EXCHANGE * 3


def encoded_blobs(rng):
    """Bytes in base64 that are no text: compressed, encrypted, models, fonts."""
    names = ["data", "ciphertext", "iv", "salt", "font", "model", "thumbnail", "wasm", "signature", "kid", "proof"]
    items = {
        rng.choice(names) + str(i): base64.b64encode(rng.randbytes(rng.choice([12, 16, 64, 900]))).decode()
        for i in range(8)
    }
    return c.both_ways(rng, json.dumps(items), "application/json"), 8


def vehicles(rng):
    """Numbers that are like those of people."""
    return lines_of(
        rng,
        lambda r: r.choice(
            [
                f"vin={chars(r, UPPER, 3)}{chars(r, UPPER + DIGITS, 14)}",
                f"imei={chars(r, DIGITS, 15)}",
                f"iccid=89{chars(r, DIGITS, 18)}",
                f"mac={':'.join(chars(r, HEX, 2) for _ in range(6))}",
                f"plate={chars(r, UPPER, 2)}-{chars(r, DIGITS, 3)}-{chars(r, UPPER, 2)}",
                f"isbn={chars(r, DIGITS, 10)}",
                f"flight={chars(r, UPPER, 2)}{r.randrange(9999)} seat={r.randrange(40)}{r.choice('ABCDEF')}",
                f"meter={chars(r, DIGITS, 11)}",
                f"zip={chars(r, DIGITS, 5)}-{chars(r, DIGITS, 4)}",
                f"case={r.randrange(99)}-{r.randrange(999)}-{r.randrange(9999)}",
            ]
        ),
    )


def remotes(rng):
    """User and host of places that are no addresses of mail."""
    host = f"{chars(rng, LOWER, 5)}.{rng.choice(['northwind.io', 'firma-ag.de', 'corp.co.uk'])}"
    user = rng.choice(["deploy", "ann", "svc-build", "root", "backup"])
    return lines_of(
        rng,
        lambda r: r.choice(
            [
                f"origin https://{user}@{host}/team/app.git (fetch)",
                f'{{"clone_url":"ssh://{user}@{host}:22/app.git"}}',
                f"{user}@{host}:/srv/git/{chars(r, LOWER, 6)}.git",
                f"rsync -az build/ {user}@{host}:~/www/",
                f"repo = git@{host}:team/{chars(r, LOWER, 6)}.git",
                f"DATABASE_URL=postgres://app:${{PASSWORD}}@{host}:5432/app",
                f'{{"dsn":"mysql://app:password@{host}/shop"}}',
                f"<script src=/npm/{chars(r, LOWER, 6)}@{r.randrange(9)}.{r.randrange(99)}.{r.randrange(9)}/x.min.js>",
                f"docker pull {host}/app@sha256:{chars(r, HEX, 64)}",
                f"next=https%3A%2F%2F{user}%40{host}%2F",
            ]
        ),
    )


def codes_and_states(rng):
    """What else is named so: vouchers, errors, countries, translations of them."""
    return lines_of(
        rng,
        lambda r: r.choice(
            [
                f"GET /cart?code={r.choice(['SUMMER', 'SPRING-SALE', 'WELCOME_BACK'])}&state={chars(r, ALNUM, 12)}",
                f"GET /shop?code={chars(r, UPPER, 4)}{r.randrange(99)}&state={r.choice(['CA', 'NY', 'TX'])}",
                f"GET /jobs?state=running&code={r.randrange(600)}&page={r.randrange(99)}",
                f"GET /cb?error=access_denied&error_code={r.randrange(10**8)}&state={chars(r, ALNUM, 24)}",
                f"GET /authorize?response_type=code&client_id={r.randrange(10**8)}&state={chars(r, ALNUM, 24)}",
                f"GET /zip?state=california&code={r.randrange(10**5):05d}",
                f"GET /products?barcode={chars(r, DIGITS, 20)}&state={chars(r, ALNUM, 12)}",
                f"GET /errors?code=invalid_request_uri_parameter&state={chars(r, ALNUM, 16)}",
            ]
        ),
    )


def paths_of_links(rng):
    """What else is behind such words in a path: ids, names of files, of steps and of articles."""
    words = ["reset", "invite", "verify", "confirm", "activate", "unsubscribe", "recovery"]
    return lines_of(
        rng,
        lambda r: r.choice(
            [
                f"GET /v1/{r.choice(words)}/{uuid(r)}",
                f"GET /api/invitations/{chars(r, ALNUM, 24)}/members",
                f"GET /{r.choice(words)}/step-{r.randrange(9)}-of-the-new-account-form",
                f"GET /{r.choice(words)}/{r.randrange(10**20):020d}",
                f"GET /static/{r.choice(words)}/main-{chars(r, HEX, 20)}.js",
                f"GET /{r.choice(words)}/{chars(r, HEX, 24)}",
                f"GET /help/{r.choice(words)}/{r.choice(['how-to-reset-the-password-of-another', 'WhyDoINeedToConfirmThis'])}",
                f"GET /{r.choice(words)}ed/{chars(r, ALNUM, 32)}",
            ]
        ),
    )


def not_phones(rng):
    """Numbers of phones' length in fields whose names end like those for phones."""
    names = ["hotel", "motel", "intel", "excel", "microphone", "headphones", "automobile", "supercell", "telex"]
    items = {f"{rng.choice(['', 'num_'])}{rng.choice(names)}": rng.randrange(10**9, 10**11) for _ in range(8)}
    if rng.random() < 0.5:
        return c.both_ways(rng, c.dumps(rng, items), "application/json"), 8
    return served(rng, "&".join(f"{name}={value}" for name, value in items.items()), "text/plain", 8)


MORE = (
    stack_traces,
    sql,
    other_languages,
    configuration,
    known_hosts,
    feeds,
    pages,
    diffs,
    logs,
    packages,
    calendars,
    telemetry,
    shops,
    maps,
    chat,
    encoded_blobs,
    vehicles,
    remotes,
    not_phones,
    codes_and_states,
    paths_of_links,
)
