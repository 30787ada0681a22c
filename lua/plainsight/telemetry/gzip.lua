-- SPDX-License-Identifier: Apache-2.0
--- gzip (RFC 1952) by zlib.
local ffi = require "ffi"

local _M = {}

ffi.cdef [[
struct ps_z_stream { /* zlib.h: z_stream */
  const uint8_t *next_in; unsigned avail_in; unsigned long total_in;
  uint8_t *next_out; unsigned avail_out; unsigned long total_out;
  const char *message; void *state; void *alloc; void *free; void *opaque; int data_type; unsigned long adler, reserved;
};
int deflateInit2_(struct ps_z_stream *stream, int level, int method, int window_bits, int mem_level, int strategy,
  const char *version, int size);
unsigned long deflateBound(struct ps_z_stream *stream, unsigned long bytes);
int deflate(struct ps_z_stream *stream, int flush);
int deflateEnd(struct ps_z_stream *stream);
]]

local LEVEL, DEFLATED, WINDOW_GZIP, MEM_LEVEL = 1, 8, 15 + 16, 8
local FINISH, STREAM_END = 4, 1

--- @param text string
-- @return string, compressed; or nil and a message
function _M.compress(text)
  local ok, z = pcall(ffi.load, "libz.so.1")
  if not ok then return nil, "zlib is missing: install the package zlib1g" end
  local stream = ffi.new("struct ps_z_stream")
  if z.deflateInit2_(stream, LEVEL, DEFLATED, WINDOW_GZIP, MEM_LEVEL, 0, "1", ffi.sizeof(stream)) ~= 0 then
    return nil, "zlib: out of memory"
  end
  local size = tonumber(z.deflateBound(stream, #text))
  local out = ffi.new("uint8_t[?]", size)
  stream.next_in, stream.avail_in = ffi.cast("const uint8_t *", text), #text
  stream.next_out, stream.avail_out = out, size
  local result = z.deflate(stream, FINISH)
  local len = tonumber(stream.total_out)
  z.deflateEnd(stream)
  if result ~= STREAM_END then return nil, "zlib: cannot compress" end
  return ffi.string(out, len)
end

return _M
