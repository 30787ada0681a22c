-- SPDX-License-Identifier: Apache-2.0
--- What stands in the place of a value (put_mask() in src/secret_redact.c), read again.
local _M = {}

--- The rule whose value a text was, before it was masked as a whole.
-- @param text string
-- @return id of the rule; nil for any other text
function _M.rule_of(text) return text:match("^%[redacted:([a-z0-9-]+):%x+%]$") end

return _M
