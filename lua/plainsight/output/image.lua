-- SPDX-License-Identifier: Apache-2.0
--- What a binary body is, by how it begins.
local bit = require "bit"

local _M = {}

-- Unsigned numbers of a string; position is that of the first byte, from 1.
local function big16(text, position)
  local a, b = text:byte(position, position + 1)
  return b and a * 256 + b
end

local function little16(text, position)
  local a, b = text:byte(position, position + 1)
  return b and b * 256 + a
end

local function big32(text, position)
  local high, low = big16(text, position), big16(text, position + 2)
  return low and high * 65536 + low
end

local function little24(text, position)
  local low, high = little16(text, position), text:byte(position + 2)
  return high and high * 65536 + low
end

-- ITU-T T.81 B.2.2: SOFn, all markers from C0 to CF that are no DHT (C4), JPG (C8) or DAC (CC).
local function is_frame_marker(marker)
  return marker >= 0xc0 and marker <= 0xcf and marker ~= 0xc4 and marker ~= 0xc8 and marker ~= 0xcc
end

local function jpeg_size(text)
  local at = 3
  while text:byte(at) == 0xff do
    local marker, length = text:byte(at + 1), big16(text, at + 2)
    if not length or length < 2 then return nil end
    if is_frame_marker(marker) then return big16(text, at + 7), big16(text, at + 5) end
    at = at + 2 + length
  end
end

local function webp_size(text)
  local kind = text:sub(13, 16)
  if kind == "VP8X" and #text >= 30 then return little24(text, 25) + 1, little24(text, 28) + 1 end
  if kind == "VP8 " and #text >= 30 then
    return bit.band(little16(text, 27), 0x3fff), bit.band(little16(text, 29), 0x3fff)
  end
  if kind == "VP8L" and #text >= 25 then
    local low, high = little16(text, 22), little16(text, 24)
    return bit.band(low, 0x3fff) + 1, bit.band(bit.bor(bit.rshift(low, 14), bit.lshift(high, 2)), 0x3fff) + 1
  end
end

local kinds = {
  { "^\137PNG\r\n\26\n", "image/png", function(text) return big32(text, 17), big32(text, 21) end },
  { "^GIF8[79]a", "image/gif", function(text) return little16(text, 7), little16(text, 9) end },
  { "^\255\216\255", "image/jpeg", jpeg_size },
  { "^RIFF....WEBP", "image/webp", webp_size },
  { "^....ftypavi[fs]", "image/avif" },
  { "^....ftyp", "video/mp4" },
  { "^%%PDF%-", "application/pdf" },
  { "^PK\3\4", "application/zip" },
  { "^\31\139\8", "application/gzip" },
  { "^\40\181\47\253", "application/zstd" },
  { "^\127ELF", "application/x-elf" },
  { "^%zasm", "application/wasm" },
  { "^wOFF", "font/woff" },
  { "^wOF2", "font/woff2" },
}

--- Name what bytes begin like.
-- @param text string: the start of a body
-- @return media type (string), or nil; width and height (numbers, in pixels), or nil
function _M.identify(text)
  for _, kind in ipairs(kinds) do
    if text:find(kind[1]) then
      if not kind[3] then return kind[2] end
      local width, height = kind[3](text)
      if not (width and height) then return kind[2] end
      return kind[2], width, height
    end
  end
  return nil
end

return _M
