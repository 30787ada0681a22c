-- SPDX-License-Identifier: Apache-2.0
--- GnuTLS.
return {
  name = "gnutls",
  title = "GnuTLS",
  sonames = { "^libgnutls%.so", "^libgnutls%-%x+%.so" },
  marker = "gnutls_record_recv",
  version = function(image) return (image:find_string("3.") or ""):match("^3%.%d+%.%d+$") end,
  functions = {
    -- ssize_t gnutls_record_send(session, data, size); gnutls_record_send2(session, data, size, pad, flags);
    -- gnutls_record_send_range(session, data, size, range). gnutls_record_send_file calls the first.
    { name = "gnutls_record_send", sends = true, session = 1, buffer = 2, repeats = true },
    { name = "gnutls_record_send2", sends = true, session = 1, buffer = 2, repeats = true },
    { name = "gnutls_record_send_range", sends = true, session = 1, buffer = 2 },
    -- ssize_t gnutls_record_send_early_data(session, data, size): 0 when it has taken all of it
    { name = "gnutls_record_send_early_data", sends = true, session = 1, buffer = 2, all = 3 },
    -- ssize_t gnutls_record_recv(session, data, size); gnutls_record_recv_seq(session, data, size, sequence)
    { name = "gnutls_record_recv", session = 1, buffer = 2, zero_ends = true },
    { name = "gnutls_record_recv_seq", session = 1, buffer = 2, zero_ends = true },
    { name = "gnutls_record_recv_early_data", session = 1, buffer = 2 },
    -- ssize_t gnutls_record_recv_packet(session, packet *); void gnutls_packet_get(packet, datum *, sequence)
    { name = "gnutls_record_recv_packet", action = "packet", session = 1, buffer = 2 },
    { name = "gnutls_packet_get", action = "packet_data", session = 1, buffer = 2 },
    -- void gnutls_transport_set_int2(session, receive_fd, send_fd)
    { name = "gnutls_transport_set_int2", action = "set_fd", session = 1, buffer = 2 },
    { name = "gnutls_record_uncork", action = "cover", session = 1 },
    { name = "gnutls_handshake", action = "handshake", session = 1, int = true, zero_ends = true },
    { name = "gnutls_bye", action = "shutdown", session = 1 },
    { name = "gnutls_deinit", action = "free", session = 1 },
  },
}
