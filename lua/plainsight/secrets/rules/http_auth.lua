-- SPDX-License-Identifier: Apache-2.0
--- Credentials in the ways that HTTP has for them.
local p = require "plainsight.secrets.patterns"

-- Names of cookies by which servers know who has logged in: those of frameworks, and what people call them.
local SESSION_COOKIES = "(?:__(?:Host|Secure)-)?(?:[A-Za-z0-9_.-]{0,40}?(?:"
  .. table.concat({
    "sess(?:ion)?(?:[_.-]?(?:id|key|token|data))?(?:\\.[01])?", "[_.-]sid", "sessid", "session[_.-]?id",
    "auth(?:[_.-]?(?:token|cookie|key|session))?", "access[_.-]?token", "refresh[_.-]?token", "id[_.-]?token",
    "remember[_.-]?(?:me|token)", "login[_.-]?token", "logged[_.-]?in(?:_[a-f0-9]{32})?", "user[_.-]?token",
    "api[_.-]?token", "\\.aspxauth", "application", "identity",
  }, "|")
  .. ")|sid|token|jwt|jsessionid(?:sso)?|phpsessid|asp[.]net_sessionid|aspsessionid[a-z]{8}|cfid|cftoken|sso)"

-- Shorter ones are of vouchers and countries.
local CODE = "[A-Za-z0-9._~%/+-]{16,512}"

-- The segment of a path before a token that lets in whoever has it: what such links are for.
local LINK = "(?:(?:pass(?:word|wd)?[_-]?)?(?:reset|recover(?:y)?)(?:[_-]?pass(?:word|wd)?)?"
  .. "|(?:accept[_-]?)?invit(?:e|ation)|(?:magic|login|sign-?in)[_-]?link"
  .. "|(?:verif(?:y|ication)|confirm(?:ation)?)(?:[_-]?(?:e-?mail|account))?"
  .. "|(?:account[_-]?)?activat(?:e|ion)|unsubscribe)(?:/(?:e-?mail|password|account|token|confirm|accept))?"

