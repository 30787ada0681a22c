-- SPDX-License-Identifier: Apache-2.0
--- Mbed TLS.

-- Text of mbedtls_version_get_string_full(): 2.x, 3.x.
local function version(image)
  for _, prefix in ipairs { "mbed TLS ", "Mbed TLS " } do
    local number = (image:find_string(prefix) or ""):match("^%a+ TLS (%d[%w.]*)")
    if number then return number end
  end
end

return {
  name = "mbedtls",
  title = "MbedTLS",
  sonames = { "^libmbedtls%.so", "^libmbedtls%-%x+%.so" },
  marker = "mbedtls_ssl_read",
  companion = { sonames = { "^libmbedcrypto[-.]", "^libtfpsacrypto[-.]" }, marker = "mbedtls_version_get_string_full" },
  version = version,
  functions = {
    -- int mbedtls_ssl_read(ssl, buf, size), mbedtls_ssl_write
    { name = "mbedtls_ssl_read", session = 1, buffer = 2, int = true, zero_ends = true },
    { name = "mbedtls_ssl_write", sends = true, session = 1, buffer = 2, int = true },
    { name = "mbedtls_ssl_handshake", action = "handshake", session = 1, int = true, zero_ends = true },
    { name = "mbedtls_ssl_close_notify", action = "shutdown", session = 1 },
    { name = "mbedtls_ssl_session_reset", action = "reset", session = 1 },
    { name = "mbedtls_ssl_free", action = "free", session = 1 },
  },
}
