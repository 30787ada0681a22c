# SPDX-License-Identifier: Apache-2.0
"""Labelled secrets in exchanges: one in each, of every rule the same number."""

import base64
import json

from . import carriers as c
from .carriers_more import ANYWHERE_MORE, BARE_MORE, NAMED_MORE, in_soap
from .personal import PERSONAL

from .tokens import (
    ALNUM, B64, B64URL, DIGITS, HEX, HEXU, LOWER, TOKENS, UPPER, azure_storage, b64url, chars, pem, uuid,
)  # fmt: skip

PLAIN_WORDS = ["summer", "dragon", "sunshine", "monkey", "winter", "tiger", "coffee", "purple", "guitar", "marble"]
USERS = ["alice", "bob", "carol", "svc-deploy", "admin", "m.keller"]


def password(rng):
    """As people and password managers choose them."""
    return rng.choice(
        [
            lambda: rng.choice(PLAIN_WORDS) + str(rng.randrange(10, 9999)),
            lambda: rng.choice(PLAIN_WORDS).capitalize() + str(rng.randrange(100)) + rng.choice("!#*."),
            lambda: chars(rng, ALNUM, rng.randrange(8, 20)),
            lambda: chars(rng, ALNUM + "!#$%*+-.=?@^_~", rng.randrange(12, 24)),
            lambda: "-".join(rng.sample(PLAIN_WORDS, 3)),
            lambda: " ".join(rng.sample(PLAIN_WORDS, 4)),
            lambda: chars(rng, LOWER, rng.randrange(6, 10)),
            lambda: "P@ss" + chars(rng, DIGITS, 4),
        ]
    )()


def one_line(make, unsafe=" &<>#\"'\\,;{}[]()"):
    """A value that a line of YAML or a shell takes without quotes."""

    def result(rng):
        while True:
            value = make(rng)
            if not set(value) & set(unsafe) and value[0] not in "*!@%&#-?=^~$.+":
                return value

    return result


PASSWORD_NAMES = [
    "password",
    "passwd",
    "pwd",
    "userPassword",
    "user_password",
    "newPassword",
    "db_password",
    "password_confirmation",
    "Password",
    "passphrase",
    "currentPassword",
    "adminPwd",
    "user[password]",
    "login-password",
    "j_password",
    "passwort",
]
CLIENT_SECRETS = [
    "client_secret",
    "clientSecret",
    "app_secret",
    "consumer_secret",
    "signing_secret",
    "webhookSecret",
    "secret_key",
    "api_secret",
    "jwt_secret",
]
API_KEYS = [
    "api_key",
    "apiKey",
    "apikey",
    "X-Api-Key",
    "access_key",
    "service_key",
    "license_key",
    "encryption_key",
    "appKey",
    "subscription_key",
    "accountKey",
]
ACCESS_TOKENS = [
    "access_token",
    "accessToken",
    "refresh_token",
    "auth_token",
    "session_token",
    "id_token",
    "apiToken",
    "X-Auth-Token",
    "sessionId",
    "session_id",
    "user_token",
    "bearer_token",
]
GENERIC = [
    "token",
    "app_secret_value",
    "vault_secret",
    "secret",
    "db_credential",
    "master-key",
    "vapid_key",
    "the_token",
]
CODES = ["otp", "pin", "mfa_code", "otp_code", "verification_code", "totp", "sms_code"]

RANDOM_VALUES = [
    lambda r: chars(r, ALNUM, r.randrange(24, 48)),
    lambda r: chars(r, HEX, r.choice([32, 40, 64])),
    lambda r: base64.b64encode(r.randbytes(r.choice([24, 32, 33]))).decode(),
    lambda r: b64url(r.randbytes(r.choice([24, 32]))),
]


def random_value(rng):
    """Not by chance without a digit, as no issuer's is."""
    while True:
        value = rng.choice(RANDOM_VALUES)(rng)
        if sum(char.isdigit() for char in value) >= 2:
            return value


