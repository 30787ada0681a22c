#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Both ends of a connection in one process: HTTP/1.1 whose bytes move in unusual ways.

usage: ends.py KIND [ARGUMENT...]; KIND is a function below.
Logs to stdout a JSON record per exchange and end. Each receives exactly what
the other sent, or the program fails.
"""

import contextlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from pattern import pattern, sha  # noqa: E402

SOF_TIMESTAMPING = 2 | 16 | 128 | 512  # TX_SOFTWARE, SOFTWARE, OPT_ID, TX_ACK (linux/net_tstamp.h)
SO_TIMESTAMPING = 37
STAMP_SECONDS = 0.1  # a file changed later than this before it is sent is not trusted


def receive(sock, size):
    """Exactly size bytes."""
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise EOFError(f"{len(data)} of {size} bytes")
        data += part
    return data


def request_of(target, body=b"", size=None):
    """Head and body of a request; size: what Content-Length says when the body is not whole."""
    size = len(body) if size is None else size
    return f"POST {target} HTTP/1.1\r\nHost: e2e\r\nContent-Length: {size}\r\n\r\n".encode() + body


def response_of(body=b"", size=None):
    size = len(body) if size is None else size
    return f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + body


class Ends:
    """The two ends, client and server, of a new connection."""

    def __init__(self, family=socket.AF_INET):
        if family == socket.AF_UNIX:
            self.client, self.server = socket.socketpair()
        else:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                self.client = socket.create_connection(listener.getsockname())
                self.server, _ = listener.accept()
            for sock in (self.client, self.server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        inet = family == socket.AF_INET
        self.ports = (self.client.getsockname()[1], self.server.getsockname()[1]) if inet else None

    def log(self, target, request=b"", response=b"", **changes):
        """Log for both ends that this was moved; changes: SIDE=dict of what differs there."""
        for side in ("client", "server"):
            record = {
                "side": side,
                "pid": os.getpid(),
                "target": target,
                "method": "POST",
                "request_bytes": len(request),
                "request_sha": sha(request),
                "status": 200,
                "response_bytes": len(response),
                "response_sha": sha(response),
            }
            if self.ports:
                local, remote = self.ports if side == "client" else self.ports[::-1]
                record.update(local_port=local, remote_port=remote)
            print(json.dumps({**record, **changes.get(side, {})}), flush=True)

    def ask(self, target, body=b""):
        """A request in one call, received."""
        request = request_of(target, body)
        self.client.sendall(request)
        assert receive(self.server, len(request)) == request

    def expect(self, response):
        """Receive the response at the client; it must be these bytes."""
        assert receive(self.client, len(response)) == response

    def exchange(self, target, request=b"", response=b""):
        """The usual way."""
        self.ask(target, request)
        self.server.sendall(response_of(response))
        self.expect(response_of(response))
        self.log(target, request, response)

    def answer_while_reading(self, target, send, body):
        """send() moves body at the server while the client receives it."""
        self.ask(target)
        with ThreadPoolExecutor() as pool:
            reader = pool.submit(self.expect, response_of(body))
            self.server.sendall(response_of(size=len(body)))
            send()
            reader.result()
        self.log(target, response=body)


# --- files and pipes


def file_of(size, directory=None):
    """A file with the pattern that has not changed for a moment."""
    path = os.path.join(directory or tempfile.mkdtemp(), f"{size}.bin")
    with open(path, "wb") as f:
        f.write(pattern(size))
    time.sleep(STAMP_SECONDS)
    return path


def send_file(sock, file, offset, size):
    """All of it; offset None: from the file's own position."""
    while size > 0:
        n = os.sendfile(sock.fileno(), file.fileno(), offset, size)
        assert n > 0
        offset, size = None if offset is None else offset + n, size - n


def sendfile(directory):
    """Whole; pieces at offsets in any order; from the file's position (offset NULL)."""
    ends, data = Ends(), pattern(400_000)
    with open(file_of(len(data), directory), "rb") as f:
        ends.answer_while_reading("/whole", lambda: send_file(ends.server, f, 0, len(data)), data)

        def pieces():
            for at, size in ((200_000, 50_000), (0, 1), (1, 70_000), (399_999, 1)):
                send_file(ends.server, f, at, size)

        body = data[200_000:250_000] + data[:1] + data[1:70_001] + data[-1:]
        ends.answer_while_reading("/pieces", pieces, body)

        def from_position():
            os.lseek(f.fileno(), 777, os.SEEK_SET)
            for size in (1, 3000, 100_000):
                send_file(ends.server, f, None, size)

        ends.answer_while_reading("/position", from_position, data[777 : 777 + 103_001])


