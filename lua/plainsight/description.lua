-- SPDX-License-Identifier: Apache-2.0
--- What the compiler makes of a probe: maps and programs, not yet loaded.
--
--   { maps = { { name, type, key_size, value_size, max_entries, flags }, ... },
--     programs = { function name = string of 8-byte instructions } }
--
-- Where an instruction loads the address of a map (BPF_LD | BPF_IMM | BPF_DW with BPF_PSEUDO_MAP_FD), its
-- immediate is the map's place in `maps`, counted from 0.
local ffi = require "ffi"
local bit = require "bit"

local _M = {}

ffi.cdef "struct ps_bpf_insn { uint8_t opcode, registers; int16_t offset; int32_t imm; };" -- struct bpf_insn

--- Values in struct bpf_insn (linux/bpf.h); PSEUDO_*: as source register.
_M.insn = {
  LD_IMM64 = 0x18, CALL = 0x85, MOV32 = 0xb4, MOV64 = 0xb7,
  PSEUDO_MAP_FD = 0x10, PSEUDO_MAP_VALUE = 0x20, PSEUDO_KFUNC_CALL = 0x20, SOURCE = 0xf0, DESTINATION = 0x0f,
}
local INSN_SIZE = 8
local INSNS_MAX = 1000000 -- of a program: BPF_COMPLEXITY_LIMIT_INSNS

--- A copy of instructions that can be changed.
-- @param insns string
-- @return struct ps_bpf_insn[], how many
function _M.instructions(insns)
  local count = #insns / INSN_SIZE
  local code = ffi.new("struct ps_bpf_insn[?]", count)
  ffi.copy(code, insns, #insns)
  return code, count
end

--- The instructions of such a copy as a string.
function _M.bytes(code, count) return ffi.string(code, count * INSN_SIZE) end

--- Make the map references of a program places in a list.
-- @param insns string; immediates are descriptors
-- @param places { descriptor = place }
-- @return string
function _M.with_places(insns, places)
  local code, count = _M.instructions(insns)
  local i = 0
  while i < count do
    if code[i].opcode == _M.insn.LD_IMM64 then
      local reference = bit.band(code[i].registers, _M.insn.SOURCE) == _M.insn.PSEUDO_MAP_FD
      if reference then code[i].imm = assert(places[code[i].imm], "a map that BCC does not list") end
      i = i + 1 -- the second half of the instruction
    end
    i = i + 1
  end
  return _M.bytes(code, count)
end

--- As text: a line for each map, a line and the instructions for each program.
function _M.encode(description)
  local parts = {}
  for _, map in ipairs(description.maps) do
    parts[#parts + 1] = ("map %s %d %d %d %d %d\n"):format(map.name, map.type, map.key_size, map.value_size,
      map.max_entries, map.flags)
  end
  local names = {}
  for name in pairs(description.programs) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local insns = description.programs[name]
    parts[#parts + 1] = ("program %s %d\n%s\n"):format(name, #insns, insns)
  end
  parts[#parts + 1] = "end\n"
  return table.concat(parts)
end

local function decode_map(line)
  local name, numbers = line:match("^map ([%w_]+) ([%d ]+)$")
  if not name then return nil end
  local values = {}
  for number in numbers:gmatch("%d+") do values[#values + 1] = tonumber(number) end
  if #values ~= 5 then return nil end
  return {
    name = name, type = values[1], key_size = values[2], value_size = values[3], max_entries = values[4],
    flags = values[5],
  }
end

--- Read what encode() has written.
-- @return description, or nil when it is not whole
function _M.decode(text)
  local description, at = { maps = {}, programs = {} }, 1
  while true do
    local line_end = text:find("\n", at, true)
    if not line_end then return nil end
    local line = text:sub(at, line_end - 1)
    at = line_end + 1
    if line == "end" then return at == #text + 1 and description or nil end
    local name, size = line:match("^program ([%w_]+) (%d+)$")
    if name then
      size = tonumber(size)
      if size % INSN_SIZE ~= 0 or size > INSNS_MAX * INSN_SIZE or #text < at + size then return nil end
      description.programs[name] = text:sub(at, at + size - 1)
      at = at + size + 1
    else
      local map = decode_map(line)
      if not map then return nil end
      description.maps[#description.maps + 1] = map
    end
  end
end

return _M
