# SPDX-License-Identifier: Apache-2.0
"""Containers are told on every exchange."""

import json
import os

from runtimes import start, wait_for
from tap import case, check, equal
from tool import TREE, Httpsnoop, Sslsniff
from tls import Certificate

REQUESTS = 3


def by_side(exchanges, side):
    return [exchange for exchange in exchanges if exchange["side"] == side]


def curl(container, port, path, *options, scheme="http"):
    return container.exec("/usr/bin/curl", "-sk", *options, f"{scheme}://localhost:{port}{path}")


def expect_both_sides(exchanges, path, name, count=REQUESTS):
    """Every request is there once from each side, in the container of that name."""
    for side in ("client", "server"):
        seen = by_side(exchanges, side)
        equal([e["request"]["target"] for e in seen], [f"{path}{i}" for i in range(count)], f"{side}s' targets")
        equal({e.get("container", {}).get("name") for e in seen}, {name}, f"{side}s' container")
        check(all(e["complete"] for e in seen), f"incomplete: {seen}")


def expect_other_pids(exchanges):
    """Host pid and container pid are told, and they are those of procfs."""
    for exchange in exchanges:
        process = exchange["process"]
        check("ns_pid" in process and process["ns_pid"] != process["pid"], f"no pid of its own: {process}")
    server = by_side(exchanges, "server")[0]["process"]
    with open(f"/proc/{server['pid']}/status", encoding="ascii") as status:
        ids = [line.split()[1:] for line in status if line.startswith("NSpid:")][0]
    equal([server["pid"], server["ns_pid"]], [int(ids[0]), int(ids[-1])], "ids of the server")


def check_container(t, v2):
    """A container that runs already and one that comes later are traced, others are not; both pids are told."""
    runtime = t.oci(v2)
    wanted, other = runtime.run("wanted-1"), runtime.run("other-1")
    port, other_port = wanted.serve(t), other.serve(t)
    snoop = Httpsnoop(t, ["-j", "--container", "wanted-*"], prefix=runtime.prefix)
    check("tracing 1 container by" in snoop.stderr(), snoop.stderr())
    for i in range(REQUESTS):
        curl(other, other_port, f"/other/{i}")
        curl(wanted, port, f"/first/{i}")
    wait_for("exchanges", lambda: len(snoop.exchanges()) >= 2 * REQUESTS)
    expect_other_pids(snoop.exchanges())
    runtime.remove(wanted)
    later = runtime.run("wanted-2")
    port = later.serve(t)
    for i in range(REQUESTS):
        curl(later, port, f"/later/{i}")
    wait_for("exchanges", lambda: len(snoop.exchanges()) >= 4 * REQUESTS)
    exchanges = snoop.interrupt()
    expect_both_sides([e for e in exchanges if "/first/" in e["request"]["target"]], "/first/", "wanted-1")
    expect_both_sides([e for e in exchanges if "/later/" in e["request"]["target"]], "/later/", "wanted-2")
    equal(len(exchanges), 4 * REQUESTS, "exchanges")
    equal({e["container"]["runtime"] for e in exchanges}, {runtime.name}, "runtime")


@case
def container_filter(t):
    """--container with the cgroups of this host"""
    check_container(t, v2=False)


@case
def container_filter_v2(t):
    """--container with nothing but cgroup v2"""
    check_container(t, v2=True)


@case
def container_tls(t):
    """OpenSSL in a container, also of programs that start later, in their own mount namespace"""
    certificate = Certificate(t)
    runtime = t.oci()
    container = runtime.run("tls-1")
    files = []
    for path in (certificate.path, certificate.key):
        copy = os.path.join("/tmp", os.path.basename(path))
        with open(path, encoding="ascii") as file:
            container.exec("/bin/sh", "-c", f"cat >{copy} <<'END'\n{file.read()}END")
        files.append(copy)
    port = container.serve(t, certificate=files)
    snoop = Sslsniff(t, ["-j", "--hold", "--container", "tls-1"])
    for i in range(REQUESTS):
        curl(container, port, f"/tls/{i}", scheme="https")
    wait_for("exchanges", lambda: len(snoop.exchanges()) >= 2 * REQUESTS)
    exchanges = snoop.interrupt()
    expect_both_sides(exchanges, "/tls/", "tls-1")
    equal({e["tls"]["library"] for e in exchanges}, {"openssl"}, "library")


@case
def container_nested_cgroup(t):
    """Cgroups that a container has made in itself are part of it"""
    runtime = t.oci(v2=True)
    container = runtime.run("nested-1")
    port = container.serve(t)
    snoop = Httpsnoop(t, ["-j", "--container", "nested-1"], prefix=runtime.prefix)
    check_nested(t, runtime, port, snoop)


