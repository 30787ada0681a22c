-- SPDX-License-Identifier: Apache-2.0
--- A TCP connection made of what moved on it: handshake, segments, acknowledgements, end; over IPv4 or IPv6.
-- Numbers, lengths and checksums are right. What is known to have moved but is not here is there as length only: of
-- bytes that were counted as packets without them, of lost ones as a jump of the sequence number.
local bit = require "bit"
local blocks = require "plainsight.output.pcapng_blocks"
local ffi = require "ffi"
require "plainsight.contract"

local _M = {}

local C = ffi.C
local bswap, rshift, band, bxor = bit.bswap, bit.rshift, bit.band, bit.bxor

local FIN, SYN, PSH, ACK = 0x01, 0x02, 0x08, 0x10
local PROTOCOL_TCP = 6
local WINDOW = 65535
--- Payload of one packet at most: an IPv4 packet has 65,535 bytes.
_M.SEGMENT_MAX = 65495
-- In a SYN: this as the largest segment (RFC 9293 3.2), and the largest window scale, 14 (RFC 7323 2.2).
local SYN_OPTIONS = "\2\4\255\215\1\3\3\14"

-- Packets for bytes that were counted only, 2 GiB of them at most; beyond that, the sequence number jumps.
local EMPTY_PACKETS_MAX = 32768
-- So far at most: a jump over half of all numbers would be one back.
local JUMP_MAX = 0x40000000
-- What is acknowledged at once, less than the window.
local SEGMENTS_PER_ACK = 64

local Stream = {}
Stream.__index = Stream

-- ---- packets --------------------------------------------------------------------------------------------------------

-- The sum of RFC 1071 before it is folded: of 16-bit words in the byte order of this machine, which does not matter.
local function sum(bytes, len, from)
  local words = ffi.cast("const uint32_t *", bytes)
  local count = rshift(len, 2)
  for i = 0, count - 1 do from = from + words[i] end
  local tail, weight = 0, 1
  for i = count * 4, len - 1 do
    tail, weight = tail + bytes[i] * weight, weight * 256
  end
  return from + tail
end

local function checksum(total)
  local folded = total % 65535
  if folded == 0 and total > 0 then folded = 65535 end
  return bxor(folded, 0xffff)
end

local function put16(at, value) -- network byte order
  at[0], at[1] = rshift(value, 8), band(value, 255)
end

local function put32(at, value)
  ffi.cast("uint32_t *", at)[0] = bswap(bit.tobit(value))
end

-- Returns the sum of the pseudo-header (RFC 9293 3.1, RFC 8200 8.1).
local function put_ipv4(at, from, to, payload_bytes, number)
  ffi.fill(at, 20)
  at[0] = 0x45
  put16(at + 2, 20 + payload_bytes)
  put16(at + 4, band(number, 0xffff))
  at[6], at[8], at[9] = 0x40, 64, PROTOCOL_TCP -- don't fragment; time to live
  ffi.copy(at + 12, from.addr, 4)
  ffi.copy(at + 16, to.addr, 4)
  ffi.cast("uint16_t *", at + 10)[0] = checksum(sum(at, 20, 0))
  return sum(at + 12, 8, 0)
end

local function put_ipv6(at, from, to, payload_bytes)
  ffi.fill(at, 40)
  at[0], at[6], at[7] = 0x60, PROTOCOL_TCP, 64
  put16(at + 4, payload_bytes)
  ffi.copy(at + 8, from.addr, 16)
  ffi.copy(at + 24, to.addr, 16)
  return sum(at + 8, 32, 0)
end

-- Length and protocol of the pseudo-header, as a sum of words in the byte order of this machine.
local function pseudo_tail(payload_bytes)
  return rshift(bswap(payload_bytes), 16) + rshift(bswap(PROTOCOL_TCP), 16)
end

