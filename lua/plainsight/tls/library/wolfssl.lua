-- SPDX-License-Identifier: Apache-2.0
--- wolfSSL.

local function version(image)
  for major = 5, 3, -1 do
    local number = (image:find_string(("wolfSSL %d."):format(major)) or ""):match("^wolfSSL (%d[%w.]*)$")
    if number then return number end
  end
end

return {
  name = "wolfssl",
  title = "wolfSSL",
  sonames = { "^libwolfssl%.so", "^libwolfssl%-%x+%.so" },
  marker = "wolfSSL_read",
  version = version,
  functions = {
    -- int wolfSSL_read(ssl, data, size), wolfSSL_write; wolfSSL_recv(ssl, data, size, flags), wolfSSL_send.
    -- wolfSSL_writev calls wolfSSL_write.
    { name = "wolfSSL_read", session = 1, buffer = 2, int = true, zero_ends = true },
    { name = "wolfSSL_recv", session = 1, buffer = 2, flags = 4, int = true, zero_ends = true },
    { name = "wolfSSL_write", sends = true, session = 1, buffer = 2, int = true },
    { name = "wolfSSL_send", sends = true, session = 1, buffer = 2, int = true },
    { name = "wolfSSL_set_fd", action = "set_fd", session = 1, buffer = 2 },
    { name = "wolfSSL_set_read_fd", action = "set_fd", session = 1, buffer = 2 },
    { name = "wolfSSL_connect", action = "handshake", session = 1, int = true },
    { name = "wolfSSL_accept", action = "handshake", session = 1, int = true },
    { name = "wolfSSL_negotiate", action = "handshake", session = 1, int = true, zero_ends = true },
    { name = "wolfSSL_shutdown", action = "shutdown", session = 1 },
    { name = "wolfSSL_clear", action = "reset", session = 1 },
    { name = "wolfSSL_free", action = "free", session = 1 },
  },
}