def _truncate(path):
    os.truncate(path, 10)


def _truncate_and_grow(path):
    os.truncate(path, 10)
    os.truncate(path, 30_000)


def _rewrite(path):
    with open(path, "r+b") as f:
        f.write(b"x" * 30_000)


def _replace(path):
    with open(path + ".new", "wb") as f:
        f.write(b"y" * 30_000)
    os.rename(path + ".new", path)


CHANGES = {"nothing": lambda path: None, "truncated": _truncate, "truncated-and-grown": _truncate_and_grow,
           "rewritten": _rewrite, "replaced": _replace, "removed": os.unlink}  # fmt: skip


def sendfile_then(directory):
    """Right after each sendfile the file is closed, or not, and changed in one of the ways above. Waits for a line."""
    kept = []
    for closed in (False, True):
        for name, change in CHANGES.items():
            ends, path = Ends(), file_of(30_000, tempfile.mkdtemp(dir=directory))
            file = open(path, "rb")
            target = f"/{name}/{'closed' if closed else 'open'}"
            ends.answer_while_reading(target, lambda: send_file(ends.server, file, 0, 30_000), pattern(30_000))
            if closed:
                os.dup2(ends.client.fileno(), file.fileno())  # its number is something else now
            kept.append((ends, file))
            change(path)
    sys.stdin.readline()


def splice_out():
    """From a pipe to the socket, then the usual way."""
    ends, body = Ends(), pattern(30_000)
    r, w = os.pipe()
    os.write(w, body)
    ends.ask("/spliced")
    ends.server.sendall(response_of(size=len(body)))
    left = len(body)
    while left:
        left -= os.splice(r, ends.server.fileno(), left)
    ends.expect(response_of(body))
    ends.log("/spliced", response=body)
    ends.exchange("/after", b"request", b"response")


def splice_in():
    """From the socket to a pipe: a request's body, then a response's body, then the usual way."""
    ends, body = Ends(), pattern(30_000)
    r, w = os.pipe()

    def take(sock, size):
        while size:
            n = os.splice(sock.fileno(), w, size)
            assert os.read(r, n) == body[len(body) - size :][:n]
            size -= n

    ends.client.sendall(request_of("/spliced", body))
    receive(ends.server, len(request_of("/spliced", size=len(body))))
    take(ends.server, len(body))
    ends.server.sendall(response_of(body))
    receive(ends.client, len(response_of(size=len(body))))
    take(ends.client, len(body))
    ends.log("/spliced", body, body)
    ends.exchange("/after", b"request", b"response")


# --- flags


def truncating(family):
    """Bodies received with MSG_TRUNC: TCP throws them away, AF_UNIX does not."""
    ends, body = Ends(socket.AF_UNIX if family == "unix" else socket.AF_INET), pattern(20_000)
    ends.ask("/truncated")
    ends.server.sendall(response_of(body))
    receive(ends.client, len(response_of(size=len(body))))
    left = len(body)
    while left:
        left -= len(ends.client.recv(left, socket.MSG_TRUNC))
    ends.log("/truncated", response=body)
    ends.exchange("/after", b"request", b"response")