def named(names, make, places=None):
    def exchange(rng):
        value, name = make(rng), rng.choice(names)
        place = rng.choice(places or c.NAMED + NAMED_MORE)
        if place in (c.in_yaml, c.in_env, *BARE_MORE):
            value = one_line(make)(rng)
        if place in (c.in_xml, in_soap) and ("[" in name or name[0].isdigit()):
            place = c.in_json
        if place is c.in_multipart and not value.strip():
            place = c.in_json
        return place(rng, name, value), value

    return exchange


def anywhere(make):
    def exchange(rng):
        value = make(rng)
        return rng.choice(c.ANYWHERE + ANYWHERE_MORE)(rng, rng.choice(c.NEUTRAL), value), value

    return exchange


def in_headers(make):
    """make(rng) -> (headers, value); sent, or as text of a log of them."""

    def exchange(rng):
        headers, value = make(rng)
        if headers[0][0].lower().startswith("set-"):
            return {"request": c.request(rng), "response": c.response(rng, headers=headers)}, value
        return {"request": c.request(rng, headers=headers), "response": c.response(rng)}, value

    return exchange


def basic(rng):
    value = password(rng)
    pair = base64.b64encode(f"{rng.choice(USERS)}:{value}".encode()).decode()
    return [(rng.choice(["Authorization", "authorization", "Proxy-Authorization"]), "Basic " + pair)], value


def bearer(rng):
    value = rng.choice([chars(rng, ALNUM, 40), b64url(rng.randbytes(32)), uuid(rng), chars(rng, HEX, 64)])
    return [(rng.choice(["Authorization", "authorization"]), rng.choice(["Bearer ", "bearer "]) + value)], value


def other_scheme(rng):
    value = rng.choice([chars(rng, HEX, 40), chars(rng, ALNUM, 32), uuid(rng)])
    return [("Authorization", rng.choice(["Token ", "ApiKey ", "", "Key "]) + value)], value


SESSIONS = [
    ("sessionid", lambda r: chars(r, LOWER + DIGITS, 32)),
    ("PHPSESSID", lambda r: chars(r, LOWER + DIGITS, 26)),
    ("JSESSIONID", lambda r: chars(r, HEXU, 32)),
    ("JSESSIONID", lambda r: chars(r, HEXU, 32) + ".node1"),
    ("ASP.NET_SessionId", lambda r: chars(r, LOWER + DIGITS, 24)),
    ("laravel_session", lambda r: b64url(r.randbytes(180))),
    (
        "connect.sid",
        lambda r: "s%3A" + chars(r, B64URL, 32) + "." + chars(r, B64, 43).replace("+", "%2B").replace("/", "%2F"),
    ),
    ("_app_session", lambda r: b64url(r.randbytes(150)) + "--" + chars(r, HEX, 40)),
    ("session", lambda r: b64url(r.randbytes(40))),
    ("remember_token", lambda r: chars(r, ALNUM, 40)),
    ("__Host-session", lambda r: b64url(r.randbytes(32))),
    ("auth_token", lambda r: chars(r, HEX, 40)),
    ("wordpress_logged_in_" + "0123456789abcdef" * 2, lambda r: "editor%7C1712345678%7C" + chars(r, ALNUM, 43)),
    (".ASPXAUTH", lambda r: chars(r, HEXU, 128)),
    ("sid", lambda r: chars(r, ALNUM, 24)),
    ("__Secure-next-auth.session-token", uuid),
]


def session(rng):
    name, make = rng.choice(SESSIONS)
    value = make(rng)
    if rng.random() < 0.5:
        return [("Set-Cookie", f"{name}={value}; Path=/; HttpOnly; Secure; SameSite=Lax")], value
    return [("Cookie", "; ".join(["lang=en", f"{name}={value}", "theme=dark"][rng.randrange(2) :]))], value


