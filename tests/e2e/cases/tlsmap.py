# SPDX-License-Identifier: Apache-2.0
"""tools/tlsmap: TLS libraries of programs that the case starts."""

import ctypes.util
import json
import os
import socket
import subprocess
import time

from harness import need
from tap import Failure, Skip, case, check, equal
from tool import TREE

TLSMAP = os.path.join(TREE, "tools", "tlsmap")
PYTHON = "/usr/bin/python3"
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
# Runs its first argument as code; then, for every line on standard input, what the line says.
DRIVEN = """
import ctypes, sys, threading, time
exec(sys.argv[1])
print("ready", file=sys.stderr, flush=True)
for line in sys.stdin:
    exec(line)
    print("done", file=sys.stderr, flush=True)
"""


def run(t, *args, prefix=(), status=0):
    """Run tlsmap to its end; fails on any other exit status. Returns the process."""
    tool = t.spawn([*prefix, TLSMAP, *args], label="tlsmap")
    equal(tool.wait(15), status, f"exit status ({tool.stderr()})")
    check("internal error" not in tool.stderr(), tool.stderr())
    return tool


def libraries(t, process, *args, prefix=()):
    """What tlsmap -j says of the libraries of one process."""
    tool = run(t, "-j", "-a", "-p", str(process.pid), *args, prefix=prefix)
    records = [json.loads(line) for line in tool.stdout().splitlines()]
    equal([record["type"] for record in records], ["process", "summary"], "types")
    equal(records[0]["pid"], process.pid, "pid")
    return records[0]["libraries"]


def one_library(t, process, **expected):
    """The only TLS library of a process; fails unless it has these fields."""
    found = libraries(t, process)
    equal(len(found), 1, f"libraries in {found}")
    for name, value in expected.items():
        equal(found[0].get(name), value, name)
    return found[0]


def python(t, code="pass", prefix=()):
    """A Python that has run code, and waits for tell()."""
    process = t.spawn([*prefix, PYTHON, "-c", DRIVEN, code], stdin=subprocess.PIPE)
    process.wait_ready()
    return process


def tell(process, line):
    """Have it run a line, to its end."""
    before = process.stderr().count("done\n")
    process.tell(line)
    deadline = time.monotonic() + 30
    while process.stderr().count("done\n") == before:
        if time.monotonic() > deadline:
            raise Failure(f"not done: {line}\n{process.stderr()}")
        time.sleep(0.01)


def libssl():
    """Path of the system's libssl."""
    process = subprocess.run([PYTHON, "-c", "import ssl; print(open('/proc/self/maps').read())"], check=True,
                             capture_output=True, text=True)
    paths = {line.split()[-1] for line in process.stdout.splitlines() if "/libssl.so" in line}
    if not paths:
        raise Skip("Python has no libssl.so")
    return paths.pop()


def loads(path):
    """Code that loads a library."""
    return f"ctypes.CDLL({path!r})"


@case
def tlsmap_at_start(t):
    """a library that is loaded at the start of a program, with its version; the summary counts it"""
    process = python(t, "import ssl; print(ssl.OPENSSL_VERSION, flush=True)")
    library = one_library(t, process, type="openssl", library="OpenSSL", link="shared", traceable=True, deleted=False,
                          path=libssl())
    equal(library["version"], process.stdout().split()[1], "version")
    stat = os.stat(library["path"])
    equal(library["inode"], str(stat.st_ino), "inode")
    summary = json.loads(run(t, "-j", "-p", str(process.pid)).stdout().splitlines()[-1])
    expected = {"type": "summary", "schema": 2, "processes": 1, "with_tls": 1, "traceable": 1, "refused": 0,
                "unread_files": 0, "unread_processes": 0}
    equal(summary, expected, "summary")


@case
def tlsmap_later(t):
    """a library that a program loads later (dlopen)"""
    process = python(t)
    equal(libraries(t, process), [], "libraries before")
    equal(run(t, "-j", "-p", str(process.pid)).stdout().count('"process"'), 0, "records without TLS and without -a")
    tell(process, loads(libssl()))
    one_library(t, process, type="openssl", traceable=True)


