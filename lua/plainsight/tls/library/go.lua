-- SPDX-License-Identifier: Apache-2.0
--- Go's crypto/tls. Its functions are found in Go's own table (pclntab), which stripped programs keep too.

local READ, WRITE = "crypto/tls.(*Conn).Read", "crypto/tls.(*Conn).Write"
-- With 1.17 the arguments went from the stack into registers.
local MAJOR_MIN, MINOR_MIN = 1, 17

local function is_old(version)
  local major, minor = version:match("^go(%d+)%.(%d+)")
  if not major then return false end -- "devel ...": newer than any release of its time
  major, minor = tonumber(major), tonumber(minor)
  return major < MAJOR_MIN or major == MAJOR_MIN and minor < MINOR_MIN
end

local function detect(image)
  local version = image:go_version()
  if not version then return nil end
  local found, err = image:go_functions({ READ, WRITE })
  local shown = version:match("^go(%d[%w.]*)") or version
  if not found then return { version = shown, reason = err } end
  if not found[READ] and not found[WRITE] then return nil end -- a Go program without TLS
  if is_old(version) then return { version = shown, reason = "built by Go older than 1.17" } end
  if not found[READ] or not found[WRITE] then
    return { version = shown, reason = ("no %s in it"):format(found[READ] and WRITE or READ) }
  end
  return { version = shown }
end

return {
  name = "go",
  title = "Go",
  detect = detect,
  go = true,
  functions = {
    -- func (c *Conn) Read(b []byte) (int, error), Write; func (c *Conn) Close() error
    { name = READ, session = 1, buffer = 2 },
    { name = WRITE, sends = true, session = 1, buffer = 2 },
    { name = "crypto/tls.(*Conn).clientHandshake", action = "handshake", session = 1, zero_ends = true },
    { name = "crypto/tls.(*Conn).serverHandshake", action = "handshake", session = 1, zero_ends = true },
    { name = "crypto/tls.(*Conn).Close", action = "free", session = 1 },
  },
}
