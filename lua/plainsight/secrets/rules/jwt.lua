-- SPDX-License-Identifier: Apache-2.0
--- JSON Web Tokens. What a token says of itself (algorithm, expiry) is told with a finding: plainsight.secrets.jwt.

return {
  {
    id = "jwt", description = "JSON Web Token (RFC 7519)", severity = "high", kind = "credential", check = "jwt",
    pattern = "(?:^|[^A-Za-z0-9_-])(eyJ[A-Za-z0-9_-]{8,}[.]eyJ[A-Za-z0-9_-]{8,}[.][A-Za-z0-9_-]{0,2048})(?:"
      .. "[^A-Za-z0-9_.-]|$)",
    keywords = { "eyj" }, priority = 2,
    examples = {
      'Bearer <b64url:{"alg":"HS256","typ":"JWT"}>.<b64url:{"sub":"1234567890","exp":1}>.<base64url:43>',
      '<b64url:{"alg":"none"}>.<b64url:{"sub":"1234567890","admin":true}>.',
    },
    lookalikes = { "eyJ<alnum:20>.<alnum:20>.<alnum:43>", "eyJ<alnum:20>.eyJ<alnum:20>.<alnum:43>" },
  },
  {
    id = "jwe", description = "Encrypted JSON Web Token (RFC 7516)", severity = "medium", kind = "credential",
    check = "jwt", keywords = { "eyj" }, priority = 2,
    pattern = "(?:^|[^A-Za-z0-9_-])(eyJ[A-Za-z0-9_-]{8,}[.][A-Za-z0-9_-]{0,}[.][A-Za-z0-9_-]{8,40}[.]"
      .. "[A-Za-z0-9_-]{2,}[.]"
      .. "[A-Za-z0-9_-]{16,128})(?:[^A-Za-z0-9_.-]|$)",
    examples = {
      '<b64url:{"alg":"RSA-OAEP","enc":"A256GCM"}>.<base64url:342>.<base64url:16>.<base64url:80>.<base64url:22>',
      '<b64url:{"alg":"dir","enc":"A128CBC-HS256"}>..<base64url:22>.<base64url:80>.<base64url:22>',
    },
    lookalikes = { "eyJ<alnum:20>.<alnum:20>.<alnum:16>.<alnum:20>" },
  },
}