return {
  {
    id = "basic-auth", description = "Basic credentials (RFC 7617)", severity = "high", kind = "credential",
    check = "basic", keywords = { "basic" }, priority = 2,
    pattern = "(?i:authorization)[\"']?[ \\t]{0,4}[:=][ \\t]{0,4}[\"']?(?i:basic)[ \\t]{1,4}"
      .. "([A-Za-z0-9+/_-]{4,}={0,2})",
    examples = { "Authorization: Basic <b64:alice:pa55-w0rd>", "proxy-authorization: basic <b64:a:b>" },
    lookalikes = { "Authorization: Basic <b64:alice:>", "Authorization: Basic realm", "A Basic <b64:alice:secret>" },
  },
  {
    id = "bearer-token", description = "Bearer token (RFC 6750)", severity = "high", kind = "credential",
    keywords = { "bearer" }, entropy = 2.5, priority = -1,
    allow = p.no_placeholders,
    pattern = "(?i:authorization)[\"']?[ \\t]{0,4}[:=][ \\t]{0,4}[\"']?(?i:bearer)[ \\t]{1,4}"
      .. "([A-Za-z0-9._~+/=:|-]{8,})",
    examples = { "Authorization: Bearer <alnum:32>", '"Authorization":"Bearer <base64url:43>"' },
    lookalikes = { "Authorization: Bearer", "WWW-Authenticate: Bearer realm=api", "Authorization: Bearer ${TOKEN}" },
  },
  {
    id = "authorization-header", description = "Credentials of another scheme in Authorization", severity = "high",
    kind = "credential", keywords = { "authorization" }, entropy = 2.5, priority = -2, scope = { "headers" },
    allow = p.no_placeholders,
    pattern = "(?i:(?:^|\\n)(?:proxy-)?authorization:)[ \\t]{0,4}(?i:(?:token|apikey|api-key|api-token|key|bot"
      .. "|sharedkey"
      .. "|hawk|digest|ntlm|negotiate|genie[kK]ey|pat|ssws)[ \\t]{1,4})?((?i:token token=\")?"
      .. "[A-Za-z0-9._~+/=:$|-]{16,})[ \\t\"]{0,2}"
      .. "(?:[\\r\\n]|$)",
    examples = { "Authorization: Token <hex:40>", "authorization: <hex:32>" },
    lookalikes = { "Authorization: Token", "x-authorization-mode: <hex:40>" },
  },
  {
    id = "session-cookie", description = "Cookie of a login session", severity = "high", kind = "credential",
    keywords = { "sess", "sid", "auth", "token", "remember", "login", "logged", "jwt", "cfid", "application",
      "identity", "sso" },
    scope = { "headers" }, entropy = 2.5, priority = -1,
    pattern = "(?i:(?:^|\\n)(?:set-)?cookie:[ \\t]{0,4}|;[ \\t]{1,4})(?i:" .. SESSION_COOKIES
      .. ")=\"?([^;\\s,\"]{8,})",
    allow = {
      { patterns = { "(?i)^(?:deleted|null|none|undefined|expired|invalid|0+)$", "^[01]?$" } },
      { patterns = { "(?i)(?:csrf|xsrf|antiforgery|verification)[a-z_.-]*=[^=;]*$", "(?i)(?:authuser|sessionstart)=" },
        target = "match" },
    },
    examples = { "Cookie: lang=en; session<>id=<loweralnum:32>", "Set-Cookie: PHPSESSID=<loweralnum:26>; path=/",
      "set-cookie: connect.sid=s%3A<alnum:32>.<alnum:43>; HttpOnly", "cookie: JSESSIONID=<HEX:32>",
      "Cookie: lang=en; s<>id=<loweralnum:32>" },
    lookalikes = { "Set-Cookie: sessionid=deleted; Max-Age=0", "Cookie: csrftoken=<alnum:32>", "Cookie: theme=dark",
      "Cookie: _ga=GA1.2.<digit:10>.<digit:10>" },
  },
  {
    id = "oauth-code", description = "Authorization code of OAuth, with its state (RFC 6749 4.1.2)", severity = "high",
    kind = "credential", keywords = { "state=" }, entropy = 2.5, priority = -1,
    allow = { p.no_placeholders, { patterns = { "^[A-Za-z]+(?:[_.-][A-Za-z]+)*$", "^[0-9]+$" } } },
    pattern = "[?&#]code=(" .. CODE .. ")&(?:[^\\s\"'<>#]{0,400}&)?state=[^\\s\"'<>&#]{8}"
      .. "|[?&#]state=[^\\s\"'<>&#]{8,400}&(?:[^\\s\"'<>#]{0,400}&)?code=(" .. CODE .. ")(?:[\\s\"'<>&#]|$)",
    examples = { "/callback?code=<alnum:20>&state=<alnum:12>",
      "/cb?state=<base64url:22>&scope=a&code=4%2F0A<alnum:40>" },
    lookalikes = { "/callback?code=<alnum:20>", "/shop?code=SUMMER&state=<alnum:12>", "/a?code=<alnum:20>&state=CA",
      "/cb?error_code=<alnum:20>&state=<alnum:12>" },
  },
  {
    id = "link-token", description = "Token of a link: reset of a password, invitation, login, confirmation",
    severity = "medium", kind = "credential", entropy = 3.0, priority = -1,
    keywords = { "reset", "recover", "invit", "link", "verif", "confirm", "activat", "unsubscribe" },
    pattern = "/(?i:" .. LINK .. ")/([A-Za-z0-9_~-]{20,256})(?:[/?#&\\s\"'<>)]|$)",
    -- Ids of what is invited or confirmed, and words.
    allow = { p.no_placeholders, { patterns = { "(?i)^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$", "^[0-9-]+$",
      "^[a-z]+(?:[_~-][a-z0-9]+)*$", "^[A-Za-z]+$", "(?i)^[0-9a-f]{24}$" } } },
    examples = { "GET /reset-password/<alnum:32> HTTP/1.1", "https://a.corp.test/invite/<base64url:43>?from=mail",
      '<a href="/verify/email/<hex:64>">', "/password/reset/<base64url:27>9" },
    lookalikes = { "/reset/<alnum:8>", "/invite/<uuid>", "/invitations/<alnum:24>", "/verify/the-colour-of-your-cat",
      "/confirm/<digit:24>", "/reset/normalize-<hex:20>.css" },
  },
  {
    id = "url-password", description = "Password in a URL (RFC 3986 3.2.1)", severity = "high", kind = "credential",
    keywords = { "://" }, priority = 1,
    pattern = "\\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\\s/:@\"'<>\\\\]{0,64}:([^\\s/@\"'<>\\\\]{3,128})@[A-Za-z0-9\\[]",
    allow = { p.no_placeholders, { patterns = { "(?i)^(?:password|passwd|pass|pwd|secret)$" } } },
    examples = { "postgres://app:<alnum:16>@db.test:5432/app", "https://bob:s3<>cr3t!@repo.test/x" },
    lookalikes = { "https://host.test:8080/a@b", "https://user@host.test/", "postgres://app:${PASSWORD}@db/app",
      "https://host.test:8443/@scope/pkg" },
  },
}
