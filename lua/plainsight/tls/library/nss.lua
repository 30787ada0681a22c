-- SPDX-License-Identifier: Apache-2.0
--- NSS. Its connections are read and written with the functions of NSPR, which know nothing of TLS: a process
-- with NSPR alone has no TLS. Firefox has both in one file.
return {
  name = "nss",
  title = "NSS",
  sonames = { "^libnspr4%.so" },
  marker = "PR_Read",
  companion = { sonames = { "^libssl3%.so" }, marker = "SSL_ImportFD", required = true },
  version = function(image)
    return (image:find_string("Version: NSS ") or ""):match("^Version: NSS (%d[%w.]*)")
  end,
  functions = {
    -- PRInt32 PR_Read(fd, buf, amount), PR_Write; PR_Recv(fd, buf, amount, flags, timeout), PR_Send;
    -- PR_Writev(fd, iov, count, timeout). They serve every descriptor of NSPR, with TLS or without.
    { name = "PR_Read", session = 1, buffer = 2, int = true, zero_ends = true, maybe_plain = true },
    { name = "PR_Recv", session = 1, buffer = 2, flags = 4, int = true, zero_ends = true, maybe_plain = true },
    { name = "PR_Write", sends = true, session = 1, buffer = 2, int = true, maybe_plain = true },
    { name = "PR_Send", sends = true, session = 1, buffer = 2, int = true, maybe_plain = true },
    { name = "PR_Writev", sends = true, session = 1, buffer = 2, count = 3, int = true, maybe_plain = true },
    { name = "PR_Connect", action = "begin", session = 1 },
    { name = "PR_Accept", action = "accept" },
    { name = "PR_ImportTCPSocket", action = "accept" },
    { name = "PR_OpenTCPSocket", action = "accept" },
    { name = "PR_NewTCPSocket", action = "accept" },
    { name = "PR_Close", action = "free", session = 1 },
  },
}
