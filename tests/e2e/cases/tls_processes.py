# SPDX-License-Identifier: Apache-2.0
"""Where libraries and processes come from: later, from elsewhere, from files that are gone."""

import os
import re
import shutil
import subprocess
import sys
import time

from harness import need
from scenario import of_side, python_client
from servers import PythonServer
from tap import Failure, Skip, case, check, equal
from tls import (
    Certificate, PeerServer, both_sides, compare_tls, peer_client, peer_log, program, seen_by, system_library,
    waiting_peer,
)  # fmt: skip
from tool import TOOL, TREE, Sslsniff
from truth import flatten

from cases.programs import WGET
from cases.tls_programs import OPENSSL_BOTH, get, upload_file

SETTLE_SECONDS = 1.0  # within which the tool must have noticed a library that nobody used before


def libraries_of(path):
    """Paths of the shared libraries that a program needs, its loader too."""
    out = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", out)


def private_libraries(t, *names):
    """A directory with copies of those libraries, of names such as libssl.so.3, that the system has."""
    directory = t.path("lib")
    os.mkdir(directory)
    for name in names:
        shutil.copy(system_library(name), os.path.join(directory, name))
    return directory


# ---- later ----------------------------------------------------------------------------------------------------------


@case
def tls_started_later(t):
    """--cgroup: server and clients of three libraries that start when the tool has long been running"""
    certificate, group = Certificate(t), t.cgroup()
    tool = t.sslsniff("--cgroup", group.path)
    server = PythonServer(t, cgroup=group, certificate=certificate)
    peers = [(library, calls) for library, calls in (("gnutls", "send recv"), ("mbedtls", "write read"))]
    truths, clients = [], [("openssl", get(server, certificate, ["/bytes/10", "/echo"], "-d", "x=1"))]
    clients += [(library, peer_client(t, library, calls, server, "-n", 3)) for library, calls in peers]
    # NSPR is a TLS library only next to a file of NSS, which comes after it here, in the second process too.
    preload = ["env", f"LD_PRELOAD={system_library('libnspr4.so')}"]
    clients += 2 * [("nss", [*preload, *peer_client(t, "nss", "write read", server, "-n", 3)])]
    for library, argv in clients:
        before = len(server.served())
        client = t.gated([str(word) for word in argv], cgroup=group)
        client.release()
        client.done()
        truths += seen_by(server.mirrored(pid=client.pid)[before:], library)
    compare_tls(t, seen_by(server.served(), "openssl") + truths, tool.interrupt())


@case
def tls_children_of_command(t):
    """COMMAND is a shell that runs curl (OpenSSL), wget (GnuTLS) and Python in turn"""
    need("wget")
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    commands = [
        get(server, certificate, ["/bytes/1"]),
        [*WGET, "--ca-certificate", certificate.path, server.url + "/bytes/2"],
        python_client(server, "keepalive", 2, certificate),
    ]
    script = "\n".join(" ".join(f"'{word}'" for word in command) for command in commands)
    exchanges = t.sslsniff(command=["/bin/sh", "-ec", script + "\ntrue"]).finish()
    truths = server.mirrored(4)
    libraries = ("openssl", "gnutls", "openssl", "openssl")
    compare_tls(t, [{**truth, "tls_library": name} for truth, name in zip(truths, libraries)], exchanges)


@case
def tls_many_short_processes(t):
    """20 curl commands, one after the other, with the server traced too: the first request of each"""
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    curl = get(server, certificate, ["/bytes/100"])
    loop = 'i=0; while [ $i -lt 20 ]; do "$@" || exit 1; i=$((i+1)); done'
    both_sides_of_children(t, server, ["sh", "-c", loop, "sh", *curl], 20)


def both_sides_of_children(t, server, argv, count):
    """Like both_sides(), for a client whose exchanges are those of its children."""
    client = t.gated(argv)
    tool = t.sslsniff(pids=[server, client])
    client.release()
    client.done()
    truths = seen_by(server.served(count), "openssl") + seen_by(server.mirrored(count), "openssl")
    compare_tls(t, truths, tool.interrupt())


# ---- loaded later ---------------------------------------------------------------------------------------------------


def loaded_later(t, pause, directory=None):
    """curl_lib, which runs, loads libcurl of GnuTLS, and uses it, pause seconds later, for three exchanges."""
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    urls = [server.url + target for target in ("/echo", "/bytes/1000", "/bytes/300000")]
    argv = [t.program("curl_lib"), "libcurl-gnutls.so.4", certificate.path, upload_file(t), *urls]
    env = {"E2E_WAIT": "1", **({"LD_LIBRARY_PATH": directory} if directory else {})}
    client = t.spawn(argv, stdin=subprocess.PIPE, env=env)
    client.wait_ready()
    tool = t.sslsniff(pids=[client])
    client.tell()
    client.wait_ready(2)
    time.sleep(pause)
    client.release()
    client.done()
    compare_tls(t, seen_by(server.mirrored(3, pid=client.pid), "gnutls"), tool.interrupt())


