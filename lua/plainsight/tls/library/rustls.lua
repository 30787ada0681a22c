-- SPDX-License-Identifier: Apache-2.0
--- rustls. The compiler inlines its functions into the program that uses them. Its sources' paths stay in the program
-- for the messages of panics: "/registry/src/index.crates.io-1949cf8c6b5b557f/rustls-0.23.36/src/vecbuf.rs".
return {
  name = "rustls",
  title = "rustls",
  strings = { "TLS 1.3, server CertificateVerify", "/rustls-0." }, -- RFC 8446 4.4.3
  version = function(image)
    return (image:find_inside("/rustls-0.") or ""):match("^/rustls%-(%d+%.%d+%.%d+[%w.%-]*)/")
  end,
  reason = "compiled into the program, with no function of its own that could be hooked",
}
