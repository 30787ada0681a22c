-- SPDX-License-Identifier: Apache-2.0
--- From the functions of a TLS library, as its file in lua/plainsight/tls/library/ tells them, to places for uprobes.
--
-- A function is a table:
--   name      symbol; of Go the name with its package
--   inner     list of exported functions: the one local function that all of them call with the same first arguments
--             is meant, which has no symbol. When it is not found, `otherwise` counts
--   otherwise list of functions to take in its place
--   action    "move" (default), or another one of enum ps_tls_action
--   sends     it sends plaintext; else it receives
--   session, buffer
--             which argument it is, counted from 1: what tells connections apart; the address of the bytes (for set_fd
--             the descriptor)
--   moved     argument with the address of a size_t that is set when the result is 1; true: of an inner function the
--             one that is found there. Without it the result is the number of bytes
--   count     argument: the buffer is a vector of so many
--   flags     argument: flags as of recv(2)
--   all       argument: the result 0 means that so many bytes were moved
--   int       the result is an int
--   zero_ends the result 0 means that the peer has closed its direction; of a handshake that it is done (else 1 does)
--   no_buffer, maybe_plain, repeats
--             see enum ps_tls_flags in probes/include/event.h
-- and a library may have go = true: Go's calling convention.
local ffi = require "ffi"
local bit = require "bit"
require "plainsight.contract"

local _M = {}
local C = ffi.C

local ACTIONS = {
  move = C.PS_TLS_MOVE, packet = C.PS_TLS_PACKET, packet_data = C.PS_TLS_PACKET_DATA, cover = C.PS_TLS_COVER,
  handshake = C.PS_TLS_HANDSHAKE, accept = C.PS_TLS_ACCEPT, begin = C.PS_TLS_BEGIN, reset = C.PS_TLS_RESET,
  set_fd = C.PS_TLS_SET_FD, shutdown = C.PS_TLS_SHUTDOWN, free = C.PS_TLS_FREE,
}
local FLAGS = {
  sends = C.PS_TLS_OUT, moved = C.PS_TLS_MOVED, count = C.PS_TLS_VECTOR, flags = C.PS_TLS_CALL_FLAGS,
  no_buffer = C.PS_TLS_NO_BUFFER, maybe_plain = C.PS_TLS_MAYBE_PLAIN, repeats = C.PS_TLS_REPEATS, int = C.PS_TLS_INT,
  zero_ends = C.PS_TLS_ZERO_ENDS, all = C.PS_TLS_ALL,
}

local function action_of(definition) return definition.action or "move" end

--- What a function does, as the cookie of its probe.
-- @param site where it is: see plainsight.elf
-- @return uint64_t
local function cookie_of(definition, site, context)
  local cookie = ffi.new("struct ps_tls_function[1]")
  local flags = context.is_go and C.PS_TLS_GO or 0
  for name, flag in pairs(FLAGS) do
    if definition[name] then flags = bit.bor(flags, flag) end
  end
  cookie[0].library, cookie[0].flags, cookie[0].action = context.number, flags, ACTIONS[action_of(definition)]
  cookie[0].session, cookie[0].buffer = definition.session or 0, definition.buffer or 0
  cookie[0].third = site.moved_argument or site.skip_flags or definition.moved or definition.count or definition.flags
    or definition.all or 0
  return ffi.cast("const uint64_t *", cookie)[0]
end

local function add(places, definition, site, context)
  local cookie = cookie_of(definition, site, context)
  places.enter[#places.enter + 1] = { offset = site.entry, cookie = cookie }
  if ACTIONS[action_of(definition)] > C.PS_TLS_LAST_THAT_RETURNS then return end
  for _, offset in ipairs(site.returns or { site.entry }) do
    places.leave[#places.leave + 1] = { offset = offset, cookie = cookie }
  end
  if not site.emulated then places.slow[#places.slow + 1] = definition.name end
end

local add_all

--- Where the function is. Returns a site of plainsight.elf, or nil and the reason.
local function site_of(definition, context)
  if definition.inner then return context.image:inner_site(definition.inner) end
  if not context.is_go then return context.image:site(definition.name) end
  local functions, err = context.image:go_functions({ definition.name })
  local found = functions and functions[definition.name]
  if not found then return nil, err or "not in the program" end
  return context.image:go_site(found)
end

local function add_one(places, definition, context)
  local site, reason = site_of(definition, context)
  if site then
    add(places, definition, site, context)
  elseif definition.otherwise then
    places.slow[#places.slow + 1] = ("%s: %s"):format(definition.name, reason)
    add_all(places, definition.otherwise, context)
  elseif action_of(definition) == "move" then
    places.refused = places.refused or ("%s: %s"):format(definition.name, reason)
  end
end

function add_all(places, definitions, context)
  for _, definition in ipairs(definitions) do add_one(places, definition, context) end
end

--- Where to attach in an image.
-- @param library of plainsight.tls.registry
-- @param image of plainsight.elf
-- @param number of the library file, from 1 to 65535, by which exchanges tell it
-- @return table: enter, leave: lists of { offset, cookie } for plainsight.uprobes; leave_by_return: true when the
--   latter are where functions begin that are to be watched where they return; slow: functions whose probes sit on
--   instructions that the kernel has to single-step; refused: why the first function that moves data was not found, or
--   nil
function _M.places(library, image, number)
  local places = { enter = {}, leave = {}, slow = {}, leave_by_return = not library.go }
  add_all(places, library.functions, { image = image, number = number, is_go = library.go })
  return places
end

return _M