@case
def tls_dlopen(t):
    """a process that is traced loads a library of the system, and uses it at once"""
    loaded_later(t, 0)


@case
def tls_dlopen_of_private_copy(t):
    """a process that is traced loads a copy that nobody has used so far, and uses it a second later"""
    loaded_later(t, SETTLE_SECONDS, private_libraries(t, "libgnutls.so.30"))


# ---- files that are gone or others ----------------------------------------------------------------------------------


def old_library(t, change):
    """A client whose private libssl is changed on disk by change(path) before the tool starts."""
    certificate, directory = Certificate(t), private_libraries(t, "libssl.so.3", "libcrypto.so.3")
    server = PythonServer(t, certificate=certificate)
    env = {"LD_LIBRARY_PATH": directory}
    client = waiting_peer(t, "openssl", "write_ex read_ex", server, "-n", "4", "-w", "1", env=env)
    change(os.path.join(directory, "libssl.so.3"))
    tool = t.sslsniff(pids=[client])
    client.release()
    client.done()
    compare_tls(t, seen_by(peer_log(client, 4)[1:], "openssl", midstream=True), tool.interrupt())


@case
def tls_deleted_library(t):
    """the file of the library was deleted since the process loaded it"""
    old_library(t, os.unlink)


@case
def tls_replaced_library(t):
    """the file of the library was replaced by another of the same name, as an upgrade does"""

    def replace(path):
        shutil.copy(path, path + ".new")
        with open(path + ".new", "ab") as f:
            f.write(b"another file")
        os.rename(path + ".new", path)

    old_library(t, replace)


@case
def tls_two_copies(t):
    """two processes with different files of one library, and a third with one of these"""
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    directory = private_libraries(t, "libssl.so.3", "libcrypto.so.3")
    curl = get(server, certificate, ["/bytes/10"])
    clients = [t.gated(curl, env=env) for env in ({"LD_LIBRARY_PATH": directory}, {}, {"LD_LIBRARY_PATH": directory})]
    tool = t.sslsniff(pids=[server, *clients])
    truths = []
    for client in clients:
        before = len(server.served())
        client.release()
        client.done()
        truths += seen_by(server.mirrored(pid=client.pid)[before:], "openssl")
    exchanges = tool.interrupt()
    compare_tls(t, seen_by(server.served(3), "openssl") + truths, exchanges)
    paths = [os.path.dirname(flatten(e)["tls_path"]) for e in of_side(exchanges, "client")]
    equal([path == directory for path in paths], [True, False, True], f"libraries from {paths}")


# ---- other mount namespaces -----------------------------------------------------------------------------------------


def in_other_root(t, prefix, certificate):
    """Server and client behind the words of prefix, in a cgroup; both sides must be reported."""
    group, calls = t.cgroup(), "write read"
    server = PeerServer(t, "openssl", calls, certificate=certificate, prefix=prefix, cgroup=group)
    client = t.gated([*prefix, *peer_client(t, "openssl", calls, server, "-n", "3")], cgroup=group)
    tool = t.sslsniff("--cgroup", group.path)
    client.release()
    client.done()
    server.process.done()
    log = server.served(3) + peer_log(client, 3)
    log = [{key: value for key, value in record.items() if key not in ("pid", "tid")} for record in log]
    compare_tls(t, seen_by(log, "openssl"), tool.interrupt())


@case
def tls_chroot(t):
    """server and client in a chroot with files of its own"""
    need("chroot", "ldd")
    root, own = t.path("root"), program(t, "tls_openssl")
    for path in (*libraries_of(own), own):
        inside = root + os.path.realpath(os.path.dirname(path))
        os.makedirs(inside, exist_ok=True)
        shutil.copy(path, inside)
    for link in ("lib64", "lib"):  # where the loader looks for itself and for the others
        if os.path.islink("/" + link):
            os.symlink("usr/" + link, os.path.join(root, link))
    certificate = Certificate(t)
    for path in (certificate.path, certificate.key):
        os.makedirs(root + os.path.dirname(path), exist_ok=True)
        shutil.copy(path, root + path)
    in_other_root(t, ["chroot", root], certificate)


@case
def tls_mount_namespace(t):
    """a library in a mount that only the process sees, while another file is at that path outside"""
    need("unshare", "mount")
    hidden, source = (private_libraries(t, "libssl.so.3", "libcrypto.so.3") for _ in range(2))
    inside = (
        'mount --make-rprivate / && mount -t tmpfs none "$0" && cp "$1"/lib* "$0" && export LD_LIBRARY_PATH="$0" '
        '&& shift && exec "$@"'
    )
    prefix = ["unshare", "--mount", "sh", "-ec", inside, hidden, source]
    if t.spawn([*prefix, "true"]).wait():
        raise Skip("no new mount namespaces")
    in_other_root(t, prefix, Certificate(t))


@case
def tls_as_another_user(t):
    """a client that runs as nobody"""
    need("setpriv")
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    _, exchanges = both_sides(t, server, [*nobody, *get(server, certificate, ["/bytes/10"])], OPENSSL_BOTH, 1)
    equal(of_side(exchanges, "client")[0]["process"]["uid"], 65534, "user id")


