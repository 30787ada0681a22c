# SPDX-License-Identifier: Apache-2.0
"""Every call of every TLS library that moves application data, used in every way (programs/tls_*.c)."""

from tap import Skip, case, check, equal
from tls import NO_KERNEL_TLS, Certificate, PeerServer, compare_tls, peer_log, seen_by, waiting_peer
from truth import compare, flatten

MIB = 1 << 20
TINY_BUFFERS = ("-N", "-q", 4608)  # calls that would block, and are made again
# Plain; small pieces on two connections; 1 MiB both ways; tiny buffers.
WAYS = (("-n", 5), ("-n", 2, "-k", 2, "-b", 20_000, "-c", 700), ("-n", 2, "-b", MIB), ("-b", 300_000, *TINY_BUFFERS))


class Pair:
    """A server and a client of one library; both have loaded it, and the client waits to be released."""

    def __init__(self, t, library, calls, options, certificate):
        self.library = library
        options = [str(option) for option in options]
        self.server = PeerServer(t, library, calls, *options, certificate=certificate)
        self.client = waiting_peer(t, library, calls, self.server, *options, "-w", "0")

    def run(self):
        """Let the client go, and wait for both. Returns what they logged, as sslsniff must report it."""
        self.client.release()
        statuses = self.client.wait(), self.server.process.wait()
        if NO_KERNEL_TLS in statuses:
            raise Skip("this kernel has no TLS of its own")
        self.client.done()
        self.server.process.done()
        return seen_by(self.server.served() + peer_log(self.client), self.library)


def run_pairs(t, library, pairs, *options):
    """Client and server of each of pairs, (calls, options), traced together. Returns (truths, exchanges)."""
    certificate = Certificate(t)
    pairs = [Pair(t, library, calls, ways, certificate) for calls, ways in pairs]
    tool = t.sslsniff("--ring-size", 64, *options, pids=[p for pair in pairs for p in (pair.server, pair.client)])
    truths = [truth for pair in pairs for truth in pair.run()]
    exchanges = tool.interrupt()
    check(truths, "nothing happened")
    return truths, exchanges


def calls_seen(t, library, *pairs, addresses=True):
    """run_pairs(); every exchange of both sides, once, byte for byte. Returns the exchanges."""
    truths, exchanges = run_pairs(t, library, pairs)
    compare_tls(t, truths, exchanges, addresses)
    return exchanges


def several_ways(t, library, calls):
    return calls_seen(t, library, *[(calls, way) for way in WAYS])


# ---- OpenSSL --------------------------------------------------------------------------------------------------------


@case
def tls_openssl_write_read(t):
    """OpenSSL: SSL_write, SSL_read"""
    several_ways(t, "openssl", "write read")


@case
def tls_openssl_ex(t):
    """OpenSSL: SSL_write_ex, SSL_read_ex, whose lengths are in out-parameters"""
    several_ways(t, "openssl", "write_ex read_ex")


@case
def tls_openssl_mixed(t):
    """OpenSSL: SSL_write with SSL_read_ex, and the other way around"""
    calls_seen(t, "openssl", ("write read_ex", ("-n", 3)), ("write_ex read", ("-n", 3)))


@case
def tls_openssl_bio(t):
    """OpenSSL: BIO_write, BIO_read of BIO_f_ssl"""
    several_ways(t, "openssl", "bio bio")


@case
def tls_openssl_partial_writes(t):
    """OpenSSL: SSL_MODE_ENABLE_PARTIAL_WRITE with tiny buffers: only what was taken counts"""
    way = ("-n", 2, "-b", 300_000, "-W", *TINY_BUFFERS)
    calls_seen(t, "openssl", ("write read", way), ("write_ex read_ex", way))


@case
def tls_openssl_peek(t):
    """OpenSSL: SSL_peek and SSL_peek_ex before every read: no byte counted twice"""
    way = ("-n", 3, "-b", 50_000, "-p")
    calls_seen(t, "openssl", ("write read", way), ("write_ex read_ex", way))


