-- SPDX-License-Identifier: Apache-2.0
--- Secrets that are known by the name of their field, whatever they look like.
local bit = require "bit"
local p = require "plainsight.secrets.patterns"

-- What a password may be: in quotes anything, else up to what ends it in a query, form, header or line.
local QUOTED = [==[(?:"((?:[^"\\\r\n]|\\[^\r\n])+)"|'((?:[^'\\\r\n]|\\[^\r\n])+)')]==]
local BARE = [==[([^\s"'&;<>,(){}\[\]\\]{3,200})]==]

local PASSWORD = "(?:pass(?:word|wd|wrd|code|phrase)?|passwort|kennwort|mot[_-]?de[_-]?passe|contrase(?:n|ñ|Ã±)a"
  .. "|senha|pwd|psw|pswd)"
-- "password_confirmation", "password1", "user[password]", "passwordAgain".
local PASSWORD_END = "(?:[_.-]?(?:confirm(?:ation|ed)?|again|repeat|new|old|current|check|verify|text|plain|[0-9]))?"
local PASSWORD_NAME = "(?i:(?:^|[^A-Za-z0-9]|[A-Za-z0-9_.-]{0,30}?[_.-]|(?:user|login|account|admin|new|old|current"
  .. "|confirm|my"
  .. "|db|database|smtp|ftp|ldap|proxy|root|host|store|key|wifi|re|the|web|mail|api|auth|client|server|j_|log)"
  .. "[A-Za-z0-9]{0,12}?)"
  .. PASSWORD .. PASSWORD_END .. ")"

-- "Password" in other languages.
local WORDS = {
  "password", "passphrase", "passwd", "passwort", "kennwort", "contraseña", "contrasena", "mot de passe", "senha",
  "wachtwoord", "hasło", "lösenord", "passord", "adgangskode", "salasana", "heslo", "jelszó", "lozinka", "geslo",
  "parola", "parole", "slaptažodis", "şifre", "mật khẩu", "пароль", "κωδικός", "كلمة المرور", "סיסמה", "密码", "密碼",
  "パスワード", "비밀번호", "รหัสผ่าน", "पासवर्ड",
}

-- A word as it is, and with its characters beyond ASCII as escapes of JSON.
local function as_pattern(word)
  local escaped = word:gsub("[\194-\244][\128-\191]+", function(char)
    local code = bit.band(char:byte(), #char == 2 and 31 or 15)
    for i = 2, #char do code = code * 64 + char:byte(i) % 64 end
    return ("\\\\u%04x"):format(code)
  end)
  return escaped == word and word or word .. "|" .. escaped
end

local function any_of(words)
  local patterns = {}
  for i, word in ipairs(words) do patterns[i] = as_pattern(word) end
  return table.concat(patterns, "|")
end

local PASSWORD_WORD = any_of(WORDS)
-- Words of labels and messages about passwords.
local LABEL = "(?i:" .. PASSWORD_WORD .. "|forgot|enter|requir|must|please|characters?|confirm|incorrect|invalid"
  .. "|your|change)"

-- Names whose value tells of passwords, and is none; and things that are no value.
local no_password = {
  { patterns = p.placeholders },
  { patterns = {
    "(?:^|[^A-Za-z0-9])(?:PASS|pass|Pass):[ \\t]", -- of a test
    "[ \\t]=[ \\t]{1,3}[A-Za-z_][A-Za-z_.]*[ \\t]{0,2}[\\r\\n]?$", -- of code
  }, target = "match" },
  { patterns = {
LABEL .. "\\S* ", " \\S*" .. LABEL, -- the label of a form, or a message
    p.code,
    "(?i)^(?:" .. PASSWORD_WORD .. "|pwd|pass|new[_-]?password|current-password|prompt|ask|stdin|env|file|vault)$",
    "(?i)^(?:password|passwd|login|user|auth)[./:_-]?(?:reset|change|changed|forgot|forgotten|required|invalid"
      .. "|update|hash|field|input)",
    "(?i)^(?:must|should|is|was|are|your|please|enter|forgot|incorrect|wrong|missing|and|or|the|for)$",
    "^(?:[$]2[abxy]?[$]|[$]argon2|[$][156y][$]|pbkdf2|\\{SSHA)", -- a hash of one
    "^(?:/|\\./|https?://)", "^.{0,2}$", "^.{201}", "^#",
  } },
}

local no_secret = {
  p.no_placeholders,
  { patterns = { p.other_names }, target = "match" },
  { patterns = {
    "^-{3}", "^_?[A-Za-z]+(?:[_.-][A-Za-z]+)*$", "^[a-z]+(?:[_.-][A-Za-z0-9]+){3,}$", "^[\\d.,:-]+$", "^https?:",
      "^/[a-z0-9._-]+(?:/[A-Za-z0-9._-]+)*/?$",
    p.code,
    "(?i)\\.(?:js|css|png|svg|html?|json|woff2?)$",
  } },
}

local TOKEN = "[A-Za-z0-9_+/=~.:|$%!@*-]{10,1500}"

return {
  {
    id = "password-field", description = "Password, by the name of its field", severity = "high", kind = "credential",
    keywords = { "pass", "pwd", "psw", "kennwort", "contrase", "senha" }, allow = no_password,
    pattern = PASSWORD_NAME .. "(?:[\"'\\]]{0,2}[ \\t]{0,4}(?::|=>|=)[ \\t\\r\\n]{0,4}" .. QUOTED
      .. "|(?:%5[Dd]|\\])?=" .. BARE .. "(?:[&;\\s,\"'<)}]|$)"
      .. "|[ \\t]{1,3}=[ \\t]{1,3}" .. BARE .. "[ \\t]{0,2}(?:[\\r\\n]|$)"
      .. "|:[ \\t]{1,4}([^\\s\"'&;<>,(){}\\[\\]\\\\]{3,200})[ \\t]{0,2}(?:[\\r\\n,;]|$)"
      .. "|\\]?\"(?:\\r?\\n[^\\r\\n]{1,100}){0,3}\\r?\\n\\r?\\n([^\\r\\n]{3,200})\\r?\\n"
      .. "|\\]?[\"'][ \\t]{0,4},?[ \\t\\r\\n]{0,8}[\"']?value[\"']?[ \\t]{0,4}[:=][ \\t]{0,4}" .. QUOTED
      .. "|(?: [^<>]{0,80})?>([^<>\\r\\n]{3,200})</)",
    examples = {
      '{"user":"a","password":"hun<>ter2!x"}', "username=a&password=hun<>ter2%21x&b=c", "PASSWORD=<alnum:12>\n",
      '{"newPassword": "correct horse 9<>"}', "<password>s3<>cr3t</password>", "db_password: <alnum:14>\n",
      'form-data; name="passwd"\r\n\r\n<alnum:10>\r\n--x', '{"name":"password","value":"<alnum:10>"}',
      "user[password]=<alnum:9>&x=1", "Server=a;Uid=b;Pwd=<alnum:10>;",
    },
    lookalikes = {
      '{"password":null}', '{"password":"Forgot your password?"}', '{"password":"********"}', "password=${DB_PASSWORD}",
      "t.password=e.target.value;", "/password/reset?next=/start", '{"passwordResetUrl":"/a/b"}', "PWD=/srv/data",
      '{"passwordPolicy":"strong"}', "compass=north&bypass=true", '<label for="password">Password</label>',
    },
  },
  {
    id = "client-secret-field", description = "OAuth client secret or the like, by the name of its field",
    severity = "critical", kind = "credential", keywords = { "secret" }, entropy = 2.5, allow = no_secret,
    pattern = p.field("(?:" .. p.name("(?:client|app(?:lication)?|consumer|oauth|api|shared|webhook|signing|jwt"
      .. "|cookie|session)",
      "secret(?:[_-]?key)?") .. "|" .. p.name("secret", "(?:access[_.-]?)?key") .. ")", TOKEN),
    examples = { '"client_secret":"<alnum:32>"', "client_secret=<base64url:40>&x=1", "X-App-Secret: <hex:32>" },
    lookalikes = { '"client_secret":"your_client_secret"', "client_secret_expires_at=0",
      '"client_secret":"${SECRET}"' },
  },
  {
    id = "api-key-field", description = "API key, by the name of its field", severity = "high", kind = "credential",
    keywords = { "key" }, entropy = 2.5, allow = no_secret, priority = -1,
    pattern = p.field("(?:" .. p.name("(?:x|api|app|apim|application|subscription|service|account|access|auth|license|"
      .. "encryption|signing|master|storage|deploy|webhook|admin|private|server|ingest|write)", "(?:api[_.-]?)?key")
      .. "|apikey)", TOKEN),
    examples = { "X-Api-Key: <alnum:32>", '{"apiKey":"<hex:32>"}', "?api_key=<alnum:24>&q=1",
      "<apikey><uuid></apikey>" },
    lookalikes = { '{"apiKey":"your-api-key-here"}', '{"primaryKey":"<alnum:24>"}', '{"api_key_id":12}',
      "api_key=API_KEY_VALUE" },
  },
  {
    id = "access-token-field", description = "Access, refresh or session token, by the name of its field",
    severity = "high", kind = "credential", keywords = { "token", "session", "ticket" }, entropy = 2.5,
      allow = no_secret,
    priority = -1,
    pattern = p.field("(?:" .. p.name("(?:access|refresh|auth(?:entication|orization)?|bearer|session|id|api|login"
      .. "|user|"
      .. "private|security|oauth|service|bot|install(?:ation)?|upload|deploy|reset|password[_-]?reset|invite|magic"
      .. "|jwt|sso|x-auth|"
      .. "personal[_-]?access)", "token")
      .. "|session[_.-]?(?:id|key)|auth[_.-]?ticket)", TOKEN),
    examples = { '"access_token":"<alnum:40>"', "refresh_token=<base64url:43>&grant_type=refresh_token",
      "X-Auth-Token: <hex:32>", "?session_id=<hex:32>" },
    lookalikes = { '"access_token_url":"https://a.test/<alnum:20>"', '"nextPageToken":"<base64url:43>"',
      "csrf_token=<alnum:32>", '"token_type":"bearer"' },
  },
  {
    id = "one-time-code", description = "One-time password or PIN, by the name of its field", severity = "medium",
    kind = "credential", keywords = { "otp", "pin", "mfa", "2fa", "code", "factor" },
    pattern = "(?i:(?:^|[^A-Za-z])(?:otp|totp|[a-z]{2,8}[_-](?:otp|pin)|pin|pin[_-]?code|mfa[_-]?code|otp[_-]?code"
      .. "|2fa[_-]?code|"
      .. "two[_-]?factor[_-]?code|verification[_-]?code|sms[_-]?code))" .. p.BETWEEN
      .. "(\\d{4,8})(?:[\"'&;\\s,<}\\]]|$)",
    examples = { '{"otp":"49<>3021"}', "pin=48<>12&x=1", '"mfa_code": 123<>456' },
    lookalikes = { "spin=1234", '{"otp":true}', "shipping=12345", '"pinned":1234' },
  },
}
