-- SPDX-License-Identifier: Apache-2.0
--- TLS 1.3 in a program, by a library that shows nothing of itself.
return {
  name = "unknown",
  title = "unknown",
  fallback = true,
  strings = { "TLS 1.3, server CertificateVerify" }, -- RFC 8446 4.4.3
  reason = "a TLS library that is not known, inside the program",
}