@case
def tls_openssl_nothing_moved(t):
    """OpenSSL: writes of no bytes before every message"""
    calls_seen(t, "openssl", ("write read", ("-n", 3, "-z")), ("write_ex read_ex", ("-n", 3, "-z")))


@case
def tls_openssl_closed_inside(t):
    """OpenSSL: the socket is closed before SSL_write returns, as by another thread: the response is there"""
    ways = [("-L", "-k", 3, "-b", size) for size in (1000, 100_000)]
    calls_seen(t, "openssl", *[("write read", way) for way in ways], *[("write_ex read", way) for way in ways])


@case
def tls_openssl_memory_bios(t):
    """OpenSSL over memory BIOs: every byte; an address only when it is the right one"""
    ways = [("-M", *way) for way in WAYS]
    calls_seen(t, "openssl", *[("write_ex read_ex", way) for way in ways], addresses=False)


@case
def tls_openssl_early_data(t):
    """OpenSSL: requests as early data (0-RTT), SSL_write_early_data, SSL_read_early_data"""
    ways = ("-k", 4, "-n", 2, "-E"), ("-k", 2, "-E", "-b", 100_000)
    calls_seen(t, "openssl", ("write read", ways[0]), ("write_ex read_ex", ways[1]))


@case
def tls_openssl_sendfile(t):
    """OpenSSL: SSL_sendfile: true sizes, and a body that is a gap or the file's own bytes"""
    truths, exchanges = run_pairs(t, "openssl", [("sendfile read", ("-n", 2, "-b", 100_000))])
    states = {(flatten(e)["side"], flatten(e)["target"]): flatten(e)["response_state"] for e in exchanges}
    loose = ("request_sha", "response_sha")
    for truth in truths:
        state = states.get((truth["side"], truth["target"]))
        if truth["side"] == "server" and state == "gap":
            truth.update(response_state="gap", complete=False)
            truth.pop("response_sha")
        if truth["side"] == "client":  # it sends its own body the same way
            [truth.pop(key) for key in loose]
            truth.update(request_state="gap", complete=False)
    compare(truths, exchanges)


@case
def tls_openssl_kernel(t):
    """OpenSSL: SSL_write, SSL_read while the kernel encrypts, so that sockets get plain text: every exchange once"""
    calls_seen(t, "openssl", *[("write read", ("-T", "-n", 3, "-V", version)) for version in ("1.2", "1.3")])


@case
def tls_openssl_versions(t):
    """OpenSSL: TLS 1.2 and TLS 1.3"""
    calls_seen(t, "openssl", *[("write read", ("-n", 3, "-V", version)) for version in ("1.2", "1.3")])


# ---- GnuTLS ---------------------------------------------------------------------------------------------------------


@case
def tls_gnutls_send_recv(t):
    """GnuTLS: gnutls_record_send, its retries with (NULL, 0), gnutls_record_recv"""
    several_ways(t, "gnutls", "send recv")


@case
def tls_gnutls_send2(t):
    """GnuTLS: gnutls_record_send2 with padding, gnutls_record_recv_seq"""
    several_ways(t, "gnutls", "send2 recv_seq")


@case
def tls_gnutls_range_packet(t):
    """GnuTLS: gnutls_record_send_range, which calls exported functions: counted once; gnutls_record_recv_packet"""
    several_ways(t, "gnutls", "range packet")


@case
def tls_gnutls_cork(t):
    """GnuTLS: cork, many sends, uncork"""
    several_ways(t, "gnutls", "cork recv")


@case
def tls_gnutls_send_file(t):
    """GnuTLS: gnutls_record_send_file, which calls exported functions: counted once"""
    ways = [way for way in WAYS if "-N" not in way]  # it loses what did not fit into the socket
    calls_seen(t, "gnutls", *[("sendfile recv", way) for way in ways])