def private_key(rng):
    eol = rng.choice(["\n", "\n", "\r\n"])
    text = pem(rng, eol)
    value = text.split("-----")[2]
    place = rng.choice([c.in_json, c.in_json_in_json, c.in_base64_in_json, c.in_multipart, raw, c.in_form])
    return place(rng, rng.choice(["private_key", "key", "pem", "data"]), text), value


def raw(rng, _name, text):
    return c.both_ways(rng, text, "application/x-pem-file")


def putty(rng):
    lines = [chars(rng, B64, 64) for _ in range(4)]
    key = chars(rng, B64, 64) + "\n" + chars(rng, B64, 40)
    text = "\n".join(
        [
            "PuTTY-User-" + "Key-File-" + rng.choice("23") + ": ssh-rsa",
            "Encryption: none",
            "Comment: key-2024",
            "Public-Lines: 4",
            *lines,
            "Private-Lines: 2",
            key,
            "Private-MAC: " + chars(rng, HEX, 40),
            "",
        ]
    )
    return raw(rng, None, text), key


def jwk(rng):
    value = b64url(rng.randbytes(32))
    key = {
        "kty": "EC",
        "crv": "P-256",
        "kid": chars(rng, HEX, 8),
        "x": b64url(rng.randbytes(32)),
        "y": b64url(rng.randbytes(32)),
        "d": value,
    }
    if rng.random() < 0.4:
        value = b64url(rng.randbytes(256))
        key = {"kty": "RSA", "e": "AQAB", "n": b64url(rng.randbytes(256)), "d": value}
    return c.both_ways(rng, json.dumps({"keys": [key]}), "application/json"), value


def wireguard(rng):
    value = base64.b64encode(rng.randbytes(32)).decode()
    text = (
        f"[Interface]\nAddress = 10.0.0.2/32\nPrivateKey = {value}\nDNS = 10.0.0.1\n\n[Peer]\nPublicKey = "
        f"{base64.b64encode(rng.randbytes(32)).decode()}\nAllowedIPs = 0.0.0.0/0\n"
    )
    return rng.choice([lambda: raw(rng, None, text), lambda: c.in_json(rng, "config", text)])(), value


def oauth_code(rng):
    """The redirect with an authorization code: what the server answers, or what the browser then asks for."""
    code = rng.choice([chars(rng, HEX, 20), chars(rng, ALNUM, 32), b64url(rng.randbytes(48)), uuid(rng)])
    pairs = [f"code={code}", f"state={rng.choice([b64url(rng.randbytes(16)), chars(rng, HEX, 32)])}"]
    pairs += rng.sample(["scope=openid%20email", "iss=https%3A%2F%2Fid.corp.test", "session_state=active"], 1)
    rng.shuffle(pairs)
    target = rng.choice(["/callback", "/oauth/redirect", "/auth/cb", "/signin-oidc"]) + "?" + "&".join(pairs)
    if rng.random() < 0.5:
        return {"request": c.request(rng, target=target), "response": c.response(rng)}, code
    headers = [("Location", "https://app.corp.test" + target)]
    return {"request": c.request(rng), "response": c.response(rng, headers=headers, body=b"", status=302)}, code


def link_token(rng):
    """A link as it is mailed, answered or followed."""
    token = rng.choice([chars(rng, HEX, 40), chars(rng, HEX, 64), b64url(rng.randbytes(32)), chars(rng, ALNUM, 24)])
    place = rng.choice(
        ["reset-password", "password/reset", "password_reset", "invite", "accept-invite", "verify-email", "verify/email"]
        + ["confirm", "confirmation/account", "activate", "magic-link", "login-link", "unsubscribe", "account/recovery"]
    )
    target = f"{rng.choice(['', '/v1', '/en/users', '/auth'])}/{place}/{token}"
    if rng.random() < 0.5:
        query = rng.choice(["", "?email=bob", "?from=mail&lang=de"])
        return {"request": c.request(rng, target=target + query), "response": c.response(rng)}, token
    url = f"https://app.corp.test{target}"
    return rng.choice([lambda: raw(rng, None, f"Follow {url} within an hour."), lambda: c.in_json(rng, "url", url)])(), token