local function put_tcp(at, from, to, flags, data, captured, header_bytes)
  ffi.fill(at, header_bytes)
  put16(at, from.port)
  put16(at + 2, to.port)
  put32(at + 4, from.seq)
  if band(flags, ACK) ~= 0 then put32(at + 8, to.seq) end
  at[12], at[13] = header_bytes * 4, flags
  put16(at + 14, WINDOW)
  if header_bytes > 20 then ffi.copy(at + 20, SYN_OPTIONS, #SYN_OPTIONS) end
  if captured > 0 then ffi.copy(at + header_bytes, data, captured) end
end

-- One packet from one end to the other. size: of its payload, of which captured bytes are at data. Bytes that are not
-- here count as zeros in the checksum, which nobody can check.
local function put_packet(self, buf, is_client, flags, data, captured, size, ts, comment)
  local from, to = self.client, self.server
  if not is_client then from, to = to, from end
  local ip_bytes = self.is_ipv6 and 40 or 20
  local tcp_bytes = band(flags, SYN) ~= 0 and 20 + #SYN_OPTIONS or 20
  local packet, block = blocks.begin(buf, ip_bytes + tcp_bytes + captured, comment)
  local segment_bytes = tcp_bytes + size
  local pseudo = self.is_ipv6 and put_ipv6(packet, from, to, segment_bytes)
    or put_ipv4(packet, from, to, segment_bytes, from.packets)
  local tcp = packet + ip_bytes
  put_tcp(tcp, from, to, flags, data, captured, tcp_bytes)
  local total = sum(tcp, tcp_bytes + captured, pseudo + pseudo_tail(segment_bytes))
  ffi.cast("uint16_t *", tcp + 16)[0] = checksum(total)
  blocks.finish(buf, block, ts, ip_bytes + segment_bytes, is_client == self.is_client_traced, comment)
  from.packets = from.packets + 1
  from.seq = (from.seq + size + (band(flags, SYN + FIN) ~= 0 and 1 or 0)) % 0x100000000
end

-- ---- the connection -------------------------------------------------------------------------------------------------

-- Where the numbers of a connection begin: apart from those of one before it on the same ports.
local next_seq = 1

local function end_of(endpoint, port)
  local address = ffi.new("uint8_t[16]")
  ffi.copy(address, endpoint.addr, 16)
  next_seq = (next_seq + 0x10000001) % 0x100000000
  return { addr = address, port = port or endpoint.port, seq = next_seq, packets = 1 }
end

--- A connection of which nothing is written yet.
-- @param client, server struct ps_endpoint, or a table with addr (uint8_t[16]), port and family
-- @param server_port number: in the place of the server's own
-- @param is_client_traced boolean
-- @return stream
function _M.new(client, server, server_port, is_client_traced)
  return setmetatable({
    client = end_of(client), server = end_of(server, server_port), is_client_traced = is_client_traced,
    is_ipv6 = client.family == C.PS_FAMILY_INET6, is_open = false, last_ts = 0LL,
  }, Stream)
end

--- Whether it was opened and not closed.
function Stream:opened() return self.is_open end

--- Append the handshake.
-- @param buf string.buffer
-- @param ts int64_t Unix time in ns
-- @param comment string or nil
function Stream:open(buf, ts, comment)
  self.is_open, self.last_ts = true, ts
  put_packet(self, buf, true, SYN, nil, 0, 0, ts, comment)
  put_packet(self, buf, false, SYN + ACK, nil, 0, 0, ts)
  put_packet(self, buf, true, ACK, nil, 0, 0, ts)
end

--- Append its end, begun by the server.
function Stream:close(buf, ts)
  if not self.is_open then return end
  self.is_open = false
  put_packet(self, buf, false, FIN + ACK, nil, 0, 0, ts)
  put_packet(self, buf, true, FIN + ACK, nil, 0, 0, ts)
  put_packet(self, buf, false, ACK, nil, 0, 0, ts)
end

--- Append an acknowledgement of all that one end has sent.
local function acknowledge(self, buf, is_client, ts)
  put_packet(self, buf, not is_client, ACK, nil, 0, 0, ts)
end

--- Append bytes that are all here.
-- @param is_client boolean: the client sends them
-- @param data const char *, len bytes
-- @param first number: how many of them the first segment has at most; nil: as many as it can
-- @param from_ts, to_ts int64_t: when the first and the last of them moved
-- @param comment string or nil, of the first packet
function Stream:send(buf, is_client, data, len, first, from_ts, to_ts, comment)
  local at, count = 0, 0
  local size = math.min(first or len, len, _M.SEGMENT_MAX)
  while at < len do
    local is_last = at + size >= len
    local ts = from_ts
    if at > 0 then
      ts = is_last and to_ts or from_ts + ffi.cast("int64_t", tonumber(to_ts - from_ts) * (at / len))
    end
    put_packet(self, buf, is_client, is_last and PSH + ACK or ACK, data + at, size, size, ts, comment)
    at, count, comment = at + size, count + 1, nil
    if is_last or count % SEGMENTS_PER_ACK == 0 then acknowledge(self, buf, is_client, ts) end
    size = math.min(len - at, _M.SEGMENT_MAX)
  end
  self.last_ts = to_ts
end

--- Append what moved and is not here.
-- @param missing number of bytes
-- @param is_gap boolean: they were lost; else counted only
function Stream:skip(buf, is_client, missing, is_gap, ts)
  local packets = is_gap and 0 or EMPTY_PACKETS_MAX
  while missing > 0 and packets > 0 do
    local size = math.min(missing, _M.SEGMENT_MAX)
    put_packet(self, buf, is_client, ACK, nil, 0, size, ts)
    missing, packets = missing - size, packets - 1
    if packets % SEGMENTS_PER_ACK == 0 or missing == 0 then acknowledge(self, buf, is_client, ts) end
  end
  local from = is_client and self.client or self.server
  from.seq = (from.seq + math.min(missing, JUMP_MAX)) % 0x100000000
end

--- Append a message whose end is not here, in one packet that is larger than what is there of it, as if a short
-- snapshot length had cut it: so its head is shown, and the rest is not waited for. Before a gap, by one byte.
-- @param data const char *, len bytes of it; what does not fit into a packet is left out
-- @param missing number of bytes behind them, at least 1
-- @return how many of the len bytes were left out
function Stream:send_cut(buf, is_client, data, len, missing, is_gap, from_ts, to_ts, comment)
  local here = math.min(len, _M.SEGMENT_MAX - 1)
  local size = is_gap and here + 1 or math.min(len + missing, _M.SEGMENT_MAX)
  put_packet(self, buf, is_client, PSH + ACK, data, here, size, from_ts, comment)
  self:skip(buf, is_client, len + missing - size, is_gap, to_ts)
  if len + missing == size then acknowledge(self, buf, is_client, to_ts) end
  self.last_ts = to_ts
  return len - here
end

return _M
