# SPDX-License-Identifier: Apache-2.0
"""OpenSSL 1.1.1, of Debian 11: the calls of programs/tls_openssl.c, and programs that were linked with it."""

import subprocess

from scenario import python_client
from servers import PythonServer
from tap import case, check, equal
from tls import Certificate, both_sides
from tool import TREE
from truth import flatten
from unpacked import Debian11, Debian13

from cases.tls_calls import MIB, TINY_BUFFERS, WAYS, calls_seen
from cases.tls_programs import OPENSSL_BOTH, s_server_seen

# The exported functions are not hooked: the inner ones stand for them (docs/sites.md).
INNER_SITES = """
package.path = "./lua/?.lua;" .. package.path
local image = assert(require("plainsight.elf").open("{path}"))
for _, name in ipairs {{ "SSL_read", "SSL_write" }} do
  local site = assert(image:inner_site {{ name, name .. "_ex" }})
  print(site.emulated, site.moved_argument)
end
"""


def check_library(exchanges, debian, sides=("client", "server")):
    """Fail unless the exchanges of these sides say that they came from its libssl."""
    told = {(e["tls_path"], e["tls_version"][:6]) for e in map(flatten, exchanges) if e["side"] in sides}
    equal(told, {(debian.libssl, "1.1.1w")}, "library and version")


def peers_seen(t, *pairs, addresses=True):
    """calls_seen(), of the program that has OpenSSL 1.1.1."""
    debian = Debian11()
    debian.build_peer()
    exchanges = calls_seen(t, "openssl11", *pairs, addresses=addresses)
    check_library(exchanges, debian)


@case
def tls_openssl11_calls(t):
    """OpenSSL 1.1.1: SSL_write, SSL_read, their _ex forms, both mixed, BIO_f_ssl; sizes and chunks of all kinds"""
    plain = [("write read", way) for way in WAYS]
    in_parameters = [("write_ex read_ex", way) for way in WAYS[1:]]  # where the lengths are
    peers_seen(t, *plain, *in_parameters, ("write read_ex", WAYS[0]), ("bio bio", WAYS[1]))


@case
def tls_openssl11_ways(t):
    """OpenSSL 1.1.1: partial writes, SSL_peek, writes of no bytes, early data, one SSL for all, TLS 1.2"""
    partial, peek = ("-n", 2, "-b", 300_000, "-W", *TINY_BUFFERS), ("-n", 3, "-b", 50_000, "-p")
    pairs = [(names, way) for names in ("write read", "write_ex read_ex") for way in (partial, peek)]
    more = (("-n", 3, "-z"), ("-k", 4, "-n", 2, "-E", "-b", 10_000), ("-k", 3, "-R"), ("-V", "1.2", "-b", MIB))
    peers_seen(t, *pairs, *[("write read", way) for way in more])


@case
def tls_openssl11_memory_bios(t):
    """OpenSSL 1.1.1 over memory BIOs: every byte; an address only when it is the right one"""
    peers_seen(t, *[("write_ex read_ex", ("-M", *way)) for way in WAYS[1:3]], addresses=False)


@case
def tls_openssl_sites(t):
    """OpenSSL 1.1.1 and 3.5: the inner functions of reading and writing are found, on instructions that are emulated"""
    for debian, arguments in ((Debian11(), ("4", "4")), (Debian13(), ("4", "5"))):
        argv = ["luajit", "-e", INNER_SITES.format(path=debian.libssl)]
        found = subprocess.run(argv, cwd=TREE, capture_output=True, text=True, check=False)
        check(found.returncode == 0, found.stderr)
        expected = [f"true\t{argument}" for argument in arguments]
        equal(found.stdout.splitlines(), expected, f"emulated, argument with the number of bytes: {debian.libssl}")


@case
def tls_openssl11_s_server(t):
    """openssl s_server -WWW of OpenSSL 1.1.1, and curl with this machine's own"""
    debian = Debian11()
    exchanges = s_server_seen(t, openssl=debian.command("openssl"))
    check_library(exchanges, debian, ["server"])


@case
def tls_openssl11_python(t):
    """Python with OpenSSL 1.1.1 as client and server: http.client; asyncio, whose library never sees a socket"""
    debian, certificate = Debian11(), Certificate(t)
    python = debian.command("python3.9")
    for kind, mode, count, in_memory in (("keepalive", "threads", 5, False), ("aio", "memory", 20, True)):
        server = PythonServer(t, mode=mode, certificate=certificate, python=python)
        argv = [*python, *python_client(server, kind, 5, certificate)[1:]]
        _, exchanges = both_sides(t, server, argv, OPENSSL_BOTH, count, addresses=not in_memory)
        check_library(exchanges, debian)
