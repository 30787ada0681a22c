-- SPDX-License-Identifier: Apache-2.0
--- JSSE, Java's own TLS: code that the virtual machine compiles while it runs.
return {
  name = "jsse",
  title = "JSSE",
  sonames = { "^libjvm%.so" },
  version = function(image)
    return (image:find_string("OpenJDK 64-Bit Server VM (") or ""):match("%((%d[%w.+%-]*)%)")
  end,
  reason = "Java does TLS in Java code, which has no address in a file",
}
