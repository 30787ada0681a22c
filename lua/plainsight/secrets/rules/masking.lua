-- SPDX-License-Identifier: Apache-2.0
--- What is masked and not reported: values that say nothing of themselves, such as a password of three letters, but
-- stand in a field that is for secrets. A report of each would be of no use; a mask too many does little harm.
local QUOTED = [==[(?:"((?:[^"\\\r\n]|\\[^\r\n])+)"|'((?:[^'\\\r\n]|\\[^\r\n])+)')]==]

-- Whole names; what stands before is no part of one.
local NAME = "(?:(?:x-)?(?:" .. table.concat({
  "(?:user|login|new|old|current|db|admin|proxy)?[_.-]?(?:password|passwd|pwd|passphrase)", "secret",
  "(?:client|app|api|consumer|shared|signing|webhook)[_.-]?secret", "secret[_.-]?(?:access[_.-]?)?key",
  "(?:api|auth|access|private|encryption)[_.-]?key", "token",
  "(?:access|refresh|auth|id|api|session|bearer|login|user|reset)[_.-]?token", "credentials?",
}, "|") .. "))"

-- No value, or one of a template, a message, a form; or code.
local no_value = {
  { patterns = {
    [[(?i)^(?:null|nil|none|undefined|true|false|required|optional|string|text|password|deleted|expired|0*)$]],
    [[^[*•.xX]{3,}$]], [[(?i)^(?:include|omit|same-origin)$]], [[^\$?\{]], [[^<]], [[^%[a-zA-Z]$]],
    [[(?i)(?:password|passwort|forgot|enter|must|please|invalid|required|your) ]],
    [[(?i) (?:password|passwort|forgot|token|secret|key|required)]],
  } },
}

-- Of frameworks, and what people call them: shorter values than the rule for cookies takes.
local COOKIE = "(?:[A-Za-z0-9_.-]{0,40}?(?:sess(?:ion)?(?:[_.-]?(?:id|key|token))?|sessid|auth(?:[_.-]?token)?"
  .. "|access[_.-]?token|refresh[_.-]?token|remember[_.-]?(?:me|token))|sid|token|jwt)"

return {
  {
    id = "secret-field", description = "Field that is for a secret", severity = "medium", kind = "credential",
    keywords = { "pass", "pwd", "secret", "key", "token", "credential" }, priority = -9, allow = no_value,
    pattern = "(?i:(?:^|[^A-Za-z0-9_.-])" .. NAME .. ")(?:[\"'][ \\t]{0,4}(?::|=>)[ \\t\\r\\n]{0,4}(?:" .. QUOTED
      .. "|(-?[0-9][0-9.]{0,60})[ \\t]{0,4}[,}\\r\\n])|=" .. QUOTED .. "|>([^<>\\r\\n]{1,1500})</)",
    examples = { '{"password":"x"}', '{"user":"a", "password": 12345678}', '{"apiKey":"demo"}', '{"token":"abc<>123"}',
      "<password>x1</password>", "'secret' => 'abc'", 'Digest token="ab"' },
    lookalikes = { '{"password":null}', '{"password":""}', '{"nextPageToken":"abc"}', '{"csrf_token":"abc"}',
      '{"password":"Forgot your password?"}', '{"tokens":12}', '{"key":"a"}', '{"token_type":"bearer"}',
      '{"max_tokens":"100"}', "password: true", '{"passwords":"x"}' },
  },
  {
    id = "secret-parameter", description = "Parameter that is for a secret", severity = "medium", kind = "credential",
    keywords = { "pass", "pwd", "secret", "key", "token", "credential", "sig", "hmac" }, priority = -9,
    allow = no_value,
    pattern = "(?i:(?:^|[?&#])(?:" .. NAME .. "|(?:x-amz-)?sig(?:nature)?|hmac))=([^\\s\"'&;<>,#]{1,1500})",
    examples = { "/login?password=a", "user=a&pwd=1", "/x?apikey=demo", "/cb#access_token=abc&state=1",
      "/x?a=b&sig=<alnum:32>" },
    lookalikes = { "/x?key=abc", "/x?csrf_token=abc", "/x?password=", "/x?page_token=abc", "a.token=b", "/x?signed=1" },
  },
  {
    id = "secret-header", description = "Header that is for a secret", severity = "medium", kind = "credential",
    keywords = { "token", "key", "secret", "password", "authorization" }, priority = -9, scope = { "headers" },
    allow = { { patterns = { "(?i)^(?:basic|bearer|digest|negotiate|ntlm|token|null|undefined)$" } } },
    pattern = "(?i:(?:^|\\n)(?:" .. NAME .. "|(?:proxy-|x-)?authorization):)[ \\t]{0,4}"
      .. "(?:[A-Za-z][A-Za-z0-9_-]{0,30}[ \\t]{1,4})?([^\\s\\r\\n][^\\r\\n]{0,4000})",
    examples = { "X-Auth-Token: abc", "X-Api-Key: demo", "Authorization: Bearer x", "Authorization: Token abcdef",
      'Authorization: Digest username="u", response="<hex:32>"' },
    lookalikes = { "X-Csrf-Token: abc", "Authorization: Bearer", "Key: a", "Sec-WebSocket-Key: <b64:abcdefghijklmnop>",
      "Surrogate-Key: abc", "Idempotency-Key: <uuid>" },
  },
  {
    id = "login-cookie", description = "Cookie of a login session, each of a line", severity = "medium",
    kind = "credential", keywords = { "sess", "sid", "auth", "token", "remember", "jwt" }, scope = { "headers" },
    priority = -9,
    allow = {
      no_value[1],
      { patterns = { "(?i)(?:csrf|xsrf|antiforgery|verification)[a-z_.-]*=[^=;]*$", "(?i)(?:authuser|sessionstart)=" },
        target = "match" },
    },
    pattern = "[;:][ \\t]{0,4}(?i:" .. COOKIE .. ")=\"?([^;\\s,\"]{1,1500})",
    examples = { "Cookie: PHPSESSID=abcdef; theme=dark", "Cookie: token=short; x=1", "Set-Cookie: sid=ab; Path=/",
      "Cookie: theme=dark; sid=ab" },
    lookalikes = { "Cookie: theme=dark", "Set-Cookie: sid=deleted; Max-Age=0", "Cookie: csrftoken=abc",
      "Cookie: session=" },
  },
  {
    id = "short-url-password", description = "Password of one or two characters in a URL", severity = "medium",
    kind = "credential", keywords = { "://" }, priority = -9,
    pattern = "\\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\\s/:@\"'<>\\\\]{0,64}:([^\\s/@\"'<>\\\\]{1,2})@[A-Za-z0-9\\[]",
    examples = { "postgres://u:pw@db.test/x", "http://user:p@h.test/" },
    lookalikes = { "https://host.test:80/a@b", "https://user@host.test/" },
  },
}
