-- SPDX-License-Identifier: Apache-2.0
--- Offsets of kernel struct members from BTF, the kernel's own type
-- description (Documentation/bpf/btf.rst), without tools or headers.
local ffi = require "ffi"
local bit = require "bit"
local files = require "plainsight.files"

local _M = {}

--- Where the running kernel describes itself.
_M.VMLINUX = "/sys/kernel/btf/vmlinux"

local MAGIC = 0xeb9f
local KIND = {
  INT = 1, ARRAY = 3, STRUCT = 4, UNION = 5, ENUM = 6, TYPEDEF = 8, VOLATILE = 9, CONST = 10, RESTRICT = 11, FUNC = 12,
  FUNC_PROTO = 13, VAR = 14, DATASEC = 15, DECL_TAG = 17, TYPE_TAG = 18, ENUM64 = 19,
}
-- 32-bit words after the three of struct btf_type: fixed, and per member.
local FIXED = { [KIND.INT] = 1, [KIND.ARRAY] = 3, [KIND.VAR] = 1, [KIND.DECL_TAG] = 1 }
local PER_MEMBER = {
  [KIND.STRUCT] = 3, [KIND.UNION] = 3, [KIND.DATASEC] = 3, [KIND.ENUM64] = 3, [KIND.ENUM] = 2, [KIND.FUNC_PROTO] = 2,
}
local TRANSPARENT = {
  [KIND.TYPEDEF] = true, [KIND.VOLATILE] = true, [KIND.CONST] = true, [KIND.RESTRICT] = true, [KIND.TYPE_TAG] = true,
}

local Btf = {}
Btf.__index = Btf

local function kind_of(info) return bit.band(bit.rshift(info, 24), 31) end

--- Read a BTF file.
-- @param wanted set of names of structs, functions and enums that will be asked for: { task_struct = true, ... }
-- @param path default: the running kernel's
-- @return object for offset(), id() and enumerator(), or nil and a message
function _M.load(wanted, path)
  local base, size = files.read_bytes(path or _M.VMLINUX)
  if not base then return nil, size end
  if size < 24 or ffi.cast("const uint16_t *", base)[0] ~= MAGIC then
    return nil, (path or _M.VMLINUX) .. ": not BTF"
  end
  local header = ffi.cast("const uint32_t *", base)
  local header_len, type_offset, type_len, string_offset = header[1], header[2], header[3], header[4]
  local self = setmetatable({
    data = base, -- keeps the memory behind the pointers
    types = ffi.cast("const uint32_t *", base + header_len + type_offset),
    strings = ffi.cast("const char *", base + header_len + string_offset),
    words = type_len / 4,
    by_name = {},
  }, Btf)
  self:index(wanted)
  return self
end

--- The first two bytes of names, as a set: most types can be told by them, without making a string of each name.
local function beginnings(names)
  local set = ffi.new("bool[65536]")
  for name in pairs(names) do set[name:byte(1) + 256 * (name:byte(2) or 0)] = true end
  return set
end

--- One pass over all types: where each begins, and the wanted structs by name.
function Btf:index(wanted)
  local types, words, is_beginning = self.types, self.words, beginnings(wanted)
  local strings = ffi.cast("const uint8_t *", self.strings)
  local starts = ffi.new("uint32_t[?]", words / 3 + 1)
  local at, id = 0, 1
  while at < words do
    local name_offset, info = types[at], types[at + 1]
    local kind, count = kind_of(info), bit.band(info, 0xffff)
    starts[id] = at
    if (kind == KIND.STRUCT or kind == KIND.FUNC or kind == KIND.ENUM) and
      is_beginning[strings[name_offset] + 256 * strings[name_offset + 1]] then
      local name = ffi.string(strings + name_offset)
      if wanted[name] and not self.by_name[name] then self.by_name[name] = id end
    end
    at = at + 3 + (FIXED[kind] or 0) + (PER_MEMBER[kind] or 0) * count
    id = id + 1
  end
  self.starts = starts
end

--- Follow typedefs and qualifiers to the type behind them.
function Btf:resolve(id)
  while true do
    local at = self.starts[id]
    if not TRANSPARENT[kind_of(self.types[at + 1])] then return id end
    id = self.types[at + 2]
  end
end

--- Byte offset and type id of a member; looks into anonymous structs and unions.
function Btf:member(id, name)
  local types, at = self.types, self.starts[id]
  local info = types[at + 1]
  local kind = kind_of(info)
  if kind ~= KIND.STRUCT and kind ~= KIND.UNION then return nil end
  local has_bitfields = bit.rshift(info, 31) == 1
  for m = 0, bit.band(info, 0xffff) - 1 do
    local entry = at + 3 + m * 3
    local offset = types[entry + 2]
    if has_bitfields then offset = bit.band(offset, 0xffffff) end
    if types[entry] == 0 then
      local inner, member_type = self:member(self:resolve(types[entry + 1]), name)
      if inner then return offset / 8 + inner, member_type end
    elseif ffi.string(self.strings + types[entry]) == name then
      return offset / 8, types[entry + 1]
    end
  end
end

--- Type id of a struct or a function (a kfunc is called by it); nil when this kernel has none of that name.
function Btf:id(name) return self.by_name[name] end

--- Value of an enumerator; nil when this kernel has no such enum, or no such name in it.
-- @param enum "cgroup_subsys_id"
-- @param name "pids_cgrp_id"
function Btf:enumerator(enum, name)
  local at = self.by_name[enum] and self.starts[self.by_name[enum]]
  if not at or kind_of(self.types[at + 1]) ~= KIND.ENUM then return nil end
  for m = 0, bit.band(self.types[at + 1], 0xffff) - 1 do
    local entry = at + 3 + m * 2
    if ffi.string(self.strings + self.types[entry]) == name then return tonumber(self.types[entry + 1]) end
  end
end

--- Byte offset of a member path.
-- @param struct "sock"
-- @param path "__sk_common.skc_daddr"
-- @return number, or nil when this kernel has no such member
function Btf:offset(struct, path)
  local id = self.by_name[struct]
  if not id then return nil end
  local total = 0
  for name in path:gmatch("[^.]+") do
    local offset, member_type = self:member(self:resolve(id), name)
    if not offset then return nil end
    total, id = total + offset, member_type
  end
  return total
end

return _M
