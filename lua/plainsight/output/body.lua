-- SPDX-License-Identifier: Apache-2.0
--- A body laid out for reading, by what it is: JSON indented, forms split, parts
-- listed, other text as it is, and of what is no text its kind and its start.
local ffi = require "ffi"
local content = require "plainsight.output.content"
local escape = require "plainsight.output.escape"
local fields = require "plainsight.output.fields"
local hexdump = require "plainsight.output.hexdump"
local image = require "plainsight.output.image"
local library = require "plainsight.library"
local multipart = require "plainsight.output.multipart"
local reindent = require "plainsight.output.reindent"

local _M = {}

local C = ffi.C
local lib = library.lib

local HEXDUMP_BYTES_MAX = 64
-- Where the dimensions of an image are looked for.
local IDENTIFY_BYTES_MAX = 65536

local no_nul = ffi.new("uint8_t[256]")
for byte = 1, 255 do no_nul[byte] = 1 end

local function unescaped(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

-- application/x-www-form-urlencoded (WHATWG URL 5): a line for each name.
local function put_form(buf, text)
  for pair in text:gmatch("[^&]+") do
    local name, value = pair:match("^([^=]*)=(.*)$")
    name = unescaped(name or pair)
    escape.put(buf, name, #name, escape.LINE)
    if value then
      value = unescaped(value)
      buf:put(value == "" and " =" or " = ")
      escape.put(buf, value, #value, escape.LINE)
    end
    buf:put("\n")
  end
end

local function put_text(buf, data, len)
  escape.put(buf, data, len, escape.TEXT)
  if data[len - 1] ~= 0x0a then buf:put("\n") end
end

-- Media type in lower case, without parameters; "" when there is none.
local function media_type(value)
  return value and value:match("^%s*([^;%s]*)"):lower() or ""
end

local function is_json(kind, data)
  if kind == "" then return data[0] == 0x7b or data[0] == 0x5b end -- "{" "["
  return kind == "application/json" or kind == "text/json" or kind:sub(-5) == "+json"
end

-- Text is UTF-8 without NUL, or what its type says is text. A part may end inside a character.
local function is_text(data, len, kind, message, decoded)
  if tonumber(lib.ps_span(data, len, no_nul)) < len then return false end
  if kind:sub(1, 5) == "text/" or decoded and decoded.charset ~= nil then return true end
  local valid, only_end_is_missing = escape.utf8_prefix(data, len)
  return valid == len or only_end_is_missing and content.is_part(message.body, decoded)
end

local function put_binary(buf, data, len, kind, size_bytes, colors)
  local found, width, height = image.identify(ffi.string(data, math.min(len, IDENTIFY_BYTES_MAX)))
  local shown = math.min(len, HEXDUMP_BYTES_MAX)
  if kind == "" then kind = found or "" end
  buf:put(colors.faint, "* binary body")
  if kind ~= "" then
    buf:put(": ")
    escape.put(buf, kind, #kind, escape.LINE)
  end
  if height then buf:putf(", %dx%d", width, height) end
  buf:putf(", %u bytes", size_bytes)
  if shown < size_bytes then buf:putf(", the first %d of them", shown) end
  buf:put(colors.off, "\n")
  hexdump.put(buf, data, shown)
end

local function put_pretty(buf, data, len, kind)
  if is_json(kind, data) then
    reindent.put(buf, data, len)
    buf:put("\n")
  elseif kind == "application/x-www-form-urlencoded" then
    put_form(buf, ffi.string(data, len))
  else
    put_text(buf, data, len)
  end
end

local function put_parts(buf, data, len, kind, value)
  if kind:sub(1, 10) ~= "multipart/" then return false end
  local boundary = multipart.parameter(value, "boundary")
  return boundary ~= nil and multipart.put(buf, ffi.string(data, len), boundary)
end

-- Bytes in all, as far as is known.
local function size_of(message, decoded)
  if not decoded or decoded.state == C.PS_CONTENT_NONE then return message.body.size_bytes end
  return decoded.size_bytes
end

local function put_bytes(buf, message, bytes, decoded, opts, colors)
  local data, len = ffi.cast("const uint8_t *", bytes.data), tonumber(bytes.len)
  local value = fields.header(message, "content-type")
  local kind = media_type(value)
  if not opts.no_decode and put_parts(buf, data, len, kind, value) then return end
  if not is_text(data, len, kind, message, decoded) then
    put_binary(buf, data, len, kind, size_of(message, decoded), colors)
  elseif opts.no_decode then
    put_text(buf, data, len)
  else
    put_pretty(buf, data, len, kind)
  end
end

--- Append the body of a message, in lines, and a note on how it was decoded.
-- @param buf string.buffer
-- @param message const struct ps_message *
-- @param opts table: no_decode (true: bytes as on the wire), max_body_bytes (number)
-- @param colors see plainsight.output.fields.palette
function _M.put(buf, message, opts, colors)
  local bytes, decoded = content.whole(message, opts)
  if bytes.len > 0 then put_bytes(buf, message, bytes, decoded, opts, colors) end
  if decoded then content.put_note(buf, message.body, decoded, colors) end
end

--- The same of what has no headers: the payload of a message of a WebSocket or the like.
-- @param buf string.buffer
-- @param payload const struct ps_body *
-- @param opts, colors see put()
function _M.put_payload(buf, payload, opts, colors)
  local data, len = ffi.cast("const uint8_t *", payload.kept.data), tonumber(payload.kept.len)
  if len == 0 then return end
  if not is_text(data, len, "", { body = payload }, nil) then
    put_binary(buf, data, len, "", payload.size_bytes, colors)
  elseif opts.no_decode then
    put_text(buf, data, len)
  else
    put_pretty(buf, data, len, "")
  end
end

return _M
