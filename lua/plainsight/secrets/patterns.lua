-- SPDX-License-Identifier: Apache-2.0
--- What patterns of built-in rules are made of. They are matched against bytes by Hyperscan and PCRE2, so they hold
-- nothing that only one of them has: no look-around, no back reference.
local _M = {}

--- A token that stands alone: no letter, digit or "_" before it, none of these nor "-" behind it.
-- @param body pattern of the token, which begins with a letter or digit
function _M.token(body)
  return "\\b(" .. body .. ")(?:[^A-Za-z0-9_-]|$)"
end

--- Likewise, where the token's characters are those of base64, too.
function _M.base64_token(body)
  return "\\b(" .. body .. ")(?:[^A-Za-z0-9_+/=-]|$)"
end

-- Between a name and its value: JSON, query, form, header, code ('"name": "', "name=", "name: ", "<name>", "name =>
-- '").
local ASSIGN = [==[["'\]]{0,3}[ \t]{0,4}(?::=|=>|[:=>])[ \t]{0,4}["']?]==]
-- Of a part of multipart/form-data (RFC 7578), through the rest of its head.
local PART = [==[\]?"(?:\r?\n[^\r\n]{1,100}){0,3}\r?\n\r?\n]==]
-- Of a name and a value that are members or attributes next to each other: {"name": "N", "value": "V"}.
local PAIR = [==[\]?["'][ \t]{0,4},?[ \t\r\n]{0,8}["']?value["']?[ \t]{0,4}[:=][ \t]{0,4}["']]==]

-- Of an element with attributes (XML).
local ELEMENT = [==[[ \t][^<>\r\n]{1,120}>]==]

--- What may stand between a name and its value.
_M.BETWEEN = "(?:" .. ASSIGN .. "|" .. PART .. "|" .. PAIR .. "|" .. ELEMENT .. ")"

--- A value known by the name of its field. Case of the name does not matter.
-- @param names pattern of the end of the name
-- @param value pattern of the value, without quotes
function _M.field(names, value)
  return "(?i:" .. names .. ")" .. _M.BETWEEN .. "(" .. value .. ")(?:[^A-Za-z0-9_+/=~%.-]|[.](?:[^A-Za-z0-9]|$)|$)"
end

--- Names of fields as people write them: words with "_", "-", "." or nothing between them.
-- @param ... words, each a pattern
function _M.name(...)
  return table.concat({ ... }, "[_.-]?")
end

--- Values that stand for a secret and are none, for allow lists: "${VAR}", "{{ var }}", "<password>", "%s", "****",
-- "xxxx", "[FILTERED]", words for nothing.
_M.placeholders = {
  [[^\$\{?[A-Za-z_][\w.-]*\}?$]], [[^\{\{?[^{}]*\}?\}?$]], [[^[<\[(][^<>]{0,60}[>\])]?$]], [[^%[a-zA-Z]$]],
  [[^[*•.xX_#?0-]+$]], [[^(?:&lt;|%3C)]], [[(?i)^(?:x{3}|\*{3}|\.{3})]],
  [[(?i)^(?:null|nil|none|undefined|true|false|yes|no|n/?a|string|text|str|value|object|number)$]],
  [[(?i)^(?:boolean|bytes|int|bool)$]],
  [[(?i)^(?:redacted|masked|hidden|filtered|removed|deleted|empty|unset|required|optional|default)$]],
  [[(?i)^(?:example|placeholder)$]],
  [[(?i)^(?:your|my|the|some|insert|enter|replace|change|add|put)[_ -]?\w*[_ -]?]]
    .. [[(?:here|key|token|secret|password|value|me)$]],
}

--- Pattern of code that stands where a value would: n.password||"", this.state.token, getToken().
_M.code = [[^[A-Za-z_$][\w$]*(?:(?:\.[A-Za-z_$][\w$]*)+(?:$|\|\||&&|[?:)\]},;]|={2,3})|[\w$.]{0,60}\()]]

--- One allow list of these, on the secret.
_M.no_placeholders = { patterns = _M.placeholders, stopwords = { "example", "placeholder", "redacted" } }

--- Names that end like those of secrets, for what is none. Shorter words must begin where a word does.
_M.other_names = "(?i)(?:csrf|xsrf|forgery|verification|authenticity|page|next|previous|continuation|resume|cursor"
  .. "|cancel|"
  .. "change|delta|scroll|trace|request|idempotency|design|etag|cache|partition|primary|foreign|public|object|query|"
  .. "translation|message|captcha|publishable|prompt|completion|rout(?:e|ing)|websocket|"
  .. "(?:^|[^a-z])(?:sync|state|client[_-]?request|css|color|lock|sort|row|i18n|react|syntax|max|min|total|input"
  .. "|output|usage|"
  .. "count|num|type|push|fcm|device|site|unique|map|group|join|hash|s3|lookup))[A-Za-z_.-]{0,12}?(?:token|key"
  .. "|secret)s?"
  .. "(?:[_.-]?(?:value|id))?(?:[\"'\\]]|[ \\t]{0,2}[=:>])"

return _M
