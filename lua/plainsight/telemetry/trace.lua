-- SPDX-License-Identifier: Apache-2.0
--- Identifiers of spans, made from what both ends of an exchange see, so that the views of client and server, and of
-- another run or another machine, get the same ones.
--
-- An exchange is told apart by its two TCP endpoints, its stream, method and target, the Date of its response, its
-- trace context, and a number when all these are the same again (the order on a connection is the same at both ends).
--
-- With a trace context in the request (W3C Trace Context, B3) the spans belong to that trace, and their parent is the
-- span that it names: "the ID of this request as known by the caller". That span is the caller's own; if it reports
-- itself, ours are its children and never take its id. A process that passes a context on unchanged, as proxies do,
-- has not made a span: what it sends is then a child of what it received.
--
-- Without one, the trace id is made from the exchange, and the server's span is a child of the client's when that is
-- seen here as well.
local bit = require "bit"
local buffer = require "string.buffer"
local ffi = require "ffi"
local fields = require "plainsight.output.fields"
local library = require "plainsight.library"
local recent = require "plainsight.recent"

local _M = {}
local C = ffi.C
local lib = library.lib

local SAME_MAX, VIEWS_MAX = 16384, 16384
-- OTLP, SpanFlags: the parent's flags, that it is known whether it is remote, and that it is.
local FLAG_REMOTE_KNOWN, FLAG_REMOTE = 0x100, 0x200

local Tracer = {}
Tracer.__index = Tracer

--- @return object
function _M.new()
  return setmetatable({
    text = buffer.new(), same = recent.new(SAME_MAX), client_views = recent.new(VIEWS_MAX),
    server_views = recent.new(VIEWS_MAX),
  }, Tracer)
end

local digest = ffi.new("uint8_t[16]")

