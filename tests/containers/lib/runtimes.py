# SPDX-License-Identifier: Apache-2.0
"""Container runtimes of Debian, with containers that have their own pid, network and mount namespaces."""

import json
import os
import shutil
import subprocess
import time

import image
from machine import PURE_V2, cgroup_mode
from tap import Failure, Skip, check
from tool import TREE

E2E = "/e2e"  # where containers have tests/e2e
_CAPABILITIES = ["CAP_NET_ADMIN", "CAP_KILL"]


def start(argv, **options):
    """Run a command to its end; returns its output. Fails the case with what it said when it fails."""
    words = [str(word) for word in argv]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, **options)
    check(done.returncode == 0, f"{argv} ended with {done.returncode}:\n{done.stdout[-500:]}{done.stderr[-1500:]}")
    return done.stdout.strip()


def wait_for(what, look, seconds=10):
    """The first true value of look(), asked again and again; fails the case after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = look()
        if value:
            return value
        time.sleep(0.02)
    raise Failure(f"{what}: not within {seconds} s")


class Root:
    """The root file system and the image of all containers, made once."""

    def __init__(self, directory):
        self.path, self._archive = os.path.join(directory, "rootfs"), os.path.join(directory, "image.tar")

    def tree(self):
        if not os.path.exists(self.path):
            image.make_root(self.path)
            os.mkdir(self.path + E2E)
        return self.path

    def archive(self):
        if not os.path.exists(self._archive):
            image.make_archive(self.tree(), self._archive)
        return self._archive


class Container:
    """A running container: commands are run in it with exec()."""

    def __init__(self, runtime, name):
        self.runtime, self.name = runtime, name

    def exec(self, *argv):
        """Run a command in it to its end; returns its output."""
        return start([*self.runtime.exec_command(self), *argv])

    def serve(self, t, mode="threads", certificate=()):
        """Start the server of the end-to-end tests in it; returns its port."""
        log = "/tmp/served.log"
        words = ["/usr/bin/python3", f"{E2E}/programs/server.py", "127.0.0.1", mode, log, *certificate]
        server = t.spawn([*self.runtime.exec_command(self), *words], label=f"server-{self.name}")
        return int(wait_for("a port", lambda: server.stdout().strip() or server.poll() and "0"))


class Oci:
    """crun or runc, whichever can run here, with bundles of our own."""

    def __init__(self, machine, root, v2=False):
        self.prefix = PURE_V2 if v2 and cgroup_mode() != "v2" else []
        self._machine, self._root, self._containers = machine, root, []
        # crun 1.8 refuses hosts with v1 controllers beside v2; runc 1.1 does not know the controllers that these leave.
        self.name = "crun" if v2 or cgroup_mode() == "v2" else "runc"
        if not shutil.which(self.name):
            raise Skip(f"{self.name} is not installed")

    def _config(self):
        """config.json of the OCI runtime specification. No resources: they would need cgroup controllers."""
        sets = {kind: _CAPABILITIES for kind in ("bounding", "effective", "permitted")}
        start_words = ["/bin/sh", "-c", "ip link set lo up; exec sleep 1000000"]
        source = os.path.join(TREE, "tests", "e2e")
        bind = {"type": "bind", "source": source, "destination": E2E, "options": ["bind", "ro"]}
        return {
            "ociVersion": "1.0.2",
            "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": start_words, "capabilities": sets,
                        "env": ["PATH=/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1"]},
            "root": {"path": self._root.tree(), "readonly": True},
            "hostname": "test",
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                       {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                       {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}, bind],
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
        }

    def run(self, name):
        """Start a container of this name; it sleeps."""
        bundle = os.path.join(self._machine.dir, f"bundle-{name}")
        os.makedirs(bundle, exist_ok=True)
        with open(os.path.join(bundle, "config.json"), "w", encoding="ascii") as file:
            json.dump(self._config(), file)
        # Not captured: what is left running would keep the pipe open.
        with open(os.path.join(bundle, "log"), "wb") as log:
            words = [*self.prefix, self.name, "run", "--detach", "--bundle", bundle, name]
            status = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
                                    timeout=30).returncode
        if status:
            with open(os.path.join(bundle, "log"), encoding="utf-8", errors="replace") as log:
                raise Skip(f"{self.name} cannot run a container here: {log.read().strip()[:200]}")
        self._containers.append(name)
        return Container(self, name)

    def exec_command(self, container):
        return [*self.prefix, self.name, "exec", container.name]

    def remove(self, container):
        subprocess.run([*self.prefix, self.name, "delete", "--force", container.name], check=False, capture_output=True)
        self._containers.remove(container.name)

    def close(self):
        for name in list(self._containers):
            self.remove(Container(self, name))


class Podman:
    """podman with runc (hosts with v1 controllers) or crun, storage of its own, no network."""

    def __init__(self, machine, root):
        if not shutil.which("podman"):
            raise Skip("podman is not installed")
        runtime = "crun" if cgroup_mode() == "v2" else "runc"
        config = os.path.join(machine.dir, "containers.conf")
        with open(config, "w", encoding="ascii") as file:
            # The limits that podman would set may be above those of this machine.
            file.write('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
                       f'[engine]\nruntime = "{runtime}"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')
        self._env = {**os.environ, "CONTAINERS_CONF": config}
        self._names = []
        self._command = ["podman", "--storage-driver", "vfs"]
        self._call("load", "--quiet", "--input", root.archive())

    def _call(self, *argv):
        return start([*self._command, *argv], env=self._env, stdin=subprocess.DEVNULL)

    def run(self, name, *options):
        """Start a container of this name; it sleeps."""
        mount = f"{os.path.join(TREE, 'tests', 'e2e')}:{E2E}:ro"
        try:
            container_id = self._call("run", "--detach", "--name", name, "--network", "none", "--volume", mount,
                                      *options, image.NAME)
        except Failure as failure:
            raise Skip(f"podman cannot run a container here: {str(failure)[-200:]}") from None
        self._names.append(name)
        container = Container(self, name)
        container.id = container_id.splitlines()[-1]
        return container

    def exec_command(self, container):
        return ["env", f"CONTAINERS_CONF={self._env['CONTAINERS_CONF']}", *self._command, "exec", container.name]

    def close(self):
        for name in self._names:
            self._call("rm", "--force", "--time", "0", name)


class Containerd:
    """containerd with its CRI, as a kubelet uses it; pods in the host's network, as there is no CNI."""

    SOCKET = "/run/containerd/containerd.sock"

    def __init__(self, t, machine, root):
        for tool in ("containerd", "ctr", "runc"):
            if not shutil.which(tool):
                raise Skip(f"{tool} is not installed")
        try:
            import cri
        except ImportError:
            raise Skip("python3-grpcio is not installed") from None
        config = os.path.join(machine.dir, "containerd.toml")
        with open(config, "w", encoding="ascii") as file:
            file.write(f'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "{image.NAME}"\n'
                       'restrict_oom_score_adj = true\n'
                       '[plugins."io.containerd.grpc.v1.cri".containerd]\nsnapshotter = "native"\n')
        self._pods = []
        self.daemon = t.spawn(["containerd", "--config", config], label="containerd")
        wait_for("containerd's socket", lambda: os.path.exists(self.SOCKET) or self.daemon.poll() is not None)
        start(["ctr", "-n", "k8s.io", "images", "import", "--snapshotter", "native", root.archive()])
        self.cri = cri.Cri(self.SOCKET)

    def run_pod(self, name, namespace, uid, labels):
        """Start a pod without containers; returns its id and config for start_container()."""
        import grpc
        directory = f"/var/log/pods/{namespace}_{name}_{uid}"
        os.makedirs(directory)
        try:
            pod = self.cri.run_pod(name, namespace, uid, labels, directory)
        except grpc.RpcError as error:
            raise Skip(f"containerd cannot run a pod here: {error.details()[:200]}") from None
        self._pods.append(pod[0])
        return pod

    def start_container(self, pod, name, command):
        """Start a container in a pod; returns its id."""
        return self.cri.start_container(*pod, name, image.NAME, command)

    def close(self):
        for pod in self._pods:
            self.cri.remove_pod(pod)
        self.cri.close()
        self.daemon.end()
        os.unlink(self.SOCKET)
