# SPDX-License-Identifier: Apache-2.0
"""Root file systems and images made from the files of this machine: no registry is needed."""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile

from tap import Skip

NAME = "localhost/plainsight-test:1"
_APPLETS = ("sh", "cat", "cp", "ip", "ls", "mkdir", "mount", "rm", "sleep", "wget")


def _libraries(path):
    """Files that the dynamic linker maps for a program or library."""
    listing = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/[^\s:]+) \(0x", listing)


def _copy(root, path):
    """Copy a file to the same place below root, links followed, with the libraries it needs."""
    for file in [path, *_libraries(path)]:
        target = root + file
        if not os.path.exists(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(os.path.realpath(file), target)


def _python(root):
    """Python 3 with the modules that the e2e servers use; without packages and caches."""
    python = os.path.realpath("/usr/bin/python3")
    _copy(root, python)
    os.symlink(os.path.basename(python), f"{root}/usr/bin/python3")
    version = os.path.basename(python)
    shutil.copytree(f"/usr/lib/{version}", f"{root}/usr/lib/{version}", symlinks=False, ignore_dangling_symlinks=True,
                    ignore=shutil.ignore_patterns("__pycache__", "test*", "lib2to3", "idlelib", "config-*", "ensurepip",
                                                  "pydoc_data", "dist-packages"))
    modules = f"/usr/lib/{version}/lib-dynload"
    for name in os.listdir(modules):
        for library in _libraries(os.path.join(modules, name)):
            _copy(root, library)


def make_root(root):
    """Make a root file system with busybox, curl and Python at root, a directory that is not there yet."""
    for tool in ("/bin/busybox", "/usr/bin/curl", "/usr/bin/python3"):
        if not os.path.exists(tool):
            raise Skip(f"{tool} is not installed")
    for name in ("bin", "dev", "etc", "lib64", "proc", "sys", "tmp", "usr/bin", "usr/lib"):
        os.makedirs(os.path.join(root, name))
    shutil.copy2("/bin/busybox", f"{root}/bin/busybox")
    for applet in _APPLETS:
        os.symlink("busybox", f"{root}/bin/{applet}")
    _copy(root, "/usr/bin/curl")
    _python(root)
    with open(f"{root}/etc/hosts", "w", encoding="ascii") as hosts:
        hosts.write("127.0.0.1 localhost\n::1 localhost\n")


def _add(archive, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def make_archive(root, path, name=NAME, command=("/bin/sleep", "1000000")):
    """Write the tree at root as an image in a docker-archive, which podman load and ctr images import read."""
    layer = path + ".layer"
    with tarfile.open(layer, "w") as archive:
        archive.add(root, ".", filter=lambda entry: entry)
    with open(layer, "rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest()
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": list(command), "Env": ["PATH=/usr/bin:/bin"]},
              "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}, "history": [{"created_by": "tests"}]}
    text = json.dumps(config).encode()
    config_name = hashlib.sha256(text).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        _add(archive, "manifest.json", json.dumps(manifest).encode())
        _add(archive, config_name, text)
        archive.add(layer, f"{digest}/layer.tar")
    os.unlink(layer)