def url_password(rng):
    value = one_line(password, " &<>#\"'\\,;{}[]()/@:?%")(rng)
    scheme, port = rng.choice(
        [
            ("postgres", 5432),
            ("mysql", 3306),
            ("amqp", 5672),
            ("redis", 6379),
            ("https", 443),
            ("mongodb+srv", 27017),
            ("ftp", 21),
        ]
    )
    url = f"{scheme}://{rng.choice(USERS[:5])}:{value}@db-{rng.randrange(9)}.svc:{port}/main"
    return (
        rng.choice([c.in_json, c.in_env, c.in_yaml, c.in_json_in_json])(
            rng, rng.choice(["DATABASE_URL", "url", "dsn"]), url
        ),
        value,
    )


def storage_key(rng):
    text, value = azure_storage(rng)
    return rng.choice([c.in_json, c.in_env, c.in_base64_in_json])(rng, "connection", text), value


def sas(rng):
    value = base64.b64encode(rng.randbytes(32)).decode()
    query = (
        "sv=2022-11-02&ss=bf&srt=sco&sp=rl&se=2025-01-01T00:00:00Z&st=2024-01-01T00:00:00Z&spr=https&sig="
        + value.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    )
    url = f"/container/file-{rng.randrange(99)}.csv?{query}"
    if rng.random() < 0.5:
        return {"request": c.request(rng, target=url), "response": c.response(rng)}, value
    return c.in_json(rng, "url", "https://acct.blob.core.windows.net" + url), value


def presigned(rng):
    value = chars(rng, HEX, 64)
    url = (
        "/bucket/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20240312T101112Z&X-Amz-Expires=900"
        f"&X-Amz-Signature={value}"
    )
    if rng.random() < 0.5:
        return {"request": c.request(rng, target=url), "response": c.response(rng)}, value
    return {
        "request": c.request(rng),
        "response": c.response(rng, headers=[("Location", "https://s3.aws.test" + url)], body=b"", status=302),
    }, value


def slack_webhook(rng):
    value = f"T{chars(rng, UPPER + DIGITS, 10)}/B{chars(rng, UPPER + DIGITS, 10)}/{chars(rng, ALNUM, 24)}"
    if rng.random() < 0.4:
        return {
            "request": c.request(rng, target="/services/" + value, body=b'{"text":"done"}', kind="application/json"),
            "response": c.response(rng),
        }, value
    return c.in_json(rng, "url", "https://hooks.slack.com/services/" + value), value


def discord_webhook(rng):
    value = chars(rng, B64URL, 68)
    target = f"/api/webhooks/{rng.randrange(10**17, 10**18)}/{value}"
    if rng.random() < 0.5:
        return {
            "request": c.request(rng, target=target, body=b'{"content":"x"}', kind="application/json"),
            "response": c.response(rng),
        }, value
    return c.in_json(rng, "url", "https://discord.com" + target), value


def teams_webhook(rng):
    value = f"{uuid(rng)}@{uuid(rng)}/IncomingWebhook/{chars(rng, HEX, 32)}/{uuid(rng)}"
    return c.in_json(rng, "url", "https://firm.webhook.office.com/webhookb2/" + value), value


def telegram_url(rng):
    value = TOKENS["telegram-bot-token"](rng)
    return {"request": c.request(rng, target=f"/bot{value}/sendMessage?chat_id=1"), "response": c.response(rng)}, value


def twitter(rng):
    value = "A" * 22 + chars(rng, ALNUM, 45) + "%3D" + chars(rng, ALNUM, 50)
    return {
        "request": c.request(rng, headers=[("Authorization", "Bearer " + value)]),
        "response": c.response(rng),
    }, value


