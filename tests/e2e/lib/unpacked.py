# SPDX-License-Identifier: Apache-2.0
"""Packages of other Debian suites as files, beside what this machine has installed."""

import os
import subprocess

from harness import PROGRAMS
from tap import Skip, check
from tool import TREE

_ENVIRONMENT = dict(os.environ)  # as it was before tests/e2e/run gave the tools a cache of their own


def unpacked(suite, *packages):
    """The directory that has them, from the cache or the archive; skips the case when they cannot be had."""
    unpack = [os.path.join(TREE, "tests", "unpack"), suite, *packages]
    done = subprocess.run(unpack, env=_ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        raise Skip(done.stderr.strip())
    check(done.returncode == 0, f"tests/unpack: {done.stderr}")
    return done.stdout.strip()


class Debian11:
    """OpenSSL 1.1.1: the library of Debian 11, its openssl and its Python."""

    def __init__(self):
        python = ("python3.9-minimal", "libpython3.9-minimal", "libpython3.9-stdlib")
        self.tree = unpacked("bullseye", "libssl1.1", "libssl-dev", "openssl", *python)
        self._libraries = os.path.join(self.tree, "usr", "lib", "x86_64-linux-gnu")
        self.libssl = os.path.join(self._libraries, "libssl.so.1.1")

    def command(self, name):
        """The start of the command line of one of its programs, with its own libraries."""
        env = [f"LD_LIBRARY_PATH={self._libraries}", f"PYTHONHOME={self.tree}/usr", "OPENSSL_CONF=/dev/null"]
        return ["env", *env, os.path.join(self.tree, "usr", "bin", name)]

    def build_peer(self):
        """Build programs/tls_openssl.c against its library, as tls_openssl11."""
        subprocess.run(["make", "-s", "-C", PROGRAMS, "openssl11", f"OPENSSL11={self.tree}"], check=True)


class Debian13:
    """Caddy, built with Go 1.24 and stripped, and the file of OpenSSL 3.5, which wants a newer C library to be used."""

    def __init__(self):
        tree = unpacked("trixie", "caddy", "libssl3t64")
        self.caddy = os.path.join(tree, "usr", "bin", "caddy")
        self.libssl = os.path.join(tree, "usr", "lib", "x86_64-linux-gnu", "libssl.so.3")
