# SPDX-License-Identifier: Apache-2.0
"""A mount namespace in which container runtimes keep their state where they always do, without touching that of the
machine."""

import os
import shutil
import subprocess
import sys
import tempfile

from tap import Skip

DEBIAN_PYTHON = "/usr/bin/python3"
_MARK = "PLAINSIGHT_TEST_MOUNTS"
# Where runtimes, the kubelet and the tool look for what is written about containers.
_PRIVATE = ("/run", "/var/lib/containers", "/var/lib/containerd", "/var/log")


def enter():
    """Execute this script again in a mount namespace of its own; returns there."""
    if os.environ.get(_MARK):
        return
    os.environ[_MARK] = "1"
    # The one that Debian's packages are for, should another come first in PATH.
    python = DEBIAN_PYTHON if os.path.exists(DEBIAN_PYTHON) else sys.executable
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", python, *sys.argv])


def _runtime_cgroups():
    """Directories in all cgroup hierarchies that podman and containerd make for all their containers."""
    found = set()
    for where, names, _ in os.walk("/sys/fs/cgroup"):
        found.update(os.path.join(where, name) for name in names if name in ("kubepods", "libpod_parent"))
    return found


def _remove_cgroup(path):
    for where, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(where)
        except OSError:  # one of a container that somebody else runs, or that is still ending
            pass


class Machine:
    """The private directories. close() ends all there is."""

    def __init__(self):
        self._cgroups = _runtime_cgroups()
        self.dir = tempfile.mkdtemp(prefix="plainsight-containers-")
        self._made, self._mounted = [], []
        for path in _PRIVATE:
            source = os.path.join(self.dir, path.strip("/").replace("/", "-"))
            os.mkdir(source, 0o755)
            if not os.path.isdir(path):
                os.mkdir(path)
                self._made.append(path)
            subprocess.run(["mount", "--bind", source, path], check=True)
            self._mounted.append(path)
        for path in ("/var/log/pods", "/var/log/containers", "/run/lock"):
            os.mkdir(path)
        os.environ["PLAINSIGHT_HOST_ROOT"] = "/"  # this mount namespace is the host here

    def close(self):
        for path in _runtime_cgroups() - self._cgroups:
            _remove_cgroup(path)
        for path in reversed(self._mounted):
            subprocess.run(["umount", "--lazy", "--recursive", path], check=False, stderr=subprocess.DEVNULL)
        for path in self._made:
            os.rmdir(path)
        shutil.rmtree(self.dir, ignore_errors=True)


def mounted_kinds():
    """Kinds of the cgroup file systems that are mounted: of "cgroup", "cgroup2"."""
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        kinds = {line.split(" - ")[1].split()[0] for line in mounts}
    return kinds & {"cgroup", "cgroup2"}


def cgroup_mode():
    """"v2", "v1" (controllers there, no v2) or "hybrid" (both)."""
    kinds = mounted_kinds()
    if not kinds:
        raise Skip("no cgroup file system is mounted")
    return {("cgroup2",): "v2", ("cgroup",): "v1"}.get(tuple(sorted(kinds)), "hybrid")


# Words before a command that runs it with nothing but cgroup v2, on a host with v1 controllers.
PURE_V2 = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
           'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"', "v2"]