def peeking(family):
    """MSG_PEEK of heads, of what is there, of more than is read then, and of nothing."""
    ends = Ends(socket.AF_UNIX if family == "unix" else socket.AF_INET)
    request, response = request_of("/peeked", pattern(900)), response_of(pattern(5000))
    ends.client.sendall(request)
    for size in (1, 60, 60, len(request), 1 << 16):
        assert request.startswith(ends.server.recv(size, socket.MSG_PEEK))
    with contextlib.suppress(BlockingIOError):
        ends.client.recv(100, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    got = b""
    while len(got) < len(request):
        ends.server.recvmsg(1 << 16, 0, socket.MSG_PEEK)
        ends.server.recv(1 << 16, socket.MSG_PEEK | socket.MSG_TRUNC)
        got += ends.server.recv(37)
    assert got == request
    ends.server.sendall(response)
    got = ends.client.recv(len(response), socket.MSG_PEEK | socket.MSG_WAITALL)
    assert ends.client.recv(len(response), socket.MSG_WAITALL) == response == got
    ends.log("/peeked", pattern(900), pattern(5000))


def nothing_moved():
    """Calls that move no byte, before, between and after the others, and vectors with empty buffers."""
    ends, body = Ends(), pattern(6000)

    def nothing():
        for sock in (ends.client, ends.server):
            sock.send(b"")
            os.write(sock.fileno(), b"")
            sock.sendmsg([b"", b""])
            assert os.read(sock.fileno(), 0) == b"" and sock.recv(0) == b""
            with contextlib.suppress(BlockingIOError):
                sock.recv(1, socket.MSG_DONTWAIT)

    def scattered(data, holes):
        buffers = []
        for at in range(0, len(data), 1000):
            buffers += [b""] * holes + [data[at : at + 1000]]
        return buffers + [b""] * holes

    for holes in (1, 9, 100):  # of the first buffers, eight are looked at
        request, response = request_of(f"/holes/{holes}", body), response_of(body)
        nothing()
        assert os.writev(ends.client.fileno(), scattered(request, holes)) == len(request)
        into = [bytearray(part) for part in scattered(request, holes)]
        assert os.readv(ends.server.fileno(), into) == len(request) and b"".join(into) == request
        assert ends.server.sendmsg(scattered(response, holes)) == len(response)
        into = [bytearray(len(part)) for part in scattered(response, holes)]
        assert ends.client.recvmsg_into(into)[0] == len(response) and b"".join(into) == response
        nothing()
        ends.log(f"/holes/{holes}", body, body)


def error_queue():
    """Timestamps on the error queue, which come with a copy of what was sent."""
    ends, copies = Ends(), 0
    ends.client.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING)
    for i in range(3):
        ends.ask(f"/stamped/{i}", pattern(100))
        poll = select.poll()
        poll.register(ends.client, 0)
        while poll.poll(200):
            try:
                copies += len(ends.client.recvmsg(4096, 1024, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)[0])
            except BlockingIOError:
                break
        ends.server.sendall(response_of(pattern(200)))
        ends.expect(response_of(pattern(200)))
        ends.log(f"/stamped/{i}", pattern(100), pattern(200))
    print(f"{copies} bytes of copies", file=sys.stderr)
    assert copies > 0


def urgent():
    """An urgent byte between two exchanges, read with MSG_OOB. It has its place in the stream that is sent."""
    ends = Ends()
    ends.exchange("/before", b"request", b"response")
    ends.client.send(b"!", socket.MSG_OOB)
    select.select([], [], [ends.server], 5)
    assert ends.server.recv(1, socket.MSG_OOB) == b"!"
    ends.ask("/after/1")
    ends.server.sendall(response_of())
    ends.expect(response_of())
    ends.log("/after/1", client={"method": "!POST"})
    ends.exchange("/after/2", b"request", b"response")


def one_write(size):
    """A response body of so many bytes in a single call."""
    ends, body = Ends(), pattern(int(size))
    ends.answer_while_reading("/large", lambda: ends.server.sendall(body), body)
    ends.exchange("/after", b"request", b"response")


# --- descriptors and processes


def dups():
    """Every call on another descriptor of the connection; the first ones are closed in the middle."""
    ends = Ends()
    request, response = request_of("/dups", pattern(900)), response_of(pattern(2000))
    for part in (request[:10], request[10:500], request[500:]):
        fd = os.dup(ends.client.fileno())
        os.write(fd, part)
        os.close(fd)
    receive(ends.server, 300)
    fd = os.dup2(ends.server.fileno(), 100)
    ends.server.close()
    ends.server = socket.socket(fileno=fd)
    receive(ends.server, len(request) - 300)
    fd = os.dup2(ends.client.fileno(), 101)
    ends.server.sendall(response)
    receive(ends.client, 100)
    ends.client.close()
    ends.client = socket.socket(fileno=fd)
    receive(ends.client, len(response) - 100)
    ends.log("/dups", pattern(900), pattern(2000))
    ends.exchange("/after", b"request", b"response")


