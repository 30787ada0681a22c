-- SPDX-License-Identifier: Apache-2.0
--- From a description (plainsight.description) to maps and programs in the kernel.
--
-- A map is created when the first program that uses it is loaded. What is known only at run time is put into the
-- instructions here: descriptors of maps, the address of the settings, BTF ids of kernel functions, constants.
local ffi = require "ffi"
local bit = require "bit"
local bpf = require "plainsight.bpf"
local description = require "plainsight.description"

local _M = {}
local C = ffi.C
local INSN = description.insn

-- The upper half of the address from which probes read their settings (probes/include/settings.h); the
-- lower half is the offset.
local SETTINGS_ADDRESS = 0x7fff0200
local SETTINGS_MAP = "settings"
local MAP_TYPE_ARRAY, F_RDONLY_PROG = 2, 128 -- enum bpf_map_type, BPF_F_RDONLY_PROG

local Loader = {}
Loader.__index = Loader

--- Prepare to load; nothing is created yet.
-- @param what see plainsight.description
-- @param options table with any of
--   settings: string, the content of the map that SETTINGS in the probes stands for
--   max_entries: { map = number } in place of what the probe says
--   kfuncs: { number that the probe calls = BTF id of the kernel function }
--   maps: { name = fd } that exist already and are to be shared; they stay the caller's
-- @return object with maps and programs: { name = fd }, for the caller to use and not to close
function _M.new(what, options)
  options = options or {}
  local self = setmetatable({
    programs = {}, maps = {}, owned = {}, insns = what.programs, places = what.maps, definitions = {},
    settings = options.settings, max_entries = options.max_entries or {}, kfuncs = options.kfuncs or {},
  }, Loader)
  for _, map in ipairs(what.maps) do self.definitions[map.name] = map end
  for name, fd in pairs(options.maps or {}) do self.maps[name] = fd end
  return self
end

