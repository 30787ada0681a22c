# SPDX-License-Identifier: Apache-2.0
"""The image and the manifest of deploy/."""

import os
import re
import shutil
import socket
import subprocess
import urllib.request

from built_image import MANIFEST, capability_mask, container_spec, manifest_objects
from cases.naming import curl
from runtimes import start, wait_for
from tap import Skip, case, check, equal
from tls import Certificate
from tool import TREE

NPM = os.path.join(TREE, "build", "npm")
VALIDATOR = os.path.join(TREE, "tests", "containers", "validate_manifest.js")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(port, path):
    """A page of --metrics, or None while there is none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except OSError:
        return None


def tls_server(t, container):
    """An HTTPS server in a container; returns its port."""
    certificate, files = Certificate(t), []
    for path in (certificate.path, certificate.key):
        files.append(os.path.join("/tmp", os.path.basename(path)))
        with open(path, encoding="ascii") as file:
            container.exec("/bin/sh", "-c", f"cat >{files[-1]} <<'END'\n{file.read()}END")
    return container.serve(t, certificate=files)


@case
def image_as_daemonset(t):
    """The image, built, run with exactly what the manifest gives it, shows curl in another container"""
    image = t.image()
    image.build()
    shop = t.oci().run("shop-1")
    port, tls_port, metrics = shop.serve(t), tls_server(t, shop), free_port()
    options = f"# a comment\n--tls\n\n--container=shop-1\n--metrics=127.0.0.1:{metrics}\n"
    node = image.start(t, "plainsight-test", options)
    wait_for("/healthz", lambda: fetch(metrics, "/healthz"), seconds=60)
    wait_for("the tool", lambda: "tracing 1 container by" in node.stderr(), seconds=60)
    curl(shop, port, "/sleep/1")
    curl(shop, tls_port, "/sleep/2", scheme="https")
    # kubectl logs -l name=plainsight -f | grep curl
    lines = wait_for("both requests", lambda: re.findall(r"^.* curl:.*$", node.stdout(), re.M)[1:] and
                     re.findall(r"^.* curl:.*$", node.stdout(), re.M))
    for line, url in zip(lines, (f"http://localhost:{port}/sleep/1", f"https://localhost:{tls_port}/sleep/2")):
        check(re.search(rf" curl:\d+@shop-1 .* GET {re.escape(url)} 200 ", line), f"{url}: {line}")
    status, page = fetch(metrics, "/metrics")
    counted = re.search(r"^plainsight_http_requests_total\{.*\} [1-9]", page, re.M)
    check(status == 200 and counted, f"metrics: {page[:1500]}")
    check_confinement(image, "plainsight-test")
    equal(image.stop("plainsight-test"), None, "podman stop")
    equal(node.wait(), 0, "exit status after SIGTERM")
    check(re.search(r"nothing lost|no event lost", node.stderr()), node.stderr())


def check_confinement(image, name):
    """The process has the capabilities of the manifest and no others, and cannot write to its root."""
    status, text = image.exec(name, "cat", "/proc/self/status")
    equal(status, 0, "status of exec")
    has = dict(re.findall(r"^(\w+):\s+(\S+)", text, re.M))
    mask = capability_mask(container_spec()["securityContext"]["capabilities"]["add"])
    equal([int(has["CapEff"], 16), int(has["CapBnd"], 16)], [mask, mask], "capabilities")
    equal(has["NoNewPrivs"], "1", "no_new_privs")
    status, text = image.exec(name, "sh", "-c", "for d in / /tmp /var/cache /usr/bin; do ! touch $d/x || exit 9; done")
    equal(status, 0, f"a read-only root ({text})")


@case
def manifest_schema(t):
    """The manifest is valid by the schemas of Kubernetes, and the validator refuses mistakes"""
    if not shutil.which("node") or not os.path.isdir(os.path.join(NPM, "node_modules", "kubernetes-models")):
        raise Skip("kubernetes-models is not installed: scripts/npm-install")
    environment = {**os.environ, "NODE_PATH": os.path.join(NPM, "node_modules")}
    kinds = start(["node", VALIDATOR, MANIFEST], env=environment).split()
    equal(kinds, ["Namespace", "ConfigMap", "DaemonSet"], "objects")
    with open(MANIFEST, encoding="utf-8") as file:
        text = file.read()
    mistakes = {"hostPID: true": 'hostPID: "yes"', "containerPort: 9464": "containerPorts: 9464",
                "kind: DaemonSet": "kind: DemonSet", "runAsUser: 0": "runAsUser: root"}
    for right, wrong in mistakes.items():
        check(text.count(right) == 1, f"{right} is not there once")
        path = t.path("manifest.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(right, wrong))
        done = subprocess.run(["node", VALIDATOR, path], env=environment, capture_output=True, text=True, check=False)
        check(done.returncode == 1 and done.stderr, f"{wrong} is taken for valid: {done.stdout}")


@case
def manifest_is_consistent(t):
    """Labels, ports, probes, mounts and options of the manifest fit together"""
    objects = manifest_objects()
    daemonset = objects["DaemonSet"]
    template, spec = daemonset["spec"]["template"], container_spec()
    labels = template["metadata"]["labels"]
    equal(labels, {"name": "plainsight"}, "labels")
    equal(daemonset["spec"]["selector"]["matchLabels"], labels, "selector")
    namespaces = {one["metadata"].get("namespace", one["metadata"]["name"]) for one in objects.values()}
    equal(namespaces, {"plainsight"}, "namespace")
    check(template["spec"]["hostPID"] and not spec["securityContext"]["privileged"], "hostPID without privileged")
    ports = {one["name"]: one["containerPort"] for one in spec["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        equal((spec[probe]["httpGet"]["path"], spec[probe]["httpGet"]["port"] in ports), ("/healthz", True), probe)
    options = [line for line in objects["ConfigMap"]["data"]["options"].splitlines() if line and line[0] != "#"]
    check(f"--metrics=0.0.0.0:{ports['metrics']}" in options, f"no --metrics for the probes: {options}")
    equal(template["metadata"]["annotations"]["prometheus.io/port"], str(ports["metrics"]), "port to scrape")
    volumes = {one["name"] for one in template["spec"]["volumes"]}
    equal({one["name"] for one in spec["volumeMounts"]}, volumes, "volumes that are mounted")
    check(template["spec"]["tolerations"] == [{"operator": "Exists"}], "tolerations")
    check(spec["resources"]["limits"]["memory"] and spec["resources"]["requests"]["cpu"], "resources")
    # What the tool would say about these options.
    script = (f"package.path = '{TREE}/lua/?.lua;' .. package.path\n"
              "local opts, err = require('plainsight.cli').parse({ name = 'httpsnoop', summary = '' }, { ... })\n"
              "if not opts then print(err) end")
    path = t.path("options.lua")
    with open(path, "w", encoding="ascii") as file:
        file.write(script)
    equal(start(["luajit", path, *options]), "", "options of the ConfigMap")
