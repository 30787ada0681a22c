# SPDX-License-Identifier: Apache-2.0
"""The image of deploy/Dockerfile, built for real on a base that debootstrap makes, and run as the manifest says."""

import os
import re
import shutil
import subprocess

from machine import cgroup_mode
from tap import Failure, Skip, check
from tool import TREE

BASE, NAME = "localhost/plainsight-base:bookworm", "localhost/plainsight:test"
MANIFEST = os.path.join(TREE, "deploy", "daemonset.yaml")
_UNREACHABLE = re.compile(
    r"Temporary failure resolving|Could not resolve|Unable to fetch|Failed to fetch|Could not connect")


def _cache():
    """Kept between runs: the base, and the layers that have not changed."""
    return os.environ.get("PLAINSIGHT_IMAGE_CACHE") or os.path.expanduser("~/.cache/plainsight-image")


def manifest_objects():
    """The objects of the manifest, by kind."""
    try:
        import yaml
    except ImportError:
        raise Skip("python3-yaml is not installed") from None
    with open(MANIFEST, encoding="utf-8") as file:
        return {one["kind"]: one for one in yaml.safe_load_all(file)}


def container_spec():
    return manifest_objects()["DaemonSet"]["spec"]["template"]["spec"]["containers"][0]


class BuiltImage:
    """close() ends what was started from it."""

    def __init__(self, machine):
        for tool in ("buildah", "debootstrap", "podman"):
            if not shutil.which(tool):
                raise Skip(f"{tool} is not installed")
        self._dir, self._names = _cache(), []
        os.makedirs(self._dir, exist_ok=True)
        # podman remembers both directories of a storage, so both are kept.
        self._storage = ["--root", f"{self._dir}/storage", "--runroot", f"{self._dir}/run",
                         "--storage-driver", "overlay"]
        runtime = "crun" if cgroup_mode() == "v2" else "runc"
        config = os.path.join(machine.dir, "image.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
                       f'[engine]\nruntime = "{runtime}"\nevents_logger = "file"\ncgroup_manager = "cgroupfs"\n')
        self._env = {**os.environ, "CONTAINERS_CONF": config}

    def _run(self, *argv, cwd=None, seconds=300):
        done = subprocess.run([str(word) for word in argv], env=self._env, cwd=cwd, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False)
        return done.returncode, done.stdout

    def _make_base(self):
        if self._run("podman", *self._storage, "image", "exists", BASE)[0] == 0:
            return
        sites = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"], check=True,
                               capture_output=True, text=True).stdout.split()
        mirror = next((site for site in sites if site.rstrip("/").endswith("/debian")), None)
        if not mirror:
            raise Skip("no Debian archive in apt's lists: run apt-get update")
        tree = os.path.join(self._dir, "tree")
        shutil.rmtree(tree, ignore_errors=True)
        status, said = self._run("debootstrap", "--variant=minbase", "bookworm", tree, mirror)
        if status:
            raise Skip(f"debootstrap failed: {said.strip().splitlines()[-1]}")
        archive = tree + ".tar"
        self._run("tar", "-C", tree, "-cf", archive, ".")
        status, said = self._run("podman", *self._storage, "import", "--quiet", archive, BASE)
        shutil.rmtree(tree)
        os.unlink(archive)
        if status:
            raise Skip(f"podman cannot keep an image in {self._dir}: {said.strip()[-200:]}")

    def build(self):
        """Build it; a failure is one of the Dockerfile, unless nothing can be downloaded."""
        self._make_base()
        status, said = self._run("buildah", *self._storage, "build", "--layers", "--isolation", "chroot", "--network",
                                 "host", "--build-arg", f"BASE={BASE}", "-f", "deploy/Dockerfile", "-t", NAME, ".",
                                 cwd=TREE)
        if status and _UNREACHABLE.search(said):
            raise Skip("Debian's packages cannot be downloaded now")
        check(status == 0, f"buildah ended with {status}:\n{said[-2500:]}")
        # Layers of older trees are what the next build may begin with.
        self._run("podman", *self._storage, "image", "prune", "--force", "--filter", "until=240h")

    def run_options(self, options_directory, name):
        """Options of podman for what the manifest says of its container, in the place of the kubelet."""
        spec = container_spec()
        security = spec["securityContext"]
        words = ["--rm", "--name", name, "--pid", "host", "--network", "host",
                 "--user", f"{security['runAsUser']}:{security['runAsGroup']}",
                 *[f"--cap-drop={name}" for name in security["capabilities"]["drop"]],
                 *[f"--cap-add={name}" for name in security["capabilities"]["add"]]]
        if security["readOnlyRootFilesystem"]:
            words += ["--read-only", "--read-only-tmpfs=false"]
        if not security["allowPrivilegeEscalation"]:
            words += ["--security-opt", "no-new-privileges"]
        for kind in ("seccomp", "appArmor"):
            check(security[f"{kind}Profile"]["type"] == "Unconfined", f"{kind}: another profile than tested here")
            words += ["--security-opt", f"{kind.lower()}=unconfined"]
        volumes = {one["name"]: one for one in manifest_objects()["DaemonSet"]["spec"]["template"]["spec"]["volumes"]}
        for mount in spec["volumeMounts"]:
            volume = volumes[mount["name"]]
            source = volume["hostPath"]["path"] if "hostPath" in volume else options_directory
            words += ["--volume", f"{source}:{mount['mountPath']}:{'ro' if mount.get('readOnly') else 'rw'}"]
        return words

    def start(self, t, name, options):
        """Start it with the options of a ConfigMap; returns the process."""
        directory = t.path("options")
        os.mkdir(directory, 0o755)
        with open(os.path.join(directory, "options"), "w", encoding="utf-8") as file:
            file.write(options)
        self._names.append(name)
        # The node's root is that of the tests' mount namespace here; the manifest relies on /proc/1/root.
        return t.spawn(["podman", *self._storage, "run", *self.run_options(directory, name), "--env",
                        f"PLAINSIGHT_HOST_ROOT=/proc/{os.getpid()}/root", NAME], label=name, env=self._env)

    def exec(self, name, *argv):
        """Run a command in it; returns its status and output."""
        return self._run("podman", *self._storage, "exec", name, *argv)

    def stop(self, name):
        """End it as the kubelet does; returns what podman says when that fails."""
        status, said = self._run("podman", *self._storage, "stop", "--time", "10", name)
        return said if status else None

    def close(self):
        for name in self._names:
            self._run("podman", *self._storage, "rm", "--force", "--time", "0", name)


def capability_mask(names):
    """The bits of capabilities (linux/capability.h), from their names without CAP_."""
    numbers = {"KILL": 5, "DAC_READ_SEARCH": 2, "SYS_PTRACE": 19, "SYS_NICE": 23, "SYS_RESOURCE": 24, "PERFMON": 38,
               "BPF": 39, "CHECKPOINT_RESTORE": 40}
    try:
        return sum(1 << numbers[name] for name in names)
    except KeyError as error:
        raise Failure(f"a capability that is new in the manifest: {error}") from None