@case
def container_nested_cgroup_later(t):
    """The same of a container that starts after the tool"""
    runtime = t.oci(v2=True)
    snoop = Httpsnoop(t, ["-j", "--container", "nested-1"], prefix=runtime.prefix)
    container = runtime.run("nested-1")
    check_nested(t, runtime, container.serve(t), snoop)


def check_nested(t, runtime, port, snoop):
    """Clients in a cgroup two levels below that of the container."""
    start([*runtime.prefix, "sh", "-c", "mkdir -p /sys/fs/cgroup/nested-1/init/deep"])
    mover = 'echo $$ >/sys/fs/cgroup/nested-1/init/deep/cgroup.procs; exec "$@"'
    pid = start([*runtime.prefix, runtime.name, "state", "nested-1"]).split('"pid":')[1].split(",")[0].strip()
    for i in range(REQUESTS):
        start([*runtime.prefix, "sh", "-c", mover, "sh", "nsenter", "-t", pid, "-n", "curl", "-s",
               f"http://127.0.0.1:{port}/deep/{i}"])
    wait_for("exchanges", lambda: len(snoop.exchanges()) >= 2 * REQUESTS)
    exchanges = snoop.interrupt()
    expect_both_sides(exchanges, "/deep/", "nested-1")
    ids = {side: {e["process"]["cgroup_id"] for e in by_side(exchanges, side)} for side in ("client", "server")}
    check(ids["client"] != ids["server"], f"the clients are in the same cgroup: {ids}")
    start([*runtime.prefix, "rmdir", "/sys/fs/cgroup/nested-1/init/deep", "/sys/fs/cgroup/nested-1/init"])


@case
def container_recorded(t):
    """A recording has the containers: its replay gives the same bytes, and chooses among them"""
    runtime = t.oci()
    container, other = runtime.run("kept-1"), runtime.run("kept-2")
    port, other_port = container.serve(t), other.serve(t)
    forms = {(): t.path("masked"), ("--show-secrets",): t.path("raw")}
    snoops = {form: Httpsnoop(t, ["-j", "--container", "kept-*", "--record", path, *form])
              for form, path in forms.items()}
    for i in range(REQUESTS):
        curl(container, port, f"/kept/{i}")
        curl(other, other_port, f"/other/{i}")
    tool = os.path.join(TREE, "tools", "httpsnoop")
    for form, snoop in snoops.items():
        wait_for("exchanges", lambda snoop=snoop: len(snoop.exchanges()) >= 4 * REQUESTS)
        snoop.stop()
        again = start([tool, "-j", *form, "--replay", forms[form]])
        equal(again, snoop.text().decode().strip(), f"the replay {form}")
        lines = start([tool, "-j", *form, "--replay", forms[form], "--container", "kept-1"]).splitlines()
        chosen = [record for record in map(json.loads, lines) if record["type"] == "exchange"]
        expect_both_sides(chosen, "/kept/", "kept-1")
        check(all("ns_pid" in one["process"] for one in chosen), f"no ns_pid: {chosen}")


@case
def host_process(t):
    """A process of the host has no container; its line has eleven words as ever"""
    server = t.spawn([t.source("server.py"), "127.0.0.1", "threads", t.path("log")])
    port = int(wait_for("a port", lambda: server.stdout().strip()))
    snoop = t.snoop(pids=[server])
    lines = Httpsnoop(t, ["-p", server.pid, "--preview", "0"])
    start(["curl", "-s", f"http://127.0.0.1:{port}/host"])
    wait_for("an exchange", lambda: snoop.exchanges() and lines.text())
    lines.stop()
    exchange, = snoop.interrupt()
    check("container" not in exchange and "ns_pid" not in exchange["process"], f"a container: {exchange}")
    words = lines.text().decode().split()
    equal((len(words), "@" in words[1]), (11, False), f"words of {words}")


@case
def text_form(t):
    """COMM:PID@NAME in lines, the same number of words"""
    container = t.oci().run("text-1")
    port = container.serve(t)
    snoop = Httpsnoop(t, ["--container", "text-1", "--preview", "0"])
    curl(container, port, "/text")
    lines = wait_for("lines", lambda: snoop.text().count(b"\n") >= 2 and snoop.text().decode().splitlines())
    snoop.stop()
    for line in lines:
        comm = line.split()[1]
        check(comm.endswith("@text-1") and comm.split("@")[0].split(":")[1].isdigit(), f"no container in {line}")
        equal(len(line.split()), 11, f"words of {line}")


@case
def no_such_container(t):
    """A filter that nothing fits shows nothing, and says how many containers there are"""
    container = t.oci().run("quiet-1")
    port = container.serve(t)
    snoop = Httpsnoop(t, ["-j", "--container", "nobody"])
    check("tracing 0 containers so far by" in snoop.stderr(), snoop.stderr())
    curl(container, port, "/quiet")
    equal(snoop.interrupt(), [], "exchanges")
