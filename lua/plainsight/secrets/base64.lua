-- SPDX-License-Identifier: Apache-2.0
--- Base64 (RFC 4648 4 and 5), for short texts.
local bit = require "bit"

local _M = {}

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local values = { ["-"] = 62, ["_"] = 63 }
for i = 1, 64 do values[ALPHABET:sub(i, i)] = i - 1 end

--- Decode; bytes of neither alphabet, padding too, are passed over.
function _M.decode(text)
  local parts, bits, held = {}, 0, 0
  for i = 1, #text do
    local value = values[text:sub(i, i)]
    if value then
      bits, held = bit.bor(bit.lshift(bits, 6), value), held + 6
      if held >= 8 then
        held = held - 8
        parts[#parts + 1] = string.char(bit.band(bit.rshift(bits, held), 255))
        bits = bit.band(bits, bit.lshift(1, held) - 1)
      end
    end
  end
  return table.concat(parts)
end

--- Encode with the alphabet of section 4, padded.
function _M.encode(text)
  local parts = {}
  for i = 1, #text, 3 do
    local a, b, c = text:byte(i, i + 2)
    local bits = a * 65536 + (b or 0) * 256 + (c or 0)
    for shift = 18, 0, -6 do
      local index = bit.band(bit.rshift(bits, shift), 63) + 1
      parts[#parts + 1] = ALPHABET:sub(index, index)
    end
    if not b then parts[#parts - 1] = "=" end
    if not c then parts[#parts] = "=" end
  end
  return table.concat(parts)
end

return _M