@case
def tlsmap_others(t):
    """GnuTLS, NSS, wolfSSL and Mbed TLS, as far as they are installed"""
    seen = 0
    for name, kind in (("gnutls", "gnutls"), ("ssl3", "nss"), ("wolfssl", "wolfssl"), ("mbedtls", "mbedtls")):
        soname = ctypes.util.find_library(name)
        if not soname:
            t.diag(f"no {name}")
            continue
        seen += 1
        library = one_library(t, python(t, loads(soname)), type=kind, link="shared", traceable=True)
        check(library.get("version"), f"no version: {library}")
    if not seen:
        raise Skip("none is installed")


@case
def tlsmap_curl(t):
    """curl, while it waits for a TLS server"""
    need("curl")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        curl = t.spawn(["curl", "-sk", f"https://127.0.0.1:{listener.getsockname()[1]}/"])
        connection, _ = listener.accept()
        check(connection.recv(1) == b"\x16", "no TLS handshake")
        found = libraries(t, curl)
        connection.close()
    check(any(library["traceable"] for library in found), f"nothing to trace: {found}")
    curl.wait()


@case
def tlsmap_node(t):
    """node: OpenSSL inside the program, or beside it, with its version"""
    need("node")
    script = "console.error(process.versions.openssl + '\\nready'); process.stdin.resume()"
    node = t.spawn(["node", "-e", script], stdin=subprocess.PIPE)
    node.wait_ready()
    library = one_library(t, node, type="openssl", traceable=True)
    equal(library["version"], node.stderr().split()[0].partition("+")[0], "version")
    is_inside = os.path.samefile(f"/proc/{node.pid}/exe", library["path"])
    equal(library["link"], "static" if is_inside else "shared", "link")


@case
def tlsmap_deleted(t):
    """a library that was deleted since, and one that was replaced"""
    for replace in (False, True):
        path = t.path("libssl.so.9")
        subprocess.run(["cp", libssl(), path], check=True)
        process = python(t, loads(path))
        os.unlink(path)
        if replace:
            with open(path, "w", encoding="ascii") as f:
                f.write("another file")
        library = one_library(t, process, type="openssl", traceable=True, deleted=True, path=path)
        check(library.get("build_id"), f"not looked into: {library}")
    text = run(t, "-p", str(process.pid)).stdout().splitlines()[1]
    check(text.endswith(f" {path} (deleted)"), f"not told in text: {text}")


_PRIVATE = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
cp "$2" "$1/libhidden.so"
exec "$3" -c "$4" "$5"
"""


@case
def tlsmap_mount_namespace(t):
    """a library that is there only in the mount namespace of its process"""
    need("unshare")
    place = t.path("place")
    os.mkdir(place)
    argv = ["unshare", "--mount", "sh", "-c", _PRIVATE, "sh", place, libssl(), PYTHON, DRIVEN]
    process = t.spawn([*argv, loads(f"{place}/libhidden.so")], stdin=subprocess.PIPE)
    process.wait_ready()
    check(not os.path.exists(f"{place}/libhidden.so"), "the library is here as well")
    one_library(t, process, type="openssl", traceable=True, path=f"{place}/libhidden.so", deleted=False)


@case
def tlsmap_chroot(t):
    """a program that has changed its root directory"""
    root = t.path("root")
    os.mkdir(root)
    subprocess.run(["cp", libssl(), f"{root}/libother.so"], check=True)
    libcrypto = ctypes.util.find_library("crypto")
    code = f"import os; ctypes.CDLL({libcrypto!r}); os.chroot({root!r}); os.chdir('/'); ctypes.CDLL('/libother.so')"
    one_library(t, python(t, code), type="openssl", traceable=True, path=f"{root}/libother.so")


_OVERLAYS = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir low a b a-up b-up a-work b-work
cp "$2" low/libssl.so.9
mount -t overlay overlay -o lowerdir=low,upperdir=a-up,workdir=a-work a
mount -t overlay overlay -o lowerdir=low,upperdir=b-up,workdir=b-work b
touch b/copied-up
exec "$3" -c "$4" "$5"
"""
_INODE_KEYS = """
package.path = arg[1] .. "/lua/?.lua;" .. package.path
local pids = { tonumber(arg[2]) }
for _, process in ipairs(assert(require("plainsight.tls.discover").new():scan(pids))) do
  for _, library in ipairs(process.libraries) do print(library.inode_key) end
end
"""


