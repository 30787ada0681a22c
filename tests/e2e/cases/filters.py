# SPDX-License-Identifier: Apache-2.0
"""Which processes and connections are watched. Every filter is combined with one that confines it to the case."""

import sys

from servers import PythonServer, free_port
from tap import case, equal
from truth import compare

QUIET = ["curl", "-s", "-o", "/dev/null"]


def shell_of_curls(t, server, **options):
    """A gated shell that makes two requests in children and a third after exec in itself."""
    one, two, three = (f'curl -s -o /dev/null "$0/bytes/{i}"' for i in (1, 2, 3))
    return t.gated(["/bin/sh", "-c", f"{one}; {two}; exec {three}", server.url], **options)


def run_and_stop(tool, *gated):
    for process in gated:
        process.release()
        process.done()
    return tool.interrupt()


@case
def pid_follows_children(t):
    """-p: the process and the children it starts, nobody else"""
    server = PythonServer(t)
    shell, stranger = shell_of_curls(t, server), t.gated([*QUIET, server.url + "/bytes/9"])
    exchanges = run_and_stop(t.snoop(pids=[shell]), shell, stranger)
    compare([truth for truth in server.mirrored(4) if truth["target"] != "/bytes/9"], exchanges)


@case
def pid_no_follow(t):
    """-p --no-follow: the process alone"""
    server = PythonServer(t)
    shell = shell_of_curls(t, server)
    exchanges = run_and_stop(t.snoop("--no-follow", pids=[shell]), shell)
    compare([truth for truth in server.mirrored(3, pid=shell.pid) if truth["target"] == "/bytes/3"], exchanges)


@case
def command_no_follow(t):
    """--no-follow -- COMMAND: COMMAND alone"""
    server = PythonServer(t)
    script = 'curl -s -o /dev/null "$0/bytes/1"; exec curl -s -o /dev/null "$0/bytes/3"'
    tool = t.snoop("--no-follow", command=["/bin/sh", "-c", script, server.url])
    compare([truth for truth in server.mirrored(2) if truth["target"] == "/bytes/3"], tool.finish())


@case
def grandchildren(t):
    """COMMAND's children's children are followed"""
    server = PythonServer(t)
    script = f"sh -c 'sh -c \"{' '.join(QUIET)} {server.url}/bytes/5; true\"; true'; true"
    tool = t.snoop(command=["/bin/sh", "-c", script])
    exchanges = tool.finish()
    compare(server.mirrored(1), exchanges)


@case
def children_of_threads(t):
    """a child that a thread starts by vfork is followed"""
    server = PythonServer(t)
    curl = [*QUIET, server.url + "/bytes/6"]
    start = f"import subprocess, threading; threading.Thread(target=subprocess.run, args=({curl},)).start()"
    parent = t.gated([sys.executable, "-c", start])
    exchanges = run_and_stop(t.snoop(pids=[parent]), parent)
    compare(server.mirrored(1), exchanges)


@case
def comm(t):
    """-c: threads of this name"""
    server = PythonServer(t)
    shell = shell_of_curls(t, server)
    wget = t.gated(["wget", "-q", "--no-hsts", "-O", "/dev/null", server.url + "/bytes/7"])
    exchanges = run_and_stop(t.snoop("-c", "wget", pids=[shell, wget]), shell, wget)
    truths = [truth for truth in server.mirrored(4, comm="wget") if truth["target"] == "/bytes/7"]
    compare(truths, exchanges)


@case
def uid(t):
    """-u: processes of this user, within a cgroup"""
    server, group = PythonServer(t), t.cgroup()
    root = t.gated([*QUIET, server.url + "/bytes/1"], cgroup=group)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *QUIET, server.url + "/bytes/2"]
    nobody = t.gated(nobody, cgroup=group)
    exchanges = run_and_stop(t.snoop("-u", "65534", "--cgroup", group.path), root, nobody)
    truths = [truth for truth in server.mirrored(2, pid=nobody.pid, uid=65534) if truth["target"] == "/bytes/2"]
    compare(truths, exchanges)


@case
def cgroup(t):
    """--cgroup: processes in it, children too, nobody else"""
    server, group = PythonServer(t), t.cgroup()
    shell, stranger = shell_of_curls(t, server, cgroup=group), t.gated([*QUIET, server.url + "/bytes/9"])
    exchanges = run_and_stop(t.snoop("--cgroup", group.path), shell, stranger)
    compare([truth for truth in server.mirrored(4) if truth["target"] != "/bytes/9"], exchanges)


@case
def port(t):
    """--port: connections with this port at either end"""
    server, other = PythonServer(t), PythonServer(t)
    client = t.gated([*QUIET, server.url + "/bytes/1", "-o", "/dev/null", other.url + "/bytes/2"])
    exchanges = run_and_stop(t.snoop("--port", other.port, pids=[server, other, client]), client)
    compare(other.served(1) + other.mirrored(1, pid=client.pid), exchanges)


@case
def local_port(t):
    """--port: the client's own port counts as well"""
    server, own = PythonServer(t), free_port()
    client = t.gated([*QUIET, "--local-port", str(own), server.url + "/bytes/1"])
    stranger = t.gated([*QUIET, server.url + "/bytes/2"])
    exchanges = run_and_stop(t.snoop("--port", own, pids=[client, stranger]), client, stranger)
    equal(len(exchanges), 1, "exchanges")
    compare([truth for truth in server.mirrored(2, pid=client.pid) if truth["local_port"] == own], exchanges)
