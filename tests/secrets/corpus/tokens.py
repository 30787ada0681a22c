# SPDX-License-Identifier: Apache-2.0
"""Credentials made at random, from what their issuers say of their form. Knows nothing of the rules' patterns.

TOKENS maps the id of a rule to a function(Random) -> value: such a value tells what it is wherever it stands.
"""

import base64
import json
import string
import uuid as uuids

LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
ALNUM, HEX, HEXU = LOWER + UPPER + DIGITS, DIGITS + "abcdef", DIGITS + "ABCDEF"
B64, B64URL, B32 = ALNUM + "+/", ALNUM + "-_", UPPER + "234567"


def chars(rng, alphabet, count):
    return "".join(rng.choice(alphabet) for _ in range(count))


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def uuid(rng):
    return str(uuids.UUID(int=rng.getrandbits(128), version=4))


def ending(rng, alphabet, count):
    """Characters of base64url that end in one that no word boundary follows every fourth time."""
    text = chars(rng, alphabet, count)
    return text[:-1] + rng.choice("-_") if rng.random() < 0.25 else text


def jwt(rng, alg=None, claims=None):
    header = {"alg": alg or rng.choice(["HS256", "RS256", "ES256", "EdDSA", "PS512", "none"]), "typ": "JWT"}
    if rng.random() < 0.5:
        header["kid"] = chars(rng, HEX, 16)
    now = rng.randrange(1_600_000_000, 1_900_000_000)
    body = claims or {"sub": chars(rng, DIGITS, 10), "iat": now, "exp": now + 3600, "scope": "read write"}
    sizes = {"HS256": 32, "RS256": 256, "ES256": 64, "EdDSA": 64, "PS512": 256, "none": 0}
    parts = [
        json.dumps(header, separators=(",", ":")).encode(),
        json.dumps(body, separators=(",", ":")).encode(),
        rng.randbytes(sizes[header["alg"]]),
    ]
    return ".".join(b64url(part) for part in parts)


def jwe(rng):
    header = json.dumps({"alg": rng.choice(["RSA-OAEP-256", "dir", "A256KW"]), "enc": "A256GCM"}).encode()
    key = b"" if b'"dir"' in header else rng.randbytes(rng.choice([40, 256]))
    return ".".join(
        b64url(part)
        for part in (header, key, rng.randbytes(12), rng.randbytes(rng.randrange(60, 300)), rng.randbytes(16))
    )


def pem(rng, eol="\n"):
    """(whole, what is between the lines)"""
    kind = rng.choice(
        [
            "PRIVATE KEY",
            "RSA PRIVATE KEY",
            "EC PRIVATE KEY",
            "OPENSSH PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "DSA PRIVATE KEY",
            "PGP PRIVATE KEY BLOCK",
        ]
    )
    body = base64.b64encode(rng.randbytes(rng.randrange(90, 1300))).decode()
    lines = [body[i : i + 64] for i in range(0, len(body), 64)]
    if kind == "RSA PRIVATE KEY" and rng.random() < 0.3:
        lines[:0] = ["Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-256-CBC," + chars(rng, HEXU, 32), ""]
    return eol.join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""])


def azure_storage(rng):
    key = base64.b64encode(rng.randbytes(64)).decode()
    return f"DefaultEndpointsProtocol=https;AccountName=a{chars(rng, LOWER, 8)};AccountKey={key};", key


