-- SPDX-License-Identifier: Apache-2.0
--- What a packet's comment says of an exchange: who, and what is missing.
local buffer = require "string.buffer"
local ciphers = require "plainsight.output.ciphers"
local escape = require "plainsight.output.escape"
local fields = require "plainsight.output.fields"
local ffi = require "ffi"
local json = require "plainsight.output.json"
local stream = require "plainsight.output.stream"
require "plainsight.contract"

local _M = {}

local C = ffi.C
local buf = buffer.new()

local function put_word(text)
  escape.put(buf, text, #text, escape.LINE)
end

local function put_container(process, opts)
  local container = opts.container_of and opts.container_of(process)
  if not container then return end
  buf:put("; container ")
  if container.pod then put_word(("%s/%s/"):format(container.namespace or "?", container.pod)) end
  put_word(container.name or container.id or "?")
end

local function put_process(process, ts_ns, opts)
  local comm, comm_len = fields.comm(process)
  escape.put(buf, comm, comm_len, escape.LINE)
  buf:putf(" (pid %d, tid %d, uid %d", process.tgid, process.tid, process.uid)
  local exe = json.executable(process.tgid, ffi.string(comm, comm_len), ts_ns)
  if exe then
    buf:put(", ")
    put_word(exe:sub(2, -2))
  end
  buf:put(")")
  put_container(process, opts)
end

local function put_missing(message)
  local body = message.body
  if fields.has(message.flags, C.PS_MESSAGE_WITHHELD) then
    -- The length is a fact of the capture, so that what follows stays in its place.
    buf:putf("; cut: none of %u bytes of the body are here, as they are coded and hold a secret (--show-secrets)",
      body.size_bytes)
  elseif body.state == C.PS_BODY_TRUNCATED then
    buf:putf("; cut: %u of %u bytes of the body are here (--max-body)", body.kept.len, body.size_bytes)
  end
  if body.gap_bytes > 0 then
    buf:putf("; lost: %u bytes of the body, from byte %u on", body.gap_bytes, body.gap_offset)
  elseif body.state == C.PS_BODY_GAP then
    buf:put("; lost: the end of the body")
  end
  for _, name in ipairs(fields.message_flags(message) or {}) do buf:put("; ", name) end
end

--- Of a connection, on its first packet.
-- @param ex const struct ps_exchange *
-- @param port number: the server's port when it is shown as another one, or nil
-- @param opts see plainsight.output.har_entry; application is the name of the tool
-- @return string
function _M.connection(ex, port, opts)
  buf:reset()
  buf:put("plain text seen by ", opts.application, "; what follows are packets made for it")
  if fields.is_unix(ex) then
    local name = fields.unix_name(ex)
    buf:put("; unix socket ")
    put_word(name:sub(6))
    buf:put(": addresses stand for its ends")
  elseif not fields.has_address(ex) then
    buf:put("; the socket is not known: addresses stand for its ends")
  end
  if ex.library ~= 0 then
    local library = opts.library_of(ex.library)
    buf:put("; was encrypted by ", library.type, " ")
    put_word(library.path)
    if ex.tls ~= nil then
      buf:put(", ", ciphers.protocol(ex.tls.protocol) or "version not known")
      if ex.tls.server_name[0] ~= 0 then
        buf:put(", server name ")
        put_word(ffi.string(ex.tls.server_name))
      end
    end
  end
  if port then buf:putf("; server port %d is written as 80, where tshark looks for HTTP", port) end
  if fields.has(ex.flags, C.PS_EXCHANGE_MIDSTREAM) then buf:put("; was open before the capture saw it (midstream)") end
  return buf:get()
end

--- Of a request, on its first packet.
-- @return string
function _M.request(ex, opts)
  local request = ex.request
  buf:reset()
  buf:putf("exchange %u, %s: ", ex.id, json.side_names[ex.side])
  put_process(request.process, request.first_ts_ns, opts)
  put_missing(request)
  for _, name in ipairs(json.exchange_flags(ex)) do
    if name ~= "midstream" then buf:put("; ", name) end
  end
  if not fields.response(ex) then buf:put("; no response: ", fields.missing_reason(ex) or "unknown") end
  return buf:get()
end

--- Of a response, on its first packet.
-- @return string
function _M.response(ex, opts)
  local request, response = fields.request(ex), ex.response
  buf:reset()
  buf:putf("exchange %u", ex.id)
  if not request then buf:putf(", %s, request not seen", json.side_names[ex.side]) end
  if not request or request.process.tid ~= response.process.tid then
    buf:put(": ")
    put_process(response.process, response.first_ts_ns, opts)
  end
  put_missing(response)
  if ex.interim_count > 0 then buf:put("; before it: ", table.concat(fields.interim(ex), ",")) end
  if fields.has(ex.flags, C.PS_EXCHANGE_RESET) then buf:putf("; stream reset, error %d", ex.error_code) end
  if fields.has(ex.flags, C.PS_EXCHANGE_TUNNEL) and ex.protocol == C.PS_STREAM_NONE then
    buf:put("; what follows on the connection is not here")
  end
  return buf:get()
end

--- Of a message of a WebSocket.
-- @return string
function _M.message(ex, message, opts)
  buf:reset()
  buf:putf("exchange %u: ", ex.id)
  put_process(message.process, message.first_ts_ns, opts)
  local body = message.body
  if body.state ~= C.PS_BODY_COMPLETE then
    buf:putf("; %s: %u of %u bytes are here", body.state == C.PS_BODY_GAP and "lost" or "cut", body.kept.len,
      body.size_bytes)
  end
  for _, name in ipairs(stream.flags(message)) do buf:put("; ", name) end
  return buf:get()
end

return _M
