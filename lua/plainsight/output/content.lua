-- SPDX-License-Identifier: Apache-2.0
--- Bodies without the codings of Content-Encoding and Transfer-Encoding, such as
-- gzip, and text of other charsets as UTF-8.
local ffi = require "ffi"
local escape = require "plainsight.output.escape"
local fields = require "plainsight.output.fields"
local library = require "plainsight.library"

local _M = {}

local C = ffi.C
local lib = library.lib

-- What is decoded where the whole body is shown, whatever --max-body says of the coded bytes; and how much more is
-- decoded only to tell the size.
local KEEP_BYTES_MIN = 65536
local COUNT_FACTOR = 16

local decoder, prepare

--- Have the decoder prepared before it is used first; a new one is made.
-- @param callback function(struct ps_decoder *), or nil: it is used as it is
function _M.attach(callback) decoder, prepare = nil, callback end

local function new_decoder()
  local new = ffi.gc(lib.ps_decoder_new(), lib.ps_decoder_free)
  assert(new ~= nil, "out of memory")
  if prepare then prepare(new) end
  return new
end

local function decoded(message, keep_max, total_max)
  decoder = decoder or new_decoder()
  local content = lib.ps_decode(decoder, message, keep_max, total_max)
  if content.charset ~= nil then return content.text, content end
  if content.state == C.PS_CONTENT_PLAIN then return message.body.kept, nil end
  return content.bytes, content
end

--- The content of a message, as much of it as its limits allow.
-- @param message const struct ps_message *
-- @param opts table: no_decode (true: bytes as on the wire), max_body_bytes (number)
-- @return struct ps_slice, valid until the next call; const struct ps_content *, likewise, or nil when there is
--   nothing to decode or convert
function _M.whole(message, opts)
  if opts.no_decode or not lib.ps_is_encoded(message) then return message.body.kept, nil end
  local keep_max = math.max(opts.max_body_bytes or 0, KEEP_BYTES_MIN)
  return decoded(message, keep_max, keep_max * COUNT_FACTOR)
end

--- Its beginning.
-- @param message const struct ps_message *
-- @param bytes number: how many of them are to be shown
-- @param opts see above
-- @return see above
function _M.start(message, bytes, opts)
  if opts.no_decode or not lib.ps_is_encoded(message) then return message.body.kept, nil end
  -- In UTF-16 they are twice as many, a character that begins there is shown whole, and more is to be known of.
  local keep_max = 2 * bytes + 8
  return decoded(message, keep_max, keep_max)
end

--- True when bytes may be missing behind those that are here.
-- @param body const struct ps_body *
-- @param content of one of the functions above
-- @return boolean
function _M.is_part(body, content)
  if content == nil or content.state == C.PS_CONTENT_PLAIN or content.state == C.PS_CONTENT_NONE then
    return body.state ~= C.PS_BODY_COMPLETE
  end
  return content.state ~= C.PS_CONTENT_COMPLETE or content.bytes.len < content.size_bytes
end

--- Names of the codings, in lower case, in the order in which they were applied.
-- @param content const struct ps_content *
-- @return list of strings
function _M.codings(content)
  local names = {}
  for i = 0, content.coding_count - 1 do
    local name = content.codings[i]
    names[i + 1] = ffi.string(name.data, name.len):lower()
  end
  return names
end

local state_names = {
  [C.PS_CONTENT_COMPLETE] = "complete", [C.PS_CONTENT_TRUNCATED] = "truncated", [C.PS_CONTENT_LIMIT] = "limit",
  [C.PS_CONTENT_ERROR] = "error", [C.PS_CONTENT_NONE] = "none",
}

--- How far decoding came.
-- @param content const struct ps_content *
-- @return string: "complete", "truncated", "limit", "error" or "none"
function _M.state(content)
  return state_names[content.state]
end

local function put_codings(buf, content)
  for i, name in ipairs(_M.codings(content)) do
    buf:put(i > 1 and "," or "")
    escape.put(buf, name, #name, escape.WORD)
  end
end

local function put_sizes(buf, body, content)
  local state, shown = content.state, content.bytes.len
  fields.put_size(buf, body.kept.len)
  buf:put(" decoded to ")
  if state == C.PS_CONTENT_LIMIT then buf:put("more than ") end
  fields.put_size(buf, state == C.PS_CONTENT_LIMIT and content.size_bytes - 1 or content.size_bytes)
  if shown < content.size_bytes and content.redacted == 0 then
    buf:put(", of which ")
    fields.put_size(buf, shown)
    buf:put(" are shown")
  end
  if state == C.PS_CONTENT_TRUNCATED then buf:put(", the rest is missing") end
  if state == C.PS_CONTENT_ERROR then buf:put(", what follows is malformed") end
end

--- Append a line on what was decoded and converted, and how far.
-- @param buf string.buffer
-- @param body const struct ps_body *
-- @param content const struct ps_content *
-- @param colors see plainsight.output.fields.palette
function _M.put_note(buf, body, content, colors)
  local is_coded = content.state ~= C.PS_CONTENT_PLAIN
  local is_whole = not is_coded or content.state == C.PS_CONTENT_COMPLETE
  buf:put(is_whole and colors.faint or colors.mark, "* ")
  if is_coded then
    put_codings(buf, content)
    buf:put(": ")
    if content.state == C.PS_CONTENT_NONE then buf:put("cannot be decoded") else put_sizes(buf, body, content) end
  end
  if content.charset ~= nil then
    buf:put(is_coded and "; " or "", "text in ", ffi.string(content.charset))
  end
  buf:put(colors.off, "\n")
end

--- True when put_marks() would append something.
-- @param body const struct ps_body *
-- @param content of start(), may be nil
-- @return boolean
function _M.is_marked(body, content)
  if content == nil then return false end
  local state = content.state
  return state == C.PS_CONTENT_ERROR or state == C.PS_CONTENT_NONE
    or state == C.PS_CONTENT_TRUNCATED and body.state == C.PS_BODY_COMPLETE
end

local mark_texts = {
  [C.PS_CONTENT_ERROR] = " malformed]", [C.PS_CONTENT_NONE] = " not decoded]",
  [C.PS_CONTENT_TRUNCATED] = " truncated]",
}

--- Append a space and a mark in brackets for a coding that could not be undone to its end, although the body is whole.
-- @param buf string.buffer
-- @param body const struct ps_body *
-- @param content of start(), may be nil
function _M.put_marks(buf, body, content)
  if not _M.is_marked(body, content) then return end
  buf:put(" [")
  put_codings(buf, content)
  buf:put(mark_texts[content.state])
end

return _M