def passed():
    """The head is received by one process; another gets the socket (SCM_RIGHTS), receives the body and answers."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        _, (fd,), _, _ = socket.recv_fds(theirs, 1, 1)
        server = socket.socket(fileno=fd)
        assert receive(server, 5000) == pattern(5000)
        server.sendall(response_of(pattern(700)))
        os._exit(0)
    ends, request = Ends(), request_of("/passed", pattern(5000))
    ends.client.sendall(request)
    receive(ends.server, len(request) - 5000)
    socket.send_fds(ours, [b"x"], [ends.server.fileno()])
    ends.expect(response_of(pattern(700)))
    assert os.waitpid(child, 0)[1] == 0
    ends.log("/passed", pattern(5000), pattern(700), server={"response_pid": child})
    ends.exchange("/after", b"request", b"response")


def inherited():
    """A client sends half a request; a program that it starts (vfork, exec) sends the rest and gets the response."""
    ends = Ends()
    request, response = request_of("/inherited", pattern(5000)), response_of(pattern(700))
    ends.client.sendall(request[:2500])
    fd = ends.client.fileno()
    with subprocess.Popen([sys.executable, __file__, "_rest", str(fd)], pass_fds=[fd]) as child:
        assert receive(ends.server, len(request)) == request
        ends.server.sendall(response)
    assert child.returncode == 0
    ends.log("/inherited", pattern(5000), pattern(700), client={"response_pid": child.pid})
    ends.exchange("/after", b"request", b"response")


def _rest(fd):
    client = socket.socket(fileno=int(fd))
    client.sendall(request_of("/inherited", pattern(5000))[2500:])
    assert receive(client, len(response_of(pattern(700)))) == response_of(pattern(700))


# --- ends


def _reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _meets_reset(sock):
    try:
        sock.recv(1)
    except ConnectionResetError:
        return sock.close()
    raise AssertionError("no reset")


def reset_by(side):
    """A close that resets the connection, in the middle of a response's body."""
    ends, half = Ends(), pattern(1000)
    ends.ask("/reset")
    ends.server.sendall(response_of(half, size=2000))
    ends.expect(response_of(half, size=2000))
    one, other = (ends.client, ends.server) if side == "client" else (ends.server, ends.client)
    _reset(one)
    _meets_reset(other)
    ends.log("/reset", response=half)


def reset_in_request(side):
    """The same in the middle of a request's body."""
    ends, half = Ends(), pattern(1000)
    ends.client.sendall(request_of("/reset", half, size=2000))
    receive(ends.server, len(request_of("/reset", half, size=2000)))
    one, other = (ends.client, ends.server) if side == "client" else (ends.server, ends.client)
    _reset(one)
    _meets_reset(other)
    ends.log("/reset", request=half, client={"status": None}, server={"status": None})


def reset_unread():
    """The server sends half a body and resets; the client reads what has come after that, but for the last byte."""
    ends, half = Ends(), pattern(1000)
    ends.ask("/reset")
    ends.server.sendall(response_of(half, size=2000))
    receive(ends.client, 10)
    _reset(ends.server)
    poll = select.poll()
    poll.register(ends.client, 0)
    assert poll.poll(5000)[0][1] & select.POLLHUP
    receive(ends.client, len(response_of(size=2000)) + 999 - 10)
    ends.client.close()
    ends.log("/reset", response=half, client={"response_bytes": 999, "response_sha": sha(half[:999])})


def _is_reading(tid):
    with open(f"/proc/self/task/{tid}/syscall", encoding="ascii") as f:
        return f.read().startswith("0 ")  # read(2)


def closed_inside():
    """The client's socket is closed by another thread than the one that waits for the first response, and gets it."""
    ends, response, got = Ends(), response_of(pattern(700)), []
    fd = ends.client.detach()
    os.write(fd, request_of("/closed"))
    receive(ends.server, len(request_of("/closed")))
    thread = threading.Thread(target=lambda: got.append(os.read(fd, 5000)))
    thread.start()
    deadline = time.monotonic() + 20
    while not _is_reading(thread.native_id):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.close(fd)
    ends.server.sendall(response)
    thread.join()
    assert got == [response]
    ends.log("/closed", response=pattern(700))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
