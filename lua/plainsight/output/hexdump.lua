-- SPDX-License-Identifier: Apache-2.0
--- Bytes in the layout of hexdump -C.
local ffi = require "ffi"

local _M = {}

local WIDTH = 16

local function is_printable(byte)
  return byte >= 0x20 and byte < 0x7f
end

--- Append lines for bytes.
-- @param buf string.buffer
-- @param data pointer
-- @param len number
-- @param position of the first byte, shown at the beginning of lines: number, default 0
function _M.put(buf, data, len, position)
  local bytes = ffi.cast("const uint8_t *", data)
  for start = 0, len - 1, WIDTH do
    local codes, characters = {}, {}
    for i = start, math.min(start + WIDTH, len) - 1 do
      codes[#codes + 1] = ("%02x"):format(bytes[i])
      characters[#characters + 1] = is_printable(bytes[i]) and string.char(bytes[i]) or "."
    end
    buf:put(("%08x  %-47s  |%s|\n"):format((position or 0) + start, table.concat(codes, " "),
      table.concat(characters)))
  end
end

return _M
