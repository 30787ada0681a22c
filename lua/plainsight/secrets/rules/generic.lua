-- SPDX-License-Identifier: Apache-2.0
--- Values that look random, in fields whose names speak of secrets.
local p = require "plainsight.secrets.patterns"

return {
  {
    id = "generic-secret", description = "Random value in a field named like a secret", severity = "medium",
    kind = "credential", keywords = { "secret", "token", "credential", "key" }, entropy = 3.2,
    priority = -5,
    allow = {
      p.no_placeholders,
      { patterns = { p.other_names }, target = "match" },
      { patterns = { "^[A-Za-z]+$", "^[A-Za-z]+(?:[_./-][A-Za-z]+)+$", "^[^0-9]+$", "^[\\d.,:-]+$", "^https?:",
        "^/[a-z0-9._-]+(?:/[A-Za-z0-9._-]+)*/?$",
        "(?i)\\.(?:js|css|png|svg|html?|json|woff2?)$" } },
    },
    pattern = "(?i:[A-Za-z0-9_.-]{0,40}?(?:secret|token|credentials?|(?:master|vapid|session|signature|deploy)"
      .. "[_-]?key)(?:[_-]?value)?)" .. p.BETWEEN
      .. "([A-Za-z0-9_+/=~.!@$*-]{20,500})(?:[^A-Za-z0-9_+/=~.!@$*-]|$)",
    examples = { '{"token":"<alnum:40>"}', "app_token=<base64url:32>&a=b", '{"vault_secret": "<base64:44>"}' },
    lookalikes = { '{"csrf_token":"<alnum:40>"}', '{"nextPageToken":"<base64url:40>"}', '{"tokens":"<alnum:40>x y"}',
      '{"token":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}', '{"token":"<digit:30>"}', '{"cache_key":"<hex:40>"}' },
  },
}