@case
def tlsmap_overlays(t):
    """one file of a layer that two overlays share is one inode; a copy in the upper layer is another"""
    need("unshare", "luajit")
    place, script = t.path("place"), t.path("keys.lua")
    os.mkdir(place)
    argv = ["unshare", "--mount", "sh", "-c", _OVERLAYS, "sh", place, libssl(), PYTHON, DRIVEN]
    process = t.spawn([*argv, f"ctypes.CDLL('{place}/a/libssl.so.9')"], stdin=subprocess.PIPE)
    try:
        process.wait_ready()
    except Failure as failure:
        raise Skip(f"no overlay can be mounted: {process.stderr().splitlines()[:1]}") from failure
    tell(process, loads(f"{place}/b/libssl.so.9"))
    with open(script, "w", encoding="ascii") as f:
        f.write(_INODE_KEYS)
    keys = t.spawn(["luajit", script, TREE, process.pid]).done().splitlines()
    equal(len(keys), 2, "libraries")
    equal(len(set(keys)), 1, f"inodes in {keys}")
    tell(process, f"import os; os.utime('{place}/b/libssl.so.9')")
    other = t.spawn(["nsenter", "-t", process.pid, "--mount", PYTHON, "-c", DRIVEN, loads(f"{place}/b/libssl.so.9")],
                    stdin=subprocess.PIPE)
    other.wait_ready()
    copied = t.spawn(["luajit", script, TREE, other.pid]).done().splitlines()
    check(copied and copied[0] not in keys, f"the copy is taken for the original: {copied} in {keys}")


@case
def tlsmap_first_thread_ended(t):
    """a process whose first thread has ended"""
    code = f"{loads(libssl())}; threading.Thread(target=time.sleep, args=(60,)).start()"
    process = python(t, code)
    process.tell("ctypes.CDLL(None).pthread_exit(None)")
    deadline = time.monotonic() + 30
    while True:
        with open(f"/proc/{process.pid}/stat", encoding="ascii") as f:
            if f.read().rpartition(")")[2].split()[0] == "Z":
                break
        check(time.monotonic() < deadline, "its first thread goes on")
        time.sleep(0.01)
    one_library(t, process, type="openssl", traceable=True)


_GO = """package main

import (
    "crypto/tls"
    "os"
)

func main() {
    if len(os.Args) > 1 {
        connection, _ := tls.Dial("tcp", os.Args[1], nil)
        connection.Write([]byte("x"))
        connection.Read(make([]byte, 1))
    }
    os.Stderr.WriteString("ready\\n")
    os.Stdin.Read(make([]byte, 1))
}
"""


@case
def tlsmap_go(t):
    """Go programs, with symbols and stripped"""
    need("go")
    source = t.path("main.go")
    with open(source, "w", encoding="ascii") as f:
        f.write(_GO)
    version = subprocess.run(["go", "env", "GOVERSION"], check=True, capture_output=True, text=True).stdout.strip()
    for flags in ("", "-s -w"):
        program = t.path("program")
        environment = {"GOCACHE": t.path("cache"), "GO111MODULE": "off", "GOFLAGS": ""}
        t.spawn(["go", "build", "-ldflags", flags, "-o", program, source], env=environment).done()
        process = t.spawn([program], stdin=subprocess.PIPE)
        process.wait_ready()
        one_library(t, process, type="go", link="static", traceable=True, path=program,
                    version=version.removeprefix("go"))


