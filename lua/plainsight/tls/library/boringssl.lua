-- SPDX-License-Identifier: Apache-2.0
--- BoringSSL and its descendant AWS-LC inside a program that has been stripped (Chromium, Bun). With its symbols
-- it is found, and hooked, as openssl.
return {
  name = "boringssl",
  title = "BoringSSL",
  absent = "SSL_read",
  -- The first is of RFC 8446 4.4.3; the error texts are also in programs that have only libcrypto.
  strings = { "TLS 1.3, server CertificateVerify", "TICKET_ENCRYPTION_FAILED" },
  reason = "inside a stripped program: no symbol says where its functions are",
}