function Loader:own(fd)
  self.owned[#self.owned + 1] = fd
  return fd
end

--- Descriptor of a map, created when it is new.
-- @param name as in the text
-- @param alias name of the map to use in its place
-- @return fd, or nil and a message
function Loader:map(name, alias)
  if self.maps[alias] then return self.maps[alias] end
  local definition = {}
  for key, value in pairs(self.definitions[name]) do definition[key] = value end
  definition.max_entries = self.max_entries[alias] or definition.max_entries
  local fd, err = bpf.map_create(alias, definition)
  if not fd then return nil, err end
  self.maps[alias] = self:own(fd)
  return fd
end

--- Descriptor of the map of settings: filled and frozen, so that the verifier takes them as constants.
function Loader:settings_map()
  if self.maps[SETTINGS_MAP] then return self.maps[SETTINGS_MAP] end
  if not self.settings then return nil, "the probe reads settings, and there are none" end
  local size = #self.settings
  local fd, err = bpf.map_create(SETTINGS_MAP, {
    type = MAP_TYPE_ARRAY, key_size = 4, value_size = size, max_entries = 1, flags = F_RDONLY_PROG,
  })
  if not fd then return nil, err end
  self:own(fd)
  local ok
  -- With room for the NUL, which LuaJIT copies too.
  ok, err = bpf.map_update(fd, ffi.new("uint32_t[1]"), ffi.new("char[?]", size + 1, self.settings))
  if ok then ok, err = bpf.map_freeze(fd) end
  if not ok then return nil, err end
  self.maps[SETTINGS_MAP] = fd
  return fd
end

--- A 64-bit value as two immediates: the lower half and the upper half, both signed.
local function halves(value)
  local words = ffi.new("int32_t[2]")
  ffi.cast("int64_t *", words)[0] = ffi.cast("int64_t", value)
  return words[0], words[1]
end

--- Resolve what a 64-bit load stands for. Returns true, or nil and a message.
function Loader:relocate_load(program, low, high, replaced)
  local source = bit.band(low.registers, INSN.SOURCE)
  if source == INSN.PSEUDO_MAP_FD then
    local name = self.places[low.imm + 1].name
    local fd, err = self:map(name, program.maps and program.maps[name] or name)
    low.imm = fd or 0
    return fd, err
  elseif source == 0 and high.imm == SETTINGS_ADDRESS then
    local fd, err = self:settings_map()
    low.registers = bit.bor(bit.band(low.registers, INSN.DESTINATION), INSN.PSEUDO_MAP_VALUE)
    low.imm, high.imm = fd or 0, low.imm
    return fd, err
  end
  local marker = high.imm * 2 ^ 32 + low.imm % 2 ^ 32
  if source == 0 and program.constants and program.constants[marker] then
    low.imm, high.imm = halves(program.constants[marker])
    replaced[marker] = true
  end
  return true
end

--- Put a constant in the place of a 32-bit immediate. Returns true, or nil and a message.
local function replace_move(program, insn, replaced)
  local marker = insn.imm
  local value = program.constants and program.constants[marker]
  if not value then return true end
  local low, high = halves(value)
  -- BPF_ALU64 | BPF_MOV | BPF_K extends the sign, BPF_ALU does not.
  local fits = insn.opcode == INSN.MOV64 and high == bit.arshift(low, 31) or insn.opcode == INSN.MOV32 and high == 0
  if not fits then return nil, ("the value of constant %#x needs a marker of 64 bits"):format(marker) end
  insn.imm = low
  replaced[marker] = true
  return true
end

--- The instructions of a program as they are loaded.
-- @return string, or nil and a message
function Loader:relocate(program, insns)
  local code, count = description.instructions(insns)
  local replaced, i = {}, 0
  while i < count do
    local insn, ok, err = code[i], true, nil
    if insn.opcode == INSN.LD_IMM64 then
      ok, err = self:relocate_load(program, insn, code[i + 1], replaced)
      i = i + 1
    elseif insn.opcode == INSN.MOV64 or insn.opcode == INSN.MOV32 then
      ok, err = replace_move(program, insn, replaced)
    elseif insn.opcode == INSN.CALL and self.kfuncs[insn.imm] then
      insn.registers, insn.imm = INSN.PSEUDO_KFUNC_CALL, self.kfuncs[insn.imm]
    end
    if not ok then return nil, err end
    i = i + 1
  end
  for marker in pairs(program.constants or {}) do
    if not replaced[marker] then return nil, ("no constant %#x in it"):format(marker) end
  end
  return description.bytes(code, count)
end

--- Why a program was refused, in one line; the whole log goes to stderr when it is asked for.
local function refusal(why, log)
  if not log then return why end
  if os.getenv("PLAINSIGHT_DEBUG") then io.stderr:write(log) end
  local reason = log:match("([^\n]+)\n[^\n]*processed") or ""
  if reason ~= "" then why = why .. ": " .. reason end
  return why .. " (PLAINSIGHT_DEBUG=1 shows the verifier's log)"
end

--- Load one program.
function Loader:load_one(program)
  local name = program.as or program.name
  assert(not self.programs[name], name) -- a copy needs a name of its own
  local insns = self.insns[program.name]
  if not insns then return nil, ("the probe has no function %s"):format(program.name) end
  local code, err = self:relocate(program, insns)
  if not code then return nil, ("probe %s: %s"):format(name, err) end
  local fd, why, _, log = bpf.load(name, code, program.type, program.expected_attach_type)
  if not fd then return nil, refusal(why, log) end
  self.programs[name] = self:own(fd)
  return true
end

--- Load programs, which then are in self.programs. May be called again for more.
-- @param programs list of
--   name: function in the probe
--   as: name of this copy of it; default: name
--   type: "kprobe", "tracepoint" or "raw_tracepoint"
--   expected_attach_type: see plainsight.bpf.load
--   maps: { map in the text = name of another one that this copy uses }, of the same definition
--   constants: { marker = value } in place of the marker: of 64 bits (a number below 2^53 or uint64_t, for a marker
--     that needs more than 31 bits), or of 32 bits. Only loads and moves are looked at, so the probe has to keep
--     clang from computing with the marker: asm volatile("" : "+r"(value)).
-- @return true, or nil and a message
function Loader:load(programs)
  for _, program in ipairs(programs) do
    local ok, err = self:load_one(program)
    if not ok then return nil, err end
  end
  return true
end

--- Close all programs and maps that were created here; what is attached has descriptors of its own.
function Loader:close()
  for _, fd in ipairs(self.owned) do C.close(fd) end
  self.owned, self.programs, self.maps = {}, {}, {}
end

return _M