local function digest_of(text)
  lib.ps_digest(text, #text, digest)
  return ffi.string(digest, 16)
end

local hex_digits, hex_text = "0123456789abcdef", ffi.new("char[32]")

-- A loop that is compiled, for bytes of at most 16.
local function hex(bytes)
  for i = 1, #bytes do
    local byte = bytes:byte(i)
    hex_text[2 * i - 2], hex_text[2 * i - 1] = hex_digits:byte(bit.rshift(byte, 4) + 1),
      hex_digits:byte(bit.band(byte, 15) + 1)
  end
  return ffi.string(hex_text, 2 * #bytes)
end

local function is_zero(digits) return not digits:find("[^0]") end

-- W3C Trace Context 3.2. A version that is not known may have more behind the flags.
local function traceparent(request)
  local value = fields.header(request, "traceparent")
  if not value or #value < 55 then return nil end
  local version, trace, span, flags, rest = value:match("^(%x%x)%-(%x+)%-(%x+)%-(%x%x)(.*)$")
  if not version or #trace ~= 32 or #span ~= 16 or value:find("%u") or version == "ff" then return nil end
  if rest ~= "" and (version == "00" or rest:sub(1, 1) ~= "-") then return nil end
  if is_zero(trace) or is_zero(span) then return nil end
  return { trace = trace, span = span, flags = tonumber(flags, 16) }
end

-- The two forms of https://github.com/openzipkin/b3-propagation; of ids of 64 bits, the upper half is 0.
local function b3(request)
  local single = fields.header(request, "b3")
  local trace, span, sampled
  if single then
    trace, span, sampled = single:match("^(%x+)%-(%x+)%-?([01d]?)")
  else
    trace = fields.header(request, "x-b3-traceid")
    if not trace then return nil end
    span, sampled = fields.header(request, "x-b3-spanid"), fields.header(request, "x-b3-sampled")
  end
  if not trace or not span or #span ~= 16 or #trace ~= 16 and #trace ~= 32 then return nil end
  if trace:find("%X") or span:find("%X") or is_zero(trace) or is_zero(span) then return nil end
  return { trace = ("0"):rep(32 - #trace) .. trace:lower(), span = span:lower(), flags = sampled == "0" and 0 or 1 }
end

--- The trace context that a request carries.
-- @param request const struct ps_message *
-- @return table: trace, span (hexadecimal, lower case), flags (number); nil when it has none that is valid
function _M.context(request) return traceparent(request) or b3(request) end

local function put_slice(buf, slice)
  buf:putcdata(slice.data, tonumber(slice.len)):put("\0")
end

-- Address and port of an end, an address of IPv4 the same in both families.
local MAPPED = ("\0"):rep(10) .. "\255\255" -- RFC 4291 2.5.5.2

local function put_end(buf, endpoint)
  local is_inet = endpoint.family == C.PS_FAMILY_INET
  if not is_inet and ffi.string(endpoint.addr, 12) == MAPPED then
    buf:putcdata(endpoint.addr + 12, 4)
  else
    buf:putcdata(endpoint.addr, is_inet and 4 or 16)
  end
  buf:putf(" %d ", endpoint.port)
end

-- Whether both ends know the connection by the same addresses.
local function is_shared(ex)
  local family = ex["local"].family
  return ex.side ~= C.PS_SIDE_UNKNOWN and (family == C.PS_FAMILY_INET or family == C.PS_FAMILY_INET6)
end

local function put_identity(buf, ex, context)
  if is_shared(ex) then
    local is_client = ex.side == C.PS_SIDE_CLIENT
    put_end(buf, is_client and ex["local"] or ex.remote)
    put_end(buf, is_client and ex.remote or ex["local"])
  else
    buf:putf("%u %u %d ", ex.conn_id, ex.id, ex.side)
  end
  buf:putf("%d ", ex.stream_id)
  local request, response = fields.request(ex), fields.response(ex)
  if request then
    put_slice(buf, request.method)
    put_slice(buf, request.target)
  end
  local date = response and fields.header_slice(response, "date")
  if date then put_slice(buf, date) end
  if context then buf:put(context.trace, context.span) end
end

-- Bytes that are the same for both views of an exchange and for no other.
function Tracer:identity(ex, context, side)
  local buf = self.text:reset()
  put_identity(buf, ex, context)
  local bytes, len = buf:ref()
  lib.ps_digest(ffi.cast("const char *", bytes), len, digest)
  local base = ffi.string(digest, 16)
  local counted = base .. side
  local count = (self.same:get(counted) or 0) + 1
  self.same:set(counted, count)
  return count == 1 and base or digest_of(base .. count)
end

local function span_id(identity, side)
  return digest_of(identity .. side):sub(1, 8)
end

--- Identifiers of the span of an exchange, as far as they are known when it ends.
-- @param ex const struct ps_exchange *
-- @param seen see plainsight.telemetry.observation
-- @return table for resolve()
function Tracer:begin(ex, seen)
  local request = fields.request(ex)
  local context = request and _M.context(request)
  local identity = self:identity(ex, context, seen.side)
  local span = span_id(identity, seen.side)
  local ids = { identity = identity, span = span, side = seen.side, context = context, pid = seen.workload.pid }
  if seen.side == "client" then
    self.client_views:set(identity, true)
  elseif context then
    self.server_views:set(context.trace .. context.span .. ids.pid, ids)
  end
  return ids
end

-- The span of what the same process received with the context that it passes on. (A process may call itself.)
function Tracer:passed_on(ids)
  local context = ids.context
  local view = ids.side == "client" and self.server_views:get(context.trace .. context.span .. ids.pid)
  return view and view.identity ~= ids.identity and view.span or nil
end

--- Identifiers of a span, some time after its exchange has ended, so that the other view of it has been seen too.
-- @param ids of begin()
-- @return trace id, span id, id of the parent (nil: none), all in hexadecimal; flags of the span (number)
function Tracer:resolve(ids)
  local context = ids.context
  if context then
    local passed_on = self:passed_on(ids)
    local flags = bit.bor(bit.band(context.flags, 0xff), FLAG_REMOTE_KNOWN, passed_on and 0 or FLAG_REMOTE)
    return context.trace, hex(ids.span), passed_on and hex(passed_on) or context.span, flags
  end
  local parent = ids.side == "server" and self.client_views:get(ids.identity) and span_id(ids.identity, "client")
  return hex(ids.identity), hex(ids.span), parent and hex(parent) or nil, bit.bor(1, FLAG_REMOTE_KNOWN,
    parent and FLAG_REMOTE or 0)
end

return _M