TOKENS = {
    "aws-access-key-id": lambda r: r.choice(["AK" + "IA", "AS" + "IA"]) + chars(r, B32, 16),
    "aws-bedrock-api-key": lambda r: "AB" + "SK" + base64.b64encode(r.randbytes(96)).decode(),
    "gcp-api-key": lambda r: "AI" + "za" + ending(r, B64URL, 35),
    "gcp-oauth-client-secret": lambda r: "GOC" + "SPX-" + ending(r, B64URL, 28),
    "gcp-access-token": lambda r: "ya" + "29." + ending(r, B64URL, r.randrange(60, 220)),
    "gcp-refresh-token": lambda r: "1/" + "/0" + r.choice(DIGITS) + ending(r, B64URL, r.randrange(60, 100)),
    "azure-client-secret": lambda r: chars(r, ALNUM, 3)
    + r.choice(DIGITS)
    + "Q"
    + "~"
    + chars(r, ALNUM + "_.-~", 33)
    + r.choice(ALNUM),
    "azure-function-key": lambda r: chars(r, B64URL, 44) + "Az" + "Fu" + chars(r, B64URL, 5) + r.choice("AQgw") + "==",
    "azure-devops-token": lambda r: chars(r, ALNUM, 76) + "AZ" + "DO" + chars(r, ALNUM, 4),
    "alibaba-access-key-id": lambda r: "LT" + "AI" + chars(r, ALNUM, r.choice([12, 16, 20])),
    "tencent-secret-id": lambda r: "AK" + "ID" + chars(r, ALNUM, 32),
    "digitalocean-token": lambda r: "do" + r.choice("opr") + "_v1_" + chars(r, HEX, 64),
    "scaleway-access-key": lambda r: "SC" + "W" + chars(r, UPPER + DIGITS, 17),
    "heroku-api-key": lambda r: "HRKU-" + "AA" + ending(r, B64URL, 58),
    "cloudflare-origin-ca-key": lambda r: "v1." + "0-" + chars(r, HEX, 24) + "-" + chars(r, HEX, 146),
    "fly-token": lambda r: r.choice(
        [lambda: "fo" + "1_" + ending(r, B64URL, 43), lambda: "fm" + "2_" + base64.b64encode(r.randbytes(300)).decode()]
    )(),
    "netlify-token": lambda r: "nf" + "p_" + chars(r, ALNUM, 36),
    "supabase-key": lambda r: r.choice(
        [lambda: "sb" + "p_" + chars(r, HEX, 40), lambda: "sb_" + "secret_" + ending(r, B64URL, 31)]
    )(),
    "planetscale-token": lambda r: "pscale"
    + r.choice(["_tkn_", "_pw_", "_oauth_"])
    + chars(r, B64URL, 42)
    + r.choice(ALNUM),
    "databricks-token": lambda r: "da" + "pi" + chars(r, HEX, 32) + r.choice(["", "-2"]),
    "vault-token": lambda r: "hv" + r.choice(["s.", "b.", "r."]) + ending(r, B64URL, r.choice([24, 91, 95, 140])),
    "terraform-cloud-token": lambda r: chars(r, ALNUM, 14) + ".atlas" + "v1." + chars(r, ALNUM, 67),
    "doppler-token": lambda r: "dp."
    + r.choice(["pt.", "ct.", "st.", "st.prd.", "st.dev_eu.", "scim.", "audit."])
    + chars(r, ALNUM, 43),
    "pulumi-token": lambda r: "pu" + "l-" + chars(r, HEX, 40),
    "grafana-token": lambda r: r.choice(
        [
            lambda: "gl" + "sa_" + chars(r, ALNUM, 32) + "_" + chars(r, HEX, 8),
            lambda: "gl" + "c_" + base64.b64encode(r.randbytes(95)).decode(),
        ]
    )(),
    "new-relic-key": lambda r: r.choice(
        [lambda: "NR" + "AK-" + chars(r, UPPER + DIGITS, 27), lambda: chars(r, HEX, 36) + "NR" + "AL"]
    )(),
    "dynatrace-token": lambda r: "dt0" + r.choice(["c01.", "s01."]) + chars(r, B32, 24) + "." + chars(r, B32, 64),
    "sentry-token": lambda r: r.choice(
        [
            lambda: "sn" + "tryu_" + chars(r, HEX, 64),
            lambda: "sn"
            + "trys_"
            + base64.b64encode(
                json.dumps({"iat": 1700000000.5, "url": "https://a.test", "org": chars(r, LOWER, 9)}).encode()
            ).decode()
            + "_"
            + chars(r, B64, 43),
        ]
    )(),
    "github-token": lambda r: "gh" + r.choice("pous") + "_" + chars(r, ALNUM, 36),
    "github-fine-grained-token": lambda r: "github" + "_pat_" + chars(r, ALNUM, 22) + "_" + chars(r, ALNUM, 59),
    "gitlab-token": lambda r: r.choice(
        [
            lambda: "gl" + r.choice(["pat", "dt", "rt", "soat", "imt", "agent", "ft"]) + "-" + ending(r, B64URL, 20),
            lambda: "gl" + "ptt-" + chars(r, HEX, 40),
            lambda: "gl"
            + "pat-"
            + chars(r, B64URL, 27)
            + "."
            + chars(r, DIGITS + LOWER, 2)
            + "."
            + chars(r, DIGITS + LOWER, 9),
        ]
    )(),
    "bitbucket-token": lambda r: r.choice(
        [
            lambda: "AT" + "BB" + chars(r, ALNUM, 32),
            lambda: "AT" + "ATT3" + chars(r, B64URL, 178) + "=" + chars(r, HEXU, 8),
        ]
    )(),
    "npm-token": lambda r: "np" + "m_" + chars(r, ALNUM, 36),
    "pypi-token": lambda r: "py" + "pi-" + b64url(b"\x02\x01\x08pypi.org\x02\x24" + r.randbytes(r.randrange(90, 160))),
    "rubygems-token": lambda r: "ruby" + "gems_" + chars(r, HEX, 48),
    "nuget-token": lambda r: "oy" + "2" + chars(r, LOWER + DIGITS, 43),
    "docker-hub-token": lambda r: "dckr" + r.choice(["_pat_", "_oat_"]) + ending(r, B64URL, r.choice([27, 32])),
    "artifactory-token": lambda r: r.choice(
        [lambda: "AK" + "Cp" + chars(r, ALNUM, 69), lambda: "cmVm" + "dGtu" + chars(r, ALNUM, 56)]
    )(),
    "circleci-token": lambda r: "CCI" + "PAT_" + chars(r, ALNUM, 22) + "_" + chars(r, HEX, 40),
    "buildkite-token": lambda r: "bk" + "ua_" + chars(r, HEX, 40),
    "sonar-token": lambda r: "sq" + r.choice("uap") + "_" + chars(r, HEX, 40),
    "postman-key": lambda r: "PM" + "AK-" + chars(r, HEX, 24) + "-" + chars(r, HEX, 34),
    "figma-token": lambda r: "fi" + "gd_" + ending(r, B64URL, 40),
    "notion-token": lambda r: r.choice(
        [lambda: "nt" + "n_" + chars(r, DIGITS, 11) + chars(r, ALNUM, 35), lambda: "sec" + "ret_" + chars(r, ALNUM, 43)]
    )(),
    "linear-key": lambda r: "li" + "n_api_" + chars(r, ALNUM, 40),
    "airtable-token": lambda r: "pa" + "t" + chars(r, ALNUM, 14) + "." + chars(r, HEX, 64),
    "launchdarkly-key": lambda r: r.choice(["sd" + "k-", "ap" + "i-"]) + uuid(r),
    "contentful-token": lambda r: "CF" + "PAT-" + ending(r, B64URL, 43),
    "1password-token": lambda r: "op"
    + "s_"
    + b64url(
        json.dumps(
            {"signInAddress": "a.test", "userAuth": {"method": "SRPg-4096"}, "secret": chars(r, ALNUM, 200)}
        ).encode()
    ),
    "openai-key": lambda r: r.choice(
        [
            lambda: "s" + "k-" + chars(r, ALNUM, 20) + "T3Bl" + "bkFJ" + chars(r, ALNUM, 20),
            lambda: "s" + "k-proj-" + chars(r, B64URL, 74) + "T3Bl" + "bkFJ" + ending(r, B64URL, 74),
            lambda: "s" + "k-svcacct-" + chars(r, B64URL, 58) + "T3Bl" + "bkFJ" + ending(r, B64URL, 58),
        ]
    )(),
    "anthropic-key": lambda r: "s" + "k-ant-" + r.choice(["api03-", "admin01-"]) + chars(r, B64URL, 93) + "AA",
    "huggingface-token": lambda r: "h" + "f_" + chars(r, LOWER + UPPER, 34),
    "replicate-token": lambda r: "r" + "8_" + chars(r, ALNUM, 37),
    "groq-key": lambda r: "gs" + "k_" + chars(r, ALNUM, 52),
    "perplexity-key": lambda r: "pp" + "lx-" + chars(r, ALNUM, 48),
    "xai-key": lambda r: "xa" + "i-" + chars(r, ALNUM, 80),
    "openrouter-key": lambda r: "s" + "k-or-v1-" + chars(r, HEX, 64),
    "stripe-live-key": lambda r: r.choice("sr") + "k_live_" + chars(r, ALNUM, r.choice([24, 99])),
    "stripe-test-key": lambda r: r.choice("sr") + "k_test_" + chars(r, ALNUM, r.choice([24, 99])),
    "webhook-signing-secret": lambda r: "wh"
    + "sec_"
    + r.choice([lambda: chars(r, ALNUM, 32), lambda: base64.b64encode(r.randbytes(24)).decode()])(),
    "square-token": lambda r: r.choice(
        [
            lambda: "EA" + "AA" + ending(r, B64URL, 60),
            lambda: "sq" + "0csp-" + ending(r, B64URL, 43),
            lambda: "sq" + "0atp-" + ending(r, B64URL, 22),
        ]
    )(),
    "braintree-token": lambda r: "access"
    + "_token$"
    + r.choice(["production", "sandbox"])
    + "$"
    + chars(r, LOWER + DIGITS, 16)
    + "$"
    + chars(r, HEX, 32),
    "plaid-token": lambda r: "access" + r.choice(["-production-", "-sandbox-"]) + uuid(r),
    "flutterwave-key": lambda r: "FLW"
    + "SECK"
    + r.choice(["", "_TEST"])
    + "-"
    + chars(r, "abcdef0123456789", 32)
    + "-X",
    "razorpay-key": lambda r: "rz" + "p_" + r.choice(["live_", "test_"]) + chars(r, ALNUM, 14),
    "shippo-token": lambda r: "ship" + "po_" + r.choice(["live_", "test_"]) + chars(r, HEX, 40),
    "easypost-key": lambda r: "EZ" + r.choice("AT") + "K" + chars(r, ALNUM, 54),
    "shopify-token": lambda r: "shp" + r.choice(["at", "ca", "pa", "ss"]) + "_" + chars(r, HEX, 32),
    "slack-token": lambda r: r.choice(
        [
            lambda: "xo" + "xb-" + "-".join([chars(r, DIGITS, 12), chars(r, DIGITS, 13), chars(r, ALNUM, 24)]),
            lambda: "xo"
            + "xp-"
            + "-".join([chars(r, DIGITS, 11), chars(r, DIGITS, 12), chars(r, DIGITS, 13), chars(r, HEX, 32)]),
            lambda: "xo" + "xe.xo" + "xp-1-" + chars(r, ALNUM, 163),
        ]
    )(),
    "slack-app-token": lambda r: "xa"
    + "pp-1-A"
    + chars(r, UPPER + DIGITS, 10)
    + "-"
    + chars(r, DIGITS, 13)
    + "-"
    + chars(r, HEX, 64),
    "discord-bot-token": lambda r: b64url(str(r.randrange(10**17, 10**18)).encode())[:24]
    + "."
    + chars(r, ALNUM, 6)
    + "."
    + ending(r, B64URL, 38),
    "telegram-bot-token": lambda r: chars(r, "123456789", 1)
    + chars(r, DIGITS, r.choice([8, 9]))
    + ":A"
    + "A"
    + ending(r, B64URL, 33),
    "twilio-key": lambda r: "S" + "K" + chars(r, HEX, 32),
    "sendgrid-key": lambda r: "S" + "G." + chars(r, B64URL, 22) + "." + ending(r, B64URL, 43),
    "mailgun-key": lambda r: "ke" + "y-" + chars(r, HEX, 32),
    "mailchimp-key": lambda r: chars(r, HEX, 32) + "-u" + "s" + str(r.randrange(1, 22)),
    "brevo-key": lambda r: "xkey" + "sib-" + chars(r, HEX, 64) + "-" + chars(r, ALNUM, 16),
    "resend-key": lambda r: "r" + "e_" + chars(r, ALNUM, 8) + "_" + chars(r, ALNUM, 24),
    "facebook-token": lambda r: "EA" + "A" + chars(r, ALNUM, r.randrange(110, 200)),
    "hubspot-token": lambda r: "pa" + "t-" + r.choice(["na1-", "eu1-"]) + uuid(r),
    "dropbox-token": lambda r: "s" + "l." + r.choice(["", "u."]) + ending(r, B64URL, r.choice([136, 1200])),
    "jwt": jwt,
    "jwe": jwe,
    "age-secret-key": lambda r: "AGE-" + "SECRET-KEY-1" + chars(r, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58),
}
