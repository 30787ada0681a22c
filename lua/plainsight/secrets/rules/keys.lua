-- SPDX-License-Identifier: Apache-2.0
--- Private keys.

-- Base64 in lines, also where line ends are escapes of JSON, and the heads of old PEM (RFC 1421 4.6.1.1).
local BODY = "[A-Za-z0-9+/=\\s\\\\:,.-]{64,}?"

return {
  {
    id = "private-key", description = "Private key in PEM (RFC 7468), OpenSSH or PGP armour", severity = "critical",
    kind = "credential", keywords = { "private" }, priority = 3,
    pattern = "-----BEGIN[ +](?:[A-Z0-9]{1,12}[ +]){0,3}PRIVATE[ +]KEY(?:[ +]BLOCK)?-----(" .. BODY
      .. ")-----END[ +](?:[A-Z0-9]{1,12}[ +]){0,3}PRIVATE[ +]KEY",
    examples = {
      "-----BEGIN <>PRIVATE KEY-----\n<base64:64>\n<base64:60>\n-----END <>PRIVATE KEY-----\n",
      "-----BEGIN RSA <>PRIVATE KEY-----\\n<base64:64>\\n<base64:64>\\n-----END RSA <>PRIVATE KEY-----\\n",
      "-----BEGIN RSA <>PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,<HEX:32>\n\n<base64:64>\n"
        .. "-----END RSA <>PRIVATE KEY-----\n",
      "-----BEGIN OPENSSH <>PRIVATE KEY-----\r\n<base64:70>\r\n<base64:70>\r\n-----END OPENSSH <>PRIVATE KEY-----",
    },
    lookalikes = {
      "-----BEGIN PUBLIC KEY-----\n<base64:64>\n<base64:60>\n-----END PUBLIC KEY-----\n",
      "-----BEGIN CERTIFICATE-----\n<base64:64>\n<base64:60>\n-----END CERTIFICATE-----\n",
      "-----BEGIN <>PRIVATE KEY-----\n...\n-----END <>PRIVATE KEY-----\n",
    },
  },
  {
    id = "putty-private-key", description = "Private key of PuTTY", severity = "critical", kind = "credential",
    keywords = { "putty-user-key-file" }, priority = 3,
    pattern = "PuTTY-User-Key-File-\\d:[A-Za-z0-9+/=\\s:_@.-]{20,}?Private-Lines: \\d{1,3}\\s{1,2}"
      .. "([A-Za-z0-9+/=\\s]{40,})",
    examples = {
      "PuTTY-User-<>Key-File-3: ssh-ed25519\nEncryption: none\nComment: a\nPublic-Lines: 2\n<base64:64>\n<base64:20>\n"
        .. "Private-Lines: 1\n<base64:44>\nPrivate-MAC: <hex:64>\n",
    },
    lookalikes = { "PuTTY-User-<>Key-File-3: ssh-ed25519\nPublic-Lines: 2\n<base64:64>\n<base64:20>\n" },
  },
  {
    id = "jwk-private-key", description = "Private JSON Web Key (RFC 7517, RFC 7518 6)", severity = "critical",
    kind = "credential", keywords = { '"kty"' }, entropy = 4, priority = 2,
    pattern = '"d"\\s{0,4}:\\s{0,4}"([A-Za-z0-9_-]{40,})"',
    examples = { '{"kty":"EC","crv":"P-256","x":"<base64url:43>","y":"<base64url:43>","d":"<base64url:43>"}' },
    lookalikes = { '{"kty":"EC","crv":"P-256","x":"<base64url:43>","y":"<base64url:43>"}', '{"d":"<base64url:43>"}' },
  },
  {
    id = "age-secret-key", description = "Secret key of age", severity = "critical", kind = "credential",
    keywords = { "age-secret-key-1" }, pattern = "\\b(AGE-SECRET-KEY-1[A-Z0-9]{58})\\b",
    examples = { "AGE-<>SECRET-KEY-1<upperalnum:58>" },
    lookalikes = { "age1<loweralnum:58>" },
  },
  {
    id = "wireguard-private-key", description = "Private or preshared key of WireGuard", severity = "critical",
    kind = "credential", keywords = { "privatekey", "presharedkey" }, entropy = 4, priority = 2,
    pattern = "(?i:(?:Private|Preshared)Key)[\"']?[ \\t]{0,4}[:=][ \\t]{0,4}[\"']?([A-Za-z0-9+/]{43}=)(?:[^=]|$)",
    examples = { "[Interface]\nPrivateKey = <base64:43>=\n" },
    lookalikes = { "[Peer]\nPublicKey = <base64:43>=\n" },
  },
}
