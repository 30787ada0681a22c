# SPDX-License-Identifier: Apache-2.0
"""What podman and containerd tell of their containers."""

import os
import subprocess

import image
from cases.naming import REQUESTS, curl, expect_both_sides
from runtimes import Container, start, wait_for
from tap import case, check, equal
from tool import TREE, Httpsnoop

UID = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"


@case
def podman_container(t):
    """podman: name, image and id, chosen by the beginning of the id"""
    container = t.podman().run("pod-web", "--cap-add", "NET_ADMIN")
    container.exec("/bin/ip", "link", "set", "lo", "up")
    port = container.serve(t)
    snoop = Httpsnoop(t, ["-j", "--container", container.id[:12]])
    for i in range(REQUESTS):
        curl(container, port, f"/podman/{i}")
    wait_for("exchanges", lambda: len(snoop.exchanges()) >= 2 * REQUESTS)
    exchanges = snoop.interrupt()
    expect_both_sides(exchanges, "/podman/", "pod-web")
    equal(exchanges[0]["container"],
          {"id": container.id, "image": image.NAME, "name": "pod-web", "runtime": "podman"}, "container")


class Traffic:
    """A web server and a client in a container of a pod, in the host's network."""

    SERVER = ("import http.server,sys\n"
              "s=http.server.ThreadingHTTPServer(('127.0.0.1',0),http.server.SimpleHTTPRequestHandler)\n"
              "print(s.server_port,flush=True)\ns.serve_forever()")

    def __init__(self, containerd, pod, name, log):
        self.id = containerd.start_container(pod, name, ["/usr/bin/python3", "-c", self.SERVER])
        self.port = int(wait_for("a port", lambda: os.path.exists(log) and self._port(log)))

    @staticmethod
    def _port(log):
        with open(log, encoding="ascii") as lines:
            words = lines.readline().split()
        return words[-1] if words else None

    def get(self, path):
        subprocess.run(["ctr", "-n", "k8s.io", "tasks", "exec", "--exec-id", path.strip("/").replace("/", "-"), self.id,
                        "/usr/bin/curl", "-s", f"http://127.0.0.1:{self.port}{path}"],
                       check=True, capture_output=True, timeout=30)


def _pod(t, containerd, name, namespace, uid, labels):
    pod = containerd.run_pod(name, namespace, uid, labels)
    return Traffic(containerd, pod, "nginx", f"/var/log/pods/{namespace}_{name}_{uid}/nginx.log")


@case
def kubernetes_pods(t):
    """containerd by its CRI: pod, namespace, uid and labels; --pod and --namespace"""
    containerd = t.containerd()
    web = _pod(t, containerd, "web-7d4", "shop", UID, {"app": "web", "tier": "front"})
    snoops = {
        "pod": Httpsnoop(t, ["-j", "--pod", "shop/web-*"]),
        "namespace": Httpsnoop(t, ["-j", "--namespace", "bank"]),
        "text": Httpsnoop(t, ["--preview", "0", "--pod", "web-7d4", "--container", "nginx"]),
    }
    db = _pod(t, containerd, "db-0", "bank", UID.replace("0f1e", "f1e0"), {"app": "db"})
    for i in range(REQUESTS):
        web.get(f"/web/{i}")
        db.get(f"/db/{i}")
    wait_for("exchanges", lambda: len(snoops["pod"].exchanges()) >= 2 * REQUESTS
             and len(snoops["namespace"].exchanges()) >= 2 * REQUESTS)
    exchanges = snoops["pod"].interrupt()
    expect_both_sides(exchanges, "/web/", "nginx")
    equal(exchanges[0]["container"], {
        "id": web.id, "name": "nginx", "image": image.NAME, "runtime": "containerd",
        "pod": {"name": "web-7d4", "namespace": "shop", "uid": UID, "labels": {"app": "web", "tier": "front"}},
    }, "container")
    exchanges = snoops["namespace"].interrupt()
    expect_both_sides(exchanges, "/db/", "nginx")
    equal({e["container"]["pod"]["name"] for e in exchanges}, {"db-0"}, "pods in the namespace bank")
    snoops["text"].stop()
    lines = snoops["text"].text().decode().splitlines()
    equal(len(lines), 2 * REQUESTS, "lines")
    check(all(line.split()[1].endswith("@shop/web-7d4/nginx") for line in lines), f"no pod: {lines}")


def _ask(module, container):
    """What a source says, as "FIELD=VALUE" lines."""
    script = (f"package.path = '{TREE}/lua/?.lua;' .. package.path\n"
              f"local fields = require('plainsight.containers.{module}').lookup{{ {container} }}\n"
              "for name, value in pairs(fields or {}) do\n"
              "  if type(value) == 'table' then for k, v in pairs(value) do print(name .. '.' .. k .. '=' .. v) end\n"
              "  else print(name .. '=' .. value) end\nend")
    return dict(line.split("=", 1) for line in start(["luajit", "-e", script]).splitlines())


@case
def cri_socket(t):
    """The CRI socket alone: containers, sandboxes, ids that it does not know"""
    containerd = t.containerd()
    pod = containerd.run_pod("alone", "default", UID, {"app": "alone"})
    container = containerd.start_container(pod, "sleeper", ["/bin/sleep", "1000"])
    known = {"runtime": "containerd", "pod": "alone", "namespace": "default", "pod_uid": UID, "labels.app": "alone"}
    equal(_ask("cri", f"id = '{container}'"), {**known, "name": "sleeper", "image": image.NAME}, "of the container")
    equal(_ask("cri", f"id = '{pod[0]}'"), {**known, "name": "POD"}, "of the sandbox")
    equal(_ask("cri", f"id = '{'ab' * 32}'"), {}, "of nothing")


@case
def podman_socket(t):
    """The API that podman has in common with Docker"""
    podman = t.podman()
    container = podman.run("api-web", "--label", "app=api")
    os.makedirs("/run/podman", exist_ok=True)
    service = t.spawn([*podman.exec_command(Container(podman, ""))[:-2], "system", "service", "--time", "0",
                       "unix:///run/podman/podman.sock"])
    wait_for("podman's socket", lambda: os.path.exists("/run/podman/podman.sock") or service.poll() is not None)
    known = _ask("docker_api", f"id = '{container.id}', runtime = 'podman'")
    equal(known, {"name": "api-web", "image": image.NAME, "labels.app": "api"}, "of the container")
    equal(_ask("docker_api", f"id = '{'ab' * 32}', runtime = 'podman'"), {}, "of nothing")