# Ten daemons, one after the other: whose parent has ended, most often before they run, and which use what it loaded.
DAEMONS = """
import http.client, os, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
end, ours = os.pipe()
for i in range(10):
    child = os.fork()
    if child == 0:
        if os.fork():
            os._exit(0)
        connection = http.client.HTTPSConnection("localhost", int(sys.argv[1]), context=context)
        connection.request("GET", f"/bytes/{i + 1}")
        connection.getresponse().read()
        os._exit(0)
    os.waitpid(child, 0)
os.close(ours)
os.read(end, 1)
"""


@case
def tls_daemons(t):
    """children that go on without their parents: the first request of each"""
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    argv = [sys.executable, "-c", DAEMONS, str(server.port), certificate.path]
    exchanges = t.sslsniff(command=argv).finish()
    compare_tls(t, seen_by(server.mirrored(10), "openssl"), exchanges)


def nobody_with(*capabilities):
    """Prefix of a command that runs as nobody with these capabilities and no others."""
    names = ",".join("+" + name for name in capabilities)
    user = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all," + names]
    return ["setpriv", *user, "--inh-caps", names, "--ambient-caps", names]


@case
def tls_without_root(t):
    """sslsniff as nobody, with four capabilities and a COMMAND; without one of them, which one is missing"""
    needed = ("bpf", "perfmon", "dac_read_search", "kill")
    if t.spawn([*nobody_with(*needed), "test", "-x", TOOL]).wait():
        raise Skip("nobody cannot run what is in this tree, or setpriv cannot give capabilities")
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    curl = get(server, certificate, ["/bytes/10"])
    os.chmod(certificate.path, 0o644)
    os.chmod(t.dir, 0o755)
    for missing in needed:
        prefix = nobody_with(*(name for name in needed if name != missing))
        tool = Sslsniff(t, ["-j", "-o", "-"], prefix=prefix, command=curl, ready=False)
        equal(tool.process.wait(15), 1, f"exit status without {missing}")
        check(f"CAP_{missing.upper()}" in tool.stderr(), f"does not name {missing}: {tool.stderr()}")
    tool = Sslsniff(t, ["-j", "-o", "-"], prefix=nobody_with(*needed), command=curl)  # curl's own output is thrown away
    compare_tls(t, seen_by(server.mirrored(1), "openssl"), tool.finish())


@case
def tls_hold_without_kill(t):
    """--hold without CAP_KILL is refused: stopped processes of others could not be continued"""
    tool = Sslsniff(t, ["--hold", "-p", os.getpid()], prefix=nobody_with("bpf", "perfmon", "dac_read_search"),
                    ready=False)
    equal(tool.process.wait(15), 1, "exit status")
    check("CAP_KILL" in tool.stderr(), f"does not name what is missing: {tool.stderr()}")


@case
def tls_python_of_the_system(t):
    """Debian's own python3, whatever runs the tests"""
    if os.path.realpath(sys.executable) == os.path.realpath("/usr/bin/python3"):
        raise Skip("the tests run on it")
    certificate = Certificate(t)
    server = PythonServer(t, certificate=certificate)
    argv = ["/usr/bin/python3", *python_client(server, "keepalive", 6, certificate)[1:]]
    both_sides(t, server, argv, OPENSSL_BOTH, 6)


def site_byte(pid, path, offset):
    """The byte that a process has in memory for a place in a library file that it runs code from."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        for line in maps:
            span, permissions, start, _, _, *name = line.split()
            first, last = (int(text, 16) for text in span.split("-"))
            begins = int(start, 16)
            if name == [path] and "x" in permissions and begins <= offset < begins + last - first:
                with open(f"/proc/{pid}/mem", "rb") as memory:
                    memory.seek(first + offset - begins)
                    return memory.read(1)
    raise Failure(f"process {pid} has not mapped {path}")


@case
def tls_bystander(t):
    """-p: another process with the same library has no breakpoint in its memory"""
    certificate = Certificate(t)
    traced, other = (PythonServer(t, certificate=certificate) for _ in range(2))
    path = os.path.realpath(system_library("libssl.so.3"))
    script = (
        "package.path = arg[1] .. '/lua/?.lua;' .. package.path "
        "local image = assert(require('plainsight.elf').open(arg[2])) "
        "print(assert(image:inner_site({ 'SSL_read', 'SSL_read_ex' })).entry)"
    )
    offset = int(t.spawn(["luajit", "-e", script, "-", TREE, path]).done())
    before = site_byte(other.pid, path, offset)
    tool = t.sslsniff(pids=[traced])
    equal(site_byte(traced.pid, path, offset), b"\xcc", "the traced process's code")
    equal(site_byte(other.pid, path, offset), before, "the other's")
    check(before != b"\xcc", "it had none before")
    tool.stop()
    equal(site_byte(traced.pid, path, offset), before, "the traced process's code after the end")
