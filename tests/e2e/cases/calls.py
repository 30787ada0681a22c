# SPDX-License-Identifier: Apache-2.0
"""Every system call that moves bytes, used in every way (programs/iocall.c)."""

from scenario import client_log, with_pattern_bodies
from servers import wait_port
from tap import case, equal
from truth import compare


def iocall(t, calls, *options):
    """Client and server of one call pair, both traced and compared; returns the exchanges."""
    options = [str(option) for option in options]
    server = t.spawn([t.program("iocall"), "server", calls, *options])
    port = wait_port(server)
    client = t.gated([t.program("iocall"), "client", calls, *options, "-P", str(port)])
    tool = t.snoop("--ring-size", 64, pids=[server, client])  # 32 MiB within milliseconds is the most
    client.release()
    client.done()
    server.done()
    exchanges = tool.interrupt()
    truths = client_log(server)[1:] + client_log(client)
    compare([with_pattern_bodies(truth) for truth in truths], exchanges)
    return exchanges


def several_ways(t, calls):
    """Plain; small pieces; tiny socket buffers with EAGAIN and short calls."""
    iocall(t, calls, "-n", 5)
    iocall(t, calls, "-n", 2, "-b", 20000, "-c", 7)
    iocall(t, calls, "-n", 2, "-b", 300_000, "-N", "-q", 2304)


@case
def call_read_write(t):
    """write, read"""
    several_ways(t, "rw")


@case
def call_sendto_recvfrom(t):
    """sendto, recvfrom"""
    several_ways(t, "to")


@case
def call_writev_readv(t):
    """writev, readv"""
    several_ways(t, "v")


@case
def call_sendmsg_recvmsg(t):
    """sendmsg, recvmsg"""
    several_ways(t, "msg")


@case
def call_sendmmsg_recvmmsg(t):
    """sendmmsg, recvmmsg; two messages of many vectors too"""
    several_ways(t, "mmsg")
    iocall(t, "mmsg", "-n", 3, "-b", 100_000, "-v", 8, "-w")
    iocall(t, "mmsg", "-n", 3, "-b", 200_000, "-v", 200, "-m", 64, "-w")


@case
def call_pwritev2_preadv2(t):
    """pwritev2, preadv2"""
    several_ways(t, "v2")


@case
def vectors_writev_readv(t):
    """writev and readv with 3, 64 and 1024 vectors, whole and short calls"""
    for count in (3, 64, 1024):
        iocall(t, "v", "-v", count, "-b", 100_000, "-n", 2)
    iocall(t, "v", "-v", 1024, "-b", 200_000, "-N", "-q", 2304)


@case
def vectors_sendmsg_recvmsg(t):
    """sendmsg and recvmsg with 3, 64 and 1024 vectors, whole and short calls"""
    for count in (3, 64, 1024):
        iocall(t, "msg", "-v", count, "-b", 100_000, "-n", 2)
    iocall(t, "msg", "-v", 64, "-b", 200_000, "-N", "-q", 2304)


@case
def large_calls(t):
    """8 MiB in one call each way, for every call; 4 MiB in 1024 vectors"""
    for calls, options in (("rw", []), ("to", ["-w"]), ("msg", ["-w", "-v", 16]), ("v", ["-v", 64])):
        iocall(t, calls, "-b", 8 << 20, *options)
    iocall(t, "v", "-b", 4 << 20, "-v", 1024)


@case
def peek(t):
    """MSG_PEEK before every receive: no byte counted twice"""
    iocall(t, "to", "-n", 5, "-b", 50_000, "-p")
    iocall(t, "msg", "-n", 5, "-b", 50_000, "-p", "-v", 3)


@case
def descriptor_reuse(t):
    """one descriptor number for 20 connections, on both sides"""
    exchanges = iocall(t, "rw", "-k", 20, "-n", 2)
    equal(len({e["connection"]["id"] for e in exchanges}), 40, "connection ids, two per connection")