def okta(rng):
    value = "00" + chars(rng, B64URL, 39) + rng.choice(ALNUM)
    return {"request": c.request(rng, headers=[("Authorization", "SSWS " + value)]), "response": c.response(rng)}, value


def header_value(name, make):
    return in_headers(lambda rng: (lambda value: ([(rng.choice([name, name.lower()]), value)], value))(make(rng)))


def with_words(make, names):
    """Its context: some tokens have no form of their own."""
    return named(names, make)


SPECIAL = {
    "aws-secret-access-key": named(
        ["aws_secret_access_key", "SecretAccessKey", "secretAccessKey", "aws_secret_key"],
        lambda r: base64.b64encode(r.randbytes(30)).decode(),
    ),
    "aws-session-token": named(
        ["SessionToken", "aws_session_token", "sessionToken", "X-Amz-Security-Token"],
        lambda r: base64.b64encode(b"\x17" + r.randbytes(r.choice([200, 300, 620]))).decode(),
    ),
    "aws-presigned-url": presigned,
    "azure-storage-key": storage_key,
    "azure-sas-token": sas,
    "azure-subscription-key": header_value("Ocp-Apim-Subscription-Key", lambda r: chars(r, HEX, 32)),
    "datadog-key": header_value("DD-API-KEY", lambda r: chars(r, HEX, 32)),
    "okta-token": okta,
    "slack-webhook": slack_webhook,
    "discord-webhook": discord_webhook,
    "teams-webhook": teams_webhook,
    "twitter-bearer-token": twitter,
    "postmark-token": header_value("X-Postmark-Server-Token", uuid),
    "discord-bot-token": in_headers(
        lambda r: (lambda v: ([("Authorization", "Bot " + v)], v))(TOKENS["discord-bot-token"](r))
    ),
    "private-key": private_key,
    "putty-private-key": putty,
    "jwk-private-key": jwk,
    "wireguard-private-key": wireguard,
    "basic-auth": in_headers(basic),
    "bearer-token": in_headers(bearer),
    "authorization-header": in_headers(other_scheme),
    "session-cookie": in_headers(session),
    "oauth-code": oauth_code,
    "link-token": link_token,
    "url-password": url_password,
    "password-field": named(PASSWORD_NAMES, password),
    "client-secret-field": named(CLIENT_SECRETS, random_value),
    "api-key-field": named(API_KEYS, random_value, c.NAMED + [c.in_header]),
    "access-token-field": named(ACCESS_TOKENS, random_value, c.NAMED + [c.in_header]),
    "one-time-code": named(CODES, lambda r: chars(r, DIGITS, r.choice([4, 6, 6, 8]))),
    "generic-secret": named(GENERIC, random_value),
}
SPECIAL.update({rule: named(names, make) for rule, (names, make) in PERSONAL.items()})

MAKERS = {rule: anywhere(make) for rule, make in TOKENS.items()}
MAKERS["telegram-bot-token"] = lambda rng: (
    telegram_url if rng.random() < 0.5 else anywhere(TOKENS["telegram-bot-token"])
)(rng)
MAKERS.update(SPECIAL)

# Rules that say the same of a value; what tells them apart is a matter of taste.
SAME = {
    "authorization-header": ["bearer-token"],
    "client-secret-field": ["generic-secret", "api-key-field"],
    "api-key-field": ["generic-secret", "access-token-field"],
    "access-token-field": ["generic-secret", "api-key-field"],
    "generic-secret": ["client-secret-field", "api-key-field", "access-token-field"],
}


def positives(rng, count):
    """At least count of them, of every rule the same number."""
    rules = sorted(MAKERS)
    for i in range(-(-count // len(rules)) * len(rules)):
        rule = rules[i % len(rules)]
        exchange, value = MAKERS[rule](rng)
        yield {
            "exchange": exchange,
            "label": {"rule": rule, "same": SAME.get(rule, []), "value": value, "personal": rule in PERSONAL},
        }


__all__ = ["positives"]
