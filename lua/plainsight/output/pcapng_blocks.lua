-- SPDX-License-Identifier: Apache-2.0
--- Blocks of pcapng (draft-ietf-opsawg-pcapng), in the byte order of this machine: one section with one interface, of
-- IP packets without a link layer.
local ffi = require "ffi"
local bit = require "bit"

local _M = {}

ffi.cdef [[
struct ps_pcapng_packet { /* Enhanced Packet Block, 4.3, up to the packet */
  uint32_t type, total_bytes, interface, time_high, time_low, captured_bytes, original_bytes;
};
]]

local SECTION, INTERFACE, STATISTICS, PACKET = 0x0a0d0d0a, 1, 5, 6
local LINKTYPE_RAW = 101
local OPT_END, OPT_COMMENT = 0, 1
local IN, OUT = 1, 2 -- epb_flags
local HEAD_BYTES = ffi.sizeof("struct ps_pcapng_packet")

local words = ffi.typeof("uint32_t *")
local packet_type = ffi.typeof("struct ps_pcapng_packet *")

local function u32(value)
  return ffi.string(ffi.new("uint32_t[1]", value), 4)
end

local function u16_pair(a, b)
  return ffi.string(ffi.new("uint16_t[2]", a, b), 4)
end

local function padded_size(bytes)
  return bit.band(bytes + 3, bit.bnot(3))
end

local function option(code, value)
  return u16_pair(code, #value) .. value .. ("\0"):rep(padded_size(#value) - #value)
end

local function block(kind, body)
  local total = #body + 12
  return u32(kind) .. u32(total) .. body .. u32(total)
end

--- What a file begins with.
-- @param application string, such as "httpsnoop 0.1.0 (Plainsight)"
-- @param system string: operating system
-- @return string: section header and interface description; times of packets are in ns
function _M.opening(application, system)
  local length_unknown = ("\255"):rep(8)
  local section = u32(0x1a2b3c4d) .. u16_pair(1, 0) .. length_unknown .. option(3, system) .. option(4, application)
    .. option(OPT_END, "")
  local snap_length_none = u32(0)
  local interface = u16_pair(LINKTYPE_RAW, 0) .. snap_length_none .. option(2, "plainsight")
    .. option(3, "plain text of HTTP, in TCP packets made for it") .. option(9, "\9") .. option(OPT_END, "")
  return block(SECTION, section) .. block(INTERFACE, interface)
end

--- What a file ends with.
-- @param unix_ns int64_t
-- @param comment string
-- @param lost number of events that were lost
-- @return string: interface statistics
function _M.statistics(unix_ns, comment, lost)
  local time = ffi.cast("uint64_t", unix_ns)
  local body = u32(0) .. u32(tonumber(time / 0x100000000ULL)) .. u32(tonumber(time % 0x100000000ULL))
    .. option(OPT_COMMENT, comment) .. option(5, ffi.string(ffi.new("uint64_t[1]", lost), 8)) .. option(OPT_END, "")
  return block(STATISTICS, body)
end

--- Make room for a packet.
-- @param buf string.buffer
-- @param captured number of bytes of the packet that are there
-- @param comment string, at most 65,535 bytes, or nil
-- @return uint8_t * to the packet, to be filled before finish(), and its block
function _M.begin(buf, captured, comment)
  local options = 8 + 4 + (comment and 4 + padded_size(#comment) or 0)
  local total = HEAD_BYTES + padded_size(captured) + options + 4
  local data, _ = buf:reserve(total)
  local head = ffi.cast(packet_type, data)
  head.type, head.total_bytes, head.captured_bytes = PACKET, total, captured
  return ffi.cast("uint8_t *", data) + HEAD_BYTES, head
end

--- Complete the block of begin().
-- @param unix_ns int64_t
-- @param original number: size of the whole packet
-- @param is_out boolean: the traced process sent it
function _M.finish(buf, head, unix_ns, original, is_out, comment)
  local time = ffi.cast("uint64_t", unix_ns)
  head.interface, head.original_bytes = 0, original
  head.time_high, head.time_low = time / 0x100000000ULL, time % 0x100000000ULL
  local packet = ffi.cast("uint8_t *", head) + HEAD_BYTES
  local captured = head.captured_bytes
  local padded = padded_size(captured)
  for i = captured, padded - 1 do packet[i] = 0 end
  local at = packet + padded
  local options = ffi.cast(words, at)
  options[0], options[1] = 2 + 4 * 0x10000, is_out and OUT or IN -- epb_flags, 4 bytes
  at = at + 8
  if comment then
    local size = padded_size(#comment)
    ffi.cast(words, at)[0] = OPT_COMMENT + #comment * 0x10000
    ffi.fill(at + 4, size)
    ffi.copy(at + 4, comment, #comment)
    at = at + 4 + size
  end
  options = ffi.cast(words, at)
  options[0], options[1] = OPT_END, head.total_bytes
  buf:commit(head.total_bytes)
end

return _M
