-- SPDX-License-Identifier: Apache-2.0
--- OpenSSL, and what has its functions: LibreSSL, and BoringSSL that keeps its symbols.
-- What the fields of a library's file mean: plainsight.tls.registry.

-- Where the text of OpenSSL_version(OPENSSL_VERSION) is, in libcrypto or in a program that has it inside.
local VERSIONS = { "OpenSSL 3.", "OpenSSL 4.", "OpenSSL 1.", "LibreSSL " }

local function version(image)
  for _, prefix in ipairs(VERSIONS) do
    local title, number = (image:find_string(prefix) or ""):match("^(%a+) (%d[%w.%-]*)")
    if title == "LibreSSL" then return number, title end
    if title then return number end
  end
  if image:symbol("BORINGSSL_self_test") then return nil, "BoringSSL" end
end

return {
  name = "openssl",
  title = "OpenSSL",
  -- With the mark that Python's wheels put into a name: libssl-3e69114b.so.1.1.1k.
  sonames = { "^libssl%.so", "^libssl%-%x+%.so", "^libssl%.%d[%d.]*%.so" },
  -- Has functions of these names for programs, and calls GnuTLS.
  not_sonames = { "^libgnutls%-openssl%.so" },
  marker = "SSL_read",
  companion = { sonames = { "^libcrypto[-.]" }, marker = "OpenSSL_version" },
  version = version,
  strings = { "tlsv1 alert unknown ca" }, -- of the error texts, which every program with libssl has
  functions = {
    -- int ssl_read_internal(SSL *s, void *buf, size_t num, size_t *readbytes): behind SSL_read, SSL_read_ex,
    -- SSL_read_early_data and BIO_f_ssl. Of SSL_peek there is another one.
    {
      name = "ssl_read_internal", inner = { "SSL_read", "SSL_read_ex" }, session = 1, buffer = 2, moved = true,
      int = true, zero_ends = true,
      otherwise = {
        { name = "SSL_read", session = 1, buffer = 2, int = true, zero_ends = true },
        { name = "SSL_read_ex", session = 1, buffer = 2, moved = 4, int = true },
      },
    },
    -- int ssl_write_internal(SSL *s, const void *buf, size_t num, [uint64_t flags, since 3.3] size_t *written): behind
    -- SSL_write, SSL_write_ex, SSL_write_early_data and BIO_f_ssl
    {
      name = "ssl_write_internal", inner = { "SSL_write", "SSL_write_ex" }, sends = true, session = 1, buffer = 2,
      moved = true, int = true,
      otherwise = {
        { name = "SSL_write", sends = true, session = 1, buffer = 2, int = true },
        { name = "SSL_write_ex", sends = true, session = 1, buffer = 2, moved = 4, int = true },
        { name = "SSL_write_ex2", sends = true, session = 1, buffer = 2, moved = 5, int = true },
      },
    },
    -- ossl_ssize_t SSL_sendfile(SSL *s, int fd, off_t offset, size_t size, int flags)
    { name = "SSL_sendfile", sends = true, session = 1, no_buffer = true },
    { name = "SSL_set_fd", action = "set_fd", session = 1, buffer = 2 },
    { name = "SSL_set_rfd", action = "set_fd", session = 1, buffer = 2 },
    -- int SSL_do_handshake(SSL *s); SSL_connect and SSL_accept call it
    { name = "SSL_do_handshake", action = "handshake", session = 1, int = true },
    -- Called by the library itself too, before a handshake.
    { name = "SSL_clear", action = "reset", session = 1 },
    { name = "SSL_shutdown", action = "shutdown", session = 1 },
    { name = "SSL_free", action = "free", session = 1 },
  },
}
