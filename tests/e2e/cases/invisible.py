# SPDX-License-Identifier: Apache-2.0
"""Ways to move data that cannot be followed: counted, for the right process, and nothing else goes wrong."""

from servers import PythonServer
from tap import Skip, case, equal
from truth import compare

NOT_OFFERED = 77


def blind_in_the_middle(t, program, *arguments):
    """Run a client that moves some exchanges in a way that is not visible; returns (what it printed, its pid, tool).

    The server has seen all of them; of the client's, those before and after are whole.
    """
    server = PythonServer(t)
    argv = [t.program(program), str(server.port), *arguments]
    if t.spawn(argv).wait() == NOT_OFFERED:
        raise Skip(f"{program}: the kernel does not offer it")
    before = len(server.served())
    client = t.gated(argv)
    tool = t.snoop(pids=[server, client])
    client.release()
    client.done()
    exchanges = tool.interrupt()
    log = server.served()[before:]
    mirrored = server.mirrored(pid=client.pid)[before:]
    visible = [truth for truth in mirrored if truth["target"].endswith(("?before", "?after"))]
    equal(len(visible), 2, "visible exchanges that the server logged")
    visible[1]["flags"] = ["after-gap"]
    compare(log + visible, exchanges)
    return client.stdout(), client.pid, tool


def check_counted(tool, kind, pid, comm, calls):
    counted = {"pid": pid, "comm": comm, "kind": kind, "calls": calls}
    equal(tool.summary().get("invisible"), [counted], "invisible")
    about = [line for line in tool.stderr().splitlines() if "not visible" in line and f"(pid {pid}): {calls} " in line]
    equal(len(about), 1, f"lines about it in {tool.stderr()}")


@case
def io_uring(t):
    """sends and receives through io_uring: counted for the process; exchanges before and after are whole"""
    printed, pid, tool = blind_in_the_middle(t, "uring", "5")
    check_counted(tool, "io_uring", pid, "uring", int(printed))


@case
def compat_calls(t):
    """32-bit system calls (int 0x80) of a 64-bit process: counted; exchanges before and after are whole"""
    printed, pid, tool = blind_in_the_middle(t, "compat")
    check_counted(tool, "compat", pid, "compat", int(printed))