@case
def tlsmap_java(t):
    """Java: that it has TLS, and why it cannot be traced"""
    need("java", "javac")
    source = t.path("Waits.java")
    with open(source, "w", encoding="ascii") as f:
        f.write("class Waits { public static void main(String[] a) throws Exception {"
                ' System.err.println("ready"); System.in.read(); } }')
    t.spawn(["javac", "-d", t.dir, source]).done()
    java = t.spawn(["java", "-Xshare:auto", "-cp", t.dir, "Waits"], stdin=subprocess.PIPE)
    java.wait_ready(seconds=60)
    library = one_library(t, java, type="jsse", traceable=False)
    check("Java" in library["reason"], f"no reason: {library}")


@case
def tlsmap_not_root(t):
    """without privileges: processes of the same user as ever, of the others how many there are"""
    if t.spawn([*NOBODY, "test", "-r", TLSMAP]).wait():
        raise Skip("nobody cannot read this tree")
    mine, others = python(t, "import ssl", prefix=NOBODY), python(t, "import ssl")
    found = libraries(t, mine, prefix=NOBODY)
    equal([library["type"] for library in found], ["openssl"], "libraries")
    equal(found[0]["traceable"], True, "traceable")
    tool = run(t, "-p", f"{mine.pid},{others.pid}", prefix=NOBODY, status=1)
    equal(len(tool.stdout().splitlines()), 2, "lines")
    said = tool.stderr()
    check(said.startswith("tlsmap: 1 process ") and "sudo" in said and len(said.splitlines()) == 1, f"said: {said}")


@case
def tlsmap_text(t):
    """a heading and lines of seven words, whatever the process calls itself"""
    name = "a b\\x1b[31m\\n"
    process = python(t, f"import ssl; ctypes.CDLL(None).prctl(15, b'{name}', 0, 0, 0)")
    lines = run(t, "-p", str(process.pid)).stdout().splitlines()
    equal(lines[0].split(), ["PID", "COMM", "LIBRARY", "VERSION", "LINK", "TRACE", "PATH"], "heading")
    equal(len(lines), 2, "lines")
    words = lines[1].split()
    equal(words[:3], [str(process.pid), "a\\x20b\\x1b[31m\\n", "OpenSSL"], "first words")
    equal(words[4:], ["shared", "yes", libssl()], "last words")
    plain = t.spawn(["sleep", "60"])
    equal(run(t, "-p", str(plain.pid)).stdout().splitlines(), lines[:1], "without TLS")
    equal(run(t, "-a", "-p", str(plain.pid)).stdout().splitlines()[1].split()[:6],
          [str(plain.pid), "sleep", "-", "-", "-", "-"], "without TLS, -a")


@case
def tlsmap_extra_lib(t):
    """--extra-lib: a file that shows nothing of itself, and one that no process has"""
    path = t.path("odd")
    source = t.path("odd.c")
    with open(source, "w", encoding="ascii") as f:
        f.write("int nothing(void) { return 0; }\n")
    t.spawn(["gcc", "-shared", "-fPIC", "-o", path, source]).done()
    process = python(t, loads(path))
    equal(libraries(t, process), [], "libraries without")
    found = libraries(t, process, "--extra-lib", f"wolfssl:{path}")
    equal([(library["type"], library["traceable"]) for library in found], [("wolfssl", False)], "libraries")
    check("wolfSSL_read" in found[0]["reason"], f"reason: {found[0]}")
    said = run(t, "-p", str(process.pid), "--extra-lib", "openssl:/nonexistent").stderr()
    equal(said, "tlsmap: no process has /nonexistent mapped\n", "stderr")


@case
def tlsmap_statuses(t):
    """wrong command lines: 2; a process that is not there: 1; one line each"""
    gone = t.spawn(["true"])
    gone.wait()
    for status, args, word in ((2, ["--port", "1"], "--port"), (2, ["--", "ls"], "command"), (2, ["x"], "'x'"),
                               (2, ["--extra-lib", "x:/y"], "--extra-lib"), (1, ["-p", str(gone.pid)], str(gone.pid)),
                               (1, ["-p", str(gone.pid), "-o", "/dev/full"], "No space left")):
        said = run(t, *args, status=status).stderr()
        check(said.startswith("tlsmap: ") and word in said and said.count("\n") == 1, f"{args}: {said}")
