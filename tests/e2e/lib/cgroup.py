# SPDX-License-Identifier: Apache-2.0
"""Cgroups (version 2) that confine a trace to the processes of a case."""

import itertools
import os
import time

from tap import Skip

_numbers = itertools.count()


def _mount_point():
    with open("/proc/mounts", encoding="utf-8") as f:
        for line in f:
            _, where, kind = line.split()[:3]
            if kind == "cgroup2":
                return where
    raise Skip("no cgroup2 mount")


class Cgroup:
    """A directory of our own below the cgroup2 mount."""

    def __init__(self):
        self.path = os.path.join(_mount_point(), f"plainsight-e2e-{os.getpid()}-{next(_numbers)}")
        try:
            os.mkdir(self.path)
        except OSError as error:
            raise Skip(f"cannot make a cgroup: {error}") from None

    def remove(self):
        """Remove it; its processes have been killed, but the kernel may need a moment to notice."""
        for _ in range(100):
            try:
                return os.rmdir(self.path)
            except OSError:
                time.sleep(0.02)
        return os.rmdir(self.path)