@case
def tls_gnutls_own_transport(t):
    """GnuTLS with push and pull functions of the program"""
    calls_seen(t, "gnutls", *[("send recv", ("-M", *way)) for way in WAYS], addresses=False)


@case
def tls_gnutls_nothing_moved(t):
    """GnuTLS: sends of no bytes, which are errors, before every message"""
    calls_seen(t, "gnutls", ("send recv", ("-n", 3, "-z")))


@case
def tls_gnutls_early_data(t):
    """GnuTLS: requests as early data, gnutls_record_send_early_data, gnutls_record_recv_early_data"""
    calls_seen(t, "gnutls", ("send recv", ("-k", 3, "-n", 2, "-E")))


@case
def tls_gnutls_versions(t):
    """GnuTLS: TLS 1.2 and TLS 1.3"""
    pairs = [(calls, ("-n", 3, "-V", version)) for version in ("1.2", "1.3") for calls in ("send recv", "send2 packet")]
    calls_seen(t, "gnutls", *pairs)


# ---- NSS ------------------------------------------------------------------------------------------------------------


@case
def tls_nss_write_read(t):
    """NSS: PR_Write, PR_Read"""
    several_ways(t, "nss", "write read")


@case
def tls_nss_send_recv(t):
    """NSS: PR_Send, PR_Recv"""
    several_ways(t, "nss", "send recv")


@case
def tls_nss_writev(t):
    """NSS: PR_Writev"""
    several_ways(t, "nss", "writev recv")


@case
def tls_nss_peek(t):
    """NSS: PR_Recv with PR_MSG_PEEK before every read: no byte counted twice"""
    calls_seen(t, "nss", ("send recv", ("-n", 3, "-b", 50_000, "-p")), ("write read", ("-n", 3, "-p")))


@case
def tls_nss_plain_descriptors(t):
    """NSS: the same calls on plain NSPR descriptors in turn with TLS ones: only these are reported"""
    way = ("-k", 4, "-n", 2, "-x")
    exchanges = calls_seen(t, "nss", ("write read", way), ("send recv", way), ("writev recv", way))
    equal(len(exchanges), 3 * 2 * 2 * 2, "exchanges of two of the four connections, on both sides")


# ---- wolfSSL, Mbed TLS ----------------------------------------------------------------------------------------------


@case
def tls_wolfssl_write_read(t):
    """wolfSSL: wolfSSL_write, wolfSSL_read"""
    several_ways(t, "wolfssl", "write read")


@case
def tls_wolfssl_send_recv(t):
    """wolfSSL: wolfSSL_send, wolfSSL_recv"""
    several_ways(t, "wolfssl", "send recv")


@case
def tls_wolfssl_writev(t):
    """wolfSSL: wolfSSL_writev, which calls wolfSSL_write: counted once"""
    several_ways(t, "wolfssl", "writev recv")


@case
def tls_wolfssl_peek(t):
    """wolfSSL: wolfSSL_peek before every read: no byte counted twice"""
    calls_seen(t, "wolfssl", ("write read", ("-n", 3, "-b", 50_000, "-p")), ("send recv", ("-n", 3, "-p")))


@case
def tls_wolfssl_own_transport(t):
    """wolfSSL with I/O callbacks of the program"""
    calls_seen(t, "wolfssl", *[("write read", ("-M", *way)) for way in WAYS], addresses=False)


@case
def tls_mbedtls_write_read(t):
    """Mbed TLS: mbedtls_ssl_write, mbedtls_ssl_read"""
    several_ways(t, "mbedtls", "write read")


@case
def tls_mbedtls_own_transport(t):
    """Mbed TLS with I/O callbacks of the program, which are handed no descriptor"""
    calls_seen(t, "mbedtls", *[("write read", ("-M", *way)) for way in WAYS], addresses=False)
